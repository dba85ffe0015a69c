%% Carries out the commands of cluster_model on three nodes, which with/1 starts, and compares after each what comes to clients and
%% processes, and what each node knows.
-module(cluster_world).

-export([with/1]).
-export([on_all/1]).
-export([carry_out/1]).
-export([seen/1]).
-export([collector/0]).
-export([left/0]).

-import(api_clients, [patience/0]).
-import(cluster_node, [on/2]).

-define(NODES, {?MODULE, nodes}).
-define(COOKIE, sockeye_test).

%% Lists of commands in Test have these nodes.
with(Test) ->
    cluster_node:with_nodes(3, fun(Nodes) ->
        [ok = on(Node, {logger, set_primary_config, [level, none]}) || Node <- Nodes],
        ok = persistent_term:put(?NODES, maps:from_list(lists:zip([1, 2, 3], Nodes))),
        try Test() after persistent_term:erase(?NODES) end
    end).

%% {Module, Function, Arguments} on each.
on_all(Call) ->
    [on(Node, Call) || Node <- maps:values(persistent_term:get(?NODES))],
    ok.

carry_out(Commands) ->
    Nodes = persistent_term:get(?NODES),
    World = #{nodes => Nodes, conns => #{}, told => #{1 => [], 2 => [], 3 => []},
              collectors => maps:map(fun(_, Node) -> on(Node, {?MODULE, collector, []}) end, Nodes)},
    Before = maps:map(fun(_, Node) -> on(Node, {?MODULE, left, []}) end, Nodes),
    try
        First = cluster_model:first(),
        [_ = cluster_node:server(Node, #{}) || Node <- maps:values(Nodes)],
        agree(First, World),
        {#{cuts := Cuts, servers := Servers}, _} = End = lists:foldl(fun one/2, {First, World}, Commands),
        _ = lists:foldl(fun one/2, End, [{heal, Pair} || Pair <- Cuts] ++ [{stop, S} || S <- maps:keys(Servers)]),
        [until(fun() -> case on(Node, {?MODULE, left, []}) -- maps:get(Of, Before) of [] -> true; Left -> {left, Of, Left} end end)
         || {Of, Node} <- maps:to_list(Nodes)],
        ok
    after
        begin_anew(World)
    end.

%% The next list finds nodes that know each other, without servers; supervisors count no crashes of this one.
begin_anew(#{nodes := Nodes, collectors := Collectors}) ->
    ws_client:drop_all(),
    [heal(Pair, Nodes) || Pair <- [{1, 2}, {1, 3}, {2, 3}]],
    [begin
         ok = on(Node, {application, stop, [sockeye]}),
         {ok, _} = on(Node, {application, ensure_all_started, [sockeye]}),
         on(Node, {erlang, exit, [maps:get(Of, Collectors), kill]})
     end || {Of, Node} <- maps:to_list(Nodes)].

one(Command, {Model, World}) ->
    case cluster_model:is_possible(Command, Model) of
        false -> {Model, World};
        true ->
            try checked(Command, cluster_model:step(Command, Model), World)
            catch Class:Reason:Stack -> erlang:raise(Class, {Command, Reason}, Stack)
            end
    end.

checked(Command, #{sent := Sent, frames := Frames, told := Told, ends := Ends, model := Model}, World) ->
    {Result, #{told := Before} = Done} = perform(Command, World),
    Expected = case Sent of none -> ok; _ -> {ok, #{sent => Sent, dropped => 0}} end,
    Result =:= Expected orelse error({returned, Result, not_this, Expected}),
    [case ws_client:recv(socket(C, Done), patience()) of
         {text, Text} -> Text =:= integer_to_binary(N) orelse error({came, C, Text, not_this, N});
         Other -> error({came, C, Other, not_this, N})
     end || {C, N} <- Frames],
    [begin
         %% An application that is stopped gives clients little time.
         _ = ws_client:recv_close(socket(C, Done)),
         ws_client:drop(socket(C, Done))
     end || C <- Ends],
    Now = Done#{told := lists:foldl(fun({Node, T, N}, All) -> maps:update_with(Node, fun(Sofar) -> Sofar ++ [{T, N}] end, All) end, Before, Told)},
    [are_told(Node, Now) || {Node, _, _} <- Told],
    agree(Model, Now),
    {Model, Now}.

are_told(Of, #{nodes := Nodes, collectors := Collectors, told := Told}) ->
    #{Of := Node} = Nodes,
    #{Of := Expected} = Told,
    until(fun() ->
        Got = [{T, N} || {sockeye_pubsub, T, {json, N}} <- on(Node, {cluster_node, collected, [maps:get(Of, Collectors)]})],
        Got =:= Expected orelse {told, Of, Got, not_this, Expected}
    end).

agree(#{servers := Servers} = Model, #{nodes := Nodes}) ->
    [begin
         Knows = {_, Topics} = cluster_model:knows(S, Model),
         Asked = [T || {T, _, _} <- Topics],
         until(fun() ->
             case on(maps:get(S, Nodes), {?MODULE, seen, [Asked]}) of
                 Knows -> true;
                 Other -> {node, S, knows, Other, not_this, Knows}
             end
         end)
     end || S <- maps:keys(Servers)].

%% On the node.
seen(Topics) ->
    {length(sockeye_cluster:targets(chat, all)),
     [begin
          {ok, Present} = sockeye_presence:list(chat, T),
          {T, maps:map(fun(_, Metas) -> lists:sort(Metas) end, Present), length(sockeye_cluster:targets(chat, T))}
      end || T <- Topics]}.

collector() -> cluster_node:collect(fun() -> ok end).

%% What nobody needs any more.
left() ->
    [{Key, N} || {Key, N} <- maps:to_list(maps:without([running, monitors, descriptors, threads, ports], census:take())), N =/= 0].

until(Test) -> hostile_client:until(Test, patience()).

socket(C, #{conns := Conns}) -> element(1, maps:get(C, Conns)).

%% ---------------------------------------------------------------- commands

perform({start, Of}, #{nodes := Nodes} = World) -> _ = cluster_node:server(maps:get(Of, Nodes), #{}), {ok, World};
perform({stop, Of}, World) -> {call(Of, {sockeye, stop, [chat]}, World), World};
perform({restart, Of}, World) ->
    ok = call(Of, {application, stop, [sockeye]}, World),
    {ok, _} = call(Of, {application, ensure_all_started, [sockeye]}, World),
    {ok, World};
perform({connect, C, Of}, #{nodes := Nodes, conns := Conns} = World) ->
    {Socket, Conn} = cluster_node:client(maps:get(Of, Nodes), chat),
    {ok, World#{conns := Conns#{C => {Socket, Of, Conn}}}};
perform({leave, C}, World) -> ws_client:drop(socket(C, World)), {ok, World};
perform({subscribe, C, T}, World) -> {of_conn(C, sockeye, subscribe, [T], World), World};
perform({unsubscribe, C, T}, World) -> {of_conn(C, sockeye, unsubscribe, [T], World), World};
perform({track, C, T, Key, Meta}, World) -> {of_conn(C, sockeye_presence, track, [T, Key, Meta], World), World};
perform({untrack, C, T, Key}, World) -> {of_conn(C, sockeye_presence, untrack, [T, Key], World), World};
perform({join, Of, T}, World) -> {call(Of, {sockeye_pubsub, subscribe, [chat, T, collector(Of, World)]}, World), World};
perform({part, Of, T}, World) -> {call(Of, {sockeye_pubsub, unsubscribe, [chat, T, collector(Of, World)]}, World), World};
perform({publish, Of, T, N}, World) -> {call(Of, {sockeye, publish, [chat, T, {json, N}, #{wait => true}]}, World), World};
perform({publish_here, Of, T, N}, World) -> {call(Of, {sockeye, publish, [chat, T, {json, N}, #{wait => true, scope => local}]}, World), World};
perform({publish_from, C, T, N}, World) -> {of_conn(C, sockeye, publish_from, [T, {json, N}, #{wait => true}], World), World};
perform({broadcast, Of, N}, World) -> {call(Of, {sockeye, broadcast, [chat, {json, N}, #{wait => true}]}, World), World};
perform({cut, {A, B}}, #{nodes := Nodes} = World) ->
    #{A := {_, NameA} = NodeA, B := {_, NameB} = NodeB} = Nodes,
    %% Each is a stranger to the other from now on.
    true = on(NodeA, {erlang, set_cookie, [NameB, stranger]}),
    true = on(NodeB, {erlang, set_cookie, [NameA, another]}),
    _ = on(NodeA, {erlang, disconnect_node, [NameB]}),
    until(fun() -> not is_connected(NodeA, NameB) andalso not is_connected(NodeB, NameA) orelse connected end),
    {ok, World};
perform({heal, Pair}, #{nodes := Nodes} = World) -> heal(Pair, Nodes), {ok, World};
perform({kill, Of, Name}, World) ->
    Old = call(Of, {erlang, whereis, [Name]}, World),
    true = call(Of, {erlang, exit, [Old, kill]}, World),
    until(fun() -> New = call(Of, {erlang, whereis, [Name]}, World), is_pid(New) andalso New =/= Old orelse {Name, New} end),
    {ok, World}.

heal({A, B}, Nodes) ->
    #{A := {_, NameA} = NodeA, B := {_, NameB} = NodeB} = Nodes,
    true = on(NodeA, {erlang, set_cookie, [NameB, ?COOKIE]}),
    true = on(NodeB, {erlang, set_cookie, [NameA, ?COOKIE]}),
    until(fun() -> on(NodeA, {net_kernel, connect_node, [NameB]}) andalso is_connected(NodeB, NameA) orelse not_connected end).

is_connected(Node, Other) -> lists:member(Other, on(Node, {erlang, nodes, []})).

call(Of, Call, #{nodes := Nodes}) -> on(maps:get(Of, Nodes), Call).

of_conn(C, Module, Function, Arguments, #{conns := Conns} = World) ->
    #{C := {_, Of, Conn}} = Conns,
    call(Of, {Module, Function, [Conn | Arguments]}, World).

collector(Of, #{collectors := Collectors}) -> maps:get(Of, Collectors).
