%% @private
%% The option `http', and what `health' and `metrics' add to it.
-module(sockeye_routes).

-export([parse/1]).
-export([path/2]).
-export([complete/1]).
-export([functions/1]).

-export_type([route/0, answering/0]).

-import(sockeye_bad_option, [bad/2]).

-type file_rules() :: #{cache_control => binary(), precompressed => boolean()}.
-type target() :: {file, binary(), file_rules()} | {dir, binary(), file_rules()} | {text, binary()} | health | metrics
                | {ask, fun((map()) -> term())} | {proxy, sockeye_upstream:upstream()}.
-type answering() :: fun((map()) -> term()) | metrics.
-type route() :: {Path :: binary(), target()}.

-spec parse(term()) -> {ok, [route()]} | {error, binary()} | string().
parse(Map) when is_map(Map) ->
    %% Their order decides between two that fit as well as each other.
    try {ok, lists:keysort(1, [route(Path, Target) || {Path, Target} <- maps:to_list(Map)])}
    catch throw:{bad, Why} -> {error, Why}
    end;
parse(_) ->
    "a map of paths, #{<<\"/\">> => {file, F} | {dir, D} | {text, B} | {proxy, Url} | fun/1 | {Module, Function}}".

%% A single path: that of `health' or `metrics'. With what such a path is like.
-spec path(term(), string()) -> {ok, binary()} | string().
path(Value, Example) ->
    try iolist_to_binary(Value) of
        Bin ->
            case sockeye_access_options:paths([Bin]) of
                {ok, [Bin]} -> {ok, Bin};
                _ -> like(Example)
            end
    catch
        error:badarg -> like(Example)
    end.

-spec like(string()) -> string().
like(Example) ->
    "a path like <<\"" ++ Example ++ "\">>".

