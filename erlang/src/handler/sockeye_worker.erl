%% @private
%% Runs the callbacks of a sockeye_handler over the frames of one inbox: a
%% member of a pool, or the process of one connection.
%%
%% This is the hot path. A batch costs one call to take it from the inbox and
%% one to hand over all commands; between the two nothing is built that the
%% handler did not ask for.
%%
%% To OTP it is a gen_server whose state is that of the handler: `sys' shows and
%% replaces what a user means. What is ours lies in the process dictionary.
-module(sockeye_worker).
-behaviour(gen_server).

-export([start_link/5, start_conn/5, stop/1, tell/2]).
-export([init/2, init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2, code_change/3, format_status/1]).

%% Events to take at once, ?FIRST_MAX at first. It follows the speed of the callbacks, since the
%% first reply of a batch waits for the last callback.
-define(MOST, 256).
-define(TOO_LONG_US, 2000).
-define(SHORT_US, 500).
%% Large frames, decoded on a dirty scheduler.
-define(DIRTY_MAX, 8).
%% Silence after which the process of one connection gives its memory back.
-define(REST_MS, 1000).
%% So long the news of the engine's end may take from one process to another.
-define(LOST_MS, 1000).

-include("sockeye_worker.hrl").

-type answer() :: {noreply, State :: term(), #s{}} | {noreply, State :: term(), #s{}, hibernate}
                | {stop, Reason :: term(), State :: term(), #s{}}.

%% The same for gen_server.
-type left() :: {noreply, term()} | {noreply, term(), hibernate} | {stop, term(), term()}.

%% Where #s{} is between two messages.
-define(WORKER, '$sockeye_worker').

%% The reason for terminate/2 when the end is none in order.
-define(FIN, '$sockeye_fin').

%% `now' runs Module:init/1 before it returns, `later' after.
-spec start_link(now | later, sockeye_backend:server_id(), non_neg_integer() | {client, binary()}, module(), term()) ->
          {ok, pid()} | {error, term()}.
start_link(When, ServerId, Slot, Module, Arg) ->
    proc_lib:start_link(?MODULE, init, [When, {ServerId, self(), self(), Slot, none, Module, Arg}]).

-spec start_conn(sockeye_backend:server_id(), pid(), module(), term(), sockeye:conn()) ->
          {ok, pid()} | {error, term()}.
start_conn(ServerId, Server, Module, Arg, Conn) ->
    proc_lib:start_link(?MODULE, init, [later, {ServerId, Server, self(), none, Conn, Module, Arg}]).

%% Asks a worker to serve what it has and then to end.
-spec stop(pid()) -> ok.
stop(Pid) ->
    gen_server:cast(Pid, '$sockeye_stop').

%% Tells the worker of a client, after all that its connection has brought, that
%% it is up or why it is down. The caller gets {sockeye_told, Worker, What}.
-spec tell(pid(), up | {down, sockeye_client:down_reason()}) -> ok.
tell(Pid, What) ->
    gen_server:cast(Pid, {'$sockeye_tell', self(), What}).

