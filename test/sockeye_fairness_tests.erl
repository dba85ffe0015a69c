%% Many connections, one process, and always more to do than is done: each has its turn.
-module(sockeye_fairness_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-define(CONNS, 32).
-define(BURST, 16).
-define(ROUNDS, 30).
-define(TIMEOUT, 60000).
%% Each of the others may be served so often while one waits: once for what it had sent before, and once more, since
%% a shard reads its sockets in any order.
-define(MOST, 3).

nobody_waits_for_many_rounds_test_() ->
    {timeout, 120, fun() ->
        slow_engine:with_one_thread(fun() ->
            ?assertMatch(Rounds when Rounds < ?MOST, rounds(0)),
            %% The measure sees one that comes late.
            ?assertMatch(Rounds when Rounds >= ?MOST, rounds(?MOST + 3))
        end)
    end}.

%% How many bursts of each connection were served, at most, while another burst waited. One of them waits for so many rounds
%% more before it is sent at all.
rounds(Held) ->
    Frame = fun({json, [Burst, _, _]}, _, {Last, Late}) ->
                    {[{reply, {json, 0}}], {max(Last, Burst), max(Late, Last - Burst)}};
               ({json, <<"late">>}, _, {_, Late} = State) ->
                    {[{reply, {json, Late}}], State}
            end,
    Funs = #{init => fun() -> {ok, {0, 0}} end, frame => Frame},
    test_support:with_handler(Funs, #{processes => one}, fun(Port, _) ->
        Sockets = [ws_client:connect(Port) || _ <- lists:seq(1, ?CONNS)],
        [ok = inet:setopts(Socket, [{active, true}]) || Socket <- Sockets],
        ok = drive(Held, lists:zip(Sockets, lists:seq(1, ?CONNS))),
        Asker = ws_client:connect(Port),
        ok = ws_client:text(Asker, <<"\"late\"">>),
        binary_to_integer(ws_client:recv_data(Asker)) div ?CONNS
    end).

drive(Held, Firsts) ->
    [{First, 1} | Others] = Firsts,
    [ok = send(Socket, Burst) || {Socket, Burst} <- Others],
    Held =:= 0 andalso send(First, 1),
    Waiting = maps:from_list([{Socket, 0} || {Socket, _} <- Firsts]),
    go_on(Waiting, ?CONNS, {First, 1, Held * ?CONNS}).

%% A burst whose answers are all there makes room for the next one. Bursts are numbered in the order in which they are sent.
go_on(Waiting, Sent, _Held) when map_size(Waiting) =:= 0, Sent >= ?CONNS * ?ROUNDS ->
    ok;
go_on(Waiting, Sent, {Socket, Burst, Held}) when Held > 0, Sent >= Held ->
    ok = send(Socket, Burst),
    go_on(Waiting, Sent, {Socket, Burst, 0});
go_on(Waiting, Sent, Held) ->
    receive
        {tcp, Socket, Bytes} ->
            #{Socket := Had} = Waiting,
            %% A reply has a head of two bytes, and one digit.
            case Had + byte_size(Bytes) of
                ?BURST * 3 when Sent < ?CONNS * ?ROUNDS ->
                    ok = send(Socket, Sent + 1),
                    go_on(Waiting#{Socket := 0}, Sent + 1, Held);
                ?BURST * 3 ->
                    go_on(maps:remove(Socket, Waiting), Sent, Held);
                Has ->
                    go_on(Waiting#{Socket := Has}, Sent, Held)
            end
    after ?TIMEOUT -> error({stuck, Sent, Waiting})
    end.

send(Socket, Burst) ->
    Pad = binary:copy(<<"x">>, 1000),
    Text = fun(Place) -> [$[, integer_to_list(Burst), $,, integer_to_list(Place), ",\"", Pad, "\"]"] end,
    ws_client:raw(Socket, [ws_client:encode(1, Text(Place)) || Place <- lists:seq(1, ?BURST)]).
