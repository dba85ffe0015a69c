%% How many connections there may be, how large a head, and how long it may take.
-module(sockeye_admission_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(ws_ask, [ask/1, ask/2, status/2, header/2, rest/1]).
-import(test_support, [with_server/2, event/0, flush/0]).

-define(TIMEOUT, 60000).

max_connections_test() ->
    with_server(#{max_connections => 2}, fun(Port, _) ->
        {101, _, First} = ask(Port),
        {First1, {open, _}} = event(),
        {101, _, _} = ask(Port),
        {_, {open, _}} = event(),
        Answer = refused(Port),
        ?assertEqual({503, <<"1">>}, {element(1, Answer), header(<<"retry-after">>, Answer)}),
        ok = ws_client:drop(First),
        ?assertMatch({First1, {closed, _, _}}, event()),
        ?assertEqual(101, status(Port, #{}))
    end).

%% Refused before a word was said: then the request may meet a closed door.
refused(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    {ok, Bytes} = gen_tcp:recv(Socket, 0, ?TIMEOUT),
    ok = gen_tcp:close(Socket),
    [Head, _] = binary:split(Bytes, <<"\r\n\r\n">>),
    [<<"HTTP/1.1 ", Status:3/binary, _/binary>> | Lines] = binary:split(Head, <<"\r\n">>, [global]),
    Headers = [{string:lowercase(Name), Value}
               || Line <- Lines, [Name, Value] <- [binary:split(Line, <<": ">>)]],
    {binary_to_integer(Status), Headers, <<>>}.

connections_of_an_address_test() ->
    with_server(#{max_connections_per_address => 2}, fun(Port, _) ->
        {101, _, First} = ask(Port),
        {Conn, {open, _}} = event(),
        %% One that says nothing counts as well.
        {ok, Silent} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
        Answer = refused_in_time(Port, 100),
        ?assertEqual({429, <<"1">>}, {element(1, Answer), header(<<"retry-after">>, Answer)}),
        %% Another address has a place.
        {ok, 101, _, _} = ws_client:handshake(Port, #{socket => [{ip, {127, 0, 0, 2}}]}),
        {_, {open, _}} = event(),
        ok = ws_client:drop(First),
        ?assertMatch({Conn, {closed, _, _}}, event()),
        ?assertEqual(101, status(Port, #{})),
        ok = gen_tcp:close(Silent)
    end).

%% Sockets are counted one after the other, but not by the time connect returns.
refused_in_time(Port, N) when N > 0 ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    case gen_tcp:recv(Socket, 0, 50) of
        {ok, <<"HTTP/1.1 429 ", _/binary>>} -> gen_tcp:close(Socket), refused(Port);
        {error, timeout} -> gen_tcp:close(Socket), refused_in_time(Port, N - 1)
    end.

%% Places come back however a connection ends.
places_come_back_test() ->
    Accept = fun(#{path := <<"/no">>}) -> {reject, 403, [], ""};
                (_) -> {accept, #{}}
             end,
    Options = #{max_connections_per_address => 1, max_connections => 1, accept => Accept, health => "/health"},
    with_server(Options, fun(Port, _) ->
        Open = fun() -> {101, _, Socket} = in_time(fun() -> ask(Port) end), Socket end,
        Ends = [fun() -> {403, _, _} = in_time(fun() -> ask(Port, #{path => "/no"}) end) end,
                fun() -> Socket = Open(), ok = ws_client:close(Socket, 1000, <<>>), rest(Socket) end,
                fun() -> ok = ws_client:drop(Open()) end,
                fun() -> Socket = Open(), ok = ws_client:raw(Socket, "junk"), rest(Socket) end,
                fun() -> {200, _, _} = in_time(fun() -> ask(Port, #{path => "/health", plain => true}) end) end],
        [End() || End <- Ends ++ Ends]
    end).

%% The last one may not have gone yet.
in_time(Ask) ->
    hostile_client:until(fun() ->
        try Ask() of
            {Status, _, _} when Status =:= 429; Status =:= 503 -> Status;
            Answer -> put(answer, Answer), true
        catch
            %% Refused while it was still speaking.
            error:{badmatch, {error, _} = Error} -> Error
        end
    end),
    erase(answer).

connection_rate_test() ->
    with_server(#{connection_rate => #{rate => 1, burst => 3}}, fun(Port, _) ->
        [?assertEqual(101, status(Port, #{})) || _ <- lists:seq(1, 3)],
        Answer = refused(Port),
        ?assertEqual({429, <<"1">>}, {element(1, Answer), header(<<"retry-after">>, Answer)}),
        {ok, 101, _, _} = ws_client:handshake(Port, #{socket => [{ip, {127, 0, 0, 2}}]}),
        %% A token comes back, not three.
        ok = allowed_in_time(Port, 500),
        ?assertMatch({429, _, _}, refused(Port)),
        flush()
    end).

allowed_in_time(Port, N) when N > 0 ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    case gen_tcp:recv(Socket, 0, 50) of
        {ok, <<"HTTP/1.1 429 ", _/binary>>} ->
            ok = gen_tcp:close(Socket),
            receive after 20 -> allowed_in_time(Port, N - 1) end;
        {error, timeout} -> gen_tcp:close(Socket)
    end.

%% ---------------------------------------------------------------- the head of a request

header_size_test() ->
    with_server(#{max_header_size => 1000}, fun(Port, _) ->
        Length = fun(Fill) -> [{"X-Fill", lists:duplicate(Fill, $a)}] end,
        {ok, 101, _, Socket} = ws_client:handshake(Port, #{headers => Length(0)}),
        ok = gen_tcp:close(Socket),
        %% What the client of the tests sends with an empty header.
        Least = iolist_size(["GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                             "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nX-Fill: \r\n\r\n"]),
        [?assertEqual({N, S}, {N, status(Port, #{headers => Length(N - Least)})})
         || {N, S} <- [{999, 101}, {1000, 101}, {1001, 431}]]
    end).

header_count_test() ->
    with_server(#{max_headers => 20}, fun(Port, _) ->
        %% Five are the client's own.
        Headers = fun(N) -> [{["X-", integer_to_list(I)], "1"} || I <- lists:seq(6, N)] end,
        [?assertEqual({N, S}, {N, status(Port, #{headers => Headers(N)})})
         || {N, S} <- [{19, 101}, {20, 101}, {21, 431}]]
    end).

%% A byte at a time does not buy more time: else all of them would go.
slow_head_test() ->
    with_server(#{handshake_timeout => 300}, fun(Port, _) ->
        {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
        Start = erlang:monotonic_time(millisecond),
        ok = drip(Socket, <<"GET / HTTP/1.1\r\nHost: localhost\r\nX-Fill: ",
                            (binary:copy(<<"a">>, 1000))/binary>>),
        Took = erlang:monotonic_time(millisecond) - Start,
        ?assert(Took >= 250)
    end).

drip(Socket, <<Byte, Rest/binary>>) ->
    case gen_tcp:send(Socket, <<Byte>>) of
        ok ->
            case gen_tcp:recv(Socket, 0, 10) of
                {error, timeout} -> drip(Socket, Rest);
                {error, _} -> ok
            end;
        {error, _} -> ok
    end.
