%% @private
%% One frame for many connections: of a server, of a topic, of a list.
-module(sockeye_fanout).

-export([to_all/3]).
-export([to_others/3]).
-export([to_topic/4]).
-export([to_topic_others/4]).
-export([broadcast/4]).
-export([publish/5]).
-export([command/5]).
-export([publish_encoded/3]).
-export([of_server/2]).
-export([of_conn/2]).
-export([list/2]).
-export([subscribe/2]).
-export([unsubscribe/2]).
-export([change/1]).
-export_type([change/0]).
-export([connections/2]).
-export([topics/1]).

-import(sockeye_backlog, [settle/1]).

-define(TIMEOUT_MS, 5000).

-type change() :: {subscribe | unsubscribe, sockeye:conn(), sockeye:topic()}.
-type to() :: all | sockeye:topic().
-type result() :: ok | {ok, sockeye:outcome()} | {error, sockeye:publish_error()}.
%% Before it is known where in the frame the part stands that is no JSON.
-type tried() :: ok | {ok, sockeye:outcome()} | {error, sockeye_backend:refusal() | not_found | not_clustered | timeout}.

%% To all connections of a server, or of the server of a connection but that one.
-spec to_all(sockeye:server(), sockeye:frame(), sockeye:publish_options()) -> result().
to_all(Server, Frame, Options) ->
    of_server(Server, fun(ServerId) -> broadcast(ServerId, Frame, none, Options) end).

-spec to_others(sockeye:conn(), sockeye:frame(), sockeye:publish_options()) -> result().
to_others(Conn, Frame, Options) ->
    of_conn(Conn, fun(ServerId) -> broadcast(ServerId, Frame, Conn, Options) end).

%% The same for the subscribers of a topic.
-spec to_topic(sockeye:server(), sockeye:topic(), sockeye:frame(), sockeye:publish_options()) -> result().
to_topic(Server, Topic, Frame, Options) ->
    of_server(Server, fun(ServerId) -> publish(ServerId, Topic, Frame, none, Options) end).

-spec to_topic_others(sockeye:conn(), sockeye:topic(), sockeye:frame(), sockeye:publish_options()) -> result().
to_topic_others(Conn, Topic, Frame, Options) ->
    of_conn(Conn, fun(ServerId) -> publish(ServerId, Topic, Frame, Conn, Options) end).

%% Work for the number of a server.
-spec of_server(sockeye:server(), fun((sockeye_backend:server_id()) -> Result)) ->
          Result | {error, not_found}.
of_server(Server, Work) ->
    case sockeye_engine:find(Server) of
        {ok, {_, ServerId, _}} -> Work(ServerId);
        error -> {error, not_found}
    end.

-spec of_conn(sockeye:conn(), fun((sockeye_backend:server_id()) -> Result)) -> Result | {error, closed}.
of_conn(Conn, Work) ->
    case sockeye_backend:conn_server(Conn) of
        {ok, ServerId} -> Work(ServerId);
        {error, closed} = Error -> Error
    end.

-spec broadcast(sockeye_backend:server_id(), sockeye:frame(), sockeye:conn() | none,
                sockeye:publish_options()) -> result().
broadcast(ServerId, Frame, Except, Options) ->
    encoded(ServerId, all, Frame, Except, Options).

-spec publish(sockeye_backend:server_id(), sockeye:topic(), sockeye:frame(), sockeye:conn() | none,
              sockeye:publish_options()) -> result().
publish(ServerId, Topic, Frame, Except, Options) when is_binary(Topic) ->
    encoded(ServerId, Topic, Frame, Except, Options);
publish(_ServerId, _Topic, _Frame, _Except, _Options) ->
    error(badarg).

%% The command of a handler. With the engine in a process of its own, and nobody else to be told, the caller does not wait,
%% and hears of a failure with this note.
-spec command(term(), sockeye_backend:server_id(), all | {topic, term()}, sockeye:frame(), sockeye:conn() | none) ->
          result().
