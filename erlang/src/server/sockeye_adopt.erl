%% @private
%% Sockets of other servers: what can be taken over, and how.
-module(sockeye_adopt).

-export([adopt/3]).
-export([admit/4]).
-export([settle/3]).
-export([is_socket/1]).

-export_type([adoptable/0, error/0, place/0]).

-opaque place() :: {sockeye_backend:server_id(), Ticket :: pos_integer()}.
%% What is kept for the connection of a request that has been accepted, for the `handshake_timeout' of the server.

-type adoptable() :: gen_tcp:socket() | socket:socket().

-type error() :: not_found | emfile | {bad_socket, Why :: binary()}.

%% What another server has queued in the VM has so long to leave.
-define(FLUSH_MS, 5000).

-spec adopt(sockeye:server(), adoptable(), iodata()) -> ok | {error, error()}.
adopt(Server, Socket, Read) ->
    case {sockeye_engine:find(Server), fault(Socket)} of
        {error, _} -> {error, not_found};
        {_, Why} when is_binary(Why) -> {error, {bad_socket, Why}};
        {{ok, {_, ServerId, _}}, none} -> take(ServerId, 0, Socket, Read)
    end.

%% For who answers itself: what the server says to a request. Who is told `accepted' answers with 101 and these headers, and hands the
%% socket to settle/3.
-spec admit(sockeye:server(), Head :: iodata(), sockeye:endpoint(), sockeye:endpoint()) ->
          {accepted, place(), [{binary(), binary()}]}
        | {refused, Status :: pos_integer(), [{binary(), binary()}], Body :: binary()}
        | {error, not_found | closed}.
admit(Server, Head, Peer, Local) ->
    case sockeye_engine:find(Server) of
        {ok, {_, Id, _}} ->
            Bytes = iolist_to_binary(Head),
            Ends = #{peer => Peer, local => Local},
            try sockeye_ask:ask(fun(Asked) -> sockeye_backend:admit(Id, Bytes, Ends, Asked) end, infinity) of
                {accept, Ticket, Answer} -> {_, Headers, _} = parsed(Answer), {accepted, {Id, Ticket}, Headers};
                {rejected, Answer} -> {Status, Headers, Body} = parsed(Answer), {refused, Status, Headers, Body};
                {error, _} -> {error, closed}
            catch
                error:badarg -> {error, not_found}
            end;
        error ->
            {error, not_found}
    end.

%% The socket of a request that was accepted, and what came behind the request.
-spec settle(place(), adoptable(), iodata()) -> ok | {error, error()}.
settle({ServerId, Ticket}, Socket, Read) ->
    case fault(Socket) of
        none -> take(ServerId, Ticket, Socket, Read);
        Why -> {error, {bad_socket, Why}}
    end.

%% An answer of the engine, without what speaks of its length.
-spec parsed(binary()) -> {pos_integer(), [{binary(), binary()}], binary()}.
parsed(Answer) ->
    {ok, {http_response, _, Status, _}, Rest} = erlang:decode_packet(http_bin, Answer, []),
    {Headers, Body} = headers(Rest, []),
    {Status, Headers, Body}.

-spec headers(binary(), [{binary(), binary()}]) -> {[{binary(), binary()}], binary()}.
headers(Bytes, Headers) ->
    case erlang:decode_packet(httph_bin, Bytes, []) of
        {ok, http_eoh, Body} -> {lists:reverse(Headers), Body};
        {ok, {http_header, _, 'Content-Length', _, _}, Rest} -> headers(Rest, Headers);
        {ok, {http_header, _, _, Name, Value}, Rest} -> headers(Rest, [{string:lowercase(Name), Value} | Headers])
    end.

%% Also one of ssl, about which there is more to say.
-spec is_socket(term()) -> boolean().
is_socket(Port) when is_port(Port) ->
    case erlang:port_info(Port, name) of
        {name, Name} -> Name =:= "tcp_inet";
        undefined -> true
    end;
is_socket({'$inet', gen_tcp_socket, {Pid, Socket}}) -> is_pid(Pid) andalso is_socket(Socket);
is_socket({'$socket', Ref}) -> is_reference(Ref);
is_socket(Other) -> is_tuple(Other) andalso tuple_size(Other) > 1 andalso element(1, Other) =:= sslsocket.

%% Why it cannot be taken.
-spec fault(adoptable() | tuple()) -> none | binary().
fault(Socket) ->
    case is_tuple(Socket) andalso element(1, Socket) =:= sslsocket of
        true ->
            <<"a TLS socket of ssl, whose keys and state stay there: let Sockeye listen and speak TLS, or a proxy in front of both">>;
        false ->
            Owner = owner(Socket),
            case peer(Socket) of
                _ when Owner =:= closed -> <<"it is closed">>;
                _ when Owner =/= self() -> <<"its owner is another process, which has to call this, or to give it away before">>;
                {ok, _} -> none;
                {error, _} -> <<"it is not connected, or has ended">>
            end
    end.

-spec owner(adoptable()) -> pid() | closed.
owner({'$socket', _} = Socket) ->
    case socket:getopt(Socket, {otp, controlling_process}) of
        {ok, Pid} -> Pid;
        {error, _} -> closed
    end;
owner(Socket) ->
    try inet:info(Socket) of
        #{owner := Pid} -> Pid;
        _ -> closed
    catch error:_ -> closed
    end.

-spec peer(adoptable()) -> {ok, term()} | {error, term()}.
peer({'$socket', _} = Socket) -> socket:peername(Socket);
peer(Socket) -> inet:peername(Socket).

