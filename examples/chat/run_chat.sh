#!/bin/sh
# Starts the chat, with an Erlang shell when there is a terminal.
set -eu

usage() {
    cat <<USAGE
usage: run_chat.sh [--host HOST] [--port PORT] [--name NODE] [--join NODE] [--no-shell]
  --host HOST   address to listen on (default 127.0.0.1)
  --port PORT   port to listen on, 0 for a free one (default 8080)
  --name NODE   a name for this node, such as a@127.0.0.1
  --join NODE   another node of the same chat, which has been started with --name
  --no-shell    no Erlang shell; the default when standard input is not a terminal
USAGE
}

fail() {
    echo "run_chat.sh: $1" >&2
    exit "${2:-1}"
}

host=127.0.0.1
port=8080
name=
join=
shell=yes
[ -t 0 ] || shell=no

while [ $# -gt 0 ]; do
    case $1 in
        --host | --port | --name | --join)
            [ $# -gt 1 ] || fail "$1 needs a value." 2
            case $1 in
                --host) host=$2 ;;
                --port) port=$2 ;;
                --name) name=$2 ;;
                --join) join=$2 ;;
            esac
            shift 2
            ;;
        --no-shell) shell=no; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
done
[ -z "$join" ] || [ -n "$name" ] || fail "--join needs --name." 2

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
lib=$root/_build/default/lib/sockeye
out=$root/_build/examples/chat

for tool in erl erlc rebar3; do
    command -v $tool >/dev/null || fail "$tool was not found; make chat installs it."
done
if [ ! -e "$lib/ebin/sockeye.beam" ] || [ ! -e "$lib/priv/sockeye_nif.so" ]; then
    (cd "$root" && rebar3 compile) || fail "Sockeye did not build."
fi
mkdir -p "$out"
erlc -pa "$lib/ebin" -o "$out" "$here"/src/*.erl || fail "the example did not compile."

export CHAT_HOST="$host" CHAT_PORT="$port" CHAT_PAGE="$here/index.html" CHAT_JOIN="$join"
# A name and a cookie of this chat alone.
set -- ${name:+-name "$name" -setcookie sockeye_chat}
if [ $shell = yes ]; then
    exec erl -pa "$lib/ebin" "$out" "$@" -eval 'chat:main().'
fi
# +Bd: Ctrl-C ends the server, there is nobody to answer the break menu.
exec erl +Bd -noinput -noshell -pa "$lib/ebin" "$out" "$@" -eval 'chat:main().'
