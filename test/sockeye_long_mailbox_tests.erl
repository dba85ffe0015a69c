%% A process whose mailbox is long, an owner in a flood, pays no more for a call than any other: no wait looks through the
%% messages that were there before. To look at one of them is a reduction.
-module(sockeye_long_mailbox_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-define(MESSAGES, 200000).
-define(TIMEOUT, 60000).

calls_test_() ->
    {timeout, 120, fun() ->
        Echo = #{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end},
        test_support:with_server(#{active => true}, fun(OwnPort, _) ->
            {_, Own} = test_support:open(OwnPort),
            test_support:with_handler(Echo, #{name => long_mailbox, scope => cluster}, fun(Port, Server) ->
                {ok, Client} = sockeye_client:start_link(test_support:url(Port), {fun_handler, #{}}, #{}),
                hostile_client:until(fun() -> {ok, Open} = sockeye:connections(Server), length(Open) =:= 1 end),
                {ok, [Conn]} = sockeye:connections(Server),
                true = unlink(Client),
                Costs = [{Name, cost(Call)} || {Name, Call} <- calls(Server, Conn, Client, Own)],
                ?assertEqual([], [{Name, Cost} || {Name, Cost} <- Costs, Cost >= ?MESSAGES div 4])
            end)
        end)
    end}.

calls(Server, Conn, Client, Own) ->
    Text = #{news => 1},
    [{info_0, fun() -> {ok, _} = sockeye:info() end},
     {info_server, fun() -> {ok, _} = sockeye:info(Server) end},
     {info_conn, fun() -> {ok, _} = sockeye:info(Conn) end},
     {connections, fun() -> {ok, [_]} = sockeye:connections(Server) end},
     {topics, fun() -> {ok, _} = sockeye:topics(Server) end},
     {subscribe, fun() -> ok = sockeye:subscribe(Conn, <<"a">>) end},
     {subscribers, fun() -> {ok, [_]} = sockeye:subscribers(Server, <<"a">>) end},
     {publish, fun() -> ok = sockeye:publish(Server, <<"a">>, Text) end},
     {publish_wait, fun() -> {ok, #{sent := 1}} = sockeye:publish(Server, <<"a">>, Text, #{wait => true}) end},
     {publish_to_nobody, fun() -> {ok, #{sent := 0}} = sockeye:publish(Server, <<"b">>, Text, #{wait => true}) end},
     {broadcast, fun() -> ok = sockeye:broadcast(Server, Text) end},
     {broadcast_from, fun() -> ok = sockeye:broadcast_from(Conn, Text) end},
     {unsubscribe, fun() -> ok = sockeye:unsubscribe(Conn, <<"a">>) end},
     {send, fun() -> ok = sockeye:send(Conn, Text) end},
     {send_list, fun() -> ok = sockeye:send([Conn], Text) end},
     {setopts, fun() -> ok = sockeye:setopts(Conn, [{idle_timeout, 50000}]) end},
     {trace, fun() -> ok = sockeye:trace(Conn, off) end},
     {pubsub_subscribe, fun() -> ok = sockeye_pubsub:subscribe(Server, <<"c">>) end},
     {presence_subscribe, fun() -> ok = sockeye_presence:subscribe(Server, <<"c">>) end},
     {track, fun() -> ok = sockeye_presence:track(Conn, <<"c">>, <<"ann">>, #{}) end},
     {list, fun() -> {ok, _} = sockeye_presence:list(Server, <<"c">>) end},
     {client_info, fun() -> {ok, _} = sockeye_client:info(Client) end},
     {client_conn, fun() -> {ok, _} = sockeye_client:conn(Client) end},
     {client_send, fun() -> ok = sockeye_client:send(Client, Text) end},
     {json, fun() -> {ok, _} = sockeye_json:decode(<<"[1]">>) end},
     {controlling_process, fun() -> ok = sockeye:controlling_process(Own, spawn_link(fun idle/0)) end},
     {close, fun() -> ok = sockeye:close(Conn) end}].

idle() -> receive after infinity -> ok end.

%% Reductions of the call, in a process with that many messages.
cost(Call) ->
    {Pid, Ref} = spawn_monitor(fun() ->
        [self() ! N || N <- lists:seq(1, ?MESSAGES)],
        {reductions, Before} = process_info(self(), reductions),
        Call(),
        {reductions, After} = process_info(self(), reductions),
        exit({cost, After - Before})
    end),
    receive {'DOWN', Ref, process, Pid, {cost, Cost}} -> Cost;
            {'DOWN', Ref, process, Pid, Why} -> error(Why)
    after ?TIMEOUT -> error(no_end)
    end.
