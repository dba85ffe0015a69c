%% Hostile clients of a server, byte by byte. While a server is attacked, another client gets its echoes, and
%% afterwards the node holds what it held before.
-module(hostile_client).

-export([with_attack/2]).
-export([unchanged/1]).
-export([connect/1]).
-export([say/2]).
-export([answer/1]).
-export([status/1]).
-export([end_with/2]).
-export([until/1]).
-export([until/2]).
-export([settled/2]).
-export([memory/0]).
-export([most/1]).

-define(TIMEOUT, 60000).

%% Attack is called with the port and the server; the caller gets the events of the attackers.
with_attack(Options, Attack) ->
    unchanged(fun() -> attacked(Options, Attack) end).

%% The node holds afterwards what it held before.
unchanged(Test) ->
    before_all(),
    Before = holdings(),
    Result = Test(),
    until(fun() -> no_growth(Before, holdings()) end),
    Result.

attacked(Options, Attack) ->
    Owner = owner(),
    Result = test_support:with_server(maps:merge(#{format => raw, active => true, handshake_timeout => 5000, close_timeout => 1000,
                                                   handler => Owner}, Options), fun(Port, Server) ->
        Bystander = bystander(Port),
        Made = Attack(Port, Server),
        ws_client:drop_all(),
        settled(Server, 1),
        stop_bystander(Bystander),
        settled(Server, 0),
        Made
    end),
    Owner ! stop,
    _ = test_support:down(Owner),
    Result.

%% A process that takes its messages at once, as owners do: Sockeye waits for one with messages in its mailbox, as the caller has while
%% it waits for an answer to a client, before it answers a Close frame.
owner() ->
    Self = self(),
    spawn_link(fun() -> pass_on(Self) end).

pass_on(To) ->
    receive
        stop -> ok;
        Event -> To ! Event, pass_on(To)
    end.

%% What is loaded or opened once stays: that is no growth.
before_all() ->
    test_support:with_server(#{}, fun(Port, _) -> _ = test_support:open(Port) end).

%% How many connections the server has, once those that end have ended.
settled(Server, Connections) ->
    until(fun() ->
        {ok, #{connections := N}} = sockeye:info(Server),
        N =:= Connections orelse {connections, N}
    end).

%% Bytes that the engine holds.
memory() ->
    {ok, #{memory := Bytes}} = sockeye:info(),
    Bytes.

holdings() ->
    {ok, #{connections := Connections, servers := Servers, memory := Memory} = Info} = sockeye:info(),
    #{memory => Memory, connections => Connections, servers => Servers, processes => length(processes()),
      ports => length(erlang:ports()), files => files("self"), engine_files => files(integer_to_list(maps:get(os_pid, Info, 0)))}.

%% Descriptors of a process of the system, where that tells.
files(OsPid) ->
    case file:list_dir("/proc/" ++ OsPid ++ "/fd") of
        {ok, Files} -> length(Files);
        {error, _} -> 0
    end.

no_growth(Before, After) ->
    case [Key || {Key, N} <- maps:to_list(After), N > maps:get(Key, Before) + slack(Key)] of
        [] -> true;
        _ -> {grown, Before, After}
    end.

%% Buffers and tables of the engine's threads stay at the size they once had.
slack(memory) -> most(1000000);
slack(_) -> 0.

%% By how much memory may grow where the library takes so many bytes. A process of its own tells what it has of the
%% system, and does not give all of it back.
most(Bytes) ->
    case sockeye_backend:engine() of
        nif -> Bytes;
        port -> Bytes + 48000000
    end.

%% Waits for what has no event of its own: true, or the last reason why not.
until(Test) ->
    until(Test, ?TIMEOUT).

until(Test, Time) ->
    by(Test, erlang:monotonic_time(millisecond) + Time).

by(Test, Deadline) ->
    case Test() of
        true ->
            true;
        Why ->
            erlang:monotonic_time(millisecond) < Deadline orelse error({not_yet, Why}),
            receive after 5 -> by(Test, Deadline) end
    end.

%% The bystander: one ping after the other, each answered within 20 seconds: more than the busiest machine needs.
bystander(Port) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Socket = ws_client:connect(Port),
        ping(Self, Socket, 0)
    end),
    Conn = receive {sockeye, C, {open, _}} -> C after ?TIMEOUT -> error(no_bystander) end,
    {Pid, Monitor, Conn}.

ping(Self, Socket, N) ->
    Payload = integer_to_binary(N),
    ok = ws_client:ping(Socket, Payload),
    pong(Socket, Payload),
    receive stop -> Self ! {self(), stopped}, gen_tcp:close(Socket)
    after 10 -> ping(Self, Socket, N + 1)
    end.

%% Past a ping of the server, which a slow machine may bring.
pong(Socket, Payload) ->
    case ws_client:recv(Socket, 20000) of
        {pong, Payload} -> ok;
        {ping, _} -> pong(Socket, Payload)
    end.

stop_bystander({Pid, Monitor, Conn}) ->
    Pid ! stop,
    receive
        {Pid, stopped} -> ok;
        {'DOWN', Monitor, process, Pid, Reason} -> error({bystander, Reason})
    after ?TIMEOUT -> error(bystander)
    end,
    receive {'DOWN', Monitor, process, Pid, _} -> ok end,
    1006 = test_support:closed(Conn).

%% A socket with no handshake.
connect(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port,
                                   [binary, {active, false}, {nodelay, true}], ?TIMEOUT),
    Socket.

%% Bytes on a socket of their own, and what the server answers until it closes.
say(Port, Bytes) ->
    Socket = connect(Port),
    _ = gen_tcp:send(Socket, Bytes),
    Answer = answer(Socket),
    gen_tcp:close(Socket),
    Answer.

%% All that comes until the end.
answer(Socket) ->
    answer(Socket, <<>>).

answer(Socket, Sofar) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, Data} -> answer(Socket, <<Sofar/binary, Data/binary>>);
        {error, timeout} -> {open, Sofar};
        {error, _} -> Sofar
    end.

%% Of an answer: the status, or `silence'.
status(<<"HTTP/1.1 ", Status:3/binary, " ", _/binary>>) -> binary_to_integer(Status);
status(<<"HTTP/1.0 ", Status:3/binary, " ", _/binary>>) -> binary_to_integer(Status);
status(<<>>) -> silence;
status(Other) -> Other.

%% The ways in which a client leaves.
end_with(fin, Socket) -> gen_tcp:shutdown(Socket, write);
end_with(rst, Socket) -> ws_client:drop(Socket);
end_with(close, Socket) -> gen_tcp:close(Socket).
