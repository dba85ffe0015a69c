"""WebSockets as streams of HTTP/2 (RFC 8441), with Python's h2: cleartext and TLS."""

import json
import os
import socket
import ssl
import struct
import sys

import h2.config
import h2.connection
import h2.events
import h2.settings

PORTS = json.loads(os.environ["PEER_PORTS"])["http2"]
TIMEOUT = 10


class Peer:
    """One connection, and what has come on each of its streams."""

    def __init__(self, tls, read_all=True):
        self.tls = tls
        port = PORTS["h2" if tls else "h2c"]
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            context.set_alpn_protocols(["h2", "http/1.1"])
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
            assert self.socket.selected_alpn_protocol() == "h2"
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.flush()
        self.headers, self.data, self.ended, self.gone = {}, {}, set(), False
        self.read_all = read_all
        self.wait(lambda: self.h2.remote_settings.enable_connect_protocol)

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def wait(self, until):
        """Reads until this holds."""
        while not until():
            data = self.socket.recv(65536)
            assert data, "the server hung up"
            for event in self.h2.receive_data(data):
                self.note(event)
            self.flush()

    def note(self, event):
        stream = getattr(event, "stream_id", None)
        if isinstance(event, h2.events.ResponseReceived):
            self.headers[stream] = dict(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self.data.setdefault(stream, bytearray()).extend(event.data)
            if self.read_all:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            self.ended.add(stream)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.gone = True

    def request(self, method, path, headers=(), end=True):
        stream = self.h2.get_next_available_stream_id()
        scheme = "https" if self.tls else "http"
        pseudo = [(":method", method), (":scheme", scheme), (":authority", "localhost"), (":path", path)]
        self.h2.send_headers(stream, pseudo + list(headers), end_stream=end)
        self.flush()
        self.wait(lambda: stream in self.headers)
        return stream

    def get(self, path):
        stream = self.request("GET", path)
        self.wait(lambda: stream in self.ended)
        return self.headers[stream][":status"], bytes(self.data.get(stream, b""))

    def connect(self, path="/", protocol="websocket", version="13", extra=()):
        headers = [(":protocol", protocol)]
        fields = [("sec-websocket-version", version)] if version else []
        stream = self.h2.get_next_available_stream_id()
        scheme = "https" if self.tls else "http"
        pseudo = [(":method", "CONNECT"), (":scheme", scheme), (":authority", "localhost"), (":path", path)]
        self.h2.send_headers(stream, pseudo + headers + fields + list(extra))
        self.flush()
        self.wait(lambda: stream in self.headers)
        self.data.setdefault(stream, bytearray())
        return stream

    def open(self, **options):
        stream = self.connect(**options)
        assert self.headers[stream][":status"] == "200", self.headers[stream]
        return stream

    def write(self, stream, data):
        """As much as flow control lets, then the rest."""
        while data:
            room = self.h2.local_flow_control_window(stream)
            room = min(room, self.h2.max_outbound_frame_size)
            if room == 0:
                self.wait(lambda: self.h2.local_flow_control_window(stream) > 0)
                continue
            self.h2.send_data(stream, data[:room])
            data = data[room:]
            self.flush()

    def send(self, stream, opcode, payload):
        mask = b"\1\2\3\4"
        masked = bytes(b ^ mask[i % 4] for i, b in enumerate(payload)) if len(payload) < 65536 else \
            (int.from_bytes(payload, "big") ^ int.from_bytes((mask * (len(payload) // 4 + 1))[:len(payload)], "big")) \
            .to_bytes(len(payload), "big")
        size = len(payload)
        if size < 126:
            head = bytes([0x80 | opcode, 0x80 | size])
        elif size < 65536:
            head = bytes([0x80 | opcode, 0xFE]) + struct.pack(">H", size)
        else:
            head = bytes([0x80 | opcode, 0xFF]) + struct.pack(">Q", size)
        self.write(stream, head + mask + masked)

    def take(self, stream, size):
        self.wait(lambda: len(self.data[stream]) >= size or stream in self.ended)
        assert len(self.data[stream]) >= size, "the stream ended"
        taken = bytes(self.data[stream][:size])
        del self.data[stream][:size]
        return taken

    def receive(self, stream):
        first, size = self.take(stream, 2)
        if size == 126:
            size = struct.unpack(">H", self.take(stream, 2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self.take(stream, 8))[0]
        return first & 15, self.take(stream, size)

    def echo(self, stream, payload, opcode=2):
        self.send(stream, opcode, payload)
        got = self.receive(stream)
        assert got == (opcode, payload), (len(got[1]), len(payload))

    def leave(self, stream):
        self.send(stream, 8, struct.pack(">H", 1000))
        assert self.receive(stream) == (8, struct.pack(">H", 1000))
        self.wait(lambda: stream in self.ended)


def echoes(tls):
    peer = Peer(tls)
    stream = peer.open()
    peer.echo(stream, b"hello", 1)
    for size in (0, 1, 125, 126, 65535, 65536, 200000, 3000000):
        peer.echo(stream, os.urandom(size))
    peer.leave(stream)


def several(tls):
    peer = Peer(tls)
    streams = [peer.open() for _ in range(20)]
    for round_ in range(3):
        for stream in streams:
            peer.send(stream, 1, b"%d of %d" % (round_, stream))
        for stream in reversed(streams):
            assert peer.receive(stream) == (1, b"%d of %d" % (round_, stream))
    for stream in streams[::2]:
        peer.leave(stream)
    for stream in streams[1::2]:
        peer.echo(stream, b"still here")
        peer.leave(stream)


def facts(tls):
    """What was agreed on comes as in HTTP/1.1, without what belongs to that."""
    peer = Peer(tls)
    stream = peer.open(path="/a?b=c", extra=[("sec-websocket-protocol", "x, echo.v1"), ("cookie", "a=1"), ("cookie", "b=2")])
    headers = peer.headers[stream]
    assert headers["sec-websocket-protocol"] == "echo.v1", headers
    assert not {"connection", "upgrade", "sec-websocket-accept"} & set(headers), headers
    peer.send(stream, 1, b"!how")
    how = b"http/2 tls %s deflate false" % (b"true" if tls else b"false")
    assert peer.receive(stream) == (1, how)
    peer.leave(stream)


def refusals(tls):
    peer = Peer(tls)
    cases = [({"version": "8"}, "400"), ({"version": None}, "400"), ({"protocol": "chat"}, "501"),
             ({"path": "/nowhere"}, "404"), ({"extra": [("origin", "https://evil.example")]}, "403")]
    for options, status in cases:
        stream = peer.connect(**options)
        assert peer.headers[stream][":status"] == status, (options, peer.headers[stream])
    # The connection goes on.
    stream = peer.open()
    peer.echo(stream, b"after all that")
    status, body = peer.get("/hello")
    assert (status, body) == ("200", b"hello over HTTP"), (status, body)
    assert peer.get("/missing")[0] == "404"
    peer.leave(stream)


def fast_and_slow(tls):
    """A stream that is not read holds up no other."""
    peer = Peer(tls, read_all=False)
    slow, fast = peer.open(), peer.open()
    for _ in range(40):
        peer.send(slow, 2, b"x" * 4000)
    peer.h2.increment_flow_control_window(1 << 20)
    peer.flush()
    for n in range(5):
        peer.echo(fast, b"%d" % n)


def violations(tls):
    peer = Peer(tls)
    stream, other = peer.open(), peer.open()
    peer.write(stream, b"\x81\x03abc")
    assert peer.receive(stream)[1][:2] == struct.pack(">H", 1002)
    peer.wait(lambda: stream in peer.ended)
    peer.h2.reset_stream(other)
    peer.flush()
    last = peer.open()
    peer.echo(last, b"others are not touched")


def rapid_reset(tls):
    """Who opens streams only to reset them is cut off."""
    peer = Peer(tls)
    scheme = "https" if tls else "http"
    pseudo = [(":method", "GET"), (":scheme", scheme), (":authority", "localhost"), (":path", "/hello")]
    try:
        for _ in range(2000):
            stream = peer.h2.get_next_available_stream_id()
            peer.h2.send_headers(stream, pseudo, end_stream=True)
            peer.h2.reset_stream(stream)
            if stream % 40 == 1:
                peer.flush()
        peer.flush()
        peer.wait(lambda: peer.gone)
    except (AssertionError, ConnectionError, ssl.SSLError):
        peer.gone = True
    assert peer.gone
    Peer(tls).open()


def main():
    for tls in (False, True):
        for case in (echoes, several, facts, refusals, fast_and_slow, violations, rapid_reset):
            case(tls)
            print("ok", case.__name__, "over TLS" if tls else "cleartext")


main()
