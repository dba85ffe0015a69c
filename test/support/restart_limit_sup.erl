%% A supervisor that allows ten restarts and not one more.
-module(restart_limit_sup).
-behaviour(supervisor).

-export([init/1]).

init(Children) ->
    {ok, {#{intensity => 10, period => 60}, Children}}.
