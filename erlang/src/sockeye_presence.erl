%% @doc Who is present in a topic: a list that every node has, and messages about who joins and leaves.
%%
%% An entry has a key, for instance the name of a user, and any term about it. It belongs to a
%% connection or a process, and ends with it. A key may have several entries: one user with three
%% windows is there until the last one closes. On servers with `scope => cluster' the lists of all
%% nodes are one; each node answers for its own entries. When a node is cut off, its entries leave, and
%% they come back with it.
%%
%% A process that subscribes gets `{sockeye_presence, Topic, #{joins => #{Key => [Meta]}, leaves => ...}}'
%% for each change after that; an update is a leave and a join in one message. An entry is not a
%% subscription: to get what is published, call {@link sockeye:subscribe/2}.
%% ```
%% handle_frame({json, #{<<"join">> := Nick}}, Conn, S) ->
%%     ok = sockeye_presence:track(Conn, <<"room/7">>, Nick, #{since => erlang:system_time(second)}),
%%     {ok, Present} = sockeye_presence:list(my_server, <<"room/7">>),
%%     {[{subscribe, <<"room/7">>}, {reply, #{here => maps:keys(Present)}}], S}.
%% '''
-module(sockeye_presence).

-export([track/4]).
-export([track/5]).
-export([update/4]).
-export([update/5]).
-export([untrack/3]).
-export([untrack/4]).
-export([list/2]).
-export([subscribe/2]).
-export([subscribe/3]).
-export([unsubscribe/2]).
-export([unsubscribe/3]).

-export_type([key/0, meta/0, change/0]).

-type key() :: term().
%% Keys that are equal by `==', as 1 and 1.0, are one.
-type meta() :: term().
%% What is known of an entry.
-type change() :: #{joins := #{key() => [meta()]}, leaves := #{key() => [meta()]}}.
%% The entries that came and went, by key.

-import(sockeye_presence_server, [call/2]).

%% @doc Adds an entry for a connection to a topic of its server. It ends with the connection. A second entry of the same
%% connection, topic and key replaces the first. Error: `closed'.
%% ```
%% 1> sockeye_presence:track(Conn, <<"room/7">>, <<"ann">>, #{since => 1700000000}).
%% ok
%% '''
-spec track(sockeye:conn(), sockeye:topic(), key(), meta()) -> ok | {error, closed}.
track(Conn, Topic, Key, Meta) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Conn, Topic, Key, Meta]),
    change_conn(track, Conn, Topic, Key, Meta).

%% @doc Adds an entry for a process of this node. It ends with the process or the server. Error: `not_found'.
%% ```
%% 1> sockeye_presence:track(my_server, <<"room/7">>, self(), <<"bot">>, #{since => 1700000000}).
%% ok
%% '''
-spec track(sockeye:server(), sockeye:topic(), pid(), key(), meta()) -> ok | {error, not_found}.
track(Server, Topic, Pid, Key, Meta) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic, Pid, Key, Meta]),
    change_process(track, Server, Topic, Pid, Key, Meta).

