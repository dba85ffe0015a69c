%% @private
%% The engine as a process of its own: starts it, reads from its socket, and starts it again when it has ended.
%%
%% Batches and answers go to their process as bytes, and that process decodes them. Other bytes that are wrong end the engine, and
%% harm nothing else here.
-module(sockeye_link).
-behaviour(gen_server).

-export([start_link/1]).
-export([stop/0]).
-export([run/0]).
-export([last_run/0]).
-export([facts/0]).
-export([descriptors/0]).
-export([hosts/0]).
-export([deliveries/0]).
-export([deliveries/1]).
-export([allow/1]).
-export([broken/2]).

-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).
-export([terminate/2]).

%% What all may know of the run: {facts, Facts}, {descriptors, Most}, and {{delivery, Owner, Delivery}}.
-define(TABLE, ?MODULE).
%% Packets that are read before this process is asked for more.
-define(ACTIVE, 32).
%% Each second it is asked to show that all its threads come by. One that leaves as many questions open as it may be silent for
%% seconds hangs. They are counted, since a node that stood still itself knows nothing of the time.
-define(PING_MS, 1000).
%% Pauses before a start that follows one that failed, or a short life.
-define(FIRST_PAUSE_MS, 100).
-define(LAST_PAUSE_MS, 5000).
-define(SHORT_LIFE_MS, 250).

-type role() :: engine | host | handler | acceptor | plain | plain_batch | gate | other.

%% While the engine is down, there is no port.
-record(state,
        {owner :: pid(),
         config :: map(),
         run = 0 :: non_neg_integer(),
         port :: port() | undefined,
         socket :: gen_tcp:socket() | undefined,
         writer :: pid() | undefined,
         began = 0 :: integer(),
         %% Starts since the engine has last lived for a while.
         failed = 0 :: non_neg_integer(),
         %% Of handlers and acceptors, which are as many as connections, as little as can be.
         ids = #{} :: #{sockeye_wire:id() => pid() | {role(), pid()}},
         %% Delivery processes, and their owners.
         deliveries = #{} :: #{pid() => pid()},
         pieces = sockeye_port_pieces:new() :: sockeye_port_pieces:pieces(),
         %% Bytes that may still come before what they have left is collected.
         left = sockeye_port_gc:first() :: pos_integer(),
         told = sockeye_port_mailboxes:new() :: sockeye_port_mailboxes:sent(),
         pinged = 0 :: non_neg_integer(),
         ponged = 0 :: non_neg_integer(),
         output = sockeye_port_output:new() :: sockeye_port_output:output()}).

