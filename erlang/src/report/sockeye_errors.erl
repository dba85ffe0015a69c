%% @private
%% Misuse of a public function: `badarg' with the function that was called on top
%% of the stack, and what is wrong with which argument as `error_info' (EEP 54),
%% which the shell and crash reports show.
%%
%% Calls that happen rarely check their arguments first (`check/3'). Those for each
%% frame leave it to the native library, and ask here only once it has refused
%% (`refused/3').
-module(sockeye_errors).

-export([check/3]).
-export([refused/3]).
-export([misuse/4]).
-export([raise/4]).
-export([format_error/2]).

-type wrong() :: [{Argument :: pos_integer() | general, binary()}].

%% Raises unless each argument is what it should be.
-spec check(module(), atom(), [term()]) -> ok.
check(Module, Function, Args) ->
    case wrong(Module, Function, Args) of
        [] -> ok;
        Wrong -> misuse(Module, Function, Args, Wrong)
    end.

%% The native library has refused arguments of this call.
-spec refused(module(), atom(), [term()]) -> no_return().
refused(Module, Function, Args) ->
    case wrong(Module, Function, Args) of
        [] -> misuse(Module, Function, Args, [{general, <<"the native library does not take these arguments">>}]);
        Wrong -> misuse(Module, Function, Args, Wrong)
    end.

%% The caller knows what is wrong.
-spec misuse(module(), atom(), [term()], wrong()) -> no_return().
misuse(Module, Function, Args, Wrong) ->
    raise(badarg, Module, Function, Args, Wrong).

%% An option or a URL is wrong, which is the reason of the error, too.
-spec raise(term(), module(), atom(), [term()]) -> no_return().
raise({bad_option, Key, Why} = Reason, Module, Function, Args) ->
    %% The handler of a client is an argument of its own.
    N = case {Key, Args} of
            {handler, [_Url, _Handler, _Options]} -> 2;
            _ -> length(Args)
        end,
    raise(Reason, Module, Function, Args, [{N, sockeye_shown:format("option ~0tp: ~ts", [Key, Why])}]);
raise({bad_url, Why} = Reason, Module, Function, Args) ->
    raise(Reason, Module, Function, Args, [{1, Why}]);
raise(Reason, Module, Function, Args) ->
    raise(Reason, Module, Function, Args, []).

-spec raise(term(), module(), atom(), [term()], wrong()) -> no_return().
raise(Reason, Module, Function, Args, Wrong) ->
    {current_stacktrace, Stack} = process_info(self(), current_stacktrace),
    Info = [{error_info, #{module => ?MODULE, cause => Wrong}}],
    erlang:raise(error, Reason, [{Module, Function, Args, Info} | callers(Stack, {Module, Function, length(Args)})]).

%% Who called the public function.
-spec callers([tuple()], mfa()) -> [tuple()].
callers(Stack, {Module, Function, Arity} = Public) ->
    case Stack of
        [{Module, Function, Arity, _} | Callers] -> Callers;
        [_ | Rest] -> callers(Rest, Public);
        [] -> []
    end.

%% What the shell shows as `*** argument 2: ...'.
-spec format_error(term(), erlang:stacktrace()) -> #{pos_integer() | general => binary()}.
format_error(_Reason, [{_Module, _Function, _Args, Info} | _]) ->
    case lists:keyfind(error_info, 1, Info) of
        {_, #{cause := Wrong}} -> maps:from_list(Wrong);
        _ -> #{}
    end.

-spec wrong(module(), atom(), [term()]) -> wrong().
wrong(sockeye, send, [Conns, Frame]) when is_list(Conns) ->
    wrong([server_conns, shared_frame], [Conns, Frame]);
wrong(Module, Function, Args) ->
    wrong(kinds(Module, Function, length(Args)), Args).

-spec wrong([sockeye_args:kind()], [term()]) -> wrong().
wrong(Kinds, Args) ->
    Numbered = lists:zip3(lists:seq(1, length(Args)), Kinds, Args),
    [{N, Why} || {N, Kind, Arg} <- Numbered, Why <- [sockeye_args:wrong(Kind, Arg)], Why =/= none].

%% What each argument of a public function has to be.
-spec kinds(module(), atom(), arity()) -> [sockeye_args:kind()].
kinds(sockeye, start_link, 1) -> [port_or_options];
kinds(sockeye, child_spec, 1) -> [options];
kinds(sockeye, stop, 1) -> [server];
kinds(sockeye, drain, 2) -> [server, options];
kinds(sockeye, adopt, 3) -> [server, socket, iodata];
kinds(sockeye, send, 2) -> [conn_or_conns, frames];
kinds(sockeye, send_message, 2) -> [server, shared_frame];
kinds(sockeye, broadcast, 2) -> [server, shared_frame];
kinds(sockeye, broadcast, 3) -> [server, shared_frame, publish_options];
kinds(sockeye, broadcast_from, 2) -> [conn, shared_frame];
kinds(sockeye, broadcast_from, 3) -> [conn, shared_frame, publish_options];
kinds(sockeye, subscribe, 2) -> [server_conn, topic];
kinds(sockeye, unsubscribe, 2) -> [server_conn, topic];
kinds(sockeye, publish, 3) -> [server, plain_topic, shared_frame];
kinds(sockeye, publish, 4) -> [server, plain_topic, shared_frame, publish_options];
kinds(sockeye, publish_from, 3) -> [conn, plain_topic, shared_frame];
kinds(sockeye, publish_from, 4) -> [conn, plain_topic, shared_frame, publish_options];
kinds(sockeye, subscribers, 2) -> [server, plain_topic];
kinds(sockeye, topics, 1) -> [server];
kinds(sockeye, i, 1) -> [server];
kinds(sockeye, trace, 2) -> [conn, trace];
kinds(sockeye, close, 1) -> [conn];
kinds(sockeye, close, 3) -> [conn, close_code, close_reason];
kinds(sockeye, setopts, 2) -> [conn, conn_options];
kinds(sockeye, controlling_process, 2) -> [conn, local_pid];
kinds(sockeye, info, 1) -> [server_or_conn];
kinds(sockeye, connections, 1) -> [server];
kinds(sockeye, check_host, 1) -> [count];
kinds(sockeye, check_host, 2) -> [count, options];
kinds(sockeye, reload_tls, 1) -> [server];
kinds(sockeye_client, start_link, 2) -> [any, any];
kinds(sockeye_client, start_link, 3) -> [any, any, options];
kinds(sockeye_client, child_spec, 3) -> [any, any, options];
kinds(sockeye_client, stop, 1) -> [client];
kinds(sockeye_client, connect, 1) -> [any];
kinds(sockeye_client, connect, 2) -> [any, options];
kinds(sockeye_client, send, 2) -> [client_or_conn, frames];
kinds(sockeye_client, recv, 1) -> [conn];
kinds(sockeye_client, recv, 2) -> [conn, timeout];
kinds(sockeye_client, close, 1) -> [conn];
kinds(sockeye_client, close, 3) -> [conn, close_code, close_reason];
kinds(sockeye_client, conn, 1) -> [client];
kinds(sockeye_client, info, 1) -> [client];
kinds(sockeye_test, start, 1) -> [options];
kinds(sockeye_json, decode, 1) -> [iodata];
kinds(sockeye_json, decode, 2) -> [iodata, options];
kinds(sockeye_json, encode, 1) -> [any];
kinds(sockeye_json, encode, 2) -> [any, options];
kinds(sockeye_codec, request, 1) -> [options];
kinds(sockeye_codec, check_response, 2) -> [handshake, iodata];
kinds(sockeye_codec, check_request, 1) -> [iodata];
kinds(sockeye_codec, check_request, 2) -> [iodata, options];
kinds(sockeye_codec, accept, 1) -> [iodata];
kinds(sockeye_codec, accept, 2) -> [iodata, options];
kinds(sockeye_codec, reject, 3) -> [status, headers, iodata];
kinds(sockeye_codec, new, 1) -> [role];
kinds(sockeye_codec, new, 2) -> [role, options];
kinds(sockeye_codec, encode, 2) -> [codec, frames];
kinds(sockeye_codec, decode, 2) -> [codec, iodata];
kinds(sockeye_codec, eof, 1) -> [codec];
kinds(sockeye_codec, info, 1) -> [codec];
kinds(sockeye_pubsub, subscribers, 2) -> [server, plain_topic];
kinds(sockeye_pubsub, _, 2) -> [server, topic];
kinds(sockeye_pubsub, _, 3) -> [server, topic, local_pid];
kinds(sockeye_presence, track, 4) -> [conn, topic, any, any];
kinds(sockeye_presence, track, 5) -> [server, topic, local_pid, any, any];
kinds(sockeye_presence, update, 4) -> [conn, topic, any, any];
kinds(sockeye_presence, update, 5) -> [server, topic, local_pid, any, any];
kinds(sockeye_presence, untrack, 3) -> [conn, topic, any];
kinds(sockeye_presence, untrack, 4) -> [server, topic, local_pid, any];
kinds(sockeye_presence, _, 2) -> [server, topic];
kinds(sockeye_presence, _, 3) -> [server, topic, local_pid].
