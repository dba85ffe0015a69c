%% @private
%% A value that no log and no crash report shows, however it is printed.
%%
%% It is inside a fun, and not one of ours: once code is purged its funs cannot be called, and a server
%% with a key would crash at `sockeye:reload_tls/1' when this module had been loaded anew twice.
-module(sockeye_secret).

-export([hide/1]).

-spec hide(Value) -> fun(() -> Value).
hide(Value) ->
    {ok, Tokens, _} = erl_scan:string("fun() -> Value end."),
    {ok, Fun} = erl_parse:parse_exprs(Tokens),
    {value, Hidden, _} = erl_eval:exprs(Fun, [{'Value', Value}]),
    Hidden.
