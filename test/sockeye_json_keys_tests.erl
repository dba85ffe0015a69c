%% Keys of objects: those of one call are made once and shared, and may come twice.
-module(sockeye_json_keys_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-only_in({nif, [copied_keys_are_bounded_test, encoded_batches_do_not_mix_test]}).

-import(sockeye_json, [decode/1, decode/2]).

%% Keys up to this many bytes are remembered (values.rs), and this many of them.
-define(SHORT, 16).
-define(REMEMBERED, 64).

lengths_test() ->
    Keys = [binary:copy(<<"k">>, N) || N <- lists:seq(0, ?SHORT + 2)],
    ?assertEqual({ok, [[Key, maps:from_keys(Keys, 1)] || Key <- Keys]},
                 decode(text([[Key, maps:from_keys(Keys, 1)] || Key <- Keys]))).

%% A short key is filled up with zeros where it is remembered.
zeros_are_told_apart_test() ->
    Want = #{<<>> => 1, <<0>> => 2, <<0, 0>> => 3, <<"a">> => 4, <<"a", 0>> => 5},
    Text = <<"[{\"\":1,\"\\u0000\":2,\"\\u0000\\u0000\":3,\"a\":4,\"a\\u0000\":5},{\"a\":1,\"a\\u0000\":2}]">>,
    ?assertEqual({ok, [Want, #{<<"a">> => 1, <<"a", 0>> => 2}]}, decode(Text)).

%% More keys than are remembered, again and again, in maps of both kinds.
many_test_() ->
    [fun() ->
             Map = maps:from_list([{integer_to_binary(I), I} || I <- lists:seq(1, N)]),
             ?assertEqual({ok, [Map, Map]}, decode(text([Map, Map])))
     end || N <- [1, 31, 32, 33, ?REMEMBERED - 1, ?REMEMBERED, ?REMEMBERED + 1, 1000]].

%% What was remembered of one text is not taken for another's, nor for another kind of keys.
texts_do_not_mix_test() ->
    Text = <<"[{\"sockeye\":1},{\"sockeye\":2}]">>,
    [?assertEqual({ok, [#{Key => 1}, #{Key => 2}]}, decode(Text, #{keys => Mode}))
     || _ <- lists:seq(1, 100), _ <- [erlang:garbage_collect()],
        {Mode, Key} <- [{binary, <<"sockeye">>}, {existing_atom, sockeye}, {{atoms, [sockeye]}, sockeye}]].

the_last_wins_test_() ->
    [?_assertEqual({ok, Want}, decode(Text))
     || {Text, Want} <- [{<<"{\"a\":1,\"a\":2}">>, #{<<"a">> => 2}},
                         {<<"{\"a\":1,\"b\":2,\"a\":3,\"b\":4,\"a\":5}">>, #{<<"a">> => 5, <<"b">> => 4}},
                         {<<"{\"\\u0061\":1,\"a\":2}">>, #{<<"a">> => 2}},
                         {<<"[{\"a\":{\"x\":1,\"x\":2},\"b\":0},7]">>, [#{<<"a">> => #{<<"x">> => 2}, <<"b">> => 0}, 7]},
                         {<<"{\"a\":{\"b\":1},\"a\":[{\"b\":2,\"b\":3}]}">>, #{<<"a">> => [#{<<"b">> => 3}]}}]]
    ++ [?_assertEqual({ok, #{sockeye => 2, <<"never an atom 3">> => 4}},
                      decode(<<"{\"sockeye\":1,\"never an atom 3\":3,\"never an atom 3\":4,\"sockeye\":2}">>,
                             #{keys => existing_atom}))].

the_last_wins_in_large_objects_test_() ->
    [fun() ->
             Pairs = [{integer_to_binary(I rem Keys), I} || I <- lists:seq(1, N)],
             ?assertEqual({ok, maps:from_list(Pairs)}, decode(object(Pairs)))
     end
     || {Keys, N} <- [{1, 33}, {1, 100}, {31, 32}, {32, 33}, {33, 34}, {500, 3000}, {2999, 3000}]].

%% One key that comes twice must not cost many times the memory of the object.
equal_keys_leave_little_behind_test() ->
    Pairs = [{integer_to_binary(I), I} || I <- lists:seq(1, 20000)],
    Plain = heap(object(Pairs)),
    Twice = heap(object(Pairs ++ [{<<"1">>, 0}])),
    ?assertMatch({_, true}, {{Plain, Twice}, Twice < 2 * Plain}).

%% On the way out the same key, met again in a call, is copied.
encoded_keys_test_() ->
    Kinds = [<<"short">>, <<"a key of more than sixteen bytes">>, <<"\"\\\n">>, <<"é€"/utf8>>, <<>>, sockeye, 'é', 7, -1,
             1 bsl 70],
    [fun() ->
             Map = maps:from_list([{Key, 1} || Key <- Keys]),
             ?assertEqual({ok, lists:duplicate(3, maps:from_list([{name(Key), 1} || Key <- Keys]))},
                          decode(text([Map, Map, Map])))
     end || Keys <- [Kinds, [I || I <- lists:seq(1, ?REMEMBERED + 1)], [integer_to_binary(I) || I <- lists:seq(1, 500)]]].

%% A key is remembered, also when the text it stood in came to nothing.
encoded_texts_do_not_mix_test() ->
    Key = <<"key">>,
    [begin
         ?assertMatch({error, {not_json, _, _}}, sockeye_json:encode(#{Key => #{Key => self()}})),
         ?assertEqual({ok, <<"[{\"key\":1},{\"key\":{\"key\":2}}]">>},
                      sockeye_json:encode([#{Key => 1}, #{Key => #{Key => 2}}]))
     end || _ <- lists:seq(1, 10)].

%% Texts one after the other in one buffer: those of a batch of commands.
encoded_batches_do_not_mix_test() ->
    {ok, Codec} = sockeye_codec:new(server, #{}),
    Key = <<"key">>,
    {ok, Bytes} = sockeye_codec:encode(Codec, [{json, #{Key => N}} || N <- [1, 2]]),
    ?assertEqual(<<16#81, 9, "{\"key\":1}", 16#81, 9, "{\"key\":2}">>, iolist_to_binary(Bytes)).

%% Copied keys count for the bound of a normal scheduler as others do.
copied_keys_are_bounded_test() ->
    Key = binary:copy(<<"k">>, 40),
    Maps = [#{Key => N} || N <- lists:seq(1, 2000)],
    Text = text(Maps),
    ?assertEqual(dirty, sockeye_nif:json_encode(Maps, #{})),
    ?assertEqual({ok, Maps}, decode(Text)).

name(Key) when is_binary(Key) -> Key;
name(Key) when is_atom(Key) -> atom_to_binary(Key);
name(Key) -> integer_to_binary(Key).

%% Words of the process that decoded a text.
heap(Text) ->
    {Pid, Monitor} = spawn_opt(
        fun() ->
            {ok, #{} = Map} = decode(Text),
            {_, Words} = process_info(self(), total_heap_size),
            exit({words, Words, map_size(Map)})
        end, [monitor, {fullsweep_after, 65535}]),
    receive
        {'DOWN', Monitor, process, Pid, {words, Words, 20000}} -> Words
    after 60000 -> error(timeout)
    end.

object(Pairs) ->
    iolist_to_binary(["{", lists:join($,, [[$", K, "\":", integer_to_binary(V)] || {K, V} <- Pairs]), "}"]).

text(Term) ->
    {ok, Text} = sockeye_json:encode(Term),
    Text.
