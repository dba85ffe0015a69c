"""JSON echo on websockets. Prints `READY PORT`; ends when its standard input does.

With the argument `deflate`, permessage-deflate for every message.
"""

import asyncio
import json
import os
import sys
import threading

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def echo(socket):
    try:
        async for text in socket:
            await socket.send(json.dumps(json.loads(text), separators=(",", ":")))
    except ConnectionClosed:
        pass


def end_with_runner():
    sys.stdin.read()
    os._exit(0)


async def main():
    compression = "deflate" if sys.argv[1:] == ["deflate"] else None
    options = dict(compression=compression, ping_interval=None, max_size=None, backlog=1024)
    async with serve(echo, "127.0.0.1", 0, **options) as server:
        print("READY", server.sockets[0].getsockname()[1], flush=True)
        threading.Thread(target=end_with_runner, daemon=True).start()
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
