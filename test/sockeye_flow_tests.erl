%% Flow control: credits of an owner, the inbox of a handler.
-module(sockeye_flow_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/2, with_handler/3, open/1, event/1, closed/1]).

send_numbers(Socket, From, To) ->
    ok = ws_client:raw(Socket, [ws_client:encode(1, integer_to_binary(N))
                                || N <- lists:seq(From, To)]).

expect_numbers(Conn, From, To) ->
    [?assertEqual({json, N}, event(Conn)) || N <- lists:seq(From, To)].

%% The client hears the engine, so what the engine wanted to deliver before is
%% in the mailbox.
assert_quiet(Socket, Conn) ->
    ok = ws_client:ping(Socket, <<"sync">>),
    ?assertEqual({pong, <<"sync">>}, ws_client:recv(Socket)),
    receive {sockeye, Conn, Event} -> error({unwanted, Event})
    after 0 -> ok
    end.

an_owner_has_a_hundred_credits_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        send_numbers(Socket, 1, 100),
        expect_numbers(Conn, 1, 100),
        ?assertEqual(passive, event(Conn)),
        assert_quiet(Socket, Conn),
        send_numbers(Socket, 101, 150),
        %% Over-delivery would come before this passive.
        ok = sockeye:setopts(Conn, [{active, 30}]),
        expect_numbers(Conn, 101, 130),
        ?assertEqual(passive, event(Conn)),
        ok = sockeye:setopts(Conn, [{active, true}]),
        expect_numbers(Conn, 131, 150)
    end).

credits_are_for_each_connection_test() ->
    with_server(#{active => 1}, fun(Port, _) ->
        {Socket1, Conn1} = open(Port),
        {Socket2, Conn2} = open(Port),
        send_numbers(Socket1, 1, 2),
        ?assertEqual({json, 1}, event(Conn1)),
        ?assertEqual(passive, event(Conn1)),
        send_numbers(Socket2, 7, 7),
        ?assertEqual({json, 7}, event(Conn2)),
        ?assertEqual(passive, event(Conn2)),
        ok = sockeye:setopts(Conn1, [{active, 1}]),
        ?assertEqual({json, 2}, event(Conn1)),
        ?assertEqual(passive, event(Conn1))
    end).

