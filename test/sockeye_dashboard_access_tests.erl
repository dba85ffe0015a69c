%% The dashboard's option, who may see it, and the page.
-module(sockeye_dashboard_access_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2]).

-define(TOKEN, <<"0123456789abcdef">>).

%% ---------------------------------------------------------------- the option

options_test_() ->
    Wrong = fun(Value) -> {error, {bad_option, dashboard, Why}} = sockeye:start_link(#{port => 0, dashboard => Value}), Why end,
    [?_assert(is_binary(Wrong(Value)))
     || Value <- [on, #{path => "no"}, #{path => "/a/*"}, #{path => "/a/"}, #{path => "/"}, #{auth => true}, #{auth => fun() -> true end},
                  #{other => 1}, #{auth => {token, 1}}, #{auth => {token, binary:copy(<<"x">>, 15)}},
                  #{auth => {token, binary:copy(<<"x">>, 257)}}, #{auth => {token, "a space is no good"}}]]
    ++ [?_test(with_server(#{dashboard => Value}, fun(_, _) -> ok end))
        || Value <- [#{}, #{path => "/a/b"}, #{auth => loopback}, #{auth => fun(_) -> true end}, #{auth => {token, binary:copy(<<"x">>, 16)}},
                     #{auth => {token, binary:copy(<<"x">>, 256)}}]].

a_path_that_is_taken_test() ->
    ?assertMatch({error, {bad_option, http, _}}, sockeye:start_link(#{port => 0, dashboard => #{path => "/a"}, http => #{"/a" => {text, "x"}}})).

%% ---------------------------------------------------------------- who may

request(Peer, Headers) ->
    #{method => <<"GET">>, path => <<"/_sockeye">>, peer => {Peer, 4711}, headers => Headers, subprotocols => []}.

loopback_test_() ->
    Host = {<<"host">>, <<"localhost:8080">>},
    Says = fun(Peer, Headers) -> element(1, sockeye_dashboard_auth:socket(loopback, request(Peer, Headers))) end,
    Lets = [{{127, 0, 0, 1}, [Host]}, {{127, 9, 9, 9}, [{<<"host">>, <<"127.0.0.1">>}]}, {{0, 0, 0, 0, 0, 0, 0, 1}, [{<<"host">>, <<"[::1]:80">>}]},
            {{0, 0, 0, 0, 0, 16#ffff, 16#7f00, 1}, [{<<"host">>, <<"LocalHost">>}]}],
    Refuses = [{{10, 0, 0, 1}, [Host]}, {{0, 0, 0, 0, 0, 16#ffff, 16#0a00, 1}, [Host]}, {{0, 0, 0, 0, 0, 0, 0, 2}, [Host]}, {{127, 0, 0, 1}, []},
               %% Another site whose name leads here.
               {{127, 0, 0, 1}, [{<<"host">>, <<"evil.example:8080">>}]}, {{127, 0, 0, 1}, [{<<"host">>, <<"127.0.0.1.evil.example">>}]},
               {{127, 0, 0, 1}, [{<<"host">>, <<"localhost.evil.example">>}]}]
        ++ [{{127, 0, 0, 1}, [Host, {Name, <<"x">>}]}
            || Name <- [<<"forwarded">>, <<"x-forwarded-for">>, <<"x-forwarded-host">>, <<"x-real-ip">>, <<"via">>, <<"cf-connecting-ip">>]],
    [?_assertEqual({Peer, Headers, ok}, {Peer, Headers, Says(Peer, Headers)}) || {Peer, Headers} <- Lets]
        ++ [?_assertEqual({Peer, Headers, error}, {Peer, Headers, Says(Peer, Headers)}) || {Peer, Headers} <- Refuses]
        ++ [?_assertMatch({error, {403, _, _}}, sockeye_dashboard_auth:socket(loopback, (request({127, 0, 0, 1}, [Host]))#{peer => {local, <<>>}}))].

token_test_() ->
    {ok, Auth} = sockeye_dashboard_auth:check({token, ?TOKEN}),
    Digits = list_to_binary([io_lib:format("~2.16.0b", [Byte]) || <<Byte>> <= ?TOKEN]),
    Socket = fun(Offered) -> element(1, sockeye_dashboard_auth:socket(Auth, (request({10, 0, 0, 1}, []))#{subprotocols => Offered})) end,
    Page = fun(Headers) -> element(1, sockeye_dashboard_auth:token(Auth, request({10, 0, 0, 1}, Headers))) end,
    [?_assertEqual(ok, Socket([<<"sockeye-dashboard">>, <<"token.", Digits/binary>>])),
     ?_assertEqual(error, Socket([<<"sockeye-dashboard">>])),
     ?_assertEqual(error, Socket([<<"token.">>])),
     ?_assertEqual(error, Socket([<<"token.", ?TOKEN/binary>>])),
     ?_assertEqual(error, Socket([<<"token.", Digits/binary, "0">>])),
     ?_assertEqual(ok, Page([{<<"authorization">>, <<"Bearer ", ?TOKEN/binary>>}])),
     ?_assertEqual(error, Page([{<<"authorization">>, <<"Bearer x">>}])),
     ?_assertEqual(error, Page([])),
     %% Nothing shows it.
     ?_assertEqual(nomatch, string:find(io_lib:format("~p", [Auth]), ?TOKEN))].

%% Each byte is compared, whichever differs.
compare_test() ->
    ?assert(sockeye_dashboard_auth:is_equal(?TOKEN, ?TOKEN)),
    ?assertNot(sockeye_dashboard_auth:is_equal(?TOKEN, <<>>)),
    [begin
         <<Before:At/binary, Byte, After/binary>> = ?TOKEN,
         ?assertNot(sockeye_dashboard_auth:is_equal(?TOKEN, <<Before/binary, (Byte bxor 1), After/binary>>))
     end || At <- lists:seq(0, 15)].

function_test_() ->
    Says = fun(Answer) -> sockeye_dashboard_auth:socket(fun(_) -> Answer end, request({10, 0, 0, 1}, [])) end,
    [?_assertEqual({ok, <<"auth">>}, Says(true)),
     ?_assertEqual({ok, <<"ann">>}, Says({ok, <<"ann">>})),
     ?_assertEqual({ok, binary:copy(<<"x">>, 128)}, Says({ok, binary:copy(<<"x">>, 129)})),
     ?_assertMatch({error, {403, _, _}}, Says(false)),
     ?_assertMatch({error, {403, _, _}}, Says(ok)),
     ?_assertMatch({error, {403, _, _}}, Says({200, [], "x"})),
     ?_assertEqual({error, {302, [{"Location", "/login"}], ""}}, Says({302, [{"Location", "/login"}], ""}))].

%% ---------------------------------------------------------------- the page

hashes_test() ->
    #{style := Style, script := Script} = sockeye_dashboard_page:parts(),
    {200, Headers, Page} = sockeye_dashboard_page:answer(loopback, request({127, 0, 0, 1}, [{<<"host">>, <<"localhost">>}])),
    Policy = lists:flatten(proplists:get_value("Content-Security-Policy", Headers)),
    [?assertMatch({Part, [_ | _]}, {Part, string:find(Policy, "'sha256-" ++ base64:encode_to_string(crypto:hash(sha256, Part)) ++ "'")})
     || Part <- [Style, Script]],
    Html = iolist_to_binary(Page),
    %% Nothing is loaded from anywhere, and nothing but the two parts could run.
    ?assertEqual(nomatch, re:run(Html, "(src|href)=[^>]*//|@import|url[(]|<(link|script)[^>]*https?:|innerHTML|insertAdjacentHTML|document[.]write|eval[(]")),
    ?assertEqual(nomatch, re:run(Html, "<[^>]* (style|on[a-z]+)=")),
    ?assertEqual(1, length(binary:matches(Html, <<"<script>">>))).

page_test() ->
    with_server(#{dashboard => #{}}, fun(Port, _) ->
        Get = fun(Method, Path, Headers) -> hostile_client:say(Port, [Method, " ", Path, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", Headers, "\r\n"]) end,
        ?assertMatch(<<"HTTP/1.1 200", _/binary>>, Get("GET", "/_sockeye", "")),
        ?assertMatch(<<"HTTP/1.1 403", _/binary>>, Get("GET", "/_sockeye", "X-Forwarded-For: 127.0.0.1\r\n")),
        ?assertMatch(<<"HTTP/1.1 405", _/binary>>, Get("POST", "/_sockeye", "Content-Length: 0\r\n")),
        ?assertMatch(<<"HTTP/1.1 204", _/binary>>, Get("GET", "/_sockeye/auth", "")),
        ?assertMatch(<<"HTTP/1.1 404", _/binary>>, Get("GET", "/_sockeye/other", ""))
    end).

off_by_default_test() ->
    with_server(#{}, fun(Port, _) ->
        ?assertMatch(<<"HTTP/1.1 426", _/binary>>, hostile_client:say(Port, "GET /_sockeye HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    end).
