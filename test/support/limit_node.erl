%% A node of its own with few descriptors or few processes: a server, and what it says of itself.
-module(limit_node).

-export([start/2]).
-export([port/1]).
-export([info/1]).
-export([tell/2]).
-export([engine/1]).
-export([accept/1]).
-export([http/1]).
-export([stop/1]).
-export([main/0]).

-define(TIMEOUT, 60000).

%% Arguments: of the shell before the node begins, of the node; Options: a term as text.
start({Before, Flags}, Options) ->
    Paths = lists:usort([filename:dirname(code:which(M)) || M <- [sockeye, ?MODULE]]),
    %% A node as people start it: modules are loaded when they are needed.
    Erl = lists:join(" ", ["exec", os:find_executable("erl"), Flags, "-noshell +S 2:2 +sbwt none -pa",
                           lists:join(" ", Paths), "-s limit_node main -extra", "'" ++ Options ++ "'"]),
    Script = lists:flatten([Before, "; ", Erl]),
    Node = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", Script]}, exit_status, stderr_to_stdout,
                                                     binary, {line, 4000},
                                                     {env, [{"ERL_CRASH_DUMP_BYTES", "0"}]}]),
    {Port, _} = answer(Node, <<"port ">>),
    put(Node, binary_to_integer(Port)),
    Node.

port(Node) ->
    get(Node).

%% What the server says, and what the node has written since the last question.
info(Node) ->
    true = port_command(Node, "info\n"),
    {Text, Lines} = answer(Node, <<"info ">>),
    {ok, Tokens, _} = erl_scan:string(binary_to_list(Text) ++ "."),
    {ok, Info} = erl_parse:parse_term(Tokens),
    {Info, Lines}.

%% fill: there is no room for one more process; empty: there is again; restart: each process of the server has ended, and there
%% is no room for another one. What the node has written meanwhile.
tell(Node, What) ->
    true = port_command(Node, [atom_to_list(What), "\n"]),
    {_, Lines} = answer(Node, <<"done ">>),
    Lines.

%% The system's number of the engine's process, 0 if there is none, and what the node has written since the last question.
engine(Node) ->
    true = port_command(Node, "engine\n"),
    {OsPid, Lines} = answer(Node, <<"engine ">>),
    {binary_to_integer(OsPid), Lines}.

%% Callbacks for Options, which are text.
accept(_Request) -> {accept, #{}}.
http(_Request) -> {200, [], <<"here">>}.

stop(Node) ->
    true = port_command(Node, "stop\n"),
    {Lines, Status} = rest(Node, []),
    {Status, Lines}.

answer(Node, Tag) ->
    answer(Node, Tag, []).

answer(Node, Tag, Lines) ->
    Length = byte_size(Tag),
    receive
        {Node, {data, {_, <<Tag:Length/binary, Text/binary>>}}} -> {Text, lists:reverse(Lines)};
        {Node, {data, {_, Line}}} -> answer(Node, Tag, [Line | Lines]);
        {Node, {exit_status, Status}} -> error({node_ended, Status, lists:reverse(Lines)})
    after ?TIMEOUT -> error({no_answer, lists:reverse(Lines)})
    end.

rest(Node, Lines) ->
    receive
        {Node, {data, {_, Line}}} -> rest(Node, [Line | Lines]);
        {Node, {exit_status, Status}} -> {lists:reverse(Lines), Status}
    after ?TIMEOUT -> error({no_end, lists:reverse(Lines)})
    end.

main() ->
    spawn(fun() ->
        Text = lists:flatten(lists:join(" ", init:get_plain_arguments())),
        {ok, Tokens, _} = erl_scan:string(Text ++ "."),
        {ok, Options} = erl_parse:parse_term(Tokens),
        true = register(limit_owner, spawn(fun own/0)),
        {ok, Server} = sockeye:start_link(maps:merge(test_support:patient(), Options)),
        {ok, #{port := Port}} = sockeye:info(Server),
        io:format("port ~b~n", [Port]),
        obey(Server, [])
    end).

obey(Server, Filling) ->
    case io:get_line("") of
        "info\n" ->
            {ok, All} = sockeye:info(Server),
            Info = maps:filter(fun(Key, V) -> is_integer(V) orelse is_atom(V) orelse Key =:= refused end, All),
            io:format("info ~0p~n", [Info]),
            obey(Server, Filling);
        "engine\n" ->
            io:format("engine ~b~n", [case sockeye:info() of
                                          {ok, #{os_pid := OsPid}} -> OsPid;
                                          {error, not_running} -> 0
                                      end]),
            obey(Server, Filling);
        "fill\n" ->
            More = fill(Filling),
            io:format("done ~b~n", [length(More)]),
            obey(Server, More);
        "empty\n" ->
            ok = end_all(Filling),
            io:format("done 0~n"),
            obey(Server, []);
        "restart\n" ->
            %% It hears of the ends when all room is taken.
            ok = sys:suspend(Server, 60000),
            {links, Links} = process_info(Server, links),
            ok = end_all([Pid || Pid <- Links, is_pid(Pid), Pid =/= self()]),
            More = fill(Filling),
            ok = sys:resume(Server, 60000),
            _ = sys:get_state(Server, 60000),
            io:format("done ~b~n", [length(More)]),
            obey(Server, More);
        _ ->
            ok = end_all(Filling),
            ok = application:stop(sockeye),
            erlang:halt(0)
    end.

fill(Pids) ->
    case erlang:system_info(process_count) < erlang:system_info(process_limit) of
        true -> fill([spawn(fun() -> receive never -> ok end end) | Pids]);
        false -> Pids
    end.

end_all(Pids) ->
    lists:foreach(fun(Pid) ->
        Monitor = monitor(process, Pid),
        exit(Pid, kill),
        receive {'DOWN', Monitor, process, Pid, _} -> ok end
    end, Pids).

%% A plain owner: says how long each list is.
own() ->
    receive
        {sockeye, Conn, {json, List}} -> ok = sockeye:send(Conn, {json, length(List)}), own();
        _ -> own()
    end.
