%% @private
%% Writes to the engine's process, for all processes of the node.
%%
%% Whoever has something to say sends it here, so that what many say at a time leaves in one write. Who is
%% ahead of the engine by more than a few MiB waits until its turn has come. What is large goes out in pieces, and
%% what others have to say goes between them.
%%
%% It also watches the processes that the engine knows: that one is dead is said behind all that it had said.
-module(sockeye_link_writer).

-export([start_link/2]).
-export([watch/5]).
-export([unwatch/2]).
-export([give_up/2]).
-export([post/2]).
-export([post/3]).
-export([init/3]).
-export([loop/1]).

%% The writer of the engine that runs has this name.
-define(NAME, ?MODULE).
%% Beyond so many bytes that have not been written, who gives more waits.
-define(ROOM, 4 * 1024 * 1024).
%% What one write collects.
-define(MOST, 65536).
-define(BEGUN, 32).
%% After so many ends, what they have left on the heap is given back.
-define(MANY_ENDS, 1000).

-record(w,
        {link :: pid(),
         socket :: gen_tcp:socket(),
         run :: run(),
         %% Whether a write is a command to the port of the socket.
         command = erlang:system_info(otp_release) =:= "25" :: boolean(),
         %% What is large, of each process with all that it has said behind it: the next one first.
         large = [] :: [{pid(), [item(), ...]}],
         %% Processes that have ended since the heap was looked through, and bytes that may still be written before it is.
         ended = 0 :: non_neg_integer(),
         left = sockeye_port_gc:first() :: integer(),
         %% Those that the engine may give up. Of the others, which are as many as connections, nothing is kept here: their monitors
         %% know who they are.
         ids = #{} :: #{sockeye_wire:id() => {pid(), reference()}}}).

-type item() :: iodata() | {room, reference()}.

-type run() :: pos_integer().
%% The number of the engine's process, counted from 1.

-export_type([run/0]).

%% Linked to the caller, to which it sends `{sockeye_died, Id}'. `none' if the node has no room for one more process.
-spec start_link(run(), gen_tcp:socket()) -> pid() | none.
start_link(Run, Socket) ->
    ok = sockeye_port_flow:new(),
    Args = [self(), Run, Socket],
    sockeye_processes:start(fun() -> {ok, Pid} = proc_lib:start_link(?MODULE, init, Args), Pid end).

%% `Host' is the process of its server or client, or 0. Unless it is known to be watched until it is dead, it can be given up, be
%% unwatched, or be the host of others.
-spec watch(pid(), sockeye_wire:id(), pid(), sockeye_wire:id(), known | until_dead) -> ok.
watch(Writer, Id, Pid, Host, How) ->
    Writer ! {watch, Id, Pid, Host, How},
    ok.

%% Nobody can bring this process its messages: for the engine it is dead.
-spec give_up(pid(), sockeye_wire:id()) -> ok.
give_up(Writer, Id) ->
    Writer ! {give_up, Id},
    ok.

-spec unwatch(pid(), sockeye_wire:id()) -> ok.
unwatch(Writer, Id) ->
    Writer ! {unwatch, Id},
    ok.

%% Gives sections to the writer, or to nobody if the engine of that run is gone.
-spec post(run() | any, sockeye_wire:sections()) -> ok | gone.
post(Run, Sections) ->
    post(?NAME, Run, Sections).

%% To this writer, of which the caller has a monitor.
-spec post(pid() | ?NAME, run() | any, sockeye_wire:sections()) -> ok | gone.
post(Writer, Run, {Size, _} = Sections) ->
    case sockeye_port_flow:given(Size) of
        none ->
            gone;
        Sum ->
            try Writer ! {post, Run, self(), Sections} of
                _ when Sum > ?ROOM -> room();
                _ -> ok
            catch
                error:badarg ->
                    ok = sockeye_port_flow:written(Size),
                    gone
            end
    end.

%% Returns when what the caller has given is written, or the writer is gone.
-spec room() -> ok | gone.
room() ->
    Ref = erlang:monitor(process, ?NAME, [{alias, reply_demonitor}]),
    try ?NAME ! {room, self(), Ref} of
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

-spec init(pid(), run(), gen_tcp:socket()) -> no_return().
init(Link, Run, Socket) ->
    true = register(?NAME, self()),
    %% Not of high priority, as the one that reads: it would run after each process that has said something, and write
    %% that alone. So it runs when those that are ready have run.
    proc_lib:init_ack({ok, self()}),
    loop(#w{link = Link, socket = Socket, run = Run}).

%% Collects what is there into one packet.
-spec loop(#w{}) -> no_return().
loop(#w{large = [], ended = Ended, left = Left} = W) when Ended < ?MANY_ENDS, Left > 0 ->
    receive Message -> take(Message, [], 0, W) end;
loop(#w{large = []} = W) ->
    receive Message -> take(Message, [], 0, W)
    after 0 -> loop(W#w{ended = 0, left = sockeye_port_gc:collect()})
    end;
loop(W) ->
    receive Message -> take(Message, [], 0, W)
    after 0 -> loop(large(W))
    end.

-spec more([iodata()], non_neg_integer(), #w{}) -> no_return().
more(Sections, Size, W) when Size >= ?MOST ->
    loop(large(write(Sections, Size, W)));
more(Sections, Size, W) ->
    receive Message -> take(Message, Sections, Size, W)
    after 0 -> loop(large(write(Sections, Size, W)))
    end.

-spec take(term(), [iodata()], non_neg_integer(), #w{}) -> no_return().
take({post, Run, From, {Bytes, Posted}}, Sections, Size, #w{run = Now} = W) when Run =:= Now; Run =:= any ->
    given(From, Bytes, Posted, Sections, Size, W);
take({post, _Past, _From, {Bytes, _}}, Sections, Size, W) ->
    ok = sockeye_port_flow:written(Bytes),
    more(Sections, Size, W);
take({inet_reply, _Socket, ok}, Sections, Size, W) ->
    more(Sections, Size, W);
take({inet_reply, _Socket, {error, Reason}}, _Sections, _Size, _W) ->
    exit({write, Reason});
take({room, From, Ref}, Sections, Size, W) ->
    case behind(From, [{room, Ref}], W) of
        none -> Ref ! {Ref, room}, more(Sections, Size, W);
        Next -> more(Sections, Size, Next)
    end;
take({watch, Id, Pid, Host, How}, Sections, Size, #w{ids = Ids} = W) ->
    Ref = erlang:monitor(process, Pid, [{tag, {died, How, Id, Host}}]),
    case How of
        known -> more(Sections, Size, W#w{ids = Ids#{Id => {Pid, Ref}}});
        until_dead -> more(Sections, Size, W)
    end;
take({unwatch, Id}, Sections, Size, W) ->
    more(Sections, Size, forget(Id, W));
take({give_up, Id}, Sections, Size, #w{ids = Ids} = W) when is_map_key(Id, Ids) ->
    #{Id := {Pid, _}} = Ids,
    died([{Id, Pid}], Sections, Size, W);
take({{died, How, Id, Host}, _Ref, process, Pid, _}, Sections, Size, #w{ids = Ids} = W) when How =:= until_dead; is_map_key(Id, Ids) ->
    case Ids of
        %% Who died after its server made no mistake.
        #{Host := {Server, _}} ->
            case is_process_alive(Server) of
                true -> died([{Id, Pid}], Sections, Size, W);
                false -> died([{Host, Server}, {Id, Pid}], Sections, Size, W)
            end;
        _ ->
            died([{Id, Pid}], Sections, Size, W)
    end;
take({system, From, Request}, Sections, Size, #w{link = Link} = W) ->
    sockeye_sys:message(Request, From, Link, ?MODULE, write(Sections, Size, W));
take(_Message, Sections, Size, W) ->
    more(Sections, Size, W).

%% What a process says stays behind what is large of it.
-spec given(pid(), non_neg_integer(), [iodata(), ...], [iodata()], non_neg_integer(), #w{}) -> no_return().
given(From, Bytes, Posted, Sections, Size, #w{large = Large} = W) ->
    case {behind(From, Posted, W), Posted} of
        {none, [Section]} -> more([Section | Sections], Size + Bytes, W);
        {none, _} -> more(Sections, Size, W#w{large = Large ++ [{From, Posted}]});
        {Next, _} -> more(Sections, Size, Next)
    end.

-spec behind(pid(), [item()], #w{}) -> #w{} | none.
behind(From, Items, #w{large = Large} = W) ->
    case lists:keyfind(From, 1, Large) of
        {_, Before} -> W#w{large = lists:keyreplace(From, 1, Large, {From, Before ++ Items})};
        false -> none
    end.

%% Writes one piece of the process whose turn it is.
-spec large(#w{}) -> #w{}.
large(#w{large = []} = W) ->
    W;
large(#w{large = [{From, [Item | Items]} | Others]} = W0) ->
    W = case Item of
            {room, Ref} -> Ref ! {Ref, room}, W0;
            _ -> write([Item], iolist_size(Item), W0)
        end,
    case Items of
        [] ->
            W#w{large = Others};
        _ ->
            %% Only so many are begun at a time: the engine bounds them.
            {Begun, Later} = lists:split(min(?BEGUN - 1, length(Others)), Others),
            W#w{large = Begun ++ [{From, Items} | Later]}
    end.

-spec forget(sockeye_wire:id(), #w{}) -> #w{}.
forget(Id, #w{ids = Ids} = W) ->
    case maps:take(Id, Ids) of
        {{_, Ref}, Rest} ->
            %% Without `flush', which looks through the mailbox: thousands may have ended at a time.
            true = demonitor(Ref),
            W#w{ids = Rest};
        error ->
            W
    end.

-spec died([{sockeye_wire:id(), pid()}], [iodata()], non_neg_integer(), #w{}) -> no_return().
died([{Id, Pid} | Ids], Sections, Size, #w{link = Link, ended = Ended} = W0) ->
    W = W0#w{ended = Ended + 1},
    Link ! {sockeye_died, Id},
    {Bytes, [Section]} = sockeye_wire:down(Id),
    _ = sockeye_port_flow:given(Bytes),
    case behind(Pid, [Section], W) of
        none -> died(Ids, [Section | Sections], Size + Bytes, forget(Id, W));
        Next -> died(Ids, Sections, Size, forget(Id, Next))
    end;
died([], Sections, Size, W) ->
    more(Sections, Size, W).

-spec write([iodata()], non_neg_integer(), #w{}) -> #w{}.
write([], _Size, W) ->
    W;
write(Sections, Size, #w{socket = Socket, command = Command, left = Left} = W) ->
    ok = to_socket(Command, Socket, lists:reverse(Sections)),
    ok = sockeye_port_flow:written(Size),
    W#w{left = Left - Size}.

%% In OTP 25 gen_tcp:send/2 looks through all messages here for its reply. Later ones wait for a reference, as fast with any
%% number of messages, and their sockets take no command without one: the port would end.
-spec to_socket(boolean(), gen_tcp:socket(), iodata()) -> ok.
to_socket(true, Socket, Bytes) ->
    try erlang:port_command(Socket, Bytes) of
        true -> ok
    catch error:badarg -> exit(closed)
    end;
to_socket(false, Socket, Bytes) ->
    case gen_tcp:send(Socket, Bytes) of
        ok -> ok;
        {error, Reason} -> exit({write, Reason})
    end.
