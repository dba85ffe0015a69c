%% Terms that JSON can carry, and texts with the terms they write.
-module(json_terms).

-export([term/1]).
-export([values/0]).
-export([invalid/0]).
-export([not_json/0]).
-export([random_float/0]).

values() ->
    [{<<"null">>, null}, {<<"true">>, true}, {<<"false">>, false},
     {<<"\"\"">>, <<>>}, {<<"[]">>, []}, {<<"{}">>, #{}},
     {<<" [ 1 , [ ] , { } ] ">>, [1, [], #{}]},
     {<<"\"\\u00e9\\ud83d\\ude00\\n\\\"\"">>, <<16#e9/utf8, 16#1f600/utf8, "\n\"">>},
     {<<"{\"a\":{\"b\":[null,true]}}">>, #{<<"a">> => #{<<"b">> => [null, true]}}},
     {<<"{\"a\":1,\"a\":2}">>, #{<<"a">> => 2}},
     {<<"1.5">>, 1.5}, {<<"1e3">>, 1000.0}, {<<"-0.25">>, -0.25}].

invalid() ->
    [<<>>, <<"{">>, <<"nul">>, <<"[1,]">>, <<"{\"a\":1,}">>, <<"01">>, <<"1 2">>, <<"'a'">>,
     <<"\"\n\"">>, <<"NaN">>, <<"\"\\x\"">>].

not_json() ->
    [make_ref(), self(), {a, b}, {}, {a}, <<255>>, <<1:3>>, fun lists:map/2, [1 | 2]].

%% A random term of at most this depth.
term(Depth) -> term(Depth, Depth).

term(0, _) -> leaf(rand:uniform(8));
term(Depth, Top) ->
    case rand:uniform(4) of
        1 -> [term(Depth - 1, Top) || _ <- lists:seq(1, rand:uniform(6) - 1)];
        2 -> maps:from_list([{string(), term(Depth - 1, Top)}
                             || _ <- lists:seq(1, rand:uniform(width(Depth, Top)) - 1)]);
        _ -> leaf(rand:uniform(8))
    end.

%% Both kinds of maps that the VM has; wide ones at the top only, or a term in
%% some thousands would have millions of parts.
width(Top, Top) -> 40;
width(_, _) -> 6.

leaf(1) -> null;
leaf(2) -> true;
leaf(3) -> rand:uniform(256) - 128;
leaf(4) -> (rand:uniform(1 bsl 70) - (1 bsl 69)) bsr rand:uniform(60);
leaf(5) -> random_float();
leaf(6) -> [];
leaf(_) -> string().

random_float() ->
    case rand:bytes(8) of
        <<Float:64/float>> -> Float;
        _ -> random_float()
    end.

string() ->
    << <<(char(rand:uniform(5)))/utf8>> || _ <- lists:seq(1, rand:uniform(30) - 1) >>.

char(1) -> rand:uniform(32) - 1;
char(2) -> lists:nth(rand:uniform(4), "\"\\/'");
char(3) -> 16#80 + rand:uniform(16#700);
char(4) -> 16#10000 + rand:uniform(16#fffff);
char(5) -> 32 + rand:uniform(94).
