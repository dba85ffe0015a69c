%% Requests of HTTP/2 are read under the rules of all requests, and what is wrong with one of them is
%% the matter of its stream alone: others on the connection, which may be other people's, go on.
-module(sockeye_http2_rules_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(h2_frames, [headers/2, headers/3, block/1, field/2, remember/2, indexed/1, open_stream/1, data/2, data_end/2, frame/4,
                    reset/2, get/2, connect_fields/0]).

-define(END_STREAM, 1).
-define(MALFORMED, {reset, 1}).
-define(CALM, {goaway, 11}).
-define(TIMEOUT, 60000).

options() -> #{http2 => cleartext, format => raw, active => true, handshake_timeout => 60000, http => bad_http:routes()}.

base() -> [{<<":method">>, <<"GET">>}, {<<":scheme">>, <<"http">>}, {<<":path">>, <<"/">>}, {<<":authority">>, <<"a">>}].

with(Name, Value) -> with(base(), Name, Value).

with(Fields, Name, Value) -> lists:keystore(Name, 1, Fields, {Name, Value}).

%% Each control character, in each place where a client can put one. One WebSocket lives on the same
%% connection from the first to the last.
every_control_character_ends_its_stream_only_test_() ->
    {timeout, 60, fun() ->
        test_support:with_server(options(), fun(Port, _) ->
            {Socket, Neighbour} = neighbour(Port),
            Controls = [C || C <- lists:seq(0, 31), C =/= $\t] ++ [127],
            Cases = [{C, F} || C <- [$\0, $\r, $\n, 127],
                               F <- [with(N, <<V/binary, C>>) || {N, V} <- base()] ++ [base() ++ [{<<"x", C>>, <<"y">>}]]]
                ++ [{C, base() ++ [{<<"x">>, <<"a", C, "b">>}]} || C <- Controls],
            %% A stranger may make a hundred errors.
            ?assert(length(Cases) < 100),
            lists:foldl(fun({C, Fields}, Stream) ->
                            ok = gen_tcp:send(Socket, headers(Stream, ?END_STREAM, block(Fields))),
                            ?assertEqual({C, Fields, ?MALFORMED}, {C, Fields, outcome(Socket, Stream)}),
                            alive(Socket, Neighbour, Stream),
                            Stream + 2
                        end, 3, Cases),
            ok = gen_tcp:send(Socket, headers(1001, ?END_STREAM, block(base() ++ [{<<"x">>, <<"a\tb">>}]))),
            ?assertEqual({status, 200}, outcome(Socket, 1001)),
            gen_tcp:close(Socket)
        end)
    end}.

%% The tables of both sides stay the same, whatever was in them.
a_bad_field_does_not_disturb_the_table_test() ->
    test_support:with_server(options(), fun(Port, _) ->
        Socket = hostile_client:connect(Port),
        ok = h2_frames:shake(Socket),
        Bad = remember(<<"x-bad">>, <<"a\0b">>),
        Good = remember(<<"x-good">>, <<"c">>),
        ok = gen_tcp:send(Socket, [headers(1, ?END_STREAM, [block(base()), Bad, Good]),
                                   %% The newest is the good one.
                                   headers(3, ?END_STREAM, [block(base()), indexed(62)]),
                                   headers(5, ?END_STREAM, [block(base()), indexed(63)])]),
        ?assertEqual([?MALFORMED, {status, 200}, ?MALFORMED], outcomes(Socket, [1, 3, 5])),
        gen_tcp:close(Socket)
    end).

%% {Fields, What comes of them}, as requests and as WebSockets.
table_test_() ->
    Refused = fun(Status) -> {status, Status} end,
    WebSocket = fun(Name, Value) -> with(connect_fields(), Name, Value) end,
    Cases = [{with(<<":scheme">>, S), Refused(400)} || S <- [<<"ftp">>, <<"ws">>, <<"x">>]]
        ++ [{with(<<":scheme">>, S), Refused(200)} || S <- [<<"https">>, <<"HTTP">>]]
        ++ [{with(<<":scheme">>, S), ?MALFORMED} || S <- [<<>>, <<"http\r">>, <<"ht\ntp">>, <<"http:">>, <<" http">>]]
        ++ [{WebSocket(<<":scheme">>, <<"ftp">>), Refused(400)},
            {WebSocket(<<":protocol">>, <<"other">>), Refused(501)},
            {WebSocket(<<":protocol">>, <<"websocket\r">>), ?MALFORMED},
            {WebSocket(<<":protocol">>, <<"websocket\n">>), ?MALFORMED},
            {WebSocket(<<":protocol">>, <<"web socket">>), ?MALFORMED},
            {WebSocket(<<":protocol">>, <<>>), ?MALFORMED},
            {WebSocket(<<":protocol">>, <<"WebSocket">>), Refused(200)},
            {WebSocket(<<"content-length">>, <<"5">>), Refused(400)},
            {WebSocket(<<":authority">>, <<"a:port">>), Refused(400)}]
        ++ [{with(<<":authority">>, A), Refused(400)}
            || A <- [<<"localhost:port">>, <<"[zz]:1">>, <<"::1">>, <<"[fe80::1%eth0]">>, <<"example.com:99999">>, <<"u@a">>]]
        ++ [{with(<<":authority">>, A), Refused(200)} || A <- [<<>>, <<"a:80">>, <<"[::1]:80">>]]
        ++ [{with(<<":path">>, P), Refused(400)} || P <- [<<"/#f">>, <<"/echo?x#f">>]]
        ++ [{with(<<":path">>, P), ?MALFORMED} || P <- [<<>>, <<"x">>, <<"*">>, <<"http://a/">>, <<"/a b">>, <<"/", 200>>]]
        ++ [{with(<<":path">>, P), Refused(200)} || P <- [<<"/?q=<x>">>, <<"/?\"{}|\\^`">>]]
        ++ [{with(<<":path">>, <<"/", (binary:copy(<<"a">>, 20000))/binary>>), Refused(414)},
            {with(<<"x">>, binary:copy(<<"a">>, 20000)), Refused(431)},
            {base() ++ [{<<"x">>, <<>>} || _ <- lists:seq(1, 101)], Refused(431)},
            {lists:keydelete(<<":authority">>, 1, base()), Refused(400)},
            {base() ++ [{<<"host">>, <<"a">>}], Refused(200)},
            {base() ++ [{<<"host">>, <<"b">>}], Refused(400)},
            {[{<<":method">>, <<"CONNECT">>}, {<<":authority">>, <<"a:80">>}], Refused(501)},
            {base() ++ [{<<"X">>, <<"upper">>}], ?MALFORMED},
            {base() ++ [{<<"x">>, <<" a">>}], ?MALFORMED},
            {base() ++ [{<<"x">>, <<"a ">>}], ?MALFORMED},
            {base() ++ [{<<>>, <<"a">>}], ?MALFORMED},
            {base() ++ [{<<":other">>, <<"a">>}], ?MALFORMED},
            {base() ++ [{<<"transfer-encoding">>, <<"chunked">>}], ?MALFORMED}],
    {timeout, 60, fun() ->
        test_support:with_server(options(), fun(Port, _) ->
            ?assertEqual([], [{Fields, Expected, Got} || {Fields, Expected} <- Cases,
                                                         Got <- [alone(Port, Fields)], Got =/= Expected])
        end)
    end}.

alone(Port, Fields) ->
    Socket = hostile_client:connect(Port),
    ok = h2_frames:shake(Socket),
    Flags = case lists:member({<<":protocol">>, <<"WebSocket">>}, Fields) of true -> 0; false -> ?END_STREAM end,
    ok = gen_tcp:send(Socket, [headers(1, Flags, block(Fields)), get(3, <<"/">>)]),
    [Outcome, {status, 200}] = outcomes(Socket, [1, 3]),
    gen_tcp:close(Socket),
    Outcome.

%% HEAD is answered without content, and with its length.
head_test() ->
    test_support:with_server(options(), fun(Port, _) ->
        Socket = hostile_client:connect(Port),
        ok = h2_frames:shake(Socket),
        ok = gen_tcp:send(Socket, headers(1, ?END_STREAM, block(with(<<":method">>, <<"HEAD">>)))),
        %% The end of the stream is in its head.
        ?assertMatch({1, 5, 1, _}, on(Socket, 1)),
        gen_tcp:close(Socket)
    end).

%% Trailers are read, and a bad one is the matter of its stream.
trailers_test() ->
    test_support:with_server(options(), fun(Port, _) ->
        Socket = hostile_client:connect(Port),
        ok = h2_frames:shake(Socket),
        Post = block([{<<":method">>, <<"POST">>}, {<<":path">>, <<"/echo">>} | base() -- [hd(base()), lists:nth(3, base())]]),
        Trailers = fun(Stream, Block) ->
            ok = gen_tcp:send(Socket, [headers(Stream, Post), data(Stream, <<"hello">>), headers(Stream, ?END_STREAM, Block)]),
            outcome(Socket, Stream)
        end,
        ?assertEqual({status, 200}, Trailers(1, field(<<"x">>, <<"y">>))),
        ?assertEqual(?MALFORMED, Trailers(3, field(<<"x">>, <<"a\0">>))),
        ?assertEqual(?MALFORMED, Trailers(5, field(<<":path">>, <<"/">>))),
        ?assertEqual({status, 200}, Trailers(7, [])),
        gen_tcp:close(Socket)
    end).

%% A stranger may make 100 errors at once; a proxy that is trusted brings many strangers.
a_trusted_proxy_is_allowed_more_test_() ->
    [{Title, {timeout, 60, fun() ->
        test_support:with_server(maps:merge(options(), Options), fun(Port, _) ->
            {Socket, Neighbour} = neighbour(Port),
            Bad = block(base() ++ [{<<"x">>, <<0>>}]),
            ok = gen_tcp:send(Socket, [headers(I, ?END_STREAM, Bad) || I <- lists:seq(3, 1 + 2 * Errors, 2)]),
            case Survives of
                true ->
                    ok = resets(Socket, Errors),
                    alive(Socket, Neighbour, 0);
                false ->
                    ?assertEqual(?CALM, ending(Socket)),
                    ?assertEqual(1006, test_support:closed(Neighbour))
            end,
            gen_tcp:close(Socket)
        end)
     end}} || {Title, Options, Errors, Survives} <-
                  [{"a stranger", #{}, 99, true}, {"a stranger with one too many", #{}, 110, false},
                   {"a proxy", #{trusted_proxies => [<<"127.0.0.1">>]}, 2000, true}]].

%% Uploads that are given up, and requests that nobody answered yet.
aborted_uploads_test_() ->
    {timeout, 60, fun() ->
        test_support:with_server((options())#{trusted_proxies => [<<"127.0.0.1">>]}, fun(Port, _) ->
            {Socket, Neighbour} = neighbour(Port),
            Post = block([{<<":method">>, <<"POST">>}, {<<":path">>, <<"/echo">>} | base() -- [hd(base()), lists:nth(3, base())]]),
            [begin
                 ok = gen_tcp:send(Socket, [headers(I, Post), data(I, <<"some">>), reset(I, 8), data(I, <<"late">>)]),
                 (I - 1) rem 100 =/= 0 orelse alive(Socket, Neighbour, I)
             end || I <- lists:seq(3, 1001, 2)],
            alive(Socket, Neighbour, 0),
            gen_tcp:close(Socket)
        end)
    end}.

%% A request whose stream is reset before its end is no request, whatever the code says: no function has a part of its content for the
%% whole.
an_upload_that_is_cut_off_is_not_whole_test_() ->
    [{integer_to_list(Code), fun() ->
        Self = self(),
        Tell = fun(#{path := Path, body := Body}) -> Self ! {asked, Path, Body}, {200, [], <<>>} end,
        test_support:with_server((options())#{http => #{"/cut" => Tell, "/whole" => Tell}}, fun(Port, _) ->
            Socket = hostile_client:connect(Port),
            ok = h2_frames:shake(Socket),
            Post = fun(Path) -> block(with(with(base(), <<":method">>, <<"POST">>), <<":path">>, Path)) end,
            ok = gen_tcp:send(Socket, [headers(1, Post(<<"/cut">>)), data(1, <<"some">>)]),
            %% The first is being read now.
            ok = gen_tcp:send(Socket, [headers(3, Post(<<"/whole">>)), data_end(3, <<"all">>)]),
            ?assertEqual({status, 200}, outcome(Socket, 3)),
            ok = gen_tcp:send(Socket, reset(1, Code)),
            ok = gen_tcp:send(Socket, [headers(5, Post(<<"/whole">>)), data_end(5, <<"all">>)]),
            ?assertEqual({status, 200}, outcome(Socket, 5)),
            ?assertEqual([{<<"/whole">>, <<"all">>}, {<<"/whole">>, <<"all">>}], asked()),
            gen_tcp:close(Socket)
        end)
     end} || Code <- [0, 2, 8]].

asked() ->
    receive {asked, Path, Body} -> [{Path, Body} | asked()]
    after 0 -> []
    end.

%% ---------------------------------------------------------------- one connection

%% A connection with one WebSocket, on stream 1.
neighbour(Port) ->
    Socket = hostile_client:connect(Port),
    ok = h2_frames:shake(Socket),
    ok = gen_tcp:send(Socket, open_stream(1)),
    receive {sockeye, Conn, {open, _}} -> {Socket, Conn} after ?TIMEOUT -> error(not_open) end.

alive(Socket, Conn, N) ->
    Text = integer_to_binary(N),
    ok = gen_tcp:send(Socket, data(1, bad_frames:frame(1, Text))),
    receive {sockeye, Conn, {text, Text}} -> ok
    after ?TIMEOUT -> error(no_message)
    end.

outcome(Socket, Stream) ->
    [Outcome] = outcomes(Socket, [Stream]),
    Outcome.

%% What became of these streams, in this order.
outcomes(Socket, Streams) -> outcomes(Socket, Streams, #{}).

outcomes(_, Streams, Known) when map_size(Known) =:= length(Streams) ->
    [maps:get(Stream, Known) || Stream <- Streams];
outcomes(Socket, Streams, Known) ->
    Found = case h2_frames:next(Socket) of
                {3, _, Stream, <<Code:32>>} -> {Stream, {reset, Code}};
                {1, _, Stream, _} = Frame -> [{Stream, Status}] = h2_frames:statuses([Frame]), {Stream, {status, Status}};
                {7, _, _, <<_:32, Code:32, _/binary>>} -> error({goaway, Code});
                closed -> error(closed);
                _ -> none
            end,
    case Found of
        {S, Outcome} when not is_map_key(S, Known) ->
            outcomes(Socket, Streams, case lists:member(S, Streams) of true -> Known#{S => Outcome}; false -> Known end);
        _ ->
            outcomes(Socket, Streams, Known)
    end.

%% The first frame on a stream.
on(Socket, Stream) ->
    case h2_frames:next(Socket) of
        {_, _, Stream, _} = Frame -> Frame;
        {_, _, _, _} -> on(Socket, Stream)
    end.

%% So many streams are reset, before a GOAWAY or the end.
resets(_, 0) -> ok;
resets(Socket, N) ->
    case h2_frames:next(Socket) of
        {3, _, _, _} -> resets(Socket, N - 1);
        {Type, _, _, _} when Type =/= 7 -> resets(Socket, N)
    end.

ending(Socket) ->
    case h2_frames:next(Socket) of
        {7, _, _, <<_:32, Code:32, _/binary>>} -> {goaway, Code};
        closed -> closed;
        _ -> ending(Socket)
    end.
