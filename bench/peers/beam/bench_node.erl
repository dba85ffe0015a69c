%% What every BEAM server of the bench does beside serving: says its port, samples, ends with its runner.
-module(bench_node).

-export([run/1, run/2]).

-export_type([commands/0]).

%% What a server answers to lines of its own: a line of JSON each.
-type commands() :: #{Line :: string() => fun(() -> iodata())}.

-define(SAMPLE_MS, 50).
%% The wake-up delay is counted in steps of 10 us, up to 200 ms.
-define(STEP_US, 10).
-define(STEPS, 20000).

%% Prints `READY Port', then answers the runner's lines until standard input ends:
%% `watch' starts to sample the longest mailbox of the node, `peaks' prints what was seen;
%% `tick' starts an innocent process that wants to run each millisecond, and a system monitor; `ticks' ends both and
%% prints how late the process ran, and what kept a scheduler for 1 ms or longer;
%% `numbers' starts to count calls of Sockeye's library, and `numbered' prints them with what the VM has counted meanwhile.
-spec run(inet:port_number()) -> no_return().
run(Port) ->
    run(Port, #{}).

-spec run(inet:port_number(), commands()) -> no_return().
run(Port, Commands) ->
    io:format("READY ~b~n", [Port]),
    loop(undefined, undefined, Commands).

loop(Watcher, Ticker, Commands) ->
    case io:get_line("") of
        "watch\n" ->
            loop(spawn_link(fun() -> watch(0, 0, now_ms()) end), Ticker, Commands);
        "peaks\n" ->
            {Mailbox, Memory} = ask(Watcher),
            io:format("{\"mailbox_peak\":~b,\"beam_memory_peak\":~b}~n", [Mailbox, Memory]),
            loop(Watcher, Ticker, Commands);
        "tick\n" ->
            %% Before others, so that it knows when it was.
            Long = spawn_opt(fun() -> long([], []) end, [link, {priority, max}]),
            erlang:system_monitor(Long, [{long_schedule, 1}, {long_gc, 1}]),
            Delays = counters:new(?STEPS + 1, []),
            Ticking = spawn_link(fun() -> tick(now_ms() + 1, Delays) end),
            loop(Watcher, {Ticking, Long, Delays, now_ms()}, Commands);
        "ticks\n" ->
            {Ticking, Long, Delays, Began} = Ticker,
            done = ask(Ticking),
            erlang:system_monitor(undefined),
            {Events, Collections} = ask(Long),
            io:format("{\"ticks\":~b,\"tick_ms\":~b,\"wake_p50_us\":~b,\"wake_p99_us\":~b,\"wake_p999_us\":~b,\"wake_max_us\":~b,"
                      "\"long_schedules\":~b,\"long_schedule_max_ms\":~b,\"long\":[~s],\"collections\":~w}~n",
                      [total(Delays), now_ms() - Began, share(Delays, 0.5), share(Delays, 0.99), share(Delays, 0.999),
                       share(Delays, 1.0), length(Events), lists:max([0 | [Ms || {_, Ms, _, _} <- Events]]),
                       lists:join(",", [io_lib:format("[~b,~b,\"~0p to ~0p\"]", [At, Ms, In, Out]) || {At, Ms, In, Out} <- Events]),
                       [[At, Ms] || {At, Ms} <- Collections]]),
            loop(Watcher, undefined, Commands);
        "numbers\n" ->
            [_ = erlang:trace_pattern({sockeye_nif, Name, Arity}, true, [call_count]) || {Name, Arity} <- library()],
            loop(Watcher, {Ticker, counted()}, Commands);
        "numbered\n" ->
            {Before, Numbers} = Ticker,
            Calls = [{Name, N} || {Name, Arity} <- library(), {call_count, N} <- [erlang:trace_info({sockeye_nif, Name, Arity}, call_count)], N > 0],
            All = Calls ++ [{Name, N - proplists:get_value(Name, Numbers)} || {Name, N} <- counted()],
            [_ = erlang:trace_pattern({sockeye_nif, Name, Arity}, false, [call_count]) || {Name, Arity} <- library()],
            io:format("{~s}~n", [lists:join(",", [io_lib:format("\"~s\":~b", [Name, N]) || {Name, N} <- All])]),
            loop(Watcher, Before, Commands);
        Line when is_map_key(Line, Commands) ->
            io:format("~ts~n", [(maps:get(Line, Commands))()]),
            loop(Watcher, Ticker, Commands);
        _Eof ->
            erlang:halt(0, [{flush, false}])
    end.

ask(Pid) ->
    Pid ! {ask, self()},
    receive {Pid, Answer} -> Answer end.

watch(Mailbox, Memory, Next) ->
    receive
        {ask, From} ->
            From ! {self(), {Mailbox, Memory}}
    after max(0, Next - now_ms()) ->
        watch(max(Mailbox, longest()), max(Memory, erlang:memory(total)), now_ms() + ?SAMPLE_MS)
    end.

longest() ->
    lists:foldl(
        fun(Pid, Max) ->
            case process_info(Pid, message_queue_len) of
                {message_queue_len, N} -> max(N, Max);
                undefined -> Max
            end
        end, 0, processes()).

%% A timer for an absolute time, so that the delay is that of waking up alone. Ticks that are missed are not made up
%% for: a delay of 5 ms is one delay, not five.
tick(Due, Delays) ->
    Timer = erlang:start_timer(Due, self(), tick, [{abs, true}]),
    receive
        {timeout, Timer, tick} ->
            Late = erlang:monotonic_time(microsecond) - Due * 1000,
            counters:add(Delays, 1 + min(?STEPS, max(0, Late) div ?STEP_US), 1),
            tick(max(Due, now_ms()) + 1, Delays);
        {ask, From} ->
            From ! {self(), done}
    end.

library() ->
    case code:ensure_loaded(sockeye_nif) of
        {module, sockeye_nif} -> [Call || {Name, _} = Call <- sockeye_nif:module_info(exports), Name =/= module_info];
        {error, _} -> []
    end.

counted() ->
    {Collections, Words, _} = erlang:statistics(garbage_collection),
    {Switches, _} = erlang:statistics(context_switches),
    {Reductions, _} = erlang:statistics(reductions),
    [{"processes run", Switches}, {"reductions", Reductions}, {"garbage collections", Collections}, {"words reclaimed", Words}].

long(Events, Collections) ->
    receive
        {monitor, Port, long_schedule, Info} when is_port(Port) ->
            [{_, Ms}, {_, Work}] = [lists:keyfind(Key, 1, Info) || Key <- [timeout, port_op]],
            long([{now_ns(), Ms, Work, Work} | Events], Collections);
        {monitor, _, long_schedule, Info} ->
            [{_, Ms}, {_, In}, {_, Out}] = [lists:keyfind(Key, 1, Info) || Key <- [timeout, in, out]],
            long([{now_ns(), Ms, In, Out} | Events], Collections);
        {monitor, _, long_gc, Info} ->
            {_, Ms} = lists:keyfind(timeout, 1, Info),
            long(Events, [{now_ns(), Ms} | Collections]);
        {ask, From} ->
            From ! {self(), {lists:reverse(Events), lists:reverse(Collections)}}
    end.

%% As the system counts it.
now_ns() ->
    erlang:convert_time_unit(os:perf_counter(), perf_counter, nanosecond).

total(Delays) ->
    lists:sum([counters:get(Delays, N) || N <- lists:seq(1, ?STEPS + 1)]).

%% The delay that a share of all stays at or below.
share(Delays, Share) ->
    share(Delays, 1, ceil(total(Delays) * Share)).

share(_Delays, N, _Left) when N > ?STEPS -> ?STEPS * ?STEP_US;
share(Delays, N, Left) ->
    case Left - counters:get(Delays, N) of
        Rest when Rest =< 0 -> N * ?STEP_US;
        Rest -> share(Delays, N + 1, Rest)
    end.

now_ms() ->
    erlang:monotonic_time(millisecond).
