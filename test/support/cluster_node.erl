%% Nodes of a cluster, and what tests do on them.
-module(cluster_node).

-export([with_nodes/2]).
-export([with_shared/2]).
-export([stop_all/1]).
-export([start/1]).
-export([start/2]).
-export([connect/1]).
-export([server/2]).
-export([client/2]).
-export([got/2]).
-export([until/2]).
-export([on/2]).
-export([collect/1]).
-export([collected/1]).
-export([keep/1]).
-export([loop/1]).

-define(TIMEOUT, 60000).
%% A machine with much else to do takes longer than peer waits by itself.
-define(BOOT, 120000).

%% The test is called with so many nodes that know each other; or with one for each place of the engine in a list.
with_nodes(Which, Test) ->
    Nodes = start_all(Which),
    try Test(Nodes)
    after stop_all(Nodes)
    end.

%% The same nodes for all of these tests, {Title, Test}, with Sockeye started anew for each: a node takes seconds to start.
with_shared(Which, Tests) ->
    {setup, fun() -> start_all(Which) end, fun stop_all/1,
     fun(Nodes) -> [{Title, {timeout, 300, fun() -> begin_anew(Nodes), Test(Nodes) end}} || {Title, Test} <- Tests] end}.

start_all(Count) when is_integer(Count) ->
    start_all(lists:duplicate(Count, sockeye_backend:engine()));
start_all(Engines) ->
    Nodes = [start(N, #{env => [{"SOCKEYE_ENGINE", atom_to_list(Engine)}]})
             || {N, Engine} <- lists:zip(lists:seq(1, length(Engines)), Engines)],
    connect(Nodes),
    Nodes.

stop_all(Nodes) ->
    [test_support:attempt(fun() -> peer:stop(Peer) end) || {Peer, _} <- Nodes].

begin_anew(Nodes) ->
    [begin
         ok = on(Node, {application, stop, [sockeye]}),
         {ok, _} = on(Node, {application, ensure_all_started, [sockeye]})
     end || Node <- Nodes].

%% The way to a node is its standard input, so that a cut between nodes does not cut it. A node that says nothing for `net_ticktime' seconds
%% is given up by others; on a machine with much else to do that takes long to be true.
start(N) ->
    start(N, #{}).

start(unnamed, Options) ->
    started(Options);
start(N, Options) ->
    started(Options#{name => peer:random_name("sockeye" ++ integer_to_list(N))}).

started(Options) ->
    Paths = lists:append([["-pa", Dir] || Dir <- code:get_path(), filelib:is_dir(Dir)]),
    Own = maps:remove(net_ticktime, Options),
    {ok, Peer, Node} = peer:start(Own#{connection => standard_io, wait_boot => ?BOOT,
        args => ["-setcookie", "sockeye_test", "-kernel", "net_ticktime", integer_to_list(maps:get(net_ticktime, Options, 60)),
                 "-kernel", "prevent_overlapping_partitions", "false" | Paths]}),
    {ok, _} = peer:call(Peer, application, ensure_all_started, [sockeye], ?TIMEOUT),
    {Peer, Node}.

connect([{First, _} | Others] = All) ->
    [true = peer:call(First, net_kernel, connect_node, [Node]) || {_, Node} <- Others],
    [connect_all(Peer, All) || {Peer, _} <- Others],
    ok.

connect_all(Peer, All) ->
    [true = peer:call(Peer, net_kernel, connect_node, [Node]) || {_, Node} <- All].

on({Peer, _}, {M, F, A}) ->
    peer:call(Peer, M, F, A, ?TIMEOUT).

%% A server whose owner forgets what it gets, except the last connection.
server(Node, Options) ->
    Owner = on(Node, {?MODULE, keep, [loop]}),
    on(Node, {?MODULE, keep, [{start, Owner, maps:merge((test_support:patient())#{name => chat, scope => cluster}, Options)}]}).

%% A connection: {Socket here, Conn there}.
client(Node, Name) ->
    {ok, #{port := Port}} = on(Node, {sockeye, info, [Name]}),
    {ok, Before} = on(Node, {sockeye, connections, [Name]}),
    Socket = ws_client:connect(Port),
    [Conn] = until(fun() -> test_support:ok(on(Node, {sockeye, connections, [Name]})) -- Before end,
                   fun(New) -> New =/= [] end),
    {Socket, Conn}.

got(Socket, Count) ->
    [ws_client:recv_data(Socket) || _ <- lists:seq(1, Count)].

%% What the node says, once it is so: news travel between nodes in their time.
until(Ask, Good) ->
    until(Ask, Good, erlang:monotonic_time(millisecond) + ?TIMEOUT).

until(Ask, Good, Deadline) ->
    Answer = Ask(),
    case Good(Answer) of
        true -> Answer;
        false ->
            erlang:monotonic_time(millisecond) < Deadline orelse error({never, Answer}),
            timer:sleep(5),
            until(Ask, Good, Deadline)
    end.

%% Runs on a node, for longer than the call.
keep(loop) ->
    spawn(fun F() -> receive _ -> F() end end);
keep({start, Owner, Options}) ->
    Self = self(),
    spawn(fun() ->
                  {ok, Server} = sockeye:start_link(Options#{handler => Owner}),
                  Self ! {started, Server},
                  receive stop -> ok end
          end),
    receive {started, Server} -> Server end.

%% A process that keeps its messages.
collect(Setup) ->
    Self = self(),
    Pid = spawn(fun() -> Setup(), Self ! ready, loop([]) end),
    receive ready -> Pid end.

loop(Got) ->
    receive
        {collected, From} -> From ! {collected, self(), lists:reverse(Got)}, loop(Got);
        Message -> loop([Message | Got])
    end.

collected(Pid) ->
    Pid ! {collected, self()},
    receive {collected, Pid, Got} -> Got end.
