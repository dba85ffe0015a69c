%% @private
%% The handler processes of one server with a process per connection.
-module(sockeye_conn_sup).
-behaviour(supervisor).

-export([start_link/4]).
-export([start_worker/2]).
-export([workers/1]).
-export([init/1]).

-spec start_link(sockeye_nif:server_id(), pid(), module(), term()) -> supervisor:startlink_ret().
start_link(ServerId, Server, Module, Arg) ->
    supervisor:start_link(?MODULE, {ServerId, Server, Module, Arg}).

-spec start_worker(pid(), sockeye:conn()) -> supervisor:startchild_ret().
start_worker(Sup, Conn) ->
    supervisor:start_child(Sup, [Conn]).

-spec workers(pid()) -> [pid()].
workers(Sup) ->
    [Pid || {_, Pid, _, _} <- supervisor:which_children(Sup), is_pid(Pid)].

-spec init({sockeye_nif:server_id(), pid(), module(), term()}) ->
          {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init({ServerId, Server, Module, Arg}) ->
    Worker = #{id => worker,
               start => {sockeye_worker, start_conn, [ServerId, Server, Module, Arg]},
               restart => temporary},
    {ok, {#{strategy => simple_one_for_one}, [Worker]}}.
