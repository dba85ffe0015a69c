%% HTTP/2 byte by byte: what a client can say, and what a server has said.
-module(h2_frames).

-export([preface/0]).
-export([hello/0]).
-export([hello/1]).
-export([frame/4]).
-export([data/2]).
-export([data_end/2]).
-export([headers/2]).
-export([headers/3]).
-export([open_stream/1]).
-export([open_stream/2]).
-export([get/2]).
-export([reset/2]).
-export([ping/1]).
-export([window/2]).
-export([continuation/3]).
-export([field/2]).
-export([indexed/1]).
-export([remember/2]).
-export([block/1]).
-export([connect_fields/0]).
-export([parse/1]).
-export([ending/1]).
-export([statuses/1]).
-export([content_length/1]).
-export([content_type/1]).
-export([resets/1]).
-export([shake/1]).
-export([next/1]).
-export([until_end/2]).
-export([pinged/2]).

-define(HEADERS, 1).
-define(END_STREAM, 1).
-define(END_HEADERS, 4).
-define(TIMEOUT, 60000).

preface() -> <<"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n">>.

hello() -> hello([]).

%% With settings: pairs of numbers.
hello(Settings) ->
    [preface(), frame(4, 0, 0, [<<Key:16, Value:32>> || {Key, Value} <- Settings])].

frame(Type, Flags, Stream, Payload) ->
    Bytes = iolist_to_binary(Payload),
    <<(byte_size(Bytes)):24, Type, Flags, 0:1, Stream:31, Bytes/binary>>.

data(Stream, Bytes) -> frame(0, 0, Stream, Bytes).

data_end(Stream, Bytes) -> frame(0, ?END_STREAM, Stream, Bytes).

%% A head in frames of at most 16 KiB.
headers(Stream, Block) -> headers(Stream, 0, Block).

headers(Stream, Flags, Block) ->
    case iolist_to_binary(Block) of
        <<First:16384/binary, Rest/binary>> when Rest =/= <<>> ->
            [frame(?HEADERS, Flags, Stream, First) | continuations(Stream, Rest)];
        All ->
            frame(?HEADERS, Flags bor ?END_HEADERS, Stream, All)
    end.

continuations(Stream, <<First:16384/binary, Rest/binary>>) when Rest =/= <<>> ->
    [continuation(Stream, 0, First) | continuations(Stream, Rest)];
continuations(Stream, Last) ->
    [continuation(Stream, ?END_HEADERS, Last)].

continuation(Stream, Flags, Block) -> frame(9, Flags, Stream, Block).

%% A WebSocket.
open_stream(Stream) -> open_stream(Stream, <<"/">>).

open_stream(Stream, Path) ->
    headers(Stream, block(lists:keystore(<<":path">>, 1, connect_fields(), {<<":path">>, Path}))).

connect_fields() ->
    [{<<":method">>, <<"CONNECT">>}, {<<":protocol">>, <<"websocket">>}, {<<":scheme">>, <<"http">>},
     {<<":path">>, <<"/">>}, {<<":authority">>, <<"a">>}, {<<"sec-websocket-version">>, <<"13">>}].

%% An ordinary request, all of it.
get(Stream, Path) ->
    headers(Stream, ?END_STREAM, block([{<<":method">>, <<"GET">>}, {<<":scheme">>, <<"http">>},
                                        {<<":path">>, Path}, {<<":authority">>, <<"a">>}])).

reset(Stream, Code) -> frame(3, 0, Stream, <<Code:32>>).

ping(N) -> frame(6, 0, 0, <<N:64>>).

window(Stream, By) -> frame(8, 0, Stream, <<By:32>>).

block(Fields) -> [field(Name, Value) || {Name, Value} <- Fields].

%% A field, literally and without an index.
field(Name, Value) -> [0, text(Name), text(Value)].

%% A field that goes into the dynamic table, where the newest has index 62.
remember(Name, Value) -> [64, text(Name), text(Value)].

indexed(Index) -> <<1:1, Index:7>>.

text(Text) when byte_size(Text) < 127 -> [byte_size(Text), Text];
text(Text) -> [127, integer(byte_size(Text) - 127), Text].

integer(N) when N < 128 -> [N];
integer(N) -> [128 + N rem 128 | integer(N div 128)].

%% The frames that have come: {Type, Flags, Stream, Payload}.
parse(<<Len:24, Type, Flags, _:1, Stream:31, Payload:Len/binary, Rest/binary>>) ->
    [{Type, Flags, Stream, Payload} | parse(Rest)];
parse(<<>>) -> [];
parse(Rest) -> [{cut, Rest}].

%% How the server ended a connection: {goaway, Code}, `closed' without a word, or `open'.
ending({open, _}) -> open;
ending(<<"HTTP/1.1 505", _/binary>>) -> http_505;
ending(Bytes) ->
    case [Code || {7, _, 0, <<_Last:32, Code:32, _/binary>>} <- parse(Bytes), Code =/= 0] of
        [] -> closed;
        Codes -> {goaway, lists:last(Codes)}
    end.

%% What was answered: {Stream, Status}. The server writes statuses from the static table, or as a literal.
statuses(Frames) -> [{Stream, status(Block)} || {1, _, Stream, Block} <- Frames].

