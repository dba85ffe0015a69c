"""The erlpy example as a person uses it: both scripts, the shell, and what goes wrong."""

import json
import os
import pty
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time

from websockets.sync.client import connect

from cases import LIMIT, run, same
from example_server import EXAMPLE, START, ExampleServer


def client(*options, stdin=""):
    return subprocess.run([EXAMPLE / "run_py_app.sh", *options], input=stdin, text=True,
                          capture_output=True, timeout=START)


def server(*options, **kwargs):
    """The server script, expected to end by itself."""
    return subprocess.run([EXAMPLE / "run_erl_app.sh", *options], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=START, **kwargs)


def contains(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{part!r} is not in {text!r}")


def the_client_tests_the_server():
    with ExampleServer() as example:
        done = client("--mode", "test", "--port", str(example.port))
        contains(done.stdout, "9 passed, 0 failed")
        same(done.returncode, 0)


def demo_goes_interactive():
    with ExampleServer() as example:
        done = client("--host", "127.0.0.1", "--port", str(example.port),
                      stdin='{"command": "status", "request_id": "typed"}\nnot json\n')
        contains(done.stdout, "9 passed, 0 failed", '"typed"', "not JSON, not sent")
        same(done.returncode, 0)


def interactive_sends_what_is_typed():
    with ExampleServer() as example:
        done = client("--mode", "interactive", "--port", str(example.port),
                      stdin='{"type": "greeting"}\nquit\n')
        contains(done.stdout, "Hello from Erlang WebSocket server!")
        same("passed" in done.stdout, False)
        same(done.returncode, 0)


def a_client_without_a_server_says_so():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = client("--mode", "test", "--port", str(port))
    contains(done.stderr, "is the server running?")
    same("Traceback" in done.stderr, False)
    same(done.returncode, 1)


def fields_that_are_missing_are_null():
    with ExampleServer() as example, connect(f"ws://127.0.0.1:{example.port}") as ws:
        for message, field in [({"type": "ping"}, "timestamp"), ({"type": "greeting"}, "received"),
                               ({"command": "status"}, "request_id")]:
            ws.send(json.dumps(message))
            same(json.loads(ws.recv(timeout=LIMIT))[field], None)


def a_taken_port_is_one_sentence():
    with ExampleServer() as example, tempfile.TemporaryDirectory() as folder:
        done = server("--port", str(example.port), cwd=folder)
        same(done.returncode, 1)
        same(done.stderr, f"erlpy: port {example.port} on 127.0.0.1 is in use; stop the program "
                          "that has it, or choose another with --port.\n")
        same(done.stdout, "")
        same(os.listdir(folder), [])


def a_wrong_option_is_one_sentence():
    for options, code in [(["--port", "x1"], 1), (["--port", "65536"], 1), (["--port", ""], 1),
                          (["--host", "no such host"], 1), (["--port"], 2)]:
        done = server("--no-shell", *options)
        same((done.returncode, len(done.stderr.splitlines())), (code, 1))


def sigterm_stops_it_and_frees_the_port():
    example = ExampleServer()
    with example, connect(f"ws://127.0.0.1:{example.port}") as ws:
        same(example.stop(), 0)
        try:
            ws.recv(timeout=LIMIT)
        except Exception:  # closed is what it must be; its code is the next line
            pass
        same(ws.close_code, 1001)
        with ExampleServer("--port", str(example.port)):
            pass


class Terminal:
    """The script on a terminal of its own, for the Erlang shell."""

    def __init__(self, *command):
        self.main, side = pty.openpty()
        self.process = subprocess.Popen(command, stdin=side, stdout=side, stderr=side,
                                        start_new_session=True, env={**os.environ, "TERM": "dumb"})
        os.close(side)
        self.text = ""

    def type(self, line):
        os.write(self.main, line.encode() + b"\n")

    def until(self, pattern):
        ready = selectors.DefaultSelector()
        ready.register(self.main, selectors.EVENT_READ)
        deadline = time.monotonic() + START
        while not (found := re.search(pattern, self.text)):
            if not ready.select(max(0.0, deadline - time.monotonic())):
                raise AssertionError(f"{pattern!r} did not come: {self.text!r}")
            self.text += os.read(self.main, 4096).decode(errors="replace")
        self.text = self.text[found.end():]
        return found

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.main)


def the_shell_reaches_the_clients():
    shell = Terminal(EXAMPLE / "run_erl_app.sh", "--port", "0")
    try:
        port = int(shell.until(r"erlpy listens on ws://127\.0\.0\.1:(\d+)")[1])
        with connect(f"ws://127.0.0.1:{port}") as a, connect(f"ws://127.0.0.1:{port}") as b:
            for ws in (a, b):  # an answer shows that the server knows this client
                ws.send('{"type": "ping"}')
                ws.recv(timeout=LIMIT)
            shell.type(f'sockeye:send_message({port}, #{{type => <<"notification">>, '
                       'message => <<"Hello!">>}).')
            for ws in (a, b):
                same(json.loads(ws.recv(timeout=LIMIT)), {"type": "notification", "message": "Hello!"})
            shell.type("q().")
            same(shell.process.wait(START), 0)
    finally:
        shell.close()


if sys.version_info < (3, 11):
    sys.exit("erlpy.py: Python 3.11 or newer is needed")
run([the_client_tests_the_server, demo_goes_interactive, interactive_sends_what_is_typed,
     a_client_without_a_server_says_so, fields_that_are_missing_are_null,
     a_taken_port_is_one_sentence, a_wrong_option_is_one_sentence,
     sigterm_stops_it_and_frees_the_port, the_shell_reaches_the_clients])
