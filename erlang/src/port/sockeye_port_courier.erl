%% @private
%% Brings one plain process its messages, where the engine is a process of its own.
-module(sockeye_port_courier).

-export([start_link/2]).
-export([stop/1]).
-export([settle/2]).
-export([init/3]).
-export([loop/1]).

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
stop(Courier) ->
    Courier ! stop,
    ok.

%% Returns when these have brought what was theirs to bring, of a connection that has another owner now as well.
-spec settle([pid()], none | {sockeye:conn(), Owner :: pid()}) -> ok.
settle(Couriers, Given) ->
    Waiting = [begin
                   Ref = monitor(process, Courier, [{alias, reply_demonitor}]),
                   Courier ! {settle, Ref, Given},
                   Ref
               end || Courier <- Couriers],
    lists:foreach(fun(Ref) ->
                          receive
                              {Ref, settled} -> ok;
                              {'DOWN', Ref, process, _, _} -> ok
                          end
                  end, Waiting).

-spec init(pid(), pid(), boolean()) -> no_return().
init(Link, Owner, Batch) ->
    %% What the link has sent before its end is brought.
    process_flag(trap_exit, true),
    loop(#c{link = Link, owner = Owner, batch = Batch, sent = counters:new(1, [])}).

-spec loop(#c{}) -> no_return().
loop(#c{link = Link} = C) ->
    receive
        {sockeye_batch, _, _, _, _} = Batch ->
            {Events, _} = sockeye_port_batch:take(Batch),
            bring(Events, C),
            ok = sockeye_port_batch:served([], 0);
        {sockeye_lost, _} ->
            bring(sockeye_port_batch:lost(), C),
            exit(normal);
        {'EXIT', Link, _} ->
            bring(sockeye_port_batch:lost(), C),
            exit(normal);
        {sockeye_given, Conn} ->
            ok = sockeye_port_batch:given(Conn);
        {settle, Ref, Given} ->
            ok = given_away(Given, C),
            Ref ! {Ref, settled};
        stop ->
            exit(normal);
        {system, From, Request} ->
            sockeye_sys:message(Request, From, Link, ?MODULE, C);
        _ ->
            ok
    end,
    ?MODULE:loop(C).

-spec given_away(none | {sockeye:conn(), pid()}, #c{}) -> ok.
given_away({Conn, Other}, #c{owner = Owner}) when Other =/= Owner -> sockeye_port_batch:given_away(Conn);
given_away(_, _C) -> ok.

-spec bring(list(), #c{}) -> ok.
bring([Conn, {ending, Timeout} | Rest], #c{owner = Owner, sent = Sent} = C) ->
    ok = sockeye_mailbox:watch([{Sent, Owner, counters:get(Sent, 1), Timeout, [Conn]}]),
    bring(Rest, C);
bring([Conn, Event | Rest], #c{batch = true} = C) ->
    {More, Others} = together(Rest, Conn, []),
    case More of
        [] -> send(Conn, plain(Event), C);
        _ -> send(Conn, {batch, [plain(Event) | More]}, C)
    end,
    bring(Others, C);
bring([Conn, Event | Rest], C) ->
    send(Conn, plain(Event), C),
    bring(Rest, C);
bring([], _C) ->
    ok.

-spec together(list(), sockeye:conn(), [sockeye:event()]) -> {[sockeye:event()], list()}.
together([Conn, Event | Rest], Conn, Events) when element(1, Event) =/= ending ->
    together(Rest, Conn, [plain(Event) | Events]);
together(Rest, _Conn, Events) ->
    {lists:reverse(Events), Rest}.

-spec plain(term()) -> sockeye:event().
plain({closed, Code, Reason, _Who}) -> {closed, Code, Reason};
plain(Event) -> Event.

-spec send(sockeye:conn(), term(), #c{}) -> ok.
send(Conn, Event, #c{owner = Owner, sent = Sent}) ->
    Owner ! {sockeye, Conn, Event},
    counters:add(Sent, 1, 1).
