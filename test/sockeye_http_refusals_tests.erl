%% What is refused is told in a sentence: whatever the status, as first request of a connection and as a
%% later one, over TCP, TLS and HTTP/2. A HEAD gets its length. And what a request shows of itself:
%% cookies, and that HTTP/1.0 asks for no WebSocket.
-module(sockeye_http_refusals_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2]).
-import(tcp_or_tls, [served/3, connect/2, send/3, recv/2, close/2]).
-import(h2_frames, [headers/3, block/1, data_end/2, connect_fields/0]).

-define(TIMEOUT, 60000).
-define(END_STREAM, 1).
-define(UPGRADE, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n").

routes() ->
    Echo = fun(#{body := Body}) -> {200, [], Body} end,
    #{http => #{"/" => {text, "hello"}, "/echo" => Echo, "/slow" => fun(_) -> receive after infinity -> ok end end,
                "/fails" => fun(_) -> error(fails) end},
      paths => ["/ws", "/wait"], origins => ["https://a.example"], max_body_size => 10, accept_timeout => 100, format => raw}.

%% {Title, Method, Target, Lines, Status}: what the server says no to, as HTTP/1 has it.
requests() ->
    Long = lists:duplicate(20000, $a),
    [{"no host", "GET", "/", "", 400},
     {"two hosts", "GET", "/", "Host: a\r\nHost: b\r\n", 400},
     {"a fragment", "GET", "/#a", "Host: a\r\n", 400},
     {"an origin", "GET", "/ws", ["Host: a\r\n", ?UPGRADE, "Origin: https://b.example\r\n"], 403},
     {"nothing there", "GET", "/nothing", "Host: a\r\n", 404},
     {"no WebSockets there", "GET", "/", ["Host: a\r\n", ?UPGRADE], 404},
     {"only to be read", "DELETE", "/", "Host: a\r\n", 405},
     {"not GET", "POST", "/ws", ["Host: a\r\n", ?UPGRADE], 405},
     {"a large body", "POST", "/echo", "Host: a\r\nContent-Length: 11\r\n", 413},
     {"a long line", "GET", ["/", Long], "Host: a\r\n", 414},
     {"WebSockets only", "GET", "/ws", "Host: a\r\n", 426},
     {"an old version", "GET", "/ws", "Host: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\n", 426},
     {"a large head", "GET", "/", ["Host: a\r\nX: ", Long, "\r\n"], 431},
     {"many headers", "GET", "/", ["Host: a\r\n", lists:duplicate(100, "X: y\r\n")], 431},
     {"a function that fails", "GET", "/fails", "Host: a\r\n", 500},
     {"an unknown coding", "POST", "/echo", "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", 501},
     {"CONNECT", "CONNECT", "/", "Host: a\r\n", 501},
     {"a function that is slow", "GET", "/slow", "Host: a\r\n", 503}].

%% The same as HEAD, where it comes to the same.
as_head() ->
    [{Title, "HEAD", Target, Lines, Status}
     || {Title, "GET", Target, Lines, Status} <- requests(), not lists:member(Title, ["an origin", "an old version", "WebSockets only"])]
        ++ [{"not GET", "HEAD", "/ws", ["Host: a\r\n", ?UPGRADE], 405},
            {"an unknown coding", "HEAD", "/echo", "Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", 501}].

each_has_a_sentence_test_() ->
    [{lists:concat([Position, " over ", Over]), {timeout, 120, fun() ->
        served(Over, routes(), fun(Port) ->
            test_support:quiet(fun() ->
                ?assertEqual([], [{Title, Method, Status, Got} || {Title, Method, Target, Lines, Status} <- requests() ++ as_head(),
                                                                  Got <- [asked(Position, Over, Port, Method, Target, Lines)],
                                                                  Got =/= sentence(Method, Status)])
            end)
        end)
     end}} || Over <- [tcp, tls], Position <- [first, second]].

