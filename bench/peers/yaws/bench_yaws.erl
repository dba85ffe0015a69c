%% JSON echo on yaws, embedded, and jiffy: the connection's own process decodes and encodes.
-module(bench_yaws).

-export([main/1]).
-export([out/1, handle_message/1]).

-spec main([atom()]) -> no_return().
main([each]) ->
    ok = logger:set_primary_config(level, error),
    %% yaws does not tell which port it took.
    {ok, Free} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Free),
    ok = gen_tcp:close(Free),
    Site = [{listen, {127, 0, 0, 1}}, {port, Port}, {servername, "localhost"},
            {soptions, [{listen_opts, [{backlog, 1024}, {nodelay, true}]}]},
            {flags, [{access_log, false}, {auth_log, false}]}, {appmods, [{"/", ?MODULE}]}],
    Node = [{logdir, "."}, {max_connections, nolimit}, {flags, [{copy_errlog, false}, {tty_trace, false}]}],
    ok = yaws:start_embedded(".", Site, Node, "bench"),
    bench_node:run(Port).

out(_Request) ->
    {websocket, ?MODULE, []}.

handle_message({text, Text}) ->
    %% yaws wants a binary, and jiffy gives a list of them for a large value.
    {reply, {text, iolist_to_binary(jiffy:encode(jiffy:decode(Text, [return_maps])))}};
handle_message(_) ->
    noreply.
