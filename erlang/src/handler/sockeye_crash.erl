%% @private
%% The abnormal end of a process of Sockeye: one report, and the reason for those who are
%% linked to it or monitor it.
-module(sockeye_crash).

-export([reason/1]).
-export([is_orderly/1]).
-export([report/1]).
-export([killed/5]).
-export([die/1]).
-export([shown/2]).
-export([arity/1]).

-export_type([last/0]).
-export_type([status/0]).

%% What a report shows of a frame or a message, and of a state, in bytes.
-define(FRAME, 1024).
-define(STATE, 4096).

%% As gen_server has it.
-type status() :: #{state => term(), message => term(), reason => term(), log => [term()]}.

-type last() :: {sockeye_commands:callback() | none, sockeye:conn() | none, frame | message | none, term()}.
%% The callback that was called last, for which connection, and with what.

%% As gen_server has it: what links and monitors see.
-spec reason({error | exit | throw, term(), list()}) -> term().
reason({error, Reason, Stack}) -> {Reason, Stack};
reason({exit, Reason, _Stack}) -> Reason;
reason({throw, Thrown, Stack}) -> {{nocatch, Thrown}, Stack}.

-spec is_orderly(term()) -> boolean().
is_orderly(normal) -> true;
is_orderly(shutdown) -> true;
is_orderly({shutdown, _}) -> true;
is_orderly(_) -> false.

%% The one report of an end. `crash' is an exception, or `stop' the reason that a callback gave.
-spec report(#{module := module(), last := last(), state := term(), crash => tuple(), stop => term(),
               server_id := sockeye_backend:server_id(), who := fun(() -> map())}) -> ok.
report(#{module := Module, last := {Callback, Conn, Kind, With}, state := State, server_id := Id, who := Who} = R) ->
    ok = sockeye_counts:crash(handler, Id),
    Given = #{state => State, message => With, reason => reason_of(R)},
    Shown = shown(Module, Given),
    {What, Key, Failure, Why} = failure(R, Given, Shown),
    ok = sockeye_telemetry:exception(Failure, #{module => Module, callback => Callback, conn => Conn}, Who),
    sockeye_log:event(
      error, Id, What, #{Key => Why},
      fun() ->
              Texts = [{Name, sockeye_log_text:cut(Value, Most)}
                       || {Name, From, Most} <- [{Kind, message, ?FRAME}, {state, state, ?STATE}],
                          Name =/= none, Name =/= state orelse Callback =/= init, #{From := Value} <- [Shown]],
              lists:foldl(fun maps:merge/2, #{module => Module},
                          [Who(), sockeye_log:conn(Conn), maps:from_list(Texts), named(Callback)])
      end).

%% The report of an end that the process itself could not tell of.
-spec killed(module(), pid(), term(), sockeye_backend:server_id(), Facts :: map()) -> ok.
killed(Module, Pid, Reason, Id, Facts) ->
    ok = sockeye_counts:crash(handler, Id),
    Seen = maps:get(reason, shown(Module, #{reason => Reason}), hidden),
    ok = sockeye_telemetry:exception({exit, Seen}, #{module => Module, callback => none, conn => none}, fun() -> Facts end),
    sockeye_log:event(error, Id, handler_killed, Facts#{module => Module, process => Pid, reason => Seen}).

-spec failure(map(), map(), map()) -> {atom(), crash | stop, tuple(), term()}.
failure(#{crash := Crash}, Given, Shown) ->
    Seen = seen(Crash, Given, Shown),
    {handler_crashed, crash, Seen, Seen};
failure(#{stop := _}, _Given, Shown) ->
    Seen = maps:get(reason, Shown, hidden),
    {handler_stopped, stop, {exit, Seen, []}, Seen}.

%% An exception as the handler lets it be seen. Where it hides anything its arguments are not shown: that may be one of them.
-spec seen(tuple(), map(), map()) -> tuple().
seen(Crash, Given, Given) ->
    Crash;
seen({Class, Reason, Stack}, #{reason := Given}, Shown) ->
    Seen = case maps:get(reason, Shown, hidden) of
               Given -> Reason;
               {Other, [_ | _]} when Class =/= exit -> Other;
               Other -> Other
           end,
    {Class, Seen, [without_arguments(Frame) || Frame <- Stack]}.

-spec without_arguments(tuple()) -> tuple().
without_arguments({Module, Name, Args, Place}) when is_list(Args) -> {Module, Name, length(Args), Place};
without_arguments({Fun, Args, Place}) when is_list(Args) -> {Fun, length(Args), Place};
without_arguments(Frame) -> Frame.

-spec named(sockeye_commands:callback() | none) -> map().
named(none) -> #{};
named(Callback) -> #{callback => {Callback, arity(Callback)}}.

-spec reason_of(map()) -> term().
reason_of(#{crash := Crash}) -> reason(Crash);
reason_of(#{stop := Reason}) -> Reason.

%% What the handler lets be seen of its state, a message and a reason. It must not fail in a report.
-spec shown(module(), map()) -> map().
shown(Module, Status) ->
    case erlang:function_exported(Module, format_status, 1) of
        true ->
            try Module:format_status(Status) of
                Shown when is_map(Shown) -> Shown;
                _ -> hidden(Status)
            catch
                _:_ -> hidden(Status)
            end;
        false ->
            Status
    end.

-spec hidden(map()) -> map().
hidden(Status) ->
    maps:map(fun(_Key, _Value) -> hidden end, Status).

-spec arity(sockeye_commands:callback()) -> arity().
arity(init) -> 1;
arity(handle_open) -> 3;
arity(handle_frame) -> 3;
arity(handle_error) -> 3;
arity(handle_close) -> 4;
arity(handle_info) -> 2;
arity(handle_down) -> 2;
arity(handle_call) -> 3;
arity(handle_cast) -> 2;
arity(terminate) -> 2.

%% Ends the calling process by a signal of its own: links and monitors see the reason, and neither
%% gen_server nor proc_lib has something to report.
-spec die(term()) -> no_return().
die(Reason) ->
    process_flag(trap_exit, false),
    exit(self(), Reason),
    exit(Reason).
