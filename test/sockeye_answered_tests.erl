%% What a client has sent before it ended the connection is answered, and its Close after that.
-module(sockeye_answered_tests).

-include_lib("eunit/include/eunit.hrl").
-compile({parse_transform, sockeye_test_time}).

-import(test_support, [with_handler/3]).
-import(bad_frames, [frame/2, frame/3]).

-define(TIMEOUT, 60000).
-define(MESSAGES, 10).
-define(BIG, 5000).

setup_test_() ->
    {setup, fun certificates/0, fun stop/1, fun({_, Certs}) ->
        [{timeout, 60, {lists:flatten(io_lib:format("~p ~p ~p ~p", [Way, Transport, Cut, End])),
                        fun() -> answered(Way, Transport, Cut, End, Certs) end}}
         || Way <- [one, pool, per_connection, owner, batch], Transport <- [tcp, tls, http2, deflate],
            {Cut, End} <- [{together, close}, {apart, close}]
                ++ [{together, End} || End <- [fin, bad_utf8, bad_opcode, too_big, bad_json]]
                ++ [{together, cut} || Transport =:= tls]]
    end}.

certificates() ->
    {ok, Started} = application:ensure_all_started(ssl),
    {Started, test_certs:localhost()}.

stop({Started, _}) ->
    [application:stop(App) || App <- lists:reverse(Started)].

way(one) -> #{processes => one};
way(pool) -> #{processes => 4};
way(per_connection) -> #{processes => per_connection};
way(owner) -> #{};
way(batch) -> #{batch => true}.

way(Way, tls, Certs) -> (way(Way))#{tls => Certs};
way(Way, http2, _) -> (way(Way))#{http2 => cleartext};
way(Way, deflate, _) -> (way(Way))#{deflate => true};
way(Way, tcp, _) -> way(Way).

