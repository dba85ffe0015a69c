%% @private
%% The timers that the processes of a handler have started, and the time of their test, which may be moved on.
%%
%% A timer cannot be asked for, so calls of `erlang:send_after/3,4' and `erlang:start_timer/3,4' are traced. When their time is said to
%% pass, a timer is cancelled, and its message sent.
-module(sockeye_test_timers).

-export([begin_test/0]).
-export([end_test/0]).
-export([trace/1]).
-export([new/0]).
-export([traced/2]).
-export([ask/2]).

-export_type([timers/0]).

-record(timers,
        {%% Milliseconds that a test has let pass. Those of the clock do not count: a test would see how fast its host is.
         moved = 0 :: non_neg_integer(),
         called = #{} :: #{pid() => {atom(), [term()]}},
         started = #{} :: #{reference() => {Due :: integer(), To :: pid() | atom(), Message :: term()}}}).

-opaque timers() :: #timers{}.

%% A pattern is the node's: it is there while there are tests, whoever else traces.
-spec begin_test() -> ok.
begin_test() ->
    ok = counters:add(tests(), 1, 1),
    pattern(returned()).

-spec end_test() -> ok.
end_test() ->
    ok = counters:sub(tests(), 1, 1),
    counters:get(tests(), 1) > 0 orelse pattern(false),
    %% One may have begun meanwhile.
    counters:get(tests(), 1) =:= 0 orelse pattern(returned()),
    ok.

-spec tests() -> counters:counters_ref().
tests() ->
    case persistent_term:get(?MODULE, none) of
        none -> ok = persistent_term:put(?MODULE, counters:new(1, [])), tests();
        Tests -> Tests
    end.

%% The call and what it returns.
-spec returned() -> list().
returned() -> [{'_', [], [{return_trace}]}].

-spec pattern(false | list()) -> ok.
pattern(Match) ->
    _ = [erlang:trace_pattern({erlang, Function, Arity}, Match, [local]) || Function <- [send_after, start_timer], Arity <- [3, 4]],
    ok.

%% Those of the process that the calling one starts next, and of no other. Nothing if somebody else traces it: then time passes as it does.
-spec trace({to, pid()} | off) -> ok.
trace({to, Tracer}) ->
    try erlang:trace(self(), true, [call, set_on_first_spawn, {tracer, Tracer}]) of
        _ -> ok
    catch error:badarg -> ok
    end;
trace(off) ->
    _ = erlang:trace(self(), false, [call, set_on_first_spawn]),
    ok.

-spec new() -> timers().
new() -> #timers{}.

-spec traced(tuple(), timers()) -> timers().
traced({trace, Pid, call, {erlang, Function, Args}}, #timers{called = Called} = T) ->
    T#timers{called = Called#{Pid => {Function, Args}}};
traced({trace, Pid, return_from, _, Ref}, #timers{called = Called, started = Started} = T) ->
    case Called of
        #{Pid := {Function, [Time, To, Message | Options]}} when is_reference(Ref) ->
            Due = case Options of
                      [[{abs, true} | _]] -> T#timers.moved + Time - erlang:monotonic_time(millisecond);
                      _ -> T#timers.moved + Time
                  end,
            Sent = case Function of
                       send_after -> Message;
                       start_timer -> {timeout, Ref, Message}
                   end,
            T#timers{called = maps:remove(Pid, Called), started = Started#{Ref => {Due, To, Sent}}};
        _ ->
            T
    end;
traced(_Other, T) ->
    T.

%% `now'; `{next, Until}': sends the message of the first timer until then, and moves the time there.
-spec ask(now | {next, integer()}, timers()) -> {integer() | sent | none, timers()}.
ask(now, T) ->
    {T#timers.moved, T};
ask({next, Until}, #timers{started = Started} = T) ->
    case lists:sort([{Due, Ref} || {Ref, {Due, _, _}} <- maps:to_list(Started), Due =< Until]) of
        [] ->
            {none, moved(Until, T)};
        [{Due, Ref} | _] ->
            #{Ref := {_, To, Message}} = Started,
            Later = T#timers{started = maps:remove(Ref, Started)},
            case erlang:cancel_timer(Ref) of
                %% It has gone off, or the handler has cancelled it.
                false ->
                    ask({next, Until}, Later);
                _ ->
                    _ = try To ! Message catch error:badarg -> ok end,
                    {sent, moved(Due, Later)}
            end
    end.

-spec moved(integer(), timers()) -> timers().
moved(Until, #timers{moved = Moved} = T) -> T#timers{moved = max(Moved, Until)}.
