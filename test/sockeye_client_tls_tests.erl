%% Clients over TLS: whom they trust, what they show, and how they hear of it.
-module(sockeye_client_tls_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-include_lib("public_key/include/public_key.hrl").

-import(test_support, [with_server/2, with_handler/3]).
-import(test_certs, [identity/1]).

-define(TIMEOUT, 60000).

setup() ->
    Authority = test_certs:authority("authority"),
    #{authority => Authority,
      ca => test_certs:pem(test_certs:cacerts(Authority)),
      one => test_certs:issue(Authority, ["localhost", "one.example"])}.

all_test_() ->
    Tests = [{"echo over 1.2", fun(C) -> echo('tlsv1.2', C) end},
             {"echo over 1.3", fun(C) -> echo('tlsv1.3', C) end},
             {"large messages", fun large_messages/1},
             {"whom to trust", fun trust/1},
             {"a certificate that signs itself", fun signs_itself/1},
             {"the name", fun names/1},
             {"pins", fun pins/1},
             {"out of its time", fun out_of_time/1},
             {"client certificate", fun client_certificate/1},
             {"authorities from a file", fun from_files/1},
             {"a server without TLS", fun not_tls/1},
             {"no version in common", fun no_version/1},
             {"silence", fun silence/1},
             {"through a proxy", fun through_a_proxy/1},
             {"a redirect to TLS, and none back", fun redirects/1},
             {"reconnect", fun reconnect/1},
             {"many with one configuration", fun many/1},
             {"options", fun options/1}],
    test_certs:tests(ssl, fun setup/0, Tests, 60).

