%% What the shell shows with h and hcb: words for all that is public.
-module(sockeye_docs_tests).
-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-define(MODULES, [sockeye, sockeye_client, sockeye_json, sockeye_codec, sockeye_pubsub, sockeye_presence,
                  sockeye_handler]).

every_module_test_() ->
    [{atom_to_list(Module), fun() ->
          {docs_v1, _, erlang, <<"application/erlang+html">>, #{<<"en">> := [_ | _]}, _, Docs} = chunk(Module),
          ?assertEqual([], [Id || Id <- public(Module), not has_words(Id, Docs)])
      end} || Module <- ?MODULES].

%% Nothing that is nobody's business.
nothing_private_test_() ->
    [{atom_to_list(Module), fun() ->
          {docs_v1, _, _, _, _, _, Docs} = chunk(Module),
          ?assertEqual([], [Id || {Id, _, _, _, _} <- Docs] -- (public(Module) ++ hidden(Docs)))
      end} || Module <- ?MODULES].

%% No other module of ours is a behaviour.
behaviours_test() ->
    _ = application:load(sockeye),
    {ok, Modules} = application:get_key(sockeye, modules),
    ?assertEqual([sockeye_handler],
                 [M || M <- Modules, erlang:function_exported(M, behaviour_info, 1)
                           orelse begin {module, M} = code:ensure_loaded(M), erlang:function_exported(M, behaviour_info, 1) end]).

%% As the shell renders it.
the_shell_shows_a_callback_test_() ->
    [{lists:flatten(io_lib:format("~p/~b", [F, A])), fun() ->
          Shown = shown(F, A),
          ?assertNotEqual(nomatch, string:find(Shown, "-callback " ++ atom_to_list(F))),
          ?assert(length(Shown) > 100)
      end} || {F, A} <- sockeye_handler:behaviour_info(callbacks)].

an_example_keeps_its_lines_test() ->
    Shown = shown(handle_frame, 3),
    ?assertNotEqual(nomatch, string:find(Shown, "Name}}, _Conn, State) ->\n")).

%% A terminal of 80 columns: eunit's own output says nothing of itself.
shown(F, A) ->
    Old = group_leader(),
    true = group_leader(spawn_link(fun terminal/0), self()),
    try unicode:characters_to_list(shell_docs:render_callback(sockeye_handler, F, A, chunk(sockeye_handler)))
    after group_leader(Old, self())
    end.

terminal() ->
    receive
        {io_request, From, As, getopts} -> From ! {io_reply, As, [{encoding, unicode}]};
        {io_request, From, As, {get_geometry, columns}} -> From ! {io_reply, As, 80};
        {io_request, From, As, _} -> From ! {io_reply, As, {error, enotsup}}
    end,
    terminal().

%% ---------------------------------------------------------------- options

%% The tables of the guide have each option of the types, and no other.
options_of_the_guide_test_() ->
    [{Title, fun() -> ?assertEqual(keys(Module, Type), rows(Page, Section)) end}
     || {Title, Module, Type, Page, Section} <-
            [{"a server", sockeye, options, "options.md", "# Options"},
             {"compression", sockeye, deflate_options, "options.md", "## Compression"},
             {"TLS of a server", sockeye, tls, "options.md", "## TLS"},
             {"drain", sockeye, drain_options, "options.md", "## Time, and leaving"},
             {"a call that publishes", sockeye, publish_options, "fanout.md", "# Topics, clusters, presence"}]].

%% The words of the type have each option, too.
options_in_the_shell_test() ->
    {_, _, _, #{<<"en">> := Words}, _} = lists:keyfind({type, options, 0}, 1, element(7, chunk(sockeye))),
    Items = [Name || {ul, _, List} <- Words, {li, _, [{code, _, [Name]} | _]} <- List],
    ?assertEqual(keys(sockeye, options), lists:sort([binary_to_list(Name) || Name <- Items])).

keys(Module, Type) ->
    [Fields] = [Fields || {attribute, _, type, {T, {type, _, map, Fields}, []}} <- forms(Module), T =:= Type],
    lists:sort([atom_to_list(Key) || {type, _, _, [{atom, _, Key}, _]} <- Fields]).

%% The options in the first cells of a section's tables whose heads say `option' or `key'.
rows(Page, Section) ->
    {ok, Text} = file:read_file(filename:join([sockeye_test:root(), "erlang/guide", Page])),
    Lines = string:split(Text, "\n", all),
    [_ | After] = lists:dropwhile(fun(Line) -> Line =/= list_to_binary(Section) end, Lines),
    Mine = lists:takewhile(fun(Line) -> re:run(Line, "^#+ ") =:= nomatch end, After),
    lists:usort(lists:append(in_tables(Mine))).

in_tables(Lines) ->
    case lists:dropwhile(fun(Line) -> re:run(Line, "^\\| (option|key)\\b") =:= nomatch end, Lines) of
        [] -> [];
        [_Head, _Rule | Rest] ->
            {Rows, Others} = lists:splitwith(fun(Line) -> string:prefix(Line, "|") =/= nomatch end, Rest),
            [names(hd(string:split(string:prefix(Row, "| "), " |"))) || Row <- Rows] ++ in_tables(Others)
    end.

names(Cell) ->
    case re:run(Cell, "`(\\w+)`", [global, {capture, all_but_first, list}]) of
        {match, Found} -> lists:append(Found);
        nomatch -> []
    end.

forms(Module) ->
    {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(Module), [abstract_code]),
    Forms.

public(Module) ->
    Forms = forms(Module),
    [{function, F, A} || {attribute, _, export, List} <- Forms, {F, A} <- List, F =/= behaviour_info]
        ++ [{type, T, A} || {attribute, _, export_type, List} <- Forms, {T, A} <- List]
        ++ [{callback, F, A} || {attribute, _, callback, {{F, A}, _}} <- Forms].

hidden(Docs) ->
    [Id || {Id, _, _, hidden, _} <- Docs].

has_words(Id, Docs) ->
    case lists:keyfind(Id, 1, Docs) of
        {_, _, _, #{<<"en">> := [_ | _]}, _} -> true;
        {_, _, _, hidden, _} -> true;
        %% The same as another, and says so.
        {_, _, _, _, #{equiv := _}} -> true;
        _ -> false
    end.

%% The folder doc beside the sources or the ebin, whichever the compilation wrote.
chunk(Module) ->
    Name = atom_to_list(Module) ++ ".chunk",
    Beside = filename:dirname(filename:dirname(code:which(Module))),
    [File | _] = [F || Dir <- [Beside, sockeye_test:root()], F <- [filename:join([Dir, "doc", "chunks", Name])],
                       filelib:is_regular(F)],
    {ok, Bytes} = file:read_file(File),
    binary_to_term(Bytes).
