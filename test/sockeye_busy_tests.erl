%% `busy' is about the queue of a client, and about nothing else: when a thread of the engine has more to do than
%% may wait for it, callers wait, and nothing is lost.
-module(sockeye_busy_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(slow_engine, [with_one_thread/1, with_occupied/1, fill/2, fill_all/3, done/0, queued/0, delayed/0]).

%% Calls that may wait for a thread.
-define(CALLS, 8192).
%% Bytes of frames for many connections that may.
-define(FRAMES, 16 * 1024 * 1024).
-define(NEWS, 40).
-define(TIMEOUT, 60000).

%% Replies of handlers, and what is published meanwhile, when the queue of the engine's thread is full.
burst_test_() ->
    {setup,
     fun() -> {ok, Started} = application:ensure_all_started(ssl), {Started, test_certs:localhost()} end,
     fun({Started, _}) -> [application:stop(App) || App <- lists:reverse(Started)] end,
     fun({_, Certs}) ->
         [{lists:flatten(io_lib:format("~p, ~p", [Transport, Processes])),
           {timeout, 120, fun() -> with_one_thread(fun() -> burst(Transport, Processes, Clients, Certs) end) end}}
          || {Transport, Clients} <- [{tcp, 200}, {tls, 50}, {http2, 64}],
             Processes <- [one, 4, per_connection]]
     end}.

burst(Transport, Processes, Count, Certs) ->
    Self = self(),
    Gate = fun(Frame, _Conn, S) -> S =:= through orelse begin
                                       Self ! {at_gate, self()},
                                       receive gate_opens -> ok after ?TIMEOUT -> error(no_gate) end
                                   end,
                                   {[{reply, Frame}], through}
           end,
    Funs = #{frame => Gate, open => fun(_, _, S) -> {[{subscribe, <<"news">>}], S} end},
    Options = maps:merge((test_support:patient())#{port => 0, handler => {fun_handler, Funs}, processes => Processes, format => raw},
                         transport(Transport, Certs)),
    with_occupied(fun(Other, Occupy) ->
        {ok, Server} = sockeye:start_link(Options),
        Clients = connect(Transport, test_support:port(Server), Count),
        subscribed(Server, Count),
        say(Transport, Clients),
        Waiting = [receive {at_gate, Pid} -> Pid after ?TIMEOUT -> error(nobody_at_gate) end
                   || _ <- lists:seq(1, case Processes of one -> 1; 4 -> 4; _ -> Count end)],
        Before = delayed(),
        Occupy(),
        ok = fill(Other, ?CALLS),
        [Pid ! gate_opens || Pid <- Waiting],
        News = [<<N:16, 0:(4094 * 8)>> || N <- lists:seq(1, ?NEWS)],
        [?assertEqual(ok, sockeye:publish(Server, <<"news">>, {binary, One})) || One <- News],
        Got = receive_all(Transport, Clients, 1 + ?NEWS),
        [begin
             ?assertEqual([text(N)], [Text || {text, Text} <- Messages]),
             ?assertEqual(News, [Data || {binary, Data} <- Messages])
         end || {N, Messages} <- lists:zip(lists:seq(1, Count), Got)],
        %% Where each of the calls before goes to another process and back, the thread may be at rest again.
        ?assert(sockeye_backend:engine() =:= port orelse delayed() - Before > length(Waiting)),
        ?assertMatch({ok, #{dropped := 0, busy := 0}}, sockeye:info(Server)),
        [gen_tcp:close(Socket) || Transport =:= http2, Socket <- [Clients]],
        ws_client:drop_all(),
        ok = sockeye:stop(Server)
    end).

transport(tcp, _) -> #{};
transport(tls, Certs) -> #{tls => Certs};
transport(http2, _) -> #{http2 => cleartext}.

connect(tcp, Port, Count) -> [ws_client:connect(Port) || _ <- lists:seq(1, Count)];
connect(tls, Port, Count) -> [ws_client:connect(Port, #{tls => [{verify, verify_none}]}) || _ <- lists:seq(1, Count)];
connect(http2, Port, Count) ->
    Socket = hostile_client:connect(Port),
    Hello = [h2_frames:hello([{4, 16#100000}]), h2_frames:frame(4, 1, 0, []), h2_frames:window(0, 16#1000000)],
    ok = gen_tcp:send(Socket, [Hello | [h2_frames:open_stream(2 * N - 1) || N <- lists:seq(1, Count)]]),
    Socket.

subscribed(Server, Count) ->
    hostile_client:until(fun() -> sockeye:topics(Server) =:= {ok, #{<<"news">> => Count}} end).

text(N) -> <<"number ", (integer_to_binary(N))/binary>>.

say(http2, Socket) ->
    ok = gen_tcp:send(Socket, [h2_frames:data(2 * N - 1, ws_client:encode(1, text(N))) || N <- lists:seq(1, 64)]);
say(_, Sockets) ->
    [ok = ws_client:text(Socket, text(N)) || {N, Socket} <- lists:zip(lists:seq(1, length(Sockets)), Sockets)].

%% What each client gets, until all have so many messages.
receive_all(http2, Socket, Each) ->
    Streams = streams(Socket, maps:from_list([{2 * N - 1, {<<>>, []}} || N <- lists:seq(1, 64)]), 64 * Each),
    [lists:reverse(Messages) || {_, {_, Messages}} <- lists:sort(maps:to_list(Streams))];
receive_all(_, Sockets, Each) ->
    [[case ws_client:recv(Socket) of
          {_, _} = Message -> Message;
          Nothing -> error({missing, Nothing})
      end || _ <- lists:seq(1, Each)] || Socket <- Sockets].

streams(_Socket, Streams, 0) ->
    Streams;
streams(Socket, Streams, Missing) ->
    case h2_frames:next(Socket) of
        {0, _, Stream, Data} ->
            {Rest, Got} = maps:get(Stream, Streams),
            {More, New} = messages(<<Rest/binary, Data/binary>>, []),
            streams(Socket, Streams#{Stream := {More, New ++ Got}}, Missing - length(New));
        closed ->
            error({closed, Missing});
        _ ->
            streams(Socket, Streams, Missing)
    end.

%% Last first.
messages(<<1:1, 0:3, Op:4, Len, Data:Len/binary, Rest/binary>>, Got) when Len < 126 ->
    messages(Rest, [{kind(Op), Data} | Got]);
messages(<<1:1, 0:3, Op:4, 126, Len:16, Data:Len/binary, Rest/binary>>, Got) ->
    messages(Rest, [{kind(Op), Data} | Got]);
messages(Rest, Got) ->
    {Rest, Got}.

kind(1) -> text;
kind(2) -> binary.

%% One more call than may wait keeps its caller waiting.
bound_of_calls_test_() ->
    {timeout, 120, fun() ->
        with_one_thread(fun() -> with_occupied(fun(Conn, Occupy) ->
            [begin
                 Waits = fun() -> Before = delayed(), ok = fill_all(Conn, Occupy, ?CALLS - 1), ok = fill(Conn, More), delayed() - Before end,
                 ?assertEqual(Expected, first(Waits, Expected, 5)),
                 done()
             end || {More, Expected} <- [{0, 0}, {1, 0}, {2, 1}]]
        end) end)
    end}.

%% What Waits says, which says less where the thread comes to rest in the middle.
first(Waits, Expected, Tries) ->
    case Waits() of
        Less when Less < Expected, Tries > 1 -> done(), first(Waits, Expected, Tries - 1);
        Delayed -> Delayed
    end.

%% So does one more byte of what is for many.
bound_of_frames_test_() ->
    {timeout, 120, fun() ->
        with_one_thread(fun() -> with_occupied(fun(_, Occupy) ->
            {ok, Server} = sockeye:start_link(#{port => 0}),
            [begin
                 Occupy(),
                 Before = delayed(),
                 ok = sockeye:broadcast(Server, frame(?FRAMES - 1000)),
                 ok = sockeye:broadcast(Server, frame(Second)),
                 ?assertEqual(Expected, delayed() - Before),
                 done()
             end || {Second, Expected} <- [{999, 0}, {1000, 0}, {1001, 1}]],
            ok = sockeye:stop(Server)
        end) end)
    end}.

%% So many bytes on the wire.
frame(Size) when Size > 65545 -> {binary, binary:copy(<<0>>, Size - 10)};
frame(Size) -> {binary, binary:copy(<<0>>, Size - 4)}.

%% Every call that gives a thread something, when too much waits for it already.
nothing_is_refused_test_() ->
    {timeout, 120, fun() ->
        with_one_thread(fun() -> with_occupied(fun(Other, Occupy) ->
            {ok, Server} = sockeye:start_link(#{port => 0, format => raw}),
            Port = test_support:port(Server),
            [{_, A}, {_, B}, {Socket, C}] = [test_support:open(Port) || _ <- lists:seq(1, 3)],
            ok = sockeye:subscribe(C, <<"t">>),
            Heir = spawn_link(fun() -> receive stop -> ok end end),
            Text = {text, <<"x">>},
            Waiting = [{fun() -> sockeye:send(C, Text) end, ok},
                       {fun() -> sockeye:send(C, {uncompressed, Text}) end, ok},
                       {fun() -> sockeye:send(C, [{stream, text, first, <<"a">>}, {stream, text, last, <<"b">>}]) end, ok},
                       {fun() -> sockeye:send([A, B, C], Text) end, ok},
                       {fun() -> sockeye:send_message(Server, Text) end, ok},
                       {fun() -> sockeye:broadcast_from(A, Text) end, ok},
                       {fun() -> sockeye:publish(Server, <<"t">>, Text) end, ok},
                       {fun() -> sockeye:publish_from(A, <<"t">>, Text) end, ok},
                       {fun() -> sockeye:subscribe(A, <<"u">>) end, ok},
                       {fun() -> sockeye:unsubscribe(C, <<"t">>) end, ok},
                       {fun() -> sockeye:setopts(A, [{active, 1}, {max_age, infinity}]) end, ok},
                       {fun() -> sockeye:close(A) end, ok}],
            Answered = [{fun() -> sockeye:broadcast(Server, Text, #{wait => true}) end, {ok, #{sent => 2, dropped => 0}}},
                        {fun() -> sockeye:publish(Server, <<"none">>, Text, #{wait => true}) end,
                         {ok, #{sent => 0, dropped => 0}}},
                        {fun() -> sockeye:controlling_process(B, Heir) end, ok},
                        {fun() -> {ok, #{path := Path}} = sockeye:info(C), Path end, <<"/">>},
                        {fun() -> sockeye:subscribers(Server, <<"t">>) end, {ok, []}}],
            ok = fill_all(Other, Occupy, ?CALLS),
            Before = delayed(),
            %% One after the other, each from a process of its own.
            Started = [start(Call, Expected) || {Call, Expected} <- Waiting ++ Answered],
            [?assertEqual(Expected, ended(Pid, Monitor)) || {Pid, Monitor, Expected} <- Started],
            %% What an engine in a process of its own reads at once goes to its thread in one piece.
            Delayed = delayed() - Before,
            ?assert(Delayed =:= length(Waiting) orelse sockeye_backend:engine() =:= port andalso Delayed > 0 andalso Delayed < length(Waiting)),
            ?assertMatch({ok, #{dropped := 0, busy := 0}}, sockeye:info(Server)),
            ?assertEqual(lists:duplicate(2, <<"x">>), [ws_client:recv_data(Socket) || _ <- [1, 2]]),
            Heir ! stop,
            ws_client:drop_all(),
            ok = sockeye:stop(Server)
        end) end)
    end}.

%% Returns when the process has made its call, or waits in it.
start(Call, Expected) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({answer, Call()}) end),
    wait_for_call(Pid),
    {Pid, Monitor, Expected}.

wait_for_call(Pid) ->
    case process_info(Pid, status) of
        {status, waiting} -> ok;
        undefined -> ok;
        _ -> erlang:yield(), wait_for_call(Pid)
    end.

ended(Pid, Monitor) ->
    receive {'DOWN', Monitor, process, Pid, {answer, Answer}} -> Answer
    after ?TIMEOUT -> error({waits, process_info(Pid)})
    end.

%% Far more callers than the VM has threads: each has its turn, and files are read meanwhile.
many_callers_test_() ->
    {timeout, 120, fun() ->
        with_one_thread(fun() -> with_occupied(fun(Conn, Occupy) ->
            ok = fill_all(Conn, Occupy, ?CALLS),
            Before = delayed(),
            Count = 20000,
            Pids = [spawn_monitor(fun() -> exit({answer, sockeye:send(Conn, {ping, <<>>})}) end) || _ <- lists:seq(1, Count)],
            hostile_client:until(fun() -> delayed() - Before > 0 end),
            ?assertMatch({ok, _}, file:read_file(code:which(?MODULE))),
            ?assert(queued() > ?CALLS),
            [?assertEqual(ok, ended(Pid, Monitor)) || {Pid, Monitor} <- Pids],
            ?assert(delayed() - Before > Count div 2),
            done()
        end) end)
    end}.

%% Who waits goes on when the engine ends; who is killed meanwhile is no harm.
end_of_the_engine_test_() ->
    [{atom_to_list(End), {timeout, 120, fun() ->
        with_one_thread(fun() ->
            test_support:quiet(fun() -> with_occupied(fun(Conn, Occupy) ->
                ok = fill_all(Conn, Occupy, ?CALLS),
                Pids = [spawn_monitor(fun() -> exit({answer, sockeye:send(Conn, {ping, <<>>})}) end) || _ <- lists:seq(1, 100)],
                hostile_client:until(fun() -> queued() >= ?CALLS + 200 end),
                {Killed, Waiting} = lists:split(10, Pids),
                [exit(Pid, kill) || {Pid, _} <- Killed],
                process_flag(trap_exit, true),
                case End of
                    stop -> ok = application:stop(sockeye);
                    kill -> exit(whereis(sockeye_engine), kill)
                end,
                %% A process of its own may have ended before it could say that it has taken them.
                Ends = case sockeye_backend:engine() of nif -> [ok]; port -> [ok, {error, closed}] end,
                ?assertEqual([], lists:usort([ended(Pid, Monitor) || {Pid, Monitor} <- Waiting]) -- Ends),
                %% Of the server, which is linked.
                receive {'EXIT', _, _} -> ok after ?TIMEOUT -> error(server_lives) end,
                process_flag(trap_exit, false),
                test_support:flush()
            end) end)
        end)
    end}} || End <- [stop, kill]].

%% A client that is slow makes its sender busy, which is counted; what is for many is dropped, which is counted, too.
counters_test() ->
    test_support:with_server(#{send_queue_size => 1000, format => raw}, fun(Port, Server) ->
        {_, Conn} = test_support:open(Port),
        ok = until_full(Conn),
        {ok, #{busy := Busy, dropped := Dropped}} = sockeye:info(Server),
        {error, busy} = sockeye:send(Conn, {binary, <<0:8000>>}),
        {error, [{Conn, busy}]} = sockeye:send([Conn], {binary, <<0:8000>>}),
        {ok, #{sent := 0, dropped := 1}} = sockeye:broadcast(Server, {binary, <<0:8000>>}, #{wait => true}),
        ?assertMatch({ok, #{busy := B, dropped := D}} when B =:= Busy + 2 andalso D =:= Dropped + 1, sockeye:info(Server))
    end).

%% More than the system's buffers take.
until_full(Conn) ->
    ok = sockeye:send(Conn, {binary, binary:copy(<<0>>, 64 * 1024 * 1024)}),
    {ok, #{send_queue := Queue}} = sockeye:info(Conn),
    true = Queue > 1000,
    ok.

%% What the server ends for a limit or a fault is counted once, what either side closes in order is not.
failed_test_() ->
    Deliver = fun(Bytes) -> fun(Socket, _) -> ok = ws_client:raw(Socket, Bytes) end end,
    Close = fun(Socket, Conn) -> ok = sockeye:close(Conn), {close, 1000, _} = ws_client:recv(Socket),
                                 ok = ws_client:close(Socket, 1000, <<>>) end,
    Cases = [{1009, 1, #{max_message_size => 10}, Deliver(ws_client:encode(2, <<0:88>>))},
             {1008, 1, #{max_fragments => 1}, Deliver([ws_client:encode(2, <<>>, #{fin => 0}), ws_client:encode(0, <<>>)])},
             {1008, 1, #{message_rate => #{rate => 1, burst => 1, action => close}},
              Deliver([ws_client:encode(2, <<N>>) || N <- [1, 2, 3]])},
             {1007, 1, #{format => json}, Deliver(ws_client:encode(1, <<"no">>))},
             {1002, 1, #{}, Deliver(ws_client:encode(3, <<>>))},
             {1001, 1, #{idle_timeout => 200, ping_interval => infinity}, fun(_, _) -> ok end},
             {1001, 0, #{max_age => 200}, fun(Socket, _) -> {close, 1001, _} = ws_client:recv(Socket), ok = ws_client:close(Socket, 1001, <<>>) end},
             {1000, 0, #{}, Close},
             {4000, 0, #{}, fun(Socket, _) -> ok = ws_client:close(Socket, 4000, <<>>) end},
             {1006, 0, #{}, fun(Socket, _) -> ws_client:drop(Socket) end}],
    [{lists:flatten(io_lib:format("~p ~p", [Code, maps:to_list(Options)])),
      fun() ->
          test_support:with_server(maps:merge(#{format => raw}, Options), fun(Port, Server) ->
              {Socket, Conn} = test_support:open(Port),
              _ = Do(Socket, Conn),
              ?assertEqual(Code, test_support:closed(Conn)),
              ?assertMatch({ok, #{failed := Failed}}, sockeye:info(Server))
          end)
      end} || {Code, Failed, Options, Do} <- Cases].