status(<<16#88, _/binary>>) -> 200;
status(<<16#89, _/binary>>) -> 204;
status(<<16#8a, _/binary>>) -> 206;
status(<<16#8b, _/binary>>) -> 304;
status(<<16#8c, _/binary>>) -> 400;
status(<<16#8d, _/binary>>) -> 404;
status(<<16#8e, _/binary>>) -> 500;
%% A size update of the table comes first, where there is one.
status(<<1:3, 0:5, Rest/binary>>) -> status(Rest);
%% The name from the table (8 to 14), the value literally, with or without the Huffman code.
status(<<Kind, 3, Digits:3/binary, _/binary>>) when Kind band 15 >= 8 -> binary_to_integer(Digits);
status(<<Kind, 1:1, Len:7, Coded:Len/binary, _/binary>>) when Kind band 15 >= 8 -> digits(Coded).

%% Of a head: what its `content-length' says, or `none'.
content_length(Block) ->
    case value(28, Block) of
        {huffman, Coded} -> digits(Coded);
        {plain, Digits} -> binary_to_integer(Digits);
        none -> none
    end.

%% The value as it stands there: in the Huffman code, mostly.
content_type(Block) -> value(31, Block).

%% The value of a field whose name is in the static table, where the dynamic one is not used.
value(Index, Block) ->
    case Block of
        <<>> -> none;
        <<1:1, _:7, Rest/binary>> -> value(Index, Rest);
        <<1:3, _:5, Rest/binary>> -> value(Index, Rest);
        <<1:2, Prefix:6, Rest/binary>> -> literal(Index, prefix(Prefix, 63, Rest));
        <<_:4, Prefix:4, Rest/binary>> -> literal(Index, prefix(Prefix, 15, Rest))
    end.

literal(Index, {0, Block}) ->
    {_Name, Rest} = string(Block),
    literal(Index, {none, Rest});
literal(Index, {Name, Block}) ->
    case string(Block) of
        {Value, _} when Name =:= Index -> Value;
        {_, Rest} -> value(Index, Rest)
    end.

string(<<Huffman:1, Prefix:7, Block/binary>>) ->
    {Len, Coded} = prefix(Prefix, 127, Block),
    <<Value:Len/binary, Rest/binary>> = Coded,
    {{case Huffman of 1 -> huffman; 0 -> plain end, Value}, Rest}.

prefix(Full, Full, Block) -> more(Full, 0, Block);
prefix(N, _, Block) -> {N, Block}.

more(N, Shift, <<1:1, Bits:7, Rest/binary>>) -> more(N + (Bits bsl Shift), Shift + 7, Rest);
more(N, Shift, <<0:1, Bits:7, Rest/binary>>) -> {N + (Bits bsl Shift), Rest}.

%% Digits in the Huffman code: 0 to 2 have five bits, 3 to 9 six.
digits(Bits) -> digits(Bits, 0).

digits(<<0:2, D:3, Rest/bitstring>>, N) when D =< 2 -> digits(Rest, N * 10 + D);
digits(<<D:6, Rest/bitstring>>, N) when D >= 2#011001, D =< 2#011111 -> digits(Rest, N * 10 + D - 2#011001 + 3);
digits(_, N) -> N.

%% Streams that were reset, and why.
resets(Frames) -> [{Stream, Code} || {3, _, Stream, <<Code:32>>} <- Frames].

%% Past the settings of both sides, each acknowledged: what is said from here on is no beginning. Heads
%% come without a dynamic table.
shake(Socket) ->
    ok = gen_tcp:send(Socket, [hello([{1, 0}]), frame(4, 1, 0, [])]),
    _ = pinged(Socket, 0),
    ok.

%% One frame, or `closed'.
next(Socket) ->
    case gen_tcp:recv(Socket, 9, ?TIMEOUT) of
        {ok, <<Len:24, Type, Flags, _:1, Stream:31>>} ->
            {Type, Flags, Stream, payload(Socket, Len)};
        {error, timeout} -> error(no_frame);
        {error, _} -> closed
    end.

payload(_, 0) -> <<>>;
payload(Socket, Len) ->
    {ok, Payload} = gen_tcp:recv(Socket, Len, ?TIMEOUT),
    Payload.

%% The frames that come before the answer to a ping: what was said so far has been read. A server
%% that hangs up instead: {closed, Frames}.
pinged(Socket, N) ->
    _ = gen_tcp:send(Socket, ping(N)),
    pinged(Socket, <<N:64>>, []).

pinged(Socket, Payload, Frames) ->
    case next(Socket) of
        {6, 1, 0, Payload} -> lists:reverse(Frames);
        closed -> {closed, lists:reverse(Frames)};
        Frame -> pinged(Socket, Payload, [Frame | Frames])
    end.

%% All frames of a stream, up to the one that ends it.
until_end(Socket, Stream) ->
    case next(Socket) of
        {Type, Flags, Stream, _} = Frame when Type =< 1, Flags band 1 =:= 1 -> [Frame];
        {3, _, Stream, _} = Frame -> [Frame];
        {_, _, Stream, _} = Frame -> [Frame | until_end(Socket, Stream)];
        {_, _, _, _} -> until_end(Socket, Stream)
    end.
