%% Every request is read under one set of rules: as the first of a connection and as a later one, over
%% TCP and over TLS, and with the headers of a handshake.
-module(sockeye_http_rules_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(tcp_or_tls, [connect/2, send/3, recv/2, close/2]).

-define(TIMEOUT, 60000).
-define(GET, <<"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n">>).

every_request_test_() ->
    [{lists:concat([Position, " over ", Over]), {timeout, 120, fun() ->
        served(Over, fun(Port) ->
            ?assertEqual([], [{title(Title), Expected, Got}
                              || {Title, Bytes, Statuses, Then} <- bad_http:all(),
                                 Expected <- [{Statuses, Then}],
                                 Got <- [outcome(Position, Over, Port, Bytes)],
                                 not is(Expected, Got)])
        end)
     end}} || Over <- [tcp, tls], Position <- [first, second]].

is({Statuses, Then}, {Status, Then}) -> lists:member(Status, Statuses);
is(_, _) -> false.

%% What is refused is refused as a handshake as well, and nobody hears of it.
every_bad_request_as_a_handshake_test_() ->
    [{lists:concat([Position, " over ", Over]), {timeout, 120, fun() ->
        served(Over, fun(Port) ->
            ?assertEqual([], [{title(Title), Got}
                              || {Title, Bytes, Statuses, ends} <- bad_http:all(), not lists:member(200, Statuses),
                                 As <- bad_http:with_upgrade(Bytes),
                                 {Got, _} <- [outcome(Position, Over, Port, As)],
                                 not (is_integer(Got) andalso Got >= 400)]),
            receive {sockeye, _, {open, Info}} -> error({open, Info}) after 0 -> ok end
        end)
     end}} || Over <- [tcp, tls], Position <- [first, second]].

%% A target with an authority says which host is meant.
the_host_of_an_absolute_target_test() ->
    served(tcp, fun(Port) ->
        Host = fun(Target, Lines) ->
            http_client:header(<<"x-host">>, http_client:request(Port, "GET", Target, Lines))
        end,
        ?assertEqual(<<"localhost">>, Host("/echo", [])),
        ?assertEqual(<<"b.example:81">>, Host("http://b.example:81/echo", [])),
        Socket = hostile_client:connect(Port),
        ok = gen_tcp:send(Socket, "GET http://c.example/echo HTTP/1.0\r\n\r\n"),
        ?assertMatch({_, _}, binary:match(hostile_client:answer(Socket), <<"x-host: c.example\r\n">>))
    end).

%% What lies behind an ill-framed body is never taken for a request: each gets one answer.
nothing_is_smuggled_test_() ->
    {timeout, 60, fun() ->
        served(tcp, fun(Port) ->
            ?assertEqual([], [{title(Title), N}
                              || {Title, Bytes, _, ends} <- bad_http:all(),
                                 {match, All} <- [re:run(hostile_client:say(Port, [Bytes, ?GET]), "HTTP/1.[01] [1-5]", [global])],
                                 N <- [length(All)], N =/= 1])
        end)
    end}.

%% Interim answers: only who asks for one, and only when its body is wanted.
continue_test() ->
    served(tcp, fun(Port) ->
        Socket = hostile_client:connect(Port),
        Post = fun(Path, More) -> ["POST ", Path, " HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n", More, "\r\n"] end,
        [begin
             ok = gen_tcp:send(Socket, Post("/echo", ["Expect: ", Expect, "\r\n"])),
             {ok, <<"HTTP/1.1 100 Continue\r\n\r\n">>} = gen_tcp:recv(Socket, 0, ?TIMEOUT),
             ok = gen_tcp:send(Socket, "hello"),
             ?assertMatch({200, _, <<"hello">>}, http_client:answer(Socket, "POST"))
         end || Expect <- ["100-continue", "100-Continue"]],
        %% The body is there already.
        ok = gen_tcp:send(Socket, [Post("/echo", "Expect: 100-continue\r\n"), "hello"]),
        ?assertMatch({200, _, <<"hello">>}, http_client:answer(Socket, "POST")),
        %% Nobody wants it: the client may send it or not, so nothing can follow.
        ok = gen_tcp:send(Socket, Post("/", "Expect: 100-continue\r\n")),
        Refused = http_client:answer(Socket, "POST"),
        ?assertEqual({405, <<"close">>}, {http_client:status(Refused), http_client:header(<<"connection">>, Refused)}),
        ?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, ?TIMEOUT))
    end).

