%% JSON through a whole server: text in, terms in the handler, text out.
-module(sockeye_json_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/3, open/1, event/1]).

%% The event that a text makes.
decoded(Options, Text) ->
    with_server(Options, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = ws_client:text(Socket, Text),
        event(Conn)
    end).

json(Text) ->
    {json, Term} = decoded(#{}, Text),
    Term.

values_test_() ->
    [{Text, ?_assertEqual(Term, json(Text))} || {Text, Term} <- json_terms:values()].

integers_are_exact_test_() ->
    [{integer_to_list(N),
      fun() -> ?assertEqual(N, json(integer_to_binary(N))) end}
     || Bits <- [8, 31, 32, 59, 60, 63, 64, 65, 128, 2100],
        Sign <- [1, -1], Delta <- [-1, 0, 1], N <- [Sign * (1 bsl Bits) + Delta]].

keys_test_() ->
    Text = <<"{\"sockeye\":1,\"never an atom 1\":2}">>,
    [?_assertEqual({json, #{<<"sockeye">> => 1, <<"never an atom 1">> => 2}},
                   decoded(#{keys => binary}, Text)),
     ?_assertEqual({json, #{sockeye => 1, <<"never an atom 1">> => 2}},
                   decoded(#{keys => existing_atom}, Text)),
     ?_assertEqual({json, #{sockeye => 1, <<"never an atom 1">> => 2}},
                   decoded(#{keys => {atoms, [sockeye]}}, Text)),
     ?_assertEqual({json, #{<<"sockeye">> => 1, <<"never an atom 1">> => 2}},
                   decoded(#{keys => {atoms, [other]}}, Text))].

no_atoms_are_made_test() ->
    Name = binary:encode_hex(rand:bytes(16)),
    ?assertMatch({json, #{Name := 1}},
                 decoded(#{keys => existing_atom}, <<"{\"", Name/binary, "\":1}">>)),
    ?assertError(badarg, binary_to_existing_atom(Name)).

null_test_() ->
    [?_assertEqual({json, [Null]}, decoded(#{null => Null}, <<"[null]">>))
     || Null <- [null, undefined, nil]].

depth_test_() ->
    Nested = fun(N) -> [binary:copy(<<"[">>, N), binary:copy(<<"]">>, N)] end,
    Deliver = #{on_invalid_json => deliver},
    [?_assertMatch({json, _}, decoded(Deliver#{max_depth => 3}, Nested(2))),
     ?_assertMatch({json, _}, decoded(Deliver#{max_depth => 3}, Nested(3))),
     ?_assertMatch({invalid_json, _, _}, decoded(Deliver#{max_depth => 3}, Nested(4))),
     ?_assertMatch({json, _}, decoded(Deliver, Nested(128))),
     ?_assertMatch({invalid_json, _, _}, decoded(Deliver, Nested(129)))].

invalid_is_closed_test_() ->
    [{Text,
      fun() ->
              with_server(#{}, fun(Port, _) ->
                  {Socket, Conn} = open(Port),
                  ok = ws_client:text(Socket, Text),
                  ?assertMatch({1007, _}, ws_client:recv_close(Socket)),
                  ?assertMatch({closed, 1007, _}, event(Conn))
              end)
      end} || Text <- json_terms:invalid()].

invalid_is_closed_for_a_handler_test() ->
    Self = self(),
    Funs = #{close => fun(_, Code, _, S) -> Self ! {code, Code}, {[], S} end},
    with_handler(Funs, #{}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"{">>),
        ?assertMatch({1007, _}, ws_client:recv_close(Socket)),
        ?assertEqual({code, 1007}, test_support:message())
    end).

invalid_is_delivered_test_() ->
    [{Text, ?_assertMatch({invalid_json, Text, _}, decoded(#{on_invalid_json => deliver}, Text))}
     || Text <- json_terms:invalid()].

raw_test() ->
    ?assertEqual({text, <<"{not json">>}, decoded(#{format => raw}, <<"{not json">>)).

binary_stays_binary_test_() ->
    [fun() ->
             with_server(#{format => Format}, fun(Port, _) ->
                 {Socket, Conn} = open(Port),
                 ok = ws_client:binary(Socket, <<"{}">>),
                 ?assertEqual({binary, <<"{}">>}, event(Conn))
             end)
     end || Format <- [json, raw]].

encoded(Term) ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        case sockeye:send(Conn, {json, Term}) of
            ok -> ws_client:recv_data(Socket);
            Error -> Error
        end
    end).

encode_test_() ->
    [{Text, ?_assertEqual(Text, encoded(Term))}
     || {Term, Text} <-
            [{null, <<"null">>}, {true, <<"true">>}, {an_atom, <<"\"an_atom\"">>},
             {0, <<"0">>}, {-1, <<"-1">>}, {1 bsl 200, integer_to_binary(1 bsl 200)},
             {-(1 bsl 64), <<"-18446744073709551616">>},
             {0.1, <<"0.1">>}, {[], <<"[]">>}, {#{}, <<"{}">>},
             {#{<<"k">> => [#{}]}, <<"{\"k\":[{}]}">>}, {#{1 => 2}, <<"{\"1\":2}">>},
             {<<"q\"\\\n\t", 1, "/", 16#e9/utf8>>,
              <<"\"q\\\"\\\\\\n\\t\\u0001/", 16#e9/utf8, "\"">>},
             {[{json_raw, <<"{\"x\": 1}">>}, 2], <<"[{\"x\": 1},2]">>}]].

not_json_test_() ->
    [{lists:flatten(io_lib:format("~p", [Bad])),
      [?_assertMatch({error, {not_json, Bad, _}}, encoded(Bad)),
       ?_assertMatch({error, {not_json, Bad, _}}, encoded([1, #{a => [Bad]}]))]}
     || Bad <- json_terms:not_json()].

floats_come_back_test() ->
    Funs = #{frame => fun(Frame, _Conn, S) -> {[{reply, Frame}], S} end},
    with_handler(Funs, #{}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        [begin
             Text = iolist_to_binary(io_lib:format("~w", [Float])),
             ok = ws_client:text(Socket, Text),
             ?assertEqual(Float, number(ws_client:recv_data(Socket)))
         end || Float <- [0.1, -0.0, 1.0e-300, 1.7976931348623157e308, 5.0e-324, 1.0e21, 123456.789
                          | [F || _ <- lists:seq(1, 500), F <- [json_terms:random_float()]]]]
    end).

%% Erlang wants a point where JSON does not.
number(Text) ->
    case binary:split(Text, [<<"e">>, <<"E">>]) of
        [Mantissa] -> to_float(Mantissa, <<"0">>);
        [Mantissa, Exponent] -> to_float(Mantissa, Exponent)
    end.

to_float(Mantissa, Exponent) ->
    Pointed = case binary:match(Mantissa, <<".">>) of
                  nomatch -> <<Mantissa/binary, ".0">>;
                  _ -> Mantissa
              end,
    binary_to_float(<<Pointed/binary, "e", Exponent/binary>>).

%% Terms of every shape, sent by the engine's encoder and decoded by its decoder
%% after a client has carried the text: the same terms.
property_round_trip_test_() ->
    {timeout, 60, fun() ->
        with_server(#{active => true, send_queue_size => 100000000}, fun(Port, _) ->
            {Socket, Conn} = open(Port),
            [begin
                 Term = json_terms:term(4),
                 ok = sockeye:send(Conn, {json, Term}),
                 ok = ws_client:text(Socket, ws_client:recv_data(Socket)),
                 ?assertEqual({json, Term}, event(Conn))
             end || _ <- lists:seq(1, 2000)]
        end)
    end}.

large_frames_are_decoded_on_dirty_schedulers_test_() ->
    {timeout, 60, fun() ->
        List = lists:seq(1, 200000),
        Text = ["[", lists:join(",", [integer_to_list(N) || N <- List]), "]"],
        ?assertEqual({json, List}, decoded(#{max_message_size => 4 bsl 20}, Text)),
        Funs = #{frame => fun(Frame, _Conn, S) -> {[{reply, Frame}], S} end},
        with_handler(Funs, #{send_queue_size => 16000000, max_message_size => 4 bsl 20}, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            [begin
                 ok = ws_client:text(Socket, Text),
                 ok = ws_client:text(Socket, <<"1">>),
                 ?assertEqual(iolist_to_binary(Text), ws_client:recv_data(Socket)),
                 ?assertEqual(<<"1">>, ws_client:recv_data(Socket))
             end || _ <- lists:seq(1, 3)]
        end)
    end}.
