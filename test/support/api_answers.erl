%% HTTP answers in pieces: functions of a server that send what they are told to, and clients that read it.
-module(api_answers).

-export([functions/0]).
-export([ask/2]).
-export([piece/3]).
-export([finish/2]).
-export([hang_up/2]).
-export([broken/2]).

-import(api_clients, [patience/0]).

%% The option `http'.
functions() ->
    Test = self(),
    #{<<"/pieces">> => fun(#{query := Query}) -> {200, [], {stream, fun(Send) -> Test ! {asked, Query, self()}, told(Send) end}} end}.

told(Send) ->
    receive
        {piece, From, Text} -> From ! {self(), Send(Text)}, told(Send);
        finish -> ok
    end.

%% An answer that has begun, and waits for its pieces.
ask(R, #{port := Port}) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {packet, raw}, {nodelay, true}]),
    Query = integer_to_binary(R),
    ok = gen_tcp:send(Socket, ["GET /pieces?", Query, " HTTP/1.1\r\nhost: localhost\r\n\r\n"]),
    Function = receive {asked, Query, Pid} -> Pid after patience() -> error({not_asked, R}) end,
    #{socket => Socket, function => Function, head => not_read}.

piece(R, N, #{answers := Answers}) ->
    #{R := #{function := Function} = Answer} = Answers,
    Function ! {piece, self(), integer_to_binary(N)},
    ok = receive {Function, Sent} -> Sent after patience() -> error({not_sent, R, N}) end,
    chunk(Answer, integer_to_binary(N)).

finish(R, #{answers := Answers}) ->
    #{R := #{function := Function, socket := Socket} = Answer} = Answers,
    Function ! finish,
    ok = chunk(Answer, <<>>),
    gone(Function),
    gen_tcp:close(Socket).

%% A function that waits for something else is killed after `accept_timeout'.
hang_up(R, #{answers := Answers}) ->
    #{R := #{function := Function, socket := Socket}} = Answers,
    ok = gen_tcp:close(Socket),
    gone(Function).

%% The server has ended: no last chunk, and no function that goes on.
broken(R, #{answers := Answers}) ->
    #{R := #{function := Function, socket := Socket} = Answer} = Answers,
    case line(Answer, Socket) of
        closed -> gone(Function), gen_tcp:close(Socket);
        Line -> error({answer, R, goes_on, Line})
    end.

gone(Function) ->
    Monitor = monitor(process, Function),
    receive {'DOWN', Monitor, process, _, _} -> ok after patience() -> error({function_lives, Function}) end.

%% ---------------------------------------------------------------- chunks

chunk(#{socket := Socket} = Answer, Text) ->
    Size = integer_to_binary(byte_size(Text), 16),
    Size = line(Answer, Socket),
    ok = inet:setopts(Socket, [{packet, raw}]),
    Rest = <<Text/binary, "\r\n">>,
    {ok, Rest} = gen_tcp:recv(Socket, byte_size(Rest), patience()),
    ok.

%% The next line that is none of the head.
line(#{function := Function} = Answer, Socket) ->
    ok = inet:setopts(Socket, [{packet, line}]),
    case get({?MODULE, Function}) of
        undefined -> head(Socket), _ = put({?MODULE, Function}, head_read), line(Answer, Socket);
        head_read ->
            case gen_tcp:recv(Socket, 0, patience()) of
                {ok, Line} -> string:trim(Line);
                {error, Reason} when Reason =:= closed; Reason =:= econnreset; Reason =:= enotconn -> closed
            end
    end.

head(Socket) ->
    case gen_tcp:recv(Socket, 0, patience()) of
        {ok, <<"\r\n">>} -> ok;
        {ok, _} -> head(Socket);
        %% It had not come yet.
        {error, _} -> ok
    end.
