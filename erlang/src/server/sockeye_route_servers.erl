%% @private
%% Servers that routes of other web servers need. Each is started by the first request, and there is one for equal options. It
%% ends with the listeners that have brought it requests: with the last of them.
-module(sockeye_route_servers).
-behaviour(gen_server).

-export([start_link/0]).
-export([server/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

%% Its end is that of the listener.
-type listener() :: pid() | none.
-type options() :: map().
-record(server, {pid :: pid(), monitor :: reference(), listeners :: #{reference() => listener()}}).
-type state() :: #{options() => #server{}}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% Raises what is wrong with the options. A server that only `none' has asked for ends with the application.
-spec server(options(), listener()) -> pid().
server(Options, Listener) ->
    case known(Options, Listener) of
        {ok, Pid} ->
            Pid;
        unknown ->
            Spec = sockeye:child_spec(Options#{ip => none}),
            {ok, _} = application:ensure_all_started(sockeye),
            case gen_server:call(?MODULE, {server, Options, Spec, Listener}, infinity) of
                {ok, Pid} -> Pid;
                {error, Reason} -> error(Reason)
            end
    end.

%% Each request comes here: it waits for no process.
-spec known(options(), listener()) -> {ok, pid()} | unknown.
known(Options, Listener) ->
    try ets:lookup_element(?MODULE, {Options, Listener}, 2) of
        Pid ->
            case is_process_alive(Pid) of
                true -> {ok, Pid};
                false -> unknown
            end
    catch
        error:badarg -> unknown
    end.

-spec init([]) -> {ok, state()}.
init([]) ->
    ?MODULE = ets:new(?MODULE, [named_table, {read_concurrency, true}]),
    {ok, #{}}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, {ok, pid()} | {error, term()}, state()}.
handle_call({server, Options, Spec, Listener}, _From, State) ->
    case sockeye_routes_sup:start_server(Options, Spec) of
        {ok, Pid} ->
            Server = brought_by(Listener, known_as(Options, Pid, State)),
            true = ets:insert(?MODULE, {{Options, Listener}, Pid}),
            {reply, {ok, Pid}, State#{Options => Server}};
        {error, Reason} ->
            {reply, {error, Reason}, State}
    end;
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec known_as(options(), pid(), state()) -> #server{}.
known_as(Options, Pid, State) ->
    case State of
        #{Options := #server{pid = Pid} = Server} ->
            Server;
        #{Options := Before} ->
            forget(Options, Before),
            new(Pid);
        _ ->
            new(Pid)
    end.

-spec new(pid()) -> #server{}.
new(Pid) ->
    #server{pid = Pid, monitor = monitor(process, Pid), listeners = #{}}.

-spec brought_by(listener(), #server{}) -> #server{}.
brought_by(Listener, #server{listeners = Known} = Server) ->
    case lists:member(Listener, maps:values(Known)) of
        true -> Server;
        false -> Server#server{listeners = Known#{watch(Listener) => Listener}}
    end.

-spec watch(listener()) -> reference().
watch(none) -> make_ref();
watch(Listener) -> monitor(process, Listener).

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(_, State) ->
    {noreply, State}.

-spec handle_info({'DOWN', reference(), process, pid(), term()} | term(), state()) -> {noreply, state()}.
handle_info({'DOWN', Ref, process, _, _}, State) ->
    {noreply, maps:fold(fun(Options, Server, Left) -> ended(Ref, Options, Server, Left) end, #{}, State)};
handle_info(_, State) ->
    {noreply, State}.

-spec ended(reference(), options(), #server{}, state()) -> state().
ended(Ref, Options, #server{monitor = Ref} = Server, Left) ->
    forget(Options, Server),
    Left;
ended(Ref, Options, #server{listeners = Listeners} = Server, Left) ->
    case maps:take(Ref, Listeners) of
        {_, Others} when map_size(Others) =:= 0 ->
            forget(Options, Server),
            ok = sockeye_routes_sup:stop_server(Options),
            Left;
        {Listener, Others} ->
            true = ets:delete(?MODULE, {Options, Listener}),
            Left#{Options => Server#server{listeners = Others}};
        error ->
            Left#{Options => Server}
    end.

-spec forget(options(), #server{}) -> ok.
forget(Options, #server{monitor = Monitor, listeners = Listeners}) ->
    _ = [demonitor(Ref, [flush]) || Ref <- [Monitor | maps:keys(Listeners)]],
    lists:foreach(fun(Listener) -> ets:delete(?MODULE, {Options, Listener}) end, maps:values(Listeners)).