%% A server of WebSockets only, with no routes, is no less polite.
without_routes_test_() ->
    [{lists:concat([Over]), {timeout, 60, fun() ->
        served(Over, #{format => raw}, fun(Port) ->
            ?assertEqual([], [{Method, Version, Status, Got}
                              || {Method, Version, Lines, Status} <-
                                     [{"GET", "HTTP/1.1", "", 426}, {"HEAD", "HTTP/1.1", "", 405}, {"POST", "HTTP/1.1", "", 405},
                                      {"HEAD", "HTTP/1.1", ?UPGRADE, 405}, {"GET", "HTTP/1.0", "", 426},
                                      {"GET", "HTTP/1.0", ?UPGRADE, 426}, {"HEAD", "HTTP/1.0", ?UPGRADE, 405},
                                      {"GET", "HTTP/2.0", "", 505}, {"HEAD", "HTTP/2.0", "", 505}],
                                 Got <- [told(Method, exchange(Over, Port, [Method, " / ", Version, "\r\nHost: a\r\n", Lines, "\r\n"]))],
                                 Got =/= sentence(Method, Status)]),
            receive {sockeye, _, {open, Info}} -> error({open, Info}) after 0 -> ok end
        end)
     end}} || Over <- [tcp, tls]].

%% Before a request has been read there is one for those who come too often, or not over TLS.
before_a_request_test() ->
    Get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    with_server(#{max_connections => 1, format => raw}, fun(Port, _) ->
        {_, _} = test_support:open(Port),
        ?assertEqual(sentence("GET", 503), told("GET", hostile_client:say(Port, Get)))
    end),
    with_server(#{connection_rate => #{rate => 1, burst => 1}, format => raw}, fun(Port, _) ->
        {_, _} = test_support:open(Port),
        ?assertEqual(sentence("GET", 429), told("GET", hostile_client:say(Port, Get)))
    end),
    served(tls, #{format => raw}, fun(Port) ->
        [?assertEqual(sentence(Method, 400), told(Method, hostile_client:say(Port, [Method, " / HTTP/1.1\r\nHost: a\r\n\r\n"])))
         || Method <- ["GET", "HEAD"]]
    end).

%% Over HTTP/2: the same statuses.
over_http2_test_() ->
    Base = [{<<":method">>, <<"GET">>}, {<<":scheme">>, <<"http">>}, {<<":path">>, <<"/">>}, {<<":authority">>, <<"a">>}],
    With = fun(Fields, Changes) -> lists:foldl(fun({N, V}, F) -> lists:keystore(N, 1, F, {N, V}) end, Fields, Changes) end,
    Long = binary:copy(<<"a">>, 20000),
    Get = fun(Changes) -> With(Base, Changes) end,
    Cases = [{400, Get([{<<":scheme">>, <<"ftp">>}])}, {400, Get([{<<":authority">>, <<"a:port">>}])},
             {404, Get([{<<":path">>, <<"/nothing">>}])}, {414, Get([{<<":path">>, <<"/", Long/binary>>}])},
             {426, Get([{<<":path">>, <<"/ws">>}])}, {431, Get([{<<"x">>, Long}])}, {431, Base ++ [{<<"x">>, <<>>} || _ <- lists:seq(1, 101)]},
             {500, Get([{<<":path">>, <<"/fails">>}])}, {503, Get([{<<":path">>, <<"/slow">>}])},
             {405, Get([{<<":method">>, <<"DELETE">>}])}, {413, Get([{<<":method">>, <<"POST">>}, {<<":path">>, <<"/echo">>}])},
             {404, With(connect_fields(), [{<<":path">>, <<"/nothing">>}])},
             {403, With(connect_fields(), [{<<":path">>, <<"/ws">>}, {<<"origin">>, <<"https://b.example">>}])},
             {400, With(connect_fields(), [{<<":path">>, <<"/ws">>}, {<<"sec-websocket-version">>, <<"8">>}])},
             {501, With(connect_fields(), [{<<":protocol">>, <<"other">>}])},
             {501, [{<<":method">>, <<"CONNECT">>}, {<<":authority">>, <<"a:80">>}]}],
    Heads = [{Status, lists:keyreplace(<<":method">>, 1, Fields, {<<":method">>, <<"HEAD">>})}
             || {Status, [{<<":method">>, <<"GET">>} | _] = Fields} <- Cases, Status =/= 426]
        ++ [{405, Get([{<<":method">>, <<"HEAD">>}, {<<":path">>, <<"/ws">>}])}],
    [{Title, {timeout, 60, fun() ->
        with_server((routes())#{http2 => cleartext}, fun(Port, _) ->
            test_support:quiet(fun() ->
                Socket = hostile_client:connect(Port),
                ok = h2_frames:shake(Socket),
                %% What a text has for a type, in the code of heads.
                ok = gen_tcp:send(Socket, h2_frames:get(1, <<"/">>)),
                {Text, _} = on(Socket, 1),
                Type = h2_frames:content_type(Text),
                Numbered = lists:zip(lists:seq(3, 2 * length(All) + 1, 2), All),
                Answers = [{Status, over_http2(Socket, Stream, Fields, Type)} || {Stream, {Status, Fields}} <- Numbered],
                ?assertEqual([], [Bad || {Status, Got} = Bad <- Answers, Got =/= {Status, Kind}]),
                gen_tcp:close(Socket)
            end)
        end)
     end}} || {Title, Kind, All} <- [{"GET and others", sentence, Cases}, {"HEAD", none, Heads}]].