with_tls(Certs, Test) ->
    with_tls(#{}, Certs, Test).

with_tls(Options, #{one := #{server := Server}}, Test) ->
    Echo = #{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end},
    with_handler(Echo, #{tls => maps:merge(identity(Server), Options)}, Test).

url(Port) -> url("localhost", Port).
url(Host, Port) -> ["wss://", Host, ":", integer_to_list(Port), "/"].

connect(Port, Tls) ->
    sockeye_client:connect(url(Port), #{tls => Tls}).

talk(Conn) ->
    ok = sockeye_client:send(Conn, {json, 1}),
    ?assertEqual({ok, {json, 1}}, sockeye_client:recv(Conn, ?TIMEOUT)),
    ok = sockeye_client:close(Conn).

refused(Why, Result) ->
    {error, {tls, {Got, Text}}} = Result,
    ?assertEqual(Why, Got),
    ?assert(is_binary(Text)).

echo(Version, #{ca := Ca} = Certs) ->
    with_tls(Certs, fun(Port, _) ->
        {ok, Conn} = connect(Port, #{cacerts => Ca, versions => [Version]}),
        {ok, #{tls := Tls}} = sockeye:info(Conn),
        ?assertMatch(#{version := Version, cipher := <<"TLS", _/binary>>, sni := <<"localhost">>,
                       alpn := <<"http/1.1">>, peer_cert := <<_, _/binary>>}, Tls),
        talk(Conn)
    end).

large_messages(#{ca := Ca} = Certs) ->
    Options = #{max_message_size => 8 bsl 20, send_queue_size => 8 bsl 20},
    #{one := #{server := Server}} = Certs,
    Echo = #{frame => fun(Frame, _, S) -> {[{reply, Frame}], S} end},
    with_handler(Echo, Options#{tls => identity(Server)}, fun(Port, _) ->
        {ok, Conn} = sockeye_client:connect(url(Port), Options#{tls => #{cacerts => Ca}}),
        [begin
             Payload = crypto:strong_rand_bytes(Size),
             ok = sockeye_client:send(Conn, {binary, Payload}),
             ?assertEqual({ok, {binary, Payload}}, sockeye_client:recv(Conn, ?TIMEOUT))
         end || Size <- [0, 1, 16384, 100000, 4000000]],
        ok = sockeye_client:close(Conn)
    end).

trust(#{ca := Ca} = Certs) ->
    Other = test_certs:pem(test_certs:cacerts(test_certs:authority("other"))),
    with_tls(Certs, fun(Port, _) ->
        %% The system's authorities do not know ours.
        refused(unknown_ca, sockeye_client:connect(url(Port))),
        refused(unknown_ca, connect(Port, #{cacerts => Other})),
        {ok, One} = connect(Port, #{cacerts => <<Other/binary, Ca/binary>>}),
        talk(One),
        {ok, Two} = connect(Port, #{verify => verify_none}),
        talk(Two),
        %% As ssl has them, and as public_key gives them to it.
        [{'Certificate', Der, _}] = public_key:pem_decode(Ca),
        [begin
             {ok, Conn} = connect(Port, #{cacerts => Cas}),
             talk(Conn)
         end || Cas <- [Der, [Der], [{cert, Der, public_key:pkix_decode_cert(Der, otp)}], [Other, Der]]]
    end).

%% As plain `openssl req -x509' makes them: the error says what to do.
signs_itself(_) ->
    #{cert := Der, key := Key} = test_certs:authority("localhost"),
    Identity = #{cert => test_certs:pem(Der), key => public_key:pem_encode([public_key:pem_entry_encode('RSAPrivateKey', Key)])},
    with_handler(#{}, #{tls => Identity}, fun(Port, _) ->
        {error, {tls, {bad_certificate, Text}}} = connect(Port, #{cacerts => Der}),
        ?assertEqual(<<"it is the certificate of an authority, not of a server: make one with basicConstraints=CA:FALSE, "
                       "or take it by the option pin with verify_none">>, Text),
        {ok, Conn} = connect(Port, #{verify => verify_none, pin => {cert, crypto:hash(sha256, Der)}}),
        ok = sockeye_client:close(Conn)
    end).

names(#{ca := Ca} = Certs) ->
    with_tls(Certs, fun(Port, _) ->
        refused(bad_host, sockeye_client:connect(url("127.0.0.1", Port), #{tls => #{cacerts => Ca}})),
        refused(bad_host, connect(Port, #{cacerts => Ca, server_name_indication => "two.example"})),
        [begin
             {ok, Conn} = sockeye_client:connect(url(Host, Port), #{tls => Tls#{cacerts => Ca}}),
             ?assertMatch({ok, #{tls := #{sni := Sni}}}, sockeye:info(Conn)),
             talk(Conn)
         end || {Host, Tls, Sni} <- [{"127.0.0.1", #{server_name_indication => "one.example"}, <<"one.example">>},
                                     {"localhost", #{server_name_indication => <<"one.example">>}, <<"one.example">>},
                                     {"localhost", #{server_name_indication => disable}, undefined}]]
    end).

pins(#{ca := Ca, one := #{server := Server}} = Certs) ->
    Der = test_certs:der(Server),
    #'OTPCertificate'{tbsCertificate = #'OTPTBSCertificate'{subjectPublicKeyInfo = _}} =
        public_key:pkix_decode_cert(Der, otp),
    #'Certificate'{tbsCertificate = #'TBSCertificate'{subjectPublicKeyInfo = Info}} =
        public_key:der_decode('Certificate', Der),
    Spki = crypto:hash(sha256, public_key:der_encode('SubjectPublicKeyInfo', Info)),
    Whole = crypto:hash(sha256, Der),
    Wrong = crypto:hash(sha256, <<"wrong">>),
    with_tls(Certs, fun(Port, _) ->
        [begin
             {ok, Conn} = connect(Port, Tls),
             talk(Conn)
         end || Tls <- [#{cacerts => Ca, pin => {spki, Spki}},
                        #{cacerts => Ca, pin => [{cert, Wrong}, {cert, Whole}]},
                        #{cacerts => Ca, pin => "sha256//" ++ base64:encode_to_string(Spki)},
                        #{cacerts => Ca, pin => [<<"sha256//", (base64:encode(Spki))/binary>>]},
                        %% Of a certificate that nobody has signed, say.
                        #{verify => verify_none, pin => {cert, Whole}}]],
        refused(pin, connect(Port, #{cacerts => Ca, pin => {spki, Whole}})),
        refused(pin, connect(Port, #{cacerts => Ca, pin => {cert, Spki}})),
        refused(pin, connect(Port, #{verify => verify_none, pin => {spki, Wrong}})),
        %% A pin is no signature.
        refused(unknown_ca, connect(Port, #{pin => {spki, Spki}}))
    end).

out_of_time(#{ca := Ca, authority := Authority}) ->
    {{Year, _, _}, _} = calendar:universal_time(),
    [begin
         #{server := Server} = test_certs:issue(Authority, ["localhost"], [{validity, Validity}]),
         with_server(#{tls => identity(Server)}, fun(Port, _) ->
             refused(Why, connect(Port, #{cacerts => Ca}))
         end)
     end || {Why, Validity} <- [{expired, {{2001, 1, 1}, {2002, 1, 1}}},
                                {not_yet_valid, {{Year + 2, 1, 1}, {Year + 3, 1, 1}}}]].

client_certificate(#{ca := Ca, one := #{server := Server, client := Client}} = Certs) ->
    test_certs:in_folder(fun(File) ->
        ok = file:write_file(File("ca"), Ca),
        with_tls(#{verify => verify_peer, fail_if_no_peer_cert => true, cacertfile => File("ca")}, Certs, fun(Port, _) ->
            {ok, Conn} = connect(Port, (identity(Client))#{cacerts => Ca}),
            talk(Conn),
            %% As ssl has them.
            #{key := Key0} = identity(Client),
            [{Type, KeyDer, not_encrypted}] = public_key:pem_decode(Key0),
            [begin
                 {ok, Der} = connect(Port, #{cacerts => Ca, cert => Cert, key => {Type, KeyDer}}),
                 talk(Der)
             end || Cert <- [test_certs:der(Client), [test_certs:der(Client)]]],
            %% Over 1.3 the server says so after our side is done.
            refused(alert, connect(Port, #{cacerts => Ca})),
            refused(alert, connect(Port, #{cacerts => Ca, versions => ['tlsv1.2']})),
            #{key := Key} = identity(Server),
            ?assertMatch({error, {bad_option, tls, <<"keyfile: ", _/binary>>}},
                         connect(Port, #{cacerts => Ca, cert => maps:get(cert, identity(Client)), key => Key}))
        end)
    end).

from_files(#{ca := Ca, one := #{client := Client}} = Certs) ->
    #{cert := Cert, key := Key} = identity(Client),
    test_certs:in_folder(fun(File) ->
        [ok = file:write_file(File(Name), Text) || {Name, Text} <- [{"ca", Ca}, {"cert", Cert}, {"key", Key}]],
        with_tls(Certs, fun(Port, _) ->
            {ok, Conn} = connect(Port, #{cacertfile => File("ca"), certfile => File("cert"), keyfile => File("key")}),
            talk(Conn),
            ?assertMatch({error, {bad_option, tls, <<"cacertfile ", _/binary>>}}, connect(Port, #{cacertfile => File("none")})),
            ?assertMatch({error, {bad_option, tls, <<"cacertfile: ", _/binary>>}}, connect(Port, #{cacertfile => File("key")}))
        end)
    end).

not_tls(#{ca := Ca} = Certs) ->
    with_server(#{}, fun(Port, _) -> refused(not_tls, connect(Port, #{cacerts => Ca})) end),
    with_tls(Certs, fun(Port, _) ->
        ?assertMatch({error, {refused, #{status := 400}}},
                     sockeye_client:connect(["ws://localhost:", integer_to_list(Port)]))
    end).

no_version(#{ca := Ca} = Certs) ->
    with_tls(#{versions => ['tlsv1.3']}, Certs, fun(Port, _) ->
        refused(alert, connect(Port, #{cacerts => Ca, versions => ['tlsv1.2']}))
    end).

silence(#{ca := Ca}) ->
    Self = self(),
    raw_server:with(fun(S) -> Self ! raw_server:await_end(S) end, fun(Port) ->
        ?assertEqual({error, timeout}, sockeye_client:connect(url("127.0.0.1", Port), #{connect_timeout => 200, tls => #{cacerts => Ca}})),
        receive gone -> ok after ?TIMEOUT -> error(client_stays) end
    end).

through_a_proxy(#{ca := Ca} = Certs) ->
    with_tls(Certs, fun(Port, _) ->
        Script = fun(S) ->
            Head = raw_server:head(S),
            {match, _} = re:run(Head, "^CONNECT localhost:"),
            raw_server:say(S, "HTTP/1.1 200 OK\r\n\r\n"),
            raw_server:tunnel(S, Port)
        end,
        raw_server:with(Script, fun(ProxyPort) ->
            Proxy = ["http://127.0.0.1:", integer_to_list(ProxyPort)],
            {ok, Conn} = sockeye_client:connect(url(Port), #{proxy => Proxy, tls => #{cacerts => Ca}}),
            ?assertMatch({ok, #{tls := #{sni := <<"localhost">>}}}, sockeye:info(Conn)),
            talk(Conn)
        end)
    end).

redirects(#{ca := Ca, one := #{server := Server, client := Client}} = Certs) ->
    To = fun(Url) -> ["HTTP/1.1 301 x\r\nContent-Length: 0\r\nLocation: ", Url, "\r\n\r\n"] end,
    Answer = fun(Url) -> fun(S) -> _ = raw_server:head(S), raw_server:say(S, To(Url)), raw_server:await_end(S) end end,
    with_tls(Certs, fun(Port, _) ->
        raw_server:with(Answer(["https://localhost:", integer_to_list(Port), "/"]), fun(First) ->
            Url = ["ws://localhost:", integer_to_list(First)],
            {ok, Conn} = sockeye_client:connect(Url, #{max_redirects => 1, tls => #{cacerts => Ca}}),
            ?assertMatch({ok, #{tls := #{version := _}}}, sockeye:info(Conn)),
            talk(Conn),
            %% Our certificate is not for whoever we are sent to.
            ?assertEqual({error, {redirect, insecure}},
                         sockeye_client:connect(Url, #{max_redirects => 1, tls => (identity(Client))#{cacerts => Ca}}))
        end)
    end),
    Decline = fun(_) -> {reject, 302, [{<<"location">>, <<"http://localhost:1/">>}], <<>>} end,
    with_server(#{tls => identity(Server), accept => Decline}, fun(Port, _) ->
        ?assertEqual({error, {redirect, insecure}},
                     sockeye_client:connect(url(Port), #{max_redirects => 1, tls => #{cacerts => Ca}}))
    end).

reconnect(#{ca := Ca, one := #{server := Server}}) ->
    with_server(#{tls => identity(Server)}, fun(Port, _) ->
        {ok, Client} = sockeye_client:start_link(url(Port), self(),
                                                 #{reconnect => #{initial_interval => 1, max_interval => 10}, tls => #{cacerts => Ca}}),
        [begin
             %% One is the client's, one the server's.
             [A, B] = [receive {sockeye, Conn, {open, #{headers := H}}} when is_tuple(Conn) -> {lists:keymember(<<"host">>, 1, H), Conn}
                       after ?TIMEOUT -> error(not_open) end || _ <- [1, 2]],
             [{false, _}, {true, There}] = lists:sort([A, B]),
             ok = sockeye:close(There),
             receive {sockeye_client, Client, {down, {closed, 1000, _}}} -> ok after ?TIMEOUT -> error(not_down) end
         end || _ <- lists:seq(1, 5)],
        ok = sockeye_client:stop(Client)
    end).

many(#{ca := Ca} = Certs) ->
    with_tls(Certs, fun(Port, _) ->
        Clients = [begin
                       {ok, C} = sockeye_client:start_link(url(Port), self(), #{tls => #{cacerts => Ca}}),
                       C
                   end || _ <- lists:seq(1, 50)],
        [ok = sockeye_client:send(C, {json, 1}) || C <- Clients],
        [receive {sockeye, _, {json, 1}} -> ok after ?TIMEOUT -> error(silent) end || _ <- Clients],
        [ok = sockeye_client:stop(C) || C <- Clients]
    end).

options(#{ca := Ca, one := #{client := Client}}) ->
    #{cert := Cert, key := Key} = identity(Client),
    [begin
         {error, {bad_option, tls, Why}} = sockeye_client:connect("wss://x", #{tls => Tls}),
         ?assert(io_lib:printable_unicode_list(unicode:characters_to_list(Why))),
         ?assertEqual(nomatch, string:find(Why, "PRIVATE KEY"))
     end || Tls <- [x, [], #{x => y}, #{verify => x}, #{verify => true}, #{versions => []}, #{versions => ['sslv3']},
                    #{server_name_indication => 1}, #{server_name_indication => ""}, #{server_name_indication => "a b"}, #{server_name_indication => false}, #{sni => "a"}, #{verify => none}, #{cacert => Ca}, #{cacerts => []}, #{cacerts => [a]}, #{pin => x}, #{pin => {spki, <<1>>}}, #{pin => []},
                    #{pin => "sha256//AAAA"}, #{pin => "md5//AAAA"}, #{pin => [1]}, #{cacertfile => 1}, #{cacerts => "x"},
                    #{cacerts => <<"x">>}, #{cacerts => Ca, cacertfile => "x"}, #{verify => verify_none, cacerts => Ca},
                    #{cert => Cert}, #{key => Key}, #{cert => Cert, certfile => "x", key => Key},
                    #{cert => Key, key => Cert}, #{certfile => "/no/such", keyfile => "/no/such"}]].
