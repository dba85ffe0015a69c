%% @private
%% Looks at the counters of all servers while one of them has a dashboard, keeps what it saw for fifteen minutes, and tells those that watch.
%%
%% There is one in a node, from the first dashboard on until the last one is gone. It also lends watchers the lists of connections: one list
%% of a server for all of them, read again when it is old, so that the engine is asked as rarely for many as for one.
-module(sockeye_dashboard_sampler).
-behaviour(gen_server).

-export([ensure/0]).
-export([watch/0]).
-export([want_rows/1]).
-export([pause/1]).

-export([start_link/0]).
-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

-export_type([snapshot/0]).

-type snapshot() :: #{pages := [binary()], at := integer(), took := non_neg_integer()}.
%% The connections of a server, the time of the VM in milliseconds, and how many microseconds it took to ask for them.

%% While somebody watches, and while nobody does.
-define(INTERVAL_MS, 2000).
-define(QUIET_MS, 10000).
%% What is kept.
-define(SPAN_MS, 15 * 60 * 1000).
%% A list of connections is asked for again when so many times of what it took are over, and not before that many milliseconds: that is
%% what holds the cost of an open table below a hundredth of a core, whatever the number of connections.
-define(RARELY, 200).
-define(SHORTEST_MS, 2000).
%% One that nobody wants is forgotten.
-define(FORGET_MS, 30000).
-define(PAGE_MS, 5000).

