"""Durable enqueue by 64 producers, then each job posted and marked done."""
import json
import os
import time
import urllib.request

from .procs import Failed, Process, until
from .servers import SERVERS

READY, WORK = 120, 1800


class Sink:
    def __init__(self, installed, dir):
        self.process = Process([installed.sink], os.path.join(dir, "sink.log"), talks=True)
        self.port = int(self.process.line(30).rpartition(":")[2])

    def ask(self, path, method="GET"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    def reset(self):
        self.ask("/reset", "POST")

    def count(self):
        return int(self.ask("/count"))

    def arrivals(self):
        """[(seconds since 1970, name)] in the order of time."""
        lines = (line.split() for line in self.ask("/arrivals").splitlines())
        return sorted((int(at) / 1e9, name) for at, name in lines)


def client(installed, server, mode, peer, options, log, **more):
    """A producer or a worker of ours; it waits for `go`."""
    settings = {**peer, **server.extra(), **options, **more, "port": server.port}
    if peer["adapter"] == "celery":
        command = [installed.python, "tasks.py", mode]
        where, env = os.path.join(installed.here, "celery"), {"PEER": json.dumps(settings)}
    else:
        command = ["node", os.path.join(installed.node, "drive.mjs"), mode, json.dumps(settings)]
        where, env = installed.node, {"NODE_ENV": "production"}
    process = Process(command, log, env=env, cwd=where, talks=True)
    try:
        if process.answer(READY) != "ready":
            raise Failed(f"{mode}: not ready")
    except Failed:
        process.kill()
        raise
    return process


def server_of(installed, peer, sink, dir, options, **limit):
    """The server that this peer needs, not started yet. `limit` is for Tollgate alone."""
    known = {"sink": sink.port, "concurrency": peer["concurrency"],
             "tollgate": options["tollgate"], **limit}
    return SERVERS[peer.get("server", "tollgate")](installed, dir, known)


def turn(installed, peer, sink, dir, options):
    """One turn of one peer: {figure: value}."""
    server = server_of(installed, peer, sink, dir, options, rate="1000000/s", burst=1_000_000)
    log = os.path.join(options["out"], "client.log")
    work = {"jobs": options["jobs"], "size": options["size"], "producers": options["producers"],
            "sink": sink.port}
    clients = []
    try:
        server.start()
        if peer["adapter"] == "tollgate":
            server.ask("/v1/targets/t/pause", "POST")
        figures = enqueue(installed, server, peer, work, log, clients)
        sink.reset()
        if peer["adapter"] == "tollgate":
            figures |= drain_tollgate(server, sink, work)
        else:
            figures |= drain(installed, server, peer, sink, work, log, clients)
        names = [name for _, name in sink.arrivals()]
        figures["repeats"] = len(names) - len(set(names))
        figures["missing"] = work["jobs"] - len(set(names))
        return figures
    finally:
        for process in clients:
            process.kill()
        server.close()


def enqueue(installed, server, peer, work, log, clients):
    producer = client(installed, server, "produce", peer, work, log)
    clients.append(producer)
    before, mine = server.cpu(), producer.cpu()
    producer.go()
    said = producer.answer(WORK)
    jobs = work["jobs"]
    return {
        "enqueue_per_s": jobs / said["seconds"],
        "enqueue_p50_ms": said["p50_ms"], "enqueue_p99_ms": said["p99_ms"],
        "enqueue_server_cpu_us": (server.cpu() - before) / jobs * 1e6,
        "enqueue_client_cpu_us": max(0.0, ended(producer) - mine) / jobs * 1e6,
    }


def ended(process):
    """What a process that is done has used; it exits by itself, which is waited for."""
    used = process.cpu()
    process.child.wait(timeout=30)
    return used


def drain(installed, server, peer, sink, work, log, clients):
    worker = client(installed, server, "work", peer, work, log)
    clients.append(worker)
    before = server.cpu() + worker.cpu()
    worker.go()
    # It ends once it has said so, and its time with it: the last reading before that is kept.
    used, said = before, None
    last = (0, time.monotonic())
    while said is None:
        try:
            said = worker.answer(0.25)
        except Failed:
            if not worker.alive():
                raise
            count = sink.count()
            if count != last[0]:
                last = (count, time.monotonic())
            elif time.monotonic() - last[1] > 60:
                raise Failed(f"{count} of {work['jobs']} arrived, then none for 60 s") from None
        used = max(used, server.cpu() + worker.cpu())
    jobs = work["jobs"]
    return {"dispatch_per_s": jobs / said["seconds"],
            "dispatch_cpu_us": (used - before) / jobs * 1e6}


def drain_tollgate(server, sink, work):
    jobs = work["jobs"]
    before, start = server.cpu(), time.monotonic()
    server.ask("/v1/targets/t/resume", "POST")
    until("every job arrives", lambda: sink.count() >= jobs, WORK, server.process)
    until("every job has ended", lambda: server.finished() >= jobs, WORK, server.process)
    seconds = time.monotonic() - start
    return {"dispatch_per_s": jobs / seconds, "dispatch_cpu_us": (server.cpu() - before) / jobs * 1e6}
