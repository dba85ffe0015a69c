%% What a client keeps secret is in no log: neither in an event nor in the text of it.
-module(sockeye_secret_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

%% A handler, and an `accept', for rooms only.
-export([init/1, handle_open/3, handle_frame/3, format_status/1]).
-export([accept/2]).

-define(HEADERS, [{"Cookie", "sid=hunter2"}, {"Authorization", "Bearer hunter2"}, {"X-Note", "plain"}]).

init(How) -> {ok, {How, "hunter2"}}.

handle_open(#{path := <<"/rooms/", _/binary>>}, _Conn, State) -> {[], State};
handle_open(#{path := <<"/reason">>} = Info, _Conn, _State) -> error({no_room, Info});
handle_open(#{path := <<"/stop">>} = Info, _Conn, State) -> {stop, {no_room, Info}, State}.

handle_frame(_Frame, _Conn, State) -> {[], State}.

accept(#{path := <<"/rooms/", _/binary>>}, accepts) -> {accept, #{}};
accept(_Request, Arg) when Arg =/= accepts -> {accept, #{}}.

format_status(#{state := {shows, _}} = Status) -> Status;
format_status(#{state := {hides_state, _}} = Status) -> Status#{state := hidden};
format_status(#{state := {hides_all, _}} = Status) -> Status#{state := hidden, reason := 'not told'};
format_status(#{state := {forgets, _}}) -> #{};
format_status(#{state := {accepts, _}} = Status) -> Status;
format_status(#{state := {crashes, _}}) -> error(on_request).

%% By the name of a header alone, in a map of a request or anywhere else.
names_test_() ->
    [?_assertEqual(IsSecret, sockeye_secret:is_name(Name))
     || {IsSecret, Names} <- [{true, [<<"cookie">>, <<"Set-Cookie">>, <<"AUTHORIZATION">>, <<"sec-websocket-key">>, <<"x-csrf-token">>,
                                      <<"x-session-id">>, <<"password">>, <<"client-secret">>, "Cookie"]},
                              {false, [<<"host">>, <<"x-note">>, <<>>, <<255>>, cookie, 7, [], [$c | $o]]}],
        Name <- Names].

%% The engine masks headers by the same rule, before it keeps them.
the_engine_has_the_same_rule_test() ->
    {ok, Facts} = file:read_file(filename:join(test_support:root(), "native/engine/src/shard/conn/facts.rs")),
    {match, [List]} = re:run(Facts, "const SECRET: \\[&str; \\d+\\] = \\[([^]]*)\\]", [{capture, all_but_first, binary}]),
    {match, Parts} = re:run(List, "\"([a-z]+)\"", [global, {capture, all_but_first, binary}]),
    ?assertEqual(lists:sort(sockeye_secret:parts()), lists:sort(lists:append(Parts))).

what_is_shown_test_() ->
    [?_assertEqual(Shown, sockeye_shown:part(Term, 100))
     || {Term, Shown} <- [{[{<<"cookie">>, <<"a">>}, {<<"host">>, <<"a">>}], [{<<"cookie">>, <<"(hidden)">>}, {<<"host">>, <<"a">>}]},
                          {{"Set-Cookie", ["a", $b]}, {"Set-Cookie", <<"(hidden)">>}},
                          {#{a => {<<"token">>, <<"b">>}}, #{a => {<<"token">>, <<"(hidden)">>}}},
                          {#{path => <<"/">>, query => <<"token=a">>}, #{path => <<"/">>, query => <<"(hidden)">>}},
                          {#{path => <<"/">>, query => <<>>}, #{path => <<"/">>, query => <<>>}},
                          {#{query => <<"a">>}, #{query => <<"a">>}},
                          {{cookie, <<"a">>}, {cookie, <<"a">>}},
                          {{<<"key">>, 7}, {<<"key">>, 7}}]].

%% Whatever crashes with a request in its arguments.
no_event_shows_a_secret_test_() ->
    [{lists:flatten(io_lib:format("~p", [{What, Path}])),
      fun() ->
              Event = event(What, Options, Path),
              Text = unicode:characters_to_binary(io_lib:format("~0p ~ts", [maps:get(msg, Event), line(Event)])),
              ?assertEqual(nomatch, binary:match(Text, <<"hunter2">>)),
              ?assertNotEqual(nomatch, binary:match(Text, <<"plain">>)),
              ?assertNotEqual(nomatch, binary:match(line(Event), <<"<<\"cookie\">>,<<\"(hidden)\">>">>))
      end}
     || {What, Options, Path} <-
            [{handler_crashed, #{handler => {fun_handler, #{open => fun(_, #{path := <<"/rooms">>}, S) -> {[], S} end}}}, "/"},
             {handler_crashed, #{handler => {fun_handler, #{open => fun(_, Info, _) -> error({no_room, Info}) end}}}, "/"},
             {handler_crashed, #{handler => {fun_handler, #{open => fun(_, Info, _) -> throw({no_room, Info}) end}}}, "/"},
             {handler_stopped, #{handler => {fun_handler, #{open => fun(_, Info, S) -> {stop, Info, S} end}}}, "/"},
             {accept_crashed, #{handler => {?MODULE, accepts}}, "/"},
             {accept_crashed, #{accept => fun(#{path := <<"/rooms">>}) -> {accept, #{}} end}, "/"},
             {http_crashed, #{http => #{"/a" => fun(#{path := <<"/rooms">>}) -> {200, [], <<>>} end}}, "/a"}]].

%% What a handler says that may be seen is seen, and nothing beside it.
format_status_test_() ->
    [{atom_to_list(How) ++ Path,
      fun() ->
              Event = event(What, #{handler => {?MODULE, How}}, Path),
              Text = unicode:characters_to_binary(io_lib:format("~0p ~ts", [maps:get(msg, Event), line(Event)])),
              ?assertEqual(nomatch, binary:match(Text, <<"hunter2">>)),
              [?assertEqual({Words, IsThere}, {Words, binary:match(line(Event), Words) =/= nomatch}) || {Words, IsThere} <- Expected]
      end}
     || {How, What, Path, Expected} <-
            [{hides_state, handler_crashed, "/", [{<<"error: function_clause">>, true}, {<<":handle_open/3">>, true}, {<<"plain">>, false}]},
             {hides_state, handler_crashed, "/reason", [{<<"no_room">>, true}, {<<"plain">>, true}]},
             {hides_all, handler_crashed, "/", [{<<"'not told'">>, true}, {<<"plain">>, false}, {<<"function_clause">>, false}]},
             {hides_all, handler_crashed, "/reason", [{<<"'not told'">>, true}, {<<"no_room">>, false}]},
             {hides_all, handler_stopped, "/stop", [{<<"'not told'">>, true}, {<<"no_room">>, false}]},
             {forgets, handler_crashed, "/", [{<<"hidden">>, true}, {<<"plain">>, false}]},
             {crashes, handler_crashed, "/reason", [{<<"hidden">>, true}, {<<"no_room">>, false}]}]].

%% A handler that hides nothing is shown with its arguments.
shows_test() ->
    Event = event(handler_crashed, #{handler => {?MODULE, shows}}, "/"),
    ?assertMatch(#{msg := {report, #{crash := {error, function_clause, [{?MODULE, handle_open, [#{path := <<"/">>}, _, {shows, _}], _} | _]}}}}, Event).

event(What, Options, Path) ->
    sockeye_log_tests:with_log(fun() ->
        test_support:with_server(Options, fun(Port, _) ->
            request(Port, Path),
            event(What)
        end)
    end).

event(What) ->
    case sockeye_log_tests:logged() of
        #{msg := {report, #{what := What}}} = Event -> Event;
        _ -> event(What)
    end.

%% Of a client with secrets, for a function of `http' as well.
request(Port, Path) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Socket, ["GET ", Path, "?token=hunter2 HTTP/1.1\r\nHost: a\r\n",
                               [[Name, ": ", Value, "\r\n"] || {Name, Value} <- ?HEADERS],
                               case Path of
                                   "/a" -> "";
                                   _ -> "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                               end, "\r\n"]).

line(#{msg := {report, Report}, meta := #{report_cb := Format}}) ->
    %% Long values are broken over lines.
    re:replace(unicode:characters_to_binary(Format(Report, #{})), "\\s*\n\\s*", "", [global, {return, binary}]).

%% ---------------------------------------------------------------- what a supervisor writes

%% A report of a supervisor has the arguments with which it starts a child.
a_child_has_no_secrets_test_() ->
    #{key := Key, cert := Cert} = test_certs:localhost(),
    [{Type, Der, not_encrypted}] = public_key:pem_decode(Key),
    Identity = #{cert => Cert, key => {Type, Der}},
    Server = fun(Options) -> sockeye:child_spec(Options#{port => 0, handler => {fun_handler, #{}}}) end,
    Client = fun(Options) -> sockeye_client:child_spec("wss://127.0.0.1:1/", self(), Options) end,
    Token = <<"hunter2-hunter2-hunter2">>,
    [?_assertEqual([], [Secret || Secret <- [Der, Key, Token, <<"hunter2">>], shows(Spec, Secret)])
     || Spec <- [Server(#{tls => Identity}),
                 Server(#{tls => #{sni_hosts => [{"localhost", Identity}]}}),
                 Server(#{tls => Identity#{key => Key}}),
                 Server(#{tls => Identity#{key => fun() -> Key end}}),
                 Server(#{dashboard => #{path => "/_sockeye", auth => {token, Token}}}),
                 Client(#{tls => Identity}),
                 Client(#{proxy => "http://me:hunter2@127.0.0.1:1"}),
                 Client(#{proxy => fun() -> "http://me:hunter2@127.0.0.1:1" end}),
                 Client(#{headers => ?HEADERS}),
                 Client(#{headers => fun() -> ?HEADERS end}),
                 sockeye_client:child_spec("ws+unix:/run/a.sock:/feed?token=hunter2", self(), #{}),
                 sockeye_client:child_spec("ws://127.0.0.1:1?hunter2", self(), #{name => feed}),
                 sockeye_client:child_spec(["wss://me:", <<"hunter2">>, "@127.0.0.1:1/"], self(), #{}),
                 sockeye_client:child_spec(fun() -> "wss://me:hunter2@127.0.0.1:1/" end, self(), #{})]]
    ++ [?_assert(shows(Server(#{name => hunter2}), <<"hunter2">>))].

shows(Term, Secret) ->
    Text = unicode:characters_to_binary(io_lib:format("~0p ~w", [Term, Term])),
    Written = unicode:characters_to_binary(io_lib:format("~w", [Secret])),
    binary:match(Text, [Secret, binary:part(Written, 2, byte_size(Written) - 4)]) =/= nomatch.

%% What is hidden there is there: with a key of a function, or of a child, a server answers over TLS.
a_hidden_key_is_used_test_() ->
    #{key := Key, cert := Cert} = test_certs:localhost(),
    [fun() ->
             {ok, Server} = apply(sockeye, start_link, Args),
             {ok, #{port := Port}} = sockeye:info(Server),
             {ok, Conn} = sockeye_client:connect(["wss://127.0.0.1:", integer_to_list(Port), "/"], #{tls => #{verify => verify_none}}),
             ok = sockeye_client:close(Conn),
             ok = sockeye:stop(Server)
     end
     || Options <- [#{port => 0, handler => {fun_handler, #{}}, tls => #{cert => Cert, key => fun() -> Key end}},
                    #{port => 0, handler => {fun_handler, #{}}, tls => #{cert => Cert, key => Key}}],
        Args <- [[Options], element(3, maps:get(start, sockeye:child_spec(Options)))]].

%% The text of a key in the place of its file's name, and other things that were meant for another option.
no_refusal_shows_a_secret_test_() ->
    #{key := Key, cert := Cert} = test_certs:localhost(),
    [{Type, Der, not_encrypted}] = public_key:pem_decode(Key),
    Server = fun(Options) -> sockeye:start_link(Options#{port => 0}) end,
    Client = fun(Tls) -> sockeye_client:connect("wss://127.0.0.1:1/", #{tls => Tls}) end,
    Contents = [Key, binary_to_list(Key), Der, binary_to_list(Der), {Type, Der}, {Type, Key}, [Key], #{key => Key}],
    [{lists:flatten(io_lib:format("~ts ~0P", [Why, Wrong, 12])),
      fun() ->
          {error, {bad_option, _, Text}} = Refused = Start(),
          ?assertNotEqual({Text, nomatch}, {Text, binary:match(Text, Why)}),
          %% Any part of it, in whatever way it is written.
          Shown = iolist_to_binary(io_lib:format("~0p ~w", [Refused, Refused])),
          [?assertEqual(nomatch, binary:match(Shown, Part))
           || Secret <- [<<"hunter2">>, binary:part(Key, 40, 12), binary:part(Der, 8, 12)],
              Part <- [Secret, iolist_to_binary(lists:join(",", [integer_to_list(Byte) || <<Byte>> <= Secret]))]]
      end}
     || {Why, Wrong, Start} <-
            [{<<"expected the name of a file">>, Content, Call}
             || Content <- Contents, Option <- [certfile, keyfile, cacertfile], Tls <- [#{Option => Content}],
                Call <- [fun() -> Server(#{tls => Tls}) end, fun() -> Client(Tls) end]
                        ++ [fun() -> Server(#{tls => #{sni_hosts => [{"a", Tls}]}}) end || Option =/= cacertfile]]
            ++ [{<<"give it as key">>, Content, fun() -> Server(#{tls => #{cert => Cert, keyfile => Content}}) end} || Content <- lists:sublist(Contents, 4)]
            ++ [{<<"HOST:PORT">>, Url, fun() -> Server(#{http => #{"/p" => {proxy, Url}}}) end}
                || Text <- ["http://me:hunter2@127.0.0.1:1", "http://127.0.0.1:1/?hunter2", "ftp://me:hunter2@a", "me:hunter2@a"], Url <- [Text, list_to_binary(Text)]]
            ++ [{<<"TLS">>, Url, fun() -> Server(#{http => #{"/p" => {proxy, Url}}}) end} || Url <- ["https://me:hunter2@127.0.0.1:1"]]].

%% What a client keeps of its URL is shown by each of its events, by sys, and by its crash.
a_query_is_shown_nowhere_test_() ->
    [{lists:flatten(io_lib:format("~p ~0p", [What, Handler])),
      fun() ->
          Event = sockeye_log_tests:with_log(fun() ->
              test_support:with_server(#{handler => {fun_handler, #{}}}, fun(Port, Server) ->
                  Url = "ws://127.0.0.1:" ++ integer_to_list(Port) ++ "/feed?token=hunter2",
                  {ok, Client} = sockeye_client:start_link(Url, Handler, #{reconnect => true, name => hidden_query}),
                  connected(Server),
                  {ok, #{url := Shown}} = sockeye_client:info(Client),
                  ?assertEqual(list_to_binary("ws://127.0.0.1:" ++ integer_to_list(Port) ++ "/feed?(hidden)"), Shown),
                  {links, Links} = process_info(Client, links),
                  [?assertEqual({Pid, false}, {Pid, shows({sys:get_status(Pid), sys:get_state(Pid), process_info(Pid, dictionary)}, <<"hunter2">>)})
                   || Pid <- [Client | Links], is_pid(Pid), Pid =/= self()],
                  {ok, [Conn]} = sockeye:connections(Server),
                  case What of
                      client_down -> ok = sockeye:close(Conn, 4000, <<>>);
                      handler_crashed -> ok = sockeye:send(Conn, #{crash => 1}), unlink(Client)
                  end,
                  Found = event(What),
                  _ = sockeye_client:stop(Client),
                  Found
              end)
          end),
          Text = unicode:characters_to_binary(io_lib:format("~0p ~ts", [maps:get(msg, Event), line(Event)])),
          ?assertEqual(nomatch, binary:match(Text, <<"hunter2">>)),
          ?assertNotEqual(nomatch, binary:match(Text, <<"/feed?(hidden)">>))
      end}
     || {What, Handler} <- [{client_down, {fun_handler, #{}}}, {handler_crashed, {fun_handler, #{frame => fun(_, _, _) -> error(gone) end}}}]].

connected(Server) ->
    hostile_client:until(fun() -> {ok, Conns} = sockeye:connections(Server), length(Conns) =:= 1 orelse Conns end).

%% Two clients of a supervisor may differ in the query alone.
ids_differ_test() ->
    Ids = [maps:get(id, sockeye_client:child_spec("ws://127.0.0.1:1/?a=" ++ Value, self(), #{})) || Value <- ["1", "2", "2"]],
    ?assertMatch([A, B, B] when A =/= B, Ids).

%% A URL that is hidden there, or comes from a function, is the one that is dialled, and without a secret it is shown.
a_hidden_url_is_used_test_() ->
    [fun() ->
             test_support:with_server(#{handler => self()}, fun(Port, _) ->
                 Url = lists:append(["ws://", User, "127.0.0.1:", integer_to_list(Port), "/"]),
                 #{id := Id, start := {Module, Function, Args}} = Spec = sockeye_client:child_spec(Given(Url), self(), #{}),
                 ?assertEqual({sockeye_client, iolist_to_binary(["ws://127.0.0.1:", integer_to_list(Port), "/"])}, Id),
                 ?assertEqual(Shown, shows(Spec, iolist_to_binary(Url))),
                 {ok, Client} = apply(Module, Function, Args),
                 ?assertEqual(User =/= "", lists:keymember(<<"authorization">>, 1, asked())),
                 ok = sockeye_client:stop(Client)
             end)
     end
     || {User, Given, Shown} <- [{"", fun(Url) -> Url end, true},
                                 {"me:hunter2@", fun(Url) -> Url end, false},
                                 {"me:hunter2@", fun(Url) -> fun() -> Url end end, false}]].

%% The headers of the client's request: both ends are this process, and the client's end has those of the answer.
asked() ->
    receive
        {sockeye, _, {open, #{headers := Headers}}} ->
            case lists:keymember(<<"host">>, 1, Headers) of
                true -> Headers;
                false -> asked()
            end
    end.

a_url_of_a_function_is_checked_test_() ->
    [?_assertEqual({error, {bad_url, Why}}, sockeye_client:connect(Url))
     || {Url, Why} <- [{fun() -> error(hunter2) end, <<"the function crashed (error)">>},
                       {fun() -> hunter2 end, <<"expected ASCII text">>},
                       {fun() -> fun() -> "ws://127.0.0.1:1/" end end, <<"expected ASCII text">>},
                       {fun(X) -> X end, <<"expected ASCII text">>}]].

%% A function that is none, or gives what is no key.
a_wrong_function_is_not_shown_test_() ->
    Crash = fun() -> error(hunter2) end,
    Cert = maps:get(cert, test_certs:localhost()),
    [fun() ->
             {error, {bad_option, Option, Why}} = Refused = Start(),
             ?assertNotEqual(nomatch, binary:match(Why, Part)),
             ?assertNot(shows(Refused, <<"hunter2">>))
     end
     || {Option, Part, Start} <-
            [{tls, <<"key: the function crashed (error)">>, fun() -> sockeye:start_link(#{port => 0, tls => #{cert => Cert, key => Crash}}) end},
             {tls, <<"key: expected">>, fun() -> sockeye:start_link(#{port => 0, tls => #{cert => Cert, key => fun() -> hunter2 end}}) end},
             {tls, <<"key: expected">>, fun() -> sockeye:start_link(#{port => 0, tls => #{cert => Cert, key => fun() -> Crash end}}) end},
             {proxy, <<"the function crashed (error)">>, fun() -> sockeye_client:connect("ws://127.0.0.1:1/", #{proxy => Crash}) end},
             {headers, <<"expected a list">>, fun() -> sockeye_client:connect("ws://127.0.0.1:1/", #{headers => fun() -> hunter2 end}) end}]].