-record(state,
        {points = queue:new() :: queue:queue(sockeye_dashboard_facts:point()),
         count = 0 :: non_neg_integer(),
         timer :: reference() | undefined,
         before = #{} :: sockeye_dashboard_facts:counters(),
         watchers = #{} :: #{reference() => pid()},
         %% Lists of connections, with the time when somebody wanted each last.
         rows = #{} :: #{sockeye_backend:server_id() => {snapshot(), Wanted :: integer()}},
         %% Those that are being read, and who waits for them.
         reading = #{} :: #{reference() => {sockeye_backend:server_id(), [pid()]}}}).

%% Runs when this returns, and for a while.
-spec ensure() -> ok.
ensure() ->
    Spec = #{id => ?MODULE, start => {?MODULE, start_link, []}, restart => temporary},
    case supervisor:start_child(sockeye_sup, Spec) of
        {ok, _} -> ok;
        {error, {already_started, Pid}} when is_pid(Pid) -> stay(Pid)
    end.

%% It may be about to end, and then the next one is started.
-spec stay(pid()) -> ok.
stay(Pid) ->
    try gen_server:call(Pid, stay, infinity)
    catch exit:_ -> ensure()
    end.

%% What has been seen, the oldest first. The calling process gets `{sockeye_point, Point}' from now on.
-spec watch() -> {ok, [sockeye_dashboard_facts:point()], pid()}.
watch() ->
    ok = ensure(),
    gen_server:call(?MODULE, {watch, self()}, infinity).

%% The calling process gets `{sockeye_rows, ServerId, snapshot() | closed}'.
-spec want_rows(sockeye_backend:server_id()) -> ok.
want_rows(ServerId) ->
    gen_server:cast(?MODULE, {want_rows, ServerId, self()}).

%% How long to leave something be that took so many microseconds.
-spec pause(non_neg_integer()) -> pos_integer().
pause(Took) ->
    max(?SHORTEST_MS, Took * ?RARELY div 1000).

-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, #state{}}.
init([]) ->
    ok = sockeye_dashboard_errors:new_table(),
    {ok, sample(#state{})}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({watch, Pid}, _From, #state{watchers = Watchers} = State) ->
    #state{points = Points} = Sampled = newest(State),
    {reply, {ok, queue:to_list(Points), self()}, again(Sampled#state{watchers = Watchers#{monitor(process, Pid) => Pid}})};
handle_call(stay, _From, State) ->
    {reply, ok, State#state{count = 0}};
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({want_rows, ServerId, Pid}, #state{rows = Rows} = State) ->
    Now = now_ms(),
    case Rows of
        #{ServerId := {#{at := At, took := Took} = Snapshot, _}} ->
            case Now - At < pause(Took) of
                true ->
                    Pid ! {sockeye_rows, ServerId, Snapshot},
                    {noreply, State#state{rows = Rows#{ServerId := {Snapshot, Now}}}};
                false ->
                    {noreply, read(ServerId, Pid, State)}
            end;
        _ ->
            {noreply, read(ServerId, Pid, State)}
    end;
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, normal, #state{}}.
handle_info({timeout, Timer, sample}, #state{timer = Timer} = State) ->
    case sockeye_dashboard_facts:has_dashboard() of
        true -> {noreply, forget_rows(sample(State))};
        %% The server that asked for this one is about to be there.
        false when State#state.count < 2 -> {noreply, sample(State)};
        false -> {stop, normal, State}
    end;
handle_info({'DOWN', Ref, process, _Pid, Reason}, #state{watchers = Watchers, reading = Reading} = State) ->
    case maps:take(Ref, Reading) of
        {{ServerId, Waiting}, Rest} ->
            {noreply, was_read(ServerId, Waiting, Reason, State#state{reading = Rest})};
        error ->
            {noreply, State#state{watchers = maps:remove(Ref, Watchers)}}
    end;
handle_info(_Message, State) ->
    {noreply, State}.

%% What there is now belongs to what a watcher sees first; whoever comes again and again makes no points.
-spec newest(#state{}) -> #state{}.
newest(#state{points = Points} = State) ->
    Now = erlang:system_time(millisecond),
    case queue:peek_r(Points) of
        {value, #{t := At}} when Now - At < ?INTERVAL_MS, Now >= At -> State;
        _ -> sample(State)
    end.

%% One more point, and the next in time.
-spec sample(#state{}) -> #state{}.
sample(#state{points = Points, count = Count, before = Before, watchers = Watchers} = State) ->
    {#{t := Now} = Point, Counters} = sockeye_dashboard_facts:point(Before),
    Message = {sockeye_point, Point},
    lists:foreach(fun(Pid) -> Pid ! Message end, maps:values(Watchers)),
    again(State#state{points = queue:in(Point, recent(Now - ?SPAN_MS, Points)), count = Count + 1, before = Counters}).

-spec again(#state{}) -> #state{}.
again(#state{timer = Before, watchers = Watchers} = State) ->
    _ = Before =:= undefined orelse erlang:cancel_timer(Before),
    Ms = case map_size(Watchers) of
             0 -> ?QUIET_MS;
             _ -> ?INTERVAL_MS
         end,
    State#state{timer = erlang:start_timer(Ms, self(), sample)}.

-spec recent(integer(), queue:queue(sockeye_dashboard_facts:point())) -> queue:queue(sockeye_dashboard_facts:point()).
recent(Since, Points) ->
    case queue:peek(Points) of
        {value, #{t := At}} when At < Since -> recent(Since, queue:drop(Points));
        _ -> Points
    end.

-spec forget_rows(#state{}) -> #state{}.
forget_rows(#state{rows = Rows} = State) ->
    Now = now_ms(),
    State#state{rows = maps:filter(fun(_, {_, Wanted}) -> Now - Wanted < ?FORGET_MS end, Rows)}.

%% In a process of its own: a shard may take its time.
-dialyzer({nowarn_function, read/3}).
-spec read(sockeye_backend:server_id(), pid(), #state{}) -> #state{}.
read(ServerId, Pid, #state{reading = Reading} = State) ->
    case [Entry || {_, {Id, _}} = Entry <- maps:to_list(Reading), Id =:= ServerId] of
        [{Ref, {_, Waiting}}] ->
            State#state{reading = Reading#{Ref := {ServerId, lists:usort([Pid | Waiting])}}};
        [] ->
            {_, Ref} = spawn_monitor(fun() -> exit({rows, timed_pages(ServerId)}) end),
            State#state{reading = Reading#{Ref => {ServerId, [Pid]}}}
    end.

-spec was_read(sockeye_backend:server_id(), [pid()], term(), #state{}) -> #state{}.
was_read(ServerId, Waiting, Reason, #state{rows = Rows} = State) ->
    {Answer, Later} = case Reason of
                          {rows, #{} = Snapshot} -> {Snapshot, State#state{rows = Rows#{ServerId => {Snapshot, now_ms()}}}};
                          _ -> {closed, State#state{rows = maps:remove(ServerId, Rows)}}
                      end,
    lists:foreach(fun(Pid) -> Pid ! {sockeye_rows, ServerId, Answer} end, Waiting),
    Later.

-spec timed_pages(sockeye_backend:server_id()) -> snapshot() | closed.
timed_pages(ServerId) ->
    Start = erlang:monotonic_time(microsecond),
    try
        #{shards := Shards} = sockeye_backend:engine_info(),
        Pages = lists:append([pages(ServerId, Shard, 0) || Shard <- lists:seq(0, Shards - 1)]),
        #{pages => Pages, at => now_ms(), took => erlang:monotonic_time(microsecond) - Start}
    catch
        error:_ -> closed
    end.

-spec pages(sockeye_backend:server_id(), non_neg_integer(), non_neg_integer()) -> [binary()].
pages(ServerId, Shard, From) ->
    case sockeye_ask:rows(ServerId, {Shard, From}, ?PAGE_MS) of
        {Page, done} -> [Page];
        {Page, Next} when is_integer(Next) -> [Page | pages(ServerId, Shard, Next)]
    end.

-spec now_ms() -> integer().
now_ms() ->
    erlang:monotonic_time(millisecond).
