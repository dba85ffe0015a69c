%% Web servers of others behind ours: cowboy, where the bench has unpacked it, Node, and Python with its websockets. `make test-proxies' gets them; where they are
%% missing, these tests are left out.
-module(sockeye_beside_peers_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, program/1, root/0]).

-define(TIMEOUT, 60000).

peers_test_() ->
    lists:flatmap(fun({Name, Found}) ->
        case Found of
            {ok, Command} -> [{Name ++ ": " ++ Title, {timeout, 60, fun() -> behind(Command, Test) end}} || {Title, Test} <- tests()];
            {missing, What} -> missing(Name, What)
        end
    end, [{"cowboy", cowboy()}, {"Node", node_js()}, {"Python", python()}]).

missing(Name, What) ->
    case os:getenv("SOCKEYE_PROXIES") of
        false -> test_support:left_out(Name ++ " behind", What);
        _ -> [{"missing", fun() -> error({not_there, Name, What}) end}]
    end.

cowboy() ->
    Plugins = filename:join(root(), "bench/target/debian/usr/lib/rabbitmq/lib/rabbitmq_server-*/plugins/"),
    case [filelib:wildcard(filename:join(Plugins, App ++ "-*/ebin")) || App <- ["cowboy", "cowlib", "ranch"]] of
        [[_ | _], [_ | _], [_ | _]] = Found ->
            Paths = [filename:dirname(code:which(?MODULE)), filename:dirname(code:which(web_cowboy)) | lists:append(Found)],
            Erl = filename:join([code:root_dir(), "bin", "erl"]),
            {ok, {Erl, ["-noshell", "-pa"] ++ Paths ++ ["-eval", "web_cowboy:main()."], []}};
        _ ->
            {missing, "no bench/target/debian: bench/setup beam"}
    end.

node_js() ->
    Paths = [Path || Path <- ["/usr/share/nodejs", filename:join(root(), "bench/peers/node/node_modules")],
                     filelib:is_dir(filename:join(Path, "ws"))],
    case {program("node"), Paths} of
        {false, _} -> {missing, "no node"};
        {_, []} -> {missing, "no ws"};
        {Node, _} -> {ok, {Node, [filename:join(root(), "test/peers/web_server.js")], [{"NODE_PATH", lists:append(lists:join(":", Paths))}]}}
    end.

%% Of the tests' own environment, or the system's.
python() ->
    Own = filename:join([os:getenv("SOCKEYE_VENV", filename:join(root(), ".venv")), "bin", "python"]),
    case [Python || Python <- [Own, program("python3")], has_websockets(Python)] of
        [] -> {missing, "no Python with websockets"};
        [Python | _] -> {ok, {Python, [filename:join(root(), "test/peers/web_server.py")], []}}
    end.

has_websockets(false) -> false;
has_websockets(Python) -> filelib:is_regular(Python) andalso string:trim(os:cmd(Python ++ " -c 'import websockets.server' && echo yes")) =:= "yes".

%% It ends with its standard input.
behind({Program, Args, Env}, Test) ->
    Peer = open_port({spawn_executable, Program}, [{args, Args}, {env, Env}, {line, 1000}, binary, exit_status, stderr_to_stdout]),
    try
        Route = {proxy, upstream:url(ready(Peer))},
        with_server(#{paths => ["/ours"], http => #{"/" => Route}, format => raw}, Test)
    after
        port_close(Peer)
    end.

ready(Peer) ->
    receive
        {Peer, {data, {eol, <<"READY ", Port/binary>>}}} -> binary_to_integer(Port);
        {Peer, {data, _}} -> ready(Peer);
        {Peer, {exit_status, Status}} -> error({ended, Status})
    after ?TIMEOUT -> error(not_ready)
    end.

tests() ->
    [{"requests and bodies", fun requests/2}, {"chunks", fun chunks/2}, {"one connection behind", fun kept/2}, {"events", fun events/2},
     {"who asks", fun who/2}, {"WebSockets", fun websockets/2}].

ask(Socket, Request) ->
    ok = gen_tcp:send(Socket, Request),
    {<<"HTTP/1.1 200 ", _/binary>> = Head, Rest} = http_content:head(tcp, Socket),
    {complete, Content} = http_content:read(tcp, Socket, Head, Rest),
    {Head, Content}.

%% A request with a connection of its own.
alone(Port, Request) ->
    Socket = http_client:connect(Port),
    Answer = ask(Socket, Request),
    ok = gen_tcp:close(Socket),
    Answer.

requests(Port, Server) ->
    Socket = http_client:connect(Port),
    Body = binary:copy(<<"0123456789abcdef">>, 20000),
    Post = "POST /echo HTTP/1.1\r\nHost: a\r\n",
    [?assertMatch({_, <<"hello\n">>}, ask(Socket, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")) || _ <- [1, 2, 3]],
    ok = gen_tcp:close(Socket),
    %% Who is behind may begin to answer before it has all, and such an answer ends its connection.
    ?assertMatch({_, Body}, alone(Port, [Post, "Content-Length: 320000\r\n\r\n", Body])),
    ?assertMatch({_, <<"hello world">>},
                 alone(Port, [Post, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-T: z\r\n\r\n"])),
    ?assertMatch({_, <<>>}, alone(Port, [Post, "Content-Length: 0\r\n\r\n"])),
    ?assertMatch({ok, #{proxied := 6, proxy_errors := 0}}, sockeye:info(Server)).

chunks(Port, _) ->
    Socket = http_client:connect(Port),
    [begin
         {Head, Content} = ask(Socket, "GET /chunks HTTP/1.1\r\nHost: a\r\n\r\n"),
         ?assertEqual(<<"one two three">>, Content),
         ?assertMatch({_, _}, binary:match(Head, <<"transfer-encoding: chunked">>))
     end || _ <- [1, 2]],
    ok = gen_tcp:close(Socket).

%% The server behind names the port of the connection that it has from us.
kept(Port, _) ->
    Ports = [begin
                 Socket = http_client:connect(Port),
                 {_, One} = ask(Socket, "GET /port HTTP/1.1\r\nHost: a\r\n\r\n"),
                 {_, One} = ask(Socket, "GET /port HTTP/1.1\r\nHost: a\r\n\r\n"),
                 ok = gen_tcp:close(Socket),
                 One
             end || _ <- lists:seq(1, 20)],
    {ok, #{shards := Shards}} = sockeye:info(),
    ?assert(length(lists:usort(Ports)) =< Shards).

%% Each event comes when it was sent: the second one is not sent before the first is here.
events(Port, _) ->
    Socket = http_client:connect(Port),
    ok = gen_tcp:send(Socket, "GET /events HTTP/1.1\r\nHost: a\r\n\r\n"),
    {Head, Rest} = http_content:head(tcp, Socket),
    ?assertMatch({_, _}, binary:match(Head, <<"text/event-stream">>)),
    First = until(Socket, <<"data: one\n\n">>, Rest),
    ?assertMatch({200, _, <<"gone\n">>}, http_client:request(Port, "GET", "/go", [], "")),
    _ = until(Socket, <<"data: two\n\n">>, First),
    ok = gen_tcp:close(Socket).

until(Socket, What, Had) ->
    case binary:match(Had, What) of
        nomatch ->
            {ok, More} = gen_tcp:recv(Socket, 0, ?TIMEOUT),
            until(Socket, What, <<Had/binary, More/binary>>);
        _ ->
            Had
    end.

who(Port, _) ->
    Socket = http_client:connect(Port),
    Claims = "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n",
    ?assertMatch({_, <<"a.example:80 127.0.0.1 http">>}, ask(Socket, ["GET /who HTTP/1.1\r\nHost: a.example:80\r\n", Claims, "\r\n"])),
    ok = gen_tcp:close(Socket).

%% Those of the server behind, and between them ours.
websockets(Port, Server) ->
    Theirs = ws_client:connect(Port, #{path => "/socket"}),
    Ours = ws_client:connect(Port, #{path => "/ours"}),
    {Conn, {open, _}} = test_support:event(),
    [begin
         Text = binary:copy(<<"x">>, Size),
         ok = ws_client:text(Theirs, Text),
         ?assertEqual({text, Text}, ws_client:recv(Theirs, ?TIMEOUT)),
         ok = ws_client:text(Ours, Text),
         ?assertEqual({Conn, {text, Text}}, test_support:event())
     end || Size <- [0, 1, 125, 126, 65535, 65536]],
    ok = ws_client:text(Theirs, <<"close">>),
    ?assertEqual({close, 4001, <<"as you wish">>}, ws_client:recv(Theirs, ?TIMEOUT)),
    ?assertMatch({ok, #{connections := 1, proxied := 1, proxy_errors := 0}}, sockeye:info(Server)).
