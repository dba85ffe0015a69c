%% @private
%% How the process of a handler ends: what is reported, and its last callback.
-module(sockeye_handler_end).

-export([run/3]).
-export([reason/1]).
-export([report/3]).
-export([who/1]).
-export([from_outside/5]).

-include("sockeye_worker.hrl").

%% The end: its report and the last callback. Does not return if it is none in order.
-spec run(fin(), term(), #s{}) -> ok.
run(Fin, State, S) ->
    Reason = reason(Fin),
    IsOrderly = sockeye_crash:is_orderly(Reason),
    IsOrderly orelse report(Fin, State, S),
    case last_callback(Reason, State, S) of
        ok when IsOrderly ->
            ok;
        ok ->
            die(Reason, S);
        Crash ->
            report(Crash, State, S),
            die(case IsOrderly of true -> reason(Crash); false -> Reason end, S)
    end.

-spec last_callback(term(), term(), #s{}) -> fin() | ok.
last_callback(_Reason, _State, #s{inbox = undefined}) ->
    ok;
last_callback(Reason, State, #s{has_terminate = true, module = Module, conn = Conn}) ->
    try Module:terminate(Reason, State) of
        _ -> ok
    catch
        throw:_ -> ok;
        Class:Why:Stack -> {crash, {Class, Why, Stack}, {terminate, Conn, message, Reason}}
    end;
last_callback(_Reason, _State, _S) ->
    ok.

-spec reason(fin()) -> term().
reason({stop, Reason, _}) -> Reason;
reason({crash, Crash, _}) -> sockeye_crash:reason(Crash).

-spec report(fin(), term(), #s{}) -> ok.
report({Kind, What, Last}, State, #s{module = Module, server_id = Id} = S) ->
    sockeye_crash:report(#{module => Module, last => Last, state => State, Kind => What, server_id => Id,
                           who => fun() -> who(S) end}).

%% Who has started the process does not report its end once more.
-spec die(term(), #s{}) -> no_return().
die(Reason, #s{parent = Parent}) ->
    Parent ! {sockeye_reported, self()},
    sockeye_crash:die(Reason).

-spec who(#s{}) -> map().
who(#s{url = none, server = Server}) -> sockeye_log:server(Server);
who(#s{url = Url, server = Client}) -> sockeye_log:client(Client, Url).

%% The same for one that could not do so itself, in the process that has started it.
-spec from_outside(module(), pid(), term(), sockeye_backend:server_id(), map()) -> ok.
from_outside(Module, Pid, Reason, Id, Facts) ->
    case sockeye_crash:is_orderly(Reason) of
        true -> ok;
        false -> sockeye_crash:killed(Module, Pid, Reason, Id, Facts)
    end.
