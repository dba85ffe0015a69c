%% Hostile clients of HTTP/2, byte by byte.
-module(sockeye_http2_siege_tests).

-include_lib("eunit/include/eunit.hrl").

-define(PREFACE, <<"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n">>).
%% Types of frames.
-define(DATA, 0).
-define(HEADERS, 1).
-define(PRIORITY, 2).
-define(RST_STREAM, 3).
-define(SETTINGS, 4).
-define(PUSH_PROMISE, 5).
-define(PING, 6).
-define(GOAWAY, 7).
-define(WINDOW_UPDATE, 8).
-define(CONTINUATION, 9).
-define(END_STREAM, 1).
-define(ACK, 1).
-define(END_HEADERS, 4).

frame(Type, Flags, Stream, Payload) ->
    Bytes = iolist_to_binary(Payload),
    <<(byte_size(Bytes)):24, Type, Flags, 0:1, Stream:31, Bytes/binary>>.

settings() -> frame(?SETTINGS, 0, 0, []).

hello() -> [?PREFACE, settings()].

%% A field, literally and without an index.
field(Name, Value) ->
    [0, text(Name), text(Value)].

text(Text) when byte_size(Text) < 127 -> [byte_size(Text), Text];
text(Text) -> [127, integer(byte_size(Text) - 127), Text].

integer(N) when N < 128 -> [N];
integer(N) -> [128 + N rem 128 | integer(N div 128)].

handshake() ->
    [field(N, V) || {N, V} <- [{<<":method">>, <<"CONNECT">>}, {<<":protocol">>, <<"websocket">>},
                               {<<":scheme">>, <<"http">>}, {<<":path">>, <<"/">>},
                               {<<":authority">>, <<"a">>}, {<<"sec-websocket-version">>, <<"13">>}]].

open_stream(Stream) ->
    frame(?HEADERS, ?END_HEADERS, Stream, handshake()).

options() -> #{http2 => cleartext, handshake_timeout => 2000, http => #{<<"/">> => {text, <<"hello">>}}}.

