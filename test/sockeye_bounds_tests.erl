%% Bounds of limits.md, met exactly: one less, as many, one more.
-module(sockeye_bounds_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-only_in({nif, [large_frames_of_a_call_test_, light_frames_of_a_call_test_]}).

-include("../erlang/src/handler/sockeye_worker.hrl").

-import(slow_engine, [with_one_thread/1, with_occupied/1]).

-define(TIMEOUT, 60000).
%% What an event costs beside its payload.
-define(EVENT, 64).
-define(STREAMS, 64).
-define(ASKED, 1024).
-define(UNATTACHED, 1024).

%% Of the process of one connection, which is at work meanwhile.
inbox_size_test_() ->
    [{integer_to_list(Last),
      fun() ->
          Self = self(),
          Frame = fun({binary, <<"first">>}, _, S) ->
                          Self ! {at_work, self()},
                          receive go_on -> {[], S} after ?TIMEOUT -> error(not_asked) end;
                     ({binary, Data}, _, S) -> Self ! {got, byte_size(Data)}, {[], S}
                  end,
          Options = #{format => raw, processes => per_connection, inbox_size => 10000},
          test_support:with_handler(#{frame => Frame, open => fun(Conn, _, S) -> Self ! {open, Conn}, {[], S} end},
                                    Options, fun(Port, Server) ->
              Socket = ws_client:connect(Port),
              Conn = receive {open, C} -> C after ?TIMEOUT -> error(not_open) end,
              ok = ws_client:binary(Socket, <<"first">>),
              Pid = receive {at_work, P} -> P after ?TIMEOUT -> error(not_at_work) end,
              %% Of a process of its own, one more batch is on its way.
              Ahead = case sockeye_backend:engine() of nif -> []; port -> [1] end,
              [ok = ws_client:binary(Socket, <<0:(8 * Size)>>) || Size <- Ahead],
              ok = ws_client:ping(Socket, <<"ahead">>),
              {pong, <<"ahead">>} = ws_client:recv(Socket),
              %% It has left the inbox when it has come: that may wait until the engine hears of what was done before.
              Ahead =:= [] orelse hostile_client:until(fun() -> process_info(Pid, message_queue_len) =:= {message_queue_len, 1} end),
              Sizes = [5000 - ?EVENT, Last - ?EVENT],
              [ok = ws_client:binary(Socket, <<0:(8 * Size)>>) || Size <- Sizes],
              %% Behind them: what is answered has been read.
              ok = ws_client:ping(Socket, <<"read">>),
              {pong, <<"read">>} = ws_client:recv(Socket),
              {ok, #{held := Held}} = sockeye:info(Conn),
              ?assertEqual({Last, Last > 5000}, {Last, Held > 0}),
              Pid ! go_on,
              [receive {got, Size} -> ok after ?TIMEOUT -> error({missing, Size}) end || Size <- Ahead ++ Sizes],
              ?assertMatch({ok, #{dropped := 0}}, sockeye:info(Server))
          end)
      end} || Last <- [4999, 5000, 5001]].

%% What one call on a dirty scheduler decodes: 64 KiB, or a frame of any size.
large_frames_of_a_call_test_() ->
    Take = fun(Inbox) -> {sockeye_nif:recv(Inbox, 64), frames(sockeye_nif:recv_dirty(Inbox, 8))} end,
    [{integer_to_list(First + Second), fun() -> ?assertEqual({dirty, Expected}, taken(Take, ",", [First, Second])) end}
     || {First, Second, Expected} <- [{40000, 25535, 2}, {40000, 25536, 2}, {40000, 25537, 1}, {65537, 10, 1}]].

%% On a normal one: 32 KiB, or a frame of up to 64 KiB that has few separators.
light_frames_of_a_call_test_() ->
    Take = fun(Inbox) ->
               Taken = sockeye_nif:recv(Inbox, 64),
               {Taken, case Taken of dirty -> 0; _ -> frames(Taken) end}
           end,
    [{lists:flatten(io_lib:format("~s, ~w", [Fill, Sizes])),
      fun() -> ?assertMatch({_, Expected}, taken(Take, Fill, Sizes)) end}
     || {Fill, Sizes, Expected} <- [{"x", [65536, 10], 1}, {"x", [65537, 10], 0}, {",", [32768, 10], 1}, {",", [32769, 10], 0},
                                    {"x", [10, 32758], 2}, {"x", [10, 32759], 1}]].

taken(Take, Fill, Sizes) ->
    Self = self(),
    Frame = fun({json, <<"first">>}, _, S) ->
                    Self ! {at_work, self()},
                    receive go_on -> ok after ?TIMEOUT -> error(not_asked) end,
                    #s{inbox = Inbox} = get('$sockeye_worker'),
                    Self ! {taken, Take(Inbox)},
                    {[], S};
               (_, _, S) -> {[], S}
            end,
    test_support:with_handler(#{frame => Frame}, #{processes => one, inbox_size => 8 * 1024 * 1024}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"\"first\"">>),
        Pid = receive {at_work, P} -> P after ?TIMEOUT -> error(not_at_work) end,
        [ok = ws_client:text(Socket, [$", lists:duplicate(Size - 2, Fill), $"]) || Size <- Sizes],
        ok = ws_client:ping(Socket, <<"read">>),
        {pong, <<"read">>} = ws_client:recv(Socket),
        Pid ! go_on,
        receive {taken, Taken} -> Taken after ?TIMEOUT -> error(not_taken) end
    end).

frames({more, Events}) -> frames(Events);
frames(Events) -> length([Frame || {json, _} = Frame <- Events]).

send_queue_size_test_() ->
    {timeout, 120, fun() ->
        with_one_thread(fun() -> with_occupied(fun(_, Occupy) ->
            test_support:with_server(#{send_queue_size => 1000}, fun(Port, Server) ->
                [begin
                     {Socket, Conn} = test_support:open(Port),
                     {ok, #{busy := Before}} = sockeye:info(Server),
                     Occupy(),
                     ok = sockeye:send(Conn, wire(600)),
                     ?assertEqual(Expected, sockeye:send(Conn, wire(Second))),
                     {ok, #{busy := Busy}} = sockeye:info(Server),
                     ?assertEqual(case Expected of ok -> 0; _ -> 1 end, Busy - Before),
                     {binary, _} = ws_client:recv(Socket, ?TIMEOUT),
                     Expected =:= ok andalso ({binary, _} = ws_client:recv(Socket, ?TIMEOUT))
                 end || {Second, Expected} <- [{399, ok}, {400, ok}, {401, {error, busy}}]]
            end)
        end) end)
    end}.

%% So many bytes with their header.
wire(Size) -> {binary, <<0:(8 * (Size - 4))>>}.

%% Handshakes that wait for a decision: one more is refused, and counted.
asked_test_() ->
    [{integer_to_list(Count), {timeout, 120, fun() ->
        Gate = spawn_link(fun() -> receive open -> ok end end),
        Accept = fun(_) -> Monitor = monitor(process, Gate),
                           receive {'DOWN', Monitor, process, _, _} -> {accept, #{}} end
                 end,
        Options = #{http2 => cleartext, accept => Accept, accept_timeout => 60000},
        test_support:with_server(Options, fun(Port, Server) ->
            Sockets = open(Port, min(Count, ?ASKED)),
            hostile_client:until(fun() -> asked(Gate) =:= min(Count, ?ASKED) end),
            Refused = case Count > ?ASKED of
                          true -> [More] = open(Port, Count - ?ASKED), status(More);
                          false -> none
                      end,
            ?assertEqual(case Count > ?ASKED of true -> <<"503">>; false -> none end, Refused),
            {ok, #{rejected := Rejected}} = sockeye:info(Server),
            ?assertEqual(max(0, Count - ?ASKED), Rejected),
            Gate ! open,
            hostile_client:until(fun() -> connections(Server) =:= min(Count, ?ASKED) end),
            [gen_tcp:close(Socket) || Socket <- Sockets]
        end)
    end}} || Count <- [?ASKED - 1, ?ASKED, ?ASKED + 1]].

%% Processes that decide: they wait for the end of the gate.
asked(Gate) ->
    {monitored_by, Pids} = process_info(Gate, monitored_by),
    length(Pids).

connections(Server) ->
    {ok, #{connections := Connections}} = sockeye:info(Server),
    Connections.

%% So many WebSockets over as few sockets as can be.
open(Port, Count) when Count > 0 ->
    Socket = hostile_client:connect(Port),
    Some = min(Count, ?STREAMS),
    ok = gen_tcp:send(Socket, [h2_frames:hello([{1, 0}]), h2_frames:frame(4, 1, 0, [])
                               | [h2_frames:open_stream(2 * N - 1) || N <- lists:seq(1, Some)]]),
    [Socket | open(Port, Count - Some)];
open(_Port, _Count) ->
    [].

%% The first status that is not 200.
status(Socket) ->
    case h2_frames:next(Socket) of
        {1, _, _, _} = Head ->
            [{_, Status}] = h2_frames:statuses([Head]),
            integer_to_binary(Status);
        closed -> closed;
        _ -> status(Socket)
    end.

%% Connections whose process has not been started: with so many, the next socket waits to be accepted.
unattached_test_() ->
    [{integer_to_list(Count), {timeout, 120, fun() ->
        test_support:with_handler(#{}, #{http2 => cleartext, processes => per_connection}, fun(Port, Server) ->
            ok = sys:suspend(Server, 60000),
            Sockets = open(Port, Count),
            hostile_client:until(fun() -> connections(Server) =:= Count end),
            Next = hostile_client:connect(Port),
            ok = gen_tcp:send(Next, h2_frames:hello()),
            case Count < ?UNATTACHED of
                true ->
                    _ = h2_frames:next(Next),
                    ?assertMatch({ok, #{accept_pauses := 0}}, sockeye:info(Server));
                false ->
                    hostile_client:until(fun() -> {ok, #{accept_pauses := N}} = sockeye:info(Server), N > 0 end)
            end,
            ok = sys:resume(Server, 60000),
            {4, _, 0, _} = h2_frames:next(Next),
            [gen_tcp:close(Socket) || Socket <- [Next | Sockets]]
        end)
    end}} || Count <- [?UNATTACHED - 1, ?UNATTACHED]].

%% What waits for a client that does not read, out of calls that sent much more to one that does, takes what it is counted as.
what_waits_keeps_nothing_else_test_() ->
    {timeout, 120, fun() ->
        Send = fun({send, To, Frames}, S) -> {[{send, Conn, {binary, Data}} || {Conn, Data} <- Frames], tell(To, S)} end,
        Open = fun(Conn, _, To) -> To ! {open, Conn}, {[], To} end,
        Self = self(),
        Funs = #{init => fun() -> {ok, Self} end, open => Open, info => Send},
        test_support:with_handler(Funs, #{format => raw, send_queue_size => 4 bsl 20, active => true}, fun(Port, Server) ->
            Stalled = ws_client:connect(Port, #{socket => [{recbuf, 4096}]}),
            To = opened(),
            [Handler] = port_node:handlers(Server),
            Large = <<0:(32768 * 8)>>,
            hostile_client:until(fun() ->
                            sent = send(Handler, [{To, Large}]),
                            {ok, #{send_queue := Waiting}} = sockeye:info(To),
                            Waiting > 3 * byte_size(Large)
                        end),
            Readers = [{ws_client:connect(Port), opened()} || _ <- lists:seq(1, 8)],
            {ok, #{send_queue := Waited}} = sockeye:info(To),
            {ok, #{memory := Before}} = sockeye:info(),
            Rounds = 300,
            [begin
                 sent = send(Handler, [{To, <<1:(3000 * 8)>>} | [{Conn, Large} || {_, Conn} <- Readers]]),
                 [?assertEqual(Large, ws_client:recv_data(Socket)) || {Socket, _} <- Readers]
             end || _ <- lists:seq(1, Rounds)],
            {ok, #{send_queue := Waiting}} = sockeye:info(To),
            {ok, #{memory := After}} = sockeye:info(),
            ?assert(Waiting - Waited > Rounds * 3000 div 2),
            ?assertMatch(Held when Held < 20 bsl 20, After - Before),
            ws_client:drop(Stalled)
        end)
    end}.

send(Handler, Frames) ->
    Handler ! {send, self(), Frames},
    receive sent -> sent after ?TIMEOUT -> error(not_sent) end.

tell(To, S) ->
    To ! sent,
    S.

opened() ->
    receive {open, Conn} -> Conn after ?TIMEOUT -> error(not_open) end.
