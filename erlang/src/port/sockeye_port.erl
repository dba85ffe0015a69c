%% @private
%% The functions of the engine where it is a process of its own: each sends a call, or a message that needs no answer.
%%
%% Nothing here is refused because the engine is busy: who asks waits. While it is gone, connections are `closed'
%% and servers have nothing to say, until it has been started again.
-module(sockeye_port).
%% The functions of sockeye_backend and sockeye_pure: sockeye_backend_tests compares them.

-export([begin_as/3, rest/0, publish_command/5]).
%% The engine.
-export([engine_start/1, engine_stop/0, engine_info/0, engine_hosts/0, when_done/1, wait_begin/0, wait_end/1]).
%% Servers and clients.
-export([listen/1, reload_tls/2, server_stop/3, server_drain/1, adopt/4, admit/4, server_info/1, client_open/1, client_dial/1,
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
         send_list/2, send_list_dirty/2, subscribe/2, unsubscribe/2, change_topics/1, watch_topics/2, topic_news/1, topic_count/2,
         topics_of/1, connections/3, rows/3]).
%% Without an engine.
-export([certificates_out_of_time/2, origin_rule/1, path_form/1, client_url/1, client_proxy/1, client_host/1,
         json_decode/2, json_decode_dirty/2, json_encode/2, json_encode_dirty/2, codec_new/2, codec_request/1,
         codec_response/3, codec_check_request/2, codec_accept/2, codec_refuse/3, codec_refuse_dirty/3,
         codec_encode/2, codec_encode_dirty/2, codec_decode/2, codec_decode_dirty/2, codec_eof/1, codec_eof_dirty/1,
         codec_info/1, codec_info_dirty/1]).

-import(sockeye_port_call, [ask/2, call/3, value/2, pure/2, say/2]).

%% So long the news of the engine's end may take from one process to another.
-define(LOST_MS, 1000).

%% ---------------------------------------------------------------- the engine

engine_start(Config) ->
    case sockeye_link:start_link(Config#{atoms => sockeye_wire:numbers()}) of
        {ok, _} -> ok;
        {error, {already_started, _}} -> {error, already_running};
        {error, Reason} -> {error, Reason}
    end.

%% Its process ends later: handlers have their last words to say, and JSON is made there.
engine_stop() ->
    _ = ask(engine_stop, []),
    ok.

engine_info() ->
    Info = call(engine_info, [], badarg),
    case sockeye_link:facts() of
        none -> error(badarg);
        Facts -> maps:merge(Info, maps:without([run], Facts))
    end.

engine_hosts() ->
    sockeye_link:hosts().

%% ---------------------------------------------------------------- servers

listen(Config) -> begun(listen, Config).

%% It has the same number in all runs of the engine.
-spec begun(listen | client_open, map()) -> term().
begun(Function, #{max_message_size := Most} = Config) ->
    Id = erlang:unique_integer([positive]),
    Known = Config#{id => Id},
    case sockeye_link:run() of
        none ->
            {error, not_running};
        Run ->
            ok = sockeye_link:allow(Most),
            ok = sockeye_port_restore:remember(Id, self(), none, Known),
            case begin_as(self(), Function, Known) of
                {return, {ok, Id, #{port := Port}} = Begun} -> has_begun(Run, Id, Function, Known#{port => Port}, Begun);
                {return, {ok, Id} = Begun} -> has_begun(Run, Id, Function, Known, Begun);
                {return, {error, _} = Error} ->
                    ok = sockeye_port_restore:forget(Id),
                    Error;
                {raise, badarg} ->
                    ok = sockeye_port_restore:forget(Id),
                    error(badarg);
                lost ->
                    ok = sockeye_port_restore:forget(Id),
                    {error, not_running}
            end
    end.

%% The next engine is told of it. If that has come already, nobody knows which one has the server.
-spec has_begun(sockeye_link_writer:run(), sockeye_backend:server_id(), listen | client_open, map(), Begun) -> Begun | {error, not_running}.
has_begun(Run, Id, Function, Known, Begun) ->
    ok = sockeye_port_restore:remember(Id, self(), Function, Known),
    case sockeye_link:run() of
        Run ->
            Begun;
        _ ->
            _ = server_stop(Id, 1001, <<>>),
            {error, not_running}
    end.

%% A descriptor of the VM goes to the engine that is to listen on it.
-spec begin_as(pid(), listen | client_open, map()) -> sockeye_port_call:answer().
begin_as(Pid, Function, #{ip := {fd, Descriptor}} = Config) ->
    case sockeye_port_descriptors:pass(Descriptor) of
        {ok, Number} -> sockeye_port_call:call_as(Pid, Function, [Config#{ip := {fd, Number}}]);
        {error, _} = Error -> {return, Error}
    end;
begin_as(Pid, Function, Config) ->
    sockeye_port_call:call_as(Pid, Function, [Config]).

%% An engine that starts in the place of this one is to have them, too.
reload_tls(ServerId, Tls) ->
    Run = sockeye_link:run(),
    case ask(reload_tls, [ServerId, Tls]) of
        {return, ok} ->
            ok = sockeye_port_restore:change(ServerId, #{tls => Tls}),
            case sockeye_link:run() of
                Run -> ok;
                none -> ok;
                %% It has started meanwhile, and may have been told of those before.
                _Next -> reload_tls(ServerId, Tls)
            end;
        {return, {error, _} = Error} ->
            Error;
        %% It does not know the server yet, or it has ended.
        _ ->
            {error, not_running}
    end.

server_stop(ServerId, Code, Reason) ->
    ok = sockeye_port_restore:forget(ServerId),
    value(server_stop, [ServerId, Code, Reason]).

server_drain(ServerId) ->
    ok = sockeye_port_restore:draining(ServerId),
    value(server_drain, [ServerId]).

adopt(ServerId, Ticket, Descriptor, Read) ->
    case sockeye_port_descriptors:pass(Descriptor) of
        {ok, Number} -> call(adopt, [ServerId, Ticket, Number, Read], {error, not_found});
        {error, not_running} -> {error, not_found};
        {error, _} = Error -> Error
    end.

admit(ServerId, Head, Ends, {Ref, _}) ->
    case call(admit, [ServerId, Head, Ends], {error, closed}) of
        {error, _} = Error -> Error;
        Verdict -> told(Ref, Verdict)
    end.

server_info(ServerId) -> value(server_info, [ServerId]).

client_open(Config) -> begun(client_open, Config).
client_dial(Id) -> value(client_dial, [Id]).
client_conn(Id) -> call(client_conn, [Id], none).
no_process(Whose) -> say(no_process, [Whose]).

%% Nobody has to be woken.
relay_open(_ServerId) -> ok.

%% Where the engine does not know the server yet, it is opened when it does.
gate_open(ServerId) ->
    sockeye_port_restore:is_known(ServerId) orelse error(badarg),
    ok = sockeye_port_restore:remember_inbox(ServerId, gate),
    case ask(gate_open, [ServerId]) of
        {return, ok} -> ok;
        _ -> sockeye_port_restore:is_known(ServerId) orelse error(badarg), ok
    end.

answer(ServerId, Token, Decision) -> say(answer, [ServerId, Token, Decision]), true.
answer_dirty(ServerId, Token, Decision) -> answer(ServerId, Token, Decision).
stream_open(ServerId, Token, Head) -> call(stream_open, [ServerId, Token, Head], false).
stream_send(ServerId, Token, Piece, _Asked) -> call(stream_send, [ServerId, Token, Piece], closed).
stream_close(ServerId, Token, End) -> say(stream_close, [ServerId, Token, End]).

%% ---------------------------------------------------------------- events

%% 0 stands for one that is opened when there is an engine again.
inbox_open(ServerId, Slot) ->
    %% A connection ends with its engine.
    Alone = is_tuple(Slot),
    Alone orelse sockeye_port_restore:is_known(ServerId) orelse error(badarg),
    Alone orelse sockeye_port_restore:remember_inbox(ServerId, Slot),
    Run = sockeye_link:run(),
    Answer = ask(inbox_open, [ServerId, Slot]),
    case {Answer, sockeye_link:run()} of
        {{return, Inbox}, Run} when is_integer(Inbox) ->
            ok = sockeye_port_batch:opened(Run, Inbox),
            Inbox;
        {{return, {error, closed} = Closed}, _} when Alone ->
            Closed;
        %% Nobody knows of which engine an answer is.
        _ when not Alone ->
            sockeye_port_restore:is_known(ServerId) orelse error(badarg),
            0;
        _ ->
            error(badarg)
    end.

%% See rest/0.
pass_shards(_Asked) -> 0.

%% Batches come by themselves.
recv(_Inbox, _Max) -> [].
recv_dirty(_Inbox, _Max) -> [].

%% Within that time the caller gets `{Ref, _}' behind the last batch that there was for it, or hears that the
%% engine is lost.
-spec rest() -> {reference(), timeout()}.
rest() ->
    case sockeye_port_batch:sender() of
        {any, 0} ->
            {make_ref(), 0};
        {Run, Inbox} ->
            case sockeye_port_call:posted(Run, self(), inbox_rest, [Inbox]) of
                gone -> {make_ref(), ?LOST_MS};
                Ref -> {Ref, infinity}
            end
    end.