%% Linked to the caller, which is the owner of the engine.
-spec start_link(#{shards := pos_integer(), atoms := #{atom() => non_neg_integer()}, _ => _}) -> gen_server:start_ret().
start_link(Config) ->
    %% Not started as its child: the end of that would be reported as a crash here as well.
    gen_server:start({local, ?MODULE}, ?MODULE, {self(), Config}, [{timeout, infinity}]).

%% Returns when the engine has ended. It has been told to.
-spec stop() -> ok.
stop() ->
    try gen_server:stop(?MODULE, shutdown, infinity)
    catch exit:_ -> ok
    end.

%% The run that there is, or `none'.
-spec run() -> sockeye_link_writer:run() | none.
run() ->
    case facts() of
        #{run := Run} -> Run;
        none -> none
    end.

%% The run that there is, or a number below that of the next one.
-spec last_run() -> non_neg_integer().
last_run() ->
    case run() of
        none -> 0;
        Run -> Run
    end.

-spec facts() -> #{run := pos_integer(), os_pid := non_neg_integer()} | none.
facts() ->
    try ets:lookup(?TABLE, facts) of
        [{facts, Facts}] -> Facts;
        [] -> none
    catch error:badarg -> none
    end.

%% So many may be open in the engine's process, or in the last one's.
-spec descriptors() -> pos_integer() | infinity.
descriptors() ->
    try ets:lookup_element(?TABLE, descriptors, 2)
    catch error:badarg -> infinity
    end.

%% The processes of all servers and clients.
-spec hosts() -> [pid()].
hosts() ->
    try gen_server:call(?MODULE, hosts, infinity)
    catch exit:_ -> []
    end.

%% The delivery processes of all owners.
-spec deliveries() -> [pid()].
deliveries() ->
    try gen_server:call(?MODULE, deliveries, infinity)
    catch exit:_ -> []
    end.

%% Those of one owner.
-spec deliveries(pid()) -> [pid()].
deliveries(Owner) ->
    try ets:select(?TABLE, [{{{delivery, Owner, '$1'}}, [], ['$1']}])
    catch error:badarg -> []
    end.

%% Messages of so many bytes are expected.
-spec allow(non_neg_integer()) -> ok.
allow(Bytes) ->
    gen_server:cast(?MODULE, {allow, Bytes}).

%% The engine of this run has said what makes no sense.
-spec broken(sockeye_link_writer:run(), binary()) -> ok.
broken(Run, Why) ->
    gen_server:cast(?MODULE, {broken, Run, Why}).

-spec init({pid(), map()}) -> {ok, #state{}} | {stop, term()}.
init({Owner, Config}) ->
    process_flag(trap_exit, true),
    true = link(Owner),
    %% All that the engine says comes through here, the signs of its life as well. Little is done for each of it, and there is
    %% never more of it than processes have served.
    _ = process_flag(priority, high),
    _ = ets:new(?TABLE, [named_table, protected, ordered_set, {read_concurrency, true}]),
    ok = sockeye_port_restore:new_table(),
    ok = sockeye_port_grants:new_table(),
    ok = sockeye_port_delivery:new_table(),
    case start(#state{owner = Owner, config = Config}) of
        {ok, State} -> {ok, State};
        {error, Reason} -> {stop, Reason}
    end.

-spec start(#state{}) -> {ok, #state{}} | {error, term()}.
start(#state{owner = Owner, config = Config, run = Last} = State) ->
    case sockeye_executable:start(sockeye_wire:call(<<>>, Owner, engine_start, [Config])) of
        {ok, #{port := Port, socket := Socket} = Engine} ->
            case sockeye_link_writer:start_link(Last + 1, Socket) of
                none ->
                    ok = sockeye_executable_end:stopped(Port, Socket),
                    {error, {sockeye_port, <<>>, <<"The engine's process was ended again: the node has as many processes as it may have">>}};
                Writer ->
                    up(Engine, State#state{run = Last + 1, port = Port, socket = Socket, writer = Writer})
            end;
        {error, Reason} ->
            {error, Reason}
    end.

-spec up(sockeye_executable:engine(), #state{}) -> {ok, #state{}}.
up(#{os_pid := OsPid, descriptors := Descriptors, came := Came}, #state{run = Run, socket = Socket} = State) ->
    true = ets:match_delete(?TABLE, {{delivery, '_', '_'}}),
    ok = sockeye_port_delivery:new_run(),
    true = ets:insert(?TABLE, [{facts, #{run => Run, os_pid => OsPid}}, {descriptors, Descriptors}]),
    _ = erlang:send_after(?PING_MS, self(), {ping, Run}),
    case packets(Came, State#state{began = now_ms(), ponged = 0, pinged = 0}) of
        {ok, Next} ->
            ok = inet:setopts(Socket, [{active, ?ACTIVE}]),
            {ok, Next};
        {broken, Why, Next} ->
            %% Its end is seen to as any other.
            ok = broken(Run, Why),
            {ok, Next}
    end.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(hosts, _From, #state{ids = Ids} = State) ->
    {reply, lists:usort([Pid || {host, Pid} <- maps:values(Ids)] ++ sockeye_port_restore:hosts()), State};
handle_call(deliveries, _From, #state{deliveries = Deliveries} = State) ->
    {reply, maps:keys(Deliveries), State};
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({allow, Bytes}, #state{pieces = Pieces} = State) ->
    {noreply, State#state{pieces = sockeye_port_pieces:allow(Bytes, Pieces)}};
handle_cast({broken, Run, Why}, #state{run = Run, port = Port} = State) when is_port(Port) ->
    {noreply, lost({protocol, Why}, State)};
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}} | {stop, term(), #state{}}.
handle_info({tcp, Socket, Packet}, #state{socket = Socket} = State) ->
    case packet(Packet, State) of
        {ok, Next} -> {noreply, Next#state{left = sockeye_port_gc:passed(byte_size(Packet), Next#state.left)}};
        {broken, Why, Next} -> {noreply, lost({protocol, Why}, Next)}
    end;
handle_info({tcp_passive, Socket}, #state{socket = Socket} = State) ->
    _ = inet:setopts(Socket, [{active, ?ACTIVE}]),
    {noreply, State};
handle_info({sockeye_died, Id}, State) ->
    {noreply, forget(Id, State)};
handle_info({ping, Run}, #state{run = Run, port = Port} = State) when is_port(Port) ->
    {noreply, ping(State)};
handle_info({Port, {data, {_, Line}}}, #state{port = Port, output = Output} = State) ->
    case sockeye_port_output:add(Line, Output) of
        too_many -> {noreply, lost({protocol, <<"more than 1000 lines a second">>}, State)};
        Added -> {noreply, State#state{output = Added}}
    end;
handle_info({Port, {exit_status, Status}}, #state{port = Port} = State) ->
    {noreply, lost({exit_status, Status}, State)};
handle_info({tcp_closed, Socket}, #state{socket = Socket} = State) ->
    {noreply, lost(closed, State)};
handle_info({tcp_error, Socket, emsgsize}, #state{socket = Socket} = State) ->
    {noreply, lost({protocol, <<"a packet longer than 1 MiB">>}, State)};
handle_info({tcp_error, Socket, Reason}, #state{socket = Socket} = State) ->
    {noreply, lost({socket, Reason}, State)};
handle_info({'EXIT', Owner, Reason}, #state{owner = Owner} = State) ->
    {stop, {shutdown, Reason}, State};
handle_info({'EXIT', Writer, Reason}, #state{writer = Writer} = State) ->
    {noreply, lost({socket, Reason}, State)};
handle_info({'EXIT', Pid, Reason}, #state{deliveries = Deliveries} = State) when is_map_key(Pid, Deliveries) ->
    {Owner, Others} = maps:take(Pid, Deliveries),
    true = ets:delete(?TABLE, {delivery, Owner, Pid}),
    Reason =:= normal orelse deserted(Pid, Owner, Reason, State),
    {noreply, State#state{deliveries = Others}};
handle_info({begin_all, Run}, #state{run = Run, port = Port} = State) when is_port(Port) ->
    ok = begin_all(State),
    {noreply, State};
handle_info({start, Run}, #state{run = Run, port = undefined} = State) ->
    {noreply, start_again(State)};
handle_info(_Message, State) ->
    {noreply, State}.

-spec packets([binary()], #state{}) -> {ok, #state{}} | {broken, binary(), #state{}}.
packets([Packet | Rest], State) ->
    case packet(Packet, State) of
        {ok, Next} -> packets(Rest, Next);
        Broken -> Broken
    end;
packets([], State) ->
    {ok, State}.

-spec packet(binary(), #state{}) -> {ok, #state{}} | {broken, binary(), #state{}}.
packet(Packet, State) ->
    case sockeye_wire:next(Packet) of
        {Came, Rest} ->
            case came(Came, State) of
                #state{} = Next -> packet(Rest, Next);
                {broken, Why} -> {broken, Why, State}
            end;
        none ->
            {ok, State};
        error ->
            {broken, <<"a packet that is not made of whole sections">>, State}
    end.

-spec came(term(), #state{}) -> #state{} | {broken, binary()}.
came({batch, Id, Flags, Events}, #state{ids = Ids, run = Run, pieces = Pieces} = State) ->
    case Ids of
        #{Id := Known} ->
            case sockeye_port_flow:brought(Id, iolist_size(Events), map_size(Ids), sockeye_port_pieces:largest(Pieces)) of
                true -> known(Known) ! {sockeye_batch, Run, Id, Flags, Events}, State;
                false -> {broken, <<"more batches than it may send">>}
            end;
        _ ->
            State
    end;
came({answer, <<>>, _}, State) ->
    State;
came({answer, From, Answer}, State) ->
    case sockeye_wire:term(From) of
        {ok, Ref} when is_reference(Ref) -> Ref ! {Ref, Answer}, State;
        _ -> {broken, <<"an answer to nobody">>}
    end;
came({message, 0, Message}, State) ->
    case sockeye_wire:term(Message) of
        {ok, {sockeye_whereis, ServerId, Name, Conn}} when is_atom(Name) -> tell_owner(ServerId, Name, Conn, State);
        _ -> {broken, <<"a question that is none">>}
    end;
came({message, Id, Message}, #state{ids = Ids} = State) ->
    case {Ids, sockeye_wire:term(Message)} of
        {#{Id := Known}, {ok, Term}} ->
            Pid = known(Known),
            Pid ! Term,
            case sockeye_port_mailboxes:sent(Pid, iolist_size(Message), State#state.told) of
                too_many -> {broken, <<"more messages than a process takes">>};
                Told -> State#state{told = Told}
            end;
        {_, {ok, _}} -> State;
        {_, error} -> {broken, <<"a message that is no term">>}
    end;
came({watch, Id, Whom}, State) ->
    case sockeye_wire:term(Whom) of
        {ok, {Role, Pid, Host}} when is_atom(Role), is_pid(Pid), is_integer(Host) ->
            watch(Id, Role, Pid, Host, State);
        _ -> {broken, <<"a process that is none">>}
    end;
came({unwatch, Id}, #state{writer = Writer} = State) ->
    ok = sockeye_link_writer:unwatch(Writer, Id),
    forget(Id, State);
came({grant, Conn, Bytes}, State) ->
    ok = sockeye_port_grants:set(Conn, Bytes),
    State;
came({pong, N}, #state{pinged = Pinged, ponged = Ponged} = State) when N =< Pinged ->
    State#state{ponged = max(N, Ponged)};
came({pong, _}, _State) ->
    {broken, <<"an answer to a ping that was not sent">>};
came({piece, Stream, Bytes}, #state{pieces = Pieces} = State) ->
    case sockeye_port_pieces:add(Stream, Bytes, Pieces) of
        error -> {broken, <<"more in pieces than there can be">>};
        More -> State#state{pieces = More}
    end;
came({last, Stream, Kind, Bytes}, #state{pieces = Pieces} = State) ->
    case sockeye_port_pieces:last(Stream, Bytes, Pieces) of
        error ->
            {broken, <<"the last piece of nothing">>};
        {Whole, Rest} ->
            case sockeye_wire:whole(Kind, Whole) of
                error -> {broken, <<"pieces that make no section">>};
                Came -> came(Came, State#state{pieces = Rest})
            end
    end.

%% The process that is registered as the owner of a server now, for a new connection.
-spec tell_owner(sockeye_backend:server_id(), atom(), sockeye:conn(), #state{}) -> #state{}.
tell_owner(ServerId, Name, Conn, #state{run = Run} = State) ->
    Owner = case whereis(Name) of
                Pid when is_pid(Pid) -> Pid;
                _ -> none
            end,
    _ = sockeye_link_writer:post(Run, sockeye_wire:cast(self(), owner_is, [ServerId, Conn, Owner])),
    State.

-spec watch(sockeye_wire:id(), role(), pid(), sockeye_wire:id(), #state{}) -> #state{}.
watch(Id, Role, Pid, Host, #state{ids = Ids, deliveries = Deliveries, writer = Writer} = State) ->
    %% The engine gives up those of other roles only.
    IsUntilDead = Role =:= handler orelse Role =:= acceptor,
    ok = sockeye_link_writer:watch(Writer, Id, Pid, Host, case IsUntilDead of true -> until_dead; false -> known end),
    case Role =:= plain orelse Role =:= plain_batch of
        false when IsUntilDead ->
            State#state{ids = Ids#{Id => Pid}};
        true ->
            case sockeye_port_delivery:start_link(Pid, Role =:= plain_batch) of
                none ->
                    sockeye_log:event(error, engine, no_process, #{reason => system_limit}),
                    ok = sockeye_link_writer:give_up(Writer, Id),
                    State;
                Delivery ->
                    true = ets:insert(?TABLE, {{delivery, Pid, Delivery}}),
                    State#state{ids = Ids#{Id => {Role, Delivery}}, deliveries = Deliveries#{Delivery => Pid}}
            end;
        false ->
            State#state{ids = Ids#{Id => {Role, Pid}}}
    end.

%% For the engine the owner is dead, and another one from its next connection on.
-spec deserted(pid(), pid(), term(), #state{}) -> ok.
deserted(Delivery, Owner, Reason, #state{ids = Ids, writer = Writer}) ->
    Count = sockeye_port_delivery:deserted(Delivery, Owner),
    _ = [sockeye_link_writer:give_up(Writer, Id) || {Id, {_, Known}} <- maps:to_list(Ids), Known =:= Delivery],
    sockeye_log:event(error, engine, delivery_killed, #{owner => Owner, reason => Reason, count => Count}).

-spec known(pid() | {role(), pid()}) -> pid().
known({_, Pid}) -> Pid;
known(Pid) -> Pid.

-spec forget(sockeye_wire:id(), #state{}) -> #state{}.
forget(Id, #state{ids = Ids, deliveries = Deliveries} = State) ->
    case maps:take(Id, Ids) of
        {Known, Rest} ->
            ok = sockeye_port_flow:forget(Id),
            is_map_key(known(Known), Deliveries) andalso sockeye_port_delivery:stop(known(Known)),
            State#state{ids = Rest};
        error ->
            State
    end.

-spec ping(#state{}) -> #state{}.
ping(#state{ponged = Ponged, pinged = N} = State) ->
    %% Read each time: who is about to stop the process in a debugger sets it then.
    case sockeye_executable:most_silence() of
        Seconds when N - Ponged >= Seconds -> lost({silent, Seconds}, State);
        _ -> next_ping(State)
    end.

-spec next_ping(#state{}) -> #state{}.
next_ping(#state{run = Run, pinged = N, output = Output} = State) ->
    _ = sockeye_link_writer:post(Run, sockeye_wire:ping(N + 1)),
    _ = erlang:send_after(?PING_MS, self(), {ping, Run}),
    %% Lines right before the end are in the report of that.
    State#state{pinged = N + 1, output = sockeye_port_output:log(Output)}.

%% The engine has ended, or must end. Its processes are told, and it starts again.
-spec lost(term(), #state{}) -> #state{}.
lost(Why, #state{run = Run, began = Began, failed = Failed, port = Port, socket = Socket, output = Output} = State) ->
    ok = no_more(State),
    {How, Lines} = sockeye_executable_end:of_run(Why, Port, Socket, sockeye_port_output:last(Output)),
    Again = case now_ms() - Began < ?SHORT_LIFE_MS of
                true -> Failed;
                false -> 0
            end,
    Pause = pause(Again),
    _ = erlang:send_after(Pause, self(), {start, Run}),
    sockeye_log:event(error, engine, engine_lost, #{how => How, lines => Lines, pause => Pause}),
    down(State#state{failed = Again + 1}).

-spec down(#state{}) -> #state{}.
down(State) ->
    State#state{port = undefined, socket = undefined, writer = undefined, ids = #{}, deliveries = #{},
                pieces = sockeye_port_pieces:fresh(State#state.pieces), output = sockeye_port_output:new()}.

%% Nothing comes from this engine any more. Callers that wait for an answer see the end of the writer.
-spec no_more(#state{}) -> ok.
no_more(#state{ids = Ids, run = Run, writer = Writer}) ->
    true = ets:delete(?TABLE, facts),
    Ref = monitor(process, Writer),
    unlink(Writer),
    exit(Writer, kill),
    receive {'DOWN', Ref, process, _, _} -> ok end,
    ok = sockeye_port_grants:forget_all(),
    ok = sockeye_port_descriptors:engine_gone(),
    %% Servers and clients after their processes, whom they may have to tell as well.
    All = maps:values(Ids),
    Others = [known(Known) || Known <- All, is_pid(Known) orelse not lists:member(element(1, Known), [host, engine])],
    lists:foreach(fun(Pid) -> Pid ! {sockeye_lost, Run} end, lists:usort(Others) ++ [Pid || {host, Pid} <- All]).

-spec pause(non_neg_integer()) -> non_neg_integer().
pause(0) -> 0;
pause(N) -> min(?LAST_PAUSE_MS, ?FIRST_PAUSE_MS bsl min(N - 1, 10)).

-spec start_again(#state{}) -> #state{}.
start_again(#state{run = Run, failed = Failed} = State) ->
    case start(State) of
        {ok, Up} ->
            ok = sockeye_counts:engine_started(),
            ok = begin_all(Up),
            Up;
        {error, Reason} ->
            Pause = pause(Failed),
            _ = erlang:send_after(Pause, self(), {start, Run}),
            sockeye_log:event(error, engine, engine_not_started, #{reason => Reason, pause => Pause}),
            State#state{failed = Failed + 1}
    end.

%% Where there is no room for the process that does it, in a while.
-spec begin_all(#state{}) -> ok.
begin_all(#state{run = Run}) ->
    case sockeye_port_restore:begin_all(Run) of
        none ->
            sockeye_log:event(error, engine, no_process, #{reason => system_limit}),
            _ = erlang:send_after(?LAST_PAUSE_MS, self(), {begin_all, Run}),
            ok;
        _Pid ->
            ok
    end.

%% It has been told to end, or its owner is dead and it learns of that now.
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{port = undefined}) ->
    ok;
terminate(_Reason, #state{port = Port, socket = Socket, deliveries = Deliveries} = State) ->
    ok = no_more(State),
    %% Who hears of the end of the application has heard of its connections.
    ok = sockeye_port_delivery:settle(maps:keys(Deliveries), none),
    sockeye_executable_end:stopped(Port, Socket).

-spec now_ms() -> integer().
now_ms() ->
    erlang:monotonic_time(millisecond).
