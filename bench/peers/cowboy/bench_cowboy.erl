%% cowboy and jiffy: JSON echo, and fan-out.
%% `each': the connection's own process decodes and encodes. `one': it hands the raw frame to one
%% gen_server that decodes, encodes and sends the text back. `slow': as `one', but 1 ms a frame.
%% `deflate': as `one', with permessage-deflate. `raw': the connection's own process sends the text back.
%% `topic': what comes on the path /publish goes to all other connections' processes, which pg knows.
%% `tls': as `one', with TLS and the certificate that bench/setup made.
-module(bench_cowboy).
-behaviour(gen_server).

-export([main/1]).
-export([init/2, websocket_init/1, websocket_handle/2, websocket_info/2]).
-export([init/1, handle_call/3, handle_cast/2]).

-spec main([atom()]) -> no_return().
main([Mode]) ->
    {ok, _} = application:ensure_all_started(cowboy),
    {ok, _} = pg:start(pg),
    {ok, _} = gen_server:start({local, ?MODULE}, ?MODULE, Mode, []),
    Dispatch = cowboy_router:compile([{'_', [{'_', ?MODULE, Mode}]}]),
    {ok, _} = listen(Mode, #{env => #{dispatch => Dispatch}}),
    bench_node:run(ranch:get_port(bench)).

listen(Mode, Protocol) ->
    Place = [{ip, {127, 0, 0, 1}}, {port, 0}, {backlog, 1024}],
    Transport = #{socket_opts => Place, max_connections => infinity},
    case Mode of
        tls ->
            Files = [{certfile, "tls/cert.pem"}, {keyfile, "tls/key.pem"}],
            cowboy:start_tls(bench, Transport#{socket_opts => Files ++ Place}, Protocol);
        _ ->
            cowboy:start_clear(bench, Transport, Protocol)
    end.

init(Req, Mode) ->
    Role = case {Mode, cowboy_req:path(Req)} of
               {topic, <<"/publish">>} -> publisher;
               {topic, _} -> subscriber;
               _ -> Mode
           end,
    {cowboy_websocket, Req, Role, #{idle_timeout => infinity, compress => Mode =:= deflate}}.

websocket_init(subscriber) ->
    ok = pg:join(topic, self()),
    {[], subscriber};
websocket_init(Mode) ->
    {[], Mode}.

websocket_handle({text, Text}, publisher) ->
    [Pid ! {reply, Text} || Pid <- pg:get_local_members(topic)],
    {[], publisher};
websocket_handle({text, Text}, raw) ->
    {[{text, Text}], raw};

websocket_handle({text, Text}, each = Mode) ->
    {[{text, echo(Text)}], Mode};
websocket_handle({text, Text}, Mode) ->
    gen_server:cast(?MODULE, {frame, self(), Text}),
    {[], Mode};
websocket_handle(_, Mode) ->
    {[], Mode}.

websocket_info({reply, Text}, Mode) ->
    {[{text, Text}], Mode}.

init(Mode) ->
    {ok, Mode}.

handle_call(_, _, Mode) ->
    {reply, ok, Mode}.

handle_cast({frame, From, Text}, Mode) ->
    Reply = echo(Text),
    _ = Mode =:= slow andalso timer:sleep(1),
    From ! {reply, Reply},
    {noreply, Mode}.

echo(Text) ->
    jiffy:encode(jiffy:decode(Text, [return_maps])).
