%% @private
%% What the dashboard shows, asked of the rest of the node, as terms that have a form in JSON.
-module(sockeye_dashboard_facts).

-export([has_dashboard/0]).
-export([point/1]).
-export([about/0]).
-export([topics/1]).
-export([members/2]).
-export([conn/1]).
-export([nodes/0]).
-export([text/1]).

-export_type([point/0, counters/0]).

-type point() :: map().
%% What has changed since the one before: the counters of each server.
-type counters() :: #{sockeye_backend:server_id() => map()}.

%% So many servers have plots of their own.
-define(MOST_SERVERS, 32).
-define(COUNTERS, [accepted, rejected, failed, frames_in, frames_out, bytes_in, bytes_out, busy, dropped, requests]).
-define(NODE_MS, 2000).
-define(MOST_MEMBERS, 200).

%% Whether there is a server that somebody may watch.
-spec has_dashboard() -> boolean().
has_dashboard() ->
    lists:any(fun({_, _, About}) -> sockeye_dashboard:is_one(About) end, sockeye_engine:servers()).

%% Those that are no dashboard themselves.
-spec servers() -> [{pid(), sockeye_backend:server_id(), map()}].
servers() ->
    lists:keysort(2, [Entry || {_, _, About} = Entry <- sockeye_engine:servers(), not sockeye_dashboard:is_one(About)]).

-spec infos() -> [{sockeye_backend:server_id(), map()}].
infos() ->
    [{Id, Info} || {Pid, Id, _} <- lists:sublist(servers(), ?MOST_SERVERS), {ok, Info} <- [sockeye:info(Pid)]].

%% One moment of all plots: what is there now, and what has come since the last one.
-spec point(counters()) -> {point(), counters()}.
point(Before) ->
    Infos = infos(),
    Servers = maps:from_list([{integer_to_binary(Id), moment(Info, before(Id, Info, Before))} || {Id, Info} <- Infos]),
    {#{t => erlang:system_time(millisecond), servers => Servers, engine => engine(), table => [server(Id, Info) || {Id, Info} <- Infos]},
     maps:from_list(Infos)}.

%% With the first point, what was counted before has no time; a server that is new has counted since it started.
-spec before(sockeye_backend:server_id(), map(), counters()) -> map().
before(_Id, Info, Before) when map_size(Before) =:= 0 -> Info;
before(Id, _Info, Before) -> maps:get(Id, Before, #{}).

-spec moment(map(), map()) -> map().
moment(Info, Before) ->
    Counted = maps:from_list([{Key, since(Key, Info, Before)} || Key <- ?COUNTERS]),
    {P50, P99} = handler_time(Info, Before),
    Counted#{connections => maps:get(connections, Info), queued => maps:get(queued_bytes, Info, 0),
             closes => since_by(closes, Info, Before), refused => since_by(refused, Info, Before),
             p50 => P50, p99 => P99}.

-spec since(atom(), map(), map()) -> non_neg_integer().
since(Key, Info, Before) ->
    max(0, maps:get(Key, Info, 0) - maps:get(Key, Before, 0)).

