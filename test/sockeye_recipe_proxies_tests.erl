%% The pages about nginx, haproxy and Caddy: each proxy runs with the configuration that stands there, in front of two
%% servers. `make recipes' installs them; where one is missing, its tests are left out.
-module(sockeye_recipe_proxies_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-define(TIMEOUT, 60000).
-define(TALKERS, 8).
%% Another address than the proxy's.
-define(CLIENT, {127, 0, 0, 2}).

recipes_test_() ->
    {setup, fun() -> lists:append([test_support:ok(application:ensure_all_started(App)) || App <- [ssl, inets]]) end,
     fun(Started) -> [application:stop(App) || App <- lists:reverse(Started)] end,
     [recipe(Proxy) || Proxy <- ["nginx", "haproxy", "caddy"]]}.

recipe(Proxy) ->
    case {test_support:program(Proxy), os:getenv("SOCKEYE_PROXIES")} of
        {false, false} -> test_support:left_out("the recipe of " ++ Proxy, "not installed");
        {false, _} -> {Proxy, fun() -> error({not_installed, Proxy}) end};
        {Program, _} ->
            [{timeout, 180, {Proxy ++ ": " ++ Name, fun() -> behind(Proxy, Program, Test) end}}
             || {Name, Test} <- [{"who the client is", fun address/1},
                                 {"pages of the same host", fun pages/1},
                                 {"what strangers do not get", fun private/1},
                                 {"a reload with another certificate", fun reload/1},
                                 {"one node after the other drains and comes back", fun rolling/1}]]
    end.

%% ---------------------------------------------------------------- what each of them does

%% What the client says of its address does not count, and the proxy's is not taken for it.
address(#{front := Front}) ->
    [begin
         Socket = connect(Front, [{"X-Forwarded-For", Claim} || Claim <- Claims]),
         ?assertMatch({open, _, {?CLIENT, 0}}, told()),
         ok = ssl:close(Socket)
     end || Claims <- [[], ["10.9.8.7"]]].

pages(#{front := Front}) ->
    [begin
         {ok, Got, _, Socket} = handshake(Front, [{"Origin", Origin} | Claims]),
         ?assertEqual({Origin, Claims, Status}, {Origin, Claims, Got}),
         ok = ssl:close(Socket)
     end || {Status, Origin} <- [{101, "https://localhost"}, {403, "http://localhost"}, {403, "https://other"}, {403, "null"}],
            Claims <- [[], [{"X-Forwarded-Host", "other"}, {"X-Forwarded-Proto", "http"}]]].

private(#{front := Front, servers := Servers}) ->
    ?assertEqual([404, 404, 200], [status(Front, Path) || Path <- ["/health", "/metrics", "/page"]]),
    {ok, {{_, 200, _}, _, _}} = httpc_get(hd(Servers), "/health").

%% Connections that are open stay open, but for Caddy.
reload(#{proxy := Proxy, front := Front, renew := Renew} = Recipe) ->
    Talkers = talkers(Front),
    Old = certificate(Front),
    ok = Renew(),
    ok = reload(Recipe, fun() -> certificate(Front) =/= Old end, 10),
    heard(Talkers),
    Ends = [Ends || #{ends := Ends} <- stop(Talkers)],
    case Proxy of
        %% The page says so.
        "caddy" -> ?assertEqual([1], lists:usort([length(E) || E <- Ends]));
        _ -> ?assertEqual([[]], lists:usort(Ends))
    end.

%% A signal that comes before the proxy listens to signals is lost.
reload(Recipe, Done, Tries) ->
    ok = reloaded(Recipe),
    case recipe:within(6000, Done) of
        true -> ok;
        false when Tries > 1 -> reload(Recipe, Done, Tries - 1)
    end.

%% Nobody is refused, each client hears of the end, and each message is answered.
rolling(#{front := Front, servers := [A, B], start := Start}) ->
    Talkers = talkers(Front),
    ?assertEqual(?TALKERS, connections(A) + connections(B)),
    On = connections(A),
    ?assert(On > 0 andalso On < ?TALKERS),
    {ok, #{closed := On, unanswered := 0}} = sockeye:drain(A, #{deadline => 10000}),
    heard(Talkers),
    ?assertEqual(?TALKERS, connections(B)),
    A = Start(A),
    %% The proxy has seen that it is back.
    recipe:until(fun() ->
        Socket = connect(Front, []),
        Came = connections(A) > 0,
        ok = ssl:close(Socket),
        Came
    end),
    recipe:until(fun() -> connections(A) + connections(B) =:= ?TALKERS end),
    {ok, #{closed := ?TALKERS, unanswered := 0}} = sockeye:drain(B, #{deadline => 10000}),
    heard(Talkers),
    ?assertEqual(?TALKERS, connections(A)),
    All = stop(Talkers),
    ?assertEqual(lists:duplicate(On + ?TALKERS, 1001), lists:append([Ends || #{ends := Ends} <- All])),
    ?assertEqual([0], lists:usort([Refused || #{refused := Refused} <- All])).

connections(Port) ->
    {ok, #{connections := N}} = sockeye:info(Port),
    N.

%% ---------------------------------------------------------------- clients that talk all the time

%% Each says a number and goes on when it has heard it, over another connection if its own has ended.
talkers(Front) ->
    Self = self(),
    Pids = [spawn_link(fun() -> talk(Self, Front, connect(Front, []), 1, #{ends => [], refused => 0, asked => false}) end) || _ <- lists:seq(1, ?TALKERS)],
    heard(Pids),
    Pids.

talk(Starter, Front, Socket, N, #{asked := Asked} = State) ->
    receive
        heard -> talk(Starter, Front, Socket, N, State#{asked := true});
        stop -> _ = ssl:close(Socket), Starter ! {self(), State}
    after 0 ->
        Text = integer_to_binary(N),
        _ = ws_client:text(Socket, Text),
        case ws_client:recv(Socket, ?TIMEOUT) of
            {text, Text} ->
                _ = Asked andalso (Starter ! {self(), heard}),
                talk(Starter, Front, Socket, N + 1, State#{asked := false});
            {close, Code, _} ->
                _ = ws_client:close(Socket, Code, <<>>),
                _ = ssl:close(Socket),
                again(Starter, Front, N, ended(Code, State));
            closed ->
                again(Starter, Front, N, ended(1006, State))
        end
    end.

ended(Code, #{ends := Ends} = State) ->
    State#{ends := [Code | Ends]}.

%% Without a proxy it is silent, which the test hears: a crash of its own would hide what came first.
again(Starter, Front, N, #{refused := Refused} = State) ->
    case test_support:attempt(fun() -> handshake(Front, []) end) of
        {ok, 101, _, Socket} -> talk(Starter, Front, Socket, N, State);
        {ok, _, _, Socket} -> _ = ssl:close(Socket), again(Starter, Front, N, State#{refused := Refused + 1});
        {failed, _} -> ok
    end.

%% Each has heard something that it said after now.
heard(Talkers) ->
    [Talker ! heard || Talker <- Talkers],
    [receive {Talker, heard} -> ok after ?TIMEOUT -> error(nothing_heard) end || Talker <- Talkers],
    ok.

stop(Talkers) ->
    [begin
         Talker ! stop,
         receive {Talker, #{} = State} -> State after ?TIMEOUT -> error(still_talking) end
     end || Talker <- Talkers].

%% ---------------------------------------------------------------- requests

connect(Front, Headers) ->
    {ok, 101, _, Socket} = handshake(Front, Headers),
    Socket.

handshake(Front, Headers) ->
    ws_client:handshake(Front, #{tls => tls(), socket => [{ip, ?CLIENT}], headers => Headers}).

%% Caddy goes by the name.
tls() ->
    [{verify, verify_none}, {server_name_indication, "localhost"}].

told() ->
    receive {told, What} -> What
    after ?TIMEOUT -> error(nothing_told)
    end.

certificate(Front) ->
    {ok, Socket} = ssl:connect({127, 0, 0, 1}, Front, tls(), ?TIMEOUT),
    {ok, Der} = ssl:peercert(Socket),
    ok = ssl:close(Socket),
    Der.

status(Front, Path) ->
    {ok, {{_, Status, _}, _, _}} = httpc_get({tls, Front}, Path),
    Status.

httpc_get({tls, Port}, Path) -> get_url("https://localhost:" ++ integer_to_list(Port) ++ Path);
httpc_get(Port, Path) -> get_url("http://127.0.0.1:" ++ integer_to_list(Port) ++ Path).

get_url(Url) ->
    httpc:request(get, {Url, []}, [{ssl, tls()}, {timeout, ?TIMEOUT}], []).

%% ---------------------------------------------------------------- the proxies

%% Test gets ports of the proxy and of the servers, and what renews the certificate.
behind(Proxy, Program, Test) ->
    test_certs:in_folder(fun(File) ->
        Renew = fun() -> renew(File) end,
        ok = Renew(),
        Self = self(),
        Start = fun(Port) -> start_server(Port, Self) end,
        [A, B] = Servers = [Start(0), Start(0)],
        Recipe = start(#{proxy => Proxy, program => Program, a => A, b => B, file => File, servers => Servers, renew => Renew, start => Start}, 5),
        #{running := Running} = Recipe,
        try Test(Recipe)
        after
            ws_client:drop_all(),
            _ = recipe:stop(Running),
            [_ = sockeye:stop(Port) || Port <- Servers],
            test_support:flush()
        end
    end).

%% As the pages start it, but for the handler.
start_server(Port, Test) ->
    Funs = #{open => fun(Conn, #{peer := Peer}, State) -> Test ! {told, {open, Conn, Peer}}, {[], State} end,
             frame => fun(Frame, _, State) -> {[{reply, Frame}], State} end},
    {ok, Server} = sockeye:start_link(#{port => Port, handler => {fun_handler, Funs}, format => raw, trusted_proxies => ["127.0.0.1"],
                                        origins => [same_host], health => "/health", metrics => "/metrics", http => #{"/page" => {text, "page"}}}),
    %% It ends with a drain.
    unlink(Server),
    test_support:port(Server).

%% A certificate of its own each time.
renew(File) ->
    #{server := Config} = test_certs:issue(test_certs:authority("authority"), ["localhost"]),
    #{cert := Cert, key := Key} = test_certs:identity(Config),
    ok = file:write_file(File("fullchain.pem"), Cert),
    ok = file:write_file(File("privkey.pem"), Key),
    ok = file:write_file(File("front.pem"), [Cert, Key]).

%% A free port may be taken before the proxy has it.
start(#{program := Program} = Free, Tries) ->
    #{front := Front} = Recipe = Free#{front => test_support:free_port(), admin => test_support:free_port()},
    {Args, Env} = configure(Recipe),
    try recipe:until(recipe:run(Program, Args, Env), fun() ->
            case gen_tcp:connect({127, 0, 0, 1}, Front, []) of
                {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
                {error, _} -> false
            end
        end)
    of
        Running -> Recipe#{running => Running}
    catch
        error:{ended, _, _} when Tries > 1 -> start(Free, Tries - 1)
    end.

%% Writes the files, and says how the program is started.
configure(#{proxy := "nginx", file := File} = Recipe) ->
    Folder = filename:dirname(File("x")),
    ok = filelib:ensure_dir(File("conf.d/x")),
    ok = file:write_file(File("nginx.conf"), recipe:changed(recipe:file("nginx.md", "nginx.conf"),
                                                            [{"/etc/nginx/conf.d", File("conf.d")}, {"200256", "2000"}, {"100000", "1000"}])),
    ok = file:write_file(File("conf.d/chat.conf"), recipe:changed(recipe:file("nginx.md", "chat.conf"), ports(Recipe) ++ [{"/etc/ssl/chat", Folder}])),
    %% Debian's folders belong to root.
    ok = file:write_file(File("conf.d/test.conf"), [[Kind, "_temp_path ", Folder, "/", Kind, ";\n"]
                                                    || Kind <- ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]]),
    {["-p", Folder, "-e", "stderr", "-c", File("nginx.conf"), "-g", "daemon off; pid " ++ File("pid") ++ ";" ++ user()], []};
configure(#{proxy := "haproxy", file := File} = Recipe) ->
    Config = recipe:changed(recipe:file("haproxy.md", "haproxy.cfg"),
                            ports(Recipe) ++ [{"/etc/ssl/chat", filename:dirname(File("x"))}, {"maxconn 100000", "maxconn 500"}]),
    ok = file:write_file(File("haproxy.cfg"), Config),
    {["-W", "-db", "-f", File("haproxy.cfg")], []};
configure(#{proxy := "caddy", file := File, front := Front, admin := Admin} = Recipe) ->
    Config = recipe:changed(recipe:file("caddy.md", "Caddyfile"),
                            lists:keydelete(":443", 1, ports(Recipe)) ++ [{"/etc/ssl/chat", filename:dirname(File("x"))},
                                                            {"chat.example {", "https://localhost:" ++ integer_to_list(Front) ++ " {"}]),
    ok = file:write_file(File("Caddyfile"), ["{\nadmin 127.0.0.1:", integer_to_list(Admin), "\nauto_https disable_redirects\n}\n", Config]),
    {["run", "--adapter", "caddyfile", "--config", File("Caddyfile")], caddy_folders(File)}.

ports(#{proxy := Proxy, front := Front, a := A, b := B}) ->
    [{if Proxy =:= "nginx" -> "listen 443"; true -> ":443" end,
      [if Proxy =:= "nginx" -> "listen 127.0.0.1:"; true -> "127.0.0.1:" end, integer_to_list(Front)]},
     {":8080", [":", integer_to_list(A)]}, {":8081", [":", integer_to_list(B)]}].

caddy_folders(File) ->
    [{Name, File("caddy")} || Name <- ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"]].

%% Its workers read the test's files.
user() ->
    case os:cmd("id -u") of
        "0\n" -> " user root;";
        _ -> ""
    end.

%% As the pages say.
reloaded(#{proxy := "nginx", running := Running}) ->
    recipe:signal(Running, "HUP");
reloaded(#{proxy := "haproxy", running := Running}) ->
    recipe:signal(Running, "USR2");
reloaded(#{proxy := "caddy", program := Program, file := File, admin := Admin}) ->
    Args = ["reload", "--force", "--adapter", "caddyfile", "--config", File("Caddyfile"), "--address", "127.0.0.1:" ++ integer_to_list(Admin)],
    {0, _} = recipe:said(recipe:run(Program, Args, caddy_folders(File))),
    ok.
