%% What the public API promises: a model of servers, connections, topics and credits. It knows what each command returns, which frames
%% come to whom, whose connections end, and what the node holds afterwards. Nothing here has a side effect.
-module(api_model).
-behaviour(random_commands).

-export([first/0]).
-export([choose/1]).
-export([is_possible/2]).
-export([next/2]).
-export([census/1]).
-export([queues/1]).
-export([carry_out/1]).

%% A server: its kind, and the topics of the process that carries the commands out.
%% A connection: its server, `by' whom (a socket of its own, a stream of HTTP/2, or a client of the node, with or without a handler), from which address
%% (the last number), its topics, its
%% entries of presence, its credits, and what was said and waits for them; the message that is sent to it in pieces, by which caller, and
%% what waits for the end of that; the message that it says in pieces.
-type model() :: #{engine := nif | port, next := pos_integer(), crashes := 0..3,
                   servers := #{pos_integer() => map()}, conns := #{pos_integer() => map()},
                   %% Of api_streams_model, which chooses streams of HTTP/2 as well.
                   streams => true,
                   %% Answers of HTTP that are not complete, and their servers.
                   answers := #{pos_integer() => pos_integer()},
                   %% They have ended, and calls with them must say so.
                   gone := #{pos_integer() => server | conn}}.

-import(api_effects, [conn/2, conns_of/2, kind/2, kind_of/2]).

-define(SERVERS, 4).
-define(CONNS, 12).
-define(WAITING, 4).
%% Of a narrow server, and of each address of one for few (api_clients).
-define(NARROW, 2).
%% Digits of a message in pieces.
-define(DIGITS, 40).

-spec first() -> model().
first() ->
    #{engine => sockeye_backend:engine(), next => 1, crashes => 0, servers => #{}, conns => #{}, answers => #{}, gone => #{}}.

carry_out(Commands) -> api_world:carry_out(Commands).

next(Command, Model) -> api_effects:next(Command, Model).

%% ---------------------------------------------------------------- chance

choose(Model) ->
    Commands = commands(Model),
    Calls = [{W, Call} || {W, Call} <- Commands, is_call(Call), is_possible(Call, Model)],
    Suspended = [{10, {while_suspended, any([somebody(Model) | named()]), picked(Calls)}} || Calls =/= []],
    AtOnce = [{12, at_once(Calls, Model)} || Calls =/= []],
    picked([{W, C} || {W, C} <- AtOnce ++ Suspended ++ Commands, is_possible(C, Model)]).

%% Two or three calls, each with a number of its own.
at_once(Calls, #{next := New}) ->
    {at_once, [renumbered(picked(Calls), New, New + Place) || Place <- lists:seq(0, 1 + rand:uniform(2) - 1)]}.

renumbered(Call, Old, New) ->
    case element(tuple_size(Call), Call) of
        Old when element(1, Call) =/= setopts, element(1, Call) =/= close -> setelement(tuple_size(Call), Call, New);
        _ -> Call
    end.

picked(Weighted) ->
    pick(rand:uniform(lists:sum([W || {W, _} <- Weighted])), Weighted).

pick(N, [{W, Command} | _]) when N =< W -> Command;
pick(N, [{W, _} | Rest]) -> pick(N - W, Rest).

commands(#{next := New, servers := Servers, conns := Conns, answers := Answers, gone := Gone} = Model) ->
    R = any(maps:keys(Answers), 0),
    S = any(maps:keys(Servers), any([G || {G, server} <- maps:to_list(Gone)], 0)),
    C = any(maps:keys(Conns), any([G || {G, conn} <- maps:to_list(Gone)], 0)),
    %% One call in eight is for what has ended.
    {GoneS, GoneC} = {any([G || {G, server} <- maps:to_list(Gone)], S), any([G || {G, conn} <- maps:to_list(Gone)], C)},
    AnyS = any([S, S, S, S, S, S, S, GoneS]),
    AnyC = any([C, C, C, C, C, C, C, GoneC]),
    T = any(topics()),
    %% Those with which something has begun.
    All = maps:to_list(Conns),
    {Streaming, Caller, Kind} = any([{One, By, Of} || {One, #{stream := {By, Of, _}}} <- All], {0, 1, text}),
    Saying = any([One || {One, #{saying := {_, _}}} <- All], 0),
    Narrow = any([One || {One, _} <- All, kind_of(One, Model) =:= narrow], C),
    NarrowS = any([One || {One, #{kind := narrow}} <- maps:to_list(Servers)], S),
    FewS = any([One || {One, #{kind := few}} <- maps:to_list(Servers)], S),
    Way = any([listener, gen_tcp, backend, socket]),
    Address = any([1, 2]),
    WebS = any([One || {One, #{kind := web}} <- maps:to_list(Servers)], S),
    Key = any([ann, bob]),
    [{max(4, 24 - 8 * map_size(Servers)), {start, New, any(kinds())}},
     {24, {connect, New, S}}, {10, {dial, New, S, any([plain, handler])}},
     {9, {leave, C, any([fin, rst, close, handshake])}}, {5, {end_client, C, any([stop, kill])}},
     {12, {say, C, New}}, {6, {setopts, AnyC, any([true, false, once, 1, 2])}},
     {5, {send, AnyC, New}}, {4, {close, AnyC, any([1000, 4001])}},
     {8, {subscribe, AnyC, any(topics() ++ [<<"b/*">>])}}, {6, {unsubscribe, AnyC, any(topics() ++ [<<"b/*">>])}},
     {8, {publish, AnyS, T, New}}, {4, {publish_from, AnyC, T, New}},
     {3, {broadcast, AnyS, New}}, {3, {broadcast_from, AnyC, New}}, {2, {send_message, AnyS, New}},
     {3, {topics, AnyS}}, {3, {subscribers, AnyS, T}}, {2, {connections, AnyS}},
     {4, {join, AnyS, T}}, {3, {part, AnyS, T}},
     {9, {track, AnyC, T, Key, New}}, {3, {untrack, AnyC, T, Key}}, {3, {list, AnyS, T}},
     {12, {give, C}}, {12, {kill_owner, C}},
     {2, {stop, AnyS}}, {2, {drain, AnyS, any([1001, 1012, 4000]), any([1, 100])}}, {1, {drain_twice, AnyS}}, {1, {cut_off, AnyS}},
     {2, {reload_tls, AnyS}},
     {6, {say_too_much, Narrow}}, {5, {ping, C, New}},
     {8, {say_piece, C, first, New}}, {20, {say_piece, Saying, any([more, last]), New}},
     {10, {piece, any([1, 1, 1, 2]), AnyC, any([text, text, text, binary]), any([first, first, more, last]), New}},
     {16, {piece, Caller, Streaming, Kind, any([more, last]), New}},
     %% Where bounds are small.
     {8, {connect, New, NarrowS}}, {12, {connect_refused, any([NarrowS, FewS]), Way, Address}},
     {10, {come, New, any([S, FewS]), Way, Address}}, {3, {adopted_by_none, GoneS, any([gen_tcp, backend, socket])}},
     {8, {subscribe, Narrow, any(topics() ++ [<<"b/*">>])}},
     {12, {piece, 1, Narrow, text, first, New}}, {24, {send_large, Narrow, New}}, {6, {broadcast_large, NarrowS, New}},
     {8, {ask, New, WebS}}, {12, {answer, R, New}}, {4, {finish, R}}, {3, {hang_up, R}},
     {2, {kill, server, S}}, {1, {kill, holder, S}}, {1, {kill, conn_sup, S}}, {2, {kill, gate, S}}, {2, {kill, relay, S}},
     {4, {kill_worker, C}},
     {1, kill_engine}, {3, {kill_child, any(children())}}, {2, kill_process_of_system},
     {3, {reload, any(modules())}},
     {1, stop_application}, {1, kill_application}]
    ++ [Of || is_map_key(streams, Model), Of <- [{30, {stream, New, S}}, {5, {cut, S}}]].

kinds() -> [owner, one, pool, each, asking, tls, narrow, narrow, web, few].

%% Made by the process that makes the calls, or by a client: nobody else waits for what is suspended.
is_call(Command) ->
    lists:member(word(Command), [stop, drain, drain_twice, reload_tls, say, broadcast_large | made_at_once()]).

%% What several callers may do at once.
made_at_once() ->
    [setopts, send, send_large, piece, close, subscribe, unsubscribe, publish, publish_from, broadcast, broadcast_from, send_message,
     join, part, track, untrack].

word(Command) when is_tuple(Command) -> element(1, Command);
word(Command) -> Command.

%% Who may be suspended: the process that serves a connection, or one of the application.
somebody(#{conns := Conns}) -> {serves, any(maps:keys(Conns), 0)}.
named() -> [sockeye_engine, sockeye_sup | children()].

topics() -> [<<"a">>, <<"b/c">>, <<"b/d">>].

children() -> [sockeye_topics, sockeye_cluster, sockeye_groups, sockeye_pubsub_server, sockeye_presence_server].

%% Of the application, but the library's own, which has tests of its own, and, where the engine is a process of the system, those whose
%% processes wait in loops of theirs.
modules() ->
    {ok, All} = application:get_key(sockeye, modules),
    Not = case sockeye_backend:engine() of
              nif -> [sockeye_nif];
              port -> [sockeye_nif, sockeye_link, sockeye_link_writer, sockeye_port_delivery]
          end,
    lists:sort(All -- Not).

any([], None) -> None;
any(List, _) -> any(List).
any(List) -> lists:nth(rand:uniform(length(List)), List).

%% ---------------------------------------------------------------- what may follow

is_possible({start, New, _}, #{servers := Servers} = M) ->
    is_new(New, M) andalso map_size(Servers) < ?SERVERS;
is_possible({connect, New, S}, M) ->
    is_possible({come, New, S, listener, 1}, M);
is_possible({come, New, S, _, Address}, M) ->
    is_new(New, M) andalso is_server(S, M) andalso has_room(M) andalso not is_full(S, Address, M);
is_possible({stream, New, S}, M) ->
    is_possible({connect, New, S}, M) andalso api_effects:has_streams(kind(S, M));
is_possible({cut, S}, M) ->
    Streams = api_effects:streams(S, M),
    Streams =/= [] andalso lists:all(fun(C) -> has_credits(C, M) end, Streams);
%% One of ours would try again where it is refused.
is_possible({dial, New, S, _}, M) ->
    is_new(New, M) andalso is_server(S, M) andalso has_room(M) andalso not lists:member(kind(S, M), [narrow, few]);
is_possible({connect_refused, S, _, Address}, M) -> is_full(S, Address, M);
is_possible({adopted_by_none, S, _}, #{gone := Gone}) -> maps:get(S, Gone, none) =:= server;
is_possible({ask, New, S}, #{answers := Answers} = M) -> is_new(New, M) andalso kind(S, M) =:= web andalso map_size(Answers) < ?NARROW;
is_possible({answer, R, _}, #{answers := Answers}) -> is_map_key(R, Answers);
is_possible({Of, R}, #{answers := Answers}) when Of =:= finish; Of =:= hang_up -> is_map_key(R, Answers);
is_possible({say_too_much, C}, M) ->
    is_by(sockets(), C, M) andalso kind_of(C, M) =:= narrow andalso case conn(C, M) of #{credits := Credits, saying := none} -> Credits =/= 0; _ -> false end;
is_possible({ping, C, _}, M) ->
    is_by(sockets(), C, M) andalso has_credits(C, M);
is_possible({say_piece, C, first, _}, M) ->
    is_by(sockets(), C, M) andalso may_say(C, M) andalso case conn(C, M) of #{saying := none} -> true; #{} -> false end;
is_possible({say_piece, C, Step, _}, M) ->
    is_by(sockets(), C, M) andalso may_say(C, M) andalso
        case conn(C, M) of
            #{saying := none} -> false;
            %% What breaks a rule must be read.
            #{saying := {Count, Digits}, credits := Credits} -> byte_size(Digits) < ?DIGITS orelse Step =:= last
                                                                    andalso (Count < 2 orelse Credits =/= 0 orelse kind_of(C, M) =/= narrow)
        end;
is_possible({piece, _, C, _, Step, _}, M) ->
    is_known(C, conn, M) andalso case conn(C, M) of
                                     #{stream := {_, _, Digits}} -> byte_size(Digits) < ?DIGITS orelse Step =/= more;
                                     _ -> true
                                 end;
is_possible({send_large, C, _}, M) -> is_conn(C, M) andalso kind_of(C, M) =:= narrow;
is_possible({broadcast_large, S, _}, M) -> kind(S, M) =:= narrow;
is_possible({cut_off, S}, M) -> is_server(S, M) andalso lists:all(fun(C) -> is_read(C, M) end, conns_of(S, M));
is_possible({at_once, Calls}, M) ->
    lists:all(fun(Call) -> lists:member(word(Call), made_at_once()) andalso is_possible(Call, M) end, Calls)
        %% One that is on its way still has its place.
        andalso not lists:any(fun({send_large, C, _}) -> not is_streaming(C, M); (_) -> false end, Calls)
        andalso are_told_apart(api_effects:outcomes(Calls, M));
%% Where nothing is read, nobody sees that a client leaves.
is_possible({leave, C, How}, M) ->
    is_by([raw | [stream || How =/= close]], C, M) andalso has_credits(C, M);
is_possible({end_client, C, _}, M) -> is_by([plain, handler], C, M) andalso is_read(C, M);
%% `closed' stands behind what waits for credits.
is_possible({close, C, _}, M) -> is_known(C, conn, M) andalso is_read(C, M);
is_possible({say, C, _}, M) ->
    may_say(C, M) andalso case conn(C, M) of #{saying := none} -> true; #{} -> false end;
