%% An engine's process that says what makes no sense: the OS process is a node of Erlang.
-module(fake_engine).

-export([with/2]).
-export([main/1]).

%% A test with the path of an executable that misbehaves in this way.
with(How, Test) ->
    Folder = filename:join(os:getenv("TMPDIR", "/tmp"), "fake_engine_" ++ os:getpid() ++ "_" ++ integer_to_list(erlang:unique_integer([positive]))),
    ok = file:make_dir(Folder),
    Path = filename:join(Folder, "engine"),
    Erl = filename:join([code:root_dir(), "bin", "erl"]),
    Script = ["#!/bin/sh\nexec ", Erl, " +S 1:1 -boot start_clean -noshell -pa ", filename:dirname(code:which(?MODULE)),
              " -run fake_engine main ", atom_to_list(How), " \"$1\"\n"],
    ok = file:write_file(Path, Script),
    ok = file:change_mode(Path, 8#755),
    try Test(Path)
    after file:del_dir_r(Folder)
    end.

main([How, Path]) ->
    Secret = string:trim(io:get_line("")),
    64 = length(Secret),
    %% The node that started it is gone.
    Main = self(),
    _ = spawn(fun() -> eof = io:get_line(""), halt(0) end),
    start(list_to_atom(How), Path),
    receive {never, Main} -> ok end.

start(ends, _Path) ->
    io:put_chars("the sky is falling\n"),
    halt(3);
start(How, Path) ->
    {ok, Listener} = gen_tcp:listen(0, [{ifaddr, {local, Path}}, binary, {active, false}, {packet, 4}]),
    io:put_chars("ready\n"),
    {ok, Socket} = gen_tcp:accept(Listener),
    {ok, Hello} = gen_tcp:recv(Socket, 0),
    {sockeye_hello, 1, Version, _Secret} = binary_to_term(Hello),
    ok = gen_tcp:send(Socket, hello(How, Version)),
    serve(How, Socket).

hello(other_version, _) -> term_to_binary({sockeye_hello, 1, <<"9.8.7">>, #{}});
hello(refused_version, _) -> term_to_binary({sockeye_refused, {version, <<"9.8.7">>}});
hello(other_protocol, Version) -> term_to_binary({sockeye_hello, 77, Version, #{}});
hello(no_hello, _) -> <<"HTTP/1.1 200 OK">>;
hello(compressed_hello, Version) ->
    term_to_binary({sockeye_hello, 1, Version, #{zeros => lists:duplicate(1000000, 0)}}, [compressed]);
hello(_, Version) -> term_to_binary({sockeye_hello, 1, Version, #{os_pid => list_to_integer(os:getpid())}}).

serve(How, Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Packet} -> sections(Packet, How, Socket), serve(How, Socket);
        {error, closed} -> halt(0)
    end.

sections(<<1, Size:32, Body:Size/binary, Rest/binary>>, How, Socket) ->
    <<N:16, From:N/binary, Call/binary>> = Body,
    {Caller, Function, _Args} = binary_to_term(Call),
    call(Function, From, Caller, How, Socket),
    sections(Rest, How, Socket);
sections(<<6, 8:32, N:64, Rest/binary>>, How, Socket) ->
    How =:= silence orelse How =:= one_byte_a_second orelse section(Socket, 6, <<N:64>>),
    sections(Rest, How, Socket);
sections(<<_, Size:32, _:Size/binary, Rest/binary>>, How, Socket) ->
    sections(Rest, How, Socket);
sections(<<>>, _How, _Socket) ->
    ok.

call(engine_start, _From, _, endless_start, Socket) -> [section(Socket, 6, <<0:64>>) || _ <- lists:seq(1, 1000000)];
call(engine_start, From, _, _, Socket) -> answer(Socket, From, {return, ok});
call(engine_stop, From, _, _, Socket) -> answer(Socket, From, {return, ok});
%% What the test asks for when all is ready.
call(engine_info, From, Caller, How, Socket) -> misbehave(How, From, Caller, Socket);
call(Function, From, _, _, Socket) -> answer(Socket, From, {return, {error, {not_in_port_mode, Function}}}).

answer(Socket, From, Answer) ->
    answer_with(Socket, From, term_to_binary(Answer)).

answer_with(Socket, From, Bytes) ->
    section(Socket, 1, [<<(byte_size(From)):16>>, From, Bytes]).

section(Socket, Kind, Body) ->
    ok = gen_tcp:send(Socket, [<<Kind, (iolist_size(Body)):32>>, Body]).

misbehave(Fine, From, _, Socket) when Fine =:= fine; Fine =:= silence ->
    answer(Socket, From, {return, #{shards => 1}});
misbehave(length_2_gib, _, _, Socket) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    ok = gen_tcp:send(Socket, <<16#7fffffff:32, 0:8000>>);
misbehave(length_4_gib, _, _, Socket) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    ok = gen_tcp:send(Socket, <<16#ffffffff:32, 0:8000>>);
misbehave(packet_too_long, _, _, Socket) ->
    ok = gen_tcp:send(Socket, [<<7, 1048572:32>>, binary:copy(<<0>>, 1048572)]);
misbehave(section_too_long, _, _, Socket) ->
    ok = gen_tcp:send(Socket, <<6, 9:32, 0:64>>);
misbehave(half_a_section, _, _, Socket) ->
    ok = gen_tcp:send(Socket, <<6, 8:32, 0:64, 6, 8>>);
misbehave(unknown_kind, _, _, Socket) ->
    section(Socket, 77, <<>>);
misbehave(empty_batch, _, _, Socket) ->
    section(Socket, 3, <<>>);
misbehave(compressed_answer, From, _, Socket) ->
    answer_with(Socket, From, term_to_binary({return, lists:duplicate(2000000, 0)}, [compressed]));
misbehave(undecodable_answer, From, _, Socket) ->
    answer_with(Socket, From, <<131, 104, 2, 1, 2, 3>>);
misbehave(new_atom, From, _, Socket) ->
    answer_with(Socket, From, <<131, 104, 2, 119, 6, "return", 119, 22, "an_atom_that_is_no_one">>);
misbehave(long_list, From, _, Socket) ->
    answer_with(Socket, From, <<131, 108, 16#ffffffff:32, 97, 1>>);
misbehave(answer_to_nobody, _, _, Socket) ->
    answer(Socket, term_to_binary(nobody), {return, ok});
misbehave(answer_to_a_process, _, Caller, Socket) ->
    answer(Socket, term_to_binary(Caller), {return, ok});
misbehave(undecodable_message, _, _, Socket) ->
    section(Socket, 2, [<<1:64>>, <<131, 1>>]);
misbehave(undecodable_watch, _, _, Socket) ->
    section(Socket, 4, [<<1:64>>, <<131, 1>>]);
misbehave(undecodable_batch, _, Caller, Socket) ->
    watch(Socket, plain, Caller),
    section(Socket, 3, [<<1:64, 0, 0:32>>, <<131, 1>>]);
misbehave(compressed_batch, _, Caller, Socket) ->
    watch(Socket, plain, Caller),
    section(Socket, 3, [<<1:64, 0, 0:32>>, term_to_binary(lists:duplicate(2000000, 0), [compressed])]);
misbehave(odd_batch, _, Caller, Socket) ->
    watch(Socket, plain, Caller),
    section(Socket, 3, [<<1:64, 0, 0:32>>, term_to_binary([event])]);
misbehave(batch_without_events, _, Caller, Socket) ->
    watch(Socket, plain, Caller),
    section(Socket, 3, [<<1:64, 0, 9:32, 7:64, 1>>, term_to_binary([])]);
misbehave(batch_of_no_list, _, Caller, Socket) ->
    watch(Socket, plain, Caller),
    section(Socket, 3, [<<1:64, 0, 9:32, 7:64, 1>>, term_to_binary(#{})]);
misbehave(batch_of_no_shape, _, Caller, Socket) ->
    watch(Socket, plain, Caller),
    section(Socket, 3, [<<1:64, 0, 9:32, 7:64, 4>>, term_to_binary([event])]);
misbehave(heads_too_long, _, Caller, Socket) ->
    watch(Socket, plain, Caller),
    section(Socket, 3, [<<1:64, 0, 90:32, 7:64, 1>>, term_to_binary([event])]);
misbehave(pong_of_nothing, _, _, Socket) ->
    section(Socket, 6, <<1000:64>>);
%% To a process that does not come to take them.
misbehave(endless_batches, _, Caller, Socket) ->
    watch(Socket, handler, Caller),
    Batch = [<<1:64, 0, 9:32, 1:64, 3>>, term_to_binary([<<0:524288>>])],
    [section(Socket, 3, Batch) || _ <- lists:seq(1, 1000000)];
misbehave(endless_messages, _, Caller, Socket) ->
    watch(Socket, handler, Caller),
    Message = [<<1:64>>, term_to_binary(news)],
    Packet = lists:duplicate(5000, [<<2, (iolist_size(Message)):32>>, Message]),
    [gen_tcp:send(Socket, Packet) || _ <- lists:seq(1, 10000)];
misbehave(endless_large_messages, _, Caller, Socket) ->
    watch(Socket, handler, Caller),
    Message = [<<1:64>>, term_to_binary({news, binary:copy(<<"n">>, 500000)})],
    [section(Socket, 2, Message) || _ <- lists:seq(1, 100000)];
misbehave(endless_lines, _, _, _Socket) ->
    [io:put_chars("and so on\n") || _ <- lists:seq(1, 1000000)];
misbehave(one_byte_a_second, From, _, Socket) ->
    Answer = [<<(byte_size(From)):16>>, From, term_to_binary({return, ok})],
    Packet = [<<1, (iolist_size(Answer)):32>>, Answer],
    ok = inet:setopts(Socket, [{packet, raw}]),
    [begin ok = gen_tcp:send(Socket, <<Byte>>), receive after 1000 -> ok end end
     || <<Byte>> <= iolist_to_binary([<<(iolist_size(Packet)):32>>, Packet])];
misbehave(last_piece_of_nothing, _, _, Socket) ->
    section(Socket, 9, <<0:32, 6, 0:64>>);
misbehave(piece_of_a_piece, _, _, Socket) ->
    section(Socket, 8, <<0:32, 0>>),
    section(Socket, 9, <<0:32, 9, 0:64>>);
misbehave(too_many_streams, _, _, Socket) ->
    [section(Socket, 8, <<N:32, 0>>) || N <- lists:seq(1, 64)],
    section(Socket, 8, <<65:32, 0>>);
misbehave(pieces_without_end, _, _, Socket) ->
    Piece = [<<1:32>>, binary:copy(<<0>>, 262144)],
    %% Until it is ended for it.
    [section(Socket, 8, Piece) || _ <- lists:seq(1, 100000)];
misbehave(closes, _, _, Socket) ->
    ok = gen_tcp:close(Socket),
    receive after infinity -> ok end;
misbehave(exits, _, _, _) ->
    io:put_chars("I have had enough\n"),
    %% It is read before the end is told.
    receive after 100 -> halt(7) end.

watch(Socket, Role, Pid) ->
    section(Socket, 4, [<<1:64>>, term_to_binary({Role, Pid, 0})]).
