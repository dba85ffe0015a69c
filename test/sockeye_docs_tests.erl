%% What the shell shows with h and hcb: words for all that is public.
-module(sockeye_docs_tests).
-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-define(MODULES, [sockeye, sockeye_client, sockeye_json, sockeye_codec, sockeye_pubsub, sockeye_presence,
                  sockeye_handler, sockeye_test, sockeye_test_client]).

every_module_test_() ->
    [{atom_to_list(Module), fun() ->
          {docs_v1, _, erlang, <<"application/erlang+html">>, #{<<"en">> := [_ | _]}, _, Docs} = chunk(Module),
          ?assertEqual([], [Id || Id <- public(Module), not has_words(Id, Docs)])
      end} || Module <- ?MODULES].

%% Examples, which sockeye_guide_tests runs: each function has one, or is said to be the same as another.
every_function_has_an_example_test_() ->
    [{atom_to_list(Module), fun() ->
          ?assertEqual([], [Id || {{function, _, _} = Id, Words} <- documented(Module), not has_element(pre, Words)])
      end} || Module <- ?MODULES].

%% Each error that the specification of a function has is named in its words, or in those of the error's type.
every_error_is_named_test_() ->
    [{atom_to_list(Module), fun() ->
          Documented = documented(Module),
          ?assertEqual([], [{Id, Error} || {{function, F, A} = Id, Words} <- Documented, {Error, About} <- errors(Module, F, A),
                                           not says([Words | About], Error)])
      end} || Module <- ?MODULES].

an_error_that_is_not_named_test() ->
    ?assertEqual([closed, not_json, timeout], lists:usort([Error || {Error, _} <- errors(sockeye, publish, 4)] -- [not_found, not_clustered, not_utf8])),
    Words = [{p, [], [<<"Returns ">>, {code, [], [<<"closed">>]}, <<"; {not_json, _}">>]}],
    ?assertEqual([true, true, false], [says([Words], Error) || Error <- [closed, not_json, close]]).

%% Nothing that is nobody's business.
nothing_private_test_() ->
    [{atom_to_list(Module), fun() ->
          {docs_v1, _, _, _, _, _, Docs} = chunk(Module),
          ?assertEqual([], [Id || {Id, _, _, _, _} <- Docs] -- (public(Module) ++ hidden(Docs)))
      end} || Module <- ?MODULES].

%% No other module of ours is a behaviour, but those that say what an engine has to do.
behaviours_test() ->
    _ = application:load(sockeye),
    {ok, Modules} = application:get_key(sockeye, modules),
    ?assertEqual([sockeye_backend, sockeye_handler, sockeye_pure],
                 lists:sort([M || M <- Modules, erlang:function_exported(M, behaviour_info, 1)
                           orelse begin {module, M} = code:ensure_loaded(M), erlang:function_exported(M, behaviour_info, 1) end])).

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
             {"the check of a host", sockeye, host_options, "scale.md", "### What the connections will be like"},
             {"drain", sockeye, drain_options, "options.md", "## Draining"},
             {"a web server behind", sockeye, proxy_options, "beside.md", "### Options of a proxy"},
             {"TLS of a client", sockeye_client, tls, "client.md", "## TLS"},
             {"reconnecting", sockeye_client, reconnect, "client.md", "## Reconnecting"},
             {"a handshake that is accepted", sockeye_handler, decision, "handler.md", "## Before the handshake"},
             {"a call that publishes", sockeye, publish_options, "fanout.md", "# Topics, clusters, presence"}]].

options_of_the_codec_test() ->
    Types = [request_options, accept_options, codec_options, limits],
    ?assertEqual(lists:usort(lists:append([keys(sockeye_codec, Type) || Type <- Types])), rows("codec.md", "# The codec on its own")).

%% The environment of the application.
environment_test() ->
    Read = [Key || File <- doc_page:wildcards(["erlang/**/*.erl"]),
                   {match, Found} <- [re:run(doc_page:page(File), "application:get_env\\(sockeye, (\\w+)", [global, unicode, {capture, [1], list}])],
                   [Key] <- Found],
    ?assertEqual(lists:usort(Read), rows("install.md", "## In a release, and at run time")).

%% They have each option that the code takes.
options_of_the_code_test() ->
    ?assertEqual(clauses(sockeye_options), rows("options.md", "# Options")).

