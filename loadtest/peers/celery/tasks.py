"""Celery's side. https://docs.celeryq.dev/en/stable/userguide/routing.html (Redis Message
Priorities), /userguide/tasks.html (rate_limit, acks_late), /userguide/optimizing.html (prefetch)."""
import http.client
import json
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from celery import Celery

SETTINGS = json.loads(os.environ["PEER"])
FILLERS = 32
PRIORITY = {"H": 0, "B": 9}

app = Celery("tasks", broker=f"redis://127.0.0.1:{SETTINGS['port']}/0")
app.conf.update(
    broker_pool_limit=FILLERS,
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=SETTINGS["prefetch_multiplier"],
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "queue_order_strategy": "priority", "priority_steps": [0, 9], "sep": ":"},
)
connections, printing = threading.local(), threading.Lock()


@app.task(name="post", rate_limit=SETTINGS["rate_limit"])
def post(name, body):
    if not hasattr(connections, "sink"):
        connections.sink = http.client.HTTPConnection("127.0.0.1", SETTINGS["sink"])
    connections.sink.request("POST", f"/n/{name}", body)
    assert connections.sink.getresponse().read() == b"{}"


def send(n):
    name = f"{SETTINGS['letter']}{n:012}"
    body = json.dumps({"n": name, "pad": "x" * (SETTINGS["size"] - 33)})
    post.apply_async((name, body), priority=PRIORITY[name[0]])
    return name


def fill():
    """By many threads, each with a connection: a sync of Redis serves those that wait for it."""
    with ThreadPoolExecutor(FILLERS) as fillers:
        for _ in fillers.map(send, range(SETTINGS["jobs"])):
            pass
    print(json.dumps({"filled": SETTINGS["jobs"]}), flush=True)


def trickle():
    start, n = time.monotonic(), 0
    while True:
        at = (n + random.random()) / SETTINGS["per_second"]
        time.sleep(max(0.0, start + at - time.monotonic()))
        sent, n = time.time_ns(), n + 1
        threading.Thread(target=sent_once, args=(n + SETTINGS["first"], sent)).start()


def sent_once(n, sent):
    while True:
        try:
            line = json.dumps({"name": send(n), "sent": sent})
            with printing:
                print(line, flush=True)
            return
        except Exception:  # noqa: BLE001 - the broker is away: it is restarted
            time.sleep(0.02)


if __name__ == "__main__":
    print('"ready"', flush=True)
    sys.stdin.readline()
    {"fill": fill, "trickle": trickle}[sys.argv[1]]()
