%% Hostile clients over TLS: what is cut, changed or no TLS at all costs its
%% connection, and leaves nothing behind.
-module(sockeye_tls_hostile_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

all_test_() ->
    Tests = [{"the stream cut anywhere", fun cut_anywhere/1},
             {"any byte changed", fun changed_anywhere/1},
             {"no TLS", fun no_tls/1},
             {"a hello that never ends", fun slow_hello/1}],
    test_certs:tests(ssl, fun test_certs:localhost/0, Tests, 120).

with_attack(Tls, Attack) ->
    test_support:quiet(fun() ->
        hostile_client:unchanged(fun() ->
            Options = #{tls => Tls, format => raw, active => true, handshake_timeout => 2000, close_timeout => 500},
            test_support:with_server(Options, fun(Port, Server) ->
                Attack(Port),
                hostile_client:settled(Server, 0),
                %% It still serves.
                ?assertEqual(done, session(Port)),
                hostile_client:settled(Server, 0)
            end)
        end)
    end).

%% A client that connects, is echoed one message, and closes; or how far it got.
session(Port) ->
    Options = [{verify, verify_none}, {active, false}, {nodelay, true}, {mode, binary}],
    case ssl:connect({127, 0, 0, 1}, Port, Options, 60000) of
        {ok, Socket} ->
            _ = ssl:send(Socket, bad_requests:good()),
            Got = case ssl:recv(Socket, 0, 60000) of
                      {ok, <<"HTTP/1.1 101", _/binary>>} ->
                          _ = ssl:send(Socket, [ws_client:encode(9, <<"p">>), ws_client:encode(8, <<1000:16>>)]),
                          frames(Socket, <<>>);
                      {ok, Other} -> {unexpected, Other};
                      {error, _} -> cut
                  end,
            _ = ssl:close(Socket),
            Got;
        {error, _} ->
            cut
    end.

frames(Socket, Sofar) ->
    case ssl:recv(Socket, 0, 60000) of
        {ok, More} -> frames(Socket, <<Sofar/binary, More/binary>>);
        {error, _} when Sofar =:= <<16#8a, 1, "p", 16#88, 2, 1000:16>> -> done;
        {error, _} -> cut
    end.

%% Between the client and the server stands one that does something at a byte (of some 590)
%% of what the client sends.
through(Port, At, What) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Front} = inet:port(Listener),
    Middle = spawn_link(fun() ->
        {ok, Client} = gen_tcp:accept(Listener, 5000),
        Server = hostile_client:connect(Port),
        [ok = inet:setopts(S, [{active, true}]) || S <- [Client, Server]],
        relay(Client, Server, At, What),
        [gen_tcp:close(S) || S <- [Client, Server, Listener]]
    end),
    ok = gen_tcp:controlling_process(Listener, Middle),
    Monitor = monitor(process, Middle),
    Got = session(Front),
    receive {'DOWN', Monitor, process, Middle, _} -> ok after 60000 -> error(middle) end,
    Got.

relay(Client, Server, At, What) ->
    receive
        {tcp, Client, Bytes} when byte_size(Bytes) > At, What =:= cut ->
            _ = gen_tcp:send(Server, binary:part(Bytes, 0, At)),
            hostile_client:end_with(rst, Server);
        {tcp, Client, Bytes} when byte_size(Bytes) > At, What =:= change ->
            <<Before:At/binary, B, After/binary>> = Bytes,
            _ = gen_tcp:send(Server, <<Before/binary, (B bxor 16#55), After/binary>>),
            relay(Client, Server, infinity, What);
        {tcp, Client, Bytes} ->
            _ = gen_tcp:send(Server, Bytes),
            relay(Client, Server, less(At, byte_size(Bytes)), What);
        {tcp, Server, Bytes} ->
            _ = gen_tcp:send(Client, Bytes),
            relay(Client, Server, At, What);
        {tcp_closed, _} ->
            ok;
        {tcp_error, _, _} ->
            ok
    after 8000 ->
            ok
    end.

less(infinity, _) -> infinity;
less(At, Size) -> At - Size.

cut_anywhere(Tls) ->
    with_attack(Tls, fun(Port) ->
        [?assertEqual({At, cut}, {At, through(Port, At, cut)}) || At <- lists:seq(0, 560, 20)],
        test_support:flush()
    end).

%% Some bytes of a hello mean nothing to the server, but the client's proof of
%% what it has said is then wrong.
changed_anywhere(Tls) ->
    with_attack(Tls, fun(Port) ->
        [?assertEqual({At, cut}, {At, through(Port, At, change)}) || At <- lists:seq(11, 560, 25)],
        test_support:flush()
    end).

no_tls(Tls) ->
    with_attack(Tls, fun(Port) ->
        [begin
             Socket = hostile_client:connect(Port),
             _ = gen_tcp:send(Socket, Bytes),
             _ = gen_tcp:shutdown(Socket, write),
             _ = hostile_client:answer(Socket),
             gen_tcp:close(Socket)
         end || Bytes <- [bad_requests:good(), <<>>, <<0>>, <<16#16>>, <<16#16, 3, 1>>, <<16#16, 3, 1, 16#ff, 16#ff>>,
                          <<16#16, 3, 1, 0, 5, 1, 0, 0, 1, 3>>, <<16#17, 3, 3, 0, 4, "data">>, <<16#15, 3, 3, 0, 2, 2, 40>>,
                          <<16#14, 3, 3, 0, 1, 1>>, <<16#80, 16#2e, 1, 3, 1, 0:352>>, <<16#16, 3, 3, 0, 0>>,
                          binary:copy(<<16#16, 3, 1, 0, 0>>, 10000), binary:copy(<<16#16, 3, 1, 64, 0, 1, 0, 255, 255>>, 3000)
                          | [rand:bytes(rand:uniform(3000)) || _ <- lists:seq(1, 100)]]]
    end).

slow_hello(Tls) ->
    with_attack(Tls, fun(Port) ->
        Sockets = [hostile_client:connect(Port) || _ <- lists:seq(1, 20)],
        [ok = gen_tcp:send(Socket, <<16#16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3>>) || Socket <- Sockets],
        [?assert(is_binary(hostile_client:answer(Socket))) || Socket <- Sockets],
        [gen_tcp:close(Socket) || Socket <- Sockets]
    end).
