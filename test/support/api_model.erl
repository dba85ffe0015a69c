%% What the public API promises: a model of servers, connections, topics and credits. It knows what each command returns, which frames
%% come to whom, whose connections end, and what the node holds afterwards. Nothing here has a side effect.
-module(api_model).
-behaviour(random_commands).

-export([first/0]).
-export([choose/1]).
-export([is_possible/2]).
-export([next/2]).
-export([step/3]).
-export([census/1]).
-export([carry_out/1]).

%% A server: its kind, and the topics of the process that carries the commands out.
%% A connection: its server, `by' whom (a socket of its own, or a client of the node, with or without a handler), its topics, its
%% entries of presence, its credits, and what was said and waits for them.
-type model() :: #{engine := nif | port, next := pos_integer(), crashes := 0..3,
                   servers := #{pos_integer() => map()}, conns := #{pos_integer() => map()},
                   %% They have ended, and calls with them must say so.
                   gone := #{pos_integer() => server | conn}}.

-define(SERVERS, 4).
-define(CONNS, 12).
-define(WAITING, 4).

-spec first() -> model().
first() ->
    #{engine => sockeye_backend:engine(), next => 1, crashes => 0, servers => #{}, conns => #{}, gone => #{}}.

carry_out(Commands) -> api_world:carry_out(Commands).

%% ---------------------------------------------------------------- chance

choose(Model) ->
    Commands = commands(Model),
    Calls = [{W, Call} || {W, Call} <- Commands, is_call(Call), is_possible(Call, Model)],
    Suspended = [{10, {while_suspended, any([somebody(Model) | named()]), picked(Calls)}} || Calls =/= []],
    picked([{W, C} || {W, C} <- Suspended ++ Commands, is_possible(C, Model)]).

picked(Weighted) ->
    pick(rand:uniform(lists:sum([W || {W, _} <- Weighted])), Weighted).

pick(N, [{W, Command} | _]) when N =< W -> Command;
pick(N, [{W, _} | Rest]) -> pick(N - W, Rest).

commands(#{next := New, servers := Servers, conns := Conns, gone := Gone}) ->
    S = any(maps:keys(Servers), any([G || {G, server} <- maps:to_list(Gone)], 0)),
    C = any(maps:keys(Conns), any([G || {G, conn} <- maps:to_list(Gone)], 0)),
    %% One call in eight is for what has ended.
    {GoneS, GoneC} = {any([G || {G, server} <- maps:to_list(Gone)], S), any([G || {G, conn} <- maps:to_list(Gone)], C)},
    AnyS = any([S, S, S, S, S, S, S, GoneS]),
    AnyC = any([C, C, C, C, C, C, C, GoneC]),
    T = any(topics()),
    Key = any([ann, bob]),
    [{8 * max(1, 3 - map_size(Servers)), {start, New, any(kinds())}},
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
     {2, {stop, AnyS}}, {2, {drain, AnyS}}, {2, {reload_tls, AnyS}},
     {2, {kill, server, S}}, {1, {kill, holder, S}}, {1, {kill, conn_sup, S}}, {2, {kill, gate, S}}, {2, {kill, relay, S}},
     {4, {kill_worker, C}},
     {1, kill_engine}, {3, {kill_child, any(children())}}, {2, kill_process_of_system},
     {3, {reload, any(modules())}},
     {1, stop_application}, {1, kill_application}].

kinds() -> [owner, one, pool, each, asking, tls].

%% Made by the process that makes the calls, or by a client: nobody else waits for what is suspended.
is_call(Command) ->
    lists:member(word(Command), [setopts, send, close, subscribe, unsubscribe, publish, publish_from, broadcast, broadcast_from, send_message,
                                 join, part, track, untrack, stop, drain, reload_tls, say]).

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
              port -> [sockeye_nif, sockeye_link, sockeye_link_writer, sockeye_port_courier]
          end,
    lists:sort(All -- Not).

any([], None) -> None;
any(List, _) -> any(List).
any(List) -> lists:nth(rand:uniform(length(List)), List).

%% ---------------------------------------------------------------- what may follow

is_possible({start, New, _}, #{servers := Servers} = M) ->
    is_new(New, M) andalso map_size(Servers) < ?SERVERS;
is_possible({Open, New, S}, M) when Open =:= connect ->
    is_new(New, M) andalso is_server(S, M) andalso has_room(M);
is_possible({dial, New, S, _}, M) ->
    is_new(New, M) andalso is_server(S, M) andalso has_room(M);
%% Where nothing is read, nobody sees that a client leaves.
is_possible({leave, C, _}, M) ->
    is_by([raw], C, M) andalso case conn(C, M) of #{credits := 0} -> false; #{} -> true end;
is_possible({end_client, C, _}, M) -> is_by([plain, handler], C, M) andalso is_read(C, M);
%% `closed' stands behind what waits for credits.
is_possible({close, C, _}, M) -> is_known(C, conn, M) andalso is_read(C, M);
is_possible({say, C, _}, M) ->
    case conn(C, M) of
        #{waiting := Waiting} -> length(Waiting) < ?WAITING;
        none -> false
    end;
