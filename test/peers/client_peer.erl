%% The client against a server of others: client_peer:main() takes its two ports from PEER_SERVER
%% and ends with the number of cases that failed.
-module(client_peer).

-export([main/0]).

-define(TIMEOUT, 30000).

main() ->
    [Plain, Secure] = string:lexemes(os:getenv("PEER_SERVER"), " "),
    %% It signs itself, and is none of its own authority: only its pin says that it is the one.
    {ok, Pem} = file:read_file(os:getenv("PEER_CERT")),
    [{'Certificate', Der, not_encrypted}] = public_key:pem_decode(Pem),
    Tls = #{tls => #{verify => verify_none, pin => {cert, crypto:hash(sha256, Der)}}},
    Ways = [{"plain", ["ws://127.0.0.1:", Plain], #{}},
            {"deflate", ["ws://127.0.0.1:", Plain], #{deflate => true}},
            {"deflate, own windows", ["ws://127.0.0.1:", Plain],
             #{deflate => #{server_context_takeover => true, client_context_takeover => true}}},
            {"secure", ["wss://localhost:", Secure], Tls},
            {"secure, deflate", ["wss://127.0.0.1:", Secure], Tls#{deflate => true}}],
    Cases = [{"echo", fun echo/2}, {"subprotocol and headers", fun agreed/2}, {"refused", fun refused/2},
             {"the server closes", fun server_closes/2}, {"a handler", fun handler/2}],
    Failed = [{Way, Case} || {Way, Url, Options} <- Ways, {Case, Run} <- Cases,
                             not passed(Way, Case, fun() -> Run(Url, Options#{format => raw}) end)],
    io:format("~b cases, ~b failed~n", [length(Ways) * length(Cases), length(Failed)]),
    halt(min(length(Failed), 100)).

passed(Way, Case, Run) ->
    try Run() of
        _ -> true
    catch
        Class:Reason:Stack ->
            io:format("~ts, ~ts: ~p~n", [Way, Case, {Class, Reason, Stack}]),
            false
    end.

echo(Url, Options) ->
    Large = #{max_message_size => 8 bsl 20, send_queue_size => 16 bsl 20},
    {ok, Conn} = sockeye_client:connect(Url, maps:merge(Options, Large)),
    Expected = is_map_key(deflate, Options),
    {ok, #{deflate := Expected}} = sockeye:info(Conn),
    [begin
         ok = sockeye_client:send(Conn, Frame),
         {ok, Frame} = sockeye_client:recv(Conn, ?TIMEOUT)
     end || Size <- [0, 1, 125, 126, 65535, 65536, 2000000],
            Frame <- [{text, binary:copy(<<"a">>, Size)}, {binary, crypto:strong_rand_bytes(Size)}]],
    {text, _} = Text = {text, unicode:characters_to_binary("Gr\x{fc}\x{df}e \x{1f41f}")},
    ok = sockeye_client:send(Conn, [{ping, <<"x">>}, Text]),
    {ok, Text} = sockeye_client:recv(Conn, ?TIMEOUT),
    ok = sockeye_client:close(Conn).

agreed(Url, Options) ->
    {ok, Conn} = sockeye_client:connect(Url, Options#{subprotocols => ["other", "echo"], headers => [{"x-peer", "me"}]}),
    {ok, #{subprotocol := <<"echo">>}} = sockeye:info(Conn),
    ok = sockeye_client:send(Conn, {text, <<"headers">>}),
    {ok, {text, <<"me">>}} = sockeye_client:recv(Conn, ?TIMEOUT),
    ok = sockeye_client:close(Conn).

refused(Url, Options) ->
    {error, {refused, #{status := 403, body := <<"not here\n">>}}} =
        sockeye_client:connect([Url, "/refused"], Options).

server_closes(Url, Options) ->
    {ok, Conn} = sockeye_client:connect(Url, Options),
    ok = sockeye_client:send(Conn, {text, <<"close">>}),
    {error, {closed, 4001, <<"as you wish">>}} = sockeye_client:recv(Conn, ?TIMEOUT).

handler(Url, Options) ->
    {ok, Client} = sockeye_client:start_link(Url, self(), Options#{active => true}),
    N = 1000,
    [ok = sockeye_client:send(Client, {text, integer_to_binary(I)}) || I <- lists:seq(1, N)],
    [receive {sockeye, _, {text, Text}} -> Text = integer_to_binary(I)
     after ?TIMEOUT -> error({lost, I})
     end || I <- lists:seq(1, N)],
    ok = sockeye_client:stop(Client).
