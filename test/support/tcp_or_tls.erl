%% The same bytes over TCP and over TLS.
-module(tcp_or_tls).

-export([served/3]).
-export([connect/2]).
-export([send/3]).
-export([recv/2]).
-export([close/2]).

-define(TIMEOUT, 60000).

%% Test is called with the port of a server; with `tls' it has a certificate for localhost.
served(tls, Options, Test) ->
    {ok, Started} = application:ensure_all_started(ssl),
    try
        test_support:with_server(Options#{tls => test_certs:localhost()}, fun(Port, _) -> Test(Port) end)
    after
        [application:stop(App) || App <- lists:reverse(Started)]
    end;
served(_, Options, Test) ->
    test_support:with_server(Options, fun(Port, _) -> Test(Port) end).

connect(tcp, Port) -> hostile_client:connect(Port);
connect(tls, Port) ->
    {ok, Socket} = ssl:connect("localhost", Port, [{verify, verify_none}, {active, false}, {nodelay, true}, binary], ?TIMEOUT),
    Socket.

send(tcp, Socket, Bytes) -> gen_tcp:send(Socket, Bytes);
send(tls, Socket, Bytes) -> ssl:send(Socket, Bytes).

recv(tcp, Socket) -> gen_tcp:recv(Socket, 0, ?TIMEOUT);
recv(tls, Socket) -> ssl:recv(Socket, 0, ?TIMEOUT).

close(tcp, Socket) -> gen_tcp:close(Socket);
close(tls, Socket) -> ssl:close(Socket).
