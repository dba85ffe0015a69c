"""haproxy or nginx in front of the server at the port BENCH_ORIGIN, or nginx as that server. Says `READY PORT PID`, and ends with
its standard input.

front.py haproxy|nginx|origin
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from ports import free_port, listening  # noqa: E402

KEPT = 1024

HAPROXY = """
global
    nbthread 1
    maxconn 4000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend front
    bind 127.0.0.1:{port}
    default_backend origin
backend origin
    server origin 127.0.0.1:{origin} pool-max-conn {kept}
"""

NGINX = """
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr;
events {{ worker_connections 8000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    {upstream}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root {dir};
        {location}
    }}
}}
"""

UPSTREAM = "upstream origin {{ server 127.0.0.1:{origin}; keepalive {kept}; keepalive_requests 1000000000; }}"

LOCATION = """
        location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
        }
"""

# Names are the sizes of the files.
SIZES = [64, 16384]


def main():
    kind = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        port, origin = free_port(), os.environ.get("BENCH_ORIGIN", "")
        if kind == "haproxy":
            command = [program("haproxy"), "-db", "-f", "config"]
            config = HAPROXY.format(port=port, origin=origin, kept=KEPT)
        else:
            command = [program("nginx"), "-c", f"{folder}/config", "-p", folder]
            is_front = kind == "nginx"
            config = NGINX.format(dir=folder, port=port, location=LOCATION if is_front else "",
                                  upstream=UPSTREAM.format(origin=origin, kept=KEPT) if is_front else "")
        Path(folder, "config").write_text(config)
        for size in SIZES:
            Path(folder, str(size)).write_bytes(b"x" * size)
        # A root of its own must be readable by who serves it.
        os.chmod(folder, 0o755)
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            listening(port, process, 10)
            print(f"READY {port} {process.pid}", flush=True)
            while sys.stdin.readline():
                pass
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def program(name):
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    if not found:
        sys.exit(f"there is no {name}: .ci/setup proxies")
    return found


if __name__ == "__main__":
    main()
