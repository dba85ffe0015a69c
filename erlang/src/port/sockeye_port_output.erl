%% @private
%% Lines that the engine's process writes to its output. Those since the last ping go to the log with the next one, and the
%% last few are kept for the report of its end.
-module(sockeye_port_output).

-export([new/0]).
-export([add/2]).
-export([log/1]).
-export([last/1]).

-export_type([output/0]).

%% Lines that are kept.
-define(LINES, 5).
%% Lines that may come between two pings.
-define(MOST_LINES, 1000).

%% The last line first: before and since the last ping, and how many since then.
-record(output, {before = [] :: [binary()], since = [] :: [binary()], count = 0 :: non_neg_integer()}).

-opaque output() :: #output{}.

-spec new() -> output().
new() ->
    #output{}.

-spec add(binary(), output()) -> output() | too_many.
add(_Line, #output{count = ?MOST_LINES}) ->
    too_many;
add(Line, #output{since = Since, count = Count} = Output) ->
    Output#output{since = [Line | lists:sublist(Since, ?LINES - 1)], count = Count + 1}.

%% Logs what has come since the last ping.
-spec log(output()) -> output().
log(#output{since = Since} = Output) ->
    lists:foreach(fun(Line) -> sockeye_log:event(level(Line), engine, engine_said, #{line => Line}) end, lists:reverse(Since)),
    #output{before = last(Output)}.

-spec last(output()) -> [binary()].
last(#output{before = Before, since = Since}) ->
    lists:sublist(Since ++ Before, ?LINES).

-spec level(binary()) -> logger:level().
level(Line) ->
    case binary:match(Line, [<<"panic">>, <<"memory allocation">>]) of
        nomatch -> warning;
        _ -> error
    end.
