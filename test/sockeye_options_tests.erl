%% Every option: what it takes, what it refuses, and its default.
-module(sockeye_options_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

parse(Options) ->
    sockeye_options:parse(Options, self()).

value(Key, Value) ->
    {ok, #{Key := Parsed}} = parse(#{Key => Value}),
    Parsed.

defaults_test() ->
    Self = self(),
    {ok, Config} = parse(#{}),
    ?assertMatch(#{ip := {127, 0, 0, 1}, port := 19765, reuseport := false, backlog := 1024, name := undefined,
                   handler := Self, mode := {owner, Self, false}, active := 100,
                   format := json, keys := binary, null := null, objects := map, max_depth := 128,
                   on_invalid_json := close, max_message_size := 1048576,
                   max_frame_size := 1048576, max_fragments := 1024,
                   inbox_size := 1048576, send_queue_size := 1048576,
                   send_timeout := 30000, handshake_timeout := 10000, close_timeout := 5000,
                   idle_timeout := 60000, ping_interval := 30000, pong_timeout := 20000,
                   max_age := infinity, control_frames := false, message_rate := infinity,
                   max_connections := auto, subprotocols := []}, Config).

%% It is the rate that is wrong, and not the burst that would follow from it.
the_key_that_was_given_test() ->
    [?assertMatch({error, {bad_option, Key, <<"rate in ", _/binary>>}}, sockeye_options:parse(#{Key => #{rate => 0}}, self()))
     || Key <- [connection_rate, message_rate]].

good() ->
    [{port, [0, 1, 65535]},
     {backlog, [1, 2147483647]},
     {name, [a_name]},
     {handler, [self(), some_name, {bare_handler, []}]},
     {batch, [true, false]},
     {reuseport, [true, false]},
     {active, [true, false, once, 1, 32767]},
     {format, [json, raw]},
     {keys, [binary, existing_atom, {atoms, []}, {atoms, [a, b]}]},
     {null, [null, undefined, nil]},
     {objects, [map, pairs]},
     {encoder, [fun lists:reverse/1]},
     {max_depth, [1, 256]},
     {on_invalid_json, [close, deliver]},
     {max_connections, [1, infinity]},
     {origins, [any, [<<"https://a.example:8443">>, <<"http://*.example">>], [<<"null">>, <<"file://">>, <<"http://a:*">>]]},
     {paths, [any, [<<"/">>], [<<"/a/*">>, <<"/*/b">>]]},
     {max_header_size, [256, 1048576]},
     {max_headers, [8, 1024]},
     {accept_timeout, [1, 2147483647, infinity]},
     {max_connections_per_address, [1, 2147483647, infinity]},
     {connection_rate, [infinity, #{rate => 1, burst => 1000000}]},
     {max_body_size, [1, 2147483647]},
     {max_bodies_size, [1, 2147483647]},
     {max_subscriptions, [1, 1024, 65536]},
     {slow_subscriber, [drop, close]},
     {scope, [local]},
     {tls, [undefined]},
     {http2, [tls, cleartext, false]},
     {proxy_protocol, [false]},
     {trusted_proxies, [[]]},
     {subprotocols, [[], [<<"chat.v2">>, <<"chat">>]]},
     {idle_timeout, [1, 2147483647, infinity]},
     {ping_interval, [1, 2147483647, infinity]},
     {max_age, [1, 2147483647, infinity]},
     {deflate, [false, #{server_context_takeover => true, client_context_takeover => true, level => 9, mem_level => 1,
                        server_max_window_bits => 9, client_max_window_bits => 15, threshold => 0}]},
     {control_frames, [true, false]},
     {message_rate, [infinity, #{rate => 1, burst => 2147483647, action => close}]}
     | [{Key, [1, 2147483647]} || Key <- sizes()] ++ [{Key, [1, 2147483647, infinity]} || Key <- times()]].

bad() ->
    [{port, [-1, 65536, 80.0, "80", <<"80">>, any]},
     {ip, [all, {1, 2, 3}, {1, 2, 3, 256}, "localhost", <<"1.2.3">>, [a], 1]},
     {backlog, [0, -1, 2147483648, many]},
     {name, [undefined, "name", {local, "name"}, {global, name}, 1]},
     {handler, [undefined, "name", {no_such_module, []}, {lists, []}, {bare_handler}, 1]},
     {processes, [0, -1, 1025, two, 1.0]},
     {batch, [yes, 1]},
     {reuseport, [yes, 1]},
     {http2, [true, on, undefined]},
     {proxy_protocol, [yes, 1, v2]},
     {trusted_proxies, ["10.0.0.1", ["10.0.0"], ["10.0.0.0/33"], ["::/129"], ["10.0.0.0/-1"], ["10.0.0.0/"],
                        ["10.0.0.0/8/8"], [{1, 2, 3}], [{1, 2, 3, 256}], [a], ["::1" | x], {10, 0, 0, 1}]},
     {ip, [{local, Path} || Path <- [<<>>, "", a, [a], <<"a", 0, "b">>, binary:copy(<<"a">>, 108)]]},
     {active, [0, -1, 32768, twice, 1.0]},
     {format, [text, undefined]},
     {keys, [atom, {atoms, a}, {atoms, [<<"a">>]}, {atoms, [a | b]}]},
     {null, [none, <<"null">>, 0]},
     {objects, [list, proplist]},
     {encoder, [none, fun lists:append/2, {a, b}]},
     {max_depth, [0, 257, infinity]},
     {on_invalid_json, [ignore]},
     {max_connections, [0, -1, unlimited, 1.5]},
     {subprotocols, [chat, [chat], [<<>>], [<<"a b">>], [<<"a,b">>], [<<"a">> | b]]},
     {idle_timeout, [0, -1, 2147483648, 1.0, never]},
     {ping_interval, [0, false]},
     {max_age, [0, "1s"]},
     {deflate, [yes, [], #{level => 0}, #{unknown => 1}]},
     {control_frames, [1, yes]},
     {message_rate, [0, 10, #{}, #{burst => 1}, #{rate => 0}, #{rate => 1, burst => 2147483648},
                     #{rate => 1, action => drop}, #{rate => 1, per => hour}]},
     {prot, [8080]},
     {<<"port">>, [8080]}
     | [{Key, [0, -1, 2147483648, 1.0, infinity]} || Key <- sizes()]
       ++ [{Key, [0, -1, 2147483648, 1.0, never]} || Key <- times()]].

sizes() ->
    [max_message_size, max_frame_size, max_fragments, inbox_size, send_queue_size].

times() ->
    [send_timeout, handshake_timeout, close_timeout, pong_timeout].

good_values_test_() ->
    [{lists:flatten(io_lib:format("~p => ~p", [Key, Value])),
      ?_assertEqual(Value, value(Key, Value))} || {Key, Values} <- good(), Value <- Values].

bad_values_test_() ->
    [{lists:flatten(io_lib:format("~p => ~p", [Key, Value])),
      fun() ->
              {error, {bad_option, Named, Why}} = parse(with_handler(Key, Value)),
              ?assertEqual(Key, Named),
              ?assert(is_binary(Why) andalso io_lib:printable_unicode_list(unicode:characters_to_list(Why)))
      end} || {Key, Values} <- bad(), Value <- Values].

%% These are checked against the handler as well.
with_handler(processes, Value) -> #{processes => Value, handler => {bare_handler, []}};
with_handler(Key, Value) -> #{Key => Value}.

every_default_has_its_test_test() ->
    {ok, Config} = parse(#{}),
    Tested = [ip, processes, mode, routes | [Key || {Key, _} <- good()]],
    ?assertEqual([], maps:keys(Config) -- Tested).

ip_forms_test_() ->
    [?_assertEqual(Parsed, value(ip, Given))
     || {Given, Parsed} <- [{any, {0, 0, 0, 0}}, {loopback, {127, 0, 0, 1}},
                            {{10, 0, 0, 1}, {10, 0, 0, 1}}, {"10.0.0.1", {10, 0, 0, 1}},
                            {{local, "/tmp/ä"}, {local, <<"/tmp/ä"/utf8>>}},
                            {{local, <<0, "a", 0, "b">>}, {local, <<0, "a", 0, "b">>}},
                            {{local, binary:copy(<<"a">>, 106)}, {local, binary:copy(<<"a">>, 106)}},
                            {{local, binary:copy(<<"a">>, 107)}, {local, binary:copy(<<"a">>, 107)}},
                            {<<"::1">>, {0, 0, 0, 0, 0, 0, 0, 1}},
                            {{0, 0, 0, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}}]].

local_name_test() ->
    ?assertEqual(a_name, value(name, {local, a_name})).

trusted_proxies_test() ->
    Given = ["10.0.0.0/8", <<"192.168.1.1">>, {127, 0, 0, 1}, "fd00::/8", {0, 0, 0, 0, 0, 0, 0, 1}, "0.0.0.0/0", "::/128"],
    ?assertEqual([{{10, 0, 0, 0}, 8}, {{192, 168, 1, 1}, 32}, {{127, 0, 0, 1}, 32},
                  {{16#fd00, 0, 0, 0, 0, 0, 0, 0}, 8}, {{0, 0, 0, 0, 0, 0, 0, 1}, 128},
                  {{0, 0, 0, 0}, 0}, {{0, 0, 0, 0, 0, 0, 0, 0}, 128}], value(trusted_proxies, Given)),
    ?assertMatch({error, {bad_option, proxy_protocol, _}}, parse(#{proxy_protocol => true})),
    ?assertMatch({ok, #{proxy_protocol := true}}, parse(#{proxy_protocol => true, trusted_proxies => Given})).

text_subprotocols_become_binaries_test() ->
    ?assertEqual([<<"chat">>], value(subprotocols, ["chat"])).

modes_test_() ->
    Handler = {bare_handler, []},
    [?_assertMatch({ok, #{mode := Mode, active := Active}}, parse(Options))
     || {Options, Mode, Active} <-
            [{#{handler => Handler}, {workers, 1}, true},
             {#{handler => Handler, processes => one}, {workers, 1}, true},
             {#{handler => Handler, processes => 4, active => 7}, {workers, 4}, 7},
             {#{handler => Handler, processes => per_connection}, per_connection, true},
             {#{handler => owner, batch => true}, {owner, owner, true}, 100},
             {#{handler => owner, active => false}, {owner, owner, false}, false}]].

options_that_contradict_test_() ->
    [?_assertMatch({error, {bad_option, processes, _}}, parse(#{processes => 2})),
     ?_assertMatch({error, {bad_option, processes, _}},
                   parse(#{handler => self(), processes => one})),
     ?_assertMatch({error, {bad_option, batch, _}},
                   parse(#{handler => {bare_handler, []}, batch => true}))].

frames_are_as_long_as_messages_test() ->
    ?assertMatch({ok, #{max_frame_size := 1000}}, parse(#{max_message_size => 1000})),
    ?assertMatch({ok, #{max_frame_size := 10}},
                 parse(#{max_message_size => 1000, max_frame_size => 10})).

missing_callback_is_named_test() ->
    {error, {bad_option, handler, Why}} = parse(#{handler => {lists, []}}),
    ?assertEqual(<<"lists does not export init/1">>, Why).

start_link_returns_the_error_test() ->
    ?assertMatch({error, {bad_option, prot, <<"unknown option; did you mean port?">>}}, sockeye:start_link(#{prot => 1})),
    ?assertMatch({error, {bad_option, port, _}}, sockeye:start_link(65536)),
    ?assertError(badarg, sockeye:start_link([])),
    ?assertError(badarg, sockeye:start_link("8080")).

child_spec_test() ->
    Options = #{port => 8080, handler => {bare_handler, []}, close_timeout => 1000},
    ?assertMatch(#{id := {sockeye, 8080}, start := {sockeye, start_link, [Options]},
                   type := worker, shutdown := 11000}, sockeye:child_spec(Options)),
    ?assertMatch(#{id := {sockeye, chat}}, sockeye:child_spec(Options#{name => chat})),
    ?assertError({bad_option, handler, _}, sockeye:child_spec(#{port => 8080})),
    ?assertError({bad_option, prot, _}, sockeye:child_spec(Options#{prot => 1})),
    ?assertError(badarg, sockeye:child_spec(8080)).
