"""Installs the peers into target/peers: Debian's packages are downloaded and unpacked, nothing is
installed into the system; the rest comes from npm and PyPI."""
import json
import os
import shutil
import subprocess
import sys

DEBS = {
    "redis": ["redis-tools", "redis-server", "libjemalloc2", "liblzf1", "liblua5.1-0", "lua-cjson",
              "lua-bitop"],
    "nats": ["nats-server"],
    "rabbitmq": ["rabbitmq-server"] + ["erlang-" + part for part in (
        "base", "asn1", "crypto", "public-key", "mnesia", "runtime-tools", "ssl", "eldap", "ftp",
        "tftp", "inets", "snmp", "os-mon", "parsetools", "syntax-tools", "tools", "xmerl")],
}
# Its libraries are many; where the system has it already, that one is taken.
POSTGRES = ["postgresql-15", "libpq5", "libllvm14", "libxml2", "libxslt1.1", "libicu72"]


class Installed:
    def __init__(self, root, here):
        self.root, self.here = root, here
        self.debs = os.path.join(root, "deb", "root")
        self.node = os.path.join(root, "node")
        self.python = os.path.join(root, "py", "bin", "python")
        self.sink = os.path.join(root, "sink")
        self.problems = {}

    def all(self):
        for name, packages in DEBS.items():
            self.attempt(name, lambda packages=packages, name=name: self.debian(name, packages))
        self.attempt("postgresql", self.postgres)
        self.attempt("node", self.npm)
        self.attempt("celery", self.pypi)
        if not os.path.exists(self.sink):
            run(["rustc", "-O", "--edition", "2021", "-o", self.sink,
                 os.path.join(self.here, "sink.rs")])

    def attempt(self, name, install):
        """A peer that cannot be installed is named, and the others run."""
        try:
            install()
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            self.problems[name] = said.strip()[-400:]
            print(f"{name} cannot be installed: {self.problems[name]}", file=sys.stderr)

    def debian(self, name, packages):
        done = os.path.join(self.root, "deb", f"{name}.done")
        if os.path.exists(done):
            return
        where = os.path.join(self.root, "deb", name)
        os.makedirs(where, exist_ok=True)
        run(["apt-get", "download", *packages], cwd=where)
        for deb in sorted(os.listdir(where)):
            run(["dpkg-deb", "-x", os.path.join(where, deb), self.debs])
        if name == "rabbitmq":
            self.move_erlang()
        shutil.rmtree(where)
        open(done, "w").close()

    def move_erlang(self):
        """Debian's `erl` says where it is installed; it lies elsewhere here."""
        lib = os.path.join(self.debs, "usr/lib/erlang")
        script = os.path.join(lib, "bin", "erl")
        with open(script) as file:
            text = file.read().replace("ROOTDIR=/usr/lib/erlang", f"ROOTDIR={lib}")
        os.remove(script)
        with open(script, "w") as file:
            file.write(text)
        os.chmod(script, 0o755)

    def postgres(self):
        if not self.postgres_bin():
            self.debian("postgresql", POSTGRES)

    def postgres_bin(self):
        """Where initdb and postgres are; None: nowhere."""
        for base in ("/", self.debs):
            versions = os.path.join(base, "usr/lib/postgresql")
            for version in sorted(os.listdir(versions) if os.path.isdir(versions) else [],
                                  key=int, reverse=True):
                where = os.path.join(versions, version, "bin")
                if os.path.exists(os.path.join(where, "initdb")):
                    return where
        return None

    def npm(self):
        """The scripts of packages are not run: prebuilt parts come as packages of their own."""
        source = os.path.join(self.here, "node")
        os.makedirs(self.node, exist_ok=True)
        for name in os.listdir(source):
            if name != "node_modules":
                shutil.copy(os.path.join(source, name), self.node)
        wanted = os.path.join(source, "package.json")
        stamp = os.path.join(self.node, "installed.json")
        if not same(wanted, stamp):
            run(["npm", "install", "--no-package-lock", "--ignore-scripts", "--no-audit",
                 "--no-fund"], cwd=self.node)
            shutil.copy(wanted, stamp)

    def pypi(self):
        wanted = os.path.join(self.here, "celery", "requirements.txt")
        stamp = os.path.join(self.root, "py", "installed.txt")
        if not same(wanted, stamp):
            run([sys.executable, "-m", "venv", os.path.join(self.root, "py")])
            run([self.python, "-m", "pip", "install", "-q", "-r", wanted])
            shutil.copy(wanted, stamp)

    def libraries(self):
        """For what was unpacked instead of installed."""
        return {"LD_LIBRARY_PATH": os.path.join(self.debs, "usr/lib/x86_64-linux-gnu")}

    def versions(self):
        erlang = os.path.join(self.debs, "usr/lib/rabbitmq/lib")
        return {
            "redis": said([f"{self.debs}/usr/bin/redis-server", "--version"], self.libraries()),
            "nats": said([f"{self.debs}/usr/sbin/nats-server", "--version"]),
            "rabbitmq": ", ".join(os.listdir(erlang)) if os.path.isdir(erlang) else "",
            "postgresql": said([f"{self.postgres_bin()}/postgres", "--version"]),
            "node": said(["node", "--version"]),
            **{f"{name} (npm)": npm_version(self.node, name)
               for name in ("bullmq", "ioredis", "nats", "amqplib", "graphile-worker", "pg")},
            "celery": said([self.python, "-m", "celery", "--version"]),
        }


def npm_version(node, name):
    try:
        with open(os.path.join(node, "node_modules", name, "package.json")) as file:
            return json.load(file)["version"]
    except OSError:
        return ""


def said(command, env=None):
    try:
        done = subprocess.run(command, capture_output=True, text=True,
                              env={**os.environ, **(env or {})})
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip().splitlines()[0] if done.returncode == 0 else ""


def run(command, cwd=None):
    print("+", " ".join(command)[:120], file=sys.stderr)
    subprocess.run(command, cwd=cwd, check=True, text=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.PIPE)


def same(one, other):
    try:
        with open(one, "rb") as a, open(other, "rb") as b:
            return a.read() == b.read()
    except OSError:
        return False
