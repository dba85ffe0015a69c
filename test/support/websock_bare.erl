%% The least that WebSock's behaviour asks for.
-module(websock_bare).

-export([init/1, handle_in/2, handle_info/2]).

init(State) -> {ok, State}.

handle_in({Data, [{opcode, Opcode}]}, State) -> {push, {Opcode, Data}, State}.

handle_info(_Message, State) -> {ok, State}.
