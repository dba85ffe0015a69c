%% When a process is taken to have worked through its messages.
-module(sockeye_mailbox_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-define(LONG, 10000).

none() -> 0.

%% It has nothing to do.
idle_test() ->
    with(fun loop/0, fun(Pid) -> ?assertEqual(done, sockeye_mailbox:await(Pid, fun none/0, ?LONG)) end).

%% It has nothing to do but to look around every few milliseconds, or between any two looks of ours.
ticking_test_() ->
    [{integer_to_list(Ms), fun() ->
         with(fun() -> tick(Ms) end, fun(Pid) ->
             [?assertEqual(done, sockeye_mailbox:await(Pid, fun none/0, ?LONG)) || _ <- lists:seq(1, 20)]
         end)
     end} || Ms <- [10, 1]].

tick(Ms) ->
    receive _ -> ok
    after Ms -> ok
    end,
    tick(Ms).

dead_test() ->
    {Pid, Monitor} = spawn_monitor(fun() -> ok end),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    ?assertEqual(dead, sockeye_mailbox:await(Pid, fun none/0, ?LONG)).

%% It works until it is told to stop, and then takes the rest.
at_work_test() ->
    with(fun loop/0, fun(Pid) ->
        Self = self(),
        Pid ! {work, self()},
        [Pid ! N || N <- lists:seq(1, 10)],
        spawn_link(fun() -> Self ! {awaited, sockeye_mailbox:await(Pid, fun none/0, ?LONG)} end),
        receive {awaited, Early} -> error({early, Early}) after 300 -> ok end,
        Pid ! done,
        receive {awaited, Result} -> ?assertEqual(done, Result) end,
        ?assertEqual({message_queue_len, 0}, process_info(Pid, message_queue_len))
    end).

%% Its mailbox is never empty, but what is in it is newer.
behind_others_test() ->
    with(fun loop/0, fun(Pid) ->
        Pid ! {work, self()},
        [Pid ! N || N <- lists:seq(1, 10)],
        %% The one at work, and nine behind it.
        ?assertEqual(timeout, sockeye_mailbox:await(Pid, fun none/0, 50)),
        ?assertEqual(timeout, sockeye_mailbox:await(Pid, fun() -> queued(Pid) end, 50)),
        ?assertEqual(done, sockeye_mailbox:await(Pid, fun() -> queued(Pid) + 1 end, ?LONG)),
        Pid ! done
    end).

%% It waits for something else: for as long as that is short, it is at work.
elsewhere_test() ->
    with(fun() -> receive never -> ok end end, fun(Pid) ->
        Pid ! unread,
        {Time, Result} = timer:tc(fun() -> sockeye_mailbox:await(Pid, fun none/0, ?LONG) end),
        ?assertEqual(idle, Result),
        ?assert(Time >= 100000)
    end).

%% It has asked the engine for something, as who sends does where that is another process.
asking_test() ->
    {ok, _} = application:ensure_all_started(sockeye),
    with(fun() -> sockeye_ask:ask(fun(_) -> ok end, infinity) end, fun(Pid) ->
        ?assertEqual(timeout, sockeye_mailbox:await(Pid, fun none/0, 300)),
        Pid ! unread,
        ?assertEqual(timeout, sockeye_mailbox:await(Pid, fun none/0, 300))
    end).

%% The same of a call to an engine that is another process.
asking_a_process_test_() ->
    {ok, _} = application:ensure_all_started(sockeye),
    [fun() ->
         ok = sys:suspend(sockeye_link_writer, 60000),
         try with(fun sockeye:info/0, fun(Pid) -> ?assertEqual(timeout, sockeye_mailbox:await(Pid, fun none/0, 300)) end)
         after
             ok = sys:resume(sockeye_link_writer, 60000)
         end
     end || sockeye_backend:engine() =:= port].

no_time_test() ->
    with(fun loop/0, fun(Pid) ->
        Pid ! {work, self()},
        ?assertEqual(timeout, sockeye_mailbox:await(Pid, fun none/0, 0)),
        Pid ! done
    end).

with(Fun, Test) ->
    Pid = spawn_link(Fun),
    try Test(Pid)
    after
        unlink(Pid),
        exit(Pid, kill)
    end.

queued(Pid) ->
    {message_queue_len, N} = process_info(Pid, message_queue_len),
    N.

%% Takes its messages in their order; `work' lasts until `done' is in the mailbox.
loop() ->
    receive
        {work, _} -> work(), loop();
        _ -> loop()
    end.

work() ->
    {messages, Messages} = process_info(self(), messages),
    lists:member(done, Messages) orelse work().
