%% @private
%% Brings plain processes their messages.
%%
%% Terms of what a peer sends are made on schedulers only, and a plain process
%% does not come for them, as a handler does. So there are some of these
%% processes, each for the inboxes of many. What is too large for a normal
%% scheduler goes to a carrier, a process made for it, and keeps nobody else
%% waiting.
-module(sockeye_courier).
-behaviour(gen_server).

-export([start_link/2]).
-export([open_all/0]).
-export([carry/2]).

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
         %% Carriers, and what they have to give back.
         carriers = #{} :: #{pid() => sockeye_nif:load()}}).

%% Number `Index' of so many.
-spec start_link(non_neg_integer(), pos_integer()) -> gen_server:start_ret().
start_link(Index, Count) ->
    gen_server:start_link(?MODULE, {Index, Count}, []).

%% The engine has started, and perhaps with a library that knows of no courier.
-spec open_all() -> ok.
open_all() ->
    try supervisor:which_children(sockeye_couriers) of
        Children -> lists:foreach(fun({_, Pid, _, _}) -> is_pid(Pid) andalso gen_server:cast(Pid, open) end, Children)
    catch
        %% Those that are started now look for the engine.
        exit:_ -> ok
    end.

-spec init({non_neg_integer(), pos_integer()}) -> {ok, #state{}}.
init({Index, Count}) ->
    process_flag(trap_exit, true),
    sockeye_engine:is_running() andalso gen_server:cast(self(), open),
    {ok, #state{index = Index, count = Count}}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(open, #state{index = Index, count = Count} = State) ->
    ok = sockeye_nif:courier_open(Index, Count),
    {noreply, bring(State#state{open = true})};
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(sockeye_ready, State) ->
    {noreply, bring(State)};
handle_info({'EXIT', Pid, _Reason}, State) ->
    {noreply, bring(returned(Pid, State))};
handle_info(_Message, State) ->
    {noreply, State}.

%% A carrier has ended, whatever became of it.
-spec returned(pid(), #state{}) -> #state{}.
returned(Pid, #state{carriers = Carriers} = State) ->
    case maps:take(Pid, Carriers) of
        {Load, Rest} ->
            ok = sockeye_nif:courier_return(Load),
            State#state{carriers = Rest};
        error ->
            State
    end.

-spec bring(#state{}) -> #state{}.
bring(#state{open = false} = State) ->
    State;
bring(#state{index = Index} = State) ->
    case sockeye_nif:courier_run(Index) of
        {done, Loads, Ending} ->
            ok = sockeye_reading:watch(Ending),
            lists:foldl(fun hand_over/2, State, Loads);
        {more, Loads, Ending} ->
            self() ! sockeye_ready,
            ok = sockeye_reading:watch(Ending),
            lists:foldl(fun hand_over/2, State, Loads)
    end.

%% What this process has sent is with the owner before the carrier sends more:
%% two senders have no order of their own.
-spec hand_over({sockeye_nif:load(), pid()}, #state{}) -> #state{}.
hand_over({Load, Owner}, #state{carriers = Carriers} = State) ->
    _ = is_process_alive(Owner),
    try sockeye_processes:may_start() andalso spawn_link(?MODULE, carry, [Load, Owner]) of
        false -> carry_alone(Load, Owner, State);
        Pid -> State#state{carriers = Carriers#{Pid => Load}}
    catch
        error:system_limit -> carry_alone(Load, Owner, State)
    end.

%% The node has as many processes as it may have: better all others wait for a moment than this one for ever.
-spec carry_alone(sockeye_nif:load(), pid(), #state{}) -> #state{}.
carry_alone(Load, Owner, State) ->
    _ = carry(Load, Owner),
    ok = sockeye_nif:courier_return(Load),
    self() ! sockeye_ready,
    State.

%% A carrier.
-spec carry(sockeye_nif:load(), pid()) -> boolean().
carry(Load, Owner) ->
    ok = sockeye_reading:watch(sockeye_nif:courier_carry(Load)),
    is_process_alive(Owner).

%% What the engine, which has ended before, has left is brought first.
-spec terminate(term(), #state{}) -> ok.
terminate(Reason, State) when Reason =:= shutdown; Reason =:= normal ->
    case bring(State) of
        #state{carriers = Carriers} = Next when map_size(Carriers) > 0 ->
            receive {'EXIT', Pid, _} -> terminate(Reason, returned(Pid, Next)) end;
        Next ->
            receive sockeye_ready -> terminate(Reason, Next)
            after 0 -> ok
            end
    end;
terminate(_Reason, _State) ->
    ok.
