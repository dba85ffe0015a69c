%% @private
%% Tells other nodes which topics have receivers on this node: its relay, `sockeye_cluster', is a member of the groups of `pg'
%% that say so.
%%
%% A process of its own: `pg' waits for nodes that hang, frames must not.
-module(sockeye_groups).
-behaviour(gen_server).

-export([start_link/0]).
-export([init/1]).
-export([handle_continue/2]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

-record(server, {name :: atom(),
                 monitor :: reference(),
                 relay :: pid(),
                 %% Those of connections.
                 patterns = #{} :: #{sockeye:topic() => true},
                 groups = #{} :: #{term() => true}}).

-record(state, {relay :: pid(),
                servers = #{} :: #{sockeye_backend:server_id() => {pid(), #server{}}},
                %% Topics to look at again, once for any number of hints.
                hints = #{} :: #{{sockeye_backend:server_id(), sockeye:topic()} => true}}).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% It dies with the relay: see the supervisor.
-spec init([]) -> {ok, #state{}, {continue, rejoin}}.
init([]) ->
    {ok, #state{relay = whereis(sockeye_cluster)}, {continue, rejoin}}.

%% Those that had joined before another process of this module died.
-spec handle_continue(rejoin, #state{}) -> {noreply, #state{}}.
handle_continue(rejoin, #state{relay = Relay} = State) ->
    %% Unless it was this one alone that died, there are none.
    Scope = sockeye_cluster:scope(),
    Leave = fun(Group) -> pg:leave(Scope, Group, Relay) end,
    lists:foreach(Leave, [Group || Group <- pg:which_local_groups(Scope),
                                   lists:member(Relay, pg:get_local_members(Scope, Group))]),
    {noreply, lists:foldl(fun({ServerId, Name, Server}, S) -> joined(Name, ServerId, Server, S) end,
                          State, sockeye_cluster:servers())}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({join, Name, ServerId, Server}, _From, State) ->
    {reply, ok, joined(Name, ServerId, Server, State)};
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({changed, ServerId, Topic}, State) ->
    {noreply, hint(ServerId, Topic, State)};
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({sockeye_topics, ServerId}, State) ->
    {noreply, news(ServerId, State)};
%% Another engine: subscriptions of connections have ended with the last.
handle_info({sockeye_reopened, ServerId}, State) ->
    {noreply, update_all(ServerId, State)};
handle_info(sockeye_hints, #state{hints = Hints} = State) ->
    Update = fun({ServerId, Topic}, S) -> update(ServerId, [Topic], S) end,
    {noreply, lists:foldl(Update, State#state{hints = #{}}, maps:keys(Hints))};
handle_info({'DOWN', Monitor, process, Server, _}, #state{servers = Servers} = State) ->
    Gone = [ServerId || {ServerId, {Pid, #server{monitor = M}}} <- maps:to_list(Servers),
                        Pid =:= Server, M =:= Monitor],
    {noreply, lists:foldl(fun left/2, State, Gone)};
handle_info(_Message, State) ->
    {noreply, State}.

-spec joined(atom(), sockeye_backend:server_id(), pid(), #state{}) -> #state{}.
joined(Name, ServerId, Server, State0) ->
    #state{servers = Servers} = State = left(ServerId, State0),
    Monitor = monitor(process, Server),
    ok = sockeye_cluster:entered(ServerId, Name, Server),
    Entry = member(all, true, #server{name = Name, monitor = Monitor, relay = State#state.relay}),
    Known = State#state{servers = Servers#{ServerId => {Server, Entry}}},
    try
        ok = sockeye_backend:watch_topics(ServerId, self()),
        update_all(ServerId, Known)
    catch
        %% It has ended: that is in the mailbox.
        error:badarg -> Known
    end.

-spec left(sockeye_backend:server_id(), #state{}) -> #state{}.
left(ServerId, #state{servers = Servers} = State) ->
    case maps:take(ServerId, Servers) of
        {{Server, #server{monitor = Monitor, groups = Groups}}, Rest} ->
            true = demonitor(Monitor),
            ok = sockeye_cluster:left(ServerId, Server),
            Leave = fun(Group) -> pg:leave(sockeye_cluster:scope(), Group, State#state.relay) end,
            lists:foreach(Leave, maps:keys(Groups)),
            State#state{servers = Rest};
        error ->
            State
    end.

%% Others have their turn after some of it: news come as fast as connections subscribe.
-spec news(sockeye_backend:server_id(), #state{}) -> #state{}.
news(ServerId, State) ->
    try sockeye_backend:topic_news(ServerId) of
        {More, Topics} ->
            _ = More andalso (self() ! {sockeye_topics, ServerId}),
            update(ServerId, Topics, State);
        all ->
            update_all(ServerId, State)
    catch
        %% It has ended.
        error:badarg -> State
    end.

%% All that there is, and all that there was.
-spec update_all(sockeye_backend:server_id(), #state{}) -> #state{}.
update_all(ServerId, #state{servers = Servers} = State) ->
    case Servers of
        #{ServerId := {_, #server{groups = Groups, patterns = Patterns}}} ->
            Before = [Topic || {_, _, Topic} <- maps:keys(Groups)] ++ maps:keys(Patterns),
            Now = maps:keys(topics(ServerId)) ++ sockeye_pubsub_server:topics(ServerId),
            update(ServerId, lists:usort(Before ++ Now), State);
        _ ->
            State
    end.

%% What had come before is looked at together.
-spec hint(sockeye_backend:server_id(), sockeye:topic(), #state{}) -> #state{}.
hint(ServerId, Topic, #state{hints = Hints} = State) ->
    map_size(Hints) =:= 0 andalso (self() ! sockeye_hints),
    State#state{hints = Hints#{{ServerId, Topic} => true}}.

-spec update(sockeye_backend:server_id(), [sockeye:topic()], #state{}) -> #state{}.
update(ServerId, Topics, #state{servers = Servers} = State) ->
    case Servers of
        #{ServerId := {Server, Entry}} ->
            Updated = lists:foldl(fun(Topic, E) -> update_topic(ServerId, Topic, E) end, Entry, Topics),
            State#state{servers = Servers#{ServerId := {Server, Updated}}};
        _ ->
            State
    end.

%% A node with a pattern gets all that is published, and finds out itself what matches.
-spec update_topic(sockeye_backend:server_id(), sockeye:topic(), #server{}) -> #server{}.
update_topic(ServerId, Topic, #server{patterns = Patterns} = Entry) ->
    Connections = sockeye_backend:topic_count(ServerId, Topic) > 0,
    case binary:last(Topic) of
        $* ->
            Others = case Connections of
                         true -> Patterns#{Topic => true};
                         false -> maps:remove(Topic, Patterns)
                     end,
            Wanted = member(connections, map_size(Others) > 0, Entry#server{patterns = Others}),
            member(processes, sockeye_pubsub_server:has_prefixes(ServerId), Wanted);
        _ ->
            Processes = sockeye_pubsub_server:has(ServerId, Topic),
            member({processes, Topic}, Processes, member({connections, Topic}, Connections, Entry))
    end.

-spec topics(sockeye_backend:server_id()) -> #{sockeye:topic() => pos_integer()}.
topics(ServerId) ->
    try sockeye_backend:topics_of(ServerId)
    catch error:badarg -> #{}
    end.

-spec member(term(), boolean(), #server{}) -> #server{}.
member(For, Wanted, #server{name = Name, relay = Relay, groups = Groups} = Entry) ->
    Group = case For of
                {Kind, Topic} -> {Name, Kind, Topic};
                Kind -> {Name, Kind}
            end,
    case {Wanted, Groups} of
        {true, #{Group := _}} ->
            Entry;
        {true, _} ->
            ok = pg:join(sockeye_cluster:scope(), Group, Relay),
            Entry#server{groups = Groups#{Group => true}};
        {false, #{Group := _}} ->
            _ = pg:leave(sockeye_cluster:scope(), Group, Relay),
            Entry#server{groups = maps:remove(Group, Groups)};
        {false, _} ->
            Entry
    end.
