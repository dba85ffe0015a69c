%% How much is resident while clients come and go at the same rate all the time: in a node with the library, and in one with the
%% engine as a process of its own, where node and engine are looked at apart. The clients are in this node, which nobody looks at.
-module(soak_churn).

-export([run/1]).
-export([serve/1]).
-export([counted/0]).

%% Clients a second for each of the two nodes, what each says, and when: 5,000 are open all the time.
-define(CLIENTS, 25).
-define(MESSAGES, 20).
-define(BETWEEN_MS, 10000).
-define(SIZES, [64, 64, 64, 64, 64, 1000, 1000, 1000, 16000, 64000]).
%% One client in so many says this once, in a frame of its own.
-define(LARGE, 1000000).
-define(FEW, 100).
%% What is resident is looked at each second, and its medians are of so many parts of the time, the first of which are the warm-up.
-define(PARTS, 12).
-define(WARM, 3).
-define(WITHIN, 2.0).
-define(TIMEOUT, 300000).
%% On a machine that does other things too a client may wait for longer than it or its server will: so many of a thousand.
-define(MAY_FAIL, 1).

%% Returns, for each process, how many per cent the medians after the warm-up are away from the first of them at most.
run(#{time := Time, seed := Seed}) ->
    {ok, _} = application:ensure_all_started(ssl),
    persistent_term:put(?MODULE, maps:from_list([{Size, frame(Size)} || Size <- [?LARGE | lists:usort(?SIZES)]])),
    Tls = test_certs:localhost(),
    Nodes = [node_with(Engine, Tls) || Engine <- [nif, port]],
    Begin = erlang:monotonic_time(millisecond),
    Self = self(),
    Clients = spawn_link(fun() -> process_flag(trap_exit, true), Self ! {self(), clients(Nodes, Seed, Begin, Begin + Time, {0, 0, []})} end),
    Processes = lists:append([processes(Node) || Node <- Nodes]),
    Medians = [part(Nodes, Processes, N, Begin + N * Time div ?PARTS) || N <- lists:seq(1, ?PARTS)],
    Away = [{Name, away([maps:get(Name, Part) || Part <- lists:nthtail(?WARM, Medians)])} || {Name, _} <- Processes],
    [say("~ts: resident after the warm-up at most ~.2f % away, ~.2f % an hour", [Name, Most, Trend * 3600000 / (Time / ?PARTS)])
     || {Name, {Most, Trend}} <- Away],
    {Came, Failed} = receive {Clients, Done} -> Done end,
    say("~b clients came, ~b failed: ~0p", [Came, length(Failed), lists:usort(Failed)]),
    [none = left(Node, 600) || Node <- Nodes],
    [ok = peer:stop(Peer) || #{peer := Peer} <- Nodes],
    true = length(Failed) * 1000 =< ?MAY_FAIL * Came,
    [] = [Name || {Name, {Most, _}} <- Away, Most > ?WITHIN],
    #{clients => Came, at_most_percent => [{Name, Most} || {Name, {Most, _}} <- Away]}.

%% ---------------------------------------------------------------- nodes

node_with(Engine, Tls) ->
    {ok, Peer, _} = peer:start_link(#{connection => standard_io, wait_boot => ?TIMEOUT, env => [{"SOCKEYE_ENGINE", atom_to_list(Engine)}],
                                      args => ["+sbwt", "none", "-pa" | lists:usort([filename:dirname(code:which(M)) || M <- [sockeye, ?MODULE]])]}),
    Ports = peer:call(Peer, ?MODULE, serve, [Tls], ?TIMEOUT),
    #{engine => Engine, peer => Peer, ports => Ports}.

%% In the node. Servers end with it.
serve(Tls) ->
    ok = logger:set_primary_config(level, error),
    {ok, _} = application:ensure_all_started(sockeye),
    Self = self(),
    _ = spawn(fun() ->
        Self ! {ports, [{Kind, port(options(Kind, Tls))} || Kind <- [one, each, one_tls, each_tls, http2]]},
        receive stop -> ok end
    end),
    receive {ports, Ports} -> Ports end.

port(Options) ->
    %% A busy machine is no reason to end a client early.
    {ok, Server} = sockeye:start_link(Options#{port => 0, handler => {bare_handler, []}, handshake_timeout => ?TIMEOUT}),
    {ok, #{port := Port}} = sockeye:info(Server),
    Port.

options(one, _) -> #{};
options(each, _) -> #{processes => per_connection};
options(one_tls, Tls) -> #{tls => Tls};
options(each_tls, Tls) -> #{tls => Tls, processes => per_connection};
options(http2, _) -> #{http2 => cleartext}.

processes(#{engine := Engine, peer := Peer}) ->
    {ok, Info} = peer:call(Peer, sockeye, info, []),
    [{node_name(Engine), peer:call(Peer, os, getpid, [])} | [{"port, its engine", integer_to_list(OsPid)} || #{os_pid := OsPid} <- [Info]]].

node_name(nif) -> "library, its node";
node_name(port) -> "port, its node".

%% In the node: what the VM counts, what its allocators have from the system for that, and what the engine counts.
counted() ->
    {ok, #{memory := Engine, connections := Open}} = sockeye:info(),
    Carriers = [{Allocator, carriers(erlang:system_info({allocator_sizes, Allocator}))} || Allocator <- erlang:system_info(alloc_util_allocators)],
    #{vm => erlang:memory(total), carriers => lists:sum([Size || {_, Size} <- Carriers]),
      heaps => proplists:get_value(eheap_alloc, Carriers), binaries => proplists:get_value(binary_alloc, Carriers),
      engine => Engine, connections => Open}.

carriers(Sizes) when is_tuple(Sizes), element(1, Sizes) =:= carriers_size -> element(2, Sizes);
carriers(Sizes) when is_tuple(Sizes) -> carriers(tuple_to_list(Sizes));
carriers(Sizes) when is_list(Sizes) -> lists:sum([carriers(Size) || Size <- Sizes]);
carriers(_) -> 0.

left(#{peer := Peer} = Node, Tries) ->
    case peer:call(Peer, ?MODULE, counted, [], ?TIMEOUT) of
        #{connections := 0} -> none;
        Counted when Tries =:= 0 -> Counted;
        _ -> receive after 100 -> left(Node, Tries - 1) end
    end.

%% ---------------------------------------------------------------- what is resident

%% The medians of one part of the time.
part(Nodes, Processes, N, End) ->
    Samples = samples(Processes, End, []),
    All = maps:from_list([{Name, median([maps:get(Name, Sample) || Sample <- Samples])} || {Name, _} <- Processes]),
    say("~b of ~b, MB: ~ts", [N, ?PARTS, lists:join(", ", [io_lib:format("~ts ~.2f", [Name, mb(maps:get(Name, All))]) || {Name, _} <- Processes])]),
    [say("    ~s: ~ts", [Engine, lists:join(", ", [io_lib:format("~s ~.2f", [Key, mb(Size)]) || {Key, Size} <- maps:to_list(maps:remove(connections, Counted))]
                                            ++ [io_lib:format("~b connections", [maps:get(connections, Counted)])])])
     || #{engine := Engine, peer := Peer} <- Nodes, Counted <- [peer:call(Peer, ?MODULE, counted, [], ?TIMEOUT)]],
    All.

samples(Processes, End, Samples) ->
    receive after 1000 -> ok end,
    More = [maps:from_list([{Name, resident:anonymous(OsPid)} || {Name, OsPid} <- Processes]) | Samples],
    case erlang:monotonic_time(millisecond) < End of
        true -> samples(Processes, End, More);
        false -> More
    end.

%% From the first, and in a straight line from one to the next, in per cent.
away([First | _] = Medians) ->
    Percents = [100 * (Median - First) / First || Median <- Medians],
    {lists:max([abs(Percent) || Percent <- Percents]), slope(Percents)}.

slope(Ys) ->
    N = length(Ys),
    Xs = lists:seq(1, N),
    MeanX = lists:sum(Xs) / N,
    MeanY = lists:sum(Ys) / N,
    lists:sum([(X - MeanX) * (Y - MeanY) || {X, Y} <- lists:zip(Xs, Ys)]) / lists:sum([(X - MeanX) * (X - MeanX) || X <- Xs]).

median(Sizes) ->
    lists:nth((length(Sizes) + 1) div 2, lists:sort(Sizes)).

mb(Bytes) -> Bytes / 1.0e6.

%% ---------------------------------------------------------------- clients

%% One at each node at a time that was known before. How many came, and why some of them failed.
clients(Nodes, Seed, Begin, End, {N, Open, Failed}) ->
    At = Begin + N * 1000 div ?CLIENTS,
    receive
        {'EXIT', _, Reason} -> clients(Nodes, Seed, Begin, End, {N, Open - 1, failed(Reason, Failed)})
    after max(0, At - erlang:monotonic_time(millisecond)) ->
        case At < End of
            true ->
                [spawn_link(fun() -> rand:seed(exsss, {Seed, N, 0}), client(N, Ports) end) || #{ports := Ports} <- Nodes],
                clients(Nodes, Seed, Begin, End, {N + 1, Open + length(Nodes), Failed});
            false ->
                Rest = [receive {'EXIT', _, Reason} -> Reason after ?TIMEOUT -> error(client_does_not_end) end || _ <- lists:seq(1, Open)],
                {N * length(Nodes), lists:foldl(fun failed/2, Failed, Rest)}
        end
    end.

failed(normal, Failed) -> Failed;
failed({Reason, [{Module, Function, _, _} | _]}, Failed) -> failed_for({Module, Function, Reason}, Failed);
failed(Reason, Failed) -> failed_for(Reason, Failed).

failed_for(Why, Failed) ->
    say("~b failed, this one for ~0p", [length(Failed) + 1, Why]),
    [Why | Failed].

client(N, Ports) ->
    {Kind, Port} = lists:nth(N rem length(Ports) + 1, Ports),
    Client = connect(Kind, Port),
    First = lists:foldl(fun(Size, C) -> exchange(C, Size) end, Client, [?LARGE || N rem ?FEW =:= 0, Kind =/= http2]),
    Begin = erlang:monotonic_time(millisecond),
    Last = lists:foldl(
        fun(I, C) ->
            Next = exchange(C, size_of(Kind)),
            receive after max(0, Begin + I * ?BETWEEN_MS - erlang:monotonic_time(millisecond)) -> Next end
        end, First, lists:seq(1, ?MESSAGES)),
    leave(Last, rand:uniform(2)).

%% A window of HTTP/2 has room for this.
size_of(http2) -> min(16000, size_of(any));
size_of(_) -> lists:nth(rand:uniform(length(?SIZES)), ?SIZES).

connect(http2, Port) ->
    Socket = hostile_client:connect(Port),
    ok = h2_frames:shake(Socket),
    ok = gen_tcp:send(Socket, h2_frames:open_stream(1)),
    {http2, Socket, <<>>};
connect(Kind, Port) ->
    Options = case lists:member(Kind, [one_tls, each_tls]) of
                  true -> #{tls => [{verify, verify_none}]};
                  false -> #{}
              end,
    {ok, Socket} = sockeye_test_client:connect(Port, Options#{timeout => ?TIMEOUT}),
    {http1, Socket, <<>>}.

%% JSON of that many bytes, and what comes back is as long.
exchange({Kind, Socket, _} = Client, Size) ->
    Bytes = maps:get(Size, persistent_term:get(?MODULE)),
    ok = say_frame(Kind, Socket, Bytes),
    answered(Client, Size).

%% A server that has heard nothing for long asks whether anybody is there.
answered({Kind, Socket, Came}, Size) ->
    case Came of
        <<1:1, 0:3, 1:4, 0:1, Size:7, _:Size/binary, Rest/binary>> -> {Kind, Socket, Rest};
        <<1:1, 0:3, 1:4, 0:1, 126:7, Size:16, _:Size/binary, Rest/binary>> -> {Kind, Socket, Rest};
        <<1:1, 0:3, 1:4, 0:1, 127:7, Size:64, _:Size/binary, Rest/binary>> -> {Kind, Socket, Rest};
        <<1:1, 0:3, 9:4, 0:1, Length:7, Asked:Length/binary, Rest/binary>> ->
            ok = say_frame(Kind, Socket, iolist_to_binary(sockeye_test_client:frame(pong, Asked))),
            answered({Kind, Socket, Rest}, Size);
        _ ->
            answered({Kind, Socket, iolist_to_binary([Came | come(Kind, Socket)])}, Size)
    end.

say_frame(http1, Socket, Bytes) -> sockeye_test_client:raw(Socket, Bytes);
say_frame(http2, Socket, Bytes) -> gen_tcp:send(Socket, h2_frames:data(1, Bytes)).

%% What comes next.
come(http1, Socket) ->
    {ok, Bytes} = take(Socket, 0),
    [Bytes];
come(http2, Socket) ->
    {ok, <<Length:24, Type, Flags, _:1, Stream:31>>} = take(Socket, 9),
    {ok, Bytes} = case Length of 0 -> {ok, <<>>}; _ -> take(Socket, Length) end,
    case {Type, Stream} of
        {0, 1} ->
            ok = gen_tcp:send(Socket, [h2_frames:window(Of, Length) || Of <- [0, 1], Length > 0]),
            [Bytes];
        {6, 0} when Flags band 1 =:= 0 ->
            ok = gen_tcp:send(Socket, h2_frames:frame(6, 1, 0, Bytes)),
            [];
        {Other, _} when Other =/= 3, Other =/= 7 ->
            []
    end.

take(Socket, Size) when element(1, Socket) =:= sslsocket -> ssl:recv(Socket, Size, ?TIMEOUT);
take(Socket, Size) -> gen_tcp:recv(Socket, Size, ?TIMEOUT).

frame(Size) ->
    iolist_to_binary(sockeye_test_client:frame(text, [$", binary:copy(<<"x">>, Size - 2), $"])).

leave({_, Socket, _}, 1) -> sockeye_test_client:drop(Socket);
leave({http1, Socket, Came}, 2) ->
    ok = sockeye_test_client:send(Socket, {close, 1000, <<>>}),
    ok = closed(Socket, Came),
    sockeye_test_client:close(Socket);
leave({http2, Socket, _}, 2) ->
    gen_tcp:close(Socket).

%% Past a ping that has crossed our Close.
closed(Socket, Came) ->
    case Came of
        <<1:1, 0:3, 8:4, 0:1, 2:7, 1000:16>> -> ok;
        <<1:1, 0:3, 9:4, 0:1, Length:7, _:Length/binary, Rest/binary>> -> closed(Socket, Rest);
        _ -> closed(Socket, iolist_to_binary([Came | come(http1, Socket)]))
    end.

say(Format, Args) ->
    io:format(Format ++ "~n", Args).
