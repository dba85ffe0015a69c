%% Sockets that cannot be taken over, and those whose process or server goes meanwhile.
-module(sockeye_adopt_refused_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2]).
-import(handover_server, [with_both/2, with_both/4, request/0, connect/1]).

with_socket(Test) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listener),
    Client = connect(Port),
    {ok, Socket} = gen_tcp:accept(Listener),
    try Test(Client, Socket, Listener)
    after [gen_tcp:close(S) || S <- [Client, Socket, Listener]]
    end.

bad(Socket) -> bad(Socket, <<>>).

bad(Socket, Read) ->
    with_server(#{}, fun(_, Server) ->
        {error, {bad_socket, Why}} = sockeye:adopt(Server, Socket, Read),
        ?assertMatch({ok, #{accepted := 0, connections := 0}}, sockeye:info(Server)),
        Why
    end).

of_another_process_test() ->
    with_socket(fun(Client, Socket, _) ->
        Test = self(),
        {_, Monitor} = spawn_monitor(fun() -> Test ! {why, bad(Socket)} end),
        receive {why, Why} -> ?assertMatch(<<"its owner is another process", _/binary>>, Why) end,
        receive {'DOWN', Monitor, _, _, _} -> ok end,
        %% It goes on as if nothing had been asked.
        ok = gen_tcp:send(Client, "on"),
        ?assertEqual({ok, <<"on">>}, gen_tcp:recv(Socket, 2))
    end).

not_connected_test() ->
    with_socket(fun(_, Socket, Listener) ->
        ?assertMatch(<<"it is not connected", _/binary>>, bad(Listener)),
        ok = gen_tcp:close(Socket),
        ?assertEqual(<<"it is closed">>, bad(Socket))
    end),
    {ok, Open} = socket:open(inet, stream, tcp),
    ?assertMatch(<<"it is not connected", _/binary>>, bad(Open)),
    ok = socket:close(Open),
    ?assertEqual(<<"it is closed">>, bad(Open)).

tls_test_() ->
    test_certs:tests(ssl, fun() -> test_certs:issue(test_certs:authority("authority"), ["localhost"]) end, [{"tls", fun of_ssl/1}], 30).

of_ssl(#{server := Config}) ->
    {ok, Listener} = ssl:listen(0, [{active, false} | Config]),
    {ok, {_, Port}} = ssl:sockname(Listener),
    Connect = fun() ->
        {ok, Client} = ssl:connect("localhost", Port, [{verify, verify_none}]),
        receive stop -> ssl:close(Client) end
    end,
    {Pid, Monitor} = spawn_monitor(Connect),
    {ok, Accepted} = ssl:transport_accept(Listener),
    {ok, Socket} = ssl:handshake(Accepted, 10000),
    ?assertMatch(<<"a TLS socket of ssl", _/binary>>, bad(Socket)),
    Pid ! stop,
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    ok = ssl:close(Socket),
    ok = ssl:close(Listener).

%% A client that takes nothing: what was sent to it before cannot leave, and waits for five seconds.
unsent_test_() ->
    {inparallel, [{timeout, 60, Test} || Test <- [fun unsent/0, fun unsent_without_a_driver/0]]}.

unsent() ->
    with_socket(fun(_, Socket, _) ->
        ok = inet:setopts(Socket, [{high_watermark, 100000000}]),
        ok = gen_tcp:send(Socket, binary:copy(<<0>>, 30000000)),
        ?assertMatch(<<"its client does not take", _/binary>>, bad(Socket))
    end).

%% Without the driver it is the process that sends which waits.
unsent_without_a_driver() ->
    {ok, Listener} = gen_tcp:listen(0, [{inet_backend, socket}, binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listener),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    {ok, {'$inet', _, {_, Inner}} = Socket} = gen_tcp:accept(Listener),
    {Sender, Monitor} = spawn_monitor(fun() -> gen_tcp:send(Socket, binary:copy(<<0>>, 30000000)) end),
    hostile_client:until(fun() -> map_get(num_writers, socket:info(Inner)) =:= 1 end),
    ?assertMatch(<<"its client does not take", _/binary>>, bad(Socket)),
    exit(Sender, kill),
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    [ok = gen_tcp:close(S) || S <- [Client, Socket, Listener]].

no_server_test() ->
    with_socket(fun(Client, Socket, _) ->
        {ok, Server} = sockeye:start_link(0),
        ok = sockeye:stop(Server),
        ?assertEqual({error, not_found}, sockeye:adopt(Server, Socket, <<>>)),
        ?assertEqual({error, not_found}, sockeye:adopt(no_such_server, Socket, <<>>)),
        ok = gen_tcp:send(Client, "on"),
        ?assertEqual({ok, <<"on">>}, gen_tcp:recv(Socket, 2))
    end).

misuse_test() ->
    with_socket(fun(_, Socket, _) ->
        {ok, Udp} = gen_udp:open(0),
        Wrong = fun(Args) ->
            try apply(sockeye, adopt, Args) of
                Result -> error({no_badarg, Result})
            catch error:badarg:Stack -> lists:sort(maps:to_list(sockeye_errors:format_error(badarg, Stack)))
            end
        end,
        [?assertMatch([{2, <<"not a socket", _/binary>>}], Wrong([server, Other, <<>>])) || Other <- [self(), Udp, 7, {socket}, "socket"]],
        ?assertMatch([{1, _}], Wrong(["server", Socket, <<>>])),
        ?assertMatch([{3, _}], Wrong([server, Socket, request])),
        ?assertMatch([{1, _}, {2, _}, {3, _}], Wrong([{}, {}, {}])),
        ok = gen_udp:close(Udp)
    end).

%% Its client has gone, or goes while it is handed over: nothing is left of it.
gone_meanwhile_test_() ->
    [{atom_to_list(How), fun() -> gone(How) end} || How <- [close, reset]].

gone(How) ->
    with_server(#{}, fun(_, Server) ->
        Test = self(),
        Wait = fun(_) -> Test ! {wait, self()}, receive go -> ok end end,
        handover_server:with(gen_tcp, Server, #{then => Wait}, fun(Port) ->
            Client = connect(Port),
            ok = gen_tcp:send(Client, request()),
            Front = receive {wait, Pid} -> Pid end,
            How =:= reset andalso inet:setopts(Client, [{linger, {true, 0}}]),
            ok = gen_tcp:close(Client),
            Front ! go,
            case handover_server:adopted() of
                {ok, _} -> ok;
                {{error, {bad_socket, _}}, Socket} -> ok = gen_tcp:close(Socket)
            end,
            true = hostile_client:until(fun() -> {ok, #{connections := N}} = sockeye:info(Server), N =:= 0 end)
        end)
    end).

%% A reset that the other server had set for its own end is none for the connection.
linger_test() ->
    with_both(gen_tcp, #{}, #{opts => [{linger, {true, 0}}]}, fun(Port, _) ->
        Client = ws_client:connect(Port),
        Conn = test_support:opened(),
        ok = sockeye:close(Conn, 1000, <<"bye">>),
        ?assertEqual({close, 1000, <<"bye">>}, ws_client:recv(Client)),
        ok = ws_client:close(Client, 1000, <<>>),
        ?assertEqual(closed, ws_client:recv(Client))
    end).
