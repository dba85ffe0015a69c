%% Answers of functions in pieces: `{Status, Headers, {stream, Fun}}'.
-module(sockeye_http_stream_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, quiet/1, down/1, told/0]).

-define(TIMEOUT, 60000).
-define(PIECE, 65536).
%% What the kernel holds for two sockets on the loopback, and much less than without end.
-define(HELD, 40000000).
-define(ENDLESS, 400000000).
-define(CANCEL, 8).

with_stream(Fun, Test) ->
    with_stream(Fun, #{}, Test).

%% The paths below `/' are answered in pieces by a function of the request and of `Send'.
with_stream(Fun, Options, Test) ->
    Answer = fun(Request) -> {200, [{"Content-Type", "text/event-stream"}], {stream, fun(Send) -> Fun(Request, Send) end}} end,
    with_server(maps:merge(#{http => #{"/*" => Answer}, http2 => cleartext}, Options), Test).

%% ---------------------------------------------------------------- clients

%% What all of them can: begin with a request, read on, and go.
clients() ->
    [{"HTTP/1.1", tcp, fun(Path) -> request("GET", Path, "1.1") end},
     {"HTTP/1.0", tcp, fun(Path) -> request("GET", Path, "1.0") end},
     {"HTTP/1.1 over TLS", tls, fun(Path) -> request("GET", Path, "1.1") end},
     {"HTTP/2", tcp, fun(Path) -> [h2_frames:hello(), h2_frames:frame(4, 1, 0, []), h2_frames:get(1, iolist_to_binary(Path))] end}].

request(Method, Path, Version) ->
    [Method, " ", Path, " HTTP/", Version, "\r\nHost: localhost\r\n\r\n"].

%% A test for each client, which gets a function that asks for a path. The function that answers knows its process.
each(Options, Fun, With) ->
    [{Name, {timeout, 60, fun() ->
        Test = self(),
        Answer = fun(Request) -> {200, [{"Content-Type", "text/event-stream"}], {stream, fun(Send) -> Fun(Test, Request, Send) end}} end,
        All = maps:merge(#{http => #{"/*" => Answer}, http2 => case Over of tcp -> cleartext; tls -> tls end}, Options),
        tcp_or_tls:served(Over, All, fun(Port) ->
            With(fun(Path) ->
                     Socket = tcp_or_tls:connect(Over, Port),
                     ok = tcp_or_tls:send(Over, Socket, Ask(Path)),
                     {Name, Over, Socket}
                 end)
        end)
     end}} || {Name, Over, Ask} <- clients()].

%% Those that wait most of their time, side by side.
each_waits(Options, Fun, With) -> {inparallel, each(Options, Fun, With)}.

close({_, Over, Socket}) -> tcp_or_tls:close(Over, Socket).

%% The content, and how it ended: `complete', or `broken' for one that the client must not take for whole. HTTP/1.0 cannot tell.
all({"HTTP/2", _, Socket}) -> all_http2(Socket, <<>>);
all({Name, Over, Socket}) ->
    {Head, Rest} = http_content:head(Over, Socket),
    Framing = [binary:match(Head, Field) =/= nomatch
               || Field <- [<<"transfer-encoding: chunked">>, <<"content-length">>, <<"connection: close">>]],
    case Name of
        "HTTP/1.0" -> ?assertEqual([false, false, true], Framing);
        _ -> ?assertEqual([true, false, false], Framing)
    end,
    http_content:read(Over, Socket, Head, Rest).

all_http2(Socket, Content) ->
    case h2_frames:next(Socket) of
        {0, Flags, 1, Bytes} ->
            _ = [gen_tcp:send(Socket, [h2_frames:window(N, byte_size(Bytes)) || N <- [0, 1]]) || Bytes =/= <<>>],
            All = <<Content/binary, Bytes/binary>>,
            case Flags band 1 of
                1 -> {complete, All};
                0 -> all_http2(Socket, All)
            end;
        {3, _, 1, _} -> {broken, Content};
        {_, _, _, _} -> all_http2(Socket, Content)
    end.

%% Until so much of the content has come.
some(Client, Bytes) -> some(Client, Bytes, <<>>).

some(Client, Bytes, Read) ->
    case binary:match(Read, Bytes) of
        nomatch -> some(Client, Bytes, <<Read/binary, (more(Client))/binary>>);
        _ -> ok
    end.

more({"HTTP/2", _, Socket} = Client) ->
    case h2_frames:next(Socket) of
        {0, _, 1, Part} -> Part;
        {_, _, _, _} -> more(Client)
    end;
more({_, Over, Socket}) ->
    {ok, More} = tcp_or_tls:recv(Over, Socket),
    More.

%% ---------------------------------------------------------------- pieces

pieces_test_() ->
    Long = binary:copy(<<"0123456789abcdef">>, 20000),
    Fun = fun(_, #{path := <<"/none">>}, _) -> ignored;
             (_, #{path := <<"/few">>}, Send) -> [ok = Send(Piece) || Piece <- [<<"a">>, ["b", [<<"c">>]], <<>>, "d"]];
             (_, #{path := <<"/long">>}, Send) -> [ok = Send(Piece) || Piece <- [Long, "end"]]
          end,
    each(#{}, Fun, fun(Ask) ->
        [begin
             Client = Ask(Path),
             ?assertEqual({complete, Content}, all(Client)),
             close(Client)
         end || {Path, Content} <- [{"/none", <<>>}, {"/few", <<"abcd">>}, {"/long", <<Long/binary, "end">>}]]
    end).

%% Each piece is with the client before the next one is made.
at_once_test_() ->
    Fun = fun(Test, _, Send) ->
        Test ! {told, self()},
        [begin ok = Send([Piece, "\n\n"]), receive go_on -> ok end end || Piece <- ["data: 1", "data: 2"]]
    end,
    each(#{}, Fun, fun(Ask) ->
        Client = Ask("/x"),
        Pid = told(),
        [begin some(Client, Bytes), Pid ! go_on end || Bytes <- [<<"data: 1\n\n">>, <<"data: 2\n\n">>]],
        close(Client)
    end).

%% Another request comes on the same connection.
the_connection_goes_on_test() ->
    with_stream(fun(_, Send) -> Send("piece") end, fun(Port, _) ->
        Socket = http_client:connect(Port),
        [begin
             ok = gen_tcp:send(Socket, request("GET", "/x", "1.1")),
             ?assertEqual({complete, <<"piece">>}, all({"HTTP/1.1", tcp, Socket}))
         end || _ <- [1, 2, 3]],
        ok = gen_tcp:close(Socket)
    end).

%% The head, and nothing else: the function is not asked for what nobody reads.
head_test() ->
    Self = self(),
    with_stream(fun(_, _) -> Self ! {told, run} end, fun(Port, _) ->
        Socket = http_client:connect(Port),
        ok = gen_tcp:send(Socket, request("HEAD", "/x", "1.1")),
        {Head, <<>>} = http_content:head(tcp, Socket),
        ?assertMatch(<<"HTTP/1.1 200 ", _/binary>>, Head),
        ?assertMatch({_, _}, binary:match(Head, <<"content-type: text/event-stream">>)),
        ?assertEqual(nomatch, binary:match(Head, <<"content-length">>)),
        %% Nothing stands between it and the next answer.
        ok = gen_tcp:send(Socket, request("HEAD", "/x", "1.1")),
        {<<"HTTP/1.1 200 ", _/binary>>, <<>>} = http_content:head(tcp, Socket),
        {ok, Other} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
        Fields = [{<<":method">>, <<"HEAD">>}, {<<":scheme">>, <<"http">>}, {<<":authority">>, <<"a">>}, {<<":path">>, <<"/x">>}],
        ok = h2_frames:shake(Other),
        ok = gen_tcp:send(Other, h2_frames:headers(1, 1, h2_frames:block(Fields))),
        {1, Flags, 1, _} = first_of(1, Other),
        ?assertEqual(1, Flags band 1),
        receive {told, run} -> error(run) after 0 -> ok end,
        [gen_tcp:close(S) || S <- [Socket, Other]]
    end).

first_of(Stream, Socket) ->
    case h2_frames:next(Socket) of
        {_, _, Stream, _} = Frame -> Frame;
        {_, _, _, _} -> first_of(Stream, Socket)
    end.

%% ---------------------------------------------------------------- ends

%% A client cannot take what is broken off for whole.
crash_test_() ->
    Fun = fun(_, _, Send) -> ok = Send("piece"), error(broken) end,
    [{Title, {timeout, 60, fun() -> quiet(Test) end}} || {Title, {timeout, _, Test}} <-
        each(#{}, Fun, fun(Ask) ->
            {Name, _, _} = Client = Ask("/x"),
            case {Name, all(Client)} of
                {"HTTP/1.0", Ended} -> ?assertEqual({complete, <<"piece">>}, Ended);
                %% With its stream, what waits to be sent ends as well.
                {"HTTP/2", {broken, Content}} -> ?assert(lists:member(Content, [<<>>, <<"piece">>]));
                {_, Ended} -> ?assertEqual({broken, <<"piece">>}, Ended)
            end,
            close(Client)
        end)].

%% However the process ends.
killed_test() ->
    quiet(fun() ->
        Self = self(),
        with_stream(fun(_, Send) -> ok = Send("piece"), Self ! {told, self()}, receive never -> ok end end, fun(Port, _) ->
            [begin
                 Socket = http_client:connect(Port),
                 ok = gen_tcp:send(Socket, request("GET", "/x", "1.1")),
                 exit(told(), Reason),
                 ?assertEqual({broken, <<"piece">>}, all({"HTTP/1.1", tcp, Socket})),
                 ok = gen_tcp:close(Socket)
             end || Reason <- [kill, shutdown]]
        end)
    end).

%% In one sentence, and what it takes to find the cause.
log_test() ->
    Fun = fun(_, Send) -> ok = Send("piece"), error(the_cause) end,
    Report = sockeye_log_tests:with_log(fun() ->
        with_stream(Fun, fun(Port, _) ->
            Socket = http_client:connect(Port),
            ok = gen_tcp:send(Socket, request("GET", "/there", "1.1")),
            {broken, _} = all({"HTTP/1.1", tcp, Socket}),
            sockeye_log_tests:report(http_stream_crashed)
        end)
    end),
    ?assertMatch(#{path := <<"/there">>, method := <<"GET">>, peer := _, crash := {error, the_cause, _}}, Report),
    Text = unicode:characters_to_binary(sockeye_log_text:format(Report, #{})),
    ?assertMatch({_, _}, binary:match(Text, <<"broke off the answer to a request from">>)),
    ?assertMatch({_, _}, binary:match(Text, <<"the_cause">>)).

%% A client that goes is told to the function.
client_goes_test_() ->
    Fun = fun(Test, _, Send) -> ok = Send("piece"), Test ! {told, self()}, Test ! {told, until_closed(Send)} end,
    each(#{}, Fun, fun(Ask) ->
        Client = Ask("/x"),
        some(Client, <<"piece">>),
        Pid = told(),
        Monitor = monitor(process, Pid),
        close(Client),
        ?assertEqual({error, closed}, told()),
        receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) after ?TIMEOUT -> error(alive) end
    end).

until_closed(Send) ->
    case Send("x") of
        ok -> receive after 1 -> until_closed(Send) end;
        Closed -> Closed
    end.

%% One that waits for something else has accept_timeout to see it, and ends then. Another that waits for the client to take more
%% sees it at once.
client_goes_while_it_waits_test_() ->
    Fun = fun(Test, #{path := <<"/waits">>}, Send) -> ok = Send("piece"), Test ! {told, self()}, receive never -> ok end;
             (Test, #{path := <<"/sends">>}, Send) -> Test ! {told, self()}, Test ! {told, flood(Send, 0)}
          end,
    each_waits(#{accept_timeout => 200}, Fun, fun(Ask) ->
        Client = Ask("/waits"),
        some(Client, <<"piece">>),
        Pid = told(),
        %% The time for an answer is over, and that is no reason to end.
        receive after 400 -> true = is_process_alive(Pid) end,
        close(Client),
        ?assertEqual(killed, down(Pid)),
        Other = Ask("/sends"),
        _ = told(),
        receive after 100 -> close(Other) end,
        ?assertEqual({error, closed}, told())
    end).

flood(Send, Sent) when Sent < ?ENDLESS ->
    case Send(binary:copy(<<"x">>, ?PIECE)) of
        ok -> flood(Send, Sent + ?PIECE);
        Closed -> Closed
    end.

%% A client of HTTP/2 need not hang up.
reset_test() ->
    Self = self(),
    with_stream(fun(_, Send) -> ok = Send("piece"), Self ! {told, until_closed(Send)} end, fun(Port, _) ->
        Socket = http_client:connect(Port),
        ok = gen_tcp:send(Socket, [h2_frames:hello(), h2_frames:get(1, <<"/x">>)]),
        some({"HTTP/2", tcp, Socket}, <<"piece">>),
        ok = gen_tcp:send(Socket, h2_frames:reset(1, ?CANCEL)),
        ?assertEqual({error, closed}, told()),
        ok = gen_tcp:close(Socket)
    end).

%% ---------------------------------------------------------------- bounds

%% A client that takes nothing holds up the function, and none of what it sends is kept.
slow_client_test_() ->
    Sent = counters:new(1, []),
    Fun = fun(Test, _, Send) ->
        Test ! {told, self()},
        flood(fun(Piece) ->
                  Result = Send(Piece),
                  ok = counters:add(Sent, 1, byte_size(Piece)),
                  Result
              end, 0)
    end,
    each(#{send_timeout => infinity}, Fun, fun(Ask) ->
        ok = counters:put(Sent, 1, 0),
        Before = hostile_client:memory(),
        Client = Ask("/x"),
        Pid = told(),
        Held = held_up(Sent, 0),
        ?assert(Held >= ?PIECE),
        ?assert(Held < ?HELD),
        ?assert(hostile_client:memory() - Before < hostile_client:most(8000000)),
        close(Client),
        _ = down(Pid)
    end).

%% How much it has sent when it does not come further.
held_up(Sent, Before) ->
    receive after 1000 -> ok end,
    case counters:get(Sent, 1) of
        Before when Before > 0 -> Before;
        Now -> held_up(Sent, Now)
    end.

%% A client that takes it slowly gets all of it, in order.
slowly_test_() ->
    All = << <<N:32>> || N <- lists:seq(1, 500000) >>,
    each_waits(#{}, fun(_, _, Send) -> ok = Send(All) end, fun(Ask) ->
        Client = Ask("/x"),
        receive after 300 -> ok end,
        ?assertEqual({complete, All}, all(Client)),
        close(Client)
    end).

%% One that takes nothing for send_timeout is given up.
client_takes_nothing_test_() ->
    Fun = fun(Test, _, Send) -> Test ! {told, flood(Send, 0)} end,
    each_waits(#{send_timeout => 500}, Fun, fun(Ask) ->
        Client = Ask("/x"),
        ?assertEqual({error, closed}, told()),
        close(Client)
    end).

%% As many at once as connections, and the others may come again.
too_many_test() ->
    Self = self(),
    Fun = fun(_, Send) -> ok = Send("piece"), Self ! {told, self()}, receive stop -> ok end end,
    with_stream(Fun, #{max_connections => 2}, fun(Port, _) ->
        Socket = http_client:connect(Port),
        ok = h2_frames:shake(Socket),
        ok = gen_tcp:send(Socket, [h2_frames:get(N, <<"/x">>) || N <- [1, 3]]),
        Pids = [told(), told()],
        ok = gen_tcp:send(Socket, h2_frames:get(5, <<"/x">>)),
        {1, _, 5, _} = Head = first_of(5, Socket),
        ?assertEqual([{5, 503}], h2_frames:statuses([Head])),
        Monitors = [{monitor(process, Pid), Pid} || Pid <- Pids],
        [begin Pid ! stop, receive {'DOWN', Monitor, _, _, Reason} -> ?assertEqual(normal, Reason) end end || {Monitor, Pid} <- Monitors],
        ok = gen_tcp:send(Socket, h2_frames:get(7, <<"/x">>)),
        told() ! stop,
        ok = gen_tcp:close(Socket)
    end).

%% ---------------------------------------------------------------- the server ends

%% The function hears of it, or ends with the server, and nobody waits for its answer.
stop_test_() ->
    [{Name, {timeout, 60, fun() ->
        Self = self(),
        Fun = fun(Send) -> ok = Send("piece"), Self ! {told, self()}, Self ! {told, until_closed(Send)} end,
        {ok, Server} = sockeye:start_link(#{port => 0, http2 => cleartext,
                                            http => #{"/x" => fun(_) -> {200, [], {stream, Fun}} end}}),
        Socket = http_client:connect(test_support:port(Server)),
        ok = gen_tcp:send(Socket, Ask("/x")),
        Client = {Name, tcp, Socket},
        some(Client, <<"piece">>),
        Pid = told(),
        Monitor = monitor(process, Pid),
        case How of
            stop -> ok = sockeye:stop(Server);
            drain -> {ok, _} = sockeye:drain(Server, #{deadline => 1000})
        end,
        %% If it has not seen it by the end of the server, it ends with that.
        receive
            {'DOWN', Monitor, _, _, normal} -> ?assertEqual({error, closed}, told());
            {'DOWN', Monitor, _, _, Reason} -> ?assertEqual(shutdown, Reason)
        after ?TIMEOUT -> error(alive)
        end,
        ok = gen_tcp:close(Socket)
     end}} || {Name, tcp, Ask} <- clients(), How <- [stop, drain]].

%% Whoever answers next knows nothing of the answers before.
gate_dies_test() ->
    Self = self(),
    quiet(fun() ->
        with_stream(fun(_, Send) -> process_flag(trap_exit, true), ok = Send("piece"), Self ! {told, self()},
                                    receive {'EXIT', Gate, _} -> Self ! {told, Gate} end, Self ! {told, until_closed(Send)} end,
                    fun(Port, _) ->
            Socket = http_client:connect(Port),
            ok = gen_tcp:send(Socket, request("GET", "/x", "1.1")),
            Pid = told(),
            {links, [Gate]} = process_info(Pid, links),
            exit(Gate, kill),
            ?assertEqual(Gate, told()),
            ?assertMatch({broken, <<"piece", _/binary>>}, all({"HTTP/1.1", tcp, Socket})),
            ?assertEqual({error, closed}, told()),
            ok = gen_tcp:close(Socket)
        end)
    end).

%% ---------------------------------------------------------------- what is wrong

wrong_answers_test_() ->
    Refuses = fun(Answer) ->
        quiet(fun() ->
            with_server(#{http => #{"/" => fun(_) -> Answer end}}, fun(Port, _) ->
                ?assertMatch({500, _, _}, http_client:get(Port, "/"))
            end)
        end)
    end,
    [{lists:flatten(io_lib:format("~p", [Answer])), fun() -> Refuses(Answer) end}
     || Answer <- [{200, [], {stream, fun() -> ok end}}, {200, [], {stream, none}}, {200, [], {stream, "text"}},
                   {204, [], {stream, fun(_) -> ok end}}, {205, [], {stream, fun(_) -> ok end}}, {304, [], {stream, fun(_) -> ok end}},
                   {199, [], {stream, fun(_) -> ok end}}, {200, [{"Content-Length", "1"}], {stream, fun(_) -> ok end}},
                   {200, [{"a b", "c"}], {stream, fun(_) -> ok end}}]].

%% What is no iodata is the function's mistake, and so is another process.
wrong_pieces_test() ->
    Self = self(),
    Try = fun(Send, Piece) -> try Send(Piece) catch error:Reason -> Reason end end,
    Fun = fun(_, Send) ->
        Me = self(),
        Other = spawn(fun() -> Me ! {other, Try(Send, "x")} end),
        Reason = receive {other, Why} -> Why end,
        _ = is_process_alive(Other),
        ok = Send("piece"),
        Self ! {told, {Reason, [Try(Send, Piece) || Piece <- [atom, 1, [256], #{}]]}}
    end,
    with_stream(Fun, fun(Port, _) ->
        Socket = http_client:connect(Port),
        ok = gen_tcp:send(Socket, request("GET", "/x", "1.1")),
        ?assertEqual({complete, <<"piece">>}, all({"HTTP/1.1", tcp, Socket})),
        ?assertMatch({{sockeye, another_process, <<_/binary>>}, [badarg, badarg, badarg, badarg]}, told()),
        ok = gen_tcp:close(Socket)
    end).

%% A refusal of accept/2 is given at once.
no_stream_of_accept_test() ->
    quiet(fun() ->
        with_server(#{accept => fun(_) -> {reject, 403, [], {stream, fun(_) -> ok end}} end}, fun(Port, _) ->
            ?assertMatch({ok, 500, _, _}, ws_client:handshake(Port, #{path => "/"}))
        end)
    end).

%% Long after the time for an answer, pieces come: a stream has no limit of its own.
quiet_for_long_test_() ->
    Fun = fun(_, _, Send) -> [begin ok = Send("piece"), receive after 1500 -> ok end end || _ <- [1, 2]] end,
    each_waits(#{accept_timeout => 100, handshake_timeout => 200, send_timeout => 300}, Fun, fun(Ask) ->
        Client = Ask("/x"),
        ?assertEqual({complete, <<"piecepiece">>}, all(Client)),
        close(Client)
    end).
