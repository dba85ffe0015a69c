%% @private
%% Checks what `accept/2' and the functions behind HTTP routes return, one
%% clause a key, nothing ignored.
-module(sockeye_decision).

-export([accept/2]).
-export([response/1]).
-export([headers/1]).
-export([is_large/1]).

-export_type([checked/0, stream/0]).

-import(sockeye_bad_option, [bad/2]).

-type checked() :: {accept, map()}
                 | {reject, 200..599, [{binary(), binary()}], binary()}.
-type stream() :: {stream, {200..599, [{binary(), binary()}]}, fun((sockeye:send_piece()) -> term())}.

%% Headers that the handshake decides, and those that say where an answer ends.
-define(FRAMING, [<<"connection">>, <<"content-length">>, <<"transfer-encoding">>]).
-define(HANDSHAKE, [<<"upgrade">>, <<"sec-websocket-accept">>, <<"sec-websocket-protocol">>,
                    <<"sec-websocket-extensions">> | ?FRAMING]).

%% More of them, or a longer name, is a mistake, and nothing that a client would take.
-define(MOST_HEADERS, 1000).
-define(LONGEST_NAME, 1024).
-define(LONGEST_VALUE, 65536).
-define(MOST_BYTES, 1048576).
-define(LONGEST_USER_DATA, 128).
%% Bytes of a decision that are work for a dirty scheduler.
-define(LARGE, 262144).

-spec accept(term(), map()) -> {ok, checked()} | {error, binary()}.
accept({accept, Options}, Request) when is_map(Options) ->
    try {ok, {accept, maps:map(fun(Key, Value) -> option(Key, Value, Request) end, Options)}}
    catch throw:{bad, Why} -> {error, Why}
    end;
accept({reject, Status, Headers, Body}, _Request) ->
    whole(Status, Headers, Body);
accept(Other, _Request) ->
    {error, sockeye_bad_option:expected("{accept, Map} or {reject, Status, Headers, Body}", Other)}.

-spec response(term()) -> {ok, checked() | stream()} | {error, binary()}.
response({Status, Headers, {stream, Fun}}) when is_function(Fun, 1) ->
    try
        ok = may_have_body(Status),
        {ok, {stream, {status(Status), checked(Headers, ?FRAMING)}, Fun}}
    catch throw:{bad, Why} -> {error, Why}
    end;
response({_Status, _Headers, {stream, Other}}) ->
    {error, sockeye_bad_option:expected("{stream, Fun} with a function of one argument", {stream, Other})};
response({Status, Headers, Body}) ->
    whole(Status, Headers, Body);
response(Other) ->
    {error, sockeye_bad_option:expected("{Status, Headers, Body}", Other)}.

-spec whole(term(), term(), term()) -> {ok, checked()} | {error, binary()}.
whole(Status, Headers, Body) ->
    try {ok, {reject, status(Status), checked(Headers, ?FRAMING), body(Status, Body)}}
    catch throw:{bad, Why} -> {error, Why}
    end.

%% Headers of a handshake.
-spec headers(term()) -> {ok, [{binary(), binary()}]} | {error, binary()}.
headers(Headers) ->
    try {ok, checked(Headers, ?HANDSHAKE)}
    catch throw:{bad, Why} -> {error, Why}
    end.

%% Whether to take over what was checked takes long. A handshake has headers only, which are bounded.
-spec is_large(checked()) -> boolean().
is_large({accept, _Options}) -> false;
is_large({reject, _Status, _Headers, Body}) -> byte_size(Body) > ?LARGE.

-spec option(term(), term(), map()) -> term().
option(state, State, _Request) ->
    State;
option(headers, Headers, _Request) ->
    checked(Headers, ?HANDSHAKE);
option(user_data, Text, _Request) ->
    user_data(Text);
option(subprotocol, undefined, _Request) ->
    undefined;
option(subprotocol, Name, #{subprotocols := Offered}) ->
    Bin = binary(subprotocol, Name),
    case lists:member(Bin, Offered) of
        true -> Bin;
        false -> bad("subprotocol: ~0tp is not among those the client offers, ~0tp", [Name, Offered])
    end;
option(Key, Value, _Request) ->
    case sockeye_options:connection_option(Key, Value) of
        {ok, Parsed} -> Parsed;
        {error, Why} -> bad("~0tp: ~ts", [Key, Why])
    end.

%% What an operator sees of whose connection it is.
-spec user_data(term()) -> binary().
user_data(Text) ->
    Bin = binary(user_data, Text),
    byte_size(Bin) > ?LONGEST_USER_DATA
        andalso bad("user_data: ~b bytes, more than ~b", [byte_size(Bin), ?LONGEST_USER_DATA]),
    is_list(unicode:characters_to_list(Bin)) orelse bad("user_data: ~0tp is not UTF-8", [Bin]),
    Bin.

-spec status(term()) -> 200..599.
status(Status) when is_integer(Status), Status >= 200, Status =< 599 -> Status;
status(Status) -> bad("expected a status from 200 to 599, got ~0tp", [Status]).

-spec body(term(), term()) -> binary().
body(Status, Body) ->
    case binary(body, Body) of
        <<>> ->
            <<>>;
        Bin ->
            ok = may_have_body(Status),
            Bin
    end.

-spec may_have_body(term()) -> ok.
may_have_body(Status) when Status =:= 204; Status =:= 205; Status =:= 304 ->
    bad("an answer with status ~b has no body", [Status]);
may_have_body(_Status) ->
    ok.

-spec checked(term(), [binary()]) -> [{binary(), binary()}].
checked(Headers, Reserved) ->
    Checked = headers(Headers, Reserved, 0),
    lists:sum([byte_size(Name) + byte_size(Value) || {Name, Value} <- Checked]) > ?MOST_BYTES
        andalso bad("headers: more than ~b bytes, all together", [?MOST_BYTES]),
    Checked.

-spec headers(term(), [binary()], non_neg_integer()) -> [{binary(), binary()}].
headers([_ | _], _Reserved, ?MOST_HEADERS) ->
    bad("headers: more than ~b of them", [?MOST_HEADERS]);
headers([Header | Rest], Reserved, N) ->
    [header(Header, Reserved) | headers(Rest, Reserved, N + 1)];
headers([], _Reserved, _) ->
    [];
headers(Headers, _Reserved, _) ->
    bad("headers: expected a list of {Name, Value}, got ~0tp", [Headers]).

-spec header(term(), [binary()]) -> {binary(), binary()}.
header({Name, Value}, Reserved) ->
    Bin = binary(headers, Name),
    byte_size(Bin) > ?LONGEST_NAME
        andalso bad("headers: the name of one has ~b bytes, more than ~b", [byte_size(Bin), ?LONGEST_NAME]),
    sockeye_options:is_token(Bin) orelse bad("headers: ~0tp is not a header's name", [Name]),
    Whole = binary(headers, Value),
    byte_size(Whole) > ?LONGEST_VALUE
        andalso bad("headers: the value of ~ts has ~b bytes, more than ~b", [Bin, byte_size(Whole), ?LONGEST_VALUE]),
    Clean = value(Bin, Whole),
    Low = string:lowercase(Bin),
    lists:member(Low, Reserved) andalso not ends_connection(Low, Clean, Reserved)
        andalso bad("headers: ~ts is set by the server", [Bin]),
    {Bin, Clean};
header(Header, _Reserved) ->
    bad("headers: expected {Name, Value}, got ~0tp", [Header]).

%% All that an answer may say of its connection is that it is the last.
-spec ends_connection(binary(), binary(), [binary()]) -> boolean().
ends_connection(<<"connection">>, Value, ?FRAMING) -> string:lowercase(Value) =:= <<"close">>;
ends_connection(_, _, _) -> false.

%% A line break here would let an answer be split.
-spec value(binary(), binary()) -> binary().
value(Name, Value) ->
    Clean = lists:all(fun(C) -> C >= $\s andalso C =/= 127 orelse C =:= $\t end,
                      binary_to_list(Value)),
    case Clean andalso is_list(unicode:characters_to_list(Value)) of
        %% What stands around a value is none of it, and malformed in HTTP/2.
        true -> string:trim(Value, both, " \t");
        false -> bad("headers: the value of ~ts is not UTF-8 without control characters", [Name])
    end.

-spec binary(atom(), term()) -> binary().
binary(What, Value) ->
    try iolist_to_binary(Value)
    catch error:badarg -> bad("~0tp: expected a binary or iodata, got ~0tp", [What, Value])
    end.
