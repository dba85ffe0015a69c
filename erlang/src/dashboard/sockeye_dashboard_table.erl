%% @private
%% Connections as the dashboard's table has them: rows of the engine, searched, sorted, a page at a time. Pure.
%%
%% Rows stay as the engine wrote them until they are on a page: a hundred thousand are one list of binaries. What they have in them
%% says `rows' in native/engine/src/engine/mod.rs.
-module(sockeye_dashboard_table).

-export([sort_keys/0]).
-export([select/4]).
-export([page/3]).
-export([count/1]).

-export_type([row/0, sort/0]).

-type row() :: binary().
-type sort() :: peer | path | user | age | queued | held | messages | credits.

-define(ROW(Id, Age, Queued, Held, Messages, Credits, Peer, Path, User, Rest),
        <<Id:64, Age:64, Queued:32, Held:32, Messages:64, Credits:32/signed, PeerSize, PathSize, UserSize,
          Peer:PeerSize/binary, Path:PathSize/binary, User:UserSize/binary, Rest/binary>>).
-define(HEAD, 39).

-spec sort_keys() -> [sort()].
sort_keys() ->
    [peer, path, user, age, queued, held, messages, credits].

%% How many rows there are.
-spec count([binary()]) -> non_neg_integer().
count(Pages) ->
    lists:foldl(fun(Page, N) -> N + length(rows(Page)) end, 0, Pages).

%% The rows with this text in their peer, path or user data, whatever its case, in order. All rows without a text.
-spec select([binary()], binary(), sort(), asc | desc) -> tuple().
select(Pages, Search, Sort, Direction) ->
    Matches = matching(Search),
    Keyed = [{key(Sort, Row), Row} || Page <- Pages, Row <- rows(Page), Matches(Row)],
    Sorted = lists:sort(Keyed),
    Ordered = case Direction of
                  asc -> Sorted;
                  desc -> lists:reverse(Sorted)
              end,
    list_to_tuple([Row || {_, Row} <- Ordered]).

%% So many of them, from this one on: the first has number 0.
-spec page(tuple(), non_neg_integer(), non_neg_integer()) -> [map()].
page(Rows, From, Count) ->
    %% A list may have become shorter than what a browser has seen of it.
    Last = max(From, min(tuple_size(Rows), From + Count)),
    [shown(element(N, Rows)) || N <- lists:seq(From + 1, Last)].

-spec rows(binary()) -> [row()].
rows(<<_:36/binary, PeerSize, PathSize, UserSize, _/binary>> = Page) ->
    Size = ?HEAD + PeerSize + PathSize + UserSize,
    <<Row:Size/binary, Rest/binary>> = Page,
    [Row | rows(Rest)];
rows(<<>>) ->
    [].

-spec matching(binary()) -> fun((row()) -> boolean()).
matching(<<>>) ->
    fun(_) -> true end;
matching(Search) ->
    %% Text of a person is no pattern.
    {ok, Pattern} = re:compile(escaped(Search), [caseless, unicode]),
    fun(?ROW(_, _, _, _, _, _, Peer, Path, User, _)) ->
            lists:any(fun(Text) -> re:run(Text, Pattern, [{capture, none}]) =:= match end, [Peer, Path, User])
    end.

-spec escaped(binary()) -> binary().
escaped(Text) ->
    << <<(case is_plain(C) of true -> <<C/utf8>>; false -> <<$\\, C/utf8>> end)/binary>> || <<C/utf8>> <= Text >>.

-spec is_plain(char()) -> boolean().
is_plain(C) ->
    C >= $a andalso C =< $z orelse C >= $A andalso C =< $Z orelse C >= $0 andalso C =< $9 orelse C >= 128.

-spec key(sort(), row()) -> integer() | binary().
key(age, <<_:64, Age:64, _/binary>>) -> Age;
key(queued, <<_:128, Queued:32, _/binary>>) -> Queued;
key(held, <<_:160, Held:32, _/binary>>) -> Held;
key(messages, <<_:192, Messages:64, _/binary>>) -> Messages;
%% Without a limit is more than any number.
key(credits, <<_:256, -1:32/signed, _/binary>>) -> 16#80000000;
key(credits, <<_:256, Credits:32/signed, _/binary>>) -> Credits;
key(peer, ?ROW(_, _, _, _, _, _, Peer, _, _, _)) -> Peer;
key(path, ?ROW(_, _, _, _, _, _, _, Path, _, _)) -> Path;
key(user, ?ROW(_, _, _, _, _, _, _, _, User, _)) -> User.

%% A number of 64 bits is none of JavaScript: the id is text.
-spec shown(row()) -> map().
shown(?ROW(Id, Age, Queued, Held, Messages, Credits, Peer, Path, User, _)) ->
    #{id => integer_to_binary(Id), age => Age, queued => Queued, held => Held, messages => Messages,
      credits => case Credits of -1 -> null; _ -> Credits end, peer => Peer, path => Path, user => User}.
