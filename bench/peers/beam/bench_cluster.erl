%% Two nodes on this machine: messages a second from one to the other, and what each costs them.
%% bench/cluster runs it.
-module(bench_cluster).

-export([main/1]).
-export([serve/0]).
-export([publish/1]).

%% A message of 200 bytes of JSON on the wire.
-define(TEXT, #{type => <<"news">>, text => binary:copy(<<"x">>, 200 - 26)}).
%% So many are on their way at once: less than a node lets wait.
-define(WINDOW, 2000).

main(Args) ->
    [Count, Runs] = numbers(Args, [200000, 5]),
    Nodes = [start(N) || N <- [a, b]],
    [{A, _}, {B, NodeB}] = Nodes,
    true = peer:call(A, net_kernel, connect_node, [NodeB]),
    [server(Peer) || {Peer, _} <- Nodes],
    io:format("200 B of JSON from one node to a client of another, ~b messages, OTP ~s, ~b cores~n",
              [Count, erlang:system_info(otp_release), erlang:system_info(logical_processors_available)]),
    io:format("~-20s ~26s ~18s ~18s~n", ["", "messages/s", "publisher us", "receiver us"]),
    Rows = [{run(A, A, Count), run(A, B, Count)} || _ <- lists:seq(1, Runs)],
    report("within one node", [Local || {Local, _} <- Rows]),
    report("to another node", [Far || {_, Far} <- Rows]),
    io:format("dropped between the nodes: ~p~n",
              [[maps:get(cluster_dropped, element(2, peer:call(P, sockeye, info, []))) || {P, _} <- Nodes]]),
    [peer:stop(Peer) || {Peer, _} <- Nodes].

numbers(Given, Defaults) ->
    Numbers = [list_to_integer(Arg) || Arg <- Given],
    Numbers ++ lists:nthtail(length(Numbers), Defaults).

start(Name) ->
    {ok, Peer, Node} = peer:start(#{name => peer:random_name(atom_to_list(Name)), connection => standard_io,
                                    args => ["-setcookie", "bench", "+sbwt", "none", "+sbwtdcpu", "none",
                                             "+sbwtdio", "none" | lists:append([["-pa", P] || P <- code:get_path(), filelib:is_dir(P)])]}),
    {ok, _} = peer:call(Peer, application, ensure_all_started, [sockeye]),
    {Peer, Node}.

server(Peer) ->
    _ = peer:call(Peer, erlang, spawn, [?MODULE, serve, []]),
    until(fun() -> peer:call(Peer, erlang, whereis, [bench]) =/= undefined
                       andalso element(1, peer:call(Peer, sockeye, info, [bench])) =:= ok end).

serve() ->
    Owner = spawn(fun F() -> receive _ -> F() end end),
    {ok, _} = sockeye:start_link(#{port => 0, name => bench, scope => cluster, handler => Owner}),
    receive stop -> ok end.

publish(Count) ->
    [ok = sockeye:publish(bench, <<"t">>, ?TEXT) || _ <- lists:seq(1, Count)],
    ok.

%% Published on the one, received by a client of the other, in windows.
run(From, To, Count) ->
    {ok, #{port := Port}} = peer:call(To, sockeye, info, [bench]),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {recbuf, 1048576}]),
    ok = gen_tcp:send(Socket, ["GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
                               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"]),
    {ok, <<"HTTP/1.1 101", _/binary>>} = gen_tcp:recv(Socket, 0),
    until(fun() -> peer:call(To, sockeye, connections, [bench]) =/= {ok, []} end),
    {ok, [Conn]} = peer:call(To, sockeye, connections, [bench]),
    ok = peer:call(To, sockeye, subscribe, [Conn, <<"t">>]),
    Far = if From =:= To -> 0; true -> 1 end,
    until(fun() -> length(peer:call(From, sockeye_cluster, targets, [bench, <<"t">>])) =:= Far end),
    {ok, Frame} = measure_frame(From, Socket),
    deliver(From, Socket, Frame, 10 * ?WINDOW),
    Before = [cpu(P) || P <- [From, To]],
    Began = erlang:monotonic_time(microsecond),
    deliver(From, Socket, Frame, Count),
    Took = erlang:monotonic_time(microsecond) - Began,
    [CpuFrom, CpuTo] = lists:zipwith(fun(P, Old) -> (cpu(P) - Old) / Count end, [From, To], Before),
    gen_tcp:close(Socket),
    until(fun() -> peer:call(To, sockeye, connections, [bench]) =:= {ok, []} end),
    {Count / Took * 1000000, CpuFrom, CpuTo}.

measure_frame(From, Socket) ->
    ok = peer:call(From, ?MODULE, publish, [1]),
    {ok, <<_:9, 126:7, Len:16>>} = gen_tcp:recv(Socket, 4),
    {ok, _} = gen_tcp:recv(Socket, Len),
    {ok, Len + 4}.

deliver(_From, _Socket, _Frame, 0) ->
    ok;
deliver(From, Socket, Frame, Left) ->
    Now = min(Left, ?WINDOW),
    ok = peer:call(From, ?MODULE, publish, [Now]),
    {ok, _} = gen_tcp:recv(Socket, Now * Frame, 20000),
    deliver(From, Socket, Frame, Left - Now).

%% Microseconds that a node's process has used: a tick of the system is 10 ms.
cpu(Peer) ->
    Pid = peer:call(Peer, os, getpid, []),
    {ok, Stat} = file:read_file("/proc/" ++ Pid ++ "/stat"),
    [_, Fields] = binary:split(Stat, <<") ">>),
    [User, Sys] = lists:sublist(binary:split(Fields, <<" ">>, [global]), 12, 2),
    (binary_to_integer(User) + binary_to_integer(Sys)) * 10000.

report(Title, Rows) ->
    [Rate, From, To] = [[element(N, Row) || Row <- Rows] || N <- [1, 2, 3]],
    io:format("~-20s ~26s ~18s ~18s~n", [Title, spread(Rate, 0), spread(From, 2), spread(To, 2)]).

%% Median, and the range.
spread(Values, Digits) ->
    Sorted = lists:sort(Values),
    Median = lists:nth((length(Sorted) + 1) div 2, Sorted),
    Text = fun(V) -> float_to_list(V, [{decimals, Digits}]) end,
    Text(Median) ++ " (" ++ Text(hd(Sorted)) ++ ".." ++ Text(lists:last(Sorted)) ++ ")".

until(Test) ->
    Test() orelse begin timer:sleep(5), until(Test) end.
