%% What test/coverage/run runs: EUnit with the modules of erlang/src compiled for OTP's cover.
-module(coverage).

-export([run/2]).

%% The figures go to erlang.txt in the folder, the lines that no test reached to erlang-lines.txt.
run(Tests, Folder) ->
    {ok, _} = cover:start(),
    Ebin = filename:dirname(code:which(sockeye)),
    Results = [cover:compile_beam(Beam) || Beam <- filelib:wildcard(filename:join(Ebin, "*.beam")),
                                           %% A second load of it is another library: this one is not cover's.
                                           filename:basename(Beam) =/= "sockeye_nif.beam"],
    Modules = lists:sort([Module || {ok, Module} <- Results]),
    true = length(Modules) =:= length(Results),
    Passed = eunit:test(Tests, [verbose, {print_depth, 40}]),
    {result, Lines, _} = cover:analyse(Modules, coverage, line),
    Missed = [Where || {{_, Line} = Where, {0, 1}} <- Lines, Line > 0],
    ok = file:write_file(filename:join(Folder, "erlang.txt"), [figures(Modules, Lines), figure(total, Lines)]),
    ok = file:write_file(filename:join(Folder, "erlang-lines.txt"), [missed(Ebin, Where) || Where <- Missed]),
    halt(case Passed of ok -> 0; _ -> 1 end).

figures(Modules, Lines) ->
    [figure(Module, [Line || {{Of, _}, _} = Line <- Lines, Of =:= Module]) || Module <- Modules].

figure(Name, Lines) ->
    Reached = length([reached || {{_, Line}, {1, 0}} <- Lines, Line > 0]),
    All = length([line || {{_, Line}, _} <- Lines, Line > 0]),
    io_lib:format("~-32ts ~6b of ~6b lines ~6.2f %~n", [Name, Reached, All, 100 * Reached / max(1, All)]).

missed(Ebin, {Module, Number}) ->
    {ok, {_, [{compile_info, Compiled}]}} = beam_lib:chunks(filename:join(Ebin, Module), [compile_info]),
    Source = proplists:get_value(source, Compiled),
    {ok, Text} = file:read_file(Source),
    Line = lists:nth(Number, binary:split(Text, <<"\n">>, [global])),
    io_lib:format("~ts:~b: ~ts~n", [filename:basename(Source), Number, string:trim(Line)]).
