%% @private
%% Servers that routes of other web servers need: each is started by the first request, and there is one for equal options.
-module(sockeye_routes_sup).
-behaviour(supervisor).

-export([start_link/0]).
-export([server/1]).
-export([init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% Raises what is wrong with the options.
-spec server(map()) -> pid().
server(Options) ->
    Spec = sockeye:child_spec(Options#{ip => none}),
    {ok, _} = application:ensure_all_started(sockeye),
    case supervisor:start_child(?MODULE, Spec#{id => Options, restart => temporary}) of
        {ok, Pid} when is_pid(Pid) -> Pid;
        {error, {already_started, Pid}} when is_pid(Pid) -> Pid;
        {error, Reason} -> error(Reason)
    end.

-spec init([]) -> {ok, {supervisor:sup_flags(), []}}.
init([]) ->
    {ok, {#{strategy => one_for_one}, []}}.
