%% What the node holds of ours at this moment.
-module(census).

-export([another_engine/1]).
-export([processes/0]).
-export([role/1]).

%% Waits until the application has an engine that works, and is not this one.
another_engine(Old) ->
    true = siege:until(fun() ->
        case whereis(sockeye_engine) of
            New when is_pid(New), New =/= Old -> is_map(sockeye:info()) orelse not_running;
            Other -> {engine, Other}
        end
    end),
    ok.

%% Processes of servers and clients: not those that the application itself keeps.
processes() ->
    Own = application(),
    lists:sort([{Role, Pid} || Pid <- processes_of_node(), not lists:member(Pid, Own),
                               Role <- [role(Pid)], Role =/= none]).

processes_of_node() ->
    erlang:processes().

application() ->
    case whereis(sockeye_sup) of
        undefined -> [];
        Sup -> [Sup | children(Sup)]
    end.

children(Sup) ->
    try supervisor:which_children(Sup) of
        Children ->
            lists:append([case Type of
                              supervisor -> [Pid | children(Pid)];
                              worker -> [Pid]
                          end || {_, Pid, Type, _} <- Children, is_pid(Pid)])
    catch exit:_ -> []
    end.

%% The module of ours that a process runs, or `none'.
role(Pid) ->
    case process_info(Pid, dictionary) of
        {dictionary, Dictionary} -> ours(proplists:get_value('$initial_call', Dictionary));
        undefined -> none
    end.

ours({supervisor, Module, _}) -> ours({Module, init, 1});
ours({Module, _, _}) ->
    case lists:prefix("sockeye_", atom_to_list(Module))
        andalso not lists:suffix("_tests", atom_to_list(Module)) of
        true -> Module;
        false -> none
    end;
ours(_) -> none.
