%% A random life: servers of each kind, clients of the node and from outside, and deaths of any process
%% of the tree in any order. A model knows after each step who lives; the census of the node must say
%% the same.
%%
%% `life_model:run(#{seed => Seed, steps => Steps})' or `#{time => Milliseconds}'. A difference is an
%% error with the seed and the steps so far.
-module(life_model).

-export([run/1]).

-define(TIMEOUT, 20000).
%% Supervisors of the application allow three crashes in ten seconds.
-define(CRASHES, 3).
-define(CRASH_MS, 11000).

-record(server, {holder :: pid(), pid :: pid(), kind :: atom(), port :: inet:port_number()}).
%% `worker' serves it; `client' is the process of a client of this node.
-record(conn, {server :: pid(), worker :: pid(), socket :: gen_tcp:socket() | undefined,
               client :: pid() | undefined, holder :: pid() | undefined, has_worker = false :: boolean()}).
-record(m, {servers = [] :: [#server{}], conns = [] :: [#conn{}], crashes = [] :: [integer()],
            base = #{} :: map()}).

run(Options) ->
    Seed = maps:get(seed, Options, erlang:unique_integer([positive])),
    _ = rand:seed(exsss, Seed),
    #{level := Level} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, none),
    _ = application:stop(sockeye),
    {ok, _} = application:ensure_all_started(sockeye),
    try
        Base = base(),
        Steps = steps(Options, #m{base = Base}, 0),
        {ok, #{seed => Seed, steps => Steps}}
    catch
        Class:Reason:Stack ->
            erlang:raise(Class, {life, [{seed, Seed}, {reason, Reason}, {last_steps_first, said()}]}, Stack)
    after
        erase({?MODULE, said}),
        ws_client:drop_all(),
        _ = application:stop(sockeye),
        ok = logger:set_primary_config(level, Level)
    end.

%% After a first life of each kind: what is opened or loaded once stays.
base() ->
    M = lists:foldl(fun(Kind, M0) -> add_client(add_conn(start(Kind, M0))) end, #m{}, kinds()),
    _ = end_all(M),
    siege:until(fun() -> #{servers := N} = census:take(), N =:= 0 orelse {servers, N} end),
    maps:with([descriptors, threads, ports], census:take()).

steps(Options, M, N) ->
    case enough(Options, N) of
        true ->
            _ = agree(end_all(M)),
            N;
        false ->
            steps(started(Options), agree(step(M)), N + 1)
    end.

started(#{time := _, deadline := _} = Options) -> Options;
started(#{time := Time} = Options) -> Options#{deadline => now_ms() + Time};
started(Options) -> Options.

enough(#{deadline := Deadline}, _N) -> now_ms() >= Deadline;
enough(#{steps := Steps}, N) -> N >= Steps;
enough(_Options, _N) -> false.

said_of(Step) ->
    _ = put({?MODULE, said}, [Step | said()]),
    Step.

said() ->
    case get({?MODULE, said}) of
        undefined -> [];
        Said -> Said
    end.

%% ---------------------------------------------------------------- steps

step(M) ->
    {Weights, Steps} = lists:unzip([{W, S} || {W, S} <- possible(M), W > 0]),
    Step = pick(rand:uniform(lists:sum(Weights)), Weights, Steps),
    do(said_of(Step), M).

pick(N, [W | _], [S | _]) when N =< W -> S;
pick(N, [W | Ws], [_ | Ss]) -> pick(N - W, Ws, Ss).

possible(#m{servers = Servers, conns = Conns} = M) ->
    Some = fun([], _) -> 0; (_, W) -> W end,
    Few = fun(List, Most, W) -> case length(List) < Most of true -> W; false -> 0 end end,
    May = case [T || T <- M#m.crashes, now_ms() - T < ?CRASH_MS] of
              Recent when length(Recent) < ?CRASHES -> 1;
              _ -> 0
          end,
    [{Few(Servers, 6, 8), start_server},
     {min(Some(Servers, 12), Few(Conns, 40, 12)), connect},
     {min(Some(Servers, 5), Few(Conns, 40, 5)), start_client},
     {Some(Conns, 6), leave},
     {Some(Servers, 3), stop_server},
     {Some(Servers, 2), drain},
     {Some(Servers, 4), kill_server},
     {Some(Servers, 3), kill_holder},
     {Some(Conns, 5), kill_worker},
     {Some(clients(Conns), 4), end_client},
     {Some(of_kinds([per_connection], Servers), 2), kill_conn_sup},
     {Some(of_kinds([per_connection, asking], Servers), 2), kill_helper},
     {May * 2, kill_engine},
     {May * 2, kill_other},
     {1, stop_application},
     {1, kill_application}].

kinds() ->
    [owner, one, pool, per_connection, asking].

do(start_server, M) -> start(any(kinds()), M);
do(connect, M) -> add_conn(M);
do(start_client, M) -> add_client(M);
do(leave, #m{conns = Conns} = M) ->
    case [C || #conn{socket = S} = C <- Conns, S =/= undefined] of
        [] -> M;
        Raw -> leave(any([fin, rst, close, handshake]), any(Raw), M)
    end;
do(stop_server, M) ->
    #server{pid = Pid} = Server = any(M#m.servers),
    ends(Server, 1001, fun() -> ok = sockeye:stop(Pid) end, M);
do(drain, #m{conns = Conns} = M) ->
    #server{pid = Pid} = Server = any(M#m.servers),
    N = length([C || #conn{server = P} = C <- Conns, P =:= Pid]),
    Drain = fun() -> {ok, #{closed := N, unanswered := 0}} = sockeye:drain(Pid, #{interval => 1, deadline => 20000}) end,
    ends(Server, 1001, Drain, M);
do(kill_server, M) ->
    #server{pid = Pid} = Server = any(M#m.servers),
    ends(Server, 1001, fun() -> exit(Pid, kill) end, M);
do(kill_holder, M) ->
    #server{holder = Holder, kind = Kind} = Server = any(M#m.servers),
    %% Of an owner it is the owner that dies.
    Code = case Kind of owner -> 1011; _ -> 1001 end,
    ends(Server, Code, fun() -> exit(Holder, kill) end, M);
do(kill_worker, #m{conns = Conns, servers = Servers} = M) ->
    Handled = [C || #conn{server = S} = C <- Conns, (server(S, Servers))#server.kind =/= owner],
    case Handled of
        [] -> M;
        _ ->
            #conn{worker = Worker} = any(Handled),
            {Gone, Rest} = lists:partition(fun(#conn{worker = W}) -> W =:= Worker end, Conns),
            exit(Worker, kill),
            over(Gone, [1011]),
            M#m{conns = Rest}
    end;
do(end_client, #m{conns = Conns} = M) ->
    #conn{client = Client} = Conn = any(clients(Conns)),
    _ = case any([stop, kill]) of
            stop -> sockeye_client:stop(Client);
            kill -> exit(Client, kill)
        end,
    over([Conn], [1000, 1001]),
    M#m{conns = lists:delete(Conn, Conns)};
do(kill_conn_sup, M) ->
    #server{pid = Pid} = Server = any(of_kinds([per_connection], M#m.servers)),
    [Sup] = linked(Pid, sockeye_conn_sup),
    %% The handlers go first.
    ends(Server, [1001, 1011], fun() -> exit(Sup, kill) end, M);
do(kill_helper, M) ->
    #server{pid = Pid, kind = Kind} = any(of_kinds([per_connection, asking], M#m.servers)),
    Role = case Kind of per_connection -> sockeye_relay; asking -> sockeye_gate end,
    [Old] = linked(Pid, Role),
    exit(Old, kill),
    siege:until(fun() -> case linked(Pid, Role) of [New] when New =/= Old -> true; Other -> {Role, Other} end end),
    M;
do(kill_engine, M) ->
    Engine = whereis(sockeye_engine),
    M1 = all_end(fun() -> exit(Engine, kill) end, M),
    ok = census:another_engine(Engine),
    M1#m{crashes = [now_ms() | M1#m.crashes]};
do(kill_other, M) ->
    Name = any([sockeye_topics, sockeye_cluster, sockeye_groups, sockeye_pubsub_server, sockeye_presence_server]),
    Old = whereis(Name),
    exit(Old, kill),
    siege:until(fun() -> Pid = whereis(Name), is_pid(Pid) andalso Pid =/= Old orelse {Name, Pid} end),
    M#m{crashes = [now_ms() | M#m.crashes]};
do(stop_application, M) ->
    M1 = all_end(fun() -> ok = application:stop(sockeye) end, M),
    {ok, _} = application:ensure_all_started(sockeye),
    M1#m{crashes = []};
do(kill_application, M) ->
    Sup = whereis(sockeye_sup),
    Monitor = monitor(process, Sup),
    M1 = all_end(fun() -> exit(Sup, kill) end, M),
    receive {'DOWN', Monitor, process, Sup, _} -> ok end,
    siege:until(fun() -> not lists:keymember(sockeye, 1, application:which_applications()) orelse running end),
    {ok, _} = application:ensure_all_started(sockeye),
    M1#m{crashes = []}.

%% ---------------------------------------------------------------- beginnings

start(Kind, #m{servers = Servers} = M) ->
    Self = self(),
    Holder = spawn(fun() ->
        process_flag(trap_exit, true),
        Started = sockeye:start_link(options(Kind)),
        Self ! {self(), Started},
        {ok, Pid} = Started,
        %% A subscriber of its server, which may end before the server does.
        ok = sockeye_pubsub:subscribe(Pid, <<"holders">>),
        Self ! {self(), subscribed},
        hold(Pid)
    end),
    {ok, Pid} = receive {Holder, Started} -> Started after ?TIMEOUT -> error(not_started) end,
    receive {Holder, subscribed} -> ok after ?TIMEOUT -> error(not_subscribed) end,
    %% And one that lives on.
    ok = sockeye_pubsub:subscribe(Pid, <<"all/*">>),
    {ok, #{port := Port}} = sockeye:info(Pid),
    M#m{servers = [#server{holder = Holder, pid = Pid, kind = Kind, port = Port} | Servers]}.

options(owner) -> #{port => 0};
options(one) -> #{port => 0, handler => {bare_handler, []}};
options(pool) -> (options(one))#{processes => 3};
options(per_connection) -> (options(one))#{processes => per_connection};
options(asking) -> (options(one))#{accept => fun(_) -> {accept, #{}} end, scope => cluster, name => a_free(names())}.

%% The owner of a server answers as bare_handler does.
hold(Pid) ->
    receive
        {sockeye, Conn, {json, <<"pid">>}} ->
            _ = sockeye:send(Conn, {json, list_to_binary(pid_to_list(self()))}),
            hold(Pid);
        {'EXIT', Pid, _} -> ok;
        _ -> hold(Pid)
    end.

add_conn(#m{servers = Servers, conns = Conns} = M) ->
    #server{pid = Pid, port = Port} = any(Servers),
    Socket = ws_client:connect(Port),
    ok = ws_client:text(Socket, <<"\"pid\"">>),
    Conn = #conn{server = Pid, worker = pid_in(ws_client:recv_data(Socket)), socket = Socket},
    M#m{conns = [Conn | Conns]}.

%% A client of this node, with or without a process for its handler, that asks the same.
add_client(#m{servers = Servers, conns = Conns} = M) ->
    #server{pid = Pid, port = Port} = any(Servers),
    Self = self(),
    HasWorker = any([true, false]),
    Url = "ws://127.0.0.1:" ++ integer_to_list(Port),
    Holder = spawn(fun() -> hold_client(Self, Url, HasWorker) end),
    receive
        {Holder, Client, Worker} ->
            Conn = #conn{server = Pid, worker = Worker, client = Client, holder = Holder, has_worker = HasWorker},
            M#m{conns = [Conn | Conns]}
    after ?TIMEOUT -> error(no_client)
    end.

hold_client(Main, Url, HasWorker) ->
    process_flag(trap_exit, true),
    Self = self(),
    Ask = {text, <<"\"pid\"">>},
    Handler = case HasWorker of
                  true -> {fun_handler, #{open => fun(_, _, S) -> {[{reply, Ask}], S} end,
                                          frame => fun({json, Text}, _, S) -> Self ! {worker, Text}, {[], S} end}};
                  false -> Self
              end,
    {ok, Client} = sockeye_client:start_link(Url, Handler),
    Worker = receive
                 {worker, Text} -> Text;
                 {sockeye, Conn, {open, _}} ->
                     ok = sockeye:send(Conn, Ask),
                     receive {sockeye, Conn, {json, Text}} -> Text end
             end,
    Main ! {self(), Client, list_to_pid(binary_to_list(Worker))},
    hold_on(Client).

hold_on(Client) ->
    receive
        {'EXIT', Client, _} -> ok;
        _ -> hold_on(Client)
    end.

pid_in(Text) ->
    list_to_pid(binary_to_list(binary:part(Text, 1, byte_size(Text) - 2))).

%% ---------------------------------------------------------------- ends

leave(handshake, #conn{socket = Socket} = Conn, M) ->
    ok = ws_client:close(Socket, 1000, <<>>),
    {close, 1000, _} = ws_client:recv(Socket),
    leave(close, Conn, M);
leave(How, #conn{socket = Socket} = Conn, #m{conns = Conns} = M) ->
    siege:end_with(How, Socket),
    _ = gen_tcp:close(Socket),
    M#m{conns = lists:delete(Conn, Conns)}.

%% One server ends by what `Act' does; its connections with these codes.
ends(#server{pid = Pid} = Server, Codes, Act, #m{servers = Servers, conns = Conns} = M) ->
    {Gone, Rest} = lists:partition(fun(#conn{server = S}) -> S =:= Pid end, Conns),
    acted(Act, [Pid], fun() -> over(Gone, codes(Codes)) end),
    M#m{servers = lists:delete(Server, Servers), conns = Rest}.

all_end(Act, #m{servers = Servers, conns = Conns} = M) ->
    %% Who is cut off sees no Close frame.
    acted(Act, [Pid || #server{pid = Pid} <- Servers], fun() -> over(Conns, [1000, 1001, closed]) end),
    M#m{servers = [], conns = []}.

end_all(#m{servers = Servers} = M) ->
    lists:foldl(fun(#server{pid = Pid} = S, M1) -> ends(S, 1001, fun() -> ok = sockeye:stop(Pid) end, M1) end,
                M, Servers).

%% `Act' runs beside, since clients answer meanwhile.
acted(Act, Pids, Meanwhile) ->
    Monitors = [monitor(process, Pid) || Pid <- Pids],
    {Actor, Monitor} = spawn_monitor(Act),
    Meanwhile(),
    receive {'DOWN', Monitor, process, Actor, Reason} -> normal = Reason
    after ?TIMEOUT -> error({acts_for_ever, process_info(Actor, current_stacktrace)})
    end,
    [receive {'DOWN', M, process, _, _} -> ok after ?TIMEOUT -> error(lives_on) end || M <- Monitors],
    ok.

codes(Codes) when is_list(Codes) -> Codes;
codes(Code) -> [Code].

%% These connections have ended, with one of these codes.
over(Conns, Codes) ->
    [ok = over(Conn, Codes, Socket) || #conn{socket = Socket} = Conn <- Conns],
    ok.

over(#conn{client = Client, holder = Holder}, _Codes, undefined) ->
    [begin
         Monitor = monitor(process, Pid),
         receive {'DOWN', Monitor, process, _, _} -> ok after ?TIMEOUT -> error({client_lives, Pid}) end
     end || Pid <- [Client, Holder]],
    ok;
over(_Conn, Codes, Socket) ->
    Code = case ws_client:recv_close(Socket) of
               {Number, _} -> Number;
               Other -> Other
           end,
    lists:member(Code, Codes) orelse error({close_code, Code, Codes}),
    _ = gen_tcp:close(Socket),
    ok.

%% ---------------------------------------------------------------- what must be

agree(#m{base = Base} = M) ->
    Expected = expected(M, Base),
    true = siege:until(fun() ->
        case census:differences(Expected, census:take()) of
            None when map_size(None) =:= 0 -> true;
            Differences -> Differences
        end
    end),
    M.

expected(#m{servers = Servers, conns = Conns}, Base) ->
    Clients = clients(Conns),
    Raw = length(Conns) - length(Clients),
    N = length(Servers),
    Own = of_kinds([per_connection], Servers),
    Handlers = length(of_kinds([one, asking], Servers)) + 3 * length(of_kinds([pool], Servers))
        + length([C || #conn{server = S} = C <- Conns, (server(S, Servers))#server.kind =:= per_connection])
        + length([C || #conn{has_worker = true} = C <- Clients]),
    Counted = #{running => true,
                servers => N + length(Clients),
                connections => length(Conns) + length(Clients),
                sockeye_server => N,
                sockeye_dialler => length(Clients),
                sockeye_worker => Handlers,
                sockeye_conn_sup => length(Own),
                sockeye_relay => length(Own),
                sockeye_gate => length(of_kinds([asking], Servers)),
                {table, sockeye_servers} => 2 * N,
                {table, sockeye_pubsub} => 2 * N,
                {table, sockeye_cluster} => length(of_kinds([asking], Servers)),
                log_rows => 0,
                monitors => N},
    Used = #{descriptors => N + 2 * length(Conns), threads => 0, ports => Raw},
    maps:merge(Counted, maps:map(fun(Key, Before) -> Before + maps:get(Key, Used) end, Base)).

clients(Conns) -> [C || #conn{client = Client} = C <- Conns, Client =/= undefined].

of_kinds(Kinds, Servers) -> [S || #server{kind = Kind} = S <- Servers, lists:member(Kind, Kinds)].

server(Pid, Servers) -> lists:keyfind(Pid, #server.pid, Servers).

linked(Pid, Role) ->
    case process_info(Pid, links) of
        {links, Links} -> [P || {R, P} <- census:processes(), R =:= Role, lists:member(P, Links)];
        undefined -> []
    end.

names() -> [life_1, life_2, life_3, life_4, life_5, life_6].

a_free([Name | Names]) ->
    case whereis(Name) of
        undefined -> Name;
        _ -> a_free(Names)
    end.

any(List) -> lists:nth(rand:uniform(length(List)), List).

now_ms() -> erlang:monotonic_time(millisecond).
