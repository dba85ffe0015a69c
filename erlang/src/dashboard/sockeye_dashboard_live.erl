%% @private
%% One browser that shows the dashboard: what it asks for, and what it is told by itself.
%%
%% A process for each: a long list is sorted here, and holds up nobody else. What an open page costs has a bound whatever it shows: a list
%% is read and sorted again when two hundred times what that took is over. What a person asks for in between, at most a quarter of a core.
-module(sockeye_dashboard_live).
-behaviour(sockeye_handler).

-export([accept/2]).
-export([init/1]).
-export([handle_open/3]).
-export([handle_frame/3]).
-export([handle_info/2]).
-export([handle_error/3]).

%% Of one page.
-define(MOST_ROWS, 200).
%% Bytes of a text to search for.
-define(LONGEST_SEARCH, 128).
-define(DETAIL_MS, 2000).
%% Frames that are shown of a connection, and how many a second are looked at.
-define(MOST_FRAMES, 20).
-define(MOST_FRAME_RATE, 100).
-define(CLUSTER_MS, 10000).
%% What a browser asks may take one part in so many of the time.
-define(SHARE, 4).
-define(CLOSE_CODES, [1000, 1001, 1008, 1012, 1013]).
-define(REASON, <<"closed by an operator">>).

-record(table,
        {server :: sockeye_backend:server_id(),
         search :: binary(),
         sort :: sockeye_dashboard_table:sort(),
         direction :: asc | desc,
         from :: non_neg_integer(),
         count :: pos_integer()}).

-record(state,
        {who = <<>> :: binary(),
         peer :: sockeye:endpoint() | undefined,
         sampler :: {pid(), reference()} | undefined,
         %% The table that is shown, and the list that it is a page of.
         table :: #table{} | undefined,
         snapshot :: sockeye_dashboard_sampler:snapshot() | undefined,
         rows :: tuple() | undefined,
         %% Before this time of the VM in milliseconds no list is sorted because somebody asked.
         ready = 0 :: integer(),
         sorting = false :: boolean(),
         refresh :: reference() | undefined,
         detail :: {sockeye:conn(), reference()} | undefined,
         %% What came and went on that connection since it is shown, the newest first; none where nobody may look.
         frames = none :: [[atom() | non_neg_integer()]] | none,
         %% Those of a server, and until when they are not asked for again.
         topics :: {sockeye_backend:server_id(), Until :: integer(), [{sockeye:topic(), pos_integer()}]} | undefined,
         cluster :: pid() | undefined}).

