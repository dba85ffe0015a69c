%% A handler made of funs, so that a test says in place what it needs:
%% #{init => fun(() -> {ok, S} | {stop, R}), open => fun(Conn, Info, S), frame => fun(Frame, Conn, S),
%%   close => fun(Conn, Code, Reason, S), error => fun(Error, Conn, S), info => fun(Message, S), down => fun(Reason, S), terminate => fun(Reason, S)}
-module(fun_handler).
-behaviour(sockeye_handler).

-export([init/1, handle_open/3, handle_frame/3, handle_close/4, handle_error/3, handle_info/2, handle_down/2,
         terminate/2]).

init(#{init := Init} = Funs) ->
    case Init() of
        {ok, State} -> {ok, {Funs, State}};
        Other -> Other
    end;
init(Funs) ->
    {ok, {Funs, undefined}}.

handle_open(Info, Conn, State) -> run(open, [Conn, Info], State).
handle_frame(Frame, Conn, State) -> run(frame, [Frame, Conn], State).
handle_close(Code, Reason, Conn, State) -> run(close, [Conn, Code, Reason], State).
handle_error(Error, Conn, State) -> run(error, [Error, Conn], State).
handle_info(Message, State) -> run(info, [Message], State).
handle_down(Reason, State) -> run(down, [Reason], State).

terminate(Reason, {#{terminate := Terminate}, State}) -> Terminate(Reason, State);
terminate(_Reason, _State) -> ok.

run(Key, Args, {Funs, State}) ->
    case Funs of
        #{Key := Fun} ->
            case apply(Fun, Args ++ [State]) of
                {stop, Reason, State1} -> {stop, Reason, {Funs, State1}};
                {Commands, State1, hibernate} -> {Commands, {Funs, State1}, hibernate};
                {Commands, State1} -> {Commands, {Funs, State1}};
                Other -> Other
            end;
        _ ->
            {[], {Funs, State}}
    end.
