%% Clients of HTTP/2 that have much to say. Each flood has the end that SECURITY.md gives it: it costs
%% its sender the connection, or it is answered to the last frame; and never more memory than the bounds.
-module(sockeye_http2_flood_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [each_ends_once/1]).

-import(h2_frames, [hello/0, frame/4, headers/2, block/1, open_stream/1, get/2, data/2, reset/2, ping/1, window/2,
                    continuation/3, field/2, remember/2, indexed/1, connect_fields/0]).

-define(HEADERS, 1).
-define(PRIORITY, 2).
-define(SETTINGS, 4).
-define(ACK, 1).
-define(REFUSED_STREAM, 7).
-define(CLIENTS, 3).

%% Time is not what ends a flood.
options() -> #{http2 => cleartext, handshake_timeout => 60000, http => #{<<"/">> => {text, <<"hello">>}}}.

%% Those that end the connection.
cut_off_test_() ->
    Floods = [{"resets at once", [[open_stream(N), reset(N, 8)] || N <- odd(1000)]},
              {"streams beyond any limit", [open_stream(N) || N <- odd(1000)]},
              {"streams that are wrong", [headers(N, block(tl(connect_fields()))) || N <- odd(1000)]},
              {"heads that are too large", [headers(N, block([{<<"x">>, binary:copy(<<"y">>, 20000)} | connect_fields()]))
                                            || N <- odd(300)]},
              {"empty continuations", [frame(?HEADERS, 0, 1, []) | [continuation(1, 0, []) || _ <- seq(20000)]]},
              {"a head without end", [frame(?HEADERS, 0, 1, []) |
                                      [continuation(1, 0, field(<<"x">>, binary:copy(<<"y">>, 10000))) || _ <- seq(500)]]},
              {"a value without end", [frame(?HEADERS, 0, 1, <<0, 1, "x", 127, 255, 255, 255, 255, 7>>) |
                                       [continuation(1, 0, binary:copy(<<"y">>, 16384)) || _ <- seq(300)]]},
              {"a small block that grows", [headers(1, [block(connect_fields()), remember(<<"x">>, binary:copy(<<"y">>, 4000)),
                                                        binary:copy(indexed(62), 12000)])]},
              {"empty data", [open_stream(1) | [data(1, []) || _ <- seq(20000)]]},
              {"an answer to no settings", [frame(?SETTINGS, ?ACK, 0, []) || _ <- seq(3)]}],
    [{Title, {timeout, 60, fun() ->
        flood(fun(Port) ->
            Socket = hostile_client:connect(Port),
            Reader = reader(Socket),
            _ = send_all(Socket, [hello() | Flood]),
            ?assertNotEqual(open, h2_frames:ending(read(Reader)))
        end)
    end}} || {Title, Flood} <- Floods].

%% Those that are answered, one by one, and the connection goes on.
answered_test_() ->
    N = 20000,
    Floods = [{"pings", N, fun({6, ?ACK, 0, _}) -> true; (_) -> false end,
               [ping(I) || I <- seq(N)]},
              {"settings", N, fun({?SETTINGS, ?ACK, 0, _}) -> true; (_) -> false end,
               [frame(?SETTINGS, 0, 0, []) || _ <- seq(N)]},
              %% As much as a client may open that does not know our settings yet.
              {"streams beyond 100", 36, fun({3, _, _, <<?REFUSED_STREAM:32>>}) -> true; (_) -> false end,
               [open_stream(I) || I <- odd(136)]},
              {"priorities", 0, fun(_) -> false end, [frame(?PRIORITY, 0, I, <<0:32, 0>>) || I <- odd(N)]},
              {"window updates", 0, fun(_) -> false end, [window(0, 1) || _ <- seq(N)]},
              {"unknown frames", 0, fun(_) -> false end, [frame(99, 0, 0, <<"what">>) || _ <- seq(N)]},
              {"ordinary requests", 64, fun({?HEADERS, _, I, _} = F) -> [{I, 200}] =:= h2_frames:statuses([F]); (_) -> false end,
               [get(I, <<"/">>) || I <- odd(64)]}],
    [{Title, {timeout, 60, fun() ->
        flood(fun(Port) ->
            Socket = hostile_client:connect(Port),
            ok = h2_frames:shake(Socket),
            Reader = spawn_reader(fun() -> answers(Socket, IsAnswer, Answers, pong) end),
            ok = send_all(Socket, Flood),
            ?assertEqual(all, read(Reader)),
            gen_tcp:close(Socket)
        end)
    end}} || {Title, Answers, IsAnswer, Flood} <- Floods].

