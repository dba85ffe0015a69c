%% @doc JSON on its own: text to terms and terms to text, in Rust.
%%
%% The same decoder and encoder that a server uses, as plain functions. They need
%% neither a server nor the application `sockeye' to be started.
%%
%% ```
%% 1> sockeye_json:decode(<<"{\"n\": [1, 2.5, null]}">>).
%% {ok,#{<<"n">> => [1,2.5,null]}}
%% 2> sockeye_json:encode(#{ok => true, list => [1, <<"two">>]}).
%% {ok,<<"{\"list\":[1,\"two\"],\"ok\":true}">>}
%% 3> sockeye_json:decode(<<"[1,">>).
%% {error,{eof,3}}
%% 4> sockeye_json:encode([1, self()]).
%% {error,{not_json,<0.85.0>,<<"$[1]">>}}
%% '''
%%
%% Small values are handled on the caller's scheduler. A text of more than 32 KiB in
%% (8 KiB if an object has a key twice), or 64 KiB out, is handled on a dirty CPU scheduler, so that
%% no call delays other processes. With `{engine, port}', unless `{pure, nif}' is set, the engine's process does it, and is started
%% where it is needed.
%%
%% <b>In</b>: objects are maps, arrays lists, strings binaries. Integers are exact
%% up to 65,536 digits. Of equal keys in an object the last one counts. `-0' is the
%% integer 0, `-0.0' a float. The binaries are copies: none keeps the text alive.
%%
%% <b>Out</b>: maps, whose keys are binaries, atoms or integers; proper lists;
%% binaries in UTF-8; integers up to 65,536 digits; floats in the shortest form that
%% reads back as the same float; `true', `false', `null' and the atom of the option
%% `null' are literals and other atoms strings; `{json_raw, IoData}' anywhere in a
%% value is text that is JSON already (only its UTF-8 is checked). The order of keys is
%% that of the map; `{[{Key, Value}]}' is an object too, with its keys in that order.
%%
%% No object is written with a key twice. That can happen in a map with `a' and `<<"a">>', which
%% are the same in text, and in a list of pairs. A struct of Elixir, a map whose
%% `__struct__' is an atom, is refused as well: you say which of its fields may leave,
%% with `Map.from_struct/1', `Map.take/2' or the option `encoder'.
%%
%% ```
%% 1> sockeye_json:encode({[{z, 1}, {a, {[]}}]}).
%% {ok,<<"{\"z\":1,\"a\":{}}">>}
%% 2> sockeye_json:encode(#{a => 1, <<"a">> => 2}).
%% {error,{not_json,{duplicate_key,<<"a">>},<<"$">>}}
%% 3> sockeye_json:encode(#{'__struct__' => 'Elixir.Date', day => 1}).
%% {error,{not_json,{struct,'Elixir.Date'},<<"$">>}}
%% '''
-module(sockeye_json).

-export([decode/1]).
-export([decode/2]).
-export([encode/1]).
-export([encode/2]).

-export_type([decode_options/0]).
-export_type([encode_options/0]).
-export_type([decode_error/0]).
-export_type([option_error/0]).

-type decode_options() :: #{keys => binary | existing_atom | {atoms, [atom()]},
                            null => null | undefined | nil,
                            objects => map | pairs,
                            max_depth => 1..256}.
%% `keys': what the keys of objects become; default `binary'. `existing_atom':
%% atoms where the VM has them already, `{atoms, List}': atoms for these names;
%% other keys stay binaries, and no atom is ever made from a text.
%% `{atoms, List}' is read anew in each call: keep the list short.
%%
%% `null': the atom for JSON's null; default `null'.
%%
%% `objects': what objects become; default `map'. `pairs': `{[{Key, Value}]}' with the keys in the order of the text, which {@link
%% encode/2} takes as it is.
%%
%% `max_depth': how many arrays and objects may be open at once; default 128.

-type encode_options() :: #{null => null | undefined | nil,
                            encoder => fun((term()) -> term())}.
%% `null': the atom that becomes JSON's null, beside `null' itself; default `null'.
%%
%% `encoder': called, in the calling process, with each part of the term that JSON does not know: a struct of Elixir, a tuple, a
%% pid, port, reference or fun, bits, an improper list, a key of another kind. It returns a term to take its place, in which it is
%% asked again, up to 256 times within each other; or the same term, where it does not know it either: that is `not_json'.
%% What it raises is raised as `{encoder, Class, Reason}'. A term that is JSON is written without it.

-type decode_error() :: {Kind :: syntax | eof | depth | number_range | utf8 | trailing_data | too_large,
                         Offset :: non_neg_integer()}.
%% What is wrong with a text, and the byte, counted from 0, at which that was noticed
%% (it may be off by one). A line end counts as the bytes it has.
%%
%% `syntax': not JSON; a lone surrogate in an escape as well. `eof': the text ends
%% inside a value. `depth': nested deeper than `max_depth'. `number_range': a float
%% that no double can hold, or an integer of more than 65,536 digits. `utf8': not
%% UTF-8. `trailing_data': something other than white space follows the value.
%% `too_large': 4 GiB or more.

-type option_error() :: {bad_option, Key :: term(), Why :: binary()}.
%% A key that is unknown or whose value is wrong; `Why' is a sentence.

