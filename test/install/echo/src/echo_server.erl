%% What a user's application looks like: Sockeye under their own supervisor.
-module(echo_server).
-behaviour(application).
-behaviour(supervisor).

-export([start/2, stop/1]).
-export([init/1]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    case supervisor:start_link(?MODULE, []) of
        {ok, Sup} ->
            [{_, Server, _, _}] = supervisor:which_children(Sup),
            {ok, #{port := Port}} = sockeye:info(Server),
            io:format("port ~b~n", [Port]),
            {ok, Sup};
        Error ->
            Error
    end.

-spec stop(term()) -> ok.
stop(_State) ->
    io:format("stopped~n").

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Options = #{port => 0, handler => {echo_handler, []}},
    {ok, {#{}, [sockeye:child_spec(Options)]}}.
