%% @private
%% Calls to the engine's process, and messages to it that need no answer.
-module(sockeye_port_call).

-export([ask/2]).
-export([ask_all/1]).
-export([call_as/3]).
-export([posted/4]).
-export([call/3]).
-export([value/2]).
-export([pure/2]).
-export([say/2]).

-export_type([answer/0]).

-type answer() :: {return, term()} | {raise, badarg} | lost.

%% Calls of one process that are on their way at once.
-define(AT_ONCE, 64).

-spec ask(atom(), [term()]) -> answer().
ask(Function, Args) ->
    call_as(self(), Function, Args).

%% To the engine, the call is one of `Caller'. The monitor is made in the function that receives: only then does the wait not look
%% through the messages that were there before.
-spec call_as(pid(), atom(), [term()]) -> answer().
call_as(Caller, Function, Args) ->
    case whereis(sockeye_link_writer) of
        undefined ->
            lost;
        Writer ->
            Ref = erlang:monitor(process, Writer, [{alias, reply_demonitor}]),
            ok = post(Writer, Ref, any, Caller, Function, Args),
            receive
                {Ref, Answer} -> read(Answer);
                {'DOWN', Ref, process, _, _} -> lost
            end
    end.

%% Calls that come in this order, each of which would wait for the one before it otherwise.
-spec ask_all([{atom(), [term()]}]) -> [answer()].
ask_all([]) ->
    [];
ask_all(Calls) ->
    {Now, Later} = lists:split(min(?AT_ONCE, length(Calls)), Calls),
    Asked = [posted(any, self(), Function, Args) || {Function, Args} <- Now],
    [answered(Ref) || Ref <- Asked] ++ ask_all(Later).

-spec answered(reference() | gone) -> answer().
answered(gone) ->
    lost;
answered(Ref) ->
    receive
        {Ref, Answer} -> read(Answer);
        {'DOWN', Ref, process, _, _} -> lost
    end.

%% The reference is the address of the answer, and nothing that comes too late reaches anybody. Who has the question is watched: it is
%% not another engine's that has started meanwhile.
-spec posted(sockeye_link_writer:run() | any, pid(), atom(), [term()]) -> reference() | gone.
posted(Run, Caller, Function, Args) ->
    case whereis(sockeye_link_writer) of
        undefined ->
            gone;
        Writer ->
            Ref = erlang:monitor(process, Writer, [{alias, reply_demonitor}]),
            ok = post(Writer, Ref, Run, Caller, Function, Args),
            Ref
    end.

-spec post(pid(), reference(), sockeye_link_writer:run() | any, pid(), atom(), [term()]) -> ok.
post(Writer, Ref, Run, Caller, Function, Args) ->
    _ = sockeye_link_writer:post(Writer, Run, sockeye_wire:call(term_to_binary(Ref), Caller, Function, Args)),
    ok.

-spec read(iodata()) -> answer().
read(Bytes) ->
    case sockeye_wire:term(Bytes) of
        {ok, {return, _} = Answer} ->
            Answer;
        {ok, {raise, badarg} = Answer} ->
            Answer;
        _ ->
            case sockeye_link:run() of
                none -> ok;
                Run -> sockeye_link:broken(Run, <<"an answer that is none">>)
            end,
            lost
    end.

%% What the function returns, or, without an engine, what it returns then; `badarg' is raised.
-spec call(atom(), [term()], term()) -> term().
call(Function, Args, Lost) ->
    case ask(Function, Args) of
        {return, Value} -> Value;
        lost when Lost =/= badarg -> Lost;
        _ -> error(badarg)
    end.

%% The same for a function that has no errors to return.
-spec value(atom(), [term()]) -> term().
value(Function, Args) -> call(Function, Args, badarg).

%% What needs the engine's code, and may be called while no application is started.
-spec pure(atom(), [term()]) -> term().
pure(Function, Args) ->
    Answer = case ask(Function, Args) of
                 lost ->
                     %% The application waits for handlers, which would wait for its end.
                     get('$sockeye_worker') =/= undefined andalso sockeye_engine:is_ending() andalso error(no_engine()),
                     ok = started(sockeye_engine:ensure_running()),
                     ask(Function, Args);
                 Known ->
                     Known
             end,
    case Answer of
        {return, Value} -> Value;
        {raise, badarg} -> error(badarg);
        lost -> error(no_engine())
    end.

-spec started(ok | {error, term()}) -> ok.
started(ok) ->
    ok;
started({error, Reason}) ->
    Cause = sockeye_engine:cause(Reason),
    error(case Cause of {sockeye_port, _, _} -> Cause; _ -> no_engine() end).

-spec no_engine() -> {sockeye_port, binary(), binary()}.
no_engine() ->
    {sockeye_port, <<>>, <<"The engine's process is not there: the log says why.">>}.

%% Word to the engine of the run of which the calling process knows something.
-spec say(atom(), [term()]) -> ok.
say(Function, Args) ->
    {Run, _} = sockeye_port_batch:sender(),
    _ = sockeye_link_writer:post(Run, sockeye_wire:cast(self(), Function, Args)),
    ok.