answered(Way, Transport, Cut, End, Certs) ->
    Options = maps:merge(way(Way, Transport, Certs), #{max_message_size => ?BIG}),
    echoed(Way, Options, fun(Port, Server) ->
        Client = open(Transport, Port, Certs),
        Good = [text(Transport, integer_to_binary(N)) || N <- lists:seq(1, ?MESSAGES)],
        case Cut of
            together -> finish(Client, [Good, last(End)], End);
            apart -> send(Client, Good), finish(Client, last(End), End)
        end,
        Expected = [{text, integer_to_binary(N)} || N <- lists:seq(1, ?MESSAGES)] ++ sent_code(End),
        ?assertEqual(Expected, frames(all(Client))),
        ?assertEqual([{frame, N} || N <- lists:seq(1, ?MESSAGES)] ++ [{closed, told_code(End), {error, closed}, {error, closed}}],
                     [test_support:message() || _ <- lists:seq(1, ?MESSAGES + 1)]),
        hostile_client:settled(Server, 0),
        ?assertEqual(nothing, receive Message -> Message after 0 -> nothing end)
    end).

echoed(Way, Options, Test) when Way =:= owner; Way =:= batch ->
    Self = self(),
    Owner = spawn_link(fun() -> owner(Self) end),
    try test_support:with_server(Options#{handler => Owner}, Test)
    after
        unlink(Owner),
        exit(Owner, kill)
    end;
echoed(_Way, Options, Test) ->
    Self = self(),
    with_handler(#{frame => fun({json, N}, _Conn, S) ->
                                    Self ! {frame, N},
                                    {[{reply, {text, integer_to_binary(N)}}], S}
                            end,
                   close => fun(Conn, Code, _Reason, S) -> Self ! ended(Conn, Code), {[], S} end},
                 Options, Test).

ended(Conn, Code) ->
    {closed, Code, sockeye:send(Conn, {text, <<"late">>}), sockeye:info(Conn)}.

owner(To) ->
    receive
        {sockeye, Conn, {batch, Events}} -> [owned(To, Conn, Event) || Event <- Events];
        {sockeye, Conn, Event} -> owned(To, Conn, Event)
    end,
    owner(To).

owned(_, _, {open, _}) -> ok;
owned(To, Conn, {json, N}) ->
    To ! {frame, N},
    ok = sockeye:send(Conn, {text, integer_to_binary(N)});
owned(To, Conn, {closed, Code, _}) ->
    To ! ended(Conn, Code).

last(close) -> frame(8, <<4000:16, "bye">>);
last(fin) -> [];
last(cut) -> [];
last(bad_utf8) -> frame(1, <<16#ff>>);
last(bad_opcode) -> frame(3, <<>>);
last(too_big) -> frame(1, binary:copy(<<"1">>, ?BIG + 1));
last(bad_json) -> [frame(1, <<"[">>), frame(1, <<"\"not seen\"">>)].

sent_code(close) -> [{close, 4000, <<>>}];
sent_code(fin) -> [];
sent_code(cut) -> [];
sent_code(End) ->
    Code = told_code(End),
    [{close, Code, '_'}].

told_code(close) -> 4000;
told_code(fin) -> 1006;
told_code(cut) -> 1006;
told_code(bad_utf8) -> 1007;
told_code(bad_opcode) -> 1002;
told_code(too_big) -> 1009;
told_code(bad_json) -> 1007.

%% The other ways out of the wait.

-define(END, [frame(1, <<"1">>), frame(1, <<"2">>), frame(8, <<4000:16>>)]).

%% Sends to it are taken until its end is told, whoever sends, and not after that. It hears no broadcast of its end.
until_it_is_told_test() ->
    Self = self(),
    Funs = #{frame => fun({json, 1}, Conn, S) ->
                              Self ! {first, self(), Conn},
                              receive go -> ok end,
                              {[{reply, {text, <<"last">>}}], S};
                         (_, _, S) -> {[], S}
                      end,
             close => fun(Conn, 4000, _, S) ->
                              {ok, #{sent := 0}} = sockeye:broadcast(S, {text, <<"left">>}, #{wait => true}),
                              Self ! {closed, test_support:ok(sockeye:connections(S)), sockeye:send(Conn, {text, <<"late">>})},
                              {[{broadcast, {text, <<"gone">>}}], S}
                      end,
             init => fun() -> {ok, answered_server} end},
    with_handler(Funs, #{name => answered_server}, fun(Port, Server) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:raw(Socket, ?END),
        Conn = receive {first, Handler, C} -> C end,
        read(2, Conn),
        ok = sockeye:send(Conn, {text, <<"from outside">>}),
        ok = sockeye:broadcast(Server, {text, <<"to all">>}),
        Handler ! go,
        ?assertEqual([{text, <<"from outside">>}, {text, <<"to all">>}, {text, <<"last">>}, {close, 4000, <<>>}],
                     frames(hostile_client:answer(Socket))),
        ?assertEqual({closed, [], {error, closed}}, test_support:message())
    end).

%% The engine has read so many messages.
read(N, Conn) ->
    hostile_client:until(fun() ->
        {ok, #{frames_in := Read}} = sockeye:info(Conn),
        Read =:= N orelse {read, Read}
    end).

a_callback_that_takes_longer_test() ->
    Self = self(),
    Funs = #{frame => fun({json, N}, _, S) ->
                              Self ! {frame, N, self()},
                              receive go -> {[{reply, {text, <<"late">>}}], S} end
                      end,
             close => fun(_, Code, _, S) -> Self ! {closed, Code}, {[], S} end,
             error => fun(Failed, _, S) -> Self ! Failed, {[], S} end},
    with_handler(Funs, #{close_timeout => 100}, fun(Port, Server) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:raw(Socket, ?END),
        Handler = receive {frame, 1, Pid} -> Pid end,
        ?assertEqual([{close, 4000, <<>>}], frames(hostile_client:answer(Socket))),
        [Handler ! go || _ <- [1, 2]],
        receive {closed, Code} -> ?assertEqual(4000, Code) end,
        hostile_client:settled(Server, 0)
    end).

a_crash_test_() ->
    [{atom_to_list(Way), fun() -> test_support:quiet(fun() -> crash(Way) end) end} || Way <- [one, pool, per_connection]].

crash(Way) ->
    Funs = #{frame => fun({json, 1}, _, S) -> {[{reply, {text, <<"one">>}}], S};
                         (_, _, _) -> error(wanted)
                      end},
    with_handler(Funs, way(Way), fun(Port, Server) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:raw(Socket, ?END),
        ?assertEqual([{text, <<"one">>}, {close, 1011, '_'}], frames(hostile_client:answer(Socket))),
        hostile_client:settled(Server, 0)
    end).

no_credits_test() ->
    Self = self(),
    Funs = #{open => fun(Conn, _, S) -> Self ! {open, Conn}, {[{reply, {text, <<"hi">>}}], S} end,
             frame => fun(Frame, _, S) -> Self ! Frame, {[], S} end,
             close => fun(_, Code, _, S) -> Self ! {closed, Code}, {[], S} end},
    with_handler(Funs, #{close_timeout => 100, active => false}, fun(Port, Server) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:raw(Socket, ?END),
        ?assertEqual([{text, <<"hi">>}, {close, 4000, <<>>}], frames(hostile_client:answer(Socket))),
        {open, Conn} = test_support:message(),
        ok = sockeye:setopts(Conn, [{active, true}]),
        ?assertEqual([{json, 1}, {json, 2}, {closed, 4000}], [test_support:message() || _ <- [1, 2, 3]]),
        hostile_client:settled(Server, 0)
    end).

