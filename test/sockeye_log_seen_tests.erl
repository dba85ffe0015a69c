%% What a user sees who has touched nothing: the output of a node with the default logger.
-module(sockeye_log_seen_tests).

-include_lib("eunit/include/eunit.hrl").

%% Events are brought about in a node of their own; each must be there, as a sentence of one line.
seen(Names, Expected) ->
    {lists:flatten(io_lib:format("~p", [Names])),
     {timeout, 60,
      fun() ->
              Code = lists:flatten(io_lib:format("log_node:run(~p), ", [Names])),
              {0, Said} = sockeye_test:bare_node(Code),
              ?assertEqual(match, re:run(Said, "fine$", [{capture, none}])),
              Lines = binary:split(Said, <<"\n">>, [global]),
              [?assertEqual({Line, found}, {Line, look(Line, Lines, Said)}) || Line <- Expected]
      end}}.

look(Regex, Lines, Said) ->
    case [L || L <- Lines, re:run(L, ["^", Regex, "$"], [{capture, none}]) =:= match] of
        [_ | _] -> found;
        [] -> Said
    end.

-define(CHAT, "Sockeye server chat on 127\\.0\\.0\\.1:[0-9]+").
-define(FROM, "from 127\\.0\\.0\\.1:[0-9]+").

servers_test_() ->
    [seen([server],
          [?CHAT " listens, frames go to bare_handler", ?CHAT " has stopped",
           "=NOTICE REPORT.*"]),
     seen([server_without_name, unix_server],
          ["Sockeye server <[0-9.]+> on 127\\.0\\.0\\.1:[0-9]+ listens with TLS, frames go to <.*>",
           "Sockeye server <.*> on the abstract socket sockeye-log-[0-9]+ listens, .*"])].

requests_test_() ->
    [seen([accept],
          [?CHAT " answered 500 to a request " ?FROM ", path /crash: accept/2 of accept_handler crashed",
           "    exception error: on_request",
           ?CHAT " answered 500 to a request " ?FROM ", path /link: accept/2 of accept_handler crashed",
           "    a process linked to it ended: on_request",
           ?CHAT " answered 503 to a request " ?FROM ", path /slow: accept/2 of accept_handler took "
           "longer than 300 ms",
           ?CHAT " answered 500 to a request " ?FROM ", path /wrong: what accept/2 of accept_handler "
           "returned is wrong: .*yes.*",
           ?CHAT " answered 500 to a request " ?FROM ", path /crash: the function #Fun<.*> crashed"]),
     seen([http],
          [?CHAT " answered 500 to a request " ?FROM ", path /h/crash: the function #Fun<.*> crashed",
           ?CHAT " answered 503 to a request " ?FROM ", path /h/slow: the function #Fun<.*> took "
           "longer than 300 ms",
           ?CHAT " answered 500 to a request " ?FROM ", path /h/wrong: what the function #Fun<.*> "
           "returned is wrong: .*yes.*"])].

others_test_() ->
    [seen([of_the_engine],
          ["Sockeye engine: a panic, whose connection was closed with 1011: panicked at shard\\.rs:1",
           ?CHAT " could not accept a connection: Too many open files"]),
     seen([message], [?CHAT ": bare_handler has no handle_info/2 for the message hello"]),
     seen([client],
          ["Sockeye client feed of ws://127\\.0\\.0\\.1:[0-9]+/feed is not connected, and will try again: "
           "econnrefused",
           "Sockeye client feed of .* is connected",
           "Sockeye client feed of .* lost a frame that it had kept: {not_json,<.*>}"]),
     seen([stubbed],
          ["Sockeye server chat on 127\\.0\\.0\\.1:80 stops without the word of the engine .* within 8000 ms",
           "Sockeye client <.*> of ws://example\\.com/ stops without the word of the engine .* within 8000 ms",
           "Sockeye server chat on .* closed on connection 77 from 127\\.0\\.0\\.1:5000, path /x with 1011: "
           "no process could be started for it, system_limit"])].
