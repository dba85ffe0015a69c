%% @doc The WebSocket protocol without a socket: for people who own it.
%%
%% Handshakes of both sides are built and checked from and to binaries, and a codec
%% turns frames into bytes and arriving bytes, in any cut, into messages. Nothing here
%% opens a socket, starts a process or waits, and the application `sockeye' does not
%% have to be started. With `{engine, port}' it needs `{pure, nif}', or each function raises
%% `{sockeye_codec, needs_nif, Why}'.
%%
%% Both sides in one shell, without a socket. In a program, {@link gen_tcp} or {@link ssl} carries `Request', `Response'
%% and `Frames':
%%
%% ```
%% 1> {ok, Request, Handshake} = sockeye_codec:request(#{host => <<"example.com">>, path => <<"/chat">>}).
%% {ok,<<"GET /chat HTTP/1.1\r\n...>>,...}
%% 2> {ok, Response, Server, #{path := Path}, <<>>} = sockeye_codec:accept(Request).
%% {ok,<<"HTTP/1.1 101 Switching Protocols\r\n...>>,...}
%% 3> {ok, Client, _Agreed, Rest} = sockeye_codec:check_response(Handshake, Response).
%% {ok,...}
%% 4> {ok, Frames} = sockeye_codec:encode(Client, {text, <<"hello">>}).
%% {ok,<<...>>}
%% 5> sockeye_codec:decode(Server, Frames).
%% {[{text,<<"hello">>}],<<>>}
%% '''
%%
%% `accept/1' and `check_response/2' return `more' until they have the whole head, and `Rest' is what arrived
%% behind it.
%%
%% == The codec is a handle ==
%%
%% {@link encode/2} and {@link decode/2} change the codec they are given, as reading
%% from a file changes its position. They return no new codec, and the state from before a call is gone. The reason is
%% its size: a codec holds a message that is not complete, and with context takeover 50 KiB
%% to inflate and 140 to 500 KiB to compress (memory that `erlang:memory/0' does not see). It belongs
%% to no process, is freed with the last reference to it, and is of no use on another node. When several processes
%% use one codec, their calls are served one after the other, in any order. So let one process write and one read, or
%% one do both.
%%
%% == Limits ==
%%
%% `max_message_size' (1 MiB, a whole message, also when it is inflated),
%% `max_frame_size' (the same) and `max_fragments' (1,024) bound the memory that a peer can take. Beyond
%% a limit, the last event of {@link decode/2} is `closed' with 1008 or 1009. `max_header_size' (16,384 bytes) and
%% `max_headers' (100) bound the heads of handshakes. Time limits are left to you.
-module(sockeye_codec).

-export([request/1, check_response/2, check_request/1, check_request/2, accept/1, accept/2, reject/3]).
-export([new/1, new/2, encode/2, decode/2, eof/1, info/1]).

-export_type([codec/0, handshake/0, limits/0, deflate/0, request_options/0, accept_options/0, codec_options/0, request/0]).
-export_type([agreed/0, refusal/0, response_error/0, frame/0, event/0, ending/0, encode_error/0, info/0]).

-opaque codec() :: reference().
%% One end of a connection after its handshake: a handle, see above.

-opaque handshake() :: {sockeye_handshake, Key :: binary(), Options :: map()}.
%% What a client has asked for; {@link check_response/2} compares the answer with it. A plain term.

-type headers() :: [{Name :: iodata(), Value :: iodata()}].

-type deflate() :: boolean() | sockeye:deflate_options().
%% Compression (permessage-deflate, RFC 7692): `false' (default), `true' with defaults, or a map.

-type request_options() :: #{host := iodata(),
                             path => iodata(),
                             subprotocols => [iodata()],
                             headers => headers(),
                             deflate => deflate(),
                             max_header_size => 256..1048576,
                             max_headers => 8..1024,
                             max_message_size => pos_integer(),
                             max_frame_size => pos_integer(),
                             max_fragments => pos_integer(),
                             null => null | undefined | nil}.
%% `host': as in the URL, with the port if it is not the default one. `path' (default `/'): with
%% the query; 8,192 bytes at most. `subprotocols': the preferred one first. `headers': further ones, but none
%% that the handshake itself writes.

-type accept_options() :: #{subprotocols => [iodata()],
                            headers => headers(),
                            deflate => deflate(),
                            max_header_size => 256..1048576,
                            max_headers => 8..1024,
                            max_message_size => pos_integer(),
                            max_frame_size => pos_integer(),
                            max_fragments => pos_integer(),
                            null => null | undefined | nil}.
%% `subprotocols': those that the server speaks; the first of the client's list that is among them is
%% taken. `headers': further ones of the answer.

-type limits() :: #{max_header_size => 256..1048576, max_headers => 8..1024}.
%% Bytes (default 16,384) and lines (100) of the head of a request.

-type codec_options() :: #{deflate => deflate(),
                           max_message_size => pos_integer(),
                           max_frame_size => pos_integer(),
                           max_fragments => pos_integer(),
                           null => null | undefined | nil}.
%% `deflate' is here what both sides have agreed on.

-type request() :: #{method := binary(), path := binary(), query := binary(),
                     headers := [{LowerName :: binary(), Value :: binary()}],
                     subprotocols := [binary()], http_version := {1, 1}}.
%% A client's request. `subprotocols' are those it offers.

-type agreed() :: #{headers := [{LowerName :: binary(), Value :: binary()}],
                    subprotocol := binary() | undefined,
                    deflate := boolean(),
                    atom() => term()}.
%% What was agreed on, with the headers of the other side; on a server all of {@link request()}
%% as well.

-type refusal() :: malformed | long_line | too_large | http_version | method | draft_76
                 | not_websocket | version | connection | body | key | subprotocol.
%% Why a request opens no connection, with the status of the answer.
%%
%% <ul>
%% <li>`malformed': it is not HTTP (400).</li>
%% <li>`long_line': its first line is beyond `max_header_size' (414); `too_large': its head is, or has more lines than
%%     `max_headers' (431).</li>
%% <li>`http_version': it is not HTTP/1 (505), or HTTP/1.0, where `Upgrade' means nothing (426).</li>
%% <li>`method': it is not a GET (405; 501 for `CONNECT').</li>
%% <li>`draft_76': it is of the obsolete draft 76 (426); `not_websocket': it is an ordinary request (426); `version': its
%%     `Sec-WebSocket-Version' is not 13 (426).</li>
%% <li>`connection': its `Connection' is without `Upgrade' (400).</li>
%% <li>`body': it has a body (400; 501 in a coding other than `chunked').</li>
%% <li>`key': its key is missing or not 16 bytes in Base64 (400); `subprotocol': it offers one that is not a token
%%     (400).</li>
%% </ul>

-type response_error() :: {refused, sockeye_client:refusal()} | {bad_handshake, sockeye_client:breach()}.
%% Why an answer opens no connection, as a client has it: another status than 101 (`body' is what has
%% arrived of it), or an answer that a WebSocket server must not give.

-type frame() :: sockeye:frame().
%% Frames to write: those that a server sends. A map and `{json, Term}' become a text message as with {@link
%% sockeye_json:encode/1}. `{stream, Kind, Place, IoData}' is a fragment of a message, one a call or several in a
%% list: `first', any number of `more', `last', all of the same kind, never compressed. Pings and pongs may come
%% between them, messages may not. Text must be UTF-8, across the fragments. Pings and pongs have at most
%% 125 bytes, a reason at most 123.

-type event() :: {text, binary()}
               | {binary, binary()}
               | {ping, binary()}
               | {pong, binary()}
               | ending().
%% What arrived: the events of a server with `format => raw' and `control_frames => true'. Text is
%% UTF-8; {@link sockeye_json:decode/1} makes terms of JSON. The answer to a ping is in `Reply' already.

-type ending() :: {closed, sockeye:close_code(), Reason :: binary()}.
%% The last event: how the connection ended. The code is that of the peer's Close frame. 1005: its Close frame had no
%% code. 1006: no Close frame came. 1002, 1007, 1008 or 1009 may also be the answer to a fault of the peer: it has broken
%% the protocol, sent what is not UTF-8 or not DEFLATE, or gone beyond a limit. Send `Reply', and close the socket.

-type encode_error() :: closed | not_utf8 | {not_json, Part :: term(), Path :: binary()} | streaming | not_streaming.
%% `closed': a Close frame was written before, or the connection is over. `not_utf8': a text is not UTF-8. `not_json':
%% this part of a term, which stands at this path, has no JSON form, see {@link sockeye_json:encode/2}, which also has an `encoder'. `streaming': a message, or a
%% `first', while a message in fragments is without its `last'; `not_streaming': a `more' or `last'
%% without `first', or of another kind.

-type info() :: #{role := client | server, state := open | closing | closed,
                  deflate := boolean(), buffered := non_neg_integer()}.
%% `closing': our Close frame is written, the peer's has not come. `buffered': bytes of memory held
%% for a message or frame that is not complete.

-type option_error() :: {error, {bad_option, Key :: term(), Why :: binary()}}.

-define(HEAD, [max_header_size, max_headers]).
%% Bytes of `host' and `path'.
-define(LONGEST, 8192).
-define(SESSION, [max_message_size, max_frame_size, max_fragments, null]).

%% @doc The request of a client, and a handshake to check the answer with.
%% ```
%% 1> {ok, Request, Handshake} = sockeye_codec:request(#{host => <<"example.com">>, subprotocols => [<<"chat">>]}).
%% {ok,<<"GET / HTTP/1.1\r\n...>>,...}
%% 2> sockeye_codec:request(#{path => <<"/chat">>}).
%% {error,{bad_option,host,<<"is missing">>}}
%% '''
%% Error: `{bad_option, Key, Why}'.
-spec request(request_options()) -> {ok, binary(), handshake()} | option_error().
request(Options) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Options]),
    case options(Options, [host, path, headers, deflate, subprotocols] ++ ?HEAD ++ ?SESSION) of
        {ok, #{host := _} = Checked} ->
            case sockeye_pure:codec_request(Checked) of
                {ok, Bytes, Key} -> {ok, Bytes, {sockeye_handshake, Key, Checked}};
                {error, Option} -> {error, sockeye_bad_option:option(Option, ["expected ", form(Option)])}
            end;
        {ok, _} ->
            {error, sockeye_bad_option:option(host, "is missing")};
        Error ->
            Error
    end.

%% What can stand in a request.
-spec form(atom()) -> string().
form(host) -> "a host and maybe a port, as text: \"example.com\", \"[::1]:8080\"";
form(path) -> "a path and maybe a query, as text: \"/chat?room=7\"";
form(subprotocols) -> "a list of names without spaces or separators";
form(headers) -> "names and values of headers that the handshake does not write itself".

%% @doc Looks at what a server has answered so far: `more' until the head of the answer is complete.
%%
%% `Rest' is what follows the head: give it to {@link decode/2}. Interim answers (100, 102, 103) are
%% skipped, 16 at most; all heads together have at most `max_header_size' bytes. Errors: see {@link response_error()}.
%% ```
%% 1> {ok, _, Handshake} = sockeye_codec:request(#{host => <<"example.com">>}).
%% {ok,...}
%% 2> sockeye_codec:check_response(Handshake, <<"HTTP/1.1 101 Switch">>).
%% more
%% 3> sockeye_codec:check_response(Handshake, <<"HTTP/1.1 404 Not Found\r\n\r\nnothing here">>).
%% {error,{refused,#{body => <<"nothing here">>,headers => [],status => 404}}}
%% 4> sockeye_codec:check_response(Handshake, <<"HTTP/1.1 101 Switching Protocols\r\n\r\n">>).
%% {error,{bad_handshake,upgrade}}
%% '''
-spec check_response(handshake(), iodata()) ->
          more | {ok, codec(), agreed(), Rest :: binary()} | {error, response_error()}.
check_response(Handshake, Bytes) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Handshake, Bytes]),
    {sockeye_handshake, Key, Options} = Handshake,
    Bin = iolist_to_binary(Bytes),
    case sockeye_pure:codec_response(Key, Options, Bin) of
        {ok, Codec, Agreed, Length} -> {ok, Codec, Agreed, rest(Bin, Length)};
        {error, {status, Status, Headers, Length}} ->
            {error, {refused, #{status => Status, headers => Headers, body => rest(Bin, Length)}}};
        Other -> Other
    end.

%% @equiv check_request(Bytes, #{})
-spec check_request(iodata()) ->
          more | {ok, request(), Rest :: binary()} | {error, {refusal(), Answer :: binary()}}.
check_request(Bytes) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Bytes]),
    checked_request(Bytes, #{}).

%% @doc Reads a request before you decide about it. Then call {@link accept/2} with the
%% same bytes, or {@link reject/3}. `more' until the head of the request is complete.
%%
%% After `{error, {Why, Answer}}': send `Answer' and close the socket; `Why' is a {@link refusal()}. Other error:
%% `{bad_option, Key, Why}'.
%% ```
%% 1> {ok, Bytes, _} = sockeye_codec:request(#{host => <<"example.com">>, path => <<"/chat?room=7">>}).
%% {ok,...}
%% 2> {ok, #{path := Path, query := Query}, <<>>} = sockeye_codec:check_request(Bytes, #{max_headers => 20}).
%% {ok,#{...},<<>>}
%% 3> {Path, Query}.
%% {<<"/chat">>,<<"room=7">>}
%% 4> {error, {Why, _Answer}} = sockeye_codec:check_request(<<"POST / HTTP/1.1\r\nHost: a\r\n\r\n">>, #{}).
%% {error,{method,<<"HTTP/1.1 405 ...>>}}
%% '''
-spec check_request(iodata(), limits()) ->
          more | {ok, request(), Rest :: binary()} | {error, {refusal(), Answer :: binary()}} | option_error().
check_request(Bytes, Options) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Bytes, Options]),
    checked_request(Bytes, Options).

-spec checked_request(iodata(), limits()) -> term().
checked_request(Bytes, Options) ->
    Bin = iolist_to_binary(Bytes),
    with(options(Options, ?HEAD), fun(Checked) ->
        case sockeye_pure:codec_check_request(Checked, Bin) of
            {ok, Request, Length} -> {ok, Request, rest(Bin, Length)};
            Other -> Other
        end
    end).

%% @equiv accept(Bytes, #{})
-spec accept(iodata()) ->
          more | {ok, Response :: binary(), codec(), agreed(), Rest :: binary()}
        | {error, {refusal(), Answer :: binary()}}.
accept(Bytes) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Bytes]),
    accepted(Bytes, #{}).

%% @doc Answers a client's request: `more' until its head is complete. Send `Response', then
%% give `Rest' to {@link decode/2}.
%%
%% After `{error, {Why, Answer}}': send `Answer' and close the socket; `Why' is a {@link refusal()}. Other error:
%% `{bad_option, Key, Why}'.
%% ```
%% 1> {ok, Request, _} = sockeye_codec:request(#{host => <<"example.com">>, subprotocols => [<<"v2">>, <<"v1">>]}).
%% {ok,...}
%% 2> {ok, _Response, _Codec, #{subprotocol := Chosen}, <<>>} = sockeye_codec:accept(Request, #{subprotocols => [<<"v1">>]}).
%% {ok,...}
%% 3> Chosen.
%% <<"v1">>
%% '''
-spec accept(iodata(), accept_options()) ->
          more | {ok, Response :: binary(), codec(), agreed(), Rest :: binary()}
        | {error, {refusal(), Answer :: binary()}} | option_error().
accept(Bytes, Options) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Bytes, Options]),
    accepted(Bytes, Options).

-spec accepted(iodata(), accept_options()) -> term().
accepted(Bytes, Options) ->
    Bin = iolist_to_binary(Bytes),
    with(options(Options, [headers, deflate, subprotocols] ++ ?HEAD ++ ?SESSION), fun(Checked) ->
        case sockeye_pure:codec_accept(Checked, Bin) of
            {ok, Response, Codec, Agreed, Length} -> {ok, Response, Codec, Agreed, rest(Bin, Length)};
            Other -> Other
        end
    end).

%% @doc The answer that refuses a request. Send it and close the socket.
%%
%% `Status' is 200 to 599. The answer gets `content-length' and `connection', and a
%% `content-type' of plain text if you give none. Raises `badarg' for a header whose name is not a token, whose value has
%% control characters, or that is beyond the limits: 1,000 headers, names of 1,024 bytes, values of 65,536, 1 MiB in all.
%% ```
%% 1> sockeye_codec:reject(401, [{<<"www-authenticate">>, <<"Bearer">>}], <<"Who are you?">>).
%% <<"HTTP/1.1 401 ...>>
%% '''
-spec reject(200..599, headers(), iodata()) -> binary().
reject(Status, Headers, Body) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Status, Headers, Body]),
    case sockeye_decision:response({Status, Headers, Body}) of
        {ok, {reject, Checked, Lines, Bin} = Decision} ->
            case sockeye_decision:is_large(Decision) of
                false -> sockeye_pure:codec_refuse(Checked, Lines, Bin);
                true -> sockeye_pure:codec_refuse_dirty(Checked, Lines, Bin)
            end;
        %% Each is right, but not with this status.
        {error, Why} -> sockeye_errors:misuse(?MODULE, ?FUNCTION_NAME, [Status, Headers, Body], [{3, Why}])
    end.

%% @equiv new(Role, #{})
-spec new(client | server) -> {ok, codec()}.
new(Role) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Role]),
    new(Role, #{}).

%% @doc A codec for a connection whose handshake was done by others. Error: `{bad_option, Key, Why}'.
%% ```
%% 1> {ok, Codec} = sockeye_codec:new(server, #{max_message_size => 65536}).
%% {ok,#Ref<...>}
%% '''
-spec new(client | server, codec_options()) -> {ok, codec()} | option_error().
new(Role, Options) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Role, Options]),
    with(options(Options, [deflate | ?SESSION]), fun(Checked) ->
        {ok, sockeye_pure:codec_new(Role, Checked)}
    end).

%% @doc The bytes of these frames, masked if this is a client, compressed if that was agreed on
%% and makes them smaller. All or none: after an error nothing has changed.
%%
%% Send the bytes in the order in which they were made. Raises `badarg' for what is not a frame. Errors: see
%% {@link encode_error()}.
%% ```
%% 1> {ok, Codec} = sockeye_codec:new(server).
%% {ok,#Ref<...>}
%% 2> sockeye_codec:encode(Codec, [{text, <<"hi">>}, {close, 1000, <<>>}]).
%% {ok,<<129,2,104,105,136,2,3,232>>}
%% 3> sockeye_codec:encode(Codec, {text, <<"too late">>}).
%% {error,closed}
%% '''
-spec encode(codec(), frame() | [frame()]) -> {ok, binary()} | {error, encode_error()}.
encode(Codec, Frames) ->
    try encoded(Codec, Frames)
    catch error:badarg -> sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Codec, Frames])
    end.

-spec encoded(codec(), term()) -> {ok, binary()} | {error, encode_error()}.
encoded(Codec, Frames) ->
    Result = case sockeye_pure:codec_encode(Codec, Frames) of
                 dirty -> sockeye_pure:codec_encode_dirty(Codec, Frames);
                 Short -> Short
             end,
    case Result of
        {error, {not_json, Part}} -> {error, {not_json, Part, sockeye_json_path:in_frames(Frames, Part)}};
        _ -> Result
    end.

%% @doc Takes the bytes that arrived, wherever they were cut.
%%
%% `Reply' is what you have to send, or `<<>>': pongs, the answer to a Close frame, the Close
%% frame for a violation. After our own Close frame, the messages of the peer give no events. After
%% the last event, nothing does. There are no errors: a fault of the peer is the event `closed', see {@link ending()}.
%% ```
%% 1> {ok, Codec} = sockeye_codec:new(client).
%% {ok,#Ref<...>}
%% 2> sockeye_codec:decode(Codec, <<129, 2, 104>>).
%% {[],<<>>}
%% 3> sockeye_codec:decode(Codec, <<105, 136, 2, 3, 232>>).
%% {[{text,<<"hi">>},{closed,1000,<<>>}],<<...>>}
%% '''
-spec decode(codec(), iodata()) -> {[event()], Reply :: binary()}.
decode(Codec, Bytes) ->
    try decoded(Codec, Bytes)
    catch error:badarg -> sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Codec, Bytes])
    end.

-spec decoded(codec(), iodata()) -> {[event()], Reply :: binary()}.
decoded(Codec, Bytes) ->
    case sockeye_pure:codec_decode(Codec, Bytes) of
        dirty -> sockeye_pure:codec_decode_dirty(Codec, Bytes);
        Result -> Result
    end.

%% @doc Call it when the socket has ended. Returns how the connection ended: with 1006,
%% unless it was over before.
%% ```
%% 1> {ok, Codec} = sockeye_codec:new(client).
%% {ok,#Ref<...>}
%% 2> sockeye_codec:eof(Codec).
%% {closed,1006,<<>>}
%% '''
-spec eof(codec()) -> ending().
eof(Codec) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Codec]),
    case sockeye_pure:codec_eof(Codec) of
        dirty -> sockeye_pure:codec_eof_dirty(Codec);
        Result -> Result
    end.

%% @doc The role and the state of a codec, as a map, see {@link info()}.
%% ```
%% 1> {ok, Codec} = sockeye_codec:new(client).
%% {ok,#Ref<...>}
%% 2> sockeye_codec:info(Codec).
%% #{buffered => 0,deflate => false,role => client,state => open}
%% '''
-spec info(codec()) -> info().
info(Codec) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Codec]),
    case sockeye_pure:codec_info(Codec) of
        dirty -> sockeye_pure:codec_info_dirty(Codec);
        Result -> Result
    end.

-spec rest(binary(), non_neg_integer()) -> binary().
rest(Bin, Length) ->
    binary:part(Bin, Length, byte_size(Bin) - Length).

-spec with({ok, map()} | option_error(), fun((map()) -> Result)) -> Result | option_error().
with({ok, Checked}, Do) -> Do(Checked);
with({error, _} = Error, _Do) -> Error.

%% These keys and no others, each checked, the rest as by default.
-spec options(map(), [atom()]) -> {ok, map()} | option_error().
options(Options, Keys) ->
    {Own, Common} = {maps:with([host, path, headers, deflate], Options),
                     maps:without([host, path, headers, deflate], Options)},
    try
        ok = sockeye_options:known(maps:keys(Options), Keys),
        Checked = maps:map(fun own/2, Own),
        with(sockeye_options:only(Common, Keys), fun(More) ->
            All = maps:merge(Checked, More),
            Default = maps:get(max_message_size, All, 1048576),
            {ok, maps:merge((defaults())#{max_frame_size => Default}, All)}
        end)
    catch
        throw:{bad_option, _, _} = Bad -> {error, Bad}
    end.

-spec defaults() -> map().
defaults() ->
    #{path => <<"/">>, subprotocols => [], headers => [], deflate => false,
      max_header_size => 16384, max_headers => 100,
      max_message_size => 1048576, max_fragments => 1024, null => null}.

-spec own(atom(), term()) -> term().
own(headers, Headers) ->
    case sockeye_decision:headers(Headers) of
        {ok, Checked} -> Checked;
        {error, Why} -> throw(sockeye_bad_option:option(headers, Why))
    end;
own(deflate, Value) ->
    case sockeye_deflate:check(Value) of
        {ok, Checked} -> Checked;
        {error, Why} -> throw(sockeye_bad_option:option(deflate, Why));
        Expected -> throw(sockeye_bad_option:option(deflate, sockeye_bad_option:expected(Expected, Value)))
    end;
own(Key, Text) ->
    %% What is far too long is not looked into.
    try left(Text, 2 * ?LONGEST) >= 0 andalso unicode:characters_to_binary(Text) of
        Bin when is_binary(Bin), byte_size(Bin) =< ?LONGEST -> Bin;
        TooLong when TooLong =:= false; is_binary(TooLong) ->
            throw(sockeye_bad_option:option(Key, ["has more than ", integer_to_list(?LONGEST), " bytes"]));
        _ -> throw(sockeye_bad_option:option(Key, sockeye_bad_option:expected("text", Text)))
    catch
        error:badarg -> throw(sockeye_bad_option:option(Key, sockeye_bad_option:expected("text", Text)))
    end.

%% Of so many characters and lists, what this text leaves; less than nothing where it has more.
-spec left(term(), integer()) -> integer().
left(_Text, Left) when Left < 0 -> Left;
left([First | Rest], Left) -> left(Rest, left(First, Left - 1));
left(Binary, Left) when is_binary(Binary) -> Left - byte_size(Binary);
left(_Other, Left) -> Left.
