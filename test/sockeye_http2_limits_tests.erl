%% The bounds of an HTTP/2 connection, each at one less, at it and at one more.
-module(sockeye_http2_limits_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [opened/0]).

-import(h2_frames, [headers/2, block/1, open_stream/1, data/2, reset/2, continuation/3, frame/4, field/2, remember/2,
                    indexed/1, window/2, connect_fields/0]).

-define(CALM, {goaway, 11}).
-define(STREAMS, 100).

options() -> #{http2 => cleartext, format => raw, active => true, handshake_timeout => 60000}.

%% The options, and what is said behind the settings of both sides.
said(Options, Bytes, Check) ->
    test_support:with_server(maps:merge(options(), Options), fun(Port, _) ->
        Socket = hostile_client:connect(Port),
        ok = h2_frames:shake(Socket),
        if
            is_function(Bytes) -> ok = Bytes(Socket);
            true -> ok = gen_tcp:send(Socket, Bytes)
        end,
        %% What it says for a stream may come behind the first answer.
        Frames = [h2_frames:pinged(Socket, 1), h2_frames:pinged(Socket, 2)],
        Check(went_on(Frames), Socket),
        gen_tcp:close(Socket)
    end).

%% The frames that came, or how the connection ended.
went_on([{closed, Frames} | _]) -> ending(Frames);
went_on([Frames, {closed, More}]) -> ending(Frames ++ More);
went_on([Frames, More]) -> Frames ++ More.

ending(Frames) -> h2_frames:ending(iolist_to_binary([frame(T, F, S, P) || {T, F, S, P} <- Frames])).

at(Bound, Options, Say, Good, Bad) ->
    [{integer_to_list(N), {timeout, 60, fun() -> said(Options, Say(N), Check) end}}
     || {N, Check} <- [{Bound - 1, Good}, {Bound, Good}, {Bound + 1, Bad}]].

goes_on(Frames, _) -> ?assertEqual([], h2_frames:resets(Frames)).

cut_off(Ending, _) -> ?assertEqual(?CALM, Ending).

