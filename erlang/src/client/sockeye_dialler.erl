%% @private
%% One client: dials, dials again when it is to, runs the handler process, and
%% keeps what is sent meanwhile. It sleeps while the connection is up: frames go
%% between the engine and the handler, not through here.
-module(sockeye_dialler).
-behaviour(gen_server).

-export([start_link/1]).
-export([start/1]).

-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).
-export([terminate/2]).
-export([format_status/1]).

%% On top of the close timeout, for the engine to say that it is done.
-define(ENGINE_SLACK_MS, 3000).
%% Frames that were kept are offered again after this time, when there was no
%% room for all of them.
-define(FLUSH_MS, 10).

-record(state,
        {id :: sockeye_backend:server_id(),
         config :: map(),
         engine :: reference(),
         worker :: pid() | undefined,
         conn = none :: sockeye:conn() | none,
         %% Without a connection: a dial is asked of this run of the engine, is to be asked of the next one, or somebody is
         %% still to say that it is time.
         dial = waiting :: waiting | due | {asked, non_neg_integer()},
         %% The handler has seen handle_open: what was kept may go.
         up = false :: boolean(),
         opened_at = 0 :: integer(),
         connected_before = false :: boolean(),
         %% Attempts that failed since it was last connected.
         failures = 0 :: non_neg_integer(),
         %% Doublings of the pause: a server that takes connections only to drop
         %% them gets pauses, too.
         backoff = 0 :: non_neg_integer(),
         kept = queue:new() :: queue:queue({sockeye:frame() | [sockeye:frame()], non_neg_integer()}),
         kept_bytes = 0 :: non_neg_integer()}).

%% As in sockeye_server: a start that fails returns, and signals nothing.
-spec start_link(map()) -> {ok, pid()} | {error, term()}.
start_link(Config) ->
    proc_lib:start_link(?MODULE, init, [{self(), Config}]).

