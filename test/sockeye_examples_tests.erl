%% The handlers of the examples, as their own tests would be: without a server.
-module(sockeye_examples_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

%% ---------------------------------------------------------------- erlpy

erlpy_test_() ->
    with_modules("erlpy", [erlpy_handler],
                 [{"the messages of the protocol", fun erlpy_messages/0}, {"what is refused", fun erlpy_refused/0}]).

erlpy() ->
    {ok, Test} = sockeye_test:start(#{handler => {erlpy_handler, []}, on_invalid_json => deliver}),
    {ok, Conn} = sockeye_test:open(Test),
    {Test, Conn}.

answer(Conn, Frame) ->
    [{send, Conn, _}] = sockeye_test:frame(Conn, Frame),
    [{json, Answer}] = sockeye_test:received(Conn),
    Answer.

erlpy_messages() ->
    {Test, Conn} = erlpy(),
    ?assertMatch(#{<<"type">> := <<"pong">>, <<"timestamp">> := 7, <<"server_time">> := <<_/binary>>}, answer(Conn, #{type => ping, timestamp => 7})),
    ?assertMatch(#{<<"response">> := <<"Echo: hi">>, <<"original">> := <<"hi">>}, answer(Conn, #{command => echo, data => <<"hi">>})),
    ?assertMatch(#{<<"status">> := <<"online">>, <<"uptime_seconds">> := N} when N >= 0, answer(Conn, #{command => status})),
    ?assertMatch(#{<<"type">> := <<"greeting_response">>, <<"received">> := <<"hello">>}, answer(Conn, #{type => greeting, message => <<"hello">>})),
    ok = sockeye_test:stop(Test).

erlpy_refused() ->
    {Test, Conn} = erlpy(),
    [?assertMatch({Frame, #{<<"type">> := <<"error">>}}, {Frame, answer(Conn, Frame)})
     || Frame <- [#{command => echo, data => 7}, #{type => nonsense}, #{}, {json, [1]}, {text, "[1,"}, {binary, <<1>>}]],
    ok = sockeye_test:stop(Test).

%% ---------------------------------------------------------------- chat

chat_test_() ->
    with_modules("chat", [chat_handler], [{"a room", fun chat_room/0}, {"before and after", fun chat_outside/0}]).

%% Its rooms are presence lists, which need the application.
chat() ->
    {ok, _} = application:ensure_all_started(sockeye),
    Name = list_to_atom("chat_of_a_test"),
    {ok, Test} = sockeye_test:start(#{name => Name, handler => {chat_handler, Name}}),
    Test.

join(Test, Room, Nick) ->
    {ok, Conn} = sockeye_test:open(Test),
    _ = sockeye_test:frame(Conn, #{join => Room, nick => Nick}),
    Conn.

chat_room() ->
    Test = chat(),
    Ann = join(Test, <<"tea">>, <<"Ann">>),
    [{json, #{<<"joined">> := <<"tea">>}} | _] = sockeye_test:received(Ann),
    Bob = join(Test, <<"tea">>, <<"Bob">>),
    _ = sockeye_test:received(Bob),
    #{nick := <<"Ann">>, text := <<"hello">>} = published(said, Test, sockeye_test:frame(Ann, #{say => <<" hello ">>})),
    ?assertMatch([{json, #{<<"said">> := #{<<"nick">> := <<"Ann">>, <<"text">> := <<"hello">>}}}], said(Bob)),
    [<<"Ann">>] = published(went, Test, sockeye_test:close(Ann)),
    ?assertMatch([{send, Bob, #{error := _, what := text}}], sockeye_test:frame(Bob, #{say => <<"  ">>})),
    ok = sockeye_test:stop(Test).

%% News of who is here come when the list of them has them.
published(Key, Test, Commands) ->
    case [Value || {publish, <<"room/tea">>, #{Key := Value}} <- Commands] of
        [Value] -> Value;
        [] -> published(Key, Test, sockeye_test:commands(Test))
    end.

%% What was said, among news of who is here.
said(Conn) -> [Frame || {json, #{<<"said">> := _}} = Frame <- sockeye_test:received(Conn)].

chat_outside() ->
    Test = chat(),
    {ok, Conn} = sockeye_test:open(Test),
    ?assertMatch([{send, Conn, #{error := not_in_a_room}}], sockeye_test:frame(Conn, #{say => <<"hello">>})),
    ?assertMatch([{send, Conn, #{error := no_stars}}], sockeye_test:frame(Conn, #{join => <<"*">>, nick => <<"Ann">>})),
    ?assertMatch([{close, Conn, 1008, _}], sockeye_test:frame(Conn, {binary, <<1>>})),
    ok = sockeye_test:stop(Test).

%% ---------------------------------------------------------------- their modules

with_modules(Example, Modules, Tests) ->
    {setup, fun() -> [load(Example, Module) || Module <- Modules] end, fun(Loaded) -> [unload(Module) || Module <- Loaded] end, Tests}.

load(Example, Module) ->
    Source = filename:join([test_support:root(), "examples", Example, "src", atom_to_list(Module) ++ ".erl"]),
    {ok, Module, Code} = compile:file(Source, [binary, return_errors, warnings_as_errors]),
    {module, Module} = code:load_binary(Module, Source, Code),
    Module.

unload(Module) ->
    _ = code:purge(Module),
    true = code:delete(Module),
    code:purge(Module).
