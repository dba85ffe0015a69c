%% @private
%% Owns the stubs of the native library, and nothing else. The first call loads it; new code of this module, as
%% `l(sockeye_nif)' and `r3:do(compile)' load it, takes over what is open.
%%
%% A `_dirty' twin is the same function on a dirty CPU scheduler, for work that
%% is too long for a normal one.
-module(sockeye_nif).

%% The engine.
-export([loaded_afresh/0, engine_start/1, engine_stop/0, engine_info/0, engine_hosts/0, when_done/1, wait_begin/0,
         wait_end/1]).
%% Servers and clients.
-export([listen/1, reload_tls/2, certificates_out_of_time/2, origin_rule/1, path_form/1, server_stop/3,
         server_drain/1, server_info/1, client_url/1, client_proxy/1, client_host/1, client_open/1, client_dial/1,
         client_conn/1]).
%% Processes that serve: handlers, gate, relay, delivery.
-export([inbox_open/2, relay_open/1, gate_open/1, answer/3, answer_dirty/3, attach/2, no_process/1, recv/2,
         recv_dirty/2, answered/1, refuse/3, delivery_open/2, delivery_run/1, deliver_large/1, delivery_requeue/1,
         delivery_sent/1]).
%% Connections.
-export([commands/1, commands_dirty/1, send/2, send_dirty/2, setopts/2, setopts_dirty/2, controlling_process/3,
         conn_server/1, conn_info/2, watch_conn/2]).
%% Many connections.
-export([publish/5, publish_dirty/5, encode_frame/2, encode_frame_dirty/2, publish_encoded/5, publish_encoded_dirty/5,
         send_list/2, send_list_dirty/2, subscribe/2, unsubscribe/2, watch_topics/2, topic_news/1, topic_count/2,
         topics_of/1, connections/3]).
%% JSON.
-export([json_decode/2, json_decode_dirty/2, json_encode/2, json_encode_dirty/2]).
%% The codec.
-export([codec_new/2, codec_request/1, codec_response/3, codec_check_request/2, codec_accept/2, codec_refuse/3,
         codec_refuse_dirty/3, codec_encode/2, codec_encode_dirty/2, codec_decode/2, codec_decode_dirty/2,
         codec_eof/1, codec_eof_dirty/1, codec_info/1, codec_info_dirty/1]).

-export_type([inbox/0, owner_inbox/0, server_id/0, encoded/0, batch/0, conn_error/0, asked/0, waiting/0]).

%% The library refuses to load into stubs of another number.
-define(ABI, 7).
-define(LOADED, {?MODULE, loaded}).

-type inbox() :: reference().
-type waiting() :: reference().
%% The reference that comes with the answer, and the wait for it.
-type asked() :: {reference(), waiting()}.
%% The inbox of an owner process.
-type owner_inbox() :: reference().
%% The bytes of a frame, and whether it must not be compressed.
-type encoded() :: {binary(), boolean()}.
-type server_id() :: non_neg_integer().
%% Connections and their events. `{invalid, 1007, Why}' stands for a frame that is not JSON,
%% where that ends the connection: see refuse/3. `ending' is the question of answered/1.
-type batch() :: [sockeye:conn() | sockeye:event() | ending | left() | {invalid, 1007, binary()}].
%% The event `closed', and whose connection it was: the engine knows it no more.
-type left() :: {closed, sockeye:close_code(), Reason :: binary(), sockeye:endpoint(), Path :: binary()}.
%% What a call answers that gave something to shards of the engine: those of them for which too much waits, as
%% bits, and the answer. See {@link sockeye_backlog}.
-type maybe_crowded(Answer) :: Answer | {crowded, Shards :: pos_integer(), Answer}.
%% The terms of the command that failed. A `Conn' may stand behind two notes of the caller, in a tuple of three.
-type conn_error() :: {Conn :: term(), Frame :: term(), sockeye:send_error() | badarg}.

%% The first call of each kind comes here, and one after new code of this module: loads the library, and
%% calls again. Not in `-on_load': a build tool would delete and purge such a module to
%% load it again, and with it all that is open. So new code takes over from the old.
-spec call(atom(), list()) -> term().
call(Function, Args) ->
    case load(sockeye_library:candidates(), []) of
        ok -> ok;
        already -> get(?MODULE) =:= Function andalso erlang:nif_error(sockeye_library:not_loaded([{missing, Function}]));
        {error, Errors} -> erlang:nif_error(sockeye_library:not_loaded(Errors))
    end,
    %% A function that the library does not have would come back here for ever.
    _ = put(?MODULE, Function),
    try apply(?MODULE, Function, Args)
    after erase(?MODULE)
    end.

