"""What the bench can ask: which servers, under which loads, and how the answers are shown."""

import os
from dataclasses import dataclass, field
from typing import Callable

from . import report
from .servers import PORT

SIZES, PIPELINES = [64, 1024, 65536], [1, 16]
CAPACITY, SHARES = ", capacity", [0.5, 0.8]


@dataclass
class Cell:
    """One load that every server of the question answers in turn."""

    name: str
    mode: str
    options: dict = field(default_factory=dict)
    only: str = ""  # servers of this suffix; "!x": all others
    load: str = ""  # cells of one load: what a server answers to it as fast as it can is its capacity
    share: float = 0  # of the capacity, as an even rate

    def fits(self, server):
        server = server.removesuffix(PORT)
        if self.only.startswith("!"):
            return not server.endswith(self.only[1:])
        return server.endswith(self.only)


@dataclass
class Question:
    about: str
    servers: list
    cells: Callable  # of the arguments
    table: Callable
    quick: list = None
    sampled: bool = False  # scheduler health, where there is Erlang
    apart: bool = False  # one server at a time, each run in a new process
    steps: list = field(default_factory=list)  # of bench/setup, beside what the servers need


def size_name(size):
    return f"{size // 1024} KB" if size % 1024 == 0 else f"{size} B"


def echo_cell(args, size, pipeline, connections, **more):
    name = f"{size_name(size)}, pipeline {pipeline}"
    if connections != 64:
        name += f", {connections:,} connections"
    options = dict(connections=connections, size=size, pipeline=pipeline, shape=args.shape, refill=args.refill,
                   duration=args.duration, warmup=args.duration / 4, bursts=1 if args.quick else 2, **more)
    return Cell(name, "echo", options)


def echo(args):
    cells = [echo_cell(args, size, pipeline, args.connections or 64)
             for size in args.sizes or SIZES for pipeline in args.pipelines or PIPELINES]
    if not (args.connections or args.sizes or args.pipelines or args.quick):
        cells += [echo_cell(args, 64, pipeline, 1000) for pipeline in PIPELINES]
    return cells


def raw(args):
    return [echo_cell(args, size, pipeline, args.connections or 64)
            for size in args.sizes or ([64, 1024] if args.quick else SIZES) for pipeline in args.pipelines or PIPELINES]


def deflate(args):
    return [echo_cell(args, size, pipeline, args.connections or 64)
            for size in args.sizes or SIZES for pipeline in args.pipelines or PIPELINES]


def rate(args):
    options = dict(connections=args.connections or 64, size=64, rate=args.rate, duration=args.duration * 2,
                   warmup=args.duration / 2)
    return [Cell(f"64 B, {args.rate:,} messages a second", "echo", options)]


def latency(args):
    """As fast as a server can, then at shares of that: open loop, whether it keeps up or not."""
    cells = []
    for size in args.sizes or [1024]:
        name = size_name(size)
        common = dict(connections=args.connections or 64, size=size, shape=args.shape)
        cells.append(Cell(name + CAPACITY, "echo", dict(common, duration=args.duration, warmup=args.duration / 4), load=name))
        cells += [Cell(f"{name}, {100 * share:g} % of capacity", "echo", dict(common, duration=args.duration * 2, warmup=args.duration / 2), load=name, share=share)
                  for share in args.shares]
    return cells


def fanout(args):
    counts = [args.connections] if args.connections else [1000] if args.quick else [1000, 10000]
    options = dict(size=200, publishes=50, rounds=1 if args.quick else 3, writes=str(args.writes).lower(), shape="string")
    return [Cell(f"{count:,} subscribers", "fanout", dict(options, connections=count)) for count in counts]


def handshakes(args):
    options = dict(connections=args.connections or 1000, duration=args.duration)
    return [Cell("ws", "handshakes", options, only="!-tls"), Cell("wss", "handshakes", options, only="-tls")]


def health(args):
    cells = [Cell("no load", "rest", dict(duration=args.duration), only="!-topic")]
    for size, pipeline in [(64, 1), (64, 16), (1024, 16), (65536, 16)]:
        cell = echo_cell(args, size, pipeline, args.connections or 64)
        cell.only = "!-topic"
        cells.append(cell)
    # The same load for all, where the others are as fast as each server is.
    for cell in rate(args):
        cell.only = "!-topic"
        cells.append(cell)
    options = dict(size=200, publishes=50, rounds=1 if args.quick else 3, shape="string", connections=1000)
    return [*cells, Cell("fan-out to 1,000", "fanout", options, only="-topic")]


def idle(args):
    counts = args.idle or ([2000] if args.quick else [10000, 50000])
    return [Cell(f"{n:,} connections", "idle", dict(connections=n, settle=1 if args.quick else 2)) for n in counts]


def pings(args):
    count = args.pings or 10000
    seconds = 5 if args.quick else 25
    os.environ["BENCH_PING_MS"] = str(seconds * 1000)
    # They open over one round, and are measured for the next.
    return [Cell(f"{count:,} connections, a ping each {seconds} s", "pings",
                 dict(connections=count, over=seconds, duration=seconds))]


