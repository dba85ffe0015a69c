%% @private
%% The end of the processes that a server, or a client, has started.
-module(sockeye_stopping).

-export([answers/1]).
-export([in_engine/4]).
-export([workers/1]).
-export([supervisor/1]).
-export([init_failed/2]).

%% Handler processes serve what is in their inboxes: so long since the last one has ended, and so
%% long for all of them.
-define(EACH_MS, 5000).
-define(ALL_MS, 20000).

%% How long a server or client that ends waits at most for the engine to say that all its connections have.
%% The engine gives them about a second, whatever `close_timeout' is.
-define(ANSWERS_MS, 5000).

-spec answers(timeout()) -> pos_integer().
answers(infinity) -> ?ANSWERS_MS;
answers(CloseTimeout) -> CloseTimeout.

%% The engine ends this server or client of the calling process, and says when all its connections have: `gone' if it has ended itself.
-spec in_engine(sockeye_backend:server_id(), sockeye:close_code(), Engine :: reference(), Patience :: pos_integer()) ->
          {ok, sockeye_drain:counts()} | gone | late.
in_engine(Id, Code, Engine, Patience) ->
    Run = sockeye_backend:last_run(),
    try sockeye_backend:server_stop(Id, Code, <<>>) of
        ok ->
            receive
                {sockeye_stopped, Id, Counts} -> {ok, Counts};
                %% Not one of those before, of which there may still be word.
                {sockeye_lost, Lost} when Lost >= Run -> gone;
                {'DOWN', Engine, process, _, _} -> gone
            after Patience -> late
            end
    catch
        %% The engine is gone, and all connections with it; its last word may be here.
        error:badarg ->
            receive {sockeye_stopped, Id, Counts} -> {ok, Counts}
            after 0 -> gone
            end
    end.

%% Each serves what has come for it, the last `handle_close' included. Says how many had to be killed.
-spec workers([pid()]) -> Killed :: non_neg_integer().
workers(Pids) ->
    Waiting = monitored(Pids),
    lists:foreach(fun sockeye_worker:stop/1, Pids),
    await(Waiting, now_ms() + ?ALL_MS).

-spec supervisor(pid() | undefined) -> ok.
supervisor(undefined) -> ok;
supervisor(Pid) -> _ = shut_down([Pid]), ok.

%% The start of the caller has failed: it leaves no process behind, however far it came, and sends its parent no
%% exit signal.
-spec init_failed(pid(), term()) -> no_return().
init_failed(Parent, Reason) ->
    {links, Links} = process_info(self(), links),
    _ = shut_down([Pid || Pid <- Links, is_pid(Pid), Pid =/= Parent]),
    proc_lib:init_ack(Parent, {error, Reason}),
    unlink(Parent),
    exit(normal).

-spec shut_down([pid()]) -> Killed :: non_neg_integer().
shut_down(Pids) ->
    Waiting = monitored(Pids),
    lists:foreach(fun(Pid) -> exit(Pid, shutdown) end, Pids),
    await(Waiting, now_ms() + ?ALL_MS).

-spec monitored([pid()]) -> #{reference() => pid()}.
monitored(Pids) ->
    maps:from_list([{monitor(process, Pid), Pid} || Pid <- Pids]).

%% In the order in which they end, since there may be a hundred thousand.
-spec await(#{reference() => pid()}, integer() | infinity) -> Killed :: non_neg_integer().
await(Waiting, _Deadline) when map_size(Waiting) =:= 0 ->
    0;
await(Waiting, Deadline) ->
    receive
        {'DOWN', Monitor, process, _Pid, _Reason} when is_map_key(Monitor, Waiting) ->
            await(maps:remove(Monitor, Waiting), Deadline)
    after left(Deadline) ->
            maps:foreach(fun(_Monitor, Pid) -> exit(Pid, kill) end, Waiting),
            0 = await(Waiting, infinity),
            map_size(Waiting)
    end.

-spec left(integer() | infinity) -> timeout().
left(infinity) -> infinity;
left(Deadline) -> max(0, min(?EACH_MS, Deadline - now_ms())).

-spec now_ms() -> integer().
now_ms() ->
    erlang:monotonic_time(millisecond).
