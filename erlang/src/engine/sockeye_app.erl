%% @private
%% The application: starts and stops the supervisor of the engine.
-module(sockeye_app).
-behaviour(application).

-export([start/2]).
-export([stop/1]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    ok = load_all(),
    case sockeye_backend:choose() of
        ok -> start();
        {error, _} = Error -> Error
    end.

-spec start() -> {ok, pid()} | {error, term()}.
start() ->
    case sockeye_sup:start_link() of
        {ok, Pid} -> {ok, Pid};
        ignore -> {error, ignore};
        {error, Reason} -> {error, Reason}
    end.

%% In interactive mode a module is loaded when it is called first, which takes a descriptor: there
%% may be none left by then. Ours, those that these call, and those that write our events into the log.
-spec load_all() -> ok.
load_all() ->
    Ours = case application:get_key(sockeye, modules) of
               {ok, Modules} -> Modules;
               undefined -> []
           end,
    Logs = [logger_formatter, logger_h_common, logger_std_h, logger_olp, io_lib, io_lib_format,
            io_lib_pretty, string, unicode_util, calendar, erl_error, re, gen_server, supervisor, proc_lib],
    %% Errors of the system get sentences, and atoms in answers of a process engine, from erl_posix_msg.
    Called = [base64, erl_posix_msg, filelib, gen_tcp, io, socket, sys, uri_string],
    %% One that is missing fails where it is needed.
    _ = code:ensure_modules_loaded(Ours ++ Called ++ Logs),
    ok.

-spec stop(term()) -> ok.
stop(_State) ->
    ok.
