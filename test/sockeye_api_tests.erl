%% Random use of the public API against a model, see api_model. `make props' has more of it, and all planted faults.
-module(sockeye_api_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-define(SEED, 20261129).

%% SOCKEYE_TEST_SEED and SOCKEYE_TEST_RUNS look elsewhere, and for longer.
random_use_test_() ->
    [{Name, {timeout, 600 + 3 * Runs, fun() ->
        Found = random_commands:search(Model, #{seed => random_commands:number("SOCKEYE_TEST_SEED", ?SEED), runs => Runs}),
        ?assertMatch({ok, _}, Found)
     end}} || {Name, Model, Share} <- [{"clients with a socket each", api_model, 1}, {"streams of HTTP/2 as well", api_streams_model, 2}],
              Runs <- [random_commands:number("SOCKEYE_TEST_RUNS", 20) div Share]].

%% What random use has found: each list failed before.
found_test_() ->
    [{Name, {timeout, 120, fun() -> ?assertEqual(ok, random_commands:run(api_model, Commands)) end}} || {Name, Commands} <- found()].

found() ->
    %% Rows of what a new process of the engine is told.
    [{"what a killed server had is forgotten", [{start, 1, pool}, {kill, server, 1}]},
     {"what a killed client had is forgotten", [{start, 1, one}, {dial, 2, 1, plain}, {end_client, 2, kill}]}].

%% Each way in which a stream of HTTP/2 ends.
streams_test_() ->
    Begin = fun(Kind) -> [{start, 1, Kind}, {stream, 2, 1}, {stream, 3, 1}, {connect, 4, 1}, {stream, 5, 1}, {broadcast, 1, 6}] end,
    Ends = [{leave, 2, handshake}, {leave, 3, fin}, {broadcast, 1, 7}, {leave, 5, rst}, {broadcast, 1, 8}, {stream, 9, 1}, {cut, 1}, {broadcast, 1, 10}],
    [{atom_to_list(Kind), {timeout, 120, fun() -> ?assertEqual(ok, random_commands:run(api_model, Begin(Kind) ++ Ends)) end}}
     || Kind <- [owner, each, tls]].

%% What comes to a stream is looked at.
a_stream_tells_of_a_fault_test_() ->
    {timeout, 120, fun() ->
        {_, {Module, Function, Arity, Fault}, _, _} = lists:keyfind("a broadcast is for one more", 1, faults()),
        Commands = [{start, 1, one}, {stream, 2, 1}, {stream, 3, 1}, {broadcast_from, 2, 4}, {say, 2, 5}],
        ?assertMatch({failed, {error, {{say, 2, 5}, {came, 2, 4, not_this, 5}}, _}},
                     planted:with(Module, Function, Arity, Fault, fun() -> random_commands:run(api_model, Commands) end)),
        ?assertEqual(ok, random_commands:run(api_model, Commands))
    end}.

%% It finds faults, and what is left of the commands shows which. SOCKEYE_TEST_ALL=1 looks for all of them.
planted_test_() ->
    [{Name, {timeout, 600, fun() -> is_found(Fault, Runs, Shown) end}} || {Name, Fault, Runs, Shown} <- test_support:slice(100, 1, faults())].

%% A fault, within how many runs it is found, and what is left of the commands, by their first words.
faults() ->
    [{"an unsubscribe is lost", {sockeye_fanout, unsubscribe, 2, fun(_, _) -> ok end}, 20, [unsubscribe]},
     {"a place outlives its server", {sockeye_engine, forget, 2, fun(_, [_, State]) -> State end}, 20, [start]},
     {"who has ended stays present", {sockeye_presence_server, owner_ended, 2, fun(_, [_, State]) -> State end}, 100, [track]},
     {"an owner is not changed", {sockeye_ask, controlling_process, 2, fun(_, _) -> ok end}, 200, [give]},
     {"credits are lost", {sockeye_conn, setopts, 2, fun(_, _) -> ok end}, 60, [setopts]},
     {"a subscriber of the node is forgotten", {sockeye_pubsub_server, known, 3, fun(_, [_, _, State]) -> State end}, 60, [join]},
     {"a broadcast is for one more", {sockeye_fanout, to_others, 3, fun(F, [Conn, Frame, Options]) ->
                                          _ = sockeye_conn:send(Conn, Frame),
                                          F(Conn, Frame, Options)
                                      end}, 60, [broadcast_from]},
     {"a drain counts wrong", {sockeye_server_calls, drain, 2, fun(F, Args) ->
                                   case apply(F, Args) of
                                       {ok, #{closed := N} = Done} when N > 0 -> {ok, Done#{closed := N - 1}};
                                       Other -> Other
                                   end
                               end}, 100, [drain]},
     {"a drain has a code of its own", {sockeye_server_calls, drain, 2, fun(F, [Server, Options]) -> F(Server, Options#{code := 1001}) end}, 200, [drain]},
     {"a message in pieces has no end", {sockeye_conn, send, 2, fun(F, [Conn, {stream, Kind, last, Data}]) -> F(Conn, {stream, Kind, more, Data});
                                                                   (F, Args) -> apply(F, Args)
                                                                end}, 60, [piece]},
     {"who begins a message in pieces does not own it", {sockeye_conn, send, 2, fun(F, [Conn, {stream, Kind, first, Data}]) ->
                                                                                       in_another_process(fun() -> F(Conn, {stream, Kind, first, Data}) end);
                                                                                   (F, Args) ->
                                                                                       apply(F, Args)
                                                                                end}, 60, [piece, piece]},
     {"a piece of an answer is lost", {sockeye_http_stream, piece, 3, fun(_, _) -> ok end}, 200, [ask, answer]},
     {"a full queue is not told", {sockeye_conn, send, 2, fun(F, Args) -> case apply(F, Args) of {error, busy} -> ok; Other -> Other end end}, 200, [send_large]},
     {"a bound of topics is not told", {sockeye_fanout, subscribe, 2, fun(F, Args) ->
                                           case apply(F, Args) of {error, too_many_subscriptions} -> ok; Other -> Other end
                                       end}, 300, [subscribe, subscribe, subscribe]},
     {"a bound of connections is forgotten", {sockeye_descriptors, limits, 1, fun(F, [_]) -> F(infinity) end}, 200, [connect_refused]},
     {"a bound of each address is forgotten", {sockeye_backend, listen, 1, fun(F, [Options]) ->
                                                  F(Options#{max_connections_per_address := infinity})
                                              end}, 300, [connect_refused]},
     {"who has ended adopts", {sockeye_adopt, adopt, 3, fun(F, Args) -> case apply(F, Args) of {error, not_found} -> ok; Other -> Other end end},
      200, [adopted_by_none]},
     {"of two calls at once one is lost", {sockeye_fanout, subscribe, 2, only_one()}, 200, [at_once]},
     {"a worker outlives its server", {sockeye_stopping, workers, 1, fun(_, [Pids]) -> [unlink(Pid) || Pid <- Pids], ok end}, 20, [start]}].

words(Command) when not is_tuple(Command) -> [Command];
words({while_suspended, _Process, Command}) -> words(Command);
words({at_once, Commands}) -> [at_once | lists:append([words(Command) || Command <- Commands])];
words(Command) when element(1, Command) =:= drain_twice; element(1, Command) =:= cut_off -> [drain];
words(Command) -> [element(1, Command)].

in_another_process(Work) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({made, Work()}) end),
    receive {'DOWN', Monitor, process, Pid, {made, Result}} -> Result end.

%% Does nothing while another call is on its way.
only_one() ->
    Inside = atomics:new(1, []),
    fun(F, Args) ->
        try atomics:add_get(Inside, 1, 1) of
            1 -> receive after 2 -> apply(F, Args) end;
            _ -> ok
        after
            atomics:sub(Inside, 1, 1)
        end
    end.

is_found({Module, Function, Arity, Fault}, Runs, Shown) ->
    %% What each server or client leaves once.
    ok = random_commands:run(api_model, []),
    %% Servers have 2,000 ms for clients that do not answer (api_clients).
    ok = api_world:patience(4000),
    try planted:with(Module, Function, Arity, Fault, fun() -> random_commands:search(api_model, #{seed => 1, runs => Runs}) end) of
        {failed, #{commands := Commands} = Found} ->
            Words = lists:append([words(Command) || Command <- Commands]),
            Shown -- Words =:= [] orelse error({another, Found}),
            ?assertEqual(ok, random_commands:run(api_model, Commands));
        Found ->
            error({not_found, Found})
    after
        api_world:patience(10000)
    end.
