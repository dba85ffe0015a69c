%% What a user sees who has touched nothing: the output of a node with the default logger.
-module(sockeye_log_seen_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

%% Events are brought about in a node of their own; each must be there, as a sentence of one line.
seen(Names, Expected) ->
    {lists:flatten(io_lib:format("~p", [Names])), {timeout, 60, fun() -> said(Names, Expected) end}}.

%% The same, with so many reports of errors, whoever gives them.
seen(Names, Reports, Expected) ->
    {lists:flatten(io_lib:format("~p", [Names])),
     {timeout, 60,
      fun() ->
              Said = said(Names, Expected),
              {match, Found} = re:run(Said, "^=(?!NOTICE|INFO|WARNING|PROGRESS).* REPORT====", [global, multiline]),
              ?assertEqual({Reports, Said}, {length(Found), Said})
      end}}.

%% A node waits for most of its life.
at_once(Tests) -> {inparallel, 4, Tests}.

said(Names, Expected) -> said(Names, Expected, []).

said(Names, Expected, Env) ->
    Code = lists:flatten(io_lib:format("log_node:run(~p), ", [Names])),
    {0, Said} = test_support:bare_node(Code, Env),
    ?assertEqual(match, re:run(Said, "fine$", [{capture, none}])),
    Lines = binary:split(Said, <<"\n">>, [global]),
    [?assertEqual({Line, found}, {Line, look(Line, Lines, Said)}) || Line <- Expected],
    Said.

look(Regex, Lines, Said) ->
    case [L || L <- Lines, re:run(L, ["^", Regex, "$"], [{capture, none}]) =:= match] of
        [_ | _] -> found;
        [] -> Said
    end.

-define(CHAT, "Sockeye server chat on 127\\.0\\.0\\.1:[0-9]+").
-define(FROM, "from 127\\.0\\.0\\.1:[0-9]+").

servers_test_() ->
    [seen([server],
          [?CHAT " listens, frames go to bare_handler: http://127\\.0\\.0\\.1:[0-9]+/", ?CHAT " has stopped",
           "=NOTICE REPORT.*"]),
     seen([server_without_name, unix_server],
          ["Sockeye server <[0-9.]+> on 127\\.0\\.0\\.1:[0-9]+ listens with TLS, frames go to <.*>: https://127\\.0\\.0\\.1:[0-9]+/",
           "Sockeye server <.*> on the abstract socket sockeye-log-[0-9]+ listens, frames go to [^:]*"])].

certificates_test_() ->
    [seen([certificates],
          [?CHAT ": the certificate of a\\.example, and 1 more \\(cert\\) expired on "
           "2002-02-03 [0-9:]+ UTC",
           ?CHAT ": the certificate of c\\.example \\(sni_hosts c\\.example: certfile /.*cert\\.pem\\) is not valid before "
           "2990-01-01 [0-9:]+ UTC",
           ?CHAT ": certificate 2 of the chain in sni_hosts c\\.example: certfile /.*cert\\.pem expired on "
           "2002-02-03 [0-9:]+ UTC",
           "Sockeye client <.*> of wss://127\\.0\\.0\\.1:1: the certificate of a\\.example, and 1 more .*",
           "=WARNING REPORT.*"])].

requests_test_() ->
    [seen([accept], 4,
          [?CHAT " answered 500 to a request " ?FROM ", path /crash: accept/2 of accept_handler crashed",
           "    exception error: on_request",
           ?CHAT " answered 500 to a request " ?FROM ", path /link: accept/2 of accept_handler crashed",
           "    a process linked to it ended: on_request",
           ?CHAT " answered 503 to a request " ?FROM ", path /slow: accept/2 of accept_handler took "
           "longer than 300 ms",
           ?CHAT " answered 500 to a request " ?FROM ", path /wrong: what accept/2 of accept_handler "
           "returned is wrong: .*yes.*",
           ?CHAT " answered 500 to a request " ?FROM ", path /crash: the function #Fun<.*> crashed"]),
     seen([http], 2,
          [?CHAT " answered 500 to a request " ?FROM ", path /h/crash: the function #Fun<.*> crashed",
           ?CHAT " answered 503 to a request " ?FROM ", path /h/slow: the function #Fun<.*> took "
           "longer than 300 ms",
           ?CHAT " answered 500 to a request " ?FROM ", path /h/wrong: what the function #Fun<.*> "
           "returned is wrong: .*yes.*"])].

others_test_() ->
    at_once([seen([of_the_engine],
          ["Sockeye engine: a panic ended a connection with 1011: panicked at shard\\.rs:1",
           ?CHAT " could not accept a connection: Too many open files"]),
     seen([message], [?CHAT ": bare_handler has no handle_info/2 for the message hello"]),
     seen([client],
          ["Sockeye client feed of ws://127\\.0\\.0\\.1:[0-9]+/feed is not connected, and will try again: "
           "econnrefused",
           "Sockeye client feed of .* is connected",
           "Sockeye client feed of .* lost a frame that it had kept: {not_json,<.*>,<<\"\\$.*\">>}"]),
     seen([stubbed],
          ["Sockeye server chat on 127\\.0\\.0\\.1:80 stops, although the engine did not report within 8000 ms .*",
           "Sockeye client <.*> of ws://example\\.com/ stops, although the engine did not report within 8000 ms .*",
           "Sockeye server chat on .* refuses connections, to keep the descriptors from 1000 on .*",
           "Sockeye server chat on .*: the web server behind at 127\\.0\\.0\\.1:4000 closed the connection without an answer",
           "Sockeye server chat on .*: the web server behind at 127\\.0\\.0\\.1:4000 answers again",
           "Sockeye server chat on .* could not start a process: .*",
           "Sockeye server chat on .* sent 1011 on connection 77 from 127\\.0\\.0\\.1:5000, path /x, "
           "since no process could be started for it: system_limit"])]).

%% A real one, in a call of the library that is shipped.
panic_in_call_test_() ->
    case {os:getenv("ASAN_OPTIONS"), os:type(), os:find_executable("cc")} of
        {Sanitizer, _, _} when is_list(Sanitizer) -> test_support:left_out("a panic in a call", "a sanitizer asks for the clock in the library's place");
        {_, {unix, linux}, Cc} when is_list(Cc) -> {timeout, 60, fun() -> test_certs:in_folder(fun(File) -> panic_in_call(Cc, File) end) end};
        _ -> test_support:left_out("a panic in a call", "needs Linux and a C compiler")
    end.

panic_in_call(Cc, File) ->
    Source = filename:join(test_support:root(), "test/support/failing_clock.c"),
    Library = File("failing_clock.so"),
    ?assertEqual("", os:cmd(lists:join(" ", [Cc, "-Wall -Werror -shared -fPIC -o", Library, Source, "-ldl -pthread"]))),
    said([panic_in_call],
         ["Sockeye: a panic in the native library, and the calling process got the error nif_panicked: panicked at .*"],
         [{"LD_PRELOAD", Library}, {"FAILING_CLOCK", File("now")}, {"SOCKEYE_ENGINE", "nif"}]).

-define(CONN, " on connection [0-9]+ " ?FROM ", path /x").

%% One report each, and one of the engine's supervisor.
the_engine_is_killed_test_() ->
    [seen([engine_killed], 3,
          [?CHAT " has stopped: {engine_down,killed}",
           "Sockeye client feed of ws://127\\.0\\.0\\.1:[0-9]+ has stopped: {engine_down,killed}",
           "SEEN {engine_down,killed}"])].

%% The guide has a row for each event that there is a sentence for, and for nothing else.
the_guide_has_every_event_test() ->
    {ok, Code} = file:read_file(filename:join(test_support:root(), "erlang/src/report/sockeye_log_text.erl")),
    {match, Known} = re:run(Code, "(?:what := |What =:= )([a-z_]+)", [global, {capture, all_but_first, binary}]),
    {ok, Guide} = file:read_file(filename:join(test_support:root(), "erlang/guide/log.md")),
    {match, Rows} = re:run(Guide, "^\\| (`[^|]*`) \\|", [global, multiline, {capture, all_but_first, binary}]),
    Names = [Name || [Row] <- Rows, Name <- re:split(Row, "[`, ]+", [trim]), Name =/= <<>>],
    ?assertEqual(lists:usort(lists:append(Known)), lists:sort(Names)).

%% A mistake in a command costs itself; each is named with its callback.
commands_test_() ->
    [seen([commands],
          [?CHAT ": handle_open/3 of plain_handler returned a wrong command" ?CONN ": there is no frame {txt, _}: .*",
           ?CHAT ": handle_frame/3 of plain_handler returned a wrong command" ?CONN ": a binary is not a frame: "
           "{text, Binary} or {binary, Binary}, in {reply,<<\"hi\">>}.*",
           ?CHAT ": handle_frame/3 of plain_handler returned a wrong command" ?CONN ": not a close code: .*",
           ?CHAT ": handle_frame/3 of plain_handler returned a wrong command" ?CONN ": not a topic: .*",
           ?CHAT ": a command of handle_frame/3 of plain_handler failed" ?CONN ": busy, for {send,.*"])].

%% One report a crash, with what is known; who is linked sees the reason of a gen_server.
crashes_test_() ->
    %% OTP 26 and later have another order.
    State = "    state: #{(at => [a-z_]+,known => state|known => state,at => [a-z_]+)}",
    Stack = "    exception error: on_request",
    Seen = "SEEN {on_request,stack}",
    at_once([seen([{crash, At, Processes}], 1,
          [?CHAT ": " ++ Name ++ " of crash_handler crashed" ++ Where, Stack, State, Seen] ++ More)
     || Processes <- [one, 2, per_connection],
        {At, Name, Where, More} <-
            [{handle_open, "handle_open/3", ?CONN, []},
             {handle_frame, "handle_frame/3", ?CONN, ["    frame: {json,#{<<\"a\">> => <<\"frame\">>}}"]},
             {handle_close, "handle_close/4", ?CONN, ["    message: {closed,1006,.*"]}]] ++
    [seen([{crash, handle_info, one}], 1,
          [?CHAT ": handle_info/2 of crash_handler crashed", Stack, State, "    message: hello", Seen]),
     seen([{crash, handle_info, per_connection}], 1,
          [?CHAT ": handle_info/2 of crash_handler crashed" ?CONN, Stack, State, "    message: hello", Seen]),
     seen([{crash, init, one}], 1, ["Sockeye server chat: init/1 of crash_handler crashed", Stack, Seen]),
     seen([{crash, init, per_connection}], 1, [?CHAT ": init/1 of crash_handler crashed" ?CONN, Stack, Seen]),
     seen([{crash, terminate, one}], 1,
          [?CHAT ": terminate/2 of crash_handler crashed", Stack, State, "    message: shutdown", Seen]),
     %% The wrong command, and the crash when it is told.
     seen([{crash, handle_error, one}], 2,
          [?CHAT ": handle_error/3 of crash_handler crashed" ?CONN, Stack, State,
           "    message: {{fly,away},{bad_command,<<\"there is no such command\">>}}", Seen])] ++
    [seen([{crash, Word, Processes}], 1, [?CHAT ": handle_frame/3 of crash_handler " ++ What, State, Seen1])
     || Processes <- [one, per_connection],
        {Word, What, Seen1} <- [{stop, "stopped" ?CONN ": no_database", "SEEN no_database"},
                                {return, "crashed" ?CONN ": it returned none of {\\[Command\\], State}, {\\[Command\\], State, hibernate} and {stop, Reason, State}",
                                 "SEEN {bad_return_value,nonsense}"},
                                {exit, "crashed" ?CONN, "SEEN on_request"}]] ++
    [seen([{crash_of_client, At}], 1,
          ["Sockeye client feed of ws://127\\.0\\.0\\.1:[0-9]+/feed: " ++ Name ++ " of crash_handler crashed.*",
           Stack, State, Seen])
     || {At, Name} <- [{handle_info, "handle_info/2"}, {handle_open, "handle_open/3"}, {handle_down, "handle_down/2"}]]).
