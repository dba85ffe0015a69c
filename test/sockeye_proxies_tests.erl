%% Real proxies in front: haproxy, with its clients on one connection of HTTP/2 and with HTTP/1.1, and
%% nginx. `make test-proxies' installs them; where they are missing, these tests are left out.
-module(sockeye_proxies_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [free_port/0, program/1]).

-define(TIMEOUT, 60000).

proxies_test_() ->
    case {program("haproxy"), program("nginx")} of
        {false, _} -> missing("haproxy");
        {_, false} -> missing("nginx");
        {Haproxy, Nginx} ->
            {setup, fun() -> application:ensure_all_started(ssl) end,
             fun({ok, Started}) -> [application:stop(App) || App <- lists:reverse(Started)] end,
             [{timeout, 120, {Title, fun() -> behind(Proxy, Program, Test) end}}
              || {Proxy, Program, Tests} <- [{haproxy_http2, Haproxy, shared() ++ common() ++ [pages()]},
                                             {haproxy_http1, Haproxy, common() ++ [pages()]},
                                             {haproxy_tls, Haproxy, [pages_over_tls()]},
                                             {nginx, Nginx, common() ++ [pages()]},
                                             {nginx_tls, Nginx, [pages_over_tls()]},
                                             {nginx_other_host, Nginx, [{"no page at all", fun no_page/2}]}],
                 {Name, Test} <- Tests,
                 Title <- [lists:concat([Proxy, ": ", Name])]]}
    end.

missing(Program) ->
    case os:getenv("SOCKEYE_PROXIES") of
        false -> test_support:left_out("real proxies in front", "no " ++ Program);
        _ -> [{"missing", fun() -> error({not_installed, Program}) end}]
    end.

common() ->
    [{"a WebSocket, both ways", fun websocket/2},
     {"requests and bodies", fun requests/2},
     {"the client's address", fun address/2}].

shared() ->
    [{"bad headers of one client", fun bad_headers/2},
     {"odd paths of one client", fun odd_paths/2},
     {"uploads that one client gives up", fun aborted_uploads/2},
     {"clients that come and go", fun comings_and_goings/2}].

%% ---------------------------------------------------------------- what all of them pass on

websocket(Proxy, _) ->
    {Socket, Conn} = open(Proxy, "/ws"),
    [echo(Socket, Conn, binary:copy(<<"x">>, Size)) || Size <- [1, 125, 126, 65536]],
    ok = sockeye:close(Conn, 4000, <<"bye">>),
    ?assertEqual({close, 4000, <<"bye">>}, ws_client:recv(Socket, ?TIMEOUT)).

requests(Proxy, _) ->
    Socket = hostile_client:connect(Proxy),
    [?assertMatch({200, _, <<"hello">>}, http_client:ask(Socket, "GET", "/")) || _ <- [1, 2, 3]],
    ?assertMatch({200, _, <<>>}, http_client:ask(Socket, "HEAD", "/")),
    ?assertMatch({404, _, _}, http_client:ask(Socket, "GET", "/none")),
    Body = binary:copy(<<"0123456789abcdef">>, 4096),
    ?assertMatch({200, _, Body}, http_client:ask(Socket, "POST", "/echo", [], Body)),
    ok = gen_tcp:send(Socket, ["POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                               "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Trailer: z\r\n\r\n"]),
    ?assertMatch({200, _, <<"hello world">>}, http_client:answer(Socket, "POST")),
    ?assertMatch({200, _, <<"hello">>}, http_client:ask(Socket, "GET", "/")),
    gen_tcp:close(Socket).

address(Proxy, _) ->
    Socket = ws_client:connect(Proxy, #{path => "/ws"}),
    receive {sockeye, _, {open, #{peer := Peer}}} -> ?assertEqual({{127, 0, 0, 1}, 0}, Peer)
    after ?TIMEOUT -> error(not_open)
    end,
    gen_tcp:close(Socket).

%% ---------------------------------------------------------------- same_host

%% These pass on the `Host' that they get.
pages() ->
    {"pages of the same host", fun(Front, _) ->
         from_pages(Front, #{}, [{101, ["http://localhost", "https://localhost"]}, {403, ["http://other", "null"]}])
     end}.

%% These ask for a host of their own, and say for which one they were asked, and that it was over TLS. What the client
%% says of that does not count.
pages_over_tls() ->
    {"pages of the same host, over TLS", fun(Front, _) ->
         [from_pages(Front, #{tls => [{verify, verify_none}], headers => Claims},
                     [{101, ["https://localhost"]}, {403, ["http://localhost", "https://other", "https://inner.example"]}])
          || Claims <- [[], [{"X-Forwarded-Host", "other"}, {"X-Forwarded-Proto", "http"}]]]
     end}.

%% One that asks for a host of its own, and does not say for which it was asked: that is nginx as it comes.
no_page(Front, _) ->
    from_pages(Front, #{}, [{403, ["http://localhost", "https://localhost"]}]).

from_pages(Front, Options, Cases) ->
    Headers = maps:get(headers, Options, []),
    [begin
         {ok, Got, _, _} = ws_client:handshake(Front, Options#{path => "/ws", headers => [{"Origin", Origin} | Headers]}),
         ?assertEqual({Origin, Status}, {Origin, Got})
     end || {Status, Origins} <- Cases, Origin <- Origins].

%% ---------------------------------------------------------------- one connection for many clients

bad_headers(Proxy, Seen) ->
    sharing(Proxy, Seen, fun() ->
        [begin
             Socket = hostile_client:connect(Proxy),
             ok = gen_tcp:send(Socket, ["GET / HTTP/1.1\r\nHost: a\r\nX-Bad: a", C, "b\r\n\r\n"]),
             %% By the proxy itself, or by what it makes of a stream that was reset.
             ?assertMatch({C, Status} when Status >= 400, {C, http_client:status(http_client:answer(Socket, "GET"))}),
             gen_tcp:close(Socket)
         end || _ <- lists:seq(1, 20), C <- [1, 2, 8, 11, 12, 27, 31, 127]]
    end).

odd_paths(Proxy, Seen) ->
    sharing(Proxy, Seen, fun() ->
        Socket = hostile_client:connect(Proxy),
        [?assertMatch({200, _, <<"hello">>}, http_client:ask(Socket, "GET", "/?q=<x>" ++ integer_to_list(N)))
         || N <- lists:seq(1, 300)],
        gen_tcp:close(Socket)
    end).

aborted_uploads(Proxy, Seen) ->
    sharing(Proxy, Seen, fun() ->
        [begin
             Socket = hostile_client:connect(Proxy),
             ok = gen_tcp:send(Socket, ["POST ", Path, " HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", <<0:80000>>]),
             hostile_client:end_with(How, Socket),
             gen_tcp:close(Socket)
         end || _ <- lists:seq(1, 50), How <- [rst, fin], Path <- ["/echo", "/", "/none"]]
    end).

comings_and_goings(Proxy, Seen) ->
    sharing(Proxy, Seen, fun() ->
        [begin
             {Socket, Conn} = open(Proxy, "/ws"),
             echo(Socket, Conn, <<"hi">>),
             hostile_client:end_with(How, Socket),
             ?assert(is_integer(test_support:closed(Conn))),
             gen_tcp:close(Socket)
         end || _ <- lists:seq(1, 10), How <- [rst, close]]
    end).

%% Three clients have WebSockets on one connection of the proxy, and keep them.
sharing(Proxy, Seen, Attack) ->
    Others = [open(Proxy, "/ws") || _ <- [1, 2, 3]],
    Before = atomics:get(Seen, 1),
    ?assertEqual(1, Before),
    Attack(),
    [echo(Socket, Conn, <<"still here">>) || {Socket, Conn} <- Others].

echo(Socket, Conn, Text) ->
    ok = ws_client:text(Socket, Text),
    receive {sockeye, Conn, {text, Text}} -> ok
    after ?TIMEOUT -> error(no_message)
    end,
    ok = sockeye:send(Conn, {text, Text}),
    ?assertEqual({text, Text}, ws_client:recv(Socket, ?TIMEOUT)).

open(Port, Path) ->
    Socket = ws_client:connect(Port, #{path => Path}),
    receive {sockeye, Conn, {open, _}} -> {Socket, Conn}
    after ?TIMEOUT -> error(not_open)
    end.

%% ---------------------------------------------------------------- the proxies

%% Test gets the port of the proxy, and a counter of the connections that it has made.
behind(Proxy, Program, Test) ->
    Options = #{http2 => cleartext, format => raw, active => true, trusted_proxies => [<<"127.0.0.1">>],
                origins => [same_host], http => bad_http:routes()},
    test_support:with_server(Options, fun(Port, _) ->
        Seen = atomics:new(1, []),
        Counter = counter(Port, Seen),
        Dir = filename:join(filename:basedir(user_cache, "sockeye"), "proxies-" ++ os:getpid()),
        ok = filelib:ensure_dir(filename:join(Dir, "x")),
        {Running, Front} = start(Proxy, Program, Dir, gate(Counter), 5),
        try Test(Front, Seen)
        after
            ws_client:drop_all(),
            stop(Running),
            stop_counter(Counter),
            ok = file:del_dir_r(Dir)
        end
    end).

start(Proxy, Program, Dir, Back, Tries) ->
    Front = free_port(),
    File = filename:join(Dir, "conf"),
    ok = file:write_file(File, config(Proxy, Dir, Front, Back)),
    Args = case filename:basename(Program) of
               "nginx" -> ["-p", Dir, "-e", "stderr", "-c", File];
               _ -> ["-db", "-f", File]
           end,
    Running = open_port({spawn_executable, Program}, [{args, Args}, exit_status, stderr_to_stdout, binary]),
    {os_pid, Pid} = erlang:port_info(Running, os_pid),
    case until_open(Running, Front, <<>>, 200) of
        ok -> {{Running, Pid}, Front};
        {failed, _} when Tries > 1 -> start(Proxy, Program, Dir, Back, Tries - 1);
        {failed, Why} -> error({Proxy, Why})
    end.

until_open(_, _, Said, 0) -> {failed, Said};
until_open(Running, Front, Said, N) ->
    receive
        {Running, {data, More}} -> until_open(Running, Front, <<Said/binary, More/binary>>, N);
        {Running, {exit_status, Status}} -> {failed, {Status, Said}}
    after 20 ->
        case gen_tcp:connect({127, 0, 0, 1}, Front, []) of
            {ok, Socket} -> gen_tcp:close(Socket);
            {error, _} -> until_open(Running, Front, Said, N - 1)
        end
    end.

stop({Running, Pid}) ->
    _ = os:cmd("kill " ++ integer_to_list(Pid)),
    stopped(Running).

stopped(Running) ->
    receive
        {Running, {data, _}} -> stopped(Running);
        {Running, {exit_status, _}} -> ok
    after ?TIMEOUT -> error(still_running)
    end.

%% All clients of haproxy on as few connections as it can.
config(haproxy_http2, _, Front, Back) ->
    haproxy(integer_to_list(Front), [integer_to_list(Back), " proto h2 ws h2"], "");
config(haproxy_http1, _, Front, Back) ->
    haproxy(integer_to_list(Front), integer_to_list(Back), "");
config(haproxy_tls, Dir, Front, Back) ->
    haproxy([integer_to_list(Front), " ssl crt ", certificate(Dir)], integer_to_list(Back),
            ["http-request set-header X-Forwarded-Host %[req.hdr(Host)]\n",
             "http-request set-header X-Forwarded-Proto https if { ssl_fc }\n",
             "http-request set-header Host inner.example\n"]);
config(nginx, Dir, Front, Back) ->
    nginx(Dir, integer_to_list(Front), Back, "proxy_set_header Host $host;\n");
config(nginx_tls, Dir, Front, Back) ->
    File = certificate(Dir),
    nginx(Dir, [integer_to_list(Front), " ssl;\nssl_certificate ", File, ";\nssl_certificate_key ", File], Back,
          "proxy_set_header X-Forwarded-Host $http_host;\nproxy_set_header X-Forwarded-Proto $scheme;\n");
config(nginx_other_host, Dir, Front, Back) ->
    nginx(Dir, integer_to_list(Front), Back, "").

certificate(Dir) ->
    #{cert := Cert, key := Key} = test_certs:localhost(),
    File = filename:join(Dir, "front.pem"),
    ok = file:write_file(File, [Cert, Key]),
    File.

nginx(Dir, Listen, Back, Says) ->
    Temporary = [[Kind, "_temp_path ", Dir, "/", Kind, ";\n"] || Kind <- ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]],
    ["daemon off;\nmaster_process off;\npid ", Dir, "/pid;\nevents { worker_connections 200; }\n",
     "http {\naccess_log off;\n", Temporary,
     "map $http_upgrade $connection_upgrade { default upgrade; '' ''; }\n",
     "upstream sockeye { server 127.0.0.1:", integer_to_list(Back), "; keepalive 4; }\n",
     "server {\nlisten 127.0.0.1:", Listen, ";\nlocation / {\n",
     "proxy_pass http://sockeye;\nproxy_http_version 1.1;\nproxy_request_buffering off;\n",
     Says, "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n",
     "proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection $connection_upgrade;\n",
     "}\n}\n}\n"].

haproxy(Bind, Server, Rules) ->
    ["global\nmaxconn 200\nnbthread 1\n",
     "defaults\nmode http\ntimeout connect 5s\ntimeout client 30s\ntimeout server 30s\ntimeout tunnel 60s\n",
     "http-reuse always\noption forwardfor\n",
     "listen front\nbind 127.0.0.1:", Bind, "\n", Rules, "server sockeye 127.0.0.1:", Server, "\n"].

%% ---------------------------------------------------------------- a door that counts

%% Passes bytes on, and counts who comes: so the test knows how many connections the proxy makes.
counter(Port, Seen) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {ip, {127, 0, 0, 1}}, {active, false}, {backlog, 100}]),
    Pid = spawn_link(fun() -> count(Listener, Port, Seen) end),
    {Listener, Pid}.

gate({Listener, _}) ->
    {ok, Port} = inet:port(Listener),
    Port.

stop_counter({Listener, Pid}) ->
    unlink(Pid),
    Monitor = monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    gen_tcp:close(Listener).

count(Listener, Port, Seen) ->
    {ok, In} = gen_tcp:accept(Listener),
    atomics:add(Seen, 1, 1),
    Self = self(),
    Pump = spawn_link(fun() ->
        process_flag(trap_exit, true),
        receive go -> ok end,
        {ok, Out} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, true}, {nodelay, true}]),
        ok = inet:setopts(In, [{active, true}, {nodelay, true}]),
        pump(Self, In, Out)
    end),
    ok = gen_tcp:controlling_process(In, Pump),
    Pump ! go,
    count(Listener, Port, Seen).

pump(Owner, In, Out) ->
    receive
        {tcp, In, Bytes} -> _ = gen_tcp:send(Out, Bytes), pump(Owner, In, Out);
        {tcp, Out, Bytes} -> _ = gen_tcp:send(In, Bytes), pump(Owner, In, Out);
        {tcp_closed, _} -> gen_tcp:close(In), gen_tcp:close(Out), unlink(Owner);
        {'EXIT', Owner, _} -> ok
    end.