%% Of counters by something, those that have changed.
-spec since_by(atom(), map(), map()) -> #{binary() => pos_integer()}.
since_by(Key, Info, Before) ->
    Then = maps:get(Key, Before, #{}),
    Differences = [{By, Count - maps:get(By, Then, 0)} || {By, Count} <- maps:to_list(maps:get(Key, Info, #{}))],
    maps:from_list([{name(By), Count} || {By, Count} <- Differences, Count > 0]).

-spec name(atom() | integer()) -> binary().
name(By) when is_integer(By) -> integer_to_binary(By);
name(By) -> atom_to_binary(By).

%% Microseconds, of what has been measured since then.
-spec handler_time(map(), map()) -> {number(), number()}.
handler_time(#{handler_time := #{buckets := Now}}, #{handler_time := #{buckets := Then}}) ->
    quantiles([{UpTo, Count - Earlier} || {{UpTo, Count}, {UpTo, Earlier}} <- lists:zip(Now, Then)]);
handler_time(#{handler_time := #{buckets := Now}}, _Before) ->
    quantiles(Now).

-spec quantiles([{pos_integer() | infinity, non_neg_integer()}]) -> {number(), number()}.
quantiles(Buckets) ->
    {sockeye_counts:quantile(0.5, Buckets), sockeye_counts:quantile(0.99, Buckets)}.

-spec engine() -> map().
engine() ->
    case sockeye:info() of
        {ok, #{memory := Memory, engine := Kind} = Info} ->
            #{kind => Kind, memory => Memory, vm => memory_of_vm(), restarts => maps:get(restarts, Info, 0),
              calls => maps:get(queued_calls, Info)};
        {error, not_running} ->
            #{kind => none, memory => 0, vm => memory_of_vm(), restarts => 0, calls => 0}
    end.

%% With `+Mea min' it does not know.
-spec memory_of_vm() -> non_neg_integer() | null.
memory_of_vm() ->
    try erlang:memory(total)
    catch error:notsup -> null
    end.

%% What never changes while the page is open.
-spec about() -> map().
about() ->
    Version = case application:get_key(sockeye, vsn) of
                  {ok, Vsn} -> list_to_binary(Vsn);
                  undefined -> <<>>
              end,
    #{node => atom_to_binary(node()), otp => list_to_binary(erlang:system_info(otp_release)), version => Version,
      schedulers => erlang:system_info(schedulers_online), sort => sockeye_dashboard_table:sort_keys()}.

%% A line of the table of servers.
-spec server(sockeye_backend:server_id(), map()) -> map().
server(Id, Info) ->
    Numbers = maps:filter(fun(Key, Value) -> is_integer(Value) andalso Key =/= port end, Info),
    Numbers#{id => integer_to_binary(Id), where => where(Info), name => named(Info), handler => handler(maps:get(handler, Info)),
             scope => maps:get(scope, Info)}.

-spec named(map()) -> binary().
named(#{name := Name}) when Name =/= undefined -> atom_to_binary(Name);
named(#{server := Pid}) -> list_to_binary(pid_to_list(Pid)).

-spec where(map()) -> binary().
where(#{ip := {local, Path}}) -> <<"unix:", (text(Path))/binary>>;
where(#{ip := none}) -> <<"no listener">>;
where(#{ip := Ip, port := Port}) -> endpoint({Ip, Port}).

%% Without the argument, which may be secret.
-spec handler(term()) -> binary().
handler({Module, _}) -> atom_to_binary(Module);
handler(Owner) -> text(io_lib:format("~tp", [Owner])).

-spec endpoint(sockeye:endpoint()) -> binary().
endpoint({local, Path}) -> <<"unix:", (text(Path))/binary>>;
endpoint({Ip, Port}) when tuple_size(Ip) =:= 8 -> text(["[", inet:ntoa(Ip), "]:", integer_to_list(Port)]);
endpoint({Ip, Port}) -> text([inet:ntoa(Ip), ":", integer_to_list(Port)]).

%% What JavaScript can show: bytes that are no UTF-8 are taken as one character each.
-spec text(iodata()) -> binary().
text(Bytes) ->
    Bin = iolist_to_binary(Bytes),
    case unicode:characters_to_binary(Bin) of
        Bin -> Bin;
        _ -> unicode:characters_to_binary(Bin, latin1)
    end.

%% Topics of a server with the number of their members, the largest first.
-spec topics(sockeye_backend:server_id()) -> [{sockeye:topic(), pos_integer()}].
topics(ServerId) ->
    try maps:to_list(sockeye_backend:topics_of(ServerId)) of
        Topics -> lists:sort(fun({A, M}, {B, N}) -> {-M, A} =< {-N, B} end, Topics)
    catch
        error:badarg -> []
    end.

%% Some of those that would get what is published there.
-spec members(sockeye_backend:server_id(), sockeye:topic()) -> [map()].
members(ServerId, Topic) ->
    case binary:last(Topic) =/= $* andalso sockeye_fanout:connections(ServerId, Topic) of
        {ok, Conns} -> lists:append([member(Conn) || Conn <- lists:sublist(Conns, ?MOST_MEMBERS)]);
        _ -> []
    end.

-spec member(sockeye:conn()) -> [map()].
member(Conn) ->
    case sockeye:info(Conn) of
        {ok, #{peer := Peer, user_data := User, path := Path}} ->
            [#{id => id(Conn), peer => endpoint(Peer), user => User, path => text(Path)}];
        {error, _} ->
            []
    end.

-spec id(sockeye:conn()) -> binary().
id(Conn) -> integer_to_binary(sockeye_conn:number(Conn)).

%% One connection. Not the query, which may have a secret in it.
-spec conn(sockeye:conn()) -> map() | closed.
conn(Conn) ->
    case sockeye:info(Conn) of
        {ok, #{peer := Peer, local := Local, path := Path, query := Query, http_version := {Major, Minor}} = Info} ->
            Shown = maps:with([age, send_queue, held, frames_in, deflate, user_data], Info),
            Headers = [[text(Name), text(Value)] || {Name, Value} <- maps:get(headers, Info, [])],
            Shown#{id => id(Conn), peer => endpoint(Peer), local => endpoint(Local), path => text(Path), query => byte_size(Query),
                   http => text(io_lib:format("~b.~b", [Major, Minor])), tls => tls(Info), active => maps:get(active, Info),
                   subprotocol => null_or_text(maps:get(subprotocol, Info)), headers => Headers,
                   topics => [text(Topic) || Topic <- lists:sublist(lists:sort(maps:get(topics, Info)), ?MOST_MEMBERS)],
                   subscriptions => length(maps:get(topics, Info)), error => last_error(Conn)};
        {error, _} ->
            closed
    end.

-spec null_or_text(undefined | binary()) -> null | binary().
null_or_text(undefined) -> null;
null_or_text(Text) -> text(Text).

-spec tls(map()) -> null | binary().
tls(#{tls := #{version := Version, cipher := Cipher}}) -> text(io_lib:format("~s ~s", [Version, Cipher]));
tls(_) -> null.

-spec last_error(sockeye:conn()) -> null | map().
last_error(Conn) ->
    case sockeye_dashboard_errors:last(Conn) of
        none -> null;
        {What, At} -> #{what => What, at => At}
    end.

%% The nodes of the cluster: which servers of the same name each has, and how its engine is. Takes as long as the slowest answers.
-spec nodes() -> [map()].
nodes() ->
    Names = lists:usort([Name || {Name, all} <- pg:which_groups(sockeye_cluster:scope())]),
    Where = [{Name, lists:usort([node(Pid) || Pid <- pg:get_members(sockeye_cluster:scope(), {Name, all})])} || Name <- Names],
    Nodes = lists:usort([node() | lists:append([Nodes || {_, Nodes} <- Where])]),
    Answers = erpc:multicall(Nodes, sockeye, info, [], ?NODE_MS),
    [node_facts(Node, Answer, [Name || {Name, Has} <- Where, lists:member(Node, Has)]) || {Node, Answer} <- lists:zip(Nodes, Answers)].

-spec node_facts(node(), term(), [atom()]) -> map().
node_facts(Node, Answer, Names) ->
    Facts = #{node => atom_to_binary(Node), here => Node =:= node(), servers => [atom_to_binary(Name) || Name <- Names]},
    case Answer of
        {ok, {ok, #{connections := Connections, memory := Memory, engine := Kind} = Info}} ->
            Facts#{answers => true, connections => Connections, memory => Memory, kind => Kind, dropped => maps:get(cluster_dropped, Info)};
        _ ->
            Facts#{answers => false}
    end.
