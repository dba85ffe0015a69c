%% What most tests need: a server on a free port, and events with a time limit.
-module(test_support).

-include_lib("stdlib/include/assert.hrl").

-export([with_server/2]).
-export([with_handler/2]).
-export([with_handler/3]).
-export([patient/0]).
-export([port/1]).
-export([free_port/0]).
-export([url/1]).
-export([url/2]).
-export([program/1]).
-export([ok/1]).
-export([open/1]).
-export([opened/0]).
-export([each_ends_once/1]).
-export([event/0]).
-export([event/1]).
-export([closed/1]).
-export([told/0]).
-export([fill/2]).
-export([message/0]).
-export([flush/0]).
-export([quiet/1]).
-export([attempt/1]).
-export([down/1]).
-export([root/0]).
-export([bare_node/1]).
-export([bare_node/2]).
-export([slice/3]).
-export([left_out/2]).
-export([if_ipv6/1]).

-define(TIMEOUT, 60000).

%% Options of a server for clients that are silent for long, as they are on a busy machine: none of them is sent away, nor a ping.
patient() ->
    #{port => 0, handshake_timeout => 300000, idle_timeout => 300000, ping_interval => 300000, send_timeout => 300000}.

%% Test is called with the port and the server. Times that it does not set are no matter of the test.
with_server(Options, Test) ->
    {ok, Server} = sockeye:start_link(maps:merge(patient(), Options)),
    Port = port(Server),
    try Test(Port, Server)
    after
        ws_client:drop_all(),
        drop_clients(Port),
        _ = sockeye:stop(Server),
        flush()
    end.

%% Sockets of this process to that port: the end of the server would wait a second for their answers.
drop_clients(Port) ->
    [ws_client:drop(Socket) || Socket <- erlang:ports(), erlang:port_info(Socket, connected) =:= {connected, self()},
                               {ok, {_, To}} <- [inet:peername(Socket)], To =:= Port].

