%% @private
%% The known name that is nearest to an unknown one, of an option or of a key in one.
-module(sockeye_nearest).

-export([hint/2]).

%% Names are shorter. What is longer is no slip of the hand, and is not looked into.
-define(LONGEST, 40).

%% The end of a sentence about a name that there is not; nothing if it resembles none. It makes no atom.
-spec hint(Given :: term(), [atom()]) -> string().
hint(Given, Names) ->
    case letters(Given) of
        [_ | _] = Letters -> said(Given, nearest(Letters, Names, 0, most(length(Letters))));
        _ -> ""
    end.

-spec said(term(), atom() | none) -> string().
said(_Given, none) -> "";
said(Given, Name) when is_atom(Given) -> "; did you mean " ++ atom_to_list(Name) ++ "?";
said(_Given, Name) -> "; did you mean the atom " ++ atom_to_list(Name) ++ "?".

%% How many slips are likely in so many letters.
-spec most(pos_integer()) -> 1..3.
most(Length) -> max(1, min(3, (Length + 2) div 4)).

-spec nearest(string(), [atom()], non_neg_integer(), pos_integer()) -> atom() | none.
nearest(_Letters, _Names, Slips, Most) when Slips > Most ->
    none;
nearest(Letters, Names, Slips, Most) ->
    case [Name || Name <- Names, are_within(Slips, Letters, letters(Name))] of
        [Name | _] -> Name;
        [] -> nearest(Letters, Names, Slips + 1, Most)
    end.

%% Small letters, without what joins words: maxAge and max-age are max_age.
-spec letters(term()) -> string() | none.
letters(Name) when is_atom(Name) ->
    letters(atom_to_list(Name));
letters(Name) when is_binary(Name), byte_size(Name) =< ?LONGEST ->
    letters(unicode:characters_to_list(Name));
letters([Char | _] = Name) when is_integer(Char) ->
    try
        Begin = lists:sublist(Name, ?LONGEST + 1),
        true = length(Begin) =< ?LONGEST andalso lists:all(fun is_integer/1, Begin),
        [Letter || Letter <- string:lowercase(Begin), Letter =/= $_, Letter =/= $-]
    catch
        %% Too long, no text, or not a proper list.
        error:_ -> none
    end;
letters(_Name) ->
    none.

%% Whether one becomes the other by so many slips: a letter too many, too few, another one, or two that are swapped.
-spec are_within(non_neg_integer(), string(), string()) -> boolean().
are_within(Slips, [Letter | A], [Letter | B]) -> are_within(Slips, A, B);
are_within(_Slips, [], []) -> true;
are_within(0, _A, _B) -> false;
are_within(Slips, [First, Second | A], [Second, First | B]) ->
    are_within(Slips - 1, A, B) orelse one_letter(Slips, [First, Second | A], [Second, First | B]);
are_within(Slips, A, B) ->
    one_letter(Slips, A, B).

-spec one_letter(pos_integer(), string(), string()) -> boolean().
one_letter(Slips, [_ | A], []) -> are_within(Slips - 1, A, []);
one_letter(Slips, [], [_ | B]) -> are_within(Slips - 1, [], B);
one_letter(Slips, [_ | RestA] = A, [_ | RestB] = B) ->
    are_within(Slips - 1, RestA, RestB) orelse are_within(Slips - 1, RestA, B) orelse are_within(Slips - 1, A, RestB).
