"""Tables on standard output."""

import re

from .names import cowboys
from .results import least, median, values

TUNGSTENITE = ["tungstenite", "tungstenite-4k"]


def show(text, width):
    return f"{text:>{width}}"


def number(rows, key, places=0, unit=1):
    found = median(rows, key)
    return "-" if found is None else f"{found / unit:,.{places}f}"


def spread(rows, key, places=2):
    found = values(rows, key)
    return f"{min(found):,.{places}f}-{max(found):,.{places}f}" if found else "-"


def share(rows, key, peer):
    found = median(rows, key)
    return f"{found / peer:.3f}" if found and peer else "-"


def limit(rows, key="load_busy"):
    return "  load was the limit" if (median(rows, key) or 0) > 0.9 else ""


def table(found, cells, names, columns, note=lambda rows: ""):
    """columns: heading -> (width, function of the cell and its rows)."""
    for cell in cells:
        if not any((cell, name) in found for name in names):
            continue
        print(f"\n{cell}")
        print(f"  {'server':<26}" + "".join(show(heading, width) for heading, (width, _) in columns.items()))
        for name in names:
            rows = found.get((cell, name))
            if rows:
                print(f"  {name:<26}" + "".join(show(of(cell, rows), width) for width, of in columns.values()) + note(rows))


def best_cowboy(found, cell, name, key="cpu_us"):
    """Of the versions that were measured, the one to beat."""
    return least(found, cell, cowboys(name, (server for _, server in found)), key)


def echo_columns(found, cowboy, tungstenite, more=None):
    return {
        "CPU us/msg": (11, lambda cell, rows: number(rows, "cpu_us", 2)),
        "min-max": (17, lambda cell, rows: spread(rows, "cpu_us")),
        "/cowboy": (9, lambda cell, rows: share(rows, "cpu_us", best_cowboy(found, cell, cowboy))),
        "/tungst.": (9, lambda cell, rows: share(rows, "cpu_us", least(found, cell, tungstenite, "cpu_us"))),
        **(more or {}),
        "wire B": (8, lambda cell, rows: number(rows, "wire_bytes")),
        "msg/s": (11, lambda cell, rows: number(rows, "per_second")),
        "p50 us": (9, lambda cell, rows: number(rows, "p50_us")),
        "p99 us": (9, lambda cell, rows: number(rows, "p99_us")),
        "load": (6, lambda cell, rows: f"{median(rows, 'load_busy'):.0%}"),
    }


def echo(found, cells, names):
    table(found, cells, names, echo_columns(found, "cowboy-one", TUNGSTENITE), limit)


def deflate(found, cells, names):
    table(found, cells, names, echo_columns(found, "cowboy-deflate", []), limit)


def raw(found, cells, names):
    against = {"/raw": (9, lambda cell, rows: share(rows, "cpu_us", least(found, cell, ["raw-echo"], "cpu_us")))}
    table(found, cells, names, echo_columns(found, "cowboy-raw", ["tungstenite-raw"], against), limit)


def rate(found, cells, names):
    table(found, cells, names, {
        "p50 us": (9, lambda cell, rows: number(rows, "p50_us")),
        "p99 us": (9, lambda cell, rows: number(rows, "p99_us")),
        "p99.9 us": (10, lambda cell, rows: number(rows, "p999_us")),
        "min-max of p99.9": (20, lambda cell, rows: spread(rows, "p999_us", 0)),
        "max us": (10, lambda cell, rows: number(rows, "max_us")),
        "CPU us/msg": (12, lambda cell, rows: number(rows, "cpu_us", 2)),
        "core busy": (11, lambda cell, rows: f"{median(rows, 'server_busy'):.0%}"),
    }, of_rate)


