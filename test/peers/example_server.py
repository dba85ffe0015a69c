"""The server of an example, started by its own script on a free port, as a context."""

import os
import pathlib
import re
import selectors
import subprocess
import time

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent.parent / "examples"
EXAMPLE = EXAMPLES / "erlpy"
START = 60  # seconds


class ExampleServer:
    """`port` is where it listens; leaving the context stops it with SIGTERM."""

    script = "erlpy/run_erl_app.sh"
    ready = r"erlpy listens on ws://[^:]+:(\d+)"

    def __init__(self, *options):
        self.options = options or ("--port", "0")

    def __enter__(self):
        self.process = subprocess.Popen(
            [EXAMPLES / self.script, "--no-shell", *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.said = ""
        deadline = time.monotonic() + START
        ready = selectors.DefaultSelector()
        ready.register(self.process.stdout, selectors.EVENT_READ)
        # Not by lines: one may wait in a buffer where nobody is told of it.
        while ready.select(max(0.0, deadline - time.monotonic())):
            said = os.read(self.process.stdout.fileno(), 65536)
            self.said += said.decode(errors="replace")
            if found := re.search(rf"^{self.ready}.*\n", self.said, re.MULTILINE):
                self.port = int(found[1])
                return self
            if not said:
                break
        self.process.kill()
        self.process.wait()
        raise RuntimeError(f"the example did not start: {self.said!r}")

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """The exit code after SIGTERM; None when it had to be killed."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.communicate(timeout=START)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.communicate()
                return None
        self.process.stdout.close()
        return self.process.returncode


class ChatServer(ExampleServer):
    script = "chat/run_chat.sh"
    ready = r"chat listens on http://[^:]+:(\d+)/"
