%% A fun_handler with a say in the handshake: #{accept => fun(Request)}.
-module(accept_handler).
-behaviour(sockeye_handler).

-export([accept/2, init/1, handle_open/3, handle_frame/3, handle_close/4, handle_info/2, terminate/2]).

accept(Request, #{accept := Accept}) -> Accept(Request).

init(Funs) -> fun_handler:init(Funs).
handle_open(Info, Conn, State) -> fun_handler:handle_open(Info, Conn, State).
handle_frame(Frame, Conn, State) -> fun_handler:handle_frame(Frame, Conn, State).
handle_close(Code, Reason, Conn, State) -> fun_handler:handle_close(Code, Reason, Conn, State).
handle_info(Message, State) -> fun_handler:handle_info(Message, State).
terminate(Reason, State) -> fun_handler:terminate(Reason, State).
