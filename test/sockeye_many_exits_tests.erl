%% The end of a process costs ours as much, however many others have ended at that moment: nobody looks through a
%% mailbox that is full of them.
-module(sockeye_many_exits_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2]).

-define(FEW, 100).
-define(MANY, 2000).
%% A map of many has more levels, and a garbage collection is work, too.
-define(MORE, 3).

%% Whom the engine's process serves: a process of one connection, and one of another kind.
watched_test() -> watched(until_dead).
known_test() -> watched(known).

watched(How) ->
    with_server(#{}, fun(_, _) ->
        case whereis(sockeye_link_writer) of
            undefined ->
                ok;
            Writer ->
                %% The engine knows of none of these, and takes no notice.
                Id = fun() -> 1 bsl 62 + erlang:unique_integer([positive]) end,
                flat(Writer, fun(Pid) -> sockeye_link_writer:watch(Writer, Id(), Pid, 0, How) end)
        end
    end).

servers_and_clients_test() ->
    with_server(#{}, fun(_, _) ->
        Register = fun(Pid) ->
                           Id = erlang:unique_integer([positive]),
                           gen_server:call(sockeye_engine, {register, Pid, Id, {client, Id}, #{}})
                   end,
        flat(whereis(sockeye_engine), Register)
    end).

members_test() ->
    with_server(#{}, fun(_, Server) ->
        flat(whereis(sockeye_presence_server), fun(Pid) -> sockeye_presence:track(Server, <<"t">>, Pid, Pid, 1) end)
    end).

presence_watchers_test() ->
    with_server(#{}, fun(_, Server) ->
        flat(whereis(sockeye_presence_server), fun(Pid) -> by(Pid, fun() -> sockeye_presence:subscribe(Server, <<"t">>) end) end)
    end).

subscribers_test() ->
    with_server(#{}, fun(_, Server) ->
        flat(whereis(sockeye_pubsub_server), fun(Pid) -> by(Pid, fun() -> sockeye_pubsub:subscribe(Server, <<"t">>) end) end)
    end).

flat(Ours, Known) ->
    Each = [reductions(Ours, Known, N) / N || N <- [?FEW, ?MANY]],
    [One, OfMany] = Each,
    ?assert(OfMany < ?MORE * One, Each).

%% What the ends of so many take.
reductions(Ours, Known, N) ->
    Pids = [spawn(fun serve/0) || _ <- lists:seq(1, N)],
    lists:foreach(fun(Pid) -> ok = Known(Pid) end, Pids),
    settled(Ours),
    {reductions, Before} = process_info(Ours, reductions),
    true = erlang:suspend_process(Ours),
    lists:foreach(fun ended/1, Pids),
    true = erlang:resume_process(Ours),
    settled(Ours),
    {reductions, After} = process_info(Ours, reductions),
    After - Before.

serve() ->
    receive
        {run, From, Fun} -> From ! {self(), Fun()}, serve()
    end.

by(Pid, Fun) ->
    Pid ! {run, self(), Fun},
    receive {Pid, Result} -> Result end.

ended(Pid) ->
    Ref = monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Ref, process, Pid, killed} -> ok end.

%% A question is answered behind all that was there before. That of the writer goes by the engine.
settled(Ours) ->
    case Ours =:= whereis(sockeye_link_writer) of
        true -> {ok, _} = sockeye:info(), ok;
        false -> _ = sys:get_status(Ours), ok
    end.
