%% What the resident memory of a server is made of, when connections come: test/memory/run.
-module(memory_growth).

-export([main/0]).
-export([connect/3]).

-define(TIMEOUT, 300000).
%% What is explained is within so many per cent of what is resident, and what Sockeye counts of what the C library has handed out.
-define(WITHIN, 5).

main() ->
    [Way, Count] = init:get_plain_arguments(),
    try run(list_to_atom(Way), list_to_integer(Count)) of
        Shares -> halt(case [Share || Share <- Shares, abs(Share - 100) > ?WITHIN] of [] -> 0; _ -> 1 end)
    catch
        Class:Reason:Stack ->
            io:format("~ts: ~p~n", [Way, {Class, Reason, Stack}]),
            halt(2)
    end.

run(Way, Count) ->
    {ok, _} = application:ensure_all_started(sockeye),
    ok = logger:set_primary_config(level, warning),
    {ok, Server} = sockeye:start_link((options(Way))#{port => 0, max_connections => infinity, handler => {bare_handler, []}}),
    {ok, #{port := Port}} = sockeye:info(Server),
    %% Clients are another process of the system, without what is preloaded here.
    {ok, Clients, _} = peer:start_link(#{connection => standard_io, wait_boot => ?TIMEOUT, env => [{"LD_PRELOAD", ""}], args => ["+P", "1000000", "-pa" | code_path()]}),
    Quarter = Count div 4,
    ok = peer:call(Clients, ?MODULE, connect, [Way, Port, Quarter], ?TIMEOUT),
    Before = rest(Server, Quarter),
    ok = peer:call(Clients, ?MODULE, connect, [Way, Port, Count - Quarter], ?TIMEOUT),
    After = rest(Server, Count),
    Shares = told(Way, Count - Quarter, Before, After),
    ok = peer:stop(Clients),
    Shares.

code_path() ->
    lists:append([["-pa", Dir] || Dir <- code:get_path(), filelib:is_dir(Dir)]).

%% Clients that answer no ping: on a slow machine the first are as old as a ping's answer may be before the last are there.
options(Way) -> (way(Way))#{idle_timeout => infinity, ping_interval => infinity}.

way(one) -> #{};
way(each) -> #{processes => per_connection};
way(tls) -> #{tls => test_certs:localhost()}.

%% In the node of the clients.
connect(Way, Port, Count) ->
    Self = self(),
    {Keeper, Ref} = spawn_monitor(fun() ->
        Sockets = [open(Way, Port) || _ <- lists:seq(1, Count)],
        Self ! {self(), connected},
        receive stop -> Sockets end
    end),
    receive
        {Keeper, connected} -> ok;
        {'DOWN', Ref, process, _, Reason} -> {error, Reason}
    end.

open(tls, Port) ->
    {ok, _} = application:ensure_all_started(ssl),
    {ok, Socket} = ssl:connect("localhost", Port, [binary, {active, false}, {verify, verify_none}, {nodelay, true}]),
    ok = ssl:send(Socket, request()),
    {ok, <<"HTTP/1.1 101", _/binary>>} = ssl:recv(Socket, 0, 20000),
    ok = ssl:send(Socket, ws_client:encode(1, <<"1">>)),
    {ok, _} = ssl:recv(Socket, 0, 20000),
    Socket;
open(_, Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {nodelay, true}]),
    ok = gen_tcp:send(Socket, request()),
    {ok, <<"HTTP/1.1 101", _/binary>>} = gen_tcp:recv(Socket, 0, 20000),
    ok = gen_tcp:send(Socket, ws_client:encode(1, <<"1">>)),
    {ok, _} = gen_tcp:recv(Socket, 0, 20000),
    Socket.

request() ->
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".

%% When nothing changes any more: processes hibernate after a second or two.
rest(Server, Count) ->
    {ok, #{connections := Count}} = sockeye:info(Server),
    settled(now_held(), 20).

settled(Held, 0) ->
    Held;
settled(#{resident := Before}, Left) ->
    receive after 2500 -> ok end,
    case now_held() of
        #{resident := Now} = Held when abs(Now - Before) * 1000 < Now -> Held;
        Held -> settled(Held, Left - 1)
    end.

now_held() ->
    [erlang:garbage_collect(Pid) || Pid <- [self(), whereis(logger), whereis(code_server)], is_pid(Pid)],
    {ok, Info} = sockeye:info(),
    All = [held(OsPid) || OsPid <- [os:getpid() | [integer_to_list(OsPid) || #{os_pid := OsPid} <- [Info]]]],
    Sum = fun(Key) -> lists:sum([maps:get(Key, One) || One <- All]) end,
    Sums = maps:from_list([{Key, Sum(Key)} || Key <- maps:keys(hd(All))]),
    %% An engine of its own says what is resident. What it has allocated is known to its C library.
    Counted = case All of
        [_] -> maps:get(memory, Info);
        [_, #{in_use := InUse}] -> InUse
    end,
    Sums#{counted => Counted, vm => erlang:memory(total)}.

held(OsPid) ->
    %% More than one line, if it was read slowly.
    [InUse, Mapped, Arenas, Carriers | _] = [list_to_integer(N) || N <- string:lexemes(os:cmd("cat $HELD/" ++ OsPid), " \n")],
    #{resident => resident:anonymous(OsPid), in_use => InUse + Mapped, arenas => Arenas + Mapped, carriers => Carriers}.

told(Way, Count, Before, After) ->
    Grown = maps:map(fun(Key, Size) -> (Size - maps:get(Key, Before)) / Count end, After),
    #{resident := Resident, counted := Counted, vm := Vm, carriers := Carriers, arenas := Arenas, in_use := InUse} = Grown,
    Explained = 100 * (Arenas + Carriers) / Resident,
    io:format("~ts, ~s, ~b connections more, bytes for each: ~.1f resident~n"
              "  Sockeye counts ~.1f, the C library has handed out ~.1f, of its arenas is resident ~.1f~n"
              "  the VM counts ~.1f, of its carriers is resident ~.1f~n"
              "  in arenas and carriers ~.1f %, counted ~.1f %~n",
              [os:getenv("SOCKEYE_ENGINE"), Way, Count, Resident, Counted, InUse, Arenas, Vm, Carriers, Explained, 100 * (Counted + Vm) / Resident]),
    [Explained, 100 * Counted / InUse].
