%% Commands that fail, and wrong ones: what the handler hears of them, and that nobody else does.
-module(sockeye_failure_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/2, with_handler/3, message/0, quiet/1]).

modes() -> [one, 2, per_connection].

%% The reply meets a connection that is closing.
closing() -> [{close, 4000, <<>>}, {reply, {text, <<"late">>}}].

%% ---- A client cannot end a handler that has made no mistake.

%% It knows one message only: any other ends it.
no_client_ends_it_test_() ->
    [{lists:flatten(io_lib:format("~p ~p", [Module, Processes])),
      fun() ->
              Self = self(),
              Funs = #{open => fun(_, _, S) -> Self ! {handler, self()}, {[], S} end,
                       frame => fun({text, <<"closed">>}, _, S) -> {closing(), S};
                                   ({text, <<"busy">>}, _, S) -> {copies(3), S};
                                   ({text, <<"not json">>}, _, S) -> {[{reply, {json, self()}}, {publish, <<"t">>, {json, self()}}], S};
                                   ({text, <<"wrong">>}, _, S) -> {[{reply, wrong}], S};
                                   (Frame, _, S) -> {[{reply, Frame}], S}
                                end,
                       info => fun(tick, S) -> Self ! ticked, {[], S} end},
              Options = #{handler => {Module, Funs}, processes => Processes, format => raw, send_queue_size => 150},
              quiet(fun() ->
                  with_server(Options, fun(Port, _) ->
                      Kept = ws_client:connect(Port),
                      {handler, Handler} = message(),
                      [begin
                           ok = ws_client:text(Kept, Word),
                           ok = ws_client:text(Kept, <<"still here">>),
                           ok = await_text(Kept, <<"still here">>)
                       end || Word <- [<<"busy">>, <<"not json">>, <<"wrong">>]],
                      [begin
                           Socket = ws_client:connect(Port),
                           {handler, _} = message(),
                           ok = ws_client:text(Socket, <<"closed">>),
                           ?assertEqual({4000, <<>>}, ws_client:recv_close(Socket))
                       end || _ <- lists:seq(1, 4)],
                      Handler ! tick,
                      ?assertEqual(ticked, message()),
                      ok = ws_client:text(Kept, <<"still here">>),
                      ok = await_text(Kept, <<"still here">>)
                  end)
              end)
      end} || Module <- [plain_handler, fun_handler], Processes <- modes()].

copies(N) -> [{reply, {binary, <<0:800>>}} || _ <- lists:seq(1, N)].

await_text(Socket, Text) ->
    case ws_client:recv(Socket) of
        {text, Text} -> ok;
        {binary, _} -> await_text(Socket, Text)
    end.

%% What the engine and our own processes send to a worker is for it alone.
our_own_messages_test_() ->
    [fun() ->
             Self = self(),
             Funs = #{open => fun(_, _, S) -> Self ! {handler, self()}, {[], S} end,
                      info => fun(Message, S) -> Self ! {info, Message}, {[], S} end},
             with_handler(Funs, #{processes => Processes}, fun(Port, _) ->
                 _ = ws_client:connect(Port),
                 {handler, Handler} = message(),
                 [Handler ! Message || Message <- [sockeye_ready, '$sockeye_rest', '$sockeye_rest', '$sockeye_rest',
                                                   {'$sockeye_failed', []}, last]],
                 ?assertEqual({info, last}, message())
             end)
     end || Processes <- modes()].

