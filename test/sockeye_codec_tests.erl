%% sockeye_codec: frames in and out, both roles, with and without compression.
-module(sockeye_codec_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-needs(codec).

-import(sockeye_codec, [new/2, encode/2, decode/2, eof/1, info/1]).

%% Bytes beyond which a normal scheduler does not do it (codec/receive.rs, codec/send.rs).
-define(NORMAL_IN, 16 * 1024).
-define(NORMAL_MESSAGE, 256 * 1024).

needs_no_application_test() ->
    Code = "[{ok, Client}, {ok, Server}] = [sockeye_codec:new(Role) || Role <- [client, server]], "
           "{ok, Bytes} = sockeye_codec:encode(Client, {text, \"hi\"}), "
           "{[{text, <<\"hi\">>}], <<>>} = sockeye_codec:decode(Server, Bytes), "
           "false = lists:keymember(sockeye, 1, application:which_applications()), ",
    ?assertEqual({0, <<"fine">>}, test_support:bare_node(Code, [{"SOCKEYE_ENGINE", false}])).

pair() -> {new(client), new(server)}.

new(Role) ->
    {ok, Codec} = sockeye_codec:new(Role),
    Codec.

pair(Options) ->
    {ok, Client} = new(client, Options),
    {ok, Server} = new(server, Options),
    {Client, Server}.

bytes(Codec, Frames) ->
    {ok, Bytes} = encode(Codec, Frames),
    Bytes.

bytes_of_a_server_test_() ->
    [?_assertEqual(Bytes, bytes(new(server), Frame))
     || {Frame, Bytes} <-
            [{{text, "hi"}, <<16#81, 2, "hi">>},
             {{text, [<<16#c3>>, 16#a9]}, <<16#81, 2, 16#c3, 16#a9>>},
             {{binary, <<255>>}, <<16#82, 1, 255>>},
             {{binary, <<0:(126 * 8)>>}, <<16#82, 126, 126:16, 0:(126 * 8)>>},
             {{binary, <<0:(65536 * 8)>>}, <<16#82, 127, 65536:64, 0:(65536 * 8)>>},
             {{ping, <<>>}, <<16#89, 0>>},
             {{pong, <<"p">>}, <<16#8a, 1, "p">>},
             {{close, 1000, "bye"}, <<16#88, 5, 1000:16, "bye">>},
             {#{a => 1}, <<16#81, 7, "{\"a\":1}">>},
             {{json, [null, true]}, <<16#81, 11, "[null,true]">>},
             {[], <<>>},
             {[{text, "a"}, {binary, "b"}], <<16#81, 1, "a", 16#82, 1, "b">>},
             {[{stream, text, first, "a"}, {ping, ""}, {stream, text, more, "b"}, {stream, text, last, ""}],
              <<1, 1, "a", 16#89, 0, 0, 1, "b", 16#80, 0>>}]].

%% RFC 6455, 5.7.
bytes_of_a_client_test() ->
    {Client, Server} = pair(),
    <<16#81, 16#85, _Key:4/binary, Masked:5/binary>> = Bytes = bytes(Client, {text, "Hello"}),
    ?assertNotEqual(<<"Hello">>, Masked),
    ?assertEqual({[{text, <<"Hello">>}], <<>>}, decode(Server, Bytes)),
    ?assertEqual({[{text, <<"Hello">>}], <<>>},
                 decode(Server, <<16#81, 16#85, 16#37, 16#fa, 16#21, 16#3d, 16#7f, 16#9f, 16#4d, 16#51, 16#58>>)).

null_is_an_option_test() ->
    {ok, Codec} = new(server, #{null => nil}),
    ?assertEqual(<<16#81, 6, "[null]">>, bytes(Codec, {json, [nil]})).

pings_are_answered_test_() ->
    [fun() ->
             {ok, Ping} = encode(A, {ping, <<"are you there">>}),
             {[{ping, <<"are you there">>}], Pong} = decode(B, Ping),
             ?assertEqual({[{pong, <<"are you there">>}], <<>>}, decode(A, Pong))
     end || {C, S} <- [pair()], {A, B} <- [{C, S}, {S, C}]].

close_test_() ->
    [fun() ->
             {A, B} = case Order of there -> pair(); back -> {S, C} = pair(), {C, S} end,
             {ok, Close} = encode(A, [{text, "last"}, {close, 4001, "enough"}]),
             ?assertMatch(#{state := closing}, info(A)),
             ?assertEqual({error, closed}, encode(A, {text, "more"})),
             ?assertEqual({error, closed}, encode(A, {close, 1000, ""})),
             {[{text, <<"last">>}, {closed, 4001, <<"enough">>}], Answer} = decode(B, Close),
             ?assertMatch(#{state := closed}, info(B)),
             ?assertEqual({error, closed}, encode(B, {text, "more"})),
             ?assertEqual({[{closed, 4001, <<>>}], <<>>}, decode(A, Answer)),
             ?assertEqual({closed, 4001, <<>>}, eof(A)),
             ?assertEqual({closed, 4001, <<"enough">>}, eof(B)),
             ?assertEqual({[], <<>>}, decode(A, Close)),
             ?assertEqual({[], <<>>}, decode(B, Close))
     end || Order <- [there, back]].

what_comes_after_our_close_is_dropped_test() ->
    {Client, Server} = pair(),
    {ok, _} = encode(Client, {close, 1000, ""}),
    ?assertEqual({[], <<>>}, decode(Client, bytes(Server, [{text, "late"}, {ping, "late"}]))),
    ?assertEqual({[{closed, 1001, <<"away">>}], <<>>}, decode(Client, bytes(Server, {close, 1001, "away"}))).

closes_without_a_code_or_a_frame_test() ->
    Codec = new(client),
    {[{closed, 1005, <<>>}], <<16#88, 16#80, _:4/binary>>} = decode(Codec, <<16#88, 0>>),
    ?assertEqual({closed, 1005, <<>>}, eof(Codec)),
    Cut = new(client),
    ?assertEqual({[], <<>>}, decode(Cut, <<16#81, 5, "abc">>)),
    ?assertEqual({closed, 1006, <<>>}, eof(Cut)),
    ?assertEqual({error, closed}, encode(Cut, {text, "a"})).

%% What breaks the protocol ends with its code, and Reply tells the peer.
violations_test_() ->
    [{lists:flatten(io_lib:format("~s ~p", [Role, Bytes])),
      fun() ->
              Codec = new(Role),
              {[{closed, Code, Reason}], Reply} = decode(Codec, [Bytes, <<16#89, 0>>]),
              {Events, _} = decode(new(other(Role)), Reply),
              ?assertEqual([{closed, Code, Reason}], Events),
              ?assertEqual({closed, Code, Reason}, eof(Codec)),
              ?assertEqual({error, closed}, encode(Codec, {text, "a"}))
      end}
     || {Role, Bytes, Code} <-
            [{client, <<16#c1, 0>>, 1002}, {client, <<16#83, 0>>, 1002}, {client, <<16#81, 16#80, 0:32>>, 1002},
             {server, <<16#81, 0>>, 1002}, {client, <<16#09, 0>>, 1002}, {client, <<16#89, 126, 126:16>>, 1002},
             {client, <<16#81, 126, 125:16>>, 1002}, {client, <<16#80, 0>>, 1002},
             {client, <<1, 0, 16#81, 0>>, 1002}, {client, <<16#88, 1, 0>>, 1002},
             {client, <<16#88, 2, 1005:16>>, 1002}, {client, <<16#81, 1, 255>>, 1007},
             {client, <<1, 1, 16#e2, 16#80, 0>>, 1007}, {client, <<16#88, 3, 1000:16, 255>>, 1007}]].

other(client) -> server;
other(server) -> client.

limits_test_() ->
    Frame = fun(Size) -> {binary, <<0:(Size * 8)>>} end,
    Fragments = fun(1) -> [{binary, "x"}];
                   (N) -> [{stream, binary, first, "x"}
                           | [{stream, binary, more, "x"} || _ <- lists:seq(3, N)]] ++ [{stream, binary, last, "x"}]
                end,
    [{lists:flatten(io_lib:format("~p", [Options])),
      fun() ->
              [begin
                   {ok, Client} = new(client, Options),
                   {Events, _} = decode(Client, bytes(new(server), Frames(N))),
                   ?assertMatch([{Tag, _} | _] when Tag =:= binary, Events)
               end || N <- [Bound - 1, Bound]],
              {ok, Client} = new(client, Options),
              ?assertMatch({[{closed, Code, _}], _}, decode(Client, bytes(new(server), Frames(Bound + 1))))
      end}
     || {Options, Bound, Frames, Code} <-
            [{#{max_message_size => 1000}, 1000, Frame, 1009},
             {#{max_frame_size => 1000}, 1000, Frame, 1009},
             {#{max_fragments => 3}, 3, Fragments, 1008},
             {#{}, 1048576, Frame, 1009},
             {#{}, 1024, Fragments, 1008}]].

control_frames_are_short_test_() ->
    Codec = new(server),
    Text = fun(N) -> binary:copy(<<"x">>, N) end,
    [[?_assertMatch({ok, _}, encode(Codec, {Op, Text(N)})) || Op <- [ping, pong], N <- [124, 125]],
     [?_assertError(badarg, encode(Codec, {Op, Text(126)})) || Op <- [ping, pong]],
     %% Lists have the same bounds: their cells and their end are no bytes.
     [?_assertEqual(encode(new(server), Frame), encode(new(server), List))
      || N <- [1, 70, 122, 123], {Frame, List} <- [{{ping, Text(N)}, {ping, binary_to_list(Text(N))}},
                                                  {{close, 1000, Text(N)}, {close, 1000, binary_to_list(Text(N))}}]],
     [?_assertError(badarg, encode(new(server), {ping, lists:duplicate(126, $a)})),
      ?_assertError(badarg, encode(new(server), {close, 1000, lists:duplicate(124, $a)}))],
     [?_assertMatch({ok, _}, encode(new(server), {close, 1000, Text(N)})) || N <- [122, 123]],
     ?_assertError(badarg, encode(Codec, {close, 1000, Text(124)}))].

misuse_test_() ->
    Codec = new(server),
    [[?_assertError(badarg, encode(Codec, Bad))
      || Bad <- [text, {text, a}, {text, "a", "b"}, {close, 1005, ""}, {close, 999, ""}, {close, 5000, ""},
                 {stream, text, middle, ""}, {stream, json, first, ""}, {uncompressed, {ping, ""}}, {uncompressed, text},
                 {uncompressed, {uncompressed, {text, ""}}}, {plain, #{}}, [{text, "a"} | {text, "b"}], <<"text">>, {active, 1}]],
     [?_assertError(badarg, decode(Codec, Bad)) || Bad <- [a, [256], <<1:3>>]],
     [?_assertError(badarg, decode(Bad, <<>>)) || Bad <- [a, make_ref(), self()]],
     ?_assertError(badarg, new(neither)),
     ?_assertError(badarg, new(server, [])),
     ?_assertEqual(<<16#81, 2, "ok">>, bytes(Codec, {text, "ok"}))].

order_of_fragments_test_() ->
    First = {stream, text, first, ""},
    [?_assertEqual({error, Why}, encode(new(server), Frames))
     || {Why, Frames} <- [{not_streaming, {stream, text, more, "no first"}}, {not_streaming, {stream, text, last, ""}},
                          {not_streaming, [First, {stream, binary, last, ""}]},
                          {streaming, [First, {text, "within"}]}, {streaming, [First, #{}]},
                          {streaming, [First, {uncompressed, #{}}]}, {streaming, [First, First]}]].

all_or_none_test() ->
    {Client, Server} = pair(#{deflate => #{server_context_takeover => true, client_context_takeover => true}}),
    Words = binary:copy(<<"the same words ">>, 20),
    Ref = make_ref(),
    [begin
         ?assertMatch({error, {not_json, Ref, _}}, encode(Client, [{text, Words}, #{a => Ref}])),
         ?assertEqual({error, not_utf8}, encode(Client, [{text, Words}, {text, <<255>>}, {close, 1000, ""}])),
         ?assertEqual({error, closed}, encode(Client, [{close, 1000, ""}, {text, Words}])),
         ?assertEqual({error, streaming}, encode(Client, [{stream, text, first, Words}, {text, Words}])),
         ?assertEqual({[{text, Words}], <<>>}, decode(Server, bytes(Client, {text, Words})))
     end || _ <- lists:seq(1, 3)].

text_in_fragments_is_utf8_test() ->
    {Client, Server} = pair(),
    <<A, B, C>> = <<16#20ac/utf8>>,
    Cut = bytes(Client, [{stream, text, first, [A]}, {stream, text, more, [B]}, {stream, text, last, [C]}]),
    ?assertEqual({[{text, <<16#20ac/utf8>>}], <<>>}, decode(Server, Cut)),
    {ok, First} = encode(Client, {stream, text, first, [A]}),
    ?assertEqual({error, not_utf8}, encode(Client, {stream, text, more, "a"})),
    ?assertEqual({error, not_utf8}, encode(Client, {stream, text, last, [B]})),
    {ok, Last} = encode(Client, {stream, text, last, [B, C]}),
    ?assertEqual({[{text, <<16#20ac/utf8>>}], <<>>}, decode(Server, [First, Last])),
    {ok, Binary} = encode(Client, [{stream, binary, first, [A]}, {stream, binary, last, [A]}]),
    ?assertEqual({[{binary, <<A, A>>}], <<>>}, decode(Server, Binary)).

bad_options_test_() ->
    [{lists:flatten(io_lib:format("~p", [{Key, Value}])),
      ?_assertMatch({error, {bad_option, Key, _}}, new(server, #{Key => Value}))}
     || {Key, Value} <-
            [{max_message_size, 0}, {max_frame_size, infinity}, {max_fragments, -1}, {null, none}, {port, 1},
             {host, <<"a">>}, {subprotocols, []}, {deflate, yes}, {deflate, #{level => 0}}, {deflate, #{level => 10}},
             {deflate, #{server_max_window_bits => 8}}, {deflate, #{client_max_window_bits => 16}},
             {deflate, #{mem_level => 0}}, {deflate, #{threshold => -1}}, {deflate, #{server_context_takeover => 1}},
             {deflate, #{unknown => 1}}]]
    ++ [?_assertMatch({error, {bad_option, null, _}}, new(client, #{null => 0, deflate => true}))].

compression_test_() ->
    Words = binary:copy(<<"some words that repeat ">>, 50),
    [{lists:flatten(io_lib:format("~p ~p", [Deflate, Order])),
      fun() ->
              {Client, Server} = pair(#{deflate => Deflate}),
              {A, B} = case Order of up -> {Client, Server}; down -> {Server, Client} end,
              ?assertMatch(#{deflate := true}, info(A)),
              [begin
                   Bytes = bytes(A, {text, Words}),
                   ?assert(byte_size(Bytes) < byte_size(Words) div 4),
                   ?assertEqual({[{text, Words}], <<>>}, decode(B, Bytes)),
                   Plain = bytes(A, {uncompressed, {text, Words}}),
                   ?assert(byte_size(Plain) > byte_size(Words)),
                   [?assertEqual(byte_size(Plain), byte_size(bytes(A, {uncompressed, {Kind, Words}}))) || Kind <- [text, binary]],
                   ?assert(byte_size(bytes(A, {uncompressed, #{words => Words}})) > byte_size(Words)),
                   ?assertEqual({[{text, Words}], <<>>}, decode(B, Plain)),
                   Small = bytes(A, {text, "small"}),
                   ?assert(byte_size(Small) =< 11),
                   ?assertEqual({[{text, <<"small">>}], <<>>}, decode(B, Small))
               end || _ <- lists:seq(1, 3)]
      end}
     || Deflate <- [true, #{server_context_takeover => true, client_context_takeover => true},
                    #{server_max_window_bits => 9, client_max_window_bits => 9, level => 9, mem_level => 1},
                    #{server_context_takeover => true, client_max_window_bits => 10}],
        Order <- [up, down]].

%% A window that is kept makes the second of equal messages small.
takeover_remembers_test() ->
    {Client, _} = pair(#{deflate => #{client_context_takeover => true}}),
    Noise = rand:bytes(2000),
    First = byte_size(bytes(Client, {binary, Noise})),
    ?assert(First >= 2000),
    {Other, _} = pair(#{deflate => #{client_context_takeover => true}}),
    Text = base64:encode(Noise),
    Long = byte_size(bytes(Other, {text, Text})),
    ?assert(byte_size(bytes(Other, {text, Text})) < Long div 10).

%% A megabyte of zeros is about a kilobyte: the bound is on what comes out.
inflated_size_is_bounded_test() ->
    Options = #{deflate => true, max_message_size => 1048576},
    [begin
         {Client, _} = pair(Options),
         {ok, Bytes} = encode(element(2, pair(#{deflate => true, max_message_size => 4194304})),
                              {binary, <<0:(Size * 8)>>}),
         ?assert(byte_size(Bytes) < 8192),
         {[Event], _} = decode(Client, Bytes),
         case Fits of
             true -> ?assertEqual({binary, <<0:(Size * 8)>>}, Event);
             false -> ?assertMatch({closed, 1009, _}, Event)
         end
     end || {Size, Fits} <- [{1048575, true}, {1048576, true}, {1048577, false}]].

not_deflate_is_1007_or_1002_test() ->
    {Client, _} = pair(#{deflate => true}),
    ?assertMatch({[{closed, Code, _}], _} when Code =:= 1002; Code =:= 1007,
                 decode(Client, <<16#c1, 3, 255, 255, 255>>)).

%% N - 1, N, N + 1: who does the work makes no difference to what comes out.
dirty_boundaries_test_() ->
    [{lists:flatten(io_lib:format("~p ~p", [Deflate, Size])),
      fun() ->
              {Client, Server} = pair(#{deflate => Deflate, max_message_size => 4194304}),
              Payload = binary:part(binary:copy(<<"some words, ">>, Size div 12 + 1), 0, Size),
              ?assertEqual({[{text, Payload}], <<>>}, decode(Server, bytes(Client, {text, Payload}))),
              ?assertEqual({[{text, Payload}], <<>>}, decode(Client, bytes(Server, {text, [[], Payload]}))),
              {ok, Json} = encode(Client, {json, Payload}),
              {[{text, Text}], <<>>} = decode(Server, Json),
              ?assertEqual({ok, Payload}, sockeye_json:decode(Text))
      end}
     || Deflate <- [false, true],
        Base <- [1024, ?NORMAL_IN, 65536, ?NORMAL_MESSAGE], Size <- [Base - 1, Base, Base + 1]].

dirty_is_asked_for_test() ->
    Server = new(server),
    Small = <<16#82, 126, (?NORMAL_IN - 4):16, 0:((?NORMAL_IN - 4) * 8)>>,
    ?assertMatch({[{binary, _}], <<>>}, sockeye_nif:codec_decode(new(client), Small)),
    ?assertEqual(dirty, sockeye_nif:codec_decode(new(client), <<Small/binary, 0>>)),
    ?assertEqual(dirty, sockeye_nif:codec_decode(new(client), [Small, 0])),
    ?assertMatch({ok, _}, sockeye_nif:codec_encode(Server, {binary, <<0:(?NORMAL_MESSAGE * 8)>>})),
    ?assertEqual(dirty, sockeye_nif:codec_encode(Server, {binary, <<0:((?NORMAL_MESSAGE + 1) * 8)>>})),
    ?assertEqual(dirty, sockeye_nif:codec_encode(Server, lists:duplicate(1025, {ping, ""}))),
    ?assertMatch({ok, _}, sockeye_nif:codec_encode(Server, lists:duplicate(1024, {ping, ""}))),
    %% Compressing is more work than copying.
    {ok, Compressing} = new(server, #{deflate => true}),
    ?assertMatch({ok, _}, sockeye_nif:codec_encode(Compressing, {binary, <<0:(16384 * 8)>>})),
    ?assertEqual(dirty, sockeye_nif:codec_encode(Compressing, {binary, <<0:(16385 * 8)>>})),
    ?assertMatch({ok, _}, sockeye_nif:codec_encode(Compressing, {uncompressed, {binary, <<0:(16385 * 8)>>}})),
    %% A byte can become a thousand.
    Incoming = fun(Size) ->
                   {ok, Inflating} = new(client, #{deflate => true}),
                   sockeye_nif:codec_decode(Inflating, <<16#82, 126, (Size - 4):16, 0:((Size - 4) * 8)>>)
               end,
    ?assertMatch({[_], <<>>}, Incoming(1023)),
    ?assertMatch({[_], <<>>}, Incoming(1024)),
    ?assertEqual(dirty, Incoming(1025)),
    %% What is buffered already counts.
    {ok, Client} = new(client, #{max_message_size => 4194304}),
    {[], <<>>} = decode(Client, <<16#82, 127, (?NORMAL_MESSAGE * 2):64, 0:(?NORMAL_MESSAGE * 8)>>),
    ?assertEqual(dirty, sockeye_nif:codec_decode(Client, <<0>>)).

processes_take_turns_test_() ->
    {timeout, 60, fun() ->
        {ok, Codec} = new(server, #{deflate => true}),
        Self = self(),
        Sizes = [10, 1000, 100000],
        Pids = [spawn_link(fun() ->
                    [begin
                         {ok, _} = encode(Codec, {text, binary:copy(<<"x">>, Size)}),
                         {[], <<>>} = decode(Codec, <<>>),
                         #{state := open} = info(Codec)
                     end || _ <- lists:seq(1, 50), Size <- Sizes],
                    Self ! {done, self()}
                end) || _ <- lists:seq(1, 8)],
        [receive {done, Pid} -> ok end || Pid <- Pids]
    end}.

%% Any sequence of messages, cut anywhere, in either role, comes out the same.
property_test_() ->
    {timeout, 120, fun() ->
        State = rand:seed(exsss),
        try [round_trip(Deflate) || _ <- lists:seq(1, 150), Deflate <- deflates()]
        catch Class:Reason:Stack ->
            ?debugFmt("seed ~w", [rand:export_seed_s(State)]),
            erlang:raise(Class, Reason, Stack)
        end
    end}.

deflates() ->
    [false, true, #{server_context_takeover => true, client_context_takeover => true, threshold => 0},
     #{server_max_window_bits => 9, client_max_window_bits => 10, server_context_takeover => true, threshold => 1}].

round_trip(Deflate) ->
    {Client, Server} = pair(#{deflate => Deflate}),
    {From, To} = case rand:uniform(2) of 1 -> {Client, Server}; 2 -> {Server, Client} end,
    Sent = [message() || _ <- lists:seq(1, rand:uniform(12))],
    Wire = iolist_to_binary([bytes_in_calls(From, Frames) || Frames <- Sent]),
    {Events, Replies} = decode_cut(To, Wire),
    ?assertEqual(lists:append([expected(Frames) || Frames <- Sent]), Events),
    %% Every ping has its pong, in order.
    ?assertEqual({[{pong, P} || {ping, P} <- Events], <<>>}, decode_cut(From, Replies)),
    {Closed, Answer} = decode_cut(To, bytes(From, {close, 3000, "end"})),
    ?assertEqual([{closed, 3000, <<"end">>}], Closed),
    ?assertEqual({[{closed, 3000, <<>>}], <<>>}, decode_cut(From, Answer)).

decode_cut(Codec, Bytes) -> decode_cut(Codec, Bytes, [], []).

decode_cut(_Codec, <<>>, Events, Replies) ->
    {lists:append(lists:reverse(Events)), iolist_to_binary(lists:reverse(Replies))};
decode_cut(Codec, Bytes, Events, Replies) ->
    Most = lists:nth(rand:uniform(4), [1, 7, 300, 100000]),
    Size = min(byte_size(Bytes), rand:uniform(Most)),
    <<Piece:Size/binary, Rest/binary>> = Bytes,
    {More, Reply} = decode(Codec, Piece),
    decode_cut(Codec, Rest, [More | Events], [Reply | Replies]).

%% Frames in one call, or each in its own.
bytes_in_calls(Codec, Frames) ->
    case rand:uniform(2) of
        1 -> bytes(Codec, Frames);
        2 -> [bytes(Codec, Frame) || Frame <- Frames]
    end.

expected(Frames) ->
    {Pieces, Others} = lists:partition(fun(F) -> element(1, F) =:= stream end, Frames),
    [whole(F) || F <- Others]
        ++ case Pieces of
               [] -> [];
               [{stream, Kind, first, _} | _] -> [{Kind, iolist_to_binary([P || {stream, _, _, P} <- Pieces])}]
           end.

whole({json, Term}) -> {text, element(2, sockeye_json:encode(Term))};
whole({Kind, Payload}) -> {Kind, iolist_to_binary(Payload)}.

message() ->
    case rand:uniform(6) of
        1 -> [{json, json_terms:term(3)}];
        2 -> [{text, text()}];
        3 -> [{binary, rand:bytes(size())}];
        4 -> [{ping, rand:bytes(rand:uniform(126) - 1)}];
        5 -> stream(text, text());
        6 -> stream(binary, rand:bytes(size()))
    end.

%% Pings may come within, and arrive before the message that they cut.
stream(Kind, Payload) ->
    [First | Rest] = pieces(Payload, 1 + rand:uniform(5)),
    [{stream, Kind, first, First}]
        ++ lists:append([[{stream, Kind, more, P} | [{ping, <<"within">>} || rand:uniform(3) =:= 1]]
                         || P <- lists:droplast(Rest)])
        ++ [{stream, Kind, last, lists:last(Rest)}].

pieces(Payload, 1) -> [Payload];
pieces(Payload, N) ->
    Size = rand:uniform(byte_size(Payload) + 1) - 1,
    <<Piece:Size/binary, Rest/binary>> = Payload,
    [Piece | pieces(Rest, N - 1)].

size() -> lists:nth(rand:uniform(6), [0, 1, 125, 126, 5000, rand:uniform(70000)]).

text() ->
    {ok, Text} = sockeye_json:encode(json_terms:term(4)),
    Text.
