%% Events for the library `telemetry'. A module of that name stands in for it, which is there for these tests only.
-module(sockeye_telemetry_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/3, quiet/1]).

-define(TIMEOUT, 60000).

%% What execute/3 is called with goes to the process that is registered as `telemetry_events'.
library() ->
    Forms = ["-module(telemetry).", "-export([execute/3]).",
             "execute(Event, Measurements, Metadata) -> telemetry_events ! {event, Event, Measurements, Metadata}, ok."],
    Parsed = [begin {ok, Tokens, _} = erl_scan:string(Form), {ok, F} = erl_parse:parse_form(Tokens), F end || Form <- Forms],
    {ok, telemetry, Code} = compile:forms(Parsed),
    {module, telemetry} = code:load_binary(telemetry, "telemetry.erl", Code).

%% Runs with the library there, its application started, and ours started afterwards.
with_library(Test) ->
    quiet(fun() ->
        _ = application:stop(sockeye),
        library(),
        ok = application:load({application, telemetry, [{vsn, "0"}, {modules, []}, {registered, []}, {applications, [kernel, stdlib]}]}),
        ok = application:start(telemetry),
        %% It looks when it is told to.
        ok = application:set_env(sockeye, telemetry_interval, 3600000),
        {ok, _} = application:ensure_all_started(sockeye),
        true = register(telemetry_events, self())
    end),
    try Test()
    after
        quiet(fun() ->
            true = unregister(telemetry_events),
            ok = application:stop(sockeye),
            ok = application:unset_env(sockeye, telemetry_interval),
            ok = application:stop(telemetry),
            ok = application:unload(telemetry),
            true = code:delete(telemetry),
            _ = code:purge(telemetry),
            {ok, _} = application:ensure_all_started(sockeye)
        end)
    end.

%% What it tells when it looks now.
look() ->
    ok = gen_server:call(sockeye_telemetry, look),
    events().

events() ->
    receive {event, Event, Measurements, Metadata} -> [{Event, Measurements, Metadata} | events()]
    after 0 -> []
    end.

names(Events) -> [{Event, Measurements} || {Event, Measurements, _} <- Events].

