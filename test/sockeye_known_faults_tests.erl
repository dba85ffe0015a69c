%% What has gone wrong in other servers for the BEAM, each tried on this one;
%% SECURITY.md lists them. Those about limits, masks and fragments are among the
%% hostile clients, those about busy queues among the tests of sending.
-module(sockeye_known_faults_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/3]).

%% A peer that has vanished is found although the server keeps sending, and its
%% kernel, here that of a client which never reads, keeps taking it.
half_open_while_the_server_sends_test_() ->
    {timeout, 30, fun() ->
        Options = #{ping_interval => 200, pong_timeout => 300, idle_timeout => infinity},
        hostile_client:with_attack(Options, fun(Port, _) ->
            {Socket, Conn} = test_support:open(Port),
            ?assertEqual(1001, push(Conn, 1000)),
            gen_tcp:close(Socket)
        end)
    end}.

push(_Conn, 0) ->
    still_open;
push(Conn, N) ->
    _ = sockeye:send(Conn, {binary, <<"news">>}),
    receive {sockeye, Conn, {closed, Code, _}} -> Code
    after 10 -> push(Conn, N - 1)
    end.

%% However often a connection is switched between active and passive, and by
%% whom: every frame comes once and in order.
races_of_active_and_passive_test_() ->
    {timeout, 60, fun() ->
        Count = 20000,
        hostile_client:unchanged(fun() ->
            with_server(#{format => raw, active => false}, fun(Port, _) ->
                {Socket, Conn} = test_support:open(Port),
                Sender = spawn_link(fun() ->
                    [ok = ws_client:binary(Socket, <<N:32>>) || N <- lists:seq(1, Count)]
                end),
                Switches = [spawn_link(fun() -> switch(Conn) end) || _ <- lists:seq(1, 3)],
                ?assertEqual(lists:seq(1, Count), collect(Conn, Count)),
                [begin unlink(Pid), exit(Pid, kill) end || Pid <- [Sender | Switches]],
                ws_client:drop(Socket)
            end)
        end)
    end}.

switch(Conn) ->
    Active = lists:nth(rand:uniform(5), [true, false, once, rand:uniform(50), 1]),
    case sockeye:setopts(Conn, [{active, Active}]) of
        ok -> switch(Conn);
        {error, closed} -> ok
    end.

collect(_Conn, 0) ->
    [];
collect(Conn, N) ->
    receive
        {sockeye, Conn, {binary, <<Number:32>>}} -> [Number | collect(Conn, N - 1)];
        {sockeye, Conn, passive} -> collect(Conn, N);
        {sockeye, Conn, Other} -> error({unexpected, Other})
    after 60000 -> error({lost, N})
    end.

%% An owner that hands the connection on in the middle of a flood.
a_flood_that_changes_hands_test_() ->
    {timeout, 60, fun() ->
        Count = 20000,
        hostile_client:unchanged(fun() ->
            with_server(#{format => raw, active => true}, fun(Port, _) ->
                {Socket, Conn} = test_support:open(Port),
                Self = self(),
                Hands = [spawn_link(fun() -> hand(Self, Conn) end) || _ <- lists:seq(1, 4)],
                Sender = spawn_link(fun() ->
                    [ok = ws_client:binary(Socket, <<N:32>>) || N <- lists:seq(1, Count)]
                end),
                pass(Conn, hd(Hands)),
                ring(Conn, Hands),
                Got = [receive {got, N} -> N after 60000 -> error({lost, Left}) end
                       || Left <- lists:seq(Count, 1, -1)],
                ?assertEqual(lists:seq(1, Count), lists:sort(Got)),
                [begin unlink(Pid), exit(Pid, kill) end || Pid <- [Sender | Hands]],
                ws_client:drop(Socket)
            end)
        end)
    end}.

%% What came to the first owner before it passed the connection on is its own.
pass(Conn, Pid) ->
    ok = sockeye:controlling_process(Conn, Pid),
    relay(Conn).

relay(Conn) ->
    receive {sockeye, Conn, {binary, <<N:32>>}} -> self() ! {got, N}, relay(Conn)
    after 0 -> ok
    end.

%% Each hands it to the next, a hundred times in all.
ring(Conn, Hands) ->
    Turns = [lists:nth(N rem 4 + 1, Hands) || N <- lists:seq(1, 100)],
    lists:foldl(fun(To, From) ->
                        From ! {pass, Conn, To, self()},
                        receive passed -> To after 60000 -> error(not_passed) end
                end, hd(Hands), Turns).

hand(Parent, Conn) ->
    receive
        {sockeye, Conn, {binary, <<N:32>>}} -> Parent ! {got, N};
        {pass, Conn, To, From} -> ok = sockeye:controlling_process(Conn, To), From ! passed;
        {sockeye, Conn, _} -> ok
    end,
    hand(Parent, Conn).