%% What a number adds to `true' is not said.
is_possible({setopts, C, N}, M) when is_integer(N) ->
    is_known(C, conn, M) andalso case conn(C, M) of #{credits := infinity} -> false; _ -> true end;
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
is_possible({reload, _}, _M) -> true;
is_possible(stop_application, _M) -> true;
is_possible(kill_application, _M) -> true;
%% Calls, which have an answer for what has ended as well.
is_possible(Command, M) when element(1, Command) =:= publish; element(1, Command) =:= broadcast; element(1, Command) =:= send_message;
                             element(1, Command) =:= topics; element(1, Command) =:= subscribers; element(1, Command) =:= connections;
                             element(1, Command) =:= join; element(1, Command) =:= part; element(1, Command) =:= list;
                             element(1, Command) =:= stop; element(1, Command) =:= drain; element(1, Command) =:= reload_tls ->
    is_known(element(2, Command), server, M);
is_possible(Command, M) ->
    is_known(element(2, Command), conn, M).

%% Nothing waits for credits.
is_read(C, M) ->
    case conn(C, M) of
        #{waiting := Waiting} -> Waiting =:= [];
        none -> true
    end.

is_new(New, #{next := Next}) -> New >= Next.
has_room(#{conns := Conns}) -> map_size(Conns) < ?CONNS.
%% Supervisors of the application allow three in ten seconds.
may_crash(#{crashes := Crashes}) -> Crashes < 3.
is_server(S, #{servers := Servers}) -> is_map_key(S, Servers).
is_conn(C, #{conns := Conns}) -> is_map_key(C, Conns).
is_known(Id, server, #{servers := Servers, gone := Gone}) -> is_map_key(Id, Servers) orelse maps:get(Id, Gone, none) =:= server;
is_known(Id, conn, #{conns := Conns, gone := Gone}) -> is_map_key(Id, Conns) orelse maps:get(Id, Gone, none) =:= conn.
is_by(Whom, C, M) -> case conn(C, M) of #{by := By} -> lists:member(By, Whom); none -> false end.
kind(S, #{servers := Servers}) -> case Servers of #{S := #{kind := Kind}} -> Kind; #{} -> none end.
kind_of(C, M) -> #{server := S} = conn(C, M), kind(S, M).
conn(C, #{conns := Conns}) -> maps:get(C, Conns, none).

%% ---------------------------------------------------------------- what follows

next(Command, Model) ->
    #{model := Next} = step(Command, #{}, Model),
    Next.

%% What a command does: `returns', one of these; `frames' {Connection, Number}, in their order; `told' {Topic, Number} to the process of
%% the test; `ends' {Connection, close codes, one of these}; and the model afterwards. `Workers' has the handler's process of each
%% connection, where that is known.
step(Command, Workers, #{next := Next} = M) ->
    Done = maps:merge(#{returns => [ok], frames => [], told => [], ends => [], model => M}, done(Command, Workers, M)),
    #{model := After} = Done,
    Done#{model := After#{next := max(Next, number(Command) + 1)}}.

%% The number that is new in a command.
number({while_suspended, _, Call}) -> number(Call);
number({start, New, _}) -> New;
number({connect, New, _}) -> New;
number({dial, New, _, _}) -> New;
number(Command) when is_tuple(Command), is_integer(element(tuple_size(Command), Command)), element(1, Command) =/= setopts,
                        element(1, Command) =/= close ->
    element(tuple_size(Command), Command);
number(_) -> 0.

%% It takes longer, and that is all.
done({while_suspended, _, Call}, Workers, M) -> done(Call, Workers, M);
done({start, S, Kind}, _, #{servers := Servers} = M) ->
    #{model => M#{servers := Servers#{S => #{kind => Kind, joined => []}}}};
done({connect, C, S}, _, M) -> #{model => opened(C, S, raw, M)};
done({dial, C, S, By}, _, M) -> #{model => opened(C, S, By, M)};
done({leave, C, _}, _, M) -> #{model => without([C], M)};
done({end_client, C, _}, _, M) -> #{ends => [{C, [1000, 1001]}], model => without([C], M)};
done({say, C, N}, _, M) ->
    case conn(C, M) of
        #{credits := 0, waiting := Waiting} = Conn -> #{model => put_conn(C, Conn#{waiting := Waiting ++ [N]}, M)};
        Conn -> #{frames => [{C, N}], model => put_conn(C, less(1, Conn), M)}
    end;
done({setopts, C, Active}, _, M) -> of_conn(C, M, fun(Conn) -> credited(C, Active, Conn, M) end);
done({send, C, N}, _, M) -> of_conn(C, M, fun(_) -> #{frames => [{C, N}]} end);
done({close, C, Code}, _, M) -> of_conn(C, M, fun(_) -> #{ends => [{C, [Code]}], model => without([C], M)} end);
done({subscribe, C, T}, _, M) ->
    of_conn(C, M, fun(#{topics := Topics} = Conn) -> #{model => put_conn(C, Conn#{topics := lists:usort([T | Topics])}, M)} end);
done({unsubscribe, C, T}, _, M) ->
    of_conn(C, M, fun(#{topics := Topics} = Conn) -> #{model => put_conn(C, Conn#{topics := Topics -- [T]}, M)} end);
done({publish, S, T, N}, _, M) -> of_server(S, M, fun(_) -> published(S, T, [], N, M) end);
done({publish_from, C, T, N}, _, M) -> of_conn(C, M, fun(#{server := S}) -> published(S, T, [C], N, M) end);
done({broadcast, S, N}, _, M) -> of_server(S, M, fun(_) -> to_many(conns_of(S, M), N) end);
done({broadcast_from, C, N}, _, M) -> of_conn(C, M, fun(#{server := S}) -> to_many(conns_of(S, M) -- [C], N) end);
done({send_message, S, N}, _, M) -> of_server(S, M, fun(_) -> #{frames => [{C, N} || C <- conns_of(S, M)]} end);
done({topics, S}, _, M) ->
    of_server(S, M, fun(_) ->
        All = lists:append([Topics || C <- conns_of(S, M), #{topics := Topics} <- [conn(C, M)]]),
        #{returns => [{ok, lists:foldl(fun(T, Counts) -> maps:update_with(T, fun(N) -> N + 1 end, 1, Counts) end, #{}, All)}]}
    end);
done({subscribers, S, T}, _, M) -> of_server(S, M, fun(_) -> #{returns => [{ok, subscribers(S, T, M)}]} end);
done({connections, S}, _, M) -> of_server(S, M, fun(_) -> #{returns => [{ok, conns_of(S, M)}]} end);
done({join, S, T}, _, M) -> joined(S, M, fun(Topics) -> lists:usort([T | Topics]) end);
done({part, S, T}, _, M) -> joined(S, M, fun(Topics) -> Topics -- [T] end);
done({track, C, T, Key, Meta}, _, M) ->
    of_conn(C, M, fun(#{present := Present} = Conn) -> #{model => put_conn(C, Conn#{present := Present#{{T, Key} => Meta}}, M)} end);
done({untrack, C, T, Key}, _, M) ->
    of_conn(C, M, fun(#{present := Present} = Conn) -> #{model => put_conn(C, Conn#{present := maps:remove({T, Key}, Present)}, M)} end);
done({list, S, T}, _, M) -> of_server(S, M, fun(_) -> #{returns => [{ok, present(S, T, M)}]} end);
done({give, C}, _, M) -> #{model => put_conn(C, (conn(C, M))#{given => true}, M)};
done({kill_owner, C}, _, M) -> #{ends => [{C, [1011]}], model => without([C], M)};
done({stop, S}, _, M) -> of_server(S, M, fun(_) -> ended(S, [1001], M) end);
done({drain, S}, _, M) ->
    of_server(S, M, fun(_) -> (ended(S, [1001], M))#{returns => [{ok, #{closed => length(conns_of(S, M)), unanswered => 0}}]} end);
done({reload_tls, S}, _, M) ->
    of_server(S, M, fun(#{kind := tls}) -> #{}; (_) -> #{returns => [{error, {bad_option, tls}}]} end);
%% Of an owner it is the owner that dies, for all of its server's connections.
done({kill, holder, S}, _, M) -> ended(S, [case kind(S, M) of owner -> 1011; _ -> 1001 end], M);
done({kill, server, S}, _, M) -> ended(S, [1001], M);
%% The handlers go first.
done({kill, conn_sup, S}, _, M) -> ended(S, [1001, 1011], M);
done({kill, _Helper, _S}, _, _) -> #{};
done({kill_worker, C}, Workers, M) ->
    Gone = [Other || Other <- maps:keys(maps:get(conns, M)), Other =:= C orelse is_same_worker(C, Other, Workers)],
    #{ends => [{Other, [1011]} || Other <- Gone], model => without(Gone, M)};
done(kill_engine, _, #{crashes := Crashes} = M) -> over(M#{crashes := Crashes + 1});
done({kill_child, _}, _, #{crashes := Crashes} = M) -> #{model => M#{crashes := Crashes + 1}};
%% Servers and their processes live on.
done(kill_process_of_system, _, #{conns := Conns} = M) ->
    #{ends => [{C, [closed]} || C <- maps:keys(Conns)], model => without(maps:keys(Conns), M)};
done({reload, _}, _, _) -> #{};
done(_Application, _, M) -> over(M#{crashes := 0}).

of_conn(C, M, Then) ->
    case conn(C, M) of
        none -> #{returns => [{error, closed}]};
        Conn -> Then(Conn)
    end.

of_server(S, #{servers := Servers}, Then) ->
    case Servers of
        #{S := Server} -> Then(Server);
        #{} -> #{returns => [{error, not_found}]}
    end.

opened(C, S, By, #{conns := Conns} = M) ->
    M#{conns := Conns#{C => #{server => S, by => By, topics => [], present => #{}, credits => infinity, waiting => []}}}.

put_conn(C, Conn, #{conns := Conns} = M) -> M#{conns := Conns#{C := Conn}}.

less(_, #{credits := infinity} = Conn) -> Conn;
less(N, #{credits := Credits} = Conn) -> Conn#{credits := Credits - N}.

credited(C, Active, #{credits := Before, waiting := Waiting} = Conn, M) ->
    Credits = case Active of true -> infinity; false -> 0; once -> 1; N -> Before + N end,
    Count = min(Credits, length(Waiting)),
    {Now, Later} = lists:split(Count, Waiting),
    #{frames => [{C, N} || N <- Now], model => put_conn(C, less(Count, Conn#{credits := Credits, waiting := Later}), M)}.

conns_of(S, #{conns := Conns}) -> [C || {C, #{server := Of}} <- lists:sort(maps:to_list(Conns)), Of =:= S].

subscribers(S, T, M) -> [C || C <- conns_of(S, M), #{topics := Topics} <- [conn(C, M)], is_in(T, Topics)].

is_in(T, Topics) -> lists:any(fun(Topic) -> is_match(T, Topic) end, Topics).

is_match(T, Topic) ->
    case binary:last(Topic) of
        $* -> lists:prefix(binary_to_list(binary:part(Topic, 0, byte_size(Topic) - 1)), binary_to_list(T));
        _ -> T =:= Topic
    end.

published(S, T, Except, N, #{servers := Servers} = M) ->
    #{S := #{joined := Joined}} = Servers,
    (to_many(subscribers(S, T, M) -- Except, N))#{told => [{T, N} || is_in(T, Joined)]}.

to_many(Conns, N) -> #{returns => [{ok, #{sent => length(Conns), dropped => 0}}], frames => [{C, N} || C <- Conns]}.

joined(S, #{servers := Servers} = M, Change) ->
    of_server(S, M, fun(#{joined := Topics} = Server) -> #{model => M#{servers := Servers#{S := Server#{joined := Change(Topics)}}}} end).

present(S, T, M) ->
    Entries = [{Key, Meta} || C <- conns_of(S, M), #{present := Present} <- [conn(C, M)], {{Topic, Key}, Meta} <- maps:to_list(Present), Topic =:= T],
    maps:map(fun(_, Metas) -> lists:sort(Metas) end, lists:foldl(fun({Key, Meta}, All) -> All#{Key => [Meta | maps:get(Key, All, [])]} end, #{}, Entries)).

is_same_worker(C, Other, Workers) ->
    case Workers of
        #{C := Pid, Other := Pid} -> true;
        #{} -> false
    end.

without(Conns, #{conns := All, gone := Gone} = M) ->
    M#{conns := maps:without(Conns, All), gone := maps:merge(Gone, maps:from_list([{C, conn} || C <- Conns]))}.

ended(S, Codes, #{servers := Servers, gone := Gone} = M) ->
    Conns = conns_of(S, M),
    #{ends => [{C, Codes} || C <- Conns], model => without(Conns, M#{servers := maps:remove(S, Servers), gone := Gone#{S => server}})}.

is_given(C, M) -> is_conn(C, M) andalso maps:get(given, conn(C, M), false).

%% All ends. Who is cut off sees no Close frame.
over(#{servers := Servers, conns := Conns, gone := Gone} = M) ->
    #{ends => [{C, [1000, 1001, closed]} || C <- maps:keys(Conns)],
      model => without(maps:keys(Conns), M#{servers := #{}, gone := maps:merge(Gone, maps:map(fun(_, _) -> server end, Servers))})}.

%% ---------------------------------------------------------------- what the node holds

%% Exact numbers; {more, N} of what the node had before.
census(#{servers := Servers, conns := Conns} = M) ->
    Of = fun(Kinds) -> length([S || {S, #{kind := Kind}} <- maps:to_list(Servers), lists:member(Kind, Kinds)]) end,
    By = fun(Whom) -> length([C || {C, #{by := Who}} <- maps:to_list(Conns), lists:member(Who, Whom)]) end,
    Clients = By([plain, handler]),
    N = map_size(Servers),
    Raw = By([raw]),
    #{running => true,
      servers => N + Clients,
      connections => map_size(Conns) + Clients,
      sockeye_server => N,
      sockeye_dialler => Clients,
      sockeye_worker => Of([one, asking, tls]) + 3 * Of([pool]) + By([handler])
          + length([C || C <- maps:keys(Conns), kind_of(C, M) =:= each]),
      sockeye_conn_sup => Of([each]),
      sockeye_relay => Of([each]),
      sockeye_gate => Of([asking]),
      {table, sockeye_servers} => 2 * N,
      {table, sockeye_pubsub} => lists:sum([length(Joined) || #{joined := Joined} <- maps:values(Servers)]),
      {table, sockeye_presence} => lists:sum([map_size(Present) || #{present := Present} <- maps:values(Conns)]),
      {table, sockeye_presence_watchers} => 0,
      {table, sockeye_cluster} => Of([asking]),
      log_rows => 0,
      monitors => N,
      descriptors => {more, N + 2 * map_size(Conns)},
      threads => {more, 0},
      ports => {more, Raw}}.
