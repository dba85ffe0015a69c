%% Handlers without a server: what sockeye_test lets a test do, and see.
-module(sockeye_test_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [quiet/1]).

%% A handler of funs, as fun_handler has them.
start(Funs) -> start(Funs, #{}).

start(Funs, Options) ->
    {ok, Test} = sockeye_test:start(Options#{handler => {fun_handler, Funs}}),
    Test.

%% A handler that replies with what it gets.
echo() ->
    #{init => fun() -> {ok, 0} end, frame => fun(Frame, _Conn, N) -> {[{reply, Frame}], N + 1} end}.

replies_test() ->
    Test = start(echo()),
    {ok, Conn} = sockeye_test:open(Test),
    ?assertEqual([], sockeye_test:commands(Test)),
    ?assertEqual([{send, Conn, {json, #{<<"a">> => [1, null, <<"b">>]}}}], sockeye_test:frame(Conn, #{a => [1, null, b]})),
    ?assertEqual([{json, #{<<"a">> => [1, null, <<"b">>]}}], sockeye_test:received(Conn)),
    ?assertEqual([], sockeye_test:received(Conn)),
    ?assertEqual([{send, Conn, {binary, <<1>>}}, {send, Conn, {json, 7}}], sockeye_test:frame(Conn, [{binary, [1]}, {json, 7}])),
    ?assertEqual([{binary, <<1>>}, {json, 7}], sockeye_test:received(Conn)),
    ?assertMatch({_, 3}, sockeye_test:state(Test)),
    ok = sockeye_test:stop(Test),
    ?assertNot(is_process_alive(Test)).

%% Without the application and without the library, in an emulator of its own.
alone_test() ->
    Code = "{ok, T} = sockeye_test:start(#{handler => {bare_handler, []}}),"
        "{ok, C} = sockeye_test:open(T), _ = sockeye_test:frame(C, #{a => 1}), _ = sockeye_test:pass(T, 1000), _ = sockeye_test:close(C),"
        "ok = sockeye_test:stop(T),"
        "false = code:is_loaded(sockeye_nif), undefined = whereis(sockeye_engine),"
        "false = lists:keymember(sockeye, 1, application:which_applications()),",
    ?assertEqual({0, <<"fine">>}, test_support:bare_node(Code, [{"SOCKEYE_NIF_PATH", "/nowhere"}])).

%% What it costs, loosely: the engine is not in it.
is_fast_test() ->
    Test = start(echo()),
    {ok, Conn} = sockeye_test:open(Test),
    {Time, _} = timer:tc(fun() -> [sockeye_test:frame(Conn, {json, N}) || N <- lists:seq(1, 200)] end),
    ?assert(Time < 200 * 5000),
    ok = sockeye_test:stop(Test).

info_of_the_request_test() ->
    Self = self(),
    Test = start(#{open => fun(_Conn, Info, S) -> Self ! Info, {[{reply, #{hello => 1}}], S} end}, #{subprotocols => ["a", "b"]}),
    {ok, Conn} = sockeye_test:open(Test, #{path => "/rooms/7?token=x", headers => [{"X-Who", "ann"}], subprotocols => ["c", "b", "a"]}),
    ?assertMatch(#{path := <<"/rooms/7">>, query := <<"token=x">>, subprotocol := <<"b">>, headers := [{<<"x-who">>, <<"ann">>}],
                   peer := {{127, 0, 0, 1}, _}, tls := undefined, http_version := {1, 1}, deflate := false}, test_support:message()),
    ?assertEqual([{send, Conn, #{hello => 1}}], sockeye_test:commands(Test)),
    ?assertMatch({ok, #{path := <<"/rooms/7">>}}, sockeye:info(Conn)),
    ok = sockeye_test:stop(Test).

accept_test() ->
    Accept = fun(#{query := <<"no">>}) -> {reject, 401, [{"x-why", "no"}], <<"Who are you?">>};
                (#{query := <<"crash">>}) -> error(accept);
                (#{query := <<"wrong">>}) -> {accept, 7};
                (#{query := Query}) -> {accept, #{state => Query, active => 1}}
             end,
    Self = self(),
    Test = start(#{open => fun(_Conn, #{state := Kept}, S) -> Self ! Kept, {[], S} end}, #{accept => Accept}),
    ?assertEqual({error, {refused, #{status => 401, headers => [{<<"x-why">>, <<"no">>}], body => <<"Who are you?">>}}},
                 sockeye_test:open(Test, #{path => "/?no"})),
    quiet(fun() ->
        ?assertMatch({error, {refused, #{status := 500}}}, sockeye_test:open(Test, #{path => "/?crash"})),
        ?assertMatch({error, {refused, #{status := 500}}}, sockeye_test:open(Test, #{path => "/?wrong"}))
    end),
    {ok, Conn} = sockeye_test:open(Test, #{path => "/?yes"}),
    ?assertEqual(<<"yes">>, test_support:message()),
    ?assertMatch({ok, #{active := 1}}, sockeye:info(Conn)),
    ok = sockeye_test:stop(Test).

%% A handler that replies to each frame, and asks for two at a time.
credits_test() ->
    Self = self(),
    Test = start((echo())#{info => fun({sockeye, _, passive}, N) -> Self ! passive, {[], N};
                                      ({more, Conn}, N) -> ok = sockeye:setopts(Conn, [{active, 2}]), {[], N} end}, #{active => 2}),
    {ok, Conn} = sockeye_test:open(Test),
    ?assertMatch([_, _], sockeye_test:frame(Conn, [{json, N} || N <- [1, 2, 3]])),
    passive = test_support:message(),
    ?assertEqual([{json, 1}, {json, 2}], sockeye_test:received(Conn)),
    ?assertMatch([{setopts, Conn, [{active, 2}]}, {send, Conn, {json, 3}}], sockeye_test:info(Test, {more, Conn})),
    ?assertMatch({ok, #{active := 1}}, sockeye:info(Conn)),
    ok = sockeye_test:stop(Test).

busy_test() ->
    Self = self(),
    Test = start((echo())#{error => fun(Error, _Conn, N) -> Self ! Error, {[], N} end}),
    {ok, Conn} = sockeye_test:open(Test),
    ok = sockeye_test:busy(Conn, true),
    ?assertEqual([{failed, {send, Conn, {json, 1}}, busy}], sockeye_test:frame(Conn, {json, 1})),
    ?assertEqual({{send, Conn, {json, 1}}, busy}, test_support:message()),
    ?assertEqual({error, busy}, sockeye:send(Conn, #{})),
    ?assertEqual({ok, #{sent => 0, dropped => 1}}, sockeye:broadcast(Test, #{}, #{wait => true})),
    ok = sockeye_test:busy(Conn, false),
    ?assertEqual([{send, Conn, {json, 2}}], sockeye_test:frame(Conn, {json, 2})),
    ok = sockeye_test:stop(Test).

%% What is wrong with a command is told as by a server.
wrong_commands_test() ->
    Test = start(#{frame => fun({json, _}, Conn, S) -> {[{reply, #{at => self()}}, {reply, [7]}, nonsense, {send, Conn, {text, <<255>>}}, {subscribe, <<>>}], S} end}),
    {ok, Conn} = sockeye_test:open(Test),
    Failed = quiet(fun() -> sockeye_test:frame(Conn, {json, 1}) end),
    ?assertMatch([{failed, nonsense, {bad_command, _}}, {failed, {reply, [7]}, {bad_command, _}}, {failed, {send, Conn, {text, <<255>>}}, not_utf8},
                  {failed, {send, Conn, #{at := _}}, {not_json, _, <<"$.at">>}}, {failed, {subscribe, Conn, <<>>}, {bad_command, _}}], lists:sort(Failed)),
    ok = sockeye_test:stop(Test).

fanout_test() ->
    Test = start(#{open => fun(_Conn, #{path := <<"/", Topic/binary>>}, S) -> {[{subscribe, Topic}], S} end,
                   frame => fun({json, Topic}, _Conn, S) -> {[{publish_from, Topic, #{to => Topic}}, {broadcast, {text, <<"all">>}}], S} end},
                 #{name => a_test_of_rooms}),
    [A, B, Star] = [sockeye_test_open(Test, Path) || Path <- ["/room/a", "/room/b", "/room/*"]],
    ?assertEqual([{publish_from, A, <<"room/a">>, #{to => <<"room/a">>}}, {broadcast, {text, <<"all">>}}],
                 sockeye_test:frame(A, {json, <<"room/a">>})),
    ?assertEqual([{text, <<"all">>}], sockeye_test:received(A)),
    ?assertEqual([{text, <<"all">>}], sockeye_test:received(B)),
    ?assertEqual([{json, #{<<"to">> => <<"room/a">>}}, {text, <<"all">>}], sockeye_test:received(Star)),
    ?assertEqual({ok, [A, Star]}, sockeye:subscribers(Test, <<"room/a">>)),
    ?assertEqual({ok, [A, B, Star]}, sockeye:connections(a_test_of_rooms)),
    ?assertEqual({ok, #{<<"room/a">> => 1, <<"room/b">> => 1, <<"room/*">> => 1}}, sockeye:topics(a_test_of_rooms)),
    ok = sockeye:publish(a_test_of_rooms, <<"room/b">>, #{n => 1}),
    ?assertEqual([{json, #{<<"n">> => 1}}], sockeye_test:received(B)),
    ?assertEqual({error, [{A, closed}]}, begin _ = sockeye_test:close(A), sockeye:send([A, B], #{}) end),
    ok = sockeye_test:stop(Test).

sockeye_test_open(Test, Path) -> test_support:ok(sockeye_test:open(Test, #{path => Path})).

%% Whoever traces afterwards finds no pattern of ours.
no_pattern_is_left_test() ->
    {ok, Test} = sockeye_test:start(#{handler => {bare_handler, []}}),
    {ok, Other} = sockeye_test:start(#{handler => {bare_handler, []}}),
    Pattern = fun() -> erlang:trace_info({erlang, send_after, 3}, traced) end,
    ?assertEqual({traced, local}, Pattern()),
    _ = sockeye_test:stop(Other),
    ?assertEqual({traced, local}, Pattern()),
    _ = sockeye_test:stop(Test),
    ?assertEqual({traced, false}, Pattern()).

%% Timers go off in their order, also those that others start, and not those that were cancelled.
time_test() ->
    Test = start(#{init => fun() -> _ = erlang:send_after(20000, self(), second), erlang:start_timer(10000, self(), first), {ok, []} end,
                   info => fun({timeout, _, first}, S) -> Ref = erlang:send_after(5000, self(), never), _ = erlang:send_after(1000, self(), later),
                                                          {[{broadcast, #{at => first}}], [Ref | S]};
                              (later, [Ref]) -> _ = erlang:cancel_timer(Ref), _ = timer:send_after(30000, again), {[{broadcast, #{at => later}}], []};
                              (Message, S) -> {[{broadcast, #{at => Message}}], S} end}),
    ?assertEqual([], sockeye_test:pass(Test, 9000)),
    ?assertEqual([{broadcast, #{at => first}}], sockeye_test:pass(Test, 1000)),
    ?assertEqual([{broadcast, #{at => later}}, {broadcast, #{at => second}}], sockeye_test:pass(Test, 20000)),
    ?assertEqual([{broadcast, #{at => again}}], sockeye_test:pass(Test, 60000)),
    ?assertEqual([], sockeye_test:pass(Test, 1 bsl 40)),
    ok = sockeye_test:stop(Test).

calls_and_messages_test() ->
    {ok, Test} = sockeye_test:start(#{handler => {otp_handler, self()}}),
    Handler = sockeye_test:handler(Test),
    {handler, Handler} = test_support:message(),
    {ok, Conn} = sockeye_test:open(Test),
    ?assertEqual(told, sockeye_test:call(Test, {tell, 1})),
    ?assertEqual([{send, Conn, {json, 1}}], sockeye_test:commands(Test)),
    ?assertEqual([{send, Conn, {json, 2}}], sockeye_test:cast(Conn, {tell, 2})),
    ?assertEqual([], sockeye_test:info(Test, hello)),
    %% Answered by a message to itself.
    ?assertEqual(later, sockeye_test:call(Test, {wait, later})),
    ?assertEqual([{call, 1}, {cast, 2}, {info, hello}], sockeye_test:call(Test, seen)),
    quiet(fun() -> ?assertError({handler_stopped, broken}, sockeye_test:call(Test, {stop, broken})) end),
    ?assertEqual([{json, 1}, {json, 2}, {close, 1011, <<"handler died">>}], sockeye_test:received(Conn)),
    ok = sockeye_test:stop(Test).

%% The end of a connection, by either side.
closing_test() ->
    Self = self(),
    Test = start(#{frame => fun(_, _Conn, S) -> {[{close, 1008, <<"no">>}, {reply, #{late => 1}}], S} end,
                   close => fun(_Conn, Code, Reason, S) -> Self ! {Code, Reason}, {[{reply, #{bye => 1}}], S} end}),
    [A, B, C] = [sockeye_test_open(Test, "/") || _ <- [1, 2, 3]],
    ?assertEqual([{close, A, 1008, <<"no">>}, {failed, {send, A, #{late => 1}}, closed}, {failed, {send, A, #{bye => 1}}, closed}],
                 sockeye_test:frame(A, {json, 1})),
    ?assertEqual([{close, 1008, <<"no">>}], sockeye_test:received(A)),
    ?assertEqual({1008, <<"no">>}, test_support:message()),
    ?assertEqual([{failed, {send, B, #{bye => 1}}, closed}], sockeye_test:close(B, 3000, "bye")),
    ?assertEqual({3000, <<"bye">>}, test_support:message()),
    ?assertError(closed, sockeye_test:frame(B, {json, 1})),
    ?assertEqual({error, closed}, sockeye:send(B, #{})),
    ok = sockeye_test:stop(Test),
    ?assertEqual({1001, <<>>}, test_support:message()),
    ?assertEqual({error, closed}, sockeye:send(C, #{})).

%% One crash ends the connections of its process, and the next act starts another.
crash_test() ->
    quiet(fun() ->
        Test = start(#{init => fun() -> {ok, self()} end, frame => fun({json, Why}, _Conn, _) -> error(Why) end}),
        {ok, Conn} = sockeye_test:open(Test),
        {_, First} = sockeye_test:state(Test),
        ?assertError({handler_stopped, {<<"why">>, [_ | _]}}, sockeye_test:frame(Conn, {json, why})),
        ?assertEqual([{close, 1011, <<"handler died">>}], sockeye_test:received(Conn)),
        ?assertError(closed, sockeye_test:frame(Conn, {json, why})),
        {ok, _} = sockeye_test:open(Test),
        ?assertNotMatch({_, First}, sockeye_test:state(Test)),
        ok = sockeye_test:stop(Test)
    end).

start_errors_test_() ->
    [{lists:flatten(io_lib:format("~p", [Expected])),
      fun() -> ?assertEqual(Expected, case quiet(fun() -> sockeye_test:start(Options) end) of {error, {Why, _}} when Why =:= crash -> Why; Other -> Other end) end}
     || {Options, Expected} <-
            [{#{handler => {fun_handler, #{init => fun() -> {stop, no} end}}}, {error, no}},
             {#{handler => {fun_handler, #{init => fun() -> error(crash) end}}}, crash},
             {#{handler => {fun_handler, #{}}, prot => 1}, {error, {bad_option, prot, <<"unknown option; did you mean port?">>}}},
             {#{handler => self}, {error, {bad_option, handler, <<"expected {Module, Arg}, got self">>}}}]].

%% A process for each connection, and its end.
per_connection_test() ->
    Test = start((echo())#{terminate => fun(_, _) -> ok end}, #{processes => per_connection}),
    {ok, A} = sockeye_test:open(Test),
    {ok, B} = sockeye_test:open(Test),
    ?assertNotEqual(sockeye_test:handler(A), sockeye_test:handler(B)),
    _ = sockeye_test:frame(A, {json, 1}),
    ?assertMatch({{_, 1}, {_, 0}}, {sockeye_test:state(A), sockeye_test:state(B)}),
    _ = sockeye_test:close(A),
    ?assertError(closed, sockeye_test:state(A)),
    ?assertMatch({_, 0}, sockeye_test:state(B)),
    ok = sockeye_test:stop(Test).

websock_test() ->
    {ok, Test} = sockeye_test:start(#{handler => {sockeye_websock, {websock_module, {self(), {push, {text, <<"hi">>}, state}}}}}),
    {ok, Conn} = sockeye_test:open(Test),
    ?assertEqual([{send, Conn, {text, <<"hi">>}}], sockeye_test:commands(Conn)),
    ?assertEqual([], sockeye_test:frame(Conn, {text, <<"{}">>})),
    {_, Count} = sockeye_test:state(Conn),
    ?assertEqual(1, Count),
    ?assertEqual([{send, Conn, {text, [<<"seen ">>, <<"p">>]}}], sockeye_test:frame(Conn, {ping, "p"})),
    ?assertEqual([{text, <<"hi">>}, {pong, <<"p">>}, {text, <<"seen p">>}], sockeye_test:received(Conn)),
    ok = sockeye_test:stop(Test),
    ?assertMatch([{init, _}, {in, text, <<"{}">>, 0}, {control, ping, <<"p">>, 1}, {terminate, shutdown, 2}], [test_support:message() || _ <- [1, 2, 3, 4]]).

%% Text of a JSON handler is read by the library.
texts_test_() ->
    [{lists:flatten(io_lib:format("~p", [Options])),
      fun() ->
          Test = start(#{frame => fun(Came, _, _) -> {[], Came} end}, Options),
          {ok, Conn} = sockeye_test:open(Test),
          _ = sockeye_test:frame(Conn, Frame),
          ?assertEqual(Expected, {element(2, sockeye_test:state(Test)), sockeye_test:received(Conn)}),
          ok = sockeye_test:stop(Test)
      end} || {Options, Frame, Expected} <-
                  [{#{}, {text, "{\"a\": null}"}, {{json, #{<<"a">> => null}}, []}},
                   {#{null => nil, objects => pairs, keys => existing_atom}, #{lists => null}, {{json, {[{lists, nil}]}}, []}},
                   {#{format => raw}, #{a => 1}, {{text, <<"{\"a\":1}">>}, []}},
                   {#{on_invalid_json => deliver}, {text, "[1,"}, {{invalid_json, <<"[1,">>, {eof, 3}}, []}},
                   {#{}, {text, "[1,"}, {undefined, [{close, 1007, <<"not JSON">>}]}},
                   {#{}, {ping, "a"}, {undefined, [{pong, <<"a">>}]}}]].

wrong_frames_test() ->
    Test = start(echo()),
    {ok, Conn} = sockeye_test:open(Test),
    [?assertError(badarg, sockeye_test:frame(Conn, Frame)) || Frame <- [{json, self()}, {text, <<255>>}, nonsense, {none, 1}]],
    ok = sockeye_test:stop(Test).

%% A test in the place of a connection, and the other way round: what the shell says of the first argument.
wrong_first_argument_test() ->
    Test = start(echo()),
    {ok, Conn} = sockeye_test:open(Test),
    Real = {sockeye_conn, 7},
    %% The first would never answer.
    Silent = spawn_link(fun() -> receive stop -> ok end end),
    Ended = start(echo()),
    ok = sockeye_test:stop(Ended),
    NoTests = [Silent, self(), whereis(code_server), Ended],
    [?assertEqual({Name, Says}, {Name, first_argument(Name, [Wrong | Args])})
     || {Wrongs, Says, Calls} <-
            [{[Test, Real, x], <<"not a connection of a test: sockeye_test:open/1,2 gives one">>,
              [{frame, [{text, "a"}]}, {frame, [[]]}, {busy, [true]}, {close, []}, {close, [1000, ""]}, {received, []}]},
             {[Conn, x | NoTests], <<"not a test, or one that has ended: sockeye_test:start/1 gives one">>, [{open, []}, {open, [#{}]}, {stop, []}]},
             {[Real, x | NoTests], <<"neither a test nor a connection of one, or it has ended">>,
              [{info, [m]}, {cast, [m]}, {call, [m]}, {pass, [1]}, {commands, []}, {state, []}, {handler, []}]}],
        Wrong <- Wrongs, {Name, Args} <- Calls],
    Silent ! stop,
    ok = sockeye_test:stop(Test).

%% The test itself would crash of some of them, and name no argument for any.
wrong_later_argument_test_() ->
    [{lists:flatten(io_lib:format("~p, argument ~b: ~0P", [Name, N, Wrong, 9])),
      fun() ->
          Test = start(echo()),
          {ok, Conn} = sockeye_test:open(Test),
          try apply(sockeye_test, Name, [case Of of test -> Test; conn -> Conn end || Of <- Whose] ++ Before ++ [Wrong] ++ After) of
              Value -> error({taken, Value})
          catch
              error:badarg:Stack ->
                  ?assertMatch([{sockeye_test, _, _, _} | _], Stack),
                  ?assertEqual([N], maps:keys(sockeye_errors:format_error(badarg, Stack)))
          end,
          ?assertEqual([], sockeye_test:info(Test, hello)),
          ok = sockeye_test:stop(Test)
      end}
     || {N, Name, Whose, Before, Wrongs, After} <-
            [{1, start, [], [], [7, [], [{handler, {?MODULE, a}}], <<"a">>], []},
             {2, open, [test], [], ["/a", [], #{path => 7}, #{path => [955]}, #{headers => [a]}, #{headers => #{}}, #{headers => [{"a", b}]}, #{headers => [{"a", "b"} | c]},
                                    #{subprotocols => "a"}, #{subprotocols => [a]}, #{peer => a}, #{local => {{1, 2, 3, 256}, 80}}, #{tls => []},
                                    #{http_version => 2}, #{heders => []}, #{7 => 8}], []},
             {2, frame, [conn], [], [a, {text, 7}, {text, [955]}, {binary, a}, {ping, self()}, {close, a, <<>>}, {close, 1000, a}, [{text, "a"} | b], [{binary, 7}]], []},
             {2, pass, [test], [], [-1, 1.0, a], []},
             {2, busy, [conn], [], [1, a], []},
             {2, close, [conn], [], [a, 1000.0, <<>>], [<<>>]},
             {3, close, [conn], [1000], [a, 7, [955]], []}],
        Wrong <- Wrongs].

first_argument(Name, Args) ->
    try apply(sockeye_test, Name, Args)
    catch
        error:badarg:Stack ->
            ?assertMatch([{sockeye_test, Name, _, _} | _], Stack),
            maps:get(1, sockeye_errors:format_error(badarg, Stack))
    end.

%% A test that is left ends with the process that began it.
left_test() ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> Test = start(echo()), Self ! {Test, sockeye_test:handler(Test)} end),
    {Test, Handler} = test_support:message(),
    receive {'DOWN', Monitor, process, Pid, normal} -> ok end,
    _ = [test_support:down(P) || P <- [Test, Handler]].

a_handler_that_takes_long_test_() ->
    {timeout, 30, fun() ->
        Test = start(#{frame => fun(_, _, S) -> receive go_on -> {[], S} end end}),
        {ok, Conn} = sockeye_test:open(Test),
        Handler = sockeye_test:handler(Test),
        ?assertError({handler_busy, Handler}, sockeye_test:frame(Conn, {json, 1})),
        Handler ! go_on,
        ok = sockeye_test:stop(Test)
    end}.

%% What is JSON is the same as for the native library.
json_property_test() ->
    _ = rand:seed(exsss, 7),
    [same(Term, Null) || Term <- [odd(rand:uniform(4)) || _ <- lists:seq(1, 2000)], Null <- [null, nil]].

same(Term, Null) ->
    Library = case sockeye_json:encode(Term, #{null => Null}) of
                  {ok, Text} -> sockeye_json:decode(Text);
                  {error, {not_json, Part, _}} -> {error, {not_json, Part}}
              end,
    Here = sockeye_test_frames:term(Term, Null),
    ?assertEqual({Term, Library}, {Term, case Here of {error, {not_json, {duplicate_key, _}}} = Error -> Error; _ -> Here end}).

%% One fault at most in a term: which of two is found first is no promise.
odd(0) -> lists:nth(rand:uniform(14), [1, -7, 1.5, true, false, null, nil, undefined, an_atom, <<>>, <<"text">>, <<16#20ac/utf8>>, [], 1 bsl 80]);
odd(Depth) ->
    case rand:uniform(12) of
        1 -> maps:from_list([{key(), odd(Depth - 1)} || _ <- lists:seq(1, rand:uniform(3))]);
        2 -> {[{integer_to_binary(N), odd(Depth - 1)} || N <- lists:seq(1, rand:uniform(3))]};
        3 when Depth =:= 1 -> lists:nth(rand:uniform(8), [{1, 2}, <<255>>, [1 | 2], make_ref(), #{'__struct__' => 'Elixir.Date'}, #{{1} => 2}, {[7]}, {[{a, 1}, {a, 2}]}]);
        N when N < 8 -> [odd(Depth - 1)];
        _ -> odd(0)
    end.

key() -> lists:nth(rand:uniform(5), [a, <<"b">>, 7, 'c d', <<"e">>]).
