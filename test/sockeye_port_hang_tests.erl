%% An engine's process that lives and does not answer is killed and replaced: after how long, and when not.
-module(sockeye_port_hang_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/3, open/1]).
-import(port_node, [another/1, is_alive/1, logged/1, fault/1, signal/2, in_a_node/2]).

-define(TIMEOUT, 60000).

%% Most of these wait for a heartbeat that does not come: three nodes at a time.
hangs_test_() ->
    {inparallel, 3,
     [in_a_node(#{args => ["-sockeye", "shards", "2"]}, [{Name, fun() -> found(Hang, "4 seconds") end}])
      || {Name, Hang} <- [{"stopped", fun(OsPid) -> signal("STOP", OsPid) end},
                          {"one shard of two", fun(_) -> fault(hang_shard) end},
                          {"the thread of the link", fun(_) -> fault(hang_link) end}]]}.

found(Hang, After) ->
    with_server(#{active => true}, fun(Port, Server) ->
        {ok, #{os_pid := OsPid, restarts := Restarts, shards := 2}} = sockeye:info(),
        {_, Conn} = open(Port),
        [{engine_lost, Text}] = logged(fun() ->
            Begin = erlang:monotonic_time(millisecond),
            ok = Hang(OsPid),
            receive {sockeye, Conn, {closed, 1006, <<"engine lost">>}} -> ok after ?TIMEOUT -> error(not_found) end,
            Found = erlang:monotonic_time(millisecond) - Begin,
            %% And what a busy machine takes.
            ?assert(Found < 6000),
            ok = another(Restarts),
            ok = port_node:listening(Server, Port)
        end),
        ?assertNot(is_alive(OsPid)),
        ?assertMatch({match, _}, re:run(Text, "its process was killed, since it did not answer for " ++ After))
    end).

%% An operator says how long it may take, and that it may take for ever while a debugger holds it.
another_timeout_test_() ->
    in_a_node(#{args => ["-sockeye", "shards", "2"]},
              [{"a second", fun() -> with_timeout(1, fun() -> stopped_and_found("a second") end) end},
               {"no number of milliseconds", fun() -> with_timeout(0, fun() -> stopped_and_found("4 seconds") end) end},
               {"infinity", fun() -> with_timeout(infinity, fun held/0) end}]).

with_timeout(Timeout, Test) ->
    ok = application:set_env(sockeye, engine_timeout, Timeout),
    Test().

stopped_and_found(After) ->
    found(fun(OsPid) -> signal("STOP", OsPid) end, After).

held() ->
    Echo = #{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end},
    with_handler(Echo, #{}, fun(Port, _) ->
        {ok, #{os_pid := OsPid, restarts := Restarts}} = sockeye:info(),
        Socket = ws_client:connect(Port),
        1 = erlang:trace(whereis(sockeye_link), true, ['receive']),
        ok = signal("STOP", OsPid),
        [receive {trace, _, 'receive', {ping, _}} -> ok after ?TIMEOUT -> error(no_ping) end || _ <- lists:seq(1, 6)],
        ok = signal("CONT", OsPid),
        1 = erlang:trace(whereis(sockeye_link), false, ['receive']),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({text, <<"1">>}, ws_client:recv(Socket)),
        ?assertMatch({ok, #{os_pid := OsPid, restarts := Restarts}}, sockeye:info())
    end).