a_stop_test_() ->
    [{atom_to_list(Way), {timeout, 300, fun() -> stop_meanwhile(Way) end}} || Way <- [one, pool, per_connection]].

%% The server stops within its second, and who is served by then is answered. Where that takes the second there is nothing to be seen.
stop_meanwhile(Way) ->
    case served_meanwhile(Way) of
        {[{text, <<"1">>}, {text, <<"2">>}, {close, 4000, <<>>}], _} -> ok;
        {_, Ms} when Ms >= 900 -> stop_meanwhile(Way);
        {Frames, Ms} -> error({not_answered, Frames, Ms})
    end.

%% What a client gets whose server is stopped while its handler is at work, and after how long.
served_meanwhile(Way) ->
    Self = self(),
    Funs = #{frame => fun({json, N}, _, S) ->
                              Self ! {frame, N, self()},
                              receive go -> {[{reply, {text, integer_to_binary(N)}}], S} end
                      end},
    with_handler(Funs, (way(Way))#{close_timeout => 60000}, fun(Port, Server) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:raw(Socket, ?END),
        Handler = receive {frame, 1, Pid} -> Pid end,
        Begin = erlang:monotonic_time(millisecond),
        {Stopper, Monitor} = spawn_monitor(fun() -> ok = sockeye:stop(Server) end),
        hostile_client:until(fun() -> gen_tcp:connect({127, 0, 0, 1}, Port, []) =:= {error, econnrefused} end),
        [Handler ! go || _ <- [1, 2]],
        Frames = frames(hostile_client:answer(Socket)),
        Ms = erlang:monotonic_time(millisecond) - Begin,
        receive {'DOWN', Monitor, process, Stopper, Reason} -> ?assertEqual(normal, Reason) end,
        {Frames, Ms}
    end).

%% A plain process at work on other things, which never comes to the end of its mailbox.
a_busy_owner_test_() ->
    {timeout, 60, fun() ->
        Self = self(),
        Owner = spawn_link(fun() -> busy(Self) end),
        test_support:with_server(#{handler => Owner, format => raw, active => true, close_timeout => 50000}, fun(Port, _) ->
            Other = ws_client:connect(Port),
            Flood = spawn_link(fun() -> flood(Other) end),
            Socket = ws_client:connect(Port),
            ok = ws_client:raw(Socket, [[frame(1, integer_to_binary(N)) || N <- lists:seq(1, 50)], frame(8, <<4000:16>>)]),
            Expected = [{text, integer_to_binary(N)} || N <- lists:seq(1, 50)] ++ [{close, 4000, <<>>}],
            ?assertEqual(Expected, frames(hostile_client:answer(Socket))),
            unlink(Flood),
            exit(Flood, kill)
        end),
        unlink(Owner),
        exit(Owner, kill)
    end}.

flood(Socket) ->
    ok = ws_client:raw(Socket, [frame(2, <<>>) || _ <- lists:seq(1, 100)]),
    flood(Socket).

busy(To) ->
    receive
        {sockeye, Conn, {text, Text}} -> ok = sockeye:send(Conn, {text, Text});
        {sockeye, _, {binary, <<>>}} -> work(erlang:monotonic_time(microsecond) + 100);
        _ -> ok
    end,
    busy(To).

work(Until) ->
    erlang:monotonic_time(microsecond) > Until orelse work(Until).

%% One that looks at none of its messages holds no Close back for long, and finds all of them later.
an_owner_elsewhere_test() ->
    test_support:with_server(#{close_timeout => 60000}, fun(Port, _) ->
        Socket = ws_client:connect(Port),
        ok = ws_client:raw(Socket, ?END),
        ?assertEqual([{close, 4000, <<>>}], frames(hostile_client:answer(Socket))),
        {Conn, {open, _}} = test_support:event(),
        ?assertEqual([{json, 1}, {json, 2}, {closed, 4000, <<>>}], [test_support:event(Conn) || _ <- [1, 2, 3]])
    end).

%% The process that owns the connection by then is told of its end; who had it before answers.
given_away_test() ->
    Self = self(),
    Owner = spawn_link(fun() -> owner(Self) end),
    test_support:with_server(#{format => json}, fun(Port, _) ->
        {Socket, Conn} = test_support:open(Port),
        ok = sockeye:controlling_process(Conn, Owner),
        ok = ws_client:raw(Socket, ?END),
        ?assertEqual([{text, <<"1">>}, {text, <<"2">>}, {close, 4000, <<>>}], frames(hostile_client:answer(Socket))),
        ?assertEqual([{frame, 1}, {frame, 2}, {closed, 4000, {error, closed}, {error, closed}}],
                     [test_support:message() || _ <- [1, 2, 3]])
    end),
    unlink(Owner),
    exit(Owner, kill).

