%% @private
%% How many bytes of frames may be sent to a connection without a call to the engine's process.
%%
%% With an answer to a send the engine may grant so many bytes: frames within them it takes later, whatever waits then. It
%% tells when a connection takes none any more. What it has to be asked about is all else: a frame without a grant, a
%% large one, one of several, and one whose checks are not made here.
-module(sockeye_port_grants).

-export([new_table/0]).
-export([forget_all/0]).
-export([set/2]).
-export([admit/2]).

%% Rows: {Conn, Bytes}, where less than 0 stands for none.
-define(TABLE, ?MODULE).
%% One frame may have so many bytes.
-define(MOST, 16384).
%% What a frame has beside its payload, at most.
-define(HEAD, 14).

%% It belongs to the calling process.
-spec new_table() -> ok.
new_table() ->
    _ = ets:new(?TABLE, [named_table, public, set, {write_concurrency, true}, {read_concurrency, true}]),
    ok.

%% The engine has ended.
-spec forget_all() -> ok.
forget_all() ->
    true = ets:delete_all_objects(?TABLE),
    ok.

%% The engine grants so many bytes; 0 when the connection takes no frame any more.
-spec set(non_neg_integer(), non_neg_integer()) -> ok.
set(Conn, 0) ->
    true = ets:delete(?TABLE, Conn),
    ok;
set(Conn, Bytes) ->
    true = ets:insert(?TABLE, {Conn, Bytes}),
    ok.

%% The sections that carry the frame, if it may go without a question.
-spec admit(sockeye:conn(), term()) -> {ok, sockeye_wire:sections()} | no.
admit({sockeye_conn, Conn}, Frame) when is_integer(Conn) ->
    try ets:lookup_element(?TABLE, Conn, 2) of
        Left when Left > ?HEAD ->
            case checked(Frame) of
                {Most, Bytes} when Most =< ?MOST -> taken(Conn, Most + ?HEAD, Bytes);
                _ -> no
            end;
        _ ->
            no
    catch
        error:badarg -> no
    end;
admit(_Conn, _Frame) ->
    no.

-spec taken(non_neg_integer(), pos_integer(), iodata()) -> {ok, sockeye_wire:sections()} | no.
taken(Conn, Bytes, Frame) ->
    try ets:update_counter(?TABLE, Conn, {2, -Bytes, -1, -1}) of
        Left when Left >= 0 -> {ok, sockeye_wire:frame(Conn, Frame)};
        _ -> no
    catch
        error:badarg -> no
    end.

%% A frame in the external format, and how many bytes its payload has at most; `no' if the engine has to say what it is.
-spec checked(term()) -> {non_neg_integer(), iodata()} | no.
checked({text, Text}) when is_binary(Text) ->
    case is_utf8(Text) of
        true -> {byte_size(Text), [<<131, 104, 2, 119, 4, "text", 109, (byte_size(Text)):32>>, Text]};
        false -> no
    end;
checked({binary, Bytes}) when is_binary(Bytes) ->
    {byte_size(Bytes), [<<131, 104, 2, 119, 6, "binary", 109, (byte_size(Bytes)):32>>, Bytes]};
checked({json, Term}) ->
    json(Term);
checked(Term) when is_map(Term) ->
    json(Term);
checked(_Frame) ->
    no.

-spec is_utf8(binary()) -> boolean().
is_utf8(Text) when byte_size(Text) =< ?MOST ->
    unicode:characters_to_binary(Text) =:= Text;
is_utf8(_Text) ->
    false.

-spec json(term()) -> {non_neg_integer(), iodata()} | no.
json(Term) ->
    try size(Term, 0) of
        Most -> {Most, term_to_iovec({json, Term})}
    catch
        throw:no -> no
    end.

%% What the text of a term has at most, with a comma. Whatever there is doubt about is the engine's matter.
-spec size(term(), non_neg_integer()) -> non_neg_integer().
size(_Term, Sum) when Sum > ?MOST -> throw(no);
size(Term, Sum) when is_integer(Term), Term < 1 bsl 63, Term >= -(1 bsl 63) -> Sum + 22;
size(Term, Sum) when is_float(Term) -> Sum + 32;
size(Term, Sum) when is_binary(Term) -> Sum + text(Term);
size(Term, Sum) when Term =:= true; Term =:= false; Term =:= null -> Sum + 6;
size(Term, Sum) when is_list(Term) -> list(Term, Sum + 3);
size(Term, Sum) when is_map(Term) -> pairs(maps:next(maps:iterator(Term)), none, Sum + 3);
size(_Term, _Sum) -> throw(no).

-spec list(term(), non_neg_integer()) -> non_neg_integer().
list([Term | Rest], Sum) -> list(Rest, size(Term, Sum));
list([], Sum) -> Sum;
list(_Rest, _Sum) -> throw(no).

%% Keys of both kinds may be the same in JSON.
-spec pairs(none | {term(), term(), maps:iterator()}, none | binary | atom, non_neg_integer()) -> non_neg_integer().
pairs({Key, Value, Next}, Kind, Sum) when is_binary(Key), Kind =/= atom ->
    pairs(maps:next(Next), binary, size(Value, Sum + text(Key)));
pairs({Key, Value, Next}, Kind, Sum) when is_atom(Key), Kind =/= binary ->
    pairs(maps:next(Next), atom, size(Value, Sum + 6 * 255 + 4));
pairs(none, _Kind, Sum) ->
    Sum;
pairs(_Pair, _Kind, _Sum) ->
    throw(no).

-spec text(binary()) -> pos_integer().
text(Text) ->
    case is_utf8(Text) of
        true -> 6 * byte_size(Text) + 4;
        false -> throw(no)
    end.
