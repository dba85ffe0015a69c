%% Clients that connect again: what the handler hears, what is kept, when they give up.
-module(sockeye_client_reconnect_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [quiet/1, free_port/0, told/0, url/1, opened/0]).

-define(TIMEOUT, 60000).
-define(SOON, #{initial_interval => 1, max_interval => 20}).

%% A server on this port, whose owner is a process that passes on what it gets.
server(Port) ->
    {ok, Server} = sockeye:start_link(#{port => Port}),
    {Server, test_support:port(Server)}.

teller() ->
    Self = self(),
    Tell = fun(What, S) -> Self ! {told, What}, {[], S} end,
    #{open => fun(Conn, _, S) -> Tell({open, Conn}, S) end,
      frame => fun(Frame, _, S) -> Tell(Frame, S) end,
      close => fun(Conn, Code, _, S) -> Tell({close, Conn, Code}, S) end,
      down => fun(Reason, S) -> Tell({down, Reason}, S) end}.

%% Past attempts that failed.
told_open() ->
    case told() of
        {down, econnrefused} -> told_open();
        {open, Conn} -> Conn
    end.

start(Port, Handler, Reconnect) ->
    {ok, Client} = sockeye_client:start_link(url(Port), Handler, #{reconnect => maps:merge(?SOON, Reconnect)}),
    Client.

the_handler_sees_each_connection_test() ->
    {Server, Port} = server(0),
    Client = start(Port, {fun_handler, teller()}, #{}),
    There = opened(),
    First = told_open(),
    ok = sockeye:close(There, 4000, <<"again">>),
    ?assertEqual({close, First, 4000}, told()),
    ?assertEqual({down, {closed, 4000, <<"again">>}}, told()),
    Second = told_open(),
    ?assertNotEqual(First, Second),
    ?assertEqual({error, closed}, sockeye:send(First, #{})),
    ok = sockeye:send(Second, #{a => 1}),
    There2 = opened(),
    receive {sockeye, There2, {json, #{<<"a">> := 1}}} -> ok end,
    %% Its handler may know of it before the client.
    port_node:until(fun() -> {ok, #{conn := Conn}} = sockeye_client:info(Client), Conn =:= Second end),
    ?assertMatch({ok, #{accepted := 2, conn := Second, failed_attempts := 0}}, sockeye_client:info(Client)),
    ok = sockeye_client:stop(Client),
    ?assertEqual({close, Second, 1000}, told()),
    ok = sockeye:stop(Server),
    test_support:flush().

start_link_needs_no_server_test() ->
    Port = free_port(),
    Client = start(Port, self(), #{}),
    receive {sockeye_client, Client, {down, econnrefused}} -> ok end,
    ?assertEqual({error, down}, sockeye_client:conn(Client)),
    ?assertEqual({error, down}, sockeye_client:send(Client, #{})),
    {Server, Port} = server(Port),
    %% Both ends are this process's.
    {_, _} = {opened(), opened()},
    ok = sockeye_client:stop(Client),
    ok = sockeye:stop(Server),
    test_support:flush().

attempts_are_counted_test_() ->
    [fun() ->
             process_flag(trap_exit, true),
             Client = start(free_port(), {fun_handler, teller()}, #{max_attempts => N}),
             receive {'EXIT', Client, Reason} -> ?assertEqual({shutdown, econnrefused}, Reason)
             after ?TIMEOUT -> error(goes_on)
             end,
             %% The last one is not followed by another.
             [?assertEqual({down, econnrefused}, told()) || _ <- lists:seq(2, N)],
             receive {told, More} -> error({more, More}) after 0 -> ok end,
             process_flag(trap_exit, false)
     end || N <- [1, 2, 3]].

a_handler_may_give_up_test() ->
    process_flag(trap_exit, true),
    Handler = #{down => fun(econnrefused, S) -> {stop, {shutdown, enough}, S} end},
    Client = start(free_port(), {fun_handler, Handler}, #{}),
    receive {'EXIT', Client, Reason} -> ?assertEqual({shutdown, enough}, Reason)
    after ?TIMEOUT -> error(goes_on)
    end,
    process_flag(trap_exit, false).

closing_is_the_end_test() ->
    {Server, Port} = server(0),
    Client = start(Port, {fun_handler, teller()}, #{}),
    Monitor = monitor(process, Client),
    Conn = told_open(),
    ok = sockeye:close(Conn),
    ?assertEqual({close, Conn, 1000}, told()),
    receive {'DOWN', Monitor, process, _, Reason} -> ?assertEqual(normal, Reason) end,
    ok = sockeye:stop(Server),
    test_support:flush().

what_is_sent_meanwhile_is_kept_test() ->
    Port = free_port(),
    Hello = (teller())#{open => fun(_, _, S) -> {[{reply, {json, hello}}], S} end},
    Client = start(Port, {fun_handler, Hello}, #{send_when_down => keep}),
    [ok = sockeye_client:send(Client, {json, N}) || N <- lists:seq(1, 100)],
    ?assertMatch({ok, #{kept := Bytes}} when Bytes > 0, sockeye_client:info(Client)),
    {Server, Port} = server(Port),
    There = opened(),
    %% Behind what handle_open sends, in order, and with what comes later behind it.
    ok = sockeye_client:send(Client, {json, 101}),
    ?assertEqual([<<"hello">> | lists:seq(1, 101)], [json(There) || _ <- lists:seq(0, 101)]),
    ?assertMatch({ok, #{kept := 0}}, sockeye_client:info(Client)),
    ok = sockeye_client:stop(Client),
    ok = sockeye:stop(Server),
    test_support:flush().

json(Conn) ->
    receive {sockeye, Conn, {json, Term}} -> sockeye:setopts(Conn, [{active, 1}]), Term
    after ?TIMEOUT -> error({no_json, process_info(self(), messages)})
    end.

%% The frames of a server that never stops must not hold back what was kept, nor what others tell the handler.
kept_frames_are_sent_during_a_flood_test_() ->
    {timeout, 60, fun() ->
        Self = self(),
        Port = free_port(),
        %% It never catches up.
        Slow = fun(_, _, S) -> receive after 1 -> {[], S} end end,
        Open = fun(_, _, S) -> Self ! {opening, self()}, receive go -> {[], S} end end,
        Client = start(Port, {fun_handler, #{open => Open, frame => Slow}}, #{send_when_down => keep}),
        ok = sockeye_client:send(Client, {text, <<"\"kept\"">>}),
        Funs = #{open => fun(Conn, _, S) -> Self ! {flooder, spawn(fun() -> flood(Conn, Self) end)}, {[], S} end,
                 frame => fun({json, <<"kept">>}, _, S) -> Self ! kept, {[], S} end},
        {ok, Server} = sockeye:start_link(#{port => Port, handler => {fun_handler, Funs}}),
        Flooder = receive {flooder, F} -> F end,
        receive {full, Flooder} -> ok end,
        receive {opening, Handler} -> Handler ! go end,
        receive kept -> ok after ?TIMEOUT -> error(not_sent) end,
        ?assert(is_process_alive(Flooder)),
        exit(Flooder, kill),
        ok = sockeye_client:stop(Client),
        ok = sockeye:stop(Server),
        test_support:flush()
    end}.

%% Until it is killed, or nobody is there any more.
flood(Conn, To) ->
    %% Large enough that what lies between both is soon full, on a slow machine too.
    case sockeye:send(Conn, lists:duplicate(100, {json, binary:copy(<<"x">>, 500)})) of
        ok -> flood(Conn, To);
        {error, busy} ->
            _ = To =/= none andalso (To ! {full, self()}),
            receive after 1 -> flood(Conn, none) end;
        {error, closed} -> gone
    end.

%% Who has met connections that had just gone is not sent from one to the next without an end.
a_call_tries_two_closed_connections_at_most_test() ->
    {Server, Port} = server(0),
    Client = start(Port, self(), #{}),
    [_, _] = [opened() || _ <- [there, here]],
    ?assertEqual({error, down}, gen_server:call(Client, {send, {json, 1}, any})),
    ok = sockeye_client:stop(Client),
    Keeping = start(Port, self(), #{send_when_down => keep}),
    ?assertEqual(ok, gen_server:call(Keeping, {send, {json, 2}, any})),
    receive {sockeye, _, {json, 2}} -> ok after ?TIMEOUT -> error(not_sent) end,
    ok = sockeye_client:stop(Keeping),
    ok = sockeye:stop(Server),
    test_support:flush().

what_is_kept_is_bounded_test() ->
    Frame = {binary, <<0:(100 * 8)>>},
    Size = erlang:external_size(Frame),
    {ok, Client} = sockeye_client:start_link(url(free_port()), self(),
                                             #{reconnect => #{send_when_down => keep}, send_queue_size => 3 * Size - 1}),
    ok = sockeye_client:send(Client, Frame),
    ok = sockeye_client:send(Client, Frame),
    ?assertEqual({error, busy}, sockeye_client:send(Client, Frame)),
    ok = sockeye_client:stop(Client),
    {ok, Other} = sockeye_client:start_link(url(free_port()), self(),
                                            #{reconnect => #{send_when_down => keep}, send_queue_size => 3 * Size}),
    [ok = sockeye_client:send(Other, Frame) || _ <- [1, 2, 3]],
    ?assertEqual({error, busy}, sockeye_client:send(Other, Frame)),
    ok = sockeye_client:stop(Other),
    test_support:flush().

%% Everything that is sent after a reconnect arrives.
a_server_that_dies_fifty_times_test_() ->
    {timeout, 60, fun() ->
        Rounds = 50,
        Port = free_port(),
        Self = self(),
        Handler = #{open => fun(Conn, _, N) -> Self ! {up, N}, {[{send, Conn, {json, [N, M]}} || M <- [1, 2, 3]], N} end,
                    init => fun() -> {ok, 1} end,
                    close => fun(_, _, _, N) -> {[], N + 1} end},
        Client = start(Port, {fun_handler, Handler}, #{send_when_down => keep}),
        quiet(fun() ->
            [begin
                 Server = spawn_server(Port),
                 receive {up, N} -> ok after ?TIMEOUT -> error({not_up, N}) end,
                 There = opened(),
                 ok = sockeye_client:send(Client, {json, [N, 4]}),
                 ?assertEqual([[N, M] || M <- [1, 2, 3, 4]], [json(There) || _ <- [1, 2, 3, 4]]),
                 exit(Server, kill),
                 test_support:down(Server)
             end || N <- lists:seq(1, Rounds)]
        end),
        ?assertMatch({ok, #{accepted := Rounds}}, sockeye_client:info(Client)),
        ok = sockeye_client:stop(Client),
        test_support:flush()
    end}.

%% Not linked to this process, and its death frees the port in a moment.
spawn_server(Port) ->
    Self = self(),
    {Pid, _} = spawn_monitor(fun() ->
        {ok, Server} = start_server(Port, Self),
        Self ! {server, self(), Server},
        receive after infinity -> ok end
    end),
    receive {server, Pid, _} -> Pid end.

start_server(Port, Owner) ->
    hostile_client:until(fun() ->
        case sockeye:start_link(#{port => Port, handler => Owner}) of
            {ok, Server} -> put(server, Server), true;
            Error -> Error
        end
    end),
    {ok, erase(server)}.