-spec load([file:filename_all()], [term()]) -> ok | already | {error, term()}.
load([Path | Paths], Errors) ->
    case erlang:load_nif(Path, ?ABI) of
        ok ->
            ?MODULE:loaded_afresh() andalso replaced(),
            ok;
        %% Another process was faster, or there is newer code, which is called next.
        {error, {Kind, _}} when Kind =:= reload; Kind =:= old_code ->
            already;
        %% Not the file that is loaded: what is open is lost with the old code.
        {error, {upgrade, _}} ->
            _ = code:purge(?MODULE),
            load([Path | Paths], Errors);
        {error, {Kind, Text}} ->
            load(Paths, [{Path, Kind, lists:flatten(Text)} | Errors])
    end;
load([], Errors) ->
    {error, lists:reverse(Errors)}.

%% A library that knows nothing of the engine which runs: it has to start again.
-spec replaced() -> ok.
replaced() ->
    case persistent_term:get(?LOADED, false) of
        %% An engine that is about to start knows nothing of the other library.
        true -> whereis(sockeye_engine) =:= self() orelse sockeye_engine:restart(), ok;
        false -> persistent_term:put(?LOADED, true)
    end.

%% Whether the library was loaded with nothing to take over. Only who asks first is told so.
-spec loaded_afresh() -> boolean().
loaded_afresh() ->
    call(loaded_afresh, []).

