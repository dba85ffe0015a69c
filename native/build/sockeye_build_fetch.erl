%% A file over HTTP or HTTPS, with what every Erlang has that can fetch dependencies.
%%
%% The certificates of the system say whom to trust, or those in SSL_CERT_FILE. http_proxy, https_proxy and no_proxy are
%% heard. More bytes than are awaited are not read.
-module(sockeye_build_fetch).

-export([get/2]).

-define(CONNECT_MS, 10000).
-define(SILENT_MS, 20000).

-spec get(Url :: string(), Size :: non_neg_integer()) -> {ok, binary()} | {error, unicode:chardata()}.
get(Url, Size) ->
    %% What is wrong is said by us.
    ok = logger:set_primary_config(level, none),
    try
        started(),
        proxies(),
        is_url(uri_string:parse(Url)) orelse throw({why, [Url, " is no URL of http or https"]}),
        Options = [{connect_timeout, ?CONNECT_MS}, {ssl, tls(string:lowercase(Url))}],
        case httpc:request(get, {Url, []}, Options, [{sync, false}, {stream, {self, once}}]) of
            {ok, Request} -> received(Request, Url, Size);
            {error, Reason} -> not_had(Url, Reason)
        end
    catch
        throw:{why, Why} -> {error, Why}
    end.

is_url(#{scheme := Scheme, host := Host} = Url) when Host =/= "" ->
    lists:member(string:lowercase(Scheme), ["http", "https"]) andalso maps:get(port, Url, 80) < 65536;
is_url(_) ->
    false.

started() ->
    lists:foreach(fun(Application) ->
                          case application:ensure_all_started(Application) of
                              {ok, _} -> ok;
                              {error, _} -> throw({why, io_lib:format("this Erlang has no ~s (Debian: apt-get install erlang-~s)",
                                                                      [Application, Application])})
                          end
                  end, [inets, ssl]).

proxies() ->
    None = string:lexemes(hd([Value || Name <- ["no_proxy", "NO_PROXY"], Value <- [os:getenv(Name, "")], Value =/= ""] ++ [""]), ", "),
    Found = [{Option, {Address, None}} || {Option, Names} <- [{proxy, ["http_proxy", "HTTP_PROXY"]},
                                                              {https_proxy, ["https_proxy", "HTTPS_PROXY"]}],
                                          Address <- lists:sublist([A || Name <- Names, A <- address(os:getenv(Name, ""))], 1)],
    ok = httpc:set_options(Found).

address(Url) ->
    case uri_string:parse(Url) of
        #{host := Host, port := Port} when Host =/= "", is_integer(Port) -> [{Host, Port}];
        #{host := Host} when Host =/= "" -> [{Host, 80}];
        _ -> []
    end.

tls("https:" ++ _) ->
    [{verify, verify_peer}, {cacerts, trusted(sockeye_build:variable("SSL_CERT_FILE"))}, {depth, 10},
     {customize_hostname_check, [{match_fun, public_key:pkix_verify_hostname_match_fun(https)}]}];
tls(_) ->
    [].

trusted(none) ->
    try public_key:cacerts_get()
    catch error:_ -> throw({why, "this system has no certificates to trust (Debian: apt-get install ca-certificates)"})
    end;
trusted(File) ->
    case public_key:cacerts_load(File) of
        ok -> public_key:cacerts_get();
        {error, _} -> throw({why, ["there are no certificates to trust in ", File]})
    end.

received(Request, Url, Size) ->
    receive
        {http, {Request, stream_start, _Headers, Client}} ->
            streamed(Request, Client, Url, Size, []);
        {http, {Request, {{_, Status, Phrase}, _, _}}} ->
            {error, io_lib:format("~ts answers ~b ~ts", [Url, Status, Phrase])};
        {http, {Request, {error, Reason}}} ->
            not_had(Url, Reason)
    after ?CONNECT_MS + ?SILENT_MS ->
            {error, io_lib:format("~ts does not answer", [Url])}
    end.

streamed(Request, Client, Url, Left, Read) ->
    ok = httpc:stream_next(Client),
    receive
        {http, {Request, stream, Part}} when byte_size(Part) > Left ->
            ok = httpc:cancel_request(Request),
            {error, io_lib:format("~ts is longer than it should be", [Url])};
        {http, {Request, stream, Part}} ->
            streamed(Request, Client, Url, Left - byte_size(Part), [Read, Part]);
        {http, {Request, stream_end, _Headers}} ->
            {ok, iolist_to_binary(Read)};
        {http, {Request, {error, Reason}}} ->
            not_had(Url, Reason)
    after ?SILENT_MS ->
            {error, io_lib:format("~ts stopped in the middle", [Url])}
    end.

not_had(Url, Reason) ->
    {error, io_lib:format("~ts cannot be had: ~ts", [Url, reason(Reason)])}.

reason({failed_connect, Details}) ->
    case lists:keyfind(inet, 1, Details) of
        {inet, _, {tls_alert, {Alert, Text}}} -> not_trusted(Alert, string:find(Text, "hostname_check_failed"));
        {inet, _, Why} when is_atom(Why) -> inet:format_error(Why);
        _ -> io_lib:format("~0tp", [Details])
    end;
reason(Reason) ->
    io_lib:format("~0tp", [Reason]).

not_trusted(unknown_ca, _) -> "nobody whom this system trusts has signed its certificate";
not_trusted(Alert, nomatch) -> io_lib:format("TLS failed (~s)", [Alert]);
not_trusted(_, _) -> "its certificate is for another host".
