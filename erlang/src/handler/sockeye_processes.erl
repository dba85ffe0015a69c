%% @private
%% Processes: a node may have so many, and the VM writes a line to the log for each one that it cannot start.
-module(sockeye_processes).

-export([may_start/0]).
-export([start/1]).

%% Whether there is room for one more. Who asks first, where a client can bring it about, fills no log. Others may
%% be faster: the start itself may still fail.
-spec may_start() -> boolean().
may_start() ->
    erlang:system_info(process_count) < erlang:system_info(process_limit).

%% The process that the function starts, or `none' where there is no room for it.
-spec start(fun(() -> pid())) -> pid() | none.
start(Spawn) ->
    try may_start() andalso Spawn() of
        false -> none;
        Pid -> Pid
    catch
        error:system_limit -> none
    end.
