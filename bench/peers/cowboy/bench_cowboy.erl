%% cowboy and jiffy: JSON echo, and fan-out.
%% `each': the connection's own process decodes and encodes. `one': it hands the raw frame to one
%% gen_server that decodes, encodes and sends the text back. `slow': as `one', but 1 ms a frame.
%% `deflate': as `one', with permessage-deflate. `raw': the connection's own process sends the text back.
%% `topic': what comes on the path /publish goes to all other connections' processes, which pg knows.
%% `scale', `scale_tls': the connection's own process sends the text back; what comes on the path /publish goes to all processes in a
%% table; each sends a ping every BENCH_PING_MS. pg would copy the list of all members for each that joins.
%% `pings': the connection's process sends a ping every BENCH_PING_MS.
%% `tls': as `one', with TLS and the certificate that bench/setup made.
-module(bench_cowboy).
-behaviour(gen_server).

-export([main/1]).
-export([init/2, websocket_init/1, websocket_handle/2, websocket_info/2, terminate/3]).
-export([init/1, handle_call/3, handle_cast/2]).

-define(MEMBERS, bench_members).

-spec main([atom()]) -> no_return().
main([Mode]) ->
    {ok, _} = application:ensure_all_started(cowboy),
    {ok, _} = pg:start(pg),
    {ok, _} = gen_server:start({local, ?MODULE}, ?MODULE, Mode, []),
    ?MEMBERS = ets:new(?MEMBERS, [named_table, public, {write_concurrency, true}]),
    bench_node:run(start(Mode), commands(Mode)).

start(Mode) ->
    Dispatch = cowboy_router:compile([{'_', [{'_', ?MODULE, Mode}]}]),
    %% cowboy 2.8 opens no window again for a WebSocket on a stream, which then ends after 64 KiB.
    %% Its limit of 10,000 frames in 10 s would end a connection that carries 100 WebSockets.
    Http2 = #{enable_connect_protocol => true, max_received_frame_rate => {100000000, 10000}, initial_connection_window_size => 16#7fffffff, initial_stream_window_size => 16#1000000},
    {ok, _} = listen(Mode, Http2#{env => #{dispatch => Dispatch}}),
    ranch:get_port(bench).

%% For bench/scale.
commands(Mode) ->
    #{"count\n" => fun() -> json("connections", erlang:system_info(process_count)) end,
      "memory\n" => fun() ->
          io_lib:format("{\"engine\":0,\"vm\":~b,\"processes\":~b}", [erlang:memory(total), erlang:memory(processes)])
      end,
      "stop\n" => fun() -> json("stopped", case cowboy:stop_listener(bench) of ok -> 1 end) end,
      "start\n" => fun() -> true = ets:delete_all_objects(?MEMBERS), json("port", start(Mode)) end}.

json(Key, N) -> io_lib:format("{\"~s\":~b}", [Key, N]).

listen(Mode, Protocol) ->
    Place = [{ip, {127, 0, 0, 1}}, {port, 0}, {backlog, case is_scale(Mode) of true -> 4096; false -> 1024 end}],
    Transport = #{socket_opts => Place, max_connections => infinity},
    case lists:member(Mode, [tls, scale_tls]) of
        true ->
            Files = [{certfile, "tls/cert.pem"}, {keyfile, "tls/key.pem"}],
            cowboy:start_tls(bench, Transport#{socket_opts => Files ++ Place}, Protocol);
        false ->
            cowboy:start_clear(bench, Transport, Protocol)
    end.

init(Req, Mode) ->
    Role = case {scale_role(Mode), cowboy_req:path(Req)} of
               {scale, <<"/publish">>} -> scale_publisher;
               {scale, <<"/probe">>} -> raw;
               {scale, _} -> scale;
               {topic, <<"/publish">>} -> publisher;
               {topic, _} -> subscriber;
               {_, _} -> Mode
           end,
    {cowboy_websocket, Req, Role, #{idle_timeout => infinity, compress => Mode =:= deflate}}.

is_scale(Mode) -> lists:member(Mode, [scale, scale_tls]).

scale_role(Mode) ->
    case is_scale(Mode) of
        true -> scale;
        false -> Mode
    end.

terminate(_, _, scale) -> ets:delete(?MEMBERS, self());
terminate(_, _, _) -> ok.

ping_later() ->
    erlang:send_after(list_to_integer(os:getenv("BENCH_PING_MS", "10000")), self(), ping).

websocket_init(scale) ->
    true = ets:insert(?MEMBERS, {self()}),
    _ = ping_later(),
    {[], scale};
websocket_init(pings) ->
    _ = ping_later(),
    {[], pings};
websocket_init(subscriber) ->
    ok = pg:join(topic, self()),
    {[], subscriber};
websocket_init(Mode) ->
    {[], Mode}.

websocket_handle({text, Text}, scale_publisher) ->
    ets:foldl(fun({Pid}, ok) -> Pid ! {reply, Text}, ok end, ok, ?MEMBERS),
    {[], scale_publisher};
websocket_handle({text, Text}, scale) ->
    {[{text, Text}], scale};
websocket_handle({text, Text}, publisher) ->
    [Pid ! {reply, Text} || Pid <- pg:get_local_members(topic)],
    {[], publisher};
websocket_handle({text, Text}, raw) ->
    {[{text, Text}], raw};

websocket_handle({text, Text}, each = Mode) ->
    {[{text, echo(Text)}], Mode};
websocket_handle({text, Text}, Mode) ->
    gen_server:cast(?MODULE, {frame, self(), Text}),
    {[], Mode};
websocket_handle(_, Mode) ->
    {[], Mode}.

websocket_info(ping, Mode) ->
    _ = ping_later(),
    {[ping], Mode};
websocket_info({reply, Text}, Mode) ->
    {[{text, Text}], Mode}.

init(Mode) ->
    {ok, Mode}.

handle_call(_, _, Mode) ->
    {reply, ok, Mode}.

handle_cast({frame, From, Text}, Mode) ->
    Reply = echo(Text),
    _ = Mode =:= slow andalso timer:sleep(1),
    From ! {reply, Reply},
    {noreply, Mode}.

echo(Text) ->
    jiffy:encode(jiffy:decode(Text, [return_maps])).
