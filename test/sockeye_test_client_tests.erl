%% The client for tests, against a listener that says what a test wants: what the suite itself needs of it is used everywhere.
-module(sockeye_test_client_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-define(UPGRADE, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n").

%% Answers the request with this, and hangs up when the test says so.
with_answer(Bytes, Test) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listener),
    Server = spawn_link(fun() ->
                            {ok, Socket} = gen_tcp:accept(Listener),
                            ok = gen_tcp:send(Socket, Bytes),
                            receive hang_up -> gen_tcp:close(Socket) end
                        end),
    try Test(Port, fun() -> Server ! hang_up end)
    after unlink(Server), exit(Server, kill), gen_tcp:close(Listener)
    end.

answers_test_() ->
    [{Title, fun() -> with_answer(Answer, fun(Port, HangUp) -> HangUp(), ?assertEqual(Expected, sockeye_test_client:connect(Port, #{timeout => 5000})) end) end}
     || {Title, Answer, Expected} <-
            [{"refused", "HTTP/1.1 403 Forbidden\r\nX-Why: no\r\n\r\n", {error, {status, 403, [{<<"x-why">>, <<"no">>}]}}},
             {"another key", "HTTP/1.1 101 A\r\nSec-WebSocket-Accept: x\r\n\r\n", {error, {status, 101, [{<<"sec-websocket-accept">>, <<"x">>}]}}},
             {"no HTTP", "nonsense\r\n", {error, {bad_answer, <<"nonsense\r\n">>}}},
             {"nothing", "", {error, closed}},
             {"half an answer", "HTTP/1.1 101 A\r\nX", {error, closed}}]].

no_answer_in_time_test() ->
    with_answer("", fun(Port, _) -> ?assertEqual({error, timeout}, sockeye_test_client:connect(Port, #{timeout => 10})) end),
    Closed = test_support:free_port(),
    ?assertEqual({error, econnrefused}, sockeye_test_client:connect(Closed)).

frames_test_() ->
    Long = binary:copy(<<"x">>, 65536),
    [{Title, fun() ->
          with_answer([?UPGRADE, "\r\n", Bytes], fun(Port, HangUp) ->
              {ok, Socket} = sockeye_test_client:connect(Port),
              HangUp(),
              ?assertEqual(Expected, [sockeye_test_client:recv(Socket) || _ <- Expected])
          end)
      end}
     || {Title, Bytes, Expected} <-
            [{"whole messages", [<<16#81, 1, "a">>, <<16#82, 126, 200:16>>, binary:part(Long, 0, 200), <<16#82, 127, 65536:64>>, Long],
              [{ok, {text, <<"a">>}}, {ok, {binary, binary:part(Long, 0, 200)}}, {ok, {binary, Long}}, {error, closed}]},
             {"control frames", <<16#89, 1, "p", 16#8a, 0, 16#88, 0>>, [{ok, {ping, <<"p">>}}, {ok, {pong, <<>>}}, {ok, {close, 1005, <<>>}}]},
             {"a fragment", <<1, 1, "a">>, [{ok, {frame, #{fin => 0, rsv => 0, opcode => 1, payload => <<"a">>}}}]},
             {"compressed", <<16#c1, 1, 0>>, [{ok, {frame, #{fin => 1, rsv => 4, opcode => 1, payload => <<0>>}}}]},
             {"masked", <<16#81, 16#81, 0:32, "a">>, [{error, {bad_frame, <<16#81, 16#81>>}}]},
             {"a cut frame", <<16#81, 5, "a">>, [{error, closed}]},
             {"a cut length", <<16#81, 126, 1>>, [{error, closed}]}]].

behind_a_close_test() ->
    with_answer([?UPGRADE, "\r\n", <<16#81, 1, "a", 16#88, 2, 1000:16, 16#81, 1, "b">>], fun(Port, _) ->
        {ok, Socket} = sockeye_test_client:connect(Port),
        ?assertEqual({error, {after_close, {text, <<"b">>}}}, sockeye_test_client:recv_close(Socket, 5000))
    end).

%% The bytes of frames, by hand; and masks of any length.
bytes_test() ->
    Frame = fun(Opcode, Payload, Options) -> iolist_to_binary(sockeye_test_client:frame(Opcode, Payload, Options)) end,
    ?assertEqual(<<16#81, 16#82, 1, 2, 3, 4, ($a bxor 1), ($b bxor 2)>>, Frame(text, "ab", #{mask => <<1, 2, 3, 4>>})),
    ?assertEqual(<<16#79, 0>>, Frame(ping, [], #{mask => none, fin => 0, rsv => 7})),
    ?assertEqual(<<16#80, 126, 5:16, "a">>, Frame(continuation, "a", #{mask => none, length => 5, bits => 16})),
    [begin
         Data = rand:bytes(N),
         Head = if N < 126 -> 2; N < 65536 -> 4; true -> 10 end,
         <<_:Head/binary, 1, 2, 3, 4, Masked/binary>> = Frame(binary, Data, #{mask => <<1, 2, 3, 4>>}),
         ?assert(lists:all(fun({A, B, M}) -> A bxor M =:= B end,
                           lists:zip3(binary_to_list(Data), binary_to_list(Masked), [I rem 4 + 1 || I <- lists:seq(0, N - 1)])))
     end || N <- [0, 1, 3, 4, 5, 125, 126, 65535, 65536, 65537, 131072, 131073]].

tls_test() ->
    #{options := Tls} = certificates(),
    test_support:with_server(#{tls => Tls}, fun(Port, _) ->
        {ok, Socket} = sockeye_test_client:connect(Port, #{tls => [{verify, verify_none}]}),
        Conn = test_support:opened(),
        ok = sockeye_test_client:send(Socket, {text, "[1]"}),
        ?assertEqual({json, [1]}, test_support:event(Conn)),
        ok = sockeye_test_client:raw(Socket, sockeye_test_client:frame(3, "")),
        ?assertMatch({ok, 1002, _}, sockeye_test_client:recv_close(Socket))
    end).

%% Who asks for TLS need not know what it takes.
tls_is_started_test_() ->
    {timeout, 120, fun() ->
        Paths = [filename:dirname(code:which(Module)) || Module <- [sockeye, ?MODULE]],
        {ok, Peer, _} = peer:start_link(#{connection => standard_io, wait_boot => 120000, args => ["-pa" | Paths]}),
        ?assertNot(lists:keymember(ssl, 1, peer:call(Peer, application, which_applications, []))),
        ?assertEqual(ok, peer:call(Peer, ?MODULE, tls_test, [], 90000)),
        ok = peer:stop(Peer)
    end}.

certificates() ->
    #{cert := Cert, key := Key} = test_certs:localhost(),
    #{options => #{cert => Cert, key => Key}}.