options_of_a_client_test() ->
    Shared = [Key || Key <- clauses(sockeye_options), is_known(list_to_atom(Key))],
    ?assert(length(Shared) > 20),
    Others = lists:append([names(Cells) || Line <- lines("client.md"), "| as for a " ++ Cells <- [unicode:characters_to_list(Line)]]),
    ?assertEqual(lists:usort(clauses(sockeye_client_options) ++ Shared), lists:sort(rows("client.md", "## Options") ++ Others)).

is_known(Key) ->
    case sockeye_client_options:parse("ws://a", self(), #{Key => {}}, self()) of
        {error, {bad_option, Key, <<"unknown option", _/binary>>}} -> false;
        _ -> true
    end.

%% The keys that check/2 has a clause for.
clauses(Module) ->
    [Clauses] = [Clauses || {function, _, check, 2, Clauses} <- forms(Module)],
    lists:usort([atom_to_list(Key) || {clause, _, [{atom, _, Key} | _], _, _} <- Clauses]).

%% The words of the type have each option, too, and the page that says more.
options_in_the_shell_test() ->
    {_, _, _, #{<<"en">> := Words}, _} = lists:keyfind({type, options, 0}, 1, element(7, chunk(sockeye))),
    ?assertEqual([], [Name || Name <- ["erlang/guide/options.md" | keys(sockeye, options)], not lists:member(Name, codes(Words))]).

codes({code, _, [Name]}) -> [binary_to_list(Name)];
codes({_, _, Inside}) -> codes(Inside);
codes(Words) when is_list(Words) -> lists:append([codes(Part) || Part <- Words]);
codes(_) -> [].

%% The tables of the guide have each key that info/0,1 gives, and no other.
infos_of_the_guide_test() ->
    ok = test_support:quiet(fun() -> {ok, _} = application:ensure_all_started(sockeye), ok end),
    Self = self(),
    Open = fun(_Conn, Info, _) -> Self ! {opened, Info}, {[], none} end,
    {ok, Server} = sockeye:start_link(#{port => 0, handler => {fun_handler, #{open => Open}},
                                        accept => fun(_) -> {accept, #{state => let_in}} end}),
    {ok, Client} = sockeye_client:start_link("ws://127.0.0.1:" ++ integer_to_list(test_support:port(Server)), Self),
    Opened = receive {opened, Info} -> Info end,
    {ok, [Conn]} = sockeye:connections(Server),
    {ok, Engine} = sockeye:info(),
    {ok, OfServer} = sockeye:info(Server),
    {ok, OfConn} = sockeye:info(Conn),
    {ok, OfClient} = sockeye_client:info(Client),
    ok = sockeye_client:stop(Client),
    ok = sockeye:stop(Server),
    test_support:flush(),
    [?assertEqual({Section, lists:sort([atom_to_list(Key) || Key <- maps:keys(Map)])}, {Section, rows(Page, Section)})
     || {Map, Page, Section} <- [{maps:merge(#{os_pid => 0}, Engine), "functions.md", "### The engine of this node"},
                                 {OfServer, "functions.md", "### A server"},
                                 {OfConn, "functions.md", "### A connection"},
                                 {OfClient, "client.md", "## What `info` tells"},
                                 {Opened, "handler.md", "## Messages to an owner"}]].

%% So are the names that a scraper gets.
metrics_of_the_guide_test() ->
    test_support:with_server(#{metrics => "/metrics"}, fun(Port, _Server) ->
        {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
        ok = gen_tcp:send(Socket, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        Answer = until_closed(Socket, <<>>),
        {match, Found} = re:run(Answer, "^# TYPE (\\w+) ", [multiline, global, {capture, all_but_first, list}]),
        ?assertEqual(lists:sort(lists:append(Found)), rows("functions.md", "## Metrics"))
    end).

until_closed(Socket, Before) ->
    case gen_tcp:recv(Socket, 0, 60000) of
        {ok, Bytes} -> until_closed(Socket, <<Before/binary, Bytes/binary>>);
        {error, closed} -> Before
    end.

keys(Module, Type) ->
    Fields = lists:append([map_fields(Definition) || {attribute, _, type, {T, Definition, []}} <- forms(Module), T =:= Type]),
    ?assertNotEqual([], Fields),
    lists:sort([atom_to_list(Key) || {type, _, _, [{atom, _, Key}, _]} <- Fields]).

%% Of a map, or of one in a tuple.
map_fields({type, _, map, Fields}) -> Fields;
map_fields({type, _, Kind, Parts}) when Kind =:= tuple; Kind =:= union -> lists:append([map_fields(Part) || Part <- Parts]);
map_fields(_) -> [].

%% What stands in the first cells of a section's tables whose heads say `option', `key' or `metric'.
rows(Page, Section) ->
    [_ | After] = lists:dropwhile(fun(Line) -> Line =/= list_to_binary(Section) end, lines(Page)),
    Mine = lists:takewhile(fun(Line) -> re:run(Line, "^#+ ") =:= nomatch end, After),
    lists:usort(lists:append(in_tables(Mine))).

lines(Page) ->
    {ok, Text} = file:read_file(filename:join([test_support:root(), "erlang/guide", Page])),
    string:split(Text, "\n", all).

in_tables(Lines) ->
    case lists:dropwhile(fun(Line) -> re:run(Line, "^\\| (option|key|metric)\\b") =:= nomatch end, Lines) of
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

%% What has words of its own.
documented(Module) ->
    {docs_v1, _, _, _, _, _, Docs} = chunk(Module),
    Public = public(Module),
    [{Id, Words} || {Id, _, _, #{<<"en">> := Words}, Meta} <- Docs, not is_same(Words, Meta), lists:member(Id, Public)].

%% As another: `@equiv'.
is_same(_Words, #{equiv := _}) -> true;
is_same([{p, _, [<<"Equivalent to ", _/binary>> | _]}], _Meta) -> true;
is_same(_Words, _Meta) -> false.

has_element(Name, {Name, _, _}) -> true;
has_element(Name, {_, _, Inside}) -> has_element(Name, Inside);
has_element(Name, [First | Rest]) -> has_element(Name, First) orelse has_element(Name, Rest);
has_element(_Name, _) -> false.

says(Words, Error) ->
    re:run(text(Words), ["\\b", atom_to_list(Error), "\\b"], [{capture, none}, unicode]) =:= match.

text({_, _, Inside}) -> text(Inside);
text(Words) when is_list(Words) -> [text(Part) || Part <- Words];
text(Binary) -> [Binary, " "].

%% What may stand in the `{error, _}' of a function, each with the words of the types that have it.
errors(Module, F, A) ->
    [Specs] = [Specs || {attribute, _, spec, {{Name, Arity}, Specs}} <- forms(Module), Name =:= F, Arity =:= A],
    lists:usort([Error || Spec <- Specs, Error <- in_result(returned(Spec), Module)]).

returned({type, _, bounded_fun, [Fun, _]}) -> returned(Fun);
returned({type, _, 'fun', [_, Result]}) -> Result.

in_result({type, _, union, Parts}, Module) -> lists:append([in_result(Part, Module) || Part <- Parts]);
in_result({type, _, tuple, [{atom, _, error}, Error]}, Module) -> reasons(Error, Module, []);
in_result({user_type, _, Type, []}, Module) -> in_result(definition(Module, Type), Module);
in_result(_, _Module) -> [].

reasons({atom, _, Reason}, _Module, About) -> [{Reason, About}];
reasons({type, _, tuple, [{atom, _, Reason} | _]}, _Module, About) -> [{Reason, About}];
reasons({type, _, union, Parts}, Module, About) -> lists:append([reasons(Part, Module, About) || Part <- Parts]);
reasons({ann_type, _, [_, Type]}, Module, About) -> reasons(Type, Module, About);
reasons({user_type, _, Type, []}, Module, About) -> reasons(definition(Module, Type), Module, About ++ words(Module, Type));
reasons({remote_type, _, [{atom, _, Module}, {atom, _, Type}, []]}, _, About) ->
    reasons(definition(Module, Type), Module, About ++ words(Module, Type));
reasons(_, _Module, _About) -> [].

definition(Module, Type) ->
    [Definition] = [D || {attribute, _, Kind, {T, D, []}} <- forms(Module), Kind =:= type orelse Kind =:= opaque, T =:= Type],
    Definition.

words(Module, Type) ->
    lists:member(Module, ?MODULES) orelse error({private, Module, Type}),
    [Words || {{type, T, 0}, Words} <- documented(Module), T =:= Type].

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
    [File | _] = [F || Dir <- [Beside, test_support:root()], F <- [filename:join([Dir, "doc", "chunks", Name])],
                       filelib:is_regular(F)],
    {ok, Bytes} = file:read_file(File),
    binary_to_term(Bytes).
