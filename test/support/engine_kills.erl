%% The engine's process is killed, under load, again and again: how soon it is back, and what is left behind. In a node whose
%% engine is such a process.
-module(engine_kills).

-export([main/0]).
-export([run/1]).
-export([large_beside_small/1]).

-define(TIMEOUT, 60000).

%% What test/kill/run runs: rounds and connections are plain arguments.
main() ->
    spawn(fun() ->
        [What | Numbers] = init:get_plain_arguments(),
        ok = logger:set_primary_config(level, none),
        try main(What, [list_to_integer(Number) || Number <- Numbers]) of
            true -> halt(0);
            false -> halt(1)
        catch
            Class:Reason:Stack -> say("~p", [{Class, Reason, Stack}]), halt(1)
        end
    end).

main("kills", [Rounds, Connections]) ->
    ok = soak:load_all(),
    #{back := Back, left := Left, alive := Alive} = run(#{rounds => Rounds, connections => Connections, told => 100}),
    Half = share(0.5, Back),
    say("the node lived through ~b of ~b kills with ~b connections each", [Alive, Rounds, Connections]),
    say("port back after: median ~b ms, 95 % ~b ms, at most ~b ms (aim: median 500 ms)", [Half, share(0.95, Back), lists:max(Back)]),
    say("left behind: ~0p", [Left]),
    Alive =:= Rounds andalso Half =< 500 andalso Left =:= #{};
