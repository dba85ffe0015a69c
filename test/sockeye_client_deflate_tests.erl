%% Compression between our client and our server, and with a server that has none.
-module(sockeye_client_deflate_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_handler/3, url/1]).

-define(TIMEOUT, 60000).

echo() ->
    #{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end}.

every_pair_of_settings_test_() ->
    Own = #{server_context_takeover => true, client_context_takeover => true},
    Small = #{server_max_window_bits => 9, client_max_window_bits => 10, threshold => 0},
    [{lists:flatten(io_lib:format("~0p and ~0p", [Server, Client])),
      fun() -> pair(Server, Client, Server =/= false andalso Client =/= false) end}
     || Server <- [false, true, Own, Small], Client <- [false, true, Own, Small, maps:merge(Own, Small)]].

pair(Server, Client, Compressed) ->
    with_handler(echo(), #{deflate => Server}, fun(Port, _) ->
        {ok, Conn} = sockeye_client:connect(url(Port), #{deflate => Client}),
        ?assertMatch({ok, #{deflate := Compressed}}, sockeye:info(Conn)),
        [begin
             ok = sockeye_client:send(Conn, {json, Term}),
             ?assertEqual({ok, {json, Term}}, sockeye_client:recv(Conn, ?TIMEOUT))
         end || _ <- [1, 2, 3], Term <- [1, binary:copy(<<"abc">>, 100), lists:seq(1, 20000), #{<<"a">> => <<>>}]],
        ok = sockeye_client:close(Conn)
    end).

fewer_bytes_travel_test() ->
    Frame = {text, binary:copy(<<"the same again, ">>, 1000)},
    Sent = fun(Deflate) ->
        with_handler(echo(), #{deflate => true, format => raw}, fun(Port, _) ->
            {ok, Client} = sockeye_client:start_link(url(Port), self(), #{deflate => Deflate, format => raw}),
            ok = sockeye_client:send(Client, Frame),
            receive {sockeye, _, {text, _} = Frame} -> ok end,
            {ok, #{bytes_in := In, bytes_out := Out}} = sockeye_client:info(Client),
            ok = sockeye_client:stop(Client),
            {In, Out}
        end)
    end,
    {In, Out} = Sent(true),
    ?assert(In < 500 andalso Out < 500),
    {PlainIn, PlainOut} = Sent(false),
    ?assert(PlainIn > 16000 andalso PlainOut > 16000).

%% What inflates beyond the bound on a message is not delivered.
a_bomb_test() ->
    Bomb = #{open => fun(_, _, S) -> {[{reply, {text, binary:copy(<<"x">>, 1 bsl 20)}}], S} end},
    with_handler(Bomb, #{deflate => true}, fun(Port, _) ->
        {ok, Conn} = sockeye_client:connect(url(Port), #{deflate => true, max_message_size => 100000}),
        ?assertMatch({error, {closed, 1009, _}}, sockeye_client:recv(Conn, ?TIMEOUT))
    end).

options_test() ->
    ?assertMatch({error, {bad_option, deflate, _}}, sockeye_client:connect("ws://x", #{deflate => perhaps})),
    ?assertMatch({error, {bad_option, deflate, _}}, sockeye_client:connect("ws://x", #{deflate => #{level => 10}})).
