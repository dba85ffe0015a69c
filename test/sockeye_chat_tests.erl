%% The chat example, as its clients see it.
-module(sockeye_chat_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

chat_test_() ->
    {setup, fun load/0, fun unload/1,
     [{Title, {timeout, 30, fun() -> with_chat(Test) end}}
      || {Title, Test} <- [{"talk", fun talk/1}, {"history", fun history/1}, {"names", fun names/1},
                           {"rooms", fun rooms/1}, {"who is here", fun who_is_here/1},
                           {"what is refused", fun refused/1}, {"too fast", fun too_fast/1},
                           {"a room ends with its people", fun a_room_ends/1}, {"the page", fun page/1}]]
     ++ [{"two nodes", {timeout, 60, fun two_nodes/0}}]}.

load() ->
    [begin
         {ok, Module, Code} = compile:file(file(["src", atom_to_list(Module) ++ ".erl"]),
                                           [binary, return_errors, warnings_as_errors]),
         {module, Module} = code:load_binary(Module, "chat", Code),
         {Module, Code}
     end || Module <- [chat, chat_handler]].

unload(Modules) ->
    [begin code:purge(M), code:delete(M), code:purge(M) end || {M, _} <- Modules].

file(Parts) ->
    filename:join([test_support:root(), "examples", "chat" | Parts]).

options() ->
    (chat:options(#{page => file(["index.html"]), port => 0}))#{message_rate => #{rate => 5, burst => 200, action => close}}.

with_chat(Test) ->
    {ok, Server} = sockeye:start_link(options()),
    try Test(test_support:port(Server))
    after sockeye:stop(Server)
    end.

connect(Port) ->
    Url = "ws://127.0.0.1:" ++ integer_to_list(Port) ++ "/chat",
    {ok, Conn} = sockeye_client:connect(Url),
    Conn.

say(Conn, Map) ->
    ok = sockeye:send(Conn, Map).

next(Conn) ->
    {ok, {json, Message}} = sockeye_client:recv(Conn, 60000),
    Message.

%% The next message that has this key.
await(Conn, Key) ->
    case next(Conn) of
        #{Key := _} = Message -> Message;
        _ -> await(Conn, Key)
    end.

join(Port, Room, Nick) ->
    Conn = connect(Port),
    say(Conn, #{join => Room, nick => Nick}),
    Joined = await(Conn, <<"joined">>),
    {Conn, Joined}.

talk(Port) ->
    {Ann, _} = join(Port, <<"lobby">>, <<"ann">>),
    {Bob, _} = join(Port, <<"lobby">>, <<"bob">>),
    {Eve, _} = join(Port, <<"other">>, <<"eve">>),
    say(Ann, #{say => <<"hello">>}),
    [?assertMatch(#{<<"said">> := #{<<"nick">> := <<"ann">>, <<"text">> := <<"hello">>, <<"at">> := _}},
                  await(Conn, <<"said">>)) || Conn <- [Ann, Bob]],
    say(Eve, #{say => <<"alone">>}),
    ?assertMatch(#{<<"said">> := #{<<"text">> := <<"alone">>}}, await(Eve, <<"said">>)).

history(Port) ->
    {Ann, #{<<"history">> := []}} = join(Port, <<"lobby">>, <<"ann">>),
    [begin say(Ann, #{say => integer_to_binary(N)}), await(Ann, <<"said">>) end || N <- lists:seq(1, 51)],
    {_, #{<<"history">> := History}} = join(Port, <<"lobby">>, <<"bob">>),
    ?assertEqual([integer_to_binary(N) || N <- lists:seq(2, 51)], [T || #{<<"text">> := T} <- History]).

names(Port) ->
    {_, _} = join(Port, <<"lobby">>, <<"ann">>),
    Conn = connect(Port),
    [begin
         say(Conn, #{join => <<"lobby">>, nick => Nick}),
         ?assertEqual(#{<<"error">> => Why, <<"what">> => <<"nick">>}, next(Conn))
     end || {Nick, Why} <- [{<<"ann">>, <<"taken">>}, {<<" ann ">>, <<"taken">>}, {<<>>, <<"empty">>},
                            {<<" \t\n">>, <<"empty">>}, {<<16#200B/utf8>>, <<"empty">>}, {binary:copy(<<"x">>, 21), <<"too_long">>},
                            {stacked(161), <<"too_long">>}, {17, <<"no_text">>}]],
    [begin
         {C, Joined} = join(Port, <<"lobby">>, Nick),
         ?assertMatch(#{<<"nick">> := Clean}, Joined),
         ok = sockeye_client:close(C)
     end || {Nick, Clean} <- [{binary:copy(<<"ü"/utf8>>, 20), binary:copy(<<"ü"/utf8>>, 20)},
                              {binary:copy(<<"x">>, 19), binary:copy(<<"x">>, 19)},
                              {stacked(159), stacked(159)},
                              {<<(stacked(159))/binary, "z">>, <<(stacked(159))/binary, "z">>},
                              {<<"<b>">>, <<"<b>">>}, {<<"a", 7, 16#202E/utf8, "b">>, <<"a  b">>}]].

%% One character, of an odd number of bytes: accents on accents.
stacked(Bytes) ->
    <<"e", (binary:copy(<<16#301/utf8>>, (Bytes - 1) div 2))/binary>>.

rooms(Port) ->
    Conn = connect(Port),
    [begin
         say(Conn, #{join => Room, nick => <<"ann">>}),
         ?assertEqual(#{<<"error">> => Why, <<"what">> => <<"room">>}, next(Conn))
     end || {Room, Why} <- [{<<"a*">>, <<"no_stars">>}, {<<>>, <<"empty">>},
                            {binary:copy(<<"x">>, 31), <<"too_long">>},
                            {stacked(241), <<"too_long">>}, {null, <<"no_text">>}]],
    %% From one room to another.
    [begin
         say(Conn, #{join => Room, nick => <<"ann">>}),
         ?assertMatch(#{<<"joined">> := Room, <<"people">> := [<<"ann">>]}, await(Conn, <<"joined">>))
     end || Room <- [<<"one">>, <<"two">>, <<"one">>, binary:copy(<<"x">>, 30), stacked(239), <<(stacked(239))/binary, "z">>]],
    %% What is refused leaves it where it was; its own name is free for it.
    say(Conn, #{join => <<"b*">>, nick => <<"ann">>}),
    _ = await(Conn, <<"error">>),
    say(Conn, #{say => <<"still here">>}),
    ?assertMatch(#{<<"said">> := _}, await(Conn, <<"said">>)),
    say(Conn, #{join => binary:copy(<<"x">>, 30), nick => <<"ann">>}),
    ?assertMatch(#{<<"people">> := [<<"ann">>]}, await(Conn, <<"joined">>)),
    ?assertMatch({ok, #{} = Topics} when map_size(Topics) =:= 1, sockeye:topics(chat)).

who_is_here(Port) ->
    {Ann, #{<<"people">> := [<<"ann">>]}} = join(Port, <<"lobby">>, <<"ann">>),
    {Bob, #{<<"people">> := [<<"ann">>, <<"bob">>]}} = join(Port, <<"lobby">>, <<"bob">>),
    Came = fun Came() -> case await(Ann, <<"came">>) of #{<<"came">> := [<<"bob">>]} = M -> M; _ -> Came() end end,
    ?assertMatch(#{<<"people">> := [<<"ann">>, <<"bob">>]}, Came()),
    ok = sockeye_client:close(Bob),
    ?assertMatch(#{<<"went">> := [<<"bob">>], <<"people">> := [<<"ann">>]}, await(Ann, <<"went">>)).

refused(Port) ->
    Early = connect(Port),
    say(Early, #{say => <<"x">>}),
    ?assertMatch(#{<<"error">> := <<"not_in_a_room">>}, next(Early)),
    {Ann, _} = join(Port, <<"lobby">>, <<"ann">>),
    [begin
         say(Ann, #{say => Text}),
         ?assertMatch(#{<<"error">> := Why, <<"what">> := <<"text">>}, await(Ann, <<"error">>))
     end || {Text, Why} <- [{<<>>, <<"empty">>}, {binary:copy(<<"x">>, 1001), <<"too_long">>}, {#{}, <<"no_text">>}]],
    say(Ann, #{say => binary:copy(<<"x">>, 1000)}),
    ?assertMatch(#{<<"said">> := _}, await(Ann, <<"said">>)),
    say(Early, #{unknown => 1}),
    ?assertMatch({error, {closed, 1008, _}}, sockeye_client:recv(Early, 60000)).

too_fast(Port) ->
    {Ann, _} = join(Port, <<"lobby">>, <<"ann">>),
    ok = sockeye:send(Ann, [#{say => <<"spam">>} || _ <- lists:seq(1, 210)]),
    ?assertMatch({error, {closed, 1008, _}}, last(Ann)).

last(Conn) ->
    case sockeye_client:recv(Conn, 60000) of
        {ok, _} -> last(Conn);
        Error -> Error
    end.

a_room_ends(Port) ->
    {Ann, _} = join(Port, <<"lobby">>, <<"ann">>),
    say(Ann, #{say => <<"gone soon">>}),
    _ = await(Ann, <<"said">>),
    ok = sockeye_client:close(Ann),
    _ = cluster_node:until(fun() -> sockeye_presence:list(chat, <<"room/lobby">>) end, fun(L) -> L =:= {ok, #{}} end),
    {_, Joined} = join(Port, <<"lobby">>, <<"ann">>),
    ?assertMatch(#{<<"history">> := [], <<"people">> := [<<"ann">>]}, Joined).

page(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Socket, <<"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n">>),
    ?assertMatch({ok, <<"HTTP/1.1 200 OK\r\n", _/binary>>}, gen_tcp:recv(Socket, 0, 60000)),
    gen_tcp:close(Socket),
    Url = "ws://127.0.0.1:" ++ integer_to_list(Port),
    ?assertMatch({error, {refused, #{status := 404}}}, sockeye_client:connect(Url ++ "/other")),
    ?assertMatch({error, {refused, #{status := 403}}},
                 sockeye_client:connect(Url ++ "/chat", #{headers => [{<<"origin">>, <<"https://evil.example">>}]})).

%% People of two nodes in one room.
two_nodes() ->
    cluster_node:with_nodes(2, fun(Nodes) ->
        Codes = load(),
        [A, B] = [begin
                      [{module, M} = cluster_node:on(Node, {code, load_binary, [M, "chat", C]}) || {M, C} <- Codes],
                      _ = cluster_node:on(Node, {cluster_node, keep, [{start, {chat_handler, chat}, options()}]}),
                      maps:get(port, test_support:ok(cluster_node:on(Node, {sockeye, info, [chat]})))
                  end || Node <- Nodes],
        {Ann, _} = join(A, <<"lobby">>, <<"ann">>),
        {Bob, _} = join(B, <<"lobby">>, <<"bob">>),
        Here = fun Here(Conn) ->
                       case await(Conn, <<"people">>) of
                           #{<<"people">> := [<<"ann">>, <<"bob">>]} -> ok;
                           _ -> Here(Conn)
                       end
               end,
        [ok = Here(Conn) || Conn <- [Ann, Bob]],
        %% Each node knows of the other's subscribers in its time.
        [_ = cluster_node:until(fun() -> cluster_node:on(Node, {sockeye_cluster, targets, [chat, <<"room/lobby">>]}) end,
                                fun(T) -> length(T) =:= 1 end) || Node <- Nodes],
        say(Ann, #{say => <<"over there?">>}),
        [?assertMatch(#{<<"said">> := #{<<"text">> := <<"over there?">>}}, await(Conn, <<"said">>)) || Conn <- [Ann, Bob]],
        Late = connect(B),
        say(Late, #{join => <<"lobby">>, nick => <<"ann">>}),
        ?assertMatch(#{<<"error">> := <<"taken">>}, next(Late)),
        say(Late, #{join => <<"lobby">>, nick => <<"cid">>}),
        ?assertMatch(#{<<"history">> := [#{<<"text">> := <<"over there?">>}]}, await(Late, <<"joined">>))
    end).
