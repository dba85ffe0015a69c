%% @private
%% The path to the part of a term that has no JSON form, as `$.user.born' or `$.list[3]'.
%%
%% The encoder says what it is. Wherever that stands in the term, it is as wrong as in the first place.
-module(sockeye_json_path).

-export([in_term/2]).
-export([in_frames/2]).

%% Of a longer path the first and the last steps are shown, and so many characters of a key.
-define(STEPS, 10).
-define(KEY, 64).
%% An integer of more bytes has too many digits.
-define(BYTES, 27213).

-spec in_term(term(), term()) -> binary().
in_term(Term, Part) ->
    text(try value(Term, Part, []) catch throw:{found, Path} -> Path end).

%% In the first of these frames that has it.
-spec in_frames(term(), term()) -> binary().
in_frames(Frames, Part) ->
    text(try frames(Frames, Part) catch throw:{found, Path} -> Path end).

-spec frames(term(), term()) -> [].
frames([Frame | Rest], Part) -> frames(Frame, Part), frames(Rest, Part);
frames({uncompressed, Frame}, Part) -> frames(Frame, Part);
frames({json, Term}, Part) -> value(Term, Part, []);
frames(Map, Part) when is_map(Map) -> value(Map, Part, []);
frames(_Other, _Part) -> [].

%% Steps are keys and places, the innermost first.
-spec value(term(), term(), [term()]) -> [].
value(Part, Part, Path) ->
    case is_value(Part) of
        true -> inside(Part, Part, Path);
        false -> throw({found, Path})
    end;
value(Term, Part, Path) ->
    inside(Term, Part, Path).

-spec inside(term(), term(), [term()]) -> [].
inside(List, Part, Path) when is_list(List) -> list(List, 0, Part, Path);
inside({Pairs}, Part, Path) when is_list(Pairs) -> object(Pairs, Part, Path);
inside(Map, Part, Path) when is_map(Map) -> object(maps:to_list(Map), Part, Path);
inside(_Term, _Part, _Path) -> [].

-spec list(term(), non_neg_integer(), term(), [term()]) -> [].
list([Term | Rest], N, Part, Path) -> value(Term, Part, [{place, N} | Path]), list(Rest, N + 1, Part, Path);
list(_End, _N, _Part, _Path) -> [].

-spec object(term(), term(), [term()]) -> [].
object(Pairs, Part, Path) ->
    is_refused(Pairs, Part) andalso throw({found, Path}),
    pairs(Pairs, Part, Path).

-spec pairs(term(), term(), [term()]) -> [].
pairs([{Key, Value} | Rest], Part, Path) ->
    Key =:= Part andalso not is_key(Key) andalso throw({found, Path}),
    value(Value, Part, [{key, Key} | Path]),
    pairs(Rest, Part, Path);
%% No pair, where one should be.
pairs([Part | _], Part, Path) -> throw({found, Path});
pairs([_ | Rest], Part, Path) -> pairs(Rest, Part, Path);
pairs(_End, _Part, _Path) -> [].

%% Whether this is the object that is refused as a whole.
-spec is_refused(term(), term()) -> boolean().
is_refused([_ | _] = Pairs, {duplicate_key, Key}) when is_binary(Key); is_atom(Key); is_integer(Key) ->
    is_repeated(key(Key), Pairs, 0);
is_refused([_ | _] = Pairs, {struct, Module}) ->
    is_struct(Pairs, Module);
is_refused(_Pairs, _Part) ->
    false.

-spec is_repeated(unicode:chardata(), term(), non_neg_integer()) -> boolean().
is_repeated(_Text, _Pairs, 2) -> true;
is_repeated(Text, [{Key, _} | Rest], N) ->
    is_repeated(Text, Rest, case is_key(Key) andalso key(Key) =:= Text of true -> N + 1; false -> N end);
is_repeated(Text, [_ | Rest], N) -> is_repeated(Text, Rest, N);
is_repeated(_Text, _End, _N) -> false.

-spec is_struct(term(), term()) -> boolean().
is_struct([{'__struct__', Module} | _], Module) -> true;
is_struct([_ | Rest], Module) -> is_struct(Rest, Module);
is_struct(_End, _Module) -> false.

%% Whether a term can be written, whatever is in it.
-spec is_value(term()) -> boolean().
is_value(Term) when is_binary(Term) -> is_utf8(Term);
is_value(Term) when is_integer(Term), abs(Term) >= 1 bsl 64 -> byte_size(binary:encode_unsigned(abs(Term))) =< ?BYTES;
is_value(Term) when is_number(Term); is_atom(Term); is_map(Term) -> true;
is_value({Pairs}) -> is_value(Pairs) andalso is_list(Pairs);
is_value(Term) when is_list(Term) -> is_proper(Term);
is_value(_Term) -> false.

-spec is_key(term()) -> boolean().
is_key(Key) -> (is_binary(Key) orelse is_atom(Key) orelse is_integer(Key)) andalso is_value(Key).

-spec is_utf8(binary()) -> boolean().
is_utf8(Binary) -> unicode:characters_to_binary(Binary) =:= Binary.

-spec is_proper(term()) -> boolean().
is_proper([_ | Rest]) -> is_proper(Rest);
is_proper(End) -> End =:= [].

-spec key(term()) -> binary().
key(Key) when is_atom(Key) -> atom_to_binary(Key);
key(Key) when is_integer(Key) -> integer_to_binary(Key);
key(Key) -> Key.

-spec text([term()]) -> binary().
text(Path) ->
    Steps = [step(Step) || Step <- shortened(lists:reverse(Path))],
    unicode:characters_to_binary([$$ | Steps]).

-spec shortened([term()]) -> [term()].
shortened(Steps) when length(Steps) =< 2 * ?STEPS -> Steps;
shortened(Steps) -> lists:sublist(Steps, ?STEPS) ++ [more] ++ lists:nthtail(length(Steps) - ?STEPS, Steps).

-spec step(term()) -> unicode:chardata().
step(more) -> "...";
step({place, N}) -> [$[, integer_to_list(N), $]];
step({key, Key}) ->
    case is_key(Key) of
        true -> member(string:slice(key(Key), 0, ?KEY));
        false -> "[?]"
    end.

-spec member(binary()) -> unicode:chardata().
member(Key) ->
    case re:run(Key, "^[A-Za-z_][A-Za-z0-9_]*$", [dollar_endonly]) of
        {match, _} -> [$., Key];
        nomatch -> ["[\"", [escaped(C) || C <- unicode:characters_to_list(Key)], "\"]"]
    end.

-spec escaped(char()) -> unicode:chardata().
escaped(C) when C =:= $"; C =:= $\\ -> [$\\, C];
escaped(C) when C < 32 -> io_lib:format("\\u~4.16.0b", [C]);
escaped(C) -> C.
