%% Malformed and hostile handshakes against a live server: each gets its
%% documented status, costs nothing, and nobody else notices.
-module(sockeye_corpus_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(hostile_client, [with_attack/2, say/2, status/1, until/1]).

every_bad_request_test_() ->
    {timeout, 120, fun() ->
        with_attack(#{}, fun(Port, _) ->
            Wrong = [{lists:flatten(Title), Expected, Got}
                     || {Title, Bytes, Expected} <- bad_requests:all(),
                        Got <- [verdict(Port, Bytes)], not is(Expected, Got)],
            ?assertEqual([], Wrong)
        end)
    end}.

is(any, Got) -> is_integer(Got) orelse Got =:= silence;
is(Expected, Got) -> Expected =:= Got.

%% A client that sends no more than that, and waits for the end.
verdict(Port, Bytes) ->
    Socket = hostile_client:connect(Port),
    _ = gen_tcp:send(Socket, Bytes),
    _ = gen_tcp:shutdown(Socket, write),
    Answer = hostile_client:answer(Socket),
    gen_tcp:close(Socket),
    whole(status(Answer), Answer, Bytes).

%% One answer that is complete, and nothing of the request in it.
whole(Status, Answer, Request) when is_integer(Status), Status =/= 101 ->
    [Head, Body] = binary:split(Answer, <<"\r\n\r\n">>),
    {match, [Length]} = re:run(Head, "\r\nContent-Length: (\\d+)", [caseless, {capture, all_but_first, binary}]),
    Size = case iolist_to_binary(Request) of
               %% There is none, but its length is told.
               <<"HEAD ", _/binary>> when Body =:= <<>> -> binary_to_integer(Length);
               _ -> byte_size(Body)
           end,
    case {binary_to_integer(Length), Size, re:run(Head, "\r\nConnection: .*close", [caseless])} of
        {N, N, {match, _}} when N > 0 -> Status;
        _ -> {incomplete, Answer}
    end;
whole(101, _Answer, _Request) ->
    receive {sockeye, Conn, {open, _}} -> 1006 = test_support:closed(Conn), 101
    after 60000 -> not_open
    end;
whole(Other, _Answer, _Request) ->
    Other.

%% What a person reads who debugs an old client.
old_clients_are_told_test() ->
    with_attack(#{}, fun(Port, _) ->
        [begin
             Answer = say(Port, Bytes),
             ?assertEqual({Title, 426}, {Title, status(Answer)}),
             ?assertMatch({match, _}, re:run(Answer, "\r\nSec-WebSocket-Version: 13\r\n")),
             ?assertMatch({match, _}, re:run(Answer, "RFC 6455"))
         end || {Title, Bytes} <- bad_requests:old_clients()]
    end).

limits_of_the_head_test() ->
    with_attack(#{}, fun(Port, _) ->
        Size = 16384,
        [?assertEqual({N, Status}, {N, verdict(Port, bad_requests:padded(N))})
         || {N, Status} <- [{Size - 1, 101}, {Size, 101}, {Size + 1, 431}]],
        [?assertEqual({N, Status}, {N, verdict(Port, bad_requests:with_headers(N))})
         || {N, Status} <- [{99, 101}, {100, 101}, {101, 431}]],
        Line = fun(N) -> ["GET /", lists:duplicate(N - 14, $a), " HTTP/1.1"] end,
        ?assertEqual(414, verdict(Port, [Line(Size), "\r\n"])),
        ?assertEqual(431, verdict(Port, [Line(Size - 2), "\r\nHost: a\r\n\r\n"]))
    end).

%% With the head cut anywhere there is no answer and nothing left; byte for byte
%% it is as good as whole.
every_cut_of_a_handshake_test_() ->
    {timeout, 120, fun() ->
        with_attack(#{}, fun(Port, _) ->
            Good = bad_requests:good(),
            [?assertEqual({Cut, silence}, {Cut, verdict(Port, binary:part(Good, 0, Cut))})
             || Cut <- lists:seq(0, byte_size(Good) - 1)],
            [begin
                 Socket = hostile_client:connect(Port),
                 ok = gen_tcp:send(Socket, binary:part(Good, 0, Cut)),
                 hostile_client:end_with(How, Socket)
             end || Cut <- lists:seq(0, byte_size(Good) - 1, 7), How <- [rst, close]],
            Socket = hostile_client:connect(Port),
            [ok = gen_tcp:send(Socket, <<Byte>>) || <<Byte>> <= Good],
            receive {sockeye, Conn, {open, _}} -> ok end,
            ok = ws_client:raw(Socket, ws_client:encode(1, <<"hello">>)),
            ?assertEqual({text, <<"hello">>}, test_support:event(Conn)),
            gen_tcp:close(Socket)
        end)
    end}.

%% Each bit of a good handshake turned: an upgrade, a refusal or silence, never
%% anything else, and never a server that waits for more than its time.
every_bit_of_a_handshake_test_() ->
    {timeout, 120, fun() ->
        with_attack(#{}, fun(Port, _) ->
            Good = bad_requests:good(),
            [begin
                 <<Before:Bit/bits, B:1, After/bits>> = Good,
                 Verdict = verdict(Port, <<Before/bits, (1 - B):1, After/bits>>),
                 ?assertEqual({Bit, true}, {Bit, lists:member(Verdict, [101, 400, 405, 426, 505, silence])})
             end || Bit <- lists:seq(0, bit_size(Good) - 1)]
        end)
    end}.

%% A byte now and then does not lengthen the time for the whole handshake.
a_byte_now_and_then_test() ->
    with_attack(#{handshake_timeout => 300}, fun(Port, Server) ->
        {ok, #{rejected := Before}} = sockeye:info(Server),
        Sockets = [hostile_client:connect(Port) || _ <- lists:seq(1, 20)],
        drip(Sockets, bad_requests:padded(2000)),
        until(fun() ->
            {ok, #{rejected := N}} = sockeye:info(Server),
            N - Before =:= 20 orelse {rejected, N - Before}
        end),
        ?assertMatch({text, <<"still here">>}, echo(Port))
    end).

%% Until none of them is open any more.
drip([], _) ->
    ok;
drip(Sockets, <<Byte, Rest/binary>>) ->
    Open = [Socket || Socket <- Sockets, gen_tcp:send(Socket, <<Byte>>) =:= ok,
                      gen_tcp:recv(Socket, 0, 1) =:= {error, timeout}],
    [gen_tcp:close(Socket) || Socket <- Sockets -- Open],
    drip(Open, Rest).

echo(Port) ->
    {Socket, Conn} = test_support:open(Port),
    ok = ws_client:text(Socket, <<"still here">>),
    Event = test_support:event(Conn),
    gen_tcp:close(Socket),
    1006 = test_support:closed(Conn),
    Event.

%% A second request behind the first is neither answered nor obeyed.
smuggled_behind_the_head_test() ->
    with_attack(#{}, fun(Port, Server) ->
        Good = bad_requests:good(),
        Answer = say(Port, [Good, Good]),
        ?assertEqual(1, length(binary:matches(Answer, <<"HTTP/1.1">>))),
        {Conn, {open, _}} = test_support:event(),
        %% As frames these bytes are nonsense.
        ?assertEqual(1002, test_support:closed(Conn)),
        hostile_client:settled(Server, 1)
    end).

%% Random bytes, and good requests with random changes.
noise_test_() ->
    {timeout, 120, fun() ->
        with_attack(#{handshake_timeout => 500}, fun(Port, _) ->
            [begin
                 Socket = hostile_client:connect(Port),
                 _ = gen_tcp:send(Socket, noise(N)),
                 hostile_client:end_with(lists:nth(N rem 3 + 1, [fin, rst, close]), Socket),
                 gen_tcp:close(Socket)
             end || N <- lists:seq(1, 500)],
            ?assertMatch({text, <<"still here">>}, echo_past(Port))
        end)
    end}.

noise(N) when N rem 2 =:= 0 -> rand:bytes(rand:uniform(2000));
noise(_) ->
    Good = bad_requests:good(),
    At = rand:uniform(byte_size(Good)) - 1,
    <<A:At/binary, _, B/binary>> = Good,
    <<A/binary, (rand:bytes(rand:uniform(3)))/binary, B/binary>>.

%% Some of the noise may have been handshakes.
echo_past(Port) ->
    Socket = ws_client:connect(Port, #{path => "/past"}),
    ok = ws_client:text(Socket, <<"still here">>),
    Conn = receive {sockeye, C, {open, #{path := <<"/past">>}}} -> C after 60000 -> error(not_open) end,
    Event = test_support:event(Conn),
    gen_tcp:close(Socket),
    Event.
