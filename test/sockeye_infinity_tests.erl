%% `infinity' is taken for every time that is a limit, and means that there is none.
-module(sockeye_infinity_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, open/1, event/1, message/0]).

%% For what is to come to an end, while its neighbour without a limit does not.
-define(SHORT, 100).

times() ->
    [send_timeout, handshake_timeout, close_timeout, idle_timeout, ping_interval, pong_timeout, max_age, accept_timeout].

never(Keys) ->
    maps:from_list([{Key, infinity} || Key <- Keys]).

%% No time overflows, whichever way a client comes.
all_of_them_test_() ->
    {timeout, 60, fun() ->
        Options = (never(times()))#{accept => fun(_) -> {accept, #{pong_timeout => infinity}} end,
                                    http => #{"/f" => fun(_) -> {200, [], <<"f">>} end, "/t" => {text, "t"}},
                                    http2 => cleartext},
        with_server(Options, fun(Port, Server) ->
            {Socket, Conn} = open(Port),
            ok = sockeye:setopts(Conn, [{Key, infinity} || Key <- [idle_timeout, ping_interval, pong_timeout, max_age]]),
            ok = ws_client:text(Socket, <<"1">>),
            ?assertEqual({json, 1}, event(Conn)),
            ok = ws_client:close(Socket, 1000, <<>>),
            ?assertMatch({closed, 1000, _}, event(Conn)),
            %% HTTP/1, two requests on one connection.
            Http = http_client:connect(Port),
            [?assertMatch({200, _, <<"f">>}, http_client:ask(Http, "GET", "/f")) || _ <- [1, 2]],
            ok = gen_tcp:close(Http),
            %% HTTP/2.
            Http2 = http_client:connect(Port),
            ok = h2_frames:shake(Http2),
            ok = gen_tcp:send(Http2, [h2_frames:get(1, <<"/t">>), h2_frames:open_stream(3)]),
            ?assertEqual([{1, 200}, {3, 200}], lists:sort(answers(Http2, 2))),
            ok = gen_tcp:close(Http2),
            %% A client, whose end waits for the answer only.
            Url = "ws://127.0.0.1:" ++ integer_to_list(Port),
            Client = maps:without([handshake_timeout, accept_timeout], never([connect_timeout | times()])),
            {ok, Other} = sockeye_client:connect(Url, Client),
            ?assertEqual(ok, sockeye_client:close(Other)),
            ?assertMatch({ok, _}, sockeye:info(Server))
        end)
    end}.

answers(_Socket, 0) ->
    [];
answers(Socket, N) ->
    case h2_frames:next(Socket) of
        {1, _, _, _} = Head -> h2_frames:statuses([Head]) ++ answers(Socket, N - 1);
        closed -> error(closed);
        _ -> answers(Socket, N)
    end.

tls_test_() ->
    {timeout, 60, fun() ->
        {ok, _} = application:ensure_all_started(ssl),
        with_server((never(times()))#{tls => test_certs:localhost()}, fun(Port, _) ->
            Socket = ws_client:connect(Port, #{tls => [{verify, verify_none}]}),
            {Conn, {open, _}} = test_support:event(),
            ok = ws_client:text(Socket, <<"1">>),
            ?assertEqual({json, 1}, event(Conn))
        end)
    end}.

%% Two servers that differ in one time: what the clock ends on the one goes on on the other.
beside(Key, Options, Test) ->
    with_server(Options#{Key => ?SHORT}, fun(Limited, _) ->
        with_server(Options#{Key => infinity}, fun(Unlimited, _) ->
            Test(Limited, Unlimited)
        end)
    end).

handshake_timeout_test() ->
    beside(handshake_timeout, #{}, fun(Limited, Unlimited) ->
        [Patient, Cut] = [http_client:connect(Port) || Port <- [Unlimited, Limited]],
        ?assertEqual({error, closed}, gen_tcp:recv(Cut, 0, 10000)),
        ?assertMatch({426, _, _}, http_client:ask(Patient, "GET", "/"))
    end).

accept_timeout_test() ->
    Self = self(),
    Accept = fun(#{path := Path}) -> Self ! {asked, Path, self()}, receive go -> {accept, #{}} end end,
    beside(accept_timeout, #{accept => Accept}, fun(Limited, Unlimited) ->
        Ask = fun(Port, Path) ->
                  spawn_link(fun() ->
                      {ok, Status, _, _} = ws_client:handshake(Port, #{path => Path}),
                      Self ! {status, Path, Status}
                  end)
              end,
        _ = Ask(Unlimited, "/patient"),
        Pid = receive {asked, <<"/patient">>, P} -> P end,
        _ = Ask(Limited, "/cut"),
        receive {status, "/cut", Status} -> ?assertEqual(503, Status) end,
        Pid ! go,
        receive {status, "/patient", Other} -> ?assertEqual(101, Other) end
    end).

pong_timeout_test() ->
    beside(pong_timeout, #{ping_interval => ?SHORT, idle_timeout => infinity}, fun(Limited, Unlimited) ->
        {Patient, Conn} = open(Unlimited),
        {Cut, _} = open(Limited),
        ?assertEqual({ping, <<>>}, ws_client:recv(Patient)),
        ?assertEqual({1001, <<"ping timeout">>}, ws_client:recv_close(Cut)),
        ok = ws_client:text(Patient, <<"1">>),
        ?assertEqual({json, 1}, event(Conn))
    end).

close_timeout_test() ->
    beside(close_timeout, #{}, fun(Limited, Unlimited) ->
        {Patient, Conn} = open(Unlimited),
        {_, Cut} = open(Limited),
        [ok = sockeye:close(C) || C <- [Conn, Cut]],
        ?assertMatch({closed, 1006, _}, event(Cut)),
        ok = ws_client:close(Patient, 1000, <<>>),
        ?assertMatch({closed, 1000, _}, event(Conn))
    end).

send_timeout_test_() ->
    {timeout, 60, fun() ->
        beside(send_timeout, #{}, fun(Limited, Unlimited) ->
            [Conn, Cut] = [begin
                               _ = ws_client:connect(Port, #{socket => [{recbuf, 4096}]}),
                               {C, {open, _}} = test_support:event(),
                               ok = fill(C),
                               C
                           end || Port <- [Unlimited, Limited]],
            ?assertEqual({closed, 1008, <<"send timeout">>}, kept_full(Cut)),
            ?assertEqual(ok, fill(Conn))
        end)
    end}.

%% The system may take some more after the queue was full the first time.
kept_full(Conn) ->
    receive {sockeye, Conn, Event} -> Event
    after 20 ->
            _ = sockeye:send(Conn, {binary, <<0:(1 bsl 23)>>}),
            kept_full(Conn)
    end.

fill(Conn) ->
    case sockeye:send(Conn, {binary, <<0:(1 bsl 23)>>}) of
        ok -> fill(Conn);
        {error, busy} -> ok
    end.

connect_timeout_test() ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listener),
    Self = self(),
    Url = "ws://127.0.0.1:" ++ integer_to_list(Port),
    Connect = fun(Time) -> spawn_link(fun() -> Self ! {Time, sockeye_client:connect(Url, #{connect_timeout => Time})} end) end,
    _ = Connect(infinity),
    {ok, Patient} = gen_tcp:accept(Listener),
    {ok, _} = gen_tcp:recv(Patient, 0, 10000),
    _ = Connect(?SHORT),
    ?assertEqual({?SHORT, {error, timeout}}, message()),
    ok = gen_tcp:close(Patient),
    ?assertEqual({infinity, {error, closed}}, message()),
    ok = gen_tcp:close(Listener).

the_deadline_of_a_drain_test_() ->
    {timeout, 60, fun() ->
        with_server(#{close_timeout => infinity}, fun(Unlimited, _) ->
            with_server(#{close_timeout => infinity}, fun(Limited, _) ->
                {Patient, Conn} = open(Unlimited),
                {_, Cut} = open(Limited),
                Self = self(),
                Drain = fun(Port, Time) ->
                            spawn_link(fun() -> Self ! {drained, Port, sockeye:drain(Port, #{deadline => Time})} end)
                        end,
                _ = Drain(Unlimited, infinity),
                {close, 1001, <<>>} = ws_client:recv(Patient),
                _ = Drain(Limited, ?SHORT),
                ?assertMatch({closed, 1006, _}, event(Cut)),
                receive {drained, Limited, First} -> ?assertEqual({ok, #{closed => 0, unanswered => 1}}, First) end,
                ok = ws_client:close(Patient, 1001, <<>>),
                ?assertMatch({closed, 1001, _}, event(Conn)),
                receive {drained, Unlimited, Second} -> ?assertEqual({ok, #{closed => 1, unanswered => 0}}, Second) end
            end)
        end)
    end}.

%% A server and a client end in their time, though their peers never answer.
the_end_does_not_wait_for_ever_test_() ->
    {timeout, 60, fun() ->
        with_server(#{close_timeout => infinity}, fun(Port, Server) ->
            {_, Conn} = open(Port),
            ok = sockeye:close(Conn),
            ?assertEqual(ok, sockeye:stop(Server)),
            ?assertMatch({closed, 1006, _}, event(Conn))
        end)
    end}.

shutdown_time_test() ->
    Spec = fun(Time) -> sockeye:child_spec(#{port => 1, handler => {bare_handler, []}, close_timeout => Time}) end,
    ?assertEqual(maps:get(shutdown, Spec(5000)), maps:get(shutdown, Spec(infinity))).
