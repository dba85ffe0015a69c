"""What a message costs, every cell with its spread, in one table: Markdown."""

from statistics import median as middle_of

from .names import with_versions
from .results import median, values

ABOUT = "CPU microseconds of the server, user and kernel, all threads: the median of the runs, and the least and the most of them. `*`: the load was the limit."

CELLS = [f"{size}, pipeline {pipeline}" for size in ("64 B", "1 KB", "64 KB") for pipeline in (1, 16)]

# Question, name, and servers; of several the best is shown, cell by cell.
ROWS = [
    ("echo", "**Sockeye, JSON, one process**", ["sockeye-one"]),
    ("echo", "**the same, engine in a process**", ["sockeye-one-port"]),
    ("echo", "**Sockeye, JSON, a process a connection**", ["sockeye-each"]),
    ("echo", "**the same, engine in a process**", ["sockeye-each-port"]),
    ("raw", "**Sockeye, raw, one process**", ["sockeye-raw"]),
    ("raw", "**the same, engine in a process**", ["sockeye-raw-port"]),
    ("raw", "**Sockeye, raw, a process a connection**", ["sockeye-raw-each"]),
    ("raw", "**the same, engine in a process**", ["sockeye-raw-each-port"]),
    ("echo", "cowboy + jiffy, one gen_server", ["cowboy-one"]),
    ("echo", "cowboy + jiffy, a process a connection", ["cowboy-each"]),
    ("raw", "cowboy, raw", ["cowboy-raw"]),
    ("echo", "tokio-tungstenite + serde_json, no Erlang, batched", ["tungstenite", "tungstenite-4k"]),
    ("echo", "fastwebsockets + sonic-rs, no Erlang", ["fastwebsockets"]),
    ("raw", "uWebSockets, raw, no JSON", ["uws-raw"]),
    ("echo", "your server", ["own"]),
    ("raw", "a bare epoll loop in Rust, raw", ["raw-echo"]),
]
# What is asked for this table alone; what the reader brings comes by itself.
SERVERS = {question: [name for asked, _, names in ROWS if asked == question for name in names if name not in ("own", "uws-raw")]
           for question in ("echo", "raw")}


# Of one question, in which both answer a cell in the same minute.
SHARES = [
    ("JSON: a process a connection / one process", "echo", "sockeye-each", "sockeye-one"),
    ("JSON: one process / fastwebsockets + sonic-rs", "echo", "sockeye-one", "fastwebsockets"),
    ("JSON: one process / tokio-tungstenite", "echo", "sockeye-one", "tungstenite-4k"),
    ("JSON: one process / cowboy's", "echo", "sockeye-one", "cowboy-one"),
    ("JSON: a process a connection / cowboy's", "echo", "sockeye-each", "cowboy-each"),
    ("raw: one process / uWebSockets", "raw", "sockeye-raw", "uws-raw"),
    ("raw: a process a connection / uWebSockets", "raw", "sockeye-raw-each", "uws-raw"),
    ("raw: one process / bare loop", "raw", "sockeye-raw", "raw-echo"),
    ("JSON, one process: engine as a process / library", "echo", "sockeye-one-port", "sockeye-one"),
    ("raw, one process: engine as a process / library", "raw", "sockeye-raw-port", "sockeye-raw"),
]


def markdown(results):
    """Both tables; None if there is nothing to show."""
    made = costs(results)
    ratios = made and shares(results)
    return made and made + (f"\n\nAs shares, the median of the runs' own ratios (below 1 is less work):\n\n{ratios}" if ratios else "")


def costs(results):
    heads = [cell.replace("pipeline ", "") if n else cell for n, cell in enumerate(CELLS)]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(CELLS) + 1) + "|"]
    for question, about, names in with_versions(ROWS, results.names("echo") + results.names("raw")):
        found = results.of(question)
        cells = [cell_of([found.get((cell, name)) for name in names]) for cell in CELLS]
        if set(cells) != {"-"}:
            lines.append(f"| {about} | " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 2 else None


def shares(results):
    """The ratio within a run is less noisy than one of medians."""
    heads = [cell.replace("pipeline ", "") if n else cell for n, cell in enumerate(CELLS)]
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(CELLS) + 1) + "|"]
    by_run = {(row["question"], row.get("cell"), row.get("server"), row.get("run")): row["cpu_us"] for row in results.rows if row.get("cpu_us")}
    for about, question, ours, theirs in with_versions(SHARES, results.names("echo")):
        cells = []
        for cell in CELLS:
            ratios = [cpu / by_run[question, cell, theirs, run] for (asked, of, server, run), cpu in by_run.items()
                      if (asked, of, server) == (question, cell, ours) and (question, cell, theirs, run) in by_run]
            cells.append(f"{middle_of(ratios):.2f}" if ratios else "-")
        if set(cells) != {"-"}:
            lines.append(f"| {about} | " + " | ".join(cells) + " |")
    return "\n".join(lines) if len(lines) > 2 else None


def cell_of(servers):
    medians = [(middle, rows) for rows in servers if (middle := median(rows, "cpu_us")) is not None]
    if not medians:
        return "-"
    middle, rows = min(medians, key=lambda pair: pair[0])
    spread = values(rows, "cpu_us")
    shown = "" if len(spread) < 2 else f" ({short(min(spread))}-{short(max(spread))})"
    # Where the load is the limit, the server waits, and takes smaller pieces than it could.
    return short(middle) + shown + (" *" if (median(rows, "load_busy") or 0) > 0.9 else "")


def short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
