%% Objects as lists of pairs, in the order of the text: `objects => pairs'.
-module(sockeye_json_pairs_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(sockeye_json, [decode/2, encode/1]).
-import(test_support, [with_server/2]).

-define(PAIRS, #{objects => pairs}).

read_test_() ->
    [?_assertEqual({ok, Term}, decode(Text, ?PAIRS))
     || {Text, Term} <-
            [{<<"{}">>, {[]}},
             {<<"[]">>, []},
             {<<"{\"b\":1,\"a\":2}">>, {[{<<"b">>, 1}, {<<"a">>, 2}]}},
             {<<"[{\"z\":{\"y\":[],\"x\":{}}},{}]">>, [{[{<<"z">>, {[{<<"y">>, []}, {<<"x">>, {[]}}]}}]}, {[]}]},
             {<<"{\"a\":null,\"big\":123456789012345678901234567890}">>,
              {[{<<"a">>, null}, {<<"big">>, 123456789012345678901234567890}]}}]].

%% The last value of a key, where it stands.
the_last_wins_test_() ->
    [?_assertEqual({ok, Term}, decode(Text, ?PAIRS))
     || {Text, Term} <-
            [{<<"{\"a\":1,\"a\":2}">>, {[{<<"a">>, 2}]}},
             {<<"{\"a\":1,\"b\":2,\"a\":3,\"c\":{\"d\":1,\"d\":2}}">>,
              {[{<<"b">>, 2}, {<<"a">>, 3}, {<<"c">>, {[{<<"d">>, 2}]}}]}}]].

%% Both kinds of map that the VM has, and texts that a normal scheduler does not decode.
large_test_() ->
    [fun() ->
             Pairs = [{integer_to_binary(N), N} || N <- lists:seq(Size, 1, -1)],
             {ok, Text} = encode({Pairs}),
             ?assertEqual({ok, {Pairs}}, decode(Text, ?PAIRS)),
             <<${, Inside/binary>> = Text,
             ?assertEqual({ok, {Pairs}}, decode([<<"{\"1\":true,\"">>, integer_to_binary(Size), <<"\":0,">>, Inside], ?PAIRS))
     end || Size <- [2, 7, 8, 9, 31, 32, 33, 2000, 20000]].

%% What was read in an order is written in it.
there_and_back_test() ->
    Text = <<"{\"z\":[{\"b\":1,\"a\":{}}],\"y\":null,\"a\":{\"10\":1,\"9\":2}}">>,
    {ok, Term} = decode(Text, ?PAIRS),
    ?assertEqual({ok, Text}, encode(Term)).

with_other_options_test_() ->
    Text = <<"{\"sockeye\":null,\"never an atom 4\":{\"sockeye\":1}}">>,
    [?_assertEqual({ok, {[{sockeye, nil}, {<<"never an atom 4">>, {[{sockeye, 1}]}}]}},
                   decode(Text, #{objects => pairs, null => nil, keys => Keys}))
     || Keys <- [existing_atom, {atoms, [sockeye]}]]
    ++ [?_assertEqual(decode(Text, #{}), decode(Text, #{objects => map})),
        ?_assertEqual({error, {bad_option, objects, <<"expected map or pairs, got list">>}}, decode(Text, #{objects => list})),
        ?_assertEqual({error, {depth, 2}}, decode(<<"[{}]">>, #{objects => pairs, max_depth => 1})),
        ?_assertEqual({error, {eof, 8}}, decode(<<"{\"a\":{},">>, ?PAIRS))].

frames_test_() ->
    [fun() ->
             with_server(#{objects => pairs, keys => Keys}, fun(Port, _) ->
                 {Socket, Conn} = test_support:open(Port),
                 ok = ws_client:text(Socket, <<"{\"b\":{\"sockeye\":1},\"a\":2}">>),
                 Event = receive {sockeye, Conn, Got} -> Got after 60000 -> timeout end,
                 ?assertEqual({json, {[{<<"b">>, {[{Inner, 1}]}}, {<<"a">>, 2}]}}, Event),
                 ok = sockeye:send(Conn, Event),
                 ?assertEqual(<<"{\"b\":{\"sockeye\":1},\"a\":2}">>, ws_client:recv_data(Socket))
             end)
     end || {Keys, Inner} <- [{binary, <<"sockeye">>}, {{atoms, [sockeye]}, sockeye}]].

a_client_has_it_too_test() ->
    with_server(#{}, fun(Port, _) ->
        Url = ["ws://127.0.0.1:", integer_to_list(Port)],
        {ok, Client} = sockeye_client:start_link(Url, self(), ?PAIRS),
        {sockeye, Ours, {open, #{}}} = receive {sockeye, _, {open, _}} = One -> One after 60000 -> timeout end,
        {sockeye, Other, {open, #{}}} = receive {sockeye, _, {open, _}} = Two -> Two after 60000 -> timeout end,
        [ok = sockeye:send(Conn, {text, <<"{\"b\":1,\"a\":2}">>}) || Conn <- [Ours, Other]],
        Got = [receive {sockeye, _, {json, Term}} -> Term after 60000 -> timeout end || _ <- [1, 2]],
        ?assertEqual(lists:sort([#{<<"b">> => 1, <<"a">> => 2}, {[{<<"b">>, 1}, {<<"a">>, 2}]}]), lists:sort(Got)),
        ok = sockeye_client:stop(Client)
    end).
