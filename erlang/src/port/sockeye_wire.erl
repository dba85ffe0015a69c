%% @private
%% What the VM and the engine's process say to each other: packets of whole sections, terms in the external
%% format. Nothing here has a state or does I/O.
-module(sockeye_wire).

-export([hello/1, welcome/1, call/4, cast/3, commands/4, publish/2, frame/2, down/1, ping/1, next/1, whole/2, events/1, term/1,
         existing_atoms/1, atoms/0, numbers/0]).

-export_type([sections/0]).
-export_type([id/0, flags/0]).

%% Another number is another protocol.
-define(PROTOCOL, 1).
%% A longer body is cut into pieces.
-define(MOST_BODY, 262144).

-define(CALL, 1).
-define(COMMANDS, 2).
-define(DOWN, 3).
-define(CAST, 5).
-define(PING, 6).
-define(FRAME, 7).
-define(PIECE, 8).
-define(LAST, 9).
-define(PUBLISH, 10).
%% What a term is the value of, see native/seam/src/calls/pairs.rs.
-define(WHOLE, 0).
-define(JSON, 1).
-define(TEXT, 2).
-define(BINARY, 3).
%% What 64 bits hold.
-define(IS_ID(N), is_integer(N), N >= 0, N < 1 bsl 64).

-type sections() :: {Bytes :: pos_integer(), [iodata()]}.
%% Those of one message, in their order; none is longer than a packet may be.

-type id() :: non_neg_integer().
%% The engine's number of a process.

-type flags() :: 0..7.
%% Of a batch. 1: there are more events behind it. 2: a connection has opened or ended. 4: keys of its JSON are to be
%% atoms where the VM has these.

-type came() :: {answer, From :: binary(), iodata()}
              | {message, id(), binary()}
              | {batch, id(), flags(), iodata()}
              | {watch, id(), binary()}
              | {unwatch, id()}
              | {pong, non_neg_integer()}
              | {grant, Conn :: non_neg_integer(), Bytes :: non_neg_integer()}
              | {piece, Stream :: non_neg_integer(), binary()}
              | {last, Stream :: non_neg_integer(), Kind :: byte(), binary()}.

%% The first packet of the VM.
-spec hello(binary()) -> binary().
hello(Secret) ->
    term_to_binary({sockeye_hello, ?PROTOCOL, version(), Secret}).

