%% Every way in which the JSON text of a peer becomes a term, each with what it makes of a text.
%%
%% A way is kept open for many texts: `Take(Text, Cuts)' sends the text, in fragments that end at these places,
%% and returns the term that came out.
-module(json_ways).

-export([all/0]).
-export([with/2]).

-define(TIMEOUT, 60000).
-define(LIMITS, max_message_size => 64 * 1024 * 1024, max_depth => 256, max_fragments => 100000).

all() ->
    [owner, batch, one, pool, per_connection, client_owner, client_handler, connect_recv, decode, codec].

%% Test is called with Take.
with(Way, Test) when Way =:= owner; Way =:= batch ->
    served(#{batch => Way =:= batch}, fun event/0, Test);
with(Way, Test) when Way =:= one; Way =:= pool; Way =:= per_connection ->
    Self = self(),
    Frame = fun({json, Term}, _Conn, S) -> Self ! {term, Term}, {[], S} end,
    Processes = case Way of one -> one; pool -> 3; per_connection -> per_connection end,
    served(#{handler => {fun_handler, #{frame => Frame}}, processes => Processes}, fun term/0, Test);
with(Way, Test) when Way =:= client_owner; Way =:= client_handler; Way =:= connect_recv ->
    test_support:with_server(#{active => true}, fun(Port, _) -> client(Way, Port, Test) end);
with(decode, Test) ->
    Test(fun(Text, _Cuts) -> {ok, Term} = sockeye_json:decode(Text, #{max_depth => 256}), Term end);
with(codec, Test) ->
    %% It gives texts, which who owns the socket decodes.
    one_mode:with_codec(fun() -> with_codec(Test) end).

with_codec(Test) ->
    {ok, Codec} = sockeye_codec:new(server, #{max_message_size => 64 * 1024 * 1024, max_fragments => 100000}),
    Test(fun(Text, Cuts) ->
        {[{text, Whole}], <<>>} = sockeye_codec:decode(Codec, frames(Text, Cuts)),
        {ok, Term} = sockeye_json:decode(Whole, #{max_depth => 256}),
        Term
    end).

served(Options, Next, Test) ->
    test_support:with_server(Options#{active => true, ?LIMITS}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        Test(fun(Text, Cuts) ->
            ok = ws_client:raw(Socket, frames(Text, Cuts)),
            Next()
        end)
    end).

%% The server of the other end has this process as its owner.
client(Way, Port, Test) ->
    Self = self(),
    Url = "ws://127.0.0.1:" ++ integer_to_list(Port),
    {Stop, Next} =
        case Way of
            client_owner ->
                %% A process of its own, since the server's owner gets the same kind of message.
                Owner = spawn_link(fun() -> owner(Self) end),
                {ok, Client} = sockeye_client:start_link(Url, Owner, #{active => true, ?LIMITS}),
                {fun() -> sockeye_client:stop(Client) end, fun term/0};
            client_handler ->
                Frame = fun({json, Term}, _Conn, S) -> Self ! {term, Term}, {[], S} end,
                {ok, Client} = sockeye_client:start_link(Url, {fun_handler, #{frame => Frame}}, #{?LIMITS}),
                {fun() -> sockeye_client:stop(Client) end, fun term/0};
            connect_recv ->
                {ok, Conn} = sockeye_client:connect(Url, #{?LIMITS}),
                {fun() -> sockeye_client:close(Conn) end,
                 fun() -> {ok, {json, Term}} = sockeye_client:recv(Conn, ?TIMEOUT), Term end}
        end,
    Peer = receive {sockeye, Opened, {open, _}} -> Opened after ?TIMEOUT -> error(not_open) end,
    try Test(fun(Text, Cuts) -> ok = pieces(Peer, Text, Cuts), Next() end)
    after Stop()
    end.

owner(To) ->
    receive
        {sockeye, _, {json, Term}} -> To ! {term, Term}, owner(To);
        {sockeye, _, {closed, _, _}} -> ok;
        _ -> owner(To)
    end.

event() ->
    receive
        {sockeye, _, {json, Term}} -> Term;
        {sockeye, _, {batch, [{open, _}, {json, Term}]}} -> Term;
        {sockeye, _, {open, _}} -> event();
        {sockeye, _, Other} -> error({event, Other})
    after ?TIMEOUT -> error(no_event)
    end.

term() ->
    receive {term, Term} -> Term after ?TIMEOUT -> error(no_term) end.

pieces(Peer, Text, []) ->
    send(Peer, {text, Text});
pieces(Peer, Text, Cuts) ->
    [First | Rest] = cut(Text, 0, Cuts),
    ok = send(Peer, {stream, text, first, First}),
    {More, [Last]} = lists:split(length(Rest) - 1, Rest),
    [ok = send(Peer, {stream, text, more, Piece}) || Piece <- More],
    send(Peer, {stream, text, last, Last}).

%% The queue of the peer may be full: it is read all the while.
send(Peer, Frame) ->
    case sockeye:send(Peer, Frame) of
        {error, busy} -> receive after 5 -> send(Peer, Frame) end;
        ok -> ok
    end.

frames(Text, []) ->
    ws_client:encode(1, Text);
frames(Text, Cuts) ->
    [First | Rest] = cut(Text, 0, Cuts),
    {More, [Last]} = lists:split(length(Rest) - 1, Rest),
    [ws_client:encode(1, First, #{fin => 0}), [ws_client:encode(0, Piece, #{fin => 0}) || Piece <- More],
     ws_client:encode(0, Last)].

cut(Text, From, []) -> [binary:part(Text, From, byte_size(Text) - From)];
cut(Text, From, [To | Rest]) -> [binary:part(Text, From, To - From) | cut(Text, To, Rest)].
