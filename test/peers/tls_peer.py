"""One end of a TLS connection that says how the other one ended it: with close_notify, without, or by a reset.

  tls_peer.py client PORT VERSION ALPN STEP ...     connects to 127.0.0.1
  tls_peer.py server CERT KEY VERSION STEP ...      prints its port, and takes one connection

VERSION is 1.2 or 1.3, ALPN a protocol or -. STEP is one of
  send:HEX     sends these bytes
  until:HEX    reads until they have come
  ready        prints that it came here
  upgrade      reads a request for a WebSocket, and accepts it
  notify       sends close_notify
  fin          ends its side of TCP without a word
  end          reads up to the end, and prints how it came, and the last bytes that came before it
OpenSSL runs on buffers here, not on the socket, so that TCP and TLS are told apart.
"""

import base64
import hashlib
import signal
import socket
import ssl
import sys

TIMEOUT = 20
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Peer:
    def __init__(self, sock, context, **options):
        sock.settimeout(TIMEOUT)
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, **options)
        self.got = b""
        self.ended = None
        self.call(self.tls.do_handshake)

    def call(self, function, *args):
        while True:
            try:
                return function(*args)
            except ssl.SSLWantReadError:
                self.flush()
                self.fill()
            finally:
                self.flush()

    def flush(self):
        bytes_ = self.outgoing.read()
        if bytes_:
            self.sock.sendall(bytes_)

    def fill(self):
        bytes_ = self.sock.recv(65536)
        if bytes_:
            self.incoming.write(bytes_)
        else:
            self.incoming.write_eof()

    def read(self):
        """Reads more. False, and how it ended, if no more comes."""
        try:
            more = self.call(self.tls.read, 65536)
            self.got += more
            if more:
                return True
            # Until we have said it, too; then it is an error.
            self.ended = "close_notify"
        except ssl.SSLZeroReturnError:
            self.ended = "close_notify"
        except ssl.SSLEOFError:
            self.ended = "eof"
        except ssl.SSLError as error:
            self.ended = "eof" if "EOF" in str(error).upper() else str(error)
        except ConnectionError:
            self.ended = "reset"
        return False

    def until(self, wanted):
        while wanted not in self.got:
            if not self.read():
                sys.exit(f"{wanted!r} did not come before {self.ended}: {self.got!r}")
        seen, _, self.got = self.got.partition(wanted)
        return seen + wanted

    def upgrade(self):
        head = self.until(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        key = next(line.split(b": ", 1)[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
        assert lines[b"upgrade"] == b"websocket", head
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.call(self.tls.write, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")

    def notify(self):
        try:
            # It minds what lies here unread.
            while more := self.tls.read(65536):
                self.got += more
        except ssl.SSLWantReadError:
            pass
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        self.flush()

    def end(self):
        while self.read():
            pass
        print(self.ended, self.got[-64:].hex(), flush=True)

    def run(self, steps):
        for step in steps:
            name, _, argument = step.partition(":")
            argument = bytes.fromhex(argument)
            if name == "send":
                self.call(self.tls.write, argument)
            elif name == "until":
                self.until(argument)
            elif name == "ready":
                print("ready", flush=True)
            elif name == "fin":
                self.sock.shutdown(socket.SHUT_WR)
            elif name in ("upgrade", "notify", "end"):
                getattr(self, name)()
            else:
                sys.exit(f"no such step: {step}")


def limited(context, version):
    context.minimum_version = context.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    return context


def client(port, version, alpn, *steps):
    context = limited(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), version)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn != "-":
        context.set_alpn_protocols([alpn])
    with socket.create_connection(("127.0.0.1", int(port)), TIMEOUT) as sock:
        Peer(sock, context, server_hostname="localhost").run(steps)


def server(cert, key, version, *steps):
    context = limited(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), version)
    context.load_cert_chain(cert, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        listener.settimeout(TIMEOUT)
        sock, _ = listener.accept()
        with sock:
            Peer(sock, context, server_side=True).run(steps)


if __name__ == "__main__":
    # Whoever started it may be gone.
    signal.alarm(2 * TIMEOUT)
    {"client": client, "server": server}[sys.argv[1]](*sys.argv[2:])
