%% @private
%% What the arguments of public functions have to be, and what to say of one that is not.
-module(sockeye_args).

-export([wrong/2]).
-export([frame/2]).

-export_type([kind/0]).

-type kind() :: any | server | server_or_conn | port_or_options | options | conn | server_conn | server_conns | conn_or_conns
              | frames | shared_frame | topic | plain_topic | publish_options
              | active | close_code | close_reason | conn_options | local_pid | client | client_or_conn | timeout
              | count | trace | socket | iodata | codec | handshake | role | status | headers.

-define(MAX_TOPIC, 255).
-define(MAX_CONTROL, 125).
-define(MAX_REASON, 123).
-define(STRING, <<"a string is not a frame: {text, String}">>).

%% `none' if nothing is.
-spec wrong(kind(), term()) -> none | binary().
wrong(any, _V) ->
    none;
wrong(server, V) ->
    case is_server(V) of
        true -> none;
        false -> <<"not a server: its pid, port number or registered name, or {local, Path}">>
    end;
wrong(socket, V) ->
    case sockeye_adopt:is_socket(V) of
        true -> none;
        false -> <<"not a socket of gen_tcp or socket">>
    end;
wrong(server_or_conn, {sockeye_conn, _} = V) ->
    wrong(conn, V);
wrong(server_or_conn, V) ->
    case is_server(V) of
        true -> none;
        false -> <<"neither a server (its pid, port number or registered name, or {local, Path}) nor a connection">>
    end;
wrong(port_or_options, V) when is_integer(V) ->
    none;
wrong(port_or_options, V) ->
    options("neither a port number nor a map of options", V);
wrong(count, V) when is_integer(V), V > 0 ->
    none;
wrong(count, _V) ->
    <<"not a positive integer">>;
wrong(trace, V) when V =:= on; V =:= off; is_map(V) ->
    none;
wrong(trace, {off, _}) ->
    none;
wrong(trace, V) ->
    options("neither on, off, {off, To} nor a map of options", V);
wrong(options, V) ->
    options("not a map of options", V);
wrong(conn, V) ->
    case server_of(V) of
        none -> <<"not a connection: handlers, owners and sockeye_client:connect/2 get one">>;
        _ -> none
    end;
wrong(server_conn, V) ->
    case wrong(conn, V) of
        none ->
            case is_of_client(V) of
                true -> <<"a connection of a client: only those of a server can be used here">>;
                false -> none
            end;
        Why ->
            Why
    end;
wrong(server_conns, V) ->
    each(fun(Conn) -> wrong(server_conn, Conn) end, V);
wrong(conn_or_conns, V) ->
    case wrong(conn, V) of
        none -> none;
        _ -> <<"neither a connection nor a list of connections">>
    end;
wrong(frames, V) when is_list(V) ->
    case is_string(V) of
        true -> ?STRING;
        false -> each(fun(Frame) -> frame(one, Frame) end, V)
    end;
wrong(frames, V) ->
    frame(one, V);
wrong(shared_frame, V) ->
    frame(many, V);
wrong(topic, V) when is_binary(V), V =/= <<>>, byte_size(V) =< ?MAX_TOPIC ->
    none;
wrong(topic, _V) ->
    <<"not a topic: a binary of 1 to 255 bytes">>;
wrong(plain_topic, V) ->
    case wrong(topic, V) of
        none ->
            case binary:last(V) of
                $* -> <<"ends with *: that stands for many topics, and one is needed here">>;
                _ -> none
            end;
        Why -> Why
    end;
wrong(publish_options, V) when is_map(V) ->
    each_option(fun publish_option/2, [wait, scope], V);
wrong(publish_options, V) ->
    options("not a map of options", V);
wrong(active, V) ->
    case is_active(V) of
        true -> none;
        false -> <<"in {active, _}: true, false, once or an integer of 16 bits">>
    end;
wrong(close_code, V) ->
    case is_close_code(V) of
        true -> none;
        false -> <<"not a close code: 1000..1003, 1007..1014 or 3000..4999">>
    end;
wrong(close_reason, V) ->
    case is_reason(V) of
        true -> none;
        false -> <<"not a reason: UTF-8 of at most 123 bytes">>
    end;
wrong(conn_options, V) when is_list(V) ->
    each(fun conn_option/1, V);
wrong(conn_options, V) when is_map(V) ->
    <<"not a list of options: [{Key, Value}], for instance maps:to_list/1 of this map">>;
wrong(conn_options, _V) ->
    <<"not a list of options: [{Key, Value}]">>;
wrong(local_pid, V) when is_pid(V), node(V) =:= node() ->
    none;
wrong(local_pid, V) when is_pid(V) ->
    <<"a process of another node">>;
wrong(local_pid, _V) ->
    <<"not a pid">>;
wrong(client, V) when is_pid(V), node(V) =/= node() ->
    <<"a process of another node">>;
wrong(client, V) when is_pid(V); is_atom(V) ->
    none;
wrong(client, {sockeye_conn, _}) ->
    <<"a connection: the pid or the registered name of a client is needed here">>;
wrong(client, _V) ->
    <<"not a client: its pid or registered name">>;
wrong(client_or_conn, V) when is_pid(V); is_atom(V) ->
    wrong(client, V);
wrong(client_or_conn, V) ->
    case wrong(conn, V) of
        none -> none;
        _ -> <<"neither a connection nor a client (its pid or registered name)">>
    end;
wrong(timeout, V) when V =:= infinity; is_integer(V), V >= 0, V =< 16#ffffffff ->
    none;
wrong(timeout, _V) ->
    <<"not a timeout: milliseconds below 2^32, or infinity">>;
wrong(iodata, V) ->
    case is_iodata(V) of
        true -> none;
        false -> <<"not iodata: a binary, or a list of bytes, binaries and such lists">>
    end;
wrong(codec, V) ->
    case is_codec(V) of
        true -> none;
        false -> <<"not a codec, as new/2, accept/2 and check_response/2 return it">>
    end;
wrong(handshake, V) ->
    case is_handshake(V) of
        true -> none;
        false -> <<"not a handshake, as request/1 returns it">>
    end;
wrong(role, V) when V =:= client; V =:= server ->
    none;
wrong(role, _V) ->
    <<"not client or server">>;
wrong(status, V) when is_integer(V), V >= 200, V =< 599 ->
    none;
wrong(status, _V) ->
    <<"not a status of 200 to 599">>;
wrong(headers, V) ->
    case sockeye_decision:response({200, V, <<>>}) of
        {ok, _} -> none;
        {error, Why} -> Why
    end.

-spec is_server(term()) -> boolean().
is_server({local, Path}) -> is_binary(Path);
is_server(V) -> is_pid(V) orelse is_integer(V) orelse is_atom(V).

%% A list of pairs is no second way to give options: of a key that is there twice,
%% one would be passed over in silence.
-spec options(string(), term()) -> none | binary().
options(_Not, V) when is_map(V) ->
    none;
options(Not, [Pair | _]) when is_atom(Pair); tuple_size(Pair) =:= 2, is_atom(element(1, Pair)) ->
    sockeye_shown:format("~ts: write #{Key => Value} instead of a list; maps:from_list/1 and Map.new/1 make a map of it",
                     [Not]);
options(Not, _V) ->
    unicode:characters_to_binary(Not).

-spec server_of(term()) -> {ok, sockeye_backend:server_id()} | closed | none.
server_of(V) ->
    try sockeye_backend:conn_server(V) of
        {ok, ServerId} -> {ok, ServerId};
        {error, closed} -> closed
    catch
        error:badarg -> none
    end.

%% A client is in no table of servers.
-spec is_of_client(sockeye:conn()) -> boolean().
is_of_client(Conn) ->
    case server_of(Conn) of
        {ok, ServerId} -> sockeye_engine:find_id(ServerId) =:= error;
        _ -> false
    end.

%% What is wrong with a frame for one connection, or for many.
-spec frame(one | many, term()) -> none | binary().
frame(_To, Map) when is_map(Map) ->
    none;
frame(_To, {json, _}) ->
    none;
frame(_To, {Kind, Data}) when Kind =:= text; Kind =:= binary ->
    data(Kind, Data);
frame(_To, {Kind, Data}) when Kind =:= ping; Kind =:= pong ->
    case is_iodata(Data) andalso iolist_size(Data) =< ?MAX_CONTROL of
        true -> none;
        false -> sockeye_shown:format("the payload in {~ts, _} is not iodata of at most ~b bytes", [Kind, ?MAX_CONTROL])
    end;
frame(_To, {plain, _}) ->
    <<"{plain, Frame} is now {uncompressed, Frame}">>;
frame(To, {uncompressed, Frame}) ->
    case Frame of
        _ when is_map(Frame) -> none;
        {Kind, _} when Kind =:= json; Kind =:= text; Kind =:= binary -> frame(To, Frame);
        _ -> <<"the frame in {uncompressed, _} is not a map, {json, Term}, {text, IoData} or {binary, IoData}">>
    end;
frame(many, Frame) when element(1, Frame) =:= close; element(1, Frame) =:= stream ->
    sockeye_shown:format("{~ts, ...} is for one connection, and this call is for many", [element(1, Frame)]);
frame(_To, {close, Code, Reason}) ->
    case {wrong(close_code, Code), wrong(close_reason, Reason)} of
        {none, none} -> none;
        {none, Why} -> sockeye_shown:format("in {close, Code, Reason}: ~ts", [Why]);
        {Why, _} -> sockeye_shown:format("in {close, Code, Reason}: ~ts", [Why])
    end;
frame(_To, {stream, Kind, Place, Data}) ->
    case lists:member(Kind, [text, binary]) andalso lists:member(Place, [first, more, last]) of
        true -> data(stream, Data);
        false -> <<"in {stream, Kind, Place, IoData}: Kind is text or binary, Place is first, more or last">>
    end;
frame(_To, V) when is_binary(V) ->
    <<"a binary is not a frame: {text, Binary} or {binary, Binary}">>;
frame(many, V) when is_list(V) ->
    case is_string(V) of
        true -> ?STRING;
        false -> <<"a list is not a frame: one frame is needed here">>
    end;
frame(To, {Tag, _}) when is_atom(Tag) ->
    sockeye_shown:format("there is no frame {~0tp, _}: ~ts", [Tag, frames(To)]);
frame(To, _V) ->
    sockeye_shown:format("not a frame: ~ts", [frames(To)]).

%% Characters, which somebody takes for a text.
-spec is_string(term()) -> boolean().
is_string([_ | _] = V) -> io_lib:printable_unicode_list(V);
is_string(_V) -> false.

-spec frames(one | many) -> string().
frames(many) -> "a map, {json, Term}, {text, IoData}, {binary, IoData}, {uncompressed, Frame}, {ping, IoData} or {pong, IoData}";
frames(one) -> frames(many) ++ "; also {stream, Kind, Place, IoData} or {close, Code, Reason}".

-spec data(text | binary | stream, term()) -> none | binary().
data(Kind, Data) ->
    case is_iodata(Data) of
        true -> none;
        false -> sockeye_shown:format("the payload of this ~ts frame is not iodata", [Kind])
    end.

-spec is_iodata(term()) -> boolean().
is_iodata(V) ->
    try is_integer(iolist_size(V))
    catch error:badarg -> false
    end.

-spec is_close_code(term()) -> boolean().
is_close_code(V) when is_integer(V) ->
    V >= 1000 andalso V =< 1003 orelse V >= 1007 andalso V =< 1014 orelse V >= 3000 andalso V =< 4999;
is_close_code(_V) ->
    false.

-spec is_reason(term()) -> boolean().
is_reason(V) ->
    is_iodata(V) andalso iolist_size(V) =< ?MAX_REASON
        andalso is_list(unicode:characters_to_list(iolist_to_binary(V))).

-spec is_active(term()) -> boolean().
is_active(V) when is_integer(V) -> V >= -32768 andalso V =< 32767;
is_active(V) -> is_boolean(V) orelse V =:= once.

-spec publish_option(term(), term()) -> true | string().
publish_option(wait, V) -> is_boolean(V) orelse "a boolean";
publish_option(scope, V) -> V =:= local orelse V =:= cluster orelse "local or cluster";
publish_option(compress, _V) -> "{uncompressed, Frame} as the frame instead";
publish_option(_Key, _V) -> unknown.

-spec each_option(fun((term(), term()) -> true | unknown | string()), [atom()], map()) -> none | binary().
each_option(Check, Names, Map) ->
    Wrong = [{Key, Expected} || {Key, V} <- maps:to_list(Map), Expected <- [Check(Key, V)], Expected =/= true],
    case Wrong of
        [] -> none;
        [{Key, unknown} | _] -> sockeye_shown:format("option ~ts: ~ts", [sockeye_shown:short(Key), sockeye_bad_option:unknown(Key, Names)]);
        [{Key, Expected} | _] -> sockeye_shown:format("option ~0tp: expected ~ts", [Key, Expected])
    end.

-spec conn_option(term()) -> none | binary().
conn_option({active, V}) ->
    case is_active(V) of
        true -> none;
        false -> <<"option active: expected true, false, once or an integer of 16 bits">>
    end;
conn_option({Key, V}) ->
    case sockeye_options:connection_option(Key, V) of
        {ok, _} -> none;
        {error, Why} -> sockeye_shown:format("option ~ts: ~ts", [sockeye_shown:short(Key), Why])
    end;
conn_option(_V) ->
    <<"not a pair {Key, Value}">>.

%% The first element that is wrong, with its number.
-spec each(fun((term()) -> none | binary()), term()) -> none | binary().
each(Check, List) ->
    each(Check, List, 1).

-spec each(fun((term()) -> none | binary()), term(), pos_integer()) -> none | binary().
each(_Check, [], _N) ->
    none;
each(Check, [V | Rest], N) ->
    case Check(V) of
        none -> each(Check, Rest, N + 1);
        Why -> sockeye_shown:format("element ~b: ~ts", [N, Why])
    end;
each(_Check, _Tail, _N) ->
    <<"not a proper list">>.

-spec is_codec(term()) -> boolean().
is_codec(V) ->
    try sockeye_pure:codec_info(V) of
        _ -> true
    catch
        error:badarg -> false
    end.

-spec is_handshake(term()) -> boolean().
is_handshake({sockeye_handshake, Key, #{} = Options}) ->
    try sockeye_pure:codec_response(Key, Options, <<>>) of
        _ -> true
    catch
        error:Reason when Reason =:= badarg; Reason =:= nif_panicked -> false
    end;
is_handshake(_V) ->
    false.
