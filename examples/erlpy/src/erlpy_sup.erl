%% A Sockeye server is an ordinary child: this is all that an application needs around it.
-module(erlpy_sup).
-behaviour(supervisor).

-export([start_link/1]).
-export([init/1]).

-spec start_link(map()) -> supervisor:startlink_ret().
start_link(Options) ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, Options).

-spec init(map()) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(Options) ->
    Defaults = #{port => 19765,
                 ip => {127, 0, 0, 1},
                 handler => {erlpy_handler, []},
                 on_invalid_json => deliver},
    Child = sockeye:child_spec(maps:merge(Defaults, Options)),
    %% This supervisor is in no application: when the node stops, Sockeye ends the server before it, which is no crash.
    {ok, {#{}, [Child#{restart => transient}]}}.
