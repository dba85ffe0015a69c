%% Whatever happens to the engine's process, or to the node: the failure table of docs/link.md, line by line.
-module(sockeye_port_survival_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/3, message/0, open/1]).
-import(port_node, [until/1, another/1, is_alive/1, logged/1, fault/1, signal/2, on/2, in_a_node/2]).

-define(TIMEOUT, 60000).

in_a_node(Tests) ->
    in_a_node(#{}, Tests).

%% ---------------------------------------------------------------- its end

ends_test_() ->
    in_a_node([{Name, fun() -> survived(End, Said) end} || {Name, End, Said} <- ends()]
              ++ [{"thirty times, one after the other", fun thirty_times/0},
                  {"no descriptor is left behind", fun nothing_left/0}]).

ends() ->
    [{"kill -9", fun(OsPid) -> signal("KILL", OsPid) end, "was killed by signal 9;"},
     {"kill -QUIT", fun(OsPid) -> signal("QUIT", OsPid) end, "was killed by signal 3;"},
     {"SIGABRT", fun(OsPid) -> signal("ABRT", OsPid) end, "was killed by signal 6;"},
     %% Rust looks at the first one, which is no overflow of a stack, and goes on: a real one comes again.
     {"SIGSEGV", fun(OsPid) -> signal("SEGV", OsPid), until(fun() -> not is_alive(OsPid) orelse signal("SEGV", OsPid) end) end,
      "was killed by signal 11;"},
     {"abort", fun(_) -> fault(abort) end, "was killed by signal 6;"},
     {"a panic on the thread of the link", fun(_) -> fault(panic_link) end,
      "was killed by signal 6;.* its last words: .*a panic on purpose"},
     {"a panic on the thread of a call", fun(_) -> fault(panic_call) end,
      "was killed by signal 6;.* its last words: .*a panic on purpose"},
     {"no memory", fun no_memory/1, "was killed by signal 6;.* its last words: .*memory allocation of [0-9]+ bytes failed"}].

%% A little more than it has.
no_memory(OsPid) ->
    {ok, Status} = file:read_file(io_lib:format("/proc/~b/status", [OsPid])),
    {match, [Kb]} = re:run(Status, "VmSize:\\s*([0-9]+) kB", [{capture, all_but_first, list}]),
    ok = port_node:limit("as", OsPid, 1024 * (list_to_integer(Kb) + 32 * 1024)),
    fault(memory).

survived(End, Said) ->
    Self = self(),
    Funs = #{init => fun() -> {ok, #{}} end,
             open => fun(Conn, _, S) -> Self ! {open, Conn, self()}, {[], S#{Conn => open}} end,
             close => fun(Conn, Code, Reason, S) -> Self ! {closed, Conn, Code, Reason}, {[], maps:remove(Conn, S)} end,
             info => fun(state, S) -> Self ! {state, S}, {[], S} end},
    with_handler(Funs, #{}, fun(Port, Server) ->
        with_server(#{active => true}, fun(OwnPort, Own) ->
            {ok, #{os_pid := OsPid, restarts := Restarts}} = sockeye:info(),
            ok = sockeye_pubsub:subscribe(Own, <<"news">>),
            _ = [ws_client:connect(Port) || _ <- lists:seq(1, 10)],
            Open = [receive {open, Conn, Pid} -> {Conn, Pid} after ?TIMEOUT -> error(not_open) end || _ <- lists:seq(1, 10)],
            Owned = [Conn || _ <- lists:seq(1, 10), {_, Conn} <- [open(OwnPort)]],
            {Client, Dialled} = client(OwnPort),
            Asking = [asking(fun() -> sockeye:info(Conn) end) || Conn <- Owned],
            Logged = logged(fun() ->
                ok = End(OsPid),
                Ended = [receive {closed, Conn, 1006, <<"engine lost">>} -> Conn after ?TIMEOUT -> error(not_closed) end || _ <- Open],
                ?assertEqual(lists:sort([Conn || {Conn, _} <- Open]), lists:sort(Ended)),
                [receive {sockeye, Conn, {closed, 1006, <<"engine lost">>}} -> ok after ?TIMEOUT -> error(not_closed) end
                 || Conn <- [Dialled | Owned]],
                [receive {'DOWN', Ref, process, _, Answer} -> ?assertEqual({answer, {error, closed}}, Answer)
                 after ?TIMEOUT -> error(no_answer)
                 end || Ref <- Asking],
                ok = another(Restarts),
                ok = listening([{Server, Port}, {Own, OwnPort}])
            end),
            %% One event, beside those of the client that is connected and is not, and of what a process said some time before its end.
            [{engine_lost, Text}] = [Event || {What, _} = Event <- Logged, not lists:member(What, [client_down, client_up, engine_said])],
            ?assertMatch({match, _}, re:run(Text, "^Sockeye engine: its process " ++ Said)),
            ?assertNot(is_alive(OsPid)),
            %% The handler's process is the same, with its state; the client has dialled again.
            [Handler] = lists:usort([Pid || {_, Pid} <- Open]),
            Handler ! state,
            ?assertEqual(#{}, receive {state, State} -> State after ?TIMEOUT -> error(no_state) end),
            Again = receive {sockeye, C, {open, #{path := <<"/client">>}}} -> C after ?TIMEOUT -> error(not_dialled) end,
            ?assertNotEqual(Dialled, Again),
            ok = sockeye_client:stop(Client),
            %% What this process has subscribed to comes.
            ok = sockeye:publish(Own, <<"news">>, {text, <<"of today">>}),
            receive {sockeye_pubsub, <<"news">>, {text, <<"of today">>}} -> ok after ?TIMEOUT -> error({no_news, process_info(self(), messages)}) end,
            %% Each end was told once. The client has an end of its own, and 1006 where it was stopped before it heard that it is connected.
            receive
                {closed, _, 1006, <<"engine lost">>} = Twice -> error(Twice);
                {sockeye, _, {closed, 1006, <<"engine lost">>}} = Twice -> error(Twice)
            after 0 -> ok
            end
        end)
    end).

%% A client that dials again, and its connection at the server.
client(Port) ->
    {ok, Client} = sockeye_client:start_link("ws://127.0.0.1:" ++ integer_to_list(Port) ++ "/client", {fun_handler, #{}},
                                             #{reconnect => #{initial_interval => 10}}),
    receive {sockeye, Conn, {open, #{path := <<"/client">>}}} -> {Client, Conn}
    after ?TIMEOUT -> error(not_dialled)
    end.

%% A process that asks until it hears of an error, with which it ends.
asking(Ask) ->
    {_, Ref} = spawn_monitor(fun() -> ask(Ask) end),
    Ref.

ask(Ask) ->
    case Ask() of
        {ok, _} -> ask(Ask);
        Error -> exit({answer, Error})
    end.

listening(Servers) ->
    [ok = port_node:listening(Server, Port) || {Server, Port} <- Servers],
    ok.

%% No supervisor hears of it. Each of them has lived for longer than one that is started with a pause after it.
thirty_times() ->
    with_server(#{active => true}, fun(Port, Server) ->
        Processes = [{Name, whereis(Name)} || Name <- [sockeye_sup, sockeye_engine, sockeye_link, sockeye_groups]],
        [begin
             {ok, #{os_pid := OsPid, restarts := Restarts}} = sockeye:info(),
             {_, Conn} = open(Port),
             receive after 260 -> ok end,
             ok = signal("KILL", OsPid),
             receive {sockeye, Conn, {closed, 1006, _}} -> ok after ?TIMEOUT -> error(not_closed) end,
             ok = another(Restarts),
             ok = listening([{Server, Port}]),
             test_support:flush()
         end || _ <- lists:seq(1, 30)],
        ?assertEqual(Processes, [{Name, whereis(Name)} || {Name, _} <- Processes])
    end).

nothing_left() ->
    #{left := Left} = engine_kills:run(#{rounds => 3, connections => 50}),
    ?assertEqual(#{}, Left).

%% A panic on the thread of a shard costs what it met.
panic_on_a_shard_test_() ->
    in_a_node([{"a panic on a shard", fun() ->
        with_server(#{active => true}, fun(Port, _) ->
            {ok, #{os_pid := OsPid}} = sockeye:info(),
            {_, Conn} = open(Port),
            {return, ok} = sockeye_port_call:call_as(self(), fault, [panic_shard]),
            {ok, _} = sockeye:info(Conn),
            ?assertMatch({ok, #{os_pid := OsPid, restarts := 0}}, sockeye:info())
        end)
    end}]).

%% ---------------------------------------------------------------- it cannot be had, or helped

%% Most of these wait for a heartbeat that does not come: three nodes at a time.
waits_test_() ->
    {inparallel, 3, [node_stands_still(), no_program() | node_is_short()]}.

%% A node that stood still itself takes no engine for one that hangs.
node_stands_still() ->
    {setup, fun() -> port_node:start() end, fun port_node:stop/1,
     fun(Node) ->
         {timeout, 120, fun() ->
             {NodePid, Port, Before} = on(Node, fun() ->
                 {ok, Server} = sockeye:start_link(#{port => 0, handler => {fun_handler, echo()}}),
                 true = unlink(Server),
                 {ok, #{os_pid := Engine}} = sockeye:info(),
                 {list_to_integer(os:getpid()), test_support:port(Server), Engine}
             end),
             Socket = ws_client:connect(Port),
             ok = signal("STOP", NodePid),
             %% It is not read, and nobody is cut off for that.
             ok = ws_client:raw(Socket, [ws_client:encode(1, <<"1">>) || _ <- lists:seq(1, 1000)]),
             receive after 7000 -> ok end,
             ok = signal("CONT", NodePid),
             [?assertEqual({text, <<"1">>}, ws_client:recv(Socket)) || _ <- lists:seq(1, 1000)],
             receive after 1500 -> ok end,
             ?assertEqual({Before, 0}, on(Node, fun() -> {ok, #{os_pid := Pid, restarts := N}} = sockeye:info(), {Pid, N} end))
         end}
     end}.

echo() ->
    #{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end}.

%% ---------------------------------------------------------------- the node ends

node_ends_test_() ->
    [{Name, {timeout, 60, fun() -> node_ends(End) end}}
     || {Name, End} <- [{"killed", fun(_, NodePid) -> signal("KILL", NodePid) end},
                        {"halt", fun(Node, _) -> _ = test_support:attempt(fun() -> on(Node, fun() -> erlang:halt(1) end) end), ok end},
                        {"halt that flushes nothing", fun(Node, _) ->
                            _ = test_support:attempt(fun() -> on(Node, fun() -> erlang:halt(1, [{flush, false}]) end) end), ok
                        end},
                        {"init:stop", fun(Node, _) -> on(Node, fun() -> init:stop() end) end}]].

node_ends(End) ->
    Node = port_node:start(),
    try
        {NodePid, Port, Engine} = on(Node, fun() ->
            {ok, Server} = sockeye:start_link(#{port => 0, handler => {fun_handler, echo()}}),
            true = unlink(Server),
            {ok, #{os_pid := OsPid}} = sockeye:info(),
            {list_to_integer(os:getpid()), test_support:port(Server), OsPid}
        end),
        Self = self(),
        %% Each reads for itself: there is not much time.
        Clients = [spawn_link(fun() ->
                                  Socket = ws_client:connect(Port),
                                  %% One whose handshake has just ended is not open yet.
                                  ok = ws_client:text(Socket, <<"1">>),
                                  <<"1">> = ws_client:recv_data(Socket),
                                  Self ! {connected, self()},
                                  Self ! {ended, self(), ws_client:recv_close(Socket)}
                              end) || _ <- lists:seq(1, 5)],
        [receive {connected, Client} -> ok end || Client <- Clients],
        ok = End(Node, NodePid),
        Begin = erlang:monotonic_time(millisecond),
        [receive {ended, Client, How} -> ?assertMatch({1001, _}, How) end || Client <- Clients],
        until(fun() -> not is_alive(NodePid) orelse node_lives end),
        until(fun() -> not is_alive(Engine) orelse engine_lives end),
        %% 2 seconds, and what a busy machine takes.
        ?assert(erlang:monotonic_time(millisecond) - Begin < 4000)
    after
        port_node:forget(Node)
    end.

%% Nobody can be told by an engine that hangs, and it ends all the same.
node_ends_behind_a_stopped_thread_test_() ->
    {timeout, 60, fun() ->
        Node = port_node:start(),
        {NodePid, Engine} = on(Node, fun() ->
            {ok, _} = application:ensure_all_started(sockeye),
            {ok, #{os_pid := OsPid}} = sockeye:info(),
            ok = fault(hang_shard),
            {list_to_integer(os:getpid()), OsPid}
        end),
        ok = signal("KILL", NodePid),
        until(fun() -> not is_alive(Engine) orelse engine_lives end),
        port_node:forget(Node)
    end}.

%% ---------------------------------------------------------------- it cannot be started again

not_started_test_() ->
    in_a_node([{"the executable is gone", fun executable_gone/0}]).

executable_gone() ->
    Path = filename:join(os:getenv("TMPDIR"), "sockeye-engine-copy"),
    Built = os:getenv("SOCKEYE_ENGINE_PATH", filename:join(code:priv_dir(sockeye), "sockeye-engine")),
    {ok, _} = file:copy(Built, Path),
    ok = file:change_mode(Path, 8#755),
    port_node:with_engine(Path, fun() ->
        with_server(#{active => true}, fun(Port, Server) ->
            {ok, #{os_pid := OsPid, restarts := Restarts}} = sockeye:info(),
            Logged = logged(fun() ->
                ok = file:rename(Path, Path ++ ".away"),
                ok = signal("KILL", OsPid),
                until(fun() -> sockeye_link:facts() =:= none end),
                ?assertEqual({error, not_running}, sockeye:info()),
                ok = until(fun() -> port_node:is_logged(engine_not_started) end),
                ok = file:rename(Path ++ ".away", Path),
                ok = another(Restarts),
                ok = listening([{Server, Port}])
            end),
            [Why | _] = [Text || {engine_not_started, Text} <- Logged],
            ?assertMatch({match, _}, re:run(Why, "could not be started from \\Q" ++ Path ++ "\\E: there is no such file"))
        end)
    end).

%% A small system has a shell, and no /bin/kill.
no_program() ->
    in_a_node([{"no program that kills", fun killed_without_program/0}]).

killed_without_program() ->
    Old = os:getenv("PATH"),
    Folder = filename:join(os:getenv("TMPDIR"), "bin"),
    ok = file:make_dir(Folder),
    ok = file:make_symlink(os:find_executable("sh"), filename:join(Folder, "sh")),
    with_server(#{active => true}, fun(Port, _) ->
        {ok, #{os_pid := OsPid, restarts := Restarts}} = sockeye:info(),
        {_, Conn} = open(Port),
        ok = signal("STOP", OsPid),
        true = os:putenv("PATH", Folder),
        receive {sockeye, Conn, {closed, 1006, _}} -> ok after ?TIMEOUT -> error(not_found) end,
        ok = another(Restarts),
        true = os:putenv("PATH", Old),
        ?assertNot(is_alive(OsPid))
    end).

%% ---------------------------------------------------------------- the node's own settings

%% A node may have gen_tcp work with the module `socket'.
another_backend_test_() ->
    in_a_node(#{args => ["-kernel", "inet_backend", "socket"]}, [{"sockets that are no ports", fun() ->
        Echo = #{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end},
        with_handler(Echo, #{}, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            ok = ws_client:text(Socket, <<"1">>),
            ?assertEqual({text, <<"1">>}, ws_client:recv(Socket)),
            ?assertMatch({ok, #{restarts := 0}}, sockeye:info())
        end)
    end}]).

%% ---------------------------------------------------------------- little is left

%% The engine takes as many descriptors as it may have, however few the node wants for itself.
descriptors_test_() ->
    in_a_node(#{before => "ulimit -S -n 256; ulimit -H -n 2000"}, [{"as many as there may be", fun() ->
        with_server(#{active => true}, fun(Port, _) ->
            {ok, #{os_pid := OsPid}} = sockeye:info(),
            {ok, Limits} = file:read_file(io_lib:format("/proc/~b/limits", [OsPid])),
            ?assertMatch({match, _}, re:run(Limits, "Max open files\\s+2000 ")),
            ?assertEqual(2000, sockeye_link:descriptors()),
            {ok, #{max_descriptor := Most}} = sockeye:info(Port),
            ?assertEqual(2000 - sockeye_descriptors:reserve(2000), Most)
        end)
    end}]).

few_descriptors_test_() ->
    in_a_node([{"the engine has none left", fun() ->
        with_server(#{active => true}, fun(Port, Server) ->
            {ok, #{os_pid := OsPid}} = sockeye:info(),
            {Socket, Conn} = open(Port),
            _ = logged(fun() ->
                {ok, Files} = file:list_dir(io_lib:format("/proc/~b/fd", [OsPid])),
                ok = port_node:limit("nofile", OsPid, length(Files) + 5),
                Others = [begin {ok, S} = gen_tcp:connect({127, 0, 0, 1}, Port, []), S end || _ <- lists:seq(1, 20)],
                until(fun() -> {ok, #{accept_errors := N}} = sockeye:info(Server), N > 0 orelse N end),
                %% Another process says it, a moment after it was counted.
                until(fun() -> port_node:is_logged(accept_error) end),
                ok = ws_client:text(Socket, <<"1">>),
                receive {sockeye, Conn, {json, 1}} -> ok after ?TIMEOUT -> error(no_frame) end,
                [ok = gen_tcp:close(S) || S <- Others]
            end),
            {_, _} = open(Port),
            ?assertMatch({ok, #{os_pid := OsPid, restarts := 0}}, sockeye:info())
        end)
    end}]).

%% The node has no port and no descriptor left for another engine, or for what kills the last one.
node_is_short() ->
    [in_a_node(#{args => ["+Q", "1024"], before => "ulimit -n 4000"},
               [{"no port, " ++ Name, fun() -> short(Signal, fun() -> gen_udp:open(0) end, fun gen_udp:close/1) end}])
     || {Name, Signal} <- signals()]
    ++ [in_a_node(#{before => "ulimit -n 150"},
                  [{"no descriptor, " ++ Name, fun() -> short(Signal, fun() -> file:open("/dev/null", [read, raw]) end, fun file:close/1) end}])
        || {Name, Signal} <- signals()].

signals() ->
    [{"killed", "KILL"}, {"stopped", "STOP"}].

short(Signal, Take, Give) ->
    with_server(#{active => true}, fun(Port, Server) ->
        {ok, #{os_pid := OsPid, restarts := Restarts}} = sockeye:info(),
        Sup = whereis(sockeye_sup),
        {_, Conn} = open(Port),
        %% By another process, which can be asked to.
        Signals = open_port({spawn, "sh -c 'read x; kill -" ++ Signal ++ " " ++ integer_to_list(OsPid) ++ "'"}, [exit_status]),
        Taken = take_all(Take, []),
        true = port_command(Signals, "go\n"),
        receive {sockeye, Conn, {closed, 1006, <<"engine lost">>}} -> ok after ?TIMEOUT -> error(not_closed) end,
        ?assertEqual({error, not_running}, sockeye:info()),
        receive after 500 -> ok end,
        ?assertEqual(Sup, whereis(sockeye_sup)),
        lists:foreach(Give, Taken),
        ok = another(Restarts),
        ok = listening([{Server, Port}]),
        ?assertEqual(Sup, whereis(sockeye_sup)),
        until(fun() -> not is_alive(OsPid) orelse still_there end)
    end).

take_all(Take, Taken) ->
    try Take() of
        {ok, One} -> take_all(Take, [One | Taken]);
        {error, _} -> Taken
    catch
        error:system_limit -> Taken
    end.

%% ---------------------------------------------------------------- memory

%% A thousand connections and more: what they leave behind goes back to the system.
gives_back_test_() ->
    case os:getenv("ASAN_OPTIONS") of
        false -> in_a_node(#{before => "ulimit -n 8000"}, [{"what many clients leave behind", fun gives_back/0}]);
        _ -> test_support:left_out("what many clients leave behind", "a sanitizer keeps what was freed, and has no malloc_trim")
    end.

gives_back() ->
    Echo = #{processes => per_connection},
    with_handler(echo(), Echo, fun(Port, _) ->
        Resident = fun() -> {ok, #{memory := Bytes}} = sockeye:info(), Bytes end,
        Before = Resident(),
        %% One behind the other they take minutes where each step is late.
        Self = self(),
        Openers = [spawn_link(fun() -> Self ! {self(), some(Self, Port)} end) || _ <- lists:seq(1, 50)],
        Sockets = lists:append([receive {Pid, Some} -> Some end || Pid <- Openers]),
        [{text, _} = ws_client:recv(Socket) || Socket <- Sockets],
        Open = Resident(),
        [ok = gen_tcp:close(Socket) || Socket <- Sockets],
        until(fun() -> Left = Resident(), Left < (Before + Open) div 2 orelse {Before, Open, Left} end)
    end).

some(Owner, Port) ->
    [begin
         Socket = ws_client:connect(Port),
         ok = ws_client:text(Socket, [$", binary:copy(<<"x">>, 1000 + N rem 50 * 300), $"]),
         ok = gen_tcp:controlling_process(Socket, Owner),
         Socket
     end || N <- lists:seq(1, 40)].

%% ---------------------------------------------------------------- a slow receiver

slow_test_() ->
    in_a_node([{"a handler that is suspended", fun slow/0}, {"large beside small", fun large_beside_small/0}]).

%% Its client waits, and the others do not notice, nor does who asks for a sign of life.
slow() ->
    Self = self(),
    Funs = (echo())#{open => fun(_, #{path := Path}, S) -> Self ! {open, Path, self()}, {[], S} end,
                     close => fun(_, Code, _, S) -> Self ! {closed, Code}, {[], S} end},
    %% The client may be slower than who answers it: there is room for all answers.
    Options = #{processes => per_connection, format => raw, ping_interval => 200, pong_timeout => 30000, inbox_size => 65536,
                send_queue_size => 32 bsl 20},
    with_handler(Funs, Options, fun(Port, _) ->
        Slow = ws_client:connect(Port, #{path => "/slow"}),
        Handler = receive {open, <<"/slow">>, Pid} -> Pid after ?TIMEOUT -> error(not_open) end,
        Fast = ws_client:connect(Port, #{path => "/fast"}),
        true = erlang:suspend_process(Handler),
        %% More than all queues and buffers on the way take.
        Some = iolist_to_binary([ws_client:encode(1, binary:copy(<<"x">>, 1000)) || _ <- lists:seq(1, 100)]),
        {Flood, Ref} = spawn_monitor(fun() -> [ok = gen_tcp:send(Slow, Some) || _ <- lists:seq(1, 200)] end),
        Idle = ws_client:connect(Port, #{path => "/idle"}),
        [begin
             ok = ws_client:text(Fast, integer_to_binary(N)),
             {text, _} = answer(Fast),
             receive after 10 -> ok end
         end || N <- lists:seq(1, 100)],
        ?assertMatch({ping, _}, ws_client:recv(Idle)),
        ?assert(is_process_alive(Flood)),
        %% Two batches at most wait for it, whatever its client sends.
        {message_queue_len, Waiting} = process_info(Handler, message_queue_len),
        ?assert(Waiting =< 3),
        true = erlang:resume_process(Handler),
        [{text, _} = answer(Slow) || _ <- lists:seq(1, 20000)],
        receive {'DOWN', Ref, process, _, Reason} -> ?assertEqual(normal, Reason) after ?TIMEOUT -> error(not_sent) end,
        receive {closed, Code} -> error({closed, Code}) after 0 -> ok end
    end).

%% The next data frame; pings are answered on the way.
answer(Socket) ->
    case ws_client:recv(Socket) of
        {ping, Data} -> ok = ws_client:frame(Socket, 10, Data), answer(Socket);
        Frame -> Frame
    end.

%% Small ones pass large ones on their way. What is asked for is twice the time that they take alone, on a machine with nothing
%% else to do: `make kill' tells.
large_beside_small() ->
    #{beside := Beside, took := Took} = engine_kills:large_beside_small(#{seconds => 3}),
    ?assert(Beside < Took).
