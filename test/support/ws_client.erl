%% A WebSocket client made of gen_tcp and its own framing, so that the tests do
%% not trust the code they test. Everything is passive: who reads decides when.
-module(ws_client).

-export([connect/1]).
-export([connect/2]).
-export([handshake/2]).
-export([text/2]).
-export([binary/2]).
-export([ping/2]).
-export([close/3]).
-export([frame/3]).
-export([encode/2]).
-export([encode/3]).
-export([raw/2]).
-export([recv/1]).
-export([recv/2]).
-export([recv_data/1]).
-export([recv_close/1]).
-export([echo_until_closed/1]).
-export([drop/1]).
-export([drop_all/0]).

%% What this process has opened, for drop_all/0.
-define(OPENED, ws_client_opened).
-define(TIMEOUT, 10000).
-define(IS_TLS(Socket), is_tuple(Socket) andalso element(1, Socket) =:= sslsocket).
-define(KEY, <<"dGhlIHNhbXBsZSBub25jZQ==">>).
-define(ACCEPT, <<"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=">>).

connect(Port) ->
    connect(Port, #{}).

%% Options: path, headers ([{Name, Value}]), ip, socket (gen_tcp options), tls
%% (ssl options).
connect(Port, Options) ->
    {ok, 101, Headers, Socket} = handshake(Port, Options),
    ?ACCEPT = proplists:get_value(<<"sec-websocket-accept">>, Headers),
    Socket.

handshake(Port, Options) ->
    Ip = maps:get(ip, Options, {127, 0, 0, 1}),
    SocketOptions = [binary, {active, false}, {nodelay, true}, {packet, raw}
                     | maps:get(socket, Options, [])],
    {ok, Socket} = case Options of
                       #{tls := Tls} -> ssl:connect(Ip, Port, SocketOptions ++ Tls, ?TIMEOUT);
                       _ -> gen_tcp:connect(Ip, Port, SocketOptions, ?TIMEOUT)
                   end,
    put(?OPENED, [Socket | opened()]),
    Extra = [[Name, ": ", Value, "\r\n"] || {Name, Value} <- maps:get(headers, Options, [])],
    ok = send(Socket, ["GET ", maps:get(path, Options, "/"), " HTTP/1.1\r\n"
                               "Host: localhost\r\nUpgrade: websocket\r\n"
                               "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                               "Sec-WebSocket-Key: ", ?KEY, "\r\n", Extra, "\r\n"]),
    ok = setopts(Socket, [{packet, http_bin}]),
    {ok, {http_response, {1, 1}, Status, _}} = take(Socket, 0, ?TIMEOUT),
    Headers = headers(Socket),
    ok = setopts(Socket, [{packet, raw}]),
    {ok, Status, Headers, Socket}.

headers(Socket) ->
    case take(Socket, 0, ?TIMEOUT) of
        {ok, {http_header, _, Name, _, Value}} ->
            [{string:lowercase(name(Name)), Value} | headers(Socket)];
        {ok, http_eoh} ->
            []
    end.

name(Name) when is_atom(Name) -> atom_to_binary(Name);
name(Name) -> Name.

text(Socket, Text) -> frame(Socket, 1, Text).
binary(Socket, Data) -> frame(Socket, 2, Data).
ping(Socket, Data) -> frame(Socket, 9, Data).
close(Socket, Code, Reason) -> frame(Socket, 8, <<Code:16, Reason/binary>>).

frame(Socket, Opcode, Payload) ->
    raw(Socket, encode(Opcode, Payload)).

raw(Socket, Bytes) ->
    send(Socket, Bytes).

encode(Opcode, Payload) ->
    encode(Opcode, Payload, #{}).

%% Options: fin (0 | 1), rsv (0..7), mask (binary of four bytes or none).
encode(Opcode, Payload, Options) ->
    Bin = iolist_to_binary(Payload),
    Fin = maps:get(fin, Options, 1),
    Rsv = maps:get(rsv, Options, 0),
    case maps:get(mask, Options, rand:bytes(4)) of
        none ->
            [head(<<Fin:1, Rsv:3, Opcode:4>>, 0, byte_size(Bin)), Bin];
        Mask ->
            [head(<<Fin:1, Rsv:3, Opcode:4>>, 1, byte_size(Bin)), Mask, mask(Bin, Mask)]
    end.

head(First, Masked, Size) when Size < 126 -> <<First/binary, Masked:1, Size:7>>;
head(First, Masked, Size) when Size < 65536 -> <<First/binary, Masked:1, 126:7, Size:16>>;
head(First, Masked, Size) -> <<First/binary, Masked:1, 127:7, Size:64>>.

mask(Bin, Mask) ->
    Size = byte_size(Bin),
    Pattern = binary:part(binary:copy(Mask, Size div 4 + 1), 0, Size),
    crypto:exor(Bin, Pattern).

recv(Socket) ->
    recv(Socket, ?TIMEOUT).

%% One frame, or `closed'. Checks what every frame of a server has to be.
recv(Socket, Timeout) ->
    case take(Socket, 2, Timeout) of
        {ok, <<Fin:1, 0:3, Opcode:4, 0:1, Len:7>>} ->
            Payload = payload(Socket, length_of(Socket, Len)),
            kind(Fin, Opcode, Payload);
        {error, closed} -> closed;
        {error, econnreset} -> closed;
        {error, timeout} -> timeout
    end.

length_of(Socket, 126) ->
    {ok, <<Size:16>>} = take(Socket, 2, ?TIMEOUT),
    Size;
length_of(Socket, 127) ->
    {ok, <<Size:64>>} = take(Socket, 8, ?TIMEOUT),
    Size;
length_of(_Socket, Len) ->
    Len.

payload(_Socket, 0) ->
    <<>>;
payload(Socket, Size) ->
    {ok, Payload} = take(Socket, Size, ?TIMEOUT),
    Payload.

kind(1, 1, Payload) -> {text, Payload};
kind(1, 2, Payload) -> {binary, Payload};
kind(1, 8, <<>>) -> {close, 1005, <<>>};
kind(1, 8, <<Code:16, Reason/binary>>) -> {close, Code, Reason};
kind(1, 9, Payload) -> {ping, Payload};
kind(1, 10, Payload) -> {pong, Payload}.

%% The payload of the next text or binary frame.
recv_data(Socket) ->
    case recv(Socket) of
        {text, Payload} -> Payload;
        {binary, Payload} -> Payload;
        {pong, _} -> recv_data(Socket);
        Other -> error({no_data, Other})
    end.

%% Reads up to the Close frame, answers it, and waits for the end of the
%% transport. The code and reason of the server.
recv_close(Socket) ->
    case recv(Socket) of
        {close, Code, Reason} ->
            _ = close(Socket, 1000, <<>>),
            closed = recv(Socket),
            ok = close(Socket),
            {Code, Reason};
        closed ->
            closed;
        timeout ->
            timeout;
        _ ->
            recv_close(Socket)
    end.

%% For a process of its own: sends back what comes, ends with the close code.
echo_until_closed(Socket) ->
    case recv(Socket) of
        {text, Payload} -> _ = text(Socket, Payload), echo_until_closed(Socket);
        {close, Code, _} -> _ = close(Socket, 1000, <<>>), close(Socket), Code;
        closed -> closed;
        _ -> echo_until_closed(Socket)
    end.

%% Away, without a word.
drop(Socket) when ?IS_TLS(Socket) ->
    ssl:close(Socket);
drop(Socket) ->
    _ = setopts(Socket, [{linger, {true, 0}}]),
    close(Socket).

%% For the end of a test: a server need not wait for these clients.
drop_all() ->
    [drop(Socket) || Socket <- opened()],
    erase(?OPENED).

opened() ->
    case get(?OPENED) of
        undefined -> [];
        Sockets -> Sockets
    end.

send(Socket, Data) when ?IS_TLS(Socket) -> ssl:send(Socket, Data);
send(Socket, Data) -> gen_tcp:send(Socket, Data).

take(Socket, Length, Timeout) when ?IS_TLS(Socket) -> ssl:recv(Socket, Length, Timeout);
take(Socket, Length, Timeout) -> gen_tcp:recv(Socket, Length, Timeout).

close(Socket) when ?IS_TLS(Socket) -> ssl:close(Socket);
close(Socket) -> gen_tcp:close(Socket).

setopts(Socket, Options) when ?IS_TLS(Socket) -> ssl:setopts(Socket, Options);
setopts(Socket, Options) -> inet:setopts(Socket, Options).