%% What was never finished is thrown away: servers that could not listen.
half_built_servers_test_() ->
    {timeout, 60, fun() ->
        hostile_client:unchanged(fun() ->
            with_server(#{}, fun(Port, _) ->
                [?assertEqual({error, eaddrinuse}, sockeye:start_link(#{port => Port, handler => Handler}))
                 || _ <- lists:seq(1, 100), Handler <- [self(), {bare_handler, []}]],
                [?assertMatch({error, {bad_option, _, _}}, sockeye:start_link(#{port => 0, max_fragments => 0}))
                 || _ <- lists:seq(1, 100)]
            end),
            [garbage_collect(Pid) || Pid <- processes()]
        end)
    end}.

%% The mailbox of a handler that cannot keep up, while its clients send all they can.
a_mailbox_stays_short_test_() ->
    {timeout, 60, fun() ->
        Self = self(),
        Frame = fun(_, _, N) ->
            {message_queue_len, Length} = process_info(self(), message_queue_len),
            Length > 1 andalso (Self ! {long, Length}),
            N =:= 300 andalso (Self ! enough),
            receive after 1 -> {[], N + 1} end
        end,
        hostile_client:unchanged(fun() ->
            with_handler(#{init => fun() -> {ok, 1} end, frame => Frame}, #{processes => 1, inbox_size => 32768}, fun(Port, _) ->
                Before = hostile_client:memory(),
                Flood = iolist_to_binary([ws_client:encode(1, <<"[1,2,3]">>) || _ <- lists:seq(1, 1000)]),
                Pids = [spawn_link(fun() -> flood(ws_client:connect(Port), Flood) end) || _ <- lists:seq(1, 8)],
                receive enough -> ok after 60000 -> error(stuck) end,
                ?assert(hostile_client:memory() - Before < hostile_client:most(8 * 1024 * 1024)),
                [begin unlink(Pid), exit(Pid, kill) end || Pid <- Pids],
                receive {long, Length} -> error({mailbox, Length}) after 0 -> ok end
            end)
        end)
    end}.

flood(Socket, Bytes) ->
    ok = gen_tcp:send(Socket, Bytes),
    flood(Socket, Bytes).

%% A process for each connection, and clients that leave at any time: none stays.
a_process_ends_with_its_client_test_() ->
    {timeout, 60, fun() ->
        hostile_client:unchanged(fun() ->
            with_server(#{handler => {bare_handler, []}, processes => per_connection}, fun(Port, Server) ->
                All = iolist_to_binary([bad_requests:good(), ws_client:encode(1, <<"[1]">>), bad_frames:valid()]),
                Cut = byte_size(bad_requests:good()),
                [begin
                     Socket = hostile_client:connect(Port),
                     Size = Cut + N rem (byte_size(All) - Cut),
                     _ = gen_tcp:send(Socket, binary:part(All, 0, Size)),
                     hostile_client:end_with(lists:nth(N rem 3 + 1, [fin, rst, close]), Socket),
                     gen_tcp:close(Socket)
                 end || N <- lists:seq(1, 500)],
                hostile_client:settled(Server, 0)
            end)
        end)
    end}.

%% The owner dies while clients come: each of them is let go, with 1011 or without a word.
an_owner_that_dies_in_a_rush_test_() ->
    {timeout, 60, fun() ->
        test_support:quiet(fun() -> hostile_client:unchanged(fun() ->
            %% In the middle of them.
            Owner = spawn(fun() -> [receive {sockeye, _, {open, _}} -> ok end || _ <- lists:seq(1, 20)], exit(kill) end),
            with_server(#{handler => Owner}, fun(Port, Server) ->
                Self = self(),
                Clients = [spawn_link(fun() -> Self ! {self(), rush(Port)} end) || _ <- lists:seq(1, 200)],
                Ends = [receive {Pid, End} -> End after 60000 -> error(stuck) end || Pid <- Clients],
                ?assertEqual([], [End || End <- Ends, not lists:member(End, [1011, 1001, 1006, closed, refused])]),
                hostile_client:settled(Server, 0)
            end)
        end) end)
    end}.

rush(Port) ->
    Socket = hostile_client:connect(Port),
    _ = gen_tcp:send(Socket, bad_requests:good()),
    Answer = hostile_client:answer(Socket),
    gen_tcp:close(Socket),
    case Answer of
        <<"HTTP/1.1 101", _/binary>> ->
            [_, Frames] = binary:split(Answer, <<"\r\n\r\n">>),
            case Frames of
                <<16#88, _, Code:16, _/binary>> -> Code;
                <<>> -> closed
            end;
        <<"HTTP/1.1 503", _/binary>> -> refused;
        <<>> -> closed;
        {open, _} -> open
    end.
