%% @private
%% Delivers events to one owner, where the engine is a process of its own: what `sockeye_delivery' does with the library.
-module(sockeye_port_delivery).

-export([start_link/2]).
-export([stop/1]).
-export([settle/2]).
-export([new_table/0]).
-export([new_run/0]).
-export([deserted/2]).
-export([init/3]).
-export([loop/1]).

%% {{Delivery, Conn}}: connections whose `open' the owner has, and whose `closed' it has not. The table outlives a delivery process that is killed.
-define(OPEN, sockeye_port_open).

-record(c,
        {link :: pid(),
         owner :: pid(),
         %% All events of a connection that stand together make one message.
         batch :: boolean(),
         %% Messages that were sent.
         sent :: counters:counters_ref()}).

%% `none' if the node has no room for one more process.
-spec start_link(pid(), boolean()) -> pid() | none.
start_link(Owner, Batch) ->
    Args = [self(), Owner, Batch],
    sockeye_processes:start(fun() -> proc_lib:spawn_link(?MODULE, init, Args) end).

%% The owner is dead, or not the engine's matter any more.
-spec stop(pid()) -> ok.
stop(Delivery) ->
    Delivery ! stop,
    ok.

%% Returns when these have brought what was theirs to bring, of a connection that has another owner now as well.
-spec settle([pid()], none | {sockeye:conn(), Owner :: pid()}) -> ok.
settle([], _Given) ->
    ok;
settle(Deliveries, Given) ->
    %% Another process waits for them, since the mailbox of this one may be long.
    try spawn_monitor(fun() -> settled(Deliveries, Given) end) of
        {_, Ref} -> receive {'DOWN', Ref, process, _, _} -> ok end
    catch
        error:system_limit -> settled(Deliveries, Given)
    end.

-spec settled([pid()], none | {sockeye:conn(), Owner :: pid()}) -> ok.
settled(Deliveries, Given) ->
    Waiting = [begin
                   Ref = monitor(process, Delivery, [{alias, reply_demonitor}]),
                   Delivery ! {settle, Ref, Given},
                   Ref
               end || Delivery <- Deliveries],
    lists:foreach(fun(Ref) ->
                          receive
                              {Ref, settled} -> ok;
                              {'DOWN', Ref, process, _, _} -> ok
                          end
                  end, Waiting).

-spec new_table() -> ok.
new_table() ->
    _ = ets:new(?OPEN, [named_table, public, ordered_set, {write_concurrency, true}]),
    ok.

%% Delivery processes of earlier runs deliver only `closed'.
-spec new_run() -> ok.
new_run() ->
    true = ets:delete_all_objects(?OPEN),
    ok.

%% The delivery process of this owner is dead, and the events that it had are lost. The owner is told that its connections have ended: returns how many.
-spec deserted(pid(), pid()) -> non_neg_integer().
deserted(Delivery, Owner) ->
    Conns = ets:select(?OPEN, [{{{Delivery, '$1'}}, [], ['$1']}]),
    lists:foreach(fun(Conn) ->
                          true = ets:delete(?OPEN, {Delivery, Conn}),
                          Owner ! {sockeye, Conn, {closed, 1011, <<"handler died">>}}
                  end, Conns),
    length(Conns).

-spec init(pid(), pid(), boolean()) -> no_return().
init(Link, Owner, Batch) ->
    %% What the link has sent before its end is brought.
    process_flag(trap_exit, true),
    ok = sockeye_label:set({sockeye_port_delivery, Owner}),
    loop(#c{link = Link, owner = Owner, batch = Batch, sent = counters:new(1, [])}).

-spec loop(#c{}) -> no_return().
loop(#c{link = Link} = C) ->
    receive
        {sockeye_batch, _, _, _, _} = Batch ->
            {Events, _} = sockeye_port_batch:take(Batch),
            Left = sockeye_port_batch:left_by(Batch, Events, many),
            bring(Events, C),
            ok = sockeye_port_batch:served([], 0),
            ok = sockeye_port_batch:left(Left);
        {sockeye_lost, _} ->
            bring(sockeye_port_batch:lost(), C),
            ended();
        {'EXIT', Link, _} ->
            bring(sockeye_port_batch:lost(), C),
            ended();
        {sockeye_given, Conn} ->
            ok = note(Conn),
            ok = sockeye_port_batch:given(Conn);
        {settle, Ref, Given} ->
            ok = given_away(Given, C),
            Ref ! {Ref, settled};
        stop ->
            ended();
        {system, From, Request} ->
            sockeye_sys:message(Request, From, Link, ?MODULE, C);
        _ ->
            ok
    end,
    ?MODULE:loop(C).

%% An owner that is dead was told of no end.
-spec ended() -> no_return().
ended() ->
    ok = in_table(fun() -> ets:match_delete(?OPEN, {{self(), '_'}}) end),
    exit(normal).

-spec given_away(none | {sockeye:conn(), pid()}, #c{}) -> ok.
given_away({Conn, Other}, #c{owner = Owner}) when Other =/= Owner ->
    ok = strike(Conn),
    sockeye_port_batch:given_away(Conn);
given_away(_, _C) -> ok.

-spec bring(list(), #c{}) -> ok.
bring([Conn, {ending, Timeout} | Rest], #c{owner = Owner, sent = Sent} = C) ->
    ok = sockeye_mailbox:watch([{Sent, Owner, counters:get(Sent, 1), Timeout, [Conn]}]),
    bring(Rest, C);
bring([Conn, Event | Rest], #c{batch = true} = C) ->
    {More, Others} = together(Rest, Conn, []),
    case More of
        [] -> send(Conn, plain(Event, Conn), C);
        _ -> send(Conn, {batch, [plain(Event, Conn) | More]}, C)
    end,
    bring(Others, C);
bring([Conn, Event | Rest], C) ->
    send(Conn, plain(Event, Conn), C),
    bring(Rest, C);
bring([], _C) ->
    ok.

-spec together(list(), sockeye:conn(), [sockeye:event()]) -> {[sockeye:event()], list()}.
together([Conn, Event | Rest], Conn, Events) when element(1, Event) =/= ending ->
    together(Rest, Conn, [plain(Event, Conn) | Events]);
together(Rest, _Conn, Events) ->
    {lists:reverse(Events), Rest}.

-spec plain(term(), sockeye:conn()) -> sockeye:event().
plain({closed, Code, Reason, _Who}, Conn) -> plain({closed, Code, Reason}, Conn);
plain({closed, _, _} = Event, Conn) -> ok = strike(Conn), Event;
plain({open, _} = Event, Conn) -> ok = note(Conn), Event;
plain(Event, _Conn) -> Event.

-spec note(sockeye:conn()) -> ok.
note(Conn) ->
    in_table(fun() -> ets:insert(?OPEN, {{self(), Conn}}) end).

-spec strike(sockeye:conn()) -> ok.
strike(Conn) ->
    in_table(fun() -> ets:delete(?OPEN, {self(), Conn}) end).

%% The table ends with the link, before the delivery processes do.
-spec in_table(fun(() -> true)) -> ok.
in_table(Change) ->
    try Change() of
        true -> ok
    catch
        error:badarg -> ok
    end.

-spec send(sockeye:conn(), term(), #c{}) -> ok.
send(Conn, Event, #c{owner = Owner, sent = Sent}) ->
    Owner ! {sockeye, Conn, Event},
    counters:add(Sent, 1, 1).
