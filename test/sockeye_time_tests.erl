%% Silence, pings and age: when a connection ends by the clock, and what can be set while it lives.
-module(sockeye_time_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/3, open/1, event/1]).

-define(SHORT, 200).

a_silent_client_is_closed_test() ->
    with_server(#{idle_timeout => ?SHORT}, fun(Port, _) ->
        Begin = erlang:monotonic_time(millisecond),
        {Socket, Conn} = open(Port),
        ?assertEqual({1001, <<"idle timeout">>}, ws_client:recv_close(Socket)),
        ?assert(erlang:monotonic_time(millisecond) - Begin >= ?SHORT),
        ?assertEqual({closed, 1001, <<"idle timeout">>}, event(Conn))
    end).

a_handler_learns_why_test() ->
    Self = self(),
    Funs = #{close => fun(_, Code, Reason, S) -> Self ! {Code, Reason}, {[], S} end},
    with_handler(Funs, #{ping_interval => ?SHORT, pong_timeout => ?SHORT}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ?assertEqual({ping, <<>>}, ws_client:recv(Socket)),
        ?assertEqual({1001, <<"ping timeout">>}, test_support:message())
    end).

%% For longer than the silence that would end it, which a machine that is busy must not make of it.
a_client_that_answers_pings_stays_test_() ->
    {timeout, 20, fun() ->
        Options = #{idle_timeout => 2000, ping_interval => ?SHORT, pong_timeout => 2000},
        with_server(Options, fun(Port, _) ->
            Begin = erlang:monotonic_time(millisecond),
            {Socket, Conn} = open(Port),
            answer_pings(Socket, Begin + 2500),
            ok = ws_client:text(Socket, <<"1">>),
            ?assertEqual({json, 1}, event(Conn))
        end)
    end}.

answer_pings(Socket, End) ->
    ?assertEqual({ping, <<>>}, ws_client:recv(Socket)),
    ok = ws_client:raw(Socket, ws_client:encode(10, <<>>)),
    erlang:monotonic_time(millisecond) > End orelse answer_pings(Socket, End).

nothing_lasts_longer_than_its_age_test() ->
    with_server(#{max_age => ?SHORT}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ?assertEqual({1001, <<"max age">>}, ws_client:recv_close(Socket)),
        ?assertMatch({closed, _, _}, event(Conn))
    end).

