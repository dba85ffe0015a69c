%% @private
%% What a handler under test has instead of the engine.
%%
%% {@link sockeye_backend} comes here for whatever has the number of a test's server or connection, so that the handler runs in its
%% ordinary process, with the ordinary checks and reports. {@link sockeye_test_world} answers.
-module(sockeye_test_engine).
%% The connections of a test are made here.
-dialyzer(no_opaque).
%% For the test.
-export([begin_act/1, acts/1, open/2, push/2, busy/2, received/1, stopping/1, answer_closes/1, workers/1, waiting/2, key/1,
         host/1, host/2, started/3, ended/3, timers/2]).
%% For who is asked instead of the engine's tables.
-export([find/1, encoder/1, connections/2, conn_info/1, failed/2]).
%% As in sockeye_backend.
-export([inbox_open/2, gate_open/1, answer/3, answer_dirty/3, server_info/1, recv/2, recv_dirty/2, answered/1, refuse/3, commands/2, send/2, send_dirty/2,
         setopts/2, setopts_dirty/2, conn_server/1, watch_conn/2, publish/5, publish_dirty/5, send_list/2, send_list_dirty/2,
         subscribe/2, unsubscribe/2, topics_of/1, no_process/1]).

-export_type([act/0, key/0]).

-type id() :: pid().
-type conn() :: {sockeye_conn, {pid(), pos_integer()}}.
-type key() :: non_neg_integer() | sockeye:conn().
%% The number of a process of the pool, or the connection that has a process.

-type act() :: sockeye_handler:command() | {active, sockeye:conn(), sockeye:active()} | {setopts, sockeye:conn(), [sockeye:conn_option()]}
             | {broadcast_from, sockeye:conn(), sockeye:frame()} | {publish_from, sockeye:conn(), sockeye:topic(), sockeye:frame()}
             | {failed, sockeye_handler:command(), sockeye_handler:failure()}.

%% The process that starts those of the handler.
-spec host(pid(), pid()) -> ok.
host(Pid, Host) -> call(Pid, {host, Host}).

-spec host(pid()) -> pid().
host(Pid) -> call(Pid, host).

%% What an act does is what has been done since it began.
-spec begin_act(pid()) -> ok.
begin_act(Pid) -> call(Pid, begin_act).

-spec acts(pid()) -> [act()].
acts(Pid) -> call(Pid, acts).

-spec open(pid(), map()) -> {ok, sockeye:conn(), map()} | {error, {refused, map()}}.
open(Pid, Request) -> call(Pid, {open, Request}).

%% Frames that came together. What it takes to read them is done by the caller.
-spec push(conn(), [term()]) -> ok | {error, closed | binary()}.
push({_, {Pid, _}} = Conn, Frames) ->
    try call(Pid, config) of
        Config ->
            try [event(Frame, Config) || Frame <- Frames] of
                Events -> for(Conn, {push, Events})
            catch throw:{bad, Why} -> {error, Why}
            end
    catch
        error:badarg -> {error, closed}
    end.

-spec event(term(), sockeye_options:config()) -> term().
event({open, _} = Open, _Config) -> Open;
event({close, Code, Reason}, _Config) when is_integer(Code) -> {close, Code, data(Reason)};
event({Kind, Data}, Config) when Kind =:= text; Kind =:= binary; Kind =:= ping; Kind =:= pong -> came({Kind, data(Data)}, Config);
event(Frame, Config) -> came(Frame, Config).

-spec data(term()) -> binary().
data(Data) ->
    try iolist_to_binary(Data)
    catch error:badarg -> throw({bad, <<"what is in this frame is not iodata">>})
    end.

-spec came(term(), sockeye_options:config()) -> term().
came(Frame, Config) ->
    case sockeye_test_frames:came(Frame, Config) of
        {ok, none} -> {answer, Frame};
        {ok, {ping, _} = Ping} -> {answer, Ping};
        {ok, Event} -> Event;
        {error, Why} -> throw({bad, Why})
    end.

-spec busy(conn(), boolean()) -> ok | {error, closed}.
busy(Conn, Busy) -> for(Conn, {busy, Busy}).

-spec received(conn()) -> [sockeye_test_frames:seen()] | {error, closed}.
received(Conn) -> for(Conn, received).

