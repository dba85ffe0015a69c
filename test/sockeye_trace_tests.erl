%% The frames of one connection, shown to a process and to the log.
-module(sockeye_trace_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-export([log/2]).

-import(test_support, [with_server/2, quiet/1]).

-define(TIMEOUT, 60000).

%% A handler of logger.
log(#{msg := {report, #{what := frame} = Report}}, #{config := Pid}) -> Pid ! {logged, Report};
log(_Event, _Config) -> ok.

%% The next frame, or `ended'.
traced(Conn) ->
    receive {sockeye_trace, Conn, What} -> What
    after ?TIMEOUT -> error({no_frame, process_info(self(), messages)})
    end.

seen(Conn) -> maps:without([time], traced(Conn)).

frame(Direction, Opcode, Size) ->
    #{direction => Direction, opcode => Opcode, size => Size, fin => true, compressed => false, suppressed => 0}.

both_ways_test_() -> {timeout, 60, fun both_ways/0}.

both_ways() ->
    with_server(#{control_frames => true}, fun(Port, _) ->
        {Client, Conn} = test_support:open(Port),
        Before = erlang:system_time(microsecond),
        ok = sockeye:trace(Conn, #{to => self()}),
        ok = ws_client:text(Client, <<"[1]">>),
        #{time := Time} = First = traced(Conn),
        ?assert(Time >= Before - 1000 andalso Time =< erlang:system_time(microsecond) + 1000),
        ?assertEqual(frame(in, text, 3), maps:remove(time, First)),
        ok = sockeye:send(Conn, [{text, <<"four">>}, {binary, binary:copy(<<0>>, 70000)}]),
        ?assertEqual([frame(out, text, 4), frame(out, binary, 70000)], [seen(Conn), seen(Conn)]),
        ok = ws_client:ping(Client, <<"hi">>),
        ?assertEqual([frame(in, ping, 2), frame(out, pong, 2)], [seen(Conn), seen(Conn)]),
        %% Pieces, either way.
        ok = sockeye:send(Conn, [{stream, text, first, <<"ab">>}, {stream, text, last, <<"c">>}]),
        ?assertEqual([(frame(out, text, 2))#{fin := false}, frame(out, continuation, 1)], [seen(Conn), seen(Conn)]),
        ok = ws_client:close(Client, 1000, <<"bye">>),
        1000 = test_support:closed(Conn),
        ?assertEqual([frame(in, close, 5), frame(out, close, 2)], [seen(Conn), seen(Conn)]),
        ws_client:drop(Client),
        ?assertEqual(ended, traced(Conn)),
        ?assertEqual([], ets:tab2list(sockeye_tracer))
    end).

%% A client's connection as well; and a frame for many.
client_and_fanout_test_() -> {timeout, 60, fun client_and_fanout/0}.

client_and_fanout() ->
    with_server(#{}, fun(Port, Server) ->
        {ok, Client} = sockeye_client:connect(test_support:url(Port)),
        Conn = test_support:opened(),
        [ok = sockeye:trace(Any, #{to => self(), payload => 3}) || Any <- [Conn, Client]],
        ok = sockeye_client:send(Client, {text, <<"12345">>}),
        ?assertEqual((frame(out, text, 5))#{payload => <<"123">>}, seen(Client)),
        ?assertEqual((frame(in, text, 5))#{payload => <<"123">>}, seen(Conn)),
        ok = sockeye:broadcast(Server, {text, <<"ab">>}),
        ?assertEqual((frame(out, text, 2))#{payload => <<"ab">>}, seen(Conn)),
        ?assertEqual((frame(in, text, 2))#{payload => <<"ab">>}, seen(Client)),
        ok = sockeye_client:close(Client)
    end).

%% Compressed frames are shown as they stand on the wire.
compressed_test_() -> {timeout, 60, fun compressed/0}.

compressed() ->
    with_server(#{deflate => #{threshold => 0}}, fun(Port, _) ->
        {ok, Client} = sockeye_client:connect(test_support:url(Port), #{deflate => true}),
        Conn = test_support:opened(),
        ok = sockeye:trace(Conn, #{to => self()}),
        ok = sockeye:send(Conn, {text, binary:copy(<<"a">>, 1000)}),
        #{compressed := true, direction := out, opcode := text, size := Size} = traced(Conn),
        ?assert(Size < 100),
        ok = sockeye_client:close(Client)
    end).

%% As many bytes as there are, as were asked for, and one less and one more.
payload_test_() -> {timeout, 60, fun payload/0}.

payload() ->
    with_server(#{}, fun(Port, _) ->
        {Client, Conn} = test_support:open(Port),
        [begin
             ok = sockeye:trace(Conn, #{to => self(), payload => Most}),
             ok = ws_client:text(Client, <<"[123456]">>),
             Shown = binary:part(<<"[123456]">>, 0, min(Most, 8)),
             ?assertEqual((frame(in, text, 8))#{payload => Shown}, seen(Conn)),
             ok = sockeye:trace(Conn, {off, self()}),
             ended = traced(Conn)
         end || Most <- [1, 7, 8, 9, 1024]]
    end).

%% In the middle of a frame, the next one is the first that is shown.
in_the_middle_test_() -> {timeout, 60, fun in_the_middle/0}.

in_the_middle() ->
    with_server(#{}, fun(Port, _) ->
        {Client, Conn} = test_support:open(Port),
        Bytes = iolist_to_binary(ws_client:encode(1, <<"123456789">>)),
        [begin
             <<Before:Cut/binary, After/binary>> = Bytes,
             #{frames_in := N} = test_support:ok(sockeye:info(Conn)),
             #{bytes_in := Already} = test_support:ok(sockeye:info(Port)),
             ok = ws_client:raw(Client, Before),
             hostile_client:until(fun() -> map_get(bytes_in, test_support:ok(sockeye:info(Port))) >= Already + Cut end),
             ok = sockeye:trace(Conn, #{to => self()}),
             ok = ws_client:raw(Client, After),
             {json, 123456789} = test_support:event(Conn),
             ?assertMatch({ok, #{frames_in := Now}} when Now =:= N + 1, sockeye:info(Conn)),
             ok = ws_client:text(Client, <<"1">>),
             {json, 1} = test_support:event(Conn),
             %% One whose header was cut is shown: nothing of it had been taken in.
             Sizes = [9 || Cut < 6] ++ [1],
             ?assertEqual({Cut, [frame(in, text, Size) || Size <- Sizes]}, {Cut, [seen(Conn) || _ <- Sizes]}),
             ok = sockeye:trace(Conn, off),
             ended = traced(Conn)
         end || Cut <- [2, 6, 10]]
    end).

%% As many a second as were asked for; the next one tells how many were not shown.
rate_test_() ->
    {timeout, 60, fun() ->
        with_server(#{}, fun(Port, _) ->
            {Client, Conn} = test_support:open(Port),
            ok = sockeye:trace(Conn, #{to => self(), rate => 3}),
            ok = ws_client:raw(Client, [ws_client:encode(1, <<"1">>) || _ <- lists:seq(1, 8)]),
            [{json, 1} = test_support:event(Conn) || _ <- lists:seq(1, 8)],
            ?assertEqual(lists:duplicate(3, frame(in, text, 1)), [seen(Conn) || _ <- [1, 2, 3]]),
            %% What comes in the next second: five, and those that this loop has sent too early.
            Sent = later(Client, Conn, 0),
            #{suppressed := Suppressed} = traced(Conn),
            ?assertEqual(5 + Sent, Suppressed)
        end)
    end}.

%% How many frames were too early, until one is shown.
later(Client, Conn, N) ->
    ok = ws_client:text(Client, <<"2">>),
    {json, 2} = test_support:event(Conn),
    receive {sockeye_trace, Conn, _} = Shown -> self() ! Shown, N
    after 100 -> later(Client, Conn, N + 1)
    end.

%% Eight may watch; whoever begins again counts once.
many_test_() -> {timeout, 60, fun many/0}.

many() ->
    with_server(#{}, fun(Port, _) ->
        {Client, Conn} = test_support:open(Port),
        Self = self(),
        Watchers = [spawn_link(fun Watch() -> receive {sockeye_trace, Conn, What} -> Self ! {self(), What}, Watch() end end)
                    || _ <- lists:seq(1, 9)],
        {Eight, [Ninth]} = lists:split(8, Watchers),
        [?assertEqual(ok, sockeye:trace(Conn, #{to => Pid})) || Pid <- Eight],
        ?assertEqual({error, too_many_traces}, sockeye:trace(Conn, #{to => Ninth})),
        ?assertEqual(ok, sockeye:trace(Conn, #{to => hd(Eight)})),
        receive {Again, ended} -> ?assertEqual(hd(Eight), Again) end,
        ok = ws_client:text(Client, <<"1">>),
        [receive {Pid, #{direction := in}} -> ok after ?TIMEOUT -> error(not_shown) end || Pid <- Eight],
        ok = sockeye:trace(Conn, {off, hd(Eight)}),
        ?assertEqual(ok, sockeye:trace(Conn, #{to => Ninth})),
        ok = sockeye:trace(Conn, off),
        [receive {Pid, ended} -> ok after ?TIMEOUT -> error(not_ended) end || Pid <- Watchers],
        ?assertEqual(ok, sockeye:trace(Conn, off)),
        [begin unlink(Pid), exit(Pid, kill) end || Pid <- Watchers]
    end).

%% It ends with its receiver, and with the connection, however that ends.
ends_test_() -> {timeout, 60, fun ends/0}.

ends() ->
    with_server(#{}, fun(Port, _) ->
        {Client, Conn} = test_support:open(Port),
        Receiver = spawn(fun() -> receive never -> ok end end),
        ok = sockeye:trace(Conn, #{to => Receiver}),
        [{_, Tracer}] = ets:tab2list(sockeye_tracer),
        exit(Receiver, kill),
        ?assertEqual(normal, case test_support:down(Tracer) of noproc -> normal; Reason -> Reason end),
        ?assertEqual([], ets:tab2list(sockeye_tracer)),
        ok = sockeye:trace(Conn, #{to => self()}),
        ws_client:drop(Client),
        ?assertEqual(ended, traced(Conn)),
        1006 = test_support:closed(Conn),
        ?assertEqual({error, closed}, sockeye:trace(Conn, #{to => self()})),
        ?assertEqual({error, closed}, sockeye:trace(Conn, on)),
        ?assertEqual([], ets:tab2list(sockeye_tracer))
    end).

%% With the engine, too: its thread, or its process.
engine_ends_test_() ->
    {timeout, 60, fun() -> quiet(fun() ->
        _ = application:ensure_all_started(sockeye),
        process_flag(trap_exit, true),
        {ok, Server} = sockeye:start_link(#{port => 0}),
        Port = test_support:port(Server),
        {_Client, Conn} = test_support:open(Port),
        ok = sockeye:trace(Conn, #{to => self()}),
        case sockeye:info() of
            {ok, #{os_pid := OsPid}} -> _ = os:cmd("kill -9 " ++ integer_to_list(OsPid));
            {ok, #{engine := nif}} -> ok = sockeye_engine:restart()
        end,
        [?assertEqual(out, Direction) || #{direction := Direction} <- until_ended(Conn)],
        _ = sockeye:stop(Server),
        hostile_client:until(fun() -> element(1, sockeye:info()) =:= ok end),
        ws_client:drop_all(),
        process_flag(trap_exit, false),
        test_support:flush()
    end) end}.

until_ended(Conn) ->
    case traced(Conn) of
        ended -> [];
        Frame -> [Frame | until_ended(Conn)]
    end.

log_test_() -> {timeout, 60, fun log/0}.

log() ->
    with_server(#{}, fun(Port, _) ->
        {Client, Conn} = test_support:open(Port),
        ok = logger:add_handler(?MODULE, ?MODULE, #{config => self()}),
        ok = quiet_default(fun() ->
            ok = sockeye:trace(Conn, on),
            ok = ws_client:text(Client, <<"[1]">>),
            receive {logged, Report} ->
                    {sockeye_conn, Number} = Conn,
                    ?assertMatch(#{conn := Conn, direction := in, opcode := text, size := 3}, Report),
                    ?assertNot(is_map_key(suppressed, Report)),
                    ?assertEqual("Sockeye on connection " ++ integer_to_list(Number) ++ " got text, 3 bytes",
                                 lists:flatten(unicode:characters_to_list(sockeye_log_text:format(Report, #{})))),
                    More = Report#{payload => <<"a\e">>, suppressed => 2, fin => false, compressed => true, direction => out},
                    ?assertEqual("Sockeye on connection " ++ integer_to_list(Number) ++ " sends text, 3 bytes, compressed, "
                                 "not the last of its message: <<\"a\\e\">> (and 2 more since the last one)",
                                 lists:flatten(unicode:characters_to_list(sockeye_log_text:format(More, #{}))))
            after ?TIMEOUT -> error(not_logged)
            end,
            ok = sockeye:trace(Conn, {off, logger})
        end),
        ok = logger:remove_handler(?MODULE)
    end).

%% Only our own handler is to see them.
quiet_default(Test) ->
    #{level := Level} = test_support:ok(logger:get_handler_config(default)),
    ok = logger:set_handler_config(default, level, none),
    try Test()
    after ok = logger:set_handler_config(default, level, Level)
    end.

options_test_() -> {timeout, 60, fun options/0}.

options() ->
    with_server(#{}, fun(Port, _) ->
        {_, Conn} = test_support:open(Port),
        [?assertMatch({error, {bad_option, Key, _}}, sockeye:trace(Conn, #{Key => Value}))
         || {Key, Values} <- [{to, [self, none, 1]}, {rate, [0, 1001, infinity]}, {payload, [-1, 1025, all]}, {rats, [1]}], Value <- Values],
        [?assertEqual({Options, ok}, {Options, sockeye:trace(Conn, Options#{to => self()})})
         || Options <- [#{rate => 1}, #{rate => 1000}, #{payload => 0}, #{payload => 1024}]],
        ok = sockeye:trace(Conn, off),
        ?assertError(badarg, sockeye:trace(Conn, yes)),
        ?assertError(badarg, sockeye:trace(conn, on))
    end).
