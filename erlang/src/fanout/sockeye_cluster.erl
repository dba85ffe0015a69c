%% @private
%% Publishes to the other nodes of the cluster what is published on one.
%%
%% Servers of one name belong together. Each node has one process here; `sockeye_groups' makes it a
%% member of groups that say for what there are receivers on its node, so that a frame is encoded once where it is
%% published and travels once to each node that wants it. Publishers send to it directly: that keeps
%% the order of what one publisher says.
-module(sockeye_cluster).
-behaviour(gen_server).

-export([new_table/0]).
-export([start_link/0]).
-export([join/3]).
-export([name/2]).
-export([targets/2]).
-export([spread/5]).
-export([processes/0]).
-export([processes/1]).
-export([changed/2]).
-export([dropped/0]).
-export([scope/0]).
-export([servers/0]).
-export([entered/3]).
-export([left/2]).
-export([init/1]).
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

-record(state, {look = ?LOOK :: non_neg_integer()}).

%% The table and the counters outlive this module's process.
-spec new_table() -> ok.
new_table() ->
    _ = ets:new(?TABLE, [named_table, public, {read_concurrency, true}]),
    persistent_term:put(?COUNTERS, counters:new(3, [])).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The server takes part from the return of this call on.
-spec join(atom(), sockeye_backend:server_id(), pid()) -> ok.
join(Name, ServerId, Server) ->
    true = ets:insert(?TABLE, {ServerId, Name, Server}),
    call({join, Name, ServerId, Server}).

%% The next process of groups knows it from the table.
-spec call(term()) -> ok.
call(Request) ->
    try gen_server:call(sockeye_groups, Request, infinity)
    catch exit:_ -> ok
    end.

%% The name under which a server publishes elsewhere, too.
-spec name(sockeye_backend:server_id(), default | local | cluster) ->
          {ok, atom()} | local | {error, not_clustered}.
name(_ServerId, local) ->
    local;
name(ServerId, Scope) ->
    case {count(?SERVERS) > 0 andalso lookup(ServerId), Scope} of
        {[{_, Name, _}], _} -> {ok, Name};
        {_, default} -> local;
        {_, cluster} -> {error, not_clustered}
    end.

-spec lookup(sockeye_backend:server_id()) -> [tuple()].
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
    try [Pid || Pid <- pg:get_members(?SCOPE, Group), node(Pid) =/= node()]
    %% It is being started again, or the application stops.
    catch error:badarg -> []
    end.

%% Hands it to other nodes. Never blocks: what a full connection between nodes does not take is
%% dropped, and counted.
-spec spread([target()], atom(), to(), sockeye_backend:encoded(), sockeye:frame()) -> ok.
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
-spec changed(sockeye_backend:server_id(), sockeye:topic()) -> ok.
changed(ServerId, Topic) ->
    case count(?SERVERS) of
        0 -> ok;
        _ -> gen_server:cast(sockeye_groups, {changed, ServerId, Topic})
    end.

%% For the process of groups: the servers that there are.
-spec servers() -> [{sockeye_backend:server_id(), atom(), pid()}].
servers() ->
    count_servers(),
    ets:tab2list(?TABLE).

-spec entered(sockeye_backend:server_id(), atom(), pid()) -> ok.
entered(ServerId, Name, Server) ->
    true = ets:insert(?TABLE, {ServerId, Name, Server}),
    count_servers().

-spec left(sockeye_backend:server_id(), pid()) -> ok.
left(ServerId, Server) ->
    true = ets:match_delete(?TABLE, {ServerId, '_', Server}),
    count_servers().

-spec count_servers() -> ok.
count_servers() ->
    counters:put(persistent_term:get(?COUNTERS), ?SERVERS, ets:info(?TABLE, size)).

-spec scope() -> atom().
scope() ->
    ?SCOPE.

-spec init([]) -> {ok, #state{}}.
init([]) ->
    process_flag(message_queue_data, off_heap),
    {ok, #state{}}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
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

-spec receive_frame(atom(), to(), sockeye_backend:encoded() | none, sockeye:frame() | none) -> ok.
receive_frame(Name, To, Encoded, Frame) ->
    case is_atom(Name) andalso sockeye_engine:find(Name) of
        {ok, {_, ServerId, _}} -> take_frame(ServerId, To, Encoded, Frame);
        %% It has stopped meanwhile.
        _ -> ok
    end.

-spec take_frame(sockeye_backend:server_id(), to(), sockeye_backend:encoded() | none,
                 sockeye:frame() | none) -> ok.
take_frame(ServerId, To, Encoded, Frame) ->
    _ = Encoded =:= none orelse sockeye_fanout:publish_encoded(ServerId, To, Encoded),
    case Frame of
        none -> ok;
        _ -> sockeye_pubsub_server:deliver(ServerId, To, Frame)
    end.
