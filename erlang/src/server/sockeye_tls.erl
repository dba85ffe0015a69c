%% @private
%% The option `tls': checks its form, and reads the files it names.
-module(sockeye_tls).

-export([check/1]).
-export([read/2]).
-export([listen/1]).
-export([own/2]).
-export([warn/3]).
%% For the client's option of that name, too.
-export([key/2]).
-export([unknown/2]).
-export([file/2]).

-export_type([checked/0]).
-export_type([own/0]).

-import(sockeye_bad_option, [bad/2]).

-type checked() :: undefined | #{atom() => term()}.
%% PEM text is inside a fun, so that no key appears in a log or a crash report.

-type own() :: [{Source :: binary(), Pem :: binary()}].

-define(IDENTITY, [certfile, keyfile, cert, key]).
%% Options for what is in a file, instead of its name.
-define(CONTENT, #{certfile => cert, keyfile => key, cacertfile => cacerts}).

%% What sockeye_options:check/2 answers: the option, a reason, or what was expected.
-spec check(term()) -> {ok, checked()} | {error, binary()} | string().
check(undefined) ->
    {ok, undefined};
check(Options) when is_map(Options) ->
    try {ok, complete(inner(maps:map(fun key/2, Options)))}
    catch throw:{bad, Why} -> {error, Why}
    end;
check(_) ->
    %% Not shown: there may be a key in it.
    {error, <<"expected a map with certfile and keyfile, or cert and key, or sni_hosts alone">>}.

%% As it is kept: `verify' and `fail_if_no_peer_cert' are one, hosts are a map.
-spec inner(map()) -> map().
inner(Options) ->
    Rest = maps:without([fail_if_no_peer_cert, sni_hosts], Options),
    Verify = case Options of
                 #{verify := verify_peer, fail_if_no_peer_cert := true} -> required;
                 #{verify := verify_peer} -> optional;
                 #{fail_if_no_peer_cert := true} -> bad("fail_if_no_peer_cert has no meaning without verify => verify_peer", []);
                 _ -> none
             end,
    Rest#{verify => Verify, sni => maps:get(sni_hosts, Options, #{})}.

