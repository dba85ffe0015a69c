"""Python's websockets as a server for the client: echo_server.py prints the ports of ws and wss.

A text `close` is answered with 4001, and everything else with itself; /refused is a 403. It ends when its input does.
"""

import asyncio
import http
import os
import ssl
import sys

from websockets.asyncio.server import serve


async def echo(ws):
    async for message in ws:
        if message == "close":
            await ws.close(4001, "as you wish")
        elif message == "headers":
            await ws.send(ws.request.headers.get("X-Peer", "none"))
        else:
            await ws.send(message)


def refuse(connection, request):
    if request.path == "/refused":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "not here\n")


def choose(connection, offered):
    return "echo" if "echo" in offered else None


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["PEER_CERT"], os.environ["PEER_KEY"])
    options = dict(process_request=refuse, select_subprotocol=choose, max_size=None)
    async with serve(echo, "127.0.0.1", 0, **options) as plain:
        async with serve(echo, "127.0.0.1", 0, ssl=context, **options) as secure:
            print(*[server.sockets[0].getsockname()[1] for server in (plain, secure)], flush=True)
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
