%% Objects on the way out: ordered ones, keys that are the same in text, and structs of Elixir.
-module(sockeye_json_objects_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-only_in({nif, [many_kinds_are_dirty_sooner_test]}).

-import(sockeye_json, [encode/1, decode/1]).
-import(test_support, [with_server/2, open/1]).

ordered_test_() ->
    [?_assertEqual({ok, Text}, encode(Term))
     || {Term, Text} <-
            [{{[]}, <<"{}">>},
             {{[{b, 1}]}, <<"{\"b\":1}">>},
             {{[{<<"b">>, 1}, {a, 2}, {7, 3}]}, <<"{\"b\":1,\"a\":2,\"7\":3}">>},
             {{[{z, {[{y, []}, {x, {[]}}]}}, {a, [{[{q, 1}]}]}]}, <<"{\"z\":{\"y\":[],\"x\":{}},\"a\":[{\"q\":1}]}">>},
             {[{[]}, {[{a, #{b => {[{c, 1}, {b, 2}]}}}]}], <<"[{},{\"a\":{\"b\":{\"c\":1,\"b\":2}}}]">>},
             {{[{<<"é\""/utf8>>, {json_raw, <<"[1]">>}}]}, <<"{\"é\\\"\":[1]}"/utf8>>}]].

ordered_and_wrong_test_() ->
    [?_assertMatch({error, {not_json, Part, _}}, encode([Term]))
     || {Term, Part} <- [{{a}, {a}}, {{#{}}, {#{}}}, {{[1]}, 1}, {{[{a, 1}, {b}]}, {b}}, {{[{a, 1}, {b, 2, 3}]}, {b, 2, 3}},
                         {{[{a, 1} | b]}, {[{a, 1} | b]}}, {{[{1.5, 1}]}, 1.5}, {{[{a, self()}]}, self()},
                         {{[{[], 1}]}, []}]].

%% Each way that two keys can have one text; what is named is the key that is a binary, else the atom.
same_in_text_test_() ->
    Pairs = [{a, <<"a">>}, {'', <<>>}, {1, <<"1">>}, {1, '1'}, {-7, <<"-7">>}, {'é', <<"é"/utf8>>},
             {'\x{416}', <<"\x{416}"/utf8>>}, {'"', <<"\"">>}, {1 bsl 70, integer_to_binary(1 bsl 70)},
             {binary_to_atom(binary:copy(<<"k">>, 60)), binary:copy(<<"k">>, 60)}],
    [{lists:flatten(io_lib:format("~p, ~p more", [A, More])),
      fun() ->
              Map = maps:merge(maps:from_list([{list_to_atom("more" ++ integer_to_list(N)), N} || N <- lists:seq(1, More)]),
                               #{A => 1, B => 2}),
              Twice = fun(Path) -> {error, {not_json, {duplicate_key, B}, Path}} end,
              ?assertEqual(Twice(<<"$">>), encode(Map)),
              %% Inside others, and behind others whose keys are remembered.
              ?assertMatch({error, {not_json, {duplicate_key, B}, <<"$[2]", _/binary>>}}, encode([#{A => 1}, #{B => 1}, #{A => Map}])),
              ?assertEqual(Twice(<<"$">>), encode({[{x, 1}, {A, 1}, {B, 2}]})),
              ?assertEqual(Twice(<<"$">>), encode({[{B, 1}, {x, 1}, {A, 2}]})),
              %% Not the same object.
              ?assertMatch({ok, _}, encode([maps:remove(A, Map), maps:remove(B, Map), #{A => #{B => 1}}, #{B => #{A => 1}}]))
      end}
     %% Both kinds of map that the VM has.
     || {A, B} <- Pairs, More <- [0, 29, 30, 31, 32, 100]].

same_in_an_ordered_object_test_() ->
    [?_assertMatch({error, {not_json, {duplicate_key, Key}, _}}, encode({[{Key, 1}, {b, 2}, {Key, 3}]}))
     || Key <- [a, <<"a">>, 1]].

%% Keys of several kinds whose texts differ are an object like any other.
several_kinds_test_() ->
    [fun() ->
             Map = maps:from_list(lists:append([[{N, N}, {list_to_atom([$a | integer_to_list(N)]), N},
                                                 {<<"b", (integer_to_binary(N))/binary>>, N}] || N <- lists:seq(1, Size)])),
             {ok, Text} = encode(Map),
             Names = maps:from_list([{name(Key), Value} || {Key, Value} <- maps:to_list(Map)]),
             ?assertEqual({ok, Names}, decode(Text))
     end || Size <- [1, 10, 11, 500, 20000]].

%% Looking for equal keys among many is work for a dirty scheduler, and finds them there as well.
many_kinds_are_dirty_sooner_test() ->
    Keys = [list_to_atom("more" ++ integer_to_list(N)) || N <- lists:seq(1, 2000)],
    Atoms = maps:from_keys(Keys, 1),
    ?assertMatch({ok, _}, sockeye_nif:json_encode(Atoms, #{})),
    ?assertEqual(dirty, sockeye_nif:json_encode(Atoms#{<<"other">> => 1}, #{})),
    ?assertMatch({ok, _}, encode(Atoms#{<<"other">> => 1})),
    ?assertMatch({error, {not_json, {duplicate_key, <<"more7">>}, _}}, encode(Atoms#{<<"more7">> => 1})).

a_struct_is_refused_test_() ->
    Struct = #{'__struct__' => 'Elixir.Date', day => 1},
    [?_assertMatch({error, {not_json, {struct, 'Elixir.Date'}, _}}, encode(Term))
     || Term <- [Struct, [Struct], #{a => Struct}, [#{a => 1}, Struct], {[{'__struct__', 'Elixir.Date'}]},
                 maps:merge(Struct, maps:from_keys(lists:seq(1, 40), 0)), #{'__struct__' => 'Elixir.Date'}]]
    ++ [?_assertEqual({ok, Text}, encode(Term))
        %% What a client wrote is no struct.
        || {Term, Text} <- [{#{<<"__struct__">> => <<"x">>}, <<"{\"__struct__\":\"x\"}">>},
                            {#{'__struct__' => <<"x">>}, <<"{\"__struct__\":\"x\"}">>}]]
    ++ [?_assertEqual({error, {not_json, {struct, 'Elixir.Date'}, <<"$[1]">>}}, encode([#{'__struct__' => 1}, Struct]))].

%% As frames: nothing is sent, and the connection stays.
frames_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ?assertMatch({error, {not_json, {duplicate_key, <<"a">>}, _}}, sockeye:send(Conn, #{a => 1, <<"a">> => 2})),
        ?assertMatch({error, {not_json, {struct, 'Elixir.Date'}, _}}, sockeye:send(Conn, #{'__struct__' => 'Elixir.Date'})),
        ok = sockeye:send(Conn, {json, {[{b, 1}, {a, 2}]}}),
        ?assertEqual(<<"{\"b\":1,\"a\":2}">>, ws_client:recv_data(Socket))
    end).

name(Key) when is_binary(Key) -> Key;
name(Key) when is_atom(Key) -> atom_to_binary(Key);
name(Key) -> integer_to_binary(Key).
