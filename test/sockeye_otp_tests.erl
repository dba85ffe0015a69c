%% A handler is a gen_server to the rest of the system: calls, casts, and what `sys' does.
-module(sockeye_otp_tests).
-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-define(TIMEOUT, 60000).

%% Each in a process of its own: a client takes along whom it is linked to.
in_each_mode_test_() ->
    [{timeout, 60, {lists:flatten(io_lib:format("~p, ~p", [Mode, Name])), {spawn, fun() -> in(Mode, Test) end}}}
     || Mode <- [one, 2, per_connection, client],
        {Name, Test} <- [{call, fun call/1}, {cast, fun cast/1}, {later, fun later/1}, {throws, fun throws/1},
                         {hibernates, fun hibernates/1}, {bad_command, fun bad_command/1}, {state, fun state/1},
                         {status, fun status/1}, {suspended, fun suspended/1}, {code_change, fun code_change/1},
                         {stops, fun stops/1}, {wrong, fun wrong/1}]].

%% Test gets the handler's process, and funs for the other end of its connection.
in(client, Test) ->
    %% A client ends with its handler.
    Old = process_flag(trap_exit, true),
    {ok, Server} = sockeye:start_link(#{port => 0, handler => self(), active => true}),
    Url = "ws://127.0.0.1:" ++ integer_to_list(test_support:port(Server)),
    {ok, Client} = sockeye_client:start_link(Url, {otp_handler, self()}, #{reconnect => true}),
    Conn = receive {sockeye, C, {open, _}} -> C after ?TIMEOUT -> error(not_open) end,
    Say = fun(Term) -> ok = sockeye:send(Conn, {json, Term}) end,
    Hear = fun() -> receive {sockeye, Conn, {json, Term}} -> Term after ?TIMEOUT -> error(nothing_said) end end,
    try
        Pid = handler(),
        ready(Pid, Say, Hear),
        Test({Pid, Say, Hear})
    after
        _ = sockeye_client:stop(Client),
        ok = sockeye:stop(Server),
        true = process_flag(trap_exit, Old),
        test_support:flush()
    end;
in(Processes, Test) ->
    test_support:with_server(#{handler => {otp_handler, self()}, processes => Processes}, fun(Port, _) ->
        {ok, Conn} = sockeye_client:connect("ws://127.0.0.1:" ++ integer_to_list(Port)),
        Say = fun(Term) -> ok = sockeye_client:send(Conn, {json, Term}) end,
        Hear = fun() -> {ok, {json, Term}} = sockeye_client:recv(Conn, ?TIMEOUT), Term end,
        Pids = handlers(Processes),
        Say(hello),
        <<"hello">> = Hear(),
        %% Of a pool, the one that has the connection.
        [Pid] = [P || P <- Pids, gen_server:call(P, seen) =/= []],
        ready(Pid, Say, Hear),
        Test({Pid, Say, Hear}),
        _ = sockeye_client:close(Conn)
    end).

%% It has seen its connection open, and nothing else.
ready(Pid, Say, Hear) ->
    Say(ready),
    <<"ready">> = Hear(),
    _ = sys:replace_state(Pid, fun(State) -> State#{seen := []} end),
    ok.

handler() ->
    receive {handler, Pid} -> Pid after ?TIMEOUT -> error(no_handler) end.

handlers(2) -> [handler(), handler()];
handlers(_) -> [handler()].

call({Pid, _Say, Hear}) ->
    ?assertEqual(told, gen_server:call(Pid, {tell, <<"one">>})),
    ?assertEqual(<<"one">>, Hear()),
    ?assertEqual([{call, <<"one">>}], gen_server:call(Pid, seen)).

cast({Pid, _Say, Hear}) ->
    ok = gen_server:cast(Pid, {tell, 7}),
    ?assertEqual(7, Hear()),
    Pid ! plain,
    ?assertEqual([{cast, {tell, 7}}, {info, plain}], [case W of {cast, 7} -> {cast, {tell, 7}}; _ -> W end
                                                      || W <- gen_server:call(Pid, seen)]).

later({Pid, _, _}) ->
    ?assertEqual({then, 1}, gen_server:call(Pid, {wait, {then, 1}})).

throws({Pid, _, _}) ->
    ?assertEqual(caught, gen_server:call(Pid, {thrown, caught})).

hibernates({Pid, Say, Hear}) ->
    ?assertEqual(rests, gen_server:call(Pid, rest)),
    Say(awake),
    ?assertEqual(<<"awake">>, Hear()).

%% A command that is none costs itself; who called has the answer.
bad_command({Pid, Say, Hear}) ->
    test_support:quiet(fun() ->
        ?assertEqual(ok, gen_server:call(Pid, {wrong, [nonsense]})),
        ?assertEqual([], gen_server:call(Pid, seen))
    end),
    Say(on),
    ?assertEqual(<<"on">>, Hear()).

state({Pid, Say, Hear}) ->
    #{test := Test, seen := []} = sys:get_state(Pid),
    ?assertEqual(self(), Test),
    #{seen := [a, b]} = sys:replace_state(Pid, fun(State) -> State#{seen := [a, b]} end),
    #{seen := [a, b]} = sys:get_state(Pid),
    Say(state),
    ?assertEqual(2, Hear()),
    %% A fun that crashes changes nothing.
    ?assertError({callback_failed, _, _}, sys:replace_state(Pid, fun(_) -> error(no) end)),
    Say(state),
    ?assertEqual(2, Hear()).

status({Pid, _, _}) ->
    {status, Pid, {module, gen_server}, [_, running, _, _, Misc]} = sys:get_status(Pid),
    ?assertMatch([_], [Data || {data, [{"State", #{module := otp_handler, state := #{seen := []}} = Data}]} <- Misc]).

%% Frames wait meanwhile.
suspended({Pid, Say, Hear}) ->
    ok = sys:suspend(Pid),
    [Say(N) || N <- lists:seq(1, 20)],
    #{seen := []} = sys:get_state(Pid),
    ok = sys:resume(Pid),
    ?assertEqual(lists:seq(1, 20), [Hear() || _ <- lists:seq(1, 20)]).

code_change({Pid, Say, Hear}) ->
    ok = sys:suspend(Pid),
    Say(1),
    ?assertEqual(ok, sys:change_code(Pid, otp_handler, "1.0", extra)),
    #{seen := [{code_change, "1.0", extra}]} = sys:get_state(Pid),
    ?assertEqual({error, {error, refused}}, sys:change_code(Pid, otp_handler, "1.0", refuse)),
    #{seen := [{code_change, "1.0", extra}]} = sys:get_state(Pid),
    ok = sys:resume(Pid),
    ?assertEqual(1, Hear()),
    ?assertEqual([{code_change, "1.0", extra}, {frame, 1}], gen_server:call(Pid, seen)).

stops({Pid, _, _}) ->
    Monitor = monitor(process, Pid),
    ?assertEqual(stopping, gen_server:call(Pid, {stop, shutdown})),
    receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(shutdown, Reason)
    after ?TIMEOUT -> error(lives)
    end.

wrong({Pid, _, _}) ->
    Old = process_flag(trap_exit, true),
    test_support:quiet(fun() ->
        ?assertExit({{bad_return_value, nonsense}, _}, gen_server:call(Pid, {return, nonsense})),
        ?assertNot(is_process_alive(Pid))
    end),
    receive {'EXIT', _, _} -> ok after 0 -> ok end,
    process_flag(trap_exit, Old).

%% Without these callbacks a call is refused, a cast comes as a message, and code changes keep the state.
without_test_() ->
    {timeout, 60, fun() ->
        Self = self(),
        Funs = #{init => fun() -> Self ! {handler, self()}, {ok, 0} end,
                 info => fun(Message, S) -> Self ! {told, Message}, {[], S} end},
        test_support:with_handler(Funs, fun(_, _) ->
            Pid = handler(),
            ?assertEqual({error, not_supported}, gen_server:call(Pid, anything)),
            ok = gen_server:cast(Pid, hello),
            receive {told, Message} -> ?assertEqual({'$gen_cast', hello}, Message) after ?TIMEOUT -> error(untold) end,
            ok = sys:suspend(Pid),
            ?assertEqual(ok, sys:change_code(Pid, fun_handler, undefined, [])),
            ok = sys:resume(Pid),
            ?assertMatch({_, 0}, sys:get_state(Pid))
        end)
    end}.
