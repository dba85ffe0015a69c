%% Follows a server and prints what it says, through every loss of the connection:
%% follower:start("ws://127.0.0.1:19765/").
-module(follower).
-behaviour(sockeye_handler).

-export([start/1]).
-export([init/1, handle_open/3, handle_frame/3, handle_down/2]).

start(Url) ->
    sockeye_client:start_link(Url, {?MODULE, Url}, #{reconnect => #{max_interval => 5000, send_when_down => keep}}).

init(Url) ->
    {ok, Url}.

%% Of each connection: what the server has to know comes first.
handle_open(#{peer := {Ip, Port}}, _Conn, Url) ->
    io:format("connected to ~ts:~b~n", [inet:ntoa(Ip), Port]),
    {[{reply, #{type => ping}}], Url}.

handle_frame({json, Term}, _Conn, Url) ->
    io:format("~p~n", [Term]),
    {[], Url};
handle_frame(_Other, _Conn, Url) ->
    {[], Url}.

handle_down(Reason, Url) ->
    io:format("~ts: ~p; trying again~n", [Url, Reason]),
    {[], Url}.
