"""The numbers in the documents: sections of bench/NUMBERS.md, the table of README.md between its two marks, and bench/plots.

A section is replaced when its question was asked, and says of itself when and how; the others stay.
"""

import re

from . import plots, proof
from .names import with_versions
from .questions import CAPACITY
from .results import least, median, values
from .servers import BENCH, PORT, ROOT

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
ECHO = ["64 B, pipeline 1", "64 B, pipeline 16", "1 KB, pipeline 1", "1 KB, pipeline 16", "64 KB, pipeline 1",
        "64 KB, pipeline 16"]
CROWD = ["64 B, pipeline 1, 1,000 connections", "64 B, pipeline 16, 1,000 connections"]
# Of the questions with plots in the documents, the cells that these show; None: all.
PLOTTED = {"echo": ["64 B, pipeline 1", "64 B, pipeline 16", "1 KB, pipeline 16", "64 KB, pipeline 16"], "fanout": None, "latency": None}
# The table of the README needs them all.
SUMMARIZED = {"echo", "fanout", "idle", "handshakes"}
TUNGSTENITE = ["tungstenite", "tungstenite-4k"]
HEAD = """# Numbers

[How to read them, and what they do not say](README.md). Each section says when it was measured, and with which command."""


def write(results):
    """The paths of what is written."""
    written = []
    asked = {row["question"] for row in results.rows}
    # Its few servers are no whole section.
    is_proof = results.machine.get("arguments", {}).get("proof")
    (BENCH / "plots").mkdir(exist_ok=True)
    for name, cells in PLOTTED.items():
        svg = not is_proof and name in asked and plots.plot(name, results, cells, lambda server: name == "latency" or not server.endswith(PORT))
        if svg:
            (BENCH / "plots" / f"{name}.svg").write_text(svg)
            written.append(BENCH / "plots" / f"{name}.svg")
    page = BENCH / "NUMBERS.md"
    news = {title: made for title, question, make in SECTIONS
            if question in asked and (make is proven or not is_proof) and (made := make(results))}
    page.write_text(merged(page.read_text() if page.exists() else "", news, lambda title: about(results, QUESTIONS_OF[title])))
    written.append(page)
    shown = SUMMARIZED <= asked and summary(results)
    if shown:
        path = ROOT / "README.md"
        text = path.read_text()
        if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
            raise ValueError(f"README.md must hold {BEGIN} and {END}, once each")
        before, after = text[:text.index(BEGIN) + len(BEGIN)], text[text.index(END):]
        path.write_text(before + "\n" + shown + "\n" + after)
        written.append(path)
    return written


def merged(page, news, note):
    """The page with new sections in the place of those of the same title."""
    sections = dict(part.split("\n", 1) for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:])
    sections |= {title: f"\n{made}\n\n{note(title)}\n" for title, made in news.items()}
    order = [title for title, _, _ in SECTIONS]
    titles = sorted(sections, key=lambda title: order.index(title) if title in order else len(order))
    return HEAD + "\n\n" + "\n\n".join(f"## {title}\n\n{sections[title].strip()}" for title in titles) + "\n"


# Title, and the server's name for each question of the summary.
SUMMARY = [
    ("**Sockeye, one process**", ["sockeye-one"], "sockeye-topic", "sockeye-one", "sockeye-one", "sockeye-tls"),
    ("**Sockeye, a process per connection**", ["sockeye-each"], None, "sockeye-each", None, None),
    ("cowboy + jiffy, one gen_server", ["cowboy-one"], "cowboy-topic", None, "cowboy-one", "cowboy-tls"),
    ("cowboy + jiffy, a process per connection", ["cowboy-each"], None, "cowboy-each", None, None),
    ("yaws + jiffy, a process per connection", ["yaws-each"], None, "yaws-each", "yaws-each", None),
    ("Node `ws`", ["node-ws"], "node-ws-topic", "node-ws", "node-ws", "node-ws-tls"),
    ("Python `websockets`", ["python-websockets"], None, "python-websockets", "python-websockets", None),
    ("tokio-tungstenite + serde_json, no Erlang", TUNGSTENITE, "tungstenite-topic", "tungstenite-512", "tungstenite-4k", None),
]


