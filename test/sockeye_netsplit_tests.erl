%% Two nodes in two networks, and the cable between them.
-module(sockeye_netsplit_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(cluster_node, [on/2, until/2]).

-define(ADDRESSES, ["10.213.77.1", "10.213.77.2"]).

cut_test_() ->
    %% A container may let a user make one and not enter it.
    case sh("ip netns add sockeye_try && { ip netns exec sockeye_try true; status=$?; "
            "ip netns delete sockeye_try; exit $status; }") of
        {0, _} ->
            {timeout, 120, fun() -> with_networks(fun a_cut/1) end};
        {_, Why} ->
            test_support:left_out("a cut between nodes", ["no network namespaces for this user: ", Why])
    end.

with_networks(Test) ->
    Id = os:getpid(),
    Networks = [{"sockeye" ++ Id ++ Side, "sk" ++ Id ++ Side, Address}
                || {Side, Address} <- lists:zip(["a", "b"], ?ADDRESSES)],
    try
        [ok = ip(["netns add ", Network]) || {Network, _, _} <- Networks],
        [{NetworkA, EndA, _}, {NetworkB, EndB, _}] = Networks,
        ok = ip(["link add ", EndA, " netns ", NetworkA, " type veth peer name ", EndB, " netns ", NetworkB]),
        [begin
             ok = ip(["-n ", Network, " address add ", Address, "/24 dev ", End]),
             ok = ip(["-n ", Network, " link set lo up"]),
             ok = ip(["-n ", Network, " link set ", End, " up"])
         end || {Network, End, Address} <- Networks],
        Nodes = [start(Network) || Network <- Networks],
        try Test({Nodes, Networks})
        after
            cluster_node:stop_all(Nodes)
        end
    after
        %% With what runs there: the daemon that knows the ports of nodes.
        [begin
             _ = sh(["ip netns pids ", Network, " | xargs -r kill"]),
             _ = ip(["netns delete ", Network])
         end || {Network, _, _} <- Networks]
    end.

start({Network, _, Address}) ->
    cluster_node:start(1, #{host => Address, longnames => true, net_ticktime => 5,
                            exec => {os:find_executable("ip"),
                                     ["netns", "exec", Network, os:find_executable("erl")]}}).

ip(Args) ->
    {0, _} = sh(["ip ", Args]),
    ok.

sh(Command) ->
    Port = open_port({spawn_executable, "/bin/sh"},
                     [{args, ["-c", lists:flatten(Command)]}, exit_status, stderr_to_stdout, binary]),
    sh(Port, <<>>).

sh(Port, Said) ->
    receive
        {Port, {data, More}} -> sh(Port, <<Said/binary, More/binary>>);
        {Port, {exit_status, Status}} -> {Status, Said}
    end.

a_cut({[A, B] = Nodes, [{NetworkA, EndA, _} | _]}) ->
    {_, NodeB} = B,
    cluster_node:connect(Nodes),
    Watchers = [subscriber(Node, Name) || {Node, Name} <- lists:zip(Nodes, [ann, bob])],
    [known(Node, 1) || Node <- Nodes],
    Present = fun(Node) -> lists:sort(maps:keys(test_support:ok(on(Node, {sockeye_presence, list, [chat, <<"t">>]})))) end,
    [_ = until(fun() -> Present(Node) end, fun(P) -> P =:= [ann, bob] end) || Node <- Nodes],
    publish(A, 1, 10),
    got(Watchers, [lists:seq(1, 10), lists:seq(1, 10)]),

    ok = ip(["-n ", NetworkA, " link set ", EndA, " down"]),
    %% Nobody knows of it yet.
    publish(A, 11, 20),
    got([hd(Watchers)], [lists:seq(1, 20)]),
    [known(Node, 0) || Node <- Nodes],
    [?assertEqual([Who], Present(Node)) || {Node, Who} <- lists:zip(Nodes, [ann, bob])],
    publish(A, 21, 30),
    got([hd(Watchers)], [lists:seq(1, 30)]),

    ok = ip(["-n ", NetworkA, " link set ", EndA, " up"]),
    true = until(fun() -> on(A, {net_kernel, connect_node, [NodeB]}) end, fun(Is) -> Is end),
    [known(Node, 1) || Node <- Nodes],
    [_ = until(fun() -> Present(Node) end, fun(P) -> P =:= [ann, bob] end) || Node <- Nodes],
    publish(A, 31, 40),
    got(Watchers, [lists:seq(1, 40), lists:seq(1, 10) ++ lists:seq(31, 40)]),
    publish(B, 41, 50),
    %% Nothing comes twice, and nothing of the time between comes late.
    got(Watchers, [lists:seq(1, 50), lists:seq(1, 10) ++ lists:seq(31, 50)]).

%% A client on the same node, which subscribes, is present, and keeps what it gets.
subscriber(Node, Name) ->
    _ = cluster_node:server(Node, #{}),
    {ok, #{port := Port}} = on(Node, {sockeye, info, [chat]}),
    Url = "ws://127.0.0.1:" ++ integer_to_list(Port),
    Client = on(Node, {cluster_node, collect, [fun() -> {ok, _} = sockeye_client:start_link(Url, self()) end]}),
    {ok, [Conn]} = until(fun() -> on(Node, {sockeye, connections, [chat]}) end, fun(C) -> C =/= {ok, []} end),
    ok = on(Node, {sockeye, subscribe, [Conn, <<"t">>]}),
    ok = on(Node, {sockeye_presence, track, [Conn, <<"t">>, Name, here]}),
    {Node, Client}.

known(Node, Count) ->
    _ = until(fun() -> on(Node, {sockeye_cluster, targets, [chat, <<"t">>]}) end,
              fun(Targets) -> length(Targets) =:= Count end).

publish(Node, From, To) ->
    [ok = on(Node, {sockeye, publish, [chat, <<"t">>, {json, N}]}) || N <- lists:seq(From, To)].

got(Watchers, Expected) ->
    [begin
         Numbers = fun() -> [N || {sockeye, _, {json, N}} <- on(Node, {cluster_node, collected, [Client]})] end,
         Got = until(Numbers, fun(Now) -> length(Now) >= length(Of) end),
         ?assertEqual(Of, Got)
     end || {{Node, Client}, Of} <- lists:zip(Watchers, Expected)].
