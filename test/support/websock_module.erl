%% A module as Elixir's WebSock has them: tells a process what it is called with, and does what it is told.
-module(websock_module).

-export([init/1, handle_in/2, handle_control/2, handle_info/2, terminate/2]).

%% Of {Tell, First}, where `First' is what init/1 returns with `state' in the place of the state.
init({Tell, First}) ->
    Tell ! {init, self()},
    returned(First, {Tell, 0}).

handle_in({Data, [{opcode, Opcode}]}, {Tell, N}) ->
    Tell ! {in, Opcode, Data, N},
    case Data of
        <<131, _/binary>> -> returned(binary_to_term(Data), {Tell, N + 1});
        _ -> {ok, {Tell, N + 1}}
    end.

handle_control({Data, [{opcode, Opcode}]}, {Tell, N}) ->
    Tell ! {control, Opcode, Data, N},
    {push, {text, [<<"seen ">>, Data]}, {Tell, N + 1}}.

handle_info({do, Result}, State) -> returned(Result, State);
handle_info(Message, {Tell, N}) ->
    Tell ! {info, Message, N},
    {ok, {Tell, N + 1}}.

terminate(Reason, {Tell, N}) ->
    Tell ! {terminate, Reason, N}.

returned({crash, Why}, _State) -> error(Why);
returned(Result, State) ->
    list_to_tuple([case Part of state -> State; _ -> Part end || Part <- tuple_to_list(Result)]).
