%% Carries out the commands of api_model on this node, and compares after each what the model says: what a call returned, what came to
%% clients and subscribers, whose connections ended with which code, and what the node holds.
-module(api_world).

-export([carry_out/1]).
-export([patience/1]).

-import(api_clients, [patience/0, take/2]).

-define(PATIENCE, {?MODULE, patience}).
-define(BASE, {?MODULE, base}).
%% Atoms of code that is seldom run come late; they do not grow with the runs.
-define(LATE_ATOMS, 50).

%% How long what must come may take, in milliseconds (10,000).
patience(Time) ->
    persistent_term:put(?PATIENCE, Time).

carry_out(Commands) ->
    #{level := Level} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, none),
    {ok, _} = application:ensure_all_started(sockeye),
    {ok, _} = application:ensure_all_started(ssl),
    try
        {Base, Whole} = base(),
        Before = Whole(),
        #{crashes := Crashes} = all(Commands, begin_world(Base)),
        until(fun() -> grown(Before, Whole()) end),
        %% Supervisors count crashes: the next run begins with new ones.
        _ = Crashes > 0 andalso application:stop(sockeye),
        ok
    catch
        Class:Reason:Stack ->
            %% What is left of it must not be in the way of the next.
            [exit(Pid, kill) || Pid <- api_clients:holders() ++ [P || {_, P} <- census:processes()]],
            _ = application:stop(sockeye),
            erlang:raise(Class, Reason, Stack)
    after
        ok = logger:set_primary_config(level, Level)
    end.

begin_world(Base) ->
    #{base => Base, self => self(), servers => #{}, conns => #{}, answers => #{}, callers => api_calls:begin_callers()}.

all(Commands, World) ->
    {Model, Done} = lists:foldl(fun one/2, {api_model:first(), World}, Commands),
    Rest = [{stop, S} || S <- maps:keys(maps:get(servers, Model))],
    api_clients:nothing_more(Done),
    {Last, Left} = lists:foldl(fun one/2, {Model, Done}, Rest),
    ok = api_calls:stop_callers(Left),
    Last.

%% What is opened, loaded or named once stays: a first life of each kind, once in this node.
base() ->
    Whole = fun() -> [erlang:garbage_collect(Pid) || Pid <- processes()], census:whole() end,
    case persistent_term:get(?BASE, none) of
        none ->
            %% With an engine that others have not used: one of the system's processes keeps the socket by which it was passed a descriptor.
            _ = application:stop(sockeye),
            {ok, _} = application:ensure_all_started(sockeye),
            Lives = lists:append([[{start, N, Kind}, {connect, N + 1, N}, {dial, N + 2, N, plain}, {dial, N + 3, N, handler},
                                   {track, N + 1, <<"a">>, ann, N}, {drain, N}]
                                  || {N, Kind} <- [{1, owner}, {11, one}, {21, pool}, {31, each}, {41, asking}, {51, tls}, {61, web}]]),
            Handed = [{start, 71, one}] ++ [{come, N, 71, Way, 1} || {N, Way} <- [{72, gen_tcp}, {73, backend}, {74, socket}]]
                ++ [{drain, 71}, {adopted_by_none, 71, gen_tcp}, {adopted_by_none, 71, backend}, {adopted_by_none, 71, socket}],
            Streams = [{start, 81, one}, {start, 82, tls}, {stream, 83, 81}, {stream, 84, 82}, {drain, 81}, {drain, 82}],
            _ = all(Lives ++ Handed ++ Streams, begin_world(none)),
            _ = Whole(),
            Base = Whole(),
            ok = persistent_term:put(?BASE, Base),
            {Base, Whole};
        Base ->
            {Base, Whole}
    end.

grown(Before, After) ->
    Grown = [{Key, Had, Has} || {Key, Has} <- maps:to_list(After), Had <- [maps:get(Key, Before, 0)], is_integer(Has),
                                Has > Had + case Key of atoms -> ?LATE_ATOMS; _ -> 0 end],
    Grown =:= [] orelse {grown, Grown}.

