%% @private
%% What this host has for connections, as far as /proc, the control groups and the VM tell. What cannot be read is left out.
-module(sockeye_host_facts).

-export([read/0]).
-export([read/2]).

%% Where the system shows its state, and of which process.
-type place() :: {Root :: file:filename_all(), Process :: string()}.

-spec read() -> sockeye_host:facts().
read() ->
    %% An engine that does not run, and a library that cannot be loaded, have no connections.
    Engine = try sockeye_backend:engine_info() catch error:_ -> #{} end,
    IsPort = sockeye_backend:engine() =:= port,
    Process = case Engine of
                  #{os_pid := Pid} when IsPort -> integer_to_list(Pid);
                  _ -> "self"
              end,
    Vm = #{connections => maps:get(connections, Engine, 0), process_limit => erlang:system_info(process_limit),
           process_count => erlang:system_info(process_count), engine_port => if IsPort -> 1; true -> 0 end},
    Kept = [{descriptor_reserve, N} || N <- [sockeye_descriptors:chosen()], is_integer(N)],
    System = #{descriptors_used := Used} = maps:merge(#{descriptors_used => 0}, read("/", Process)),
    Limit = case sockeye_descriptors:limit() of
                %% An engine that does not run yet will raise its own.
                infinity when IsPort -> [{descriptors, Hard} || #{descriptors_hard := Hard} <- [System]];
                infinity -> [];
                N -> [{descriptors, N}]
            end,
    maps:merge(maps:merge(System, Vm), maps:from_list(Kept ++ Limit ++ [{descriptors_used, Used}])).

%% As another folder shows it.
-spec read(file:filename_all(), string()) -> sockeye_host:facts().
read(Root, Process) ->
    Place = {Root, Process},
    maps:from_list(lists:append([descriptors(Place), files(Place), sysctls(Place), sockets(Place), memory(Place)])).

-spec descriptors(place()) -> [{atom(), non_neg_integer()}].
descriptors({Root, Process} = Place) ->
    Used = case file:list_dir(filename:join([Root, "proc", Process, "fd"])) of
               {ok, Names} -> [{descriptors_used, length(Names)}];
               {error, _} -> []
           end,
    Used ++ [{descriptors_hard, Hard} || {match, [Text]} <- [find(Place, ["proc", Process, "limits"], "^Max open files +\\S+ +(\\d+)")],
                                         Hard <- number(Text)].

files(Place) ->
    case numbers(Place, "fs/file-nr") of
        [Used, _, Most] -> [{files_used, Used}, {file_max, Most}];
        _ -> []
    end.

sysctls(Place) ->
    One = [{Fact, N} || {Fact, Name} <- [{nr_open, "fs/nr_open"}, {somaxconn, "net/core/somaxconn"}, {syn_backlog, "net/ipv4/tcp_max_syn_backlog"},
                                         {syncookies, "net/ipv4/tcp_syncookies"}, {conntrack_max, "net/netfilter/nf_conntrack_max"},
                                         {conntrack_used, "net/netfilter/nf_conntrack_count"}],
                        [N] <- [numbers(Place, Name)]],
    One ++ [{local_ports, High - Low + 1} || [Low, High] <- [numbers(Place, "net/ipv4/ip_local_port_range")], High >= Low]
        ++ [{tcp_pages, Pressure} || [_, Pressure, _] <- [numbers(Place, "net/ipv4/tcp_mem")]].

sockets(Place) ->
    [{tcp_pages_used, N} || {match, [Text]} <- [find(Place, ["proc/net/sockstat"], "^TCP:.* mem (\\d+)")], N <- number(Text)].

%% What the system could give, and what each control group that this process is in still may have: the least of these.
memory({_, Process} = Place) ->
    System = [N * 1024 || {match, [Text]} <- [find(Place, ["proc/meminfo"], "^MemAvailable: +(\\d+) kB")], N <- number(Text)],
    Groups = string:split(text(Place, ["proc", Process, "cgroup"]), "\n", all),
    Left = lists:append([left(Place, Group) || Group <- Groups]),
    [{memory, lists:min(System ++ Left)} || System ++ Left =/= []].

left(Place, "0::" ++ Path) ->
    lists:append([group(Place, ["sys/fs/cgroup", Folder], "memory.max", "memory.current", "inactive_file") || Folder <- above(Path)]);
left(Place, Line) ->
    case string:split(Line, ":", all) of
        [_, Controllers, Path] ->
            case lists:member("memory", string:split(Controllers, ",", all)) of
                true ->
                    lists:append([group(Place, ["sys/fs/cgroup/memory", Folder], "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                                  || Folder <- above(Path)]);
                false -> []
            end;
        _ ->
            []
    end.

%% A container may see its own group as the root.
above(Path) ->
    Parts = [Part || Part <- string:split(Path, "/", all), Part =/= "", Part =/= ".."],
    [lists:flatten(lists:join("/", lists:sublist(Parts, N))) || N <- lists:seq(length(Parts), 0, -1)].

%% The cache of files in the group is given up when it is needed.
group(Place, Folder, Most, Used, Cache) ->
    Cached = case find(Place, Folder ++ ["memory.stat"], "^" ++ Cache ++ " (\\d+)") of
                 {match, [Text]} -> lists:sum(number(Text));
                 nomatch -> 0
             end,
    [max(0, M - max(0, U - Cached)) || [M] <- [words(Place, Folder ++ [Most])], [U] <- [words(Place, Folder ++ [Used])]].

numbers(Place, Name) -> words(Place, ["proc/sys", Name]).

words(Place, Parts) ->
    lists:append([number(Word) || Word <- string:lexemes(text(Place, Parts), " \t\n")]).

%% A limit may be `max' or `unlimited': no number.
number(Text) ->
    case string:to_integer(Text) of
        {N, ""} when is_integer(N), N >= 0 -> [N];
        _ -> []
    end.

find(Place, Parts, Pattern) ->
    re:run(text(Place, Parts), Pattern, [multiline, {capture, [1], list}]).

%% Empty when it cannot be read.
text({Root, _}, Parts) ->
    case file:read_file(filename:join([Root | [Part || Part <- Parts, Part =/= ""]])) of
        {ok, Bytes} -> unicode:characters_to_list(Bytes, latin1);
        {error, _} -> ""
    end.
