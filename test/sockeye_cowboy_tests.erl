%% Routes of a cowboy listener. cowboy is that of the benchmark: `make test-cowboy' gets it.
-module(sockeye_cowboy_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [event/0, event/1, closed/1]).

cowboy_test_() ->
    case paths() of
        [] ->
            test_support:left_out("sockeye_cowboy", "no cowboy: make test-cowboy gets one");
        Paths ->
            {setup,
             fun() -> ok = code:add_pathsa(Paths), {ok, Started} = application:ensure_all_started(cowboy), Started end,
             fun(Started) -> [application:stop(One) || One <- lists:reverse(Started)], [code:del_path(Path) || Path <- Paths] end,
             [{timeout, 60, {Name, Test}} || {Name, Test} <- tests()]}
    end.

%% In a path of Erlang, or where bench/setup has put it.
paths() ->
    case code:which(cowboy) of
        non_existing ->
            Root = filename:join([test_support:root(), "bench", "target", "debian", "usr", "lib", "rabbitmq", "lib", "*", "plugins"]),
            Found = [filelib:wildcard(filename:join([Root, Name ++ "-*", "ebin"])) || Name <- ["cowboy", "cowlib", "ranch"]],
            case lists:member([], Found) of
                true -> [];
                false -> lists:append(Found)
            end;
        _ ->
            [filename:dirname(code:which(cowboy))]
    end.

tests() ->
    [{"echo, and the rest stays with cowboy", fun echo/0},
     {"frames at once", fun at_once/0},
     {"accept", fun accept/0},
     {"compression and subprotocols", fun agreed/0},
     {"limits", fun limits/0},
     {"a server by its options", fun by_options/0},
     {"options that are wrong", fun wrong_options/0},
     {"no server", fun no_server/0},
     {"the end of the listener, and of the server", fun ends/0},
     {"a server by its options ends with the listener", fun ends_with_listener/0},
     {"with the last of two listeners", fun ends_with_last_listener/0},
     {"a place that nobody takes", fun left/0},
     {"TLS", fun tls/0},
     {"HTTP/2", fun http2/0},
     {"descriptors", fun descriptors_stay/0}].

with_cowboy(Route, Test) -> with_cowboy(clear, [], Route, Test).

with_cowboy(Kind, Options, Route, Test) ->
    Routes = [{"/ws", sockeye_cowboy, Route}, {"/page", cowboy_static, {file, code:which(?MODULE)}}],
    Dispatch = cowboy_router:compile([{'_', Routes}]),
    Start = case Kind of clear -> start_clear; tls -> start_tls end,
    {ok, _} = cowboy:Start(?MODULE, [{port, 0}, {ip, {127, 0, 0, 1}} | Options], #{env => #{dispatch => Dispatch}}),
    try Test(ranch:get_port(?MODULE))
    after
        ws_client:drop_all(),
        ok = cowboy:stop_listener(?MODULE),
        test_support:flush()
    end.

with_server(Options, Test) ->
    {ok, Server} = sockeye:start_link(Options#{ip => none}),
    try Test(Server)
    after
        ws_client:drop_all(),
        _ = sockeye:stop(Server),
        %% Its last words have come.
        test_support:flush()
    end.

with_both(Options, Test) ->
    with_server(Options, fun(Server) -> with_cowboy(#{server => Server}, fun(Port) -> Test(Port, Server) end) end).

ws(Port) -> ws_client:connect(Port, #{path => "/ws"}).

echo() ->
    with_both(#{}, fun(Port, Server) ->
        Client = ws_client:connect(Port, #{path => "/ws?a=1&b", headers => [{"Cookie", "c=1"}, {"X-Two", "1"}, {"X-Two", "2"}]}),
        {Conn, {open, Open}} = event(),
        {ok, Here} = inet:sockname(Client),
        ?assertMatch(#{path := <<"/ws">>, query := <<"a=1&b">>, peer := Here, local := {{127, 0, 0, 1}, Port}}, Open),
        #{headers := Headers} = Open,
        ?assertEqual(<<"c=1">>, proplists:get_value(<<"cookie">>, Headers)),
        ?assertEqual(<<"1, 2">>, proplists:get_value(<<"x-two">>, Headers)),
        ok = ws_client:text(Client, "[1]"),
        ?assertEqual({json, [1]}, event(Conn)),
        ok = sockeye:send(Conn, {json, [2]}),
        ?assertEqual({text, <<"[2]">>}, ws_client:recv(Client)),
        ?assertMatch({ok, #{connections := 1, accepted := 1}}, sockeye:info(Server)),
        {ok, {{_, 200, _}, _, _}} = page(Port),
        ok = ws_client:close(Client, 1000, <<>>),
        1000 = closed(Conn),
        ?assertMatch({close, 1000, _}, ws_client:recv(Client)),
        ?assertEqual(closed, ws_client:recv(Client))
    end).

page(Port) ->
    {ok, _} = application:ensure_all_started(inets),
    httpc:request(get, {"http://127.0.0.1:" ++ integer_to_list(Port) ++ "/page", []}, [], [{socket_opts, [{ip, {127, 0, 0, 1}}]}]).

request(Path) ->
    ["GET ", Path, " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"].

%% Frames that come with the request are in cowboy's buffer. A line feed in them would end the line of a request, which cowboy looks for there.
at_once() ->
    with_both(#{}, fun(Port, _) ->
        [begin
             {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
             ok = gen_tcp:send(Client, [request("/ws") | [ws_client:encode(1, integer_to_list(N), #{mask => <<1, 2, 3, 4>>}) || N <- lists:seq(1, 20)]]),
             Conn = test_support:opened(),
             [?assertEqual({json, N}, event(Conn)) || N <- lists:seq(1, 20)],
             ok = gen_tcp:close(Client),
             1006 = closed(Conn)
         end || _ <- lists:seq(1, 20)]
    end).

accept() ->
    Accept = fun(#{query := <<"in">>}) ->
                    {accept, #{state => welcome, headers => [{"x-hello", "you"}, {"set-cookie", "a=1"}, {"set-cookie", "b=2"}]}};
                (_) -> {reject, 418, [{"x-no", "tea"}, {"content-type", "text/x"}], "No."}
             end,
    with_both(#{accept => Accept}, fun(Port, Server) ->
        {ok, 101, In, _} = ws_client:handshake(Port, #{path => "/ws?in"}),
        ?assertEqual(<<"you">>, proplists:get_value(<<"x-hello">>, In)),
        ?assertEqual([<<"a=1">>, <<"b=2">>], lists:sort(proplists:get_all_values(<<"set-cookie">>, In))),
        {_, {open, #{state := welcome}}} = event(),
        {ok, 418, Out, Refused} = ws_client:handshake(Port, #{path => "/ws?out"}),
        ?assertEqual([<<"tea">>, <<"text/x">>, <<"3">>],
                     [proplists:get_value(Name, Out) || Name <- [<<"x-no">>, <<"content-type">>, <<"content-length">>]]),
        ?assertEqual({ok, <<"No.">>}, gen_tcp:recv(Refused, 3)),
        ?assertMatch({ok, #{connections := 1, rejected := 1}}, sockeye:info(Server))
    end).

agreed() ->
    with_both(#{deflate => true, subprotocols => ["b", "a"]}, fun(Port, _) ->
        Offer = [{"Sec-WebSocket-Extensions", "permessage-deflate"}, {"Sec-WebSocket-Protocol", "a"}],
        {ok, 101, Headers, _} = ws_client:handshake(Port, #{path => "/ws", headers => Offer}),
        ?assertMatch(<<"permessage-deflate", _/binary>>, proplists:get_value(<<"sec-websocket-extensions">>, Headers)),
        ?assertEqual(<<"a">>, proplists:get_value(<<"sec-websocket-protocol">>, Headers)),
        {_, {open, #{subprotocol := <<"a">>, deflate := Deflate}}} = event(),
        ?assertNotEqual(false, Deflate)
    end).

limits() ->
    with_both(#{max_connections => 2, origins => ["https://a.example"]}, fun(Port, Server) ->
        {ok, 403, _, _} = ws_client:handshake(Port, #{path => "/ws", headers => [{"Origin", "https://b.example"}]}),
        Client = ws(Port),
        Conn = test_support:opened(),
        _ = ws(Port),
        _ = test_support:opened(),
        {ok, 503, Headers, _} = ws_client:handshake(Port, #{path => "/ws"}),
        ?assertEqual(<<"1">>, proplists:get_value(<<"retry-after">>, Headers)),
        ?assertMatch({ok, #{connections := 2, rejected := 2}}, sockeye:info(Server)),
        ok = ws_client:close(Client, 1000, <<>>),
        1000 = closed(Conn),
        true = hostile_client:until(fun() -> {ok, #{connections := N}} = sockeye:info(Server), N =:= 1 end),
        _ = ws(Port),
        _ = test_support:opened(),
        %% No request for a WebSocket: Sockeye says so.
        {ok, Plain} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
        ok = gen_tcp:send(Plain, "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n"),
        {ok, <<"HTTP/1.1 ", Status:3/binary>>} = gen_tcp:recv(Plain, 12),
        ?assert(lists:member(Status, [<<"426">>, <<"503">>]))
    end).

by_options() ->
    Options = #{name => of_cowboy, handler => {bare_handler, []}},
    with_cowboy(Options, fun(Port) ->
        Clients = [ws(Port) || _ <- lists:seq(1, 4)],
        [begin
             ok = ws_client:text(Client, "[7]"),
             ?assertEqual({text, <<"[7]">>}, ws_client:recv(Client))
         end || Client <- Clients],
        ?assertMatch({ok, #{connections := 4, ip := none}}, sockeye:info(of_cowboy)),
        ok = sockeye:broadcast(of_cowboy, {text, "all"}),
        [?assertEqual({text, <<"all">>}, ws_client:recv(Client)) || Client <- Clients],
        %% When it has been stopped, the next request starts another.
        [ws_client:drop(Client) || Client <- Clients],
        ok = sockeye:stop(of_cowboy),
        Client = ws(Port),
        ok = ws_client:text(Client, "[8]"),
        ?assertEqual({text, <<"[8]">>}, ws_client:recv(Client)),
        ok = ws_client:drop(Client)
    end),
    gone(of_cowboy).

%% Its server ends after stop_listener has returned.
gone(Name) ->
    true = hostile_client:until(fun() -> sockeye:info(Name) =:= {error, not_found} end).

ends_with_listener() ->
    Options = #{name => of_cowboy, handler => {bare_handler, []}},
    Client = with_cowboy(Options, fun(Port) ->
        %% Of this process, which drops those that it knows.
        Open = ws(Port),
        erase(ws_client_opened),
        Open
    end),
    ?assertMatch({close, 1001, _}, ws_client:recv(Client)),
    ok = ws_client:close(Client, 1001, <<>>),
    gone(of_cowboy),
    %% Another listener begins anew.
    with_cowboy(Options, fun(Port) ->
        Next = ws(Port),
        ok = ws_client:text(Next, "[1]"),
        ?assertEqual({text, <<"[1]">>}, ws_client:recv(Next)),
        ok = ws_client:drop(Next)
    end),
    gone(of_cowboy).

ends_with_last_listener() ->
    Options = #{name => of_cowboy, handler => {bare_handler, []}},
    Client = with_cowboy(Options, fun(Port) ->
        Server = with_second(Options, fun(Second) ->
            ok = ws_client:drop(ws(Second)),
            ok = ws_client:drop(ws(Port)),
            whereis(of_cowboy)
        end),
        %% It has heard of the second one's end.
        _ = sys:get_state(sockeye_route_servers, 60000),
        Open = ws(Port),
        ok = ws_client:text(Open, "[2]"),
        ?assertEqual({text, <<"[2]">>}, ws_client:recv(Open)),
        ?assertEqual(Server, whereis(of_cowboy)),
        erase(ws_client_opened),
        Open
    end),
    ?assertMatch({close, 1001, _}, ws_client:recv(Client)),
    ok = ws_client:drop(Client),
    gone(of_cowboy).

with_second(Route, Test) ->
    Dispatch = cowboy_router:compile([{'_', [{"/ws", sockeye_cowboy, Route}]}]),
    {ok, _} = cowboy:start_clear(second, [{port, 0}, {ip, {127, 0, 0, 1}}], #{env => #{dispatch => Dispatch}}),
    try Test(ranch:get_port(second))
    after ok = cowboy:stop_listener(second)
    end.

wrong_options() ->
    test_support:quiet(fun() ->
        [with_cowboy(Options, fun(Port) -> {ok, 500, _, _} = ws_client:handshake(Port, #{path => "/ws"}) end)
         || Options <- [#{}, #{handler => {bare_handler, []}, port => 8080}, #{handler => {no_such_module, []}}]]
    end).

no_server() ->
    with_cowboy(#{server => no_such_server}, fun(Port) ->
        {ok, 503, Headers, _} = ws_client:handshake(Port, #{path => "/ws"}),
        ?assertEqual(<<"1">>, proplists:get_value(<<"retry-after">>, Headers))
    end).

ends() ->
    with_server(#{}, fun(Server) ->
        {Client, Conn} = with_cowboy(#{server => Server}, fun(Port) ->
            Open = ws(Port),
            %% Of this process, which drops those that it knows.
            erase(ws_client_opened),
            {Open, test_support:opened()}
        end),
        ok = ws_client:text(Client, "[1]"),
        ?assertEqual({json, [1]}, event(Conn)),
        with_cowboy(#{server => Server}, fun(Port) ->
            Drain = spawn_monitor(fun() -> {ok, #{closed := 1}} = sockeye:drain(Server, #{}) end),
            ?assertMatch({close, 1001, _}, ws_client:recv(Client)),
            {ok, 503, _, _} = ws_client:handshake(Port, #{path => "/ws"}),
            ok = ws_client:close(Client, 1001, <<>>),
            receive {'DOWN', _, process, Pid, Why} when Pid =:= element(1, Drain) -> ?assertEqual(normal, Why) end,
            {ok, 503, _, _} = ws_client:handshake(Port, #{path => "/ws"})
        end)
    end).

%% An accepted request whose socket never comes counts for as long as a handshake may take.
left() ->
    with_server(#{max_connections => 1, handshake_timeout => 300}, fun(Server) ->
        Ends = [{{127, 0, 0, 1}, 1}, {{127, 0, 0, 1}, 2}],
        Ask = fun() -> apply(sockeye_adopt, admit, [Server, request("/ws") | Ends]) end,
        {accepted, Place, [_ | _]} = Ask(),
        {refused, 503, _, _} = Ask(),
        true = hostile_client:until(fun() -> {ok, #{rejected := N}} = sockeye:info(Server), N =:= 2 end),
        with_pair(fun(Client, Socket) ->
            ?assertMatch({error, {bad_socket, <<"it comes too late", _/binary>>}}, sockeye_adopt:settle(Place, Socket, <<>>)),
            ok = gen_tcp:send(Client, "on"),
            ?assertEqual({ok, <<"on">>}, gen_tcp:recv(Socket, 2)),
            {accepted, Next, _} = Ask(),
            ok = sockeye_adopt:settle(Next, Socket, ws_client:encode(1, "[1]")),
            Conn = test_support:opened(),
            ?assertEqual({json, [1]}, event(Conn))
        end)
    end).

with_pair(Test) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listener),
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    {ok, Socket} = gen_tcp:accept(Listener),
    try Test(Client, Socket)
    after [gen_tcp:close(S) || S <- [Client, Socket, Listener]]
    end.

%% A clear report, and 500.
tls() ->
    #{server := Config} = test_certs:issue(test_certs:authority("authority"), ["localhost"]),
    with_server(#{}, fun(Server) ->
        test_support:quiet(fun() ->
            with_cowboy(tls, Config, #{server => Server}, fun(Port) ->
                {ok, 500, _, Socket} = ws_client:handshake(Port, #{path => "/ws", tls => [{verify, verify_none}]}),
                ok = ssl:close(Socket)
            end)
        end),
        ?assertError({bad_socket, <<"a TLS socket of ssl", _/binary>>}, sockeye_cowboy:init(#{scheme => <<"https">>}, #{server => Server}))
    end).

http2() ->
    with_both(#{}, fun(Port, _) ->
        {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
        ok = gen_tcp:send(Socket, [h2_frames:hello(), h2_frames:frame(4, 1, 0, []), h2_frames:get(1, <<"/ws">>)]),
        ?assertEqual(501, status(Socket)),
        ok = gen_tcp:close(Socket)
    end).

status(Socket) ->
    case h2_frames:next(Socket) of
        {1, _, 1, _} = Head -> [{1, Status}] = h2_frames:statuses([Head]), Status;
        {_, _, _, _} -> status(Socket)
    end.

descriptors_stay() ->
    case file:list_dir("/proc/self/fd") of
        {ok, _} ->
            with_both(#{}, fun(Port, Server) ->
                Once = fun() ->
                    Client = ws(Port),
                    Conn = test_support:opened(),
                    ok = gen_tcp:close(Client),
                    1006 = closed(Conn)
                end,
                Count = fun() -> {ok, Names} = file:list_dir("/proc/self/fd"), length(Names) end,
                Settled = fun() -> {ok, #{connections := N}} = sockeye:info(Server), N =:= 0 end,
                Once(),
                true = hostile_client:until(Settled),
                Before = Count(),
                [Once() || _ <- lists:seq(1, 30)],
                true = hostile_client:until(fun() -> Count() =< Before orelse {Before, Count()} end)
            end);
        _ ->
            ok
    end.