def summary(results):
    """One table for the README: what each server spends, in microseconds of CPU and in bytes."""
    found = {question: results.of(question) for question in ("echo", "fanout", "idle", "handshakes")}

    def first(question, key, server):
        cells = results.cells(question)
        return number(median(found[question].get((cells[0], server)), key) if cells and server else None,
                      0 if key.startswith("bytes") else None)

    def handshake(cell, server):
        return number(median(found["handshakes"].get((cell, server)), "cpu_us") if server else None)

    heads = ["JSON echo, 64 B, one at a time", "64 B, 16 at once", "1 KB, 16 at once", "a delivery to one of 1,000 subscribers",
             "an idle connection", "a handshake", "with TLS"]
    rows = [(title, [*(number(least(found["echo"], cell, echo, "cpu_us"))
                       for cell in ("64 B, pipeline 1", "64 B, pipeline 16", "1 KB, pipeline 16")),
                     first("fanout", "burst.cpu_us", fanout), first("idle", "bytes_fresh", idle), handshake("ws", plain),
                     handshake("wss", tls)])
            for title, echo, fanout, idle, plain, tls in with_versions(SUMMARY, results.names("echo"))]
    made = table(heads, rows)
    return made and "\n\n".join([
        "CPU microseconds of the server, user and kernel, all threads, for each message, delivery or handshake; for an idle connection, "
        "resident bytes. Less is better.",
        "![CPU time for one message](bench/plots/echo.svg)", made,
        # Of an earlier run, if this one has none.
        *(["![Latency at shares of the capacity](bench/plots/latency.svg)"] if (BENCH / "plots/latency.svg").exists() else []),
        about(results) + " [How to read them, and what they do not say](bench/README.md)."])


def about(results, questions=None):
    """Who, when, on what; of some questions, or of all that have runs."""
    machine = results.machine
    peers = machine.get("peers", {})
    most = {}
    for row in results.rows:
        if questions is None or row.get("question") in questions:
            most[row.get("question")] = max(most.get(row.get("question"), 0), row.get("run", 0) + 1)
    runs = sorted({count for asked, count in most.items() if asked not in ("idle", "flood", "json")}) or [1]
    how = "one run" if runs == [1] else f"medians of {runs[0]}" + (f" to {runs[-1]}" if len(runs) > 1 else "") + " interleaved runs"
    node = f"Node {machine['node'].lstrip('v')}" if machine.get("node") else "Node"
    given = machine.get("arguments", {})
    command = "make bench" if given.get("all") else "bench/run" + "".join(f" --{name.replace('_', '-')}" for name in ("proof", "real_time") if given.get(name))
    names = " ".join(row.get("server") or "" for row in results.rows if questions is None or row.get("question") in questions)
    newer = peers.get("other cowboy", {})
    said = [(f"cowboy {peers.get('cowboy', '?')}", "cowboy-"),
            (f"cowboy {newer.get('cowboy')} (cowlib {newer.get('cowlib')}, ranch {newer.get('ranch')})", f"cowboy-{newer.get('cowboy')}-"),
            (f"yaws {peers.get('yaws', '?')}", "yaws"), (f"jiffy {peers.get('jiffy', '?')}", "yaws cowboy jiffy"),
            (f"tokio-tungstenite {peers.get('tokio-tungstenite', '?')} with serde_json", "tungstenite"),
            (f"fastwebsockets {peers.get('fastwebsockets', '?')} with sonic-rs", "fastwebsockets"),
            (f"uWebSockets {peers.get('uWebSockets', '?')}", "uws"), (f"ws {peers.get('ws', '?')} on {node}", "node-ws"),
            (f"websockets {peers.get('websockets', '?')} on Python {machine['python']}", "python-websockets"),
            (f"picows {peers.get('picows', '?')}", "picows")]
    return (f"Measured with `{command}` on {machine['date']}, commit {machine['commit']}: {how}, "
            f"{machine['cores']} cores ({machine['cpu']}), the server on one and the load on another, Linux {'.'.join(machine['kernel'].split('.')[:2])}, "
            f"OTP {machine['otp']}; " + ", ".join(text for text, words in said if any(word in names for word in words.split())) + ".")


def number(value, places=None):
    if value is None:
        return "-"
    if places is None:
        places = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{places}f}"


