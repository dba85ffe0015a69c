%% @private
%% A connection in the hands of the process that made it, which waits for each event: `sockeye_client:connect/2', `recv/2', `close/3'.
-module(sockeye_client_conn).

-export([connect/1]).
-export([recv/2]).
-export([close/3]).
-export([is_of_another/1]).

%% In the dictionary of that process: the process of the client, which ends behind the last event.
-define(CLIENT(Conn), {?MODULE, Conn}).

-spec connect(map()) -> {ok, sockeye:conn()} | {error, term()}.
connect(Config) ->
    case sockeye_dialler:start(Config) of
        {ok, Pid, Conn} ->
            Monitor = monitor(process, Pid),
            Result = receive
                         {sockeye, Conn, {open, _}} ->
                             _ = put(?CLIENT(Conn), Pid),
                             {ok, Conn};
                         {'DOWN', Monitor, process, _, _} -> {error, closed}
                     end,
            _ = demonitor(Monitor, [flush]),
            Result;
        {error, _} = Error ->
            Error
    end.

-spec recv(sockeye:conn(), timeout()) -> {ok, sockeye:event()} | {error, term()}.
recv(Conn, Timeout) ->
    receive
        {sockeye, Conn, Event} -> received(Conn, Event)
    after 0 ->
            case sockeye:setopts(Conn, [{active, once}]) of
                ok -> await(Conn, Timeout);
                %% Its last event may have come meanwhile.
                {error, closed} -> await_last(Conn)
            end
    end.

-spec await(sockeye:conn(), timeout()) -> {ok, sockeye:event()} | {error, term()}.
await(Conn, Timeout) ->
    case get(?CLIENT(Conn)) of
        undefined ->
            from_mailbox(Conn);
        Pid ->
            Monitor = monitor(process, Pid),
            Result = receive
                         {sockeye, Conn, Event} -> received(Conn, Event);
                         {'DOWN', Monitor, process, _, _} -> from_mailbox(Conn)
                     after Timeout ->
                         {error, timeout}
                     end,
            _ = demonitor(Monitor, [flush]),
            Result
    end.

%% The connection names nothing any more from the moment in which its last event is on the way.
%% The process that made it ends after that.
-spec await_last(sockeye:conn()) -> {ok, sockeye:event()} | {error, term()}.
await_last(Conn) ->
    await(Conn, infinity).

-spec from_mailbox(sockeye:conn()) -> {ok, sockeye:event()} | {error, term()}.
from_mailbox(Conn) ->
    receive
        {sockeye, Conn, Event} -> received(Conn, Event)
    after 0 ->
            {error, closed}
    end.

-spec received(sockeye:conn(), sockeye:event()) -> {ok, sockeye:event()} | {error, term()}.
received(Conn, {closed, _, _} = Closed) ->
    _ = erase(?CLIENT(Conn)),
    {error, Closed};
received(_Conn, Frame) ->
    {ok, Frame}.

%% Its events come to the process that made it: here nobody would see them, and they would be missed there.
-spec is_of_another(sockeye:conn()) -> boolean().
is_of_another(Conn) ->
    get(?CLIENT(Conn)) =:= undefined andalso sockeye_backend:conn_server(Conn) =/= {error, closed}.

-spec close(sockeye:conn(), sockeye:close_code(), iodata()) -> ok | {error, closed}.
close(Conn, Code, Reason) ->
    case sockeye:close(Conn, Code, Reason) of
        ok ->
            %% The last event comes behind frames that nobody asked for.
            _ = sockeye:setopts(Conn, [{active, true}]),
            drain(Conn);
        {error, closed} ->
            drain_last(Conn)
    end.

-spec drain(sockeye:conn()) -> ok.
drain(Conn) ->
    case await(Conn, infinity) of
        {ok, _} -> drain(Conn);
        {error, _} -> ok
    end.

-spec drain_last(sockeye:conn()) -> ok | {error, closed}.
drain_last(Conn) ->
    case await_last(Conn) of
        {ok, _} -> drain_last(Conn);
        {error, {closed, _, _}} -> ok;
        {error, closed} -> {error, closed}
    end.