%% What the server says of itself.
settings_test() ->
    test_support:with_server(options(), fun(Port, _) ->
        Socket = hostile_client:connect(Port),
        ok = gen_tcp:send(Socket, h2_frames:hello()),
        {4, 0, 0, Settings} = h2_frames:next(Socket),
        gen_tcp:close(Socket),
        Said = maps:from_list([{Key, Value} || <<Key:16, Value:32>> <= Settings]),
        ?assertMatch(#{3 := ?STREAMS, 4 := 65536, 5 := 16384, 6 := 16384, 8 := 1}, Said)
    end).

streams_test_() ->
    at(?STREAMS, #{}, fun(N) -> [open_stream(I) || I <- odd(N)] end,
       fun goes_on/2,
       fun(Frames, Socket) ->
           ?assertEqual([{2 * ?STREAMS + 1, 7}], h2_frames:resets(Frames)),
           %% When one has gone there is room again.
           Open = [opened() || _ <- lists:seq(1, ?STREAMS)],
           ok = gen_tcp:send(Socket, [reset(1, 8), open_stream(2 * ?STREAMS + 3)]),
           ?assertNot(lists:member(opened(), Open))
       end).

%% A stream is looked at once all that came with it is read.
resets_at_once_test_() ->
    at(20, #{}, fun(N) -> [[open_stream(I), reset(I, 8)] || I <- odd(N)] end, fun goes_on/2, fun cut_off/2).

errors_test_() ->
    Wrong = block(tl(connect_fields())),
    at(100, #{}, fun(N) -> [headers(I, Wrong) || I <- odd(N)] end,
       fun(Frames, _) -> ?assert(length(h2_frames:resets(Frames)) >= 99) end, fun cut_off/2).

%% As many as clients open that do not know our settings.
refused_test_() ->
    at(?STREAMS + 100, #{}, fun(N) -> [open_stream(I) || I <- odd(N)] end,
       fun(Frames, _) -> ?assert(length(h2_frames:resets(Frames)) >= 99) end, fun cut_off/2).

empty_data_test_() ->
    at(100, #{}, fun(N) -> [open_stream(1) | [data(1, []) || _ <- lists:seq(1, N)]] end, fun goes_on/2, fun cut_off/2).

continuations_test_() ->
    at(5, #{}, fun(N) -> [frame(1, 0, 1, block(connect_fields())), [continuation(1, 0, []) || _ <- lists:seq(1, N)],
                          continuation(1, 4, [])] end,
       fun goes_on/2, fun cut_off/2).

header_lines_test_() ->
    %% One of them is there already.
    at(100, #{}, fun(N) -> headers(1, block(connect_fields() ++ [{<<"x">>, <<>>} || _ <- lists:seq(2, N)])) end,
       fun(Frames, Socket) -> ?assertEqual(200, status(1, Frames, Socket)) end,
       fun(Frames, Socket) -> ?assertEqual(431, status(1, Frames, Socket)) end).

%% Names, values and 32 bytes for each field are at most `max_header_size'.
head_test_() ->
    at(16384, #{}, fun(N) -> headers(1, head_of(N)) end,
       fun(Frames, Socket) -> ?assertEqual(200, status(1, Frames, Socket)) end,
       fun(Frames, Socket) -> ?assertEqual(431, status(1, Frames, Socket)) end).

%% What expands to more than four times that is not even decoded to its end, however small it came.
head_that_grows_test_() ->
    at(4 * 16384, #{}, fun(N) -> headers(1, grows_to(N)) end,
       fun(Frames, Socket) -> ?assertEqual(431, status(1, Frames, Socket)) end, fun cut_off/2).

head_of(Size) ->
    [block(connect_fields()), field(<<"x">>, binary:copy(<<"y">>, Size - size_of(connect_fields()) - 33))].

%% Fifteen times a field of 4096 bytes, which is sent once, and one that fills up.
grows_to(Size) ->
    Base = [block(connect_fields()), remember(<<"x">>, binary:copy(<<"y">>, 4096 - 33)), binary:copy(indexed(62), 14)],
    Block = [Base, field(<<"z">>, binary:copy(<<"y">>, Size - size_of(connect_fields()) - 15 * 4096 - 33))],
    ?assert(iolist_size(Block) < 10000),
    Block.

size_of(Fields) -> lists:sum([byte_size(N) + byte_size(V) + 32 || {N, V} <- Fields]).

%% Nobody reads of a stream that is not let in yet: 64 KiB of it may come.
unread_bytes_test_() ->
    at(65536, waiting(), fun(N) -> [open_stream(1) | [data(1, binary:copy(<<0>>, min(16384, N - At))) || At <- lists:seq(0, N - 1, 16384)]] end,
       fun goes_on/2,
       %% A breach of the window of a stream.
       fun(Frames, _) -> ?assertEqual([{1, 3}], h2_frames:resets(Frames)) end).

%% And of all streams together, so many pieces of one byte.
unread_pieces_test_() ->
    at(16 * 1024, waiting(), fun(N) -> [open_stream(1) | [data(1, <<0>>) || _ <- lists:seq(1, N)]] end,
       fun goes_on/2, fun cut_off/2).

%% Requests in the works, where 10 were reset meanwhile.
requests_test_() ->
    at(?STREAMS, waiting(),
       fun(N) -> fun(Socket) ->
           ok = gen_tcp:send(Socket, [open_stream(I) || I <- odd(10)]),
           [] = h2_frames:resets(h2_frames:pinged(Socket, 2)),
           ok = gen_tcp:send(Socket, [[reset(I, 8) || I <- odd(10)] | [open_stream(I) || I <- odd(N) -- odd(10)]])
       end end,
       fun(Frames, _) -> ?assertEqual([], h2_frames:statuses(Frames)) end,
       fun(Frames, Socket) -> ?assertEqual(503, status(2 * ?STREAMS + 1, Frames, Socket)) end).

waiting() -> #{accept => fun(_) -> receive never -> ok end end, accept_timeout => 20000}.

status(Stream, Frames, Socket) ->
    case [Status || {1, _, S, _} = Frame <- Frames, S =:= Stream, {_, Status} <- h2_frames:statuses([Frame])] of
        [Status] -> Status;
        [] -> status(Stream, Socket)
    end.

status(Stream, Socket) ->
    case h2_frames:next(Socket) of
        {1, _, Stream, _} = Frame -> [{Stream, Status}] = h2_frames:statuses([Frame]), Status;
        Frame when Frame =/= closed -> status(Stream, Socket)
    end.

odd(N) -> lists:seq(1, 2 * N, 2).
