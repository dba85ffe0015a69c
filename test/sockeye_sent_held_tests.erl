%% What is sent may be huge: no call holds a scheduler for it, and nothing keeps a large binary of which only a part was sent.
-module(sockeye_sent_held_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).
-only_in({nif, all}).

-define(TIMEOUT, 60000).
-define(HUGE, 64 * 1024 * 1024).
%% Far more than a call may take, so that one that does not give way is seen on any machine.
-define(HELD_MS, 50).
-define(TERMS, sockeye_sent_held).

%% Calls into the library that are for normal schedulers must not take on what is huge: a dirty twin does, or they refuse. And
%% whatever else a call does, no process is on a scheduler for long.
not_held_test_() ->
    {setup,
     fun() ->
         %% As literals they are not copied into the processes that use them, nor moved about there.
         persistent_term:put(?TERMS, huge()),
         {ok, Server} = sockeye:start_link(#{port => 0, name => ?TERMS, handler => {bare_handler, []}}),
         Server
     end,
     fun(Server) ->
         ok = sockeye:stop(Server),
         persistent_term:erase(?TERMS)
     end,
     fun(Server) ->
         [{lists:flatten([Name, ", ", What]), {timeout, 240, fun() -> not_held(Server, Call, What) end}}
          || {Name, What, Call} <- a_third([{Name, What, Call} || {Name, Kind, Call} <- calls(), What <- maps:keys(huge_of(Kind))])]
     end}.

%% Of each call and of each term.
a_third(Cases) -> test_support:slice(3, 0, Cases).

huge() ->
    Binary = binary:copy(<<"x">>, ?HUGE),
    Ints = lists:seq(1, 2000000),
    Map = maps:from_list([{I, I} || I <- lists:seq(1, 1000000)]),
    #{"binary" => Binary, "part" => binary:part(Binary, 1, ?HUGE - 2),
      "list of bytes" => binary_to_list(binary:part(Binary, 0, 2000000)),
      "list of binaries" => lists:duplicate(1000000, <<"x">>), "binary in lists" => [[[Binary]]],
      "wrong at the end" => lists:duplicate(2000000, $x) ++ [atom], "improper" => lists:duplicate(2000000, $x) ++ atom,
      "integers" => Ints, "map" => Map, "mixed map" => Map#{<<"1">> => 1}, "pairs" => {[{I, I} || I <- lists:seq(1, 1000000)]},
      "big integer" => big(), "not json" => Ints ++ [self()], "raw" => {json_raw, ["\"", Binary, "\""]},
      "nested" => lists:foldl(fun(_, T) -> [T] end, 1, lists:seq(1, 2000000))}.

%% The compiler would make it.
big() -> binary:decode_unsigned(binary:copy(<<255>>, 4000000)).

huge_of(Kind) ->
    Names = case Kind of
                iodata -> ["binary", "part", "list of bytes", "list of binaries", "binary in lists", "wrong at the end", "improper", "nested"];
                json -> ["binary", "integers", "map", "mixed map", "pairs", "big integer", "not json", "raw", "nested", "improper"];
                any -> ["binary", "list of bytes", "integers", "map", "improper", "nested", "big integer"]
            end,
    maps:from_list([{Name, true} || Name <- Names]).

