%% What is answered, and to whom: the same as first request of a connection, as a later one, and over HTTP/2.
-module(sockeye_http_answers_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(http_client, [connect/1, ask/5, header/2, status/1]).
-import(web_files, [with_files/1]).
-import(test_support, [with_server/2, quiet/1]).

-define(END_STREAM, 1).

%% A function in front of a directory cannot be passed with another spelling of its path.
no_spelling_passes_a_guard_test_() ->
    {timeout, 60, fun() ->
        with_files(fun(Dir) ->
            Guard = fun(_) -> {403, [], "no"} end,
            Http = #{"/nest" => {dir, Dir}, "/nest/sub/*" => Guard, "/nest/a+b/*" => Guard, "/nest/%7bc}/*" => Guard,
                     "/nest/ten.txt" => Guard},
            [begin
                 File = filename:join([Dir, Name, "s.txt"]),
                 ok = filelib:ensure_dir(File),
                 ok = file:write_file(File, "secret")
             end || Name <- ["sub", "a+b", "{c}", "open"]],
            with_server(options(Http), fun(Port, _) ->
                [?assertEqual({Path, Status}, {Path, Got})
                 || {Status, Paths} <-
                        [{403, ["/nest/sub/s.txt", "/nest/%73ub/s.txt", "/%6eest/sub/s.txt", "/nest/su%62/%73.txt", "/nest/a+b/s.txt",
                                "/nest/a%2Bb/s.txt", "/nest/a%2bb/s.txt", "/nest/%61%2b%62/s.txt", "/nest/{c}/s.txt",
                                "/nest/%7Bc%7D/s.txt", "/nest/%7bc}/s.txt", "/nest/t%65n.txt", "/nest/ten%2Etxt"]},
                         {404, ["/nest/%2573ub/s.txt", "/nest/%%373ub/s.txt", "/nest%2fsub/s.txt", "/nest/sub%2Fs.txt",
                                "/nest//sub/s.txt", "/nest/./sub/s.txt", "/nest/%2e/sub/s.txt", "/nest/open/../sub/s.txt",
                                "/nest/open/%2e%2e/sub/s.txt"]},
                         {200, ["/nest/open/s.txt", "/%6Eest/%6fpen/s%2etxt"]}],
                    Path <- Paths, Got <- all(Port, "GET", Path)]
            end)
        end)
    end}.

