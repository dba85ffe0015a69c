%% Servers and proxies that lie, or say nothing: each is an error within its
%% deadline, and nothing is left behind.
-module(sockeye_client_bad_servers_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [url/1]).

-import(raw_server, [head/1, accept/1, say/2, await_end/1, tunnel/2]).

-define(TIMEOUT, 60000).
-define(SWITCH, "HTTP/1.1 101 Switching Protocols\r\n").
-define(UPGRADE, "Upgrade: websocket\r\nConnection: Upgrade\r\n").

%% What a client is told, of a server that answers with Answer(Accept).
answer(Answer) -> answer(Answer, #{}).

answer(Answer, Options) ->
    Self = self(),
    Script = fun(Socket) ->
        Head = head(Socket),
        say(Socket, Answer(accept(Head))),
        Self ! {left, await_end(Socket)}
    end,
    raw_server:with(Script, fun(Port) ->
        Result = sockeye_client:connect(url(Port), maps:merge(#{connect_timeout => 5000}, Options)),
        receive {left, gone} -> ok after ?TIMEOUT -> error(client_stays) end,
        Result
    end).

bad_answers_test_() ->
    Good = fun(Accept) -> [?UPGRADE, "Sec-WebSocket-Accept: ", Accept, "\r\n"] end,
    Cases =
        [{"wrong accept", accept, fun(_) -> [?SWITCH, Good("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "\r\n"] end},
         {"no accept", accept, fun(_) -> [?SWITCH, ?UPGRADE, "\r\n"] end},
         {"two accepts", accept, fun(A) -> [?SWITCH, Good(A), "Sec-WebSocket-Accept: x\r\n\r\n"] end},
         {"no upgrade", upgrade, fun(A) -> [?SWITCH, "Connection: Upgrade\r\nSec-WebSocket-Accept: ", A, "\r\n\r\n"] end},
         {"other upgrade", upgrade, fun(A) -> [?SWITCH, "Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ", A, "\r\n\r\n"] end},
         {"two upgrades", upgrade, fun(A) -> [?SWITCH, "Upgrade: h2c, websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ", A, "\r\n\r\n"] end},
         {"no connection", connection, fun(A) -> [?SWITCH, "Upgrade: websocket\r\nSec-WebSocket-Accept: ", A, "\r\n\r\n"] end},
         {"unasked extension", extension, fun(A) -> [?SWITCH, Good(A), "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"] end},
         {"unasked subprotocol", subprotocol, fun(A) -> [?SWITCH, Good(A), "Sec-WebSocket-Protocol: chat\r\n\r\n"] end},
         {"two subprotocols", subprotocol, fun(A) -> [?SWITCH, Good(A), "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n\r\n"] end},
         {"junk before", malformed, fun(A) -> ["\r\n\r\njunk\r\n", ?SWITCH, Good(A), "\r\n"] end},
         {"frames before", malformed, fun(_) -> <<16#81, 2, "hi">> end},
         {"TLS", malformed, fun(_) -> <<21, 3, 1, 0, 2, 2, 40>> end},
         {"bare LF", malformed, fun(A) -> ["HTTP/1.1 101 x\n", Good(A), "\r\n"] end},
         {"a greeting that waits", malformed, fun(_) -> "SSH-2.0-OpenSSH_9.2\r\n" end},
         {"HTTP/1.0", malformed, fun(A) -> ["HTTP/1.0 101 x\r\n", Good(A), "\r\n"] end},
         {"HTTP/2", malformed, fun(_) -> "HTTP/2 200\r\n\r\n" end},
         {"endless line", too_large, fun(_) -> [?SWITCH, "X: ", binary:copy(<<"x">>, 20000)] end},
         {"endless headers", too_large, fun(A) -> [?SWITCH, Good(A), lists:duplicate(101, "X: y\r\n"), "\r\n"] end}],
    [{Name, fun() -> ?assertEqual({error, {bad_handshake, Why}}, answer(Answer, #{subprotocols => subprotocols(Why, Name)})) end}
     || {Name, Why, Answer} <- Cases].

subprotocols(_, "two subprotocols") -> ["a"];
subprotocols(subprotocol, _) -> ["superchat"];
subprotocols(_, _) -> [].

%% The bound on a head, from both sides.
a_head_of_every_size_test_() ->
    [fun() ->
             Result = answer(fun(A) ->
                 Head = iolist_to_binary([?SWITCH, ?UPGRADE, "Sec-WebSocket-Accept: ", A, "\r\nX: "]),
                 [Head, binary:copy(<<"x">>, Size - byte_size(Head) - 4), "\r\n\r\n", close()]
             end),
             case Result of
                 {ok, Conn} -> ?assert(Size =< 16384), {error, {closed, 1000, _}} = sockeye_client:recv(Conn);
                 {error, Why} -> ?assert(Size > 16384), ?assertEqual({bad_handshake, too_large}, Why)
             end
     end || Size <- [16383, 16384, 16385]].

close() -> <<16#88, 2, 1000:16>>.

refusals_test_() ->
    Long = binary:copy(<<"x">>, 70000),
    [{Name, fun() ->
        {error, {refused, #{status := S, headers := Headers, body := B}}} = answer(fun(_) -> Answer end),
        ?assertEqual({Status, Body}, {S, B}),
        ?assertEqual(proplists:get_value(<<"x-why">>, Headers), <<"because">>)
     end} || {Name, Status, Body, Answer} <-
        [{"with a length", 403, <<"no">>, "HTTP/1.1 403 Forbidden\r\nX-Why: because\r\nContent-Length: 2\r\n\r\nno, and more"},
         {"in chunks", 404, <<"nothing here">>, "HTTP/1.1 404 x\r\nX-Why:  because \r\nTransfer-Encoding: chunked\r\n\r\n7\r\nnothing\r\n5;a=b\r\n here\r\n0\r\n\r\n"},
         {"without a body", 204, <<>>, "HTTP/1.1 204 x\r\nX-Why: because\r\n\r\n"},
         {"to the end", 500, <<"oops">>, "HTTP/1.1 500 x\r\nX-Why: because\r\n\r\noops"},
         {"too long", 200, binary:part(Long, 0, 65536), ["HTTP/1.1 200 OK\r\nX-Why: because\r\n\r\n", Long]},
         {"a redirect that is not followed", 302, <<>>, "HTTP/1.1 302 x\r\nX-Why: because\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"}]].

%% Frames that come with the answer are the first of the connection. Nobody has asked for them when its end is awaited.
junk_behind_the_answer_test_() ->
    [{Name, fun() ->
        {ok, Conn} = answer(fun(A) -> [?SWITCH, ?UPGRADE, "Sec-WebSocket-Accept: ", A, "\r\n\r\n", Bytes] end,
                            #{format => raw, close_timeout => 200}),
        ?assertEqual(Expected, [recv(Conn) || _ <- Expected])
     end} || {Name, Bytes, Expected} <-
        [{"a frame", [<<16#81, 2, "hi">>, close()], [{ok, {text, <<"hi">>}}, {closed, 1000}]},
         {"a masked frame", <<16#81, 16#82, 0:32, "hi">>, [{closed, 1002}]},
         {"HTTP", "HTTP/1.1 200 OK\r\n\r\n", [{closed, 1002}]},
         {"a reserved bit", <<16#c1, 2, "hi">>, [{closed, 1002}]},
         {"a huge frame", <<16#82, 127, (1 bsl 40):64>>, [{closed, 1009}]},
         {"no UTF-8", <<16#81, 1, 255>>, [{closed, 1007}]}]].

recv(Conn) ->
    case sockeye_client:recv(Conn, ?TIMEOUT) of
        {error, {closed, Code, _}} -> {closed, Code};
        Other -> Other
    end.

hanging_up_test_() ->
    [{Name, fun() ->
        raw_server:with(Script, fun(Port) ->
            Result = sockeye_client:connect(url(Port), #{connect_timeout => 5000}),
            ?assert(lists:member(Result, [{error, closed}, {error, econnreset}])),
            ?assertNotEqual(nomatch, re:run(sockeye:format_error(Result), "hung up|reset by peer"))
        end)
     end} || {Name, Script} <-
        [{"at once", fun gen_tcp:close/1},
         {"after the request", fun(S) -> _ = head(S), gen_tcp:close(S) end},
         {"within the answer", fun(S) -> _ = head(S), say(S, ?SWITCH), gen_tcp:close(S) end}]].

silence_test_() ->
    Socks = fun(Bytes) -> fun(S) -> {ok, _} = gen_tcp:recv(S, 3, ?TIMEOUT), say(S, Bytes), tell_end(S) end end,
    [{Name, fun() ->
        put(left, undefined),
        Self = self(),
        raw_server:with(fun(S) -> put(parent, Self), Script(S) end, fun(Port) ->
            {Url, Options} = Where(Port),
            Began = erlang:monotonic_time(millisecond),
            ?assertEqual({error, timeout}, sockeye_client:connect(Url, Options#{connect_timeout => 200})),
            Took = erlang:monotonic_time(millisecond) - Began,
            ?assert(Took >= 200),
            receive gone -> ok after ?TIMEOUT -> error(client_stays) end
        end)
     end} || {Name, Script, Where} <-
        [{"no answer", fun(S) -> tell_end(S) end, fun(P) -> {url(P), #{}} end},
         {"half an answer", fun(S) -> _ = head(S), say(S, ?SWITCH), tell_end(S) end, fun(P) -> {url(P), #{}} end},
         {"a byte now and then", fun(S) -> _ = head(S), say(S, "HTTP/1.1 "), drip(S) end, fun(P) -> {url(P), #{}} end},
         {"an HTTP proxy", fun(S) -> tell_end(S) end, fun via_http/1},
         {"behind an HTTP proxy", fun(S) -> _ = head(S), say(S, "HTTP/1.1 200 OK\r\n\r\n"), tell_end(S) end, fun via_http/1},
         {"a SOCKS proxy", fun(S) -> tell_end(S) end, fun via_socks/1},
         {"a SOCKS proxy that wants more", Socks(<<5, 0>>), fun via_socks/1}]].

%% Who connects may be killed while it waits: then nobody is left who wants the connection.
killed_while_it_connects_test_() ->
    [{Name, {timeout, 60, fun() ->
        {ok, _} = application:ensure_all_started(sockeye),
        #{servers := Before} = sockeye_backend:engine_info(),
        Self = self(),
        raw_server:with(fun(S) -> _ = head(S), Self ! asked, Self ! await_end(S) end, fun(Port) ->
            Pid = spawn(fun() -> Connect(url(Port)) end),
            receive asked -> ok after ?TIMEOUT -> error(nobody) end,
            exit(Pid, kill),
            receive gone -> ok after ?TIMEOUT -> error(stays) end,
            hostile_client:until(fun() ->
                #{servers := After} = sockeye_backend:engine_info(),
                After =:= Before orelse {Before, After}
            end)
        end)
     end}} || {Name, Connect} <- [{"connect/2", fun(Url) -> sockeye_client:connect(Url, #{connect_timeout => 60000}) end},
                                  {"start_link/3", fun(Url) -> sockeye_client:start_link(Url, self(), #{connect_timeout => 60000}) end}]].

via_http(Port) -> {"ws://x/", #{proxy => ["http://127.0.0.1:", integer_to_list(Port)]}}.
via_socks(Port) -> {"ws://x/", #{proxy => ["socks5://127.0.0.1:", integer_to_list(Port)]}}.

tell_end(Socket) ->
    gone = await_end(Socket),
    get(parent) ! gone.

drip(Socket) ->
    case gen_tcp:send(Socket, "x") of
        ok -> timer:sleep(20), drip(Socket);
        {error, _} -> get(parent) ! gone
    end.

%% A server that is there no more is pinged, with a mask as all that a client sends, and given up.
silence_after_the_handshake_test() ->
    Self = self(),
    Script = fun(S) ->
        Head = head(S),
        say(S, [?SWITCH, ?UPGRADE, "Sec-WebSocket-Accept: ", accept(Head), "\r\n\r\n"]),
        {ok, Ping} = gen_tcp:recv(S, 6, ?TIMEOUT),
        Self ! {ping, Ping},
        {ok, Close} = gen_tcp:recv(S, 8, ?TIMEOUT),
        Self ! {close, Close},
        Self ! await_end(S)
    end,
    raw_server:with(Script, fun(Port) ->
        {ok, Conn} = sockeye_client:connect(url(Port), #{ping_interval => 100, pong_timeout => 100}),
        ?assertMatch({error, {closed, 1001, _}}, sockeye_client:recv(Conn, ?TIMEOUT)),
        receive {ping, Ping} -> ?assertMatch(<<16#89, 16#80, _:32>>, Ping) end,
        receive {close, Close} ->
            <<16#88, 1:1, _:7, Mask:16, _:16, Code:16>> = Close,
            ?assertEqual(1001, Mask bxor Code)
        end,
        receive gone -> ok after ?TIMEOUT -> error(client_stays) end
    end).

%% Each frame has a mask of its own.
masks_differ_test() ->
    Self = self(),
    N = 50,
    Script = fun(S) ->
        Head = head(S),
        say(S, [?SWITCH, ?UPGRADE, "Sec-WebSocket-Accept: ", accept(Head), "\r\n\r\n"]),
        Self ! {masks, [begin
                            {ok, <<16#82, 16#84, Mask:4/binary, Payload:4/binary>>} = gen_tcp:recv(S, 10, ?TIMEOUT),
                            <<"same">> = crypto:exor(Payload, Mask),
                            Mask
                        end || _ <- lists:seq(1, N)]},
        await_end(S)
    end,
    raw_server:with(Script, fun(Port) ->
        {ok, Conn} = sockeye_client:connect(url(Port), #{close_timeout => 100}),
        ok = sockeye_client:send(Conn, lists:duplicate(N div 2, {binary, <<"same">>})),
        [ok = sockeye_client:send(Conn, {binary, "same"}) || _ <- lists:seq(1, N div 2)],
        receive {masks, Masks} -> ?assertEqual(N, length(lists:usort(Masks))) after ?TIMEOUT -> error(no_masks) end,
        ok = sockeye_client:close(Conn)
    end).

%% A body that does not come costs a second at most, and is no reason to say nothing.
a_body_that_never_comes_test() ->
    ?assertMatch({error, {refused, #{status := 403, body := <<"abc">>}}},
                 answer(fun(_) -> "HTTP/1.1 403 x\r\nContent-Length: 10\r\n\r\nabc" end)).

redirect(Location) -> ["HTTP/1.1 302 Found\r\nLocation: ", Location, "\r\nContent-Length: 0\r\n\r\n"].

%% A server that sends each client on to the next number.
round_and_round(Socket) ->
    Head = head(Socket),
    {match, [N]} = re:run(Head, "^GET /([0-9]*)", [{capture, all_but_first, list}]),
    Next = case N of
               "" -> 1;
               _ -> list_to_integer(N) + 1
           end,
    say(Socket, redirect(["/", integer_to_list(Next)])),
    await_end(Socket).

a_hundred_redirects_test_() ->
    [fun() ->
        Self = self(),
        raw_server:with(fun(S) -> Self ! asked, round_and_round(S) end, fun(Port) ->
            ?assertEqual({error, {redirect, too_many}}, sockeye_client:connect(url(Port), #{max_redirects => N})),
            [receive asked -> ok end || _ <- lists:seq(0, N)],
            receive asked -> error(one_more) after 0 -> ok end
        end)
     end || N <- [1, 2, 20]].

redirects_are_followed_test() ->
    test_support:with_server(#{}, fun(Real, _) ->
        Script = fun(S) ->
            case re:run(head(S), "^GET /0 ") of
                {match, _} -> say(S, redirect("/1"));
                nomatch -> say(S, redirect(["http://127.0.0.1:", integer_to_list(Real), "/end?x"]))
            end,
            await_end(S)
        end,
        raw_server:with(Script, fun(Port) ->
            Url = "ws://user:secret@127.0.0.1:" ++ integer_to_list(Port) ++ "/0",
            ?assertEqual({error, {redirect, too_many}}, sockeye_client:connect(Url, #{max_redirects => 1})),
            {ok, Conn} = sockeye_client:connect(Url, #{max_redirects => 2, headers => [{"cookie", "a"}, {"x", "y"}]}),
            ?assertMatch({ok, #{path := <<"/end">>, query := <<"x">>}}, sockeye:info(Conn)),
            %% Another port is another server: it sees nothing that is secret.
            receive {sockeye, There, {open, #{headers := Headers}}} when There =/= Conn ->
                ?assertEqual([<<"y">>, undefined, undefined],
                             [proplists:get_value(Name, Headers) || Name <- [<<"x">>, <<"authorization">>, <<"cookie">>]])
            end,
            ok = sockeye_client:close(Conn)
        end)
    end).

bad_redirects_test_() ->
    [fun() ->
        ?assertEqual({error, {redirect, Why}}, answer(fun(_) -> redirect(Location) end, #{max_redirects => 3}))
     end || {Location, Why} <- [{"ftp://x", bad_location}, {"http://", bad_location}, {"ws+unix:/x", bad_location}]] ++
    [?_assertEqual({error, {redirect, bad_location}},
                   answer(fun(_) -> "HTTP/1.1 307 x\r\nContent-Length: 0\r\n\r\n" end, #{max_redirects => 1}))].

basic_authentication_test() ->
    test_support:with_server(#{}, fun(Port, _) ->
        Address = "127.0.0.1:" ++ integer_to_list(Port),
        [begin
             {ok, Conn} = sockeye_client:connect("ws://" ++ Login ++ "@" ++ Address, #{headers => Headers}),
             receive {sockeye, There, {open, #{headers := Sent}}} when There =/= Conn ->
                 ?assertEqual(Expected, proplists:get_value(<<"authorization">>, Sent))
             end,
             ok = sockeye_client:close(Conn)
         end || {Login, Headers, Expected} <-
                    [{"Aladdin:open%20sesame", [], <<"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==">>},
                     {"user", [], <<"Basic ", (base64:encode("user"))/binary>>},
                     {"a:b", [{"Authorization", "Bearer x"}], <<"Bearer x">>}]]
    end).

proxies_test_() ->
    [{Name, fun() ->
        Self = self(),
        test_support:with_handler(#{frame => fun(F, _, S) -> {[{reply, F}], S} end}, fun(Port, _) ->
            raw_server:with(fun(S) -> proxy(Kind, Self, S) end, fun(ProxyPort) ->
                Proxy = [Scheme, "://", Login, "127.0.0.1:", integer_to_list(ProxyPort)],
                Host = case Kind of http -> "127.0.0.1"; _ -> "localhost" end,
                {ok, Conn} = sockeye_client:connect(["ws://", Host, ":", integer_to_list(Port)], #{proxy => Proxy}),
                receive {asked, Asked} -> ?assertEqual(iolist_to_binary(io_lib:format(Expected, [Port])), Asked) end,
                ok = sockeye_client:send(Conn, #{a => 1}),
                ?assertEqual({ok, {json, #{<<"a">> => 1}}}, sockeye_client:recv(Conn, ?TIMEOUT)),
                ok = sockeye_client:close(Conn)
            end)
        end)
     end} || {Name, Kind, Scheme, Login, Expected} <-
        [{"HTTP", http, "http", "", "127.0.0.1:~b none"},
         {"HTTP with a login", http, "http", "me:pw@", "127.0.0.1:~b Basic bWU6cHc="},
         {"SOCKS", socks, "socks5", "", "localhost:~b none"},
         {"SOCKS with a login", socks, "socks5", "me:pw@", "localhost:~b me pw"}]].

proxy(http, Parent, Socket) ->
    Head = head(Socket),
    {match, [Where]} = re:run(Head, "^CONNECT ([^ ]*)", [{capture, all_but_first, binary}]),
    Login = case re:run(Head, "proxy-authorization: ([^\r]*)", [caseless, {capture, all_but_first, binary}]) of
                {match, [Value]} -> Value;
                nomatch -> <<"none">>
            end,
    Parent ! {asked, <<Where/binary, " ", Login/binary>>},
    [_, Port] = binary:split(Where, <<":">>),
    say(Socket, "HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"),
    tunnel(Socket, binary_to_integer(Port));
proxy(socks, Parent, Socket) ->
    {ok, <<5, N>>} = gen_tcp:recv(Socket, 2, ?TIMEOUT),
    {ok, Methods} = gen_tcp:recv(Socket, N, ?TIMEOUT),
    Login = case Methods of
                <<0>> ->
                    say(Socket, <<5, 0>>),
                    <<"none">>;
                <<0, 2>> ->
                    say(Socket, <<5, 2>>),
                    {ok, <<1, U>>} = gen_tcp:recv(Socket, 2, ?TIMEOUT),
                    {ok, <<User:U/binary, P>>} = gen_tcp:recv(Socket, U + 1, ?TIMEOUT),
                    {ok, Password} = gen_tcp:recv(Socket, P, ?TIMEOUT),
                    say(Socket, <<1, 0>>),
                    <<User/binary, " ", Password/binary>>
            end,
    {ok, <<5, 1, 0, 3, L>>} = gen_tcp:recv(Socket, 5, ?TIMEOUT),
    {ok, <<Host:L/binary, Port:16>>} = gen_tcp:recv(Socket, L + 2, ?TIMEOUT),
    Parent ! {asked, iolist_to_binary([Host, ":", integer_to_list(Port), " ", Login])},
    say(Socket, <<5, 0, 0, 3, 4, "some", 99:16>>),
    tunnel(Socket, Port).

bad_proxies_test_() ->
    Http = fun(Answer) -> fun(S) -> _ = head(S), say(S, Answer), await_end(S) end end,
    Socks = fun(Answers) ->
        fun(S) -> [begin {ok, _} = gen_tcp:recv(S, 0, ?TIMEOUT), say(S, A) end || A <- Answers], await_end(S) end
    end,
    [{Name, fun() ->
        raw_server:with(Script, fun(Port) ->
            Proxy = [Scheme, integer_to_list(Port)],
            {error, {proxy, Got}} = sockeye_client:connect("ws://x/", #{proxy => Proxy, connect_timeout => 5000}),
            case Why of
                _ when is_atom(Why) -> ?assertEqual(Why, Got);
                {refused, Status} -> ?assertMatch({refused, #{status := Status}}, Got)
            end
        end)
     end} || {Name, Scheme, Script, Why} <-
        [{"wants a login", "http://127.0.0.1:", Http("HTTP/1.1 407 x\r\nContent-Length: 0\r\n\r\n"), {refused, 407}},
         {"no HTTP", "http://127.0.0.1:", Http(<<5, 0>>), malformed},
         {"speaks early", "http://127.0.0.1:", Http("HTTP/1.1 200 OK\r\n\r\nhello"), malformed},
         {"switches", "http://127.0.0.1:", Http("HTTP/1.1 101 x\r\n\r\n"), malformed},
         {"no method", "socks5://127.0.0.1:", Socks([<<5, 255>>]), denied},
         {"unasked method", "socks5://127.0.0.1:", Socks([<<5, 2>>]), malformed},
         {"SOCKS4", "socks5://127.0.0.1:", Socks([<<4, 0>>]), malformed},
         {"wrong login", "socks5://a:b@127.0.0.1:", Socks([<<5, 2>>, <<1, 1>>]), denied},
         {"not allowed", "socks5://127.0.0.1:", Socks([<<5, 0>>, <<5, 2, 0, 1, 0:48>>]), not_allowed},
         {"no way", "socks5://127.0.0.1:", Socks([<<5, 0>>, <<5, 4, 0, 1, 0:48>>]), ehostunreach},
         {"refused", "socks5://127.0.0.1:", Socks([<<5, 0>>, <<5, 5, 0, 1, 0:48>>]), econnrefused},
         {"failed", "socks5://127.0.0.1:", Socks([<<5, 0>>, <<5, 1, 0, 1, 0:48>>]), failure},
         {"unknown address", "socks5://127.0.0.1:", Socks([<<5, 0>>, <<5, 0, 0, 9, 0:48>>]), malformed}]].

proxy_options_test() ->
    [?assertMatch({error, {bad_option, proxy, <<_, _/binary>>}}, sockeye_client:connect("ws://x", #{proxy => Proxy}))
     || Proxy <- ["", "x", "ftp://x", x, "http://x/y", undefined]],
    ?assertMatch({error, {bad_option, proxy, _}}, sockeye_client:connect("ws+unix:/x", #{proxy => "http://x"})),
    [?assertMatch({error, {bad_option, max_redirects, _}}, sockeye_client:connect("ws://x", #{max_redirects => N})) || N <- [-1, 21, x]].

%% All of the above, then nothing that was not there before.
nothing_is_left_behind_test_() ->
    {timeout, 60, fun() ->
        {ok, _} = application:ensure_all_started(sockeye),
        %% Whatever is made once is made.
        _ = answer(fun(_) -> "x\n" end),
        Before = census(),
        Answers = [fun(_) -> "x\n" end, fun(_) -> redirect("ftp://x") end,
                   fun(_) -> "HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n" end,
                   fun(A) -> [?SWITCH, ?UPGRADE, "Sec-WebSocket-Accept: ", A, "\r\n\r\n", <<16#ff>>] end],
        [_ = answer(Answer, #{max_redirects => 1}) || Answer <- Answers, _ <- lists:seq(1, 10)],
        raw_server:with(fun(S) -> await_end(S) end, fun(Port) ->
            [{error, timeout} = sockeye_client:connect(url(Port), #{connect_timeout => 20}) || _ <- lists:seq(1, 10)]
        end),
        test_support:flush(),
        hostile_client:until(fun() ->
            After = census(),
            After =:= Before orelse {Before, After}
        end)
    end}.

%% Processes, descriptors and threads of this node, and what the engine counts.
census() ->
    _ = [garbage_collect(P) || P <- processes()],
    {ok, Files} = file:list_dir("/proc/self/fd"),
    {ok, Threads} = file:list_dir("/proc/self/task"),
    Comm = [C || T <- Threads, {ok, C} <- [file:read_file("/proc/self/task/" ++ T ++ "/comm")]],
    #{servers := Servers, connections := Connections} = sockeye_backend:engine_info(),
    #{processes => length(processes()), files => length(Files),
      threads => length([C || <<"sockeye-", _/binary>> = C <- Comm]),
      servers => Servers, connections => Connections}.
