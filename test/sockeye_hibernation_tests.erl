%% The process of one connection hibernates in silence, and only then. What it does is traced, in its own order and
%% with its own times: how busy the machine is changes when something happens, not whether it was right.
-module(sockeye_hibernation_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_handler/3]).

%% Silence that counts as such (sockeye_worker).
-define(REST_MS, 1000).
-define(LONG, 30000).

a_new_one_hibernates_test_() ->
    {timeout, 60, fun() ->
        each(fun(Port) ->
            Socket = ws_client:connect(Port),
            Pid = hibernates(),
            %% It is all there still.
            ?assertEqual(Pid, ask(Socket)),
            ?assertMatch([{hibernate, _} | _], opened(so_far(Pid))),
            ok = ws_client:drop(Socket)
        end)
    end}.

in_use_it_stays_awake_test_() ->
    {timeout, 60, fun() ->
        each(fun(Port) ->
            Socket = ws_client:connect(Port),
            Pid = hibernates(),
            %% In use for longer than the silence that would count.
            [begin
                 ?assertEqual(Pid, ask(Socket)),
                 tick(?REST_MS div 5)
             end || _ <- lists:seq(1, 8)],
            ?assertEqual(Pid, ask(Socket)),
            ?assertEqual(Pid, hibernates()),
            Trace = so_far(Pid),
            ?assertEqual([], wrong(Trace)),
            %% Not by chance.
            ?assert(length([ready || {ready, _} <- Trace]) >= 10),
            ok = ws_client:drop(Socket)
        end)
    end}.

a_rarely_used_process_hibernates_at_once_test_() ->
    {timeout, 60, fun() ->
        each(fun(Port) ->
            Socket = ws_client:connect(Port),
            Pid = hibernates(),
            [begin
                 tick(?REST_MS + 10),
                 ?assertEqual(Pid, ask(Socket)),
                 ?assertEqual(Pid, hibernates())
             end || _ <- [1, 2]],
            Trace = so_far(Pid),
            ?assertEqual([], wrong(Trace)),
            ?assertMatch([{hibernate, _}, {ready, _}, {hibernate, _}, {ready, _}, {hibernate, _} | _], opened(Trace)),
            ok = ws_client:drop(Socket)
        end)
    end}.

processes_of_many_connections_do_not_hibernate_test_() ->
    [fun() ->
             serve(Processes, fun(Port) ->
                 Socket = ws_client:connect(Port),
                 Pid = ask(Socket),
                 ?assertEqual([], [hibernate || {hibernate, _} <- so_far(Pid)]),
                 ok = ws_client:drop(Socket)
             end)
     end || Processes <- [one, 2]].

%% The rule itself is tried on traces that break it.
wrong_test() ->
    Ms = fun(List) -> [{What, T * 1000000} || {What, T} <- List] end,
    New = [{ready, 0}, {hibernate, 1}],
    [?assertEqual({Trace, []}, {Trace, wrong(Ms(New ++ Trace))})
     || Trace <- [[], [{ready, 2}, {timer, 1002}, {hibernate, 1003}], [{ready, 1003}, {hibernate, 1003}],
                  [{ready, 2}, {ready, 900}, {timer, 1002}, {timer, 2002}, {hibernate, 2002}],
                  [{ready, 2}, {timer, 1003}, {hibernate, 1004}, {ready, 2005}, {hibernate, 2006}]]],
    [?assertMatch({Trace, [_ | _]}, {Trace, wrong(Ms(New ++ Trace))})
     || Trace <- [[{ready, 2}, {hibernate, 3}], [{ready, 2}, {timer, 900}, {hibernate, 900}],
                  [{ready, 2}, {ready, 500}, {timer, 1002}, {hibernate, 1003}], [{ready, 1500}, {timer, 2500}, {hibernate, 2500}],
                  [{ready, 1500}, {ready, 1600}]]].

%% What a process did that it must not: hibernate with too little silence before, or not at once after enough of it.
wrong([{ready, T}, {hibernate, _} | Rest]) -> wrong(Rest, T, T).

