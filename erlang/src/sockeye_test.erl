%% @doc Tests of a handler without a server: no socket, no engine, and a fraction of a millisecond for a frame.
%%
%% A test opens connections, sends frames to the handler, lets time pass, and looks at what comes out: the commands that were
%% carried out, the frames that the other end got, and the state. It works where the application `sockeye' is not started, and for
%% modules of WebSock ({@link sockeye_websock}) as for a {@link sockeye_handler}.
%%
%% ```
%% -module(reminder).
%% -behaviour(sockeye_handler).
%% -export([init/1, handle_frame/3, handle_call/3, handle_cast/2, handle_info/2]).
%%
%% init(Text) ->
%%     {ok, #{text => Text, asked => 0}}.
%%
%% handle_frame({json, #{<<"after">> := Time}}, Conn, #{asked := N} = State) ->
%%     _ = erlang:send_after(Time, self(), {remind, Conn}),
%%     {[{reply, #{ok => true}}], State#{asked := N + 1}};
%% handle_frame(_Other, _Conn, State) ->
%%     {[{close, 1008, <<"when?">>}], State}.
%%
%% handle_call(asked, _From, #{asked := N} = State) -> {reply, N, [], State}.
%%
%% handle_cast({text, Text}, State) -> {[], State#{text := Text}}.
%%
%% handle_info({remind, Conn}, #{text := Text} = State) -> {[{send, Conn, #{text => Text}}], State}.
%% '''
%% ```
%% 1> {ok, Test} = sockeye_test:start(#{handler => {reminder, <<"Tea">>}}).
%% {ok,<0.105.0>}
%% 2> {ok, Conn} = sockeye_test:open(Test).
%% {ok,{sockeye_conn,{<0.105.0>,1}}}
%% 3> sockeye_test:frame(Conn, #{'after' => 30000}).
%% [{send,{sockeye_conn,{<0.105.0>,1}},#{ok => true}}]
%% 4> sockeye_test:pass(Test, 30000).
%% [{send,{sockeye_conn,{<0.105.0>,1}},#{text => <<"Tea">>}}]
%% 5> sockeye_test:received(Conn).
%% [{json,#{<<"ok">> => true}},{json,#{<<"text">> => <<"Tea">>}}]
%% 6> sockeye_test:state(Test).
%% #{asked => 1,text => <<"Tea">>}
%% 7> sockeye_test:stop(Test).
%% ok
%% '''
%%
%% <b>What is real</b>: the handler runs in the process that it has in a server, and the same code calls it, checks what it returns,
%% carries out its commands in order, calls `handle_error/3' for those that fail, and reports its crashes to `logger'. The option
%% `accept' and `accept/2' are asked as by a server, within `accept_timeout'. A callback may call {@link sockeye} with its connections, and
%% with the test as a server, by pid or by the option `name'; {@link sockeye_pubsub} and {@link sockeye_presence} need the application
%% started.
%%
%% <b>What is not</b>: there is no network. The other end answers Close frames at once, and takes all that is sent unless {@link busy/2} says
%% otherwise. The options are those of {@link sockeye:start_link/1} and are checked as there, but only these do something: `handler',
%% `processes', `name', `active', `accept', `accept_timeout', `subprotocols', `format', `keys', `null', `objects', `max_depth', `encoder',
%% `on_invalid_json', `control_frames' and `max_subscriptions'. No size, rate or timeout of the engine is reached; {@link close/3} stands
%% for its ends, as in `close(Conn, 1001, <<"idle timeout">>)'. For all of that, test against a server with {@link sockeye_test_client}.
%%
%% <b>The native library</b> is not loaded, with these exceptions: `{text, _}' for a handler with `format => json', and JSON where `keys',
%% `null', `objects' or `format' are not the default, are read by it, and `paths', `origins' and `http' checked. Whether a term that the
%% handler sends is JSON is checked without it.
%%
%% <b>Each act</b> ({@link open/2}, {@link frame/2}, {@link info/2}, {@link cast/2}, {@link call/2}, {@link pass/2}, {@link close/3}) returns when the
%% processes of the handler have nothing more to do: also the messages that they sent to themselves and to each other are served. A callback
%% that takes longer than 5 seconds is `{handler_busy, Pid}'. When a callback crashes, or stops for a reason other than `normal', `shutdown'
%% and `{shutdown, _}', the act raises `{handler_stopped, Reason}', with the reason that links would see; the connections of the process are
%% closed, and the next act starts another one:
%%
%% ```
%% crashes_test() ->
%%     {ok, Test} = sockeye_test:start(#{handler => {reminder, <<"Tea">>}}),
%%     {ok, Conn} = sockeye_test:open(Test),
%%     try sockeye_test:frame(Conn, #{'after' => <<"soon">>}) of
%%         Commands -> error({no_crash, Commands})
%%     catch error:{handler_stopped, {badarg, _Stack}} -> ok
%%     end,
%%     [{close, 1011, <<"handler died">>}] = sockeye_test:received(Conn),
%%     ok = sockeye_test:stop(Test).
%% '''
-module(sockeye_test).
%% The connections of a test are made here.
-dialyzer(no_opaque).
-dialyzer({no_contracts, [busy/2, received/1]}).
-dialyzer({no_return, [frame/2]}).

-export([start/1]).
-export([stop/1]).
-export([open/1]).
-export([open/2]).
-export([frame/2]).
-export([info/2]).
-export([cast/2]).
-export([call/2]).
-export([pass/2]).
-export([busy/2]).
-export([close/1]).
-export([close/3]).
-export([commands/1]).
-export([received/1]).
-export([state/1]).
-export([handler/1]).

-export_type([test/0]).
-export_type([act/0]).
-export_type([frame/0]).
-export_type([seen/0]).
-export_type([request/0]).

-type test() :: pid().
%% A test. It ends with the process that started it, and is a server to functions of {@link sockeye}.

-type act() :: {send, sockeye:conn(), sockeye:frame()}
             | {close, sockeye:conn(), sockeye:close_code(), Reason :: iodata()}
             | {active, sockeye:conn(), sockeye:active()}
             | {subscribe | unsubscribe, sockeye:conn(), sockeye:topic()}
             | {broadcast, sockeye:frame()}
             | {broadcast_from, sockeye:conn(), sockeye:frame()}
             | {publish, sockeye:topic(), sockeye:frame()}
             | {publish_from, sockeye:conn(), sockeye:topic(), sockeye:frame()}
             | {setopts, sockeye:conn(), [sockeye:conn_option()]}
             | {failed, sockeye_handler:command(), sockeye_handler:failure()}.
%% What was done: a command of the handler, with its connection where the command has none, or the same by a function of {@link
%% sockeye}. A list of frames is one `send' for each. `failed': a command that could not be carried out, which `handle_error/3' is
%% told.

-type frame() :: map() | {json, term()} | {text | binary | ping | pong, iodata()} | {close, sockeye:close_code(), iodata()}.
%% What the other end sends. A map is JSON. The handler gets the term as it is read from JSON: with binaries as keys, and binaries for
%% atoms but `true', `false' and `null'.

-type seen() :: {json, term()} | {text | binary | ping | pong, binary()} | {close, sockeye:close_code(), Reason :: binary()}.
%% What the other end gets. JSON is the term as the other end would read it, with binaries as keys; `{json_raw, _}' stays as it is.

-type request() :: #{path => iodata(), headers => [{iodata(), iodata()}], subprotocols => [iodata()], peer => sockeye:endpoint(),
                     local => sockeye:endpoint(), tls => undefined | map(), http_version => {1 | 2, 0 | 1}}.
%% The request of a client. Defaults: `path' `"/"', with a query behind `?'; no `headers', whose names come in lower case; no
%% `subprotocols'; `peer' a port of 127.0.0.1, another one for each connection; `tls' `undefined'.

-define(BUSY_MS, 5000).

%% @doc Starts a test of a handler. It ends with the calling process, at the latest.
%%
%% `Options' are those of {@link sockeye:start_link/1}, with `handler => {Module, Arg}'. Error: `bad_option', `already_started', or the reason that
%% `init/1' gave. A crash of `init/1' is an error as for a server: its reason.
%% ```
%% 1> {ok, Test} = sockeye_test:start(#{handler => {reminder, <<"Tea">>}}).
%% {ok,<0.105.0>}
%% 2> sockeye_test:start(#{handler => {reminder, <<"Tea">>}, prot => 8080}).
%% {error,{bad_option,prot,<<"unknown option; did you mean port?">>}}
%% '''
-spec start(sockeye:options()) -> {ok, test()} | {error, sockeye:start_error()}.
start(Options) when is_map(Options) ->
    case sockeye_options:parse(Options, self()) of
        {ok, #{handler := {_, _}} = Config} -> started(Config);
        {ok, _} -> {error, sockeye_bad_option:option(handler, sockeye_bad_option:expected("{Module, Arg}", maps:get(handler, Options, none)))};
        {error, _} = Error -> Error
    end;
start(Options) ->
    sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Options]).

-spec started(sockeye_options:config()) -> {ok, test()} | {error, term()}.
started(#{handler := {Module, _}} = Config) ->
    _ = code:ensure_loaded(Module),
    case sockeye_test_world:start(Config) of
        {ok, World} ->
            case sockeye_test_host:start(World, Config) of
                {ok, Host} -> ok = sockeye_test_engine:host(World, Host), {ok, World};
                {error, Reason} -> ok = gen_server:stop(World), {error, Reason}
            end;
        {error, _} = Error -> Error
    end.

%% @doc Ends a test as a server ends: connections are closed with 1001, and the handler makes its last calls.
%%
%% Raises `{handler_stopped, Reason}' if one of them crashes. A test that is not stopped ends with the process that started it, without
%% these calls.
%% ```
%% 1> sockeye_test:stop(Test).
%% ok
%% '''
-spec stop(test()) -> ok.
stop(Test) ->
    _ = checked(test, ?FUNCTION_NAME, [Test]),
    Crashes = sockeye_test_host:stop(host(Test)),
    ok = gen_server:stop(Test),
    raise(Crashes).

%% @equiv open(Test, #{})
-spec open(test()) -> {ok, sockeye:conn()} | {error, {refused, map()}}.
open(Test) ->
    open(Test, #{}).

%% @doc Opens a connection, and returns when `handle_open/3' has.
%%
%% Error: `{refused, Answer}' where `accept' rejects the request; `Answer' has `status', `headers' and `body'. What `handle_open/3' commanded is
%% in {@link commands/1}.
%% ```
%% 1> {ok, Bob} = sockeye_test:open(Test, #{path => "/rooms/7?token=a", headers => [{"Origin", "https://a.example"}]}).
%% {ok,{sockeye_conn,{<0.105.0>,2}}}
%% '''
-spec open(test(), request()) -> {ok, sockeye:conn()} | {error, {refused, map()}}.
open(Test, Request) ->
    _ = checked(test, ?FUNCTION_NAME, [Test, Request]),
    Full = case sockeye_test_request:wrong(Request) of
               none -> sockeye_test_request:full(Request);
               Why -> sockeye_errors:misuse(?MODULE, ?FUNCTION_NAME, [Test, Request], [{2, Why}])
           end,
    ok = sockeye_test_engine:begin_act(Test),
    case sockeye_test_engine:open(Test, Full) of
        {ok, Conn, Info} ->
            {ok, _} = sockeye_test_host:worker(host(Test), sockeye_test_engine:key(Conn)),
            ok = sockeye_test_engine:push(Conn, [{open, Info}]),
            _ = over(Test),
            {ok, Conn};
        {error, _} = Error ->
            Error
    end.

%% @doc The other end sends a frame, or several that come together: what the handler does.
%%
%% Frames wait while the connection has no credits, see {@link sockeye:active()}. Raises `badarg' for a frame that no handler gets: one
%% that is not JSON, or text that is not UTF-8; and `closed' if the connection is.
%% ```
%% 1> sockeye_test:frame(Conn, [{text, "[]"}, {binary, <<1>>}]).
%% [{close,{sockeye_conn,{<0.105.0>,1}},1008,<<"when?">>},{failed,{close,{sockeye_conn,{<0.105.0>,1}},1008,<<"when?">>},closed}]
%% '''
-spec frame(sockeye:conn(), frame() | [frame()]) -> [act()].
frame(Conn, Frames) when is_list(Frames) ->
    Test = checked(conn, ?FUNCTION_NAME, [Conn, Frames]),
    sockeye_test_request:is_proper(Frames) orelse sockeye_errors:misuse(?MODULE, ?FUNCTION_NAME, [Conn, Frames], [{2, <<"not a proper list">>}]),
    act(Test, fun() ->
        case sockeye_test_engine:push(Conn, Frames) of
            ok -> ok;
            {error, closed} -> error(closed);
            {error, Why} -> sockeye_errors:misuse(?MODULE, frame, [Conn, Frames], [{2, Why}])
        end
    end);
frame(Conn, Frame) ->
    frame(Conn, [Frame]).

%% @doc Sends a message to the process of the handler: what it does.
%% ```
%% 1> sockeye_test:info(Test, {remind, Conn}).
%% [{send,{sockeye_conn,{<0.105.0>,1}},#{text => <<"Tea">>}}]
%% '''
-spec info(test() | sockeye:conn(), term()) -> [act()].
info(Of, Message) ->
    act(checked(any, ?FUNCTION_NAME, [Of, Message]), fun() -> handler(Of) ! Message end).

%% @doc The same for {@link gen_server:cast/2}.
%% ```
%% 1> sockeye_test:cast(Test, {text, <<"Coffee">>}).
%% []
%% '''
-spec cast(test() | sockeye:conn(), term()) -> [act()].
cast(Of, Message) ->
    act(checked(any, ?FUNCTION_NAME, [Of, Message]), fun() -> gen_server:cast(handler(Of), Message) end).

%% @doc What the handler replies to {@link gen_server:call/2}. What it commanded beside is in {@link commands/1}.
%% ```
%% 1> sockeye_test:call(Test, asked).
%% 0
%% '''
-spec call(test() | sockeye:conn(), term()) -> Reply :: term().
call(Of, Request) ->
    Test = checked(any, ?FUNCTION_NAME, [Of, Request]),
    ok = sockeye_test_engine:begin_act(Test),
    Handler = handler(Of),
    Reply = try {ok, gen_server:call(Handler, Request, ?BUSY_MS)}
            catch
                exit:{timeout, _} -> error({handler_busy, Handler});
                exit:_ -> stopped
            end,
    _ = over(Test),
    case Reply of
        {ok, Term} -> Term;
        stopped -> error({handler_stopped, normal})
    end.

%% @doc Lets so many milliseconds pass for the timers of the handler: what it does.
%%
%% Timers that the handler's processes have started with `erlang:send_after/3,4' or `erlang:start_timer/3,4', and with what calls these (`timer:send_after/2', Elixir's
%% `Process.send_after/3'), go off in their order, without a wait; those that are started meanwhile, too. No other time counts for them, however slow the test is. Timers of other processes,
%% and clocks that a handler reads, are not moved. The timers are found by tracing these functions; a process that another tracer
%% has (`dbg') keeps its timers, and they go off when they do.
%% ```
%% 1> sockeye_test:frame(Conn, #{'after' => 30000}), sockeye_test:pass(Test, 29999).
%% []
%% 2> sockeye_test:pass(Test, 1).
%% [{send,{sockeye_conn,{<0.105.0>,1}},#{text => <<"Tea">>}}]
%% '''
-spec pass(test() | sockeye:conn(), non_neg_integer()) -> [act()].
pass(Of, Milliseconds) ->
    Test = checked(any, ?FUNCTION_NAME, [Of, Milliseconds]),
    is_integer(Milliseconds) andalso Milliseconds >= 0 orelse
        sockeye_errors:misuse(?MODULE, ?FUNCTION_NAME, [Of, Milliseconds], [{2, <<"not milliseconds: an integer from 0">>}]),
    act(Test, fun() -> pass_until(Test, sockeye_test_engine:timers(Test, now) + Milliseconds) end).

-spec pass_until(test(), integer()) -> ok.
pass_until(Test, Until) ->
    case sockeye_test_engine:timers(Test, {next, Until}) of
        sent -> ok = raise(settled(Test)), pass_until(Test, Until);
        none -> ok
    end.

%% @doc Whether the queue of a connection is full: then frames to it fail with `busy', and publications are dropped. Error: `closed'.
%% ```
%% 1> sockeye_test:busy(Conn, true).
%% ok
%% 2> sockeye_test:info(Test, {remind, Conn}).
%% [{failed,{send,{sockeye_conn,{<0.105.0>,1}},#{text => <<"Tea">>}},busy}]
%% '''
-spec busy(sockeye:conn(), boolean()) -> ok | {error, closed}.
busy(Conn, Busy) ->
    _ = checked(conn, ?FUNCTION_NAME, [Conn, Busy]),
    is_boolean(Busy) orelse sockeye_errors:misuse(?MODULE, ?FUNCTION_NAME, [Conn, Busy], [{2, <<"not a boolean">>}]),
    sockeye_test_engine:busy(Conn, Busy).

%% @equiv close(Conn, 1000, <<>>)
-spec close(sockeye:conn()) -> [act()].
close(Conn) ->
    close(Conn, 1000, <<>>).

%% @doc The other end closes: what the handler does. 1006 is the end of the transport without a Close frame.
%% ```
%% 1> sockeye_test:close(Conn, 4000, <<"bye">>).
%% []
%% 2> sockeye_test:received(Conn).
%% [{close,4000,<<>>}]
%% '''
-spec close(sockeye:conn(), sockeye:close_code(), iodata()) -> [act()].
close(Conn, Code, Reason) ->
    _ = checked(conn, ?FUNCTION_NAME, [Conn, Code, Reason]),
    Wrong = [{2, <<"not a close code: an integer">>} || not is_integer(Code)]
            ++ [{3, <<"not a reason: iodata">>} || not sockeye_test_request:is_iodata(Reason)],
    Wrong =:= [] orelse sockeye_errors:misuse(?MODULE, ?FUNCTION_NAME, [Conn, Code, Reason], Wrong),
    frame(Conn, [{close, Code, Reason}]).

%% @doc What was done since the last act began, that act included.
%% ```
%% 1> sockeye:send(Conn, #{hello => 1}), sockeye_test:commands(Test).
%% [{send,{sockeye_conn,{<0.105.0>,1}},#{hello => 1}}]
%% '''
-spec commands(test() | sockeye:conn()) -> [act()].
commands(Of) ->
    sockeye_test_engine:acts(checked(any, ?FUNCTION_NAME, [Of])).

%% @doc What the other end has got since this was asked last. Pings are answered as by the engine.
%% ```
%% 1> sockeye_test:frame(Conn, {ping, "a"}).
%% []
%% 2> sockeye_test:received(Conn).
%% [{pong,<<"a">>}]
%% 3> sockeye_test:received(Conn).
%% []
%% '''
-spec received(sockeye:conn()) -> [seen()].
received(Conn) ->
    _ = checked(conn, ?FUNCTION_NAME, [Conn]),
    case sockeye_test_engine:received(Conn) of
        {error, closed} -> error(closed);
        Seen -> Seen
    end.

%% @doc The state of the handler: of the first of its processes, or of the one of this connection. That of a module of WebSock is its own.
%% ```
%% 1> sockeye_test:state(Test).
%% #{asked => 0,text => <<"Tea">>}
%% '''
-spec state(test() | sockeye:conn()) -> term().
state(Of) ->
    _ = checked(any, ?FUNCTION_NAME, [Of]),
    sockeye_websock:own_state(sys:get_state(handler(Of), ?BUSY_MS)).

%% @doc The process of the handler: the first one, or that of this connection. It is started if it has ended.
%% ```
%% 1> Handler = sockeye_test:handler(Test).
%% <0.107.0>
%% '''
-spec handler(test() | sockeye:conn()) -> pid().
handler({sockeye_conn, {Test, _}} = Conn) ->
    case sockeye_test_engine:key(Conn) of
        {error, closed} -> error(closed);
        Key when is_integer(Key) -> running(Test, Key);
        Key ->
            %% A connection has one process in its life.
            case sockeye_test_engine:workers(Test) of
                #{Key := Pid} -> Pid;
                _ -> error(closed)
            end
    end;
handler(Test) ->
    _ = checked(any, ?FUNCTION_NAME, [Test]),
    case sockeye_test_engine:workers(Test) of
        Workers when map_size(Workers) > 0 -> lists:nth(1, [Pid || {_, Pid} <- lists:sort(maps:to_list(Workers))]);
        _ -> running(Test, 0)
    end.

-spec running(test(), non_neg_integer()) -> pid().
running(Test, Slot) ->
    case sockeye_test_host:worker(host(Test), Slot) of
        {ok, Pid} -> Pid;
        {error, Reason} -> error({handler_stopped, Reason})
    end.

%% The test that the first argument of a public function is of.
-spec checked(test | conn | any, atom(), [term()]) -> test().
checked(Kind, _Function, [{sockeye_conn, {Test, _}} | _]) when is_pid(Test), Kind =/= test -> Test;
checked(Kind, Function, [Test | _] = Args) when is_pid(Test), Kind =/= conn ->
    %% Any other process would let the caller wait for an answer.
    case sockeye_test_engine:find(Test) of
        {ok, _} -> Test;
        error -> misused(Kind, Function, Args)
    end;
checked(Kind, Function, Args) ->
    misused(Kind, Function, Args).

-spec misused(test | conn | any, atom(), [term()]) -> no_return().
misused(Kind, Function, Args) -> sockeye_errors:misuse(?MODULE, Function, Args, [{1, expected(Kind)}]).

-spec expected(test | conn | any) -> binary().
expected(test) -> <<"not a test, or one that has ended: sockeye_test:start/1 gives one">>;
expected(conn) -> <<"not a connection of a test: sockeye_test:open/1,2 gives one">>;
expected(any) -> <<"neither a test nor a connection of one, or it has ended">>.

-spec host(test()) -> pid().
host(Test) ->
    sockeye_test_engine:host(Test).

%% ---------------------------------------------------------------- acts

-spec act(test(), fun(() -> term())) -> [act()].
act(Test, Do) ->
    ok = sockeye_test_engine:begin_act(Test),
    _ = Do(),
    over(Test).

-spec over(test()) -> [act()].
over(Test) ->
    ok = raise(settled(Test)),
    sockeye_test_engine:acts(Test).

-spec raise([Reason :: term()]) -> ok.
raise([]) -> ok;
raise([Reason | _]) -> error({handler_stopped, Reason}).

%% Until no process of the handler has anything to do: why those ended that did, and should not have.
-spec settled(test()) -> [Reason :: term()].
settled(Test) ->
    settled(Test, erlang:monotonic_time(millisecond) + ?BUSY_MS).

-spec settled(test(), integer()) -> [Reason :: term()].
settled(Test, Deadline) ->
    Workers = maps:to_list(sockeye_test_engine:workers(Test)),
    Ended = [sockeye_test_host:ended(host(Test), Pid) || {_, Pid} <- Workers, not serves(Pid)],
    case [Reason || Reason <- Ended, not sockeye_crash:is_orderly(Reason)] of
        [] ->
            Busy = [Pid || {Key, Pid} <- Workers,
                           process_info(Pid, message_queue_len) =/= {message_queue_len, 0} andalso is_process_alive(Pid)
                               orelse sockeye_test_engine:waiting(Test, Key)],
            case {Ended, Busy} of
                {[], []} ->
                    case sockeye_test_engine:answer_closes(Test) of
                        true -> settled(Test, Deadline);
                        false -> []
                    end;
                {[], [Pid | _]} -> erlang:monotonic_time(millisecond) > Deadline andalso error({handler_busy, Pid}), settled(Test, Deadline);
                _ -> settled(Test, Deadline)
            end;
        Crashes ->
            settled(Test, Deadline) ++ Crashes
    end.

%% Whether the process is there; then it has served what was in its mailbox when it was asked.
-spec serves(pid()) -> boolean().
serves(Pid) ->
    try sys:log(Pid, get) of
        _ -> true
    catch
        exit:{timeout, _} -> error({handler_busy, Pid});
        exit:_ -> false
    end.
