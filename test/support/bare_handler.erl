%% Only what a handler must have: echoes what comes.
-module(bare_handler).
-behaviour(sockeye_handler).

-export([init/1, handle_frame/3]).

init(Arg) ->
    {ok, Arg}.

handle_frame({json, <<"crash">>}, _Conn, _State) -> error(on_request);
handle_frame({json, <<"pid">>}, _Conn, State) ->
    {[{reply, {json, list_to_binary(pid_to_list(self()))}}], State};
handle_frame({json, <<"who">>}, Conn, State) ->
    {[{reply, {binary, term_to_binary({self(), Conn})}}], State};
handle_frame(Frame, _Conn, State) -> {[{reply, Frame}], State}.
