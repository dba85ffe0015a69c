%% What a dashboard says to operators: in the log, in the shell, in refusals; and that its token is in none of them.
-module(sockeye_dashboard_words_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2]).

-define(TOKEN, "tulip-4711-SECRET").

%% ---------------------------------------------------------------- the token

check(Value) -> sockeye_options:parse(#{dashboard => Value}, self()).

%% Too short or too long, with a character that a token has not, or given in a form that is none.
a_wrong_token_is_not_shown_test_() ->
    Crash = fun() -> error({no_file, ?TOKEN}) end,
    [{lists:flatten(io_lib:format("~0p", [Value])), fun() ->
         {error, {bad_option, dashboard, Why}} = check(Value),
         ?assertEqual(nomatch, string:find(Why, "SECRET")),
         ?assertMatch({_, [_ | _]}, {Why, string:find(unicode:characters_to_list(Why), Says)})
     end}
     || {Value, Says} <-
            [{#{auth => {token, "SECRET"}}, "got 6 characters"},
             {#{auth => {token, <<"SECRET">>}}, "got 6 characters"},
             {#{auth => {token, fun() -> "SECRET" end}}, "got 6 characters"},
             {#{auth => {token, binary:copy(<<"SECRET">>, 43)}}, "got 258 characters"},
             {#{auth => {token, "SECRET with a space"}}, "got 19 characters, not all of them visible ASCII"},
             {#{auth => {token, secret_SECRET}}, "got no text"},
             {#{auth => {token, [?TOKEN, 8364]}}, "got no text"},
             {#{auth => {token, fun() -> {ok, ?TOKEN} end}}, "got no text"},
             {#{auth => {token, fun(_) -> ?TOKEN end}}, "got no text"},
             {#{auth => {token, Crash}}, "the function of the token crashed"},
             {#{auth => ?TOKEN}, "expected loopback, a function of one argument, or {token, Text}"},
             {#{auth => {tokn, ?TOKEN}}, "expected loopback, a function of one argument, or {token, Text}"},
             {#{auth => fun() -> ?TOKEN end}, "expected loopback, a function of one argument, or {token, Text}"},
             {#{token => ?TOKEN}, "token: unknown option"},
             {[{auth, {token, ?TOKEN}}], "a map with path and auth"},
             {{token, ?TOKEN}, "a map with path and auth"}]].

bounds_of_a_token_from_a_function_test_() ->
    Check = fun(Size) -> element(1, check(#{auth => {token, fun() -> lists:duplicate(Size, $x) end}})) end,
    [?_assertEqual({Size, Says}, {Size, Check(Size)}) || {Size, Says} <- [{15, error}, {16, ok}, {256, ok}, {257, error}]].

a_token_from_a_function_test() ->
    with_server(#{dashboard => #{auth => {token, fun() -> [?TOKEN] end}}}, fun(Port, _) ->
        Ask = fun(Token) -> hostile_client:say(Port, ["GET /_sockeye/auth HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                                             "Authorization: Bearer ", Token, "\r\n\r\n"]) end,
        ?assertMatch(<<"HTTP/1.1 204", _/binary>>, Ask(?TOKEN)),
        ?assertMatch(<<"HTTP/1.1 401", _/binary>>, Ask("tulip-4711-SECREt"))
    end).

%% A supervisor writes the arguments of a child that has ended: the function stands there, and not what it returns.
a_supervisor_does_not_show_it_test() ->
    sockeye_log_tests:with_log(fun() ->
        Options = #{port => 0, handler => {bare_handler, []}, dashboard => #{auth => {token, fun() -> ?TOKEN end}}},
        {ok, Sup} = supervisor:start_link(test_sup, [sockeye:child_spec(Options)]),
        [{_, Server, _, _}] = supervisor:which_children(Sup),
        exit(Server, kill),
        Report = supervisor_report(),
        ?assertMatch([_ | _], string:find(Report, "token")),
        ?assertEqual(nomatch, string:find(Report, "SECRET")),
        [?assertEqual(nomatch, string:find(io_lib:format("~p", [Shown]), "SECRET"))
         || [{_, Again, _, _}] <- [supervisor:which_children(Sup)], Shown <- [sys:get_state(Again), sys:get_status(Again)]],
        unlink(Sup),
        exit(Sup, shutdown),
        ?assertEqual(shutdown, test_support:down(Sup))
    end),
    test_support:flush().

supervisor_report() ->
    receive
        {logged, #{msg := {report, #{label := {supervisor, child_terminated}} = Report}}} -> lists:flatten(io_lib:format("~p", [Report]));
        {logged, _} -> supervisor_report()
    after 60000 -> error(no_report)
    end.

%% ---------------------------------------------------------------- notices

%% What is logged while Fun runs and its servers end, but for frames of other tests.
notices(Fun) ->
    sockeye_log_tests:with_log(fun() -> ok = Fun(), said() end).

said() ->
    receive
        {logged, #{msg := {report, #{what := What} = Report}, meta := #{report_cb := Format}}} ->
            [{What, Report, unicode:characters_to_list(Format(Report, #{}))} | said()];
        {logged, _} -> said()
    after 0 -> []
    end.

%% One notice at the start, which says where the dashboard is, and one at the end.
one_start_and_one_stop_test() ->
    Said = notices(fun() ->
        {ok, Server} = sockeye:start_link(#{port => 0, dashboard => #{path => "/ops"}}),
        self() ! {port, test_support:port(Server)},
        sockeye:stop(Server)
    end),
    Port = receive {port, P} -> integer_to_list(P) end,
    [{server_started, Report, Text}, {server_stopped, _, _}] = Said,
    Url = "http://127.0.0.1:" ++ Port,
    ?assertEqual(list_to_binary([Url, "/ops"]), maps:get(dashboard, Report)),
    ?assertNotEqual(nomatch, string:find(Text, ": " ++ Url ++ "/, dashboard: " ++ Url ++ "/ops")),
    test_support:flush().

without_a_url_test() ->
    [{server_started, Report, Text}, _] = notices(fun() ->
        {ok, Server} = sockeye:start_link(#{ip => none, dashboard => #{}}),
        sockeye:stop(Server)
    end),
    ?assertEqual(<<"/_sockeye">>, maps:get(dashboard, Report)),
    ?assertMatch(", dashboard: /_sockeye", string:find(Text, ", dashboard")),
    test_support:flush().

no_dashboard_no_word_test() ->
    [{server_started, Report, Text}, _] = notices(fun() ->
        {ok, Server} = sockeye:start_link(#{port => 0}),
        sockeye:stop(Server)
    end),
    ?assertNot(is_map_key(dashboard, Report)),
    ?assertEqual(nomatch, string:find(Text, "dashboard")),
    test_support:flush().

%% What went wrong in it is said of it: nobody knows the pid of its server.
its_server_has_a_name_test() ->
    with_server(#{dashboard => #{}, name => words_tests}, fun(Port, Server) ->
        Nested = nested(Server),
        Facts = sockeye_log:server(Nested),
        ?assertEqual(#{server => Server, name => words_tests, address => {{127, 0, 0, 1}, Port}, part => dashboard}, Facts),
        ?assertEqual("The dashboard of Sockeye server words_tests on 127.0.0.1:" ++ integer_to_list(Port) ++ " has stopped: why",
                     unicode:characters_to_list(sockeye_log_text:format(Facts#{what => server_stopped, reason => why}, #{})))
    end).

nested(Server) ->
    [Nested] = [Pid || {Pid, _, #{handler := {sockeye_dashboard_live, #{front := Front}}}} <- sockeye_engine:servers(), Front =:= Server],
    Nested.

%% ---------------------------------------------------------------- in the shell

not_counted_test() ->
    {ok, #{servers := Before}} = sockeye:info(),
    with_server(#{dashboard => #{}}, fun(_, _) ->
        ?assertMatch({ok, #{servers := After}} when After =:= Before + 1, sockeye:info())
    end),
    ?assertMatch({ok, #{servers := Before}}, sockeye:info()).

not_in_the_table_test() ->
    with_server(#{dashboard => #{}}, fun(_, Server) ->
        Nested = nested(Server),
        {ok, Lines} = sockeye_table_tests:printed(fun sockeye:i/0),
        Has = fun(Pid) -> lists:any(fun(Line) -> binary:match(Line, list_to_binary(pid_to_list(Pid))) =/= nomatch end, Lines) end,
        ?assert(Has(Server)),
        ?assertNot(Has(Nested))
    end).

%% ---------------------------------------------------------------- who is refused, and why

causes_test_() ->
    Host = {<<"host">>, <<"localhost:8080">>},
    Why = fun(Peer, Headers) ->
              Request = #{method => <<"GET">>, path => <<"/_sockeye">>, peer => Peer, headers => Headers, subprotocols => []},
              {error, {403, _, Body}} = sockeye_dashboard_auth:page(loopback, Request),
              Text = unicode:characters_to_list(Body),
              ?assertMatch([_ | _], string:find(Text, "ssh -L ")),
              Text
          end,
    [?_assertMatch({_, [_ | _]}, {Says, string:find(Why(Peer, Headers), Says)})
     || {Peer, Headers, Says} <-
            [{{{10, 0, 0, 1}, 1}, [Host], "comes from 10.0.0.1, which is no loopback address"},
             {{{16#fe80, 0, 0, 0, 0, 0, 0, 1}, 1}, [Host], "comes from fe80::1, which"},
             {{local, <<>>}, [Host], "comes through a Unix socket"},
             {{{127, 0, 0, 1}, 1}, [Host, {<<"via">>, <<"x">>}], "the header via says that a proxy"},
             {{{127, 0, 0, 1}, 1}, [Host, {<<"x-forwarded-for">>, <<"127.0.0.1">>}], "the header x-forwarded-for says that a proxy"},
             {{{127, 0, 0, 1}, 1}, [{<<"host">>, <<"evil.example">>}], "the header Host names neither localhost nor a loopback address"},
             {{{127, 0, 0, 1}, 1}, [], "the header Host names neither localhost"}]].

with_a_slash_test() ->
    with_server(#{dashboard => #{}}, fun(Port, _) ->
        Get = fun(Path, Headers) -> hostile_client:say(Port, ["GET ", Path, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", Headers, "\r\n"]) end,
        ?assertMatch(<<"HTTP/1.1 200", _/binary>>, Get("/_sockeye/", "")),
        ?assertMatch(<<"HTTP/1.1 403", _/binary>>, Get("/_sockeye/", "Via: x\r\n"))
    end).

%% The function is asked for the page, for /auth and for the WebSocket. Each answers 500 when it crashes, and the log says what crashed, and where.
a_crash_of_auth_test() ->
    Crash = fun(_) -> error(no_database) end,
    Said = notices(fun() ->
        {ok, Server} = sockeye:start_link(#{port => 0, dashboard => #{auth => Crash}, name => words_tests}),
        Port = test_support:port(Server),
        [?assertMatch(<<"HTTP/1.1 500", _/binary>>, hostile_client:say(Port, ["GET ", Path, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"]))
         || Path <- ["/_sockeye", "/_sockeye/auth"]],
        ?assertMatch({error, {refused, #{status := 500}}},
                     sockeye_client:connect(["ws://127.0.0.1:", integer_to_list(Port), "/_sockeye/live"], #{subprotocols => ["sockeye-dashboard"]})),
        sockeye:stop(Server)
    end),
    test_support:flush(),
    Texts = [Text || {What, _, Text} <- Said, What =:= http_crashed orelse What =:= accept_crashed],
    ?assertMatch([_, _, _], Texts),
    [begin
         ?assertMatch([_ | _], string:find(Text, "erver words_tests on 127.0.0.1:")),
         ?assertMatch({_, [_ | _]}, {Text, string:find(Text, ": the function auth of dashboard crashed\n    exception error: no_database")}),
         ?assertEqual({Text, nomatch}, {Text, string:find(Text, "sockeye_dashboard_auth:")})
     end || Text <- Texts].

%% As the guide says: of a watcher that is refused the watched server knows.
refusals_count_in_the_watched_server_test() ->
    with_server(#{dashboard => #{auth => fun(_) -> false end}}, fun(Port, Server) ->
        Url = ["ws://127.0.0.1:", integer_to_list(Port), "/_sockeye/live"],
        ?assertMatch({error, {refused, #{status := 403}}}, sockeye_client:connect(Url, #{subprotocols => ["sockeye-dashboard"]})),
        hostile_client:until(fun() -> {ok, #{refused := Refused}} = sockeye:info(Server), maps:get(accept, Refused, 0) =:= 1 end)
    end).

%% With `+Mea min' the VM does not know how much memory it has.
without_memory_of_the_vm_test_() ->
    {timeout, 120, fun() ->
        Paths = [filename:dirname(code:which(Module)) || Module <- [sockeye, ?MODULE]],
        {ok, Peer, _} = peer:start_link(#{connection => standard_io, wait_boot => 120000, args => ["+Mea", "min", "-pa" | Paths]}),
        Options = #{port => 0, dashboard => #{}},
        ?assertMatch({ok, _}, peer:call(Peer, sockeye, start_link, [Options], 60000)),
        ok = peer:stop(Peer)
    end}.