def latency(found, cells, names):
    table(found, cells, names, {
        "msg/s": (11, lambda cell, rows: number(rows, "per_second")),
        "p50 us": (9, lambda cell, rows: number(rows, "p50_us")),
        "p99 us": (9, lambda cell, rows: number(rows, "p99_us")),
        "min-max of p99": (17, lambda cell, rows: spread(rows, "p99_us", 0)),
        "p99.9 us": (10, lambda cell, rows: number(rows, "p999_us")),
        "min-max of p99.9": (20, lambda cell, rows: spread(rows, "p999_us", 0)),
        "CPU us/msg": (12, lambda cell, rows: number(rows, "cpu_us", 2)),
        "core busy": (11, lambda cell, rows: f"{median(rows, 'server_busy'):.0%}"),
    }, lambda rows: of_rate(rows) if "rate" in rows[0] else limit(rows))


def of_rate(rows):
    """What to know of the rows of an open loop before believing them."""
    behind, late = median(rows, "behind"), median(rows, "late_p99_us")
    told = f"  did not keep up: {behind:,.0f} behind" if behind > rows[0]["rate"] / 10 else ""
    return told + (f"  load was late: p99 {late:.0f} us" if late > 200 else "")


def fanout(found, cells, names):
    for key, title in (("one", "one at a time"), ("burst", "fifty at once")):
        against = lambda peer: lambda cell, rows: share(rows, f"{key}.cpu_us", best_cowboy(found, cell, peer, f"{key}.cpu_us"))
        print(f"\n{title}", end="")
        table(found, cells, names, {
            "CPU us/delivery": (16, lambda cell, rows: number(rows, f"{key}.cpu_us", 2)),
            "min-max": (17, lambda cell, rows: spread(rows, f"{key}.cpu_us")),
            "/cowboy": (9, against("cowboy-topic")),
            "/raw loop": (10, against("raw-loop")),
            "last p50 ms": (13, lambda cell, rows: number(rows, f"{key}.last_p50_ms", 2)),
            "last max ms": (13, lambda cell, rows: f"{max(values(rows, f'{key}.last_max_ms')):,.2f}"),
            "delivered/s": (13, lambda cell, rows: number(rows, f"{key}.per_second")),
            "load": (6, lambda cell, rows: f"{median(rows, f'{key}.load_busy'):.0%}"),
        }, lambda rows: limit(rows, f"{key}.load_busy"))
    counted = [(cell, name, rows) for (cell, name), rows in found.items() if values(rows, "writes.calls")]
    for cell, name, rows in counted:
        print(f"  {cell}, {name}: {number(rows, 'writes.per_subscriber', 2)} writes a subscriber "
              f"for {number(rows, 'writes.messages')} messages at once")


def handshakes(found, cells, names):
    def cowboy(cell):
        return best_cowboy(found, cell, "cowboy-tls" if cell == "wss" else "cowboy-one")

    table(found, cells, names, {
        "CPU us": (10, lambda cell, rows: number(rows, "cpu_us", 1)),
        "min-max": (17, lambda cell, rows: spread(rows, "cpu_us", 1)),
        "/cowboy": (9, lambda cell, rows: share(rows, "cpu_us", cowboy(cell))),
        "close CPU us": (14, lambda cell, rows: number(rows, "close_cpu_us", 1)),
        "opened/s": (11, lambda cell, rows: number(rows, "per_second")),
        "load": (6, lambda cell, rows: f"{median(rows, 'load_busy'):.0%}"),
    }, limit)


def pings(found, cells, names):
    table(found, cells, names, {
        "CPU us a second": (16, lambda cell, rows: number(rows, "cpu_us_second", 3)),
        "min-max": (17, lambda cell, rows: spread(rows, "cpu_us_second", 3)),
        "us a ping": (11, lambda cell, rows: number(rows, "cpu_us", 1)),
        "pings each": (12, lambda cell, rows: number(rows, "pings_each", 2)),
    })


