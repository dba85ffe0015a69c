%% @private
%% The end of a process of ours that is no ordinary one: one report, and the reason for those who are
%% linked to it or monitor it.
-module(sockeye_crash).

-export([reason/1]).
-export([is_orderly/1]).
-export([report/1]).
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
    What = case R of
               #{crash := _} -> handler_crashed;
               #{stop := _} -> handler_stopped
           end,
    ok = sockeye_counts:crash(handler, Id),
    Failure = case R of
                  #{crash := Crash} -> Crash;
                  #{stop := Reason} -> {exit, Reason, []}
              end,
    ok = sockeye_telemetry:exception(Failure, #{module => Module, callback => Callback, conn => Conn}, Who),
    sockeye_log:event(
      error, Id, What, maps:with([crash, stop], R),
      fun() ->
              Shown = shown(Module, #{state => State, message => With, reason => reason_of(R)}),
              Texts = [{Key, sockeye_log_text:cut(Value, Most)}
                       || {Key, From, Most} <- [{Kind, message, ?FRAME}, {state, state, ?STATE}],
                          Key =/= none, Key =/= state orelse Callback =/= init, #{From := Value} <- [Shown]],
              lists:foldl(fun maps:merge/2, #{module => Module},
                          [Who(), sockeye_log:conn(Conn), maps:from_list(Texts), named(Callback)])
      end).

-spec named(sockeye_commands:callback() | none) -> map().
named(none) -> #{};
named(Callback) -> #{callback => {Callback, arity(Callback)}}.

-spec reason_of(map()) -> term().
reason_of(#{crash := Crash}) -> reason(Crash);
reason_of(#{stop := Reason}) -> Reason.

%% What the handler lets be seen of its state and of a message. It must not fail in a report.
-spec shown(module(), map()) -> map().
shown(Module, Status) ->
    case erlang:function_exported(Module, format_status, 1) of
        true ->
            try Module:format_status(Status) of
                Shown when is_map(Shown) -> Shown;
                _ -> Status#{state := hidden, message := hidden}
            catch
                _:_ -> Status#{state := hidden, message := hidden}
            end;
        false ->
            Status
    end.

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
