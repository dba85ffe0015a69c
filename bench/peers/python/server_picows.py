"""JSON echo on picows, with uvloop and orjson. Prints `READY PORT`; ends when its standard input does."""

import logging
import os
import sys
import threading

import orjson
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame):
        if frame.msg_type == WSMsgType.TEXT:
            transport.send(WSMsgType.TEXT, orjson.dumps(orjson.loads(frame.get_payload_as_memoryview())))
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()


def end_with_runner():
    sys.stdin.read()
    os._exit(0)


# The load leaves while replies are on their way; each would be a line here.
logging.disable()


async def main():
    server = await ws_create_server(lambda request: Echo(), "127.0.0.1", 0, backlog=1024)
    print("READY", server.sockets[0].getsockname()[1], flush=True)
    threading.Thread(target=end_with_runner, daemon=True).start()
    await server.serve_forever()


uvloop.run(main())
