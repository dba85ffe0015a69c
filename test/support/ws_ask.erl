%% What a server says to a request for a connection.
-module(ws_ask).

-export([ask/1]).
-export([ask/2]).
-export([status/2]).
-export([header/2]).
-export([rest/1]).

-define(TIMEOUT, 60000).

%% The answer to a request for a connection: {Status, Headers, Body | Socket}.
ask(Port) -> ask(Port, #{}).

ask(Port, #{plain := true, path := Path}) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Socket, ["GET ", Path, " HTTP/1.0\r\n\r\n"]),
    {ok, <<"HTTP/1.", _, " ", Status:3/binary, _/binary>>} = gen_tcp:recv(Socket, 0, ?TIMEOUT),
    ok = gen_tcp:close(Socket),
    {binary_to_integer(Status), [], <<>>};
ask(Port, Options) ->
    {ok, Status, Headers, Socket} = ws_client:handshake(Port, Options),
    case Status of
        101 -> {101, Headers, Socket};
        _ -> {Status, Headers, rest(Socket)}
    end.

rest(Socket) -> rest(Socket, <<>>).

rest(Socket, Acc) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, More} -> rest(Socket, <<Acc/binary, More/binary>>);
        {error, _} -> Acc
    end.

status(Port, Options) ->
    {Status, _, _} = ask(Port, Options),
    Status.

header(Name, {_, Headers, _}) -> proplists:get_value(Name, Headers).
