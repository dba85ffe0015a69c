%% A server of raw bytes, for clients that must not trust it: each connection is
%% served by a process that runs a script and tells how the client left.
-module(raw_server).

-export([start/1]).
-export([stop/1]).
-export([port/1]).
-export([with/2]).
-export([with_tls/3]).
-export([head/1]).
-export([accept/1]).
-export([say/2]).
-export([await_end/1]).
-export([tunnel/2]).

-define(TIMEOUT, 60000).

%% Script(Socket) is called with the passive socket of each connection.
start(Script) ->
    Self = self(),
    Pid = spawn_link(fun() ->
        {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}, {backlog, 64}]),
        {ok, Port} = inet:port(Listener),
        Self ! {self(), Port},
        loop(Listener, Script)
    end),
    receive {Pid, Port} -> {Pid, Port} end.

port({_, Port}) -> Port.

stop({Pid, _}) ->
    unlink(Pid),
    exit(Pid, kill),
    test_support:down(Pid).

with(Script, Test) ->
    Raw = start(Script),
    try Test(port(Raw))
    after stop(Raw)
    end.

%% The same over TLS, with these options of ssl.
with_tls(Identity, Script, Test) ->
    with(fun(Socket) ->
        {ok, Secure} = ssl:handshake(Socket, Identity, ?TIMEOUT),
        Script(Secure)
    end, Test).

loop(Listener, Script) ->
    {ok, Socket} = gen_tcp:accept(Listener),
    Pid = spawn_link(fun() -> receive go -> Script(Socket) end end),
    ok = gen_tcp:controlling_process(Socket, Pid),
    Pid ! go,
    loop(Listener, Script).

%% Reads the head of a request.
head(Socket) ->
    head(Socket, <<>>).

head(Socket, Seen) ->
    case binary:match(Seen, <<"\r\n\r\n">>) of
        nomatch ->
            {ok, More} = recv(Socket),
            head(Socket, <<Seen/binary, More/binary>>);
        _ ->
            Seen
    end.

%% The value of Sec-WebSocket-Accept for a request.
accept(Head) ->
    {match, [Key]} = re:run(Head, "sec-websocket-key: *([^\r]*)", [caseless, {capture, all_but_first, binary}]),
    base64:encode(crypto:hash(sha, [Key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"])).

say(Socket, Bytes) ->
    _ = case is_tls(Socket) of
            true -> ssl:send(Socket, Bytes);
            false -> gen_tcp:send(Socket, Bytes)
        end,
    ok.

recv(Socket) ->
    case is_tls(Socket) of
        true -> ssl:recv(Socket, 0, ?TIMEOUT);
        false -> gen_tcp:recv(Socket, 0, ?TIMEOUT)
    end.

is_tls(Socket) -> is_tuple(Socket) andalso element(1, Socket) =:= sslsocket.

%% Until the client hangs up.
await_end(Socket) ->
    case recv(Socket) of
        {ok, _} -> await_end(Socket);
        {error, timeout} -> error(client_stays);
        {error, _} -> gone
    end.

%% A proxy that does its work: bytes from one socket to the other.
tunnel(Socket, Port) ->
    {ok, There} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, true}]),
    ok = inet:setopts(Socket, [{active, true}]),
    pump(Socket, There).

pump(A, B) ->
    receive
        {tcp, A, Bytes} -> _ = gen_tcp:send(B, Bytes), pump(A, B);
        {tcp, B, Bytes} -> _ = gen_tcp:send(A, Bytes), pump(A, B);
        {tcp_closed, _} -> ok
    end.
