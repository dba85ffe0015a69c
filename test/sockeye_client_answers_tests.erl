%% What a client makes of the answer of a server, and of one of a proxy: answers before it, cookies, and
%% the name by which it asked.
-module(sockeye_client_answers_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(raw_server, [head/1, accept/1, say/2, await_end/1]).
-import(test_support, [with_server/2, with_handler/3, url/1]).

-define(TIMEOUT, 60000).
-define(CONTINUE, "HTTP/1.1 100 Continue\r\n\r\n").
-define(HINTS, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>\r\n\r\n").

switch(Head) -> switch(Head, []).

switch(Head, Lines) ->
    ["HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ", accept(Head),
     "\r\n", Lines, "\r\n"].

hi() -> <<16#81, 2, "hi">>.

%% ---------------------------------------------------------------- interim answers

%% {Title, What comes before the 101, What the client says of it}.
interim() ->
    Line = "HTTP/1.1 102 x\r\n\r\n",
    [{"none", [], ok},
     {"100", ?CONTINUE, ok},
     {"102", "HTTP/1.1 102 Processing\r\n\r\n", ok},
     {"103 with headers", ?HINTS, ok},
     {"any other", "HTTP/1.1 199\r\n\r\n", ok},
     {"several", [?CONTINUE, ?HINTS, "HTTP/1.1 102 x\r\n\r\n", ?HINTS], ok},
     {"15", lists:duplicate(15, Line), ok},
     {"16", lists:duplicate(16, Line), ok},
     {"17", lists:duplicate(17, Line), {bad_handshake, too_large}},
     {"no end of them", lists:duplicate(1000, Line), {bad_handshake, too_large}},
     {"one of HTTP/1.0", "HTTP/1.0 100 x\r\n\r\n", {bad_handshake, malformed}},
     {"one with content", "HTTP/1.1 100 x\r\nContent-Length: 4\r\n\r\nbody", {bad_handshake, malformed}},
     {"a bare LF", "HTTP/1.1 100 x\n\n", {bad_handshake, malformed}},
     {"a 101 without anything", "HTTP/1.1 101 x\r\n\r\n", {bad_handshake, upgrade}}].

interim_answers_test_() ->
    [{lists:concat([Title, " over ", Over]), {timeout, 60, fun() ->
        Script = fun(Socket) ->
            Head = pass(Over, Socket),
            say(Socket, [Before, switch(Head), hi()]),
            await_end(Socket)
        end,
        served(Over, Script, fun(Url, Options) -> ?assertEqual(Expected, talked(Url, Options)) end)
     end}} || Over <- [tcp, tls, proxy], {Title, Before, Expected} <- interim()].

%% As they come, a byte at a time.
in_pieces_test_() ->
    [{lists:concat([Over]), {timeout, 60, fun() ->
        Script = fun(Socket) ->
            Head = pass(Over, Socket),
            All = iolist_to_binary([?CONTINUE, ?HINTS, switch(Head), hi()]),
            [say(Socket, <<Byte>>) || <<Byte>> <= All],
            await_end(Socket)
        end,
        served(Over, Script, fun(Url, Options) -> ?assertEqual(ok, talked(Url, Options)) end)
     end}} || Over <- [tcp, tls]].

%% All heads together have the room of one.
sizes_test_() ->
    [{integer_to_list(Size), fun() ->
        Script = fun(Socket) ->
            Fixed = iolist_to_binary([?CONTINUE, switch(head(Socket))]),
            Hint = ["HTTP/1.1 103 x\r\nX: ", binary:copy(<<"x">>, Size - byte_size(Fixed) - 23), "\r\n\r\n"],
            ?assertEqual(Size, iolist_size([Fixed, Hint])),
            <<First:(length(?CONTINUE))/binary, Last/binary>> = Fixed,
            say(Socket, [First, Hint, Last, hi()]),
            await_end(Socket)
        end,
        served(tcp, Script, fun(Url, Options) -> ?assertEqual(Expected, talked(Url, Options)) end)
     end} || {Size, Expected} <- [{16383, ok}, {16384, ok}, {16385, {bad_handshake, too_large}}]].

%% What is no 101 comes behind them as well, with its body.
refusals_behind_interim_answers_test_() ->
    [{lists:concat([Over]), {timeout, 60, fun() ->
        Script = fun(Socket) ->
            _ = pass(Over, Socket),
            say(Socket, [?CONTINUE, ?HINTS, "HTTP/1.1 403 No\r\nX-Why: because\r\nContent-Length: 2\r\n\r\nno, and more"]),
            await_end(Socket)
        end,
        served(Over, Script, fun(Url, Options) ->
            {error, {refused, Refusal}} = sockeye_client:connect(Url, Options),
            #{status := Status, body := Body, headers := Headers} = Refusal,
            ?assertEqual({403, <<"no">>}, {Status, Body}),
            ?assertEqual([{<<"x-why">>, <<"because">>}, {<<"content-length">>, <<"2">>}], Headers)
        end)
     end}} || Over <- [tcp, tls, proxy]].

%% The answer of a proxy, too, may have others before it; nothing of the host may.
proxies_test_() ->
    [{Title, fun() ->
        Script = fun(Socket) ->
            _ = head(Socket),
            say(Socket, Answer),
            case Expected of
                ok -> say(Socket, [switch(head(Socket)), hi()]);
                _ -> ok
            end,
            await_end(Socket)
        end,
        raw_server:with(Script, fun(Port) ->
            Options = #{proxy => ["http://127.0.0.1:", integer_to_list(Port)], connect_timeout => 5000},
            ?assertEqual(Expected, talked("ws://host.example/", Options))
        end)
     end} || {Title, Answer, Expected} <-
        [{"100", [?CONTINUE, "HTTP/1.1 200 OK\r\n\r\n"], ok},
         {"several", [?HINTS, ?CONTINUE, ?HINTS, "HTTP/1.1 200 OK\r\nVia: x\r\n\r\n"], ok},
         {"17", [lists:duplicate(17, ?CONTINUE), "HTTP/1.1 200 OK\r\n\r\n"], {proxy, malformed}},
         {"speaks early", [?CONTINUE, "HTTP/1.1 200 OK\r\n\r\nhello"], {proxy, malformed}},
         {"speaks early, and as a head ends", [?CONTINUE, "HTTP/1.1 200 OK\r\n\r\nhello\r\n\r\n"], {proxy, malformed}},
         {"switches", [?CONTINUE, "HTTP/1.1 101 x\r\n\r\n"], {proxy, malformed}}]].

%% ---------------------------------------------------------------- headers of the answer

%% Two cookies are two, wherever the headers of an answer are shown.
cookies_stay_two_test_() ->
    Expires = <<"a=1; Expires=Wed, 09 Jun 2027 10:18:14 GMT">>,
    [{lists:concat([length(Cookies), " over ", Over]), {timeout, 60, fun() ->
        Lines = [["Set-Cookie: ", Cookie, "\r\n"] || Cookie <- Cookies] ++ ["X-A: 1\r\nX-A: 2\r\n"],
        Script = fun(Socket) ->
            Head = pass(Over, Socket),
            case re:run(Head, "GET /no") of
                nomatch -> say(Socket, switch(Head, Lines));
                _ -> say(Socket, ["HTTP/1.1 403 x\r\nContent-Length: 0\r\n", Lines, "\r\n"])
            end,
            _ = await_end(Socket)
        end,
        served(Over, Script, fun(Url, Options) ->
            process_flag(trap_exit, true),
            {ok, Client} = sockeye_client:start_link(Url, self(), Options#{close_timeout => 100}),
            receive {sockeye, _, {open, #{headers := Headers}}} ->
                ?assertEqual([<<"1">>, <<"2">>], proplists:get_all_values(<<"x-a">>, Headers)),
                ?assertEqual(Cookies, proplists:get_all_values(<<"set-cookie">>, Headers))
            after ?TIMEOUT -> error(not_open)
            end,
            ok = sockeye_client:stop(Client),
            {error, {refused, #{headers := Refused}}} = sockeye_client:connect([Url, "no"], Options),
            ?assertEqual(Cookies, proplists:get_all_values(<<"set-cookie">>, Refused)),
            process_flag(trap_exit, false),
            test_support:flush()
        end)
     end}} || Over <- [tcp, tls, proxy], Cookies <- [[], [Expires], [Expires, <<"b=2">>]]].

%% A server of ours sets two.
our_own_cookies_test() ->
    Accept = fun(_) -> {accept, #{headers => [{"Set-Cookie", "a=1"}, {"Set-Cookie", "b=2"}]}} end,
    with_server(#{accept => Accept, format => raw}, fun(Port, _) ->
        {ok, Client} = sockeye_client:start_link(url(Port), self(), #{}),
        {ok, Conn} = sockeye_client:conn(Client),
        receive {sockeye, Conn, {open, #{headers := Answer}}} ->
            ?assertEqual([<<"a=1">>, <<"b=2">>], proplists:get_all_values(<<"set-cookie">>, Answer))
        end,
        ok = sockeye_client:stop(Client)
    end).

%% ---------------------------------------------------------------- Host

host_test_() ->
    [{lists:concat([Over]), {timeout, 60, fun() ->
        Self = self(),
        Script = fun(Socket) ->
            Head = pass(Over, Socket),
            Self ! {host, hosts(Head)},
            say(Socket, [switch(Head), hi()]),
            await_end(Socket)
        end,
        served(Over, Script, fun(Url, Options) ->
            [begin
                 ?assertEqual(ok, talked(Url, maps:merge(Options, Host))),
                 receive {host, Got} -> ?assertEqual([expected(Expected, Url)], Got) end
             end || {Host, Expected} <- [{#{}, of_url}, {#{host => "other.example"}, <<"other.example">>},
                                         {#{host => <<"Other.example:8443">>}, <<"Other.example:8443">>},
                                         {#{host => ["[::1]", ":", "80"]}, <<"[::1]:80">>}]]
        end)
     end}} || Over <- [tcp, tls, proxy]].

expected(of_url, Url) ->
    {match, [Host]} = re:run(Url, "//([^/]*)", [{capture, all_but_first, binary}]),
    Host;
expected(Host, _) -> Host.

hosts(Head) ->
    {match, Hosts} = re:run(Head, "\r\nhost: ([^\r]*)", [global, caseless, {capture, all_but_first, binary}]),
    lists:append(Hosts).

%% TLS asks for the host of the URL, and checks it, whatever the header says.
host_is_not_sni_test_() ->
    {timeout, 60, fun() ->
        with_certificate(fun(#{server := Server}, Ca) ->
            Identity = #{cert => test_certs:pem(test_certs:der(Server)), key => test_certs:key_pem(Server)},
            with_server(#{tls => Identity, format => raw}, fun(Port, _) ->
                Url = ["wss://localhost:", integer_to_list(Port), "/"],
                [begin
                     {ok, Conn} = sockeye_client:connect(Url, #{host => "other.example", tls => Tls#{cacerts => Ca}}),
                     receive {sockeye, _, {open, #{headers := [{<<"host">>, Host} | _], tls := #{sni := Sni}}}} ->
                         ?assertEqual({<<"other.example">>, Asked}, {Host, Sni})
                     end,
                     ok = sockeye_client:close(Conn)
                 end || {Tls, Asked} <- [{#{}, <<"localhost">>}, {#{server_name_indication => "one.example"}, <<"one.example">>}]],
                ?assertMatch({error, {tls, {bad_host, _}}},
                             sockeye_client:connect(Url, #{host => "localhost", tls => #{cacerts => Ca, server_name_indication => "other.example"}}))
            end)
        end)
    end}.

%% It stays with the server that was asked for first.
host_and_redirects_test() ->
    with_server(#{format => raw}, fun(Real, _) ->
        Self = self(),
        Script = fun(Socket) ->
            Head = head(Socket),
            Self ! {host, hosts(Head)},
            Location = case re:run(Head, "^GET /1") of
                           nomatch -> "/1";
                           _ -> ["http://127.0.0.1:", integer_to_list(Real), "/"]
                       end,
            say(Socket, ["HTTP/1.1 302 x\r\nLocation: ", Location, "\r\nContent-Length: 0\r\n\r\n"]),
            await_end(Socket)
        end,
        raw_server:with(Script, fun(Port) ->
            {ok, Conn} = sockeye_client:connect(url(Port), #{max_redirects => 2, host => "a.example"}),
            [receive {host, Got} -> ?assertEqual([<<"a.example">>], Got) end || _ <- [first, second]],
            Own = iolist_to_binary(["127.0.0.1:", integer_to_list(Real)]),
            receive {sockeye, There, {open, #{headers := [{<<"host">>, Host} | _]}}} when There =/= Conn ->
                ?assertEqual(Own, Host)
            end,
            ok = sockeye_client:close(Conn)
        end)
    end).

host_of_a_unix_socket_test() ->
    Path = filename:join("/tmp", "sockeye-host-" ++ os:getpid()),
    with_server(#{ip => {local, Path}, port => 0, format => raw}, fun(_, _) ->
        [begin
             {ok, Conn} = sockeye_client:connect("ws+unix:" ++ Path, Options),
             receive {sockeye, There, {open, #{headers := [{<<"host">>, Host} | _]}}} when There =/= Conn ->
                 ?assertEqual(Expected, Host)
             end,
             ok = sockeye_client:close(Conn)
         end || {Options, Expected} <- [{#{}, <<"localhost">>}, {#{host => "a.example"}, <<"a.example">>}]]
    end).

host_options_test() ->
    [?assertMatch({Value, {error, {bad_option, host, <<"expected a host", _/binary>>}}},
                  {Value, sockeye_client:connect("ws://127.0.0.1:9", #{host => Value})})
     || Value <- ["", ":80", "a b", "a/b", "u@a", "a,b", "a:port", "a:65536", "::1", "[fe80::1%25eth0]", "a\r\nX: y", [233], x, 1,
                  undefined, {"a"}]],
    %% There is one way to say it.
    [begin
         {error, {bad_option, headers, Why}} = sockeye_client:connect("ws://127.0.0.1:9", #{headers => [{Name, "a"}]}),
         ?assertMatch({_, _}, binary:match(Why, <<"the option host">>))
     end || Name <- ["host", "Host", <<"HOST">>]].

%% ---------------------------------------------------------------- servers

%% The head of the request for a WebSocket, behind that for a way to the host if there is one.
pass(proxy, Socket) ->
    <<"CONNECT host.example:80 ", _/binary>> = head(Socket),
    say(Socket, "HTTP/1.1 200 OK\r\n\r\n"),
    head(Socket);
pass(_, Socket) ->
    head(Socket).

served(tcp, Script, Test) ->
    raw_server:with(Script, fun(Port) -> Test(url(Port), #{connect_timeout => 5000}) end);
served(proxy, Script, Test) ->
    raw_server:with(Script, fun(Port) ->
        Test("ws://host.example/", #{proxy => ["http://127.0.0.1:", integer_to_list(Port)], connect_timeout => 5000})
    end);
served(tls, Script, Test) ->
    with_certificate(fun(#{server := Server}, Ca) ->
        raw_server:with_tls(Server, Script, fun(Port) ->
            Test(["wss://localhost:", integer_to_list(Port), "/"], #{tls => #{cacerts => Ca}, connect_timeout => 5000})
        end)
    end).

with_certificate(Test) ->
    {ok, Started} = application:ensure_all_started(ssl),
    Authority = test_certs:authority("authority"),
    Certificate = test_certs:issue(Authority, ["localhost", "one.example"]),
    Ca = test_certs:pem(test_certs:cacerts(Authority)),
    try Test(Certificate, Ca)
    after
        [application:stop(App) || App <- lists:reverse(Started)]
    end.

%% Connects, hears the frame that came with the answer, and leaves.
talked(Url, Options) ->
    case sockeye_client:connect(Url, Options#{format => raw, close_timeout => 100}) of
        {ok, Conn} ->
            ?assertEqual({ok, {text, <<"hi">>}}, sockeye_client:recv(Conn, ?TIMEOUT)),
            ok = sockeye_client:close(Conn);
        {error, Why} ->
            Why
    end.
