%% Clients behind proxies: the PROXY protocol and x-forwarded-for.
-module(sockeye_proxy_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(sockeye_test, [with_server/2, event/0, event/1]).

-define(TIMEOUT, 10000).
-define(HERE, ["127.0.0.1"]).
-define(UPGRADE, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n").

%% Sends bytes, one piece at a time, and waits for the first byte of an answer.
talk(Port, Pieces) ->
    {ok, Socket} = gen_tcp:connect("localhost", Port, [inet, binary, {active, false}, {nodelay, true}]),
    [ok = gen_tcp:send(Socket, Piece) || Piece <- Pieces],
    {Socket, gen_tcp:recv(Socket, 0, ?TIMEOUT)}.

opened(Port, Pieces) ->
    {Socket, {ok, <<"HTTP/1.1 101 ", _/binary>>}} = talk(Port, Pieces),
    {Conn, {open, Info}} = event(),
    {Socket, Conn, Info}.

v1() -> <<"PROXY TCP4 192.0.2.7 198.51.100.9 1234 443\r\n">>.

v2(Extra) ->
    Block = <<192, 0, 2, 7, 198, 51, 100, 9, 1234:16, 443:16, Extra/binary>>,
    <<"\r\n\r\n", 0, "\r\nQUIT\n", 16#21, 16#11, (byte_size(Block)):16, Block/binary>>.

headers_test_() ->
    [{timeout, 30, fun() -> header(Bytes) end} || Bytes <- [v1(), v2(<<>>), v2(<<4, 0, 1, 0>>)]].

header(Bytes) ->
    with_server(#{proxy_protocol => true, trusted_proxies => ?HERE}, fun(Port, _) ->
        Pieces = [[Bytes, ?UPGRADE "\r\n"]],
        {Socket, Conn, Info} = opened(Port, Pieces),
        ?assertMatch(#{peer := {{192, 0, 2, 7}, 1234}, local := {{198, 51, 100, 9}, 443}}, Info),
        ?assertMatch({ok, #{peer := {{192, 0, 2, 7}, 1234}}}, sockeye:info(Conn)),
        ok = ws_client:text(Socket, "[1]"),
        ?assertEqual({json, [1]}, event(Conn)),
        %% A byte at a time.
        {_, _, Slow} = opened(Port, [<<Byte>> || <<Byte>> <= Bytes] ++ [?UPGRADE "\r\n"]),
        ?assertMatch(#{peer := {{192, 0, 2, 7}, 1234}}, Slow)
    end).

%% A proxy that asks whether we live.
local_test() ->
    with_server(#{proxy_protocol => true, trusted_proxies => ?HERE}, fun(Port, _) ->
        Local = <<"\r\n\r\n", 0, "\r\nQUIT\n", 16#20, 0, 0:16>>,
        [begin
             {Socket, _, #{peer := Peer}} = opened(Port, [[Bytes, ?UPGRADE "\r\n"]]),
             ?assertEqual(inet:sockname(Socket), {ok, Peer})
         end || Bytes <- [Local, "PROXY UNKNOWN\r\n"]]
    end).

dropped(Options, Pieces) ->
    with_server(Options#{proxy_protocol => true}, fun(Port, Server) ->
        {_, Answer} = talk(Port, Pieces),
        ?assertMatch({error, _}, Answer),
        ?assertMatch({ok, #{accepted := 0}}, sockeye:info(Server))
    end).

strangers_are_dropped_test() ->
    dropped(#{trusted_proxies => ["10.0.0.0/8"]}, [[v1(), ?UPGRADE "\r\n"]]).

without_a_header_test() ->
    dropped(#{trusted_proxies => ?HERE}, [?UPGRADE "\r\n"]),
    dropped(#{trusted_proxies => ?HERE}, ["PROXY TCP4 1.2.3.4\r\n" ?UPGRADE "\r\n"]).

silence_has_its_deadline_test() ->
    dropped(#{trusted_proxies => ?HERE, handshake_timeout => 100}, ["PROXY "]).

tls_behind_a_header_test() ->
    {ok, _} = application:ensure_all_started(ssl),
    Authority = test_certs:authority("authority"),
    #{server := Server} = test_certs:issue(Authority, ["localhost"]),
    Tls = #{cert => test_certs:pem(test_certs:der(Server)), key => test_certs:key_pem(Server)},
    with_server(#{tls => Tls, proxy_protocol => true, trusted_proxies => ?HERE}, fun(Port, _) ->
        {ok, Plain} = gen_tcp:connect("localhost", Port, [inet, binary, {active, false}]),
        ok = gen_tcp:send(Plain, v1()),
        {ok, Socket} = ssl:connect(Plain, [{verify, verify_none}], ?TIMEOUT),
        ok = ssl:send(Socket, ?UPGRADE "\r\n"),
        {_, {open, Info}} = event(),
        ?assertMatch(#{peer := {{192, 0, 2, 7}, 1234}, tls := #{version := _}}, Info),
        ok = ssl:close(Socket)
    end).

forwarded(Options, Header) ->
    with_server(Options, fun(Port, _) ->
        {Socket, _, #{peer := Peer}} = opened(Port, [[?UPGRADE, Header, "\r\n"]]),
        ok = gen_tcp:close(Socket),
        Peer
    end).

forwarded_test() ->
    Trusted = #{trusted_proxies => ["127.0.0.0/8", "10.0.0.0/8"]},
    ?assertEqual({{192, 0, 2, 7}, 0}, forwarded(Trusted, "X-Forwarded-For: 192.0.2.7\r\n")),
    ?assertEqual({{192, 0, 2, 7}, 0}, forwarded(Trusted, "X-Forwarded-For: 6.6.6.6, 192.0.2.7, 10.1.1.1\r\n")),
    ?assertEqual({{192, 0, 2, 7}, 0},
                 forwarded(Trusted, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.7\r\n")),
    ?assertMatch({{127, 0, 0, 1}, Port} when Port > 0, forwarded(Trusted, "X-Forwarded-For: unknown\r\n")),
    ?assertMatch({{127, 0, 0, 1}, _}, forwarded(Trusted, "")),
    %% Whoever is not trusted can write what it likes.
    ?assertMatch({{127, 0, 0, 1}, _}, forwarded(#{}, "X-Forwarded-For: 192.0.2.7\r\n")),
    ?assertMatch({{127, 0, 0, 1}, _},
                 forwarded(#{trusted_proxies => ["10.0.0.0/8"]}, "X-Forwarded-For: 192.0.2.7\r\n")).

%% Limits of an address are the client's, not the proxy's.
limits_are_the_clients_test() ->
    Options = #{trusted_proxies => ?HERE, max_connections_per_address => 1},
    First = "PROXY TCP4 192.0.2.1 198.51.100.9 1 443\r\n",
    Second = "PROXY TCP4 192.0.2.2 198.51.100.9 1 443\r\n",
    limited(Options#{proxy_protocol => true}, [First, ?UPGRADE "\r\n"], [Second, ?UPGRADE "\r\n"]),
    limited(Options, [?UPGRADE "X-Forwarded-For: 192.0.2.1\r\n\r\n"],
            [?UPGRADE "X-Forwarded-For: 192.0.2.2\r\n\r\n"]).

limited(Options, First, Second) ->
    with_server(Options, fun(Port, _) ->
        {One, _, _} = opened(Port, [First]),
        {Two, _, _} = opened(Port, [Second]),
        {_, {ok, <<"HTTP/1.1 ", Status:3/binary, _/binary>>}} = talk(Port, [First]),
        ?assertEqual(<<"429">>, Status),
        ok = gen_tcp:close(One),
        ok = gen_tcp:close(Two)
    end).

%% The functions that answer see the client too.
forwarded_to_accept_test() ->
    Self = self(),
    Accept = fun(#{peer := Peer}) -> Self ! {asked, Peer}, {reject, 403, [], <<>>} end,
    with_server(#{trusted_proxies => ?HERE, accept => Accept}, fun(Port, _) ->
        {_, {ok, <<"HTTP/1.1 403 ", _/binary>>}} =
            talk(Port, [?UPGRADE "X-Forwarded-For: 192.0.2.7\r\n\r\n"]),
        ?assertEqual({asked, {{192, 0, 2, 7}, 0}}, receive {asked, _} = Asked -> Asked after ?TIMEOUT -> none end)
    end).
