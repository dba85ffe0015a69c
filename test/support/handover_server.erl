%% Another server, which reads requests and hands their sockets to a server of ours. What adopt/3 answered comes as
%% `{adopted, Result, Socket}' to who started it, which gets the socket back where it was not taken.
-module(handover_server).

-export([start/2]).
-export([start/3]).
-export([stop/1]).
-export([port/1]).
-export([adopted/0]).
-export([with/4]).
-export([with_both/2]).
-export([with_both/4]).
-export([request/0]).
-export([connect/1]).

-define(TIMEOUT, 60000).

%% Kinds: gen_tcp, active (of gen_tcp, with the bytes as messages), backend (of gen_tcp over socket), socket.
start(Kind, Server) ->
    start(Kind, Server, #{}).

%% Options: ip, read (`head': until the end of the head, `line': its first line, which leaves the rest in the driver; `nothing'), and
%% opts of gen_tcp for each socket.
start(Kind, Server, Options) ->
    Starter = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> run(Kind, Server, Options, Starter) end),
    receive
        {Pid, Place} -> demonitor(Monitor, [flush]), {Pid, Place};
        {'DOWN', Monitor, process, Pid, Why} -> error(Why)
    end.

port({_, {_, Port}}) -> Port.

stop({Pid, _}) ->
    exit(Pid, kill),
    _ = test_support:down(Pid),
    ok.

adopted() ->
    receive {adopted, Result, Socket} -> {Result, Socket}
    after ?TIMEOUT -> error({not_adopted, process_info(self(), messages)})
    end.

run(Kind, Server, Options, Starter) ->
    Ip = maps:get(ip, Options, {127, 0, 0, 1}),
    Listener = listen(Kind, Ip),
    Starter ! {self(), place(Kind, Listener)},
    loop(Kind, Server, Options, Starter, Listener).

listen(socket, Ip) ->
    {ok, Listener} = socket:open(inet, stream, tcp),
    ok = socket:bind(Listener, #{family => inet, addr => Ip, port => 0}),
    ok = socket:listen(Listener),
    Listener;
listen(Kind, Ip) ->
    {ok, Listener} = gen_tcp:listen(0, [{inet_backend, socket} || Kind =:= backend] ++ [binary, {active, false}, {ip, Ip}]),
    Listener.

place(socket, Listener) ->
    {ok, #{addr := Ip, port := Port}} = socket:sockname(Listener),
    {Ip, Port};
place(_Kind, Listener) ->
    {ok, Place} = inet:sockname(Listener),
    Place.

loop(Kind, Server, Options, Starter, Listener) ->
    Socket = accept(Kind, Listener),
    Read = read(Kind, maps:get(read, Options, head), Socket),
    Kind =/= socket andalso inet:setopts(Socket, maps:get(opts, Options, [])),
    Kind =:= active andalso inet:setopts(Socket, [{active, true}]),
    _ = [ok = gen_tcp:send(Socket, maps:get(before, Options)) || is_map_key(before, Options)],
    _ = (maps:get(then, Options, fun(_) -> ok end))(Socket),
    Result = sockeye:adopt(Server, Socket, Read),
    _ = Result =/= ok andalso Kind =/= socket andalso gen_tcp:controlling_process(Socket, Starter),
    Starter ! {adopted, Result, Socket},
    loop(Kind, Server, Options, Starter, Listener).

accept(socket, Listener) ->
    {ok, Socket} = socket:accept(Listener),
    Socket;
accept(_Kind, Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Socket.

read(_Kind, nothing, _Socket) ->
    <<>>;
read(_Kind, line, Socket) ->
    ok = inet:setopts(Socket, [{packet, line}]),
    {ok, Line} = gen_tcp:recv(Socket, 0, ?TIMEOUT),
    Line;
read(Kind, head, Socket) ->
    head(Kind, Socket, <<>>).

head(Kind, Socket, Read) ->
    case binary:match(Read, <<"\r\n\r\n">>) of
        nomatch ->
            {ok, More} = recv(Kind, Socket),
            head(Kind, Socket, <<Read/binary, More/binary>>);
        _ ->
            Read
    end.

recv(socket, Socket) -> socket:recv(Socket, 0, ?TIMEOUT);
recv(_Kind, Socket) -> gen_tcp:recv(Socket, 0, ?TIMEOUT).

with(Kind, Server, Options, Test) ->
    Front = start(Kind, Server, Options),
    try Test(port(Front))
    after stop(Front)
    end.

with_both(Kind, Test) -> with_both(Kind, #{}, #{}, Test).

%% Test gets the port of the other server, and ours.
with_both(Kind, ServerOptions, FrontOptions, Test) ->
    test_support:with_server(ServerOptions, fun(_, Server) ->
        with(Kind, Server, FrontOptions, fun(Port) -> Test(Port, Server) end)
    end).

request() ->
    "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".

connect(Port) ->
    {ok, Client} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {nodelay, true}]),
    Client.
