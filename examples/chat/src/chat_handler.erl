%% The chat: one process for all rooms of a node.
%%
%% A room is a topic. What is said is published there, and comes back to this process as well,
%% from whichever node it was said on: so it has the history. Who is in a room is a presence list.
-module(chat_handler).
-behaviour(sockeye_handler).

-export([init/1]).
-export([handle_open/3]).
-export([handle_frame/3]).
-export([handle_close/4]).
-export([handle_info/2]).

-define(HISTORY, 50).
-define(MOST_ROOMS, 200).
-define(MOST_PEOPLE, 200).
-define(MOST_IN_NICK, 20).
-define(MOST_IN_ROOM, 30).
-define(MOST_IN_TEXT, 1000).

%% A room is here as long as people of this node are in it.
-record(room, {people = 0 :: non_neg_integer(),
               history = [] :: [map()]}).

-record(chat, {server :: atom(),
               places = #{} :: #{sockeye:conn() => {Room :: binary(), Nick :: binary()}},
               rooms = #{} :: #{binary() => #room{}}}).

-spec init(atom()) -> {ok, #chat{}}.
init(Server) ->
    {ok, #chat{server = Server}}.

-spec handle_open(map(), sockeye:conn(), #chat{}) -> {list(), #chat{}}.
handle_open(_Info, _Conn, Chat) ->
    {[], Chat}.

-spec handle_frame(sockeye_handler:in_frame(), sockeye:conn(), #chat{}) -> {list(), #chat{}}.
handle_frame({json, #{<<"join">> := Room, <<"nick">> := Nick}}, Conn, Chat) ->
    join(room(Room), text(Nick, ?MOST_IN_NICK), Conn, Chat);
handle_frame({json, #{<<"say">> := Said}}, Conn, #chat{places = Places} = Chat) ->
    case {Places, text(Said, ?MOST_IN_TEXT)} of
        {#{Conn := {Room, Nick}}, {ok, Text}} ->
            Message = #{nick => Nick, text => Text, at => erlang:system_time(millisecond)},
            {[{publish, topic(Room), #{said => Message}}], Chat};
        {#{Conn := _}, {error, Why}} ->
            {[{reply, #{error => Why, what => text}}], Chat};
        {_, _} ->
            {[{reply, #{error => not_in_a_room, what => room}}], Chat}
    end;
handle_frame(_Other, _Conn, Chat) ->
    {[{close, 1008, <<"join a room, or say something">>}], Chat}.

-spec handle_close(sockeye:close_code(), binary(), sockeye:conn(), #chat{}) -> {list(), #chat{}}.
handle_close(_Code, _Reason, Conn, Chat) ->
    {[], leave(Conn, Chat)}.

-spec handle_info(term(), #chat{}) -> {list(), #chat{}}.
handle_info({sockeye_pubsub, <<"room/", Room/binary>>, {json, #{said := Message}}},
            #chat{rooms = Rooms} = Chat) ->
    case Rooms of
        #{Room := #room{history = History} = State} ->
            Kept = lists:sublist([Message | History], ?HISTORY),
            {[], Chat#chat{rooms = Rooms#{Room := State#room{history = Kept}}}};
        _ ->
            {[], Chat}
    end;
%% Every node tells its own clients, so this goes no further.
handle_info({sockeye_presence, <<"room/", _/binary>> = Topic, #{joins := Joins, leaves := Leaves}},
            #chat{server = Server} = Chat) ->
    News = #{came => maps:keys(Joins), went => maps:keys(Leaves), people => people(Server, Topic)},
    _ = sockeye:publish(Server, Topic, News, #{scope => local}),
    {[], Chat};
handle_info(_Message, Chat) ->
    {[], Chat}.

-spec join({ok, binary()} | {error, atom()}, {ok, binary()} | {error, atom()}, sockeye:conn(), #chat{}) ->
          {list(), #chat{}}.
join({error, Why}, _, _Conn, Chat) ->
    {[{reply, #{error => Why, what => room}}], Chat};
join(_, {error, Why}, _Conn, Chat) ->
    {[{reply, #{error => Why, what => nick}}], Chat};
join({ok, Room}, {ok, Nick}, Conn, #chat{server = Server, places = Places, rooms = Rooms} = Chat) ->
    Topic = topic(Room),
    Here = maps:get(Room, Rooms, #room{}),
    {ok, Present} = sockeye_presence:list(Server, Topic),
    case maps:is_key(Nick, Present) of
        true when map_get(Conn, Places) =/= {Room, Nick}; not is_map_key(Conn, Places) ->
            {[{reply, #{error => taken, what => nick}}], Chat};
        _ when map_size(Rooms) >= ?MOST_ROOMS, not is_map_key(Room, Rooms);
               Here#room.people >= ?MOST_PEOPLE ->
            {[{reply, #{error => too_many, what => room}}], Chat};
        _ ->
            enter(Room, Topic, Nick, Conn, open_room(Room, Topic, leave(Conn, Chat)))
    end.

-spec enter(binary(), sockeye:topic(), binary(), sockeye:conn(), #chat{}) -> {list(), #chat{}}.
enter(Room, Topic, Nick, Conn, #chat{server = Server, places = Places, rooms = Rooms} = Chat) ->
    #{Room := #room{people = People, history = History} = State} = Rooms,
    case sockeye_presence:track(Conn, Topic, Nick, here) of
        ok ->
            Joined = #{joined => Room, nick => Nick, history => lists:reverse(History),
                       people => people(Server, Topic)},
            {[{subscribe, Topic}, {reply, Joined}],
             Chat#chat{places = Places#{Conn => {Room, Nick}},
                       rooms = Rooms#{Room := State#room{people = People + 1}}}};
        {error, closed} ->
            {[], close_room_if_empty(Room, Chat)}
    end.

-spec leave(sockeye:conn(), #chat{}) -> #chat{}.
leave(Conn, #chat{places = Places, rooms = Rooms} = Chat) ->
    case maps:take(Conn, Places) of
        {{Room, Nick}, Others} ->
            Topic = topic(Room),
            %% Both have ended by themselves if the connection has.
            _ = sockeye:unsubscribe(Conn, Topic),
            _ = sockeye_presence:untrack(Conn, Topic, Nick),
            #{Room := #room{people = People} = State} = Rooms,
            Left = Rooms#{Room := State#room{people = People - 1}},
            close_room_if_empty(Room, Chat#chat{places = Others, rooms = Left});
        error ->
            Chat
    end.

-spec open_room(binary(), sockeye:topic(), #chat{}) -> #chat{}.
open_room(Room, _Topic, #chat{rooms = Rooms} = Chat) when is_map_key(Room, Rooms) ->
    Chat;
open_room(Room, Topic, #chat{server = Server, rooms = Rooms} = Chat) ->
    ok = sockeye_pubsub:subscribe(Server, Topic),
    ok = sockeye_presence:subscribe(Server, Topic),
    Chat#chat{rooms = Rooms#{Room => #room{}}}.

%% Its history goes with it.
-spec close_room_if_empty(binary(), #chat{}) -> #chat{}.
close_room_if_empty(Room, #chat{server = Server, rooms = Rooms} = Chat) ->
    case Rooms of
        #{Room := #room{people = 0}} ->
            _ = sockeye_pubsub:unsubscribe(Server, topic(Room)),
            _ = sockeye_presence:unsubscribe(Server, topic(Room)),
            Chat#chat{rooms = maps:remove(Room, Rooms)};
        _ ->
            Chat
    end.

-spec people(atom(), sockeye:topic()) -> [binary()].
people(Server, Topic) ->
    case sockeye_presence:list(Server, Topic) of
        {error, not_found} -> [];
        {ok, Present} -> lists:sort(maps:keys(Present))
    end.

-spec topic(binary()) -> sockeye:topic().
topic(Room) ->
    <<"room/", Room/binary>>.

%% A star would be every room.
-spec room(term()) -> {ok, binary()} | {error, atom()}.
room(Given) ->
    case text(Given, ?MOST_IN_ROOM) of
        {ok, Name} ->
            case binary:match(Name, <<"*">>) of
                nomatch -> {ok, Name};
                _ -> {error, no_stars}
            end;
        Error ->
            Error
    end.

%% Text without blanks around it and control characters, of at least one character. The page writes
%% it as text, never as HTML. Accents can be piled on one character without end, so bytes have a
%% bound as well: a topic, room/NAME, may have 255.
-spec text(term(), pos_integer()) -> {ok, binary()} | {error, atom()}.
text(Given, Most) when is_binary(Given) ->
    Clean = string:trim(<< <<(seen(C))/binary>> || <<C/utf8>> <= Given >>),
    case string:length(Clean) of
        0 -> {error, empty};
        Length when Length > Most; byte_size(Clean) > 8 * Most -> {error, too_long};
        _ -> {ok, Clean}
    end;
text(_Given, _Most) ->
    {error, no_text}.

%% What can be seen of a character.
-spec seen(char()) -> binary().
seen($\n) -> <<"\n">>;
seen(C) when C < 32; C >= 127, C < 160 -> <<" ">>;
%% Those that turn the direction of writing would turn the whole line.
seen(C) when C >= 16#202A, C =< 16#202E; C >= 16#2066, C =< 16#2069 -> <<" ">>;
%% Those without width would make two names look the same. One of them joins emoji.
seen(C) when C =:= 16#200B; C =:= 16#200C; C =:= 16#2060; C =:= 16#FEFF; C =:= 16#AD -> <<>>;
seen(C) -> <<C/utf8>>.
