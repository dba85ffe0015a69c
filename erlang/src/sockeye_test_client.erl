%% @doc A client for tests that says exactly what it is told to: also what no client should.
%%
%% For EUnit, Common Test or ExUnit, against any WebSocket server. It has framing of its own, in plain Erlang, so that what it finds is
%% not what Sockeye thinks of itself. A client is a passive socket of `gen_tcp', or with the option `tls' of `ssl', and belongs to the
%% process that has connected; functions of these modules can be used as well.
%%
%% ```
%% refuses_unmasked_frames_test() ->
%%     {ok, Server} = sockeye:start_link(#{port => 0}),
%%     {ok, #{port := Port}} = sockeye:info(Server),
%%     {ok, Socket} = sockeye_test_client:connect(Port),
%%     ok = sockeye_test_client:raw(Socket, sockeye_test_client:frame(text, <<"hello">>, #{mask => none})),
%%     {ok, 1002, _Why} = sockeye_test_client:recv_close(Socket),
%%     ok = sockeye:stop(Server).
%% '''
%%
%% Bytes that are no frame go through {@link raw/2}: half a frame, a wrong length, anything.
-module(sockeye_test_client).

-export([connect/1]).
-export([connect/2]).
-export([handshake/2]).
-export([send/2]).
-export([frame/2]).
-export([frame/3]).
-export([raw/2]).
-export([recv/1]).
-export([recv/2]).
-export([recv_close/1]).
-export([recv_close/2]).
-export([shutdown/1]).
-export([close/1]).
-export([drop/1]).

-export_type([client/0]).
-export_type([options/0]).
-export_type([frame/0]).
-export_type([opcode/0]).
-export_type([frame_options/0]).
-export_type([error/0]).

-type client() :: gen_tcp:socket() | tuple().
%% A passive socket, binary and raw, that has been through a handshake.

-type options() :: #{path => iodata(), headers => [{iodata(), iodata()}], ip => inet:ip_address() | {local, file:name_all()} | string(),
                     tls => [term()], socket => [gen_tcp:connect_option()], timeout => pos_integer()}.
%% Defaults: `path' `"/"', no `headers' beside those of the handshake, `ip' 127.0.0.1 (with `{local, Path}' the port is 0), no `tls' (options of
%% `ssl', whose application is started), `socket' no more options of `gen_tcp', `timeout' 10000 milliseconds for each step.

-type frame() :: {text | binary | ping | pong, iodata()} | {close, 0..65535, iodata()}.
%% What is sent, and what has been received, which is binaries. Nothing of it is checked.

-type opcode() :: continuation | text | binary | close | ping | pong | 0..15.
%% By name, or as it stands in the frame: 3 to 7 and 11 to 15 are reserved.