bad_times_are_named_test() ->
    [?assertMatch({error, {bad_option, Key, _}}, sockeye:start_link(#{port => 0, Key => Value}))
     || Key <- [idle_timeout, ping_interval, pong_timeout, max_age],
        Value <- [0, -1, 1.5, never, 16#80000000]].

infinity_is_a_time_test() ->
    Options = #{idle_timeout => infinity, ping_interval => infinity, max_age => infinity},
    with_server(Options, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({json, 1}, event(Conn))
    end).

an_owner_may_see_pings_and_pongs_test() ->
    with_server(#{control_frames => true, active => 2}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:ping(Socket, <<"here?">>),
        ?assertEqual({pong, <<"here?">>}, ws_client:recv(Socket)),
        ok = ws_client:raw(Socket, ws_client:encode(10, <<"yes">>)),
        ?assertEqual({ping, <<"here?">>}, event(Conn)),
        ?assertEqual({pong, <<"yes">>}, event(Conn)),
        ?assertEqual(passive, event(Conn))
    end).

a_handler_may_see_pings_and_pongs_test() ->
    Self = self(),
    Funs = #{frame => fun(Frame, _, S) -> Self ! Frame, {[{reply, {ping, <<"and you?">>}}], S} end},
    with_handler(Funs, #{control_frames => true}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:ping(Socket, <<"here?">>),
        ?assertEqual({pong, <<"here?">>}, ws_client:recv(Socket)),
        ?assertEqual({ping, <<"and you?">>}, ws_client:recv(Socket)),
        ok = ws_client:raw(Socket, ws_client:encode(10, <<"and you?">>)),
        ?assertEqual({ping, <<"here?">>}, test_support:message()),
        ?assertEqual({pong, <<"and you?">>}, test_support:message())
    end).

limits_change_at_run_time_test_() ->
    [{atom_to_list(Key),
      fun() ->
              with_server(#{}, fun(Port, _) ->
                  {Other, OtherConn} = open(Port),
                  {Socket, Conn} = open(Port),
                  ok = sockeye:setopts(Conn, [{Key, 10}]),
                  %% Answered in order: from here on it is so.
                  {ok, #{}} = sockeye:info(Conn),
                  ok = ws_client:raw(Socket, At),
                  ?assertEqual({binary, <<0:80>>}, event(Conn)),
                  ok = ws_client:raw(Socket, Beyond),
                  ?assertMatch({Code, _}, ws_client:recv_close(Socket)),
                  %% The others keep what the server says.
                  ok = ws_client:raw(Other, Beyond),
                  ?assertEqual({binary, <<0:88>>}, event(OtherConn))
              end)
      end}
     || {Key, Code, At, Beyond} <-
            [{max_message_size, 1009, ws_client:encode(2, <<0:80>>), ws_client:encode(2, <<0:88>>)},
             {max_frame_size, 1009, ws_client:encode(2, <<0:80>>), ws_client:encode(2, <<0:88>>)},
             {max_fragments, 1008, fragments(10), fragments(11)}]].

%% A binary message in so many frames of a byte each.
fragments(N) ->
    [ws_client:encode(Op, <<0>>, #{fin => Fin})
     || {Op, Fin} <- [{2, 0}] ++ lists:duplicate(N - 2, {0, 0}) ++ [{0, 1}]].

a_larger_message_may_come_in_one_frame_test() ->
    with_server(#{max_message_size => 10}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = sockeye:setopts(Conn, [{max_message_size, 11}]),
        {ok, #{}} = sockeye:info(Conn),
        ok = ws_client:binary(Socket, <<0:88>>),
        ?assertEqual({binary, <<0:88>>}, event(Conn))
    end).

times_change_at_run_time_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = sockeye:setopts(Conn, [{ping_interval, ?SHORT}, {pong_timeout, ?SHORT}]),
        ?assertEqual({ping, <<>>}, ws_client:recv(Socket)),
        ok = sockeye:setopts(Conn, [{pong_timeout, 60000}, {idle_timeout, 2 * ?SHORT}]),
        ?assertEqual({1001, <<"idle timeout">>}, ws_client:recv_close(Socket))
    end).

the_send_queue_changes_at_run_time_test() ->
    with_server(#{}, fun(Port, _) ->
        Socket = ws_client:connect(Port, #{socket => [{recbuf, 4096}]}),
        {Conn, {open, _}} = test_support:event(),
        ok = sockeye:setopts(Conn, [{send_queue_size, 64 * 1048576}]),
        {ok, #{}} = sockeye:info(Conn),
        Large = <<0:(8 * 1048576 * 8)>>,
        [?assertEqual(ok, sockeye:send(Conn, {binary, Large})) || _ <- lists:seq(1, 5)],
        ok = sockeye:setopts(Conn, [{send_queue_size, 1000}]),
        {ok, #{}} = sockeye:info(Conn),
        ?assertEqual({error, busy}, sockeye:send(Conn, {binary, Large})),
        ws_client:drop(Socket)
    end).

misuse_of_setopts_is_badarg_test() ->
    with_server(#{}, fun(Port, _) ->
        {_Socket, Conn} = open(Port),
        [?assertError(badarg, sockeye:setopts(Conn, [{Key, Value}]))
         || {Key, Value} <- [{max_message_size, 0}, {max_message_size, infinity}, {max_frame_size, -1},
                             {max_fragments, 16#80000000}, {idle_timeout, 0}, {idle_timeout, never},
                             {ping_interval, 16#80000000}, {pong_timeout, never}, {max_age, 1.0},
                             {send_queue_size, 0}, {inbox_size, 10}]]
    end).

%% N-1 and N messages at once are a burst, and N+1 is one too many.
too_many_messages_close_test_() ->
    [{integer_to_list(N),
      fun() ->
              Rate = #{rate => 1, burst => 3, action => close},
              with_server(#{message_rate => Rate}, fun(Port, _) ->
                  {Socket, Conn} = open(Port),
                  ok = ws_client:raw(Socket, [ws_client:encode(1, <<"1">>) || _ <- lists:seq(1, N)]),
                  [?assertEqual({json, 1}, event(Conn)) || _ <- lists:seq(1, min(N, 3))],
                  case N > 3 of
                      true ->
                          ?assertEqual({1008, <<"too many messages">>}, ws_client:recv_close(Socket)),
                          ?assertEqual({closed, 1008, <<"too many messages">>}, event(Conn));
                      false ->
                          ok = ws_client:ping(Socket, <<"still">>),
                          ?assertEqual({pong, <<"still">>}, ws_client:recv(Socket))
                  end
              end)
      end} || N <- [2, 3, 4]].

too_many_messages_wait_test() ->
    with_server(#{message_rate => #{rate => 20, burst => 5}}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        Begin = erlang:monotonic_time(millisecond),
        ok = ws_client:raw(Socket, [ws_client:encode(1, integer_to_binary(N)) || N <- lists:seq(1, 15)]),
        [?assertEqual({json, N}, event(Conn)) || N <- lists:seq(1, 15)],
        %% Ten more than the burst at twenty a second.
        ?assert(erlang:monotonic_time(millisecond) - Begin >= 490)
    end).

%% At one a second they would take longer than this test may.
a_burst_comes_at_once_test_() ->
    {timeout, 60, fun() ->
        with_server(#{message_rate => #{rate => 1, burst => 100}}, fun(Port, _) ->
            {Socket, Conn} = open(Port),
            ok = ws_client:raw(Socket, [ws_client:encode(1, integer_to_binary(N)) || N <- lists:seq(1, 100)]),
            [?assertEqual({json, N}, event(Conn)) || N <- lists:seq(1, 100)]
        end)
    end}.

%% The rate is no reason to lose what a client sent before it left.
a_client_that_leaves_is_heard_to_the_end_test() ->
    with_server(#{message_rate => #{rate => 1, burst => 1}}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:raw(Socket, [[ws_client:encode(1, integer_to_binary(N)) || N <- lists:seq(1, 5)],
                                    ws_client:encode(8, <<1000:16>>)]),
        [?assertEqual({json, N}, event(Conn)) || N <- lists:seq(1, 5)],
        ?assertMatch({closed, 1000, _}, event(Conn))
    end).

the_rate_and_credits_go_together_test() ->
    with_server(#{message_rate => #{rate => 100, burst => 1}, active => 2}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:raw(Socket, [ws_client:encode(1, integer_to_binary(N)) || N <- lists:seq(1, 4)]),
        [?assertEqual({json, N}, event(Conn)) || N <- [1, 2]],
        ?assertEqual(passive, event(Conn)),
        ok = sockeye:setopts(Conn, [{active, true}]),
        [?assertEqual({json, N}, event(Conn)) || N <- [3, 4]]
    end).
