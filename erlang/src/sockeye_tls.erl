%% @private
%% The option `tls': checks its form, and reads the files it names.
-module(sockeye_tls).

-export([check/1]).
-export([read/2]).
-export([listen/1]).
%% For the client's option of that name, too.
-export([key/2]).
-export([file/2]).

-export_type([checked/0]).

-type checked() :: undefined | #{atom() => term()}.
%% PEM text is inside a fun, so that no key appears in a log or a crash report.

-define(IDENTITY, [certfile, keyfile, cert, key]).

%% What sockeye_options:check/2 answers: the option, a reason, or what was expected.
-spec check(term()) -> {ok, checked()} | {error, binary()} | string().
check(undefined) ->
    {ok, undefined};
check(Options) when is_map(Options) ->
    try {ok, complete(maps:map(fun key/2, Options))}
    catch throw:{bad, Why} -> {error, Why}
    end;
check(_) ->
    %% Not shown: there may be a key in it.
    {error, <<"expected a map with certfile and keyfile, or cert and key">>}.

-spec complete(map()) -> checked().
complete(Options) ->
    ok = identity(Options, ""),
    Defaults = #{verify => none, versions => ['tlsv1.2', 'tlsv1.3'], sni => #{}},
    case maps:merge(Defaults, Options) of
        #{verify := none, cacertfile := _} ->
            bad("cacertfile has no meaning without verify => optional or required", []);
        #{verify := Verify} = Complete when Verify =:= none; is_map_key(cacertfile, Options) ->
            Complete;
        #{verify := Verify} ->
            bad("verify => ~0tp needs a cacertfile", [Verify])
    end.

-spec key(term(), term()) -> term().
key(Key, Value) when Key =:= certfile; Key =:= keyfile; Key =:= cacertfile ->
    case is_binary(Value) andalso Value =/= <<>> orelse is_text(Value) of
        true -> Value;
        false -> bad("~ts: expected the name of a file, got ~0tp", [Key, Value])
    end;
key(Key, Value) when Key =:= cert; Key =:= key ->
    %% Not shown: it may be what should have been a key.
    case is_binary(Value) of
        true -> sockeye_secret:hide(Value);
        false -> bad("~ts: expected PEM text as a binary", [Key])
    end;
key(verify, Value) when Value =:= none; Value =:= optional; Value =:= required ->
    Value;
key(verify, Value) ->
    bad("verify: expected none, optional or required, got ~0tp", [Value]);
key(versions, [_ | _] = Versions) ->
    case catch Versions -- ['tlsv1.2', 'tlsv1.3', 'tlsv1.2', 'tlsv1.3'] of
        [] -> Versions;
        _ -> bad("versions: expected a list of 'tlsv1.2' and 'tlsv1.3', got ~0tp", [Versions])
    end;
key(versions, Versions) ->
    bad("versions: expected a list of 'tlsv1.2' and 'tlsv1.3', got ~0tp", [Versions]);
key(sni, Hosts) when is_map(Hosts) ->
    maps:from_list([host(Host, Identity) || {Host, Identity} <- maps:to_list(Hosts)]);
key(sni, _Hosts) ->
    bad("sni: expected a map of host => #{certfile, keyfile}", []);
key(Key, _Value) ->
    bad("unknown key ~0tp", [Key]).

-spec host(term(), term()) -> {binary(), map()}.
host(Host, Identity) when is_map(Identity), is_binary(Host); is_map(Identity), is_list(Host) ->
    Name = try iolist_to_binary(Host)
           catch error:badarg -> bad("sni: ~0tp is not the name of a host", [Host])
           end,
    case maps:keys(maps:without(?IDENTITY, Identity)) of
        [] -> ok;
        [Key | _] -> bad("sni ~ts: unknown key ~0tp", [Name, Key])
    end,
    Checked = maps:map(fun key/2, Identity),
    ok = identity(Checked, "sni " ++ binary_to_list(Name) ++ ": "),
    {Name, Checked};
host(Host, _Identity) ->
    bad("sni: expected host => #{certfile, keyfile} for ~0tp", [Host]).

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

-spec bad(string(), [term()]) -> no_return().
bad(Format, Args) ->
    throw({bad, sockeye_why:text(Format, Args)}).

%% What the native library wants: PEM text only, and whether to offer HTTP/2.
-spec read(checked(), tls | cleartext | false) ->
          {ok, undefined | map()} | {error, sockeye_why:bad_option()}.
read(undefined, _Http2) ->
    {ok, undefined};
read(#{verify := Verify, versions := Versions, sni := Hosts} = Options, Http2) ->
    try
        {ok, #{identity => pair(Options, ""),
               sni => [{Host, pair(Identity, "sni " ++ binary_to_list(Host) ++ ": ")}
                       || {Host, Identity} <- maps:to_list(Hosts)],
               cacertfile => case Options of
                                 #{cacertfile := File} -> file("cacertfile", File);
                                 _ -> undefined
                             end,
               verify => Verify,
               versions => Versions,
               http2 => Http2 =/= false}}
    catch
        throw:{bad, Why} -> {error, sockeye_why:option(tls, Why)}
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
        {error, Reason} -> bad("~ts ~ts: ~ts", [What, Name, file:format_error(Reason)])
    end.

%% The error of the native library, as everybody else's.
-spec listen(term()) -> term().
listen({error, {tls, Why}}) -> {error, sockeye_why:option(tls, Why)};
listen(Other) -> Other.
