%% A web server behind that fails or is not there, the options of `proxy', and what is counted.
-module(sockeye_beside_failures_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(upstream, [with/2, with/3, head/1, one/0, field/2, told/1, ok/2]).
-import(http_client, [get/2, request/4, request/5, ask/3, ask/5, header/2]).
-import(hostile_client, [say/2]).
-import(sockeye_log_tests, [with_log/1, logged/0, report/1]).

-define(TIMEOUT, 60000).

%% All of an answer, from a connection that ends with it.
get_raw(Port, Lines) -> say(Port, ["GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", Lines, "\r\n"]).

%% ---------------------------------------------------------------- failures

failures_test_() ->
    [{Title, fun() ->
        Serve = fun(Socket, _) -> {_, _} = head(Socket), Fail(Socket) end,
        with(Serve, #{proxy => #{timeout => 200, idle_timeout => 200}}, fun(Port, Server) ->
            Answer = {_, _, Text} = get(Port, "/"),
            ?assertMatch({Status, _, <<"The server behind this one ", _/binary>>}, Answer),
            ?assertMatch({_, _}, binary:match(Text, Sentence)),
            {ok, #{proxied := 1, proxy_errors := 1}} = sockeye:info(Server)
        end)
      end} || {Title, Status, Sentence, Fail} <-
        [{"it closes", 502, <<"closed the connection">>, fun gen_tcp:close/1},
         {"it closes within the head", 502, <<"closed the connection">>,
          fun(S) -> ok = gen_tcp:send(S, "HTTP/1.1 200 OK\r\nContent"), gen_tcp:close(S) end},
         {"it speaks something else", 502, <<"not HTTP/1.1">>, fun(S) -> gen_tcp:send(S, "SSH-2.0-OpenSSH_9.2\r\n\r\n") end},
         {"a head without end", 502, <<"too large">>,
          fun(S) -> gen_tcp:send(S, ["HTTP/1.1 200 OK\r\nX: ", binary:copy(<<"y">>, 200000)]) end},
         {"lengths that differ", 502, <<"not HTTP/1.1">>,
          fun(S) -> gen_tcp:send(S, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello") end},
         {"another protocol", 502, <<"without being asked">>,
          fun(S) -> gen_tcp:send(S, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n") end},
         {"it says nothing", 504, <<"too long">>, fun(S) -> gen_tcp:recv(S, 0, ?TIMEOUT) end}]].

an_upstream_that_is_down_test() ->
    Port = test_support:free_port(),
    test_support:with_server(#{http => #{"/" => {proxy, upstream:url(Port)}}}, fun(Front, Server) ->
        Socket = http_client:connect(Front),
        [?assertMatch({502, _, <<"The server behind this one cannot be reached.\n">>}, ask(Socket, "GET", "/")) || _ <- [1, 2]],
        ?assertMatch({ok, #{proxy_errors := 2}}, sockeye:info(Server))
    end).

%% ---------------------------------------------------------------- the log

answers(Socket, N) ->
    case head(Socket) of
        closed -> ok;
        {_, _} -> ok = ok(Socket, "here"), answers(Socket, N)
    end.

%% Once, however many ask for it, and once more when it is there.
dead_is_logged_once_test() ->
    Behind = test_support:free_port(),
    with_log(fun() ->
        test_support:with_server(#{http => #{"/" => {proxy, upstream:url(Behind)}}}, fun(Front, Server) ->
            [?assertMatch({502, _, _}, get(Front, "/")) || _ <- [1, 2, 3]],
            Failed = report(upstream_failed),
            Place = list_to_binary("127.0.0.1:" ++ integer_to_list(Behind)),
            ?assertMatch(#{server := Server, upstream := Place, reason := <<"cannot be reached: Connection refused", _/binary>>}, Failed),
            ?assertMatch({match, _}, re:run(sockeye_log_text:format(Failed, #{}),
                                            ["^Sockeye server <[0-9.]+> on 127.0.0.1:", integer_to_list(Front), ": the web server behind at ",
                                             Place, " cannot be reached: Connection refused \\(os error 111\\)$"])),
            {ok, Listener} = gen_tcp:listen(Behind, [binary, {ip, {127, 0, 0, 1}}, {active, false}, {reuseaddr, true}]),
            Pid = spawn_link(fun() -> upstream:accept(Listener, fun answers/2, 1) end),
            [?assertMatch({200, _, _}, get(Front, "/")) || _ <- [1, 2]],
            #{meta := #{sockeye := Next}, level := Level, msg := {report, #{upstream := Place}}} = logged(),
            ?assertEqual({upstream_answers, notice}, {Next, Level}),
            %% Neither of them twice.
            ok = nothing_more(Server),
            unlink(Pid),
            exit(Pid, kill),
            gen_tcp:close(Listener)
        end)
    end).

nothing_more(Server) ->
    Server ! {sockeye_event, accept_error, #{reason => <<"a mark">>}},
    ?assertMatch(#{msg := {report, #{reason := <<"a mark">>}}}, logged()),
    ok.

every_failure_is_logged_test_() ->
    [{Title, fun() ->
        Serve = fun(Socket, _) -> {_, _} = head(Socket), Fail(Socket) end,
        with_log(fun() ->
            with(Serve, #{proxy => #{timeout => 200, idle_timeout => 200}}, fun(Port, _) ->
                _ = get_raw(Port, ""),
                #{reason := Reason} = report(upstream_failed),
                ?assertMatch({Reason, {_, _}}, {Reason, binary:match(Reason, Says)})
            end)
        end)
      end} || {Title, Says, Fail} <-
        [{"it closes", <<"closed the connection without an answer">>, fun gen_tcp:close/1},
         {"it speaks something else", <<"not HTTP/1.1">>, fun(S) -> gen_tcp:send(S, "SSH-2.0-OpenSSH_9.2\r\n\r\n") end},
         {"it says nothing", <<"took too long to answer">>, fun(S) -> gen_tcp:recv(S, 0, ?TIMEOUT) end},
         {"it breaks off", <<"broke off an answer">>,
          fun(S) -> ok = gen_tcp:send(S, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), gen_tcp:close(S) end},
         {"it stops", <<"sent nothing more of an answer for idle_timeout">>,
          fun(S) -> ok = gen_tcp:send(S, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"), gen_tcp:recv(S, 0, ?TIMEOUT) end}]].

%% That a client has gone, or has sent what is wrong, and that there is no room, is not its fault.
no_fault_is_not_logged_test() ->
    with_log(fun() ->
        with(fun answers/2, #{proxy => #{max_body_size => 3}}, fun(Port, Server) ->
            ?assertMatch({413, _, _}, request(Port, "POST", "/", [], "four")),
            ?assertMatch({400, _, _}, get(Port, "/%zz")),
            ?assertMatch({200, _, _}, get(Port, "/")),
            nothing_more(Server)
        end)
    end).

%% The answer breaks off where it does, and nobody takes it for whole.
broken_off_test_() ->
    [{Title, fun() ->
        Serve = fun(Socket, _) -> {_, _} = head(Socket), ok = gen_tcp:send(Socket, Sent), End(Socket) end,
        with(Serve, #{proxy => #{idle_timeout => 200}}, fun(Port, Server) ->
            Answer = get_raw(Port, ""),
            ?assertMatch(<<"HTTP/1.1 200 OK\r\n", _/binary>>, Answer),
            ?assertEqual(nomatch, binary:match(Answer, <<"\r\n0\r\n">>)),
            [_, Content] = binary:split(Answer, <<"\r\n\r\n">>),
            ?assertMatch({_, _}, binary:match(Content, <<"hello">>)),
            ?assertMatch({ok, #{proxy_errors := 1}}, sockeye:info(Server))
        end)
      end} || {Title, Sent, End} <-
        [{"of a length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", fun gen_tcp:close/1},
         {"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", fun gen_tcp:close/1},
         {"a malformed chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n", fun(_) -> ok end},
         {"it says nothing more", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", fun(S) -> gen_tcp:recv(S, 0, ?TIMEOUT) end}]].

max_requests_test() ->
    Self = self(),
    Serve = fun(Socket, N) ->
        {_, _} = head(Socket),
        Self ! {asked, N, self()},
        receive answer -> ok = ok(Socket, "late") end
    end,
    with(Serve, #{proxy => #{max_requests => 2}}, fun(Port, Server) ->
        Sockets = [http_client:connect(Port) || _ <- [1, 2, 3]],
        Request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        Asked = [begin
                     ok = gen_tcp:send(S, Request),
                     receive {asked, _, Pid} -> Pid after ?TIMEOUT -> error(not_asked) end
                 end || S <- lists:sublist(Sockets, 2)],
        Third = lists:nth(3, Sockets),
        Refused = ask(Third, "GET", "/"),
        ?assertMatch({503, _, _}, Refused),
        ?assertEqual(<<"1">>, header(<<"retry-after">>, Refused)),
        [Pid ! answer || Pid <- Asked],
        [?assertMatch({200, _, <<"late">>}, http_client:answer(S, "GET")) || S <- lists:sublist(Sockets, 2)],
        %% There is room again.
        ok = gen_tcp:send(Third, Request),
        receive {asked, _, Next} -> Next ! answer after ?TIMEOUT -> error(not_asked) end,
        ?assertMatch({200, _, _}, http_client:answer(Third, "GET")),
        ?assertMatch({ok, #{proxied := 4, proxy_errors := 1}}, sockeye:info(Server))
    end).

%% ---------------------------------------------------------------- options

options_test_() ->
    [{lists:flatten(io_lib:format("~p", [Target])), fun() ->
        {error, {bad_option, http, Why}} = sockeye:start_link(#{port => 0, http => #{Path => Target}}),
        ?assertMatch({_, _}, binary:match(Why, Says))
      end} || {Path, Target, Says} <-
        [{"/", {proxy, "https://127.0.0.1"}, <<"TLS is not spoken">>},
         {"/", {proxy, "127.0.0.1:80"}, <<"expected \"http://HOST:PORT\"">>},
         {"/", {proxy, "http://127.0.0.1/app"}, <<"without a path">>},
         {"/", {proxy, "http://127.0.0.1/?q"}, <<"without a path">>},
         {"/", {proxy, "http://user@127.0.0.1"}, <<"without a path">>},
         {"/", {proxy, "http://127.0.0.1:0"}, <<"the port">>},
         {"/", {proxy, "http://127.0.0.1:65536"}, <<"the port">>},
         {"/", {proxy, "http://"}, <<"http://">>},
         {"/", {proxy, 4000}, <<"expected">>},
         {"/", {proxy, {unix, ""}}, <<"Unix socket">>},
         {"/*", {proxy, "http://127.0.0.1"}, <<"has no *">>},
         {"/", {proxy, "http://127.0.0.1", []}, <<"map of options">>},
         {"/", {proxy, "http://127.0.0.1", #{timeot => 1}}, <<"timeot: unknown option; did you mean timeout?">>},
         {"/", {proxy, "http://127.0.0.1", #{timeout => 0}}, <<"timeout: expected milliseconds">>},
         {"/", {proxy, "http://127.0.0.1", #{connect_timeout => x}}, <<"connect_timeout">>},
         {"/", {proxy, "http://127.0.0.1", #{idle_timeout => -1}}, <<"idle_timeout">>},
         {"/", {proxy, "http://127.0.0.1", #{keepalive => 1.5}}, <<"keepalive">>},
         {"/", {proxy, "http://127.0.0.1", #{pool_size => 1025}}, <<"0..1024">>},
         {"/", {proxy, "http://127.0.0.1", #{max_requests => 0}}, <<"max_requests">>},
         {"/", {proxy, "http://127.0.0.1", #{max_body_size => 0}}, <<"max_body_size">>}]].

no_limits_test() ->
    None = maps:from_list([{Key, infinity} || Key <- [connect_timeout, timeout, idle_timeout, keepalive, max_requests, max_body_size]]),
    with(told(self()), #{proxy => None}, fun(Port, _) ->
        ?assertMatch({200, _, <<"hello">>}, request(Port, "POST", "/", [], "x"))
    end).

twins_test() ->
    Two = #{"/a" => {proxy, "http://127.0.0.1"}, "/a/" => {proxy, "http://127.0.0.1"}},
    ?assertMatch({error, {bad_option, http, _}}, sockeye:start_link(#{port => 0, http => Two})).

unix_test() ->
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "sockeye-" ++ os:getpid() ++ integer_to_list(erlang:unique_integer([positive]))),
    {ok, Listener} = gen_tcp:listen(0, [binary, {ifaddr, {local, Path}}, {active, false}]),
    Self = self(),
    %% The second request may come before the connection of the first one is there to be used again.
    spawn_link(fun() -> upstream:accept(Listener, told(Self), 1) end),
    try
        Route = {proxy, {unix, Path}},
        test_support:with_server(#{http => #{"/" => Route}}, fun(Port, _) ->
            ?assertMatch({200, _, <<"hello">>}, get(Port, "/")),
            _ = one(),
            ?assertMatch(<<"HTTP/1.0 200", _/binary>>, say(Port, "GET / HTTP/1.0\r\n\r\n")),
            ?assertEqual([<<"localhost">>], field(<<"host">>, one()))
        end)
    after
        gen_tcp:close(Listener),
        file:delete(Path)
    end.

metrics_test() ->
    with(told(self()), #{metrics => "/metrics"}, fun(Port, _) ->
        {200, _, _} = get(Port, "/"),
        {200, _, Text} = get(Port, "/metrics"),
        [?assertMatch({_, _}, binary:match(Text, Line))
         || Line <- [<<"\nsockeye_http_requests_proxied_total 1\n">>, <<"\nsockeye_proxy_errors_total 0\n">>]]
    end).

%% Nothing of it stays when the server ends: no connection that is kept, and none that is waited for.
gone_with_its_server_test() ->
    Self = self(),
    Serve = fun(Socket, N) ->
        {Head, _} = head(Socket),
        case Head of
            <<"GET /kept ", _/binary>> -> ok = ok(Socket, "x");
            _ -> Self ! {asked, N}
        end,
        closed = head(Socket),
        Self ! {closed, N}
    end,
    with(Serve, fun(Port, Server) ->
        Waiting = http_client:connect(Port),
        ok = gen_tcp:send(Waiting, "GET /waits HTTP/1.1\r\nHost: a\r\n\r\n"),
        receive {asked, 1} -> ok after ?TIMEOUT -> error(not_asked) end,
        {200, _, _} = get(Port, "/kept"),
        ok = sockeye:stop(Server),
        [receive {closed, N} -> ok after ?TIMEOUT -> error({not_closed, N}) end || N <- [1, 2]]
    end).
