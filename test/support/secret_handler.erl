%% A handler whose state and frames are nobody's business.
-module(secret_handler).
-behaviour(sockeye_handler).

-export([init/1, handle_frame/3, format_status/1]).

init(How) -> {ok, {How, "the password"}}.

handle_frame({json, <<"pid">>}, _Conn, State) -> {[{reply, {text, pid_to_list(self())}}], State};
handle_frame(_Frame, _Conn, _State) -> exit(on_request).

format_status(#{state := {well, _}} = Status) -> Status#{state := 'no secret', message := 'a frame'};
format_status(#{state := {crashes, _}}) -> error(on_request);
format_status(#{state := {returns_nonsense, _}}) -> nonsense.
