%% What JSON does not know: where it stands, and what the option `encoder' makes of it.
-module(sockeye_encoder_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(sockeye_json, [encode/1, encode/2]).
-import(test_support, [with_server/2, with_handler/3, open/1]).

-define(DATE, #{'__struct__' => 'Elixir.Date', year => 2001, month => 2, day => 3}).

%% ------------------------------------------------------------ where

path_test_() ->
    [{lists:flatten(io_lib:format("~ts", [Path])), ?_assertEqual({error, {not_json, {}, Path}}, encode(Term))}
     || {Term, Path} <-
            [{{}, <<"$">>},
             {#{user => #{born => {}}}, <<"$.user.born">>},
             {#{<<"list">> => [0, 1, 2, {}]}, <<"$.list[3]">>},
             {[[[{}]]], <<"$[0][0][0]">>},
             {{[{a, {[{b, [{}]}]}}]}, <<"$.a.b[0]">>},
             {#{1 => {}}, <<"$[\"1\"]">>},
             {#{<<"a b">> => {}}, <<"$[\"a b\"]">>},
             {#{<<>> => {}}, <<"$[\"\"]">>},
             {#{<<"q\"\\\n">> => {}}, <<"$[\"q\\\"\\\\\\u000a\"]">>},
             {#{<<"größe"/utf8>> => {}}, <<"$[\"größe\"]"/utf8>>},
             %% A key is an object's own.
             {#{a => [#{{} => 1}]}, <<"$.a[0]">>},
             {#{a => {[{b, 1}, {}]}}, <<"$.a">>}]].

%% Longer paths and keys are cut.
long_path_test_() ->
    Nested = fun(N) -> lists:foldl(fun(_, Term) -> [Term] end, {}, lists:seq(1, N)) end,
    Steps = fun(N) -> binary:copy(<<"[0]">>, N) end,
    [?_assertEqual({error, {not_json, {}, Path}}, encode(Term))
     || {Term, Path} <- [{Nested(19), <<"$", (Steps(19))/binary>>}, {Nested(20), <<"$", (Steps(20))/binary>>},
                         {Nested(21), <<"$", (Steps(10))/binary, "...", (Steps(10))/binary>>},
                         {Nested(100000), <<"$", (Steps(10))/binary, "...", (Steps(10))/binary>>},
                         {#{binary:copy(<<"k">>, 64) => {}}, <<"$.", (binary:copy(<<"k">>, 64))/binary>>},
                         {#{binary:copy(<<"k">>, 65) => {}}, <<"$.", (binary:copy(<<"k">>, 64))/binary>>}]].

%% What is no JSON in one place may be so in another.
right_elsewhere_test_() ->
    [?_assertEqual({error, {not_json, Part, Path}}, encode(Term))
     || {Term, Part, Path} <-
            [{[1.5, #{1.5 => 1}], 1.5, <<"$[1]">>},
             {[1, {[1]}], 1, <<"$[1]">>},
             {[a, {[a]}], a, <<"$[1]">>},
             {[[], #{[] => 1}], [], <<"$[1]">>},
             {[#{}, #{#{} => 1}], #{}, <<"$[1]">>},
             {[<<"x">>, {[<<"x">>]}], <<"x">>, <<"$[1]">>},
             {[1, #{a => <<255>>}], <<255>>, <<"$[1].a">>},
             {[1, #{<<255>> => 1}], <<255>>, <<"$[1]">>},
             {[[1 | 2]], [1 | 2], <<"$[0]">>},
             {#{a => [#{b => 1}, #{b => 1, <<"b">> => 2}]}, {duplicate_key, <<"b">>}, <<"$.a[1]">>},
             {[{[{a, 1}, {a, 2}]}], {duplicate_key, a}, <<"$[0]">>},
             {#{a => {duplicate_key, b}}, {duplicate_key, b}, <<"$.a">>},
             {#{day => ?DATE}, {struct, 'Elixir.Date'}, <<"$.day">>},
             {{[{day, {[{'__struct__', 'Elixir.Date'}]}}]}, {struct, 'Elixir.Date'}, <<"$.day">>},
             {#{n => 1 bsl 300000}, 1 bsl 300000, <<"$.n">>},
             {[1 bsl 70, #{a => #{(1 bsl 70) => 1, integer_to_binary(1 bsl 70) => 1}}],
              {duplicate_key, integer_to_binary(1 bsl 70)}, <<"$[1].a">>}]].

every_call_says_where_test() ->
    Bad = #{a => [{}]},
    Error = {error, {not_json, {}, <<"$.a[0]">>}},
    with_server(#{name => ?MODULE}, fun(Port, Server) ->
        {_Socket, Conn} = open(Port),
        [?assertEqual({Name, Error}, {Name, Call()})
         || {Name, Call} <-
                [{send, fun() -> sockeye:send(Conn, Bad) end},
                 {several, fun() -> sockeye:send(Conn, [{text, <<"x">>}, {json, Bad}]) end},
                 {uncompressed, fun() -> sockeye:send(Conn, {uncompressed, Bad}) end},
                 {large, fun() -> sockeye:send(Conn, Bad#{z => lists:seq(1, 100000)}) end},
                 {list, fun() -> sockeye:send([Conn], Bad) end},
                 {message, fun() -> sockeye:send_message(Port, Bad) end},
                 {broadcast, fun() -> sockeye:broadcast(Server, Bad, #{wait => true}) end},
                 {others, fun() -> sockeye:broadcast_from(Conn, Bad) end},
                 {publish, fun() -> sockeye:publish(Server, <<"t">>, Bad) end},
                 {publish_from, fun() -> sockeye:publish_from(Conn, <<"t">>, Bad) end},
                 {client, fun() -> sockeye_client:send(Conn, Bad) end}]]
    end).

%% ------------------------------------------------------------ encoder

encoder(#{'__struct__' := 'Elixir.Date', year := Y, month := M, day := D}) ->
    iolist_to_binary(io_lib:format("~4..0b-~2..0b-~2..0b", [Y, M, D]));
encoder({point, X, Y}) -> {[{x, X}, {y, Y}]};
encoder(Pid) when is_pid(Pid) -> <<"a pid">>;
encoder(raise) -> error(not_reached);
encoder({raise, Why}) -> error(Why);
encoder({more, N}) -> [{more, N + 1}];
encoder({down, 0}) -> 0;
encoder({down, N}) -> [{down, N - 1}];
encoder(Other) -> Other.

encoded(Term) -> encode(Term, #{encoder => fun encoder/1}).

encoder_test_() ->
    [?_assertEqual({ok, Text}, encoded(Term))
     || {Term, Text} <-
            [{?DATE, <<"\"2001-02-03\"">>},
             {#{a => [?DATE, 1]}, <<"{\"a\":[\"2001-02-03\",1]}">>},
             {{[{z, ?DATE}, {a, raise}]}, <<"{\"z\":\"2001-02-03\",\"a\":\"raise\"}">>},
             {[{point, 1, {point, self(), null}}], <<"[{\"x\":1,\"y\":{\"x\":\"a pid\",\"y\":null}}]">>},
             {#{?DATE => {json_raw, <<"[{}]">>}}, <<"{\"2001-02-03\":[{}]}">>},
             {{down, 2}, <<"[[0]]">>}]].

%% What it does not know either, or makes of it, is wrong where it stands then.
not_known_test_() ->
    [?_assertEqual({error, {not_json, Part, Path}}, encoded(Term))
     || {Term, Part, Path} <-
            [{#{a => ?DATE, b => [{x, y}]}, {x, y}, <<"$.b[0]">>},
             {{point, 1, {}}, {}, <<"$.y">>},
             {[1 | 2], [1 | 2], <<"$">>},
             {<<255>>, <<255>>, <<"$">>},
             {{[1]}, 1, <<"$">>},
             %% Keys that become the same.
             {#{?DATE => 1, <<"2001-02-03">> => 2}, {duplicate_key, <<"2001-02-03">>}, <<"$">>}]].

%% One that gives ever more is not asked for ever.
bounded_test_() ->
    Nested = fun(N, Inner) -> iolist_to_binary([lists:duplicate(N, $[), Inner, lists:duplicate(N, $])]) end,
    [?_assertMatch({error, {not_json, {more, 256}, _}}, encoded({more, 0})),
     ?_assertEqual({ok, Nested(255, "0")}, encoded({down, 255})),
     ?_assertMatch({error, {not_json, {down, 0}, _}}, encoded({down, 256}))].

%% It is called for what needs it only, and an error of its own is told apart from one of ours.
called_when_needed_test() ->
    Never = #{encoder => fun(_) -> error(called) end},
    ?assertEqual({ok, <<"{\"a\":[1,\"b\",null]}">>}, encode(#{a => [1, b, null]}, Never)),
    ?assertError({encoder, error, called}, encode([self()], Never)),
    ?assertEqual({ok, <<"[null,\"a pid\"]">>}, encode([nil, self()], #{null => nil, encoder => fun encoder/1})).

frames_test() ->
    with_server(#{name => ?MODULE, encoder => fun encoder/1, send_queue_size => 10000000}, fun(Port, Server) ->
        {Socket, Conn} = open(Port),
        ok = sockeye:subscribe(Conn, <<"t">>),
        [begin
             ?assertEqual({Name, ok}, {Name, Call()}),
             ?assertEqual({Name, Text}, {Name, ws_client:recv_data(Socket)})
         end
         || {Name, Call, Text} <-
                [{json, fun() -> sockeye:send(Conn, {json, [?DATE]}) end, <<"[\"2001-02-03\"]">>},
                 {map, fun() -> sockeye:send(Conn, #{day => ?DATE}) end, <<"{\"day\":\"2001-02-03\"}">>},
                 {struct, fun() -> sockeye:send(Conn, ?DATE) end, <<"\"2001-02-03\"">>},
                 {uncompressed, fun() -> sockeye:send(Conn, {uncompressed, {json, {point, 1, 2}}}) end, <<"{\"x\":1,\"y\":2}">>},
                 {list, fun() -> sockeye:send([Conn], #{day => ?DATE}) end, <<"{\"day\":\"2001-02-03\"}">>},
                 {message, fun() -> sockeye:send_message(Port, #{day => ?DATE}) end, <<"{\"day\":\"2001-02-03\"}">>},
                 {broadcast, fun() -> sockeye:broadcast(Server, #{day => ?DATE}) end, <<"{\"day\":\"2001-02-03\"}">>},
                 {publish, fun() -> sockeye:publish(Server, <<"t">>, #{day => ?DATE}) end, <<"{\"day\":\"2001-02-03\"}">>}]],
        %% All of several, or none.
        ?assertEqual({error, {not_json, {}, <<"$">>}}, sockeye:send(Conn, [{json, ?DATE}, {json, {}}])),
        ok = sockeye:send(Conn, [{text, <<"1">>}, {json, ?DATE}, {text, <<"2">>}]),
        [?assertEqual(Text, ws_client:recv_data(Socket)) || Text <- [<<"1">>, <<"\"2001-02-03\"">>, <<"2">>]],
        ?assertError({encoder, error, badarg}, sockeye:send(Conn, {json, {raise, badarg}})),
        Large = {json, [?DATE | lists:seq(1, 100000)]},
        ok = sockeye:send(Conn, Large),
        ?assertMatch(<<"[\"2001-02-03\",1,2,", _/binary>>, ws_client:recv_data(Socket))
    end).

%% Of a server that has ended nothing is left.
forgotten_test() ->
    Before = ets:info(sockeye_encoder, size),
    with_server(#{encoder => fun encoder/1}, fun(_, _) -> ?assertEqual(1, ets:info(sockeye_encoder, size) - Before) end),
    ?assertEqual(Before, ets:info(sockeye_encoder, size)).

%% No frame of a handler overtakes another.
handler_test_() ->
    [{lists:flatten(io_lib:format("~p", [Processes])),
      fun() ->
              Funs = #{frame => fun({json, N}, _, S) -> {[{reply, [{json, [N, ?DATE]}, {text, <<"next">>}]}, {broadcast, ?DATE}], S} end},
              with_handler(Funs, #{processes => Processes, encoder => fun encoder/1}, fun(Port, _) ->
                  Socket = ws_client:connect(Port),
                  [ok = ws_client:text(Socket, integer_to_binary(N)) || N <- [1, 2, 3]],
                  [begin
                       Day = <<"[", (integer_to_binary(N))/binary, ",\"2001-02-03\"]">>,
                       [?assertEqual(Text, ws_client:recv_data(Socket)) || Text <- [Day, <<"next">>, <<"\"2001-02-03\"">>]]
                   end || N <- [1, 2, 3]]
              end)
      end} || Processes <- [one, per_connection]].

%% One reply, which takes a way of its own; and what is not known is told.
single_reply_test() ->
    Self = self(),
    Funs = #{frame => fun(_, _, S) -> {[{reply, #{day => ?DATE, pid => {}}}], S} end,
             error => fun({_, Reason}, _, S) -> Self ! Reason, {[{reply, ?DATE}], S} end},
    with_handler(Funs, #{encoder => fun encoder/1}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"1">>),
        ?assertEqual({not_json, {}, <<"$.pid">>}, receive Reason -> Reason after 60000 -> timeout end),
        ?assertEqual(<<"\"2001-02-03\"">>, ws_client:recv_data(Socket))
    end).

%% What a callback throws, and what others than handle_frame/3 return.
other_callbacks_test() ->
    Info = fun(_, S) -> throw({[{broadcast, {json, [{point, 1, 2}]}}], {#{}, S}}) end,
    Funs = #{frame => fun(_, _, S) -> self() ! hello, throw({[{reply, {json, [?DATE]}}], {#{info => Info}, S}}) end},
    with_handler(Funs, #{encoder => fun encoder/1}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:text(Socket, <<"1">>),
        [?assertEqual(Text, ws_client:recv_data(Socket)) || Text <- [<<"[\"2001-02-03\"]">>, <<"[{\"x\":1,\"y\":2}]">>]]
    end).

%% A crash of the encoder is one of the callback.
crash_test_() ->
    [fun() -> crash(fun(_, _, S) -> {[{reply, {json, {raise, mine}}}], S} end) end,
     fun() -> crash(fun(_, _, S) -> throw({[{reply, {json, {raise, mine}}}], S}) end) end].

crash(Frame) ->
    Funs = #{frame => Frame},
    test_support:quiet(fun() ->
        with_handler(Funs, #{processes => per_connection, encoder => fun encoder/1}, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            ok = ws_client:text(Socket, <<"1">>),
            ?assertMatch({1011, _}, ws_client:recv_close(Socket))
        end)
    end).

a_client_has_one_test() ->
    with_server(#{}, fun(Port, _) ->
        Url = ["ws://127.0.0.1:", integer_to_list(Port)],
        {ok, Client} = sockeye_client:start_link(Url, self(), #{encoder => fun encoder/1, name => a_client_with_an_encoder}),
        {ok, Conn} = sockeye_client:conn(Client),
        ok = sockeye_client:send(Client, {json, ?DATE}),
        ?assertEqual(<<"2001-02-03">>, receive {sockeye, From, {json, Got}} when From =/= Conn -> Got after 60000 -> timeout end),
        ok = sockeye_client:stop(Client)
    end).
