%% @private
%% The servers that sockeye_route_servers starts and stops. Their options are their ids.
-module(sockeye_routes_sup).
-behaviour(supervisor).

-export([start_link/0]).
-export([start_server/2, stop_server/1]).
-export([init/1]).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

%% The one that is there, if there is one.
-spec start_server(map(), supervisor:child_spec()) -> {ok, pid()} | {error, term()}.
start_server(Options, Spec) ->
    case supervisor:start_child(?MODULE, Spec#{id => Options, restart => temporary}) of
        {ok, Pid} when is_pid(Pid) -> {ok, Pid};
        {error, {already_started, Pid}} when is_pid(Pid) -> {ok, Pid};
        {error, Reason} -> {error, Reason}
    end.

%% Waits until its connections have ended.
-spec stop_server(map()) -> ok.
stop_server(Options) ->
    %% Somebody else may have stopped it.
    _ = supervisor:terminate_child(?MODULE, Options),
    ok.

-spec init([]) -> {ok, {supervisor:sup_flags(), []}}.
init([]) ->
    {ok, {#{strategy => one_for_one}, []}}.
