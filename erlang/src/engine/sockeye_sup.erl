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

-spec init([supervisor:child_spec()] | {delivery, pos_integer()}) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Engine = #{id => sockeye_engine,
               start => {sockeye_engine, start_link, []},
               %% Threads are joined on the way out, in bounded time.
               shutdown => 30000},
    %% Tables of subscriptions belong to this process: a child's death loses none.
    ok = sockeye_log_limit:new_table(),
    ok = sockeye_encoder:new_table(),
    ok = sockeye_counts:new_table(),
    ok = sockeye_tracer:new_table(),
    ok = sockeye_cluster:new_table(),
    ok = sockeye_pubsub_server:new_table(),
    ok = sockeye_presence_server:new_tables(),
    %% They outlive the engine, and bring what it has left.
    Delivery = #{id => sockeye_delivery_sup, type => supervisor,
                 start => {supervisor, start_link, [{local, sockeye_delivery_sup}, ?MODULE, {delivery, sockeye_engine:shards()}]}},
    Groups = #{id => sockeye_topics, start => {pg, start_link, [sockeye_cluster:scope()]}},
    Cluster = #{id => sockeye_cluster, start => {sockeye_cluster, start_link, []}},
    Members = #{id => sockeye_groups, start => {sockeye_groups, start_link, []}},
    PubSub = #{id => sockeye_pubsub_server, start => {sockeye_pubsub_server, start_link, []}},
    Presence = #{id => sockeye_presence_server, start => {sockeye_presence_server, start_link, []}},
    %% A new process of groups knows nothing: those that had joined join again.
    Together = #{id => sockeye_cluster_sup, type => supervisor,
                 start => {supervisor, start_link, [?MODULE, [Groups, Cluster, Members, PubSub, Presence]]}},
    %% What a process of the system says is delivered by others.
    First = case sockeye_backend:engine() of
                nif -> [Delivery];
                port -> [#{id => sockeye_port_descriptors, start => {sockeye_port_descriptors, start_link, []}}]
            end,
    Routes = [#{id => sockeye_routes_sup, type => supervisor, start => {sockeye_routes_sup, start_link, []}},
              #{id => sockeye_route_servers, start => {sockeye_route_servers, start_link, []}}],
    Telemetry = [#{id => sockeye_telemetry, start => {sockeye_telemetry, start_link, []}} || sockeye_telemetry:is_there()],
    {ok, {#{strategy => one_for_one, intensity => 3, period => 10}, First ++ [Engine, Together] ++ Routes ++ Telemetry}};
init({delivery, Count}) ->
    Delivery = [#{id => {sockeye_delivery, Index},
                  start => {sockeye_delivery, start_link, [Index, Count]},
                  %% What is on its way is brought first.
                  shutdown => 10000}
                || Index <- lists:seq(0, Count - 1)],
    {ok, {#{strategy => one_for_one, intensity => 10 * Count, period => 10}, Delivery}};
init(Children) ->
    {ok, {#{strategy => rest_for_one, intensity => 3, period => 10}, Children}}.
