%% Frames of WebSockets on streams of HTTP/2: however a stream brings them, what comes of them is what
%% comes of them on a socket of their own.
-module(sockeye_http2_frames_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [opened/0]).

-import(h2_frames, [frame/4, data/2, data_end/2, open_stream/1, reset/2, ping/1]).

options() -> #{http2 => cleartext}.

%% In pieces of any size, some of them padded or empty, with other frames in between. Repeat a failure
%% with the seed that it prints.
every_bad_frame_test_() ->
    {timeout, 120, fun() ->
        seeded(fun() ->
            hostile_client:with_attack(options(), fun(Port, _) ->
                %% What fits into the window of a stream.
                Wrong = [{Title, Code, Got} || {Title, Bytes, Code} <- bad_frames:all(), byte_size(Bytes) < 60000,
                                               Got <- [outcome(Port, pieces(Bytes, 0))], Got =/= {Code, Code}],
                ?assertEqual([], Wrong)
            end)
        end)
    end}.

%% With any bit turned the client reads the code that the owner gets.
every_turned_bit_test_() ->
    {timeout, 120, fun() ->
        hostile_client:with_attack(options(), fun(Port, _) ->
            Valid = bad_frames:valid(),
            [begin
                 <<Before:Bit/bits, B:1, After/bits>> = Valid,
                 {Wire, Code} = outcome(Port, data_end(1, <<Before/bits, (1 - B):1, After/bits>>)),
                 ?assertEqual({Bit, Wire}, {Bit, Code})
             end || Bit <- lists:seq(0, bit_size(Valid) - 1)]
        end)
    end}.

%% Cut anywhere and gone, in each way that a stream can end: 1006, and its neighbour goes on.
every_cut_of_frames_test_() ->
    {timeout, 120, fun() ->
        hostile_client:with_attack(options(), fun(Port, _) ->
            Valid = bad_frames:valid(),
            {Socket, Neighbour} = open(Port),
            Ways = [fun(I) -> data_end(I, <<>>) end, fun(I) -> reset(I, 0) end, fun(I) -> reset(I, 8) end,
                    fun(I) -> reset(I, 1) end],
            Cuts = [{Cut, Way} || Cut <- lists:seq(0, byte_size(Valid) - 1), Way <- Ways],
            [begin
                 ok = gen_tcp:send(Socket, open_stream(Stream)),
                 Conn = opened(),
                 ok = gen_tcp:send(Socket, [data(Stream, binary:part(Valid, 0, Cut)) || Cut > 0]),
                 ok = gen_tcp:send(Socket, Way(Stream)),
                 ?assertEqual({Cut, 1006}, {Cut, test_support:closed(Conn)}),
                 Text = integer_to_binary(Stream),
                 ok = gen_tcp:send(Socket, data(1, bad_frames:frame(1, Text))),
                 receive {sockeye, Neighbour, {text, Text}} -> ok after 60000 -> error(no_message) end
             end || {Stream, {Cut, Way}} <- lists:zip(lists:seq(3, 1 + 2 * length(Cuts), 2), Cuts)],
            gen_tcp:close(Socket),
            ?assertEqual(1006, test_support:closed(Neighbour))
        end)
    end}.

%% The close code that the client reads, and that the owner gets.
outcome(Port, Frames) ->
    {Socket, Conn} = open(Port),
    ok = gen_tcp:send(Socket, Frames),
    Wire = wire(Socket, <<>>),
    gen_tcp:close(Socket),
    {Wire, test_support:closed(Conn)}.

open(Port) ->
    Socket = hostile_client:connect(Port),
    ok = h2_frames:shake(Socket),
    ok = gen_tcp:send(Socket, open_stream(1)),
    {Socket, opened()}.

%% What has come on the stream, once it has ended: the code of the Close frame at its end.
wire(Socket, Sofar) ->
    case h2_frames:next(Socket) of
        {0, 1, 1, Bytes} -> code(<<Sofar/binary, Bytes/binary>>);
        {0, 0, 1, Bytes} -> wire(Socket, <<Sofar/binary, Bytes/binary>>);
        {3, _, 1, _} -> code(Sofar);
        {7, _, _, <<_:32, Code:32, _/binary>>} when Code =/= 0 -> {goaway, Code};
        closed -> code(Sofar);
        _ -> wire(Socket, Sofar)
    end.

code(<<>>) -> 1006;
code(<<1:1, 0:3, 8:4, 0>>) -> 1005;
code(<<1:1, 0:3, 8:4, Len, Code:16, _/binary>> = Close) when byte_size(Close) =:= Len + 2 -> Code;
code(<<1:1, 0:3, _:4, Len, _:Len/binary, Rest/binary>>) when Len < 126 -> code(Rest);
code(<<1:1, 0:3, _:4, 126, Len:16, _:Len/binary, Rest/binary>>) -> code(Rest);
code(Rest) -> {cut, Rest}.

%% At most a hundred empty ones are allowed, and a long message has few pieces.
pieces(<<>>, _) -> [];
pieces(Bytes, N) ->
    Most = max(40, byte_size(Bytes) div 20),
    {Piece, Rest} = split_binary(Bytes, min(rand:uniform(Most) - 1, byte_size(Bytes))),
    [piece(Piece, N) | pieces(Rest, N + 1)].

piece(<<>>, N) when N > 50 -> [];
piece(Piece, N) ->
    case rand:uniform(8) of
        1 -> [ping(N), data(1, Piece)];
        2 -> [frame(8, 0, 1, <<1:32>>), data(1, Piece)];
        3 -> [frame(2, 0, 1, <<0:32, 15>>), data(1, Piece)];
        4 -> Padding = rand:uniform(100), frame(0, 8, 1, [Padding, Piece, binary:copy(<<0>>, Padding)]);
        5 -> [frame(99, 255, 1, <<"unknown">>), data(1, Piece)];
        _ -> data(1, Piece)
    end.

seeded(Test) ->
    Seed = rand:seed(exsss),
    try Test()
    catch
        Class:Reason:Stack ->
            ?debugFmt("seed ~w", [rand:export_seed_s(Seed)]),
            erlang:raise(Class, Reason, Stack)
    end.