%% What a number adds to `true' is not said. Answers for which there is no room behind pieces are not seen.
is_possible({setopts, C, N}, M) ->
    is_known(C, conn, M) andalso
        case conn(C, M) of
            #{credits := infinity} when is_integer(N) -> false;
            #{waiting := [_ | _], stream := Stream} when Stream =/= none -> kind_of(C, M) =/= narrow;
            _ -> true
        end;
is_possible({give, C}, M) -> is_conn(C, M) andalso kind_of(C, M) =:= owner;
is_possible({while_suspended, {serves, C}, Call}, M) -> is_conn(C, M) andalso is_possible(Call, M);
is_possible({while_suspended, _, Call}, M) -> is_possible(Call, M);
is_possible({kill_owner, C}, M) -> is_given(C, M);
is_possible({kill, server, S}, M) -> is_server(S, M);
is_possible({kill, holder, S}, M) -> is_server(S, M);
is_possible({kill, conn_sup, S}, M) -> kind(S, M) =:= each;
is_possible({kill, relay, S}, M) -> kind(S, M) =:= each;
is_possible({kill, gate, S}, M) -> kind(S, M) =:= asking;
is_possible({kill_worker, C}, M) -> is_conn(C, M) andalso kind_of(C, M) =/= owner;
is_possible(kill_engine, M) -> may_crash(M);
is_possible({kill_child, _}, M) -> may_crash(M);
is_possible(kill_process_of_system, #{engine := Engine}) -> Engine =:= port;
%% A function that waits has its place in our code.
is_possible({reload, _}, #{answers := Answers}) -> map_size(Answers) =:= 0;
is_possible(stop_application, _M) -> true;
is_possible(kill_application, _M) -> true;
%% Calls, which have an answer for what has ended as well.
is_possible(Command, M) when element(1, Command) =:= publish; element(1, Command) =:= broadcast; element(1, Command) =:= send_message;
                             element(1, Command) =:= topics; element(1, Command) =:= subscribers; element(1, Command) =:= connections;
                             element(1, Command) =:= join; element(1, Command) =:= part; element(1, Command) =:= list;
                             element(1, Command) =:= stop; element(1, Command) =:= drain; element(1, Command) =:= drain_twice;
                             element(1, Command) =:= reload_tls ->
    is_known(element(2, Command), server, M);
is_possible(Command, M) ->
    is_known(element(2, Command), conn, M).

%% They say what they like, frame by frame.
sockets() -> [raw, stream].

has_credits(C, M) -> case conn(C, M) of #{credits := 0} -> false; #{} -> true end.

%% Nothing waits for credits.
is_read(C, M) ->
    case conn(C, M) of
        #{waiting := Waiting} -> Waiting =:= [];
        none -> true
    end.

%% A message of it is delivered or waits, and there is room for the answer.
may_say(C, M) ->
    case conn(C, M) of
        #{waiting := Waiting} -> length(Waiting) < ?WAITING andalso api_effects:has_room(C, {large, 0}, M);
        none -> false
    end.

%% The model is the same in each order of the calls; and where they return the same, the same frames come in another order.
are_told_apart([#{model := Model} | _] = Outcomes) ->
    lists:all(fun(#{model := Other}) -> Other =:= Model end, Outcomes)
        andalso length(lists:usort([{Returns, lists:sort(Frames), lists:sort(Told), lists:sort(Ends)}
                                    || #{returns := Returns, frames := Frames, told := Told, ends := Ends} <- Outcomes]))
                =:= length(lists:usort([Returns || #{returns := Returns} <- Outcomes])).

is_streaming(C, M) -> case conn(C, M) of #{stream := Stream} -> Stream =/= none; none -> false end.

is_full(S, Address, M) ->
    Of = case kind(S, M) of
             narrow -> conns_of(S, M);
             few -> [C || C <- conns_of(S, M), #{address := From} <- [conn(C, M)], From =:= Address];
             _ -> []
         end,
    length(Of) >= ?NARROW.
is_new(New, #{next := Next}) -> New >= Next.
has_room(#{conns := Conns}) -> map_size(Conns) < ?CONNS.
%% Supervisors of the application allow three in ten seconds.
may_crash(#{crashes := Crashes}) -> Crashes < 3.
is_server(S, #{servers := Servers}) -> is_map_key(S, Servers).
is_conn(C, #{conns := Conns}) -> is_map_key(C, Conns).
is_known(Id, server, #{servers := Servers, gone := Gone}) -> is_map_key(Id, Servers) orelse maps:get(Id, Gone, none) =:= server;
is_known(Id, conn, #{conns := Conns, gone := Gone}) -> is_map_key(Id, Conns) orelse maps:get(Id, Gone, none) =:= conn.
is_by(Whom, C, M) -> case conn(C, M) of #{by := By} -> lists:member(By, Whom); none -> false end.

is_given(C, M) -> is_conn(C, M) andalso maps:get(given, conn(C, M), false).

%% ---------------------------------------------------------------- what the node holds

%% Exact numbers; {more, N} of what the node had before.
census(#{servers := Servers, conns := Conns, answers := Answers} = M) ->
    Of = fun(Kinds) -> length([S || {S, #{kind := Kind}} <- maps:to_list(Servers), lists:member(Kind, Kinds)]) end,
    By = fun(Whom) -> length([C || {C, #{by := Who}} <- maps:to_list(Conns), lists:member(Who, Whom)]) end,
    Clients = By([plain, handler]),
    N = map_size(Servers),
    Raw = By([raw]),
    Carriers = length([S || S <- maps:keys(Servers), api_effects:streams(S, M) =/= []]),
    #{running => true,
      servers => N + Clients,
      connections => map_size(Conns) + Clients,
      sockeye_server => N,
      sockeye_dialler => Clients,
      sockeye_worker => Of([one, asking, tls, narrow, web, few]) + 3 * Of([pool]) + By([handler])
          + length([C || C <- maps:keys(Conns), kind_of(C, M) =:= each]),
      sockeye_conn_sup => Of([each]),
      sockeye_relay => Of([each]),
      sockeye_gate => Of([asking, web]),
      {table, sockeye_servers} => 2 * N,
      {table, sockeye_pubsub} => lists:sum([length(Joined) || #{joined := Joined} <- maps:values(Servers)]),
      {table, sockeye_presence} => lists:sum([map_size(Present) || #{present := Present} <- maps:values(Conns)]),
      {table, sockeye_presence_watchers} => 0,
      {table, sockeye_cluster} => Of([asking]),
      log_rows => 0,
      monitors => N,
      descriptors => {more, N + 2 * (map_size(Conns) - By([stream]) + Carriers + map_size(Answers))},
      threads => {more, 0},
      ports => {more, Raw + Carriers + map_size(Answers)}}.

%% Bytes that wait for a connection: of those that are sent a message in pieces, and where a bound is small.
queues(#{conns := Conns} = M) ->
    [{C, api_effects:queued(Conn)} || {C, #{stream := Stream} = Conn} <- maps:to_list(Conns), Stream =/= none orelse kind_of(C, M) =:= narrow].
