%% Clients that leave without a word: half closed, reset or closed with unread
%% data, in every state of a connection.
-module(sockeye_abrupt_end_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(hostile_client, [with_attack/2]).
-import(bad_frames, [frame/2, frame/3]).

-define(BIG, 300000).

every_state_test_() ->
    {timeout, 120, fun() ->
        with_attack(#{max_message_size => 8 * 1024 * 1024, send_queue_size => 4 * 1024 * 1024, send_timeout => 20000,
                close_timeout => 20000}, fun(Port, Server) ->
            Got = [{State, How, leave(State, How, Port, Server)} || State <- states(), How <- [fin, rst, close]],
            ?assertEqual([], [Wrong || {State, How, Code} = Wrong <- Got, Code =/= expected(State, How)])
        end)
    end}.

states() ->
    [nothing_sent, half_a_head, refused,
     open, half_a_header, half_a_length, half_a_mask, half_a_payload, half_a_large_payload, half_a_ping,
     between_fragments, half_a_fragment, data_behind, pongs_unread, it_closes, it_closes_halfway, we_close,
     we_close_halfway, messages_unread, passive].

%% Before the 101 there is nobody to tell.
expected(State, _) when State =:= nothing_sent; State =:= half_a_head; State =:= refused -> none;
expected(it_closes, _) -> 4000;
expected(_, _) -> 1006.

