%% A server that ends in good order.
-module(sockeye_drain_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, with_handler/3, open/1, event/1]).

%% Clients in processes of their own, which answer the Close frame and tell its code.
clients(Port, N) ->
    Self = self(),
    Pids = [spawn_link(fun() ->
                               Socket = ws_client:connect(Port),
                               Self ! {ready, self()},
                               {close, Code, Reason} = ws_client:recv(Socket),
                               Self ! {ended, {Code, Reason}, erlang:monotonic_time(millisecond)},
                               _ = ws_client:close(Socket, Code, <<>>),
                               closed = ws_client:recv(Socket)
                       end) || _ <- lists:seq(1, N)],
    [receive {ready, Pid} -> ok end || Pid <- Pids],
    ok.

ended(N) ->
    [receive {ended, How, When} -> {How, When} end || _ <- lists:seq(1, N)].

in_batches_test() ->
    Self = self(),
    Funs = #{close => fun(_, Code, _, S) -> Self ! {handler, Code}, {[], S} end},
    with_handler(Funs, #{}, fun(Port, Server) ->
        ok = clients(Port, 10),
        Options = #{per_interval => 3, interval => 50, code => 1012, reason => "again"},
        ?assertEqual({ok, #{closed => 10, unanswered => 0}}, sockeye:drain(Server, Options)),
        Ended = ended(10),
        [?assertEqual({1012, <<"again">>}, How) || {How, _} <- Ended],
        Times = [Time || {_, Time} <- Ended],
        %% Three pauses between four batches.
        ?assert(lists:max(Times) - lists:min(Times) >= 100),
        [?assertMatch({handler, _}, receive {handler, _} = M -> M after 0 -> none end)
         || _ <- lists:seq(1, 10)],
        ?assertNot(is_process_alive(Server))
    end).

the_server_has_ended_test() ->
    [begin
         {ok, Server} = sockeye:start_link(0),
         ?assertEqual({ok, #{closed => 0, unanswered => 0}}, sockeye:drain(Server, #{})),
         ?assertNot(is_process_alive(Server))
     end || _ <- lists:seq(1, 200)].

the_port_is_free_at_once_test() ->
    with_server(#{}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        Self = self(),
        _ = spawn_link(fun() -> Self ! {result, sockeye:drain(Server, #{deadline => 20000})} end),
        ?assertMatch({close, 1001, _}, ws_client:recv(Socket)),
        {ok, Next} = sockeye:start_link(#{port => Port, handler => Self}),
        ?assertEqual({error, draining}, sockeye:drain(Server, #{})),
        _ = ws_client:close(Socket, 1001, <<>>),
        ?assertMatch({closed, 1001, _}, event(Conn)),
        ?assertEqual({result, {ok, #{closed => 1, unanswered => 0}}}, test_support:message()),
        ok = sockeye:stop(Next)
    end).

who_does_not_answer_is_cut_off_at_the_deadline_test() ->
    with_server(#{}, fun(Port, Server) ->
        {_Socket1, Conn1} = open(Port),
        {Socket2, Conn2} = open(Port),
        Begin = erlang:monotonic_time(millisecond),
        _ = spawn_link(fun() -> ws_client:recv_close(Socket2) end),
        ?assertEqual({ok, #{closed => 1, unanswered => 1}},
                     sockeye:drain(Server, #{deadline => 300, interval => 10})),
        Took = erlang:monotonic_time(millisecond) - Begin,
        ?assert(Took >= 300),
        ?assertMatch({closed, _, _}, test_support:event(Conn2)),
        ?assertMatch({closed, 1006, _}, test_support:event(Conn1))
    end).

without_connections_test() ->
    with_server(#{}, fun(_Port, Server) ->
        ?assertEqual({ok, #{closed => 0, unanswered => 0}}, sockeye:drain(Server, #{})),
        ?assertEqual({error, not_found}, sockeye:drain(Server, #{})),
        ?assertEqual({error, not_found}, sockeye:drain(no_such_server, #{}))
    end).

a_process_each_test() ->
    Self = self(),
    Funs = #{close => fun(_, _, _, S) -> Self ! closed, {[], S} end},
    with_handler(Funs, #{processes => per_connection}, fun(Port, Server) ->
        ok = clients(Port, 5),
        ?assertEqual({ok, #{closed => 5, unanswered => 0}}, sockeye:drain(Server, #{per_interval => 2, interval => 10})),
        _ = ended(5),
        [receive closed -> ok after 0 -> error(no_last_word) end || _ <- lists:seq(1, 5)]
    end).

bad_options_are_named_test() ->
    with_server(#{}, fun(_Port, Server) ->
        [?assertMatch({error, {bad_option, Key, _}}, sockeye:drain(Server, #{Key => Value}))
         || {Key, Value} <- [{batch, 0}, {interval, 0}, {interval, infinity}, {deadline, 0}, {code, 1000},
                             {code, 5000}, {reason, binary:copy(<<"a">>, 124)}, {reason, <<255>>},
                             {reason, undefined}, {bach, 10}]],
        ?assertError(badarg, sockeye:drain(Server, [])),
        ?assert(is_process_alive(Server))
    end).

%% More than one batch, and each client is told.
a_supervisor_closes_in_batches_as_well_test_() ->
    {timeout, 60, fun() ->
        Child = sockeye:child_spec(#{port => 0, handler => {fun_handler, #{}}, name => drain_me}),
        {ok, Sup} = supervisor:start_link(test_sup, [Child]),
        {ok, #{port := Port}} = sockeye:info(drain_me),
        N = 150,
        ok = clients(Port, N),
        unlink(Sup),
        exit(Sup, shutdown),
        Ended = ended(N),
        [?assertMatch({1001, _}, How) || {How, _} <- Ended],
        Times = [Time || {_, Time} <- Ended],
        ?assert(lists:max(Times) - lists:min(Times) >= 50),
        test_support:flush()
    end}.

%% A load balancer that keeps its connection hears that no more should come.
health_says_so_test() ->
    with_server(#{health => <<"/health">>}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        {ok, Http} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {packet, http_bin}]),
        ?assertEqual(200, health(Http)),
        Self = self(),
        _ = spawn_link(fun() -> Self ! {result, sockeye:drain(Server, #{})} end),
        ?assertMatch({close, 1001, _}, ws_client:recv(Socket)),
        ?assertEqual(503, health(Http)),
        _ = ws_client:close(Socket, 1001, <<>>),
        ?assertMatch({closed, 1001, _}, event(Conn)),
        ?assertMatch({result, {ok, _}}, test_support:message()),
        gen_tcp:close(Http)
    end).

health(Http) ->
    ok = inet:setopts(Http, [{packet, http_bin}]),
    ok = gen_tcp:send(Http, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"),
    {ok, {http_response, _, Status, _}} = gen_tcp:recv(Http, 0, 60000),
    Length = header(Http, 0),
    ok = inet:setopts(Http, [{packet, raw}]),
    {ok, _} = gen_tcp:recv(Http, Length, 60000),
    Status.

header(Http, Length) ->
    case gen_tcp:recv(Http, 0, 60000) of
        {ok, {http_header, _, 'Content-Length', _, Value}} -> header(Http, binary_to_integer(Value));
        {ok, {http_header, _, _, _, _}} -> header(Http, Length);
        {ok, http_eoh} -> Length
    end.

%% Ordinary requests, over each version of HTTP: who is being answered gets the whole answer before the server ends.
an_answer_is_waited_for_test_() ->
    [{Name, fun() ->
        Self = self(),
        Answer = fun(_) -> Self ! {asked, self()}, receive go_on -> {200, [], "whole"} end end,
        with_server(#{http => #{"/x" => Answer}, http2 => cleartext, accept_timeout => 30000}, fun(Port, Server) ->
            Socket = asking(Port, Ask),
            Function = receive {asked, Pid} -> Pid end,
            ok = drains(Server, #{deadline => 30000}),
            {error, econnrefused} = refused(Port),
            ?assertMatch({ok, #{answering := 1}}, sockeye:info(Server)),
            Function ! go_on,
            ?assertMatch({match, _}, re:run(everything(Socket), "whole")),
            receive {result, Result} -> ?assertEqual({ok, #{closed => 0, unanswered => 0}}, Result) end
        end)
    end} || {Name, Ask} <- requests()].

%% Neither one that takes for ever, nor one whose client takes what comes without end, holds up the end.
an_answer_without_end_is_not_waited_for_test_() ->
    [{lists:concat([Name, ", ", How]), fun() ->
        Self = self(),
        Answer = fun(_) -> {200, [], {stream, fun(Send) -> Self ! asked, without_end(Send) end}} end,
        with_server(#{http => #{"/x" => Answer}, http2 => cleartext}, fun(Port, Server) ->
            Socket = asking(Port, Ask),
            receive asked -> ok end,
            Begin = erlang:monotonic_time(millisecond),
            _ = case How of
                    drain -> {ok, _} = sockeye:drain(Server, #{deadline => 100});
                    stop -> ok = sockeye:stop(Server)
                end,
            %% A second is given, and the test has a busy machine.
            ?assert(erlang:monotonic_time(millisecond) - Begin < 4000),
            ok = gen_tcp:close(Socket)
        end)
    end} || {Name, Ask} <- requests(), How <- [drain, stop]].

%% Nor does a connection on which nobody asks.
connections_without_a_request_test_() ->
    [{Name, fun() ->
        with_server(#{http => #{"/x" => {text, "whole"}}, http2 => cleartext}, fun(Port, Server) ->
            Socket = asking(Port, Ask),
            {ok, _} = gen_tcp:recv(Socket, 0),
            ?assertEqual({ok, #{closed => 0, unanswered => 0}}, sockeye:drain(Server, #{deadline => infinity})),
            ok = gen_tcp:close(Socket)
        end)
    end} || {Name, Ask} <- requests()].

%% A supervisor gives them a second.
a_supervisor_waits_for_an_answer_test() ->
    Self = self(),
    Answer = fun(_) -> Self ! {asked, self()}, receive go_on -> {200, [], "whole"} end end,
    Child = sockeye:child_spec(#{port => 0, http => #{"/x" => Answer}, handler => {fun_handler, #{}}, name => drain_me}),
    {ok, Sup} = supervisor:start_link(test_sup, [Child]),
    {ok, #{port := Port}} = sockeye:info(drain_me),
    Socket = asking(Port, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"),
    Function = receive {asked, Pid} -> Pid end,
    unlink(Sup),
    exit(Sup, shutdown),
    {error, econnrefused} = refused(Port),
    Function ! go_on,
    ?assertMatch({match, _}, re:run(everything(Socket), "whole")).

requests() ->
    [{"HTTP/1.1", "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"},
     {"HTTP/2", [h2_frames:hello(), h2_frames:frame(4, 1, 0, []), h2_frames:get(1, <<"/x">>)]}].

asking(Port, Ask) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Socket, Ask),
    Socket.

everything(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Some} -> <<Some/binary, (everything(Socket))/binary>>;
        {error, _} -> <<>>
    end.

without_end(Send) ->
    case Send("piece") of
        ok -> receive after 10 -> without_end(Send) end;
        {error, closed} -> ok
    end.

drains(Server, Options) ->
    Self = self(),
    _ = spawn_link(fun() -> Self ! {result, sockeye:drain(Server, Options)} end),
    ok.

%% The size of a batch: what was asked for, or what the time needs.
size_of_a_batch_test() ->
    %% 251 batches: now, and after each of 250 intervals.
    [?assertEqual({Left, Size}, {Left, sockeye_drain:size(Left, 100, 100, 25000)})
     || {Left, Size} <- [{0, 100}, {1, 100}, {25100, 100}, {25101, 101}, {100000, 399}]],
    %% Time for one more, and for none: then all at once.
    [?assertEqual({Time, Size}, {Time, sockeye_drain:size(1000, 100, 100, Time)})
     || {Time, Size} <- [{199, 500}, {100, 500}, {99, 1000}, {0, 1000}, {-5, 1000}]].

%% More than the batch and the deadline allow: they are spread over the time all the same, and none
%% that answers is counted as unanswered.
more_than_the_batch_allows_test_() ->
    {timeout, 60, fun() ->
        with_server(#{}, fun(Port, Server) ->
            N = 200,
            ok = clients(Port, N),
            Options = #{per_interval => 1, interval => 50, deadline => 2000},
            ?assertEqual({ok, #{closed => N, unanswered => 0}}, sockeye:drain(Server, Options)),
            Ended = ended(N),
            [?assertMatch({1001, _}, How) || {How, _} <- Ended],
            Times = lists:sort([Time || {_, Time} <- Ended]),
            %% Not in one moment.
            ?assert(lists:last(Times) - hd(Times) >= 1000)
        end)
    end}.

%% Nor one whose client only hears of it after the deadline, and answers then.
answered_after_the_deadline_test() ->
    with_server(#{}, fun(Port, Server) ->
        {Socket, _} = open(Port),
        Self = self(),
        _ = spawn_link(fun() -> Self ! {result, sockeye:drain(Server, #{deadline => 100, interval => 10})} end),
        {close, 1001, _} = ws_client:recv(Socket),
        {error, econnrefused} = refused(Port),
        receive after 150 -> ok end,
        _ = ws_client:close(Socket, 1001, <<>>),
        receive {result, Result} -> ?assertEqual({ok, #{closed => 1, unanswered => 0}}, Result) end
    end).

refused(Port) ->
    case gen_tcp:connect({127, 0, 0, 1}, Port, []) of
        {ok, Socket} -> gen_tcp:close(Socket), refused(Port);
        %% It had waited to be accepted.
        {error, econnreset} -> refused(Port);
        Error -> Error
    end.
