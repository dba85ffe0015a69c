%% Certificates for a test, as PEM text and as files in a folder of its own.
-module(test_certs).

-include_lib("public_key/include/public_key.hrl").

-export([tests/4]).
-export([authority/1]).
-export([issue/2]).
-export([issue/3]).
-export([identity/1]).
-export([localhost/0]).
-export([pem/1]).
-export([key_pem/1]).
-export([encrypted_key_pem/1]).
-export([der/1]).
-export([cacerts/1]).
-export([in_folder/1]).
-export([write/2]).

%% Tests that share what Make makes once, while an application runs, and their limit in seconds.
tests(App, Make, Tests, Seconds) ->
    {setup, fun() -> {ok, Started} = application:ensure_all_started(App), {Started, Make()} end,
     fun({Started, _}) -> [application:stop(One) || One <- lists:reverse(Started)] end,
     fun({_, Made}) -> [{lists:flatten(Name), {timeout, Seconds, fun() -> Test(Made) end}} || {Name, Test} <- Tests] end}.

%% Made once for each name, since a key takes long. RSA: public_key gives the ECDSA algorithm a parameter that it must not have, and
%% rustls minds.
authority(Name) ->
    case persistent_term:get({?MODULE, Name}, none) of
        none ->
            Key = public_key:generate_key({rsa, 2048, 65537}),
            Made = with_null(public_key:pkix_test_root_cert(Name, [{key, Key}, {digest, sha256}])),
            ok = persistent_term:put({?MODULE, Name}, Made),
            Made;
        Made ->
            Made
    end.

%% With the NULL that an RSA key has as its parameters: public_key of OTP 29 leaves it out, and rustls minds.
with_null(#{cert := Der, key := Key} = Made) ->
    #'OTPCertificate'{tbsCertificate = Body} = public_key:pkix_decode_cert(Der, otp),
    #'OTPTBSCertificate'{subjectPublicKeyInfo = #'OTPSubjectPublicKeyInfo'{algorithm = Algorithm} = Info} = Body,
    Whole = Info#'OTPSubjectPublicKeyInfo'{algorithm = Algorithm#'PublicKeyAlgorithm'{parameters = 'NULL'}},
    Made#{cert := public_key:pkix_sign(Body#'OTPTBSCertificate'{subjectPublicKeyInfo = Whole}, Key)}.

%% A certificate for these host names, signed by the authority.
issue(Authority, Hosts) ->
    issue(Authority, Hosts, []).

%% The same with options of public_key, such as {validity, {From, To}}, for the server's.
issue(#{cert := _, key := _} = Authority, Hosts, Options) ->
    Names = #'Extension'{extnID = ?'id-ce-subjectAltName',
                         extnValue = [{dNSName, Host} || Host <- Hosts],
                         critical = false},
    Key = fun() -> [{key, public_key:generate_key({namedCurve, secp256r1})}, {digest, sha256}] end,
    Data = public_key:pkix_test_data(
             #{server_chain => #{root => Authority, intermediates => [],
                                 peer => [{extensions, [Names]} | Key()] ++ Options},
               client_chain => #{root => Authority, intermediates => [], peer => Key()}}),
    #{server_config := Server, client_config := Client} = Data,
    #{server => Server, client => Client}.

%% The option `tls' of a server that is localhost.
localhost() ->
    #{server := Config} = issue(authority("authority"), ["localhost"]),
    identity(Config).

%% As the option `tls' wants it.
identity(Config) ->
    #{cert => pem(der(Config)), key => key_pem(Config)}.

der(Config) ->
    proplists:get_value(cert, Config).

pem(Ders) when is_list(Ders) ->
    public_key:pem_encode([{'Certificate', Der, not_encrypted} || Der <- Ders]);
pem(Der) ->
    pem([Der]).

key_pem(Config) ->
    {Type, Der} = proplists:get_value(key, Config),
    public_key:pem_encode([{Type, Der, not_encrypted}]).

encrypted_key_pem(Config) ->
    {Type, Der} = proplists:get_value(key, Config),
    Key = public_key:der_decode(Type, Der),
    Cipher = {"AES-256-CBC", crypto:strong_rand_bytes(16)},
    public_key:pem_encode([public_key:pem_entry_encode('ECPrivateKey', Key, {Cipher, "secret"})]).

cacerts(#{cert := Der}) ->
    [Der].

in_folder(Test) ->
    %% Not "sockeye-": with that folder in the code path, Erlang takes it for the application's.
    Name = "test-sockeye-" ++ os:getpid() ++ "-" ++ integer_to_list(erlang:unique_integer([positive])),
    Folder = filename:join(os:getenv("TMPDIR", "/tmp"), Name),
    ok = file:make_dir(Folder),
    try Test(fun(File) -> filename:join(Folder, File) end)
    after
        ok = file:del_dir_r(Folder)
    end.

%% A certificate and its key, as cert.pem and key.pem of that folder.
write(File, Config) ->
    ok = file:write_file(File("cert.pem"), pem(der(Config))),
    ok = file:write_file(File("key.pem"), key_pem(Config)).
