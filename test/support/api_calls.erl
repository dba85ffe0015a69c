%% The calls of api_world, and the processes that make them.
-module(api_calls).

-export([begin_callers/0]).
-export([stop_callers/1]).
-export([is_call/1]).
-export([call/2]).
-export([run/2]).
-export([at_once/2]).

-define(CALLERS, 5).

%% The first makes those that come one after the other: they have an order.
begin_callers() ->
    Self = self(),
    [spawn_link(fun() -> caller(Self) end) || _ <- lists:seq(1, ?CALLERS)].

stop_callers(#{callers := Callers}) ->
    [Caller ! stop || Caller <- Callers],
    ok.

caller(Parent) ->
    receive
        {call, Place, Work} -> Parent ! {returned, Place, in_short(Work())}, caller(Parent);
        stop -> ok
    end.

in_short({error, {bad_option, Key, _}}) -> {error, {bad_option, Key}};
in_short(Result) -> Result.

%% Clients must answer meanwhile, or not: {returned, 1, Result} comes.
call(Command, World) ->
    Number = case Command of {piece, Caller, _, _, _, _} -> Caller; _ -> 1 end,
    by(Number, 1, World, work(Command, World)).

run(World, Work) -> by(1, 1, World, Work).

by(Number, Place, #{callers := Callers} = World, Work) ->
    lists:nth(Number, Callers) ! {call, Place, Work},
    {running, World}.

%% Each by a process of its own. What they have returned, in their order.
at_once(Calls, #{callers := Callers} = World) ->
    Works = [{Number, Place, work(Call, World)} || {Place, Call} <- lists:zip(lists:seq(1, length(Calls)), Calls),
                                                     Number <- [case Call of {piece, Own, _, _, _, _} -> Own; _ -> 2 + Place end]],
    %% None begins before all can.
    [erlang:suspend_process(Caller) || Caller <- Callers],
    [by(Number, Place, World, Work) || {Number, Place, Work} <- Works],
    [erlang:resume_process(Caller) || Caller <- Callers],
    [receive {returned, Place, Result} -> Result after 60000 -> error(call_hangs) end || {_, Place, _} <- Works].

is_call(Command) ->
    lists:member(element(1, Command), [setopts, send, send_large, piece, close, subscribe, unsubscribe, publish, publish_from, broadcast,
                                       broadcast_large, broadcast_from, send_message, join, part, track, untrack, stop, drain, drain_twice, reload_tls]).

work({setopts, C, Active}, World) -> of_conn(C, World, fun(Conn) -> sockeye:setopts(Conn, [{active, Active}]) end);
work({send_large, C, N}, World) -> of_conn(C, World, fun(Conn) -> sockeye:send(Conn, large(N)) end);
work({piece, _, C, Kind, Step, N}, World) -> of_conn(C, World, fun(Conn) -> sockeye:send(Conn, {stream, Kind, Step, integer_to_binary(N)}) end);
work({send, C, N}, World) -> of_conn(C, World, fun(Conn) -> sockeye:send(Conn, {json, N}) end);
work({close, C, Code}, World) -> of_conn(C, World, fun(Conn) -> sockeye:close(Conn, Code, <<"by the server">>) end);
work({subscribe, C, T}, World) -> of_conn(C, World, fun(Conn) -> sockeye:subscribe(Conn, T) end);
work({unsubscribe, C, T}, World) -> of_conn(C, World, fun(Conn) -> sockeye:unsubscribe(Conn, T) end);
work({publish, S, T, N}, World) -> of_server(S, World, fun(Pid) -> sockeye:publish(Pid, T, {json, N}, #{wait => true}) end);
work({publish_from, C, T, N}, World) -> of_conn(C, World, fun(Conn) -> sockeye:publish_from(Conn, T, {json, N}, #{wait => true}) end);
work({broadcast, S, N}, World) -> of_server(S, World, fun(Pid) -> sockeye:broadcast(Pid, {json, N}, #{wait => true}) end);
work({broadcast_large, S, N}, World) -> of_server(S, World, fun(Pid) -> sockeye:broadcast(Pid, large(N), #{wait => true}) end);
work({broadcast_from, C, N}, World) -> of_conn(C, World, fun(Conn) -> sockeye:broadcast_from(Conn, {json, N}, #{wait => true}) end);
work({send_message, S, N}, World) ->
    of_server(S, World, fun(Pid) ->
        Sent = sockeye:send_message(Pid, {json, N}),
        %% It waits for nothing, and who connects meanwhile may get it, too. This waits behind it.
        _ = sockeye:connections(Pid),
        Sent
    end);
work({join, S, T}, #{self := Self} = World) -> of_server(S, World, fun(Pid) -> sockeye_pubsub:subscribe(Pid, T, Self) end);
work({part, S, T}, #{self := Self} = World) -> of_server(S, World, fun(Pid) -> sockeye_pubsub:unsubscribe(Pid, T, Self) end);
work({track, C, T, Key, Meta}, World) -> of_conn(C, World, fun(Conn) -> sockeye_presence:track(Conn, T, Key, Meta) end);
work({untrack, C, T, Key}, World) -> of_conn(C, World, fun(Conn) -> sockeye_presence:untrack(Conn, T, Key) end);
work({stop, S}, World) -> of_server(S, World, fun sockeye:stop/1);
work({drain, S}, World) -> work({drain, S, 1001, 100}, World);
work({drain, S, Code, PerInterval}, World) ->
    of_server(S, World, fun(Pid) -> sockeye:drain(Pid, #{interval => 1, per_interval => PerInterval, code => Code, deadline => 20000}) end);
work({cut_off, S}, World) -> of_server(S, World, fun(Pid) -> sockeye:drain(Pid, #{deadline => 200}) end);
work({drain_twice, S}, World) ->
    of_server(S, World, fun(Pid) ->
        Self = self(),
        Other = spawn_link(fun() -> Self ! {self(), sockeye:drain(Pid, #{interval => 1, deadline => 20000})} end),
        Mine = sockeye:drain(Pid, #{interval => 1, deadline => 20000}),
        receive {Other, Its} -> lists:sort([Mine, Its]) end
    end);
work({reload_tls, S}, World) -> of_server(S, World, fun sockeye:reload_tls/1).

of_conn(C, #{conns := Conns}, Work) ->
    #{C := #{conn := Conn}} = Conns,
    fun() -> Work(Conn) end.

of_server(S, #{servers := Servers}, Work) ->
    #{S := #{pid := Pid}} = Servers,
    fun() -> Work(Pid) end.

%% 600 bytes.
large(N) ->
    Digits = integer_to_binary(N),
    {text, [lists:duplicate(600 - byte_size(Digits), $\s), Digits]}.
