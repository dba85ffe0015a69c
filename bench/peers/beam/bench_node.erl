%% What every BEAM server of the bench does beside serving: says its port, samples, ends with its runner.
-module(bench_node).

-export([run/1]).

-define(SAMPLE_MS, 50).

%% Prints `READY Port', then answers the runner's lines until standard input ends:
%% `watch' starts to sample the longest mailbox of the node, `peaks' prints what was seen.
-spec run(inet:port_number()) -> no_return().
run(Port) ->
    io:format("READY ~b~n", [Port]),
    loop(undefined).

loop(Watcher) ->
    case io:get_line("") of
        "watch\n" ->
            loop(spawn_link(fun() -> watch(0, 0, now_ms()) end));
        "peaks\n" ->
            Watcher ! {peaks, self()},
            receive
                {peaks, Mailbox, Memory} ->
                    io:format("{\"mailbox_peak\":~b,\"beam_memory_peak\":~b}~n", [Mailbox, Memory])
            end,
            loop(Watcher);
        _Eof ->
            erlang:halt(0, [{flush, false}])
    end.

watch(Mailbox, Memory, Next) ->
    receive
        {peaks, From} ->
            From ! {peaks, Mailbox, Memory}
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

now_ms() ->
    erlang:monotonic_time(millisecond).
