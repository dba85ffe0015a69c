%% What one client says, all others hear.
-module(hello_room).
-behaviour(sockeye_handler).
-export([init/1, handle_frame/3]).
-export([heard/1]).

init([]) ->
    {ok, #{}}.

handle_frame({json, #{<<"say">> := Text}}, _Conn, State) ->
    {[{broadcast_from, #{said => Text}}, {reply, #{ok => true}}], State};
handle_frame(_Other, _Conn, State) ->
    {[{close, 1008, <<"say something">>}], State}.

%% Ann says it, Bob hears it.
heard(Text) ->
    {ok, Server} = sockeye:start_link(#{port => 0, handler => {hello_room, []}}),
    {ok, #{port := Port}} = sockeye:info(Server),
    [Ann, Bob] = [Conn || _ <- [ann, bob],
                          {ok, Conn} <- [sockeye_client:connect(["ws://127.0.0.1:", integer_to_list(Port), "/"])]],
    ok = sockeye_client:send(Ann, #{say => Text}),
    {ok, {json, #{<<"ok">> := true}}} = sockeye_client:recv(Ann, 5000),
    {ok, {json, #{<<"said">> := Heard}}} = sockeye_client:recv(Bob, 5000),
    ok = sockeye:stop(Server),
    Heard.
