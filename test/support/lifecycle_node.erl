%% A node of its own, with servers and traffic, that ends in the way it is told.
-module(lifecycle_node).

-export([main/0]).

main() ->
    %% Out of the way of the boot, which has to end before init:stop is heard.
    spawn(fun run/0).

run() ->
    [How] = init:get_plain_arguments(),
    Self = self(),
    _ = spawn(fun() -> listen_to_test(Self) end),
    logger:set_primary_config(level, error),
    {Port1, _} = start(#{handler => {bare_handler, []}, processes => 2}),
    {Port2, _} = start(#{handler => {bare_handler, []}, processes => per_connection}),
    [spawn_link(fun() -> client(Self, ws_client:connect(Port)) end)
     || Port <- [Port1, Port2], _ <- lists:seq(1, 4)],
    %% JSON beyond what a shard decodes itself, for a plain owner.
    {Port3, _} = start(#{handler => spawn_link(fun answer/0), active => true}),
    Large = <<"[", (binary:copy(<<"1,">>, 150000))/binary, "1]">>,
    [spawn_link(fun() -> large(Self, ws_client:connect(Port3), Large) end) || _ <- [1, 2]],
    [receive warm -> ok end || _ <- lists:seq(1, 10)],
    io:format("port ~b ~b~n", [Port1, Port2]),
    %% The test has read the line: nothing of it is lost, however abrupt the end.
    receive go -> finish(How, Port1) end.

%% A child must not stay behind when the test gives up.
listen_to_test(Main) ->
    case io:get_line("") of
        "go\n" -> Main ! go, listen_to_test(Main);
        eof -> erlang:halt(9);
        {error, _} -> ok
    end.

start(Options) ->
    {ok, Server} = sockeye:start_link(Options#{port => 0, close_timeout => 500}),
    {ok, #{port := Port}} = sockeye:info(Server),
    {Port, Server}.

%% Echo without a pause, so that frames are on their way when the end comes.
client(Parent, Socket) ->
    echo(Socket, 50),
    Parent ! warm,
    %% The end may cut a frame in two, or take the client's own socket first.
    try echo(Socket, infinity)
    catch error:_ -> ok
    end.

answer() ->
    receive
        {sockeye, Conn, {json, _}} -> _ = sockeye:send(Conn, {text, <<"next">>});
        _ -> ok
    end,
    answer().

%% The next is on its way while the last is decoded.
large(Parent, Socket, Text) ->
    ok = ws_client:text(Socket, Text),
    ok = ws_client:text(Socket, Text),
    {text, <<"next">>} = ws_client:recv(Socket),
    Parent ! warm,
    try more(Socket, Text)
    catch error:_ -> ok
    end.

more(Socket, Text) ->
    ok = ws_client:text(Socket, Text),
    {text, <<"next">>} = ws_client:recv(Socket),
    more(Socket, Text).

echo(_Socket, 0) ->
    ok;
echo(Socket, N) ->
    case ws_client:text(Socket, <<"[1,2,3]">>) of
        ok ->
            case ws_client:recv(Socket) of
                {text, <<"[1,2,3]">>} -> echo(Socket, minus_one(N));
                {close, Code, _} -> _ = ws_client:close(Socket, Code, <<>>), ok;
                closed -> ok
            end;
        {error, _} ->
            ok
    end.

minus_one(infinity) -> infinity;
minus_one(N) -> N - 1.

finish("init_stop", _Port) -> init:stop();
finish("halt", _Port) -> erlang:halt(0);
finish("halt_now", _Port) -> erlang:halt(0, [{flush, false}]);
finish("application_stop", _Port) -> ok = application:stop(sockeye), erlang:halt(0);
finish("reload", Port) -> reload(Port, 100), erlang:halt(0).

%% With the library in use new code takes over from the old; once
%% the application is stopped, all code is purged and loaded again.
reload(_Port, 0) ->
    ok;
reload(Port, N) ->
    logger:set_primary_config(level, none),
    Some = [sockeye, sockeye_options, sockeye_log, sockeye_handler, sockeye_nif],
    [{module, M} = code:load_file(M) || M <- Some],
    %% The first call has the new code take over.
    {ok, 1} = sockeye_json:decode(<<"1">>),
    [code:purge(M) || M <- Some],
    ok = once(Port),
    ok = application:stop(sockeye),
    true = code:delete(sockeye_nif),
    _ = code:purge(sockeye_nif),
    {module, sockeye_nif} = code:load_file(sockeye_nif),
    {Next, _} = start(#{handler => {bare_handler, []}}),
    ok = once(Next),
    reload(Next, N - 1).

once(Port) ->
    Socket = ws_client:connect(Port),
    ok = ws_client:text(Socket, <<"{\"a\":1}">>),
    {text, <<"{\"a\":1}">>} = ws_client:recv(Socket),
    gen_tcp:close(Socket).
