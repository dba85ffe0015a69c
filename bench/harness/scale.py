"""One server kind through all steps of bench/scale, and what the host and the server say of their memory meanwhile."""

import json
import os
import subprocess
import time
from pathlib import Path

from . import servers
from .names import plain

# Sockets are bounded by the descriptors of a process, streams of HTTP/2 by what one may want to wait for.
SOCKETS, STREAMS = 19_500, 100_000
CHECKPOINTS = [1000, 2000, 5000, 10_000, 20_000, 50_000]
RATE = 5000
ECHOES = 64
# Opened, used and closed first, so that code pages and fixed buffers are not billed.
WARM = 100
PATIENCE = 60
OTHER_FILES = 400

KINDS = {
    "TCP": ["sockeye-scale", "sockeye-scale-each", "sockeye-scale-port", "cowboy-scale"],
    "TLS": ["sockeye-scale-tls", "sockeye-scale-each-tls", "sockeye-scale-tls-port", "cowboy-scale-tls"],
    "HTTP/2": ["sockeye-scale-h2", "sockeye-scale-each-h2", "sockeye-scale-h2-port", "cowboy-scale-h2"],
}
# A look at a few: what differs most.
FEW = ["sockeye-scale", "sockeye-scale-each", "sockeye-scale-tls-port", "sockeye-scale-h2", "cowboy-scale"]
# cowboy 2.8 takes 23 CPU seconds for fifty publishes to 2,000 streams, and that grows faster than their number. What a process
# each takes is the same with TLS as without.
NOT_ASKED = ["cowboy-scale-h2", "sockeye-scale-each-tls"]


def kind_of(name):
    return next(kind for kind, names in KINDS.items() if plain(name) in names)


def of_kind(kind, among):
    """In the order of the tables."""
    order = KINDS[kind]
    return sorted((name for name in among if plain(name) in order), key=lambda name: (order.index(plain(name)), plain(name) != name, name))


class Load:
    """The load program, a step at a time."""

    def __init__(self, server, connections):
        name = server.name
        command = [str(servers.LOAD), "scale", "--addr", f"127.0.0.1:{server.port}", "--pid", str(server.pid),
                   "--connections", str(connections), "--tls", str(kind_of(name) == "TLS").lower(),
                   "--http2", str(kind_of(name) == "HTTP/2").lower()]
        self.process = subprocess.Popen(servers.pinned(servers.LOAD_CPU, command), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)

    def tell(self, line):
        self.process.stdin.write(line + "\n")

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.process.stderr.read().strip() or "the load program ended")
        return json.loads(line)

    def ask(self, line):
        self.tell(line)
        return self.answer()

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def scenario(server, connections, rest, growth, settle, keep):
    """All steps; `keep(step, row)` gets each of them. Memory has some time to settle: what many leave behind is given
    back when none has left for a second."""
    load = Load(server, connections)
    memory, others = Memory(server), Others(os.getpid())
    try:
        for step in (f"open {WARM} 0", "burst", "publish 1", "gone", f"rest {2.5 * settle}"):
            load.ask(step)
        nobody = server.ask("count")["connections"]
        base = memory.now()
        keep("base", {"connections": 0, "memory": base})

        def held(row):
            return dict(row, connections=connections, memory=memory.since(base))

        pieces = []
        for count in [*[n for n in growth if n < connections], connections]:
            pieces.append(load.ask(f"open {count} {RATE}"))
            if growth:
                load.ask(f"rest {0.3 * settle}")
                row = dict(memory=memory.since(base), publish=load.ask("publish 1"), open=pieces[-1])
                keep(f"growth {count}", dict(row, connections=count))
        load.ask(f"rest {settle}")
        keep("opened at a rate", held(whole(pieces)))
        keep("idle with pings", held(load.ask(f"rest {rest}")))
        keep(f"echo of {ECHOES}", held(load.ask(f"echo {ECHOES} {min(2, rest)}")))
        keep("one publish", held(load.ask("publish 1")))
        keep("fifty publishes", held(load.ask("publish 50")))
        keep("a message each", held(load.ask("burst")))
        row = gone(server, load, nobody)
        time.sleep(2.5 * settle)
        keep("all gone at once", held(row))
        keep("reopened at once", held(load.ask(f"open {connections} 0")))
        if server.name.startswith("sockeye"):
            row = ended(server, load, "drain")
            time.sleep(2.5 * settle)
            keep("drained", held(row))
            load.tell(f"server {server.ask('start')['port']}")
            keep("reopened after the drain", held(load.ask(f"open {connections} 0")))
        row = ended(server, load, "stop")
        time.sleep(2.5 * settle)
        keep("stopped", held(row))
        keep("other work", {"busy": others.busy()})
    finally:
        load.stop()