counted_test_() ->
    {timeout, 60, fun() -> with_library(fun() ->
        with_server(#{paths => ["/"], send_queue_size => 1000}, fun(Port, Server) ->
            {ok, #{ip := Ip}} = sockeye:info(Server),
            _ = look(),
            %% Nothing has happened, and nothing is told.
            ?assertEqual([], look()),
            {Client, Conn} = test_support:open(Port),
            {Other, OtherConn} = test_support:open(Port),
            [ok = ws_client:text(Client, <<"1">>) || _ <- [1, 2, 3]],
            [{json, 1} = test_support:event(Conn) || _ <- [1, 2, 3]],
            ok = sockeye:send(Conn, {text, <<"four">>}),
            {text, <<"four">>} = ws_client:recv(Client),
            _ = hostile_client:say(Port, "GET /no HTTP/1.1\r\nHost: a\r\n\r\n"),
            _ = hostile_client:say(Port, "nonsense\r\n\r\n"),
            %% It is counted behind the answer.
            hostile_client:until(fun() -> {ok, #{rejected := Rejected}} = sockeye:info(Server), Rejected =:= 2 end),
            Metadata = #{server => Server, name => undefined, ip => Ip, port => Port},
            Events = look(),
            ?assertEqual([], [Event || {_, _, With} = Event <- Events, maps:with(maps:keys(Metadata), With) =/= Metadata]),
            ?assertEqual([{[sockeye, connection, open], #{count => 2}}], [E || {[sockeye, connection | _], _} = E <- names(Events)]),
            ?assertEqual([{#{count => 1}, bad_request}, {#{count => 1}, path}],
                         [{Count, Reason} || {[sockeye, upgrade, refused], Count, #{reason := Reason}} <- Events]),
            ?assertEqual([#{count => 3, bytes => 3 * 7}], [M || {[sockeye, messages, in], M} <- names(Events)]),
            ?assertEqual([#{count => 1, bytes => 6}], [M || {[sockeye, messages, out], M} <- names(Events)]),
            %% Ends, by code.
            ok = ws_client:close(Client, 1000, <<>>),
            1000 = test_support:closed(Conn),
            ws_client:drop(Other),
            1006 = test_support:closed(OtherConn),
            ?assertEqual([{1000, 1}, {1006, 1}],
                         [{Code, Count} || {[sockeye, connection, close], #{count := Count}, #{code := Code}} <- look()])
        end)
    end) end}.

%% What has not been told when a server stops is told then: the ends of its connections.
stopped_test_() ->
    {timeout, 60, fun() -> with_library(fun() ->
        _ = look(),
        {ok, Server} = sockeye:start_link(#{port => 0}),
        {Client, _} = test_support:open(test_support:port(Server)),
        Self = self(),
        _ = spawn_link(fun() -> Self ! {stopped, sockeye:stop(Server)} end),
        {close, 1001, _} = ws_client:recv(Client),
        ok = ws_client:close(Client, 1001, <<>>),
        receive {stopped, ok} -> ok after ?TIMEOUT -> error(not_stopped) end,
        Events = look(),
        ?assertEqual([{[sockeye, connection, open], 1, none}, {[sockeye, connection, close], 1, 1001}],
                     [{Event, Count, maps:get(code, About, none)}
                      || {[sockeye, connection | _] = Event, #{count := Count}, #{server := S} = About} <- Events, S =:= Server]),
        ws_client:drop_all(),
        test_support:flush()
    end) end}.

%% A queue that is full: for one client and for all.
full_test_() ->
    {timeout, 60, fun() -> with_library(fun() ->
        with_server(#{send_queue_size => 1000}, fun(Port, Server) ->
            Client = ws_client:connect(Port, #{socket => [{recbuf, 4096}]}),
            Conn = test_support:opened(),
            _ = test_support:fill(Conn, fun(_) -> sockeye:send(Conn, {binary, binary:copy(<<0>>, 100000)}) end),
            {ok, #{dropped := 1}} = sockeye:broadcast(Server, {text, <<"more">>}, #{wait => true}),
            Events = names(look()),
            ?assertMatch([#{count := N}] when N > 0, [M || {[sockeye, send, busy], M} <- Events]),
            ?assertEqual([#{count => 1}], [M || {[sockeye, send, drop], M} <- Events]),
            ws_client:drop(Client)
        end)
    end) end}.

exceptions_test_() ->
    {timeout, 60, fun() -> with_library(fun() ->
        ok = gen_server:call(sockeye_telemetry, look),
        Frame = fun({json, <<"stop">>}, _, State) -> {stop, wanted, State};
                   (_, _, _) -> error(wanted)
                end,
        Http = #{"/" => fun(_) -> throw(wanted) end},
        quiet(fun() -> with_handler(#{frame => Frame}, #{processes => per_connection, http => Http}, fun(Port, Server) ->
            [begin
                 Client = ws_client:connect(Port),
                 ok = ws_client:text(Client, Text),
                 ?assertMatch({close, 1011, _}, ws_client:recv(Client))
             end || Text <- [<<"1">>, <<"\"stop\"">>]],
            {500, _, _} = http_client:get(Port, "/"),
            [?assertEqual({event, Kind, wanted, Callback}, exception(Server))
             || {Kind, Callback} <- [{error, handle_frame}, {exit, handle_frame}, {throw, http}]]
        end) end)
    end) end}.

exception(Server) ->
    receive {event, [sockeye, handler, exception], #{count := 1},
             #{server := Server, kind := Kind, reason := Reason, stacktrace := [_ | _], callback := Callback}} ->
            {event, Kind, Reason, Callback};
            {event, [sockeye, handler, exception], #{count := 1},
             #{server := Server, kind := exit, reason := Reason, stacktrace := [], callback := Callback}} ->
            {event, exit, Reason, Callback}
    after ?TIMEOUT -> error(events())
    end.

restart_test_() ->
    {timeout, 60, fun() -> with_library(fun() ->
        Monitor = monitor(process, sockeye_engine),
        quiet(fun() ->
            ok = sockeye_engine:restart(),
            receive {'DOWN', Monitor, process, _, _} -> ok end,
            ok = sockeye_engine:ensure_running()
        end),
        Engine = sockeye_backend:engine(),
        %% Others are of servers before this one.
        ?assertEqual([{[sockeye, engine, restart], #{count => 1}, #{engine => Engine}}],
                     [Event || {[sockeye, engine | _], _, _} = Event <- look()])
    end) end}.

%% A function that fails, and one whose module has gone, cost nobody anything.
failing_test_() ->
    {timeout, 60, fun() -> with_library(fun() ->
        with_server(#{}, fun(Port, _Server) ->
            _ = look(),
            Pid = whereis(sockeye_telemetry),
            _ = code:delete(telemetry),
            _ = code:purge(telemetry),
            _ = test_support:open(Port),
            ?assertEqual([], look()),
            ?assertEqual(Pid, whereis(sockeye_telemetry)),
            library()
        end)
    end) end}.

%% Without the library there is no process, and nothing is looked at.
absent_test() ->
    {ok, _} = application:ensure_all_started(sockeye),
    ?assertNot(sockeye_telemetry:is_there()),
    ?assertEqual(undefined, whereis(sockeye_telemetry)),
    ?assertEqual(ok, sockeye_telemetry:exception({error, wanted, []}, #{}, fun() -> error(asked) end)).
