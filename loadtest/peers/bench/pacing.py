"""The quality of pacing at 50 a second: what the sink sees, and how long HIGH waits behind BATCH,
with SIGKILL to server and worker half-way."""
import json
import os
import time

from .procs import Failed, Process
from .speed import client, server_of

RATE, HIGH_PER_S, SETTLE, FILL = 50, 5, 3, 1800


def worker(installed, server, peer, work, log):
    if peer["adapter"] == "celery":
        settings = {**peer, **work, "port": server.port, "letter": "B"}
        command = [installed.python, "-m", "celery", "-A", "tasks", "worker", "-l", "error", "-O",
                   "fair", "--pool", "threads", "--concurrency", str(peer["concurrency"]),
                   "--without-gossip", "--without-mingle"]
        return Process(command, log, env={"PEER": json.dumps(settings)},
                       cwd=os.path.join(installed.here, "celery"))
    process = client(installed, server, "work", peer, work, log)
    process.go()
    return process


def turn(installed, peer, sink, dir, options):
    server = server_of(installed, peer, sink, dir, options, rate=f"{RATE}/s", burst=1)
    ours = peer["adapter"] == "tollgate"
    log = os.path.join(options["out"], "client.log")
    work = {"jobs": options["backlog"], "size": options["size"], "producers": 8,
            "sink": sink.port, "per_second": HIGH_PER_S, "first": 0}
    clients, sent = [], {}
    try:
        server.start()
        if ours:
            server.ask("/v1/targets/t/pause", "POST")
        filler = client(installed, server, "fill", peer, work, log, letter="B")
        clients.append(filler)
        filler.go()
        filler.answer(FILL)
        sink.reset()
        if ours:
            server.ask("/v1/targets/t/resume", "POST")
        else:
            clients.append(worker(installed, server, peer, work, log))
            wait_for(sink)
        time.sleep(SETTLE)
        high = client(installed, server, "trickle", peer, work, log, letter="H")
        clients.append(high)
        high.go()
        start = time.time()
        time.sleep(options["seconds"])
        if not ours:
            clients[1].kill()
        server.kill()
        killed = time.time()
        server.start()
        if not ours:
            clients.append(worker(installed, server, peer, work, log))
        time.sleep(options["seconds"])
        end = time.time()
        high.kill()
        while not high.lines.empty():
            line = high.answer(0) if high.lines.queue[0] else high.lines.get()
            if line:
                sent[line["name"]] = line["sent"] / 1e9
        return figures(sink.arrivals(), sent, start, killed, end)
    finally:
        for process in clients:
            process.kill()
        server.close()


def wait_for(sink):
    end = time.monotonic() + 60
    while not sink.count():
        if time.monotonic() > end:
            raise Failed("nothing arrived for 60 s")
        time.sleep(0.05)


def figures(arrivals, sent, start, killed, end):
    """`arrivals`: [(at, name)]; `sent`: {name: when the HIGH job was to be handed in}. Seconds.
    The use of the rate counts from `start` to `killed`; the most in a second counts everything."""
    times = [at for at, _ in arrivals]
    first = {}
    for at, name in arrivals:
        first.setdefault(name, at)
    steady = sum(start <= at < killed for at in times)
    waits = sorted((first[name] - at) * 1e3 for name, at in sent.items()
                   if name in first and first[name] < killed)
    over = sorted((first.get(name, end) - at) * 1e3 for name, at in sent.items() if at < end - 2)
    after = [at for at in times if at > killed]
    return {
        "most_in_a_second": most(times, 1.0),
        "most_in_100_ms": most(times, 0.1),
        "use_percent": 100 * steady / (killed - start) / RATE,
        "use_after_kill_percent": 100 * len(after) / (end - killed) / RATE,
        "high_p50_ms": nth(waits, 0.5), "high_p99_ms": nth(waits, 0.99),
        "high_worst_with_kill_ms": nth(over, 1.0),
        "high_not_seen": sum(name not in first for name, at in sent.items() if at < end - 2),
        "silence_after_kill_s": after[0] - killed if after else end - killed,
        "repeats": len(times) - len(first),
    }


def nth(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] if values else None


def most(times, window):
    """The most in any half-open window of so many seconds."""
    best = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= window:
            first += 1
        best = max(best, last - first + 1)
    return best
