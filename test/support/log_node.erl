%% Runs in a node of its own whose logger nobody has touched, and brings about what is logged.
-module(log_node).

-export([run/1]).

%% What was logged is written when this returns.
run(Names) ->
    {ok, _} = application:ensure_all_started(sockeye),
    lists:foreach(fun(Name) -> event(Name) end, Names),
    ok = logger_std_h:filesync(default).

with_server(Options, Test) ->
    {ok, Server} = sockeye:start_link(maps:merge(#{port => 0, name => chat}, Options)),
    {ok, #{port := Port}} = sockeye:info(Server),
    Result = Test(Port),
    ok = sockeye:stop(Server),
    Result.

event(server) ->
    with_server(#{handler => {bare_handler, []}}, fun(_) -> ok end);
event(server_without_name) ->
    {ok, _} = application:ensure_all_started(public_key),
    {ok, Server} = sockeye:start_link(#{port => 0, tls => test_certs:localhost()}),
    ok = sockeye:stop(Server);
event(certificates) ->
    {ok, _} = application:ensure_all_started(public_key),
    Authority = test_certs:authority("log"),
    Of = fun(Hosts, Validity) ->
                 #{server := Config} = test_certs:issue(Authority, Hosts, [{validity, Validity}]),
                 Config
         end,
    Old = Of(["a.example", "b.example"], {{2001, 1, 1}, {2002, 2, 3}}),
    Early = Of(["c.example"], {{2990, 1, 1}, {2991, 2, 3}}),
    test_certs:in_folder(fun(File) ->
        ok = file:write_file(File("cert.pem"), test_certs:pem(test_certs:der(Early))),
        ok = file:write_file(File("key.pem"), test_certs:key_pem(Early)),
        Tls = (test_certs:identity(Old))#{sni_hosts => [{"c.example", #{certfile => File("cert.pem"), keyfile => File("key.pem")}}]},
        with_server(#{tls => Tls}, fun(_) ->
            ok = file:write_file(File("cert.pem"), test_certs:pem([test_certs:der(Early), test_certs:der(Old)])),
            ok = sockeye:reload_tls(chat)
        end)
    end),
    {error, _} = sockeye_client:connect("wss://127.0.0.1:1", #{tls => test_certs:identity(Old)});
event(unix_server) ->
    {ok, Server} = sockeye:start_link(#{ip => {local, <<0, "sockeye-log-", (list_to_binary(os:getpid()))/binary>>}}),
    ok = sockeye:stop(Server);
event(accept) ->
    Accept = fun(#{path := <<"/crash">>}) -> error(on_request);
                (#{path := <<"/link">>}) -> spawn_link(fun() -> exit(on_request) end), timer:sleep(infinity);
                (#{path := <<"/slow">>}) -> timer:sleep(infinity);
                (#{path := <<"/wrong">>}) -> yes
             end,
    with_server(#{handler => {accept_handler, #{accept => Accept}}, accept_timeout => 300},
                fun(Port) -> [ws_ask:status(Port, #{path => Path})
                              || Path <- ["/crash", "/link", "/slow", "/wrong"]] end),
    with_server(#{accept => Accept}, fun(Port) -> ws_ask:status(Port, #{path => "/crash"}) end);
event(http) ->
    Fun = fun(#{path := <<"/h/crash">>}) -> error(on_request);
             (#{path := <<"/h/slow">>}) -> timer:sleep(infinity);
             (#{path := <<"/h/wrong">>}) -> yes
          end,
    with_server(#{http => #{"/h/*" => Fun}, accept_timeout => 300},
                fun(Port) -> [http_client:get(Port, Path)
                              || Path <- ["/h/crash", "/h/slow", "/h/wrong"]] end);
event(of_the_engine) ->
    whereis(sockeye_engine) ! {sockeye_event, panic, #{message => <<"panicked at shard.rs:1">>}},
    _ = sys:get_state(sockeye_engine, 60000),
    with_server(#{}, fun(_) ->
                             chat ! {sockeye_event, accept_error, #{reason => <<"Too many open files">>}},
                             sys:get_state(chat, 60000)
                     end);
%% Where failing_clock.c is preloaded. It costs the process that calls, and nobody else.
event(panic_in_call) ->
    process_flag(trap_exit, true),
    File = os:getenv("FAILING_CLOCK"),
    Fails = fun(Call) ->
                    ok = file:write_file(File, ""),
                    Result = Call(),
                    ok = file:delete(File),
                    Result
            end,
    _ = erlang:trace(whereis(sockeye_engine), true, ['receive']),
    with_server(#{handler => {bare_handler, []}}, fun(Port) ->
        Socket = ws_client:connect(Port),
        {error, {nif_panicked, _}} = Fails(fun() -> sockeye:start_link(0) end),
        ok = ws_client:text(Socket, <<"\"pid\"">>),
        {text, _} = ws_client:recv(Socket)
    end),
    %% Told by a thread, in its own time.
    receive {trace, Engine, 'receive', {sockeye_event, panic_in_call, _}} -> sys:get_state(Engine, 60000) end;
event(message) ->
    with_server(#{handler => {bare_handler, []}}, fun(Port) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"\"pid\"">>),
        Pid = list_to_pid(binary_to_list(string:trim(ws_client:recv_data(Socket), both, "\""))),
        Pid ! hello,
        _ = sys:get_status(Pid)
    end);
event(client) ->
    %% Nobody listens there yet.
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Url = "ws://user:secret@127.0.0.1:" ++ integer_to_list(Port) ++ "/feed",
    {ok, Client} = sockeye_client:start_link(Url, self(), #{name => feed, reconnect =>
                                                                #{initial_interval => 1, max_interval => 50, send_when_down => keep}}),
    receive {sockeye_client, Client, {down, econnrefused}} -> ok end,
    ok = sockeye_client:send(Client, {json, self()}),
    {ok, Server} = sockeye:start_link(#{port => Port, handler => {bare_handler, []}}),
    receive {sockeye, _, {open, _}} -> ok end,
    _ = sys:get_state(Client, 60000),
    ok = sockeye_client:stop(Client),
    ok = sockeye:stop(Server);
event(commands) ->
    Commands = fun({json, <<"reply">>}, Conn, _) -> [{reply, <<"hi">>}, {reply, {txt, <<"x">>}}, {send, Conn, {text, <<"ok">>}}];
                  ({json, <<"close">>}, _, _) -> [{close, 1005, <<>>}, {reply, {text, <<"ok">>}}];
                  ({json, <<"topic">>}, _, _) -> [{subscribe, "abc"}, {reply, {text, <<"ok">>}}];
                  ({json, <<"busy">>}, Conn, _) -> [{reply, {binary, <<0:800>>}}, {reply, {binary, <<0:800>>}},
                                                    {reply, {binary, <<0:800>>}}, {active, Conn}]
               end,
    Frame = fun(F, Conn, S) -> {Commands(F, Conn, S), S} end,
    Funs = #{open => fun(_, _, S) -> {[{reply, {txt, open}}], S} end, frame => Frame},
    with_server(#{handler => {plain_handler, Funs}, send_queue_size => 150}, fun(Port) ->
        Socket = ws_client:connect(Port, #{path => "/x"}),
        [begin
             ok = ws_client:text(Socket, [$", Word, $"]),
             {text, <<"ok">>} = ws_client:recv(Socket)
         end || Word <- ["reply", "close", "topic"]],
        ok = ws_client:text(Socket, <<"\"busy\"">>),
        {binary, _} = ws_client:recv(Socket)
    end);
%% A handler that crashes, as those see it who monitor its process.
event({crash, At, Processes}) ->
    Watch = start_watch(),
    process_flag(trap_exit, true),
    Options = #{port => 0, name => chat, handler => {crash_handler, At}, processes => Processes},
    case sockeye:start_link(Options) of
        {ok, Server} ->
            Handler = handler_of(Processes, none),
            {ok, #{port := Port}} = sockeye:info(Server),
            Socket = ws_client:connect(Port, #{path => "/x"}),
            crash(At, Socket, Server, handler_of(Processes, Handler)),
            _ = sockeye:stop(Server);
        {error, Reason} ->
            seen(Reason)
    end,
    Watch ! stop,
    receive {'EXIT', _, _} -> ok after 0 -> ok end;
event({crash_of_client, At}) ->
    Watch = start_watch(),
    process_flag(trap_exit, true),
    {ok, Server} = sockeye:start_link(#{port => 0, handler => {bare_handler, []}}),
    {ok, #{port := Port}} = sockeye:info(Server),
    Url = "ws://127.0.0.1:" ++ integer_to_list(Port) ++ "/feed",
    {ok, Client} = sockeye_client:start_link(Url, {crash_handler, At}, #{name => feed, reconnect => true}),
    receive {handler, Handler} -> ok end,
    case At of
        handle_info -> Handler ! hello;
        handle_open -> ok;
        handle_down -> [sockeye:close(Conn) || Conn <- conns(Server)]
    end,
    receive {'EXIT', Client, Reason} -> seen(Reason) end,
    ok = sockeye:stop(Server),
    Watch ! stop;
%% The engine takes its servers and clients along.
event(engine_killed) ->
    process_flag(trap_exit, true),
    {ok, Server} = sockeye:start_link(#{port => 0, name => chat, handler => {bare_handler, []}}),
    {ok, #{port := Port}} = sockeye:info(Server),
    {ok, Client} = sockeye_client:start_link("ws://127.0.0.1:" ++ integer_to_list(Port), {bare_handler, []},
                                             #{name => feed, reconnect => true}),
    Engine = whereis(sockeye_engine),
    exit(Engine, kill),
    [receive {'EXIT', Pid, Reason} -> seen(Reason) end || Pid <- [Server, Client]],
    %% Its supervisor has said so by then.
    ok = census:another_engine(Engine);
%% What only a broken engine or a full node brings about.
event(stubbed) ->
    Server = #{server => self(), name => chat, address => {{127, 0, 0, 1}, 80}},
    Conn = #{conn => {sockeye_conn, 77}, peer => {{127, 0, 0, 1}, 5000}, path => <<"/x">>},
    sockeye_log:always(warning, server_stop_timeout, Server#{timeout => 8000}),
    sockeye_log:always(warning, client_stop_timeout,
                       #{client => self(), url => <<"ws://example.com/">>, timeout => 8000}),
    sockeye_log:event(warning, 0, no_descriptor, Server#{max_descriptor => 1000}),
    sockeye_log:event(warning, 0, upstream_failed, Server#{upstream => <<"127.0.0.1:4000">>, reason => <<"closed the connection without an answer">>}),
    sockeye_log:event(notice, 0, upstream_answers, Server#{upstream => <<"127.0.0.1:4000">>}),
    sockeye_log:event(error, 0, no_process, Server#{reason => system_limit}),
    sockeye_log:event(error, 0, worker_not_started,
                      maps:merge(Server, Conn#{module => room, reason => system_limit})).

conns(Server) ->
    case sockeye:connections(Server) of
        {ok, []} -> conns(Server);
        {ok, Conns} -> Conns
    end.

%% With a process for each connection there is one once there is a connection.
handler_of(per_connection, none) -> none;
handler_of(_, none) -> receive {handler, Pid} -> Pid end;
handler_of(_, Pid) -> Pid.

%% Sees each handler process end, however soon it does.
start_watch() ->
    Self = self(),
    Watch = spawn(fun() -> true = register(crash_watch, self()), Self ! {self(), registered}, watch(Self) end),
    receive {Watch, registered} -> Watch end.

watch(To) ->
    receive
        {handler, Pid} ->
            _ = monitor(process, Pid),
            Pid ! watched,
            To ! {handler, Pid},
            watch(To);
        {'DOWN', _, process, Pid, Reason} ->
            To ! {down, Pid, Reason},
            watch(To);
        stop ->
            unregister(crash_watch)
    end.

crash(At, Socket, Server, Before) ->
    Handler = case Before of
                  none -> receive {handler, Pid} -> Pid end;
                  _ -> Before
              end,
    case At of
        init -> ok;
        handle_open -> ok;
        handle_frame -> ws_client:text(Socket, <<"{\"a\":\"frame\"}">>);
        handle_close -> ws_client:drop(Socket);
        handle_info -> Handler ! hello;
        handle_error -> ws_client:text(Socket, <<"\"bad\"">>);
        terminate -> sockeye:stop(Server);
        Command -> ws_client:text(Socket, [$", atom_to_list(Command), $"])
    end,
    receive {down, Handler, Reason} -> seen(Reason) end.

seen({Reason, [{_, _, _, _} | _]}) -> io:format("SEEN ~0p~n", [{Reason, stack}]);
seen(Reason) -> io:format("SEEN ~0p~n", [Reason]).
