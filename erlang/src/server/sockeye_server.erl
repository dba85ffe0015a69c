%% @private
%% One server: owns the listener, starts the handler processes and replaces
%% those that die.
-module(sockeye_server).
-behaviour(gen_server).

-export([start_link/1]).
-export([register_name/1]).
-export([cause/4]).
-export([start_failed/1]).

-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).
-export([terminate/2]).
-export([format_status/1]).

-define(ACCEPT_BATCH, 64).
%% On top of the close timeout, for the engine to say that it is done.
-define(ENGINE_SLACK_MS, 3000).
%% This many crashes of a handler within the window are answered at once, then
%% the pause before a restart doubles: a client that kills the handler with
%% each frame must not take the processor as well.
-define(CRASHES_AT_ONCE, 5).
-define(CRASH_WINDOW_MS, 5000).
-define(FIRST_PAUSE_MS, 20).
-define(LAST_PAUSE_MS, 2000).

-record(state,
        {id :: sockeye_backend:server_id(),
         config :: sockeye_options:config(),
         %% Who we are, for the log.
         facts = #{} :: map(),
         engine :: reference(),
         %% Pool: worker => slot, or that its end has been reported. Process per connection: empty.
         workers = #{} :: #{pid() => non_neg_integer() | {reported, non_neg_integer()}},
         %% slot => {crashes in the window, time of the last one}
         crashes = #{} :: #{non_neg_integer() => {pos_integer(), integer()}},
         conn_sup :: pid() | undefined,
         relay :: pid() | undefined,
         gate :: pid() | undefined,
         %% The server of those who watch this one.
         dashboard :: pid() | undefined,
         drain :: sockeye_drain:drain() | undefined,
         inbox :: sockeye_backend:inbox() | undefined}).

%% Not gen_server:start_link: there, a start that fails sends an exit signal
%% which kills a caller that does not trap exits, a shell for one.
-spec start_link(sockeye_options:config()) -> {ok, pid()} | {error, term()}.
start_link(Config) ->
    proc_lib:start_link(?MODULE, init, [{self(), Config}]).

