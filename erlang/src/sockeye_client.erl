%% @doc WebSocket clients: the frames, the connections and the behaviour of
%% {@link sockeye} servers, on the other end.
%%
%% ```
%% 1> {ok, Client} = sockeye_client:start_link("ws://127.0.0.1:8080/feed", {hello_handler, <<"Hi">>},
%%                                             #{reconnect => true}).
%% {ok,<0.105.0>}
%% '''
%%
%% A client is a process, for a supervisor, that connects and keeps the
%% connection. With a `{Module, Arg}' a second process runs the
%% {@link sockeye_handler}; frames go directly between it and the engine. The
%% connection has the same `Conn' as one of a server, for {@link sockeye:send/2},
%% {@link sockeye:close/3}, {@link sockeye:setopts/2} and {@link sockeye:info/1}. The process of the client waits for
%% its handler when it starts and when it ends. So callbacks must not call {@link stop/1}, {@link send/2}, {@link conn/1}
%% or {@link info/1} for their own client; they return `{reply, Frame}' and `{close, Code, Reason}'.
%%
%% <h3>In a shell</h3>
%%
%% {@link connect/2}, {@link recv/2} and {@link close/1} wait for their result, and start no handler. The process that
%% called {@link connect/2} must make the other calls.
%%
%% ```
%% 1> {ok, Server} = sockeye:start_link(8080).
%% {ok,<0.105.0>}
%% 2> {ok, Conn} = sockeye_client:connect("ws://127.0.0.1:8080/", #{}).
%% {ok,{sockeye_conn,536870913}}
%% 3> sockeye_client:send(Conn, #{type => ping}).
%% ok
%% 4> sockeye:send_message(Server, #{type => pong}).
%% ok
%% 5> sockeye_client:recv(Conn, 1000).
%% {ok,{json,#{<<"type">> => <<"pong">>}}}
%% 6> sockeye_client:close(Conn).
%% ok
%% '''
%%
%% <h3>The end</h3>
%%
%% Without the option `reconnect' a client ends with its connection. Its reason is `normal' if
%% our side closed it or the server did with 1000, else `{shutdown, {closed, Code, Reason}}'.
%% With `reconnect', a client ends when our side closes the connection, when its handler stops, or with
%% `{shutdown, Reason}' when `max_attempts' have failed in a row. A handler that crashes ends
%% its client, and a supervisor starts both again.
%%
%% <h3>Reconnecting</h3>
%%
%% With `reconnect => true' or a map, {@link start_link/3} returns at once, and the
%% client connects, and connects again, until it is told to stop. After each connection
%% (behind `handle_close/4'), and after each attempt that failed, the client calls
%% `handle_down(Reason, State)'; an owner gets `{sockeye_client, Client, {down, Reason}}'.
%% Then the client waits a random time, and tries again: see {@link reconnect()}. Each attempt begins anew, with
%% address, TLS and upgrade, and gives a new `Conn' and a call of `handle_open/3'.
-module(sockeye_client).

-export([start_link/2, start_link/3, child_spec/3, stop/1]).
-export([connect/1, connect/2, send/2, recv/1, recv/2, close/1, close/3]).
-export([conn/1, info/1]).

-export_type([url/0, options/0, tls/0, pin/0, reconnect/0]).
-export_type([dial_error/0, tls_fault/0, breach/0, refusal/0, down_reason/0]).

