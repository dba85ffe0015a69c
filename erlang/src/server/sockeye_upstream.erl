%% @private
%% A web server behind this one: the target `{proxy, Url}' or `{proxy, {unix, Path}}' of a route, and its options.
-module(sockeye_upstream).

-export([parse/2]).

-export_type([upstream/0]).

-type upstream() :: #{to := {inet, binary()} | {unix, binary()}, atom() => term()}.

-define(MAX, 16#7fffffff).

%% With every key, as the engine wants it.
-spec parse(term(), term()) -> {ok, upstream()} | {error, binary()}.
parse(Where, Options) when is_map(Options) ->
    try
        To = to(Where),
        Checked = maps:map(fun(Key, Value) -> sockeye_bad_option:nested(Key, Value, check(Key, Value), maps:keys(defaults())) end, Options),
        {ok, maps:merge(defaults(), Checked#{to => To})}
    catch
        throw:{bad, Why} -> {error, Why}
    end;
parse(_Where, Options) ->
    {error, sockeye_bad_option:expected("a map of options behind the URL", Options)}.

-spec defaults() -> map().
defaults() ->
    #{connect_timeout => 5000,
      timeout => 60000,
      idle_timeout => 60000,
      keepalive => 4000,
      pool_size => 32,
      max_requests => 1024,
      max_body_size => infinity}.

-spec check(term(), term()) -> true | unknown | string().
check(connect_timeout, V) -> sockeye_options:time(V);
check(timeout, V) -> sockeye_options:time(V);
check(idle_timeout, V) -> sockeye_options:time(V);
check(keepalive, V) -> sockeye_options:time(V);
check(pool_size, V) -> is_integer(V) andalso V >= 0 andalso V =< 1024 orelse "0..1024";
check(max_requests, V) -> count(V);
check(max_body_size, V) -> count(V);
check(_, _) -> unknown.

-spec count(term()) -> true | string().
count(infinity) -> true;
count(V) -> is_integer(V) andalso V >= 1 andalso V =< ?MAX orelse "a positive integer below 2^31, or infinity".

-spec to(term()) -> {inet, binary()} | {unix, binary()}.
to({unix, Path}) ->
    case sockeye_options:unix_path(Path) of
        {ok, {local, Name}} -> {unix, Name};
        _ -> sockeye_bad_option:bad("~0tp is not the path of a Unix socket", [Path])
    end;
to(Url) ->
    try uri_string:parse(iolist_to_binary(Url)) of
        #{scheme := <<"https">>} ->
            sockeye_bad_option:bad("~ts: TLS is not spoken with a server behind, only http", [shown(Url)]);
        #{scheme := <<"http">>, host := Host, path := Path} = Parts
          when Path =:= <<>>; Path =:= <<"/">> ->
            [] =:= maps:keys(maps:without([scheme, host, port, path], Parts)) orelse bad_url(Url),
            {inet, authority(Url, Host, maps:get(port, Parts, 80))};
        _ ->
            bad_url(Url)
    catch
        error:_ -> bad_url(Url)
    end.

%% By the rules of URLs of a client.
-spec authority(term(), binary(), integer() | undefined) -> binary().
authority(Url, Host, Port) when is_integer(Port) ->
    Bracketed = case binary:match(Host, <<":">>) of
                    nomatch -> Host;
                    _ -> <<"[", Host/binary, "]">>
                end,
    Authority = <<Bracketed/binary, ":", (integer_to_binary(Port))/binary>>,
    case sockeye_pure:client_url(<<"ws://", Authority/binary>>) of
        {ok, _} -> Authority;
        {error, Why} -> sockeye_bad_option:bad("~ts: ~ts", [Url, Why])
    end;
authority(Url, _Host, _Port) ->
    bad_url(Url).

-spec bad_url(term()) -> no_return().
bad_url(Url) ->
    sockeye_bad_option:bad("~ts: expected \"http://HOST:PORT\" without a path, or {unix, Path}", [shown(Url)]).

%% There may be a password in it.
-spec shown(term()) -> binary().
shown(Url) ->
    try unicode:characters_to_binary(Url) of
        Text when is_binary(Text) -> sockeye_shown:short(sockeye_secret:masked(Text));
        _ -> sockeye_shown:short(Url)
    catch
        error:_ -> sockeye_shown:short(Url)
    end.
