%% The engine as a process of the system: what works. In a node of its own.
-module(sockeye_port_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/2, with_handler/3, message/0, event/0, event/1, open/1, closed/1]).
-import(port_node, [until/1, is_alive/1, handlers/1]).

-define(TIMEOUT, 60000).

%% All in one node, one after the other.
port_test_() ->
    port_node:tests(120, tests()).

tests() ->
    [{"echo, " ++ Name, fun() -> echo(Processes) end}
     || {Name, Processes} <- [{"one", one}, {"a pool", 2}, {"a process per connection", per_connection}]]
    ++ [{"a handler's commands", fun commands/0},
        {"topics", fun topics/0},
        {"a gate", fun gate/0},
        {"clients", fun clients/0},
        {"what fails of them", fun failed_commands/0},
        {"an owner", fun owner/0},
        {"an owner gets batches", fun batches/0},
        {"a named owner", fun named_owner/0},
        {"another owner", fun other_owner/0},
        {"credits", fun credits/0},
        {"errors of send", fun send_errors/0},
        {"large messages", fun large/0},
        {"a flood", fun flood/0},
        {"information", fun information/0},
        {"signals for all processes of a service", fun signals/0},
        {"the end of a server", fun stop_server/0},
        {"the end of a handler", fun handler_dies/0},
        {"JSON", fun json/0}, {"its literals", fun literals/0},
        {"what needs the library", fun needs_the_library/0},
        {"the application stops", fun stop_application/0},
        {"no library", fun port_node:no_library/0}].

