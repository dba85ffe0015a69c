%% The engine's process is killed: what becomes of all that lives on. In a node of its own.
-module(sockeye_port_killed_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/3, message/0, event/1, open/1]).
-import(port_node, [until/1, kill/0, another/1, listening/2, handlers/1]).

-define(TIMEOUT, 60000).

%% All in one node, one after the other.
port_test_() ->
    port_node:tests(120, tests()).

tests() ->
    [{Name, fun() -> processes(Processes) end}
     || {Name, Processes} <- [{"one", one}, {"a pool", 2}, {"a process per connection", per_connection}]]
    ++ [{"an owner", fun owner/0},
        {"an owner of a connection that was another's", fun other_owner/0},
        {"who brings an owner its messages", fun delivery/0},
        {"pending calls", fun calls/0},
        {"what is logged", fun log/0},
        {"a gate", fun gate/0},
        {"presence", fun presence/0},
        {"a client", fun client/0},
        {"under load", fun under_load/0},
        {"and again at once", fun often/0},
        {"no library", fun port_node:no_library/0}].

%% Until the engine is another one, and the server listens.
back(Restarts, Server, Port) ->
    ok = another(Restarts),
    listening(Server, Port).

processes(Processes) ->
    Self = self(),
    Funs = #{open => fun(Conn, _, S) -> Self ! {open, Conn, self()}, {[], S} end,
             frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end,
             close => fun(Conn, Code, Reason, S) -> Self ! {closed, Conn, Code, Reason}, {[], S} end},
    with_handler(Funs, #{processes => Processes}, fun(Port, Server) ->
        Sockets = [ws_client:connect(Port) || _ <- lists:seq(1, 20)],
        Open = [receive {open, Conn, Handler} -> {Conn, Handler} after ?TIMEOUT -> error(not_open) end || _ <- Sockets],
        Restarts = kill(),
        Closed = [receive {closed, Conn, 1006, <<"engine lost">>} -> Conn after ?TIMEOUT -> error(not_closed) end || _ <- Sockets],
        ?assertEqual(lists:sort([Conn || {Conn, _} <- Open]), lists:sort(Closed)),
        ok = back(Restarts, Server, Port),
        ?assert(is_process_alive(Server)),
        Handlers = lists:usort([Handler || {_, Handler} <- Open]),
        Alive = Processes =/= per_connection,
        until(fun() -> lists:all(fun(Handler) -> is_process_alive(Handler) =:= Alive end, Handlers) end),
        Socket = ws_client:connect(Port),
        receive {open, _, Handler} -> ?assertEqual(Alive, lists:member(Handler, Handlers)) after ?TIMEOUT -> error(not_open) end,
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({text, <<"1">>}, ws_client:recv(Socket)),
        receive {closed, _, _, _} = Again -> error(Again) after 0 -> ok end
    end).

%% Who has it is told, once, and who had it is not: of one that was given, of one that was given back, of one that has ended before.
other_owner() ->
    Self = self(),
    Other = spawn_link(fun() -> forward(Self) end),
    with_server(#{active => true}, fun(Port, Server) ->
        Opened = [open(Port) || _ <- lists:seq(1, 4)],
        [{_, Kept}, {_, Given}, {_, Back}, {Socket, Ended}] = Opened,
        [ok = sockeye:controlling_process(Conn, Other) || Conn <- [Given, Back, Ended]],
        ok = sockeye:controlling_process(Back, Self),
        ok = ws_client:close(Socket, 1000, <<>>),
        {Other, {sockeye, Ended, {closed, 1000, _}}} = message(),
        Restarts = kill(),
        Closed = {closed, 1006, <<"engine lost">>},
        Told = [message() || _ <- [Kept, Given, Back]],
        ?assertEqual(lists:sort([{sockeye, Kept, Closed}, {Other, {sockeye, Given, Closed}}, {sockeye, Back, Closed}]),
                     lists:sort(Told)),
        ok = back(Restarts, Server, Port),
        receive {Other, More} -> error(More); {sockeye, _, _} = More -> error(More) after 0 -> ok end
    end),
    unlink(Other),
    exit(Other, kill).

forward(To) ->
    receive Message -> To ! {self(), Message} end,
    forward(To).

owner() ->
    with_server(#{active => true}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({json, 1}, event(Conn)),
        Restarts = kill(),
        ?assertEqual({closed, 1006, <<"engine lost">>}, event(Conn)),
        ?assertEqual({error, closed}, sockeye:send(Conn, {text, <<"late">>})),
        ok = back(Restarts, Server, Port),
        ?assertEqual({error, closed}, sockeye:send(Conn, {text, <<"late">>})),
        test_support:flush(),
        {Next, Other} = open(Port),
        ok = ws_client:text(Next, <<"2">>),
        ?assertEqual({json, 2}, event(Other))
    end).

