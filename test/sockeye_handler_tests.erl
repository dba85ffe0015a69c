%% The behaviour: one process, a pool, a process per connection.
-module(sockeye_handler_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/2, with_handler/3, message/0, quiet/1]).

echo() ->
    fun(Frame, _Conn, S) -> {[{reply, Frame}], S} end.

all_callbacks_test_() ->
    [{lists:flatten(io_lib:format("~p", [Processes])), fun() -> all_callbacks(Processes) end}
     || Processes <- [one, 3, per_connection]].

all_callbacks(Processes) ->
    Self = self(),
    Tell = fun(What) -> Self ! What end,
    Funs = #{init => fun() -> Tell(init), {ok, 0} end,
             open => fun(Conn, Info, S) -> Tell({open, Conn, Info}), {[], S + 1} end,
             frame => fun({json, <<"send to yourself">>}, _, S) -> self() ! note, {[], S};
                         (Frame, Conn, S) -> Tell({frame, Conn, Frame, S}), {[{reply, #{}}], S + 1}
                      end,
             info => fun(Message, S) -> Tell({info, Message}), {[], S} end,
             close => fun(Conn, Code, Reason, S) -> Tell({close, Conn, Code, Reason, S}), {[], S} end,
             terminate => fun(Reason, _) -> Tell({terminate, Reason}) end},
    {ok, Server} = sockeye:start_link(#{port => 0, handler => {fun_handler, Funs},
                                        processes => Processes}),
    Inits = case Processes of one -> 1; per_connection -> 0; N -> N end,
    [?assertEqual(init, message()) || _ <- lists:seq(1, Inits)],
    Socket = ws_client:connect(test_support:port(Server), #{path => "/a/b?c=d"}),
    [?assertEqual(init, message()) || Processes =:= per_connection],
    {open, Conn, Info} = message(),
    ?assertMatch(#{path := <<"/a/b">>, query := <<"c=d">>, peer := {{127, 0, 0, 1}, _}}, Info),
    ok = ws_client:text(Socket, <<"[1]">>),
    ?assertEqual({frame, Conn, {json, [1]}, 1}, message()),
    ?assertEqual({text, <<"{}">>}, ws_client:recv(Socket)),
    ok = ws_client:text(Socket, <<"\"send to yourself\"">>),
    ?assertEqual({info, note}, message()),
    ok = ws_client:close(Socket, 4001, <<"done">>),
    ?assertEqual({close, Conn, 4001, <<"done">>, 2}, message()),
    [?assertEqual({terminate, normal}, message()) || Processes =:= per_connection],
    ok = sockeye:stop(Server),
    [?assertEqual({terminate, shutdown}, message()) || _ <- lists:seq(1, Inits)].

only_the_required_callbacks_test_() ->
    [fun() ->
             with_server(#{handler => {bare_handler, []}, processes => Processes}, fun(Port, _) ->
                 Socket = ws_client:connect(Port),
                 ok = ws_client:text(Socket, <<"[1,2]">>),
                 ?assertEqual({text, <<"[1,2]">>}, ws_client:recv(Socket)),
                 ok = ws_client:close(Socket, 1000, <<>>),
                 ?assertEqual({1000, <<>>}, ws_client:recv_close(Socket))
             end)
     end || Processes <- [one, 2, per_connection]].

commands_keep_their_order_test() ->
    Frame = fun({json, _}, Conn, S) ->
                    {[{reply, {text, <<"1">>}}, {send, Conn, {text, <<"2">>}},
                      {broadcast, {text, <<"3">>}}, {reply, [{text, <<"4">>}, {text, <<"5">>}]},
                      {broadcast_from, {text, <<"not here">>}}, {reply, {ping, <<"6">>}},
                      {close, Conn, 4000, <<"7">>}], S}
            end,
    with_handler(#{frame => Frame}, fun(Port, _) ->
        Other = ws_client:connect(Port),
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"1">>),
        [?assertEqual({text, T}, ws_client:recv(Socket))
         || T <- [<<"1">>, <<"2">>, <<"3">>, <<"4">>, <<"5">>]],
        ?assertEqual({ping, <<"6">>}, ws_client:recv(Socket)),
        ?assertEqual({close, 4000, <<"7">>}, ws_client:recv(Socket)),
        ?assertEqual({text, <<"3">>}, ws_client:recv(Other)),
        ?assertEqual({text, <<"not here">>}, ws_client:recv(Other))
    end).

commands_from_every_callback_test() ->
    Self = self(),
    Funs = #{open => fun(_, _, S) -> {[{reply, {text, <<"hello">>}}], S} end,
             info => fun({to, Conn}, S) -> {[{send, Conn, {text, <<"info">>}}], S};
                        (all, S) -> {[{broadcast, {text, <<"all">>}}], S}
                     end,
             frame => fun(_, Conn, S) -> Self ! {self(), Conn}, {[], S} end,
             close => fun(_, _, _, S) -> {[{broadcast, {text, <<"left">>}}], S} end},
    with_handler(Funs, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ?assertEqual({text, <<"hello">>}, ws_client:recv(Socket)),
        ok = ws_client:text(Socket, <<"1">>),
        {Handler, Conn} = message(),
        Handler ! {to, Conn},
        ?assertEqual({text, <<"info">>}, ws_client:recv(Socket)),
        Handler ! all,
        ?assertEqual({text, <<"all">>}, ws_client:recv(Socket)),
        ws_client:drop(ws_client:connect(Port)),
        ?assertEqual({text, <<"left">>}, ws_client:recv(Socket))
    end).

close_command_test() ->
    Frame = fun(_, _, S) -> {[{close, 4999, <<"no">>}], S} end,
    with_handler(#{frame => Frame}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({4999, <<"no">>}, ws_client:recv_close(Socket))
    end).

%% The handler is told which command failed; the others are carried out.
failed_commands_test() ->
    Self = self(),
    Funs = #{open => fun(Conn, _, S) -> Self ! Conn, {[], S} end,
             frame => fun({json, <<"bad">>}, _, S) -> {[{reply, {json, Self}},
                                                       {reply, {text, <<255>>}},
                                                       {reply, {text, <<"good">>}}], S};
                         ({json, <<"bad broadcast">>}, _, S) -> {[{broadcast, {json, Self}}], S}
                      end,
             info => fun({to, Conn}, S) -> {[{send, Conn, #{}}], S} end,
             error => fun(Error, Conn, S) -> Self ! {self(), Error, Conn}, {[], S} end},
    with_handler(Funs, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        Conn = message(),
        ok = ws_client:text(Socket, <<"\"bad\"">>),
        {Handler, {{send, Conn, {json, Self}}, {not_json, Self, <<"$">>}}, Conn} = message(),
        ?assertEqual({Handler, {{send, Conn, {text, <<255>>}}, not_utf8}, Conn}, message()),
        ?assertEqual({text, <<"good">>}, ws_client:recv(Socket)),
        ok = ws_client:text(Socket, <<"\"bad broadcast\"">>),
        ?assertEqual({Handler, {{broadcast, {json, Self}}, {not_json, Self, <<"$">>}}, none}, message()),
        Gone = ws_client:connect(Port),
        GoneConn = message(),
        ok = sockeye:close(GoneConn),
        _ = ws_client:recv_close(Gone),
        Handler ! {to, GoneConn},
        ?assertEqual({Handler, {{send, GoneConn, #{}}, closed}, GoneConn}, message())
    end).

a_pool_spreads_and_keeps_order_test() ->
    with_server(#{handler => {bare_handler, []}, processes => 4}, fun(Port, _) ->
        Sockets = [ws_client:connect(Port) || _ <- lists:seq(1, 40)],
        Pids = [begin
                    ok = ws_client:text(Socket, <<"\"pid\"">>),
                    Pid = ws_client:recv_data(Socket),
                    ok = ws_client:text(Socket, <<"\"pid\"">>),
                    ?assertEqual(Pid, ws_client:recv_data(Socket)),
                    Pid
                end || Socket <- Sockets],
        ?assertEqual(4, length(lists:usort(Pids)))
    end).

%% Two servers that get connections alternately: each of them uses all its processes.
two_pools_spread_test() ->
    with_server(#{handler => {bare_handler, []}, processes => 4}, fun(Port, _) ->
        with_server(#{handler => {bare_handler, []}}, fun(Other, _) ->
            Sockets = [begin _ = ws_client:connect(Other), ws_client:connect(Port) end || _ <- lists:seq(1, 8)],
            Pids = [begin ok = ws_client:text(Socket, <<"\"pid\"">>), ws_client:recv_data(Socket) end || Socket <- Sockets],
            ?assertEqual(4, length(lists:usort(Pids)))
        end)
    end).

one_process_per_connection_test() ->
    with_server(#{handler => {bare_handler, []}, processes => per_connection}, fun(Port, _) ->
        Sockets = [ws_client:connect(Port) || _ <- lists:seq(1, 20)],
        Pids = [begin
                    ok = ws_client:text(Socket, <<"\"pid\"">>),
                    list_to_pid(binary_to_list(json_string(ws_client:recv_data(Socket))))
                end || Socket <- Sockets],
        ?assertEqual(20, length(lists:usort(Pids))),
        [ws_client:drop(Socket) || Socket <- Sockets],
        [?assert(lists:member(test_support:down(Pid), [normal, noproc])) || Pid <- Pids]
    end).

json_string(Text) ->
    binary:part(Text, 1, byte_size(Text) - 2).

a_crash_costs_its_own_connections_only_test() ->
    quiet(fun() ->
        with_server(#{handler => {bare_handler, []}, processes => 2}, fun(Port, _) ->
            Sockets = [ws_client:connect(Port) || _ <- lists:seq(1, 8)],
            With = [begin
                        ok = ws_client:text(Socket, <<"\"pid\"">>),
                        {ws_client:recv_data(Socket), Socket}
                    end || Socket <- Sockets],
            [{Doomed, First} | _] = With,
            ok = ws_client:text(First, <<"\"crash\"">>),
            [case Pid of
                 Doomed ->
                     ?assertMatch({1011, _}, ws_client:recv_close(Socket));
                 _ ->
                     ok = ws_client:text(Socket, <<"1">>),
                     ?assertEqual({text, <<"1">>}, ws_client:recv(Socket))
             end || {Pid, Socket} <- With],
            %% It is back, and the pool is whole again.
            ?assertEqual(ok, echo_twice(Port))
        end)
    end).

echo_twice(Port) ->
    Sockets = [ws_client:connect(Port), ws_client:connect(Port)],
    lists:foreach(fun(Socket) ->
                          ok = ws_client:text(Socket, <<"2">>),
                          {text, <<"2">>} = ws_client:recv(Socket)
                  end, Sockets).

a_crash_of_one_connection_test() ->
    quiet(fun() ->
        with_server(#{handler => {bare_handler, []}, processes => per_connection}, fun(Port, _) ->
            Doomed = ws_client:connect(Port),
            Other = ws_client:connect(Port),
            ok = ws_client:text(Doomed, <<"\"crash\"">>),
            ?assertMatch({1011, _}, ws_client:recv_close(Doomed)),
            ok = ws_client:text(Other, <<"1">>),
            ?assertEqual({text, <<"1">>}, ws_client:recv(Other))
        end)
    end).

%% The frames before the one that crashes are answered.
replies_before_a_crash_go_out_test() ->
    quiet(fun() ->
        with_server(#{handler => {bare_handler, []}}, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            ok = ws_client:raw(Socket, [ws_client:encode(1, Text)
                                        || Text <- [<<"1">>, <<"2">>, <<"\"crash\"">>]]),
            ?assertEqual({text, <<"1">>}, ws_client:recv(Socket)),
            ?assertEqual({text, <<"2">>}, ws_client:recv(Socket)),
            ?assertMatch({1011, _}, ws_client:recv_close(Socket))
        end)
    end).

crash_after_crash_never_ends_the_server_test_() ->
    {timeout, 60, fun() ->
        quiet(fun() ->
            with_server(#{handler => {bare_handler, []}}, fun(Port, Server) ->
                [crash(Port) || _ <- lists:seq(1, 8)],
                ?assert(is_process_alive(Server)),
                ?assertEqual(ok, try_echo(Port))
            end)
        end)
    end}.

%% While the handler is down a client may be turned away: it tries again.
crash(Port) ->
    Socket = ws_client:connect(Port),
    ok = ws_client:text(Socket, <<"\"crash\"">>),
    case ws_client:recv_close(Socket) of
        {1011, _} -> ok;
        closed -> ok
    end.

try_echo(Port) ->
    Socket = ws_client:connect(Port),
    _ = ws_client:text(Socket, <<"1">>),
    case ws_client:recv(Socket) of
        {text, <<"1">>} -> ok;
        {close, 1011, _} -> try_echo(Port);
        closed -> try_echo(Port)
    end.

terminate_sees_the_state_of_the_crash_test() ->
    Self = self(),
    Funs = #{init => fun() -> {ok, 0} end,
             frame => fun({json, <<"crash">>}, _, _) -> error(on_request);
                         (_, _, S) -> {[], S + 1}
                      end,
             terminate => fun({on_request, _}, S) -> Self ! {terminated, S} end},
    quiet(fun() ->
        with_handler(Funs, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            ok = ws_client:raw(Socket, [ws_client:encode(1, Text)
                                        || Text <- [<<"1">>, <<"2">>, <<"\"crash\"">>]]),
            ?assertEqual({terminated, 2}, message())
        end)
    end).

bad_results_test() ->
    Self = self(),
    Funs = #{frame => fun(_, _, _) -> nonsense end,
             terminate => fun(Reason, _) -> Self ! {down, Reason} end},
    quiet(fun() ->
        with_handler(Funs, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            ok = ws_client:text(Socket, <<"1">>),
            ?assertEqual({down, {bad_return_value, nonsense}}, message()),
            ?assertMatch({1011, _}, ws_client:recv_close(Socket))
        end)
    end).

stop_in_order_test() ->
    Self = self(),
    Funs = #{frame => fun(_, _, S) -> {stop, normal, S} end,
             terminate => fun(Reason, _) -> Self ! {down, Reason} end},
    with_handler(Funs, #{processes => per_connection}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({down, normal}, message()),
        ?assertEqual({1000, <<>>}, ws_client:recv_close(Socket))
    end),
    %% The process of many connections is started again.
    with_handler(Funs, fun(Port, _) ->
        [begin
             Socket = ws_client:connect(Port),
             ok = ws_client:text(Socket, <<"1">>),
             ?assertEqual({down, normal}, message()),
             ?assertMatch({1011, _}, ws_client:recv_close(Socket))
         end || _ <- [1, 2]]
    end).

hibernate_test_() ->
    [fun() ->
             Self = self(),
             Funs = #{frame => fun(_, _, S) -> Self ! self(), {[{reply, #{}}], S, hibernate} end},
             with_handler(Funs, #{processes => Processes}, fun(Port, _) ->
                 Socket = ws_client:connect(Port),
                 [begin
                      ok = ws_client:text(Socket, <<"1">>),
                      Handler = message(),
                      ?assertEqual({text, <<"{}">>}, ws_client:recv(Socket)),
                      ?assertEqual(ok, hibernates(Handler))
                  end || _ <- [1, 2]]
             end)
     end || Processes <- [one, per_connection]].

%% It is on its way there: the reply goes out first.
hibernates(Pid) ->
    case process_info(Pid, current_function) of
        {current_function, {erlang, hibernate, 3}} -> ok;
        {current_function, {gen_server, loop_hibernate, _}} -> ok;
        {current_function, _} -> erlang:yield(), hibernates(Pid)
    end.

init_errors_test() ->
    [?assertEqual({error, Reason},
                  sockeye:start_link(#{port => 0, handler => {fun_handler, #{init => Init}},
                                       processes => Processes}))
     || Processes <- [one, 3],
        {Init, Reason} <- [{fun() -> {stop, no_database} end, no_database},
                           {fun() -> nonsense end, {bad_return_value, nonsense}}]],
    quiet(fun() ->
        ?assertMatch({error, {oops, _}},
                     sockeye:start_link(#{port => 0,
                                          handler => {fun_handler,
                                                      #{init => fun() -> error(oops) end}}}))
    end),
    receive Message -> error({left_behind, Message})
    after 0 -> ok
    end.

an_init_that_fails_for_one_connection_test() ->
    quiet(fun() ->
        with_handler(#{init => fun() -> {stop, no} end}, #{processes => per_connection},
                     fun(Port, Server) ->
            Socket = ws_client:connect(Port),
            ?assertMatch({1011, _}, ws_client:recv_close(Socket)),
            ?assert(is_process_alive(Server))
        end)
    end).

an_init_that_takes_long_keeps_the_others_going_test() ->
    Self = self(),
    Init = fun() ->
                   Self ! self(),
                   receive go -> {ok, undefined} end
           end,
    with_handler(#{init => Init, frame => echo()}, #{processes => per_connection}, fun(Port, _) ->
        Slow = ws_client:connect(Port),
        SlowHandler = message(),
        ok = ws_client:text(Slow, <<"1">>),
        Quick = ws_client:connect(Port),
        message() ! go,
        ok = ws_client:text(Quick, <<"2">>),
        ?assertEqual({text, <<"2">>}, ws_client:recv(Quick)),
        SlowHandler ! go,
        ?assertEqual({text, <<"1">>}, ws_client:recv(Slow))
    end).

stop_lets_handlers_close_test_() ->
    [fun() ->
             Self = self(),
             Funs = #{open => fun(_, _, S) -> Self ! open, {[], S} end,
                      close => fun(_, Code, _, S) -> Self ! {closed, Code}, {[], S} end},
             with_handler(Funs, #{processes => Processes}, fun(Port, Server) ->
                 [begin
                      Socket = ws_client:connect(Port),
                      open = message(),
                      spawn_link(fun() -> Self ! {client, ws_client:recv(Socket)},
                                          ws_client:close(Socket, 1001, <<>>)
                                 end)
                  end || _ <- lists:seq(1, 5)],
                 ok = sockeye:stop(Server),
                 Got = [message() || _ <- lists:seq(1, 10)],
                 ?assertEqual(5, length([C || {closed, _} = C <- Got])),
                 ?assertEqual(5, length([C || {client, {close, 1001, _}} = C <- Got]))
             end)
     end || Processes <- [one, 2, per_connection]].

%% A command for what is no connection is one that fails, also where that is logged.
no_connection_is_logged_test() ->
    {ok, Handler} = logger:get_handler_config(default),
    ok = logger:remove_handler(default),
    try
        ?assert(logger:allow(error, sockeye_log)),
        [with_handler(#{frame => fun(_, _, S) -> {[Command, {reply, #{ok => true}}], S} end}, fun(Port, _) ->
             Socket = ws_client:connect(Port),
             [begin ok = ws_client:text(Socket, "1"), ?assertEqual({Command, {text, <<"{\"ok\":true}">>}}, {Command, ws_client:recv(Socket)}) end || _ <- [1, 2]]
         end) || To <- [nonsense, {sockeye_conn, nonsense}, {sockeye_conn, -1}, {sockeye_conn, 1, 2}],
                 Command <- [{send, To, #{}}, {close, To, 1000, <<>>}, {subscribe, To, <<"a">>}]]
    after ok = logger:add_handler(default, maps:get(module, Handler), maps:remove(id, Handler))
    end.
