%% @private
%% Owns the stubs of the native library, and nothing else. The first call loads it; new code of this module, as
%% `l(sockeye_nif)' and `r3:do(compile)' load it, takes over what is open.
%% What each does: see sockeye_backend and sockeye_pure.
-module(sockeye_nif).
%% The functions of sockeye_backend and sockeye_pure: sockeye_backend_tests compares them.

%% The engine.
-export([loaded_afresh/0, engine_start/1, engine_stop/0, engine_info/0, engine_hosts/0, when_done/1, wait_begin/0,
         wait_end/1]).
%% Servers and clients.
-export([listen/1, reload_tls/2, certificates_out_of_time/2, origin_rule/1, path_form/1, server_stop/3,
         server_drain/1, adopt/4, admit/4, server_info/1, client_url/1, client_proxy/1, client_host/1, client_open/1, client_dial/1,
         client_conn/1]).
%% Processes that serve: handlers, gate, relay, delivery.
-export([inbox_open/2, relay_open/1, gate_open/1, answer/3, answer_dirty/3, stream_open/3, stream_send/4, stream_close/3, no_process/1, pass_shards/1, recv/2,
         recv_dirty/2, answered/1, refuse/3, delivery_open/2, delivery_run/1, deliver_large/1, delivery_requeue/1,
         delivery_sent/1, settle/1]).
%% Connections.
-export([commands/1, commands_dirty/1, send/2, send_dirty/2, setopts/2, setopts_dirty/2, controlling_process/3,
         conn_server/1, conn_info/2, watch_conn/2, trace/5]).
%% Many connections.
-export([publish/5, publish_dirty/5, encode_frame/2, encode_frame_dirty/2, publish_encoded/5, publish_encoded_dirty/5,
         send_list/2, send_list_dirty/2, subscribe/2, unsubscribe/2, watch_topics/2, topic_news/1, topic_count/2,
         topics_of/1, connections/3, rows/3]).
%% JSON.
-export([json_decode/2, json_decode_dirty/2, json_encode/2, json_encode_dirty/2]).
%% The codec.
-export([codec_new/2, codec_request/1, codec_response/3, codec_check_request/2, codec_accept/2, codec_refuse/3,
         codec_refuse_dirty/3, codec_encode/2, codec_encode_dirty/2, codec_decode/2, codec_decode_dirty/2,
         codec_eof/1, codec_eof_dirty/1, codec_info/1, codec_info_dirty/1]).

%% The library refuses to load into stubs of another number.
-define(ABI, 16).
-define(LOADED, {?MODULE, loaded}).

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

