%% Random commands for something whose model is known, and the fewest of them that fail.
%%
%% A module of this behaviour has a model without side effects, in which commands are terms that name what they touch by numbers. So a list
%% of commands can be kept, repeated, and shortened: a command that has lost what it needs is left out.
-module(random_commands).

-export([search/2]).
-export([generate/3]).
-export([run/2]).
-export([shrink/3]).
-export([number/2]).

-type command() :: term().
-type model() :: term().

-callback first() -> model().
%% A command that may follow, by chance (rand).
-callback choose(model()) -> command().
-callback is_possible(command(), model()) -> boolean().
%% As far as the model can tell alone.
-callback next(command(), model()) -> model().
%% Carries commands out, those that are possible, and leaves the world as it was. An error is a failure.
-callback carry_out([command()]) -> ok.

%% Options: seed, and runs or time (milliseconds); commands of each run (25). The first run that fails, shortened:
%% {failed, #{seed, commands, reason, runs}}; or {ok, #{runs, commands}}.
search(Module, #{seed := Seed} = Options) ->
    search(Module, Options#{began => now_ms()}, Seed, #{runs => 0, commands => 0}).

search(Module, Options, Seed, #{runs := Runs, commands := Count} = Done) ->
    case is_enough(Options, Runs) of
        true ->
            {ok, Done};
        false ->
            Commands = generate(Module, Seed, maps:get(commands, Options, 25)),
            case run(Module, Commands) of
                ok ->
                    search(Module, Options, Seed + 1, Done#{runs := Runs + 1, commands := Count + length(Commands)});
                {failed, First} ->
                    {Fewest, Reason} = shrink(Module, Commands, First),
                    {failed, #{seed => Seed, runs => Runs + 1, commands => Fewest, reason => Reason, first => First}}
            end
    end.

is_enough(#{runs := Most}, Runs) -> Runs >= Most;
is_enough(#{time := Time, began := Began}, _) -> now_ms() - Began >= Time.

%% The commands of a seed.
generate(Module, Seed, Count) ->
    _ = rand:seed(exsss, Seed),
    generate(Module, Count, Module:first(), []).

generate(_Module, 0, _Model, Commands) ->
    lists:reverse(Commands);
generate(Module, Left, Model, Commands) ->
    Command = Module:choose(Model),
    generate(Module, Left - 1, Module:next(Command, Model), [Command | Commands]).

%% In a process of its own, so that nothing of one run is left in the mailbox of the next.
run(Module, Commands) ->
    {Pid, Monitor} = spawn_monitor(fun() ->
        exit(try {ran, Module:carry_out(Commands)}
             catch Class:Reason:Stack -> {failed, {Class, Reason, Stack}}
             end)
    end),
    receive
        {'DOWN', Monitor, process, Pid, {ran, ok}} -> ok;
        {'DOWN', Monitor, process, Pid, {failed, Why}} -> {failed, Why};
        {'DOWN', Monitor, process, Pid, Why} -> {failed, Why}
    end.

%% Halves, quarters, ... of the commands are left out as long as what is left fails. Any failure counts. A failure may hide behind
%% chance, so each attempt is made twice.
shrink(Module, Commands, Reason) ->
    shrink(Module, Commands, Reason, max(1, length(Commands) div 2), now_ms() + 120000).

shrink(Module, Commands, Reason, Size, Deadline) ->
    case shorter(Module, [], Commands, Size, Deadline) of
        {Fewer, Why} -> shrink(Module, Fewer, Why, min(Size, max(1, length(Fewer) div 2)), Deadline);
        none when Size > 1 -> shrink(Module, Commands, Reason, Size div 2, Deadline);
        none -> {Commands, Reason}
    end.

shorter(_Module, _Before, [], _Size, _Deadline) ->
    none;
shorter(Module, Before, After, Size, Deadline) ->
    {Without, Rest} = lists:split(min(Size, length(After)), After),
    Fewer = possible(Module, Before ++ Rest),
    case now_ms() < Deadline andalso fails(Module, Fewer, 2) of
        {true, Why} -> {Fewer, Why};
        false -> shorter(Module, Before ++ Without, Rest, Size, Deadline)
    end.

possible(Module, Commands) ->
    {Possible, _} = lists:foldl(fun(Command, {Sofar, Model}) ->
        case Module:is_possible(Command, Model) of
            true -> {[Command | Sofar], Module:next(Command, Model)};
            false -> {Sofar, Model}
        end
    end, {[], Module:first()}, Commands),
    lists:reverse(Possible).

fails(_Module, _Commands, 0) -> false;
fails(Module, Commands, Tries) ->
    case run(Module, Commands) of
        ok -> fails(Module, Commands, Tries - 1);
        {failed, Why} -> {true, Why}
    end.

now_ms() -> erlang:monotonic_time(millisecond).

%% A number that the environment may give.
number(Variable, Default) ->
    case os:getenv(Variable) of
        false -> Default;
        Text -> list_to_integer(Text)
    end.
