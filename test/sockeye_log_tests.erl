%% Logging: maps in our domain, and a line for people.
-module(sockeye_log_tests).

-include_lib("eunit/include/eunit.hrl").

-export([log/2]).

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
        {logged, #{meta := #{domain := [sockeye]}} = Event} -> Event;
        {logged, _} -> logged()
    after 10000 ->
            error(nothing_logged)
    end.

line(#{msg := {report, Report}, meta := #{report_cb := Format}}) ->
    {Text, Args} = Format(Report),
    lists:flatten(io_lib:format(Text, Args)).

a_report_and_its_line_test() ->
    with_log(fun() ->
        ok = sockeye_log:event(warning, accept_error, #{reason => <<"no more files">>}),
        #{level := warning, msg := {report, Report}} = Event = logged(),
        ?assertEqual(#{what => accept_error, reason => <<"no more files">>}, Report),
        ?assertEqual("sockeye: accept_error, reason: <<\"no more files\">>", line(Event))
    end).

events_of_the_engine_are_logged_test() ->
    with_log(fun() ->
        sockeye_test:with_server(#{}, fun(_, Server) ->
            sockeye_engine ! {sockeye_event, panic, #{message => <<"boom">>}},
            ?assertMatch(#{level := error, msg := {report, #{what := panic, message := <<"boom">>}}},
                         logged()),
            Server ! {sockeye_event, accept_error, #{reason => <<"why">>}},
            ?assertMatch(#{level := warning, msg := {report, #{what := accept_error, server := Server}}},
                         logged())
        end)
    end).

failed_commands_of_a_handler_without_handle_info_test() ->
    with_log(fun() ->
        Options = #{handler => {bare_handler, []}, format => raw, send_queue_size => 100},
        sockeye_test:with_server(Options, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            %% Two frames at once that do not fit together.
            Frame = ws_client:encode(2, <<0:80/unit:8>>),
            ok = ws_client:raw(Socket, [Frame, Frame, Frame]),
            #{level := warning, msg := {report, Report}} = logged(),
            ?assertMatch(#{what := commands_failed, module := bare_handler, first := {_, busy}}, Report)
        end)
    end).