%% Not linked: ends with its connection.
-spec start(map()) -> {ok, pid(), sockeye:conn()} | {error, term()}.
start(Config) ->
    proc_lib:start(?MODULE, init, [{self(), Config#{alone => true}}]).

-spec init({pid(), map()}) -> no_return().
init({Parent, #{name := Name} = Config}) ->
    process_flag(trap_exit, true),
    Engine = whereis(sockeye_engine),
    try begin_life(Parent, Config) of
        State ->
            proc_lib:init_ack(Parent, started(State)),
            Via = case Name of
                      undefined -> self();
                      _ -> {local, Name}
                  end,
            %% The timeout comes at once, and there is sleep.
            gen_server:enter_loop(?MODULE, [], State, Via, 0)
    catch
        throw:{start_failed, Reason} -> sockeye_stopping:init_failed(Parent, Reason);
        throw:{parent, Reason} -> exit(Reason);
        Class:Reason:Stack -> sockeye_stopping:init_failed(Parent, sockeye_server:cause(Engine, Class, Reason, Stack))
    end.

-spec started(#state{}) -> {ok, pid()} | {ok, pid(), sockeye:conn()}.
started(#state{config = #{alone := true}, conn = Conn}) -> {ok, self(), Conn};
started(_State) -> {ok, self()}.

-spec begin_life(pid(), map()) -> #state{}.
begin_life(Parent, #{name := Name} = Config) ->
    sockeye_server:register_name(Name),
    ok = sockeye_label:set({sockeye_client, maps:get(url, Config)}),
    Engine = monitor(process, sockeye_engine),
    %% Nobody comes who could be asked about.
    Settings = maps:merge(maps:without([name, handler, processes, batch, accept, encoder], Config),
                          (sockeye_descriptors:limits(infinity))#{asks => false, nested => none}),
    Id = case open(Settings) of
             {ok, Number} -> Number;
             {error, Why} -> throw({start_failed, Why})
         end,
    ok = sockeye_encoder:set(Id, maps:get(encoder, Config, none)),
    %% Without what is secret: it would be in every crash report.
    State = #state{id = Id, config = maps:remove(dial, Config), engine = Engine},
    Started = try start_worker(State)
              catch
                  throw:{start_failed, _} = Failed ->
                      hang_up(State),
                      throw(Failed)
              end,
    case {dial(Started), Config} of
        {#state{dial = due} = Lost, _} ->
            hang_up(Lost),
            throw({start_failed, not_running});
        {Asked, #{reconnect := false}} ->
            %% Who is not linked may end as well. The connection itself ends with its owner.
            Caller = monitor(process, Parent),
            Opened = await_first(Parent, Caller, Asked),
            true = demonitor(Caller, [flush]),
            Opened;
        {Asked, _} ->
            Asked
    end.

%% A new engine is told of this client after its start. What is asked before comes to nothing.
-spec dial(#state{}) -> #state{}.
dial(#state{id = Id} = State) ->
    Run = sockeye_backend:last_run(),
    try sockeye_backend:client_dial(Id) of
        ok -> State#state{dial = {asked, Run}}
    catch
        %% The engine stops, and the end of this process is on the way; or there is another soon.
        error:badarg -> State#state{dial = due}
    end.

-spec open(map()) -> {ok, sockeye_backend:server_id()} | {error, term()}.
open(#{dial := #{tls := Tls} = Dial, url := Url} = Settings) ->
    case sockeye_client_tls:read(Tls) of
        {ok, Read} ->
            case sockeye_tls:listen(sockeye_backend:client_open(Settings#{dial := Dial#{tls := Read}})) of
                {ok, Id} ->
                    %% Clients are many, and may have one certificate.
                    ok = sockeye_tls:warn(engine, sockeye_log:client(self(), Url), sockeye_tls:own(Tls, Read)),
                    {ok, Id};
                {error, _} = Error ->
                    Error
            end;
        {error, _} = Error ->
            Error
    end.

-spec start_worker(#state{}) -> #state{}.
start_worker(#state{config = #{mode := {owner, _, _}}} = State) ->
    State;
start_worker(#state{id = Id, config = #{handler := {Module, Arg}, url := Url}} = State) ->
    case sockeye_worker:start_link(now, Id, {client, Url}, Module, Arg) of
        {ok, Pid} -> State#state{worker = Pid};
        {error, Reason} -> sockeye_server:start_failed(Reason)
    end.

%% Without `reconnect', a client that cannot connect is not started.
-spec await_first(pid(), reference(), #state{}) -> #state{}.
await_first(Parent, Caller, #state{id = Id, engine = Engine, worker = Worker} = State) ->
    receive
        {sockeye_dialled, Id, {ok, Conn}} ->
            opened(Conn, State);
        {sockeye_dialled, Id, {error, Reason}} ->
            hang_up(State),
            throw({start_failed, Reason});
        {'EXIT', Parent, Reason} ->
            hang_up(State),
            throw({parent, Reason});
        {'DOWN', Caller, process, _, _} ->
            hang_up(State),
            throw({parent, normal});
        {'EXIT', Worker, Reason} ->
            hang_up(State#state{worker = undefined}),
            throw({start_failed, Reason});
        {sockeye_lost, _} ->
            hang_up(State),
            throw({start_failed, not_running});
        {'DOWN', Engine, process, _, _} ->
            hang_up(State),
            throw({start_failed, not_running})
    end.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}, hibernate}.
handle_call({send, Frame, Tried}, _From, State) ->
    {Reply, State1} = send(Frame, Tried, State),
    {reply, Reply, State1, hibernate};
handle_call(info, _From, #state{conn = Conn, failures = Failures, kept_bytes = Bytes} = State) ->
    #state{id = Id, config = #{url := Url}} = State,
    {reply, {Id, #{conn => Conn, url => Url, failed_attempts => Failures, kept => Bytes}}, State, hibernate};
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State, hibernate}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}, hibernate}.
handle_cast(_Request, State) ->
    {noreply, State, hibernate}.

-spec handle_info(term(), #state{}) ->
          {noreply, #state{}, hibernate} | {stop, term(), #state{}}.
handle_info({sockeye_dialled, Id, {ok, Conn}}, #state{id = Id} = State) ->
    {noreply, opened(Conn, State), hibernate};
handle_info({sockeye_dialled, Id, {error, Reason}}, #state{id = Id} = State) ->
    failed(Reason, State);
handle_info({sockeye_disconnected, Id, _Conn, {Code, Text, Asked}}, #state{id = Id} = State) ->
    ok = settle(State),
    disconnected({closed, Code, Text}, Asked, State#state{conn = none, up = false});
%% The engine's process has ended. A client that was about to dial does so when there is another.
handle_info({sockeye_lost, Run}, #state{conn = none, dial = {asked, Asked}} = State) when Asked =< Run ->
    {noreply, State#state{dial = due}, hibernate};
handle_info({sockeye_lost, _Run}, #state{conn = none} = State) ->
    {noreply, State, hibernate};
handle_info({sockeye_lost, _Run}, State) ->
    ok = settle(State),
    disconnected({closed, 1006, <<"engine lost">>}, false, State#state{conn = none, up = false});
%% One that waits, for its handler or for the end of a pause, dials later.
handle_info({sockeye_reopened, Id}, #state{id = Id, conn = none, dial = due} = State) ->
    {noreply, dial(State), hibernate};
handle_info({sockeye_told, Worker, up}, #state{worker = Worker} = State) ->
    {noreply, flush(State#state{up = true}), hibernate};
handle_info({sockeye_told, Worker, {down, _}}, #state{worker = Worker} = State) ->
    {noreply, pause(State), hibernate};
handle_info(dial, State) ->
    {noreply, dial(State), hibernate};
handle_info(flush, State) ->
    {noreply, flush(State), hibernate};
handle_info({sockeye_engine_stops, _Engine}, State) ->
    {stop, normal, State};
handle_info({sockeye_reported, Worker}, #state{worker = Worker} = State) ->
    receive {'EXIT', Worker, Reason} -> {stop, Reason, State#state{worker = undefined}} end;
handle_info({'EXIT', Worker, Reason}, #state{worker = Worker, id = Id, config = #{handler := {Module, _}}} = State) ->
    ok = sockeye_handler_end:from_outside(Module, Worker, Reason, Id, facts(State)),
    {stop, Reason, State#state{worker = undefined}};
handle_info({'DOWN', Engine, process, _, Reason}, #state{engine = Engine} = State) ->
    case Reason of
        normal -> {stop, normal, State};
        shutdown -> {stop, normal, State};
        _ -> {stop, {engine_down, Reason}, State}
    end;
handle_info(_Message, State) ->
    {noreply, State, hibernate}.

-spec opened(sockeye:conn(), #state{}) -> #state{}.
opened(Conn, #state{worker = undefined} = State) ->
    flush(now_open(Conn, State#state{up = true}));
opened(Conn, #state{worker = Worker, config = #{reconnect := Reconnect}} = State) ->
    %% What handle_open sends goes before what was kept.
    _ = case Reconnect of
            #{send_when_down := keep} -> sockeye_worker:tell(Worker, up);
            _ -> ok
        end,
    now_open(Conn, State).

-spec now_open(sockeye:conn(), #state{}) -> #state{}.
now_open(Conn, #state{id = Id, connected_before = Before, failures = Failures} = State) ->
    %% The first connection is what everybody expects.
    Level = case Before orelse Failures > 0 of
                true -> notice;
                false -> info
            end,
    sockeye_log:event(Level, Id, client_up, (facts(State))#{conn => Conn}),
    State#state{conn = Conn, dial = waiting, failures = 0, connected_before = true, opened_at = erlang:monotonic_time(millisecond)}.

%% Who learns of our end has heard of the connection's.
-spec settle(#state{}) -> ok.
settle(#state{config = #{mode := {owner, Owner, _}}}) -> sockeye_backend:settle(Owner);
settle(_State) -> ok.

-spec failed(term(), #state{}) -> {noreply, #state{}, hibernate} | {stop, term(), #state{}}.
failed(Reason, #state{failures = Before, config = #{reconnect := #{max_attempts := Most}}} = State) ->
    Failures = Before + 1,
    State1 = State#state{dial = waiting, failures = Failures},
    %% Any atom is greater than any number.
    case Failures < Most of
        true -> down(Reason, State1);
        false -> {stop, {shutdown, Reason}, State1}
    end.

-spec disconnected(sockeye_client:down_reason(), boolean(), #state{}) ->
          {noreply, #state{}, hibernate} | {stop, term(), #state{}}.
disconnected(_Reason, true, State) ->
    {stop, normal, State};
disconnected(_Reason, false, #state{config = #{alone := true}} = State) ->
    {stop, normal, State};
disconnected({closed, 1000, _}, false, #state{config = #{reconnect := false}} = State) ->
    {stop, normal, State};
disconnected(Reason, false, #state{config = #{reconnect := false}} = State) ->
    {stop, {shutdown, Reason}, State};
disconnected(Reason, false, #state{opened_at = Then, config = #{reconnect := #{max_interval := Max}}} = State) ->
    case erlang:monotonic_time(millisecond) - Then >= Max of
        true -> down(Reason, State#state{backoff = 0});
        false -> down(Reason, State)
    end.

%% The handler hears of it once it has seen all that came before; only then is
%% the next connection made.
-spec down(sockeye_client:down_reason(), #state{}) -> {noreply, #state{}, hibernate}.
down(Reason, #state{id = Id} = State) ->
    sockeye_log:event(notice, Id, client_down, (facts(State))#{reason => Reason}),
    tell_down(Reason, State).

-spec tell_down(sockeye_client:down_reason(), #state{}) -> {noreply, #state{}, hibernate}.
tell_down(Reason, #state{worker = undefined, config = #{mode := {owner, Owner, _}}} = State) ->
    _ = try Owner ! {sockeye_client, self(), {down, Reason}}
        catch error:badarg -> ok
        end,
    {noreply, pause(State), hibernate};
tell_down(Reason, #state{worker = Worker} = State) ->
    ok = sockeye_worker:tell(Worker, {down, Reason}),
    {noreply, State, hibernate}.

%% Full jitter: clients that lost their server together do not come back together.
-spec pause(#state{}) -> #state{}.
pause(#state{backoff = N, config = #{reconnect := #{initial_interval := First, max_interval := Max}}} = State) ->
    Most = min(Max, First bsl min(N, 31)),
    _ = erlang:send_after(rand:uniform(Most + 1) - 1, self(), dial),
    State#state{backoff = N + 1}.

%% `Tried' is a connection that has gone, or `any' who has met too many of them.
-spec send(sockeye:frame() | [sockeye:frame()], sockeye:conn() | none | any, #state{}) ->
          {{conn, sockeye:conn()} | ok | badarg | {error, down | busy}, #state{}}.
send(_Frame, Tried, #state{conn = Conn, up = true, kept_bytes = 0} = State)
  when Conn =/= none, Conn =/= Tried, Tried =/= any ->
    {{conn, Conn}, State};
send(Frame, Tried, #state{config = #{reconnect := #{send_when_down := keep}}} = State) ->
    #state{kept = Kept, kept_bytes = Bytes, config = #{send_queue_size := Most}} = State,
    %% The pieces of a message belong to one connection, and to the process that began it.
    Pieces = is_tuple(Frame) andalso element(1, Frame) =:= stream,
    Size = max(1, erlang:external_size(Frame)),
    Wrong = sockeye_args:wrong(frames, Frame),
    %% As in the engine, an empty queue takes a frame of any size.
    Room = Bytes =:= 0 orelse Bytes + Size =< Most,
    case Room of
        _ when Pieces -> {{error, down}, State};
        %% The caller hears of it now: later there is nobody to tell.
        true when Wrong =/= none -> {badarg, State};
        true ->
            %% There may be a connection after all.
            _ = Tried =:= any andalso (self() ! flush),
            {ok, State#state{kept = queue:in({Frame, Size}, Kept), kept_bytes = Bytes + Size}};
        false -> {{error, busy}, State}
    end;
send(_Frame, Tried, #state{conn = Conn} = State) when Conn =/= none, Conn =/= Tried, Tried =/= any ->
    {{conn, Conn}, State};
send(_Frame, _Tried, State) ->
    {{error, down}, State}.

%% What was kept, in its order.
-spec flush(#state{}) -> #state{}.
flush(#state{up = true, conn = Conn, kept = Kept, kept_bytes = Bytes} = State) when Conn =/= none ->
    case queue:out(Kept) of
        {empty, _} ->
            State;
        {{value, {Frame, Size}}, Rest} ->
            Sent = State#state{kept = Rest, kept_bytes = Bytes - Size},
            try sockeye:send(Conn, Frame) of
                ok ->
                    flush(Sent);
                {error, busy} ->
                    _ = erlang:send_after(?FLUSH_MS, self(), flush),
                    State;
                {error, closed} ->
                    %% For the next connection.
                    State;
                {error, Reason} ->
                    frame_lost(Reason, State),
                    flush(Sent)
            catch
                error:badarg ->
                    frame_lost(badarg, State),
                    flush(Sent)
            end
    end;
flush(State) ->
    State.

-spec terminate(term(), #state{}) -> ok.
terminate(Reason, State) ->
    hang_up(State),
    case sockeye_crash:is_orderly(Reason) of
        true ->
            ok;
        false ->
            %% The end of the handler has been reported.
            State#state.worker =:= undefined andalso is_handler(State) orelse
                sockeye_log:always(error, client_stopped, (facts(State))#{reason => Reason}),
            sockeye_crash:die(Reason)
    end.

%% For sys:get_status/1.
-spec format_status(sockeye_crash:status()) -> sockeye_crash:status().
format_status(#{state := #state{conn = Conn, failures = Failures, kept_bytes = Kept} = State} = Status) ->
    Status#{state := (facts(State))#{conn => Conn, failed_attempts => Failures, kept => Kept}};
format_status(Status) ->
    Status.

-spec is_handler(#state{}) -> boolean().
is_handler(#state{config = #{mode := {owner, _, _}}}) -> false;
is_handler(_State) -> true.

%% Returns when nothing is left of it.
-spec hang_up(#state{}) -> ok.
hang_up(#state{id = Id, engine = Engine, worker = Worker, config = #{close_timeout := Timeout}} = State) ->
    Patience = sockeye_stopping:answers(Timeout) + ?ENGINE_SLACK_MS,
    case sockeye_stopping:in_engine(Id, 1000, Engine, Patience) of
        late -> sockeye_log:always(warning, client_stop_timeout, (facts(State))#{timeout => Patience});
        _ -> ok
    end,
    Killed = sockeye_stopping:workers([Worker || Worker =/= undefined]),
    _ = [sockeye_log:always(warning, handler_stop_timeout, (facts(State))#{module => Module, count => Killed})
         || Killed > 0, #{handler := {Module, _}} <- [State#state.config]],
    ok = sockeye_encoder:forget(Id),
    sockeye_log_limit:forget(Id).

-spec frame_lost(term(), #state{}) -> ok.
frame_lost(Reason, #state{id = Id} = State) ->
    sockeye_log:event(warning, Id, kept_frame_lost, (facts(State))#{reason => Reason}).

%% Who we are, for the log.
-spec facts(#state{}) -> map().
facts(#state{config = #{url := Url}}) -> sockeye_log:client(self(), Url).
