%% @private
%% Events for the library `telemetry', where that is there: what has been counted since the last time, once a second for each server.
%%
%% Nothing is told for each message or connection: what opens and closes is known to the engine, and with a plain owner to nobody else
%% here. So one process looks at the counters, and a function that somebody has attached holds up nothing but that. Only what crashes
%% tells itself.
-module(sockeye_telemetry).
-behaviour(gen_server).

-export([is_there/0]).
-export([start_link/0]).
-export([ended/2]).
-export([exception/3]).
-export([init/1]).
-export([handle_call/3]).
-export([handle_cast/2]).
-export([handle_info/2]).
-export([terminate/2]).

-define(LIBRARY, telemetry).
-define(INTERVAL_MS, 1000).
%% So long to hear which applications run.
-define(WHICH_MS, 1000).

-record(state,
        {interval :: pos_integer(),
         restarts :: non_neg_integer(),
         %% What each server had counted when it was looked at last.
         known = #{} :: #{sockeye_backend:server_id() => map()}}).

%% Whether the library can be called. Looked for once, when the application starts.
-spec is_there() -> boolean().
is_there() ->
    case code:ensure_loaded(?LIBRARY) of
        {module, Library} -> erlang:function_exported(Library, execute, 3);
        {error, _} -> false
    end.

-spec start_link() -> gen_server:start_ret().
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% The calling process is a server whose connections have ended, having counted this. It is still known.
-spec ended(sockeye_backend:server_id(), sockeye_drain:counts()) -> ok.
ended(_Id, unknown) ->
    ok;
ended(Id, Counts) ->
    is_on() andalso gen_server:cast(?MODULE, {ended, Id, about(self()), Counts}),
    ok.

%% A callback has crashed, in the calling process.
-spec exception({error | exit | throw, term(), list()} | {exit, term()}, map(), fun(() -> map())) -> ok.
exception(Crash, About, More) ->
    is_on() andalso
        begin
            {Kind, Reason, Stack} = case sockeye_shown:crash(Crash) of
                                        {_, _, _} = Shown -> Shown;
                                        {exit, Why} -> {exit, Why, []}
                                    end,
            execute([handler, exception], #{count => 1},
                    maps:merge(maps:with([server, client, name, url], More()),
                               About#{kind => Kind, reason => Reason, stacktrace => Stack}))
        end,
    ok.

%% The library is there, and its application runs.
-spec is_on() -> boolean().
is_on() ->
    persistent_term:get(?MODULE, none) =/= none.

%% What it does must cost nobody anything else.
-spec execute([atom()], map(), map()) -> ok.
execute(Event, Measurements, Metadata) ->
    Library = persistent_term:get(?MODULE, none),
    try
        _ = Library:execute([sockeye | Event], Measurements, Metadata),
        ok
    catch _:_ -> ok
    end.

-spec init([]) -> {ok, #state{}}.
init([]) ->
    process_flag(trap_exit, true),
    Interval = case application:get_env(sockeye, telemetry_interval, ?INTERVAL_MS) of
                   Ms when is_integer(Ms), Ms > 0 -> Ms;
                   _ -> ?INTERVAL_MS
               end,
    {ok, wait(#state{interval = Interval, restarts = sockeye_counts:restarts()})}.

-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(look, _From, State) ->
    {reply, ok, look(State)};
handle_call(_Request, _From, State) ->
    {reply, {error, not_supported}, State}.

-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast({ended, Id, About, Counts}, #state{known = Known} = State) ->
    ok = tell(maps:get(Id, Known, #{}), Counts, About),
    {noreply, State#state{known = maps:remove(Id, Known)}};
handle_cast(_Request, State) ->
    {noreply, State}.

-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(look, State) ->
    {noreply, wait(look(State))};
handle_info(_Message, State) ->
    {noreply, State}.

-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, _State) ->
    persistent_term:put(?MODULE, none).

-spec wait(#state{}) -> #state{}.
wait(#state{interval = Interval} = State) ->
    _ = erlang:send_after(Interval, self(), look),
    State.

-spec look(#state{}) -> #state{}.
look(#state{restarts = Before, known = Known} = State) ->
    case is_on() orelse runs() of
        true ->
            Restarts = sockeye_counts:restarts(),
            ok = told([engine, restart], Restarts - Before, #{}, #{engine => sockeye_backend:engine()}),
            Now = maps:from_list([{Id, look(Id, Pid, maps:get(Id, Known, #{}))} || {Pid, Id, _} <- sockeye_engine:servers()]),
            State#state{restarts = Restarts, known = Now};
        false ->
            State
    end.

-spec look(sockeye_backend:server_id(), pid(), map()) -> map().
look(Id, Pid, Before) ->
    try sockeye_counts:numbers(Id) of
        Now -> ok = tell(Before, Now, about(Pid)), Now
    catch
        %% It ends, or the engine's process is being replaced.
        error:badarg -> Before
    end.

%% Its functions would complain each time of an application that does not run.
-spec runs() -> boolean().
runs() ->
    try lists:keymember(?LIBRARY, 1, application:which_applications(?WHICH_MS)) of
        true -> persistent_term:put(?MODULE, ?LIBRARY), true;
        false -> false
    catch exit:_ -> false
    end.

-spec about(pid()) -> map().
about(Pid) ->
    case sockeye_engine:find(Pid) of
        {ok, {_, _, About}} -> (maps:with([name, ip, port], About))#{server => Pid};
        error -> #{server => Pid}
    end.

-spec tell(map(), map(), map()) -> ok.
tell(Before, Now, About) ->
    ok = told([connection, open], risen(accepted, Before, Now), #{}, About),
    ok = each([connection, close], code, closes, Before, Now, About),
    ok = each([upgrade, refused], reason, refused, Before, Now, About),
    ok = told([messages, in], risen(frames_in, Before, Now), #{bytes => risen(bytes_in, Before, Now)}, About),
    ok = told([messages, out], risen(frames_out, Before, Now), #{bytes => risen(bytes_out, Before, Now)}, About),
    ok = told([send, busy], risen(busy, Before, Now), #{}, About),
    told([send, drop], risen(dropped, Before, Now), #{}, About).

-spec each([atom()], code | reason, closes | refused, map(), map(), map()) -> ok.
each(Event, Label, Key, Before, After, About) ->
    {Old, Now} = {maps:get(Key, Before, #{}), maps:get(Key, After)},
    lists:foreach(fun(Which) -> told(Event, risen(Which, Old, Now), #{}, About#{Label => Which}) end, lists:sort(maps:keys(Now))).

-spec told([atom()], integer(), map(), map()) -> ok.
told(_Event, Count, _More, _About) when Count =< 0 -> ok;
told(Event, Count, More, About) -> execute(Event, More#{count => Count}, About).

%% An engine that was started again counts from zero.
-spec risen(term(), map(), map()) -> non_neg_integer().
risen(Key, Before, Now) ->
    case {maps:get(Key, Before, 0), maps:get(Key, Now)} of
        {Old, New} when New >= Old -> New - Old;
        {_, New} -> New
    end.