%% @doc Changes the term of an entry of a connection. Errors: `not_present' if there is no such entry; `closed'.
%% ```
%% 1> sockeye_presence:update(Conn, <<"room/7">>, <<"ann">>, #{typing => true}).
%% {error,not_present}
%% 2> sockeye_presence:track(Conn, <<"room/7">>, <<"ann">>, #{}).
%% ok
%% 3> sockeye_presence:update(Conn, <<"room/7">>, <<"ann">>, #{typing => true}).
%% ok
%% '''
-spec update(sockeye:conn(), sockeye:topic(), key(), meta()) ->
          ok | {error, closed | not_present}.
update(Conn, Topic, Key, Meta) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Conn, Topic, Key, Meta]),
    change_conn(update, Conn, Topic, Key, Meta).

%% @doc Changes the term of an entry of a process. Errors: `not_present' if there is no such entry; `not_found' if there
%% is no such server.
%% ```
%% 1> sockeye_presence:track(my_server, <<"room/7">>, self(), <<"bot">>, #{}).
%% ok
%% 2> sockeye_presence:update(my_server, <<"room/7">>, self(), <<"bot">>, #{typing => true}).
%% ok
%% '''
-spec update(sockeye:server(), sockeye:topic(), pid(), key(), meta()) ->
          ok | {error, not_found | not_present}.
update(Server, Topic, Pid, Key, Meta) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic, Pid, Key, Meta]),
    change_process(update, Server, Topic, Pid, Key, Meta).

%% @doc Removes an entry of a connection; `ok' also if there was none. Error: `closed'.
%% ```
%% 1> sockeye_presence:untrack(Conn, <<"room/7">>, <<"ann">>).
%% ok
%% '''
-spec untrack(sockeye:conn(), sockeye:topic(), key()) -> ok | {error, closed}.
untrack(Conn, Topic, Key) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Conn, Topic, Key]),
    change_conn(untrack, Conn, Topic, Key, none).

%% @doc Removes an entry of a process; `ok' also if there was none. Error: `not_found'.
%% ```
%% 1> sockeye_presence:untrack(my_server, <<"room/7">>, self(), <<"bot">>).
%% ok
%% '''
-spec untrack(sockeye:server(), sockeye:topic(), pid(), key()) -> ok | {error, not_found}.
untrack(Server, Topic, Pid, Key) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic, Pid, Key]),
    change_process(untrack, Server, Topic, Pid, Key, none).

-spec change_conn(track | update | untrack, sockeye:conn(), sockeye:topic(), key(), meta()) -> term().
change_conn(What, Conn, Topic, Key, Meta) ->
    sockeye_fanout:of_conn(
      Conn, fun(ServerId) ->
                    case sockeye_engine:find_id(ServerId) of
                        {ok, Server} -> call({What, {domain(ServerId, Server), Topic, Key, here, Conn}, Meta, Server}, closed);
                        error -> {error, closed}
                    end
            end).

-spec change_process(track | update | untrack, sockeye:server(), sockeye:topic(), pid(), key(), meta()) ->
          term().
change_process(What, Server, Topic, Pid, Key, Meta) ->
    of_server(Server, fun(Domain, ServerPid) ->
                              call({What, {Domain, Topic, Key, here, Pid}, Meta, ServerPid}, not_found)
                      end).

-spec of_server(sockeye:server(), fun((sockeye_presence_server:domain(), pid()) -> Result)) -> Result | {error, not_found}.
of_server(Server, Fun) ->
    case sockeye_engine:find(Server) of
        {ok, {Pid, ServerId, _}} -> Fun(domain(ServerId, Pid), Pid);
        error -> {error, not_found}
    end.

-spec domain(sockeye_backend:server_id(), pid()) -> sockeye_presence_server:domain().
domain(ServerId, Server) ->
    case sockeye_cluster:name(ServerId, default) of
        {ok, Name} -> {cluster, Name};
        local -> {server, Server}
    end.

%% @doc Who is in a topic, on all nodes if the server's scope is the cluster. Each key has the terms
%% of its entries, in no order. Reads a table of this node, and asks no process. Error: `not_found'.
%% ```
%% 1> sockeye_presence:track(Conn, <<"room/7">>, <<"ann">>, #{since => 1700000000}).
%% ok
%% 2> sockeye_presence:list(my_server, <<"room/7">>).
%% {ok,#{<<"ann">> => [#{since => 1700000000}]}}
%% '''
-spec list(sockeye:server(), sockeye:topic()) -> {ok, #{key() => [meta()]}} | {error, not_found}.
list(Server, Topic) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic]),
    of_server(Server, fun(Domain, _) -> sockeye_presence_server:list(Domain, Topic) end).

%% @equiv subscribe(Server, Topic, self())
-spec subscribe(sockeye:server(), sockeye:topic()) -> ok | {error, not_found}.
subscribe(Server, Topic) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic]),
    news(watch, Server, Topic, self()).

%% @doc Sends a process of this node all changes of a topic's list from here on, until the process
%% or the server ends. Error: `not_found'.
%% ```
%% 1> sockeye_presence:subscribe(my_server, <<"room/7">>, self()).
%% ok
%% 2> sockeye_presence:track(Conn, <<"room/7">>, <<"ann">>, #{since => 1700000000}).
%% ok
%% 3> receive {sockeye_presence, <<"room/7">>, Change} -> Change end.
%% #{joins => #{<<"ann">> => [#{since => 1700000000}]},leaves => #{}}
%% '''
-spec subscribe(sockeye:server(), sockeye:topic(), pid()) -> ok | {error, not_found}.
subscribe(Server, Topic, Pid) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic, Pid]),
    news(watch, Server, Topic, Pid).

%% @equiv unsubscribe(Server, Topic, self())
-spec unsubscribe(sockeye:server(), sockeye:topic()) -> ok | {error, not_found}.
unsubscribe(Server, Topic) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic]),
    news(unwatch, Server, Topic, self()).

%% @doc Ends a subscription; `ok' also if there was none. Error: `not_found', if there is no such server.
%% ```
%% 1> sockeye_presence:unsubscribe(my_server, <<"room/7">>, self()).
%% ok
%% '''
-spec unsubscribe(sockeye:server(), sockeye:topic(), pid()) -> ok | {error, not_found}.
unsubscribe(Server, Topic, Pid) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic, Pid]),
    news(unwatch, Server, Topic, Pid).

-spec news(watch | unwatch, sockeye:server(), sockeye:topic(), pid()) -> ok | {error, not_found}.
news(What, Server, Topic, Pid) ->
    of_server(Server, fun(Domain, ServerPid) -> call({What, {Domain, Topic}, Pid, ServerPid}, not_found) end).
