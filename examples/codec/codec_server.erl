%% A WebSocket echo server on a gen_tcp socket of its own, with sockeye_codec.
-module(codec_server).
-export([start/1]).

%% The port it listens on; it ends with its caller.
start(Port) ->
    {ok, Listen} = gen_tcp:listen(Port, [binary, {active, false}, {reuseaddr, true}, {ip, {127, 0, 0, 1}}]),
    spawn_link(fun() -> accept(Listen) end),
    {ok, _Number} = inet:port(Listen).

accept(Listen) ->
    case gen_tcp:accept(Listen) of
        {ok, Socket} ->
            Pid = spawn(fun() -> receive go -> handshake(Socket, <<>>) end end),
            ok = gen_tcp:controlling_process(Socket, Pid),
            Pid ! go,
            accept(Listen);
        {error, closed} ->
            ok
    end.

handshake(Socket, Seen) ->
    case sockeye_codec:accept(Seen, #{deflate => true}) of
        more ->
            {ok, Bytes} = gen_tcp:recv(Socket, 0, 5000),
            handshake(Socket, <<Seen/binary, Bytes/binary>>);
        {ok, Response, Codec, _Agreed, Rest} ->
            ok = gen_tcp:send(Socket, Response),
            talk(Socket, Codec, {ok, Rest});
        {error, {_Why, Answer}} ->
            _ = gen_tcp:send(Socket, Answer),
            gen_tcp:close(Socket)
    end.

talk(Socket, Codec, {ok, Bytes}) ->
    {Events, Reply} = sockeye_codec:decode(Codec, Bytes),
    Echo = case sockeye_codec:encode(Codec, [M || {Kind, _} = M <- Events, Kind =:= text orelse Kind =:= binary]) of
               {ok, Frames} -> Frames;
               {error, closed} -> <<>>    % after a Close frame nothing may be sent
           end,
    _ = gen_tcp:send(Socket, [Reply, Echo]),
    case sockeye_codec:info(Codec) of
        #{state := closed} -> gen_tcp:close(Socket);
        _ -> talk(Socket, Codec, gen_tcp:recv(Socket, 0))
    end;
talk(_Socket, _Codec, {error, closed}) ->
    ok.