-type result() :: {[sockeye_handler:command()], #state{}}.

-spec accept(sockeye_handler:request(), map()) -> sockeye_handler:decision().
accept(Request, #{auth := Auth}) ->
    case sockeye_dashboard_auth:socket(Auth, Request) of
        {ok, Who} ->
            Own = sockeye_dashboard_auth:subprotocol(),
            case lists:member(Own, maps:get(subprotocols, Request)) of
                true -> {accept, #{state => Who, subprotocol => Own}};
                false -> {reject, 400, [], "Not the page of the dashboard.\n"}
            end;
        {error, {Status, Headers, Body}} ->
            {reject, Status, Headers, Body}
    end.

-spec init(map()) -> {ok, #state{}}.
init(_Arg) ->
    {ok, #state{}}.

-spec handle_open(map(), sockeye:conn(), #state{}) -> result().
handle_open(#{state := Who, peer := Peer}, _Conn, State) ->
    {Points, Watching} = watch(State#state{who = Who, peer = Peer}),
    About = sockeye_dashboard_facts:about(),
    {[{reply, About#{type => hello, who => Who}}, {reply, #{type => points, points => [plotted(Point) || Point <- Points]}}], Watching}.

-spec watch(#state{}) -> {[sockeye_dashboard_facts:point()], #state{}}.
watch(State) ->
    {ok, Points, Pid} = sockeye_dashboard_sampler:watch(),
    {Points, State#state{sampler = {Pid, monitor(process, Pid)}}}.

%% The table of servers is wanted of the last point only.
-spec plotted(sockeye_dashboard_facts:point()) -> map().
plotted(Point) ->
    maps:remove(table, Point).

-spec handle_frame(sockeye_handler:in_frame(), sockeye:conn(), #state{}) -> result().
handle_frame({json, #{<<"op">> := Op} = Question}, _Conn, State) ->
    try asked(Op, Question, State)
    catch
        throw:bad_question -> {[{close, 1008, <<"no question of this page">>}], State}
    end;
handle_frame(_Frame, _Conn, State) ->
    {[{close, 1008, <<"no question of this page">>}], State}.

-spec asked(term(), map(), #state{}) -> result().
asked(<<"rows">>, Question, #state{table = Before} = State) ->
    Table = #table{server = server(Question), search = search(Question), sort = sort(Question), direction = direction(Question),
                   from = number(<<"from">>, Question, 0, 16#ffffffff), count = number(<<"count">>, Question, 1, ?MOST_ROWS)},
    show(Before, State#state{table = Table});
asked(<<"leave">>, _Question, State) ->
    {[], leave(State)};
asked(<<"detail">>, #{<<"conn">> := null}, State) ->
    {[], no_detail(State)};
asked(<<"detail">>, Question, State) ->
    Conn = conn(Question),
    case State of
        #state{detail = {Conn, _}} -> detail(Conn, State);
        _ -> detail(Conn, traced(Conn, no_detail(State)))
    end;
asked(<<"close">>, #{<<"code">> := Code} = Question, State) ->
    lists:member(Code, ?CLOSE_CODES) orelse throw(bad_question),
    act(dashboard_closed, #{code => Code}, conn(Question), fun(Conn) -> sockeye:close(Conn, Code, ?REASON) end, State);
asked(<<"active">>, #{<<"active">> := Active} = Question, State) ->
    is_boolean(Active) orelse is_integer(Active) andalso Active >= 1 andalso Active =< 32767 orelse throw(bad_question),
    act(dashboard_active, #{active => Active}, conn(Question), fun(Conn) -> sockeye:setopts(Conn, [{active, Active}]) end, State);
asked(<<"topics">>, Question, State) ->
    topics(server(Question), search(Question), number(<<"from">>, Question, 0, 16#ffffffff), State);
asked(<<"members">>, #{<<"topic">> := <<_, _/binary>> = Topic} = Question, State) ->
    {[{reply, #{type => members, topic => Topic, members => sockeye_dashboard_facts:members(server(Question), Topic)}}], State};
asked(<<"cluster">>, _Question, State) ->
    {[], ask_nodes(State)};
asked(_, _, _) ->
    throw(bad_question).

%% ---------------------------------------------------------------- what a question has in it

-spec server(map()) -> sockeye_backend:server_id().
server(#{<<"server">> := Text}) -> id(Text);
server(_) -> throw(bad_question).

-spec conn(map()) -> sockeye:conn().
conn(#{<<"conn">> := Text}) -> sockeye_conn:of_number(id(Text));
conn(_) -> throw(bad_question).

-spec id(term()) -> non_neg_integer().
id(Text) when is_binary(Text), byte_size(Text) =< 20 ->
    try binary_to_integer(Text) of
        Id when Id >= 0, Id < 1 bsl 59 -> Id;
        _ -> throw(bad_question)
    catch
        error:badarg -> throw(bad_question)
    end;
id(_) ->
    throw(bad_question).

-spec search(map()) -> binary().
search(#{<<"search">> := Text}) when is_binary(Text), byte_size(Text) =< ?LONGEST_SEARCH -> Text;
search(_) -> throw(bad_question).

-spec sort(map()) -> sockeye_dashboard_table:sort().
sort(#{<<"sort">> := Text}) ->
    case [Key || Key <- sockeye_dashboard_table:sort_keys(), atom_to_binary(Key) =:= Text] of
        [Key] -> Key;
        [] -> throw(bad_question)
    end;
sort(_) ->
    throw(bad_question).

-spec direction(map()) -> asc | desc.
direction(#{<<"direction">> := <<"asc">>}) -> asc;
direction(#{<<"direction">> := <<"desc">>}) -> desc;
direction(_) -> throw(bad_question).

-spec number(binary(), map(), integer(), integer()) -> integer().
number(Key, Question, Least, Most) ->
    case Question of
        #{Key := N} when is_integer(N), N >= Least, N =< Most -> N;
        _ -> throw(bad_question)
    end.

%% ---------------------------------------------------------------- the table of connections

%% Another page of the same list is there at once.
-spec show(#table{} | undefined, #state{}) -> result().
show(Before, #state{table = Table, rows = Rows, snapshot = Snapshot} = State) ->
    case is_same_list(Before, Table) of
        true when Rows =/= undefined -> {[page(State)], State};
        _ when Snapshot =/= undefined, Before#table.server =:= Table#table.server -> sort_when_ready(State#state{rows = undefined});
        _ -> want(State#state{rows = undefined, snapshot = undefined})
    end.

-spec is_same_list(#table{} | undefined, #table{}) -> boolean().
is_same_list(undefined, _Table) -> false;
is_same_list(Before, Table) -> Before#table{from = 0, count = 1} =:= Table#table{from = 0, count = 1}.

-spec want(#state{}) -> result().
want(#state{table = #table{server = Server}} = State) ->
    ok = sockeye_dashboard_sampler:want_rows(Server),
    {[], State}.

-spec page(#state{}) -> sockeye_handler:command().
page(#state{table = #table{server = Server, from = From, count = Count}, rows = Rows, snapshot = #{at := At}}) ->
    {reply, #{type => rows, server => integer_to_binary(Server), total => tuple_size(Rows), from => From,
              age => erlang:monotonic_time(millisecond) - At, rows => sockeye_dashboard_table:page(Rows, From, Count)}}.

%% Whoever types fast gets the list for the last letter.
-spec sort_when_ready(#state{}) -> result().
sort_when_ready(#state{sorting = true} = State) ->
    {[], State};
sort_when_ready(#state{ready = Ready} = State) ->
    case Ready - erlang:monotonic_time(millisecond) of
        Wait when Wait > 0 ->
            _ = erlang:send_after(Wait, self(), sort),
            {[], State#state{sorting = true}};
        _ ->
            sorted(State)
    end.

-spec sorted(#state{}) -> result().
sorted(#state{table = #table{search = Search, sort = Sort, direction = Direction}, snapshot = #{pages := Pages, took := Read}} = State) ->
    Start = erlang:monotonic_time(microsecond),
    Rows = sockeye_dashboard_table:select(Pages, Search, Sort, Direction),
    Took = erlang:monotonic_time(microsecond) - Start,
    Ready = erlang:monotonic_time(millisecond) + (?SHARE - 1) * Took div 1000,
    Later = refresh(sockeye_dashboard_sampler:pause(Read + Took), State#state{rows = Rows, ready = Ready, sorting = false}),
    {[page(Later)], Later}.

-spec refresh(pos_integer(), #state{}) -> #state{}.
refresh(Ms, #state{refresh = Before} = State) ->
    _ = Before =:= undefined orelse erlang:cancel_timer(Before),
    State#state{refresh = erlang:start_timer(Ms, self(), refresh)}.

-spec leave(#state{}) -> #state{}.
leave(State) ->
    State#state{table = undefined, rows = undefined, snapshot = undefined}.

%% ---------------------------------------------------------------- one connection

-spec detail(sockeye:conn(), #state{}) -> result().
detail(Conn, State) ->
    case sockeye_dashboard_facts:conn(Conn) of
        closed ->
            {[{reply, #{type => detail, conn => id_text(Conn), facts => closed}}], State#state{detail = undefined, frames = none}};
        Facts ->
            Shown = case State#state.frames of
                        none -> Facts;
                        Frames -> Facts#{frames => lists:reverse(Frames)}
                    end,
            {[{reply, #{type => detail, conn => id_text(Conn), facts => Shown}}],
             State#state{detail = {Conn, erlang:start_timer(?DETAIL_MS, self(), detail)}}}
    end.

-spec no_detail(#state{}) -> #state{}.
no_detail(#state{detail = undefined} = State) ->
    State#state{frames = none};
no_detail(#state{detail = {Conn, _}} = State) ->
    _ = sockeye:trace(Conn, {off, self()}),
    State#state{detail = undefined, frames = none}.

%% Frames are noted from here on: before, nobody would have paid for it.
-spec traced(sockeye:conn(), #state{}) -> #state{}.
traced(Conn, State) ->
    case sockeye:trace(Conn, #{to => self(), rate => ?MOST_FRAME_RATE}) of
        ok -> State#state{frames = []};
        {error, _} -> State#state{frames = none}
    end.

-spec id_text(sockeye:conn()) -> binary().
id_text(Conn) ->
    integer_to_binary(sockeye_conn:number(Conn)).

%% Who did it goes to the log before it is done: afterwards the connection may be gone.
-spec act(atom(), map(), sockeye:conn(), fun((sockeye:conn()) -> ok | {error, closed}), #state{}) -> result().
act(What, Detail, Conn, Do, #state{who = Who, peer = Peer} = State) ->
    Done = case sockeye_backend:conn_server(Conn) of
               {ok, Id} ->
                   Server = case sockeye_engine:find_id(Id) of
                                {ok, Pid} -> sockeye_log:server(Pid);
                                error -> #{}
                            end,
                   sockeye_log:always(notice, What, maps:merge(maps:merge(Server, sockeye_log:conn(Conn)), Detail#{watcher => {Who, Peer}})),
                   Do(Conn);
               {error, closed} = Error ->
                   Error
           end,
    {[{reply, #{type => done, what => What, conn => id_text(Conn), ok => Done =:= ok}}], State}.

%% ---------------------------------------------------------------- topics and nodes

-spec topics(sockeye_backend:server_id(), binary(), non_neg_integer(), #state{}) -> result().
topics(Server, Search, From, State) ->
    #state{topics = {_, _, All}} = Known = known_topics(Server, State),
    Found = case Search of
                <<>> -> All;
                _ -> [Topic || {Name, _} = Topic <- All, binary:match(Name, Search) =/= nomatch]
            end,
    Page = lists:sublist(lists:nthtail(min(From, length(Found)), Found), ?MOST_ROWS),
    {[{reply, #{type => topics, server => integer_to_binary(Server), total => length(Found), from => From,
                topics => [[sockeye_dashboard_facts:text(Name), Count] || {Name, Count} <- Page]}}], Known}.

%% Not asked for more often than a list of connections.
-spec known_topics(sockeye_backend:server_id(), #state{}) -> #state{}.
known_topics(Server, #state{topics = Before} = State) ->
    Start = erlang:monotonic_time(microsecond),
    case Before of
        {Server, Until, _} when Start < Until ->
            State;
        _ ->
            All = sockeye_dashboard_facts:topics(Server),
            End = erlang:monotonic_time(microsecond),
            State#state{topics = {Server, End + 1000 * sockeye_dashboard_sampler:pause(End - Start), All}}
    end.

%% One question at a time is on its way: a node may hang.
-spec ask_nodes(#state{}) -> #state{}.
ask_nodes(#state{cluster = undefined} = State) ->
    Self = self(),
    Pid = spawn_link(fun() -> Self ! {nodes, self(), sockeye_dashboard_facts:nodes()} end),
    State#state{cluster = Pid};
ask_nodes(State) ->
    State.

%% ---------------------------------------------------------------- messages

-spec handle_info(term(), #state{}) -> result().
handle_info({sockeye_point, Point}, State) ->
    {[{reply, Point#{type => point}}], State};
handle_info({sockeye_rows, Server, Snapshot}, #state{table = #table{server = Server}} = State) ->
    case Snapshot of
        closed ->
            {[{reply, #{type => rows, server => integer_to_binary(Server), total => 0, from => 0, age => 0, rows => []}}],
             refresh(?CLUSTER_MS, State#state{rows = undefined, snapshot = undefined})};
        _ ->
            sorted(State#state{snapshot = Snapshot})
    end;
handle_info(sort, #state{table = #table{}, snapshot = #{}} = State) ->
    sorted(State);
handle_info(sort, State) ->
    {[], State#state{sorting = false}};
handle_info({timeout, Timer, refresh}, #state{refresh = Timer, table = #table{}} = State) ->
    want(State#state{refresh = undefined});
handle_info({timeout, Timer, detail}, #state{detail = {Conn, Timer}} = State) ->
    detail(Conn, State);
handle_info({sockeye_trace, Conn, #{direction := Direction, opcode := Opcode, size := Size}}, #state{detail = {Conn, _}, frames = Frames} = State)
  when is_list(Frames) ->
    {[], State#state{frames = lists:sublist([[Direction, Opcode, Size] | Frames], ?MOST_FRAMES)}};
handle_info({nodes, Pid, Nodes}, #state{cluster = Pid} = State) ->
    {[{reply, #{type => cluster, nodes => Nodes}}], State#state{cluster = undefined}};
handle_info({'DOWN', Ref, process, Pid, _Reason}, #state{sampler = {Pid, Ref}} = State) ->
    {Points, Watching} = watch(State),
    {[{reply, #{type => points, points => [plotted(Point) || Point <- Points]}}], Watching};
handle_info(_Message, State) ->
    {[], State}.

%% A browser that takes nothing misses what it is told.
-spec handle_error({sockeye_handler:command(), sockeye_handler:failure()}, sockeye:conn() | none, #state{}) -> result().
handle_error(_Failure, _Conn, State) ->
    {[], State}.
