%% @private
%% The last event that the log had of each connection, while there is a dashboard that may show it. Of a bounded number of them.
-module(sockeye_dashboard_errors).

-export([new_table/0]).
-export([note/2]).
-export([last/1]).

-define(TABLE, ?MODULE).
-define(MOST, 1000).

%% It belongs to the calling process.
-spec new_table() -> ok.
new_table() ->
    %% In order of time, and by connection.
    _ = ets:new(?TABLE, [named_table, public, ordered_set]),
    ok.

%% Something is written to the log. Whoever writes does nothing more where there is no table.
-spec note(atom(), map()) -> ok.
note(What, #{conn := {sockeye_conn, _} = Conn}) ->
    try
        Now = {erlang:monotonic_time(), erlang:unique_integer()},
        case ets:lookup(?TABLE, {conn, Conn}) of
            [{Key, Before, _, _}] -> true = ets:delete(?TABLE, {at, Before}), ets:delete(?TABLE, Key);
            [] -> true
        end,
        true = ets:insert(?TABLE, [{{conn, Conn}, Now, What, erlang:system_time(millisecond)}, {{at, Now}, Conn}]),
        forget(ets:info(?TABLE, size) > 2 * ?MOST)
    catch
        %% There is no table, or others write as well.
        error:_ -> ok
    end;
note(_What, _Detail) ->
    ok.

-spec forget(boolean()) -> ok.
forget(true) ->
    {at, _} = Oldest = ets:first(?TABLE),
    [{_, Conn}] = ets:lookup(?TABLE, Oldest),
    true = ets:delete(?TABLE, Oldest),
    true = ets:delete(?TABLE, {conn, Conn}),
    ok;
forget(false) ->
    ok.

%% What it was, and when, in milliseconds of the calendar.
-spec last(sockeye:conn()) -> {atom(), integer()} | none.
last(Conn) ->
    try ets:lookup(?TABLE, {conn, Conn}) of
        [{_, _, What, At}] -> {What, At};
        [] -> none
    catch
        error:badarg -> none
    end.