-type url() :: string() | binary() | fun(() -> string() | binary()).
%% `ws://[user:password@]host[:port][/path][?query]', the same with `wss', or
%% `ws+unix:/path/of/socket[:/path]' (an abstract name: `ws+unix:@name'). User and
%% password are sent as basic authentication. An IPv6 address may have a zone, the interface that
%% leads to it, by name or number: `ws://[fe80::1%25eth0]/' (RFC 6874). The zone is not sent to anybody.
%% A function is called each time a client starts, by the process that starts it.

-type options() ::
        #{connect_timeout => pos_integer() | infinity,
          headers => [{iodata(), iodata()}] | fun(() -> [{iodata(), iodata()}]),
          host => iodata(),
          tls => tls(),
          proxy => iodata() | fun(() -> iodata()),
          max_redirects => 0..20,
          reconnect => boolean() | reconnect(),
          atom() => term()}.
%% Options of a client. A client also takes those options of a server that are about connections, with the same meanings
%% and defaults, see {@link sockeye:options()}: `name', `batch', `active', `format', `keys', `null', `objects', `encoder',
%% `max_depth', `on_invalid_json', `control_frames', `message_rate', `max_message_size',
%% `max_frame_size', `max_fragments', `inbox_size', `send_queue_size', `send_timeout',
%% `close_timeout', `idle_timeout', `ping_interval', `pong_timeout', `max_age',
%% `deflate' (to offer), and `subprotocols' (those to ask for, the preferred one first).
%%
%% <ul>
%% <li>`connect_timeout': milliseconds or `infinity', default 10000, for one attempt: look-up of the host, proxy, TLS,
%%     redirects and handshake together.</li>
%% <li>`headers': further headers of the request, a list of at most 1,000 pairs of name (1,024 bytes) and value
%%     (65,536 bytes), 1 MiB in all; none that the
%%     handshake writes, and not `Host'. Or a function that returns them when the client starts.</li>
%% <li>`host': the value of the header `Host', as `host' or `host:port'; default that of the URL. Only the server of the
%%     URL gets it, not one that a redirect leads to. It changes nothing for TLS, which uses the host of the URL, or
%%     `server_name_indication'.</li>
%% <li>`tls': for `wss', and redirects that lead there; see {@link tls()}.</li>
%% <li>`proxy': `http://[user:password@]host[:port]' (CONNECT; port 8080 by default), or `socks5://...' (port 1080 by
%%     default). The proxy gets the name of the host, and looks it up. Or a function that returns it when the client starts.</li>
%% <li>`max_redirects': how many are followed, 0 to 20. With 0, the default, a redirect is the error
%%     `{refused, Answer}'. No redirect from `wss' to `ws' is followed. Credentials, cookies and client certificates are not
%%     sent to another host or port.</li>
%% <li>`reconnect': `true' or a map, see {@link reconnect()}; default `false'.</li>
%% </ul>

-type tls() :: #{verify => verify_peer | verify_none,
                 cacertfile => file:name_all(), cacerts => binary() | [binary() | tuple()],
                 certfile => file:name_all(), cert => binary() | [binary()],
                 keyfile => file:name_all(), key => sockeye:key(),
                 pin => pin() | [pin()],
                 server_name_indication => string() | binary() | disable,
                 versions => ['tlsv1.2' | 'tlsv1.3']}.
%% <ul>
%% <li>`verify': with `verify_peer' (default) the certificate of the server must be valid for the host of the URL; with
%%     `verify_none' any is accepted.</li>
%% <li>`cacertfile', `cacerts': who may have signed it: the name of a PEM file; DER as in `ssl', what
%%     `public_key:cacerts_get/0' returns, or PEM text. Default: the authorities that the system trusts.</li>
%% <li>`pin': the certificate must also be one of these, see {@link pin()}.</li>
%% <li>`certfile' and `keyfile', or `cert' and `key': a certificate of the client, see {@link sockeye:identity()}.</li>
%% <li>`server_name_indication': the name that the client asks for and checks, default the host of the URL; `disable'
%%     sends none.</li>
%% <li>`versions': default both.</li>
%% </ul>
%%
%% Files are read when the client starts.

-type pin() :: {spki | cert, Sha256 :: <<_:256>>} | string() | binary().
%% The SHA-256 of the public key (`SubjectPublicKeyInfo') or of the whole certificate; as text
%% `"sha256//Base64"' of the public key, as curl has it.

-type reconnect() :: #{initial_interval => pos_integer(), max_interval => pos_integer(),
                       max_attempts => pos_integer() | infinity, send_when_down => refuse | keep}.
%% <ul>
%% <li>`initial_interval' (100 ms), `max_interval' (30000 ms): the pause before an attempt is a random time from 0 to a
%%     limit. The limit begins at `initial_interval', doubles with each attempt, and ends at `max_interval'. After a
%%     connection that lasted `max_interval' or longer, it begins again.</li>
%% <li>`max_attempts': so many may fail in a row, default `infinity'; then the client ends.</li>
%% <li>`send_when_down': what {@link send/2} does while the client is not connected. `refuse' (default) returns
%%     `{error, down}'. `keep' keeps the frame, up to `send_queue_size' bytes, and sends it after the next
%%     `handle_open/3'.</li>
%% </ul>
%%
%% What a connection had taken when it broke is lost: nobody knows whether the server has it.

-type refusal() :: #{status := 200..999, headers := [{binary(), binary()}], body := binary()}.
%% An answer that is not 101: names in lower case, at most 64 KiB of the body.

-type dial_error() :: timeout
                    | nxdomain
                    | econnrefused | econnreset | ehostunreach | enetunreach | etimedout | enoent | enodev
                    | closed
                    | {refused, refusal()}
                    | {bad_handshake, breach()}
                    | {tls, {tls_fault(), Text :: binary()}}
                    | {proxy, denied | not_allowed | ehostunreach | econnrefused | failure | malformed
                              | {refused, refusal()}}
                    | {redirect, too_many | insecure | bad_location}
                    | atom().
%% Why there is no connection. `timeout': `connect_timeout' is over. `closed': the
%% server hung up before its answer was complete. `refused': an answer other than 101. `bad_handshake': an answer that a
%% WebSocket server must not give. `enodev': there is no interface with the name of the zone. `nxdomain', `econnrefused',
%% `econnreset', `ehostunreach', `enetunreach', `etimedout', `enoent' (of a Unix socket) and others are as in `inet'.
%% `tls': see {@link tls_fault()}. `proxy': what the proxy answered, or why it could not be asked. `redirect': why a
%% redirect was not followed: `too_many' (more than `max_redirects'), `insecure' (from `wss' to `ws', or with a client certificate
%% to another host), `bad_location'.

-type tls_fault() :: unknown_ca | bad_host | expired | not_yet_valid | revoked | pin | bad_certificate
                   | alert | not_tls | failure.
%% Why there is no TLS connection. `alert': the server refused.

