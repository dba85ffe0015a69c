%% Compressed messages that become a thousand times larger: they are bounded by the limits on messages, and many at once
%% by what may wait.
-module(sockeye_bombs_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(hostile_client, [with_attack/2]).

-define(LIMIT, 1048576).

%% A client that has agreed to compression without context takeover.
connect(Port) ->
    Options = #{headers => [{"Sec-WebSocket-Extensions", "permessage-deflate"}]},
    {ok, 101, Headers, Socket} = ws_client:handshake(Port, Options),
    ?assertMatch(<<"permessage-deflate", _/binary>>, proplists:get_value(<<"sec-websocket-extensions">>, Headers)),
    Conn = receive {sockeye, C, {open, _}} -> C after 60000 -> error(not_open) end,
    {Socket, Conn}.

%% A compressed frame with this many zeros in it.
bomb(Size) ->
    bomb(2, binary:copy(<<0>>, Size)).

bomb(Opcode, Data) ->
    iolist_to_binary(ws_client:encode(Opcode, deflated(Data), #{rsv => 4})).

deflated(Data) ->
    Z = zlib:open(),
    ok = zlib:deflateInit(Z, best_compression, deflated, -15, 8, default),
    Bytes = iolist_to_binary(zlib:deflate(Z, Data, sync)),
    zlib:close(Z),
    binary:part(Bytes, 0, byte_size(Bytes) - 4).

%% The limit is on what comes out.
the_limit_is_on_what_comes_out_test_() ->
    {timeout, 60, fun() ->
        with_attack(#{deflate => true}, fun(Port, _) ->
            [begin
                 {Socket, Conn} = connect(Port),
                 ok = gen_tcp:send(Socket, [bomb(Size), ws_client:encode(8, <<4999:16>>)]),
                 case Code of
                     4999 -> ?assertEqual({Size, {binary, binary:copy(<<0>>, Size)}}, {Size, test_support:event(Conn)});
                     1009 -> ok
                 end,
                 ?assertEqual({Size, Code}, {Size, test_support:closed(Conn)}),
                 gen_tcp:close(Socket)
             end || {Size, Code} <- [{?LIMIT - 1, 4999}, {?LIMIT, 4999}, {?LIMIT + 1, 1009}, {200 * ?LIMIT, 1009}]]
        end)
    end}.

%% In fragments that are each within every bound.
fragments_of_a_bomb_test() ->
    with_attack(#{deflate => true}, fun(Port, _) ->
        Bytes = deflated(binary:copy(<<0>>, 20 * ?LIMIT)),
        {Socket, Conn} = connect(Port),
        Half = byte_size(Bytes) div 2,
        <<A:Half/binary, B/binary>> = Bytes,
        ok = gen_tcp:send(Socket, [ws_client:encode(2, A, #{fin => 0, rsv => 4}), ws_client:encode(0, B)]),
        ?assertEqual(1009, test_support:closed(Conn)),
        gen_tcp:close(Socket)
    end).

%% A hundred of them in one write, to one who takes none: what is inflated does not wait, what is not does.
many_bombs_wait_as_they_came_test_() ->
    {timeout, 120, fun() ->
        with_attack(#{deflate => true, active => false}, fun(Port, _) ->
            Before = hostile_client:memory(),
            Bombs = binary:copy(bomb(?LIMIT), 100),
            All = [begin
                       {Socket, Conn} = connect(Port),
                       ok = gen_tcp:send(Socket, Bombs),
                       {Socket, Conn}
                   end || _ <- lists:seq(1, 4)],
            %% Each holds one message and what was read, until it is asked for more.
            [hostile_client:until(fun() -> {ok, #{held := Held}} = sockeye:info(Conn), Held > 0 orelse nothing_held end)
             || {_, Conn} <- All],
            Grown = hostile_client:memory() - Before,
            ?assert(Grown < hostile_client:most(4 * (2 * ?LIMIT + 300000) + 1000000)),
            %% None is lost.
            {_, Conn1} = hd(All),
            [begin
                 ok = sockeye:setopts(Conn1, [{active, once}]),
                 ?assertEqual({binary, binary:copy(<<0>>, ?LIMIT)}, test_support:event(Conn1))
             end || _ <- lists:seq(1, 100)],
            [ws_client:drop(Socket) || {Socket, _} <- All],
            [ok = sockeye:setopts(Conn, [{active, true}]) || {_, Conn} <- tl(All)],
            [?assertEqual(1006, test_support:closed(Conn)) || {_, Conn} <- All]
        end)
    end}.

%% To a handler that takes its time: the inbox bounds them, the mailbox stays short.
a_flood_of_bombs_test_() ->
    {timeout, 120, fun() ->
        Self = self(),
        Frame = fun({binary, Data}, _, N) ->
            {message_queue_len, Length} = process_info(self(), message_queue_len),
            Length > 1 andalso (Self ! {long, Length}),
            Self ! {got, N, byte_size(Data)},
            {[], N + 1}
        end,
        hostile_client:unchanged(fun() ->
            Funs = #{init => fun() -> {ok, 1} end, frame => Frame},
            test_support:with_handler(Funs, #{deflate => true}, fun(Port, _) ->
                Before = hostile_client:memory(),
                {ok, 101, _, Socket} =
                    ws_client:handshake(Port, #{headers => [{"Sec-WebSocket-Extensions", "permessage-deflate"}]}),
                ok = gen_tcp:send(Socket, binary:copy(bomb(?LIMIT), 200)),
                Grown = lists:max([begin
                                       receive {got, N, Size} -> ?assertEqual(?LIMIT, Size)
                                       after 60000 -> error({lost, N})
                                       end,
                                       hostile_client:memory() - Before
                                   end || N <- lists:seq(1, 200)]),
                ?assert(Grown < hostile_client:most(8 * ?LIMIT)),
                receive {long, Length} -> error({mailbox, Length}) after 0 -> ok end,
                ws_client:drop(Socket)
            end)
        end)
    end}.

%% What is no deflate stream, or none of UTF-8.
bad_streams_test_() ->
    {timeout, 60, fun() ->
        with_attack(#{deflate => true}, fun(Port, _) ->
            Good = deflated(<<"hello">>),
            [begin
                 {Socket, Conn} = connect(Port),
                 _ = gen_tcp:send(Socket, Bytes),
                 ?assertEqual({Title, Code}, {Title, test_support:closed(Conn)}),
                 gen_tcp:close(Socket)
             end || {Title, Bytes, Code} <-
                        [{"noise", ws_client:encode(2, <<16#ff, 16#ff, 16#ff>>, #{rsv => 4}), 1007},
                         {"cut", ws_client:encode(2, binary:part(Good, 0, byte_size(Good) - 2), #{rsv => 4}), 1007},
                         {"far reference", ws_client:encode(2, <<16#4b, 16#04, 16#99, 0>>, #{rsv => 4}), 1007},
                         {"not UTF-8", bomb(1, <<255, 254>>), 1007},
                         {"a compressed ping", ws_client:encode(9, Good, #{rsv => 4}), 1002},
                         {"a compressed close", ws_client:encode(8, Good, #{rsv => 4}), 1002},
                         {"a compressed continuation",
                          [ws_client:encode(2, Good, #{fin => 0, rsv => 4}), ws_client:encode(0, <<>>, #{rsv => 4})], 1002},
                         {"other reserved bits", ws_client:encode(2, Good, #{rsv => 6}), 1002}]]
        end)
    end}.

%% Each bit of a compressed message turned.
every_turned_bit_test_() ->
    {timeout, 60, fun() ->
        with_attack(#{deflate => true}, fun(Port, _) ->
            Frame = bomb(1, <<"to be or not to be, that is the question; to be or not">>),
            [begin
                 <<Before:Bit/bits, B:1, After/bits>> = Frame,
                 {Socket, Conn} = connect(Port),
                 _ = gen_tcp:send(Socket, <<Before/bits, (1 - B):1, After/bits>>),
                 _ = gen_tcp:shutdown(Socket, write),
                 Code = test_support:closed(Conn),
                 ?assertEqual({Bit, true}, {Bit, lists:member(Code, [1002, 1005, 1006, 1007, 1009])}),
                 gen_tcp:close(Socket)
             end || Bit <- lists:seq(0, bit_size(Frame) - 1)]
        end)
    end}.