%% A body that nobody wants is read to its end, up to 64 KiB.
unwanted_bodies_test() ->
    served(tcp, fun(Port) ->
        [begin
             Socket = hostile_client:connect(Port),
             Head = ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ", integer_to_list(Size), "\r\n\r\n"],
             ok = gen_tcp:send(Socket, [Head, binary:copy(<<"x">>, min(Size, 65536))]),
             ?assertEqual({Size, 405}, {Size, http_client:status(http_client:answer(Socket, "POST"))}),
             _ = gen_tcp:send(Socket, ?GET),
             ?assertEqual({Size, Then}, {Size, then(tcp, Socket)})
         end || {Size, Then} <- [{65535, goes_on}, {65536, goes_on}, {65537, ends}]]
    end).

%% Old clients may ask for more, and get an answer of their version.
old_clients_that_stay_test() ->
    served(tcp, fun(Port) ->
        Socket = hostile_client:connect(Port),
        [begin
             ok = gen_tcp:send(Socket, ["GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"]),
             {200, Answer} = answer(tcp, Socket, <<>>),
             ?assertMatch({0, _}, binary:match(Answer, <<"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n">>))
         end || _ <- [1, 2]]
    end).

%% ---------------------------------------------------------------- one exchange

served(Over, Test) ->
    tcp_or_tls:served(Over, #{http => bad_http:routes()}, Test).

title(Title) -> string:slice(unicode:characters_to_binary(iolist_to_binary(Title), latin1), 0, 60).

%% The status of a request, and whether another one may follow.
outcome(Position, Over, Port, Bytes) ->
    Socket = connect(Over, Port),
    Position =:= second andalso begin
        ok = send(Over, Socket, ?GET),
        {200, _} = answer(Over, Socket, <<>>)
    end,
    _ = send(Over, Socket, Bytes),
    Outcome = case answer(Over, Socket, <<>>) of
                  {Status, _} -> {Status, begin _ = send(Over, Socket, ?GET), then(Over, Socket) end};
                  Other -> {Other, ends}
              end,
    close(Over, Socket),
    Outcome.

then(Over, Socket) ->
    case answer(Over, Socket, <<>>) of
        closed -> ends;
        {200, _} -> goes_on;
        Other -> Other
    end.

%% One answer, all of it, or `closed'.
answer(Over, Socket, Sofar) ->
    case binary:split(Sofar, <<"\r\n\r\n">>) of
        [<<"HTTP/1.", _, " ", Status:3/binary, _/binary>> = Head, Body] ->
            case re:run(Head, "\r\ncontent-length: (\\d+)", [caseless, {capture, all_but_first, binary}]) of
                {match, [Length]} ->
                    case byte_size(Body) >= binary_to_integer(Length) of
                        true -> {binary_to_integer(Status), Sofar};
                        false -> more(Over, Socket, Sofar)
                    end;
                nomatch ->
                    {binary_to_integer(Status), Sofar}
            end;
        _ ->
            more(Over, Socket, Sofar)
    end.

more(Over, Socket, Sofar) ->
    case recv(Over, Socket) of
        {ok, More} -> answer(Over, Socket, <<Sofar/binary, More/binary>>);
        {error, _} when Sofar =:= <<>> -> closed;
        {error, _} -> {cut, Sofar}
    end.
