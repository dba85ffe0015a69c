%% @private
%% Calls that a thread of the engine answers with a message: `{Ref, Answer}', where Ref is also a
%% monitor of the engine, which may end before it answers.
%%
%% Who asks makes the monitor in the function that receives: only then does the wait not look
%% through the messages that were there before.
-module(sockeye_ask).

-export([ask/2]).
-export([ask_all/2]).
-export([conn_info/2]).
-export([rows/3]).
-export([controlling_process/2]).
-export([passed/1]).

%% What makes no difference is not waited for longer.
-define(PASS_MS, 1000).

%% Begins with Call, whose `ok' means that an answer comes: that answer. Anything else that it returns is the result.
-spec ask(fun((sockeye_backend:asked()) -> ok | Result), timeout()) -> Result | term() | {error, closed | timeout}.
ask(Call, Timeout) ->
    Ref = monitor(process, sockeye_engine),
    Waiting = sockeye_backend:wait_begin(),
    try Call({Ref, Waiting}) of
        ok ->
            Result = receive
                         {Ref, Answer} -> Answer;
                         {'DOWN', Ref, process, _, _} -> {error, closed}
                     after Timeout ->
                             {error, timeout}
                     end,
            over(Ref, Waiting, Result),
            Result;
        Result ->
            over(Ref, Waiting, none),
            Result
    catch
        error:badarg ->
            over(Ref, Waiting, none),
            error(badarg)
    end.

%% Begins with Call, which tells how many answers come: all of them, the last first. The next one has that time.
-spec ask_all(fun((sockeye_backend:asked()) -> non_neg_integer()), timeout()) -> {ok, [term()]} | {error, badarg | closed | timeout}.
ask_all(Call, Timeout) ->
    Ref = monitor(process, sockeye_engine),
    Waiting = sockeye_backend:wait_begin(),
    Result = try Call({Ref, Waiting}) of
                 Count -> answers(Count, Ref, Timeout, [])
             catch
                 error:badarg -> {error, badarg}
             end,
    over(Ref, Waiting, Result),
    Result.

-spec answers(non_neg_integer(), reference(), timeout(), [term()]) -> {ok, [term()]} | {error, closed | timeout}.
answers(0, _Ref, _Timeout, Answers) ->
    {ok, Answers};
answers(Left, Ref, Timeout, Answers) ->
    receive
        {Ref, Answer} -> answers(Left - 1, Ref, Timeout, [Answer | Answers]);
        {'DOWN', Ref, process, _, _} -> {error, closed}
    after Timeout -> {error, timeout}
    end.

%% The wait is over. Without an answer (`none', or an error), what comes too late comes to nobody: it
%% would be a message of which the caller knows nothing.
-spec over(reference(), term(), term()) -> ok.
over(Ref, Waiting, Result) when Result =:= none; element(1, Result) =:= error ->
    ok = sockeye_backend:wait_end(Waiting),
    _ = demonitor(Ref, [flush]),
    flush(Ref);
over(Ref, _Waiting, _Answer) ->
    _ = demonitor(Ref, [flush]),
    ok.

-spec flush(reference()) -> ok.
flush(Ref) ->
    receive {Ref, _} -> flush(Ref)
    after 0 -> ok
    end.

%% Returns when each of the engine's threads has come by. A test has none.
-spec passed(sockeye_backend:server_id()) -> ok.
passed(Id) when is_pid(Id) ->
    ok;
passed(_Id) ->
    _ = ask_all(fun sockeye_backend:pass_shards/1, ?PASS_MS),
    ok.

%% What the thread of a connection knows of it.
-spec conn_info(sockeye:conn(), timeout()) -> {ok, map()} | {error, closed | timeout}.
conn_info({sockeye_conn, {_, _}} = Conn, _Timeout) ->
    sockeye_test_engine:conn_info(Conn);
conn_info(Conn, Timeout) ->
    ask(fun(Asked) -> sockeye_backend:conn_info(Conn, Asked) end, Timeout).

%% A page of a server's connections, see {@link sockeye_backend:rows/3}.
-spec rows(sockeye_backend:server_id(), {non_neg_integer(), non_neg_integer()}, timeout()) ->
          {binary(), non_neg_integer() | done} | {error, closed | timeout}.
rows(ServerId, From, Timeout) ->
    ask(fun(Asked) -> sockeye_backend:rows(ServerId, From, Asked) end, Timeout).

%% Returns when the new owner is in place, and all that came before is with the old one.
-spec controlling_process(sockeye:conn(), pid()) -> ok | {error, closed}.
controlling_process(Conn, Pid) ->
    ask(fun(Asked) -> sockeye_backend:controlling_process(Conn, Pid, Asked) end, infinity).
