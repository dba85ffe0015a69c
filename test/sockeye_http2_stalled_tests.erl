%% Streams of HTTP/2 that stand still: they hold up no other of their connection, and what waits for
%% them has its bounds.
-module(sockeye_http2_stalled_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(h2_frames, [frame/4, data/2, window/2, open_stream/2]).

-define(STREAMS, 100).
-define(LAST, 127).

%% A message of a client.
text(Bytes) when byte_size(Bytes) < 126 -> [<<129, 1:1, (byte_size(Bytes)):7, 0:32>>, Bytes];
text(Bytes) -> [<<129, 254, (byte_size(Bytes)):16, 0:32>>, Bytes].

%% A client with 100 WebSockets, none of which is read from beyond its first message; and their
%% connections, in their order.
with_streams(Options, Settings, Test) ->
    Default = #{http2 => cleartext, format => raw, active => 1, ping_interval => infinity, idle_timeout => infinity},
    hostile_client:with_attack(maps:merge(Default, Options), fun(Port, _) ->
        Socket = hostile_client:connect(Port),
        ok = gen_tcp:send(Socket, [h2_frames:hello(Settings), frame(4, 1, 0, []), window(0, 16#100000)]),
        ok = gen_tcp:send(Socket, [open_stream(I, path(I)) || I <- odd()]),
        Opened = maps:from_list([receive {sockeye, Conn, {open, #{path := Path}}} -> {Path, Conn}
                                 after 60000 -> error(not_open)
                                 end || _ <- odd()]),
        Result = Test(Socket, [maps:get(path(I), Opened) || I <- odd()]),
        gen_tcp:close(Socket),
        [?assertEqual(1006, test_support:closed(Conn)) || Conn <- maps:values(Opened)],
        Result
    end).

path(Stream) -> <<"/", (integer_to_binary(Stream))/binary>>.

odd() -> lists:seq(1, ?LAST, 2).

%% All but the last, which is asked for an echo of whatever it is sent.
echo(Socket, Conn) ->
    ok = sockeye:setopts(Conn, [{active, true}]),
    [begin
         Text = integer_to_binary(N),
         ok = gen_tcp:send(Socket, data(?LAST, text(Text))),
         receive {sockeye, Conn, {text, Text}} -> ok after 60000 -> error(no_message) end,
         ok = sockeye:send(Conn, {text, Text}),
         await(Socket, <<129, (byte_size(Text)), Text/binary>>)
     end || N <- lists:seq(1, 20)].

await(Socket, Bytes) ->
    case h2_frames:next(Socket) of
        {0, _, ?LAST, Bytes} -> ok;
        {0, _, ?LAST, Other} -> error({unexpected, Other});
        {7, _, _, Why} -> error({goaway, Why});
        closed -> error(closed);
        _ -> await(Socket, Bytes)
    end.

%% Nobody takes what comes on 63 streams, each of which has filled its window: the last has its
%% echoes. Then they are taken, and nothing is missing.
unread_test_() ->
    {timeout, 60, fun() ->
        with_streams(#{}, [], fun(Socket, Conns) ->
            Before = hostile_client:memory(),
            Text = binary:copy(<<"x">>, 1016),
            Each = 65536 div iolist_size(text(Text)),
            [ok = gen_tcp:send(Socket, [data(I, text(Text)) || _ <- lists:seq(1, Each)]) || I <- odd() -- [?LAST]],
            echo(Socket, lists:last(Conns)),
            %% 64 KiB that the client may send, and what the engine may have taken of it.
            ?assert(hostile_client:memory() - Before < hostile_client:most(?STREAMS * (64 + 32) * 1024)),
            [begin
                 ok = sockeye:setopts(Conn, [{active, true}]),
                 [receive {sockeye, Conn, {text, Text}} -> ok after 60000 -> error(missing) end || _ <- lists:seq(1, Each)]
             end || Conn <- lists:droplast(Conns)]
        end)
    end}.

%% A stream full of the smallest messages there are.
small_messages_test_() ->
    {timeout, 60, fun() ->
        with_streams(#{}, [], fun(Socket, Conns) ->
            Each = 65536 div 6,
            ok = gen_tcp:send(Socket, [data(1, text(<<>>)) || _ <- lists:seq(1, Each)]),
            echo(Socket, lists:last(Conns)),
            ok = sockeye:setopts(hd(Conns), [{active, true}]),
            [receive {sockeye, Conn, {text, <<>>}} -> ok after 60000 -> error(missing) end
             || Conn <- [hd(Conns)], _ <- lists:seq(1, Each)]
        end)
    end}.

%% The client takes nothing on 99 streams: each has its queue and three pieces of 16 KiB on their way,
%% and is busy behind them.
not_taken_test_() ->
    Queue = 65536,
    [{integer_to_list(Size), {timeout, 60, fun() ->
        with_streams(#{send_queue_size => Queue}, [{4, 0}], fun(Socket, Conns) ->
            Before = hostile_client:memory(),
            Sent = [fill(Conn, Size, 0) || Conn <- lists:droplast(Conns)],
            ok = gen_tcp:send(Socket, window(?LAST, 65536)),
            echo(Socket, lists:last(Conns)),
            ?assert(lists:min(Sent) > Queue - Size),
            ?assert(lists:max(Sent) =< Queue + 3 * 16384),
            ?assert(hostile_client:memory() - Before < hostile_client:most(?STREAMS * (Queue + 3 * 16384)))
        end)
    end}} || Size <- [1000, 30000, 65000]].

%% Until it stays busy: what goes on its way makes room.
fill(Conn, Size, Sent) ->
    case sends(Conn, {binary, binary:copy(<<0>>, Size)}, 5) of
        true -> fill(Conn, Size, Sent + Size);
        false -> Sent
    end.

sends(_, _, 0) -> false;
sends(Conn, Frame, Tries) ->
    sockeye:send(Conn, Frame) =:= ok orelse receive after 1 -> sends(Conn, Frame, Tries - 1) end.

%% Who asks and does not read the answers is not read from, and cut off, before much of them waits.
answers_not_read_test_() ->
    {timeout, 60, fun() ->
        hostile_client:with_attack(#{http2 => cleartext, handshake_timeout => 60000, send_timeout => 300}, fun(Port, _) ->
            Before = hostile_client:memory(),
            Socket = hostile_client:connect(Port),
            ok = inet:setopts(Socket, [{recbuf, 4096}, {send_timeout, 10000}]),
            ok = gen_tcp:send(Socket, h2_frames:hello()),
            Pings = [h2_frames:ping(N) || N <- lists:seq(1, 10000)],
            {Error, Most} = send_until_cut_off(Socket, Pings, 0),
            ?assertNotEqual({error, timeout}, Error),
            ?assert(Most - Before < 1024 * 1024),
            gen_tcp:close(Socket)
        end)
    end}.

%% How it ended, and the most that the engine held.
send_until_cut_off(Socket, Pings, Most) ->
    case gen_tcp:send(Socket, Pings) of
        ok -> send_until_cut_off(Socket, Pings, max(Most, hostile_client:memory()));
        Error -> {Error, Most}
    end.

%% Who takes nothing for too long loses that stream, and keeps the others.
given_up_test_() ->
    {timeout, 60, fun() ->
        with_streams(#{send_timeout => 300, close_timeout => 100}, [{4, 0}], fun(Socket, [First | Conns]) ->
            ok = gen_tcp:send(Socket, window(?LAST, 65536)),
            _ = fill(First, 100000, 0),
            receive {sockeye, First, {closed, Code, _}} -> ?assertEqual(1008, Code) after 60000 -> error(not_closed) end,
            echo(Socket, lists:last(Conns)),
            %% As if it were the last event, which the others still have to see.
            self() ! {sockeye, First, {closed, 1006, <<>>}}
        end)
    end}.
