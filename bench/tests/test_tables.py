"""What becomes of measurements: shares of a capacity, tables, and the sections of a page."""

import importlib.machinery
import importlib.util
import json
import re
import tempfile
import unittest
from pathlib import Path

from harness import numbers, proof, report, servers
from harness.questions import Cell
from harness.results import Results


def run_module():
    loader = importlib.machinery.SourceFileLoader("bench_run", str(servers.BENCH / "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("bench_run", loader))
    loader.exec_module(module)
    return module


def results(rows, **machine):
    made = Results.__new__(Results)
    made.rows, made.machine = rows, {"date": "2026-01-01", "commit": "abc", "cores": 2, "cpu": "", "kernel": "6.18.1", "otp": "25", "python": "3", **machine}
    return made


def echo(server, cell, cpu, run=0, question="echo", **more):
    return dict(question=question, cell=cell, server=server, run=run, cpu_us=cpu, load_busy=0.5, **more)


class Shares(unittest.TestCase):
    def test_a_share_of_what_the_server_has_shown(self):
        run = run_module()
        whole, half = Cell("capacity", "echo", {"size": 64}), Cell("half", "echo", {"size": 64}, share=0.5)
        self.assertIs(run.at_share(whole, None), whole)
        self.assertEqual(run.at_share(half, 1001).options, {"size": 64, "rate": 500})
        self.assertEqual(half.options, {"size": 64})

    def test_no_share_of_a_capacity_that_is_not_known(self):
        self.assertFalse(run_module().at_share(Cell("half", "echo", {}, share=0.5), None))


class Pieces(unittest.TestCase):
    def test_runs_of_a_later_file_come_after(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for n, runs in enumerate([[0, 1], [0], [0]]):
                rows = [{"machine": {"date": str(n)}}, *(echo("sockeye-one", "x", 1.0, run) for run in runs)]
                paths.append(Path(folder, f"{n}.jsonl"))
                paths[-1].write_text("".join(json.dumps(row) + "\n" for row in rows))
            made = Results.joined(paths)
        self.assertEqual([row["run"] for row in made.rows], [0, 1, 2, 3])
        self.assertEqual(made.machine, {"date": "2"})


class Proof(unittest.TestCase):
    def test_medians_with_their_spread(self):
        rows = [echo("sockeye-one", "64 B, pipeline 1", cpu, run) for run, cpu in enumerate([4.0, 5.0, 9.5])]
        rows += [echo("tungstenite", "64 B, pipeline 1", 7.0), echo("tungstenite-4k", "64 B, pipeline 1", 6.0)]
        rows += [echo("uws-raw", "64 B, pipeline 1", 150.2, question="raw", wire_bytes=66) | {"load_busy": 0.95}]
        lines = proof.markdown(results(rows)).splitlines()
        self.assertEqual(lines[2], "| **Sockeye, JSON, one process** | 5.00 (4.00-9.50) | - | - | - | - | - |")
        self.assertEqual(lines[3], "| tokio-tungstenite + serde_json, no Erlang, batched | 6.00 | - | - | - | - | - |")
        self.assertEqual(lines[4], "| uWebSockets, raw, no JSON | 150 * | - | - | - | - | - |")

    def test_shares_are_of_the_same_run(self):
        rows = [echo(server, "64 B, pipeline 1", cpu, run) for server, of_runs in (("sockeye-each", [2.0, 30.0, 5.0]), ("sockeye-one", [1.0, 10.0, 4.0]))
                for run, cpu in enumerate(of_runs)]
        self.assertIn("| JSON: a process a connection / one process | 2.00 | - |", proof.markdown(results(rows)))

    def test_another_cowboy_has_a_row_of_its_own(self):
        rows = [echo(server, "1 KB, pipeline 16", cpu) for server, cpu in (("cowboy-one", 9.0), ("cowboy-2.18.0-one", 8.0))]
        made = proof.markdown(results(rows))
        self.assertIn("| cowboy + jiffy, one gen_server | - | - | - | 9.00 |", made)
        self.assertIn("| cowboy 2.18.0 + jiffy, one gen_server | - | - | - | 8.00 |", made)


class Sections(unittest.TestCase):
    PAGE = "# Numbers\n\nold head\n\n## JSON echo\n\nold echo\n\n## JSON alone\n\nold json\n\n## A thing of its own\n\nkept\n"

    def test_what_was_asked_is_replaced_and_the_rest_stays(self):
        made = numbers.merged(self.PAGE, {"JSON echo": "new echo", "Idle connections": "new idle"}, lambda title: f"how: {title}")
        self.assertEqual(made, numbers.HEAD + "\n\n## JSON echo\n\nnew echo\n\nhow: JSON echo\n\n## Idle connections\n\nnew idle\n\n"
                         "how: Idle connections\n\n## JSON alone\n\nold json\n\n## A thing of its own\n\nkept\n")

    def test_twice_is_once(self):
        news = {"JSON alone": "json"}
        once = numbers.merged(self.PAGE, news, lambda _: "how")
        self.assertEqual(numbers.merged(once, news, lambda _: "how"), once)

    def test_latency_has_the_capacity_and_percentiles_of_each_share(self):
        rows = [dict(question="latency", cell="1 KB, capacity", server="sockeye-one", run=0, per_second=90_000),
                dict(question="latency", cell="1 KB, 50 % of capacity", server="sockeye-one", run=0, per_second=45_000, p50_us=30, p99_us=90, p999_us=1200)]
        made = numbers.latency(results(rows))
        self.assertIn("| | 1 KB, capacity: messages a second | 50 % of capacity: p50 | p99 | p99.9 |", made)
        self.assertIn("| **Sockeye, one process** | 90,000 | 30 | 90 | 1,200 |", made)

    def test_each_plot_in_the_documents_is_made_by_a_run(self):
        pages = [servers.ROOT / "README.md", *servers.BENCH.glob("*.md")]
        shown = {name for page in pages for name in re.findall(r"plots/([a-z]+)\.svg\)", page.read_text())}
        self.assertTrue({"echo", "scale"} <= shown)
        self.assertEqual(shown - {*numbers.PLOTTED, "scale"}, set())
        self.assertEqual([name for name in shown if not (servers.BENCH / f"plots/{name}.svg").exists()], [])

    def test_the_note_names_who_answered(self):
        note = numbers.about(results([echo("sockeye-one", "x", 1), echo("cowboy-2.18.0-one", "x", 1)],
                                     peers={"cowboy": "2.8.0", "other cowboy": {"cowboy": "2.18.0", "cowlib": "2.18.0", "ranch": "2.2.0"}}), ["echo"])
        self.assertIn("cowboy 2.18.0 (cowlib 2.18.0, ranch 2.2.0)", note)
        self.assertNotIn("uWebSockets", note)


class Json(unittest.TestCase):
    def test_what_it_prints_is_read(self):
        text = ("median CPU ns a call\n\nrecords, 1024 B\n  decode  sockeye_json 2739 (2703-2775)  jiffy 7865 (7760-8073) x2.87\n"
                "quotes, 59938 B\n  encode  sockeye_json 128k (123k-131k)\n")
        self.assertEqual([("decode 1,024 B", "sockeye_json", 2739), ("decode 1,024 B", "jiffy", 7865), ("encode quotes, 59,938 B", "sockeye_json", 128000)],
                         [(row["cell"], row["server"], row["cpu_ns"]) for row in report.json_rows(text)])


if __name__ == "__main__":
    unittest.main()