def whole(pieces):
    """An opening in pieces; the probe's is that of the worst."""
    row = dict(pieces[-1])
    for key in ("opened", "seconds", "cpu_s"):
        row[key] = round(sum(piece[key] for piece in pieces), 3)
    for key in ("p50_us", "p99_us"):
        row[key] = max(piece[key] for piece in pieces)
    row["probe"] = max((piece["probe"] for piece in pieces), key=lambda probe: probe["p99_us"])
    return row


def gone(server, load, nobody):
    """From the first socket that is closed until the server has forgotten the last."""
    began, cpu = time.monotonic(), cpu_seconds(server.pid)
    row = load.ask("gone")
    while server.ask("count")["connections"] > nobody:
        if time.monotonic() - began > PATIENCE:
            raise RuntimeError("connections are left that have gone")
        time.sleep(0.02)
    return dict(row, seconds=round(time.monotonic() - began, 3), probe=load.ask("probe"), cpu_s=round(cpu_seconds(server.pid) - cpu, 3))


def ended(server, load, how):
    """The server closes all; the load says when the last one knew."""
    load.tell(f"closed {PATIENCE}")
    time.sleep(0.05)
    began = time.monotonic()
    said = server.ask(how)
    call = time.monotonic() - began
    row = load.answer()
    return dict(row, seconds=round(row["seconds"] - 0.05, 3), call_s=round(call, 3), said=said)


def family(pid):
    """A process and those that it has started."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [one for child in (task / "children").read_text().split() for one in family(int(child))]
        except OSError:
            pass
    return found


def cpu_seconds(pid):
    return sum(int(path.read_text().split()[0]) for one in family(pid) for path in Path(f"/proc/{one}/task").glob("*/schedstat")) / 1e9


class Others:
    """What the machine does beside a process and its children: a measurement that others disturb says so."""

    def __init__(self, ours):
        self.ours, self.began = ours, time.monotonic()
        self.base = self.taken()

    def taken(self):
        """CPU seconds of all, less ours; idle and waiting for disks do not count."""
        ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK") - cpu_seconds(self.ours)

    def busy(self):
        """Cores that others have kept busy."""
        return round(max(0, self.taken() - self.base) / (time.monotonic() - self.began), 3)


class Memory:
    """Bytes by part: resident in the VM and in the engine's process, and the kernel's for sockets, both ends of them."""

    def __init__(self, server):
        self.server = server

    def now(self):
        pid = self.server.pid
        others = sum(resident(one) for one in family(pid) if one != pid)
        said = self.server.ask("memory")
        return {"resident": resident(pid) + others, "vm_resident": resident(pid), "other_resident": others,
                "engine": said["engine"], "vm": said["vm"], "processes": said["processes"], "kernel": kernel()}

    def since(self, base):
        return {part: size - base[part] for part, size in self.now().items()}


def resident(pid):
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    return 0


def kernel():
    """Slabs hold the sockets, their files and short queues; pages of TCP hold what is queued."""
    slab = next(int(line.split()[1]) * 1024 for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("SUnreclaim:"))
    pages = next(int(line.split()[-1]) for line in Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
    return slab + pages * os.sysconf("SC_PAGE_SIZE")