%% Who brings an owner its messages is killed: that costs the connections of the owner, who is told, and nothing else.
delivery() ->
    Echo = #{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end},
    with_handler(Echo, #{}, fun(OtherPort, _) ->
        Other = ws_client:connect(OtherPort),
        with_server(#{active => true}, fun(Port, Server) ->
            {Ended, EndedBefore} = open(Port),
            ok = ws_client:close(Ended, 1000, <<>>),
            {closed, 1000, _} = event(EndedBefore),
            Opened = [open(Port) || _ <- [1, 2]],
            {ok, #{restarts := Restarts}} = sockeye:info(),
            [Delivery] = sockeye_link:deliveries(self()),
            Logged = port_node:logged(fun() ->
                exit(Delivery, kill),
                [begin
                     ?assertEqual({closed, 1011, <<"handler died">>}, event(Conn)),
                     ?assertEqual({1011, <<"handler died">>}, ws_client:recv_close(Socket)),
                     until(fun() -> sockeye:info(Conn) =:= {error, closed} end)
                 end || {Socket, Conn} <- Opened],
                until(fun() -> port_node:is_logged(delivery_killed) end)
            end),
            [{delivery_killed, <<"Sockeye engine: the process that brings <", _/binary>> = Said}] = Logged,
            ?assertMatch({_, _}, binary:match(Said, <<"closed with 1011: 2">>)),
            {Next, Conn} = open(Port),
            ok = ws_client:text(Next, <<"1">>),
            ?assertEqual({json, 1}, event(Conn)),
            ok = ws_client:text(Other, <<"2">>),
            ?assertEqual({text, <<"2">>}, ws_client:recv(Other)),
            ?assertMatch({ok, #{restarts := Restarts}}, sockeye:info()),
            ?assertMatch({ok, #{connections := 1}}, sockeye:info(Server)),
            receive {sockeye, _, _} = More -> error(More) after 0 -> ok end
        end)
    end).

%% Whatever they ask when it dies, they get an answer.
calls() ->
    with_server(#{active => true}, fun(Port, Server) ->
        {_, Conn} = open(Port),
        Self = self(),
        Asking = [spawn_monitor(fun() -> asking(Ask, Self) end)
                  || Ask <- [fun() -> sockeye:send(Conn, {text, <<>>}) end,
                             fun() -> sockeye:info(Conn) end,
                             fun() -> sockeye:info(Server) end,
                             fun() -> sockeye:info() end,
                             fun() -> sockeye:i(Server) end,
                             fun() -> sockeye:i() end,
                             fun() -> sockeye:connections(Server) end,
                             fun() -> sockeye:setopts(Conn, [{active, true}]) end]],
        [receive asking -> ok end || _ <- Asking],
        Restarts = kill(),
        [receive {'DOWN', Ref, process, Pid, Reason} -> ?assertMatch({answered, {error, _}}, Reason)
         after ?TIMEOUT -> error({no_answer, Pid})
         end || {Pid, Ref} <- Asking],
        ok = back(Restarts, Server, Port)
    end).

asking(Ask, Parent) ->
    true = group_leader(spawn_link(fun printed_nowhere/0), self()),
    {ok, _} = ok_of(Ask()),
    Parent ! asking,
    ask_on(Ask).

printed_nowhere() ->
    receive {io_request, From, Ref, _} -> From ! {io_reply, Ref, ok} end,
    printed_nowhere().

ask_on(Ask) ->
    case ok_of(Ask()) of
        {ok, _} -> ask_on(Ask);
        Error -> exit({answered, Error})
    end.

ok_of(ok) -> {ok, ok};
ok_of(Result) -> Result.

log() ->
    with_server(#{active => true}, fun(Port, Server) ->
        {_, Conn} = open(Port),
        Logged = port_node:logged(fun() ->
            Restarts = kill(),
            ?assertEqual({closed, 1006, <<"engine lost">>}, event(Conn)),
            ok = back(Restarts, Server, Port)
        end),
        ?assertMatch([{engine_lost, _}], Logged),
        [{_, Text}] = Logged,
        ?assertMatch({match, _}, re:run(Text, "^Sockeye engine: its process was killed by signal 9; all connections are closed with 1006, "
                                              "and it is started again"))
    end).

%% What is asked before a connection is made finds the same process.
gate() ->
    Gated = #{active => true, accept => fun(_) -> {accept, #{}} end, http => #{"/hello" => fun(_) -> {200, [], <<"here">>} end}},
    with_server(Gated, fun(Port, Server) ->
        {_, Conn} = open(Port),
        Restarts = kill(),
        ?assertMatch({closed, 1006, _}, event(Conn)),
        ok = back(Restarts, Server, Port),
        ?assertMatch({200, _, <<"here">>}, http_client:get(Port, "/hello")),
        {_, _} = open(Port)
    end).

presence() ->
    with_server(#{active => true}, fun(Port, Server) ->
        {_, Conn} = open(Port),
        ok = sockeye_presence:track(Conn, <<"room">>, <<"who">>, #{}),
        ?assertMatch([_], maps:to_list(present(Server))),
        Restarts = kill(),
        until(fun() -> present(Server) =:= #{} orelse present(Server) end),
        ok = back(Restarts, Server, Port)
    end).

present(Server) ->
    {ok, Present} = sockeye_presence:list(Server, <<"room">>),
    Present.

%% It hears of the end, and dials again when there is an engine.
client() ->
    Self = self(),
    with_handler(#{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end}, #{}, fun(Port, Server) ->
        Asks = #{open => fun(_, _, S) -> Self ! open, {[{reply, {text, <<"1">>}}], S} end,
                 frame => fun(Frame, _, S) -> Self ! Frame, {[], S} end,
                 close => fun(_, Code, _, S) -> Self ! {closed, Code}, {[], S} end,
                 down => fun(Reason, S) -> Self ! {down, Reason}, {[], S} end},
        {ok, Client} = sockeye_client:start_link("ws://127.0.0.1:" ++ integer_to_list(Port), {fun_handler, Asks},
                                                 #{reconnect => #{initial_interval => 10}}),
        ?assertEqual([open, {json, 1}], [message(), message()]),
        Restarts = kill(),
        ?assertEqual([{closed, 1006}, {down, {closed, 1006, <<"engine lost">>}}], [message(), message()]),
        ?assertEqual([open, {json, 1}], up_again()),
        ok = back(Restarts, Server, Port),
        ok = sockeye_client:stop(Client)
    end).

%% The server may listen a moment later than the client dials.
up_again() ->
    case message() of
        {down, _} -> up_again();
        open -> [open, message()]
    end.

under_load() ->
    Self = self(),
    Funs = #{init => fun() -> {ok, 0} end,
             open => fun(_, _, S) -> {[], S + 1} end,
             frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end,
             close => fun(_, _, _, S) -> {[], S - 1} end,
             info => fun({count, From}, S) -> From ! {open, S}, {[], S} end},
    with_handler(Funs, #{}, fun(Port, Server) ->
        [Handler] = handlers(Server),
        [begin
             Clients = [spawn_monitor(fun() -> load(Port, Self) end) || _ <- lists:seq(1, 50)],
             [receive loaded -> ok after ?TIMEOUT -> error(no_load) end || _ <- Clients],
             Restarts = kill(),
             [receive {'DOWN', Ref, process, _, _} -> ok after ?TIMEOUT -> error(not_cut_off) end || {_, Ref} <- Clients],
             ok = back(Restarts, Server, Port),
             until(fun() -> Handler ! {count, Self}, receive {open, N} -> N =:= 0 orelse N end end)
         end || _ <- lists:seq(1, rounds())],
        ?assertEqual([Handler], handlers(Server))
    end).

rounds() ->
    list_to_integer(os:getenv("SOCKEYE_TEST_ROUNDS", "20")).

%% For longer than what counts as a short life of the engine.
load(Port, Parent) ->
    Begin = erlang:monotonic_time(millisecond),
    Socket = ws_client:connect(Port),
    load_until(Socket, Begin + 300),
    Parent ! loaded,
    load(Socket).

load_until(Socket, Time) ->
    exchange(Socket),
    erlang:monotonic_time(millisecond) >= Time orelse load_until(Socket, Time).

load(Socket) ->
    exchange(Socket),
    load(Socket).

exchange(Socket) ->
    ok = ws_client:text(Socket, <<"[1,2,3]">>),
    {text, _} = ws_client:recv(Socket).

%% More often than a supervisor would stand.
often() ->
    %% With nothing behind it.
    ok = application:stop(sockeye),
    with_server(#{active => true}, fun(Port, Server) ->
        Sup = whereis(sockeye_sup),
        [begin
             ok = another(kill())
         end || _ <- lists:seq(1, 6)],
        {ok, #{restarts := Restarts}} = sockeye:info(),
        ok = back(Restarts - 1, Server, Port),
        test_support:flush(),
        {_, _} = open(Port),
        ?assertEqual(Sup, whereis(sockeye_sup))
    end).
