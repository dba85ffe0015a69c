%% RFC 6455 over a socket, byte by byte: what the server refuses and how.
-module(sockeye_protocol_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, open/1, event/1, closed/1]).

%% The close code for these bytes, on the wire and as the owner sees it.
code(Bytes) ->
    code(#{format => raw}, Bytes).

code(Options, Bytes) ->
    with_server(Options, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:raw(Socket, Bytes),
        {Code, _} = ws_client:recv_close(Socket),
        ?assertEqual(Code, closed(Conn)),
        Code
    end).

frame(Opcode, Payload) -> ws_client:encode(Opcode, Payload).
frame(Opcode, Payload, Options) -> ws_client:encode(Opcode, Payload, Options).

protocol_errors_test_() ->
    [{Title, ?_assertEqual(1002, code(Bytes))}
     || {Title, Bytes} <-
            [{"not masked", frame(1, <<"a">>, #{mask => none})},
             {"rsv1", frame(1, <<"a">>, #{rsv => 4})},
             {"rsv2", frame(1, <<"a">>, #{rsv => 2})},
             {"rsv3", frame(1, <<"a">>, #{rsv => 1})},
             {"opcode 3", frame(3, <<>>)},
             {"opcode 7", frame(7, <<>>)},
             {"opcode 11", frame(11, <<>>)},
             {"opcode 15", frame(15, <<>>)},
             {"fragmented ping", frame(9, <<>>, #{fin => 0})},
             {"fragmented close", frame(8, <<1000:16>>, #{fin => 0})},
             {"long ping", frame(9, <<0:126/unit:8>>)},
             {"long close", frame(8, <<1000:16, 0:124/unit:8>>)},
             {"continuation of nothing", frame(0, <<"a">>)},
             {"text within a message", [frame(1, <<"a">>, #{fin => 0}), frame(1, <<"b">>)]},
             {"close body of one byte", frame(8, <<3>>)},
             {"close code 999", frame(8, <<999:16>>)},
             {"close code 1004", frame(8, <<1004:16>>)},
             {"close code 1005", frame(8, <<1005:16>>)},
             {"close code 1006", frame(8, <<1006:16>>)},
             {"close code 1015", frame(8, <<1015:16>>)},
             {"close code 2999", frame(8, <<2999:16>>)},
             {"close code 5000", frame(8, <<5000:16>>)},
             {"length with the top bit", <<16#82, 16#ff, 1:1, 0:63, 0:32>>}]].

utf8_errors_test_() ->
    [{Title, ?_assertEqual(1007, code(Bytes))}
     || {Title, Bytes} <-
            [{"text", frame(1, <<"a", 255>>)},
             {"surrogate", frame(1, <<16#ed, 16#a0, 16#80>>)},
             {"overlong", frame(1, <<16#c0, 16#80>>)},
             {"cut off", frame(1, <<16#e2, 16#82>>)},
             {"at once, in the first fragment", frame(1, <<"a", 255>>, #{fin => 0})},
             {"across fragments", [frame(1, <<16#e2>>, #{fin => 0}), frame(0, <<"a">>)]},
             {"close reason", frame(8, <<1000:16, 255>>)}]].

%% Both sides of each limit.
limits_test_() ->
    Data = fun(Size) -> binary:copy(<<"x">>, Size) end,
    Two = fun(A, B) -> [frame(1, Data(A), #{fin => 0}), frame(0, Data(B))] end,
    Many = fun(N) -> [frame(1, <<"x">>, #{fin => 0}),
                      [frame(0, <<"x">>, #{fin => 0}) || _ <- lists:seq(1, N - 2)],
                      frame(0, <<"x">>)] end,
    Raw = #{format => raw},
    [{"message", [?_assertEqual({text, Data(99)}, delivered(Raw#{max_message_size => 100}, frame(1, Data(99)))),
                  ?_assertEqual({text, Data(100)}, delivered(Raw#{max_message_size => 100}, frame(1, Data(100)))),
                  ?_assertEqual(1009, code(Raw#{max_message_size => 100}, frame(1, Data(101))))]},
     {"message of two frames", [?_assertEqual({text, Data(100)}, delivered(Raw#{max_message_size => 100}, Two(50, 50))),
                                ?_assertEqual(1009, code(Raw#{max_message_size => 100}, Two(50, 51)))]},
     {"frame", [?_assertEqual({text, Data(100)}, delivered(Raw#{max_frame_size => 100}, frame(1, Data(100)))),
                ?_assertEqual(1009, code(Raw#{max_frame_size => 100}, frame(1, Data(101)))),
                ?_assertEqual({text, Data(200)}, delivered(Raw#{max_frame_size => 100}, Two(100, 100)))]},
     {"fragments", [?_assertEqual({text, Data(4)}, delivered(Raw#{max_fragments => 4}, Many(4))),
                    ?_assertEqual(1008, code(Raw#{max_fragments => 4}, Many(5)))]},
     {"announced only", ?_assertEqual(1009, code(Raw, <<16#82, 16#ff, (1 bsl 40):64, 0:32>>))}].

delivered(Options, Bytes) ->
    with_server(Options, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:raw(Socket, Bytes),
        event(Conn)
    end).

good_close_codes_test_() ->
    [{integer_to_list(Code),
      fun() ->
              with_server(#{}, fun(Port, _) ->
                  {Socket, Conn} = open(Port),
                  ok = ws_client:close(Socket, Code, <<"bye ", 16#e9/utf8>>),
                  ?assertEqual({closed, Code, <<"bye ", 16#e9/utf8>>}, event(Conn)),
                  ?assertMatch({close, Code, _}, ws_client:recv(Socket)),
                  ?assertEqual(closed, ws_client:recv(Socket))
              end)
      end} || Code <- [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999]].

close_without_a_code_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:frame(Socket, 8, <<>>),
        ?assertEqual({closed, 1005, <<>>}, event(Conn)),
        ?assertMatch({close, _, <<>>}, ws_client:recv(Socket))
    end).

a_dead_transport_is_1006_test() ->
    [with_server(#{}, fun(Port, _) ->
         {Socket, Conn} = open(Port),
         Away(Socket),
         ?assertEqual({closed, 1006, <<>>}, event(Conn))
     end) || Away <- [fun gen_tcp:close/1, fun ws_client:drop/1]].

nothing_after_close_is_read_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:raw(Socket, [frame(8, <<1000:16>>), frame(1, <<"1">>)]),
        ?assertEqual({closed, 1000, <<>>}, event(Conn)),
        receive {sockeye, Conn, Event} -> error({after_closed, Event})
        after 0 -> ok
        end
    end).

pings_are_answered_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        [begin
             ok = ws_client:ping(Socket, Body),
             ?assertEqual({pong, Body}, ws_client:recv(Socket))
         end || Body <- [<<>>, <<"x">>, binary:copy(<<"x">>, 125)]],
        %% Between the fragments of a message, and a pong that nobody asked for.
        ok = ws_client:raw(Socket, [frame(1, <<"[1">>, #{fin => 0}), frame(9, <<"p">>),
                                    frame(10, <<"unasked">>), frame(0, <<",2">>, #{fin => 0}),
                                    frame(0, <<"]">>)]),
        ?assertEqual({pong, <<"p">>}, ws_client:recv(Socket)),
        ?assertEqual({json, [1, 2]}, event(Conn))
    end).

%% However the network cuts it.
every_cut_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        Bytes = iolist_to_binary([frame(1, <<"\"", 16#20ac/utf8>>, #{fin => 0}), frame(9, <<"p">>),
                                  frame(0, <<16#1f600/utf8, "\"">>)]),
        [begin
             <<A:Cut/binary, B/binary>> = Bytes,
             ok = ws_client:raw(Socket, A),
             %% Until the server has seen the first part: a ping cannot go between, but
             %% the connection's own shard answers after it has read.
             {ok, #{}} = sockeye:info(Conn),
             ok = ws_client:raw(Socket, B),
             ?assertEqual({json, <<16#20ac/utf8, 16#1f600/utf8>>}, event(Conn)),
             ?assertEqual({pong, <<"p">>}, ws_client:recv(Socket))
         end || Cut <- lists:seq(0, byte_size(Bytes))]
    end).

fragments_with_no_bytes_test() ->
    ?assertEqual({text, <<"ab">>},
                 delivered(#{format => raw}, [frame(1, <<>>, #{fin => 0}), frame(0, <<"a">>, #{fin => 0}),
                                              frame(0, <<>>, #{fin => 0}), frame(0, <<"b">>, #{fin => 0}),
                                              frame(0, <<>>)])).

%% The opening handshake.
request(Port, Request) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Socket, Request),
    read_all(Socket, <<>>).

read_all(Socket, Sofar) ->
    case gen_tcp:recv(Socket, 0, 60000) of
        {ok, Data} -> read_all(Socket, <<Sofar/binary, Data/binary>>);
        {error, closed} -> Sofar;
        {error, econnreset} -> Sofar
    end.

refused_handshakes_test_() ->
    Good = [{"Host", "x"}, {"Upgrade", "websocket"}, {"Connection", "Upgrade"},
            {"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}],
    Without = fun(Name) -> lists:keydelete(Name, 1, Good) end,
    With = fun(Name, Value) -> lists:keystore(Name, 1, Good, {Name, Value}) end,
    [{Title,
      fun() ->
              with_server(#{}, fun(Port, _) ->
                  Lines = [[Name, ": ", Value, "\r\n"] || {Name, Value} <- Headers],
                  Response = request(Port, [Method, " / ", Version, "\r\n", Lines, "\r\n"]),
                  ?assertMatch(<<"HTTP/1.1 ", Status:3/binary, " ", _/binary>>, Response)
              end)
      end}
     || {Title, Method, Version, Headers, Status} <-
            [{"no upgrade", "GET", "HTTP/1.1", Without("Upgrade"), <<"426">>},
             {"version 8", "GET", "HTTP/1.1", With("Sec-WebSocket-Version", "8"), <<"426">>},
             {"no key", "GET", "HTTP/1.1", Without("Sec-WebSocket-Key"), <<"400">>},
             {"key too short", "GET", "HTTP/1.1", With("Sec-WebSocket-Key", "YQ=="), <<"400">>},
             {"POST", "POST", "HTTP/1.1", Good, <<"405">>},
             {"no HTTP", "GET", "FTP/1.1", Good, <<"400">>}]].

%% Draft 76 and its key in the body: a clear answer that names the RFC.
draft_76_test() ->
    with_server(#{}, fun(Port, _) ->
        Response = request(Port, ["GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
                                  "Upgrade: WebSocket\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n"
                                  "Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n"
                                  "Origin: http://example.com\r\n\r\n^n:ds[4U"]),
        ?assertMatch(<<"HTTP/1.1 4", _/binary>>, Response),
        ?assertNotEqual(nomatch, binary:match(Response, <<"RFC 6455">>))
    end).

a_slow_handshake_is_cut_off_test() ->
    with_server(#{handshake_timeout => 200}, fun(Port, _) ->
        Response = request(Port, "GET / HTTP/1.1\r\nHost: x\r\n"),
        ?assert(Response =:= <<>> orelse binary:match(Response, <<"HTTP/1.1 408">>) =/= nomatch)
    end).

frames_right_behind_the_handshake_test() ->
    with_server(#{}, fun(Port, _) ->
        {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
        ok = gen_tcp:send(Socket, ["GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                                   "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                                   frame(1, <<"1">>), frame(1, <<"2">>)]),
        {Conn, {open, _}} = test_support:event(),
        ?assertEqual({json, 1}, event(Conn)),
        ?assertEqual({json, 2}, event(Conn)),
        ok = gen_tcp:close(Socket)
    end).

%% Random bytes: whatever they are, a code or an end, and the server goes on.
garbage_test_() ->
    {timeout, 60, fun() ->
        hostile_client:with_attack(#{format => json, close_timeout => 200}, fun(Port, Server) ->
            [begin
                 Socket = ws_client:connect(Port),
                 _ = ws_client:raw(Socket, rand:bytes(rand:uniform(3000))),
                 _ = gen_tcp:shutdown(Socket, write),
                 _ = read_all(Socket, <<>>),
                 gen_tcp:close(Socket)
             end || _ <- lists:seq(1, 300)],
            test_support:flush(),
            {Socket, Conn} = open(Port),
            ok = ws_client:text(Socket, <<"1">>),
            ?assertEqual({json, 1}, event(Conn)),
            ?assertMatch({ok, #{}}, sockeye:info(Server))
        end)
    end}.