credits_add_up_and_can_be_taken_back_test() ->
    with_server(#{active => 2}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = sockeye:setopts(Conn, [{active, 3}]),
        ?assertMatch({ok, #{active := 5}}, sockeye:info(Conn)),
        send_numbers(Socket, 1, 5),
        expect_numbers(Conn, 1, 5),
        ?assertEqual(passive, event(Conn)),
        ok = sockeye:setopts(Conn, [{active, 3}]),
        ok = sockeye:setopts(Conn, [{active, -3}]),
        ?assertEqual(passive, event(Conn)),
        send_numbers(Socket, 6, 6),
        assert_still(Conn),
        ok = sockeye:setopts(Conn, [{active, 1}]),
        ?assertEqual({json, 6}, event(Conn))
    end).

%% The shard has answered, and nothing came.
assert_still(Conn) ->
    {ok, #{}} = sockeye:info(Conn),
    receive {sockeye, Conn, Event} -> error({unwanted, Event})
    after 0 -> ok
    end.

once_test() ->
    with_server(#{active => once}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        send_numbers(Socket, 1, 1),
        expect_numbers(Conn, 1, 1),
        assert_quiet(Socket, Conn),
        send_numbers(Socket, 2, 4),
        assert_still(Conn),
        ok = sockeye:setopts(Conn, [{active, once}]),
        expect_numbers(Conn, 2, 2),
        assert_still(Conn),
        ok = sockeye:setopts(Conn, [{active, true}]),
        expect_numbers(Conn, 3, 4)
    end).

false_then_true_test() ->
    with_server(#{active => false}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        assert_quiet(Socket, Conn),
        send_numbers(Socket, 1, 3),
        assert_still(Conn),
        ok = sockeye:setopts(Conn, [{active, true}]),
        expect_numbers(Conn, 1, 3),
        ok = sockeye:setopts(Conn, [{active, false}]),
        {ok, #{}} = sockeye:info(Conn),
        assert_quiet(Socket, Conn)
    end).

true_has_no_limit_test() ->
    with_server(#{active => true}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        send_numbers(Socket, 1, 5000),
        expect_numbers(Conn, 1, 5000),
        assert_quiet(Socket, Conn)
    end).

closed_comes_without_credits_test() ->
    with_server(#{active => false}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:close(Socket, 4000, <<"bye">>),
        ?assertEqual({closed, 4000, <<"bye">>}, event(Conn))
    end).

%% With no credits the socket is not read: the client's writes stop at last.
a_client_without_credits_is_slowed_by_tcp_test() ->
    with_server(#{active => 1}, fun(Port, _) ->
        Socket = ws_client:connect(Port, #{socket => [{send_timeout, 500}, {sndbuf, 65536}]}),
        {Conn, {open, _}} = test_support:event(),
        Frame = ws_client:encode(2, <<0:524288>>),
        ?assert(write_until_stopped(Socket, Frame, 2000) < 2000),
        ?assertMatch({binary, _}, event(Conn)),
        ?assertEqual(passive, event(Conn)),
        assert_still(Conn)
    end).

write_until_stopped(_Socket, _Frame, 0) -> 2000;
write_until_stopped(Socket, Frame, Left) ->
    case ws_client:raw(Socket, Frame) of
        ok -> write_until_stopped(Socket, Frame, Left - 1);
        {error, timeout} -> 2000 - Left
    end.

batches_test() ->
    with_server(#{batch => true, active => true}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        send_numbers(Socket, 1, 50),
        {Messages, Numbers} = collect(Conn, 50, 0, []),
        ?assertEqual([{json, N} || N <- lists:seq(1, 50)], Numbers),
        ?assert(Messages < 50)
    end).

collect(_Conn, 0, Messages, Events) ->
    {Messages, lists:append(lists:reverse(Events))};
collect(Conn, Left, Messages, Events) ->
    case event(Conn) of
        {batch, Batch} -> collect(Conn, Left - length(Batch), Messages + 1, [Batch | Events]);
        Event -> collect(Conn, Left - 1, Messages + 1, [[Event] | Events])
    end.

controlling_process_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        Self = self(),
        Other = spawn_link(fun Forward() ->
                                   receive
                                       {sockeye, Conn, Event} -> Self ! {other, Event}, Forward();
                                       stop -> ok
                                   end
                           end),
        ok = sockeye:controlling_process(Conn, Other),
        send_numbers(Socket, 1, 3),
        [?assertEqual({other, {json, N}}, test_support:message()) || N <- [1, 2, 3]],
        Other ! stop,
        ?assertMatch({1011, _}, ws_client:recv_close(Socket))
    end).

%% Those of a handler stay with it. A callback that gave one away would wait for itself.
a_handler_keeps_its_connections_test_() ->
    [{lists:flatten(io_lib:format("~p", [Processes])), fun() ->
        Self = self(),
        Try = fun(Conn) -> try sockeye:controlling_process(Conn, Self) catch error:badarg -> badarg end end,
        Frame = fun(_, Conn, S) -> Self ! {in_a_callback, Conn, Try(Conn)}, {[], S} end,
        with_handler(#{frame => Frame}, #{processes => Processes}, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            [ok = ws_client:text(Socket, <<"1">>) || _ <- lists:seq(1, 3)],
            Conns = [begin {in_a_callback, Conn, badarg} = test_support:message(), Conn end || _ <- lists:seq(1, 3)],
            ?assertEqual(badarg, Try(hd(Conns)))
        end)
     end} || Processes <- [one, 2, per_connection]].

a_client_s_handler_keeps_its_connection_test() ->
    Self = self(),
    Try = fun(Conn) ->
                  try sockeye:controlling_process(Conn, Self)
                  catch error:badarg:Stack -> element(4, hd(Stack))
                  end
          end,
    Asks = #{open => fun(Conn, _, S) -> Self ! {in_a_callback, Conn, Try(Conn)}, {[], S} end},
    with_server(#{active => true}, fun(Port, _) ->
        {ok, Client} = sockeye_client:start_link(test_support:url(Port), {fun_handler, Asks}),
        {Conn, Inside} = receive {in_a_callback, C, Tried} -> {C, Tried} after 60000 -> error(not_open) end,
        [?assertMatch(#{cause := [{1, <<"a connection of a handler", _/binary>>}]}, proplists:get_value(error_info, Info))
         || Info <- [Inside, Try(Conn)]],
        ok = sockeye_client:stop(Client)
    end).

%% A handler that stands still: the inbox fills, the client is stopped by TCP,
%% another client still gets its pong, the mailbox stays short, nothing is lost.
a_full_inbox_stops_the_reading_test_() ->
    {timeout, 60, fun() ->
        Self = self(),
        Funs = #{frame => fun({binary, <<0, _/binary>>}, _, S) ->
                                  Self ! {standing, self()},
                                  receive go -> {[], S} end;
                             ({binary, <<1, N:32, _/binary>>}, _, S) ->
                                  Self ! {got, N},
                                  {[], S}
                          end},
        with_handler(Funs, #{inbox_size => 100000}, fun(Port, _) ->
            Socket = ws_client:connect(Port, #{socket => [{send_timeout, 500}, {sndbuf, 65536}]}),
            Other = ws_client:connect(Port),
            ok = ws_client:binary(Socket, <<0>>),
            {standing, Handler} = test_support:message(),
            {Sent, Part} = write_numbers(Socket, 0),
            ok = ws_client:ping(Other, <<"alive">>),
            ?assertEqual({pong, <<"alive">>}, ws_client:recv(Other)),
            {message_queue_len, Len} = process_info(Handler, message_queue_len),
            ?assert(Len =< 1),
            Handler ! go,
            ok = finish_write(Socket, Part),
            [?assertEqual({got, N}, test_support:message()) || N <- lists:seq(0, Sent)]
        end)
    end}.

%% Frames of 64 KiB until the socket takes no more. The driver keeps what it
%% could not write in its own queue, so the last frame is on its way as well.
write_numbers(Socket, N) ->
    case ws_client:raw(Socket, ws_client:encode(2, <<1, N:32, 0:524288>>)) of
        ok -> write_numbers(Socket, N + 1);
        {error, timeout} -> {N, queued}
    end.

finish_write(_Socket, queued) -> ok.

%% Two clients at one slow handler: the flood of one does not starve the other.
one_connection_can_not_starve_another_test_() ->
    {timeout, 60, fun() ->
        Self = self(),
        Funs = #{frame => fun({json, <<"flood">>}, _, S) ->
                                  busy(200),
                                  {[], S};
                             ({json, <<"one">>}, Conn, S) ->
                                  Self ! one,
                                  {[{send, Conn, {text, <<"served">>}}], S}
                          end},
        with_handler(Funs, #{inbox_size => 200000}, fun(Port, _) ->
            Flood = ws_client:connect(Port),
            One = ws_client:connect(Port),
            Frames = [ws_client:encode(1, <<"\"flood\"">>) || _ <- lists:seq(1, 1000)],
            Flooder = spawn_link(fun Loop() ->
                                         case ws_client:raw(Flood, Frames) of
                                             ok -> Loop();
                                             {error, _} -> ok
                                         end
                                 end),
            [begin
                 ok = ws_client:text(One, <<"\"one\"">>),
                 ?assertEqual({text, <<"served">>}, ws_client:recv(One))
             end || _ <- lists:seq(1, 5)],
            unlink(Flooder),
            exit(Flooder, kill)
        end)
    end}.

busy(Microseconds) ->
    End = erlang:monotonic_time(microsecond) + Microseconds,
    busy_until(End).

busy_until(End) ->
    case erlang:monotonic_time(microsecond) < End of
        true -> busy_until(End);
        false -> ok
    end.

a_handler_may_have_credits_as_well_test() ->
    Self = self(),
    Funs = #{frame => fun({json, N}, Conn, S) -> Self ! {Conn, N}, {[], S} end,
             info => fun(Message, S) -> Self ! Message, {[], S} end},
    with_handler(Funs, #{active => 2}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        send_numbers(Socket, 1, 5),
        {Conn, 1} = test_support:message(),
        {Conn, 2} = test_support:message(),
        ?assertEqual({sockeye, Conn, passive}, test_support:message()),
        ok = sockeye:setopts(Conn, [{active, 1}]),
        ?assertEqual({Conn, 3}, test_support:message())
    end).

the_active_command_test() ->
    Self = self(),
    Funs = #{frame => fun({json, N}, _, S) -> Self ! N, {[{active, once}], S} end},
    with_handler(Funs, #{active => once}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        send_numbers(Socket, 1, 20),
        [?assertEqual(N, test_support:message()) || N <- lists:seq(1, 20)]
    end).

%% More frames than any batch, in one process: order and number are kept.
long_runs_keep_their_order_test() ->
    with_handler(#{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        spawn_link(fun() -> send_numbers(Socket, 1, 20000) end),
        [?assertEqual(integer_to_binary(N), ws_client:recv_data(Socket)) || N <- lists:seq(1, 20000)]
    end).

closed_is_last_test() ->
    with_server(#{active => true}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        send_numbers(Socket, 1, 100),
        ok = ws_client:close(Socket, 1000, <<>>),
        expect_numbers(Conn, 1, 100),
        ?assertEqual(1000, closed(Conn)),
        receive {sockeye, Conn, Event} -> error({after_closed, Event})
        after 0 -> ok
        end
    end).
