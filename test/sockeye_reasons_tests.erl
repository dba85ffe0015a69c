%% Each reason that a public function can give has a sentence, and a row in the guide.
%%
%% The reasons are those of the specifications and types of the public modules: from them samples are made.
-module(sockeye_reasons_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

%% Where it stands in the folder of the sources itself, it is public.
modules() ->
    [list_to_atom(filename:basename(File, ".erl")) || File <- doc_page:wildcards(["erlang/src/*.erl"])].

%% Types that are reasons, and stand in no result: of callbacks, and of events.
others() ->
    [{sockeye_handler, failure}, {sockeye_client, down_reason}, {sockeye_json, decode_error}].

sentences_test_() ->
    All = reasons(),
    [{lists:flatten(io_lib:format("~0tp", [Reason])),
      fun() ->
          Text = sockeye:format_error(Reason),
          ?assertEqual({Reason, Text, nomatch}, {Reason, Text, string:find(Text, "not Sockeye's own")}),
          ?assert(lists:all(fun is_integer/1, Text)),
          ?assertEqual(Text, sockeye:format_error({error, Reason}))
      end} || Reason <- All].

%% There are as many as there should be: that nothing is found would be no test.
all_are_found_test() ->
    All = reasons(),
    ?assert(length(All) > 80),
    Missing = [{after_close, term}, closed, busy, down, not_present, draining, {not_json, term, <<"text">>}, {redirect, insecure}, {tls, {bad_host, <<"text">>}},
               {bad_handshake, accept}, {proxy, denied}, {draft_76, <<"text">>}, {eof, 1}, {bad_command, <<"text">>}, {closed, 1, <<"text">>}] -- All,
    ?assertEqual([], Missing).

rows_test() ->
    {ok, Page} = file:read_file(filename:join(test_support:root(), "erlang/guide/errors.md")),
    Rows = [hd(string:split(Row, " |")) || <<"| ", Row/binary>> <- string:split(Page, "\n", all)],
    ?assertEqual([], lists:usort([Name || Reason <- reasons(), Name <- names(Reason), not has_row(Name, Rows)])),
    ?assertNot(has_row(nonsense, Rows)).

%% What a row must have: the tag, and what stands in it where that is one of several atoms.
names(Reason) when is_atom(Reason) -> [Reason];
names(Reason) when is_tuple(Reason) ->
    case tuple_to_list(Reason) of
        [Tag, {Inner, _} | _] when is_atom(Inner), Tag =/= not_json -> [Tag, Inner];
        [Tag, Inner | _] when is_atom(Inner), Inner =/= term -> [Tag, Inner];
        [Tag | _] when is_atom(Tag) -> [Tag];
        _ -> []
    end;
names(_List) -> [].

has_row(Name, Rows) ->
    lists:any(fun(Row) -> re:run(Row, ["\\b", atom_to_list(Name), "\\b"], [{capture, none}]) =:= match end, Rows).

%% Whatever comes, there is a sentence.
any_term_test_() ->
    [?_assertMatch([_ | _], sockeye:format_error(Term))
     || Term <- [nonsense, {nonsense, 1}, [], [1 | 2], <<255>>, self(), #{a => 1}, {bad_option, port, not_text}, {bad_option, <<255>>, <<255>>}, {refused, 7},
                 {refused, #{status => 500, body => <<255, "\n">>}}, {not_json, 1}, {not_json, self(), self()}, {tls, nonsense}, {tls, {nonsense, <<>>}}, {proxy, {a, b}},
                 {bad_handshake, 7}, {redirect, nonsense}, {nonsense, <<>>}, {closed, nonsense, 7}, {too_low, nonsense}, {error, {error, closed}}, {eof, -1},
                 [{1, 2}], {undef, []}, {{badmatch, 1}, [{m, f, 1, []}]}, 'Elixir.Nonsense']].

%% Those of the system are as inet says.
system_test() ->
    ?assertEqual(inet:format_error(ehostunreach), sockeye:format_error(ehostunreach)),
    ?assertEqual("option port: no", sockeye:format_error({bad_option, port, <<"no">>})).

%% What really comes, at a few places.
real_test() ->
    [?assertEqual(nomatch, string:find(sockeye:format_error(Reason), "not Sockeye's own"))
     || {error, Reason} <- [sockeye:start_link(#{prot => 1}), sockeye:stop(no_such_server), sockeye_json:decode("[1,"), sockeye_json:encode(self()),
                            sockeye_client:connect("nonsense"), sockeye_client:connect("ws://127.0.0.1:1/"), sockeye_test:start(#{prot => 1}), sockeye_client:info(no_such_client),
                            sockeye_test_client:connect(1)] ++ codec()].

%% Not where the engine is a process of its own.
codec() ->
    case sockeye_backend:engine() of
        nif -> [sockeye_codec:request(#{}), sockeye_codec:accept(<<"GET / HTTP/1.1\r\nHost: a\r\n\r\n">>)];
        port -> []
    end.

%% ---------------------------------------------------------------- samples

reasons() ->
    Specs = [{Module, Result} || Module <- modules(), {attribute, _, spec, {{F, A}, Clauses}} <- forms(Module),
                                 lists:member({F, A}, exports(Module)), Clause <- Clauses, Result <- [returned(Clause)]],
    lists:usort(lists:append([in_result(Result, Module) || {Module, Result} <- Specs]
                             ++ [samples(definition(Module, Type), Module) || {Module, Type} <- others()]))
        -- [term].

forms(Module) ->
    case get({forms, Module}) of
        undefined ->
            {ok, {_, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(Module), [abstract_code]),
            _ = put({forms, Module}, Forms),
            Forms;
        Forms -> Forms
    end.

exports(Module) -> lists:append([List || {attribute, _, export, List} <- forms(Module)]).

returned({type, _, bounded_fun, [Fun, _]}) -> returned(Fun);
returned({type, _, 'fun', [_, Result]}) -> Result.

in_result({type, _, union, Parts}, Module) -> lists:append([in_result(Part, Module) || Part <- Parts]);
in_result({type, _, tuple, [{atom, _, error}, Error]}, Module) -> samples(Error, Module);
in_result({user_type, _, Type, []}, Module) -> in_result(definition(Module, Type), Module);
in_result(_, _Module) -> [].

%% One of each form: all of a union, of another type one value.
samples({atom, _, Atom}, _) -> [Atom];
samples({integer, _, N}, _) -> [N];
samples({ann_type, _, [_, Type]}, Module) -> samples(Type, Module);
samples({type, _, union, Parts}, Module) -> lists:append([samples(Part, Module) || Part <- Parts]);
samples({type, _, tuple, Parts}, Module) when is_list(Parts) -> [list_to_tuple(Values) || Values <- all([samples(Part, Module) || Part <- Parts])];
samples({type, _, nonempty_list, [Type]}, Module) -> [[Sample] || Sample <- samples(Type, Module)];
samples({type, _, list, [Type]}, Module) -> [[Sample] || Sample <- samples(Type, Module)];
samples({type, _, map, Fields}, Module) when is_list(Fields) ->
    [maps:from_list([{Key, hd(samples(Type, Module))} || {type, _, map_field_exact, [{atom, _, Key}, Type]} <- Fields])];
samples({type, _, Binary, _}, _) when Binary =:= binary; Binary =:= iodata; Binary =:= iolist -> [<<"text">>];
samples({type, _, pid, []}, _) -> [list_to_pid("<0.0.0>")];
samples({type, _, Number, _}, _) when Number =:= pos_integer; Number =:= non_neg_integer; Number =:= integer; Number =:= range -> [1];
samples({type, _, _, _}, _) -> [term];
samples({user_type, _, Type, []}, Module) -> samples(definition(Module, Type), Module);
samples({remote_type, _, [{atom, _, Module}, {atom, _, Type}, []]}, _) ->
    case lists:prefix("sockeye", atom_to_list(Module)) of
        true -> samples(definition(Module, Type), Module);
        false -> [term]
    end.

all([Samples | Rest]) -> [[Sample | More] || Sample <- Samples, More <- all(Rest)];
all([]) -> [[]].

definition(Module, Type) ->
    [Definition] = [D || {attribute, _, Kind, {T, D, []}} <- forms(Module), Kind =:= type orelse Kind =:= opaque, T =:= Type],
    Definition.
