%% @private
%% Options of a server: one clause a key, nothing ignored.
-module(sockeye_options).

-export([parse/2]).
-export([only/2]).
-export([explain/2]).
-export([known/2]).
-export([keys/0]).
-export([child_id/1]).
-export([shutdown_time/1]).
-export([connection_option/2]).
-export([is_token/1]).
-export([time/1]).
-export([unix_path/1]).

-export_type([config/0]).

-type config() :: #{atom() => term()}.
%% The options with every key present, as the engine wants them, and `name',
%% `handler' and `processes' for ourselves.

-define(MIB, 1048576).
%% What fits into 32 bits is enough for any size and time here.
-define(MAX, 16#7fffffff).
%% What the system has room for in the address of a Unix socket.
-define(MAX_UNIX_PATH, 107).

-spec defaults() -> map().
defaults() ->
    #{ip => {127, 0, 0, 1},
      port => 19765,
      reuseport => false,
      backlog => 1024,
      name => undefined,
      processes => one,
      batch => false,
      format => json,
      keys => binary,
      null => null,
      objects => map,
      max_depth => 128,
      on_invalid_json => close,
      max_message_size => ?MIB,
      max_fragments => 1024,
      inbox_size => ?MIB,
      send_queue_size => ?MIB,
      send_timeout => 30000,
      handshake_timeout => 10000,
      close_timeout => 5000,
      idle_timeout => 60000,
      ping_interval => 30000,
      pong_timeout => 20000,
      max_age => infinity,
      control_frames => false,
      message_rate => infinity,
      max_connections => auto,
      max_connections_per_address => infinity,
      connection_rate => infinity,
      accept_timeout => 5000,
      origins => any,
      paths => any,
      max_header_size => 16384,
      max_headers => 100,
      max_body_size => ?MIB,
      max_bodies_size => 64 * ?MIB,
      max_subscriptions => 1024,
      slow_subscriber => drop,
      scope => local,
      deflate => false,
      proxy_protocol => false,
      trusted_proxies => [],
      tls => undefined,
      http2 => tls,
      subprotocols => []}.

