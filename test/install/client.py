#!/usr/bin/env python3
"""Talks JSON to an echo server: client.py HOST PORT. Standard library only.

Sends one text frame, wants it back, closes, wants the close answered with 1000.
"""
import base64
import json
import os
import socket
import struct
import sys

MESSAGE = {"hello": "wörld", "list": [1, -2.5, None, True], "big": 2**70}


def exactly(sock, count):
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise SystemExit("the server closed the connection after %r" % data)
        data += part
    return data


def send_frame(sock, opcode, payload):
    assert len(payload) < 126
    mask = os.urandom(4)
    masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload))
    sock.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + masked)


def receive_frame(sock):
    first, length = exactly(sock, 2)
    if length == 126:
        (length,) = struct.unpack("!H", exactly(sock, 2))
    return first & 0x0F, exactly(sock, length)


def main(host, port):
    with socket.create_connection((host, port), timeout=20) as sock:
        key = base64.b64encode(os.urandom(16)).decode()
        sock.sendall(
            (
                f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += exactly(sock, 1)
        if not head.startswith(b"HTTP/1.1 101 "):
            raise SystemExit("no upgrade: %r" % head)
        send_frame(sock, 1, json.dumps(MESSAGE).encode())
        opcode, payload = receive_frame(sock)
        if opcode != 1 or json.loads(payload) != MESSAGE:
            raise SystemExit("not what was sent: opcode %d, %r" % (opcode, payload))
        send_frame(sock, 8, struct.pack("!H", 1000))
        opcode, payload = receive_frame(sock)
        if opcode != 8 or struct.unpack("!H", payload[:2]) != (1000,):
            raise SystemExit("not a close with 1000: opcode %d, %r" % (opcode, payload))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
