"""Our servers beside those of another checkout: what a change has cost."""

from statistics import median

from .results import value
from .servers import BEFORE

# What each question measures, the smaller the better.
KEYS = {"fanout": ["one.cpu_us", "burst.cpu_us"], "handshakes": ["cpu_us", "close_cpu_us"],
        "idle": ["bytes_fresh", "bytes_echoed"], "health": ["wake_p50_us"], "flood": ["cpu_us"], "pings": ["cpu_us_second"]}
MOST = 1.02


def show(results):
    print(f"\nafter / before: the median of the runs' ratios, least to most; over {MOST} is marked")
    for question, cell, server, key, found in pairs(results.rows):
        middle = median(found)
        print(f"  {'OVER' if middle > MOST else '    '} {middle:.3f}  {min(found):.3f}-{max(found):.3f}  "
              f"{question}, {cell}: {server}" + (f", {key}" if len(KEYS.get(question, [])) > 1 else ""))


def pairs(rows):
    """Both answer a cell in the same minute of a run: their ratio there is less noisy than one of medians."""
    by_run = {(row.get("question"), row.get("cell"), row.get("server"), row.get("run")): row for row in rows}
    found = {}
    for (question, cell, server, run), row in by_run.items():
        old = by_run.get((question, cell, f"{BEFORE}{server}", run))
        for key in KEYS.get(question, ["cpu_us"]) if old else []:
            new, past = value(row, key), value(old, key)
            if new and past:
                found.setdefault((question, cell, server, key), []).append(new / past)
    return [(*which, ratios) for which, ratios in found.items()]
