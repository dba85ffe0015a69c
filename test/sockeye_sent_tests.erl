%% What is sent: terms of every type, at sizes, through every call that takes some. What is right arrives at a client of
%% raw sockets as a reader that is none of ours expects it; what is wrong is refused, and nothing else happens.
-module(sockeye_sent_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-needs(codec).

-define(TIMEOUT, 60000).
-define(TOPIC, <<"topic">>).
%% Many terms are made between two frames, and what has arrived may still count as queued for a moment.
-define(PATIENT, ping_interval => infinity, idle_timeout => infinity, send_queue_size => 64 * 1024 * 1024).

%% Every way: what arrives of a good frame, and why a bad one is refused.
ways() ->
    [{Name, fun(Test) -> with_server(Call, Test) end} || {Name, Call} <- calls()] ++
    [{Name, fun(Test) -> with_handler(Command, Test) end} || {Name, Command} <- commands()] ++
    [{"sockeye_client:send", fun with_client/1}, {"codec server", fun(Test) -> with_codec(server, Test) end},
     {"codec client", fun(Test) -> with_codec(client, Test) end}].

calls() ->
    [{"send", fun(#{conn := Conn}, F) -> sockeye:send(Conn, F) end},
     {"send a list", fun(#{conn := Conn}, F) -> sockeye:send(Conn, [F]) end},
     {"send uncompressed", fun(#{conn := Conn}, F) -> sockeye:send(Conn, uncompressed(F)) end},
     {"send to a list", fun(#{conn := Conn}, F) -> sockeye:send([Conn], F) end},
     {"send_message", fun(#{server := Server}, F) -> sockeye:send_message(Server, F) end},
     {"broadcast", fun(#{server := Server}, F) -> sockeye:broadcast(Server, F) end},
     {"broadcast and wait", fun(#{server := Server}, F) -> sockeye:broadcast(Server, F, #{wait => true}) end},
     {"broadcast_from", fun(#{other := Other}, F) -> sockeye:broadcast_from(Other, F) end},
     {"publish", fun(#{server := Server}, F) -> sockeye:publish(Server, ?TOPIC, F) end},
     {"publish and wait", fun(#{server := Server}, F) -> sockeye:publish(Server, ?TOPIC, F, #{wait => true}) end},
     {"publish_from", fun(#{other := Other}, F) -> sockeye:publish_from(Other, ?TOPIC, F) end}].

commands() ->
    [{"{reply, F}", fun(_, F) -> {reply, F} end},
     {"{reply, [F]}", fun(_, F) -> {reply, [F]} end},
     {"{reply, {uncompressed, F}}", fun(_, F) -> {reply, uncompressed(F)} end},
     {"{send, Conn, F}", fun(Conn, F) -> {send, Conn, F} end},
     {"{broadcast, F}", fun(_, F) -> {broadcast, F} end},
     {"{publish, Topic, F}", fun(_, F) -> {publish, ?TOPIC, F} end}].

%% A control frame never is compressed, and must not be said not to be.
uncompressed({Kind, _} = Frame) when Kind =:= ping; Kind =:= pong -> Frame;
uncompressed(Frame) -> {uncompressed, Frame}.

with_server(Call, Test) ->
    test_support:with_server(#{active => true, ?PATIENT}, fun(Port, Server) ->
        {Socket, Conn} = test_support:open(Port),
        {OtherSocket, Other} = test_support:open(Port),
        ok = sockeye:subscribe(Conn, ?TOPIC),
        drained(OtherSocket),
        World = #{server => Server, conn => Conn, other => Other},
        Test(fun(Frame) ->
                 case Call(World, Frame) of
                     ok -> ok;
                     {ok, #{dropped := 0}} -> ok
                 end,
                 ws_client:recv(Socket, ?TIMEOUT)
             end,
             fun(Frame) -> refused(fun() -> Call(World, Frame) end) end)
    end).

drained(Socket) ->
    Pid = spawn_link(fun Drain() ->
        case gen_tcp:recv(Socket, 0) of
            {ok, _} -> Drain();
            {error, _} -> ok
        end
    end),
    ok = gen_tcp:controlling_process(Socket, Pid).

refused(Call) ->
    try Call() of
        {error, Reason} -> tag(Reason)
    catch error:badarg -> badarg
    end.

tag({not_json, _, <<"$", _/binary>>}) -> not_json;
tag(Reason) -> Reason.

%% A process of its own, which does what it is told.
with_handler(Command, Test) ->
    Self = self(),
    Open = fun(Conn, _, S) -> Self ! {open, self(), Conn}, {[{subscribe, ?TOPIC}], S} end,
    Info = fun({do, Commands}, S) -> {Commands, S} end,
    Error = fun(Why, _, S) -> Self ! {failed, Why}, {[], S} end,
    test_support:with_handler(#{open => Open, info => Info, error => Error}, #{processes => per_connection, ?PATIENT}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        {Handler, Conn} = receive {open, H, C} -> {H, C} after ?TIMEOUT -> error(not_open) end,
        test_support:quiet(fun() ->
            Test(fun(Frame) -> Handler ! {do, [Command(Conn, Frame)]}, ws_client:recv(Socket, ?TIMEOUT) end,
                 fun(Frame) ->
                     Handler ! {do, [Command(Conn, Frame)]},
                     receive
                         {failed, {_, {bad_command, _}}} -> badarg;
                         {failed, {_, Reason}} -> tag(Reason)
                     after ?TIMEOUT -> error(not_told)
                     end
                 end)
        end)
    end).

with_client(Test) ->
    Self = self(),
    Serve = fun(Socket) ->
        Accept = raw_server:accept(raw_server:head(Socket)),
        raw_server:say(Socket, ["HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Accept: ", Accept, "\r\n\r\n"]),
        read(Socket, <<>>, Self)
    end,
    raw_server:with(Serve, fun(Port) ->
        {ok, Conn} = sockeye_client:connect("ws://127.0.0.1:" ++ integer_to_list(Port), #{?PATIENT}),
        Test(fun(Frame) ->
                 ok = sockeye_client:send(Conn, Frame),
                 receive {frame, Got} -> Got after ?TIMEOUT -> error(no_frame) end
             end,
             fun(Frame) -> refused(fun() -> sockeye_client:send(Conn, Frame) end) end)
    end).

read(Socket, Bytes, To) ->
    case frame(Bytes) of
        {Frame, Rest} -> To ! {frame, Frame}, read(Socket, Rest, To);
        Missing ->
            case gen_tcp:recv(Socket, Missing) of
                {ok, More} -> read(Socket, <<Bytes/binary, More/binary>>, To);
                {error, _} -> ok
            end
    end.

with_codec(Role, Test) ->
    {ok, Codec} = sockeye_codec:new(Role),
    Encode = fun(Frame) -> sockeye_codec:encode(Codec, Frame) end,
    Test(fun(Frame) ->
             {ok, Bytes} = Encode(Frame),
             {Got, <<>>} = frame(iolist_to_binary(Bytes)),
             Got
         end,
         fun(Frame) -> refused(fun() -> Encode(Frame) end) end).

%% One frame and what follows it, or how many bytes are missing (0: some).
frame(<<1:1, 0:3, Op:4, Masked:1, Length:7, Rest/binary>>) ->
    Extended = case Length of 126 -> 16; 127 -> 64; _ -> 0 end,
    case Rest of
        <<N:Extended, Mask:(4 * Masked)/binary, Payload/binary>> ->
            Size = case Extended of 0 -> Length; _ -> N end,
            case Payload of
                <<Whole:Size/binary, More/binary>> -> {{kind(Op), unmasked(Whole, Mask)}, More};
                _ -> Size - byte_size(Payload)
            end;
        _ -> 0
    end;
frame(_) ->
    0.

kind(1) -> text;
kind(2) -> binary;
kind(9) -> ping;
kind(10) -> pong.

unmasked(Bytes, <<>>) -> Bytes;
unmasked(Bytes, Mask) ->
    Size = byte_size(Bytes),
    crypto:exor(Bytes, binary:part(binary:copy(Mask, Size div 4 + 1), 0, Size)).

%% JSON texts are what they should be; then each way sends the same ones.
json_test_() ->
    {timeout, 600, fun() ->
        [begin
             {ok, Text} = sockeye_json:encode(Term),
             ?assertEqual({Title, true}, {Title, plain_json:is_of(Term, plain_json:read(Text))})
         end || {Title, Term} <- sent_terms:json()],
        [?assertEqual({Title, not_json}, {Title, refused(fun() -> sockeye_json:encode(Term) end)})
         || {Title, Term} <- sent_terms:not_json()]
    end}.

every_way_test_() ->
    {setup,
     fun() ->
         Written = [{Title, Term, element(2, {ok, _} = sockeye_json:encode(Term))} || {Title, Term} <- sent_terms:json()],
         %% Made once, and copied into no process.
         persistent_term:put(?MODULE, {Written, sent_terms:not_json(), sent_terms:payloads()})
     end,
     fun(_) -> persistent_term:erase(?MODULE) end,
     [{Name, {timeout, 600, fun() -> With(fun(Arrives, Refused) -> every_frame(N, Arrives, Refused) end) end}}
      || {N, {Name, With}} <- lists:zip(lists:seq(1, length(ways())), ways())]}.

%% A quarter of the terms, another one for the next way.
every_frame(Way, Arrives, Refused) ->
    {Written, NotJson, Payloads} = list_to_tuple([test_support:slice(4, Way, Terms) || Terms <- tuple_to_list(persistent_term:get(?MODULE))]),
    [is(Title, {text, Text}, Arrives({json, Term})) || {Title, Term, Text} <- Written],
    is("a map alone", {text, <<"{\"a\":1}">>}, Arrives(#{a => 1})),
    [is([Title, " as ", atom_to_list(Kind)], {Kind, iolist_to_binary(IoData)}, Arrives({Kind, IoData}))
     || {Title, IoData} <- Payloads, Kind <- [text, binary]],
    [is(atom_to_list(Kind), {Kind, Payload}, Arrives({Kind, Make(Size)}))
     || Kind <- [ping, pong], Size <- [0, 1, 124, 125], Payload <- [binary:copy(<<"x">>, Size)],
        Make <- [fun sent_terms:part/1, fun sent_terms:crooked/1, fun(N) -> lists:duplicate(N, $x) end]],
    [?assertEqual({Title, not_json}, {Title, Refused({json, Term})}) || {Title, Term} <- NotJson],
    [?assertEqual({Title, Kind, badarg}, {Title, Kind, Refused({Kind, Term})})
     || {{Title, Term}, Kind} <- test_support:slice(3, Way, [{T, Kind} || T <- sent_terms:not_payloads(), Kind <- [text, binary, ping, pong]])],
    [?assertEqual({Kind, badarg}, {Kind, Refused({Kind, Make()})})
     || {Kind, Make} <- test_support:slice(3, Way, [{Kind, Make} || Kind <- [ping, pong], Make <- large_controls()])],
    [?assertEqual({text, not_utf8}, {text, Refused({text, Payload})})
     || Payload <- [<<255>>, [255], <<(binary:copy(<<"x">>, 1000000))/binary, 255>>, [lists:duplicate(100000, $x), 16#c3]]],
    %% All is well afterwards.
    is("at the end", {text, <<"end">>}, Arrives({text, <<"end">>})).

large_controls() ->
    [fun() -> binary:copy(<<"x">>, 126) end, fun() -> sent_terms:part(126) end, fun() -> lists:duplicate(126, $x) end,
     fun() -> binary:copy(<<"x">>, 64000000) end, fun() -> lists:duplicate(1000000, <<"x">>) end].

%% Not compared by assertEqual, which would print megabytes.
is(Title, Expected, Got) ->
    Expected =:= Got orelse is_same(Expected, Got) orelse error({differs, lists:flatten(Title), short(Expected), short(Got)}).

%% The keys of a large map come in no order, and in another one from another process.
is_same({text, <<"{", _/binary>> = Expected}, {text, <<"{", _/binary>> = Got}) ->
    byte_size(Expected) =:= byte_size(Got) andalso sockeye_json:decode(Expected) =:= sockeye_json:decode(Got);
is_same(_, _) ->
    false.

short({Kind, Payload}) -> {Kind, byte_size(Payload), binary:part(Payload, 0, min(80, byte_size(Payload)))};
short(Other) -> Other.

%% Names of topics: 1 to 255 bytes, whatever they are cut from.
topics_test_() ->
    {timeout, 120, fun() ->
        test_support:with_server(#{active => true, name => sent_topics}, fun(Port, Server) ->
            {Socket, Conn} = test_support:open(Port),
            [begin
                 Topic = Make(Size),
                 ok = sockeye:subscribe(Conn, Topic),
                 ok = sockeye_pubsub:subscribe(Server, Topic),
                 ok = sockeye:publish(Server, binary:copy(Topic), {text, <<"here">>}),
                 ?assertEqual({text, <<"here">>}, ws_client:recv(Socket)),
                 ?assertEqual(Topic, receive {sockeye_pubsub, T, {text, <<"here">>}} -> T after ?TIMEOUT -> none end),
                 ?assertEqual({ok, [Conn]}, sockeye:subscribers(Server, Topic)),
                 ?assertEqual({ok, #{Topic => 1}}, sockeye:topics(Server)),
                 ok = sockeye_pubsub:unsubscribe(Server, Topic),
                 ok = sockeye:unsubscribe(Conn, Topic)
             end || Size <- [1, 64, 65, 254, 255], Make <- [fun sent_terms:part/1, fun sent_terms:crooked/1]],
            Wrong = [<<>>, binary:copy(<<"x">>, 256), sent_terms:part(256), sent_terms:crooked(256), sent_terms:crooked(1000000),
                     binary:copy(<<"x">>, 64000000) | [T || T <- odd_terms:all(), not is_topic(T)]],
            [?assertEqual({N, badarg}, {N, refused(fun() -> Call(Topic) end)})
             || {N, Call} <- [{1, fun(T) -> sockeye:subscribe(Conn, T) end}, {2, fun(T) -> sockeye:unsubscribe(Conn, T) end},
                              {3, fun(T) -> sockeye:publish(Server, T, #{}) end},
                              {4, fun(T) -> sockeye:publish_from(Conn, T, #{}) end},
                              {5, fun(T) -> sockeye:subscribers(Server, T) end},
                              {6, fun(T) -> sockeye_pubsub:subscribe(Server, T) end},
                              {7, fun(T) -> sockeye_presence:track(Conn, T, key, meta) end},
                              {8, fun(T) -> sockeye_presence:list(Server, T) end}],
                Topic <- Wrong],
            ?assertEqual({ok, #{}}, sockeye:topics(Server))
        end)
    end}.

is_topic(T) -> is_binary(T) andalso T =/= <<>> andalso byte_size(T) =< 255.

%% Reasons of Close frames: UTF-8 of at most 123 bytes.
reasons_test_() ->
    Ways = [{"close/3", fun(Conn, R) -> sockeye:close(Conn, 4000, R) end},
            {"send", fun(Conn, R) -> sockeye:send(Conn, {close, 4000, R}) end},
            {"send a list", fun(Conn, R) -> sockeye:send(Conn, [{text, <<"x">>}, {close, 4000, R}]) end}],
    Good = [Make(Size) || Size <- [0, 1, 64, 123], Make <- [fun sent_terms:part/1, fun sent_terms:crooked/1,
                                                            fun(N) -> lists:duplicate(N, $x) end]]
        ++ [[<<"a">>, [$b | <<"c">>]], <<16#1f600/utf8>>],
    Bad = [binary:copy(<<"x">>, 124), sent_terms:part(124), lists:duplicate(124, $x), lists:duplicate(1000000, $x),
           binary:copy(<<"x">>, 64000000), <<255>>, [$a | $b]
           | [T || T <- odd_terms:all(), not is_reason(T)]],
    [{Name, {timeout, 120, fun() ->
        test_support:with_server(#{active => true}, fun(Port, _) ->
            [begin
                 {Socket, Conn} = test_support:open(Port),
                 ok = Close(Conn, Reason),
                 ?assertEqual({4000, iolist_to_binary(Reason)}, ws_client:recv_close(Socket)),
                 _ = test_support:closed(Conn)
             end || Reason <- Good],
            {Socket, Conn} = test_support:open(Port),
            [?assertEqual(badarg, refused(fun() -> Close(Conn, Reason) end)) || Reason <- Bad],
            ok = sockeye:send(Conn, {text, <<"still here">>}),
            ?assertEqual({text, <<"still here">>}, ws_client:recv(Socket))
        end)
    end}} || {Name, Close} <- Ways].

is_reason(T) ->
    try byte_size(iolist_to_binary(T)) =< 123 andalso is_list(unicode:characters_to_list(iolist_to_binary(T)))
    catch error:badarg -> false
    end.

%% What functions of `http' answer: bodies and headers as they came, or 500.
http_answers_test_() ->
    {timeout, 120, fun() ->
        Given = ets:new(given, [public]),
        Answer = fun(_) -> [{_, Result}] = ets:lookup(Given, answer), Result end,
        test_support:with_server(#{http => #{"/x" => Answer}}, fun(Port, _) ->
            Get = fun(Result) -> ets:insert(Given, {answer, Result}), http_client:get(Port, "/x") end,
            [begin
                 {200, Headers, Body} = Get({200, [{["x-", <<"a">>], [sent_terms:part(100), $b | <<"c">>]}], IoData}),
                 is(Title, iolist_to_binary(IoData), Body),
                 ?assertEqual(<<(binary:copy(<<"x">>, 100))/binary, "bc">>, proplists:get_value(<<"x-a">>, Headers))
             end || {Title, IoData} <- sent_terms:payloads()],
            Many = [{<<"x-", (integer_to_binary(N))/binary>>, integer_to_binary(N)} || N <- lists:seq(1, 1000)],
            {200, All, <<>>} = Get({200, Many, <<>>}),
            ?assertEqual([], Many -- All),
            test_support:quiet(fun() ->
                [?assertMatch({_, {500, _, _}}, {Title, Get({200, [], Term})}) || {Title, Term} <- sent_terms:not_payloads()],
                [?assertMatch({_, {500, _, _}}, {Title, Get({200, [{<<"x-a">>, Term}], <<>>})})
                 || {Title, Term} <- sent_terms:not_payloads()],
                [?assertMatch({_, {500, _, _}}, {Title, Get({200, [{Term, <<"x">>}], <<>>})})
                 || {Title, Term} <- sent_terms:not_payloads()],
                [?assertMatch({500, _, _}, Get({200, Headers, <<>>}))
                 || Headers <- [[{<<"x-1001">>, <<>>} | Many], Many ++ x, [{sent_terms:part(1025), <<>>}], #{}, [a], [{<<"a b">>, <<>>}],
                                [{<<"x">>, <<"a\r\nb: c">>}], [{<<"x">>, <<255>>}]]],
                [?assertMatch({500, _, _}, Get(Term)) || Term <- odd_terms:all()]
            end),
            ?assertMatch({204, _, <<>>}, Get({204, [], []}))
        end)
    end}.

%% What accept/2 gives: headers of the 101, and a state that is the handler's, of any kind.
accepted_test_() ->
    {timeout, 120, fun() ->
        Given = ets:new(given, [public]),
        Self = self(),
        Accept = fun(_) -> [{_, Result}] = ets:lookup(Given, answer), {accept, Result} end,
        Open = fun(_, #{state := State}, S) -> Self ! {state, State}, {[], S};
                  (_, _, S) -> {[], S} end,
        Handler = {accept_handler, #{accept => Accept, open => Open}},
        test_support:with_server(#{handler => Handler}, fun(Port, _) ->
            Ask = fun(Result) ->
                ets:insert(Given, {answer, Result}),
                {ok, Status, Headers, Socket} = ws_client:handshake(Port, #{}),
                ws_client:drop(Socket),
                {Status, Headers}
            end,
            [begin
                 {101, _} = Ask(#{state => State}),
                 ?assertEqual({Title, true}, {Title, receive {state, Got} -> Got =:= State after ?TIMEOUT -> none end})
             end || {Title, State} <- states()],
            {101, Headers} = Ask(#{headers => [{["x-", <<"a">>], [sent_terms:part(1000), $b | <<"c">>]}]}),
            ?assertEqual(<<(binary:copy(<<"x">>, 1000))/binary, "bc">>, proplists:get_value(<<"x-a">>, Headers)),
            test_support:quiet(fun() ->
                [?assertMatch({_, {500, _}}, {Title, Ask(#{headers => [{<<"x-a">>, Term}]})})
                 || {Title, Term} <- sent_terms:not_payloads()],
                [?assertMatch({_, {500, _}}, {Term, Ask(#{subprotocol => Term})})
                 || Term <- odd_terms:all(), Term =/= undefined]
            end),
            {101, _} = Ask(#{})
        end)
    end}.

%% Funs, pids, references and ports too: they are for the same node.
states() ->
    [{"one of the odd", Term} || Term <- odd_terms:all()] ++
    [{Title, Term} || {Title, Term} <- sent_terms:not_json(), not is_vast(Title)] ++
    [{"part of a binary", sent_terms:part(1000)}, {"crooked", sent_terms:crooked(1000)}].

%% 4 MB, copied several times.
is_vast(Title) -> string:find(Title, "9,000,000") =/= nomatch.

%% Headers of a client's request.
client_headers_test_() ->
    {timeout, 120, fun() ->
        test_support:with_server(#{active => true, max_header_size => 65536}, fun(Port, _) ->
            Url = "ws://127.0.0.1:" ++ integer_to_list(Port),
            [begin
                 {ok, Conn} = sockeye_client:connect(Url, #{headers => Headers}),
                 Open = receive {sockeye, C, {open, Info}} when C =/= Conn -> Info after ?TIMEOUT -> error(not_open) end,
                 ?assertEqual(<<(binary:copy(<<"x">>, Size))/binary, "bc">>, proplists:get_value(<<"x-a">>, maps:get(headers, Open))),
                 ok = sockeye_client:close(Conn)
             end || Size <- [0, 1, 100, 60000], Value <- [[sent_terms:part(Size), $b | <<"c">>], [sent_terms:crooked(Size), "bc"]],
                    Headers <- [[{<<"x-a">>, Value}], [{["x-" | <<"a">>], Value}]]],
            [?assertMatch({_, {error, {bad_option, headers, _}}}, {Title, sockeye_client:connect(Url, #{headers => [Pair]})})
             || {Title, Term} <- sent_terms:not_payloads(), Pair <- [{<<"x-a">>, Term}, {Term, <<"x">>}]],
            [?assertMatch({error, {bad_option, headers, _}}, sockeye_client:connect(Url, #{headers => Term}))
             || Term <- odd_terms:all(), not is_headers(Term)]
        end)
    end}.

is_headers([]) -> true;
is_headers([{Name, Value}]) -> lists:all(fun(T) -> is_list(T) orelse is_binary(T) end, [Name, Value]);
is_headers(_) -> false.

%% Keys and metas of presence are terms of any kind. A large one is compared with others where it is a key.
presence_test_() ->
    {timeout, 120, fun() ->
        test_support:with_server(#{active => true, name => sent_presence}, fun(Port, Server) ->
            {_, Conn} = test_support:open(Port),
            Metas = lists:enumerate([T || {_, T} <- states()]),
            Entries = [{T, T} || T <- maps:keys(maps:from_list([{T, x} || T <- odd_terms:all()]))]
                ++ [{{key, N}, T} || {N, T} <- Metas],
            List = fun(Change) -> {ok, maps:from_list([{Key, [Change(Meta)]} || {Key, Meta} <- Entries])} end,
            [ok = sockeye_presence:track(Conn, ?TOPIC, Key, Meta) || {Key, Meta} <- Entries],
            ?assert(List(fun(Meta) -> Meta end) =:= sockeye_presence:list(Server, ?TOPIC)),
            [ok = sockeye_presence:update(Conn, ?TOPIC, Key, {Meta}) || {Key, Meta} <- Entries],
            ?assert(List(fun(Meta) -> {Meta} end) =:= sockeye_presence:list(Server, ?TOPIC)),
            [ok = sockeye_presence:untrack(Conn, ?TOPIC, Key) || {Key, _} <- Entries],
            ?assertEqual({ok, #{}}, sockeye_presence:list(Server, ?TOPIC))
        end)
    end}.

%% Headers at their bounds: of a name, a value, all of them, and how many.
bounds_of_headers_test() ->
    X = fun(N) -> binary:copy(<<"x">>, N) end,
    Sixteen = fun(Last) -> [{<<"a">>, X(65535)} || _ <- lists:seq(1, 15)] ++ [{<<"a">>, X(Last)}] end,
    Cases = [{true, [{X(1023), <<>>}]}, {true, [{X(1024), <<>>}]}, {false, [{X(1025), <<>>}]},
             {true, [{<<"a">>, X(65535)}]}, {true, [{<<"a">>, X(65536)}]}, {false, [{<<"a">>, X(65537)}]},
             {true, Sixteen(65534)}, {true, Sixteen(65535)}, {false, Sixteen(65536)},
             {true, lists:duplicate(999, {<<"a">>, <<>>})}, {true, lists:duplicate(1000, {<<"a">>, <<>>})},
             {false, lists:duplicate(1001, {<<"a">>, <<>>})}],
    [begin
         ?assertEqual({N, Good}, {N, element(1, sockeye_decision:response({200, Headers, <<>>})) =:= ok}),
         ?assertEqual({N, Good}, {N, element(1, sockeye_codec:request(#{host => "a", headers => Headers})) =:= ok}),
         ?assertEqual({N, Good}, {N, sockeye_client:connect("ws://127.0.0.1:1", #{headers => Headers}) =:= {error, econnrefused}})
     end || {N, {Good, Headers}} <- lists:enumerate(Cases)].

%% URLs, and what the codec asks for.
bounds_of_urls_test() ->
    Path = fun(N) -> [$/ | lists:duplicate(N - 1, $x)] end,
    Url = fun(N) -> "ws://127.0.0.1:1" ++ Path(N - 16) end,
    [?assertEqual({N, Good}, {N, element(1, sockeye_codec:request(#{host => "a", path => Make(N)})) =:= ok})
     || {N, Good} <- [{8191, true}, {8192, true}, {8193, false}],
        Make <- [Path, fun(M) -> list_to_binary(Path(M)) end, fun(M) -> [[$/], [list_to_binary(tl(Path(M)))]] end]],
    [?assertEqual({N, Result}, {N, sockeye_client:connect(Url(N))})
     || {N, Result} <- [{8191, {error, econnrefused}}, {8192, {error, econnrefused}},
                        {8193, {error, {bad_url, <<"longer than 8192 bytes">>}}}]].

%% Whatever scheduler sets them.
many_options_test() ->
    test_support:with_server(#{active => false}, fun(Port, _) ->
        {Socket, Conn} = test_support:open(Port),
        [begin
             ok = sockeye:setopts(Conn, lists:duplicate(N - 1, {idle_timeout, infinity}) ++ [{active, 1}]),
             ok = ws_client:text(Socket, <<"1">>),
             {json, 1} = test_support:event(Conn),
             passive = test_support:event(Conn),
             ?assertError(badarg, sockeye:setopts(Conn, lists:duplicate(N - 1, {idle_timeout, infinity}) ++ [{active, a}])),
             ?assertError(badarg, sockeye:setopts(Conn, lists:duplicate(N, {idle_timeout, infinity}) ++ a))
         end || N <- [1, 63, 64, 65, 1000]]
    end).
