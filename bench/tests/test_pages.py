"""A whole run on made-up figures: its tables, plots and pages come at the end of an hour, and must not fail there."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from harness import numbers, plots, port, proof, targets
from harness.questions import ALL, QUESTIONS, SHARES
from harness.results import Results

ARGS = SimpleNamespace(quick=False, sizes=None, pipelines=None, connections=None, shape="records", refill="burst", duration=1, shares=SHARES,
                       rate=20000, idle=[], writes=False, flood_seconds=20)
FIGURES = ["messages", "per_second", "wire_bytes", "cpu_us", "server_busy", "load_busy", "p50_us", "p99_us", "p999_us", "max_us", "late_p99_us", "behind",
           "rate", "close_cpu_us", "handshake_us", "idle_busy", "bytes_fresh", "bytes_echoed", "bytes_left", "bytes_again", "wake_p50_us", "wake_p99_us",
           "wake_p999_us", "wake_max_us", "long_schedules", "long_schedule_max_ms", "tick_ms"]
NESTED = ["cpu_us", "last_p50_ms", "last_max_ms", "per_second", "load_busy"]


def everything():
    """All questions, answered by all servers, and by those that a reader can bring."""
    rows, n = [], 0
    for name in ALL:
        question = QUESTIONS[name]
        asked = list(question.servers)
        asked += [server.replace("cowboy", "cowboy-2.18.0", 1) for server in asked if server.startswith("cowboy-")]
        asked += ["own", "uws-raw"] if name in ("raw", "rate", "latency", "handshakes", "idle") else []
        if name == "json":
            rows += [{"question": "json", "cell": cell, "server": server, "cpu_ns": 300} for cell in ("decode 60 B", "encode 60 B") for server in ("sockeye_json", "jiffy")]
            continue
        for run in range(2):
            for cell in question.cells(ARGS):
                for server in filter(cell.fits, asked):
                    n += 1
                    row = {key: 1 + n % 50 for key in FIGURES} | {part: {key: 1 + n % 9 for key in NESTED} for part in ("one", "burst")}
                    rows.append(row | {"question": name, "cell": cell.name, "server": server, "run": run, "mode": cell.mode, "load_busy": 0.5})
    return rows


class Pages(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.bench = Path(self.folder.name, "bench")
        self.bench.mkdir()
        self.bench.parent.joinpath("README.md").write_text(f"# A project\n\n{numbers.BEGIN}\nold\n{numbers.END}\n\nthe end\n")
        self.results = Results.__new__(Results)
        self.results.path, self.results.rows = self.bench / "all.jsonl", everything()
        self.results.machine = {"date": "2026-01-01", "commit": "abc", "cores": 2, "cpu": "a CPU", "kernel": "6.18.1", "otp": "25", "python": "3.11", "node": "v20",
                                "arguments": {"all": True}, "peers": {"cowboy": "2.8.0", "other cowboy": {"cowboy": "2.18.0"}, "uWebSockets": "v20"}}

    def write(self):
        with mock.patch.object(numbers, "BENCH", self.bench), mock.patch.object(numbers, "ROOT", self.bench.parent):
            return numbers.write(self.results)

    def test_pages_and_plots(self):
        written = [str(path.relative_to(self.bench.parent)) for path in self.write()]
        self.assertEqual(written, [*(f"bench/plots/{name}.svg" for name in numbers.PLOTTED), "bench/NUMBERS.md", "README.md"])
        page = (self.bench / "NUMBERS.md").read_text()
        self.assertEqual([line[3:] for line in page.splitlines() if line.startswith("## ")], [title for title, _, _ in numbers.SECTIONS])
        for words in ("| cowboy 2.18.0 + jiffy, one gen_server |", "| your server |", "| uWebSockets, no JSON |", "uWebSockets v20"):
            self.assertIn(words, page)
        readme = (self.bench.parent / "README.md").read_text()
        self.assertIn("| cowboy 2.18.0 + jiffy, one gen_server |", readme)
        self.assertIn("](bench/plots/latency.svg)", readme)
        self.assertTrue(readme.startswith("# A project") and readme.endswith("the end\n") and "old" not in readme)

    def test_a_plot_of_an_earlier_run_stays(self):
        self.write()
        self.results.rows = [row for row in self.results.rows if row["question"] != "latency"]
        self.write()
        self.assertIn("](bench/plots/latency.svg)", (self.bench.parent / "README.md").read_text())

    def test_the_table_with_spreads_alone_leaves_the_rest(self):
        self.write()
        before = (self.bench / "NUMBERS.md").read_text()
        self.results.machine["arguments"] = {"proof": True}
        self.results.rows = [row for row in self.results.rows if row["question"] in ("echo", "raw")]
        self.assertEqual([path.name for path in self.write()], ["NUMBERS.md"])
        after = (self.bench / "NUMBERS.md").read_text()
        parts = [dict(part.split("\n", 1) for part in page.split("\n## ")[1:]) for page in (before, after)]
        self.assertEqual([title for title in parts[0] if parts[0][title] != parts[1][title]], ["Echo, each cell with its spread"])

    def test_what_a_run_prints_and_draws(self):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            for name in ALL:
                if QUESTIONS[name].table:
                    QUESTIONS[name].table(self.results.of(name), self.results.cells(name), self.results.names(name))
            port.show(self.results)
        self.assertIn("cowboy-2.18.0-topic", printed.getvalue())
        self.assertIn("1 KB, 80 % of capacity", printed.getvalue())
        self.assertTrue(targets.judge(self.results))
        self.assertIn("raw: one process / uWebSockets", proof.markdown(self.results))
        self.assertEqual([path.stem for path in plots.draw(self.results)], ALL)


if __name__ == "__main__":
    unittest.main()
