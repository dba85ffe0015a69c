%% The files of docs/monitoring use names and labels that the metrics of a server have.
-module(sockeye_monitoring_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

%% What Prometheus itself adds.
-define(OF_PROMETHEUS, [<<"instance">>, <<"job">>]).

file(Name) ->
    {ok, Text} = file:read_file(path(Name)),
    Text.

path(Name) -> filename:join([test_support:root(), "docs/monitoring", Name]).

%% What a server says: each name with its labels and their values.
said() ->
    test_support:with_server(#{metrics => "/metrics"}, fun(Port, _) ->
        {200, _, Text} = http_client:get(Port, "/metrics"),
        Lines = [Line || Line <- binary:split(Text, <<"\n">>, [global, trim]), binary:first(Line) =/= $#],
        lists:foldl(fun(Line, Sofar) ->
                            {match, [Name | Labels]} = re:run(Line, "^(\\w+)(?:{(.*)})? ", [{capture, all_but_first, binary}]),
                            maps:update_with(Name, fun(Old) -> Old ++ pairs(Labels) end, pairs(Labels), Sofar)
                    end, #{}, Lines)
    end).

pairs(Texts) -> [{Label, Value} || [Label, Value] <- found(iolist_to_binary(Texts), "(\\w+)=~?\"([^\"]*)\"")].

found(Text, Pattern) ->
    case re:run(Text, Pattern, [global, {capture, all_but_first, binary}]) of
        {match, Found} -> Found;
        nomatch -> []
    end.

%% All values of this key, however deep.
values(Key, #{} = Map) ->
    [Value || #{Key := Value} <- [Map]] ++ lists:append([values(Key, Value) || Value <- maps:values(Map)]);
values(Key, List) when is_list(List) -> lists:append([values(Key, Value) || Value <- List]);
values(_Key, _Other) -> [].

dashboard() ->
    {ok, Dashboard} = sockeye_json:decode(file("grafana.json")),
    Dashboard.

%% Panels: their expressions, each with what its legend names.
panels() ->
    [{Expr, Legend} || #{<<"expr">> := Expr, <<"legendFormat">> := Legend} <- lists:append(values(<<"targets">>, dashboard()))].

%% Rules: the name, the expression, and what stands behind it.
rules() ->
    [_ | Rules] = re:split(file("alerts.yml"), "^      - alert: ", [multiline]),
    [begin
         {match, [Name, Expr, Rest]} = re:run(Rule, "^(\\w+)\n        expr: (.*)\n((?:.*\n)*)$", [{capture, all_but_first, binary}]),
         {Name, Expr, Rest}
     end || Rule <- Rules].

%% What is wrong with an expression and the texts about it.
wrong({Expr, Text}, Said) ->
    Used = [{Name, pairs(Matchers)} || [Name | Matchers] <- found(Expr, "\\b(sockeye_\\w+)({[^}]*})?")],
    Labels = [Label || {Name, _} <- Used, {Label, _} <- maps:get(Name, Said, [])] ++ ?OF_PROMETHEUS,
    Grouped = [Label || [Inside] <- found(Expr, "\\b(?:by|on) \\(([^)]*)\\)"), Label <- re:split(Inside, ", *", [trim])],
    Named = [Label || [Label] <- found(Text, "{{ ?(?:\\$labels\\.)?(\\w+) ?(?:\\|[^}]*)?}}")],
    [{name, Name} || {Name, _} <- Used, not is_map_key(Name, Said)] ++
    [{label, Label} || Label <- Grouped ++ Named, not lists:member(Label, Labels)] ++
    [{value, Label, Value} || {Name, Matchers} <- Used, {Label, Values} <- Matchers, not lists:member(Label, ?OF_PROMETHEUS),
                              Value <- binary:split(Values, <<"|">>, [global]),
                              not lists:member({Label, Value}, maps:get(Name, Said, []))].

names_test() ->
    Said = said(),
    Panels = panels(),
    Rules = rules(),
    ?assert(length(Panels) > 20),
    ?assert(length(Rules) > 10),
    ?assertEqual([], [{Expr, Wrong} || {Expr, _} = Panel <- Panels, Wrong <- [wrong(Panel, Said)], Wrong =/= []]),
    ?assertEqual([], [{Name, Wrong} || {Name, Expr, Rest} <- Rules, Wrong <- [wrong({Expr, Rest}, Said)], Wrong =/= []]),
    %% Each expression speaks of us, and what fills the menus does.
    ?assertEqual([], [Expr || Expr <- [E || {E, _} <- Panels] ++ [E || {_, E, _} <- Rules], binary:match(Expr, <<"sockeye_">>) =:= nomatch]),
    [Menu] = [Query || #{<<"query">> := Query} <- values(<<"query">>, dashboard())],
    ?assertEqual([], wrong({Menu, <<>>}, Said)),
    %% What is in neither stands in the guide only.
    All = iolist_to_binary([[E || {E, _} <- Panels], [E || {_, E, _} <- Rules]]),
    ?assertEqual([<<"sockeye_connections_failed_total">>, <<"sockeye_inbox_bytes">>],
                 [Name || Name <- lists:sort(maps:keys(Said)), binary:match(All, Name) =:= nomatch]).

%% The check finds each kind of mistake.
mistakes_test() ->
    Said = #{<<"sockeye_a">> => [{<<"code">>, <<"1">>}, {<<"code">>, <<"2">>}], <<"sockeye_b">> => []},
    [?assertEqual({Expr, Text, Wrong}, {Expr, Text, wrong({Expr, Text}, Said)})
     || {Expr, Text, Wrong} <-
            [{<<"sum by (code, instance) (sockeye_a{code=~\"1|2\"})">>, <<"{{code}} {{ $labels.job }}">>, []},
             {<<"sockeye_c">>, <<>>, [{name, <<"sockeye_c">>}]},
             {<<"sum by (code) (sockeye_b)">>, <<>>, [{label, <<"code">>}]},
             {<<"sockeye_b">>, <<"{{ $labels.code }}">>, [{label, <<"code">>}]},
             {<<"sockeye_a{code=~\"1|3\"}">>, <<>>, [{value, <<"code">>, <<"3">>}]},
             {<<"sockeye_a{kode=\"1\"}">>, <<>>, [{value, <<"kode">>, <<"1">>}]}]].

%% As Prometheus wants a rule, and each with words for who is woken by it.
form_of_rules_test() ->
    [?assertMatch({Name, match},
                  {Name, re:run(Rest, "^(        for: \\d+m\n)?        labels:\n          severity: (warning|critical)\n        annotations:\n"
                                "          summary: .+\n          description: .+\n$", [{capture, none}])})
     || {Name, _, Rest} <- rules()],
    Names = [Name || {Name, _, _} <- rules()],
    ?assertEqual(lists:usort(Names), lists:sort(Names)).

%% Each panel has its place, and none is on top of another.
places_test() ->
    Places = [{X, Y, W, H} || #{<<"x">> := X, <<"y">> := Y, <<"w">> := W, <<"h">> := H} <- values(<<"gridPos">>, dashboard())],
    Cells = [{X1, Y1} || {X, Y, W, H} <- Places, X1 <- lists:seq(X, X + W - 1), Y1 <- lists:seq(Y, Y + H - 1)],
    ?assertEqual(length(Cells), length(lists:usort(Cells))),
    ?assert(lists:all(fun({X, _}) -> X < 24 end, Cells)).

%% What Prometheus itself says of rules and of the metrics, where its tool is there: `make monitoring' gets it.
promtool_test_() ->
    case test_support:program("promtool") of
        false -> test_support:left_out("rules and metrics", "needs promtool");
        Tool -> {timeout, 60, fun() -> promtool(Tool) end}
    end.

promtool(Tool) ->
    ?assertMatch({0, _}, run([Tool, " check rules ", path("alerts.yml")])),
    %% A server in trouble fires each of them, one on an ordinary day none.
    Tests = filename:join(test_support:root(), "test/monitoring/alerts_test.yml"),
    ?assertMatch({0, _}, run([Tool, " test rules ", Tests])),
    {ok, Trouble} = file:read_file(Tests),
    ?assertEqual(lists:sort([Name || {Name, _, _} <- rules()]), lists:sort([Name || [Name] <- found(Trouble, "alertname=\"(\\w+)\"")])),
    Text = test_support:with_server(#{metrics => "/metrics"}, fun(Port, _) -> element(3, http_client:get(Port, "/metrics")) end),
    File = filename:join("/tmp", "sockeye_metrics_" ++ os:getpid()),
    ok = file:write_file(File, Text),
    try ?assertMatch({0, _}, run([Tool, " check metrics < ", File]))
    after file:delete(File)
    end.

run(Command) ->
    Port = open_port({spawn_executable, "/bin/sh"}, [{args, ["-c", lists:flatten(Command)]}, exit_status, binary, stderr_to_stdout]),
    said(Port, <<>>).

said(Port, Sofar) ->
    receive
        {Port, {data, Bytes}} -> said(Port, <<Sofar/binary, Bytes/binary>>);
        {Port, {exit_status, Status}} -> {Status, Sofar}
    end.
