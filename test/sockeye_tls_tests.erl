%% TLS: OTP's own ssl is the client.
-module(sockeye_tls_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, event/0, event/1, closed/1]).

-define(TIMEOUT, 60000).

setup() ->
    Authority = test_certs:authority("authority"),
    #{authority => Authority,
      one => test_certs:issue(Authority, ["localhost", "one.example"]),
      two => test_certs:issue(Authority, ["two.example"]),
      wild => test_certs:issue(Authority, ["*.wild.example"])}.

all_test_() ->
    Tests = [{"echo over 1.2", fun(C) -> echo('tlsv1.2', C) end},
             {"echo over 1.3", fun(C) -> echo('tlsv1.3', C) end},
             {"only the versions that are on", fun versions/1},
             {"large messages", fun large_messages/1},
             {"close handshake", fun close_handshake/1},
             {"a client that does not read", fun slow_reader/1},
             {"certificates by host", fun by_host/1},
             {"client certificate required", fun client_required/1},
             {"client certificate optional", fun client_optional/1},
             {"DER", fun der/1},
             {"reload", fun reload/1},
             {"reload without TLS", fun reload_without/1},
             {"what is wrong with a file", fun wrong_files/1},
             {"what is wrong with an option", fun wrong_options/1},
             {"plain HTTP", fun plain_http/1},
             {"garbage", fun garbage/1},
             {"handshake timeout", fun handshake_timeout/1},
             {"over a Unix socket", fun over_unix/1}] ++ resumptions(os:find_executable("openssl")),
    test_certs:tests(ssl, fun setup/0, Tests, 60).