%% Only where credits are counted there is an end of them.
passive_is_for_those_who_count_test_() ->
    [fun() ->
             Self = self(),
             Funs = #{frame => fun(_, _, S) -> {Commands ++ [{reply, #{}}], S} end,
                      close => fun(_, _, _, S) -> Self ! closed, {[], S} end,
                      info => fun(Message, S) -> Self ! Message, {[], S} end},
             with_handler(Funs, Options, fun(Port, _) ->
                 Socket = ws_client:connect(Port),
                 [begin
                      ok = ws_client:text(Socket, <<"1">>),
                      {text, _} = ws_client:recv(Socket)
                  end || _ <- [1, 2]],
                 [ok = ws_client:close(Socket, 1000, <<>>) || Expected =:= closed],
                 case Expected of
                     passive -> ?assertMatch({sockeye, _, passive}, message());
                     closed -> ?assertEqual(closed, message())
                 end
             end)
     end || {Options, Commands, Expected} <- [{#{}, [], closed},
                                              {#{active => 2}, [], passive},
                                              {#{}, [{active, false}, {active, 1}], passive},
                                              {#{active => true}, [{active, true}], closed}]].

%% An answer of the engine that comes when nobody waits any more comes to nobody.
late_answers_test() ->
    with_server(#{}, fun(Port, Server) ->
        {_, Conn} = test_support:open(Port),
        {ok, {_, Id, _}} = sockeye_engine:find(Server),
        [begin
             _ = sockeye_ask:ask(fun(Asked) -> ok = sockeye_backend:conn_info(Conn, Asked) end, 0),
             _ = sockeye_ask:ask_all(fun(Asked) -> sockeye_backend:connections(Id, all, Asked) end, 0),
             _ = sockeye_ask:ask(fun(Asked) -> ok = sockeye_backend:publish(Id, all, {text, <<"x">>}, none, Asked) end, 0)
         end || _ <- lists:seq(1, 100)],
        [_ = sockeye_ask:conn_info(Conn, 0) || _ <- lists:seq(1, 100)],
        %% Each thread answers in order.
        {ok, #{}} = sockeye:info(Conn),
        {ok, [Conn]} = sockeye:connections(Server),
        ?assertEqual({messages, []}, process_info(self(), messages)),
        ?assertEqual({monitors, []}, process_info(self(), monitors))
    end).

%% A call that raises leaves no monitor behind, which would tell its process of the engine's end.
wrong_questions_test() ->
    with_server(#{}, fun(_, Server) ->
        ?assertError(badarg, sockeye:info({sockeye_conn, -1})),
        ?assertError(badarg, sockeye:broadcast(Server, wrong, #{wait => true})),
        ?assertError(badarg, sockeye:subscribers(Server, <<"a*">>)),
        ?assertEqual({monitors, []}, process_info(self(), monitors))
    end).

%% ---- handle_error

told() ->
    Self = self(),
    fun(Error, Conn, S) -> Self ! {told, Error, Conn}, {[], S} end.

the_handler_is_told_test_() ->
    [fun() ->
             Self = self(),
             Funs = #{open => fun(Conn, _, S) -> Self ! {open, Conn}, {[], S} end,
                      frame => fun(_, _, S) -> {Commands, S} end,
                      error => told()},
             Options = #{processes => Processes, send_queue_size => 150, max_subscriptions => 1},
             with_handler(Funs, Options, fun(Port, _) ->
                 Socket = ws_client:connect(Port),
                 {open, Conn} = message(),
                 ok = ws_client:text(Socket, <<"1">>),
                 [?assertEqual({told, E, C}, message()) || {E, C} <- Expected(Conn)]
             end)
     end || Processes <- modes(),
            {Commands, Expected} <-
                [{closing(), fun(C) -> [{{{send, C, {text, <<"late">>}}, closed}, C}] end},
                 {[{close, 4000, <<>>}, {close, 4001, <<"again">>}],
                  fun(C) -> [{{{close, C, 4001, <<"again">>}, closed}, C}] end},
                 {copies(2), fun(C) -> [{{{send, C, {binary, <<0:800>>}}, busy}, C}] end},
                 {[{reply, [{text, <<255>>}, {json, {a}}]}],
                  fun(C) -> [{{{send, C, {text, <<255>>}}, not_utf8}, C},
                             {{{send, C, {json, {a}}}, {not_json, {a}, <<"$">>}}, C}] end},
                 {[{reply, {stream, text, last, <<>>}}],
                  fun(C) -> [{{{send, C, {stream, text, last, <<>>}}, not_streaming}, C}] end},
                 {[{subscribe, <<"a">>}, {subscribe, <<"b">>}],
                  fun(C) -> [{{{subscribe, C, <<"b">>}, too_many_subscriptions}, C}] end},
                 {[{publish, <<"a">>, {json, {a}}}, {publish_from, <<"a">>, {text, <<255>>}}],
                  fun(_) -> [{{{publish, <<"a">>, {json, {a}}}, {not_json, {a}, <<"$">>}}, none},
                             {{{publish_from, <<"a">>, {text, <<255>>}}, not_utf8}, none}] end}]].

%% Its commands are carried out, its state is kept, and it may stop.
handle_error_is_a_callback_test() ->
    Self = self(),
    Funs = #{init => fun() -> {ok, 0} end,
             frame => fun({json, N}, _, S) when is_integer(N) -> {[{reply, {json, {N}}}, {reply, {json, S}}], S};
                         (_, _, S) -> {[{reply, {json, {stop}}}], S}
                      end,
             error => fun({_, {not_json, {stop}, _}}, _, S) -> {stop, normal, S};
                         ({_, {not_json, {N}, _}}, Conn, S) -> {[{send, Conn, {json, [N, S]}}], S + 1}
                      end,
             terminate => fun(Reason, S) -> Self ! {terminated, Reason, S} end},
    with_handler(Funs, #{processes => per_connection}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        [begin
             ok = ws_client:text(Socket, Text),
             ?assertEqual({text, State}, ws_client:recv(Socket)),
             ?assertEqual({text, Told}, ws_client:recv(Socket))
         end || {Text, State, Told} <- [{<<"7">>, <<"0">>, <<"[7,0]">>}, {<<"8">>, <<"1">>, <<"[8,1]">>}]],
        ok = ws_client:text(Socket, <<"[]">>),
        ?assertEqual({terminated, normal, 2}, message()),
        ?assertEqual({1000, <<>>}, ws_client:recv_close(Socket))
    end).

%% What it commands and fails is not told to it again: that would have no end.
failures_of_handle_error_test() ->
    Self = self(),
    Funs = #{frame => fun({json, 1}, _, S) -> {closing(), S} end,
             error => fun(Error, Conn, S) -> Self ! Error, {[{send, Conn, #{}}, {send, Conn, wrong}], S} end,
             close => fun(_, _, _, S) -> Self ! closed, {[], S} end},
    quiet(fun() ->
        with_handler(Funs, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            ok = ws_client:text(Socket, <<"1">>),
            ?assertMatch({{send, _, {text, <<"late">>}}, closed}, message()),
            ?assertEqual({4000, <<>>}, ws_client:recv_close(Socket)),
            ?assertEqual(closed, message())
        end)
    end).

%% ---- Wrong commands

wrong_commands() ->
    [{{fly, away}, "there is no such command"},
     {nonsense, "there is no such command"},
     {{reply, <<"hi">>}, "a binary is not a frame"},
     {{reply, "hi"}, "a string is not a frame: {text, String}"},
     {{reply, [#{}, 104]}, "element 2: not a frame"},
     {{reply, [#{} | improper]}, "not a proper list"},
     {{reply, wrong}, "not a frame"},
     {{reply, #{}, #{compress => false}}, "is now {reply, {uncompressed, Frame}}"},
     {{send, self(), #{}, #{compress => false}}, "is now {send, Conn, {uncompressed, Frame}}"},
     {{reply, #{}, none}, "there is no such command; the form is {reply, Frame}"},
     {{publish_from, {sockeye_conn, 1}, <<"a">>, #{}}, "the form is {publish_from, Topic, Frame}"},
     {{close, 1000}, "the form is {close, Code, Reason} or {close, Conn, Code, Reason}"},
     {{publsh, <<"a">>, #{}}, "there is no such command; did you mean publish?"},
     {reply, "the form is {reply, Frame}"},
     {{reply, {plain, #{}}}, "is now {uncompressed, Frame}"},
     {{send, self(), #{}}, "not a connection"},
     {{send, {sockeye_conn, 0}, #{}}, "not a connection"},
     {{close, 1005, <<>>}, "not a close code"},
     {{close, 1000, binary:copy(<<"x">>, 124)}, "not a reason"},
     {{close, {sockeye_conn, -1}, 1000, <<>>}, "not a connection"},
     {{active, 32768}, "in {active, _}"},
     {{subscribe, "abc"}, "not a topic"},
     {{subscribe, <<>>}, "not a topic"},
     {{unsubscribe, self(), <<"a">>}, "not a connection"},
     {{broadcast, <<"x">>}, "a binary is not a frame"},
     {{broadcast, {close, 1000, <<>>}}, "is for one connection"},
     {{broadcast_from, {active, 1}}, "there is no frame {active, _}"},
     {{publish, <<"a*">>, #{}}, "ends with *"},
     {{publish, <<"a">>, wrong}, "not a frame"},
     {{publish_from, topic, #{}}, "not a topic"}].

%% It is told, it costs itself, and the handler and the connection live.
a_wrong_command_costs_itself_test_() ->
    [{lists:flatten(io_lib:format("~0p ~0p", [Processes, Command])),
      fun() ->
              Funs = #{frame => fun(_, _, S) -> {[{reply, {text, <<"before">>}}, Command, {reply, {text, <<"after">>}}], S} end,
                       error => told()},
              quiet(fun() ->
                  with_handler(Funs, #{processes => Processes}, fun(Port, _) ->
                      Socket = ws_client:connect(Port),
                      [begin
                           ok = ws_client:text(Socket, <<"1">>),
                           ?assertEqual({text, <<"before">>}, ws_client:recv(Socket)),
                           ?assertEqual({text, <<"after">>}, ws_client:recv(Socket)),
                           {told, {_, {bad_command, Text}}, _} = message(),
                           ?assertEqual({Text, true}, {Text, binary:match(Text, list_to_binary(Why)) =/= nomatch})
                       end || _ <- [1, 2]]
                  end)
              end)
      end} || Processes <- [one, per_connection], {Command, Why} <- wrong_commands()].

an_improper_list_of_commands_test() ->
    Funs = #{frame => fun(_, _, S) -> {[{reply, {text, <<"before">>}} | wrong], S} end, error => told()},
    quiet(fun() ->
        with_handler(Funs, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            ok = ws_client:text(Socket, <<"1">>),
            ?assertEqual({text, <<"before">>}, ws_client:recv(Socket)),
            ?assertMatch({told, {wrong, {bad_command, _}}, _}, message())
        end)
    end).

%% The callback of each is known, also where the engine finds the mistake.
every_callback_is_named_test() ->
    Self = self(),
    Wrong = fun(Conn) -> [{send, Conn, {txt, <<"x">>}}, {send, Conn, {ping, binary:copy(<<"x">>, 126)}}] end,
    Funs = #{open => fun(Conn, _, S) -> Self ! {self(), Conn}, {Wrong(Conn), S} end,
             frame => fun(_, Conn, S) -> {Wrong(Conn), S} end,
             info => fun(Conn, S) -> {Wrong(Conn), S} end},
    sockeye_log_tests:with_log(fun() ->
        with_handler(Funs, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            {Handler, Conn} = sockeye_log_tests:from_handler(),
            ?assertMatch(#{callback := {handle_open, 3}, conn := Conn, peer := {{127, 0, 0, 1}, _}, count := 2},
                         sockeye_log_tests:report(bad_command)),
            ok = ws_client:text(Socket, <<"1">>),
            ?assertMatch(#{callback := {handle_frame, 3}, conn := Conn, count := 2},
                         sockeye_log_tests:report(bad_command)),
            Handler ! Conn,
            ?assertMatch(#{callback := {handle_info, 2}, conn := Conn, count := 2},
                         sockeye_log_tests:report(bad_command))
        end)
    end).

what_needs_a_connection_test_() ->
    [fun() ->
             Self = self(),
             Funs = #{open => fun(_, _, S) -> Self ! {handler, self()}, {[], S} end,
                      info => fun(go, S) -> {[Command], S} end,
                      error => told()},
             quiet(fun() ->
                 with_handler(Funs, fun(Port, _) ->
                     _ = ws_client:connect(Port),
                     {handler, Handler} = message(),
                     Handler ! go,
                     {told, {Command, {bad_command, Why}}, none} = message(),
                     ?assertMatch(<<"no connection is at hand in this callback", _/binary>>, Why)
                 end)
             end)
     end || Command <- [{reply, #{}}, {active, 1}, {close, 1000, <<>>}, {broadcast_from, #{}},
                        {publish_from, <<"a">>, #{}}, {subscribe, <<"a">>}, {unsubscribe, <<"a">>}]].

%% Where there is just one connection it can mean.
reply_in_handle_info_of_one_connection_test() ->
    Self = self(),
    Funs = #{open => fun(_, _, S) -> Self ! {handler, self()}, {[], S} end,
             info => fun(go, S) -> {[{reply, #{}}], S} end},
    with_handler(Funs, #{processes => per_connection}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        {handler, Handler} = message(),
        Handler ! go,
        ?assertEqual({text, <<"{}">>}, ws_client:recv(Socket))
    end).

%% ---- Crash reports

%% As in gen_server, a handler says what may be seen.
format_status_test_() ->
    [fun() ->
             sockeye_log_tests:with_log(fun() ->
                 with_server(#{handler => {secret_handler, How}}, fun(Port, _) ->
                     Socket = ws_client:connect(Port),
                     ok = ws_client:text(Socket, <<"\"crash: the password\"">>),
                     #{state := State, frame := Frame} = sockeye_log_tests:report(handler_crashed),
                     ?assertEqual(Expected, {State, Frame}),
                     ?assertMatch({1011, _}, ws_client:recv_close(Socket))
                 end)
             end)
     end || {How, Expected} <- [{well, {<<"'no secret'">>, <<"'a frame'">>}},
                                {crashes, {<<"hidden">>, <<"hidden">>}},
                                {returns_nonsense, {<<"hidden">>, <<"hidden">>}}]].

sys_get_status_test() ->
    with_server(#{handler => {secret_handler, well}}, fun(Port, Server) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"\"pid\"">>),
        Pid = list_to_pid(binary_to_list(ws_client:recv_data(Socket))),
        {status, Pid, _, [_, _, _, _, Misc]} = sys:get_status(Pid),
        ?assertMatch([#{module := secret_handler, state := 'no secret'}], [S || {data, [{"State", S}]} <- Misc]),
        {status, Server, _, [_, _, _, _, OfServer]} = sys:get_status(Server),
        ?assertMatch([#{server := Server, workers := [Pid]}], [S || {data, [{"State", S}]} <- OfServer])
    end).

%% 1 KB of a frame, 4 KB of a state.
what_a_report_shows_is_bounded_test_() ->
    [fun() ->
             Funs = #{init => fun() -> {ok, binary:copy(<<"s">>, 100000)} end,
                      frame => fun(_, _, _) -> error(on_request) end},
             sockeye_log_tests:with_log(fun() ->
                 with_handler(Funs, #{format => raw}, fun(Port, _) ->
                     Socket = ws_client:connect(Port),
                     ok = ws_client:text(Socket, binary:copy(<<"f">>, Size)),
                     #{frame := Frame, state := State} = sockeye_log_tests:report(handler_crashed),
                     ?assertEqual(Cut, binary:match(Frame, <<"...">>) =/= nomatch),
                     ?assert(byte_size(Frame) =< 1027),
                     ?assert(byte_size(State) =< 4099)
                 end)
             end)
     end || {Size, Cut} <- [{900, false}, {100000, true}]].

%% The limit is of each server and kind: one crashes again and again, the other is heard.
crashes_are_limited_test_() ->
    {timeout, 120, fun() ->
        Funs = #{frame => fun(_, _, _) -> error(on_request) end},
        sockeye_log_tests:with_log(fun() ->
            with_handler(Funs, #{processes => per_connection}, fun(Port, _) ->
                [begin
                     Socket = ws_client:connect(Port),
                     ok = ws_client:text(Socket, <<"1">>),
                     ?assertMatch({1011, _}, ws_client:recv_close(Socket))
                 end || _ <- lists:seq(1, 12)],
                [_ = sockeye_log_tests:report(handler_crashed) || _ <- lists:seq(1, 10)],
                with_handler(Funs, fun(Other, _) ->
                    Socket = ws_client:connect(Other),
                    ok = ws_client:text(Socket, <<"1">>),
                    #{address := {_, Whose}} = sockeye_log_tests:report(handler_crashed),
                    ?assertEqual(Other, Whose)
                end)
            end)
        end)
    end}.

%% A handler that is started again while its server stops has nowhere to belong: that is no crash.
started_again_while_the_server_stops_test() ->
    Self = self(),
    Starts = atomics:new(1, []),
    Init = fun() ->
                   [begin Self ! {self(), again}, receive go -> ok end end || atomics:add_get(Starts, 1, 1) > 1],
                   {ok, 0}
           end,
    Funs = #{init => Init, frame => fun(_, _, _) -> exit(on_request) end},
    sockeye_log_tests:with_log(fun() ->
        {ok, Server} = sockeye:start_link(#{port => 0, handler => {fun_handler, Funs}}),
        Socket = ws_client:connect(test_support:port(Server)),
        ok = ws_client:text(Socket, <<"1">>),
        {Handler, again} = sockeye_log_tests:from_handler(),
        Monitor = monitor(process, Handler),
        {Stopping, Stopped} = spawn_monitor(fun() -> ok = sockeye:stop(Server) end),
        stopped(Server),
        Handler ! go,
        receive {'DOWN', Monitor, process, Handler, Reason} -> ?assertEqual({shutdown, not_running}, Reason) end,
        receive {'DOWN', Stopped, process, Stopping, normal} -> ok end,
        #{crash := {exit, on_request, _}} = sockeye_log_tests:report(handler_crashed),
        ?assertMatch(#{meta := #{sockeye := server_stopped}}, sockeye_log_tests:logged())
    end).

%% The engine does not know it any more.
stopped(Server) ->
    case sockeye:info(Server) of
        {ok, #{}} -> erlang:yield(), stopped(Server);
        {error, not_found} -> ok
    end.
