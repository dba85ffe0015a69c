%% A JSON reader that knows nothing of ours, for what we write: it takes only text without white space, and fails
%% at anything that is no JSON. An object is {[{Key, Value}]}, in its order.
-module(plain_json).

-export([read/1]).
-export([is_of/2]).

read(Text) ->
    {Value, <<>>} = value(Text),
    Value.

value(<<"null", Rest/binary>>) -> {null, Rest};
value(<<"true", Rest/binary>>) -> {true, Rest};
value(<<"false", Rest/binary>>) -> {false, Rest};
value(<<$", Rest/binary>>) -> string(Rest, Rest, 0, []);
value(<<"[]", Rest/binary>>) -> {[], Rest};
value(<<$[, Rest/binary>>) -> list(Rest, []);
value(<<"{}", Rest/binary>>) -> {{[]}, Rest};
value(<<${, Rest/binary>>) -> members(Rest, []);
value(Text) -> number(Text, 0).

list(Text, Values) ->
    case value(Text) of
        {Value, <<$,, Rest/binary>>} -> list(Rest, [Value | Values]);
        {Value, <<$], Rest/binary>>} -> {lists:reverse(Values, [Value]), Rest}
    end.

members(<<$", Text/binary>>, Members) ->
    {Key, <<$:, Rest/binary>>} = string(Text, Text, 0, []),
    case value(Rest) of
        {Value, <<$,, More/binary>>} -> members(More, [{Key, Value} | Members]);
        {Value, <<$}, More/binary>>} -> {{lists:reverse(Members, [{Key, Value}])}, More}
    end.

%% Whole is what has not been taken yet, of which N bytes are plain.
string(<<$", Rest/binary>>, Whole, N, Parts) ->
    String = iolist_to_binary(lists:reverse(Parts, [binary:part(Whole, 0, N)])),
    true = is_list(unicode:characters_to_list(String)),
    {String, Rest};
string(<<$\\, Escaped, Rest/binary>>, Whole, N, Parts) ->
    {Part, Rest1} = escaped(Escaped, Rest),
    string(Rest1, Rest1, 0, [Part, binary:part(Whole, 0, N) | Parts]);
string(<<C, Rest/binary>>, Whole, N, Parts) when C >= 32 ->
    string(Rest, Whole, N + 1, Parts).

escaped($n, Rest) -> {<<$\n>>, Rest};
escaped($r, Rest) -> {<<$\r>>, Rest};
escaped($t, Rest) -> {<<$\t>>, Rest};
escaped($b, Rest) -> {<<$\b>>, Rest};
escaped($f, Rest) -> {<<$\f>>, Rest};
escaped($u, <<Hex:4/binary, Rest/binary>>) -> {<<(binary_to_integer(Hex, 16))/utf8>>, Rest};
escaped(C, Rest) when C =:= $"; C =:= $\\; C =:= $/ -> {<<C>>, Rest}.

number(Text, N) ->
    case Text of
        <<_:N/binary, C, _/binary>> when C >= $0, C =< $9; C =:= $-; C =:= $+; C =:= $.; C =:= $e; C =:= $E ->
            number(Text, N + 1);
        <<Number:N/binary, Rest/binary>> ->
            {of_number(Number), Rest}
    end.

of_number(Number) ->
    case re:run(Number, "^-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?$", [{capture, all_but_first, binary}]) of
        {match, [_]} -> binary_to_integer(Number);
        {match, [_, Fraction]} when Fraction =/= <<>> -> binary_to_float(Number);
        {match, [_, <<>>, Exponent]} ->
            [Integer, _] = re:split(Number, "[eE]"),
            binary_to_float(<<Integer/binary, ".0", Exponent/binary>>);
        {match, [_, _, _]} -> binary_to_float(Number)
    end.

%% Whether this is what a term has to become.
is_of(Map, {Members}) when is_map(Map) ->
    Given = [{key(K), V} || {K, V} <- maps:to_list(Map)],
    are_of(lists:keysort(1, Given), lists:keysort(1, Members));
is_of({Given}, {Members}) -> are_of([{key(K), V} || {K, V} <- Given], Members);
is_of({json_raw, Text}, Value) -> read(iolist_to_binary(Text)) =:= Value;
is_of(Given, Values) when is_list(Given), is_list(Values) ->
    length(Given) =:= length(Values)
        andalso lists:all(fun({Term, Value}) -> is_of(Term, Value) end, lists:zip(Given, Values));
is_of(Atom, Value) when is_atom(Atom), Atom =/= true, Atom =/= false, Atom =/= null -> atom_to_binary(Atom) =:= Value;
is_of(Term, Value) -> Term =:= Value.

are_of(Given, Members) ->
    [K || {K, _} <- Given] =:= [K || {K, _} <- Members]
        andalso is_of([V || {_, V} <- Given], [V || {_, V} <- Members]).

key(Key) when is_atom(Key) -> atom_to_binary(Key);
key(Key) when is_integer(Key) -> integer_to_binary(Key);
key(Key) -> Key.