main("frames", [Seconds]) ->
    #{alone := Alone, beside := Beside, large := Large} = large_beside_small(#{seconds => Seconds}),
    {ok, #{engine := Engine}} = sockeye:info(),
    say("~s: 64 B, 99 % within ~b us alone, ~b us beside frames of 16 MiB (~b of them): ~.2f times (aim: 2)",
        [Engine, Alone, Beside, Large, Beside / Alone]),
    true.

say(Format, Args) ->
    io:format(Format ++ "~n", Args).

%% ---------------------------------------------------------------- kills

%% Options: rounds, connections; told, after how many rounds each a line is printed.
run(#{rounds := Rounds, connections := Connections} = Options) ->
    Server = server(#{processes => one}, counting()),
    Port = test_support:port(Server),
    [Handler] = port_node:handlers(Server),
    Processes = [{Name, whereis(Name)} || Name <- [sockeye_sup, sockeye_engine, sockeye_link]],
    %% What is loaded, opened or named once stays.
    First = [round(Server, Port, Handler, Connections) || _ <- lists:seq(1, 3)],
    _ = holdings(),
    Before = holdings(),
    Done = [told(Round, Options, round(Server, Port, Handler, Connections)) || Round <- lists:seq(1, Rounds)],
    Left = left(Before, 100),
    true = Processes =:= [{Name, whereis(Name)} || {Name, _} <- Processes],
    Orphans = [OsPid || {_, {OsPid, Began}} <- First ++ Done, Began =/= false, began(OsPid) =:= Began],
    ok = sockeye:stop(Server),
    #{back => lists:sort([Back || {Back, _} <- Done]), alive => length(Done),
      left => case Orphans of [] -> Left; _ -> Left#{orphans => Orphans} end}.

told(Round, #{told := Each}, Done) when Round rem Each =:= 0 -> say("~b kills", [Round]), Done;
told(_, _, Done) -> Done.

%% When a process of the system began, by which it is told from another that has its number later; or that it is not there, or dead.
began(OsPid) ->
    case file:read_file(io_lib:format("/proc/~b/stat", [OsPid])) of
        {ok, Stat} ->
            [_, After] = binary:split(Stat, <<") ">>),
            [State | _] = Fields = binary:split(After, <<" ">>, [global]),
            State =/= <<"Z">> andalso lists:nth(20, Fields);
        {error, _} ->
            false
    end.

server(Options, Funs) ->
    {ok, Server} = sockeye:start_link(Options#{port => 0, handler => {fun_handler, Funs}, backlog => 4096}),
    Server.

%% Knows how many are open.
counting() ->
    #{init => fun() -> {ok, 0} end,
      open => fun(_, _, N) -> {[], N + 1} end,
      frame => fun(Frame, _, N) -> {[{reply, Frame}], N} end,
      close => fun(_, _, _, N) -> {[], N - 1} end,
      info => fun({count, From}, N) -> From ! {open, N}, {[], N} end}.

%% How many milliseconds later the port was back, and which process was killed: its number, and when it had begun.
round(Server, Port, Handler, Connections) ->
    Self = self(),
    {ok, #{os_pid := OsPid, restarts := Restarts}} = sockeye:info(),
    Clients = [spawn_monitor(fun() -> client(Port, Self) end) || _ <- lists:seq(1, Connections)],
    [loaded(Client) || Client <- Clients],
    receive after rand:uniform(20) -> ok end,
    Killed = {OsPid, began(OsPid)},
    Begin = erlang:monotonic_time(millisecond),
    ok = port_node:signal("KILL", OsPid),
    [receive {'DOWN', Ref, process, _, _} -> ok after ?TIMEOUT -> error(not_cut_off) end || {_, Ref} <- Clients],
    ok = port_node:until(fun() -> port_node:is_listening(Port) end),
    Back = erlang:monotonic_time(millisecond) - Begin,
    ok = port_node:another(Restarts),
    ok = port_node:listening(Server, Port),
    %% Each end was told, and once.
    ok = port_node:until(fun() -> Handler ! {count, Self}, receive {open, N} -> N =:= 0 orelse N end end),
    {Back, Killed}.

loaded({Pid, Monitor}) ->
    receive
        {loaded, Pid} -> ok;
        {'DOWN', Monitor, process, Pid, Why} -> error({no_load, Why})
    after ?TIMEOUT -> error({no_load, process_info(Pid, current_stacktrace), sockeye:info()})
    end.

%% For longer than what counts as a short life of the engine, one message after the other.
client(Port, Parent) ->
    Socket = ws_client:connect(Port),
    exchange(Socket),
    Enough = erlang:monotonic_time(millisecond) + 300,
    %% It may be cut off in the middle of a frame.
    try client(Socket, Parent, Enough)
    catch error:Why -> exit({shutdown, Why})
    end.

client(Socket, Parent, Enough) ->
    exchange(Socket),
    case erlang:monotonic_time(millisecond) >= Enough of
        true -> Parent ! {loaded, self()}, endless(Socket);
        false -> client(Socket, Parent, Enough)
    end.

endless(Socket) ->
    exchange(Socket),
    endless(Socket).

exchange(Socket) ->
    case ws_client:text(Socket, <<"[1,2,3]">>) of
        ok ->
            case ws_client:recv(Socket) of
                {text, _} -> ok;
                Other -> exit({shutdown, Other})
            end;
        {error, Reason} ->
            exit({shutdown, Reason})
    end.

holdings() ->
    {ok, Files} = file:list_dir("/proc/self/fd"),
    #{processes => erlang:system_info(process_count), ports => erlang:system_info(port_count), tables => length(ets:all()),
      atoms => erlang:system_info(atom_count), descriptors => length(Files)}.

%% Atoms of code that is loaded on a way that is seldom taken; they must not grow with the rounds.
-define(LOADED_ATOMS, 10).

%% What there is more of, once what ends has ended.
left(Before, Tries) ->
    Grown = maps:filter(fun(atoms, {Had, Has}) -> Has > Had + ?LOADED_ATOMS;
                           (_, {Had, Has}) -> Has > Had
                        end, maps:map(fun(Key, Has) -> {maps:get(Key, Before), Has} end, holdings())),
    case map_size(Grown) of
        N when N > 0, Tries > 0 -> receive after 50 -> left(Before, Tries - 1) end;
        _ -> maps:map(fun(atoms, {Had, Has}) -> [atom_at(N) || N <- lists:seq(Had, Has - 1)]; (_, Counts) -> Counts end, Grown)
    end.

%% By its number, in the order in which they came: ATOM_INTERNAL_REF3 of the external term format.
atom_at(N) ->
    binary_to_term(<<131, 75, N:24>>).

%% ---------------------------------------------------------------- large beside small

-define(LARGE, 16 * 1024 * 1024).

%% In microseconds: within what time 99 of 100 small messages come back, alone, and beside a client whose messages are large; how
%% many these were, and what one of them took. Each client has a process of its own at the server.
large_beside_small(#{seconds := Seconds}) ->
    Echo = #{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end},
    Server = server(#{processes => per_connection, format => raw, max_message_size => ?LARGE, inbox_size => 2 * ?LARGE,
                      send_queue_size => 2 * ?LARGE}, Echo),
    Port = test_support:port(Server),
    Small = ws_client:connect(Port),
    _ = times(Small, 500),
    Alone = share(0.99, times(Small, 1000 * Seconds)),
    Self = self(),
    Large = spawn_link(fun() -> large(Port, Self) end),
    receive going -> ok end,
    Beside = share(0.99, times(Small, 1000 * Seconds)),
    Large ! {stop, self()},
    Took = receive {large, Times} -> lists:sort(Times) after ?TIMEOUT -> error(no_large) end,
    ok = ws_client:drop(Small),
    ok = sockeye:stop(Server),
    #{alone => Alone, beside => Beside, large => length(Took), took => share(0.5, Took)}.

times(Socket, Time) ->
    times(Socket, erlang:monotonic_time(millisecond) + Time, []).

times(Socket, End, Times) ->
    {Took, _} = timer:tc(fun() -> ok = ws_client:text(Socket, <<"sixty-four bytes or so, as in the other figures of this project..">>),
                                  ws_client:recv(Socket) end),
    case erlang:monotonic_time(millisecond) < End of
        true -> times(Socket, End, [Took | Times]);
        false -> lists:sort([Took | Times])
    end.

large(Port, Parent) ->
    Socket = ws_client:connect(Port),
    Frame = iolist_to_binary(ws_client:encode(2, binary:copy(<<7>>, ?LARGE))),
    large(Socket, Frame, [], fun() -> Parent ! going end).

large(Socket, Frame, Times, First) ->
    Self = self(),
    Begin = erlang:monotonic_time(microsecond),
    _ = spawn_link(fun() -> ok = gen_tcp:send(Socket, Frame), Self ! sent end),
    {ok, _} = gen_tcp:recv(Socket, 10 + ?LARGE),
    receive sent -> ok end,
    First(),
    All = [erlang:monotonic_time(microsecond) - Begin | Times],
    receive {stop, From} -> From ! {large, All}
    after 0 -> large(Socket, Frame, All, fun() -> ok end)
    end.

%% Of sorted numbers.
share(Share, Sorted) ->
    lists:nth(max(1, ceil(Share * length(Sorted))), Sorted).
