%% Starting, naming, finding and stopping servers.
-module(sockeye_server_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, open/1, event/1, closed/1, port/1]).

starts_the_application_test() ->
    _ = application:stop(sockeye),
    with_server(#{}, fun(_, _) ->
        ?assert(lists:keymember(sockeye, 1, application:which_applications()))
    end).

default_port_test() ->
    {ok, Server} = sockeye:start_link(),
    ?assertMatch({ok, #{port := 19765, ip := {127, 0, 0, 1}}}, sockeye:info(Server)),
    ?assertEqual({error, eaddrinuse}, sockeye:start_link()),
    ?assertEqual(ok, sockeye:stop(19765)).

start_link_with_a_port_test() ->
    {ok, Server} = sockeye:start_link(0),
    Port = port(Server),
    ?assert(Port > 0),
    {Socket, Conn} = open(Port),
    ok = ws_client:text(Socket, <<"{\"a\":1}">>),
    ?assertEqual({json, #{<<"a">> => 1}}, event(Conn)),
    ok = sockeye:send(Conn, #{b => 2}),
    ?assertEqual({text, <<"{\"b\":2}">>}, ws_client:recv(Socket)),
    ok = ws_client:close(Socket, 1000, <<>>),
    ?assertEqual(1000, closed(Conn)),
    ok = sockeye:stop(Server).

%% Not one exit signal: this process does not trap them.
errors_are_tuples_test() ->
    with_server(#{name => taken_name}, fun(Port, Server) ->
        ?assertEqual({error, eaddrinuse}, sockeye:start_link(Port)),
        ?assertEqual({error, {already_started, Server}},
                     sockeye:start_link(#{port => 0, name => taken_name})),
        ?assertEqual({error, {already_started, whereis(kernel_sup)}},
                     sockeye:start_link(#{port => 0, name => kernel_sup})),
        ?assertEqual({error, eaddrnotavail}, sockeye:start_link(#{port => 0, ip => "203.0.113.1"}))
    end),
    process_flag(trap_exit, true),
    {error, _} = sockeye:start_link(#{port => 0, ip => "203.0.113.1"}),
    process_flag(trap_exit, false),
    receive Message -> error({left_behind, Message})
    after 0 -> ok
    end.

eacces_test() ->
    case os:cmd("id -u") of
        "0\n" -> ok;
        _ -> ?assertEqual({error, eacces}, sockeye:start_link(1))
    end.

a_port_can_be_had_again_test() ->
    {ok, First} = sockeye:start_link(0),
    Port = port(First),
    ok = sockeye:stop(First),
    [begin
         {ok, Server} = sockeye:start_link(Port),
         {Socket, Conn} = open(Port),
         Client = spawn_link(fun() -> ws_client:echo_until_closed(Socket) end),
         ok = gen_tcp:controlling_process(Socket, Client),
         ok = sockeye:stop(Server),
         ?assertEqual(1001, closed_by_us(Conn))
     end || _ <- lists:seq(1, 20)].

%% A stop is 1001 to the client; what we note is the client's answer.
closed_by_us(Conn) ->
    case closed(Conn) of
        1000 -> 1001;
        Code -> Code
    end.

stop_by_pid_port_and_name_test() ->
    [begin
         {ok, Server} = sockeye:start_link(#{port => 0, name => stop_me}),
         Port = port(Server),
         Designation = By(Server, Port),
         ?assertEqual(ok, sockeye:stop(Designation)),
         ?assertEqual({error, not_found}, sockeye:stop(Designation)),
         ?assertEqual({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, Port, [])),
         ?assertNot(is_process_alive(Server)),
         ?assertEqual(undefined, whereis(stop_me))
     end || By <- [fun(S, _) -> S end, fun(_, P) -> P end, fun(_, _) -> stop_me end]],
    ?assertEqual({error, not_found}, sockeye:stop(spawn(fun() -> ok end))),
    ?assertError(badarg, sockeye:stop("name")).

stop_does_not_wait_for_a_client_for_ever_test() ->
    {ok, Server} = sockeye:start_link(#{port => 0, close_timeout => 200}),
    {Socket, Conn} = open(port(Server)),
    ok = sockeye:stop(Server),
    ?assertEqual({close, 1001, <<>>}, ws_client:recv(Socket)),
    ?assertEqual(closed, ws_client:recv(Socket)),
    ?assertEqual(1006, closed(Conn)).

stop_closes_every_connection_test() ->
    {ok, Server} = sockeye:start_link(0),
    Port = port(Server),
    Self = self(),
    Clients = [spawn_monitor(fun() ->
                                     Socket = ws_client:connect(Port),
                                     Self ! ready,
                                     exit({code, ws_client:echo_until_closed(Socket)})
                             end) || _ <- lists:seq(1, 50)],
    [receive ready -> ok end || _ <- Clients],
    %% A handshake that the server has not ended yet is cut off, not closed.
    [receive {sockeye, _, {open, _}} -> ok end || _ <- Clients],
    ok = sockeye:stop(Server),
    [receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual({code, 1001}, Reason) end
     || {Pid, Monitor} <- Clients],
    test_support:flush().

several_servers_of_one_port_test() ->
    with_server(#{}, fun(Port, First) ->
        with_server(#{ip => {127, 0, 0, 2}, port => Port}, fun(Port2, Second) ->
            ?assertEqual(Port, Port2),
            ?assertMatch({ok, #{ip := {127, 0, 0, 2}}}, sockeye:info(Second)),
            ?assertMatch({ok, #{ip := {127, 0, 0, 1}}}, sockeye:info(First)),
            Socket = ws_client:connect(Port, #{ip => {127, 0, 0, 2}}),
            {Conn, {open, _}} = test_support:event(),
            ?assertEqual({ok, [Conn]}, sockeye:connections(Second)),
            ?assertEqual({ok, []}, sockeye:connections(First)),
            ok = gen_tcp:close(Socket)
        end)
    end).

ipv6_test_() ->
    test_support:if_ipv6({"a server on ::1", fun ipv6/0}).

ipv6() ->
    with_server(#{ip => "::1"}, fun(Port, Server) ->
        ?assertMatch({ok, #{ip := {0, 0, 0, 0, 0, 0, 0, 1}}}, sockeye:info(Server)),
        Socket = ws_client:connect(Port, #{ip => {0, 0, 0, 0, 0, 0, 0, 1},
                                           socket => [inet6]}),
        {Conn, {open, #{peer := {{0, 0, 0, 0, 0, 0, 0, 1}, _}}}} = test_support:event(),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({json, 1}, event(Conn))
    end).

any_address_test() ->
    with_server(#{ip => any}, fun(Port, Server) ->
        ?assertMatch({ok, #{ip := {0, 0, 0, 0}}}, sockeye:info(Server)),
        _ = ws_client:connect(Port, #{ip => {127, 0, 0, 3}})
    end).

under_a_supervisor_test() ->
    test_support:quiet(fun under_a_supervisor/0).

under_a_supervisor() ->
    {ok, Sup} = supervisor:start_link(test_sup, [sockeye:child_spec(
        #{port => 0, name => supervised, handler => {bare_handler, []}})]),
    [begin
         Server = whereis(supervised),
         Socket = ws_client:connect(port(supervised)),
         ok = ws_client:text(Socket, <<"1">>),
         ?assertEqual({text, <<"1">>}, ws_client:recv(Socket)),
         exit(Server, kill),
         ?assertMatch(closed, closed_or_1001(ws_client:recv_close(Socket))),
         ?assertNotEqual(Server, wait_for_another(Server, supervised))
     end || _ <- lists:seq(1, 3)],
    Port = port(supervised),
    unlink(Sup),
    Monitor = monitor(process, Sup),
    exit(Sup, shutdown),
    receive {'DOWN', Monitor, process, Sup, shutdown} -> ok end,
    ?assertEqual({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, Port, [])).

closed_or_1001({1001, _}) -> closed;
closed_or_1001(Other) -> Other.

wait_for_another(Old, Name) ->
    case whereis(Name) of
        New when is_pid(New), New =/= Old ->
            case sockeye:info(Name) of
                {ok, #{}} -> New;
                {error, not_found} -> erlang:yield(), wait_for_another(Old, Name)
            end;
        _ -> erlang:yield(), wait_for_another(Old, Name)
    end.

info_of_a_server_test() ->
    with_server(#{name => info_server}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:text(Socket, <<"12345">>),
        {json, 12345} = event(Conn),
        ok = sockeye:send(Conn, {text, <<"1234567890">>}),
        {text, _} = ws_client:recv(Socket),
        %% The client may have it before it is counted, but not before this answer.
        {ok, #{}} = sockeye:info(Conn),
        Self = self(),
        {ok, Info} = sockeye:info(Server),
        ?assertMatch(#{server := Server, name := info_server, port := Port, ip := {127, 0, 0, 1},
                       handler := Self, connections := 1, accepted := 1, frames_in := 1,
                       frames_out := 1, dropped := 0}, Info),
        %% 2 + 4 + 5 in, 2 + 10 out.
        ?assertMatch(#{bytes_in := 11, bytes_out := 12}, Info),
        ?assertEqual({ok, Info}, sockeye:info(Port)),
        ?assertEqual({ok, Info}, sockeye:info(info_server)),
        ok = ws_client:close(Socket, 1000, <<>>),
        1000 = closed(Conn),
        ?assertMatch({ok, #{connections := 0, accepted := 1}}, sockeye:info(Server))
    end).

info_of_a_connection_test() ->
    with_server(#{subprotocols => [<<"c">>, <<"b">>, <<"a">>]}, fun(Port, _) ->
        Socket = ws_client:connect(Port, #{path => "/chat/%20?x=1&y=2",
                                           headers => [{"Sec-WebSocket-Protocol", "x, b, a"}]}),
        {Conn, {open, Open}} = test_support:event(),
        {ok, Client} = inet:sockname(Socket),
        {ok, Ours} = inet:peername(Socket),
        ?assertMatch(#{path := <<"/chat/%20">>, query := <<"x=1&y=2">>, subprotocol := <<"b">>,
                       peer := Client, local := Ours, tls := undefined,
                       http_version := {1, 1}, headers := [{<<"host">>, <<"localhost">>} | _]}, Open),
        {ok, Info} = sockeye:info(Conn),
        ?assertMatch(#{path := <<"/chat/%20">>, query := <<"x=1&y=2">>, subprotocol := <<"b">>,
                       peer := Client, local := Ours, tls := undefined,
                       http_version := {1, 1}, send_queue := 0}, Info),
        #{age := Age} = Info,
        ?assert(is_integer(Age) andalso Age >= 0 andalso Age < 60000)
    end).

no_subprotocol_test() ->
    with_server(#{}, fun(Port, _) ->
        _ = ws_client:connect(Port),
        {Conn, {open, Open}} = test_support:event(),
        ?assertMatch(#{subprotocol := undefined, path := <<"/">>, query := <<>>}, Open),
        ?assertMatch({ok, #{subprotocol := undefined}}, sockeye:info(Conn))
    end).

connections_test() ->
    with_server(#{}, fun(Port, Server) ->
        ?assertEqual({ok, []}, sockeye:connections(Server)),
        Opened = [open(Port) || _ <- lists:seq(1, 30)],
        Conns = [Conn || {_, Conn} <- Opened],
        ?assertEqual(lists:sort(Conns), lists:sort(test_support:ok(sockeye:connections(Server)))),
        [{Socket, First} | _] = Opened,
        ok = ws_client:close(Socket, 1000, <<>>),
        1000 = closed(First),
        ?assertEqual(lists:sort(Conns -- [First]), lists:sort(test_support:ok(sockeye:connections(Port))))
    end).

a_conn_is_never_used_again_test() ->
    with_server(#{}, fun(Port, _) ->
        Conns = [begin
                     {Socket, Conn} = open(Port),
                     ok = ws_client:close(Socket, 1000, <<>>),
                     1000 = closed(Conn),
                     Conn
                 end || _ <- lists:seq(1, 200)],
        ?assertEqual(200, length(lists:usort(Conns))),
        {_, Live} = open(Port),
        [?assertEqual({error, closed}, sockeye:send(Conn, #{})) || Conn <- Conns],
        ?assertEqual(ok, sockeye:send(Live, #{}))
    end).

max_connections_test() ->
    with_server(#{max_connections => 2}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        {_, _} = open(Port),
        {ok, 503, _, _} = ws_client:handshake(Port, #{}),
        ?assertMatch({ok, #{connections := 2, rejected := 1}}, sockeye:info(Server)),
        ok = ws_client:close(Socket, 1000, <<>>),
        1000 = closed(Conn),
        ok = gen_tcp:close(Socket),
        ok = admitted(Port, 10000)
    end).

%% The place is free as soon as the engine has seen the end of the socket.
admitted(Port, Tries) ->
    case ws_client:handshake(Port, #{}) of
        {ok, 101, _, _} -> ok;
        {ok, 503, _, Socket} when Tries > 0 -> gen_tcp:close(Socket), admitted(Port, Tries - 1)
    end.

handler_owner_by_name_test() ->
    true = register(owner_by_name, self()),
    try
        with_server(#{handler => owner_by_name}, fun(Port, _) ->
            {Socket, Conn} = open(Port),
            ok = ws_client:text(Socket, <<"1">>),
            ?assertEqual({json, 1}, event(Conn))
        end)
    after
        unregister(owner_by_name)
    end.

%% Whoever has it when a connection begins is its owner, and stays it.
a_name_that_moves_test() ->
    Self = self(),
    Forward = fun Forward() -> receive {sockeye, _, _} = Event -> Self ! {self(), Event}, Forward() end end,
    Owners = [First, Second] = [spawn_link(Forward) || _ <- [1, 2]],
    Event = fun(Of) -> receive {Of, {sockeye, Conn, What}} -> {Conn, What} after 60000 -> error(no_event) end end,
    with_server(#{handler => owner_by_name, active => true}, fun(Port, _) ->
        Opened = [begin
                      true = register(owner_by_name, Owner),
                      Socket = ws_client:connect(Port),
                      {Conn, {open, _}} = Event(Owner),
                      true = unregister(owner_by_name),
                      {Owner, Socket, Conn}
                  end || Owner <- [First, Second, First]],
        [begin
             ok = ws_client:text(Socket, <<"1">>),
             ?assertEqual({Conn, {json, 1}}, Event(Owner))
         end || {Owner, Socket, Conn} <- Opened],
        ?assertEqual({1011, <<"no owner">>}, ws_client:recv_close(ws_client:connect(Port))),
        [unlink(Owner) || Owner <- Owners],
        exit(Second, kill),
        ?assertEqual([{1011, <<"handler died">>}], [ws_client:recv_close(Socket) || {Owner, Socket, _} <- Opened, Owner =:= Second]),
        {_, Left, Conn} = hd(Opened),
        ok = ws_client:text(Left, <<"2">>),
        ?assertEqual({Conn, {json, 2}}, Event(First)),
        exit(First, kill)
    end).