%% Not gen_server:start_link, which would report a start that fails once more.
-spec init(now | later, tuple()) -> no_return().
init(now, Start) ->
    case start(Start) of
        {ok, State, S} ->
            _ = put(?WORKER, S),
            proc_lib:init_ack({ok, self()}),
            gen_server:enter_loop(?MODULE, [], State);
        {stop, Fin, State, S} ->
            %% Who starts it hears what init/1 says, but of a crash no more than that there was one.
            element(1, Fin) =:= crash andalso sockeye_handler_end:report(Fin, State, S),
            proc_lib:init_ack({error, sockeye_handler_end:reason(Fin)}),
            unlink(S#s.server),
            exit(normal)
    end;
init(later, Start) ->
    proc_lib:init_ack({ok, self()}),
    case start(Start) of
        {ok, State, S} ->
            _ = put(?WORKER, S),
            gen_server:enter_loop(?MODULE, [], State);
        {stop, Fin, State, S} ->
            sockeye_handler_end:run(Fin, State, S),
            exit(sockeye_handler_end:reason(Fin))
    end.

-spec init(term()) -> no_return().
init(_Args) ->
    error(badarg).

-spec start(tuple()) -> {ok, State :: term(), #s{}} | {stop, fin(), State :: term(), #s{}}.
start({ServerId, Server, Parent, Slot, Conn, Module, Arg}) ->
    %% Before init/1, which may have a better one.
    ok = sockeye_label:set({sockeye_handler, Module, case Slot of none -> Conn; {client, Of} -> Of; _ -> {Server, Slot} end}),
    Counts = sockeye_counts:of_server(ServerId),
    ok = case is_integer(Slot) of
             true -> sockeye_counts:worker(Counts, {ServerId, Slot});
             false -> ok
         end,
    S = sockeye_callback:look_up(#s{module = Module, handle_frame = fun Module:handle_frame/3,
                     server_id = ServerId, server = Server, parent = Parent, rest = case Conn of none -> off; _ -> new end,
                     encoder = sockeye_encoder:of_server(ServerId), counts = Counts, inbox = undefined, conn = Conn, url = case Slot of {client, Url} -> Url; _ -> none end}),
    %% With a process per connection the inbox comes first: if init fails, its
    %% end closes the connection.
    Early = case Conn of
                none -> none;
                _ -> attached(Conn, ServerId)
            end,
    Last = {init, Conn, none, none},
    try Module:init(Arg) of
        {ok, State} when Early =/= none ->
            {ok, State, S#s{inbox = Early}};
        {ok, State} ->
            try sockeye_backend:inbox_open(ServerId, slot(Slot)) of
                Inbox -> {ok, State, S#s{inbox = Inbox}}
            catch
                %% The server stops, or the engine has.
                error:badarg ->
                    {stop, {stop, {shutdown, not_running}, Last}, State, S#s{inbox = none}}
            end;
        {stop, Reason} ->
            {stop, {stop, Reason, Last}, undefined, S};
        Other ->
            {stop, {crash, {exit, {bad_return_value, Other}, []}, Last}, undefined, S}
    catch
        Class:Reason:Stack ->
            {stop, {crash, {Class, Reason, Stack}, Last}, undefined, S}
    end.

-spec slot(non_neg_integer() | {client, binary()}) -> non_neg_integer().
slot({client, _}) -> 0;
slot(Slot) -> Slot.

%% A connection that is gone already still has its `closed' to come, or the
%% worker has nothing to do.
-spec attached(sockeye:conn(), sockeye_backend:server_id()) -> sockeye_backend:inbox().
attached(Conn, ServerId) ->
    try sockeye_backend:inbox_open(ServerId, Conn) of
        {error, closed} -> exit(normal);
        Inbox -> Inbox
    catch
        error:badarg -> exit(normal)
    end.

-spec handle_call(term(), gen_server:from(), term()) -> left() | {reply, term(), term()}.
handle_call(Request, From, State) ->
    case get(?WORKER) of
        #s{has_call = true} = S ->
            Outcome = sockeye_callback:message(handle_call, [Request, From], own_conn(S), message, State, S),
            leave(finish(Outcome, false, false, S), S);
        _ ->
            {reply, {error, not_supported}, State}
    end.

-spec handle_cast(term(), term()) -> left().
handle_cast(Request, State) ->
    S = get(?WORKER),
    leave(cast(Request, State, S), S).

-spec handle_info(term(), term()) -> left().
handle_info(Message, State) ->
    S = get(?WORKER),
    leave(info(Message, State, S), S).

-spec leave(answer(), #s{}) -> left().
leave({noreply, State, S}, Old) ->
    keep(S, Old),
    {noreply, State};
leave({noreply, State, S, hibernate}, Old) ->
    keep(S, Old),
    {noreply, State, hibernate};
leave({stop, Reason, State, S}, Old) ->
    keep(S, Old),
    {stop, Reason, State}.

%% Most messages change nothing of it.
-spec keep(#s{}, #s{}) -> ok.
keep(S, S) -> ok;
keep(S, _Old) -> _ = put(?WORKER, S), ok.

-spec cast(term(), term(), #s{}) -> answer().
cast('$sockeye_stop', State, S) ->
    case served(State, S) of
        {served, State1, S1} -> {stop, shutdown, State1, S1};
        Stop -> Stop
    end;
cast({'$sockeye_tell', From, What}, State, S) ->
    told(From, What, State, S);
cast(Request, State, #s{has_cast = true} = S) ->
    finish(sockeye_callback:message(handle_cast, [Request], own_conn(S), message, State, S), false, false, S);
cast(Request, State, S) ->
    info({'$gen_cast', Request}, State, S).

-spec info(term(), term(), #s{}) -> answer().
info(sockeye_ready, State, #s{inbox = Inbox, max = Max} = S) ->
    case sockeye_backend:recv(Inbox, Max) of
        [] -> {noreply, State, S};
        Came -> received(Came, State, S)
    end;
info({sockeye_batch, _, _, _, _} = Batch, State, S) ->
    {Events, More} = sockeye_port_batch:take(Batch),
    Left = sockeye_port_batch:left_by(Batch, Events, case S#s.rest of off -> many; _ -> one end),
    Answer = batch(Events, {port, More}, false, State, S),
    ok = sockeye_port_batch:left(Left),
    Answer;
info({sockeye_lost, _Run}, State, S) ->
    lost(batch(sockeye_port_batch:lost(), false, false, State, S));
info({sockeye_inbox, Run, Inbox}, State, S) ->
    ok = sockeye_port_batch:opened(Run, Inbox),
    {noreply, State, S#s{inbox = Inbox}};
info({sockeye_failed, Errors}, State, S) ->
    failed(sockeye_commands:refusals(Errors), State, S);
info('$sockeye_rest', State, #s{rest = busy} = S) ->
    {noreply, State, watch(S#s{rest = quiet})};
info('$sockeye_rest', State, #s{rest = quiet} = S) ->
    hibernate(State, S);
info('$sockeye_rest', State, S) ->
    {noreply, State, S};
info({'$sockeye_failed', Failures}, State, S) ->
    failed(Failures, State, S);
info(Message, State, #s{has_info = true} = S) ->
    finish(sockeye_callback:message(handle_info, [Message], own_conn(S), message, State, S), false, false, S);
info(Message, State, #s{module = Module} = S) ->
    sockeye_log:event(warning, S#s.server_id, unexpected_message, #{module => Module, message => Message},
                      fun() -> sockeye_handler_end:who(S) end),
    {noreply, State, S}.

%% The connection that commands without one speak of, outside of frames.
-spec own_conn(#s{}) -> sockeye:conn() | none.
own_conn(#s{url = none, conn = Conn}) -> Conn;
own_conn(#s{server_id = Id}) -> sockeye_backend:client_conn(Id).

-spec received(dirty | sockeye_backend:batch() | {more, sockeye_backend:batch()}, term(), #s{}) -> answer().
received(dirty, State, S) -> dirty_batch(State, S);
received({more, Events}, State, S) -> batch(Events, true, false, State, S);
received(Events, State, S) -> batch(Events, false, false, State, S).

-spec dirty_batch(term(), #s{}) -> answer().
dirty_batch(State, #s{inbox = Inbox} = S) ->
    case sockeye_backend:recv_dirty(Inbox, ?DIRTY_MAX) of
        {more, Events} -> batch(Events, true, true, State, S);
        Events -> batch(Events, false, true, State, S)
    end.

%% Whether there is more: in the inbox, or where the engine is, in a process of its own.
-type more() :: boolean() | {port, boolean()}.

-spec batch(sockeye_backend:batch(), more(), boolean(), term(), #s{}) -> answer().
batch(Events, More, Dirty, State, S) ->
    Begin = erlang:monotonic_time(microsecond),
    Outcome = events(Events, [], State, false, S),
    Time = erlang:monotonic_time(microsecond) - Begin,
    ok = sockeye_counts:batch(S#s.counts, Time),
    finish(Outcome, More, Dirty, adapt(Time, More, S)).

-spec adapt(integer(), more(), #s{}) -> #s{}.
adapt(Time, _More, #s{max = Max} = S) when Time > ?TOO_LONG_US, Max > 1 ->
    S#s{max = Max div 2};
adapt(Time, More, #s{max = Max} = S) when Time < ?SHORT_US, Max < ?MOST, More =:= true orelse More =:= {port, true} ->
    S#s{max = min(?MOST, Max * 2)};
adapt(_Time, _More, S) ->
    S.

%% The process of one connection, which was not even told that it is open, has nothing more to do either.
-spec lost(answer()) -> answer().
lost({noreply, State, #s{conn = Conn, url = none} = S}) when Conn =/= none -> {stop, normal, State, S};
lost(Answer) -> Answer.

-spec finish(outcome(), more(), boolean(), #s{}) -> answer().
finish({ok, Acc, State, Hibernate}, {port, _}, Dirty, #s{max = Max} = S) ->
    ok = sockeye_port_batch:served(lists:reverse(Acc), Max),
    finish({ok, [], State, Hibernate}, false, Dirty, S);
finish({ok, Acc, State, Hibernate}, More, Dirty, S) ->
    sockeye_commands:flush(Acc, Dirty, S#s.server_id),
    case More of
        true ->
            %% By way of the mailbox, so that other messages get their turn,
            %% those about failed commands among them.
            self() ! sockeye_ready,
            {noreply, State, S};
        false when Hibernate ->
            {noreply, State, S, hibernate};
        false ->
            rest(State, S)
    end;
finish({ended, Acc, State}, _More, Dirty, S) ->
    sockeye_commands:flush(Acc, Dirty, S#s.server_id),
    {stop, normal, State, S};
finish({stop, Fin, Acc, State}, _More, Dirty, S) ->
    Conn = own_conn(S),
    Reason = sockeye_handler_end:reason(Fin),
    %% A process of one connection that ends in order closes in order; otherwise
    %% the engine sees it die and says 1011.
    case sockeye_crash:is_orderly(Reason) of
        true when Conn =/= none ->
            sockeye_commands:flush([{close, 1000, <<>>}, Conn | Acc], Dirty, S#s.server_id),
            {stop, Reason, State, S};
        true ->
            sockeye_commands:flush(Acc, Dirty, S#s.server_id),
            {stop, Reason, State, S};
        false ->
            sockeye_commands:flush(Acc, Dirty, S#s.server_id),
            {stop, {?FIN, Fin}, State, S}
    end.

%% The process of one connection hibernates when it is silent. One that has been
%% silent for long is taken to be so again, at once: the memory that it gave
%% back is the next one's, which many idle ones at a time could not do.
-spec rest(term(), #s{}) -> answer().
rest(State, #s{rest = off} = S) ->
    {noreply, State, S};
rest(State, #s{rest = busy} = S) ->
    {noreply, State, S};
rest(State, #s{rest = quiet} = S) ->
    {noreply, State, S#s{rest = busy}};
rest(State, #s{rest = new} = S) ->
    hibernate(State, S);
rest(State, #s{rest = Since} = S) ->
    case erlang:monotonic_time(millisecond) - Since >= ?REST_MS of
        true -> hibernate(State, S);
        false -> {noreply, State, watch(S#s{rest = busy})}
    end.

%% One timer a second of use, not one a message.
-spec watch(#s{}) -> #s{}.
watch(S) ->
    _ = erlang:send_after(?REST_MS, self(), '$sockeye_rest'),
    S.

-spec hibernate(term(), #s{}) -> answer().
hibernate(State, S) ->
    {noreply, State, S#s{rest = erlang:monotonic_time(millisecond)}, hibernate}.

%% Whatever a callback does, the commands of the frames before it are carried
%% out, as if each frame had been served by itself.
-spec events(sockeye_backend:batch(), acc(), term(), boolean(), #s{}) -> outcome().
events([Conn, {closed, Code, Reason, Who} | Rest], Acc, State, Hibernate, S) ->
    %% `ending' has come before, if there was something to answer.
    sockeye_commands:flush(Acc, false, S#s.server_id),
    ok = sockeye_log:has_left(Conn, Who),
    case sockeye_callback:event({closed, Code, Reason}, Conn, [], State, S) of
        {ok, Acc1, State1, _} when Conn =:= S#s.conn -> {ended, Acc1, State1};
        {ok, Acc1, State1, Hibernates} -> events(Rest, Acc1, State1, Hibernate orelse Hibernates, S);
        Stop -> Stop
    end;
events([Conn, ending | Rest], Acc, State, Hibernate, S) ->
    %% Our Close waits for what answers the frames before the peer's.
    sockeye_commands:flush(Acc, false, S#s.server_id),
    ok = sockeye_backlog:settle(sockeye_backend:answered(Conn)),
    events(Rest, [], State, Hibernate, S);
events([Conn, {invalid, Code, Why} | Rest], Acc, State, Hibernate, S) ->
    sockeye_commands:flush(Acc, false, S#s.server_id),
    ok = sockeye_backlog:settle(sockeye_backend:refuse(Conn, Code, Why)),
    events(Rest, [], State, Hibernate, S);
events([Conn, Event | Rest], Acc, State, Hibernate, S) ->
    case sockeye_callback:event(Event, Conn, Acc, State, S) of
        {ok, Acc1, State1, false} -> events(Rest, Acc1, State1, Hibernate, S);
        {ok, Acc1, State1, true} -> events(Rest, Acc1, State1, true, S);
        Stop -> Stop
    end;
events([], Acc, State, Hibernate, _S) ->
    {ok, Acc, State, Hibernate}.

%% Commands that failed cost nothing but themselves. Those of handle_error are not told to it: it
%% would never come to an end.
-spec failed([sockeye_commands:failure()], term(), #s{}) -> answer().
failed(Failures, State, #s{has_error = HasError} = S) ->
    {Told, Others} = lists:partition(fun({At, _, _, _}) -> HasError andalso At =/= handle_error end, Failures),
    #s{module = Module, server_id = Id} = S,
    sockeye_commands:report(Failures, Others, Module, Id, fun() -> sockeye_handler_end:who(S) end),
    tell_of(Told, [], State, S, false).

-spec tell_of([sockeye_commands:failure()], acc(), term(), #s{}, boolean()) -> answer().
tell_of([{_, Command, Conn, Reason} | Rest], Acc, State, S, Hibernate) ->
    case sockeye_callback:message(handle_error, [{Command, Reason}, Conn], Conn, message, State, S) of
        {ok, More, State1, H} -> tell_of(Rest, More ++ Acc, State1, S, Hibernate orelse H);
        {stop, Fin, More, State1} -> finish({stop, Fin, More ++ Acc, State1}, false, false, S)
    end;
tell_of([], Acc, State, S, Hibernate) ->
    finish({ok, Acc, State, Hibernate}, false, false, S).

%% Of a connection that is up, `handle_open' is to be over, which comes first: the frames behind it may never
%% come to an end. Of one that is down, all that it has brought.
-spec told(pid(), up | {down, sockeye_client:down_reason()}, term(), #s{}) -> answer().
told(From, up, State, S) ->
    case info(sockeye_port_batch:first(), State, S) of
        {stop, _, _, _} = Stop ->
            Stop;
        Answer ->
            From ! {sockeye_told, self(), up},
            Answer
    end;
told(From, What, State, S) ->
    case served(State, S) of
        {served, State1, S1} ->
            Told = down(What, State1, S1),
            From ! {sockeye_told, self(), What},
            Told;
        Stop ->
            Stop
    end.

-spec down({down, sockeye_client:down_reason()}, term(), #s{}) -> answer().
down({down, Reason}, State, #s{has_down = true} = S) ->
    finish(sockeye_callback:message(handle_down, [Reason], none, message, State, S), false, false, S);
down(_What, State, S) ->
    {noreply, State, S}.

%% Serves what has come until now. It is in the inbox, or with the engine's threads, which hold it while there is no room and while a
%% connection has no credits: they bring it when they come by. What an engine of its own has is on its way before the answer to `Last'.
-spec served(term(), #s{}) -> {served, term(), #s{}} | {stop, term(), term(), #s{}}.
served(State, #s{server_id = Id} = S) ->
    case sockeye_backend:engine(Id) of
        port ->
            {Last, Time} = sockeye_port:rest(),
            served(Last, Time, {noreply, State, S});
        _ ->
            brought(served(make_ref(), 0, info(sockeye_ready, State, S)))
    end.

-spec brought(Served) -> Served when Served :: {served, term(), #s{}} | {stop, term(), term(), #s{}}.
brought({served, State, #s{inbox = Inbox, max = Max, server_id = Id} = S}) ->
    %% They do so behind what they are asked: so they have when they have been asked twice.
    ok = sockeye_ask:passed(Id),
    ok = sockeye_ask:passed(Id),
    case sockeye_backend:recv(Inbox, Max) of
        [] -> {served, State, S};
        Came -> brought(served(make_ref(), 0, received(Came, State, S)))
    end;
brought(Stop) ->
    Stop.

-spec served(reference(), timeout(), answer()) -> {served, term(), #s{}} | {stop, term(), term(), #s{}}.
served(Last, Time, {noreply, State, S}) ->
    receive
        sockeye_ready -> served(Last, Time, info(sockeye_ready, State, S));
        {sockeye_batch, _, _, _, _} = Batch -> served(Last, Time, info(Batch, State, S));
        {sockeye_lost, _} = Lost -> served(Last, 0, info(Lost, State, S));
        {Last, _} -> served(Last, 0, {noreply, State, S});
        %% That the engine is lost is about to be told.
        {'DOWN', Last, process, _, _} -> served(Last, ?LOST_MS, {noreply, State, S})
    after Time ->
            {served, State, S}
    end;
served(Last, Time, {noreply, State, S, hibernate}) ->
    served(Last, Time, {noreply, State, S});
served(_Last, _Time, Stop) ->
    Stop.

-spec terminate(term(), term()) -> ok.
terminate({?FIN, Fin}, State) ->
    sockeye_handler_end:run(Fin, State, get(?WORKER));
terminate(Reason, State) ->
    #s{conn = Conn} = S = get(?WORKER),
    sockeye_handler_end:run({stop, Reason, {none, Conn, none, none}}, State, S).

%% Also the moment at which optional callbacks of a new version are seen.
-spec code_change(term(), term(), term()) -> {ok, term()} | {error, term()}.
code_change(OldVsn, State, Extra) ->
    #s{module = Module} = S = get(?WORKER),
    _ = put(?WORKER, sockeye_callback:look_up(S)),
    case erlang:function_exported(Module, code_change, 3) of
        true -> Module:code_change(OldVsn, State, Extra);
        false -> {ok, State}
    end.

%% For sys:get_status/1. Our own record says nothing to anybody else.
-spec format_status(sockeye_crash:status()) -> sockeye_crash:status().
format_status(#{state := State} = Status) ->
    #s{module = Module, conn = Conn, max = Max, url = Url} = get(?WORKER),
    With = #{state => State, message => maps:get(message, Status, none), reason => maps:get(reason, Status, normal)},
    #{state := Shown} = sockeye_crash:shown(Module, With),
    Status#{state := #{module => Module, conn => Conn, url => Url, batch => Max, state => Shown}};
format_status(Status) ->
    Status.
