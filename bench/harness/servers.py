"""The servers under test: how each is started, pinned, asked and ended."""

import glob
import json
import os
import re
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", BENCH / "target")).resolve()
LOAD = TARGET / "release" / "sockeye-load"

# One core for the server and one for the load. One scheduler, since that is what the VM takes by
# itself when it may use one core; no busy waiting, which would be billed as work.
SERVER_CPU, LOAD_CPU = "0", "1"
BEAM = ["erl", "+S", "1:1", "+SDcpu", "1:1", "-noshell"]
NO_BUSY_WAIT = ["+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"]
busy_wait = False
# Before all other work of the machine.
real_time = False

# Servers of another checkout, compiled: "before-sockeye-one" is its "sockeye-one".
BEFORE = "before-"
before = None


class Missing(Exception):
    """A server that cannot run here; the text says what to do about it."""


def pinned(cpu, command):
    first = ["chrt", "-r", "1"] if real_time else []
    return first + (["taskset", "-c", cpu, *command] if os.cpu_count() > 1 else command)


def rust(name, *args):
    program = TARGET / "release" / name
    if not program.exists():
        raise Missing("run bench/setup rust")
    return [str(program), *args]


def beam(module, mode, patterns, hint, root=ROOT, out=None):
    paths = []
    for pattern in patterns:
        found = glob.glob(str(pattern))
        if not found:
            raise Missing(hint)
        paths += found
    # Another checkout, and another cowboy, have modules of their own: their API may differ.
    out = out or ("ebin" if root == ROOT else "ebin-before")
    paths += [str(compiled(module, paths, root, TARGET / out))]
    # A server that cannot start ends, and is not waited for.
    start = f"spawn(fun() -> {{_, Main}} = spawn_monitor({module}, main, [[{mode}]]), receive {{'DOWN', Main, _, _, _}} -> halt(1) end end)."
    return [*BEAM, *([] if busy_wait else NO_BUSY_WAIT), "-pa", *paths, "-eval", start]


def compiled(module, paths, root, out):
    out.mkdir(parents=True, exist_ok=True)
    peers = root / "bench/peers"
    sources = [peers / "beam/bench_node.erl", *peers.glob(f"*/{module}.erl")]
    search = [word for path in paths for word in ("-pa", path)]
    subprocess.run(["erlc", "-o", out, *search, *sources], check=True)
    return out


def cowboy(mode):
    plugins = TARGET / "debian/usr/lib/rabbitmq/lib/rabbitmq_server-*/plugins"
    patterns = [plugins / f"{app}-*/ebin" for app in ("cowboy", "cowlib", "ranch")]
    patterns.append(TARGET / "debian/usr/lib/erlang/lib/jiffy-*/ebin")
    return beam("bench_cowboy", mode, patterns, "run bench/setup beam")


def yaws():
    ebins = [TARGET / "debian/usr/lib/yaws-*/ebin", TARGET / "debian/usr/lib/erlang/lib/jiffy-*/ebin"]
    return beam("bench_yaws", "each", ebins, "run bench/setup beam")


def sockeye(mode, root=ROOT, engine="nif"):
    ebin = root / "_build/default/lib/sockeye/ebin"
    command = beam("bench_sockeye", mode, [ebin], f"run rebar3 compile in {root}", root)
    # What the engine's process takes is counted with what the VM takes.
    return ["env", f"SOCKEYE_ENGINE={engine}", *command]


def node(mode="json", *args):
    if not (BENCH / "peers/node/node_modules/ws").exists():
        raise Missing("run bench/setup node")
    return ["node", str(BENCH / "peers/node/server.js"), mode, *args]


def front(kind):
    return [sys.executable, str(BENCH / "peers/proxies/front.py"), kind]


def python(*args, script="server.py"):
    program = TARGET / "python/bin/python"
    if not program.exists():
        raise Missing("run bench/setup python")
    return [str(program), str(BENCH / "peers/python" / script), *args]


