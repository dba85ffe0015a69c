%% The model of api_model, where many of the clients are streams of HTTP/2: lists of its own, so that those without are as they were.
-module(api_streams_model).
-behaviour(random_commands).

-export([first/0]).
-export([choose/1]).
-export([is_possible/2]).
-export([next/2]).
-export([carry_out/1]).

first() -> (api_model:first())#{streams => true}.

choose(Model) -> api_model:choose(Model).

is_possible(Command, Model) -> api_model:is_possible(Command, Model).

next(Command, Model) -> api_model:next(Command, Model).

carry_out(Commands) -> api_model:carry_out(Commands).
