%% Says what Bob hears, and ends the node.
-module(hello_app).
-behaviour(application).
-export([start/2, stop/1]).

start(_Type, _Args) ->
    io:format("heard: ~ts~n", [hello_room:heard(<<"world">>)]),
    spawn(fun() -> init:stop() end),
    hello_sup:start_link().

stop(_State) ->
    ok.
