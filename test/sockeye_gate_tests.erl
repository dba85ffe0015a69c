%% Who is let in: accept/2, origins, paths, limits.
-module(sockeye_gate_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(ws_ask, [ask/1, ask/2, status/2, header/2, rest/1]).
-import(test_support, [with_server/2, quiet/1, event/0, flush/0]).

-define(TIMEOUT, 60000).

with_accept(Accept, Test) -> with_accept(Accept, #{}, Test).

with_accept(Accept, Options, Test) ->
    with_server(Options#{accept => Accept}, fun(Port, _) -> Test(Port) end).

%% ---------------------------------------------------------------- accept

request_test() ->
    Self = self(),
    Accept = fun(Request) -> Self ! {request, Request}, {accept, #{}} end,
    with_accept(Accept, fun(Port) ->
        {101, _, Socket} = ask(Port, #{path => "/a%20b?c=d&e",
                                       headers => [{"X-Twice", "1"}, {"x-twice", "2"},
                                                   {"Sec-WebSocket-Protocol", "one, two"}]}),
        {ok, Peer} = inet:sockname(Socket),
        receive
            {request, Request} ->
                ?assertMatch(#{method := <<"GET">>, path := <<"/a%20b">>, query := <<"c=d&e">>,
                               peer := Peer, tls := undefined, http_version := {1, 1},
                               local := {{127, 0, 0, 1}, Port},
                               subprotocols := [<<"one">>, <<"two">>]}, Request),
                ?assertNot(maps:is_key(body, Request)),
                #{headers := Headers} = Request,
                ?assertEqual([<<"1">>, <<"2">>], proplists:get_all_values(<<"x-twice">>, Headers)),
                ?assertEqual([<<"localhost">>], proplists:get_all_values(<<"host">>, Headers))
        after ?TIMEOUT -> error(not_asked)
        end
    end).

accepted_test() ->
    Ref = make_ref(),
    State = #{self => self(), ref => Ref, function => fun() -> ok end, list => [1.5, <<"x">>]},
    Accept = fun(_) -> {accept, #{subprotocol => "two", state => State, active => 1,
                                  headers => [{"X-Extra", ["a", <<"b">>]}, {<<"Set-Cookie">>, "c"}]}}
             end,
    with_accept(Accept, #{subprotocols => ["one"]}, fun(Port) ->
        Headers = [{"Sec-WebSocket-Protocol", "one, two"}],
        {101, _, Socket} = Answer = ask(Port, #{headers => Headers}),
        ?assertEqual(<<"ab">>, header(<<"x-extra">>, Answer)),
        ?assertEqual(<<"c">>, header(<<"set-cookie">>, Answer)),
        ?assertEqual(<<"two">>, header(<<"sec-websocket-protocol">>, Answer)),
        {Conn, {open, Info}} = event(),
        ?assertMatch(#{state := State, subprotocol := <<"two">>}, Info),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({Conn, {json, 1}}, event()),
        ?assertEqual({Conn, passive}, event())
    end).

no_state_no_key_test() ->
    with_accept(fun(_) -> {accept, #{}} end, #{subprotocols => ["one"]}, fun(Port) ->
        Answer = ask(Port, #{headers => [{"Sec-WebSocket-Protocol", "two, one"}]}),
        ?assertEqual(<<"one">>, header(<<"sec-websocket-protocol">>, Answer)),
        {_, {open, Info}} = event(),
        ?assertNot(maps:is_key(state, Info))
    end).

no_subprotocol_test() ->
    with_accept(fun(_) -> {accept, #{subprotocol => undefined}} end, #{subprotocols => ["one"]},
                fun(Port) ->
        Answer = ask(Port, #{headers => [{"Sec-WebSocket-Protocol", "one"}]}),
        ?assertEqual(undefined, header(<<"sec-websocket-protocol">>, Answer)),
        ?assertMatch({_, {open, #{subprotocol := undefined}}}, event())
    end).

limits_of_one_connection_test_() ->
    Accept = fun(#{path := <<"/small">>}) -> {accept, #{max_message_size => 10}};
                (#{path := <<"/frame">>}) -> {accept, #{max_frame_size => 5}};
                (#{path := <<"/fragments">>}) -> {accept, #{max_fragments => 2}};
                (_) -> {accept, #{max_message_size => 30, idle_timeout => infinity, ping_interval => 1000,
                                  pong_timeout => 1000, max_age => 60000, send_queue_size => 1000}}
             end,
    Ends = fun(Path, Frames) ->
        with_accept(Accept, #{format => raw, max_message_size => 20}, fun(Port) ->
            {101, _, Socket} = ask(Port, #{path => Path}),
            {Conn, {open, _}} = event(),
            ok = ws_client:raw(Socket, Frames),
            case event() of
                {Conn, {binary, _}} -> ok;
                {Conn, {closed, Code, _}} -> Code
            end
        end)
    end,
    Message = fun(Size) -> ws_client:encode(2, <<0:Size/unit:8>>) end,
    Parts = fun(N) -> [ws_client:encode(2, <<"a">>, #{fin => 0}),
                       [ws_client:encode(0, <<"b">>, #{fin => 0}) || _ <- lists:seq(3, N)],
                       ws_client:encode(0, <<"c">>)] end,
    [?_assertEqual(Expected, Ends(Path, Frames))
     || {Path, Frames, Expected} <-
            [{"/small", Message(9), ok}, {"/small", Message(10), ok}, {"/small", Message(11), 1009},
             {"/large", Message(29), ok}, {"/large", Message(30), ok}, {"/large", Message(31), 1009},
             {"/frame", Message(5), ok}, {"/frame", Message(6), 1009},
             {"/fragments", Parts(2), ok}, {"/fragments", Parts(3), 1008}]].

rejected_test() ->
    Accept = fun(_) -> {reject, 401, [{"WWW-Authenticate", "Basic"}, {"Content-Type", "text/x"}],
                        ["go", <<" away">>]} end,
    with_accept(Accept, fun(Port) ->
        Answer = ask(Port),
        ?assertMatch({401, _, <<"go away">>}, Answer),
        ?assertEqual(<<"Basic">>, header(<<"www-authenticate">>, Answer)),
        ?assertEqual(<<"text/x">>, header(<<"content-type">>, Answer)),
        ?assertEqual(<<"7">>, header(<<"content-length">>, Answer)),
        flush()
    end).

%% An answer that has no body says nothing about one.
no_content_test() ->
    with_accept(fun(_) -> {reject, 204, [], <<>>} end, fun(Port) ->
        Answer = ask(Port),
        ?assertMatch({204, _, <<>>}, Answer),
        ?assertEqual({undefined, undefined}, {header(<<"content-length">>, Answer), header(<<"content-type">>, Answer)})
    end).

statuses_test_() ->
    {timeout, 60, fun() ->
        Accept = fun(#{query := Status}) -> {reject, binary_to_integer(Status), [], <<>>} end,
        with_accept(Accept, fun(Port) ->
            quiet(fun() ->
                [?assertEqual({N, Expected}, {N, status(Port, #{path => ["/?", integer_to_list(N)]})})
                 || {N, Expected} <- [{200, 200}, {302, 302}, {599, 599},
                                      {199, 500}, {600, 500}, {101, 500}, {-1, 500}]]
            end)
        end)
    end}.

%% Whatever it returns, the client gets an answer and the server lives.
bad_decisions_test_() ->
    [{Title, fun() ->
        with_accept(fun(_) -> Decision end, fun(Port) ->
            quiet(fun() -> ?assertMatch({500, _, _}, ask(Port)) end)
        end)
      end}
     || {Title, Decision} <-
            [{"an atom", ok},
             {"options that are no map", {accept, []}},
             {"an option that is none", {accept, #{colour => red}}},
             {"an option of the server", {accept, #{port => 1}}},
             {"a bad value", {accept, #{active => 0}}},
             {"a time that is none", {accept, #{ping_interval => never}}},
             {"a size of nothing", {accept, #{max_message_size => 0}}},
             {"a subprotocol nobody offered", {accept, #{subprotocol => <<"x">>}}},
             {"a header of the handshake", {accept, #{headers => [{"Sec-WebSocket-Accept", "x"}]}}},
             {"a header of the framing", {accept, #{headers => [{"content-LENGTH", "1"}]}}},
             {"a split header", {accept, #{headers => [{"x-a", "1\r\nx-b: 2"}]}}},
             {"a bare line feed", {accept, #{headers => [{"x-a", "1\n2"}]}}},
             {"a zero byte", {accept, #{headers => [{"x-a", [0]}]}}},
             {"not UTF-8", {accept, #{headers => [{"x-a", <<255>>}]}}},
             {"a name with a space", {accept, #{headers => [{"x a", "1"}]}}},
             {"an empty name", {accept, #{headers => [{"", "1"}]}}},
             {"headers that are no list", {accept, #{headers => #{}}}},
             {"a header that is no pair", {accept, #{headers => [x]}}},
             {"no body", {reject, 403, []}},
             {"a body that is none", {reject, 403, [], body}},
             {"a body where none may be", {reject, 204, [], "x"}},
             {"a split header of a reject", {reject, 403, [{"x", "1\r\n\r\n"}], ""}},
             {"a status that is none", {reject, ok, [], ""}}]].

crash_test_() ->
    [fun() ->
        with_accept(Accept, fun(Port) ->
            quiet(fun() -> ?assertMatch({500, _, _}, ask(Port)) end)
        end)
     end
     || Accept <- [fun(_) -> error(oops) end, fun(_) -> throw(oops) end, fun(_) -> exit(oops) end,
                   fun(_) -> exit(normal) end, fun(_) -> exit(self(), kill), timer:sleep(infinity) end]].

%% One that takes too long is ended, and holds up nobody else.
deadline_test() ->
    Self = self(),
    Accept = fun(#{path := <<"/slow">>}) -> Self ! {slow, self()}, timer:sleep(infinity);
                (_) -> {accept, #{}}
             end,
    with_accept(Accept, #{accept_timeout => 300, handshake_timeout => 200}, fun(Port) ->
        quiet(fun() ->
            Slow = spawn_monitor(fun() -> exit({answer, ask(Port, #{path => "/slow"})}) end),
            Pid = receive {slow, P} -> P after ?TIMEOUT -> error(not_asked) end,
            ?assertEqual(101, status(Port, #{})),
            {_, Monitor} = Slow,
            receive
                {'DOWN', Monitor, process, _, {answer, Answer}} ->
                    ?assertMatch({503, _, _}, Answer),
                    ?assertEqual(<<"1">>, header(<<"retry-after">>, Answer))
            after ?TIMEOUT -> error(no_answer)
            end,
            _ = test_support:down(Pid)
        end)
    end).

%% The process that asks dies: those who wait get 503, those who come then an answer.
gate_dies_test() ->
    Self = self(),
    Accept = fun(#{path := <<"/slow">>}) -> Self ! {slow, self()}, timer:sleep(infinity);
                (_) -> {accept, #{}}
             end,
    with_accept(Accept, fun(Port) ->
        quiet(fun() ->
            {_, Monitor} = spawn_monitor(fun() -> exit({status, status(Port, #{path => "/slow"})}) end),
            Pid = receive {slow, P} -> P after ?TIMEOUT -> error(not_asked) end,
            {links, [Gate]} = process_info(Pid, links),
            exit(Gate, kill),
            receive {'DOWN', Monitor, process, _, Reason} -> ?assertEqual({status, 503}, Reason)
            after ?TIMEOUT -> error(no_answer)
            end,
            _ = test_support:down(Pid),
            ?assertEqual(101, status(Port, #{}))
        end)
    end).

server_stops_test() ->
    Self = self(),
    Accept = fun(_) -> Self ! {slow, self()}, timer:sleep(infinity) end,
    {ok, Server} = sockeye:start_link(#{port => 0, accept => Accept}),
    Port = test_support:port(Server),
    _ = spawn(fun() -> test_support:attempt(fun() -> ask(Port) end) end),
    Pid = receive {slow, P} -> P after ?TIMEOUT -> error(not_asked) end,
    ok = sockeye:stop(Server),
    _ = test_support:down(Pid),
    flush().

handler_test_() ->
    [fun() ->
        Self = self(),
        Accept = fun(#{path := <<"/no">>}) -> {reject, 403, [], "no"};
                    (_) -> {accept, #{state => {hello, Self}}}
                 end,
        Open = fun(_Conn, #{state := {hello, Pid}}, S) -> Pid ! opened, {[{reply, #{a => 1}}], S} end,
        Handler = {accept_handler, #{accept => Accept, open => Open}},
        with_server(#{handler => Handler, processes => Processes}, fun(Port, _) ->
            ?assertMatch({403, _, <<"no">>}, ask(Port, #{path => "/no"})),
            {101, _, Socket} = ask(Port),
            receive opened -> ok after ?TIMEOUT -> error(not_open) end,
            ?assertEqual(<<"{\"a\":1}">>, ws_client:recv_data(Socket))
        end)
     end || Processes <- [one, 2, per_connection]].

%% ---------------------------------------------------------------- origins and paths

origins_test() ->
    Rules = [same_host, <<"https://a.example">>, "https://*.b.example"],
    with_server(#{origins => Rules}, fun(Port, _) ->
        Status = fun(Origin) -> status(Port, #{headers => [{"Origin", Origin}]}) end,
        [?assertEqual({O, 101}, {O, Status(O)})
         || O <- ["http://localhost", "https://A.example", "https://x.b.example"]],
        [?assertEqual({O, 403}, {O, Status(O)})
         || O <- ["http://a.example", "https://b.example", "null", "https://a.example.evil.net"]],
        ?assertEqual(101, status(Port, #{}))
    end).

%% Pages without a site, ports, and how much a star covers.
origins_table_test_() ->
    [{lists:flatten(io_lib:format("~p", [Rule])),
      fun() ->
          with_server(#{origins => [Rule]}, fun(Port, _) ->
              [?assertEqual({Origin, Expected}, {Origin, status(Port, #{headers => [{"Origin", Origin}]})})
               || {Expected, Origins} <- [{101, Good}, {403, Bad}], Origin <- Origins]
          end)
      end}
     || {Rule, Good, Bad} <-
            [{null, ["null"], ["http://null", "file://", "http://localhost"]},
             {<<"null">>, ["null"], ["file://"]},
             {"file://", ["file://", "FILE://"], ["null", "file:///", "file://x"]},
             {"http://localhost:*", ["http://localhost", "http://localhost:80", "http://LOCALHOST:3000", "http://localhost:65535"],
              ["https://localhost", "http://localhost:65536", "http://localhost.evil.net", "http://x.localhost:3000", "null"]},
             {"http://[::1]:*", ["http://[::1]", "http://[::1]:5173"], ["http://[::2]", "http://localhost"]},
             {<<"https://*.a.example">>, ["https://b.a.example", "https://c.b.a.example", "https://d.c.b.a.example:443"],
              ["https://a.example", "https://.a.example", "https://b..a.example", "https://ba.example", "https://b.a.example:8443",
               "http://b.a.example"]},
             {"https://*.a.example:*", ["https://b.a.example", "https://c.b.a.example:8443"], ["https://a.example:8443"]},
             {"HTTPS://A.Example:443", ["https://a.example", "https://a.example:443", "https://A.EXAMPLE"],
              ["https://a.example:80", "http://a.example:443"]},
             {"http://a.example:0080", ["http://a.example", "http://a.example:80"], ["http://a.example:8080"]},
             {"capacitor://localhost", ["capacitor://localhost"], ["http://localhost", "ionic://localhost"]}]].

%% What is no rule is named.
bad_origins_test_() ->
    [{lists:flatten(io_lib:format("~p", [Rule])),
      fun() ->
          {error, {bad_option, origins, Why}} = sockeye:start_link(#{port => 0, origins => [same_host, Rule]}),
          Shown = unicode:characters_to_binary(io_lib:format("got ~0tp", [Rule])),
          ?assertNotEqual({Why, nomatch}, {Why, binary:match(Why, Shown)})
      end}
     || Rule <- [<<>>, "a.example", any, "https://a.example/", "https://a.example/x", "https://user@a.example", "https://a b",
                 "https://*", "https://*.", "https://a*.example", "https://a.*.example", "*://a.example", "https://*.[::1]",
                 "https://*.0.0.1", "https://.a.example", "https://a..example", "https://a.example:65536",
                 "https://a.example:443:*", "https://a.example:8*", "file:///", "file://:*", "Null", <<"https://b\x{fc}cher.example">>,
                 <<255>>, 1, {"https", "a"}]].

paths_test() ->
    with_server(#{paths => ["/ws", "/rooms/*"]}, fun(Port, _) ->
        [?assertEqual({P, 101}, {P, status(Port, #{path => P})})
         || P <- ["/ws", "/ws?a", "/rooms/1", "/rooms/1/2", "/%77s"]],
        [?assertEqual({P, 404}, {P, status(Port, #{path => P})})
         || P <- ["/", "/ws/", "/rooms", "/rooms/", "/WS", "/%2577s"]]
    end).

bad_rules_test_() ->
    [?_assertMatch({error, {bad_option, Key, _}}, sockeye:start_link(#{port => 0, Key => Value}))
     || {Key, Values} <-
            [{origins, [[], all, <<"https://a">>, ["a.example"], ["https://a/"], ["https://"], [1],
                        ["https://a*.b"], ["https://*"], ["https://a", b], [same_host | x]]},
             {paths, [[], all, "/ws", ["ws"], ["/a b"], ["/a?b"], ["/a*"], [<<"/ü"/utf8>>], [1], [""]]},
             {accept, [ok, fun() -> ok end, fun(_, _) -> ok end]},
             {accept_timeout, [0, never]},
             {max_connections_per_address, [0, many]},
             {connection_rate, [0, #{}, #{burst => 1}, #{rate => 0}, #{rate => 1.5}, #{rate => 1000001},
                                #{rate => 1, burst => 0}, #{rate => 1, action => close}]},
             {max_header_size, [255, 1048577]},
             {max_headers, [7, 1025]}],
        Value <- Values].

%% ---------------------------------------------------------------- obsolete clients

obsolete_test_() ->
    Draft76 = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nSec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n"
        "Origin: http://localhost\r\n\r\n^n:ds[4U",
    Version = fun(V) ->
        ["GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", V, "\r\n"]
    end,
    [{Title, fun() ->
        with_server(#{}, fun(Port, _) ->
            {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
            ok = gen_tcp:send(Socket, Bytes),
            Answer = rest(Socket),
            ?assertMatch(<<"HTTP/1.1 426 ", _/binary>>, Answer),
            ?assertNotEqual(nomatch, binary:match(Answer, <<"\r\nSec-WebSocket-Version: 13\r\n">>)),
            ?assertNotEqual(nomatch, binary:match(Answer, <<"RFC 6455">>))
        end)
      end}
     || {Title, Bytes} <-
            [{"hixie-76", Draft76},
             {"hybi 7", Version("Sec-WebSocket-Version: 7\r\n")},
             {"hybi 8", Version("Sec-WebSocket-Version: 8\r\n")},
             {"hybi 0", Version("Sec-WebSocket-Version: 0\r\n")},
             {"no version", Version("")},
             {"several versions", Version("Sec-WebSocket-Version: 8, 7\r\n")}]].
