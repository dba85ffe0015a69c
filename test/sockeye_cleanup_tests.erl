%% What is left behind when something dies in an unlucky moment: nothing.
-module(sockeye_cleanup_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [open/1, port/1, quiet/1, down/1, free_port/0]).

%% A server that has not heard yet of the end of its engine has a number of that engine, not one of
%% a server of the next.
a_late_server_stops_nobody_else_test() ->
    quiet(fun() ->
        _ = application:stop(sockeye),
        {ok, Late} = apart(#{handler => {bare_handler, []}}),
        Engine = whereis(sockeye_engine),
        ok = sys:suspend(Late, 60000),
        exit(Engine, kill),
        ok = census:another_engine(Engine),
        {ok, Server} = sockeye:start_link(#{port => 0, handler => self()}),
        {Socket, Conn} = open(port(Server)),
        ok = sys:resume(Late, 60000),
        _ = down(Late),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({json, 1}, test_support:event(Conn)),
        ?assertMatch({ok, #{connections := 1}}, sockeye:info(Server)),
        ok = sockeye:stop(Server),
        ws_client:drop_all(),
        test_support:flush()
    end).

%% Workers of a pool whose server could not register.
no_worker_without_its_server_test_() ->
    [{lists:flatten(io_lib:format("~p", [Processes])),
      {timeout, 60, fun() -> quiet(fun() -> no_worker_without_its_server(Processes) end) end}}
     || Processes <- [one, 8, per_connection]].

no_worker_without_its_server(Processes) ->
    %% A supervisor that has seen no crash yet.
    _ = application:stop(sockeye),
    {ok, Keep} = apart(#{handler => self()}),
    Before = census:processes(),
    Engine = whereis(sockeye_engine),
    ok = sys:suspend(Engine, 60000),
    Self = self(),
    Pid = spawn(fun() ->
        Self ! {started, sockeye:start_link(#{port => 0, handler => {bare_handler, []}, processes => Processes})},
        receive stop -> ok end
    end),
    %% It has its workers, and waits for the engine.
    true = until(fun() -> message_queue(Engine) > 0 end),
    exit(Engine, kill),
    %% It begins again with the next engine.
    receive {started, Result} -> ?assertMatch({ok, _}, Result) end,
    _ = down(Keep),
    {ok, Server} = Result,
    {ok, #{connections := 0}} = sockeye:info(Server),
    Expected = case Processes of
                   one -> 1;
                   8 -> 8;
                   per_connection -> 2
               end,
    ?assertEqual(Expected + 1, length(census:processes() -- Before)),
    Pid ! stop,
    ok = sockeye:stop(Server),
    true = until(fun() -> census:processes() =:= [] end).

message_queue(Pid) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, N} -> N;
        undefined -> 1
    end.

%% A server of nobody's.
apart(Options) ->
    Self = self(),
    Pid = spawn(fun() ->
        process_flag(trap_exit, true),
        Self ! {self(), sockeye:start_link(Options#{port => 0})},
        receive {'EXIT', _, _} -> ok end
    end),
    receive {Pid, Started} -> Started end.

until(Done) ->
    hostile_client:until(fun() -> Done() orelse waiting end).

%% Servers under a supervisor, at ports of their own, come back at once: of five rounds with two
%% children each, none needs a second attempt.
back_at_the_same_port_test_() ->
    {timeout, 120, fun() -> quiet(fun() ->
        _ = application:stop(sockeye),
        Port = free_port(),
        Specs = [sockeye:child_spec(#{port => Port, handler => {bare_handler, []}, name => back_again}),
                 sockeye:child_spec(#{ip => {local, unix_path()}, handler => {bare_handler, []}})],
        {ok, Sup} = supervisor:start_link(restart_limit_sup, Specs),
        [begin
             Children = children(Sup),
             Monitors = [monitor(process, Pid) || Pid <- Children],
             [exit(Pid, kill) || Pid <- case Victim of engine -> [whereis(sockeye_engine)]; servers -> Children end],
             [receive {'DOWN', M, process, _, _} -> ok end || M <- Monitors],
             true = until(fun() -> length(children(Sup)) =:= 2 end),
             ?assertEqual([], [Pid || Pid <- children(Sup), lists:member(Pid, Children)]),
             _ = open_there(Port)
         end || Victim <- [servers, engine, servers, engine, servers]],
        unlink(Sup),
        exit(Sup, shutdown),
        shutdown = down(Sup),
        ws_client:drop_all()
    end) end}.

children(Sup) ->
    [Pid || {_, Pid, _, _} <- supervisor:which_children(Sup), is_pid(Pid)].

open_there(Port) ->
    Socket = ws_client:connect(Port),
    ok = ws_client:text(Socket, <<"1">>),
    {text, <<"1">>} = ws_client:recv(Socket),
    Socket.

unix_path() ->
    filename:join("/tmp", "sockeye_left_" ++ os:getpid()).

%% All that happens with the application is over when it has stopped.
application_stop_waits_for_handlers_test_() ->
    [{lists:flatten(io_lib:format("~p", [Processes])),
      {timeout, 120, fun() -> quiet(fun() -> stop_waits(Processes) end) end}}
     || Processes <- [one, 4, per_connection]].

stop_waits(Processes) ->
    _ = application:stop(sockeye),
    N = 100,
    Closed = counters:new(1, [atomics]),
    %% Long enough that they would go on after the engine has ended.
    Close = fun(_, _, _, S) -> receive after 5 -> counters:add(Closed, 1, 1) end, {[], S} end,
    Options = #{port => free_port(), name => stop_waits, handler => {fun_handler, #{close => Close}},
                processes => Processes},
    {ok, First} = sockeye:start_link(Options),
    Sockets = [ws_client:connect(maps:get(port, Options)) || _ <- lists:seq(1, N)],
    true = until(fun() -> {ok, #{accepted := A}} = sockeye:info(First), A =:= N end),
    _ = spawn_link(fun() -> lists:foreach(fun ws_client:drop/1, Sockets) end),
    ok = application:stop(sockeye),
    ?assertEqual(N, counters:get(Closed, 1)),
    ?assertNot(is_process_alive(First)),
    %% At once, with the same name and port.
    {ok, Second} = sockeye:start_link(Options),
    ok = sockeye:stop(Second),
    ws_client:drop_all(),
    test_support:flush().

%% A client of the node ends with the application as well.
application_stop_waits_for_clients_test() ->
    quiet(fun() ->
        _ = application:stop(sockeye),
        {ok, Server} = apart(#{handler => {bare_handler, []}}),
        Url = "ws://127.0.0.1:" ++ integer_to_list(port(Server)),
        Clients = [begin {ok, C} = sockeye_client:start_link(Url, {bare_handler, []}, #{reconnect => true}), C end
                   || _ <- lists:seq(1, 20)],
        true = until(fun() -> {ok, #{connections := N}} = sockeye:info(Server), N =:= 20 end),
        ok = application:stop(sockeye),
        ?assertEqual([], [C || C <- [Server | Clients], is_process_alive(C)]),
        ?assertEqual([], census:processes()),
        test_support:flush()
    end).

%% The process of the server dies: its clients hear that, whoever dies first.
a_killed_server_is_1001_test_() ->
    [{lists:flatten(io_lib:format("~p", [Processes])), {timeout, 60, fun() -> quiet(fun() ->
        [begin
             {ok, Server} = apart(#{handler => {bare_handler, []}, processes => Processes}),
             Socket = open_there(port(Server)),
             exit(Server, kill),
             ?assertMatch({1001, _}, ws_client:recv_close(Socket))
         end || _ <- lists:seq(1, 30)],
        ws_client:drop_all()
    end) end}} || Processes <- [one, 4, per_connection]].

%% A client or server that was killed leaves nothing in the table of what was logged.
no_row_of_a_killed_client_test() ->
    _ = application:stop(sockeye),
    {ok, _} = application:ensure_all_started(sockeye),
    Self = self(),
    Filter = {fun(#{meta := #{sockeye := _}}, _) -> stop; (_, _) -> ignore end, none},
    ok = logger:add_primary_filter(left_tests, Filter),
    Url = "ws://127.0.0.1:" ++ integer_to_list(free_port()),
    Holder = spawn(fun() ->
        process_flag(trap_exit, true),
        Self ! sockeye_client:start_link(Url, self(), #{reconnect => true}),
        receive {'EXIT', _, _} -> ok end
    end),
    {ok, Client} = receive Started -> Started end,
    true = until(fun() -> #{log_rows := N} = census:take(), N > 0 end),
    exit(Client, kill),
    true = until(fun() -> #{log_rows := N} = census:take(), N =:= 0 end),
    true = until(fun() -> not is_process_alive(Holder) end),
    ok = logger:remove_primary_filter(left_tests).

%% Loading a module takes a descriptor, which may be missing by the time it is needed.
all_modules_are_loaded_at_the_start_test() ->
    ?assertEqual({0, <<"fine">>}, test_support:bare_node(
        "{ok, _} = application:ensure_all_started(sockeye), {ok, Ms} = application:get_key(sockeye, modules),"
        "[] = [M || M <- Ms, code:is_loaded(M) =:= false], ")).

%% Also where the owner ends with its server.
an_owner_that_ends_with_its_server_test_() ->
    {timeout, 60, fun() -> quiet(fun() ->
        [begin
             Self = self(),
             Owner = spawn(fun() ->
                 process_flag(trap_exit, true),
                 {ok, Server} = sockeye:start_link(#{port => 0}),
                 Self ! {self(), Server},
                 receive {'EXIT', Server, _} -> ok end
             end),
             Server = receive {Owner, Pid} -> Pid end,
             Socket = ws_client:connect(port(Server)),
             true = until(fun() -> {ok, #{connections := N}} = sockeye:info(Server), N =:= 1 end),
             exit(Server, kill),
             ?assertMatch({1001, _}, ws_client:recv_close(Socket))
         end || _ <- lists:seq(1, 30)],
        ws_client:drop_all()
    end) end}.

%% What a handler has not taken yet when its server ends is more than its inbox holds: the rest waits with the engine.
the_last_close_is_served_test_() ->
    [{atom_to_list(Processes), fun() -> the_last_close_is_served(Processes, Count) end}
     || {Processes, Count} <- [{one, 1}, {per_connection, 20}]].

the_last_close_is_served(Processes, Count) ->
    Test = self(),
    Wait = fun(_, _, State) -> Test ! {serves, self()}, receive go -> {[], State} end end,
    Close = fun(Conn, _, _, State) -> Test ! {closed_for_handler, Conn}, {[], State} end,
    Options = #{format => raw, processes => Processes, inbox_size => 4096, close_timeout => 100},
    test_support:with_handler(#{frame => Wait, close => Close}, Options, fun(Port, Server) ->
        Sockets = [ws_client:connect(Port) || _ <- lists:seq(1, 20)],
        [ok = ws_client:text(Socket, binary:copy(<<"x">>, 1000)) || Socket <- Sockets, _ <- lists:seq(1, 10)],
        %% A connection that has no process yet when the server stops gets none.
        Serving = [receive {serves, Pid} -> Pid end || _ <- lists:seq(1, Count)],
        {_, Stopped} = spawn_monitor(fun() -> ok = sockeye:stop(Server) end),
        %% The server has given up waiting for answers.
        lists:foreach(fun ended/1, Sockets),
        lists:foreach(fun(Pid) -> Pid ! go end, Serving),
        release(Stopped),
        ?assertEqual(20, closes(0))
    end).

release(Stopped) ->
    receive
        {serves, Next} -> Next ! go, release(Stopped);
        {'DOWN', Stopped, process, _, normal} -> ok
    end.

%% Frames that wait for credits, which a handler does not give, or gives one by one: it hears of the end in either case.
without_credits_test_() ->
    %% They wait most of their time.
    {inparallel, 4,
     [{lists:concat([Processes, ", ", Client, ", ", Texts, " texts, ", Gives]),
       {timeout, 60, fun() -> without_credits(Processes, Client, Texts, Gives) end}}
      || Processes <- [one, per_connection], Client <- [answers, does_not], Texts <- [0, 1, 2, 3], Gives <- [gives_none, gives]]}.

without_credits(Processes, Client, Texts, Gives) ->
    Test = self(),
    Frame = fun({text, Text}, _Conn, State) ->
                Test ! {serves, Text},
                {[{active, 1} || Gives =:= gives], State}
            end,
    Close = fun(Conn, _, _, State) -> Test ! {closed_for_handler, Conn}, {[], State} end,
    Options = #{format => raw, active => 1, processes => Processes},
    Open = fun(_Conn, _Info, State) -> Test ! opened, {[], State} end,
    test_support:with_handler(#{open => Open, frame => Frame, close => Close}, Options, fun(Port, Server) ->
        Socket = ws_client:connect(Port),
        receive opened -> ok end,
        Sent = [integer_to_binary(N) || N <- lists:seq(1, Texts)],
        [ok = ws_client:text(Socket, Text) || Text <- Sent],
        [receive {serves, Text} -> ok end || Text <- lists:sublist(Sent, 1)],
        %% All of it has arrived when the answer to this has.
        ok = ws_client:ping(Socket, <<"p">>),
        {pong, <<"p">>} = ws_client:recv(Socket),
        {_, Stopped} = spawn_monitor(fun() -> ok = sockeye:stop(Server) end),
        {close, 1001, _} = ws_client:recv(Socket),
        Client =:= answers andalso ws_client:close(Socket, 1001, <<>>),
        receive {'DOWN', Stopped, process, _, normal} -> ok end,
        ?assertEqual(1, closes(0)),
        Gives =:= gives andalso ?assertEqual(lists:nthtail(min(1, Texts), Sent), served())
    end).

served() ->
    receive {serves, Text} -> [Text | served()]
    after 0 -> []
    end.

ended(Socket) ->
    case gen_tcp:recv(Socket, 0, 60000) of
        {ok, _} -> ended(Socket);
        {error, Reason} when Reason =/= timeout -> ok
    end.

closes(N) ->
    receive {closed_for_handler, _} -> closes(N + 1)
    after 0 -> N
    end.
