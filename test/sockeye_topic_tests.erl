%% Topics, as subscribers and publishers see them.
-module(sockeye_topic_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-only_in({nif, [a_list_of_many_servers_is_work_for_a_dirty_scheduler_test]}).

-import(test_support, [with_server/2, with_handler/2, open/1, closed/1, url/1]).

%% So many connections, in the order in which they were opened.
several(Port, N) ->
    [open(Port) || _ <- lists:seq(1, N)].

texts(Socket, N) ->
    [ws_client:recv_data(Socket) || _ <- lists:seq(1, N)].

%% All that a connection has got so far.
until_mark({Socket, Conn}) ->
    ok = sockeye:send(Conn, {text, <<"mark">>}),
    until_mark(Socket, []).

until_mark(Socket, Got) ->
    case ws_client:recv_data(Socket) of
        <<"mark">> -> lists:reverse(Got);
        Data -> until_mark(Socket, [Data | Got])
    end.

subscribers_get_what_is_published_test() ->
    with_server(#{}, fun(Port, Server) ->
        [{_, A} = First, {_, B} = Second, Third] = several(Port, 3),
        ok = sockeye:subscribe(A, <<"news">>),
        ok = sockeye:subscribe(B, <<"news">>),
        ok = sockeye:publish(Server, <<"news">>, {text, <<"one">>}),
        ok = sockeye:unsubscribe(B, <<"news">>),
        ok = sockeye:publish(Port, <<"news">>, #{n => 2}),
        ok = sockeye:publish(Server, <<"other">>, {text, <<"nobody">>}),
        ?assertEqual([<<"one">>, <<"{\"n\":2}">>], until_mark(First)),
        ?assertEqual([<<"one">>], until_mark(Second)),
        ?assertEqual([], until_mark(Third))
    end).

but_not_to_the_sender_test() ->
    with_server(#{}, fun(Port, _) ->
        [{_, A} = First, {_, B} = Second] = several(Port, 2),
        [ok = sockeye:subscribe(Conn, <<"t">>) || Conn <- [A, B]],
        ok = sockeye:publish_from(A, <<"t">>, {text, <<"from a">>}),
        ?assertEqual({ok, #{sent => 1, dropped => 0}},
                     sockeye:publish_from(A, <<"t">>, {text, <<"again">>}, #{wait => true})),
        ?assertEqual([], until_mark(First)),
        ?assertEqual([<<"from a">>, <<"again">>], until_mark(Second))
    end).

subscribing_twice_is_once_test() ->
    with_server(#{max_subscriptions => 1}, fun(Port, Server) ->
        [{_, Conn} = One] = several(Port, 1),
        ok = sockeye:subscribe(Conn, <<"t">>),
        ok = sockeye:subscribe(Conn, <<"t">>),
        ?assertEqual({ok, #{<<"t">> => 1}}, sockeye:topics(Server)),
        ok = sockeye:publish(Server, <<"t">>, {text, <<"once">>}),
        ?assertEqual([<<"once">>], until_mark(One)),
        ok = sockeye:unsubscribe(Conn, <<"t">>),
        ok = sockeye:unsubscribe(Conn, <<"t">>),
        ?assertEqual({ok, #{}}, sockeye:topics(Server))
    end).

a_prefix_gets_all_that_begins_so_and_each_once_test() ->
    with_server(#{}, fun(Port, Server) ->
        [{_, A} = First, {_, B} = Second] = several(Port, 2),
        [ok = sockeye:subscribe(A, Topic) || Topic <- [<<"room/*">>, <<"room/1">>, <<"*">>]],
        ok = sockeye:subscribe(B, <<"room/1">>),
        [ok = sockeye:publish(Server, Topic, {text, Topic})
         || Topic <- [<<"room/1">>, <<"room/22">>, <<"room/">>, <<"room">>, <<"x">>]],
        ?assertEqual([<<"room/1">>, <<"room/22">>, <<"room/">>, <<"room">>, <<"x">>],
                     until_mark(First)),
        ?assertEqual([<<"room/1">>], until_mark(Second)),
        ?assertEqual({ok, #{<<"room/*">> => 1, <<"room/1">> => 2, <<"*">> => 1}},
                     sockeye:topics(Server)),
        ?assertEqual(lists:sort([A, B]), lists:sort(test_support:ok(sockeye:subscribers(Server, <<"room/1">>)))),
        ?assertEqual({ok, [A]}, sockeye:subscribers(Server, <<"y">>)),
        ok = sockeye:unsubscribe(A, <<"room/*">>),
        ok = sockeye:unsubscribe(A, <<"*">>),
        ok = sockeye:publish(Server, <<"room/2">>, {text, <<"nobody">>}),
        ?assertEqual([], until_mark(First))
    end).

the_bound_of_subscriptions_test_() ->
    [{integer_to_list(N),
      fun() ->
          with_server(#{max_subscriptions => 3}, fun(Port, Server) ->
              {_, Conn} = open(Port),
              Got = [sockeye:subscribe(Conn, <<"t", I>>) || I <- lists:seq(1, N)],
              ?assertEqual([ok || _ <- lists:seq(1, min(N, 3))]
                           ++ [{error, too_many_subscriptions} || _ <- lists:seq(4, max(3, N))], Got),
              ?assertEqual(min(N, 3), map_size(test_support:ok(sockeye:topics(Server)))),
              %% One that ends makes room.
              ok = sockeye:unsubscribe(Conn, <<"t", 1>>),
              ok = sockeye:subscribe(Conn, <<"another">>)
          end)
      end} || N <- [2, 3, 4]].

names_at_their_bounds_test() ->
    with_server(#{}, fun(Port, Server) ->
        [{_, Conn} = One] = several(Port, 1),
        [begin
             Name = binary:copy(<<"n">>, Len),
             ok = sockeye:subscribe(Conn, Name),
             ok = sockeye:publish(Server, Name, {text, integer_to_binary(Len)})
         end || Len <- [1, 254, 255]],
        ?assertEqual([<<"1">>, <<"254">>, <<"255">>], until_mark(One)),
        Long = binary:copy(<<"n">>, 256),
        [?assertError(badarg, Call()) || Bad <- [<<>>, Long, "list", atom, 1],
             Call <- [fun() -> sockeye:subscribe(Conn, Bad) end,
                      fun() -> sockeye:unsubscribe(Conn, Bad) end,
                      fun() -> sockeye:publish(Server, Bad, #{}) end,
                      fun() -> sockeye:publish_from(Conn, Bad, #{}) end,
                      fun() -> sockeye:subscribers(Server, Bad) end]],
        ?assertError(badarg, sockeye:publish(Server, <<"a*">>, #{})),
        [?assertError(badarg, sockeye:publish(Server, <<"a">>, #{}, Options))
         || Options <- [#{wait => 1}, #{hurry => true}, #{compress => no}]],
        ?assertError(badarg, sockeye:publish(Server, <<"a">>, {close, 1000, <<>>})),
        ?assertError(badarg, sockeye:subscribe(not_a_conn, <<"a">>)),
        ?assertEqual({error, {not_json, self(), <<"$.a">>}}, sockeye:publish(Server, <<"a">>, #{a => self()}))
    end).

subscriptions_end_with_the_connection_test() ->
    with_server(#{}, fun(Port, Server) ->
        [{Socket, A}, {_, B}] = several(Port, 2),
        [ok = sockeye:subscribe(A, Topic) || Topic <- [<<"a">>, <<"b">>, <<"c*">>]],
        ok = sockeye:subscribe(B, <<"b">>),
        gen_tcp:close(Socket),
        ?assertEqual(1006, closed(A)),
        ?assertEqual({error, closed}, sockeye:subscribe(A, <<"d">>)),
        ?assertEqual({error, closed}, sockeye:unsubscribe(A, <<"a">>)),
        ?assertEqual({error, closed}, sockeye:publish_from(A, <<"b">>, #{})),
        ?assertEqual({ok, #{<<"b">> => 1}}, sockeye:topics(Server)),
        ?assertEqual({ok, #{sent => 1, dropped => 0}},
                     sockeye:publish(Server, <<"b">>, #{}, #{wait => true}))
    end).

ten_thousand_subscriptions_come_and_go_test_() ->
    {timeout, 60, fun() ->
        with_server(#{max_subscriptions => 10000}, fun(Port, Server) ->
            {Socket, Conn} = open(Port),
            Before = hostile_client:memory(),
            Names = [<<"topic/", (integer_to_binary(N))/binary>> || N <- lists:seq(1, 10000)],
            [ok = sockeye:subscribe(Conn, Name) || Name <- Names],
            ?assertEqual(10000, map_size(test_support:ok(sockeye:topics(Server)))),
            [ok = sockeye:publish(Server, Name, {text, Name}) || Name <- lists:sublist(Names, 100)],
            ?assertEqual(lists:sublist(Names, 100), texts(Socket, 100)),
            ok = sockeye:close(Conn),
            _ = ws_client:recv_close(Socket),
            gen_tcp:close(Socket),
            _ = closed(Conn),
            ?assertEqual({ok, #{}}, sockeye:topics(Server)),
            ?assert(hostile_client:memory() - Before < hostile_client:most(100000))
        end)
    end}.

one_topic_of_many_connections_test() ->
    with_server(#{}, fun(Port, Server) ->
        All = several(Port, 200),
        [ok = sockeye:subscribe(Conn, <<"all">>) || {_, Conn} <- All],
        ?assertEqual({ok, #{sent => 200, dropped => 0}},
                     sockeye:publish(Server, <<"all">>, {text, <<"hi">>}, #{wait => true})),
        [?assertEqual(<<"hi">>, ws_client:recv_data(Socket)) || {Socket, _} <- All],
        ?assertEqual(200, length(test_support:ok(sockeye:subscribers(Server, <<"all">>))))
    end).

%% A frame is encoded for each server that has connections in a list.
a_list_of_many_servers_is_work_for_a_dirty_scheduler_test() ->
    Servers = [element(2, {ok, _} = sockeye:start_link(#{port => 0})) || _ <- lists:seq(1, 6)],
    Pairs = [open(test_support:port(Server)) || Server <- Servers],
    Conns = [Conn || {_, Conn} <- Pairs],
    Text = binary:copy(<<"x">>, 60000),
    Frame = {text, Text},
    ?assertEqual(ok, sockeye_nif:send_list(lists:sublist(Conns, 5), Frame)),
    ?assertEqual(dirty, sockeye_nif:send_list(Conns, Frame)),
    ?assertEqual(ok, sockeye:send(Conns, Frame)),
    [?assertEqual(Text, ws_client:recv_data(Socket)) || {Socket, _} <- Pairs ++ lists:sublist(Pairs, 5)],
    ws_client:drop_all(),
    [ok = sockeye:stop(Server) || Server <- Servers],
    test_support:flush().

%% What one process says to a connection comes in the order in which it said it,
%% whichever way it takes.
order_of_a_publisher_test() ->
    with_server(#{}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        ok = sockeye:subscribe(Conn, <<"t">>),
        ok = sockeye:subscribe(Conn, <<"p*">>),
        Ways = [fun(F) -> sockeye:publish(Server, <<"t">>, F) end,
                fun(F) -> sockeye:publish(Server, <<"p1">>, F) end,
                fun(F) -> sockeye:send(Conn, F) end,
                fun(F) -> sockeye:send([Conn], F) end,
                fun(F) -> sockeye:broadcast(Server, F) end,
                fun(F) -> {ok, _} = sockeye:publish(Server, <<"t">>, F, #{wait => true}), ok end],
        Numbers = lists:seq(1, 500),
        [ok = (lists:nth(rand:uniform(length(Ways)), Ways))({text, integer_to_binary(N)})
         || N <- Numbers],
        ?assertEqual(Numbers, [binary_to_integer(T) || T <- texts(Socket, 500)])
    end).

order_of_several_publishers_test() ->
    with_server(#{}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        ok = sockeye:subscribe(Conn, <<"t">>),
        [spawn_link(fun() ->
                            [ok = sockeye:publish(Server, <<"t">>, {json, [Who, N]})
                             || N <- lists:seq(1, 200)]
                    end) || Who <- [1, 2, 3]],
        Got = [binary:split(T, [<<"[">>, <<",">>, <<"]">>], [global, trim_all])
               || T <- texts(Socket, 600)],
        [?assertEqual(lists:seq(1, 200),
                      [binary_to_integer(N) || [W, N] <- Got, W =:= integer_to_binary(Who)])
         || Who <- [1, 2, 3]]
    end).

publishing_while_subscribers_come_and_go_test_() ->
    {timeout, 60, fun() ->
        with_server(#{}, fun(Port, Server) ->
            {Socket, Steady} = open(Port),
            ok = sockeye:subscribe(Steady, <<"t">>),
            Comers = several(Port, 10),
            Publisher = spawn_monitor(fun() ->
                [ok = sockeye:publish(Server, <<"t">>, {text, integer_to_binary(N)})
                 || N <- lists:seq(1, 2000)]
            end),
            [begin ok = sockeye:subscribe(C, <<"t">>), ok = sockeye:unsubscribe(C, <<"t">>) end
             || _ <- lists:seq(1, 100), {_, C} <- Comers],
            [gen_tcp:close(S) || {S, _} <- lists:sublist(Comers, 5)],
            {Pid, Monitor} = Publisher,
            receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end,
            ?assertEqual(lists:seq(1, 2000), [binary_to_integer(T) || T <- texts(Socket, 2000)]),
            ?assertEqual({ok, #{<<"t">> => 1}}, sockeye:topics(Server)),
            %% Who stayed has got each frame at most once, in order.
            [begin
                 Got = [binary_to_integer(T) || T <- until_mark(Comer)],
                 ?assertEqual(lists:usort(Got), Got)
             end || Comer <- lists:nthtail(5, Comers)]
        end)
    end}.

%% A client that does not read, until its queue is full.
stuffed(Port, Topic) ->
    {Socket, Conn} = open(Port),
    ok = inet:setopts(Socket, [{recbuf, 4096}]),
    ok = sockeye:subscribe(Conn, Topic),
    %% An empty queue takes it, the socket does not.
    ok = sockeye:send(Conn, {binary, binary:copy(<<0>>, 32 * 1024 * 1024)}),
    {Socket, Conn}.

a_slow_subscriber_misses_it_and_delays_nobody_test() ->
    with_server(#{send_queue_size => 1000}, fun(Port, Server) ->
        _ = stuffed(Port, <<"t">>),
        [{_, Quick} = Second] = several(Port, 1),
        ok = sockeye:subscribe(Quick, <<"t">>),
        ?assertEqual({ok, #{sent => 1, dropped => 1}},
                     sockeye:publish(Server, <<"t">>, {text, <<"x">>}, #{wait => true})),
        ?assertEqual([<<"x">>], until_mark(Second)),
        ?assertMatch({ok, #{dropped := 1}}, sockeye:info(Server))
    end).

a_slow_subscriber_is_closed_if_asked_for_test() ->
    with_server(#{send_queue_size => 1000, slow_subscriber => close}, fun(Port, Server) ->
        {_, Slow} = stuffed(Port, <<"t">>),
        [{_, Quick} = Second] = several(Port, 1),
        ok = sockeye:subscribe(Quick, <<"t">>),
        ?assertEqual({ok, #{sent => 1, dropped => 1}},
                     sockeye:publish(Server, <<"t">>, {text, <<"x">>}, #{wait => true})),
        receive {sockeye, Slow, {closed, Code, Why}} -> ?assertEqual({1008, <<"too slow">>}, {Code, Why}) end,
        ?assertEqual({ok, #{<<"t">> => 1}}, sockeye:topics(Server)),
        ?assertEqual([<<"x">>], until_mark(Second))
    end).

a_list_of_connections_test() ->
    with_server(#{}, fun(Port, _) ->
        with_server(#{null => nil}, fun(Other, _) ->
            [{_, A} = First, {SocketB, B}, {_, C} = Third] = several(Port, 3),
            [{_, D} = Fourth] = several(Other, 1),
            ok = sockeye:send([A, C, D], {json, [nil]}),
            ?assertEqual([<<"[\"nil\"]">>], until_mark(First)),
            ?assertEqual([<<"[\"nil\"]">>], until_mark(Third)),
            ?assertEqual([<<"[null]">>], until_mark(Fourth)),
            gen_tcp:close(SocketB),
            _ = closed(B),
            ?assertEqual({error, [{B, closed}]}, sockeye:send([A, B, C], {text, <<"two">>})),
            ?assertEqual([<<"two">>], until_mark(First)),
            ?assertEqual(ok, sockeye:send([], #{})),
            ?assertEqual({error, {not_json, self(), <<"$.a">>}}, sockeye:send([A], #{a => self()})),
            [?assertError(badarg, sockeye:send(Bad, #{})) || Bad <- [[A, b], [A | B]]]
        end)
    end).

a_long_list_test() ->
    with_server(#{}, fun(Port, _) ->
        [{Socket, Conn}] = several(Port, 1),
        [ok = sockeye:send(lists:duplicate(N, Conn), {text, <<"x">>}) || N <- [511, 512, 513, 5000]],
        [?assertEqual(<<"x">>, T) || T <- texts(Socket, 511 + 512 + 513 + 5000)]
    end).

a_list_reports_full_connections_test() ->
    with_server(#{send_queue_size => 1000}, fun(Port, _) ->
        {_, Slow} = stuffed(Port, <<"t">>),
        [{_, Quick} = Second] = several(Port, 1),
        ?assertEqual({error, [{Slow, busy}]}, sockeye:send([Slow, Quick], {text, <<"x">>})),
        ?assertEqual([<<"x">>], until_mark(Second))
    end).

a_publish_waits_for_the_end_of_a_message_in_pieces_test() ->
    with_server(#{}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        ok = sockeye:subscribe(Conn, <<"t">>),
        ok = sockeye:send(Conn, {stream, text, first, <<"a">>}),
        ok = sockeye:publish(Server, <<"t">>, {text, <<"between">>}),
        ok = sockeye:send(Conn, {stream, text, last, <<"b">>}),
        %% Two pieces, then the message.
        {ok, Bytes} = gen_tcp:recv(Socket, 2 + 1 + 2 + 1 + 2 + 7, 60000),
        ?assertEqual(<<1, 1, "a", 128, 1, "b", 129, 7, "between">>, Bytes)
    end).

compressed_once_for_those_who_share_test() ->
    with_server(#{deflate => true}, fun(Port, Server) ->
        {Plain, A} = open(Port),
        {ok, B} = sockeye_client:connect(url(Port), #{deflate => true, format => raw}),
        BConn = receive {sockeye, Opened, {open, _}} -> Opened end,
        [ok = sockeye:subscribe(Conn, <<"t">>) || Conn <- [A, BConn]],
        Text = binary:copy(<<"the same again ">>, 100),
        {ok, #{sent := 2}} = sockeye:publish(Server, <<"t">>, {text, Text}, #{wait => true}),
        {ok, #{sent := 2}} = sockeye:publish(Server, <<"t">>, {uncompressed, {text, Text}}, #{wait => true}),
        ?assertEqual([Text, Text], texts(Plain, 2)),
        [?assertEqual({ok, {text, Text}}, sockeye_client:recv(B, 60000)) || _ <- [1, 2]],
        {ok, #{bytes_saved := Saved}} = sockeye:info(Server),
        ?assert(Saved > 1000 andalso Saved < byte_size(Text)),
        ?assertError(badarg, sockeye:subscribe(B, <<"t">>)),
        ok = sockeye_client:close(B)
    end).

commands_of_a_handler_test() ->
    Frame = fun({text, <<"join ", Topic/binary>>}, _, S) -> {[{subscribe, Topic}, {reply, {text, <<"in">>}}], S};
               ({text, <<"leave ", Topic/binary>>}, _, S) -> {[{unsubscribe, Topic}, {reply, {text, <<"out">>}}], S};
               ({text, <<"say ", T:1/binary, " ", Text/binary>>}, _, S) ->
                    {[{publish, T, {text, Text}}, {reply, {text, <<"said">>}}], S};
               ({text, <<"tell ", T:1/binary, " ", Text/binary>>}, _, S) ->
                    {[{publish_from, T, {text, Text}}, {reply, {text, <<"told">>}}], S};
               ({text, <<"twice ", T:1/binary>>}, Conn, S) ->
                    {[{subscribe, Conn, T}, {publish, T, {text, <<"1">>}}, {unsubscribe, Conn, T},
                      {publish, T, {text, <<"2">>}}, {reply, {text, <<"3">>}}], S}
            end,
    test_support:with_handler(#{frame => Frame}, #{format => raw}, fun(Port, _) ->
        A = ws_client:connect(Port),
        B = ws_client:connect(Port),
        Say = fun(Socket, Text) -> ws_client:text(Socket, Text) end,
        ok = Say(A, <<"join x">>), ?assertEqual(<<"in">>, ws_client:recv_data(A)),
        ok = Say(B, <<"join x">>), ?assertEqual(<<"in">>, ws_client:recv_data(B)),
        ok = Say(A, <<"say x hello">>),
        ?assertEqual([<<"hello">>, <<"said">>], texts(A, 2)),
        ?assertEqual([<<"hello">>], texts(B, 1)),
        ok = Say(B, <<"tell x psst">>),
        ?assertEqual([<<"told">>], texts(B, 1)),
        ?assertEqual([<<"psst">>], texts(A, 1)),
        ok = Say(A, <<"leave x">>), ?assertEqual(<<"out">>, ws_client:recv_data(A)),
        ok = Say(B, <<"say x bye">>),
        ?assertEqual([<<"bye">>, <<"said">>], texts(B, 2)),
        ok = Say(A, <<"twice y">>),
        ?assertEqual([<<"1">>, <<"3">>], texts(A, 2))
    end).

a_server_that_is_gone_test() ->
    {ok, Server} = sockeye:start_link(#{port => 0}),
    ok = sockeye:stop(Server),
    [?assertEqual({error, not_found}, Call())
     || Call <- [fun() -> sockeye:publish(Server, <<"t">>, #{}) end,
                 fun() -> sockeye:publish(Server, <<"t">>, #{}, #{wait => true}) end,
                 fun() -> sockeye:broadcast(Server, #{}, #{wait => true}) end,
                 fun() -> sockeye:subscribers(Server, <<"t">>) end,
                 fun() -> sockeye:topics(Server) end]].

options_test() ->
    [?assertMatch({error, {bad_option, Key, _}}, sockeye:start_link(#{port => 0, Key => Value}))
     || {Key, Values} <- [{max_subscriptions, [0, 65537, infinity]}, {slow_subscriber, [true, wait]}],
        Value <- Values],
    [begin {ok, S} = sockeye:start_link(#{port => 0, max_subscriptions => N}), ok = sockeye:stop(S) end
     || N <- [1, 65536]],
    with_server(#{}, fun(Port, Server) ->
        {_, Conn} = open(Port),
        [?assertError(badarg, Call(Bad))
         || Bad <- [x, [], 1, #{wait => 1}, #{scope => world}, #{compress => 1}, #{other => true}],
            Call <- [fun(O) -> sockeye:publish(Server, <<"t">>, #{}, O) end,
                     fun(O) -> sockeye:publish_from(Conn, <<"t">>, #{}, O) end,
                     fun(O) -> sockeye:broadcast(Server, #{}, O) end,
                     fun(O) -> sockeye:broadcast_from(Conn, #{}, O) end]]
    end).

%% The first and the last subscription of a topic are told, and the end of a
%% connection, to those who asked.
news_for_watchers_test() ->
    with_server(#{}, fun(Port, Server) ->
        {ok, {_, ServerId, _}} = sockeye_engine:find(Server),
        {Socket, A} = open(Port),
        {_, B} = open(Port),
        ok = sockeye_backend:watch_topics(ServerId, self()),
        ok = sockeye_backend:watch_conn(A, self()),
        Told = fun(Topics) ->
                       receive {sockeye_topics, ServerId} -> ok end,
                       {false, News} = sockeye_backend:topic_news(ServerId),
                       ?assertEqual(Topics, lists:sort(News)),
                       [sockeye_backend:topic_count(ServerId, Topic) || Topic <- Topics]
               end,
        ok = sockeye:subscribe(A, <<"t">>),
        ?assertEqual([1], Told([<<"t">>])),
        ok = sockeye:subscribe(B, <<"t">>),
        ok = sockeye:unsubscribe(B, <<"t">>),
        ok = sockeye:subscribe(A, <<"p*">>),
        ?assertEqual([1], Told([<<"p*">>])),
        receive {sockeye_topics, _} = Early -> error(Early) after 0 -> ok end,
        gen_tcp:close(Socket),
        receive {sockeye_down, A} -> ok end,
        ?assertEqual([0, 0], Told([<<"p*">>, <<"t">>])),
        ?assertEqual({error, closed}, sockeye_backend:watch_conn(A, self())),
        _ = closed(A),
        ok = sockeye:subscribe(B, <<"t">>),
        ?assertEqual([1], Told([<<"t">>])),
        ok = sockeye:unsubscribe(B, <<"t">>),
        ?assertEqual([0], Told([<<"t">>]))
    end).

%% Told once, whatever comes then; beyond a bound it is not said of which topics.
news_are_bounded_test_() ->
    {timeout, 60, fun() ->
        with_server(#{max_subscriptions => 65536}, fun(Port, Server) ->
            {ok, {_, ServerId, _}} = sockeye_engine:find(Server),
            {_, Conn} = open(Port),
            Messages = fun() -> {_, All} = process_info(self(), messages), [M || {sockeye_topics, _} = M <- All] end,
            [begin
                 ok = sockeye_backend:watch_topics(ServerId, self()),
                 Topics = [integer_to_binary(N) || N <- lists:seq(1, Count)],
                 [ok = sockeye:Change(Conn, Topic) || Change <- [subscribe, unsubscribe, subscribe], Topic <- Topics],
                 ?assertEqual([{sockeye_topics, ServerId}], Messages()),
                 receive {sockeye_topics, ServerId} -> ok end,
                 case Count =< 4096 of
                     true -> ?assertEqual(lists:sort(Topics), lists:sort(taken(ServerId)));
                     false -> ?assertEqual(all, sockeye_backend:topic_news(ServerId))
                 end,
                 ?assertEqual({false, []}, sockeye_backend:topic_news(ServerId)),
                 [ok = sockeye:unsubscribe(Conn, Topic) || Topic <- Topics]
             end || Count <- [1, 255, 256, 257, 4095, 4096, 4097],
                    _ <- [test_support:flush()]]
        end)
    end}.

taken(ServerId) ->
    {More, Topics} = sockeye_backend:topic_news(ServerId),
    ?assert(length(Topics) =< 256),
    Topics ++ case More of true -> taken(ServerId); false -> [] end.

what_another_node_has_encoded_test() ->
    with_server(#{deflate => true}, fun(Port, Server) ->
        {ok, {_, ServerId, _}} = sockeye_engine:find(Server),
        {Socket, Conn} = open(Port),
        ok = sockeye:subscribe(Conn, <<"t">>),
        [begin
             {ok, Encoded} = case sockeye_backend:encode_frame(ServerId, Frame) of
                                 dirty -> sockeye_backend:encode_frame_dirty(ServerId, Frame);
                                 Made -> Made
                             end,
             ok = case sockeye_backend:publish_encoded(ServerId, To, Encoded, none, none) of
                      dirty -> sockeye_backend:publish_encoded_dirty(ServerId, To, Encoded, none, none);
                      Done -> Done
                  end,
             ?assertEqual(Data, ws_client:recv_data(Socket))
         end || {Frame, Data} <- [{#{}, <<"{}">>}, {{uncompressed, {text, <<"x">>}}, <<"x">>},
                                  {{binary, binary:copy(<<1>>, 300000)}, binary:copy(<<1>>, 300000)}],
                To <- [all, <<"t">>]]
    end).
