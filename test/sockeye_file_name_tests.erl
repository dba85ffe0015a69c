%% Names of files beyond ASCII, in nodes that take texts for UTF-8 and in such that do not (LANG=C, as services have it).
-module(sockeye_file_name_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_server/2]).

names_test_() ->
    [{lists:append(lists:join(", ", [Title, Engine, Encoding])), {timeout, 120, fun() -> in_node(Encoding, Engine, Test) end}}
     || {Title, Test, Nodes} <- [{"files", fun files/1, [{"nif", "+fnl"}, {"port", "+fnl"}]},
                                 {"bytes that are no text", fun no_text/1, [{"nif", "+fnu"}, {"port", "+fnl"}]},
                                 {"temporary files", fun temporary/1, [{"port", "+fnl"}, {"port", "+fnu"}]}],
        {Engine, Encoding} <- Nodes].

%% The node has its temporary files in the folder.
in_node(Encoding, Engine, Test) ->
    Folder = list_to_binary([os:getenv("TMPDIR", "/tmp"), "/sockeye-\303\274 ", os:getpid(), integer_to_list(erlang:unique_integer([positive]))]),
    ok = file:make_dir(Folder),
    Node = port_node:start(#{args => [Encoding], before => "export SOCKEYE_ENGINE=" ++ Engine ++ " TMPDIR=" ++ shell(Folder)}),
    try port_node:on(Node, fun() -> Test(Folder) end)
    after
        ok = port_node:stop(Node),
        _ = file:del_dir_r(Folder)
    end.

%% In octal: the argument of a process is a text.
shell(Folder) ->
    "\"$(printf '" ++ lists:append([io_lib:format("\\~3.8.0b", [Byte]) || <<Byte>> <= Folder]) ++ "')\"".

%% The name of the folder as file and code give it.
files(Folder) ->
    ok = file:write_file(<<Folder/binary, "/page.txt">>, "page"),
    ok = file:set_cwd(Folder),
    {ok, Text} = file:get_cwd(),
    true = is_list(Text),
    _ = [with_server(#{http => #{<<"/file">> => {file, filename:join(Name, "page.txt")}, <<"/dir">> => {dir, Name}}}, fun(Port, _) ->
             ?assertMatch({_, {200, _, <<"page">>}}, {Name, http_client:get(Port, "/file")}),
             ?assertMatch({_, {200, _, <<"page">>}}, {Name, http_client:get(Port, "/dir/page.txt")})
         end) || Name <- [Text, Folder, ".", [Text]]],
    ?assertEqual(<<"there is no file ", Folder/binary, "/none">>, refused(filename:join(Text, "none"))).

no_text(Folder) ->
    Name = <<Folder/binary, "/caf", 16#e9>>,
    ok = file:make_dir(Name),
    ok = file:write_file(<<Name/binary, "/page.txt">>, "page"),
    with_server(#{http => #{<<"/file">> => {file, <<Name/binary, "/page.txt">>}, <<"/dir">> => {dir, Name}}}, fun(Port, _) ->
        ?assertMatch({200, _, <<"page">>}, http_client:get(Port, "/file")),
        ?assertMatch({200, _, <<"page">>}, http_client:get(Port, "/dir/page.txt"))
    end),
    None = <<Name/binary, "/none">>,
    ?assertEqual(<<"there is no file ", (unicode:characters_to_binary(None, latin1))/binary>>, refused(None)).

refused(Name) ->
    {error, {bad_option, http, Why}} = sockeye:start_link(#{port => 0, http => #{<<"/file">> => {file, Name}}}),
    [_, Sentence] = binary:split(Why, <<": ">>),
    Sentence.

%% A socket is passed to the engine, which is started again, the second time without that folder.
temporary(Folder) ->
    handover_server:with_both(gen_tcp, fun(Port, Server) ->
        _ = ws_client:connect(Port, #{}),
        {_, {open, _}} = test_support:event(),
        {ok, _} = handover_server:adopted(),
        ?assertEqual({ok, []}, file:list_dir(Folder)),
        {ok, #{port := Own}} = sockeye:info(Server),
        _ = [begin
                 ok = Before(),
                 ok = port_node:another(port_node:kill()),
                 ok = port_node:listening(Server, Own)
             end || Before <- [fun() -> ok end, fun() -> file:del_dir(Folder) end]]
    end).
