%% Hostile clients after the handshake: each costs itself, with its documented
%% close code, and nobody else notices.
-module(sockeye_hostile_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [opened/0]).

-import(hostile_client, [with_attack/2, until/1]).
-import(bad_frames, [frame/2, frame/3]).

every_bad_frame_test_() ->
    {timeout, 120, fun() ->
        with_attack(#{}, fun(Port, _) ->
            Wrong = [{Title, Code, Got} || {Title, Bytes, Code} <- bad_frames:all(),
                                           Got <- [outcome(Port, [Bytes])], Got =/= {Code, Code}],
            ?assertEqual([], Wrong)
        end)
    end}.

%% The same, byte for byte: a verdict does not depend on how the bytes arrive.
every_bad_frame_in_single_bytes_test_() ->
    {timeout, 120, fun() ->
        with_attack(#{}, fun(Port, _) ->
            Wrong = [{Title, Code, Got}
                     || {Title, Bytes, Code} <- bad_frames:all(), byte_size(Bytes) < 40,
                        Got <- [outcome(Port, [<<B>> || <<B>> <= Bytes])], Got =/= {Code, Code}],
            ?assertEqual([], Wrong)
        end)
    end}.

%% The close code that the client reads, and that the owner gets. A server
%% answers a Close with the code it got, or none for none.
outcome(Port, Pieces) ->
    Socket = ws_client:connect(Port),
    Conn = opened(),
    _ = [gen_tcp:send(Socket, Piece) || Piece <- Pieces],
    Wire = wire(Socket),
    gen_tcp:close(Socket),
    {Wire, test_support:closed(Conn)}.

%% The code of the Close frame, which is the last that comes.
wire(Socket) ->
    case ws_client:recv(Socket) of
        {close, Code, _} -> _ = gen_tcp:shutdown(Socket, write), closed = ws_client:recv(Socket), Code;
        closed -> 1006;
        timeout -> timeout;
        _ -> wire(Socket)
    end.

%% With any bit turned the outcome is one that is documented, and the owner
%% hears of it once.
every_turned_bit_test_() ->
    {timeout, 120, fun() ->
        with_attack(#{}, fun(Port, _) ->
            Valid = bad_frames:valid(),
            [begin
                 <<Before:Bit/bits, B:1, After/bits>> = Valid,
                 {Socket, Conn} = test_support:open(Port),
                 _ = gen_tcp:send(Socket, <<Before/bits, (1 - B):1, After/bits>>),
                 _ = gen_tcp:shutdown(Socket, write),
                 Wire = wire(Socket),
                 gen_tcp:close(Socket),
                 Code = test_support:closed(Conn),
                 ?assertEqual({Bit, Wire}, {Bit, Code}),
                 ?assertEqual({Bit, Code, true}, {Bit, Code, documented(Code)}),
                 receive {sockeye, Conn, Event} -> error({after_closed, Bit, Event})
                 after 0 -> ok
                 end
             end || Bit <- lists:seq(0, bit_size(Valid) - 1)]
        end)
    end}.

%% A turned bit may also make one good close code of another.
documented(Code) ->
    lists:member(Code, [1002, 1005, 1006, 1007, 1009]) orelse Code >= 1000 andalso Code =< 1014
        orelse Code >= 3000 andalso Code =< 4999.

%% Cut anywhere and gone: 1006, but for cuts behind the Close.
every_cut_of_frames_test_() ->
    {timeout, 120, fun() ->
        with_attack(#{}, fun(Port, _) ->
            Valid = bad_frames:valid(),
            [begin
                 {Socket, Conn} = test_support:open(Port),
                 ok = gen_tcp:send(Socket, binary:part(Valid, 0, Cut)),
                 hostile_client:end_with(How, Socket),
                 ?assertEqual({Cut, How, 1006}, {Cut, How, test_support:closed(Conn)}),
                 gen_tcp:close(Socket)
             end || Cut <- lists:seq(0, byte_size(Valid) - 1), How <- [fin, rst, close]]
        end)
    end}.