%% {Status, What content there is}: a sentence of the length that its head says, or none.
over_http2(Socket, Stream, Fields, Type) ->
    Flags = case lists:keyfind(<<":protocol">>, 1, Fields) of
                false -> ?END_STREAM;
                _ -> 0
            end,
    case lists:member({<<":path">>, <<"/echo">>}, Fields) of
        true -> ok = gen_tcp:send(Socket, [headers(Stream, 0, block(Fields)), data_end(Stream, "more than ten")]);
        false -> ok = gen_tcp:send(Socket, headers(Stream, Flags, block(Fields)))
    end,
    {Head, Ends} = on(Socket, Stream),
    [{Stream, Status}] = h2_frames:statuses([{1, 0, Stream, Head}]),
    Length = h2_frames:content_length(Head),
    Content = case Ends of
                  true -> <<>>;
                  false -> content(Socket, Stream, <<>>)
              end,
    Typed = h2_frames:content_type(Head) =:= Type,
    {Status, case Content of
                 <<>> when Length > 10, Typed -> none;
                 _ when byte_size(Content) =:= Length, Typed -> is_sentence(Content);
                 _ -> {Length, Typed, Content}
             end}.

on(Socket, Stream) ->
    case h2_frames:next(Socket) of
        {1, Flags, Stream, Head} -> {Head, Flags band ?END_STREAM =/= 0};
        {7, _, _, _} = Goaway -> error(Goaway);
        {3, _, Stream, Why} -> error({reset, Why});
        _ -> on(Socket, Stream)
    end.

content(Socket, Stream, Sofar) ->
    case h2_frames:next(Socket) of
        {0, Flags, Stream, More} when Flags band ?END_STREAM =/= 0 -> <<Sofar/binary, More/binary>>;
        {0, _, Stream, More} -> content(Socket, Stream, <<Sofar/binary, More/binary>>);
        _ -> content(Socket, Stream, Sofar)
    end.

%% ---------------------------------------------------------------- what a request shows

