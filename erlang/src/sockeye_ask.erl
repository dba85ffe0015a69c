%% @private
%% Questions to the engine's threads, which answer with a message.
-module(sockeye_ask).

-export([conn_info/2]).
-export([retry/1]).

%% What the thread of a connection knows of it.
-spec conn_info(sockeye:conn(), timeout()) -> map() | {error, closed | timeout}.
conn_info(Conn, Timeout) ->
    %% The engine may end before it answers.
    Ref = monitor(process, sockeye_engine),
    Result = case retry(fun() -> sockeye_nif:conn_info(Conn, Ref) end) of
                 ok ->
                     receive
                         {Ref, {ok, Info}} -> Info;
                         {Ref, {error, closed}} -> {error, closed};
                         {'DOWN', Ref, process, _, _} -> {error, closed}
                     after Timeout ->
                             {error, timeout}
                     end;
                 {error, closed} ->
                     {error, closed}
             end,
    _ = demonitor(Ref, [flush]),
    Result.

%% The engine takes no more orders for the moment, which never lasts.
-spec retry(fun(() -> Result | retry)) -> Result.
retry(Call) ->
    case Call() of
        retry -> erlang:yield(), retry(Call);
        Result -> Result
    end.
