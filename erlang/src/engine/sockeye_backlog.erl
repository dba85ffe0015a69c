%% @private
%% The engine takes every call. Who finds more calls before its own than may wait for a thread of the engine
%% waits here, until its own has been carried out: that costs time, and nothing is refused or lost.
-module(sockeye_backlog).

-export([settle/1]).

%% The answer of a call, when the caller may make the next one.
-spec settle({crowded, pos_integer(), Answer} | Answer) -> Answer.
settle({crowded, Shards, Answer}) ->
    {Ticket, Count} = sockeye_backend:when_done(Shards),
    ok = await(Ticket, Count),
    Answer;
settle(Answer) ->
    Answer.

%% A thread that ends says so, too.
-spec await(non_neg_integer(), non_neg_integer()) -> ok.
await(_Ticket, 0) ->
    ok;
await(Ticket, Count) ->
    receive
        {sockeye_done, Ticket} -> await(Ticket, Count - 1)
    end.