with_handler(Funs, Test) ->
    with_handler(Funs, #{}, Test).

with_handler(Funs, Options, Test) ->
    with_server(Options#{handler => {fun_handler, Funs}}, Test).

port(Server) ->
    {ok, #{port := Port}} = sockeye:info(Server),
    Port.

%% A port that nobody has now, and that the system gives to no client before it is listened on.
free_port() ->
    Port = below(ephemeral()),
    case gen_tcp:listen(Port, [{reuseaddr, true}]) of
        {ok, Listener} ->
            {ok, Free} = inet:port(Listener),
            ok = gen_tcp:close(Listener),
            Free;
        {error, _} ->
            free_port()
    end.

%% Where the range leaves no room below it, the system chooses.
below(Lowest) when Lowest > 20000 -> 12000 + rand:uniform(Lowest - 12000) - 1;
below(_) -> 0.

%% The lowest of the ports that the system gives to clients.
ephemeral() ->
    case file:read_file("/proc/sys/net/ipv4/ip_local_port_range") of
        {ok, Range} -> binary_to_integer(hd(string:lexemes(Range, " \t\n")));
        {error, _} -> 0
    end.

url(Port) -> url(Port, "/").
url(Port, Path) -> "ws://127.0.0.1:" ++ integer_to_list(Port) ++ Path.

%% The path of a program, also of those for administrators, or `false'.
program(Name) ->
    case os:find_executable(Name) of
        false -> os:find_executable(Name, "/usr/sbin:/usr/local/sbin");
        Path -> Path
    end.

%% What a call that can fail has to say.
ok({ok, Value}) ->
    Value.

%% A client of a server whose owner is the caller.
open(Port) ->
    Socket = ws_client:connect(Port),
    receive
        {sockeye, Conn, {open, _}} -> {Socket, Conn}
    after ?TIMEOUT ->
            error(not_open)
    end.

%% The connection of the next client.
opened() ->
    receive {sockeye, Conn, {open, _}} -> Conn
    after ?TIMEOUT -> error({not_open, process_info(self(), messages)})
    end.

%% Of these WebSockets, and those that open meanwhile, each ends, and only once.
each_ends_once(Open) ->
    receive
        {sockeye, Conn, {open, _}} -> each_ends_once([Conn | Open]);
        {sockeye, Conn, {closed, _, _}} ->
            ?assert(lists:member(Conn, Open)),
            each_ends_once(lists:delete(Conn, Open))
    after if Open =:= [] -> 0; true -> 10000 end ->
        ?assertEqual([], Open)
    end.

event() ->
    receive {sockeye, Conn, Event} -> {Conn, Event}
    after ?TIMEOUT -> error(no_event)
    end.

event(Conn) ->
    receive {sockeye, Conn, Event} -> Event
    after ?TIMEOUT -> error(no_event)
    end.

%% The close code of a connection, past what came before.
closed(Conn) ->
    case event(Conn) of
        {closed, Code, _} -> Code;
        _ -> closed(Conn)
    end.

%% What a handler has told this process.
told() ->
    receive {told, What} -> What
    after ?TIMEOUT -> error({nothing_told, process_info(self(), messages)})
    end.

%% Sends frames, of which Send makes one for each number, until the queue of the connection stays full: how many.
fill(Conn, Send) -> fill(Conn, Send, 0, 50).

fill(_Conn, _Send, N, 0) ->
    N;
fill(Conn, Send, N, Patience) ->
    case Send(N) of
        ok ->
            fill(Conn, Send, N + 1, 50);
        {error, busy} ->
            {ok, #{}} = sockeye:info(Conn),
            fill(Conn, Send, N, Patience - 1)
    end.

message() ->
    receive Message -> Message
    after ?TIMEOUT -> error(no_message)
    end.

flush() ->
    receive _ -> flush()
    after 0 -> ok
    end.

%% Crashes that a test wants are no news.
quiet(Test) ->
    #{level := Level} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, none),
    try Test()
    after ok = logger:set_primary_config(level, Level)
    end.

%% For what may fail: its result, or why there is none.
attempt(Fun) ->
    try Fun()
    catch _:Reason -> {failed, Reason}
    end.

down(Pid) ->
    Monitor = monitor(process, Pid),
    receive {'DOWN', Monitor, process, Pid, Reason} -> Reason
    after ?TIMEOUT -> error(not_down)
    end.

%% The folder of this repository, wherever the tests were compiled.
root() ->
    Source = proplists:get_value(source, ?MODULE:module_info(compile)),
    above(filename:dirname(Source)).

above(Dir) ->
    case filelib:is_dir(filename:join(Dir, "native")) of
        true -> Dir;
        false -> above(filename:dirname(Dir))
    end.

%% Runs expressions in a node of their own that has started nothing of ours: its
%% exit status, and what it said, `fine' if it came to the end.
bare_node(Code) -> bare_node(Code, []).

bare_node(Code, Env) ->
    Erl = filename:join([code:root_dir(), "bin", "erl"]),
    Paths = lists:usort([filename:dirname(code:which(M)) || M <- [sockeye_nif, ?MODULE]]),
    Args = ["-noshell", "-pa" | Paths] ++ ["-eval", Code ++ "io:put_chars(\"fine\"), halt()."],
    said(open_port({spawn_executable, Erl}, [{args, Args}, {env, Env}, exit_status, binary, stderr_to_stdout]), <<>>).

said(Port, Acc) ->
    receive
        {Port, {data, Data}} -> said(Port, <<Acc/binary, Data/binary>>);
        {Port, {exit_status, Status}} -> {Status, Acc}
    end.

%% Of cases that cost much of a core, one in so many, from this place on. All of them where SOCKEYE_TEST_ALL is set, as in `make soak'.
slice(OneIn, From, Cases) ->
    case os:getenv("SOCKEYE_TEST_ALL", "") of
        "" -> [Case || {N, Case} <- lists:zip(lists:seq(1, length(Cases)), Cases), N rem OneIn =:= From rem OneIn];
        _ -> Cases
    end.

%% What a generator gives for a test that cannot run on this machine: no test, so that none counts as
%% passed, and a line that says so where all can see it. Any text is good enough for the reason.
left_out(Test, Why) ->
    Line = string:join(string:lexemes(flat(Why), "\n\r\t "), " "),
    io:format(user, "left out: ~ts: ~ts~n", [flat(Test), Line]),
    [].

flat(Text) ->
    case unicode:characters_to_list(Text) of
        Flat when is_list(Flat) -> Flat;
        _ -> lists:flatten(io_lib:format("~p", [Text]))
    end.

%% A generator's test that needs IPv6.
if_ipv6({Name, Test}) ->
    case gen_tcp:listen(0, [inet6, {ip, {0, 0, 0, 0, 0, 0, 0, 1}}]) of
        {ok, Probe} ->
            ok = gen_tcp:close(Probe),
            {Name, Test};
        {error, Why} ->
            left_out(Name, ["no IPv6 here: ", inet:format_error(Why)])
    end.
