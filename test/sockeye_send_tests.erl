%% What the server side sends, as a client sees it.
-module(sockeye_send_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-only_in({nif, [refused_frames_are_work_too_test_]}).

-import(test_support, [with_server/2, with_handler/2, with_handler/3, open/1, closed/1, fill/2]).

frames_test_() ->
    Cases = [{#{a => 1}, {text, <<"{\"a\":1}">>}},
             {{json, [1, <<"two">>, null]}, {text, <<"[1,\"two\",null]">>}},
             {{json, <<"text">>}, {text, <<"\"text\"">>}},
             {#{raw => {json_raw, ["[1", <<",2]">>]}}, {text, <<"{\"raw\":[1,2]}">>}},
             {{text, <<"plain">>}, {text, <<"plain">>}},
             {{text, ["io", $d, [<<"ata">>]]}, {text, <<"iodata">>}},
             {{text, <<>>}, {text, <<>>}},
             {{binary, <<0, 255, 1>>}, {binary, <<0, 255, 1>>}},
             {{binary, [0, <<1>>, [2]]}, {binary, <<0, 1, 2>>}},
             {{ping, <<"are you there">>}, {ping, <<"are you there">>}},
             {{close, 4000, <<"enough">>}, {close, 4000, <<"enough">>}}],
    [{lists:flatten(io_lib:format("~p", [Frame])),
      fun() ->
              with_server(#{}, fun(Port, _) ->
                                       {Socket, Conn} = open(Port),
                                       ok = sockeye:send(Conn, Frame),
                                       ?assertEqual(Expected, ws_client:recv(Socket))
                               end)
      end} || {Frame, Expected} <- Cases].

sizes_around_the_header_forms_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        [begin
             Data = rand:bytes(Size),
             ok = sockeye:send(Conn, {binary, Data}),
             ?assertEqual({binary, Data}, ws_client:recv(Socket))
         end || Size <- [0, 1, 125, 126, 127, 65535, 65536, 300000]]
    end).

several_at_once_keep_their_order_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = sockeye:send(Conn, [{text, integer_to_binary(N)} || N <- lists:seq(1, 1000)]),
        ok = sockeye:send(Conn, []),
        [?assertEqual(integer_to_binary(N), ws_client:recv_data(Socket)) || N <- lists:seq(1, 1000)]
    end).

all_or_nothing_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        Self = self(),
        ?assertMatch({error, {not_json, Self, _}},
                     sockeye:send(Conn, [{text, <<"first">>}, #{bad => Self}])),
        ok = sockeye:send(Conn, {text, <<"second">>}),
        ?assertEqual(<<"second">>, ws_client:recv_data(Socket))
    end).

not_utf8_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ?assertEqual({error, not_utf8}, sockeye:send(Conn, {text, <<255>>})),
        ok = sockeye:send(Conn, {text, <<"ok">>}),
        ?assertEqual(<<"ok">>, ws_client:recv_data(Socket))
    end).

misuse_is_badarg_test() ->
    with_server(#{}, fun(Port, _) ->
        {_, Conn} = open(Port),
        [?assertError(badarg, sockeye:send(Conn, Bad))
         || Bad <- [frame, {text, atom}, {binary, 1}, {text}, {unknown, <<>>}, [frame],
                    {ping, binary:copy(<<"x">>, 126)}, {close, 999, <<>>}, {close, 1005, <<>>},
                    {close, 1006, <<>>}, {close, 1015, <<>>}, {close, 5000, <<>>},
                    {close, 1000, binary:copy(<<"x">>, 124)}, {close, 1000, <<255>>}]],
        [?assertError(badarg, sockeye:send(Bad, #{}))
         || Bad <- [conn, 1, {sockeye_conn, x}, {sockeye_conn, -1}, self()]],
        ?assertError(badarg, sockeye:setopts(Conn, [{passive, true}])),
        ?assertError(badarg, sockeye:setopts(Conn, [{active, maybe_later}])),
        ?assertError(badarg, sockeye:controlling_process(Conn, not_a_pid))
    end).

%% A native stack would end the node.
a_frame_nested_without_end_is_badarg_test() ->
    with_server(#{}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        Deep = lists:foldl(fun(_, Frame) -> {uncompressed, Frame} end, {text, <<>>}, lists:seq(1, 1000000)),
        %% Not compared by assertError, which would print them.
        Refused = fun(Call) -> try Call() of _ -> taken catch error:badarg -> badarg end end,
        ?assertEqual(badarg, Refused(fun() -> sockeye:send(Conn, Deep) end)),
        ?assertEqual(badarg, Refused(fun() -> sockeye:send(Conn, [Deep]) end)),
        ?assertEqual(badarg, Refused(fun() -> sockeye:send([Conn], Deep) end)),
        ?assertEqual(badarg, Refused(fun() -> sockeye:broadcast(Server, Deep) end)),
        ok = sockeye:send(Conn, {uncompressed, {text, <<"ok">>}}),
        ?assertEqual({text, <<"ok">>}, ws_client:recv(Socket))
    end).

a_command_nested_without_end_is_badarg_test() ->
    Self = self(),
    Funs = #{frame => fun(_, Conn, S) ->
                              Deep = lists:foldl(fun(_, Frame) -> {uncompressed, Frame} end, {text, <<>>}, lists:seq(1, 1000000)),
                              {[{send, Conn, Deep}, {reply, {text, <<"ok">>}}], S}
                      end,
             error => fun({{send, Conn, _}, Why}, Conn, S) -> Self ! {failed, Why}, {[], S} end},
    test_support:with_handler(Funs, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({text, <<"ok">>}, ws_client:recv(Socket)),
        ?assertMatch({failed, {bad_command, _}}, test_support:message())
    end).

%% What is refused has been encoded as well: a call on a normal scheduler stops where it would have
%% stopped had the frames been taken.
refused_frames_are_work_too_test_() ->
    Large = lists:seq(1, 11000),
    [{atom_to_list(Reason),
      fun() ->
          with_server(#{send_queue_size => 1000}, fun(Port, _) ->
              {_, Conn} = open(Port),
              %% More than the system takes.
              ok = sockeye:send(Conn, {binary, binary:copy(<<0>>, 64000000)}),
              ?assertMatch({more, _, _}, sockeye_nif:commands(copies(Conn, Frame, 20))),
              ?assertEqual(lists:duplicate(20, Reason), refusals(copies(Conn, Frame, 20)))
          end)
      end}
     || {Reason, Frame} <- [{busy, {json, Large}}, {busy, {text, binary:copy(<<"x">>, 60000)}},
                            {busy, {stream, binary, first, binary:copy(<<"x">>, 60000)}},
                            {not_json, {json, Large ++ [self()]}},
                            {not_utf8, {text, [binary:copy(<<"x">>, 60000), 255]}}]].

copies(Conn, Frame, N) ->
    lists:append(lists:duplicate(N, [Conn, Frame])).

refusals(Commands) ->
    Reason = fun({_, _, {Why, _}}) -> Why; ({_, _, Why}) -> Why end,
    case sockeye_nif:commands(Commands) of
        {more, Rest, Errors} -> lists:map(Reason, Errors) ++ refusals(Rest);
        {done, Errors} -> lists:map(Reason, Errors)
    end.

a_ping_of_125_bytes_goes_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        Body = binary:copy(<<"x">>, 125),
        ok = sockeye:send(Conn, {ping, Body}),
        ?assertEqual({ping, Body}, ws_client:recv(Socket))
    end).

close_default_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = sockeye:send(Conn, {text, <<"before">>}),
        ok = sockeye:close(Conn),
        ?assertEqual({text, <<"before">>}, ws_client:recv(Socket)),
        ?assertEqual({1000, <<>>}, ws_client:recv_close(Socket)),
        ?assertEqual(1000, closed(Conn)),
        ?assertEqual({error, closed}, sockeye:send(Conn, #{})),
        ?assertEqual({error, closed}, sockeye:close(Conn)),
        ?assertEqual({error, closed}, sockeye:close(Conn, 1000, <<>>)),
        ?assertEqual({error, closed}, sockeye:setopts(Conn, [{active, once}])),
        ?assertEqual({error, closed}, sockeye:controlling_process(Conn, self())),
        ?assertEqual({error, closed}, sockeye:broadcast_from(Conn, #{})),
        ?assertEqual({error, closed}, sockeye:info(Conn))
    end).

close_with_code_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = sockeye:close(Conn, 4321, <<"because">>),
        ?assertEqual({4321, <<"because">>}, ws_client:recv_close(Socket)),
        %% The client's answer is what counts here: the code it gave.
        ?assertEqual(1000, closed(Conn))
    end).

a_client_that_does_not_answer_is_cut_off_test() ->
    with_server(#{close_timeout => 200}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        ok = sockeye:close(Conn, 4321, <<>>),
        ?assertEqual({close, 4321, <<>>}, ws_client:recv(Socket)),
        ?assertEqual(closed, ws_client:recv(Socket)),
        ?assertEqual(1006, closed(Conn))
    end).

send_message_by_pid_port_and_name_test() ->
    with_server(#{name => send_tests}, fun(Port, Server) ->
        Sockets = [element(1, open(Port)) || _ <- lists:seq(1, 5)],
        [begin
             ok = sockeye:send_message(By, #{by => N}),
             Expected = iolist_to_binary(["{\"by\":", integer_to_list(N), "}"]),
             [?assertEqual({text, Expected}, ws_client:recv(Socket)) || Socket <- Sockets]
         end || {N, By} <- [{1, Server}, {2, Port}, {3, send_tests}]],
        ok = sockeye:broadcast(Server, {binary, <<1>>}),
        [?assertEqual({binary, <<1>>}, ws_client:recv(Socket)) || Socket <- Sockets]
    end).

without_a_connection_test() ->
    with_server(#{}, fun(Port, Server) ->
        ?assertEqual(ok, sockeye:send_message(Server, #{})),
        ?assertEqual({error, {not_json, self(), <<"$.bad">>}}, sockeye:send_message(Port, #{bad => self()})),
        ?assertError(badarg, sockeye:send_message(Port, no_frame)),
        ?assertError(badarg, sockeye:send_message("name", #{}))
    end).

no_such_server_test() ->
    [?assertEqual({error, not_found}, Call(By))
     || By <- [self(), 1, no_such_server],
        Call <- [fun(S) -> sockeye:send_message(S, #{}) end,
                 fun(S) -> sockeye:broadcast(S, #{}) end,
                 fun sockeye:stop/1, fun sockeye:info/1, fun sockeye:connections/1]].

broadcast_from_leaves_out_the_sender_test() ->
    with_server(#{}, fun(Port, Server) ->
        {Sender, Conn} = open(Port),
        {Other, _} = open(Port),
        ok = sockeye:broadcast_from(Conn, {text, <<"from">>}),
        ok = sockeye:broadcast(Server, {text, <<"all">>}),
        ?assertEqual(<<"from">>, ws_client:recv_data(Other)),
        ?assertEqual(<<"all">>, ws_client:recv_data(Other)),
        ?assertEqual(<<"all">>, ws_client:recv_data(Sender))
    end).

two_servers_do_not_hear_each_other_test() ->
    with_server(#{}, fun(Port1, Server1) ->
        with_server(#{}, fun(Port2, Server2) ->
            {Socket1, _} = open(Port1),
            {Socket2, _} = open(Port2),
            ok = sockeye:broadcast(Server1, {text, <<"1">>}),
            ok = sockeye:broadcast(Server2, {text, <<"2">>}),
            ?assertEqual(<<"1">>, ws_client:recv_data(Socket1)),
            ?assertEqual(<<"2">>, ws_client:recv_data(Socket2))
        end)
    end).

large_terms_take_the_dirty_way_test() ->
    with_server(#{send_queue_size => 64000000}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        List = lists:seq(1, 300000),
        Text = iolist_to_binary(["[", lists:join(",", [integer_to_list(N) || N <- List]), "]"]),
        ok = sockeye:send(Conn, {json, List}),
        ?assertEqual(Text, ws_client:recv_data(Socket)),
        ok = sockeye:send_message(Server, {json, List}),
        ?assertEqual(Text, ws_client:recv_data(Socket))
    end).

%% A client that does not read: its queue fills up, then sending says so. What
%% was taken arrives, in order, and nothing else.
busy_test() ->
    with_server(#{send_queue_size => 100000}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        Sent = fill(Conn, fun(N) -> sockeye:send(Conn, {binary, <<N:32, 0:80000>>}) end),
        ?assertEqual({error, busy}, sockeye:send(Conn, {binary, <<Sent:32, 0:80000>>})),
        {ok, #{dropped := Dropped0}} = sockeye:info(Server),
        ok = sockeye:broadcast(Server, {binary, <<0:80000>>}),
        %% Counted by the thread of the connection, which has answered then.
        {ok, #{}} = sockeye:info(Conn),
        {ok, #{dropped := Dropped}} = sockeye:info(Server),
        ?assertEqual(1, Dropped - Dropped0),
        {ok, #{send_queue := Queue}} = sockeye:info(Conn),
        ?assert(Queue =< 100000),
        [?assertMatch({binary, <<N:32, _/binary>>}, ws_client:recv(Socket))
         || N <- lists:seq(0, Sent - 1)],
        ok = sockeye:send(Conn, {text, <<"and on">>}),
        ?assertEqual({text, <<"and on">>}, ws_client:recv(Socket))
    end).

a_client_that_stays_full_is_closed_test() ->
    with_server(#{send_queue_size => 100000, send_timeout => 300}, fun(Port, _) ->
        {_Socket, Conn} = open(Port),
        %% It stays full until it is closed, however long the system takes some of it.
        ok = until_closed(Conn),
        ?assertEqual(1008, closed(Conn))
    end).

until_closed(Conn) ->
    case sockeye:send(Conn, {binary, <<0:80000>>}) of
        {error, closed} -> ok;
        _ -> until_closed(Conn)
    end.

a_frame_larger_than_the_queue_goes_alone_test() ->
    with_server(#{send_queue_size => 1000}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        Data = rand:bytes(5000),
        case sockeye:send(Conn, {binary, Data}) of
            ok -> ?assertEqual({binary, Data}, ws_client:recv(Socket));
            {error, busy} -> ok = sockeye:send(Conn, {binary, <<"small">>}),
                             ?assertEqual({binary, <<"small">>}, ws_client:recv(Socket))
        end
    end).

send_from_any_process_test() ->
    with_server(#{}, fun(Port, _) ->
        {Socket, Conn} = open(Port),
        Pids = [spawn_monitor(fun() -> ok = sockeye:send(Conn, {text, integer_to_binary(N)}) end)
                || N <- lists:seq(1, 100)],
        [receive {'DOWN', M, process, P, normal} -> ok end || {P, M} <- Pids],
        Got = [ws_client:recv_data(Socket) || _ <- Pids],
        ?assertEqual(lists:sort([integer_to_binary(N) || N <- lists:seq(1, 100)]), lists:sort(Got))
    end).

%% Encoder and an independent decoder: what a client sends as JSON and gets
%% back through a handler is the same value.
property_binary_echo_test_() ->
    {timeout, 60, fun() ->
        with_handler(#{frame => fun(Frame, _Conn, S) -> {[{reply, Frame}], S} end},
                     #{format => raw},
                     fun(Port, _) ->
            Socket = ws_client:connect(Port),
            [begin
                 Data = rand:bytes(rand:uniform(2000) - 1),
                 ok = ws_client:binary(Socket, Data),
                 ?assertEqual({binary, Data}, ws_client:recv(Socket))
             end || _ <- lists:seq(1, 2000)]
        end)
    end}.
