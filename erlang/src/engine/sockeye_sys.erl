%% @private
%% Answers the system messages of OTP (`sys') for our processes that are no gen_server: a status, a pause, the end.
-module(sockeye_sys).

-export([message/5]).
-export([system_continue/3]).
-export([system_terminate/4]).
-export([system_code_change/4]).
-export([system_get_state/1]).
-export([format_status/2]).

%% Goes on with Module:loop(State).
-spec message(term(), {pid(), term()}, Parent :: pid(), module(), State :: term()) -> no_return().
message(Request, From, Parent, Module, State) ->
    sys:handle_system_msg(Request, From, Parent, ?MODULE, [], {Module, State}).

-spec system_continue(pid(), [term()], {module(), term()}) -> no_return().
system_continue(_Parent, _Debug, {Module, State}) ->
    Module:loop(State).

-spec system_terminate(term(), pid(), [term()], {module(), term()}) -> no_return().
system_terminate(Reason, _Parent, _Debug, _State) ->
    exit(Reason).

-spec system_code_change({module(), term()}, module(), term(), term()) -> {ok, {module(), term()}}.
system_code_change(State, _Module, _OldVsn, _Extra) ->
    {ok, State}.

-spec system_get_state({module(), term()}) -> {ok, term()}.
system_get_state({_Module, State}) ->
    {ok, State}.

%% What else is in the state may be secret.
-spec format_status(term(), [term()]) -> #{module := module()}.
format_status(_Opt, [_Dictionary, _SysState, _Parent, _Debug, {Module, _State}]) ->
    #{module => Module}.
