%% Files and directories as answers to ordinary requests.
-module(sockeye_files_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(http_client, [get/2, request/4, header/2, status/1]).
-import(web_files, [with_dir/1, large/0]).

no_way_out_test_() ->
    {timeout, 60, fun() ->
        with_dir(fun(Port, _) ->
            [begin
                 {Status, _, Body} = get(Port, Path),
                 ?assertEqual({Path, 404}, {Path, Status}),
                 ?assertEqual(nomatch, binary:match(Body, <<"secret">>))
             end
             || Path <- ["/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "/%2e%2e%2fsecret.txt",
                         "/sub/../../secret.txt", "/sub/%2e%2e/%2e%2e/secret.txt", "/..\\secret.txt",
                         "/..%5csecret.txt", "//etc/passwd", "/%2fetc/passwd", "/etc/passwd", "/up/secret.txt",
                         "/up/wwwx/secret.txt", "/out.txt", "/../wwwx/secret.txt", "/.env", "/.git/config", "/sub/..",
                         "/ten.txt%00", "/ten.txt%00.html", "/ten.txt/", "/ten.txt/x", "/./ten.txt", "/sub//",
                         "/%", "/%zz", "/%ff", "/circle", "/round/x", "/about/", "/bare", "/bare/", "/none/",
                         ["/", lists:duplicate(5000, $a)]]]
        end)
    end}.

found_test() ->
    with_dir(fun(Port, _) ->
        [?assertMatch({P, {200, _, Body}}, {P, get(Port, P)})
         || {P, Body} <- [{"/", <<"<p>index">>}, {"/sub/", <<"<p>sub">>}, {"/sub/a%20b.css", <<"p{}">>},
                          {"/%74en.txt", <<"0123456789">>}, {"/in.txt", <<"0123456789">>},
                          %% Out and in again: the file is what counts.
                          {"/up/www/ten.txt", <<"0123456789">>},
                          {"/bare/x.bin", <<0, 1, 2>>}, {"/empty.txt", <<>>}, {"/.well-known/x.txt", <<"known">>},
                          {"/large.bin", large()}]],
        ?assertEqual(<<"application/octet-stream">>, header(<<"content-type">>, get(Port, "/bare/x.bin"))),
        ?assertEqual(<<"text/css; charset=utf-8">>, header(<<"content-type">>, get(Port, "/script.css"))),
        Moved = get(Port, "/sub?a=b"),
        ?assertEqual({301, <<"/sub/?a=b">>}, {status(Moved), header(<<"location">>, Moved)})
    end).

conditions_test() ->
    with_dir(fun(Port, Dir) ->
        Answer = get(Port, "/ten.txt"),
        Tag = header(<<"etag">>, Answer),
        Date = header(<<"last-modified">>, Answer),
        With = fun(Headers) -> status(request(Port, "GET", "/ten.txt", Headers)) end,
        Old = "Sun, 06 Nov 1994 08:49:37 GMT",
        [?assertEqual({H, S}, {H, With(H)})
         || {H, S} <- [{[{"If-None-Match", Tag}], 304},
                       {[{"If-None-Match", ["\"x\", W/", Tag]}], 304},
                       {[{"If-None-Match", "*"}], 304},
                       {[{"If-None-Match", "\"x\""}, {"If-None-Match", Tag}], 304},
                       {[{"If-None-Match", ["\"", 255, "\", ", Tag]}], 304},
                       {[{"If-None-Match", ["\"x,\", ", Tag]}], 304},
                       {[{"If-Match", ["\"", 255, "\""]}], 412},
                       {[{"If-Match", "\"x\""}, {"If-Match", Tag}], 200},
                       {[{"If-Match", ["W/", Tag]}], 412},
                       {[{"If-None-Match", "\"x\""}], 200},
                       {[{"If-None-Match", "\"x\""}, {"If-Modified-Since", Date}], 200},
                       {[{"If-Modified-Since", Date}], 304},
                       {[{"If-Modified-Since", Old}], 200},
                       {[{"If-Modified-Since", "yesterday"}], 200},
                       {[{"If-Match", Tag}], 200},
                       {[{"If-Match", "\"x\""}], 412},
                       {[{"If-Unmodified-Since", Date}], 200},
                       {[{"If-Unmodified-Since", Old}], 412}]],
        Unchanged = request(Port, "GET", "/ten.txt", [{"If-None-Match", Tag}]),
        ?assertEqual(Tag, header(<<"etag">>, Unchanged)),
        ok = file:write_file(filename:join(Dir, "ten.txt"), "9876543210x"),
        ?assertMatch({200, _, <<"9876543210x">>}, request(Port, "GET", "/ten.txt", [{"If-None-Match", Tag}]))
    end).

ranges_test() ->
    with_dir(fun(Port, _) ->
        Tag = header(<<"etag">>, get(Port, "/ten.txt")),
        With = fun(Range, More) ->
            Answer = request(Port, "GET", "/ten.txt", [{"Range", Range} | More]),
            {S, _, Body} = Answer,
            {S, header(<<"content-range">>, Answer), Body}
        end,
        All = {200, undefined, <<"0123456789">>},
        [?assertEqual({R, Expected}, {R, With(R, More)})
         || {R, More, Expected} <-
                [{"bytes=0-0", [], {206, <<"bytes 0-0/10">>, <<"0">>}},
                 {"bytes=8-9", [], {206, <<"bytes 8-9/10">>, <<"89">>}},
                 {"bytes=8-10", [], {206, <<"bytes 8-9/10">>, <<"89">>}},
                 {"bytes=9-", [], {206, <<"bytes 9-9/10">>, <<"9">>}},
                 {"bytes=-3", [], {206, <<"bytes 7-9/10">>, <<"789">>}},
                 {"bytes=10-", [], {416, <<"bytes */10">>, <<>>}},
                 {"bytes=-0", [], {416, <<"bytes */10">>, <<>>}},
                 {"bytes=0-1,3-4", [], All},
                 {"bytes=4-3", [], All},
                 {"lines=1-2", [], All},
                 {"bytes=1-2", [{"If-Range", Tag}], {206, <<"bytes 1-2/10">>, <<"12">>}},
                 {"bytes=1-2", [{"If-Range", ["W/", Tag]}], All},
                 {"bytes=1-2", [{"If-Range", Tag}, {"If-Range", Tag}], All},
                 {"bytes=1-2", [{"If-Range", "\"x\""}], All}]],
        Head = request(Port, "HEAD", "/ten.txt", [{"Range", "bytes=0-0"}]),
        ?assertEqual({200, <<"10">>}, {status(Head), header(<<"content-length">>, Head)}),
        ?assertEqual(200, status(request(Port, "HEAD", "/ten.txt", [{"Range", "bytes=10-"}]))),
        Middle = request(Port, "GET", "/large.bin", [{"Range", "bytes=100000-299999"}]),
        ?assertEqual(binary:part(large(), 100000, 200000), element(3, Middle))
    end).

%% Same size, same time: another tag all the same.
an_entity_tag_depends_on_more_than_time_and_size_test() ->
    with_dir(fun(Port, Dir) ->
        File = filename:join(Dir, "ten.txt"),
        Write = fun(Bytes) ->
            ok = file:write_file(File, Bytes),
            ok = file:change_time(File, {{2001, 2, 3}, {4, 5, 6}}),
            Answer = get(Port, "/ten.txt"),
            {header(<<"last-modified">>, Answer), header(<<"etag">>, Answer)}
        end,
        {Date, First} = Write("0123456789"),
        hostile_client:until(fun() -> {Date, Second} = Write("9876543210"), Second =/= First orelse Second end)
    end).