limits_test_() ->
    Data = fun(N) -> binary:copy(<<"x">>, N) end,
    Close = frame(8, <<4999:16>>),
    Many = fun(N) -> [frame(2, <<>>, #{fin => 0}), [frame(0, <<>>, #{fin => 0}) || _ <- lists:seq(3, N)],
                      frame(0, <<>>)] end,
    {timeout, 60, fun() ->
        with_attack(#{max_message_size => 70000, max_frame_size => 66000, max_fragments => 10}, fun(Port, _) ->
            [?assertEqual({Title, {Code, Code}}, {Title, outcome(Port, [[Bytes, Close]])})
             || {Title, Bytes, Code} <-
                    [{"frame - 1", frame(2, Data(65999)), 4999}, {"frame", frame(2, Data(66000)), 4999},
                     {"frame + 1", frame(2, Data(66001)), 1009}]
                    ++ [{N, [frame(2, Data(40000), #{fin => 0}), frame(0, Data(N - 40000))], Code}
                        || {N, Code} <- [{69999, 4999}, {70000, 4999}, {70001, 1009}]]
                    ++ [{N, Many(N), Code} || {N, Code} <- [{9, 4999}, {10, 4999}, {11, 1008}]]]
        end)
    end}.

a_million_fragments_test_() ->
    {timeout, 120, fun() ->
        N = 1000000,
        Piece = iolist_to_binary([frame(0, <<"x">>, #{fin => 0, mask => <<0:32>>}) || _ <- lists:seq(1, 1000)]),
        with_attack(#{max_fragments => N + 2}, fun(Port, _) ->
            %% Those of a message are refused at the limit...
            {Socket, Conn} = test_support:open(Port),
            ok = gen_tcp:send(Socket, frame(2, <<>>, #{fin => 0})),
            [ok = gen_tcp:send(Socket, Piece) || _ <- lists:seq(1, N div 1000)],
            ok = gen_tcp:send(Socket, frame(0, <<>>)),
            %% Most of them are still to be read, which takes long with a sanitizer.
            Message = receive {sockeye, Conn, Event} -> Event after 60000 -> error(no_event) end,
            ?assertEqual({binary, binary:copy(<<"x">>, N)}, Message),
            drop(Socket, Conn)
        end),
        with_attack(#{}, fun(Port, _) ->
            %% ...and by default that is early.
            {Socket, Conn} = test_support:open(Port),
            ok = gen_tcp:send(Socket, frame(2, <<>>, #{fin => 0})),
            _ = [gen_tcp:send(Socket, Piece) || _ <- lists:seq(1, N div 1000)],
            ?assertEqual(1008, test_support:closed(Conn)),
            gen_tcp:close(Socket)
        end)
    end}.

drop(Socket, Conn) ->
    ws_client:drop(Socket),
    ?assertEqual(1006, test_support:closed(Conn)).

a_million_pings_test_() ->
    {timeout, 120, fun() ->
        Pings = iolist_to_binary([frame(9, <<"p">>) || _ <- lists:seq(1, 1000)]),
        with_attack(#{}, fun(Port, _) ->
            %% From one that reads the answers: each is answered.
            {Socket, Conn} = test_support:open(Port),
            [begin
                 ok = gen_tcp:send(Socket, Pings),
                 {ok, Pongs} = gen_tcp:recv(Socket, 3000, 60000),
                 ?assertEqual(binary:copy(<<16#8a, 1, "p">>, 1000), Pongs)
             end || _ <- lists:seq(1, 1000)],
            drop(Socket, Conn),
            %% From one that does not: at some point it is not read from, and memory stays.
            {Deaf, Conn2} = test_support:open(Port),
            ok = inet:setopts(Deaf, [{send_timeout, 300}]),
            Before = hostile_client:memory(),
            flood(Deaf, Pings, 30000),
            ?assertMatch({ok, #{send_queue := Queue}} when Queue =< 128 * 1024, sockeye:info(Conn2)),
            ?assert(hostile_client:memory() - Before < hostile_client:most(1000000)),
            drop(Deaf, Conn2)
        end)
    end}.

%% Until nothing goes out any more.
flood(_Socket, _Bytes, 0) ->
    error(never_held_back);
flood(Socket, Bytes, N) ->
    case gen_tcp:send(Socket, Bytes) of
        ok -> flood(Socket, Bytes, N - 1);
        {error, timeout} -> ok
    end.

%% Large messages that never end: what they may hold is bounded by their limit,
%% is counted, and is given back.
messages_that_never_end_test_() ->
    {timeout, 60, fun() ->
        with_attack(#{max_message_size => 100000}, fun(Port, Server) ->
            Before = hostile_client:memory(),
            Held = [begin
                        {Socket, Conn} = test_support:open(Port),
                        ok = gen_tcp:send(Socket, frame(2, binary:copy(<<"x">>, 99000), #{fin => 0})),
                        ok = ws_client:ping(Socket, <<"read">>),
                        {pong, <<"read">>} = ws_client:recv(Socket),
                        {Socket, Conn}
                    end || _ <- lists:seq(1, 100)],
            Grown = hostile_client:memory() - Before,
            %% What a process of its own takes may have been there before.
            ?assert(sockeye_backend:engine() =:= port orelse Grown > 100 * 99000),
            %% Buffers grow by doubling.
            ?assert(Grown < hostile_client:most(2 * 100 * 100000 + 1000000)),
            [drop(Socket, Conn) || {Socket, Conn} <- Held],
            hostile_client:settled(Server, 1),
            ?assert(hostile_client:memory() - Before < hostile_client:most(1000000))
        end)
    end}.

%% Headers that announce the largest frame allowed, and no more: a promise costs nothing.
promises_cost_nothing_test_() ->
    {timeout, 60, fun() ->
        with_attack(#{max_message_size => 64 * 1024 * 1024}, fun(Port, _) ->
            Before = hostile_client:memory(),
            Held = [begin
                        {Socket, Conn} = test_support:open(Port),
                        ok = gen_tcp:send(Socket, [frame(9, <<"read">>), <<16#82, 16#ff, (64 * 1024 * 1024):64, 0:32, "x">>]),
                        {pong, <<"read">>} = ws_client:recv(Socket),
                        {ok, #{}} = sockeye:info(Conn),
                        {Socket, Conn}
                    end || _ <- lists:seq(1, 100)],
            ?assert(hostile_client:memory() - Before < hostile_client:most(1000000)),
            [drop(Socket, Conn) || {Socket, Conn} <- Held]
        end)
    end}.

%% Random frames in random pieces.
noise_test_() ->
    {timeout, 120, fun() ->
        with_attack(#{}, fun(Port, _) ->
            [begin
                 {Socket, Conn} = test_support:open(Port),
                 _ = [gen_tcp:send(Socket, random_frame()) || _ <- lists:seq(1, rand:uniform(10))],
                 hostile_client:end_with(lists:nth(N rem 3 + 1, [fin, rst, close]), Socket),
                 ?assert(documented(test_support:closed(Conn))),
                 gen_tcp:close(Socket)
             end || N <- lists:seq(1, 500)]
        end)
    end}.

random_frame() ->
    Opcode = lists:nth(rand:uniform(8), [0, 1, 1, 2, 2, 9, 10, rand:uniform(16) - 1]),
    frame(Opcode, rand:bytes(rand:uniform(200) - 1), #{fin => min(1, rand:uniform(4) - 1)}).
