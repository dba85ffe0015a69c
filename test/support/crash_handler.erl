%% Crashes, or stops, in the callback that it is told, once `crash_watch' monitors it.
-module(crash_handler).
-behaviour(sockeye_handler).

-export([init/1, handle_open/3, handle_frame/3, handle_close/4, handle_error/3, handle_info/2, handle_down/2,
         terminate/2]).

init(At) ->
    crash_watch ! {handler, self()},
    receive watched -> ok end,
    crash(init, At),
    {ok, #{at => At, known => state}}.

handle_open(_Info, _Conn, #{at := At} = State) ->
    crash(handle_open, At),
    {[], State}.

handle_frame({json, <<"stop">>}, _Conn, State) ->
    {stop, no_database, State};
handle_frame({json, <<"return">>}, _Conn, _State) ->
    nonsense;
handle_frame({json, <<"exit">>}, _Conn, _State) ->
    exit(on_request);
handle_frame({json, <<"bad">>}, _Conn, State) ->
    {[{fly, away}], State};
handle_frame(_Frame, _Conn, #{at := At} = State) ->
    crash(handle_frame, At),
    {[{reply, {text, pid_to_list(self())}}], State}.

handle_close(_Code, _Reason, _Conn, #{at := At} = State) ->
    crash(handle_close, At),
    {[], State}.

handle_error(_Error, _Conn, #{at := At} = State) ->
    crash(handle_error, At),
    {[], State}.

handle_info(_Message, #{at := At} = State) ->
    crash(handle_info, At),
    {[], State}.

handle_down(_Reason, #{at := At} = State) ->
    crash(handle_down, At),
    {[], State}.

terminate(_Reason, #{at := At}) ->
    crash(terminate, At).

crash(At, At) -> error(on_request);
crash(_, _) -> ok.
