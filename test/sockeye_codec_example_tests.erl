%% The examples of sockeye_codec, with each other and with others.
-module(sockeye_codec_example_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-needs(codec).

-define(ECHO, #{frame => fun(Frame, _Conn, S) -> {[{reply, Frame}], S} end}).

examples_test_() ->
    {setup, fun load/0, fun unload/1,
     [{"with each other", fun with_each_other/0},
      {"a client that knows nothing of it", fun other_client/0},
      {"a server of the engine", fun other_server/0},
      {"a request that is none", fun refused/0},
      {"an answer that is none", fun refusing/0}]}.

load() ->
    [begin
         {ok, Module, Code} = compile:file(file(Module), [binary, return_errors, warnings_as_errors]),
         {module, Module} = code:load_binary(Module, file(Module), Code),
         Module
     end || Module <- [codec_server, codec_client]].

unload(Modules) ->
    [begin code:purge(M), code:delete(M), code:purge(M) end || M <- Modules].

file(Module) ->
    filename:join([test_support:root(), "examples", "codec", atom_to_list(Module) ++ ".erl"]).

with_each_other() ->
    {ok, Port} = codec_server:start(0),
    {ok, C} = codec_client:connect("127.0.0.1", Port, "/"),
    Long = binary:copy(<<"a long message, ">>, 10000),
    C9 = lists:foldl(fun({Frame, Event}, C1) ->
             ok = codec_client:send(C1, Frame),
             {Got, C2} = codec_client:recv(C1),
             ?assertEqual(Event, Got),
             C2
         end, C, [{{text, "hello"}, {text, <<"hello">>}}, {{binary, [0, 255]}, {binary, <<0, 255>>}},
                  {#{n => 1}, {text, <<"{\"n\":1}">>}}, {{ping, "p"}, {pong, <<"p">>}}, {{text, Long}, {text, Long}},
                  {[{stream, text, first, "in "}, {stream, text, last, "two"}], {text, <<"in two">>}}]),
    ?assertEqual({closed, 1000, <<>>}, codec_client:close(C9)).

other_client() ->
    {ok, Port} = codec_server:start(0),
    Socket = ws_client:connect(Port),
    ok = ws_client:text(Socket, <<"hello">>),
    ?assertEqual(<<"hello">>, ws_client:recv_data(Socket)),
    ws_client:drop_all().

other_server() ->
    test_support:with_handler(?ECHO, fun(Port, _) ->
        {ok, C} = codec_client:connect("127.0.0.1", Port, "/"),
        ok = codec_client:send(C, {json, [1, 2]}),
        {{text, <<"[1,2]">>}, C1} = codec_client:recv(C),
        ?assertEqual({closed, 1000, <<>>}, codec_client:close(C1))
    end).

refused() ->
    {ok, Port} = codec_server:start(0),
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    ok = gen_tcp:send(Socket, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    ?assertMatch({ok, <<"HTTP/1.1 426 ", _/binary>>}, gen_tcp:recv(Socket, 0, 60000)),
    ?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, 60000)).

refusing() ->
    test_support:with_handler(?ECHO, #{paths => [<<"/only">>]}, fun(Port, _) ->
        ?assertMatch({error, {refused, #{status := 404}}}, codec_client:connect("127.0.0.1", Port, "/other"))
    end).
