"""Processes that are measured: started in a directory of their own, watched through /proc, ended."""
import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """Something did not start, or did not finish in time; says what and where its log is."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _stat(pid):
    """(parent, seconds of processor time), also of its children that have ended; None: gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            # The second field is a name in parentheses that may hold anything.
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return int(fields[1]), sum(map(int, fields[11:15])) / TICKS


def tree(roots):
    """{pid: seconds} of these processes and all that descend from them."""
    stats = {int(pid): _stat(pid) for pid in os.listdir("/proc") if pid.isdigit()}
    stats = {pid: stat for pid, stat in stats.items() if stat}
    found = set(roots)
    while True:
        more = {pid for pid, (parent, _) in stats.items() if parent in found} - found
        if not more:
            return {pid: stats[pid][1] for pid in found if pid in stats}
        found |= more


class Process:
    def __init__(self, command, log, env=None, cwd=None, user=None, talks=False):
        self.name, self.log = os.path.basename(command[0]), log
        extra = {"user": user, "group": user, "extra_groups": []} if user else {}
        with open(log, "ab") as file:
            self.child = subprocess.Popen(
                command, cwd=cwd, env={**os.environ, **(env or {})}, stderr=file,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else file, text=True, **extra)
        self.lines = queue.Queue()
        if talks:
            threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def line(self, timeout):
        """The next line that it prints."""
        try:
            line = self.lines.get(timeout=timeout)
        except queue.Empty:
            raise Failed(f"{self.name} said nothing for {timeout} s: see {self.log}") from None
        if line is None:
            raise Failed(f"{self.name} ended early: {self.tail()} (see {self.log})")
        return line

    def answer(self, timeout):
        return json.loads(self.line(timeout))

    def go(self):
        self.child.stdin.write("go\n")
        self.child.stdin.flush()

    def tail(self):
        with open(self.log, errors="replace") as file:
            return " / ".join(line.strip() for line in file.readlines()[-6:])

    def alive(self):
        return self.child.poll() is None

    def cpu(self):
        return sum(tree([self.child.pid]).values())

    def kill(self):
        """SIGKILL to it and all its descendants: those that are ended are the ones it started."""
        for pid in tree([self.child.pid]):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()


def until(what, check, seconds, process=None):
    end = time.monotonic() + seconds
    while not check():
        if process and not process.alive():
            raise Failed(f"{what}: {process.name} ended: {process.tail()}")
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def listens(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0
