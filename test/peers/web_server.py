"""Python's http.server and websockets as the web server behind Sockeye: sockeye_beside_peers_tests. Ends with its standard input.

One port for both: http.server reads the request, and websockets does the handshake and the frames on the same socket.
"""

import http.server
import sys
import threading

from websockets.frames import Opcode
from websockets.server import ServerProtocol


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/socket":
            self.websocket()
        elif self.path == "/chunks":
            self.chunked([b"one ", b"two ", b"three"])
        elif self.path == "/events":
            self.chunked(events(), "text/event-stream")
        elif self.path == "/who":
            fields = ["host", "x-forwarded-for", "x-forwarded-proto"]
            self.whole(" ".join(self.headers[name] for name in fields).encode())
        elif self.path == "/go":
            go.set()
            self.whole(b"gone\n")
        elif self.path == "/port":
            self.whole(str(self.client_address[1]).encode())
        else:
            self.whole(b"hello\n")

    def do_POST(self):
        if self.headers["transfer-encoding"]:
            self.whole(b"".join(self.chunks()))
        else:
            self.whole(self.rfile.read(int(self.headers["content-length"])))

    def chunks(self):
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def whole(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def chunked(self, pieces, kind="text/plain"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def head(self):
        lines = [self.requestline] + [f"{name}: {value}" for name, value in self.headers.items()]
        return "".join(line + "\r\n" for line in lines + [""]).encode("latin-1")

    def websocket(self):
        self.close_connection = True
        protocol = ServerProtocol()
        protocol.receive_data(self.head())
        [request] = protocol.events_received()
        protocol.send_response(protocol.accept(request))
        while True:
            for data in protocol.data_to_send():
                if data:
                    self.wfile.write(data)
            if protocol.close_expected():
                return
            data = self.rfile.read1(65536)
            if not data:
                return
            protocol.receive_data(data)
            for frame in protocol.events_received():
                if frame.opcode is Opcode.TEXT and frame.data == b"close":
                    protocol.send_close(4001, "as you wish")
                elif frame.opcode is Opcode.TEXT:
                    protocol.send_text(frame.data)
                elif frame.opcode is Opcode.BINARY:
                    protocol.send_binary(frame.data)

    def log_message(self, *_):
        pass


go = threading.Event()


def events():
    """Server-sent events: the second one when somebody has seen the first, and asks for /go."""
    yield b"data: one\n\n"
    if go.wait(20):
        yield b"data: two\n\n"


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print("READY", server.server_port, flush=True)
sys.stdin.read()