engine_start(Config) -> call(engine_start, [Config]).
engine_stop() -> call(engine_stop, []).
engine_info() -> call(engine_info, []).
engine_hosts() -> call(engine_hosts, []).
listen(Config) -> call(listen, [Config]).
reload_tls(ServerId, Tls) -> call(reload_tls, [ServerId, Tls]).
certificates_out_of_time(Text, Now) -> call(certificates_out_of_time, [Text, Now]).
origin_rule(Text) -> call(origin_rule, [Text]).
client_url(Url) -> call(client_url, [Url]).
client_proxy(Url) -> call(client_proxy, [Url]).
client_host(Host) -> call(client_host, [Host]).
path_form(Pattern) -> call(path_form, [Pattern]).
client_open(Config) -> call(client_open, [Config]).
client_dial(Id) -> call(client_dial, [Id]).
client_conn(Id) -> call(client_conn, [Id]).
pass_shards(Asked) -> call(pass_shards, [Asked]).
no_process(Whose) -> call(no_process, [Whose]).
server_stop(ServerId, Code, Reason) -> call(server_stop, [ServerId, Code, Reason]).
server_drain(ServerId) -> call(server_drain, [ServerId]).
adopt(ServerId, Ticket, Descriptor, Read) -> call(adopt, [ServerId, Ticket, Descriptor, Read]).
admit(ServerId, Head, Ends, Ref) -> call(admit, [ServerId, Head, Ends, Ref]).
server_info(ServerId) -> call(server_info, [ServerId]).
inbox_open(ServerId, Slot) -> call(inbox_open, [ServerId, Slot]).
relay_open(ServerId) -> call(relay_open, [ServerId]).
gate_open(ServerId) -> call(gate_open, [ServerId]).
answer(ServerId, Token, Decision) -> call(answer, [ServerId, Token, Decision]).
answer_dirty(ServerId, Token, Decision) -> call(answer_dirty, [ServerId, Token, Decision]).
stream_open(ServerId, Token, Head) -> call(stream_open, [ServerId, Token, Head]).
stream_send(ServerId, Token, Piece, Asked) -> call(stream_send, [ServerId, Token, Piece, Asked]).
stream_close(ServerId, Token, End) -> call(stream_close, [ServerId, Token, End]).
when_done(Shards) -> call(when_done, [Shards]).
delivery_open(Index, Count) -> call(delivery_open, [Index, Count]).
delivery_run(Index) -> call(delivery_run, [Index]).
deliver_large(Inbox) -> call(deliver_large, [Inbox]).
delivery_sent(Inbox) -> call(delivery_sent, [Inbox]).
%% What the library tells goes the way of the events.
settle(_Owner) -> ok.
delivery_requeue(Inbox) -> call(delivery_requeue, [Inbox]).
recv(Inbox, Max) -> call(recv, [Inbox, Max]).
recv_dirty(Inbox, Max) -> call(recv_dirty, [Inbox, Max]).
answered(Conn) -> call(answered, [Conn]).
refuse(Conn, Code, Why) -> call(refuse, [Conn, Code, Why]).
commands(Commands) -> call(commands, [Commands]).
commands_dirty(Commands) -> call(commands_dirty, [Commands]).
send(Conn, Frames) -> call(send, [Conn, Frames]).
send_dirty(Conn, Frames) -> call(send_dirty, [Conn, Frames]).
publish(ServerId, To, Frame, Except, Ref) -> call(publish, [ServerId, To, Frame, Except, Ref]).
publish_dirty(ServerId, To, Frame, Except, Ref) -> call(publish_dirty, [ServerId, To, Frame, Except, Ref]).
encode_frame(ServerId, Frame) -> call(encode_frame, [ServerId, Frame]).
encode_frame_dirty(ServerId, Frame) -> call(encode_frame_dirty, [ServerId, Frame]).
publish_encoded(ServerId, To, Frame, Except, Ref) -> call(publish_encoded, [ServerId, To, Frame, Except, Ref]).
publish_encoded_dirty(ServerId, To, Frame, Except, Ref) -> call(publish_encoded_dirty, [ServerId, To, Frame, Except, Ref]).
send_list(Conns, Frame) -> call(send_list, [Conns, Frame]).
send_list_dirty(Conns, Frame) -> call(send_list_dirty, [Conns, Frame]).
subscribe(Conn, Topic) -> call(subscribe, [Conn, Topic]).
unsubscribe(Conn, Topic) -> call(unsubscribe, [Conn, Topic]).
watch_topics(ServerId, Pid) -> call(watch_topics, [ServerId, Pid]).
topic_news(ServerId) -> call(topic_news, [ServerId]).
topic_count(ServerId, Topic) -> call(topic_count, [ServerId, Topic]).
topics_of(ServerId) -> call(topics_of, [ServerId]).
watch_conn(Conn, Pid) -> call(watch_conn, [Conn, Pid]).
trace(Conn, Pid, Id, Rate, Payload) -> call(trace, [Conn, Pid, Id, Rate, Payload]).
setopts(Conn, Options) -> call(setopts, [Conn, Options]).
setopts_dirty(Conn, Options) -> call(setopts_dirty, [Conn, Options]).
controlling_process(Conn, Pid, Asked) -> call(controlling_process, [Conn, Pid, Asked]).
conn_server(Conn) -> call(conn_server, [Conn]).
wait_begin() -> call(wait_begin, []).
wait_end(Waiting) -> call(wait_end, [Waiting]).
conn_info(Conn, Ref) -> call(conn_info, [Conn, Ref]).
connections(ServerId, Of, Ref) -> call(connections, [ServerId, Of, Ref]).
rows(ServerId, From, Ref) -> call(rows, [ServerId, From, Ref]).
json_decode(Text, Options) -> call(json_decode, [Text, Options]).
json_decode_dirty(Text, Options) -> call(json_decode_dirty, [Text, Options]).
json_encode(Term, Options) -> call(json_encode, [Term, Options]).
json_encode_dirty(Term, Options) -> call(json_encode_dirty, [Term, Options]).
codec_new(Role, Options) -> call(codec_new, [Role, Options]).
codec_request(Options) -> call(codec_request, [Options]).
codec_response(Key, Options, Bytes) -> call(codec_response, [Key, Options, Bytes]).
codec_check_request(Options, Bytes) -> call(codec_check_request, [Options, Bytes]).
codec_accept(Options, Bytes) -> call(codec_accept, [Options, Bytes]).
codec_refuse(Status, Headers, Body) -> call(codec_refuse, [Status, Headers, Body]).
codec_refuse_dirty(Status, Headers, Body) -> call(codec_refuse_dirty, [Status, Headers, Body]).
codec_encode(Codec, Frames) -> call(codec_encode, [Codec, Frames]).
codec_encode_dirty(Codec, Frames) -> call(codec_encode_dirty, [Codec, Frames]).
codec_decode(Codec, Bytes) -> call(codec_decode, [Codec, Bytes]).
codec_decode_dirty(Codec, Bytes) -> call(codec_decode_dirty, [Codec, Bytes]).
codec_eof(Codec) -> call(codec_eof, [Codec]).
codec_eof_dirty(Codec) -> call(codec_eof_dirty, [Codec]).
codec_info(Codec) -> call(codec_info, [Codec]).
codec_info_dirty(Codec) -> call(codec_info_dirty, [Codec]).