tls(#{server := Config}) ->
    #{cert => test_certs:pem(test_certs:der(Config)), key => test_certs:key_pem(Config)}.

%% What a client checks and asks for.
client(Certs) ->
    client(Certs, "localhost").

client(#{authority := Authority}, Host) ->
    Match = public_key:pkix_verify_hostname_match_fun(https),
    [{verify, verify_peer}, {cacerts, test_certs:cacerts(Authority)}, {server_name_indication, Host},
     {customize_hostname_check, [{match_fun, Match}]}].

connect(Port, Tls) ->
    Socket = ws_client:connect(Port, #{tls => Tls}),
    {Conn, {open, Open}} = event(),
    {Socket, Conn, Open}.

say(Socket, Conn) ->
    ok = ws_client:text(Socket, "[1]"),
    ?assertEqual({json, [1]}, event(Conn)),
    ok = sockeye:send(Conn, {json, [2]}),
    ?assertEqual({text, <<"[2]">>}, ws_client:recv(Socket)).

echo(Version, #{one := One} = Certs) ->
    with_server(#{tls => tls(One)}, fun(Port, _) ->
        {Socket, Conn, Open} = connect(Port, [{versions, [Version]} | client(Certs)]),
        say(Socket, Conn),
        #{tls := Facts} = Open,
        ?assertMatch(#{version := Version, sni := <<"localhost">>, alpn := undefined, peer_cert := undefined}, Facts),
        #{cipher := Cipher} = Facts,
        {ok, [{selected_cipher_suite, Suite}]} = ssl:connection_information(Socket, [selected_cipher_suite]),
        ?assertEqual(ssl:suite_to_str(Suite), suite_name(Cipher)),
        ?assertMatch({ok, #{tls := Facts}}, sockeye:info(Conn)),
        %% With ALPN too.
        {_, _, #{tls := #{alpn := Alpn}}} =
            connect(Port, [{alpn_advertised_protocols, [<<"http/1.1">>]} | client(Certs)]),
        ?assertEqual(<<"http/1.1">>, Alpn)
    end).

%% rustls names suites of 1.3 by its own scheme.
suite_name(<<"TLS13_", Rest/binary>>) -> "TLS_" ++ binary_to_list(Rest);
suite_name(Name) -> binary_to_list(Name).

versions(#{one := One} = Certs) ->
    [with_server(#{tls => (tls(One))#{versions => [Version]}}, fun(Port, _) ->
         {Socket, Conn, _} = connect(Port, client(Certs)),
         say(Socket, Conn),
         ?assertMatch({error, {tls_alert, {protocol_version, _}}},
                      ssl:connect("localhost", Port, [{versions, [Other]}, {log_level, none} | client(Certs)], ?TIMEOUT))
     end) || {Version, Other} <- [{'tlsv1.2', 'tlsv1.3'}, {'tlsv1.3', 'tlsv1.2'}]],
    ok.

large_messages(#{one := One} = Certs) ->
    with_server(#{tls => tls(One), format => raw, max_message_size => 8 bsl 20, send_queue_size => 8 bsl 20}, fun(Port, _) ->
        {Socket, Conn, _} = connect(Port, client(Certs)),
        [begin
             Data = crypto:strong_rand_bytes(Size),
             ok = ws_client:binary(Socket, Data),
             ?assert({binary, Data} =:= event(Conn)),
             ok = sockeye:send(Conn, {binary, Data}),
             ?assert({binary, Data} =:= ws_client:recv(Socket))
         end || Size <- [0, 1, 16383, 16384, 16385, 1 bsl 20, 5 bsl 20]]
    end).

close_handshake(#{one := One} = Certs) ->
    with_server(#{tls => tls(One)}, fun(Port, _) ->
        {First, Conn1, _} = connect(Port, client(Certs)),
        ok = ws_client:close(First, 3000, <<"bye">>),
        ?assertEqual({close, 3000, <<>>}, ws_client:recv(First)),
        ?assertEqual(closed, ws_client:recv(First)),
        ?assertEqual({closed, 3000, <<"bye">>}, event(Conn1)),
        {Second, Conn2, _} = connect(Port, client(Certs)),
        ok = sockeye:send(Conn2, {json, <<"last">>}),
        ok = sockeye:close(Conn2, 4000, <<"enough">>),
        ?assertEqual({text, <<"\"last\"">>}, ws_client:recv(Second)),
        ?assertEqual({4000, <<"enough">>}, ws_client:recv_close(Second)),
        ?assertEqual(1000, closed(Conn2)),
        %% Away, without a close frame.
        {Third, Conn3, _} = connect(Port, client(Certs)),
        ok = ssl:close(Third),
        ?assertEqual(1006, closed(Conn3))
    end).

slow_reader(#{one := One} = Certs) ->
    with_server(#{tls => tls(One), format => raw, send_queue_size => 32 bsl 20}, fun(Port, _) ->
        {Socket, Conn, _} = connect(Port, client(Certs)),
        Data = binary:copy(<<"x">>, 65536),
        Sent = fill(Conn, Data, 0),
        ?assert(Sent >= 31 bsl 20),
        [?assertEqual({binary, Data}, ws_client:recv(Socket)) || _ <- lists:seq(1, Sent div 65536)],
        say_raw(Socket, Conn)
    end).

fill(Conn, Data, Sent) ->
    case sockeye:send(Conn, {binary, Data}) of
        ok -> fill(Conn, Data, Sent + byte_size(Data));
        {error, busy} -> Sent
    end.

say_raw(Socket, Conn) ->
    ok = ws_client:text(Socket, "end"),
    ?assertEqual({text, <<"end">>}, event(Conn)).

by_host(#{one := One, two := Two, wild := Wild, authority := Authority}) ->
    Sni = [{"Two.Example", tls(Two)}, {<<"*.wild.example">>, tls(Wild)}],
    with_server(#{tls => (tls(One))#{sni_hosts => Sni}}, fun(Port, _) ->
        [begin
             {Socket, _, #{tls := #{sni := Seen}}} = connect(Port, client(#{authority => Authority}, Host)),
             {ok, Der} = ssl:peercert(Socket),
             ?assertEqual(test_certs:der(maps:get(server, Expected)), Der),
             ?assertEqual(list_to_binary(string:lowercase(Host)), Seen)
         end || {Host, Expected} <- [{"localhost", One}, {"one.example", One}, {"two.example", Two},
                                     {"a.wild.example", Wild}]],
        %% An address is no host, and one that is not listed gets the first certificate.
        [begin
             Insecure = [{verify, verify_none}, {server_name_indication, Asked}],
             {Socket, _, #{tls := #{sni := Sent}}} = connect(Port, Insecure),
             ?assertEqual(Seen, Sent),
             {ok, Der} = ssl:peercert(Socket),
             ?assertEqual(test_certs:der(maps:get(server, One)), Der)
         end || {Asked, Seen} <- [{disable, undefined}, {"wild.example", <<"wild.example">>},
                                  {"a.b.wild.example", <<"a.b.wild.example">>}]]
    end).

with_authority(#{authority := Authority, one := One}, Fail, Test) ->
    test_certs:in_folder(fun(File) ->
        ok = file:write_file(File("ca.pem"), test_certs:pem(test_certs:cacerts(Authority))),
        Tls = (tls(One))#{verify => verify_peer, fail_if_no_peer_cert => Fail, cacertfile => File("ca.pem")},
        with_server(#{tls => Tls}, Test)
    end).

with_certificate(Certs, #{client := Config}) ->
    Key = proplists:get_value(key, Config),
    [{cert, test_certs:der(Config)}, {key, Key}, {log_level, none} | client(Certs)].

client_required(#{two := Two} = Certs) ->
    Stranger = test_certs:issue(test_certs:authority("stranger"), ["x"]),
    with_authority(Certs, true, fun(Port, Server) ->
        {Socket, Conn, #{tls := #{peer_cert := Der}}} = connect(Port, with_certificate(Certs, Two)),
        say(Socket, Conn),
        ?assertEqual(test_certs:der(maps:get(client, Two)), Der),
        refused(Port, [{versions, ['tlsv1.2']}, {log_level, none} | client(Certs)]),
        refused(Port, [{versions, ['tlsv1.3']}, {log_level, none} | client(Certs)]),
        refused(Port, with_certificate(Certs, Stranger)),
        ?assertMatch({ok, #{accepted := 1}}, sockeye:info(Server))
    end).

client_optional(#{two := Two} = Certs) ->
    Stranger = test_certs:issue(test_certs:authority("stranger"), ["x"]),
    with_authority(Certs, false, fun(Port, _) ->
        ?assertMatch({_, _, #{tls := #{peer_cert := <<_, _/binary>>}}},
                     connect(Port, with_certificate(Certs, Two))),
        ?assertMatch({_, _, #{tls := #{peer_cert := undefined}}}, connect(Port, client(Certs))),
        refused(Port, with_certificate(Certs, Stranger))
    end).

%% In 1.3 the client learns of it with the first thing it reads.
refused(Port, Tls) ->
    case ssl:connect("localhost", Port, [{active, false}, {nodelay, true} | Tls], ?TIMEOUT) of
        {error, {tls_alert, _}} ->
            ok;
        {ok, Socket} ->
            _ = ssl:send(Socket, "GET / HTTP/1.1\r\n\r\n"),
            %% OTP forgets the alert if it comes before it is asked for.
            case ssl:recv(Socket, 0, ?TIMEOUT) of
                {error, {tls_alert, _}} -> ok;
                {error, closed} -> ok
            end
    end.

%% OTP's client uses no tickets but those of OTP.
resumptions(false) ->
    test_support:left_out("TLS resumption", "no openssl");
resumptions(OpenSsl) ->
    [{Name, fun(Certs) -> resumption(OpenSsl, Options, Certs) end}
     || {Name, Options} <- [{"resumption over 1.3", ["-tls1_3"]},
                            {"resumption over 1.2, by ticket", ["-tls1_2"]},
                            {"resumption over 1.2, from the cache", ["-tls1_2", "-no_ticket"]}]].

resumption(OpenSsl, Options, #{one := One}) ->
    with_server(#{tls => tls(One)}, fun(Port, Server) ->
        test_certs:in_folder(fun(File) ->
            Arguments = ["s_client", "-connect", "127.0.0.1:" ++ integer_to_list(Port) | Options],
            Keep = Arguments ++ ["-sess_out", File("session")],
            Use = Arguments ++ ["-sess_in", File("session")],
            ?assertEqual("New", s_client(OpenSsl, Keep)),
            ?assertEqual("Reused", s_client(OpenSsl, Use)),
            %% What was agreed before a reload proves nothing after it.
            ok = sockeye:reload_tls(Server),
            ?assertEqual("New", s_client(OpenSsl, Use))
        end)
    end).

%% An answer, behind which the tickets have come, ends the client.
s_client(OpenSsl, Arguments) ->
    Client = open_port({spawn_executable, OpenSsl}, [{args, Arguments}, binary, exit_status, stderr_to_stdout]),
    true = port_command(Client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Output = output(Client, <<>>),
    {match, [Kind]} = re:run(Output, "^(New|Reused), TLSv1", [multiline, {capture, all_but_first, list}]),
    Kind.

output(Client, Output) ->
    receive
        {Client, {data, Data}} -> output(Client, <<Output/binary, Data/binary>>);
        {Client, {exit_status, _}} -> Output
    after ?TIMEOUT ->
            error({openssl, Output})
    end.

%% As ssl has them.
der(#{authority := Authority, one := #{server := Config}, two := Two} = Certs) ->
    [begin
         Tls = #{cert => Cert, key => proplists:get_value(key, Config), cacerts => test_certs:cacerts(Authority),
                 verify => verify_peer, fail_if_no_peer_cert => true},
         with_server(#{tls => Tls}, fun(Port, _) ->
             {Socket, Conn, #{tls := #{peer_cert := Der}}} = connect(Port, with_certificate(Certs, Two)),
             ?assertEqual(test_certs:der(maps:get(client, Two)), Der),
             say(Socket, Conn),
             refused(Port, [{log_level, none} | client(Certs)])
         end)
     end || Cert <- [test_certs:der(Config), [test_certs:der(Config) | test_certs:cacerts(Authority)]]],
    ok.

reload(#{one := One, two := Two} = Certs) ->
    test_certs:in_folder(fun(File) ->
        write(File, One),
        Tls = #{certfile => File("cert.pem"), keyfile => list_to_binary(File("key.pem"))},
        with_server(#{tls => Tls}, fun(Port, Server) ->
            {Old, OldConn, _} = connect(Port, client(Certs)),
            write(File, Two),
            %% Not before it is asked for.
            {_, _, _} = connect(Port, client(Certs)),
            ok = sockeye:reload_tls(Server),
            {New, NewConn, _} = connect(Port, client(Certs, "two.example")),
            say(New, NewConn),
            say(Old, OldConn),
            ok = file:write_file(File("cert.pem"), "nothing"),
            ?assertMatch({error, {bad_option, tls, _}}, sockeye:reload_tls(Port)),
            ok = file:delete(File("key.pem")),
            ?assertMatch({error, {bad_option, tls, _}}, sockeye:reload_tls(Port)),
            connect(Port, client(Certs, "two.example"))
        end)
    end).

write(File, #{server := Config}) ->
    ok = file:write_file(File("cert.pem"), test_certs:pem(test_certs:der(Config))),
    ok = file:write_file(File("key.pem"), test_certs:key_pem(Config)).

reload_without(_) ->
    with_server(#{}, fun(_, Server) ->
        ?assertMatch({error, {bad_option, tls, _}}, sockeye:reload_tls(Server))
    end),
    ?assertEqual({error, not_found}, sockeye:reload_tls(no_such_server)).

why(Tls) ->
    {error, {bad_option, tls, Why}} = sockeye:start_link(#{port => 0, tls => Tls}),
    ?assert(is_binary(Why)),
    Why.

says(Part, Tls) ->
    Why = why(Tls),
    ?assertNotEqual({Why, nomatch}, {Why, string:find(Why, Part)}).

wrong_files(#{one := #{server := Config} = One, two := Two}) ->
    Good = tls(One),
    Key = test_certs:key_pem(Config),
    says("certfile /no/such.pem: no such file", #{certfile => "/no/such.pem", keyfile => "/no/key.pem"}),
    says("keyfile /no/key.pem: no such file", #{cert => maps:get(cert, Good), keyfile => "/no/key.pem"}),
    says("certfile /: illegal operation on a directory", #{certfile => "/", key => Key}),
    says("certfile: there is no certificate", Good#{cert => <<>>}),
    says("certfile: there is no certificate", Good#{cert => Key}),
    says("certfile: it is not PEM", Good#{cert => <<"-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n">>}),
    says("certfile: the certificate is not valid",
         Good#{cert => <<"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n">>}),
    says("keyfile: there is no private key", Good#{key => <<"hello">>}),
    says("keyfile: there is no private key", Good#{key => maps:get(cert, Good)}),
    says("keyfile: the private key is encrypted", Good#{key => test_certs:encrypted_key_pem(Config)}),
    says("keyfile: the private key is encrypted",
         Good#{key => <<"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n">>}),
    says("keyfile: the private key cannot be used",
         Good#{key => <<"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n">>}),
    says("keyfile: the private key does not belong", Good#{key => maps:get(key, tls(Two))}),
    says("sni_hosts two.example: keyfile: the private key does not belong",
         Good#{sni_hosts => [{"two.example", (tls(Two))#{key => Key}}]}),
    says("sni_hosts two.example: keyfile /no/key.pem",
         Good#{sni_hosts => [{"two.example", #{cert => maps:get(cert, Good), keyfile => "/no/key.pem"}}]}),
    says("is not the name of a host", Good#{sni_hosts => [{"two words", tls(Two)}]}),
    says("is not the name of a host", Good#{sni_hosts => [{"*.*.example", tls(Two)}]}),
    says("cacertfile /no/ca.pem: no such file", Good#{verify => verify_peer, cacertfile => "/no/ca.pem"}),
    test_certs:in_folder(fun(File) ->
        ok = file:write_file(File("ca.pem"), Key),
        says("cacertfile: there is no certificate", Good#{verify => verify_peer, cacertfile => File("ca.pem")}),
        ok = file:write_file(File("ca.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        says("cacertfile: a certificate is not valid", Good#{verify => verify_peer, cacertfile => File("ca.pem")})
    end).

wrong_options(#{one := One}) ->
    Good = tls(One),
    says("a map", true),
    says("certfile (or cert) is missing", #{}),
    says("keyfile (or key) is missing", maps:remove(key, Good)),
    says("two ways", Good#{certfile => "c"}),
    says("two ways", Good#{keyfile => "k"}),
    says("name of a file", #{certfile => a, keyfile => "k"}),
    says("name of a file", #{certfile => "c", keyfile => ""}),
    [says("PEM text", Good#{Key => Value}) || {Key, Value} <- [{key, "text"}, {key, {'DSAPrivateKey', <<1>>}}, {cert, "text"}, {cert, []}, {cert, [a]}]],
    says("password: unknown option", Good#{password => "x"}),
    says("verify", Good#{verify => yes}),
    says("needs cacertfile or cacerts", Good#{verify => verify_peer}),
    says("no meaning", Good#{cacertfile => "ca.pem"}),
    says("no meaning", Good#{cacerts => <<"x">>}),
    says("no meaning", Good#{fail_if_no_peer_cert => true}),
    says("a boolean", Good#{fail_if_no_peer_cert => yes}),
    says("two ways", Good#{verify => verify_peer, cacerts => <<"x">>, cacertfile => "ca.pem"}),
    [says("expected verify_none or verify_peer", Good#{verify => V}) || V <- [none, optional, required, true]],
    says("sni: is now sni_hosts", Good#{sni => #{}}),
    says("a is there twice", Good#{sni_hosts => [{"a", Good}, {<<"A">>, Good}]}),
    [says("versions", Good#{versions => V}) || V <- [[], [tlsv1], 'tlsv1.3', ['tlsv1.3' | x]]],
    [says("sni_hosts", Good#{sni_hosts => Bad}) || Bad <- [#{}, a, [a], [{"a", Good} | b]]],
    says("sni_hosts a: verify: unknown option", Good#{sni_hosts => [{"a", Good#{verify => verify_none}}]}),
    says("sni_hosts a: keyfile (or key) is missing", Good#{sni_hosts => [{"a", maps:remove(key, Good)}]}),
    says("sni_hosts", Good#{sni_hosts => [{a, Good}]}).

plain_http(#{one := One}) ->
    with_server(#{tls => tls(One)}, fun(Port, Server) ->
        {ok, Socket} = gen_tcp:connect("localhost", Port, [binary, {active, false}]),
        ok = gen_tcp:send(Socket, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        ok = gen_tcp:shutdown(Socket, write),
        ?assertMatch(<<"HTTP/1.1 400 ", _/binary>>, all(Socket)),
        ok = gen_tcp:close(Socket),
        ?assertMatch({ok, #{accepted := 0, connections := 0}}, sockeye:info(Server))
    end).

all(Socket) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, Data} -> <<Data/binary, (all(Socket))/binary>>;
        {error, closed} -> <<>>
    end.

garbage(#{one := One} = Certs) ->
    with_server(#{tls => tls(One)}, fun(Port, _) ->
        [begin
             {ok, Socket} = gen_tcp:connect("localhost", Port, [binary, {active, false}]),
             ok = gen_tcp:send(Socket, Bytes),
             _ = gen_tcp:shutdown(Socket, write),
             _ = try all(Socket) catch _:_ -> reset end,
             ok = gen_tcp:close(Socket)
         end || Bytes <- [<<>>, <<22>>, <<22, 3, 1, 255, 255>>, <<22, 3, 1, 0, 5, 1, 0, 0, 1, 0>>,
                          binary:copy(<<0>>, 100), crypto:strong_rand_bytes(70000), <<128, 46, 1, 3, 1>>]],
        {Socket, Conn, _} = connect(Port, client(Certs)),
        say(Socket, Conn)
    end).

handshake_timeout(#{one := One} = Certs) ->
    with_server(#{tls => tls(One), handshake_timeout => 200}, fun(Port, _) ->
        [begin
             {ok, Socket} = gen_tcp:connect("localhost", Port, [binary, {active, false}]),
             ok = gen_tcp:send(Socket, Bytes),
             ?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, ?TIMEOUT))
         end || Bytes <- [<<>>, <<22>>, <<22, 3, 1>>]],
        %% Who has TLS and then says nothing.
        {ok, Silent} = ssl:connect("localhost", Port, [{active, false} | client(Certs)], ?TIMEOUT),
        ?assertEqual({error, closed}, ssl:recv(Silent, 0, ?TIMEOUT))
    end).

over_unix(#{one := One}) ->
    test_certs:in_folder(fun(File) ->
        Path = list_to_binary(File("s")),
        {ok, Server} = sockeye:start_link(#{ip => {local, Path}, tls => tls(One)}),
        {ok, Plain} = gen_tcp:connect({local, Path}, 0, [binary, {active, false}]),
        {ok, Socket} = ssl:connect(Plain, [{verify, verify_none}, {server_name_indication, "localhost"}], ?TIMEOUT),
        ok = ssl:send(Socket, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ?assertMatch({ok, <<"HTTP/1.1 426 ", _/binary>>}, ssl:recv(Socket, 0, ?TIMEOUT)),
        ok = ssl:close(Socket),
        ok = sockeye:stop(Server)
    end).
