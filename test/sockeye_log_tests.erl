%% Events as maps, for those who have a handler of their own, and how many there may be.
-module(sockeye_log_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-export([log/2]).
%% For other tests.
-export([with_log/1, logged/0, report/1, from_handler/0]).

log(Event, #{config := Pid}) ->
    Pid ! {logged, Event}.

with_log(Test) ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => self(), level => all}),
    ok = logger:update_handler_config(default, level, none),
    try Test()
    after
        ok = logger:update_handler_config(default, level, all),
        ok = logger:remove_handler(?MODULE)
    end.

logged() ->
    receive
        {logged, #{meta := #{sockeye := What}} = Event} when What =/= server_started -> Event;
        {logged, _} -> logged()
    after 60000 ->
            error(nothing_logged)
    end.

%% The next event of this name.
report(What) ->
    case logged() of
        #{msg := {report, #{what := What} = Report}} -> Report;
        _ -> report(What)
    end.

%% What a handler has sent, and no event.
from_handler() ->
    receive
        {Pid, _} = Message when is_pid(Pid) -> Message
    after 60000 ->
            error(no_message)
    end.

line(#{msg := {report, Report}, meta := #{report_cb := Format}}, Config) ->
    unicode:characters_to_binary(Format(Report, Config)).

a_report_and_its_line_test() ->
    with_log(fun() ->
        ok = sockeye_log:event(warning, engine, accept_error, #{reason => <<"no more files">>}),
        #{level := warning, msg := {report, Report}, meta := Meta} = Event = logged(),
        ?assertMatch(#{sockeye := accept_error}, Meta),
        ?assertNot(is_map_key(domain, Meta)),
        ?assertEqual(#{what => accept_error, reason => <<"no more files">>}, Report),
        ?assertEqual(<<"Sockeye could not accept a connection: no more files">>, line(Event, #{}))
    end).

%% Nothing that a client sends can begin a line or move the cursor.
words_of_clients_test_() ->
    [?_assertEqual(nomatch, binary:match(line(#{msg => {report, Report}, meta => #{report_cb => fun sockeye_log_text:format/2}},
                                              Config), [<<"\n">>, <<"\e">>, <<"\r">>]))
     || Bad <- [<<"/a\nb">>, <<"/a\eb">>, <<"/\r">>, <<"/", 16#9b/utf8>>],
        {Report, Config} <- [{#{what => accept_timeout, server => self(), timeout => 1, path => Bad}, #{}},
                             {#{what => client_down, client => self(), reason => {closed, 1000, Bad}}, #{}},
                             {#{what => accept_crashed, server => self(), path => Bad, frame => <<"f">>,
                                crash => {error, Bad, []}}, #{single_line => true}}]].

%% A name may be mistyped, and may be registered later.
owner_that_is_not_running_test() ->
    Started = fun(Options) ->
                      test_support:with_server(Options, fun(_, _) ->
                          receive {logged, #{meta := #{sockeye := server_started}} = Event} -> line(Event, #{}) after 60000 -> error(nothing_logged) end
                      end)
              end,
    true = register(log_tests_owner, self()),
    try with_log(fun() ->
        ?assertNotEqual(nomatch, binary:match(Started(#{handler => log_tests_nobody}), <<"frames go to log_tests_nobody (not running): http">>)),
        ?assertNotEqual(nomatch, binary:match(Started(#{handler => log_tests_owner}), <<"frames go to log_tests_owner: http">>))
    end)
    after
        unregister(log_tests_owner)
    end.

a_value_is_cut_test_() ->
    [?_assertEqual(Shown, string:length(sockeye_log_text:cut(lists:duplicate(N, $a), 100)))
     || {N, Shown} <- [{97, 99}, {98, 100}]] ++
    [?_assert(byte_size(sockeye_log_text:cut(Term, 1024)) =< 1024 * 4 + 3)
     || Term <- [binary:copy(<<255>>, 1 bsl 20), binary:copy(<<"x">>, 1 bsl 20), lists:seq(1, 100000),
                 maps:from_list([{N, N} || N <- lists:seq(1, 100000)])]].

%% What takes the VM seconds to write, without a pause, is told by its size. A client can send an integer of 65,536 digits.
large_integers_are_not_written_test_() ->
    [?_assertEqual(Shown, binary:match(sockeye_log_text:cut(Put(N), 1000), <<"an integer of">>) =/= nomatch)
     || {N, Shown} <- [{1 bsl 4096 - 1, false}, {1 bsl 4096, true}, {1 - 1 bsl 4096, false}, {-(1 bsl 4096), true},
                       {binary:decode_unsigned(binary:copy(<<255>>, 4000000)), true}],
        Put <- [fun(T) -> T end, fun(T) -> [a, {T}] end, fun(T) -> #{k => T} end, fun(T) -> #{T => v} end,
                fun(T) -> [a | T] end]].

%% What is cut is cut before it is written.
parts_are_shown_test_() ->
    Deep = lists:foldl(fun(_, T) -> [T] end, a, lists:seq(1, 1000000)),
    Wide = lists:seq(1, 1000000),
    [{Says, ?_assertMatch({match, _}, re:run(sockeye_log_text:cut(Term, 30), Says))}
     || {Term, Says} <- [{{a, "b", <<"c">>, #{d => 1.5}}, "^{a,\"b\",<<\"c\">>,#{d => 1.5}}$"}, {[a | b], "^\\[a\\|b\\]$"},
                         {[], "^\\[\\]$"}, {{}, "^{}$"}, {#{}, "^#{}$"}, {<<1:3>>, "^<<1:3>>$"}, {"abc" ++ x, "^\\[97,98,99\\|x\\]$"},
                         {Deep, "^\\[\\[\\["}, {Wide, "^\\[1,2,3,.*\\.\\.\\."}, {lists:duplicate(1000, Wide), "^\\[\\[1"},
                         {list_to_tuple(Wide), "^{1,2,.*\\.\\.\\."}, {Wide ++ x, "^\\[1,2,.*\\.\\.\\."},
                         {maps:from_list([{N, Deep} || N <- lists:seq(1, 10000)]), "^#{.*\\.\\.\\."},
                         {binary:copy(<<"x">>, 64000000), "^<<\"xxx.*\\.\\.\\."}, {lists:duplicate(1000000, $x), "^\"xxx.*\\.\\.\\."}]].

%% 10 of a kind in 10 seconds.
limit_test() ->
    ok = sockeye_engine:when_running(fun() -> ok end),
    Key = {engine, limit_test},
    Passed = [sockeye_log_limit:pass(Key, 0) || _ <- lists:seq(1, 9)],
    ?assertEqual(lists:duplicate(9, {yes, 0}), Passed),
    ?assertEqual({yes, 0}, sockeye_log_limit:pass(Key, 9999)),
    ?assertEqual(no, sockeye_log_limit:pass(Key, 9999)),
    ?assertEqual(no, sockeye_log_limit:pass(Key, 9999)),
    %% Others are not touched by that.
    ?assertEqual({yes, 0}, sockeye_log_limit:pass({engine, another_kind}, 9999)),
    ?assertEqual({yes, 0}, sockeye_log_limit:pass({4711, limit_test}, 9999)),
    ?assertEqual({yes, 2}, sockeye_log_limit:pass(Key, 10000)),
    %% A window with no more than 10 leaves nothing to tell.
    [?assertEqual({yes, 0}, sockeye_log_limit:pass(Key, 10000)) || _ <- lists:seq(2, 10)],
    ?assertEqual({yes, 0}, sockeye_log_limit:pass(Key, 20000)),
    [_ = sockeye_log_limit:pass(Key, 20000) || _ <- lists:seq(2, 11)],
    ?assertEqual({yes, 1}, sockeye_log_limit:pass(Key, 30000)),
    [sockeye_log_limit:forget(Scope) || Scope <- [engine, 4711]].

%% That a node has no more processes is no news the second time.
once_a_minute_test() ->
    ok = sockeye_engine:when_running(fun() -> ok end),
    Key = {4712, no_process},
    ?assertEqual([{yes, 0}, no, no, {yes, 2}, no, {yes, 1}],
                 [sockeye_log_limit:pass(Key, Ms) || Ms <- [0, 1, 59999, 60000, 119999, 120000]]),
    sockeye_log_limit:forget(4712).

%% Many processes of a server at once: none is lost between logged and counted.
limit_of_many_processes_test() ->
    ok = sockeye_engine:when_running(fun() -> ok end),
    Key = {engine, many_test},
    Passed = fun(Now) ->
                     Workers = [spawn_monitor(fun() -> exit(sockeye_log_limit:pass(Key, Now)) end)
                                || _ <- lists:seq(1, 100)],
                     Told = [receive {'DOWN', M, process, P, Reason} -> Reason end || {P, M} <- Workers],
                     {length([yes || {yes, _} <- Told]), lists:sum([N || {yes, N} <- Told])}
             end,
    ?assertEqual([{10, 0}, {10, 90}, {10, 90}], [Passed(Now) || Now <- [0, 10000, 20000]]),
    sockeye_log_limit:forget(engine).

what_is_suppressed_is_told_test() ->
    Report = #{what => accept_error, server => self(), reason => <<"why">>, suppressed => 3},
    ?assertEqual(iolist_to_binary(["Sockeye server ", pid_to_list(self()),
                                   " could not accept a connection: why (and 3 more since the last one)"]),
                 unicode:characters_to_binary(sockeye_log_text:format(Report, #{}))).

events_of_the_engine_are_logged_test() ->
    with_log(fun() ->
        test_support:with_server(#{}, fun(_, Server) ->
            sockeye_engine ! {sockeye_event, panic, #{message => <<"boom">>}},
            ?assertMatch(#{level := error, msg := {report, #{what := panic, message := <<"boom">>}}},
                         logged()),
            Server ! {sockeye_event, accept_error, #{reason => <<"why">>}},
            ?assertMatch(#{level := warning, msg := {report, #{what := accept_error, server := Server}}},
                         logged())
        end)
    end).

%% Clients that are turned away since nobody has the name of the owner: told once, however many they are.
no_owner_test() ->
    with_log(fun() ->
        test_support:with_server(#{handler => nobody_has_this_name, name => chat}, fun(Port, _) ->
            [?assertEqual({1011, <<"no owner">>}, ws_client:recv_close(ws_client:connect(Port))) || _ <- lists:seq(1, 20)],
            #{msg := {report, #{conn := {sockeye_conn, Number}}}} = Event = logged(),
            ?assertMatch(#{level := warning, msg := {report, #{what := no_owner, name := chat, handler := nobody_has_this_name}}}, Event),
            Sentence = io_lib:format("Sockeye server chat on 127.0.0.1:~b sent 1011, no owner, on connection ~b, since no process is registered as "
                                     "nobody_has_this_name; so it does with all that come until one is. A module of callbacks is given as {nobody_has_this_name, Arg}", [Port, Number]),
            ?assertEqual(iolist_to_binary(Sentence), line(Event, #{}))
        end),
        ?assertEqual([], [Event || #{msg := {report, #{what := no_owner}}} = Event <- flushed()])
    end).

%% An owner that takes nothing is told of when a connection ends, once; one that has taken something is not.
owner_idle_test_() ->
    {timeout, 30, fun() ->
        with_log(fun() ->
            [begin
                 sockeye_log_limit:forget(engine),
                 Owner = spawn(Loop),
                 test_support:with_server(#{handler => Owner, format => raw}, fun(Port, _) ->
                     Socket = ws_client:connect(Port),
                     ok = ws_client:text(Socket, <<"hello">>),
                     ok = ws_client:close(Socket, 1000, <<>>),
                     ?assertMatch({close, 1000, _}, ws_client:recv(Socket, 60000)),
                     Own = #{owner => Owner},
                     case [Event || #{msg := {report, #{what := owner_idle} = Report}} = Event <- flushed(),  maps:with([owner], Report) =:= Own] of
                         [#{level := Level, msg := {report, #{messages := Left, path := <<"/">>}}} = Event] ->
                             ?assertEqual({told, warning}, {Expected, Level}),
                             ?assert(Left >= 2),
                             ?assertMatch({match, _}, re:run(line(Event, #{}), "takes none of its messages"));
                         [] ->
                             ?assertEqual(silent, Expected)
                     end
                 end),
                 exit(Owner, kill)
             end || {Expected, Loop} <- [{told, fun() -> receive never -> ok end end},
                                         {silent, fun() -> receive {sockeye, _, _} -> receive never -> ok end end end}]]
        end)
    end}.

flushed() ->
    receive {logged, Event} -> [Event | flushed()]
    after 0 -> []
    end.

failed_commands_of_a_handler_without_handle_info_test() ->
    with_log(fun() ->
        Options = #{handler => {bare_handler, []}, format => raw, send_queue_size => 100},
        test_support:with_server(Options, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            %% Two frames at once that do not fit together.
            Frame = ws_client:encode(2, <<0:80/unit:8>>),
            ok = ws_client:raw(Socket, [Frame, Frame, Frame]),
            #{level := warning, msg := {report, Report}} = logged(),
            ?assertMatch(#{what := command_failed, module := bare_handler, callback := {handle_frame, 3},
                           command := <<"{send,", _/binary>>, reason := busy}, Report)
        end)
    end).
