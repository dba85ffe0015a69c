%% @private
%% A delivery process: it sends owner processes the events of their connections as messages.
%%
%% Terms of what a peer sends are made on schedulers only, and an owner does not fetch its events, as a
%% handler does. So there is a delivery process for each shard, and each serves many owners. An event that is
%% too large for a normal scheduler goes to a helper, a process that is started for it: no other owner waits.
-module(sockeye_delivery).
-behaviour(gen_server).

-export([start_link/2]).
-export([open_all/0]).
-export([deliver_large/2]).

-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).
-export([terminate/2]).

-record(state,
        {index :: non_neg_integer(),
         count :: pos_integer(),
         %% The library knows of this process.
         open = false :: boolean(),
         %% Processes for one large event each, and the inbox that it is from.
         helpers = #{} :: #{pid() => sockeye_backend:owner_inbox()}}).

%% Number `Index' of so many.
-spec start_link(non_neg_integer(), pos_integer()) -> gen_server:start_ret().
start_link(Index, Count) ->
    gen_server:start_link(?MODULE, {Index, Count}, []).

%% The engine has started, and perhaps with a library that knows no delivery process.
-spec open_all() -> ok.
open_all() ->
    try supervisor:which_children(sockeye_delivery_sup) of
        Children -> lists:foreach(fun({_, Pid, _, _}) -> is_pid(Pid) andalso gen_server:cast(Pid, open) end, Children)
    catch
        %% Those that are started now look for the engine.
        exit:_ -> ok
    end.

-spec init({non_neg_integer(), pos_integer()}) -> {ok, #state{}}.
init({Index, Count}) ->
    process_flag(trap_exit, true),
    ok = sockeye_label:set({sockeye_delivery, Index}),
    sockeye_engine:is_running() andalso gen_server:cast(self(), open),
    {ok, #state{index = Index, count = Count}}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(open, #state{index = Index, count = Count} = State) ->
    ok = sockeye_backend:delivery_open(Index, Count),
    {noreply, deliver(State#state{open = true})};
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(sockeye_ready, State) ->
    {noreply, deliver(State)};
handle_info({'EXIT', Pid, _Reason}, State) ->
    {noreply, deliver(returned(Pid, State))};
handle_info(_Message, State) ->
    {noreply, State}.

%% A helper has ended, whatever became of it.
-spec returned(pid(), #state{}) -> #state{}.
returned(Pid, #state{helpers = Helpers} = State) ->
    case maps:take(Pid, Helpers) of
        {Inbox, Rest} ->
            ok = sockeye_backend:delivery_requeue(Inbox),
            State#state{helpers = Rest};
        error ->
            State
    end.

-spec deliver(#state{}) -> #state{}.
deliver(#state{open = false} = State) ->
    State;
deliver(#state{index = Index} = State) ->
    case sockeye_backend:delivery_run(Index) of
        {done, Large, Ending} ->
            ok = sockeye_mailbox:watch(Ending),
            lists:foldl(fun start_helper/2, State, Large);
        {more, Large, Ending} ->
            self() ! sockeye_ready,
            ok = sockeye_mailbox:watch(Ending),
            lists:foldl(fun start_helper/2, State, Large)
    end.

%% What this process has sent is with the owner before the helper sends more:
%% two senders have no order of their own.
-spec start_helper({sockeye_backend:owner_inbox(), pid()}, #state{}) -> #state{}.
start_helper({Inbox, Owner}, #state{helpers = Helpers} = State) ->
    _ = is_process_alive(Owner),
    case sockeye_processes:start(fun() -> spawn_link(?MODULE, deliver_large, [Inbox, Owner]) end) of
        none -> deliver_here(Inbox, Owner, State);
        Pid -> State#state{helpers = Helpers#{Pid => Inbox}}
    end.

%% The node has as many processes as it may have: better all others wait for a moment than this one for ever.
-spec deliver_here(sockeye_backend:owner_inbox(), pid(), #state{}) -> #state{}.
deliver_here(Inbox, Owner, State) ->
    _ = deliver_large(Inbox, Owner),
    ok = sockeye_backend:delivery_requeue(Inbox),
    self() ! sockeye_ready,
    State.

%% A helper.
-spec deliver_large(sockeye_backend:owner_inbox(), pid()) -> boolean().
deliver_large(Inbox, Owner) ->
    ok = sockeye_mailbox:watch(sockeye_backend:deliver_large(Inbox)),
    is_process_alive(Owner).

%% What the engine, which has ended before, has left is delivered first.
-spec terminate(term(), #state{}) -> ok.
terminate(Reason, State) when Reason =:= shutdown; Reason =:= normal ->
    case deliver(State) of
        #state{helpers = Helpers} = Next when map_size(Helpers) > 0 ->
            receive {'EXIT', Pid, _} -> terminate(Reason, returned(Pid, Next)) end;
        Next ->
            receive sockeye_ready -> terminate(Reason, Next)
            after 0 -> ok
            end
    end;
terminate(_Reason, _State) ->
    ok.
