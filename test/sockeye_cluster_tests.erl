%% Topics and broadcasts over several nodes.
-module(sockeye_cluster_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(cluster_node, [with_nodes/2, with_shared/2, server/2, client/2, got/2, until/2, on/2]).



%% Returns when a node knows of so many others that want this.
known(Node, To, Count) ->
    _ = until(fun() -> on(Node, {sockeye_cluster, targets, [chat, To]}) end,
              fun(Targets) -> length(Targets) =:= Count end),
    ok.

publish(Node, Topic, Frame) ->
    on(Node, {sockeye, publish, [chat, Topic, Frame]}).

cluster_test_() ->
    Cases = [fun frames_reach_subscribers_of_all_nodes/1,
             fun a_frame_goes_only_where_it_is_wanted/1,
             fun patterns_reach_over_nodes/1,
             fun processes_get_terms_of_other_nodes/1,
             fun order_of_a_publisher/1,
             fun a_scope_for_one_call/1,
             fun subscriptions_that_end_are_known_elsewhere/1,
             fun a_server_that_stops_and_starts_again/1,
             fun a_relay_that_dies_comes_back/1,
             fun groups_that_die_come_back/1,
             fun who_tells_the_groups_dies_and_comes_back/1],
    Last = [fun a_node_that_hangs_holds_up_no_frame/1,
            fun a_node_that_dies/1],
    [with_shared(2, [{title(Case), Case} || Case <- Cases]),
     [{title(Case), {timeout, 60, fun() -> with_nodes(2, Case) end}} || Case <- Last]
        ++ [{"three nodes", {timeout, 60, fun three_nodes/0}},
            {"a node that joins late", {timeout, 60, fun a_node_that_joins_late/0}}]].

%% An engine in the VM on one node, and one of its own on the other.
mixed_test_() ->
    Cases = [fun frames_reach_subscribers_of_all_nodes/1,
             fun patterns_reach_over_nodes/1,
             fun processes_get_terms_of_other_nodes/1,
             fun order_of_a_publisher/1,
             fun a_scope_for_one_call/1,
             fun subscriptions_that_end_are_known_elsewhere/1,
             fun a_server_that_stops_and_starts_again/1,
             fun compressed_and_json_of_each_kind/1],
    [with_shared(Engines, [{lists:flatten(io_lib:format("~s, ~p", [title(Case), Engines])),
                            fun(Nodes) -> are(Engines, Nodes), Case(Nodes) end} || Case <- Cases])
     || Engines <- [[nif, port], [port, nif]]].

are(Engines, Nodes) ->
    ?assertEqual(Engines, [Engine || Node <- Nodes, {ok, #{engine := Engine}} <- [on(Node, {sockeye, info, []})]]).

%% Bytes that one has encoded, and terms of its VM, go out of the other.
compressed_and_json_of_each_kind([A, B]) ->
    [server(Node, #{deflate => true}) || Node <- [A, B]],
    [{SocketA, ConnA}, {SocketB, ConnB}] = [client(Node, chat) || Node <- [A, B]],
    [ok = on(Node, {sockeye, subscribe, [Conn, <<"t">>]}) || {Node, Conn} <- [{A, ConnA}, {B, ConnB}]],
    [known(Node, <<"t">>, 1) || Node <- [A, B]],
    Long = binary:copy(<<"long ">>, 10000),
    Frames = [{#{big => 1 bsl 100, float => 1.5, atom => true, raw => {json_raw, <<"[1]">>}, list => [a, <<"b">>]},
               <<"{\"atom\":true,\"big\":1267650600228229401496703205376,\"float\":1.5,\"list\":[\"a\",\"b\"],\"raw\":[1]}">>},
              {{text, Long}, Long}, {{uncompressed, {binary, Long}}, Long}],
    [begin
         ok = on(From, {sockeye, publish, [chat, <<"t">>, Frame]}),
         [?assertEqual(sorted(Data), sorted(ws_client:recv_data(Socket))) || Socket <- [SocketA, SocketB]]
     end || From <- [A, B], {Frame, Data} <- Frames],
    %% A process of one node sends to a connection of the other.
    [begin
         ok = on(Other, {rpc, call, [Node, sockeye, send, [Conn, {text, <<"over">>}]]}),
         ?assertEqual(<<"over">>, ws_client:recv_data(Socket))
     end || {{_, Node}, Conn, Socket, Other} <- [{A, ConnA, SocketA, B}, {B, ConnB, SocketB, A}]].

%% Objects have no order.
sorted(<<"{", _/binary>> = Text) -> {ok, Map} = sockeye_json:decode(Text), Map;
sorted(Text) -> Text.

title(Fun) -> {name, Name} = erlang:fun_info(Fun, name), lists:last(binary:split(atom_to_binary(Name), <<"/">>)).

frames_reach_subscribers_of_all_nodes([A, B]) ->
    [server(Node, #{null => nil}) || Node <- [A, B]],
    [{SocketA, ConnA}, {SocketB, ConnB}] = [client(Node, chat) || Node <- [A, B]],
    ok = on(A, {sockeye, subscribe, [ConnA, <<"t">>]}),
    ok = on(B, {sockeye, subscribe, [ConnB, <<"t">>]}),
    known(A, <<"t">>, 1),
    known(B, <<"t">>, 1),
    Large = binary:copy(<<"x">>, 300000),
    Frames = [{#{n => nil}, <<"{\"n\":null}">>}, {{text, <<"t">>}, <<"t">>}, {{binary, Large}, Large}],
    [begin
         ok = publish(From, <<"t">>, Frame),
         ?assertEqual({Data, Data}, {ws_client:recv_data(SocketA), ws_client:recv_data(SocketB)})
     end || From <- [A, B], {Frame, Data} <- Frames],
    ok = on(A, {sockeye, broadcast, [chat, {text, <<"all">>}]}),
    ?assertEqual([<<"all">>], got(SocketB, 1)),
    ok = on(A, {sockeye, broadcast_from, [ConnA, {text, <<"others">>}]}),
    ?assertEqual([<<"others">>], got(SocketB, 1)),
    ok = on(B, {sockeye, publish_from, [ConnB, <<"t">>, {text, <<"end">>}]}),
    ?assertEqual([<<"all">>, <<"end">>], got(SocketA, 2)),
    ?assertEqual({error, not_utf8}, publish(A, <<"t">>, {text, <<255>>})),
    ?assertEqual({ok, #{sent => 1, dropped => 0}},
                 on(A, {sockeye, publish, [chat, <<"t">>, {text, <<"w">>}, #{wait => true}]})),
    ?assertEqual([<<"w">>], got(SocketB, 1)).

a_frame_goes_only_where_it_is_wanted([A, B]) ->
    [server(Node, #{}) || Node <- [A, B]],
    {Socket, Conn} = client(B, chat),
    ok = on(B, {sockeye, subscribe, [Conn, <<"wanted">>]}),
    known(A, <<"wanted">>, 1),
    ?assertEqual([], on(A, {sockeye_cluster, targets, [chat, <<"other">>]})),
    ?assertEqual([], on(B, {sockeye_cluster, targets, [chat, <<"wanted">>]})),
    ok = publish(A, <<"other">>, {text, <<"1">>}),
    ok = publish(A, <<"wanted">>, {text, <<"2">>}),
    ?assertEqual([<<"2">>], got(Socket, 1)).

patterns_reach_over_nodes([A, B]) ->
    [server(Node, #{}) || Node <- [A, B]],
    {Socket, Conn} = client(B, chat),
    [ok = on(B, {sockeye, subscribe, [Conn, Topic]}) || Topic <- [<<"room/*">>, <<"room/1">>]],
    known(A, <<"room/9">>, 1),
    [ok = publish(A, Topic, {text, Topic}) || Topic <- [<<"room/1">>, <<"x">>, <<"room/2">>]],
    ?assertEqual([<<"room/1">>, <<"room/2">>], got(Socket, 2)),
    ok = on(B, {sockeye, unsubscribe, [Conn, <<"room/*">>]}),
    known(A, <<"room/9">>, 0),
    known(A, <<"room/1">>, 1).

processes_get_terms_of_other_nodes([A, B]) ->
    [server(Node, #{}) || Node <- [A, B]],
    Setup = fun() -> ok = sockeye_pubsub:subscribe(chat, <<"t">>), ok = sockeye_pubsub:subscribe(chat, <<"p/*">>) end,
    Pid = on(B, {cluster_node, collect, [Setup]}),
    known(A, <<"t">>, 1),
    known(A, <<"p/1">>, 1),
    Term = #{atom => [1, 2.5, {json_raw, <<"{}">>}]},
    ok = publish(A, <<"t">>, Term),
    ok = publish(A, <<"p/1">>, {text, [<<"io">>]}),
    ok = publish(B, <<"t">>, {binary, <<1>>}),
    Got = until(fun() -> on(B, {cluster_node, collected, [Pid]}) end, fun(G) -> length(G) =:= 3 end),
    ?assertEqual(lists:sort([{sockeye_pubsub, <<"t">>, {json, Term}},
                             {sockeye_pubsub, <<"p/1">>, {text, <<"io">>}},
                             {sockeye_pubsub, <<"t">>, {binary, <<1>>}}]), lists:sort(Got)).

order_of_a_publisher([A, B]) ->
    [server(Node, #{}) || Node <- [A, B]],
    {Socket, Conn} = client(B, chat),
    [ok = on(B, {sockeye, subscribe, [Conn, Topic]}) || Topic <- [<<"t">>, <<"u">>]],
    known(A, <<"t">>, 1),
    known(A, <<"u">>, 1),
    ok = on(A, {lists, foreach,
                [fun(N) ->
                         Frame = {text, integer_to_binary(N)},
                         ok = case N rem 3 of
                                  0 -> sockeye:publish(chat, <<"t">>, Frame);
                                  1 -> sockeye:publish(chat, <<"u">>, Frame);
                                  2 -> sockeye:broadcast(chat, Frame)
                              end
                 end, lists:seq(1, 2000)]}),
    ?assertEqual(lists:seq(1, 2000), [binary_to_integer(T) || T <- got(Socket, 2000)]),
    ?assertEqual([0, 0], [on(Node, {sockeye_cluster, dropped, []}) || Node <- [A, B]]).

a_scope_for_one_call([A, B]) ->
    [server(Node, #{}) || Node <- [A, B]],
    _ = server(A, #{name => alone, scope => local}),
    {Socket, Conn} = client(B, chat),
    ok = on(B, {sockeye, subscribe, [Conn, <<"t">>]}),
    known(A, <<"t">>, 1),
    Publish = fun(Scope) -> on(A, {sockeye, publish, [chat, <<"t">>, {text, atom_to_binary(Scope)}, #{scope => Scope}]}) end,
    ok = Publish(local),
    ok = Publish(cluster),
    ?assertEqual([<<"cluster">>], got(Socket, 1)),
    ?assertEqual({error, not_clustered},
                 on(A, {sockeye, publish, [alone, <<"t">>, #{}, #{scope => cluster}]})),
    ?assertEqual({error, not_clustered},
                 on(A, {sockeye, broadcast, [alone, #{}, #{scope => cluster}]})),
    ?assertMatch({error, {bad_option, scope, _}}, sockeye:start_link(#{port => 0, scope => cluster})),
    ?assertMatch({error, {bad_option, scope, _}}, sockeye:start_link(#{port => 0, scope => world})).

subscriptions_that_end_are_known_elsewhere([A, B]) ->
    [server(Node, #{}) || Node <- [A, B]],
    {Socket, Conn} = client(B, chat),
    ok = on(B, {sockeye, subscribe, [Conn, <<"t">>]}),
    known(A, <<"t">>, 1),
    gen_tcp:close(Socket),
    known(A, <<"t">>, 0),
    ?assertEqual(ok, publish(A, <<"t">>, #{})).

a_server_that_stops_and_starts_again([A, B]) ->
    [server(Node, #{}) || Node <- [A, B]],
    {_, Conn} = client(B, chat),
    ok = on(B, {sockeye, subscribe, [Conn, <<"t">>]}),
    known(A, <<"t">>, 1),
    ok = on(B, {sockeye, stop, [chat]}),
    known(A, <<"t">>, 0),
    known(A, all, 0),
    _ = server(B, #{}),
    known(A, all, 1),
    {Again, NewConn} = client(B, chat),
    ok = on(B, {sockeye, subscribe, [NewConn, <<"t">>]}),
    known(A, <<"t">>, 1),
    ok = publish(A, <<"t">>, {text, <<"new">>}),
    ?assertEqual([<<"new">>], got(Again, 1)).

a_relay_that_dies_comes_back([A, B]) ->
    dies_and_comes_back(sockeye_cluster, A, B).

groups_that_die_come_back([A, B]) ->
    dies_and_comes_back(sockeye_topics, A, B).

%% What ended meanwhile is known elsewhere, too.
who_tells_the_groups_dies_and_comes_back([A, B]) ->
    [server(Node, #{}) || Node <- [A, B]],
    {Socket, Conn} = client(B, chat),
    [ok = on(B, {sockeye, subscribe, [Conn, Topic]}) || Topic <- [<<"t">>, <<"u">>]],
    [known(A, Topic, 1) || Topic <- [<<"t">>, <<"u">>]],
    Old = on(B, {erlang, whereis, [sockeye_groups]}),
    ok = on(B, {sys, suspend, [Old]}),
    ok = on(B, {sockeye, unsubscribe, [Conn, <<"u">>]}),
    true = on(B, {erlang, exit, [Old, kill]}),
    known(A, <<"u">>, 0),
    known(A, <<"t">>, 1),
    ok = publish(A, <<"t">>, {text, <<"again">>}),
    ?assertEqual([<<"again">>], got(Socket, 1)).

%% Groups wait for it: frames of other nodes do not.
a_node_that_hangs_holds_up_no_frame([A, B]) ->
    [server(Node, #{}) || Node <- [A, B]],
    {Socket, Conn} = client(B, chat),
    ok = on(B, {sockeye, subscribe, [Conn, <<"t">>]}),
    known(A, <<"t">>, 1),
    %% As if it waited for a third one.
    ok = on(B, {sys, suspend, [sockeye_topics]}),
    ok = on(B, {sockeye, subscribe, [Conn, <<"other">>]}),
    ok = publish(A, <<"t">>, {text, <<"now">>}),
    ?assertEqual([<<"now">>], got(Socket, 1)),
    ok = on(B, {sys, resume, [sockeye_topics]}),
    known(A, <<"other">>, 1).

dies_and_comes_back(Name, A, B) ->
    [server(Node, #{}) || Node <- [A, B]],
    {Socket, Conn} = client(B, chat),
    ok = on(B, {sockeye, subscribe, [Conn, <<"t">>]}),
    known(A, <<"t">>, 1),
    [Old] = on(A, {sockeye_cluster, targets, [chat, <<"t">>]}),
    true = on(B, {erlang, exit, [on(B, {erlang, whereis, [Name]}), kill]}),
    _ = until(fun() -> on(A, {sockeye_cluster, targets, [chat, <<"t">>]}) end,
              fun([New]) -> New =/= Old; (_) -> false end),
    ok = publish(A, <<"t">>, {text, <<"again">>}),
    ?assertEqual([<<"again">>], got(Socket, 1)).

a_node_that_dies([A, {PeerB, _} = B]) ->
    [server(Node, #{}) || Node <- [A, B]],
    [{Socket, Conn}, {_, ConnB}] = [client(Node, chat) || Node <- [A, B]],
    ok = on(A, {sockeye, subscribe, [Conn, <<"t">>]}),
    ok = on(B, {sockeye, subscribe, [ConnB, <<"t">>]}),
    known(A, <<"t">>, 1),
    ok = peer:stop(PeerB),
    %% Whether A has noticed or not.
    ok = publish(A, <<"t">>, {text, <<"here">>}),
    ?assertEqual([<<"here">>], got(Socket, 1)),
    known(A, <<"t">>, 0).

three_nodes() ->
    with_nodes(3, fun(Nodes) ->
        [server(Node, #{}) || Node <- Nodes],
        Clients = [client(Node, chat) || Node <- Nodes],
        [ok = on(Node, {sockeye, subscribe, [Conn, <<"t">>]})
         || {Node, {_, Conn}} <- lists:zip(Nodes, Clients)],
        [known(Node, <<"t">>, 2) || Node <- Nodes],
        [begin
             ok = publish(Node, <<"t">>, {text, Text}),
             [?assertEqual([Text], got(Socket, 1)) || {Socket, _} <- Clients]
         end || {Node, Text} <- lists:zip(Nodes, [<<"1">>, <<"2">>, <<"3">>])]
    end).

a_node_that_joins_late() ->
    with_nodes(1, fun([A]) ->
        _ = server(A, #{}),
        B = cluster_node:start(2),
        try
            _ = server(B, #{}),
            {Socket, Conn} = client(B, chat),
            ok = on(B, {sockeye, subscribe, [Conn, <<"t">>]}),
            ok = publish(A, <<"t">>, {text, <<"before">>}),
            cluster_node:connect([A, B]),
            known(A, <<"t">>, 1),
            ok = publish(A, <<"t">>, {text, <<"after">>}),
            ?assertEqual([<<"after">>], got(Socket, 1))
        after
            peer:stop(element(1, B))
        end
    end).

%% What waits for a node's process is bounded: more is dropped, and counted.
the_relay_is_bounded_test_() ->
    {timeout, 60, fun() ->
        {ok, _} = application:ensure_all_started(sockeye),
        [begin
             Relay = whereis(sockeye_cluster),
             Before = sockeye_cluster:dropped(),
             ok = sys:suspend(Relay, 60000),
             %% It looks at its mailbox with each 64th frame; the first one finds the others waiting.
             [Relay ! {sockeye_publish, no_such_server, all, none, none} || _ <- lists:seq(1, Count)],
             ok = sys:resume(Relay, 60000),
             _ = sys:get_state(Relay, 60000),
             Dropped = sockeye_cluster:dropped() - Before,
             case Count =< 10000 of
                 true -> ?assertEqual(0, Dropped);
                 false -> ?assert(Dropped >= Count - 10000 - 65), ?assert(Dropped =< Count - 10000)
             end
         end || Count <- [9999, 10000, 10065, 20000]]
    end}.

%% Nodes of other versions are no reason to end what all servers share.
a_frame_that_is_none_test() ->
    {ok, Server} = sockeye:start_link(#{port => 0, name => cluster_odd, scope => cluster}),
    Relay = whereis(sockeye_cluster),
    Before = sockeye_cluster:dropped(),
    [Relay ! {sockeye_publish, cluster_odd, all, Encoded, none} || Encoded <- [garbage, {<<>>}, {1, 2}]],
    _ = sys:get_state(Relay, 60000),
    ?assertEqual(Relay, whereis(sockeye_cluster)),
    ?assertEqual(3, sockeye_cluster:dropped() - Before),
    ok = sockeye:stop(Server).

%% What is known of a server that has ended says nothing about the next one: an id is never used again.
the_next_server_is_not_in_the_cluster_test() ->
    {ok, Old} = sockeye:start_link(#{port => 0, name => cluster_old, scope => cluster}),
    {ok, {_, ServerId, _}} = sockeye_engine:find(Old),
    %% It learns of the end only when the next server is there.
    ok = sys:suspend(sockeye_groups, 60000),
    ok = sockeye:stop(Old),
    Self = self(),
    Starter = spawn_link(fun() ->
        {ok, Server} = sockeye:start_link(#{port => 0}),
        {ok, {_, Number, _}} = sockeye_engine:find(Server),
        Self ! {started, self(), Number, sockeye_cluster:name(Number, default)},
        ok = sockeye:stop(Server)
    end),
    Waits = fun() -> {_, Count} = process_info(whereis(sockeye_groups), message_queue_len),
                     Count > 1 orelse not is_process_alive(Starter) end,
    _ = until(Waits, fun(Yes) -> Yes end),
    ok = sys:resume(sockeye_groups, 60000),
    receive {started, Starter, Number, Scope} -> ?assertMatch({true, local}, {Number =/= ServerId, Scope}) end.

%% More news than are told one by one: all is looked at.
thousands_of_topics_at_once_test_() ->
    {timeout, 60, fun() ->
        {ok, Server} = sockeye:start_link((test_support:patient())#{name => cluster_many, scope => cluster, max_subscriptions => 10000}),
        {_, Conn} = test_support:open(test_support:port(Server)),
        Topics = [<<"p*">> | [integer_to_binary(N) || N <- lists:seq(1, 5000)]],
        Change = fun(What, Some) ->
                         ok = sys:suspend(sockeye_groups, 60000),
                         [ok = sockeye:What(Conn, Topic) || Topic <- Some],
                         {message_queue_len, 1} = process_info(whereis(sockeye_groups), message_queue_len),
                         ok = sys:resume(sockeye_groups, 60000),
                         _ = sys:get_state(sockeye_groups, 60000),
                         lists:sort([Group || Group <- pg:which_groups(sockeye_cluster:scope()),
                                              element(1, Group) =:= cluster_many])
                 end,
        Groups = fun(Exact) -> lists:sort([{cluster_many, connections, T} || T <- Exact]) end,
        ?assertEqual(lists:sort([{cluster_many, all}, {cluster_many, connections} | Groups(tl(Topics))]),
                     Change(subscribe, Topics)),
        ?assertEqual(lists:sort([{cluster_many, all} | Groups([<<"5000">>])]),
                     Change(unsubscribe, lists:droplast(Topics))),
        ws_client:drop_all(),
        ok = sockeye:stop(Server),
        test_support:flush()
    end}.

%% Servers start, and publish, while the processes of the cluster are being replaced.
nobody_waits_for_the_cluster_test() ->
    {ok, _} = application:ensure_all_started(sockeye),
    {_, Sup, _, _} = lists:keyfind(sockeye_cluster_sup, 1, supervisor:which_children(sockeye_sup)),
    Children = [sockeye_presence_server, sockeye_pubsub_server, sockeye_groups, sockeye_cluster, sockeye_topics],
    [ok = supervisor:terminate_child(Sup, Child) || Child <- Children],
    {ok, Server} = sockeye:start_link(#{port => 0, name => cluster_early, scope => cluster}),
    {_, Conn} = test_support:open(test_support:port(Server)),
    ok = sockeye:subscribe(Conn, <<"t">>),
    ?assertEqual({ok, #{sent => 1, dropped => 0}}, sockeye:publish(Server, <<"t">>, #{}, #{wait => true})),
    ok = sockeye:broadcast(Server, #{}),
    [?assertEqual({error, not_found}, Call(cluster_early, <<"t">>))
     || Call <- [fun sockeye_pubsub:subscribe/2, fun sockeye_pubsub:unsubscribe/2,
                 fun sockeye_presence:subscribe/2, fun sockeye_presence:unsubscribe/2,
                 fun(S, T) -> sockeye_presence:track(S, T, self(), key, meta) end]],
    ?assertEqual({error, closed}, sockeye_presence:track(Conn, <<"t">>, key, meta)),
    ?assertEqual({ok, #{}}, sockeye_presence:list(Server, <<"t">>)),
    [{ok, _} = supervisor:restart_child(Sup, Child) || Child <- lists:reverse(Children)],
    _ = sys:get_state(sockeye_groups, 60000),
    ?assertEqual([{cluster_early, all}, {cluster_early, connections, <<"t">>}],
                 lists:sort([Group || Group <- pg:which_groups(sockeye_cluster:scope()),
                                      element(1, Group) =:= cluster_early])),
    ok = sockeye_presence:track(Conn, <<"t">>, key, meta),
    ws_client:drop_all(),
    ok = sockeye:stop(Server),
    test_support:flush().
