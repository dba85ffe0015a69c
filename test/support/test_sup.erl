-module(test_sup).
-behaviour(supervisor).

-export([init/1]).

init(Children) ->
    {ok, {#{intensity => 100, period => 1}, Children}}.
