%% What bench/send runs: sockeye:send/2 in a loop from one process.
-module(bench_send).

-export([main/0]).
-export([sink/1]).

main() ->
    [Seconds] = [list_to_integer(Text) || Text <- init:get_plain_arguments()],
    spawn(fun() -> run(Seconds), halt(0) end).

run(Seconds) ->
    {ok, Server} = sockeye:start_link(#{port => 0, active => true}),
    {ok, #{port := Port}} = sockeye:info(Server),
    %% The client is another node: what it takes is not the server's.
    {ok, Peer, _} = peer:start(#{connection => standard_io, args => ["+sbwt", "none", "-pa", filename:dirname(code:which(?MODULE))]}),
    ok = peer:call(Peer, erlang, apply, [fun() -> spawn(?MODULE, sink, [Port]), ok end, []]),
    Conn = receive {sockeye, C, {open, _}} -> C end,
    {ok, #{engine := Engine}} = sockeye:info(),
    Text = binary:copy(<<"x">>, 64),
    [begin
         {Ok, Busy} = loop(Conn, Frame, Seconds),
         io:format("~s, ~s: ~b a second, ~b of them busy~n", [Engine, Name, (Ok + Busy) div Seconds, Busy div Seconds])
     end || {Name, Frame} <- [{"{text, _}", {text, Text}}, {"{binary, _}", {binary, Text}},
                              {"{json, _}", {json, #{<<"id">> => 17, <<"name">> => Text}}}]],
    peer:stop(Peer).

loop(Conn, Frame, Seconds) ->
    loop(Conn, Frame, erlang:monotonic_time(millisecond) + 1000 * Seconds, 0, 0).

loop(Conn, Frame, End, Ok, Busy) ->
    {Did, Not} = many(Conn, Frame, 100, 0, 0),
    case erlang:monotonic_time(millisecond) < End of
        true -> loop(Conn, Frame, End, Ok + Did, Busy + Not);
        false -> {Ok + Did, Busy + Not}
    end.

many(_Conn, _Frame, 0, Ok, Busy) ->
    {Ok, Busy};
many(Conn, Frame, N, Ok, Busy) ->
    case sockeye:send(Conn, Frame) of
        ok -> many(Conn, Frame, N - 1, Ok + 1, Busy);
        %% The client reads: that takes a moment.
        {error, busy} -> receive after 1 -> many(Conn, Frame, N - 1, Ok, Busy + 1) end
    end.

sink(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {recbuf, 1048576}, {buffer, 1048576}]),
    ok = gen_tcp:send(Socket, ["GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                               "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"]),
    drain(Socket).

drain(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, _} -> drain(Socket);
        {error, _} -> ok
    end.
