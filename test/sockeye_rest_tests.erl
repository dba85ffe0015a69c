%% The process of one connection hibernates in silence, and only then.
-module(sockeye_rest_tests).

-include_lib("eunit/include/eunit.hrl").

-import(sockeye_test, [with_handler/3]).

%% Silence that counts as such (sockeye_worker).
-define(REST_MS, 1000).

a_new_one_hibernates_test() ->
    each(fun(Port) ->
        Socket = ws_client:connect(Port),
        Pid = hibernates(500),
        %% It is all there still.
        ?assertEqual(Pid, ask(Socket)),
        ok = ws_client:drop(Socket)
    end).

in_use_it_stays_awake_test_() ->
    {timeout, 20, fun() ->
        each(fun(Port) ->
            Socket = ws_client:connect(Port),
            Pid = hibernates(500),
            %% In use for longer than the silence that would count.
            [begin
                 ?assertEqual(Pid, ask(Socket)),
                 tick(?REST_MS div 5)
             end || _ <- lists:seq(1, 8)],
            ?assertEqual(Pid, ask(Socket)),
            Last = now_ms(),
            ?assertEqual([], seen(Pid)),
            ?assertEqual(Pid, hibernates(5 * ?REST_MS)),
            Silent = now_ms() - Last,
            ?assertMatch({_, true}, {Silent, Silent >= ?REST_MS - 10}),
            ok = ws_client:drop(Socket)
        end)
    end}.

one_that_is_seldom_in_use_hibernates_at_once_test_() ->
    {timeout, 20, fun() ->
        each(fun(Port) ->
            Socket = ws_client:connect(Port),
            Pid = hibernates(500),
            [begin
                 tick(?REST_MS + 10),
                 ?assertEqual(Pid, ask(Socket)),
                 ?assertEqual(Pid, hibernates(?REST_MS div 2))
             end || _ <- [1, 2]],
            ok = ws_client:drop(Socket)
        end)
    end}.

processes_of_many_connections_do_not_test_() ->
    [fun() ->
             serve(Processes, fun(Port) ->
                 Socket = ws_client:connect(Port),
                 Pid = ask(Socket),
                 ?assertEqual([], seen(Pid)),
                 ok = ws_client:drop(Socket)
             end)
     end || Processes <- [one, 2]].

each(Test) -> serve(per_connection, Test).

serve(Processes, Test) ->
    Self = self(),
    Funs = #{frame => fun(_Frame, _Conn, State) ->
                             {[{reply, {binary, term_to_binary(self())}}], State}
                     end,
             info => fun(Message, State) -> Self ! {unexpected, Message}, {[], State} end},
    _ = erlang:trace_pattern({proc_lib, hibernate, 3}, true, [global]),
    with_handler(Funs, #{processes => Processes}, fun(Port, _) ->
        _ = erlang:trace(processes, true, [call]),
        _ = erlang:trace(new_processes, true, [call]),
        try Test(Port)
        after
            _ = erlang:trace(all, false, [call]),
            _ = erlang:trace_pattern({proc_lib, hibernate, 3}, false, [global])
        end
    end),
    receive {unexpected, _} = Unexpected -> error(Unexpected)
    after 0 -> ok
    end.

ask(Socket) ->
    ok = ws_client:text(Socket, <<"1">>),
    binary_to_term(ws_client:recv_data(Socket)).

%% The worker that hibernates next, within so many milliseconds.
hibernates(Timeout) ->
    receive
        {trace, Pid, call, {proc_lib, hibernate, _}} -> worker(Pid, Timeout)
    after Timeout -> error(stays_awake)
    end.

worker(Pid, Timeout) ->
    case proc_lib:initial_call(Pid) of
        {sockeye_worker, init, _} -> Pid;
        _ -> hibernates(Timeout)
    end.

%% Whether this process has hibernated by now.
seen(Pid) ->
    Delivered = erlang:trace_delivered(Pid),
    receive {trace_delivered, Pid, Delivered} -> ok end,
    case receive {trace, Pid, call, Call} -> [Call] after 0 -> [] end of
        [] -> [];
        Found -> Found ++ seen(Pid)
    end.

tick(Ms) ->
    Timer = erlang:start_timer(Ms, self(), tick),
    receive {timeout, Timer, tick} -> ok end.

now_ms() -> erlang:monotonic_time(millisecond).
