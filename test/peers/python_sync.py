"""Sockeye against Python's websockets, the threaded client."""

import json

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from cases import LIMIT, PORTS, how, options, run, same, url


def open_to(server, **more):
    return connect(url(server), open_timeout=LIMIT, close_timeout=LIMIT, **options(), **more)


def echoes(ws, message):
    ws.send(message)
    same(ws.recv(timeout=LIMIT), message)


def closed(ws):
    try:
        while True:
            ws.recv(timeout=LIMIT)
    except ConnectionClosed:
        return ws.close_code, ws.close_reason


def the_way_is_the_one_asked_for():
    with open_to("raw") as ws:
        ws.send("!how")
        same(ws.recv(timeout=LIMIT), how())


def text_and_binary():
    with open_to("raw") as ws:
        for message in ["hello", "", "Grüße 🐟", b"", bytes(range(256))]:
            echoes(ws, message)


def a_mebibyte():
    with open_to("raw", max_size=None) as ws:
        echoes(ws, "0123456789abcdef" * 65536)
        echoes(ws, bytes(range(256)) * 4096)


def fragments():
    with open_to("raw") as ws:
        ws.send(["one ", "two ", "drei ü"])
        same(ws.recv(timeout=LIMIT), "one two drei ü")


def ping_is_answered():
    with open_to("raw") as ws:
        same(ws.ping(b"abc").wait(LIMIT), True)


def the_client_closes():
    with open_to("raw") as ws:
        echoes(ws, "open")
        ws.close(4000, "enough")
        same(ws.close_code, 4000)  # the reason need not come back


def the_server_closes():
    with open_to("raw") as ws:
        ws.send("!close 4001 bye")
        same(closed(ws), (4001, "bye"))


def too_big_is_1009():
    with open_to("small") as ws:
        ws.send(b"x" * (PORTS["limit"] + 1))
        same(closed(ws)[0], 1009)


def subprotocol():
    with open_to("raw", subprotocols=["other", "echo.v1"]) as ws:
        same(ws.subprotocol, "echo.v1")


def json_round_trips():
    value = {"a": [1, 2.5, None, True, {"ü": "🐟"}], "n": 2 ** 100}
    with open_to("json") as ws:
        ws.send(json.dumps(value))
        same(json.loads(ws.recv(timeout=LIMIT)), value)


run([the_way_is_the_one_asked_for, text_and_binary, a_mebibyte, fragments, ping_is_answered, the_client_closes,
     the_server_closes, too_big_is_1009, subprotocol, json_round_trips])
