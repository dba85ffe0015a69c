%% Sockets that other servers hand over: sockeye:adopt/3.
-module(sockeye_adopt_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [event/0, event/1, closed/1, with_server/2]).
-import(handover_server, [with_both/2, with_both/4, request/0, connect/1]).

-define(KINDS, [gen_tcp, active, backend, socket]).

echo(Client, Conn) ->
    ok = ws_client:text(Client, "[1]"),
    ?assertEqual({json, [1]}, event(Conn)),
    ok = sockeye:send(Conn, {json, [2]}),
    ?assertEqual({text, <<"[2]">>}, ws_client:recv(Client)).

kinds_test_() ->
    [{atom_to_list(Kind), fun() -> as_its_own(Kind) end} || Kind <- ?KINDS].

as_its_own(Kind) ->
    with_both(Kind, fun(Port, Server) ->
        Client = ws_client:connect(Port, #{path => "/room?x=1"}),
        {Conn, {open, Open}} = event(),
        {ok, Socket} = handover_server:adopted(),
        {ok, Here} = inet:sockname(Client),
        There = {{127, 0, 0, 1}, Port},
        ?assertMatch(#{peer := Here, local := There, path := <<"/room">>, query := <<"x=1">>}, Open),
        ?assertMatch({ok, #{peer := Here, local := There}}, sockeye:info(Conn)),
        ?assertMatch({ok, #{connections := 1, accepted := 1, rejected := 0}}, sockeye:info(Server)),
        ?assertEqual({ok, [Conn]}, sockeye:connections(Server)),
        %% The VM has nothing of it any more, and the connection lives.
        ?assert(is_gone(Socket)),
        ?assertEqual([], blocking(Here, There)),
        echo(Client, Conn),
        ok = ws_client:close(Client, 1000, <<>>),
        1000 = closed(Conn),
        ?assertMatch({close, 1000, _}, ws_client:recv(Client)),
        ?assertEqual(closed, ws_client:recv(Client))
    end).

%% Descriptors, of the engine, of the connection between these two that would have its thread wait: where the system tells.
blocking({_, Here}, {_, There}) ->
    {ok, Info} = sockeye:info(),
    Process = "/proc/" ++ case Info of #{os_pid := OsPid} -> integer_to_list(OsPid); _ -> os:getpid() end,
    Hex = fun(Port) -> io_lib:format(":~4.16.0B", [Port]) end,
    case file:read_file("/proc/self/net/tcp") of
        {ok, Table} ->
            {match, [Inode]} = re:run(Table, [Hex(There), " [0-9A-F]{8}", Hex(Here), "(?: +[^ ]+){6} +([0-9]+)"], [{capture, all_but_first, list}]),
            [One] = [Fd || Fd <- element(2, file:list_dir(Process ++ "/fd")), {ok, "socket:[" ++ Of} <- [file:read_link(Process ++ "/fd/" ++ Fd)],
                           Of =:= Inode ++ "]"],
            {ok, About} = file:read_file(Process ++ "/fdinfo/" ++ One),
            {match, [Flags]} = re:run(About, "flags:\\s*([0-9]+)", [{capture, all_but_first, list}]),
            %% O_NONBLOCK of Linux.
            [One || list_to_integer(Flags, 8) band 8#4000 =:= 0];
        {error, _} ->
            []
    end.

is_gone({'$socket', _} = Socket) -> element(1, socket:getopt(Socket, {otp, fd})) =:= error;
is_gone({'$inet', _, {Pid, _}}) -> not is_process_alive(Pid);
is_gone(Port) -> erlang:port_info(Port) =:= undefined.

%% ---------------------------------------------------------------- what was read

%% The head of an answer.
head(Client) -> head(Client, <<>>).

head(Client, Head) ->
    case binary:longest_common_suffix([Head, <<"\r\n\r\n">>]) of
        4 ->
            Head;
        _ ->
            {ok, Byte} = gen_tcp:recv(Client, 1, 60000),
            head(Client, <<Head/binary, Byte/binary>>)
    end.

frames(N) ->
    [ws_client:encode(1, integer_to_list(I)) || I <- lists:seq(1, N)].

%% A client that does not wait for the answer: its frames come with the request, or right behind it.
at_once_test_() ->
    [{lists:concat([Kind, " ", Read]), fun() -> at_once(Kind, Read) end}
     || {Kind, Read} <- [{gen_tcp, head}, {gen_tcp, line}, {gen_tcp, nothing}, {backend, head}, {backend, nothing}, {socket, head},
                         {socket, nothing}]].

at_once(Kind, Read) ->
    with_both(Kind, #{}, #{read => Read}, fun(Port, _) ->
        Client = connect(Port),
        ok = gen_tcp:send(Client, [request(), frames(50)]),
        ok = gen_tcp:send(Client, ws_client:encode(1, "51")),
        Conn = test_support:opened(),
        [?assertEqual({json, N}, event(Conn)) || N <- lists:seq(1, 51)],
        ?assertMatch(<<"HTTP/1.1 101 ", _/binary>>, head(Client)),
        ok = gen_tcp:close(Client),
        1006 = closed(Conn)
    end).

%% What the VM has sent to the owner is taken, too: all of it, and in its order.
messages_test() ->
    with_server(#{active => true}, fun(_, Server) ->
        Test = self(),
        Until = fun(Socket) ->
            Test ! {reading, self()},
            receive go -> ok end,
            %% They are in the mailbox, and are not looked at.
            Waiting = fun() -> {messages, M} = process_info(self(), messages), length([x || {tcp, S, _} <- M, S =:= Socket]) > 1 end,
            true = hostile_client:until(Waiting)
        end,
        handover_server:with(active, Server, #{then => Until}, fun(Port) ->
            Client = connect(Port),
            ok = gen_tcp:send(Client, request()),
            Front = receive {reading, Pid} -> Pid end,
            Front ! go,
            %% At least two messages: the second frame leaves when the first is one.
            [First | Others] = frames(20),
            ok = gen_tcp:send(Client, First),
            true = hostile_client:until(fun() -> {messages, M} = process_info(Front, messages), lists:keymember(tcp, 1, M) end),
            ok = gen_tcp:send(Client, Others),
            Conn = test_support:opened(),
            [?assertEqual({json, N}, event(Conn)) || N <- lists:seq(1, 20)],
            ok = gen_tcp:close(Client)
        end)
    end).

%% The head need not be whole.
in_pieces_test() ->
    with_both(gen_tcp, #{}, #{read => line}, fun(Port, _) ->
        Client = connect(Port),
        {First, Rest} = lists:split(40, request()),
        ok = gen_tcp:send(Client, First),
        {ok, _} = handover_server:adopted(),
        ok = gen_tcp:send(Client, Rest),
        Conn = test_support:opened(),
        ?assertMatch(<<"HTTP/1.1 101 ", _/binary>>, head(Client)),
        echo(Client, Conn)
    end).

%% What the other server has sent before stays before the answer, also where its client has yet to take it.
sent_before_test() ->
    Before = binary:copy(<<"0123456789">>, 800000),
    Send = fun(Socket) ->
        ok = inet:setopts(Socket, [{high_watermark, 16000000}]),
        ok = gen_tcp:send(Socket, Before),
        {ok, [{send_pend, Pending}]} = inet:getstat(Socket, [send_pend]),
        true = Pending > 0
    end,
    with_both(gen_tcp, #{}, #{then => Send}, fun(Port, _) ->
        Client = connect(Port),
        ok = gen_tcp:send(Client, request()),
        {ok, Came} = gen_tcp:recv(Client, byte_size(Before), 20000),
        ?assert(Came =:= Before),
        ?assertMatch(<<"HTTP/1.1 101 ", _/binary>>, head(Client)),
        echo(Client, test_support:opened())
    end).

%% ---------------------------------------------------------------- who is let in

max_connections_test_() ->
    [{lists:concat(["of ", Most]), fun() -> max_connections(Most) end} || Most <- [1, 2, 5]].

%% Those of its own listener and adopted ones together: one less, as many, one more.
max_connections(Most) ->
    with_server(#{max_connections => Most}, fun(Own, Server) ->
        handover_server:with(gen_tcp, Server, #{}, fun(Port) ->
            Clients = [ws_client:connect(element(1 + N rem 2, {Port, Own})) || N <- lists:seq(1, Most)],
            Conns = [test_support:opened() || _ <- Clients],
            Refused = connect(Port),
            ok = gen_tcp:send(Refused, request()),
            ?assertMatch(<<"HTTP/1.1 503 ", _/binary>>, head(Refused)),
            ?assertMatch({ok, #{connections := Most, rejected := 1}}, sockeye:info(Server)),
            ok = ws_client:close(hd(Clients), 1000, <<>>),
            [1000] = [closed(Conn) || {sockeye, Conn, _} <- [receive {sockeye, _, {closed, _, _}} = M -> self() ! M end]],
            true = hostile_client:until(fun() -> {ok, #{connections := N}} = sockeye:info(Server), N =:= Most - 1 end),
            Again = ws_client:connect(Port),
            New = test_support:opened(),
            ?assertNot(lists:member(New, Conns)),
            ok = gen_tcp:close(Again),
            ok = gen_tcp:close(Refused)
        end)
    end).

per_address_test() ->
    with_both(gen_tcp, #{max_connections_per_address => 1}, #{}, fun(Port, _) ->
        _ = ws_client:connect(Port),
        _ = test_support:opened(),
        {ok, 429, _, _} = ws_client:handshake(Port, #{})
    end).

%% The other server may be behind a proxy that is trusted.
trusted_proxy_test() ->
    with_both(gen_tcp, #{trusted_proxies => ["127.0.0.1"]}, #{}, fun(Port, _) ->
        _ = ws_client:connect(Port, #{headers => [{"X-Forwarded-For", "192.0.2.7"}]}),
        {_, {open, #{peer := Peer}}} = event(),
        ?assertEqual({{192, 0, 2, 7}, 0}, Peer)
    end).

accept_test() ->
    Accept = fun(#{path := <<"/in">>}) -> {accept, #{state => welcome, headers => [{"x-hello", "you"}]}};
                (_) -> {reject, 418, [{"x-no", "tea"}], "No."}
             end,
    with_both(gen_tcp, #{accept => Accept}, #{}, fun(Port, Server) ->
        {ok, 101, In, _} = ws_client:handshake(Port, #{path => "/in"}),
        ?assertEqual(<<"you">>, proplists:get_value(<<"x-hello">>, In)),
        {Conn, {open, #{state := welcome}}} = event(),
        {ok, 418, Out, Refused} = ws_client:handshake(Port, #{path => "/out"}),
        ?assertEqual(<<"tea">>, proplists:get_value(<<"x-no">>, Out)),
        ?assertEqual({ok, <<"No.">>}, gen_tcp:recv(Refused, 3)),
        ?assertEqual({ok, [Conn]}, sockeye:connections(Server))
    end).

handler_test_() ->
    [{lists:concat([Processes]), fun() -> handler(Processes) end} || Processes <- [one, 3, per_connection]].

handler(Processes) ->
    Test = self(),
    Funs = #{frame => fun({json, N}, Conn, S) -> {[{send, Conn, {json, N + 1}}], S} end,
             close => fun(_, Code, _, S) -> Test ! {told, Code}, {[], S} end},
    with_both(gen_tcp, #{handler => {fun_handler, Funs}, processes => Processes}, #{}, fun(Port, _) ->
        Clients = [ws_client:connect(Port) || _ <- lists:seq(1, 8)],
        [begin
             ok = ws_client:text(Client, "1"),
             ?assertEqual({text, <<"2">>}, ws_client:recv(Client)),
             ok = ws_client:close(Client, 1000, <<>>),
             1000 = test_support:told()
         end || Client <- Clients]
    end).

%% What is no request for a WebSocket is answered as well.
ordinary_requests_test() ->
    with_both(gen_tcp, #{http => #{"/page" => {text, "A page."}}}, #{}, fun(Port, _) ->
        Client = connect(Port),
        ok = gen_tcp:send(Client, "GET /page HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        ?assertMatch(<<"HTTP/1.1 200 ", _/binary>>, head(Client)),
        ?assertEqual({ok, <<"A page.">>}, gen_tcp:recv(Client, 7)),
        ?assertMatch(<<"HTTP/1.1 404 ", _/binary>>, head(Client))
    end),
    with_both(gen_tcp, fun(Port, _) ->
        Client = connect(Port),
        ok = gen_tcp:send(Client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ?assertMatch(<<"HTTP/1.1 426 ", _/binary>>, head(Client)),
        Nonsense = connect(Port),
        ok = gen_tcp:send(Nonsense, "nonsense\r\n\r\n"),
        ?assertMatch(<<"HTTP/1.1 400 ", _/binary>>, head(Nonsense))
    end).

%% The other server speaks for what it has accepted: TLS and the PROXY protocol of ours do not count.
tls_and_proxy_protocol_of_the_listener_test() ->
    Options = #{tls => test_certs:localhost(), proxy_protocol => true, trusted_proxies => ["127.0.0.1"]},
    with_both(gen_tcp, Options, #{}, fun(Port, _) ->
        Client = ws_client:connect(Port),
        {Conn, {open, #{tls := undefined}}} = event(),
        echo(Client, Conn)
    end).

%% ---------------------------------------------------------------- ends

stop_test() ->
    with_server(#{}, fun(_, Server) ->
        handover_server:with(gen_tcp, Server, #{}, fun(Port) ->
            Client = ws_client:connect(Port),
            Conn = test_support:opened(),
            Stopping = spawn_monitor(fun() -> ok = sockeye:stop(Server) end),
            ?assertMatch({close, 1001, _}, ws_client:recv(Client)),
            ok = ws_client:close(Client, 1001, <<>>),
            1001 = closed(Conn),
            receive {'DOWN', _, process, Pid, Why} when Pid =:= element(1, Stopping) -> ?assertEqual(normal, Why) end,
            {ok, _} = handover_server:adopted(),
            %% Nobody is there any more. The socket stays with who had it, and so does what came.
            Late = connect(Port),
            ok = gen_tcp:send(Late, request()),
            {{error, not_found}, Socket} = handover_server:adopted(),
            ok = gen_tcp:send(Socket, "mine"),
            ?assertEqual({ok, <<"mine">>}, gen_tcp:recv(Late, 4)),
            ok = gen_tcp:close(Socket)
        end)
    end).

drain_test() ->
    with_server(#{}, fun(Own, Server) ->
        handover_server:with(gen_tcp, Server, #{}, fun(Port) ->
            Clients = [ws_client:connect(P) || P <- [Port, Own, Port]],
            Conns = [test_support:opened() || _ <- Clients],
            Test = self(),
            _ = spawn(fun() -> Test ! {drained, sockeye:drain(Server, #{per_interval => 1, interval => 100, code => 1012})} end),
            %% One that comes meanwhile is refused.
            ok = event_closing(Conns, Clients),
            receive {drained, Result} -> ?assertEqual({ok, #{closed => 3, unanswered => 0}}, Result) end
        end)
    end).

event_closing(Conns, Clients) ->
    [begin
         ?assertMatch({close, 1012, _}, ws_client:recv(Client)),
         ok = ws_client:close(Client, 1012, <<>>)
     end || Client <- Clients],
    [?assertEqual(1012, closed(Conn)) || Conn <- Conns],
    ok.

while_it_drains_test() ->
    with_both(gen_tcp, fun(Port, Server) ->
        Client = ws_client:connect(Port),
        Conn = test_support:opened(),
        Test = self(),
        _ = spawn(fun() -> Test ! {drained, sockeye:drain(Server, #{})} end),
        ?assertMatch({close, 1001, _}, ws_client:recv(Client)),
        {ok, 503, _, _} = ws_client:handshake(Port, #{}),
        ok = ws_client:close(Client, 1001, <<>>),
        1001 = closed(Conn),
        receive {drained, {ok, #{closed := 1}}} -> ok end
    end).

%% ---------------------------------------------------------------- descriptors

descriptors() ->
    {ok, Names} = file:list_dir("/proc/self/fd"),
    length(Names).

none_is_left_test_() ->
    case filelib:is_dir("/proc/self/fd") of
        true -> [{atom_to_list(Kind), {timeout, 60, fun() -> none_is_left(Kind) end}} || Kind <- ?KINDS];
        false -> test_support:left_out("none_is_left_test_", "no /proc")
    end.

none_is_left(Kind) ->
    with_both(Kind, fun(Port, Server) ->
        Once = fun() ->
            Client = ws_client:connect(Port),
            Conn = test_support:opened(),
            {ok, _} = handover_server:adopted(),
            ok = gen_tcp:close(Client),
            1006 = closed(Conn)
        end,
        Once(),
        None = fun() -> {ok, #{connections := N}} = sockeye:info(Server), N =:= 0 end,
        true = hostile_client:until(None),
        Before = descriptors(),
        [Once() || _ <- lists:seq(1, 50)],
        true = hostile_client:until(None),
        true = hostile_client:until(fun() -> descriptors() =< Before orelse {Before, descriptors()} end)
    end).
