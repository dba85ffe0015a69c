%% @private
%% Shows the frames of one connection to the log or to a process: a process for each that watches, through which a death of
%% either side ends the trace.
-module(sockeye_tracer).

-export([new_table/0]).
-export([trace/2]).
-export([init/1]).

-import(sockeye_bad_option, [expected/2, option/2]).

-define(TABLE, ?MODULE).
%% Who may watch one connection.
-define(MOST, 8).
-define(RATE, 100).
-define(MOST_RATE, 1000).
-define(MOST_PAYLOAD, 1024).
-define(ASK_MS, 5000).

-record(state, {conn :: sockeye:conn(), to :: logger | pid(), id :: pos_integer(), payload :: non_neg_integer(),
                receiver :: reference() | undefined, engine :: reference()}).

%% It belongs to the calling process. Rows: {{Conn, To}, Tracer}.
-spec new_table() -> ok.
new_table() ->
    _ = ets:new(?TABLE, [named_table, public, ordered_set]),
    ok.

-spec trace(sockeye:conn(), on | off | {off, logger | pid()} | sockeye:trace_options()) ->
          ok | {error, closed | too_many_traces | sockeye_bad_option:bad_option()}.
trace(Conn, on) ->
    trace(Conn, #{});
trace(Conn, off) ->
    end_all(Conn, '_');
trace(Conn, {off, To}) ->
    end_all(Conn, To);
trace(Conn, Options) ->
    try maps:map(fun checked/2, Options) of
        Checked -> begin_one(Conn, maps:merge(#{to => logger, rate => ?RATE, payload => 0}, Checked))
    catch throw:{bad, Key, Why} -> {error, option(Key, Why)}
    end.

-spec checked(term(), term()) -> term().
checked(to, logger) -> logger;
checked(to, Pid) when is_pid(Pid), node(Pid) =:= node() -> Pid;
checked(rate, Rate) when is_integer(Rate), Rate >= 1, Rate =< ?MOST_RATE -> Rate;
checked(payload, Bytes) when is_integer(Bytes), Bytes >= 0, Bytes =< ?MOST_PAYLOAD -> Bytes;
checked(to, Value) -> bad(to, "logger or a pid of this node", Value);
checked(rate, Value) -> bad(rate, "1..1000 frames a second", Value);
checked(payload, Value) -> bad(payload, "0..1024 bytes", Value);
checked(Key, _Value) -> throw({bad, Key, sockeye_bad_option:unknown(Key, [to, rate, payload])}).

-spec bad(atom(), string(), term()) -> no_return().
bad(Key, What, Value) -> throw({bad, Key, expected(What, Value)}).

-spec begin_one(sockeye:conn(), map()) -> ok | {error, closed | too_many_traces}.
begin_one(Conn, #{to := To} = Options) ->
    ok = end_all(Conn, To),
    case ets:whereis(?TABLE) =/= undefined andalso length(tracers(Conn, '_')) of
        false -> {error, closed};
        Count when Count < ?MOST -> proc_lib:start(?MODULE, init, [Options#{conn => Conn}]);
        _ -> {error, too_many_traces}
    end.

-spec tracers(sockeye:conn(), logger | pid() | '_') -> [pid()].
tracers(Conn, To) ->
    try ets:select(?TABLE, [{{{Conn, To}, '$1'}, [], ['$1']}])
    catch error:badarg -> []
    end.

%% Returns when they have told their receivers.
-spec end_all(sockeye:conn(), logger | pid() | '_') -> ok.
end_all(Conn, To) ->
    Ending = [begin Monitor = monitor(process, Pid), Pid ! sockeye_untrace, Monitor end || Pid <- tracers(Conn, To)],
    lists:foreach(fun(Monitor) -> receive {'DOWN', Monitor, process, _, _} -> ok end end, Ending).

-spec init(map()) -> ok.
init(#{conn := Conn, to := To, rate := Rate, payload := Payload}) ->
    ok = sockeye_label:set({sockeye_tracer, Conn}),
    Id = erlang:unique_integer([positive]),
    State = #state{conn = Conn, to = To, id = Id, payload = Payload, engine = monitor(process, sockeye_engine),
                   receiver = case To of logger -> undefined; _ -> monitor(process, To) end},
    true = ets:insert(?TABLE, {{Conn, To}, self()}),
    try sockeye_backend:trace(Conn, self(), Id, Rate, Payload) of
        ok ->
            %% The connection's thread answers behind that: what comes from now on is shown.
            _ = sockeye_ask:conn_info(Conn, ?ASK_MS),
            proc_lib:init_ack(ok),
            loop(State);
        {error, _} = Error ->
            refused(Error, State)
    catch
        %% It is of no engine.
        error:badarg -> refused({error, closed}, State)
    end.

-spec refused({error, closed}, #state{}) -> ok.
refused(Error, #state{conn = Conn, to = To}) ->
    true = ets:delete(?TABLE, {Conn, To}),
    proc_lib:init_ack(Error).

-spec loop(#state{}) -> ok.
loop(#state{id = Id, receiver = Receiver, engine = Engine} = State) ->
    receive
        {sockeye_frame, Id, Frame} ->
            tell(frame(Frame, State), State),
            loop(State);
        {sockeye_untraced, Id} -> over(State);
        {sockeye_lost, _Run} -> over(State);
        sockeye_untrace -> untrace(State), over(State);
        {'DOWN', Receiver, process, _, _} -> untrace(State), over(State);
        {'DOWN', Engine, process, _, _} -> over(State);
        _ -> loop(State)
    end.

-spec untrace(#state{}) -> ok.
untrace(#state{conn = Conn, id = Id}) ->
    _ = sockeye_backend:trace(Conn, self(), Id, 0, 0),
    ok.

-spec over(#state{}) -> ok.
over(#state{conn = Conn, to = To} = State) ->
    tell(ended, State),
    try true = ets:delete_object(?TABLE, {{Conn, To}, self()}), ok
    catch error:badarg -> ok
    end.

-spec tell(map() | ended, #state{}) -> ok.
tell(ended, #state{to = logger}) -> ok;
tell(#{suppressed := 0} = Frame, #state{to = logger} = State) -> tell(maps:remove(suppressed, Frame), State);
tell(Frame, #state{to = logger, conn = Conn}) -> sockeye_log:always(notice, frame, Frame#{conn => Conn});
tell(What, #state{to = Pid, conn = Conn}) -> Pid ! {sockeye_trace, Conn, What}, ok.

-spec frame(tuple(), #state{}) -> sockeye:traced().
frame({Incoming, Head, Size, Time, Payload, Suppressed}, #state{payload = Most}) ->
    Frame = #{direction => case Incoming of true -> in; false -> out end, opcode => opcode(Head band 15),
              fin => Head band 16#80 =/= 0, compressed => Head band 16#40 =/= 0, size => Size, time => Time,
              suppressed => Suppressed},
    case Most of
        0 -> Frame;
        _ -> Frame#{payload => Payload}
    end.

-spec opcode(0..15) -> continuation | text | binary | close | ping | pong | 3..15.
opcode(0) -> continuation;
opcode(1) -> text;
opcode(2) -> binary;
opcode(8) -> close;
opcode(9) -> ping;
opcode(10) -> pong;
opcode(Other) -> Other.
