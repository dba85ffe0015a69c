%% What is said of a wrong option: always a sentence, in a binary, with the key, whatever came.
-module(sockeye_bad_option_tests).
-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-needs(codec).

%% What the sentence has to say of each option of a server.
server() ->
    Positive = "positive integer below 2^31",
    Time = "milliseconds below 2^31, or infinity",
    Count = "a positive integer below 2^31, or infinity",
    Path = "a path like <<\"/health\">>",
    #{port => "0..65535", ip => ["any, loopback, {local, Path}, {fd, N}, none, or an address", "a path of 1 to 107 bytes in {local, Path}"], reuseport => "a boolean",
      backlog => Positive, name => "an atom or {local, atom()}",
      handler => ["a pid, a registered name or {Module, Arg}", "there is no module", "does not export"], processes => "one, 1..1024 or per_connection",
      batch => "a boolean", active => "true, false, once or 1..32767", format => "json or raw",
      keys => "binary, existing_atom or {atoms, [atom()]}", null => "null, undefined or nil", objects => "map or pairs",
      encoder => "a function of one argument", max_depth => "1..256",
      on_invalid_json => "close or deliver", max_message_size => Positive, max_frame_size => Positive,
      max_fragments => Positive, inbox_size => Positive, send_queue_size => Positive, send_timeout => Time,
      handshake_timeout => Time, close_timeout => Time, idle_timeout => Time, ping_interval => Time,
      pong_timeout => Time, max_age => Time, control_frames => "a boolean", message_rate => ["infinity or a map with rate", "rate and burst are positive integers"],
      max_connections => Count, max_connections_per_address => Count,
      connection_rate => "rate", accept => "a function of one argument", accept_timeout => Time,
      origins => "any or a list of same_host, null, and origins", paths => "any or a list of paths", http => ["a map of paths", "is not a path like"],
      health => Path, metrics => "a path like <<\"/metrics\">>", max_body_size => Positive, max_bodies_size => Positive, max_subscriptions => "1..65536",
      slow_subscriber => "drop or close", scope => ["local or cluster", "needs a name"], max_header_size => "256..1048576",
      max_headers => "8..1024", deflate => ["a boolean or a map", "unknown option"], proxy_protocol => ["a boolean", "needs trusted_proxies"],
      trusted_proxies => "a list of addresses and networks", http2 => "tls, cleartext or false",
      tls => ["a map with certfile and keyfile", "certfile (or cert) is missing", "unknown option"], subprotocols => "a list of names"}.

client() ->
    Shared = maps:with([name, deflate, control_frames, message_rate, batch, active, format, keys, null, objects, encoder, max_depth,
                        on_invalid_json, max_message_size, max_frame_size, max_fragments, inbox_size, send_queue_size,
                        send_timeout, close_timeout, idle_timeout, ping_interval, pong_timeout, max_age, subprotocols],
                       server()),
    Shared#{connect_timeout => "milliseconds below 2^31, or infinity", headers => "a list of {Name, Value}",
            host => "a host and maybe a port",
            tls => ["a map with verify", "unknown option"], proxy => ["the URL of a proxy, as text", "http or socks5://"], max_redirects => "0..20",
            reconnect => ["a boolean or a map", "unknown option"]}.

drain() ->
    #{per_interval => "a positive integer", interval => "milliseconds", deadline => "milliseconds below 2^31, or infinity",
      code => "1001, 1012 or 3000..4999", reason => "UTF-8 of at most 123 bytes"}.

request() ->
    Session = maps:with([deflate, max_header_size, max_headers, max_message_size, max_frame_size, max_fragments, null,
                         subprotocols], server()),
    Session#{host => ["as text", "expected text", "more than 8192 bytes"], path => ["as text", "expected text", "more than 8192 bytes"], headers => "headers"}.

every_option_of_a_server_test_() ->
    {timeout, 60, [refused(Key, Says, fun(Value) -> sockeye_options:parse(with_handler(Key, Value), self()) end)
                   || {Key, Says} <- maps:to_list(server())]}.

