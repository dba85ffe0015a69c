%% What most tests have from sockeye_test_client, whose framing is not that of the code under test: it fails where that returns an error,
%% waits a minute, and knows what its process has opened. Everything is passive: who reads decides when.
-module(ws_client).

-export([connect/1, connect/2, handshake/2, text/2, binary/2, ping/2, close/3, frame/3, encode/2, encode/3, raw/2, recv/1, recv/2, recv_data/1,
         recv_close/1, echo_until_closed/1, drop/1, drop_all/0]).

%% What this process has opened, for drop_all/0.
-define(OPENED, ws_client_opened).
-define(TIMEOUT, 60000).

connect(Port) ->
    connect(Port, #{}).

%% Options as there.
connect(Port, Options) ->
    opened(sockeye_test_client:connect(Port, patient(Options))).

handshake(Port, Options) ->
    {ok, Status, Headers, Socket} = sockeye_test_client:handshake(Port, patient(Options)),
    {ok, Status, Headers, opened({ok, Socket})}.

patient(Options) -> maps:merge(#{timeout => ?TIMEOUT}, Options).

opened({ok, Socket}) ->
    put(?OPENED, [Socket | opened()]),
    Socket.

text(Socket, Text) -> frame(Socket, 1, Text).
binary(Socket, Data) -> frame(Socket, 2, Data).
ping(Socket, Data) -> frame(Socket, 9, Data).
close(Socket, Code, Reason) -> frame(Socket, 8, <<Code:16, Reason/binary>>).

frame(Socket, Opcode, Payload) -> raw(Socket, encode(Opcode, Payload)).
raw(Socket, Bytes) -> sockeye_test_client:raw(Socket, Bytes).

encode(Opcode, Payload) -> sockeye_test_client:frame(Opcode, Payload).
encode(Opcode, Payload, Options) -> sockeye_test_client:frame(Opcode, Payload, Options).

recv(Socket) ->
    recv(Socket, ?TIMEOUT).

%% One frame, `closed' or `timeout'. What a server sends to a test is whole and not compressed.
recv(Socket, Timeout) ->
    case sockeye_test_client:recv(Socket, Timeout) of
        {ok, Frame} when element(1, Frame) =/= frame -> Frame;
        {error, Reason} when Reason =:= closed; Reason =:= timeout -> Reason
    end.

%% The payload of the next text or binary frame.
recv_data(Socket) ->
    case recv(Socket) of
        {text, Payload} -> Payload;
        {binary, Payload} -> Payload;
        {Kind, _} when Kind =:= ping; Kind =:= pong -> recv_data(Socket);
        Other -> error({no_data, Other})
    end.

%% The code and reason of the server's Close frame, past others; it is answered.
recv_close(Socket) ->
    case sockeye_test_client:recv_close(Socket, ?TIMEOUT) of
        {ok, Code, Reason} -> {Code, Reason};
        {error, Reason} when Reason =:= closed; Reason =:= timeout -> Reason
    end.

%% For a process of its own: sends back what comes, ends with the close code.
echo_until_closed(Socket) ->
    case recv(Socket) of
        {text, Payload} -> _ = text(Socket, Payload), echo_until_closed(Socket);
        {close, Code, _} -> _ = close(Socket, 1000, <<>>), sockeye_test_client:close(Socket), Code;
        closed -> closed;
        _ -> echo_until_closed(Socket)
    end.

%% Away, without a word.
drop(Socket) -> sockeye_test_client:drop(Socket).

%% For the end of a test: a server need not wait for these clients.
drop_all() ->
    [drop(Socket) || Socket <- opened()],
    erase(?OPENED).

opened() ->
    case get(?OPENED) of
        undefined -> [];
        Sockets -> Sockets
    end.
