-module(echo_handler).
-behaviour(sockeye_handler).

-export([init/1, handle_frame/3]).

-spec init([]) -> {ok, none}.
init([]) ->
    {ok, none}.

-spec handle_frame(term(), term(), none) -> {list(), none}.
handle_frame({json, Term}, _Conn, State) ->
    {[{reply, {json, Term}}], State}.
