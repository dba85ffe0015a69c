%% What streams through to a web server behind and back: contents without end, events, HTTP/2 in front.
-module(sockeye_beside_stream_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(upstream, [with/2, with/3, head/1, field/2, told/1, ok/2]).
-import(http_client, [get/2]).
-import(hostile_client, [memory/0, most/1]).

-define(TIMEOUT, 60000).
-define(REQUEST, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").
%% More than the buffers of the kernel take: Linux may give 32 MiB to each of the two sockets that are read.
-define(HELD, 90000000).
-define(PIECE, 65536).

%% ---------------------------------------------------------------- bounds

%% The server behind sends without end, and the client takes nothing: it is held up.
endless_answer_test_() ->
    [{Title, {timeout, 60, fun() ->
        Self = self(),
        Serve = fun(Socket, _) ->
            {_, _} = head(Socket),
            ok = inet:setopts(Socket, [{send_timeout, 1000}]),
            ok = gen_tcp:send(Socket, "HTTP/1.1 200 OK\r\n\r\n"),
            Self ! {held_up, flood(Socket, 0), self()},
            Self ! {ended, flood(Socket, 0)}
        end,
        with(Serve, #{http2 => cleartext}, fun(Port, _) ->
            Before = memory(),
            Client = Connect(Port),
            receive
                {held_up, {timeout, Sent}, _} ->
                    ?assert(Sent < ?HELD),
                    ?assert(memory() - Before < most(8000000))
            after 60000 -> error(not_held_up)
            end,
            %% And let go when the client has gone.
            ok = gen_tcp:close(Client),
            receive {ended, {closed, _}} -> ok after ?TIMEOUT -> error(goes_on) end
        end)
     end}} || {Title, Connect} <- [{"HTTP/1.1", fun asking/1}, {"HTTP/2", fun asking_http2/1}]].

asking(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {recbuf, 16384}]),
    ok = gen_tcp:send(Socket, ?REQUEST),
    Socket.

asking_http2(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {recbuf, 16384}]),
    ok = gen_tcp:send(Socket, [h2_frames:hello(), h2_frames:get(1, <<"/">>)]),
    Socket.

flood(Socket, Sent) ->
    case gen_tcp:send(Socket, binary:copy(<<"x">>, ?PIECE)) of
        ok when Sent < 10 * ?HELD -> flood(Socket, Sent + ?PIECE);
        ok -> {endless, Sent};
        {error, timeout} -> {timeout, Sent};
        {error, _} -> {closed, Sent}
    end.

