%% An engine with one thread, and a way to keep that thread at work for a while: calls wait meanwhile.
-module(slow_engine).

-export([with_one_thread/1]).
-export([with_occupied/1]).
-export([fill/2]).
-export([fill_all/3]).
-export([done/0]).
-export([queued/0]).
-export([delayed/0]).

%% The application starts anew, with one thread of the engine.
with_one_thread(Test) ->
    ok = restart(fun() -> application:set_env(sockeye, shards, 1) end),
    %% A process of its own would be killed for a thread that is at work for 4 s: on a busy machine it is.
    ok = application:set_env(sockeye, engine_timeout, infinity),
    try Test()
    after
        ok = restart(fun() -> application:unset_env(sockeye, shards) end),
        ok = application:unset_env(sockeye, engine_timeout)
    end.

restart(Change) ->
    _ = application:stop(sockeye),
    ok = Change(),
    {ok, _} = application:ensure_all_started(sockeye),
    ok.

%% Occupy() keeps the thread at work for a second or more, and returns when it has begun: what is asked
%% of it from then on waits. Conn is a connection of that thread.
with_occupied(Test) ->
    Deflate = #{server_context_takeover => true, level => 9, mem_level => 9},
    Options = #{deflate => Deflate, format => raw, send_queue_size => 64 * 1024 * 1024},
    test_support:with_server(Options, fun(Port, _) ->
        Headers = [{"Sec-WebSocket-Extensions", "permessage-deflate"}],
        _ = ws_client:connect(Port, #{headers => Headers}),
        {Conn, {open, _}} = test_support:event(),
        Slow = slow_to_compress(128 * 1024),
        {Took, _} = timer:tc(fun() -> ok = sockeye:send(Conn, {binary, Slow}), {ok, #{}} = sockeye:info(Conn) end),
        Times = max(1, min(100, longest() div Took)),
        Test(Conn, fun() -> ok = sockeye:send(Conn, {binary, binary:copy(Slow, Times)}), await(0) end)
    end).

%% Microseconds. Thousands of calls are made meanwhile, each of which goes to another process and back where the engine is one.
longest() ->
    case sockeye_backend:engine() of
        nif -> 1000000;
        port -> 2500000
    end.

%% Two letters in no order: whatever comes has been seen before, and a longer match may be anywhere.
slow_to_compress(Size) ->
    << <<(case Bit of 0 -> $a; 1 -> $b end)>> || <<Bit:1>> <= rand:bytes(Size div 8) >>.

await(Queued) ->
    case queued() of
        Queued -> ok;
        _ -> erlang:yield(), await(Queued)
    end.

%% So many calls that wait, of this process.
fill(Conn, Count) ->
    [ok = sockeye:send(Conn, {ping, <<>>}) || _ <- lists:seq(1, Count)],
    ok.

%% As many as that wait at once: where the thread came to rest before all had been made, as on a busy machine, all is done again.
fill_all(Conn, Occupy, Count) -> fill_all(Conn, Occupy, Count, 20).

fill_all(Conn, Occupy, Count, Tries) ->
    Occupy(),
    ok = fill(Conn, Count),
    case queued() of
        Queued when Queued >= Count -> ok;
        Queued -> Tries > 1 orelse error({at_rest_too_soon, Queued}), done(), fill_all(Conn, Occupy, Count, Tries - 1)
    end.

%% The thread has done all that it was given.
done() ->
    hostile_client:until(fun() -> queued() =:= 0 end).

%% Calls that wait for the thread now.
queued() ->
    {ok, #{queued_calls := Queued}} = sockeye:info(),
    Queued.

%% Calls that had to wait for others, since the engine started.
delayed() ->
    {ok, #{delayed_calls := Delayed}} = sockeye:info(),
    Delayed.
