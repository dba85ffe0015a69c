%% @private
%% The end of the engine's process: it exits, or is killed.
-module(sockeye_executable_end).

-export([of_run/4]).
-export([stopped/2]).
-export([killed/1]).
-export([await/2]).

%% An engine that was told to end has so long, and one whose socket has ended to say why.
-define(END_MS, 2000).
-define(LAST_WORDS_MS, 500).
%% The node may have no descriptors left to kill it with, until some are closed.
-define(KILLS, 10).
-define(KILLER_MS, 5000).

%% How it has ended, which it is made to, and what it said last, the last first in `Lines'.
-spec of_run(Why :: term(), port(), gen_tcp:socket(), Lines :: [binary()]) -> {term(), [binary()]}.
of_run({exit_status, _} = How, _Port, Socket, Lines) ->
    ok = close(Socket),
    {How, lists:reverse(Lines)};
of_run(Why, Port, Socket, Lines) ->
    ok = close(Socket),
    %% One that ends has closed its socket before its end is told.
    Wait = case Why of
               closed -> ?LAST_WORDS_MS;
               {socket, _} -> ?LAST_WORDS_MS;
               _ -> 0
           end,
    case await(Port, Wait) of
        {exited, Status, More} when Wait > 0 -> {{exit_status, Status}, lists:reverse(Lines, More)};
        {exited, _, More} -> {Why, lists:reverse(Lines, More)};
        running -> {Why, lists:reverse(Lines, killed(Port))}
    end.

%% Its socket tells it to end: when this returns, it has.
-spec stopped(port(), gen_tcp:socket()) -> ok.
stopped(Port, Socket) ->
    ok = close(Socket),
    case await(Port, ?END_MS) of
        {exited, _, _} -> ok;
        running -> _ = killed(Port), ok
    end.

%% What is not written would keep this process waiting.
-spec close(gen_tcp:socket()) -> ok.
close(Socket) ->
    _ = inet:setopts(Socket, [{linger, {true, 0}}]),
    gen_tcp:close(Socket).

%% What it says until it has ended.
-spec killed(port()) -> [binary()].
killed(Port) ->
    killed(Port, ?KILLS).

-spec killed(port(), non_neg_integer()) -> [binary()].
killed(Port, 0) ->
    try
        true = port_close(Port),
        []
    catch error:badarg -> []
    end;
killed(Port, Tries) ->
    Wait = case kill(Port) of
               ok -> ?END_MS;
               %% Its end is told, in a message that is here or was taken: there is nothing to wait for.
               ended -> 0
           end,
    case await(Port, Wait) of
        {exited, _, Lines} -> Lines;
        running when Wait =:= 0 -> [];
        running -> killed(Port, Tries - 1)
    end.

%% At once, whatever it does, unless the node has no descriptors or ports left for that. As long as the port has not
%% told of its end, the number is that of no other process.
-spec kill(port()) -> ok | ended.
kill(Port) ->
    %% A small system has a shell, and no program of that name.
    case {erlang:port_info(Port, os_pid), os:find_executable("sh")} of
        {undefined, _} ->
            ended;
        {{os_pid, Pid}, Shell} when is_list(Shell) ->
            try open_port({spawn_executable, Shell},
                          [{args, ["-c", "kill -KILL " ++ integer_to_list(Pid)]}, exit_status, stderr_to_stdout, hide]) of
                Killer ->
                    receive {Killer, {exit_status, _}} -> ok
                    after ?KILLER_MS -> ok
                    end
            catch
                error:_ -> ok
            end;
        _ ->
            ok
    end.

%% What it said last, and how it ended, if it has within this time.
-spec await(port(), non_neg_integer()) -> {exited, Status :: non_neg_integer(), [binary()]} | running.
await(Port, Time) ->
    await(Port, now_ms() + Time, []).

-spec await(port(), integer(), [binary()]) -> {exited, non_neg_integer(), [binary()]} | running.
await(Port, Deadline, Lines) ->
    receive
        {Port, {data, {_, Line}}} -> await(Port, Deadline, [Line | lists:sublist(Lines, 9)]);
        {Port, {exit_status, Status}} -> {exited, Status, lists:reverse(Lines)}
    after max(0, Deadline - now_ms()) ->
            running
    end.

-spec now_ms() -> integer().
now_ms() ->
    erlang:monotonic_time(millisecond).
