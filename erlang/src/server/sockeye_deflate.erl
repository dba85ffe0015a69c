%% @private
%% The option `deflate': what is wanted of permessage-deflate (RFC 7692).
-module(sockeye_deflate).

-export([check/1]).

-define(RENAMED, [{server_takeover, server_context_takeover}, {client_takeover, client_context_takeover}]).

-spec defaults() -> map().
defaults() ->
    #{server_context_takeover => false,
      client_context_takeover => false,
      server_max_window_bits => 15,
      client_max_window_bits => 15,
      level => 2,
      mem_level => 5,
      threshold => 64}.

%% `false' or a map with every key; else what was expected.
-spec check(term()) -> {ok, false | map()} | {error, binary()} | string().
check(false) -> {ok, false};
check(true) -> {ok, defaults()};
check(Map) when is_map(Map) ->
    case [Why || {Key, Value} <- lists:sort(maps:to_list(Map)), Why <- wrong(Key, Value)] of
        [] -> {ok, maps:merge(defaults(), Map)};
        [Why | _] -> {error, Why}
    end;
check(_) -> "a boolean or a map".

-spec wrong(term(), term()) -> [binary()].
wrong(Key, Value) ->
    case key(Key, Value) of
        true -> [];
        unknown -> [sockeye_shown:format("~ts: ~ts", [sockeye_shown:short(Key), sockeye_bad_option:unknown(Key, ?RENAMED ++ maps:keys(defaults()))])];
        Expected -> [sockeye_shown:format("~tp: ~ts", [Key, sockeye_bad_option:expected(Expected, Value)])]
    end.

-spec key(term(), term()) -> true | unknown | unicode:chardata().
key(server_context_takeover, V) -> is_boolean(V) orelse "a boolean";
key(client_context_takeover, V) -> is_boolean(V) orelse "a boolean";
key(server_max_window_bits, V) -> within(V, 9, 15);
key(client_max_window_bits, V) -> within(V, 9, 15);
key(level, V) -> within(V, 1, 9);
key(mem_level, V) -> within(V, 1, 9);
key(threshold, V) -> within(V, 0, 16#7fffffff);
key(_, _) -> unknown.

-spec within(term(), integer(), integer()) -> true | binary().
within(V, Least, Most) ->
    is_integer(V) andalso V >= Least andalso V =< Most orelse sockeye_shown:format("~b..~b", [Least, Most]).
