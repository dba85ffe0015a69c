%% sockeye_json: JSON as plain functions, with no server.
-module(sockeye_json_alone_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-only_in({nif, [needs_no_application_test, gives_way_after_8_kib_test, dirty_is_asked_for_test, heavy_texts_are_dirty_sooner_test, what_is_not_dirty_is_soon_done_test_, many_new_keys_are_dirty_sooner_test, long_numbers_are_dirty_sooner_test, equal_keys_are_dirty_sooner_test]}).

-import(sockeye_json, [decode/1, decode/2, encode/1, encode/2]).

%% Bytes up to which a normal scheduler does the work (decode.rs, frames.rs), and the same of a text that has no more than so many
%% separators and brackets, and no number of so many digits (weight.rs).
-define(HEAVY_IN, 32 * 1024).
-define(NORMAL_IN, 64 * 1024).
-define(MARKS, 12000).
-define(DIGITS, 255).
%% Keys to make and pairs to sort, of such a text (values.rs).
-define(STEPS, 5000).
%% Twice what the slowest takes where nothing else runs.
-define(SOON_US, 2000).
-define(NORMAL_OUT, 64 * 1024).

needs_no_application_test() ->
    Code = "{ok, [1]} = sockeye_json:decode(<<\"[1]\">>), {ok, <<\"[1]\">>} = sockeye_json:encode([1]), "
           "false = lists:keymember(sockeye, 1, application:which_applications()), ",
    ?assertEqual({0, <<"fine">>}, test_support:bare_node(Code)).

values_test_() ->
    [{Text, [?_assertEqual({ok, Term}, decode(Text)),
             ?_assertEqual({ok, Term}, decode([<<>>, binary_to_list(Text), []]))]}
     || {Text, Term} <- json_terms:values()].

integers_are_exact_test() ->
    [begin
         Text = integer_to_binary(N),
         ?assertEqual({ok, N}, decode(Text)),
         ?assertEqual({ok, Text}, encode(N))
     end || Bits <- [8, 31, 32, 59, 60, 63, 64, 65, 128, 2100],
            Sign <- [1, -1], Delta <- [-1, 0, 1], N <- [Sign * (1 bsl Bits) + Delta]].

digits_test_() ->
    Digits = fun(N) -> binary:copy(<<"7">>, N) end,
    {timeout, 60,
     [fun() ->
              Number = binary_to_integer(Digits(N)),
              ?assertEqual({ok, Number}, decode(Digits(N))),
              ?assertEqual({ok, Digits(N)}, encode(Number))
      end || N <- [65535, 65536]]
     ++ [fun() ->
                 Number = binary_to_integer(Digits(65537)),
                 ?assertEqual({error, {number_range, 0}}, decode(Digits(65537))),
                 ?assertMatch({error, {not_json, Number, _}}, encode(Number))
         end]}.

keys_test_() ->
    Text = <<"{\"sockeye\":1,\"never an atom 2\":2}">>,
    Binaries = #{<<"sockeye">> => 1, <<"never an atom 2">> => 2},
    Atoms = #{sockeye => 1, <<"never an atom 2">> => 2},
    [?_assertEqual({ok, Want}, decode(Text, #{keys => Keys}))
     || {Keys, Want} <- [{binary, Binaries}, {existing_atom, Atoms}, {{atoms, [sockeye]}, Atoms},
                         {{atoms, [other]}, Binaries}, {{atoms, []}, Binaries}]].

%% What a key became is remembered for the call, if it takes at most 47 bytes with quotes and colon.
keys_come_again_test_() ->
    [{integer_to_list(Size),
      fun() ->
              Keys = [binary:copy(<<C>>, Size) || C <- "ab"] ++ [<<(binary:copy(<<"c">>, Size - 2))/binary, "\"">>],
              Map = maps:from_list([{Key, 1} || Key <- Keys]),
              [begin
                   {ok, Text} = encode([Map, Map, #{hd(Keys) => Map}]),
                   ?assertEqual({ok, [Map, Map, #{hd(Keys) => Map}]}, decode(Text)),
                   garbage_collect()
               end || _ <- [1, 2]]
      end} || Size <- [2, 15, 16, 17, 43, 44, 45]].

no_atoms_are_made_test() ->
    Name = binary:encode_hex(rand:bytes(16)),
    ?assertEqual({ok, #{Name => 1}}, decode(<<"{\"", Name/binary, "\":1}">>, #{keys => existing_atom})),
    ?assertError(badarg, binary_to_existing_atom(Name)).

%% Who decodes or encodes in a loop must not keep others waiting longer than other code does.
gives_way_after_8_kib_test() ->
    [begin
         Value = binary:copy(<<"x">>, Size - 2),
         {ok, Text} = sockeye_json:encode(Value),
         ?assertEqual(Slice, reductions(fun() -> decode(Text) end) > 3000),
         ?assertEqual(Slice, reductions(fun() -> encode(Value) end) >= 4000)
     end || {Size, Slice} <- [{8191, false}, {8192, true}, {8193, true}]].

%% Of a fresh slice of 4,000: what is left of one is all that a call can use up.
reductions(Fun) ->
    true = erlang:yield(),
    {reductions, Before} = process_info(self(), reductions),
    {ok, _} = Fun(),
    {reductions, After} = process_info(self(), reductions),
    After - Before.

null_test() ->
    [begin
         ?assertEqual({ok, [Null]}, decode(<<"[null]">>, #{null => Null})),
         ?assertEqual({ok, <<"[null,null]">>}, encode([Null, null], #{null => Null}))
     end || Null <- [null, undefined, nil]],
    ?assertEqual({ok, <<"[\"undefined\",\"nil\"]">>}, encode([undefined, nil])).

nested(N) -> [binary:copy(<<"[">>, N), binary:copy(<<"]">>, N)].

depth_test_() ->
    [{integer_to_list(Max),
      fun() ->
              ?assertMatch({ok, _}, decode(nested(Max - 1), Options)),
              ?assertMatch({ok, _}, decode(nested(Max), Options)),
              ?assertMatch({error, {depth, _}}, decode(nested(Max + 1), Options))
      end} || {Max, Options} <- [{128, #{}}, {2, #{max_depth => 2}}, {256, #{max_depth => 256}}]].

%% Encoding has no bound on depth, and no recursion to overflow.
deep_out_test() ->
    Deep = lists:foldl(fun(_, Acc) -> [Acc] end, [], lists:seq(1, 100000)),
    {ok, Text} = encode(Deep),
    ?assertEqual(200002, byte_size(Text)).

invalid_test_() ->
    [{Text, ?_assertMatch({error, {_, _}}, decode(Text))} || Text <- json_terms:invalid()].

errors_test_() ->
    [{Text, ?_assertEqual({error, Why}, decode(Text))}
     || {Text, Why} <- [{<<"[1,]">>, {syntax, 3}}, {<<"[1">>, {eof, 2}}, {<<>>, {eof, 0}},
                        {<<"1 2">>, {trailing_data, 2}}, {<<"\"ab", 255, "\"">>, {utf8, 3}},
                        {<<"[\n1e400]">>, {number_range, 6}}, {<<"\"\\ud800\"">>, {syntax, 7}}]].

encode_test_() ->
    [{Text, ?_assertEqual({ok, Text}, encode(Term))}
     || {Term, Text} <-
            [{null, <<"null">>}, {an_atom, <<"\"an_atom\"">>}, {'\x{e9}\x{416}', <<"\"\x{e9}\x{416}\""/utf8>>},
             {0.1, <<"0.1">>}, {-0.0, <<"-0.0">>}, {1.0e22, <<"1e+22">>}, {[], <<"[]">>}, {#{}, <<"{}">>},
             {#{1 => 2}, <<"{\"1\":2}">>}, {#{a => 2}, <<"{\"a\":2}">>},
             {<<"q\"\\\n\t", 1, "/">>, <<"\"q\\\"\\\\\\n\\t\\u0001/\"">>},
             {[{json_raw, ["{", <<"\"x\": 1}">>]}, 2], <<"[{\"x\": 1},2]">>}]].

not_json_test_() ->
    [{lists:flatten(io_lib:format("~p", [Bad])),
      [?_assertMatch({error, {not_json, Bad, _}}, encode(Bad)),
       ?_assertMatch({error, {not_json, Bad, _}}, encode([1, #{a => [Bad]}]))]}
     || Bad <- json_terms:not_json()]
    ++ [?_assertMatch({error, {not_json, 1.5, _}}, encode(#{1.5 => 1}))].

bad_options_test_() ->
    [{lists:flatten(io_lib:format("~p", [{Function, Key, Value}])),
      fun() ->
              {error, {bad_option, Named, Why}} = sockeye_json:Function(<<"1">>, #{Key => Value}),
              ?assertEqual(Key, Named),
              ?assert(is_binary(Why))
      end}
     || {Function, Key, Value} <-
            [{decode, keys, atom}, {decode, keys, {atoms, [<<"a">>]}}, {decode, keys, {atoms, a}}, {decode, keys, {atoms, [a | b]}},
             {decode, null, 0}, {decode, max_depth, 0}, {decode, max_depth, 257}, {decode, max_depth, 1.0},
             {decode, max_depth, -1}, {decode, objects, list}, {decode, port, 80}, {decode, <<"keys">>, binary},
             {encode, null, none}, {encode, encoder, none}, {encode, encoder, fun lists:append/2}, {decode, encoder, fun lists:reverse/1}, {encode, keys, binary}, {encode, max_depth, 3}]].

misuse_test_() ->
    [?_assertError(badarg, decode(Bad)) || Bad <- [atom, 1, [256], [-1], [a], {}, <<1:3>>, [$1 | $2]]]
    ++ [?_assertError(badarg, decode(<<"1">>, Bad)) || Bad <- [[], default, 1]]
    ++ [?_assertError(badarg, encode(1, Bad)) || Bad <- [[], default, 1]].

%% N - 1, N, N + 1 bytes: the same answers from either scheduler.
dirty_boundary_test_() ->
    Sizes = fun(N) -> [N - 1, N, N + 1, 4 * N] end,
    [fun() ->
             String = binary:copy(<<"x">>, Size - 2),
             Text = <<$", String/binary, $">>,
             ?assertEqual({ok, String}, decode(Text)),
             ?assertEqual({ok, [String]}, decode([$[, Text, $]])),
             ?assertEqual({ok, Text}, encode(String)),
             ?assertEqual({error, {eof, Size - 1}}, decode(binary:part(Text, 0, Size - 1))),
             ?assertMatch({error, {not_json, {}, _}}, encode([String, {}])),
             ?assertMatch({error, {bad_option, x, _}}, decode(Text, #{x => 1})),
             ?assertEqual({ok, [undefined]},
                          decode([$[, binary:copy(<<" ">>, Size), "null]"], #{null => undefined}))
     end || Size <- Sizes(?NORMAL_IN) ++ Sizes(?NORMAL_OUT)].

%% The stub on a normal scheduler says when the work is too much for it.
dirty_is_asked_for_test() ->
    Text = fun(Size) -> <<$", (binary:copy(<<"x">>, Size - 2))/binary, $">> end,
    ?assertMatch({ok, _}, sockeye_nif:json_decode(Text(?NORMAL_IN), #{})),
    ?assertEqual(dirty, sockeye_nif:json_decode(Text(?NORMAL_IN + 1), #{})),
    ?assertEqual(dirty, sockeye_nif:json_decode([Text(?NORMAL_IN + 1)], #{})),
    ?assertMatch({ok, _}, sockeye_nif:json_encode(binary:copy(<<"x">>, ?NORMAL_OUT - 2), #{})),
    ?assertEqual(dirty, sockeye_nif:json_encode(binary:copy(<<"x">>, ?NORMAL_OUT - 1), #{})).

heavy_texts_are_dirty_sooner_test() ->
    Filled = fun(Text, Size) -> filled(Text, Size - byte_size(Text)) end,
    Marks = fun(N) -> <<"[", (binary:copy(<<"1,">>, N - 1))/binary, "1]">> end,
    Digits = fun(N) -> binary:copy(<<"7">>, N) end,
    [?assertEqual({Size, Dirty}, {Size, sockeye_nif:json_decode(Filled(Text, Size), #{}) =:= dirty})
     || {Text, Size, Dirty} <- [{Marks(?MARKS), ?NORMAL_IN, false}, {Marks(?MARKS), ?NORMAL_IN + 1, true}, {Marks(?MARKS + 1), ?HEAVY_IN, false},
                                {Marks(?MARKS + 1), ?HEAVY_IN + 1, true}, {Digits(?DIGITS), ?HEAVY_IN, false}, {Digits(?DIGITS), ?HEAVY_IN + 1, true},
                                {Digits(?DIGITS div 2), ?NORMAL_IN, false}]].

%% What takes longest of all that stays on a normal scheduler: the best of many calls, since other work on the machine counts too.
what_is_not_dirty_is_soon_done_test_() ->
    case os:getenv("ASAN_OPTIONS") of
        false -> soon_done();
        _ -> test_support:left_out("what_is_not_dirty_is_soon_done_test_", "a sanitizer looks at each access")
    end.

soon_done() ->
    [{Name, {timeout, 60, fun() ->
        Best = lists:min([begin
                              {Us, {ok, _}} = timer:tc(fun() -> sockeye_nif:json_decode(Text, #{}) end),
                              garbage_collect(),
                              Us
                          end || _ <- lists:seq(1, 30)]),
        ?assertMatch(Us when Us < ?SOON_US, Best)
    end}} || {Name, Text} <- slow_texts()].

%% As many items as go into so many bytes, or have so many separators.
slow_texts() ->
    Always = fun(Item) -> fun(_) -> Item end end,
    Digits = fun(N) -> lists:duplicate(N, $7) end,
    Pair = fun(N) -> [$", integer_to_binary(N, 36), "\":0"] end,
    %% The VM sorts so few keys by insertion.
    Backwards = fun(Ns) -> [${, lists:join($,, lists:map(Pair, lists:reverse(Ns))), $}] end,
    [{lists:flatten(io_lib:format("~s, ~b bytes", [Name, Size])), text(Open, Item, Close, Size, Steps)}
     || Size <- [?HEAVY_IN, ?NORMAL_IN],
        {Name, Open, Item, Close, Steps} <- [{"empty objects", "[", Always("{}"), "]", 0},
                                      {"numbers", "[", Always("1234567"), "]", 0},
                                      {"floats of 17 digits", "[", Always("0.12345678901234567"), "]", 0},
                                      {"floats of 120 digits", "[", Always(["0.", Digits(120)]), "]", 0},
                                      {"integers of 120 digits", "[", Always(Digits(120)), "]", 0},
                                      {"escapes", "\"", Always("\\u00e9"), "\"", 0},
                                      {"line feeds", "\"", Always("\\n"), "\"", 0},
                                      {"known keys in the wrong order", "[", Always(Backwards(lists:seq(46656, 46687))), "]", 0},
                                      {"new keys in the wrong order", "[", fun(N) -> Backwards(lists:seq(46656 + 32 * N, 46687 + 32 * N)) end, "]", 64},
                                      {"many keys", "{", Pair, "}", 2}]]
        ++ [{"two equal keys of many", text("{", fun(N) -> Pair(max(1, N)) end, "}", 8192, 0)},
            {"an integer", binary:copy(<<"7">>, ?HEAVY_IN)},
            {"floats of 250 digits", text("[", Always(["0.", Digits(250)]), "]", ?HEAVY_IN, 0)}].

text(Open, Item, Close, Size, Steps) ->
    Comma = case Open of "\"" -> []; _ -> $, end,
    {Marks, Items} = case Size > ?HEAVY_IN of
                         true when Steps > 0 -> {?MARKS, ?STEPS div Steps};
                         true -> {?MARKS, Size};
                         false -> {Size, Size}
                     end,
    text(Item, Comma, 0, Items, Size - 2, Marks - 1, [Close], Open).

text(Item, Comma, N, Items, Size, Marks, Text, Open) ->
    Next = iolist_to_binary([Item(N), [Comma || N > 0]]),
    More = length(binary:matches(Next, [<<",">>, <<":">>, <<"[">>, <<"{">>])),
    case N < Items andalso Size >= byte_size(Next) andalso Marks >= More of
        true -> text(Item, Comma, N + 1, Items, Size - byte_size(Next), Marks - More, [Next | Text], Open);
        false -> filled(iolist_to_binary([Open | Text]), Size)
    end.

%% It is as long as it may be.
filled(Text, More) -> <<Text/binary, (binary:copy(<<" ">>, More))/binary>>.

%% Only of a text that is longer than what is always done here.
many_new_keys_are_dirty_sooner_test() ->
    Pairs = fun(N) -> lists:join($,, [[$", integer_to_binary(K, 36), "\":0"] || K <- lists:seq(1, N)]) end,
    [?assertEqual({Count, Size, Dirty}, {Count, Size, sockeye_nif:json_decode(filled(Text, Size - byte_size(Text)), Options) =:= dirty})
     || Options <- [#{}, #{objects => pairs}],
        {Count, Size, Dirty} <- [{?STEPS div 2, ?HEAVY_IN + 1, false}, {?STEPS div 2 + 1, ?HEAVY_IN + 1, true}, {?STEPS div 2 + 1, ?HEAVY_IN, false}],
        Text <- [iolist_to_binary([${, Pairs(Count), $}])]].

%% Writing a number takes time quadratic in its length, and looking at its length a copy: those beyond floats are dirty.
long_numbers_are_dirty_sooner_test() ->
    [?assertEqual({Bytes, Dirty}, {Bytes, sockeye_nif:json_encode(Sign * binary:decode_unsigned(binary:copy(<<255>>, Bytes)), #{}) =:= dirty})
     || {Bytes, Dirty} <- [{8, false}, {9, false}, {127, false}, {128, true}, {2048, true}, {500000, true}], Sign <- [1, -1]].

%% Equal keys make more work.
equal_keys_are_dirty_sooner_test() ->
    Text = fun(Size) -> <<"{\"a\":1,\"a\":\"", (binary:copy(<<"x">>, Size - 14))/binary, "\"}">> end,
    [begin
         8192 = byte_size(Text(8192)),
         ?assertEqual(Dirty, sockeye_nif:json_decode(Text(Size), #{}) =:= dirty),
         ?assertEqual({ok, #{<<"a">> => binary:copy(<<"x">>, Size - 14)}}, decode(Text(Size)))
     end || {Size, Dirty} <- [{8191, false}, {8192, false}, {8193, true}]].

%% The terms that come out keep nothing of the text alive.
strings_are_copies_test() ->
    {ok, [Word, _]} = decode(["[\"", binary:copy(<<"w">>, 100), "\",\"", binary:copy(<<"x">>, 20000), "\"]"]),
    ?assert(binary:referenced_byte_size(Word) =< 100).

property_round_trip_test_() ->
    {timeout, 60, fun() ->
        Seed = rand:seed(exsss),
        [begin
             Term = json_terms:term(4),
             case encode(Term) of
                 {ok, Text} ->
                     {Term, Term} == {Term, element(2, decode(Text))}
                         orelse error({seed, rand:export_seed_s(Seed), Term});
                 Other -> error({seed, rand:export_seed_s(Seed), Term, Other})
             end
         end || _ <- lists:seq(1, 3000)]
    end}.

%% Any bytes: an answer, and the same one for the text in pieces.
property_any_bytes_test_() ->
    {timeout, 60, fun() ->
        [begin
             {ok, Text} = encode(json_terms:term(3)),
             Broken = broken(Text),
             Answer = decode(Broken),
             ?assertMatch({Tag, _} when Tag =:= ok; Tag =:= error, Answer),
             ?assertEqual(Answer, decode(binary_to_list(Broken)))
         end || _ <- lists:seq(1, 3000)]
    end}.

broken(Text) ->
    At = rand:uniform(byte_size(Text) + 1) - 1,
    <<Before:At/binary, After/binary>> = Text,
    case rand:uniform(3) of
        1 -> Before;
        2 -> <<Before/binary, (rand:uniform(256) - 1), After/binary>>;
        3 -> <<Before/binary, (binary:part(After, byte_size(After), -max(0, byte_size(After) - 1)))/binary>>
    end.

%% The JSONTestSuite, through the VM: a name in y_ must be taken, one in n_ refused.
suite_test() ->
    case file:read_file(suite()) of
        {ok, File} ->
            Lines = [Line || Line <- binary:split(File, <<"\n">>, [global]), Line =/= <<>>],
            ?assert(length(Lines) > 300),
            [begin
                 [Name, Text] = binary:split(Line, <<"\t">>),
                 Result = decode(unescape(Text)),
                 case Name of
                     <<"y_", _/binary>> -> ?assertMatch({Name, {ok, _}}, {Name, Result});
                     <<"n_", _/binary>> -> ?assertMatch({Name, {error, _}}, {Name, Result});
                     <<"i_", _/binary>> -> ?assertMatch({_, _}, Result)
                 end
             end || Line <- Lines]
    end.

suite() ->
    filename:join(test_support:root(), "native/json/tests/suite/cases.txt").

unescape(<<"\\x", Hex:2/binary, Rest/binary>>) ->
    <<(binary_to_integer(Hex, 16)), (unescape(Rest))/binary>>;
unescape(<<"\\\\", Rest/binary>>) -> <<$\\, (unescape(Rest))/binary>>;
unescape(<<C, Rest/binary>>) -> <<C, (unescape(Rest))/binary>>;
unescape(<<>>) -> <<>>.
