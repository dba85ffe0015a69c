%% Hostile clients of the ordinary answers on the same port, and of handshakes
%% that come behind them.
-module(sockeye_http_hostile_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(hostile_client, [with_attack/2, status/1, until/1]).

-define(TEXT, <<"GET /text HTTP/1.1\r\nHost: a\r\n\r\n">>).

routes() ->
    #{<<"/text">> => {text, <<"hello">>},
      <<"/big">> => {text, binary:copy(<<"x">>, 8 * 1024 * 1024)},
      <<"/echo">> => fun(#{body := Body}) -> {200, [], Body} end}.

%% Requests without a pause keep a shard running, which must still look at what others ask of it.
a_flood_of_requests_does_not_keep_frames_back_test_() ->
    {timeout, 60, fun() ->
        test_support:with_server(#{http => routes()}, fun(Port, Server) ->
            %% One on each shard, whichever has the flood.
            Pairs = [test_support:open(Port) || _ <- lists:seq(1, 4)],
            Flood = [flood(Port, binary:copy(?TEXT, 500)) || _ <- lists:seq(1, 40)],
            until(fun() ->
                {ok, #{requests := Requests}} = sockeye:info(Server),
                Requests > 1000 orelse {requests, Requests}
            end),
            [begin
                 ok = sockeye:send(Conn, {text, <<"through">>}),
                 ?assertEqual({text, <<"through">>}, ws_client:recv(Socket))
             end || _ <- lists:seq(1, 5), {Socket, Conn} <- Pairs],
            [exit(Pid, kill) || Pid <- Flood]
        end)
    end}.

flood(Port, Bytes) ->
    spawn(fun() ->
        Socket = hostile_client:connect(Port),
        spawn_link(fun() -> swallow(Socket) end),
        pour(Socket, Bytes)
    end).

pour(Socket, Bytes) ->
    case gen_tcp:send(Socket, Bytes) of
        ok -> pour(Socket, Bytes);
        {error, _} -> ok
    end.

swallow(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, _} -> swallow(Socket);
        {error, _} -> ok
    end.

%% What is no handshake as the first request is none as the second either, and what is one is.
every_bad_request_behind_a_good_one_test_() ->
    {timeout, 120, fun() ->
        with_attack(#{http => routes()}, fun(Port, _) ->
            Wrong = [{lists:flatten(Title), Expected, Got}
                     || {Title, Bytes, Expected} <- bad_requests:all(),
                        Got <- [second(Port, Bytes)], not is(Expected, Got)],
            ?assertEqual([], Wrong)
        end)
    end}.

is(101, Got) -> Got =:= 101;
is(_, silence) -> true;
is(_, Got) -> is_integer(Got) andalso Got >= 400 andalso Got < 600.

second(Port, Bytes) ->
    Socket = hostile_client:connect(Port),
    _ = gen_tcp:send(Socket, ?TEXT),
    {ok, <<"HTTP/1.1 200 ", First/binary>>} = gen_tcp:recv(Socket, 0, 60000),
    ok = rest(Socket, First),
    _ = gen_tcp:send(Socket, Bytes),
    _ = gen_tcp:shutdown(Socket, write),
    Answer = hostile_client:answer(Socket),
    gen_tcp:close(Socket),
    case status(Answer) of
        101 -> opened(101);
        Status -> none_opened(Status)
    end.

rest(Socket, Sofar) ->
    case binary:match(Sofar, <<"hello">>) of
        nomatch ->
            {ok, More} = gen_tcp:recv(Socket, 0, 60000),
            rest(Socket, <<Sofar/binary, More/binary>>);
        _ ->
            ok
    end.

opened(Status) ->
    receive {sockeye, Conn, {open, _}} -> 1006 = test_support:closed(Conn), Status
    after 60000 -> not_open
    end.

none_opened(Status) ->
    receive {sockeye, _, {open, _}} -> {opened, Status}
    after 0 -> Status
    end.

%% Bodies whose length two readers could see differently: one answer, or none,
%% and what follows is never taken for a request.
smuggled_requests_test_() ->
    {timeout, 60, fun() ->
        with_attack(#{http => routes()}, fun(Port, _) ->
            Hidden = <<"GET /text HTTP/1.1\r\nHost: a\r\nX-Hidden: 1\r\n\r\n">>,
            [begin
                 Answer = hostile_client:say(Port, ["POST /echo HTTP/1.1\r\nHost: a\r\n", Headers, "\r\n", Body, Hidden]),
                 ?assertEqual({Headers, nomatch}, {Headers, binary:match(Answer, <<"\r\n\r\nhello">>)})
             end || {Headers, Body} <-
                        [{"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"},
                         {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"},
                         {"Content-Length: 0\r\nContent-Length: 5\r\n", "abcde"},
                         {"Content-Length: +0\r\n", ""},
                         {"Content-Length: 0, 5\r\n", "abcde"},
                         {"Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"},
                         {"Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"},
                         {"Transfer-Encoding : chunked\r\n", "0\r\n\r\n"},
                         {"Transfer-Encoding: chunked\r\n", "0\n\n"},
                         {"Transfer-Encoding: chunked\r\n", "-1\r\n\r\n"},
                         {"Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n"},
                         {"Transfer-Encoding: chunked\r\n", "1\r\naX\r\n0\r\n\r\n"},
                         {"Transfer-Encoding: chunked\r\n", "0x0\r\n\r\n"}]]
        end)
    end}.

%% Bodies cut anywhere, and clients that leave.
every_cut_of_a_body_test_() ->
    {timeout, 60, fun() ->
        with_attack(#{http => routes()}, fun(Port, _) ->
            Request = <<"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n">>,
            [begin
                 Socket = hostile_client:connect(Port),
                 _ = gen_tcp:send(Socket, binary:part(Request, 0, Cut)),
                 hostile_client:end_with(How, Socket),
                 gen_tcp:close(Socket)
             end || Cut <- lists:seq(0, byte_size(Request)), How <- [fin, rst, close]],
            ?assertMatch(<<"HTTP/1.1 200 ", _/binary>>, first(Port, Request))
        end)
    end}.

first(Port, Request) ->
    Socket = hostile_client:connect(Port),
    ok = gen_tcp:send(Socket, Request),
    {ok, Answer} = gen_tcp:recv(Socket, 0, 60000),
    gen_tcp:close(Socket),
    Answer.

%% A thousand requests at once from one that reads, and large answers to those
%% who leave in the middle.
floods_test_() ->
    {timeout, 60, fun() ->
        with_attack(#{http => routes()}, fun(Port, Server) ->
            Socket = hostile_client:connect(Port),
            ok = gen_tcp:send(Socket, [?TEXT || _ <- lists:seq(1, 1000)]),
            _ = gen_tcp:shutdown(Socket, write),
            ?assertEqual(1000, length(binary:matches(hostile_client:answer(Socket), <<"hello">>))),
            gen_tcp:close(Socket),
            Before = hostile_client:memory(),
            Sockets = [begin
                           S = hostile_client:connect(Port),
                           ok = inet:setopts(S, [{recbuf, 4096}]),
                           ok = gen_tcp:send(S, <<"GET /big HTTP/1.1\r\nHost: a\r\n\r\n">>),
                           {ok, _} = gen_tcp:recv(S, 1000, 60000),
                           S
                       end || _ <- lists:seq(1, 50)],
            %% They share the bytes of the text.
            ?assert(hostile_client:memory() - Before < hostile_client:most(8 * 1024 * 1024)),
            [ws_client:drop(S) || S <- Sockets],
            hostile_client:settled(Server, 1)
        end)
    end}.

noise_test_() ->
    {timeout, 60, fun() ->
        with_attack(#{http => routes(), handshake_timeout => 500}, fun(Port, _) ->
            [begin
                 Socket = hostile_client:connect(Port),
                 _ = gen_tcp:send(Socket, [?TEXT, noise(), ?TEXT]),
                 hostile_client:end_with(lists:nth(N rem 3 + 1, [fin, rst, close]), Socket),
                 gen_tcp:close(Socket)
             end || N <- lists:seq(1, 300)],
            ?assertMatch(<<"HTTP/1.1 200 ", _/binary>>, first(Port, ?TEXT))
        end)
    end}.

noise() ->
    At = rand:uniform(byte_size(?TEXT)) - 1,
    <<A:At/binary, _, B/binary>> = ?TEXT,
    <<A/binary, (rand:bytes(rand:uniform(20)))/binary, B/binary>>.
