%% An engine's process that cannot be started, or talks nonsense: it costs the node nothing but the engine.
-module(sockeye_port_nonsense_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(port_node, [with_engine/2, until/1, logged/1]).

%% What a node may take for the worst that an engine says.
-define(MOST_BYTES, 400 * 1024 * 1024).

%% Nobody waits for a process that has ended, and one that lives is killed: a start that fails takes a fraction of a second. A busy machine
%% may be as slow as one that waits, but not each time.
-define(MOST_MS, 8000).
-define(TRIES, 5).

%% ---------------------------------------------------------------- a start that fails

start_test_() ->
    port_node:tests(
      60, [{"there is none", fun() -> start_fails("/nowhere/sockeye-engine", "there is no such file.*SOCKEYE_ENGINE_PATH") end},
           {"a folder", fun() -> start_fails("/tmp", "it is not a file") end},
           {"not executable", fun not_executable/0},
           {"not an executable", fun not_an_executable/0},
           {"it ends", fun() -> fake_fails(ends, "it ended at once, with status 3: the sky is falling") end},
           {"another version", fun() -> fake_fails(other_version, "it is of version 9.8.7, and this is sockeye [0-9.]+: build both anew") end},
           {"it refuses our version", fun() -> fake_fails(refused_version, "it is of version 9.8.7, and") end},
           {"another protocol", fun() -> fake_fails(other_protocol, "it speaks protocol 77, and this") end},
           {"another program", fun() -> fake_fails(no_hello, "its first words make no sense") end},
           {"much, and no answer", fun() -> fake_fails(endless_start, "it does not answer, and says much else") end},
           {"a bomb as the first word", fun() -> fake_fails(compressed_hello, "its first words make no sense") end},
           {"a wrong option", fun wrong_option/0}]).

start_fails(Path, Pattern) ->
    with_engine(Path, fun() ->
        {error, {sockeye_port, Named, Why}} = soon(fun() -> sockeye:start_link(#{port => 0}) end, ?TRIES),
        ?assertEqual(unicode:characters_to_binary(Path), Named),
        ?assertMatch({match, _}, re:run(Why, "^The engine's process could not be started from \\Q" ++ Path ++ "\\E: " ++ Pattern)),
        ?assertEqual(undefined, whereis(sockeye_sup)),
        %% Nothing is left behind.
        ?assertEqual([], filelib:wildcard(filename:join(os:getenv("TMPDIR"), "sockeye-*")))
    end).

soon(_Start, 0) ->
    error(it_takes_too_long_each_time);
soon(Start, Tries) ->
    case timer:tc(Start) of
        {Took, Result} when Took < ?MOST_MS * 1000 -> Result;
        {_, _} -> soon(Start, Tries - 1)
    end.

fake_fails(How, Pattern) ->
    fake_engine:with(How, fun(Path) -> start_fails(Path, Pattern) end).

not_executable() ->
    fake_engine:with(fine, fun(Path) ->
        ok = file:change_mode(Path, 8#644),
        start_fails(Path, "it is not executable \\(chmod \\+x\\)")
    end).

not_an_executable() ->
    fake_engine:with(fine, fun(Path) ->
        ok = file:write_file(Path, <<127, "ELF nothing">>),
        start_fails(Path, "")
    end).

wrong_option() ->
    [begin
         _ = application:stop(sockeye),
         true = os:unsetenv("SOCKEYE_ENGINE"),
         ok = application:set_env(sockeye, Key, Value),
         ?assertMatch({error, {sockeye, {{bad_option, Key, _}, _}}}, application:ensure_all_started(sockeye)),
         ok = application:unset_env(sockeye, Key),
         true = os:putenv("SOCKEYE_ENGINE", "port")
     end || {Key, Value} <- [{engine, process}, {pure, port}]].

%% ---------------------------------------------------------------- nonsense

nonsense_test_() ->
    port_node:tests(
      60, [{atom_to_list(How), fun() -> replaced(How, Why) end}
           || {How, Why} <-
                  [{length_2_gib, "said what makes no sense: a packet longer than 1 MiB"},
                   {length_4_gib, "said what makes no sense: a packet longer than 1 MiB"},
                   {packet_too_long, "said what makes no sense: a packet longer than 1 MiB"},
                   {section_too_long, "a packet that is not made of whole sections"},
                   {half_a_section, "a packet that is not made of whole sections"},
                   {unknown_kind, "a packet that is not made of whole sections"},
                   {empty_batch, "a packet that is not made of whole sections"},
                   {compressed_answer, "an answer that is none"},
                   {undecodable_answer, "an answer that is none"},
                   {new_atom, "an answer that is none"},
                   {long_list, "an answer that is none"},
                   {answer_to_nobody, "an answer to nobody"},
                   {answer_to_a_process, "an answer to nobody"},
                   {undecodable_message, "a message that is no term"},
                   {undecodable_watch, "a process that is none"},
                   {undecodable_batch, "a batch that is none"},
                   {compressed_batch, "a batch that is none"},
                   {odd_batch, "a batch that is none"},
                   {batch_without_events, "a batch that is none"},
                   {batch_of_no_list, "a batch that is none"},
                   {batch_of_no_shape, "a batch that is none"},
                   {heads_too_long, "a batch that is none"},
                   {last_piece_of_nothing, "the last piece of nothing"},
                   {piece_of_a_piece, "a packet that is not made of whole sections"},
                   {too_many_streams, "more in pieces than there can be"},
                   {pieces_without_end, "more in pieces than there can be"},
                   {pong_of_nothing, "an answer to a ping that was not sent"},
                   {endless_batches, "more batches than it may send"},
                   {endless_messages, "more messages than a process takes"},
                   {endless_large_messages, "more messages than a process takes"},
                   {endless_lines, "more than 1000 lines a second"},
                   {one_byte_a_second, "it did not answer for 4 seconds"},
                   {silence, "it did not answer for 4 seconds"},
                   {closes, "closed its socket"},
                   {exits, "has ended with status 7.*its last words: I have had enough"}]]).

%% The engine says it, and then the node has another one. Nobody waits for ever, and little memory is taken.
replaced(How, Why) ->
    fake_engine:with(How, fun(Path) ->
        with_engine(Path, fun() ->
            %% It cannot answer while it says so much, or where the machine is busy: only two of them are killed for that.
            ok = application:set_env(sockeye, engine_timeout, case How of
                                                                  silence -> 4000;
                                                                  one_byte_a_second -> 4000;
                                                                  _ -> infinity
                                                              end),
            %% A node that is an engine may come too late.
            until(fun() -> case application:ensure_all_started(sockeye) of
                               {ok, _} -> true;
                               Error -> Error
                           end
                  end),
            #{os_pid := Evil} = sockeye_link:facts(),
            Before = most_memory(),
            Logged = logged(fun() ->
                _ = sockeye:info(),
                until(fun() -> case sockeye_link:facts() of
                                   #{run := Run, os_pid := Next} -> Run >= 2 andalso Next =/= Evil;
                                   none -> none
                               end
                      end)
            end),
            ?assertNot(port_node:is_alive(Evil)),
            Texts = [Text || {engine_lost, Text} <- Logged],
            ?assertMatch([_ | _], Texts),
            ?assertMatch({match, _}, re:run(hd(Texts), "^Sockeye engine: its process .*" ++ Why)),
            %% A sanitizer keeps what was freed.
            ?assert(most_memory() - Before < ?MOST_BYTES orelse is_list(os:getenv("ASAN_OPTIONS"))),
            ?assert(is_pid(whereis(sockeye_sup)))
        end)
    end).

%% The address space that this process has ever had: what was asked for counts, whether it was used or not.
most_memory() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [Kb]} = re:run(Status, "VmPeak:\\s*([0-9]+) kB", [{capture, all_but_first, list}]),
    1024 * list_to_integer(Kb).
