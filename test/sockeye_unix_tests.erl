%% Servers on Unix sockets.
-module(sockeye_unix_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [event/0, event/1, closed/1]).

in_folder(Test) ->
    Name = "sockeye-" ++ os:getpid() ++ integer_to_list(erlang:unique_integer([positive])),
    Folder = filename:join(os:getenv("TMPDIR", "/tmp"), Name),
    ok = file:make_dir(Folder),
    try Test(list_to_binary(filename:join(Folder, "s")))
    after
        ok = file:del_dir_r(Folder)
    end.

with_socket(Ip, Test) ->
    {ok, Server} = sockeye:start_link(#{ip => Ip}),
    try Test(Server)
    after
        ws_client:drop_all(),
        _ = sockeye:stop(Server),
        test_support:flush()
    end.

echo(Ip) ->
    Client = ws_client:connect(0, #{ip => Ip}),
    {Conn, {open, Open}} = event(),
    ok = ws_client:text(Client, "[1]"),
    ?assertEqual({json, [1]}, event(Conn)),
    ok = sockeye:send(Conn, {json, [2]}),
    ?assertEqual({text, <<"[2]">>}, ws_client:recv(Client)),
    {Client, Conn, Open}.

echo_test() ->
    in_folder(fun(Path) ->
        with_socket({local, Path}, fun(Server) ->
            {Client, Conn, Open} = echo({local, Path}),
            ?assertMatch(#{peer := {local, <<>>}, local := {local, Path}}, Open),
            ?assertMatch({ok, #{peer := {local, <<>>}, local := {local, Path}}}, sockeye:info(Conn)),
            ?assertMatch({ok, #{ip := {local, Path}, port := 0, connections := 1}}, sockeye:info(Server)),
            ?assertMatch({ok, #{server := Server}}, sockeye:info({local, Path})),
            ?assertEqual({error, not_found}, sockeye:info(0)),
            ?assertEqual({error, not_found}, sockeye:info({local, <<"other">>})),
            ok = ws_client:close(Client, 1000, <<>>),
            1000 = closed(Conn)
        end),
        ?assertNot(filelib:is_file(Path))
    end).

text_path_test() ->
    in_folder(fun(Path) ->
        with_socket({local, binary_to_list(Path)}, fun(_) -> echo({local, Path}) end)
    end).

in_use_test() ->
    in_folder(fun(Path) ->
        with_socket({local, Path}, fun(_) ->
            ?assertEqual({error, eaddrinuse}, sockeye:start_link(#{ip => {local, Path}})),
            echo({local, Path})
        end)
    end).

left_behind_test() ->
    in_folder(fun(Path) ->
        {ok, Dead} = gen_tcp:listen(0, [{ifaddr, {local, Path}}]),
        ok = gen_tcp:close(Dead),
        ?assertMatch({ok, _}, file:read_link_info(Path)),
        with_socket({local, Path}, fun(_) -> echo({local, Path}) end)
    end).

no_folder_test() ->
    in_folder(fun(Path) ->
        ?assertEqual({error, enoent}, sockeye:start_link(#{ip => {local, <<Path/binary, "/x">>}})),
        ok = file:write_file(Path, <<"mine">>),
        ?assertEqual({error, enotdir}, sockeye:start_link(#{ip => {local, <<Path/binary, "/x">>}})),
        ?assertEqual({error, eaddrinuse}, sockeye:start_link(#{ip => {local, Path}})),
        ?assertEqual({ok, <<"mine">>}, file:read_file(Path))
    end).

port_is_refused_test() ->
    Local = {local, <<"s">>},
    ?assertMatch({error, {bad_option, port, _}}, sockeye:start_link(#{ip => Local, port => 80})),
    ?assertMatch({error, {bad_option, reuseport, _}}, sockeye:start_link(#{ip => Local, reuseport => true})),
    ?assertMatch(#{id := {sockeye, Local}}, sockeye:child_spec(#{ip => Local, port => 0, handler => self()})).

abstract_test_() ->
    case os:type() of
        {unix, linux} -> fun abstract/0;
        _ -> test_support:left_out("abstract sockets", "only Linux has them")
    end.

abstract() ->
    Name = <<0, "sockeye-", (list_to_binary(os:getpid()))/binary>>,
    with_socket({local, Name}, fun(_) ->
        {_, _, Open} = echo({local, Name}),
        ?assertMatch(#{local := {local, Name}}, Open)
    end).

reuseport_test() ->
    Options = #{port => 0, reuseport => true},
    test_support:with_server(Options, fun(Port, _) ->
        {ok, Second} = sockeye:start_link(Options#{port => Port}),
        ?assertEqual({error, eaddrinuse}, sockeye:start_link(#{port => Port})),
        ok = sockeye:stop(Second)
    end).

%% A server on `::' shows an IPv4 client as one.
mapped_address_test_() ->
    test_support:if_ipv6({"IPv4 clients of ::", fun mapped_address/0}).

mapped_address() ->
    test_support:with_server(#{ip => "::"}, fun(Port, _) ->
        _ = ws_client:connect(Port),
        {_, {open, #{peer := {Peer, _}, local := {Local, Port}}}} = event(),
        ?assertEqual({{127, 0, 0, 1}, {127, 0, 0, 1}}, {Peer, Local})
    end).