%% Two lines of cookies are one, wherever headers are shown.
cookies_test_() ->
    [{lists:concat([Over]), {timeout, 60, fun() ->
        Self = self(),
        Shown = fun(#{headers := Headers}) -> proplists:get_all_values(<<"cookie">>, Headers) end,
        Http = #{"/shown" => fun(Request) -> {200, [], lists:join("|", Shown(Request))} end},
        Accept = fun(Request) -> Self ! {accept, Shown(Request)}, {accept, #{}} end,
        served(Over, #{http => Http, accept => Accept, format => raw, http2 => cleartext}, fun(Port) ->
            [begin
                 ?assertEqual({Cookies, iolist_to_binary(lists:join("|", Joined))}, {Cookies, shown(Over, Port, Cookies)}),
                 ?assertEqual({Cookies, Joined, Joined}, {Cookies, opened(Over, Port, Cookies), receive {accept, C} -> C end})
             end || {Cookies, Joined} <- [{[], []}, {["a=1"], [<<"a=1">>]}, {["a=1", "b=2; c=3"], [<<"a=1; b=2; c=3">>]},
                                          {["a=1", "b=2", "c"], [<<"a=1; b=2; c">>]}]]
        end)
     end}} || Over <- [tcp, tls, http2]].

shown(http2, Port, Cookies) ->
    Socket = hostile_client:connect(Port),
    ok = h2_frames:shake(Socket),
    Base = [{<<":method">>, <<"GET">>}, {<<":scheme">>, <<"http">>}, {<<":path">>, <<"/shown">>}, {<<":authority">>, <<"a">>}],
    ok = gen_tcp:send(Socket, headers(1, ?END_STREAM, block(Base ++ crumbs(Cookies)))),
    {_, Ends} = on(Socket, 1),
    Content = case Ends of
                  true -> <<>>;
                  false -> content(Socket, 1, <<>>)
              end,
    gen_tcp:close(Socket),
    Content;
shown(Over, Port, Cookies) ->
    Answer = exchange(Over, Port, ["GET /shown HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", lines(Cookies), "\r\n"]),
    [_, Body] = binary:split(Answer, <<"\r\n\r\n">>),
    Body.

%% What the event of a WebSocket says.
opened(Over, Port, Cookies) ->
    Leave = case Over of
                http2 ->
                    Socket = hostile_client:connect(Port),
                    ok = h2_frames:shake(Socket),
                    ok = gen_tcp:send(Socket, headers(1, 0, block(connect_fields() ++ crumbs(Cookies)))),
                    fun() -> gen_tcp:close(Socket) end;
                _ ->
                    Socket = connect(Over, Port),
                    ok = send(Over, Socket, ["GET / HTTP/1.1\r\nHost: a\r\n", ?UPGRADE, lines(Cookies), "\r\n"]),
                    fun() -> close(Over, Socket) end
            end,
    receive {sockeye, Conn, {open, #{headers := Headers}}} ->
        _ = Leave(),
        ?assertEqual(1006, test_support:closed(Conn)),
        proplists:get_all_values(<<"cookie">>, Headers)
    after ?TIMEOUT -> error(not_open)
    end.

lines(Cookies) -> [["Cookie: ", Cookie, "\r\n"] || Cookie <- Cookies].

crumbs(Cookies) -> [{<<"cookie">>, list_to_binary(Cookie)} || Cookie <- Cookies].

%% ---------------------------------------------------------------- one exchange

%% What an answer with this status has: {Status, Type, Whether the length is right, Content}.
sentence("HEAD", Status) -> {Status, <<"text/plain; charset=utf-8">>, none};
sentence(_, Status) -> {Status, <<"text/plain; charset=utf-8">>, sentence}.

told(Method, <<"HTTP/1.1 ", Digits:3/binary, " ", _/binary>> = Answer) ->
    [Head, Content] = binary:split(Answer, <<"\r\n\r\n">>),
    Length = binary_to_integer(field("content-length", Head)),
    {binary_to_integer(Digits), field("content-type", Head),
     case Content of
         <<>> when Method =:= "HEAD", Length > 10 -> none;
         _ when byte_size(Content) =:= Length -> is_sentence(Content);
         _ -> {Length, Content}
     end};
told(_, <<"HTTP/1.0 ", Rest/binary>>) -> {old, Rest};
told(_, Other) -> Other.

is_sentence(Content) ->
    case re:run(Content, "^[A-Z][^\r\n]{8,}[.]\n$") of
        {match, _} -> sentence;
        nomatch -> Content
    end.

field(Name, Head) ->
    {match, [Value]} = re:run(Head, ["\r\n", Name, ": ([^\r]*)"], [caseless, {capture, all_but_first, binary}]),
    Value.

%% The last request of a connection, and all of its answer.
asked(Position, Over, Port, Method, Target, Lines) ->
    Before = [["GET / HTTP/1.1\r\nHost: a\r\n\r\n"] || second <- [Position]],
    Closes = case re:run(Lines, "Connection: Upgrade") of
                 nomatch -> "Connection: close\r\n";
                 _ -> ""
             end,
    Answer = exchange(Over, Port, [Before, Method, " ", Target, " HTTP/1.1\r\n", Lines, Closes, "\r\n"]),
    told(Method, case Position of
                     first -> Answer;
                     second -> [_, Last] = binary:split(Answer, <<"\r\n\r\nhello">>), Last
                 end).

exchange(Over, Port, Bytes) ->
    Socket = connect(Over, Port),
    _ = send(Over, Socket, Bytes),
    Answer = all(Over, Socket, <<>>),
    close(Over, Socket),
    Answer.

all(Over, Socket, Sofar) ->
    case recv(Over, Socket) of
        {ok, More} -> all(Over, Socket, <<Sofar/binary, More/binary>>);
        {error, timeout} -> {open, Sofar};
        {error, _} -> Sofar
    end.
