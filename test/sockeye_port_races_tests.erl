%% An engine's process that ends between two steps of what others do. In a node of its own.
-module(sockeye_port_races_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, event/1, url/1]).
-import(port_node, [until/1, logged/1, kill/0, another/1, listening/2]).

-define(TIMEOUT, 60000).

port_test_() ->
    port_node:tests(60, [{"a client dials once", fun dials_once/0},
                         {"an owner hears of its connection's end before its client's", fun closed_first/0},
                         {"a client that stops", fun stops/0},
                         {"a client that starts", fun client_starts/0},
                         {"a process subscribes to a server of a cluster", fun subscribes/0},
                         {"a server that asks its functions starts", fun asks/0},
                         {"a handler that ends with the application makes JSON", fun last_json/0},
                         {"without an engine it hears that there is none", fun no_json/0},
                         {"a start at that time waits for the end", fun starts_behind/0},
                         {"no engine for a start", fun none/0}]).

%% When there is another engine: not at once and at the end of the pause as well.
dials_once() ->
    with_server(#{}, fun(Port, Server) ->
        {ok, Client} = sockeye_client:start_link(url(Port), nobody(), #{reconnect => #{initial_interval => 300}}),
        _ = opened(),
        1 = erlang:trace_pattern({sockeye_backend, client_dial, 1}, [{'_', [], [{return_trace}]}], [local]),
        1 = erlang:trace(Client, true, ['receive', call]),
        Restarts = kill(),
        receive {trace, Client, 'receive', dial} -> ok after ?TIMEOUT -> error(no_pause) end,
        ok = another(Restarts),
        ok = listening(Server, Port),
        _ = opened(),
        %% The server may know of it before the client.
        until(fun() -> {ok, #{conn := Conn}} = sockeye_client:info(Client), Conn =/= none end),
        1 = erlang:trace(Client, false, [all]),
        _ = erlang:trace_pattern({sockeye_backend, client_dial, 1}, false, [local]),
        ?assertEqual([], [Dialled || {sockeye, _, {open, _}} = Dialled <- mailbox()]),
        ?assertMatch([_], [ok || {trace, _, return_from, {sockeye_backend, client_dial, 1}, ok} <- mailbox()]),
        test_support:flush(),
        ok = sockeye_client:stop(Client)
    end).

%% However late the process is that brings it.
closed_first() ->
    with_server(#{handler => nobody()}, fun(Port, _) ->
        {ok, Client} = sockeye_client:start_link(url(Port), self(), #{reconnect => true}),
        Conn = opened(),
        [Delivery] = sockeye_link:deliveries(self()),
        true = erlang:suspend_process(Delivery),
        Restarts = kill(),
        ok = another(Restarts),
        true = erlang:resume_process(Delivery),
        ?assertEqual({sockeye, Conn, {closed, 1006, <<"engine lost">>}}, test_support:message()),
        ?assertMatch({sockeye_client, Client, {down, {closed, 1006, _}}}, test_support:message()),
        ok = sockeye_client:stop(Client)
    end).

%% Nobody else is to answer: the engine that was to is gone.
stops() ->
    {ok, _} = application:ensure_all_started(sockeye),
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listener),
    Self = self(),
    _ = spawn_link(fun() -> peer(Listener, Self) end),
    Logged = logged(fun() ->
        {ok, Client} = sockeye_client:start_link(url(Port), self(), #{reconnect => true}),
        _ = opened(),
        {Stopping, Ref} = spawn_monitor(fun() -> ok = sockeye_client:stop(Client) end),
        receive close_frame -> ok after ?TIMEOUT -> error(no_close) end,
        Restarts = kill(),
        receive {'DOWN', Ref, process, Stopping, Reason} -> ?assertEqual(normal, Reason) after ?TIMEOUT -> error(hangs) end,
        ok = another(Restarts)
    end),
    ?assertEqual([], [Event || {client_stop_timeout, _} = Event <- Logged]),
    ok = gen_tcp:close(Listener).

%% It answers the handshake, and no Close frame.
peer(Listener, Test) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    {ok, Request} = gen_tcp:recv(Socket, 0),
    {match, [Key]} = re:run(Request, "(?i)sec-websocket-key: *([^\r]+)", [{capture, all_but_first, binary}]),
    Accept = base64:encode(crypto:hash(sha, <<Key/binary, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11">>)),
    ok = gen_tcp:send(Socket, ["HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Accept: ", Accept, "\r\n\r\n"]),
    {ok, <<16#88, _/binary>>} = gen_tcp:recv(Socket, 0),
    Test ! close_frame,
    {error, closed} = gen_tcp:recv(Socket, 0).

%% Its handler's process has just begun when the engine ends.
client_starts() ->
    with_server(#{}, fun(Port, Server) ->
        Init = fun() -> ok = another(kill()), {ok, []} end,
        Told = told_nothing(),
        ?assertEqual({error, not_running}, sockeye_client:start_link(url(Port), {fun_handler, #{init => Init}}, #{reconnect => true})),
        ok = Told(),
        ok = listening(Server, Port)
    end).

subscribes() ->
    with_server(#{scope => cluster, name => ?MODULE}, fun(Port, Server) ->
        Groups = whereis(sockeye_groups),
        Restarts = without_engine(fun() ->
            Before = kill(),
            until(fun() -> sockeye_link:run() =:= none end),
            ok = sockeye_pubsub:subscribe(Server, <<"news">>),
            Group = {?MODULE, processes, <<"news">>},
            until(fun() -> pg:get_local_members(sockeye_cluster:scope(), Group) =:= [whereis(sockeye_cluster)] end),
            ?assertEqual(Groups, whereis(sockeye_groups)),
            Before
        end),
        ok = another(Restarts),
        ok = listening(Server, Port)
    end).

%% Also where the engine is asked what an option means.
none() ->
    _ = application:stop(sockeye),
    Starts = [fun() -> sockeye:start_link(#{port => 0, http => #{"/" => fun(_) -> {200, [], <<>>} end}}) end,
              fun() -> sockeye_client:connect("ws://127.0.0.1:9/") end],
    without_engine(fun() ->
        [?assertMatch({error, {sockeye_port, <<"/nowhere">>, _}}, Start()) || Start <- Starts]
    end),
    {ok, _} = application:ensure_all_started(sockeye),
    Restarts = without_engine(fun() ->
        Before = kill(),
        until(fun() -> sockeye_link:run() =:= none end),
        Asked = [spawn_monitor(fun() -> exit({result, Start()}) end) || Start <- Starts],
        [receive {'DOWN', Ref, process, Pid, Result} -> ?assertEqual({result, {error, not_running}}, Result) after ?TIMEOUT -> error(hangs) end
         || {Pid, Ref} <- Asked],
        Before
    end),
    ok = another(Restarts).

without_engine(Test) ->
    Path = os:getenv("SOCKEYE_ENGINE_PATH"),
    true = os:putenv("SOCKEYE_ENGINE_PATH", "/nowhere"),
    try Test()
    after
        case Path of false -> os:unsetenv("SOCKEYE_ENGINE_PATH"); _ -> os:putenv("SOCKEYE_ENGINE_PATH", Path) end
    end.

%% The new engine knows nothing of it when it comes to its questions.
asks() ->
    {ok, _} = application:ensure_all_started(sockeye),
    _ = ets:new(?MODULE, [named_table, public]),
    Init = fun() ->
        %% A start that fails is tried again.
        ets:insert_new(?MODULE, {killed}) andalso (ok = another(kill())),
        {ok, []}
    end,
    Told = told_nothing(),
    {ok, Server} = sockeye:start_link(#{port => 0, handler => {fun_handler, #{init => Init}}, processes => 1,
                                        http => #{"/" => fun(_) -> {200, [], <<"here">>} end}}),
    ok = Told(),
    ok = until(fun() -> element(1, sockeye:info(Server)) =:= ok end),
    {ok, #{port := Port}} = sockeye:info(Server),
    ?assertEqual(1, ets:info(?MODULE, size)),
    Socket = http_client:connect(Port),
    ok = gen_tcp:send(Socket, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ?assertMatch({200, _, <<"here">>}, http_client:answer(Socket, "GET")),
    ok = gen_tcp:close(Socket),
    ok = sockeye:stop(Server),
    true = ets:delete(?MODULE).

last_json() ->
    ?assertEqual({ok, <<"[1]">>}, at_the_end(fun() -> sockeye_json:encode([1]) end)).

no_json() ->
    ?assertMatch({error, {sockeye_port, _, _}}, at_the_end(fun() ->
        exit(whereis(sockeye_link), kill),
        until(fun() -> sockeye_link:run() =:= none end),
        try sockeye_json:encode([1])
        catch error:Reason -> {error, Reason}
        end
    end)).

starts_behind() ->
    Self = self(),
    Starting = at_the_end(fun() ->
        exit(whereis(sockeye_link), kill),
        until(fun() -> sockeye_link:run() =:= none end),
        Pid = spawn(fun() ->
            Options = #{port => 0, handler => nobody(), http => #{"/" => fun(_) -> {200, [], <<>>} end}},
            Self ! {started, sockeye:start_link(Options)},
            receive stop -> ok end
        end),
        %% It has an answer, or waits for the application.
        until(fun() -> process_info(Pid, status) =:= {status, waiting} end),
        Pid
    end),
    receive {started, Result} -> ?assertMatch({ok, _}, Result) after ?TIMEOUT -> error(hangs) end,
    Starting ! stop.

%% What the function returns in a handler that ends when the engine has closed all connections.
at_the_end(Fun) ->
    {ok, _} = application:ensure_all_started(sockeye),
    {Self, Engine} = {self(), whereis(sockeye_engine)},
    Last = fun(_, _) ->
        until(fun() -> process_info(Engine, current_function) =:= {current_function, {sockeye_engine, await_hosts, 2}} end),
        Self ! {last, Fun()}
    end,
    {ok, Server} = sockeye:start_link(#{port => 0, handler => {fun_handler, #{terminate => Last}}, processes => 1}),
    true = unlink(Server),
    ok = application:stop(sockeye),
    receive {last, Result} -> Result after 0 -> was_killed end.

%% Of all servers and clients the next engine is told when the fun is called. The first row is of one that takes so long.
told_nothing() ->
    Host = spawn(fun() -> receive stop -> ok end end),
    Until = spawn(fun() -> receive stop -> ok end end),
    true = ets:insert(sockeye_port_restore, {{server, 0}, Host, listen, fun() -> down(Until), exit(Host, kill), #{id => 0} end}),
    fun() ->
        ok = sockeye_port_restore:forget(0),
        Until ! stop,
        ok
    end.

down(Pid) ->
    Ref = monitor(process, Pid),
    receive {'DOWN', Ref, process, Pid, _} -> ok end.

opened() ->
    receive {sockeye, Conn, {open, _}} -> Conn after ?TIMEOUT -> error(not_open) end.

%% An owner who takes no interest.
nobody() ->
    spawn_link(fun Loop() -> receive _ -> Loop() end end).

mailbox() ->
    {messages, Messages} = process_info(self(), messages),
    Messages.
