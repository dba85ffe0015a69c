%% Terms of every kind, for whatever takes a term from a caller.
-module(odd_terms).

-export([all/0]).

all() ->
    [0, 1, -1, 80, 1.5, 1 bsl 70, -(1 bsl 70),
     a, undefined, true, '', 'with space', [], [a], ["a"], [<<"a">>], [a | b], [<<"a">> | b], [1, 2 | 3], [256], [-1],
     [{a, 1}], [{port, 0}, {handler, self()}], [{"a", "b"}], [{<<"a">>, <<"b">>}], [{"a", "b"} | c], [[]], [{}], [#{}],
     "text", "\x{20ac}", <<>>, <<"binary">>, <<255>>, <<"zero", 0>>, <<1:3>>, binary:copy(<<"a">>, 300),
     {}, {a}, {a, b}, {a, b, c}, {local, a}, {global, a}, {"a", "b"}, {text, a}, {txt, <<"a">>}, {json, self()},
     {close, 1005, <<>>}, {close, 1000, a}, {ping, binary:copy(<<"a">>, 126)}, {plain, #{}}, {uncompressed, {ping, <<>>}}, {1, 2, 3, 256},
     {sockeye_conn, 0}, {sockeye_conn, -1}, {sockeye_conn, a}, {sockeye_conn, 1 bsl 62}, {sockeye_handshake, a, b},
     {stream, text, never, <<>>}, {error, {a, b}},
     #{}, #{a => b}, #{<<"a">> => 1}, #{self() => a}, #{rate => a}, #{compress => a}, #{wait => a}, #{scope => a},
     self(), make_ref(), hd(erlang:ports()), fun() -> ok end, fun lists:map/2, binary:copy(<<"long ">>, 100000),
     lists:duplicate(100000, a)].
