%% @private
%% What the public module asks a server for: to stop, to drain, to read its certificates again, what is known of it.
-module(sockeye_server_calls).

-export([stop/1]).
-export([stop_process/1]).
-export([drain/2]).
-export([reload_tls/1]).
-export([info/1]).

-spec stop(sockeye:server()) -> ok | {error, not_found}.
stop(Server) ->
    with_process(Server, fun stop_process/1).

%% Ends a server or a client, and returns when it has ended.
-spec stop_process(pid()) -> ok | {error, not_found}.
stop_process(Pid) ->
    try gen_server:stop(Pid, normal, infinity)
    catch
        exit:noproc -> {error, not_found};
        %% It was about to end by itself.
        exit:_ -> ok
    end.

-spec drain(sockeye:server(), map()) -> {ok, map()} | {error, not_found | draining}.
drain(Server, Options) ->
    with_process(Server, fun(Pid) -> drain_process(Pid, Options) end).

-spec drain_process(pid(), map()) -> {ok, map()} | {error, not_found | draining}.
drain_process(Pid, Options) ->
    Ref = monitor(process, Pid),
    try gen_server:call(Pid, {drain, Options}, infinity) of
        {ok, _} = Done ->
            %% It answers just before it ends.
            receive {'DOWN', Ref, process, Pid, _} -> Done end;
        {error, _} = Error ->
            Error
    %% It was about to end by itself, or somebody stopped it.
    catch exit:_ -> {error, not_found}
    after demonitor(Ref, [flush])
    end.

-spec reload_tls(sockeye:server()) -> ok | {error, {bad_option, tls, binary()} | not_found | not_running}.
reload_tls(Server) ->
    with_process(Server, fun(Pid) ->
                                 try gen_server:call(Pid, reload_tls, infinity)
                                 catch exit:_ -> {error, not_found}
                                 end
                         end).

-spec with_process(sockeye:server(), fun((pid()) -> Result)) -> Result | {error, not_found}.
with_process(Server, Work) ->
    case sockeye_engine:find(Server) of
        {ok, {Pid, _, _}} -> Work(Pid);
        error -> {error, not_found}
    end.

-spec info(sockeye:server()) -> {ok, map()} | {error, not_found}.
info(Server) ->
    case sockeye_engine:find(Server) of
        {ok, {Pid, ServerId, About}} ->
            try {ok, maps:merge(sockeye_counts:numbers(ServerId), About#{server => Pid})}
            catch error:badarg -> {error, not_found}
            end;
        error ->
            {error, not_found}
    end.
