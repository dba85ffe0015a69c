%% Life and death: nothing hangs, crashes, leaks a process or leaves a port bound.
-module(sockeye_lifecycle_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-only_in({nif, [a_stop_does_not_wait_for_a_long_call_test_, a_library_that_can_not_be_loaded_test_]}).

-import(test_support, [with_server/2, open/1, closed/1, port/1, quiet/1, message/0]).

%% How often each way to end a node is tried: a node takes two seconds of a core. `make soak' does it a hundred times.
rounds() ->
    list_to_integer(os:getenv("SOCKEYE_TEST_ROUNDS", "4")).

owner_death_is_1011_test() ->
    Self = self(),
    Owner = spawn(fun Loop() -> receive {sockeye, Conn, {open, _}} -> Self ! {open, Conn}, Loop() end end),
    with_server(#{handler => Owner}, fun(Port, Server) ->
        Socket = ws_client:connect(Port),
        {open, Conn} = message(),
        exit(Owner, kill),
        ?assertMatch({1011, _}, ws_client:recv_close(Socket)),
        ?assertEqual({error, closed}, sockeye:send(Conn, #{})),
        ?assert(is_process_alive(Server))
    end).

%% What an operator says of the C library's allocator stays.
malloc_of_an_operator_test_() ->
    [{Flags, fun() ->
        Code = "io:put_chars([atom_to_list(sockeye_engine:malloc_is_default()), $ ]), ",
        ?assertEqual({0, <<"false fine">>}, test_support:bare_node(Code, [{"ERL_FLAGS", Flags}]))
    end} || Flags <- ["+MYtt 256", "+MYtp 64"]].

%% The owner started the server and takes it along.
death_of_owner_and_parent_test() ->
    Self = self(),
    {Owner, Monitor} = spawn_monitor(fun() ->
                                             {ok, Server} = sockeye:start_link(0),
                                             Self ! {Server, port(Server)},
                                             receive {sockeye, _, {open, _}} -> Self ! open end,
                                             receive die -> exit(crash) end
                                     end),
    {Server, Port} = message(),
    Socket = ws_client:connect(Port),
    open = message(),
    quiet(fun() ->
        Owner ! die,
        receive {'DOWN', Monitor, process, Owner, crash} -> ok end,
        ?assertMatch({1011, _}, ws_client:recv_close(Socket)),
        _ = test_support:down(Server)
    end),
    ?assertEqual({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, Port, [])).

handler_killed_is_1011_test_() ->
    [fun() ->
             quiet(fun() ->
                 with_server(#{handler => {bare_handler, []}, processes => Processes}, fun(Port, _) ->
                     Socket = ws_client:connect(Port),
                     ok = ws_client:text(Socket, <<"\"pid\"">>),
                     Text = ws_client:recv_data(Socket),
                     Pid = binary_to_list(binary:part(Text, 1, byte_size(Text) - 2)),
                     exit(list_to_pid(Pid), kill),
                     ?assertMatch({1011, _}, ws_client:recv_close(Socket))
                 end)
             end)
     end || Processes <- [one, 2, per_connection]].

a_killed_server_is_1001_and_frees_its_port_test() ->
    process_flag(trap_exit, true),
    {ok, Server} = sockeye:start_link(0),
    Port = port(Server),
    {Socket, _} = open(Port),
    exit(Server, kill),
    receive {'EXIT', Server, killed} -> ok end,
    ?assertMatch({1001, _}, ws_client:recv_close(Socket)),
    process_flag(trap_exit, false),
    ok = bind(Port, 10000),
    ?assertEqual({error, not_found}, sockeye:info(Port)).

%% The engine frees the port by itself when nobody is left to wait for it, within
%% so many milliseconds.
bind(Port, Within) ->
    bind_until(Port, erlang:monotonic_time(millisecond) + Within).

bind_until(Port, Deadline) ->
    case gen_tcp:listen(Port, [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]) of
        {ok, Socket} -> gen_tcp:close(Socket);
        {error, eaddrinuse} ->
            ?assert(erlang:monotonic_time(millisecond) < Deadline),
            case gen_tcp:connect({127, 0, 0, 1}, Port, []) of
                {ok, Socket} -> gen_tcp:close(Socket);
                {error, _} -> ok
            end,
            bind_until(Port, Deadline)
    end.

a_crash_of_the_engine_test() ->
    quiet(fun() ->
        process_flag(trap_exit, true),
        {ok, Server} = sockeye:start_link(0),
        {Socket, Conn} = open(port(Server)),
        Engine = whereis(sockeye_engine),
        exit(Engine, kill),
        receive {'EXIT', Server, {engine_down, killed}} -> ok end,
        ?assertMatch(closed, lost(ws_client:recv_close(Socket))),
        ?assertEqual({error, closed}, try sockeye:send(Conn, #{}) catch error:_ -> {error, closed} end),
        process_flag(trap_exit, false),
        ok = another_engine(Engine),
        with_server(#{}, fun(Port, _) -> {_, _} = open(Port) end)
    end).

lost({1001, _}) -> closed;
lost(closed) -> closed.

%% Its handler's process has begun when the engine dies: it is started again, with the next one.
a_start_while_the_engine_dies_test() ->
    quiet(fun() ->
        Loop = #{reconnect => true},
        Starts = [fun(Handler) -> sockeye:start_link(#{port => 0, handler => Handler}) end,
                  fun(Handler) -> sockeye_client:start_link("ws://127.0.0.1:9/", Handler, Loop) end],
        [begin
             {ok, _} = application:ensure_all_started(sockeye),
             Engine = whereis(sockeye_engine),
             Init = fun() -> exit(Engine, kill), ok = another_engine(Engine), {ok, []} end,
             {ok, Pid} = Start({fun_handler, #{init => Init}}),
             true = unlink(Pid),
             ok = gen_server:stop(Pid),
             %% Another supervisor: it starts an engine again a few times only.
             ok = application:stop(sockeye)
         end || Start <- Starts]
    end).

%% For a moment the system takes the application for started, though its supervisor has died: who starts a server then
%% waits for the end of that, not for another engine of this supervisor.
a_start_when_the_supervisor_has_died_test_() ->
    {timeout, 60, fun() -> quiet(fun() ->
        {ok, _} = application:ensure_all_started(sockeye),
        {Sup, Master} = {whereis(sockeye_sup), application_controller:get_master(sockeye)},
        Died = monitor(process, Sup),
        true = erlang:suspend_process(Master),
        exit(Sup, kill),
        receive {'DOWN', Died, process, Sup, _} -> ok end,
        {Starter, Started} = spawn_monitor(fun() ->
            {ok, Server} = sockeye:start_link(#{port => 0}),
            exit(sockeye:stop(Server))
        end),
        try waits_for_an_engine(Starter)
        after true = erlang:resume_process(Master)
        end,
        receive {'DOWN', Started, process, Starter, Reason} -> ?assertEqual(ok, Reason) end
    end) end}.

waits_for_an_engine(Pid) ->
    case process_info(Pid, current_function) of
        {current_function, {sockeye_engine, _, _}} -> ok;
        {current_function, _} -> erlang:yield(), waits_for_an_engine(Pid);
        undefined -> error(did_not_wait)
    end.

another_engine(Old) ->
    case whereis(sockeye_engine) of
        New when is_pid(New), New =/= Old -> _ = sys:get_status(New), ok;
        _ -> erlang:yield(), another_engine(Old)
    end.

application_stop_and_start_test_() ->
    {timeout, 300, fun() -> quiet(fun() ->
        Before = {length(processes()), length(erlang:ports())},
        [begin
             {ok, Server} = sockeye:start_link(#{port => 0, close_timeout => 500}),
             Port = port(Server),
             {Socket, Conn} = open(Port),
             ok = sockeye:send(Conn, #{a => 1}),
             {text, _} = ws_client:recv(Socket),
             Self = self(),
             Client = spawn_link(fun() -> Self ! {code, ws_client:echo_until_closed(Socket)} end),
             ok = gen_tcp:controlling_process(Socket, Client),
             ok = application:stop(sockeye),
             receive {code, Code} -> ?assertEqual(1001, Code) end,
             _ = test_support:down(Client),
             _ = test_support:down(Server),
             ?assertEqual({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, Port, [])),
             test_support:flush()
         end || _ <- lists:seq(1, rounds())],
        true = hostile_client:until(fun() ->
            Now = {length(processes()), length(erlang:ports())},
            element(1, Now) =< element(1, Before) andalso element(2, Now) =< element(2, Before) orelse {Before, Now}
        end)
    end) end}.

%% Long calls that have all dirty schedulers, of which a small machine has one, keep nobody waiting who stops the engine, nor those
%% who then ask on a normal one.
a_stop_does_not_wait_for_a_long_call_test_() ->
    {timeout, 600, fun() -> quiet(fun() -> ?assert(lives_on_after_a_stop([15, 60, 240])) end) end}.

%% Whether all outlive the stop. On a busy machine a stop takes longer than a call of seconds, and longer calls tell.
lives_on_after_a_stop([]) ->
    false;
lives_on_after_a_stop([Numbers | More]) ->
    {ok, _} = application:ensure_all_started(sockeye),
    {ok, Server} = sockeye:start_link(#{port => 0, close_timeout => 200}),
    {_, Conn} = open(port(Server)),
    Slow = lists:duplicate(Numbers, 1 bsl 217000),
    Calls = [spawn_monitor(fun() -> _ = sockeye:send(Conn, {json, Slow}) end)
             || _ <- lists:seq(1, erlang:system_info(dirty_cpu_schedulers_online))],
    [ok = until_within(Pid, send_dirty) || {Pid, _} <- Calls],
    ok = application:stop(sockeye),
    ?assertEqual({error, closed}, sockeye:send(Conn, {text, <<"short">>})),
    Lives = lists:all(fun is_process_alive/1, [Pid || {Pid, _} <- Calls]),
    [receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Monitor} <- Calls],
    _ = test_support:down(Server),
    ws_client:drop_all(),
    test_support:flush(),
    Lives orelse lives_on_after_a_stop(More).

until_within(Pid, Function) ->
    case process_info(Pid, current_function) of
        {current_function, {sockeye_nif, Function, _}} -> ok;
        {current_function, _} -> erlang:yield(), until_within(Pid, Function);
        %% It had ended before it was looked at.
        undefined -> ok
    end.

%% No file descriptor and no thread stays behind.
nothing_is_left_behind_test_() ->
    {timeout, 60, fun() ->
        case file:list_dir("/proc/self/fd") of
            {error, _} -> ok;
            {ok, _} ->
                quiet(fun() ->
                    _ = application:stop(sockeye),
                    _ = once(),
                    Before = held(),
                    [once() || _ <- lists:seq(1, 30)],
                    ?assertEqual(Before, held())
                end)
        end
    end}.

once() ->
    {ok, Server} = sockeye:start_link(#{port => 0, close_timeout => 200}),
    {Socket, Conn} = open(port(Server)),
    ok = ws_client:close(Socket, 1000, <<>>),
    1000 = closed(Conn),
    ok = gen_tcp:close(Socket),
    application:stop(sockeye).

held() ->
    Count = fun(Dir) -> length(filelib:wildcard("*", "/proc/" ++ os:getpid() ++ Dir)) end,
    {Count("/fd"), Count("/task")}.

nodes_test_() ->
    [{How, {timeout, 600, fun() -> end_nodes(How, rounds()) end}}
     || How <- ["init_stop", "halt", "halt_now", "application_stop"]].

reload_test_() ->
    {timeout, 300, fun() -> end_nodes("reload", 1) end}.

%% Callers hear why, not a bare undef.
a_library_that_can_not_be_loaded_test_() ->
    {timeout, 60, fun() ->
        Node = open_port({spawn_executable, os:find_executable("erl")},
                         [{args, ["-noshell", "-kernel", "logger_level", "none", "-pa",
                                  filename:dirname(code:which(sockeye)), "-eval",
                                  "{error, {sockeye_nif, [{_, load_failed, _}], Why}} ="
                                  " sockeye:start_link(0), true = is_list(Why),"
                                  " halt(42)."]},
                          {env, [{"SOCKEYE_NIF_PATH", "/nowhere/sockeye_nif.so"}]},
                          exit_status, stderr_to_stdout, binary]),
        ?assertEqual(42, exit_status(Node))
    end}.

%% One that is left from another version is no reason to build what is there.
what_is_wrong_with_a_library_test_() ->
    [?_assertNotEqual(nomatch, string:find(sockeye:format_error(sockeye_library:not_loaded(Errors)), Says))
     || {Errors, Says} <- [{[{"/priv/sockeye_nif", load_failed, "no such file"}], "is not loaded: build it with"},
                           {[{"/nowhere/sockeye_nif", load_failed, "no such file"}, {"/priv/sockeye_nif", load, "Library load-call unsuccessful (1)."}],
                            "is of another version than its Erlang modules: build it again"},
                           {[{missing, listen}], "is of another version"}]].

exit_status(Node) ->
    receive
        {Node, {exit_status, Status}} -> Status;
        {Node, {data, _}} -> exit_status(Node)
    after 60000 -> give_up(Node)
    end.

%% A few at a time: a node spends much of its life waiting.
end_nodes(_How, Left) when Left =< 0 ->
    ok;
end_nodes(How, Left) ->
    Nodes = [start_node(How) || _ <- lists:seq(1, min(8, Left))],
    %% Each as soon as it is ready: it has a core at work until then.
    Ready = [begin
                 Ports = its_ports(Node),
                 true = port_command(Node, "go\n"),
                 {Node, Ports}
             end || Node <- Nodes],
    [end_node(Node, Ports) || {Node, Ports} <- Ready],
    end_nodes(How, Left - 8).

start_node(How) ->
    Paths = lists:usort([filename:dirname(code:which(M)) || M <- [sockeye, lifecycle_node, ws_client]]),
    open_port({spawn_executable, os:find_executable("erl")},
              [{args, ["-noshell", "+S", "2:2", "+sbwt", "none", "-pa"] ++ Paths
                ++ ["-s", "lifecycle_node", "main", "-extra", How]},
               {env, [{"ERL_CRASH_DUMP_BYTES", "0"}]},
               exit_status, stderr_to_stdout, binary, {line, 1000}]).

its_ports(Node) ->
    receive
        {Node, {data, {_, <<"port ", Ports/binary>>}}} ->
            [binary_to_integer(Port) || Port <- binary:split(Ports, <<" ">>)];
        {Node, Other} ->
            error({not_ready, Other})
    after 60000 ->
            give_up(Node)
    end.

end_node(Node, Ports) ->
    receive
        {Node, Output} ->
            ?assertEqual({exit_status, 0}, Output),
            %% A process of the engine hears of the end of its node.
            Within = case sockeye_backend:engine() of nif -> 0; port -> 10000 end,
            [ok = bind(Port, Within) || Port <- Ports]
    after 240000 ->
            give_up(Node)
    end.

give_up(Node) ->
    {os_pid, Pid} = erlang:port_info(Node, os_pid),
    _ = os:cmd("kill -9 " ++ integer_to_list(Pid)),
    error(hangs).