calls() ->
    [{"send text", iodata, fun(#{conn := C}, T) -> sockeye:send(C, {text, T}) end},
     {"send binary", iodata, fun(#{conn := C}, T) -> sockeye:send(C, {binary, T}) end},
     {"send stream", iodata, fun(#{conn := C}, T) -> sockeye:send(C, [{stream, binary, first, T}, {stream, binary, last, T}]) end},
     {"send ping", iodata, fun(#{conn := C}, T) -> sockeye:send(C, {ping, T}) end},
     {"send json", json, fun(#{conn := C}, T) -> sockeye:send(C, {json, T}) end},
     {"send json in vain", json, fun(#{conn := C}, T) -> sockeye:send(C, [{json, T}, {json, self()}]) end},
     {"send to a list", json, fun(#{conn := C}, T) -> sockeye:send([C], {json, T}) end},
     {"broadcast", json, fun(#{server := S}, T) -> sockeye:broadcast(S, {json, T}) end},
     {"broadcast binary", iodata, fun(#{server := S}, T) -> sockeye:broadcast(S, {binary, T}) end},
     {"publish", json, fun(#{server := S}, T) -> sockeye:publish(S, <<"t">>, {json, T}) end},
     {"topic", any, fun(#{server := S}, T) -> sockeye:publish(S, T, #{}) end},
     {"subscribe", any, fun(#{conn := C}, T) -> sockeye:subscribe(C, T) end},
     {"close", iodata, fun(#{conn := C}, T) -> sockeye:close(C, 1000, T) end},
     {"setopts", any, fun(#{conn := C}, T) -> sockeye:setopts(C, T) end},
     {"setopts of many", any, fun(#{conn := C}, _) -> sockeye:setopts(C, lists:duplicate(1000000, {active, 1})) end},
     {"conn", any, fun(_, T) -> sockeye:send(T, #{}) end},
     {"command", json, fun(#{conn := C}, T) -> sockeye_commands:flush([{json, T}, C], false, 0) end},
     {"json encode", json, fun(_, T) -> sockeye_json:encode(T) end},
     {"json decode", iodata, fun(_, T) -> sockeye_json:decode(T) end},
     {"codec text", iodata, fun(#{codec := C}, T) -> sockeye_codec:encode(C, {text, T}) end},
     {"codec json", json, fun(#{codec := C}, T) -> sockeye_codec:encode(C, {json, T}) end},
     {"codec decode", iodata, fun(#{codec := C}, T) -> sockeye_codec:decode(C, T) end},
     {"codec request", iodata, fun(_, T) -> sockeye_codec:request(#{host => "a", headers => [{"x", T}]}) end},
     {"codec request path", iodata, fun(_, T) -> sockeye_codec:request(#{host => "a", path => T}) end},
     {"codec response", iodata, fun(#{handshake := H}, T) -> sockeye_codec:check_response(H, T) end},
     {"codec check", iodata, fun(_, T) -> sockeye_codec:check_request(T) end},
     {"codec accept", iodata, fun(_, T) -> sockeye_codec:accept(T) end},
     {"codec reject", iodata, fun(_, T) -> sockeye_codec:reject(403, [{"x", "y"}], T) end},
     {"codec reject headers", iodata, fun(_, T) -> sockeye_codec:reject(403, [{"x", T}], "") end},
     {"url", iodata, fun(_, T) -> sockeye_client:connect(T) end},
     {"proxy", iodata, fun(_, T) -> sockeye_client:connect("ws://127.0.0.1:1", #{proxy => T}) end},
     {"client headers", iodata, fun(_, T) -> sockeye_client:connect("ws://127.0.0.1:1", #{headers => [{"x", T}]}) end},
     {"http answer", iodata, fun(#{id := Id}, T) -> answered(Id, {200, [], T}) end},
     {"http header", iodata, fun(#{id := Id}, T) -> answered(Id, {200, [{"x", T}], <<>>}) end}].

%% As a function of `http' answers; nobody waits for it.
answered(Id, Answer) ->
    {ok, Decision} = sockeye_decision:response(Answer),
    sockeye_nif:answer(Id, 0, Decision).

not_held(Server, Call, What) ->
    Socket = ws_client:connect(test_support:port(Server)),
    hostile_client:settled(Server, 1),
    {ok, _, Handshake} = sockeye_codec:request(#{host => "a"}),
    {ok, Codec} = sockeye_codec:new(server),
    {ok, [Conn]} = sockeye:connections(Server),
    {ok, {_, Id, _}} = sockeye_engine:find(Server),
    World = #{server => Server, id => Id, conn => Conn, codec => Codec, handshake => Handshake},
    Run = fun() -> test_support:attempt(fun() -> Call(World, maps:get(What, persistent_term:get(?TERMS))) end) end,
    try
        ?assertEqual([], takes_on(Run)),
        %% A machine that is busy with other things stops threads, too, but hardly each time.
        is_quick(Run, 4)
    after
        ws_client:drop(Socket),
        hostile_client:settled(Server, 0)
    end.

%% The calls for normal schedulers that have done what is huge, instead of leaving it to another one.
takes_on(Run) ->
    Go = make_ref(),
    {Pid, Monitor} = spawn_monitor(fun() -> receive Go -> Run() end end),
    1 = erlang:trace(Pid, true, [call, arity]),
    _ = erlang:trace_pattern({sockeye_nif, '_', '_'}, [{'_', [], [{return_trace}]}], [local]),
    Pid ! Go,
    receive {'DOWN', Monitor, process, Pid, _} -> ok after 200000 -> error(too_slow) end,
    Delivered = erlang:trace_delivered(Pid),
    receive {trace_delivered, Pid, Delivered} -> ok end,
    _ = erlang:trace_pattern({sockeye_nif, '_', '_'}, false, [local]),
    returns(Pid).

returns(Pid) ->
    receive
        {trace, Pid, return_from, {_, Function, _}, Result} ->
            [Function || has_done(Result), is_large(Function)] ++ returns(Pid);
        {trace, Pid, call, _} ->
            returns(Pid)
    after 0 -> []
    end.

%% Calls whose work grows with what they are given.
is_large(Function) ->
    lists:member(Function, [send, send_list, publish, encode_frame, commands, json_encode, json_decode, codec_encode,
                            codec_decode, setopts]).

has_done(ok) -> true;
has_done({ok, _}) -> true;
has_done({ok, _, _}) -> true;
has_done(Bytes) when is_binary(Bytes) -> true;
has_done(_) -> false.

is_quick(Run, Tries) ->
    case held(Run) of
        [] -> ok;
        _ when Tries > 1 -> is_quick(Run, Tries - 1);
        Held -> error({held, Held})
    end.

held(Run) ->
    Go = make_ref(),
    {Pid, Monitor} = spawn_monitor(fun() -> receive Go -> Run() end end),
    Before = erlang:system_monitor(self(), [{long_schedule, ?HELD_MS}]),
    Pid ! Go,
    receive {'DOWN', Monitor, process, Pid, _} -> ok after 200000 -> error(too_slow) end,
    _ = erlang:system_monitor(Before),
    reports(Pid).

reports(Pid) ->
    receive
        {monitor, Pid, long_schedule, Info} -> [Info | reports(Pid)];
        {monitor, _, long_schedule, _} -> reports(Pid)
    after 0 -> []
    end.

%% The engine has copies of its own, or nothing: when the caller is done, the large binary is gone.
not_kept_test_() ->
    Part = fun() -> binary:part(binary:copy(<<"x">>, ?HUGE), 1000, 100) end,
    [{Name, fun() ->
        Answer = fun(_) -> {200, [{<<"x-part">>, Part()}], Part()} end,
        Accept = fun(#{path := <<"/part">>}) -> {accept, #{headers => [{<<"x-part">>, Part()}], state => Part()}};
                    (_) -> {accept, #{}}
                 end,
        test_support:with_server(#{active => true, http => #{"/x" => Answer}, accept => Accept}, fun(Port, Server) ->
            Socket = ws_client:connect(Port),
            Conn = receive {sockeye, C, {open, _}} -> C after ?TIMEOUT -> error(not_open) end,
            true = erlang:garbage_collect(),
            Before = {erlang:memory(binary), hostile_client:memory()},
            %% In a process that is gone afterwards.
            {Pid, Monitor} = spawn_monitor(fun() -> Use(#{port => Port, server => Server, conn => Conn}, Part) end),
            receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end,
            hostile_client:until(fun() ->
                %% The state of an accepted connection has come here.
                test_support:flush(),
                true = erlang:garbage_collect(),
                After = {erlang:memory(binary), hostile_client:memory()},
                less(After, Before) orelse {grown, Before, After}
            end),
            ws_client:drop(Socket)
        end)
    end}
     || {Name, Use} <-
            [{"topic", fun(#{conn := C}, P) -> ok = sockeye:subscribe(C, P()) end},
             {"frame that waits", fun(#{conn := C}, P) ->
                  %% More than the system takes, so that the next ones are in a queue.
                  ok = sockeye:send(C, {binary, binary:copy(<<0>>, 16000000)}),
                  busy(sockeye:send(C, {binary, P()})), busy(sockeye:send(C, {json, [P()]})),
                  busy(sockeye:send(C, {stream, binary, first, P()}))
              end},
             {"broadcast that waits", fun(#{server := S}, P) ->
                  ok = sockeye:broadcast(S, {binary, binary:copy(<<0>>, 16000000)}), ok = sockeye:broadcast(S, {binary, P()})
              end},
             {"reason", fun(#{conn := C}, P) ->
                  ok = sockeye:send(C, {binary, binary:copy(<<0>>, 16000000)}), ok = sockeye:close(C, 4000, P())
              end},
             {"codec", fun(_, P) ->
                  {ok, Codec} = sockeye_codec:new(server),
                  persistent_term:put(?TERMS, Codec),
                  {ok, _} = sockeye_codec:encode(Codec, {stream, binary, first, P()}),
                  {more, _} = {more, sockeye_codec:decode(Codec, <<129, 200, (P())/binary>>)}
              end},
             {"accept", fun(#{port := P}, _) -> {ok, 101, _, _} = ws_client:handshake(P, #{path => "/part"}) end},
             {"http answer", fun(#{port := P}, _) -> {200, _, _} = http_client:get(P, "/x") end}]].

busy(ok) -> ok;
busy({error, busy}) -> ok.

%% What was queued is the engine's, 16 MB of it; the large binaries have 64.
less({Binary, Engine}, {BinaryBefore, EngineBefore}) ->
    Binary < BinaryBefore + 40000000 andalso Engine < EngineBefore + 40000000.
