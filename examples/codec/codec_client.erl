%% A WebSocket client on a gen_tcp socket of its own, with sockeye_codec.
-module(codec_client).
-export([connect/3, send/2, recv/1, close/1]).

connect(Host, Port, Path) ->
    {ok, Socket} = gen_tcp:connect(Host, Port, [binary, {active, false}], 5000),
    Name = [Host, ":", integer_to_list(Port)],
    {ok, Request, Handshake} = sockeye_codec:request(#{host => Name, path => Path, deflate => true}),
    ok = gen_tcp:send(Socket, Request),
    answer(Socket, Handshake, <<>>).

answer(Socket, Handshake, Seen) ->
    case sockeye_codec:check_response(Handshake, Seen) of
        more ->
            {ok, Bytes} = gen_tcp:recv(Socket, 0, 5000),
            answer(Socket, Handshake, <<Seen/binary, Bytes/binary>>);
        {ok, Codec, _Agreed, Rest} ->
            {ok, {Socket, Codec, events(Socket, Codec, Rest)}};
        {error, _} = Error ->
            ok = gen_tcp:close(Socket),
            Error
    end.

send({Socket, Codec, _}, Frames) ->
    {ok, Bytes} = sockeye_codec:encode(Codec, Frames),
    gen_tcp:send(Socket, Bytes).

%% The next event, and the connection as it is then.
recv({Socket, Codec, [Event | Rest]}) ->
    {Event, {Socket, Codec, Rest}};
recv({Socket, Codec, []}) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Bytes} -> recv({Socket, Codec, events(Socket, Codec, Bytes)});
        {error, closed} -> {sockeye_codec:eof(Codec), {Socket, Codec, []}}
    end.

events(Socket, Codec, Bytes) ->
    {Events, Reply} = sockeye_codec:decode(Codec, Bytes),
    _ = gen_tcp:send(Socket, Reply),
    Events.

%% The close handshake, past what still comes.
close(Connection) ->
    ok = send(Connection, {close, 1000, <<"bye">>}),
    until_closed(recv(Connection)).

until_closed({{closed, _, _} = Ending, {Socket, _, _}}) -> ok = gen_tcp:close(Socket), Ending;
until_closed({_, Connection}) -> until_closed(recv(Connection)).
