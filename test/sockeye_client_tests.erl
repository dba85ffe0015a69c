%% Clients against our own server: the calls, the messages, the behaviour, the ends.
-module(sockeye_client_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/2, with_handler/3, event/1, closed/1,
                       message/0, quiet/1, down/1, told/0, url/1, url/2]).

-define(TIMEOUT, 60000).

echo() ->
    #{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end}.

%% A handler that tells this process what happens to it.
teller() ->
    Self = self(),
    Tell = fun(What) -> Self ! {told, What} end,
    #{open => fun(Conn, Info, S) -> Tell({open, Conn, Info}), {[], S} end,
      frame => fun(Frame, _, S) -> Tell({frame, Frame}), {[], S} end,
      close => fun(_, Code, Reason, S) -> Tell({close, Code, Reason}), {[], S} end,
      down => fun(Reason, S) -> Tell({down, Reason}), {[], S} end,
      terminate => fun(Reason, _) -> Tell({terminate, Reason}) end}.

calls_that_wait_test() ->
    with_handler(echo(), fun(Port, _) ->
        {ok, Conn} = sockeye_client:connect(url(Port)),
        ok = sockeye_client:send(Conn, #{a => 1}),
        ?assertEqual({ok, {json, #{<<"a">> => 1}}}, sockeye_client:recv(Conn, ?TIMEOUT)),
        ?assertEqual({error, timeout}, sockeye_client:recv(Conn, 0)),
        ok = sockeye_client:send(Conn, [{binary, <<1>>}, {json, [true]}]),
        ?assertEqual({ok, {binary, <<1>>}}, sockeye_client:recv(Conn)),
        ?assertEqual({ok, {json, [true]}}, sockeye_client:recv(Conn)),
        ?assertMatch({ok, #{peer := {{127, 0, 0, 1}, Port}, path := <<"/">>}}, sockeye:info(Conn)),
        ok = sockeye_client:send(Conn, {json, lost}),
        ?assertEqual(ok, sockeye_client:close(Conn)),
        ?assertEqual({error, closed}, sockeye_client:close(Conn)),
        ?assertEqual({error, closed}, sockeye_client:recv(Conn)),
        ?assertEqual({error, closed}, sockeye_client:send(Conn, #{})),
        receive M -> error({left_behind, M}) after 0 -> ok end
    end).

frames_of_every_size_test() ->
    Options = #{max_message_size => 4 bsl 20, send_queue_size => 8 bsl 20, format => raw},
    with_handler(echo(), Options, fun(Port, _) ->
        {ok, Conn} = sockeye_client:connect(url(Port), Options),
        [begin
             Payload = binary:copy(<<"x">>, Size),
             ok = sockeye_client:send(Conn, {Kind, Payload}),
             ?assertEqual({ok, {Kind, Payload}}, sockeye_client:recv(Conn, ?TIMEOUT))
         end || Size <- [0, 1, 125, 126, 127, 65535, 65536, 300000, 3 bsl 20], Kind <- [text, binary]],
        ok = sockeye_client:close(Conn)
    end).

json_of_every_size_test() ->
    with_handler(echo(), fun(Port, _) ->
        {ok, Conn} = sockeye_client:connect(url(Port)),
        [begin
             Term = binary:copy(<<"y">>, Size),
             ok = sockeye_client:send(Conn, {json, Term}),
             ?assertEqual({ok, {json, Term}}, sockeye_client:recv(Conn, ?TIMEOUT))
         end || Size <- [0, 123, 124, 65533, 65534, 200000]],
        ok = sockeye_client:close(Conn)
    end).

the_server_closes_test() ->
    Bye = #{frame => fun(_, _, S) -> {[{reply, {json, 1}}, {close, 4001, <<"bye">>}], S} end},
    with_handler(Bye, fun(Port, _) ->
        {ok, Conn} = sockeye_client:connect(url(Port)),
        ok = sockeye_client:send(Conn, #{}),
        ?assertEqual({ok, {json, 1}}, sockeye_client:recv(Conn)),
        ?assertEqual({error, {closed, 4001, <<"bye">>}}, sockeye_client:recv(Conn)),
        ?assertEqual({error, closed}, sockeye_client:recv(Conn))
    end).

%% However late somebody looks, the end is told once.
the_end_is_told_once_test_() ->
    {timeout, 180, fun the_end_is_told_once/0}.

the_end_is_told_once() ->
    Bye = #{frame => fun(_, _, S) -> {[{close, 4001, <<>>}], S} end},
    with_handler(Bye, fun(Port, _) ->
        [begin
             {ok, Conn} = sockeye_client:connect(url(Port)),
             ok = sockeye_client:send(Conn, #{}),
             gone(Conn),
             case N rem 2 of
                 0 -> ?assertEqual({error, {closed, 4001, <<>>}}, sockeye_client:recv(Conn));
                 1 -> ?assertEqual(ok, sockeye_client:close(Conn))
             end,
             ?assertEqual({error, closed}, sockeye_client:recv(Conn)),
             ?assertEqual({error, closed}, sockeye_client:close(Conn))
         end || N <- lists:seq(1, 200)]
    end).

gone(Conn) ->
    hostile_client:until(fun() ->
        Told = sockeye:setopts(Conn, []),
        Told =:= {error, closed} orelse Told
    end).

%% They would wait for events that come to somebody else, without end.
of_another_process_test_() ->
    [{lists:flatten(io_lib:format("~p/~b of a connection of ~p", [Function, 1 + length(Args), Whose])),
      fun() ->
          with_handler(echo(), fun(Port, _) ->
              {ok, Mine} = sockeye_client:connect(url(Port)),
              {ok, Client} = sockeye_client:start_link(url(Port), spawn_link(fun() -> receive never -> ok end end), #{}),
              {ok, Clients} = sockeye_client:conn(Client),
              Conn = case Whose of
                         connect -> Mine;
                         start_link -> Clients
                     end,
              {_, Monitor} = spawn_monitor(fun() ->
                  exit(try apply(sockeye_client, Function, [Conn | Args])
                       catch error:badarg:Stack -> sockeye_errors:format_error(badarg, Stack)
                       end)
              end),
              receive
                  {'DOWN', Monitor, process, _, Told} ->
                      ?assertMatch(#{1 := <<"this process has not made this connection", _/binary>>}, Told)
              after ?TIMEOUT -> error(waits)
              end,
              %% Nothing has been changed for the one whose it is.
              ?assertMatch({ok, #{active := Active}} when Active =:= false orelse Whose =:= start_link, sockeye:info(Conn)),
              ok = sockeye_client:send(Mine, #{}),
              ?assertEqual({ok, {json, #{}}}, sockeye_client:recv(Mine, ?TIMEOUT)),
              ok = sockeye_client:close(Mine),
              ok = sockeye_client:stop(Client)
          end)
      end}
     || Whose <- [connect, start_link], {Function, Args} <- [{recv, []}, {recv, [0]}, {close, []}, {close, [1000, <<>>]}]].

%% Who has made it, and given it away, waits for its end and not for an event.
given_away_test_() ->
    [{lists:flatten(io_lib:format("~p", [Function])),
      fun() ->
          with_handler(echo(), fun(Port, Server) ->
              {ok, Conn} = sockeye_client:connect(url(Port)),
              Heir = spawn_link(fun() -> receive never -> ok end end),
              ok = sockeye:controlling_process(Conn, Heir),
              Ended = case Function of
                          close -> sockeye_client:close(Conn);
                          recv -> spawn_link(fun() -> sockeye:stop(Server) end), sockeye_client:recv(Conn)
                      end,
              ?assertEqual({Function, if Function =:= close -> ok; true -> {error, closed} end}, {Function, Ended})
          end)
      end}
     || Function <- [close, recv]].

an_owner_gets_messages_test() ->
    with_handler(echo(), #{subprotocols => [<<"b">>]}, fun(Port, _) ->
        {ok, Client} = sockeye_client:start_link(url(Port, "/p?q=1"), self(),
                                                 #{subprotocols => [<<"a">>, <<"b">>], active => 2}),
        {ok, Conn} = sockeye_client:conn(Client),
        {open, Info} = event(Conn),
        ?assertMatch(#{path := <<"/p">>, query := <<"q=1">>, subprotocol := <<"b">>,
                       http_version := {1, 1}, tls := undefined,
                       headers := [{_, _} | _]}, Info),
        #{headers := Answer} = Info,
        ?assertEqual(<<"websocket">>, proplists:get_value(<<"upgrade">>, Answer)),
        ok = sockeye_client:send(Client, [{json, 1}, {json, 2}, {json, 3}]),
        ?assertEqual({json, 1}, event(Conn)),
        ?assertEqual({json, 2}, event(Conn)),
        ?assertEqual(passive, event(Conn)),
        ok = sockeye:setopts(Conn, [{active, true}]),
        ?assertEqual({json, 3}, event(Conn)),
        ?assertMatch({ok, #{frames_in := 3, frames_out := 3, accepted := 1, connections := 1, conn := Conn}},
                     sockeye_client:info(Client)),
        Monitor = monitor(process, Client),
        ok = sockeye:close(Conn),
        ?assertMatch({closed, 1000, _}, event(Conn)),
        receive {'DOWN', Monitor, process, _, Reason} -> ?assertEqual(normal, Reason) end,
        ?assertEqual({error, not_found}, sockeye_client:info(Client)),
        ?assertEqual({error, not_found}, sockeye_client:conn(Client)),
        ?assertEqual({error, not_found}, sockeye_client:send(Client, #{}))
    end).

a_handler_talks_test() ->
    Self = self(),
    with_handler(echo(), fun(Port, _) ->
        Client = #{init => fun() -> {ok, 0} end,
                   open => fun(_, _, N) -> {[{reply, {json, N}}], N} end,
                   frame => fun({json, 5}, _, N) -> Self ! {done, N}, {[], N};
                               ({json, N}, _, N) -> {[{reply, {json, N + 1}}], N + 1}
                            end,
                   %% Outside of frames, commands speak of the client's connection.
                   info => fun(go_on, N) -> {[{reply, {json, 5}}], N};
                              (stop, N) -> {stop, normal, N}
                           end,
                   close => fun(_, Code, _, N) -> Self ! {close, Code}, {[], N} end},
        process_flag(trap_exit, true),
        {ok, Pid} = sockeye_client:start_link(url(Port), {fun_handler, Client}, #{name => talker}),
        ?assertEqual(Pid, whereis(talker)),
        receive {done, 5} -> ok end,
        ?assertMatch({error, {already_started, Pid}},
                     sockeye_client:start_link(url(Port), {fun_handler, Client}, #{name => talker})),
        ?assertEqual(ok, sockeye_client:stop(talker)),
        receive {close, Code} -> ?assertEqual(1000, Code) end,
        receive {'EXIT', Pid, normal} -> ok end,
        ?assertEqual({error, not_found}, sockeye_client:stop(talker)),
        process_flag(trap_exit, false)
    end).

ends_of_a_handler_test_() ->
    [{timeout, 30, fun() -> handler_ends(How, Code, Exit) end}
     || {How, Code, Exit} <- [{stop, 1000, normal}, {close, 4000, normal}, {crash, 1011, crash}]].

handler_ends(How, Code, Exit) ->
    with_server(#{}, fun(Port, _) ->
        Client = #{info => fun(stop, S) -> {stop, normal, S};
                              (close, S) -> {[{close, 4000, <<"x">>}], S};
                              (crash, _) -> error(crash)
                           end},
        process_flag(trap_exit, true),
        {ok, Pid} = sockeye_client:start_link(url(Port), {fun_handler, Client}, #{}),
        receive {sockeye, Conn, {open, _}} -> ok end,
        {links, Links} = process_info(Pid, links),
        [Worker] = [P || P <- Links, is_pid(P), P =/= self()],
        quiet(fun() ->
            Worker ! How,
            ?assertMatch({closed, Code, _}, event(Conn)),
            receive {'EXIT', Pid, normal} when Exit =:= normal -> ok;
                    {'EXIT', Pid, {crash, _}} when Exit =:= crash -> ok
            after ?TIMEOUT -> error({no_exit, process_info(self(), messages)})
            end
        end),
        ?assertNot(is_process_alive(Worker)),
        process_flag(trap_exit, false)
    end).

a_server_that_stops_test() ->
    process_flag(trap_exit, true),
    {ok, Server} = sockeye:start_link(#{port => 0, handler => {fun_handler, echo()}}),
    {ok, Client} = sockeye_client:start_link(url(test_support:port(Server)), {fun_handler, teller()}, #{}),
    {open, _, _} = told(),
    ok = sockeye:stop(Server),
    ?assertEqual({close, 1001, <<>>}, told()),
    receive {'EXIT', Client, Reason} -> ?assertEqual({shutdown, {closed, 1001, <<>>}}, Reason) end,
    ?assertEqual({terminate, shutdown}, told()),
    process_flag(trap_exit, false),
    test_support:flush().

an_owner_that_dies_test() ->
    with_server(#{}, fun(Port, _) ->
        Self = self(),
        Owner = spawn(fun() ->
            {ok, Conn} = sockeye_client:connect(url(Port)),
            Self ! {connected, Conn},
            receive die -> ok end
        end),
        receive {sockeye, There, {open, _}} -> ok end,
        receive {connected, _} -> ok end,
        Owner ! die,
        ?assertMatch({closed, 1011, _}, event(There)),
        ?assertEqual(ok, no_clients())
    end).

%% The processes of clients end by themselves.
no_clients() ->
    true = hostile_client:until(fun() ->
        Some = [P || P <- processes(), is_dialler(P)],
        Some =:= [] orelse Some
    end),
    ok.

is_dialler(Pid) ->
    proc_lib:translate_initial_call(Pid) =:= {sockeye_dialler, init, 1}.

no_server_test() ->
    {ok, Socket} = gen_tcp:listen(0, []),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    ?assertEqual({error, econnrefused}, sockeye_client:connect(url(Port))),
    ?assertEqual({error, econnrefused}, sockeye_client:start_link(url(Port), self())),
    ?assertEqual({error, nxdomain}, sockeye_client:connect("ws://no-such-host.invalid/")),
    ?assertEqual({error, enoent}, sockeye_client:connect("ws+unix:/no/such/socket")),
    receive M -> error({left_behind, M}) after 0 -> ok end.

a_refusal_test() ->
    with_server(#{paths => [<<"/ws">>]}, fun(Port, _) ->
        {error, {refused, Refusal}} = sockeye_client:connect(url(Port, "/other")),
        ?assertMatch(#{status := 404, headers := [_ | _], body := <<_, _/binary>>}, Refusal),
        {ok, Conn} = sockeye_client:connect(url(Port, "/ws")),
        ok = sockeye_client:close(Conn)
    end).

headers_reach_the_server_test() ->
    with_server(#{}, fun(Port, _) ->
        [begin
             {ok, Conn} = sockeye_client:connect(url(Port), #{headers => Headers}),
             receive {sockeye, There, {open, #{headers := Sent}}} when There =/= Conn ->
                 ?assertEqual(<<"1">>, proplists:get_value(<<"x-a">>, Sent))
             end,
             ok = sockeye_client:close(Conn)
         end || Headers <- [[{"X-A", "1"}], [{<<"x-a">>, ["1"]}], [{<<"X-a">>, <<"1">>}]]]
    end).

control_frames_come_when_asked_for_test() ->
    Hello = #{open => fun(_, _, S) -> {[{reply, {ping, <<"hello">>}}], S} end},
    with_handler(Hello, fun(Port, _) ->
        {ok, Conn} = sockeye_client:connect(url(Port), #{control_frames => true}),
        ?assertEqual({ok, {ping, <<"hello">>}}, sockeye_client:recv(Conn, ?TIMEOUT)),
        ok = sockeye_client:send(Conn, {ping, <<"you">>}),
        ?assertEqual({ok, {pong, <<"you">>}}, sockeye_client:recv(Conn, ?TIMEOUT)),
        ok = sockeye_client:close(Conn)
    end).

messages_in_pieces_test() ->
    with_handler(echo(), fun(Port, _) ->
        {ok, Conn} = sockeye_client:connect(url(Port)),
        ok = sockeye_client:send(Conn, {stream, binary, first, <<"a">>}),
        ok = sockeye_client:send(Conn, [{stream, binary, more, <<"b">>}, {stream, binary, last, <<"c">>}]),
        ?assertEqual({ok, {binary, <<"abc">>}}, sockeye_client:recv(Conn, ?TIMEOUT)),
        ok = sockeye_client:close(Conn)
    end).

a_unix_socket_test() ->
    Path = filename:join("/tmp", "sockeye-client-" ++ os:getpid()),
    with_handler(echo(), #{ip => {local, Path}, port => 0}, fun(_, _) ->
        {ok, Conn} = sockeye_client:connect("ws+unix:" ++ Path ++ ":/x?y=z"),
        ok = sockeye_client:send(Conn, {json, 1}),
        ?assertEqual({ok, {json, 1}}, sockeye_client:recv(Conn)),
        ?assertMatch({ok, #{path := <<"/x">>, query := <<"y=z">>}}, sockeye:info(Conn)),
        ok = sockeye_client:close(Conn)
    end).

options_test() ->
    Bad = fun(Key, Value) ->
                  {error, {bad_option, Key, Why}} = sockeye_client:start_link("ws://a", self(), #{Key => Value}),
                  ?assert(is_binary(Why) andalso io_lib:printable_unicode_list(unicode:characters_to_list(Why)))
          end,
    [Bad(connect_timeout, V) || V <- [0, -1, never, 1.0, 1 bsl 31]],
    [Bad(headers, V) || V <- [x, [x], [{"a b", "c"}], [{"a", "b\r\nc: d"}], [{"", "x"}], [{"host", "x"}],
                              [{"Sec-WebSocket-Key", "x"}], #{a => b}, #{"a" => "b"}, #{}, [{"a", <<255>>}], [{"a", "b"} | c]]],
    [Bad(reconnect, V) || V <- [1, #{min => 0}, #{initial_interval => 2, max_interval => 1}, #{max_attempts => 0}, #{send_when_down => x}, #{a => 1}]],
    [Bad(Key, 1) || Key <- [port, ip, backlog, max_connections, processes, nonsense, "text", handler]],
    Bad(active, 0),
    ?assertMatch({error, {bad_option, handler, _}}, sockeye_client:start_link("ws://a", 7, #{})),
    ?assertError(badarg, sockeye_client:start_link("ws://a", self(), [])),
    [?assertMatch({error, {bad_option, Key, _}}, sockeye_client:connect("ws://a", #{Key => true}))
     || Key <- [active, batch, name, reconnect]],
    [?assertMatch({error, {bad_url, Why}} when is_binary(Why), sockeye_client:connect(Url))
     || Url <- ["http://a", "", "ws://", <<"ws://a#b">>, 7, "ws://a b", "ws://\x{e9}", [$w, 1000]]],
    ?assertError({bad_option, _, _}, sockeye_client:child_spec("ws://a", self(), #{x => 1})),
    ?assertMatch(#{id := {sockeye_client, <<"ws://b/">>}, restart := transient},
                 sockeye_client:child_spec("ws://me:secret@b/", self(), #{})).

many_clients_test_() ->
    {timeout, 60, fun() ->
        with_handler(echo(), fun(Port, _) ->
            Clients = [begin
                           {ok, Client} = sockeye_client:start_link(url(Port), self(), #{}),
                           Client
                       end || _ <- lists:seq(1, 200)],
            [ok = sockeye_client:send(C, {json, I}) || {I, C} <- lists:enumerate(Clients)],
            Got = [receive {sockeye, _, {json, I}} -> I after ?TIMEOUT -> error(nothing) end || _ <- Clients],
            ?assertEqual(lists:seq(1, 200), lists:sort(Got)),
            [ok = sockeye_client:stop(C) || C <- Clients],
            ?assertEqual(ok, no_clients()),
            down(spawn(fun() -> ok end))
        end)
    end}.
