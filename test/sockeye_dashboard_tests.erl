%% The dashboard: what it is told, and what it may ask.
-module(sockeye_dashboard_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, quiet/1]).
-import(hostile_client, [until/1]).

-define(TOKEN, <<"0123456789abcdef">>).

%% ---------------------------------------------------------------- watching

url(Port) -> "ws://127.0.0.1:" ++ integer_to_list(Port) ++ "/_sockeye/live".

watch(Port) -> watch(Port, #{}).

watch(Port, More) ->
    sockeye_client:connect(url(Port), maps:merge(#{subprotocols => ["sockeye-dashboard"], max_message_size => 16 bsl 20}, More)).

ask(Watcher, Question) ->
    ok = sockeye_client:send(Watcher, Question).

%% The next of that type.
answer(Watcher, Type) ->
    case sockeye_client:recv(Watcher, 60000) of
        {ok, {json, #{<<"type">> := Type} = Answer}} -> Answer;
        {ok, _} -> answer(Watcher, Type)
    end.

id(Server) ->
    {ok, {_, Id, _}} = sockeye_engine:find(Server),
    integer_to_binary(Id).

rows(Server) -> rows(Server, #{}).

rows(Server, More) ->
    maps:merge(#{op => rows, server => id(Server), search => <<>>, sort => age, direction => desc, from => 0, count => 100}, More).

number({sockeye_conn, Number}) -> integer_to_binary(Number).

%% Only the socket at this path belongs to the dashboard, and neither server counts the connections of the other.
counts_apart_test() ->
    with_server(#{dashboard => #{}}, fun(Port, Server) ->
        {ok, Watcher} = watch(Port),
        #{<<"node">> := _} = answer(Watcher, <<"hello">>),
        #{<<"points">> := [_ | _]} = answer(Watcher, <<"points">>),
        ?assertMatch({ok, #{connections := 0, accepted := 0}}, sockeye:info(Server)),
        {_Client, Conn} = test_support:open(Port),
        {ok, #{connections := 1} = Info} = sockeye:info(Server),
        #{<<"table">> := [Seen], <<"servers">> := Moments} = answer(Watcher, <<"point">>),
        [?assertEqual({Key, Value}, {Key, maps:get(atom_to_binary(Key), Seen)})
         || {Key, Value} <- maps:to_list(Info), is_integer(Value), Key =/= port],
        ?assertMatch(#{<<"connections">> := 1}, maps:get(id(Server), Moments)),
        ok = ask(Watcher, rows(Server)),
        Number = number(Conn),
        ?assertMatch(#{<<"total">> := 1, <<"rows">> := [#{<<"id">> := Number, <<"path">> := <<"/">>, <<"credits">> := 100}]}, answer(Watcher, <<"rows">>)),
        ok = sockeye:broadcast(Server, {text, <<"for clients">>}),
        ask(Watcher, rows(Server, #{from => 1})),
        _ = answer(Watcher, <<"rows">>),
        sockeye_client:close(Watcher)
    end).

refused_sockets_test_() ->
    Deny = #{auth => fun(#{headers := Headers}) -> proplists:is_defined(<<"x-let-me">>, Headers) end},
    Digits = list_to_binary([io_lib:format("~2.16.0b", [Byte]) || <<Byte>> <= ?TOKEN]),
    [{Title, fun() ->
        with_server(#{dashboard => Dashboard}, fun(Port, _) ->
            Answer = watch(Port, Options),
            case Status of
                ok -> {ok, Watcher} = Answer, _ = answer(Watcher, <<"hello">>), sockeye_client:close(Watcher);
                _ -> ?assertMatch({error, {refused, #{status := Status}}}, Answer)
            end
        end)
     end} || {Title, Dashboard, Options, Status} <-
        [{"another site", #{}, #{headers => [{"Origin", "http://evil.example"}]}, 403},
         {"forwarded", #{}, #{headers => [{"X-Forwarded-For", "127.0.0.1"}]}, 403},
         {"a function says no", Deny, #{}, 403},
         {"a function says yes", Deny, #{headers => [{"X-Let-Me", "in"}]}, ok},
         {"a function says yes, from another site", Deny, #{headers => [{"X-Let-Me", "in"}, {"Origin", "http://evil.example"}]}, 403},
         {"no token", #{auth => {token, ?TOKEN}}, #{}, 401},
         {"a wrong token", #{auth => {token, ?TOKEN}}, #{subprotocols => ["sockeye-dashboard", "token.00"]}, 401},
         {"the token", #{auth => {token, ?TOKEN}}, #{subprotocols => ["sockeye-dashboard", <<"token.", Digits/binary>>]}, ok},
         {"not the page", #{}, #{subprotocols => []}, 400}]].

%% On a stream of HTTP/2, beside one of the watched server on the same socket: each ends without the other.
http2_test() ->
    with_server(#{dashboard => #{}, http2 => cleartext}, fun(Port, Server) ->
        {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {nodelay, true}]),
        ok = h2_frames:shake(Socket),
        Fields = lists:keystore(<<":authority">>, 1, h2_frames:connect_fields(), {<<":authority">>, <<"localhost">>}),
        Watch = lists:keystore(<<":path">>, 1, Fields, {<<":path">>, <<"/_sockeye/live">>}) ++ [{<<"sec-websocket-protocol">>, <<"sockeye-dashboard">>}],
        ok = gen_tcp:send(Socket, [h2_frames:headers(1, h2_frames:block(Watch)), h2_frames:open_stream(3)]),
        ?assertEqual([{1, 200}, {3, 200}], lists:sort(answered(Socket, []))),
        Conn = test_support:opened(),
        ?assertMatch({ok, #{connections := 1, accepted := 1}}, sockeye:info(Server)),
        ok = gen_tcp:send(Socket, h2_frames:reset(1, 8)),
        ok = sockeye:send(Conn, {text, <<"still here">>}),
        said(Socket, 3, <<"still here">>),
        ok = gen_tcp:send(Socket, h2_frames:reset(3, 8)),
        ?assertEqual(1006, test_support:closed(Conn)),
        until(fun() -> {ok, #{connections := Open}} = sockeye:info(Server), Open =:= 0 end),
        gen_tcp:close(Socket)
    end).

%% The heads of two streams.
answered(_Socket, [_, _] = Answers) -> Answers;
answered(Socket, Answers) ->
    answered(Socket, h2_frames:statuses([Frame || {1, _, _, _} = Frame <- [h2_frames:next(Socket)]]) ++ Answers).

said(Socket, Stream, Text) ->
    case h2_frames:next(Socket) of
        {0, _, Stream, Data} when byte_size(Data) >= byte_size(Text) -> ?assertNotEqual(nomatch, binary:match(Data, Text));
        Frame when is_tuple(Frame) -> said(Socket, Stream, Text)
    end.

%% Sixteen may watch a server.
watchers_test() ->
    with_server(#{dashboard => #{}}, fun(Port, _) ->
        Watchers = [begin {ok, Watcher} = watch(Port), _ = answer(Watcher, <<"hello">>), Watcher end || _ <- lists:seq(1, 16)],
        ?assertMatch({error, {refused, #{status := 503}}}, watch(Port)),
        sockeye_client:close(hd(Watchers)),
        until(fun() -> case watch(Port) of {ok, Again} -> sockeye_client:close(Again), true; _ -> false end end),
        [sockeye_client:close(Watcher) || Watcher <- tl(Watchers)]
    end).

%% ---------------------------------------------------------------- the table

%% A page of the engine has 500 connections: one less, as many, one more. Each is there once, whatever the order.
pages_test_() ->
    [{timeout, 60, {integer_to_list(Count), fun() ->
        Accept = fun(#{query := User}) -> {accept, #{user_data => User}} end,
        with_server(#{dashboard => #{}, accept => Accept, backlog => 1024}, fun(Port, Server) ->
            Names = [iolist_to_binary(io_lib:format("user-~4..0b", [N])) || N <- lists:seq(1, Count)],
            [{ok, _} = sockeye_client:connect(["ws://127.0.0.1:", integer_to_list(Port), "/?", Name]) || Name <- Names],
            {ok, Watcher} = watch(Port),
            Users = fun(Direction) ->
                        lists:append([begin
                                          ask(Watcher, rows(Server, #{sort => user, direction => Direction, from => From, count => 200})),
                                          #{<<"total">> := Count, <<"from">> := From, <<"rows">> := Rows} = answer(Watcher, <<"rows">>),
                                          [User || #{<<"user">> := User} <- Rows]
                                      end || From <- lists:seq(0, Count, 200)])
                    end,
            ?assertEqual(Names, Users(asc)),
            ?assertEqual(lists:reverse(Names), Users(desc)),
            ask(Watcher, rows(Server, #{search => <<"USER-0001">>})),
            ?assertMatch(#{<<"total">> := 1}, answer(Watcher, <<"rows">>)),
            sockeye_client:close(Watcher)
        end),
        test_support:flush()
     end}} || Count <- [499, 500, 501]].

%% Rows as the engine writes them.
row(Id, Queued, Credits, Peer, Path, User) ->
    <<Id:64, (Id * 1000):64, Queued:32, 0:32, Id:64, Credits:32/signed, (byte_size(Peer)), (byte_size(Path)), (byte_size(User)),
      Peer/binary, Path/binary, User/binary>>.

table_test_() ->
    Pages = [<<(row(1, 5, 10, <<"10.0.0.1:1">>, <<"/a">>, <<"Zoë"/utf8>>))/binary, (row(2, 7, -1, <<"10.0.0.2:1">>, <<"/b+">>, <<>>))/binary>>,
             <<>>, row(3, 0, 0, <<"[::1]:3">>, <<"/a">>, <<"ann">>)],
    Ids = fun(Search, Sort, Direction) ->
              Rows = sockeye_dashboard_table:select(Pages, Search, Sort, Direction),
              [binary_to_integer(Id) || #{id := Id} <- sockeye_dashboard_table:page(Rows, 0, 10)]
          end,
    [?_assertEqual(3, sockeye_dashboard_table:count(Pages))]
        ++ [?_assertEqual({Search, Sort, Direction, Expected}, {Search, Sort, Direction, Ids(Search, Sort, Direction)})
            || {Search, Sort, Direction, Expected} <-
                [{<<>>, age, asc, [1, 2, 3]}, {<<>>, age, desc, [3, 2, 1]}, {<<>>, queued, desc, [2, 1, 3]}, {<<>>, credits, desc, [2, 1, 3]},
                 {<<>>, peer, asc, [1, 2, 3]}, {<<>>, path, asc, [1, 3, 2]}, {<<>>, user, asc, [2, 1, 3]}, {<<>>, messages, asc, [1, 2, 3]},
                 {<<"ZOË"/utf8>>, age, asc, [1]}, {<<"+">>, age, asc, [2]}, {<<".">>, age, asc, [1, 2]}, {<<"/A">>, age, asc, [1, 3]}, {<<"[">>, age, asc, [3]},
                 {<<"nobody">>, age, asc, []}]]
        ++ [?_assertEqual({From, Count, Length}, {From, Count, length(sockeye_dashboard_table:page(sockeye_dashboard_table:select(Pages, <<>>, age, asc), From, Count))})
            || {From, Count, Length} <- [{0, 2, 2}, {0, 3, 3}, {0, 4, 3}, {2, 1, 1}, {2, 5, 1}, {3, 1, 0}, {4, 1, 0}]].

%% The members of a topic are those that would get what is published there.
topics_test() ->
    with_server(#{dashboard => #{}}, fun(Port, Server) ->
        {_, One} = test_support:open(Port),
        {_, Two} = test_support:open(Port),
        [ok = sockeye:subscribe(Conn, Topic) || {Conn, Topic} <- [{One, <<"room/1">>}, {Two, <<"room/*">>}, {One, <<"news">>}, {Two, <<"news">>}]],
        {ok, Watcher} = watch(Port),
        ask(Watcher, #{op => topics, server => id(Server), search => <<>>, from => 0}),
        ?assertMatch(#{<<"total">> := 3, <<"topics">> := [[<<"news">>, 2], [<<"room/*">>, 1], [<<"room/1">>, 1]]}, answer(Watcher, <<"topics">>)),
        ask(Watcher, #{op => topics, server => id(Server), search => <<>>, from => 3}),
        ?assertMatch(#{<<"total">> := 3, <<"topics">> := []}, answer(Watcher, <<"topics">>)),
        ask(Watcher, #{op => members, server => id(Server), topic => <<"room/1">>}),
        #{<<"members">> := Members} = answer(Watcher, <<"members">>),
        ?assertEqual(lists:sort([number(One), number(Two)]), lists:sort([Id || #{<<"id">> := Id} <- Members])),
        ask(Watcher, #{op => members, server => id(Server), topic => <<"room/*">>}),
        ?assertMatch(#{<<"members">> := []}, answer(Watcher, <<"members">>)),
        sockeye_client:close(Watcher)
    end).

%% This node, with its servers of the cluster.
cluster_test() ->
    with_server(#{dashboard => #{}, name => clustered, scope => cluster}, fun(Port, _) ->
        {ok, Watcher} = watch(Port),
        ask(Watcher, #{op => cluster}),
        Node = atom_to_binary(node()),
        #{<<"nodes">> := Nodes} = answer(Watcher, <<"cluster">>),
        ?assertMatch([#{<<"node">> := Node, <<"here">> := true, <<"answers">> := true, <<"servers">> := [<<"clustered">>]}], Nodes),
        sockeye_client:close(Watcher)
    end).

%% ---------------------------------------------------------------- what may be asked

questions_test_() ->
    Text = fun(Size) -> binary:copy(<<"x">>, Size) end,
    Rows = #{op => rows, server => <<"1">>, search => <<>>, sort => age, direction => desc, from => 0, count => 1},
    Good = [Rows#{count => 199}, Rows#{count => 200}, Rows#{search => Text(127)}, Rows#{search => Text(128)}, Rows#{from => 16#ffffffff},
            #{op => leave}, #{op => cluster}, #{op => detail, conn => null}, #{op => detail, conn => <<"1">>},
            #{op => close, conn => <<"1">>, code => 1008}, #{op => active, conn => <<"1">>, active => 32767}, #{op => active, conn => <<"1">>, active => true},
            #{op => topics, server => <<"1">>, search => <<>>, from => 0}, #{op => members, server => <<"1">>, topic => <<"t">>}],
    Bad = [Rows#{count => 0}, Rows#{count => 201}, Rows#{search => Text(129)}, Rows#{from => -1}, Rows#{from => 16#100000000}, Rows#{sort => other},
           Rows#{direction => up}, Rows#{server => 1}, Rows#{server => <<"-1">>}, Rows#{server => <<"x">>}, Rows#{server => Text(21)},
           #{op => other}, #{op => detail, conn => <<"x">>}, #{op => detail}, #{op => close, conn => <<"1">>, code => 1006}, #{op => close, conn => <<"1">>},
           #{op => active, conn => <<"1">>, active => 0}, #{op => active, conn => <<"1">>, active => 32768}, #{op => active, conn => <<"1">>, active => <<"once">>},
           #{op => members, server => <<"1">>, topic => <<>>}, #{no => op}, []],
    Asked = fun(Question) ->
                with_server(#{dashboard => #{}}, fun(Port, _) ->
                    {ok, Watcher} = watch(Port),
                    _ = answer(Watcher, <<"points">>),
                    ask(Watcher, {json, Question}),
                    ask(Watcher, #{op => close, conn => <<"2">>, code => 1000}),
                    Result = last_word(Watcher),
                    sockeye_client:close(Watcher),
                    Result
                end)
            end,
    [{timeout, 20, ?_assertEqual({Question, lives}, {Question, Asked(Question)})} || Question <- Good]
        ++ [{timeout, 20, ?_assertEqual({Question, {closed, 1008}}, {Question, Asked(Question)})} || Question <- Bad].

last_word(Watcher) ->
    case sockeye_client:recv(Watcher, 60000) of
        {ok, {json, #{<<"type">> := <<"done">>, <<"conn">> := <<"2">>, <<"ok">> := false}}} -> lives;
        {ok, _} -> last_word(Watcher);
        {error, {closed, Code, _}} -> {closed, Code}
    end.

%% A question that is too long ends its connection, as any message does.
longest_question_test_() ->
    Ask = fun(Size) ->
              with_server(#{dashboard => #{}}, fun(Port, _) ->
                  {ok, Watcher} = watch(Port),
                  Body = <<"{\"op\":\"close\",\"conn\":\"2\",\"code\":1000,\"x\":\"">>,
                  ok = sockeye_client:send(Watcher, {text, [Body, binary:copy(<<"x">>, Size - byte_size(Body) - 2), "\"}"]}),
                  last_word(Watcher)
              end)
          end,
    [?_assertEqual(lives, Ask(4095)), ?_assertEqual(lives, Ask(4096)), ?_assertEqual({closed, 1009}, Ask(4097))].

%% ---------------------------------------------------------------- one connection

kick_test() ->
    sockeye_log_tests:with_log(fun() ->
        with_server(#{dashboard => #{auth => fun(_) -> {ok, <<"ann">>} end}, name => watched}, fun(Port, _) ->
            {ok, Watcher} = watch(Port),
            {Client, Conn} = test_support:open(Port),
            Number = number(Conn),
            ask(Watcher, #{op => detail, conn => Number}),
            ?assertMatch(#{<<"facts">> := #{<<"active">> := 100, <<"error">> := null, <<"topics">> := []}}, answer(Watcher, <<"detail">>)),
            ask(Watcher, #{op => active, conn => Number, active => 7}),
            ?assertMatch(#{<<"ok">> := true, <<"what">> := <<"dashboard_active">>}, answer(Watcher, <<"done">>)),
            ?assertMatch(#{watcher := {<<"ann">>, _}, active := 7, conn := Conn, name := watched}, sockeye_log_tests:report(dashboard_active)),
            until(fun() -> {ok, #{active := Active}} = sockeye:info(Conn), Active =:= 107 end),
            ask(Watcher, #{op => close, conn => Number, code => 1008}),
            ?assertMatch(#{<<"ok">> := true}, answer(Watcher, <<"done">>)),
            ?assertMatch({close, 1008, <<"closed by an operator">>}, ws_client:recv(Client)),
            ?assertMatch(#{watcher := {<<"ann">>, {{127, 0, 0, 1}, _}}, code := 1008, peer := _}, sockeye_log_tests:report(dashboard_closed)),
            ok = ws_client:close(Client, 1008, <<>>),
            ?assertEqual(1008, test_support:closed(Conn)),
            ask(Watcher, #{op => detail, conn => Number}),
            closed(Watcher),
            ask(Watcher, #{op => close, conn => Number, code => 1008}),
            ?assertMatch(#{<<"ok">> := false}, answer(Watcher, <<"done">>)),
            sockeye_client:close(Watcher)
        end)
    end).

%% The last twenty frames, from when the connection is shown on, without what is in them.
frames_test() ->
    with_server(#{dashboard => #{}, format => raw}, fun(Port, _) ->
        {ok, Watcher} = watch(Port),
        {Client, Conn} = test_support:open(Port),
        ok = ws_client:text(Client, <<"before">>),
        {text, <<"before">>} = test_support:event(Conn),
        ask(Watcher, #{op => detail, conn => number(Conn)}),
        ?assertEqual([], frames(Watcher, 0)),
        ok = ws_client:text(Client, <<"secret">>),
        {text, <<"secret">>} = test_support:event(Conn),
        ok = sockeye:send(Conn, {binary, <<1, 2>>}),
        ?assertEqual([[<<"in">>, <<"text">>, 6], [<<"out">>, <<"binary">>, 2]], frames(Watcher, 2)),
        [ok = sockeye:send(Conn, {text, binary:copy(<<"x">>, N)}) || N <- lists:seq(1, 21)],
        ?assertEqual([[<<"out">>, <<"text">>, N] || N <- lists:seq(2, 21)], frames(Watcher, 20)),
        sockeye_client:close(Watcher)
    end).

%% As soon as there are so many, and the newest is the last of them all.
frames(Watcher, Count) ->
    case answer(Watcher, <<"detail">>) of
        #{<<"facts">> := #{<<"frames">> := Frames}} when length(Frames) =:= Count ->
            case Count =:= 20 andalso lists:last(Frames) =/= [<<"out">>, <<"text">>, 21] of
                true -> frames(Watcher, Count);
                false -> Frames
            end;
        _ -> frames(Watcher, Count)
    end.

closed(Watcher) ->
    case answer(Watcher, <<"detail">>) of
        #{<<"facts">> := <<"closed">>} -> ok;
        _ -> closed(Watcher)
    end.

%% What may be a secret is not shown, and no byte is taken for text that is none.
hostile_test() ->
    Accept = fun(_) -> {accept, #{user_data => <<"<i>", 16#f0, 16#9f, 16#90, 16#9f>>}} end,
    with_server(#{dashboard => #{}, accept => Accept}, fun(Port, Server) ->
        {ok, Client} = sockeye_client:connect("ws://127.0.0.1:" ++ integer_to_list(Port) ++ "/%3Cb%3E?token=secret",
                                              #{headers => [{"X-Note", "<b>"}, {"Cookie", "secret"}, {"Authorization", "secret"}, {"X-Session-Id", "secret"}]}),
        Conn = test_support:opened(),
        ok = sockeye:subscribe(Conn, <<"<script>", 255>>),
        {ok, Watcher} = watch(Port),
        ask(Watcher, #{op => detail, conn => number(Conn)}),
        #{<<"facts">> := #{<<"headers">> := Headers, <<"topics">> := Topics, <<"query">> := 12, <<"user_data">> := User} = Facts} = answer(Watcher, <<"detail">>),
        ?assertEqual([<<"<script>", 255/utf8>>], Topics),
        ?assertEqual(<<"<i>", 16#f0, 16#9f, 16#90, 16#9f>>, User),
        ?assert(lists:member([<<"x-note">>, <<"<b>">>], Headers)),
        [?assert(lists:member([Name, <<"(hidden)">>], Headers)) || Name <- [<<"cookie">>, <<"authorization">>, <<"x-session-id">>]],
        ?assertEqual(nomatch, string:find(io_lib:format("~p", [Facts]), "secret")),
        ask(Watcher, #{op => topics, server => id(Server), search => <<"script">>, from => 0}),
        ?assertMatch(#{<<"total">> := 1, <<"topics">> := [[<<"<script>", 255/utf8>>, 1]]}, answer(Watcher, <<"topics">>)),
        ask(Watcher, rows(Server, #{search => <<"<I>">>})),
        ?assertMatch(#{<<"total">> := 1}, answer(Watcher, <<"rows">>)),
        sockeye_client:close(Client),
        sockeye_client:close(Watcher)
    end).

%% Without a dashboard nothing is kept of a request but what info/1 has always told.
no_headers_without_test() ->
    with_server(#{}, fun(Port, _) ->
        {_, Conn} = test_support:open(Port),
        {ok, Info} = sockeye:info(Conn),
        ?assertNot(is_map_key(headers, Info))
    end).

user_data_test_() ->
    Given = fun(Size) -> #{accept => fun(_) -> {accept, #{user_data => binary:copy(<<"x">>, Size)}} end} end,
    [?_test(with_server(Given(Size), fun(Port, _) ->
                {_, Conn} = test_support:open(Port),
                {ok, #{user_data := User}} = sockeye:info(Conn),
                ?assertEqual(Size, byte_size(User))
            end)) || Size <- [0, 127, 128]]
        ++ [?_test(quiet(fun() -> with_server(Options, fun(Port, _) ->
                ?assertMatch({error, {refused, #{status := 500}}}, sockeye_client:connect("ws://127.0.0.1:" ++ integer_to_list(Port) ++ "/"))
            end) end)) || Options <- [Given(129), #{accept => fun(_) -> {accept, #{user_data => <<255>>}} end}, #{accept => fun(_) -> {accept, #{user_data => 1}} end}]].

last_error_test() ->
    with_server(#{dashboard => #{}}, fun(Port, _) ->
        {_, Conn} = test_support:open(Port),
        ?assertEqual(none, sockeye_dashboard_errors:last(Conn)),
        quiet(fun() -> sockeye_log:always(warning, command_failed, #{conn => Conn, command => c, reason => busy, count => 1}) end),
        ?assertMatch({command_failed, _}, sockeye_dashboard_errors:last(Conn)),
        quiet(fun() -> [sockeye_dashboard_errors:note(command_failed, #{conn => {sockeye_conn, N}}) || N <- lists:seq(1, 999)] end),
        ?assertMatch({command_failed, _}, sockeye_dashboard_errors:last(Conn)),
        ok = sockeye_dashboard_errors:note(command_failed, #{conn => {sockeye_conn, 1000}}),
        ?assertEqual(none, sockeye_dashboard_errors:last(Conn)),
        ?assertMatch({command_failed, _}, sockeye_dashboard_errors:last({sockeye_conn, 1000}))
    end).

%% ---------------------------------------------------------------- the end

%% The watchers of a server that stops hear of it, and when none is left nobody samples.
ends_test_() ->
    {timeout, 30, fun() ->
        {ok, Server} = sockeye:start_link(#{port => 0, dashboard => #{}}),
        Port = test_support:port(Server),
        {ok, Watcher} = watch(Port),
        _ = answer(Watcher, <<"points">>),
        Sampler = whereis(sockeye_dashboard_sampler),
        Ref = monitor(process, Sampler),
        ok = sockeye:stop(Server),
        ?assertEqual({closed, 1001}, last_word(Watcher)),
        receive {'DOWN', Ref, process, _, normal} -> ok end
    end}.

%% An engine process that is started in the place of another nests the one server in the other again.
engine_restarts_test_() ->
    {timeout, 60, fun() ->
        case sockeye_backend:engine() of
            nif -> ok;
            port -> quiet(fun engine_restarts/0)
        end
    end}.

engine_restarts() ->
    with_server(#{dashboard => #{}}, fun(Port, _) ->
        {ok, #{os_pid := Pid, restarts := Restarts}} = sockeye:info(),
        [] = os:cmd("kill -9 " ++ integer_to_list(Pid)),
        until(fun() ->
            case watch(Port) of
                {ok, Watcher} ->
                    %% As if it had been one of the watched server itself: it would get no greeting.
                    #{<<"node">> := _} = answer(Watcher, <<"hello">>),
                    #{<<"engine">> := #{<<"restarts">> := Now}} = answer(Watcher, <<"point">>),
                    sockeye_client:close(Watcher),
                    Now > Restarts;
                {error, _} ->
                    false
            end
        end),
        test_support:flush()
    end).

%% A server starts at the moment in which the sampler of those before it ends.
sampler_ends_when_it_is_asked_test() ->
    {ok, _} = application:ensure_all_started(sockeye),
    ok = sockeye_dashboard_sampler:ensure(),
    Ending = whereis(sockeye_dashboard_sampler),
    ok = sys:suspend(Ending, 60000),
    {Pid, Monitor} = spawn_monitor(fun() -> exit({ensured, sockeye_dashboard_sampler:ensure()}) end),
    true = hostile_client:until(fun() ->
        {messages, Messages} = process_info(Ending, messages),
        [] =/= [M || {'$gen_call', _, stay} = M <- Messages] orelse Messages
    end),
    exit(Ending, kill),
    receive {'DOWN', Monitor, process, Pid, Ended} -> ?assertEqual({ensured, ok}, Ended) end,
    ?assertNotEqual(Ending, whereis(sockeye_dashboard_sampler)),
    ?assert(is_pid(whereis(sockeye_dashboard_sampler))).

%% A sampler that dies takes its memory along, and nothing else.
sampler_dies_test_() ->
    {timeout, 30, fun() ->
        with_server(#{dashboard => #{}}, fun(Port, _) ->
            {ok, Watcher} = watch(Port),
            #{<<"points">> := [_ | _]} = answer(Watcher, <<"points">>),
            exit(whereis(sockeye_dashboard_sampler), kill),
            #{<<"points">> := _} = answer(Watcher, <<"points">>),
            _ = answer(Watcher, <<"point">>),
            sockeye_client:close(Watcher)
        end)
    end}.
