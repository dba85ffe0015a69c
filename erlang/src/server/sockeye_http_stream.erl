%% @private
%% The answer of a function of the option `http' in pieces: `{Status, Headers, {stream, Fun}}'.
%%
%% Fun is run in the process of its request. What it gives waits in the engine until the client takes it, and Fun
%% waits behind a bound of that.
-module(sockeye_http_stream).

-export([run/4]).

%% What is handed over at once. Also the engine's bound of what waits for the client.
-define(PIECE, 65536).

-type head() :: {200..599, [{binary(), binary()}]}.

%% Answers, and runs the function, if there is one: there is none for HEAD. Its failure is the caller's.
-spec run(sockeye_backend:server_id(), non_neg_integer(), head(), [fun((sockeye:send_piece()) -> term())]) -> ok.
run(Id, Token, Head, Funs) ->
    case sockeye_backend:stream_open(Id, Token, Head) of
        true ->
            Owner = self(),
            lists:foreach(fun(Fun) -> Fun(fun(Data) -> send(Owner, Id, Token, Data) end) end, Funs),
            sockeye_backend:stream_close(Id, Token, ok);
        false ->
            ok
    end.

-spec send(pid(), sockeye_backend:server_id(), non_neg_integer(), iodata()) -> ok | {error, closed}.
send(Owner, Id, Token, Data) when Owner =:= self() ->
    pieces(Id, Token, iolist_to_binary(Data));
send(_Owner, _Id, _Token, _Data) ->
    error({sockeye, another_process,
           <<"the pieces of an answer are sent by the process that runs its function: give this one a message instead">>}).

-spec pieces(sockeye_backend:server_id(), non_neg_integer(), binary()) -> ok | {error, closed}.
pieces(Id, Token, <<Piece:?PIECE/binary, Rest/binary>>) when Rest =/= <<>> ->
    case piece(Id, Token, Piece) of
        ok -> pieces(Id, Token, Rest);
        Closed -> Closed
    end;
pieces(Id, Token, Last) ->
    piece(Id, Token, Last).

-spec piece(sockeye_backend:server_id(), non_neg_integer(), binary()) -> ok | {error, closed}.
piece(Id, Token, Piece) ->
    case sockeye_ask:ask(fun(Asked) -> sockeye_backend:stream_send(Id, Token, Piece, Asked) end, infinity) of
        sent -> ok;
        _ -> {error, closed}
    end.
