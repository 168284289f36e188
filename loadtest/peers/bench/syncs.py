"""Whether an acknowledgement means anything: the syncs that a server makes while jobs are handed in,
counted with strace. It makes everything slow, so nothing else is measured with it."""
import os
import subprocess
import time

from .procs import Failed, tree
from .speed import WORK, client, server_of

CALLS = "fsync,fdatasync,sync_file_range,msync"


def turn(installed, peer, sink, dir, options):
    server = server_of(installed, peer, sink, dir, options, rate="1000000/s", burst=1_000_000)
    log = os.path.join(options["out"], "client.log")
    jobs = min(options["jobs"], 5000)
    work = {"jobs": jobs, "size": options["size"], "producers": options["producers"],
            "sink": sink.port}
    trace = os.path.join(options["out"], "strace.log")
    processes = []
    try:
        server.start()
        if peer["adapter"] == "tollgate":
            server.ask("/v1/targets/t/pause", "POST")
        producer = client(installed, server, "produce", peer, work, log)
        processes.append(producer)
        pids = [word for pid in tree([server.process.child.pid]) for word in ("-p", str(pid))]
        strace = subprocess.Popen(["strace", "-f", "-qq", "-e", f"trace={CALLS}", "-o", trace, *pids],
                                  stderr=subprocess.DEVNULL)
        try:
            # It is attached once its first thread is traced; there is no word from it.
            until_traced(server.process.child.pid)
            producer.go()
            producer.answer(WORK)
        finally:
            strace.terminate()
            strace.wait()
        with open(trace) as file:
            # A call that was interrupted by another thread's line ends on a line of its own.
            count = sum("(" in line and "resumed>" not in line for line in file)
        os.remove(trace)
        return {"syncs": count, "jobs": jobs, "jobs_per_sync": jobs / count if count else None}
    finally:
        for process in processes:
            process.kill()
        server.close()


def until_traced(pid):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with open(f"/proc/{pid}/status") as file:
            if any(line.startswith("TracerPid:") and line.split()[1] != "0" for line in file):
                return
        time.sleep(0.05)
    raise Failed("strace did not attach within 30 s")
