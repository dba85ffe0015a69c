%% What is resident of the memory of the node, and of the engine's process where that is another.
-module(resident).

-export([each/0]).
-export([anonymous/1]).
-export([drift/1]).

%% In bytes.
each() ->
    {ok, Info} = sockeye:info(),
    [{node, anonymous(os:getpid())} | [{engine, anonymous(integer_to_list(OsPid))} || #{os_pid := OsPid} <- [Info]]].

%% Without pages of files: code that runs for the first time is no memory that anybody has asked for.
anonymous(OsPid) ->
    {ok, Rollup} = file:read_file("/proc/" ++ OsPid ++ "/smaps_rollup"),
    {match, [Kb]} = re:run(Rollup, "\nAnonymous:\\s+([0-9]+)", [{capture, all_but_first, list}]),
    1024 * list_to_integer(Kb).

%% How far the later half of what was resident, one after the other, is from the earlier one, in per cent: their medians.
drift(Sizes) ->
    {Earlier, Later} = lists:split(length(Sizes) div 2, Sizes),
    100 * (median(Later) - median(Earlier)) / median(Earlier).

median(Sizes) ->
    lists:nth((length(Sizes) + 1) div 2, lists:sort(Sizes)).
