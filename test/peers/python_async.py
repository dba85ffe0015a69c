"""Sockeye against Python's websockets, the asyncio client."""

import asyncio
import functools
import json
import random

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from cases import PORTS, WAY, how, options, run, same, url

connect = functools.partial(connect, **options())

UNICODE = "Grüße, 你好, שלום, 🐟👩‍👩‍👧 \u0000 \U0010ffff"


async def echoes(ws, message):
    await ws.send(message)
    same(await ws.recv(), message)


async def closed(ws):
    try:
        while True:
            await ws.recv()
    except ConnectionClosed:
        return ws.close_code, ws.close_reason


async def the_way_is_the_one_asked_for():
    async with connect(url("raw")) as ws:
        await ws.send("!how")
        same(await ws.recv(), how())


async def text_and_binary():
    async with connect(url("raw")) as ws:
        for message in ["hello", "", UNICODE, b"", b"\x00\xff\x80", bytes(range(256))]:
            await echoes(ws, message)


async def lengths_at_the_header_borders():
    async with connect(url("raw"), max_size=None) as ws:
        for size in [1, 125, 126, 127, 4095, 4096, 65535, 65536, 65537]:
            await echoes(ws, "x" * size)
            await echoes(ws, bytes(size))


async def a_mebibyte():
    async with connect(url("raw"), max_size=None) as ws:
        await echoes(ws, ("0123456789abcdé" * 65536)[: 1 << 20])
        await echoes(ws, bytes(range(256)) * 4096)


async def mebibytes_from_several_clients_at_once():
    async def one(byte):
        for _ in range(10):
            async with connect(url("raw"), max_size=None) as ws:
                await echoes(ws, byte * (1 << 20))

    await asyncio.gather(*(one(bytes([byte])) for byte in range(8)))


async def fragments():
    async with connect(url("raw")) as ws:
        await ws.send(["one ", "", "two ", "drei ü"])
        same(await ws.recv(), "one two drei ü")
        await ws.send([b"\xf0", b"\x9f", b"\x90\x9f"])
        same(await ws.recv(), "🐟".encode())


async def a_character_across_fragments():
    async with connect(url("raw")) as ws:
        await ws.send([b"fish \xf0\x9f", b"\x90\x9f!"], text=True)
        same(await ws.recv(), "fish 🐟!")


async def a_ping_between_fragments():
    async with connect(url("raw")) as ws:
        pongs = []

        async def parts():
            yield "before, "
            pongs.append(await ws.ping(b"amid"))
            await pongs[0]
            yield "after"

        await ws.send(parts())
        same(await ws.recv(), "before, after")
        same(len(pongs), 1)


async def ping_is_answered():
    async with connect(url("raw")) as ws:
        for data in [b"", b"abc", bytes(125)]:
            await (await ws.ping(data))


async def pipelined_messages_keep_their_order():
    async with connect(url("raw")) as ws:
        sent = [f"message {n}" for n in range(2000)]
        reader = asyncio.create_task(read(ws, len(sent)))
        for message in sent:
            await ws.send(message)
        same(await reader, sent)


async def read(ws, count):
    return [await ws.recv() for _ in range(count)]


async def several_frames_in_answer_to_one():
    async with connect(url("raw")) as ws:
        await ws.send("!split abcdef")
        same(await read(ws, 6), list("abcdef"))


async def many_clients():
    async def one(number):
        async with connect(url("raw")) as ws:
            for turn in range(10):
                await echoes(ws, f"{number}:{turn}")

    await asyncio.gather(*(one(number) for number in range(50)))


async def push_reaches_everyone():
    async with connect(url("raw")) as a, connect(url("raw")) as b:
        await echoes(b, "b is open")
        await a.send("!push to all")
        same([await a.recv(), await b.recv()], ["to all", "to all"])


async def the_client_closes():
    for code, reason in [(1000, ""), (1000, "done"), (1001, "leaving"), (3000, "ü"), (4999, "x" * 123)]:
        async with connect(url("raw")) as watcher, connect(url("raw")) as ws:
            await watcher.send("!watch")
            same(await watcher.recv(), "watching")
            await echoes(ws, "open")
            await ws.close(code, reason)
            same(ws.close_code, code)
            same(await watcher.recv(), f"closed {code} {reason}")


async def the_server_closes():
    for code, reason in [(1000, ""), (1000, "bye"), (1001, "going"), (1011, "oops"), (4001, "größer")]:
        async with connect(url("raw")) as ws:
            await ws.send(f"!close {code} {reason}")
            same(await closed(ws), (code, reason))


async def a_lost_client_is_1006_to_the_handler():
    async with connect(url("raw")) as watcher:
        await watcher.send("!watch")
        same(await watcher.recv(), "watching")
        ws = await connect(url("raw"))
        await echoes(ws, "open")
        ws.transport.abort()
        same((await watcher.recv())[:11], "closed 1006")


async def text_that_is_not_utf8_is_1007():
    async with connect(url("raw")) as ws:
        await ws.send(b"abc\xff", text=True)
        same((await closed(ws))[0], 1007)


async def too_big_is_1009():
    limit = PORTS["limit"]
    async with connect(url("small")) as ws:
        await echoes(ws, "x" * (limit - 1))
        await echoes(ws, "x" * limit)
        await ws.send("x" * (limit + 1))
        same((await closed(ws))[0], 1009)


