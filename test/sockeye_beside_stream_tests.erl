%% What streams through to a web server behind and back: contents without end, events, WebSockets, HTTP/2 in front.
-module(sockeye_beside_stream_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(upstream, [with/2, with/3, head/1, field/2, told/1, ok/2]).
-import(http_client, [get/2, ask/3]).
-import(siege, [say/2, memory/0, most/1]).

-define(TIMEOUT, 10000).
-define(REQUEST, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").
%% More than the buffers of the kernel take: Linux may give 32 MiB to each of the two sockets that are read.
-define(HELD, 90000000).
-define(PIECE, 65536).

%% ---------------------------------------------------------------- bounds

%% The server behind sends without end, and the client takes nothing: it is held up.
endless_answer_test_() ->
    [{Title, {timeout, 60, fun() ->
        Self = self(),
        Serve = fun(Socket, _) ->
            {_, _} = head(Socket),
            ok = inet:setopts(Socket, [{send_timeout, 1000}]),
            ok = gen_tcp:send(Socket, "HTTP/1.1 200 OK\r\n\r\n"),
            Self ! {held_up, flood(Socket, 0), self()},
            Self ! {ended, flood(Socket, 0)}
        end,
        with(Serve, #{http2 => cleartext}, fun(Port, _) ->
            Before = memory(),
            Client = Connect(Port),
            receive
                {held_up, {timeout, Sent}, _} ->
                    ?assert(Sent < ?HELD),
                    ?assert(memory() - Before < most(8000000))
            after 30000 -> error(not_held_up)
            end,
            %% And let go when the client has gone.
            ok = gen_tcp:close(Client),
            receive {ended, {closed, _}} -> ok after ?TIMEOUT -> error(goes_on) end
        end)
     end}} || {Title, Connect} <- [{"HTTP/1.1", fun asking/1}, {"HTTP/2", fun asking_http2/1}]].

asking(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {recbuf, 16384}]),
    ok = gen_tcp:send(Socket, ?REQUEST),
    Socket.

asking_http2(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {recbuf, 16384}]),
    ok = gen_tcp:send(Socket, [h2_frames:hello(), h2_frames:get(1, <<"/">>)]),
    Socket.

flood(Socket, Sent) ->
    case gen_tcp:send(Socket, binary:copy(<<"x">>, ?PIECE)) of
        ok when Sent < 10 * ?HELD -> flood(Socket, Sent + ?PIECE);
        ok -> {endless, Sent};
        {error, timeout} -> {timeout, Sent};
        {error, _} -> {closed, Sent}
    end.

