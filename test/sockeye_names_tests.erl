%% Pages name files, modules, functions, types and tests of the tree. Each of them is there.
%%
%% What stands between backticks is looked up by its form:
%%
%% - `conn/io.rs', `native/protocol': a file or a folder;
%% - `Conn::close', `Progress::Ended': a function, constant or variant, in a file that defines the type or adds to it;
%% - `sockeye_nif:answered/1', `sys:get_state/1': a function, of ours or of OTP;
%% - `check/2': a function or callback of ours;
%% - `ConnOptions', `look_for_end', `close_timeout': an identifier of the sources, on the pages about the tree.
-module(sockeye_names_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(doc_page, [page/1, pages/0, others/0, wildcards/1]).

-define(SECONDS, 120).

%% Pages about the tree: every identifier on them is one of the sources.
about_the_tree() ->
    ["ARCHITECTURE.md" | [Page || "docs/" ++ _ = Page <- others()]].

%% Identifiers that are not ours.
of_others() ->
    ["enif_make_map_from_arrays", "enif_send", "malloc_trim", "malloc_info", "hibernate_after", "nosuspend", "net_ticktime", "proc_lib", "pg",
     "gen_server", "supervisor", "logger", "sys", "ssl", "strip", "loom", "hyper", "h2", "httparse", "ring", "ipnet", "tokio", "perf",
     "yield", "prep_stop", "access_denied", "close_notify", "unrecognized_name", "ETag", "TCP_NOTSENT_LOWAT", "SO_REUSEPORT"].

names_test_() ->
    {setup, fun tree/0,
     fun(Tree) ->
         [{timeout, ?SECONDS,
           {Page, fun() -> ?assertEqual([], [Name || Name <- named(page(Page)), not is_there(Name, is_strict(Page), Tree)]) end}}
          || Page <- pages() ++ others(), not lists:member(Page, ["bench/NUMBERS.md", "bench/SCALE.md"])]
     end}.

is_strict(Page) ->
    lists:member(Page, about_the_tree()) andalso filename:basename(Page) =/= "dependencies.md".

%% What a test calls of ours is there: a support module's function may be missed in one that seldom runs.
calls_test_() ->
    {timeout, ?SECONDS, fun() ->
        Files = lists:append([filelib:wildcard(filename:join(filename:dirname(code:which(Module)), "*.beam"))
                              || Module <- [?MODULE, sockeye]]),
        Chunks = [Chunk || File <- Files, {ok, Chunk} <- [beam_lib:chunks(File, [imports, exports])]],
        There = maps:from_list([{{Module, F, A}, true} || {Module, [_, {exports, Exports}]} <- Chunks, {F, A} <- Exports]),
        Ours = maps:from_list([{Module, true} || {Module, _} <- Chunks]),
        ?assert(is_map_key({?MODULE, calls_test_, 0}, There)),
        %% That there is none is what its test is about.
        Missing = [{Module, Called} || {Module, [{imports, Imports}, _]} <- Chunks, {Of, _, _} = Called <- Imports,
                                       is_map_key(Of, Ours), not is_map_key(Called, There)]
            -- [{sockeye_reload_tests, {sockeye_nif, unknown, 0}}],
        ?assertEqual([], Missing)
    end}.

%% A name that is not there is found, whatever its form.
wrong_names_test_() ->
    {setup, fun tree/0,
     fun(Tree) ->
         [{Name, ?_assertEqual({Name, IsThere}, {Name, lists:all(fun(N) -> is_there(N, true, Tree) end, named("`" ++ Name ++ "`"))})}
          || {Name, IsThere} <-
                 [{"ARCHITECTURE.md", true}, {"session.rs", true}, {"protocol/src/session.rs", true}, {"none.rs", false},
                  {"ession.rs", false}, {"none/session.rs", false},
                  {"native/protocol/src/deflate", true}, {"native/protocol/src/inflate", false}, {"native/none.rs", false},
                  {"Session::receive_some", true}, {"Session::receive_none", false}, {"Sessions::receive_some", false},
                  {"Session::negotiate", false}, {"crate::settings", true}, {"crate::setting", false}, {"Progress::Ended", true}, {"Progress::Edned", false},
                  {"sockeye_options:check/2", true}, {"sockeye_options:check/3", false}, {"sockeye_none:check/2", false},
                  {"sockeye_options:check", true}, {"sockeye_options:chekc", false}, {"sockeye:info()", true},
                  {"sockeye:infos()", false}, {"lists:map/2", true}, {"lists:map/9", false},
                  {"handle_frame/3", true}, {"handle_frame/2", false}, {"info/0,1", true}, {"info/0,7", false},
                  {"receive_some", true}, {"receive_none", false}, {"ServerConfig", true}, {"ServerConfog", false},
                  {"max_subscriptions", true}, {"max_subscription", false}]]
     end}.

blocks_are_left_out_test() ->
    ?assertEqual(["a", "c.rs"], named("`a`\n```erlang\n`b.rs`\n```\nand `c.rs`\n")).

%% ---------------------------------------------------------------- names

%% What stands between backticks outside of code blocks.
named(Text) ->
    Prose = re:replace(Text, "^```.*?^```$", "", [global, multiline, dotall, unicode, {return, list}]),
    case re:run(Prose, "`([^`\n]+)`", [global, unicode, {capture, all_but_first, list}]) of
        {match, Found} -> lists:usort([Name || [Name] <- Found]);
        nomatch -> []
    end.

is_there(Name, IsStrict, Tree) ->
    Forms = [{"^[\\w./-]+\\.(?:rs|erl|md|escript)$", fun(_) -> not IsStrict orelse is_file(Name, Tree) end},
             {"^bench/(?:results|target)\\b", fun(_) -> true end},
             {"^(?:native|erlang|docs|test|bench|examples)/[\\w./-]+$", fun(_) -> is_path(Name) end},
             {"^crate::(\\w+)$", fun([Module]) -> lists:any(fun(Text) -> matches(Text, ["\\bmod ", Module, "\\b"]) end, maps:get(rust, Tree)) end},
             {"^(\\w+)::(\\w+)$", fun([Type, Item]) -> is_item(Type, Item, Tree) end},
             {"^\\w+_tests(?::.*)?$", fun(_) -> true end},
             %% It need not be installed.
             {"^cowboy\\w*:[a-z]\\w*/\\d+$", fun(_) -> true end},
             {"^([a-z]\\w*):([a-z]\\w*)/(\\d+)$",
              fun([Module, Function, Arity]) -> is_function(Module, Function, [list_to_integer(Arity)], Tree) end},
             {"^(sockeye\\w*):([a-z]\\w*)(?:\\(.*\\))?$", fun([Module, Function | _]) -> is_function(Module, Function, any, Tree) end},
             {"^([a-z]\\w*)/(\\d+(?:,\\d+)*)$", fun([Function, Arities]) -> is_ours(Function, Arities, Tree) end},
             %% `max_' and `_timeout' are parts of names.
             {"^[A-Za-z]\\w*[A-Za-z0-9]$", fun(_) -> not IsStrict orelse is_word(Name, Tree) end}],
    first(Name, Forms).

first(_Name, []) ->
    true;
first(Name, [{Form, Check} | Rest]) ->
    case re:run(Name, Form, [{capture, all_but_first, list}]) of
        {match, Parts} -> Check(Parts);
        match -> Check([]);
        nomatch -> first(Name, Rest)
    end.

is_file(Name, #{files := Files}) ->
    lists:any(fun(File) -> lists:suffix("/" ++ Name, "/" ++ File) end, Files).

is_path(Name) ->
    filelib:is_file(filename:join(test_support:root(), Name)).

is_item(Type, Item, #{rust := Rust}) ->
    lists:any(fun(Text) ->
                      matches(Text, ["\\b(?:impl|enum|struct|trait|mod)\\b[^{;]*\\b", Type, "\\b"]) andalso
                          matches(Text, ["\\bfn ", Item, "\\b|\\bconst ", Item, "\\b|^\\s+", Item, "\\s*[({,=]"])
              end, Rust).

matches(Text, Pattern) ->
    re:run(Text, Pattern, [multiline, {capture, none}]) =:= match.

is_function(Module, Function, Arities, #{functions := Ours}) ->
    Defined = case Ours of
                  #{Module := Functions} -> [A || {F, A} <- Functions, F =:= Function];
                  _ -> [A || {F, A} <- exported(Module), atom_to_list(F) =:= Function]
              end,
    case Arities of
        any -> Defined =/= [];
        _ -> Arities -- Defined =:= []
    end.

exported(Module) ->
    case code:ensure_loaded(list_to_atom(Module)) of
        {module, Loaded} -> Loaded:module_info(exports);
        {error, _} -> []
    end.

is_ours(Function, Arities, #{functions := Ours}) ->
    Callbacks = [{atom_to_list(F), A} || {F, A} <- sockeye_handler:behaviour_info(callbacks)],
    All = lists:append([Callbacks | maps:values(Ours)]),
    lists:member(Function, of_others()) orelse
        lists:all(fun(Arity) -> lists:member({Function, list_to_integer(Arity)}, All) end, string:lexemes(Arities, ",")).

is_word(Name, #{words := Words}) ->
    is_map_key(list_to_binary(Name), Words) orelse lists:member(Name, of_others()).

%% ---------------------------------------------------------------- the tree

tree() ->
    Files = wildcards(["*.md", "docs/**/*.{md,escript}", "erlang/**/*.{erl,md,escript}", "native/*.escript",
                       "native/*/{src,tests,examples}/**/*.rs", "test/**/*.erl"]),
    Rust = [source(File, "^\\s*//.*$") || "native/" ++ _ = File <- Files, filename:extension(File) =:= ".rs"],
    Erlang = [source(File, "^\\s*%.*$") || "erlang/" ++ _ = File <- Files, filename:extension(File) =:= ".erl"],
    #{files => Files, rust => Rust, functions => functions(),
      words => maps:from_list([{Word, []} || Text <- Rust ++ Erlang, Word <- words(Text)])}.

%% Without comments, which may keep a name that is gone.
source(File, Comment) ->
    {ok, Text} = file:read_file(filename:join(test_support:root(), File)),
    re:replace(Text, Comment, "", [global, multiline, {return, binary}]).

words(Text) ->
    {match, Found} = re:run(Text, "\\w+", [global, {capture, first, binary}]),
    lists:usort(lists:append(Found)).

%% Of our modules, private ones too.
functions() ->
    _ = application:load(sockeye),
    {ok, Modules} = application:get_key(sockeye, modules),
    maps:from_list([{atom_to_list(Module), defined(Module)} || Module <- Modules]).

defined(Module) ->
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(Module), [abstract_code]),
    [{atom_to_list(F), A} || {function, _, F, A, _} <- Forms].

%% ---------------------------------------------------------------- tests

%% Tests that pages name are there.
named_tests_test_() ->
    [{Page, fun() -> ?assertEqual([], [Name || Name <- tests(page(Page)), not is_test(Name)]) end}
     || Page <- pages() ++ others(), tests(page(Page)) =/= []].

tests(Text) ->
    case re:run(Text, "\\b(sockeye_\\w+_tests)(?::(\\w+))?", [global, unicode, {capture, all_but_first, list}]) of
        {match, Found} -> Found;
        nomatch -> []
    end.

is_test([Module | Names]) ->
    case file:read_file(filename:join([test_support:root(), "test", Module ++ ".erl"])) of
        {ok, Source} -> lists:all(fun(Name) -> string:find(Source, Name) =/= nomatch end, Names);
        {error, _} -> false
    end.

a_test_that_is_not_there_test() ->
    ?assertEqual([false, false, true], [is_test(T) || T <- [["sockeye_none_tests"], ["sockeye_send_tests", "nothing_like_it"],
                                                           ["sockeye_send_tests", "busy"]]]).

%% An atom in OTP 25, a keyword in 27.
words_of_newer_releases_are_quoted_test() ->
    Files = wildcards([Folder ++ "/**/*." ++ Kind || Folder <- ["erlang", "test", "examples", "bench/peers", "native"], Kind <- ["erl", "hrl", "escript"]]),
    ?assert(length(Files) > 200),
    ?assertEqual([], [{File, Line} || File <- Files, Line <- new_words(page(File))]),
    ?assertEqual([2], new_words("%% maybe 'maybe'\n{maybe, \"maybe\", may_be}")).

new_words(Text) ->
    [erl_scan:line(Token) || Token <- tokens(Text), erl_scan:text(Token) =:= "maybe"].

%% The newest release warns of `catch' without `try', and a warning is an error in tests.
no_catch_without_try_test() ->
    Files = wildcards([Folder ++ "/**/*." ++ Kind || Folder <- ["erlang", "test", "examples", "bench/peers", "native"], Kind <- ["erl", "hrl", "escript"]]),
    ?assertEqual([], [{File, Line} || File <- Files, Line <- lonely(tokens(page(File)))]),
    ?assertEqual([3], lonely(tokens("try a()\ncatch _:_ -> {1} end,\n_ = (catch b()),\ntry <<>> catch _ -> c end."))).

%% That of `try' stands behind an expression, the other one never does.
lonely([Before, {'catch', _} = Token | Rest]) ->
    Ends = [atom, var, integer, float, string, char, ')', '}', ']', '>>', 'end'],
    [erl_scan:line(Token) || not lists:member(element(1, Before), Ends)] ++ lonely([Token | Rest]);
lonely([_ | Rest]) -> lonely(Rest);
lonely([]) -> [].

%% Without the first line of an escript.
tokens(Text) ->
    {ok, Tokens, _} = erl_scan:string(re:replace(Text, "^#!.*", "", [unicode, {return, list}]), 1, [text]),
    Tokens.