async def too_big_in_fragments_is_1009():
    limit = PORTS["limit"]
    async with connect(url("small")) as ws:
        await ws.send(["x" * (limit - 1), "y"])
        same(await ws.recv(), "x" * (limit - 1) + "y")
        await ws.send(["x" * limit, "y"])
        same((await closed(ws))[0], 1009)


async def subprotocols():
    for offered, chosen in [(["echo.v1"], "echo.v1"), (["other", "echo.v2"], "echo.v2"),
                            (["other"], None), (None, None)]:
        async with connect(url("raw"), subprotocols=offered) as ws:
            same(ws.subprotocol, chosen)
            await echoes(ws, "hello")


async def a_path_and_a_query_are_no_obstacle():
    async with connect(url("raw", "/a/b%20c?x=1&y=%C3%BC")) as ws:
        await echoes(ws, "hello")


async def json_round_trips():
    values = [{}, [], {"a": [1, 2.5, -0.125, None, True, False, {"ü": UNICODE}]}, "text", 0, -1,
              2 ** 63, 2 ** 64, -(2 ** 200), 1e300, 5e-324, 0.1, [[[[]]]], {"": ""}, None, True,
              "\"\\/\b\f\n\r\t\u2028", {str(n): n for n in range(100)}]
    async with connect(url("json")) as ws:
        for value in values:
            await ws.send(json.dumps(value))
            got = json.loads(await ws.recv())
            same((type(got), got), (type(value), value))


async def a_large_json_value():
    value = [{"id": n, "name": f"fish {n} 🐟", "tags": ["a", "b"]} for n in range(20000)]
    async with connect(url("json"), max_size=None) as ws:
        await ws.send(json.dumps(value))
        same(json.loads(await ws.recv()), value)


async def a_binary_frame_passes_a_json_server():
    async with connect(url("json")) as ws:
        await echoes(ws, b"\x00\x01{")


async def text_that_is_not_json_is_1007():
    for text in ["{", "", "nope", "[1,]", "{} {}"]:
        async with connect(url("json")) as ws:
            await ws.send(text)
            same((await closed(ws))[0], 1007)


def windows(ws):
    (extension,) = ws.protocol.extensions
    return (not extension.local_no_context_takeover, not extension.remote_no_context_takeover,
            extension.local_max_window_bits, extension.remote_max_window_bits)


async def compressed_echoes(ws):
    for size in [0, 1, 63, 64, 65, 1000, 16384, 65536, 1 << 20]:
        await echoes(ws, ("to be or not to be " * (size // 19 + 1))[:size])
        await echoes(ws, random.Random(size).randbytes(size))
    await ws.send(["one " * 100, "two " * 100, "drei ü"])
    same(await ws.recv(), "one " * 100 + "two " * 100 + "drei ü")


async def compression():
    for server, kept in [("deflate", False), ("own", True)]:
        async with connect(url(server), max_size=None) as ws:
            same(windows(ws), (kept, kept, 15, 15))
            await compressed_echoes(ws)
    async with connect(url("raw")) as ws:
        same(len(ws.protocol.extensions), 0 if WAY == "plain" else 1)


async def compression_as_the_client_wants_it():
    for server, kept in [("deflate", False), ("own", True)]:
        for factory, want in [
            (dict(server_no_context_takeover=True), (kept, False, 15, 15)),
            (dict(client_no_context_takeover=True), (False, kept, 15, 15)),
            (dict(server_max_window_bits=9), (kept, kept, 15, 9)),
            (dict(client_max_window_bits=10), (kept, kept, 10, 15)),
        ]:
            extensions = [ClientPerMessageDeflateFactory(**{"client_max_window_bits": True, **factory})]
            async with connect(url(server), max_size=None, compression=None, extensions=extensions) as ws:
                same(windows(ws), want)
                await compressed_echoes(ws)


async def a_compressed_broadcast():
    text = "to all of you, " * 100
    async with connect(url("own")) as a, connect(url("own"), compression=None) as b, connect(
        url("own"), compression=None,
        extensions=[ClientPerMessageDeflateFactory(server_no_context_takeover=True)]) as c:
        for ws in [b, c]:
            await echoes(ws, "open")
        for _ in range(3):
            await a.send("!push " + text)
            same([await a.recv(), await b.recv(), await c.recv()], [text, text, text])


run([the_way_is_the_one_asked_for, text_and_binary, lengths_at_the_header_borders, a_mebibyte,
     mebibytes_from_several_clients_at_once, fragments, a_character_across_fragments,
     a_ping_between_fragments, ping_is_answered, pipelined_messages_keep_their_order,
     several_frames_in_answer_to_one, many_clients, push_reaches_everyone, the_client_closes,
     the_server_closes, a_lost_client_is_1006_to_the_handler, text_that_is_not_utf8_is_1007,
     too_big_is_1009, too_big_in_fragments_is_1009, subprotocols,
     a_path_and_a_query_are_no_obstacle, json_round_trips, a_large_json_value,
     a_binary_frame_passes_a_json_server, text_that_is_not_json_is_1007, compression,
     compression_as_the_client_wants_it, a_compressed_broadcast])
