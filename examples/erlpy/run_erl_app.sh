#!/bin/sh
# Starts the erlpy server, with an Erlang shell when there is a terminal.
set -eu

usage() {
    cat <<USAGE
usage: run_erl_app.sh [--host HOST] [--port PORT] [--no-shell]
  --host HOST   address to listen on (default 127.0.0.1)
  --port PORT   port to listen on, 0 for a free one (default 19765)
  --no-shell    no Erlang shell; the default when standard input is not a terminal
USAGE
}

fail() {
    echo "run_erl_app.sh: $1" >&2
    exit "${2:-1}"
}

host=127.0.0.1
port=19765
shell=yes
[ -t 0 ] || shell=no

while [ $# -gt 0 ]; do
    case $1 in
        --host) [ $# -gt 1 ] || fail "--host needs a value." 2; host=$2; shift 2 ;;
        --port) [ $# -gt 1 ] || fail "--port needs a value." 2; port=$2; shift 2 ;;
        --host=*) host=${1#*=}; shift ;;
        --port=*) port=${1#*=}; shift ;;
        --no-shell) shell=no; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
lib=$root/_build/default/lib/sockeye
out=$root/_build/examples/erlpy

for tool in erl erlc; do
    command -v $tool >/dev/null || fail "$tool was not found; install Erlang/OTP 25 or newer."
done
if [ ! -e "$lib/ebin/sockeye.beam" ] || [ ! -e "$lib/priv/sockeye_nif.so" ]; then
    command -v rebar3 >/dev/null || fail "rebar3 was not found; install it to build Sockeye."
    (cd "$root" && rebar3 compile) || fail "Sockeye did not build."
fi
mkdir -p "$out"
erlc -pa "$lib/ebin" -o "$out" "$here"/src/*.erl || fail "the example did not compile."

export ERLPY_HOST="$host" ERLPY_PORT="$port" ERLPY_PAGE="$here/index.html"
if [ $shell = yes ]; then
    exec erl -pa "$lib/ebin" "$out" -eval 'erlpy:main().'
fi
# +Bd: Ctrl-C ends the server, there is nobody to answer the break menu.
exec erl +Bd -noinput -noshell -pa "$lib/ebin" "$out" -eval 'erlpy:main().'