%% Closes all connections, as a server does that stops.
-spec stopping(pid()) -> ok.
stopping(Pid) -> call(Pid, stopping).

%% The other ends answer our Close frames: whether there was one.
-spec answer_closes(pid()) -> boolean().
answer_closes(Pid) -> call(Pid, answer_closes).

-spec workers(pid()) -> #{key() => pid()}.
workers(Pid) -> call(Pid, workers).

%% Whether there is something for this process.
-spec waiting(pid(), key()) -> boolean().
waiting(Pid, Key) -> call(Pid, {waiting, Key}).

%% Which process serves a connection.
-spec key(conn()) -> key() | {error, closed}.
key(Conn) -> for(Conn, key).

-spec started(pid(), key(), pid()) -> ok.
started(Pid, Key, Worker) -> call(Pid, {started, Key, Worker}).

%% The handler's process has ended, and with it its connections.
-spec ended(pid(), key(), boolean()) -> ok.
ended(Pid, Key, IsOrderly) -> call(Pid, {ended, Key, IsOrderly}).

%% Asks {@link sockeye_test_timers}, when all is known that the handlers have done.
-spec timers(pid(), term()) -> term().
timers(Pid, Request) -> call(Pid, {timers, Request}).

%% A server of a test is the process with its number.
-spec find(pid()) -> {ok, {pid(), id(), map()}} | error.
find(Pid) when node(Pid) =:= node() ->
    case proc_lib:translate_initial_call(Pid) of
        {sockeye_test_world, init, 1} -> {ok, {Pid, Pid, #{ip => none, port => 0}}};
        _ -> error
    end;
find(_Pid) -> error.

-spec encoder(id()) -> sockeye_encoder:encoder() | none.
encoder(Pid) -> maps:get(encoder, call(Pid, config), none).

-spec connections(id(), all | sockeye:topic()) -> {ok, [sockeye:conn()]} | {error, not_found}.
connections(Pid, Of) ->
    try {ok, call(Pid, {connections, Of})}
    catch error:badarg -> {error, not_found}
    end.

-spec conn_info(conn()) -> {ok, map()} | {error, closed}.
conn_info(Conn) -> for(Conn, info).

%% What the log hears of, too.
-spec failed(sockeye_backend:server_id(), [sockeye_commands:failure()]) -> ok.
failed(Pid, Failures) when is_pid(Pid) -> call(Pid, {failed, Failures});
failed(_Id, _Failures) -> ok.

%% ---------------------------------------------------------------- as in sockeye_backend

-spec inbox_open(id(), key()) -> sockeye_backend:inbox().
inbox_open(Pid, Key) -> {sockeye_test, Pid, Key}.

-spec gate_open(id()) -> ok.
gate_open(Pid) -> call(Pid, {gate, self()}).

-spec answer(id(), pos_integer(), sockeye_decision:checked()) -> boolean().
answer(Pid, Token, Decision) -> call(Pid, {answer, Token, Decision}).

-spec answer_dirty(id(), pos_integer(), sockeye_decision:checked()) -> boolean().
answer_dirty(Id, Token, Decision) -> answer(Id, Token, Decision).

-spec server_info(id()) -> map().
server_info(Pid) -> call(Pid, server_info).

-spec recv(sockeye_backend:inbox(), pos_integer()) -> sockeye_backend:batch() | {more, sockeye_backend:batch()}.
recv({_, Pid, Key}, Max) -> call(Pid, {recv, Key, Max}).

-spec recv_dirty(sockeye_backend:inbox(), pos_integer()) -> sockeye_backend:batch() | {more, sockeye_backend:batch()}.
recv_dirty(Inbox, Max) -> recv(Inbox, Max).

-spec answered(conn()) -> ok.
answered(Conn) -> _ = for(Conn, answered), ok.

-spec refuse(conn(), sockeye:close_code(), binary()) -> ok.
refuse(Conn, Code, Why) -> _ = for(Conn, {refuse, Code, Why}), ok.

-spec commands(id(), list()) -> ok | {done, [sockeye_backend:conn_error()]}.
commands(Pid, Commands) ->
    case call(Pid, {commands, self(), Commands}) of
        [] -> ok;
        Errors -> {done, Errors}
    end.

-spec send(conn(), sockeye:frame() | [sockeye:frame()]) -> ok | {error, sockeye_backend:refusal()}.
send(Conn, Frames) -> checked(for(Conn, {send, self(), Frames})).

-spec send_dirty(conn(), sockeye:frame() | [sockeye:frame()]) -> ok | {error, sockeye_backend:refusal()}.
send_dirty(Conn, Frames) -> send(Conn, Frames).

-spec setopts(conn(), [sockeye:conn_option()]) -> ok | {error, closed}.
setopts(Conn, Options) ->
    sockeye_args:wrong(conn_options, Options) =:= none orelse error(badarg),
    for(Conn, {setopts, Options}).

-spec setopts_dirty(conn(), [sockeye:conn_option()]) -> ok | {error, closed}.
setopts_dirty(Conn, Options) -> setopts(Conn, Options).

-spec conn_server(conn()) -> {ok, id()} | {error, closed}.
conn_server({_, {Pid, _}} = Conn) ->
    case for(Conn, key) of
        {error, closed} = Error -> Error;
        _ -> {ok, Pid}
    end.

-spec watch_conn(conn(), pid()) -> ok | {error, closed}.
watch_conn(Conn, Pid) -> for(Conn, {watch, Pid}).

-spec publish(id(), all | sockeye:topic(), sockeye:frame(), sockeye:conn() | none, sockeye_backend:asked() | none) ->
          ok | {ok, sockeye:outcome()} | {error, sockeye_backend:refusal()}.
publish(Pid, To, Frame, Except, Asked) ->
    To =:= all orelse sockeye_args:wrong(plain_topic, To) =:= none orelse error(badarg),
    case checked(call(Pid, {publish, To, Frame, Except})) of
        {ok, _} when Asked =:= none -> ok;
        Result -> Result
    end.

-spec publish_dirty(id(), all | sockeye:topic(), sockeye:frame(), sockeye:conn() | none, sockeye_backend:asked() | none) ->
          ok | {ok, sockeye:outcome()} | {error, sockeye_backend:refusal()}.
publish_dirty(Id, To, Frame, Except, Asked) -> publish(Id, To, Frame, Except, Asked).

-spec send_list([sockeye:conn()], sockeye:frame()) -> ok | {error, [{sockeye:conn(), closed | busy}] | sockeye_backend:refusal()}.
send_list(Conns, Frame) ->
    Sent = [{Conn, send(Conn, Frame)} || Conn <- Conns],
    case [Reason || {_, {error, Reason}} <- Sent, Reason =/= closed, Reason =/= busy] of
        [Reason | _] -> {error, Reason};
        [] ->
            case [{Conn, Reason} || {Conn, {error, Reason}} <- Sent] of
                [] -> ok;
                Failed -> {error, Failed}
            end
    end.

-spec send_list_dirty([sockeye:conn()], sockeye:frame()) ->
          ok | {error, [{sockeye:conn(), closed | busy}] | sockeye_backend:refusal()}.
send_list_dirty(Conns, Frame) -> send_list(Conns, Frame).

-spec subscribe(conn(), sockeye:topic()) -> ok | {error, sockeye:subscribe_error()}.
subscribe(Conn, Topic) -> topic(subscribe, Conn, Topic).

-spec unsubscribe(conn(), sockeye:topic()) -> ok | {error, closed}.
unsubscribe(Conn, Topic) -> topic(unsubscribe, Conn, Topic).

-spec topic(subscribe | unsubscribe, conn(), sockeye:topic()) -> ok | {error, sockeye:subscribe_error()}.
topic(Change, Conn, Topic) ->
    sockeye_args:wrong(topic, Topic) =:= none orelse error(badarg),
    for(Conn, {Change, Topic}).

-spec topics_of(id()) -> #{sockeye:topic() => pos_integer()}.
topics_of(Pid) -> call(Pid, topics).

-spec no_process(id() | sockeye:conn()) -> ok.
no_process(_Whose) -> ok.

-spec call(pid(), term()) -> term().
call(Pid, Request) ->
    try gen_server:call(Pid, Request, infinity)
    catch exit:_ -> error(badarg)
    end.

-spec for(conn(), term()) -> term().
for({_, {Pid, N}}, Request) ->
    try gen_server:call(Pid, {conn, N, Request}, infinity)
    catch exit:_ -> {error, closed}
    end.

-spec checked(term()) -> term().
checked({error, badarg}) -> error(badarg);
checked(Result) -> Result.
