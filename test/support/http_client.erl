%% HTTP/1.1 over gen_tcp, one answer at a time.
-module(http_client).

-export([connect/1]).
-export([get/2]).
-export([request/4]).
-export([request/5]).
-export([ask/3]).
-export([ask/5]).
-export([answer/2]).
-export([header/2]).
-export([status/1]).

-define(TIMEOUT, 60000).

connect(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {nodelay, true}]),
    Socket.

%% One request on a connection of its own: {Status, Headers, Body}.
get(Port, Path) -> request(Port, "GET", Path, []).

request(Port, Method, Path, Headers) -> request(Port, Method, Path, Headers, <<>>).

request(Port, Method, Path, Headers, Body) ->
    Socket = connect(Port),
    Answer = ask(Socket, Method, Path, Headers, Body),
    ok = gen_tcp:close(Socket),
    Answer.

ask(Socket, Method, Path) -> ask(Socket, Method, Path, [], <<>>).

ask(Socket, Method, Path, Headers, Body) ->
    Length = case iolist_size(Body) of
                 0 -> [];
                 Size -> ["Content-Length: ", integer_to_list(Size), "\r\n"]
             end,
    ok = gen_tcp:send(Socket, [Method, " ", Path, " HTTP/1.1\r\nHost: localhost\r\n", Length,
                               [[Name, ": ", Value, "\r\n"] || {Name, Value} <- Headers], "\r\n", Body]),
    answer(Socket, Method).

answer(Socket, Method) ->
    ok = inet:setopts(Socket, [{packet, http_bin}]),
    {ok, {http_response, {1, 1}, Status, _}} = gen_tcp:recv(Socket, 0, ?TIMEOUT),
    Headers = headers(Socket),
    ok = inet:setopts(Socket, [{packet, raw}]),
    Length = binary_to_integer(proplists:get_value(<<"content-length">>, Headers, <<"0">>)),
    Body = case Length of
               0 -> <<>>;
               _ when Method =:= "HEAD"; Status =:= 304 -> <<>>;
               _ -> {ok, Bytes} = gen_tcp:recv(Socket, Length, ?TIMEOUT), Bytes
           end,
    {Status, Headers, Body}.

headers(Socket) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, {http_header, _, Name, _, Value}} when is_atom(Name) ->
            [{string:lowercase(atom_to_binary(Name)), Value} | headers(Socket)];
        {ok, {http_header, _, Name, _, Value}} ->
            [{string:lowercase(Name), Value} | headers(Socket)];
        {ok, http_eoh} ->
            []
    end.

header(Name, {_, Headers, _}) -> proplists:get_value(Name, Headers).

status({Status, _, _}) -> Status.
