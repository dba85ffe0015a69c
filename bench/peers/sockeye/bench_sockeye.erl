%% JSON echo and fan-out on Sockeye, through its public interface only.
%% `one', `pool', `each': which processes run the handler. `slow': as `one', but 1 ms a frame.
%% `owner': frames as messages to a plain process. `deflate', `window', `tls': as `one', with
%% permessage-deflate, with a window of its own for each connection, or with TLS and the certificate that bench/setup made.
%% `scale', `scale_each', `scale_tls', `scale_tls_each': all subscribe but the path /probe, texts come back, and what comes on the path /publish is published.
%% `pings', `pings_each', `pings_tls': silent connections, which get a ping every BENCH_PING_MS.
%% `raw', `raw_each': texts are not JSON. `proxy': all requests go to the server behind, at the port BENCH_ORIGIN. `topic': what comes on the path /publish is published to all other connections.
-module(bench_sockeye).
-behaviour(sockeye_handler).

-export([main/1]).
-export([init/1, handle_open/3, handle_frame/3]).

%% A burst of the largest cell, 16 times 64 KB, must fit a connection's send queue.
-define(OPTIONS, #{port => 0, send_queue_size => 4 * 1024 * 1024}).

-spec main([atom()]) -> no_return().
main([Mode]) ->
    %% The runner reads what is printed here.
    ok = logger:set_primary_config(level, warning),
    {ok, _} = application:ensure_all_started(sockeye),
    bench_node:run(start(Mode), commands(Mode)).

start(Mode) ->
    {ok, Server} = sockeye:start_link(maps:merge(?OPTIONS, options(Mode))),
    {ok, #{port := Port}} = sockeye:info(Server),
    Port.

%% For bench/scale.
commands(Mode) ->
    #{"count\n" => fun() -> {ok, #{connections := N}} = sockeye:info(bench), json("connections", N) end,
      "memory\n" => fun() ->
          {ok, #{memory := Engine}} = sockeye:info(),
          io_lib:format("{\"engine\":~b,\"vm\":~b,\"processes\":~b}", [Engine, erlang:memory(total), erlang:memory(processes)])
      end,
      "drain\n" => fun() ->
          {ok, #{unanswered := N}} = sockeye:drain(bench, #{per_interval => 500, interval => 100, deadline => 10000}),
          json("unanswered", N)
      end,
      "stop\n" => fun() -> json("stopped", case sockeye:stop(bench) of ok -> 1 end) end,
      "start\n" => fun() -> json("port", start(Mode)) end}.

json(Key, N) -> io_lib:format("{\"~s\":~b}", [Key, N]).

options(one) -> #{handler => {?MODULE, fast}, processes => one};
options(slow) -> #{handler => {?MODULE, slow}, processes => one};
options(pool) -> #{handler => {?MODULE, fast}, processes => 4};
options(each) -> #{handler => {?MODULE, fast}, processes => per_connection};
options(deflate) -> (options(one))#{deflate => true};
options(window) -> (options(one))#{deflate => #{server_context_takeover => true}};
options(tls) -> (options(one))#{tls => #{certfile => "tls/cert.pem", keyfile => "tls/key.pem"}};
options(raw) -> (options(one))#{format => raw};
options(raw_each) -> (options(each))#{format => raw};
options(scale) ->
    #{name => bench, handler => {?MODULE, #{publisher => none}}, format => raw, http2 => cleartext, backlog => 4096, ping_interval => ping_ms()};
options(scale_each) -> (options(scale))#{processes => per_connection};
options(scale_tls) -> maps:merge(options(scale), maps:with([tls], options(tls)));
options(scale_tls_each) -> (options(scale_tls))#{processes => per_connection};
options(pings) -> (options(raw))#{ping_interval => ping_ms(), backlog => 4096};
options(pings_each) -> (options(pings))#{processes => per_connection};
options(pings_tls) -> maps:merge(options(pings), maps:with([tls], options(tls)));
options(proxy) ->
    Origin = "http://127.0.0.1:" ++ os:getenv("BENCH_ORIGIN"),
    #{http => #{"/" => {proxy, Origin, #{pool_size => 1024}}}};
options(topic) -> (options(raw))#{handler => {?MODULE, topic}};
options(owner) -> #{handler => spawn_link(fun owner/0), active => true}.

ping_ms() -> list_to_integer(os:getenv("BENCH_PING_MS", "10000")).

init(Speed) ->
    {ok, Speed}.

handle_open(#{path := Path}, _Conn, topic) when Path =/= <<"/publish">> ->
    {[{subscribe, <<"topic">>}], topic};
handle_open(#{path := <<"/publish">>}, Conn, #{} = State) ->
    {[], State#{publisher := Conn}};
handle_open(#{path := <<"/">>}, _Conn, #{} = State) ->
    {[{subscribe, <<"topic">>}], State};
handle_open(_Info, _Conn, State) ->
    {[], State}.

handle_frame(Frame, Conn, #{publisher := Conn} = State) ->
    {[{publish, <<"topic">>, Frame}], State};
handle_frame(Frame, _Conn, #{} = State) ->
    {[{reply, Frame}], State};
handle_frame({text, Text}, _Conn, fast) ->
    {[{reply, {text, Text}}], fast};
handle_frame({text, Text}, _Conn, topic) ->
    {[{publish, <<"topic">>, {text, Text}}], topic};
handle_frame({json, Term}, _Conn, fast) ->
    {[{reply, {json, Term}}], fast};
handle_frame({json, Term}, _Conn, slow) ->
    timer:sleep(1),
    {[{reply, {json, Term}}], slow}.

owner() ->
    receive
        {sockeye, Conn, {json, Term}} ->
            %% `closed' is no reason to end: its load may have gone.
            _ = sockeye:send(Conn, {json, Term}),
            owner();
        _ ->
            owner()
    end.
