%% What the resident memory of a server is made of, when connections come: test/memory/run.
-module(memory_growth).

-export([main/0]).
-export([connect/3]).

-define(TIMEOUT, 300000).
%% Per cent of the growth that must be known.
-define(LEAST, 95).
-define(MOST, 105).

main() ->
    [Way, Count] = init:get_plain_arguments(),
    try run(list_to_atom(Way), list_to_integer(Count)) of
        Share when Share >= ?LEAST, Share =< ?MOST -> halt(0);
        _ -> halt(1)
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
    {ok, Clients, _} = peer:start_link(#{connection => standard_io, env => [{"LD_PRELOAD", ""}], args => ["+P", "1000000", "-pa" | code_path()]}),
    Quarter = Count div 4,
    ok = peer:call(Clients, ?MODULE, connect, [Way, Port, Quarter], ?TIMEOUT),
    Before = rest(Server, Quarter),
    ok = peer:call(Clients, ?MODULE, connect, [Way, Port, Count - Quarter], ?TIMEOUT),
    After = rest(Server, Count),
    Share = told(Way, Count - Quarter, Before, After),
    ok = peer:stop(Clients),
    Share.

code_path() ->
    lists:append([["-pa", Dir] || Dir <- code:get_path(), filelib:is_dir(Dir)]).

options(one) -> #{};
options(each) -> #{processes => per_connection};
options(tls) -> #{tls => test_certs:localhost()}.

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
    OsPids = [os:getpid() | [integer_to_list(OsPid) || #{os_pid := OsPid} <- [Info]]],
    All = [held(OsPid) || OsPid <- OsPids],
    Sum = fun(Key) -> lists:sum([maps:get(Key, One) || One <- All]) end,
    %% An engine of its own says what is resident. What it has allocated is known to its C library.
    Counted = case All of
        [_] -> maps:get(memory, Info);
        [_, #{in_use := InUse}] -> InUse
    end,
    #{resident => Sum(resident), in_use => Sum(in_use), free => Sum(free), counted => Counted, vm => carriers(), vm_used => erlang:memory(total)}.

held(OsPid) ->
    %% More than one line, if it was read slowly.
    [_, In, Free, Mapped | _] = [list_to_integer(N) || N <- string:lexemes(os:cmd("cat $HELD/" ++ OsPid), " \n")],
    {ok, Rollup} = file:read_file("/proc/" ++ OsPid ++ "/smaps_rollup"),
    {match, [Kb]} = re:run(Rollup, "Rss:\\s+([0-9]+)", [{capture, all_but_first, list}]),
    #{resident => 1024 * list_to_integer(Kb), in_use => In + Mapped, free => Free}.

%% What the VM has mapped (it keeps nothing that it has given up: +MMmcs): what it counts as used lies in there, with what it keeps free.
carriers() ->
    lists:sum([element(2, Size) || Allocator <- erlang:system_info(alloc_util_allocators), {instance, _, Facts} <- instances(Allocator),
                                   {Kind, Carriers} <- Facts, Kind =:= mbcs orelse Kind =:= sbcs,
                                   Size <- Carriers, element(1, Size) =:= carriers_size]).

instances(Allocator) ->
    case erlang:system_info({allocator, Allocator}) of
        false -> [];
        Instances -> Instances
    end.

told(Way, Count, Before, After) ->
    Grown = maps:map(fun(Key, Size) -> Size - maps:get(Key, Before) end, After),
    #{resident := Resident, counted := Counted, vm_used := Used, vm := Vm, free := Free, in_use := InUse} = Grown,
    Share = 100 * (Counted + Vm + Free) / Resident,
    Each = fun(Bytes) -> Bytes div Count end,
    io:format("~s, ~s, ~b connections more, bytes for each: resident ~b; counted ~b (the C library says ~b), which keeps ~b free; "
              "the VM ~b in use, ~b free~n  counted and in use ~.1f %, with what both keep free ~.1f %~n",
              [os:getenv("SOCKEYE_ENGINE"), Way, Count, Each(Resident), Each(Counted), Each(InUse), Each(Free), Each(Used), Each(Vm - Used),
               100 * (Counted + Used) / Resident, Share]),
    Share.
