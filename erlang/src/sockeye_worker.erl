%% @private
%% Runs the callbacks of a sockeye_handler over the frames of one inbox: a
%% member of a pool, or the process of one connection.
%%
%% This is the hot path. A batch costs one call to take it from the inbox and
%% one to hand over all commands; between the two nothing is built that the
%% handler did not ask for.
-module(sockeye_worker).
-behaviour(gen_server).

-export([start_link/5]).
-export([start_conn/5]).
-export([stop/1]).
-export([tell/2]).

-export([init/1]).
-export([handle_continue/2]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).
-export([terminate/2]).

%% Events to take at once. It follows the speed of the callbacks, since the
%% first reply of a batch waits for the last callback.
-define(FIRST_MAX, 64).
-define(MOST, 256).
-define(TOO_LONG_US, 2000).
-define(SHORT_US, 500).
%% Large frames, decoded on a dirty scheduler.
-define(DIRTY_MAX, 8).
%% Silence after which the process of one connection gives its memory back.
-define(REST_MS, 1000).
%% Those of a frame: see sockeye:send_options().
-define(ARE_OPTIONS(Options),
        (Options =:= #{} orelse map_size(Options) =:= 1
                                andalso is_boolean(map_get(compress, Options)))).

-record(s,
        {module :: module(),
         %% Called through a fun, which spares the search for the function.
         handle_frame :: fun((term(), sockeye:conn(), term()) -> term()),
         state :: term(),
         server_id :: sockeye_nif:server_id(),
         server :: pid(),
         inbox :: sockeye_nif:inbox(),
         %% The connection at hand outside of frames: with a process per
         %% connection, the one it serves.
         conn = none :: sockeye:conn() | none,
         %% Of a client: it has one connection at a time, and outlives it.
         is_client :: boolean(),
         max = ?FIRST_MAX :: pos_integer(),
         %% Which optional callbacks there are.
         has_open :: boolean(),
         has_close :: boolean(),
         has_info :: boolean(),
         has_down :: boolean(),
         has_terminate :: boolean(),
         %% Of the process of one connection: nothing is known yet; in use, or
         %% not since the timer was set; or since when it has hibernated.
         rest = off :: off | new | busy | quiet | integer()}).

%% Commands so far, last first: [Frame, Conn, Frame, Conn, ...].
-type acc() :: [term()].

%% `ended' is the end of a process whose connection is gone.
-type outcome() :: {ok, acc(), State :: term(), Hibernate :: boolean()}
                 | {ended, acc(), State :: term()}
                 | {stop, Reason :: term(), acc(), State :: term()}.

-type answer() :: {noreply, #s{}} | {noreply, #s{}, hibernate} | {stop, term(), #s{}}.

%% Where the state of a crashed batch waits for terminate/2.
-define(LAST_STATE, '$sockeye_last_state').

%% `now' runs Module:init/1 before it returns, `later' after.
-spec start_link(now | later, sockeye_nif:server_id(), non_neg_integer() | client, module(), term()) ->
          {ok, pid()} | {error, term()}.
start_link(When, ServerId, Slot, Module, Arg) ->
    Start = {ServerId, self(), Slot, none, Module, Arg},
    case gen_server:start_link(?MODULE, {When, Start}, []) of
        {ok, Pid} -> {ok, Pid};
        {error, Reason} -> {error, Reason};
        ignore -> {error, ignore}
    end.

-spec start_conn(sockeye_nif:server_id(), pid(), module(), term(), sockeye:conn()) ->
          gen_server:start_ret().
start_conn(ServerId, Server, Module, Arg, Conn) ->
    gen_server:start_link(?MODULE, {later, {ServerId, Server, none, Conn, Module, Arg}}, []).

%% Asks a worker to serve what it has and then to end.
-spec stop(pid()) -> ok.
stop(Pid) ->
    gen_server:cast(Pid, '$sockeye_stop').

%% Tells the worker of a client, after all that its connection has brought, that
%% it is up or why it is down. The caller gets {sockeye_told, Worker, What}.
-spec tell(pid(), up | {down, sockeye_client:down_reason()}) -> ok.
tell(Pid, What) ->
    gen_server:cast(Pid, {'$sockeye_tell', self(), What}).

