%% @private
%% Batches of events, which the engine's process sends to a process of the VM. That process decodes, serves and
%% acknowledges.
%%
%% Each process knows which connections it has been told of and not yet of their end: when the engine is lost
%% it makes their `closed' itself. That is in its process dictionary, where a batch costs no copy of it.
-module(sockeye_port_batch).

-export([opened/2]).
-export([given/1]).
-export([given_away/1]).
-export([take/1]).
-export([left_by/3]).
-export([left/1]).
-export([first/0]).
-export([served/2]).
-export([lost/0]).
-export([sender/0]).

-export_type([came/0]).

-define(KEY, '$sockeye_port').
-define(LOST, <<"engine lost">>).
%% Bytes of batches that the calling process may still serve before it collects what they have left, where it serves many connections.
-define(PASSED, '$sockeye_passed').
%% Bytes of an event, on the average of a batch.
-define(HEAVY, 256).
%% A worker of a client waits no longer for what is on its way.
-define(FIRST_MS, 1000).

-type came() :: {sockeye_batch, sockeye_link_writer:run(), sockeye_wire:id(), sockeye_wire:flags(), iodata()}.

-type open() :: #{sockeye:conn() => sockeye_log:who()}.

%% The engine of this run knows the calling process by this number.
-spec opened(sockeye_link_writer:run(), sockeye_wire:id()) -> ok.
opened(Run, Id) ->
    _ = put(?KEY, {Run, Id, open()}),
    ok.

-spec known(sockeye_link_writer:run(), sockeye_wire:id()) -> ok.
known(Run, Id) ->
    case get(?KEY) of
        {Run, Id, _} -> ok;
        _ -> opened(Run, Id)
    end.

%% A connection that was another process's is the calling one's now: of a plain process, which is not told who the peer was.
-spec given(sockeye:conn()) -> ok.
given(Conn) ->
    change(fun(Open) -> Open#{Conn => <<>>} end).

-spec given_away(sockeye:conn()) -> ok.
given_away(Conn) ->
    change(fun(Open) -> maps:remove(Conn, Open) end).

-spec change(fun((open()) -> open())) -> ok.
change(Change) ->
    {Run, Id} = sender(),
    _ = put(?KEY, {Run, Id, Change(open())}),
    ok.

-spec open() -> open().
open() ->
    case get(?KEY) of
        {_, _, Open} -> Open;
        undefined -> #{}
    end.

%% The events of a batch, and whether there are more behind it.
-spec take(came()) -> {sockeye_backend:batch(), boolean()}.
take({sockeye_batch, Run, Id, Flags, Bytes}) ->
    ok = sockeye_port_flow:taken(Id, iolist_size(Bytes)),
    try
        {ok, Events} = sockeye_wire:events(Bytes),
        _ = case Flags band 2 of
                0 -> known(Run, Id);
                2 -> put(?KEY, {Run, Id, noted(Events, open())})
            end,
        {with_keys(Flags, Events), Flags band 1 =:= 1}
    catch
        error:_ ->
            ok = sockeye_link:broken(Run, <<"a batch that is none">>),
            {[], false}
    end.

%% What the process of one connection, or of many, is to do when it has served this batch: a minor collection where that pays.
-spec left_by(came(), sockeye_backend:batch(), one | many) -> boolean() | pos_integer().
left_by({sockeye_batch, _, _, _, Bytes}, Events, one) -> iolist_size(Bytes) >= ?HEAVY * length(Events) div 2;
left_by({sockeye_batch, _, _, _, Bytes}, _Events, many) -> iolist_size(Bytes).

%% Such a batch has been served. With many processes, what one of them gives back at once is what the next one takes: it is in the
%% cache, where the garbage of all is not. One that serves many connections lives on, and collects seldom but all.
-spec left(boolean() | pos_integer()) -> ok.
left(true) ->
    true = erlang:garbage_collect(self(), [{type, minor}]),
    ok;
left(false) ->
    ok;
left(Bytes) ->
    Left = case get(?PASSED) of
               undefined -> sockeye_port_gc:first();
               Before -> Before
           end,
    _ = put(?PASSED, sockeye_port_gc:passed(Bytes, Left)),
    ok.

%% The message that tells a worker of its connection. From a process of its own it may come later than what
%% others say of that; in the VM, it is there.
-spec first() -> term().
first() ->
    case sockeye_backend:engine() =:= port andalso map_size(open()) =:= 0 of
        true ->
            receive
                {sockeye_batch, _, _, _, _} = Batch -> Batch;
                {sockeye_lost, _} = Lost -> Lost
            after ?FIRST_MS -> sockeye_ready
            end;
        false ->
            sockeye_ready
    end.

-spec noted(list(), open()) -> open().
noted([_Conn, Event | Rest], Open) when element(1, Event) =/= open, element(1, Event) =/= closed ->
    noted(Rest, Open);
noted([Conn, {open, #{peer := Peer, path := Path}} | Rest], Open) ->
    noted(Rest, Open#{Conn => sockeye_log:packed(Peer, Path)});
noted([Conn, Closed | Rest], Open) when element(1, Closed) =:= closed ->
    noted(Rest, maps:remove(Conn, Open));
%% Of a new connection that needs a process, which is told of it.
noted([_Conn, {open, #{}} | Rest], Open) ->
    noted(Rest, Open);
noted([_Conn, Event | Rest], Open) when is_atom(Event) ->
    noted(Rest, Open);
noted([], Open) ->
    Open.

-spec with_keys(sockeye_wire:flags(), sockeye_backend:batch()) -> sockeye_backend:batch().
with_keys(Flags, Events) when Flags band 4 =:= 0 -> Events;
with_keys(_Flags, Events) -> [keys(Event) || Event <- Events].

%% Of an event, or of the connection before it.
-spec keys(term()) -> term().
keys({json, Value}) -> {json, sockeye_wire:existing_atoms(Value)};
keys(Other) -> Other.

%% The batch that was taken last has been served, with these commands at its end. The next ones have at most so
%% many events, or what they had.
-spec served(list(), 0..256) -> ok.
served(Commands, Max) ->
    {Run, Id, _} = get(?KEY),
    _ = sockeye_link_writer:post(Run, sockeye_wire:commands(Id, 1, Max, Commands)),
    ok.

%% The engine has ended: what is to be said of the connections that were open.
-spec lost() -> sockeye_backend:batch().
lost() ->
    Open = open(),
    _ = erase(?KEY),
    lists:append([[Conn, {closed, 1006, ?LOST, Who}] || {Conn, Who} <- maps:to_list(Open)]).

%% As what the calling process gives commands, and to which engine: to any, if it is known to none.
-spec sender() -> {sockeye_link_writer:run() | any, sockeye_wire:id()}.
sender() ->
    case get(?KEY) of
        {Run, Id, _} -> {Run, Id};
        undefined -> {any, 0}
    end.