%% A client of ours answers as well.
of_a_client_test() ->
    Self = self(),
    Funs = #{frame => fun({json, N}, _, S) -> {[{reply, {text, integer_to_binary(N)}}], S} end,
             close => fun(_, Code, _, S) -> Self ! {closed, Code}, {[], S} end},
    test_support:with_server(#{format => raw}, fun(Port, _) ->
        Url = "ws://127.0.0.1:" ++ integer_to_list(Port),
        process_flag(trap_exit, true),
        {ok, Client} = sockeye_client:start_link(Url, {fun_handler, Funs}, #{}),
        {Conn, {open, _}} = test_support:event(),
        ok = sockeye:send(Conn, [{text, <<"1">>}, {text, <<"2">>}, {close, 4000, <<>>}]),
        ?assertEqual({closed, 4000}, receive {closed, _} = Closed -> Closed end),
        ?assertEqual({closed, 4000, <<>>}, test_support:event(Conn)),
        receive {'EXIT', Client, _} -> ok end,
        process_flag(trap_exit, false)
    end).

%% Clients that write bytes and read them to the end.

open(tcp, Port, _) -> {tcp, ws_client:connect(Port)};
open(deflate, Port, _) ->
    {Socket, <<"permessage-deflate", _/binary>>} = ws_deflate:connect(Port, "permessage-deflate"),
    {tcp, Socket};
open(tls, Port, _) ->
    Before = erlang:ports(),
    Socket = ws_client:connect(Port, #{tls => [{verify, verify_none}]}),
    [Below] = [New || New <- erlang:ports() -- Before, erlang:port_info(New, name) =:= {name, "tcp_inet"}],
    put(below_tls, Below),
    {tls, Socket};
open(http2, Port, _) ->
    Socket = hostile_client:connect(Port),
    ok = h2_frames:shake(Socket),
    ok = gen_tcp:send(Socket, h2_frames:open_stream(1)),
    ok = accepted(Socket),
    {http2, Socket}.

accepted(Socket) ->
    case h2_frames:statuses([h2_frames:next(Socket)]) of
        [{1, 200}] -> ok;
        [] -> accepted(Socket)
    end.

text(deflate, Text) -> frame(1, ws_deflate:compress(Text), #{rsv => 4});
text(_, Text) -> frame(1, Text).

send({http2, Socket}, Bytes) -> ok = gen_tcp:send(Socket, h2_frames:data(1, Bytes));
send({_, Socket}, Bytes) -> ok = ws_client:raw(Socket, iolist_to_binary(Bytes)).

finish({http2, Socket}, Bytes, fin) ->
    ok = gen_tcp:send(Socket, h2_frames:data_end(1, Bytes));
finish({tls, Socket} = Client, Bytes, fin) ->
    send(Client, Bytes),
    ok = ssl:shutdown(Socket, write);
%% The socket below, without a word of TLS.
finish({tls, _} = Client, Bytes, cut) ->
    send(Client, Bytes),
    ok = gen_tcp:shutdown(get(below_tls), write);
finish({tcp, Socket} = Client, Bytes, fin) ->
    send(Client, Bytes),
    ok = gen_tcp:shutdown(Socket, write);
finish(Client, Bytes, _) ->
    send(Client, Bytes).

all({tcp, Socket}) -> hostile_client:answer(Socket);
all({tls, Socket}) -> all_tls(Socket, <<>>);
all({http2, Socket}) -> all_h2(Socket, <<>>).

all_tls(Socket, Sofar) ->
    case ssl:recv(Socket, 0, ?TIMEOUT) of
        {ok, Data} -> all_tls(Socket, <<Sofar/binary, Data/binary>>);
        {error, closed} -> Sofar
    end.

all_h2(Socket, Sofar) ->
    case h2_frames:next(Socket) of
        {0, 1, 1, Data} -> <<Sofar/binary, Data/binary>>;
        {0, _, 1, Data} -> all_h2(Socket, <<Sofar/binary, Data/binary>>);
        {3, _, 1, <<Code:32>>} -> {reset, Code, Sofar};
        closed -> {closed, Sofar};
        _ -> all_h2(Socket, Sofar)
    end.

frames(<<1:1, Rsv:3, Op:4, 0:1, Size:7, Payload:Size/binary, Rest/binary>>) when Size < 126 ->
    [kind(Op, Rsv, Payload) | frames(Rest)];
frames(<<>>) -> [];
frames(Other) -> [Other].

kind(1, 4, Payload) -> {text, ws_deflate:inflate(Payload)};
kind(1, 0, Payload) -> {text, Payload};
kind(8, 0, <<4000:16, Reason/binary>>) -> {close, 4000, Reason};
kind(8, 0, <<Code:16, _/binary>>) -> {close, Code, '_'};
kind(Op, _, Payload) -> {Op, Payload}.
