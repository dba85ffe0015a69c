%% How connections over TLS end on the wire: with close_notify, whoever begins (RFC 8446, 6.1). The other end
%% is OpenSSL under Python, on buffers of its own, which tells the end of TLS from that of TCP.
-module(sockeye_tls_end_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2, closed/1, left_out/2, opened/0]).

-define(TIMEOUT, 60000).
-define(UPGRADE, "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n").
-define(GET, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n").

ends_test_() ->
    case os:find_executable("python3") of
        false ->
            left_out("the end of TLS", "no python3");
        Python ->
            Tests = [{[Title, " over ", Version], fun(Setting) -> server(Setting, Version, Case) end}
                     || {Title, Case} <- servers(), Version <- ["1.2", "1.3"]] ++
                    [{["our client, ", Title, " over ", Version], fun(Setting) -> client(Setting, Version, Case) end}
                     || {Title, Case} <- clients(), Version <- ["1.2", "1.3"]],
            %% They wait most of the time, for each other's ends and for Python.
            {setup, Setup, Cleanup, Each} = test_certs:tests(public_key, fun() -> setup(Python) end, Tests, 60),
            {setup, Setup, Cleanup, fun(Set) -> {inparallel, 4, Each(Set)} end}
    end.

setup(Python) ->
    (test_certs:localhost())#{python => Python}.

%% ---------------------------------------------------------------- our server

%% Options beside those of all, the protocol, what the peer does, what we do when it is ready, and with which bytes
%% the connection ends.
servers() ->
    Nothing = fun(_) -> ok end,
    Plain = #{http => undefined},
    [{"before a request", {Plain, "-", [notify], Nothing, <<>>}},
     {"before a request, where there are others", {#{}, "-", [notify], Nothing, <<>>}},
     {"in the middle of a head", {Plain, "-", [{send, "GET / HT"}, notify], Nothing, <<>>}},
     {"a time without a request", {Plain#{handshake_timeout => in_time}, "-", [], Nothing, <<>>}},
     {"a refused request", {Plain, "-", [{send, ?GET}], Nothing, <<"\n">>}},
     {"after an answer", {#{}, "-", [{send, ?GET}, {until, "hello"}, notify], Nothing, <<>>}},
     {"after two answers", {#{}, "-", [{send, ?GET}, {until, "hello"}, {send, ?GET}, {until, "hello"}, notify], Nothing, <<>>}},
     {"behind the last request", {#{}, "-", [{send, ?GET}, notify], Nothing, <<"hello">>}},
     {"in the middle of a body",
      {#{}, "-", [{send, "POST /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"}, notify], Nothing, <<"\n">>}},
     {"connection: close", {#{}, "-", [{send, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"}], Nothing, <<"hello">>}},
     {"no further request in time",
      {#{handshake_timeout => in_time}, "-", [{send, ?GET}, {until, "hello"}], Nothing, <<>>}},
     {"the server stops between two requests",
      {#{}, "-", [{send, ?GET}, {until, "hello"}, ready], fun sockeye:stop/1, <<>>}},
     {"the server stops before a request", {Plain, "-", [ready], fun sockeye:stop/1, <<>>}},
     {"the client's Close frame",
      {#{}, "-", [{send, ?UPGRADE}, {send, ws_client:encode(8, <<1000:16>>)}], fun closed_with/1, <<136, 2, 1000:16>>}},
     {"our Close frame",
      {#{}, "-", [{send, ?UPGRADE}, {until, "\r\n\r\n"}, {until, <<136, 2, 4000:16>>}, {send, ws_client:encode(8, <<4000:16>>)}],
       fun close_with/1, <<>>}},
     {"a WebSocket without a Close frame",
      {#{}, "-", [{send, ?UPGRADE}, {until, "\r\n\r\n"}, notify], fun lost/1, <<>>}},
     {"a WebSocket whose TCP ends without a word",
      {#{}, "-", [{send, ?UPGRADE}, {until, "\r\n\r\n"}, fin], fun lost/1, <<>>}},
     {"the server stops with a WebSocket",
      {#{}, "-", [{send, ?UPGRADE}, {until, "\r\n\r\n"}, ready, {until, <<1001:16>>}, {send, ws_client:encode(8, <<1001:16>>)}],
       fun sockeye:stop/1, <<>>}},
     {"a bad frame", {#{}, "-", [{send, ?UPGRADE}, {send, <<255, 255>>}], fun closed_with/1, any}},
     {"HTTP/2, before a request", {#{}, "h2", [{send, h2_frames:hello()}, notify], Nothing, any}},
     {"HTTP/2, before its preface", {#{}, "h2", [notify], Nothing, any}},
     {"HTTP/2, after an answer",
      {#{}, "h2", [{send, [h2_frames:hello(), h2_frames:get(1, <<"/hello">>)]}, {until, "hello"}, notify], Nothing, any}},
     {"HTTP/2, no further request in time",
      {#{handshake_timeout => in_time}, "h2", [{send, [h2_frames:hello(), h2_frames:get(1, <<"/hello">>)]}, {until, "hello"}],
       Nothing, any}},
     {"HTTP/2, an error", {#{}, "h2", [{send, [h2_frames:hello(), h2_frames:frame(6, 0, 0, <<"short">>)]}], Nothing, any}},
     {"HTTP/2, with a WebSocket",
      {#{}, "h2", [{send, [h2_frames:hello(), h2_frames:open_stream(1)]}, {until, <<1, 4, 1:32>>}, notify], fun lost/1, any}},
     {"HTTP/2, the server stops with a WebSocket",
      {#{}, "h2", [{send, [h2_frames:hello(), h2_frames:open_stream(1)]}, {until, <<1, 4, 1:32>>}, ready], fun stop_open/1, any}}].

lost(_) ->
    ?assertEqual(1006, closed(opened())).

closed_with(_) ->
    ?assert(is_integer(closed(opened()))).

close_with(_) ->
    Conn = opened(),
    ok = sockeye:close(Conn, 4000, <<>>),
    ?assertEqual(4000, closed(Conn)).

stop_open(Server) ->
    _ = opened(),
    ok = sockeye:stop(Server).

server(Setting, Version, {#{handshake_timeout := in_time} = Options, Alpn, Steps, Act, Last}) ->
    patiently(fun(Time) -> server(Setting, Version, {Options#{handshake_timeout := Time}, Alpn, Steps, Act, Last}) end);
%% A client of TLS 1.3 is ready before the server has its last message: a stop may still come into the handshake.
server(Setting, Version, {Options, Alpn, [ready], Act, Last}) ->
    Test = fun() -> server_once(Setting, Version, {Options, Alpn, [ready], Act, Last}) end,
    at_last(Test, 5);
server(Setting, Version, Case) ->
    server_once(Setting, Version, Case).

at_last(Test, 1) -> Test();
at_last(Test, Times) ->
    try Test()
    catch error:_ -> at_last(Test, Times - 1)
    end.

server_once(#{python := Python, cert := Cert, key := Key}, Version, {Options, Alpn, Steps, Act, Last}) ->
    Http = #{"/hello" => fun(_) -> {200, [], "hello"} end},
    All = maps:merge(#{tls => #{cert => Cert, key => Key}, format => raw, active => true, http => Http}, Options),
    with_server(maps:filter(fun(_, V) -> V =/= undefined end, All), fun(Port, Server) ->
        Peer = peer(Python, ["client", integer_to_list(Port), Version, Alpn], Steps),
        case lists:member(ready, Steps) of
            true -> ?assertEqual(<<"ready">>, line(Peer));
            false -> ok
        end,
        _ = Act(Server),
        ended(Peer, Last)
    end).

%% These times cover the handshake of TLS, which has no close_notify yet when it is cut off. On a busy machine it takes longer than the
%% first one.
patiently(Test) ->
    try Test(200)
    catch error:_ -> Test(5000)
    end.

%% ---------------------------------------------------------------- our client

%% What the server does, and what we do.
clients() ->
    Connect = fun(Url, Options) -> {ok, Conn} = sockeye_client:connect(Url, Options), Conn end,
    Lost = fun(Code) ->
                   fun(Url, Options) ->
                           ?assertMatch({error, {closed, Code, _}}, sockeye_client:recv(Connect(Url, Options), ?TIMEOUT))
                   end
           end,
    [{"without a Close frame", {[upgrade, notify], Lost(1006), any}},
     {"a TCP that ends without a word", {[upgrade, fin], Lost(1006), any}},
     {"the server's Close frame", {[upgrade, {send, <<136, 2, 1000:16>>}], Lost(1000), any}},
     {"our Close frame", {[upgrade, {until, <<136>>}, {send, <<136, 2, 1000:16>>}],
                          fun(Url, Options) -> ok = sockeye_client:close(Connect(Url, Options)) end, any}},
     {"a refusal", {[{until, "\r\n\r\n"}, {send, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"}],
                    fun(Url, Options) -> ?assertMatch({error, _}, sockeye_client:connect(Url, Options)) end, <<>>}},
     {"no answer", {[{until, "\r\n\r\n"}, notify],
                    fun(Url, Options) -> ?assertMatch({error, _}, sockeye_client:connect(Url, Options)) end, <<>>}},
     {"no answer in time", {[{until, "\r\n\r\n"}],
                            fun(Url, Options, Time) ->
                                    ?assertEqual({error, timeout}, sockeye_client:connect(Url, Options#{connect_timeout => Time}))
                            end, <<>>}}].

client(Setting, Version, {Steps, Act, Last}) when is_function(Act, 3) ->
    patiently(fun(Time) -> client(Setting, Version, {Steps, fun(Url, Options) -> Act(Url, Options, Time) end, Last}) end);
client(#{python := Python, cert := Cert, key := Key}, Version, {Steps, Act, Last}) ->
    test_certs:in_folder(fun(File) ->
        ok = file:write_file(File("cert.pem"), Cert),
        ok = file:write_file(File("key.pem"), Key),
        Peer = peer(Python, ["server", File("cert.pem"), File("key.pem"), Version], Steps),
        Act(["wss://localhost:", line(Peer), "/"], #{tls => #{verify => verify_none}}),
        ended(Peer, Last)
    end).

%% ---------------------------------------------------------------- the peer

peer(Python, Args, Steps) ->
    Script = filename:join(test_support:root(), "test/peers/tls_peer.py"),
    open_port({spawn_executable, Python},
              [{args, [Script | Args] ++ [step(Step) || Step <- Steps ++ ['end']]}, {line, 10000}, binary, exit_status,
               stderr_to_stdout]).

step({Name, Bytes}) -> lists:concat([Name, ":", binary_to_list(binary:encode_hex(iolist_to_binary(Bytes)))]);
step(Name) -> atom_to_list(Name).

line(Peer) ->
    receive
        {Peer, {data, {eol, Line}}} -> Line;
        {Peer, {exit_status, Status}} -> error({peer, Status})
    after ?TIMEOUT -> error(peer_says_nothing)
    end.

ended(Peer, Last) ->
    [How, Hex] = binary:split(line(Peer), <<" ">>),
    Got = binary:decode_hex(Hex),
    ?assertEqual(<<"close_notify">>, How),
    Last =:= any orelse ?assertEqual(Last, last(byte_size(Last), Got)),
    ?assertEqual(0, receive {Peer, {exit_status, Status}} -> Status after ?TIMEOUT -> error(peer_goes_on) end).

last(0, Got) -> Got;
last(Size, Got) -> binary:part(Got, byte_size(Got), -min(Size, byte_size(Got))).