answered(Conn) -> say(answered, [Conn]).
refuse(Conn, Code, Why) -> say(refuse, [Conn, Code, Why]).

%% Here another process delivers, see sockeye_port_delivery. Its sent messages count instead of an inbox.
delivery_open(_Index, _Count) -> ok.
delivery_run(_Index) -> {done, [], []}.
deliver_large(_Inbox) -> [].
delivery_requeue(_Inbox) -> ok.
delivery_sent(Sent) -> counters:get(Sent, 1).

settle(all) ->
    sockeye_port_delivery:settle(sockeye_link:deliveries(), none);
settle(Owner) when is_pid(Owner) ->
    sockeye_port_delivery:settle(sockeye_link:deliveries(Owner), none);
settle(Name) ->
    case whereis(Name) of
        Pid when is_pid(Pid) -> settle(Pid);
        _ -> ok
    end.

%% ---------------------------------------------------------------- frames

%% What fails of them comes as a message.
commands(Commands) ->
    {Run, Id} = sockeye_port_batch:sender(),
    _ = sockeye_link_writer:post(Run, sockeye_wire:commands(Id, 0, 0, Commands)),
    ok.

commands_dirty(Commands) -> commands(Commands).

%% A process that serves connections may have given commands for them, which are known there first.
send(Conn, Frames) ->
    case sockeye_port_batch:sender() =:= {any, 0} andalso sockeye_port_grants:admit(Conn, Frames) of
        {ok, Sections} ->
            case sockeye_link_writer:post(any, Sections) of
                ok -> ok;
                gone -> {error, closed}
            end;
        _ ->
            call(send, [Conn, Frames], {error, closed})
    end.

