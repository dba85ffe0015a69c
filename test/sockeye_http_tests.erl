%% Ordinary requests on the port of a server.
-module(sockeye_http_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-export([page/1]).

-import(http_client, [connect/1, get/2, request/4, request/5, ask/3, ask/5, answer/2, header/2, status/1]).
-import(web_files, [with_files/1, with_dir/2, large/0]).
-import(test_support, [with_server/2, quiet/1, event/0]).

-define(TIMEOUT, 60000).
-define(UPGRADE, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n").

%% ---------------------------------------------------------------- routes

routes_test() ->
    with_files(fun(Dir) ->
        Http = #{<<"/">> => {file, filename:join(Dir, "index.html")},
                 "/static" => {dir, Dir},
                 "/text" => {text, ["he", <<"llo">>]},
                 "/data.json" => {text, "{}"},
                 "/fun" => fun(#{method := M}) -> {201, [{"X-Method", M}], ["made ", M]} end,
                 "/mf" => {?MODULE, page},
                 "/api/*" => fun(#{path := Path}) -> {200, [], Path} end},
        with_server(#{http => Http}, fun(Port, Server) ->
            Index = get(Port, "/"),
            ?assertMatch({200, _, <<"<p>index">>}, Index),
            ?assertEqual(<<"text/html; charset=utf-8">>, header(<<"content-type">>, Index)),
            ?assertEqual(<<"nosniff">>, header(<<"x-content-type-options">>, Index)),
            ?assertMatch({200, _, <<"run()">>}, get(Port, "/static/app.js")),
            ?assertMatch({200, _, <<"<p>index">>}, get(Port, "/static/")),
            ?assertMatch({200, _, <<"hello">>}, get(Port, "/text?x=y")),
            ?assertEqual(<<"application/json">>, header(<<"content-type">>, get(Port, "/data.json"))),
            Made = get(Port, "/fun"),
            ?assertMatch({201, _, <<"made GET">>}, Made),
            ?assertEqual(<<"GET">>, header(<<"x-method">>, Made)),
            ?assertMatch({202, _, <<"page">>}, get(Port, "/mf")),
            ?assertMatch({200, _, <<"/api/a/b">>}, get(Port, "/api/a/b")),
            [?assertMatch({P, {404, _, _}}, {P, get(Port, P)})
             || P <- ["/none", "/fun/", "/textx", "/static/none", "/api/", "/Text"]],
            %% And connections as before.
            Socket = ws_client:connect(Port),
            ok = ws_client:text(Socket, "1"),
            {Conn, {open, _}} = event(),
            ?assertEqual({Conn, {json, 1}}, event()),
            ?assertMatch({ok, #{requests := 14, accepted := 1, rejected := 0}}, sockeye:info(Server))
        end)
    end).

page(_Request) -> {202, [], <<"page">>}.

methods_test() ->
    with_files(fun(Dir) ->
        Http = #{"/text" => {text, "hello"}, "/dir" => {dir, Dir},
                 "/fun" => fun(#{method := M}) -> {200, [], M} end},
        with_server(#{http => Http, health => "/health"}, fun(Port, _) ->
            [begin
                 Head = request(Port, "HEAD", Path, []),
                 ?assertMatch({200, _, <<>>}, Head),
                 ?assertEqual(Length, header(<<"content-length">>, Head)),
                 Options = request(Port, "OPTIONS", Path, []),
                 ?assertEqual({204, <<"GET, HEAD, OPTIONS">>}, {status(Options), header(<<"allow">>, Options)}),
                 [begin
                      Refused = request(Port, Method, Path, []),
                      ?assertEqual({405, <<"GET, HEAD, OPTIONS">>}, {status(Refused), header(<<"allow">>, Refused)})
                  end || Method <- ["POST", "PUT", "DELETE", "TRACE", "BREW"]]
             end || {Path, Length} <- [{"/text", <<"5">>}, {"/dir/ten.txt", <<"10">>}, {"/health", <<"3">>}]],
            [?assertMatch({200, _, Method}, request(Port, binary_to_list(Method), "/fun", []))
             || Method <- [<<"GET">>, <<"POST">>, <<"DELETE">>, <<"OPTIONS">>, <<"BREW">>]],
            ?assertMatch({200, _, <<>>}, request(Port, "HEAD", "/fun", [])),
            ?assertMatch({204, _, <<>>}, request(Port, "OPTIONS", "*", []))
        end)
    end).

%% What is a path of connections only says how to get one.
upgrade_required_test() ->
    with_server(#{paths => ["/ws"], health => "/health"}, fun(Port, _) ->
        Answer = get(Port, "/ws"),
        ?assertEqual({426, <<"websocket">>}, {status(Answer), header(<<"upgrade">>, Answer)}),
        Post = request(Port, "POST", "/ws", []),
        ?assertEqual({405, <<"GET">>}, {status(Post), header(<<"allow">>, Post)}),
        ?assertEqual(404, status(get(Port, "/other"))),
        {ok, 404, _, _} = ws_client:handshake(Port, #{path => "/health"}),
        {ok, 101, _, _} = ws_client:handshake(Port, #{path => "/ws"})
    end).

without_routes_test() ->
    with_server(#{}, fun(Port, _) -> ?assertEqual(426, status(get(Port, "/"))) end).

%% ---------------------------------------------------------------- functions

request_map_test() ->
    Self = self(),
    Fun = fun(Request) -> Self ! {request, Request}, {200, [{"Set-Cookie", "a"}, {"Set-Cookie", "b"}], "ok"} end,
    with_server(#{http => #{"/f" => Fun}}, fun(Port, _) ->
        Answer = request(Port, "POST", "/f?q", [{"X-A", "1"}, {"X-A", "2"}], <<"body", 0, 255>>),
        {200, Headers, <<"ok">>} = Answer,
        ?assertEqual([<<"a">>, <<"b">>], proplists:get_all_values(<<"set-cookie">>, Headers)),
        receive
            {request, Request} ->
                ?assertMatch(#{method := <<"POST">>, path := <<"/f">>, query := <<"q">>, tls := undefined,
                               body := <<"body", 0, 255>>, http_version := {1, 1},
                               peer := {{127, 0, 0, 1}, _}}, Request),
                #{headers := Sent} = Request,
                ?assertEqual([<<"1">>, <<"2">>], proplists:get_all_values(<<"x-a">>, Sent))
        after ?TIMEOUT -> error(not_asked)
        end
    end).

body_size_test() ->
    Fun = fun(#{body := Body}) -> {200, [], integer_to_list(byte_size(Body))} end,
    with_server(#{http => #{"/" => Fun}, max_body_size => 1000}, fun(Port, _) ->
        Post = fun(Size) -> request(Port, "POST", "/", [], binary:copy(<<"x">>, Size)) end,
        ?assertMatch({200, _, <<"999">>}, Post(999)),
        ?assertMatch({200, _, <<"1000">>}, Post(1000)),
        ?assertMatch({413, _, _}, Post(1001)),
        ?assertMatch({413, _, _}, Post(1000000)),
        %% Of a body in chunks the length is not known before.
        Chunked = fun(Size) ->
            Socket = connect(Port),
            Chunk = [integer_to_list(Size, 16), "\r\n", lists:duplicate(Size, $x), "\r\n0\r\n\r\n"],
            ok = gen_tcp:send(Socket, ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Chunk]),
            status(answer(Socket, "POST"))
        end,
        ?assertEqual([200, 200, 413], [Chunked(N) || N <- [999, 1000, 1001]])
    end).

%% All bodies together: of three clients, two have sent theirs to the end, and their function has not answered; the third one's is
%% a byte less than there is room for, as much, and one more. What was answered, or has left, makes room.
bodies_size_test_() ->
    [{lists:concat([Third]), fun() ->
        Self = self(),
        Fun = fun(#{body := Body}) -> Self ! {asked, self()}, receive go_on -> {200, [], integer_to_list(byte_size(Body))} end end,
        Options = #{http => #{"/" => Fun}, max_body_size => 1000, max_bodies_size => 2500, accept_timeout => 30000},
        with_server(Options, fun(Port, _) ->
            Post = fun(Size) ->
                Socket = connect(Port),
                ok = gen_tcp:send(Socket, ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ", integer_to_list(Size), "\r\n\r\n",
                                           binary:copy(<<"x">>, Size)]),
                Socket
            end,
            Asked = fun() -> receive {asked, Pid} -> Pid after ?TIMEOUT -> error(not_asked) end end,
            Before = [begin Socket = Post(1000), {Socket, Asked()} end || _ <- [1, 2]],
            Socket = Post(Third),
            case Third =< 500 of
                true ->
                    Asked() ! go_on,
                    ?assertEqual(200, status(answer(Socket, "POST")));
                false ->
                    {503, Headers, _} = answer(Socket, "POST"),
                    ?assertEqual(<<"1">>, proplists:get_value(<<"retry-after">>, Headers))
            end,
            [begin Pid ! go_on, ?assertEqual(200, status(answer(S, "POST"))) end || {S, Pid} <- Before],
            Last = Post(1000),
            Asked() ! go_on,
            ?assertEqual(200, status(answer(Last, "POST")))
        end)
    end} || Third <- [499, 500, 501]].

%% One that is as large as one may be has room, however little there is for all.
one_body_has_room_test() ->
    Fun = fun(#{body := Body}) -> {200, [], integer_to_list(byte_size(Body))} end,
    with_server(#{http => #{"/" => Fun}, max_body_size => 1000, max_bodies_size => 1}, fun(Port, _) ->
        ?assertMatch({200, _, <<"1000">>}, request(Port, "POST", "/", [], binary:copy(<<"x">>, 1000)))
    end).

failures_test_() ->
    [{Title, fun() ->
        with_server(#{http => #{"/" => Fun}}, fun(Port, _) ->
            quiet(fun() ->
                Socket = connect(Port),
                ?assertMatch({500, _, _}, ask(Socket, "GET", "/")),
                %% The connection and the server go on.
                ?assertMatch({500, _, _}, ask(Socket, "GET", "/"))
            end)
        end)
      end}
     || {Title, Fun} <- [{"crash", fun(_) -> error(oops) end}, {"exit", fun(_) -> exit(oops) end},
                         {"throw", fun(_) -> throw(oops) end}, {"no answer", fun(_) -> ok end},
                         {"accept", fun(_) -> {accept, #{}} end},
                         {"a status that is none", fun(_) -> {99, [], ""} end},
                         {"a split header", fun(_) -> {200, [{"a", "b\r\nc: d"}], ""} end},
                         {"a header of the framing", fun(_) -> {200, [{"Transfer-Encoding", "chunked"}], ""} end}]].

too_slow_test() ->
    with_server(#{http => #{"/" => fun(_) -> timer:sleep(infinity) end}, accept_timeout => 100}, fun(Port, _) ->
        quiet(fun() -> ?assertEqual(503, status(get(Port, "/"))) end)
    end).

%% ---------------------------------------------------------------- connections that stay

keep_alive_test() ->
    with_server(#{http => #{"/" => {text, "hello"}}}, fun(Port, Server) ->
        Socket = connect(Port),
        [?assertMatch({200, _, <<"hello">>}, ask(Socket, "GET", "/")) || _ <- lists:seq(1, 5)],
        ?assertMatch({404, _, _}, ask(Socket, "GET", "/none")),
        %% Two at once come back in order.
        Get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ok = gen_tcp:send(Socket, [Get, Get]),
        [?assertMatch({200, _, <<"hello">>}, answer(Socket, "GET")) || _ <- [1, 2]],
        ?assertMatch({ok, #{requests := 8, connections := 0}}, sockeye:info(Server)),
        Last = ask(Socket, "GET", "/", [{"Connection", "close"}], <<>>),
        ?assertMatch({200, _, <<"hello">>}, Last),
        ?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, ?TIMEOUT))
    end).

old_version_test() ->
    with_server(#{http => #{"/" => {text, "hello"}}}, fun(Port, _) ->
        Socket = connect(Port),
        ok = gen_tcp:send(Socket, "GET / HTTP/1.0\r\n\r\n"),
        {ok, Bytes} = gen_tcp:recv(Socket, 0, ?TIMEOUT),
        ?assertMatch(<<"HTTP/1.0 200 OK\r\n", _/binary>>, Bytes),
        ?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, ?TIMEOUT))
    end).

%% A WebSocket on a connection that has served other requests; bytes that came
%% with the handshake are not lost.
upgrade_after_requests_test() ->
    Accept = fun(#{path := <<"/no">>}) -> {reject, 403, [], "no"};
                (_) -> {accept, #{state => 7, subprotocol => <<"b">>, headers => [{"X-Extra", "1"}]}}
             end,
    with_server(#{http => #{"/" => {text, "hello"}}, accept => Accept, format => raw}, fun(Port, Server) ->
        Socket = connect(Port),
        {200, _, _} = ask(Socket, "GET", "/"),
        ok = gen_tcp:send(Socket, ["GET /ws?q HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: a, b\r\n" ?UPGRADE "\r\n",
                                   ws_client:encode(1, <<"early">>)]),
        Answer = answer(Socket, "GET"),
        ?assertEqual(101, status(Answer)),
        ?assertEqual(<<"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=">>, header(<<"sec-websocket-accept">>, Answer)),
        ?assertEqual(<<"b">>, header(<<"sec-websocket-protocol">>, Answer)),
        ?assertEqual(<<"1">>, header(<<"x-extra">>, Answer)),
        {Conn, {open, Info}} = event(),
        ?assertMatch(#{state := 7, path := <<"/ws">>, query := <<"q">>, subprotocol := <<"b">>}, Info),
        ?assertEqual({Conn, {text, <<"early">>}}, event()),
        ok = sockeye:send(Conn, {text, "late"}),
        ?assertEqual({text, <<"late">>}, ws_client:recv(Socket)),
        ?assertMatch({ok, #{connections := 1}}, sockeye:info(Server)),
        Other = connect(Port),
        {200, _, _} = ask(Other, "GET", "/"),
        ok = gen_tcp:send(Other, "GET /no HTTP/1.1\r\nHost: a\r\n" ?UPGRADE "\r\n"),
        ?assertMatch({403, _, <<"no">>}, answer(Other, "GET"))
    end).

idle_test() ->
    with_server(#{http => #{"/" => {text, "hello"}}, handshake_timeout => 200}, fun(Port, _) ->
        Socket = connect(Port),
        {200, _, _} = ask(Socket, "GET", "/"),
        %% Nothing more comes; half a head does not help either.
        ok = gen_tcp:send(Socket, "GET / HT"),
        closed(Socket)
    end).

closed(Socket) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, _} -> closed(Socket);
        {error, Reason} -> ?assertEqual(closed, Reason)
    end.

%% Later heads are read as strictly as the first: see sockeye_http_rules_tests.
smuggling_test_() ->
    [{Title, fun() ->
        with_server(#{http => #{"/" => {text, "hello"}}}, fun(Port, _) ->
            Socket = connect(Port),
            {200, _, _} = ask(Socket, "GET", "/"),
            ok = gen_tcp:send(Socket, ["POST / HTTP/1.1\r\n", Lines, "\r\n"]),
            ?assertEqual(400, status(answer(Socket, "POST")))
        end)
      end}
     || {Title, Lines} <- [{"two lengths", "Host: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n"},
                           {"two hosts", "Host: a\r\nHost: b\r\n"},
                           {"no host", "X: a\r\n"},
                           {"a space before the colon", "Host : a\r\n"}]].

%% A client that does not read its answer is given up, and the server stops at once.
stuck_reader_test() ->
    with_dir(#{send_timeout => 200, max_connections => 1}, fun(Port, _) ->
        {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {recbuf, 4096}]),
        Get = "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n",
        ok = gen_tcp:send(Socket, lists:duplicate(100, Get)),
        %% Its place is free again without a word from it.
        hostile_client:until(fun() ->
            Status = status(get(Port, "/ten.txt")),
            Status =:= 200 orelse Status
        end),
        ok = gen_tcp:close(Socket)
    end).

stop_test() ->
    {ok, Server} = sockeye:start_link(#{port => 0, http => #{"/" => {text, "hello"}}}),
    Socket = connect(test_support:port(Server)),
    {200, _, _} = ask(Socket, "GET", "/"),
    ok = sockeye:stop(Server),
    ?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, ?TIMEOUT)).

%% A body that trickles in does not hold its place for ever.
slow_body_test() ->
    with_server(#{http => #{"/" => fun(_) -> {200, [], ""} end}, handshake_timeout => 300}, fun(Port, _) ->
        Socket = connect(Port),
        ok = gen_tcp:send(Socket, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nabc"),
        ?assertEqual(408, status(answer(Socket, "POST"))),
        closed(Socket)
    end).

%% An obsolete client is told so, whatever else is answered here.
obsolete_client_test() ->
    with_server(#{http => #{"/" => {text, "hello"}}}, fun(Port, _) ->
        Socket = connect(Port),
        {200, _, _} = ask(Socket, "GET", "/"),
        ok = gen_tcp:send(Socket, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n"),
        Answer = {426, _, Body} = answer(Socket, "GET"),
        ?assertEqual(<<"13">>, header(<<"sec-websocket-version">>, Answer)),
        ?assertNotEqual(nomatch, binary:match(Body, <<"RFC 6455">>))
    end).

%% Requests of several clients on one connection of a proxy: each counts for itself.
behind_a_proxy_test() ->
    Peer = fun(#{peer := {Address, _}}) -> {200, [], inet:ntoa(Address)} end,
    Options = #{http => #{"/" => Peer}, trusted_proxies => [<<"127.0.0.1">>], max_connections_per_address => 1},
    with_server(Options, fun(Port, _) ->
        Upgrade = fun(Client) ->
            Socket = connect(Port),
            [?assertMatch({200, _, Other}, ask(Socket, "GET", "/", [{"X-Forwarded-For", Other}], <<>>))
             || Other <- [<<"192.0.2.1">>, <<"192.0.2.2">>]],
            ok = gen_tcp:send(Socket, ["GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: ", Client, "\r\n" ?UPGRADE "\r\n"]),
            {status(answer(Socket, "GET")), Socket}
        end,
        {101, First} = Upgrade("192.0.2.7"),
        {Conn, {open, #{peer := {{192, 0, 2, 7}, _}}}} = event(),
        {429, _} = Upgrade("192.0.2.7"),
        {101, _} = Upgrade("192.0.2.8"),
        {_, {open, _}} = event(),
        ok = ws_client:drop(First),
        ?assertMatch({Conn, {closed, _, _}}, event()),
        {101, _} = Upgrade("192.0.2.7")
    end).

%% ---------------------------------------------------------------- other transports

https_test_() ->
    {timeout, 60, fun() ->
        {ok, Ssl} = application:ensure_all_started(ssl),
        {ok, Inets} = application:ensure_all_started(inets),
        Started = Ssl ++ Inets,
        try https()
        after [application:stop(App) || App <- lists:reverse(Started)]
        end
    end}.

https() ->
    Facts = fun(#{tls := #{version := Version}}) -> {200, [], atom_to_binary(Version)} end,
    Client = [{verify, verify_none}, {active, false}, binary, {versions, ['tlsv1.3']}],
    with_files(fun(Dir) ->
        Options = #{http => #{"/" => {dir, Dir}, "/tls" => Facts}, tls => test_certs:localhost(), format => raw},
        with_server(Options, fun(Port, _) ->
            Get = fun(Path) ->
                Url = lists:flatten(io_lib:format("https://localhost:~b~s", [Port, Path])),
                {ok, {{_, Status, _}, _, Body}} =
                    httpc:request(get, {Url, []}, [{ssl, Client -- [binary, {active, false}]}],
                                  [{body_format, binary}]),
                {Status, Body}
            end,
            Large = large(),
            ?assertEqual({200, <<"<p>index">>}, Get("/")),
            ?assertEqual({200, Large}, Get("/large.bin")),
            ?assertMatch({404, _}, Get("/none")),
            ?assertEqual({200, <<"tlsv1.3">>}, Get("/tls")),
            %% A request and then a handshake, both over TLS.
            {ok, Socket} = ssl:connect("localhost", Port, Client, ?TIMEOUT),
            ok = ssl:send(Socket, "GET /sub/ HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            ?assertNotEqual(nomatch, binary:match(until(Socket, <<"<p>sub">>), <<"200 OK">>)),
            ok = ssl:send(Socket, "GET /ws HTTP/1.1\r\nHost: localhost\r\n" ?UPGRADE "\r\n"),
            ?assertMatch(<<"HTTP/1.1 101 ", _/binary>>, until(Socket, <<"\r\n\r\n">>)),
            {Conn, {open, Info}} = event(),
            ?assertMatch(#{tls := #{version := 'tlsv1.3'}, path := <<"/ws">>}, Info),
            ok = ssl:send(Socket, ws_client:encode(1, <<"hi">>)),
            ?assertEqual({Conn, {text, <<"hi">>}}, event()),
            ok = ssl:close(Socket)
        end)
    end).

until(Socket, End) -> until(Socket, End, <<>>).

until(Socket, End, Acc) ->
    case binary:match(Acc, End) of
        nomatch -> {ok, More} = ssl:recv(Socket, 0, ?TIMEOUT), until(Socket, End, <<Acc/binary, More/binary>>);
        _ -> Acc
    end.

unix_socket_test() ->
    Name = <<0, "sockeye_http_", (integer_to_binary(erlang:unique_integer([positive])))/binary>>,
    Peer = fun(#{peer := {local, _}, local := {local, Local}}) -> {200, [], Local} end,
    Options = #{ip => {local, Name}, port => 0, http => #{"/" => Peer}, max_connections_per_address => 1},
    {ok, Server} = sockeye:start_link(Options),
    Connect = fun() ->
        {ok, Socket} = gen_tcp:connect({local, Name}, 0, [binary, {active, false}]),
        Socket
    end,
    %% Who has no address is in no crowd.
    Sockets = [Connect() || _ <- [1, 2, 3]],
    [?assertMatch({200, _, Name}, ask(Socket, "GET", "/")) || Socket <- Sockets],
    ok = sockeye:stop(Server).

%% ---------------------------------------------------------------- health and metrics

health_and_metrics_test() ->
    with_server(#{health => "/health", metrics => <<"/metrics">>}, fun(Port, _) ->
        ?assertMatch({200, _, <<"ok\n">>}, get(Port, "/health")),
        _ = test_support:open(Port),
        Answer = get(Port, "/metrics"),
        ?assertEqual(<<"text/plain; version=0.0.4; charset=utf-8">>, header(<<"content-type">>, Answer)),
        Lines = binary:split(element(3, Answer), <<"\n">>, [global, trim]),
        ?assert(lists:member(<<"sockeye_connections 1">>, Lines)),
        ?assert(lists:member(<<"sockeye_http_requests_total 2">>, Lines)),
        ?assert(lists:member(<<"# TYPE sockeye_frames_received_total counter">>, Lines)),
        %% Each value has its HELP and TYPE before it.
        ?assertEqual([], untold(Lines))
    end).

untold([<<"# HELP ", Help/binary>>, <<"# TYPE ", Type/binary>>, Value | Rest]) ->
    [Name, _] = binary:split(Help, <<" ">>),
    Size = byte_size(Name),
    ?assertMatch({<<Name:Size/binary, " ", _/binary>>, <<Name:Size/binary, _/binary>>}, {Type, Value}),
    untold(lists:dropwhile(fun(Line) -> binary:longest_common_prefix([Line, Name]) =:= Size end, Rest));
untold(Rest) ->
    Rest.

%% A server that drains takes no new socket, but says so on those that are there.
draining_test() ->
    {ok, Server} = sockeye:start_link(#{port => 0, health => "/health", http => #{"/" => {text, "hello"}}}),
    Port = test_support:port(Server),
    {Client, _} = test_support:open(Port),
    [First, Second, Third] = Sockets = [connect(Port) || _ <- [1, 2, 3]],
    [?assertMatch({200, _, _}, ask(Socket, "GET", "/health")) || Socket <- Sockets],
    Self = self(),
    _ = spawn_link(fun() -> Self ! {drained, sockeye:drain(Server, #{deadline => 10000})} end),
    %% Not answered yet: the server waits.
    ?assertMatch({close, 1001, _}, ws_client:recv(Client)),
    Health = ask(First, "GET", "/health"),
    ?assertMatch({503, _, <<"draining\n">>}, Health),
    ?assertEqual(<<"close">>, header(<<"connection">>, Health)),
    ?assertEqual({error, closed}, gen_tcp:recv(First, 0, ?TIMEOUT)),
    ?assertMatch({200, _, <<"hello">>}, ask(Second, "GET", "/")),
    ok = gen_tcp:send(Third, "GET / HTTP/1.1\r\nHost: a\r\n" ?UPGRADE "\r\n"),
    ?assertMatch({503, _, _}, answer(Third, "GET")),
    ok = ws_client:close(Client, 1001, <<>>),
    receive {drained, Result} -> ?assertMatch({ok, _}, Result) after ?TIMEOUT -> error(not_drained) end,
    ws_client:drop_all(),
    test_support:flush().

memory_test() ->
    with_server(#{metrics => "/metrics"}, fun(Port, _) ->
        {200, _, Text} = get(Port, "/metrics"),
        {match, [Bytes]} = re:run(Text, "^sockeye_memory_bytes (\\d+)$", [multiline, {capture, [1], list}]),
        ?assert(list_to_integer(Bytes) > 100000)
    end).

%% ---------------------------------------------------------------- options

bad_options_test_() ->
    [?_assertMatch({error, {bad_option, Key, _}}, sockeye:start_link(#{port => 0, Key => Value}))
     || {Key, Values} <-
            [{http, [[], #{"none" => {text, "x"}}, #{1 => {text, "x"}}, #{"/" => text}, #{"/" => {text, x}},
                     #{"/" => {file, "/no/such/file"}}, #{"/" => {file, 1}}, #{"/" => {dir, "/no/such"}},
                     #{"/" => {dir, "/etc/passwd"}}, #{"/" => {no_such_module, page}}, #{"/" => {lists, no}},
                     #{"/" => fun() -> ok end}, #{"/" => {text, "a"}, <<"/">> => {text, "b"}}]},
             {health, ["health", 1, ""]},
             {metrics, ["metrics", x]},
             {max_body_size, [0, infinity]}],
        Value <- Values].

twice_test() ->
    ?assertMatch({error, {bad_option, http, _}},
                 sockeye:start_link(#{port => 0, http => #{"/h" => {text, ""}}, health => "/h"})).
