%% sockeye_codec: both sides of the opening handshake.
-module(sockeye_codec_handshake_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-needs(codec).

-import(sockeye_codec, [request/1, check_response/2, check_request/1, check_request/2, accept/1, accept/2]).

%% RFC 6455, 1.3.
-define(KEY, "dGhlIHNhbXBsZSBub25jZQ==").
-define(ACCEPT, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=").

lines(Lines) -> iolist_to_binary([[Line, "\r\n"] || Line <- Lines ++ [""]]).

%% A good request, with these lines instead of those that begin like them.
asked(Changes) -> changed(["GET /chat?room=1 HTTP/1.1", "Host: example.com", "Upgrade: websocket",
                           "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " ?KEY], Changes).

answered(Changes) -> changed(["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
                              "Sec-WebSocket-Accept: x"], Changes).

changed(Lines, Changes) ->
    Kept = lists:filter(fun(Line) -> not lists:any(fun(C) -> same(Line, C) end, Changes) end, Lines),
    {First, Other} = lists:partition(fun(C) -> lists:member(hd(string:split(C, " ")), ["GET", "HEAD", "POST", "HTTP/1.1", "HTTP/1.0"]) end,
                                     [C || C <- Changes, hd(C) =/= $-]),
    Top = case First of [] -> hd(Lines); [Line] -> Line end,
    lines([Top | [L || L <- Kept, L =/= hd(Lines)] ++ Other]).

same(Line, [$- | Name]) -> same(Line, Name);
same(Line, Change) ->
    case {string:split(Line, ":"), string:split(Change, ":")} of
        {[Name | _], [Name | _]} -> true;
        _ -> false
    end.

both_sides_test_() ->
    [{lists:flatten(io_lib:format("~p", [Deflate])),
      fun() ->
              {ok, Request, Handshake} =
                  request(#{host => "example.com:8080", path => <<"/chat?room=1">>, deflate => Deflate,
                            subprotocols => [<<"mqtt">>, "chat"], headers => [{<<"x-token">>, "secret"}]}),
              {ok, About, <<>>} = check_request(Request),
              ?assertMatch(#{method := <<"GET">>, path := <<"/chat">>, query := <<"room=1">>,
                             http_version := {1, 1}, subprotocols := [<<"mqtt">>, <<"chat">>]}, About),
              #{headers := Headers} = About,
              ?assertEqual(<<"example.com:8080">>, proplists:get_value(<<"host">>, Headers)),
              ?assertEqual(<<"secret">>, proplists:get_value(<<"x-token">>, Headers)),
              {ok, Response, Server, Agreed, <<"rest">>} =
                  accept([Request, "rest"], #{subprotocols => ["chat"], headers => [{"x-more", "yes"}], deflate => Deflate}),
              Compressed = Deflate =/= false,
              ?assertMatch(#{subprotocol := <<"chat">>, deflate := Compressed, path := <<"/chat">>}, Agreed),
              {ok, Client, Seen, <<"more">>} = check_response(Handshake, [Response, "more"]),
              ?assertMatch(#{subprotocol := <<"chat">>, deflate := Compressed}, Seen),
              ?assertEqual(<<"yes">>, proplists:get_value(<<"x-more">>, maps:get(headers, Seen))),
              ?assertMatch(#{role := server, state := open, deflate := Compressed}, sockeye_codec:info(Server)),
              ?assertMatch(#{role := client, state := open, deflate := Compressed}, sockeye_codec:info(Client)),
              {ok, Bytes} = sockeye_codec:encode(Client, {text, "hello"}),
              ?assertEqual({[{text, <<"hello">>}], <<>>}, sockeye_codec:decode(Server, Bytes))
      end}
     || Deflate <- [false, true, #{server_context_takeover => true, client_max_window_bits => 10}]].

cut_anywhere_test() ->
    {ok, Request, Handshake} = request(#{host => "h"}),
    [?assertEqual({more, more, more},
                  {check_request(Part), accept(Part), check_response(Handshake, <<>>)})
     || N <- lists:seq(0, byte_size(Request) - 1), Part <- [binary:part(Request, 0, N)]],
    {ok, Response, _, #{subprotocol := undefined, deflate := false}, <<>>} = accept(Request),
    [?assertEqual(more, check_response(Handshake, binary:part(Response, 0, N)))
     || N <- lists:seq(0, byte_size(Response) - 1)].

the_example_of_the_rfc_test() ->
    {ok, Response, _, _, <<>>} = accept(asked([])),
    ?assertMatch({_, _}, binary:match(Response, <<"Sec-WebSocket-Accept: " ?ACCEPT "\r\n">>)).

keys_differ_test() ->
    {ok, One, _} = request(#{host => "h"}),
    {ok, Two, _} = request(#{host => "h"}),
    ?assertNotEqual(One, Two).

refusals_test_() ->
    [{atom_to_list(Why),
      fun() ->
              {error, {Why, Answer}} = accept(Request),
              ?assertEqual({error, {Why, Answer}}, check_request(Request)),
              Start = iolist_to_binary(["HTTP/1.1 ", integer_to_list(Status), " "]),
              ?assertEqual(Start, binary:part(Answer, 0, byte_size(Start)))
      end}
     || {Why, Status, Request} <-
            [{malformed, 400, <<"SSH-2.0\n">>}, {malformed, 400, <<22, 3, 1, 0, 1>>},
             {malformed, 400, asked(["-Host"])}, {malformed, 400, asked(["Host: a", "Host: b"])},
             {long_line, 414, ["GET /", binary:copy(<<"a">>, 16384)]},
             {too_large, 431, ["GET / HTTP/1.1\r\nA: ", binary:copy(<<"a">>, 16384)]},
             {too_large, 431, asked(["X" ++ integer_to_list(N) ++ ": y" || N <- lists:seq(1, 100)])},
             {http_version, 426, asked(["GET / HTTP/1.0"])}, {http_version, 505, asked(["GET / HTTP/2.0"])},
             {method, 405, asked(["POST / HTTP/1.1"])},
             {draft_76, 426, asked(["-Sec-WebSocket-Key", "Sec-WebSocket-Key1: 1", "Sec-WebSocket-Key2: 2"])},
             {not_websocket, 426, asked(["-Upgrade"])}, {not_websocket, 426, asked(["Upgrade: h2c"])},
             {version, 426, asked(["-Sec-WebSocket-Version"])}, {version, 426, asked(["Sec-WebSocket-Version: 8"])},
             {connection, 400, asked(["Connection: close"])},
             {body, 400, asked(["Content-Length: 1"])},
             {key, 400, asked(["-Sec-WebSocket-Key"])}, {key, 400, asked(["Sec-WebSocket-Key: short=="])},
             {subprotocol, 400, asked(["Sec-WebSocket-Protocol: a b"])}]].

%% N - 1, N, N + 1 bytes and lines.
head_limits_test_() ->
    Pad = binary_to_list(binary:copy(<<"x">>, 256)),
    Request = asked(["X-Pad: " ++ Pad, "A: 1", "B: 2", "C: 3"]),
    Size = byte_size(Request),
    [?_assertMatch({error, {too_large, _}}, accept(Request, #{max_header_size => Size - 1})),
     ?_assertMatch({ok, _, _, _, _}, accept(Request, #{max_header_size => Size})),
     ?_assertMatch({ok, _, _, _, _}, accept(Request, #{max_header_size => Size + 1})),
     ?_assertMatch({error, {too_large, _}}, check_request(Request, #{max_headers => 8})),
     ?_assertMatch({ok, _, _}, check_request(Request, #{max_headers => 9})),
     ?_assertMatch({ok, _, _}, check_request(Request, #{max_headers => 10})),
     fun() ->
             {ok, Asked, _} = request(#{host => "h"}),
             {ok, Response, _, _, <<>>} = accept(Asked, #{headers => [{"x-pad", Pad}]}),
             Length = byte_size(Response),
             [begin
                  {ok, _, Handshake} = request(#{host => "h", max_header_size => Length + More}),
                  ?assertEqual({error, {bad_handshake, Reason}}, check_response(Handshake, Response))
              end || {More, Reason} <- [{-1, too_large}, {0, accept}, {1, accept}]]
     end].

bad_answers_test_() ->
    Good = fun(Request) ->
               {ok, Response, _, _, <<>>} = accept(Request),
               {match, [Accept]} = re:run(Response, "Sec-WebSocket-Accept: [^\r]*", [{capture, first, list}]),
               Accept
           end,
    [{lists:flatten(io_lib:format("~p", [Changes])),
      fun() ->
              {ok, Request, Handshake} = request(#{host => "h", subprotocols => ["chat"]}),
              Response = answered([Good(Request) | Changes]),
              ?assertEqual({error, {bad_handshake, Reason}}, check_response(Handshake, Response))
      end}
     || {Changes, Reason} <-
            [{["HTTP/1.0 101 x"], malformed},
             {["-Upgrade"], upgrade}, {["Upgrade: h2c"], upgrade},
             {["Connection: close"], connection},
             {["Sec-WebSocket-Accept: " ?ACCEPT], accept},
             {["Sec-WebSocket-Protocol: soap"], subprotocol},
             {["Sec-WebSocket-Protocol: chat, chat"], subprotocol},
             {["Sec-WebSocket-Extensions: permessage-deflate"], extension}]]
    ++ [fun() ->
                {ok, _, Handshake} = request(#{host => "h"}),
                ?assertEqual({error, {bad_handshake, malformed}}, check_response(Handshake, <<"SSH-2.0-x\r\n\r\n">>)),
                ?assertEqual({error, {bad_handshake, accept}}, check_response(Handshake, answered([]))),
                ?assertEqual({error, {refused, #{status => 403, headers => [{<<"x-why">>, <<"no">>}], body => <<"body">>}}},
                             check_response(Handshake, [lines(["HTTP/1.1 403 Forbidden", "X-Why: no"]), "body"]))
        end].

%% Answers before the one that counts are passed over, and lines of cookies stay lines.
interim_answers_test() ->
    {ok, Request, Handshake} = request(#{host => "h"}),
    {ok, Response, _, _, <<>>} = accept(Request, #{headers => [{"Set-Cookie", "a=1"}, {"Set-Cookie", "b=2"}]}),
    Interim = ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"],
    ?assertEqual(more, check_response(Handshake, Interim)),
    {ok, _, #{headers := Headers}, Rest} = check_response(Handshake, [Interim, Response, "rest"]),
    ?assertEqual(<<"rest">>, Rest),
    ?assertEqual([<<"a=1">>, <<"b=2">>], proplists:get_all_values(<<"set-cookie">>, Headers)),
    ?assertEqual(undefined, proplists:get_value(<<"link">>, Headers)),
    ?assertEqual({error, {refused, #{status => 404, headers => [], body => <<"body">>}}},
                 check_response(Handshake, [Interim, "HTTP/1.1 404 x\r\n\r\nbody"])),
    [?assertMatch({N, Expected}, {N, result(check_response(Handshake, [lists:duplicate(N, "HTTP/1.1 102 x\r\n\r\n"), Response]))})
     || {N, Expected} <- [{15, ok}, {16, ok}, {17, {error, {bad_handshake, too_large}}}]].

result({ok, _, _, _}) -> ok;
result(Error) -> Error.

cookies_in_lines_and_head_test() ->
    {ok, #{headers := Headers}, <<>>} = check_request(asked(["Cookie: a=1", "Cookie: b=2"])),
    ?assertEqual([<<"a=1; b=2">>], proplists:get_all_values(<<"cookie">>, Headers)),
    {error, {method, Answer}} = accept(asked(["HEAD / HTTP/1.1"])),
    ?assertMatch([_, <<>>], binary:split(Answer, <<"\r\n\r\n">>)).

a_refusal_reaches_the_client_test() ->
    {ok, _, Handshake} = request(#{host => "h"}),
    Answer = sockeye_codec:reject(403, [{"x-why", "policy"}], ["not", " you"]),
    {error, {refused, #{status := 403, headers := Headers, body := <<"not you">>}}} = check_response(Handshake, Answer),
    ?assertEqual(<<"policy">>, proplists:get_value(<<"x-why">>, Headers)),
    ?assertEqual(<<"7">>, proplists:get_value(<<"content-length">>, Headers)).

bad_options_test_() ->
    [{lists:flatten(io_lib:format("~p", [{Key, Value}])),
      ?_assertMatch({error, {bad_option, Key, _}}, request(maps:merge(#{host => "h"}, #{Key => Value})))}
     || {Key, Value} <-
            [{host, ""}, {host, "a b"}, {host, "a/b"}, {host, "u@a"}, {host, "a:port"}, {host, "[fe80::1%25eth0]"}, {host, "a\r\nX: y"}, {host, h}, {host, 1}, {path, "chat"}, {path, "/a b"},
             {path, "/a#b"}, {path, [1.5]}, {subprotocols, ["a b"]}, {subprotocols, chat},
             {headers, [{"a b", "c"}]}, {headers, [{"a", "b\r\nc: d"}]}, {headers, [{"Host", "x"}]},
             {headers, [{"sec-websocket-key", "x"}]}, {headers, [{"sec-websocket-protocol", "x"}]},
             {headers, [{"upgrade", "x"}]}, {headers, #{}}, {headers, [a]}, {deflate, 1}, {max_headers, 0},
             {max_header_size, 0}, {max_message_size, 0}, {port, 80}, {<<"host">>, "h"}]]
    ++ [?_assertMatch({error, {bad_option, host, _}}, request(#{})),
        ?_assertMatch({error, {bad_option, host, _}}, accept(asked([]), #{host => "h"})),
        ?_assertMatch({error, {bad_option, headers, _}}, accept(asked([]), #{headers => [{"upgrade", "x"}]})),
        ?_assertMatch({error, {bad_option, subprotocols, _}}, check_request(asked([]), #{subprotocols => []}))].

misuse_test_() ->
    [?_assertError(badarg, request([])), ?_assertError(badarg, accept(atom)), ?_assertError(badarg, accept(<<>>, [])),
     ?_assertError(badarg, check_request(1)), ?_assertError(badarg, check_response(handshake, <<>>)),
     ?_assertError(badarg, sockeye_codec:reject(99, [], "")), ?_assertError(badarg, sockeye_codec:reject(101, [], "")),
     ?_assertError(badarg, sockeye_codec:reject(403, [{"a", "b\r\n"}], ""))].
