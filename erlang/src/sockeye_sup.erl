%% @private
%% Servers live under the supervisors of those who start them; only what all
%% servers share is here.
-module(sockeye_sup).
-behaviour(supervisor).

-export([start_link/0]).
-export([init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Engine = #{id => sockeye_engine,
               start => {sockeye_engine, start_link, []},
               %% Threads are joined on the way out, in bounded time.
               shutdown => 30000},
    {ok, {#{strategy => one_for_one, intensity => 3, period => 10}, [Engine]}}.
