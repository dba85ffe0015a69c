%% Runs in a node of its own: connections of every kind that echo without a pause while code is loaded anew.
-module(reload_node).

-export([run/1]).

-define(TIMEOUT, 60000).

%% Returns how many of the connections have ended, and whether a new one works.
run(Do) ->
    logger:set_primary_config(level, none),
    {ok, _} = application:ensure_all_started(sockeye),
    process_flag(trap_exit, true),
    Echoes = lists:append([echoes(Handler, Processes) || {Handler, Processes} <-
                               [{{bare_handler, []}, one}, {{bare_handler, []}, 2}, {{bare_handler, []}, per_connection},
                                {spawn_link(fun owner/0), none}]]) ++ [client_echo()],
    [progress(Echo) || Echo <- Echoes],
    Done = Do(),
    Ended = length([Echo || Echo <- Echoes, progress(Echo) =:= ended]),
    {Done, Ended, again()}.

%% A server, and a connection of each of two clients to it.
echoes(Handler, Processes) ->
    Options = #{port => 0, handler => Handler, active => true},
    {ok, Server} = sockeye:start_link(case Processes of none -> Options; _ -> Options#{processes => Processes} end),
    {ok, #{port := Port}} = sockeye:info(Server),
    [spawn_link(fun() -> echo(ws_client:connect(Port), 0) end) || _ <- [1, 2]].

owner() ->
    receive
        {sockeye, Conn, {json, Term}} -> _ = sockeye:send(Conn, {json, Term});
        _ -> ok
    end,
    owner().

echo(Socket, N) ->
    try
        ok = ws_client:text(Socket, integer_to_binary(N)),
        {text, Text} = ws_client:recv(Socket),
        N = binary_to_integer(Text)
    of
        _ -> asked(N), echo(Socket, N + 1)
    catch
        _:_ -> receive {progress, From} -> From ! {self(), ended} end
    end.

asked(N) ->
    receive {progress, From} -> From ! {self(), N}
    after 0 -> ok
    end.

%% Both ends have a handler, which sends what it gets: it goes to and fro for ever.
client_echo() ->
    {ok, Server} = sockeye:start_link(#{port => 0, handler => {bare_handler, []}}),
    Url = "ws://127.0.0.1:" ++ integer_to_list(test_support:port(Server)),
    {ok, Client} = sockeye_client:start_link(Url, {bare_handler, []}),
    ok = sockeye_client:send(Client, {json, 0}),
    spawn_link(fun() -> client_progress(Client) end).

client_progress(Client) ->
    receive
        {progress, From} ->
            case sockeye_client:info(Client) of
                {ok, #{conn := {sockeye_conn, _}, frames_in := N}} -> From ! {self(), N};
                _ -> From ! {self(), ended}
            end
    end,
    client_progress(Client).

%% Three more echoes have come, or the connection has ended.
progress(Pid) ->
    progress(Pid, 3, none).

progress(Pid, Left, Before) ->
    Pid ! {progress, self()},
    receive
        {Pid, ended} -> ended;
        {Pid, N} when is_integer(N), Left =:= 0 -> N;
        {Pid, N} when Before =:= none; N > Before -> progress(Pid, Left - 1, N);
        {Pid, N} -> progress(Pid, Left, N)
    after ?TIMEOUT ->
            error({no_progress, process_info(Pid, current_stacktrace)})
    end.

%% The engine may be on its way back.
again() ->
    case test_support:attempt(fun() -> sockeye:start_link(#{port => 0, handler => {bare_handler, []}}) end) of
        {ok, Server} ->
            {ok, Conn} = sockeye_client:connect("ws://127.0.0.1:" ++ integer_to_list(test_support:port(Server))),
            ok = sockeye_client:send(Conn, {json, 1}),
            {ok, {json, 1}} = sockeye_client:recv(Conn, ?TIMEOUT),
            ok = sockeye:stop(Server),
            ok;
        Other ->
            {not_again, Other}
    end.