every_option_of_a_client_test_() ->
    {timeout, 60, [refused(Key, Says, fun(Value) -> sockeye_client_options:parse("ws://a", self(), #{Key => Value}, self()) end)
                   || {Key, Says} <- maps:to_list(client())]}.

every_option_of_a_drain_test_() ->
    [refused(Key, Says, fun(Value) -> sockeye_drain:parse(#{Key => Value}) end) || {Key, Says} <- maps:to_list(drain())].

every_option_of_a_request_test_() ->
    [refused(Key, Says, fun(Value) -> sockeye_codec:request(maps:merge(#{host => "h"}, #{Key => Value})) end)
     || {Key, Says} <- maps:to_list(request())].

every_option_of_json_test_() ->
    [refused(Key, Says, fun(Value) -> sockeye_json:decode(<<"1">>, #{Key => Value}) end)
     || {Key, Says} <- maps:to_list(maps:with([keys, null, objects, max_depth], server()))].

%% Who comes from an older version is told where an option has gone.
renamed_options_test_() ->
    Server = fun(Options) -> sockeye_options:parse(Options, self()) end,
    Client = fun(Options) -> sockeye_client_options:parse("wss://a", self(), Options, self()) end,
    Drain = fun sockeye_drain:parse/1,
    [{lists:flatten(io_lib:format("~0p", [Options])),
      fun() ->
              {error, {bad_option, _, Why}} = Parse(Options),
              ?assertNotEqual({Why, nomatch}, {Why, string:find(Why, "is now " ++ Now)})
      end}
     || {Parse, Options, Now} <-
            [{Server, #{deflate => #{server_takeover => true}}, "server_context_takeover"},
             {Server, #{deflate => #{client_takeover => true}}, "client_context_takeover"},
             {Client, #{redirects => 1}, "max_redirects"},
             {Client, #{reconnect => #{min_interval => 1}}, "initial_interval"},
             {Client, #{reconnect => #{queue => keep}}, "send_when_down"},
             {Drain, #{batch => 1}, "per_interval"},
             {Server, #{tls => #{sni => #{}}}, "sni_hosts"},
             {Client, #{tls => #{sni => "a"}}, "server_name_indication"},
             {Client, #{tls => #{cacert => <<>>}}, "cacerts"}]].

%% None is missing above.
the_table_is_whole_test() ->
    Unknown = [Key || Key <- maps:keys(server()), {error, {bad_option, _, <<"unknown option", _/binary>>}} <- [sockeye_options:parse(#{Key => {}}, self())]],
    ?assertEqual([], Unknown),
    {ok, Config} = sockeye_options:parse(#{}, self()),
    ?assertEqual([], maps:keys(Config) -- [mode, routes | maps:keys(server())]).

%% An unknown key may be anything, too.
unknown_keys_test_() ->
    {timeout, 60, [?_assertEqual([], [Other || Other <- parsed(#{Key => 1}), not is_unknown(Key, Other)]) || Key <- odd_terms:all()]}.

parsed(Options) ->
    [sockeye_options:parse(Options, self()), sockeye_client_options:parse("ws://a", self(), Options, self()),
     sockeye_drain:parse(Options), sockeye_codec:new(client, Options), sockeye_json:encode(1, Options),
     sockeye_json:decode("1", Options)].

is_unknown(Key, {error, {bad_option, Key, <<"unknown option">>}}) -> true;
is_unknown(Key, {error, {bad_option, Key, <<"unknown option; did you mean the atom text?">>}}) -> Key =:= "text";
is_unknown(_Key, _) -> false.

%% Each option is found again where its name is not quite right.
nearest_test_() ->
    Client = fun(Options) -> sockeye_client_options:parse("ws://a", self(), Options, self()) end,
    Server = fun(Options) -> sockeye_options:parse(Options, self()) end,
    [{atom_to_list(Key), fun() ->
          Slips = slips(atom_to_list(Key)),
          ?assertEqual([{error, {bad_option, Wrong, meant(Wrong, Key)}} || Wrong <- Slips], [Parse(#{Wrong => 1}) || Wrong <- Slips])
      end}
     || {Parse, Options} <- [{Server, server()}, {Client, client()}, {fun sockeye_drain:parse/1, drain()}, {fun sockeye_codec:request/1, request()}],
        Key <- maps:keys(Options)].

%% A letter too many, two that are swapped, capitals, and other types of keys.
slips([First, Second | Rest] = Name) ->
    [list_to_atom(Name ++ "x"), list_to_atom([Second, First | Rest]), list_to_atom(string:uppercase(Name)), list_to_binary(Name), Name].

meant(Wrong, Key) when is_atom(Wrong) -> iolist_to_binary(io_lib:format("unknown option; did you mean ~s?", [Key]));
meant(_Wrong, Key) -> iolist_to_binary(io_lib:format("unknown option; did you mean the atom ~s?", [Key])).

nearest_within_test_() ->
    Client = fun(Options) -> sockeye_client_options:parse("wss://a", self(), Options, self()) end,
    Parse = fun(Options) -> sockeye_options:parse(Options, self()) end,
    [{Says, fun() -> ?assertEqual({error, {bad_option, Key, list_to_binary(Says)}}, How(#{Key => Value})) end}
     || {How, Key, Value, Says} <-
            [{Parse, adress, 1, "unknown option"},
             {Parse, maxAge, 1, "unknown option; did you mean max_age?"},
             {Parse, idle_time_out, 1, "unknown option; did you mean idle_timeout?"},
             {Parse, deflate, #{levle => 1}, "levle: unknown option; did you mean level?"},
             {Parse, dashboard, #{pth => 1}, "pth: unknown option; did you mean path?"},
             {Parse, http, #{"/" => {proxy, "http://127.0.0.1", #{timeot => 1}}}, "\"/\": {proxy, ...}: timeot: unknown option; did you mean timeout?"},
             {Parse, tls, #{cert_file => 1}, "cert_file: unknown option; did you mean certfile?"},
             {Client, tls, #{pins => 1}, "pins: unknown option; did you mean pin?"},
             {Client, reconnect, #{max_atempts => 1}, "max_atempts: unknown option; did you mean max_attempts?"},
             {fun(Options) -> sockeye:check_host(1, Options) end, tsl, true, "unknown option; did you mean tls?"}]].

%% What others call it, a key of another level, an option of the other end: what is said leads to an option that there is.
others_test_() ->
    Client = fun(Options) -> sockeye_client_options:parse("ws://a", self(), Options, self()) end,
    Server = fun(Options) -> sockeye_options:parse(Options, self()) end,
    [{lists:flatten(io_lib:format("~p to ~s", [Key, Helps])), fun() -> says(Key, "unknown option; " ++ Helps, Parse(#{Key => 1})) end}
     || {Parse, Keys, Helps} <-
            [{Server, [id, ref], "did you mean name?"},
             {Server, [handlers, callback, mod], "did you mean handler => {Module, Arg}?"},
             {Server, [dispatch, routes], "files, functions and web servers of paths are in http"},
             {Server, [max_conns], "did you mean max_connections?"},
             {Server, [num_acceptors], "the threads of the engine accept"},
             {Server, [tls_opts, ssl, transport_opts, thousand_island_options], "did you mean tls => #{certfile"},
             {Server, [certfile, keyfile, key, verify, sni_hosts], "that is a key of tls"},
             {Server, [restart, shutdown], "that is a key of a child specification"},
             {Server, [host, address, inet6], "did you mean ip"},
             {Server, [connect_timeout, headers, max_redirects, reconnect], "that is an option of a client"},
             {Client, [id], "did you mean name?"},
             {Client, [handler], "a handler is an argument"},
             {Client, [cacertfile, sni, pin], "that is a key of tls"},
             {Client, [max_attempts, send_when_down], "that is a key of reconnect"},
             {Client, [port, path], "that is in the URL"},
             {Client, [max_connections, accept, dashboard, http2], "that is an option of a server"}],
        Key <- Keys].

%% No hint stands at an option that there is or twice, and each is a sentence that names one of this end.
others_are_others_test_() ->
    [{Side, fun() ->
          Others = [Other || {Other, hint, _} <- Hints],
          ?assertEqual([], [Other || Other <- Others, lists:member(Other, Names)]),
          ?assertEqual([], Others -- lists:usort(Others)),
          ?assertEqual([], [Hint || {_, hint, Hint} <- Hints, not names_one(Hint, Names)])
      end}
     || {Side, Hints, Names} <- [{"server", sockeye_other_options:server(), maps:keys(server())},
                                 {"client", sockeye_other_options:client(), maps:keys(client())}]].

names_one(Hint, Names) ->
    Words = string:lexemes(Hint, " ,?;=>#{}()\"."),
    lists:any(fun(Name) -> lists:member(atom_to_list(Name), Words) end, Names)
        orelse lists:any(fun(Whole) -> string:find(Hint, Whole) =/= nomatch end,
                         ["child specification", "is no option", "option of a client", "in the URL", "start_link(Url"]).

%% Whatever the key is, it takes no time and makes no atom.
nearest_is_bounded_test() ->
    Names = maps:keys(server()),
    Before = erlang:system_info(atom_count),
    Odd = [binary:copy(<<"port">>, 1000000), lists:duplicate(1000000, $p), [$p, $o | t], <<"po", 255>>, [16#110000], lists:seq(1, 41),
           [$p, "ort"], <<"prt">>, "prt", [], <<>>, #{}, self(), 1 bsl 100000],
    {reductions, At} = process_info(self(), reductions),
    Hints = [sockeye_nearest:hint(Key, Names) || Key <- Odd],
    {reductions, Now} = process_info(self(), reductions),
    ?assertEqual(["; did you mean the atom port?", "; did you mean the atom port?"], [Hint || Hint <- Hints, Hint =/= ""]),
    ?assertEqual({Now - At, true}, {Now - At, Now - At < 1000000}),
    ?assertEqual(Before, erlang:system_info(atom_count)).

nested_test_() ->
    [{Says, fun() -> says(Key, Says, sockeye_options:parse(#{Key => Value}, self())) end}
     || {Key, Value, Says} <-
            [{max_connections, 0, "a positive integer below 2^31, or infinity"},
             {message_rate, #{rate => 0}, "rate and burst are positive integers"},
             {message_rate, #{rate => 1, x => 1}, "action is delay or close"},
             {connection_rate, #{rate => 0}, "rate and burst, each 1..1000000"},
             {deflate, #{level => x}, "level: expected 1..9, got x"},
             {deflate, #{{a} => x}, "{a}: unknown option"},
             {origins, [x], "any or a list of same_host"},
             {paths, ["x"], "any or a list of paths"},
             {http, #{x => {text, ""}}, "is not a path"},
             {http, #{"/" => x}, "expected {file, F}"},
             {http, #{"/" => {file, "/no/such"}}, "there is no file"},
             {http, #{"/" => {dir, "/no/such"}}, "there is no directory"},
             {http, #{"/" => {text, x}}, "no iodata"},
             {http, #{"/" => {no_such_module, f}}, "\"/\": there is no module no_such_module in the code path"},
             {handler, {no_such_module, []}, "there is no module no_such_module in the code path"},
             {dashboard, #{path => "dash"}, "path: expected a path like <<\"/_sockeye\">>, got \"dash\""},
             {http, #{"/" => {lists, f}}, "does not export f/1"},
             {http, #{"/a" => {text, ""}, "/%61" => {text, ""}}, "/%61 and /a are the same path"},
             {http, #{"/a%2bb/*" => fun(_) -> x end, "/a+b/*" => fun(_) -> x end}, "/a%2bb/* and /a+b/* are the same path"},
             {http, #{"/a" => {dir, "/"}, "/a/" => {dir, "/"}}, "/a and /a/ are the same path"},
             {http, #{"/%" => {text, ""}}, "is not a path"},
             {http, #{"/a/%zz" => {text, ""}}, "is not a path"},
             {paths, ["/%6"], "a % has two hexadecimal digits"},
             {ip, "fe80::1%", "like \"fe80::1%eth0\""},
             {ip, "fe80::1%a/b", "like \"fe80::1%eth0\""},
             {ip, <<"fe80::1%a%b">>, "like \"fe80::1%eth0\""},
             {ip, "1.2.3.4%eth0", "like \"fe80::1%eth0\""},
             {ip, [$f, $e, $8, $0, $:, $:, $1, $%, 16#20ac], "like \"fe80::1%eth0\""},
             {tls, #{certfile => "a"}, "keyfile (or key) is missing"},
             {tls, #{certfile => 1}, "certfile: expected the name of a file"},
             {tls, #{verify => 1, cert => <<>>, key => <<>>}, "verify: expected verify_none or verify_peer"},
             {tls, #{x => 1}, "x: unknown option"},
             {proxy_protocol, true, "needs trusted_proxies"},
             {scope, cluster, "cluster needs a name"},
             {processes, 2, "needs a handler {Module, Arg}"}]]
    ++ [{Says, fun() -> says(tls, Says, sockeye_options:parse(#{tls => (tls())#{sni_hosts => Sni}}, self())) end}
        || {Sni, Says} <- [{#{}, "a list of {Host"}, {[{x, y}], "{Host, #{certfile, keyfile}}"},
                           {[{"a", #{x => 1}}], "sni_hosts a: x: unknown option"}, {[{"a", #{cert => 1}}], "PEM text"}]].

%% What two routes may share.
routes_that_differ_test_() ->
    [{lists:flatten(io_lib:format("~p", [Paths])),
      ?_assertMatch({ok, _}, sockeye_options:parse(#{http => maps:from_list(Paths)}, self()))}
     || Paths <- [[{"/a", {text, ""}}, {"/a/", {text, ""}}], [{"/a", {text, ""}}, {"/a/", {dir, "/"}}],
                  [{"/a", {text, ""}}, {"/A", {text, ""}}], [{"/a%2Fb", {text, ""}}, {"/a/b", {text, ""}}],
                  [{"/a/*", {text, ""}}, {"/a/%2a", {text, ""}}], [{"/a/", {dir, "/"}}, {"/a//", {dir, "/"}}]]].

%% Who gives one, and no list of it.
no_list_test_() ->
    [{lists:flatten(io_lib:format("~0p", [Key])),
      fun() ->
              says(Key, Expected, sockeye_options:parse(#{Key => Value}, self())),
              says(Key, Got, sockeye_options:parse(#{Key => Value}, self()))
      end}
     || {Key, Text, Expected} <- [{origins, "https://x", "expected any or a list of same_host"}, {paths, "/rooms/*", "expected any or a list of paths"},
                                  {trusted_proxies, "10.0.0.0/8", "expected a list of addresses"}, {subprotocols, "chat", "expected a list of names"}],
        {Value, Got} <- [{Text, lists:flatten(io_lib:format(", got the string ~p: put it into a list", [Text]))},
                         {list_to_binary(Text), lists:flatten(io_lib:format(", got the string <<~p>>: put it into a list", [Text]))},
                         {7, ", got 7"}]].

%% Both options are named, and none that was not given is refused.
one_path_for_two_test_() ->
    [?_assertEqual({error, {bad_option, Key, Why}}, sockeye_options:parse(Options, self()))
     || {Options, Key, Why} <-
            [{#{health => "/a", metrics => "/a"}, metrics, <<"/a is the path of health and of metrics">>},
             {#{health => "/a", metrics => "/%61"}, metrics, <<"/%61 and /a are the same path, of metrics and of health">>},
             {#{dashboard => #{path => "/a"}, health => "/a/auth"}, dashboard, <<"/a/auth is the path of dashboard and of health">>},
             {#{http => #{"/a" => {text, ""}}, health => "/a"}, http, <<"/a is the path of health and of http">>},
             {#{http => #{"/a" => {text, ""}, <<"/a">> => {text, ""}}}, http, <<"/a occurs twice">>}]].

%% A name in letters of its own is told what to write, however it is given.
url_beyond_ascii_test_() ->
    [?_assertMatch({error, {bad_url, <<"only visible ASCII: percent-encode a path, write a host in Punycode, got ", _/binary>>}},
                   sockeye_client_options:parse(Url, self(), #{}, self()))
     || Url <- ["ws://m\x{fc}nchen.example/", <<"ws://m\x{fc}nchen.example/"/utf8>>, "ws://\x{20ac}/", "ws://a/\x{e4}", ["ws://", [$a, 252]]]]
    ++ [?_assertEqual({error, {bad_url, <<"expected ASCII text">>}}, sockeye_client_options:parse(Url, self(), #{}, self()))
        || Url <- [<<"ws://m", 252, "nchen/">>, ["ws://", -1], ws, {a}, [1 bsl 40]]].

%% What it got, but for what may be a secret.
url_test_() ->
    [?_assertEqual({error, {bad_url, Why}}, sockeye_client_options:parse(Url, self(), #{}, self()))
     || {Url, Why} <- [{"127.0.0.1:8080", <<"expected a URL that begins with ws://, wss:// or ws+unix:, got <<\"127.0.0.1:8080\">>">>},
                       {"http://ann:hunter2@a/b?token=hunter2", <<"expected a URL that begins with ws://, wss:// or ws+unix:, got <<\"http://(hidden)@a/b?(hidden)\">>">>},
                       {"ann:hunter@2@a", <<"expected a URL that begins with ws://, wss:// or ws+unix:, got <<\"(hidden)@a\">>">>}]].

health_is_a_route_test() ->
    says(http, "/%68ealth and /health are the same path",
         sockeye_options:parse(#{http => #{"/%68ealth" => {text, ""}}, health => "/health"}, self())).

%% A key never gets into a message, however wrong the map around it is.
secrets_are_not_shown_test_() ->
    [?_assertEqual(nomatch, string:find(why(Parsed), "PRIVATE"))
     || Parsed <- [sockeye_options:parse(#{tls => [{key, <<"PRIVATE">>}]}, self()),
                   sockeye_options:parse(#{tls => #{key => "PRIVATE"}}, self()),
                   sockeye_options:parse(#{tls => (tls())#{sni_hosts => #{"a" => #{key => <<"PRIVATE">>}}}}, self()),
                   sockeye_options:parse(#{tls => (tls())#{sni_hosts => [{"a", [{key, <<"PRIVATE">>}]}]}}, self())
                   | [sockeye_client_options:parse("ws://a", self(), Options, self())
                      || Options <- [#{tls => [{key, <<"PRIVATE">>}]}, #{proxy => "http://me:PRIVATE@"},
                                     #{proxy => {"PRIVATE"}}, #{headers => [{"authorization", "PRIVATE\r\n"}]}]]]].

tls() ->
    #{certfile => "a", keyfile => "b"}.

why({error, {bad_option, _, Why}}) -> Why.

%% A module where the name of a process should be.
handler_hints_test_() ->
    [{"a module", fun() ->
          says(handler, "did you mean {bare_handler, Arg}?", sockeye_options:parse(#{handler => bare_handler}, self()))
      end},
     {"the name of a process", fun() ->
          true = register(bare_handler, self()),
          try ?assertMatch({ok, #{mode := {owner, bare_handler, _}}}, sockeye_options:parse(#{handler => bare_handler}, self()))
          after unregister(bare_handler)
          end
      end},
     {"a name for later", fun() ->
          ?assertMatch({ok, #{mode := {owner, nobody_yet, _}}}, sockeye_options:parse(#{handler => nobody_yet}, self()))
      end},
     {"no handler", fun() ->
          ?assertMatch({ok, #{mode := {owner, lists, _}}}, sockeye_options:parse(#{handler => lists}, self()))
      end},
     {"started", fun() ->
          ?assertMatch({error, {bad_option, handler, _}}, sockeye:start_link(#{port => 0, handler => bare_handler})),
          ?assertMatch({error, {bad_option, handler, _}}, sockeye_client:start_link("ws://a", bare_handler))
      end}].

with_handler(processes, Value) -> #{processes => Value, handler => {bare_handler, []}};
with_handler(Key, Value) -> #{Key => Value}.

%% Each term is a value of this option, or refused in these words; most of them are.
refused(Key, Says, Parse) ->
    {timeout, 60, {atom_to_list(Key), fun() ->
        Refused = [Value || Value <- odd_terms:all(), not is_taken(Key, Says, Parse(Value))],
        ?assert(length(Refused) > 30)
    end}}.

is_taken(Key, Says, {error, _} = Error) -> says(Key, Says, Error), false;
is_taken(_Key, _Says, _) -> true.

says(Key, Says, {error, {bad_option, Key, Why}}) ->
    ?assert(is_binary(Why)),
    Text = unicode:characters_to_list(Why),
    ?assert(io_lib:printable_unicode_list(Text)),
    ?assertNot(lists:member($\n, Text)),
    ?assert(length(Text) < 1200),
    ?assertEqual({Text, true}, {Text, lists:any(fun(Part) -> string:find(Text, Part) =/= nomatch end, parts(Says))}).

parts([Char | _] = Says) when is_integer(Char) -> [Says];
parts(Says) -> Says.

%% Modules of Elixir are written as they are there, in sentences and in the log.
modules_of_elixir_test() ->
    ?assertEqual({error, {bad_option, handler, <<"there is no module My.Room in the code path">>}},
                 sockeye:start_link(#{port => 0, handler => {'Elixir.My.Room', []}})),
    ?assertMatch({match, _}, re:run(sockeye_log_text:format(#{what => server_started, server => self(), address => {{127, 0, 0, 1}, 80}, handler => 'Elixir.My.Room'}, #{}),
                                    "frames go to My\\.Room$")),
    ?assertEqual("'Elixir.'", lists:flatten(sockeye_shown:text('Elixir.', 100))).
