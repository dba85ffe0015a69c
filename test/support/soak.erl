%% What test/soak/run runs. After each part the node holds what it held before it: processes, servers,
%% connections, descriptors, threads, atoms, rows of tables, and memory.
-module(soak).

-export([main/0]).
-export([load_all/0]).
-export([halts/0]).

%% Allocators and tables of the engine's threads keep this much.
-define(MEMORY, 64 * 1024 * 1024).
-define(ROUND_MS, 10000).
%% So many rounds before each rest, in which the engine gives back what it keeps for large messages: 10 s after the last.
-define(ROUNDS, 6).
-define(REST_MS, 12000).

main() ->
    spawn(fun() ->
        [Minutes, Text | Parts] = init:get_plain_arguments(),
        Seed = list_to_integer(Text),
        try run(list_to_integer(Minutes) * 60 * 1000, Seed, Parts) of
            ok -> say("1 passed, 0 failed", []), halt(0)
        catch
            Class:Reason:Stack ->
                say("seed ~b: ~p", [Seed, {Class, Reason, Stack}]),
                say("0 passed, 1 failed", []),
                halt(1)
        end
    end).

run(Time, Seed, []) ->
    run(Time, Seed, ["json", "traffic", "commands", "halting"]);
run(Time, Seed, Parts) ->
    say("seed ~b", [Seed]),
    ok = load_all(),
    ok = logger:set_primary_config(level, none),
    [part(Part, Time div length(Parts), Seed) || Part <- Parts],
    ok.

