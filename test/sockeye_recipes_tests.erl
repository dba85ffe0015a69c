%% The pages about production, but for the proxies: what they say is done, with the files and modules that stand there.
-module(sockeye_recipes_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-define(TIMEOUT, 60000).

%% ---------------------------------------------------------------- systemd

%% A node as systemd starts it, in both kinds of engine and with both kinds of names that systemd gives its socket.
systemd_test_() ->
    [{timeout, 120, {lists:flatten(io_lib:format("~s, ~s", [Title, Engine])), fun() -> as_a_service(Address, Engine) end}}
     || {Title, Address} <- [{"a path", fun(File) -> {File("notify"), File("notify")} end},
                             {"an abstract name", fun(File) -> {"@" ++ File("notify"), <<0, (list_to_binary(File("notify")))/binary>>} end}],
        Engine <- ["nif", "port"]].

as_a_service(Address, Engine) ->
    test_certs:in_folder(fun(File) ->
        {Name, Path} = Address(File),
        {ok, Systemd} = gen_udp:open(0, [local, {ip, {local, Path}}, binary, {active, true}]),
        Node = start_chat(File, [{"NOTIFY_SOCKET", Name}, {"WATCHDOG_USEC", "400000"}, {"SOCKEYE_ENGINE", Engine}]),
        {<<"READY=1">>, Log} = notified(Systemd, Node),
        Client = ws_client:connect(its_port(Node, Log)),
        [?assertMatch({<<"WATCHDOG=1">>, _}, notified(Systemd, Node)) || _ <- [1, 2, 3]],
        %% What it has said is answered, although the node is told to stop meanwhile.
        Self = self(),
        Talker = spawn_monitor(fun() -> exit(talk(Client, 1, Self)) end),
        receive talking -> ok after ?TIMEOUT -> error(not_talking) end,
        ok = recipe:signal(Node, "TERM"),
        ?assertEqual(<<"STOPPING=1">>, past_watchdog(Systemd, Node)),
        {close, 1001, Answered} = ended(Talker),
        ?assert(Answered > 0),
        {Status, Said} = recipe:said(Node),
        ?assertEqual({0, Said}, {Status, Said}),
        ok = gen_udp:close(Systemd)
    end).

%% Until the server closes: the code, and how many were answered before.
talk(Client, N, Starter) ->
    Text = integer_to_binary(N),
    ok = ws_client:text(Client, Text),
    case ws_client:recv(Client) of
        {text, Text} ->
            _ = N =:= 1 andalso (Starter ! talking),
            talk(Client, N + 1, Starter);
        {close, Code, _} ->
            ok = ws_client:close(Client, Code, <<>>),
            {close, Code, N - 1}
    end.

ended({Pid, Monitor}) ->
    receive {'DOWN', Monitor, process, Pid, Result} -> Result
    after ?TIMEOUT -> error(still_talking)
    end.

%% While the engine does not answer, systemd hears nothing.
watchdog_test_() ->
    {timeout, 120, fun() ->
        test_certs:in_folder(fun(File) ->
            {ok, Systemd} = gen_udp:open(0, [local, {ip, {local, File("notify")}}, binary, {active, true}]),
            Modules = recipe:compile("systemd.md", filename:dirname(File("x"))),
            true = code:add_patha(filename:dirname(File("x"))),
            [true = os:putenv(Key, Value) || {Key, Value} <- [{"NOTIFY_SOCKET", File("notify")}, {"WATCHDOG_USEC", "100000"}]],
            {ok, Server} = sockeye:start_link(#{port => 0, name => chat_server, handler => {room, []}}),
            {ok, Watched} = chat_systemd:start_link(),
            try
                ?assertEqual(<<"READY=1">>, datagram(Systemd)),
                ?assertEqual(<<"WATCHDOG=1">>, datagram(Systemd)),
                ok = sockeye:stop(Server),
                %% What was on its way, and what it would say after a server that does not answer.
                _ = sys:get_state(Watched, 60000),
                _ = drained(Systemd),
                Watched ! watch,
                _ = sys:get_state(Watched, 60000),
                ?assertEqual([], drained(Systemd)),
                {ok, Again} = sockeye:start_link(#{port => 0, name => chat_server, handler => {room, []}}),
                ?assertEqual(<<"WATCHDOG=1">>, datagram(Systemd)),
                ok = sockeye:stop(Again)
            after
                ok = gen_server:stop(Watched),
                [true = os:unsetenv(Key) || Key <- ["NOTIFY_SOCKET", "WATCHDOG_USEC"]],
                forget(Modules, File),
                ok = gen_udp:close(Systemd)
            end
        end)
    end}.

%% Without systemd the same modules start.
without_systemd_test() ->
    test_certs:in_folder(fun(File) ->
        Modules = recipe:compile("systemd.md", filename:dirname(File("x"))),
        true = code:add_patha(filename:dirname(File("x"))),
        try
            ?assertEqual(false, os:getenv("NOTIFY_SOCKET")),
            {ok, Pid} = chat_systemd:start_link(),
            ?assertEqual(infinity, sys:get_state(Pid, 60000)),
            ok = gen_server:stop(Pid)
        after forget(Modules, File)
        end
    end).

forget(Modules, File) ->
    true = code:del_path(filename:dirname(File("x"))),
    [begin code:purge(Module), code:delete(Module), code:purge(Module) end || Module <- Modules].

%% systemd knows every word of the units.
units_test_() ->
    case test_support:program("systemd-analyze") of
        false ->
            test_support:left_out("units of systemd", "no systemd-analyze");
        Program ->
            [{Unit, fun() ->
                  test_certs:in_folder(fun(File) ->
                      %% A program and a user that are here.
                      Here = [{"/srv/chat/bin/chat", os:find_executable("sh")}, {"User=chat", "User=root"}],
                      ok = file:write_file(File("chat.service"), recipe:changed(recipe:file("systemd.md", "chat.service"), Here)),
                      ok = file:write_file(File("chat.socket"), recipe:file("systemd.md", "chat.socket")),
                      ok = file:write_file(File("wrong.service"), "[Service]\nExecStart=/bin/sh\nKillMood=mixed\n"),
                      {Status, Said} = recipe:said(recipe:run(Program, ["verify", File(Unit)])),
                      ?assertEqual({Unit, Good, Said}, {Unit, Status =:= 0 andalso string:find(Said, "Unknown") =:= nomatch, Said})
                  end)
              end} || {Unit, Good} <- [{"chat.service", true}, {"chat.socket", true}, {"wrong.service", false}]]
    end.

%% The unit gives the drain its time, and what the application may take after it.
times_test() ->
    Unit = recipe:file("systemd.md", "chat.service"),
    {match, [Stop]} = re:run(Unit, "TimeoutStopSec=(\\d+)", [{capture, all_but_first, list}]),
    {match, [Deadline]} = re:run(recipe:file("systemd.md", "src/chat_app.erl"), "deadline => (\\d+)", [{capture, all_but_first, list}]),
    ?assert(list_to_integer(Stop) > list_to_integer(Deadline) div 1000 + 1 + 25),
    ?assertNotEqual(nomatch, string:find(Unit, "KillMode=mixed")).

%% The socket that systemd would open: a client that comes first waits for the node.
socket_activation_test_() ->
    case test_support:program("systemd-socket-activate") of
        false -> test_support:left_out("socket activation", "no systemd-socket-activate");
        Program -> {timeout, 120, fun() -> activated(Program, 5) end}
    end.

%% A free port may be taken before it has it.
activated(Program, Tries) ->
    try activated(Program)
    catch error:{ended, _, _} when Tries > 1 -> activated(Program, Tries - 1)
    end.

activated(Program) ->
    test_certs:in_folder(fun(File) ->
        Port = test_support:free_port(),
        [Erl | Args] = chat(File, recipe:changed(recipe:file("systemd.md", "config/sys.config"), [{"port => 8080,", ""}, {"ip => any", "ip => {fd, 3}"}])),
        Node = recipe:run(Program, ["--listen=127.0.0.1:" ++ integer_to_list(Port) | ["--setenv=" ++ Key || Key <- path_variables()]] ++ [Erl | Args]),
        recipe:until(Node, fun() -> listens(Port) end),
        Client = ws_client:connect(Port),
        ok = ws_client:text(Client, "[1]"),
        ?assertEqual({text, <<"[1]">>}, ws_client:recv(Client)),
        ws_client:drop(Client),
        ?assertMatch({0, _}, recipe:stop(Node))
    end).

%% Without a connection, which would start the node.
listens(Port) ->
    Wanted = io_lib:format(":~4.16.0B 00000000:0000 0A", [Port]),
    {ok, Table} = file:read_file("/proc/net/tcp"),
    string:find(Table, Wanted) =/= nomatch.

path_variables() ->
    [Key ++ "=" ++ Value || Key <- ["PATH", "HOME", "SOCKEYE_NIF_PATH", "SOCKEYE_ENGINE_PATH", "LD_PRELOAD", "ASAN_OPTIONS"],
                             Value <- [os:getenv(Key)], Value =/= false].

%% ---------------------------------------------------------------- a node with the application of the page

start_chat(File, Env) ->
    [Erl | Args] = chat(File, recipe:changed(recipe:file("systemd.md", "config/sys.config"), [{"port => 8080", "port => 0"}])),
    recipe:run(Erl, Args, Env).

%% As its log says, which comes on another way.
its_port({Port, _} = Node, Log) ->
    case re:run(Log, "on 0\\.0\\.0\\.0:(\\d+) listens", [{capture, all_but_first, list}]) of
        {match, [Found]} ->
            list_to_integer(Found);
        nomatch ->
            receive {Port, {data, More}} -> its_port(Node, <<Log/binary, More/binary>>)
            after ?TIMEOUT -> error({no_port, Log})
            end
    end.

chat(File, Config) ->
    Folder = filename:dirname(File("x")),
    _ = recipe:compile("systemd.md", Folder),
    ok = file:write_file(File("chat.app"), recipe:file("systemd.md", "src/chat.app.src")),
    ok = file:write_file(File("sys.config"), Config),
    [os:find_executable("erl"), "-noinput", "-config", File("sys"), "-pa", Folder, filename:dirname(code:which(sockeye)),
     "-eval", "{ok, _} = application:ensure_all_started(chat, permanent)."].

%% What the node says to systemd, and its log so far; or why it cannot.
notified(Systemd, Node) ->
    notified(Systemd, Node, <<>>).

notified(Systemd, {Port, _} = Node, Said) ->
    receive
        {udp, Systemd, _, _, Datagram} -> {Datagram, Said};
        {Port, {data, More}} -> notified(Systemd, Node, <<Said/binary, More/binary>>);
        {Port, {exit_status, Status}} -> error({ended, Status, Said})
    after ?TIMEOUT -> error({nothing_said, Said})
    end.

past_watchdog(Systemd, Node) ->
    case notified(Systemd, Node) of
        {<<"WATCHDOG=1">>, _} -> past_watchdog(Systemd, Node);
        {Other, _} -> Other
    end.

datagram(Systemd) ->
    receive {udp, Systemd, _, _, Datagram} -> Datagram
    after ?TIMEOUT -> error(nothing_said)
    end.

drained(Systemd) ->
    receive {udp, Systemd, _, _, Datagram} -> [Datagram | drained(Systemd)]
    after 0 -> []
    end.

%% ---------------------------------------------------------------- what to watch

%% Each metric that the page names is one of a server.
watched_test() ->
    test_support:with_server(#{metrics => "/metrics"}, fun(Port, _) ->
        Socket = hostile_client:connect(Port),
        {200, _, Text} = http_client:ask(Socket, "GET", "/metrics"),
        ok = gen_tcp:close(Socket),
        There = names(Text, "^# TYPE (\\w+) "),
        Named = names(recipe:page("watch.md"), "`(sockeye_\\w+)`"),
        ?assert(length(Named) > 10),
        ?assertEqual([], Named -- There)
    end).

%% Who gets an alert finds its metric on the page.
alerts_test() ->
    {ok, Rules} = file:read_file(filename:join(test_support:root(), "docs/monitoring/alerts.yml")),
    Exprs = [Expr || [Expr] <- names_of(Rules, "expr: (.*)")],
    Asked = lists:usort([re:replace(Name, "_bucket$", "", [{return, list}]) || Expr <- Exprs, [Name] <- names_of(Expr, "(sockeye_\\w+)")]),
    ?assert(length(Asked) > 10),
    ?assertEqual([], Asked -- names(recipe:page("watch.md"), "`(sockeye_\\w+)`")).

names(Text, Pattern) ->
    lists:usort(lists:append(names_of(Text, Pattern))).

names_of(Text, Pattern) ->
    {match, Found} = re:run(Text, Pattern, [multiline, global, unicode, {capture, all_but_first, list}]),
    Found.

%% ---------------------------------------------------------------- a container

%% Each instruction is one that container programs know; what is copied from a stage is there; the node runs without root and is the
%% first process, so it gets the signal.
container_test() ->
    Instructions = instructions(recipe:file("container.md", "Containerfile")),
    Known = ["FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT"],
    ?assertEqual([], [Name || {Name, _} <- Instructions, not lists:member(Name, Known)]),
    Stages = [Name || {"FROM", Rest} <- Instructions, {match, [Name]} <- [re:run(Rest, " AS (\\w+)$", [{capture, all_but_first, list}])]],
    Copied = [Name || {"COPY", "--from=" ++ Rest} <- Instructions, [Name | _] <- [string:lexemes(Rest, " ")]],
    ?assert(Copied =/= [] andalso Copied -- Stages =:= []),
    [{"ENTRYPOINT", Entry}] = [I || {"ENTRYPOINT", _} = I <- Instructions],
    ?assertEqual({ok, [<<"/srv/chat/bin/chat">>, <<"foreground">>]}, sockeye_json:decode(Entry)),
    ?assertEqual(["10001"], [User || {"USER", User} <- Instructions]),
    ?assert(lists:member({"STOPSIGNAL", "SIGTERM"}, Instructions)).

%% Lines that end with a backslash go on.
instructions(Text) ->
    Lines = string:split(re:replace(Text, "\\\\\n\\s*", "", [global, {return, list}]), "\n", all),
    [{Name, Rest} || Line <- Lines, [Name, Rest] <- [string:split(Line, " ")]].

%% ---------------------------------------------------------------- certificates

certificates_test_() ->
    {setup, fun() -> test_support:ok(application:ensure_all_started(ssl)) end,
     fun(Started) -> [application:stop(App) || App <- lists:reverse(Started)] end,
     {timeout, 120, fun renewed/0}}.

renewed() ->
    test_certs:in_folder(fun(File) ->
        Folder = filename:dirname(File("x")),
        Modules = recipe:compile("certificates.md", Folder) ++ recipe:compile("systemd.md", Folder),
        true = code:add_patha(Folder),
        First = write_identity(File),
        Logger = logger:get_primary_config(),
        ok = logger:set_primary_config(level, none),
        ok = file:write_file(File("changed.erl"), recipe:changed(recipe:file("certificates.md", "src/chat_tls_sup.erl"), [{"8443", "0"}])),
        {ok, chat_tls_sup, Beam} = compile:file(File("changed.erl"), [binary]),
        {module, chat_tls_sup} = code:load_binary(chat_tls_sup, "changed", Beam),
        {ok, Sup} = chat_tls_sup:start_link(Folder),
        unlink(Sup),
        Port = test_support:port(chat_server),
        try
            Open = connect(Port),
            ?assertEqual(First, certificate(Open)),
            echo(Open),
            %% Half of a renewal: the key is still the old one.
            Second = new_identity(),
            ok = file:write_file(File("fullchain.pem"), maps:get(cert, Second)),
            look(),
            ?assertEqual(First, certificate(connect(Port))),
            ok = file:write_file(File("privkey.pem"), maps:get(key, Second)),
            look(),
            New = connect(Port),
            ?assertEqual(der(Second), certificate(New)),
            [echo(Socket) || Socket <- [Open, New]],
            %% Nothing has changed: clients may resume their sessions.
            look(),
            ?assertEqual(der(Second), certificate(connect(Port)))
        after
            ws_client:drop_all(),
            Monitor = monitor(process, Sup),
            exit(Sup, shutdown),
            receive {'DOWN', Monitor, process, Sup, _} -> ok end,
            ok = logger:set_primary_config(Logger),
            forget(Modules, File)
        end
    end).

%% As its timer does each minute.
look() ->
    chat_certificates ! look,
    _ = sys:get_state(chat_certificates, 60000),
    ok.

write_identity(File) ->
    #{cert := Cert, key := Key} = Identity = new_identity(),
    ok = file:write_file(File("fullchain.pem"), Cert),
    ok = file:write_file(File("privkey.pem"), Key),
    der(Identity).

new_identity() ->
    #{server := Config} = test_certs:issue(test_certs:authority("authority"), ["localhost"]),
    test_certs:identity(Config).

der(#{cert := Cert}) ->
    [{'Certificate', Der, _} | _] = public_key:pem_decode(Cert),
    Der.

connect(Port) ->
    ws_client:connect(Port, #{tls => [{verify, verify_none}]}).

certificate(Socket) ->
    {ok, Der} = ssl:peercert(Socket),
    Der.

echo(Socket) ->
    ok = ws_client:text(Socket, "[1]"),
    ?assertEqual({text, <<"[1]">>}, ws_client:recv(Socket)).
