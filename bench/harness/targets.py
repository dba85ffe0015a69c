"""The project's own goals, judged by medians."""

from .report import TUNGSTENITE
from .results import least, median, values

# The share of cowboy's CPU that an echo may take, both through one process, and both with one for each connection.
ONE = {"64 B, pipeline 1": 1 / 4, "64 B, pipeline 16": 1 / 12, "1 KB, pipeline 1": 1 / 5, "1 KB, pipeline 16": 1 / 5,
       "64 KB, pipeline 1": 1 / 7, "64 KB, pipeline 16": 1 / 7}
EACH = {"64 B, pipeline 1": 1 / 4, "64 B, pipeline 16": 1 / 8, "1 KB, pipeline 1": 1 / 4, "1 KB, pipeline 16": 1 / 4,
        "64 KB, pipeline 1": 1 / 5, "64 KB, pipeline 16": 1 / 5}
# Bytes of resident memory for an idle connection, and of what is left of it.
IDLE = {"sockeye-one": 1024, "sockeye-each": 4096}
LEFT = 100


def judge(results):
    lines = []

    def compare(question, cell, key, server, peers, goal):
        found = results.of(question)
        own, peer = median(found.get((cell, server)), key), least(found, cell, peers, key)
        if own is not None and peer:
            lines.append(verdict(f"{cell}: {server} / {' or '.join(peers)}", own / peer, goal))

    for cell in results.cells("echo"):
        if cell in ONE:
            compare("echo", cell, "cpu_us", "sockeye-one", ["cowboy-one"], ONE[cell])
            compare("echo", cell, "cpu_us", "sockeye-each", ["cowboy-each"], EACH[cell])
        for server in ("sockeye-one", "sockeye-pool", "sockeye-each"):
            compare("echo", cell, "cpu_us", server, TUNGSTENITE, 1.0)
    compare("raw", "64 B, pipeline 1", "cpu_us", "sockeye-raw", ["raw-echo"], 1.3)
    for cell in results.cells("fanout"):
        compare("fanout", cell, "one.cpu_us", "sockeye-topic", ["raw-loop"], 1.3)
        compare("fanout", cell, "one.cpu_us", "sockeye-topic", ["cowboy-topic"], 1 / 2)
        compare("fanout", cell, "burst.cpu_us", "sockeye-topic", ["cowboy-topic"], 1 / 8)
    compare("handshakes", "ws", "cpu_us", "sockeye-one", ["cowboy-one"], 1 / 4)
    for cell in results.cells("health"):
        if cell == "no load":
            continue
        compare("health", cell, "wake_p99_us", "sockeye-one", ["cowboy-one"], 1.0)
        compare("health", cell, "wake_p99_us", "sockeye-each", ["cowboy-each"], 1.0)
        compare("health", cell, "wake_p99_us", "sockeye-topic", ["cowboy-topic"], 1.0)
    for (cell, server), rows in results.of("idle").items():
        if server in IDLE and values(rows, "bytes_fresh"):
            most = max(median(rows, "bytes_fresh"), median(rows, "bytes_echoed"))
            lines.append(verdict(f"{cell}: bytes of each, {server}", most, IDLE[server]))
            lines.append(verdict(f"{cell}: bytes left when closed, {server}", median(rows, "bytes_left"), LEFT))
    return lines


def verdict(what, value, goal):
    places = 0 if goal > 10 else 3
    return f"  {'met   ' if value <= goal else 'MISSED'} {what}: {value:,.{places}f}, at most {goal:,.{places}f}"
