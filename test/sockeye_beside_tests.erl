%% Ordinary requests that a web server behind answers: what it gets to see of them, and what of its answers arrives.
-module(sockeye_beside_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(upstream, [with/2, with/3, head/1, heads/1, one/0, fields/1, field/2, told/1, ok/2]).
-import(http_client, [get/2, request/4, request/5, ask/3, ask/5]).
-import(hostile_client, [say/2]).

-define(TIMEOUT, 60000).

%% ---------------------------------------------------------------- what the server behind gets

exactly_this_test() ->
    with(told(self()), fun(Port, Server) ->
        ?assertMatch({200, _, <<"hello">>}, get(Port, "/a%2Fb//c?d=e&f")),
        ?assertEqual(<<"GET /a%2Fb//c?d=e&f HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: 127.0.0.1\r\n"
                       "x-forwarded-proto: http\r\nx-forwarded-host: localhost\r\n"
                       "forwarded: for=127.0.0.1;proto=http;host=\"localhost\"">>, one()),
        ?assertMatch({ok, #{requests := 1, proxied := 1, proxy_errors := 0}}, sockeye:info(Server))
    end).

every_method_test() ->
    with(told(self()), fun(Port, _) ->
        [begin
             _ = request(Port, Method, "/", []),
             ?assertEqual([list_to_binary(Method), <<"/ HTTP/1.1">>], binary:split(hd(binary:split(one(), <<"\r\n">>)), <<" ">>))
         end || Method <- ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"]]
    end).

%% What it says of who it is, and fields that a server behind could take for that.
forwarding_headers_of_clients_are_replaced_test() ->
    with(told(self()), fun(Port, _) ->
        Lies = [{"X-Forwarded-For", "9.9.9.9"}, {"X-Forwarded-Proto", "https"}, {"X-Forwarded-Host", "evil"},
                {"X-Forwarded-Port", "1"}, {"X-Forwarded-Whatever", "1"}, {"Forwarded", "for=9.9.9.9"}, {"X-Real-IP", "9.9.9.9"},
                {"X_Forwarded_For", "9.9.9.9"}, {"X_Real_IP", "9.9.9.9"}, {"True-Client-IP", "9.9.9.9"}, {"x.y", "1"}],
        _ = request(Port, "GET", "/", [{"X-Mine", "yes"} | Lies]),
        ?assertEqual([{<<"forwarded">>, <<"for=127.0.0.1;proto=http;host=\"localhost\"">>}, {<<"host">>, <<"localhost">>},
                      {<<"x-forwarded-for">>, <<"127.0.0.1">>}, {<<"x-forwarded-host">>, <<"localhost">>},
                      {<<"x-forwarded-proto">>, <<"http">>}, {<<"x-mine">>, <<"yes">>}], fields(one()))
    end).

a_trusted_proxy_is_believed_test() ->
    with(told(self()), #{trusted_proxies => ["127.0.0.1"]}, fun(Port, _) ->
        _ = request(Port, "GET", "/", [{"X-Forwarded-For", "1.1.1.1"}, {"X-Forwarded-For", "2.2.2.2"},
                                       {"X-Forwarded-Proto", "https"}, {"X-Forwarded-Host", "example.com"},
                                       {"X-Real-IP", "1.1.1.1"}, {"Forwarded", "for=1.1.1.1;proto=https"}]),
        Head = one(),
        ?assertEqual([[<<"1.1.1.1, 2.2.2.2, 127.0.0.1">>], [<<"https">>], [<<"example.com">>], [<<"1.1.1.1">>],
                      [<<"for=1.1.1.1;proto=https, for=127.0.0.1;proto=https;host=\"localhost\"">>]],
                     [field(Name, Head) || Name <- [<<"x-forwarded-for">>, <<"x-forwarded-proto">>, <<"x-forwarded-host">>,
                                                    <<"x-real-ip">>, <<"forwarded">>]])
    end).

of_the_connection_test() ->
    with(told(self()), fun(Port, _) ->
        _ = request(Port, "GET", "/", [{"Connection", "X-One, keep-alive"}, {"X-One", "1"}, {"Connection", "x-two"},
                                       {"X-Two", "2"}, {"X-Three", "3"}, {"Keep-Alive", "timeout=5"}, {"TE", "trailers"},
                                       {"Proxy-Connection", "keep-alive"}, {"Proxy-Authorization", "Basic x"},
                                       {"Upgrade", "h2c"}, {"HTTP2-Settings", "AAMAAABk"}, {"Expect", "100-continue"}]),
        Head = one(),
        ?assertEqual([<<"forwarded">>, <<"host">>, <<"x-forwarded-for">>, <<"x-forwarded-host">>, <<"x-forwarded-proto">>,
                      <<"x-three">>], [Name || {Name, _} <- fields(Head)]),
        %% Naming a field of ours takes nothing away.
        _ = request(Port, "GET", "/", [{"Connection", "host, x-forwarded-for, forwarded"}]),
        Named = one(),
        ?assertMatch([[_], [_], [_]], [field(Name, Named) || Name <- [<<"host">>, <<"x-forwarded-for">>, <<"forwarded">>]])
    end).

host_test() ->
    with(told(self()), fun(Port, _) ->
        _ = say(Port, "GET / HTTP/1.0\r\n\r\n"),
        ?assertMatch([<<"127.0.0.1:", _/binary>>], field(<<"host">>, one())),
        %% The form that proxies are sent: its authority is the host.
        _ = say(Port, "GET http://example.com:81/x?y HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"),
        Head = one(),
        ?assertMatch(<<"GET /x?y HTTP/1.1\r\n", _/binary>>, Head),
        ?assertEqual([<<"example.com:81">>], field(<<"host">>, Head)),
        _ = say(Port, "GET http://example.com?y HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n"),
        ?assertMatch(<<"GET /?y HTTP/1.1\r\n", _/binary>>, one())
    end).

%% Only what belongs to the server behind gets there.
routes_test() ->
    Http = #{"/text" => {text, "ours"}, "/fun/*" => fun(_) -> {200, [], "fun"} end},
    with(told(self()), #{http => Http, health => "/health"}, fun(Port, _) ->
        ?assertMatch({200, _, <<"ours">>}, get(Port, "/text")),
        ?assertMatch({200, _, <<"ours">>}, get(Port, "/%74ext")),
        ?assertMatch({200, _, <<"fun">>}, get(Port, "/fun/1")),
        ?assertMatch({200, _, <<"ok\n">>}, get(Port, "/health")),
        ?assertMatch({204, _, _}, request(Port, "OPTIONS", "*", [])),
        ?assertMatch({200, _, <<"hello">>}, get(Port, "/text/more")),
        ?assertMatch(<<"GET /text/more ", _/binary>>, one()),
        receive {head, _, More} -> error({asked, More}) after 0 -> ok end
    end).

below_a_path_test() ->
    Self = self(),
    with(told(Self), fun(Behind, _) ->
        Options = #{http => #{"/app" => {proxy, upstream:url(Behind)}}},
        test_support:with_server(Options, fun(Port, _) ->
            [?assertMatch({P, {200, _, <<"hello">>}}, {P, get(Port, P)}) || P <- ["/app", "/app/", "/app/x/y"]],
            [?assertMatch({P, {404, _, _}}, {P, get(Port, P)}) || P <- ["/", "/apps", "/ap"]],
            ?assertMatch(<<"GET /app ", _/binary>>, one())
        end)
    end).

%% ---------------------------------------------------------------- what is never passed on

smuggling_test_() ->
    Body = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
    [{Title, fun() ->
        with(told(self()), fun(Port, _) ->
            Answer = say(Port, [Bytes, Body]),
            ?assertMatch({_, <<"HTTP/1.1 ", S, _/binary>>} when S =:= $4; S =:= $5, {Title, Answer}),
            receive {head, _, Head} -> error({passed_on, Head}) after 0 -> ok end,
            %% Nor is there anything left of it for the next.
            ?assertMatch({200, _, <<"hello">>}, get(Port, "/next")),
            ?assertMatch(<<"GET /next ", _/binary>>, one())
        end)
      end} || {Title, Bytes} <-
        [{"two lengths", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n")},
         {"two lengths, the other way", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n")},
         {"the same length twice", post("Content-Length: 5\r\nContent-Length: 5\r\n")},
         {"a list of lengths", post("Content-Length: 5, 5\r\n")},
         {"a signed length", post("Content-Length: +5\r\n")},
         {"chunked twice", post("Transfer-Encoding: chunked, chunked\r\n")},
         {"chunked, not last", post("Transfer-Encoding: chunked, identity\r\n")},
         {"another coding", post("Transfer-Encoding: xchunked\r\n")},
         {"two codings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n")},
         {"a space before the colon", post("Transfer-Encoding : chunked\r\n")},
         {"a tab in a name", post("Transfer\tEncoding: chunked\r\n")},
         {"an odd name", post("Transfer-Encoding\0: chunked\r\n")},
         {"a folded line", post("X: y\r\n Transfer-Encoding: chunked\r\n")},
         {"a bare LF", post("X: y\nTransfer-Encoding: chunked\r\n")},
         {"a bare CR", post("X: y\rTransfer-Encoding: chunked\r\n")},
         {"no host", "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"},
         {"two hosts", post("Host: b\r\nContent-Length: 5\r\n")},
         {"chunks in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"},
         {"another form", "POST ftp://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"},
         {"the form of CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"},
         {"a fragment", "POST /#x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"},
         {"another version", "POST / HTTP/3.0\r\nHost: a\r\nContent-Length: 5\r\n\r\n"},
         {"a WebSocket with a body", post("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 5\r\n")}]
        ++ [{"the path " ++ Path, ["GET ", Path, " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]}
            || Path <- ["/..", "/a/../b", "/a/%2e%2E/b", "/a/..%2fb", "/.", "/a\\b", "/a/..;x/b", "/%00", "/%", "/%zz", "/<a>"]]].

post(Lines) -> ["POST / HTTP/1.1\r\nHost: a\r\n", Lines, "\r\n"].

%% A content whose chunks are malformed ends there, and the request with it.
malformed_chunks_test() ->
    Self = self(),
    Serve = fun(Socket, _) ->
        %% It may end before anything was written.
        case head(Socket) of
            {_, Rest} -> Self ! {got, <<Rest/binary, (rest(Socket))/binary>>};
            closed -> Self ! {got, <<>>}
        end
    end,
    with(Serve, fun(Port, _) ->
        Answer = say(Port, [post("Transfer-Encoding: chunked\r\n"), "5\r\nhello\r\n5\nworld\r\n0\r\n\r\n"]),
        ?assertMatch(<<"HTTP/1.1 400 ", _/binary>>, Answer),
        receive
            {got, Content} -> ?assertEqual(nomatch, binary:match(Content, [<<"world">>, <<"0\r\n\r\n">>]))
        after ?TIMEOUT -> error(not_ended)
        end
    end).

rest(Socket) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, More} -> <<More/binary, (rest(Socket))/binary>>;
        {error, _} -> <<>>
    end.

%% ---------------------------------------------------------------- contents

content_test_() ->
    [{Title, fun() ->
        Self = self(),
        Serve = fun(Socket, _) ->
            {Head, Rest} = head(Socket),
            Self ! {got, field(<<"content-length">>, Head), field(<<"transfer-encoding">>, Head),
                    <<Rest/binary, (more(Socket, Behind, Rest))/binary>>},
            ok = ok(Socket, "done")
        end,
        with(Serve, fun(Port, _) ->
            Answer = say(Port, [Before, "\r\n", Sent]),
            ?assertMatch({_, _}, binary:match(Answer, <<"\r\n\r\ndone">>)),
            receive {got, Length, Coding, Got} -> ?assertEqual({Lengths, Codings, Behind}, {Length, Coding, Got})
            after ?TIMEOUT -> error(not_asked)
            end
        end)
      end} || {Title, Before, Sent, Lengths, Codings, Behind} <-
        [{"none", last("GET", ""), "", [], [], <<>>},
         {"an empty one", last("POST", "Content-Length: 0\r\n"), "", [<<"0">>], [], <<>>},
         {"a length", last("POST", "Content-Length: 5\r\n"), "hello", [<<"5">>], [], <<"hello">>},
         {"of a GET", last("GET", "Content-Length: 5\r\n"), "hello", [<<"5">>], [], <<"hello">>},
         {"chunks, written anew", last("PUT", "Transfer-Encoding: Chunked\r\n"),
          "005;x=\"y\"\r\nhello\r\n0\r\nX-Trailer: t\r\n\r\n", [], [<<"chunked">>], <<"5\r\nhello\r\n0\r\n\r\n">>}]].

last(Method, Lines) -> [Method, " / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", Lines].

more(Socket, All, Had) when byte_size(Had) < byte_size(All) ->
    {ok, Bytes} = gen_tcp:recv(Socket, byte_size(All) - byte_size(Had), ?TIMEOUT),
    Bytes;
more(_, _, _) -> <<>>.

expect_test() ->
    Self = self(),
    Serve = fun(Socket, _) ->
        {Head, Rest} = head(Socket),
        Self ! {got, field(<<"expect">>, Head), <<Rest/binary, (more(Socket, <<"hello">>, Rest))/binary>>},
        ok = ok(Socket, "done")
    end,
    with(Serve, fun(Port, _) ->
        Socket = http_client:connect(Port),
        ok = gen_tcp:send(Socket, post("Content-Length: 5\r\nExpect: 100-continue\r\n")),
        {ok, <<"HTTP/1.1 100 Continue\r\n\r\n">>} = gen_tcp:recv(Socket, 25, ?TIMEOUT),
        ok = gen_tcp:send(Socket, "hello"),
        ?assertMatch({200, _, <<"done">>}, http_client:answer(Socket, "POST")),
        receive {got, [], <<"hello">>} -> ok after ?TIMEOUT -> error(not_asked) end
    end).

max_body_size_test_() ->
    [{lists:concat([Size, " ", Form]), fun() ->
        Serve = fun(Socket, _) ->
            case head(Socket) of
                {_, Rest} -> _ = until_answered(Socket, Rest), ok;
                closed -> ok
            end
        end,
        with(Serve, #{proxy => #{max_body_size => 1000}}, fun(Port, _) ->
            Content = binary:copy(<<"x">>, Size),
            Bytes = case Form of
                        length -> [last("POST", ["Content-Length: ", integer_to_list(Size), "\r\n"]), "\r\n", Content];
                        chunks -> [last("POST", "Transfer-Encoding: chunked\r\n"), "\r\n", integer_to_list(Size, 16), "\r\n",
                                   Content, "\r\n0\r\n\r\n"]
                    end,
            ?assertMatch(<<"HTTP/1.1 ", Status:3/binary, _/binary>>, say(Port, Bytes))
        end)
      end} || {Size, Status} <- [{999, <<"200">>}, {1000, <<"200">>}, {1001, <<"413">>}], Form <- [length, chunks]].

until_answered(Socket, Had) when byte_size(Had) >= 999 -> ok(Socket, "done");
until_answered(Socket, Had) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, More} -> until_answered(Socket, <<Had/binary, More/binary>>);
        {error, _} -> closed
    end.

%% ---------------------------------------------------------------- answers

answers_test_() ->
    [{Title, fun() ->
        with(fun(Socket, _) -> {_, _} = head(Socket), ok = gen_tcp:send(Socket, Sent), gen_tcp:close(Socket) end, fun(Port, _) ->
            Answer = say(Port, [Method, " / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]),
            ?assertEqual({Title, Expected}, {Title, re:replace(Answer, "date: [^\r]*\r\n", "", [{return, binary}])})
        end)
      end} || {Title, Method, Sent, Expected} <-
        [{"a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\nX-A: c\r\n\r\nhello",
          <<"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\nx-a: b\r\nx-a: c\r\n\r\nhello">>},
         {"chunks and trailers", "GET",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5;a\r\nhello\r\n0\r\nX-T: 1\r\nContent-Length: 7\r\n\r\n",
          <<"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n">>},
         {"until it closes", "GET", "HTTP/1.0 200 OK\r\n\r\nhello",
          <<"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n">>},
         {"of its connection", "GET",
          "HTTP/1.1 200 OK\r\nConnection: X-One, close\r\nX-One: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n"
          "Proxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
          <<"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n">>},
         {"to HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n",
          <<"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 12345\r\n\r\n">>},
         {"to HEAD, of no length", "HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
          <<"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n">>},
         {"not modified", "GET", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 7\r\n\r\n",
          <<"HTTP/1.1 304 Not Modified\r\nconnection: close\r\ncontent-length: 7\r\netag: \"x\"\r\n\r\n">>},
         {"nothing", "GET", "HTTP/1.1 204 No Content\r\n\r\n", <<"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n">>},
         {"a part", "GET", "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/5\r\nContent-Length: 2\r\n\r\nhe",
          <<"HTTP/1.1 206 Partial Content\r\nconnection: close\r\ncontent-length: 2\r\ncontent-range: bytes 0-1/5\r\n\r\nhe">>},
         {"answers before it", "GET",
          "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\n"
          "HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
          <<"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </b>\r\n\r\n"
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n">>}]].

%% HTTP/1.0 has no chunks: the end is the end of the connection.
to_an_old_client_test() ->
    Serve = fun(Socket, _) ->
        {_, _} = head(Socket),
        ok = gen_tcp:send(Socket, "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    end,
    with(Serve, fun(Port, _) ->
        Answer = say(Port, "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"),
        ?assertMatch(<<"HTTP/1.0 200 OK\r\nconnection: close\r\n", _/binary>>, Answer),
        ?assertMatch([_, <<"hello">>], binary:split(Answer, <<"\r\n\r\n">>))
    end).

%% ---------------------------------------------------------------- connections that are kept

kept_test() ->
    with(told(self()), fun(Port, _) ->
        [?assertMatch({200, _, <<"hello">>}, get(Port, "/")) || _ <- lists:seq(1, 10)],
        Socket = http_client:connect(Port),
        [?assertMatch({200, _, <<"hello">>}, ask(Socket, "GET", "/")) || _ <- lists:seq(1, 10)],
        Connections = lists:usort([N || {N, _} <- heads(20)]),
        %% One on each thread of the engine.
        {ok, #{shards := Shards}} = sockeye:info(),
        ?assert(length(Connections) =< Shards)
    end).

not_kept_test_() ->
    [{Title, fun() ->
        with(told(self()), #{proxy => Options}, fun(Port, _) ->
            Socket = http_client:connect(Port),
            {200, _, _} = ask(Socket, "GET", "/"),
            receive {closed, 1} -> ok after ?TIMEOUT -> error(not_closed) end,
            {200, _, _} = ask(Socket, "GET", "/"),
            ?assertMatch([{1, _}, {2, _}], heads(2))
        end)
      end} || {Title, Options} <- [{"no pool", #{pool_size => 0}}, {"its time is over", #{keepalive => 50}}]].

%% It closes the connection just when the next request comes.
closed_between_test_() ->
    [{Method, fun() ->
        Self = self(),
        Serve = fun(Socket, 1) ->
                        {_, _} = head(Socket),
                        ok = ok(Socket, "one"),
                        {_, _} = head(Socket),
                        Self ! lost,
                        gen_tcp:close(Socket);
                   (Socket, 2) ->
                        {_, _} = head(Socket),
                        ok = ok(Socket, "two")
                end,
        with(Serve, fun(Port, Server) ->
            Socket = http_client:connect(Port),
            ?assertMatch({200, _, <<"one">>}, ask(Socket, "GET", "/")),
            ?assertMatch({Status, _, _}, ask(Socket, Method, "/", [], Body)),
            receive lost -> ok after ?TIMEOUT -> error(not_lost) end,
            {ok, #{proxied := 2, proxy_errors := Errors}} = sockeye:info(Server),
            ?assertEqual(Status =:= 502, Errors =:= 1)
        end)
      end} || {Method, Body, Status} <- [{"GET", "", 200}, {"DELETE", "", 200}, {"PUT", "body", 502}, {"POST", "", 502},
                                         {"POST", "body", 502}]].

%% A connection that has ended is taken for no request, which may be one that must not come twice.
ended_between_test() ->
    Self = self(),
    Serve = fun(Socket, N) ->
        {_, _} = head(Socket),
        ok = ok(Socket, integer_to_list(N)),
        gen_tcp:close(Socket),
        Self ! {ended, N}
    end,
    with(Serve, #{http => #{"/ours" => fun(_) -> {404, [], ""} end}}, fun(Port, Server) ->
        Socket = http_client:connect(Port),
        [begin
             ?assertEqual({200, integer_to_binary(N)}, begin {S, _, B} = ask(Socket, "POST", "/", [], "x"), {S, B} end),
             receive {ended, N} -> ok after ?TIMEOUT -> error(not_ended) end,
             %% The same thread has heard of the end when it answers this.
             ?assertMatch({404, _, _}, ask(Socket, "GET", "/ours"))
         end || N <- lists:seq(1, 5)],
        ?assertMatch({ok, #{proxy_errors := 0}}, sockeye:info(Server))
    end).
