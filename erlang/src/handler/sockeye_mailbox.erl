%% @private
%% Whether an owner process has worked through its mailbox. Nothing tells: it is looked at, now and then. One that has taken
%% nothing at all is told of in the log.
-module(sockeye_mailbox).

-export([watch/1]).
-export([answered/1]).
-export([await/3]).

-export_type([ending/0]).

%% Connections that end when their process has answered what came before, how many messages it has been sent by then, and
%% the time for that in milliseconds.
-type ending() :: {sockeye_backend:owner_inbox(), pid(), Sent :: non_neg_integer(), Timeout :: non_neg_integer(), [sockeye:conn()]}.

%% The first pause between two looks, and the longest.
-define(FIRST_MS, 2).
-define(MOST_MS, 250).
%% One that runs now and then is taken to rest when so many looks have found it waiting without a message. On a busy machine it
%% runs between any two of them.
-define(LOOKS, 10).
%% A process that waits so long for something else, with messages in its mailbox, is not at work on them.
-define(IDLE_MS, 100).

%% Each process has one that watches it, since to look at one that is at work can take long. Where the node has no room for
%% one, nobody waits.
-spec watch([ending()]) -> ok.
watch(Ending) ->
    lists:foreach(fun({_, _, _, _, Conns} = One) ->
                          case sockeye_processes:start(fun() -> spawn(?MODULE, answered, [One]) end) of
                              none -> answer(Conns);
                              _Pid -> ok
                          end
                  end, Ending).

-spec answered(ending()) -> ok.
answered({Inbox, Pid, Sent, Timeout, Conns}) ->
    All = fun() -> sockeye_backend:delivery_sent(Inbox) end,
    Found = await(Pid, fun() -> All() - Sent end, Timeout),
    _ = [sockeye_log:event(warning, engine, owner_idle, #{owner => Pid, messages => Left}, fun() -> sockeye_log:conn(hd(Conns)) end)
         || Found =:= idle, {_, Left} <- [process_info(Pid, message_queue_len)], Left >= All(), not is_shell(Pid)],
    answer(Conns).

%% A person takes messages later, or never.
-spec is_shell(pid()) -> boolean().
is_shell(Pid) ->
    case process_info(Pid, current_function) of
        {_, {Module, _, _}} -> Module =:= shell orelse Module =:= 'Elixir.IEx.Evaluator';
        undefined -> false
    end.

-spec answer([sockeye:conn()]) -> ok.
answer(Conns) ->
    lists:foreach(fun(Conn) -> sockeye_backlog:settle(sockeye_backend:answered(Conn)) end, Conns).

%% Returns when the process has worked through what is in its mailbox now, is dead, or cannot be expected to: when
%% it waits for something else for 100 ms, or the time in milliseconds is over. `Newer' tells how many messages have
%% certainly been sent to it since the call: a process that takes its messages in their order has come past those of
%% before when fewer are left than that.
-spec await(pid(), fun(() -> non_neg_integer()), non_neg_integer()) -> done | dead | idle | timeout.
await(Pid, Newer, Timeout) ->
    Begin = now_ms(),
    look(Pid, Newer, Begin + Timeout, ?FIRST_MS, {none, Begin, 0}).

%% How often the process had run when it was last seen to, since when it has waited, and how many looks have found it without messages.
-type quiet() :: {none | non_neg_integer(), Since :: integer(), Looks :: non_neg_integer()}.

-spec look(pid(), fun(() -> non_neg_integer()), integer(), pos_integer(), quiet()) ->
          done | dead | idle | timeout.
look(Pid, Newer, Until, Pause, {Ran, Since, Looks}) ->
    Sent = Newer(),
    Info = erlang:process_info(Pid, [message_queue_len, status, reductions]),
    Now = now_ms(),
    case Info of
        undefined ->
            dead;
        [{_, Unread}, _, _] when Unread < Sent ->
            done;
        [{_, Left}, {_, waiting}, {_, Runs}] when Left =:= 0, Runs =:= Ran; Left =:= 0, Looks >= ?LOOKS; Runs =:= Ran, Now - Since >= ?IDLE_MS ->
            case waits_for_engine(Pid) of
                false when Left =:= 0 -> done;
                false -> idle;
                true when Now < Until -> look_again(Pid, Newer, Until, Pause, {none, Now, 0});
                true -> timeout
            end;
        _ when Now >= Until ->
            timeout;
        [_, {_, waiting}, {_, Ran}] ->
            look_again(Pid, Newer, Until, Pause, {Ran, Since, 0});
        [{_, 0}, {_, waiting}, {_, Runs}] ->
            look_again(Pid, Newer, Until, ?FIRST_MS, {Runs, Now, Looks + 1});
        [_, {_, waiting}, {_, Runs}] ->
            look_again(Pid, Newer, Until, Pause, {Runs, Now, 0});
        [{_, 0}, _, _] ->
            look_again(Pid, Newer, Until, Pause, {none, Now, Looks});
        _ ->
            look_again(Pid, Newer, Until, Pause, {none, Now, 0})
    end.

%% As who sends does: it is at work. To look there makes a process run.
-spec waits_for_engine(pid()) -> boolean().
waits_for_engine(Pid) ->
    case erlang:process_info(Pid, current_function) of
        {_, {Module, _, _}} -> lists:member(Module, [sockeye_ask, sockeye_backlog, sockeye_port_call, sockeye_port_delivery, sockeye_link_writer]);
        undefined -> false
    end.

-spec look_again(pid(), fun(() -> non_neg_integer()), integer(), pos_integer(), quiet()) ->
          done | dead | idle | timeout.
look_again(Pid, Newer, Until, Pause, Quiet) ->
    receive after min(Pause, max(0, Until - now_ms())) -> ok end,
    look(Pid, Newer, Until, min(2 * Pause, ?MOST_MS), Quiet).

-spec now_ms() -> integer().
now_ms() ->
    erlang:monotonic_time(millisecond).
