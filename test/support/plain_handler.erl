%% A fun_handler whose optional callbacks are handle_open/3 and a handle_info/2 that knows one message.
-module(plain_handler).
-behaviour(sockeye_handler).

-export([init/1, handle_open/3, handle_frame/3, handle_info/2]).

init(Funs) -> fun_handler:init(Funs).
handle_open(Info, Conn, State) -> fun_handler:handle_open(Info, Conn, State).
handle_frame(Frame, Conn, State) -> fun_handler:handle_frame(Frame, Conn, State).
handle_info(tick, State) -> fun_handler:handle_info(tick, State).
