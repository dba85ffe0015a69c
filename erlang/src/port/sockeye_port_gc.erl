%% @private
%% Garbage collection in long-lived processes that pass binaries on.
%%
%% A binary that is in use while the VM collects becomes old, and old binaries are collected only when there are as many bytes of them as
%% once before: after one large message a process keeps megabytes. So such a process counts the bytes, and collects all of its garbage.
-module(sockeye_port_gc).

-export([first/0]).
-export([passed/2]).
-export([collect/0]).

%% The VM looks at new ones after 371,376 bytes.
-define(LEAST, 524288).
%% Bytes that pass for each byte of the heap, which a collection copies.
-define(SHARE, 4).

%% So many bytes may pass before the first collection.
-spec first() -> pos_integer().
first() ->
    ?LEAST.

%% How many may pass now that these have, of those that might before: none, and the calling process collects.
-spec passed(Bytes :: non_neg_integer(), Left :: pos_integer()) -> pos_integer().
passed(Bytes, Left) when Bytes < Left -> Left - Bytes;
passed(_Bytes, _Left) -> collect().

%% Of the calling process. So many bytes may pass before the next one.
-spec collect() -> pos_integer().
collect() ->
    true = erlang:garbage_collect(),
    {total_heap_size, Words} = process_info(self(), total_heap_size),
    max(?LEAST, ?SHARE * Words * erlang:system_info(wordsize)).
