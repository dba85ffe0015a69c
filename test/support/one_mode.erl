%% Tests for one place of the engine only. A test module says
%%     -only_in({nif, [x_test, y_test_]}).
%% or `all' instead of the list. In the other mode these are left out, which is said, and the table in test/README.md
%% has each with its reason (sockeye_one_mode_tests compares them). The wrapper of sockeye_test_time calls this.
-module(one_mode).

-export([here/2]).
-export([here/4]).
-export([of_module/1]).

%% Of the tests of a module, as EUnit lists them, those that can run here.
here(Module, Tests) ->
    here(Module, of_module(Module), Tests, sockeye_backend:engine()).

here(Module, {Only, Which}, Tests, Engine) when Only =/= Engine ->
    {Left, Others} = lists:partition(fun(Test) -> Which =:= all orelse lists:member(name(Test), Which) end, Tests),
    [sockeye_test:left_out(io_lib:format("~s:~s", [Module, name(Test)]), ["for ", atom_to_list(Only), " only"]) || Test <- Left],
    Others;
here(_Module, _Only, Tests, _Engine) ->
    Tests.

%% What it says of itself.
of_module(Module) ->
    case [Only || {only_in, [Only]} <- Module:module_info(attributes)] of
        [Only] -> Only;
        [] -> none
    end.

name({test, _, Name}) -> Name;
name({generator, _, Name}) -> Name;
name({generator, Fun}) ->
    {name, Name} = erlang:fun_info(Fun, name),
    Name.