command(Note, ServerId, Target, Frame, Except) ->
    To = case Target of
             all -> all;
             {topic, Topic} when is_binary(Topic) -> Topic;
             {topic, _} -> error(badarg)
         end,
    case is_for_connections(ServerId, To)
        andalso sockeye_backend:publish_command(Note, ServerId, To, Frame, Except)
    of
        true -> ok;
        false -> encoded(ServerId, To, Frame, Except, #{})
    end.

%% Whether only connections of this node may get it, and the engine is where asking takes its time.
-spec is_for_connections(sockeye_backend:server_id(), to()) -> boolean().
is_for_connections(ServerId, To) ->
    sockeye_backend:engine(ServerId) =:= port
        andalso (To =:= all orelse sockeye_cluster:processes() =:= 0)
        andalso sockeye_cluster:name(ServerId, default) =:= local.

-spec encoded(sockeye_backend:server_id(), to(), sockeye:frame(), sockeye:conn() | none,
              sockeye:publish_options()) -> result().
encoded(ServerId, To, Frame, Except, Options) ->
    case spread(ServerId, To, Frame, Except, Options) of
        {error, {not_json, Part}} ->
            sockeye_encoder:retry(sockeye_encoder:of_server(ServerId), Frame, Part,
                                  fun(Encoded) -> spread(ServerId, To, Encoded, Except, Options) end);
        Result -> Result
    end.

-spec spread(sockeye_backend:server_id(), to(), sockeye:frame(), sockeye:conn() | none,
             sockeye:publish_options()) -> tried().
spread(ServerId, To, Frame, Except, Options) when map_size(Options) =:= 0 ->
    scoped(ServerId, To, Frame, Except, default, false);
spread(_ServerId, _To, _Frame, _Except, Options) when not is_map(Options) ->
    error(badarg);
spread(ServerId, To, Frame, Except, Options) ->
    Known = maps:with([wait, scope], Options),
    map_size(Known) =:= map_size(Options) orelse error(badarg),
    Wait = maps:get(wait, Options, false),
    is_boolean(Wait) orelse error(badarg),
    Scope = maps:get(scope, Options, default),
    is_map_key(scope, Options) andalso Scope =/= local andalso Scope =/= cluster andalso error(badarg),
    scoped(ServerId, To, Frame, Except, Scope, Wait).

-spec scoped(sockeye_backend:server_id(), to(), sockeye:frame(), sockeye:conn() | none,
             default | local | cluster, boolean()) -> tried().
scoped(ServerId, To, Frame, Except, Scope, Wait) ->
    case sockeye_cluster:name(ServerId, Scope) of
        local ->
            here(ServerId, To, Frame, Frame, Except, Wait);
        {ok, Name} ->
            case sockeye_cluster:targets(Name, To) of
                [] -> here(ServerId, To, Frame, Frame, Except, Wait);
                Targets -> everywhere(Targets, Name, ServerId, To, Frame, Except, Wait)
            end;
        {error, not_clustered} = Error ->
            Error
    end.

%% What this node refuses goes nowhere.
-spec everywhere([tuple()], atom(), sockeye_backend:server_id(), to(), sockeye:frame(),
                 sockeye:conn() | none, boolean()) -> tried().
everywhere(Targets, Name, ServerId, To, Frame, Except, Wait) ->
    case encode(ServerId, Frame) of
        {ok, Encoded} ->
            Result = here(ServerId, To, {encoded, Encoded}, Frame, Except, Wait),
            is_sent(Result) andalso sockeye_cluster:spread(Targets, Name, To, Encoded, Frame),
            Result;
        Error ->
            Error
    end.

-spec encode(sockeye_backend:server_id(), sockeye:frame()) ->
          {ok, sockeye_backend:encoded()} | {error, sockeye_backend:refusal()}.
encode(ServerId, Frame) ->
    case sockeye_backend:encode_frame(ServerId, Frame) of
        dirty -> sockeye_backend:encode_frame_dirty(ServerId, Frame);
        Result -> Result
    end.

%% Connections of this node, then its processes.
-spec here(sockeye_backend:server_id(), to(), sockeye:frame() | {encoded, sockeye_backend:encoded()},
           sockeye:frame(), sockeye:conn() | none, boolean()) -> tried().
here(ServerId, To, Form, Frame, Except, Wait) ->
    Result = case Wait of
                 true -> wait(ServerId, To, Form, Except);
                 false -> hand_over(ServerId, To, Form, Except, none)
             end,
    is_binary(To) andalso is_sent(Result) andalso sockeye_pubsub_server:deliver(ServerId, To, Frame),
    Result.

-spec is_sent(tried()) -> boolean().
is_sent(ok) -> true;
is_sent({ok, _}) -> true;
is_sent({error, _}) -> false.

%% What comes from another node.
-spec publish_encoded(sockeye_backend:server_id(), to(), sockeye_backend:encoded()) -> tried().
publish_encoded(ServerId, To, Encoded) ->
    hand_over(ServerId, To, {encoded, Encoded}, none, none).

-spec hand_over(sockeye_backend:server_id(), to(), sockeye:frame() | {encoded, sockeye_backend:encoded()},
                sockeye:conn() | none, sockeye_backend:asked() | none) -> tried().
hand_over(ServerId, To, {encoded, Encoded}, Except, Ref) ->
    case sockeye_backend:publish_encoded(ServerId, To, Encoded, Except, Ref) of
        dirty -> settle(sockeye_backend:publish_encoded_dirty(ServerId, To, Encoded, Except, Ref));
        Result -> settle(Result)
    end;
hand_over(ServerId, To, Frame, Except, Ref) ->
    case sockeye_backend:publish(ServerId, To, Frame, Except, Ref) of
        dirty -> settle(sockeye_backend:publish_dirty(ServerId, To, Frame, Except, Ref));
        Result -> settle(Result)
    end.

-spec wait(sockeye_backend:server_id(), to(), sockeye:frame() | {encoded, sockeye_backend:encoded()},
           sockeye:conn() | none) -> tried().
wait(Id, To, Form, Except) when is_pid(Id) ->
    hand_over(Id, To, Form, Except, {make_ref(), none});
wait(ServerId, To, Form, Except) ->
    case sockeye_ask:ask(fun(Asked) -> hand_over(ServerId, To, Form, Except, Asked) end, ?TIMEOUT_MS) of
        Outcome when is_map(Outcome) -> {ok, Outcome};
        Result -> Result
    end.

-spec list([sockeye:conn()], sockeye:frame()) ->
          ok | {error, [{sockeye:conn(), closed | busy}] | sockeye:send_error()}.
list(Conns, Frame) ->
    case listed(Conns, Frame) of
        {error, {not_json, Part}} ->
            sockeye_encoder:retry(sockeye_encoder:of_conn(Conns), Frame, Part, fun(Encoded) -> listed(Conns, Encoded) end);
        Result -> Result
    end.

-spec listed([sockeye:conn()], sockeye:frame()) ->
          ok | {error, [{sockeye:conn(), closed | busy}] | sockeye_backend:refusal()}.
listed(Conns, Frame) ->
    case sockeye_backend:send_list(Conns, Frame) of
        dirty -> settle(sockeye_backend:send_list_dirty(Conns, Frame));
        Result -> settle(Result)
    end.

-spec subscribe(sockeye:conn(), sockeye:topic()) -> ok | {error, sockeye:subscribe_error()}.
subscribe(Conn, Topic) ->
    settle(sockeye_backend:subscribe(Conn, Topic)).

-spec unsubscribe(sockeye:conn(), sockeye:topic()) -> ok | {error, closed}.
unsubscribe(Conn, Topic) ->
    settle(sockeye_backend:unsubscribe(Conn, Topic)).

%% Several in this order. An answer is `badarg' where a call would raise it.
-spec change([change()]) -> [ok | {error, sockeye:subscribe_error()} | badarg].
change([{_, {sockeye_conn, Number}, _}, _ | _] = Changes) when is_integer(Number) ->
    case sockeye_backend:engine() of
        port -> sockeye_backend:change_topics(Changes);
        nif -> one_by_one(Changes)
    end;
change(Changes) ->
    one_by_one(Changes).

-spec one_by_one([change()]) -> [ok | {error, sockeye:subscribe_error()} | badarg].
one_by_one(Changes) ->
    [try case Change of
             subscribe -> subscribe(Conn, Topic);
             unsubscribe -> unsubscribe(Conn, Topic)
         end
     catch error:badarg -> badarg
     end || {Change, Conn, Topic} <- Changes].

-spec connections(sockeye_backend:server_id(), to()) -> {ok, [sockeye:conn()]} | {error, not_found | timeout}.
connections(Id, Of) when is_pid(Id) ->
    sockeye_test_engine:connections(Id, Of);
connections(ServerId, Of) ->
    joined(sockeye_ask:ask_all(fun(Asked) -> sockeye_backend:connections(ServerId, Of, Asked) end, ?TIMEOUT_MS)).

%% What a topic is, the caller has seen to: `badarg' says that the server has stopped.
-spec joined({ok, [[sockeye:conn()]]} | {error, badarg | closed | timeout}) -> {ok, [sockeye:conn()]} | {error, not_found | timeout}.
joined({ok, Parts}) -> {ok, lists:append(Parts)};
joined({error, timeout}) -> {error, timeout};
joined({error, _}) -> {error, not_found}.

-spec topics(sockeye_backend:server_id()) -> {ok, #{sockeye:topic() => pos_integer()}} | {error, not_found}.
topics(ServerId) ->
    try {ok, sockeye_backend:topics_of(ServerId)}
    catch error:badarg -> {error, not_found}
    end.
