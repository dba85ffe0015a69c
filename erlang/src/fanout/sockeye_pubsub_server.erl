%% @private
%% Processes that subscribe to topics, on this node: the table of them, and what is delivered to them.
-module(sockeye_pubsub_server).
-behaviour(gen_server).

-export([change/4]).
-export([matching/2]).
-export([deliver/3]).
-export([has/2]).
-export([has_prefixes/1]).
-export([topics/1]).
-export([new_table/0]).
-export([start_link/0]).

-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

%% {key(), Server}, sorted: those of a topic are neighbours.
-define(TABLE, sockeye_pubsub).

%% A prefix is without its star.
-type key() :: {sockeye_backend:server_id(), exact | prefix, binary(), pid()}.

-record(state, {subscribers = #{} :: #{pid() => {reference(), #{key() => true}}},
                servers = #{} :: #{pid() => {reference(), sockeye_backend:server_id()}}}).

-spec change(subscribe | unsubscribe, sockeye:server(), sockeye:topic(), pid()) ->
          ok | {error, not_found}.
change(What, Server, Topic, Pid) ->
    case sockeye_engine:find(Server) of
        {ok, {ServerPid, ServerId, _}} ->
            try gen_server:call(?MODULE, {What, ServerPid, ServerId, Topic, Pid}, infinity)
            catch exit:_ -> {error, not_found}
            end;
        error ->
            {error, not_found}
    end.

%% The table outlives this process, so that its death loses no subscription.
-spec new_table() -> ok.
new_table() ->
    _ = ets:new(?TABLE, [named_table, public, ordered_set, {read_concurrency, true}]),
    ok.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec deliver(sockeye_backend:server_id(), sockeye:topic(), sockeye:frame()) -> ok.
deliver(ServerId, Topic, Frame) ->
    case sockeye_cluster:processes() of
        0 -> ok;
        _ -> deliver_to(matching(ServerId, Topic), Topic, Frame)
    end.

-spec deliver_to([pid()], sockeye:topic(), sockeye:frame()) -> ok.
deliver_to([], _Topic, _Frame) ->
    ok;
deliver_to(Pids, Topic, Frame) ->
    case term(Frame) of
        none -> ok;
        Term -> lists:foreach(fun(Pid) -> Pid ! {sockeye_pubsub, Topic, Term} end, Pids)
    end.

-spec term(sockeye:frame()) -> sockeye_pubsub:frame() | none.
term(Map) when is_map(Map) -> {json, Map};
term({json, _} = Frame) -> Frame;
term({Kind, Data}) when Kind =:= text; Kind =:= binary -> {Kind, iolist_to_binary(Data)};
term({uncompressed, Frame}) -> term(Frame);
term(_) -> none.

-spec matching(sockeye_backend:server_id(), sockeye:topic()) -> [pid()].
matching(ServerId, Topic) ->
    try {exactly(ServerId, Topic), has_prefixes(ServerId)} of
        {Exact, false} -> Exact;
        {Exact, true} -> lists:usort(Exact ++ by_prefix(ServerId, Topic))
    catch
        %% The application stops.
        error:badarg -> []
    end.

-spec exactly(sockeye_backend:server_id(), sockeye:topic()) -> [pid()].
exactly(ServerId, Topic) ->
    case has_key(ServerId, exact, Topic) of
        true -> ets:select(?TABLE, [{{{ServerId, exact, Topic, '$1'}, '_'}, [], ['$1']}]);
        false -> []
    end.

-spec by_prefix(sockeye_backend:server_id(), sockeye:topic()) -> [pid()].
by_prefix(ServerId, Topic) ->
    All = ets:select(?TABLE, [{{{ServerId, prefix, '$1', '$2'}, '_'}, [], [{{'$1', '$2'}}]}]),
    [Pid || {Prefix, Pid} <- All, begins(Topic, Prefix)].

%% Any number sorts before any pid.
-spec has_key(sockeye_backend:server_id(), exact | prefix, binary()) -> boolean().
has_key(ServerId, Kind, Name) ->
    case ets:next(?TABLE, {ServerId, Kind, Name, 0}) of
        {ServerId, Kind, Name, _} -> true;
        _ -> false
    end.

-spec begins(binary(), binary()) -> boolean().
begins(Topic, Prefix) ->
    binary:longest_common_prefix([Topic, Prefix]) =:= byte_size(Prefix).

%% Whether somebody subscribes to exactly this topic or pattern.
-spec has(sockeye_backend:server_id(), sockeye:topic()) -> boolean().
has(ServerId, Topic) ->
    {_, Kind, Name, _} = key(ServerId, Topic, self()),
    has_key(ServerId, Kind, Name).

-spec has_prefixes(sockeye_backend:server_id()) -> boolean().
has_prefixes(ServerId) ->
    case ets:next(?TABLE, {ServerId, prefix, <<>>, 0}) of
        {ServerId, prefix, _, _} -> true;
        _ -> false
    end.

-spec topics(sockeye_backend:server_id()) -> [sockeye:topic()].
topics(ServerId) ->
    lists:usort([topic(Kind, Name) || {_, Kind, Name, _} <- of_server(ServerId, '_')]).

-spec of_server(sockeye_backend:server_id(), pid() | '_') -> [key()].
of_server(ServerId, Server) ->
    Head = {{ServerId, '$1', '$2', '$3'}, Server},
    ets:select(?TABLE, [{Head, [], [{{ServerId, '$1', '$2', '$3'}}]}]).

-spec key(sockeye_backend:server_id(), sockeye:topic(), pid()) -> key().
key(ServerId, Topic, Pid) ->
    Len = byte_size(Topic) - 1,
    case Topic of
        <<Prefix:Len/binary, $*>> -> {ServerId, prefix, Prefix, Pid};
        _ -> {ServerId, exact, Topic, Pid}
    end.

-spec topic(exact | prefix, binary()) -> sockeye:topic().
topic(exact, Topic) -> Topic;
topic(prefix, Prefix) -> <<Prefix/binary, $*>>.

-spec init([]) -> {ok, #state{}}.
init([]) ->
    %% There are some if another process of this module has died.
    All = ets:tab2list(?TABLE),
    State = lists:foldl(fun({Key, Server}, S) -> known(Key, Server, S) end, #state{}, All),
    sockeye_cluster:processes(length(All)),
    {ok, State}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({subscribe, Server, ServerId, Topic, Pid}, _From, State) ->
    Key = key(ServerId, Topic, Pid),
    true = ets:insert(?TABLE, {Key, Server}),
    changed(ServerId, Topic),
    {reply, ok, known(Key, Server, State)};
handle_call({unsubscribe, _Server, ServerId, Topic, Pid}, _From, State) ->
    {reply, ok, ended([key(ServerId, Topic, Pid)], State)};
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({'DOWN', _, process, Pid, _}, State) ->
    {noreply, server_ended(Pid, subscriber_ended(Pid, State))};
handle_info(_Message, State) ->
    {noreply, State}.

-spec subscriber_ended(pid(), #state{}) -> #state{}.
subscriber_ended(Pid, #state{subscribers = Subscribers} = State) ->
    case Subscribers of
        #{Pid := {_, Keys}} ->
            #state{subscribers = Left} = Ended = ended(maps:keys(Keys), State),
            Ended#state{subscribers = maps:remove(Pid, Left)};
        _ ->
            State
    end.

-spec server_ended(pid(), #state{}) -> #state{}.
server_ended(Server, #state{servers = Servers} = State) ->
    case maps:take(Server, Servers) of
        {{_, ServerId}, Rest} -> ended(of_server(ServerId, Server), State#state{servers = Rest});
        error -> State
    end.

%% A process stays monitored until it ends.
-spec ended([key()], #state{}) -> #state{}.
ended(Keys, State) ->
    lists:foldl(
      fun({ServerId, Kind, Name, Pid} = Key, #state{subscribers = Subscribers} = S) ->
              true = ets:delete(?TABLE, Key),
              changed(ServerId, topic(Kind, Name)),
              case Subscribers of
                  #{Pid := {Monitor, Has}} ->
                      S#state{subscribers = Subscribers#{Pid := {Monitor, maps:remove(Key, Has)}}};
                  _ ->
                      S
              end
      end, State, Keys).

-spec changed(sockeye_backend:server_id(), sockeye:topic()) -> ok.
changed(ServerId, Topic) ->
    sockeye_cluster:processes(ets:info(?TABLE, size)),
    sockeye_cluster:changed(ServerId, Topic).

-spec known(key(), pid(), #state{}) -> #state{}.
known({ServerId, _, _, Pid} = Key, Server, #state{subscribers = Subscribers, servers = Servers} = State) ->
    {Monitor, Has} = case Subscribers of
                         #{Pid := Known} -> Known;
                         _ -> {monitor(process, Pid), #{}}
                     end,
    State#state{subscribers = Subscribers#{Pid => {Monitor, Has#{Key => true}}},
                servers = case Servers of
                              #{Server := _} -> Servers;
                              _ -> Servers#{Server => {monitor(process, Server), ServerId}}
                          end}.
