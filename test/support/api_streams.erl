%% WebSockets of api_world that are streams of HTTP/2. All of them at one server share a socket, which is there as long as one of them is.
-module(api_streams).

-export([open/3]).
-export([say/3]).
-export([leave/3]).
-export([cut/1]).

-define(OPCODES, #{0 => continuation, 1 => text, 2 => binary, 8 => close, 10 => pong}).
-define(END_STREAM, 1).
-define(CANCEL, 8).

%% `streams' {Number of the connection, bytes of a frame that is not whole, what its end is}: `open'; {told, Code}, the server's Close;
%% `leaves', ours comes first; `silent', nobody is told.
-record(s, {socket :: term(), test :: pid(), next = 1 :: pos_integer(), buffer = <<>> :: binary(), streams = #{} :: map()}).

%% A stream for the connection of this number, on the socket of `Carrier', or on a new one. Frames and the end come as {C, Frame}, as those of
%% a client of ours do.
open(C, #{} = Server, none) ->
    Test = self(),
    open(C, Server, spawn(fun() -> shake(Server, Test) end));
open(C, Server, Carrier) ->
    Monitor = monitor(process, Carrier),
    Carrier ! {open, C},
    receive
        {C, opens} -> true = demonitor(Monitor, [flush]), {Carrier, C};
        %% Its last stream has just ended.
        {'DOWN', Monitor, process, Carrier, normal} -> open(C, Server, none);
        {'DOWN', Monitor, process, Carrier, noproc} -> open(C, Server, none)
    end.

%% A whole frame, masked.
say({Carrier, C}, Bytes, Flags) ->
    Carrier ! {say, C, Bytes, Flags},
    ok.

%% `handshake': the server's answer comes. `fin': without a Close frame. `rst': the stream is reset.
leave({Carrier, C}, How, Patience) ->
    Carrier ! {leave, C, How},
    case How of
        handshake -> receive {C, {closed, 1000}} -> ok after Patience -> error({no_answer, C}) end;
        _ -> ok
    end.

%% The socket is closed, with all of its streams.
cut(Carrier) ->
    Monitor = monitor(process, Carrier),
    Carrier ! cut,
    receive {'DOWN', Monitor, process, Carrier, _} -> ok end.

shake(#{port := Port, kind := Kind}, Test) ->
    Monitor = monitor(process, Test),
    Socket = case Kind of
                 tls ->
                     {ok, S} = ssl:connect({127, 0, 0, 1}, Port, [binary, {verify, verify_none}, {alpn_advertised_protocols, [<<"h2">>]}]),
                     S;
                 _ ->
                     {ok, S} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {nodelay, true}]),
                     S
             end,
    send(Socket, h2_frames:hello([{1, 0}])),
    loop(Monitor, #s{socket = Socket, test = Test}).

loop(Monitor, S) ->
    receive
        {open, C} ->
            #s{socket = Socket, test = Test, next = Id, streams = Streams} = S,
            Test ! {C, opens},
            send(Socket, [h2_frames:open_stream(Id), h2_frames:data(Id, ws_client:encode(1, <<"\"who\"">>))]),
            loop(Monitor, S#s{next = Id + 2, streams = Streams#{Id => {C, <<>>, open}}});
        {say, C, Bytes, Flags} ->
            [send(S#s.socket, h2_frames:frame(0, Flags, Id, Bytes)) || Id <- ids(C, S)],
            loop(Monitor, S);
        {leave, C, How} ->
            [Id] = ids(C, S),
            next(Monitor, left(How, Id, S));
        cut ->
            close(S#s.socket);
        {Tag, _, Bytes} when Tag =:= tcp; Tag =:= ssl ->
            next(Monitor, frames(S#s{buffer = <<(S#s.buffer)/binary, Bytes/binary>>}));
        {Tag, _} when Tag =:= tcp_closed; Tag =:= ssl_closed ->
            lists:foldl(fun ended/2, S, maps:keys(S#s.streams));
        {Tag, _, _} when Tag =:= tcp_error; Tag =:= ssl_error ->
            loop(Monitor, S);
        {'DOWN', Monitor, _, _, _} ->
            close(S#s.socket)
    end.

next(_Monitor, #s{streams = Streams, socket = Socket}) when map_size(Streams) =:= 0 -> close(Socket);
next(Monitor, S) -> loop(Monitor, S).

ids(C, #s{streams = Streams}) -> [Id || {Id, {Of, _, _}} <- maps:to_list(Streams), Of =:= C].

left(handshake, Id, S) ->
    send(S#s.socket, h2_frames:data(Id, ws_client:encode(8, <<1000:16>>))),
    becomes(leaves, Id, S);
left(fin, Id, S) ->
    send(S#s.socket, h2_frames:frame(0, ?END_STREAM, Id, [])),
    becomes(silent, Id, S);
left(rst, Id, S) ->
    send(S#s.socket, h2_frames:reset(Id, ?CANCEL)),
    S#s{streams = maps:remove(Id, S#s.streams)}.

becomes(End, Id, #s{streams = Streams} = S) ->
    #{Id := {C, Rest, _}} = Streams,
    S#s{streams = Streams#{Id := {C, Rest, End}}}.

frames(#s{buffer = <<Length:24, Type, Flags, _:1, Stream:31, Payload:Length/binary, Rest/binary>>} = S) ->
    frames(frame(Type, Flags, Stream, Payload, S#s{buffer = Rest}));
frames(S) ->
    S.

frame(0, Flags, Id, Payload, #s{socket = Socket, streams = Streams} = S) ->
    Payload =:= <<>> orelse send(Socket, [h2_frames:window(Of, byte_size(Payload)) || Of <- [0, Id]]),
    case Streams of
        #{Id := {C, Before, End}} ->
            Heard = heard(Id, S#s{streams = Streams#{Id := {C, <<Before/binary, Payload/binary>>, End}}}),
            case Flags band ?END_STREAM of
                0 -> Heard;
                _ -> ended(Id, Heard)
            end;
        #{} ->
            S
    end;
frame(1, Flags, Id, Block, #s{test = Test, streams = Streams} = S) ->
    case {h2_frames:statuses([{1, Flags, Id, Block}]), Streams} of
        {[{Id, 200}], _} -> S;
        {[{Id, Status}], #{Id := {C, _, _}}} -> Test ! {C, {status, Status}}, ended(Id, S);
        _ -> S
    end;
frame(3, _, Id, _, S) -> ended(Id, S);
frame(4, 0, 0, _, S) -> send(S#s.socket, h2_frames:frame(4, 1, 0, [])), S;
frame(6, 0, 0, Payload, S) -> send(S#s.socket, h2_frames:frame(6, 1, 0, Payload)), S;
frame(_, _, _, _, S) -> S.

%% Frames of the WebSocket.
heard(Id, #s{streams = Streams} = S) ->
    #{Id := {C, Bytes, End}} = Streams,
    case Bytes of
        <<Fin:1, 0:3, Opcode:4, 0:1, 126:7, Size:16, Data:Size/binary, Rest/binary>> -> ok;
        <<Fin:1, 0:3, Opcode:4, 0:1, Size:7, Data:Size/binary, Rest/binary>> when Size < 126 -> ok;
        _ -> Fin = 0, Opcode = none, Data = <<>>, Rest = Bytes
    end,
    case Opcode of
        none -> S;
        _ -> heard(Id, said(Fin, Opcode, Data, Id, C, S#s{streams = Streams#{Id := {C, Rest, End}}}))
    end.

said(1, 8, <<Code:16, _/binary>>, Id, C, #s{socket = Socket, test = Test, streams = Streams} = S) ->
    case Streams of
        #{Id := {_, _, leaves}} ->
            Test ! {C, {closed, Code}},
            send(Socket, h2_frames:frame(0, ?END_STREAM, Id, [])),
            becomes(silent, Id, S);
        #{} ->
            send(Socket, h2_frames:frame(0, ?END_STREAM, Id, ws_client:encode(8, <<Code:16>>))),
            becomes({told, Code}, Id, S)
    end;
said(Fin, Opcode, Data, _Id, C, #s{test = Test} = S) ->
    Test ! {C, shown(Fin, maps:get(Opcode, ?OPCODES), Data)},
    S.

%% As api_effects names them.
shown(1, text, Data) when byte_size(Data) =:= 600 -> {large, number(Data)};
shown(1, text, Data) -> {json, number(Data)};
shown(1, binary, Data) -> {binary, Data};
shown(1, pong, Data) -> {pong, number(Data)};
shown(Fin, Opcode, Data) -> {piece, Fin =:= 1, maps:get(Opcode, #{continuation => 0, text => 1, binary => 2}), number(Data)}.

number(Text) -> binary_to_integer(string:trim(Text)).

%% It is over. Without a Close frame nobody said why.
ended(Id, #s{test = Test, streams = Streams} = S) ->
    case maps:take(Id, Streams) of
        {{_, _, silent}, Rest} -> S#s{streams = Rest};
        {{C, _, {told, Code}}, Rest} -> Test ! {C, {closed, Code}}, S#s{streams = Rest};
        {{C, _, _}, Rest} -> Test ! {C, {closed, closed}}, S#s{streams = Rest};
        error -> S
    end.

send(Socket, Bytes) when element(1, Socket) =:= sslsocket -> ssl:send(Socket, Bytes);
send(Socket, Bytes) -> gen_tcp:send(Socket, Bytes).

close(Socket) when element(1, Socket) =:= sslsocket -> ssl:close(Socket);
close(Socket) -> gen_tcp:close(Socket).
