%% The programs of others in the guide's page "Coming from", with the library that they are for: cowboy, gun and jiffy as bench/setup
%% unpacks them. What the same program is here talks to them. Those of websockex and Phoenix are for test/elixir.
-module(sockeye_coming_from_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [free_port/0, root/0]).

-define(PAGE, "erlang/guide/coming-from.md").

page_test_() ->
    case [Name || Name <- ["cowboy", "cowlib", "ranch", "gun", "jiffy"], paths(Name) =:= []] of
        [] ->
            Paths = [hd(paths(Name)) || Name <- ["cowboy", "cowlib", "ranch", "gun", "jiffy"]],
            {setup, fun() -> begin_with(Paths) end, fun(Begun) -> leave(Begun, Paths) end,
             fun({_, Port, _}) ->
                 [{Title, {timeout, 60, fun() -> Test(Port) end}}
                  || {Title, Test} <- [{"cowboy's server, our client", fun cowboy/1}, {"our server, gun", fun gun/1},
                                       {"cowboy's server, gun", fun both/1}]]
             end};
        Missing ->
            test_support:left_out("programs of others", "no " ++ lists:join(", ", Missing) ++ ": make test-cowboy gets them")
    end.

%% In a path of Erlang, or where bench/setup has put it.
paths(Name) ->
    Debian = filename:join(root(), "bench/target/debian/usr/lib"),
    filelib:wildcard(filename:join([Debian, "rabbitmq/lib/*/plugins", Name ++ "-*", "ebin"])) ++
        filelib:wildcard(filename:join([Debian, "erlang/lib", Name ++ "-*", "ebin"])).

begin_with(Paths) ->
    ok = code:add_pathsa(Paths),
    {ok, Cowboy} = application:ensure_all_started(cowboy),
    {ok, Gun} = application:ensure_all_started(gun),
    Port = free_port(),
    Modules = [loaded(Block, integer_to_list(Port)) || #{language := "erlang", name := Name} = Block <- doc_page:blocks(doc_page:page(?PAGE)), Name =/= ""],
    [add, add_gun, total, total_cowboy] = lists:sort(Modules),
    {Gun ++ Cowboy, Port, Modules}.

loaded(#{text := Text, name := Name}, Port) ->
    Folder = filename:join(os:getenv("TMPDIR", "/tmp"), "coming-from-" ++ os:getpid()),
    File = filename:join(Folder, filename:basename(Name)),
    try
        ok = filelib:ensure_dir(File),
        ok = file:write_file(File, re:replace(of_this_gun(Text), "\\b8080\\b", Port, [global])),
        {ok, Module, Code, []} = compile:file(File, [binary, return]),
        {module, Module} = code:load_binary(Module, File, Code),
        Module
    after
        ok = file:del_dir_r(Folder)
    end.

%% Before its second version gun had one WebSocket for a connection, and no stream was named.
of_this_gun(Text) ->
    {module, gun} = code:ensure_loaded(gun),
    case erlang:function_exported(gun, ws_send, 3) of
        true -> Text;
        false -> string:replace(Text, "ws_send(Pid, Stream, ", "ws_send(Pid, ")
    end.

leave({Started, _, Modules}, Paths) ->
    [begin true = code:delete(Module), code:purge(Module) end || Module <- Modules],
    test_support:quiet(fun() -> [application:stop(One) || One <- lists:reverse(Started)] end),
    [code:del_path(Path) || Path <- Paths].

cowboy(_) -> with(total_cowboy, fun() -> totals(add) end).
gun(_) -> with(total, fun() -> totals(add_gun) end).
both(_) -> with(total_cowboy, fun() -> totals(add_gun) end).

totals(Client) -> [?assertEqual(#{<<"total">> => N}, Client:add(N)) || N <- [2, -7]].

with(total_cowboy, Test) ->
    {ok, _} = apply(total_cowboy, start, []),
    try Test() after ok = apply(cowboy, stop_listener, [total]) end;
with(total, Test) ->
    {ok, Server} = apply(total, start, []),
    try Test() after ok = sockeye:stop(Server) end.
