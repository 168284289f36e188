"""The servers, each on a fresh directory and a free port; they can be killed and started again."""
import os
import shutil
import subprocess
import urllib.request

from .procs import Failed, Process, free_port, listens, until

START = 120


class Server:
    """What they have in common."""

    def __init__(self, installed, dir, options):
        self.installed, self.dir, self.options = installed, dir, options
        self.port, self.process = free_port(), None
        self.log = os.path.join(dir, "server.log")
        os.makedirs(dir)

    def start(self):
        self.process = self.launch()
        until(f"{type(self).__name__} listens", lambda: listens(self.port), START, self.process)

    def cpu(self):
        return self.process.cpu()

    def kill(self):
        if self.process:
            self.process.kill()

    def close(self):
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def template(self, name, **values):
        with open(os.path.join(self.installed.here, "settings", name)) as file:
            text = file.read()
        for key, value in {"PORT": self.port, "DIR": self.dir, **values}.items():
            text = text.replace(f"@{key}@", str(value))
        path = os.path.join(self.dir, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def extra(self):
        """More that a client has to know."""
        return {}


class Redis(Server):
    def launch(self):
        conf = self.template("redis.conf")
        program = os.path.join(self.installed.debs, "usr/bin/redis-server")
        return Process([program, conf, "--port", str(self.port), "--dir", self.dir], self.log,
                       env=self.installed.libraries())


class Nats(Server):
    def launch(self):
        program = os.path.join(self.installed.debs, "usr/sbin/nats-server")
        # The option is of 2.10; before, files are synced every two minutes whatever one says.
        sync = "sync_interval: always" if nats_syncs(self.installed) else ""
        return Process([program, "-c", self.template("nats.conf", SYNC=sync)], self.log)


def nats_syncs(installed):
    version = installed.versions()["nats"].rpartition("v")[2].split(".")
    return [int(part) for part in version[:2]] >= [2, 10] if len(version) > 2 else False


class RabbitMq(Server):
    def start(self):
        lib = os.path.join(self.installed.debs, "usr/lib")
        self.epmd, self.dist = free_port(), free_port()
        # In the foreground, or it would be started as a daemon that outlives the server.
        self.names = Process([f"{lib}/erlang/bin/epmd", "-port", str(self.epmd)], self.log)
        super().start()

    def kill(self):
        super().kill()
        self.names.kill()

    def launch(self):
        conf = self.template("rabbitmq.conf")
        lib = os.path.join(self.installed.debs, "usr/lib")
        sbin = os.path.join(lib, "rabbitmq/lib")
        sbin = os.path.join(sbin, os.listdir(sbin)[0], "sbin")
        open(os.path.join(self.dir, "enabled_plugins"), "w").write("[].\n")
        open(os.path.join(self.dir, "env.conf"), "w").close()
        env = {
            "PATH": f"{lib}/erlang/bin:{os.environ['PATH']}",
            "HOME": self.dir, "ERL_EPMD_PORT": str(self.epmd),
            "RABBITMQ_NODENAME": f"peer{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.dist),
            "RABBITMQ_CONF_ENV_FILE": os.path.join(self.dir, "env.conf"),
            "RABBITMQ_CONFIG_FILE": conf, "RABBITMQ_LOG_BASE": self.dir,
            "RABBITMQ_MNESIA_BASE": os.path.join(self.dir, "mnesia"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": os.path.join(self.dir, "enabled_plugins"),
            "RABBITMQ_PID_FILE": os.path.join(self.dir, "pid"),
        }
        return Process([f"{sbin}/rabbitmq-server"], self.log, env=env)


class Postgresql(Server):
    def launch(self):
        bin = self.installed.postgres_bin()
        data = os.path.join(self.dir, "data")
        root = os.geteuid() == 0
        # It refuses to be root.
        user = "postgres" if root else None
        who = {"user": user, "group": user, "extra_groups": []} if root else {}
        if not os.path.exists(data):
            os.makedirs(data, mode=0o700)
            if root:
                shutil.chown(data, user, user)
            made = subprocess.run(
                [f"{bin}/initdb", "-D", data, "-A", "trust", "-U", "postgres"],
                capture_output=True, text=True, cwd="/", env={**os.environ, "LC_ALL": "C"}, **who)
            if made.returncode:
                raise Failed(f"initdb: {made.stderr}")
            with open(self.template("postgresql.conf")) as conf, \
                    open(os.path.join(data, "postgresql.conf"), "a") as file:
                file.write(conf.read())
        return Process([f"{bin}/postgres", "-D", data, "-p", str(self.port)], self.log, user=user,
                       cwd="/")

    def extra(self):
        return {"user": "postgres"}


class Tollgate(Server):
    def launch(self):
        self.admin = self.admin if self.process else free_port()
        conf = self.template("tollgate.toml", ADMIN=self.admin, SINK=self.options["sink"],
                             RATE=self.options["rate"], BURST=self.options["burst"],
                             CONCURRENCY=self.options["concurrency"])
        return Process([self.options["tollgate"], "serve", "--config", conf], self.log,
                       env={"RUST_LOG": "warn"})

    def start(self):
        super().start()
        until("tollgate is ready", lambda: self.ask("/readyz", quiet=True), START,
              self.process)

    def ask(self, path, method="GET", quiet=False):
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.read().decode()
        except OSError:
            if quiet:
                return ""
            raise

    def finished(self):
        lines = self.ask("/metrics").splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines
                   if line.startswith("tollgate_jobs_finished_total{"))


SERVERS = {"redis": Redis, "nats": Nats, "rabbitmq": RabbitMq, "postgresql": Postgresql,
           "tollgate": Tollgate}
