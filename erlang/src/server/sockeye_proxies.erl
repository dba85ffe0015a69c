%% @private
%% The option `trusted_proxies': addresses and networks.
-module(sockeye_proxies).

-export([check/1]).

-export_type([network/0]).

-type network() :: {inet:ip_address(), Prefix :: 0..128}.

-define(EXPECTED, "a list of addresses and networks such as \"10.0.0.0/8\"").

%% What sockeye_options:check/2 answers.
-spec check(term()) -> {ok, [network()]} | {error, binary()}.
check(List) when is_list(List) ->
    try {ok, [network(Entry) || Entry <- List]}
    catch error:_ -> {error, sockeye_bad_option:list(?EXPECTED, List)}
    end;
check(Value) ->
    {error, sockeye_bad_option:list(?EXPECTED, Value)}.

-spec network(term()) -> network().
network(Text) when is_binary(Text) ->
    network(binary_to_list(Text));
network(Text) when is_list(Text) ->
    case string:split(Text, "/") of
        [Address] -> network(address(Address));
        [Address, Prefix] -> checked(address(Address), list_to_integer(Prefix))
    end;
network(Address) when tuple_size(Address) =:= 4 ->
    checked(Address, 32);
network(Address) when tuple_size(Address) =:= 8 ->
    checked(Address, 128).

-spec address(string()) -> inet:ip_address().
address(Text) ->
    %% What is known of a client is its address, without the interface.
    nomatch = string:find(Text, "%"),
    {ok, Address} = inet:parse_strict_address(Text),
    Address.

-spec checked(inet:ip_address(), integer()) -> network().
checked(Address, Prefix) ->
    true = inet:is_ip_address(Address),
    true = Prefix >= 0 andalso Prefix =< 8 * tuple_size(Address) * bytes(Address),
    {Address, Prefix}.

%% Of one element.
-spec bytes(inet:ip_address()) -> 1 | 2.
bytes(Address) when tuple_size(Address) =:= 4 -> 1;
bytes(_) -> 2.
