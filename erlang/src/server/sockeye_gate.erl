%% @private
%% Answers what the engine asks before a connection is made: `accept/2' of the
%% handler, and the functions behind HTTP routes.
%%
%% Each question has a process of its own, which ends at the deadline: a
%% callback that waits for something holds up nobody else. The engine bounds
%% their number.
-module(sockeye_gate).

-export([start_link/2]).
-export([accepts/1]).
-export([wanted/1]).
-export([plain/1]).
-export([init/1]).
-export([loop/1]).

-type about() :: accept | non_neg_integer().
%% What the log says of a request.
-type facts() :: map().
-type accept() :: fun((sockeye_handler:request()) -> sockeye_handler:decision()) | {module(), Arg :: term()}.

%% A question, and the process that answers it.
-record(asked,
        {about :: about(),
         token :: non_neg_integer(),
         timer :: reference(),
         facts :: facts(),
         %% The answer is given in pieces, by now.
         streams = false :: boolean()}).

-record(state,
        {id :: sockeye_backend:server_id(),
         server :: pid(),
         %% Whose callback it is, for the log.
         callback :: map(),
         accept :: accept() | undefined,
         %% The functions of the routes that have one, by their number.
         routes :: #{non_neg_integer() => sockeye_routes:answering()},
         timeout :: timeout(),
         running = #{} :: #{pid() => #asked{}},
         %% Those that give their answer in pieces.
         streams = #{} :: #{Token :: non_neg_integer() => pid()}}).

%% Whether connections are asked about.
-spec accepts(sockeye_options:config()) -> boolean().
accepts(Config) ->
    accept(Config) =/= undefined.

%% The routes as the engine wants them.
-spec plain(sockeye_options:config()) -> [{binary(), term()}].
plain(#{routes := Routes}) ->
    [{Path, case Target of
                {ask, _} -> ask;
                metrics -> ask;
                _ -> Target
            end} || {Path, Target} <- Routes].

%% Whether there is anything to ask.
-spec wanted(sockeye_options:config()) -> boolean().
wanted(Config) ->
    accept(Config) =/= undefined orelse routes(Config) =/= #{}.

-spec start_link(sockeye_backend:server_id(), sockeye_options:config()) -> pid().
start_link(ServerId, Config) ->
    {ok, Pid} = proc_lib:start_link(?MODULE, init, [{self(), ServerId, Config}]),
    Pid.

-spec init({pid(), sockeye_backend:server_id(), sockeye_options:config()}) -> no_return().
init({Server, ServerId, #{accept_timeout := Timeout} = Config}) ->
    process_flag(trap_exit, true),
    ok = sockeye_label:set({sockeye_gate, Server}),
    ok = sockeye_backend:gate_open(ServerId),
    proc_lib:init_ack({ok, self()}),
    loop(#state{id = ServerId, server = Server, callback = callback(Config), accept = accept(Config), routes = routes(Config),
                timeout = Timeout}).

-spec accept(sockeye_options:config()) -> accept() | undefined.
accept(#{accept := Accept}) ->
    Accept;
accept(#{handler := {Module, Arg}}) ->
    case erlang:function_exported(Module, accept, 2) of
        %% No fun of this module, which could not be called once its code is purged.
        true -> {Module, Arg};
        false -> undefined
    end;
accept(_Config) ->
    undefined.

-spec callback(sockeye_options:config()) -> map().
callback(#{accept := Accept}) -> #{callback => Accept};
callback(#{handler := {Module, _}}) -> #{module => Module, callback => {accept, 2}};
callback(_Config) -> #{}.

-spec routes(sockeye_options:config()) -> #{non_neg_integer() => sockeye_routes:answering()}.
routes(#{routes := Routes}) ->
    sockeye_routes:functions(Routes).

-spec loop(#state{}) -> no_return().
loop(#state{server = Server, running = Running} = State) ->
    receive
        {sockeye_ask, Token, About, Request} ->
            ?MODULE:loop(start(Token, About, Request, State));
        {system, From, Request} ->
            sockeye_sys:message(Request, From, Server, ?MODULE, State);
        {'EXIT', Server, _Reason} ->
            %% Takes along those that are linked.
            exit(shutdown);
        {'EXIT', Pid, Reason} ->
            case Running of
                #{Pid := #asked{timer = Timer} = Asked} ->
                    _ = erlang:cancel_timer(Timer),
                    Reason =:= normal orelse failed(Asked, {exit, Reason}, State),
                    ?MODULE:loop(over(Pid, State));
                _ ->
                    ?MODULE:loop(State)
            end;
        {timeout, Timer, Pid} ->
            case Running of
                #{Pid := #asked{timer = Timer} = Asked} ->
                    unlink(Pid),
                    exit(Pid, kill),
                    late(Asked, State),
                    ?MODULE:loop(over(Pid, State));
                _ ->
                    ?MODULE:loop(State)
            end;
        {streams, Pid, Ref} ->
            ?MODULE:loop(streams(Pid, Ref, State));
        {sockeye_stream_gone, Token} ->
            ?MODULE:loop(gone(Token, State));
        {sockeye_lost, _Run} ->
            %% The engine's process has ended, and its connections.
            ?MODULE:loop(lists:foldl(fun gone/2, State, maps:keys(State#state.streams)));
        _ ->
            ?MODULE:loop(State)
    end.

-spec start(non_neg_integer(), about(), map(), #state{}) -> #state{}.
start(Token, About, Request, #state{running = Running, timeout = Timeout} = State) ->
    case spawned(Token, About, Request, State) of
        none ->
            answer(Token, unavailable(), State),
            ok = sockeye_backend:no_process(State#state.id),
            log(error, no_process, #{reason => system_limit}, State),
            State;
        Pid ->
            Timer = timer(Timeout, Pid),
            State#state{running = Running#{Pid => #asked{about = About, token = Token, timer = Timer,
                                                         facts = facts(About, Request, State)}}}
    end.

%% The process is gone, or will be.
-spec over(pid(), #state{}) -> #state{}.
over(Pid, #state{running = Running, streams = Streams} = State) ->
    {#asked{token = Token}, Rest} = maps:take(Pid, Running),
    State#state{running = Rest, streams = maps:remove(Token, Streams)}.

%% The function of this process has answered in time, and goes on with pieces.
-spec streams(pid(), reference(), #state{}) -> #state{}.
streams(Pid, Ref, #state{running = Running, streams = Streams} = State) ->
    case Running of
        #{Pid := #asked{timer = Timer, token = Token} = Asked} ->
            _ = erlang:cancel_timer(Timer),
            Pid ! {Ref, go_on},
            State#state{running = Running#{Pid := Asked#asked{timer = make_ref(), streams = true}},
                        streams = Streams#{Token => Pid}};
        %% It is killed already.
        _ ->
            State
    end.

%% Nobody reads what this process sends. It hears of that when it sends next, and must end in time.
-spec gone(non_neg_integer(), #state{}) -> #state{}.
gone(Token, #state{running = Running, streams = Streams, timeout = Timeout} = State) ->
    case maps:take(Token, Streams) of
        {Pid, Rest} ->
            #{Pid := Asked} = Running,
            State#state{running = Running#{Pid := Asked#asked{timer = timer(Timeout, Pid)}}, streams = Rest};
        error ->
            State
    end.

-spec late(#asked{}, #state{}) -> ok.
late(#asked{streams = true}, _State) ->
    ok;
late(#asked{about = About, token = Token, facts = Facts}, #state{timeout = Timeout} = State) ->
    answer(Token, unavailable(), State),
    log(warning, timeout_of(About), Facts#{timeout => Timeout}, State).

-spec spawned(non_neg_integer(), about(), map(), #state{}) -> pid() | none.
spawned(Token, About, Request, State) ->
    %% Not the whole state: it would be copied.
    Small = State#state{running = #{}, streams = #{}},
    Gate = self(),
    sockeye_processes:start(fun() -> spawn_link(fun() -> run(Gate, Token, About, Request, Small) end) end).

%% Without a limit, a timer that never fires.
-spec timer(timeout(), pid()) -> reference().
timer(infinity, _Pid) -> make_ref();
timer(Timeout, Pid) -> erlang:start_timer(Timeout, self(), Pid).

-spec facts(about(), map(), #state{}) -> facts().
facts(About, Request, #state{callback = Callback, routes = Routes}) ->
    Whose = case About of
                accept -> Callback;
                _ -> #{callback => maps:get(About, Routes)}
            end,
    maps:merge(Whose, maps:with([method, path, peer], Request)).

-spec run(pid(), non_neg_integer(), about(), map(), #state{}) -> ok.
run(Gate, Token, About, Request, State) ->
    Facts = facts(About, Request, State),
    try decide(About, Request, State) of
        {ok, {stream, Head, Fun}} ->
            ok = go_on(Gate),
            stream(Head, [Fun || map_get(method, Request) =/= <<"HEAD">>],
                   #asked{about = About, token = Token, timer = make_ref(), facts = Facts, streams = true}, State);
        {ok, Decision} ->
            answer(Token, Decision, State);
        {error, Why} ->
            log(error, bad_return_of(About), Facts#{why => Why}, State),
            answer(Token, internal_error(), State)
    catch
        Class:Reason:Stack ->
            failed(#asked{about = About, token = Token, timer = make_ref(), facts = Facts}, {Class, Reason, Stack}, State)
    end.

%% From here on there is no deadline, unless it is over already.
-spec go_on(pid()) -> ok.
go_on(Gate) ->
    Ref = monitor(process, Gate),
    Gate ! {streams, self(), Ref},
    receive
        {Ref, go_on} ->
            _ = demonitor(Ref, [flush]),
            ok;
        {'DOWN', Ref, process, _, _} ->
            exit(shutdown)
    end.

-spec stream({200..599, list()}, [fun()], #asked{}, #state{}) -> ok.
stream(Head, Funs, #asked{token = Token} = Asked, #state{id = Id} = State) ->
    try sockeye_http_stream:run(Id, Token, Head, Funs)
    catch Class:Reason:Stack -> failed(Asked, {Class, Reason, Stack}, State)
    end.

-spec decide(about(), map(), #state{}) -> {ok, sockeye_decision:checked() | sockeye_decision:stream()} | {error, binary()}.
decide(accept, Request, #state{accept = {Module, Arg}}) ->
    sockeye_decision:accept(Module:accept(Request, Arg), Request);
decide(accept, Request, #state{accept = Accept}) when Accept =/= undefined ->
    sockeye_decision:accept(Accept(Request), Request);
decide(Route, Request, #state{routes = Routes, id = Id}) ->
    sockeye_decision:response(case Routes of
                                  #{Route := metrics} -> sockeye_metrics:answer(Request, Id);
                                  #{Route := Fun} -> Fun(Request)
                              end).

-spec failed(#asked{}, tuple(), #state{}) -> ok.
failed(#asked{streams = true, token = Token, facts = Facts}, Failure, #state{id = Id} = State) ->
    ok = crashed(http, Failure, Facts, State),
    log(error, http_stream_crashed, Facts#{crash => Failure}, State),
    sockeye_backend:stream_close(Id, Token, closed);
failed(#asked{about = About, token = Token, facts = Facts}, Failure, State) ->
    ok = crashed(case About of accept -> accept; _ -> http end, Failure, Facts, State),
    log(error, crash_of(About), Facts#{crash => Failure}, State),
    answer(Token, internal_error(), State).

-spec crashed(accept | http, tuple(), facts(), #state{}) -> ok.
crashed(Where, Failure, Facts, #state{id = Id, server = Server}) ->
    ok = sockeye_counts:crash(Where, Id),
    sockeye_telemetry:exception(Failure, Facts#{callback => Where}, fun() -> sockeye_log:server(Server) end).

-spec answer(non_neg_integer(), sockeye_decision:checked(), #state{}) -> ok.
answer(Token, Decision, #state{id = Id}) ->
    _ = case sockeye_decision:is_large(Decision) of
            false -> sockeye_backend:answer(Id, Token, Decision);
            true -> sockeye_backend:answer_dirty(Id, Token, Decision)
        end,
    ok.

-spec log(logger:level(), atom(), map(), #state{}) -> ok.
log(Level, What, Detail, #state{id = Id, server = Server}) ->
    sockeye_log:event(Level, Id, What, Detail, fun() -> sockeye_log:server(Server) end).

-spec internal_error() -> sockeye_decision:checked().
internal_error() ->
    {reject, 500, [], <<"Something went wrong here.\n">>}.

-spec unavailable() -> sockeye_decision:checked().
unavailable() ->
    {reject, 503, [{<<"Retry-After">>, <<"1">>}], <<"There is no answer in time.\n">>}.

-spec crash_of(about()) -> atom().
crash_of(accept) -> accept_crashed;
crash_of(_) -> http_crashed.

-spec timeout_of(about()) -> atom().
timeout_of(accept) -> accept_timeout;
timeout_of(_) -> http_timeout.

-spec bad_return_of(about()) -> atom().
bad_return_of(accept) -> bad_accept_return;
bad_return_of(_) -> bad_http_return.