%% The other way round.
endless_request_test_() ->
    {timeout, 60, fun() ->
        Self = self(),
        Serve = fun(Socket, _) ->
            {_, _} = head(Socket),
            Self ! {asked, self()},
            receive go_on -> gen_tcp:close(Socket) end
        end,
        with(Serve, fun(Port, _) ->
            Before = memory(),
            Client = http_client:connect(Port),
            ok = inet:setopts(Client, [{send_timeout, 1000}]),
            ok = gen_tcp:send(Client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n"),
            {timeout, Sent} = flood(Client, 0),
            ?assert(Sent < ?HELD),
            ?assert(memory() - Before < most(8000000)),
            receive {asked, Pid} -> Pid ! go_on after ?TIMEOUT -> error(not_asked) end,
            ok = inet:setopts(Client, [{packet, http_bin}]),
            ?assertMatch({ok, {http_response, _, 502, _}}, gen_tcp:recv(Client, 0, ?TIMEOUT))
        end)
    end}.

%% Who takes nothing of an answer is given up, as for answers of ours.
untaken_test_() ->
    [{Title, {timeout, 60, fun() ->
        Self = self(),
        Serve = fun(Socket, _) ->
            {_, _} = head(Socket),
            ok = gen_tcp:send(Socket, "HTTP/1.1 200 OK\r\n\r\n"),
            Self ! {ended, flood(Socket, 0)}
        end,
        with(Serve, #{send_timeout => 300, http2 => cleartext}, fun(Port, _) ->
            Client = Connect(Port),
            receive {ended, {closed, _}} -> ok after 30000 -> error(goes_on) end,
            gen_tcp:close(Client)
        end)
     end}} || {Title, Connect} <- [{"HTTP/1.1", fun asking/1}, {"HTTP/2", fun asking_http2/1}]].

%% Much of both, whole.
large_test_() ->
    {timeout, 60, fun() ->
        Content = rand:bytes(20000000),
        Serve = fun(Socket, _) ->
            {_, Rest} = head(Socket),
            {ok, More} = gen_tcp:recv(Socket, byte_size(Content) - byte_size(Rest), ?TIMEOUT),
            ok = ok(Socket, <<Rest/binary, More/binary>>)
        end,
        with(Serve, fun(Port, _) ->
            ?assertMatch({200, _, Content}, http_client:request(Port, "POST", "/", [], Content))
        end)
    end}.

%% ---------------------------------------------------------------- at once

%% An event is there before the next is sent; and when the client goes, the server behind hears of it.
events_test_() ->
    [{Title, fun() ->
        Self = self(),
        Serve = fun(Socket, _) ->
            {_, _} = head(Socket),
            ok = gen_tcp:send(Socket, ["HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n", Coding, "\r\n"]),
            [begin
                 ok = gen_tcp:send(Socket, Event(["data: ", integer_to_list(N), "\n\n"])),
                 Self ! {sent, self()},
                 receive next -> ok end
             end || N <- lists:seq(1, 3)],
            closed = head(Socket),
            Self ! gone
        end,
        with(Serve, Options, fun(Port, _) ->
            Socket = {Transport, Client} = Connect(Port),
            [begin
                 Pid = receive {sent, P} -> P after ?TIMEOUT -> error(not_sent) end,
                 until_event(Socket, ["data: ", integer_to_list(N), "\n\n"], <<>>),
                 Pid ! next
             end || N <- lists:seq(1, 3)],
            ok = Transport:close(Client),
            receive gone -> ok after ?TIMEOUT -> error(not_noticed) end
        end)
      end} || {Title, Coding, Event} <- [{"chunks", "Transfer-Encoding: chunked\r\n",
                                          fun(E) -> [integer_to_list(iolist_size(E), 16), "\r\n", E, "\r\n"] end},
                                         {"no length", "", fun(E) -> E end}],
              {Options, Connect} <- [{#{}, fun(Port) -> {gen_tcp, asking(Port)} end},
                                     {#{http2 => cleartext}, fun(Port) -> {gen_tcp, asking_http2(Port)} end},
                                     {#{tls => test_certs:localhost()}, fun asking_tls/1}]].

asking_tls(Port) ->
    {ok, _} = application:ensure_all_started(ssl),
    {ok, Socket} = ssl:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {nodelay, true}, {verify, verify_none}]),
    ok = ssl:send(Socket, ?REQUEST),
    {ssl, Socket}.

until_event({Transport, Client}, Event, Had) ->
    case binary:match(Had, iolist_to_binary(Event)) of
        nomatch ->
            {ok, More} = Transport:recv(Client, 0, ?TIMEOUT),
            until_event({Transport, Client}, Event, <<Had/binary, More/binary>>);
        _ -> ok
    end.

tls_is_told_test() ->
    with(told(self()), #{tls => test_certs:localhost()}, fun(Port, _) ->
        {ssl, Client} = asking_tls(Port),
        {ok, <<"HTTP/1.1 200", _/binary>>} = ssl:recv(Client, 0, ?TIMEOUT),
        receive
            {head, _, Head} ->
                ?assertEqual([[<<"https">>], [<<"for=127.0.0.1;proto=https;host=\"a\"">>]],
                             [field(Name, Head) || Name <- [<<"x-forwarded-proto">>, <<"forwarded">>]])
        after ?TIMEOUT -> error(not_asked)
        end,
        ssl:close(Client)
    end).

%% It goes before there is an answer.
gone_before_test_() ->
    [{Title, fun() ->
        Self = self(),
        Serve = fun(Socket, _) ->
            {_, _} = head(Socket),
            Self ! asked,
            closed = head(Socket),
            Self ! gone
        end,
        with(Serve, #{http2 => cleartext}, fun(Port, Server) ->
            Client = Connect(Port),
            receive asked -> ok after ?TIMEOUT -> error(not_asked) end,
            ok = Leave(Client),
            receive gone -> ok after ?TIMEOUT -> error(not_noticed) end,
            ?assertMatch({ok, #{proxy_errors := 0}}, sockeye:info(Server)),
            gen_tcp:close(Client)
        end)
      end} || {Title, Connect, Leave} <-
        [{"HTTP/1.1", fun asking/1, fun gen_tcp:close/1}, {"HTTP/2", fun asking_http2/1, fun gen_tcp:close/1},
         {"a stream", fun asking_http2/1, fun(S) -> gen_tcp:send(S, h2_frames:reset(1, 8)) end}]].

%% Both at once: what the client sends comes back before it has sent all.
both_ways_test() ->
    Serve = fun(Socket, _) ->
        {_, Rest} = head(Socket),
        ok = gen_tcp:send(Socket, ["HTTP/1.1 200 OK\r\n\r\n", Rest]),
        echo(Socket)
    end,
    with(Serve, fun(Port, _) ->
        Client = {gen_tcp, Socket} = {gen_tcp, http_client:connect(Port)},
        ok = gen_tcp:send(Socket, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n"),
        [begin
             ok = gen_tcp:send(Socket, Part),
             until_event(Client, Part, <<>>)
         end || Part <- ["first", "secnd", "third"]]
    end).

echo(Socket) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, Bytes} -> ok = gen_tcp:send(Socket, Bytes), echo(Socket);
        {error, _} -> ok
    end.

%% It answers without having read the content.
answered_early_test() ->
    Serve = fun(Socket, _) ->
        {_, _} = head(Socket),
        ok = gen_tcp:send(Socket, "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 2\r\n\r\nno"),
        %% What it does not read is no reset of what it has said.
        gen_tcp:shutdown(Socket, write),
        echo(Socket)
    end,
    with(Serve, fun(Port, _) ->
        Client = http_client:connect(Port),
        ok = gen_tcp:send(Client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin"),
        Answer = http_client:answer(Client, "POST"),
        ?assertMatch({413, _, <<"no">>}, Answer),
        ?assertEqual(<<"close">>, http_client:header(<<"connection">>, Answer))
    end).

%% The client stops in the middle of its content.
slow_client_test() ->
    Serve = fun(Socket, _) -> {_, _} = head(Socket), echo(Socket) end,
    with(Serve, #{proxy => #{idle_timeout => 200}}, fun(Port, Server) ->
        Client = http_client:connect(Port),
        ok = gen_tcp:send(Client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nbegin"),
        ?assertMatch({408, _, _}, http_client:answer(Client, "POST")),
        ?assertMatch({ok, #{proxy_errors := 0}}, sockeye:info(Server))
    end).

%% ---------------------------------------------------------------- HTTP/2

http2_test() ->
    Self = self(),
    Serve = fun(Socket, _) ->
        {Head, Rest} = head(Socket),
        Self ! {head, Head, Rest},
        ok = gen_tcp:send(Socket, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n")
    end,
    with(Serve, #{http2 => cleartext}, fun(Port, _) ->
        Socket = http_client:connect(Port),
        ok = h2_frames:shake(Socket),
        Fields = [{<<":method">>, <<"POST">>}, {<<":scheme">>, <<"http">>}, {<<":path">>, <<"/x?y">>}, {<<":authority">>, <<"b">>},
                  {<<"x-forwarded-for">>, <<"9.9.9.9">>}, {<<"cookie">>, <<"a=1">>}, {<<"cookie">>, <<"b=2">>}],
        ok = gen_tcp:send(Socket, [h2_frames:headers(1, h2_frames:block(Fields)), h2_frames:data_end(1, "content")]),
        Frames = until_end(Socket, 1),
        ?assertEqual([{1, 200}], h2_frames:statuses([hd(Frames)])),
        ?assertEqual(<<"hello">>, << <<Data/binary>> || {0, _, 1, Data} <- Frames >>),
        %% The trailers end the stream.
        ?assertMatch({1, 5, 1, _}, lists:last(Frames)),
        receive
            {head, Head, _} ->
                ?assertMatch(<<"POST /x?y HTTP/1.1\r\n", _/binary>>, Head),
                ?assertEqual([[<<"b">>], [<<"127.0.0.1">>], [<<"a=1; b=2">>], [<<"chunked">>]],
                             [field(Name, Head) || Name <- [<<"host">>, <<"x-forwarded-for">>, <<"cookie">>, <<"transfer-encoding">>]])
        after ?TIMEOUT -> error(not_asked)
        end
    end).

until_end(Socket, Stream) ->
    case h2_frames:next(Socket) of
        {Type, Flags, Stream, _} = Frame when Type =< 1, Flags band 1 =:= 1 -> [Frame];
        {3, _, Stream, _} = Frame -> [Frame];
        {_, _, Stream, _} = Frame -> [Frame | until_end(Socket, Stream)];
        {_, _, _, _} -> until_end(Socket, Stream)
    end.

%% Streams share the pool, and none waits for another.
http2_streams_test() ->
    Self = self(),
    Serve = fun Serve(Socket, N) ->
        case head(Socket) of
            {<<"GET /slow ", _/binary>>, _} -> Self ! {slow, self()}, receive go_on -> ok = ok(Socket, "slow"), Serve(Socket, N) end;
            {_, _} -> ok = ok(Socket, "fast"), Serve(Socket, N);
            closed -> ok
        end
    end,
    with(Serve, #{http2 => cleartext}, fun(Port, Server) ->
        Socket = http_client:connect(Port),
        ok = h2_frames:shake(Socket),
        ok = gen_tcp:send(Socket, h2_frames:get(1, <<"/slow">>)),
        Slow = receive {slow, P} -> P after ?TIMEOUT -> error(not_asked) end,
        [begin
             ok = gen_tcp:send(Socket, h2_frames:get(N, <<"/fast">>)),
             ?assertEqual(<<"fast">>, << <<D/binary>> || {0, _, _, D} <- until_end(Socket, N) >>)
         end || N <- lists:seq(3, 41, 2)],
        Slow ! go_on,
        ?assertEqual(<<"slow">>, << <<D/binary>> || {0, _, _, D} <- until_end(Socket, 1) >>),
        ?assertMatch({ok, #{proxied := 21, proxy_errors := 0}}, sockeye:info(Server))
    end).

%% A server behind may take longer than a client of HTTP/2 may be idle.
http2_waits_test() ->
    Self = self(),
    Serve = fun(Socket, _) ->
        {_, _} = head(Socket),
        Self ! {asked, self()},
        receive go_on -> ok = ok(Socket, "late") end
    end,
    Short = #{http2 => cleartext, handshake_timeout => 50, send_timeout => 50, accept_timeout => 1},
    with(Serve, Short, fun(Port, _) ->
        Socket = asking_http2(Port),
        Pid = receive {asked, P} -> P after ?TIMEOUT -> error(not_asked) end,
        %% Longer than all of these, and the half second that a callback gets.
        erlang:send_after(900, Pid, go_on),
        ?assertEqual(<<"late">>, << <<D/binary>> || {0, _, 1, D} <- until_end(Socket, 1) >>)
    end).

%% ---------------------------------------------------------------- WebSockets

%% Test(Port, Server) has a server of ours in front of another, which echoes at /live.
with_websockets(Options, Test) ->
    Echo = #{frame => fun({Kind, Data}, _, S) -> {[{reply, {Kind, Data}}], S} end,
             open => fun(_, _, S) -> {[{reply, {text, <<"welcome">>}}], S} end},
    Behind = #{port => 0, paths => ["/live"], format => raw, subprotocols => ["v2"], handler => {fun_handler, Echo}, processes => 1},
    {ok, Server} = sockeye:start_link(Behind),
    Route = {proxy, upstream:url(test_support:port(Server)), maps:get(proxy, Options, #{})},
    Front = maps:remove(proxy, Options),
    try test_support:with_server(maps:merge(#{paths => ["/ours"], http => #{"/" => Route}}, Front), fun(Port, Own) -> Test(Port, Own, Server) end)
    after
        sockeye:stop(Server)
    end.

websocket_test() ->
    with_websockets(#{}, fun(Port, Server, Behind) ->
        {ok, 101, Headers, Socket} = ws_client:handshake(Port, #{path => "/live?x=y", headers => [{"Sec-WebSocket-Protocol", "v1, v2"}]}),
        ?assertEqual([<<"v2">>, <<"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=">>],
                     [proplists:get_value(Name, Headers) || Name <- [<<"sec-websocket-protocol">>, <<"sec-websocket-accept">>]]),
        ?assertEqual({text, <<"welcome">>}, ws_client:recv(Socket)),
        [begin
             Data = rand:bytes(Size),
             ok = ws_client:binary(Socket, Data),
             ?assertEqual({binary, Data}, ws_client:recv(Socket))
         end || Size <- [0, 1, 125, 126, 65536, 1000000]],
        ok = ws_client:ping(Socket, <<"p">>),
        ?assertEqual({pong, <<"p">>}, ws_client:recv(Socket)),
        %% It is none of ours.
        ?assertMatch({ok, #{connections := 0, accepted := 0, proxied := 1}}, sockeye:info(Server)),
        {ok, [Conn]} = sockeye:connections(Behind),
        ?assertMatch({ok, #{path := <<"/live">>, query := <<"x=y">>}}, sockeye:info(Conn)),
        ok = sockeye:close(Conn, 4000, <<"bye">>),
        ?assertEqual({4000, <<"bye">>}, ws_client:recv_close(Socket))
    end).

closed_by_the_client_test() ->
    with_websockets(#{}, fun(Port, _, Behind) ->
        Socket = ws_client:connect(Port, #{path => "/live"}),
        {text, <<"welcome">>} = ws_client:recv(Socket),
        ok = ws_client:close(Socket, 1000, <<>>),
        ?assertEqual({close, 1000, <<>>}, ws_client:recv(Socket)),
        ?assertEqual(closed, ws_client:recv(Socket)),
        true = siege:settled(Behind, 0)
    end).

%% What is ours stays ours, and what the server behind refuses is refused.
which_is_which_test() ->
    with_websockets(#{http2 => cleartext}, fun(Port, Server, _) ->
        Ours = ws_client:connect(Port, #{path => "/ours"}),
        receive {sockeye, Conn, {open, _}} -> ok = sockeye:send(Conn, {text, <<"ours">>}) after ?TIMEOUT -> error(not_open) end,
        ?assertEqual({text, <<"ours">>}, ws_client:recv(Ours)),
        {ok, 404, _, _} = ws_client:handshake(Port, #{path => "/none"}),
        {ok, 400, _, _} = ws_client:handshake(Port, #{path => "/a/../live"}),
        ?assertMatch({ok, #{connections := 1, proxied := 2, rejected := 0}}, sockeye:info(Server))
    end).

%% Without `paths' all WebSockets are ours.
all_are_ours_test() ->
    with_websockets(#{paths => any}, fun(Port, Server, _) ->
        _ = ws_client:connect(Port, #{path => "/live"}),
        ?assertMatch({ok, #{accepted := 1, proxied := 0}}, sockeye:info(Server))
    end).

%% As a later request of a connection, with frames right behind it.
later_test() ->
    with_websockets(#{}, fun(Port, _, _) ->
        Socket = http_client:connect(Port),
        ?assertMatch({404, _, _}, ask(Socket, "GET", "/none")),
        ok = gen_tcp:send(Socket, ["GET /live HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                                   ws_client:encode(1, "at once")]),
        {101, _, _} = http_client:answer(Socket, "GET"),
        ?assertEqual([{text, <<"welcome">>}, {text, <<"at once">>}], [ws_client:recv(Socket), ws_client:recv(Socket)])
    end).

exact_upgrade_test() ->
    Self = self(),
    Serve = fun(Socket, _) ->
        {Head, _} = head(Socket),
        Self ! {head, Head},
        ok = gen_tcp:send(Socket, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n")
    end,
    with(Serve, fun(Port, _) ->
        {ok, 502, _, _} = ws_client:handshake(Port, #{path => "/live", headers => [{"Upgrade", "h2c"}, {"X-Forwarded-For", "9.9.9.9"}]}),
        receive
            {head, Head} ->
                ?assertEqual([[<<"Upgrade">>], [<<"websocket">>], [<<"127.0.0.1">>], [<<"dGhlIHNhbXBsZSBub25jZQ==">>]],
                             [field(Name, Head) || Name <- [<<"connection">>, <<"upgrade">>, <<"x-forwarded-for">>, <<"sec-websocket-key">>]])
        after ?TIMEOUT -> error(not_asked)
        end
    end).

idle_test() ->
    with_websockets(#{proxy => #{idle_timeout => 300}}, fun(Port, _, Behind) ->
        Socket = ws_client:connect(Port, #{path => "/live"}),
        {text, <<"welcome">>} = ws_client:recv(Socket),
        %% Longer than that in all, with something said now and then.
        [begin
             receive after 100 -> ok end,
             ok = ws_client:text(Socket, "x"),
             ?assertEqual({text, <<"x">>}, ws_client:recv(Socket))
         end || _ <- lists:seq(1, 6)],
        ?assertEqual(closed, ws_client:recv(Socket)),
        true = siege:settled(Behind, 0)
    end).

%% They count as sockets of the server in front, and end with it.
stopped_test() ->
    with_websockets(#{max_connections => 1}, fun(Port, Server, Behind) ->
        Socket = ws_client:connect(Port, #{path => "/live"}),
        {text, <<"welcome">>} = ws_client:recv(Socket),
        {ok, 503, _, _} = ws_client:handshake(Port, #{path => "/live"}),
        ok = sockeye:stop(Server),
        ?assertEqual(closed, ws_client:recv(Socket)),
        true = siege:settled(Behind, 0)
    end).

over_http2_test() ->
    with_websockets(#{http2 => cleartext, max_connections => 2}, fun(Port, Server, Behind) ->
        Socket = http_client:connect(Port),
        ok = h2_frames:shake(Socket),
        ok = gen_tcp:send(Socket, [h2_frames:open_stream(1, <<"/live">>), h2_frames:open_stream(3, <<"/live">>)]),
        [?assertMatch(<<129, 7, "welcome">>, until_bytes(Socket, N, 9, <<>>)) || N <- [1, 3]],
        ok = gen_tcp:send(Socket, h2_frames:data(1, ws_client:encode(1, "hello"))),
        ?assertMatch(<<129, 5, "hello">>, until_bytes(Socket, 1, 7, <<>>)),
        true = siege:settled(Behind, 2),
        %% One more is one too many.
        ok = gen_tcp:send(Socket, h2_frames:open_stream(5, <<"/live">>)),
        ?assertEqual([{5, 503}], h2_frames:statuses([hd(until_end(Socket, 5))])),
        %% A stream that ends makes room.
        ok = gen_tcp:send(Socket, h2_frames:reset(3, 8)),
        true = siege:settled(Behind, 1),
        true = siege:until(fun() ->
            N = 7 + 2 * erlang:unique_integer([positive, monotonic]),
            ok = gen_tcp:send(Socket, h2_frames:open_stream(N, <<"/none">>)),
            case h2_frames:statuses([hd(until_end(Socket, N))]) of
                [{N, 404}] -> true;
                Other -> Other
            end
        end),
        ?assertMatch({ok, #{connections := 0}}, sockeye:info(Server)),
        ok = gen_tcp:close(Socket),
        true = siege:settled(Behind, 0)
    end).

until_bytes(_Socket, _Stream, Size, Had) when byte_size(Had) >= Size -> Had;
until_bytes(Socket, Stream, Size, Had) ->
    case h2_frames:next(Socket) of
        {0, _, Stream, Data} -> until_bytes(Socket, Stream, Size, <<Had/binary, Data/binary>>);
        {_, _, _, _} = Frame when element(3, Frame) =/= Stream; element(1, Frame) =:= 1 -> until_bytes(Socket, Stream, Size, Had)
    end.

%% An answer to another key than ours.
wrong_accept_over_http2_test() ->
    Serve = fun(Socket, _) ->
        {_, _} = head(Socket),
        ok = gen_tcp:send(Socket, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n")
    end,
    with(Serve, #{http2 => cleartext}, fun(Port, _) ->
        Socket = http_client:connect(Port),
        ok = h2_frames:shake(Socket),
        ok = gen_tcp:send(Socket, h2_frames:open_stream(1, <<"/live">>)),
        ?assertEqual([{1, 502}], h2_frames:statuses([hd(until_end(Socket, 1))]))
    end).

%% ---------------------------------------------------------------- a server of other people

python_test_() ->
    case test_support:program("python3") of
        false -> test_support:left_out("a server of Python behind", "no python3");
        Python -> {timeout, 60, fun() -> behind_is_python(Python) end}
    end.

behind_is_python(Python) ->
    www:with_files(fun(Dir) ->
        Port = open_port({spawn_executable, Python}, [{args, ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", Dir]},
                                                      {line, 1000}, stderr_to_stdout, exit_status]),
        {os_pid, Pid} = erlang:port_info(Port, os_pid),
        try
            Line = receive {Port, {data, {eol, L}}} -> L after ?TIMEOUT -> error(not_started) end,
            {match, [Url]} = re:run(Line, "http://[0-9.:]+", [{capture, first, list}]),
            test_support:with_server(#{http => #{"/" => {proxy, Url}}}, fun(Front, _) ->
                [?assertMatch({200, _, <<"run()">>}, get(Front, "/app.js")) || _ <- lists:seq(1, 5)],
                {ok, Large} = file:read_file(filename:join(Dir, "large.bin")),
                ?assertMatch({200, _, Large}, get(Front, "/large.bin")),
                ?assertMatch({404, _, _}, get(Front, "/none")),
                ?assertMatch({501, _, _}, http_client:request(Front, "POST", "/app.js", [], "x"))
            end)
        after
            os:cmd("kill " ++ integer_to_list(Pid)),
            try port_close(Port) catch error:badarg -> true end
        end
    end).