-spec complete(map()) -> checked().
complete(Options) ->
    ok = case has_own(Options) of
             true -> identity(Options, "");
             false -> ok
         end,
    case {maps:get(verify, Options), maps:is_key(cacertfile, Options), maps:is_key(cacerts, Options)} of
        {_, true, true} -> bad("cacertfile and cacerts are two ways to say the same", []);
        {none, true, _} -> bad("cacertfile has no meaning without verify => verify_peer", []);
        {none, _, true} -> bad("cacerts has no meaning without verify => verify_peer", []);
        {none, _, _} -> ok;
        {_, false, false} -> bad("verify => verify_peer needs cacertfile or cacerts", []);
        _ -> ok
    end,
    maps:merge(#{versions => ['tlsv1.2', 'tlsv1.3']}, Options).

%% What is wrong is not shown: it may be a key, or what should have been one.
-spec key(term(), term()) -> term().
key(Key, Value) when Key =:= certfile; Key =:= keyfile; Key =:= cacertfile ->
    Names = is_binary(Value) andalso Value =/= <<>> orelse is_text(Value),
    case Names andalso is_content(Value) of
        true -> bad("~ts: expected the name of a file, and this is what stands in one: give it as ~ts", [Key, maps:get(Key, ?CONTENT)]);
        false when Names -> Value;
        false -> bad("~ts: expected the name of a file", [Key])
    end;
key(Key, Value) when Key =:= cert; Key =:= cacerts ->
    sockeye_secret:hide(certificates(Key, Value));
key(key, Value) ->
    sockeye_secret:hide(private_key(Value));
key(verify, Value) when Value =:= verify_none; Value =:= verify_peer ->
    Value;
key(verify, Value) ->
    bad("verify: expected verify_none or verify_peer, got ~0tp", [Value]);
key(fail_if_no_peer_cert, Value) when is_boolean(Value) ->
    Value;
key(fail_if_no_peer_cert, Value) ->
    bad("fail_if_no_peer_cert: expected a boolean, got ~0tp", [Value]);
key(versions, Versions) when length(Versions) > 0 ->
    case Versions -- ['tlsv1.2', 'tlsv1.3', 'tlsv1.2', 'tlsv1.3'] of
        [] -> Versions;
        _ -> bad_versions(Versions)
    end;
key(versions, Versions) ->
    bad_versions(Versions);
key(sni_hosts, Hosts) ->
    hosts(Hosts, #{});
key(Key, _Value) ->
    unknown(Key, [{sni, sni_hosts}, verify, fail_if_no_peer_cert, versions, sni_hosts, cacertfile, cacerts | ?IDENTITY]).

%% PEM, or DER: no file has such a name.
-spec is_content(file:name_all()) -> boolean().
is_content(<<16#30, _, 2, 1, _/binary>>) -> true;
is_content(Name) when is_binary(Name) -> binary:match(Name, [<<"-----BEGIN ">>, <<0>>]) =/= nomatch;
is_content(Name) -> is_content(unicode:characters_to_binary(Name)).

-spec bad_versions(term()) -> no_return().
bad_versions(Versions) ->
    bad("versions: expected a list of 'tlsv1.2' and 'tlsv1.3', got ~0tp", [Versions]).

-spec unknown(term(), sockeye_bad_option:names()) -> no_return().
unknown(Key, Names) ->
    bad("~ts: ~ts", [sockeye_shown:short(Key), sockeye_bad_option:unknown(Key, Names)]).

-spec hosts(term(), #{binary() => map()}) -> #{binary() => map()}.
hosts([{Host, Identity} | Rest], Hosts) ->
    {Name, Checked} = host(Host, Identity),
    is_map_key(Name, Hosts) andalso bad("sni_hosts: ~ts is there twice", [Name]),
    hosts(Rest, Hosts#{Name => Checked});
hosts([], Hosts) ->
    Hosts;
hosts(_, _Hosts) ->
    bad("sni_hosts: expected a list of {Host, #{certfile, keyfile}}", []).

%% PEM text of what is that, or DER as ssl has it: the own certificate first, or any in their order.
-spec certificates(cert | cacerts, term()) -> binary().
certificates(_Key, <<16#30, _/binary>> = Der) ->
    pem("CERTIFICATE", Der);
certificates(_Key, Text) when is_binary(Text) ->
    Text;
certificates(Key, [_ | _] = List) ->
    try << <<(one(Key, Certificate))/binary>> || Certificate <- List >>
    catch error:_ -> no_certificate(Key)
    end;
certificates(Key, _Value) ->
    no_certificate(Key).

%% The second form is what public_key:cacerts_get/0 returns.
-spec one(cert | cacerts, term()) -> binary().
one(Key, Certificate) when is_binary(Certificate) -> certificates(Key, Certificate);
one(cacerts, {cert, <<16#30, _/binary>> = Der, _Decoded}) -> pem("CERTIFICATE", Der).

-spec no_certificate(cert | cacerts) -> no_return().
no_certificate(Key) ->
    bad("~ts: expected a certificate or a list of them, as DER, or PEM text as a binary", [Key]).

-spec private_key(term()) -> binary().
private_key(Text) when is_binary(Text) ->
    Text;
private_key(Fun) when is_function(Fun, 0) ->
    case sockeye_secret:value(Fun) of
        {ok, Value} when not is_function(Value) -> private_key(Value);
        {ok, _} -> bad_private_key();
        {crashed, Class} -> bad("key: the function crashed (~ts)", [Class])
    end;
private_key({Type, Der}) when is_binary(Der), Type =:= 'PrivateKeyInfo' orelse Type =:= 'RSAPrivateKey'
                                              orelse Type =:= 'ECPrivateKey' ->
    pem(case Type of
            'PrivateKeyInfo' -> "PRIVATE KEY";
            'RSAPrivateKey' -> "RSA PRIVATE KEY";
            'ECPrivateKey' -> "EC PRIVATE KEY"
        end, Der);
private_key(_Value) ->
    bad_private_key().

-spec bad_private_key() -> no_return().
bad_private_key() ->
    bad("key: expected {'PrivateKeyInfo' | 'RSAPrivateKey' | 'ECPrivateKey', Der}, PEM text as a binary, or a function that returns one of them", []).

-spec pem(string(), binary()) -> binary().
pem(What, Der) ->
    iolist_to_binary(["-----BEGIN ", What, "-----\n", lines(base64:encode(Der)), "-----END ", What, "-----\n"]).

-spec lines(binary()) -> iolist().
lines(<<Line:64/binary, Rest/binary>>) -> [Line, $\n | lines(Rest)];
lines(<<>>) -> [];
lines(Line) -> [Line, $\n].

-spec host(term(), term()) -> {binary(), map()}.
host(Host, Identity) when is_map(Identity), is_binary(Host); is_map(Identity), is_list(Host) ->
    Name = try string:lowercase(iolist_to_binary(Host))
           catch error:badarg -> bad("sni_hosts: ~0tp is not the name of a host", [Host])
           end,
    case maps:keys(maps:without(?IDENTITY, Identity)) of
        [] -> ok;
        [Key | _] -> bad("sni_hosts ~ts: ~ts: ~ts", [Name, sockeye_shown:short(Key), sockeye_bad_option:unknown(Key, ?IDENTITY)])
    end,
    Checked = maps:map(fun key/2, Identity),
    ok = identity(Checked, "sni_hosts " ++ binary_to_list(Name) ++ ": "),
    {Name, Checked};
host(Host, _Identity) ->
    bad("sni_hosts: expected {Host, #{certfile, keyfile}} for ~0tp", [Host]).

%% Whether there is a certificate for who asks for no host, or for one that is not listed. There need
%% not be where there are some by host.
-spec has_own(map()) -> boolean().
has_own(#{sni := Hosts} = Options) when map_size(Hosts) > 0 ->
    map_size(maps:with(?IDENTITY, Options)) > 0;
has_own(_Options) ->
    true.

%% One certificate and one key, each as a file or as text.
-spec identity(map(), string()) -> ok.
identity(Options, Where) ->
    case {maps:is_key(certfile, Options), maps:is_key(cert, Options)} of
        {true, true} -> bad("~tscertfile and cert are two ways to say the same", [Where]);
        {false, false} -> bad("~tscertfile (or cert) is missing", [Where]);
        _ -> ok
    end,
    case {maps:is_key(keyfile, Options), maps:is_key(key, Options)} of
        {true, true} -> bad("~tskeyfile and key are two ways to say the same", [Where]);
        {false, false} -> bad("~tskeyfile (or key) is missing", [Where]);
        _ -> ok
    end.

-spec is_text(term()) -> boolean().
is_text([_ | _] = Text) -> io_lib:char_list(Text);
is_text(_) -> false.

%% What the native library wants: PEM text only, and whether to offer HTTP/2.
-spec read(checked(), tls | cleartext | false) ->
          {ok, undefined | map()} | {error, sockeye_bad_option:bad_option()}.
read(undefined, _Http2) ->
    {ok, undefined};
read(#{verify := Verify, versions := Versions, sni := Hosts} = Options, Http2) ->
    try
        {ok, #{identity => case has_own(Options) of
                               true -> pair(Options, "");
                               false -> undefined
                           end,
               sni => [{Host, pair(Identity, "sni_hosts " ++ binary_to_list(Host) ++ ": ")}
                       || {Host, Identity} <- maps:to_list(Hosts)],
               cacertfile => case Options of
                                 #{cacertfile := File} -> file("cacertfile", File);
                                 #{cacerts := Text} -> Text();
                                 _ -> undefined
                             end,
               verify => Verify,
               versions => Versions,
               http2 => Http2 =/= false}}
    catch
        throw:{bad, Why} -> {error, sockeye_bad_option:option(tls, Why)}
    end.

-spec pair(map(), string()) -> {binary(), binary()}.
pair(Options, Where) ->
    Certificates = case Options of
                       #{certfile := CertFile} -> file(Where ++ "certfile", CertFile);
                       #{cert := Cert} -> Cert()
                   end,
    PrivateKey = case Options of
                     #{keyfile := KeyFile} -> file(Where ++ "keyfile", KeyFile);
                     #{key := Key} -> Key()
                 end,
    {Certificates, PrivateKey}.

-spec file(string(), file:name_all()) -> binary().
file(What, Name) ->
    case file:read_file(Name) of
        {ok, Text} -> Text;
        {error, Reason} -> bad("~ts ~ts: ~ts", [What, sockeye_file_name:shown(Name), file:format_error(Reason)])
    end.

%% The error of the native library, as everybody else's.
-spec listen(term()) -> term().
listen({error, {tls, Why}}) -> {error, sockeye_bad_option:option(tls, Why)};
listen(Other) -> Other.

%% Our own certificates, of a server or a client, and where each was found.
-spec own(checked(), undefined | map()) -> own().
own(Options, #{identity := Own} = Read) ->
    Hosts = case {Options, Read} of
                {#{sni := Checked}, #{sni := Pairs}} when is_list(Pairs) ->
                    [{source(["sni_hosts ", Host, ": "], maps:get(Host, Checked)), Pem} || {Host, {Pem, _}} <- Pairs];
                _ ->
                    []
            end,
    case Own of
        {Pem, _} -> [{source("", Options), Pem} | Hosts];
        undefined -> Hosts
    end;
own(_Options, undefined) ->
    [].

-spec source(iodata(), map()) -> binary().
source(Where, #{certfile := Name}) -> iolist_to_binary([Where, "certfile ", sockeye_file_name:shown(Name)]);
source(Where, _Options) -> iolist_to_binary([Where, "cert"]).

%% Says which of them are not valid today. They are used: the clock may be wrong, and it is the peer that decides.
-spec warn(sockeye_log_limit:scope(), map(), own()) -> ok.
warn(Scope, Facts, Certificates) ->
    Now = os:system_time(second),
    _ = [sockeye_log:event(warning, Scope, event(Kind),
                           Facts#{source => Source, place => Place, names => Names,
                                  date => calendar:system_time_to_universal_time(Date, second)})
         || {Source, Pem} <- Certificates,
            {Kind, Place, Date, Names} <- sockeye_pure:certificates_out_of_time(Pem, Now)],
    ok.

-spec event(expired | not_yet_valid) -> atom().
event(expired) -> certificate_expired;
event(not_yet_valid) -> certificate_not_yet_valid.