def flood(args):
    size = args.sizes[0] if args.sizes else 1024
    return [Cell("1 ms a message", "flood",
                 dict(connections=args.connections or 64, size=size, shape=args.shape, duration=args.flood_seconds))]


def proxy(args):
    counts = [args.connections] if args.connections else [64, 1000]
    return [Cell(f"{size_name(size)}, {count:,} connections", "http",
                 dict(connections=count, path=f"/{size}", duration=args.duration, warmup=args.duration / 4))
            for size in [64, 16384] for count in counts]


JSON_ECHO = ["sockeye-one", "sockeye-pool", "sockeye-each", "sockeye-one-port", "sockeye-each-port", "cowboy-one", "cowboy-each", "yaws-each", "tungstenite",
             "tungstenite-4k", "fastwebsockets", "node-ws", "python-websockets", "python-picows"]

QUESTIONS = {
    "echo": Question("JSON echo", JSON_ECHO, echo, report.echo,
                     quick=["sockeye-one", "sockeye-each", "cowboy-one", "cowboy-each", "tungstenite", "tungstenite-4k"]),
    "raw": Question("raw echo: texts that are not parsed",
                    ["sockeye-raw", "sockeye-raw-each", "sockeye-raw-port", "sockeye-raw-each-port", "cowboy-raw", "tungstenite-raw", "node-ws-raw", "raw-echo"],
                    raw, report.raw, quick=["sockeye-raw", "cowboy-raw", "raw-echo"]),
    "fanout": Question("one message for many",
                       ["sockeye-topic", "cowboy-topic", "tungstenite-topic", "node-ws-topic", "raw-loop"],
                       fanout, report.fanout, quick=["sockeye-topic", "cowboy-topic", "raw-loop"]),
    "handshakes": Question("opening handshakes",
                           ["sockeye-one", "sockeye-each", "cowboy-one", "yaws-each", "tungstenite-4k", "fastwebsockets",
                            "node-ws", "python-websockets", "python-picows", "sockeye-tls", "cowboy-tls", "node-ws-tls"],
                           handshakes, report.handshakes, quick=["sockeye-one", "cowboy-one", "sockeye-tls", "cowboy-tls"]),
    "rate": Question("latency at a fixed rate",
                     ["sockeye-one", "sockeye-each", "cowboy-one", "cowboy-each", "yaws-each", "tungstenite-4k",
                      "fastwebsockets", "node-ws"], rate, report.rate,
                     quick=["sockeye-one", "cowboy-one", "tungstenite-4k"]),
    "latency": Question("latency at shares of each server's capacity",
                        ["sockeye-one", "sockeye-each", "sockeye-one-port", "sockeye-each-port", "cowboy-one", "cowboy-each", "node-ws",
                         "tungstenite-4k", "fastwebsockets"], latency, report.latency,
                        quick=["sockeye-one", "cowboy-one", "tungstenite-4k"]),
    "health": Question("scheduler health under load",
                       ["sockeye-one", "sockeye-each", "cowboy-one", "cowboy-each", "sockeye-topic", "cowboy-topic"],
                       health, report.health, quick=["sockeye-one", "cowboy-one"], sampled=True),
    "deflate": Question("echo of compressed messages",
                        ["sockeye-deflate", "sockeye-window-deflate", "sockeye-one", "cowboy-deflate",
                         "node-ws-deflate", "python-websockets-deflate"], deflate, report.deflate,
                        quick=["sockeye-deflate", "cowboy-deflate"]),
    "idle": Question("memory of idle connections",
                     ["sockeye-one", "sockeye-deflate", "sockeye-tls", "sockeye-each", "cowboy-each", "yaws-each",
                      "tungstenite", "tungstenite-4k", "tungstenite-512", "node-ws", "python-websockets",
                      "python-picows"], idle, report.idle,
                     quick=["sockeye-one", "sockeye-each", "cowboy-each"], apart=True),
    "pings": Question("pings to silent connections", ["sockeye-pings", "sockeye-pings-each", "sockeye-pings-tls", "cowboy-pings",
                      "tungstenite-pings", "node-ws-pings"], pings, report.pings,
                      quick=["sockeye-pings", "cowboy-pings", "tungstenite-pings"], apart=True),
    "flood": Question("64 clients at full speed, a handler that takes 1 ms", ["sockeye-slow"], flood, report.flood,
                      apart=True),
    "proxy": Question("requests that are passed on to a web server behind",
                      ["sockeye-proxy", "sockeye-proxy-port", "haproxy-proxy", "nginx-proxy"], proxy, report.proxy,
                      quick=["sockeye-proxy", "haproxy-proxy", "nginx-proxy"]),
    "json": Question("JSON alone", [], None, None, steps=["beam"]),
}

# What `--all` asks. A flood shows a bound, not a speed, and has a command of its own; proxies need haproxy and nginx.
ALL = ["echo", "raw", "fanout", "handshakes", "rate", "latency", "health", "deflate", "idle", "json"]
QUICK = ["echo", "raw", "fanout", "handshakes", "health", "idle"]
