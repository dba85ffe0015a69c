%% A node of its own with few descriptors or few processes: a server, and what it says of itself.
-module(limit_node).

-export([start/2]).
-export([port/1]).
-export([info/1]).
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
        {ok, Server} = sockeye:start_link(Options#{port => 0}),
        {ok, #{port := Port}} = sockeye:info(Server),
        io:format("port ~b~n", [Port]),
        obey(Server)
    end).

obey(Server) ->
    case io:get_line("") of
        "info\n" ->
            {ok, All} = sockeye:info(Server),
            Info = maps:filter(fun(_, V) -> is_integer(V) orelse is_atom(V) end, All),
            io:format("info ~0p~n", [Info]),
            obey(Server);
        _ ->
            ok = application:stop(sockeye),
            erlang:halt(0)
    end.