-type breach() :: malformed | too_large | upgrade | connection | accept | subprotocol | extension.
%% What is wrong with the answer of a server. `malformed': it is not HTTP/1.1. `too_large': its head has more than
%% 16 KiB (together with the interim answers before it), more than 100 headers, or more than 16 interim answers came.
%% The others are about a 101. `upgrade': it is without `Upgrade: websocket'; `connection': without `Connection: Upgrade';
%% `accept': its `Sec-WebSocket-Accept' is wrong; `subprotocol', `extension': it has one that was not asked for.

-type down_reason() :: {closed, sockeye:close_code(), Reason :: binary()} | dial_error().
%% Why a client that reconnects is not connected: its connection ended, or an attempt failed.

%% @equiv start_link(Url, Handler, #{})
-spec start_link(url(), sockeye:handler()) -> {ok, pid()} | {error, term()}.
start_link(Url, Handler) ->
    with_config(Url, Handler, #{}, fun sockeye_dialler:start_link/1).

%% @doc Starts a client, linked to the caller.
%%
%% Without `reconnect' it returns when the connection is open, or an error. With `reconnect'
%% it returns at once. The handler is a pid or registered name, which gets
%% messages, or a `{Module, Arg}'; see {@link sockeye:event()} and {@link sockeye_handler}.
%%
%% ```
%% 1> sockeye_client:start_link("ws://127.0.0.1:9", self(), #{connect_timeout => 2000}).
%% {error,econnrefused}
%% '''
%% Errors: {@link dial_error()}; `{bad_url, Why}' and `{bad_option, Key, Why}', with a sentence in `Why';
%% `{already_started, Pid}' where the name is taken; the reason that the handler's `init/1' gave to stop.
-spec start_link(url(), sockeye:handler(), options()) ->
          {ok, pid()}
        | {error, dial_error() | {bad_url, Why :: binary()} | sockeye:start_error()}.
start_link(Url, Handler, Options) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Url, Handler, Options]),
    with_config(Url, Handler, Options, fun sockeye_dialler:start_link/1).

%% @doc A child specification for a supervisor. Its id is `{sockeye_client, Name}', or the URL
%% without user and password if there is no name, in a pair with a hash if it has a query. Its `restart' is `transient'. `headers', `proxy', the
%% `key' of `tls', and a URL with a user, password or query are functions in it, since a supervisor writes it to the log. Raises `{bad_url, Why}' or `{bad_option, Key, Why}'.
%%
%% ```
%% init([]) ->
%%     Client = sockeye_client:child_spec("wss://example.com/feed", {feed_handler, []}, #{name => feed, reconnect => true}),
%%     {ok, {#{}, [Client]}}.
%% '''
-spec child_spec(url(), sockeye:handler(), options()) -> supervisor:child_spec().
child_spec(Url, Handler, Options) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Url, Handler, Options]),
    case sockeye_client_options:parse(Url, Handler, Options, self()) of
        {ok, #{name := Name, url := Shown, dial := #{url := Text}} = Config} ->
            Id = case Name of
                     undefined -> id(Shown, Text);
                     _ -> Name
                 end,
            #{id => {?MODULE, Id},
              start => {?MODULE, start_link, [sockeye_secret:url(Url, Shown), Handler, sockeye_secret:options(Options)]},
              type => worker,
              restart => transient,
              shutdown => sockeye_options:shutdown_time(Config)};
        {error, Reason} ->
            sockeye_errors:raise(Reason, ?MODULE, ?FUNCTION_NAME, [Url, Handler, Options])
    end.

%% What is hidden may be all that tells two clients of a supervisor apart.
-spec id(binary(), binary()) -> binary() | {binary(), non_neg_integer()}.
id(Shown, Url) ->
    case binary:match(Shown, <<"?">>) of
        nomatch -> Shown;
        _ -> {Shown, erlang:phash2(Url)}
    end.

%% @doc Ends a client: closes its connection with 1000, and returns when it has ended. That
%% takes about a second at most if the server does not answer, and as long as the handler needs for what it has
%% received (5 seconds at most; then it is killed). A handler must not call this for its own client. Error: `not_found'.
%% ```
%% 1> {ok, Feed} = sockeye_client:start_link("ws://127.0.0.1:8080/feed", self(), #{reconnect => true}).
%% {ok,<0.105.0>}
%% 2> sockeye_client:stop(Feed).
%% ok
%% 3> sockeye_client:stop(Feed).
%% {error,not_found}
%% '''
-spec stop(pid() | atom()) -> ok | {error, not_found}.
stop(Client) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Client]),
    case find(Client) of
        {ok, Pid} -> sockeye_server_calls:stop_process(Pid);
        error -> {error, not_found}
    end.

%% A call to a process that is no client would never return, or end who knows what.
-spec find(pid() | atom()) -> {ok, pid()} | error.
find(Name) when is_atom(Name) ->
    case whereis(Name) of
        Pid when is_pid(Pid) -> find(Pid);
        _ -> error
    end;
find(Pid) ->
    case Pid =/= self() andalso proc_lib:translate_initial_call(Pid) of
        {sockeye_dialler, init, 1} -> {ok, Pid};
        _ -> error
    end.

%% @equiv connect(Url, #{})
-spec connect(url()) -> {ok, sockeye:conn()} | {error, term()}.
connect(Url) ->
    with_config(Url, self(), #{active => false}, fun sockeye_client_conn:connect/1).

%% @doc Connects, for {@link recv/2} and {@link close/1}, which the same process must call, and {@link send/2}.
%%
%% No frame comes as a message. Only `{sockeye, Conn, {closed, Code, Reason}}' does, and {@link recv/2} takes it. Nothing
%% is linked: the connection ends with {@link close/1} or with the calling process. The options `active', `batch', `name'
%% and `reconnect' are refused here.
%% ```
%% 1> {ok, Server} = sockeye:start_link(8080).
%% {ok,<0.105.0>}
%% 2> sockeye_client:connect("ws://127.0.0.1:8080/", #{connect_timeout => 2000, subprotocols => ["chat"]}).
%% {ok,{sockeye_conn,536870913}}
%% 3> sockeye_client:connect("http://127.0.0.1:8080/", #{}).
%% {error,{bad_url,<<"expected a URL that begins with ws://, wss:// or ws+unix:, got ...">>}}
%% '''
%% Errors: {@link dial_error()}; `{bad_url, Why}' and `{bad_option, Key, Why}', with a sentence in `Why'.
-spec connect(url(), options()) ->
          {ok, sockeye:conn()}
        | {error, dial_error() | {bad_url, Why :: binary()} | sockeye:start_error()}.
connect(Url, Options) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Url, Options]),
    Needless = [Key || Key <- [active, batch, name, reconnect], is_map_key(Key, Options)],
    case Needless of
        [] ->
            with_config(Url, self(), Options#{active => false}, fun sockeye_client_conn:connect/1);
        [Key | _] ->
            {error, sockeye_bad_option:option(Key, "is for start_link/3, not for connect/2")}
    end.

-spec with_config(url(), sockeye:handler(), options(), fun((map()) -> Result)) ->
          Result | {error, term()}.
with_config(Url, Handler, Options, Start) ->
    case sockeye_client_options:parse(Url, Handler, Options, self()) of
        {ok, Config} ->
            sockeye_engine:when_running(fun() -> Start(Config) end);
        {error, _} = Error ->
            Error
    end.

%% @doc Sends a frame, or several, over a `Conn', as {@link sockeye:send/2}, or over the connection that a client has at
%% the moment.
%%
%% Errors: those of {@link sockeye:send/2}; `not_found' if there is no such client; `down' if it has no connection at the
%% moment. With `reconnect => #{send_when_down => keep}' the frame is kept then, and the answer is `ok', or `busy' when
%% `send_queue_size' bytes are kept already.
%% ```
%% 1> {ok, Feed} = sockeye_client:start_link("ws://127.0.0.1:9/", self(), #{reconnect => true}).
%% {ok,<0.105.0>}
%% 2> sockeye_client:send(Feed, #{follow => <<"news">>}).
%% {error,down}
%% '''
-spec send(sockeye:conn() | pid() | atom(), sockeye:frame() | [sockeye:frame()]) ->
          ok | {error, down | not_found | sockeye:send_error()}.
send(Client, Frames) when is_pid(Client), node(Client) =:= node(); is_atom(Client) ->
    case find(Client) of
        {ok, Pid} ->
            try send_by(Pid, Frames, none)
            catch error:badarg -> sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Client, Frames])
            end;
        error ->
            {error, not_found}
    end;
send(Conns, Frames) when is_list(Conns) ->
    sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Conns, Frames]);
send(Conn, Frames) ->
    try sockeye:send(Conn, Frames)
    catch error:badarg -> sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Conn, Frames])
    end.

%% `Tried' is a connection that has just gone, which the client does not know yet. Who has met two of
%% them gets what the client has to say when it has none.
-spec send_by(pid(), sockeye:frame() | [sockeye:frame()], sockeye:conn() | none | any) ->
          ok | {error, down | not_found | sockeye:send_error()}.
send_by(Client, Frames, Tried) ->
    try gen_server:call(Client, {send, Frames, Tried}, infinity) of
        {conn, Conn} ->
            case sockeye:send(Conn, Frames) of
                {error, closed} when Tried =:= none -> send_by(Client, Frames, Conn);
                {error, closed} -> send_by(Client, Frames, any);
                Result -> Result
            end;
        badarg ->
            error(badarg);
        Result ->
            Result
    catch
        exit:_ -> {error, not_found}
    end.

%% @equiv recv(Conn, infinity)
-spec recv(sockeye:conn()) -> {ok, sockeye:event()} | {error, term()}.
recv(Conn) ->
    ok = own(?FUNCTION_NAME, [Conn]),
    sockeye_client_conn:recv(Conn, infinity).

%% @doc Waits for the next frame of a connection made with {@link connect/2}, for `Timeout' milliseconds or `infinity'.
%% Only the process that made it may call this; in another it is `badarg'.
%%
%% The frame is `{json, Term}', `{text, Bin}' (with `format => raw'), `{binary, Bin}', `{invalid_json, Bin, Why}' (with
%% `on_invalid_json => deliver'), `{ping, Bin}' or `{pong, Bin}' (with `control_frames => true'). Frames that nobody asks
%% for wait in the engine, within its limits; then the server has to wait.
%%
%% Errors: `timeout'; `{closed, Code, Reason}' once, when the connection has ended, and `closed' in each call after that.
%% ```
%% 1> {ok, Server} = sockeye:start_link(8080).
%% {ok,<0.105.0>}
%% 2> {ok, Conn} = sockeye_client:connect("ws://127.0.0.1:8080/").
%% {ok,{sockeye_conn,536870913}}
%% 3> sockeye_client:recv(Conn, 0).
%% {error,timeout}
%% 4> sockeye:stop(Server).
%% ok
%% 5> sockeye_client:recv(Conn, 1000).
%% {error,{closed,1001,<<>>}}
%% 6> sockeye_client:recv(Conn, 1000).
%% {error,closed}
%% '''
-spec recv(sockeye:conn(), timeout()) ->
          {ok, sockeye:event()}
        | {error, timeout | closed | {closed, sockeye:close_code(), Reason :: binary()}}.
recv(Conn, Timeout) ->
    ok = own(?FUNCTION_NAME, [Conn, Timeout]),
    sockeye_client_conn:recv(Conn, Timeout).

%% @equiv close(Conn, 1000, <<>>)
-spec close(sockeye:conn()) -> ok | {error, closed}.
close(Conn) ->
    ok = own(?FUNCTION_NAME, [Conn]),
    sockeye_client_conn:close(Conn, 1000, <<>>).

%% @doc Closes a connection made with {@link connect/2}, and returns when it is
%% closed: when the server has answered, or after `close_timeout'. What has not been
%% received is lost. `Code' and `Reason' are as in {@link sockeye:close/3}. In a process that has not made it, this is
%% `badarg': {@link sockeye:close/3} closes any connection. Error: `closed', when it was closed before.
%% ```
%% 1> {ok, Server} = sockeye:start_link(8080).
%% {ok,<0.105.0>}
%% 2> {ok, Conn} = sockeye_client:connect("ws://127.0.0.1:8080/").
%% {ok,{sockeye_conn,536870913}}
%% 3> sockeye_client:close(Conn, 1000, <<"done">>).
%% ok
%% '''
-spec close(sockeye:conn(), sockeye:close_code(), iodata()) -> ok | {error, closed}.
close(Conn, Code, Reason) ->
    ok = own(?FUNCTION_NAME, [Conn, Code, Reason]),
    sockeye_client_conn:close(Conn, Code, Reason).

-spec own(recv | close, [term()]) -> ok.
own(Function, [Conn | _] = Args) ->
    ok = sockeye_errors:check(?MODULE, Function, Args),
    sockeye_client_conn:is_of_another(Conn) andalso
        sockeye_errors:misuse(?MODULE, Function, Args, [{1, <<"this process has not made this connection with sockeye_client:connect/1,2; "
                                                              "sockeye:close/1,3 closes the connection of another">>}]),
    ok.

%% @doc The connection that a client has at the moment. Errors: `down' if it has none; `not_found' if there is no such
%% client.
%% ```
%% 1> {ok, Feed} = sockeye_client:start_link("ws://127.0.0.1:9/", self(), #{reconnect => true}).
%% {ok,<0.105.0>}
%% 2> sockeye_client:conn(Feed).
%% {error,down}
%% '''
-spec conn(pid() | atom()) -> {ok, sockeye:conn()} | {error, down | not_found}.
conn(Client) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Client]),
    case about(Client) of
        {ok, #{conn := none}} -> {error, down};
        {ok, #{conn := Conn}} -> {ok, Conn};
        {error, not_found} -> {error, not_found}
    end.

%% @doc What there is to know of a client, as a map.
%%
%% <ul>
%% <li>`url': without user and password, and `(hidden)' for its query.</li>
%% <li>`conn': its connection, `none' while it has none.</li>
%% <li>`failed_attempts': since it was connected last.</li>
%% <li>`kept': bytes of frames that wait for a connection (`send_when_down => keep').</li>
%% <li>The counters of {@link sockeye:server_info()}, over all its connections: `accepted' is how often it was
%%     connected. `requests', `proxied', `proxy_errors', `rejected', `no_descriptor', `accept_errors' and `accept_pauses' stay 0.</li>
%% </ul>
%% Error: `not_found'.
%% ```
%% 1> {ok, Feed} = sockeye_client:start_link("ws://127.0.0.1:9/", self(), #{reconnect => true}).
%% {ok,<0.105.0>}
%% 2> {ok, #{conn := none, kept := 0}} = sockeye_client:info(Feed).
%% {ok,#{...}}
%% '''
-spec info(pid() | atom()) -> {ok, map()} | {error, not_found}.
info(Client) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Client]),
    about(Client).

-spec about(pid() | atom()) -> {ok, map()} | {error, not_found}.
about(Client) ->
    case find(Client) of
        {ok, Pid} ->
            try gen_server:call(Pid, info, infinity) of
                {Id, Info} -> {ok, maps:merge(sockeye_backend:server_info(Id), Info)}
            catch
                exit:_ -> {error, not_found};
                %% It has just ended.
                error:badarg -> {error, not_found}
            end;
        error ->
            {error, not_found}
    end.
