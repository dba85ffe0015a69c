%% permessage-deflate for ws_client, with the zlib of the VM: the other side of
%% what the tests test.
-module(ws_deflate).

-export([connect/2]).
-export([connect/3]).
-export([compress/1]).
-export([compress/2]).
-export([send/3]).
-export([send/4]).
-export([fragments/3]).
-export([recv/1]).
-export([inflate/1]).
-export([inflater/0]).
-export([inflate/2]).
-export([deflater/1]).

-define(TIMEOUT, 60000).
-define(TAIL, <<0, 0, 255, 255>>).

%% The socket, and what the server answered.
connect(Port, Offer) ->
    connect(Port, Offer, #{}).

connect(Port, Offer, Options) ->
    Headers = [{"Sec-WebSocket-Extensions", Offer} | maps:get(headers, Options, [])],
    {ok, 101, Answer, Socket} = ws_client:handshake(Port, Options#{headers => Headers}),
    {Socket, proplists:get_value(<<"sec-websocket-extensions">>, Answer)}.

%% A message that refers to nothing before it.
compress(Data) ->
    Z = deflater(15),
    Result = compress(Z, Data),
    ok = zlib:close(Z),
    Result.

deflater(Bits) ->
    Z = zlib:open(),
    ok = zlib:deflateInit(Z, default, deflated, -Bits, 8, default),
    Z.

compress(Z, Data) ->
    Bin = iolist_to_binary(zlib:deflate(Z, Data, sync)),
    Size = byte_size(Bin) - 4,
    <<Body:Size/binary, 0, 0, 255, 255>> = Bin,
    Body.

send(Socket, Opcode, Data) ->
    ws_client:raw(Socket, ws_client:encode(Opcode, compress(Data), #{rsv => 4})).

send(Socket, Opcode, Z, Data) ->
    ws_client:raw(Socket, ws_client:encode(Opcode, compress(Z, Data), #{rsv => 4})).

%% One compressed message in frames of so many bytes.
fragments(Opcode, Data, Size) ->
    fragment(Opcode, 4, compress(Data), Size).

fragment(Opcode, Rsv, Data, Size) when byte_size(Data) > Size ->
    <<Head:Size/binary, Rest/binary>> = Data,
    [ws_client:encode(Opcode, Head, #{fin => 0, rsv => Rsv}) | fragment(0, 0, Rest, Size)];
fragment(Opcode, Rsv, Data, _Size) ->
    [ws_client:encode(Opcode, Data, #{rsv => Rsv})].

%% The next frame as it is: whether it is compressed, opcode and payload.
recv(Socket) ->
    case gen_tcp:recv(Socket, 2, ?TIMEOUT) of
        {ok, <<1:1, Compressed:1, 0:2, Opcode:4, 0:1, Len:7>>} ->
            {Compressed =:= 1, Opcode, payload(Socket, Len)};
        {error, Reason} ->
            Reason
    end.

payload(Socket, 126) ->
    {ok, <<Size:16>>} = gen_tcp:recv(Socket, 2, ?TIMEOUT),
    exactly(Socket, Size);
payload(Socket, 127) ->
    {ok, <<Size:64>>} = gen_tcp:recv(Socket, 8, ?TIMEOUT),
    exactly(Socket, Size);
payload(Socket, Size) ->
    exactly(Socket, Size).

exactly(_Socket, 0) ->
    <<>>;
exactly(Socket, Size) ->
    {ok, Payload} = gen_tcp:recv(Socket, Size, ?TIMEOUT),
    Payload.

inflater() ->
    Z = zlib:open(),
    ok = zlib:inflateInit(Z, -15),
    Z.

inflate(Data) ->
    Z = inflater(),
    Result = inflate(Z, Data),
    ok = zlib:close(Z),
    Result.

inflate(Z, Data) ->
    iolist_to_binary(zlib:inflate(Z, [Data, ?TAIL])).