%% @equiv decode(Text, #{})
-spec decode(iodata()) -> {ok, term()} | {error, decode_error()}.
decode(Text) ->
    try decoded(Text, #{})
    catch error:badarg -> sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Text])
    end.

%% @doc The term of a JSON text: one value, with white space around it or not.
%%
%% Errors: {@link decode_error()} and {@link option_error()}. Raises `badarg' if `Text' is not iodata, or `Options' not a
%% map.
%% ```
%% 1> sockeye_json:decode(<<"{\"id\": null}">>, #{keys => {atoms, [id]}, null => undefined}).
%% {ok,#{id => undefined}}
%% 2> sockeye_json:decode(<<"[[1]]">>, #{max_depth => 1}).
%% {error,{depth,1}}
%% 3> sockeye_json:decode(<<"1">>, #{max_depth => 0}).
%% {error,{bad_option,max_depth,<<"expected 1..256, got 0">>}}
%% '''
-spec decode(iodata(), decode_options()) ->
          {ok, term()} | {error, decode_error() | option_error()}.
decode(Text, Options) when is_map(Options) ->
    try decoded(Text, Options)
    catch error:badarg -> sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Text, Options])
    end;
decode(Text, Options) ->
    sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Text, Options]).

-spec decoded(iodata(), decode_options()) -> {ok, term()} | {error, decode_error() | option_error()}.
decoded(Text, Options) ->
    case sockeye_pure:json_decode(Text, Options) of
        dirty -> sockeye_pure:json_decode_dirty(Text, Options);
        bad_option -> sockeye_options:explain(Options, [keys, null, objects, max_depth]);
        Result -> Result
    end.

%% @equiv encode(Term, #{})
-spec encode(term()) -> {ok, binary()} | {error, {not_json, Part :: term(), Path :: binary()}}.
encode(Term) ->
    encoded(Term, #{}, none).

%% @doc The text of a term, without white space.
%%
%% `not_json' has the innermost part of the term that has no JSON form, and where it stands in the term, as `<<"$.user.born">>' or
%% `<<"$.list[3]">>': a key that is no plain name is in `["..."]', and a long path is cut in the middle. The part is a pid, a tuple, a
%% binary that is not UTF-8, an improper list, a key that is neither a binary nor an atom nor an integer, an element of `{[...]}' that
%% is not a pair; the last two stand at the path of their object. Or it has the reason: `{duplicate_key, Key}', one of two keys of
%% an object that are the same in text, or `{struct, Module}'. Other error: `bad_option', see {@link option_error()}. Raises `badarg'
%% if `Options' is not a map.
%% ```
%% 1> sockeye_json:encode([nil, null], #{null => nil}).
%% {ok,<<"[null,null]">>}
%% 2> sockeye_json:encode(#{socket => {127, 0, 0, 1}}, #{}).
%% {error,{not_json,{127,0,0,1},<<"$.socket">>}}
%% 3> Encoder = fun(Ip) when is_tuple(Ip) -> list_to_binary(inet:ntoa(Ip)); (Other) -> Other end.
%% #Fun<...>
%% 4> sockeye_json:encode(#{socket => {127, 0, 0, 1}}, #{encoder => Encoder}).
%% {ok,<<"{\"socket\":\"127.0.0.1\"}">>}
%% '''
-spec encode(term(), encode_options()) ->
          {ok, binary()} | {error, {not_json, Part :: term(), Path :: binary()} | option_error()}.
encode(Term, #{encoder := Encoder} = Options) when is_function(Encoder, 1) ->
    encoded(Term, maps:remove(encoder, Options), Encoder);
encode(Term, Options) when is_map(Options) ->
    encoded(Term, Options, none);
encode(Term, Options) ->
    sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Term, Options]).

-spec encoded(term(), encode_options(), sockeye_encoder:encoder() | none) ->
          {ok, binary()} | {error, {not_json, term(), binary()} | option_error()}.
encoded(Term, Options, Encoder) ->
    case sockeye_pure:json_encode(Term, Options) of
        {ok, _} = Text -> Text;
        dirty -> judged(sockeye_pure:json_encode_dirty(Term, Options), Term, Options, Encoder);
        Result -> judged(Result, Term, Options, Encoder)
    end.

-spec judged(term(), term(), encode_options(), sockeye_encoder:encoder() | none) -> term().
judged({ok, _} = Text, _Term, _Options, _Encoder) ->
    Text;
judged({error, {not_json, Part}}, Term, _Options, none) ->
    {error, {not_json, Part, sockeye_json_path:in_term(Term, Part)}};
judged({error, {not_json, _}}, Term, Options, Encoder) ->
    encoded(sockeye_encoder:term(Term, Encoder), Options, none);
judged(bad_option, _Term, Options, _Encoder) ->
    sockeye_options:explain(Options, [null, encoder]).
