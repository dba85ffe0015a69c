%% Hostile clients of HTTP/2, byte by byte: what breaks the protocol, and what is only noise. See
%% sockeye_http2_flood_tests for those that have much of it, sockeye_http2_limits_tests for the bounds.
-module(sockeye_http2_hostile_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [each_ends_once/1]).

-import(h2_frames, [frame/4, hello/0, preface/0, field/2, headers/2, block/1, open_stream/1, data/2, data_end/2,
                    get/2, continuation/3, connect_fields/0]).

%% Types of frames.
%% Milliseconds that a callback may take.
-define(ASKED, 30000).

-define(DATA, 0).
-define(HEADERS, 1).
-define(RST_STREAM, 3).
-define(SETTINGS, 4).
-define(PUSH_PROMISE, 5).
-define(PING, 6).
-define(WINDOW_UPDATE, 8).
-define(END_STREAM, 1).
-define(ACK, 1).
-define(END_HEADERS, 4).
%% Codes of errors (RFC 9113, 7).
-define(PROTOCOL_ERROR, 1).
-define(FLOW_CONTROL_ERROR, 3).
-define(STREAM_CLOSED, 5).
-define(FRAME_SIZE_ERROR, 6).
-define(COMPRESSION_ERROR, 9).

options() -> #{http2 => cleartext, handshake_timeout => 2000, http => #{<<"/">> => {text, <<"hello">>}}}.

