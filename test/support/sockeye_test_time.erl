%% Gives each test five minutes at least, where EUnit gives those without a limit of their own 5 seconds, which a busy machine
%% needs for a server and ten clients. The limit ends a test that hangs and says nothing of speed: each wait within a test has
%% its own, of a minute, and says what did not come. A test module says
%%     -compile({parse_transform, sockeye_test_time}).
%% and gets the function by which EUnit lets a module change its own tests, `eunit_wrapper_/1'. Only a test, a leaf of what
%% a generator returns, gets a limit: that of a group is for all of its tests together, and nobody set one. Tests for the
%% other place of the engine are left out there, see one_mode.
%% Names and numbers of tests stay as they are. `rebar3 eunit --test=m:x_test' passes this by: it has the 5 seconds.
-module(sockeye_test_time).

-export([parse_transform/2]).
-export([limited/1]).
-export([limited/2]).

-define(SECONDS, 300).

parse_transform(Forms, _Options) ->
    {Head, [{attribute, Where, module, Name} = Module | Body]} = lists:splitwith(fun(Form) -> not is_module(Form) end, Forms),
    {Functions, End} = lists:splitwith(fun(Form) -> element(1, Form) =/= eof end, Body),
    Tests = {var, Where, 'Tests'},
    Here = call(Where, one_mode, here, [{atom, Where, Name}, Tests]),
    Call = call(Where, ?MODULE, limited, [Here]),
    Wrapper = {function, Where, eunit_wrapper_, 1, [{clause, Where, [Tests], [], [Call]}]},
    Head ++ [Module, {attribute, Where, export, [{eunit_wrapper_, 1}]}] ++ Functions ++ [Wrapper | End].

call(Where, Module, Function, Args) ->
    {call, Where, {remote, Where, {atom, Where, Module}, {atom, Where, Function}}, Args}.

is_module({attribute, _, module, _}) -> true;
is_module(_) -> false.

%% The same tests, each with a limit, and none with a shorter one.
limited(Tests) -> limited(Tests, ?SECONDS).

%% EUnit's ways to write a test, in the order in which it tells them apart.
limited(Tests, Seconds) when is_list(Tests) ->
    case is_text(Tests) of
        true -> Tests;
        false -> [limited(T, Seconds) || T <- Tests]
    end;
limited(Test, Seconds) when is_function(Test, 0) -> {timeout, Seconds, Test};
limited({test, Module, Name} = Test, Seconds) when is_atom(Module), is_atom(Name) -> {timeout, Seconds, Test};
limited({generator, Generator}, Seconds) when is_function(Generator, 0) ->
    {generator, fun() -> limited(Generator(), Seconds) end};
limited({generator, Module, Name}, Seconds) when is_atom(Module), is_atom(Name) ->
    {generator, fun() -> limited(Module:Name(), Seconds) end, {Module, Name, 0}};
limited({timeout, Own, Tests}, Seconds) ->
    %% EUnit gives the limit of a group that is one test to that test.
    case is_one(Tests) of
        true -> {timeout, max(Own, Seconds), Tests};
        false -> {timeout, max(Own, Seconds), limited(Tests, max(Own, Seconds))}
    end;
limited({with, Value, Funs}, Seconds) when is_list(Funs) ->
    [{timeout, Seconds, {with, Value, [F]}} || F <- Funs];
limited(Tests, Seconds) when element(1, Tests) =:= setup; element(1, Tests) =:= node ->
    of_last(fun(Inside) -> instantiated(Inside, Seconds) end, Tests);
limited(Tests, Seconds) when element(1, Tests) =:= foreach ->
    of_last(fun(All) -> [instantiated(Inside, Seconds) || Inside <- All] end, Tests);
limited(Tests, Seconds) when element(1, Tests) =:= foreachx ->
    of_last(fun(All) -> [{X, fun(Y, R) -> limited(Inside(Y, R), Seconds) end} || {X, Inside} <- All] end, Tests);
limited(Tests, Seconds) when element(1, Tests) =:= spawn; element(1, Tests) =:= inorder; element(1, Tests) =:= inparallel ->
    of_last(fun(Inside) -> limited(Inside, Seconds) end, Tests);
limited(Tests, Seconds) when tuple_size(Tests) > 1, is_list(element(1, Tests));
                             tuple_size(Tests) > 1, is_binary(element(1, Tests)) ->
    {element(1, Tests), limited(behind_title(Tests), Seconds)};
limited({Line, _} = Test, Seconds) when is_integer(Line); is_tuple(Line) -> {timeout, Seconds, Test};
limited(Other, _) -> Other.

instantiated(Inside, Seconds) when is_function(Inside, 1) -> fun(Set) -> limited(Inside(Set), Seconds) end;
instantiated({with, Funs}, Seconds) -> fun(Set) -> limited({with, Set, Funs}, Seconds) end;
instantiated(Tests, Seconds) -> limited(Tests, Seconds).

of_last(Change, Tests) -> setelement(tuple_size(Tests), Tests, Change(element(tuple_size(Tests), Tests))).

behind_title({_, Tests}) -> Tests;
behind_title(Tests) -> erlang:delete_element(1, Tests).

is_one([Test]) -> is_one(Test);
is_one(Test) when is_function(Test, 0) -> true;
is_one({test, _, _}) -> true;
is_one(Test) when tuple_size(Test) > 1, is_list(element(1, Test));
                  tuple_size(Test) > 1, is_binary(element(1, Test)) -> is_one(behind_title(Test));
is_one({Line, _}) -> is_integer(Line) orelse is_tuple(Line);
is_one(_) -> false.

%% The name of a file or a folder.
is_text(List) -> List =/= [] andalso lists:all(fun is_integer/1, List).
