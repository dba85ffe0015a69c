%% @private
%% Options of a client: those it shares with servers are checked there, its own
%% here, one clause a key, nothing ignored.
-module(sockeye_client_options).

-export([parse/4]).

%% What means the same for both ends of a connection.
-define(SHARED, [name, deflate, control_frames, message_rate, batch, active, format, keys, null, objects, encoder,
                 max_depth, on_invalid_json, max_message_size, max_frame_size, max_fragments, inbox_size,
                 send_queue_size, send_timeout, close_timeout, idle_timeout,
                 ping_interval, pong_timeout, max_age, subprotocols]).

-define(MAX, 16#7fffffff).
%% More of a request is a mistake, and nothing that a server would take.
-define(LONGEST_URL, 8192).
-define(MOST_HEADERS, 1000).
-define(LONGEST_NAME, 1024).
-define(LONGEST_VALUE, 65536).
-define(MOST_BYTES, 1048576).

%% Written by the handshake, or options of their own.
-define(RESERVED, [<<"connection">>, <<"upgrade">>, <<"content-length">>,
                   <<"transfer-encoding">>, <<"sec-websocket-key">>,
                   <<"sec-websocket-version">>, <<"sec-websocket-extensions">>,
                   <<"sec-websocket-protocol">>]).

-type bad() :: sockeye_bad_option:bad_option() | {bad_url, Why :: binary()} | tuple().

-spec defaults() -> map().
defaults() ->
    #{connect_timeout => 10000,
      headers => [],
      host => undefined,
      proxy => undefined,
      tls => element(2, sockeye_client_tls:check(#{})),
      max_redirects => 0,
      reconnect => false}.

%% The configuration as `sockeye_backend:client_open/1' wants it, and `reconnect'.
-spec parse(term(), term(), map(), pid()) -> {ok, map()} | {error, bad()}.
parse(_Url, {sockeye_websock, _}, _Options, _Owner) ->
    {error, sockeye_bad_option:option(handler, "sockeye_websock is for a server")};
parse(Url, Handler, Options, Owner) ->
    Shared = maps:with(?SHARED, Options),
    try agree(url(Url), maps:map(fun checked/2, maps:without(?SHARED, Options))) of
        {Text, Given} ->
            case sockeye_options:parse(Shared#{handler => Handler}, Owner) of
                {ok, Config} -> {ok, complete(Text, maps:merge(defaults(), Given), Config)};
                {error, _} = Error -> Error
            end
    catch
        throw:Bad -> {error, Bad};
        error:{sockeye_port, _, _} = Reason -> {error, sockeye_engine:reason(Reason)}
    end.

-spec complete(binary(), map(), map()) -> map().
complete(Url, #{reconnect := Reconnect, max_redirects := Redirects} = Own, Config) ->
    Dial = maps:with([connect_timeout, headers, host, proxy, tls], Own),
    Config#{dial => Dial#{url => Url, redirects => Redirects}, url => sockeye_secret:shown(Url), reconnect => Reconnect, alone => false}.

%% What depends on the URL.
-spec agree(binary(), map()) -> {binary(), map()}.
agree(Url, #{proxy := _} = Given) ->
    case re:run(Url, "^ws[+]unix:", [caseless]) of
        {match, _} -> throw(sockeye_bad_option:option(proxy, "a Unix socket is not reached through a proxy"));
        nomatch -> {Url, Given}
    end;
agree(Url, Given) ->
    {Url, Given}.

-spec url(term()) -> binary().
url(Given) ->
    case by_value(Given, fun(Url) -> {ok, url_text(Url)} end) of
        {ok, Text} -> Text;
        {error, Why} -> throw({bad_url, Why})
    end.

-spec url_text(term()) -> binary().
url_text(Url) ->
    %% Letters beyond ASCII are told what they should be, in a string as in a binary.
    Text = try unicode:characters_to_binary(Url) of
               Binary when is_binary(Binary) -> Binary;
               _ -> throw({bad_url, <<"expected ASCII text">>})
           catch error:badarg -> throw({bad_url, <<"expected ASCII text">>})
           end,
    byte_size(Text) =< ?LONGEST_URL orelse throw({bad_url, <<"longer than 8192 bytes">>}),
    try sockeye_pure:client_url(Text) of
        {ok, _} -> Text;
        {error, Why} -> throw({bad_url, sockeye_shown:format("~ts, got ~ts", [Why, sockeye_shown:short(sockeye_secret:masked(Text))])})
    catch
        error:badarg -> throw({bad_url, <<"expected ASCII text">>});
        %% The library is not there.
        error:{sockeye_nif, _, _} = Reason -> throw(Reason)
    end.

-spec checked(term(), term()) -> term().
checked(Key, Value) ->
    sockeye_bad_option:checked(Key, Value, check(Key, Value), fun names/0).

-spec names() -> sockeye_bad_option:names().
names() ->
    Own = ?SHARED ++ maps:keys(defaults()),
    [{redirects, max_redirects} | Own] ++ sockeye_other_options:client()
        ++ [{Key, hint, "that is an option of a server"} || Key <- sockeye_options:keys() -- Own].

%% true, a parsed value, a whole reason, or the name of what was expected.
-spec check(term(), term()) -> true | {ok, term()} | {error, unicode:chardata()} | unknown | unicode:chardata().
check(connect_timeout, V) -> sockeye_options:time(V);
check(headers, V) -> by_value(V, fun headers/1);
check(host, V) -> host(V);
check(tls, V) -> sockeye_client_tls:check(V);
check(proxy, V) -> by_value(V, fun proxy/1);
check(max_redirects, V) -> is_integer(V) andalso V >= 0 andalso V =< 20 orelse "0..20";
check(reconnect, V) -> reconnect(V);
check(_Key, _V) -> unknown.

%% What may be a secret may come from a function: a supervisor writes the options of a child to the log.
-spec by_value(term(), fun((term()) -> Checked)) -> Checked | {error, binary()}.
by_value(Given, Check) ->
    case sockeye_secret:value(Given) of
        {ok, Value} -> Check(Value);
        {crashed, Class} -> {error, sockeye_shown:format("the function crashed (~ts)", [Class])}
    end.

-spec positive(term()) -> boolean().
positive(V) ->
    is_integer(V) andalso V >= 1 andalso V =< ?MAX.

-spec headers(term()) -> {ok, [{binary(), binary()}]} | {error, binary()}.
headers(List) when is_list(List) ->
    try
        Headers = [header(Name, Value) || {Name, Value} <- pairs(List, ?MOST_HEADERS)],
        true = lists:sum([byte_size(Name) + byte_size(Value) || {Name, Value} <- Headers]) =< ?MOST_BYTES,
        {ok, Headers}
    catch
        throw:host -> {error, <<"Host is given by the option host: it is sent to the server of the URL only">>};
        error:_ -> headers(undefined)
    end;
headers(_) ->
    %% Not shown: there may be a password or a cookie in it.
    {error, <<"expected a list of {Name, Value} without line breaks, and no header of the handshake; at most 1,000 of them, names of "
              "1,024 bytes and values of 65,536, 1 MiB in all">>}.

-spec pairs(term(), non_neg_integer()) -> [{term(), term()}].
pairs([{_, _} = Pair | Rest], Left) when Left > 0 -> [Pair | pairs(Rest, Left - 1)];
pairs([], _Left) -> [].

-spec header(iodata(), iodata()) -> {binary(), binary()}.
header(Name, Value) ->
    NameBin = iolist_to_binary(Name),
    ValueBin = iolist_to_binary(Value),
    true = byte_size(NameBin) =< ?LONGEST_NAME andalso byte_size(ValueBin) =< ?LONGEST_VALUE,
    true = sockeye_options:is_token(NameBin),
    true = is_list(unicode:characters_to_list(ValueBin)),
    false = lists:any(fun is_control/1, binary_to_list(ValueBin)),
    Low = string:lowercase(NameBin),
    %% A redirect takes headers along, and there may be only one Host.
    Low =/= <<"host">> orelse throw(host),
    false = lists:member(Low, ?RESERVED),
    {NameBin, ValueBin}.

-spec host(term()) -> {ok, binary()} | string().
host(Value) ->
    try iolist_to_binary(Value) of
        Host when byte_size(Host) =< ?LONGEST_URL ->
            case sockeye_pure:client_host(Host) of
                true -> {ok, Host};
                false -> host()
            end;
        _ ->
            host()
    catch
        error:badarg -> host()
    end.

-spec host() -> string().
host() ->
    "a host and maybe a port, as in a URL, like \"example.com:8080\"".

-spec is_control(byte()) -> boolean().
is_control($\t) -> false;
is_control(C) -> C < 32 orelse C =:= 127.

%% Not shown: there may be a password in it.
-spec proxy(term()) -> {ok, binary()} | {error, binary()}.
proxy(Url) ->
    try
        Text = iolist_to_binary(Url),
        {Text, byte_size(Text) =< ?LONGEST_URL andalso sockeye_pure:client_proxy(Text)}
    of
        {Text, ok} ->
            {ok, Text};
        {_, false} ->
            {error, <<"expected the URL of a proxy, as text of at most 8,192 bytes">>};
        {_, {error, Why}} ->
            {error, sockeye_shown:format("expected http or socks5://[user:password@]host[:port] (~ts)", [Why])}
    catch
        error:badarg -> {error, <<"expected the URL of a proxy, as text">>}
    end.

-spec reconnect(term()) -> true | {ok, false | map()} | {error, binary()} | string().
reconnect(false) ->
    true;
reconnect(true) ->
    reconnect(#{});
reconnect(Map) when is_map(Map) ->
    Full = maps:merge(reconnect_defaults(), Map),
    case [Why || {Key, Value} <- lists:sort(maps:to_list(Map)), Why <- reconnect(Key, Value)] of
        [Why | _] ->
            {error, Why};
        [] ->
            case Full of
                #{initial_interval := First, max_interval := Most} when First =< Most -> {ok, Full};
                #{initial_interval := First, max_interval := Most} ->
                    {error, sockeye_shown:format("initial_interval (~b) is longer than max_interval (~b)", [First, Most])}
            end
    end;
reconnect(_) ->
    "a boolean or a map".

-spec reconnect_defaults() -> map().
reconnect_defaults() ->
    #{initial_interval => 100, max_interval => 30000, max_attempts => infinity, send_when_down => refuse}.

%% What is wrong with a key of the map.
-spec reconnect(term(), term()) -> [binary()].
reconnect(Key, Value) ->
    case reconnect_key(Key, Value) of
        true -> [];
        unknown -> [sockeye_shown:format("~ts: ~ts", [sockeye_shown:short(Key), sockeye_bad_option:unknown(Key, [{min_interval, initial_interval}, {queue, send_when_down} | maps:keys(reconnect_defaults())])])];
        Expected -> [sockeye_shown:format("~tp: ~ts", [Key, sockeye_bad_option:expected(Expected, Value)])]
    end.

-spec reconnect_key(term(), term()) -> true | unknown | string().
reconnect_key(initial_interval, V) -> positive(V) orelse "milliseconds below 2^31";
reconnect_key(max_interval, V) -> positive(V) orelse "milliseconds below 2^31";
reconnect_key(max_attempts, V) -> V =:= infinity orelse positive(V) orelse "a positive integer below 2^31, or infinity";
reconnect_key(send_when_down, V) -> V =:= refuse orelse V =:= keep orelse "refuse or keep";
reconnect_key(_Key, _V) -> unknown.
