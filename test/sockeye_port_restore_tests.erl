%% What an engine that starts in the place of another is told. In a node of its own.
-module(sockeye_port_restore_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, open/1, event/1]).
-import(port_node, [until/1, logged/1, kill/0, another/1, listening/2]).

-define(TIMEOUT, 60000).

port_test_() ->
    port_node:tests(60, [{"certificates that were read again", fun reloaded/0},
                         {"certificates that an engine took before it ended", fun reloaded_between/0},
                         {"a server that drains ends, and nobody listens", fun draining/0},
                         {"a drain without an engine", fun drain_alone/0},
                         {"an answer to what the one before asked", fun late_answer/0},
                         {"descriptors of the VM", fun descriptors/0},
                         {"settings that the engine does not take", fun refused/0},
                         {"a server that starts meanwhile", fun meanwhile/0}]).

%% It is told, and tried again, for as long as the server is there.
refused() ->
    {ok, _} = application:ensure_all_started(sockeye),
    Server = spawn(fun() -> receive stop -> ok end end),
    Id = 1 bsl 40,
    ok = sockeye_port_restore:remember(Id, Server, listen, #{id => Id}),
    Logged = logged(fun() ->
        {Pid, Monitor} = spawn_monitor(sockeye_port_restore, run, [sockeye_link:run()]),
        until(fun() -> process_info(Pid, [current_function, status]) =:= [{current_function, {sockeye_port_restore, run, 2}}, {status, waiting}] end),
        ok = sockeye_port_restore:forget(Id),
        receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) after ?TIMEOUT -> error(runs_on) end
    end),
    Server ! stop,
    ?assertMatch([{not_listening, _}], Logged),
    [{_, Text}] = Logged,
    ?assertMatch({match, _}, re:run(Text, "does not listen since the engine has been started again, and tries again each second: badarg$")).