-spec init({pid(), sockeye_options:config()}) -> no_return().
init({Parent, #{name := Name} = Config}) ->
    process_flag(trap_exit, true),
    Engine = whereis(sockeye_engine),
    try start(Config) of
        State ->
            proc_lib:init_ack(Parent, {ok, self()}),
            case Name of
                undefined -> gen_server:enter_loop(?MODULE, [], State);
                _ -> gen_server:enter_loop(?MODULE, [], State, {local, Name})
            end
    catch
        throw:{start_failed, Reason} -> sockeye_stopping:init_failed(Parent, Reason);
        Class:Reason:Stack -> sockeye_stopping:init_failed(Parent, cause(Engine, Class, Reason, Stack))
    end.

%% What went wrong in a start: that the engine of its beginning has gone meanwhile shows in many ways.
-spec cause(pid() | undefined, error | exit | throw, term(), list()) -> term().
cause(Engine, _Class, Reason, Stack) ->
    case whereis(sockeye_engine) =:= Engine andalso sockeye_engine:is_running() of
        true when Reason =:= system_limit -> system_limit;
        true -> {Reason, Stack};
        false -> not_running
    end.

%% A handler's process has not started.
-spec start_failed(term()) -> no_return().
start_failed({shutdown, not_running}) -> throw({start_failed, not_running});
start_failed(Reason) -> throw({start_failed, Reason}).

-spec start(sockeye_options:config()) -> #state{}.
start(#{name := Name} = Config) ->
    register_name(Name),
    Engine = monitor(process, sockeye_engine),
    {Dashboard, Nested} = sockeye_dashboard:start(Config),
    {Id, Address, Certificates} = listen(Config, Nested),
    ok = sockeye_label:set({sockeye_server, case Name of undefined -> place(Address); _ -> Name end}),
    ok = sockeye_encoder:set(Id, maps:get(encoder, Config, none)),
    ok = sockeye_counts:new(Id),
    State = #state{id = Id, config = Config, engine = Engine, dashboard = Dashboard},
    try
        Started = start_gate(start_handlers(State)),
        ok = sockeye_engine:register_server(Id, place(Address), about(Config, Address)),
        ok = join_cluster(Id, Config),
        Facts = sockeye_log:server(self()),
        IsTls = maps:get(tls, Config) =/= undefined,
        Url = sockeye_log:url(Facts, IsTls),
        Where = maps:merge(maps:merge(Url, sockeye_dashboard:where(Config, Url)), running(Config)),
        ok = tell(notice, server_started, maps:merge(Facts#{handler => handler(Config), tls => IsTls}, Where), Config),
        ok = sockeye_tls:warn(Id, Facts, Certificates),
        Started#state{facts = Facts}
    catch
        Class:Reason:Stack ->
            ok = sockeye_dashboard:stop(Dashboard),
            _ = close_listener(1001, State),
            erlang:raise(Class, Reason, Stack)
    end.

%% That the server of a dashboard comes and goes is nothing that its operator has asked for.
-spec tell(notice | error, atom(), map(), sockeye_options:config()) -> ok.
tell(Level, What, Detail, Config) ->
    case Level =:= notice andalso sockeye_dashboard:is_one(Config) of
        true -> ok;
        false -> sockeye_log:always(Level, What, Detail)
    end.

%% Without the argument, which may be secret.
-spec handler(sockeye_options:config()) -> module() | pid() | atom().
handler(#{handler := {Module, _}}) -> Module;
handler(#{handler := Owner}) -> Owner.

%% Whether nobody has the name of an owner yet.
-spec running(sockeye_options:config()) -> #{running => false}.
running(#{handler := Name}) when is_atom(Name) ->
    maps:from_list([{running, false} || whereis(Name) =:= undefined]);
running(_Config) ->
    #{}.

-spec join_cluster(sockeye_backend:server_id(), sockeye_options:config()) -> ok.
join_cluster(Id, #{scope := cluster, name := Name}) ->
    sockeye_cluster:join(Name, Id, self());
join_cluster(_Id, _Config) ->
    ok.

-spec register_name(atom()) -> true.
register_name(undefined) ->
    true;
register_name(Name) ->
    try register(Name, self())
    catch
        error:badarg ->
            case whereis(Name) of
                undefined -> throw({start_failed, sockeye_bad_option:option(name, "cannot be registered")});
                Other -> throw({start_failed, {already_started, Other}})
            end
    end.

-spec listen(sockeye_options:config(), none | {binary(), sockeye_backend:server_id()}) ->
          {sockeye_backend:server_id(), map(), sockeye_tls:own()}.
listen(Config, Nested) ->
    Engine = maps:without([name, handler, processes, batch, accept, scope, encoder, dashboard], Config),
    #{tls := TlsOptions, http2 := Http2} = Config,
    Tls = case sockeye_tls:read(TlsOptions, Http2) of
              {ok, Read} -> Read;
              {error, Bad} -> throw({start_failed, Bad})
          end,
    Limits = sockeye_descriptors:limits(maps:get(max_connections, Config)),
    Listening = sockeye_backend:listen((maps:merge(Engine, Limits))#{asks => sockeye_gate:accepts(Config),
                                           nested => Nested,
                                           routes => sockeye_gate:plain(Config),
                                           tls => Tls}),
    case sockeye_tls:listen(Listening) of
        {ok, Id, Address} -> {Id, Address, sockeye_tls:own(TlsOptions, Tls)};
        {error, Reason} -> throw({start_failed, failed(Reason, Config)})
    end.

-spec failed(term(), sockeye_options:config()) -> term().
failed(einval, #{ip := {fd, Descriptor}}) ->
    sockeye_bad_option:option(ip, io_lib:format("descriptor ~b is not a listening socket of TCP, or a Unix one", [Descriptor]));
failed(Reason, _Config) ->
    Reason.

%% Under what a server is found, beside its pid and its name.
-spec place(map()) -> sockeye_engine:place().
place(#{address := {local, _} = Path}) -> Path;
place(#{address := none}) -> none;
place(#{port := Port}) -> Port.

-spec about(sockeye_options:config(), map()) -> map().
about(Config, #{address := Ip, port := Port}) ->
    About = (maps:with([name, handler, processes, scope, max_connections], Config))#{
        max_descriptor => sockeye_descriptors:most(maps:get(max_connections, Config))},
    Kept = case Config of
               #{mode := {owner, _, _}} -> maps:remove(processes, About);
               _ -> About
           end,
    Kept#{ip => Ip, port => Port}.

-spec start_gate(#state{}) -> #state{}.
start_gate(#state{id = Id, config = Config} = State) ->
    case sockeye_gate:wanted(Config) of
        true -> State#state{gate = sockeye_gate:start_link(Id, Config)};
        false -> State
    end.

-spec start_handlers(#state{}) -> #state{}.
start_handlers(#state{config = #{mode := {owner, _, _}}} = State) ->
    State;
start_handlers(#state{id = Id, config = #{mode := per_connection, handler := {Module, Arg}}} = State) ->
    {ok, Sup} = sockeye_conn_sup:start_link(Id, self(), Module, Arg),
    State#state{conn_sup = Sup, relay = sockeye_relay:start_link(Id), inbox = sockeye_backend:inbox_open(Id, acceptor)};
start_handlers(#state{config = #{mode := {workers, N}}} = State) ->
    lists:foldl(fun start_first/2, State, lists:seq(0, N - 1)).

-spec start_first(non_neg_integer(), #state{}) -> #state{}.
start_first(Slot, #state{workers = Workers} = State) ->
    case start_worker(now, Slot, State) of
        {ok, Pid} ->
            State#state{workers = Workers#{Pid => Slot}};
        {error, Reason} ->
            start_failed(Reason)
    end.

-spec start_worker(now | later, non_neg_integer(), #state{}) -> {ok, pid()} | {error, term()}.
start_worker(When, Slot, #state{id = Id, config = #{handler := {Module, Arg}}}) ->
    sockeye_worker:start_link(When, Id, Slot, Module, Arg).

-spec handle_call(term(), gen_server:from(), #state{}) ->
          {reply, term(), #state{}} | {noreply, #state{}}.
handle_call({drain, Options}, From, #state{drain = undefined, id = Id} = State) ->
    ok = announce(State),
    {noreply, State#state{drain = sockeye_drain:start(From, Id, Options)}};
handle_call({drain, _}, _From, State) ->
    {reply, {error, draining}, State};
handle_call(reload_tls, _From, #state{config = #{tls := undefined}} = State) ->
    {reply, {error, sockeye_bad_option:option(tls, "the server was started without TLS")}, State};
handle_call(reload_tls, _From, State) ->
    {reply, reload_tls(State), State};
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec reload_tls(#state{}) -> ok | {error, sockeye_bad_option:bad_option() | not_running}.
reload_tls(#state{id = Id, facts = Facts, config = #{tls := Options, http2 := Http2}}) ->
    case sockeye_tls:read(Options, Http2) of
        {ok, Tls} ->
            case sockeye_tls:listen(sockeye_backend:reload_tls(Id, Tls)) of
                ok -> sockeye_tls:warn(Id, Facts, sockeye_tls:own(Options, Tls));
                Error -> Error
            end;
        {error, _} = Error ->
            Error
    end.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info(sockeye_ready, #state{inbox = Inbox} = State) when Inbox =/= undefined ->
    case sockeye_backend:recv(Inbox, ?ACCEPT_BATCH) of
        {more, Events} -> self() ! sockeye_ready, accept(Events, State);
        dirty -> accept(element_or_list(sockeye_backend:recv_dirty(Inbox, ?ACCEPT_BATCH)), State);
        Events -> accept(Events, State)
    end;
handle_info({sockeye_batch, _, _, _, _} = Batch, State) ->
    {Events, _} = sockeye_port_batch:take(Batch),
    Accepted = accept(Events, State),
    ok = sockeye_port_batch:served([], ?ACCEPT_BATCH),
    Accepted;
handle_info({sockeye_inbox, Run, Inbox}, State) ->
    ok = sockeye_port_batch:opened(Run, Inbox),
    {noreply, State#state{inbox = Inbox}};
handle_info(sockeye_drain, #state{drain = Drain} = State) when Drain =/= undefined ->
    case sockeye_drain:step(Drain) of
        {wait, Later} -> {noreply, State#state{drain = Later}};
        {done, Done} -> {stop, normal, State#state{drain = Done}}
    end;
handle_info({'EXIT', Pid, Reason}, #state{workers = Workers, conn_sup = Sup} = State) ->
    case Workers of
        #{Pid := {reported, Slot}} ->
            worker_down(Slot, State#state{workers = maps:remove(Pid, Workers)});
        #{Pid := Slot} ->
            #state{id = Id, facts = Facts, config = #{handler := {Module, _}}} = State,
            ok = sockeye_handler_end:from_outside(Module, Pid, Reason, Id, Facts),
            worker_down(Slot, State#state{workers = maps:remove(Pid, Workers)});
        _ when Pid =:= Sup -> {stop, Reason, State};
        _ when Pid =:= State#state.relay ->
            {noreply, restart_relay(State)};
        _ when Pid =:= State#state.gate ->
            {noreply, restart_gate(State)};
        _ -> {noreply, State}
    end;
handle_info({sockeye_reported, Pid}, #state{workers = Workers} = State) when is_map_key(Pid, Workers) ->
    {noreply, State#state{workers = maps:update_with(Pid, fun(Slot) -> {reported, Slot} end, Workers)}};
handle_info({restart, Slot}, #state{workers = Workers} = State) ->
    try sockeye_processes:may_start() andalso start_worker(later, Slot, State) of
        false -> {noreply, try_again({restart, Slot}, State)};
        {ok, Pid} -> {noreply, State#state{workers = Workers#{Pid => Slot}}}
    catch
        error:system_limit -> {noreply, try_again({restart, Slot}, State)}
    end;
handle_info(start_relay, State) ->
    {noreply, restart_relay(State)};
handle_info(start_gate, State) ->
    {noreply, restart_gate(State)};
handle_info({sockeye_engine_stops, _Engine}, State) ->
    {stop, normal, State};
handle_info({'DOWN', Engine, process, _, Reason}, #state{engine = Engine} = State) ->
    %% An ordinary end must not kill the shell that started this server.
    case Reason of
        normal -> {stop, normal, State};
        shutdown -> {stop, normal, State};
        _ -> {stop, {engine_down, Reason}, State}
    end;
handle_info({sockeye_event, no_owner, #{sockeye_conn := Conn}}, #state{id = Id, facts = Facts, config = Config} = State) ->
    %% One that was given by its pid takes the server along, which tells why it stops.
    _ = [sockeye_log:event(warning, Id, no_owner, Facts#{handler => Name, conn => Conn}) || Name <- [handler(Config)], is_atom(Name)],
    {noreply, State};
handle_info({sockeye_event, Kind, Detail}, #state{id = Id} = State) ->
    Level = case Kind of upstream_answers -> notice; _ -> warning end,
    sockeye_log:event(Level, Id, Kind, maps:merge(State#state.facts, Detail)),
    {noreply, State};
handle_info(_Message, State) ->
    {noreply, State}.

%% A node that has no room for one more process is no reason to give up all connections.
-spec try_again(term(), #state{}) -> #state{}.
try_again(What, #state{id = Id, facts = Facts} = State) ->
    sockeye_log:event(error, Id, no_process, Facts#{reason => system_limit}),
    _ = erlang:send_after(?LAST_PAUSE_MS, self(), What),
    State.

-spec restart_relay(#state{}) -> #state{}.
restart_relay(#state{id = Id} = State) ->
    try sockeye_processes:may_start() andalso sockeye_relay:start_link(Id) of
        false -> try_again(start_relay, State);
        Relay -> State#state{relay = Relay}
    catch
        error:system_limit -> try_again(start_relay, State)
    end.

-spec restart_gate(#state{}) -> #state{}.
restart_gate(State) ->
    try sockeye_processes:may_start() andalso start_gate(State) of
        false -> try_again(start_gate, State);
        Started -> Started
    catch
        error:system_limit -> try_again(start_gate, State)
    end.

-spec element_or_list({more, list()} | list()) -> list().
element_or_list({more, Events}) -> self() ! sockeye_ready, Events;
element_or_list(Events) -> Events.

%% Each event here is a new connection; what it has to tell waits for its worker.
-spec accept(sockeye_backend:batch(), #state{}) -> {noreply, #state{}}.
accept([_Conn, {closed, _, _} | Rest], State) ->
    accept(Rest, State);
accept([Conn, _Event | Rest], #state{id = Id, conn_sup = Sup, facts = Facts} = State) ->
    case sockeye_conn_sup:start_worker(Sup, Conn) of
        {ok, _Pid} ->
            accept(Rest, State);
        {error, system_limit} ->
            sockeye_log:event(error, Id, no_process, Facts#{reason => system_limit}),
            ok = sockeye_backend:no_process(Conn),
            accept(Rest, State);
        {error, Reason} ->
            #state{config = #{handler := {Module, _}}} = State,
            sockeye_log:event(error, Id, worker_not_started, Facts#{module => Module, reason => Reason},
                              fun() -> sockeye_log:conn(Conn) end),
            ok = sockeye_backend:no_process(Conn),
            accept(Rest, State)
    end;
accept([], State) ->
    {noreply, State}.

-spec worker_down(non_neg_integer(), #state{}) -> {noreply, #state{}}.
worker_down(Slot, #state{crashes = Crashes} = State) ->
    Now = erlang:monotonic_time(millisecond),
    Count = case Crashes of
                #{Slot := {N, Last}} when Now - Last < ?CRASH_WINDOW_MS -> N + 1;
                _ -> 1
            end,
    _ = erlang:send_after(pause(Count - ?CRASHES_AT_ONCE), self(), {restart, Slot}),
    {noreply, State#state{crashes = Crashes#{Slot => {Count, Now}}}}.

-spec pause(integer()) -> non_neg_integer().
pause(Over) when Over =< 0 -> 0;
pause(Over) -> min(?LAST_PAUSE_MS, ?FIRST_PAUSE_MS bsl min(Over - 1, 10)).

-spec terminate(term(), #state{}) -> ok.
terminate(Reason, #state{id = Id, workers = Workers, conn_sup = Sup, drain = Drain} = State) ->
    Code = close_code(Reason, State),
    ok = announce(State),
    case Reason of
        shutdown -> sockeye_drain:close_gradually(Id, Code);
        _ -> ok
    end,
    %% Until here they can see how it ends.
    ok = sockeye_dashboard:stop(State#state.dashboard),
    Counts = close_listener(Code, State),
    ok = sockeye_telemetry:ended(Id, Counts),
    ok = ended(sockeye_stopping:workers(case Sup of
                                            undefined -> maps:keys(Workers);
                                            _ -> conn_workers(Sup)
                                        end), State),
    ok = sockeye_stopping:supervisor(Sup),
    ok = sockeye_engine:unregister_server(),
    ok = drained(Drain, Counts),
    IsOrderly = sockeye_crash:is_orderly(Reason),
    Level = case IsOrderly of true -> notice; false -> error end,
    ok = tell(Level, server_stopped, (State#state.facts)#{reason => Reason}, State#state.config),
    sockeye_log_limit:forget(Id),
    ok = sockeye_encoder:forget(Id),
    ok = sockeye_counts:forget(Id),
    IsOrderly orelse sockeye_crash:die(Reason),
    ok.

%% What a handler has not done when it is killed is lost, its terminate/2 among it.
-spec ended(Killed :: non_neg_integer(), #state{}) -> ok.
ended(0, _State) ->
    ok;
ended(Killed, #state{facts = Facts, config = #{handler := {Module, _}}}) ->
    sockeye_log:always(warning, handler_stop_timeout, Facts#{module => Module, count => Killed}).

%% For sys:get_status/1, without what may be secret.
-spec format_status(sockeye_crash:status()) -> sockeye_crash:status().
format_status(#{state := #state{facts = Facts, workers = Workers, drain = Drain}} = Status) ->
    Status#{state := Facts#{workers => maps:keys(Workers), draining => Drain =/= undefined}};
format_status(Status) ->
    Status.

%% Tells who asked for the end, when all is over, how it went.
-spec drained(sockeye_drain:drain() | undefined, sockeye_drain:counts()) -> ok.
drained(undefined, _Counts) -> ok;
drained(Drain, Counts) -> sockeye_drain:answer(Drain, Counts).

%% The owner took its server along: to the clients that is an owner that died.
-spec close_code(term(), #state{}) -> sockeye:close_code().
close_code(Reason, #state{config = #{mode := {owner, Owner, _}}})
  when is_pid(Owner), Reason =/= normal, Reason =/= shutdown ->
    case is_process_alive(Owner) of
        true -> 1001;
        false -> 1011
    end;
close_code(_Reason, #state{drain = undefined}) ->
    1001;
close_code(_Reason, #state{drain = Drain}) ->
    sockeye_drain:code(Drain).

%% Returns when the port is free and every connection is gone: with the counts of the server's life,
%% where the engine is there to tell.
-spec close_listener(sockeye:close_code(), #state{}) -> sockeye_drain:counts().
close_listener(Code, State) ->
    Counts = stopped(Code, State),
    case State#state.config of
        #{mode := {owner, _, _}} -> ok = sockeye_backend:settle(all);
        _ -> ok
    end,
    Counts.

-spec stopped(sockeye:close_code(), #state{}) -> sockeye_drain:counts().
stopped(Code, #state{id = Id, engine = Engine, config = #{close_timeout := Timeout}} = State) ->
    Patience = sockeye_stopping:answers(Timeout) + ?ENGINE_SLACK_MS,
    case sockeye_stopping:in_engine(Id, Code, Engine, Patience) of
        {ok, Counts} ->
            Counts;
        gone ->
            unknown;
        late ->
            sockeye_log:always(warning, server_stop_timeout, (State#state.facts)#{timeout => Patience}),
            unknown
    end.

%% To a module of WebSock it is another end when its server stops than when its client leaves.
-spec announce(#state{}) -> ok.
announce(#state{conn_sup = Sup, config = #{handler := {sockeye_websock, _}}}) when Sup =/= undefined ->
    lists:foreach(fun sockeye_websock:stopping/1, conn_workers(Sup));
announce(_State) ->
    ok.

-spec conn_workers(pid()) -> [pid()].
conn_workers(Sup) ->
    try sockeye_conn_sup:workers(Sup)
    catch exit:_ -> []
    end.
