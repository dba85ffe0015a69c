%% What callers send, of every type and at sizes: what must arrive, and what must be refused.
-module(sent_terms).

-export([json/0]).
-export([not_json/0]).
-export([payloads/0]).
-export([not_payloads/0]).
-export([part/1]).
-export([crooked/1]).
-export([nested/2]).

%% The sizes at which the VM has another kind of map, and a call another scheduler.
-define(MANY, [0, 1, 31, 32, 33, 127, 128, 129, 1000, 100000]).

%% {Title, Term}: each has a JSON text.
json() ->
    [{["map of ", integer_to_list(N), " ", atom_to_list(Kind)], maps:from_list([{key(Kind, I), I} || I <- lists:seq(1, N)])}
     || N <- ?MANY, Kind <- [binaries, integers]] ++
    [{"map of all the atoms", maps:from_list([{Atom, 1} || Atom <- atoms()])}] ++
    [{["ordered ", integer_to_list(N)], {[{key(binaries, I), I} || I <- lists:seq(N, 1, -1)]}} || N <- ?MANY] ++
    [{["list of ", integer_to_list(N)], lists:seq(1, N)} || N <- ?MANY] ++
    [{["list in list ", integer_to_list(N)], nested(fun(T) -> [T] end, N)} || N <- [1, 255, 1000, 100000]] ++
    [{["map in map ", integer_to_list(N)], nested(fun(T) -> #{<<"a">> => T} end, N)} || N <- [1, 255, 1000, 100000]] ++
    [{"maps in maps", maps:from_list([{I, maps:from_list([{J, [J]} || J <- lists:seq(1, 129)])} || I <- lists:seq(1, 129)])}] ++
    [{["integer of ", integer_to_list(Digits), " digits"], Sign * (power(10, Digits) - 1)}
     || Digits <- [1, 18, 19, 20, 308, 309, 310, 4900, 5000, 65536], Sign <- [1, -1]] ++
    [{"small integers", [N || Bits <- [27, 28, 59, 60, 62, 63, 64, 65], D <- [-1, 0, 1], S <- [1, -1], N <- [S * (1 bsl Bits) + D]]},
     {"floats", [0.0, -0.0, 1.5, -1.5, 0.1, 1.0e22, 1.0e23, 5.0e-324, 2.2250738585072014e-308, 1.7976931348623157e308]},
     {"words for what is no number", [nan, 'NaN', infinity, '-inf', <<"NaN">>, <<"Infinity">>, <<"-Infinity">>, <<"1e999">>]},
     {"atoms", atoms()},
     {"booleans", [true, false, null, [true], #{true => false, null => null}]},
     {"strings to escape", [<<"\"\\/\b\f\n\r\t", 0, 31, 127>>, <<16#80/utf8, 16#7ff/utf8, 16#2028/utf8, 16#ffff/utf8, 16#10ffff/utf8>>]}] ++
    [{["string of ", integer_to_list(Size), " ", Kind], Make(Size)}
     || Size <- [0, 1, 63, 64, 65, 32768, 65533, 65534, 65535, 262144, 1048576],
        {Kind, Make} <- [{"whole", fun whole/1}, {"part", fun part/1}, {"crooked", fun crooked/1}]] ++
    [{"strings to escape, many", binary:copy(<<"\"\n", 1>>, 30000)},
     {"key of 1 MiB", #{whole(1048576) => 1}},
     {"raw", [{json_raw, Raw} || Raw <- [<<"1">>, "[1,2]", [$[ | <<"true]">>], ["[", [$1, [<<",">> | <<"2">>]], "]"]]]},
     {"raw of 1 MiB", {json_raw, [$", whole(1048576), $"]}},
     {"raw of 200,000 bytes", {json_raw, [$" | lists:duplicate(200000, $x)] ++ [$"]}}].

%% {Title, Term}: none has one, wherever the part that has none stands.
not_json() ->
    Large = maps:from_list([{I, I} || I <- lists:seq(1, 100000)]),
    [{["a ", Kind, ", ", Where], Put(Odd)}
     || {Kind, Odd} <- odd(),
        {Where, Put} <-
            [{"itself", fun(T) -> T end},
             {"at the end of a list", fun(T) -> lists:seq(1, 100000) ++ [T] end},
             {"in a large map", fun(T) -> Large#{1 => T} end},
             {"deep", fun(T) -> nested(fun(In) -> [In] end, T, 100000) end},
             {"in an ordered object", fun(T) -> {[{I, I} || I <- lists:seq(1, 10000)] ++ [{last, T}]} end}]] ++
    [{["a ", Kind, " as a key"], Map} || {Kind, Odd} <- odd(), Map <- [#{Odd => 1}, {[{Odd, 1}]}]] ++
    [{"an improper list of 100,000", lists:seq(1, 100000) ++ x},
     {"an ordered object with an improper tail", {[{a, 1} | b]}},
     {"an ordered object of no pairs", {[a]}},
     {"two keys of one text", #{1 => 1, <<"1">> => 1}},
     {"two keys of one text in 100,000", Large#{<<"1">> => 1}},
     {"a struct", #{'__struct__' => 'Elixir.Date', day => 1}},
     {"a struct of 100,000", [Large#{'__struct__' => 'Elixir.Date'}]},
     {"65,537 digits", power(10, 65536)},
     {"9,000,000 digits", [binary:decode_unsigned(binary:copy(<<255>>, 4000000))]}].

odd() ->
    [{"pid", self()}, {"reference", make_ref()}, {"port", hd(erlang:ports())}, {"fun", fun() -> ok end},
     {"external fun", fun lists:map/2}, {"bitstring", <<1:3>>}, {"large bitstring", <<(whole(1000000))/binary, 1:1>>},
     {"binary that is no UTF-8", <<255>>}, {"large one", <<(whole(1000000))/binary, 255>>},
     {"improper list", [1 | 2]}, {"empty tuple", {}}, {"pair", {a, b}}, {"large tuple", list_to_tuple(lists:seq(1, 100000))},
     {"raw text that is no iodata", {json_raw, [1.5]}}].

%% {Title, IoData}: what the frames `text' and `binary' may carry, all of it ASCII.
payloads() ->
    [{[integer_to_list(Size), " bytes, ", Kind], Make(Size)}
     || Size <- [0, 1, 125, 126, 65535, 65536, 262143, 262144, 262145, 4194304],
        {Kind, Make} <- [{"whole", fun whole/1}, {"part", fun part/1}, {"crooked", fun crooked/1}]] ++
    [{[integer_to_list(Size), " in a list"], binary_to_list(whole(Size))} || Size <- [1, 125, 126, 16384, 16385, 1000000]] ++
    [{"list with a binary behind", [$a, [$b | <<"c">>], "d" | <<"e">>]},
     {"list with a part behind", lists:duplicate(1000, $a) ++ part(100000)},
     {"lists in lists", nested(fun(T) -> [T] end, <<"in">>, 100000)},
     {"lists in lists on the other side", nested(fun(T) -> [$x | T] end, <<"in">>, 100000)},
     {"many binaries", [lists:duplicate(20000, part(10))]},
     {"many empty ones", lists:duplicate(200000, <<>>)}].

not_payloads() ->
    [{"atom", atom}, {"integer", 1}, {"float", 1.5}, {"map", #{}}, {"pid", self()}, {"tuple", {}}, {"fun", fun() -> ok end},
     {"reference", make_ref()}, {"port", hd(erlang:ports())},
     {"bitstring", <<1:3>>}, {"large bitstring", <<(whole(1000000))/binary, 1:1>>},
     {"improper list", [$a | $b]}, {"improper at the end", lists:duplicate(100000, $a) ++ b},
     {"bitstring behind", lists:duplicate(100000, $a) ++ <<1:3>>}, {"no byte at the end", lists:duplicate(100000, $a) ++ [256]},
     {"negative", [-1]}, {"large integer", [1 bsl 70]}, {"float in it", ["abc", 1.5]},
     {"deep", nested(fun(T) -> [T] end, atom, 100000)}].

whole(Size) -> binary:copy(<<"x">>, Size).

%% Of something far larger.
part(Size) -> binary:part(whole(Size + 2000000), 1000000, Size).

%% A part that does not begin with a byte.
crooked(Size) ->
    <<_:3, Part:Size/binary, _/bitstring>> = <<0:3, (whole(Size))/binary, 0:1000005>>,
    Part.

atoms() ->
    ['', a, 'with space', '"', '\n', undefined, nil, '\x{e9}', '\x{20ac}', '\x{1f600}', 'Elixir.Date',
     list_to_atom(lists:duplicate(255, $a)), list_to_atom(lists:duplicate(255, 16#e9)),
     list_to_atom(lists:duplicate(255, 16#1f600))].

key(binaries, I) -> integer_to_binary(I);
key(integers, I) -> I.

nested(Around, Levels) -> nested(Around, 1, Levels).

nested(_Around, Inside, 0) -> Inside;
nested(Around, Inside, Levels) -> nested(Around, Around(Inside), Levels - 1).

power(_, 0) -> 1;
power(Base, N) when N rem 2 =:= 0 -> power(Base * Base, N div 2);
power(Base, N) -> Base * power(Base, N - 1).
