%% Messages that are sent in pieces.
-module(sockeye_stream_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/3, open/1, fill/2]).

%% {Fin, Opcode, Payload} of the next frame.
fragment(Socket) ->
    {ok, <<Fin:1, 0:3, Op:4, 0:1, Len:7>>} = gen_tcp:recv(Socket, 2, 60000),
    {ok, Size} = case Len of
                     126 -> {ok, <<N:16>>} = gen_tcp:recv(Socket, 2, 60000), {ok, N};
                     127 -> {ok, <<N:64>>} = gen_tcp:recv(Socket, 8, 60000), {ok, N};
                     _ -> {ok, Len}
                 end,
    Payload = case Size of
                  0 -> <<>>;
                  _ -> {ok, Bin} = gen_tcp:recv(Socket, Size, 60000), Bin
              end,
    {Fin, Op, Payload}.

piece(Conn, Kind, Step, Payload) ->
    sockeye:send(Conn, {stream, Kind, Step, Payload}).

pieces_of_a_message_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = piece(Conn, text, first, <<"one ">>),
        ?assertEqual({0, 1, <<"one ">>}, fragment(Socket)),
        ok = piece(Conn, text, more, ["tw", [$o], <<" ">>]),
        ?assertEqual({0, 0, <<"two ">>}, fragment(Socket)),
        ok = piece(Conn, text, more, <<>>),
        ?assertEqual({0, 0, <<>>}, fragment(Socket)),
        ok = piece(Conn, text, last, <<"three">>),
        ?assertEqual({1, 0, <<"three">>}, fragment(Socket)),
        ok = sockeye:send(Conn, [{stream, binary, first, <<255>>}, {stream, binary, last, <<0:80000>>},
                                 {text, <<"next">>}]),
        ?assertEqual({0, 2, <<255>>}, fragment(Socket)),
        ?assertEqual({1, 0, <<0:80000>>}, fragment(Socket)),
        ?assertEqual({1, 1, <<"next">>}, fragment(Socket))
    end).

%% What others send waits for the end of the message; pings do not.
other_messages_wait_test() ->
    with_server(#{}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        ok = piece(Conn, binary, first, <<1>>),
        ok = sockeye:send(Conn, [{text, <<"one">>}, {ping, <<"p">>}, {text, <<"two">>}]),
        ok = sockeye:broadcast(Server, {text, <<"all">>}),
        ok = sockeye:broadcast(Server, {ping, <<"q">>}),
        ok = piece(Conn, binary, more, <<2>>),
        ok = ws_client:ping(Socket, <<"mine">>),
        Seen = [fragment(Socket) || _ <- lists:seq(1, 5)],
        ?assertEqual([{0, 0, <<2>>}, {0, 2, <<1>>}, {1, 9, <<"p">>}, {1, 9, <<"q">>}, {1, 10, <<"mine">>}],
                     lists:sort(Seen)),
        ok = piece(Conn, binary, last, <<3>>),
        ?assertEqual([{1, 0, <<3>>}, {1, 1, <<"one">>}, {1, 1, <<"two">>}, {1, 1, <<"all">>}],
                     [fragment(Socket) || _ <- lists:seq(1, 4)]),
        %% Nothing is left behind.
        ok = sockeye:send(Conn, {text, <<"end">>}),
        ?assertEqual({1, 1, <<"end">>}, fragment(Socket)),
        ?assertMatch({ok, #{send_queue := 0}}, sockeye:info(Conn))
    end).

out_of_order_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ?assertEqual({error, not_streaming}, piece(Conn, text, more, <<"a">>)),
        ?assertEqual({error, not_streaming}, piece(Conn, text, last, <<"a">>)),
        ok = piece(Conn, text, first, <<"a">>),
        ?assertEqual({error, streaming}, piece(Conn, text, first, <<"b">>)),
        ?assertEqual({error, not_streaming}, piece(Conn, binary, more, <<"b">>)),
        Self = self(),
        spawn_link(fun() -> Self ! {other, piece(Conn, text, more, <<"b">>), piece(Conn, text, first, <<"b">>)} end),
        ?assertEqual({other, {error, not_streaming}, {error, streaming}}, test_support:message()),
        %% All or none: what a list has begun is as if it had not.
        ?assertEqual({error, streaming},
                     sockeye:send(Conn, [{stream, text, last, <<"b">>}, {stream, text, first, <<"c">>},
                                         {stream, text, first, <<"d">>}])),
        ok = piece(Conn, text, last, <<"e">>),
        ?assertEqual([{0, 1, <<"a">>}, {1, 0, <<"e">>}], [fragment(Socket) || _ <- [1, 2]])
    end).

a_character_may_be_cut_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        <<A, B, C>> = <<"中"/utf8>>,
        ok = piece(Conn, text, first, <<A>>),
        ok = piece(Conn, text, more, <<B>>),
        ?assertEqual({error, not_utf8}, piece(Conn, text, last, <<>>)),
        ?assertEqual({error, not_utf8}, piece(Conn, text, more, <<"x">>)),
        ok = piece(Conn, text, last, <<C>>),
        ?assertEqual([{0, 1, <<A>>}, {0, 0, <<B>>}, {1, 0, <<C>>}], [fragment(Socket) || _ <- [1, 2, 3]]),
        ?assertEqual({error, not_utf8}, piece(Conn, text, first, <<255>>)),
        ?assertEqual({error, not_streaming}, piece(Conn, text, more, <<>>)),
        ok = piece(Conn, binary, first, <<255>>)
    end).