%% What the engine says to that: how many descriptors it may have.
-spec welcome(binary()) -> {ok, pos_integer() | infinity} | {error, binary()}.
welcome(Packet) ->
    Version = version(),
    case term(Packet) of
        {ok, {sockeye_hello, ?PROTOCOL, Version, #{max_descriptor := Most}}} when is_integer(Most), Most > 0 -> {ok, Most};
        {ok, {sockeye_hello, ?PROTOCOL, Version, #{}}} -> {ok, infinity};
        {ok, {sockeye_hello, ?PROTOCOL, Other, #{}}} -> {error, other_version(Other)};
        {ok, {sockeye_refused, {version, Other}}} -> {error, other_version(Other)};
        {ok, {sockeye_hello, Other, _, _}} -> {error, other_protocol(Other)};
        {ok, {sockeye_refused, {protocol, Other}}} -> {error, other_protocol(Other)};
        {ok, {sockeye_refused, secret}} -> {error, <<"it did not take the secret">>};
        _ -> {error, <<"its first words make no sense: it is another program, or of another version">>}
    end.

-spec other_version(term()) -> binary().
other_version(Other) ->
    sockeye_shown:format("it is of version ~ts, and this is sockeye ~ts: build both anew", [shown(Other), version()]).

-spec other_protocol(term()) -> binary().
other_protocol(Other) ->
    sockeye_shown:format("it speaks protocol ~ts, and this is sockeye ~ts, which speaks ~b: build both anew",
                     [shown(Other), version(), ?PROTOCOL]).

-spec shown(term()) -> binary().
shown(Text) when is_binary(Text) -> Text;
shown(Other) -> sockeye_shown:short(Other).

-spec version() -> binary().
version() ->
    case application:get_key(sockeye, vsn) of
        {ok, Version} -> list_to_binary(Version);
        undefined -> <<>>
    end.

%% `From' comes back with the answer.
-spec call(binary(), pid(), atom(), [term()]) -> sections().
call(From, Caller, Function, Args) ->
    section(?CALL, [<<(byte_size(From)):16>>, From | term_to_iovec({Caller, Function, Args})]).

-spec cast(pid(), atom(), [term()]) -> sections().
cast(Caller, Function, Args) ->
    section(?CAST, term_to_iovec({Caller, Function, Args})).

%% Acknowledges so many batches; the next ones have at most `Max' events, or what they had.
-spec commands(id(), 0..2, 0..256, list()) -> sections().
commands(Id, Acked, Max, []) ->
    section(?COMMANDS, <<Id:64, Acked, Max:16>>);
commands(Id, Acked, Max, Commands) ->
    {Heads, Terms} = heads(Commands, <<>>, []),
    section(?COMMANDS, [<<Id:64, Acked, Max:16, (byte_size(Heads)):32>>, Heads | term_to_iovec(Terms)]).

%% Connections and what each command is stand in front, in bytes: each atom of a term costs a look at all their names.
-spec heads(list(), binary(), list()) -> {binary(), list()}.
heads([{sockeye_conn, N}, {json, Value} | Rest], Heads, Terms) when ?IS_ID(N) ->
    heads(Rest, <<Heads/binary, N:64, ?JSON>>, [Value | Terms]);
heads([{sockeye_conn, N}, {text, Bytes} | Rest], Heads, Terms) when ?IS_ID(N) ->
    heads(Rest, <<Heads/binary, N:64, ?TEXT>>, [Bytes | Terms]);
heads([{sockeye_conn, N}, {binary, Bytes} | Rest], Heads, Terms) when ?IS_ID(N) ->
    heads(Rest, <<Heads/binary, N:64, ?BINARY>>, [Bytes | Terms]);
heads([Conn, Frame | Rest], Heads, Terms) ->
    heads(Rest, <<Heads/binary, 0:64, ?WHOLE>>, [Frame, Conn | Terms]);
heads([], Heads, Terms) ->
    {Heads, lists:reverse(Terms)}.

%% The connections and events of a batch, in turn.
-spec events(iodata()) -> {ok, list()} | error.
events(<<Size:32, Heads:Size/binary, Terms/binary>>) ->
    case term(Terms) of
        {ok, List} ->
            try {ok, pairs(Heads, List, {sockeye_conn, 0})}
            catch error:function_clause -> error
            end;
        error -> error
    end;
events(Bytes) when is_binary(Bytes) ->
    error;
events(Pieces) ->
    events(iolist_to_binary(Pieces)).

%% Several events of one connection share its term.
-spec pairs(binary(), [term()], {sockeye_conn, non_neg_integer()}) -> list().
pairs(<<N:64, Shape, Heads/binary>>, [Term | Terms], {_, N} = Conn) ->
    [Conn, event(Shape, Term) | pairs(Heads, Terms, Conn)];
pairs(<<N:64, _, _/binary>> = Heads, Terms, {_, Last}) when N =/= Last ->
    pairs(Heads, Terms, {sockeye_conn, N});
pairs(<<>>, [], _Conn) ->
    [].

-spec event(byte(), term()) -> term().
event(?WHOLE, Event) -> Event;
event(?JSON, Value) -> {json, Value};
event(?TEXT, Bytes) -> {text, Bytes};
event(?BINARY, Bytes) -> {binary, Bytes}.

%% `[Note, ServerId, To, Frame, Except]': for all connections of a server or the subscribers of a topic, with what the process of
%% this Id gets back if it fails.
-spec publish(id(), [term(), ...]) -> sections().
publish(Id, What) ->
    section(?PUBLISH, [<<Id:64>> | term_to_iovec(What)]).

%% A frame, in the external format and not longer than a grant, that was taken for this connection.
-spec frame(non_neg_integer(), iodata()) -> sections().
frame(Conn, Frame) ->
    section(?FRAME, [<<Conn:64>> | Frame]).

-spec down(id()) -> sections().
down(Id) ->
    section(?DOWN, <<Id:64>>).

-spec ping(non_neg_integer()) -> sections().
ping(N) ->
    section(?PING, <<N:64>>).

-spec section(byte(), iodata()) -> sections().
section(Kind, Body) ->
    case iolist_size(Body) of
        Size when Size =< ?MOST_BODY -> {Size + 5, [[<<Kind, Size:32>> | Body]]};
        %% The number is not in use by another one that is unfinished.
        _ -> pieces(Kind, erlang:unique_integer([monotonic, positive]), iolist_to_binary(Body), [], 0)
    end.

-spec pieces(byte(), pos_integer(), binary(), [iodata()], non_neg_integer()) -> sections().
pieces(Kind, Stream, <<Bytes:?MOST_BODY/binary, Rest/binary>>, Pieces, Sum) when Rest =/= <<>> ->
    pieces(Kind, Stream, Rest, [[<<?PIECE, (?MOST_BODY + 4):32, Stream:32>>, Bytes] | Pieces], Sum + ?MOST_BODY + 9);
pieces(Kind, Stream, Last, Pieces, Sum) ->
    Size = byte_size(Last) + 5,
    {Sum + Size + 5, lists:reverse(Pieces, [[<<?LAST, Size:32, Stream:32, Kind>>, Last]])}.

%% The first section of a packet or of what is left of one; `error' for what is none.
-spec next(binary()) -> {came(), Rest :: binary()} | none | error.
next(<<Kind, Size:32, Body:Size/binary, Rest/binary>>) ->
    case came(Kind, Body) of
        error -> error;
        Came -> {Came, Rest}
    end;
next(<<>>) ->
    none;
next(_) ->
    error.

-spec came(byte(), binary()) -> came() | error.
came(3, <<Id:64, Flags, Events/binary>>) when Flags =< 7 -> {batch, Id, Flags, Events};
came(1, <<Size:16, From:Size/binary, Answer/binary>>) -> {answer, From, Answer};
came(2, <<Id:64, Message/binary>>) -> {message, Id, Message};
came(4, <<Id:64, Whom/binary>>) -> {watch, Id, Whom};
came(5, <<Id:64>>) -> {unwatch, Id};
came(6, <<N:64>>) -> {pong, N};
came(7, <<Conn:64, Bytes:32>>) -> {grant, Conn, Bytes};
came(?PIECE, <<Stream:32, Bytes/binary>>) -> {piece, Stream, Bytes};
came(?LAST, <<Stream:32, Kind, Bytes/binary>>) when Kind < ?PIECE -> {last, Stream, Kind, Bytes};
came(_Kind, _Body) -> error.

%% The section of a body that came in pieces. Who a batch or an answer is for puts the pieces together itself.
-spec whole(byte(), [binary(), ...]) -> came() | error.
whole(3, [<<Id:64, Flags, Events/binary>> | Rest]) when Flags =< 7 -> {batch, Id, Flags, [Events | Rest]};
whole(1, [<<Size:16, From:Size/binary, Answer/binary>> | Rest]) -> {answer, From, [Answer | Rest]};
whole(Kind, Pieces) -> came(Kind, iolist_to_binary(Pieces)).

%% A term that makes no atom, and whose memory is in proportion to its bytes: none that is compressed.
-spec term(iodata()) -> {ok, term()} | error.
term(<<131, 80, _/binary>>) ->
    error;
term(Bytes) when is_binary(Bytes) ->
    try {ok, binary_to_term(Bytes, [safe])}
    catch error:badarg -> error
    end;
term(Pieces) ->
    term(iolist_to_binary(Pieces)).

%% What JSON has become, with each key of an object an atom where the VM has that: only the VM knows.
-spec existing_atoms(term()) -> term().
existing_atoms(Map) when is_map(Map) ->
    maps:from_list([{existing_atom(Key), existing_atoms(Value)} || {Key, Value} <- maps:to_list(Map)]);
existing_atoms({Pairs}) ->
    {[{existing_atom(Key), existing_atoms(Value)} || {Key, Value} <- Pairs]};
existing_atoms(List) when is_list(List) ->
    [existing_atoms(Element) || Element <- List];
existing_atoms(Other) ->
    Other.

-spec existing_atom(binary()) -> atom() | binary().
existing_atom(Key) ->
    try binary_to_existing_atom(Key)
    catch error:_ -> Key
    end.

%% The numbers of the atoms for JSON's literals in the table of this VM: by such a number it finds an atom without a look at their names.
%% No manual has this form. So each is tried as the engine will write it, and where a VM reads something else there are no numbers.
-spec numbers() -> #{atom() => 0..65535}.
numbers() ->
    maps:from_list([{Atom, N} || Atom <- [true, false, null, undefined, nil], N <- number(Atom, 0)]).

-spec number(atom(), non_neg_integer()) -> [0..65535].
number(Atom, N) when N < 65536 ->
    try binary_to_term(<<131, 108, 2:32, 73, N:16, 73, N:16, 106>>, [safe]) of
        [Atom, Atom] -> [N];
        [_, _] -> number(Atom, N + 1);
        _ -> []
    catch error:badarg -> []
    end;
number(_Atom, _) ->
    [].

%% What the engine may say of its own (native/seam/src/atoms.rs): here, so that the VM knows these names.
-spec atoms() -> [atom()].
atoms() ->
    [accept, accept_error, accept_errors, accept_pauses, accepted, acceptor, active, address, age, alert, all, alpn, answering,
     already_running, bad_certificate, bad_handshake, bad_host, bad_location, bad_request, badarg, binary, body, busy,
     bytes_in, bytes_out, bytes_saved, cipher, close, closed, closes, connection, connection_rate, connections, deflate,
     delayed_calls, denied, depth, done, draining, dropped, duplicate_key, eacces, eaddrinuse, eaddrnotavail, eafnosupport,
     econnrefused, econnreset, ehostunreach, einval, emfile, ending, enetunreach, engine, enodev, enoent, enotdir, eof,
     epipe, erofs, error, etimedout, expired, extension, failed, failure, false, first, frames_in, frames_out, gate, handler,
     headers, held, host, http_version, inboxes, insecure, invalid, invalid_json, json, last, left, local, malformed,
     max_connections, max_connections_per_address, max_descriptor, memory, message, method, more, no_descriptor, no_owner, no_process,
     none, not_allowed, not_json, not_running, not_streaming, not_tls, not_utf8, not_yet_valid, number_range, nxdomain, ok,
     once, open, origin, os_pid, other, panic, passive, path, peer, peer_cert, pin, ping, plain, plain_batch, pong, port,
     protocol, proxied, proxy, proxy_errors, query, queued_calls, raise, reason, redirect, refused, rejected, requests,
     return, revoked, secret, send_queue, send_queues, sent, servers, shards, sni, sockeye_ask, sockeye_conn,
     sockeye_dialled, sockeye_disconnected, sockeye_down, sockeye_event, sockeye_failed, sockeye_frame, sockeye_given,
     sockeye_gone, sockeye_hello, sockeye_refused, sockeye_stopped, sockeye_stream_gone, sockeye_topics, sockeye_unlistened,
     sockeye_untraced, sockeye_whereis, state, status, stream, streaming, struct, subprotocol, subprotocols, syntax, text,
     timeout, tls, 'tlsv1.2', 'tlsv1.3', too_large, too_many, too_many_subscriptions, topics, trailing_data, true,
     unanswered, unattached, unavailable, uncompressed, undefined, unknown_ca, upgrade, upstream, upstream_answers, upstream_failed, user_data, utf8, version].
