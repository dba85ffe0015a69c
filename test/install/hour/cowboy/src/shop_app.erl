-module(shop_app).
-behaviour(application).
-behaviour(supervisor).
-export([start/2, stop/1, init/1]).

start(_Type, _Args) ->
    Dispatch = cowboy_router:compile([{'_', [
        {"/live", shop_live, []},
        {"/", shop_page, []}
    ]}]),
    {ok, _} = cowboy:start_clear(shop, [{port, 8080}], #{env => #{dispatch => Dispatch}}),
    supervisor:start_link({local, shop_sup}, ?MODULE, []).

stop(_State) ->
    cowboy:stop_listener(shop).

init([]) ->
    {ok, {#{}, [
    ]}}.
