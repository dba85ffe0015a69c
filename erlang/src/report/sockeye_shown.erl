%% @private
%% Terms as text, in bounded length and time. `io_lib' bounds the length, and not the time: an integer of a million bits
%% keeps a scheduler for seconds, and so does a list that is nested a million times.
%%
%% What a client keeps secret is not in them: values of headers by their names (`sockeye_secret'), and the query of a request.
-module(sockeye_shown).

-export([text/2]).
-export([short/1]).
-export([format/2]).
-export([atom/1]).
-export([part/2]).
-export([event/1]).
-export([crash/1]).

%% Levels of nesting, and elements of a list, tuple or map.
-define(DEPTH, 1000).
%% Integers beyond are told by their size: digits take quadratic time.
-define(LARGE, 1 bsl 4096).
%% Of a term that stays a term, in an event.
-define(EVENT, 65536).
%% Characters of a term in a sentence, and of the sentence.
-define(SHORT, 200).
-define(SENTENCE, 1000).
-define(HIDDEN, <<"(hidden)">>).

%% On one line, and not much more than so many characters.
-spec text(term(), pos_integer()) -> unicode:chardata().
text(Term, _Most) when is_atom(Term) ->
    atom(Term);
text(Term, Most) ->
    io_lib:format("~0tp", [part(Term, Most)], [{chars_limit, Most}]).

%% In a sentence.
-spec short(term()) -> binary().
short(Term) ->
    unicode:characters_to_binary(text(Term, ?SHORT)).

%% A sentence with terms in it.
-spec format(io:format(), [term()]) -> binary().
format(Format, Args) ->
    Parts = [part(Arg, ?SENTENCE) || Arg <- Args],
    unicode:characters_to_binary(io_lib:format(Format, Parts, [{chars_limit, ?SENTENCE}])).

%% A module of Elixir as it is written there.
-spec atom(atom()) -> unicode:chardata().
atom(Atom) ->
    case atom_to_list(Atom) of
        "Elixir." ++ Name when Name =/= "" -> Name;
        _ -> io_lib:format("~tw", [Atom])
    end.

%% As much of a term as a text of so many characters can show.
-spec part(term(), pos_integer()) -> term().
part(Term, Most) ->
    {Part, _} = part(Term, ?DEPTH, 10 * Most, Most),
    Part.

%% A report as it is given to `logger'. What else is in it is ours, or text already.
-spec event(map()) -> map().
event(Report) ->
    maps:map(fun(crash, Crash) -> crash(Crash);
                (Key, Value) when Key =:= reason; Key =:= stop; Key =:= message; Key =:= command -> part(Value, ?EVENT);
                (_Key, Value) -> Value
             end, Report).

%% An exception. It stays one, whatever is left out of the arguments in its stack.
-spec crash(Crash) -> Crash when Crash :: {error | exit | throw, term(), list()} | {exit, term()}.
crash({Class, Reason, Stack}) ->
    {Class, part(Reason, ?EVENT), [setelement(tuple_size(Frame) - 1, Frame, part(element(tuple_size(Frame) - 1, Frame), ?EVENT))
                                   || Frame <- Stack, is_tuple(Frame), tuple_size(Frame) >= 3]};
crash({exit, Reason}) ->
    {exit, part(Reason, ?EVENT)}.

%% `Left' parts may still be taken.
-spec part(term(), non_neg_integer(), integer(), pos_integer()) -> {term(), integer()}.
part(_Term, Depth, Left, _Most) when Depth =:= 0; Left =< 0 ->
    {'...', Left};
part(Term, _Depth, Left, _Most) when is_integer(Term), Term >= ?LARGE; is_integer(Term), Term =< -?LARGE ->
    {<<"an integer of ", (integer_to_binary(erlang:external_size(Term)))/binary, " bytes">>, Left - 1};
part(Term, _Depth, Left, Most) when is_bitstring(Term), bit_size(Term) > 8 * Most ->
    <<Begin:Most/binary, Next, _/bitstring>> = Term,
    {<<Begin/binary, Next>>, Left - 1};
part([_ | _] = List, Depth, Left, Most) ->
    Begin = first(List, Most + 1),
    case io_lib:printable_unicode_list(Begin) of
        true -> {Begin, Left - 1};
        false -> elements(List, Depth - 1, Left - 1, Most)
    end;
part({Name, Value}, Depth, Left, Most) when is_binary(Value); is_list(Value), Value =/= [] ->
    case sockeye_secret:is_name(Name) of
        true -> {{Name, ?HIDDEN}, Left - 3};
        false -> tuple({Name, Value}, Depth, Left, Most)
    end;
part(Tuple, Depth, Left, Most) when is_tuple(Tuple), tuple_size(Tuple) > 0 ->
    tuple(Tuple, Depth, Left, Most);
part(#{path := _, query := <<_, _/binary>>} = Request, Depth, Left, Most) when map_get(query, Request) =/= ?HIDDEN ->
    part(Request#{query := ?HIDDEN}, Depth, Left, Most);
part(Map, Depth, Left, Most) when is_map(Map) ->
    pairs(maps:next(maps:iterator(Map)), Depth - 1, Left - 1, Most, #{});
part(Term, _Depth, Left, _Most) ->
    {Term, Left - 1}.

-spec tuple(tuple(), pos_integer(), integer(), pos_integer()) -> {term(), integer()}.
tuple(Tuple, Depth, Left, Most) ->
    Elements = [element(N, Tuple) || N <- lists:seq(1, min(tuple_size(Tuple), Depth + 1))],
    {Parts, Rest} = elements(Elements, Depth - 1, Left - 1, Most),
    {list_to_tuple(Parts), Rest}.

-spec first(term(), non_neg_integer()) -> list().
first([Element | Rest], N) when N > 0, is_integer(Element) -> [Element | first(Rest, N - 1)];
first([], _N) -> [];
first([_ | _], 0) -> [];
first(_Other, _N) -> [none].

-spec elements(term(), non_neg_integer(), integer(), pos_integer()) -> {term(), integer()}.
elements([_ | _], Depth, Left, _Most) when Depth =:= 0; Left =< 0 ->
    {['...'], Left};
elements([Element | Rest], Depth, Left, Most) ->
    {Part, Left1} = part(Element, Depth, Left, Most),
    {Parts, Left2} = elements(Rest, Depth - 1, Left1, Most),
    {[Part | Parts], Left2};
elements([], _Depth, Left, _Most) ->
    {[], Left};
elements(Tail, Depth, Left, Most) ->
    part(Tail, Depth, Left, Most).

-spec pairs(none | {term(), term(), maps:iterator()}, non_neg_integer(), integer(), pos_integer(), map()) -> {map(), integer()}.
pairs(none, _Depth, Left, _Most, Map) ->
    {Map, Left};
pairs(_Next, Depth, Left, _Most, Map) when Depth =:= 0; Left =< 0 ->
    {Map#{'...' => '...'}, Left};
pairs({Key, Value, Next}, Depth, Left, Most, Map) ->
    {KeyPart, Left1} = part(Key, Depth, Left, Most),
    {ValuePart, Left2} = part(Value, Depth, Left1, Most),
    pairs(maps:next(Next), Depth - 1, Left2, Most, Map#{KeyPart => ValuePart}).
