"""A server of files over HTTP, on loopback, and its lies.

files.py FOLDER [CERT KEY]: prints "port N", "tls N" where it has a certificate, and "closed N" (a port where nobody listens), then the path of each request.
Paths begin with what becomes of the file: whole, moved (a redirect to whole), wrong (one byte is another in
the last), endless, cut, none. As a proxy it answers for any host. It ends with its standard input.
"""

import http.server
import pathlib
import socket
import ssl
import sys
import threading
import urllib.parse

FOLDER, *CERT_AND_KEY = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        print(path, flush=True)
        _, way, name = path.split("/")
        file = pathlib.Path(FOLDER) / name
        if way == "none" or not file.is_file():
            self.send_error(404)
            return
        if way == "moved":
            self.send_response(302)
            self.send_header("Location", f"http://{self.headers['Host']}/whole/{name}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = file.read_bytes()
        if way == "wrong" and name.startswith("sockeye-engine"):
            body = body[:100] + bytes([body[100] ^ 1]) + body[101:]
        self.send_response(200)
        if way == "endless":
            self.end_headers()
            try:
                while True:
                    self.wfile.write(body)
            except OSError:
                return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if way == "cut" else body)
        self.close_connection = way == "cut"

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that does not trust us, or has read enough


def serve(name, context=None):
    server = Server(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(name, server.server_port, flush=True)


nobody = socket.socket()
nobody.bind(("127.0.0.1", 0))
print("closed", nobody.getsockname()[1], flush=True)
if CERT_AND_KEY:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*CERT_AND_KEY)
    serve("tls", tls)
serve("port")
sys.stdin.read()