%% The engine has a descriptor of its own: that of the VM is closed, and the connection is not.
-spec take(sockeye_backend:server_id(), Ticket :: non_neg_integer(), adoptable(), iodata()) -> ok | {error, error()}.
take(ServerId, Ticket, Socket, Read) ->
    case quiet(Socket) of
        {ok, Descriptor} ->
            Ahead = ahead(Socket),
            try sockeye_backend:adopt(ServerId, Ticket, Descriptor, iolist_to_binary([Read | Ahead])) of
                ok ->
                    close(Socket);
                {error, Reason} ->
                    put_back(Socket, Ahead),
                    {error, refused(Reason)}
            catch
                %% The server has ended meanwhile.
                error:badarg ->
                    put_back(Socket, Ahead),
                    {error, not_found}
            end;
        {error, closed} ->
            {error, {bad_socket, <<"it has ended">>}};
        {error, unsent} ->
            {error, {bad_socket, <<"its client does not take what was sent before">>}}
    end.

-spec refused(atom()) -> error().
refused(emfile) -> emfile;
refused(not_found) -> not_found;
refused(not_running) -> {bad_socket, <<"it has ended">>};
refused(closed) -> {bad_socket, <<"it comes too late: handshake_timeout is over">>};
refused(Reason) -> {bad_socket, sockeye_shown:format("the system does not give it away: ~ts", [inet:format_error(Reason)])}.

%% The VM reads nothing more from it, and has nothing to write. Its closing is not to reset the connection.
-spec quiet(adoptable()) -> {ok, Descriptor :: integer()} | {error, closed | unsent}.
quiet({'$socket', _} = Socket) ->
    case socket:setopt(Socket, {socket, linger}, #{onoff => false, linger => 0}) of
        ok -> descriptor(socket:getopt(Socket, {otp, fd}));
        {error, _} -> {error, closed}
    end;
quiet(Socket) ->
    %% A client that has said its last word is the engine's matter, too: the driver would close its descriptor.
    case inet:setopts(Socket, [{active, false}, {packet, raw}, {mode, binary}, {linger, {false, 0}}, {exit_on_close, false}]) of
        ok ->
            case written(Socket, erlang:monotonic_time(millisecond) + ?FLUSH_MS) of
                ok when is_port(Socket) -> descriptor(inet:getfd(Socket));
                ok -> {'$inet', gen_tcp_socket, {_, Inner}} = Socket, descriptor(socket:getopt(Inner, {otp, fd}));
                Error -> Error
            end;
        {error, _} ->
            {error, closed}
    end.

-spec descriptor({ok, integer()} | {error, term()}) -> {ok, integer()} | {error, closed}.
descriptor({ok, Descriptor}) -> {ok, Descriptor};
descriptor({error, _}) -> {error, closed}.

%% What was sent before leaves before what the engine has to say.
-spec written(gen_tcp:socket(), integer()) -> ok | {error, closed | unsent}.
written(Socket, Deadline) ->
    case unsent(Socket) of
        {ok, 0} ->
            ok;
        {ok, _} ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true -> receive after 5 -> written(Socket, Deadline) end;
                false -> {error, unsent}
            end;
        {error, _} ->
            {error, closed}
    end.

%% Bytes in the driver. Without the driver who sends waits until all is in the kernel: how many still do. Newer releases have no
%% `send_pend' for such a socket.
-spec unsent(gen_tcp:socket()) -> {ok, non_neg_integer()} | {error, term()}.
unsent({'$inet', gen_tcp_socket, {_, Inner}}) ->
    #{num_writers := Writers} = socket:info(Inner),
    {ok, Writers};
unsent(Port) ->
    case inet:getstat(Port, [send_pend]) of
        {ok, [{send_pend, Bytes}]} -> {ok, Bytes};
        {error, _} = Error -> Error
    end.

%% What has come and was not read: as messages to the owner, which the caller is, and in the driver.
-spec ahead(adoptable()) -> [binary() | string()].
ahead({'$socket', _}) ->
    [];
ahead(Socket) ->
    receive
        {tcp, Socket, Data} -> [Data | ahead(Socket)]
    after 0 ->
            %% What is still in the kernel is the engine's to read.
            case gen_tcp:recv(Socket, 0, 0) of
                {ok, Bytes} -> [Bytes];
                {error, _} -> []
            end
    end.

-spec put_back(adoptable(), [binary() | string()]) -> ok.
put_back(_Socket, []) ->
    ok;
put_back(Socket, Ahead) ->
    _ = gen_tcp:unrecv(Socket, iolist_to_binary(Ahead)),
    ok.

%% Where OTP closes a socket of `socket' it has it block before, and with it the engine's, which is the same to the system: a thread of
%% the engine would wait for a client. A socket whose owner has ended is closed without that.
-spec close(adoptable()) -> ok.
close({'$socket', _} = Socket) ->
    {Owner, Monitor} = spawn_monitor(fun() -> receive close -> ok end end),
    ok = socket:setopt(Socket, {otp, controlling_process}, Owner),
    Owner ! close,
    ended(Owner, Monitor, Socket);
close({'$inet', gen_tcp_socket, {Owner, Socket}}) ->
    Monitor = monitor(process, Owner),
    true = exit(Owner, kill),
    ended(Owner, Monitor, Socket);
close(Socket) ->
    ok = gen_tcp:close(Socket),
    receive {tcp_closed, Socket} -> ok after 0 -> ok end.

-spec ended(pid(), reference(), socket:socket()) -> ok.
ended(Owner, Monitor, Socket) ->
    receive {'DOWN', Monitor, process, Owner, _} -> is_closed(Socket) end.

%% The VM closes it at the same moment as it tells us.
-spec is_closed(socket:socket()) -> ok.
is_closed(Socket) ->
    case socket:getopt(Socket, {otp, fd}) of
        {error, _} -> ok;
        {ok, _} -> erlang:yield(), is_closed(Socket)
    end.
