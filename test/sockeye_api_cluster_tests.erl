%% Random use of the public API on three nodes whose connections are cut and healed, see cluster_model.
-module(sockeye_api_cluster_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-define(SEED, 20261130).

%% SOCKEYE_TEST_SEED and SOCKEYE_TEST_RUNS look elsewhere, and for longer: a list takes ten times as long as one on a single node.
%% SOCKEYE_TEST_ALL=1 looks for all planted faults, on all nodes; what is left of the commands shows which.
random_use_test_() ->
    Runs = max(3, random_commands:number("SOCKEYE_TEST_RUNS", 30) div 10),
    {timeout, 1800 + 10 * Runs, fun() ->
        cluster_world:with(fun() ->
            ?assertMatch({ok, _}, random_commands:search(cluster_model, #{seed => random_commands:number("SOCKEYE_TEST_SEED", ?SEED), runs => Runs})),
            [is_found(Name, Fault, Shown) || {Name, Fault, Shown} <- test_support:slice(100, 1, faults())]
        end)
    end}.

faults() ->
    [{"a node that is back is not greeted", {sockeye_presence_server, greet, 1, fun(_, _) -> ok end}, [track]},
     {"who is cut off stays present", {sockeye_presence_server, of_node, 1, fun(F, [Node]) ->
                                           case Node =:= node() of true -> F(Node); false -> [] end
                                       end}, [track]},
     {"frames stay on their node", {sockeye_cluster, spread, 5, fun(_, _) -> ok end}, [connect]},
     {"a frame is for each node twice", {sockeye_cluster, spread, 5, fun(F, Args) -> apply(F, Args), apply(F, Args) end}, [connect]},
     {"who tells the groups forgets what there was", {sockeye_groups, handle_continue, 2, fun(_, [_, State]) -> {noreply, State} end}, [kill]}].

is_found(Name, {Module, Function, Arity, Fault}, Shown) ->
    ok = api_world:patience(2000),
    try
        ok = cluster_world:on_all({planted, plant, [Module, Function, Arity, Fault]}),
        case random_commands:search(cluster_model, #{seed => 1, runs => 100}) of
            {failed, #{commands := Commands} = Found} ->
                Shown -- [element(1, Command) || Command <- Commands] =:= [] orelse error({another, Name, Found}),
                ok = cluster_world:on_all({planted, take_out, [Module]}),
                %% It starts the nodes' applications anew.
                ok = random_commands:run(cluster_model, []),
                ?assertEqual(ok, random_commands:run(cluster_model, Commands));
            Found ->
                error({not_found, Name, Found})
        end
    after
        ok = cluster_world:on_all({planted, take_out, [Module]}),
        api_world:patience(10000)
    end.
