%% @private
%% Processes: a node may have so many, and the VM writes a line to the log for each one that it cannot start.
-module(sockeye_processes).

-export([may_start/0]).

%% Whether there is room for one more. Who asks first, where a client can bring it about, fills no log. Others may
%% be faster: the start itself may still fail.
-spec may_start() -> boolean().
may_start() ->
    erlang:system_info(process_count) < erlang:system_info(process_limit).
