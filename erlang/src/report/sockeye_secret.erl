%% @private
%% What no log and no crash report shows: a value of ours, however it is printed, and that of a header by its name.
%%
%% The value is inside a fun, and not one of ours: once code is purged its funs cannot be called, and a server
%% with a key would crash at `sockeye:reload_tls/1' when this module had been loaded anew twice.
-module(sockeye_secret).

-export([hide/1, value/1, options/1, url/2, shown/1, masked/1]).
-export([is_name/1]).
-export([parts/0]).

%% Keys of options whose values are secrets, or may be; each may be a function that returns its value.
-define(SECRETS, [key, proxy, headers]).

%% What names of headers with secrets have in them: the engine has the same for what sockeye:info/1 gives (facts.rs).
-define(PARTS, [<<"auth">>, <<"cookie">>, <<"token">>, <<"secret">>, <<"key">>, <<"session">>, <<"password">>]).
%% No header has a longer name; to look through other binaries takes no longer.
-define(LONGEST_NAME, 256).

-spec hide(Value) -> fun(() -> Value).
hide(Value) ->
    {ok, Tokens, _} = erl_scan:string("fun() -> Value end."),
    {ok, Fun} = erl_parse:parse_exprs(Tokens),
    {value, Hidden, _} = erl_eval:exprs(Fun, [{'Value', Value}]),
    Hidden.

%% The value of an option that is given as such or by a function; or the class of the exception of that.
-spec value(term()) -> {ok, term()} | {crashed, error | exit | throw}.
value(Fun) when is_function(Fun, 0) ->
    try {ok, Fun()}
    catch Class:_ -> {crashed, Class}
    end;
value(Value) ->
    {ok, Value}.

%% Options as a supervisor may write them to the log when it starts a child, or when that ends.
-spec options(term()) -> term().
options(Options) when is_map(Options) ->
    maps:map(fun option/2, Options);
options(Options) ->
    Options.

-spec option(term(), term()) -> term().
option(_Key, Fun) when is_function(Fun) -> Fun;
option(tls, Tls) -> options(Tls);
option(sni_hosts, Hosts) when is_list(Hosts) -> [host(Host) || Host <- Hosts];
option(dashboard, Dashboard) -> options(Dashboard);
option(auth, {token, Token}) when not is_function(Token) -> {token, hide(Token)};
option(Key, Value) ->
    case lists:member(Key, ?SECRETS) of
        true -> hide(Value);
        false -> Value
    end.

-spec host(term()) -> term().
host({Name, Identity}) -> {Name, options(Identity)};
host(Other) -> Other.

%% A URL as a supervisor may write it to the log: hidden if there is more in it than what is shown of it: a user and password, or a query.
-spec url(sockeye_client:url(), Shown :: binary()) -> sockeye_client:url().
url(Fun, _Shown) when is_function(Fun) -> Fun;
url(Url, Shown) ->
    case iolist_to_binary(Url) of
        Shown -> Url;
        _ -> hide(Url)
    end.

%% A URL without user and password, and without the query, in which many services want a token.
-spec shown(binary()) -> binary().
shown(Url) ->
    without([{"^([^:]*://)[^/?]*@", "\\1"}, {"\\?.+$", "?(hidden)"}], Url).

%% A wrong URL, without what may be a user and a password in it, and without its query.
-spec masked(binary()) -> binary().
masked(Url) ->
    without([{"^([a-z0-9+.-]*://)?.*@", "\\1(hidden)@"}, {"\\?.*", "?(hidden)"}], Url).

-spec without([{Secret :: string(), Shown :: string()}], binary()) -> binary().
without(Parts, Url) ->
    lists:foldl(fun({Secret, Shown}, Text) -> re:replace(Text, Secret, Shown, [dotall, {return, binary}]) end, Url, Parts).

%% What such names have in them.
-spec parts() -> [binary()].
parts() -> ?PARTS.

%% Whether the value of a header of this name may be a secret. Other terms are no such name.
-spec is_name(term()) -> boolean().
is_name(Name) when is_binary(Name), byte_size(Name) =< ?LONGEST_NAME ->
    binary:match(<< <<(lower(Byte))>> || <<Byte>> <= Name >>, ?PARTS) =/= nomatch;
is_name([First | _] = Name) when is_integer(First) ->
    %% As a string in options and answers.
    try iolist_size(Name) =< ?LONGEST_NAME andalso is_name(iolist_to_binary(Name))
    catch error:_ -> false
    end;
is_name(_Other) ->
    false.

-spec lower(byte()) -> byte().
lower(Byte) when Byte >= $A, Byte =< $Z -> Byte + 32;
lower(Byte) -> Byte.
