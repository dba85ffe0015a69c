%% After each step of a random life the node holds what it must, and nothing else. A longer life with
%% another seed: life_model:run(#{time => Milliseconds}).
-module(sockeye_census_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

%% SOCKEYE_TEST_SEED repeats a life, SOCKEYE_TEST_STEPS makes it longer.
a_random_life_test_() ->
    {timeout, 600, fun() ->
        Seed = number("SOCKEYE_TEST_SEED", 20261129),
        Steps = number("SOCKEYE_TEST_STEPS", 150),
        ?assertMatch({ok, #{steps := Steps}}, life_model:run(#{seed => Seed, steps => Steps}))
    end}.

number(Variable, Default) ->
    case os:getenv(Variable) of
        false -> Default;
        Text -> list_to_integer(Text)
    end.
