%% What comes on /ws, and whether the page and the WebSocket of cowboy are still there.
-module(shop_room).
-behaviour(sockeye_handler).
-export([init/1, handle_frame/3]).
-export([all_on_one_port/0]).

init([]) ->
    {ok, #{}}.

handle_frame({json, #{<<"say">> := Text}}, _Conn, State) ->
    {[{reply, #{room => Text}}], State}.

all_on_one_port() ->
    {ok, _} = application:ensure_all_started(inets),
    {ok, _} = application:ensure_all_started(sockeye),
    {ok, _} = application:ensure_all_started(shop),
    {ok, {{_, 200, _}, _, "<h1>Shop</h1>"}} = httpc:request("http://127.0.0.1:8080/"),
    {ok, Live} = sockeye_client:connect("ws://127.0.0.1:8080/live", #{format => raw}),
    ok = sockeye_client:send(Live, {text, "hello"}),
    {ok, {text, <<"live: hello">>}} = sockeye_client:recv(Live, 5000),
    {ok, Room} = sockeye_client:connect("ws://127.0.0.1:8080/ws"),
    ok = sockeye_client:send(Room, #{say => hello}),
    {ok, {json, #{<<"room">> := <<"hello">>}}} = sockeye_client:recv(Room, 5000),
    io:format("page, live and room on one port~n"),
    init:stop().
