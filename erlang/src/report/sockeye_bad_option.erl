%% @private
%% What is said of an option that is wrong: `{bad_option, Key, Why}', where `Why' is a sentence for people.
-module(sockeye_bad_option).

-export([option/2]).
-export([expected/2]).
-export([list/2]).
-export([module/2]).
-export([checked/4]).
-export([nested/4]).
-export([unknown/2]).
-export([bad/2]).

-export_type([bad_option/0, names/0]).

-import(sockeye_shown, [format/2, short/1]).

-type bad_option() :: {bad_option, Key :: term(), Why :: binary()}.

-type names() :: [atom() | {Old :: atom(), Now :: atom()} | {Other :: atom(), hint, string()}].
%% The options that there are, those that have another name now, and those of others with what helps there.

%% Every refusal of an option has this shape.
-spec option(term(), unicode:chardata()) -> bad_option().
option(Key, Why) ->
    {bad_option, Key, unicode:characters_to_binary(Why)}.

-spec expected(unicode:chardata(), term()) -> binary().
expected(What, Value) ->
    format("expected ~ts, got ~ts", [What, short(Value)]).

%% The same where a list is expected, for one who gives an element alone.
-spec list(unicode:chardata(), term()) -> binary().
list(What, Value) ->
    case is_binary(Value) orelse Value =/= [] andalso io_lib:printable_unicode_list(Value) of
        true -> format("expected ~ts, got the string ~ts: put it into a list", [What, short(Value)]);
        false -> expected(What, Value)
    end.

%% Of a module that `code:ensure_loaded/1' does not find or load.
-spec module(module(), term()) -> binary().
module(Module, nofile) ->
    format("there is no module ~ts in the code path", [sockeye_shown:atom(Module)]);
module(Module, Reason) ->
    format("module ~ts cannot be loaded: ~0tp", [sockeye_shown:atom(Module), Reason]).

%% The value of an option, by what a check of it has found: that it is right, what it becomes, what is wrong with it,
%% that there is no such option, or what was expected.
-spec checked(Key :: term(), Value :: term(), Found :: term(), fun(() -> names())) -> term().
checked(Key, Value, Found, Names) ->
    case Found of
        true -> Value;
        {ok, Parsed} -> Parsed;
        {error, Why} -> throw(option(Key, Why));
        unknown -> throw(option(Key, unknown(Key, Names())));
        Expected -> throw(option(Key, expected(Expected, Value)))
    end.

%% The same for an option within the value of another.
-spec nested(Key :: term(), Value :: term(), Found :: true | {ok, term()} | {error, binary()} | unknown | unicode:chardata(), names()) -> term().
nested(Key, Value, Found, Names) ->
    case Found of
        true -> Value;
        {ok, Parsed} -> Parsed;
        {error, Why} -> bad("~ts: ~ts", [short(Key), Why]);
        unknown -> bad("~ts: ~ts", [short(Key), unknown(Key, Names)]);
        Expected -> bad("~ts: ~ts", [short(Key), expected(Expected, Value)])
    end.

%% What is said of a key that there is not: what it is now if there was one, else what helps, else which one it resembles.
-spec unknown(term(), names()) -> binary().
unknown(Key, Names) ->
    case {[Now || {Old, Now} <- Names, Old =:= Key], [Hint || {Other, hint, Hint} <- Names, Other =:= Key]} of
        {[Now | _], _} -> format("is now ~ts", [Now]);
        {[], [Hint | _]} -> format("unknown option; ~ts", [Hint]);
        {[], []} -> format("unknown option~ts", [sockeye_nearest:hint(Key, [Name || Name <- Names, is_atom(Name)])])
    end.

%% For checks that walk through a value: who has begun one catches it.
-spec bad(io:format(), [term()]) -> no_return().
bad(Format, Args) ->
    throw({bad, format(Format, Args)}).
