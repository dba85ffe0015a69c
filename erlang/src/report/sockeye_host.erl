%% @private
%% What a host needs for a number of connections, beside what it has. Pure but for check/2: sockeye_host_facts reads the facts.
-module(sockeye_host).

-export([check/2]).
-export([parse/1]).
-export([rows/3]).
-export([findings/1]).
-export([text/3]).

-export_type([facts/0, options/0, row/0, finding/0]).

%% A fact that is unknown has no key. `connections' are open already and have taken their part of the others.
-type facts() :: #{connections | engine_port | descriptors | descriptors_used | descriptors_hard | descriptor_reserve | nr_open | file_max | files_used |
                   process_limit | process_count | somaxconn | syn_backlog | syncookies | tcp_pages | tcp_pages_used |
                   conntrack_max | conntrack_used | memory | local_ports => non_neg_integer()}.
-type options() :: #{processes := one | pos_integer() | per_connection, tls := boolean(), http2 := boolean(), client := boolean(),
                     backlog := pos_integer(), print := boolean()}.
-type finding() :: #{what := atom(), is := non_neg_integer(), needed := pos_integer(), raise := binary()}.
-type row() :: #{what := atom(), is := non_neg_integer() | unknown, needed := pos_integer(), raise := binary()}.

%% WebSockets of an HTTP/2 connection: the engine allows no more streams.
-define(STREAMS, 100).
%% Bytes of a connection: the most that bench/SCALE.md has after any step, in either kind of engine, rounded up.
-define(BYTES, 2500).
-define(PROCESS_BYTES, 2000).
-define(TLS_BYTES, 9000).
-define(STREAM_BYTES, 7000).
%% Of its socket in the kernel: half of what both ends take there.
-define(SOCKET_BYTES, 3500).
%% Of each socket, one page that waits to be read and one that waits to be sent.
-define(SOCKET_PAGES, 2).
%% Processes of a node that has more to do than its connections.
-define(OTHER_PROCESSES, 1000).

-spec check(pos_integer(), options()) -> ok | {error, {too_low, [finding(), ...]}}.
check(N, #{print := Print} = Options) ->
    Facts = sockeye_host_facts:read(),
    Rows = rows(N, Options, Facts),
    _ = [io:put_chars(text(N, Facts, Rows)) || Print],
    case findings(Rows) of
        [] -> ok;
        Findings -> {error, {too_low, Findings}}
    end.

-spec parse(map()) -> {ok, options()} | {error, sockeye_bad_option:bad_option()}.
parse(Options) ->
    Defaults = #{processes => one, tls => false, http2 => false, client => false, backlog => 1024, print => false},
    Names = fun() -> maps:keys(Defaults) end,
    try maps:map(fun(Key, Value) -> sockeye_bad_option:checked(Key, Value, checked(Key, Value), Names) end, Options) of
        Given -> {ok, maps:merge(Defaults, Given)}
    catch
        throw:{bad_option, _, _} = Bad -> {error, Bad}
    end.

-spec checked(term(), term()) -> true | unknown | string().
checked(processes, V) -> V =:= one orelse V =:= per_connection orelse is_integer(V) andalso V >= 1 andalso V =< 1024 orelse "one, 1..1024 or per_connection";
checked(backlog, V) -> is_integer(V) andalso V > 0 andalso V < 1 bsl 31 orelse "a positive integer below 2^31";
checked(Key, V) when Key =:= tls; Key =:= http2; Key =:= client; Key =:= print -> is_boolean(V) orelse "a boolean";
checked(_, _) -> unknown.

%% All that is judged, with words that a shell does not cut, in the order in which a connection meets it.
-spec rows(pos_integer(), options(), facts()) -> [row()].
rows(N, Options, Facts) ->
    More = max(0, N - maps:get(connections, Facts, 0)),
    Sockets = sockets(More, Options),
    descriptors(Sockets, Facts) ++ processes(More, Options, Facts) ++ listener(N, Options, Facts) ++ local_ports(N, Options, Facts)
        ++ [row(tcp_mem, tcp_pages, plus(tcp_pages_used, ?SOCKET_PAGES * Sockets, Facts), Facts,
                "sysctl -w net.ipv4.tcp_mem=\"LOW ~b HIGH\", in pages"),
            row(conntrack, conntrack_max, plus(conntrack_used, Sockets, Facts), Facts, "sysctl -w net.netfilter.nf_conntrack_max=~b"),
            row(memory, memory, bytes(More, Sockets, Options), Facts, "~b free bytes, also in the control group")].

-spec findings([row()]) -> [finding()].
findings(Rows) ->
    [Row || #{is := Is, needed := Needed} = Row <- Rows, is_integer(Is), Is < Needed].

sockets(N, #{http2 := true}) -> (N + ?STREAMS - 1) div ?STREAMS;
sockets(N, _) -> N.

%% In a process of its own the engine takes as many descriptors as the hard limit allows.
descriptors(Sockets, Facts) ->
    Open = plus(descriptors_used, Sockets, Facts),
    Needed = limit(Open, maps:get(descriptor_reserve, Facts, auto), Open),
    Raise = case Facts of
                #{engine_port := 1} ->
                    "LimitNOFILE=~b in the unit, or ulimit -Hn ~b as root";
                #{descriptors_hard := Hard} when Hard < Needed ->
                    "LimitNOFILE=~b in the unit, or ulimit -n ~b as root";
                _ ->
                    "ulimit -n ~b, or LimitNOFILE=~b in the systemd unit"
            end,
    [row(descriptors, descriptors, Needed, Facts, Raise),
     row(nr_open, nr_open, Needed, Facts, "sysctl -w fs.nr_open=~b, the most of a process"),
     row(file_max, file_max, plus(files_used, Sockets, Facts), Facts, "sysctl -w fs.file-max=~b, of all processes")].

%% The least limit that has room for so many beside what the server keeps for the rest of the node.
limit(Open, Kept, Limit) ->
    case Open + sockeye_descriptors:reserve(Limit, Kept) of
        Larger when Larger > Limit -> limit(Open, Kept, Larger);
        _ -> Limit
    end.

processes(More, #{processes := per_connection, client := false}, Facts) ->
    Needed = plus(process_count, More + ?OTHER_PROCESSES, Facts),
    [row(processes, process_limit, Needed, Facts, "erl +P ~b")];
processes(_More, _Options, _Facts) ->
    [].

listener(_N, #{client := true}, _Facts) ->
    [];
listener(N, #{backlog := Backlog}, Facts) ->
    Waiting = min(N, Backlog),
    [row(somaxconn, somaxconn, Waiting, Facts, "sysctl -w net.core.somaxconn=~b")
     | [row(syn_backlog, syn_backlog, Waiting, Facts, "sysctl -w net.ipv4.tcp_max_syn_backlog=~b")
        || maps:get(syncookies, Facts, 1) =:= 0]].

%% To one address and port of a server, from one address.
local_ports(N, #{client := true}, Facts) ->
    [row(local_ports, local_ports, N, Facts, "net.ipv4.ip_local_port_range=\"1024 65535\", or more addresses")];
local_ports(_N, _Options, _Facts) ->
    [].

bytes(More, Sockets, Options) ->
    Engine = case Options of
                 #{http2 := true} -> ?STREAM_BYTES;
                 #{tls := true} -> ?BYTES + ?TLS_BYTES;
                 _ -> ?BYTES
             end,
    Process = case Options of
                  #{processes := per_connection} -> ?PROCESS_BYTES;
                  _ -> 0
              end,
    More * (Engine + Process) + Sockets * ?SOCKET_BYTES.

plus(Used, More, Facts) -> maps:get(Used, Facts, 0) + More.

row(What, Fact, Needed, Facts, Raise) ->
    Words = [Needed || _ <- string:split(Raise, "~b", all)],
    #{what => What, is => maps:get(Fact, Facts, unknown), needed => Needed, raise => iolist_to_binary(io_lib:format(Raise, tl(Words)))}.

%% For people: a line for each row.
-spec text(pos_integer(), facts(), [row()]) -> iolist().
text(N, Facts, Rows) ->
    [io_lib:format("~b connections, ~b of them open~n", [N, maps:get(connections, Facts, 0)]),
     io_lib:format("  ~-12s ~14s ~14s~n", ["", "is", "needed"]),
     [io_lib:format("  ~-12s ~14s ~14b  ~ts~n", [What, shown(Is), Needed, verdict(Row)])
      || #{what := What, is := Is, needed := Needed} = Row <- Rows]].

shown(unknown) -> "unknown";
shown(Is) -> integer_to_list(Is).

verdict(#{is := unknown}) -> "";
verdict(#{is := Is, needed := Needed, raise := Raise}) when Is < Needed -> ["raise: ", Raise];
verdict(_) -> "ok".
