"""Starts a server that the reader brings, on a free port: `{port}` in its command, or the last argument. Says `READY PORT PID` when it
listens, and ends it with the standard input.

front.py FOLDER COMMAND [ARGUMENT...]
"""

import socket
import subprocess
import sys
import time

PATIENCE = 20


def main():
    port = free_port()
    folder, *given = sys.argv[1:]
    command = [word.replace("{port}", str(port)) for word in given]
    if command == given:
        command.append(str(port))
    try:
        # What it prints is not for the runner, which reads this program's output.
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    except OSError as why:
        sys.exit(f"it does not start: {why}")
    try:
        listening(port, process)
        print(f"READY {port} {process.pid}", flush=True)
        while sys.stdin.readline():
            pass
    finally:
        process.kill()
        process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(port, process):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(f"it ended with code {process.returncode}: {' '.join(process.args)}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.01)
    sys.exit(f"it does not listen on 127.0.0.1:{port}: {' '.join(process.args)}")


if __name__ == "__main__":
    main()
