%% WebSockets of a web server behind.
-module(sockeye_beside_websocket_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(upstream, [with/2, with/3, head/1, field/2]).
-import(http_client, [ask/3]).

-define(TIMEOUT, 60000).

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
        true = hostile_client:settled(Behind, 0)
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
        _ = test_support:opened(),
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
    with_websockets(#{proxy => #{idle_timeout => 2000}}, fun(Port, _, Behind) ->
        Socket = ws_client:connect(Port, #{path => "/live"}),
        {text, <<"welcome">>} = ws_client:recv(Socket),
        %% Longer than that in all, with something said now and then.
        [begin
             receive after 400 -> ok end,
             ok = ws_client:text(Socket, "x"),
             ?assertEqual({text, <<"x">>}, ws_client:recv(Socket))
         end || _ <- lists:seq(1, 6)],
        ?assertEqual(closed, ws_client:recv(Socket)),
        true = hostile_client:settled(Behind, 0)
    end).

%% They count as sockets of the server in front, and end with it.
stopped_test() ->
    with_websockets(#{max_connections => 1}, fun(Port, Server, Behind) ->
        Socket = ws_client:connect(Port, #{path => "/live"}),
        {text, <<"welcome">>} = ws_client:recv(Socket),
        {ok, 503, _, _} = ws_client:handshake(Port, #{path => "/live"}),
        ok = sockeye:stop(Server),
        ?assertEqual(closed, ws_client:recv(Socket)),
        true = hostile_client:settled(Behind, 0)
    end).

over_http2_test() ->
    with_websockets(#{http2 => cleartext, max_connections => 2}, fun(Port, Server, Behind) ->
        Socket = http_client:connect(Port),
        ok = h2_frames:shake(Socket),
        ok = gen_tcp:send(Socket, [h2_frames:open_stream(1, <<"/live">>), h2_frames:open_stream(3, <<"/live">>)]),
        ?assertEqual(#{1 => <<129, 7, "welcome">>, 3 => <<129, 7, "welcome">>}, until_bytes(Socket, 9, #{1 => <<>>, 3 => <<>>})),
        ok = gen_tcp:send(Socket, h2_frames:data(1, ws_client:encode(1, "hello"))),
        ?assertEqual(#{1 => <<129, 5, "hello">>}, until_bytes(Socket, 7, #{1 => <<>>})),
        true = hostile_client:settled(Behind, 2),
        %% One more is one too many.
        ok = gen_tcp:send(Socket, h2_frames:open_stream(5, <<"/live">>)),
        ?assertEqual([{5, 503}], h2_frames:statuses([hd(h2_frames:until_end(Socket, 5))])),
        %% A stream that ends makes room.
        ok = gen_tcp:send(Socket, h2_frames:reset(3, 8)),
        true = hostile_client:settled(Behind, 1),
        true = hostile_client:until(fun() ->
            N = 7 + 2 * erlang:unique_integer([positive, monotonic]),
            ok = gen_tcp:send(Socket, h2_frames:open_stream(N, <<"/none">>)),
            case h2_frames:statuses([hd(h2_frames:until_end(Socket, N))]) of
                [{N, 404}] -> true;
                Other -> Other
            end
        end),
        ?assertMatch({ok, #{connections := 0}}, sockeye:info(Server)),
        ok = gen_tcp:close(Socket),
        true = hostile_client:settled(Behind, 0)
    end).

%% What comes on these streams, which speak in any order, until each has so many bytes.
until_bytes(Socket, Size, Had) ->
    case lists:all(fun(Bytes) -> byte_size(Bytes) >= Size end, maps:values(Had)) of
        true -> Had;
        false ->
            case h2_frames:next(Socket) of
                {0, _, Stream, Data} when is_map_key(Stream, Had) ->
                    until_bytes(Socket, Size, maps:update_with(Stream, fun(Bytes) -> <<Bytes/binary, Data/binary>> end, Had));
                {_, _, _, _} ->
                    until_bytes(Socket, Size, Had)
            end
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
        ?assertEqual([{1, 502}], h2_frames:statuses([hd(h2_frames:until_end(Socket, 1))]))
    end).