def compile_sockeye(log):
    # The bench's own target folder must not become the product's.
    env = {k: v for k, v in os.environ.items() if k != "CARGO_TARGET_DIR"}
    done = subprocess.run(["rebar3", "compile"], cwd=ROOT, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        log(f"rebar3 compile failed:\n{done.stdout}{done.stderr}")


# Name -> what makes the command line. The order is that of the tables.
SERVERS = {
    "sockeye-one": lambda root=ROOT: sockeye("one", root),
    "sockeye-one-port": lambda root=ROOT: sockeye("one", root, "port"),
    "sockeye-each-port": lambda root=ROOT: sockeye("each", root, "port"),
    "sockeye-raw-port": lambda root=ROOT: sockeye("raw", root, "port"),
    "sockeye-raw-each-port": lambda root=ROOT: sockeye("raw_each", root, "port"),
    "sockeye-topic-port": lambda root=ROOT: sockeye("topic", root, "port"),
    "sockeye-tls-port": lambda root=ROOT: sockeye("tls", root, "port"),
    "sockeye-pool": lambda root=ROOT: sockeye("pool", root),
    "sockeye-each": lambda root=ROOT: sockeye("each", root),
    "sockeye-owner": lambda root=ROOT: sockeye("owner", root),
    "sockeye-slow": lambda root=ROOT: sockeye("slow", root),
    "sockeye-deflate": lambda root=ROOT: sockeye("deflate", root),
    "sockeye-window-deflate": lambda root=ROOT: sockeye("window", root),
    "sockeye-tls": lambda root=ROOT: sockeye("tls", root),
    "sockeye-raw": lambda root=ROOT: sockeye("raw", root),
    "sockeye-raw-each": lambda root=ROOT: sockeye("raw_each", root),
    "sockeye-topic": lambda root=ROOT: sockeye("topic", root),
    "sockeye-scale": lambda root=ROOT: sockeye("scale", root),
    "sockeye-scale-each": lambda root=ROOT: sockeye("scale_each", root),
    "sockeye-scale-port": lambda root=ROOT: sockeye("scale", root, "port"),
    "sockeye-scale-tls": lambda root=ROOT: sockeye("scale_tls", root),
    "sockeye-scale-each-tls": lambda root=ROOT: sockeye("scale_tls_each", root),
    "sockeye-scale-tls-port": lambda root=ROOT: sockeye("scale_tls", root, "port"),
    "sockeye-scale-h2": lambda root=ROOT: sockeye("scale", root),
    "sockeye-scale-each-h2": lambda root=ROOT: sockeye("scale_each", root),
    "sockeye-scale-h2-port": lambda root=ROOT: sockeye("scale", root, "port"),
    "sockeye-pings": lambda root=ROOT: sockeye("pings", root),
    "sockeye-pings-each": lambda root=ROOT: sockeye("pings_each", root),
    "sockeye-pings-tls": lambda root=ROOT: sockeye("pings_tls", root),
    "sockeye-proxy": lambda root=ROOT: sockeye("proxy", root),
    "sockeye-proxy-port": lambda root=ROOT: sockeye("proxy", root, "port"),
    "haproxy-proxy": lambda: front("haproxy"),
    "nginx-proxy": lambda: front("nginx"),
    "cowboy-one": lambda: cowboy("one"),
    "cowboy-each": lambda: cowboy("each"),
    "cowboy-slow": lambda: cowboy("slow"),
    "cowboy-raw": lambda: cowboy("raw"),
    "cowboy-tls": lambda: cowboy("tls"),
    "cowboy-topic": lambda: cowboy("topic"),
    "cowboy-pings": lambda: cowboy("pings"),
    "cowboy-scale": lambda: cowboy("scale"),
    "cowboy-scale-tls": lambda: cowboy("scale_tls"),
    "cowboy-scale-h2": lambda: cowboy("scale"),
    "yaws-each": yaws,
    "tungstenite": lambda: rust("peer-tungstenite"),
    "tungstenite-4k": lambda: rust("peer-tungstenite", "4096"),
    "tungstenite-512": lambda: rust("peer-tungstenite", "512"),
    "fastwebsockets": lambda: rust("peer-fastwebsockets"),
    "tungstenite-raw": lambda: rust("peer-tungstenite", "4096", "raw"),
    "tungstenite-topic": lambda: rust("peer-tungstenite", "4096", "topic"),
    "tungstenite-pings": lambda: rust("peer-tungstenite", "512", "pings"),
    "raw-echo": lambda: rust("peer-raw-echo"),
    "raw-loop": lambda: rust("peer-raw-loop"),
    "node-ws": lambda: node(),
    "node-ws-raw": lambda: node("raw"),
    "node-ws-tls": lambda: node("json", "tls", "tls/cert.pem", "tls/key.pem"),
    "node-ws-pings": lambda: node("pings"),
    "node-ws-topic": lambda: node("topic"),
    "python-websockets": python,
    "python-picows": lambda: python(script="server_picows.py"),
    "cowboy-deflate": lambda: cowboy("deflate"),
    "node-ws-deflate": lambda: node("json", "deflate"),
    "python-websockets-deflate": lambda: python("deflate"),
}


# The engine as a process of the system: the same server in all else.
PORT = "-port"


def command_of(name):
    if name.startswith(BEFORE):
        return SERVERS[name.removeprefix(BEFORE)](before)
    return SERVERS[name]()


# The server behind the proxies.
origin = None


def environment(name):
    """Of a server; for a proxy with the port of the server behind, which runs on the core of the load."""
    global origin
    if not name.removesuffix(PORT).endswith("-proxy"):
        return None
    if origin is None:
        origin = subprocess.Popen(pinned(LOAD_CPU, front("origin")), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        origin.ready = origin.stdout.readline().split()
    if origin.ready[:1] != ["READY"]:
        raise Missing("the server behind did not start: bench/setup proxies")
    return dict(os.environ, BENCH_ORIGIN=origin.ready[1])


class Server:
    """A running server. It ends when its standard input closes, so it cannot outlive the bench."""

    def __init__(self, name):
        self.name = name
        self.beam = name.startswith(("sockeye", "cowboy", "yaws", BEFORE))
        command, env = pinned(SERVER_CPU, command_of(name)), environment(name)
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, cwd=TARGET, env=env
        )
        for line in self.process.stdout:
            if line.startswith("READY "):
                # A proxy is not the process that starts it.
                self.port, self.pid = [*map(int, line.split()[1:]), self.process.pid][:2]
                return
            sys.stderr.write(f"{name}: {line}")
        raise Missing(f"it ended with code {self.process.wait()} before it was ready")

    def load(self, mode, **options):
        """Runs the load generator against this server: its result, or what went wrong."""
        command = [str(LOAD), mode, "--addr", f"127.0.0.1:{self.port}", "--pid", str(self.pid)]
        for feature in ("deflate", "tls"):
            if self.name.removesuffix(PORT).endswith(f"-{feature}"):
                command += [f"--{feature}", "true"]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        done = subprocess.run(pinned(LOAD_CPU, command), capture_output=True, text=True)
        if done.returncode != 0:
            return {"mode": mode, "error": done.stderr.strip()}
        return json.loads(done.stdout)

    def tell(self, line):
        self.process.stdin.write(line + "\n")

    def ask(self, line):
        self.tell(line)
        for answer in self.process.stdout:
            if answer.startswith("{"):
                return json.loads(answer)
            sys.stderr.write(f"{self.name}: {answer}")
        raise RuntimeError(f"{self.name} ended with code {self.process.wait()}")

    def stop(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def versions():
    """What is installed of each peer, by its own word."""
    found = {}
    for app in ("cowboy", "ranch", "jiffy", "yaws"):
        for path in glob.glob(str(TARGET / "debian/usr/lib/**" / f"{app}-[0-9]*"), recursive=True):
            found[app] = path.rsplit("-", 1)[1]
    for path in glob.glob(str(TARGET / "python/lib/*/site-packages/*.dist-info")):
        name, _, version = Path(path).name.removesuffix(".dist-info").partition("-")
        if name in ("websockets", "picows", "uvloop", "orjson"):
            found[name] = version
    for name in ("haproxy", "nginx"):
        said = subprocess.run(f"PATH=$PATH:/usr/sbin {name} -v 2>&1", shell=True, capture_output=True, text=True).stdout
        if version := re.search(r"\d+\.\d+\.\d+", said):
            found[name] = version[0]
    lock = (BENCH / "Cargo.lock").read_text().split("[[package]]")
    for package in lock[1:]:
        fields = dict(line.split(" = ", 1) for line in package.splitlines() if " = " in line)
        name = fields["name"].strip('"')
        if name in ("tokio", "tokio-tungstenite", "serde_json", "fastwebsockets", "sonic-rs"):
            found[name] = fields["version"].strip('"')
    try:
        lock = json.loads((BENCH / "peers/node/package-lock.json").read_text())
        found["ws"] = lock["packages"]["node_modules/ws"]["version"]
    except (OSError, KeyError):
        pass
    return found


def start(names, log):
    """Starts all that can run here; says which cannot."""
    running = []
    for name in names:
        try:
            running.append(Server(name))
        except Missing as why:
            log(f"{name} is left out: {why}")
    return running
