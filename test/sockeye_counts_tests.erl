%% What is counted of a server, and how the metrics say it.
-module(sockeye_counts_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/2, with_handler/3, quiet/1]).
-import(hostile_client, [until/1]).

-define(UPGRADE, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n").

info(Server) -> test_support:ok(sockeye:info(Server)).

%% ---------------------------------------------------------------- ends

%% Each code is counted once for a connection, whoever it comes from; all connections are open or counted.
closes_test_() ->
    {timeout, 60, fun() ->
        with_server(#{max_message_size => 100}, fun(Port, Server) ->
            Codes = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014],
            [close_by_client(Port, Code) || Code <- [3000, 4999 | Codes]],
            [close_by_server(Port, Code) || Code <- [1000, 1012, 3001]],
            Dropped = ws_client:connect(Port),
            Conn = test_support:opened(),
            ws_client:drop(Dropped),
            ?assertEqual(1006, test_support:closed(Conn)),
            {Large, Limited} = test_support:open(Port),
            ok = ws_client:text(Large, binary:copy(<<"x">>, 101)),
            ?assertEqual(1009, test_support:closed(Limited)),
            {Silent, NoCode} = test_support:open(Port),
            ok = ws_client:raw(Silent, <<16#88, 16#80, 0:32>>),
            ?assertEqual(1005, test_support:closed(NoCode)),
            {_Open, _} = test_support:open(Port),
            #{closes := Closes, connections := 1, accepted := Accepted} = info(Server),
            Twice = [1000, 1009, 1012],
            Once = (Codes -- Twice) ++ [1005, 1006],
            ?assertEqual(maps:from_list([{Code, 2} || Code <- Twice] ++ [{Code, 1} || Code <- Once] ++ [{other, 3}]), Closes),
            ?assertEqual(Accepted - 1, lists:sum(maps:values(Closes)))
        end)
    end}.

close_by_client(Port, Code) ->
    {Client, Conn} = test_support:open(Port),
    ok = ws_client:close(Client, Code, <<>>),
    ?assertEqual(Code, test_support:closed(Conn)),
    ws_client:drop(Client).

close_by_server(Port, Code) ->
    {Client, Conn} = test_support:open(Port),
    ok = sockeye:close(Conn, Code, <<>>),
    ?assertMatch({close, Code, _}, ws_client:recv(Client)),
    ok = ws_client:close(Client, Code, <<>>),
    ?assertEqual(Code, test_support:closed(Conn)).

%% Nobody hears of the end of a connection whose process has died: it is counted all the same.
a_connection_of_a_dead_process_is_counted_test() ->
    quiet(fun() ->
        with_handler(#{frame => fun(_, _, _) -> error(wanted) end}, #{processes => per_connection}, fun(Port, Server) ->
            Client = ws_client:connect(Port),
            ok = ws_client:text(Client, <<"1">>),
            ?assertMatch({close, 1011, _}, ws_client:recv(Client)),
            #{closes := Closes} = info(Server),
            ?assertMatch(#{1011 := 1}, Closes),
            ?assertEqual(1, lists:sum(maps:values(Closes)))
        end)
    end).

%% ---------------------------------------------------------------- refusals

%% What a client does, by the reason that counts it: once, and no other.
refused_test_() ->
    Teapot = fun(_) -> {reject, 418, [], <<>>} end,
    Never = fun(_) -> receive never -> ok end end,
    [{atom_to_list(Reason), {timeout, 60, fun() -> quiet(fun() -> refused(Reason, Options, Do) end) end}}
     || {Reason, Options, Do} <-
            [{path, #{paths => ["/a"]}, upgrade("/b", "")},
             {origin, #{origins => [same_host]}, upgrade("/", "Origin: http://evil.example\r\n")},
             {bad_request, #{}, say("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n")},
             {bad_request, #{}, say("nonsense\r\n\r\n")},
             {bad_request, #{proxy_protocol => true, trusted_proxies => ["127.0.0.1"]}, say("GET / HTTP/1.1\r\n\r\n")},
             {bad_request, #{health => "/health"}, say("GET /health HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n")},
             {accept, #{accept => Teapot}, upgrade("/", "")},
             {accept, #{accept => fun(_) -> error(wanted) end}, upgrade("/", "")},
             {accept, #{accept => Teapot, health => "/health"}, upgrade("/", "")},
             {timeout, #{handshake_timeout => 100}, say("GET / HTTP/1.1\r\n")},
             {left, #{}, fun(Port) -> ok = gen_tcp:close(hostile_client:connect(Port)) end},
             {tls, #{tls => test_certs:localhost()}, say("GET / HTTP/1.1\r\nHost: a\r\n\r\n")},
             {max_connections, #{max_connections => 1}, beside(upgrade("/", ""))},
             {max_connections_per_address, #{max_connections_per_address => 1}, beside(upgrade("/", ""))},
             {connection_rate, #{connection_rate => #{rate => 1, burst => 1}}, beside(upgrade("/", ""))},
             {accept, #{accept => Never, accept_timeout => 50}, upgrade("/", "")}]].

refused(Reason, Options, Do) ->
    with_server(Options, fun(Port, Server) ->
        _ = Do(Port),
        until(fun() -> map_get(rejected, info(Server)) > 0 end),
        #{refused := Refused, rejected := Rejected} = info(Server),
        ?assertEqual([{Reason, 1}], [Pair || {_, Count} = Pair <- maps:to_list(Refused), Count > 0]),
        ?assertEqual(1, Rejected)
    end).

say(Bytes) -> fun(Port) -> hostile_client:say(Port, Bytes) end.
upgrade(Path, Headers) -> say(["GET ", Path, " HTTP/1.1\r\nHost: localhost\r\n" ?UPGRADE, Headers, "\r\n"]).

%% While another client is connected.
beside(Do) ->
    fun(Port) ->
        _ = test_support:open(Port),
        Do(Port)
    end.

%% One more than may wait for an answer of `accept'.
unavailable_test_() ->
    %% Both ends of each are here.
    case sockeye_descriptors:most(auto) > 2200 of
        true -> {timeout, 120, fun unavailable/0};
        false -> test_support:left_out("1,025 questions", "needs more descriptors")
    end.

unavailable() ->
    quiet(fun() ->
        Self = self(),
        Wait = fun(_) -> Self ! {waits, self()}, receive go_on -> {accept, #{}} end end,
        with_server(#{accept => Wait, accept_timeout => 60000, active => false}, fun(Port, Server) ->
            Sockets = [begin
                           Socket = hostile_client:connect(Port),
                           ok = gen_tcp:send(Socket, "GET / HTTP/1.1\r\nHost: a\r\n" ?UPGRADE "\r\n"),
                           Socket
                       end || _ <- lists:seq(1, 1024)],
            Waiting = [receive {waits, Pid} -> Pid end || _ <- Sockets],
            ?assertMatch(#{rejected := 0}, info(Server)),
            ?assertMatch(<<"HTTP/1.1 503 ", _/binary>>, (upgrade("/", ""))(Port)),
            until(fun() -> map_get(rejected, info(Server)) > 0 end),
            #{refused := #{unavailable := 1}, rejected := 1} = info(Server),
            [Pid ! go_on || Pid <- Waiting],
            until(fun() -> map_get(accepted, info(Server)) =:= 1024 end),
            [ok = gen_tcp:close(Socket) || Socket <- Sockets]
        end)
    end).

draining_test() ->
    quiet(fun() ->
        {ok, Server} = sockeye:start_link(#{port => 0, health => "/health"}),
        Port = test_support:port(Server),
        {_Client, _} = test_support:open(Port),
        Socket = http_client:connect(Port),
        {200, _, _} = http_client:ask(Socket, "GET", "/health"),
        Self = self(),
        _ = spawn_link(fun() -> Self ! {drained, sockeye:drain(Server, #{deadline => 5000})} end),
        until(fun() -> gen_tcp:connect({127, 0, 0, 1}, Port, []) =:= {error, econnrefused} end),
        ok = gen_tcp:send(Socket, "GET / HTTP/1.1\r\nHost: a\r\n" ?UPGRADE "\r\n"),
        ?assertMatch({503, _, _}, http_client:answer(Socket, "GET")),
        ?assertMatch(#{refused := #{draining := 1}}, info(Server)),
        ws_client:drop_all(),
        receive {drained, {ok, _}} -> ok end,
        test_support:flush()
    end).

%% ---------------------------------------------------------------- handlers

%% At the bounds of buckets: one microsecond less, as many, one more.
buckets_test() ->
    with_server(#{}, fun(_Port, Server) ->
        {ok, {_, Id, _}} = sockeye_engine:find(Server),
        Counts = sockeye_counts:of_server(Id),
        Bounds = sockeye_counts:bounds(),
        [ok = sockeye_counts:batch(Counts, Bound + More) || Bound <- Bounds, is_integer(Bound), More <- [-1, 0, 1]],
        #{handler_time := #{buckets := Buckets, count := Count, sum := Sum}} = info(Server),
        ?assertEqual(lists:zip(Bounds, [2] ++ lists:duplicate(length(Bounds) - 2, 3) ++ [1]), Buckets),
        ?assertEqual(3 * (length(Bounds) - 1), Count),
        ?assertEqual(3 * lists:sum(lists:droplast(Bounds)), Sum)
    end).

quantile_test() ->
    Of = fun(Counts) -> lists:zip(sockeye_counts:bounds(), Counts ++ lists:duplicate(length(sockeye_counts:bounds()) - length(Counts), 0)) end,
    [?assertEqual({Part, Counts, Time}, {Part, Counts, sockeye_counts:quantile(Part, Of(Counts))})
     || {Part, Counts, Time} <- [{0.5, [], 0}, {0.5, [1], 25}, {0.99, [1], 50}, {1.0, [1], 50}, {0.5, [1, 1], 50},
                                 {0.99, [0, 100], 100}, {0.5, [0, 0, 0, 10], 375}, {0.5, [0, 1], 75}]],
    Last = lists:duplicate(length(sockeye_counts:bounds()) - 1, 0) ++ [7],
    ?assertEqual(10000000, sockeye_counts:quantile(0.5, Of(Last))).

%% Each kind of process that runs callbacks measures them; an owner has none.
handler_time_test_() ->
    [{lists:flatten(io_lib:format("~p", [Processes])), fun() ->
        Frame = fun(_, _, State) -> timer:sleep(30), {[{reply, {text, <<"done">>}}], State} end,
        with_handler(#{frame => Frame}, #{processes => Processes}, fun(Port, Server) ->
            Client = ws_client:connect(Port),
            ok = ws_client:text(Client, <<"1">>),
            _ = ws_client:recv(Client),
            until(fun() -> map_get(p99, map_get(handler_time, info(Server))) > 25000 end),
            #{handler_time := #{sum := Sum, count := Count, buckets := Buckets}} = info(Server),
            ?assert(Sum >= 30000),
            ?assert(Count >= 1),
            ?assertEqual(1, lists:sum([N || {UpTo, N} <- Buckets, UpTo > 25000]))
        end)
    end} || Processes <- [one, 3, per_connection]].

owner_takes_no_time_test() ->
    with_server(#{}, fun(Port, Server) ->
        {Client, Conn} = test_support:open(Port),
        ok = ws_client:text(Client, <<"1">>),
        ?assertEqual({json, 1}, test_support:event(Conn)),
        ?assertMatch(#{handler_time := #{count := 0, sum := 0, p50 := 0, p99 := 0}}, info(Server))
    end).

crashes_test() ->
    quiet(fun() ->
        Options = #{accept => fun(#{path := Path}) -> {accept, #{state => binary_to_atom(Path)}} end,
                    http => #{"/http" => fun(_) -> error(wanted) end,
                              "/stream" => fun(_) -> {200, [], {stream, fun(_) -> error(wanted) end}} end}},
        Frame = fun({json, <<"crash">>}, _, _) -> error(wanted);
                   ({json, <<"stop">>}, _, State) -> {stop, wanted, State};
                   ({json, <<"leave">>}, _, State) -> {stop, normal, State};
                   (_, _, _) -> nonsense
                end,
        with_handler(#{frame => Frame}, Options#{processes => per_connection}, fun(Port, Server) ->
            [begin
                 Client = ws_client:connect(Port),
                 ok = ws_client:text(Client, [$", Text, $"]),
                 ?assertMatch({close, _, _}, ws_client:recv(Client))
             end || Text <- ["crash", "stop", "leave", "return"]],
            _ = hostile_client:say(Port, "GET /http HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            _ = hostile_client:say(Port, "GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
            ?assertEqual(#{handler => 3, accept => 0, http => 2}, map_get(crashes, info(Server)))
        end),
        with_server(#{accept => fun(_) -> error(wanted) end}, fun(Port, Server) ->
            _ = (upgrade("/", ""))(Port),
            ?assertEqual(#{handler => 0, accept => 1, http => 0}, map_get(crashes, info(Server)))
        end)
    end).

%% ---------------------------------------------------------------- memory, restarts

memory_by_part_test() ->
    Self = self(),
    Frame = fun(_, _, State) -> Self ! {told, self()}, receive go_on -> {[], State} end end,
    with_handler(#{frame => Frame}, #{processes => 2, send_queue_size => 1 bsl 24}, fun(Port, Server) ->
        #{memory := #{send_queues := 0, inboxes := 0, handlers := Handlers}} = info(Server),
        ?assert(Handlers > 1000),
        Client = ws_client:connect(Port, #{socket => [{recbuf, 4096}]}),
        until(fun() -> {ok, Conns} = sockeye:connections(Server), length(Conns) =:= 1 end),
        {ok, [Conn]} = sockeye:connections(Server),
        ok = sockeye:send(Conn, {binary, binary:copy(<<"x">>, 8000000)}),
        until(fun() -> map_get(send_queues, map_get(memory, info(Server))) > 1000000 end),
        %% The kernel takes more for a while.
        until(fun() ->
            {ok, #{send_queue := Queue}} = sockeye:info(Conn),
            map_get(send_queues, map_get(memory, info(Server))) =:= Queue
        end),
        ok = ws_client:text(Client, <<"1">>),
        Worker = test_support:told(),
        %% A process engine has sent the first ones by then.
        until(fun() ->
            ok = ws_client:text(Client, binary:copy(<<"2">>, 5000)),
            map_get(inboxes, map_get(memory, info(Server))) >= 5000
        end),
        ws_client:drop(Client),
        exit(Worker, kill),
        until(fun() -> maps:with([send_queues, inboxes], map_get(memory, info(Server))) =:= #{send_queues => 0, inboxes => 0} end)
    end).

restarts_test() ->
    {ok, _} = application:ensure_all_started(sockeye),
    {ok, #{restarts := Before}} = sockeye:info(),
    Old = monitor(process, sockeye_engine),
    quiet(fun() ->
        ok = sockeye_engine:restart(),
        receive {'DOWN', Old, process, _, _} -> ok end,
        ok = sockeye_engine:ensure_running()
    end),
    ?assertMatch({ok, #{restarts := Now}} when Now =:= Before + 1, sockeye:info()).

%% ---------------------------------------------------------------- metrics

%% Each number of the metrics is one of info/1, with a label for each key of a map.
metrics_test() ->
    Frame = fun(_, _, State) -> {[{reply, {text, <<"x">>}}], State} end,
    with_handler(#{frame => Frame}, #{metrics => "/metrics", paths => ["/"]}, fun(Port, Server) ->
        Client = ws_client:connect(Port),
        ok = ws_client:text(Client, <<"1">>),
        _ = ws_client:recv(Client),
        _ = (upgrade("/no", ""))(Port),
        {200, _, Text} = http_client:get(Port, "/metrics"),
        Samples = samples(Text),
        #{closes := Closes, refused := #{path := 1} = Refused, crashes := Crashes, memory := Memory,
          handler_time := #{count := Count, sum := Sum, buckets := Buckets}} = info(Server),
        {ok, #{restarts := Restarts, engine := Engine}} = sockeye:info(),
        [?assertEqual({Name, Value}, {Name, proplists:get_value(Name, Samples)})
         || {Name, Value} <-
                labelled("closes_total", "code", Closes) ++ labelled("refused_total", "reason", Refused) ++
                labelled("crashes_total", "callback", Crashes) ++
                labelled("server_memory_bytes", "part", maps:remove(handlers, Memory)) ++
                [{"sockeye_handler_batch_seconds_count", Count}, {"sockeye_handler_batch_seconds_sum", Sum / 1000000},
                 {"sockeye_handler_batch_seconds_bucket{le=\"+Inf\"}", Count},
                 {"sockeye_handler_batch_seconds_bucket{le=\"0.00005\"}", proplists:get_value(50, Buckets)},
                 {"sockeye_engine_restarts_total", Restarts},
                 {"sockeye_engine_info{engine=\"" ++ atom_to_list(Engine) ++ "\"}", 1}]],
        Times = [Value || {"sockeye_handler_batch_seconds_bucket" ++ _, Value} <- Samples],
        ?assertEqual({length(Buckets), lists:sort(Times)}, {length(Times), Times})
    end).

labelled(Name, Label, Map) ->
    [{lists:flatten(io_lib:format("sockeye_~s{~s=\"~w\"}", [Name, Label, Key])), Value} || {Key, Value} <- maps:to_list(Map)].

samples(Text) ->
    [begin
         [Name, Value] = string:split(binary_to_list(Line), " "),
         {Name, try list_to_integer(Value) catch error:badarg -> list_to_float(Value) end}
     end || Line <- binary:split(Text, <<"\n">>, [global, trim]), binary:first(Line) =/= $#].

%% They are read, and nothing else, as they were when the engine wrote them.
methods_test() ->
    with_server(#{metrics => "/metrics"}, fun(Port, _) ->
        Socket = http_client:connect(Port),
        ?assertMatch({204, _, <<>>}, http_client:ask(Socket, "OPTIONS", "/metrics")),
        {200, Headers, <<>>} = http_client:ask(Socket, "HEAD", "/metrics"),
        ?assert(binary_to_integer(proplists:get_value(<<"content-length">>, Headers)) > 1000),
        {405, Refused, _} = http_client:ask(Socket, "POST", "/metrics", [], <<"x">>),
        ?assertEqual(<<"GET, HEAD, OPTIONS">>, proplists:get_value(<<"allow">>, Refused))
    end).
