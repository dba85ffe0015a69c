%% Modules of Elixir's WebSock as handlers.
-module(sockeye_websock_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, message/0, quiet/1]).

with_websock(First, Test) ->
    with_websock(First, #{}, Test).

with_websock(First, Options, Test) ->
    Handler = {sockeye_websock, {websock_module, {self(), First}}},
    with_server(Options#{handler => Handler}, fun(Port, Server) ->
        Socket = ws_client:connect(Port),
        {init, Pid} = message(),
        Test(Socket, Pid, Server)
    end).

%% Has the module return this.
returns(Socket, Result) ->
    ok = ws_client:binary(Socket, term_to_binary(Result)),
    {in, binary, _, N} = message(),
    N.

frames_in_test() ->
    with_websock({ok, state}, fun(Socket, Pid, _) ->
        ok = ws_client:text(Socket, <<"{}">>),
        ?assertEqual({in, text, <<"{}">>, 0}, message()),
        ok = ws_client:binary(Socket, <<1, 2>>),
        ?assertEqual({in, binary, <<1, 2>>, 1}, message()),
        ok = ws_client:ping(Socket, <<"p">>),
        ?assertEqual({control, ping, <<"p">>, 2}, message()),
        ?assertEqual([{pong, <<"p">>}, {text, <<"seen p">>}], lists:sort([ws_client:recv(Socket), ws_client:recv(Socket)])),
        ok = ws_client:frame(Socket, 10, <<"q">>),
        ?assertEqual({control, pong, <<"q">>, 3}, message()),
        ?assertEqual({text, <<"seen q">>}, ws_client:recv(Socket)),
        Pid ! hello,
        ?assertEqual({info, hello, 4}, message()),
        gen_server:cast(Pid, told),
        ?assertEqual({info, {'$gen_cast', told}, 5}, message()),
        Caller = spawn(fun() -> gen_server:call(Pid, asked) end),
        ?assertMatch({info, {'$gen_call', {Caller, _}, asked}, 6}, message()),
        exit(Caller, kill),
        ok = ws_client:close(Socket, 1000, <<>>),
        ?assertEqual({terminate, remote, 7}, message())
    end).

%% Each way to send.
pushes_test_() ->
    [{lists:flatten(io_lib:format("~p", [Result])),
      fun() ->
              with_websock({ok, state}, fun(Socket, _, _) ->
                  0 = returns(Socket, Result),
                  [?assertEqual(Frame, ws_client:recv(Socket)) || Frame <- Frames],
                  %% The state is the new one.
                  1 = returns(Socket, {push, {text, <<"end">>}, state}),
                  ?assertEqual({text, <<"end">>}, ws_client:recv(Socket))
              end)
      end}
     || {Result, Frames} <-
            [{{ok, state}, []},
             {{push, {text, <<"a">>}, state}, [{text, <<"a">>}]},
             {{push, {binary, [<<1>>, 2]}, state}, [{binary, <<1, 2>>}]},
             {{push, {text, nil}, state}, [{text, <<>>}]},
             {{push, [], state}, []},
             {{push, [{ping, <<"p">>}, {text, <<"b">>}, {pong, nil}], state}, [{ping, <<"p">>}, {text, <<"b">>}, {pong, <<>>}]},
             {{reply, ok, {text, <<"c">>}, state}, [{text, <<"c">>}]},
             {{reply, error, [{text, <<"d">>}, {text, <<"e">>}], state}, [{text, <<"d">>}, {text, <<"e">>}]}]].

%% From init/1 and handle_info/2 too.
pushes_of_others_test() ->
    with_websock({push, {text, <<"first">>}, state}, fun(Socket, Pid, _) ->
        ?assertEqual({text, <<"first">>}, ws_client:recv(Socket)),
        Pid ! {do, {reply, ok, [{text, <<"second">>}], state}},
        ?assertEqual({text, <<"second">>}, ws_client:recv(Socket)),
        Pid ! {do, {stop, normal, 4001, state}},
        ?assertEqual({4001, <<>>}, ws_client:recv_close(Socket)),
        ?assertEqual({terminate, normal, 0}, message())
    end).

stops_test_() ->
    Long = binary:copy(<<"x">>, 123),
    [{lists:flatten(io_lib:format("~p", [Result])),
      fun() ->
              with_websock({ok, state}, fun(Socket, _, _) ->
                  0 = returns(Socket, Result),
                  [?assertEqual(Frame, ws_client:recv(Socket)) || Frame <- Frames],
                  ?assertEqual(Close, ws_client:recv_close(Socket)),
                  ?assertEqual({terminate, Why, 1}, message())
              end)
      end}
     || {Result, Frames, Close, Why} <-
            [{{stop, normal, state}, [], {1000, <<>>}, normal},
             {{stop, {shutdown, restart}, state}, [], {1012, <<>>}, normal},
             {{stop, oops, state}, [], {1011, <<>>}, {error, oops}},
             {{stop, normal, 4000, state}, [], {4000, <<>>}, normal},
             {{stop, oops, 1008, state}, [], {1008, <<>>}, {error, oops}},
             {{stop, normal, {4000, <<"why">>}, state}, [], {4000, <<"why">>}, normal},
             {{stop, normal, {4000, nil}, state}, [], {4000, <<>>}, normal},
             {{stop, normal, {4000, [<<"w">>, "hy"]}, state}, [], {4000, <<"why">>}, normal},
             {{stop, normal, {1000, Long}, state}, [], {1000, Long}, normal},
             {{stop, normal, {1000, [Long, $x]}, state}, [], {1000, <<>>}, normal},
             {{stop, normal, {1000, <<255>>}, state}, [], {1000, <<>>}, normal},
             {{stop, normal, 1005, state}, [], {1011, <<>>}, normal},
             {{stop, normal, 1000, {text, <<"last">>}, state}, [{text, <<"last">>}], {1000, <<>>}, normal},
             {{stop, oops, {4000, <<"y">>}, [{text, <<"a">>}, {binary, <<"b">>}], state}, [{text, <<"a">>}, {binary, <<"b">>}],
              {4000, <<"y">>}, {error, oops}}]].

%% A stop in init/1 closes what has just been opened.
stop_in_init_test() ->
    with_websock({stop, normal, {4000, <<"full">>}, state}, fun(Socket, _, _) ->
        ?assertEqual({4000, <<"full">>}, ws_client:recv_close(Socket)),
        ?assertEqual({terminate, normal, 0}, message())
    end).

%% Between a stop and the end nothing else is called.
nothing_after_a_stop_test() ->
    with_websock({ok, state}, fun(Socket, Pid, _) ->
        ok = sys:suspend(Pid),
        [ok = ws_client:binary(Socket, term_to_binary(Result)) || Result <- [{stop, normal, state}, {ok, state}]],
        ok = ws_client:ping(Socket, <<>>),
        ok = sys:resume(Pid),
        {in, binary, _, 0} = message(),
        Pid ! late,
        {pong, <<>>} = ws_client:recv(Socket),
        ?assertEqual({1000, <<>>}, ws_client:recv_close(Socket)),
        ?assertEqual({terminate, normal, 1}, message())
    end).

crashes_test_() ->
    [{lists:flatten(io_lib:format("~p", [Result])),
      fun() ->
              quiet(fun() ->
                  with_websock({ok, state}, fun(Socket, _, _) ->
                      0 = returns(Socket, Result),
                      ?assertMatch({1011, _}, ws_client:recv_close(Socket)),
                      ?assertMatch({terminate, {error, _}, 0}, message())
                  end)
              end)
      end} || Result <- [{crash, oops}, {okay, state}, {push, {close, <<>>}, state}, {push, none, state}]].

%% Why it ended, when the module did not say so.
ends_test_() ->
    [{"close", fun() -> with_websock({ok, state}, fun(Socket, _, _) ->
          ok = ws_client:close(Socket, 1001, <<"idle">>), ?assertEqual({terminate, remote, 0}, message()) end) end},
     {"drop", fun() -> with_websock({ok, state}, fun(Socket, _, _) ->
          ok = ws_client:drop(Socket), ?assertEqual({terminate, {error, closed}, 0}, message()) end) end},
     {"silence", fun() -> with_websock({ok, state}, #{idle_timeout => 100}, fun(Socket, _, _) ->
          {1001, <<"idle timeout">>} = ws_client:recv_close(Socket), ?assertEqual({terminate, timeout, 0}, message()) end) end},
     {"told to", fun() -> with_websock({ok, state}, fun(_, Pid, _) ->
          ok = sockeye_worker:stop(Pid), ?assertEqual({terminate, shutdown, 0}, message()) end) end},
     {"stop", fun() -> stopped(fun(Server) -> ok = sockeye:stop(Server) end) end},
     {"drain", fun() -> stopped(fun(Server) -> {ok, _} = sockeye:drain(Server, #{deadline => 5000}) end) end}].

stopped(Stop) ->
    {ok, Server} = sockeye:start_link(#{port => 0, handler => {sockeye_websock, {websock_module, {self(), {ok, state}}}}}),
    Socket = ws_client:connect(test_support:port(Server)),
    {init, _} = message(),
    _ = spawn_link(fun() -> Stop(Server) end),
    {1001, <<>>} = ws_client:recv_close(Socket),
    ?assertEqual({terminate, shutdown, 0}, message()).

%% With the least of callbacks, and several connections, each on its own.
bare_test() ->
    with_server(#{handler => {sockeye_websock, {websock_bare, none}}}, fun(Port, _) ->
        Sockets = [ws_client:connect(Port) || _ <- [1, 2]],
        [begin
             ok = ws_client:ping(Socket, <<"p">>),
             ok = ws_client:text(Socket, <<"t">>),
             ?assertEqual([{pong, <<"p">>}, {text, <<"t">>}], [ws_client:recv(Socket), ws_client:recv(Socket)])
         end || Socket <- Sockets]
    end).

%% What accept has kept for a connection is its argument.
argument_test() ->
    Self = self(),
    Accept = fun(#{path := Path}) -> {accept, #{state => {Self, {push, {text, Path}, state}}}} end,
    with_server(#{handler => {sockeye_websock, {websock_module, none}}, accept => Accept}, fun(Port, _) ->
        Socket = ws_client:connect(Port, #{path => "/kept"}),
        ?assertEqual({text, <<"/kept">>}, ws_client:recv(Socket))
    end).

options_test_() ->
    Websock = {sockeye_websock, {websock_bare, none}},
    [?_assertMatch({error, {bad_option, Key, _}}, sockeye:start_link(Options#{port => 0}))
     || {Key, Options} <- [{handler, #{handler => {sockeye_websock, {no_such_module, none}}}},
                           {handler, #{handler => {sockeye_websock, {bare_handler, none}}}},
                           {handler, #{handler => {sockeye_websock, websock_bare}}},
                           {processes, #{handler => Websock, processes => 4}},
                           {format, #{handler => Websock, format => json}}]]
    ++ [?_assertEqual({error, {bad_option, handler, <<"sockeye_websock is for a server">>}},
                      sockeye_client:start_link("ws://127.0.0.1:9/", Websock, #{})),
        ?_assertEqual(ok, with_server(#{handler => Websock, processes => per_connection, format => raw, control_frames => true},
                                      fun(_, _) -> ok end))].
