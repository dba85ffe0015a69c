%% What a client may not send after the handshake, and near misses that it may.
-module(bad_frames).

-export([all/0]).
-export([frame/2]).
-export([frame/3]).
-export([valid/0]).

frame(Opcode, Payload) -> ws_client:encode(Opcode, Payload).
frame(Opcode, Payload, Options) -> ws_client:encode(Opcode, Payload, Options).

%% Frames that are all as they should be, the last of them a Close.
valid() ->
    iolist_to_binary([frame(1, <<"h", 16#20ac/utf8>>), frame(2, <<0, 255>>), frame(9, <<"p">>),
                      frame(1, <<"a">>, #{fin => 0}), frame(10, <<>>), frame(0, <<"b">>),
                      frame(8, <<1000:16, "bye">>)]).

%% {Title, Bytes, the code with which it ends}. Behind what is allowed stands a
%% Close of 4999, so that this is the code.
all() ->
    [{lists:flatten(io_lib:format(Title, Args)), iolist_to_binary([Bytes, frame(8, <<4999:16>>)]), Code}
     || {Title, Args, Bytes, Code} <-
            opcodes() ++ lengths() ++ control() ++ closes() ++ fragments() ++ texts() ++ masks()].

opcodes() ->
    [{"opcode ~b rsv ~b fin ~b", [Opcode, Rsv, Fin], frame(Opcode, <<>>, #{rsv => Rsv, fin => Fin}),
      opcode(Opcode, Rsv, Fin)}
     || Opcode <- lists:seq(0, 15), Rsv <- lists:seq(0, 7), Fin <- [0, 1]].

opcode(_, Rsv, _) when Rsv > 0 -> 1002;
opcode(8, 0, 1) -> 1005;
opcode(Opcode, 0, 1) when Opcode =:= 1; Opcode =:= 2; Opcode =:= 9; Opcode =:= 10 -> 4999;
%% A message that has begun may be left.
opcode(Opcode, 0, 0) when Opcode =:= 1; Opcode =:= 2 -> 4999;
opcode(_, 0, _) -> 1002.

%% A header that announces a length in the given form, and so many bytes.
announced(Opcode, Bits, Length) ->
    Field = case Bits of 16 -> 126; 64 -> 127 end,
    [<<1:1, 0:3, Opcode:4, 1:1, Field:7, Length:Bits, 0:32>>, binary:copy(<<0>>, min(Length, 200))].

lengths() ->
    [{"length ~b in ~b bits", [N, Bits], announced(2, Bits, N), 1002}
     || {N, Bits} <- [{0, 16}, {125, 16}, {0, 64}, {125, 64}, {126, 64}, {65535, 64},
                      {1 bsl 63, 64}, {(1 bsl 64) - 1, 64}]]
        ++ [{"length ~b announced", [N], announced(2, 64, N), 1009}
            || N <- [1048577, 1 bsl 31, 1 bsl 32, 1 bsl 40, (1 bsl 63) - 1]]
        ++ [{"length 126 in 16 bits", [], announced(2, 16, 126), 4999}].

control() ->
    [{"~b with ~b bytes", [Opcode, N], frame(Opcode, binary:copy(<<3, 233>>, N div 2 + 1), #{}), 1002}
     || Opcode <- [9, 10], N <- [126, 65536]]
        ++ [{"~b with ~b bytes", [Opcode, N], frame(Opcode, binary:copy(<<0>>, N)), Code}
            || Opcode <- [9, 10], {N, Code} <- [{124, 4999}, {125, 4999}, {126, 1002}, {127, 1002}]]
        ++ [{"ping announced with ~b bytes", [N], announced(9, Bits, N), 1002}
            || {N, Bits} <- [{10, 16}, {10, 64}, {1 bsl 40, 64}]].

closes() ->
    Bad = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1099, 1100, 2000, 2999, 5000, 65535],
    Good = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999],
    [{"close ~b", [Code], frame(8, <<Code:16>>), 1002} || Code <- Bad]
        ++ [{"close ~b", [Code], frame(8, <<Code:16, "why">>), Code} || Code <- Good]
        ++ [{"close with a byte", [], frame(8, <<3>>), 1002},
            {"close with a bad reason", [], frame(8, <<1000:16, 255>>), 1007},
            {"close with a reason cut in a character", [], frame(8, <<1000:16, 16#e2, 16#82>>), 1007},
            {"close with a surrogate", [], frame(8, <<1000:16, 16#ed, 16#a0, 16#80>>), 1007},
            {"close of 124 bytes", [], frame(8, [<<1000:16>>, binary:copy(<<"x">>, 122)]), 1000},
            {"close of 125 bytes", [], frame(8, [<<1000:16>>, binary:copy(<<"x">>, 123)]), 1000},
            {"close of 126 bytes", [], frame(8, [<<1000:16>>, binary:copy(<<"x">>, 124)]), 1002},
            {"close without the end", [], frame(8, <<1000:16>>, #{fin => 0}), 1002},
            {"data behind a close", [], [frame(8, <<1001:16>>), frame(3, <<"a">>)], 1001}].

fragments() ->
    First = fun(Opcode) -> frame(Opcode, <<"a">>, #{fin => 0}) end,
    [{"message within a message ~b ~b", [A, B], [First(A), frame(B, <<"b">>, #{fin => Fin})], 1002}
     || A <- [1, 2], B <- [1, 2], Fin <- [0, 1]]
        ++ [{"nothing to continue ~b", [Fin], frame(0, <<"a">>, #{fin => Fin}), 1002} || Fin <- [0, 1]]
        ++ [{"continued once too often", [], [First(1), frame(0, <<"b">>), frame(0, <<"c">>)], 1002},
            {"control within", [], [First(1), frame(9, <<>>), frame(10, <<>>), frame(0, <<>>)], 4999},
            {"a reserved bit on a continuation", [], [First(1), frame(0, <<>>, #{rsv => 4})], 1002},
            {"close within", [], [First(1), frame(8, <<1001:16>>)], 1001}].

texts() ->
    [{"text ~w", [Text], frame(1, Text), 1007}
     || Text <- [<<16#80>>, <<16#c0, 16#80>>, <<16#c1, 16#bf>>, <<16#e0, 16#80, 16#80>>, <<16#ed, 16#a0, 16#80>>,
                 <<16#ed, 16#bf, 16#bf>>, <<16#f0, 16#80, 16#80, 16#80>>, <<16#f4, 16#90, 16#80, 16#80>>,
                 <<16#f5, 16#80, 16#80, 16#80>>, <<16#f8, 16#88, 16#80, 16#80, 16#80>>, <<16#fe>>, <<16#ff>>,
                 <<"a", 16#e2, 16#82>>, <<16#e2, "a">>, <<16#e2, 16#82, "a">>, <<16#f0, 16#9f, 16#98>>]]
        ++ [{"text ~w is good", [Text], frame(1, Text), 4999}
            || Text <- [<<0>>, <<16#7f>>, <<16#c2, 16#80>>, <<16#e0, 16#a0, 16#80>>, <<16#ed, 16#9f, 16#bf>>,
                        <<16#ee, 16#80, 16#80>>, <<16#ef, 16#bf, 16#bf>>, <<16#f0, 16#90, 16#80, 16#80>>,
                        <<16#f4, 16#8f, 16#bf, 16#bf>>]]
        ++ [{"text cut at ~b", [Cut], cut(<<16#20ac/utf8, 16#1f600/utf8, 16#e9/utf8>>, Cut), 4999}
            || Cut <- lists:seq(0, 9)]
        ++ [{"a character that a fragment leaves open ~b", [Cut],
             [frame(1, binary:part(<<16#1f600/utf8>>, 0, Cut), #{fin => 0}), frame(0, <<>>)], 1007}
            || Cut <- [1, 2, 3]].

cut(Text, At) ->
    <<A:At/binary, B/binary>> = Text,
    [frame(1, A, #{fin => 0}), frame(0, <<>>, #{fin => 0}), frame(0, B)].

masks() ->
    [{"~b without a mask", [Opcode], frame(Opcode, <<1000:16>>, #{mask => none}), 1002} || Opcode <- [0, 1, 2, 8, 9, 10]]
        ++ [{"a mask of zeros", [], frame(1, <<"a">>, #{mask => <<0:32>>}), 4999}].
