%% @private
%% What goes to `logger': maps, which {@link sockeye_log_text} turns into a sentence.
%%
%% Their metadata have the key `sockeye', by which a filter knows them, and no domain: the default
%% handler of OTP shows nothing of a domain that it does not know.
-module(sockeye_log).

-include_lib("kernel/include/logger.hrl").

-export([event/4]).
-export([event/5]).
-export([always/3]).
-export([server/1]).
-export([client/2]).
-export([url/2]).
-export([place/1]).
-export([conn/1]).
-export([has_left/2]).
-export([packed/2]).
-export_type([who/0]).

-type who() :: binary().
%% The other end of a connection and the path that was asked for, in one piece. Empty where they are not known.

%% A connection is asked for its peer; a shard that does not answer holds up nobody for longer.
-define(ASK_MS, 200).
%% The last connection whose end the calling process has come upon.
-define(LEFT, '$sockeye_left').

%% An event of this server, client or the engine. Of too many of one kind some are only counted.
-spec event(logger:level(), sockeye_log_limit:scope(), atom(), map()) -> ok.
event(Level, Scope, What, Detail) ->
    event(Level, Scope, What, Detail, fun() -> #{} end).

%% What takes time to find out is only asked for when the event is logged.
-spec event(logger:level(), sockeye_log_limit:scope(), atom(), map(), fun(() -> map())) -> ok.
event(Level, Scope, What, Detail, More) ->
    case logger:allow(Level, ?MODULE) andalso sockeye_log_limit:pass({Scope, What}) of
        {yes, 0} -> always(Level, What, maps:merge(More(), Detail));
        {yes, Count} -> always(Level, What, maps:merge(More(), Detail#{suppressed => Count}));
        _ -> ok
    end.

%% Without a limit: what no client can bring about.
-spec always(logger:level(), atom(), map()) -> ok.
always(Level, What, Detail) ->
    Level =:= notice orelse Level =:= info orelse sockeye_dashboard_errors:note(What, Detail),
    ?LOG(Level, (sockeye_shown:event(Detail))#{what => What},
         #{sockeye => What, report_cb => fun sockeye_log_text:format/2}),
    ok.

%% What is known of a server, by the pid.
-spec server(pid()) -> map().
server(Pid) ->
    case sockeye_engine:find(Pid) of
        %% Nobody has started that one by name.
        {ok, {_, _, #{handler := {sockeye_dashboard_live, #{front := Front}}}}} -> (server(Front))#{part => dashboard};
        {ok, {_, _, #{ip := {local, _} = Place} = About}} -> named(About, #{server => Pid, address => Place});
        {ok, {_, _, #{ip := none} = About}} -> named(About, #{server => Pid});
        {ok, {_, _, #{ip := Ip, port := Port} = About}} -> named(About, #{server => Pid, address => {Ip, Port}});
        error -> registered(Pid, #{server => Pid})
    end.

%% What a browser is given to see the server: from another host, where it listens on all addresses, the name of this one is needed.
-spec url(map(), IsTls :: boolean()) -> #{url => binary()}.
url(#{address := {Ip, Port}}, IsTls) when is_tuple(Ip) ->
    Host = case Ip of
               {0, 0, 0, 0} -> "localhost";
               {0, 0, 0, 0, 0, 0, 0, 0} -> "localhost";
               _ when tuple_size(Ip) =:= 8 -> [$[, inet:ntoa(Ip), $]];
               _ -> inet:ntoa(Ip)
           end,
    Scheme = case IsTls of true -> "https"; false -> "http" end,
    #{url => iolist_to_binary([Scheme, "://", Host, $:, integer_to_list(Port), $/])};
url(_Facts, _IsTls) ->
    #{}.

%% Where it listens, in words.
-spec place(map()) -> unicode:chardata().
place(#{address := Address}) -> sockeye_log_text:address(Address);
place(_Facts) -> "-".

%% The same of a client.
-spec client(pid(), binary()) -> map().
client(Pid, Url) ->
    registered(Pid, #{client => Pid, url => Url}).

-spec registered(pid(), map()) -> map().
registered(Pid, Known) ->
    case process_info(Pid, registered_name) of
        {registered_name, Name} -> Known#{name => Name};
        _ -> Known
    end.

-spec named(map(), map()) -> map().
named(#{name := Name}, Known) when Name =/= undefined -> Known#{name => Name};
named(_About, Known) -> Known.

%% What is known of a connection: also who is at its other end, while it lives.
-spec conn(sockeye:conn() | none) -> map().
conn(none) ->
    #{};
conn(Conn) ->
    try sockeye_ask:conn_info(Conn, ?ASK_MS) of
        {ok, #{peer := Peer, path := Path}} -> #{conn => Conn, peer => Peer, path => Path};
        {error, _} -> left(Conn)
    %% What a handler took for a connection.
    catch error:badarg -> #{}
    end.

%% A connection is about to be reported as closed to the calling process: for that time it is known here, and nowhere else.
-spec has_left(sockeye:conn(), who()) -> ok.
has_left(Conn, Who) ->
    _ = put(?LEFT, {Conn, Who}),
    ok.

-spec left(sockeye:conn()) -> map().
left(Conn) ->
    case get(?LEFT) of
        {Conn, <<_, _/binary>> = Who} -> {Peer, Path} = who(Who), #{conn => Conn, peer => Peer, path => Path};
        _ -> #{conn => Conn}
    end.

%% As the engine has packed them.
-spec packed(sockeye:endpoint(), Path :: binary()) -> who().
packed({{A, B, C, D}, Port}, Path) ->
    <<4, A, B, C, D, Port:16, Path/binary>>;
packed({{A, B, C, D, E, F, G, H}, Port}, Path) ->
    <<6, A:16, B:16, C:16, D:16, E:16, F:16, G:16, H:16, Port:16, Path/binary>>;
packed({local, Name}, Path) ->
    <<0, (byte_size(Name)):16, Name/binary, Path/binary>>.

-spec who(who()) -> {sockeye:endpoint(), Path :: binary()}.
who(<<4, A, B, C, D, Port:16, Path/binary>>) ->
    {{{A, B, C, D}, Port}, Path};
who(<<6, A:16, B:16, C:16, D:16, E:16, F:16, G:16, H:16, Port:16, Path/binary>>) ->
    {{{A, B, C, D, E, F, G, H}, Port}, Path};
who(<<0, Length:16, Name:Length/binary, Path/binary>>) ->
    {{local, Name}, Path}.
