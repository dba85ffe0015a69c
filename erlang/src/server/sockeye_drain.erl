%% @private
%% The end of a server in good order: no more connections, and those that are
%% there are closed a batch at a time, so that their clients do not all come to
%% another server at the same moment. Who is being answered gets the answer.
-module(sockeye_drain).

-export([parse/1]).
-export([start/3]).
-export([step/1]).
-export([answer/2]).
-export([size/4]).
-export([code/1]).
-export([close_gradually/2]).

-export_type([drain/0]).
-export_type([counts/0]).

%% Of a server that its supervisor stops: so many batches, and their distance.
-define(CALM_BATCHES, 10).
-define(CALM_MS, 100).
-define(CALM_BATCH, 100).
%% The last to be told have this part of the time, or so many milliseconds, to answer.
-define(ANSWER_PART, 4).
-define(ANSWER_MS, 5000).

-record(drain,
        {from :: gen_server:from(),
         id :: sockeye_backend:server_id(),
         options :: map(),
         %% Monotonic milliseconds: when all are to know, and when it is over.
         told_by :: integer() | infinity,
         deadline :: integer() | infinity,
         %% Connections at the beginning, and what had been counted by then.
         open :: non_neg_integer(),
         accepted :: non_neg_integer(),
         unanswered :: non_neg_integer(),
         %% To be closed next.
         queue = [] :: [sockeye:conn()]}).

-opaque drain() :: #drain{}.

-type counts() :: #{accepted := non_neg_integer(), unanswered := non_neg_integer(), atom() => term()} | unknown.
%% Over the life of a server; `unknown' if the engine ended first.

-spec defaults() -> map().
defaults() ->
    #{per_interval => 100, interval => 100, code => 1001, reason => <<>>, deadline => 30000}.

-spec parse(map()) -> {ok, map()} | {error, sockeye_bad_option:bad_option()}.
parse(Options) ->
    try maps:map(fun checked/2, Options) of
        Given -> {ok, maps:merge(defaults(), Given)}
    catch
        throw:{bad_option, _, _} = Bad -> {error, Bad}
    end.

-spec checked(term(), term()) -> term().
checked(Key, Value) ->
    sockeye_bad_option:checked(Key, Value, check(Key, Value), fun() -> [{batch, per_interval} | maps:keys(defaults())] end).

-spec check(term(), term()) -> true | {ok, binary()} | unknown | string().
check(per_interval, V) -> positive(V) orelse "a positive integer below 2^31";
check(interval, V) -> positive(V) orelse "milliseconds below 2^31";
check(deadline, V) -> sockeye_options:time(V);
check(code, V) -> V =:= 1001 orelse V =:= 1012 orelse is_integer(V) andalso V >= 3000
                      andalso V =< 4999 orelse "1001, 1012 or 3000..4999";
check(reason, V) ->
    try iolist_to_binary(V) of
        Bin when byte_size(Bin) =< 123 ->
            case unicode:characters_to_binary(Bin) of
                Bin -> {ok, Bin};
                _ -> check(reason, undefined)
            end;
        _ -> check(reason, undefined)
    catch
        error:badarg -> "UTF-8 of at most 123 bytes"
    end;
check(_Key, _V) -> unknown.

-spec positive(term()) -> boolean().
positive(V) -> is_integer(V) andalso V >= 1 andalso V =< 16#7fffffff.

%% The calling process owns the server, and gets `sockeye_drain' when it is time
%% for the next step.
-spec start(gen_server:from(), sockeye_backend:server_id(), map()) -> drain().
start(From, Id, #{deadline := Time} = Options) ->
    _ = begun(Id),
    #{connections := Open, accepted := Accepted, unanswered := Unanswered} = counters(Id),
    self() ! sockeye_drain,
    #drain{from = From, id = Id, options = Options, deadline = in(Time), told_by = in(told_in(Time)),
           open = Open, accepted = Accepted, unanswered = Unanswered}.

-spec told_in(timeout()) -> timeout().
told_in(infinity) -> infinity;
told_in(Time) -> Time - min(?ANSWER_MS, Time div ?ANSWER_PART).

-spec in(timeout()) -> integer() | infinity.
in(infinity) -> infinity;
in(Time) -> now_ms() + Time.

-spec left(integer() | infinity) -> integer() | infinity.
left(infinity) -> infinity;
left(Then) -> Then - now_ms().