%% Streams with a window of nothing are kept, as WebSockets that nobody writes to.
windows_of_nothing_test_() ->
    {timeout, 60, fun() ->
        flood(fun(Port) ->
            Socket = hostile_client:connect(Port),
            ok = gen_tcp:send(Socket, [h2_frames:hello([{4, 0}]) | [open_stream(I) || I <- odd(64)]]),
            Frames = h2_frames:pinged(Socket, 1),
            ?assertEqual([], h2_frames:resets(Frames)),
            ok = gen_tcp:close(Socket)
        end)
    end}.

%% Streams that are reset while a callback decides about them: it goes on in a process of its own, and
%% there are never more of those than streams may be open.
resets_while_accept_decides_test_() ->
    {timeout, 60, fun() ->
        Asked = atomics:new(1, []),
        Accept = fun(#{path := <<"/slow">>}) ->
                         atomics:add(Asked, 1, 1),
                         receive never -> ok end;
                    (_) ->
                         {accept, #{}}
                 end,
        Slow = fun(I) -> h2_frames:open_stream(I, <<"/slow">>) end,
        test_support:with_server(#{http2 => cleartext, accept => Accept, accept_timeout => 2000}, fun(Port, _) ->
            Socket = hostile_client:connect(Port),
            ok = h2_frames:shake(Socket),
            [begin
                 ok = gen_tcp:send(Socket, [Slow(I) || I <- Ten]),
                 Frames = h2_frames:pinged(Socket, hd(Ten)),
                 ?assertEqual([], h2_frames:statuses(Frames) -- [{I, 503} || I <- odd(800)]),
                 ok = gen_tcp:send(Socket, [reset(I, 8) || I <- Ten])
             end || Batch <- lists:seq(0, 39), Ten <- [[20 * Batch + I || I <- odd(10)]]],
            ok = gen_tcp:send(Socket, Slow(801)),
            ?assertEqual(503, status_of(801, Socket)),
            ?assertEqual(100, atomics:get(Asked, 1)),
            %% Others are let in all the while, and so is this one once the callbacks have ended.
            _ = test_support:open(Port),
            ?assert(is_let_in(Socket, 1001))
        end)
    end}.

status_of(Stream, Socket) ->
    case h2_frames:next(Socket) of
        {1, _, Stream, _} = Frame -> [{Stream, Status}] = h2_frames:statuses([Frame]), Status;
        Frame when Frame =/= closed -> status_of(Stream, Socket)
    end.

%% Asks until it is let in.
is_let_in(Socket, Stream) ->
    ok = gen_tcp:send(Socket, open_stream(Stream)),
    receive {sockeye, _, {open, _}} -> true
    after 200 -> Stream < 1101 andalso is_let_in(Socket, Stream + 2)
    end.

%% Some clients at once, of a server that holds afterwards what it held before.
flood(Client) ->
    hostile_client:with_attack(options(), fun(Port, Server) ->
        Before = hostile_client:memory(),
        Clients = [spawn_monitor(fun() -> Client(Port) end) || _ <- seq(?CLIENTS)],
        [receive {'DOWN', M, process, P, Reason} -> ?assertEqual(normal, Reason) end || {P, M} <- Clients],
        ?assert(hostile_client:memory() - Before < hostile_client:most(?CLIENTS * 6 * 1024 * 1024)),
        hostile_client:settled(Server, 1),
        each_ends_once([])
    end).

%% Reads the answers to a flood, and to the ping behind it.
answers(_, _, 0, none) -> all;
answers(Socket, IsAnswer, N, Pong) ->
    case h2_frames:next(Socket) of
        {6, ?ACK, 0, <<999999:64>>} -> answers(Socket, IsAnswer, N, none);
        {7, _, _, Why} -> {goaway, Why};
        closed -> {closed, N};
        Frame ->
            case IsAnswer(Frame) of
                true -> answers(Socket, IsAnswer, N - 1, Pong);
                false -> answers(Socket, IsAnswer, N, Pong)
            end
    end.

%% In pieces: who is cut off notices early.
send_all(Socket, [Frame | Rest]) ->
    {Some, More} = lists:split(min(500, length(Rest)), Rest),
    case {gen_tcp:send(Socket, [Frame | Some]), More} of
        {ok, []} -> gen_tcp:send(Socket, ping(999999));
        {ok, _} -> send_all(Socket, More);
        {Error, _} -> Error
    end.

%% Reads beside who sends: what came before the end is not lost.
reader(Socket) -> spawn_reader(fun() -> hostile_client:answer(Socket) end).

spawn_reader(Read) ->
    Self = self(),
    spawn_link(fun() -> Self ! {self(), Read()} end).

read(Reader) ->
    receive {Reader, Read} -> Read end.

seq(N) -> lists:seq(1, N).

%% So many streams.
odd(N) -> lists:seq(1, 2 * N, 2).
