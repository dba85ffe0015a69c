%% That every test has time on a busy machine, and one that hangs still ends.
-module(sockeye_test_time_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

%% More than EUnit gives by itself.
longer_than_usual_test() ->
    timer:sleep(6000).

every_module_test() ->
    Modules = [list_to_atom(filename:basename(File, ".erl"))
               || File <- filelib:wildcard(filename:join([test_support:root(), "test", "*_tests.erl"]))],
    ?assert(length(Modules) > 70),
    Without = [Module || Module <- Modules, {module, Module} =:= code:ensure_loaded(Module),
                         not erlang:function_exported(Module, eunit_wrapper_, 1)],
    ?assertEqual([], Without).

%% As EUnit asks for the tests of a module.
of_a_module_test() ->
    Test = {test, ?MODULE, of_a_module_test},
    [{timeout, 300, Test}, {generator, Generator, {?MODULE, every_way_test_, 0}}] =
        ?MODULE:eunit_wrapper_([Test, {generator, ?MODULE, every_way_test_}]),
    ?assert(is_function(Generator, 0)).

%% Each way to write tests: what is a test gets the limit, once, and keeps a longer one.
every_way_test_() ->
    F = fun() -> ok end,
    L = {timeout, 300, F},
    [{lists:flatten(io_lib:format("~0p", [Tests])), ?_assertEqual(Expected, sockeye_test_time:limited(Tests))}
     || {Tests, Expected} <-
            [{F, L},
             {[], []},
             {[F, [F]], [L, [L]]},
             {{7, F}, {timeout, 300, {7, F}}},
             {{{m, f, 0}, F}, {timeout, 300, {{m, f, 0}, F}}},
             {{test, m, f_test}, {timeout, 300, {test, m, f_test}}},
             {{"title", F}, {"title", L}},
             {{<<"title">>, [F]}, {<<"title">>, [L]}},
             {{"title", 7, F}, {"title", {timeout, 300, {7, F}}}},
             {{"title", timeout, 5, F}, {"title", {timeout, 300, F}}},
             {{"title", timeout, 900, F}, {"title", {timeout, 900, F}}},
             {{timeout, 5, F}, L},
             {{timeout, 900, F}, {timeout, 900, F}},
             {{timeout, 5, {"title", [{7, F}]}}, {timeout, 300, {"title", [{7, F}]}}},
             {{timeout, 5, [F, F]}, {timeout, 300, [L, L]}},
             {{timeout, 900, [F, F]}, {timeout, 900, [{timeout, 900, F}, {timeout, 900, F}]}},
             {{inorder, [F]}, {inorder, [L]}},
             {{inparallel, [F]}, {inparallel, [L]}},
             {{inparallel, 2, [F]}, {inparallel, 2, [L]}},
             {{spawn, F}, {spawn, L}},
             {{spawn, node, F}, {spawn, node, L}},
             {{node, n, "", F}, {node, n, "", L}},
             {{setup, F, F}, {setup, F, L}},
             {{setup, F, F, [F]}, {setup, F, F, [L]}},
             {{setup, spawn, F, F, [F]}, {setup, spawn, F, F, [L]}},
             {{foreach, F, F, [F, [F]]}, {foreach, F, F, [L, [L]]}},
             {{with, x, [F]}, [{timeout, 300, {with, x, [F]}}]},
             {{module, some_tests}, {module, some_tests}},
             {some_tests, some_tests},
             {"some/file.beam", "some/file.beam"}]].

%% What is only made when the test runs.
made_later_test() ->
    F = fun() -> ok end,
    Make = fun(set) -> [F] end,
    MakeX = fun(x, set) -> [F] end,
    Limited = [{timeout, 300, F}],
    {generator, Generator} = sockeye_test_time:limited({generator, fun() -> [F] end}),
    ?assertEqual(Limited, Generator()),
    {setup, F, Instantiator} = sockeye_test_time:limited({setup, F, Make}),
    ?assertEqual(Limited, Instantiator(set)),
    {foreach, F, [Each]} = sockeye_test_time:limited({foreach, F, [Make]}),
    ?assertEqual(Limited, Each(set)),
    {foreachx, F, [{x, EachX}]} = sockeye_test_time:limited({foreachx, F, [{x, MakeX}]}),
    ?assertEqual(Limited, EachX(x, set)),
    {setup, F, With} = sockeye_test_time:limited({setup, F, {with, [Make]}}),
    ?assertEqual([{timeout, 300, {with, set, [Make]}}], With(set)).

%% EUnit itself takes what comes out: as many tests, and one that hangs ends.
by_eunit_test() ->
    Code = "F = fun() -> ok end, X = fun(set) -> ok end, S = fun() -> set end,"
           "Tests = [F, {7, F}, {\"t\", 7, F}, {setup, S, fun(set) -> [F, F] end}, {setup, S, {with, [X, X]}},"
           " {foreach, S, [fun(set) -> F end, F]}, {inparallel, [F, F]}, {timeout, 5, [F, {generator, fun() -> F end}]},"
           " {with, set, [X]}],"
           "ok = eunit:test({\"tests\", sockeye_test_time:limited(Tests)}, []),"
           "error = eunit:test({\"tests\", sockeye_test_time:limited([fun() -> receive never -> ok end end], 1)}, []),",
    {Status, Said} = test_support:bare_node(Code),
    ?assertEqual({0, Said}, {Status, Said}),
    ?assertMatch({match, _}, re:run(Said, "All 14 tests passed")),
    ?assertMatch({match, _}, re:run(Said, "\\*timed out\\*")).

%% Where something must come, it has a minute: less is over on a busy machine, and more costs nothing where it comes.
waits_are_long_test() ->
    Files = lists:append([filelib:wildcard(filename:join([test_support:root(), "test", Some])) || Some <- ["*_tests.erl", "support/*.erl"]]),
    ?assert(length(Files) > 150),
    ?assertEqual([], [{filename:basename(File), Line} || File <- Files, {ok, Text} <- [file:read_file(File)], Line <- impatient(Text)]).

%% Lines that give up sooner, but for what must be there already (after 0), or do not say after how long a node that boots is given up.
impatient(Text) ->
    [Line || Line <- binary:split(Text, <<"\n">>, [global]),
             short(Line, "after ([0-9]+) -> (error|timeout|not_)") orelse short(Line, "define\\(TIMEOUT, ([0-9]+)\\)")
                 orelse re:run(Line, "peer:start(_link)?\\((?!.*wait_boot)") =/= nomatch].

short(Line, Pattern) ->
    case re:run(Line, Pattern, [{capture, [1], list}]) of
        {match, [Ms]} -> list_to_integer(Ms) > 0 andalso list_to_integer(Ms) < 60000;
        nomatch -> false
    end.

impatience_is_found_test() ->
    Short = iolist_to_binary(["    after ", "5000 -> error(none)"]),
    Boot = iolist_to_binary(["    {ok, Peer, _} = peer:", "start(#{})"]),
    Text = lists:join("\n", [Short, "    after 60000 -> error(none)", "    after 100 -> ok", Boot, "peer:start(#{wait_boot => 60000})",
                             "-define(TIMEOUT, 120000)."]),
    ?assertEqual([Short, Boot], impatient(iolist_to_binary(Text))).