part("json", Time, Seed) -> part("JSON through each way of delivery", fun() -> json(Time, Seed) end);
part("traffic", Time, Seed) -> part("traffic on the public API", fun() -> traffic(Time, Seed) end);
part("commands", Time, Seed) -> part("commands against a model", fun() -> commands(Time, Seed) end);
part("churn", Time, Seed) -> part("clients that come and go", fun() -> soak_churn:run(#{time => Time, seed => Seed}) end);
part("halting", Time, Seed) -> part("nodes that halt", fun() -> halting(Time, Seed, 0) end).

%% A module that is loaded later brings its atoms. That of the library is loaded where the library is.
load_all() ->
    [code:ensure_loaded(Module) || App <- [kernel, stdlib, crypto, sockeye], ok =:= load(App),
                                   {ok, Modules} <- [application:get_key(App, modules)], Module <- Modules, Module =/= sockeye_nif],
    [code:ensure_loaded(list_to_atom(filename:basename(Beam, ".beam")))
     || Beam <- filelib:wildcard("*.beam", filename:dirname(code:which(?MODULE)))],
    ok.

load(App) ->
    case application:load(App) of
        {error, {already_loaded, App}} -> ok;
        Other -> Other
    end.

part(Name, Run) ->
    {ok, _} = application:ensure_all_started(sockeye),
    Done = Run(),
    say("~ts: ~p", [Name, Done]),
    ok.

json(Time, Seed) ->
    json_property:run(#{seed => Seed, seconds => Time div 1000}).

traffic(Time, Seed) ->
    %% What is loaded, opened or named once stays.
    _ = soak_traffic:round(#{seed => Seed, time => ?ROUND_MS}),
    %% Twice, since the first question to the allocators makes the atoms of their answer.
    _ = holdings(),
    Before = holdings(),
    say("before: ~0p", [Before]),
    End = erlang:monotonic_time(millisecond) + Time - ?ROUND_MS,
    {Actions, Resident} = rounds(End, 1, Seed, Before, 0, []),
    say("after: ~0p", [holdings()]),
    #{actions => Actions, resident => told(Resident)}.

rounds(End, Round, Seed, Before, Done, Resident) ->
    Now = soak_traffic:round(#{seed => Seed + Round, time => ?ROUND_MS}),
    true = hostile_client:until(fun() -> grown(Before, holdings()) end),
    Sizes = [at_rest() || Round rem ?ROUNDS =:= 0] ++ Resident,
    case erlang:monotonic_time(millisecond) < End of
        true -> rounds(End, Round + 1, Seed, Before, Done + Now, Sizes);
        false -> {Done + Now, lists:reverse(Sizes)}
    end.

at_rest() ->
    receive after ?REST_MS -> ok end,
    _ = holdings(),
    resident:each().

%% The first is the warm-up.
told([_, _, _ | _] = Rests) ->
    maps:from_list([told(Whose, [Size || Rest <- Rests, {Who, Size} <- Rest, Who =:= Whose]) || {Whose, _} <- hd(Rests)]);
told(_) ->
    too_short.

told(Whose, [Warm | Sizes]) ->
    say("resident at each rest, ~s, MB: ~.1f, then ~ts",
        [Whose, Warm / 1.0e6, lists:join(", ", [io_lib:format("~.1f", [Size / 1.0e6]) || Size <- Sizes])]),
    {Whose, #{rests => length(Sizes), later_half_more_percent => resident:drift(Sizes)}}.

holdings() ->
    [erlang:garbage_collect(Pid) || Pid <- processes()],
    (maps:remove(ports, census:whole()))#{vm_memory => erlang:memory(total), engine_memory => hostile_client:memory()}.

grown(Before, After) ->
    Grown = maps:filter(fun(Key, N) -> N > maps:get(Key, Before, 0) + slack(Key) end,
                        maps:filter(fun(_, N) -> is_integer(N) end, After)),
    map_size(Grown) =:= 0
        orelse {grown, [{Key, maps:get(Key, Before, 0), N} || {Key, N} <- maps:to_list(Grown)], new_atoms(Before)}.

%% The first of those that were not there before, as far as the VM tells: an atom by its place in the table.
new_atoms(#{atoms := Before}) ->
    [test_support:attempt(fun() -> binary_to_term(<<131, 75, N:24>>) end)
     || N <- lists:seq(Before, min(Before + 20, erlang:system_info(atom_count)) - 1)].

slack(vm_memory) -> ?MEMORY;
slack(engine_memory) -> ?MEMORY;
slack(_) -> 0.

commands(Time, Seed) ->
    {ok, Done} = random_commands:search(api_model, #{seed => Seed, time => Time}),
    Done.

%% A node under traffic that ends in the middle of it, by each way, has ended soon and with status 0.
halting(Time, _Seed, Done) when Time =< 0 ->
    #{halted => Done};
halting(Time, Seed, Done) ->
    Begin = erlang:monotonic_time(millisecond),
    How = lists:nth(Done rem 4 + 1, ["halt", "halt_now", "init_stop", "application_stop"]),
    Node = open_port({spawn_executable, os:find_executable("erl")},
                     [{args, ["-noshell", "+sbwt", "none", "-pa"] ++ paths()
                       ++ ["-s", "soak", "halts", "-extra", How, integer_to_list(Seed + Done)]},
                      exit_status, stderr_to_stdout, binary]),
    0 = status(Node, How, <<>>),
    halting(Time - (erlang:monotonic_time(millisecond) - Begin), Seed, Done + 1).

status(Node, How, Said) ->
    receive
        {Node, {data, Data}} -> status(Node, How, <<Said/binary, Data/binary>>);
        {Node, {exit_status, 0}} -> 0;
        {Node, {exit_status, Status}} -> error({halt, How, Status, Said})
    after 60000 -> error({hangs, How, Said})
    end.

paths() ->
    lists:usort([filename:dirname(code:which(Module)) || Module <- [sockeye, ?MODULE]]).

%% In the node of its own.
halts() ->
    spawn(fun() ->
        [How, Seed] = init:get_plain_arguments(),
        ok = logger:set_primary_config(level, none),
        {ok, _} = application:ensure_all_started(sockeye),
        spawn(fun() -> soak_traffic:round(#{seed => list_to_integer(Seed), time => 60000}) end),
        rand:seed(exsss, list_to_integer(Seed)),
        receive after 200 + rand:uniform(3000) -> finish(How) end
    end).

finish("halt") -> halt(0);
finish("halt_now") -> halt(0, [{flush, false}]);
finish("init_stop") -> init:stop();
finish("application_stop") -> ok = application:stop(sockeye), halt(0).

say(Format, Args) ->
    io:format(Format ++ "~n", Args).
