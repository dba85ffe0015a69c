%% What a dashboard says to operators: in the log, in the shell, in refusals; and that its token is in none of them.
-module(sockeye_dashboard_words_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, quiet/1]).

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
             {#{auth => ?TOKEN}, "expected a function of one argument, or {token, Text}"},
             {#{auth => {tokn, ?TOKEN}}, "expected a function of one argument, or {token, Text}"},
             {#{auth => fun() -> ?TOKEN end}, "expected a function of one argument, or {token, Text}"},
             {#{token => ?TOKEN}, "token: unknown option"},
             {[{auth, {token, ?TOKEN}}], "a map with path and auth"},
             {{token, ?TOKEN}, "a map with path and auth"}]].

bounds_of_a_token_from_a_function_test_() ->
    Check = fun(Size) -> element(1, check(#{auth => {token, fun() -> lists:duplicate(Size, $x) end}})) end,
    [?_assertEqual({Size, Says}, {Size, Check(Size)}) || {Size, Says} <- [{15, error}, {16, ok}, {256, ok}, {257, error}]].

a_token_from_a_function_test() ->
    with_server(#{dashboard => #{auth => {token, fun() -> [?TOKEN] end}}}, fun(Port, _) ->
        Ask = fun(Token) -> siege:say(Port, ["GET /_sockeye/auth HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
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
    after 10000 -> error(no_report)
    end.