%% One command, if it is still possible: which process serves which connection, only this node knows.
one(Command, {Model, World}) ->
    case api_model:is_possible(Command, Model) of
        false ->
            {Model, World};
        true ->
            Workers = maps:map(fun(_, #{worker := Worker}) -> Worker end, maps:get(conns, World)),
            try checked(Command, (api_effects:step(Command, Workers, Model))#{before => Model}, World)
            catch Class:Reason:Stack -> erlang:raise(Class, {Command, Reason}, Stack)
            end
    end.

checked({at_once, Calls}, #{before := Before, model := Model}, World) ->
    Results = api_calls:at_once(Calls, World),
    Possible = [Outcome || #{returns := Returns} = Outcome <- api_effects:outcomes(Calls, Before),
                           lists:all(fun({Result, Of}) -> lists:member(Result, Of) end, lists:zip(Results, Returns))],
    Possible =/= [] orelse error({returned, Results, in_no_order}),
    [#{told := Told, ends := Ends} | _] = Possible,
    %% Between callers there is no order: each client has seen one.
    Orders = [maps:groups_from_list(fun({C, _}) -> C end, Frames) || #{frames := Frames} <- Possible],
    [begin
         Came = [{C, take(C, World)} || _ <- Frames],
         lists:any(fun(#{C := Order}) -> Order =:= Came end, Orders) orelse error({came, Came, in_no_order})
     end || {C, Frames} <- maps:to_list(hd(Orders))],
    are_told(Told),
    [ok = api_clients:over(C, Codes, World) || {C, Codes} <- Ends],
    {Model, agree(Model, World)};
checked(Command, #{returns := Returns, frames := Frames, told := Told, ends := Ends, broken := Broken, model := Model}, World) ->
    Running = perform(Command, Returns, World),
    Done = case Running of
               {returned, Result, W} -> returned(Result, Returns), W;
               {running, W} -> W
           end,
    [case take(C, Done) of Frame -> ok; Other -> error({came, C, Other, not_this, Frame}) end || {C, Frame} <- Frames],
    are_told(Told),
    [ok = api_clients:over(C, Codes, Done) || {C, Codes} <- Ends],
    [ok = api_answers:broken(R, Done) || R <- Broken],
    _ = case Running of
            {running, _} -> receive {returned, _, Late} -> returned(Late, Returns) after 60000 -> error(call_hangs) end;
            {returned, _, _} -> ok
        end,
    {Model, agree(Model, Done)}.

are_told(Told) ->
    [receive {sockeye_pubsub, T, {json, N}} -> ok after patience() -> error({not_told, T, N}) end || {T, N} <- Told],
    ok.

returned(Result, Returns) ->
    lists:member(Result, Returns) orelse error({returned, Result, not_one_of, Returns}).

agree(Model, #{base := Base} = World) ->
    Expected = maps:map(fun(Key, {more, N}) when Base =/= none -> maps:get(Key, Base, 0) + N; (_, N) -> N end, api_model:census(Model)),
    until(fun() ->
        case census:differences(maps:filter(fun(_, N) -> not is_tuple(N) end, Expected), census:take()) of
            None when map_size(None) =:= 0 -> true;
            Differences -> Differences
        end
    end),
    [until(fun() ->
         {ok, #{send_queue := Is}} = sockeye:info(maps:get(conn, found(C, World))),
         Is =:= Bytes orelse {waits_for, C, Is, not_this, Bytes}
     end) || {C, Bytes} <- api_model:queues(Model)],
    World.

until(Test) ->
    hostile_client:until(Test, patience()).

%% ---------------------------------------------------------------- commands

%% {returned, Result, World}, or {running, World} where clients must answer meanwhile: then {returned, Result} comes.
perform({while_suspended, Who, Call}, Returns, World) ->
    Pid = case Who of
              {serves, C} -> maps:get(owner, found(C, World), maps:get(worker, found(C, World)));
              Name -> whereis(Name)
          end,
    %% It may be on its way out, or not be there yet.
    Is = try erlang:suspend_process(Pid) catch error:badarg -> gone end,
    Running = perform(Call, Returns, World),
    receive after 10 -> ok end,
    _ = Is =:= true andalso try erlang:resume_process(Pid) catch error:badarg -> gone end,
    Running;
perform({start, S, Kind}, _, #{servers := Servers} = World) ->
    {returned, ok, World#{servers := Servers#{S => api_clients:start(Kind)}}};
perform({connect, C, S}, _, World) ->
    perform({come, C, S, listener, 1}, [ok], World);
perform({come, C, S, Way, Address}, _, World) ->
    {Who, Socket} = api_clients:connect(server(S, World), Way, Address),
    {returned, ok, opened(C, Who, #{socket => Socket}, World)};
perform({connect_refused, S, Way, Address}, _, World) ->
    {Status, Socket} = api_clients:arrive(server(S, World), Way, Address),
    ws_client:drop(Socket),
    {returned, Status, World};
perform({adopted_by_none, S, Way}, _, World) -> {returned, api_clients:adopted_by_none(server(S, World), Way), World};
perform({stream, C, S}, _, World) ->
    Carrier = hd(carriers(S, World) ++ [none]),
    {Who, Stream} = api_clients:stream(C, server(S, World), Carrier),
    {returned, ok, opened(C, Who, #{stream => Stream, server => S}, World)};
perform({cut, S}, _, World) ->
    [ok = api_streams:cut(Carrier) || Carrier <- carriers(S, World)],
    {returned, ok, World};
perform({dial, C, S, By}, _, World) ->
    {Holder, Client} = api_clients:dial(C, server(S, World), By),
    Who = receive {C, {binary, Binary}} -> binary_to_term(Binary) after patience() -> error(no_answer) end,
    {returned, ok, opened(C, Who, #{client => Client, holder => Holder}, World)};
perform({leave, C, handshake}, _, World) when not is_map_key(stream, map_get(C, map_get(conns, World))) ->
    #{socket := Socket} = found(C, World),
    ok = ws_client:close(Socket, 1000, <<>>),
    {close, 1000, _} = ws_client:recv(Socket, patience()),
    _ = ws_client:drop(Socket),
    {returned, ok, World};
perform({leave, C, How}, _, World) ->
    case found(C, World) of
        #{stream := Stream} ->
            api_streams:leave(Stream, How, patience());
        #{socket := Socket} when is_port(Socket) ->
            hostile_client:end_with(How, Socket),
            gen_tcp:close(Socket);
        #{socket := Socket} ->
            ws_client:drop(Socket)
    end,
    {returned, ok, World};
perform({end_client, C, How}, _, World) ->
    #{client := Client} = found(C, World),
    _ = case How of
            stop -> sockeye_client:stop(Client);
            kill -> exit(Client, kill)
        end,
    {returned, ok, World};
perform({say_piece, C, Step, N}, _, World) ->
    {Opcode, Fin} = case Step of first -> {1, 0}; more -> {0, 0}; last -> {0, 1} end,
    ok = says(found(C, World), ws_client:encode(Opcode, integer_to_binary(N), #{fin => Fin})),
    {returned, ok, World};
perform({say_too_much, C}, _, World) ->
    ok = says(found(C, World), ws_client:encode(1, lists:duplicate(2001, $1))),
    {returned, ok, World};
perform({ping, C, N}, _, World) ->
    ok = says(found(C, World), ws_client:encode(9, integer_to_binary(N))),
    {returned, ok, World};
perform({ask, R, S}, _, #{answers := Answers} = World) ->
    {returned, ok, World#{answers := Answers#{R => api_answers:ask(R, server(S, World))}}};
perform({answer, R, N}, _, World) -> {returned, api_answers:piece(R, N, World), World};
perform({finish, R}, _, World) -> {returned, api_answers:finish(R, World), World};
perform({hang_up, R}, _, World) -> {returned, api_answers:hang_up(R, World), World};
perform({cut_off, _} = Command, _, World) ->
    %% Nobody answers before it has returned.
    {running, Called} = api_calls:call(Command, World),
    receive {returned, _, Result} -> {returned, Result, Called} after 60000 -> error(call_hangs) end;
perform({say, C, N}, _, World) ->
    ok = case found(C, World) of
             #{client := Client} -> sockeye_client:send(Client, {json, N});
             Socket -> says(Socket, ws_client:encode(1, integer_to_binary(N)))
         end,
    {returned, ok, World};
perform({topics, S}, Returns, World) -> read(S, Returns, World, fun(Pid) -> sockeye:topics(Pid) end);
perform({subscribers, S, T}, Returns, World) -> read(S, Returns, World, fun(Pid) -> sockeye:subscribers(Pid, T) end);
perform({connections, S}, Returns, World) -> read(S, Returns, World, fun(Pid) -> sockeye:connections(Pid) end);
perform({list, S, T}, Returns, World) -> read(S, Returns, World, fun(Pid) -> sockeye_presence:list(Pid, T) end);
perform({give, C}, _, #{conns := Conns} = World) ->
    #{C := Conn} = Conns,
    Owner = spawn(fun() -> api_clients:own(none) end),
    #{conn := Id} = Conn,
    api_calls:run(World#{conns := Conns#{C := Conn#{owner => Owner}}}, fun() ->
        Given = sockeye:controlling_process(Id, Owner),
        %% Its end is nothing to the connection any more.
        [exit(Before, kill) || #{owner := Before} <- [Conn]],
        Given
    end);
perform({kill, server, S}, _, World) -> #{pid := Pid} = server(S, World), killed(Pid, World);
perform({kill, holder, S}, _, World) -> #{holder := Holder} = server(S, World), killed(Holder, World);
perform({kill, conn_sup, S}, _, World) -> [Sup] = linked(S, sockeye_conn_sup, World), killed(Sup, World);
perform({kill, Helper, S}, _, World) ->
    Role = case Helper of relay -> sockeye_relay; gate -> sockeye_gate end,
    [Old] = linked(S, Role, World),
    exit(Old, kill),
    until(fun() -> case linked(S, Role, World) of [New] when New =/= Old -> true; Other -> {Role, Other} end end),
    {returned, ok, World};
perform({kill_worker, C}, _, World) -> #{worker := Worker} = found(C, World), killed(Worker, World);
perform({kill_owner, C}, _, World) -> #{owner := Owner} = found(C, World), killed(Owner, World);
perform(kill_engine, _, World) ->
    Engine = whereis(sockeye_engine),
    api_calls:run(World, fun() -> exit(Engine, kill), census:another_engine(Engine) end);
perform({kill_child, Name}, _, World) ->
    Old = whereis(Name),
    exit(Old, kill),
    until(fun() -> Pid = whereis(Name), is_pid(Pid) andalso Pid =/= Old orelse {Name, Pid} end),
    {returned, ok, World};
perform(kill_process_of_system, _, #{servers := Servers} = World) ->
    {ok, #{os_pid := OsPid, restarts := Restarts}} = sockeye:info(),
    ok = port_node:signal("KILL", OsPid),
    ok = port_node:another(Restarts),
    [ok = port_node:listening(Pid, Port) || #{pid := Pid, port := Port} <- maps:values(Servers), is_process_alive(Pid)],
    {returned, ok, World};
perform({reload, Module}, _, World) ->
    _ = code:purge(Module),
    {module, Module} = code:load_file(Module),
    {returned, ok, World};
perform(stop_application, _, World) ->
    api_calls:run(World, fun() -> ok = application:stop(sockeye), start_again() end);
perform(kill_application, _, World) ->
    Sup = whereis(sockeye_sup),
    api_calls:run(World, fun() ->
        exit(Sup, kill),
        until(fun() -> not lists:keymember(sockeye, 1, application:which_applications()) orelse running end),
        start_again()
    end);
perform(Command, _, World) ->
    true = api_calls:is_call(Command),
    api_calls:call(Command, World).

carriers(S, #{conns := Conns}) ->
    lists:usort([Carrier || #{stream := {Carrier, _}, server := Of} <- maps:values(Conns), Of =:= S, is_process_alive(Carrier)]).

%% A frame of a client that makes its frames itself.
says(#{socket := Socket}, Frame) -> ws_client:raw(Socket, Frame);
says(#{stream := Stream}, Frame) -> api_streams:say(Stream, Frame, 0).

start_again() ->
    {ok, _} = application:ensure_all_started(sockeye),
    ok.

killed(Pid, World) ->
    Monitor = monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Monitor, process, Pid, _} -> {returned, ok, World} after patience() -> error({lives_on, Pid}) end.

%% What is told some time after what it is about: in the end it is right.
read(S, Returns, World, Work) ->
    #{pid := Pid} = server(S, World),
    until(fun() ->
        Result = numbers(Work(Pid), World),
        lists:member(Result, Returns) orelse {returned, Result, not_one_of, Returns}
    end),
    {returned, hd(Returns), World}.

numbers({ok, Conns}, #{conns := Known}) when is_list(Conns) ->
    Numbers = maps:from_list([{Conn, C} || {C, #{conn := Conn}} <- maps:to_list(Known)]),
    {ok, lists:sort([maps:get(Conn, Numbers, Conn) || Conn <- Conns])};
numbers({ok, Present}, _World) when is_map(Present) ->
    {ok, maps:map(fun(_, Metas) when is_list(Metas) -> lists:sort(Metas); (_, Count) -> Count end, Present)};
numbers(Result, _World) ->
    Result.

server(S, #{servers := Servers}) -> maps:get(S, Servers).

found(C, #{conns := Conns}) -> maps:get(C, Conns).

opened(C, {Worker, Conn}, How, #{conns := Conns} = World) ->
    World#{conns := Conns#{C => How#{conn => Conn, worker => Worker}}}.

linked(S, Role, World) ->
    #{pid := Pid} = server(S, World),
    case process_info(Pid, links) of
        {links, Links} -> [P || {R, P} <- census:processes(), R =:= Role, lists:member(P, Links)];
        undefined -> []
    end.
