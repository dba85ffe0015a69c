%% Tells a process what it is called with, and returns what a frame or a message says: `{do, Result}', in which `state' stands for the
%% state and `{conn, N}' for the connection that was opened as number N.
-module(parity_handler).
-behaviour(sockeye_handler).

-export([init/1, handle_open/3, handle_frame/3, handle_close/4, handle_error/3, handle_info/2, handle_cast/2, handle_call/3, terminate/2]).

init({Tell, Opens}) -> {ok, {Tell, Opens, []}}.

handle_open(Info, Conn, {Tell, Opens, Conns}) ->
    State = {Tell, Opens, Conns ++ [Conn]},
    Shown = maps:with([path, query, subprotocol, deflate, tls, http_version, state], Info),
    tell(handle_open, [{lists:sort(maps:keys(Info)), Shown, proplists:get_value(<<"x-test">>, map_get(headers, Info))}, Conn], State),
    result(Opens, State).

handle_frame({binary, <<131, _/binary>> = Bytes}, Conn, State) ->
    tell(handle_frame, [{do, binary_to_term(Bytes)}, Conn], State),
    result(binary_to_term(Bytes), State);
handle_frame(Frame, Conn, State) -> tell(handle_frame, [Frame, Conn], State), {[], State}.

handle_close(Code, Reason, Conn, State) -> tell(handle_close, [Code, Reason, Conn], State), {[], State}.
handle_error(Error, Conn, State) -> tell(handle_error, [Error, Conn], State), {[], State}.
handle_info({do, Result}, State) -> tell(handle_info, [Result], State), result(Result, State);
handle_info(Message, State) -> tell(handle_info, [Message], State), {[], State}.
handle_cast(Result, State) -> tell(handle_cast, [Result], State), result(Result, State).
handle_call(Result, _From, State) -> tell(handle_call, [Result], State), result(Result, State).
terminate(Reason, State) -> tell(terminate, [Reason], State).

result({crash, Class, Reason}, State) -> erlang:raise(Class, named(Reason, State), []);
result({setopts, Conn, Options}, State) -> ok = sockeye:setopts(named(Conn, State), Options), {[], State};
result(Result, State) -> named(Result, State).

named(state, State) -> State;
named({conn, N}, {_, _, Conns}) when N =< length(Conns) -> lists:nth(N, Conns);
named(Tuple, State) when is_tuple(Tuple) -> list_to_tuple(named(tuple_to_list(Tuple), State));
named([First | Rest], State) -> [named(First, State) | named(Rest, State)];
named(Map, State) when is_map(Map) -> maps:map(fun(_, V) -> named(V, State) end, Map);
named(Other, _State) -> Other.

tell(Callback, Args, {Tell, _, Conns}) ->
    Tell ! {saw, Callback, numbered(Args, maps:from_list(lists:zip(Conns, lists:seq(1, length(Conns)))))}.

%% Connections by their number, and pids as such.
numbered(Term, Conns) when is_map_key(Term, Conns) -> {conn, map_get(Term, Conns)};
numbered(Pid, _Conns) when is_pid(Pid) -> pid;
numbered([{Module, Function, Args, At} | _], _Conns) when is_atom(Module), is_atom(Function), is_list(At) -> {stack, Module, Function, Args};
numbered(Tuple, Conns) when is_tuple(Tuple) -> list_to_tuple(numbered(tuple_to_list(Tuple), Conns));
numbered([First | Rest], Conns) -> [numbered(First, Conns) | numbered(Rest, Conns)];
numbered(Map, Conns) when is_map(Map) -> maps:map(fun(_, V) -> numbered(V, Conns) end, Map);
numbered(Other, _Conns) -> Other.