%% What breaks the protocol ends the connection, with a GOAWAY that says why, and nobody hears of a
%% WebSocket. `generic' stands where the code of RFC 9113 is another one, and PROTOCOL_ERROR is said:
%% that is never wrong, only less precise.
violations_test_() ->
    Get = block([{<<":method">>, <<"GET">>}, {<<":scheme">>, <<"http">>},
                 {<<":path">>, <<"/">>}, {<<":authority">>, <<"a">>}]),
    All = ?END_HEADERS bor ?END_STREAM,
    Cases = [{"another preface", http_505, [<<"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n">>, frame(?SETTINGS, 0, 0, [])]},
             {"a frame of 16 KiB and one", ?FRAME_SIZE_ERROR, [hello(), frame(?DATA, 0, 1, binary:copy(<<0>>, 16385))]},
             {"headers on stream 0", ?PROTOCOL_ERROR, [hello(), frame(?HEADERS, ?END_HEADERS, 0, Get)]},
             {"an even stream", ?PROTOCOL_ERROR, [hello(), frame(?HEADERS, All, 2, Get)]},
             {"streams backwards", ?PROTOCOL_ERROR, [hello(), frame(?HEADERS, All, 5, Get), frame(?HEADERS, All, 3, Get)]},
             {"a continuation of nothing", ?PROTOCOL_ERROR, [hello(), continuation(1, ?END_HEADERS, Get)]},
             {"a continuation of what has ended", ?PROTOCOL_ERROR,
              [hello(), frame(?HEADERS, All, 1, Get), continuation(1, ?END_HEADERS, field(<<"x">>, <<"y">>))]},
             {"a continuation of another stream", ?PROTOCOL_ERROR,
              [hello(), frame(?HEADERS, 0, 1, Get), continuation(3, ?END_HEADERS, [])]},
             {"a ping between headers", ?PROTOCOL_ERROR, [hello(), frame(?HEADERS, 0, 1, Get), frame(?PING, 0, 0, <<0:64>>)]},
             {"another stream between headers", ?PROTOCOL_ERROR, [hello(), frame(?HEADERS, 0, 1, Get), get(3, <<"/">>)]},
             {"data between headers", ?PROTOCOL_ERROR, [hello(), open_stream(1), frame(?HEADERS, 0, 3, Get), data(1, <<"x">>)]},
             {"an unknown frame between headers", ?PROTOCOL_ERROR, [hello(), frame(?HEADERS, 0, 1, Get), frame(99, 0, 1, [])]},
             {"data on an idle stream", ?PROTOCOL_ERROR, [hello(), data(1, <<"x">>)]},
             {"data on stream 0", ?PROTOCOL_ERROR, [hello(), data(0, <<"x">>)]},
             {"data behind the end of a request", {generic, ?STREAM_CLOSED}, [hello(), get(1, <<"/">>), data(1, <<"x">>)]},
             {"data behind the end of a WebSocket", {generic, ?STREAM_CLOSED},
              [hello(), open_stream(1), data_end(1, <<>>), data(1, <<"x">>)]},
             {"headers behind the end of a request", {generic, ?STREAM_CLOSED}, [hello(), get(1, <<"/">>), get(1, <<"/">>)]},
             {"a window of nothing more", ?PROTOCOL_ERROR, [hello(), h2_frames:window(0, 0)]},
             {"a window that overflows", ?FLOW_CONTROL_ERROR, [hello(), h2_frames:window(0, 16#7fffffff)]},
             {"a short window update", {generic, ?FRAME_SIZE_ERROR}, [hello(), frame(?WINDOW_UPDATE, 0, 0, <<1:24>>)]},
             {"a reset of an idle stream", ?PROTOCOL_ERROR, [hello(), h2_frames:reset(1, 8)]},
             {"a short reset", {generic, ?FRAME_SIZE_ERROR}, [hello(), open_stream(1), frame(?RST_STREAM, 0, 1, <<8:24>>)]},
             {"a setting of 5 bytes", {generic, ?FRAME_SIZE_ERROR}, [preface(), frame(?SETTINGS, 0, 0, <<0:40>>)]},
             {"settings on a stream", ?PROTOCOL_ERROR, [preface(), frame(?SETTINGS, 0, 1, [])]},
             {"an answer with settings", {generic, ?FRAME_SIZE_ERROR}, [hello(), frame(?SETTINGS, ?ACK, 0, <<1:16, 0:32>>)]},
             {"an initial window too large", {generic, ?FLOW_CONTROL_ERROR}, h2_frames:hello([{4, 16#80000000}])},
             {"frames too small", ?PROTOCOL_ERROR, h2_frames:hello([{5, 16383}])},
             {"a ping of 7 bytes", {generic, ?FRAME_SIZE_ERROR}, [hello(), frame(?PING, 0, 0, <<0:56>>)]},
             {"a ping on a stream", ?PROTOCOL_ERROR, [hello(), frame(?PING, 0, 1, <<0:64>>)]},
             {"a promise of a client", ?PROTOCOL_ERROR, [hello(), frame(?PUSH_PROMISE, ?END_HEADERS, 1, [<<2:32>>, Get])]},
             {"index 0", {generic, ?COMPRESSION_ERROR}, [hello(), headers(1, <<128>>)]},
             {"an index beyond", {generic, ?COMPRESSION_ERROR}, [hello(), headers(1, <<255, 255, 255, 255, 15>>)]},
             {"a string beyond the block", {generic, ?COMPRESSION_ERROR}, [hello(), headers(1, <<0, 126, "x">>)]},
             {"an integer without end", {generic, ?COMPRESSION_ERROR}, [hello(), headers(1, binary:copy(<<255>>, 100))]},
             {"a table of 4 GiB", {generic, ?COMPRESSION_ERROR}, [hello(), headers(1, <<63, 225, 255, 255, 255, 15>>)]},
             {"padding beyond the frame", ?PROTOCOL_ERROR, [hello(), frame(?DATA, 8, 1, <<255, "x">>)]}],
    {timeout, 120, fun() ->
        hostile_client:with_attack(options(), fun(Port, Server) ->
            ?assertEqual([], [{Title, Why, Found} || {Title, Why, Bytes} <- Cases,
                                                     Found <- [h2_frames:ending(hostile_client:say(Port, Bytes))],
                                                     Found =/= expected(Why)]),
            hostile_client:settled(Server, 1),
            %% Some cases open a stream before they go wrong.
            each_ends_once([])
        end)
    end}.

expected(http_505) -> http_505;
expected({generic, _}) -> {goaway, ?PROTOCOL_ERROR};
expected(Code) -> {goaway, Code}.

%% What is wrong in one stream ends that stream only, with an error or a status.
streams_that_are_refused_test_() ->
    Base = connect_fields(),
    Without = fun(Name) -> lists:keydelete(Name, 1, Base) end,
    With = fun(Name, Value) -> lists:keystore(Name, 1, Base, {Name, Value}) end,
    Pseudo = [Name || {<<":", _/binary>> = Name, _} <- Base],
    Moved = fun(Name) -> lists:keydelete(Name, 1, Base) ++ [lists:keyfind(Name, 1, Base)] end,
    Malformed = {reset, ?PROTOCOL_ERROR},
    Cases = [{Malformed, Without(Name)} || Name <- [<<":path">>, <<":scheme">>, <<":method">>]]
        ++ [{Malformed, Base ++ [lists:keyfind(Name, 1, Base)]} || Name <- Pseudo]
        ++ [{Malformed, [lists:keyfind(Name, 1, Base) | Base]} || Name <- Pseudo]
        ++ [{Malformed, Moved(Name)} || Name <- Pseudo]
        %% Without a protocol it is CONNECT for a proxy: it has neither scheme nor path.
        ++ [{Malformed, Without(<<":protocol">>)},
            {501, [{<<":method">>, <<"CONNECT">>}, {<<":authority">>, <<"a">>}]},
            {400, Without(<<":authority">>)},
            {400, Without(<<"sec-websocket-version">>)},
            {501, With(<<":protocol">>, <<"other">>)},
            {400, With(<<"sec-websocket-version">>, <<"8">>)},
            {Malformed, With(<<":method">>, <<"GET">>)},
            {Malformed, With(<<":method">>, <<"connect">>)},
            {Malformed, With(<<":status">>, <<"200">>)},
            {Malformed, With(<<"connection">>, <<"upgrade">>)},
            {Malformed, With(<<"upgrade">>, <<"websocket">>)},
            {Malformed, With(<<"transfer-encoding">>, <<"chunked">>)},
            {Malformed, With(<<"te">>, <<"gzip">>)},
            {Malformed, With(<<":path">>, <<"no/slash">>)},
            {Malformed, With(<<":path">>, <<>>)},
            {Malformed, Base ++ [{<<"content-length">>, <<"-1">>}]},
            {Malformed, Base ++ [{<<"content-length">>, <<"0">>}, {<<"content-length">>, <<"1">>}]},
            {431, With(<<"x">>, binary:copy(<<"y">>, 20000))}]
        ++ [{Malformed, Base ++ [Field]}
            || Field <- [{<<"Upper">>, <<"x">>}, {<<"sec-webSocket-version">>, <<"13">>}, {<<":unknown">>, <<"x">>},
                         {<<":Path">>, <<"/">>}, {<<>>, <<"x">>}, {<<"a b">>, <<"x">>}, {<<"x">>, <<"a\nb">>}, {<<"x">>, <<"a", 0>>}]],
    {timeout, 120, fun() ->
        hostile_client:with_attack(options(), fun(Port, _) ->
            ?assertEqual([], [{Fields, Expected, Found} || {Expected, Fields} <- Cases,
                                                           Found <- [stream_ending(Port, Fields)],
                                                           Found =/= Expected])
        end)
    end}.

%% What became of stream 1. Stream 3 opens, in any case.
stream_ending(Port, Fields) ->
    Socket = hostile_client:connect(Port),
    ok = h2_frames:shake(Socket),
    ok = gen_tcp:send(Socket, [headers(1, block(Fields)), open_stream(3)]),
    Found = answer_on(1, Socket),
    Conn = opened(5000),
    gen_tcp:close(Socket),
    ?assertNotEqual(none, Conn),
    ?assertEqual(1006, test_support:closed(Conn)),
    %% Not both.
    ?assertEqual(none, opened(0)),
    Found.

answer_on(Stream, Socket) ->
    case h2_frames:next(Socket) of
        {3, _, Stream, <<Code:32>>} -> {reset, Code};
        {1, _, Stream, _} = Frame -> [{Stream, Status}] = h2_frames:statuses([Frame]), Status;
        closed -> closed;
        _ -> answer_on(Stream, Socket)
    end.

%% Nothing that asks to be a WebSocket may have a body: it is refused, and its connection goes on.
a_connect_with_a_body_test_() ->
    {timeout, 60, fun() ->
        hostile_client:with_attack(options(), fun(Port, _) ->
            ?assertEqual(400, stream_ending(Port, connect_fields() ++ [{<<"content-length">>, <<"5">>}]))
        end)
    end}.

%% Who changes its mind while `accept' decides, or right after, keeps its connection.
a_change_of_mind_test_() ->
    {timeout, 60, fun() ->
        Self = self(),
        Accept = fun(#{path := <<"/asked">>}) -> Self ! {asked, self()}, receive go -> {accept, #{}} end;
                    (_) -> {accept, #{}}
                 end,
        hostile_client:with_attack(#{http2 => cleartext, accept => Accept, max_connections => 2}, fun(Port, Server) ->
            Socket = hostile_client:connect(Port),
            ok = h2_frames:shake(Socket),
            ok = gen_tcp:send(Socket, h2_frames:open_stream(1, <<"/asked">>)),
            Pid = receive {asked, Asked} -> Asked end,
            ok = gen_tcp:send(Socket, h2_frames:reset(1, 8)),
            ?assertEqual([], [F || {7, _, _, _} = F <- h2_frames:pinged(Socket, 1)]),
            Monitor = erlang:monitor(process, Pid),
            Pid ! go,
            receive {'DOWN', Monitor, process, Pid, _} -> ok end,
            hostile_client:until(fun() -> maps:get(rejected, test_support:ok(sockeye:info(Server))) > 0 end),
            ?assertEqual([], [F || {7, _, _, _} = F <- h2_frames:pinged(Socket, 2)]),
            ok = gen_tcp:send(Socket, open_stream(3)),
            Conn = opened(5000),
            ?assertNotEqual(none, Conn),
            %% Its place is the one that the socket had.
            hostile_client:settled(Server, 2),
            gen_tcp:close(Socket),
            ?assertEqual(1006, test_support:closed(Conn))
        end)
    end}.

%% A callback that decides about a stream is no reason for a stop to wait, whether its client is there
%% or not.
a_stop_while_accept_decides_test_() ->
    {timeout, 60, fun() ->
        Self = self(),
        Accept = fun(_) -> Self ! asked, receive never -> ok end end,
        {ok, Server} = sockeye:start_link(#{port => 0, http2 => cleartext, accept => Accept, accept_timeout => ?ASKED}),
        Sockets = [begin
                       Socket = hostile_client:connect(test_support:port(Server)),
                       ok = gen_tcp:send(Socket, [hello(), open_stream(1), open_stream(3)]),
                       [receive asked -> ok end || _ <- [1, 3]],
                       Socket
                   end || _ <- [1, 2]],
        gen_tcp:close(hd(Sockets)),
        {Time, ok} = timer:tc(fun() -> sockeye:stop(Server) end),
        ?assert(Time < ?ASKED * 1000),
        gen_tcp:close(lists:last(Sockets))
    end}.

opened(Time) ->
    receive {sockeye, Conn, {open, _}} -> Conn
    after Time -> none
    end.

%% Cut off with streams open, in each way.
leaving_with_open_streams_test_() ->
    {timeout, 60, fun() ->
        hostile_client:with_attack(options(), fun(Port, _) ->
            [begin
                 Socket = hostile_client:connect(Port),
                 ok = gen_tcp:send(Socket, [hello(), [open_stream(N) || N <- lists:seq(1, 39, 2)]]),
                 Conns = [opened(5000) || _ <- lists:seq(1, 20)],
                 hostile_client:end_with(How, Socket),
                 [?assertEqual(1006, test_support:closed(Conn)) || Conn <- Conns],
                 gen_tcp:close(Socket)
             end || How <- [fin, rst, close]]
        end)
    end}.

%% Who opens no stream is not kept.
an_idle_connection_ends_test_() ->
    {timeout, 60, fun() ->
        hostile_client:with_attack(options(), fun(Port, _) ->
            ?assert(is_binary(hostile_client:say(Port, hello())))
        end)
    end}.

%% Any bytes behind the preface. Repeat a failure with the seed that it prints.
noise_test_() ->
    {timeout, 60, fun() ->
        Seed = rand:seed(exsss),
        try
            hostile_client:with_attack(options(), fun(Port, _) ->
                Good = iolist_to_binary([frame(?SETTINGS, 0, 0, []), open_stream(1), data(1, <<129, 129, 0:32, "x">>)]),
                [begin
                     At = rand:uniform(byte_size(Good)) - 1,
                     <<A:At/binary, _, B/binary>> = Good,
                     Socket = hostile_client:connect(Port),
                     _ = gen_tcp:send(Socket, [preface(), A, rand:bytes(rand:uniform(4)), B]),
                     hostile_client:end_with(lists:nth(N rem 3 + 1, [fin, rst, close]), Socket),
                     gen_tcp:close(Socket)
                 end || N <- lists:seq(1, 300)]
            end)
        catch
            Class:Reason:Stack ->
                ?debugFmt("seed ~w", [rand:export_seed_s(Seed)]),
                erlang:raise(Class, Reason, Stack)
        end
    end}.
