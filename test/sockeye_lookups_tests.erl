%% A resolver that does not answer: it holds up those who ask for such a name, and nobody else.
-module(sockeye_lookups_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

%% Called in a node of their own.
-export([files/1, others/1]).

-define(TIMEOUT, 60000).

lookups_test_() ->
    case {os:type(), os:find_executable("cc"), os:getenv("ASAN_OPTIONS")} of
        {{unix, linux}, Cc, false} when is_list(Cc) ->
            [{Title, fun() -> test_certs:in_folder(fun(File) -> in_a_node(Cc, File, Test) end) end}
             || {Title, Test} <- [{"files are served", files}, {"other names are found, however many ask for one", others}]];
        {_, _, Sanitizer} when is_list(Sanitizer) -> test_support:left_out("lookups_test_", "a sanitizer looks names up itself");
        _ -> test_support:left_out("lookups_test_", "needs Linux and a C compiler")
    end.

%% With one engine thread.
in_a_node(Cc, File, Test) ->
    Source = filename:join(test_support:root(), "test/support/hanging_names.c"),
    Library = File("hanging_names.so"),
    ?assertEqual("", os:cmd(lists:join(" ", [Cc, "-Wall -Werror -shared -fPIC -o", Library, Source, "-ldl"]))),
    Kind = case os:getenv("SOCKEYE_ENGINE") of false -> "nif"; Set -> Set end,
    {ok, Peer, _} = peer:start(#{connection => standard_io, wait_boot => 2 * ?TIMEOUT,
                                 env => [{"SOCKEYE_ENGINE", Kind}, {"LD_PRELOAD", Library}, {"HANGING_NAMES", File("hanging")}],
                                 args => ["+S", "1" | lists:append([["-pa", Dir] || Dir <- code:get_path(), filelib:is_dir(Dir)])]}),
    try ?assertEqual(ok, peer:call(Peer, ?MODULE, Test, [File("hanging")], 4 * ?TIMEOUT))
    after peer:stop(Peer)
    end.

%% ---------------------------------------------------------------- in that node

%% More names than there are threads.
files(Hanging) ->
    Beam = code:which(?MODULE),
    in_front(#{http => #{"/file" => {file, Beam}}}, fun(Port) ->
        _ = [client("hang" ++ integer_to_list(N)) || N <- lists:seq(1, 100)],
        ok = hang(Hanging, 24),
        {ok, Content} = file:read_file(Beam),
        ?assertMatch({200, _, Content}, http_client:get(Port, "/file")),
        %% Not one more.
        ?assertEqual(24, filelib:file_size(Hanging))
    end).

others(Hanging) ->
    in_front(#{}, fun(Port) ->
        Clients = [client("hang") || _ <- lists:seq(1, 100)],
        ok = hang(Hanging, 1),
        {ok, Client} = sockeye_client:connect("ws://localhost:" ++ integer_to_list(Port), #{connect_timeout => ?TIMEOUT}),
        ok = sockeye_client:close(Client),
        [?assert(is_process_alive(Pid)) || Pid <- Clients],
        ?assertEqual(1, filelib:file_size(Hanging))
    end).

in_front(Options, Test) ->
    {ok, _} = application:ensure_all_started(sockeye),
    {ok, Server} = sockeye:start_link(Options#{port => 0}),
    {ok, #{port := Port}} = sockeye:info(Server),
    Test(Port),
    ok.

client(Host) ->
    spawn(fun() -> sockeye_client:connect("ws://" ++ Host ++ ".example", #{connect_timeout => 5 * ?TIMEOUT}) end).

hang(File, Count) ->
    port_node:until(fun() -> filelib:file_size(File) >= Count orelse filelib:file_size(File) end).
