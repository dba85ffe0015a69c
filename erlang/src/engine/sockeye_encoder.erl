%% @private
%% The option `encoder': a function of a server or client for terms that have no JSON form.
%%
%% A frame is tried without it first, so that one which is JSON costs nothing more. Only the frames of a handler, which leave
%% many at a time and must not overtake each other, are looked at before.
-module(sockeye_encoder).

-export([new_table/0]).
-export([set/2]).
-export([forget/1]).
-export([of_server/1]).
-export([of_conn/1]).
-export([term/2]).
-export([commands/2]).
-export([retry/4]).

-export_type([encoder/0]).

-type encoder() :: fun((term()) -> term()).

-define(TABLE, ?MODULE).
%% Answers of the encoder within each other, for one that gives ever more.
-define(DEEPEST, 256).

%% It belongs to the calling process. Rows: {Server, Encoder}, of those that have one.
-spec new_table() -> ok.
new_table() ->
    _ = ets:new(?TABLE, [named_table, public, set, {read_concurrency, true}]),
    ok.

-spec set(sockeye_backend:server_id(), encoder() | none) -> ok.
set(_Id, none) -> ok;
set(Id, Encoder) -> true = ets:insert(?TABLE, {Id, Encoder}), ok.

%% The application may have stopped.
-spec forget(sockeye_backend:server_id()) -> ok.
forget(Id) ->
    try true = ets:delete(?TABLE, Id), ok
    catch error:badarg -> ok
    end.

-spec of_server(sockeye_backend:server_id()) -> encoder() | none.
of_server(Id) when is_pid(Id) ->
    sockeye_test_engine:encoder(Id);
of_server(Id) ->
    try ets:lookup(?TABLE, Id) of
        [{_, Encoder}] -> Encoder;
        [] -> none
    catch
        error:badarg -> none
    end.

%% Of several, that of the first that is open.
-spec of_conn(sockeye:conn() | [sockeye:conn()]) -> encoder() | none.
of_conn([Conn | Rest]) ->
    case sockeye_backend:conn_server(Conn) of
        {ok, Id} -> of_server(Id);
        {error, closed} -> of_conn(Rest)
    end;
of_conn([]) -> none;
of_conn(Conn) -> of_conn([Conn]).

%% Sends again what has this part that is no JSON.
-spec retry(encoder() | none, term(), term(), fun((term()) -> Result)) -> Result | {error, {not_json, term(), Path :: binary()}}.
retry(none, Frames, Part, _Send) ->
    {error, {not_json, Part, sockeye_json_path:in_frames(Frames, Part)}};
retry(Encoder, Frames, _Part, Send) ->
    Encoded = frames(Frames, Encoder),
    case Send(Encoded) of
        {error, {not_json, Part}} -> retry(none, Encoded, Part, Send);
        Result -> Result
    end.

%% What a callback returned.
-spec commands(term(), encoder()) -> term().
commands({Commands, State}, Encoder) when is_list(Commands) -> {each(Commands, Encoder), State};
commands({Commands, State, hibernate}, Encoder) when is_list(Commands) -> {each(Commands, Encoder), State, hibernate};
commands({reply, Reply, Commands, State}, Encoder) -> {reply, Reply, each(Commands, Encoder), State};
commands({reply, Reply, Commands, State, hibernate}, Encoder) -> {reply, Reply, each(Commands, Encoder), State, hibernate};
commands(Other, _Encoder) -> Other.

-spec each(term(), encoder()) -> term().
each([{reply, Frames} | Rest], Encoder) -> [{reply, frames(Frames, Encoder)} | each(Rest, Encoder)];
each([{send, To, Frames} | Rest], Encoder) -> [{send, To, frames(Frames, Encoder)} | each(Rest, Encoder)];
each([{Many, Frame} | Rest], Encoder) when Many =:= broadcast; Many =:= broadcast_from ->
    [{Many, frames(Frame, Encoder)} | each(Rest, Encoder)];
each([{Many, Topic, Frame} | Rest], Encoder) when Many =:= publish; Many =:= publish_from ->
    [{Many, Topic, frames(Frame, Encoder)} | each(Rest, Encoder)];
each([Other | Rest], Encoder) -> [Other | each(Rest, Encoder)];
each(End, _Encoder) -> End.

%% What is no frame is for others to refuse.
-spec frames(term(), encoder()) -> term().
frames([Frame | Rest], Encoder) -> [frames(Frame, Encoder) | frames(Rest, Encoder)];
frames({uncompressed, Frame}, Encoder) -> {uncompressed, frames(Frame, Encoder)};
frames({json, Term}, Encoder) -> {json, term(Term, Encoder)};
frames(Map, Encoder) when is_map(Map) ->
    case term(Map, Encoder) of
        Same when is_map(Same) -> Same;
        Other -> {json, Other}
    end;
frames(Other, _Encoder) -> Other.

%% The term with what the encoder makes of all in it that JSON does not know.
-spec term(term(), encoder()) -> term().
term(Term, Encoder) -> value(Term, Encoder, ?DEEPEST).

-spec value(term(), encoder(), non_neg_integer()) -> term().
value(Term, _Encoder, _Left) when is_number(Term); is_atom(Term); is_binary(Term); Term =:= [] -> Term;
value(#{'__struct__' := Module} = Struct, Encoder, Left) when is_atom(Module) -> unknown(Struct, Encoder, Left);
value(Map, Encoder, Left) when is_map(Map) ->
    case lists:all(fun is_key/1, maps:keys(Map)) of
        true -> maps:map(fun(_Key, Value) -> value(Value, Encoder, Left) end, Map);
        %% Not a map, in which two keys could become one.
        false -> {[pair(Pair, Encoder, Left) || Pair <- maps:to_list(Map)]}
    end;
value([_ | _] = List, Encoder, Left) ->
    try length(List) of
        _ -> [value(Term, Encoder, Left) || Term <- List]
    catch
        error:badarg -> unknown(List, Encoder, Left)
    end;
value({json_raw, _} = Raw, _Encoder, _Left) -> Raw;
value({Pairs}, Encoder, Left) when is_list(Pairs) ->
    try length(Pairs) of
        _ -> {[pair(Pair, Encoder, Left) || Pair <- Pairs]}
    catch
        error:badarg -> unknown({Pairs}, Encoder, Left)
    end;
value(Term, Encoder, Left) -> unknown(Term, Encoder, Left).

-spec pair(term(), encoder(), non_neg_integer()) -> term().
pair({Key, Value}, Encoder, Left) ->
    {case is_key(Key) of
         true -> Key;
         false -> unknown(Key, Encoder, Left)
     end, value(Value, Encoder, Left)};
pair(Other, _Encoder, _Left) ->
    Other.

-spec is_key(term()) -> boolean().
is_key(Key) -> is_binary(Key) orelse is_atom(Key) orelse is_integer(Key).

-spec unknown(term(), encoder(), non_neg_integer()) -> term().
unknown(Term, _Encoder, 0) ->
    Term;
unknown(Term, Encoder, Left) ->
    try Encoder(Term) of
        Term -> Term;
        Other -> value(Other, Encoder, Left - 1)
    catch
        %% A badarg would look like one of the caller's.
        Class:Reason:Stack -> erlang:raise(error, {encoder, Class, Reason}, Stack)
    end.
