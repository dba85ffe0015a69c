%% The options of the routes `{file, Name, Options}' and `{dir, Name, Options}'.
-module(sockeye_file_options_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(http_client, [request/4, header/2, status/1]).
-import(www, [with_files/1]).
-import(sockeye_test, [with_server/2]).

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
                                  {#{cache_controll => "no-cache"}, <<"cache_controll: unknown option">>},
                                  {#{cache_control => "a\r\nX: y"}, <<"cache_control: expected the value of a header">>},
                                  {#{cache_control => "a\nX: y"}, <<"without control characters">>},
                                  {#{cache_control => <<"a", 0>>}, <<"without control characters">>},
                                  {#{cache_control => <<"a", 127>>}, <<"without control characters">>},
                                  {#{cache_control => <<"a\tb">>}, <<"without control characters">>},
                                  {#{cache_control => <<"max-age=1", 16#c3, 16#bc>>}, <<"ASCII">>},
                                  {#{cache_control => ""}, <<"cache_control: expected the value of a header">>},
                                  {#{cache_control => " "}, <<"cache_control: expected the value of a header">>},
                                  {#{cache_control => 3600}, <<"got 3600">>},
                                  {#{cache_control => undefined}, <<"got undefined">>}]].
