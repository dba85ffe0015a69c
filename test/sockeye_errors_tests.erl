%% Misuse of every public function: the error is of the function that was called, and says which
%% argument is wrong and what it should be.
-module(sockeye_errors_tests).
-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-needs(codec).

-define(MODULES, [sockeye, sockeye_client, sockeye_json, sockeye_codec, sockeye_pubsub, sockeye_presence]).
%% A port where nobody listens.
-define(NOWHERE, "ws://127.0.0.1:1").

%% {Module, Function, Good arguments, What is said of each wrong one (any: nothing is wrong), Documented errors}.
%% Good arguments are funs of a world: a server, its connection, a client, a codec.
functions() ->
    Server = fun(#{server := S}) -> S end,
    Conn = fun(#{conn := C}) -> C end,
    Client = fun(#{client := C}) -> C end,
    ClientConn = fun(#{client_conn := C}) -> C end,
    Codec = fun(#{codec := C}) -> C end,
    Self = fun(_) -> self() end,
    V = fun(Value) -> fun(_) -> Value end end,
    AClosedSocket = fun(_) -> {ok, Socket} = gen_tcp:listen(0, []), ok = gen_tcp:close(Socket), Socket end,
    Map = V(#{}), Frame = V(#{a => 1}), Topic = V(<<"t">>), Bytes = V(<<>>), Url = V(?NOWHERE),
    AServer = "not a server", AConn = "not a connection", AMap = "not a map of options", ATopic = "not a topic",
    AFrame = ["frame", "in {close, Code, Reason}: ", "is for one connection", "is now {uncompressed, Frame}", "the payload in {ping, _}", "in {stream, Kind, Place, IoData}"], Iodata = "not iodata", Pid = "not a pid", ACodec = "not a codec", ACode = "not a close code",
    AReason = "not a reason",
    Send = [closed, busy, not_utf8, not_json, streaming, not_streaming],
    Publish = [not_found, not_clustered, timeout | Send],
    Dial = [timeout, econnrefused, bad_url, bad_option, closed, bad_handshake],
    [{sockeye, start_link, [V(0)], ["neither a port number nor a map of options"], [bad_option, eaddrinuse, eacces]},
     {sockeye, child_spec, [V(#{handler => self()})], [["not a map of options", "option handler: must be given"]], []},
     {sockeye, stop, [V(nobody)], [AServer], [not_found]},
     {sockeye, drain, [V(nobody), Map], [AServer, AMap], [not_found, draining, bad_option]},
     {sockeye, send, [Conn, Frame], [["neither a connection nor a list", "element"], AFrame], Send},
     {sockeye, send_message, [Server, Frame], [AServer, AFrame], Publish},
     {sockeye, broadcast, [Server, Frame], [AServer, AFrame], Publish},
     {sockeye, broadcast, [Server, Frame, Map], [AServer, AFrame, [AMap, "option"]], Publish},
     {sockeye, broadcast_from, [Conn, Frame], [AConn, AFrame], Publish},
     {sockeye, broadcast_from, [Conn, Frame, Map], [AConn, AFrame, [AMap, "option"]], Publish},
     {sockeye, subscribe, [Conn, Topic], [AConn, ATopic], [closed, busy, too_many_subscriptions]},
     {sockeye, unsubscribe, [Conn, Topic], [AConn, ATopic], [closed, busy]},
     {sockeye, publish, [Server, Topic, Frame], [AServer, ATopic, AFrame], Publish},
     {sockeye, publish, [Server, Topic, Frame, Map], [AServer, ATopic, AFrame, [AMap, "option"]], Publish},
     {sockeye, publish_from, [Conn, Topic, Frame], [AConn, ATopic, AFrame], Publish},
     {sockeye, publish_from, [Conn, Topic, Frame, Map], [AConn, ATopic, AFrame, [AMap, "option"]], Publish},
     {sockeye, subscribers, [Server, Topic], [AServer, ATopic], [not_found, timeout]},
     {sockeye, topics, [Server], [AServer], [not_found]},
     {sockeye, i, [Server], [AServer], [not_found]},
     {sockeye, trace, [Conn, Map], [AConn, "neither on, off"], [closed, too_many_traces, bad_option]},
     {sockeye, close, [Conn], [AConn], [closed]},
     {sockeye, close, [Conn, V(1000), Bytes], [AConn, ACode, AReason], [closed]},
     {sockeye, setopts, [Conn, V([])], [AConn, ["not a list of options", "element 1: ", "not a proper list"]], [closed]},
     {sockeye, controlling_process, [Conn, Self], [AConn, Pid], [closed]},
     {sockeye, info, [Server], [["neither a server", AConn]], [not_found, closed, timeout]},
     {sockeye, connections, [Server], [AServer], [not_found, timeout]},
     {sockeye, adopt, [Server, AClosedSocket, Bytes], [AServer, "not a socket", Iodata], [not_found, bad_socket]},
     {sockeye, reload_tls, [Server], [AServer], [not_found, bad_option]},
     {sockeye, format_error, [V(closed)], [any], []},
     {sockeye, check_host, [V(1)], ["not a positive integer"], [too_low]},
     {sockeye, check_host, [V(1), Map], ["not a positive integer", AMap], [too_low, bad_option]},
     {sockeye_client, start_link, [Url, Self], [any, any], Dial},
     {sockeye_client, start_link, [Url, Self, Map], [any, any, AMap], Dial},
     {sockeye_client, child_spec, [Url, Self, Map], ["", "option handler: ", [AMap, "option"]], []},
     {sockeye_client, stop, [V(nobody)], [["not a client", "a connection:"]], [not_found]},
     {sockeye_client, connect, [Url], [any], Dial},
     {sockeye_client, connect, [Url, Map], [any, AMap], Dial},
     {sockeye_client, send, [ClientConn, Frame], ["neither a connection nor a client", AFrame], [down, not_found | Send]},
     {sockeye_client, recv, [ClientConn], [AConn], [closed]},
     {sockeye_client, recv, [ClientConn, V(0)], [AConn, "not a timeout"], [closed, timeout]},
     {sockeye_client, close, [ClientConn], [AConn], [closed]},
     {sockeye_client, close, [ClientConn, V(1000), Bytes], [AConn, ACode, AReason], [closed]},
     {sockeye_client, conn, [Client], [["not a client", "a connection:"]], [down, not_found]},
     {sockeye_client, info, [Client], [["not a client", "a connection:"]], [not_found]},
     {sockeye_json, decode, [V("1")], [Iodata], json_errors()},
     {sockeye_json, decode, [V("1"), Map], [Iodata, AMap], [bad_option | json_errors()]},
     {sockeye_json, encode, [V(1)], [any], [not_json]},
     {sockeye_json, encode, [V(1), Map], [any, AMap], [not_json, bad_option]},
     {sockeye_codec, request, [V(#{host => "a"})], [AMap], [bad_option]},
     {sockeye_codec, check_response, [fun(#{handshake := H}) -> H end, Bytes], ["not a handshake", Iodata],
      [bad_handshake, refused]},
     {sockeye_codec, check_request, [Bytes], [Iodata], refusals()},
     {sockeye_codec, check_request, [Bytes, Map], [Iodata, AMap], [bad_option | refusals()]},
     {sockeye_codec, accept, [Bytes], [Iodata], refusals()},
     {sockeye_codec, accept, [Bytes, Map], [Iodata, AMap], [bad_option | refusals()]},
     {sockeye_codec, reject, [V(403), V([]), Bytes], ["not a status", "headers: expected", Iodata], []},
     %% As new/2, though nothing can be wrong.
     {sockeye_codec, new, [V(client)], ["not client or server"], [bad_option]},
     {sockeye_codec, new, [V(client), Map], ["not client or server", AMap], [bad_option]},
     {sockeye_codec, encode, [Codec, Frame], [ACodec, AFrame], Send},
     {sockeye_codec, decode, [Codec, Bytes], [ACodec, Iodata], []},
     {sockeye_codec, eof, [Codec], [ACodec], []},
     {sockeye_codec, info, [Codec], [ACodec], []},
     {sockeye_pubsub, subscribe, [Server, Topic], [AServer, ATopic], [not_found]},
     {sockeye_pubsub, subscribe, [Server, Topic, Self], [AServer, ATopic, Pid], [not_found]},
     {sockeye_pubsub, unsubscribe, [Server, Topic], [AServer, ATopic], [not_found]},
     {sockeye_pubsub, unsubscribe, [Server, Topic, Self], [AServer, ATopic, Pid], [not_found]},
     {sockeye_pubsub, subscribers, [Server, Topic], [AServer, ATopic], [not_found]},
     {sockeye_presence, track, [Conn, Topic, V(k), V(m)], [AConn, ATopic, any, any], [closed]},
     {sockeye_presence, track, [Server, Topic, Self, V(k), V(m)], [AServer, ATopic, Pid, any, any], [not_found]},
     {sockeye_presence, update, [Conn, Topic, V(k), V(m)], [AConn, ATopic, any, any], [closed, not_present]},
     {sockeye_presence, update, [Server, Topic, Self, V(k), V(m)], [AServer, ATopic, Pid, any, any],
      [not_found, not_present]},
     {sockeye_presence, untrack, [Conn, Topic, V(k)], [AConn, ATopic, any], [closed]},
     {sockeye_presence, untrack, [Server, Topic, Self, V(k)], [AServer, ATopic, Pid, any], [not_found]},
     {sockeye_presence, list, [Server, Topic], [AServer, ATopic], [not_found]},
     {sockeye_presence, subscribe, [Server, Topic], [AServer, ATopic], [not_found]},
     {sockeye_presence, subscribe, [Server, Topic, Self], [AServer, ATopic, Pid], [not_found]},
     {sockeye_presence, unsubscribe, [Server, Topic], [AServer, ATopic], [not_found]},
     {sockeye_presence, unsubscribe, [Server, Topic, Self], [AServer, ATopic, Pid], [not_found]}].

refusals() ->
    [malformed, long_line, too_large, http_version, method, draft_76, not_websocket, version, connection, body, key, subprotocol].

json_errors() ->
    [syntax, eof, depth, number_range, utf8, trailing_data, too_large].

%% Everything that is exported: a public module has no function that is for our own modules only.
every_function_has_its_row_test() ->
    Exported = [{M, F, A} || M <- ?MODULES, {F, A} <- M:module_info(exports), A > 0, F =/= module_info],
    Tested = [{M, F, length(Good)} || {M, F, Good, _, _} <- functions()],
    ?assertEqual([], Exported -- Tested),
    ?assertEqual([], Tested -- Exported).

%% Every kind of term in the place of each argument, the others as they should be.
every_argument_test_() ->
    [{timeout, 120,
      {lists:flatten(io_lib:format("~p:~p/~b, argument ~b", [M, F, length(Good), N])),
       fun() -> in_a_world(fun(World) -> argument(Row, N, World) end) end}}
     || {M, F, Good, _, _} = Row <- functions(), N <- lists:seq(1, length(Good))].

argument({M, F, Good, Says, Documented}, N, World) ->
    Told = [told(call(M, F, replaced(N, Odd, Good, World)), M, F, N, lists:nth(N, Says), Documented)
            || Odd <- odd(M, F)],
    %% Or the test says nothing.
    Expected = lists:nth(N, Says),
    ?assert(Expected =:= any orelse lists:member(misuse, Told)).

%% A call that can fail returns ok, {ok, Value} or {error, Reason}; any other returns its value.
what_a_call_returns_test_() ->
    [{timeout, 120,
      {lists:flatten(io_lib:format("~p:~p/~b", [M, F, length(Good)])),
       fun() -> in_a_world(fun(World) ->
           {value, Value} = call(M, F, [Make(World) || Make <- Good]),
           ?assertEqual(Documented =/= [], can_fail(Value))
       end) end}}
     || {M, F, Good, _, Documented} <- functions(), F =/= child_spec,
        %% Would wait for ever.
        {F, length(Good)} =/= {recv, 1}].

can_fail(ok) -> true;
%% Of a codec: bytes are missing.
can_fail(more) -> true;
can_fail(Value) when is_tuple(Value) ->
    case element(1, Value) of
        ok -> true;
        error -> 2 = tuple_size(Value), true;
        _ -> false
    end;
can_fail(_) -> false.

%% The default port belongs to whoever tries the quick start on this machine.
odd(sockeye, start_link) -> odd_terms:all() -- [#{}];
odd(_, _) -> odd_terms:all().

%% A call may have closed the connection.
replaced(N, Odd, Good, World) ->
    Args = [Make(World) || Make <- Good],
    lists:sublist(Args, N - 1) ++ [Odd] ++ lists:nthtail(N, Args).

call(M, F, Args) ->
    try apply(M, F, Args) of
        {ok, Pid} when is_pid(Pid) -> unlink(Pid), exit(Pid, kill), {value, {ok, Pid}};
        Value -> {value, Value}
    catch
        Class:Reason:Stack -> {Class, Reason, Stack, Args}
    end.

told({value, {error, Reason}}, _M, _F, _N, _Says, Documented) ->
    ?assert(lists:member(tag(Reason), Documented) orelse is_list(Reason)),
    value;
told({value, _}, _M, _F, _N, _Says, _Documented) ->
    value;
told({error, Reason, Stack, Args}, M, F, N, Says, _Documented) ->
    ?assert(Reason =:= badarg orelse F =:= child_spec andalso lists:member(tag(Reason), [bad_option, bad_url])),
    [{TopModule, TopFunction, TopArgs, Info} | Below] = Stack,
    ?assertEqual({M, F, Args}, {TopModule, TopFunction, TopArgs}),
    ?assertMatch({_, #{module := sockeye_errors}}, lists:keyfind(error_info, 1, Info)),
    ?assertEqual([], [Frame || {Module, _, _, _} = Frame <- Below, lists:prefix("sockeye", atom_to_list(Module)),
                               Module =/= ?MODULE]),
    Shown = unicode:characters_to_list(erl_error:format_exception(error, Reason, Stack)),
    Argument = "*** argument " ++ integer_to_list(N) ++ ": ",
    [_, Text] = string:split(Shown, Argument),
    ?assertNotEqual({Says, Text, []}, {Says, Text, [Part || Part <- parts(Says), string:find(Text, Part) =/= nomatch]}),
    misuse.

tag(Reason) when is_tuple(Reason) -> element(1, Reason);
tag(Reason) -> Reason.

parts([Char | _] = Says) when is_integer(Char) -> [Says];
parts([]) -> [""];
parts(any) -> [];
parts(Says) -> Says.

in_a_world(Test) ->
    {ok, Server} = sockeye:start_link(#{port => 0, handler => sink()}),
    {ok, #{port := Port}} = sockeye:info(Server),
    Url = "ws://127.0.0.1:" ++ integer_to_list(Port),
    {ok, Client} = sockeye_client:start_link(Url, sink(), #{reconnect => true}),
    {ok, _, Handshake} = sockeye_codec:request(#{host => "a"}),
    {ok, Conn} = sockeye_client:connect(Url),
    try
        Test(#{server => Server, client => Client, handshake => Handshake, codec => test_support:ok(sockeye_codec:new(client)),
               client_conn => Conn, conn => served(Server)})
    after
        _ = sockeye_client:close(Conn),
        ok = sockeye_client:stop(Client),
        ok = sockeye:stop(Server),
        test_support:flush()
    end.

%% Two clients have connected by now.
served(Server) ->
    case sockeye:connections(Server) of
        {ok, [Conn, _]} -> Conn;
        _ -> erlang:yield(), served(Server)
    end.

sink() ->
    spawn_link(fun Sink() -> receive _ -> Sink() end end).

%% What the shell shows, whole.
shell_test_() ->
    [{Says, ?_assertEqual(lines(Says), lines(shown(Call)))}
     || {Call, Says} <-
            [{fun() -> id(sockeye:start_link([{port, 8080}])) end,
              "exception error: bad argument in function sockeye:start_link/1 called as sockeye:start_link([{port,8080}]) "
              "*** argument 1: neither a port number nor a map of options: write #{Key => Value} instead of a list; "
              "maps:from_list/1 and Map.new/1 make a map of it"},
             {fun() -> id(sockeye:send(conn, #{})) end,
              "exception error: bad argument in function sockeye:send/2 called as sockeye:send(conn,#{}) "
              "*** argument 1: neither a connection nor a list of connections"},
             {fun() -> id(sockeye_json:decode(#{})) end,
              "exception error: bad argument in function sockeye_json:decode/1 called as sockeye_json:decode(#{}) "
              "*** argument 1: not iodata: a binary, or a list of bytes, binaries and such lists"},
             {fun() -> id(sockeye_client:stop({local, a})) end,
              "exception error: bad argument in function sockeye_client:stop/1 called as sockeye_client:stop({local,a}) "
              "*** argument 1: not a client: its pid or registered name"},
             {fun() -> id(sockeye:child_spec(#{port => 80})) end,
              "exception error: {bad_option,handler,<<\"must be given under a supervisor\">>} in function sockeye:child_spec/1 "
              "called as sockeye:child_spec(#{port => 80}) "
              "*** argument 1: option handler: must be given under a supervisor"}]].

%% Not as the last call: the caller shall be on the stack.
id(Value) -> Value.

shown(Call) ->
    try Call() of Value -> Value
    catch
        Class:Reason:Stack ->
            Top = hd(Stack),
            Options = #{format_fun => fun(Term, _) -> io_lib:format("~0tp", [Term]) end},
            unicode:characters_to_list(erl_error:format_exception(Class, Reason, [Top], Options))
    end.

lines(Text) ->
    re:replace(Text, "\\s+", " ", [global, {return, list}]).

%% Each wrong frame in its own words.
frames_test_() ->
    Long = binary:copy(<<"a">>, 126),
    {setup, fun() -> {ok, S} = sockeye:start_link(#{port => 0, handler => sink()}), S end,
     fun sockeye:stop/1,
     fun(Server) ->
         [{Says, fun() -> ?assertNotEqual({Says, nomatch}, {Says, string:find(argument_2(Call, Server, Frame), Says)}) end}
          || {Frame, Says} <-
                 [{<<"hi">>, "a binary is not a frame: {text, Binary} or {binary, Binary}"},
                  {{txt, <<"hi">>}, "there is no frame {txt, _}"},
                  {{text, atom}, "the payload of this text frame is not iodata"},
                  {{binary, <<1:3>>}, "the payload of this binary frame is not iodata"},
                  {{ping, Long}, "the payload in {ping, _} is not iodata of at most 125 bytes"},
                  {{active, once}, "there is no frame {active, _}"},
                  {{plain, #{}}, "{plain, Frame} is now {uncompressed, Frame}"},
                  {{uncompressed, {ping, <<>>}}, "the frame in {uncompressed, _} is not"},
                  {{uncompressed, {text, atom}}, "the payload of this text frame is not iodata"},
                  {self(), "not a frame: a map, {json, Term}"}],
             Call <- [send, many, broadcast, codec]]
         ++ [{Says, fun() -> ?assertNotEqual({Says, nomatch}, {Says, string:find(argument_2(Call, Server, Frame), Says)}) end}
             || {Frame, Says} <-
                    [{{close, 1005, <<>>}, "not a close code: 1000..1003, 1007..1014 or 3000..4999"},
                     {{close, 1000, Long}, "not a reason: UTF-8 of at most 123 bytes"},
                     {{close, 1000, <<255>>}, "not a reason"},
                     {{stream, text, middle, <<>>}, "Place is first, more or last"},
                     {{stream, text, first, atom}, "the payload of this stream frame is not iodata"},
                     {[#{}, <<"x">>], "element 2: a binary is not a frame"},
                     {[#{} | #{}], "not a proper list"}],
                Call <- [send, codec]]
         ++ [{Says, fun() -> ?assertNotEqual({Says, nomatch}, {Says, string:find(argument_2(Call, Server, Frame), Says)}) end}
             || {Frame, Says} <-
                    [{{close, 1000, <<>>}, "{close, ...} is for one connection, and this call is for many"},
                     {{stream, text, first, <<>>}, "{stream, ...} is for one connection"},
                     {[#{}], "a list is not a frame: one frame is needed here"},
                     {"hi", "a string is not a frame: {text, String}"}],
                Call <- [many, broadcast]]
     end}.

argument_2(Call, Server, Frame) ->
    try
        case Call of
            broadcast -> sockeye:broadcast(Server, Frame);
            codec -> sockeye_codec:encode(test_support:ok(sockeye_codec:new(server)), Frame);
            _ ->
                Port = test_support:port(Server),
                {ok, Client} = sockeye_client:connect("ws://127.0.0.1:" ++ integer_to_list(Port)),
                [Conn | _] = connected(Server),
                try
                    case Call of
                        many -> sockeye:send([Conn], Frame);
                        send -> sockeye:send(Conn, Frame)
                    end
                after
                    ok = sockeye_client:close(Client)
                end
        end
    of
        Value -> error({taken, Value})
    catch
        error:badarg:Stack -> #{2 := Text} = sockeye_errors:format_error(badarg, Stack), Text
    end.

connected(Server) ->
    case sockeye:connections(Server) of
        {ok, []} -> erlang:yield(), connected(Server);
        {ok, Conns} -> Conns
    end.

%% Topics belong to connections of servers.
a_client_s_connection_test() ->
    in_a_world(fun(#{client_conn := Conn}) ->
        [?assertEqual("a connection of a client: only those of a server can be used here",
                      argument_1(fun() -> sockeye:Change(Conn, <<"t">>) end)) || Change <- [subscribe, unsubscribe]],
        ?assertEqual("element 1: a connection of a client: only those of a server can be used here",
                     argument_1(fun() -> sockeye:send([Conn], #{}) end))
    end).

argument_1(Call) ->
    try Call() of Value -> error({taken, Value})
    catch error:badarg:Stack -> #{1 := Text} = sockeye_errors:format_error(badarg, Stack), unicode:characters_to_list(Text)
    end.

%% A process that is no client is not asked, and not stopped.
not_a_client_test() ->
    Pid = sink(),
    true = register(not_a_client, Pid),
    [begin
         ?assertEqual({error, not_found}, sockeye_client:stop(Who)),
         ?assertEqual({error, not_found}, sockeye_client:info(Who)),
         ?assertEqual({error, not_found}, sockeye_client:conn(Who)),
         ?assertEqual({error, not_found}, sockeye_client:send(Who, #{}))
     end || Who <- [Pid, not_a_client, self(), kernel_sup, nobody]],
    ?assert(is_process_alive(Pid)),
    unlink(Pid),
    exit(Pid, kill).

%% What waits for a connection is checked when it is taken, not when it is too late.
a_kept_frame_is_checked_test() ->
    {ok, Client} = sockeye_client:start_link(?NOWHERE, sink(), #{reconnect => #{send_when_down => keep}}),
    ?assertEqual(ok, sockeye_client:send(Client, #{})),
    ?assertError(badarg, sockeye_client:send(Client, <<"x">>)),
    ?assertError(badarg, sockeye_client:send(Client, [#{}, {txt, ""}])),
    ok = sockeye_client:stop(Client).
