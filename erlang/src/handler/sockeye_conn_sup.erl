%% @private
%% The handler processes of one server with a process per connection.
%%
%% No supervisor: one would report the end of a handler that has reported it already.
-module(sockeye_conn_sup).
-behaviour(gen_server).

-export([start_link/4]).
-export([start_worker/2]).
-export([workers/1]).
-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).
-export([terminate/2]).

-record(state, {start :: [term()], workers = #{} :: #{pid() => running | reported}}).

-spec start_link(sockeye_backend:server_id(), pid(), module(), term()) -> gen_server:start_ret().
start_link(ServerId, Server, Module, Arg) ->
    gen_server:start_link(?MODULE, [ServerId, Server, Module, Arg], []).

-spec start_worker(pid(), sockeye:conn()) -> {ok, pid()} | {error, term()}.
start_worker(Sup, Conn) ->
    gen_server:call(Sup, {start, Conn}, infinity).

-spec workers(pid()) -> [pid()].
workers(Sup) ->
    gen_server:call(Sup, workers, infinity).

-spec init([term()]) -> {ok, #state{}}.
init([_Id, Server | _] = Start) ->
    process_flag(trap_exit, true),
    ok = sockeye_label:set({sockeye_conn_sup, Server}),
    {ok, #state{start = Start}}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({start, Conn}, _From, #state{start = Start, workers = Workers} = State) ->
    try sockeye_processes:may_start() andalso apply(sockeye_worker, start_conn, Start ++ [Conn]) of
        false -> {reply, {error, system_limit}, State};
        {ok, Pid} -> {reply, {ok, Pid}, State#state{workers = Workers#{Pid => running}}};
        {error, _} = Error -> {reply, Error, State}
    catch
        error:Reason -> {reply, {error, Reason}, State}
    end;
handle_call(workers, _From, #state{workers = Workers} = State) ->
    {reply, maps:keys(Workers), State};
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({sockeye_reported, Pid}, #state{workers = Workers} = State) when is_map_key(Pid, Workers) ->
    {noreply, State#state{workers = Workers#{Pid := reported}}};
handle_info({'EXIT', Pid, Reason}, #state{workers = Workers, start = [Id, Server, Module, _]} = State) ->
    case maps:take(Pid, Workers) of
        {running, Rest} ->
            ok = sockeye_handler_end:from_outside(Module, Pid, Reason, Id, sockeye_log:server(Server)),
            {noreply, State#state{workers = Rest}};
        {reported, Rest} ->
            {noreply, State#state{workers = Rest}};
        error ->
            {noreply, State}
    end;
handle_info(_Message, State) ->
    {noreply, State}.

%% The workers are linked. Who ended us has reported why.
-spec terminate(term(), #state{}) -> ok.
terminate(Reason, _State) ->
    case sockeye_crash:is_orderly(Reason) of
        true -> ok;
        false -> sockeye_crash:die(Reason)
    end.
