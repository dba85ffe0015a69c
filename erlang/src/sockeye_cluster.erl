%% @private
%% What is published on one node, on the others.
%%
%% Servers of one name belong together. Each node has one process here; it is a member of groups
%% that say for what there are receivers on its node, so that a frame is encoded once where it is
%% published and travels once to each node that wants it. Publishers send to it directly: that keeps
%% the order of what one publisher says.
-module(sockeye_cluster).
-behaviour(gen_server).

-export([new_table/0]).
-export([start_link/0]).
-export([fresh/1]).
-export([join/3]).
-export([name/2]).
-export([targets/2]).
-export([spread/5]).
-export([processes/0]).
-export([processes/1]).
-export([changed/2]).
-export([dropped/0]).
-export([scope/0]).
-export([init/1]).
-export([handle_continue/2]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

%% {ServerId, Name, Server}: the servers of this node whose scope is the cluster.
-define(TABLE, sockeye_cluster).
%% The groups of pg.
-define(SCOPE, sockeye_topics).
-define(COUNTERS, {?MODULE, counters}).
-define(PROCESSES, 1).
-define(SERVERS, 2).
-define(DROPPED, 3).

%% Frames from other nodes that may wait here; more are dropped and counted.
-define(MOST_WAITING, 10000).
%% How often the mailbox is looked at.
-define(LOOK, 64).

-type to() :: all | sockeye:topic().
-type target() :: {pid(), Connections :: boolean(), Processes :: boolean()}.

-record(server, {name :: atom(),
                 monitor :: reference(),
                 %% Those of connections.
                 patterns = #{} :: #{sockeye:topic() => true},
                 groups = #{} :: #{term() => true}}).

-record(state, {servers = #{} :: #{sockeye_nif:server_id() => {pid(), #server{}}},
                %% Topics to look at again, once for any number of hints.
                hints = #{} :: #{{sockeye_nif:server_id(), sockeye:topic()} => true},
                look = ?LOOK :: non_neg_integer()}).

%% The table and the counters outlive this module's process.
-spec new_table() -> ok.
new_table() ->
    _ = ets:new(?TABLE, [named_table, public, {read_concurrency, true}]),
    persistent_term:put(?COUNTERS, counters:new(3, [])).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% A server has got a number which another one may have had a moment ago.
-spec fresh(sockeye_nif:server_id()) -> ok.
fresh(ServerId) ->
    case ets:take(?TABLE, ServerId) of
        [] -> ok;
        _ -> call({fresh, ServerId})
    end.

%% The server takes part from the return of this call on.
-spec join(atom(), sockeye_nif:server_id(), pid()) -> ok.
join(Name, ServerId, Server) ->
    true = ets:insert(?TABLE, {ServerId, Name, Server}),
    call({join, Name, ServerId, Server}).

%% The next process of this module knows it from the table.
-spec call(term()) -> ok.
call(Request) ->
    try gen_server:call(?MODULE, Request, infinity)
    catch exit:_ -> ok
    end.

%% The name under which a server publishes elsewhere, too.
-spec name(sockeye_nif:server_id(), default | local | cluster) ->
          {ok, atom()} | local | {error, not_clustered}.
name(_ServerId, local) ->
    local;
name(ServerId, Scope) ->
    case {count(?SERVERS) > 0 andalso lookup(ServerId), Scope} of
        {[{_, Name, _}], _} -> {ok, Name};
        {_, default} -> local;
        {_, cluster} -> {error, not_clustered}
    end.

-spec lookup(sockeye_nif:server_id()) -> [tuple()].
lookup(ServerId) ->
    try ets:lookup(?TABLE, ServerId)
    catch error:badarg -> []
    end.

%% The other nodes that want it, and for what.
-spec targets(atom(), to()) -> [target()].
targets(Name, all) ->
    [{Pid, true, false} || Pid <- members({Name, all})];
targets(Name, Topic) ->
    Connections = members({Name, connections, Topic}) ++ members({Name, connections}),
    Processes = members({Name, processes, Topic}) ++ members({Name, processes}),
    case {Connections, Processes} of
        {[], []} ->
            [];
        {[Only], []} ->
            [{Only, true, false}];
        _ ->
            [{Pid, lists:member(Pid, Connections), lists:member(Pid, Processes)}
             || Pid <- lists:usort(Connections ++ Processes)]
    end.

-spec members(term()) -> [pid()].
members(Group) ->
    [Pid || Pid <- pg:get_members(?SCOPE, Group), node(Pid) =/= node()].

%% Hands it to other nodes. Never blocks: what a full connection between nodes does not take is
%% dropped, and counted.
-spec spread([target()], atom(), to(), sockeye_nif:encoded(), sockeye:frame()) -> ok.
spread(Targets, Name, To, Encoded, Frame) ->
    lists:foreach(
      fun({Pid, Connections, Processes}) ->
              Message = {sockeye_publish, Name, To, only(Connections, Encoded), only(Processes, Frame)},
              case erlang:send(Pid, Message, [noconnect, nosuspend]) of
                  ok -> ok;
                  _ -> drop(1)
              end
      end, Targets).

-spec only(boolean(), Term) -> Term | none.
only(true, Term) -> Term;
only(false, _Term) -> none.

%% How many subscriptions processes of this node have.
-spec processes() -> non_neg_integer().
processes() ->
    count(?PROCESSES).

-spec processes(non_neg_integer()) -> ok.
processes(Count) ->
    counters:put(persistent_term:get(?COUNTERS), ?PROCESSES, Count).

%% Frames of other nodes, and for them, that were dropped on this one.
-spec dropped() -> non_neg_integer().
dropped() ->
    count(?DROPPED).

-spec count(pos_integer()) -> non_neg_integer().
count(Index) ->
    case persistent_term:get(?COUNTERS, none) of
        none -> 0;
        Counters -> counters:get(Counters, Index)
    end.

-spec drop(non_neg_integer()) -> ok.
drop(Count) ->
    counters:add(persistent_term:get(?COUNTERS), ?DROPPED, Count).

%% The subscriptions of processes to a topic may have begun or ended.
-spec changed(sockeye_nif:server_id(), sockeye:topic()) -> ok.
changed(ServerId, Topic) ->
    case count(?SERVERS) of
        0 -> ok;
        _ -> gen_server:cast(?MODULE, {changed, ServerId, Topic})
    end.

-spec scope() -> atom().
scope() ->
    ?SCOPE.

-spec init([]) -> {ok, #state{}, {continue, rejoin}}.
init([]) ->
    process_flag(message_queue_data, off_heap),
    {ok, #state{}, {continue, rejoin}}.

%% Those that had joined before another process of this module died.
-spec handle_continue(rejoin, #state{}) -> {noreply, #state{}}.
handle_continue(rejoin, State) ->
    count_servers(),
    {noreply, lists:foldl(fun({ServerId, Name, Server}, S) -> joined(Name, ServerId, Server, S) end,
                          State, ets:tab2list(?TABLE))}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({fresh, ServerId}, _From, State) ->
    {reply, ok, left(ServerId, State)};
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
handle_info({sockeye_publish, _, _, _, _} = Frame, #state{look = 0} = State) ->
    {message_queue_len, Waiting} = process_info(self(), message_queue_len),
    ok = drop(skip(Waiting - ?MOST_WAITING, 0)),
    handle_info(Frame, State#state{look = ?LOOK});
handle_info({sockeye_publish, Name, To, Encoded, Frame}, #state{look = Look} = State) ->
    try receive_frame(Name, To, Encoded, Frame)
    %% Of another version, perhaps: that must not end what all servers share.
    catch error:_ -> drop(1)
    end,
    {noreply, State#state{look = Look - 1}};
handle_info({sockeye_topics, ServerId}, State) ->
    {noreply, news(ServerId, State)};
handle_info(sockeye_hints, #state{hints = Hints} = State) ->
    Update = fun({ServerId, Topic}, S) -> update(ServerId, [Topic], S) end,
    {noreply, lists:foldl(Update, State#state{hints = #{}}, maps:keys(Hints))};
handle_info({'DOWN', Monitor, process, Server, _}, #state{servers = Servers} = State) ->
    Gone = [ServerId || {ServerId, {Pid, #server{monitor = M}}} <- maps:to_list(Servers),
                        Pid =:= Server, M =:= Monitor],
    {noreply, lists:foldl(fun left/2, State, Gone)};
handle_info(_Message, State) ->
    {noreply, State}.

%% The oldest go first.
-spec skip(integer(), non_neg_integer()) -> non_neg_integer().
skip(Most, Done) when Most > Done ->
    receive
        {sockeye_publish, _, _, _, _} -> skip(Most, Done + 1)
    after 0 ->
            Done
    end;
skip(_Most, Done) ->
    Done.

-spec receive_frame(atom(), to(), sockeye_nif:encoded() | none, sockeye:frame() | none) -> ok.
receive_frame(Name, To, Encoded, Frame) ->
    case is_atom(Name) andalso sockeye_engine:find(Name) of
        {ok, {_, ServerId, _}} -> take_frame(ServerId, To, Encoded, Frame);
        %% It has stopped meanwhile.
        _ -> ok
    end.

-spec take_frame(sockeye_nif:server_id(), to(), sockeye_nif:encoded() | none,
                 sockeye:frame() | none) -> ok.
take_frame(ServerId, To, Encoded, Frame) ->
    case Encoded =:= none orelse sockeye_fanout:publish_encoded(ServerId, To, Encoded) of
        {error, busy} -> drop(1);
        _ -> ok
    end,
    case Frame of
        none -> ok;
        _ -> sockeye_pubsub:deliver(ServerId, To, Frame)
    end.

-spec joined(atom(), sockeye_nif:server_id(), pid(), #state{}) -> #state{}.
joined(Name, ServerId, Server, State0) ->
    #state{servers = Servers} = State = left(ServerId, State0),
    Monitor = monitor(process, Server),
    true = ets:insert(?TABLE, {ServerId, Name, Server}),
    count_servers(),
    Entry = member(all, true, #server{name = Name, monitor = Monitor}),
    Known = State#state{servers = Servers#{ServerId => {Server, Entry}}},
    try
        ok = sockeye_nif:watch_topics(ServerId, self()),
        update_all(ServerId, Known)
    catch
        %% It has ended: that is in the mailbox.
        error:badarg -> Known
    end.

-spec left(sockeye_nif:server_id(), #state{}) -> #state{}.
left(ServerId, #state{servers = Servers} = State) ->
    case maps:take(ServerId, Servers) of
        {{Server, #server{monitor = Monitor, groups = Groups}}, Rest} ->
            _ = demonitor(Monitor, [flush]),
            true = ets:match_delete(?TABLE, {ServerId, '_', Server}),
            count_servers(),
            lists:foreach(fun(Group) -> pg:leave(?SCOPE, Group, self()) end, maps:keys(Groups)),
            State#state{servers = Rest};
        error ->
            State
    end.

-spec count_servers() -> ok.
count_servers() ->
    counters:put(persistent_term:get(?COUNTERS), ?SERVERS, ets:info(?TABLE, size)).

%% Others have their turn after some of it: news come as fast as connections subscribe.
-spec news(sockeye_nif:server_id(), #state{}) -> #state{}.
news(ServerId, State) ->
    try sockeye_nif:topic_news(ServerId) of
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
-spec update_all(sockeye_nif:server_id(), #state{}) -> #state{}.
update_all(ServerId, #state{servers = Servers} = State) ->
    case Servers of
        #{ServerId := {_, #server{groups = Groups, patterns = Patterns}}} ->
            Before = [Topic || {_, _, Topic} <- maps:keys(Groups)] ++ maps:keys(Patterns),
            Now = maps:keys(topics(ServerId)) ++ sockeye_pubsub:topics(ServerId),
            update(ServerId, lists:usort(Before ++ Now), State);
        _ ->
            State
    end.

%% What had come before is looked at together.
-spec hint(sockeye_nif:server_id(), sockeye:topic(), #state{}) -> #state{}.
hint(ServerId, Topic, #state{hints = Hints} = State) ->
    map_size(Hints) =:= 0 andalso (self() ! sockeye_hints),
    State#state{hints = Hints#{{ServerId, Topic} => true}}.

-spec update(sockeye_nif:server_id(), [sockeye:topic()], #state{}) -> #state{}.
update(ServerId, Topics, #state{servers = Servers} = State) ->
    case Servers of
        #{ServerId := {Server, Entry}} ->
            Updated = lists:foldl(fun(Topic, E) -> update_topic(ServerId, Topic, E) end, Entry, Topics),
            State#state{servers = Servers#{ServerId := {Server, Updated}}};
        _ ->
            State
    end.

%% A node with a pattern gets all that is published, and finds out itself what matches.
-spec update_topic(sockeye_nif:server_id(), sockeye:topic(), #server{}) -> #server{}.
update_topic(ServerId, Topic, #server{patterns = Patterns} = Entry) ->
    Connections = sockeye_nif:topic_count(ServerId, Topic) > 0,
    case binary:last(Topic) of
        $* ->
            Others = case Connections of
                         true -> Patterns#{Topic => true};
                         false -> maps:remove(Topic, Patterns)
                     end,
            Wanted = member(connections, map_size(Others) > 0, Entry#server{patterns = Others}),
            member(processes, sockeye_pubsub:has_prefixes(ServerId), Wanted);
        _ ->
            Processes = sockeye_pubsub:has(ServerId, Topic),
            member({processes, Topic}, Processes, member({connections, Topic}, Connections, Entry))
    end.

-spec topics(sockeye_nif:server_id()) -> #{sockeye:topic() => pos_integer()}.
topics(ServerId) ->
    try sockeye_nif:topics_of(ServerId)
    catch error:badarg -> #{}
    end.

-spec member(term(), boolean(), #server{}) -> #server{}.
member(For, Wanted, #server{name = Name, groups = Groups} = Entry) ->
    Group = case For of
                {Kind, Topic} -> {Name, Kind, Topic};
                Kind -> {Name, Kind}
            end,
    case {Wanted, Groups} of
        {true, #{Group := _}} ->
            Entry;
        {true, _} ->
            ok = pg:join(?SCOPE, Group, self()),
            Entry#server{groups = Groups#{Group => true}};
        {false, #{Group := _}} ->
            _ = pg:leave(?SCOPE, Group, self()),
            Entry#server{groups = maps:remove(Group, Groups)};
        {false, _} ->
            Entry
    end.
