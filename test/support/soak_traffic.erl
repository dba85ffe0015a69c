%% Servers of every kind, raw clients that behave and misbehave, callers of the public API with right and
%% wrong arguments, and a saboteur: all at random, for some time.
-module(soak_traffic).

-export([round/1]).
-export([topic/0]).
-export([frame/0]).

-define(TIMEOUT, 60000).

%% Returns how much was done. Everything that was begun has ended.
round(#{time := Time} = Options) ->
    Table = ets:new(soak, [public, set]),
    Servers = [start(Kind, Table) || Kind <- [owner, one, pool, per_connection, asking]],
    Stop = erlang:monotonic_time(millisecond) + Time,
    Clients = [spawn_monitor(fun() -> seed(Options, N), client(Servers, Stop, 0) end) || N <- lists:seq(1, 24)],
    Callers = [spawn_monitor(fun() -> seed(Options, N), caller(Servers, Table, Stop, 0) end)
               || N <- lists:seq(101, 104)],
    Saboteur = spawn_monitor(fun() -> seed(Options, 200), sabotage(Stop, 0) end),
    Done = [outcome(Process) || Process <- [Saboteur | Callers] ++ Clients],
    [over(Server) || Server <- Servers],
    true = ets:delete(Table),
    lists:sum(Done).

seed(#{seed := Seed}, N) ->
    rand:seed(exsss, {Seed, N, 0}).

outcome({Pid, Monitor}) ->
    receive
        {'DOWN', Monitor, process, Pid, {done, N}} -> N;
        {'DOWN', Monitor, process, Pid, Reason} -> error({soak, Reason})
    after 10 * ?TIMEOUT -> error({hangs, process_info(Pid, current_stacktrace)})
    end.

%% ---------------------------------------------------------------- servers

%% Under a process that starts its server again when it was killed: {Holder, Port}.
start(Kind, Table) ->
    Self = self(),
    Holder = spawn(fun() ->
        process_flag(trap_exit, true),
        {ok, Server} = sockeye:start_link(options(Kind, 0, Table)),
        {ok, #{port := Port}} = sockeye:info(Server),
        Self ! {self(), Port},
        hold(Server, Kind, Port, Table)
    end),
    receive {Holder, Port} -> {Holder, Port} after ?TIMEOUT -> error(not_started) end.

options(owner, Port, _) -> base(Port);
options(one, Port, Table) -> (base(Port))#{handler => {soak_handler, Table}};
options(pool, Port, Table) -> (options(one, Port, Table))#{processes => 3, deflate => true};
options(per_connection, Port, Table) -> (options(one, Port, Table))#{processes => per_connection, send_timeout => 1000};
options(asking, Port, Table) ->
    (options(one, Port, Table))#{accept => fun(_) -> any([{accept, #{}}, {reject, 403, [], <<"no">>}]) end,
                                 inbox_size => 4096, send_queue_size => 65536, active => any([true, 5])}.

base(Port) ->
    #{port => Port, close_timeout => 500, slow_subscriber => any([drop, close])}.

hold(Server, Kind, Port, Table) ->
    receive
        {sockeye, Conn, {open, _}} -> true = ets:insert(Table, {Conn}), hold(Server, Kind, Port, Table);
        {sockeye, Conn, {closed, _, _}} -> true = ets:delete(Table, Conn), hold(Server, Kind, Port, Table);
        {sockeye, Conn, {json, Term}} -> _ = sockeye:send(Conn, {json, Term}), hold(Server, Kind, Port, Table);
        {'EXIT', Server, _} -> hold(again(Kind, Port, Table), Kind, Port, Table);
        {stop, From} ->
            _ = case any([stop, drain, kill]) of
                    stop -> sockeye:stop(Server);
                    drain -> sockeye:drain(Server, #{deadline => 2000});
                    kill -> exit(Server, kill)
                end,
            receive {'EXIT', Server, _} -> ok after ?TIMEOUT -> exit(server_lives) end,
            From ! {self(), over};
        {server, From} -> From ! {self(), Server}, hold(Server, Kind, Port, Table);
        _ -> hold(Server, Kind, Port, Table)
    end.

again(Kind, Port, Table) ->
    case sockeye:start_link(options(Kind, Port, Table)) of
        {ok, Server} -> Server;
        %% The engine is being replaced, or the port is not free yet.
        {error, _} -> receive after 20 -> again(Kind, Port, Table) end
    end.

over({Holder, _Port}) ->
    Monitor = monitor(process, Holder),
    Holder ! {stop, self()},
    receive {'DOWN', Monitor, process, Holder, normal} -> ok after 2 * ?TIMEOUT -> error({holder_lives, Holder}) end.

%% ---------------------------------------------------------------- clients

client(Servers, Stop, N) ->
    case erlang:monotonic_time(millisecond) < Stop of
        false -> exit({done, N});
        true -> client(Servers, Stop, N + connection(any(Servers)))
    end.

%% One connection, or an attempt at one. Its end may come at any step.
connection({_, Port}) ->
    Options = [binary, {active, false}, {nodelay, true}],
    case gen_tcp:connect({127, 0, 0, 1}, Port, Options, ?TIMEOUT) of
        {ok, Socket} ->
            ok = inet:setopts(Socket, [{recbuf, 4096}]),
            N = handshake(Socket),
            _ = ws_client:drop(Socket),
            N;
        {error, _} ->
            receive after 10 -> 1 end
    end.

handshake(Socket) ->
    Head = ["GET /", any(["", "a/b?c=d", "%41"]), " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            any(["", "Sec-WebSocket-Extensions: permessage-deflate\r\n"]), "\r\n"],
    _ = gen_tcp:send(Socket, any([Head, Head, Head, Head, Head, "GET / HTTP/1.0\r\n\r\n", <<0>>])),
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, <<"HTTP/1.1 101", _/binary>>} -> talk(Socket, rand:uniform(40), 1);
        _ -> 1
    end.

talk(_Socket, 0, N) ->
    N;
talk(Socket, Left, N) ->
    case act(rand:uniform(40), Socket) of
        ok -> talk(Socket, Left - 1, N + 1);
        _ -> N
    end.

act(N, Socket) when N < 22 -> ws_client:text(Socket, text());
act(N, Socket) when N < 26 -> ws_client:raw(Socket, [ws_client:encode(1, text()) || _ <- lists:seq(1, rand:uniform(50))]);
act(N, Socket) when N < 30 -> in_pieces(Socket, text());
act(N, Socket) when N < 32 -> ws_client:ping(Socket, <<"ping">>);
act(N, Socket) when N < 36 -> _ = gen_tcp:recv(Socket, 0, rand:uniform(50)), ok;
%% A peer that does not read for a while.
act(36, _Socket) -> receive after rand:uniform(300) -> ok end;
act(37, Socket) -> ws_client:binary(Socket, rand:bytes(rand:uniform(70000)));
act(38, Socket) -> ws_client:text(Socket, any([<<"\"crash\"">>, <<"\"stop\"">>, <<"{">>, <<255>>]));
act(39, Socket) ->
    _ = ws_client:raw(Socket, any([rand:bytes(20), ws_client:encode(3, <<>>), ws_client:encode(1, <<"{}">>, #{rsv => 7})])),
    over;
act(40, Socket) ->
    %% What it sent before its Close is answered.
    _ = ws_client:raw(Socket, [ws_client:encode(1, <<"1">>), ws_client:encode(8, <<1000:16>>)]),
    _ = gen_tcp:recv(Socket, 0, 1000),
    over.

in_pieces(Socket, Text) ->
    Cut = rand:uniform(byte_size(Text) + 1) - 1,
    <<One:Cut/binary, Two/binary>> = Text,
    _ = ws_client:raw(Socket, ws_client:encode(1, One, #{fin => 0})),
    ws_client:raw(Socket, ws_client:encode(0, Two)).

text() ->
    any([<<"{\"a\":[1,2.5,null,\"x\"]}">>, <<"[]">>, <<"\"", (binary:copy(<<"x">>, rand:uniform(5000)))/binary, "\"">>,
         wide(rand:uniform(300))]).

wide(Keys) ->
    Pairs = [["\"", integer_to_list(N), "\":", integer_to_list(N)] || N <- lists:seq(1, Keys)],
    iolist_to_binary(["{", lists:join(",", Pairs), "}"]).

%% ---------------------------------------------------------------- callers

caller(Servers, Table, Stop, N) ->
    case erlang:monotonic_time(millisecond) < Stop of
        false -> exit({done, N});
        true -> call(Servers, Table), caller(Servers, Table, Stop, N + 1)
    end.

call(Servers, Table) ->
    {Holder, Port} = any(Servers),
    Holder ! {server, self()},
    Server = receive {Holder, Pid} -> Pid after ?TIMEOUT -> error(no_holder) end,
    Conn = case ets:tab2list(Table) of [] -> {sockeye_conn, 1}; Conns -> element(1, any(Conns)) end,
    {Function, Args} = any(calls(Server, Port, Conn)),
    Given = case rand:uniform(5) of
                1 -> replace(rand:uniform(length(Args)), Args, any(odd_terms:all()));
                _ -> Args
            end,
    try apply(sockeye, Function, Given) of
        _ -> ok
    catch
        Class:Reason:Stack ->
            is_allowed(Class, Reason, Stack, Function) orelse exit({call, Function, Given, Class, Reason, Stack})
    end,
    flush().

%% Misuse is badarg of the function that was called, not of one of ours below it; and a server that has just
%% been killed is no process.
is_allowed(error, badarg, [{sockeye, Function, _, _} | _], Function) -> true;
is_allowed(exit, {Reason, {gen_server, call, _}}, _, _) ->
    lists:member(Reason, [noproc, killed, normal, shutdown]);
is_allowed(_, _, _, _) -> false.

calls(Server, Port, Conn) ->
    [{send, [Conn, frame()]}, {send, [Conn, [frame(), frame()]]}, {send_message, [Server, frame()]},
     {send_message, [Port, frame()]}, {broadcast, [Server, frame()]}, {broadcast_from, [Conn, frame()]},
     {subscribe, [Conn, topic()]}, {unsubscribe, [Conn, topic()]}, {publish, [Server, topic(), frame()]},
     {publish, [Server, topic(), frame(), #{wait => true}]}, {publish_from, [Conn, topic(), frame()]},
     {setopts, [Conn, [{active, any([true, false, once, 3])}]]}, {close, [Conn]}, {close, [Conn, 4001, <<"bye">>]},
     {info, [Server]}, {info, [Conn]}, {connections, [Server]}, {controlling_process, [Conn, self()]}].

replace(1, [_ | Rest], With) -> [With | Rest];
replace(N, [First | Rest], With) -> [First | replace(N - 1, Rest, With)].

frame() ->
    any([#{a => 1}, {text, <<"text">>}, {binary, rand:bytes(rand:uniform(3000))}, {ping, <<"p">>}, {json, [1, <<"two">>]}]).

topic() -> any([<<"a">>, <<"b/c">>, <<"b/*">>]).

flush() -> receive _ -> flush() after 0 -> ok end.

%% ---------------------------------------------------------------- the saboteur

%% Kills, and suspends, whatever serves connections; not faster than it can come back.
sabotage(Stop, N) ->
    receive after 100 + rand:uniform(400) -> ok end,
    case {erlang:monotonic_time(millisecond) < Stop, census:processes()} of
        {false, _} -> exit({done, N});
        {true, []} -> sabotage(Stop, N);
        {true, Processes} ->
            {_, Pid} = any(Processes),
            _ = case rand:uniform(3) of
                    1 -> exit(Pid, kill);
                    2 -> suspend(Pid);
                    3 -> erlang:garbage_collect(Pid)
                end,
            sabotage(Stop, N + 1)
    end.

suspend(Pid) ->
    try erlang:suspend_process(Pid) of
        true ->
            receive after rand:uniform(300) -> ok end,
            erlang:resume_process(Pid)
    catch error:badarg -> gone
    end.

any(List) -> lists:nth(rand:uniform(length(List)), List).
