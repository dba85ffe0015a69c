%% What a host needs for connections: the judgement at its bounds, and what is read of a host.
-module(sockeye_host_tests).
-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-needs(codec).

%% A host that has enough of everything for 100,000 connections.
enough() ->
    #{connections => 0, engine_port => 0, descriptors => 1000000, descriptors_used => 0, descriptors_hard => 1000000, nr_open => 1000000,
      file_max => 1000000, files_used => 0, process_limit => 1000000, process_count => 0, somaxconn => 4096, syn_backlog => 4096,
      syncookies => 1, tcp_pages => 1000000, tcp_pages_used => 0, conntrack_max => 1000000, conntrack_used => 0, memory => 1 bsl 40,
      local_ports => 100000}.

-spec findings(pos_integer(), map(), map()) -> [map()].
findings(N, Given, Facts) ->
    {ok, Options} = sockeye_host:parse(Given),
    sockeye_host:findings(sockeye_host:rows(N, Options, maps:merge(enough(), Facts))).

enough_test() ->
    [?assertEqual([], findings(100000, Options, #{}))
     || Options <- [#{}, #{processes => per_connection}, #{tls => true}, #{http2 => true}, #{client => true}, #{backlog => 4096}]].

%% With one less than is needed there is a finding, with as many and with one more there is none.
bounds_test_() ->
    [{lists:flatten(io_lib:format("~p ~p", [What, Options])), fun() ->
          [Needed] = [Needed || #{what := W, needed := Needed} <- findings(N, Options, Facts#{Fact => 0}), W =:= What],
          ?assertEqual(Expected, Needed),
          Less = Needed - 1,
          [#{what := What, is := Less, needed := Needed, raise := Raise}] = findings(N, Options, Facts#{Fact => Needed - 1}),
          ?assertMatch({match, _}, re:run(Raise, case Fact of local_ports -> "1024 65535"; _ -> "\\b" ++ integer_to_list(Needed) end)),
          ?assertEqual([], findings(N, Options, Facts#{Fact => Needed})),
          ?assertEqual([], findings(N, Options, Facts#{Fact => Needed + 1}))
      end}
     || {What, Fact, Expected, N, Options, Facts} <-
            [{descriptors, descriptors, 20286, 20000, #{}, #{descriptors_used => 30}},
             {descriptors, descriptors, 1100, 1000, #{}, #{descriptor_reserve => 100}},
             {descriptors, descriptors, 264, 200, #{http2 => false}, #{}},
             {descriptors, descriptors, 1142, 100000, #{http2 => true}, #{}},
             {descriptors, descriptors, 20286, 20000, #{}, #{engine_port => 1, descriptors_used => 30}},
             {nr_open, nr_open, 20256, 20000, #{}, #{}},
             {file_max, file_max, 21000, 20000, #{}, #{files_used => 1000}},
             {processes, process_limit, 21100, 20000, #{processes => per_connection}, #{process_count => 100}},
             {somaxconn, somaxconn, 1024, 20000, #{}, #{}},
             {somaxconn, somaxconn, 2048, 20000, #{backlog => 2048}, #{}},
             {somaxconn, somaxconn, 500, 500, #{}, #{}},
             {syn_backlog, syn_backlog, 1024, 20000, #{}, #{syncookies => 0}},
             {tcp_mem, tcp_pages, 40007, 20000, #{}, #{tcp_pages_used => 7}},
             {conntrack, conntrack_max, 20007, 20000, #{}, #{conntrack_used => 7}},
             {local_ports, local_ports, 20000, 20000, #{client => true}, #{}}]].

%% What the server keeps for the rest of the node is what it will keep: the limit that is asked for has room for all, one less has not.
room_test() ->
    [begin
         [#{needed := Limit}] = [F || #{what := descriptors} = F <- findings(N, #{}, #{descriptors => 0})],
         ?assert(Limit - sockeye_descriptors:reserve(Limit, auto) >= N),
         ?assert(Limit - 1 - sockeye_descriptors:reserve(Limit - 1, auto) < N)
     end || N <- [1, 63, 64, 65, 447, 448, 449, 1791, 1792, 1793, 20000]].

%% A host that is set up as the pages say has room for the connections that they speak of, in a node with some files open.
pages_about_production_test_() ->
    [{Page, fun() ->
          {match, [Limit]} = re:run(doc_page:page(Page), Pattern, [{capture, [1], list}]),
          Low = fun(N) -> [What || #{what := What} <- findings(N, #{}, #{descriptors => list_to_integer(Limit), descriptors_used => 500})] end,
          ?assertEqual({[], [descriptors]}, {Low(100000), Low(101000)})
      end} || {Page, Pattern} <- [{"erlang/guide/production/systemd.md", "LimitNOFILE=(\\d+)"},
                                  {"erlang/guide/production/container.md", "--ulimit nofile=(\\d+)"}]].

%% Connections that are there have their part of what is used.
already_open_test() ->
    Half = #{connections => 10000, descriptors_used => 10030, tcp_pages_used => 7, conntrack_used => 10000},
    Needed = fun(Facts) ->
                 maps:from_list([{What, N} || #{what := What, needed := N} <- findings(20000, #{}, Facts)])
             end,
    ?assertEqual(#{}, Needed(Half)),
    Low = Half#{descriptors => 0, conntrack_max => 0, tcp_pages => 0, memory => 0},
    #{descriptors := 20286, conntrack := 20000, tcp_mem := 20007, memory := Rest} = Needed(Low),
    #{memory := All} = Needed(Low#{connections => 0}),
    ?assertEqual(All, 2 * Rest),
    %% All that are asked for are there, and more.
    ?assertEqual([], findings(9999, #{}, Half#{memory => 0})).

memory_test() ->
    Needed = fun(Options) -> [#{needed := N}] = findings(100000, Options, #{memory => 0}), N div 100000 end,
    Plain = Needed(#{}),
    %% Those of bench/SCALE.md.
    ?assertEqual([6000, 15000, 8000, 7035, 9035, 6000],
                 [Needed(Options) || Options <- [#{}, #{tls => true}, #{processes => per_connection}, #{http2 => true},
                                                 #{http2 => true, processes => per_connection}, #{processes => 4}]]),
    Bytes = Plain * 100000,
    [?assertEqual(Found, findings(100000, #{}, #{memory => Is}) =/= []) || {Is, Found} <- [{Bytes - 1, true}, {Bytes, false}, {Bytes + 1, false}]].

not_asked_test() ->
    ?assertEqual([], findings(20000, #{}, #{process_limit => 0, local_ports => 0, syn_backlog => 0})),
    ?assertEqual([], findings(20000, #{client => true}, #{process_limit => 0, somaxconn => 0, syn_backlog => 0, syncookies => 0})).

unknown_test() ->
    {ok, Options} = sockeye_host:parse(#{}),
    Rows = sockeye_host:rows(20000, Options, #{}),
    ?assertEqual([], sockeye_host:findings(Rows)),
    ?assertEqual([unknown], lists:usort([Is || #{is := Is} <- Rows])),
    ?assertMatch({match, _}, re:run(sockeye_host:text(20000, #{}, Rows), "descriptors +unknown +20256 *\n")).

%% How to raise it depends on who may.
raise_test() ->
    Raise = fun(Facts) -> [#{raise := Text} | _] = findings(20000, #{}, Facts#{descriptors => 1024}), Text end,
    ?assertMatch(<<"ulimit -n 20256,", _/binary>>, Raise(#{})),
    ?assertMatch({match, _}, re:run(Raise(#{descriptors_hard => 20255}), "ulimit -n 20256 as root")),
    ?assertEqual(nomatch, re:run(Raise(#{descriptors_hard => 20256}), "as root")),
    ?assertMatch({match, _}, re:run(Raise(#{engine_port => 1}), "ulimit -Hn 20256 as root")).

%% A shell cuts long binaries that lie deep in what it shows, at its depth of 30.
shown_by_a_shell_test_() ->
    Nothing = maps:map(fun(_, _) -> 0 end, enough()),
    [fun() ->
         Findings = findings(1000000, Options, maps:merge(Nothing, Facts)),
         ?assert(length(Findings) >= 6),
         Shown = lists:flatten(io_lib:format("~tP", [{error, {too_low, Findings}}, 30])),
         ?assertEqual(nomatch, string:find(Shown, "..."))
     end || Options <- [#{processes => per_connection}, #{client => true}],
            Facts <- [#{}, #{engine_port => 1}, #{descriptors_hard => 1 bsl 30}]].

printed_test() ->
    {ok, Options} = sockeye_host:parse(#{}),
    Facts = (enough())#{descriptors => 20255},
    Text = iolist_to_binary(sockeye_host:text(20000, Facts, sockeye_host:rows(20000, Options, Facts))),
    ?assertMatch({match, _}, re:run(Text, "descriptors +20255 +20256  raise: ulimit -n 20256")),
    ?assertMatch({match, _}, re:run(Text, "somaxconn +4096 +1024  ok\n")).

%% ---------------------------------------------------------------- options and arguments

options_test() ->
    [?assertMatch({error, {bad_option, Key, Why}} when is_binary(Why), sockeye:check_host(10, #{Key => Value}))
     || {Key, Value} <- [{processes, 0}, {processes, 1025}, {processes, two}, {backlog, 0}, {backlog, 1 bsl 31}, {tls, #{}}, {http2, 1},
                         {client, 'maybe'}, {print, "yes"}, {port, 80}]],
    [?assertMatch({ok, _}, sockeye_host:parse(#{Key => Value}))
     || {Key, Value} <- [{processes, 1}, {processes, 1024}, {processes, per_connection}, {backlog, 1}, {backlog, (1 bsl 31) - 1}, {tls, true}]],
    [?assertError(badarg, sockeye:check_host(N)) || N <- [0, -1, 1.5, many]],
    ?assertError(badarg, sockeye:check_host(10, [])).

%% ---------------------------------------------------------------- reading

%% This host, with and without the engine.
this_host_test() ->
    ?assertEqual(ok, sockeye:check_host(1)),
    {error, {too_low, Findings}} = sockeye:check_host(1 bsl 40, #{processes => per_connection}),
    ?assert(lists:member(processes, [What || #{what := What} <- Findings])).

-define(LINUX, case os:type() of {unix, linux} -> true; _ -> false end).

linux_test() ->
    Facts = sockeye_host_facts:read(),
    [?assertMatch(#{Fact := N} when is_integer(N), Facts)
     || Fact <- [descriptors, descriptors_used, descriptors_hard, nr_open, file_max, files_used, somaxconn, tcp_pages, memory, local_ports], ?LINUX].

%% Files as Linux has them.
files() ->
    [{"proc/self/limits", "Limit Soft Limit Hard Limit Units\nMax open files            1024                 524288               files     \n"},
     {"proc/self/fd/0", ""}, {"proc/self/fd/1", ""},
     {"proc/sys/fs/file-nr", "1856\t0\t9223372036854775807\n"},
     {"proc/sys/fs/nr_open", "1048576\n"},
     {"proc/sys/net/core/somaxconn", "4096\n"},
     {"proc/sys/net/ipv4/tcp_max_syn_backlog", "2048\n"},
     {"proc/sys/net/ipv4/tcp_syncookies", "1\n"},
     {"proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"},
     {"proc/sys/net/ipv4/tcp_mem", "288459\t384612\t576918\n"},
     {"proc/sys/net/netfilter/nf_conntrack_max", "262144\n"},
     {"proc/sys/net/netfilter/nf_conntrack_count", "12\n"},
     {"proc/net/sockstat", "sockets: used 21\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 139\nUDP: inuse 0 mem 0\n"},
     {"proc/meminfo", "MemTotal:       24731708 kB\nMemFree: 1 kB\nMemAvailable:   2000000 kB\n"},
     {"proc/self/cgroup", "0::/a/b\n"},
     {"sys/fs/cgroup/a/b/memory.max", "max\n"}, {"sys/fs/cgroup/a/b/memory.current", "5\n"},
     {"sys/fs/cgroup/a/memory.max", "1000000\n"}, {"sys/fs/cgroup/a/memory.current", "600000\n"},
     {"sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 100000\n"}].

read_test() ->
    ?assertEqual(#{descriptors_hard => 524288, descriptors_used => 2, nr_open => 1048576, file_max => 9223372036854775807, files_used => 1856,
                   somaxconn => 4096, syn_backlog => 2048, syncookies => 1, local_ports => 28232, tcp_pages => 384612, tcp_pages_used => 139,
                   conntrack_max => 262144, conntrack_used => 12, memory => 500000}, read(files())).

%% The old control groups, and none.
memory_of_groups_test() ->
    Old = [{"proc/self/cgroup", "4:memory:/x\n1:cpu:/x\n0::/\n"}, {"sys/fs/cgroup/memory/x/memory.limit_in_bytes", "3000\n"},
           {"sys/fs/cgroup/memory/x/memory.usage_in_bytes", "1000\n"}],
    ?assertEqual(#{memory => 2000}, read(Old)),
    %% In a container its own group may be the root.
    ?assertEqual(#{memory => 70}, read([{"proc/self/cgroup", "0::/../outside\n"}, {"sys/fs/cgroup/memory.max", "100"}, {"sys/fs/cgroup/memory.current", "30"}])),
    %% More than it may have.
    ?assertEqual(#{memory => 0}, read([{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/memory.max", "100"}, {"sys/fs/cgroup/memory.current", "130"}])),
    ?assertEqual(#{memory => 3 * 1024}, read([{"proc/meminfo", "MemAvailable:   3 kB\n"}, {"proc/self/cgroup", "0::/\n"}])).

%% Each file missing, empty, or with something else in it: a fact less at most, and the others as before.
odd_files_test() ->
    Whole = read(files()),
    with_files(files(), fun(Root) ->
        [begin
             Path = filename:join(Root, File),
             ok = case Text of
                      missing -> file:delete(Path);
                      _ -> file:write_file(Path, Text)
                  end,
             Facts = sockeye_host_facts:read(Root, "self"),
             ok = file:write_file(Path, As),
             ?assert(maps:size(Facts) =< maps:size(Whole)),
             ?assertEqual([], [Fact || {Fact, N} <- maps:to_list(Facts), Fact =/= memory, Fact =/= descriptors_used, N =/= maps:get(Fact, Whole)])
         end || {File, As} <- files(), Text <- [missing, "", "\n", "max\n", "-5\n", "unlimited", "1 2 3 4 5 6\n", [0, 255, 254], "x:y:z::\n0::"]],
        ?assertEqual(Whole, sockeye_host_facts:read(Root, "self"))
    end),
    ?assertEqual(#{}, read([])).

read(Files) ->
    with_files(Files, fun(Root) -> sockeye_host_facts:read(Root, "self") end).

with_files(Files, Fun) ->
    Root = filename:join(os:getenv("TMPDIR", "/tmp"), "host_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive]))),
    ok = file:make_dir(Root),
    try
        [begin
             Path = filename:join(Root, Name),
             ok = filelib:ensure_dir(Path),
             ok = file:write_file(Path, Text)
         end || {Name, Text} <- Files],
        Fun(Root)
    after
        ok = file:del_dir_r(Root)
    end.
