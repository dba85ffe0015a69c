"""A test runner in thirty lines, shared by the Python peers: a case is a function with a name."""

import asyncio
import json
import os
import ssl
import sys
import traceback

LIMIT = 20  # seconds a case may take
ALL_PORTS = json.loads(os.environ.get("PEER_PORTS", "{}"))
WAY = os.environ.get("PEER_WAY", "plain")  # or deflate, or secure: TLS and deflate
PORTS = ALL_PORTS.get(WAY, {})


def url(server, path="/"):
    scheme = "wss" if WAY == "secure" else "ws"
    return f"{scheme}://127.0.0.1:{PORTS[server]}{path}"


def options():
    """What a client of the websockets package needs beside the address."""
    return {"ssl": ssl.create_default_context(cafile=os.environ["PEER_CERT"])} if WAY == "secure" else {}


def how(version="1"):
    """What the server says of a connection."""
    flag = lambda on: "true" if on else "false"
    return f"http/{version} tls {flag(WAY == 'secure')} deflate {flag(WAY != 'plain')}"


def same(got, want):
    if got != want:
        raise AssertionError(f"got {got!r:.300}, expected {want!r:.300}")


def run(cases):
    """Runs the cases in order, sync or async, and ends the program with the right exit code."""
    failed = 0
    for case in cases:
        try:
            result = case()
            if asyncio.iscoroutine(result):
                asyncio.run(asyncio.wait_for(result, LIMIT))
        except Exception:  # a failed case must not hide the others
            failed += 1
            print(f"FAILED {case.__name__}\n{traceback.format_exc()}", flush=True)
    print(f"{len(cases) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
