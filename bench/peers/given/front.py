"""Starts a server that the reader brings, on a free port: `{port}` in its command, or the last argument. Says `READY PORT PID` when it
listens, and ends it with the standard input.

front.py FOLDER COMMAND [ARGUMENT...]
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from ports import free_port, listening  # noqa: E402

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
        listening(port, process, PATIENCE)
        print(f"READY {port} {process.pid}", flush=True)
        while sys.stdin.readline():
            pass
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
