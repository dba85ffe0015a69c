%% @private
%% Owns the native engine (its threads live and die with this process) and the
%% table in which servers are found by pid or port number.
-module(sockeye_engine).
-behaviour(gen_server).

-export([start_link/0]).
-export([restart/0]).
-export([register_server/3]).
-export([unregister_server/0]).
-export([find/1]).
-export([find_id/1]).
-export([servers/0]).
-export([is_running/0]).
-export([ensure_running/0]).
-export([when_running/1]).
-export([cause/1]).
-export([reason/1]).
-export([shards/0]).
-export([malloc_is_default/0]).
-export([is_ending/0]).

-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).
-export([terminate/2]).

-define(TABLE, sockeye_servers).
%% The supervisor, which has the same time, starts another engine within milliseconds.
-define(AWAIT_MS, 5000).
%% An engine stops within a second.
-define(STARTS, 200).
-define(START_MS, 10).
%% Servers and clients may take so long to end with the application: a bit less than the
%% supervisor waits for this process.
-define(LAST_MS, 25000).

%% Whether the supervisor ends this process for good.
-define(ENDING, {?MODULE, ending}).

%% Keys of the table: {pid, Pid}, which holds the server, and {place, Place, Pid},
%% ordered so that the first server of a place is one step away.
-record(state, {servers = #{} :: #{reference() => {pid(), place()}}}).

-type place() :: inet:port_number() | {local, binary()} | none.
%% A port, or the name of a Unix socket. Nobody finds one by `none'.

-export_type([place/0, entry/0]).

-type entry() :: {pid(), sockeye_backend:server_id(), map()}.

-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec is_running() -> boolean().
is_running() ->
    %% One that waits for the end of the last has no table yet, and one whose supervisor has died is about to end: tables of
    %% that are gone.
    whereis(?MODULE) =/= undefined andalso whereis(sockeye_sup) =/= undefined andalso ets:whereis(?TABLE) =/= undefined andalso
        try is_map(sockeye_backend:engine_info())
        catch error:_ -> false
        end.

%% Starts the application where it does not run, and waits, for a while, until its supervisor has started the engine again.
-spec ensure_running() -> ok | {error, not_running | Reason :: term()}.
ensure_running() ->
    ensure_running(erlang:monotonic_time(millisecond) + ?AWAIT_MS).

-spec ensure_running(integer()) -> ok | {error, term()}.
ensure_running(Deadline) ->
    %% While the application stops, this waits until it has. One whose supervisor has just died counts as started for a moment.
    case application:ensure_all_started(sockeye) of
        {ok, _} ->
            case {is_running(), erlang:monotonic_time(millisecond) < Deadline} of
                {true, _} -> ok;
                {false, true} -> receive after 10 -> ensure_running(Deadline) end;
                {false, false} -> {error, not_running}
            end;
        {error, _} = Error ->
            Error
    end.

%% Runs `Start' with the application running: once more, if the engine was about to end.
-spec when_running(fun(() -> {error, term()} | Result)) -> {error, term()} | Result.
when_running(Start) ->
    try
        case whereis(?MODULE) of
            undefined -> once_started(Start);
            _ ->
                case Start() of
                    {error, not_running} -> once_started(Start);
                    Result -> Result
                end
        end
    catch
        %% No more processes: those of the start would be.
        error:system_limit -> {error, system_limit}
    end.

-spec once_started(fun(() -> {error, term()} | Result)) -> {error, term()} | Result.
once_started(Start) ->
    case ensure_running() of
        ok -> Start();
        {error, Reason} -> {error, cause(Reason)}
    end.

%% What {@link sockeye_pure} raises, as an error of who was to start something.
-spec reason(tuple()) -> term().
reason({sockeye_port, <<>>, _}) -> not_running;
reason(Reason) -> Reason.

%% What the engine said, without what each supervisor wraps around it.
-spec cause(term()) -> term().
cause({sockeye, {{shutdown, {failed_to_start_child, sockeye_engine, Reason}}, _}}) -> Reason;
cause({sockeye, {{bad_option, _, _} = Reason, _}}) -> Reason;
cause(Reason) -> Reason.

%% Whether the application is about to end: who waits for it to start is in the way of that.
-spec is_ending() -> boolean().
is_ending() ->
    persistent_term:get(?ENDING, false) andalso whereis(sockeye_sup) =/= undefined.

%% Has the engine end, and its supervisor start it again: all connections end.
-spec restart() -> ok.
restart() ->
    gen_server:cast(?MODULE, restart).

%% Makes the calling server known. `About' is what never changes of it.
-spec register_server(sockeye_backend:server_id(), place(), map()) -> ok | {error, stopping}.
register_server(ServerId, Place, About) ->
    gen_server:call(?MODULE, {register, self(), ServerId, Place, About}, infinity).

%% Also answers `ok' when the engine is gone, and the table with it.
-spec unregister_server() -> ok.
unregister_server() ->
    try gen_server:call(?MODULE, {unregister, self()}, infinity)
    catch exit:_ -> ok
    end.

-spec find(sockeye:server()) -> {ok, entry()} | error.
find(Server) when is_pid(Server) ->
    try ets:lookup(?TABLE, {pid, Server}) of
        [{_, ServerId, About}] -> {ok, {Server, ServerId, About}};
        [] -> sockeye_test_engine:find(Server)
    catch
        error:badarg -> sockeye_test_engine:find(Server)
    end;
find(Port) when is_integer(Port) ->
    find_place(Port);
find({local, Path} = Place) when is_binary(Path) ->
    find_place(Place);
find(Name) when is_atom(Name) ->
    case whereis(Name) of
        Pid when is_pid(Pid) -> find(Pid);
        _ -> error
    end;
find(_) ->
    error(badarg).

%% All of this node, with what {@link find/1} tells of each.
-spec servers() -> [entry()].
servers() ->
    try ets:select(?TABLE, [{{{pid, '$1'}, '$2', '$3'}, [], [{{'$1', '$2', '$3'}}]}])
    catch error:badarg -> []
    end.

%% The server of this number.
-spec find_id(sockeye_backend:server_id()) -> {ok, pid()} | error.
find_id(Test) when is_pid(Test) ->
    {ok, Test};
find_id(ServerId) ->
    try ets:select(?TABLE, [{{{pid, '$1'}, ServerId, '_'}, [], ['$1']}]) of
        [Pid | _] -> {ok, Pid};
        [] -> error
    catch
        error:badarg -> error
    end.

-spec find_place(place()) -> {ok, entry()} | error.
find_place(Place) ->
    %% Any number sorts before any pid.
    try ets:next(?TABLE, {place, Place, 0}) of
        {place, Place, Pid} -> find(Pid);
        _ -> error
    catch
        error:badarg -> error
    end.

-spec init([]) -> {ok, #state{}} | {stop, term()}.
init([]) ->
    process_flag(trap_exit, true),
    persistent_term:put(?ENDING, false),
    try engine_start(#{shards => shards(), malloc_is_default => malloc_is_default()}, ?STARTS) of
        ok ->
            _ = ets:new(?TABLE, [named_table, ordered_set, protected, {read_concurrency, true}]),
            ok = sockeye_counts:engine_started(),
            ok = sockeye_delivery:open_all(),
            {ok, #state{}};
        {error, Reason} -> {stop, Reason}
    catch
        error:{sockeye_nif, _, _} = Reason -> {stop, Reason}
    end.

%% Where the supervisor was killed, the last engine may be about to end in order.
-spec engine_start(map(), non_neg_integer()) -> ok | {error, term()}.
engine_start(Config, Tries) ->
    case sockeye_backend:engine_start(Config) of
        {error, already_running} when Tries > 0 ->
            receive after ?START_MS -> engine_start(Config, Tries - 1) end;
        Result ->
            Result
    end.

%% Whether the VM has set the C library's allocator as it does by itself, and not as an operator says (`+MYtt', `+MYtp').
-spec malloc_is_default() -> boolean().
malloc_is_default() ->
    case erlang:system_info({allocator, sys_alloc}) of
        [{instance, 0, Facts} | _] ->
            {options, Options} = lists:keyfind(options, 1, Facts),
            lists:member({tt, 128 * 1024}, Options) andalso lists:member({tp, 0}, Options);
        _ ->
            false
    end.

%% Half of the schedulers: the other half has handlers to run.
-spec shards() -> pos_integer().
shards() ->
    case application:get_env(sockeye, shards) of
        {ok, N} when is_integer(N), N > 0 -> N;
        _ -> max(1, erlang:system_info(schedulers_online) div 2)
    end.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({register, Pid, ServerId, Place, About}, _From, #state{servers = Servers} = State) ->
    Monitor = monitor(process, Pid),
    true = ets:insert(?TABLE, [{{pid, Pid}, ServerId, About}, {{place, Place, Pid}}]),
    {reply, ok, State#state{servers = Servers#{Monitor => {Pid, Place}}}};
handle_call({unregister, Pid}, _From, #state{servers = Servers} = State) ->
    Found = [Monitor || {Monitor, {P, _}} <- maps:to_list(Servers), P =:= Pid],
    {reply, ok, lists:foldl(fun forget/2, State, Found)};
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_cast(restart, State) ->
    {stop, {shutdown, library_replaced}, State};
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({'DOWN', Monitor, process, _Pid, _Reason}, State) ->
    {noreply, forget(Monitor, State)};
%% The process that reads what the engine says, where that is one of the system; nobody else who had a link to this one.
handle_info({'EXIT', _Link, Reason}, State) ->
    case {sockeye_backend:engine(), whereis(sockeye_link)} of
        {port, undefined} -> {stop, Reason, State};
        _ -> {noreply, State}
    end;
handle_info({sockeye_gone, ServerId}, State) ->
    ok = sockeye_log_limit:forget(ServerId),
    ok = sockeye_encoder:forget(ServerId),
    ok = sockeye_counts:forget(ServerId),
    %% A process that was killed has not done so itself.
    ok = sockeye_backend:server_gone(ServerId),
    {noreply, State};
handle_info({sockeye_event, Kind, Detail}, State) ->
    sockeye_log:event(error, engine, Kind, Detail),
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.

-spec forget(reference(), #state{}) -> #state{}.
forget(Monitor, #state{servers = Servers} = State) ->
    case maps:take(Monitor, Servers) of
        {{Pid, Place}, Rest} ->
            %% Without `flush', which looks through the mailbox: thousands may have ended at a time.
            true = demonitor(Monitor),
            true = ets:delete(?TABLE, {pid, Pid}),
            true = ets:delete(?TABLE, {place, Place, Pid}),
            State#state{servers = Rest};
        error ->
            State
    end.

%% Servers and clients end before this process does, each in its own process: when the application
%% has stopped, handlers have made their last calls, and names and ports are free.
-spec terminate(term(), #state{}) -> ok.
terminate(Reason, _State) ->
    persistent_term:put(?ENDING, Reason =:= shutdown),
    %% Who comes from now on waits for the next engine.
    true = unregister(?MODULE),
    Hosts = sockeye_backend:engine_hosts(),
    Waiting = maps:from_list([{monitor(process, Pid), Pid} || Pid <- Hosts]),
    lists:foreach(fun(Pid) -> Pid ! {sockeye_engine_stops, self()} end, Hosts),
    ok = sockeye_backend:engine_stop(),
    ok = await_hosts(Waiting, erlang:monotonic_time(millisecond) + ?LAST_MS),
    sockeye_backend:engine_end().

-spec await_hosts(#{reference() => pid()}, integer()) -> ok.
await_hosts(Waiting, _Deadline) when map_size(Waiting) =:= 0 ->
    ok;
await_hosts(Waiting, Deadline) ->
    receive
        {'DOWN', Monitor, process, _, _} ->
            await_hosts(maps:remove(Monitor, Waiting), Deadline);
        {'$gen_call', From, {unregister, _Pid}} ->
            gen_server:reply(From, ok),
            await_hosts(Waiting, Deadline);
        {'$gen_call', From, _Request} ->
            gen_server:reply(From, {error, stopping}),
            await_hosts(Waiting, Deadline)
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
            ok
    end.
