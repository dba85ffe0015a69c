%% @private
%% Starts the processes of a handler under test, as a server does, and hears of their ends.
-module(sockeye_test_host).
-behaviour(gen_server).
%% The connections of a test are made here.
-dialyzer(no_opaque).

-export([start/2, worker/2, ended/2, stop/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-record(state,
        {world :: pid(),
         config :: sockeye_options:config(),
         workers = #{} :: #{pid() => sockeye_test_engine:key()},
         %% Why those ended that have, and who wants to know of others.
         ended = #{} :: #{pid() => term()},
         waiting = [] :: [{pid(), gen_server:from()}]}).

-spec start(pid(), sockeye_options:config()) -> {ok, pid()} | {error, term()}.
start(World, Config) ->
    proc_lib:start(?MODULE, init, [{World, Config}]).

%% The process that serves what has this key: it is started where there is none.
-spec worker(pid(), sockeye_test_engine:key()) -> {ok, pid()} | {error, term()}.
worker(Pid, Key) -> gen_server:call(Pid, {worker, Key}, infinity).

%% Why a process has ended.
-spec ended(pid(), pid()) -> term().
ended(Pid, Worker) -> gen_server:call(Pid, {ended, Worker}, infinity).

%% Has the handler serve what there is, and end.
-spec stop(pid()) -> [Crash :: term()].
stop(Pid) -> gen_server:call(Pid, stop, infinity).

-spec init({pid(), sockeye_options:config()}) -> no_return().
init({World, #{mode := Mode} = Config}) ->
    process_flag(trap_exit, true),
    true = link(World),
    State = #state{world = World, config = Config},
    Slots = case Mode of per_connection -> []; {workers, Count} -> lists:seq(0, Count - 1) end,
    try lists:foldl(fun(Slot, In) -> first(Slot, In) end, State, Slots) of
        Started ->
            _ = sockeye_gate:accepts(Config) andalso sockeye_gate:start_link(World, Config),
            proc_lib:init_ack({ok, self()}),
            gen_server:enter_loop(?MODULE, [], Started)
    catch
        throw:{start_failed, Reason} ->
            proc_lib:init_ack({error, Reason}),
            exit(normal)
    end.

-spec first(non_neg_integer(), #state{}) -> #state{}.
first(Slot, State) ->
    case start(now, Slot, State) of
        {ok, _, Started} -> Started;
        {error, Reason} -> throw({start_failed, Reason})
    end.

-spec start(now | later, sockeye_test_engine:key(), #state{}) -> {ok, pid(), #state{}} | {error, term()}.
start(When, Key, #state{world = World, workers = Workers, config = #{handler := {Module, Arg}}} = State) ->
    ok = sockeye_test_timers:trace({to, World}),
    Result = case Key of
                 {sockeye_conn, _} -> sockeye_worker:start_conn(World, self(), Module, Arg, Key);
                 _ -> sockeye_worker:start_link(When, World, Key, Module, Arg)
             end,
    ok = sockeye_test_timers:trace(off),
    case Result of
        {ok, Pid} ->
            ok = sockeye_test_engine:started(World, Key, Pid),
            {ok, Pid, State#state{workers = Workers#{Pid => Key}}};
        {error, _} = Error ->
            Error
    end.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}} | {noreply, #state{}}.
handle_call({worker, Key}, _From, #state{workers = Workers} = State) ->
    case [Pid || {Pid, K} <- maps:to_list(Workers), K =:= Key] of
        [Pid] ->
            {reply, {ok, Pid}, State};
        [] ->
            case start(later, Key, State) of
                {ok, Pid, Started} -> {reply, {ok, Pid}, Started};
                {error, _} = Error -> {reply, Error, State}
            end
    end;
handle_call({ended, Worker}, From, #state{ended = Ended, waiting = Waiting} = State) ->
    case Ended of
        #{Worker := Reason} -> {reply, Reason, State};
        _ -> {noreply, State#state{waiting = [{Worker, From} | Waiting]}}
    end;
handle_call(stop, _From, #state{workers = Workers, config = #{handler := {Module, _}}} = State) ->
    _ = [sockeye_websock:stopping(Pid) || Module =:= sockeye_websock, Pid <- maps:keys(Workers)],
    ok = sockeye_test_engine:stopping(State#state.world),
    _ = sockeye_test_engine:answer_closes(State#state.world),
    _ = [sockeye_worker:stop(Pid) || Pid <- maps:keys(Workers)],
    Reasons = [receive {'EXIT', Pid, Reason} -> Reason end || Pid <- maps:keys(Workers)],
    {reply, [Reason || Reason <- Reasons, not sockeye_crash:is_orderly(Reason)], State#state{workers = #{}}}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({'EXIT', World, _Reason}, #state{world = World} = State) ->
    {stop, normal, State};
handle_info({'EXIT', Pid, Reason}, #state{workers = Workers, ended = Ended, waiting = Waiting} = State) ->
    case maps:take(Pid, Workers) of
        {Key, Rest} ->
            ok = sockeye_test_engine:ended(State#state.world, Key, sockeye_crash:is_orderly(Reason)),
            {Asked, Others} = lists:partition(fun({Of, _}) -> Of =:= Pid end, Waiting),
            lists:foreach(fun({_, From}) -> gen_server:reply(From, Reason) end, Asked),
            {noreply, State#state{workers = Rest, ended = Ended#{Pid => Reason}, waiting = Others}};
        error ->
            {noreply, State}
    end;
handle_info(_Message, State) ->
    {noreply, State}.

%% Who is linked to us sees an ordinary end, and the handlers are not to be left.
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{workers = Workers}) ->
    lists:foreach(fun(Pid) -> exit(Pid, shutdown) end, maps:keys(Workers)).
