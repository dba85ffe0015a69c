%% @private
%% Plays the other ends of a test's connections: when an event comes, and what becomes of a command.
-module(sockeye_test_world).
-behaviour(gen_server).
%% The connections of a test are made here.
-dialyzer(no_opaque).

-export([start/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-type act() :: sockeye_test_engine:act().
-type key() :: sockeye_test_engine:key().

-record(conn,
        {key :: key(),
         info :: map(),
         %% `answering': the other end has closed with this code, and may still be answered; when the handler has come to `ending', if there is
         %% one, or to the end itself.
         status = open :: open | {answering, sockeye:close_code(), at_ending | at_end} | closed,
         credits = true :: true | non_neg_integer(),
         is_counted = false :: boolean(),
         %% What has come and has no credit, the last first.
         held = [] :: [term()],
         busy = false :: boolean(),
         topics = #{} :: #{sockeye:topic() => true},
         %% A message in pieces: whose it is, and what waits for its end, the last first.
         stream = none :: none | {pid(), text | binary, iodata(), [sockeye_test_frames:seen()]},
         watchers = [] :: [pid()],
         frames_in = 0 :: non_neg_integer(),
         %% What the other end has got, the last first.
         got = [] :: [sockeye_test_frames:seen()]}).

-record(state,
        {config :: sockeye_options:config(),
         conns = #{} :: #{pos_integer() => #conn{}},
         next = 1 :: pos_integer(),
         workers = #{} :: #{key() => pid()},
         %% Events for a worker, the last first.
         inboxes = #{} :: #{key() => [{sockeye:conn(), term()}]},
         %% What the other ends say to our Close frames, the last first.
         answers = [] :: [{pos_integer(), sockeye_backend:left()}],
         acts = [] :: [act()],
         host = none :: pid() | none,
         gate = none :: pid() | none,
         asked = #{} :: #{pos_integer() => {gen_server:from(), map()}},
         timers = sockeye_test_timers:new() :: sockeye_test_timers:timers(),
         %% Who waits for what is on its way from traced processes.
         settling = #{} :: #{reference() => {gen_server:from(), term()}}}).

%% It ends with the calling process. A link would have each test that fails reported once more, by this one.
-spec start(sockeye_options:config()) -> {ok, pid()} | {error, term()}.
start(Config) ->
    gen_server:start(?MODULE, {self(), Config}, []).

-spec init({pid(), sockeye_options:config()}) -> {ok, #state{}} | {stop, term()}.
init({Test, #{name := Name} = Config}) ->
    process_flag(trap_exit, true),
    _ = monitor(process, Test),
    try Name =:= undefined orelse register(Name, self()) of
        true ->
            ok = sockeye_test_timers:begin_test(),
            {ok, #state{config = Config}}
    catch
        error:badarg -> {stop, {already_started, whereis(Name)}}
    end.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}} | {noreply, #state{}} | {stop, normal, ok, #state{}}.
handle_call({open, Request}, From, #state{gate = none} = State) ->
    {noreply, opened(From, Request, #{}, State)};
handle_call({open, Request}, From, #state{gate = Gate, asked = Asked} = State) ->
    Token = erlang:unique_integer([positive]),
    Gate ! {sockeye_ask, Token, accept, Request},
    {noreply, State#state{asked = Asked#{Token => {From, Request}}}};
handle_call({gate, Gate}, _From, State) ->
    {reply, ok, State#state{gate = Gate}};
handle_call({answer, Token, Decision}, _From, #state{asked = Asked} = State) ->
    case {maps:take(Token, Asked), Decision} of
        {{{From, Request}, Rest}, {accept, Options}} ->
            {reply, true, opened(From, Request, Options, State#state{asked = Rest})};
        {{{From, _}, Rest}, {reject, Status, Headers, Body}} ->
            gen_server:reply(From, {error, {refused, #{status => Status, headers => Headers, body => Body}}}),
            {reply, true, State#state{asked = Rest}};
        {error, _} ->
            {reply, false, State}
    end;
handle_call({conn, N, Request}, _From, #state{conns = Conns} = State) ->
    case Conns of
        #{N := Conn} ->
            {Reply, Later} = conn(Request, N, Conn, State),
            {reply, Reply, Later};
        _ ->
            {reply, {error, closed}, State}
    end;
handle_call({recv, Key, Max}, _From, State) ->
    {Batch, Later} = taken(Key, Max, State),
    {reply, Batch, Later};
handle_call({commands, By, Commands}, _From, State) ->
    {Errors, Later} = done(Commands, By, [], State),
    {reply, Errors, Later};
handle_call({publish, To, Frame, Except}, _From, State) ->
    {Reply, Later} = published(To, Frame, Except, State),
    {reply, Reply, Later};
handle_call({failed, Failures}, _From, State) ->
    {reply, ok, lists:foldl(fun({_, Command, _, Reason}, In) -> note({failed, Command, Reason}, In) end, State, Failures)};
handle_call({host, Host}, _From, State) ->
    {reply, ok, State#state{host = Host}};
handle_call(host, _From, #state{host = Host} = State) ->
    {reply, Host, State};
handle_call(begin_act, _From, State) ->
    {reply, ok, State#state{acts = []}};
handle_call(acts, _From, #state{acts = Acts} = State) ->
    {reply, lists:reverse(Acts), State};
handle_call(workers, _From, #state{workers = Workers} = State) ->
    {reply, Workers, State};
handle_call({waiting, Key}, _From, #state{inboxes = Inboxes} = State) ->
    {reply, maps:get(Key, Inboxes, []) =/= [], State};
handle_call({started, Key, Worker}, _From, #state{workers = Workers} = State) ->
    {reply, ok, State#state{workers = Workers#{Key => Worker}}};
handle_call({ended, Key, IsOrderly}, _From, #state{workers = Workers, inboxes = Inboxes, conns = Conns} = State) ->
    Left = State#state{workers = maps:remove(Key, Workers), inboxes = maps:remove(Key, Inboxes)},
    Last = case IsOrderly andalso not is_integer(Key) of
               true -> {close, 1000, <<>>};
               false -> {close, 1011, <<"handler died">>}
           end,
    Orphans = [N || {N, #conn{key = K, status = Status}} <- maps:to_list(Conns), K =:= Key, Status =/= closed],
    {reply, ok, lists:foldl(fun(N, In) -> over(N, Last, In) end, Left, Orphans)};
handle_call(stopping, _From, #state{conns = Conns} = State) ->
    Open = [N || {N, #conn{status = open}} <- maps:to_list(Conns)],
    {reply, ok, lists:foldl(fun(N, In) -> closing(N, 1001, <<>>, In) end, State, Open)};
handle_call(answer_closes, _From, #state{answers = Answers} = State) ->
    Answered = lists:foldl(fun({N, Left}, In) -> arrived(N, Left, In) end, State#state{answers = []}, lists:reverse(Answers)),
    {reply, Answers =/= [], Answered};
handle_call({timers, Request}, From, #state{settling = Settling} = State) ->
    {noreply, State#state{settling = Settling#{erlang:trace_delivered(all) => {From, Request}}}};
handle_call(config, _From, #state{config = Config} = State) ->
    {reply, Config, State};
handle_call({connections, Of}, _From, State) ->
    {reply, [conn(N) || N <- receivers(Of, State)], State};
handle_call(topics, _From, #state{conns = Conns} = State) ->
    Topics = [Topic || #conn{topics = Of} <- maps:values(Conns), Topic <- maps:keys(Of)],
    {reply, lists:foldl(fun(Topic, In) -> maps:update_with(Topic, fun(N) -> N + 1 end, 1, In) end, #{}, Topics), State};
handle_call(server_info, _From, #state{config = Config} = State) ->
    {reply, (maps:with([name, handler, processes], Config))#{connections => length(receivers(all, State))}, State};
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) ->
    {noreply, State}.

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, _State) ->
    sockeye_test_timers:end_test().

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, normal, #state{}}.
handle_info({'DOWN', _, process, _, _}, State) ->
    {stop, normal, State};
handle_info(Trace, #state{timers = Timers} = State) when element(1, Trace) =:= trace ->
    {noreply, State#state{timers = sockeye_test_timers:traced(Trace, Timers)}};
handle_info({trace_delivered, all, Ref}, #state{timers = Timers, settling = Settling} = State) ->
    {{From, Request}, Rest} = maps:take(Ref, Settling),
    {Reply, Later} = sockeye_test_timers:ask(Request, Timers),
    gen_server:reply(From, Reply),
    {noreply, State#state{timers = Later, settling = Rest}};
handle_info(_Message, State) ->
    {noreply, State}.

-spec conn(pos_integer()) -> {sockeye_conn, {pid(), pos_integer()}}.
conn(N) -> {sockeye_conn, {self(), N}}.

-spec note(act(), #state{}) -> #state{}.
note(Act, #state{acts = Acts} = State) -> State#state{acts = [Act | Acts]}.

%% Its process is started by who asked, see {@link sockeye_test_host}.
-spec opened(gen_server:from(), map(), map(), #state{}) -> #state{}.
opened(From, Request, Options, #state{config = #{mode := Mode} = Config, conns = Conns, next = N} = State) ->
    Key = case Mode of
              per_connection -> conn(N);
              {workers, Count} -> (N - 1) rem Count
          end,
    Own = [P || P <- maps:get(subprotocols, Request), lists:member(P, maps:get(subprotocols, Config))],
    Chosen = case {Options, Own} of
                 {#{subprotocol := Subprotocol}, _} -> Subprotocol;
                 {_, [First | _]} -> First;
                 {_, []} -> undefined
             end,
    Kept = maps:with([peer, local, tls, http_version, path, query, headers], Request),
    Info = maps:merge(Kept#{subprotocol => Chosen, deflate => false}, maps:with([state], Options)),
    Conn = active(maps:get(active, maps:merge(Config, Options)), #conn{key = Key, info = Info, credits = 0}),
    gen_server:reply(From, {ok, conn(N), Info}),
    State#state{conns = Conns#{N => Conn}, next = N + 1}.

%% ---------------------------------------------------------------- one connection

-spec conn(term(), pos_integer(), #conn{}, #state{}) -> {Reply :: term(), #state{}}.
conn(received, N, #conn{got = Got} = Conn, State) ->
    {lists:reverse(Got), put_conn(N, Conn#conn{got = []}, State)};
conn(key, _N, #conn{key = Key}, State) ->
    {Key, State};
conn({push, _}, _N, #conn{status = Status}, State) when Status =/= open ->
    {{error, closed}, State};
conn({push, Events}, N, Conn, State) ->
    {ok, released(N, Conn#conn{held = lists:reverse(Events) ++ Conn#conn.held}, State)};
conn(answered, N, #conn{status = {answering, Code, _}}, State) ->
    {ok, answer(N, Code, State)};
conn({refuse, Code, Why}, N, #conn{status = open}, State) ->
    {ok, closing(N, Code, Why, State)};
conn(_Request, _N, #conn{status = closed}, State) ->
    {{error, closed}, State};
conn({busy, Busy}, N, Conn, State) ->
    {ok, put_conn(N, Conn#conn{busy = Busy}, State)};
conn({watch, Pid}, N, #conn{watchers = Watchers} = Conn, State) ->
    {ok, put_conn(N, Conn#conn{watchers = [Pid | Watchers]}, State)};
conn(info, _N, #conn{info = Info, credits = Credits, frames_in = In}, State) ->
    {{ok, (maps:without([headers, state], Info))#{active => Credits, age => 0, frames_in => In, send_queue => 0, held => 0}}, State};
conn({send, By, Frames}, N, _Conn, State) when is_list(Frames) ->
    sent_all(Frames, N, By, State);
conn({send, By, Frame}, N, _Conn, State) ->
    sent_all([Frame], N, By, State);
conn({setopts, Options}, N, Conn, State) ->
    Active = lists:foldl(fun({active, V}, In) -> active(V, In); (_, In) -> In end, Conn, Options),
    {ok, released(N, Active, note({setopts, conn(N), Options}, State))};
conn({subscribe, Topic}, N, #conn{topics = Topics} = Conn, #state{config = #{max_subscriptions := Most}} = State) ->
    case is_map_key(Topic, Topics) orelse map_size(Topics) < Most of
        true -> {ok, put_conn(N, Conn#conn{topics = Topics#{Topic => true}}, note({subscribe, conn(N), Topic}, State))};
        false -> {{error, too_many_subscriptions}, State}
    end;
conn({unsubscribe, Topic}, N, #conn{topics = Topics} = Conn, State) ->
    {ok, put_conn(N, Conn#conn{topics = maps:remove(Topic, Topics)}, note({unsubscribe, conn(N), Topic}, State))};
conn(_Request, _N, _Conn, State) ->
    {ok, State}.

-spec put_conn(pos_integer(), #conn{}, #state{}) -> #state{}.
put_conn(N, Conn, #state{conns = Conns} = State) ->
    State#state{conns = Conns#{N => Conn}}.

%% Brings what has credits to the inbox.
-spec released(pos_integer(), #conn{}, #state{}) -> #state{}.
released(N, #conn{held = Held} = Conn, State) ->
    released(lists:reverse(Held), N, Conn#conn{held = []}, State).

-spec released([term()], pos_integer(), #conn{}, #state{}) -> #state{}.
released([{close, Code, Reason} | _], N, Conn, State) ->
    #state{inboxes = Inboxes} = State,
    Asks = [ending || Code =/= 1006, lists:keymember(conn(N), 1, maps:get(Conn#conn.key, Inboxes, []))],
    Status = {answering, Code, case Asks of [] -> at_end; _ -> at_ending end},
    lists:foldl(fun(Event, In) -> arrived(N, Event, In) end, put_conn(N, Conn#conn{status = Status}, State), Asks ++ [left(Code, Reason, Conn)]);
released([{answer, {ping, Data} = Ping} | Rest], N, Conn, #state{config = #{control_frames := IsTold}} = State) ->
    Answered = got({pong, iolist_to_binary(Data)}, Conn),
    case IsTold of
        true -> released(Rest, N, Answered, arrived(N, Ping, State));
        false -> released(Rest, N, Answered, State)
    end;
released([{answer, _} | Rest], N, Conn, State) ->
    released(Rest, N, Conn, State);
released([{Kind, _} = Event | Rest], N, Conn, State) when Kind =:= open; Kind =:= pong ->
    released(Rest, N, Conn, arrived(N, Event, State));
released([Event | Rest], N, #conn{credits = true, frames_in = In} = Conn, State) ->
    released(Rest, N, Conn#conn{frames_in = In + 1}, arrived(N, Event, State));
released([Event | Rest], N, #conn{credits = Left, frames_in = In, is_counted = IsCounted} = Conn, State) when Left > 0 ->
    Came = arrived(N, Event, State),
    Passive = case Left =:= 1 andalso IsCounted of
                  true -> arrived(N, passive, Came);
                  false -> Came
              end,
    released(Rest, N, Conn#conn{frames_in = In + 1, credits = Left - 1}, Passive);
released(Events, N, Conn, State) ->
    put_conn(N, Conn#conn{held = lists:reverse(Events)}, State).

-spec active(sockeye:active(), #conn{}) -> #conn{}.
active(true, Conn) -> Conn#conn{credits = true};
active(false, Conn) -> Conn#conn{credits = 0, is_counted = false};
active(once, Conn) -> Conn#conn{credits = 1, is_counted = false};
active(N, #conn{credits = true} = Conn) -> active(N, Conn#conn{credits = 0});
active(N, #conn{credits = Left} = Conn) -> Conn#conn{credits = min(32767, max(0, Left + N)), is_counted = true}.

-spec arrived(pos_integer(), term(), #state{}) -> #state{}.
arrived(N, Event, #state{conns = Conns, inboxes = Inboxes, workers = Workers} = State) ->
    #{N := #conn{key = Key}} = Conns,
    case Workers of
        #{Key := Worker} ->
            Worker ! sockeye_ready,
            State#state{inboxes = Inboxes#{Key => [{conn(N), Event} | maps:get(Key, Inboxes, [])]}};
        _ ->
            State
    end.

-spec taken(key(), pos_integer(), #state{}) -> {sockeye_backend:batch() | {more, sockeye_backend:batch()}, #state{}}.
taken(Key, Max, #state{inboxes = Inboxes} = State) ->
    Events = lists:reverse(maps:get(Key, Inboxes, [])),
    {Now, Later} = lists:split(min(Max, length(Events)), Events),
    Left = lists:foldl(fun told/2, State#state{inboxes = Inboxes#{Key => lists:reverse(Later)}}, Now),
    Batch = lists:append([[Conn, Event] || {Conn, Event} <- Now]),
    {case Later of [] -> Batch; _ -> {more, Batch} end, Left}.

%% With its last event a connection is closed for everybody.
-spec told({sockeye:conn(), term()}, #state{}) -> #state{}.
told({{_, {_, N}}, {closed, _, _, _}}, #state{conns = Conns} = State) ->
    case Conns of
        #{N := #conn{status = {answering, Code, at_end}}} -> answer(N, Code, State);
        _ -> State
    end;
told(_Event, State) ->
    State.

%% Our Close frame answers that of the other end.
-spec answer(pos_integer(), sockeye:close_code(), #state{}) -> #state{}.
answer(N, 1006, State) -> over(N, none, State);
answer(N, Code, State) -> over(N, {close, Code, <<>>}, State).

%% We close: the other end answers when the handler has done what it is at.
-spec closing(pos_integer(), sockeye:close_code(), binary(), #state{}) -> #state{}.
closing(N, Code, Reason, #state{conns = Conns, answers = Answers} = State) ->
    #{N := #conn{status = Status} = Conn} = Conns,
    Answer = [{N, left(Code, Reason, Conn)} || Status =:= open],
    over(N, {close, Code, Reason}, State#state{answers = Answer ++ Answers}).

-spec left(sockeye:close_code(), binary(), #conn{}) -> sockeye_backend:left().
left(Code, Reason, #conn{info = #{peer := Peer, path := Path}}) ->
    {closed, Code, Reason, sockeye_log:packed(Peer, Path)}.

-spec over(pos_integer(), sockeye_test_frames:seen() | none, #state{}) -> #state{}.
over(N, Last, #state{conns = Conns} = State) ->
    #{N := #conn{watchers = Watchers} = Conn} = Conns,
    lists:foreach(fun(Pid) -> Pid ! {sockeye_down, conn(N)} end, Watchers),
    Ended = Conn#conn{status = closed, topics = #{}, held = [], watchers = [], stream = none},
    put_conn(N, case Last of none -> Ended; _ -> got(Last, Ended) end, State).

%% ---------------------------------------------------------------- out

%% As the handler's process hands them over.
-spec done([term()], pid(), [sockeye_backend:conn_error()], #state{}) -> {[sockeye_backend:conn_error()], #state{}}.
done([Noted, Command | Rest], By, Errors, State) ->
    Conn = case Noted of {_, _, To} -> To; _ -> Noted end,
    case do(Command, Conn, By, State) of
        {ok, Later} -> done(Rest, By, Errors, Later);
        {{error, Reason}, Later} -> done(Rest, By, [{Noted, Command, Reason} | Errors], Later)
    end;
done([], _By, Errors, State) ->
    {lists:reverse(Errors), State}.

-spec do(term(), term(), pid(), #state{}) -> {ok | {error, sockeye_backend:refusal() | badarg}, #state{}}.
do(Command, {sockeye_conn, {Pid, N}}, By, #state{conns = Conns} = State) when Pid =:= self() ->
    case {Conns, Command} of
        {#{N := #conn{status = closed}}, {active, _}} -> {ok, State};
        {#{N := #conn{status = closed}}, _} -> {{error, closed}, State};
        {#{N := Conn}, {active, Active}} ->
            case sockeye_args:wrong(active, Active) of
                none -> {ok, released(N, active(Active, Conn), note({active, conn(N), Active}, State))};
                _ -> {{error, badarg}, State}
            end;
        {#{N := _}, Frame} -> sent_all([Frame], N, By, State);
        _ -> {{error, closed}, State}
    end;
%% A connection of another server.
do(_Command, {sockeye_conn, _}, _By, State) ->
    {{error, closed}, State};
do(_Command, _NoConn, _By, State) ->
    {{error, badarg}, State}.

%% All of them or none.
-spec sent_all([term()], pos_integer(), pid(), #state{}) -> {ok | {error, sockeye_backend:refusal() | badarg}, #state{}}.
sent_all(Frames, N, By, #state{config = Config} = State) ->
    Seen = [{Frame, sockeye_test_frames:sent(one, Frame, Config)} || Frame <- Frames],
    case [Reason || {_, {error, Reason}} <- Seen] of
        [] -> sent(Seen, N, By, State);
        [Reason | _] -> {{error, Reason}, State}
    end.

-spec sent([{sockeye:frame(), {ok, sockeye_test_frames:seen()}}], pos_integer(), pid(), #state{}) ->
          {ok | {error, sockeye_backend:refusal()}, #state{}}.
sent([{Frame, {ok, Seen}} | Rest], N, By, #state{conns = Conns} = State) ->
    #{N := Conn} = Conns,
    case {Seen, Conn} of
        {_, #conn{status = closed}} -> {{error, closed}, State};
        {{close, Code, Reason}, _} -> sent(Rest, N, By, closing(N, Code, Reason, note({close, conn(N), Code, Reason}, State)));
        {_, #conn{busy = true}} -> {{error, busy}, State};
        _ ->
            case streamed(Seen, By, Conn) of
                {ok, Later} -> sent(Rest, N, By, put_conn(N, Later, note({send, conn(N), Frame}, State)));
                Error -> {Error, State}
            end
    end;
sent([], _N, _By, State) ->
    {ok, State}.

-spec streamed(sockeye_test_frames:seen(), pid(), #conn{}) -> {ok, #conn{}} | {error, streaming | not_streaming}.
streamed({stream, Kind, first, Data}, By, #conn{stream = none} = Conn) ->
    {ok, Conn#conn{stream = {By, Kind, Data, []}}};
streamed({stream, _Kind, first, _Data}, _By, _Conn) ->
    {error, streaming};
streamed({stream, Kind, more, Data}, By, #conn{stream = {By, Kind, Before, Waiting}} = Conn) ->
    {ok, Conn#conn{stream = {By, Kind, [Before, Data], Waiting}}};
streamed({stream, Kind, last, Data}, By, #conn{stream = {By, Kind, Before, Waiting}} = Conn) ->
    Whole = {Kind, iolist_to_binary([Before, Data])},
    {ok, lists:foldl(fun got/2, got(Whole, Conn#conn{stream = none}), lists:reverse(Waiting))};
streamed({stream, _Kind, _Place, _Data}, _By, _Conn) ->
    {error, not_streaming};
streamed(Seen, _By, Conn) ->
    {ok, got(Seen, Conn)}.

-spec got(sockeye_test_frames:seen(), #conn{}) -> #conn{}.
got({Kind, _} = Seen, #conn{stream = {By, Of, Data, Waiting}} = Conn) when Kind =/= ping, Kind =/= pong ->
    Conn#conn{stream = {By, Of, Data, [Seen | Waiting]}};
got(Seen, #conn{got = Got} = Conn) ->
    Conn#conn{got = [Seen | Got]}.

-spec published(all | sockeye:topic(), sockeye:frame(), sockeye:conn() | none, #state{}) ->
          {{ok, sockeye:outcome()} | {error, sockeye_backend:refusal() | badarg}, #state{}}.
published(To, Frame, Except, #state{config = Config, conns = Conns} = State) ->
    case sockeye_test_frames:sent(many, Frame, Config) of
        {ok, Seen} ->
            {Busy, Free} = lists:partition(fun(N) -> (map_get(N, Conns))#conn.busy end,
                                           [N || N <- receivers(To, State), conn(N) =/= Except]),
            Later = lists:foldl(fun(N, In) -> put_conn(N, got(Seen, map_get(N, Conns)), In) end, State, Free),
            {{ok, #{sent => length(Free), dropped => length(Busy)}}, note(publication(To, Frame, Except), Later)};
        Error ->
            {Error, State}
    end.

-spec publication(all | sockeye:topic(), sockeye:frame(), sockeye:conn() | none) -> act().
publication(all, Frame, none) -> {broadcast, Frame};
publication(all, Frame, Except) -> {broadcast_from, Except, Frame};
publication(Topic, Frame, none) -> {publish, Topic, Frame};
publication(Topic, Frame, Except) -> {publish_from, Except, Topic, Frame}.

-spec receivers(all | sockeye:topic(), #state{}) -> [pos_integer()].
receivers(To, #state{conns = Conns}) ->
    lists:sort([N || {N, #conn{status = Status, topics = Topics}} <- maps:to_list(Conns), Status =/= closed,
                     To =:= all orelse lists:any(fun(Topic) -> matches(To, Topic) end, maps:keys(Topics))]).

-spec matches(sockeye:topic(), sockeye:topic()) -> boolean().
matches(Topic, Topic) -> true;
matches(Topic, Pattern) ->
    Size = byte_size(Pattern) - 1,
    case {Pattern, Topic} of
        {<<Prefix:Size/binary, $*>>, <<Prefix:Size/binary, _/binary>>} -> true;
        _ -> false
    end.