%% The node is killed: its engine ends, and nobody has to see to it.
node_dies_test_() ->
    {timeout, 60, fun() ->
        Node = port_node:start(),
        {NodePid, OsPid} = port_node:on(Node, fun() ->
            {ok, _} = sockeye:start_link(#{port => 0, handler => {fun_handler, #{}}}),
            {ok, #{os_pid := Engine}} = sockeye:info(),
            {os:getpid(), Engine}
        end),
        ?assert(is_alive(OsPid)),
        _ = os:cmd("kill -9 " ++ NodePid),
        Killed = erlang:monotonic_time(millisecond),
        until(fun() -> not is_alive(OsPid) end),
        ?assert(erlang:monotonic_time(millisecond) - Killed < 5000),
        port_node:forget(Node)
    end}.

%% The library is loaded, in a node that has not had it, and its engine is not started.
pure_nif_test_() ->
    {timeout, 60, fun() ->
        Node = port_node:start(),
        try port_node:on(Node, fun pure_nif/0)
        after port_node:stop(Node)
        end
    end}.

pure_nif() ->
    _ = application:load(sockeye),
    ok = application:set_env(sockeye, pure, nif),
    %% Without the application.
    ?assertEqual({ok, [1]}, sockeye_json:decode(<<"[1]">>)),
    ?assertEqual(undefined, whereis(sockeye_sup)),
    {ok, Codec} = sockeye_codec:new(server),
    ?assertMatch({ok, _}, sockeye_codec:encode(Codec, {text, <<"hi">>})),
    ?assert(port_node:has_library()),
    ok = echo(one),
    {ok, #{engine := port, os_pid := OsPid}} = sockeye:info(),
    ?assert(is_alive(OsPid)),
    ?assertError(badarg, sockeye_nif:engine_info()),
    Threads = [Name || Task <- filelib:wildcard("/proc/self/task/*/comm"), {ok, Name} <- [file:read_file(Task)]],
    ?assertEqual([], [Name || <<"sockeye-", _/binary>> = Name <- Threads]).

%% ---------------------------------------------------------------- what works

echo(Processes) ->
    Self = self(),
    Funs = #{open => fun(Conn, #{path := Path}, S) -> Self ! {open, Conn, Path}, {[], S} end,
             frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end,
             close => fun(Conn, Code, Reason, S) -> Self ! {closed, Conn, Code, Reason}, {[], S} end},
    with_handler(Funs, #{processes => Processes}, fun(Port, _) ->
        Socket = ws_client:connect(Port, #{path => "/there"}),
        Conn = receive {open, C, <<"/there">>} -> C after ?TIMEOUT -> error(not_open) end,
        ok = ws_client:text(Socket, <<"{\"n\": [1, 2.5, null, \"é\"], \"n\": true}"/utf8>>),
        ?assertEqual({text, <<"{\"n\":true}">>}, ws_client:recv(Socket)),
        ok = ws_client:binary(Socket, <<0, 255>>),
        ?assertEqual({binary, <<0, 255>>}, ws_client:recv(Socket)),
        Many = [integer_to_binary(N) || N <- lists:seq(1, 1000)],
        ok = ws_client:raw(Socket, [ws_client:encode(1, N) || N <- Many]),
        ?assertEqual([{text, N} || N <- Many], [ws_client:recv(Socket) || _ <- Many]),
        ok = ws_client:close(Socket, 4001, <<"done">>),
        ?assertMatch({4001, _}, ws_client:recv_close(Socket)),
        ?assertEqual({closed, Conn, 4001, <<"done">>}, message())
    end).

commands() ->
    Self = self(),
    Funs = #{open => fun(Conn, _, _) -> {[{reply, {text, <<"hello">>}}, {send, Conn, #{a => 1}}], Conn} end,
             frame => fun({json, 1}, _, S) -> {[{reply, [{text, <<"a">>}, {binary, <<"b">>}]}, {reply, {ping, <<"p">>}}], S};
                         ({json, 2}, _, S) -> {[{close, 4002, <<"enough">>}], S}
                      end,
             close => fun(_, Code, _, S) -> Self ! {closed, Code}, {[], S} end,
             info => fun(tick, Conn) -> {[{send, Conn, {text, <<"tick">>}}], Conn} end},
    with_handler(Funs, #{}, fun(Port, Server) ->
        Socket = ws_client:connect(Port),
        ?assertEqual({text, <<"hello">>}, ws_client:recv(Socket)),
        ?assertEqual({text, <<"{\"a\":1}">>}, ws_client:recv(Socket)),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual([{text, <<"a">>}, {binary, <<"b">>}, {ping, <<"p">>}], [ws_client:recv(Socket) || _ <- [1, 2, 3]]),
        [Handler] = handlers(Server),
        Handler ! tick,
        ?assertEqual({text, <<"tick">>}, ws_client:recv(Socket)),
        ok = ws_client:text(Socket, <<"2">>),
        ?assertEqual({4002, <<"enough">>}, ws_client:recv_close(Socket)),
        ?assertEqual({closed, 1000}, message())
    end).

topics() ->
    with_server(#{active => true}, fun(Port, Server) ->
        {First, One} = open(Port),
        {Second, Two} = open(Port),
        [ok = sockeye:subscribe(Conn, <<"room/7">>) || Conn <- [One, Two]],
        ?assertEqual({ok, #{<<"room/7">> => 2}}, sockeye:topics(Server)),
        ?assertEqual({ok, #{sent => 2, dropped => 0}}, sockeye:publish(Server, <<"room/7">>, #{n => 1}, #{wait => true})),
        ok = sockeye:publish_from(One, <<"room/7">>, #{n => 2}),
        ok = sockeye:broadcast(Server, {text, <<"all">>}),
        ?assertEqual([{text, <<"{\"n\":1}">>}, {text, <<"all">>}], [ws_client:recv(First) || _ <- [1, 2]]),
        ?assertEqual([{text, <<"{\"n\":1}">>}, {text, <<"{\"n\":2}">>}, {text, <<"all">>}], [ws_client:recv(Second) || _ <- [1, 2, 3]])
    end).

gate() ->
    Gated = #{active => true,
              accept => fun(#{path := <<"/no">>}) -> {reject, 403, [], <<>>};
                           (_) -> {accept, #{}}
                        end,
              http => #{"/hello" => fun(_) -> {200, [], <<"here">>} end}},
    with_server(Gated, fun(Port, _) ->
        {_, _} = open(Port),
        {ok, Status, _, Socket} = ws_client:handshake(Port, #{path => "/no"}),
        ?assertEqual(403, Status),
        ws_client:drop(Socket),
        ?assertMatch({200, _, <<"here">>}, http_client:get(Port, "/hello"))
    end).

clients() ->
    Funs = #{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end},
    with_handler(Funs, #{}, fun(Port, _) ->
        Url = "ws://127.0.0.1:" ++ integer_to_list(Port),
        {ok, Conn} = sockeye_client:connect(Url),
        ok = sockeye_client:send(Conn, #{a => 1}),
        ?assertEqual({ok, {json, #{<<"a">> => 1}}}, sockeye_client:recv(Conn)),
        ok = sockeye_client:close(Conn),
        Self = self(),
        Asks = #{open => fun(Of, _, S) -> {[{send, Of, {text, <<"1">>}}], S} end,
                 frame => fun(Frame, _, S) -> Self ! Frame, {[], S} end,
                 close => fun(_, Code, _, S) -> Self ! {closed, Code}, {[], S} end},
        {ok, Client} = sockeye_client:start_link(Url, {fun_handler, Asks}),
        ?assertEqual({json, 1}, message()),
        ok = sockeye_client:stop(Client),
        ?assertEqual({closed, 1000}, message())
    end).

failed_commands() ->
    Self = self(),
    Funs = #{frame => fun(_, _, S) -> {[{reply, {json, Self}}, {reply, {text, <<"next">>}}], S} end,
             error => fun(Error, Conn, S) -> Self ! {failed, Error, Conn}, {[], S} end},
    with_handler(Funs, #{}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({text, <<"next">>}, ws_client:recv(Socket)),
        {failed, Error, {sockeye_conn, _} = Conn} = message(),
        ?assertEqual({{send, Conn, {json, Self}}, {not_json, Self, <<"$">>}}, Error)
    end).

owner() ->
    with_server(#{active => true}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:text(Socket, <<"{\"a\": 1}">>),
        ?assertEqual({json, #{<<"a">> => 1}}, event(Conn)),
        ok = sockeye:send(Conn, #{b => [2]}),
        ?assertEqual({text, <<"{\"b\":[2]}">>}, ws_client:recv(Socket)),
        ok = sockeye:send(Conn, [{text, <<"x">>}, {binary, <<"y">>}]),
        ?assertEqual([{text, <<"x">>}, {binary, <<"y">>}], [ws_client:recv(Socket) || _ <- [1, 2]]),
        ok = ws_client:text(Socket, <<"no json">>),
        ?assertMatch({1007, _}, ws_client:recv_close(Socket)),
        ?assertEqual(1007, closed(Conn)),
        {Other, Open} = open(Port),
        ok = sockeye:close(Open, 4000, <<"bye">>),
        ?assertEqual({4000, <<"bye">>}, ws_client:recv_close(Other)),
        ?assertEqual(1000, closed(Open)),
        %% The peer's Close is answered when the owner has read what came before.
        {Third, Last} = open(Port),
        ok = ws_client:text(Third, <<"1">>),
        ok = ws_client:close(Third, 1000, <<>>),
        ?assertEqual({json, 1}, event(Last)),
        ok = sockeye:send(Last, {text, <<"answer">>}),
        ?assertEqual({text, <<"answer">>}, ws_client:recv(Third)),
        ?assertEqual(1000, closed(Last))
    end).

batches() ->
    with_server(#{active => true, batch => true}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        Numbers = lists:seq(1, 100),
        ok = ws_client:raw(Socket, [ws_client:encode(1, integer_to_binary(N)) || N <- Numbers]),
        ?assertEqual([{json, N} || N <- Numbers], together(Conn, 100))
    end).

together(_Conn, 0) ->
    [];
together(Conn, Left) ->
    Events = case event(Conn) of
                 {batch, [_, _ | _] = Several} -> Several;
                 One -> [One]
             end,
    Events ++ together(Conn, Left - length(Events)).

%% Another process takes the place, and the name, of one that is dead.
named_owner() ->
    Self = self(),
    Owner = fun() ->
                    spawn(fun() -> true = register(port_owner, self()), Self ! named, forward(Self) end)
            end,
    First = Owner(),
    named = message(),
    with_server(#{handler => port_owner, active => true}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        {First, {sockeye, Conn, {open, _}}} = message(),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({First, {sockeye, Conn, {json, 1}}}, message()),
        exit(First, kill),
        ?assertMatch({1011, _}, ws_client:recv_close(Socket)),
        Orphan = ws_client:connect(Port),
        ?assertMatch({1011, _}, ws_client:recv_close(Orphan)),
        Second = Owner(),
        named = message(),
        _ = ws_client:connect(Port),
        ?assertMatch({Second, {sockeye, _, {open, _}}}, message()),
        exit(Second, kill)
    end).

other_owner() ->
    Self = self(),
    Other = spawn_link(fun() -> forward(Self) end),
    with_server(#{active => false}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = sockeye:controlling_process(Conn, Other),
        ok = sockeye:setopts(Conn, [{active, true}]),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({Other, {sockeye, Conn, {json, 1}}}, message()),
        unlink(Other),
        exit(Other, kill),
        ?assertMatch({1011, _}, ws_client:recv_close(Socket))
    end).

forward(To) ->
    receive Message -> To ! {self(), Message} end,
    forward(To).

credits() ->
    with_server(#{active => once}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:raw(Socket, [ws_client:encode(1, integer_to_binary(N)) || N <- lists:seq(1, 6)]),
        ?assertEqual({json, 1}, event(Conn)),
        ok = sockeye:setopts(Conn, [{active, 2}]),
        ?assertEqual([{json, 2}, {json, 3}, passive], [event(Conn) || _ <- [1, 2, 3]]),
        {ok, #{active := false, frames_in := _}} = sockeye:info(Conn),
        receive {sockeye, Conn, _} = More -> error(More) after 0 -> ok end,
        ok = sockeye:setopts(Conn, [{active, true}]),
        ?assertEqual([{json, N} || N <- [4, 5, 6]], [event(Conn) || _ <- [1, 2, 3]]),
        ?assertError(badarg, sockeye:setopts(Conn, [{active, 'maybe'}]))
    end).

send_errors() ->
    Self = self(),
    with_server(#{active => true, send_queue_size => 1000}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ?assertMatch({error, {not_json, Self, _}}, sockeye:send(Conn, #{a => [Self]})),
        ?assertEqual({error, not_utf8}, sockeye:send(Conn, {text, <<255>>})),
        ?assertError(badarg, sockeye:send(Conn, {text, 1})),
        ?assertError(badarg, sockeye:send({sockeye_conn, no}, {text, <<>>})),
        %% The client reads nothing.
        ok = inet:setopts(Socket, [{recbuf, 4096}]),
        Fill = fun Fill(N) ->
                       case sockeye:send(Conn, {binary, <<0:8000>>}) of
                           ok when N < 100000 -> Fill(N + 1);
                           Other -> Other
                       end
               end,
        ?assertEqual({error, busy}, Fill(0)),
        ok = ws_client:drop(Socket),
        ?assertEqual(1006, closed(Conn)),
        ?assertEqual({error, closed}, sockeye:send(Conn, {text, <<"late">>})),
        ?assertEqual({error, closed}, sockeye:close(Conn)),
        ?assertEqual({error, closed}, sockeye:info(Conn))
    end).

%% Longer than what goes in one section, one packet, and the socket's buffer.
large() ->
    Funs = #{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end},
    Most = 8 * 1024 * 1024,
    with_handler(Funs, #{max_message_size => Most, send_queue_size => 4 * Most, inbox_size => 4 * Most, format => raw}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        [begin
             Data = <<<<(N rem 251)>> || N <- lists:seq(1, Size)>>,
             ok = ws_client:binary(Socket, Data),
             {binary, Back} = ws_client:recv(Socket),
             ?assert(Back =:= Data)
         end || Size <- [65535, 65537, 262000, 262144, 262145, 1048570, 1048577, Most]]
    end).

%% However much a client sends, few messages wait for a slow handler.
flood() ->
    Self = self(),
    Funs = #{frame => fun(_, _, S) ->
                              {_, Waiting} = process_info(self(), message_queue_len),
                              Self ! {waiting, Waiting},
                              receive go -> ok after 5 -> ok end,
                              {[], S}
                      end},
    with_handler(Funs, #{format => raw}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        Frame = ws_client:encode(2, <<0:800>>),
        Flood = spawn_link(fun() -> pour(Socket, binary:copy(iolist_to_binary(Frame), 1000)) end),
        Most = lists:max([receive {waiting, N} -> N end || _ <- lists:seq(1, 150)]),
        unlink(Flood),
        exit(Flood, kill),
        %% Two batches, and what is not of the engine.
        ?assert(Most =< 4)
    end).

pour(Socket, Bytes) ->
    case gen_tcp:send(Socket, Bytes) of
        ok -> pour(Socket, Bytes);
        {error, _} -> ok
    end.

information() ->
    {ok, #{engine := port, os_pid := OsPid, restarts := Restarts, memory := Memory}} = sockeye:info(),
    ?assert(is_alive(OsPid)),
    ?assert(is_integer(Restarts)),
    ?assert(Memory > 0),
    with_server(#{active => true}, fun(Port, Server) ->
        {_, Conn} = open(Port),
        {ok, #{connections := 1, accepted := 1, server := Server, port := Port}} = sockeye:info(Server),
        {ok, #{peer := {{127, 0, 0, 1}, _}, path := <<"/">>}} = sockeye:info(Conn),
        ?assertEqual({ok, [Conn]}, sockeye:connections(Server)),
        ?assertEqual({error, eaddrinuse}, sockeye:start_link(#{port => Port}))
    end).

%% Who ends a service sends them to each of its processes: the node drains then, for which it needs its engine.
signals() ->
    with_server(#{active => true, format => raw}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        {ok, #{os_pid := OsPid}} = sockeye:info(),
        [begin
             "" = os:cmd("kill -" ++ Signal ++ " " ++ integer_to_list(OsPid)),
             ok = sockeye:send(Conn, {text, Signal}),
             ?assertEqual({text, list_to_binary(Signal)}, ws_client:recv(Socket))
         end || Signal <- ["TERM", "INT", "HUP", "TERM"]],
        ?assertMatch({ok, #{os_pid := OsPid}}, sockeye:info())
    end).

%% All connections are told, and a handler serves their ends.
stop_server() ->
    Self = self(),
    Funs = #{open => fun(_, _, S) -> Self ! open, {[], S} end,
             close => fun(_, Code, _, S) -> Self ! {closed, Code}, {[], S} end,
             terminate => fun(Reason, _) -> Self ! {terminated, Reason} end},
    [begin
         {ok, Server} = sockeye:start_link(#{port => 0, handler => {fun_handler, Funs}, processes => Processes}),
         Port = test_support:port(Server),
         Sockets = [ws_client:connect(Port) || _ <- lists:seq(1, 20)],
         [open = message() || _ <- Sockets],
         Clients = [spawn_link(fun() -> answered(Socket, Self) end) || Socket <- Sockets],
         [ok = gen_tcp:controlling_process(Socket, Client) || {Socket, Client} <- lists:zip(Sockets, Clients)],
         [Client ! go || Client <- Clients],
         ok = sockeye:stop(Server),
         [receive {closed, Code} -> ?assertEqual(1001, Code) after ?TIMEOUT -> error(no_end) end || _ <- Sockets],
         [receive {client, Code} -> ?assertEqual(1001, Code) after ?TIMEOUT -> error(no_close) end || _ <- Sockets],
         test_support:flush(),
         ?assertMatch({error, econnrefused}, gen_tcp:connect({127, 0, 0, 1}, Port, []))
     end || Processes <- [one, per_connection]].

answered(Socket, Parent) ->
    receive go -> ok end,
    {Code, _} = ws_client:recv_close(Socket),
    ok = ws_client:close(Socket, Code, <<>>),
    Parent ! {client, Code}.

handler_dies() ->
    Self = self(),
    Funs = #{open => fun(_, _, S) -> Self ! {open, self()}, {[], S} end,
             frame => fun({json, <<"crash">>}, _, _) -> exit(wanted);
                         (Frame, _, S) -> {[{reply, Frame}], S}
                      end},
    test_support:quiet(fun() ->
        with_handler(Funs, #{}, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            {open, First} = message(),
            ok = ws_client:text(Socket, <<"1">>),
            ok = ws_client:text(Socket, <<"\"crash\"">>),
            ?assertEqual({text, <<"1">>}, ws_client:recv(Socket)),
            ?assertMatch({1011, _}, ws_client:recv_close(Socket)),
            Next = ws_client:connect(Port),
            {open, Second} = message(),
            ?assertNotEqual(First, Second),
            ok = ws_client:text(Next, <<"2">>),
            ?assertEqual({text, <<"2">>}, ws_client:recv(Next))
        end)
    end).

json() ->
    ?assertEqual({ok, #{<<"a">> => [1, 2.5, null]}}, sockeye_json:decode(<<"{\"a\": [1, 2.5, null]}">>)),
    ?assertEqual({error, {eof, 3}}, sockeye_json:decode(<<"[1,">>)),
    ?assertEqual({ok, <<"{\"a\":1}">>}, sockeye_json:encode(#{a => 1})),
    Self = self(),
    ?assertMatch({error, {not_json, Self, _}}, sockeye_json:encode([Self])).

literals() ->
    #{true := Yes, false := No, nil := Nil} = sockeye_wire:numbers(),
    Numbers = <<73, Yes:16, 73, No:16, 73, Nil:16>>,
    1 = erlang:trace_pattern({sockeye_wire, events, 1}, true),
    with_server(#{null => nil, active => true}, fun(Port, _) ->
        {Client, Conn} = open(Port),
        1 = erlang:trace(hd(sockeye_link:deliveries(self())), true, [call]),
        ok = ws_client:text(Client, <<"[true,false,null]">>),
        ?assertEqual({json, [true, false, nil]}, event(Conn)),
        receive {trace, _, call, {_, events, [Bytes]}} -> ?assertMatch({_, 9}, binary:match(Bytes, Numbers)) end
    end).

needs_the_library() ->
    ?assertError({sockeye_codec, needs_nif, _}, sockeye_codec:new(server)).

stop_application() ->
    {ok, #{os_pid := OsPid}} = sockeye:info(),
    Self = self(),
    Owner = spawn(fun() ->
                          {ok, Server} = sockeye:start_link(#{port => 0, active => true}),
                          Self ! {port, test_support:port(Server)},
                          forward(Self)
                  end),
    Port = receive {port, P} -> P end,
    Socket = ws_client:connect(Port),
    {Owner, {sockeye, Conn, {open, _}}} = message(),
    Client = spawn_link(fun() -> answered(Socket, Self) end),
    ok = gen_tcp:controlling_process(Socket, Client),
    Client ! go,
    ok = application:stop(sockeye),
    ?assertNot(is_alive(OsPid)),
    receive {client, Code} -> ?assertEqual(1001, Code) after ?TIMEOUT -> error(no_close) end,
    receive {Owner, {sockeye, Conn, {closed, Ended, _}}} -> ?assertEqual(1001, Ended) after ?TIMEOUT -> error(not_closed) end,
    exit(Owner, kill),
    {ok, _} = application:ensure_all_started(sockeye),
    {ok, #{os_pid := Next, restarts := 0}} = sockeye:info(),
    ?assert(is_alive(Next)).