%% Since when it had nothing to do, and since when it has hibernated.
wrong([{ready, T}, {hibernate, At} | Rest], _, Since) ->
    [{too_early, T, Since} || Since =:= awake orelse T - Since < rest()] ++ wrong(Rest, T, At);
wrong([{ready, T} | Rest], _, Since) ->
    [{stays_awake, T, Since} || Since =/= awake, Rest =/= [], T - Since > rest() + 5000000] ++ wrong(Rest, T, awake);
wrong([{timer, _}, {hibernate, At} | Rest], Last, _) ->
    [{too_early, At, Last} || At - Last < rest()] ++ wrong(Rest, Last, At);
wrong([{timer, _} | Rest], Last, Since) ->
    wrong(Rest, Last, Since);
wrong([], _, _) ->
    [].

%% In nanoseconds. The process counts whole milliseconds.
rest() -> (?REST_MS - 1) * 1000000.

each(Test) -> serve(per_connection, Test).

serve(Processes, Test) ->
    Self = self(),
    Funs = #{frame => fun(_Frame, _Conn, State) ->
                             {[{reply, {binary, term_to_binary(self())}}], State}
                     end,
             info => fun(Message, State) -> Self ! {unexpected, Message}, {[], State} end},
    %% Newer releases hibernate by an instruction, which cannot be traced.
    Hibernate = case erlang:function_exported(erlang, hibernate, 0) of
                    true -> {{gen_server, loop_hibernate, 4}, local};
                    false -> {{proc_lib, hibernate, 3}, global}
                end,
    Traced = [Hibernate, {{sockeye_worker, handle_info, 2}, global}],
    [begin
         {module, Module} = code:ensure_loaded(Module),
         1 = erlang:trace_pattern(Function, true, [Kind])
     end || {{Module, _, _} = Function, Kind} <- Traced],
    with_handler(Funs, #{processes => Processes}, fun(Port, _) ->
        _ = erlang:trace(processes, true, [call, monotonic_timestamp]),
        _ = erlang:trace(new_processes, true, [call, monotonic_timestamp]),
        try Test(Port)
        after
            _ = erlang:trace(all, false, [call, monotonic_timestamp]),
            [_ = erlang:trace_pattern(Function, false, [Kind]) || {Function, Kind} <- Traced],
            erase(trace)
        end
    end),
    receive {unexpected, _} = Unexpected -> error(Unexpected)
    after 0 -> ok
    end.

ask(Socket) ->
    ok = ws_client:text(Socket, <<"1">>),
    binary_to_term(ws_client:recv_data(Socket)).

%% The worker that hibernates next.
hibernates() ->
    receive
        {trace_ts, Pid, call, Call, Time} ->
            note(Pid, Call, Time),
            case {Call, proc_lib:initial_call(Pid)} of
                {{_, Hibernate, _}, {sockeye_worker, init, _}} when Hibernate =:= hibernate; Hibernate =:= loop_hibernate -> Pid;
                _ -> hibernates()
            end
    after ?LONG -> error(stays_awake)
    end.

note(Pid, Call, Time) ->
    What = case Call of
               {proc_lib, hibernate, _} -> hibernate;
               {gen_server, loop_hibernate, _} -> hibernate;
               {sockeye_worker, handle_info, ['$sockeye_rest', _]} -> timer;
               {sockeye_worker, handle_info, _} -> ready
           end,
    put(trace, [{Pid, {What, Time}} | trace()]).

trace() ->
    case get(trace) of
        undefined -> [];
        Trace -> Trace
    end.

%% What this process has done by now, in its order.
so_far(Pid) ->
    Delivered = erlang:trace_delivered(Pid),
    receive {trace_delivered, Pid, Delivered} -> ok end,
    note_all(),
    lists:reverse([What || {Of, What} <- trace(), Of =:= Pid]).

%% What comes after it has been told of its connection: it may have waited for that where it began.
opened([{ready, _} | Trace]) -> Trace;
opened(Trace) -> Trace.

note_all() ->
    receive {trace_ts, Pid, call, Call, Time} -> note(Pid, Call, Time), note_all()
    after 0 -> ok
    end.

tick(Ms) ->
    Timer = erlang:start_timer(Ms, self(), tick),
    receive {timeout, Timer, tick} -> ok end.
