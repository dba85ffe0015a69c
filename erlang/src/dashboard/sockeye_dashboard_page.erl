%% @private
%% The page: one answer with style and script in it. Nothing else is loaded, and the browser runs and applies nothing else.
-module(sockeye_dashboard_page).

-export([answer/2]).
-export([may_watch/2]).
-export([parts/0]).

-include("page_style.hrl").
-include("page_plots.hrl").
-include("page_views.hrl").
-include("page_script.hrl").
-include("page_body.hrl").
-include("page_hashes.hrl").

-spec answer(sockeye_dashboard_auth:auth(), sockeye_handler:request()) -> sockeye:http_answer().
answer(Auth, #{method := Method} = Request) when Method =:= <<"GET">>; Method =:= <<"HEAD">> ->
    case sockeye_dashboard_auth:page(Auth, Request) of
        {ok, _} -> {200, [{"Content-Type", "text/html; charset=utf-8"} | headers()], page(Auth)};
        {error, {Status, Headers, Body}} -> {Status, Headers ++ common(), Body}
    end;
answer(_Auth, _Request) ->
    {405, [{"Allow", "GET, HEAD"} | common()], "This can only be read.\n"}.

%% Whether a token is right, so that the page can tell a wrong one from a server that is gone.
-spec may_watch(sockeye_dashboard_auth:auth(), sockeye_handler:request()) -> sockeye:http_answer().
may_watch(Auth, Request) ->
    case sockeye_dashboard_auth:token(Auth, Request) of
        {ok, _} -> {204, common(), <<>>};
        %% With WWW-Authenticate a browser would ask by itself.
        {error, {Status, _, Body}} -> {Status, common(), Body}
    end.

%% Style and script, whose hashes the policy has.
-spec parts() -> #{style := binary(), script := binary()}.
parts() ->
    #{style => ?STYLE, script => <<?PLOTS/binary, ?VIEWS/binary, ?SCRIPT/binary>>}.

-spec page(sockeye_dashboard_auth:auth()) -> iodata().
page(Auth) ->
    #{style := Style, script := Script} = parts(),
    Token = case Auth of {token, _} -> <<" data-token">>; _ -> <<>> end,
    [<<"<!doctype html>\n<html lang=en", Token/binary, ">\n<meta charset=utf-8>\n<title>Sockeye</title>\n"
       "<meta name=viewport content='width=device-width, initial-scale=1'>\n<meta name=color-scheme content='light dark'>\n"
       "<link rel=icon href='data:,'>\n<style>">>, Style, <<"</style>\n">>, ?BODY, <<"<script>">>, Script, <<"</script>\n">>].

-spec headers() -> [{iodata(), iodata()}].
headers() ->
    [{"Content-Security-Policy",
      ["default-src 'none'; style-src 'sha256-", ?STYLE_HASH, "'; script-src 'sha256-", ?SCRIPT_HASH, "'; connect-src 'self'; "
       "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"]},
     {"Cross-Origin-Opener-Policy", "same-origin"}, {"Cross-Origin-Resource-Policy", "same-origin"} | common()].

-spec common() -> [{iodata(), iodata()}].
common() ->
    [{"Cache-Control", "no-store"}, {"Referrer-Policy", "no-referrer"}, {"X-Content-Type-Options", "nosniff"},
     {"X-Frame-Options", "DENY"}].