%% What breaks the protocol ends the connection, with a GOAWAY that says why, and nobody hears of a
%% WebSocket.
violations_test_() ->
    Get = [field(<<":method">>, <<"GET">>), field(<<":scheme">>, <<"http">>),
           field(<<":path">>, <<"/">>), field(<<":authority">>, <<"a">>)],
    Cases = [{"another preface", [<<"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n">>, settings()]},
             {"a frame of 16 KiB and one", [hello(), frame(?DATA, 0, 1, binary:copy(<<0>>, 16385))]},
             {"headers on stream 0", [hello(), frame(?HEADERS, ?END_HEADERS, 0, Get)]},
             {"an even stream", [hello(), frame(?HEADERS, ?END_HEADERS bor ?END_STREAM, 2, Get)]},
             {"streams backwards", [hello(), frame(?HEADERS, ?END_HEADERS bor ?END_STREAM, 5, Get),
                                    frame(?HEADERS, ?END_HEADERS bor ?END_STREAM, 3, Get)]},
             {"a continuation of nothing", [hello(), frame(?CONTINUATION, ?END_HEADERS, 1, Get)]},
             {"another frame between headers", [hello(), frame(?HEADERS, 0, 1, Get), frame(?PING, 0, 0, <<0:64>>)]},
             {"data on an idle stream", [hello(), frame(?DATA, 0, 1, <<"x">>)]},
             {"data on stream 0", [hello(), frame(?DATA, 0, 0, <<"x">>)]},
             {"a window of nothing more", [hello(), frame(?WINDOW_UPDATE, 0, 0, <<0:32>>)]},
             {"a window that overflows", [hello(), frame(?WINDOW_UPDATE, 0, 0, <<16#7fffffff:32>>)]},
             {"a short window update", [hello(), frame(?WINDOW_UPDATE, 0, 0, <<1:24>>)]},
             {"a reset of an idle stream", [hello(), frame(?RST_STREAM, 0, 1, <<8:32>>)]},
             {"a short reset", [hello(), open_stream(1), frame(?RST_STREAM, 0, 1, <<8:24>>)]},
             {"a setting of 5 bytes", [?PREFACE, frame(?SETTINGS, 0, 0, <<0:40>>)]},
             {"settings on a stream", [?PREFACE, frame(?SETTINGS, 0, 1, [])]},
             {"an answer with settings", [hello(), frame(?SETTINGS, ?ACK, 0, <<1:16, 0:32>>)]},
             {"an initial window too large", [?PREFACE, frame(?SETTINGS, 0, 0, <<4:16, 16#80000000:32>>)]},
             {"frames too small", [?PREFACE, frame(?SETTINGS, 0, 0, <<5:16, 16383:32>>)]},
             {"a ping of 7 bytes", [hello(), frame(?PING, 0, 0, <<0:56>>)]},
             {"a ping on a stream", [hello(), frame(?PING, 0, 1, <<0:64>>)]},
             {"a promise of a client", [hello(), frame(?PUSH_PROMISE, ?END_HEADERS, 1, [<<2:32>>, Get])]},
             {"index 0", [hello(), frame(?HEADERS, ?END_HEADERS, 1, <<128>>)]},
             {"an index beyond", [hello(), frame(?HEADERS, ?END_HEADERS, 1, <<255, 255, 255, 255, 15>>)]},
             {"a string beyond the block", [hello(), frame(?HEADERS, ?END_HEADERS, 1, <<0, 126, "x">>)]},
             {"an integer without end", [hello(), frame(?HEADERS, ?END_HEADERS, 1, binary:copy(<<255>>, 100))]},
             {"a table of 4 GiB", [hello(), frame(?HEADERS, ?END_HEADERS, 1, <<63, 225, 255, 255, 255, 15>>)]},
             {"padding beyond the frame", [hello(), frame(?DATA, 8, 1, <<255, "x">>)]}],
    {timeout, 120, fun() ->
        siege:under(options(), fun(Port, Server) ->
            ?assertEqual([], [Title || {Title, Bytes} <- Cases, not ends(siege:say(Port, Bytes))]),
            siege:settled(Server, 1),
            %% One case opens a stream before it goes wrong.
            each_ends_once([])
        end)
    end}.

%% It is closed by the server: what came before that is frames, or one HTTP/1.1 answer.
ends({open, _}) -> false;
ends(<<"HTTP/1.1 505", _/binary>>) -> true;
ends(Bytes) -> goaway(Bytes).

goaway(<<>>) -> true;
goaway(<<_:24, ?GOAWAY, _, _:32, _Last:32, Code:32, _/binary>>) -> Code =/= 0;
goaway(<<Len:24, _, _, _:32, _:Len/binary, Rest/binary>>) -> goaway(Rest);
goaway(_) -> false.

%% What is wrong in one stream ends that stream only.
streams_that_are_refused_test_() ->
    Base = [{<<":method">>, <<"CONNECT">>}, {<<":protocol">>, <<"websocket">>}, {<<":scheme">>, <<"http">>},
            {<<":path">>, <<"/">>}, {<<":authority">>, <<"a">>}, {<<"sec-websocket-version">>, <<"13">>}],
    Without = fun(Name) -> lists:keydelete(Name, 1, Base) end,
    With = fun(Name, Value) -> lists:keystore(Name, 1, Base, {Name, Value}) end,
    Cases = [Without(<<":path">>), Without(<<":scheme">>), Without(<<":authority">>), Without(<<":method">>),
             With(<<":protocol">>, <<"other">>), With(<<"sec-websocket-version">>, <<"8">>),
             With(<<":method">>, <<"GET">>), With(<<":unknown">>, <<"x">>), With(<<"Upper">>, <<"x">>),
             With(<<"connection">>, <<"upgrade">>), With(<<"x">>, <<"a\nb">>), With(<<":path">>, <<"no/slash">>),
             Base ++ [{<<":path">>, <<"/">>}], Base ++ [{<<"content-length">>, <<"-1">>}],
             With(<<"x">>, binary:copy(<<"y">>, 20000))],
    {timeout, 120, fun() ->
        siege:under(options(), fun(Port, _) ->
            [begin
                 Socket = siege:connect(Port),
                 Block = iolist_to_binary([field(N, V) || {N, V} <- Fields]),
                 ok = gen_tcp:send(Socket, [hello(), headers(1, Block), open_stream(3)]),
                 case opened() of
                     Conn when Conn =/= none ->
                         gen_tcp:close(Socket),
                         ?assertEqual(1006, sockeye_test:closed(Conn)),
                         %% Not both.
                         ?assertEqual(none, opened(0));
                     none ->
                         %% Or the whole connection, where a head can not be read at all.
                         ?assert(ends(siege:answer(Socket))),
                         gen_tcp:close(Socket)
                 end
             end || Fields <- Cases]
        end)
    end}.

%% A head in frames of at most 16 KiB.
headers(Stream, Block) when byte_size(Block) =< 16384 ->
    frame(?HEADERS, ?END_HEADERS, Stream, Block);
headers(Stream, <<First:16384/binary, Rest/binary>>) ->
    [frame(?HEADERS, 0, Stream, First), frame(?CONTINUATION, ?END_HEADERS, Stream, Rest)].

opened() -> opened(1500).

opened(Time) ->
    receive {sockeye, Conn, {open, _}} -> Conn
    after Time -> none
    end.

%% A flood costs its sender the connection, or is answered; never more memory than the bounds.
floods_test_() ->
    Floods = [{"pings", [frame(?PING, 0, 0, <<N:64>>) || N <- lists:seq(1, 20000)]},
              {"settings", [settings() || _ <- lists:seq(1, 20000)]},
              {"resets at once", [[open_stream(N), frame(?RST_STREAM, 0, N, <<8:32>>)] || N <- lists:seq(1, 2001, 2)]},
              {"streams", [open_stream(N) || N <- lists:seq(1, 2001, 2)]},
              {"priorities", [frame(?PRIORITY, 0, N, <<0:32, 0>>) || N <- lists:seq(1, 40001, 2)]},
              {"empty continuations", [frame(?HEADERS, 0, 1, []) | [frame(?CONTINUATION, 0, 1, []) || _ <- lists:seq(1, 20000)]]},
              {"a head without end", [frame(?HEADERS, 0, 1, []) |
                                      [frame(?CONTINUATION, 0, 1, field(<<"x">>, binary:copy(<<"y">>, 10000))) || _ <- lists:seq(1, 500)]]},
              {"empty data", [open_stream(1) | [frame(?DATA, 0, 1, []) || _ <- lists:seq(1, 20000)]]},
              {"window updates", [frame(?WINDOW_UPDATE, 0, 0, <<1:32>>) || _ <- lists:seq(1, 20000)]},
              {"windows of nothing", [frame(?SETTINGS, 0, 0, <<4:16, 0:32>>) | [open_stream(N) || N <- lists:seq(1, 101, 2)]]}],
    [{Title, {timeout, 60, fun() ->
        siege:under(options(), fun(Port, Server) ->
            Before = siege:memory(),
            Sockets = [siege:connect(Port) || _ <- [1, 2, 3]],
            %% Sends all, and reads what comes, until it is cut off or there is nothing more.
            Clients = [spawn_monitor(fun() -> _ = gen_tcp:send(S, [hello(), Flood]), read_on(S) end) || S <- Sockets],
            [receive {'DOWN', M, process, P, normal} -> ok end || {P, M} <- Clients],
            ?assert(siege:memory() - Before < 3 * 6 * 1024 * 1024),
            [ws_client:drop(S) || S <- Sockets],
            siege:settled(Server, 1),
            each_ends_once([])
        end)
    end}} || {Title, Flood} <- Floods].

read_on(Socket) ->
    case gen_tcp:recv(Socket, 0, 500) of
        {ok, _} -> read_on(Socket);
        {error, _} -> ok
    end.

%% Each WebSocket that was opened has ended, and only once.
each_ends_once(Open) ->
    receive
        {sockeye, Conn, {open, _}} -> each_ends_once([Conn | Open]);
        {sockeye, Conn, {closed, _, _}} ->
            ?assert(lists:member(Conn, Open)),
            each_ends_once(lists:delete(Conn, Open))
    after 0 ->
        ?assertEqual([], Open)
    end.

%% Cut off with streams open, in each way.
leaving_with_open_streams_test_() ->
    {timeout, 60, fun() ->
        siege:under(options(), fun(Port, _) ->
            [begin
                 Socket = siege:connect(Port),
                 ok = gen_tcp:send(Socket, [hello(), [open_stream(N) || N <- lists:seq(1, 39, 2)]]),
                 Conns = [opened(5000) || _ <- lists:seq(1, 20)],
                 siege:end_with(How, Socket),
                 [?assertEqual(1006, sockeye_test:closed(Conn)) || Conn <- Conns],
                 gen_tcp:close(Socket)
             end || How <- [fin, rst, close]]
        end)
    end}.

%% Who opens no stream is not kept.
an_idle_connection_ends_test_() ->
    {timeout, 60, fun() ->
        siege:under(options(), fun(Port, _) ->
            ?assert(is_binary(siege:say(Port, hello())))
        end)
    end}.

%% Any bytes behind the preface.
noise_test_() ->
    {timeout, 60, fun() ->
        siege:under(options(), fun(Port, _) ->
            Good = iolist_to_binary([settings(), open_stream(1), frame(?DATA, 0, 1, <<129, 129, 0:32, "x">>)]),
            [begin
                 At = rand:uniform(byte_size(Good)) - 1,
                 <<A:At/binary, _, B/binary>> = Good,
                 Socket = siege:connect(Port),
                 _ = gen_tcp:send(Socket, [?PREFACE, A, rand:bytes(rand:uniform(4)), B]),
                 siege:end_with(lists:nth(N rem 3 + 1, [fin, rst, close]), Socket),
                 gen_tcp:close(Socket)
             end || N <- lists:seq(1, 300)]
        end)
    end}.
