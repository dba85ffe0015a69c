%% @doc A route of a cowboy listener whose WebSockets are served by Sockeye.
%%
%% The module is a handler of cowboy 2. Ordinary requests stay with cowboy; a request for a WebSocket on this route goes to a server of
%% Sockeye, and its socket with it. There is no dependency on cowboy: nobody else needs it.
%% ```
%% Dispatch = cowboy_router:compile([{'_', [{"/ws", sockeye_cowboy, #{handler => {room, []}}},
%%                                          {"/[...]", cowboy_static, {priv_dir, my_app, "www"}}]}]),
%% {ok, _} = cowboy:start_clear(web, [{port, 8080}], #{env => #{dispatch => Dispatch}}).
%% '''
%% <h3>The options of the route</h3>
%%
%% <ul>
%% <li>`#{server => Server}': a server that is there, see {@link sockeye:server()}. With `ip => none' it has no port of its own:
%%     `sockeye:child_spec(#{name => rooms, ip => none, handler => {room, []}})' stands in your supervisor, and the route has `#{server =>
%%     rooms}'.</li>
%% <li>Options of a server, see {@link sockeye:options()}, with a `handler': the first request starts it, without a port of its own. It
%%     ends with the listener: clients get 1001. With a `name' it is found. Routes with equal options have one server, which ends with
%%     the last of their listeners.</li>
%% </ul>
%%
%% <h3>What it does</h3>
%%
%% Path, `accept', `origins', limits, subprotocols and compression are decided by Sockeye as for its own port, with the request that
%% cowboy has read: names of headers in lower case, equal ones joined, `peer' as cowboy has it. A refusal is answered by cowboy. An
%% accepted request is answered with 101 by cowboy, which then has nothing more to do with the connection: it does not count for
%% `max_connections' of its listener. `cowboy:stop_listener/1' ends it if the route has started the server; a server of your own
%% (`#{server => Server}') ends with its supervisor.
%%
%% WebSockets over HTTP/2 get 501, and a listener with TLS 500, and a report: sockets of `ssl' cannot be given away, see
%% `erlang/guide/beside.md'. A server that is not there is 503.
-module(sockeye_cowboy).

-export([init/2, takeover/7]).

%% Held in variables, since they need not be there.
-define(REQ, cowboy_req).
-define(RANCH, ranch_server).

%% @doc Called by cowboy for a request on the route.
-spec init(Req, Options :: map()) -> {ok, Req, map()} when Req :: map().
init(#{scheme := <<"https">>}, _Options) ->
    error({bad_socket, <<"a TLS socket of ssl cannot be given away: let Sockeye listen and speak TLS, or a proxy in front of both">>});
init(#{version := 'HTTP/1.1'} = Req, Options) ->
    #{peer := Peer, sock := Local} = Req,
    case sockeye_adopt:admit(server(Options, Req), head(Req), Peer, Local) of
        {accepted, Place, Headers} ->
            #{pid := Pid, streamid := Stream} = Req,
            Pid ! {{Pid, Stream}, {switch_protocol, to_map(Headers), ?MODULE, Place}},
            {ok, Req, Options};
        {refused, Status, Headers, Body} ->
            reply(Status, to_map(Headers), Body, Req, Options);
        {error, Why} ->
            reply(503, #{<<"retry-after">> => <<"1">>}, atom_to_binary(Why), Req, Options)
    end;
init(Req, Options) ->
    reply(501, #{}, <<"WebSockets need HTTP/1.1 here.\n">>, Req, Options).

%% @doc Called by cowboy in the process of the connection, when it has answered with 101.
-spec takeover(pid(), term(), term(), module(), map(), binary(), term()) -> no_return().
takeover(_Parent, _Ref, Socket, Transport, _Opts, Buffer, Place) ->
    %% When it is not taken, the client sees the end of its connection.
    _ = case sockeye_adopt:settle(Place, Socket, Buffer) of
            ok -> ok;
            {error, _} -> Transport:close(Socket)
        end,
    %% There is no way back into cowboy.
    exit(normal).

-spec reply(pos_integer(), map(), iodata(), map(), map()) -> {ok, map(), map()}.
reply(Status, Headers, Body, Req, Options) ->
    Module = ?REQ,
    {ok, Module:reply(Status, Headers, Body, Req), Options}.

-spec server(map(), map()) -> sockeye:server().
server(#{server := Server}, _Req) -> Server;
server(Options, Req) -> sockeye_route_servers:server(Options, listener(Req)).

%% What ends with the listener: a supervisor of ranch.
-spec listener(map()) -> pid() | none.
listener(#{ref := Ref}) ->
    Module = ?RANCH,
    try Module:get_listener_sup(Ref)
    catch error:_ -> none
    end.

%% The head of the request, as it could have come.
-spec head(map()) -> iodata().
head(#{method := Method, path := Path, qs := Query, headers := Headers}) ->
    [Method, " ", Path, [["?", Query] || Query =/= <<>>], " HTTP/1.1\r\n",
     [[Name, ": ", Value, "\r\n"] || {Name, Value} <- maps:to_list(Headers)], "\r\n"].

%% Cookies are a list there, and other equal names one value.
-spec to_map([{binary(), binary()}]) -> #{binary() => binary() | [binary()]}.
to_map(Headers) ->
    lists:foldl(fun({<<"set-cookie">> = Name, Value}, Map) -> maps:update_with(Name, fun(Cookies) -> Cookies ++ [Value] end, [Value], Map);
                   ({Name, Value}, Map) -> maps:update_with(Name, fun(First) -> <<First/binary, ", ", Value/binary>> end, Value, Map)
                end, #{}, Headers).
