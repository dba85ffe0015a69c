%% A plain owner and large JSON: its shard serves the others meanwhile, and the
%% order of what the owner gets is what it always is.
-module(sockeye_offload_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, open/1, event/1, message/0, quiet/1]).

-define(MIB, 1048576).

limits() ->
    #{max_message_size => 16 * ?MIB}.

%% So many numbers take a while.
large() ->
    large(4 * ?MIB).

large(Size) ->
    <<"[", (binary:copy(<<"1,">>, Size div 2))/binary, "1]">>.

others_are_answered_meanwhile_test_() ->
    {timeout, 60, fun() ->
        with_server(#{handler => {bare_handler, []}}, fun(Port, _) ->
            %% One on each shard.
            Others = [ws_client:connect(Port) || _ <- lists:seq(1, erlang:system_info(schedulers))],
            [echo(Socket) || Socket <- Others],
            with_server(limits(), fun(OwnerPort, Server) ->
                {Socket, Conn} = open(OwnerPort),
                Frame = ws_client:encode(1, large()),
                ?assert(overtaken(10, Socket, Conn, Server, Frame, Others))
            end)
        end)
    end}.

%% A shard that decodes would answer behind the message. The other order takes a
%% test that runs in time, so there are some tries.
overtaken(0, _, _, _, _, _) ->
    false;
