%% @private
%% Bytes in flight between the VM and the engine's process, as all processes of the node see them.
%%
%% Towards the engine: bytes that were given to the writer and have not been written. From the engine: batches that
%% wait in mailboxes. A sound engine keeps to two for each process; one that does not is ended before they fill
%% the memory of the node.
-module(sockeye_port_flow).

-export([new/0]).
-export([given/1]).
-export([written/1]).
-export([brought/4]).
-export([taken/2]).
-export([forget/1]).

-define(KEY, ?MODULE).
%% The first word counts bytes for the engine, the others batches for processes, whose Ids follow each other.
-define(SLOTS, 8192).
%% A batch counts for so many bytes more than it has.
-define(UNIT_BITS, 16).
%% Units that a word may have beside those of its share of the processes.
-define(SPARE, 128).

%% A new engine: what was on its way to or from the last one is lost with it.
-spec new() -> ok.
new() ->
    case persistent_term:get(?KEY, none) of
        none -> persistent_term:put(?KEY, atomics:new(1 + ?SLOTS, []));
        Known -> lists:foreach(fun(N) -> atomics:put(Known, N, 0) end, lists:seq(1, 1 + ?SLOTS))
    end.

%% So many bytes more wait to be written: how many there are now, or `none' if there has never been an engine.
-spec given(pos_integer()) -> integer() | none.
given(Bytes) ->
    case persistent_term:get(?KEY, none) of
        none -> none;
        Flow -> atomics:add_get(Flow, 1, Bytes)
    end.

-spec written(non_neg_integer()) -> ok.
written(Bytes) ->
    atomics:sub(persistent_term:get(?KEY), 1, Bytes).

%% A batch of so many bytes is about to be sent to the process of this Id, one of so many. False if that can be no
%% sound engine, whose largest batch has so many bytes.
-spec brought(sockeye_wire:id(), non_neg_integer(), non_neg_integer(), pos_integer()) -> boolean().
brought(Id, Bytes, Processes, Largest) ->
    Waiting = atomics:add_get(persistent_term:get(?KEY), slot(Id), units(Bytes)),
    Waiting =< ?SPARE orelse Waiting =< ?SPARE + 2 * units(Largest) + Processes div (?SLOTS div 8).

%% The process has taken it out of its mailbox.
-spec taken(sockeye_wire:id(), non_neg_integer()) -> ok.
taken(Id, Bytes) ->
    atomics:sub(persistent_term:get(?KEY), slot(Id), units(Bytes)).

%% The process is gone, and its mailbox with it.
-spec forget(sockeye_wire:id()) -> ok.
forget(Id) ->
    atomics:put(persistent_term:get(?KEY), slot(Id), 0).

-spec slot(sockeye_wire:id()) -> pos_integer().
slot(Id) ->
    2 + Id rem ?SLOTS.

-spec units(non_neg_integer()) -> pos_integer().
units(Bytes) ->
    1 + (Bytes bsr ?UNIT_BITS).