%% The other way round.
endless_request_test_() ->
    {timeout, 60, fun() ->
        Self = self(),
        Serve = fun(Socket, _) ->
            {_, _} = head(Socket),
            Self ! {asked, self()},
            receive go_on -> gen_tcp:close(Socket) end
        end,
        with(Serve, fun(Port, _) ->
            Before = memory(),
            Client = http_client:connect(Port),
            ok = inet:setopts(Client, [{send_timeout, 1000}]),
            ok = gen_tcp:send(Client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n"),
            {timeout, Sent} = flood(Client, 0),
            ?assert(Sent < ?HELD),
            ?assert(memory() - Before < most(8000000)),
            receive {asked, Pid} -> Pid ! go_on after ?TIMEOUT -> error(not_asked) end,
            ok = inet:setopts(Client, [{packet, http_bin}]),
            ?assertMatch({ok, {http_response, _, 502, _}}, gen_tcp:recv(Client, 0, ?TIMEOUT))
        end)
    end}.

%% Who takes nothing of an answer is given up, as for answers of ours.
untaken_test_() ->
    [{Title, {timeout, 60, fun() ->
        Self = self(),
        Serve = fun(Socket, _) ->
            {_, _} = head(Socket),
            ok = gen_tcp:send(Socket, "HTTP/1.1 200 OK\r\n\r\n"),
            Self ! {ended, flood(Socket, 0)}
        end,
        with(Serve, #{send_timeout => 300, http2 => cleartext}, fun(Port, _) ->
            Client = Connect(Port),
            receive {ended, {closed, _}} -> ok after 60000 -> error(goes_on) end,
            gen_tcp:close(Client)
        end)
     end}} || {Title, Connect} <- [{"HTTP/1.1", fun asking/1}, {"HTTP/2", fun asking_http2/1}]].

%% Much of both, whole.
large_test_() ->
    {timeout, 60, fun() ->
        Content = rand:bytes(20000000),
        Serve = fun(Socket, _) ->
            {_, Rest} = head(Socket),
            {ok, More} = gen_tcp:recv(Socket, byte_size(Content) - byte_size(Rest), ?TIMEOUT),
            ok = ok(Socket, <<Rest/binary, More/binary>>)
        end,
        with(Serve, fun(Port, _) ->
            ?assertMatch({200, _, Content}, http_client:request(Port, "POST", "/", [], Content))
        end)
    end}.

%% ---------------------------------------------------------------- at once

%% An event is there before the next is sent; and when the client goes, the server behind hears of it.
events_test_() ->
    [{Title, fun() ->
        Self = self(),
        Serve = fun(Socket, _) ->
            {_, _} = head(Socket),
            ok = gen_tcp:send(Socket, ["HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n", Coding, "\r\n"]),
            [begin
                 ok = gen_tcp:send(Socket, Event(["data: ", integer_to_list(N), "\n\n"])),
                 Self ! {sent, self()},
                 receive next -> ok end
             end || N <- lists:seq(1, 3)],
            closed = head(Socket),
            Self ! gone
        end,
        with(Serve, Options, fun(Port, _) ->
            Socket = {Transport, Client} = Connect(Port),
            [begin
                 Pid = receive {sent, P} -> P after ?TIMEOUT -> error(not_sent) end,
                 until_event(Socket, ["data: ", integer_to_list(N), "\n\n"], <<>>),
                 Pid ! next
             end || N <- lists:seq(1, 3)],
            ok = Transport:close(Client),
            receive gone -> ok after ?TIMEOUT -> error(not_noticed) end
        end)
      end} || {Title, Coding, Event} <- [{"chunks", "Transfer-Encoding: chunked\r\n",
                                          fun(E) -> [integer_to_list(iolist_size(E), 16), "\r\n", E, "\r\n"] end},
                                         {"no length", "", fun(E) -> E end}],
              {Options, Connect} <- [{#{}, fun(Port) -> {gen_tcp, asking(Port)} end},
                                     {#{http2 => cleartext}, fun(Port) -> {gen_tcp, asking_http2(Port)} end},
                                     {#{tls => test_certs:localhost()}, fun asking_tls/1}]].

asking_tls(Port) ->
    {ok, _} = application:ensure_all_started(ssl),
    {ok, Socket} = ssl:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {nodelay, true}, {verify, verify_none}]),
    ok = ssl:send(Socket, ?REQUEST),
    {ssl, Socket}.

until_event({Transport, Client}, Event, Had) ->
    case binary:match(Had, iolist_to_binary(Event)) of
        nomatch ->
            {ok, More} = Transport:recv(Client, 0, ?TIMEOUT),
            until_event({Transport, Client}, Event, <<Had/binary, More/binary>>);
        _ -> ok
    end.

tls_is_told_test() ->
    with(told(self()), #{tls => test_certs:localhost()}, fun(Port, _) ->
        {ssl, Client} = asking_tls(Port),
        {ok, <<"HTTP/1.1 200", _/binary>>} = ssl:recv(Client, 0, ?TIMEOUT),
        receive
            {head, _, Head} ->
                ?assertEqual([[<<"https">>], [<<"for=127.0.0.1;proto=https;host=\"a\"">>]],
                             [field(Name, Head) || Name <- [<<"x-forwarded-proto">>, <<"forwarded">>]])
        after ?TIMEOUT -> error(not_asked)
        end,
        ssl:close(Client)
    end).

%% It goes before there is an answer.
gone_before_test_() ->
    [{Title, fun() ->
        Self = self(),
        Serve = fun(Socket, _) ->
            {_, _} = head(Socket),
            Self ! asked,
            closed = head(Socket),
            Self ! gone
        end,
        with(Serve, #{http2 => cleartext}, fun(Port, Server) ->
            Client = Connect(Port),
            receive asked -> ok after ?TIMEOUT -> error(not_asked) end,
            ok = Leave(Client),
            receive gone -> ok after ?TIMEOUT -> error(not_noticed) end,
            ?assertMatch({ok, #{proxy_errors := 0}}, sockeye:info(Server)),
            gen_tcp:close(Client)
        end)
      end} || {Title, Connect, Leave} <-
        [{"HTTP/1.1", fun asking/1, fun gen_tcp:close/1}, {"HTTP/2", fun asking_http2/1, fun gen_tcp:close/1},
         {"a stream", fun asking_http2/1, fun(S) -> gen_tcp:send(S, h2_frames:reset(1, 8)) end}]].

%% Both at once: what the client sends comes back before it has sent all.
both_ways_test() ->
    Serve = fun(Socket, _) ->
        {_, Rest} = head(Socket),
        ok = gen_tcp:send(Socket, ["HTTP/1.1 200 OK\r\n\r\n", Rest]),
        echo(Socket)
    end,
    with(Serve, fun(Port, _) ->
        Client = {gen_tcp, Socket} = {gen_tcp, http_client:connect(Port)},
        ok = gen_tcp:send(Socket, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n"),
        [begin
             ok = gen_tcp:send(Socket, Part),
             until_event(Client, Part, <<>>)
         end || Part <- ["first", "secnd", "third"]]
    end).

echo(Socket) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, Bytes} -> ok = gen_tcp:send(Socket, Bytes), echo(Socket);
        {error, _} -> ok
    end.

%% It answers without having read the content.
answered_early_test() ->
    Serve = fun(Socket, _) ->
        {_, _} = head(Socket),
        ok = gen_tcp:send(Socket, "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 2\r\n\r\nno"),
        %% What it does not read is no reset of what it has said.
        gen_tcp:shutdown(Socket, write),
        echo(Socket)
    end,
    with(Serve, fun(Port, _) ->
        Client = http_client:connect(Port),
        ok = gen_tcp:send(Client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin"),
        Answer = http_client:answer(Client, "POST"),
        ?assertMatch({413, _, <<"no">>}, Answer),
        ?assertEqual(<<"close">>, http_client:header(<<"connection">>, Answer))
    end).

%% The client stops in the middle of its content.
slow_client_test() ->
    Serve = fun(Socket, _) -> {_, _} = head(Socket), echo(Socket) end,
    with(Serve, #{proxy => #{idle_timeout => 200}}, fun(Port, Server) ->
        Client = http_client:connect(Port),
        ok = gen_tcp:send(Client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nbegin"),
        ?assertMatch({408, _, _}, http_client:answer(Client, "POST")),
        ?assertMatch({ok, #{proxy_errors := 0}}, sockeye:info(Server))
    end).

%% ---------------------------------------------------------------- HTTP/2

http2_test() ->
    Self = self(),
    Serve = fun(Socket, _) ->
        {Head, Rest} = head(Socket),
        Self ! {head, Head, Rest},
        ok = gen_tcp:send(Socket, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n")
    end,
    with(Serve, #{http2 => cleartext}, fun(Port, _) ->
        Socket = http_client:connect(Port),
        ok = h2_frames:shake(Socket),
        Fields = [{<<":method">>, <<"POST">>}, {<<":scheme">>, <<"http">>}, {<<":path">>, <<"/x?y">>}, {<<":authority">>, <<"b">>},
                  {<<"x-forwarded-for">>, <<"9.9.9.9">>}, {<<"cookie">>, <<"a=1">>}, {<<"cookie">>, <<"b=2">>}],
        ok = gen_tcp:send(Socket, [h2_frames:headers(1, h2_frames:block(Fields)), h2_frames:data_end(1, "content")]),
        Frames = h2_frames:until_end(Socket, 1),
        ?assertEqual([{1, 200}], h2_frames:statuses([hd(Frames)])),
        ?assertEqual(<<"hello">>, << <<Data/binary>> || {0, _, 1, Data} <- Frames >>),
        %% The trailers end the stream.
        ?assertMatch({1, 5, 1, _}, lists:last(Frames)),
        receive
            {head, Head, _} ->
                ?assertMatch(<<"POST /x?y HTTP/1.1\r\n", _/binary>>, Head),
                ?assertEqual([[<<"b">>], [<<"127.0.0.1">>], [<<"a=1; b=2">>], [<<"chunked">>]],
                             [field(Name, Head) || Name <- [<<"host">>, <<"x-forwarded-for">>, <<"cookie">>, <<"transfer-encoding">>]])
        after ?TIMEOUT -> error(not_asked)
        end
    end).

%% Streams share the pool, and none waits for another.
http2_streams_test() ->
    Self = self(),
    Serve = fun Serve(Socket, N) ->
        case head(Socket) of
            {<<"GET /slow ", _/binary>>, _} -> Self ! {slow, self()}, receive go_on -> ok = ok(Socket, "slow"), Serve(Socket, N) end;
            {_, _} -> ok = ok(Socket, "fast"), Serve(Socket, N);
            closed -> ok
        end
    end,
    with(Serve, #{http2 => cleartext}, fun(Port, Server) ->
        Socket = http_client:connect(Port),
        ok = h2_frames:shake(Socket),
        ok = gen_tcp:send(Socket, h2_frames:get(1, <<"/slow">>)),
        Slow = receive {slow, P} -> P after ?TIMEOUT -> error(not_asked) end,
        [begin
             ok = gen_tcp:send(Socket, h2_frames:get(N, <<"/fast">>)),
             ?assertEqual(<<"fast">>, << <<D/binary>> || {0, _, _, D} <- h2_frames:until_end(Socket, N) >>)
         end || N <- lists:seq(3, 41, 2)],
        Slow ! go_on,
        ?assertEqual(<<"slow">>, << <<D/binary>> || {0, _, _, D} <- h2_frames:until_end(Socket, 1) >>),
        ?assertMatch({ok, #{proxied := 21, proxy_errors := 0}}, sockeye:info(Server))
    end).

%% A server behind may take longer than a client of HTTP/2 may be idle.
http2_waits_test() ->
    Self = self(),
    Serve = fun(Socket, _) ->
        {_, _} = head(Socket),
        Self ! {asked, self()},
        receive go_on -> ok = ok(Socket, "late") end
    end,
    Short = #{http2 => cleartext, handshake_timeout => 50, send_timeout => 50, accept_timeout => 1},
    with(Serve, Short, fun(Port, _) ->
        Socket = asking_http2(Port),
        Pid = receive {asked, P} -> P after ?TIMEOUT -> error(not_asked) end,
        %% Longer than all of these, and the half second that a callback gets.
        erlang:send_after(900, Pid, go_on),
        ?assertEqual(<<"late">>, << <<D/binary>> || {0, _, 1, D} <- h2_frames:until_end(Socket, 1) >>)
    end).

%% ---------------------------------------------------------------- a server of other people

python_test_() ->
    case test_support:program("python3") of
        false -> test_support:left_out("a server of Python behind", "no python3");
        Python -> {timeout, 60, fun() -> behind_is_python(Python) end}
    end.

behind_is_python(Python) ->
    web_files:with_files(fun(Dir) ->
        Port = open_port({spawn_executable, Python}, [{args, ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", Dir]},
                                                      {line, 1000}, stderr_to_stdout, exit_status]),
        {os_pid, Pid} = erlang:port_info(Port, os_pid),
        try
            Line = receive {Port, {data, {eol, L}}} -> L after ?TIMEOUT -> error(not_started) end,
            {match, [Url]} = re:run(Line, "http://[0-9.:]+", [{capture, first, list}]),
            test_support:with_server(#{http => #{"/" => {proxy, Url}}}, fun(Front, _) ->
                [?assertMatch({200, _, <<"run()">>}, get(Front, "/app.js")) || _ <- lists:seq(1, 5)],
                {ok, Large} = file:read_file(filename:join(Dir, "large.bin")),
                ?assertMatch({200, _, Large}, get(Front, "/large.bin")),
                ?assertMatch({404, _, _}, get(Front, "/none")),
                ?assertMatch({501, _, _}, http_client:request(Front, "POST", "/app.js", [], "x"))
            end)
        after
            os:cmd("kill " ++ integer_to_list(Pid)),
            try port_close(Port) catch error:badarg -> true end
        end
    end).