-spec init({now | later, tuple()}) ->
          {ok, #s{}} | {ok, {starting, tuple()}, {continue, start}} | {stop, term()}.
init({later, Start}) ->
    {ok, {starting, Start}, {continue, start}};
init({now, Start}) ->
    start(Start).

-spec start(tuple()) -> {ok, #s{}} | {stop, term()}.
start({ServerId, Server, Slot, Conn, Module, Arg}) ->
    %% With a process per connection the inbox comes first: if init fails, its
    %% end closes the connection.
    Early = case Conn of
                none -> none;
                _ -> attached(Conn, sockeye_nif:inbox_open(ServerId, none))
            end,
    case Module:init(Arg) of
        {ok, State} ->
            Inbox = case Early of
                        none -> sockeye_nif:inbox_open(ServerId, slot(Slot));
                        _ -> Early
                    end,
            {ok, #s{module = Module, handle_frame = fun Module:handle_frame/3, state = State,
                    server_id = ServerId, server = Server, rest = case Conn of none -> off; _ -> new end,
                    inbox = Inbox, conn = Conn, is_client = Slot =:= client,
                    has_open = erlang:function_exported(Module, handle_open, 3),
                    has_close = erlang:function_exported(Module, handle_close, 4),
                    has_info = erlang:function_exported(Module, handle_info, 2),
                    has_down = erlang:function_exported(Module, handle_down, 2),
                    has_terminate = erlang:function_exported(Module, terminate, 2)}};
        {stop, Reason} ->
            {stop, Reason};
        Other ->
            {stop, {bad_return_value, Other}}
    end.

-spec slot(non_neg_integer() | none | client) -> non_neg_integer() | none.
slot(client) -> 0;
slot(Slot) -> Slot.

%% A connection that is gone already still has its `closed' to come, or the
%% worker has nothing to do.
-spec attached(sockeye:conn(), sockeye_nif:inbox()) -> sockeye_nif:inbox().
attached(Conn, Inbox) ->
    case sockeye_nif:attach(Conn, Inbox) of
        ok -> Inbox;
        {error, closed} -> exit(normal)
    end.

-spec handle_continue(start, {starting, tuple()}) -> {noreply, #s{}} | {stop, term(), term()}.
handle_continue(start, {starting, Start} = Starting) ->
    case start(Start) of
        {ok, S} -> {noreply, S};
        {stop, Reason} -> {stop, Reason, Starting}
    end.

-spec handle_call(term(), gen_server:from(), #s{}) -> {reply, term(), #s{}}.
handle_call(_Request, _From, S) ->
    {reply, {error, not_supported}, S}.

-spec handle_cast(term(), #s{}) -> answer().
handle_cast('$sockeye_stop', S) ->
    drain(S);
handle_cast({'$sockeye_tell', From, What}, S) ->
    told(From, What, S);
handle_cast(Request, S) ->
    handle_info({'$gen_cast', Request}, S).

-spec handle_info(term(), #s{}) -> answer().
handle_info(sockeye_ready, #s{inbox = Inbox, max = Max} = S) ->
    case sockeye_nif:recv(Inbox, Max) of
        [] -> {noreply, S};
        {more, Events} -> batch(Events, true, false, S);
        dirty -> dirty_batch(S);
        Events -> batch(Events, false, false, S)
    end;
handle_info('$sockeye_rest', #s{rest = busy} = S) ->
    {noreply, watch(S#s{rest = quiet})};
handle_info('$sockeye_rest', #s{rest = quiet} = S) ->
    hibernate(S);
handle_info(Message, #s{has_info = true, module = Module, state = State} = S) ->
    Outcome = result(Module:handle_info(Message, State), own_conn(S), [], State, S),
    finish(Outcome, false, false, S);
handle_info(Message, #s{module = Module} = S) ->
    log(warning, unexpected_message, #{module => Module, message => Message}, none, S),
    {noreply, S}.

%% The connection that commands without one speak of, outside of frames.
-spec own_conn(#s{}) -> sockeye:conn() | none.
own_conn(#s{is_client = true, server_id = Id}) -> sockeye_nif:client_conn(Id);
own_conn(#s{conn = Conn}) -> Conn.

-spec dirty_batch(#s{}) -> answer().
dirty_batch(#s{inbox = Inbox} = S) ->
    case sockeye_nif:recv_dirty(Inbox, ?DIRTY_MAX) of
        {more, Events} -> batch(Events, true, true, S);
        Events -> batch(Events, false, true, S)
    end.

-spec batch(sockeye_nif:batch(), boolean(), boolean(), #s{}) -> answer().
batch(Events, More, Dirty, #s{state = State} = S) ->
    Begin = erlang:monotonic_time(microsecond),
    Outcome = events(Events, [], State, false, S),
    Time = erlang:monotonic_time(microsecond) - Begin,
    finish(Outcome, More, Dirty, adapt(Time, More, S)).

-spec adapt(integer(), boolean(), #s{}) -> #s{}.
adapt(Time, _More, #s{max = Max} = S) when Time > ?TOO_LONG_US, Max > 1 ->
    S#s{max = Max div 2};
adapt(Time, true, #s{max = Max} = S) when Time < ?SHORT_US, Max < ?MOST ->
    S#s{max = min(?MOST, Max * 2)};
adapt(_Time, _More, S) ->
    S.

-spec finish(outcome(), boolean(), boolean(), #s{}) -> answer().
finish({ok, Acc, State, Hibernate}, More, Dirty, S) ->
    flush(Acc, Dirty, S),
    case More of
        true ->
            %% By way of the mailbox, so that other messages get their turn,
            %% those about failed commands among them.
            self() ! sockeye_ready,
            {noreply, S#s{state = State}};
        false when Hibernate ->
            {noreply, S#s{state = State}, hibernate};
        false ->
            rest(S#s{state = State})
    end;
finish({ended, Acc, State}, _More, Dirty, S) ->
    flush(Acc, Dirty, S),
    {stop, normal, S#s{state = State}};
finish({stop, Reason, Acc, State}, _More, Dirty, S) ->
    Conn = own_conn(S),
    %% A process of one connection that ends in order closes in order; otherwise
    %% the engine sees it die and says 1011.
    Orderly = Conn =/= none andalso is_orderly(Reason),
    case Orderly of
        true -> flush([{close, 1000, <<>>}, Conn | Acc], Dirty, S);
        false -> flush(Acc, Dirty, S)
    end,
    {stop, Reason, S#s{state = State}}.

%% The process of one connection hibernates when it is silent. One that has been
%% silent for long is taken to be so again, at once: the memory that it gave
%% back is the next one's, which many idle ones at a time could not do.
-spec rest(#s{}) -> answer().
rest(#s{rest = off} = S) ->
    {noreply, S};
rest(#s{rest = busy} = S) ->
    {noreply, S};
rest(#s{rest = quiet} = S) ->
    {noreply, S#s{rest = busy}};
rest(#s{rest = new} = S) ->
    hibernate(S);
rest(#s{rest = Since} = S) ->
    case erlang:monotonic_time(millisecond) - Since >= ?REST_MS of
        true -> hibernate(S);
        false -> {noreply, watch(S#s{rest = busy})}
    end.

%% One timer a second of use, not one a message.
-spec watch(#s{}) -> #s{}.
watch(S) ->
    _ = erlang:send_after(?REST_MS, self(), '$sockeye_rest'),
    S.

-spec hibernate(#s{}) -> answer().
hibernate(S) ->
    {noreply, S#s{rest = erlang:monotonic_time(millisecond)}, hibernate}.

-spec is_orderly(term()) -> boolean().
is_orderly(normal) -> true;
is_orderly(shutdown) -> true;
is_orderly({shutdown, _}) -> true;
is_orderly(_) -> false.

%% Whatever a callback does, the commands of the frames before it are carried
%% out, as if each frame had been served by itself.
-spec events(sockeye_nif:batch(), acc(), term(), boolean(), #s{}) -> outcome().
events([Conn, {closed, _, _} = Event | _], Acc, State, _Hibernate, #s{conn = Conn} = S) ->
    case guarded(Event, Conn, Acc, State, S) of
        {ok, Acc1, State1, _} -> {ended, Acc1, State1};
        Stop -> Stop
    end;
events([Conn, Event | Rest], Acc, State, Hibernate, S) ->
    case guarded(Event, Conn, Acc, State, S) of
        {ok, Acc1, State1, false} -> events(Rest, Acc1, State1, Hibernate, S);
        {ok, Acc1, State1, true} -> events(Rest, Acc1, State1, true, S);
        Stop -> Stop
    end;
events([], Acc, State, Hibernate, _S) ->
    {ok, Acc, State, Hibernate}.

-spec guarded(sockeye:event(), sockeye:conn(), acc(), term(), #s{}) -> outcome().
guarded(Event, Conn, Acc, State, S) ->
    try callback(Event, Conn, State, S) of
        {[{reply, Frame}], State1} when not is_list(Frame) ->
            {ok, [Frame, Conn | Acc], State1, false};
        Result ->
            result(Result, Conn, Acc, State, S)
    catch
        throw:Result -> result(Result, Conn, Acc, State, S);
        Class:Reason:Stack -> crash(Class, Reason, Stack, Acc, State, S)
    end.

-spec callback(sockeye:event(), sockeye:conn(), term(), #s{}) -> term().
callback({json, _} = Frame, Conn, State, #s{handle_frame = Handle}) ->
    Handle(Frame, Conn, State);
callback({text, _} = Frame, Conn, State, #s{handle_frame = Handle}) ->
    Handle(Frame, Conn, State);
callback({binary, _} = Frame, Conn, State, #s{handle_frame = Handle}) ->
    Handle(Frame, Conn, State);
callback({ping, _} = Frame, Conn, State, #s{handle_frame = Handle}) ->
    Handle(Frame, Conn, State);
callback({pong, _} = Frame, Conn, State, #s{handle_frame = Handle}) ->
    Handle(Frame, Conn, State);
callback({open, Info}, Conn, State, #s{module = Module, has_open = true}) ->
    Module:handle_open(Conn, Info, State);
callback({closed, Code, Reason}, Conn, State, #s{module = Module, has_close = true}) ->
    Module:handle_close(Conn, Code, Reason, State);
callback({invalid_json, _, _} = Frame, Conn, State, #s{handle_frame = Handle}) ->
    Handle(Frame, Conn, State);
callback({open, _}, _Conn, State, _S) ->
    {[], State};
callback({closed, _, _}, _Conn, State, _S) ->
    {[], State};
callback(Event, Conn, State, #s{module = Module, has_info = true}) ->
    Module:handle_info({sockeye, Conn, Event}, State);
callback(_Event, _Conn, State, _S) ->
    {[], State}.

-spec result(term(), sockeye:conn() | none, acc(), term(), #s{}) -> outcome().
result({[], State}, _Conn, Acc, _Old, _S) ->
    {ok, Acc, State, false};
result({Commands, State}, Conn, Acc, Old, S) when is_list(Commands) ->
    {ok, commands(Commands, Conn, Acc, Old, S), State, false};
result({Commands, State, hibernate}, Conn, Acc, Old, S) when is_list(Commands) ->
    {ok, commands(Commands, Conn, Acc, Old, S), State, true};
result({stop, Reason, State}, _Conn, Acc, _Old, _S) ->
    {stop, Reason, Acc, State};
result(Other, _Conn, Acc, Old, S) ->
    crash(exit, {bad_return_value, Other}, [], Acc, Old, S).

-spec commands([sockeye_handler:command()], sockeye:conn() | none, acc(), term(), #s{}) -> acc().
commands([{reply, Frame} | Rest], Conn, Acc, Old, S) when Conn =/= none ->
    commands(Rest, Conn, push(Frame, Conn, Acc), Old, S);
commands([{send, To, Frame} | Rest], Conn, Acc, Old, S) ->
    commands(Rest, Conn, push(Frame, To, Acc), Old, S);
commands([{reply, Frame, Options} | Rest], Conn, Acc, Old, S)
  when Conn =/= none, ?ARE_OPTIONS(Options) ->
    commands(Rest, Conn, push(sockeye_deflate:frames(Frame, Options), Conn, Acc), Old, S);
commands([{send, To, Frame, Options} | Rest], Conn, Acc, Old, S) when ?ARE_OPTIONS(Options) ->
    commands(Rest, Conn, push(sockeye_deflate:frames(Frame, Options), To, Acc), Old, S);
commands([{broadcast, Frame} | Rest], Conn, Acc, Old, S) ->
    flush(Acc, false, S),
    broadcast(Frame, none, S),
    commands(Rest, Conn, [], Old, S);
commands([{broadcast_from, Frame} | Rest], Conn, Acc, Old, S) when Conn =/= none ->
    flush(Acc, false, S),
    broadcast(Frame, Conn, S),
    commands(Rest, Conn, [], Old, S);
commands([{publish, Topic, Frame} | Rest], Conn, Acc, Old, S) ->
    flush(Acc, false, S),
    publish(Topic, Frame, none, S),
    commands(Rest, Conn, [], Old, S);
commands([{publish_from, Topic, Frame} | Rest], Conn, Acc, Old, S) when Conn =/= none ->
    flush(Acc, false, S),
    publish(Topic, Frame, Conn, S),
    commands(Rest, Conn, [], Old, S);
commands([{Change, Topic} | Rest], Conn, Acc, Old, S)
  when Conn =/= none, (Change =:= subscribe orelse Change =:= unsubscribe) ->
    commands([{Change, Conn, Topic} | Rest], Conn, Acc, Old, S);
commands([{subscribe, To, Topic} | Rest], Conn, Acc, Old, S) ->
    flush(Acc, false, S),
    subscribed(sockeye_fanout:subscribe(To, Topic), To, S),
    commands(Rest, Conn, [], Old, S);
commands([{unsubscribe, To, Topic} | Rest], Conn, Acc, Old, S) ->
    flush(Acc, false, S),
    subscribed(sockeye_fanout:unsubscribe(To, Topic), To, S),
    commands(Rest, Conn, [], Old, S);
commands([{active, _} = Active | Rest], Conn, Acc, Old, S) when Conn =/= none ->
    commands(Rest, Conn, [Active, Conn | Acc], Old, S);
commands([{close, _, _} = Close | Rest], Conn, Acc, Old, S) when Conn =/= none ->
    commands(Rest, Conn, [Close, Conn | Acc], Old, S);
commands([{close, To, Code, Reason} | Rest], Conn, Acc, Old, S) ->
    commands(Rest, Conn, [{close, Code, Reason}, To | Acc], Old, S);
commands([], _Conn, Acc, _Old, _S) ->
    Acc;
commands([Command | _], _Conn, Acc, Old, S) ->
    log(error, bad_command, #{module => S#s.module, command => Command}, none, S),
    crash(error, {bad_command, Command}, [], Acc, Old, S).

-spec push(sockeye:frame() | [sockeye:frame()], sockeye:conn(), acc()) -> acc().
push(Frames, Conn, Acc) when is_list(Frames) ->
    lists:foldl(fun(Frame, In) -> [Frame, Conn | In] end, Acc, Frames);
push(Frame, Conn, Acc) ->
    [Frame, Conn | Acc].

-spec crash(error | exit | throw, term(), list(), acc(), term(), #s{}) -> no_return().
crash(Class, Reason, Stack, Acc, State, S) ->
    put(?LAST_STATE, {state, State}),
    try flush(Acc, false, S)
    catch error:badarg -> ok
    end,
    erlang:raise(Class, Reason, Stack).

-spec flush(acc(), boolean(), #s{}) -> ok.
flush([], _Dirty, _S) ->
    ok;
flush(Acc, Dirty, S) ->
    submit(lists:reverse(Acc), Dirty, S).

-spec submit(list(), boolean(), #s{}) -> ok.
submit(Commands, false, S) ->
    submitted(sockeye_nif:commands(Commands), false, S);
submit(Commands, true, S) ->
    submitted(sockeye_nif:commands_dirty(Commands), true, S).

-spec submitted(term(), boolean(), #s{}) -> ok.
submitted(ok, _Dirty, _S) ->
    ok;
submitted({done, Errors}, _Dirty, S) ->
    failed(Errors, S);
submitted({more, Rest, Errors}, Dirty, S) ->
    failed(Errors, S),
    submit(Rest, Dirty, S);
submitted({dirty, Rest, Errors}, _Dirty, S) ->
    failed(Errors, S),
    submit(Rest, true, S).

-spec broadcast(sockeye:frame(), sockeye:conn() | none, #s{}) -> ok.
broadcast(Frame, Except, #s{server_id = ServerId} = S) ->
    spread(sockeye_fanout:broadcast(ServerId, Frame, Except, #{}), S).

-spec publish(sockeye:topic(), sockeye:frame(), sockeye:conn() | none, #s{}) -> ok.
publish(Topic, Frame, Except, #s{server_id = ServerId} = S) ->
    spread(sockeye_fanout:publish(ServerId, Topic, Frame, Except, #{}), S).

-spec spread(ok | {ok, sockeye:outcome()} | {error, sockeye:publish_error()}, #s{}) -> ok.
%% The server is about to stop, and its clients to leave.
spread({error, closed}, _S) -> ok;
spread({error, Reason}, #s{server = Server} = S) -> failed([{Server, Reason}], S);
spread(_, _S) -> ok.

-spec subscribed(ok | {error, sockeye:subscribe_error()}, sockeye:conn(), #s{}) -> ok.
subscribed(ok, _Conn, _S) -> ok;
subscribed({error, Reason}, Conn, S) -> failed([{Conn, Reason}], S).

%% The errors of one batch come before the next batch is taken, so there are
%% never more of them in the mailbox than commands in a batch.
-spec failed([{sockeye:conn() | pid(), sockeye:send_error()}], #s{}) -> ok.
failed([], _S) ->
    ok;
failed(Errors, #s{has_info = true}) ->
    lists:foreach(fun({Conn, Reason}) -> self() ! {sockeye, Conn, {error, Reason}} end, Errors);
failed(Errors, #s{module = Module} = S) ->
    case [Error || {_, Reason} = Error <- Errors, Reason =/= closed] of
        [] ->
            ok;
        [{Conn, Reason} | _] = Serious ->
            log(warning, commands_failed,
                #{module => Module, count => length(Serious), first => {Conn, Reason}}, none, S)
    end.

-spec log(logger:level(), atom(), map(), sockeye:conn() | none, #s{}) -> ok.
log(Level, What, Detail, Conn, #s{server_id = Id, server = Server, is_client = IsClient}) ->
    sockeye_log:event(Level, Id, What, Detail,
                      fun() ->
                              Who = case IsClient of
                                        true -> #{client => Server};
                                        false -> sockeye_log:server(Server)
                                    end,
                              maps:merge(Who, sockeye_log:conn(Conn))
                      end).

-spec told(pid(), up | {down, sockeye_client:down_reason()}, #s{}) -> answer().
told(From, What, S) ->
    case handle_info(sockeye_ready, S) of
        {stop, _, _} = Stop -> Stop;
        Answer ->
            S1 = element(2, Answer),
            receive
                sockeye_ready -> told(From, What, S1)
            after 0 ->
                    Told = down(What, S1),
                    From ! {sockeye_told, self(), What},
                    Told
            end
    end.

-spec down(up | {down, sockeye_client:down_reason()}, #s{}) -> answer().
down({down, Reason}, #s{has_down = true, module = Module, state = State} = S) ->
    finish(result(Module:handle_down(Reason, State), none, [], State, S), false, false, S);
down(_What, S) ->
    {noreply, S}.

%% Serves what has come until now, then ends.
-spec drain(#s{}) -> {stop, term(), #s{}}.
drain(S) ->
    case handle_info(sockeye_ready, S) of
        {noreply, S1} -> drain_more(S1);
        {noreply, S1, hibernate} -> drain_more(S1);
        Stop -> Stop
    end.

-spec drain_more(#s{}) -> {stop, term(), #s{}}.
drain_more(S) ->
    receive
        sockeye_ready -> drain(S)
    after 0 ->
            {stop, shutdown, S}
    end.

-spec terminate(term(), #s{} | {starting, tuple()}) -> term().
terminate(Reason, #s{has_terminate = true, module = Module, state = State}) ->
    case erase(?LAST_STATE) of
        {state, Last} -> Module:terminate(Reason, Last);
        undefined -> Module:terminate(Reason, State)
    end;
terminate(_Reason, _S) ->
    ok.
