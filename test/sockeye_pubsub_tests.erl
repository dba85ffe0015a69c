%% Processes that subscribe to topics of a server.
-module(sockeye_pubsub_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, open/1, message/0]).

%% All that has come, and nothing is on its way: a publish delivers before it returns.
got() ->
    receive {sockeye_pubsub, Topic, Frame} -> [{Topic, Frame} | got()]
    after 0 -> []
    end.

what_is_published_comes_as_the_term_test() ->
    with_server(#{}, fun(_, Server) ->
        ok = sockeye_pubsub:subscribe(Server, <<"t">>),
        ok = sockeye_pubsub:subscribe(Server, <<"t">>),
        Frames = [{#{a => {json_raw, "1"}}, {json, #{a => {json_raw, "1"}}}}, {{json, [b]}, {json, [b]}},
                  {{text, ["x", <<"y">>]}, {text, <<"xy">>}}, {{binary, <<0>>}, {binary, <<0>>}},
                  {{uncompressed, {text, "z"}}, {text, <<"z">>}}],
        [ok = sockeye:publish(Server, <<"t">>, Frame) || {Frame, _} <- Frames],
        {ok, _} = sockeye:publish(Server, <<"t">>, {text, <<"w">>}, #{wait => true}),
        ok = sockeye:publish(Server, <<"t">>, {ping, <<>>}),
        ok = sockeye:publish(Server, <<"other">>, #{}),
        ok = sockeye:broadcast(Server, #{}),
        ?assertEqual([{<<"t">>, Term} || {_, Term} <- Frames] ++ [{<<"t">>, {text, <<"w">>}}], got()),
        ok = sockeye_pubsub:unsubscribe(Server, <<"t">>),
        ok = sockeye_pubsub:unsubscribe(Server, <<"t">>),
        ok = sockeye:publish(Server, <<"t">>, #{}),
        ?assertEqual([], got())
    end).

what_was_refused_is_not_delivered_test() ->
    with_server(#{}, fun(_, Server) ->
        ok = sockeye_pubsub:subscribe(Server, <<"t">>),
        {error, {not_json, _, <<"$.a">>}} = sockeye:publish(Server, <<"t">>, #{a => self()}),
        {error, not_utf8} = sockeye:publish(Server, <<"t">>, {text, <<255>>}),
        ?assertEqual([], got())
    end).

prefixes_and_each_once_test() ->
    with_server(#{}, fun(_, Server) ->
        [ok = sockeye_pubsub:subscribe(Server, Topic) || Topic <- [<<"a/*">>, <<"a/b">>, <<"a/b*">>]],
        [ok = sockeye:publish(Server, Topic, {text, Topic}) || Topic <- [<<"a/b">>, <<"a/c">>, <<"a">>]],
        ?assertEqual([<<"a/b">>, <<"a/c">>], [Topic || {Topic, _} <- got()]),
        ?assertEqual({ok, [self()]}, sockeye_pubsub:subscribers(Server, <<"a/x">>)),
        [ok = sockeye_pubsub:unsubscribe(Server, Topic) || Topic <- [<<"a/*">>, <<"a/b*">>]],
        ?assertEqual({ok, []}, sockeye_pubsub:subscribers(Server, <<"a/x">>)),
        ?assertEqual({ok, [self()]}, sockeye_pubsub:subscribers(Server, <<"a/b">>))
    end).

servers_are_apart_test() ->
    with_server(#{}, fun(_, A) ->
        with_server(#{}, fun(_, B) ->
            ok = sockeye_pubsub:subscribe(A, <<"t">>),
            ok = sockeye:publish(B, <<"t">>, #{}),
            ?assertEqual([], got()),
            ok = sockeye:publish(A, <<"t">>, #{}),
            ?assertEqual([{<<"t">>, {json, #{}}}], got())
        end)
    end).

clients_and_handlers_publish_to_processes_test() ->
    Frame = fun({text, Text}, _, S) -> {[{publish, <<"t">>, {text, Text}}, {reply, {text, <<"ok">>}}], S} end,
    test_support:with_handler(#{frame => Frame}, #{format => raw}, fun(Port, Server) ->
        ok = sockeye_pubsub:subscribe(Server, <<"t">>),
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"from a client">>),
        <<"ok">> = ws_client:recv_data(Socket),
        ?assertEqual({sockeye_pubsub, <<"t">>, {text, <<"from a client">>}}, message())
    end).

it_ends_with_the_process_test() ->
    with_server(#{}, fun(_, Server) ->
        Self = self(),
        {Pid, Monitor} = spawn_monitor(fun() ->
            ok = sockeye_pubsub:subscribe(Server, <<"t">>),
            Self ! ready,
            receive stop -> ok end
        end),
        receive ready -> ok end,
        ?assertEqual({ok, [Pid]}, sockeye_pubsub:subscribers(Server, <<"t">>)),
        ok = sockeye_pubsub:subscribe(Server, <<"u">>, Pid),
        Pid ! stop,
        receive {'DOWN', Monitor, process, Pid, _} -> ok end,
        %% A death is known to it before our next call.
        ok = sockeye_pubsub:subscribe(Server, <<"v">>),
        ?assertEqual([{ok, []}, {ok, []}], [sockeye_pubsub:subscribers(Server, T) || T <- [<<"t">>, <<"u">>]])
    end).

it_ends_with_the_server_test() ->
    {ok, First} = sockeye:start_link(#{port => 0}),
    ok = sockeye_pubsub:subscribe(First, <<"t">>),
    ok = sockeye:stop(First),
    ?assertEqual({error, not_found}, sockeye_pubsub:subscribe(First, <<"t">>)),
    ?assertEqual({error, not_found}, sockeye_pubsub:unsubscribe(First, <<"t">>)),
    ?assertEqual({error, not_found}, sockeye_pubsub:subscribers(First, <<"t">>)),
    %% The next server has its number, and none of its subscribers.
    with_server(#{}, fun(_, Second) ->
        ok = sockeye_pubsub:subscribe(Second, <<"u">>),
        ok = sockeye:publish(Second, <<"t">>, #{}),
        ?assertEqual([], got()),
        ok = sockeye:publish(Second, <<"u">>, #{}),
        ?assertEqual([{<<"u">>, {json, #{}}}], got())
    end).

a_new_process_of_the_module_loses_none_test() ->
    with_server(#{}, fun(_, Server) ->
        ok = sockeye_pubsub:subscribe(Server, <<"t">>),
        Old = whereis(sockeye_pubsub_server),
        exit(Old, kill),
        test_support:down(Old),
        _ = cluster_node:until(fun() -> whereis(sockeye_pubsub_server) end, fun(P) -> P =/= undefined andalso P =/= Old end),
        ok = sockeye:publish(Server, <<"t">>, #{}),
        ?assertEqual([{<<"t">>, {json, #{}}}], got()),
        ok = sockeye_pubsub:subscribe(Server, <<"u">>)
    end).

misuse_test() ->
    with_server(#{}, fun(_, Server) ->
        [?assertError(badarg, sockeye_pubsub:subscribe(Server, Bad))
         || Bad <- [<<>>, binary:copy(<<"n">>, 256), "t", t, <<"t", 1:3>>]],
        [?assertError(badarg, sockeye_pubsub:subscribers(Server, Bad))
         || Bad <- [<<>>, binary:copy(<<"n">>, 256), "t", <<"t*">>, <<"t", 1:3>>]],
        [ok = sockeye_pubsub:subscribe(Server, binary:copy(<<"n">>, Len)) || Len <- [1, 254, 255]],
        ?assertError(badarg, sockeye_pubsub:subscribe(Server, <<"t">>, name))
    end).

%% Numbers of servers are used again, at once.
the_next_server_has_none_of_it_test() ->
    {ok, Old} = sockeye:start_link(#{port => 0}),
    ok = sockeye_pubsub:subscribe(Old, <<"t">>),
    %% It learns of the end only when the next server has the number.
    ok = sys:suspend(sockeye_pubsub_server, 60000),
    ok = sockeye:stop(Old),
    Self = self(),
    Starter = spawn_link(fun() ->
        with_server(#{}, fun(_, Server) ->
            ok = sockeye:publish(Server, <<"t">>, #{}),
            Self ! {published, self(), sockeye_pubsub:subscribers(Server, <<"t">>)}
        end)
    end),
    Waits = fun() -> {_, Count} = process_info(whereis(sockeye_pubsub_server), message_queue_len),
                     Count > 1 orelse not is_process_alive(Starter) end,
    _ = cluster_node:until(Waits, fun(Yes) -> Yes end),
    ok = sys:resume(sockeye_pubsub_server, 60000),
    receive {published, Starter, Pids} -> ?assertEqual({ok, []}, Pids) end,
    ?assertEqual([], got()).

%% What one end costs does not grow with what others have.
thousands_end_at_once_test_() ->
    {timeout, 60, fun() ->
        with_server(#{}, fun(_, Server) ->
            Pids = [spawn_link(fun() -> receive stop -> ok end end) || _ <- lists:seq(1, 20000)],
            [ok = sockeye_pubsub:subscribe(Server, <<"t">>, Pid) || Pid <- Pids],
            ?assertEqual(20000, length(test_support:ok(sockeye_pubsub:subscribers(Server, <<"t">>)))),
            {reductions, Before} = process_info(whereis(sockeye_pubsub_server), reductions),
            [Pid ! stop || Pid <- Pids],
            _ = cluster_node:until(fun() -> sockeye_pubsub:subscribers(Server, <<"t">>) end, fun(Left) -> Left =:= {ok, []} end),
            {reductions, After} = process_info(whereis(sockeye_pubsub_server), reductions),
            ?assert(After - Before < 20000 * 500)
        end)
    end}.
