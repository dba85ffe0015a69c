%% Which certificate a server shows, and what it says of those that are out of their time.
-module(sockeye_certificates_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, event/0, event/1]).
-import(test_certs, [identity/1]).

-define(TIMEOUT, 60000).

setup() ->
    Authority = test_certs:authority("authority"),
    Issue = fun(Hosts) -> maps:get(server, test_certs:issue(Authority, Hosts)) end,
    #{authority => Authority, one => Issue(["one.example"]), two => Issue(["two.example"]),
      wild => Issue(["*.wild.example"])}.

all_test_() ->
    Tests = [{"by name alone", fun by_name_alone/1},
             {"by name alone, behind a reload", fun reload_by_name/1},
             {"by name alone, whatever comes", fun garbage/1},
             {"by name alone, silence", fun silence/1},
             {"options", fun options/1},
             {"out of their time", fun out_of_time/1},
             {"out of their time, at a reload", fun out_of_time_at_reload/1},
             {"no more than ten are named", fun many/1}],
    test_certs:tests(ssl, fun setup/0, Tests, 60).

%% ---------------------------------------------------------------- by name alone

names(#{one := One, wild := Wild}) ->
    #{sni_hosts => [{"one.example", identity(One)}, {<<"*.Wild.example">>, identity(Wild)}]}.

asking(Host, Version) ->
    [{verify, verify_none}, {server_name_indication, Host}, {versions, [Version]}, {log_level, none}].

%% The certificate that the server shows, over a connection that works, or the alert.
shown(Port, Host, Version) ->
    case ssl:connect("localhost", Port, [binary, {active, false}, {nodelay, true} | asking(Host, Version)], ?TIMEOUT) of
        {ok, Probe} ->
            {ok, Der} = ssl:peercert(Probe),
            ok = ssl:close(Probe),
            Socket = ws_client:connect(Port, #{tls => asking(Host, Version)}),
            {Conn, {open, _}} = event(),
            ok = ws_client:text(Socket, "[1]"),
            ?assertEqual({json, [1]}, event(Conn)),
            Der;
        {error, {tls_alert, {Alert, _}}} ->
            Alert
    end.

by_name_alone(#{one := One, wild := Wild} = Certs) ->
    with_server(#{tls => names(Certs)}, fun(Port, Server) ->
        Cases = [{"one.example", test_certs:der(One)}, {"ONE.Example", test_certs:der(One)},
                 {"a.wild.example", test_certs:der(Wild)}, {disable, unrecognized_name}, {"two.example", unrecognized_name},
                 {"wild.example", unrecognized_name}, {"a.b.wild.example", unrecognized_name},
                 {"x.one.example", unrecognized_name}, {"one.example", test_certs:der(One)}],
        [?assertEqual({Host, Version, Expected}, {Host, Version, shown(Port, Host, Version)})
         || {Host, Expected} <- Cases, Version <- ['tlsv1.2', 'tlsv1.3']],
        %% Five names that there are not, twice; those that only looked at a certificate asked for nothing.
        hostile_client:until(fun() ->
            {ok, #{accepted := Accepted, rejected := Rejected}} = sockeye:info(Server),
            {Accepted, Rejected} =:= {8, 10 + 8} orelse {Accepted, Rejected}
        end)
    end).

reload_by_name(#{one := One, two := Two}) ->
    test_certs:in_folder(fun(File) ->
        Write = fun(Config) -> test_certs:write(File, Config) end,
        Write(One),
        Tls = #{sni_hosts => [{"one.example", #{certfile => File("cert.pem"), keyfile => File("key.pem")}}]},
        with_server(#{tls => Tls}, fun(Port, Server) ->
            Shown = fun(Host) -> shown(Port, Host, 'tlsv1.3') end,
            ?assertEqual(test_certs:der(One), Shown("one.example")),
            Write(Two),
            ok = sockeye:reload_tls(Server),
            ?assertEqual(test_certs:der(Two), Shown("one.example")),
            ?assertEqual(unrecognized_name, Shown("two.example")),
            ok = file:write_file(File("key.pem"), "nothing"),
            ?assertMatch({error, {bad_option, tls, <<"sni_hosts one.example: keyfile: ", _/binary>>}}, sockeye:reload_tls(Server)),
            ?assertEqual(test_certs:der(Two), Shown("one.example"))
        end)
    end).

%% Nothing that is no first message of TLS does any harm.
garbage(#{one := One} = Certs) ->
    with_server(#{tls => names(Certs)}, fun(Port, _) ->
        [begin
             {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
             ok = gen_tcp:send(Socket, Bytes),
             _ = gen_tcp:shutdown(Socket, write),
             _ = hostile_client:answer(Socket),
             ok = gen_tcp:close(Socket)
         end || Bytes <- [<<>>, <<22>>, <<22, 3, 1, 255, 255>>, <<22, 3, 1, 0, 5, 1, 0, 0, 1, 0>>, binary:copy(<<0>>, 100),
                          crypto:strong_rand_bytes(70000), <<128, 46, 1, 3, 1>>, <<21, 3, 3, 0, 2, 2, 112>>]],
        ?assertMatch(<<"HTTP/1.1 400 ", _/binary>>, hostile_client:say(Port, "GET / HTTP/1.1\r\n\r\n")),
        ?assertEqual(test_certs:der(One), shown(Port, "one.example", 'tlsv1.3'))
    end).

silence(Certs) ->
    with_server(#{tls => names(Certs), handshake_timeout => 200}, fun(Port, _) ->
        [?assertEqual(<<>>, hostile_client:say(Port, Bytes)) || Bytes <- [<<>>, <<22>>, <<22, 3, 1>>]]
    end).

options(#{one := One} = Certs) ->
    #{cert := Cert, key := Key} = Identity = identity(One),
    [begin
         {error, {bad_option, tls, Why}} = sockeye:start_link(#{port => 0, tls => Tls}),
         ?assertNotEqual({Why, nomatch}, {Why, string:find(Why, Says)})
     end || {Says, Tls} <- [{"certfile (or cert) is missing", #{}},
                            {"certfile (or cert) is missing", #{sni_hosts => []}},
                            {"certfile (or cert) is missing", (names(Certs))#{key => Key}},
                            {"keyfile (or key) is missing", (names(Certs))#{cert => Cert}},
                            {"keyfile (or key) is missing", (names(Certs))#{certfile => "c"}},
                            {"is not the name of a host", #{sni_hosts => [{"two words", Identity}]}},
                            {"sni_hosts a: keyfile (or key) is missing", #{sni_hosts => [{"a", #{cert => Cert}}]}},
                            {"sni_hosts alone", not_a_map}]].

%% ---------------------------------------------------------------- out of their time

expired(Authority, Hosts) ->
    maps:get(server, test_certs:issue(Authority, Hosts, [{validity, {{2001, 1, 1}, {2002, 2, 3}}}])).

%% It is taken, and used: the log says so.
out_of_time(#{authority := Authority, one := One}) ->
    {{Year, _, _}, _} = calendar:universal_time(),
    Early = maps:get(server, test_certs:issue(Authority, ["x.example"], [{validity, {{Year + 2, 1, 1}, {Year + 3, 1, 1}}}])),
    [sockeye_log_tests:with_log(fun() ->
         with_server(#{tls => (identity(Config))#{sni_hosts => [{"one.example", identity(One)}]}}, fun(Port, Server) ->
             Report = sockeye_log_tests:report(What),
             ?assertMatch(#{server := Server, address := {_, Port}, source := <<"cert">>, place := 0}, Report),
             ?assertMatch(#{names := [<<"x.example">>], date := {Date, _}}, Report),
             ?assertEqual(test_certs:der(Config), shown(Port, "x.example", 'tlsv1.3')),
             %% Of the one that is valid there is nothing to say.
             nothing_logged()
         end)
     end) || {What, Config, Date} <- [{certificate_expired, expired(Authority, ["x.example"]), {2002, 2, 3}},
                                      {certificate_not_yet_valid, Early, {Year + 2, 1, 1}}]].

out_of_time_at_reload(#{authority := Authority, one := One}) ->
    test_certs:in_folder(fun(File) ->
        Write = fun(Config) -> test_certs:write(File, Config) end,
        Write(One),
        sockeye_log_tests:with_log(fun() ->
            with_server(#{tls => #{certfile => File("cert.pem"), keyfile => File("key.pem")}}, fun(Port, Server) ->
                nothing_logged(),
                Old = expired(Authority, ["x.example"]),
                Write(Old),
                ok = sockeye:reload_tls(Server),
                Source = iolist_to_binary(["certfile ", File("cert.pem")]),
                ?assertMatch(#{server := Server, source := Source, names := [<<"x.example">>]},
                             sockeye_log_tests:report(certificate_expired)),
                ?assertEqual(test_certs:der(Old), shown(Port, "x.example", 'tlsv1.3')),
                %% What is refused was not taken.
                ok = file:write_file(File("key.pem"), test_certs:key_pem(One)),
                ?assertMatch({error, _}, sockeye:reload_tls(Server)),
                nothing_logged()
            end)
        end)
    end).

nothing_logged() ->
    receive
        {logged, #{meta := #{sockeye := What}}} when What =/= server_started -> error({logged, What});
        {logged, _} -> nothing_logged()
    after 0 -> ok
    end.

many(#{authority := Authority}) ->
    Identity = identity(expired(Authority, ["x.example"])),
    Hosts = [{"h" ++ integer_to_list(N), Identity} || N <- lists:seq(1, 12)],
    sockeye_log_tests:with_log(fun() ->
        with_server(#{tls => #{sni_hosts => Hosts}}, fun(_, _) ->
            [_ = sockeye_log_tests:report(certificate_expired) || _ <- lists:seq(1, 10)],
            nothing_logged()
        end)
    end).
