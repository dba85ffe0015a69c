%% @private
%% Presence on this node: the table of entries, the watchers of changes, and the exchange with other nodes.
-module(sockeye_presence_server).
-behaviour(gen_server).

-export([call/2]).
-export([list/2]).
-export([new_tables/0]).
-export([start_link/0]).

-export([init/1]).
-export([handle_continue/2]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

-export_type([domain/0, owner/0, id/0]).

-type key() :: sockeye_presence:key().
-type meta() :: sockeye_presence:meta().
-type change() :: sockeye_presence:change().

%% Servers of one name are one in a cluster.
-type domain() :: {cluster, atom()} | {server, pid()}.
-type owner() :: sockeye:conn() | pid().
%% The node is that of the owner: connections are numbers. Entries of this node have none: it may get a name, and lose it, while they are there.
-type id() :: {domain(), sockeye:topic(), key(), here | node(), owner()}.

%% With the server of an entry of this node.
-type entry() :: {id(), meta(), pid() | none}.
-type place() :: {domain(), sockeye:topic()}.

%% entry(), sorted: those of a topic are neighbours.
-define(TABLE, sockeye_presence).
%% {{place(), pid()}, Server}: who wants news.
-define(WATCHERS, sockeye_presence_watchers).

%% A peer that could not take a change is sent all that there is, so often, until it can.
-define(CATCH_UP_MS, 500).

-record(state, {peers = #{} :: #{pid() => {reference(), current | behind}},
                %% With the server of each entry.
                owners = #{} :: #{owner() => {reference() | none, #{id() => pid()}}},
                servers = #{} :: #{pid() => reference()},
                watchers = #{} :: #{place() => #{pid() => Server :: pid()}},
                watching = #{} :: #{pid() => {reference(), #{place() => true}}}}).

-spec call(term(), closed | not_found) -> term().
call(Request, Gone) ->
    try gen_server:call(?MODULE, Request, infinity)
    %% The application stops.
    catch exit:_ -> {error, Gone}
    end.

%% Reads the table: no process is asked.
-spec list(domain(), sockeye:topic()) -> {ok, #{key() => [meta()]}} | {error, not_found}.
list(Domain, Topic) ->
    Head = {{Domain, Topic, '$1', '_', '_'}, '$2', '_'},
    try ets:select(?TABLE, [{Head, [], [{{'$1', '$2'}}]}]) of
        Found -> {ok, lists:foldr(fun({Key, Meta}, All) -> add(Key, Meta, All) end, #{}, Found)}
    catch
        error:badarg -> {error, not_found}
    end.

-spec add(key(), meta(), #{key() => [meta()]}) -> #{key() => [meta()]}.
add(Key, Meta, All) ->
    All#{Key => [Meta | maps:get(Key, All, [])]}.

%% The tables outlive this process, so that its death loses neither entries nor watchers.
-spec new_tables() -> ok.
new_tables() ->
    Options = [named_table, public, ordered_set, {read_concurrency, true}],
    _ = ets:new(?TABLE, Options),
    _ = ets:new(?WATCHERS, Options),
    ok.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, #state{}, {continue, resume}}.
init([]) ->
    ok = net_kernel:monitor_nodes(true),
    {ok, #state{}, {continue, resume}}.

%% Goes on with what another process of this module had. Other nodes tell again what they have.
-spec handle_continue(resume, #state{}) -> {noreply, #state{}}.
handle_continue(resume, State0) ->
    Watch = fun({{Where, Pid}, Server}, S) -> watch(Where, Pid, server(Server, S)) end,
    State = lists:foldl(Watch, State0, ets:tab2list(?WATCHERS)),
    {Gone, Resumed} = lists:foldl(fun resumed/2, {[], State}, ets:tab2list(?TABLE)),
    change([], Gone, Resumed),
    lists:foreach(fun greet/1, nodes()),
    {noreply, Resumed}.

-spec resumed(entry(), {[id()], #state{}}) -> {[id()], #state{}}.
resumed({{_, _, _, here, _} = Id, _, Server}, {Gone, State}) ->
    case owned(Id, Server, server(Server, State)) of
        {ok, Owned} -> {Gone, Owned};
        closed -> {[Id | Gone], State}
    end;
resumed({Id, _, _}, {Gone, State}) ->
    {[Id | Gone], State}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({track, Id, Meta, Server}, _From, State) ->
    case owned(Id, Server, server(Server, State)) of
        {ok, Owned} -> {reply, ok, put_own({Id, Meta, Server}, Owned)};
        closed -> {reply, {error, closed}, State}
    end;
handle_call({update, Id, Meta, _Server}, _From, State) ->
    case ets:lookup(?TABLE, Id) of
        [{_, _, Server}] -> {reply, ok, put_own({Id, Meta, Server}, State)};
        [] -> {reply, {error, not_present}, State}
    end;
handle_call({untrack, Id, _Meta, _Server}, _From, State) ->
    {reply, ok, take_own([Id], disowned(Id, State))};
handle_call({watch, Where, Pid, Server}, _From, State) ->
    true = ets:insert(?WATCHERS, {{Where, Pid}, Server}),
    {reply, ok, watch(Where, Pid, server(Server, State))};
handle_call({unwatch, Where, Pid, _Server}, _From, State) ->
    {reply, ok, unwatch([Where], Pid, State)};
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({sockeye_down, Conn}, State) ->
    {noreply, owner_ended(Conn, State)};
%% The engine's process has ended, and with it all connections.
handle_info({sockeye_lost, _Run}, #state{owners = Owners} = State) ->
    {noreply, lists:foldl(fun owner_ended/2, State, [Conn || {sockeye_conn, _} = Conn <- maps:keys(Owners)])};
handle_info({nodeup, Node}, State) ->
    greet(Node),
    {noreply, State};
handle_info({sockeye_hello, Peer}, State) ->
    {noreply, befriend(Peer, State)};
handle_info({sockeye_again, Peer}, #state{peers = Peers} = State) when is_map_key(Peer, Peers) ->
    {noreply, present(Peer, State)};
handle_info({catch_up, Peer}, #state{peers = Peers} = State) when is_map_key(Peer, Peers) ->
    {noreply, present(Peer, State)};
handle_info({again, Node}, State) ->
    again(Node),
    {noreply, State};
handle_info({sockeye_again, Peer}, State) ->
    {noreply, befriend(Peer, State)};
%% All that a node has, at the moment when it got to know us.
handle_info({sockeye_present, Peer, Entries}, State0) ->
    State = befriend(Peer, State0),
    Before = maps:from_list(of_node(node(Peer))),
    After = maps:from_list([Entry || {{_, _, _, Node, _}, _} = Entry <- Entries, Node =:= node(Peer)]),
    Joins = [{Id, Meta, none} || {Id, Meta} <- maps:to_list(After), not is_same(Id, Meta, Before)],
    change(Joins, maps:keys(maps:without(maps:keys(After), Before)), State),
    {noreply, State};
handle_info({sockeye_change, Peer, Joins, Leaves}, #state{peers = Peers} = State)
  when is_map_key(Peer, Peers) ->
    change([{Id, Meta, none} || {Id, Meta} <- Joins], Leaves, State),
    {noreply, State};
handle_info({'DOWN', Monitor, process, Pid, _}, #state{peers = Peers} = State) ->
    case Peers of
        #{Pid := {Monitor, _}} ->
            Left = State#state{peers = maps:remove(Pid, Peers)},
            change([], [Id || {Id, _} <- of_node(node(Pid))], Left),
            again(node(Pid)),
            {noreply, Left};
        _ ->
            {noreply, ended(Pid, State)}
    end;
handle_info(_Message, State) ->
    {noreply, State}.

%% Another node's process answers with what it has, if there is one.
-spec greet(node()) -> ok.
greet(Node) ->
    _ = offer({?MODULE, Node}, {sockeye_hello, self()})
        orelse erlang:send_after(?CATCH_UP_MS, self(), {nodeup, Node}),
    ok.

%% A node may be back before we hear that it had gone: what it told then is lost.
-spec again(node()) -> ok.
again(Node) ->
    _ = lists:member(Node, nodes())
        andalso (offer({?MODULE, Node}, {sockeye_again, self()})
                 orelse erlang:send_after(?CATCH_UP_MS, self(), {again, Node})),
    ok.

%% Never waits for a connection between nodes that is full: those who call this process would, too.
-spec offer(pid() | {atom(), node()}, term()) -> boolean().
offer(To, Message) ->
    erlang:send(To, Message, [noconnect, nosuspend]) =/= nosuspend.

%% From the moment in which it is told what there is, it is told of every change.
-spec befriend(pid(), #state{}) -> #state{}.
befriend(Peer, #state{peers = Peers} = State) when is_map_key(Peer, Peers); node(Peer) =:= node() ->
    State;
befriend(Peer, #state{peers = Peers} = State) ->
    Monitor = monitor(process, Peer),
    present(Peer, State#state{peers = Peers#{Peer => {Monitor, current}}}).

-spec present(pid(), #state{}) -> #state{}.
present(Peer, State) ->
    Ours = [{named(Id), Meta} || {{{cluster, _}, _, _, _, _} = Id, Meta} <- of_node(here)],
    tell_peer(Peer, {sockeye_present, self(), Ours}, State).

-spec tell_peer(pid(), term(), #state{}) -> #state{}.
tell_peer(Peer, Message, #state{peers = Peers} = State) ->
    #{Peer := {Monitor, _}} = Peers,
    Now = case offer(Peer, Message) of
              true -> current;
              false -> _ = erlang:send_after(?CATCH_UP_MS, self(), {catch_up, Peer}), behind
          end,
    State#state{peers = Peers#{Peer := {Monitor, Now}}}.

%% As other nodes know it.
-spec named(id()) -> id().
named(Id) ->
    setelement(4, Id, node()).

-spec of_node(here | node()) -> [{id(), meta()}].
of_node(Node) ->
    ets:select(?TABLE, [{{{'$1', '$2', '$3', Node, '$4'}, '$5', '_'}, [],
                         [{{{{'$1', '$2', '$3', Node, '$4'}}, '$5'}}]}]).

-spec is_same(id(), meta(), #{id() => meta()}) -> boolean().
is_same(Id, Meta, Map) ->
    case Map of
        #{Id := Meta} -> true;
        _ -> false
    end.

%% Notes that an entry ends with its owner, who is watched from its first entry on.
-spec owned(id(), pid(), #state{}) -> {ok, #state{}} | closed.
owned({_, _, _, _, Owner} = Id, Server, #state{owners = Owners} = State) ->
    case Owners of
        #{Owner := {Watch, Ids}} ->
            {ok, State#state{owners = Owners#{Owner := {Watch, Ids#{Id => Server}}}}};
        _ when is_pid(Owner) ->
            {ok, State#state{owners = Owners#{Owner => {monitor(process, Owner), #{Id => Server}}}}};
        _ ->
            case sockeye_backend:watch_conn(Owner, self()) of
                ok -> {ok, State#state{owners = Owners#{Owner => {none, #{Id => Server}}}}};
                {error, closed} -> closed
            end
    end.

-spec disowned(id(), #state{}) -> #state{}.
disowned({_, _, _, _, Owner} = Id, #state{owners = Owners} = State) ->
    case Owners of
        #{Owner := {Watch, Ids}} when is_reference(Watch), map_size(Ids) =:= 1, is_map_key(Id, Ids) ->
            true = demonitor(Watch),
            State#state{owners = maps:remove(Owner, Owners)};
        %% A connection stays watched: it cannot be watched twice.
        #{Owner := {Watch, Ids}} ->
            State#state{owners = Owners#{Owner := {Watch, maps:remove(Id, Ids)}}};
        _ ->
            State
    end.

-spec owner_ended(owner(), #state{}) -> #state{}.
owner_ended(Owner, #state{owners = Owners} = State) ->
    case maps:take(Owner, Owners) of
        {{_, Ids}, Rest} -> take_own(maps:keys(Ids), State#state{owners = Rest});
        error -> State
    end.

%% A process, a server, or both.
-spec ended(pid(), #state{}) -> #state{}.
ended(Pid, State) ->
    server_ended(Pid, watcher_ended(Pid, owner_ended(Pid, State))).

-spec watcher_ended(pid(), #state{}) -> #state{}.
watcher_ended(Pid, #state{watching = Watching} = State) ->
    case Watching of
        #{Pid := {_, Places}} -> unwatch(maps:keys(Places), Pid, State);
        _ -> State
    end.

-spec server_ended(pid(), #state{}) -> #state{}.
server_ended(Server, #state{servers = Servers, owners = Owners, watchers = Watchers} = State0) ->
    case maps:take(Server, Servers) of
        {_, Rest} ->
            Ids = [Id || {_, Of} <- maps:values(Owners), {Id, S} <- maps:to_list(Of), S =:= Server],
            State = take_own(Ids, lists:foldl(fun disowned/2, State0#state{servers = Rest}, Ids)),
            Its = [{Where, Pid} || {Where, Pids} <- maps:to_list(Watchers), {Pid, S} <- maps:to_list(Pids),
                                   S =:= Server],
            lists:foldl(fun({Where, Pid}, S) -> unwatch([Where], Pid, S) end, State, Its);
        error ->
            State0
    end.

-spec server(pid(), #state{}) -> #state{}.
server(Server, #state{servers = Servers} = State) when is_map_key(Server, Servers) ->
    State;
server(Server, #state{servers = Servers} = State) ->
    State#state{servers = Servers#{Server => monitor(process, Server)}}.

%% The table has the server.
-spec watch(place(), pid(), #state{}) -> #state{}.
watch(Where, Pid, #state{watchers = Watchers, watching = Watching} = State) ->
    [{_, Server}] = ets:lookup(?WATCHERS, {Where, Pid}),
    {Monitor, Places} = case Watching of
                            #{Pid := Known} -> Known;
                            _ -> {monitor(process, Pid), #{}}
                        end,
    Pids = maps:get(Where, Watchers, #{}),
    State#state{watchers = Watchers#{Where => Pids#{Pid => Server}},
                watching = Watching#{Pid => {Monitor, Places#{Where => true}}}}.

-spec unwatch([place()], pid(), #state{}) -> #state{}.
unwatch(Places, Pid, #state{watchers = Watchers, watching = Watching} = State) ->
    Without = fun(Where, All) ->
                      true = ets:delete(?WATCHERS, {Where, Pid}),
                      case maps:remove(Pid, maps:get(Where, All, #{})) of
                          None when map_size(None) =:= 0 -> maps:remove(Where, All);
                          Others -> All#{Where => Others}
                      end
              end,
    State#state{watchers = lists:foldl(Without, Watchers, Places),
                watching = unwatching(Places, Pid, Watching)}.

-spec unwatching([place()], pid(), Watching) -> Watching when Watching :: #{pid() => {reference(), map()}}.
unwatching(Places, Pid, Watching) ->
    case Watching of
        #{Pid := {Monitor, Has}} ->
            case maps:without(Places, Has) of
                None when map_size(None) =:= 0 ->
                    %% Without `flush', which looks through the mailbox: thousands may have ended at a time.
                    true = demonitor(Monitor),
                    maps:remove(Pid, Watching);
                Left ->
                    Watching#{Pid := {Monitor, Left}}
            end;
        _ ->
            Watching
    end.

-spec put_own(entry(), #state{}) -> #state{}.
put_own({Id, Meta, _} = Entry, State) ->
    change([Entry], [], State),
    replicate([{Id, Meta}], [], State).

-spec take_own([id()], #state{}) -> #state{}.
take_own(Ids, State) ->
    change([], Ids, State),
    replicate([], Ids, State).

-spec replicate([{id(), meta()}], [id()], #state{}) -> #state{}.
replicate(Joins, Leaves, #state{peers = Peers} = State) ->
    Far = fun({{cluster, _}, _, _, _, _}) -> true; (_) -> false end,
    case {[{named(Id), Meta} || {Id, Meta} <- Joins, Far(Id)], [named(Id) || Id <- Leaves, Far(Id)]} of
        {[], []} ->
            State;
        {J, L} ->
            Message = {sockeye_change, self(), J, L},
            lists:foldl(fun(Peer, S) -> tell_peer(Peer, Message, S) end, State,
                        [Peer || {Peer, {_, current}} <- maps:to_list(Peers)])
    end.

-spec change([entry()], [id()], #state{}) -> ok.
change(Joins, Leaves, State) ->
    Old = lists:flatmap(fun(Id) -> ets:lookup(?TABLE, Id) end, [Id || {Id, _, _} <- Joins] ++ Leaves),
    true = ets:insert(?TABLE, Joins),
    lists:foreach(fun(Id) -> ets:delete(?TABLE, Id) end, Leaves),
    tell(Joins, Old, State).

-spec tell([entry()], [entry()], #state{}) -> ok.
tell(_Joins, _Leaves, #state{watchers = Watchers}) when map_size(Watchers) =:= 0 ->
    ok;
tell(Joins, Leaves, #state{watchers = Watchers}) ->
    News = news_of(joins, Joins, Watchers, news_of(leaves, Leaves, Watchers, #{})),
    maps:foreach(
      fun({_, Topic} = Where, Change) ->
              Message = {sockeye_presence, Topic, Change},
              lists:foreach(fun(Pid) -> Pid ! Message end, maps:keys(map_get(Where, Watchers)))
      end, News).

-spec news_of(joins | leaves, [entry()], #{place() => map()}, #{place() => change()}) -> #{place() => change()}.
news_of(What, Entries, Watchers, News) ->
    lists:foldr(
      fun({{Domain, Topic, Key, _, _}, Meta, _}, All) when is_map_key({Domain, Topic}, Watchers) ->
              Change = maps:get({Domain, Topic}, All, #{joins => #{}, leaves => #{}}),
              All#{{Domain, Topic} => Change#{What := add(Key, Meta, map_get(What, Change))}};
         (_, All) ->
              All
      end, News, Entries).
