-module(shop_live).
-export([init/2, websocket_handle/2, websocket_info/2]).

init(Req, State) -> {cowboy_websocket, Req, State}.

websocket_handle({text, Text}, State) -> {[{text, ["live: ", Text]}], State};
websocket_handle(_Frame, State) -> {[], State}.

websocket_info(_Message, State) -> {[], State}.