-spec step(drain()) -> {wait, drain()} | {done, drain()}.
step(#drain{id = Id, deadline = Deadline, options = #{interval := Interval}} = Drain) ->
    Left = left(Deadline),
    case counters(Id) of
        #{connections := 0, answering := 0} ->
            {done, Drain};
        %% Any atom is greater than any number.
        _ when Left =< 0 ->
            {done, Drain};
        _ ->
            _ = erlang:send_after(min(Interval, Left), self(), sockeye_drain),
            {wait, close_some(Drain)}
    end.

%% Nobody comes any more. Without an engine nobody does.
-spec begun(sockeye_backend:server_id()) -> ok | none.
begun(Id) ->
    try sockeye_backend:server_drain(Id)
    catch error:badarg -> none
    end.

%% If the engine's process has ended, nothing is open: another one does not know the server.
-spec counters(sockeye_backend:server_id()) -> map().
counters(Id) ->
    try sockeye_backend:server_info(Id)
    catch error:badarg -> #{connections => 0, answering => 0, accepted => 0, unanswered => 0}
    end.

%% Who came in the meantime is found when all others are closed.
-spec close_some(drain()) -> drain().
close_some(#drain{queue = []} = Drain) ->
    case sockeye:connections(self()) of
        {ok, [_ | _] = Conns} -> close_some(Drain#drain{queue = Conns});
        _ -> Drain
    end;
close_some(#drain{id = Id, queue = Queue, told_by = ToldBy, options = Options} = Drain) ->
    #{per_interval := Batch, interval := Interval, code := Code, reason := Reason} = Options,
    {Now, Later} = split(size(length(Queue), Batch, Interval, left(ToldBy)), Queue),
    close(Id, Now, Code, Reason),
    Drain#drain{queue = Later}.

%% How many to close at once: more than asked for, where the time would be over before the last is
%% told. They would all be closed together then, which is what a drain is to avoid.
-spec size(non_neg_integer(), pos_integer(), pos_integer(), integer() | infinity) -> pos_integer().
size(_Left, Batch, _Interval, infinity) ->
    Batch;
size(Left, Batch, Interval, Time) ->
    %% One now, and one after each interval.
    Steps = max(0, Time) div Interval + 1,
    max(Batch, (Left + Steps - 1) div Steps).

-spec split(pos_integer(), [T]) -> {[T], [T]}.
split(N, List) when length(List) =< N -> {List, []};
split(N, List) -> lists:split(N, List).

%% An error is one of a connection that is closed already.
-spec close(sockeye_backend:server_id(), [sockeye:conn()], sockeye:close_code(), binary()) -> ok.
close(Id, Conns, Code, Reason) ->
    submit(Id, lists:append([[Conn, {close, Code, Reason}] || Conn <- Conns])).

-spec submit(sockeye_backend:server_id(), list()) -> ok.
submit(Id, Commands) ->
    case sockeye_backlog:settle(sockeye_backend:commands(Id, Commands)) of
        {more, Rest, _} -> submit(Id, Rest);
        _ -> ok
    end.

-spec code(drain()) -> sockeye:close_code().
code(#drain{options = #{code := Code}}) -> Code.

%% Tells who asked for it, once the server has ended.
-spec answer(drain(), counts()) -> ok.
answer(#drain{from = From, open = Open, accepted = Before, unanswered = Already}, Counts) ->
    {Later, CutOff} = case Counts of
                          #{accepted := Accepted, unanswered := Unanswered} -> {Accepted - Before, Unanswered - Already};
                          %% The engine has ended and cut off those that were left.
                          unknown -> {0, Open}
                      end,
    gen_server:reply(From, {ok, #{closed => Open + Later - CutOff, unanswered => CutOff}}).

%% Closes in batches as well, but within a second, for a server whose time is
%% bounded. Few connections are left to the caller, who closes them at once.
%% Answers have the same second.
-spec close_gradually(sockeye_backend:server_id(), sockeye:close_code()) -> ok.
close_gradually(Id, Code) ->
    Answered = in(?CALM_BATCHES * ?CALM_MS),
    case begun(Id) =:= ok andalso sockeye:connections(self()) of
        {ok, Conns} when length(Conns) > ?CALM_BATCH ->
            Batch = max(?CALM_BATCH, (length(Conns) - 1) div ?CALM_BATCHES + 1),
            close_all(Id, Conns, Batch, Code);
        _ ->
            ok
    end,
    answered(Id, Answered).

-spec answered(sockeye_backend:server_id(), integer()) -> ok.
answered(Id, Deadline) ->
    case {counters(Id), left(Deadline)} of
        {#{answering := N}, Left} when N > 0, Left > 0 ->
            receive after min(Left, ?CALM_MS) -> ok end,
            answered(Id, Deadline);
        _ ->
            ok
    end.

-spec close_all(sockeye_backend:server_id(), [sockeye:conn()], pos_integer(), sockeye:close_code()) -> ok.
close_all(Id, Conns, Batch, Code) ->
    {Now, Later} = split(Batch, Conns),
    close(Id, Now, Code, <<>>),
    case Later of
        [] -> ok;
        _ ->
            receive after ?CALM_MS -> ok end,
            close_all(Id, Later, Batch, Code)
    end.

-spec now_ms() -> integer().
now_ms() ->
    erlang:monotonic_time(millisecond).
