%% @private
%% Calls about one connection: the native library is asked on a scheduler that suits the size of the call.
-module(sockeye_conn).

-export([send/2]).
-export([close/3]).
-export([setopts/2]).
-export([number/1]).
-export([of_number/1]).

-import(sockeye_backlog, [settle/1]).

%% So many options are no work for a dirty scheduler.
-define(FEW, 64).

-spec send(sockeye:conn(), sockeye:frame() | [sockeye:frame()]) -> ok | {error, sockeye:send_error()}.
send(Conn, Frames) ->
    case sent(Conn, Frames) of
        ok -> ok;
        {error, {not_json, Part}} ->
            sockeye_encoder:retry(sockeye_encoder:of_conn(Conn), Frames, Part, fun(Encoded) -> sent(Conn, Encoded) end);
        Result -> Result
    end.

-spec sent(sockeye:conn(), sockeye:frame() | [sockeye:frame()]) -> ok | {error, sockeye_backend:refusal()}.
sent(Conn, Frames) ->
    case sockeye_backend:send(Conn, Frames) of
        ok -> ok;
        dirty -> settle(sockeye_backend:send_dirty(Conn, Frames));
        Result -> settle(Result)
    end.

-spec close(sockeye:conn(), sockeye:close_code(), iodata()) -> ok | {error, closed}.
close(Conn, Code, Reason) ->
    settle(sockeye_backend:send(Conn, {close, Code, Reason})).

-spec setopts(sockeye:conn(), [sockeye:conn_option()]) -> ok | {error, closed}.
setopts(Conn, Options) ->
    settle(case is_longer(Options, ?FEW) of
               false -> sockeye_backend:setopts(Conn, Options);
               true -> sockeye_backend:setopts_dirty(Conn, Options)
           end).

-spec is_longer(term(), non_neg_integer()) -> boolean().
is_longer([_ | Rest], N) -> N =:= 0 orelse is_longer(Rest, N - 1);
is_longer(_, _N) -> false.

%% What names a connection outside of the VM. By way of bytes: the type is opaque, and dialyzer holds it to that.
-spec number(sockeye:conn()) -> pos_integer().
number(Conn) ->
    {sockeye_conn, Number} = binary_to_term(term_to_binary(Conn)),
    Number.

-spec of_number(pos_integer()) -> sockeye:conn().
of_number(Number) ->
    binary_to_term(term_to_binary({sockeye_conn, Number})).
