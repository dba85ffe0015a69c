%% @private
%% How many events of a kind a server may log: what a client provokes must not fill the log.
%%
%% Of each kind the first ones of a window are logged. The first one of a later window tells how
%% many were not.
-module(sockeye_log_limit).

-export([new_table/0]).
-export([forget/1]).
-export([pass/1]).
-export([pass/2]).

-export_type([scope/0]).

-define(TABLE, sockeye_log).

-type scope() :: sockeye_backend:server_id() | engine.

-type key() :: {scope(), Kind :: atom()}.

%% It belongs to the calling process. Each row: {Key, begin of the window, events in it}.
-spec new_table() -> ok.
new_table() ->
    _ = ets:new(?TABLE, [named_table, public, set, {write_concurrency, true}]),
    ok.

%% Nothing more comes from this server.
-spec forget(scope()) -> ok.
forget(Scope) ->
    try ets:match_delete(?TABLE, {{Scope, '_'}, '_', '_'}) of
        true -> ok
    catch
        error:badarg -> ok
    end.

%% Whether an event may be logged, and how many like it were not since the last one.
-spec pass(key()) -> {yes, non_neg_integer()} | no.
pass(Key) ->
    pass(Key, erlang:monotonic_time(millisecond)).

-spec pass(key(), NowMs :: integer()) -> {yes, non_neg_integer()} | no.
pass(Key, Now) ->
    try
        {Most, Window} = bounds(Key),
        case ets:lookup(?TABLE, Key) of
            [] -> first(Key, Now);
            [{_, Begin, Count}] when Now - Begin >= Window -> later(Key, Begin, Count, Most, Now);
            [_] -> counted(ets:update_counter(?TABLE, Key, {3, 1}), Most)
        end
    catch
        %% The application stops, or the server did; better twice in the log than never.
        error:badarg -> {yes, 0}
    end.

%% So many of a kind in so many milliseconds. What says no more of the node the second time is told once a minute.
-spec bounds(key()) -> {pos_integer(), pos_integer()}.
bounds({_Scope, Once}) when Once =:= no_process; Once =:= owner_idle -> {1, 60000};
bounds(_Key) -> {10, 10000}.

-spec first(key(), integer()) -> {yes, non_neg_integer()} | no.
first(Key, Now) ->
    case ets:insert_new(?TABLE, {Key, Now, 1}) of
        true -> {yes, 0};
        false -> pass(Key, Now)
    end.

%% Only one of several processes begins the new window.
-spec later(key(), integer(), pos_integer(), pos_integer(), integer()) -> {yes, non_neg_integer()} | no.
later(Key, Begin, Count, Most, Now) ->
    case ets:select_replace(?TABLE, [{{Key, Begin, Count}, [], [{{{const, Key}, Now, 1}}]}]) of
        1 -> {yes, max(0, Count - Most)};
        0 -> pass(Key, Now)
    end.

-spec counted(pos_integer(), pos_integer()) -> {yes, 0} | no.
counted(Count, Most) when Count =< Most -> {yes, 0};
counted(_Count, _Most) -> no.
