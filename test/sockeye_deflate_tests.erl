%% permessage-deflate, with the VM's own zlib at the other end.
-module(sockeye_deflate_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/2, with_handler/3, event/0, event/1]).

-define(FRESH, <<"permessage-deflate; server_no_context_takeover; client_no_context_takeover">>).

%% A server and a client that have agreed.
with_client(Deflate, Test) ->
    with_client(Deflate, "permessage-deflate", #{}, Test).

with_client(Deflate, Offer, Options, Test) ->
    with_server(Options#{deflate => Deflate}, fun(Port, Server) ->
        {Socket, _} = ws_deflate:connect(Port, Offer),
        {Conn, {open, #{deflate := true}}} = event(),
        Test(Socket, Conn, Server)
    end).

prose(Size) ->
    Words = <<"to be or not to be that is the question whether tis nobler ">>,
    binary:part(binary:copy(Words, Size div byte_size(Words) + 1), 0, Size).

keeping() -> #{server_context_takeover => true, client_context_takeover => true}.

%% Negotiation

agreed_test_() ->
    Kept = <<"permessage-deflate">>,
    [{lists:flatten(io_lib:format("~p ~s", [Deflate, Offer])),
      fun() ->
              with_server(#{deflate => Deflate}, fun(Port, _) ->
                  {_, Answer} = ws_deflate:connect(Port, Offer),
                  ?assertEqual(Expected, Answer),
                  {Conn, {open, #{deflate := Agreed}}} = event(),
                  ?assertEqual(Expected =/= undefined, Agreed),
                  ?assertMatch({ok, #{deflate := Agreed}}, sockeye:info(Conn))
              end)
      end}
     || {Deflate, Offer, Expected} <-
            [{false, "permessage-deflate", undefined},
             {true, "x-webkit-deflate-frame", undefined},
             {true, "permessage-deflate; what", undefined},
             {true, "permessage-deflate; server_max_window_bits=8", undefined},
             {true, "permessage-deflate", ?FRESH},
             {true, "permessage-deflate; client_max_window_bits", ?FRESH},
             {#{}, "permessage-deflate", ?FRESH},
             {keeping(), "permessage-deflate; client_max_window_bits", Kept},
             {keeping(), "permessage-deflate; server_no_context_takeover",
              <<Kept/binary, "; server_no_context_takeover">>},
             {keeping(), "permessage-deflate; server_max_window_bits=9, permessage-deflate",
              <<Kept/binary, "; server_max_window_bits=9">>},
             {#{server_max_window_bits => 10, client_max_window_bits => 11},
              "permessage-deflate; client_max_window_bits",
              <<?FRESH/binary, "; server_max_window_bits=10; client_max_window_bits=11">>}]].

no_offer_no_compression_test() ->
    with_server(#{deflate => true}, fun(Port, _) ->
        {Socket, Conn} = test_support:open(Port),
        ?assertMatch({ok, #{deflate := false}}, sockeye:info(Conn)),
        ok = sockeye:send(Conn, {text, prose(1000)}),
        ?assertEqual({text, prose(1000)}, ws_client:recv(Socket)),
        ok = ws_client:raw(Socket, ws_client:encode(1, <<>>, #{rsv => 4})),
        ?assertMatch({1002, _}, ws_client:recv_close(Socket))
    end).

%% In

messages_come_inflated_test_() ->
    [{lists:flatten(io_lib:format("~p", [Deflate])),
      fun() ->
              with_client(Deflate, fun(Socket, Conn, _) ->
                  ok = ws_deflate:send(Socket, 1, <<"{\"a\":[1,2,3]}">>),
                  ?assertEqual({json, #{<<"a">> => [1, 2, 3]}}, event(Conn)),
                  ok = ws_client:raw(Socket, ws_deflate:fragments(2, prose(5000), 7)),
                  ?assertEqual({binary, prose(5000)}, event(Conn)),
                  ok = ws_client:binary(Socket, <<"plain">>),
                  ?assertEqual({binary, <<"plain">>}, event(Conn)),
                  Big = prose(300000),
                  ok = ws_deflate:send(Socket, 2, Big),
                  ?assertEqual({binary, Big}, event(Conn)),
                  Noise = rand:bytes(100000),
                  ok = ws_deflate:send(Socket, 2, Noise),
                  ?assertEqual({binary, Noise}, event(Conn))
              end)
      end} || Deflate <- [true, keeping()]].

a_client_keeps_its_window_test() ->
    with_client(keeping(), fun(Socket, Conn, _) ->
        Z = ws_deflate:deflater(15),
        Sizes = [begin
                     Message = ws_deflate:compress(Z, prose(1000)),
                     ok = ws_client:raw(Socket, ws_client:encode(2, Message, #{rsv => 4})),
                     ?assertEqual({binary, prose(1000)}, event(Conn)),
                     byte_size(Message)
                 end || _ <- [1, 2, 3]],
        ?assertMatch([First, Second, _] when Second < First div 2, Sizes)
    end).

the_inflated_size_is_bounded_test_() ->
    [{integer_to_list(Size),
      fun() ->
              with_client(Deflate, "permessage-deflate", #{max_message_size => 50000},
                          fun(Socket, Conn, _) ->
                                  ok = ws_client:raw(Socket, Wire(binary:copy(<<0>>, Size))),
                                  case event(Conn) of
                                      {binary, Data} ->
                                          ?assertEqual({ok, Size}, {Expected, byte_size(Data)});
                                      {closed, Code, _} ->
                                          ?assertEqual(Expected, Code)
                                  end
                          end)
      end}
     || Deflate <- [true, keeping()],
        Wire <- [fun(Data) -> ws_client:encode(2, ws_deflate:compress(Data), #{rsv => 4}) end,
                 fun(Data) -> ws_deflate:fragments(2, Data, 40) end],
        {Size, Expected} <- [{49999, ok}, {50000, ok}, {50001, 1009}, {30000000, 1009}]].

bad_data_is_1007_test_() ->
    [{lists:flatten(io_lib:format("~p", [Payload])),
      fun() ->
              with_client(true, fun(Socket, Conn, _) ->
                  ok = ws_client:raw(Socket, ws_client:encode(1, Payload, #{rsv => 4})),
                  ?assertMatch({1007, _}, ws_client:recv_close(Socket)),
                  ?assertMatch({closed, 1007, _}, event(Conn))
              end)
      end} || Payload <- [<<255, 255, 255>>, <<7>>,
                          ws_deflate:compress(<<255, 254, 253>>),
                          binary:part(ws_deflate:compress(prose(1000)), 0, 30)]].

%% A compressed message in which nothing comes is an empty one, in one frame or in several. What comes
%% before and after it refers to each other where the client keeps its window.
nothing_compressed_test_() ->
    [{lists:flatten(io_lib:format("~p", [Deflate])),
      fun() ->
              with_client(Deflate, "permessage-deflate", #{format => raw}, fun(Socket, Conn, _) ->
                  Z = ws_deflate:deflater(15),
                  Around = fun() ->
                      ok = case Deflate of
                               true -> ws_deflate:send(Socket, 2, prose(300));
                               _ -> ws_deflate:send(Socket, 2, Z, prose(300))
                           end,
                      ?assertEqual({binary, prose(300)}, event(Conn))
                  end,
                  [begin
                       Around(),
                       ok = ws_client:raw(Socket, Wire),
                       ?assertEqual({Kind, <<>>}, event(Conn)),
                       Around()
                   end || {Opcode, Kind} <- [{1, text}, {2, binary}], Wire <- nothing(Opcode, [])],
                  ok = ws_client:ping(Socket, <<"still">>),
                  ?assertEqual({pong, <<"still">>}, ws_client:recv(Socket))
              end)
      end} || Deflate <- [true, keeping()]].

nothing_for_json_test() ->
    with_client(true, fun(Socket, Conn, _) ->
        ok = ws_client:raw(Socket, ws_client:encode(1, <<>>, #{rsv => 4})),
        %% As without compression: no JSON.
        ?assertMatch({closed, 1007, _}, event(Conn))
    end).

%% A message of no bytes with the bit of compression: in one frame, in two, in three with a ping between.
nothing(Opcode, Options) ->
    Frame = fun(Op, Fin, Rsv) -> ws_client:encode(Op, <<>>, maps:merge(#{fin => Fin, rsv => Rsv}, maps:from_list(Options))) end,
    [Frame(Opcode, 1, 4), [Frame(Opcode, 0, 4), Frame(0, 1, 0)], [Frame(Opcode, 0, 4), Frame(10, 1, 0), Frame(0, 0, 0), Frame(0, 1, 0)]].

nothing_compressed_for_a_client_test_() ->
    [{lists:flatten(io_lib:format("~p", [Deflate])),
      fun() ->
              Answer = case Deflate of true -> ?FRESH; _ -> <<"permessage-deflate">> end,
              Script = fun(Socket) ->
                  Accept = raw_server:accept(raw_server:head(Socket)),
                  raw_server:say(Socket, ["HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ", Accept,
                                    "\r\nSec-WebSocket-Extensions: ", Answer, "\r\n\r\n"]),
                  Z = ws_deflate:deflater(15),
                  Around = fun() ->
                      Payload = case Deflate of
                                    true -> ws_deflate:compress(prose(300));
                                    _ -> ws_deflate:compress(Z, prose(300))
                                end,
                      ws_client:encode(2, Payload, #{rsv => 4, mask => none})
                  end,
                  [raw_server:say(Socket, [Around(), Wire, Around()]) || Opcode <- [1, 2], Wire <- nothing(Opcode, [{mask, none}])],
                  raw_server:await_end(Socket)
              end,
              raw_server:with(Script, fun(Port) ->
                  Url = ["ws://127.0.0.1:", integer_to_list(Port)],
                  {ok, Conn} = sockeye_client:connect(Url, #{deflate => Deflate, format => raw, close_timeout => 100}),
                  Around = {binary, prose(300)},
                  [[?assertEqual({ok, Expected}, sockeye_client:recv(Conn, 60000)) || Expected <- [Around, {Kind, <<>>}, Around]]
                   || Kind <- [text, binary], _ <- nothing(1, [])],
                  ok = sockeye_client:close(Conn)
              end)
      end} || Deflate <- [true, keeping()]].

%% Out

messages_go_compressed_test_() ->
    [{lists:flatten(io_lib:format("~p ~p", [Deflate, Size])),
      fun() ->
              with_client(Deflate, fun(Socket, Conn, Server) ->
                  ok = sockeye:send(Conn, {text, prose(Size)}),
                  {true, 1, Payload} = ws_deflate:recv(Socket),
                  ?assertEqual(prose(Size), ws_deflate:inflate(Payload)),
                  drained(Conn),
                  {ok, #{bytes_saved := Saved, bytes_out := Out}} = sockeye:info(Server),
                  Header = fun(N) when N < 126 -> 2; (N) when N < 65536 -> 4; (_) -> 10 end,
                  ?assertEqual(byte_size(Payload) + Header(byte_size(Payload)), Out),
                  ?assertEqual(Size + Header(Size), Out + Saved)
              end)
      end} || Deflate <- [true, keeping(), #{level => 1}, #{level => 9, mem_level => 9},
                          #{level => 1, mem_level => 1, server_max_window_bits => 9}],
              Size <- [200, 16383, 16384, 16385, 70000, 1000000]].

%% Nothing is queued any more.
drained(Conn) ->
    case sockeye:info(Conn) of
        {ok, #{send_queue := 0}} -> ok;
        {ok, #{send_queue := _}} -> erlang:yield(), drained(Conn)
    end.

the_threshold_test_() ->
    [{lists:flatten(io_lib:format("~p ~p", [Deflate, Size])),
      fun() ->
              with_client(Deflate#{threshold => 100}, fun(Socket, Conn, _) ->
                  ok = sockeye:send(Conn, {text, prose(Size)}),
                  ?assertMatch({Compressed, 1, _}, ws_deflate:recv(Socket))
              end)
      end} || Deflate <- [#{}, keeping()],
              {Size, Compressed} <- [{99, false}, {100, true}, {101, true}]].

what_can_not_be_smaller_goes_as_it_is_test() ->
    [with_client(Deflate, fun(Socket, Conn, _) ->
         Noise = rand:bytes(10000),
         ok = sockeye:send(Conn, {binary, Noise}),
         ?assertEqual({false, 2, Noise}, ws_deflate:recv(Socket)),
         ok = sockeye:send(Conn, {ping, binary:copy(<<"a">>, 125)}),
         ?assertMatch({false, 9, _}, ws_deflate:recv(Socket))
     end) || Deflate <- [true, keeping()]].

a_server_keeps_its_window_test() ->
    with_client(keeping(), fun(Socket, Conn, _) ->
        Z = ws_deflate:inflater(),
        Sizes = [begin
                     ok = sockeye:send(Conn, [Frame, {text, <<"short">>}]),
                     {true, 1, Payload} = ws_deflate:recv(Socket),
                     ?assertEqual(prose(1000), ws_deflate:inflate(Z, Payload)),
                     ?assertEqual({false, 1, <<"short">>}, ws_deflate:recv(Socket)),
                     byte_size(Payload)
                 end || Frame <- lists:duplicate(3, {text, prose(1000)})],
        ?assertMatch([First, Second, _] when Second < First div 2, Sizes)
    end).

uncompressed_on_request_test_() ->
    Text = {text, prose(1000)},
    [{lists:flatten(io_lib:format("~p ~p", [Deflate, Way])),
      fun() ->
              with_client(Deflate, fun(Socket, Conn, Server) ->
                  ok = case Way of
                           list -> sockeye:send(Conn, [{uncompressed, Text}]);
                           conns -> sockeye:send([Conn], {uncompressed, Text});
                           frame -> sockeye:send(Conn, {uncompressed, Text});
                           broadcast -> sockeye:broadcast(Server, {uncompressed, Text})
                       end,
                  ?assertEqual({false, 1, prose(1000)}, ws_deflate:recv(Socket)),
                  ok = sockeye:send(Conn, Text),
                  ?assertMatch({true, 1, _}, ws_deflate:recv(Socket)),
                  ok = sockeye:send(Conn, [{ping, <<>>}, {pong, <<>>}]),
                  ?assertMatch({false, 9, <<>>}, ws_deflate:recv(Socket)),
                  ?assertMatch({false, 10, <<>>}, ws_deflate:recv(Socket))
              end)
      end} || Deflate <- [true, keeping()], Way <- [list, conns, frame, broadcast]].

misuse_test() ->
    with_client(true, fun(_, Conn, _) ->
        Text = {text, <<"x">>},
        [?assertError(badarg, sockeye:send(Conn, Bad))
         || Bad <- [{uncompressed, {close, 1000, <<>>}}, {uncompressed, {ping, <<>>}}, {uncompressed, {pong, <<>>}},
                    {uncompressed, {uncompressed, Text}}, {plain, Text}]]
    end).

commands_of_a_handler_test() ->
    Text = {text, prose(1000)},
    Funs = #{frame =>
                 fun({binary, <<"reply">>}, _, S) -> {[{reply, Text}], S};
                    ({binary, <<"plain">>}, _, S) -> {[{reply, {uncompressed, Text}}], S};
                    ({binary, <<"send">>}, Conn, S) -> {[{send, Conn, [Text, Text]}], S};
                    ({binary, <<"both">>}, Conn, S) ->
                         {[{send, Conn, [{uncompressed, Text}]}, {reply, Text}], S}
                 end},
    with_handler(Funs, #{deflate => true}, fun(Port, _) ->
        {Socket, _} = ws_deflate:connect(Port, "permessage-deflate"),
        [begin
             ok = ws_client:binary(Socket, Ask),
             [begin
                  {Compressed, 1, Payload} = ws_deflate:recv(Socket),
                  ?assertEqual({Ask, Is}, {Ask, Compressed}),
                  Data = case Compressed of
                             true -> ws_deflate:inflate(Payload);
                             false -> Payload
                         end,
                  ?assertEqual(prose(1000), Data)
              end || Is <- Expected]
         end || {Ask, Expected} <- [{<<"reply">>, [true]}, {<<"plain">>, [false]},
                                    {<<"send">>, [true, true]}, {<<"both">>, [false, true]}]]
    end).

%% Compressed once for those who share, by each connection for itself where it
%% keeps its window, and not at all for the others.
a_broadcast_suits_everyone_test() ->
    Offers = ["permessage-deflate",
              "permessage-deflate; server_no_context_takeover",
              "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
              "x-unknown"],
    with_server(#{deflate => keeping()}, fun(Port, Server) ->
        Clients = [begin
                       {Socket, _} = ws_deflate:connect(Port, Offer),
                       {_, {open, _}} = event(),
                       {Offer, Socket, ws_deflate:inflater()}
                   end || Offer <- Offers],
        [begin
             ok = sockeye:broadcast(Server, {text, prose(Size)}),
             [case {ws_deflate:recv(Socket), Offer} of
                  {{true, 1, Payload}, "permessage-deflate" ++ More} ->
                      %% Beyond a small window it comes plain.
                      ?assert(Size =< 512 orelse string:find(More, "=9") =:= nomatch),
                      case More of
                          "" -> ?assertEqual(prose(Size), ws_deflate:inflate(Z, Payload));
                          _ -> ?assertEqual(prose(Size), ws_deflate:inflate(Payload))
                      end;
                  {{false, 1, Payload}, _} ->
                      ?assert(Offer =:= "x-unknown"
                              orelse Size > 512 andalso string:find(Offer, "=9") =/= nomatch),
                      ?assertEqual(prose(Size), Payload)
              end || {Offer, Socket, Z} <- Clients]
         end || Size <- [300, 512, 513, 20000, 300, 100000]]
    end).

%% The bound on the queue counts what travels.
the_queue_counts_compressed_bytes_test_() ->
    [{lists:flatten(io_lib:format("~p", [Deflate])),
      fun() ->
              with_client(Deflate, "permessage-deflate", #{send_queue_size => 100000},
                          fun(Socket, Conn, _) ->
                                  [begin
                                       ok = sockeye:send(Conn, {text, prose(50000)}),
                                       ?assertMatch({true, 1, _}, ws_deflate:recv(Socket))
                                   end || _ <- lists:seq(1, 20)],
                                  drained(Conn),
                                  ?assertMatch({ok, #{send_queue := 0}}, sockeye:info(Conn))
                          end)
      end} || Deflate <- [true, keeping()]].

%% Options

good_options_test() ->
    [begin
         {ok, Server} = sockeye:start_link(#{port => 0, deflate => Good}),
         ok = sockeye:stop(Server)
     end || Good <- [true, false, #{}, #{level => 1}, #{level => 9, mem_level => 1},
                     #{server_max_window_bits => 9, client_max_window_bits => 15},
                     #{threshold => 0}, keeping()]].

bad_options_test() ->
    [begin
         {error, {bad_option, deflate, Why}} = sockeye:start_link(#{port => 0, deflate => Bad}),
         ?assertNotEqual(nomatch, string:find(Why, Names))
     end || {Bad, Names} <- [{yes, "a boolean or a map"},
                             {[], "a boolean or a map"},
                             {#{levle => 1}, "levle: unknown option; did you mean level?"},
                             {#{level => 0}, "level: expected 1..9, got 0"},
                             {#{level => 10}, "level"},
                             {#{mem_level => 0}, "mem_level"},
                             {#{mem_level => 10}, "mem_level"},
                             {#{server_max_window_bits => 8}, "server_max_window_bits: expected 9..15"},
                             {#{server_max_window_bits => 16}, "server_max_window_bits"},
                             {#{client_max_window_bits => 8}, "client_max_window_bits"},
                             {#{client_max_window_bits => 15.0}, "client_max_window_bits"},
                             {#{server_context_takeover => 1}, "server_context_takeover: expected a boolean"},
                             {#{client_context_takeover => yes}, "client_context_takeover"},
                             {#{threshold => -1}, "threshold"},
                             {#{threshold => infinity}, "threshold"}]].
