%% @private
%% Options that restrict access: `origins', `paths', and rates.
-module(sockeye_access_options).

-export([origins/1]).
-export([paths/1]).
-export([rate/1]).

-define(ORIGINS, "any or a list of same_host, null, and origins like <<\"https://example.com\">>, "
        "<<\"https://*.example.com\">>, <<\"http://localhost:*\">> or <<\"file://\">>, without a path").
-define(PATHS, "any or a list of paths like <<\"/ws\">> or <<\"/rooms/*\">>, in which a % has two hexadecimal digits").

-spec origins(term()) -> {ok, any | [binary()]} | {error, binary()}.
origins(any) ->
    {ok, any};
origins(List) when is_list(List), List =/= [] ->
    rules(List, fun origin/1, ?ORIGINS);
origins(Value) ->
    {error, sockeye_bad_option:list(?ORIGINS, Value)}.

-spec paths(term()) -> {ok, any | [binary()]} | {error, binary()}.
paths(any) ->
    {ok, any};
paths(List) when is_list(List), List =/= [] ->
    rules(List, fun path/1, ?PATHS);
paths(Value) ->
    {error, sockeye_bad_option:list(?PATHS, Value)}.

-spec rate(term()) -> {ok, infinity | map()} | string() | {error, binary()}.
rate(infinity) ->
    {ok, infinity};
rate(#{rate := Rate} = Map) ->
    %% What was given: the burst would be as wrong as the rate.
    Wrong = [Key || {Key, V} <- maps:to_list(Map), not is_rate(Key, V)],
    case Wrong of
        [] ->
            {ok, maps:merge(#{burst => Rate}, Map)};
        [Key | _] ->
            {error, sockeye_shown:format("~ts in ~ts: expected rate and burst, each 1..1000000, and no other key",
                                      [sockeye_shown:short(Key), sockeye_shown:short(Map)])}
    end;
rate(_) ->
    "infinity, or a map of rate (connections a second) and burst (how many at once)".

-spec is_rate(term(), term()) -> boolean().
is_rate(Key, V) ->
    (Key =:= rate orelse Key =:= burst) andalso is_integer(V) andalso V >= 1 andalso V =< 1000000.

-spec rules([term()], fun((term()) -> binary()), string()) -> {ok, [binary()]} | {error, binary()}.
rules(List, Check, Expected) ->
    try {ok, [Check(Rule) || Rule <- List]}
    catch throw:{no_rule, Rule} ->
            {error, case io_lib:printable_unicode_list(List) of
                        true -> sockeye_bad_option:list(Expected, List);
                        false -> sockeye_bad_option:expected(Expected, Rule)
                    end};
          %% It is improper.
          error:{bad_generator, _} -> {error, sockeye_bad_option:expected(Expected, List)}
    end.

-spec origin(term()) -> binary().
origin(same_host) ->
    <<"same_host">>;
origin(null) ->
    <<"null">>;
origin(Rule) ->
    Text = text(Rule),
    %% Asked of the code that reads it when the server starts.
    case sockeye_pure:origin_rule(Text) of
        true -> Text;
        false -> throw({no_rule, Rule})
    end.

-spec path(term()) -> binary().
path(Rule) ->
    Path = text(Rule),
    case sockeye_pure:path_form(Path) of
        {ok, _} -> Path;
        error -> throw({no_rule, Rule})
    end.

-spec text(term()) -> binary().
text(Rule) ->
    try iolist_to_binary(Rule)
    catch error:badarg -> throw({no_rule, Rule})
    end.
