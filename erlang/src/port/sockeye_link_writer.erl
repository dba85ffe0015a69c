%% @private
%% Writes to the engine's process, for all processes of the node.
%%
%% Whoever has something to say sends it here, so that what many say at a time leaves in one write. Who is
%% ahead of the engine by more than a few MiB waits until its turn has come.
%%
%% It also watches the processes that the engine knows: that one is dead is said behind all that it had said.
-module(sockeye_link_writer).

-export([start_link/2]).
-export([watch/4]).
-export([unwatch/2]).
-export([post/2]).
-export([init/4]).

%% The writer of the engine that runs has this name.
-define(NAME, ?MODULE).
%% Bytes that were given to the writer, and have not been written.
-define(WAITING, {?MODULE, waiting}).
%% Beyond that, who gives waits.
-define(ROOM, 4 * 1024 * 1024).
%% What one write collects.
-define(MOST, 65536).

-record(w,
        {link :: pid(),
         socket :: gen_tcp:socket(),
         run :: run(),
         waiting :: atomics:atomics_ref(),
         ids = #{} :: #{sockeye_wire:id() => {pid(), Host :: sockeye_wire:id(), reference()}},
         monitors = #{} :: #{reference() => sockeye_wire:id()}}).

-type run() :: pos_integer().
%% The number of the engine's process, counted from 1.

-export_type([run/0]).

%% Linked to the caller, to which it sends `{sockeye_died, Id}'.
-spec start_link(run(), gen_tcp:socket()) -> pid().
start_link(Run, Socket) ->
    Waiting = case persistent_term:get(?WAITING, none) of
                  none -> atomics:new(1, []);
                  Known -> Known
              end,
    %% What was given to the last one is lost with it.
    ok = atomics:put(Waiting, 1, 0),
    ok = persistent_term:put(?WAITING, Waiting),
    {ok, Pid} = proc_lib:start_link(?MODULE, init, [self(), Run, Socket, Waiting]),
    Pid.

%% `Host' is the process of its server or client, or 0.
-spec watch(pid(), sockeye_wire:id(), pid(), sockeye_wire:id()) -> ok.
watch(Writer, Id, Pid, Host) ->
    Writer ! {watch, Id, Pid, Host},
    ok.

-spec unwatch(pid(), sockeye_wire:id()) -> ok.
unwatch(Writer, Id) ->
    Writer ! {unwatch, Id},
    ok.

%% Gives sections to the writer, or to nobody if the engine of that run is gone.
-spec post(run() | any, sockeye_wire:sections()) -> ok | gone.
post(Run, {Size, _} = Sections) ->
    case persistent_term:get(?WAITING, none) of
        none ->
            gone;
        Waiting ->
            Sum = atomics:add_get(Waiting, 1, Size),
            try ?NAME ! {post, Run, Sections} of
                _ when Sum > ?ROOM -> room();
                _ -> ok
            catch
                error:badarg ->
                    ok = atomics:sub(Waiting, 1, Size),
                    gone
            end
    end.

%% Returns when the writer has come to what the caller has given it, or is gone.
-spec room() -> ok | gone.
room() ->
    Ref = erlang:monitor(process, ?NAME, [{alias, reply_demonitor}]),
    try ?NAME ! {room, Ref} of
        _ ->
            receive
                {Ref, room} -> ok;
                {'DOWN', Ref, process, _, _} -> gone
            end
    catch
        error:badarg ->
            _ = demonitor(Ref, [flush]),
            gone
    end.

-spec init(pid(), run(), gen_tcp:socket(), atomics:atomics_ref()) -> no_return().
init(Link, Run, Socket, Waiting) ->
    true = register(?NAME, self()),
    proc_lib:init_ack({ok, self()}),
    loop(#w{link = Link, socket = Socket, run = Run, waiting = Waiting}).

-spec loop(#w{}) -> no_return().
loop(W) ->
    receive Message -> take(Message, [], 0, W) end.

%% Collects what is there into one packet.
-spec more([iodata()], non_neg_integer(), #w{}) -> no_return().
more(Sections, Size, W) when Size >= ?MOST ->
    write(Sections, Size, W),
    loop(W);
more(Sections, Size, W) ->
    receive Message -> take(Message, Sections, Size, W)
    after 0 ->
            write(Sections, Size, W),
            loop(W)
    end.

-spec take(term(), [iodata()], non_neg_integer(), #w{}) -> no_return().
take({post, Run, {Bytes, [Section]}}, Sections, Size, #w{run = Now} = W) when Run =:= Now; Run =:= any ->
    more([Section | Sections], Size + Bytes, W);
take({post, Run, {Bytes, Pieces}}, Sections, Size, #w{run = Now} = W) when Run =:= Now; Run =:= any ->
    %% Each piece is long enough for a packet.
    write(Sections, Size, W),
    lists:foreach(fun(Piece) -> write([Piece], 0, W) end, Pieces),
    ok = atomics:sub(W#w.waiting, 1, Bytes),
    more([], 0, W);
take({post, _Past, {Bytes, _}}, Sections, Size, W) ->
    ok = atomics:sub(W#w.waiting, 1, Bytes),
    more(Sections, Size, W);
take({inet_reply, _Socket, ok}, Sections, Size, W) ->
    more(Sections, Size, W);
take({inet_reply, _Socket, {error, Reason}}, _Sections, _Size, _W) ->
    exit({write, Reason});
take({room, Ref}, Sections, Size, W) ->
    Ref ! {Ref, room},
    more(Sections, Size, W);
take({watch, Id, Pid, Host}, Sections, Size, #w{ids = Ids, monitors = Monitors} = W) ->
    Ref = erlang:monitor(process, Pid),
    more(Sections, Size, W#w{ids = Ids#{Id => {Pid, Host, Ref}}, monitors = Monitors#{Ref => Id}});
take({unwatch, Id}, Sections, Size, W) ->
    more(Sections, Size, forget(Id, W));
take({'DOWN', Ref, process, _, _}, Sections, Size, #w{ids = Ids, monitors = Monitors} = W) ->
    #{Ref := Id} = Monitors,
    #{Id := {_, Host, _}} = Ids,
    %% Who died after its server made no mistake.
    case Ids of
        #{Host := {Server, _, _}} ->
            case is_process_alive(Server) of
                true -> died([Id], Sections, Size, W);
                false -> died([Host, Id], Sections, Size, W)
            end;
        _ ->
            died([Id], Sections, Size, W)
    end;
take(_Message, Sections, Size, W) ->
    more(Sections, Size, W).

-spec forget(sockeye_wire:id(), #w{}) -> #w{}.
forget(Id, #w{ids = Ids, monitors = Monitors} = W) ->
    case maps:take(Id, Ids) of
        {{_, _, Ref}, Rest} ->
            _ = demonitor(Ref, [flush]),
            W#w{ids = Rest, monitors = maps:remove(Ref, Monitors)};
        error ->
            W
    end.

-spec died([sockeye_wire:id()], [iodata()], non_neg_integer(), #w{}) -> no_return().
died([Id | Ids], Sections, Size, #w{link = Link, waiting = Waiting} = W) ->
    Link ! {sockeye_died, Id},
    {Bytes, [Section]} = sockeye_wire:down(Id),
    ok = atomics:add(Waiting, 1, Bytes),
    died(Ids, [Section | Sections], Size + Bytes, forget(Id, W));
died([], Sections, Size, W) ->
    more(Sections, Size, W).

%% Not gen_tcp:send/2, which would look through all messages here for its reply.
-spec write([iodata()], non_neg_integer(), #w{}) -> ok.
write([], _Size, _W) ->
    ok;
write(Sections, Size, #w{socket = Socket, waiting = Waiting}) ->
    try erlang:port_command(Socket, lists:reverse(Sections))
    catch error:badarg -> exit(closed)
    end,
    atomics:sub(Waiting, 1, Size).
