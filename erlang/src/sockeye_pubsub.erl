%% @doc Topics for Erlang processes: they get what is published to the clients of a server.
%%
%% A subscribed process gets `{sockeye_pubsub, Topic, Frame}' for each
%% {@link sockeye:publish/3} and `{publish, Topic, Frame}', with the topic it was published under
%% and the term that was published: `{json, Term}', `{text, Bin}' or `{binary, Bin}'. Broadcasts,
%% pings and what is sent to one connection are not delivered. The frames of one publisher come in
%% their order. Nothing bounds the mailbox of a subscriber, so a slow process should not subscribe.
%%
%% Topics are those of {@link sockeye:topic()}; one that ends with `*' stands for all that begin with the rest. A
%% process that matches a topic in several ways gets the frame once. With `scope => cluster' it
%% gets what is published on the other nodes, too.
%% ```
%% 1> sockeye_pubsub:subscribe(my_server, <<"room/7">>).
%% ok
%% 2> sockeye:publish(my_server, <<"room/7">>, #{said => <<"Hello!">>}).
%% ok
%% 3> flush().
%% Shell got {sockeye_pubsub,<<"room/7">>,{json,#{said => <<"Hello!">>}}}
%% ok
%% '''
-module(sockeye_pubsub).

-export([subscribe/2]).
-export([subscribe/3]).
-export([unsubscribe/2]).
-export([unsubscribe/3]).
-export([subscribers/2]).

-export_type([frame/0]).

-type frame() :: {json, term()} | {text, binary()} | {binary, binary()}.
%% What a subscriber gets of a frame that was published.

%% @equiv subscribe(Server, Topic, self())
-spec subscribe(sockeye:server(), sockeye:topic()) -> ok | {error, not_found}.
subscribe(Server, Topic) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic]),
    sockeye_pubsub_server:change(subscribe, Server, Topic, self()).

%% @doc Subscribes a process of this node, until it or the server ends. A second subscription changes
%% nothing. The process gets what is published after this call has returned. Error: `not_found'.
%% ```
%% 1> sockeye_pubsub:subscribe(my_server, <<"room/*">>, self()).
%% ok
%% '''
-spec subscribe(sockeye:server(), sockeye:topic(), pid()) -> ok | {error, not_found}.
subscribe(Server, Topic, Pid) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic, Pid]),
    sockeye_pubsub_server:change(subscribe, Server, Topic, Pid).

%% @equiv unsubscribe(Server, Topic, self())
-spec unsubscribe(sockeye:server(), sockeye:topic()) -> ok | {error, not_found}.
unsubscribe(Server, Topic) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic]),
    sockeye_pubsub_server:change(unsubscribe, Server, Topic, self()).

%% @doc Ends a subscription; `ok' also if there was none. Error: `not_found', if there is no such server.
%% ```
%% 1> sockeye_pubsub:unsubscribe(my_server, <<"room/*">>, self()).
%% ok
%% '''
-spec unsubscribe(sockeye:server(), sockeye:topic(), pid()) -> ok | {error, not_found}.
unsubscribe(Server, Topic, Pid) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic, Pid]),
    sockeye_pubsub_server:change(unsubscribe, Server, Topic, Pid).

%% @doc The processes of this node that would get what is published under a topic, in no order. Error: `not_found'.
%% ```
%% 1> sockeye_pubsub:subscribe(my_server, <<"room/*">>).
%% ok
%% 2> sockeye_pubsub:subscribers(my_server, <<"room/7">>).
%% {ok,[<0.105.0>]}
%% '''
-spec subscribers(sockeye:server(), sockeye:topic()) -> {ok, [pid()]} | {error, not_found}.
subscribers(Server, Topic) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic]),
    sockeye_fanout:of_server(Server, fun(ServerId) -> {ok, sockeye_pubsub_server:matching(ServerId, Topic)} end).
