%% Silence, pings and age: when a connection ends by the clock.
-module(sockeye_time_tests).

-include_lib("eunit/include/eunit.hrl").

-import(sockeye_test, [with_server/2, with_handler/3, open/1, event/1]).

-define(SHORT, 200).

who_says_nothing_is_closed_test() ->
    with_server(#{idle_timeout => ?SHORT}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        Begin = erlang:monotonic_time(millisecond),
        ?assertEqual({1001, <<"idle timeout">>}, ws_client:recv_close(Socket)),
        ?assertEqual({closed, 1001, <<"idle timeout">>}, event(Conn)),
        ?assert(erlang:monotonic_time(millisecond) - Begin < 10 * ?SHORT)
    end).

a_handler_learns_why_test() ->
    Self = self(),
    Funs = #{close => fun(_, Code, Reason, S) -> Self ! {Code, Reason}, {[], S} end},
    with_handler(Funs, #{ping_interval => ?SHORT, pong_timeout => ?SHORT}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ?assertEqual({ping, <<>>}, ws_client:recv(Socket)),
        ?assertEqual({1001, <<"ping timeout">>}, sockeye_test:message())
    end).

who_answers_pings_stays_test() ->
    Options = #{idle_timeout => 3 * ?SHORT, ping_interval => ?SHORT, pong_timeout => ?SHORT},
    with_server(Options, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        [begin
             ?assertEqual({ping, <<>>}, ws_client:recv(Socket)),
             ok = ws_client:raw(Socket, ws_client:encode(10, <<>>))
         end || _ <- lists:seq(1, 5)],
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({json, 1}, event(Conn))
    end).

nothing_lasts_longer_than_its_age_test() ->
    with_server(#{max_age => ?SHORT}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ?assertEqual({1001, <<"max age">>}, ws_client:recv_close(Socket)),
        ?assertMatch({closed, _, _}, event(Conn))
    end).

bad_times_are_named_test() ->
    [?assertMatch({error, {bad_option, Key, _}}, sockeye:start_link(#{port => 0, Key => Value}))
     || Key <- [idle_timeout, ping_interval, pong_timeout, max_age],
        Value <- [0, -1, 1.5, never, 16#80000000]],
    ?assertMatch({error, {bad_option, pong_timeout, _}},
                 sockeye:start_link(#{port => 0, pong_timeout => infinity})).

infinity_is_a_time_test() ->
    Options = #{idle_timeout => infinity, ping_interval => infinity, max_age => infinity},
    with_server(Options, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({json, 1}, event(Conn))
    end).