%% Paths of connections go by the same rule, and so does the path that is shown.
paths_are_spelled_in_one_way_test() ->
    with_server(#{paths => ["/r%6foms/*", "/a+b"], format => raw}, fun(Port, _) ->
        [begin
             ?assertMatch({Path, {ok, 101, _, _}}, {Path, ws_client:handshake(Port, #{path => Path})}),
             {_, {open, #{path := Found}}} = test_support:event(),
             ?assertEqual(Shown, Found)
         end || {Path, Shown} <- [{"/rooms/1", <<"/rooms/1">>}, {"/%72ooms/%c3%bc", <<"/rooms/%C3%BC">>}, {"/a%2bb", <<"/a%2Bb">>},
                                  {"/rooms/a%2fb", <<"/rooms/a%2Fb">>}]],
        [?assertMatch({Path, {ok, 404, _, _}}, {Path, ws_client:handshake(Port, #{path => Path})})
         || Path <- ["/rooms%2f1", "/%2572ooms/1", "/rooms"]]
    end).

function_sees_the_shown_form_test() ->
    with_server(options(#{"/api/*" => fun(#{path := P}) -> {200, [], P} end}), fun(Port, _) ->
        {200, _, Body} = http_client:get(Port, "/%61pi/%61%2b%c3%bc%2f%7e"),
        ?assertEqual(<<"/api/a%2B%C3%BC%2F~">>, Body)
    end).

%% As many as it may give, and no header more.
headers_of_a_function_test_() ->
    {timeout, 60, fun() ->
        Many = fun(N) -> [{"x-" ++ integer_to_list(I), "a"} || I <- lists:seq(1, N)] end,
        Http = maps:from_list([{"/" ++ integer_to_list(N), fun(_) -> {200, Many(N), ""} end} || N <- [999, 1000, 1001, 40000]]),
        with_server(options(Http), fun(Port, _) ->
            quiet(fun() ->
                [?assertEqual({Path, [Status, Status, Status]}, {Path, all(Port, "GET", Path)})
                 || {Path, Status} <- [{"/999", 200}, {"/1000", 200}, {"/1001", 500}, {"/40000", 500}]]
            end)
        end)
    end}.

names_and_values_of_a_function_test() ->
    Name = fun(N) -> lists:duplicate(N, $n) end,
    Answer = fun(Headers) -> fun(_) -> {200, Headers, ""} end end,
    Http = #{"/trimmed" => Answer([{"x-a", " \t a b\t "}]), "/1023" => Answer([{Name(1023), "a"}]), "/1024" => Answer([{Name(1024), "a"}]),
             "/1025" => Answer([{Name(1025), "a"}]), "/70000" => Answer([{Name(70000), "a"}]),
             "/close" => Answer([{"Connection", "close"}]), "/keep" => Answer([{"Connection", "keep-alive"}]),
             "/length" => Answer([{"Content-Length", "5"}])},
    with_server(options(Http), fun(Port, _) ->
        quiet(fun() ->
            ?assertEqual(<<"a b">>, header(<<"x-a">>, http_client:get(Port, "/trimmed"))),
            [?assertEqual({Path, [Status, Status, Status]}, {Path, all(Port, "GET", Path)})
             || {Path, Status} <- [{"/trimmed", 200}, {"/1023", 200}, {"/1024", 200}, {"/1025", 500}, {"/70000", 500},
                                   {"/keep", 500}, {"/length", 500}]],
            Socket = connect(Port),
            Last = ask(Socket, "GET", "/close", [], <<>>),
            ?assertEqual({200, <<"close">>}, {status(Last), header(<<"connection">>, Last)}),
            ?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, 60000)),
            ?assertEqual(200, over_http2(Port, "GET", "/close"))
        end)
    end).

%% Where there can be no content, a function may not give any.
statuses_without_content_test() ->
    Http = maps:from_list([{"/" ++ integer_to_list(S) ++ Kind, fun(_) -> {S, [], Body} end}
                           || S <- [204, 205, 304], {Kind, Body} <- [{"", ""}, {"/content", "content"}]]),
    with_server(options(Http), fun(Port, _) ->
        quiet(fun() ->
            [begin
                 Path = "/" ++ integer_to_list(S),
                 ?assertEqual({S, [S, S, S]}, {S, all(Port, "GET", Path)}),
                 ?assertEqual({S, [500, 500, 500]}, {S, all(Port, "GET", Path ++ "/content")}),
                 Answer = http_client:get(Port, Path),
                 ?assertEqual({S, Length, undefined},
                              {S, header(<<"content-length">>, Answer), header(<<"content-type">>, Answer)})
             end || {S, Length} <- [{204, undefined}, {205, <<"0">>}, {304, undefined}]]
        end)
    end).

%% No time that a file may have is too old or too new.
any_time_of_a_file_test() ->
    with_files(fun(Dir) ->
        with_server(options(#{"/" => {dir, Dir}}), fun(Port, _) ->
            [begin
                 {ok, _} = {ok, os:cmd("touch -d '" ++ Date ++ "' " ++ filename:join(Dir, "ten.txt"))},
                 ?assertEqual({Date, [200, 200, 200]}, {Date, all(Port, "GET", "/ten.txt")}),
                 Answer = http_client:get(Port, "/ten.txt"),
                 ?assertEqual({Date, Modified}, {Date, header(<<"last-modified">>, Answer)}),
                 Tag = header(<<"etag">>, Answer),
                 ?assertNotEqual(undefined, Tag),
                 ?assertEqual(304, status(http_client:request(Port, "GET", "/ten.txt", [{"If-None-Match", Tag}])))
             end || {Date, Modified} <- [{"1969-12-31T23:59:59Z", undefined}, {"1901-12-14T00:00:00Z", undefined},
                                         {"1970-01-01T00:00:00Z", <<"Thu, 01 Jan 1970 00:00:00 GMT">>},
                                         {"2001-09-09T01:46:40Z", <<"Sun, 09 Sep 2001 01:46:40 GMT">>}]]
        end)
    end).

no_directory_without_a_name_test_() ->
    [{lists:flatten(io_lib:format("~p", [Target])),
      ?_assertMatch({error, {bad_option, http, _}}, sockeye:start_link(#{port => 0, http => #{"/" => Target}}))}
     || Target <- [{dir, ""}, {dir, <<>>}, {dir, []}, {dir, ''}, {dir, [[], ""]}, {file, ""}]].

%% A client that takes what it gets slowly, but takes it, gets all of it: progress is what it has taken, not
%% what fits into the buffers of a socket.
slow_reader_test_() ->
    {setup, fun() -> application:ensure_all_started(ssl) end,
     fun({ok, Started}) -> [application:stop(App) || App <- lists:reverse(Started)] end,
     %% They wait most of the time.
     {inparallel, [{Title, {timeout, 120, fun() -> slow_reader(Reader) end}} || {Title, Reader} <- slow_readers()]}}.

slow_readers() ->
    Get = fun(Path) -> ["GET ", Path, " HTTP/1.1\r\nHost: a\r\n\r\n"] end,
    Tcp = fun(Ask) ->
                  fun(#{tcp := Port}, Size) ->
                          {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {recbuf, 65536}]),
                          ok = Ask(Socket),
                          ?assertEqual(ok, slowly(Socket, Size)),
                          ok = gen_tcp:close(Socket)
                  end
          end,
    Tls = fun(Ask) ->
                  fun(#{tls := Port}, Size) ->
                          Options = [binary, {active, false}, {verify, verify_none}],
                          {ok, Socket} = ssl:connect({127, 0, 0, 1}, narrow(Port), Options, 10000),
                          ok = Ask(Socket),
                          ?assertMatch({ok, <<"HTTP/1.1 200 ", _/binary>>}, ssl:recv(Socket, 13, 60000)),
                          ?assertMatch({ok, <<_:Size/binary>>}, ssl:recv(Socket, Size, 60000)),
                          ok = ssl:close(Socket)
                  end
          end,
    [{"first", Tcp(fun(Socket) -> gen_tcp:send(Socket, Get("/long.bin")) end)},
     {"second", Tcp(fun(Socket) ->
                            {200, _, _} = ask(Socket, "GET", "/first", [], <<>>),
                            gen_tcp:send(Socket, Get("/long.bin"))
                    end)},
     {"over HTTP/2", Tcp(fun(Socket) ->
                                 Window = 16#7fffffff - 65535,
                                 gen_tcp:send(Socket, [h2_frames:hello([{4, 16#7fffffff}]), h2_frames:window(0, Window),
                                                       h2_frames:get(1, <<"/long.bin">>)])
                         end)},
     {"first over TLS", Tls(fun(Socket) -> ssl:send(Socket, Get("/long.bin")) end)},
     {"second over TLS", Tls(fun(Socket) ->
                                     ok = ssl:send(Socket, Get("/first")),
                                     first(Socket, <<>>),
                                     ssl:send(Socket, Get("/long.bin"))
                             end)}].

slow_reader(Reader) ->
    with_files(fun(Dir) ->
        Size = 8000000,
        ok = file:write_file(filename:join(Dir, "long.bin"), binary:copy(<<"12345678">>, Size div 8)),
        Options = (options(#{"/" => {dir, Dir}}))#{send_timeout => 1000},
        with_server(Options, fun(Port, _) ->
            with_server(Options#{tls => test_certs:localhost()}, fun(Secure, _) -> Reader(#{tcp => Port, tls => Secure}, Size) end)
        end)
    end).

first(Socket, Got) ->
    case string:find(Got, "\r\n\r\nfirst") of
        nomatch -> {ok, More} = ssl:recv(Socket, 0, 60000), first(Socket, <<Got/binary, More/binary>>);
        _ -> ok
    end.

%% A megabyte a second: of a buffer of some megabytes, no third within the second that is allowed.
slowly(_, Left) when Left =< 0 -> ok;
slowly(Socket, Left) ->
    timer:sleep(60),
    case gen_tcp:recv(Socket, min(Left, 65536), 10000) of
        {ok, Bytes} -> slowly(Socket, Left - byte_size(Bytes));
        {error, Reason} -> {Reason, Left}
    end.

%% A way to this port that is as slow, for a client that reads as fast as it can.
narrow(Port) ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {ip, {127, 0, 0, 1}}, {active, false}]),
    {ok, Front} = inet:port(Listener),
    _ = spawn_link(fun() ->
        {ok, Client} = gen_tcp:accept(Listener, 10000),
        {ok, Server} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {recbuf, 65536}]),
        Up = spawn_link(fun() -> receive go -> pass(Client, Server, 0) end end),
        ok = gen_tcp:controlling_process(Client, Up),
        Up ! go,
        pass(Server, Client, 60)
    end),
    Front.

pass(From, To, Pause) ->
    timer:sleep(Pause),
    case gen_tcp:recv(From, 0) of
        %% A client that has all has gone before the last word of TLS.
        {ok, Bytes} -> gen_tcp:send(To, Bytes) =:= ok andalso pass(From, To, Pause);
        {error, _} -> gen_tcp:shutdown(To, write)
    end.

%% ---------------------------------------------------------------- one request, three ways

options(Http) -> #{http2 => cleartext, format => raw, handshake_timeout => 60000, http => Http#{"/first" => {text, "first"}}}.

%% The statuses as first request, as second, and over HTTP/2.
all(Port, Method, Path) ->
    First = http_client:request(Port, Method, Path, []),
    Socket = connect(Port),
    {200, _, <<"first">>} = ask(Socket, "GET", "/first", [], <<>>),
    Second = ask(Socket, Method, Path, [], <<>>),
    ok = gen_tcp:close(Socket),
    [status(First), status(Second), over_http2(Port, Method, Path)].

over_http2(Port, Method, Path) ->
    Socket = hostile_client:connect(Port),
    ok = h2_frames:shake(Socket),
    Fields = [{<<":method">>, list_to_binary(Method)}, {<<":scheme">>, <<"http">>}, {<<":path">>, list_to_binary(Path)},
              {<<":authority">>, <<"a">>}],
    ok = gen_tcp:send(Socket, [h2_frames:get(1, <<"/first">>), h2_frames:headers(3, ?END_STREAM, h2_frames:block(Fields))]),
    Status = status_of(Socket),
    ok = gen_tcp:close(Socket),
    Status.

status_of(Socket) ->
    case h2_frames:next(Socket) of
        {1, _, 3, _} = Frame -> [{3, Status}] = h2_frames:statuses([Frame]), Status;
        {3, _, 3, <<Code:32>>} -> {reset, Code};
        {_, _, _, _} -> status_of(Socket)
    end.
