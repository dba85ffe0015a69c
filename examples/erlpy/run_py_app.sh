#!/bin/sh
# Runs the Python client, in a virtual environment that is made on the first run.
# Options are the client's: --mode demo|test|interactive, --host, --port.
set -eu

fail() {
    echo "run_py_app.sh: $1" >&2
    exit 1
}

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv=${SOCKEYE_VENV:-$root/.venv}
want=$(sed -n 's/^websockets==//p' "$here/requirements.txt")

have() {
    [ -x "$venv/bin/python" ] || return 1
    "$venv/bin/python" - "$want" 2>/dev/null <<'PY'
import sys
from importlib.metadata import version
sys.exit(version("websockets") != sys.argv[1])
PY
}

if ! have; then
    command -v python3 >/dev/null || fail "python3 was not found; install Python 3.11 or newer."
    python3 -m venv "$venv" >&2 ||
        fail "Python cannot make a virtual environment; install its venv module (python3-venv on Debian)."
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        -r "$here/requirements.txt" >&2 || fail "the Python package websockets could not be installed."
fi
exec "$venv/bin/python" "$here/client.py" "$@"
