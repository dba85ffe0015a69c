%% @private
%% What `sockeye:i/0,1' prints: servers and connections as tables, in columns as `inet:i/0' has them.
-module(sockeye_table).

-export([print/1]).
-export([lines/2]).

%% Rows of a table, and characters of a cell.
-define(ROWS, 100).
-define(CELL, 40).
%% A connection whose thread does not answer holds up nobody for longer; the others are not asked then.
-define(ASK_MS, 200).

%% A number stands on the right of its column.
-type cell() :: integer() | unicode:chardata().

-spec print(all | sockeye:server()) -> ok | {error, not_found | not_running}.
print(all) ->
    case sockeye:info() of
        {ok, Engine} ->
            io:put_chars(engine(Engine)),
            print_servers([Entry || {_, _, About} = Entry <- sockeye_engine:servers(), not sockeye_dashboard:is_one(About)]);
        {error, _} = Error ->
            Error
    end;
print(Server) ->
    case sockeye_engine:find(Server) of
        {ok, {_, Id, _} = Entry} ->
            %% As sockeye:info/1 while the engine is started again.
            try sockeye_counts:numbers(Id) of
                #{} -> print_servers([Entry])
            catch error:badarg -> {error, not_found}
            end;
        error ->
            {error, not_found}
    end.

-spec print_servers([sockeye_engine:entry()]) -> ok.
print_servers(Servers) ->
    io:put_chars([lines(server_head(), shown(fun server/1, lists:sort(Servers))),
                  lines(conn_head(), shown(fun conn/1, lists:append([conns(Entry) || Entry <- Servers])))]).

-spec engine(map()) -> unicode:chardata().
engine(#{engine := Engine, shards := Shards, memory := Memory, restarts := Restarts}) ->
    io_lib:format("Engine ~s, threads ~b, bytes ~b, restarts ~b~n", [Engine, Shards, Memory, Restarts]).

-spec server_head() -> [string()].
server_head() -> ["Server", "Name", "Listens on", "Handler", "Open", "Opened", "Refused", "Received", "Sent", "Queued"].

%% One that has just ended is left out.
-spec server(sockeye_engine:entry()) -> [cell()] | none.
server({Pid, Id, #{handler := Handler} = About}) ->
    try sockeye_counts:numbers(Id) of
        #{connections := Open, accepted := Opened, rejected := Refused, frames_in := In, frames_out := Out,
          memory := #{send_queues := Queued}} ->
            [pid_to_list(Pid), name(About), sockeye_log:place(sockeye_log:server(Pid)), handler(Handler),
             Open, Opened, Refused, In, Out, Queued]
    catch error:badarg -> none
    end.

-spec name(map()) -> unicode:chardata().
name(#{name := Name}) when Name =/= undefined -> io_lib:format("~tw", [Name]);
name(_About) -> "-".

-spec handler(sockeye:handler()) -> unicode:chardata().
handler({Module, _}) -> sockeye_shown:atom(Module);
handler(Owner) -> io_lib:format("~tw", [Owner]).

-spec conn_head() -> [string()].
conn_head() -> ["Connection", "Server", "Peer", "Path", "Seconds", "Received", "Queued", "Held", "Active"].

-spec conns(sockeye_engine:entry()) -> [{unicode:chardata(), sockeye:conn()}].
conns({Pid, Id, About}) ->
    Name = case name(About) of
               "-" -> pid_to_list(Pid);
               Known -> Known
           end,
    try sockeye_fanout:connections(Id, all) of
        {ok, Conns} -> [{Name, Conn} || Conn <- lists:sort(Conns)];
        {error, _} -> []
    catch error:badarg -> []
    end.

-spec conn({unicode:chardata(), sockeye:conn()}) -> [cell()] | none.
conn({Server, Conn}) ->
    case sockeye_ask:conn_info(Conn, ?ASK_MS) of
        {ok, #{peer := Peer, path := Path, age := Age, frames_in := In, send_queue := Queued, held := Held, active := Active}} ->
            [io_lib:format("~w", [Conn]), Server, sockeye_log_text:address(Peer), Path, Age div 1000, In, Queued, Held,
             io_lib:format("~w", [Active])];
        {error, _} ->
            none
    end.

%% The first of them, and how many there are.
-spec shown(fun((Item) -> [cell()] | none), [Item]) -> {[[cell()]], non_neg_integer()}.
shown(Row, Items) ->
    Rows = [Cells || Item <- lists:sublist(Items, ?ROWS), Cells <- [Row(Item)], Cells =/= none],
    {Rows, max(0, length(Items) - ?ROWS)}.

%% A table under these heads, and a line that says how many rows it has not.
-spec lines([string()], {[[cell()]], non_neg_integer()}) -> unicode:chardata().
lines(Heads, {Rows, More}) ->
    Texts = [[cell(Cell) || Cell <- Row] || Row <- [Heads | Rows]],
    Widths = lists:foldl(fun(Row, Before) -> lists:zipwith(fun(Text, Width) -> max(string:length(Text), Width) end, Row, Before) end,
                         [0 || _ <- Heads], Texts),
    Numbers = case Rows of
                  [First | _] -> [is_integer(Cell) || Cell <- First];
                  [] -> [false || _ <- Heads]
              end,
    [[line(lists:zip3(Row, Widths, Numbers)) || Row <- Texts],
     [io_lib:format("... and ~b more~n", [More]) || More > 0]].

-spec line([{unicode:chardata(), non_neg_integer(), boolean()}]) -> unicode:chardata().
line(Cells) ->
    Padded = [string:pad(Text, Width, case IsNumber of true -> leading; false -> trailing end) || {Text, Width, IsNumber} <- Cells],
    [string:trim(lists:join("  ", Padded), trailing), $\n].

%% On one line, without what a terminal would obey.
-spec cell(cell()) -> unicode:chardata().
cell(Number) when is_integer(Number) ->
    integer_to_list(Number);
cell(Text) ->
    Chars = [case C of
                 _ when C < 32; C >= 127, C < 160 -> $?;
                 _ -> C
             end || C <- characters(Text)],
    case length(Chars) > ?CELL of
        true -> lists:sublist(Chars, ?CELL - 3) ++ "...";
        false -> Chars
    end.

%% Bytes that are no UTF-8 are shown one by one.
-spec characters(unicode:chardata()) -> [char()].
characters(Text) ->
    case unicode:characters_to_list(Text) of
        Chars when is_list(Chars) -> Chars;
        _ -> binary_to_list(iolist_to_binary(Text))
    end.