%% A piece that finds the queue full is as if it had not been sent.
a_full_queue_refuses_a_piece_test() ->
    with_server(#{send_queue_size => 100000}, fun(Port, _) ->
        Socket = ws_client:connect(Port, #{socket => [{recbuf, 4096}, {sndbuf, 4096}]}),
        {Conn, {open, _}} = test_support:event(),
        ok = piece(Conn, binary, first, <<>>),
        Sent = fill(Conn, fun(N) -> piece(Conn, binary, more, <<N:32, 0:80000>>) end),
        ?assertEqual({error, busy}, piece(Conn, binary, last, <<0:80000>>)),
        ?assertEqual({0, 2, <<>>}, fragment(Socket)),
        [?assertMatch({0, 0, <<N:32, _/binary>>}, fragment(Socket)) || N <- lists:seq(0, Sent - 1)],
        {ok, #{}} = sockeye:info(Conn),
        ok = piece(Conn, binary, last, <<"end">>),
        ?assertEqual({1, 0, <<"end">>}, fragment(Socket))
    end).

%% Only pieces have room beside what waits for them: what is sent together with one has the bound that all others have.
frames_behind_a_piece_are_bounded_test() ->
    with_server(#{send_queue_size => 100000}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        Beside = fun(Step) -> sockeye:send(Conn, [{stream, binary, Step, <<"p">>}, {binary, <<0:320000>>}]) end,
        ok = piece(Conn, binary, first, <<>>),
        ?assertEqual({0, 2, <<>>}, fragment(Socket)),
        [begin ok = Beside(more), ?assertEqual({0, 0, <<"p">>}, fragment(Socket)), {ok, #{}} = sockeye:info(Conn) end || _ <- [1, 2]],
        [?assertEqual({error, busy}, Beside(Step)) || Step <- [more, last]],
        ?assertMatch({ok, #{send_queue := Queue}} when Queue =< 100000, sockeye:info(Conn)),
        %% Nothing of that was sent, and the pieces alone have their room.
        ok = piece(Conn, binary, more, <<0:400000>>),
        ?assertEqual({0, 0, <<0:400000>>}, fragment(Socket)),
        ok = piece(Conn, binary, last, <<"end">>),
        ?assertEqual([{1, 0, <<"end">>}, {1, 2, <<0:320000>>}, {1, 2, <<0:320000>>}], [fragment(Socket) || _ <- [1, 2, 3]])
    end).

a_handler_may_stream_test() ->
    Self = self(),
    Funs = #{frame => fun({json, 1}, _, S) ->
                              {[{reply, {stream, text, first, <<"a">>}}, {reply, {text, <<"later">>}}], S};
                         ({json, 2}, Conn, S) ->
                              {[{send, Conn, {stream, text, last, <<"b">>}}], S};
                         ({json, 3}, _, S) ->
                              {[{reply, {stream, text, more, <<"b">>}}], S}
                      end,
             error => fun({_, Reason}, _, S) -> Self ! Reason, {[], S} end},
    with_handler(Funs, #{}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({0, 1, <<"a">>}, fragment(Socket)),
        ok = ws_client:text(Socket, <<"2">>),
        ?assertEqual([{1, 0, <<"b">>}, {1, 1, <<"later">>}], [fragment(Socket) || _ <- [1, 2]]),
        ok = ws_client:text(Socket, <<"3">>),
        ?assertEqual(not_streaming, test_support:message())
    end).

a_close_does_not_wait_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = piece(Conn, text, first, <<"a">>),
        ok = sockeye:send(Conn, {text, <<"lost">>}),
        ok = sockeye:close(Conn),
        ?assertEqual({error, closed}, piece(Conn, text, last, <<"b">>)),
        ?assertEqual({0, 1, <<"a">>}, fragment(Socket)),
        ?assertEqual({1, 8, <<1000:16>>}, fragment(Socket))
    end).

%% The next user of a connection's place starts anew.
a_stream_ends_with_its_connection_test() ->
    with_server(#{}, fun(Port, _) ->
        [begin
             {Socket, Conn} = open(Port),
             ok = piece(Conn, text, first, <<"a">>),
             ?assertEqual({0, 1, <<"a">>}, fragment(Socket)),
             ok = ws_client:drop(Socket),
             ?assertEqual(1006, test_support:closed(Conn)),
             ?assertEqual({error, closed}, piece(Conn, text, more, <<"b">>))
         end || _ <- lists:seq(1, 5)]
    end).

misuse_is_badarg_test() ->
    with_server(#{}, fun(Port, Server) ->
        {_Socket, Conn} = open(Port),
        [?assertError(badarg, sockeye:send(Conn, Frame))
         || Frame <- [{stream, json, first, <<>>}, {stream, text, begun, <<>>}, {stream, text, first, 1},
                      {stream, text, <<>>}]],
        ?assertError(badarg, sockeye:broadcast(Server, {stream, text, first, <<>>}))
    end).

%% Pieces beyond what one call on a normal scheduler takes.
large_pieces_test() ->
    with_server(#{send_queue_size => 16 * 1048576}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        Large = binary:copy(<<"0123456789">>, 100000),
        ok = piece(Conn, text, first, Large),
        ok = piece(Conn, text, last, [Large, Large]),
        ?assertEqual({0, 1, Large}, fragment(Socket)),
        ?assertEqual({1, 0, <<Large/binary, Large/binary>>}, fragment(Socket))
    end).
