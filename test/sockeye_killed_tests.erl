%% A handler's process that is ended from outside cannot tell of it: whoever has started it does, once.
-module(sockeye_killed_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

%% {how the process is ended, the reason that is told}
ends() ->
    [{fun(Pid) -> exit(Pid, kill) end, killed},
     {fun(Pid) -> exit(Pid, no_database) end, no_database},
     {fun(Pid) -> Pid ! {run, fun() -> link(spawn(fun() -> exit(linked) end)), receive never -> ok end end} end, linked}].

funs() ->
    Self = self(),
    #{open => fun(Conn, _, State) -> Self ! {self(), Conn}, {[], State} end,
      frame => fun(_, _, _) -> error(on_request) end,
      info => fun({run, Fun}, State) -> Fun(), {[], State} end}.

told_by_the_server_test_() ->
    [fun() ->
         sockeye_log_tests:with_log(fun() ->
             test_support:with_handler(funs(), #{processes => Processes, name => killed_tests}, fun(Port, _) ->
                 Socket = ws_client:connect(Port),
                 {Handler, _Conn} = sockeye_log_tests:from_handler(),
                 End(Handler),
                 #{level := error, msg := {report, Report}} = Event = sockeye_log_tests:logged(),
                 ?assertMatch(#{what := handler_killed, module := fun_handler, process := Handler, reason := Reason, name := killed_tests}, Report),
                 Says = iolist_to_binary(["Sockeye server killed_tests on 127.0.0.1:", integer_to_list(Port), ": a process of fun_handler was ended by exit/2, "
                                          "a link or its max_heap_size, and its connections are closed: ", atom_to_list(Reason)]),
                 ?assertEqual(Says, line(Event)),
                 ?assertMatch({close, 1011, _}, ws_client:recv(Socket))
             end)
         end)
     end || Processes <- [one, 3, per_connection], {End, Reason} <- ends()].

told_by_the_client_test_() ->
    [fun() ->
         test_support:with_server(#{}, fun(Port, _) ->
             sockeye_log_tests:with_log(fun() ->
                 {ok, Client} = sockeye_client:start_link(["ws://127.0.0.1:", integer_to_list(Port), "/"], {fun_handler, funs()}),
                 true = unlink(Client),
                 Monitor = monitor(process, Client),
                 {Handler, _Conn} = sockeye_log_tests:from_handler(),
                 End(Handler),
                 ?assertMatch(#{client := Client, module := fun_handler, process := Handler, reason := Reason},
                              sockeye_log_tests:report(handler_killed)),
                 receive {'DOWN', Monitor, process, Client, Why} -> ?assertEqual(Reason, Why) end
             end)
         end)
     end || {End, Reason} <- ends()].

%% A client with its handler. One that comes before the engine knows of a death is closed as those before it.
met(Port) ->
    Socket = ws_client:connect(Port),
    Self = self(),
    Reader = spawn_link(fun() -> Self ! {self(), ws_client:recv(Socket)} end),
    receive
        {Reader, Frame} ->
            ?assertMatch({close, 1011, _}, Frame),
            met(Port);
        {Handler, {sockeye_conn, _}} ->
            unlink(Reader),
            exit(Reader, kill),
            {Socket, Handler}
    end.

%% What the process has reported, and an end in order, are not told once more: the next event is another handler's.
told_once_test_() ->
    [fun() ->
         sockeye_log_tests:with_log(fun() ->
             test_support:with_handler(funs(), #{processes => Processes}, fun(Port, _) ->
                 Ended = fun(End) ->
                             {Socket, Handler} = met(Port),
                             Monitor = monitor(process, Handler),
                             End(Socket, Handler),
                             receive {'DOWN', Monitor, process, Handler, _} -> Handler end
                         end,
                 _ = Ended(fun(_, Handler) -> exit(Handler, shutdown) end),
                 _ = Ended(fun(Socket, _) -> ok = ws_client:text(Socket, <<"1">>) end),
                 Killed = Ended(fun(_, Handler) -> exit(Handler, kill) end),
                 ?assertMatch(#{msg := {report, #{what := handler_crashed}}}, sockeye_log_tests:logged()),
                 ?assertMatch(#{msg := {report, #{what := handler_killed, process := Killed}}}, sockeye_log_tests:logged())
             end)
         end)
     end || Processes <- [one, per_connection]].

%% What only looks like our own message changes nothing.
a_message_of_nobody_test() ->
    test_support:with_handler(#{frame => fun(_, _, S) -> {[{reply, #{}}], S} end}, fun(Port, Server) ->
        Server ! {sockeye_reported, self()},
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertMatch({text, _}, ws_client:recv(Socket))
    end).

%% One that does not end is killed, and the log says so.
a_stop_that_kills_test_() ->
    {timeout, 60, fun() ->
        sockeye_log_tests:with_log(fun() ->
            {ok, Server} = sockeye:start_link(#{port => 0, handler => {fun_handler, funs()}}),
            _ = ws_client:connect(test_support:port(Server)),
            {Handler, _Conn} = sockeye_log_tests:from_handler(),
            Self = self(),
            Handler ! {run, fun() -> Self ! {self(), busy}, receive never -> ok end end},
            {Handler, busy} = sockeye_log_tests:from_handler(),
            ok = sockeye:stop(Server),
            #{level := warning, msg := {report, Report}} = Event = sockeye_log_tests:logged(),
            ?assertMatch(#{what := handler_stop_timeout, module := fun_handler, count := 1, server := Server}, Report),
            ?assertNotEqual(nomatch, binary:match(line(Event), <<" killed the process of fun_handler, which had not ended 5 s after">>)),
            ?assertMatch(#{meta := #{sockeye := server_stopped}}, sockeye_log_tests:logged()),
            ws_client:drop_all()
        end)
    end}.

line(#{msg := {report, Report}, meta := #{report_cb := Format}}) ->
    unicode:characters_to_binary(Format(Report, #{})).
