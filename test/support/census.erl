%% What the node holds of ours at this moment.
-module(census).
-compile({no_auto_import, [processes/0]}).

-export([take/0]).
-export([whole/0]).
-export([differences/2]).
-export([another_engine/1]).
-export([processes/0]).

%% Waits until the application has an engine that works, and is not this one.
another_engine(Old) ->
    true = hostile_client:until(fun() ->
        case whereis(sockeye_engine) of
            New when is_pid(New), New =/= Old -> element(1, sockeye:info()) =:= ok orelse not_running;
            Other -> {engine, Other}
        end
    end),
    ok.

%% Everything that is counted. Keys that the system does not tell are not there.
take() ->
    lists:foldl(fun maps:merge/2, #{},
                [roles(), engine(), tables(), monitors(), descriptors(), threads(),
                 #{ports => length(erlang:ports())}]).

%% The same with what the node has besides ours, in numbers that do not depend on what stays open for reuse.
whole() ->
    (maps:remove({table, sockeye_log}, take()))#{processes => erlang:system_info(process_count),
                                                           atoms => erlang:system_info(atom_count), tables => length(ets:all())}.

%% What differs, of the keys that are expected.
differences(Expected, Found) ->
    maps:filter(fun(_, {Wanted, Is}) -> Wanted =/= Is end,
                maps:map(fun(Key, Wanted) -> {Wanted, maps:get(Key, Found, Wanted)} end, Expected)).

%% Processes of servers and clients, by the module they run: not those of the application itself.
processes() ->
    Own = application(),
    [{Role, Pid} || Pid <- erlang:processes(), not lists:member(Pid, Own), Role <- [role(Pid)], Role =/= none].

roles() ->
    None = maps:from_list([{Role, 0} || Role <- [sockeye_server, sockeye_worker, sockeye_conn_sup, sockeye_relay,
                                                 sockeye_gate, sockeye_dialler]]),
    lists:foldl(fun({Role, _}, Counts) -> maps:update_with(Role, fun(N) -> N + 1 end, 1, Counts) end,
                None, processes()).

engine() ->
    case sockeye:info() of
        {ok, #{servers := Servers, connections := Connections}} ->
            #{servers => Servers, connections => Connections, running => true};
        {error, not_running} ->
            #{servers => 0, connections => 0, running => false}
    end.

%% Rows of our tables. Of the log only what belongs to a server or a client.
tables() ->
    Rows = fun(Table) -> case ets:info(Table, size) of undefined -> 0; Size -> Size end end,
    Log = case ets:whereis(sockeye_log) of
              undefined -> 0;
              _ -> length([Key || {{Scope, _} = Key, _, _} <- ets:tab2list(sockeye_log), is_integer(Scope)])
          end,
    Named = [{{table, Name}, Rows(Name)}
             || Table <- ets:all(), Name <- [ets:info(Table, name)], is_atom(Name),
                lists:prefix("sockeye_", atom_to_list(Name)), Name =/= sockeye_log],
    maps:from_list([{log_rows, Log}, {{table, sockeye_servers}, Rows(sockeye_servers)} | Named]).

%% Of servers: the engine has one for each.
monitors() ->
    case whereis(sockeye_engine) of
        undefined -> #{monitors => 0};
        Engine ->
            case process_info(Engine, monitors) of
                {monitors, Monitors} -> #{monitors => length(Monitors)};
                undefined -> #{monitors => 0}
            end
    end.

%% Of the node, and of the engine's process where that is another: but for both ends of the socket over which descriptors come there,
%% from the first on.
descriptors() ->
    case [Files || Process <- processes_of_system(), {ok, Files} <- [file:list_dir("/proc/" ++ Process ++ "/fd")]] of
        [] -> #{};
        All -> #{descriptors => length(lists:append(All)) - 2 * length([passed || <<"sockeye-passed\n">> <- names_of_threads()])}
    end.

processes_of_system() ->
    case sockeye:info() of
        {ok, #{os_pid := Engine}} -> ["self", integer_to_list(Engine)];
        _ -> ["self"]
    end.

%% Threads of the engine: of the shards, and those that must end by themselves. Not those of its process that begin when they are
%% first needed, and end with that.
threads() ->
    case file:list_dir("/proc/self/task") of
        {ok, _} ->
            #{threads => length([N || <<"sockeye-", _/binary>> = N <- names_of_threads(), N =/= <<"sockeye-long\n">>, N =/= <<"sockeye-passed\n">>])};
        {error, _} ->
            #{}
    end.

names_of_threads() ->
    Files = lists:append([filelib:wildcard("/proc/" ++ Process ++ "/task/*/comm") || Process <- processes_of_system()]),
    [Name || File <- Files, {ok, Name} <- [file:read_file(File)]].

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

role(Pid) ->
    case process_info(Pid, dictionary) of
        {dictionary, Dictionary} -> ours(proplists:get_value('$initial_call', Dictionary));
        undefined -> none
    end.

ours({supervisor, Module, _}) -> ours({Module, init, 1});
ours({Module, _, _}) ->
    case lists:member(Module, [sockeye_server, sockeye_worker, sockeye_conn_sup, sockeye_relay, sockeye_gate,
                               sockeye_dialler]) of
        true -> Module;
        false -> none
    end;
ours(_) -> none.
