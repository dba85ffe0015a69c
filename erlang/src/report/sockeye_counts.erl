%% @private
%% What Erlang itself counts of a server: how long its handlers take, how often its functions crash; and starts of the engine.
%%
%% The engine knows nothing of this. `info/1' and the metrics put both together: see {@link numbers/1}.
-module(sockeye_counts).

-export([new_table/0]).
-export([new/1]).
-export([forget/1]).
-export([of_server/1]).
-export([worker/2]).
-export([batch/2]).
-export([crash/2]).
-export([numbers/1]).
-export([quantile/2]).
-export([bounds/0]).
-export([engine_started/0]).
-export([restarts/0]).

-export_type([counts/0, buckets/0]).

-define(TABLE, ?MODULE).

%% Upper bounds in microseconds. The last bucket has none.
-define(BOUNDS, {50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000,
                 5000000, 10000000}).
-define(BUCKETS, (tuple_size(?BOUNDS) + 1)).
%% What stands behind the buckets.
-define(SUM, (?BUCKETS + 1)).
-define(CRASH(N), (?SUM + N)).
-define(CRASHES, [{handler, 1}, {accept, 2}, {http, 3}]).

-type counts() :: counters:counters_ref() | none.
%% Of a server. A client has none.
-type buckets() :: [{UpTo :: pos_integer() | infinity, Count :: non_neg_integer()}].
%% In microseconds. Each counts what no bucket before it does.

%% It belongs to the calling process. Rows: {Server, Counters}, {{worker, Server, Slot}, Pid}, and {engine, Starts}.
-spec new_table() -> ok.
new_table() ->
    _ = ets:new(?TABLE, [named_table, public, set, {read_concurrency, true}]),
    ok.

%% A server begins.
-spec new(sockeye_backend:server_id()) -> ok.
new(Id) ->
    true = ets:insert(?TABLE, {Id, counters:new(?CRASH(length(?CRASHES)), [write_concurrency])}),
    ok.

%% The application may have stopped.
-spec forget(sockeye_backend:server_id()) -> ok.
forget(Id) ->
    try
        true = ets:delete(?TABLE, Id),
        true = ets:match_delete(?TABLE, {{worker, Id, '_'}, '_'}),
        ok
    catch error:badarg -> ok
    end.

-spec of_server(sockeye_backend:server_id()) -> counts().
of_server(Id) ->
    try ets:lookup(?TABLE, Id) of
        [{_, Counts}] -> Counts;
        [] -> none
    catch
        error:badarg -> none
    end.

%% The calling process is the worker of that number, in a pool.
-spec worker(counts(), {sockeye_backend:server_id(), non_neg_integer()}) -> ok.
worker(none, _Which) -> ok;
worker(_Counts, {Id, Slot}) -> true = ets:insert(?TABLE, {{worker, Id, Slot}, self()}), ok.

%% A process of a handler has served a batch, in so many microseconds.
-spec batch(counts(), non_neg_integer()) -> ok.
batch(none, _Time) ->
    ok;
batch(Counts, Time) ->
    ok = counters:add(Counts, bucket(Time), 1),
    counters:add(Counts, ?SUM, Time).

-spec bucket(non_neg_integer()) -> pos_integer().
bucket(Time) when Time =< 500 ->
    if Time =< 50 -> 1; Time =< 100 -> 2; Time =< 250 -> 3; true -> 4 end;
bucket(Time) ->
    bucket(Time, 5).

-spec bucket(non_neg_integer(), pos_integer()) -> pos_integer().
bucket(Time, N) when N < ?BUCKETS, Time > element(N, ?BOUNDS) -> bucket(Time, N + 1);
bucket(_Time, N) -> N.

%% A callback of a handler, `accept', or a function of `http' has failed.
-spec crash(handler | accept | http, sockeye_backend:server_id()) -> ok.
crash(Where, Id) ->
    case of_server(Id) of
        none -> ok;
        Counts -> counters:add(Counts, ?CRASH(proplists:get_value(Where, ?CRASHES)), 1)
    end.

%% All that is counted of a server. Raises `badarg' if there is none of this number.
-spec numbers(sockeye_backend:server_id()) -> map().
numbers(Id) ->
    #{memory := Memory} = OfEngine = sockeye_backend:server_info(Id),
    Counts = of_server(Id),
    OfEngine#{memory := Memory#{handlers => handlers(Id)},
              handler_time => times(Counts),
              crashes => maps:from_list([{Where, get(Counts, ?CRASH(N))} || {Where, N} <- ?CRASHES])}.

-spec get(counts(), pos_integer()) -> non_neg_integer().
get(none, _N) -> 0;
get(Counts, N) -> counters:get(Counts, N).

-spec times(counts()) -> #{count := non_neg_integer(), sum := non_neg_integer(), p50 := non_neg_integer(),
                           p99 := non_neg_integer(), buckets := buckets()}.
times(Counts) ->
    Buckets = [{Bound, get(Counts, N)} || {N, Bound} <- lists:zip(lists:seq(1, ?BUCKETS), bounds())],
    #{count => lists:sum([Count || {_, Count} <- Buckets]), sum => get(Counts, ?SUM), buckets => Buckets,
      p50 => quantile(0.5, Buckets), p99 => quantile(0.99, Buckets)}.

-spec bounds() -> [pos_integer() | infinity].
bounds() ->
    tuple_to_list(?BOUNDS) ++ [infinity].

%% The time within which so much of all is, as `histogram_quantile' of Prometheus has it: evenly spread in a bucket; and of the
%% last bucket its lower bound. 0 if there is nothing.
-spec quantile(float(), buckets()) -> non_neg_integer().
quantile(Part, Buckets) ->
    Wanted = Part * lists:sum([Count || {_, Count} <- Buckets]),
    quantile(Wanted, 0, Buckets).

-spec quantile(float(), non_neg_integer(), buckets()) -> non_neg_integer().
quantile(_Wanted, Lower, [{infinity, _}]) ->
    Lower;
quantile(Wanted, Lower, [{Bound, Count} | _]) when Wanted =< Count ->
    case Count of
        0 -> 0;
        _ -> round(Lower + (Bound - Lower) * Wanted / Count)
    end;
quantile(Wanted, _Lower, [{Bound, Count} | Rest]) ->
    quantile(Wanted - Count, Bound, Rest).

%% Bytes of the processes of a pool. One that is about to be replaced has none.
-spec handlers(sockeye_backend:server_id()) -> non_neg_integer().
handlers(Id) ->
    lists:sum([Bytes || [Pid] <- ets:match(?TABLE, {{worker, Id, '_'}, '$1'}),
                        {memory, Bytes} <- [process_info(Pid, memory)]]).

%% The engine of the VM, or a process that is one.
-spec engine_started() -> ok.
engine_started() ->
    try
        _ = ets:update_counter(?TABLE, engine, 1, {engine, 0}),
        ok
    catch error:badarg -> ok
    end.

%% How often it was started after the first time, while the application has run.
-spec restarts() -> non_neg_integer().
restarts() ->
    try max(0, ets:lookup_element(?TABLE, engine, 2) - 1)
    catch error:badarg -> 0
    end.
