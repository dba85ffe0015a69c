%% Large payloads: they arrive as they were sent, whatever binary they stand in, and their memory is given back.
-module(sockeye_large_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

%% From this size on a payload that has arrived has a buffer of its own.
-define(LARGE, 16384).

sizes() ->
    [?LARGE - 1, ?LARGE, ?LARGE + 1, 65535, 65536, 131072, 1000000].

%% As a reply of a handler and by send/2, as text and as binary, many at a time.
echo_test_() ->
    [{lists:concat([How, " ", Format, " ", Size]), fun() ->
        test_support:with_handler(#{frame => answer(How)}, #{format => raw, send_queue_size => 16000000}, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            Payloads = [payload(Size, N) || N <- lists:seq(1, 5)],
            [ok = ws_client:Format(Socket, Payload) || Payload <- Payloads],
            [?assert({Format, Payload} =:= ws_client:recv(Socket)) || Payload <- Payloads]
        end)
    end} || Size <- sizes(), Format <- [text, binary], How <- [reply, send]].

answer(reply) -> fun(Frame, _Conn, State) -> {[{reply, Frame}], State} end;
answer(send) -> fun(Frame, Conn, State) -> ok = sockeye:send(Conn, Frame), {[], State} end.

payload(Size, N) ->
    binary:copy(<<($a + N)>>, Size).

%% Parts of binaries, also such as begin in the middle of a byte, io lists, and binaries that grow afterwards.
forms_test_() ->
    Whole = << <<(N rem 251)>> || N <- lists:seq(1, 100000) >>,
    Expected = binary:part(Whole, 1000, 70000),
    <<_:3, Shifted:70000/binary, _/bitstring>> = <<5:3, Expected/binary, 1:5>>,
    <<Head:30000/binary, Tail/binary>> = Expected,
    Grown = <<Head/binary, Tail/binary>>,
    [{Title, fun() ->
        test_support:with_server(#{format => raw}, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            Conn = test_support:opened(),
            ok = sockeye:send(Conn, {binary, Form}),
            %% A binary that others refer to may not be changed in place.
            _ = <<Form/binary, "more">>,
            ?assert({binary, Expected} =:= ws_client:recv(Socket))
        end)
    end} || {Title, Form} <- [{"part", Expected}, {"shifted", Shifted}, {"grown", Grown}]]
    ++ [{"iolist", fun() ->
        test_support:with_server(#{format => raw}, fun(Port, _) ->
            Socket = ws_client:connect(Port),
            Conn = test_support:opened(),
            ok = sockeye:send(Conn, {binary, [Head, [Tail]]}),
            ?assert({binary, Expected} =:= ws_client:recv(Socket))
        end)
    end}].

%% In the middle of a message in pieces, other messages wait for its end, also large ones.
beside_pieces_test() ->
    test_support:with_server(#{format => raw}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        Conn = test_support:opened(),
        Large = payload(70000, 1),
        ok = sockeye:send(Conn, {stream, text, first, <<"a">>}),
        ok = sockeye:send(Conn, {binary, Large}),
        ok = sockeye:send(Conn, {ping, <<"p">>}),
        ok = sockeye:send(Conn, {stream, text, last, <<"b">>}),
        ?assertEqual({fragment, 1, <<"a">>}, fragment(Socket)),
        ?assertEqual({ping, <<"p">>}, ws_client:recv(Socket)),
        ?assertEqual({fragment, 0, <<"b">>}, fragment(Socket)),
        ?assert({binary, Large} =:= ws_client:recv(Socket))
    end).

fragment(Socket) ->
    {ok, <<_Fin:1, 0:3, Opcode:4, 0:1, Length:7>>} = gen_tcp:recv(Socket, 2, 10000),
    {ok, Payload} = gen_tcp:recv(Socket, Length, 10000),
    {fragment, Opcode, Payload}.

%% Text is looked at as before.
not_utf8_test() ->
    test_support:with_server(#{format => raw}, fun(Port, _) ->
        _ = ws_client:connect(Port),
        Conn = test_support:opened(),
        ?assertEqual({error, not_utf8}, sockeye:send(Conn, {text, [payload(70000, 1), 255]})),
        ?assertEqual({error, not_utf8}, sockeye:send(Conn, {text, <<(payload(70000, 1))/binary, 255>>}))
    end).

%% What a handler keeps of what it has received stays as it is, and its memory is given back when it lets go of it.
kept_test() ->
    Self = self(),
    Keep = fun({binary, Payload}, _Conn, State) -> Self ! {payload, Payload}, {[], State} end,
    test_support:with_handler(#{frame => Keep}, #{format => raw, max_message_size => 2000000}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        Keeper = spawn_link(fun() -> keep([]) end),
        Sent = [payload(1000000, N) || N <- lists:seq(1, 20)],
        [begin
             ok = ws_client:binary(Socket, Payload),
             receive {payload, Got} -> Keeper ! {keep, Got} end
         end || Payload <- Sent],
        Keeper ! {show, self()},
        receive {kept, Kept} -> ?assert(Kept =:= lists:reverse(Sent)) end,
        Held = memory(),
        Keeper ! {forget, self()},
        receive forgotten -> ok end,
        siege:until(fun() -> Held - memory() > 15000000 orelse {Held, memory()} end)
    end).

keep(Payloads) ->
    receive
        {keep, Payload} -> keep([Payload | Payloads]);
        {show, To} -> To ! {kept, Payloads}, keep(Payloads);
        {forget, To} -> To ! forgotten, ended
    end.

%% Of the VM and of the library: either may have it.
memory() ->
    _ = [garbage_collect(Pid) || Pid <- processes()],
    {ok, #{memory := Ours}} = sockeye:info(),
    Ours + erlang:memory(binary).
