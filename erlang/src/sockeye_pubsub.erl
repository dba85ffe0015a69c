%% @doc Topics for Erlang processes: what is published to the clients of a server, they get as well.
%%
%% A subscribed process gets `{sockeye_pubsub, Topic, Frame}' for each
%% {@link sockeye:publish/3} and `{publish, Topic, Frame}', with the topic it was published under
%% and the term that was published: `{json, Term}', `{text, Bin}' or `{binary, Bin}'. Broadcasts,
%% pings and what is sent to one connection are not delivered. The frames of one publisher come in
%% their order. Nothing bounds the mailbox: a process that is slow on purpose should not subscribe.
%%
%% Topics are those of {@link sockeye:topic()}, with `*' at the end for all that begin so. A
%% process that matches a topic in several ways gets the frame once. With `scope => cluster' it
%% gets what is published on the other nodes, too.
%% ```
%% 1> ok = sockeye_pubsub:subscribe(my_server, <<"room/7">>).
%% 2> ok = sockeye:publish(my_server, <<"room/7">>, #{said => <<"Hello!">>}).
%% 3> flush().
%% Shell got {sockeye_pubsub,<<"room/7">>,{json,#{said => <<"Hello!">>}}}
%% '''
-module(sockeye_pubsub).
-behaviour(gen_server).

-export([subscribe/2]).
-export([subscribe/3]).
-export([unsubscribe/2]).
-export([unsubscribe/3]).
-export([subscribers/2]).
-export([new_table/0]).
-export([start_link/0]).
-export([deliver/3]).
-export([count/2]).
-export([topics/1]).
-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

-export_type([frame/0]).

%% {{ServerId, exact, Topic} | {ServerId, prefix}, Pid, Server, Prefix | none}
-define(TABLE, sockeye_pubsub).

-type frame() :: {json, term()} | {text, binary()} | {binary, binary()}.
-type key() :: {sockeye_nif:server_id(), exact, sockeye:topic()} | {sockeye_nif:server_id(), prefix}.

-record(state, {subscribers = #{} :: #{pid() => reference()},
                servers = #{} :: #{pid() => {reference(), sockeye_nif:server_id()}}}).

%% @equiv subscribe(Server, Topic, self())
-spec subscribe(sockeye:server(), sockeye:topic()) -> ok | {error, not_found}.
subscribe(Server, Topic) ->
    subscribe(Server, Topic, self()).

%% @doc Subscribes a process of this node, until it or the server ends. Doing so again changes
%% nothing. What is published after the return of this call is delivered.
-spec subscribe(sockeye:server(), sockeye:topic(), pid()) -> ok | {error, not_found}.
subscribe(Server, Topic, Pid) ->
    change(subscribe, Server, Topic, Pid).

%% @equiv unsubscribe(Server, Topic, self())
-spec unsubscribe(sockeye:server(), sockeye:topic()) -> ok | {error, not_found}.
unsubscribe(Server, Topic) ->
    unsubscribe(Server, Topic, self()).

%% @doc Ends a subscription; `ok' also if there was none.
-spec unsubscribe(sockeye:server(), sockeye:topic(), pid()) -> ok | {error, not_found}.
unsubscribe(Server, Topic, Pid) ->
    change(unsubscribe, Server, Topic, Pid).

%% @doc The processes of this node that would get what is published under a topic.
-spec subscribers(sockeye:server(), sockeye:topic()) -> [pid()] | {error, not_found}.
subscribers(Server, Topic) when is_binary(Topic) ->
    sockeye_fanout:of_server(Server, fun(ServerId) -> matching(ServerId, Topic) end);
subscribers(_Server, _Topic) ->
    error(badarg).

-spec change(subscribe | unsubscribe, sockeye:server(), sockeye:topic(), pid()) ->
          ok | {error, not_found}.
change(What, Server, Topic, Pid)
  when byte_size(Topic) >= 1, byte_size(Topic) =< 255, node(Pid) =:= node() ->
    case sockeye_engine:find(Server) of
        {ok, {ServerPid, ServerId, _}} ->
            try gen_server:call(?MODULE, {What, ServerPid, ServerId, Topic, Pid}, infinity)
            catch exit:_ -> {error, not_found}
            end;
        error ->
            {error, not_found}
    end;
change(_What, _Server, _Topic, _Pid) ->
    error(badarg).

%% @private
%% The table outlives this module's process, so that its death loses no subscription.
-spec new_table() -> ok.
new_table() ->
    _ = ets:new(?TABLE, [named_table, public, bag, {read_concurrency, true}]),
    ok.

%% @private
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @private
-spec deliver(sockeye_nif:server_id(), sockeye:topic(), sockeye:frame()) -> ok.
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

-spec term(sockeye:frame()) -> frame() | none.
term(Map) when is_map(Map) -> {json, Map};
term({json, _} = Frame) -> Frame;
term({Kind, Data}) when Kind =:= text; Kind =:= binary -> {Kind, iolist_to_binary(Data)};
term({plain, Frame}) -> term(Frame);
term(_) -> none.