def table(heads, rows):
    lines = ["| | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows if set(cells) != {"-"}]
    return "\n".join(lines) if len(lines) > 2 else None


def grid(results, question, cells, rows, key="cpu_us", heads=None, places=None):
    found = results.of(question)
    cells = [cell for cell in cells if cell in results.cells(question)]
    heads = heads or [cell.replace("pipeline ", "") if n else cell for n, cell in enumerate(cells)]
    return table(heads, [(name, [number(least(found, cell, servers, key), places) for cell in cells])
                         for name, servers in with_versions(rows, results.names(question))])


ECHO_ROWS = [
    ("**Sockeye, one process**", ["sockeye-one"]),
    ("**Sockeye, a process per connection**", ["sockeye-each"]),
    ("**Sockeye as a process of the system, one process**", ["sockeye-one-port"]),
    ("**Sockeye as a process of the system, a process per connection**", ["sockeye-each-port"]),
    ("cowboy + jiffy, one gen_server", ["cowboy-one"]),
    ("cowboy + jiffy, a process per connection", ["cowboy-each"]),
    ("yaws + jiffy, a process per connection", ["yaws-each"]),
    ("Node `ws`", ["node-ws"]),
    ("Python `websockets`", ["python-websockets"]),
    ("Python picows + orjson", ["python-picows"]),
    ("tokio-tungstenite + serde_json, no Erlang", TUNGSTENITE),
    ("fastwebsockets + sonic-rs, no Erlang", ["fastwebsockets"]),
    ("your server", ["own"]),
]


def echo(results):
    made = grid(results, "echo", ECHO, ECHO_ROWS)
    if not made:
        return None
    parts = ["CPU microseconds of the server for each message, user and kernel, all threads; 64 connections.",
             "![CPU time for one message](plots/echo.svg)", made]
    found = results.of("echo")
    pairs = [("one process / cowboy's one", "sockeye-one", ["cowboy-one"]),
             ("per connection / cowboy's", "sockeye-each", ["cowboy-each"]),
             ("one process / tokio-tungstenite", "sockeye-one", TUNGSTENITE),
             ("per connection / tokio-tungstenite", "sockeye-each", TUNGSTENITE)]
    shares, asked = [], [cell for cell in ECHO if cell in results.cells("echo")]
    for name, own, peers in pairs:
        cells = [(median(found.get((cell, own)), "cpu_us"), least(found, cell, peers, "cpu_us")) for cell in asked]
        shares.append((name, [number(a / b, 2) if a and b else "-" for a, b in cells]))
    ratios = table([cell.replace("pipeline ", "") if n else cell for n, cell in enumerate(asked)], shares)
    if ratios:
        parts += ["As shares (below 1 is less work):", ratios]
    return "\n\n".join(parts)


def crowd(results):
    made = grid(results, "echo", CROWD, ECHO_ROWS, heads=["pipeline 1", "16"])
    return made and "64 B, CPU microseconds for each message:\n\n" + made


def raw(results):
    made = grid(results, "raw", results.cells("raw"),
                [("**Sockeye, one process**", ["sockeye-raw"]), ("**Sockeye, a process per connection**", ["sockeye-raw-each"]),
                 ("**Sockeye as a process of the system, one process**", ["sockeye-raw-port"]),
                 ("**Sockeye as a process of the system, a process per connection**", ["sockeye-raw-each-port"]),
                 ("cowboy, a process per connection", ["cowboy-raw"]), ("Node `ws`", ["node-ws-raw"]),
                 ("tokio-tungstenite, no Erlang", ["tungstenite-raw"]), ("uWebSockets, no Erlang", ["uws-raw"]), ("your server", ["own"]),
                 ("a bare epoll loop in Rust", ["raw-echo"])])
    return made and "CPU microseconds for each:\n\n" + made


def fanout(results):
    found, cells = results.of("fanout"), results.cells("fanout")
    rows = [("**Sockeye, `publish`**", "sockeye-topic"), ("cowboy, `pg`", "cowboy-topic"), ("Node `ws`, a loop", "node-ws-topic"),
            ("tokio-tungstenite, a task per connection", "tungstenite-topic"), ("a bare loop of writes in Rust", "raw-loop")]
    keys = [("one.cpu_us", "{}: CPU us, one at a time"), ("burst.cpu_us", "fifty at once"),
            ("one.last_p50_ms", "ms to the last, one"), ("burst.last_p50_ms", "fifty")]
    heads = [head.format(cell.split()[0]) for cell in cells for _, head in keys]
    made = table(heads, [(name, [number(median(found.get((cell, server)), key)) for cell in cells for key, _ in keys])
                         for name, server in with_versions(rows, results.names("fanout"))])
    return made and ("200 bytes to all subscribers; CPU microseconds for each delivery, and the time from "
                     "the publish until the last subscriber has it.\n\n![CPU time for one delivery](plots/fanout.svg)\n\n" + made)


def idle(results):
    found, parts = results.of("idle"), []
    rows = [("**Sockeye, one process**", "sockeye-one"), ("**Sockeye, a process each**", "sockeye-each"),
            ("**Sockeye, compression**", "sockeye-deflate"), ("**Sockeye, TLS**", "sockeye-tls"), ("cowboy", "cowboy-each"),
            ("yaws", "yaws-each"), ("Node `ws`", "node-ws"), ("Python `websockets`", "python-websockets"),
            ("Python picows", "python-picows"), ("tokio-tungstenite, 512 B buffers", "tungstenite-512"),
            ("tokio-tungstenite, default buffers", "tungstenite"), ("uWebSockets", "uws-raw"), ("your server", "own")]
    for cell in results.cells("idle"):
        made = table(["fresh", "after one echo", "left when closed", "opened again"],
                     [(name, [number(median(found.get((cell, server)), key), 0) for key in ("bytes_fresh", "bytes_echoed", "bytes_left", "bytes_again")])
                      for name, server in with_versions(rows, results.names("idle"))])
        if made:
            parts.append(f"{cell}, idle: resident bytes of the server for each.\n\n{made}")
    return "\n\n".join(parts)


def handshakes(results):
    found = results.of("handshakes")
    rows = [("**Sockeye**", "sockeye-one", "sockeye-tls"), ("cowboy", "cowboy-one", "cowboy-tls"), ("yaws", "yaws-each", None),
            ("Node `ws`", "node-ws", "node-ws-tls"), ("Python `websockets`", "python-websockets", None),
            ("Python picows", "python-picows", None), ("tokio-tungstenite", "tungstenite-4k", None),
            ("fastwebsockets", "fastwebsockets", None), ("uWebSockets", "uws-raw", None), ("your server", "own", None)]
    made = table(["ws: CPU us each", "a second", "wss: CPU us each", "a second"],
                 [(name, [number(median(found.get((cell, server)), key)) for cell, server in (("ws", plain), ("wss", tls))
                          for key in ("cpu_us", "per_second")])
                  for name, plain, tls in with_versions(rows, results.names("handshakes"))])
    return made and "On one core:\n\n" + made


LATENCY_ROWS = [("**Sockeye, one process**", "sockeye-one"), ("**Sockeye, a process each**", "sockeye-each"),
                ("**Sockeye as a process of the system, one process**", "sockeye-one-port"),
                ("**Sockeye as a process of the system, a process each**", "sockeye-each-port"),
                ("cowboy, one gen_server", "cowboy-one"), ("cowboy, a process each", "cowboy-each"), ("yaws", "yaws-each"),
                ("Node `ws`", "node-ws"), ("tokio-tungstenite", "tungstenite-4k"), ("fastwebsockets", "fastwebsockets"),
                ("uWebSockets, no JSON", "uws-raw"), ("your server", "own")]
PERCENTILES = [("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9")]


def rate(results):
    found, parts = results.of("rate"), []
    for cell in results.cells("rate"):
        made = table([*[head for _, head in PERCENTILES], "CPU us a message"],
                     [(name, [*[number(median(found.get((cell, server)), key), 0) for key, _ in PERCENTILES],
                              number(median(found.get((cell, server)), "cpu_us"), 1)])
                      for name, server in with_versions(LATENCY_ROWS, results.names("rate"))])
        parts.append(f"{cell}, microseconds since each message was due:\n\n{made}")
    return "\n\n".join(parts)


def latency(results):
    found, cells = results.of("latency"), results.cells("latency")
    capacities = [cell for cell in cells if cell.endswith(CAPACITY)]
    shares = [cell for cell in cells if cell not in capacities]
    heads = [f"{cell}: messages a second" for cell in capacities]
    heads += [f"{cell.split(', ', 1)[1] if len(capacities) == 1 else cell}: {head}" if n == 0 else head for cell in shares for n, (_, head) in enumerate(PERCENTILES)]
    rows = [(name, [*[number(median(found.get((cell, server)), "per_second"), 0) for cell in capacities],
                    *[number(median(found.get((cell, server)), key), 0) for cell in shares for key, _ in PERCENTILES]])
            for name, server in with_versions(LATENCY_ROWS, results.names("latency"))]
    made = table(heads, rows)
    return made and (
        "What each server can answer on one core when each of 64 clients waits for its reply (closed loop, JSON), and then its latency when messages "
        "come at even times at a share of that, whether it keeps up or not (open loop): microseconds from when a message was due, so that a pause "
        "counts for each message that it delayed.\n\n![Latency at shares of the capacity](plots/latency.svg)\n\n" + made)


def health(results):
    found, cells = results.of("health"), results.cells("health")
    rows = [("**Sockeye, one process**", ["sockeye-one", "sockeye-topic"]), ("cowboy, one gen_server", ["cowboy-one", "cowboy-topic"]),
            ("**Sockeye, a process each**", ["sockeye-each"]), ("cowboy, a process each", ["cowboy-each"])]
    made = table(cells, [(name, [number(least(found, cell, servers, "wake_p99_us"), 0) for cell in cells])
                         for name, servers in with_versions(rows, results.names("health"))])
    long = sum(sum(values(found.get((cell, server)), "long_schedules"))
               for cell, server in found if server.startswith("sockeye"))
    return made and ("An Erlang process wants to run each millisecond, while the server on its one core "
                     f"is under load: microseconds, p99. In all these runs {long:,} pieces of work held Sockeye's scheduler for 1 ms or more, "
                     "waiting for the core included.\n\n" + made)


def deflate(results):
    cells = [cell for cell in ECHO if cell in results.cells("deflate")]
    found = results.of("deflate")
    rows = [("**Sockeye, one process**", "sockeye-deflate"), ("**Sockeye, windows of their own**", "sockeye-window-deflate"),
            ("cowboy + jiffy, one gen_server", "cowboy-deflate"), ("Node `ws`", "node-ws-deflate"),
            ("Python `websockets`", "python-websockets-deflate")]
    made = cells and table([*cells, "bytes of a reply"],
                 [(name, [number(median(found.get((cell, server)), "cpu_us")) for cell in cells]
                   + [", ".join(number(median(found.get((cell, server)), "wire_bytes"), 0) for cell in cells[::2])])
                  for name, server in with_versions(rows, results.names("deflate"))])
    return made and ("As each server does it for a browser: CPU microseconds for an echo, and its bytes on "
                     "the wire. The others keep a window for each connection, which pays here, where all messages are alike; so can "
                     "Sockeye.\n\n" + made)


def json_alone(results):
    made = grid(results, "json", results.cells("json"),
                [(f"`{name}`", [name]) for name in results.names("json")], "cpu_ns", results.cells("json"), 0)
    return made and "CPU nanoseconds a call:\n\n" + made


def proven(results):
    made = proof.markdown(results)
    return made and f"{proof.ABOUT}\n\n{made}"


# In the order of the page: title, question, what makes it.
SECTIONS = [
    ("JSON echo", "echo", echo),
    ("JSON echo with 1,000 connections", "echo", crowd),
    ("Echo of texts that nobody parses", "raw", raw),
    ("Echo, each cell with its spread", "raw", proven),
    ("One message for many", "fanout", fanout),
    ("Latency at shares of the capacity", "latency", latency),
    ("Latency at a fixed rate", "rate", rate),
    ("Opening handshakes", "handshakes", handshakes),
    ("How late an innocent Erlang process runs", "health", health),
    ("Idle connections", "idle", idle),
    ("With permessage-deflate", "deflate", deflate),
    ("JSON alone", "json", json_alone),
]
# Whose servers its note names.
QUESTIONS_OF = {title: ("echo", "raw") if make is proven else (question,) for title, question, make in SECTIONS}
