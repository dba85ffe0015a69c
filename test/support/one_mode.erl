%% Tests for one place of the engine only. A test module says
%%     -only_in({nif, [x_test, y_test_]}).
%% or `all' instead of the list. In the other mode these are left out, which is said, and the table in test/README.md
%% has each with its reason (sockeye_one_mode_tests compares them). The wrapper of sockeye_test_time calls this.
%%
%% The tests of a module that says
%%     -needs(codec).
%% have the library for it, as with `{pure, nif}', wherever the engine is.
-module(one_mode).

-export([here/2]).
-export([here/4]).
-export([of_module/1]).
-export([with_codec/1]).

%% Of the tests of a module, as EUnit lists them, those that can run here.
here(Module, Tests) ->
    Engine = sockeye_backend:engine(),
    Here = here(Module, of_module(Module), Tests, Engine),
    case Engine =:= port andalso proplists:get_value(needs, Module:module_info(attributes)) of
        [codec] -> [{setup, fun with_library/0, fun without_library/1, Here}];
        _ -> Here
    end.

%% Runs a test with the library for the codec, wherever the engine is.
with_codec(Test) ->
    ok = with_library(),
    try Test()
    after
        ok = without_library(ok)
    end.

with_library() ->
    ok = application:set_env(sockeye, pure, nif),
    ok = sockeye_backend:choose().

without_library(ok) ->
    ok = application:unset_env(sockeye, pure),
    ok = sockeye_backend:choose().

here(Module, {Only, Which}, Tests, Engine) when Only =/= Engine ->
    {Left, Others} = lists:partition(fun(Test) -> Which =:= all orelse lists:member(name(Test), Which) end, Tests),
    [test_support:left_out(io_lib:format("~s:~s", [Module, name(Test)]), ["for ", atom_to_list(Only), " only"]) || Test <- Left],
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
