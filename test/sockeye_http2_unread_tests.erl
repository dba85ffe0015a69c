%% Answers of HTTP/2 of which the client takes nothing: their streams end after `send_timeout', with their
%% files, and the others of the connection go on.
-module(sockeye_http2_unread_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(h2_frames, [get/2, window/2, data/2, open_stream/1, frame/4]).

-define(TIMEOUT, 60000).
-define(CANCEL, {reset, 8}).
-define(SEND_TIMEOUT, 300).

options(Dir, More) ->
    Text = fun(Size) -> {text, binary:copy(<<"x">>, Size)} end,
    Default = #{http2 => cleartext, format => raw, send_timeout => ?SEND_TIMEOUT, handshake_timeout => 60000,
                http => #{"/files" => {dir, Dir}, "/one" => Text(1), "/full" => Text(65535), "/more" => Text(65536),
                          "/much" => Text(1000000), "/upload" => fun(_) -> {200, [], binary:copy(<<"x">>, 100000)} end}},
    maps:merge(Default, More).

with_files(Test) -> with_files(#{}, Test).

with_files(More, Test) ->
    web_files:with_files(fun(Dir) ->
        test_support:with_server(options(Dir, More), fun(Port, _) -> Test(Port, Dir) end)
    end).

%% Nothing of it is taken: windows of any size are full.
untaken_test_() ->
    [{Title, {timeout, 60, fun() ->
        with_files(fun(Port, Dir) ->
            Socket = client(Port, Settings),
            Conn = neighbour(Socket),
            ok = gen_tcp:send(Socket, get(3, Path)),
            {Took, Ended} = answered(Socket, 3),
            ?assertEqual({Path, ?CANCEL}, {Path, Ended}),
            ?assert(Took >= ?SEND_TIMEOUT),
            nothing_open(Dir),
            %% What comes late is no error.
            ok = gen_tcp:send(Socket, [window(3, 1000), window(0, 1000)]),
            alive(Socket, Conn),
            %% The next has what this one had.
            ok = gen_tcp:send(Socket, get(5, <<"/files/ten.txt">>)),
            Settings =:= [] andalso ?assertMatch({_, {all, 10}}, answered(Socket, 5)),
            gen_tcp:close(Socket)
        end)
     end}} || {Title, Settings, Path} <-
        [{"a file", [], <<"/files/large.bin">>}, {"a text", [], <<"/much">>}, {"one byte too many", [], <<"/more">>},
         {"no window for a text", [{4, 0}], <<"/one">>}, {"no window for a file", [{4, 0}], <<"/files/ten.txt">>},
         {"a small window", [{4, 100}], <<"/files/large.bin">>}]].

%% A hundred of them, and all but one are left alone.
many_test_() ->
    {timeout, 60, fun() ->
        with_files(fun(Port, Dir) ->
            Socket = client(Port, [{4, 0}]),
            Conn = neighbour(Socket),
            Streams = lists:seq(3, 199, 2),
            ok = gen_tcp:send(Socket, [get(I, <<"/files/large.bin">>) || I <- Streams]),
            Resets = resets(Socket, length(Streams), []),
            ?assertEqual(Streams, lists:sort(Resets)),
            nothing_open(Dir),
            alive(Socket, Conn),
            gen_tcp:close(Socket)
        end)
    end}.

%% Whoever takes some now and then gets all, however long that takes.
slowly_test_() ->
    [{Title, {timeout, 60, fun() ->
        with_files(fun(Port, Dir) ->
            Socket = client(Port, [{4, 0}]),
            Conn = [neighbour(Socket) || with <- [Neighbour]],
            Began = erlang:monotonic_time(millisecond),
            ok = gen_tcp:send(Socket, [window(0, 100000), get(3, Path)]),
            Pace = ?SEND_TIMEOUT div 3,
            Length = slowly(Socket, Size div 6 + 1, Pace, 0),
            ?assertEqual(Size, Length),
            ?assert(erlang:monotonic_time(millisecond) - Began > 5 * Pace),
            nothing_open(Dir),
            [alive(Socket, C) || C <- Conn],
            gen_tcp:close(Socket)
        end)
     end}} || {Title, Path, Size, Neighbour} <- [{"a text", <<"/full">>, 65535, with}, {"a file", <<"/files/ten.txt">>, 10, with},
                                                 {"a text alone", <<"/more">>, 65536, without}]].

slowly(Socket, Piece, Pace, Sofar) ->
    receive after Pace -> ok end,
    ok = gen_tcp:send(Socket, window(3, Piece)),
    case took(Socket, Piece, Sofar) of
        {more, Now} -> slowly(Socket, Piece, Pace, Now);
        {all, Now} -> Now
    end.

took(Socket, Left, Sofar) ->
    case h2_frames:next(Socket) of
        {0, Flags, 3, Bytes} when Flags band 1 =:= 1 -> {all, Sofar + byte_size(Bytes)};
        {0, _, 3, Bytes} when byte_size(Bytes) >= Left -> {more, Sofar + byte_size(Bytes)};
        {0, _, 3, Bytes} -> took(Socket, Left - byte_size(Bytes), Sofar + byte_size(Bytes));
        {3, _, 3, <<Code:32>>} -> error({reset, Code, Sofar});
        {7, _, _, _} = Goaway -> error(Goaway);
        closed -> error({closed, Sofar});
        _ -> took(Socket, Left, Sofar)
    end.

%% A client that reads nothing at all ends as a whole, with its files.
nothing_is_read_test_() ->
    [{Title, {timeout, 60, fun() ->
        with_files(#{http2 => Http2}, fun(Port, Dir) ->
            {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {recbuf, 4096}]),
            Most = 16#7fffffff,
            ok = gen_tcp:send(Socket, [h2_frames:hello([{4, Most}]), window(0, Most - 65535),
                                       [get(I, <<"/files/large.bin">>) || I <- lists:seq(1, 41, 2)]]),
            nothing_open(Dir),
            gen_tcp:close(Socket)
        end)
     end}} || {Title, Http2} <- [{"cleartext", cleartext}]].

%% The library cannot hear of the end of a stream while the client is in the middle of a frame. It
%% is told once the frame is complete; a client that never completes it loses its connection.
in_a_frame_test_() ->
    {timeout, 60, fun() ->
        with_files(fun(Port, Dir) ->
            Socket = client(Port, []),
            Conn = neighbour(Socket),
            <<Half:20/binary, Rest/binary>> = iolist_to_binary(data(1, bad_frames:frame(1, binary:copy(<<"y">>, 100)))),
            ok = gen_tcp:send(Socket, [get(3, <<"/files/large.bin">>), Half]),
            {_, Ended} = answered(Socket, 3),
            ?assertEqual(?CANCEL, Ended),
            ok = gen_tcp:send(Socket, Rest),
            receive {sockeye, Conn, {text, <<"yy", _/binary>>}} -> ok after ?TIMEOUT -> error(no_message) end,
            nothing_open(Dir),
            alive(Socket, Conn),
            ok = gen_tcp:send(Socket, [get(5, <<"/files/large.bin">>), Half]),
            ?assertEqual(1006, test_support:closed(Conn)),
            nothing_open(Dir),
            gen_tcp:close(Socket)
        end)
    end}.

%% ---------------------------------------------------------------- one connection

client(Port, Settings) ->
    Socket = hostile_client:connect(Port),
    ok = gen_tcp:send(Socket, [h2_frames:hello([{1, 0} | Settings]), frame(4, 1, 0, [])]),
    _ = h2_frames:pinged(Socket, 0),
    Socket.

%% A WebSocket on stream 1, which has a window of its own.
neighbour(Socket) ->
    ok = gen_tcp:send(Socket, [open_stream(1), window(1, 100000), window(0, 100000)]),
    receive {sockeye, Conn, {open, _}} -> Conn after ?TIMEOUT -> error(not_open) end.

alive(Socket, Conn) ->
    ok = gen_tcp:send(Socket, data(1, bad_frames:frame(1, <<"alive">>))),
    receive {sockeye, Conn, {text, <<"alive">>}} -> ok after ?TIMEOUT -> error(no_message) end,
    ok = sockeye:send(Conn, {text, "too"}),
    on(Socket, <<129, 3, "too">>).

on(Socket, Bytes) ->
    case h2_frames:next(Socket) of
        {0, _, 1, Bytes} -> ok;
        {7, _, _, _} = Goaway -> error(Goaway);
        closed -> error(closed);
        _ -> on(Socket, Bytes)
    end.

%% What became of an answer, and after how many milliseconds.
answered(Socket, Stream) ->
    Began = erlang:monotonic_time(millisecond),
    Ended = answered(Socket, Stream, 0),
    {erlang:monotonic_time(millisecond) - Began, Ended}.

answered(Socket, Stream, Sofar) ->
    case h2_frames:next(Socket) of
        {0, Flags, Stream, Bytes} when Flags band 1 =:= 1 -> {all, Sofar + byte_size(Bytes)};
        {0, _, Stream, Bytes} -> answered(Socket, Stream, Sofar + byte_size(Bytes));
        {3, _, Stream, <<Code:32>>} -> {reset, Code};
        {7, _, _, _} = Goaway -> error(Goaway);
        closed -> closed;
        _ -> answered(Socket, Stream, Sofar)
    end.

resets(_, 0, Streams) -> Streams;
resets(Socket, N, Streams) ->
    case h2_frames:next(Socket) of
        {3, _, Stream, <<8:32>>} -> resets(Socket, N - 1, [Stream | Streams]);
        {7, _, _, _} = Goaway -> error(Goaway);
        closed -> error(closed);
        _ -> resets(Socket, N, Streams)
    end.

%% No file below the directory is open any more, where the system tells.
nothing_open(Dir) ->
    hostile_client:until(fun() ->
        {ok, Numbers} = file:list_dir("/proc/self/fd"),
        Open = [Name || Number <- Numbers, {ok, Name} <- [file:read_link("/proc/self/fd/" ++ Number)], lists:prefix(Dir, Name)],
        Open =:= [] orelse {open, Open}
    end).
