%% @private
%% Calls a callback of a handler, and judges what it returned. A crash is a result, too.
%%
%% This is the hot path of a worker: see {@link sockeye_worker}.
-module(sockeye_callback).

-export([look_up/1]).
-export([event/5]).
-export([message/6]).

-include("sockeye_worker.hrl").

-compile({inline, [encoded/2]}).

%% Which optional callbacks there are.
-spec look_up(#s{}) -> #s{}.
look_up(#s{module = Module} = S) ->
    Has = fun(Function, Arity) -> erlang:function_exported(Module, Function, Arity) end,
    S#s{has_open = Has(handle_open, 3), has_close = Has(handle_close, 4), has_error = Has(handle_error, 3),
        has_info = Has(handle_info, 2), has_down = Has(handle_down, 2), has_call = Has(handle_call, 3),
        has_cast = Has(handle_cast, 2), has_terminate = Has(terminate, 2)}.

%% The callback for an event of a connection, and its commands on top of those before.
-spec event(sockeye:event(), sockeye:conn(), acc(), term(), #s{}) -> outcome().
event(Event, Conn, Acc, State, S) ->
    try encoded(callback(Event, Conn, State, S), S) of
        {[{reply, Frame}], State1} when is_map(Frame) orelse is_tuple(Frame),
                                        element(1, Event) =/= open, element(1, Event) =/= closed ->
            {ok, [Frame, Conn | Acc], State1, false};
        Result ->
            result(Result, last(Event, Conn), Acc, State, S)
    catch
        throw:Result -> thrown(Result, [], last(Event, Conn), Acc, State, S);
        Class:Reason:Stack -> {stop, {crash, {Class, Reason, Stack}, last(Event, Conn)}, Acc, State}
    end.

%% With its frames as the encoder has them. A crash of that is one of the callback, and never a throw.
-spec encoded(term(), #s{}) -> term().
encoded(Result, #s{encoder = none}) -> Result;
encoded(Result, #s{encoder = Encoder}) -> sockeye_encoder:commands(Result, Encoder).

%% What is thrown is a result, too.
-spec thrown(term(), [term()], sockeye_crash:last(), acc(), term(), #s{}) -> outcome().
thrown(Thrown, Args, Last, Acc, State, S) ->
    try encoded(Thrown, S) of
        Result -> result(replied(Result, Args, Last, S), Last, Acc, State, S)
    catch
        Class:Reason:Stack -> {stop, {crash, {Class, Reason, Stack}, Last}, Acc, State}
    end.

-spec last(sockeye:event(), sockeye:conn()) -> sockeye_crash:last().
last({open, Info}, Conn) -> {handle_open, Conn, none, Info};
last({closed, Code, Reason}, Conn) -> {handle_close, Conn, message, {closed, Code, Reason}};
last(passive, Conn) -> {handle_info, Conn, message, {sockeye, Conn, passive}};
last(Frame, Conn) -> {handle_frame, Conn, frame, Frame}.

-spec callback(sockeye:event(), sockeye:conn(), term(), #s{}) -> term().
callback({json, _} = Frame, Conn, State, #s{handle_frame = Handle}) ->
    Handle(Frame, Conn, State);
callback({text, _} = Frame, Conn, State, #s{handle_frame = Handle}) ->
    Handle(Frame, Conn, State);
callback({binary, _} = Frame, Conn, State, #s{handle_frame = Handle}) ->
    Handle(Frame, Conn, State);
callback({ping, _} = Frame, Conn, State, #s{handle_frame = Handle}) ->
    Handle(Frame, Conn, State);
callback({pong, _} = Frame, Conn, State, #s{handle_frame = Handle}) ->
    Handle(Frame, Conn, State);
callback({open, Info}, Conn, State, #s{module = Module, has_open = true}) ->
    Module:handle_open(Info, Conn, State);
callback({closed, Code, Reason}, Conn, State, #s{module = Module, has_close = true}) ->
    Module:handle_close(Code, Reason, Conn, State);
callback({invalid_json, _, _} = Frame, Conn, State, #s{handle_frame = Handle}) ->
    Handle(Frame, Conn, State);
callback({open, _}, _Conn, State, _S) ->
    {[], State};
callback({closed, _, _}, _Conn, State, _S) ->
    {[], State};
%% Only a handler that counts credits has asked for it.
callback(passive, Conn, State, #s{module = Module, has_info = true}) ->
    Module:handle_info({sockeye, Conn, passive}, State);
callback(passive, _Conn, State, _S) ->
    {[], State}.

-spec result(term(), sockeye_crash:last(), acc(), term(), #s{}) -> outcome().
result({[], State}, _Last, Acc, _Old, _S) ->
    {ok, Acc, State, false};
result({Commands, State}, {At, Conn, _, _}, Acc, _Old, S) when is_list(Commands) ->
    {ok, sockeye_commands:add(Commands, At, Conn, Acc, S#s.server_id), State, false};
result({Commands, State, hibernate}, {At, Conn, _, _}, Acc, _Old, S) when is_list(Commands) ->
    {ok, sockeye_commands:add(Commands, At, Conn, Acc, S#s.server_id), State, true};
result({stop, Reason, State}, Last, Acc, _Old, _S) ->
    {stop, {stop, Reason, Last}, Acc, State};
result(Other, Last, Acc, Old, _S) ->
    {stop, {crash, {exit, {bad_return_value, Other}, []}, Last}, Acc, Old}.

%% A callback that is not about the events of a batch, with what it is called with before the state.
-spec message(sockeye_commands:callback(), [term()], sockeye:conn() | none, frame | message, term(), #s{}) -> outcome().
message(Name, [With | _] = Args, Conn, Kind, State, #s{module = Module} = S) ->
    Last = {Name, Conn, Kind, With},
    try encoded(apply(Module, Name, Args ++ [State]), S) of
        Result -> result(replied(Result, Args, Last, S), Last, [], State, S)
    catch
        throw:Result -> thrown(Result, Args, Last, [], State, S);
        Class:Reason:Stack -> {stop, {crash, {Class, Reason, Stack}, Last}, [], State}
    end.

%% A reply goes after the commands beside it: what the caller does then comes later.
-spec replied(term(), [term()], sockeye_crash:last(), #s{}) -> term().
replied({reply, Reply, Commands, State}, [_, From], {handle_call, Conn, _, _}, S) when is_list(Commands) ->
    sockeye_commands:flush(sockeye_commands:add(Commands, handle_call, Conn, [], S#s.server_id), false, S#s.server_id),
    gen_server:reply(From, Reply),
    {[], State};
replied({reply, Reply, Commands, State, hibernate}, [_, _] = Args, {handle_call, _, _, _} = Last, S) ->
    case replied({reply, Reply, Commands, State}, Args, Last, S) of
        {[], State} -> {[], State, hibernate};
        Other -> Other
    end;
replied(Result, _Args, _Last, _S) ->
    Result.
