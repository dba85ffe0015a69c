"""JSON lines in bench/results/: the first says on what and how the bench ran, each other one is a measurement."""

import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

from . import given, servers


class Results:
    def __init__(self, name, arguments):
        folder = servers.BENCH / "results"
        folder.mkdir(exist_ok=True)
        self.path = folder / time.strftime(f"%Y%m%d-%H%M%S-{name}.jsonl")
        self.machine, self.rows = machine(arguments), []
        self._write({"machine": self.machine})

    @classmethod
    def load(cls, *paths):
        """What runs of the bench wrote; a question that several files answer is taken from the last."""
        self = cls.__new__(cls)
        self.path, self.machine, found = Path(paths[-1]), {}, {}
        for path in paths:
            rows = [json.loads(line) for line in Path(path).read_text().splitlines()]
            self.machine = rows[0]["machine"]
            found |= {name: [r for r in rows[1:] if r["question"] == name] for name in {r["question"] for r in rows[1:]}}
        self.rows = [row for rows in found.values() for row in rows]
        return self

    @classmethod
    def joined(cls, paths):
        """What several runs wrote, one after the other: each one's runs come after those before."""
        self = cls.__new__(cls)
        read = [[json.loads(line) for line in Path(path).read_text().splitlines()] for path in paths]
        self.path, self.machine, self.rows = Path(paths[-1]), read[-1][0]["machine"], []
        for rows in read:
            done = {}
            for row in self.rows:
                if "run" in row:
                    done[row["question"]] = max(done.get(row["question"], 0), row["run"] + 1)
            self.rows += [dict(row, run=row["run"] + done.get(row["question"], 0)) if "run" in row else row for row in rows[1:]]
        return self

    def add(self, row):
        self.rows.append(row)
        self._write(row)

    def _write(self, row):
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def of(self, question):
        """(cell, server) -> measurements that did not fail."""
        found = {}
        for row in self.rows:
            if row["question"] == question and "error" not in row:
                found.setdefault((row["cell"], row["server"]), []).append(row)
        return found

    def cells(self, question):
        return list(dict.fromkeys(row["cell"] for row in self.rows if row["question"] == question))

    def names(self, question):
        return list(dict.fromkeys(row["server"] for row in self.rows if row["question"] == question))


def value(row, key):
    """`a.b` is the field b of the field a."""
    for part in key.split("."):
        row = row.get(part) if isinstance(row, dict) else None
    return row


def values(rows, key):
    return [found for row in rows or [] if (found := value(row, key)) is not None]


def median(rows, key):
    found = values(rows, key)
    return statistics.median(found) if found else None


def least(found, cell, names, key):
    """The least median of some servers: the one to beat."""
    medians = [m for name in names if (m := median(found.get((cell, name)), key)) is not None]
    return min(medians, default=None)


def machine(arguments):
    cpu = ""
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                cpu = line.split(":")[1].strip()
                break
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "commit": said("git", "-C", str(servers.ROOT), "describe", "--always", "--dirty"),
        "otp": said("erl", "-noshell", "-eval", "io:put_chars(erlang:system_info(otp_release)),halt()."),
        "node": said("node", "--version"),
        "python": platform.python_version(),
        "rust": said("rustc", "--version"),
        "peers": servers.versions() | given.versions,
        "beam_flags": servers.BEAM[1:] + ([] if servers.busy_wait else servers.NO_BUSY_WAIT),
        "load_average": os.getloadavg()[0],
        "arguments": arguments,
    }


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
