%% Who is in a topic.
-module(sockeye_presence_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, open/1, closed/1]).
-import(cluster_node, [with_nodes/2, server/2, client/2, until/2, on/2]).

news() ->
    receive {sockeye_presence, Topic, News} -> {Topic, News}
    after 60000 -> error(no_news)
    end.

joins_and_leaves_test() ->
    with_server(#{}, fun(Port, Server) ->
        ok = sockeye_presence:subscribe(Server, <<"t">>),
        [{SocketA, A}, {_, B}] = [open(Port) || _ <- [a, b]],
        ok = sockeye_presence:track(A, <<"t">>, ann, #{n => 1}),
        ?assertEqual({<<"t">>, #{joins => #{ann => [#{n => 1}]}, leaves => #{}}}, news()),
        ok = sockeye_presence:track(B, <<"t">>, ann, #{n => 2}),
        ?assertEqual({<<"t">>, #{joins => #{ann => [#{n => 2}]}, leaves => #{}}}, news()),
        ok = sockeye_presence:track(Server, <<"t">>, self(), bob, x),
        _ = news(),
        {ok, #{ann := Anns, bob := [x]}} = sockeye_presence:list(Server, <<"t">>),
        ?assertEqual([#{n => 1}, #{n => 2}], lists:sort(Anns)),
        ok = sockeye_presence:update(B, <<"t">>, ann, #{n => 3}),
        ?assertEqual({<<"t">>, #{joins => #{ann => [#{n => 3}]}, leaves => #{ann => [#{n => 2}]}}}, news()),
        ?assertEqual({error, not_present}, sockeye_presence:update(B, <<"t">>, bob, y)),
        gen_tcp:close(SocketA),
        ?assertEqual({<<"t">>, #{joins => #{}, leaves => #{ann => [#{n => 1}]}}}, news()),
        _ = closed(A),
        ?assertEqual({error, closed}, sockeye_presence:track(A, <<"t">>, ann, 1)),
        ok = sockeye_presence:untrack(B, <<"t">>, ann),
        ?assertEqual({<<"t">>, #{joins => #{}, leaves => #{ann => [#{n => 3}]}}}, news()),
        ?assertEqual({ok, #{bob => [x]}}, sockeye_presence:list(Server, <<"t">>)),
        ok = sockeye_presence:untrack(Server, <<"t">>, self(), bob),
        _ = news(),
        ?assertEqual({ok, #{}}, sockeye_presence:list(Server, <<"t">>)),
        ok = sockeye_presence:unsubscribe(Server, <<"t">>),
        ok = sockeye_presence:track(B, <<"t">>, cid, 1),
        ok = sockeye_presence:untrack(B, <<"t">>, cid),
        receive {sockeye_presence, _, _} = Late -> error(Late) after 0 -> ok end
    end).

one_connection_in_several_topics_test() ->
    with_server(#{}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        ok = sockeye_presence:subscribe(Server, <<"b">>),
        [ok = sockeye_presence:track(Conn, Topic, Key, 1) || Topic <- [<<"a">>, <<"b">>], Key <- [x, y]],
        ?assertEqual({ok, #{x => [1], y => [1]}}, sockeye_presence:list(Server, <<"a">>)),
        _ = news(), _ = news(),
        gen_tcp:close(Socket),
        %% One message for all that a connection leaves of a topic.
        ?assertEqual({<<"b">>, #{joins => #{}, leaves => #{x => [1], y => [1]}}}, news()),
        ?assertEqual([{ok, #{}}, {ok, #{}}], [sockeye_presence:list(Server, Topic) || Topic <- [<<"a">>, <<"b">>]])
    end).

it_ends_with_the_process_test() ->
    with_server(#{}, fun(_, Server) ->
        ok = sockeye_presence:subscribe(Server, <<"t">>),
        {Pid, _} = spawn_monitor(fun() ->
            ok = sockeye_presence:track(Server, <<"t">>, self(), key, meta),
            receive stop -> ok end
        end),
        ?assertMatch({_, #{joins := #{key := [meta]}}}, news()),
        Pid ! stop,
        ?assertMatch({_, #{leaves := #{key := [meta]}}}, news()),
        ?assertEqual({ok, #{}}, sockeye_presence:list(Server, <<"t">>))
    end).

it_ends_with_the_server_test() ->
    {ok, Server} = sockeye:start_link(#{port => 0, name => presence_a}),
    ok = sockeye_presence:track(Server, <<"t">>, self(), key, meta),
    ok = sockeye:stop(Server),
    ?assertEqual({error, not_found}, sockeye_presence:list(Server, <<"t">>)),
    ?assertEqual({error, not_found}, sockeye_presence:track(Server, <<"t">>, self(), key, meta)),
    ?assertEqual({error, not_found}, sockeye_presence:subscribe(Server, <<"t">>)),
    {ok, Next} = sockeye:start_link(#{port => 0, name => presence_a}),
    ?assertEqual({ok, #{}}, sockeye_presence:list(Next, <<"t">>)),
    ok = sockeye:stop(Next).

%% In a cluster, too, where the list is that of all servers of the name.
news_end_with_the_server_test() ->
    Options = #{port => 0, name => presence_b, scope => cluster},
    {ok, Server} = sockeye:start_link(Options),
    ok = sockeye_presence:subscribe(Server, <<"t">>),
    ok = sockeye_presence:track(Server, <<"t">>, self(), key, meta),
    _ = news(),
    ok = sockeye:stop(Server),
    ?assertMatch({_, #{leaves := #{key := [meta]}}}, news()),
    {ok, Next} = sockeye:start_link(Options),
    ok = sockeye_presence:track(Next, <<"t">>, self(), key, meta),
    receive {sockeye_presence, _, _} = Late -> error(Late) after 0 -> ok end,
    ok = sockeye:stop(Next),
    ?assertEqual(0, ets:info(sockeye_presence_watchers, size)).

killed(Name) ->
    Old = whereis(Name),
    exit(Old, kill),
    test_support:down(Old),
    New = until(fun() -> whereis(Name) end, fun(P) -> P =/= undefined andalso P =/= Old end),
    _ = sys:get_state(New, 60000),
    ok.

%% Entries and watchers, and the ends that come after it.
a_new_process_of_the_module_loses_none_test() ->
    %% The owner, which is this process, leaves messages in its mailbox.
    with_server(#{close_timeout => 100}, fun(Port, Server) ->
        [{SocketA, A}, {SocketB, B}] = [open(Port) || _ <- [a, b]],
        Pid = spawn(fun() -> receive stop -> ok end end),
        ok = sockeye_presence:subscribe(Server, <<"t">>),
        [ok = sockeye_presence:track(Conn, <<"t">>, Key, 1) || {Conn, Key} <- [{A, ann}, {B, bob}]],
        ok = sockeye_presence:track(Server, <<"t">>, Pid, cid, 1),
        _ = [news(), news(), news()],
        [begin
             ok = killed(Name),
             ?assertEqual({ok, #{ann => [1], bob => [1], cid => [1]}}, sockeye_presence:list(Server, <<"t">>))
         end || Name <- [sockeye_presence_server, sockeye_pubsub_server]],
        receive {sockeye_presence, _, _} = Early -> error(Early) after 0 -> ok end,
        ok = sockeye_presence:update(B, <<"t">>, bob, 2),
        ?assertEqual({<<"t">>, #{joins => #{bob => [2]}, leaves => #{bob => [1]}}}, news()),
        gen_tcp:close(SocketA),
        ?assertEqual({<<"t">>, #{joins => #{}, leaves => #{ann => [1]}}}, news()),
        Pid ! stop,
        ?assertEqual({<<"t">>, #{joins => #{}, leaves => #{cid => [1]}}}, news()),
        %% Who goes while there is no process to see it.
        ok = supervisor:terminate_child(cluster_sup(), sockeye_presence_server),
        gen_tcp:close(SocketB),
        _ = until(fun() -> sockeye:connections(Server) end, fun(Left) -> Left =:= {ok, []} end),
        {ok, _} = supervisor:restart_child(cluster_sup(), sockeye_presence_server),
        ?assertEqual({<<"t">>, #{joins => #{}, leaves => #{bob => [2]}}}, news()),
        ?assertEqual({ok, #{}}, sockeye_presence:list(Server, <<"t">>)),
        ok = sockeye_presence:unsubscribe(Server, <<"t">>),
        ?assertEqual(0, ets:info(sockeye_presence_watchers, size))
    end).

cluster_sup() ->
    {_, Pid, _, _} = lists:keyfind(sockeye_cluster_sup, 1, supervisor:which_children(sockeye_sup)),
    Pid.

%% What an end costs grows with what ended alone.
one_of_thousands_ends_test_() ->
    {timeout, 60, fun() ->
        with_server(#{}, fun(_, Server) ->
            Topic = fun(N) -> integer_to_binary(N) end,
            Holder = spawn(fun() -> receive stop -> ok end end),
            [begin
                 ok = sockeye_presence:track(Server, Topic(N), Holder, key, N),
                 ok = sockeye_presence:subscribe(Server, Topic(N))
             end || N <- lists:seq(1, 5000)],
            Before = reductions(),
            Holder ! stop,
            [news() || _ <- lists:seq(1, 5000)],
            ?assert(reductions() - Before < 5000 * 500)
        end)
    end}.

reductions() ->
    {reductions, Count} = process_info(whereis(sockeye_presence_server), reductions),
    Count.

misuse_test() ->
    with_server(#{}, fun(Port, Server) ->
        {_, Conn} = open(Port),
        [begin
             ?assertError(badarg, sockeye_presence:track(Conn, Bad, k, m)),
             ?assertError(badarg, sockeye_presence:list(Server, Bad))
         end || Bad <- [<<>>, binary:copy(<<"n">>, 256), "t", <<"t", 1:3>>]],
        ?assertError(badarg, sockeye_presence:track(conn, <<"t">>, k, m)),
        ?assertError(badarg, sockeye_presence:track(Server, <<"t">>, name, k, m)),
        ?assertError(badarg, sockeye_presence:subscribe(Server, <<"t">>, name))
    end).

over_nodes_test_() ->
    [{lists:flatten(io_lib:format("~p", [Nodes])), {timeout, 120, fun() -> over_nodes(Nodes) end}}
     || Nodes <- [2, [nif, port], [port, nif]]].

over_nodes(Nodes) ->
    with_nodes(Nodes, fun([A, {PeerB, NodeB} = B]) ->
        [server(Node, #{}) || Node <- [A, B]],
        {_, ConnA} = client(A, chat),
        {SocketB, ConnB} = client(B, chat),
        List = fun(Node) -> test_support:ok(on(Node, {sockeye_presence, list, [chat, <<"t">>]})) end,
        Soon = fun(Node, Expected) -> until(fun() -> List(Node) end, fun(L) -> L =:= Expected end) end,
        Watcher = on(A, {cluster_node, collect, [fun() -> ok = sockeye_presence:subscribe(chat, <<"t">>) end]}),
        ok = on(A, {sockeye_presence, track, [ConnA, <<"t">>, ann, 1]}),
        ok = on(B, {sockeye_presence, track, [ConnB, <<"t">>, bob, 2]}),
        [Soon(Node, #{ann => [1], bob => [2]}) || Node <- [A, B]],
        ok = on(B, {sockeye_presence, update, [ConnB, <<"t">>, bob, 3]}),
        _ = Soon(A, #{ann => [1], bob => [3]}),
        %% Cut off, each has its own; together again, both.
        true = on(A, {erlang, disconnect_node, [NodeB]}),
        _ = Soon(A, #{ann => [1]}),
        _ = Soon(B, #{bob => [3]}),
        {_, ConnB2} = client(B, chat),
        ok = on(B, {sockeye_presence, track, [ConnB2, <<"t">>, cid, 4]}),
        cluster_node:connect([A, B]),
        [Soon(Node, #{ann => [1], bob => [3], cid => [4]}) || Node <- [A, B]],
        gen_tcp:close(SocketB),
        _ = Soon(A, #{ann => [1], cid => [4]}),
        ok = peer:stop(PeerB),
        _ = Soon(A, #{ann => [1]}),
        News = [{Joins, Leaves} || {sockeye_presence, <<"t">>, #{joins := Joins, leaves := Leaves}}
                                       <- on(A, {cluster_node, collected, [Watcher]})],
        ?assertEqual(#{ann => [1]}, replay(News))
    end).

%% A process of the module that dies on one node, and a node that is back before its end is known.
over_nodes_again_test_() ->
    {timeout, 120, fun() ->
        with_nodes(2, fun([A, {_, NodeB} = B]) ->
            [server(Node, #{}) || Node <- [A, B]],
            {_, ConnA} = client(A, chat),
            {_, ConnB} = client(B, chat),
            List = fun(Node) -> test_support:ok(on(Node, {sockeye_presence, list, [chat, <<"t">>]})) end,
            Soon = fun(Node, Expected) -> until(fun() -> List(Node) end, fun(L) -> L =:= Expected end) end,
            ok = on(A, {sockeye_presence, track, [ConnA, <<"t">>, ann, 1]}),
            ok = on(B, {sockeye_presence, track, [ConnB, <<"t">>, bob, 2]}),
            All = #{ann => [1], bob => [2]},
            [Soon(Node, All) || Node <- [A, B]],
            Old = on(A, {erlang, whereis, [sockeye_presence_server]}),
            true = on(A, {erlang, exit, [Old, kill]}),
            _ = until(fun() -> on(A, {erlang, whereis, [sockeye_presence_server]}) end,
                      fun(New) -> is_pid(New) andalso New =/= Old end),
            [Soon(Node, All) || Node <- [A, B]],
            %% The news of the end come after what the node has told when it was back.
            [{Peer, {Monitor, current}}] = until(fun() -> maps:to_list(element(2, on(A, {sys, get_state, [sockeye_presence_server]}))) end,
                                      fun(Peers) -> length(Peers) =:= 1 end),
            ?assertEqual(NodeB, node(Peer)),
            Down = {'DOWN', Monitor, process, Peer, noconnection},
            on(A, {erlang, send, [sockeye_presence_server, Down]}),
            [Soon(Node, All) || Node <- [A, B]],
            ok = on(B, {sockeye_presence, update, [ConnB, <<"t">>, bob, 3]}),
            Soon(A, All#{bob := [3]})
        end)
    end}.

%% A node that gets its name, or another one, while it runs: what is there stays, and others are told.
a_node_is_named_later_test_() ->
    {timeout, 120, fun() ->
        with_nodes(1, fun([Named]) ->
            Unnamed = cluster_node:start(unnamed),
            try named_later(Unnamed, Named)
            after cluster_node:stop_all([Unnamed])
            end
        end)
    end}.

named_later(A, {_, NodeB} = B) ->
    [server(Node, #{}) || Node <- [A, B]],
    {_, ConnA} = client(A, chat),
    {SocketB, ConnB} = client(B, chat),
    List = fun(Node) -> test_support:ok(on(Node, {sockeye_presence, list, [chat, <<"t">>]})) end,
    Soon = fun(Node, Expected) -> until(fun() -> List(Node) end, fun(L) -> L =:= Expected end) end,
    ok = on(A, {sockeye_presence, track, [ConnA, <<"t">>, ann, 1]}),
    ok = on(B, {sockeye_presence, track, [ConnB, <<"t">>, bob, 2]}),
    Join = fun() ->
                   Name = list_to_atom(peer:random_name("sockeye_later")),
                   {ok, _} = on(A, {net_kernel, start, [[Name, shortnames]]}),
                   true = on(A, {erlang, set_cookie, [sockeye_test]}),
                   true = on(A, {net_kernel, connect_node, [NodeB]})
           end,
    true = Join(),
    [Soon(Node, #{ann => [1], bob => [2]}) || Node <- [A, B]],
    ok = on(A, {sockeye_presence, update, [ConnA, <<"t">>, ann, 3]}),
    [Soon(Node, #{ann => [3], bob => [2]}) || Node <- [A, B]],
    %% Another process knows them for its own, too.
    ok = on(A, {net_kernel, stop, []}),
    _ = Soon(A, #{ann => [3]}),
    _ = Soon(B, #{bob => [2]}),
    Old = on(A, {erlang, whereis, [sockeye_presence_server]}),
    true = on(A, {erlang, exit, [Old, kill]}),
    _ = until(fun() -> on(A, {erlang, whereis, [sockeye_presence_server]}) end,
              fun(New) -> is_pid(New) andalso New =/= Old end),
    true = Join(),
    [Soon(Node, #{ann => [3], bob => [2]}) || Node <- [A, B]],
    ok = on(A, {sockeye_presence, untrack, [ConnA, <<"t">>, ann]}),
    [Soon(Node, #{bob => [2]}) || Node <- [A, B]],
    gen_tcp:close(SocketB),
    [Soon(Node, #{}) || Node <- [A, B]].

%% A node that takes nothing any more holds up nobody, and has all when it goes on.
a_node_that_hangs_test_() ->
    {timeout, 120, fun() ->
        with_nodes(2, fun([A, {_, NodeB} = B]) ->
            [server(Node, #{}) || Node <- [A, B]],
            {_, Conn} = client(A, chat),
            ok = on(A, {sockeye_presence, track, [Conn, <<"t">>, first, 0]}),
            Size = fun() -> map_size(element(2, sockeye_presence:list(chat, <<"t">>))) end,
            Count = fun(Node) -> on(Node, {erlang, apply, [Size, []]}) end,
            _ = until(fun() -> Count(B) end, fun(N) -> N =:= 1 end),
            Pid = on(B, {os, getpid, []}),
            Signal = fun(Name) -> "" = os:cmd("kill -" ++ Name ++ " " ++ Pid) end,
            Signal("STOP"),
            try
                Blob = binary:copy(<<"m">>, 65536),
                Track = fun(N) -> ok = sockeye_presence:track(Conn, <<"t">>, N, Blob) end,
                ok = on(A, {lists, foreach, [Track, lists:seq(1, 300)]}),
                ok = on(A, {sockeye_presence, untrack, [Conn, <<"t">>, first]}),
                ?assertEqual(300, Count(A)),
                %% Nor was the connection given up.
                ?assertEqual([NodeB], on(A, {erlang, nodes, []}))
            after
                Signal("CONT")
            end,
            _ = until(fun() -> Count(B) end, fun(N) -> N =:= 300 end),
            ok = on(A, {sockeye_presence, untrack, [Conn, <<"t">>, 1]}),
            _ = until(fun() -> Count(B) end, fun(N) -> N =:= 299 end)
        end)
    end}.

%% What the news say of who is there.
replay(News) ->
    Add = fun(Key, Metas, All) -> All#{Key => lists:sort(Metas ++ maps:get(Key, All, []))} end,
    Take = fun(Key, Metas, All) ->
                   case maps:get(Key, All) -- Metas of
                       [] -> maps:remove(Key, All);
                       Rest -> All#{Key => Rest}
                   end
           end,
    lists:foldl(fun({Joins, Leaves}, All) -> maps:fold(Add, maps:fold(Take, All, Leaves), Joins) end,
                #{}, News).
