%% JSON of every size at which another thread, scheduler or kind of map takes over, through every way of delivery.
%% The term that must come out is written down beside the text, not decoded by what is tested.
-module(sockeye_json_ways_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

sizes_test_() ->
    [{atom_to_list(Way), {timeout, 300, fun() -> json_ways:with(Way, fun sizes/1) end}} || Way <- json_ways:all()].

sizes(Take) ->
    [begin
         Whole = Take(Text, []),
         ?assert(Whole =:= Term),
         ?assert(Take(Text, [0, byte_size(Text) div 3, byte_size(Text)]) =:= Term)
     end || {Term, Text0} <- cases(), Text <- [iolist_to_binary(Text0)]],
    ok.

property_test_() ->
    {timeout, 300, fun() ->
        Seed = case os:getenv("SOCKEYE_TEST_SEED") of false -> 20261129; Text -> list_to_integer(Text) end,
        ?assertMatch({ok, _}, json_property:run(#{seed => Seed, texts => 60}))
    end}.

cases() ->
    Objects = [object(N) || N <- [0, 1, 31, 32, 33, 127, 128, 129, 1000, 20000]],
    Twice = [twice(N) || N <- [1, 31, 32, 33, 127, 128, 129, 1000, 20000]],
    Lists = [list(N) || N <- [0, 1, 1000, 100000]],
    Digits = [digits(N) || N <- [1, 18, 19, 20, 39, 1000, 65536]],
    Strings = [string(N) || N <- [0, 1, 63, 64, 65, 255, 256, 32767, 32768, 65535, 65536, 262144, 1048576]],
    Keys = [{#{Key => 1}, ["{", Text, ":1}"]} || {Key, Text} <- Strings],
    Nested = [nested(N) || N <- [1, 33, 129]],
    Objects ++ Twice ++ Lists ++ Digits ++ Strings ++ Keys ++ Nested ++ [deep(N) || N <- [1, 127, 128, 255]].

object(N) ->
    {maps:from_list([{integer_to_binary(I), I} || I <- lists:seq(1, N)]), members(1, N)}.

members(From, To) ->
    ["{", lists:join(",", [[$", integer_to_list(I), "\":", integer_to_list(I)] || I <- lists:seq(From, To)]), "}"].

%% Each key twice: the last counts.
twice(N) ->
    Member = fun(V) -> [[$", integer_to_list(I), "\":", integer_to_list(V * I)] || I <- lists:seq(1, N)] end,
    {maps:from_list([{integer_to_binary(I), 2 * I} || I <- lists:seq(1, N)]),
     ["{", lists:join(",", Member(1) ++ Member(2)), "}"]}.

list(N) ->
    {lists:seq(1, N), ["[", lists:join(",", [integer_to_list(I) || I <- lists:seq(1, N)]), "]"]}.

digits(N) ->
    Text = lists:duplicate(N, $7),
    {7 * ((pow(10, N) - 1) div 9), Text}.

pow(_, 0) -> 1;
pow(B, N) when N rem 2 =:= 0 -> pow(B * B, N div 2);
pow(B, N) -> B * pow(B, N - 1).

string(N) ->
    Bytes = binary:copy(<<"x">>, N),
    {Bytes, [$", Bytes, $"]}.

%% Objects in objects in lists, each of the sizes at which maps change.
nested(N) ->
    {Inner, Text} = object(N),
    {Wide, WideText} = object(130),
    {[#{<<"a">> => Inner, <<"b">> => [Wide, Inner]}, Wide],
     ["[{\"a\":", Text, ",\"b\":[", WideText, ",", Text, "]},", WideText, "]"]}.

deep(N) ->
    {lists:foldl(fun(_, T) -> [T] end, [], lists:seq(2, N)), [lists:duplicate(N, $[), lists:duplicate(N, $])]}.
