%% Tests for one place of the engine are few, and each stands in test/README.md with its reason.
-module(sockeye_one_mode_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

the_table_is_what_the_modules_say_test() ->
    Said = [{Module, Only, sorted(Which)} || Module <- modules(), {Only, Which} <- [one_mode:of_module(Module)]],
    ?assert(length(Said) > 3),
    ?assertEqual(lists:sort(Said), lists:sort(table())).

%% A name that no test has would be left out for ever, and nobody would see it.
each_names_a_test_test() ->
    ?assertEqual([], [{Module, Name} || Module <- modules(), {_, Names} <- [one_mode:of_module(Module)], Names =/= all,
                                        Name <- Names, not erlang:function_exported(Module, Name, 0)]).

left_out_is_what_is_not_for_here_test() ->
    Tests = [{test, m, a_test}, {generator, m, b_test_}, {generator, fun m:c_test_/0}],
    Here = fun(Only, Engine) -> one_mode:here(?MODULE, Only, Tests, Engine) end,
    [begin
         ?assertEqual(Tests, Here(none, Engine)),
         ?assertEqual(Tests, Here({Engine, all}, Engine)),
         ?assertEqual([], Here({Other, all}, Engine)),
         ?assertEqual([{generator, m, b_test_}], Here({Other, [a_test, c_test_]}, Engine))
     end || {Engine, Other} <- [{nif, port}, {port, nif}]].

modules() ->
    Files = filelib:wildcard(filename:join([test_support:root(), "test", "*_tests.erl"])),
    Modules = [list_to_atom(filename:basename(File, ".erl")) || File <- Files],
    [{module, Module} = code:ensure_loaded(Module) || Module <- Modules],
    Modules.

readme() ->
    {ok, Text} = file:read_file(filename:join([test_support:root(), "test", "README.md"])),
    Text.

table() ->
    {match, Rows} = re:run(readme(), "^\\| `(\\w+_tests)` \\| (.*?) \\| `(nif|port)` \\| \\S.*\\|$",
                           [global, multiline, {capture, all_but_first, list}]),
    [{list_to_atom(Module), list_to_atom(Only), which(Which)} || [Module, Which, Only] <- Rows].

which("all") -> all;
which(Names) -> sorted([list_to_atom(string:trim(Name, both, "` ")) || Name <- string:split(Names, ",", all)]).

sorted(all) -> all;
sorted(Names) -> lists:sort(Names).
