"""Python client of the erlpy example.

demo         sends the test messages, prints the answers, then goes interactive
test         sends the test messages, checks every answer; exit code 0 when all are right
interactive  sends each line you type, prints what the server sends
"""

import argparse
import asyncio
import json
import sys
import threading
from datetime import datetime, timezone

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

ANSWER_TIMEOUT = 5.0  # seconds


def now():
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def is_utc_time(text):
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).utcoffset().total_seconds() == 0
    except (AttributeError, TypeError, ValueError):
        return False


def cases():
    """(name, what to send, expected fields); a callable in the fields judges the value."""
    stamp = now()
    text = "Hällo Wörld, 你好 🐟"
    return [
        ("ping", {"type": "ping", "timestamp": stamp},
         {"type": "pong", "timestamp": stamp, "server_time": is_utc_time}),
        ("echo", {"command": "echo", "data": "Hello World"},
         {"type": "echo_response", "original": "Hello World", "response": "Echo: Hello World"}),
        ("echo, unicode", {"command": "echo", "data": text},
         {"type": "echo_response", "original": text, "response": "Echo: " + text}),
        ("status", {"command": "status", "request_id": "req_001"},
         {"type": "status_response", "request_id": "req_001", "status": "online",
          "server": "sockeye", "version": lambda v: isinstance(v, str) and v[:1].isdigit(),
          "uptime_seconds": lambda v: isinstance(v, int) and v >= 0}),
        ("greeting", {"type": "greeting", "message": "Hello from Python!"},
         {"type": "greeting_response", "message": "Hello from Erlang WebSocket server!",
          "received": "Hello from Python!"}),
        ("unknown command", {"command": "fly"},
         {"type": "error", "message": lambda v: isinstance(v, str)}),
        ("not an object", [1, 2, 3],
         {"type": "error", "message": "a message is a JSON object"}),
        ("not JSON", "this is { not JSON",
         {"type": "error", "message": "the text is not JSON"}),
        ("binary frame", b"\x00\x01",
         {"type": "error", "message": lambda v: isinstance(v, str)}),
    ]


def encode(message):
    """Text and bytes go out as they are: that is how something that is not JSON is sent."""
    return message if isinstance(message, (str, bytes)) else json.dumps(message, ensure_ascii=False)


def mismatch(expected, answer):
    if not isinstance(answer, dict):
        return "is not an object"
    if answer.keys() != expected.keys():
        return f"has the fields {sorted(answer)}, expected {sorted(expected)}"
    for field, want in expected.items():
        value = answer[field]
        if not (want(value) if callable(want) else value == want):
            return f"has a wrong {field}: {value!r}"
    return None


async def answer_to(ws, kind):
    """The next message of this type. Anything else is a push, which may come at any time."""
    async with asyncio.timeout(ANSWER_TIMEOUT):
        while True:
            message = json.loads(await ws.recv())
            if isinstance(message, dict) and message.get("type") == kind:
                return message
            print("push <-", json.dumps(message, ensure_ascii=False))


async def run_tests(ws):
    failed = 0
    listed = cases()
    for name, message, expected in listed:
        out = encode(message)
        print(f"{name}\n  ->", out)
        await ws.send(out)
        try:
            answer = await answer_to(ws, expected["type"])
        except TimeoutError:
            failed += 1
            print(f"  FAILED: no answer in {ANSWER_TIMEOUT:g} s")
            continue
        print("  <-", json.dumps(answer, ensure_ascii=False))
        why = mismatch(expected, answer)
        if why:
            failed += 1
            print("  FAILED: the answer", why)
    print(f"{len(listed) - failed} passed, {failed} failed")
    return failed == 0


def lines_of_stdin(loop):
    """A daemon thread reads: a blocked readline must not keep a finished program alive."""
    queue = asyncio.Queue()

    def put(line):
        try:
            loop.call_soon_threadsafe(queue.put_nowait, line)
        except RuntimeError:
            pass  # the loop is closed, the program is about to end

    def read():
        for line in sys.stdin:
            put(line.strip())
        put(None)

    threading.Thread(target=read, daemon=True).start()
    return queue


class Tally:
    """Lines sent and messages that came, so that input from a pipe waits for its answers."""

    def __init__(self):
        self.open = 0
        self.settled = asyncio.Event()
        self.settled.set()

    def sent(self):
        self.open += 1
        self.settled.clear()

    def came(self):
        self.open = max(0, self.open - 1)
        if not self.open:
            self.settled.set()


async def print_incoming(ws, tally):
    async for message in ws:
        print("<-", message, flush=True)
        tally.came()


async def send_lines(ws, tally):
    lines = lines_of_stdin(asyncio.get_running_loop())
    while (line := await lines.get()) is not None and line not in ("quit", "exit"):
        if not line:
            continue
        try:
            json.loads(line)
        except ValueError as why:
            print(f"not JSON, not sent: {why}", flush=True)
            continue
        tally.sent()
        await ws.send(line)
    try:
        await asyncio.wait_for(tally.settled.wait(), ANSWER_TIMEOUT)
    except TimeoutError:
        print("some lines have had no answer")


async def interactive(ws):
    print('One JSON message a line, such as {"type": "ping", "timestamp": "now"}; '
          "quit or Ctrl-D ends.", flush=True)
    tally = Tally()
    incoming = asyncio.create_task(print_incoming(ws, tally))
    outgoing = asyncio.create_task(send_lines(ws, tally))
    await asyncio.wait({incoming, outgoing}, return_when=asyncio.FIRST_COMPLETED)
    if incoming.done():
        outgoing.cancel()
        incoming.result()
        print(f"the server closed the connection: {ws.close_code} {ws.close_reason}".rstrip())
        return False
    await ws.close()
    await incoming
    outgoing.result()
    return True


async def run(args):
    host = f"[{args.host}]" if ":" in args.host else args.host
    async with connect(f"ws://{host}:{args.port}", open_timeout=ANSWER_TIMEOUT) as ws:
        print(f"connected to ws://{host}:{args.port}", flush=True)
        if args.mode == "test":
            return await run_tests(ws)
        if args.mode == "demo":
            await run_tests(ws)
        return await interactive(ws)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=["demo", "test", "interactive"], default="demo")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=19765)
    args = parser.parse_args()
    try:
        ok = asyncio.run(run(args))
    except KeyboardInterrupt:
        ok = True
    except (OSError, TimeoutError) as why:
        print(f"no connection to {args.host}:{args.port}: {why or 'timeout'}; is the server running?",
              file=sys.stderr)
        ok = False
    except (InvalidHandshake, InvalidMessage) as why:
        print(f"{args.host}:{args.port} is not a WebSocket server: {why}", file=sys.stderr)
        ok = False
    except ConnectionClosed as why:
        print(f"the connection was lost: {why}", file=sys.stderr)
        ok = False
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
