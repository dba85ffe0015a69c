%% Carries out the commands of api_model on this node, and compares after each what the model says: what a call returned, what came to
%% clients and subscribers, whose connections ended with which code, and what the node holds.
-module(api_world).

-export([carry_out/1]).
-export([patience/1]).

-define(PATIENCE, {?MODULE, patience}).
-define(BASE, {?MODULE, base}).
%% Atoms of code that is seldom run come late; they do not grow with the runs.
-define(LATE_ATOMS, 50).

%% How long what must come may take, in milliseconds (10,000).
patience(Time) ->
    persistent_term:put(?PATIENCE, Time).

patience() ->
    persistent_term:get(?PATIENCE, 10000).

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
            [exit(Pid, kill) || Pid <- holders() ++ [P || {_, P} <- census:processes()]],
            _ = application:stop(sockeye),
            erlang:raise(Class, Reason, Stack)
    after
        ok = logger:set_primary_config(level, Level)
    end.

begin_world(Base) ->
    Self = self(),
    #{base => Base, servers => #{}, conns => #{}, caller => spawn_link(fun() -> caller(Self) end)}.

all(Commands, World) ->
    {Model, Done} = lists:foldl(fun one/2, {api_model:first(), World}, Commands),
    Rest = [{stop, S} || S <- maps:keys(maps:get(servers, Model))],
    nothing_more(Done),
    {Last, #{caller := Caller}} = lists:foldl(fun one/2, {Model, Done}, Rest),
    Caller ! stop,
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
                                  || {N, Kind} <- [{1, owner}, {11, one}, {21, pool}, {31, each}, {41, asking}, {51, tls}]]),
            _ = all(Lives, begin_world(none)),
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
            try checked(Command, api_model:step(Command, Workers, Model), World)
            catch Class:Reason:Stack -> erlang:raise(Class, {Command, Reason}, Stack)
            end
    end.

