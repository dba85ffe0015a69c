"""Tables on standard output, JSON lines in bench/results/."""

import json
import os
import platform
import statistics
import subprocess
import time

from .servers import BENCH, ROOT

# (size, pipeline) -> the share of cowboy's CPU that one gen_server on Sockeye may take.
TARGETS = {
    (64, 1): 1 / 4,
    (64, 16): 1 / 12,
    (1024, 1): 1 / 5,
    (1024, 16): 1 / 5,
    (65536, 1): 1 / 5,
    (65536, 16): 1 / 5,
}


class Results:
    """One file a run of the bench; the first line tells on what it ran."""

    def __init__(self, name):
        folder = BENCH / "results"
        folder.mkdir(exist_ok=True)
        self.path = folder / time.strftime(f"%Y%m%d-%H%M%S-{name}.jsonl")
        self.add({"machine": machine()})

    def add(self, row):
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def machine():
    cpu = ""
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                cpu = line.split(":")[1].strip()
                break
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "commit": said("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "otp": said("erl", "-noshell", "-eval", "io:put_chars(erlang:system_info(otp_release)),halt()."),
        "load_average": os.getloadavg()[0],
    }


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def size_name(size):
    return f"{size // 1024} KB" if size % 1024 == 0 else f"{size} B"


def echo_tables(cells, names, rows):
    """rows: (size, pipeline, server) -> results that are not errors."""
    for size, pipeline in cells:
        print(f"\n{size_name(size)}, pipeline {pipeline}")
        print(f"  {'server':<26}{'CPU us/msg':>11}{'min-max':>17}{'/cowboy':>9}{'/tungst.':>9}"
              f"{'wire B':>8}{'msg/s':>10}{'p50 us':>9}{'p99 us':>9}{'load':>6}")
        peers = [reference(rows, size, pipeline, name) for name in ("cowboy-one", "tungstenite")]
        for name in names:
            found = rows.get((size, pipeline, name), [])
            if not found:
                print(f"  {name:<26}{'-':>11}")
                continue
            cpu = median(found, "cpu_us")
            low, high = min(r["cpu_us"] for r in found), max(r["cpu_us"] for r in found)
            shares = "".join(f"{cpu / p:>9.3f}" if p else f"{'-':>9}" for p in peers)
            print(f"  {name:<26}{cpu:>11.2f}{f'{low:.2f}-{high:.2f}':>17}{shares}"
                  f"{median(found, 'wire_bytes'):>8.0f}{median(found, 'per_second'):>10.0f}{median(found, 'p50_us') or '-':>9}"
                  f"{median(found, 'p99_us') or '-':>9}{median(found, 'load_busy'):>6.0%}"
                  f"{'  load was the limit' if median(found, 'load_busy') > 0.9 else ''}")


def reference(rows, size, pipeline, name):
    found = rows.get((size, pipeline, name), [])
    if not found and name == "cowboy-one":
        found = rows.get((size, pipeline, "cowboy-deflate"), [])
    if name == "tungstenite":
        # The better of its two buffer sizes is the one to beat.
        found = min((f for n in (name, name + "-4k") if (f := rows.get((size, pipeline, n), []))),
                    key=lambda f: median(f, "cpu_us"), default=[])
    return median(found, "cpu_us") if found else None


def echo_targets(cells, rows):
    """The project's own goals, judged by medians."""
    lines = []
    for size, pipeline in cells:
        cell = f"{size_name(size)}, pipeline {pipeline}"
        cowboy = reference(rows, size, pipeline, "cowboy-one")
        tungstenite = reference(rows, size, pipeline, "tungstenite")
        one = reference(rows, size, pipeline, "sockeye-one")
        goal = TARGETS.get((size, pipeline))
        if one and cowboy and goal:
            lines.append(verdict(f"{cell}: sockeye-one / cowboy-one", one / cowboy, goal))
        for name in ("sockeye-one", "sockeye-pool", "sockeye-each"):
            cpu = reference(rows, size, pipeline, name)
            if cpu and tungstenite:
                lines.append(verdict(f"{cell}: {name} / tungstenite", cpu / tungstenite, 1.0))
    if lines:
        print("\ntargets (shares of CPU)")
        print("\n".join(lines))


def verdict(what, share, goal):
    return f"  {'met   ' if share <= goal else 'MISSED'} {what}: {share:.3f}, at most {goal:.3f}"


def idle_table(rows):
    print(f"\n  {'server':<18}{'connections':>12}{'fresh B':>10}{'echoed B':>10}{'handshake us':>14}{'idle CPU':>10}")
    for name, found in rows.items():
        print(f"  {name:<18}{found[0]['connections']:>12}{median(found, 'bytes_fresh'):>10.0f}"
              f"{median(found, 'bytes_echoed'):>10.0f}{median(found, 'handshake_us'):>14.1f}"
              f"{median(found, 'idle_busy'):>10.2%}")


def flood_table(rows):
    print(f"\n  {'server':<18}{'sent':>9}{'in time':>9}{'lost':>6}{'drain s':>9}{'unanswered':>12}"
          f"{'mailbox':>9}{'RSS before':>12}{'RSS peak':>10}")
    for name, found in rows.items():
        row = found[0]
        mailbox = row.get("mailbox_peak", "-")
        print(f"  {name:<18}{row['sent']:>9}{row['answered_in_time']:>9}{row['lost']:>6}{row['drain_seconds']:>9}"
              f"{row['most_unanswered']:>12}{mailbox:>9}{row['rss_before'] / 2**20:>9.1f} MB"
              f"{row['rss_peak'] / 2**20:>7.1f} MB")
        if row["gave_up"]:
            print(f"    still answering after {row['drain_seconds']} s: not all of the lost need be lost")
        for error in sorted(set(row["errors"])):
            print(f"    {row['errors'].count(error)} connections: {error}")
