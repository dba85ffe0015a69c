%% What is left behind when something dies in an unlucky moment: nothing.
-module(sockeye_left_tests).

-include_lib("eunit/include/eunit.hrl").

-import(sockeye_test, [open/1, port/1, quiet/1, down/1]).

%% A server that has not heard yet of the end of its engine has a number of that engine, not one of
%% a server of the next.
a_late_server_stops_nobody_else_test() ->
    quiet(fun() ->
        {ok, Late} = apart(#{handler => {bare_handler, []}}),
        Engine = whereis(sockeye_engine),
        ok = sys:suspend(Late),
        exit(Engine, kill),
        ok = census:another_engine(Engine),
        {ok, Server} = sockeye:start_link(#{port => 0, handler => self()}),
        {Socket, Conn} = open(port(Server)),
        ok = sys:resume(Late),
        _ = down(Late),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({json, 1}, sockeye_test:event(Conn)),
        ?assertMatch(#{connections := 1}, sockeye:info(Server)),
        ok = sockeye:stop(Server),
        ws_client:drop_all(),
        sockeye_test:flush()
    end).

%% Workers of a pool whose server could not register.
no_worker_without_its_server_test_() ->
    [{lists:flatten(io_lib:format("~p ~p", [Processes, At])),
      fun() -> quiet(fun() -> no_worker_without_its_server(Processes, At) end) end}
     || Processes <- [one, 8, per_connection], At <- [register, suspended_engine]].

no_worker_without_its_server(Processes, At) ->
    {ok, Keep} = apart(#{handler => self()}),
    Before = census:processes(),
    Engine = whereis(sockeye_engine),
    ok = sys:suspend(Engine),
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Self ! {started, sockeye:start_link(#{port => 0, handler => {bare_handler, []}, processes => Processes})}
    end),
    %% It has its workers, and waits for the engine.
    true = until(fun() -> message_queue(Engine) > 0 end),
    case At of
        register -> exit(Engine, kill);
        suspended_engine -> exit(Engine, shutdown), exit(Engine, kill)
    end,
    receive {started, Result} -> ?assertEqual({error, not_running}, Result) end,
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    ok = census:another_engine(Engine),
    _ = down(Keep),
    true = until(fun() -> census:processes() -- Before =:= [] end).

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
    siege:until(fun() -> Done() orelse waiting end).