-spec matching(sockeye_nif:server_id(), sockeye:topic()) -> [pid()].
matching(ServerId, Topic) ->
    try {ets:lookup(?TABLE, {ServerId, exact, Topic}), ets:lookup(?TABLE, {ServerId, prefix})} of
        {Exact, []} ->
            [Pid || {_, Pid, _, _} <- Exact];
        {Exact, Prefixes} ->
            Begins = [Pid || {_, Pid, _, Prefix} <- Prefixes, begins(Topic, Prefix)],
            lists:usort([Pid || {_, Pid, _, _} <- Exact] ++ Begins)
    catch
        %% The application stops.
        error:badarg -> []
    end.

-spec begins(binary(), binary()) -> boolean().
begins(Topic, Prefix) ->
    binary:longest_common_prefix([Topic, Prefix]) =:= byte_size(Prefix).

%% @private
%% The subscriptions to exactly this topic or pattern.
-spec count(sockeye_nif:server_id(), sockeye:topic()) -> non_neg_integer().
count(ServerId, Topic) ->
    {Key, Prefix} = key(ServerId, Topic),
    length([1 || {_, _, _, P} <- ets:lookup(?TABLE, Key), P =:= Prefix]).

%% @private
-spec topics(sockeye_nif:server_id()) -> [sockeye:topic()].
topics(ServerId) ->
    Exact = ets:select(?TABLE, [{{{ServerId, exact, '$1'}, '_', '_', '_'}, [], ['$1']}]),
    Prefixes = [<<Prefix/binary, $*>> || {_, _, _, Prefix} <- ets:lookup(?TABLE, {ServerId, prefix})],
    lists:usort(Exact ++ Prefixes).

-spec key(sockeye_nif:server_id(), sockeye:topic()) -> {key(), binary() | none}.
key(ServerId, Topic) ->
    Len = byte_size(Topic) - 1,
    case Topic of
        <<Prefix:Len/binary, $*>> -> {{ServerId, prefix}, Prefix};
        _ -> {{ServerId, exact, Topic}, none}
    end.

%% @private
-spec init([]) -> {ok, #state{}}.
init([]) ->
    %% There are some if another process of this module has died.
    All = ets:tab2list(?TABLE),
    State = lists:foldl(fun({Key, Pid, Server, _}, S) -> known(Pid, Server, element(1, Key), S) end,
                        #state{}, All),
    sockeye_cluster:processes(length(All)),
    {ok, State}.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({subscribe, Server, ServerId, Topic, Pid}, _From, State) ->
    {Key, Prefix} = key(ServerId, Topic),
    true = ets:insert(?TABLE, {Key, Pid, Server, Prefix}),
    changed(ServerId, Topic),
    {reply, ok, known(Pid, Server, ServerId, State)};
handle_call({unsubscribe, Server, ServerId, Topic, Pid}, _From, State) ->
    {Key, Prefix} = key(ServerId, Topic),
    true = ets:delete_object(?TABLE, {Key, Pid, Server, Prefix}),
    changed(ServerId, Topic),
    {reply, ok, State};
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) ->
    {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({'DOWN', _, process, Pid, _}, #state{subscribers = Subscribers, servers = Servers} = State) ->
    ended([Object || {_, Who, Server, _} = Object <- of_process(Pid), Who =:= Pid orelse Server =:= Pid]),
    {noreply, State#state{subscribers = maps:remove(Pid, Subscribers),
                          servers = maps:remove(Pid, Servers)}};
handle_info(_Message, State) ->
    {noreply, State}.

-spec of_process(pid()) -> [tuple()].
of_process(Pid) ->
    ets:select(?TABLE, [{{'_', Pid, '_', '_'}, [], ['$_']}, {{'_', '_', Pid, '_'}, [], ['$_']}]).

-spec ended([tuple()]) -> ok.
ended(Objects) ->
    _ = [begin
             true = ets:delete_object(?TABLE, Object),
             changed(element(1, Key), topic(Key, Prefix))
         end || {Key, _, _, Prefix} = Object <- Objects],
    ok.

-spec topic(key(), binary() | none) -> sockeye:topic().
topic({_, exact, Topic}, none) -> Topic;
topic({_, prefix}, Prefix) -> <<Prefix/binary, $*>>.

-spec changed(sockeye_nif:server_id(), sockeye:topic()) -> ok.
changed(ServerId, Topic) ->
    sockeye_cluster:processes(ets:info(?TABLE, size)),
    sockeye_cluster:changed(ServerId, Topic).

-spec known(pid(), pid(), sockeye_nif:server_id(), #state{}) -> #state{}.
known(Pid, Server, ServerId, #state{subscribers = Subscribers, servers = Servers} = State) ->
    State#state{subscribers = case Subscribers of
                                  #{Pid := _} -> Subscribers;
                                  _ -> Subscribers#{Pid => monitor(process, Pid)}
                              end,
                servers = case Servers of
                              #{Server := _} -> Servers;
                              _ -> Servers#{Server => {monitor(process, Server), ServerId}}
                          end}.