send_dirty(Conn, Frames) -> send(Conn, Frames).
send_list(Conns, Frame) ->
    case ask(send_list, [Conns, Frame]) of
        {return, Value} -> Value;
        {raise, badarg} -> error(badarg);
        lost -> {error, [{Conn, closed} || Conn <- Conns]}
    end.

send_list_dirty(Conns, Frame) -> send_list(Conns, Frame).
publish(ServerId, To, Frame, Except, Asked) -> publish_as(publish, [ServerId, To, Frame, Except], Asked).
publish_dirty(ServerId, To, Frame, Except, Asked) -> publish(ServerId, To, Frame, Except, Asked).
%% See sockeye_backend.
-spec publish_command(term(), sockeye_backend:server_id(), all | sockeye:topic(), sockeye:frame(),
                      sockeye:conn() | none) -> boolean().
publish_command(Note, ServerId, To, Frame, Except) ->
    case sockeye_port_batch:sender() of
        {any, 0} ->
            false;
        {Run, Id} ->
            _ = sockeye_link_writer:post(Run, sockeye_wire:publish(Id, [Note, ServerId, To, Frame, Except])),
            true
    end.

encode_frame(ServerId, Frame) -> call(encode_frame, [ServerId, Frame], {error, closed}).
encode_frame_dirty(ServerId, Frame) -> encode_frame(ServerId, Frame).

publish_encoded(ServerId, To, Encoded, Except, Asked) ->
    publish_as(publish_encoded, [ServerId, To, Encoded, Except], Asked).

publish_encoded_dirty(ServerId, To, Encoded, Except, Asked) -> publish_encoded(ServerId, To, Encoded, Except, Asked).

-spec publish_as(atom(), [term()], sockeye_backend:asked() | none) -> term().
publish_as(Function, Args, none) ->
    call(Function, Args ++ [false], {error, closed});
publish_as(Function, Args, {Ref, _}) ->
    case call(Function, Args ++ [true], {error, closed}) of
        {ok, Outcome} -> told(Ref, Outcome);
        Other -> Other
    end.

%% The answer is here, and the caller waits for a message.
-spec told(reference(), term()) -> ok.
told(Ref, Answer) ->
    self() ! {Ref, Answer},
    ok.

%% ---------------------------------------------------------------- topics

