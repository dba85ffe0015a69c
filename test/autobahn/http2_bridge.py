"""Lets a client of HTTP/1.1 speak to a server over HTTP/2 (RFC 8441), byte by byte.

    http2_bridge.py SERVER_PORT    prints "port N", cleartext on both sides; ends with its parent

Each connection becomes one of its own with one stream, so that what the client does to the
transport is done to that stream alone.
"""

import asyncio
import base64
import hashlib
import os
import sys

import h2.config
import h2.connection
import h2.events

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CHUNK = 65536
PASSED_ON = {"sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol"}


class Bridge:
    def __init__(self, client, server):
        (self.client_in, self.client_out), (self.server_in, self.server_out) = client, server
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.answer, self.ended = None, False
        self.news = asyncio.Event()

    def flush(self):
        self.server_out.write(self.h2.data_to_send())

    async def until(self, test):
        while not test():
            self.news.clear()
            await self.news.wait()

    async def run(self):
        head = (await self.client_in.readuntil(b"\r\n\r\n")).decode()
        request, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.h2.initiate_connection()
        self.flush()
        listening = asyncio.create_task(self.listen())
        try:
            await self.until(lambda: self.ended or self.h2.remote_settings.enable_connect_protocol)
            pseudo = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                      (":authority", headers["host"]), (":path", request.split(" ")[1])]
            self.h2.send_headers(1, pseudo + [(n, v) for n, v in headers.items() if n in PASSED_ON])
            self.flush()
            await self.until(lambda: self.ended or self.answer is not None)
            self.open(headers["sec-websocket-key"])
            await self.speak()
            await listening
        finally:
            listening.cancel()

    def open(self, key):
        if (self.answer or {}).get(":status") != "200":
            raise ConnectionError(f"no stream: {self.answer}")
        accept = base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Accept: {accept}"]
        lines += [f"{n}: {v}" for n, v in self.answer.items() if n in PASSED_ON]
        self.client_out.write("\r\n".join(lines + ["", ""]).encode())

    async def speak(self):
        """From the client to the stream, as far as its window goes."""
        while data := await self.client_in.read(CHUNK):
            while data and not self.ended:
                await self.until(lambda: self.ended or self.h2.local_flow_control_window(1) > 0)
                if self.ended:
                    return
                size = min(self.h2.local_flow_control_window(1), self.h2.max_outbound_frame_size)
                self.h2.send_data(1, data[:size])
                data = data[size:]
                self.flush()
                await self.server_out.drain()
        if not self.ended:
            self.h2.end_stream(1)
            self.flush()

    async def listen(self):
        """From the stream to the client."""
        while not self.ended and (data := await self.server_in.read(CHUNK)):
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    self.answer = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    self.client_out.write(event.data)
                    self.h2.acknowledge_received_data(event.flow_controlled_length, 1)
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    self.ended = True
            self.flush()
            self.news.set()
            await self.client_out.drain()
        self.ended = True
        self.news.set()
        self.client_out.close()


async def main():
    async def serve(client_in, client_out):
        server_in, server_out = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
        try:
            await Bridge((client_in, client_out), (server_in, server_out)).run()
        except (ConnectionError, asyncio.IncompleteReadError) as why:
            print(why, file=sys.stderr)
        finally:
            client_out.close()
            server_out.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    print("port", listener.sockets[0].getsockname()[1], flush=True)
    # The runner's end closes our standard input.
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


asyncio.run(main())