%% All routes of a server, as the engine numbers them.
-spec complete(map()) -> {ok, [route()]} | {error, sockeye_bad_option:bad_option()}.
complete(Config) ->
    Of = [{http, maps:get(http, Config, [])} | [{Key, [{Path, Key}]} || Key <- [health, metrics], #{Key := Path} <- [Config]]]
        ++ [{dashboard, sockeye_dashboard:routes(Config)}],
    case twins(lists:sort([{Kind, Form, Path, Option} || {Option, Routes} <- Of, Route <- Routes, {Kind, Form, Path} <- places(Route)])) of
        none -> {ok, lists:append([Routes || {_, Routes} <- Of])};
        {One, Other} -> {error, same(One, Other)}
    end.

%% The first of these options that has something to do with it is the one that is refused.
-spec same({binary(), atom()}, {binary(), atom()}) -> sockeye_bad_option:bad_option().
same({Path, http}, {Path, http}) ->
    sockeye_bad_option:option(http, sockeye_shown:format("~ts occurs twice", [Path]));
same({One, http}, {Other, http}) ->
    sockeye_bad_option:option(http, sockeye_shown:format("~ts and ~ts are the same path", [One, Other]));
same({Path, Option}, {Path, Other}) ->
    sockeye_bad_option:option(refused(Option, Other), sockeye_shown:format("~ts is the path of ~ts and of ~ts", [Path, Option, Other]));
same({One, Option}, {Other, Another}) ->
    sockeye_bad_option:option(refused(Option, Another),
                       sockeye_shown:format("~ts and ~ts are the same path, of ~ts and of ~ts", [One, Other, Option, Another])).

-spec refused(atom(), atom()) -> atom().
refused(One, Other) ->
    hd([Option || Option <- [http, dashboard, metrics, health], Option =:= One orelse Option =:= Other]).

%% What a route is for, in the one form of its path. A directory, or a server behind, is for its path with and without a slash.
-spec places(route()) -> [{path | dir, Form :: binary(), Path :: binary()}].
places({Path, Target}) ->
    {ok, Form} = sockeye_pure:path_form(Path),
    case Target of
        {proxy, _} -> [{path, Form, Path}, {dir, re:replace(Form, "/$", "", [{return, binary}]), Path}];
        {dir, _, _} -> [{path, Form, Path}, {dir, re:replace(Form, "/$", "", [{return, binary}]), Path}];
        _ -> [{path, Form, Path}]
    end.

%% Two of them for the same.
-spec twins([{path | dir, binary(), binary(), Option}]) -> none | {{binary(), Option}, {binary(), Option}}.
twins([{Kind, Form, One, Of}, {Kind, Form, Other, Also} | _]) -> {{One, Of}, {Other, Also}};
twins([_ | Rest]) -> twins(Rest);
twins([]) -> none.

%% The functions among these routes, by their number.
-spec functions([route()]) -> #{non_neg_integer() => answering()}.
functions(Routes) ->
    Numbered = lists:zip(lists:seq(0, length(Routes) - 1), Routes),
    maps:from_list([{N, Fun} || {N, {_, {ask, Fun}}} <- Numbered] ++ [{N, metrics} || {N, {_, metrics}} <- Numbered]).

-spec route(term(), term()) -> route().
route(Path, Target) ->
    case path(Path, "") of
        {ok, Bin} -> {Bin, target(Path, Target)};
        _ -> bad("~0tp is not a path like <<\"/\">>, <<\"/app\">> or <<\"/rooms/*\">>", [Path])
    end.

-spec target(term(), term()) -> target().
target(Path, {Kind, Name}) when Kind =:= file; Kind =:= dir ->
    target(Path, {Kind, Name, #{}});
target(Path, {file, Name, Options}) ->
    File = name(Path, Name),
    filelib:is_regular(File) orelse bad("~0tp: there is no file ~ts", [Path, sockeye_file_name:shown(File)]),
    {file, File, file_rules(Path, file, Options)};
target(Path, {dir, Name, Options}) ->
    Dir = name(Path, Name),
    filelib:is_dir(Dir) orelse bad("~0tp: there is no directory ~ts", [Path, sockeye_file_name:shown(Dir)]),
    {dir, Dir, file_rules(Path, dir, Options)};
target(Path, {text, Text}) ->
    try {text, iolist_to_binary(Text)}
    catch error:badarg -> bad("~0tp: {text, ~0tp} is no iodata", [Path, Text])
    end;
target(Path, {proxy, Where}) ->
    target(Path, {proxy, Where, #{}});
target(Path, {proxy, Where, Options}) ->
    binary:match(iolist_to_binary(Path), <<"*">>) =:= nomatch
        orelse bad("~0tp: a proxy is for a path and all below it, and has no *", [Path]),
    case sockeye_upstream:parse(Where, Options) of
        {ok, Upstream} -> {proxy, Upstream};
        {error, Why} -> bad("~0tp: {proxy, ...}: ~ts", [Path, Why])
    end;
target(_Path, Fun) when is_function(Fun, 1) ->
    {ask, Fun};
target(Path, {Module, Function}) when is_atom(Module), is_atom(Function) ->
    case code:ensure_loaded(Module) of
        {module, Module} ->
            erlang:function_exported(Module, Function, 1)
                orelse bad("~0tp: ~0tp does not export ~0tp/1", [Path, Module, Function]),
            {ask, fun Module:Function/1};
        {error, Reason} ->
            bad("~0tp: ~ts", [Path, sockeye_bad_option:module(Module, Reason)])
    end;
target(Path, Other) ->
    bad("~0tp: expected {file, F}, {dir, D}, {text, B}, {proxy, Url}, a function of one argument or "
        "{Module, Function}, got ~0tp", [Path, Other]).

-spec file_rules(term(), file | dir, term()) -> file_rules().
file_rules(Path, Kind, Options) when is_map(Options) ->
    try maps:map(fun(Key, Value) -> sockeye_bad_option:nested(Key, Value, file_rule(Key, Value), [cache_control, precompressed]) end, Options)
    catch throw:{bad, Why} -> bad("~0tp: {~s, ...}: ~ts", [Path, Kind, Why])
    end;
file_rules(Path, Kind, Options) ->
    bad("~0tp: {~s, ...}: ~ts", [Path, Kind, sockeye_bad_option:expected("a map of options behind the name", Options)]).

-spec file_rule(term(), term()) -> true | {ok, term()} | unknown | string().
file_rule(cache_control, Value) ->
    %% RFC 9111, 5.2 has visible ASCII only, and spaces.
    Visible = fun(Byte) -> Byte >= $\s andalso Byte =< $~ end,
    try string:trim(iolist_to_binary(Value), both, " ") of
        <<_, _/binary>> = Text ->
            case lists:all(Visible, binary_to_list(Text)) of
                true -> {ok, Text};
                false -> cache_control()
            end;
        <<>> ->
            cache_control()
    catch
        error:badarg -> cache_control()
    end;
file_rule(precompressed, Value) ->
    is_boolean(Value) orelse "true or false";
file_rule(_, _) ->
    unknown.

-spec cache_control() -> string().
cache_control() ->
    "the value of a header, like <<\"max-age=3600\">>: ASCII without control characters".

%% Absolute: the engine must not depend on the current directory of the node.
-spec name(term(), term()) -> binary().
name(Path, Name) ->
    try
        %% An empty name would be the directory in which the node runs.
        false = lists:member(filename:flatten(Name), ["", <<>>]),
        Bin = sockeye_file_name:native(filename:absname(Name)),
        nomatch = binary:match(Bin, <<0>>),
        Bin
    catch
        error:_ -> bad("~0tp: ~0tp is not the name of a file", [Path, Name])
    end.
