%% The head of an answer over HTTP/1, and its content, however it says where that ends.
-module(http_content).

-export([head/2]).
-export([read/4]).

%% {Head, Rest}. Over: see tcp_or_tls.
head(Over, Socket) -> head(Over, Socket, <<>>).

head(Over, Socket, Read) ->
    case binary:split(Read, <<"\r\n\r\n">>) of
        [Head, Rest] -> {Head, Rest};
        _ ->
            {ok, More} = tcp_or_tls:recv(Over, Socket),
            head(Over, Socket, <<Read/binary, More/binary>>)
    end.

%% `complete', or `broken' where the connection ends before the content does.
read(Over, Socket, Head, Rest) ->
    case {binary:match(Head, <<"\r\ntransfer-encoding: chunked">>), re:run(Head, "\r\ncontent-length: ([0-9]+)", [{capture, [1], binary}])} of
        {{_, _}, nomatch} -> chunks(Over, Socket, Rest, <<>>);
        {nomatch, {match, [Length]}} -> so_much(Over, Socket, binary_to_integer(Length), Rest);
        {nomatch, nomatch} -> to_end(Over, Socket, Rest)
    end.

so_much(_Over, _Socket, Length, Read) when byte_size(Read) =:= Length ->
    {complete, Read};
so_much(Over, Socket, Length, Read) when byte_size(Read) < Length ->
    case more(Over, Socket) of
        closed -> {broken, Read};
        More -> so_much(Over, Socket, Length, <<Read/binary, More/binary>>)
    end.

to_end(Over, Socket, Read) ->
    case more(Over, Socket) of
        closed -> {complete, Read};
        More -> to_end(Over, Socket, <<Read/binary, More/binary>>)
    end.

chunks(Over, Socket, Read, Content) ->
    case chunk(Read) of
        {<<>>, <<"\r\n">>} -> {complete, Content};
        {<<_, _/binary>> = Chunk, <<"\r\n", Rest/binary>>} ->
            chunks(Over, Socket, Rest, <<Content/binary, Chunk/binary>>);
        _ ->
            case more(Over, Socket) of
                closed -> {broken, Content};
                More -> chunks(Over, Socket, <<Read/binary, More/binary>>, Content)
            end
    end.

chunk(Read) ->
    case binary:split(Read, <<"\r\n">>) of
        [Size, Rest] ->
            Length = binary_to_integer(Size, 16),
            case Rest of
                <<Chunk:Length/binary, Behind/binary>> -> {Chunk, Behind};
                _ -> more
            end;
        _ -> more
    end.

more(Over, Socket) ->
    case tcp_or_tls:recv(Over, Socket) of
        {ok, More} -> More;
        {error, Reason} when Reason =/= timeout -> closed
    end.
