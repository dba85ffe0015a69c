%% @private
%% What the other end of a connection gets of a frame, without the engine: for the tests of a handler.
%%
%% What is JSON is said here once more, in a few lines, since the native library is not there. A test compares the two.
-module(sockeye_test_frames).

-export([sent/3]).
-export([came/2]).
-export([term/2]).

-export_type([seen/0]).

-type seen() :: {json, term()} | {text | binary | ping | pong, binary()} | {close, sockeye:close_code(), binary()}
              | {stream, text | binary, first | more | last, binary()}.

%% Bytes of the largest integer that the engine writes, see {@link sockeye_json}.
-define(BYTES, 27213).

%% A frame for one connection or for many.
-spec sent(one | many, term(), sockeye_options:config()) -> {ok, seen()} | {error, badarg | sockeye_backend:refusal()}.
sent(To, Frame, Config) ->
    case sockeye_args:frame(To, Frame) of
        none -> seen(Frame, Config);
        _ -> {error, badarg}
    end.

-spec seen(sockeye:frame(), sockeye_options:config()) -> {ok, seen()} | {error, sockeye_backend:refusal()}.
seen({uncompressed, Frame}, Config) -> seen(Frame, Config);
seen({json, Term}, #{null := Null}) ->
    case term(Term, Null) of
        {ok, Seen} -> {ok, {json, Seen}};
        Error -> Error
    end;
seen(Map, Config) when is_map(Map) -> seen({json, Map}, Config);
seen({text, Data}, _Config) ->
    Text = iolist_to_binary(Data),
    case is_utf8(Text) of
        true -> {ok, {text, Text}};
        false -> {error, not_utf8}
    end;
seen({close, Code, Reason}, _Config) -> {ok, {close, Code, iolist_to_binary(Reason)}};
seen({stream, Kind, Place, Data}, _Config) -> {ok, {stream, Kind, Place, iolist_to_binary(Data)}};
seen({Kind, Data}, _Config) -> {ok, {Kind, iolist_to_binary(Data)}}.

%% The event of a frame that the other end sends; `none' for one that handlers do not get.
-spec came(term(), sockeye_options:config()) ->
          {ok, sockeye:event() | {invalid, 1007, binary()} | none} | {error, binary()}.
came(Map, Config) when is_map(Map) -> came({json, Map}, Config);
came({json, Term}, #{format := raw} = Config) ->
    case sockeye_json:encode(Term, maps:with([null], Config)) of
        {ok, Text} -> came({text, Text}, Config);
        {error, {not_json, Part, Path}} -> not_json(Part, Path)
    end;
%% As by the defaults, without the library.
came({json, Term}, #{keys := binary, null := null, objects := map}) ->
    case term(Term, null) of
        {ok, Seen} -> {ok, {json, Seen}};
        {error, {not_json, Part}} -> not_json(Part, sockeye_json_path:in_term(Term, Part))
    end;
came({json, Term}, Config) ->
    case sockeye_json:encode(Term, maps:with([null], Config)) of
        {ok, Text} -> json(Text, Config);
        {error, {not_json, Part, Path}} -> not_json(Part, Path)
    end;
came({text, Data}, Config) ->
    Text = iolist_to_binary(Data),
    case {is_utf8(Text), Config} of
        {false, _} -> {error, <<"text that is not UTF-8 comes to no handler: the engine closes the connection with 1007">>};
        {true, #{format := raw}} -> {ok, {text, Text}};
        {true, _} -> json(Text, Config)
    end;
came({binary, Data}, _Config) -> {ok, {binary, iolist_to_binary(Data)}};
came({Kind, Data}, #{control_frames := true}) when Kind =:= ping; Kind =:= pong -> {ok, {Kind, iolist_to_binary(Data)}};
came({Kind, _Data}, _Config) when Kind =:= ping; Kind =:= pong -> {ok, none};
came(Other, _Config) ->
    {error, sockeye_bad_option:expected("a map, {json, Term}, {text, IoData}, {binary, IoData}, {ping, IoData}, {pong, IoData} or {close, Code, Reason}",
                                 Other)}.

%% By the library, which says what is wrong with a text.
-spec json(binary(), sockeye_options:config()) -> {ok, sockeye:event() | {invalid, 1007, binary()}}.
json(Text, #{on_invalid_json := Invalid} = Config) ->
    case {sockeye_json:decode(Text, maps:with([keys, null, objects, max_depth], Config)), Invalid} of
        {{ok, Term}, _} -> {ok, {json, Term}};
        {{error, Why}, deliver} -> {ok, {invalid_json, Text, Why}};
        {{error, _}, close} -> {ok, {invalid, 1007, <<"not JSON">>}}
    end.

-spec not_json(term(), binary()) -> {error, binary()}.
not_json(Part, Path) ->
    {error, sockeye_shown:format("at ~ts: ~ts has no JSON form", [Path, sockeye_shown:short(Part)])}.

%% A term as it is read again from its JSON: objects are maps with binaries as keys.
-spec term(term(), Null :: atom()) -> {ok, term()} | {error, {not_json, term()}}.
term(Term, Null) ->
    try {ok, value(Term, Null)}
    catch throw:{not_json, _} = Reason -> {error, Reason}
    end.

-spec value(term(), atom()) -> term().
value(Null, Null) -> null;
value(Atom, _Null) when Atom =:= true; Atom =:= false; Atom =:= null -> Atom;
value(Atom, _Null) when is_atom(Atom) -> atom_to_binary(Atom);
value(Float, _Null) when is_float(Float) -> Float;
value(Integer, _Null) when is_integer(Integer) ->
    is_short(Integer) orelse no(Integer),
    Integer;
value(Binary, _Null) when is_binary(Binary) ->
    is_utf8(Binary) orelse no(Binary),
    Binary;
value(#{'__struct__' := Module}, _Null) when is_atom(Module) -> no({struct, Module});
value(Map, Null) when is_map(Map) -> object(maps:to_list(Map), Null);
value({Pairs} = Term, Null) when is_list(Pairs) ->
    is_proper(Pairs) orelse no(Term),
    object(Pairs, Null);
value({json_raw, Data} = Raw, _Null) ->
    try iolist_to_binary(Data) of
        Text -> is_utf8(Text) orelse no(Raw), {json_raw, Text}
    catch error:badarg -> no(Raw)
    end;
value(List, Null) when is_list(List) ->
    is_proper(List) orelse no(List),
    [value(Term, Null) || Term <- List];
value(Other, _Null) -> no(Other).

-spec object([term()], atom()) -> #{binary() => term()}.
object(Pairs, Null) ->
    lists:foldl(fun({Key, Value}, Object) ->
                        Key =:= '__struct__' andalso is_atom(Value) andalso no({struct, Value}),
                        Text = key(Key),
                        is_map_key(Text, Object) andalso no({duplicate_key, Key}),
                        Object#{Text => value(Value, Null)};
                   (Other, _Object) -> no(Other)
                end, #{}, Pairs).

-spec key(term()) -> binary().
key(Key) when is_atom(Key) -> atom_to_binary(Key);
key(Key) when is_binary(Key) -> is_utf8(Key) orelse no(Key), Key;
key(Key) when is_integer(Key) -> is_short(Key) orelse no(Key), integer_to_binary(Key);
key(Key) -> no(Key).

-spec no(term()) -> no_return().
no(Part) -> throw({not_json, Part}).

-spec is_short(integer()) -> boolean().
is_short(N) -> abs(N) < 1 bsl 64 orelse byte_size(binary:encode_unsigned(abs(N))) =< ?BYTES.

-spec is_proper(term()) -> boolean().
is_proper([_ | Rest]) -> is_proper(Rest);
is_proper(End) -> End =:= [].

-spec is_utf8(binary()) -> boolean().
is_utf8(Binary) -> unicode:characters_to_binary(Binary) =:= Binary.
