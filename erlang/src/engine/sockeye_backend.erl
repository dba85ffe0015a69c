%% @private
%% The one place through which everything calls the engine, wherever that is: the native library in the
%% VM (`sockeye_nif'), or an OS process (`sockeye_port').
%%
%% Each of the two has the functions of this module. What a function does is said here, once.
%%
%% A `_dirty' twin is the same function on a dirty CPU scheduler, for work that
%% is too long for a normal one.
-module(sockeye_backend).

-export([choose/0, at_first/0, engine/0, engine/1, behaviour_info/1]).
%% The engine.
-export([engine_start/1, engine_stop/0, engine_end/0, last_run/0, engine_info/0, engine_hosts/0, when_done/1, wait_begin/0, wait_end/1]).
%% Servers and clients.
-export([listen/1, reload_tls/2, server_stop/3, server_drain/1, adopt/4, admit/4, server_gone/1, server_info/1, client_open/1, client_dial/1,
         client_conn/1]).
%% Processes that serve: handlers, gate, relay, delivery.
-export([inbox_open/2, relay_open/1, gate_open/1, answer/3, answer_dirty/3, stream_open/3, stream_send/4, stream_close/3, no_process/1, pass_shards/1, recv/2,
         recv_dirty/2, answered/1, refuse/3, delivery_open/2, delivery_run/1, deliver_large/1, delivery_requeue/1,
         delivery_sent/1, settle/1]).
%% Connections.
-export([commands/2, commands_dirty/2, send/2, send_dirty/2, setopts/2, setopts_dirty/2, controlling_process/3,
         conn_server/1, conn_info/2, watch_conn/2, trace/5]).
%% Many connections.
-export([publish/5, publish_dirty/5, publish_command/5, encode_frame/2, encode_frame_dirty/2, publish_encoded/5, publish_encoded_dirty/5,
         send_list/2, send_list_dirty/2, subscribe/2, unsubscribe/2, change_topics/1, watch_topics/2, topic_news/1, topic_count/2,
         topics_of/1, connections/3, rows/3]).

-export_type([refusal/0, inbox/0, left/0, owner_inbox/0, server_id/0, encoded/0, batch/0, conn_error/0, asked/0, waiting/0, kind/0]).

-type inbox() :: reference() | sockeye_wire:id() | {sockeye_test, pid(), non_neg_integer() | sockeye:conn()}.
-type waiting() :: reference() | none.
%% The reference that comes with the answer, and the wait for it.
-type asked() :: {reference(), waiting()}.
%% The inbox of an owner process.
-type owner_inbox() :: reference() | counters:counters_ref().
%% The bytes of a frame, and whether it must not be compressed.
-type encoded() :: {binary(), boolean()}.
%% The server of a test has a process instead of the engine, see {@link sockeye_test_engine}.
-type server_id() :: non_neg_integer() | pid().
%% Connections and their events. `{invalid, 1007, Why}' stands for a frame that is not JSON,
%% where that ends the connection: see refuse/3. `ending' is the question of answered/1.
-type batch() :: [sockeye:conn() | sockeye:event() | ending | left() | {invalid, 1007, binary()}].
%% The event `closed', and whose connection it was: the engine knows it no more.
-type left() :: {closed, sockeye:close_code(), Reason :: binary(), sockeye_log:who()}.
%% What a call answers that gave something to shards of the engine: those of them for which too much waits, as
%% bits, and the answer. See {@link sockeye_backlog}.
-type maybe_crowded(Answer) :: Answer | {crowded, Shards :: pos_integer(), Answer}.
%% The terms of the command that failed. A `Conn' may stand behind two notes of the caller, in a tuple of three.
-type refusal() :: closed | busy | not_utf8 | {not_json, term()} | streaming | not_streaming.
%% As {@link sockeye:send_error()}, without the path to what is no JSON.
-type conn_error() :: {Conn :: term(), Frame :: term(), refusal() | badarg}.

-type kind() :: nif | port.

%% Of a server that may be a test's, of an inbox, and of a connection.
-define(CALL_OF(Whose, Call), case Whose of
                                  _ when is_pid(Whose) -> sockeye_test_engine:Call;
                                  _ -> ?CALL(Call)
                              end).
-define(CALL_AT(Inbox, Call), case Inbox of
                                  {sockeye_test, _, _} -> sockeye_test_engine:Call;
                                  _ -> ?CALL(Call)
                              end).
-define(CALL_FOR(Conn, Call), case Conn of
                                  {sockeye_conn, {_, _}} -> sockeye_test_engine:Call;
                                  _ -> ?CALL(Call)
                              end).
%% Twice as fast as a call of a module that is a variable.
-define(CALL(Call), case module() of
                        sockeye_nif -> sockeye_nif:Call;
                        sockeye_port -> sockeye_port:Call
                    end).

-compile({inline, [module/0]}).

%% Which functions a backend has: not those that there is something to do for in one of them alone.
-spec behaviour_info(callbacks) -> [{atom(), arity()}].
behaviour_info(callbacks) ->
    ?MODULE:module_info(exports) --
        [{choose, 0}, {at_first, 0}, {engine, 0}, {engine, 1}, {server_gone, 1}, {last_run, 0}, {engine_end, 0}, {publish_command, 5}, {change_topics, 1}, {behaviour_info, 1}, {module_info, 0}, {module_info, 1},
         {commands, 2}, {commands_dirty, 2}] ++ [{commands, 1}, {commands_dirty, 1}].

%% Where the engine is.
-spec engine() -> kind().
engine() ->
    case module() of
        sockeye_nif -> nif;
        _ -> port
    end.

%% Where that of a server is.
-spec engine(server_id()) -> kind() | test.
engine(ServerId) when is_pid(ServerId) -> test;
engine(_ServerId) -> engine().

%% Reads what is set: when the application starts, and at the first call before that.
-spec choose() -> ok | {error, sockeye_bad_option:bad_option()}.
choose() ->
    Set = case os:getenv("SOCKEYE_ENGINE", "") of
              "" -> application:get_env(sockeye, engine, nif);
              "nif" -> nif;
              "port" -> port;
              Text -> Text
          end,
    case {Set, application:get_env(sockeye, pure, Set)} of
        {nif, nif} -> use(sockeye_nif, sockeye_nif);
        {port, nif} -> use(sockeye_port, sockeye_nif);
        {port, port} -> use(sockeye_port, sockeye_port);
        {Kind, Pure} when Kind =:= nif; Kind =:= port ->
            {error, sockeye_bad_option:option(pure, sockeye_bad_option:expected("nif, or what engine is", Pure))};
        {Engine, _} ->
            {error, sockeye_bad_option:option(engine, sockeye_bad_option:expected("nif or port", Engine))}
    end.

-spec use(module(), module()) -> ok.
use(Engine, Pure) ->
    persistent_term:put(?MODULE, Engine),
    sockeye_pure:use(Pure).

-spec module() -> sockeye_nif | sockeye_port.
module() ->
    case persistent_term:get(?MODULE, none) of
        none -> first();
        Module -> Module
    end.

-spec first() -> module().
first() ->
    ok = at_first(),
    persistent_term:get(?MODULE).

%% For a call before the application has been started.
-spec at_first() -> ok.
at_first() ->
    %% An application that is not in the code path has no environment.
    _ = application:load(sockeye),
    case choose() of
        ok -> ok;
        {error, Bad} -> error(Bad)
    end.

-spec engine_start(#{shards := pos_integer(), malloc_is_default := boolean()}) -> ok | {error, term()}.
engine_start(Config) ->
    ?CALL(engine_start(Config)).

-spec engine_stop() -> ok.
engine_stop() ->
    ?CALL(engine_stop()).

%% Returns when the process of an engine of its own has ended, which was stopped before.
-spec engine_end() -> ok.
engine_end() ->
    case engine() of
        nif -> ok;
        port -> sockeye_link:stop()
    end.

%% The number of the process that an engine of its own has, or one below that of the next: `{sockeye_lost, Run}' tells of an end.
-spec last_run() -> non_neg_integer().
last_run() ->
    case engine() of
        nif -> 0;
        port -> sockeye_link:last_run()
    end.

-spec engine_info() -> map().
engine_info() ->
    ?CALL(engine_info()).

%% The processes of all servers and clients.
-spec engine_hosts() -> [pid()].
engine_hosts() ->
    ?CALL(engine_hosts()).

-spec listen(sockeye_options:config()) ->
          {ok, server_id(), #{address := inet:ip_address() | {local, binary()} | none, port := inet:port_number()}}
        | {error, atom() | {tls, binary()}}.
listen(Config) ->
    ?CALL(listen(Config)).

%% A map as sockeye_tls:read/1 makes it.
-spec reload_tls(server_id(), map()) -> ok | {error, {tls, binary()}}.
reload_tls(ServerId, Tls) ->
    ?CALL(reload_tls(ServerId, Tls)).

%% A client is a server that connects: `server_stop/3' ends it.
-spec client_open(map()) -> {ok, server_id()} | {error, atom()}.
client_open(Config) ->
    ?CALL(client_open(Config)).

%% The caller of `client_open/1' gets `{sockeye_dialled, Id, {ok, Conn} | {error, Reason}}',
%% and later `{sockeye_disconnected, Id, Conn, {Code, Reason, Asked}}'.
-spec client_dial(server_id()) -> ok.
client_dial(Id) ->
    ?CALL(client_dial(Id)).

-spec client_conn(server_id()) -> sockeye:conn() | none.
client_conn(Id) ->
    ?CALL(client_conn(Id)).

%% A connection for which there is no process: it ends with 1011, and is counted. Of a question to a server the latter only.
-spec no_process(sockeye:conn() | server_id()) -> ok.
no_process(Whose) ->
    ?CALL_OF(Whose, no_process(Whose)).

%% The caller of `listen/1' gets `{sockeye_stopped, ServerId, Map}', a map as that of server_info/1.
-spec server_stop(server_id(), sockeye:close_code(), binary()) -> ok.
server_stop(ServerId, Code, Reason) ->
    ?CALL(server_stop(ServerId, Code, Reason)).

%% No more connections. `{sockeye_unlistened, ServerId}' says that the port is free.
-spec server_drain(server_id()) -> ok.
server_drain(ServerId) ->
    ?CALL(server_drain(ServerId)).

%% The engine has none of this number any more.
-spec server_gone(server_id()) -> ok.
server_gone(ServerId) ->
    case engine() of
        port -> sockeye_port_restore:forget(ServerId);
        nif -> ok
    end.

%% Serves a socket, whose descriptor is duplicated. Another server has read these bytes from it. With a ticket of admit/4, the request
%% was answered, and they came behind it; 0 is none.
-spec adopt(server_id(), Ticket :: non_neg_integer(), Descriptor :: integer(), Read :: binary()) -> ok | {error, atom()}.
adopt(ServerId, Ticket, Descriptor, Read) ->
    ?CALL(adopt(ServerId, Ticket, Descriptor, Read)).

%% `ok' promises the message `{Ref, {accept, Ticket, Head} | {rejected, Answer}}': what the server says to the request with this head.
-spec admit(server_id(), Head :: binary(), #{peer := sockeye:endpoint(), local := sockeye:endpoint()}, asked()) ->
          ok | {error, closed}.
admit(ServerId, Head, Ends, Ref) ->
    ?CALL(admit(ServerId, Head, Ends, Ref)).

-spec server_info(server_id()) -> map().
server_info(ServerId) ->
    ?CALL_OF(ServerId, server_info(ServerId)).

%% For the worker of that number, for who starts processes for connections, or for the process of that connection.
-spec inbox_open(server_id(), non_neg_integer() | acceptor | sockeye:conn()) -> inbox() | {error, closed}.
inbox_open(ServerId, Slot) ->
    ?CALL_OF(ServerId, inbox_open(ServerId, Slot)).

%% The caller gets {sockeye_wake, [pid()]} for the inboxes of one connection.
-spec relay_open(server_id()) -> ok.
relay_open(ServerId) ->
    ?CALL(relay_open(ServerId)).

%% The caller gets {sockeye_ask, Token, accept | Route, Request} for what is asked.
-spec gate_open(server_id()) -> ok.
gate_open(ServerId) ->
    ?CALL_OF(ServerId, gate_open(ServerId)).

%% `false' if nobody waits for the answer any more.
-spec answer(server_id(), non_neg_integer(), sockeye_decision:checked()) -> boolean().
answer(ServerId, Token, Decision) ->
    ?CALL_OF(ServerId, answer(ServerId, Token, Decision)).

%% The same for a decision of many bytes.
-spec answer_dirty(server_id(), non_neg_integer(), sockeye_decision:checked()) -> boolean().
answer_dirty(ServerId, Token, Decision) ->
    ?CALL_OF(ServerId, answer_dirty(ServerId, Token, Decision)).

%% An answer in pieces begins. `false' if nobody waits for it any more, or there are too many of them.
-spec stream_open(server_id(), non_neg_integer(), {200..599, [{binary(), binary()}]}) -> boolean().
stream_open(ServerId, Token, Head) ->
    ?CALL(stream_open(ServerId, Token, Head)).

%% At most 64 KiB of it. `sent' if there is room for the next. `ok': the answer of this call comes as the message
%% `{Ref, sent | closed}', when there is.
-spec stream_send(server_id(), non_neg_integer(), binary(), asked()) -> ok | sent | closed.
stream_send(ServerId, Token, Piece, Asked) ->
    ?CALL(stream_send(ServerId, Token, Piece, Asked)).

%% `closed': it is broken off.
-spec stream_close(server_id(), non_neg_integer(), ok | closed) -> ok.
stream_close(ServerId, Token, End) ->
    ?CALL(stream_close(ServerId, Token, End)).

%% So many messages `{sockeye_done, Ticket}' come, one from each of these shards: when it has carried out what
%% it was given until now, or ends.
-spec when_done(Shards :: pos_integer()) -> {Ticket :: non_neg_integer(), Count :: non_neg_integer()}.
when_done(Shards) ->
    ?CALL(when_done(Shards)).

%% The caller, delivery process number `Index' of so many, gets `sockeye_ready' when there is something for its owners.
-spec delivery_open(Index :: non_neg_integer(), Count :: pos_integer()) -> ok.
delivery_open(Index, Count) ->
    ?CALL(delivery_open(Index, Count)).

%% Sends owners what there is for them. The inboxes that it answers begin with an event for {@link deliver_large/1}.
%% Which connections end once their process has worked through its messages, too: see {@link sockeye_mailbox}.
-spec delivery_run(non_neg_integer()) -> {done | more, [{owner_inbox(), pid()}], [sockeye_mailbox:ending()]}.
delivery_run(Index) ->
    ?CALL(delivery_run(Index)).

-spec deliver_large(owner_inbox()) -> [sockeye_mailbox:ending()].
deliver_large(Inbox) ->
    ?CALL(deliver_large(Inbox)).

%% How many messages have been sent to the owner.
-spec delivery_sent(owner_inbox()) -> non_neg_integer().
delivery_sent(Inbox) ->
    ?CALL(delivery_sent(Inbox)).

-spec delivery_requeue(owner_inbox()) -> ok.
delivery_requeue(Inbox) ->
    ?CALL(delivery_requeue(Inbox)).

%% Returns when this owner, or all, have what the engine had for them before it told the caller what that has just heard.
-spec settle(pid() | atom()) -> ok.
settle(Owner) ->
    ?CALL(settle(Owner)).

%% So many answers come, one of each thread of the engine in the VM when it comes by.
-spec pass_shards(asked()) -> non_neg_integer().
pass_shards(Asked) ->
    ?CALL(pass_shards(Asked)).

-spec recv(inbox(), pos_integer()) -> batch() | {more, batch()} | dirty.
recv(Inbox, Max) ->
    ?CALL_AT(Inbox, recv(Inbox, Max)).

-spec recv_dirty(inbox(), pos_integer()) -> batch() | {more, batch()}.
recv_dirty(Inbox, Max) ->
    ?CALL_AT(Inbox, recv_dirty(Inbox, Max)).

%% For who has come upon `closed' or `ending' and has handed over what answers what came before it: only then the
%% engine says its last word. Sends of the same process that follow are `closed'.
-spec answered(sockeye:conn()) -> maybe_crowded(ok).
answered(Conn) ->
    ?CALL_FOR(Conn, answered(Conn)).

%% Closes a connection for what it sent, behind what was handed over before.
-spec refuse(sockeye:conn(), sockeye:close_code(), binary()) -> maybe_crowded(ok).
refuse(Conn, Code, Why) ->
    ?CALL_FOR(Conn, refuse(Conn, Code, Why)).

%% Of a handler of this server.
-spec commands(server_id(), list()) -> maybe_crowded(ok | {done, [conn_error()]} | {more | dirty, list(), [conn_error()]}).
commands(Id, Commands) when is_pid(Id) ->
    sockeye_test_engine:commands(Id, Commands);
commands(_Id, Commands) ->
    ?CALL(commands(Commands)).

-spec commands_dirty(server_id(), list()) -> maybe_crowded(ok | {done, [conn_error()]} | {more | dirty, list(), [conn_error()]}).
commands_dirty(Id, Commands) when is_pid(Id) ->
    sockeye_test_engine:commands(Id, Commands);
commands_dirty(_Id, Commands) ->
    ?CALL(commands_dirty(Commands)).

-spec send(sockeye:conn(), sockeye:frame() | [sockeye:frame()]) ->
          maybe_crowded(ok | {error, refusal()} | dirty).
send(Conn, Frames) ->
    ?CALL_FOR(Conn, send(Conn, Frames)).

-spec send_dirty(sockeye:conn(), sockeye:frame() | [sockeye:frame()]) ->
          maybe_crowded(ok | {error, refusal()}).
send_dirty(Conn, Frames) ->
    ?CALL_FOR(Conn, send_dirty(Conn, Frames)).

%% With a reference, `ok' promises the message `{Ref, sockeye:outcome()}'.
-spec publish(server_id(), all | sockeye:topic(), sockeye:frame(), sockeye:conn() | none,
              asked() | none) ->
          maybe_crowded(ok | {ok, sockeye:outcome()} | {error, refusal()} | dirty).
publish(ServerId, To, Frame, Except, Ref) ->
    ?CALL_OF(ServerId, publish(ServerId, To, Frame, Except, Ref)).

-spec publish_dirty(server_id(), all | sockeye:topic(), sockeye:frame(), sockeye:conn() | none,
              asked() | none) ->
          maybe_crowded(ok | {ok, sockeye:outcome()} | {error, refusal()}).
publish_dirty(ServerId, To, Frame, Except, Ref) ->
    ?CALL_OF(ServerId, publish_dirty(ServerId, To, Frame, Except, Ref)).

%% Of a handler that does not wait: it gets `{sockeye_failed, [{Note, Frame, Reason}]}' if it fails. False where asking takes no
%% time, or the caller is no handler: nothing has been done then.
-spec publish_command(Note :: term(), server_id(), all | sockeye:topic(), sockeye:frame(), sockeye:conn() | none) -> boolean().
publish_command(Note, ServerId, To, Frame, Except) ->
    engine(ServerId) =:= port andalso sockeye_port:publish_command(Note, ServerId, To, Frame, Except).

-spec encode_frame(server_id(), sockeye:frame()) ->
          {ok, encoded()} | {error, refusal()} | dirty.
encode_frame(ServerId, Frame) ->
    ?CALL(encode_frame(ServerId, Frame)).

-spec encode_frame_dirty(server_id(), sockeye:frame()) ->
          {ok, encoded()} | {error, refusal()}.
encode_frame_dirty(ServerId, Frame) ->
    ?CALL(encode_frame_dirty(ServerId, Frame)).

-spec publish_encoded(server_id(), all | sockeye:topic(), encoded(), sockeye:conn() | none, asked() | none) ->
          maybe_crowded(ok | {ok, sockeye:outcome()} | {error, refusal()} | dirty).
publish_encoded(ServerId, To, Frame, Except, Ref) ->
    ?CALL(publish_encoded(ServerId, To, Frame, Except, Ref)).

-spec publish_encoded_dirty(server_id(), all | sockeye:topic(), encoded(), sockeye:conn() | none, asked() | none) ->
          maybe_crowded(ok | {ok, sockeye:outcome()} | {error, refusal()}).
publish_encoded_dirty(ServerId, To, Frame, Except, Ref) ->
    ?CALL(publish_encoded_dirty(ServerId, To, Frame, Except, Ref)).

-spec send_list([sockeye:conn()], sockeye:frame()) ->
          maybe_crowded(ok | {error, [{sockeye:conn(), closed | busy}] | refusal()} | dirty).
send_list(Conns, Frame) ->
    ?CALL_FOR(first(Conns), send_list(Conns, Frame)).

-spec send_list_dirty([sockeye:conn()], sockeye:frame()) ->
          maybe_crowded(ok | {error, [{sockeye:conn(), closed | busy}] | refusal()}).
send_list_dirty(Conns, Frame) ->
    ?CALL_FOR(first(Conns), send_list_dirty(Conns, Frame)).

-spec first(term()) -> term().
first([Conn | _]) -> Conn;
first(_Other) -> none.

-spec subscribe(sockeye:conn(), sockeye:topic()) -> maybe_crowded(ok | {error, sockeye:subscribe_error()}).
subscribe(Conn, Topic) ->
    ?CALL_FOR(Conn, subscribe(Conn, Topic)).

-spec unsubscribe(sockeye:conn(), sockeye:topic()) -> maybe_crowded(ok | {error, closed}).
unsubscribe(Conn, Topic) ->
    ?CALL_FOR(Conn, unsubscribe(Conn, Topic)).

%% Several in this order, of an engine in a process of its own; an answer is `badarg' where a call of the two above would raise it.
-spec change_topics([sockeye_fanout:change()]) -> [ok | {error, sockeye:subscribe_error()} | badarg].
change_topics(Changes) -> sockeye_port:change_topics(Changes).

%% The process gets `{sockeye_topics, ServerId}' when there is {@link topic_news/1}: once, until it
%% has taken all.
-spec watch_topics(server_id(), pid()) -> ok.
watch_topics(ServerId, Pid) ->
    ?CALL(watch_topics(ServerId, Pid)).

%% Topics that may have got their first subscription or lost their last, {@link topic_count/2}
%% tells; and whether there are more. `all' if there were too many to say which.
-spec topic_news(server_id()) -> {boolean(), [sockeye:topic()]} | all.
topic_news(ServerId) ->
    ?CALL(topic_news(ServerId)).

-spec topic_count(server_id(), sockeye:topic()) -> non_neg_integer().
topic_count(ServerId, Topic) ->
    ?CALL(topic_count(ServerId, Topic)).

-spec topics_of(server_id()) -> #{sockeye:topic() => pos_integer()}.
topics_of(ServerId) ->
    ?CALL_OF(ServerId, topics_of(ServerId)).

%% The process gets `{sockeye_down, Conn}' when the connection has ended.
-spec watch_conn(sockeye:conn(), pid()) -> ok | {error, closed}.
watch_conn(Conn, Pid) ->
    ?CALL_FOR(Conn, watch_conn(Conn, Pid)).

%% The process gets `{sockeye_frame, Id, {Incoming, Head, Size, Time, Payload, Suppressed}}' for frames of the connection, `Rate' a second
%% with `Payload' bytes each, and `{sockeye_untraced, Id}' at the end, unless the engine's process ends first. With the rate 0 that is now.
-spec trace(sockeye:conn(), pid(), Id :: pos_integer(), Rate :: non_neg_integer(), Payload :: non_neg_integer()) -> ok | {error, closed}.
trace(Conn, Pid, Id, Rate, Payload) ->
    ?CALL(trace(Conn, Pid, Id, Rate, Payload)).

-spec setopts(sockeye:conn(), [sockeye:conn_option()]) -> maybe_crowded(ok | {error, closed}).
setopts(Conn, Options) ->
    ?CALL_FOR(Conn, setopts(Conn, Options)).

%% The same for many options.
-spec setopts_dirty(sockeye:conn(), [sockeye:conn_option()]) -> maybe_crowded(ok | {error, closed}).
setopts_dirty(Conn, Options) ->
    ?CALL_FOR(Conn, setopts_dirty(Conn, Options)).

%% `{Ref, ok}' comes when what arrived before is with the old owner.
-spec controlling_process(sockeye:conn(), pid(), asked()) -> ok | {error, closed}.
controlling_process(Conn, Pid, Asked) ->
    ?CALL(controlling_process(Conn, Pid, Asked)).

-spec conn_server(sockeye:conn()) -> {ok, server_id()} | {error, closed}.
conn_server(Conn) ->
    ?CALL_FOR(Conn, conn_server(Conn)).

%% The answer comes as the message `{Ref, {ok, Map} | {error, closed}}'.
-spec wait_begin() -> waiting().
wait_begin() ->
    ?CALL(wait_begin()).

-spec wait_end(waiting()) -> ok.
wait_end(Waiting) ->
    ?CALL(wait_end(Waiting)).

-spec conn_info(sockeye:conn(), asked()) -> ok | {error, closed}.
conn_info(Conn, Ref) ->
    ?CALL(conn_info(Conn, Ref)).

%% The answer comes as that number of messages `{Ref, [Conn]}'.
-spec connections(server_id(), all | sockeye:topic(), asked()) -> non_neg_integer().
connections(ServerId, Of, Ref) ->
    ?CALL(connections(ServerId, Of, Ref)).

%% A page of the server's connections on one of its threads, those from that place on. The answer comes as the message `{Ref, {Rows, Next |
%% done}}', with the place where the next page begins; `sockeye_dashboard_table' reads the rows. Raises `badarg' where there is no such server or thread.
-spec rows(server_id(), {Shard :: non_neg_integer(), From :: non_neg_integer()}, asked()) -> ok.
rows(ServerId, From, Ref) ->
    ?CALL(rows(ServerId, From, Ref)).
