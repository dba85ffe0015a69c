-module(shop_page).
-export([init/2]).

init(Req, State) ->
    {ok, cowboy_req:reply(200, #{<<"content-type">> => <<"text/html">>}, "<h1>Shop</h1>", Req), State}.
