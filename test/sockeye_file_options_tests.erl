%% The options of the routes `{file, Name, Options}' and `{dir, Name, Options}'.
-module(sockeye_file_options_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(http_client, [request/4, header/2, status/1]).
-import(web_files, [with_files/1]).
-import(test_support, [with_server/2]).

%% On what a client may keep, and on nothing else.
cache_control_test() ->
    with_files(fun(Dir) ->
        Http = #{"/" => {dir, Dir, #{cache_control => "public, max-age=31536000, immutable"}},
                 "/one" => {file, filename:join(Dir, "ten.txt"), #{cache_control => [" no-cache", " "]}},
                 "/none" => {dir, Dir}, "/empty" => {dir, Dir, #{}}},
        with_server(#{http => Http}, fun(Port, _) ->
            Control = fun(Method, Path, Headers) ->
                Answer = request(Port, Method, Path, Headers),
                {status(Answer), header(<<"cache-control">>, Answer)}
            end,
            Tag = header(<<"etag">>, http_client:get(Port, "/ten.txt")),
            Long = <<"public, max-age=31536000, immutable">>,
            [?assertEqual({Asked, Found}, {Asked, erlang:apply(Control, Asked)})
             || {Asked, Found} <- [{["GET", "/ten.txt", []], {200, Long}},
                                   {["HEAD", "/ten.txt", []], {200, Long}},
                                   {["GET", "/", []], {200, Long}},
                                   {["GET", "/ten.txt", [{"Range", "bytes=0-0"}]], {206, Long}},
                                   {["GET", "/ten.txt", [{"If-None-Match", Tag}]], {304, Long}},
                                   {["GET", "/ten.txt", [{"Range", "bytes=10-"}]], {416, undefined}},
                                   {["GET", "/nothing", []], {404, undefined}},
                                   {["GET", "/sub", []], {301, undefined}},
                                   {["POST", "/ten.txt", []], {405, undefined}},
                                   {["GET", "/one", []], {200, <<"no-cache">>}},
                                   {["GET", "/none/ten.txt", []], {200, undefined}},
                                   {["GET", "/empty/ten.txt", []], {200, undefined}}]]
        end)
    end).

%% ---------------------------------------------------------------- forms of a file

%% A directory with files and their forms: what a form contains tells it from the others.
with_forms(Options, Test) ->
    with_files(fun(Dir) ->
        Write = fun(Name, Bytes) ->
            File = filename:join(Dir, Name),
            ok = filelib:ensure_dir(File),
            ok = file:write_file(File, Bytes)
        end,
        [Write(Name, Name) || Name <- ["app.js.br", "app.js.gz", "app.js.zst", "index.html.gz", "sub/index.html.br", "ten.txt.gz"]],
        Write("empty.txt.br/x", "a directory"),
        Write("empty.txt.gz", "empty.txt.gz"),
        ok = file:make_symlink("../secret.txt", filename:join(Dir, "large.bin.br")),
        ok = file:make_symlink("large.bin.zst", filename:join(Dir, "large.bin.zst")),
        ok = file:make_symlink("ten.txt.gz", filename:join(Dir, "large.bin.gz")),
        Write("only.css.gz", "only.css.gz"),
        Http = #{"/" => {dir, Dir, Options}, "/one" => {file, filename:join(Dir, "app.js"), Options}},
        with_server(#{http => Http, http2 => cleartext}, fun(Port, _) -> Test(Port, Dir) end)
    end).

with_forms(Test) ->
    with_forms(#{precompressed => true}, Test).

asked(Port, Method, Path, Accepted) ->
    request(Port, Method, Path, [{"Accept-Encoding", Accepted} || Accepted =/= none]).

forms_are_chosen_test() ->
    with_forms(fun(Port, _) ->
        [begin
             Answer = asked(Port, "GET", Path, Accepted),
             Found = {status(Answer), header(<<"content-encoding">>, Answer), element(3, Answer)},
             ?assertEqual({Path, Accepted, {200, Encoding, Body}}, {Path, Accepted, Found}),
             ?assertEqual(<<"Accept-Encoding">>, header(<<"vary">>, Answer)),
             Head = asked(Port, "HEAD", Path, Accepted),
             Same = [<<"content-encoding">>, <<"content-type">>, <<"content-length">>, <<"etag">>, <<"vary">>],
             ?assertEqual([header(Name, Answer) || Name <- Same], [header(Name, Head) || Name <- Same]),
             ?assertEqual(integer_to_binary(byte_size(Body)), header(<<"content-length">>, Head))
         end || {Path, Accepted, Encoding, Body} <-
                    [{"/app.js", "gzip, deflate, br, zstd", <<"br">>, <<"app.js.br">>},
                     {"/app.js", "gzip, zstd", <<"zstd">>, <<"app.js.zst">>},
                     {"/app.js", "gzip, br;q=0.9", <<"gzip">>, <<"app.js.gz">>},
                     {"/app.js", "identity;q=0, gzip", <<"gzip">>, <<"app.js.gz">>},
                     {"/app.js", "*", <<"br">>, <<"app.js.br">>},
                     {"/app.js", "*;q=0", undefined, <<"run()">>},
                     {"/app.js", "identity;q=0", undefined, <<"run()">>},
                     {"/app.js", "gzip;q=0.5, identity", undefined, <<"run()">>},
                     {"/app.js", "", undefined, <<"run()">>},
                     {"/app.js", none, undefined, <<"run()">>},
                     {"/one", "gzip", <<"gzip">>, <<"app.js.gz">>},
                     {"/", "br, gzip", <<"gzip">>, <<"index.html.gz">>},
                     {"/", "br", undefined, <<"<p>index">>},
                     {"/sub/", "br, gzip", <<"br">>, <<"sub/index.html.br">>},
                     %% The forms of a link are beside the link.
                     {"/in.txt", "gzip", undefined, <<"0123456789">>},
                     {"/ten.txt", "gzip", <<"gzip">>, <<"ten.txt.gz">>},
                     {"/app.js.gz", "gzip", undefined, <<"app.js.gz">>},
                     %% No directory, no way out, no circle: the next one.
                     {"/empty.txt", "br, gzip", <<"gzip">>, <<"empty.txt.gz">>},
                     {"/large.bin", "br, zstd, gzip", <<"gzip">>, <<"ten.txt.gz">>},
                     {"/large.bin", "br, zstd", undefined, web_files:large()}]],
        ?assertEqual(404, status(asked(Port, "GET", "/only.css", "gzip"))),
        ?assertEqual(301, status(asked(Port, "GET", "/sub", "gzip"))),
        Twice = request(Port, "GET", "/app.js", [{"Accept-Encoding", "br;q=0"}, {"Accept-Encoding", "gzip"}]),
        ?assertEqual(<<"gzip">>, header(<<"content-encoding">>, Twice)),
        Types = [header(<<"content-type">>, asked(Port, "GET", Path, "gzip")) || Path <- ["/app.js", "/one", "/", "/app.js.gz"]],
        ?assertEqual([<<"text/javascript; charset=utf-8">>, <<"text/javascript; charset=utf-8">>, <<"text/html; charset=utf-8">>,
                      <<"application/gzip">>], Types)
    end).

%% Conditions and ranges are about the form that is chosen.
each_form_is_a_file_of_its_own_test() ->
    with_forms(fun(Port, Dir) ->
        ok = file:make_link(filename:join(Dir, "ten.txt"), filename:join(Dir, "ten.txt.br")),
        Tag = fun(Path, Accepted) -> header(<<"etag">>, asked(Port, "GET", Path, Accepted)) end,
        Tags = [Tag("/app.js", Accepted) || Accepted <- ["br", "gzip", "zstd", "identity"]],
        ?assertEqual(4, length(lists:usort(Tags))),
        ?assertNotEqual(Tag("/ten.txt", "br"), Tag("/ten.txt", "identity")),
        [Br, Gzip | _] = Tags,
        Ask = fun(Headers) ->
            Answer = request(Port, "GET", "/app.js", [{"Accept-Encoding", "gzip"} | Headers]),
            {status(Answer), header(<<"content-range">>, Answer), header(<<"content-encoding">>, Answer), element(3, Answer)}
        end,
        [?assertEqual({Headers, Found}, {Headers, Ask(Headers)})
         || {Headers, Found} <- [{[{"If-None-Match", Gzip}], {304, undefined, undefined, <<>>}},
                                 {[{"If-None-Match", Br}], {200, undefined, <<"gzip">>, <<"app.js.gz">>}},
                                 {[{"If-Match", Br}], {412, undefined, undefined, <<>>}},
                                 {[{"Range", "bytes=7-"}], {206, <<"bytes 7-8/9">>, <<"gzip">>, <<"gz">>}},
                                 {[{"Range", "bytes=9-"}], {416, <<"bytes */9">>, undefined, <<>>}},
                                 {[{"Range", "bytes=7-"}, {"If-Range", Gzip}], {206, <<"bytes 7-8/9">>, <<"gzip">>, <<"gz">>}},
                                 {[{"Range", "bytes=7-"}, {"If-Range", Br}], {200, undefined, <<"gzip">>, <<"app.js.gz">>}}]],
        Unchanged = request(Port, "GET", "/app.js", [{"Accept-Encoding", "gzip"}, {"If-None-Match", Gzip}]),
        ?assertEqual({Gzip, <<"Accept-Encoding">>}, {header(<<"etag">>, Unchanged), header(<<"vary">>, Unchanged)}),
        %% A form that goes and comes.
        ok = file:delete(filename:join(Dir, "app.js.gz")),
        ?assertEqual({200, undefined, undefined, <<"run()">>}, Ask([])),
        ok = file:write_file(filename:join(Dir, "app.js.gz"), "again"),
        ?assertEqual({200, undefined, <<"gzip">>, <<"again">>}, Ask([]))
    end).

forms_over_http2_test() ->
    with_forms(fun(Port, _) ->
        Socket = http_client:connect(Port),
        ok = h2_frames:shake(Socket),
        Fields = [{<<":method">>, <<"GET">>}, {<<":scheme">>, <<"http">>}, {<<":authority">>, <<"a">>}, {<<":path">>, <<"/app.js">>},
                  {<<"accept-encoding">>, <<"gzip, br">>}],
        ok = gen_tcp:send(Socket, h2_frames:headers(1, 1, h2_frames:block(Fields))),
        ?assertEqual(<<"app.js.br">>, body_over_http2(Socket, <<>>)),
        ok = gen_tcp:close(Socket)
    end).

body_over_http2(Socket, Body) ->
    case h2_frames:next(Socket) of
        {0, Flags, 1, Bytes} when Flags band 1 =:= 1 -> <<Body/binary, Bytes/binary>>;
        {0, _, 1, Bytes} -> body_over_http2(Socket, <<Body/binary, Bytes/binary>>);
        {_, _, _, _} -> body_over_http2(Socket, Body)
    end.

%% Without the option a file beside another is another file.
no_forms_by_default_test() ->
    [with_forms(Options, fun(Port, _) ->
         Answer = asked(Port, "GET", "/app.js", "gzip, br"),
         ?assertEqual({200, undefined, undefined, <<"run()">>},
                      {status(Answer), header(<<"content-encoding">>, Answer), header(<<"vary">>, Answer), element(3, Answer)})
     end) || Options <- [#{}, #{precompressed => false}]].

wrong_options_test_() ->
    [{lists:flatten(io_lib:format("~p", [Options])), fun() ->
        with_files(fun(Dir) ->
            [begin
                 {error, {bad_option, http, Why}} = sockeye:start_link(#{port => 0, http => #{"/" => {Kind, Name, Options}}}),
                 ?assertMatch({_, _}, binary:match(Why, Says)),
                 ?assertMatch({_, _}, binary:match(Why, [<<"\"/\": {">>, atom_to_binary(Kind)]))
             end || {Kind, Name} <- [{dir, Dir}, {file, filename:join(Dir, "ten.txt")}]]
        end)
      end} || {Options, Says} <- [{[], <<"expected a map of options behind the name">>},
                                  {#{cache_controll => "no-cache"}, <<"cache_controll: unknown option; did you mean cache_control?">>},
                                  {#{cache_control => "a\r\nX: y"}, <<"cache_control: expected the value of a header">>},
                                  {#{cache_control => "a\nX: y"}, <<"without control characters">>},
                                  {#{cache_control => <<"a", 0>>}, <<"without control characters">>},
                                  {#{cache_control => <<"a", 127>>}, <<"without control characters">>},
                                  {#{cache_control => <<"a\tb">>}, <<"without control characters">>},
                                  {#{cache_control => <<"max-age=1", 16#c3, 16#bc>>}, <<"ASCII">>},
                                  {#{cache_control => ""}, <<"cache_control: expected the value of a header">>},
                                  {#{cache_control => " "}, <<"cache_control: expected the value of a header">>},
                                  {#{precompressed => gzip}, <<"precompressed: expected true or false, got gzip">>},
                                  {#{cache_control => 3600}, <<"got 3600">>},
                                  {#{cache_control => undefined}, <<"got undefined">>}]].
