%% Sends every message back as it came. autobahn_echo:main() prints "port N".
-module(autobahn_echo).
-behaviour(sockeye_handler).

-export([main/0]).
-export([init/1, handle_frame/3]).

%% The suite's largest message has 16 MiB, its most fragmented one 4 MiB in frames of 64 bytes.
-define(MIB, 1048576).

-spec main() -> ok.
main() ->
    {ok, Server} = sockeye:start_link(maps:merge(way(os:getenv("SOCKEYE_WAY", "ws")), #{
        port => 0,
        handler => {?MODULE, none},
        format => raw,
        deflate => deflate(os:getenv("SOCKEYE_DEFLATE", "shared")),
        max_message_size => 32 * ?MIB,
        max_fragments => 100000,
        send_queue_size => 64 * ?MIB
    })),
    {ok, #{port := Port}} = sockeye:info(Server),
    io:format("port ~b~n", [Port]),
    receive
        {'EXIT', Server, Reason} -> exit(Reason)
    end.

-spec way(string()) -> map().
way("ws") -> #{};
way("wss") -> #{tls => #{certfile => os:getenv("SOCKEYE_CERT"), keyfile => os:getenv("SOCKEYE_KEY")}};
way("http2") -> #{http2 => cleartext}.

%% Contexts that the threads share, or windows of each connection's own.
-spec deflate(string()) -> sockeye:deflate_options().
deflate("shared") -> #{};
deflate("own") -> #{server_context_takeover => true, client_context_takeover => true}.

-spec init(none) -> {ok, none}.
init(none) ->
    {ok, none}.

-spec handle_frame(term(), term(), none) -> {list(), none}.
handle_frame(Frame, _Conn, State) ->
    {[{reply, Frame}], State}.
