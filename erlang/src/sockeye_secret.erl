%% @private
%% A value that no log and no crash report shows, however it is printed.
%%
%% It is inside a fun, and not one of ours: OTP ends processes that hold a fun of code that is purged, and a
%% server with a key would be one of them when this module is loaded anew for the second time.
-module(sockeye_secret).

-export([hide/1]).

-spec hide(Value) -> fun(() -> Value).
hide(Value) ->
    Fun = {'fun', 1, {clauses, [{clause, 1, [], [], [{var, 1, 'Value'}]}]}},
    {value, Hidden, _} = erl_eval:expr(Fun, #{'Value' => Value}),
    Hidden.
