%% Servers on sockets that listen already: the option `ip => {fd, N}'; and those that do not listen at all.
-module(sockeye_fd_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [event/0, event/1, closed/1]).

%% A listening socket of the VM, which stands for the service manager's.
with_listener(Options, Test) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false} | Options]),
    {ok, Descriptor} = inet:getfd(Listener),
    try Test(Listener, Descriptor)
    after gen_tcp:close(Listener)
    end.

with_server(Options, Test) ->
    {ok, Server} = sockeye:start_link(Options),
    try Test(Server)
    after
        ws_client:drop_all(),
        _ = sockeye:stop(Server),
        test_support:flush()
    end.

echo(Client) ->
    {Conn, {open, Open}} = event(),
    ok = ws_client:text(Client, "[1]"),
    ?assertEqual({json, [1]}, event(Conn)),
    ok = sockeye:send(Conn, {json, [2]}),
    ?assertEqual({text, <<"[2]">>}, ws_client:recv(Client)),
    ok = ws_client:close(Client, 1000, <<>>),
    1000 = closed(Conn),
    Open.

tcp_test() ->
    with_listener([{ip, {127, 0, 0, 1}}], fun(Listener, Descriptor) ->
        {ok, Port} = inet:port(Listener),
        with_server(#{ip => {fd, Descriptor}}, fun(Server) ->
            ?assertMatch({ok, #{ip := {127, 0, 0, 1}, port := Port, server := Server}}, sockeye:info(Server)),
            ?assertMatch({ok, #{server := Server}}, sockeye:info(Port)),
            ?assertMatch(#{local := {{127, 0, 0, 1}, Port}}, echo(ws_client:connect(Port)))
        end)
    end).

%% Clients that come while there is no server wait for the next one.
again_test() ->
    with_listener([{ip, {127, 0, 0, 1}}], fun(Listener, Descriptor) ->
        {ok, Port} = inet:port(Listener),
        with_server(#{ip => {fd, Descriptor}}, fun(_) -> echo(ws_client:connect(Port)) end),
        {ok, Waiting} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
        ok = gen_tcp:send(Waiting, "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"),
        with_server(#{ip => {fd, Descriptor}}, fun(Server) ->
            ?assertEqual({ok, <<"HTTP/1.1 101">>}, gen_tcp:recv(Waiting, 12, 60000)),
            _ = test_support:opened(),
            %% The client says nothing more.
            ?assertEqual({ok, #{closed => 0, unanswered => 1}}, sockeye:drain(Server, #{deadline => 500}))
        end),
        ok = gen_tcp:close(Waiting),
        with_server(#{ip => {fd, Descriptor}}, fun(_) -> echo(ws_client:connect(Port)) end)
    end).

unix_test() ->
    Path = filename:join(os:getenv("TMPDIR", "/tmp"), "sockeye-fd-" ++ os:getpid()),
    try with_listener([{ifaddr, {local, Path}}], fun(_, Descriptor) ->
            Local = {local, list_to_binary(Path)},
            with_server(#{ip => {fd, Descriptor}}, fun(Server) ->
                ?assertMatch({ok, #{ip := Local, port := 0}}, sockeye:info(Server)),
                ?assertMatch(#{local := Local}, echo(ws_client:connect(0, #{ip => Local})))
            end),
            %% It is not ours to remove.
            ?assertMatch({ok, _}, file:read_link_info(Path))
        end)
    after file:delete(Path)
    end.

not_listening_test() ->
    {ok, Udp} = gen_udp:open(0),
    {ok, UdpNumber} = inet:getfd(Udp),
    with_listener([], fun(Listener, _) ->
        {ok, Port} = inet:port(Listener),
        {ok, Connected} = gen_tcp:connect("localhost", Port, []),
        {ok, Number} = inet:getfd(Connected),
        [begin
             {error, {bad_option, ip, Why}} = sockeye:start_link(#{ip => {fd, N}}),
             ?assertEqual(iolist_to_binary(io_lib:format("descriptor ~b is not a listening socket of TCP, or a Unix one", [N])), Why)
         end || N <- [0, Number, UdpNumber, 999983]],
        ok = gen_tcp:close(Connected)
    end),
    ok = gen_udp:close(Udp).

options_test() ->
    Why = fun(Options) -> {error, {bad_option, Key, Text}} = sockeye:start_link(Options), {Key, Text} end,
    ?assertEqual({port, <<"a socket that listens already has its port">>}, Why(#{ip => {fd, 3}, port => 8080})),
    ?assertEqual({reuseport, <<"a socket that listens already has its port">>}, Why(#{ip => {fd, 3}, reuseport => true})),
    ?assertEqual({port, <<"with ip => none there is no port">>}, Why(#{ip => none, port => 8080})),
    [?assertMatch({ip, _}, Why(#{ip => Ip})) || Ip <- [{fd, -1}, {fd, "3"}, {fd, 1 bsl 31}, {fd}, nowhere]],
    ?assertMatch(#{id := {sockeye, {fd, 3}}}, sockeye:child_spec(#{ip => {fd, 3}, handler => self()})),
    ?assertMatch(#{id := {sockeye, none}}, sockeye:child_spec(#{ip => none, handler => self()})).

no_descriptor_is_left_test_() ->
    case filelib:is_dir("/proc/self/fd") of
        true -> fun() ->
                    with_listener([{ip, {127, 0, 0, 1}}], fun(_, Descriptor) ->
                        Once = fun() -> with_server(#{ip => {fd, Descriptor}}, fun(_) -> ok end) end,
                        Once(),
                        Before = descriptors(),
                        [Once() || _ <- lists:seq(1, 20)],
                        true = hostile_client:until(fun() -> descriptors() =< Before orelse {Before, descriptors()} end)
                    end)
                end;
        false -> test_support:left_out("no_descriptor_is_left_test_", "no /proc")
    end.

descriptors() ->
    {ok, Names} = file:list_dir("/proc/self/fd"),
    length(Names).

%% ---------------------------------------------------------------- without a port

nowhere_test() ->
    with_server(#{ip => none, name => nowhere}, fun(Server) ->
        ?assertMatch({ok, #{ip := none, port := 0, server := Server, connections := 0}}, sockeye:info(nowhere)),
        ?assertEqual({error, not_found}, sockeye:info(none)),
        ?assertEqual({error, not_found}, sockeye:info(0)),
        Front = handover_server:start(gen_tcp, nowhere),
        echo(ws_client:connect(handover_server:port(Front))),
        ok = handover_server:stop(Front),
        ?assertEqual({ok, #{closed => 0, unanswered => 0}}, sockeye:drain(Server, #{}))
    end).

%% ---------------------------------------------------------------- systemd

systemd_test_() ->
    case test_support:program("systemd-socket-activate") of
        false -> test_support:left_out("systemd_test_", "no systemd-socket-activate");
        Program -> {timeout, 120, fun() -> activated(Program) end}
    end.

%% A real service manager starts the node when a client comes, which is served.
activated(Program) ->
    Port = test_support:free_port(),
    Code = "{ok, _} = sockeye:start_link(#{ip => {fd, 3}, handler => {bare_handler, []}}), receive stop -> ok end.",
    Paths = lists:usort([filename:dirname(code:which(M)) || M <- [sockeye_nif, bare_handler]]),
    Kept = [["-E", Name] || Name <- ["HOME", "PATH", "SOCKEYE_ENGINE", "SOCKEYE_NIF_PATH", "SOCKEYE_ENGINE_PATH",
                                         "LD_PRELOAD", "ASAN_OPTIONS"], os:getenv(Name) =/= false],
    Args = lists:append(Kept) ++ ["-l", "127.0.0.1:" ++ integer_to_list(Port), filename:join([code:root_dir(), "bin", "erl"]),
                                  "-noshell", "-pa" | Paths] ++ ["-eval", Code],
    Manager = open_port({spawn_executable, Program}, [{args, Args}, exit_status, stderr_to_stdout, binary]),
    {os_pid, Pid} = erlang:port_info(Manager, os_pid),
    try
        true = hostile_client:until(fun() ->
            receive {Manager, {data, Said}} -> binary:match(Said, <<"Listening on">>) =/= nomatch orelse {said, Said}
            after 0 -> not_yet
            end
        end),
        Client = ws_client:connect(Port),
        ok = ws_client:text(Client, "[\"came\"]"),
        ?assertEqual({text, <<"[\"came\"]">>}, ws_client:recv(Client, 60000)),
        ok = ws_client:drop(Client)
    after
        _ = os:cmd("kill -KILL " ++ integer_to_list(Pid)),
        receive {Manager, {exit_status, _}} -> ok after 10000 -> ok end
    end.
