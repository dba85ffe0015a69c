%% @private
%% The option `tls' of a client: checks its form, and reads the files it names.
-module(sockeye_client_tls).

-export([check/1]).
-export([read/1]).

-export_type([checked/0]).

-import(sockeye_bad_option, [bad/2]).

-define(AS_FOR_A_SERVER, [certfile, cert, keyfile, key, cacertfile, cacerts, versions, verify]).

-type checked() :: #{atom() => term()}.
%% PEM text is inside a fun, so that no key appears in a log or a crash report.

-spec defaults() -> checked().
defaults() ->
    #{verify => peer, versions => ['tlsv1.2', 'tlsv1.3'], pin => [], server_name_indication => undefined}.

%% What sockeye_client_options wants: the option, a reason, or what was expected.
-spec check(term()) -> {ok, checked()} | {error, binary()}.
check(Options) when is_map(Options) ->
    try {ok, inner(complete(maps:merge(defaults(), maps:map(fun key/2, Options))))}
    catch throw:{bad, Why} -> {error, Why}
    end;
check(_) ->
    %% Not shown: there may be a key in it.
    {error, <<"expected a map with verify, cacertfile, certfile, keyfile, pin, server_name_indication or versions">>}.

-spec complete(checked()) -> checked().
complete(Options) ->
    ok = only_one(certfile, cert, Options),
    ok = only_one(keyfile, key, Options),
    ok = only_one(cacertfile, cacerts, Options),
    case {given([certfile, cert], Options), given([keyfile, key], Options)} of
        {true, false} -> bad("keyfile (or key) is missing", []);
        {false, true} -> bad("certfile (or cert) is missing", []);
        _ -> ok
    end,
    case Options of
        #{verify := none} ->
            given([cacertfile, cacerts], Options)
                andalso bad("cacertfile and cacerts have no meaning with verify => verify_none", []),
            Options;
        _ ->
            Options
    end.

%% As the native library has it.
-spec inner(checked()) -> checked().
inner(#{server_name_indication := Name} = Options) ->
    (maps:remove(server_name_indication, Options))#{sni => Name}.

-spec given([atom()], checked()) -> boolean().
given(Keys, Options) ->
    lists:any(fun(Key) -> is_map_key(Key, Options) end, Keys).

-spec only_one(atom(), atom(), checked()) -> ok.
only_one(A, B, Options) ->
    case Options of
        #{A := _, B := _} -> bad("~0tp and ~0tp are two ways to say the same", [A, B]);
        _ -> ok
    end.

-spec key(term(), term()) -> term().
key(verify, verify_peer) ->
    peer;
key(verify, verify_none) ->
    none;
key(server_name_indication, disable) ->
    false;
key(server_name_indication, Name) when is_binary(Name), Name =/= <<>>; is_list(Name), Name =/= [] ->
    try unicode:characters_to_binary(Name) of
        Binary when is_binary(Binary) -> Binary;
        _ -> bad_name(Name)
    catch
        error:badarg -> bad_name(Name)
    end;
key(server_name_indication, Name) ->
    bad_name(Name);
key(pin, [_ | _] = Pins) ->
    case io_lib:char_list(Pins) of
        true -> [pin(Pins)];
        false -> try [pin(Pin) || Pin <- Pins]
                 catch error:_ -> pin(Pins)
                 end
    end;
key(pin, Pin) ->
    [pin(Pin)];
key(Key, Value) ->
    case lists:member(Key, ?AS_FOR_A_SERVER) of
        true -> sockeye_tls:key(Key, Value);
        false -> sockeye_tls:unknown(Key, [{sni, server_name_indication}, {cacert, cacerts}, server_name_indication, pin | ?AS_FOR_A_SERVER])
    end.

-spec bad_name(term()) -> no_return().
bad_name(Name) ->
    bad("server_name_indication: expected the name of a host or disable, got ~0tp", [Name]).

%% As curl has it: "sha256//" and the Base64 of the hash of the public key.
-spec pin(term()) -> {spki | cert, <<_:256>>}.
pin({Kind, <<_:256>> = Hash}) when Kind =:= spki; Kind =:= cert ->
    {Kind, Hash};
pin(Text) ->
    try iolist_to_binary(Text) of
        <<"sha256//", Base64/binary>> ->
            case base64:decode(Base64) of
                <<_:256>> = Hash -> {spki, Hash};
                _ -> bad_pin(Text)
            end;
        _ ->
            bad_pin(Text)
    catch
        error:_ -> bad_pin(Text)
    end.

-spec bad_pin(term()) -> no_return().
bad_pin(Pin) ->
    bad("pin: expected {spki | cert, the 32 bytes of a SHA-256} or \"sha256//Base64\", got ~0tp", [Pin]).

%% What the native library wants: PEM text only.
-spec read(checked()) -> {ok, map()} | {error, sockeye_bad_option:bad_option()}.
read(Options) ->
    try
        Identity = case given([certfile, cert], Options) of
                       true -> {text(certfile, cert, Options), text(keyfile, key, Options)};
                       false -> undefined
                   end,
        Kept = maps:with([verify, versions, pin, sni], Options),
        {ok, Kept#{identity => Identity, cacertfile => text(cacertfile, cacerts, Options)}}
    catch
        throw:{bad, Why} -> {error, sockeye_bad_option:option(tls, Why)}
    end.

-spec text(atom(), atom(), checked()) -> binary() | undefined.
text(FileKey, TextKey, Options) ->
    case Options of
        #{FileKey := Name} -> sockeye_tls:file(atom_to_list(FileKey), Name);
        #{TextKey := Text} -> Text();
        _ -> undefined
    end.