leave(State, How, Port, Server) when State =:= nothing_sent; State =:= half_a_head; State =:= refused ->
    Socket = hostile_client:connect(Port),
    Good = bad_requests:good(),
    case State of
        nothing_sent -> ok;
        half_a_head -> ok = gen_tcp:send(Socket, binary:part(Good, 0, 60));
        refused -> ok = gen_tcp:send(Socket, <<"POST", (binary:part(Good, 3, byte_size(Good) - 3))/binary>>)
    end,
    {ok, #{rejected := Before}} = sockeye:info(Server),
    hostile_client:end_with(How, Socket),
    hostile_client:until(fun() ->
        {ok, #{rejected := Rejected}} = sockeye:info(Server),
        Rejected =:= Before + 1 orelse {rejected, Before, Rejected}
    end),
    gen_tcp:close(Socket),
    none;
leave(State, How, Port, Server) ->
    {Socket, Conn} = test_support:open(Port),
    act(State, Socket, Conn),
    hostile_client:end_with(How, Socket),
    finish(State, Conn),
    Code = test_support:closed(Conn),
    gen_tcp:close(Socket),
    %% The last event, and the connection is no more.
    ?assertEqual({error, closed}, sockeye:send(Conn, {text, <<"late">>})),
    hostile_client:settled(Server, 1),
    receive {sockeye, Conn, Event} -> error({after_closed, Event})
    after 0 -> Code
    end.

act(open, _Socket, _Conn) ->
    ok;
act(half_a_header, Socket, Conn) ->
    sent(Socket, Conn, <<16#81>>);
act(half_a_length, Socket, Conn) ->
    sent(Socket, Conn, <<16#82, 16#ff, 0, 0, 0>>);
act(half_a_mask, Socket, Conn) ->
    sent(Socket, Conn, <<16#82, 16#85, 1, 2>>);
act(half_a_payload, Socket, Conn) ->
    sent(Socket, Conn, <<16#82, 16#85, 1, 2, 3, 4, "ab">>);
act(half_a_large_payload, Socket, Conn) ->
    Frame = iolist_to_binary(frame(2, binary:copy(<<"x">>, 2 * ?BIG))),
    sent(Socket, Conn, binary:part(Frame, 0, ?BIG));
act(half_a_ping, Socket, Conn) ->
    sent(Socket, Conn, <<16#89, 16#85, 1, 2, 3, 4, "ab">>);
act(between_fragments, Socket, Conn) ->
    sent(Socket, Conn, frame(1, <<"a">>, #{fin => 0}));
act(half_a_fragment, Socket, Conn) ->
    sent(Socket, Conn, [frame(1, <<"a">>, #{fin => 0}), <<16#00, 16#85, 1, 2>>]);
%% Whole messages that the server may not have read when the end comes.
act(data_behind, Socket, _Conn) ->
    ok = gen_tcp:send(Socket, [frame(2, binary:copy(<<"x">>, ?BIG)), frame(1, <<"last">>)]);
act(pongs_unread, Socket, _Conn) ->
    ok = gen_tcp:send(Socket, [frame(9, <<"p">>) || _ <- lists:seq(1, 1000)]);
act(it_closes, Socket, Conn) ->
    ok = gen_tcp:send(Socket, frame(8, <<4000:16>>)),
    %% The answer is here, so it has been read.
    {ok, <<16#88, 2, 4000:16>>} = gen_tcp:recv(Socket, 4, 60000),
    _ = Conn,
    ok;
act(it_closes_halfway, Socket, Conn) ->
    sent(Socket, Conn, <<16#88, 16#82, 0:32, 16#0f>>);
act(we_close, Socket, Conn) ->
    ok = sockeye:close(Conn, 4001, <<"go">>),
    {close, 4001, <<"go">>} = ws_client:recv(Socket),
    ok;
act(we_close_halfway, Socket, Conn) ->
    act(we_close, Socket, Conn),
    ok = gen_tcp:send(Socket, <<16#88, 16#82, 0, 0>>);
%% More than the kernel takes, to one that does not read.
act(messages_unread, Socket, Conn) ->
    ok = inet:setopts(Socket, [{recbuf, 4096}]),
    fill(Conn, binary:copy(<<"x">>, ?BIG));
act(passive, Socket, Conn) ->
    ok = sockeye:setopts(Conn, [{active, false}]),
    {ok, #{active := false}} = sockeye:info(Conn),
    ok = gen_tcp:send(Socket, [frame(2, binary:copy(<<"x">>, 1000)) || _ <- lists:seq(1, 100)]).

fill(Conn, Data) ->
    case sockeye:send(Conn, {binary, Data}) of
        ok -> fill(Conn, Data);
        {error, busy} -> ok
    end.

%% A passive connection is not read from, so its end is seen when it is active.
finish(passive, Conn) ->
    case sockeye:setopts(Conn, [{active, true}]) of
        ok -> ok;
        {error, closed} -> ok
    end;
finish(_State, _Conn) ->
    ok.

%% The engine has looked at the connection since.
sent(Socket, Conn, Bytes) ->
    ok = gen_tcp:send(Socket, Bytes),
    {ok, #{}} = sockeye:info(Conn),
    ok.

%% One that neither answers our Close nor leaves.
a_close_that_is_never_answered_test() ->
    with_attack(#{close_timeout => 200}, fun(Port, Server) ->
        {Socket, Conn} = test_support:open(Port),
        ok = sockeye:close(Conn, 4001, <<>>),
        {close, 4001, _} = ws_client:recv(Socket),
        %% What it sends meanwhile changes nothing.
        ok = gen_tcp:send(Socket, [frame(1, <<"more">>) || _ <- lists:seq(1, 100)]),
        ?assertEqual(1006, test_support:closed(Conn)),
        hostile_client:settled(Server, 1),
        gen_tcp:close(Socket)
    end).

%% One that sends on and on behind its Close, or behind what it did wrong.
deaf_to_the_end_test_() ->
    {timeout, 30, [fun() ->
        with_attack(#{}, fun(Port, Server) ->
            {Socket, Conn} = test_support:open(Port),
            ok = inet:setopts(Socket, [{send_timeout, 5000}]),
            ok = gen_tcp:send(Socket, Last),
            ?assertEqual(Code, test_support:closed(Conn)),
            {error, _} = flood(Socket, frame(2, binary:copy(<<"x">>, 10000))),
            hostile_client:settled(Server, 1),
            gen_tcp:close(Socket)
        end)
    end || {Last, Code} <- [{frame(8, <<4000:16>>), 4000}, {frame(3, <<>>), 1002}]]}.

flood(Socket, Bytes) ->
    case gen_tcp:send(Socket, Bytes) of
        ok -> flood(Socket, Bytes);
        Error -> Error
    end.

%% Many come and go at once, each in a state of its own.
a_crowd_that_leaves_test_() ->
    {timeout, 60, fun() ->
        with_attack(#{}, fun(Port, Server) ->
            Self = self(),
            Pids = [spawn_link(fun() -> one_of_a_crowd(Port, N), Self ! {self(), done} end) || N <- lists:seq(1, 300)],
            [receive {Pid, done} -> ok end || Pid <- Pids],
            hostile_client:settled(Server, 1),
            %% Each is counted once, with the bystander.
            hostile_client:until(fun() ->
                {ok, #{accepted := Accepted, rejected := Rejected}} = sockeye:info(Server),
                Accepted + Rejected =:= 301 orelse {Accepted, Rejected}
            end)
        end)
    end}.

one_of_a_crowd(Port, N) ->
    Socket = hostile_client:connect(Port),
    Bytes = [bad_requests:good(), bad_frames:valid()],
    All = iolist_to_binary(Bytes),
    _ = gen_tcp:send(Socket, binary:part(All, 0, N * 7919 rem byte_size(All))),
    hostile_client:end_with(lists:nth(N rem 3 + 1, [fin, rst, close]), Socket),
    gen_tcp:close(Socket).
