%% @private
%% The commands of a handler, on their way to the engine.
%%
%% Frames are gathered, so that those of several callbacks leave in one call. One that fails costs
%% itself: the process gets {'$sockeye_failed', [failure()]}, which is for its worker.
-module(sockeye_commands).

-export([add/5]).
-export([flush/3]).
-export([refusals/1]).
-export([report/5]).

-export_type([acc/0]).
-export_type([callback/0]).
-export_type([failure/0]).

%% Other forms of it are none.
-define(IS_CHANGE(Command), (is_tuple(Command) andalso (tuple_size(Command) =:= 2 orelse tuple_size(Command) =:= 3)
                             andalso (element(1, Command) =:= subscribe orelse element(1, Command) =:= unsubscribe))).

-type acc() :: [term()].
%% Commands so far, last first: `[Frame, Conn, Frame, Conn, ...]'.

-type callback() :: init | handle_open | handle_frame | handle_close | handle_error | handle_info | handle_down
                  | handle_call | handle_cast | terminate.

-type failure() :: {callback(), sockeye_handler:command(), sockeye:conn() | none,
                    sockeye_handler:failure()}.
%% The callback that gave the command, the command with the connection it is for, and why it failed.

%% Before the callback and the connection, in the place of the connection.
-define(NOTE, '$sockeye_from').
%% Instead of a connection, of what is for many: the callback, for whom, and for whom not.
-define(FANOUT, '$sockeye_fanout').
-define(IS_FRAME(Frame), (is_map(Frame) orelse is_tuple(Frame))).
%% How commands are written.
-define(FORMS, [{reply, "{reply, Frame}"}, {send, "{send, Conn, Frame}"}, {broadcast, "{broadcast, Frame}"}, {broadcast_from, "{broadcast_from, Frame}"},
                {subscribe, "{subscribe, Topic}"}, {subscribe, "{subscribe, Conn, Topic}"}, {unsubscribe, "{unsubscribe, Topic}"},
                {unsubscribe, "{unsubscribe, Conn, Topic}"}, {publish, "{publish, Topic, Frame}"}, {publish_from, "{publish_from, Topic, Frame}"},
                {active, "{active, N}"}, {close, "{close, Code, Reason}"}, {close, "{close, Conn, Code, Reason}"}]).
%% What the log shows of a command.
-define(SHOWN, 200).

%% Adds what a callback returned. What is no frame for one connection is done at once, after the
%% frames before it.
-spec add([sockeye_handler:command()], callback(), sockeye:conn() | none, acc(), sockeye_backend:server_id()) -> acc().
add([{reply, Frame} = Command | Rest], At, Conn, Acc, Id) when Conn =/= none ->
    add(Rest, At, Conn, push(Frame, Conn, Command, At, Acc), Id);
add([{send, To, Frame} = Command | Rest], At, Conn, Acc, Id) ->
    add(Rest, At, Conn, push(Frame, To, Command, At, Acc), Id);
add([{active, _} = Active | Rest], At, Conn, Acc, Id) when Conn =/= none ->
    add(Rest, At, Conn, [Active, noted(At, Conn) | Acc], Id);
add([{close, _, _} = Close | Rest], At, Conn, Acc, Id) when Conn =/= none ->
    add(Rest, At, Conn, [Close, noted(At, Conn) | Acc], Id);
add([{close, To, Code, Reason} | Rest], At, Conn, Acc, Id) ->
    add(Rest, At, Conn, [{close, Code, Reason}, noted(At, To) | Acc], Id);
add([], _At, _Conn, Acc, _Id) ->
    Acc;
add([Command | Later] = Commands, At, Conn, Acc, Id) when ?IS_CHANGE(Command) ->
    case changes(Commands, Conn) of
        {[], _} ->
            failed([bad(Command, Conn, At)]),
            add(Later, At, Conn, Acc, Id);
        {Changes, Rest} ->
            flush(Acc, false, Id),
            Answers = lists:zip(Changes, sockeye_fanout:change(Changes)),
            failed([{At, Change, To, case Reason of badarg -> {bad_command, wrong(Change)}; _ -> element(2, Reason) end}
                    || {{_, To, _} = Change, Reason} <- Answers, Reason =/= ok]),
            add(Rest, At, Conn, [], Id)
    end;
add([Command | Rest], At, Conn, Acc, Id) ->
    case other(Command, Conn, At) of
        {Done, About, Call} ->
            flush(Acc, false, Id),
            %% Only such mistakes of the arguments are the command's.
            try Call(Id) of
                %% The server is about to stop, and its clients to leave.
                {error, Reason} -> failed([{At, Done, About, Reason} || Reason =/= closed]);
                _ -> ok
            catch
                error:badarg -> failed([{At, Done, About, {bad_command, wrong(Done)}}])
            end,
            add(Rest, At, Conn, [], Id);
        none ->
            failed([bad(Command, Conn, At)]),
            add(Rest, At, Conn, Acc, Id)
    end;
add(Tail, At, Conn, Acc, _Id) ->
    failed([bad(Tail, Conn, At)]),
    Acc.

%% Commands that are no frames for one connection: as it is reported, for whom, and what to call.
-spec other(term(), sockeye:conn() | none, callback()) ->
          {sockeye_handler:command(), sockeye:conn() | none, fun((sockeye_backend:server_id()) -> term())} | none.
other({broadcast, Frame} = Command, _Conn, At) ->
    fanout(Command, all, Frame, none, At);
other({broadcast_from, Frame} = Command, Conn, At) when Conn =/= none ->
    fanout(Command, all, Frame, Conn, At);
other({publish, Topic, Frame} = Command, _Conn, At) ->
    fanout(Command, {topic, Topic}, Frame, none, At);
other({publish_from, Topic, Frame} = Command, Conn, At) when Conn =/= none ->
    fanout(Command, {topic, Topic}, Frame, Conn, At);
other(_Command, _Conn, _At) ->
    none.

%% Changes of topics that stand together, and what is behind them.
-spec changes([sockeye_handler:command()], sockeye:conn() | none) -> {[sockeye_fanout:change()], [sockeye_handler:command()]}.
changes([{Change, Topic} = Command | Rest], Conn) when ?IS_CHANGE(Command), Conn =/= none ->
    {Changes, Behind} = changes(Rest, Conn),
    {[{Change, Conn, Topic} | Changes], Behind};
changes([{_, _, _} = Change | Rest], Conn) when ?IS_CHANGE(Change) ->
    {Changes, Behind} = changes(Rest, Conn),
    {[Change | Changes], Behind};
changes(Rest, _Conn) ->
    {[], Rest}.

-spec fanout(sockeye_handler:command(), all | {topic, term()}, sockeye:frame(), sockeye:conn() | none, callback()) ->
          {sockeye_handler:command(), none, fun((sockeye_backend:server_id()) -> term())}.
fanout(Command, To, Frame, Except, At) ->
    {Command, none, fun(Id) -> sockeye_fanout:command({?FANOUT, At, To, Except}, Id, To, Frame, Except) end}.

-spec push(term(), sockeye:conn(), sockeye_handler:command(), callback(), acc()) -> acc().
push(Frame, Conn, _Command, At, Acc) when ?IS_FRAME(Frame) ->
    [Frame, noted(At, Conn) | Acc];
push(Frames, Conn, Command, At, Acc) ->
    case are_frames(Frames) of
        true ->
            Noted = noted(At, Conn),
            lists:foldl(fun(Frame, In) -> [Frame, Noted | In] end, Acc, Frames);
        false ->
            failed([bad(Command, Conn, At)]),
            Acc
    end.

-spec are_frames(term()) -> boolean().
are_frames([Frame | Rest]) when ?IS_FRAME(Frame) -> are_frames(Rest);
are_frames(Rest) -> Rest =:= [].

%% Which callback a command is from, where it is not the usual one.
-spec noted(callback(), sockeye:conn()) -> sockeye:conn() | {?NOTE, callback(), sockeye:conn()}.
noted(handle_frame, Conn) -> Conn;
noted(At, Conn) -> {?NOTE, At, Conn}.

%% Hands over what there is.
-spec flush(acc(), boolean(), sockeye_backend:server_id()) -> ok.
flush([], _Dirty, _Id) ->
    ok;
flush(Acc, Dirty, Id) ->
    submit(lists:reverse(Acc), Dirty, Id).

-spec submit(list(), boolean(), sockeye_backend:server_id()) -> ok.
submit(Commands, false, Id) ->
    submitted(sockeye_backend:commands(Id, Commands), false, Id);
submit(Commands, true, Id) ->
    submitted(sockeye_backend:commands_dirty(Id, Commands), true, Id).

-spec submitted(term(), boolean(), sockeye_backend:server_id()) -> ok.
submitted(ok, _Dirty, _Id) ->
    ok;
submitted({done, Errors}, _Dirty, _Id) ->
    refused(Errors);
submitted({more, Rest, Errors}, Dirty, Id) ->
    refused(Errors),
    submit(Rest, Dirty, Id);
submitted({dirty, Rest, Errors}, _Dirty, Id) ->
    refused(Errors),
    submit(Rest, true, Id);
%% Too much waits for the engine: so does the handler.
submitted({crowded, _, _} = Crowded, Dirty, Id) ->
    submitted(sockeye_backlog:settle(Crowded), Dirty, Id).

-spec refused([sockeye_backend:conn_error()]) -> ok.
refused(Errors) ->
    failed(refusals(Errors)).

%% What the engine did not take.
-spec refusals([sockeye_backend:conn_error()]) -> [failure()].
refusals(Errors) ->
    [refusal(Error) || Error <- Errors].

-spec refusal(sockeye_backend:conn_error()) -> failure().
refusal({{?NOTE, At, Conn}, Frame, Reason}) ->
    refusal(At, Conn, Frame, Reason);
refusal({{?FANOUT, At, To, Except}, Frame, Reason}) ->
    Command = many(To, Except, Frame),
    {At, Command, none, case Reason of badarg -> {bad_command, wrong(Command)}; _ -> placed(Reason, Frame) end};
refusal({Conn, Frame, Reason}) ->
    refusal(handle_frame, Conn, Frame, Reason).

-spec many(all | {topic, sockeye:topic()}, sockeye:conn() | none, sockeye:frame()) -> sockeye_handler:command().
many(all, none, Frame) -> {broadcast, Frame};
many(all, _Except, Frame) -> {broadcast_from, Frame};
many({topic, Topic}, none, Frame) -> {publish, Topic, Frame};
many({topic, Topic}, _Except, Frame) -> {publish_from, Topic, Frame}.

-spec refusal(callback(), sockeye:conn(), term(), term()) -> failure().
refusal(At, Conn, Frame, badarg) -> bad(command(Conn, Frame), Conn, At);
refusal(At, Conn, Frame, Reason) -> {At, command(Conn, Frame), Conn, placed(Reason, Frame)}.

%% With the path to what is no JSON.
-spec placed(sockeye_backend:refusal(), term()) -> sockeye:send_error().
placed({not_json, Part}, Frame) -> {not_json, Part, sockeye_json_path:in_frames(Frame, Part)};
placed(Reason, _Frame) -> Reason.

-spec command(sockeye:conn(), term()) -> sockeye_handler:command().
command(_Conn, {active, _} = Active) -> Active;
command(Conn, {close, Code, Reason}) -> {close, Conn, Code, Reason};
command(Conn, Frame) -> {send, Conn, Frame}.

-spec failed([failure()]) -> ok.
failed([]) ->
    ok;
failed(Failures) ->
    %% The next batch is taken after that: no more of them are in the mailbox than a batch has commands.
    self() ! {'$sockeye_failed', Failures},
    ok.

-spec bad(term(), sockeye:conn() | none, callback()) -> failure().
bad(Command, Conn, At) ->
    {At, Command, Conn, {bad_command, why(Command, Conn)}}.

%% What is wrong with a command, in words.
-spec why(term(), sockeye:conn() | none) -> binary().
why(Command, none) when is_tuple(Command), tuple_size(Command) >= 2 ->
    case lists:member({element(1, Command), tuple_size(Command)},
                      [{reply, 2}, {active, 2}, {close, 3}, {broadcast_from, 2}, {publish_from, 3},
                       {subscribe, 2}, {unsubscribe, 2}]) of
        true -> <<"no connection is at hand in this callback: name one, as in {send, Conn, Frame}">>;
        false -> wrong(Command)
    end;
why(Command, _Conn) ->
    wrong(Command).

-spec wrong(term()) -> binary().
wrong({reply, Frames}) -> first([{frames, Frames}]);
wrong({reply, _Frames, #{}}) -> <<"a reply has no options: #{compress => false} is now {reply, {uncompressed, Frame}}">>;
wrong({send, To, Frames}) -> first([{conn, To}, {frames, Frames}]);
wrong({send, _To, _Frames, #{}}) ->
    <<"send has no options: #{compress => false} is now {send, Conn, {uncompressed, Frame}}">>;
wrong({broadcast, Frame}) -> first([{shared_frame, Frame}]);
wrong({broadcast_from, Frame}) -> first([{shared_frame, Frame}]);
wrong({publish, Topic, Frame}) -> first([{plain_topic, Topic}, {shared_frame, Frame}]);
wrong({publish_from, Topic, Frame}) -> first([{plain_topic, Topic}, {shared_frame, Frame}]);
wrong({Change, Topic}) when Change =:= subscribe; Change =:= unsubscribe -> first([{topic, Topic}]);
wrong({Change, To, Topic}) when Change =:= subscribe; Change =:= unsubscribe ->
    first([{server_conn, To}, {topic, Topic}]);
wrong({active, Active}) -> first([{active, Active}]);
wrong({close, Code, Reason}) -> first([{close_code, Code}, {close_reason, Reason}]);
wrong({close, To, Code, Reason}) -> first([{conn, To}, {close_code, Code}, {close_reason, Reason}]);
wrong(Command) -> unknown(Command).

-spec first([{sockeye_args:kind(), term()}]) -> binary().
first(Arguments) ->
    case [Why || {Kind, Value} <- Arguments, Why <- [sockeye_args:wrong(Kind, Value)], Why =/= none] of
        [Why | _] -> Why;
        [] -> <<"there is no such command">>
    end.

%% A command in another form, or what it resembles.
-spec unknown(term()) -> binary().
unknown(Command) ->
    Tag = case Command of
              _ when is_tuple(Command), tuple_size(Command) > 0 -> element(1, Command);
              _ -> Command
          end,
    case [Form || {Name, Form} <- ?FORMS, Name =:= Tag] of
        [] -> sockeye_shown:format("there is no such command~ts", [sockeye_nearest:hint(Tag, [Name || {Name, _} <- ?FORMS])]);
        Forms -> sockeye_shown:format("there is no such command; the form is ~ts", [lists:join(" or ", Forms)])
    end.

%% Mistakes are logged in any case; what else failed, where the handler is not told. A connection
%% that is closed is nobody's fault.
-spec report([failure()], [failure()], module(), sockeye_backend:server_id(), fun(() -> map())) -> ok.
report(All, NotTold, Module, Id, Who) ->
    ok = sockeye_test_engine:failed(Id, All),
    {Bad, _} = lists:partition(fun is_bad/1, All),
    Failed = [F || {_, _, _, Reason} = F <- NotTold, Reason =/= closed, not is_bad(F)],
    first_of(error, bad_command, Bad, Module, Id, Who),
    first_of(warning, command_failed, Failed, Module, Id, Who).

-spec is_bad(failure()) -> boolean().
is_bad({_, _, _, {bad_command, _}}) -> true;
is_bad(_) -> false.

-spec first_of(logger:level(), atom(), [failure()], module(), sockeye_backend:server_id(), fun(() -> map())) -> ok.
first_of(_Level, _What, [], _Module, _Id, _Who) ->
    ok;
first_of(Level, What, [{At, Command, Conn, Reason} | _] = All, Module, Id, Who) ->
    Detail = #{module => Module, callback => {At, sockeye_crash:arity(At)},
               command => sockeye_log_text:cut(Command, ?SHOWN), reason => Reason,
               count => length(All)},
    sockeye_log:event(Level, Id, What, Detail, fun() -> maps:merge(Who(), sockeye_log:conn(Conn)) end).