-spec engine_start(#{shards := pos_integer()}) -> ok | {error, term()}.
engine_start(Config) ->
    call(engine_start, [Config]).

-spec engine_stop() -> ok.
engine_stop() ->
    call(engine_stop, []).

-spec engine_info() -> map().
engine_info() ->
    call(engine_info, []).

%% The processes of all servers and clients.
-spec engine_hosts() -> [pid()].
engine_hosts() ->
    call(engine_hosts, []).

-spec listen(sockeye_options:config()) ->
          {ok, server_id(), #{address := inet:ip_address() | {local, binary()}, port := inet:port_number()}}
        | {error, atom() | {tls, binary()}}.
listen(Config) ->
    call(listen, [Config]).

%% A map as sockeye_tls:read/1 makes it.
-spec reload_tls(server_id(), map()) -> ok | {error, {tls, binary()}}.
reload_tls(ServerId, Tls) ->
    call(reload_tls, [ServerId, Tls]).

%% Of a PEM text; times are in seconds since 1970, the place of the server's own is 0.
-spec certificates_out_of_time(binary(), non_neg_integer()) ->
          [{expired | not_yet_valid, Place :: non_neg_integer(), Date :: non_neg_integer(), Hosts :: [binary()]}].
certificates_out_of_time(Text, Now) ->
    call(certificates_out_of_time, [Text, Now]).

%% Whether a text is a rule of the option `origins'.
-spec origin_rule(binary()) -> boolean().
origin_rule(Text) ->
    call(origin_rule, [Text]).

%% {ok, Host}: what the `Host' header will say.
-spec client_url(binary()) -> {ok, binary()} | {error, Why :: binary()}.
client_url(Url) ->
    call(client_url, [Url]).

-spec client_proxy(binary()) -> ok | {error, Why :: binary()}.
client_proxy(Url) ->
    call(client_proxy, [Url]).

%% Whether this can be the value of a `Host' header.
-spec client_host(binary()) -> boolean().
client_host(Host) ->
    call(client_host, [Host]).

%% By what patterns of paths are compared; `error': it is none.
-spec path_form(binary()) -> {ok, Form :: binary()} | error.
path_form(Pattern) ->
    call(path_form, [Pattern]).

%% A client is a server that connects: `server_stop/3' ends it.
-spec client_open(map()) -> {ok, server_id()} | {error, atom()}.
client_open(Config) ->
    call(client_open, [Config]).

%% The caller of `client_open/1' gets `{sockeye_dialled, Id, {ok, Conn} | {error, Reason}}',
%% and later `{sockeye_disconnected, Id, Conn, {Code, Reason, Asked}}'.
-spec client_dial(server_id()) -> ok.
client_dial(Id) ->
    call(client_dial, [Id]).

-spec client_conn(server_id()) -> sockeye:conn() | none.
client_conn(Id) ->
    call(client_conn, [Id]).

%% A connection for which there is no process: it ends with 1011, and is counted. Of a question to a server the latter only.
-spec no_process(sockeye:conn() | server_id()) -> ok.
no_process(Whose) ->
    call(no_process, [Whose]).

%% The caller of `listen/1' gets `{sockeye_stopped, ServerId, {Accepted, Unanswered}}', counts over
%% the server's life.
-spec server_stop(server_id(), sockeye:close_code(), binary()) -> ok.
server_stop(ServerId, Code, Reason) ->
    call(server_stop, [ServerId, Code, Reason]).

%% No more connections. `{sockeye_unlistened, ServerId}' says that the port is free.
-spec server_drain(server_id()) -> ok.
server_drain(ServerId) ->
    call(server_drain, [ServerId]).

-spec server_info(server_id()) -> map().
server_info(ServerId) ->
    call(server_info, [ServerId]).

-spec inbox_open(server_id(), non_neg_integer() | none | acceptor) -> inbox().
inbox_open(ServerId, Slot) ->
    call(inbox_open, [ServerId, Slot]).

%% The caller gets {sockeye_wake, [pid()]} for the inboxes with slot `none'.
-spec relay_open(server_id()) -> ok.
relay_open(ServerId) ->
    call(relay_open, [ServerId]).

%% The caller gets {sockeye_ask, Token, accept | Route, Request} for what is asked.
-spec gate_open(server_id()) -> ok.
gate_open(ServerId) ->
    call(gate_open, [ServerId]).

%% `false' if nobody waits for the answer any more.
-spec answer(server_id(), non_neg_integer(), sockeye_decision:checked()) -> boolean().
answer(ServerId, Token, Decision) ->
    call(answer, [ServerId, Token, Decision]).

%% The same for a decision of many bytes.
-spec answer_dirty(server_id(), non_neg_integer(), sockeye_decision:checked()) -> boolean().
answer_dirty(ServerId, Token, Decision) ->
    call(answer_dirty, [ServerId, Token, Decision]).

%% So many messages `{sockeye_done, Ticket}' come, one from each of these shards: when it has carried out what
%% it was given until now, or ends.
-spec when_done(Shards :: pos_integer()) -> {Ticket :: non_neg_integer(), Count :: non_neg_integer()}.
when_done(Shards) ->
    call(when_done, [Shards]).

%% The caller, delivery process number `Index' of so many, gets `sockeye_ready' when there is something for its owners.
-spec delivery_open(Index :: non_neg_integer(), Count :: pos_integer()) -> ok.
delivery_open(Index, Count) ->
    call(delivery_open, [Index, Count]).

%% Sends owners what there is for them. The inboxes that it answers begin with an event for {@link deliver_large/1}.
%% Which connections end once their process has worked through its messages, too: see {@link sockeye_mailbox}.
-spec delivery_run(non_neg_integer()) -> {done | more, [{owner_inbox(), pid()}], [sockeye_mailbox:ending()]}.
delivery_run(Index) ->
    call(delivery_run, [Index]).

-spec deliver_large(owner_inbox()) -> [sockeye_mailbox:ending()].
deliver_large(Inbox) ->
    call(deliver_large, [Inbox]).

%% How many messages have been sent to the owner.
-spec delivery_sent(owner_inbox()) -> non_neg_integer().
delivery_sent(Inbox) ->
    call(delivery_sent, [Inbox]).

-spec delivery_requeue(owner_inbox()) -> ok.
delivery_requeue(Inbox) ->
    call(delivery_requeue, [Inbox]).

-spec attach(sockeye:conn(), inbox()) -> ok | {error, closed}.
attach(Conn, Inbox) ->
    call(attach, [Conn, Inbox]).

-spec recv(inbox(), pos_integer()) -> batch() | {more, batch()} | dirty.
recv(Inbox, Max) ->
    call(recv, [Inbox, Max]).

-spec recv_dirty(inbox(), pos_integer()) -> batch() | {more, batch()}.
recv_dirty(Inbox, Max) ->
    call(recv_dirty, [Inbox, Max]).

%% For who has come upon `closed' or `ending' and has handed over what answers what came before it: only then the
%% engine says its last word. Sends of the same process that follow are `closed'.
-spec answered(sockeye:conn()) -> maybe_crowded(ok).
answered(Conn) ->
    call(answered, [Conn]).

%% Closes a connection for what it sent, behind what was handed over before.
-spec refuse(sockeye:conn(), sockeye:close_code(), binary()) -> maybe_crowded(ok).
refuse(Conn, Code, Why) ->
    call(refuse, [Conn, Code, Why]).

-spec commands(list()) ->
          maybe_crowded(ok | {done, [conn_error()]} | {more | dirty, list(), [conn_error()]}).
commands(Commands) ->
    call(commands, [Commands]).

-spec commands_dirty(list()) ->
          maybe_crowded(ok | {done, [conn_error()]} | {more | dirty, list(), [conn_error()]}).
commands_dirty(Commands) ->
    call(commands_dirty, [Commands]).

-spec send(sockeye:conn(), sockeye:frame() | [sockeye:frame()]) ->
          maybe_crowded(ok | {error, sockeye:send_error()} | dirty).
send(Conn, Frames) ->
    call(send, [Conn, Frames]).

-spec send_dirty(sockeye:conn(), sockeye:frame() | [sockeye:frame()]) ->
          maybe_crowded(ok | {error, sockeye:send_error()}).
send_dirty(Conn, Frames) ->
    call(send_dirty, [Conn, Frames]).

%% With a reference, `ok' promises the message `{Ref, sockeye:outcome()}'.
-spec publish(server_id(), all | sockeye:topic(), sockeye:frame(), sockeye:conn() | none,
              asked() | none) ->
          maybe_crowded(ok | {ok, sockeye:outcome()} | {error, sockeye:send_error()} | dirty).
publish(ServerId, To, Frame, Except, Ref) ->
    call(publish, [ServerId, To, Frame, Except, Ref]).

-spec publish_dirty(server_id(), all | sockeye:topic(), sockeye:frame(), sockeye:conn() | none,
              asked() | none) ->
          maybe_crowded(ok | {ok, sockeye:outcome()} | {error, sockeye:send_error()}).
publish_dirty(ServerId, To, Frame, Except, Ref) ->
    call(publish_dirty, [ServerId, To, Frame, Except, Ref]).

-spec encode_frame(server_id(), sockeye:frame()) ->
          {ok, encoded()} | {error, sockeye:send_error()} | dirty.
encode_frame(ServerId, Frame) ->
    call(encode_frame, [ServerId, Frame]).

-spec encode_frame_dirty(server_id(), sockeye:frame()) ->
          {ok, encoded()} | {error, sockeye:send_error()}.
encode_frame_dirty(ServerId, Frame) ->
    call(encode_frame_dirty, [ServerId, Frame]).

-spec publish_encoded(server_id(), all | sockeye:topic(), encoded(), sockeye:conn() | none,
              asked() | none) ->
          maybe_crowded(ok | {ok, sockeye:outcome()} | {error, sockeye:send_error()} | dirty).
publish_encoded(ServerId, To, Frame, Except, Ref) ->
    call(publish_encoded, [ServerId, To, Frame, Except, Ref]).

-spec publish_encoded_dirty(server_id(), all | sockeye:topic(), encoded(), sockeye:conn() | none,
              asked() | none) ->
          maybe_crowded(ok | {ok, sockeye:outcome()} | {error, sockeye:send_error()}).
publish_encoded_dirty(ServerId, To, Frame, Except, Ref) ->
    call(publish_encoded_dirty, [ServerId, To, Frame, Except, Ref]).

-spec send_list([sockeye:conn()], sockeye:frame()) ->
          maybe_crowded(ok | {error, [{sockeye:conn(), closed | busy}] | sockeye:send_error()} | dirty).
send_list(Conns, Frame) ->
    call(send_list, [Conns, Frame]).

-spec send_list_dirty([sockeye:conn()], sockeye:frame()) ->
          maybe_crowded(ok | {error, [{sockeye:conn(), closed | busy}] | sockeye:send_error()}).
send_list_dirty(Conns, Frame) ->
    call(send_list_dirty, [Conns, Frame]).

-spec subscribe(sockeye:conn(), sockeye:topic()) -> maybe_crowded(ok | {error, sockeye:subscribe_error()}).
subscribe(Conn, Topic) ->
    call(subscribe, [Conn, Topic]).

-spec unsubscribe(sockeye:conn(), sockeye:topic()) -> maybe_crowded(ok | {error, closed}).
unsubscribe(Conn, Topic) ->
    call(unsubscribe, [Conn, Topic]).

%% The process gets `{sockeye_topics, ServerId}' when there is {@link topic_news/1}: once, until it
%% has taken all.
-spec watch_topics(server_id(), pid()) -> ok.
watch_topics(ServerId, Pid) ->
    call(watch_topics, [ServerId, Pid]).

%% Topics that may have got their first subscription or lost their last, {@link topic_count/2}
%% tells; and whether there are more. `all' if there were too many to say which.
-spec topic_news(server_id()) -> {boolean(), [sockeye:topic()]} | all.
topic_news(ServerId) ->
    call(topic_news, [ServerId]).

-spec topic_count(server_id(), sockeye:topic()) -> non_neg_integer().
topic_count(ServerId, Topic) ->
    call(topic_count, [ServerId, Topic]).

-spec topics_of(server_id()) -> #{sockeye:topic() => pos_integer()}.
topics_of(ServerId) ->
    call(topics_of, [ServerId]).

%% The process gets `{sockeye_down, Conn}' when the connection has ended.
-spec watch_conn(sockeye:conn(), pid()) -> ok | {error, closed}.
watch_conn(Conn, Pid) ->
    call(watch_conn, [Conn, Pid]).

-spec setopts(sockeye:conn(), [sockeye:conn_option()]) -> maybe_crowded(ok | {error, closed}).
setopts(Conn, Options) ->
    call(setopts, [Conn, Options]).

%% The same for many options.
-spec setopts_dirty(sockeye:conn(), [sockeye:conn_option()]) -> maybe_crowded(ok | {error, closed}).
setopts_dirty(Conn, Options) ->
    call(setopts_dirty, [Conn, Options]).

%% `{Ref, ok}' comes when what arrived before is with the old owner.
-spec controlling_process(sockeye:conn(), pid(), asked()) -> ok | {error, closed}.
controlling_process(Conn, Pid, Asked) ->
    call(controlling_process, [Conn, Pid, Asked]).

-spec conn_server(sockeye:conn()) -> {ok, server_id()} | {error, closed}.
conn_server(Conn) ->
    call(conn_server, [Conn]).

%% The answer comes as the message `{Ref, {ok, Map} | {error, closed}}'.
-spec wait_begin() -> waiting().
wait_begin() ->
    call(wait_begin, []).

-spec wait_end(waiting()) -> ok.
wait_end(Waiting) ->
    call(wait_end, [Waiting]).

-spec conn_info(sockeye:conn(), asked()) -> ok | {error, closed}.
conn_info(Conn, Ref) ->
    call(conn_info, [Conn, Ref]).

%% The answer comes as that number of messages `{Ref, [Conn]}'.
-spec connections(server_id(), all | sockeye:topic(), asked()) -> non_neg_integer().
connections(ServerId, Of, Ref) ->
    call(connections, [ServerId, Of, Ref]).

-spec json_decode(iodata(), sockeye_json:decode_options()) ->
          {ok, term()} | {error, sockeye_json:decode_error()} | dirty | bad_option.
json_decode(Text, Options) ->
    call(json_decode, [Text, Options]).

-spec json_decode_dirty(iodata(), sockeye_json:decode_options()) ->
          {ok, term()} | {error, sockeye_json:decode_error()} | bad_option.
json_decode_dirty(Text, Options) ->
    call(json_decode_dirty, [Text, Options]).

-spec json_encode(term(), sockeye_json:encode_options()) ->
          {ok, binary()} | {error, {not_json, term()}} | dirty | bad_option.
json_encode(Term, Options) ->
    call(json_encode, [Term, Options]).

-spec json_encode_dirty(term(), sockeye_json:encode_options()) ->
          {ok, binary()} | {error, {not_json, term()}} | bad_option.
json_encode_dirty(Term, Options) ->
    call(json_encode_dirty, [Term, Options]).

-spec codec_new(client | server, map()) -> sockeye_codec:codec().
codec_new(Role, Options) ->
    call(codec_new, [Role, Options]).

-spec codec_request(map()) -> {ok, binary(), binary()} | {error, atom()}.
codec_request(Options) ->
    call(codec_request, [Options]).

-spec codec_response(binary(), map(), binary()) ->
          more | {ok, sockeye_codec:codec(), map(), non_neg_integer()} | {error, term()}.
codec_response(Key, Options, Bytes) ->
    call(codec_response, [Key, Options, Bytes]).

-spec codec_check_request(map(), binary()) ->
          more | {ok, sockeye_codec:request(), non_neg_integer()} | {error, {atom(), binary()}}.
codec_check_request(Options, Bytes) ->
    call(codec_check_request, [Options, Bytes]).

-spec codec_accept(map(), binary()) ->
          more | {ok, binary(), sockeye_codec:codec(), map(), non_neg_integer()} | {error, {atom(), binary()}}.
codec_accept(Options, Bytes) ->
    call(codec_accept, [Options, Bytes]).

-spec codec_refuse(100..599, [{binary(), binary()}], binary()) -> binary().
codec_refuse(Status, Headers, Body) ->
    call(codec_refuse, [Status, Headers, Body]).

%% The same for an answer of many bytes.
-spec codec_refuse_dirty(100..599, [{binary(), binary()}], binary()) -> binary().
codec_refuse_dirty(Status, Headers, Body) ->
    call(codec_refuse_dirty, [Status, Headers, Body]).

-spec codec_encode(sockeye_codec:codec(), term()) ->
          {ok, binary()} | {error, sockeye_codec:encode_error()} | dirty.
codec_encode(Codec, Frames) ->
    call(codec_encode, [Codec, Frames]).

-spec codec_encode_dirty(sockeye_codec:codec(), term()) ->
          {ok, binary()} | {error, sockeye_codec:encode_error()}.
codec_encode_dirty(Codec, Frames) ->
    call(codec_encode_dirty, [Codec, Frames]).

-spec codec_decode(sockeye_codec:codec(), iodata()) -> {[sockeye_codec:event()], binary()} | dirty.
codec_decode(Codec, Bytes) ->
    call(codec_decode, [Codec, Bytes]).

-spec codec_decode_dirty(sockeye_codec:codec(), iodata()) -> {[sockeye_codec:event()], binary()}.
codec_decode_dirty(Codec, Bytes) ->
    call(codec_decode_dirty, [Codec, Bytes]).

-spec codec_eof(sockeye_codec:codec()) -> sockeye_codec:ending() | dirty.
codec_eof(Codec) ->
    call(codec_eof, [Codec]).

-spec codec_eof_dirty(sockeye_codec:codec()) -> sockeye_codec:ending().
codec_eof_dirty(Codec) ->
    call(codec_eof_dirty, [Codec]).

-spec codec_info(sockeye_codec:codec()) -> sockeye_codec:info() | dirty.
codec_info(Codec) ->
    call(codec_info, [Codec]).

-spec codec_info_dirty(sockeye_codec:codec()) -> sockeye_codec:info().
codec_info_dirty(Codec) ->
    call(codec_info_dirty, [Codec]).