checked(Command, #{returns := Returns, frames := Frames, told := Told, ends := Ends, model := Model}, World) ->
    Running = perform(Command, Returns, World),
    Done = case Running of
               {returned, Result, W} -> returned(Result, Returns), W;
               {running, W} -> W
           end,
    [N = take(C, Done) || {C, N} <- Frames],
    [receive {sockeye_pubsub, T, {json, N}} -> ok after patience() -> error({not_told, T, N}) end || {T, N} <- Told],
    [ok = over(C, Codes, Done) || {C, Codes} <- Ends],
    _ = case Running of
            {running, _} -> receive {returned, Late} -> returned(Late, Returns) after 30000 -> error(call_hangs) end;
            {returned, _, _} -> ok
        end,
    {Model, agree(Model, Done)}.

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
    World.

until(Test) ->
    siege:until(Test, patience()).

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
    _ = Is =:= true andalso (catch erlang:resume_process(Pid)),
    Running;
perform({start, S, Kind}, _, #{servers := Servers} = World) ->
    {returned, ok, World#{servers := Servers#{S => start(Kind)}}};
perform({connect, C, S}, _, World) ->
    #{port := Port} = Server = server(S, World),
    Socket = ws_client:connect(Port, case Server of #{kind := tls} -> #{tls => [{verify, verify_none}]}; #{} -> #{} end),
    ok = ws_client:text(Socket, <<"\"who\"">>),
    {binary, Who} = ws_client:recv(Socket, patience()),
    {returned, ok, opened(C, binary_to_term(Who), #{socket => Socket}, World)};
perform({dial, C, S, By}, _, World) ->
    {Holder, Client} = dial(C, server(S, World), By),
    Who = receive {C, {binary, Binary}} -> binary_to_term(Binary) after patience() -> error(no_answer) end,
    {returned, ok, opened(C, Who, #{client => Client, holder => Holder}, World)};
perform({leave, C, handshake}, _, World) ->
    #{socket := Socket} = found(C, World),
    ok = ws_client:close(Socket, 1000, <<>>),
    {close, 1000, _} = ws_client:recv(Socket, patience()),
    _ = ws_client:drop(Socket),
    {returned, ok, World};
perform({leave, C, How}, _, World) ->
    case found(C, World) of
        #{socket := Socket} when is_port(Socket) ->
            siege:end_with(How, Socket),
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
perform({say, C, N}, _, World) ->
    ok = case found(C, World) of
             #{socket := Socket} -> ws_client:text(Socket, integer_to_binary(N));
             #{client := Client} -> sockeye_client:send(Client, {json, N})
         end,
    {returned, ok, World};
perform({setopts, C, Active}, _, World) -> call(C, World, fun(Conn) -> sockeye:setopts(Conn, [{active, Active}]) end);
perform({send, C, N}, _, World) -> call(C, World, fun(Conn) -> sockeye:send(Conn, {json, N}) end);
perform({close, C, Code}, _, World) -> call(C, World, fun(Conn) -> sockeye:close(Conn, Code, <<"by the server">>) end);
perform({subscribe, C, T}, _, World) -> call(C, World, fun(Conn) -> sockeye:subscribe(Conn, T) end);
perform({unsubscribe, C, T}, _, World) -> call(C, World, fun(Conn) -> sockeye:unsubscribe(Conn, T) end);
perform({publish, S, T, N}, _, World) -> call_server(S, World, fun(Pid) -> sockeye:publish(Pid, T, {json, N}, #{wait => true}) end);
perform({publish_from, C, T, N}, _, World) -> call(C, World, fun(Conn) -> sockeye:publish_from(Conn, T, {json, N}, #{wait => true}) end);
perform({broadcast, S, N}, _, World) -> call_server(S, World, fun(Pid) -> sockeye:broadcast(Pid, {json, N}, #{wait => true}) end);
perform({broadcast_from, C, N}, _, World) -> call(C, World, fun(Conn) -> sockeye:broadcast_from(Conn, {json, N}, #{wait => true}) end);
perform({send_message, S, N}, _, World) -> call_server(S, World, fun(Pid) -> sockeye:send_message(Pid, {json, N}) end);
perform({topics, S}, Returns, World) -> read(S, Returns, World, fun(Pid) -> sockeye:topics(Pid) end);
perform({subscribers, S, T}, Returns, World) -> read(S, Returns, World, fun(Pid) -> sockeye:subscribers(Pid, T) end);
perform({connections, S}, Returns, World) -> read(S, Returns, World, fun(Pid) -> sockeye:connections(Pid) end);
perform({list, S, T}, Returns, World) -> read(S, Returns, World, fun(Pid) -> sockeye_presence:list(Pid, T) end);
perform({join, S, T}, _, World) -> Self = self(), call_server(S, World, fun(Pid) -> sockeye_pubsub:subscribe(Pid, T, Self) end);
perform({part, S, T}, _, World) -> Self = self(), call_server(S, World, fun(Pid) -> sockeye_pubsub:unsubscribe(Pid, T, Self) end);
perform({track, C, T, Key, Meta}, _, World) -> call(C, World, fun(Conn) -> sockeye_presence:track(Conn, T, Key, Meta) end);
perform({untrack, C, T, Key}, _, World) -> call(C, World, fun(Conn) -> sockeye_presence:untrack(Conn, T, Key) end);
perform({give, C}, _, #{conns := Conns} = World) ->
    #{C := Conn} = Conns,
    Owner = spawn(fun() -> own(none) end),
    call(C, World#{conns := Conns#{C := Conn#{owner => Owner}}}, fun(Id) ->
        Given = sockeye:controlling_process(Id, Owner),
        %% Its end is nothing to the connection any more.
        [exit(Before, kill) || #{owner := Before} <- [Conn]],
        Given
    end);
perform({stop, S}, _, World) -> call_server(S, World, fun sockeye:stop/1);
perform({drain, S}, _, World) -> call_server(S, World, fun(Pid) -> sockeye:drain(Pid, #{interval => 1, deadline => 20000}) end);
perform({reload_tls, S}, _, World) -> call_server(S, World, fun sockeye:reload_tls/1);
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
    running(World, fun() -> exit(Engine, kill), census:another_engine(Engine) end);
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
    running(World, fun() -> ok = application:stop(sockeye), start_again() end);
perform(kill_application, _, World) ->
    Sup = whereis(sockeye_sup),
    running(World, fun() ->
        exit(Sup, kill),
        until(fun() -> not lists:keymember(sockeye, 1, application:which_applications()) orelse running end),
        start_again()
    end).

start_again() ->
    {ok, _} = application:ensure_all_started(sockeye),
    ok.

killed(Pid, World) ->
    Monitor = monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Monitor, process, Pid, _} -> {returned, ok, World} after patience() -> error({lives_on, Pid}) end.

%% All calls are made by one process, so that they have an order.
call(C, World, Work) ->
    #{conn := Conn} = found(C, World),
    running(World, fun() -> Work(Conn) end).

call_server(S, World, Work) ->
    #{pid := Pid} = server(S, World),
    running(World, fun() -> Work(Pid) end).

running(#{caller := Caller} = World, Work) ->
    Caller ! {call, Work},
    {running, World}.

caller(Parent) ->
    receive
        {call, Work} -> Parent ! {returned, in_short(Work())}, caller(Parent);
        stop -> ok
    end.

in_short({error, {bad_option, Key, _}}) -> {error, {bad_option, Key}};
in_short(Result) -> Result.

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

%% ---------------------------------------------------------------- servers and clients

start(Kind) ->
    Self = self(),
    Options = (options(Kind))#{port => 0, close_timeout => 2000, ping_interval => infinity, idle_timeout => infinity},
    Holder = spawn(fun() ->
        process_flag(trap_exit, true),
        put(?MODULE, holder),
        {ok, Pid} = sockeye:start_link(Options),
        Self ! {self(), Pid},
        own(Pid)
    end),
    Pid = receive {Holder, Started} -> Started after patience() -> error(not_started) end,
    #{pid => Pid, holder => Holder, kind => Kind, port => test_support:port(Pid)}.

options(owner) -> #{active => true};
options(one) -> #{handler => {bare_handler, []}};
options(pool) -> (options(one))#{processes => 3};
options(each) -> (options(one))#{processes => per_connection};
options(asking) -> (options(one))#{accept => fun(_) -> {accept, #{}} end, scope => cluster, name => free_name([api_1, api_2, api_3, api_4])};
options(tls) -> (options(one))#{tls => test_certs:localhost()}.

free_name([Name | Names]) ->
    case whereis(Name) of
        undefined -> Name;
        _ -> free_name(Names)
    end.

%% An owner answers as bare_handler does, until its server has ended.
own(Server) ->
    receive
        {sockeye, Conn, {json, <<"who">>}} ->
            _ = sockeye:send(Conn, {binary, term_to_binary({self(), Conn})}),
            own(Server);
        {sockeye, Conn, {json, Term}} ->
            _ = sockeye:send(Conn, {json, Term}),
            own(Server);
        {sockeye, _, {closed, _, _}} when Server =:= none -> ok;
        {'EXIT', Server, _} -> ok;
        _ -> own(Server)
    end.

dial(C, #{port := Port} = Server, By) ->
    Self = self(),
    {Scheme, Tls} = case Server of
                        #{kind := tls} -> {"wss", #{tls => #{verify => verify_none}}};
                        #{} -> {"ws", #{}}
                    end,
    Options = Tls#{active => true, ping_interval => infinity, idle_timeout => infinity},
    Tell = fun(Event) -> Self ! {C, Event} end,
    Holder = spawn(fun() ->
        process_flag(trap_exit, true),
        put(?MODULE, holder),
        Handler = case By of
                      plain -> self();
                      handler -> {fun_handler, #{frame => fun(Frame, _, S) -> Tell(Frame), {[], S} end,
                                                 close => fun(_, Code, _, S) -> Tell({closed, Code}), {[], S} end}}
                  end,
        {ok, Client} = sockeye_client:start_link(Scheme ++ "://127.0.0.1:" ++ integer_to_list(Port), Handler, Options),
        ok = sockeye_client:send(Client, {text, <<"\"who\"">>}),
        Self ! {self(), Client},
        hold(Client, Tell)
    end),
    receive {Holder, Client} -> {Holder, Client} after patience() -> error(not_connected) end.

hold(Client, Tell) ->
    receive
        {sockeye, _, {closed, Code, _}} -> Tell({closed, Code}), hold(Client, Tell);
        {sockeye, _, {open, _}} -> hold(Client, Tell);
        {sockeye, _, Event} -> Tell(Event), hold(Client, Tell);
        {'EXIT', Client, _} -> ok;
        _ -> hold(Client, Tell)
    end.

%% Processes that hold servers and clients.
holders() ->
    [Pid || Pid <- processes(), {dictionary, Dictionary} <- [process_info(Pid, dictionary)], lists:member({?MODULE, holder}, Dictionary)].

%% ---------------------------------------------------------------- what comes to clients

%% The next frame, which is a number.
take(C, World) ->
    case found(C, World) of
        #{socket := Socket} ->
            case ws_client:recv(Socket, patience()) of
                {text, Text} -> binary_to_integer(Text);
                Other -> {C, Other}
            end;
        #{client := _} ->
            receive {C, Event} -> case Event of {json, N} -> N; _ -> {C, Event} end
            after patience() -> {C, timeout}
            end
    end.

%% The connection ends with one of these codes, and nothing comes before.
over(C, Codes, World) ->
    case found(C, World) of
        #{socket := Socket} ->
            Code = case ws_client:recv(Socket, patience()) of
                       {close, Number, _} ->
                           _ = ws_client:close(Socket, 1000, <<>>),
                           closed = ws_client:recv(Socket, patience()),
                           Number;
                       Other ->
                           Other
                   end,
            _ = ws_client:drop(Socket),
            is_one_of(C, Code, Codes);
        #{client := Client, holder := Holder} ->
            [begin
                 Monitor = monitor(process, Pid),
                 receive {'DOWN', Monitor, process, _, _} -> ok after patience() -> error({client_lives, C}) end
             end || Pid <- [Client, Holder]],
            %% One that was killed has told nothing.
            receive
                {C, {closed, 1006}} -> is_one_of(C, closed, Codes);
                {C, {closed, Code}} -> is_one_of(C, Code, Codes);
                {C, Event} -> error({C, Event})
            after 0 -> ok
            end
    end.

is_one_of(C, Code, Codes) ->
    lists:member(Code, Codes) orelse error({C, Code, not_one_of, Codes}),
    ok.

%% Nobody has got anything that the model knows nothing of.
nothing_more(#{conns := Conns}) ->
    [case ws_client:recv(Socket, 0) of
         timeout -> ok;
         closed -> ok;
         More -> error({C, More})
     end || {C, #{socket := Socket}} <- maps:to_list(Conns), is_port(Socket), erlang:port_info(Socket) =/= undefined],
    receive
        {sockeye_pubsub, _, _} = More -> error(More);
        {C, {json, N}} -> error({C, N})
    after 0 -> ok
    end.