%% Who tells a new engine what there is does not listen for a server that is just doing so itself.
meanwhile() ->
    {ok, _} = application:ensure_all_started(sockeye),
    Teller = spawn_link(fun tell_again/0),
    [begin
         {ok, Server} = sockeye:start_link(#{port => 0, handler => self()}),
         ok = sockeye:stop(Server)
     end || _ <- lists:seq(1, 200)],
    unlink(Teller),
    exit(Teller, kill).

tell_again() ->
    {Pid, Monitor} = spawn_monitor(sockeye_port_restore, run, [sockeye_link:run()]),
    receive {'DOWN', Monitor, process, Pid, _} -> ok after 1 -> exit(Pid, kill), demonitor(Monitor, [flush]) end,
    tell_again().

reloaded() ->
    with_new_certificate(fun(Port, Server, New) ->
        ok = sockeye:reload_tls(Server),
        ?assertEqual(New, certificate(Port)),
        ok = killed(),
        ok = listening(Server, Port),
        ?assertEqual(New, certificate(Port))
    end).

%% The next engine listens before the server has read what the one before answered.
reloaded_between() ->
    with_new_certificate(fun(Port, Server, New) ->
        {ok, #{os_pid := OsPid}} = sockeye:info(),
        ok = port_node:signal("STOP", OsPid),
        {Pid, Monitor} = spawn_monitor(fun() -> exit(sockeye:reload_tls(Server)) end),
        until(fun() -> process_info(Server, [current_function, status]) =:= [{current_function, {sockeye_port_call, call_as, 3}}, {status, waiting}] end),
        {message_queue_len, Before} = process_info(Server, message_queue_len),
        true = erlang:suspend_process(Server),
        ok = port_node:signal("CONT", OsPid),
        until(fun() -> {_, Now} = process_info(Server, message_queue_len), Now > Before end),
        ok = port_node:signal("KILL", OsPid),
        until(fun() -> case gen_tcp:connect({127, 0, 0, 1}, Port, []) of
                           {ok, Socket} -> sockeye_link:facts() =/= none andalso map_get(os_pid, sockeye_link:facts()) =/= OsPid
                                               andalso ok =:= gen_tcp:close(Socket);
                           Error -> Error
                       end
              end),
        true = erlang:resume_process(Server),
        receive {'DOWN', Monitor, process, Pid, Answer} -> ?assertEqual(ok, Answer) end,
        ?assertEqual(New, certificate(Port))
    end).

%% The test gets a server whose files have just been written anew.
with_new_certificate(Test) ->
    {ok, _} = application:ensure_all_started(ssl),
    Authority = test_certs:authority("authority"),
    [#{server := Old}, #{server := New}] = [test_certs:issue(Authority, [Host]) || Host <- ["old", "new"]],
    test_certs:in_folder(fun(File) ->
        ok = written(File, Old),
        with_server(#{tls => #{certfile => File("cert.pem"), keyfile => File("key.pem")}}, fun(Port, Server) ->
            ?assertEqual(test_certs:der(Old), certificate(Port)),
            ok = written(File, New),
            Test(Port, Server, test_certs:der(New))
        end)
    end).

written(File, Config) ->
    ok = file:write_file(File("cert.pem"), test_certs:pem(test_certs:der(Config))),
    ok = file:write_file(File("key.pem"), test_certs:key_pem(Config)).

certificate(Port) ->
    {ok, Socket} = ssl:connect("127.0.0.1", Port, [{verify, verify_none}, {log_level, none}], ?TIMEOUT),
    {ok, Der} = ssl:peercert(Socket),
    ok = ssl:close(Socket),
    Der.

draining() ->
    with_server(#{close_timeout => infinity}, fun(Port, Server) ->
        {_, Conn} = open(Port),
        Ref = monitor(process, Server),
        %% Nobody answers the Close frame, so it takes until the end of the engine.
        Drains = spawn_monitor(fun() -> exit(sockeye:drain(Server, #{deadline => infinity})) end),
        until(fun() -> gen_tcp:connect({127, 0, 0, 1}, Port, []) =:= {error, econnrefused} end),
        ok = killed(),
        ?assertMatch({closed, 1006, _}, event(Conn)),
        receive {'DOWN', Ref, process, _, Reason} -> ?assertEqual(normal, Reason) end,
        {Pid, Monitor} = Drains,
        receive {'DOWN', Monitor, process, Pid, Answer} -> ?assertMatch({ok, #{unanswered := 1}}, Answer) end,
        until(fun() -> is_tuple(sockeye:info()) andalso element(1, sockeye:info()) =:= ok end),
        ?assertEqual({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, Port, []))
    end).

drain_alone() ->
    with_server(#{}, fun(_, Server) ->
        Ref = monitor(process, Server),
        {ok, #{os_pid := OsPid}} = sockeye:info(),
        ok = port_node:signal("STOP", OsPid),
        Drains = spawn_monitor(fun() -> exit(sockeye:drain(Server, #{})) end),
        ok = port_node:signal("KILL", OsPid),
        receive {'DOWN', Ref, process, _, Reason} -> ?assertEqual(normal, Reason) end,
        {Pid, Monitor} = Drains,
        receive {'DOWN', Monitor, process, Pid, Answer} -> ?assertMatch({ok, #{closed := 0}}, Answer) end
    end).

%% It was decided for another client: it reaches nobody.
late_answer() ->
    Self = self(),
    Answer = fun(#{query := Name}) ->
                     Self ! {asked, Name, self()},
                     receive go -> {200, [], Name} end
             end,
    with_server(#{http => #{"/" => Answer}}, fun(Port, Server) ->
        First = asked(Port, <<"first">>),
        ok = killed(),
        ok = listening(Server, Port),
        Second = asked(Port, <<"second">>),
        [begin
             Ref = monitor(process, Answering),
             Answering ! go,
             receive {'DOWN', Ref, process, _, _} -> ok end
         end || {_, Answering} <- [First, Second]],
        {Socket, _} = Second,
        ?assertMatch({200, _, <<"second">>}, http_client:answer(Socket, "GET"))
    end).

asked(Port, Name) ->
    Socket = http_client:connect(Port),
    ok = gen_tcp:send(Socket, ["GET /?", Name, " HTTP/1.1\r\nHost: a\r\n\r\n"]),
    receive {asked, Name, Answering} -> {Socket, Answering} end.

%% The socket that listens is the VM's: the next engine gets it as well, and can be handed others.
descriptors() ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Descriptor} = inet:getfd(Listener),
    {ok, Server} = sockeye:start_link(#{ip => {fd, Descriptor}}),
    {ok, #{port := Port}} = sockeye:info(Server),
    Front = handover_server:start(gen_tcp, Server),
    Come = fun() ->
        [begin
             Client = ws_client:connect(To),
             Conn = test_support:opened(),
             ok = ws_client:text(Client, "[1]"),
             ?assertEqual({json, [1]}, event(Conn)),
             Conn
         end || To <- [Port, handover_server:port(Front)]]
    end,
    Conns = Come(),
    ok = killed(),
    [?assertMatch({closed, 1006, _}, event(Conn)) || Conn <- Conns],
    ok = listening(Server, Port),
    _ = Come(),
    ok = handover_server:stop(Front),
    ws_client:drop_all(),
    ok = sockeye:stop(Server),
    ok = gen_tcp:close(Listener).

%% Returns when there is another engine.
killed() ->
    another(kill()).