overtaken(Tries, Socket, Conn, Server, Frame, Others) ->
    {ok, #{frames_in := Before}} = sockeye:info(Server),
    ok = ws_client:raw(Socket, Frame),
    ok = arrived(Server, Before + 1),
    [echo(Other) || Other <- Others],
    receive
        {sockeye, Conn, {json, _}} -> overtaken(Tries - 1, Socket, Conn, Server, Frame, Others)
    after 0 ->
            {json, [1 | _]} = event(Conn),
            true
    end.

%% The shard counts a message before it delivers it.
arrived(Server, Count) ->
    case sockeye:info(Server) of
        {ok, #{frames_in := Count}} -> ok;
        {ok, #{}} -> erlang:yield(), arrived(Server, Count)
    end.

echo(Socket) ->
    ok = ws_client:text(Socket, <<"1">>),
    {text, <<"1">>} = ws_client:recv(Socket).

the_order_of_a_connection_test_() ->
    [{timeout, 60, fun() ->
        with_server(limits(), fun(Port, _) ->
            Socket = ws_client:connect(Port),
            {Conn, {open, _}} = test_support:event(),
            %% At the bound, and on both sides of it.
            ok = ws_client:raw(Socket, [[ws_client:encode(1, padded(Size, N)),
                                         ws_client:encode(1, integer_to_binary(N + 1))]
                                        || N <- lists:seq(1, 9, 2)]),
            ok = ws_client:close(Socket, 1000, <<>>),
            ?assertEqual([{json, N} || N <- lists:seq(1, 10)] ++ [{closed, 1000, <<>>}],
                         [event(Conn) || _ <- lists:seq(1, 11)])
        end)
     end} || Size <- [262143, 262144, 262145, 300000]].

padded(Size, N) ->
    Number = integer_to_binary(N),
    <<Number/binary, (binary:copy(<<" ">>, Size - byte_size(Number)))/binary>>.

late_bad_json_is_1007_with_nothing_behind_it_test_() ->
    {timeout, 60, fun() ->
        with_server(limits(), fun(Port, _) ->
            {Other, Good} = open(Port),
            {Socket, Bad} = open(Port),
            ok = ws_client:raw(Socket, [ws_client:encode(1, [large(), <<"!">>]),
                                        ws_client:encode(1, <<"2">>)]),
            ?assertMatch({1007, _}, ws_client:recv_close(Socket)),
            ?assertMatch({closed, 1007, <<"not JSON", _/binary>>}, event(Bad)),
            ok = ws_client:text(Other, <<"3">>),
            ?assertEqual({json, 3}, event(Good)),
            receive {sockeye, Bad, Event} -> error({behind, Event}) after 0 -> ok end
        end)
    end}.

credits_test_() ->
    {timeout, 60, fun() ->
        with_server((limits())#{active => 2}, fun(Port, _) ->
            {Socket, Conn} = open(Port),
            ok = ws_client:raw(Socket, [ws_client:encode(1, Text) || Text <- [large(), <<"2">>, <<"3">>]]),
            {json, [1 | _]} = event(Conn),
            ?assertEqual([{json, 2}, passive], [event(Conn), event(Conn)]),
            ok = sockeye:setopts(Conn, [{active, once}]),
            ?assertEqual({json, 3}, event(Conn))
        end)
    end}.

%% What came before the return is with the old owner.
controlling_process_meanwhile_test_() ->
    {timeout, 60, fun() ->
        with_server(limits(), fun(Port, Server) ->
            {Socket, Conn} = open(Port),
            Self = self(),
            Heir = spawn_link(fun Loop() -> receive Message -> Self ! {heir, Message}, Loop() end end),
            {ok, #{frames_in := Before}} = sockeye:info(Server),
            ok = ws_client:text(Socket, large()),
            ok = arrived(Server, Before + 1),
            ok = sockeye:controlling_process(Conn, Heir),
            receive {sockeye, Conn, {json, [1 | _]}} -> ok after 0 -> error(not_there) end,
            ok = ws_client:text(Socket, <<"2">>),
            ?assertEqual({heir, {sockeye, Conn, {json, 2}}}, message())
        end)
    end}.

death_of_the_owner_meanwhile_test_() ->
    {timeout, 60, fun() ->
        Self = self(),
        Owner = spawn(fun() -> receive {sockeye, _, {open, _}} -> Self ! open end, receive never -> ok end end),
        with_server((limits())#{handler => Owner}, fun(Port, Server) ->
            Socket = ws_client:connect(Port),
            open = message(),
            ok = ws_client:text(Socket, large()),
            ok = arrived(Server, 1),
            exit(Owner, kill),
            ?assertMatch({1011, _}, ws_client:recv_close(Socket)),
            ?assert(is_process_alive(Server))
        end)
    end}.

stop_meanwhile_test_() ->
    {timeout, 60, fun() ->
        {ok, Server} = sockeye:start_link((limits())#{port => 0}),
        {Socket, Conn} = open(test_support:port(Server)),
        ok = ws_client:text(Socket, large()),
        ok = arrived(Server, 1),
        Self = self(),
        Client = spawn_link(fun() -> receive go -> Self ! {code, ws_client:echo_until_closed(Socket)} end end),
        ok = gen_tcp:controlling_process(Socket, Client),
        Client ! go,
        ok = sockeye:stop(Server),
        receive {code, Code} -> ?assertEqual(1001, Code) end,
        %% All that it had to tell has been told.
        ?assertMatch([{json, [1 | _]}, {closed, _, _}], told(Conn))
    end}.

told(Conn) ->
    receive {sockeye, Conn, Event} -> [Event | told(Conn)]
    after 0 -> []
    end.

%% The news that the connection is down comes from another process, behind all
%% that the connection brought.
a_client_hears_of_the_end_behind_the_message_test_() ->
    {timeout, 60, fun() ->
        Large = large(),
        Server = spawn_link(fun Loop() ->
                                receive
                                    {sockeye, Conn, {open, _}} ->
                                        ok = sockeye:send(Conn, [{text, Large}, {text, <<"2">>}]),
                                        ok = sockeye:close(Conn, 4000, <<"done">>);
                                    _ -> ok
                                end,
                                Loop()
                            end),
        with_server(#{handler => Server, send_queue_size => 16 * ?MIB}, fun(Port, _) ->
            Url = "ws://127.0.0.1:" ++ integer_to_list(Port) ++ "/",
            {ok, Client} = sockeye_client:start_link(Url, self(), (limits())#{reconnect => #{initial_interval => 1, max_interval => 20}}),
            {Conn, {open, _}} = test_support:event(),
            [begin
                 {Which, Event} = test_support:event(),
                 ?assertEqual({From, Expected}, {Which, shape(Event)})
             end || {From, Expected} <- [{Conn, large}, {Conn, {json, 2}}, {Conn, {closed, 4000, <<"done">>}}]],
            receive {sockeye_client, Client, Down} -> ?assertEqual({down, {closed, 4000, <<"done">>}}, Down) end,
            ok = sockeye_client:stop(Client)
        end),
        unlink(Server),
        exit(Server, kill)
    end}.

shape({json, [1 | _]}) -> large;
shape(Event) -> Event.

stop_of_the_application_meanwhile_test_() ->
    {timeout, 60, fun() -> quiet(fun() ->
        Threads = fun() -> length(filelib:wildcard("/proc/self/task/*")) end,
        ok = application:stop(sockeye),
        Before = Threads(),
        process_flag(trap_exit, true),
        {ok, Server} = sockeye:start_link((limits())#{port => 0}),
        {Socket, Conn} = open(test_support:port(Server)),
        ok = ws_client:text(Socket, large()),
        ok = arrived(Server, 1),
        ok = application:stop(sockeye),
        ?assertMatch([{json, [1 | _]}, {closed, _, _}], told(Conn)),
        ?assertEqual(Before, Threads()),
        receive {'EXIT', Server, _} -> ok end,
        process_flag(trap_exit, false)
    end) end}.
