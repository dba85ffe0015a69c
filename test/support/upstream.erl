%% A web server behind Sockeye, made of gen_tcp: it says what the test wants, and sees each byte.
-module(upstream).

-export([with/2]).
-export([with/3]).
-export([accept/3]).
-export([url/1]).
-export([head/1]).
-export([heads/1]).
-export([one/0]).
-export([field/2]).
-export([fields/1]).
-export([told/1]).
-export([ok/2]).

-define(TIMEOUT, 60000).

%% Test(Port, Server) has a server of ours in front, whose port is given. Serve(Socket, N) is run for the connection N.
with(Serve, Test) ->
    with(Serve, #{}, Test).

%% Options: `proxy', those of the route, and those of the server.
with(Serve, Options, Test) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {ip, {127, 0, 0, 1}}, {active, false}, {reuseaddr, true}, {nodelay, true}]),
    {ok, Port} = inet:port(Listener),
    Pid = spawn_link(fun() -> accept(Listener, Serve, 1) end),
    Route = {proxy, url(Port), maps:get(proxy, Options, #{})},
    Ours = maps:remove(proxy, Options),
    Http = maps:get(http, Ours, #{}),
    try test_support:with_server(maps:merge(#{paths => ["/ours"]}, Ours#{http => Http#{"/" => Route}}), Test)
    after
        unlink(Pid),
        exit(Pid, kill),
        gen_tcp:close(Listener)
    end.

url(Port) -> "http://127.0.0.1:" ++ integer_to_list(Port).

%% Serves each connection that comes to the listener, the first one as N, until that is closed.
accept(Listener, Serve, N) ->
    case gen_tcp:accept(Listener) of
        {ok, Socket} ->
            Pid = spawn_link(fun() -> receive go -> Serve(Socket, N) end end),
            ok = gen_tcp:controlling_process(Socket, Pid),
            Pid ! go,
            accept(Listener, Serve, N + 1);
        {error, closed} ->
            ok
    end.

%% The next head, as it came, and what came with it: {Head, Rest}, or `closed'.
head(Socket) -> head(Socket, <<>>).

head(Socket, Before) ->
    case binary:split(Before, <<"\r\n\r\n">>) of
        [Head, Rest] -> {Head, Rest};
        [_] ->
            case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
                {ok, More} -> head(Socket, <<Before/binary, More/binary>>);
                {error, _} when Before =:= <<>> -> closed
            end
    end.

%% The fields of a head, sorted.
fields(Head) ->
    [_ | Lines] = binary:split(Head, <<"\r\n">>, [global]),
    lists:sort([list_to_tuple(binary:split(Line, <<": ">>)) || Line <- Lines]).

field(Name, Head) ->
    proplists:get_all_values(Name, fields(Head)).

%% Serves request after request with the same answer, and tells this process of each head.
told(Pid) ->
    fun(Socket, N) -> tell(Pid, Socket, N) end.

tell(Pid, Socket, N) ->
    case head(Socket) of
        {Head, _} ->
            Pid ! {head, N, Head},
            ok = ok(Socket, "hello"),
            tell(Pid, Socket, N);
        closed ->
            Pid ! {closed, N}
    end.

ok(Socket, Body) ->
    gen_tcp:send(Socket, ["HTTP/1.1 200 OK\r\nContent-Length: ", integer_to_list(iolist_size(Body)), "\r\n\r\n", Body]).

%% So many heads that `told' has sent, each with its connection; and the one that is awaited.
heads(N) -> [receive {head, C, Head} -> {C, Head} after ?TIMEOUT -> error({no_head, I}) end || I <- lists:seq(1, N)].

one() -> [{_, Head}] = heads(1), Head.
