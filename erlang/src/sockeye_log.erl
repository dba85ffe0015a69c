%% @private
%% Everything goes through `logger' as a map, in the domain `[sockeye]', so that
%% a filter can route or silence it.
-module(sockeye_log).

-export([event/3]).
-export([format/1]).

-spec event(logger:level(), atom(), map()) -> ok.
event(Level, What, Detail) ->
    logger:log(Level, Detail#{what => What},
               #{domain => [sockeye], report_cb => fun ?MODULE:format/1}).

-spec format(logger:report()) -> {io:format(), [term()]}.
format(#{what := What} = Report) ->
    {"sockeye: ~ts~ts", [What, pairs(maps:to_list(maps:remove(what, Report)))]};
format(Report) ->
    {"sockeye: ~tp", [Report]}.

-spec pairs([{term(), term()}]) -> iolist().
pairs(Pairs) ->
    [io_lib:format(", ~tp: ~tp", [Key, Value]) || {Key, Value} <- Pairs].
