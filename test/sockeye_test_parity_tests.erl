%% The same small scenarios against a server and by sockeye_test: the handler sees the same, and so do its clients.
-module(sockeye_test_parity_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-define(WAIT, 2000).

%% {Name, Options, what handle_open/3 returns, Steps}.
scenarios() ->
    Do = fun(Result) -> {binary, term_to_binary(Result)} end,
    Commands = fun(List) -> Do({List, state}) end,
    Frame = fun(List) -> [{open, "/"}, {frames, 1, [Commands(List)]}] end,
    Nothing = {[], state},
    Each = [{reply, #{a => 1, b => [x, <<"y">>, null, true, 1.5], c => #{}}}, {reply, [{text, ["a", <<"b">>]}, {binary, [1, 2]}]},
            {send, {conn, 1}, {json, [nil, undefined, 1 bsl 70]}}, {reply, {ping, "p"}}, {reply, {pong, <<>>}},
            {reply, {uncompressed, #{z => 1}}}, {reply, {json, {[{b, 1}, {a, [{[]}]}]}}}],
    Wrong = [{reply, #{deep => [1, self()]}}, {reply, {json, #{{1} => 2}}}, {reply, {json, #{a => 1, <<"a">> => 2}}},
             {reply, {json, #{'__struct__' => 'Elixir.Date'}}}, {reply, {json, [1 | 2]}}, {reply, {json, {[7]}}}, {reply, {json, <<255>>}},
             {reply, {text, <<255>>}}, {reply, {text, nonsense}}, {reply, {none, 1}}, {reply, <<"text">>}, {reply, [#{} | tail]},
             {reply, {ping, binary:copy(<<"x">>, 126)}}, {reply, {close, 1005, <<>>}}, {reply, {close, 1000, <<255>>}},
             {send, nonsense, #{}}, {send, {conn, 9}, #{}}, {send, {conn, 1}, 7}, {close, 999, <<>>}, {close, nonsense, 1000, <<>>},
             {active, 40000}, {active, sometimes}, nonsense, {nonsense, 1}, {reply}, {broadcast, {close, 1000, <<>>}}, {broadcast, #{a => self()}},
             {broadcast, [#{}]}, {publish, <<>>, #{}}, {publish, topic, #{}}, {publish, <<"a*">>, #{}}, {publish, <<"a">>, {text, <<255>>}},
             {subscribe, <<>>}, {subscribe, topic}, {subscribe, nonsense, <<"a">>}, {unsubscribe, <<>>}, {subscribe, binary:copy(<<"x">>, 256)},
             {reply, {uncompressed, {ping, <<>>}}}, {reply, {plain, #{}}}, {reply, #{}, #{compress => false}}],
    Ends = [{stop, normal, state}, {stop, {shutdown, enough}, state}, {stop, broken, state}, {crash, error, broken}, {crash, exit, broken},
            {crash, throw, {[{reply, #{thrown => 1}}], state}}, {crash, throw, nonsense}, nonsense, {nonsense, state}, {[{reply, #{}}], state, now},
            {[{reply, #{last => 1}}], state, hibernate}],
    [{"all frames", #{}, Nothing, Frame(Each)}] ++
        [{lists:flatten(io_lib:format("wrong command ~0tp", [Command])), #{}, Nothing,
          [{open, "/"}, {frames, 1, [Commands([{reply, #{before => 1}}, Command, {reply, #{behind => 1}}])]}]} || Command <- Wrong] ++
        [{lists:flatten(io_lib:format("end ~0tp, ~p", [End, Processes])), #{processes => Processes}, Nothing,
          [{open, "/"}, {frames, 1, [Commands([{reply, #{before => 1}}]), Do(End)]}]} || End <- Ends, Processes <- [one, per_connection]] ++
        [{lists:flatten(io_lib:format("message: ~0tp, ~p", [Result, Processes])), #{processes => Processes}, Nothing, [{open, "/"}, {Kind, Result}]}
         || Processes <- [one, per_connection], Kind <- [info, cast],
            Result <- [{[{send, {conn, 1}, #{a => 1}}], state}, {[{reply, #{a => 1}}, {active, 1}, {close, 1000, <<>>}], state}, {stop, normal, state}]] ++
        [{"calls", #{}, Nothing, [{open, "/"}, {call, {reply, answer, [{send, {conn, 1}, #{a => 1}}], state}}, {call, {reply, answer, nonsense, state}}]},
         {"a handshake", #{subprotocols => ["a", "b"]}, {[{reply, #{welcome => 1}}], state},
          [{open, "/p%41th?q=%41"}, {open, "/x", [{"Sec-WebSocket-Protocol", "c, b, a"}, {"X-Test", "1"}]}]},
         {"closed in handle_open", #{}, {[{close, 4000, <<"no">>}, {reply, #{}}], state}, [{open, "/"}]},
         {"stopped in handle_open", #{processes => per_connection}, {stop, normal, state}, [{open, "/"}]},
         {"crash in handle_open", #{processes => per_connection}, {crash, error, no}, [{open, "/"}]},
         {"fan-out", #{}, {[{subscribe, <<"room/1">>}], state},
          [{open, "/a"}, {open, "/b"}, {frames, 1, [Commands([{broadcast, #{n => 1}}, {broadcast_from, {text, <<"t">>}}, {publish, <<"room/1">>, #{n => 2}},
                                                              {publish_from, <<"room/1">>, {binary, "b"}}, {subscribe, {conn, 2}, <<"room/*">>},
                                                              {publish_from, <<"room/1">>, #{n => 3}}, {unsubscribe, <<"room/1">>},
                                                              {publish, <<"room/1">>, #{n => 4}}, {publish, <<"room/2">>, #{n => 5}}])]}]},
         {"subscriptions", #{max_subscriptions => 2}, Nothing, Frame([{subscribe, <<"a">>}, {subscribe, <<"b">>}, {subscribe, <<"a">>}, {subscribe, <<"c">>}])},
         {"raw", #{format => raw}, Nothing, [{open, "/"}, {frames, 1, [{text, <<"{}">>}, {text, <<>>}, {binary, <<1>>}]}]},
         {"control frames", #{control_frames => true}, Nothing, [{open, "/"}, {frames, 1, [{ping, <<"p">>}]}, {frames, 1, [{pong, <<"q">>}]}]},
         {"no control frames", #{}, Nothing, [{open, "/"}, {frames, 1, [{ping, <<"p">>}]}, {frames, 1, [{pong, <<"q">>}, {text, <<"1">>}]}]},
         {"JSON", #{}, Nothing, [{open, "/"}, {frames, 1, [{text, <<"{\"a\":[1,2.5,null,true,\"x\"]}">>}, {text, <<"7">>}]}]},
         {"JSON with options", #{keys => existing_atom, null => nil, objects => pairs}, Nothing, [{open, "/"}, {frames, 1, [{text, <<"{\"lists\":null}">>}]}]},
         {"no JSON, delivered", #{on_invalid_json => deliver}, Nothing, [{open, "/"}, {frames, 1, [{text, <<"[1,">>}]}]},
         {"credits", #{active => 2}, Nothing, [{open, "/"}, {frames, 1, [{text, <<"1">>}, {text, <<"2">>}, {text, <<"3">>}]},
                                               {info, {[{send, {conn, 1}, #{}}], state}}, {info, {setopts, {conn, 1}, [{active, true}]}}]},
         {"credits that a command gives", #{active => 1}, Nothing,
          [{open, "/"}, {frames, 1, [Commands([{active, 1}]), {text, <<"2">>}, {text, <<"3">>}]},
           {info, {setopts, {conn, 1}, [{active, 5}]}}]},
         {"once", #{active => once}, Nothing, [{open, "/"}, {frames, 1, [Commands([{active, once}]), {text, <<"2">>}, {text, <<"3">>}]},
           {info, {setopts, {conn, 1}, [{active, once}]}}]},
         {"a message in pieces", #{}, Nothing,
          Frame([{reply, {stream, text, first, "a"}}, {reply, #{waits => 1}}, {reply, {ping, "goes"}}, {reply, {stream, text, first, "b"}}, {reply, {stream, text, more, "c"}},
                 {reply, {stream, text, last, "d"}}, {reply, {stream, binary, more, "e"}}])}] ++
        [{lists:flatten(io_lib:format("the peer closes with ~p, ~p", [Code, Processes])), #{processes => Processes}, Nothing,
          [{open, "/"}, {open, "/"}, {close, 1, Code, <<"bye">>}]} || Code <- [1000, 1001, 4999], Processes <- [one, per_connection]] ++
        [{"the peer is gone", #{}, Nothing, [{open, "/"}, {drop, 1}]},
         {"frames and a Close", #{}, Nothing, [{open, "/"}, {frames, 1, [Commands([{reply, #{a => 1}}]), {close, 1000, <<>>}]}]},
         {"closed, and then", #{}, Nothing,
          [{open, "/"}, {frames, 1, [Commands([{close, 1008, <<"no">>}, {reply, #{}}, {subscribe, <<"a">>}, {active, 1}, {broadcast, #{}}, {close, {conn, 1}, 1000, <<>>}])]}]},
         {"both at once", #{}, Nothing, [{open, "/"}, {frames, 1, [Commands([{close, 1008, <<"no">>}]), {close, 1000, <<>>}]}]}].

parity_test_() ->
    [{Name, fun() ->
                Here = test_support:quiet(fun() -> by_test(Options, Open, Steps) end),
                There = test_support:quiet(fun() -> by_server(Options, Open, Steps, Here) end),
                [?assertEqual({Step, ordered(T)}, {Step, ordered(H)}) || {Step, T, H} <- lists:zip3(Steps, lists:droplast(There), lists:droplast(Here))],
                %% A server may have started the process that crashed once more by now.
                Ended = lists:keymember(terminate, 2, lists:append([Saw || {Saw, _} <- lists:droplast(Here)])),
                [Last, LastHere] = [[Saw || Saw <- All, not (Ended andalso element(2, Saw) =:= terminate)] || {All, stopped} <- [lists:last(There), lists:last(Here)]],
                ?assertEqual(of_any_connection(Last), of_any_connection(LastHere))
            end}
     || {Name, Options, Open, Steps} <- scenarios()].

%% Which of two connections ends first is not promised.
of_any_connection(Saw) ->
    {Closes, Others} = lists:partition(fun(One) -> element(2, One) =:= handle_close end, Saw),
    {lists:sort(Closes), Others}.

%% Failures of commands are messages, and so is a Close: which of them comes first is not promised. Nor is whether the peer has
%% answered a Close by the time that the next command is carried out, which then fails or not.
ordered({Saw, Got}) ->
    {Closes, Others} = lists:partition(fun(One) -> is_tuple(One) andalso element(2, One) =:= handle_close end, Saw),
    case lists:keymember(handle_error, 2, Others) of
        true -> {[One || One <- Others, not is_about_credits(One)] ++ Closes, Got};
        false -> {Saw, Got}
    end.

is_about_credits({saw, handle_error, [{{active, _}, closed}, _]}) -> true;
is_about_credits(_Saw) -> false.

%% ---------------------------------------------------------------- by sockeye_test

%% For each step, what the handler saw, and what each client got.
by_test(Options, Open, Steps) ->
    {ok, Test} = sockeye_test:start(Options#{handler => {parity_handler, {self(), Open}}}),
    {Outcomes, Conns} = lists:mapfoldl(fun(Step, In) -> Now = test_step(Step, Test, In), {outcome(Now), Now} end, [], Steps),
    ok = sockeye_test:stop(Test),
    _ = Conns,
    Outcomes ++ [{saw(), stopped}].

outcome(Conns) -> {saw(), [sockeye_test:received(Conn) || Conn <- Conns]}.

test_step({open, Path}, Test, Conns) -> test_step({open, Path, []}, Test, Conns);
test_step({open, Path, Headers}, Test, Conns) ->
    Protocols = [string:trim(P) || {"Sec-WebSocket-Protocol", V} <- Headers, P <- string:split(V, ",", all)],
    _ = attempt(fun() -> sockeye_test:open(Test, #{path => normal(Path), headers => Headers, subprotocols => Protocols}) end),
    Conns ++ [{sockeye_conn, {Test, length(Conns) + 1}}];
test_step({frames, N, Frames}, _Test, Conns) -> attempt(fun() -> sockeye_test:frame(lists:nth(N, Conns), Frames) end), Conns;
test_step({close, N, Code, Reason}, _Test, Conns) -> attempt(fun() -> sockeye_test:close(lists:nth(N, Conns), Code, Reason) end), Conns;
test_step({drop, N}, _Test, Conns) -> _ = sockeye_test:close(lists:nth(N, Conns), 1006, <<>>), Conns;
test_step({info, Result}, _Test, [Conn | _] = Conns) -> attempt(fun() -> sockeye_test:info(Conn, {do, Result}) end), Conns;
test_step({cast, Result}, _Test, [Conn | _] = Conns) -> attempt(fun() -> sockeye_test:cast(Conn, Result) end), Conns;
test_step({call, Result}, _Test, [Conn | _] = Conns) -> attempt(fun() -> sockeye_test:call(Conn, Result) end), Conns.

%% The engine's normal form of a path.
normal("/p%41th?q=%41") -> "/pAth?q=%41";
normal(Path) -> Path.

attempt(Fun) ->
    try Fun()
    catch error:{handler_stopped, _} -> stopped
    end.

saw() ->
    receive {saw, _, _} = Saw -> [Saw | saw()]
    after 0 -> []
    end.

%% ---------------------------------------------------------------- by a server

by_server(Options, Open, Steps, Expected) ->
    test_support:with_server(Options#{handler => {parity_handler, {self(), Open}}}, fun(Port, Server) ->
        {Outcomes, Sockets} = lists:mapfoldl(fun({Step, Want}, In) -> Now = server_step(Step, Port, Server, In), {wanted(Want, Now, Server), Now} end,
                                             [], lists:zip(Steps, lists:droplast(Expected))),
        {Last, stopped} = lists:last(Expected),
        ok = stop(Server, Sockets),
        Outcomes ++ [{saw(length(Last)), stopped}]
    end).

%% Clients that are open are to answer, or the server would wait.
stop(Server, Sockets) ->
    Self = self(),
    Pid = spawn_link(fun() -> Self ! {stopped, sockeye:stop(Server)} end),
    _ = [answer_close(Socket) || {open, Socket} <- Sockets],
    receive {stopped, ok} -> unlink(Pid), ok end.

answer_close(Socket) ->
    case ws_client:recv(Socket, ?WAIT) of
        {close, Code, Reason} -> _ = ws_client:close(Socket, Code, Reason);
        Other when is_atom(Other) -> ok;
        _ -> answer_close(Socket)
    end.

%% So many things are to happen; what happens beyond them comes with the next step, and fails there.
wanted({Saw, Received}, Sockets, Server) ->
    %% First what clients get. They answer a Close frame when the commands behind it have been carried out: which of them would fail, otherwise?
    Got = [{frames(length(Frames), Socket), Socket} || {Frames, Socket} <- lists:zip(Received, Sockets)],
    Closes = [{Socket, Code, Reason} || {Frames, {_, Socket}} <- Got, {close, Code, Reason} <- Frames],
    Closes =:= [] orelse lists:foreach(fun settled/1, handlers(Server)),
    _ = [ws_client:close(Socket, Code, Reason) || {Socket, Code, Reason} <- Closes],
    {saw(length(Saw)), [Frames || {Frames, _} <- Got]}.

%% What its callback returned has been done, also by an engine that is a process: that answers what comes behind it.
settled(Handler) ->
    try sys:replace_state(Handler, fun(State) -> {ok, _} = sockeye:info(), State end), ok
    catch exit:_ -> ok
    end.

saw(0) -> saw();
saw(N) ->
    receive {saw, _, _} = Saw -> [Saw | saw(N - 1)]
    after ?WAIT -> [missing]
    end.

frames(0, _Socket) -> [];
frames(N, {_, Socket} = Of) ->
    case ws_client:recv(Socket, ?WAIT) of
        {text, Text} -> [seen(Text) | frames(N - 1, Of)];
        Other when is_atom(Other) -> [Other];
        Frame -> [Frame | frames(N - 1, Of)]
    end.

seen(Text) ->
    case sockeye_json:decode(Text) of
        {ok, Term} -> {json, Term};
        _ -> {text, Text}
    end.

server_step({open, Path}, Port, Server, Sockets) -> server_step({open, Path, []}, Port, Server, Sockets);
server_step({open, Path, Headers}, Port, _Server, Sockets) -> Sockets ++ [{open, ws_client:connect(Port, #{path => Path, headers => Headers})}];
server_step({frames, N, Frames}, _Port, _Server, Sockets) ->
    {_, Socket} = lists:nth(N, Sockets),
    ok = ws_client:raw(Socket, [encoded(Frame) || Frame <- Frames]),
    Sockets;
server_step({close, N, Code, Reason}, _Port, _Server, Sockets) ->
    {_, Socket} = lists:nth(N, Sockets),
    ok = ws_client:close(Socket, Code, Reason),
    Sockets;
server_step({drop, N}, _Port, _Server, Sockets) ->
    {_, Socket} = lists:nth(N, Sockets),
    _ = ws_client:drop(Socket),
    Sockets;
server_step({info, Result}, _Port, Server, Sockets) -> handler(Server) ! {do, Result}, Sockets;
server_step({cast, Result}, _Port, Server, Sockets) -> gen_server:cast(handler(Server), Result), Sockets;
server_step({call, Result}, _Port, Server, Sockets) ->
    _ = try gen_server:call(handler(Server), Result) catch exit:_ -> ended end,
    Sockets.

encoded({close, Code, Reason}) -> ws_client:encode(8, <<Code:16, Reason/binary>>);
encoded({Kind, Data}) -> ws_client:encode(maps:get(Kind, #{text => 1, binary => 2, ping => 9, pong => 10}), Data).

%% The process that runs the callbacks.
handler(Server) -> hd(handlers(Server)).

handlers(Server) ->
    {links, Links} = process_info(Server, links),
    Below = Links ++ lists:append([More || Pid <- Links, is_pid(Pid), {links, More} <- [process_info(Pid, links)]]),
    [Pid || Pid <- Below, is_pid(Pid), is_worker(Pid)].

is_worker(Pid) ->
    case process_info(Pid, dictionary) of
        {dictionary, Dictionary} -> lists:keymember('$sockeye_worker', 1, Dictionary);
        undefined -> false
    end.
