%% @private
%% Passes descriptors of the VM to the engine's process, over a Unix socket of their own (`SCM_RIGHTS').
%%
%% The socket is made when the first descriptor is passed, and again for another run of the engine. What was passed is called for by its
%% number, which is a matter of whoever asked.
-module(sockeye_port_descriptors).
-behaviour(gen_server).

-export([start_link/0]).
-export([pass/1]).
-export([engine_gone/0]).

-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).

-define(TIME_MS, 5000).

-record(state,
        {run = none :: sockeye_link_writer:run() | none,
         socket = none :: socket:socket() | none,
         last = 0 :: non_neg_integer()}).

-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The number under which the engine has it, beside the caller, whose it stays.
-spec pass(Descriptor :: integer()) -> {ok, Number :: pos_integer()} | {error, atom()}.
pass(Descriptor) ->
    try gen_server:call(?MODULE, {pass, Descriptor}, infinity)
    catch exit:_ -> {error, not_running}
    end.

%% The socket to the engine that has ended is closed.
-spec engine_gone() -> ok.
engine_gone() ->
    gen_server:cast(?MODULE, engine_gone).

-spec init([]) -> {ok, #state{}}.
init([]) ->
    {ok, #state{}}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call({pass, Descriptor}, _From, State) ->
    case opened(State) of
        {ok, #state{socket = Socket, last = Last} = Open} ->
            case sent(Socket, Last + 1, Descriptor) of
                ok -> {reply, {ok, Last + 1}, Open#state{last = Last + 1}};
                {error, badfd} -> {reply, {error, einval}, Open};
                {error, _} -> {reply, {error, not_running}, closed(Open)}
            end;
        {error, Reason} ->
            {reply, {error, Reason}, closed(State)}
    end;
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(engine_gone, State) ->
    {noreply, closed(State)};
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(_Message, State) ->
    {noreply, State}.

%% To the engine that runs now.
-spec opened(#state{}) -> {ok, #state{}} | {error, atom()}.
opened(#state{run = Run, socket = Socket} = State) ->
    case sockeye_link:run() of
        none -> {error, not_running};
        Run when Socket =/= none -> {ok, State};
        Now -> connected(closed(State), Now)
    end.

-spec connected(#state{}, sockeye_link_writer:run()) -> {ok, #state{}} | {error, atom()}.
connected(State, Run) ->
    try sockeye_executable:folder() of
        Folder ->
            Path = sockeye_file_name:native(filename:join(Folder, "d")),
            try sockeye_port_call:call_as(self(), descriptors_open, [Path]) of
                {return, ok} -> connect(State#state{run = Run}, Path);
                _ -> {error, not_running}
            after
                _ = file:del_dir_r(Folder)
            end
    catch
        throw:{why, _} -> {error, emfile}
    end.

-spec connect(#state{}, binary()) -> {ok, #state{}} | {error, atom()}.
connect(State, Path) ->
    case socket:open(local, stream, default) of
        {ok, Socket} ->
            case socket:connect(Socket, #{family => local, path => Path}, ?TIME_MS) of
                ok -> {ok, State#state{socket = Socket}};
                {error, _} -> _ = socket:close(Socket), {error, not_running}
            end;
        {error, Reason} when Reason =:= emfile; Reason =:= enfile ->
            {error, emfile};
        {error, _} ->
            {error, not_running}
    end.

-spec closed(#state{}) -> #state{}.
closed(#state{socket = none} = State) ->
    State;
closed(#state{socket = Socket} = State) ->
    _ = socket:close(Socket),
    State#state{socket = none, run = none}.

%% Returns when the engine has it.
-spec sent(socket:socket(), pos_integer(), integer()) -> ok | {error, atom()}.
sent(Socket, Number, Descriptor) ->
    Rights = #{level => socket, type => rights, data => <<Descriptor:32/native>>},
    case socket:sendmsg(Socket, #{iov => [<<Number:64>>], ctrl => [Rights]}, ?TIME_MS) of
        ok ->
            case socket:recv(Socket, 1, ?TIME_MS) of
                {ok, _} -> ok;
                {error, _} -> {error, closed}
            end;
        {error, ebadf} -> {error, badfd};
        {error, _} -> {error, closed}
    end.
