"""Medians, least and most of the turns, and ratios to Tollgate within a turn."""
import json
import os
import platform
import statistics
import tempfile
import time

SPEED = [
    ("enqueue_per_s", "durable enqueues/s", 0), ("enqueue_p50_ms", "its p50, ms", 1),
    ("enqueue_p99_ms", "its p99, ms", 1),
    ("enqueue_server_cpu_us", "server CPU, µs/enqueue", 0),
    ("dispatch_per_s", "dispatches/s", 0), ("dispatch_cpu_us", "CPU, µs/dispatch", 0),
    ("repeats", "repeats", 0), ("missing", "missing", 0),
]
PACING = [
    ("most_in_a_second", "most in 1 s", 0), ("most_in_100_ms", "most in 100 ms", 0),
    ("use_percent", "use, %", 1), ("use_after_kill_percent", "use after kill, %", 1),
    ("high_p50_ms", "HIGH p50, ms", 0), ("high_p99_ms", "HIGH p99, ms", 0),
    ("high_worst_with_kill_ms", "HIGH worst, kill incl., ms", 0),
    ("high_not_seen", "HIGH not seen", 0),
    ("silence_after_kill_s", "silence after kill, s", 2), ("repeats", "repeats", 0),
]
SYNCS = [("syncs", "syncs", 0), ("jobs", "jobs", 0), ("jobs_per_sync", "jobs a sync", 1)]
RATIOS = ["enqueue_per_s", "dispatch_per_s", "dispatch_cpu_us"]


def machine(dir):
    def field(path, name):
        with open(path) as file:
            return next((line.partition(":")[2].strip() for line in file
                         if line.startswith(name)), "")
    return {
        "cpu": field("/proc/cpuinfo", "model name"), "cores": os.cpu_count(),
        "memory": field("/proc/meminfo", "MemTotal"), "kernel": platform.release(),
        "fdatasync_us": fdatasync(dir), "load": os.getloadavg()[0],
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "nice": os.nice(0),
    }


def fdatasync(dir):
    """Median of 100 appends of 4 KiB, each synced, in microseconds."""
    took = []
    with tempfile.NamedTemporaryFile(dir=dir) as file:
        for _ in range(100):
            start = time.perf_counter()
            os.write(file.fileno(), b"x" * 4096)
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - start)
    return statistics.median(took) * 1e6


def three(values):
    """(median, least, most); None: no turn has it."""
    values = [value for value in values if value is not None]
    return (statistics.median(values), min(values), max(values)) if values else None


def summary(turns):
    """`turns`: [{peer: figures or None}]. {peer: {figure: (median, least, most)}} with ratios."""
    peers = list(dict.fromkeys(peer for turn in turns for peer in turn))
    result = {}
    for peer in peers:
        mine = [turn for turn in turns if turn.get(peer)]
        names = list(dict.fromkeys(name for turn in mine for name in turn[peer]))
        result[peer] = {name: three([turn[peer].get(name) for turn in mine]) for name in names}
        for name in RATIOS:
            pairs = [(turn[peer].get(name), turn["tollgate"].get(name)) for turn in mine
                     if turn.get("tollgate")]
            ratios = [one / other for one, other in pairs if one is not None and other]
            if ratios:
                result[peer][f"{name}_to_tollgate"] = three(ratios)
        result[peer]["turns"] = len(mine)
    return result


def cell(value, digits):
    if value is None:
        return "-"
    median, least, most = (f"{part:,.{digits}f}" for part in value)
    return median if least == most else f"{median} ({least} to {most})"


def table(results, columns):
    head = ["", *(title for _, title, _ in columns)]
    rows = [[peer, *(cell(figures.get(name), digits) for name, _, digits in columns)]
            for peer, figures in results.items()]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def text(report):
    ratios = [(f"{name}_to_tollgate", f"{name} / tollgate's", 2) for name in RATIOS]
    parts = []
    for title, part, columns in (("Speed", "speed", SPEED), ("Within a turn", "speed", ratios),
                                 ("Pacing at 50/s", "pacing", PACING),
                                 ("Syncs while jobs are handed in", "syncs", SYNCS)):
        if report[part]:
            parts.append(f"## {title}\n{table(report[part], columns)}\n")
    for name, problem in report["problems"].items():
        parts.append(f"\n{name} did not run: {problem}\n")
    return "".join(parts)


def write(report, dir, name):
    with open(os.path.join(dir, f"{name}.json"), "w") as file:
        json.dump(report, file, indent=1)
    with open(os.path.join(dir, f"{name}.md"), "w") as file:
        file.write(text(report))