%% Each as the single call returns it, or `badarg' where that is raised.
-spec change_topics([sockeye_fanout:change()]) -> [ok | {error, sockeye:subscribe_error()} | badarg].
change_topics(Changes) ->
    [case Answer of {return, Value} -> Value; {raise, badarg} -> badarg; lost -> {error, closed} end
     || Answer <- sockeye_port_call:ask_all([{Change, [Conn, Topic]} || {Change, Conn, Topic} <- Changes])].

subscribe(Conn, Topic) -> call(subscribe, [Conn, Topic], {error, closed}).
unsubscribe(Conn, Topic) -> call(unsubscribe, [Conn, Topic], {error, closed}).

watch_topics(ServerId, Pid) when Pid =:= self() ->
    sockeye_port_restore:is_known(ServerId) orelse error(badarg),
    ok = sockeye_port_restore:remember_inbox(ServerId, topics),
    value(watch_topics, [ServerId, Pid]).

topic_news(ServerId) -> value(topic_news, [ServerId]).
topic_count(ServerId, Topic) -> call(topic_count, [ServerId, Topic], 0).
topics_of(ServerId) -> value(topics_of, [ServerId]).

connections(ServerId, Of, {Ref, _}) ->
    ok = told(Ref, value(connections, [ServerId, Of])),
    1.

rows(ServerId, {Shard, From}, {Ref, _}) -> told(Ref, value(rows, [ServerId, Shard, From])).

%% ---------------------------------------------------------------- connections

watch_conn(Conn, Pid) -> call(watch_conn, [Conn, Pid], {error, closed}).
trace(Conn, Pid, Id, Rate, Payload) -> call(trace, [Conn, Pid, Id, Rate, Payload], {error, closed}).
conn_server(Conn) -> call(conn_server, [Conn], {error, closed}).

setopts(Conn, Options) ->
    Result = call(setopts, [Conn, Options], {error, closed}),
    Result =:= ok andalso lists:foreach(fun sockeye_link:allow/1, [Most || {max_message_size, Most} <- Options]),
    Result.

setopts_dirty(Conn, Options) -> setopts(Conn, Options).

%% The old owner gets what its delivery process had by then before this returns.
controlling_process(Conn, Pid, {Ref, _}) ->
    case call(controlling_process, [Conn, Pid], {error, closed}) of
        ok ->
            ok = sockeye_port_delivery:settle(sockeye_link:deliveries(), {Conn, Pid}),
            told(Ref, ok);
        Error -> Error
    end.

conn_info(Conn, {Ref, _}) ->
    case call(conn_info, [Conn], {error, closed}) of {ok, _} = Info -> told(Ref, Info); Error -> Error end.

%% Nobody waits who has not been answered.
when_done(_Shards) -> {0, 0}.
wait_begin() -> none.
wait_end(none) -> ok.

%% ---------------------------------------------------------------- without an engine

certificates_out_of_time(Text, Now) -> pure(certificates_out_of_time, [Text, Now]).
origin_rule(Text) -> pure(origin_rule, [Text]).
client_url(Url) -> pure(client_url, [Url]).
client_proxy(Url) -> pure(client_proxy, [Url]).
client_host(Host) -> pure(client_host, [Host]).
path_form(Pattern) -> pure(path_form, [Pattern]).

json_decode(Text, Options) ->
    case pure(json_decode, [Text, Options]) of
        {ok, Value} when map_get(keys, Options) =:= existing_atom -> {ok, sockeye_wire:existing_atoms(Value)};
        Other -> Other
    end.

json_decode_dirty(Text, Options) -> json_decode(Text, Options).
json_encode(Term, Options) -> pure(json_encode, [Term, Options]).
json_encode_dirty(Term, Options) -> json_encode(Term, Options).

-dialyzer({no_return, [codec_new/2, codec_request/1, codec_response/3, codec_check_request/2, codec_accept/2,
                        codec_refuse/3, codec_refuse_dirty/3, codec_encode/2, codec_encode_dirty/2, codec_decode/2,
                        codec_decode_dirty/2, codec_eof/1, codec_eof_dirty/1, codec_info/1, codec_info_dirty/1]}).
codec_new(_Role, _Options) -> no_codec().
codec_request(_Options) -> no_codec().
codec_response(_Key, _Options, _Bytes) -> no_codec().
codec_check_request(_Options, _Bytes) -> no_codec().
codec_accept(_Options, _Bytes) -> no_codec().
codec_refuse(_Status, _Headers, _Body) -> no_codec().
codec_refuse_dirty(_Status, _Headers, _Body) -> no_codec().
codec_encode(_Codec, _Frames) -> no_codec().
codec_encode_dirty(_Codec, _Frames) -> no_codec().
codec_decode(_Codec, _Bytes) -> no_codec().
codec_decode_dirty(_Codec, _Bytes) -> no_codec().
codec_eof(_Codec) -> no_codec().
codec_eof_dirty(_Codec) -> no_codec().
codec_info(_Codec) -> no_codec().
codec_info_dirty(_Codec) -> no_codec().

%% The memory of a codec is given back when nobody holds it, and only the VM knows that.
-spec no_codec() -> no_return().
no_codec() ->
    error({sockeye_codec, needs_nif,
           <<"sockeye_codec needs the native library, which is not loaded where the engine is a process of its own: {pure, nif} "
             "in the environment of the application sockeye loads it, without starting its engine.">>}).
