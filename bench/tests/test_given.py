"""Servers that the reader brings: where they are found, and that nothing is written into his folders."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from harness import given, names, scale, servers

FRONT = servers.BENCH / "peers/given/front.py"


def app(folder, name, version="1.0.0", is_compiled=True):
    """An application as erlang.mk and rebar3 leave it, or as its repository has it."""
    (folder / "ebin").mkdir(parents=True)
    (folder / "src").mkdir()
    (folder / "ebin" / f"{name}.app").write_text(f'{{application, {name}, [{{vsn, "{version}"}}, {{modules, []}}]}}.\n')
    (folder / "src" / f"{name}.erl").write_text(f"-module({name}).\n-export([one/0]).\none() -> 1.\n")
    if is_compiled:
        (folder / "ebin" / f"{name}.beam").write_bytes(b"FOR1")


class Layouts(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.TemporaryDirectory()
        self.folder = Path(self.root.name)
        self.addCleanup(self.root.cleanup)

    def found(self, start):
        return {name: str(given.app_folder(self.folder / start, name).relative_to(self.folder.resolve())) for name in given.APPS}

    def test_rebar3(self):
        for name in given.APPS:
            app(self.folder / "_build/default/lib" / name, name)
        self.assertEqual(self.found("."), {name: f"_build/default/lib/{name}" for name in given.APPS})

    def test_erlang_mk_from_cowboy_itself(self):
        app(self.folder / "cowboy", "cowboy")
        for name in ("ranch", "cowlib"):
            app(self.folder / "cowboy/deps" / name, name)
        self.assertEqual(self.found("cowboy"), {"cowboy": "cowboy", "ranch": "cowboy/deps/ranch", "cowlib": "cowboy/deps/cowlib"})

    def test_a_release_and_repositories_side_by_side(self):
        app(self.folder / "lib/cowboy-2.18.0", "cowboy")
        app(self.folder / "ranch", "ranch", is_compiled=False)
        app(self.folder / "cowlib", "cowlib", is_compiled=False)
        self.assertEqual(self.found("."), {"cowboy": "lib/cowboy-2.18.0", "ranch": "ranch", "cowlib": "cowlib"})

    def test_what_is_compiled_comes_before_sources(self):
        app(self.folder / "cowboy", "cowboy", is_compiled=False)
        app(self.folder / "deps/cowboy", "cowboy")
        self.assertEqual(given.app_folder(self.folder, "cowboy"), (self.folder / "deps/cowboy").resolve())

    def test_what_is_not_there_is_said(self):
        with self.assertRaisesRegex(ValueError, "there is no ranch in"):
            given.app_folder(self.folder, "ranch")

    def test_sources_are_compiled_beside_and_once(self):
        for name in given.APPS:
            app(self.folder / "theirs" / name, name, is_compiled=name == "ranch")
        apps = {name: given.app_folder(self.folder / "theirs", name) for name in given.APPS}
        before = sorted(self.folder.joinpath("theirs").rglob("*"))
        libraries = self.folder / "libraries"
        given.compile_sources(apps, libraries)
        beams = [libraries / name / "ebin" / f"{name}.beam" for name in given.APPS]
        self.assertTrue(all(beam.exists() for beam in beams))
        self.assertEqual(sorted(self.folder.joinpath("theirs").rglob("*")), before)
        first = [beam.stat().st_mtime_ns for beam in beams]
        given.compile_sources(apps, libraries)
        self.assertEqual([beam.stat().st_mtime_ns for beam in beams], first)

    def test_sources_that_do_not_compile_are_said(self):
        for name in given.APPS:
            app(self.folder / name, name, is_compiled=False)
        (self.folder / "cowboy/src/cowboy.erl").write_text("-module(cowboy).\none( -> 1.\n")
        apps = {name: given.app_folder(self.folder, name) for name in given.APPS}
        with self.assertRaisesRegex(servers.Missing, "does not compile"):
            given.compile_sources(apps, self.folder / "libraries")


class Names(unittest.TestCase):
    def setUp(self):
        self.servers, self.newer = dict(servers.SERVERS), given.newer
        self.addCleanup(self.restore)

    def restore(self):
        servers.SERVERS.clear()
        servers.SERVERS.update(self.servers)
        given.newer = self.newer
        given.brought.clear()
        given.versions.clear()

    def test_another_cowboy_answers_wherever_cowboy_does(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in given.APPS:
                app(Path(folder) / name, name, version="2.18.0-rc.1")
            given.take(folder, None, None)
        self.assertEqual(given.beside("echo", ["sockeye-one", "cowboy-one", "node-ws"]),
                         ["sockeye-one", "cowboy-one", "cowboy-2.18.0.rc.1-one", "node-ws"])
        self.assertIn("cowboy-2.18.0.rc.1-topic", servers.SERVERS)
        self.assertEqual(names.name("cowboy-2.18.0.rc.1-one"), "cowboy 2.18.0.rc.1, one gen_server")
        self.assertEqual(names.cowboys("cowboy-one", ["cowboy-one", "cowboy-2.18.0-one", "cowboy-2.18.0-each", "own"]),
                         ["cowboy-one", "cowboy-2.18.0-one"])

    def test_another_cowboy_is_of_the_same_kind_of_connections(self):
        self.assertEqual(scale.kind_of("cowboy-2.18.0-scale-tls"), "TLS")
        self.assertEqual(scale.of_kind("TCP", ["cowboy-2.18.0-scale", "cowboy-scale-tls", "cowboy-scale", "sockeye-scale"]),
                         ["sockeye-scale", "cowboy-scale", "cowboy-2.18.0-scale"])

    def test_what_is_brought_is_asked_what_it_can_answer(self):
        given.take(None, sys.executable, "./mine --port {port}")
        self.assertEqual(given.beside("raw", ["raw-echo"]), ["raw-echo", "uws-raw", "own"])
        self.assertEqual(given.beside("echo", ["sockeye-one"]), ["sockeye-one", "own"])
        self.assertEqual(given.beside("fanout", ["raw-loop"]), ["raw-loop"])

    def test_no_program(self):
        with self.assertRaisesRegex(ValueError, "is no program"):
            given.take(None, "/nowhere/uws", None)

    def test_rows_for_other_versions(self):
        rows = [("Sockeye", ["sockeye-one"]), ("cowboy, one", ["cowboy-one"], None)]
        self.assertEqual(names.with_versions(rows, ["cowboy-one", "cowboy-2.18.0-one"]),
                         [*rows, ("cowboy 2.18.0, one", ["cowboy-2.18.0-one"], None)])


class Front(unittest.TestCase):
    LISTENS = "import socket,sys\ns=socket.create_server(('127.0.0.1',int(sys.argv[1])))\nwhile True: s.accept()"

    def front(self, *command):
        process = subprocess.Popen([sys.executable, FRONT, "/", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.communicate)
        return process

    def test_the_port_at_the_end_or_in_its_place(self):
        for words in ([], ["{port}", "more"]):
            process = self.front(sys.executable, "-c", self.LISTENS, *words)
            ready, port, pid = process.stdout.readline().split()
            self.assertEqual(ready, "READY")
            self.assertTrue(Path(f"/proc/{pid}").exists())
            self.assertIn(port, Path(f"/proc/{pid}/cmdline").read_text())
            process.communicate()
            self.assertFalse(Path(f"/proc/{pid}").exists())

    def test_no_such_program(self):
        self.assertIn("it does not start: ", self.front("./nowhere").communicate()[1])

    def test_a_server_that_ends_is_not_waited_for(self):
        process = self.front(sys.executable, "-c", "raise SystemExit(3)")
        self.assertIn("ended with code 3", process.communicate()[1])
        self.assertEqual(process.returncode, 1)


if __name__ == "__main__":
    unittest.main()
