%% @private
%% The option `dashboard': a page, and the WebSocket from which it lives, at a path of a server.
%%
%% The WebSocket belongs to a server of its own, without a listener, which is nested in the one with the option: what is sent to all
%% connections of that one is not sent to its watchers, and its counters do not count them.
-module(sockeye_dashboard).

-export([check/1]).
-export([routes/1]).
-export([start/1]).
-export([stop/1]).
-export([is_one/1]).
-export([where/2]).
-export([uncounted/1]).

-export_type([dashboard/0]).

-type dashboard() :: #{path := binary(), auth := sockeye_dashboard_auth:auth()}.

%% Browsers that watch one server at once. Each may cost a process, a list of rows, and a page of them whenever it asks.
-define(MOST_WATCHERS, 16).
%% Questions of one of them: so many a second, after a few at once. The engine reads no more until then.
-define(RATE, #{rate => 10, burst => 30, action => delay}).
-define(LONGEST_QUESTION, 4096).
-define(STOP_MS, 5000).

-spec check(term()) -> {ok, dashboard()} | {error, binary()} | string().
check(Map) when is_map(Map) ->
    Defaults = #{path => <<"/_sockeye">>, auth => loopback},
    try maps:map(fun(Key, Value) -> sockeye_bad_option:nested(Key, Value, option(Key, Value), maps:keys(Defaults)) end, Map) of
        Given -> {ok, maps:merge(Defaults, Given)}
    catch
        throw:{bad, Why} -> {error, Why}
    end;
check(Atom) when is_atom(Atom) ->
    "a map with path and auth";
%% A token may be in it.
check(_) ->
    {error, <<"expected a map with path and auth">>}.

-spec option(term(), term()) -> {ok, term()} | {error, binary()} | unknown | string().
option(path, Value) ->
    case sockeye_routes:path(Value, "/_sockeye") of
        {ok, Path} ->
            case binary:match(Path, <<"*">>) =:= nomatch andalso binary:last(Path) =/= $/ of
                true -> {ok, Path};
                false -> "a path without * that does not end with a slash, like <<\"/_sockeye\">>"
            end;
        Expected ->
            Expected
    end;
option(auth, Value) ->
    sockeye_dashboard_auth:check(Value);
option(_, _) ->
    unknown.

%% What is answered to ordinary requests.
-spec routes(map()) -> [sockeye_routes:route()].
routes(#{dashboard := #{path := Path, auth := Auth}}) ->
    Page = {ask, fun(Request) -> sockeye_dashboard_page:answer(Auth, Request) end},
    [{Path, Page}, {<<Path/binary, "/">>, Page},
     {<<Path/binary, "/auth">>, {ask, fun(Request) -> sockeye_dashboard_page:may_watch(Auth, Request) end}}];
routes(_Config) ->
    [].

%% The server for the WebSockets, linked to the calling one, and what the engine has to know of it.
-spec start(sockeye_options:config()) -> {pid() | undefined, none | {Path :: binary(), sockeye_backend:server_id()}}.
start(#{dashboard := #{path := Path, auth := Auth}}) ->
    ok = sockeye_dashboard_sampler:ensure(),
    Options = #{ip => none, handler => {sockeye_dashboard_live, #{auth => Auth, front => self()}}, processes => per_connection,
                subprotocols => [sockeye_dashboard_auth:subprotocol()], origins => [same_host],
                max_connections => ?MOST_WATCHERS, message_rate => ?RATE, max_message_size => ?LONGEST_QUESTION, max_depth => 4},
    {ok, Config} = sockeye_options:parse(Options, self()),
    case sockeye_server:start_link(Config) of
        {ok, Nested} ->
            {ok, {_, Id, _}} = sockeye_engine:find(Nested),
            {Nested, {<<Path/binary, "/live">>, Id}};
        {error, Reason} ->
            throw({start_failed, Reason})
    end;
start(_Config) ->
    {undefined, none}.

-spec stop(pid() | undefined) -> ok.
stop(undefined) ->
    ok;
stop(Nested) ->
    try gen_server:stop(Nested, normal, ?STOP_MS)
    catch exit:_ -> ok
    end.

%% What the log says of where it is: a path, if no browser gets there by a URL.
-spec where(sockeye_options:config(), #{url => binary()}) -> #{dashboard => binary()}.
where(#{dashboard := #{path := Path}}, #{url := Url}) ->
    #{dashboard => <<(string:trim(Url, trailing, "/"))/binary, Path/binary>>};
where(#{dashboard := #{path := Path}}, _NoUrl) ->
    #{dashboard => Path};
where(_Config, _Url) ->
    #{}.

%% Whether this is what is known of such a server.
-spec is_one(map()) -> boolean().
is_one(#{handler := {sockeye_dashboard_live, _}}) -> true;
is_one(_About) -> false.

%% What the engine counts, but for these servers. One that ends has left the engine a moment before it is forgotten here.
-spec uncounted(map()) -> map().
uncounted(#{servers := Servers} = Engine) ->
    Ours = length([Id || {_, Id, About} <- sockeye_engine:servers(), is_one(About)]),
    Engine#{servers := max(0, Servers - Ours)};
%% An engine that talks nonsense, which is about to be ended.
uncounted(Engine) ->
    Engine.