%% `Owner' gets the messages when there is no handler.
-spec parse(map(), pid()) -> {ok, config()} | {error, sockeye_bad_option:bad_option() | tuple()}.
parse(Options, Owner) ->
    try for_handler(maps:map(fun checked/2, Options), Owner)
    catch
        throw:{bad_option, _, _} = Bad -> {error, Bad};
        %% What knows the form of paths and origins is not there.
        error:{Engine, _, _} = Reason when Engine =:= sockeye_nif; Engine =:= sockeye_port -> {error, sockeye_engine:reason(Reason)}
    end.

-spec for_handler(map(), pid()) -> {ok, config()} | {error, sockeye_bad_option:bad_option() | tuple()}.
for_handler(#{handler := {sockeye_websock, {Module, _}}} = Given, Owner) ->
    {Fixed, Defaults} = sockeye_websock:options(Module),
    case [{Key, Value} || {Key, Value} <- maps:to_list(Fixed), maps:get(Key, Given, Value) =/= Value] of
        [] -> complete(maps:merge(maps:merge(maps:merge(defaults(), Defaults), Fixed), Given), Given, Owner);
        [{Key, Value} | _] -> bad(Key, io_lib:format("must be ~p for a module of WebSock", [Value]))
    end;
for_handler(Given, Owner) ->
    complete(maps:merge(defaults(), Given), Given, Owner).

%% Options of which only these keys may be there.
-spec only(map(), [atom()]) -> {ok, map()} | {error, sockeye_bad_option:bad_option()}.
only(Options, Keys) ->
    try
        ok = known(maps:keys(Options), Keys),
        {ok, maps:map(fun checked/2, Options)}
    catch
        throw:{bad_option, _, _} = Bad -> {error, Bad}
    end.

%% What is wrong with such options.
-spec explain(map(), [atom()]) -> {error, sockeye_bad_option:bad_option()}.
explain(Options, Keys) ->
    {error, _} = only(Options, Keys).

%% Throws what is wrong with the first that is none of them.
-spec known([term()], [atom()]) -> ok.
known(Given, Keys) ->
    case Given -- Keys of
        [] -> ok;
        [Key | _] -> throw(sockeye_bad_option:option(Key, sockeye_bad_option:unknown(Key, Keys)))
    end.

%% What tells a server from others under one supervisor.
-spec child_id(config()) -> term().
child_id(#{name := Name}) when Name =/= undefined -> Name;
child_id(#{ip := Ip, port := Port}) ->
    case without_port(Ip) of
        false -> Port;
        _ -> Ip
    end.

%% How long a supervisor has to wait for a server to stop: the close handshake
%% with its clients, which `infinity' does not prolong, then the handlers.
-spec shutdown_time(config()) -> pos_integer().
shutdown_time(#{close_timeout := Time}) ->
    sockeye_stopping:answers(Time) + 10000.

-spec checked(term(), term()) -> term().
checked(Key, Value) ->
    sockeye_bad_option:checked(Key, Value, check(Key, Value), fun names/0).

%% All options, and what helps those who give others.
-spec names() -> sockeye_bad_option:names().
names() ->
    keys() ++ sockeye_other_options:server().

%% All options. Those here have no default.
-spec keys() -> [atom()].
keys() ->
    [handler, active, encoder, max_frame_size, accept, http, health, metrics, dashboard | maps:keys(defaults())].

%% true, a parsed value, a whole reason, or the name of what was expected.
-spec check(term(), term()) -> true | {ok, term()} | {error, unicode:chardata()} | unknown | unicode:chardata().
check(port, V) -> is_integer(V) andalso V >= 0 andalso V =< 65535 orelse "0..65535";
check(ip, V) -> ip(V);
check(reuseport, V) -> is_boolean(V) orelse "a boolean";
check(backlog, V) -> positive(V);
check(name, {local, V}) when is_atom(V) -> check(name, V);
check(name, V) -> case is_atom(V) andalso V =/= undefined of
                      true -> {ok, V};
                      false -> "an atom or {local, atom()}"
                  end;
check(handler, V) -> handler(V);
check(processes, V) -> V =:= one orelse V =:= per_connection
                           orelse is_integer(V) andalso V >= 1 andalso V =< 1024
                           orelse "one, 1..1024 or per_connection";
check(batch, V) -> is_boolean(V) orelse "a boolean";
check(active, V) -> is_boolean(V) orelse V =:= once
                        orelse is_integer(V) andalso V >= 1 andalso V =< 32767
                        orelse "true, false, once or 1..32767";
check(format, V) -> V =:= json orelse V =:= raw orelse "json or raw";
check(keys, V) -> keys(V);
check(null, V) -> V =:= null orelse V =:= undefined orelse V =:= nil
                      orelse "null, undefined or nil";
check(objects, V) -> V =:= map orelse V =:= pairs orelse "map or pairs";
check(encoder, V) -> is_function(V, 1) orelse "a function of one argument";
check(max_depth, V) -> is_integer(V) andalso V >= 1 andalso V =< 256 orelse "1..256";
check(on_invalid_json, V) -> V =:= close orelse V =:= deliver orelse "close or deliver";
check(max_message_size, V) -> positive(V);
check(max_frame_size, V) -> positive(V);
check(max_fragments, V) -> positive(V);
check(inbox_size, V) -> positive(V);
check(send_queue_size, V) -> positive(V);
check(send_timeout, V) -> time(V);
check(handshake_timeout, V) -> time(V);
check(close_timeout, V) -> time(V);
check(idle_timeout, V) -> time(V);
check(ping_interval, V) -> time(V);
check(pong_timeout, V) -> time(V);
check(message_rate, V) -> message_rate(V);
check(control_frames, V) -> is_boolean(V) orelse "a boolean";
check(max_age, V) -> time(V);
check(max_connections, V) -> V =:= auto orelse count(V) =:= true
                                 orelse "auto, a positive integer below 2^31, or infinity";
check(deflate, V) -> sockeye_deflate:check(V);
check(proxy_protocol, V) -> is_boolean(V) orelse "a boolean";
check(trusted_proxies, V) -> sockeye_proxies:check(V);
check(http2, V) -> V =:= tls orelse V =:= cleartext orelse V =:= false
                       orelse "tls, cleartext or false";
check(tls, V) -> sockeye_tls:check(V);
check(subprotocols, V) -> subprotocols(V);
check(accept, V) -> is_function(V, 1) orelse "a function of one argument";
check(accept_timeout, V) -> time(V);
check(max_connections_per_address, V) -> count(V);
check(connection_rate, V) -> sockeye_access_options:rate(V);
check(http, V) -> sockeye_routes:parse(V);
check(health, V) -> sockeye_routes:path(V, "/health");
check(metrics, V) -> sockeye_routes:path(V, "/metrics");
check(dashboard, V) -> sockeye_dashboard:check(V);
check(max_body_size, V) -> positive(V);
check(max_bodies_size, V) -> positive(V);
check(max_subscriptions, V) -> is_integer(V) andalso V >= 1 andalso V =< 65536 orelse "1..65536";
check(scope, V) -> lists:member(V, [local, cluster]) orelse "local or cluster";
check(slow_subscriber, V) -> lists:member(V, [drop, close]) orelse "drop or close";
check(origins, V) -> sockeye_access_options:origins(V);
check(paths, V) -> sockeye_access_options:paths(V);
check(max_header_size, V) -> is_integer(V) andalso V >= 256 andalso V =< ?MIB
                                 orelse "256..1048576";
check(max_headers, V) -> is_integer(V) andalso V >= 8 andalso V =< 1024 orelse "8..1024";
check(_Key, _V) -> unknown.

-spec positive(term()) -> true | string().
positive(V) ->
    is_integer(V) andalso V >= 1 andalso V =< ?MAX orelse "a positive integer below 2^31".

-spec count(term()) -> true | string().
count(infinity) -> true;
count(V) -> positive(V) =:= true orelse "a positive integer below 2^31, or infinity".

-spec message_rate(term()) -> true | {ok, map()} | {error, binary()} | string().
message_rate(infinity) ->
    true;
message_rate(#{rate := Rate} = V) ->
    %% What was given: the burst would be as wrong as the rate.
    Wrong = [Key || {Key, Value} <- maps:to_list(V), not message_rate(Key, Value)],
    case Wrong of
        [] -> {ok, maps:merge(#{burst => Rate, action => delay}, V)};
        [Key | _] -> {error, sockeye_shown:format("~ts in ~ts: rate and burst are positive integers below 2^31, "
                                              "action is delay or close", [sockeye_shown:short(Key), sockeye_shown:short(V)])}
    end;
message_rate(_) ->
    "infinity or a map with rate (and burst, action)".

-spec message_rate(term(), term()) -> boolean().
message_rate(action, V) -> V =:= delay orelse V =:= close;
message_rate(Key, V) -> (Key =:= rate orelse Key =:= burst) andalso positive(V) =:= true.

%% Every time that is a limit.
-spec time(term()) -> true | string().
time(infinity) -> true;
time(V) -> positive(V) =:= true orelse "milliseconds below 2^31, or infinity".

-spec ip(term()) ->
          {ok, inet:ip_address() | {local, binary()} | {zone, inet:ip6_address(), binary()} | {fd, non_neg_integer()} | none}
        | unicode:chardata().
ip(any) -> {ok, {0, 0, 0, 0}};
ip(loopback) -> {ok, {127, 0, 0, 1}};
ip({local, Path}) -> unix_path(Path);
ip({fd, N}) when is_integer(N), N >= 0, N =< ?MAX -> {ok, {fd, N}};
ip(none) -> {ok, none};
ip(Text) when is_binary(Text) -> ip(binary_to_list(Text));
ip(Text) when is_list(Text) ->
    %% What inet makes of a zone depends on its version.
    try {string:split(Text, "%"), inet:parse_strict_address(hd(string:split(Text, "%")))} of
        {[_], {ok, Address}} -> {ok, Address};
        {[_, Zone], {ok, Address}} -> zoned(Address, Zone);
        _ -> ip(undefined)
    catch
        error:_ -> ip(undefined)
    end;
ip(V) ->
    case inet:is_ip_address(V) of
        true -> {ok, V};
        false -> "any, loopback, {local, Path}, {fd, N}, none, or an address as a tuple or text, like \"fe80::1%eth0\""
    end.

%% An address on one interface.
-spec zoned(inet:ip_address(), string()) -> {ok, {zone, inet:ip6_address(), binary()}} | unicode:chardata().
zoned(Address, Zone) ->
    case tuple_size(Address) =:= 8 andalso re:run(Zone, "^[!-$&-.0-Z^-~]+$", [unicode, dollar_endonly]) of
        {match, _} -> {ok, {zone, Address, list_to_binary(Zone)}};
        _ -> ip(undefined)
    end.

%% A path as gen_tcp takes it. A zero byte first makes it an abstract name; one
%% further on would cut a path short.
-spec unix_path(term()) -> {ok, {local, binary()}} | binary().
unix_path(Path) when is_binary(Path), byte_size(Path) >= 1, byte_size(Path) =< ?MAX_UNIX_PATH ->
    <<First, Rest/binary>> = Path,
    case First =:= 0 orelse binary:match(Rest, <<0>>) =:= nomatch of
        true -> {ok, {local, Path}};
        false -> unix_path(undefined)
    end;
unix_path([_ | _] = Path) ->
    try unix_path(sockeye_file_name:native(Path))
    catch
        error:_ -> unix_path(undefined)
    end;
unix_path(_) ->
    sockeye_shown:format("a path of 1 to ~b bytes in {local, Path}", [?MAX_UNIX_PATH]).

-spec handler(term()) -> true | {error, binary()} | string().
handler(Pid) when is_pid(Pid) ->
    node(Pid) =:= node() orelse "a pid of this node";
handler(Name) when is_atom(Name), Name =/= undefined ->
    %% A name may be registered later, that of a module hardly.
    case whereis(Name) =:= undefined andalso callbacks(Name) of
        ok ->
            {error, sockeye_shown:format("no process has the name ~ts, but a module with the callbacks of a handler has: did you mean {~ts, Arg}?",
                                          [sockeye_shown:atom(Name), sockeye_shown:atom(Name)])};
        _ ->
            true
    end;
handler({sockeye_websock, {Module, _Arg}}) when is_atom(Module) ->
    case callbacks(Module, [{init, 1}, {handle_in, 2}, {handle_info, 2}]) of
        ok -> true;
        {error, _} = Error -> Error
    end;
handler({sockeye_websock, _}) ->
    "{sockeye_websock, {Module, Arg}} with a module of WebSock";
handler({Module, _Arg}) when is_atom(Module) ->
    case callbacks(Module) of
        ok -> true;
        {error, _} = Error -> Error
    end;
handler(_) ->
    "a pid, a registered name or {Module, Arg}".

%% Whether a module can be a handler.
-spec callbacks(module()) -> ok | {error, binary()}.
callbacks(Module) ->
    callbacks(Module, [{init, 1}, {handle_frame, 3}]).

-spec callbacks(module(), [{atom(), arity()}]) -> ok | {error, binary()}.
callbacks(Module, Needed) ->
    case code:ensure_loaded(Module) of
        {module, Module} ->
            case [FA || {F, A} = FA <- Needed, not erlang:function_exported(Module, F, A)] of
                [] -> ok;
                [{F, A} | _] -> {error, sockeye_shown:format("~ts does not export ~0tp/~b", [sockeye_shown:atom(Module), F, A])}
            end;
        {error, Reason} ->
            {error, sockeye_bad_option:module(Module, Reason)}
    end.

-spec keys(term()) -> true | string().
keys(binary) -> true;
keys(existing_atom) -> true;
keys({atoms, Atoms}) when is_list(Atoms) ->
    try lists:all(fun is_atom/1, Atoms) orelse keys(undefined)
    catch error:_ -> keys(undefined)
    end;
keys(_) -> "binary, existing_atom or {atoms, [atom()]}".

-spec subprotocols(term()) -> {ok, [binary()]} | {error, binary()}.
subprotocols(Value) ->
    try {ok, [subprotocol(P) || P <- Value]}
    catch error:_ -> {error, sockeye_bad_option:list("a list of names without spaces or separators", Value)}
    end.

-spec subprotocol(iodata()) -> binary().
subprotocol(Name) ->
    Bin = iolist_to_binary(Name),
    true = is_token(Bin),
    Bin.

%% RFC 7230, 3.2.6.
-spec is_token(binary()) -> boolean().
is_token(Bin) ->
    Bin =/= <<>> andalso lists:all(fun is_token_char/1, binary_to_list(Bin)).

-spec is_token_char(byte()) -> boolean().
is_token_char(C) when C >= $a, C =< $z; C >= $A, C =< $Z; C >= $0, C =< $9 -> true;
is_token_char(C) -> lists:member(C, "!#$%&'*+-.^_`|~").

%% A setting of one connection, as `accept/2' gives it.
-spec connection_option(term(), term()) -> {ok, term()} | {error, unicode:chardata()}.
connection_option(Key, Value) ->
    case lists:member(Key, connection_options()) of
        true ->
            try {ok, checked(Key, Value)}
            catch throw:{bad_option, _, Why} -> {error, Why}
            end;
        false ->
            {error, sockeye_bad_option:unknown(Key, connection_options())}
    end.

-spec connection_options() -> [atom()].
connection_options() ->
    [active, max_message_size, max_frame_size, max_fragments, idle_timeout, ping_interval,
     pong_timeout, max_age, send_queue_size].

%% What depends on more than one key.
-spec complete(map(), map(), pid()) -> {ok, config()} | {error, sockeye_bad_option:bad_option()}.
complete(Config, Given, Owner) ->
    case Config of
        #{proxy_protocol := true, trusted_proxies := []} ->
            bad(proxy_protocol, "needs trusted_proxies");
        #{scope := cluster} when not is_map_key(name, Given) ->
            bad(scope, "cluster needs a name, the same on all nodes");
        #{ip := Ip} ->
            with_port(without_port(Ip), Config, Given, Owner)
    end.

-spec with_port(false | string(), map(), map(), pid()) -> {ok, config()} | {error, sockeye_bad_option:bad_option()}.
with_port(false, Config, Given, Owner) ->
    complete_handler(Config, Given, Owner);
with_port(Why, #{port := Port}, #{port := _}, _Owner) when Port =/= 0 ->
    bad(port, Why);
with_port(Why, #{reuseport := true}, _Given, _Owner) ->
    bad(reuseport, Why);
with_port(_Why, Config, Given, Owner) ->
    complete_handler(Config#{port := 0}, Given, Owner).

%% Where there is no port to choose, why.
-spec without_port(term()) -> false | string().
without_port({local, _}) -> "a Unix socket has no port";
without_port({fd, _}) -> "a socket that listens already has its port";
without_port(none) -> "with ip => none there is no port";
without_port(_) -> false.

-spec complete_handler(map(), map(), pid()) ->
          {ok, config()} | {error, sockeye_bad_option:bad_option()}.
complete_handler(Config, Given, Owner) ->
    Handler = maps:get(handler, Config, Owner),
    IsModule = is_tuple(Handler),
    case Given of
        #{processes := _} when not IsModule ->
            bad(processes, "needs a handler {Module, Arg}");
        #{batch := true} when IsModule ->
            bad(batch, "is for an owner process, not for a handler {Module, Arg}");
        _ ->
            Derived = #{handler => Handler,
                        mode => mode(Handler, Config),
                        active => active(IsModule),
                        max_frame_size => maps:get(max_message_size, Config)},
            with_routes(maps:merge(Derived, Config#{handler => Handler}))
    end.

-spec with_routes(map()) -> {ok, config()} | {error, sockeye_bad_option:bad_option()}.
with_routes(Config) ->
    case sockeye_routes:complete(Config) of
        {ok, Routes} -> {ok, maps:without([http, health, metrics], Config#{routes => Routes})};
        Error -> Error
    end.

-spec mode(term(), map()) ->
          {workers, pos_integer()} | per_connection | {owner, pid() | atom(), boolean()}.
mode({_, _}, #{processes := one}) -> {workers, 1};
mode({_, _}, #{processes := per_connection}) -> per_connection;
mode({_, _}, #{processes := N}) -> {workers, N};
mode(Owner, #{batch := Batch}) -> {owner, Owner, Batch}.

%% A handler is protected by its inbox, an owner's mailbox by credits only.
-spec active(boolean()) -> true | pos_integer().
active(true) -> true;
active(false) -> 100.

-spec bad(atom(), unicode:chardata()) -> {error, sockeye_bad_option:bad_option()}.
bad(Key, Why) ->
    {error, sockeye_bad_option:option(Key, Why)}.