def proxy(found, cells, names):
    def against(name):
        return lambda cell, rows: share(rows, "cpu_us", median(found.get((cell, name)), "cpu_us"))

    table(found, cells, names, {
        "CPU us/req": (11, lambda cell, rows: number(rows, "cpu_us", 2)),
        "min-max": (17, lambda cell, rows: spread(rows, "cpu_us")),
        "/haproxy": (9, against("haproxy-proxy")),
        "/nginx": (9, against("nginx-proxy")),
        "req/s": (10, lambda cell, rows: number(rows, "per_second")),
        "p50 us": (9, lambda cell, rows: number(rows, "p50_us")),
        "p99 us": (9, lambda cell, rows: number(rows, "p99_us")),
        "MB": (8, lambda cell, rows: number(rows, "rss", 1, 2**20)),
        "load": (6, lambda cell, rows: f"{median(rows, 'load_busy'):.0%}"),
    })


def health(found, cells, names):
    table(found, cells, names, {
        "wake-up p50 us": (15, lambda cell, rows: number(rows, "wake_p50_us")),
        "p99 us": (10, lambda cell, rows: number(rows, "wake_p99_us")),
        "min-max of p99": (17, lambda cell, rows: spread(rows, "wake_p99_us", 0)),
        "p99.9 us": (10, lambda cell, rows: number(rows, "wake_p999_us")),
        "max us": (10, lambda cell, rows: f"{max(values(rows, 'wake_max_us')):,}"),
        "over 1 ms/min": (14, lambda cell, rows: number([{"n": a_minute(rows)}], "n", 1)),
        "longest ms": (12, lambda cell, rows: f"{max(values(rows, 'long_schedule_max_ms')):,}"),
        "msg/s": (11, lambda cell, rows: number(rows, "per_second")),
    })


def a_minute(rows):
    """What held a scheduler for 1 ms or longer, of all runs together."""
    return sum(values(rows, "long_schedules")) * 60000 / sum(values(rows, "tick_ms"))


def idle(found, cells, names):
    table(found, cells, names, {
        "fresh B": (10, lambda cell, rows: number(rows, "bytes_fresh")),
        "echoed B": (10, lambda cell, rows: number(rows, "bytes_echoed")),
        "closed B": (10, lambda cell, rows: number(rows, "bytes_left")),
        "again B": (10, lambda cell, rows: number(rows, "bytes_again")),
        "open us": (9, lambda cell, rows: number(rows, "handshake_us", 1)),
        "idle CPU": (10, lambda cell, rows: f"{median(rows, 'idle_busy'):.2%}"),
    })


def flood(found, cells, names):
    table(found, cells, names, {
        "sent": (9, lambda cell, rows: number(rows, "sent")),
        "in time": (9, lambda cell, rows: number(rows, "answered_in_time")),
        "lost": (6, lambda cell, rows: number(rows, "lost")),
        "drain s": (9, lambda cell, rows: number(rows, "drain_seconds", 1)),
        "unanswered": (12, lambda cell, rows: number(rows, "most_unanswered")),
        "mailbox": (9, lambda cell, rows: number(rows, "mailbox_peak")),
        "MB before": (11, lambda cell, rows: number(rows, "rss_before", 1, 2**20)),
        "MB peak": (9, lambda cell, rows: number(rows, "rss_peak", 1, 2**20)),
    }, lambda rows: "".join(
        f"\n    still answering after {row['drain_seconds']} s: not all of the lost need be lost" * bool(row["gave_up"])
        + "".join(f"\n    {row['errors'].count(error)} connections: {error}" for error in sorted(set(row["errors"])))
        for row in rows))


def json_rows(text):
    """What bench/json printed, as measurements: of each document a line that names it, and one for each way."""
    what = None
    for line in text.splitlines():
        if head := re.match(r"(\w+), (\d+) B$", line):
            what = f"{int(head[2]):,} B" if head[1] == "records" else f"{head[1]}, {int(head[2]):,} B"
        elif what and (way := re.match(r" +(decode|encode) ", line)):
            for name, ns, thousand in re.findall(r"([\w.]+) (\d+)(k?) \(", line[way.end():]):
                yield {"cell": f"{way[1]} {what}", "server": name, "cpu_ns": int(ns) * (1000 if thousand else 1)}
