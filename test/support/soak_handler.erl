%% A handler that answers with whatever commands come to its mind, wrong ones among them.
-module(soak_handler).
-behaviour(sockeye_handler).

-export([init/1, handle_open/3, handle_frame/3, handle_close/4, handle_info/2]).

init(Table) ->
    {ok, Table}.

handle_open(_Info, Conn, Table) ->
    true = ets:insert(Table, {Conn}),
    {[{subscribe, soak_traffic:topic()}], Table}.

handle_frame({json, <<"crash">>}, _Conn, _Table) ->
    error(on_request);
handle_frame({json, <<"stop">>}, _Conn, Table) ->
    {stop, {shutdown, on_request}, Table};
handle_frame(Frame, Conn, Table) ->
    {[{reply, frame(Frame)} | [command(Conn) || rand:uniform(4) =:= 1]], Table}.

handle_close(_Code, _Reason, Conn, Table) ->
    true = ets:delete(Table, Conn),
    {[], Table}.

%% Nothing but this comes here, whatever the clients do.
handle_info({soak, Pid}, Table) ->
    Pid ! {soak, self()},
    {[], Table}.

frame({json, Term}) -> {json, Term};
frame({text, Text}) -> {text, Text};
frame({binary, Data}) -> {binary, Data};
frame(Other) -> {json, element(1, Other)}.

command(Conn) ->
    Topic = soak_traffic:topic(),
    Frame = soak_traffic:frame(),
    any([{reply, Frame}, {reply, [Frame, Frame]}, {send, Conn, Frame}, {broadcast, Frame}, {broadcast_from, Frame},
         {subscribe, Topic}, {unsubscribe, Topic}, {publish, Topic, Frame}, {publish_from, Topic, Frame},
         {reply, any(odd_terms:all())}, {publish, any(odd_terms:all()), Frame}, {close, 4000, <<"enough">>},
         {fly, away}, {reply, {json, self()}}]).

any(List) -> lists:nth(rand:uniform(length(List)), List).
