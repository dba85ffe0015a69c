%% What each command of api_model does. Nothing here has a side effect.
-module(api_effects).

-export([step/3]).
-export([next/2]).
-export([outcomes/2]).
-export([conn/2]).
-export([conns_of/2]).
-export([kind/2]).
-export([kind_of/2]).
-export([has_streams/1]).
-export([streams/2]).
-export([queued/1]).
-export([has_room/3]).
-export([bytes/1]).

%% Options of a narrow server (api_clients).
-define(SUBSCRIPTIONS, 2).
-define(QUEUE, 1000).
-define(FRAGMENTS, 2).

next(Command, Model) ->
    #{model := Next} = step(Command, #{}, Model),
    Next.

%% What a command does: `returns', one of these; `frames' {Connection, Frame}, in their order; `told' {Topic, Number} to the process of
%% the test; `ends' {Connection, close codes, one of these}; `broken' answers of HTTP; and the model afterwards. `Workers' has the handler's process of each
%% connection, where that is known. A frame is a number, or has one in it: {large, N}; {pong, N}; {piece, Fin, Opcode, N};
%% {binary, N}, a whole message of a client that came in pieces.
step(Command, Workers, #{next := Next} = M) ->
    Done = maps:merge(nothing(M), done(Command, Workers, M)),
    #{model := After, frames := Frames} = Done,
    {Now, Held} = held_back(Frames, After),
    Done#{frames := Now, model := Held#{next := max(Next, number(Command) + 1)}}.

nothing(M) -> #{returns => [ok], frames => [], told => [], ends => [], broken => [], model => M}.

%% Several calls at once: what comes of them in each order that they may have. `returns' are those of each call.
outcomes(Calls, M) ->
    Numbered = lists:zip(lists:seq(1, length(Calls)), Calls),
    [in_order(Order, M) || Order <- orders(Numbered)].

in_order(Order, M) ->
    {Returns, Done} = lists:foldl(fun({Place, Call}, {Before, #{model := Now} = Sofar}) ->
        #{returns := R} = Step = step(Call, #{}, Now),
        Joined = maps:map(fun(Key, Had) -> Had ++ maps:get(Key, Step) end, maps:with([frames, told, ends], Sofar)),
        {[{Place, R} | Before], Joined#{model => maps:get(model, Step)}}
    end, {[], nothing(M)}, Order),
    Done#{returns => [R || {_, R} <- lists:sort(Returns)]}.

orders([]) -> [[]];
orders(All) -> [[One | Rest] || One <- All, Rest <- orders(All -- [One])].

%% The number that is new in a command.
number({while_suspended, _, Call}) -> number(Call);
number({at_once, Calls}) -> lists:max([number(Call) || Call <- Calls]);
number({start, New, _}) -> New;
number({connect, New, _}) -> New;
number({stream, New, _}) -> New;
number({cut, _}) -> 0;
number({dial, New, _, _}) -> New;
number({come, New, _, _, _}) -> New;
number({connect_refused, _, _, _}) -> 0;
number({drain, _, _, _}) -> 0;
number({ask, New, _}) -> New;
number(Command) when is_tuple(Command), is_integer(element(tuple_size(Command), Command)), element(1, Command) =/= setopts,
                        element(1, Command) =/= close ->
    element(tuple_size(Command), Command);
number(_) -> 0.

%% It takes longer, and that is all.
done({while_suspended, _, Call}, Workers, M) -> done(Call, Workers, M);
%% The model is the same in each order: api_model asks for no other calls.
done({at_once, Calls}, _, M) -> maps:with([model], hd(outcomes(Calls, M)));
done({start, S, Kind}, _, #{servers := Servers} = M) ->
    #{model => M#{servers := Servers#{S => #{kind => Kind, joined => []}}}};
done({connect, C, S}, _, M) -> #{model => opened(C, S, raw, 1, M)};
done({come, C, S, _, Address}, _, M) -> #{model => opened(C, S, raw, Address, M)};
done({stream, C, S}, _, M) -> #{model => opened(C, S, stream, 1, M)};
%% Nobody sees how it ends whose socket is closed.
done({cut, S}, _, M) -> #{model => without(streams(S, M), M)};
done({dial, C, S, By}, _, M) -> #{model => opened(C, S, By, 1, M)};
done({connect_refused, S, _, _}, _, M) -> #{returns => [case kind(S, M) of narrow -> 503; few -> 429 end]};
done({adopted_by_none, _, _}, _, _) -> #{returns => [{{error, not_found}, {ok, {ok, <<"ours">>}}}]};
done({ask, R, S}, _, #{answers := Answers} = M) -> #{model => M#{answers := Answers#{R => S}}};
done({answer, _, _}, _, _) -> #{};
done({finish, R}, _, #{answers := Answers} = M) -> #{model => M#{answers := maps:remove(R, Answers)}};
done({hang_up, R}, _, #{answers := Answers} = M) -> #{model => M#{answers := maps:remove(R, Answers)}};
done({leave, C, _}, _, M) -> #{model => without([C], M)};
done({end_client, C, _}, _, M) -> #{ends => [{C, [1000, 1001]}], model => without([C], M)};
done({say, C, N}, _, M) -> said(C, N, conn(C, M), M);
done({say_piece, C, first, N}, _, M) -> #{model => put_conn(C, (conn(C, M))#{saying := {1, digits(N)}}, M)};
done({say_piece, C, Step, N}, _, M) ->
    #{saying := {Count, Sofar}} = Conn = conn(C, M),
    Digits = <<Sofar/binary, (digits(N))/binary>>,
    case kind_of(C, M) =:= narrow andalso Count =:= ?FRAGMENTS of
        true -> #{ends => [{C, [1008]}], model => without([C], M)};
        false when Step =:= more -> #{model => put_conn(C, Conn#{saying := {Count + 1, Digits}}, M)};
        false -> said(C, binary_to_integer(Digits), Conn#{saying := none}, M)
    end;
done({say_too_much, C}, _, M) -> #{ends => [{C, [1009]}], model => without([C], M)};
done({ping, C, N}, _, _) -> #{frames => [{C, {pong, N}}]};
done({setopts, C, Active}, _, M) -> of_conn(C, M, fun(Conn) -> credited(C, Active, Conn, M) end);
done({send, C, N}, _, M) -> sent(C, N, M);
done({send_large, C, N}, _, M) -> sent(C, {large, N}, M);
done({piece, Caller, C, Kind, Step, N}, _, M) -> of_conn(C, M, fun(Conn) -> piece(C, Caller, Kind, Step, N, Conn, M) end);
done({close, C, Code}, _, M) -> of_conn(C, M, fun(_) -> #{ends => [{C, [Code]}], model => without([C], M)} end);
done({subscribe, C, T}, _, M) ->
    of_conn(C, M, fun(#{topics := Topics} = Conn) ->
        case kind_of(C, M) =:= narrow andalso length(Topics -- [T]) >= ?SUBSCRIPTIONS of
            true -> #{returns => [{error, too_many_subscriptions}]};
            false -> #{model => put_conn(C, Conn#{topics := lists:usort([T | Topics])}, M)}
        end
    end);
done({unsubscribe, C, T}, _, M) ->
    of_conn(C, M, fun(#{topics := Topics} = Conn) -> #{model => put_conn(C, Conn#{topics := Topics -- [T]}, M)} end);
done({publish, S, T, N}, _, M) -> of_server(S, M, fun(_) -> published(S, T, [], N, M) end);
done({publish_from, C, T, N}, _, M) -> of_conn(C, M, fun(#{server := S}) -> published(S, T, [C], N, M) end);
done({broadcast, S, N}, _, M) -> of_server(S, M, fun(_) -> to_many(conns_of(S, M), N, M) end);
done({broadcast_large, S, N}, _, M) -> of_server(S, M, fun(_) -> to_many(conns_of(S, M), {large, N}, M) end);
done({broadcast_from, C, N}, _, M) -> of_conn(C, M, fun(#{server := S}) -> to_many(conns_of(S, M) -- [C], N, M) end);
done({send_message, S, N}, _, M) -> of_server(S, M, fun(_) -> #{frames => [{C, N} || C <- conns_of(S, M), has_room(C, N, M)]} end);
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
done({drain, S}, Workers, M) -> done({drain, S, 1001, 100}, Workers, M);
done({drain, S, Code, _}, _, M) ->
    of_server(S, M, fun(_) -> (ended(S, [Code], M))#{returns => [drained(length(conns_of(S, M)), 0)]} end);
%% One of both comes second.
done({drain_twice, S}, _, M) ->
    case of_server(S, M, fun(_) -> ended(S, [1001], M) end) of
        #{ends := _} = Ended ->
            Ended#{returns => [lists:sort([drained(length(conns_of(S, M)), 0), {error, Why}]) || Why <- [draining, not_found]]};
        #{returns := [Error]} ->
            #{returns => [[Error, Error]]}
    end;
%% Clients with a socket of their own do not answer before the deadline.
done({cut_off, S}, _, M) ->
    of_server(S, M, fun(_) ->
        {Silent, Others} = lists:partition(fun(C) -> #{by := By} = conn(C, M), By =:= raw end, conns_of(S, M)),
        (ended(S, [1001], M))#{returns => [drained(length(Others), length(Silent))]}
    end);
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
    (broken(fun(_) -> true end, without(maps:keys(Conns), M)))#{ends => [{C, [closed]} || C <- maps:keys(Conns)]};
done({reload, _}, _, _) -> #{};
done(_Application, _, M) -> over(M#{crashes := 0}).

drained(Closed, Unanswered) -> {ok, #{closed => Closed, unanswered => Unanswered}}.

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

opened(C, S, By, Address, #{conns := Conns} = M) ->
    M#{conns := Conns#{C => #{server => S, by => By, address => Address, topics => [], present => #{}, credits => infinity, waiting => [],
                              stream => none, held => [], saying => none}}}.

conn(C, #{conns := Conns}) -> maps:get(C, Conns, none).

put_conn(C, Conn, #{conns := Conns} = M) -> M#{conns := Conns#{C := Conn}}.

kind(S, #{servers := Servers}) -> case Servers of #{S := #{kind := Kind}} -> Kind; #{} -> none end.
kind_of(C, M) -> #{server := S} = conn(C, M), kind(S, M).

%% Whether servers of this kind speak HTTP/2 to the streams of api_streams. Where bytes that wait are counted, one has a second queue for them.
has_streams(Kind) -> not lists:member(Kind, [narrow, few]).

streams(S, M) -> [C || C <- conns_of(S, M), #{by := stream} <- [conn(C, M)]].

%% ---------------------------------------------------------------- messages that come in

%% Each is sent back, where there are credits for it.
said(C, N, #{credits := 0, waiting := Waiting} = Conn, M) -> #{model => put_conn(C, Conn#{waiting := Waiting ++ [N]}, M)};
said(C, N, Conn, M) -> #{frames => [{C, N}], model => put_conn(C, less(1, Conn), M)}.

less(_, #{credits := infinity} = Conn) -> Conn;
less(N, #{credits := Credits} = Conn) -> Conn#{credits := Credits - N}.

credited(C, Active, #{credits := Before, waiting := Waiting} = Conn, M) ->
    Credits = case Active of true -> infinity; false -> 0; once -> 1; N -> Before + N end,
    Count = min(Credits, length(Waiting)),
    {Now, Later} = lists:split(Count, Waiting),
    #{frames => [{C, N} || N <- Now], model => put_conn(C, less(Count, Conn#{credits := Credits, waiting := Later}), M)}.

digits(N) -> integer_to_binary(N).

%% ---------------------------------------------------------------- messages that go out in pieces

piece(C, Caller, Kind, first, N, #{stream := none} = Conn, M) ->
    #{frames => shown(C, Conn, false, opcode(Kind), N), model => put_conn(C, Conn#{stream := {Caller, Kind, digits(N)}}, M)};
piece(_C, _Caller, _Kind, first, _N, _Conn, _M) ->
    #{returns => [{error, streaming}]};
piece(C, Caller, Kind, Step, N, #{stream := {Caller, Kind, Sofar}} = Conn, M) ->
    Whole = <<Sofar/binary, (digits(N))/binary>>,
    case Step of
        more ->
            #{frames => shown(C, Conn, false, 0, N), model => put_conn(C, Conn#{stream := {Caller, Kind, Whole}}, M)};
        last ->
            #{held := Held} = Conn,
            #{frames => shown(C, Conn, true, 0, N) ++ whole(C, Conn, Kind, Whole) ++ [{C, Frame} || Frame <- Held],
              model => put_conn(C, Conn#{stream := none, held := []}, M)}
    end;
piece(_C, _Caller, _Kind, _Step, _N, _Conn, _M) ->
    #{returns => [{error, not_streaming}]}.

opcode(text) -> 1;
opcode(binary) -> 2.

%% A socket sees the pieces, a client of ours the message.
shown(C, #{by := By}, Fin, Opcode, N) when By =:= raw; By =:= stream -> [{C, {piece, Fin, Opcode, N}}];
shown(_C, _Conn, _Fin, _Opcode, _N) -> [].

whole(_C, #{by := By}, _Kind, _Whole) when By =:= raw; By =:= stream -> [];
whole(C, _Conn, text, Whole) -> [{C, binary_to_integer(Whole)}];
whole(C, _Conn, binary, Whole) -> [{C, {binary, binary_to_integer(Whole)}}].

%% Messages wait for the end of one that is sent in pieces.
held_back(Frames, M) ->
    {Now, Model} = lists:foldl(fun({C, Frame} = Sent, {Sofar, #{conns := Conns} = Mx}) ->
        case Conns of
            #{C := #{stream := Stream, held := Held} = Conn} when Stream =/= none, is_integer(Frame); Stream =/= none, element(1, Frame) =:= large ->
                {Sofar, put_conn(C, Conn#{held := Held ++ [Frame]}, Mx)};
            #{} ->
                {[Sent | Sofar], Mx}
        end
    end, {[], M}, Frames),
    {lists:reverse(Now), Model}.

%% What waits behind pieces, in bytes as they go over the wire.
queued(#{held := Held}) -> lists:sum([bytes(Frame) || Frame <- Held]).

bytes({large, _}) -> 604;
bytes(N) -> 2 + byte_size(digits(N)).

%% Whether the bound of what waits for a client lets a frame in. An empty queue takes any.
has_room(C, Frame, M) ->
    #{stream := Stream} = Conn = conn(C, M),
    kind_of(C, M) =/= narrow orelse Stream =:= none orelse queued(Conn) =:= 0 orelse queued(Conn) + bytes(Frame) =< ?QUEUE.

sent(C, Frame, M) ->
    of_conn(C, M, fun(_) ->
        case has_room(C, Frame, M) of
            true -> #{frames => [{C, Frame}]};
            false -> #{returns => [{error, busy}]}
        end
    end).

%% ---------------------------------------------------------------- frames for many

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
    (to_many(subscribers(S, T, M) -- Except, N, M))#{told => [{T, N} || is_in(T, Joined)]}.

to_many(Conns, Frame, M) ->
    {Reached, Full} = lists:partition(fun(C) -> has_room(C, Frame, M) end, Conns),
    #{returns => [{ok, #{sent => length(Reached), dropped => length(Full)}}], frames => [{C, Frame} || C <- Reached]}.

joined(S, #{servers := Servers} = M, Change) ->
    of_server(S, M, fun(#{joined := Topics} = Server) -> #{model => M#{servers := Servers#{S := Server#{joined := Change(Topics)}}}} end).

present(S, T, M) ->
    Entries = [{Key, Meta} || C <- conns_of(S, M), #{present := Present} <- [conn(C, M)], {{Topic, Key}, Meta} <- maps:to_list(Present), Topic =:= T],
    maps:map(fun(_, Metas) -> lists:sort(Metas) end, lists:foldl(fun({Key, Meta}, All) -> All#{Key => [Meta | maps:get(Key, All, [])]} end, #{}, Entries)).

%% ---------------------------------------------------------------- ends

is_same_worker(C, Other, Workers) ->
    case Workers of
        #{C := Pid, Other := Pid} -> true;
        #{} -> false
    end.

without(Conns, #{conns := All, gone := Gone} = M) ->
    M#{conns := maps:without(Conns, All), gone := maps:merge(Gone, maps:from_list([{C, conn} || C <- Conns]))}.

ended(S, Codes, #{servers := Servers, gone := Gone} = M) ->
    Conns = conns_of(S, M),
    (broken(fun(Of) -> Of =:= S end, without(Conns, M#{servers := maps:remove(S, Servers), gone := Gone#{S => server}})))
        #{ends => [{C, Codes} || C <- Conns]}.

%% All ends. Who is cut off sees no Close frame.
over(#{servers := Servers, conns := Conns, gone := Gone} = M) ->
    All = M#{servers := #{}, gone := maps:merge(Gone, maps:map(fun(_, _) -> server end, Servers))},
    (broken(fun(_) -> true end, without(maps:keys(Conns), All)))#{ends => [{C, [1000, 1001, closed]} || C <- maps:keys(Conns)]}.

%% Answers of these servers break off.
broken(Is, #{answers := Answers} = M) ->
    Broken = [R || {R, S} <- maps:to_list(Answers), Is(S)],
    #{broken => Broken, model => M#{answers := maps:without(Broken, Answers)}}.
