%% @private
%% What a new engine has to be told: the servers of this node, and their processes.
%%
%% Servers outlive the engine's process. One that starts in its place listens for them again, on the ports
%% that they had.
-module(sockeye_port_restore).

-export([new_table/0]).
-export([remember/4]).
-export([change/2]).
-export([draining/1]).
-export([remember_inbox/2]).
-export([forget/1]).
-export([is_known/1]).
-export([hosts/0]).
-export([begin_all/1]).
-export([run/1]).

%% Rows: {{server, Id}, Pid, Function, Hidden}, with `none' for one that drains or is about to begin, and {{inbox, Id, Pid, Slot}}.
-define(TABLE, ?MODULE).
%% Before what failed is tried again.
-define(PAUSE_MS, 1000).

-type server() :: {sockeye_backend:server_id(), pid(), listen | client_open | none, Config :: fun(() -> map())}.

%% What a process has beside an inbox of that number: questions, or news of topics.
-type slot() :: non_neg_integer() | acceptor | gate | topics.

%% It belongs to the calling process.
-spec new_table() -> ok.
new_table() ->
    _ = ets:new(?TABLE, [named_table, public, ordered_set]),
    ok.

%% A server or client that was begun with this configuration, which may hold keys; with `none' the calling process is about to
%% begin it, and until it has, no new engine is told.
-spec remember(sockeye_backend:server_id(), pid(), listen | client_open | none, map()) -> ok.
remember(Id, Pid, Function, Config) ->
    true = ets:insert(?TABLE, {{server, Id}, Pid, Function, sockeye_secret:hide(Config)}),
    ok.

%% The server, which calls this, has that in its configuration from now on.
-spec change(sockeye_backend:server_id(), map()) -> ok.
change(Id, Changes) ->
    case row(Id) of
        [{_, Pid, Function, Hidden}] -> remember(Id, Pid, Function, maps:merge(Hidden(), Changes));
        [] -> ok
    end.

%% No engine listens for it again.
-spec draining(sockeye_backend:server_id()) -> ok.
draining(Id) ->
    try
        _ = ets:update_element(?TABLE, {server, Id}, {3, none}),
        ok
    catch
        error:badarg -> ok
    end.

%% The calling process has an inbox of a server that lives on.
-spec remember_inbox(sockeye_backend:server_id(), slot()) -> ok.
remember_inbox(Id, Slot) ->
    %% Of the one whose place it takes, nothing is left.
    true = ets:match_delete(?TABLE, {{inbox, Id, '_', Slot}}),
    true = ets:insert(?TABLE, {{inbox, Id, self(), Slot}}),
    ok.

-spec forget(sockeye_backend:server_id()) -> ok.
forget(Id) ->
    try
        true = ets:delete(?TABLE, {server, Id}),
        true = ets:match_delete(?TABLE, {{inbox, Id, '_', '_'}}),
        ok
    catch
        error:badarg -> ok
    end.

-spec is_known(sockeye_backend:server_id()) -> boolean().
is_known(Id) ->
    %% Each process that gets an inbox asks: not by the row, which would be copied with the whole configuration.
    try ets:member(?TABLE, {server, Id})
    catch error:badarg -> false
    end.

-spec hosts() -> [pid()].
hosts() ->
    [Pid || {_, Pid, _, _} <- servers()].

-spec row(sockeye_backend:server_id()) -> [tuple()].
row(Id) ->
    try ets:lookup(?TABLE, {server, Id})
    catch error:badarg -> []
    end.

-spec servers() -> [server()].
servers() ->
    try ets:select(?TABLE, [{{{server, '$1'}, '$2', '$3', '$4'}, [], [{{'$1', '$2', '$3', '$4'}}]}])
    catch error:badarg -> []
    end.

%% Tells the engine of this run all that there is. `none' if the node has no room for the process that does it.
-spec begin_all(sockeye_link_writer:run()) -> pid() | none.
begin_all(Run) ->
    sockeye_processes:start(fun() -> spawn_link(?MODULE, run, [Run]) end).

-spec run(sockeye_link_writer:run()) -> ok.
run(Run) ->
    run([Id || {Id, _, _, _} <- servers()], Run).

%% Until all of them listen.
-spec run([sockeye_backend:server_id()], sockeye_link_writer:run()) -> ok.
run(Ids, Run) ->
    %% With what each has now: certificates may have been read again.
    case [Id || Id <- Ids, {{server, _}, Pid, Function, Hidden} <- row(Id), sockeye_link:run() =:= Run,
                began({Id, Pid, Function, Hidden}, Run) =:= failed] of
        [] ->
            ok;
        Failed ->
            receive after ?PAUSE_MS -> ok end,
            run(Failed, Run)
    end.

-spec began(server(), sockeye_link_writer:run()) -> done | failed.
began({_Id, _Pid, none, _Hidden}, _Run) ->
    done;
began({Id, Pid, Function, Hidden}, Run) ->
    case is_process_alive(Pid) of
        true ->
            case sockeye_port:begin_as(Pid, Function, Hidden()) of
                {return, {error, Reason}} ->
                    not_listening(Id, Pid, Reason);
                {return, Begun} when element(1, Begun) =:= ok ->
                    Inboxes = ets:select(?TABLE, [{{{inbox, Id, '$1', '$2'}}, [], [{{'$1', '$2'}}]}]),
                    lists:foreach(fun({Process, Slot}) -> open(Slot, Id, Process, Run) end, Inboxes),
                    Pid ! {sockeye_reopened, Id},
                    done;
                {raise, badarg} ->
                    case is_known(Id) of
                        true -> not_listening(Id, Pid, badarg);
                        %% It stops.
                        false -> done
                    end;
                %% The engine has ended again.
                lost ->
                    done
            end;
        false ->
            forget(Id),
            done
    end.

-spec not_listening(sockeye_backend:server_id(), pid(), term()) -> failed.
not_listening(Id, Pid, Reason) ->
    sockeye_log:event(error, Id, not_listening, #{reason => Reason}, fun() -> sockeye_log:server(Pid) end),
    failed.

-spec open(slot(), sockeye_backend:server_id(), pid(), sockeye_link_writer:run()) -> ok.
open(gate, Id, Process, _Run) ->
    _ = sockeye_port_call:call_as(Process, gate_open, [Id]),
    ok;
open(topics, Id, Process, _Run) ->
    _ = sockeye_port_call:call_as(Process, watch_topics, [Id, Process]),
    Process ! {sockeye_reopened, Id},
    ok;
open(Slot, Id, Process, Run) ->
    case sockeye_port_call:call_as(Process, inbox_open, [Id, Slot]) of
        {return, Inbox} when is_integer(Inbox) -> Process ! {sockeye_inbox, Run, Inbox}, ok;
        _ -> ok
    end.