-type frame_options() :: #{fin => 0 | 1, rsv => 0..7, mask => <<_:32>> | none, length => non_neg_integer(), bits => 7 | 16 | 64}.
%% Of a frame: the final bit (default 1), the reserved bits (0; 4 is the one of a compressed message), the mask (default any; `none' is
%% what a server sends), the length that is announced (default that of the payload), and in how many bits (default the fewest).

-type error() :: closed | timeout | {status, non_neg_integer(), [{binary(), binary()}]} | {bad_frame, binary()} | {bad_answer, binary()}
               | {after_close, Frame :: term()} | term().
%% `closed': the other side has ended the connection, or reset it. `timeout': nothing came. `status': the server has answered with this
%% status and these headers, and not with 101. `bad_frame': a server must not send a frame that begins so. `bad_answer': this line is
%% not HTTP. `after_close': a frame came behind the Close frame. Others are those of `inet' and `ssl'.

-define(TIMEOUT, 10000).
%% A multiple of four.
-define(MASKED, 65536).
-define(KEY, <<"dGhlIHNhbXBsZSBub25jZQ==">>).
-define(ACCEPT, <<"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=">>).
-define(IS_TLS(Socket), (is_tuple(Socket) andalso element(1, Socket) =:= sslsocket)).

%% @equiv connect(Port, #{})
-spec connect(inet:port_number()) -> {ok, client()} | {error, error()}.
connect(Port) ->
    connect(Port, #{}).

%% @doc Connects, and completes the handshake of RFC 6455.
%%
%% Errors: `status', where the server refuses, and {@link error()}.
%% ```
%% 1> {ok, Other} = sockeye_test_client:connect(8080, #{path => "/rooms/7", headers => [{"Origin", "https://a.example"}]}).
%% {ok,#Port<0.9>}
%% '''
-spec connect(inet:port_number(), options()) -> {ok, client()} | {error, error()}.
connect(Port, Options) ->
    case handshake(Port, Options) of
        {ok, 101, Headers, Socket} ->
            case lists:keyfind(<<"sec-websocket-accept">>, 1, Headers) of
                {_, ?ACCEPT} -> {ok, Socket};
                _ -> drop(Socket), {error, {status, 101, Headers}}
            end;
        {ok, Status, Headers, Socket} ->
            drop(Socket),
            {error, {status, Status, Headers}};
        {error, _} = Error ->
            Error
    end.

%% @doc The answer to a handshake, whatever it is, with the socket: a body, or frames, can be read from it. Errors: {@link error()}.
%% ```
%% 1> {ok, Status, Headers, Other} = sockeye_test_client:handshake(8080, #{headers => [{"Sec-WebSocket-Protocol", "a"}]}).
%% {ok,101,[...],#Port<0.9>}
%% '''
-spec handshake(inet:port_number(), options()) ->
          {ok, Status :: non_neg_integer(), [{LowerCaseName :: binary(), Value :: binary()}], client()} | {error, error()}.
handshake(Port, Options) ->
    Ip = maps:get(ip, Options, {127, 0, 0, 1}),
    Timeout = maps:get(timeout, Options, ?TIMEOUT),
    SocketOptions = [binary, {active, false}, {packet, raw}] ++ [{nodelay, true} || not is_local(Ip)] ++ maps:get(socket, Options, []),
    Connected = case Options of
                    #{tls := Tls} -> connect_tls(Ip, Port, SocketOptions ++ Tls, Timeout);
                    _ -> gen_tcp:connect(Ip, Port, SocketOptions, Timeout)
                end,
    case Connected of
        {ok, Socket} ->
            Extra = [[Name, ": ", Value, "\r\n"] || {Name, Value} <- maps:get(headers, Options, [])],
            _ = raw(Socket, ["GET ", maps:get(path, Options, "/"), " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                             "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ", ?KEY, "\r\n", Extra, "\r\n"]),
            answer(Socket, Timeout);
        {error, _} = Error ->
            Error
    end.

%% Where its application has not been started, `ssl' waits without end.
-spec connect_tls(term(), inet:port_number(), list(), timeout()) -> {ok, tuple()} | {error, term()}.
connect_tls(Ip, Port, Options, Timeout) ->
    case application:ensure_all_started(ssl) of
        {ok, _} -> (ssl()):connect(Ip, Port, Options, Timeout);
        {error, _} = Error -> Error
    end.

-spec is_local(term()) -> boolean().
is_local({local, _}) -> true;
is_local(_Ip) -> false.

-spec answer(client(), timeout()) -> {ok, non_neg_integer(), [{binary(), binary()}], client()} | {error, error()}.
answer(Socket, Timeout) ->
    try
        ok = setopts(Socket, [{packet, http_bin}]),
        {ok, {http_response, _, Status, _}} = take(Socket, 0, Timeout),
        Headers = headers(Socket, Timeout),
        ok = setopts(Socket, [{packet, raw}]),
        {ok, Status, Headers, Socket}
    catch
        error:{badmatch, {error, Reason}} -> drop(Socket), {error, reason(Reason)};
        error:{badmatch, {ok, {http_error, Line}}} -> drop(Socket), {error, {bad_answer, Line}}
    end.

-spec headers(client(), timeout()) -> [{binary(), binary()}].
headers(Socket, Timeout) ->
    {ok, Line} = take(Socket, 0, Timeout),
    case Line of
        {http_header, _, Name, _, Value} when is_atom(Name) -> [{string:lowercase(atom_to_binary(Name)), Value} | headers(Socket, Timeout)];
        {http_header, _, Name, _, Value} -> [{string:lowercase(Name), Value} | headers(Socket, Timeout)];
        http_eoh -> []
    end.

%% @doc Sends a frame, masked as a client's. Errors: {@link error()}.
%% ```
%% 1> sockeye_test_client:send(Socket, {text, "[1]"}).
%% ok
%% 2> receive {sockeye, Conn, {json, Term}} -> Term end.
%% [1]
%% '''
-spec send(client(), frame()) -> ok | {error, error()}.
send(Socket, {close, Code, Reason}) -> raw(Socket, frame(close, [<<Code:16>>, Reason]));
send(Socket, {Kind, Data}) -> raw(Socket, frame(Kind, Data)).

%% @equiv frame(Opcode, Payload, #{})
-spec frame(opcode(), iodata()) -> iodata().
frame(Opcode, Payload) ->
    frame(Opcode, Payload, #{}).

%% @doc The bytes of a frame, right or wrong, for {@link raw/2}.
%% ```
%% 1> Wrong = sockeye_test_client:frame(11, <<"ab">>, #{rsv => 2, fin => 0, mask => none, length => 200, bits => 64}).
%% [<<43,127,0,0,0,0,0,0,0,200>>,<<"ab">>]
%% 2> sockeye_test_client:raw(Socket, Wrong).
%% ok
%% 3> sockeye_test_client:recv_close(Socket).
%% {ok,1002,<<...>>}
%% '''
-spec frame(opcode(), iodata(), frame_options()) -> iodata().
frame(Opcode, Payload, Options) ->
    Bin = iolist_to_binary(Payload),
    First = <<(maps:get(fin, Options, 1)):1, (maps:get(rsv, Options, 0)):3, (number(Opcode)):4>>,
    Length = maps:get(length, Options, byte_size(Bin)),
    Bits = maps:get(bits, Options, bits(Length)),
    case maps:get(mask, Options, rand:bytes(4)) of
        none -> [head(First, 0, Length, Bits), Bin];
        Mask -> [head(First, 1, Length, Bits), Mask, mask(Bin, Mask)]
    end.

-spec number(opcode()) -> 0..15.
number(continuation) -> 0;
number(text) -> 1;
number(binary) -> 2;
number(close) -> 8;
number(ping) -> 9;
number(pong) -> 10;
number(N) -> N.

-spec bits(non_neg_integer()) -> 7 | 16 | 64.
bits(Length) when Length < 126 -> 7;
bits(Length) when Length < 65536 -> 16;
bits(_Length) -> 64.

-spec head(binary(), 0 | 1, non_neg_integer(), 7 | 16 | 64) -> binary().
head(First, Masked, Length, 7) -> <<First/binary, Masked:1, Length:7>>;
head(First, Masked, Length, 16) -> <<First/binary, Masked:1, 126:7, Length:16>>;
head(First, Masked, Length, 64) -> <<First/binary, Masked:1, 127:7, Length:64>>.

%% As numbers of many bytes, which are quick to make.
-spec mask(binary(), <<_:32>>) -> binary().
mask(<<Part:?MASKED/binary, Rest/binary>>, Mask) when Rest =/= <<>> -> <<(mask(Part, Mask))/binary, (mask(Rest, Mask))/binary>>;
mask(Bin, Mask) ->
    Size = byte_size(Bin),
    <<Data:Size/unit:8>> = Bin,
    <<Pattern:Size/unit:8>> = binary:part(binary:copy(Mask, Size div 4 + 1), 0, Size),
    <<(Data bxor Pattern):Size/unit:8>>.

%% @doc Sends bytes as they are. Errors: {@link error()}.
%% ```
%% 1> sockeye_test_client:raw(Socket, <<16#81, 16#85, 1, 2, 3, 4, "cut">>).
%% ok
%% '''
-spec raw(client(), iodata()) -> ok | {error, error()}.
raw(Socket, Bytes) when ?IS_TLS(Socket) -> (ssl()):send(Socket, Bytes);
raw(Socket, Bytes) -> gen_tcp:send(Socket, Bytes).

%% @equiv recv(Socket, 10000)
-spec recv(client()) -> {ok, frame() | {frame, map()}} | {error, error()}.
recv(Socket) ->
    recv(Socket, ?TIMEOUT).

%% @doc The next frame: `Timeout' milliseconds are for its first byte.
%%
%% A whole message that is not compressed, and a control frame, is a {@link frame()}; a Close frame without a code has 1005. Anything
%% else that a server may send is `{frame, #{fin, rsv, opcode, payload}}'. Errors: `closed', `timeout', `bad_frame', see {@link error()}.
%% ```
%% 1> sockeye_test_client:send(Socket, {ping, "a"}).
%% ok
%% 2> sockeye_test_client:recv(Socket, 5000).
%% {ok,{pong,<<"a">>}}
%% 3> sockeye_test_client:recv(Socket, 10).
%% {error,timeout}
%% '''
-spec recv(client(), timeout()) -> {ok, frame() | {frame, map()}} | {error, error()}.
recv(Socket, Timeout) ->
    case take(Socket, 2, Timeout) of
        {ok, <<Fin:1, Rsv:3, Opcode:4, 0:1, Length:7>>} ->
            case payload(Socket, Length) of
                {ok, Payload} -> {ok, seen(Fin, Rsv, Opcode, Payload)};
                {error, Reason} -> {error, reason(Reason)}
            end;
        {ok, Bytes} -> {error, {bad_frame, Bytes}};
        {error, Reason} -> {error, reason(Reason)}
    end.

-spec payload(client(), 0..127) -> {ok, binary()} | {error, term()}.
payload(_Socket, 0) -> {ok, <<>>};
payload(Socket, 126) -> long(Socket, 2);
payload(Socket, 127) -> long(Socket, 8);
payload(Socket, Length) -> take(Socket, Length, ?TIMEOUT).

-spec long(client(), 2 | 8) -> {ok, binary()} | {error, term()}.
long(Socket, Bytes) ->
    case take(Socket, Bytes, ?TIMEOUT) of
        {ok, Length} -> take(Socket, binary:decode_unsigned(Length), ?TIMEOUT);
        Error -> Error
    end.

-spec seen(0 | 1, 0..7, 0..15, binary()) -> frame() | {frame, map()}.
seen(1, 0, 1, Payload) -> {text, Payload};
seen(1, 0, 2, Payload) -> {binary, Payload};
seen(1, 0, 8, <<>>) -> {close, 1005, <<>>};
seen(1, 0, 8, <<Code:16, Reason/binary>>) -> {close, Code, Reason};
seen(1, 0, 9, Payload) -> {ping, Payload};
seen(1, 0, 10, Payload) -> {pong, Payload};
seen(Fin, Rsv, Opcode, Payload) -> {frame, #{fin => Fin, rsv => Rsv, opcode => Opcode, payload => Payload}}.

-spec reason(term()) -> term().
reason(econnreset) -> closed;
reason(Reason) -> Reason.

%% @equiv recv_close(Socket, 10000)
-spec recv_close(client()) -> {ok, 1000..4999, binary()} | {error, error()}.
recv_close(Socket) ->
    recv_close(Socket, ?TIMEOUT).

%% @doc Code and reason of the Close frame that comes next, past other frames. It is answered with 1000, and the call waits for the end of the
%% transport. Errors: `closed', where none came, `timeout', `after_close', and {@link error()}.
%% ```
%% 1> sockeye_test_client:send(Socket, {text, <<255>>}).
%% ok
%% 2> sockeye_test_client:recv_close(Socket, 5000).
%% {ok,1007,<<...>>}
%% '''
-spec recv_close(client(), timeout()) -> {ok, 1000..4999, binary()} | {error, error()}.
recv_close(Socket, Timeout) ->
    case recv(Socket, Timeout) of
        {ok, {close, Code, Reason}} ->
            _ = send(Socket, {close, 1000, <<>>}),
            Ended = recv(Socket, Timeout),
            ok = close(Socket),
            case Ended of
                {error, closed} -> {ok, Code, Reason};
                {ok, Frame} -> {error, {after_close, Frame}};
                {error, _} = Error -> Error
            end;
        {ok, _} -> recv_close(Socket, Timeout);
        {error, _} = Error -> Error
    end.

%% @doc Ends the own side of the connection only: what the server sends can still be read. Errors: {@link error()}.
%% ```
%% 1> sockeye_test_client:shutdown(Socket).
%% ok
%% 2> sockeye_test_client:recv(Socket, 5000).
%% {error,closed}
%% '''
-spec shutdown(client()) -> ok | {error, error()}.
shutdown(Socket) when ?IS_TLS(Socket) -> (ssl()):shutdown(Socket, write);
shutdown(Socket) -> gen_tcp:shutdown(Socket, write).

%% @doc Closes the socket, without a Close frame.
%% ```
%% 1> sockeye_test_client:close(Socket).
%% ok
%% '''
-spec close(client()) -> ok.
close(Socket) when ?IS_TLS(Socket) -> _ = (ssl()):close(Socket), ok;
close(Socket) -> gen_tcp:close(Socket).

%% @doc Closes the socket at once: the server sees that the connection was reset. Over TLS it is only closed.
%% ```
%% 1> sockeye_test_client:drop(Socket).
%% ok
%% '''
-spec drop(client()) -> ok.
drop(Socket) ->
    ?IS_TLS(Socket) orelse inet:setopts(Socket, [{linger, {true, 0}}]),
    close(Socket).

%% No dependency: whoever gives the option `tls' has it.
-spec ssl() -> module().
ssl() ->
    {module, Module} = code:ensure_loaded(ssl),
    Module.

-spec take(client(), non_neg_integer(), timeout()) -> {ok, term()} | {error, term()}.
take(Socket, Length, Timeout) when ?IS_TLS(Socket) -> (ssl()):recv(Socket, Length, Timeout);
take(Socket, Length, Timeout) -> gen_tcp:recv(Socket, Length, Timeout).

-spec setopts(client(), list()) -> ok | {error, term()}.
setopts(Socket, Options) when ?IS_TLS(Socket) -> (ssl()):setopts(Socket, Options);
setopts(Socket, Options) -> inet:setopts(Socket, Options).
