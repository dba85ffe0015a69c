%% What is promised of topics, broadcasts and presence over nodes: a model of three of them, the connections between them, and a server of
%% one name on each. Frames reach who subscribes on nodes that can be reached, once and in order; each node knows the others'
%% subscriptions and who is present there, until it is cut off from them, and again when it is not. Nothing here has a side effect.
-module(cluster_model).
-behaviour(random_commands).

-export([first/0]).
-export([choose/1]).
-export([is_possible/2]).
-export([next/2]).
-export([step/2]).
-export([knows/2]).
-export([carry_out/1]).

%% `subscribed': topics of a process on the node. `crashes': supervisors allow three in ten seconds.
-type model() :: #{next := pos_integer(), servers := #{1..3 => [binary()]}, cuts := [{1..3, 1..3}], crashes := 0..3,
                   conns := #{pos_integer() => #{node := 1..3, topics := [binary()], present := map()}}}.

-define(CONNS, 8).

-spec first() -> model().
first() ->
    #{next => 1, servers => #{1 => [], 2 => [], 3 => []}, cuts => [], crashes => 0, conns => #{}}.

carry_out(Commands) -> cluster_world:carry_out(Commands).

choose(#{next := New, servers := Servers, conns := Conns, cuts := Cuts} = M) ->
    S = any(maps:keys(Servers), 0),
    C = any(maps:keys(Conns), 0),
    T = any(topics()),
    Pattern = any(topics() ++ [<<"b/*">>]),
    Commands =
        [{6, {start, any([1, 2, 3])}}, {2, {stop, S}}, {2, {restart, any([1, 2, 3])}},
         {20, {connect, New, S}}, {3, {leave, C}},
         {14, {subscribe, C, Pattern}}, {6, {unsubscribe, C, Pattern}}, {6, {join, S, Pattern}}, {3, {part, S, Pattern}},
         {14, {track, C, T, any([ann, bob]), New}}, {4, {untrack, C, T, any([ann, bob])}},
         {16, {publish, S, T, New}}, {6, {publish_from, C, T, New}}, {6, {broadcast, S, New}}, {4, {publish_here, S, T, New}},
         {8, {cut, any([{1, 2}, {1, 3}, {2, 3}])}}, {16, {heal, any(Cuts, none)}},
         {4, {kill, any([1, 2, 3]), any(relays())}}],
    picked([{W, Command} || {W, Command} <- Commands, is_possible(Command, M)]).

picked(Weighted) -> pick(rand:uniform(lists:sum([W || {W, _} <- Weighted])), Weighted).

pick(N, [{W, Command} | _]) when N =< W -> Command;
pick(N, [{W, _} | Rest]) -> pick(N - W, Rest).

any([], None) -> None;
any(List, _) -> any(List).
any(List) -> lists:nth(rand:uniform(length(List)), List).

topics() -> [<<"a">>, <<"b/c">>, <<"b/d">>].

relays() -> [sockeye_topics, sockeye_cluster, sockeye_groups, sockeye_pubsub_server, sockeye_presence_server].

is_possible({start, Node}, #{servers := Servers}) -> not is_map_key(Node, Servers);
is_possible({restart, _}, _) -> true;
is_possible({connect, New, S}, #{next := Next, conns := Conns} = M) -> New >= Next andalso is_server(S, M) andalso map_size(Conns) < ?CONNS;
is_possible({cut, Pair}, #{cuts := Cuts}) -> not lists:member(Pair, Cuts);
is_possible({heal, Pair}, #{cuts := Cuts}) -> lists:member(Pair, Cuts);
is_possible({kill, _, _}, #{crashes := Crashes}) -> Crashes < 3;
is_possible(Command, M) when element(1, Command) =:= leave; element(1, Command) =:= subscribe; element(1, Command) =:= unsubscribe;
                             element(1, Command) =:= track; element(1, Command) =:= untrack; element(1, Command) =:= publish_from ->
    #{conns := Conns} = M,
    is_map_key(element(2, Command), Conns);
is_possible(Command, M) -> is_server(element(2, Command), M).

is_server(S, #{servers := Servers}) -> is_map_key(S, Servers).

next(Command, Model) ->
    #{model := Next} = step(Command, Model),
    Next.

%% `sent': how many clients of the node a call counts, if it counts; `frames' {Connection, Number}; `told' {Node, Topic, Number} to its
%% process; `ends' connections; the model afterwards.
step(Command, #{next := Next} = M) ->
    Done = maps:merge(#{sent => none, frames => [], told => [], ends => [], model => M}, done(Command, M)),
    #{model := After} = Done,
    Done#{model := After#{next := max(Next, number(Command) + 1)}}.

number({connect, New, _}) -> New;
number({track, _, _, _, New}) -> New;
number({broadcast, _, New}) -> New;
number({publish_from, _, _, New}) -> New;
number({publish, _, _, New}) -> New;
number({publish_here, _, _, New}) -> New;
number(_) -> 0.

done({start, Node}, #{servers := Servers} = M) -> #{model => M#{servers := Servers#{Node => []}}};
done({stop, S}, M) -> ended(S, M);
done({restart, Node}, M) -> ended(Node, M);
done({connect, C, S}, #{conns := Conns} = M) -> #{model => M#{conns := Conns#{C => #{node => S, topics => [], present => #{}}}}};
done({leave, C}, #{conns := Conns} = M) -> #{model => M#{conns := maps:remove(C, Conns)}};
done({subscribe, C, T}, M) -> of_conn(C, M, fun(#{topics := Topics} = Conn) -> Conn#{topics := lists:usort([T | Topics])} end);
done({unsubscribe, C, T}, M) -> of_conn(C, M, fun(#{topics := Topics} = Conn) -> Conn#{topics := Topics -- [T]} end);
done({track, C, T, Key, Meta}, M) -> of_conn(C, M, fun(#{present := Present} = Conn) -> Conn#{present := Present#{{T, Key} => Meta}} end);
done({untrack, C, T, Key}, M) -> of_conn(C, M, fun(#{present := Present} = Conn) -> Conn#{present := maps:remove({T, Key}, Present)} end);
done({join, S, T}, #{servers := Servers} = M) -> #{model => M#{servers := maps:update_with(S, fun(Topics) -> lists:usort([T | Topics]) end, Servers)}};
done({part, S, T}, #{servers := Servers} = M) -> #{model => M#{servers := maps:update_with(S, fun(Topics) -> Topics -- [T] end, Servers)}};
done({publish, S, T, N}, M) -> published(S, T, reached(S, M), [], N, M);
done({publish_here, S, T, N}, M) -> published(S, T, [S], [], N, M);
done({publish_from, C, T, N}, #{conns := Conns} = M) ->
    #{C := #{node := S}} = Conns,
    published(S, T, reached(S, M), [C], N, M);
done({broadcast, S, N}, #{conns := Conns} = M) ->
    Nodes = reached(S, M),
    #{sent => length([C || {C, #{node := Node}} <- maps:to_list(Conns), Node =:= S]),
      frames => [{C, N} || {C, #{node := Node}} <- maps:to_list(Conns), lists:member(Node, Nodes)]};
done({cut, Pair}, #{cuts := Cuts} = M) -> #{model => M#{cuts := [Pair | Cuts]}};
done({heal, Pair}, #{cuts := Cuts} = M) -> #{model => M#{cuts := Cuts -- [Pair]}};
done({kill, _, _}, #{crashes := Crashes} = M) -> #{model => M#{crashes := Crashes + 1}}.

of_conn(C, #{conns := Conns} = M, Change) -> #{model => M#{conns := maps:update_with(C, Change, Conns)}}.

ended(Node, #{servers := Servers, conns := Conns} = M) ->
    Gone = [C || {C, #{node := Of}} <- maps:to_list(Conns), Of =:= Node],
    #{ends => Gone, model => M#{servers := maps:remove(Node, Servers), conns := maps:without(Gone, Conns)}}.

published(S, T, Nodes, Except, N, #{servers := Servers} = M) ->
    Conns = subscribers(T, Nodes, M) -- Except,
    #{sent => length(Conns -- (Conns -- subscribers(T, [S], M))), frames => [{C, N} || C <- Conns],
      told => [{Node, T, N} || Node <- Nodes, is_in(T, maps:get(Node, Servers))]}.

subscribers(T, Nodes, #{conns := Conns}) ->
    [C || {C, #{node := Node, topics := Topics}} <- maps:to_list(Conns), lists:member(Node, Nodes), is_in(T, Topics)].

%% The node and those with a server that are not cut off from it.
reached(S, #{servers := Servers, cuts := Cuts}) ->
    [Node || Node <- maps:keys(Servers), not lists:member({min(S, Node), max(S, Node)}, Cuts)].

is_in(T, Topics) -> lists:any(fun(Topic) -> is_match(T, Topic) end, Topics).

is_match(T, <<"b/*">>) -> binary:part(T, 0, 1) =:= <<"b">>;
is_match(T, Topic) -> T =:= Topic.

%% What a node with a server must know in the end: for each topic, who is present, and how many others want it; how many have a server.
knows(S, #{conns := Conns, servers := Servers} = M) ->
    Nodes = reached(S, M),
    Others = Nodes -- [S],
    Present = fun(T) ->
        Entries = [{Key, Meta} || #{node := Node, present := Present} <- maps:values(Conns), lists:member(Node, Nodes),
                                  {{Topic, Key}, Meta} <- maps:to_list(Present), Topic =:= T],
        maps:map(fun(_, Metas) -> lists:sort(Metas) end, maps:groups_from_list(fun({Key, _}) -> Key end, fun({_, Meta}) -> Meta end, Entries))
    end,
    Wants = fun(T, Node) -> subscribers(T, [Node], M) =/= [] orelse is_in(T, maps:get(Node, Servers)) end,
    %% What matches a pattern is found out there.
    Pattern = fun(Node) -> lists:any(fun(Topics) -> lists:member(<<"b/*">>, Topics) end,
                                     [maps:get(Node, Servers) | [Topics || #{node := Of, topics := Topics} <- maps:values(Conns), Of =:= Node]]) end,
    {length(Others), [{T, Present(T), length([Node || Node <- Others, Wants(T, Node) orelse Pattern(Node)])} || T <- topics()]}.
