%% @private
%% Wakes the processes of a server with a process per connection.
%%
%% A shard that has read from many connections names their processes in one
%% message to the relay. To wake each of them from outside of the VM would cost
%% a lock and, where the scheduler sleeps, a switch of threads for each.
-module(sockeye_relay).

-export([start_link/1]).
-export([init/2]).
-export([loop/1]).

-spec start_link(sockeye_backend:server_id()) -> pid().
start_link(ServerId) ->
    {ok, Pid} = proc_lib:start_link(?MODULE, init, [self(), ServerId]),
    Pid.

-spec init(pid(), sockeye_backend:server_id()) -> no_return().
init(Server, ServerId) ->
    %% A server that ends in order takes nobody along who does not look.
    process_flag(trap_exit, true),
    ok = sockeye_label:set({sockeye_relay, Server}),
    ok = sockeye_backend:relay_open(ServerId),
    proc_lib:init_ack({ok, self()}),
    loop(Server).

-spec loop(pid()) -> no_return().
loop(Server) ->
    receive
        {sockeye_wake, Pids} -> wake(Pids);
        {'EXIT', Server, _Reason} -> exit(shutdown);
        {system, From, Request} -> sockeye_sys:message(Request, From, Server, ?MODULE, Server);
        _ -> ok
    end,
    ?MODULE:loop(Server).

-spec wake([pid()]) -> ok.
wake([Pid | Pids]) ->
    Pid ! sockeye_ready,
    wake(Pids);
wake([]) ->
    ok.
