%% What cannot run on a machine is left out, said, and disturbs no other test.
-module(sockeye_skipped_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

%% As in a container: `ip' is there, and may do nothing. Its reason has lines and no ASCII.
no_network_namespaces_test_() ->
    {timeout, 60, fun() ->
        test_certs:in_folder(fun(File) ->
            Ip = File("ip"),
            ok = file:write_file(Ip, <<"#!/bin/sh\necho 'mount: permission'; echo 'denied \303\251 ~p'; exit 1\n">>),
            ok = file:change_mode(Ip, 8#755),
            Code = io_lib:format(
                     "true = os:putenv(\"PATH\", ~p ++ \":\" ++ os:getenv(\"PATH\")),"
                     "code:add_pathsa(~p),"
                     "ok = eunit:test([sockeye_netsplit_tests, {\"after it\", fun() -> ok end}], []),",
                     [filename:dirname(Ip), test_paths()]),
            {Status, Said} = test_support:bare_node(lists:flatten(Code)),
            ?assertEqual({0, Said}, {Status, Said}),
            ?assertMatch({match, _}, re:run(Said, "^left out: a cut between nodes: .*permission denied", [multiline])),
            ?assertMatch({match, _}, re:run(Said, "Test passed"))
        end)
    end}.

test_paths() ->
    lists:usort([filename:dirname(code:which(Module))
                 || Module <- [?MODULE, test_support, cluster_node, sockeye_netsplit_tests, eunit]]).
