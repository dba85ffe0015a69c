%% Clients behind proxies: the PROXY protocol and x-forwarded-for.
-module(sockeye_proxy_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, event/0, event/1]).

-define(TIMEOUT, 60000).
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

%% ---------------------------------------------------------------- the site that a client asks for

%% The request is for "a"; what a proxy says of it counts only if the proxy is trusted.
same_host_test_() ->
    Trusted = [{"", ["http://a", "https://a", "http://a:80", "https://a:443"], ["http://b", "http://a:8080", "null"]},
               {"X-Forwarded-Host: b\r\n", ["http://b", "https://b", "https://b:443"], ["http://a", "https://b:8443"]},
               {"X-Forwarded-Host: b:8443\r\n", ["https://b:8443", "http://b:8443"], ["https://b", "https://a:8443"]},
               {"X-Forwarded-Host: b:443\r\n", ["https://b"], ["http://b"]},
               {"X-Forwarded-Host: B.Example\r\n", ["http://b.example"], []},
               {"X-Forwarded-Host: [0:0::1]:8443\r\n", ["https://[::1]:8443"], ["https://[::1]"]},
               %% The last one is that of the nearest proxy.
               {"X-Forwarded-Host: evil, b\r\n", ["http://b"], ["http://evil", "http://a"]},
               {"X-Forwarded-Host: evil\r\nX-Forwarded-Host: b\r\n", ["http://b"], ["http://evil", "http://a"]},
               {"X-Forwarded-Host: b,\r\n", ["http://b"], ["http://a"]},
               {"X-Forwarded-Host: \r\n", ["http://a"], ["http://b"]},
               {"X-Forwarded-Host: b/c\r\n", [], ["http://a", "http://b"]},
               {"X-Forwarded-Proto: https\r\n", ["https://a", "https://a:443"], ["http://a"]},
               {"X-Forwarded-Proto: HTTPS\r\n", ["https://a"], ["http://a"]},
               {"X-Forwarded-Proto: wss\r\n", ["https://a"], ["http://a"]},
               {"X-Forwarded-Proto: http\r\n", ["http://a", "http://a:80"], ["https://a"]},
               {"X-Forwarded-Proto: ws\r\n", ["http://a"], ["https://a"]},
               {"X-Forwarded-Proto: http, https\r\n", ["https://a"], ["http://a"]},
               {"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", ["http://a"], ["https://a"]},
               {"X-Forwarded-Proto: \r\n", ["http://a", "https://a"], []},
               {"X-Forwarded-Proto: gopher\r\n", ["http://a", "https://a"], ["http://b"]},
               {"X-Forwarded-Host: b:443\r\nX-Forwarded-Proto: https\r\n", ["https://b"], ["http://b", "https://a", "http://b:443"]},
               {"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: b\r\n", ["http://b"], ["http://a"]}],
    Ignored = [{Lines, ["http://a", "https://a"], ["http://b", "https://b", "https://b:8443", "http://evil"]}
               || {Lines, _, _} <- Trusted],
    [{lists:flatten(io_lib:format("~p ~p", [Options, Way])),
      {timeout, 60, fun() ->
          All = #{origins => [same_host], http2 => cleartext, http => #{"/first" => {text, "first"}}},
          with_server(maps:merge(All, Options), fun(Port, _) ->
              [?assertEqual({Lines, Origin, Expected}, {Lines, Origin, status(Way, Port, [Lines, "Origin: ", Origin, "\r\n"])})
               || {Lines, Good, Bad} <- Table, {Expected, Origins} <- [{accepted, Good}, {403, Bad}], Origin <- Origins]
          end)
      end}}
     || {Options, Table} <- [{#{trusted_proxies => ?HERE}, Trusted}, {#{}, Ignored},
                             {#{trusted_proxies => ["10.0.0.0/8"]}, Ignored}],
        Way <- [first, second, http2]].

status(first, Port, Lines) ->
    {Socket, Answer} = talk(Port, [[?UPGRADE, Lines, "\r\n"]]),
    ok = gen_tcp:close(Socket),
    of_http1(Answer);
status(second, Port, Lines) ->
    Socket = http_client:connect(Port),
    {200, _, <<"first">>} = http_client:ask(Socket, "GET", "/first"),
    ok = gen_tcp:send(Socket, [?UPGRADE, Lines, "\r\n"]),
    Answer = gen_tcp:recv(Socket, 0, ?TIMEOUT),
    ok = gen_tcp:close(Socket),
    of_http1(Answer);
status(http2, Port, Lines) ->
    Socket = hostile_client:connect(Port),
    ok = h2_frames:shake(Socket),
    Fields = [{string:lowercase(Name), Value}
              || Line <- binary:split(iolist_to_binary(Lines), <<"\r\n">>, [global, trim]),
                 [Name, Value] <- [binary:split(Line, <<": ">>)]],
    ok = gen_tcp:send(Socket, h2_frames:headers(1, h2_frames:block(h2_frames:connect_fields() ++ Fields))),
    Status = of_http2(Socket),
    ok = gen_tcp:close(Socket),
    Status.

of_http1({ok, <<"HTTP/1.1 101 ", _/binary>>}) -> accepted;
of_http1({ok, <<"HTTP/1.1 ", Status:3/binary, _/binary>>}) -> binary_to_integer(Status).

of_http2(Socket) ->
    case h2_frames:next(Socket) of
        {1, _, 1, _} = Frame ->
            case h2_frames:statuses([Frame]) of
                [{1, 200}] -> accepted;
                [{1, Status}] -> Status
            end;
        {3, _, 1, <<Code:32>>} -> {reset, Code};
        {_, _, _, _} -> of_http2(Socket)
    end.

%% Who comes with a PROXY header is a client, whose headers are its own.
same_host_behind_a_header_test() ->
    Options = #{proxy_protocol => true, trusted_proxies => ?HERE, origins => [same_host]},
    with_server(Options, fun(Port, _) ->
        [begin
             {Socket, Answer} = talk(Port, [[v1(), ?UPGRADE "X-Forwarded-Host: b\r\nOrigin: ", Origin, "\r\n\r\n"]]),
             ?assertEqual({Origin, Expected}, {Origin, of_http1(Answer)}),
             ok = gen_tcp:close(Socket)
         end || {Origin, Expected} <- [{"http://a", accepted}, {"http://b", 403}]]
    end).

%% With TLS of our own the scheme is known; that of a proxy on its way to us says nothing.
same_host_over_tls_test() ->
    {ok, _} = application:ensure_all_started(ssl),
    [with_server(#{tls => test_certs:localhost(), trusted_proxies => Proxies, origins => [same_host]}, fun(Port, _) ->
         [begin
              Asked = #{tls => [{verify, verify_none}], headers => [{"Origin", Origin} | Headers]},
              {ok, Status, _, Socket} = ws_client:handshake(Port, Asked),
              ?assertEqual({Proxies, Origin, Headers, Expected}, {Proxies, Origin, Headers, Status}),
              ok = ssl:close(Socket)
          end || {Origin, Headers, Expected} <- Cases]
     end) || {Proxies, Cases} <-
                 [{[], [{"https://localhost", [], 101}, {"http://localhost", [], 403}, {"https://other", [], 403},
                        {"https://localhost", [{"X-Forwarded-Proto", "http"}], 101}]},
                  {?HERE, [{"https://localhost", [], 101}, {"http://localhost", [], 101},
                           {"http://localhost", [{"X-Forwarded-Proto", "http"}], 101},
                           {"https://localhost", [{"X-Forwarded-Proto", "http"}], 403}]}]],
    ok.
