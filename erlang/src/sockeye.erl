%% @doc WebSocket servers for Erlang and Elixir, with a Rust engine inside.
%%
%% A shell is enough to try it. With no handler, frames come to the caller:
%%
%% ```
%% 1> {ok, Server} = sockeye:start_link(8080).
%% {ok,<0.105.0>}
%% 2> {ok, ClientConn} = sockeye_client:connect("ws://127.0.0.1:8080/").
%% {ok,{sockeye_conn,1090519041}}
%% 3> sockeye_client:send(ClientConn, #{hello => <<"world">>}).
%% ok
%% 4> receive {sockeye, Conn, {json, Term}} -> sockeye:send(Conn, #{you_said => Term}) end.
%% ok
%% 5> sockeye_client:recv(ClientConn).
%% {ok,{json,#{<<"you_said">> => #{<<"hello">> => <<"world">>}}}}
%% '''
%% Each end of a connection has a `Conn' of its own: `ClientConn' is the client's, `Conn' the server's. The guide, the folder
%% `erlang/guide', has all options, units, limits and keys; here they are in short.
%%
%% <h3>Messages to an owner</h3>
%%
%% They have one shape, `{sockeye, Conn, Event}'; see {@link event()}. With the option `batch => true', events of one connection that
%% arrive together come as `{sockeye, Conn, {batch, [Event]}}'. Credits protect an owner's mailbox: a connection starts with `active =>
%% 100'. After a hundred frames the owner gets `passive' (not after `once'), and the engine reads nothing more from that client until
%% {@link setopts/2} gives new credits.
%%
%% <h3>Naming a server</h3>
%%
%% By the pid that {@link start_link/1} returned, by its registered name (option `name'), or by its port number, unless several servers
%% have it on different addresses.
%%
%% <h3>Errors, and how long a call takes</h3>
%%
%% A call returns `{error, Reason}' for what can happen to a correct program. {@link format_error/1} has the sentence of a
%% reason. An argument of a wrong type raises `badarg'; the shell shows which argument is wrong, and what it should be.
%%
%% No call waits for a client: a frame that does not fit into the client's queue is refused with `{error, busy}'. When more than 8,192
%% calls, or 16 MiB of broadcasts, wait for a thread of the engine, the next caller waits until its own call has been carried out;
%% nothing is refused or lost. {@link info/1} of a connection, {@link connections/1}, {@link subscribers/2} and the option `wait' of
%% {@link publish/4} and {@link broadcast/3} wait for an answer of the engine, 5 seconds at most (`{error, timeout}'). {@link stop/1}
%% and {@link drain/2} wait for the end of the server, so a handler must not call them for its own server.
-module(sockeye).

-export([start_link/0, start_link/1, child_spec/1, stop/1, drain/2, reload_tls/1]).
-export([send/2, send_message/2, broadcast/2, broadcast/3, broadcast_from/2, broadcast_from/3]).
-export([subscribe/2, unsubscribe/2, publish/3, publish/4, publish_from/3, publish_from/4, subscribers/2, topics/1]).
-export([close/1, close/3, setopts/2, controlling_process/2]).
-export([i/0, i/1, trace/2, info/0, info/1, connections/1, adopt/3, check_host/1, check_host/2, format_error/1]).

-export_type([conn/0, server/0, frame/0, event/0, active/0, conn_option/0, close_code/0, endpoint/0, topic/0, outcome/0]).
-export_type([options/0, handler/0, http_answer/0, send_piece/0, file_options/0, upstream/0, proxy_options/0, deflate_options/0, tls/0, identity/0, key/0, tls_key/0]).
-export_type([trace_options/0, traced/0]).
-export_type([drain_options/0, publish_options/0, engine_info/0, server_info/0, conn_info/0, host_options/0, host_finding/0]).
-export_type([start_error/0, send_error/0, subscribe_error/0, publish_error/0, adopt_error/0]).

-opaque conn() :: {sockeye_conn, pos_integer() | {pid(), pos_integer()}}.
%% A connection. It can be compared, sent to other processes of this node and used as a key. Once the connection has ended, calls return
%% `{error, closed}'.

-type server() :: pid() | inet:port_number() | {local, binary()} | atom().
%% A server, by pid, port number, Unix socket or registered name.

-type frame() :: map() | {json, Term :: term()} | {text | binary | ping | pong, iodata()}
               | {uncompressed, map() | {json, term()} | {text | binary, iodata()}}
               | {stream, text | binary, first | more | last, iodata()}
               | {close, close_code(), Reason :: iodata()}.
%% What can be sent. A map is JSON, and `{json, Term}' is JSON for any term, see {@link sockeye_json}. `{text, _}' must be UTF-8. The
%% body of a ping, and of a pong that nobody asked for, has at most 125 bytes. `{uncompressed, Frame}' is not compressed, whatever the
%% client agreed to: use it for data that is compressed already, and for a message that mixes a secret with text of others.
%%
%% `stream': a piece of a message that is sent as it is produced: `first', any number of `more', `last'. The message belongs to the
%% process that sent `first': pieces of others, and pieces with no `first', are `{error, not_streaming}', a second `first' is `{error,
%% streaming}'. A character of a text may be cut between two pieces. What else is sent to the connection meanwhile, but for pings, pongs
%% and Close frames, waits for `last', within `send_queue_size', and is lost when the connection ends without it. The pieces do not wait
%% for it: they have as much room beside it.

-type event() :: {open, conn_info()}
               | {json, term()} | {text | binary, binary()}
               | {invalid_json, binary(), Why :: term()}
               | {ping | pong, binary()}
               | passive
               | {closed, close_code(), Reason :: binary()}.
%% What happens on a connection. `open' comes first and `closed' last. The code 1006 means that the transport ended without a Close
%% frame. `passive': the credits ran out.

-type active() :: true | false | once | integer().
%% How many frames a connection may deliver. A number from -32768 to 32767 adds to the credits that are left, as in `inet'; they never
%% exceed 32767. `once' sets them to one, `false' to none, and `true' lifts the limit. Control frames cost nothing, and pings are always
%% answered.

-type conn_option() :: {active, active()}
                     | {max_message_size | max_frame_size | max_fragments | send_queue_size, pos_integer()}
                     | {idle_timeout | ping_interval | pong_timeout | max_age, pos_integer() | infinity}.
%% What {@link setopts/2} changes for one connection: {@link active()}, and the options of that name in {@link options()}, with the same
%% units and limits. Where `max_frame_size' was equal to `max_message_size', a new `max_message_size' changes both. The age counts from
%% the handshake.

-type drain_options() :: #{per_interval => pos_integer(), interval => pos_integer(), deadline => pos_integer() | infinity,
                           code => 1001 | 1012 | 3000..4999, reason => iodata()}.
%% See {@link drain/2}.

-type close_code() :: 1000..4999.
%% Of a Close frame (RFC 6455, 7.4), or 1005 and 1006 for one that had none or never came.

-type send_error() :: closed | busy | not_utf8 | {not_json, Part :: term(), Path :: binary()} | streaming | not_streaming.
%% Why nothing was sent. `closed': the connection is closed or closing. `busy': its queue is full (option `send_queue_size'), and
%% nothing else. `not_utf8': a text is not UTF-8. `not_json': this part of the term has no JSON form, or is `{duplicate_key, Key}'
%% or `{struct, Module}', see {@link sockeye_json}; `Path' says where it is, as `<<"$.user.born">>' or `<<"$.list[3]">>'. `streaming',
%% `not_streaming': a piece of a message is out of order, or belongs to another process's message, see {@link frame()}.

-type start_error() :: {bad_option, Key :: term(), Why :: binary()} | eaddrinuse | eacces | {already_started, pid()} | term().
%% Why a server did not start. `bad_option': an option is wrong, and the sentence `Why' says how. `eaddrinuse', `eacces' and others of
%% `inet': the port, or the file of a Unix socket, cannot be used. `already_started': this process has the name. Any other term is the
%% reason that `init/1' of the handler gave.

-type handler() :: pid() | atom() | {module(), Arg :: term()}.
%% Where frames go: an owner process, or a {@link sockeye_handler}.

-type options() ::
        #{port => inet:port_number(),
          ip => any | loopback | inet:ip_address() | string() | binary() | {local, file:name_all()} | {fd, non_neg_integer()} | none,
          name => atom() | {local, atom()}, reuseport => boolean(), backlog => pos_integer(),
          handler => handler(), processes => one | pos_integer() | per_connection,
          batch => boolean(), active => true | false | once | 1..32767, control_frames => boolean(),
          format => json | raw, keys => binary | existing_atom | {atoms, [atom()]}, null => null | undefined | nil,
          objects => map | pairs, encoder => fun((term()) -> term()), max_depth => pos_integer(), on_invalid_json => close | deliver,
          max_message_size => pos_integer(), max_frame_size => pos_integer(), max_fragments => pos_integer(),
          inbox_size => pos_integer(), send_queue_size => pos_integer(),
          send_timeout => pos_integer() | infinity, handshake_timeout => pos_integer() | infinity,
          close_timeout => pos_integer() | infinity, idle_timeout => pos_integer() | infinity,
          ping_interval => pos_integer() | infinity, pong_timeout => pos_integer() | infinity,
          max_age => pos_integer() | infinity,
          message_rate => infinity | #{rate := pos_integer(), burst => pos_integer(), action => delay | close},
          max_connections => auto | pos_integer() | infinity,
          max_connections_per_address => pos_integer() | infinity,
          connection_rate => infinity | #{rate := 1..1000000, burst => 1..1000000},
          tls => tls(), http2 => tls | cleartext | false, deflate => boolean() | deflate_options(),
          proxy_protocol => boolean(), trusted_proxies => [inet:ip_address() | string() | binary()],
          accept => fun((sockeye_handler:request()) -> sockeye_handler:decision()),
          accept_timeout => pos_integer() | infinity,
          origins => any | [same_host | null | binary() | string()],
          paths => any | [binary() | string()], subprotocols => [binary() | string()],
          http => #{binary() | string() => {file | dir, file:name_all()} | {file | dir, file:name_all(), file_options()}
                                         | {text, iodata()}
                                         | {proxy, upstream()} | {proxy, upstream(), proxy_options()}
                                         | fun((sockeye_handler:request()) -> http_answer()) | {module(), atom()}},
          health => binary() | string(), metrics => binary() | string(),
          dashboard => #{path => binary() | string(),
                         auth => loopback | fun((sockeye_handler:request()) -> boolean() | {ok, Who :: binary()} | http_answer())
                               | {token, iodata() | fun(() -> iodata())}},
          max_body_size => pos_integer(),
          max_bodies_size => pos_integer(),
          max_header_size => 256..1048576, max_headers => 8..1024,
          max_subscriptions => 1..65536, slow_subscriber => drop | close, scope => local | cluster}.
%% Options of a server, here with their defaults. `erlang/guide/options.md' says what each does. Times are milliseconds, sizes bytes;
%% `infinity' is no limit.
%%
%% <ul>
%% <li>Where it listens: `port' 19765 (0: the system picks one), `ip' `loopback' (`none': nowhere), `reuseport' `false', `backlog' 1024, no `name';
%%     `tls' none, `http2' `tls', `proxy_protocol' `false', `trusted_proxies' none.</li>
%% <li>Who gets what: `handler' the caller, `processes' `one', `batch' `false', `active' 100 for an owner and `true' for a
%%     `{Module, Arg}', `control_frames' `false'; `format' `json', `keys' `binary', `null' `null', `objects' `map', no `encoder', `max_depth' 128,
%%     `on_invalid_json' `close'.</li>
%% <li>Times: `handshake_timeout' 10000, `accept_timeout' 5000, `ping_interval' 30000, `pong_timeout' 20000, `idle_timeout' 60000,
%%     `close_timeout' 5000, `send_timeout' 30000, `max_age' `infinity'.</li>
%% <li>Sizes: `max_message_size', `inbox_size', `send_queue_size' and `max_body_size' 1 MiB, `max_bodies_size' 64 MiB, `max_frame_size' that of a message,
%%     `max_fragments' 1024, `max_header_size' 16384, `max_headers' 100, `max_subscriptions' 1024.</li>
%% <li>Limits, none by default: `message_rate' of a client, `max_connections_per_address' and `connection_rate' of an address.
%%     `max_connections' `auto': no number, but the last descriptors are kept for the rest of the node.</li>
%% <li>The handshake: `origins' `any', `paths' `any', `subprotocols' none, `accept' none, `deflate' `false'. Ordinary requests:
%%     `http', `health', `metrics' and `dashboard' none. Topics: `slow_subscriber' `drop', `scope' `local'.</li>
%% </ul>

-type file_options() :: #{cache_control => iodata(), precompressed => boolean()}.
%% How the files of a route are sent. `cache_control': the value of the header `Cache-Control', visible ASCII; without it there is no such
%% header. `precompressed': a client that takes it gets `NAME.br', `NAME.zst' or `NAME.gz' from beside the file `NAME'; default `false'.

-type upstream() :: binary() | string() | {unix, file:name_all()}.
%% Where a web server behind listens: `"http://127.0.0.1:4000"', or a Unix socket.

-type proxy_options() :: #{connect_timeout => pos_integer() | infinity, timeout => pos_integer() | infinity,
                           idle_timeout => pos_integer() | infinity, keepalive => pos_integer() | infinity,
                           pool_size => 0..1024, max_requests => pos_integer() | infinity,
                           max_body_size => pos_integer() | infinity}.
%% How requests are passed on to a web server behind. Defaults: `connect_timeout' 5000, `timeout' 60000 for the head of its answer,
%% `idle_timeout' 60000 for a pause in a content or a WebSocket, `keepalive' 4000 for a connection without a request, `pool_size' 32 such
%% connections on each thread, `max_requests' 1024 at once, `max_body_size' `infinity'. See `erlang/guide/beside.md'.

-type topic() :: binary().
%% The name of a topic, 1..255 bytes. A subscription to a name that ends with `*' is one to every topic that begins with the rest:
%% `<<"room/*">>' to `<<"room/7">>' and `<<"room/7/news">>'.

-type publish_options() :: #{wait => boolean(), scope => local | cluster}.
%% `wait': `true' waits until the frame is in the queues of this node's connections, and returns in how many; default `false'. `scope':
%% `local' for the clients of this node, `cluster' for those of all servers of the same name; the default is that of the server, and
%% `cluster' needs a server with `scope => cluster'.

-type trace_options() :: #{to => logger | pid(), rate => 1..1000, payload => 0..1024}.
%% Who gets the frames, default `logger'; how many a second, default 100, the others being counted; and how many bytes of each, default
%% none.

-type traced() :: #{direction := in | out, opcode := text | binary | continuation | close | ping | pong | 3..15,
                    fin := boolean(), compressed := boolean(), size := non_neg_integer(), time := integer(),
                    suppressed := non_neg_integer(), payload => binary()}.
%% A frame, as it stands on the wire: `size' bytes of payload, compressed where the bit says so; `in' when it was read, `out' when it was
%% queued, at `time' in microseconds since 1970. `fin' is `false' where more of its message follows. `suppressed' frames before it
%% were too many to be shown.

-type adopt_error() :: not_found | emfile | {bad_socket, Why :: binary()}.
%% Why a socket was not taken over. `not_found': there is no such server. `emfile': no descriptor is left. `bad_socket': it is closed, not
%% connected, of another process, of `ssl', or the client does not take what was sent to it before.

-type outcome() :: #{sent := non_neg_integer(), dropped := non_neg_integer()}.
%% `sent': connections that have the frame in their queue. `dropped': connections that missed it because their queue was full.

-type subscribe_error() :: closed | too_many_subscriptions.
%% See {@link subscribe/2}.

-type publish_error() :: not_found | not_clustered | timeout | closed | not_utf8
                       | {not_json, Part :: term(), Path :: binary()}.
%% Why nothing was sent, or with `timeout' why the outcome is not known. `not_found': there is no such server. `closed': the connection,
%% whose server was meant, is closed. `not_clustered': `scope => cluster' for a server without it. `not_utf8', `not_json': as in
%% {@link send_error()}. `timeout': with `wait', no answer came within 5 seconds.

-type identity() :: #{certfile => file:name_all(), cert => binary() | [binary()],
                      keyfile => file:name_all(), key => key()}.
%% A certificate with its chain, and its private key, which must not be encrypted: the names of PEM files, or as `ssl' has them, DER,
%% the own certificate first, and the key with its type; `cert' and `key' may also be PEM text.

-type key() :: binary() | {tls_key(), binary()} | fun(() -> binary() | {tls_key(), binary()}).
%% A private key, or a function that returns it when the server or client starts: what a supervisor writes to the log of its child then has no key in it.

-type tls_key() :: 'PrivateKeyInfo' | 'RSAPrivateKey' | 'ECPrivateKey'.
%% The form of a private key in DER: PKCS #8, PKCS #1 or SEC 1.

-type tls() ::
        #{certfile => file:name_all(), cert => binary() | [binary()],
          keyfile => file:name_all(), key => key(),
          sni_hosts => [{string() | binary(), identity()}],
          verify => verify_none | verify_peer, fail_if_no_peer_cert => boolean(),
          cacertfile => file:name_all(), cacerts => binary() | [binary() | tuple()],
          versions => ['tlsv1.2' | 'tlsv1.3', ...]}.
%% TLS of a server: its {@link identity()}, those of other hosts by name, and whether clients need a certificate of their own (`verify'
%% is `verify_none' by default). A file that is missing or wrong is `{error, {bad_option, tls, Why}}'. See `erlang/guide/options.md',
%% TLS.

-type http_answer() :: {Status :: 200..599, [{iodata(), iodata()}], Body :: iodata() | {stream, fun((send_piece()) -> term())}}.
%% What a function of the option `http' returns. The function of a `{stream, Fun}' is called in the same process, and the answer ends
%% when it returns.

-type send_piece() :: fun((iodata()) -> ok | {error, closed}).
%% Sends a piece of an answer. Waits while more than 64 KiB wait for the client. `closed': the client has gone, or the server has ended.

-type deflate_options() :: #{server_context_takeover => boolean(), client_context_takeover => boolean(),
                             server_max_window_bits => 9..15, client_max_window_bits => 9..15,
                             level => 1..9, mem_level => 1..9, threshold => non_neg_integer()}.
%% How messages are compressed. Defaults: `threshold' 64 bytes, `level' 2 (1 is fast, 9 small), `mem_level' 5, windows of 15 bits, and
%% no `..._context_takeover', which would keep 140 to 500 KiB for each connection. See `erlang/guide/options.md', Compression.

-type engine_info() :: #{shards := pos_integer(), servers := non_neg_integer(), connections := non_neg_integer(),
                         memory := non_neg_integer(), queued_calls := non_neg_integer(), delayed_calls := non_neg_integer(),
                         cluster_dropped := non_neg_integer(), engine := nif | port,
                         restarts := non_neg_integer(), os_pid => non_neg_integer()}.
%% The engine of this node, see `erlang/guide/functions.md': its threads, what is open, and bytes that it holds, which `erlang:memory/0'
%% does not see.

-type server_info() :: #{server := pid(), ip := inet:ip_address() | {local, binary()} | none, port := inet:port_number(), name := atom(),
                         handler := handler(), connections := non_neg_integer(), atom() => term()}.
%% A server, see `erlang/guide/functions.md' for all keys: some of its options, the connections that are open, and its counters
%% (`accepted', `requests', `rejected', `frames_in', `frames_out', `dropped', `busy', `failed' and more), which count from its start.

-type endpoint() :: {inet:ip_address(), inet:port_number()} | {local, binary()}.
%% An address and a port, or the name of a Unix socket: a path, a zero byte and an abstract name, or nothing for a client that has not
%% bound its socket.

-type conn_info() :: #{peer := endpoint(), local := endpoint(), path := binary(), atom() => term()}.
%% A connection: `peer', which a trusted proxy may name, and `local', `path' and `query' of the request, `http_version', `tls',
%% `subprotocol', `deflate'. Of {@link info/1} also `age' in milliseconds, `active', `frames_in', `send_queue' and `held' in bytes,
%% `user_data' and `topics', see
%% `erlang/guide/functions.md'; of the event `open' also `headers', pairs with names in lower case, and `state' that `accept' gave, see
%% `erlang/guide/handler.md'.

-type host_options() :: #{processes => one | pos_integer() | per_connection, tls => boolean(), http2 => boolean(), client => boolean(),
                          backlog => pos_integer(), print => boolean()}.
%% What the connections will be like, see {@link check_host/2}: `processes' and `backlog' as in {@link options()}; `tls'; `http2', all
%% clients come as streams, 100 on each socket; `client', this host opens the connections, from one of its addresses to one address and
%% port. `print' writes all that was looked at to the caller's terminal. Defaults: `one', 1,024, and `false'.

-type host_finding() :: #{what := atom(), is := non_neg_integer(), needed := pos_integer(), raise := binary()}.
%% What is too low on this host: its name, how much there is, how much is needed, and how to raise it. The names are `descriptors',
%% `nr_open', `file_max', `processes', `somaxconn', `syn_backlog', `tcp_mem' (in pages), `conntrack', `memory' (in bytes) and
%% `local_ports', see `erlang/guide/scale.md'.

-define(DEFAULT_PORT, 19765).
-define(INFO_TIMEOUT_MS, 5000).
%% The native library checks the arguments of calls for each frame, see {@link sockeye_errors}.
-define(CHECKED(Call, Args),
        try Call
        catch error:badarg -> sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, Args)
        end).
-define(CHECKED_FIRST(Call, Args), begin ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, Args), Call end).

%% @equiv start_link(19765)
-spec start_link() -> {ok, pid()} | {error, start_error()}.
start_link() ->
    start_link(?DEFAULT_PORT).

%% @doc Starts a server linked to the caller, on a port of 127.0.0.1 or with {@link options()}.
%%
%% Starts the application `sockeye' when it is not running. A start that fails returns an error, see {@link start_error()}, and sends no
%% exit signal.
%%
%% In a shell, an error that is typed ends the process of the shell, and with it the servers that it started; under a supervisor, see
%% {@link child_spec/1}, it does not. `unlink(Server)' keeps one with a handler; one without has lost its owner, and refuses clients.
%% ```
%% 1> {ok, S} = sockeye:start_link(#{port => 0, handler => {hello_handler, <<"Hi">>}}).
%% {ok,<0.105.0>}
%% 2> {ok, #{port := Port}} = sockeye:info(S).
%% {ok,#{...}}
%% 3> sockeye:start_link(#{prot => 8080}).
%% {error,{bad_option,prot,<<"unknown option; did you mean port?">>}}
%% '''
-spec start_link(inet:port_number() | options()) -> {ok, pid()} | {error, start_error()}.
start_link(Port) when is_integer(Port) ->
    start_link(#{port => Port});
start_link(Options) when is_map(Options) ->
    case sockeye_options:parse(Options, self()) of
        {ok, Config} -> sockeye_engine:when_running(fun() -> sockeye_server:start_link(Config) end);
        {error, _} = Error -> Error
    end;
start_link(Options) ->
    sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Options]).

%% @doc A child specification for a supervisor; Elixir's `{:sockeye, options}' works too.
%%
%% The handler must be given, since the caller of {@link start_link/1} will be the supervisor. The id is the name or else the port or
%% Unix socket: `{sockeye, 8080}'. Secrets among the options, as the `key' of `tls', are funs in it: a supervisor writes them to the log. Raises `{bad_option, Key, Why}' when an option is wrong.
%% ```
%% init([]) ->
%%     {ok, {#{}, [sockeye:child_spec(#{port => 8080, handler => {chat, []}})]}}.
%% '''
-spec child_spec(options()) -> supervisor:child_spec().
child_spec(#{handler := _} = Options) ->
    case sockeye_options:parse(Options, self()) of
        {ok, Config} ->
            #{id => {?MODULE, sockeye_options:child_id(Config)}, start => {?MODULE, start_link, [sockeye_secret:options(Options)]},
              type => worker,
              shutdown => sockeye_options:shutdown_time(Config)};
        {error, Reason} ->
            sockeye_errors:raise(Reason, ?MODULE, ?FUNCTION_NAME, [Options])
    end;
child_spec(Options) when is_map(Options) ->
    Reason = sockeye_bad_option:option(handler, "must be given under a supervisor"),
    sockeye_errors:raise(Reason, ?MODULE, ?FUNCTION_NAME, [Options]);
child_spec(Options) ->
    sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Options]).

%% @doc Stops a server, and returns when its port is free.
%%
%% The clients get Close frames with 1001, and have about a second to answer. Then the handlers serve what they have received,
%% `handle_close/4' included. Those that are left when none has ended for 5 seconds, or after 20 seconds, are killed. A handler must not
%% call this for its own server, which would wait for the handler. Error: `not_found'.
%% ```
%% 1> sockeye:stop(8080).
%% ok
%% 2> sockeye:stop(8080).
%% {error,not_found}
%% '''
-spec stop(server()) -> ok | {error, not_found}.
stop(Server) -> ?CHECKED_FIRST(sockeye_server_calls:stop(Server), [Server]).

%% @doc Ends a server slowly: frees its port at once, then closes its connections some at a time, and then stops it. So its clients do
%% not all come back elsewhere at the same moment. Ordinary requests that are being answered get their whole answer first.
%%
%% In each `interval' (default 100 milliseconds) `per_interval' connections (100) are closed with `code' (1001) and `reason' (none, at
%% most 123 bytes of UTF-8); after the `deadline' (30000 milliseconds, or `infinity') those that are left are cut off, and answers too. Where
%% `per_interval' is too low for the deadline, more are closed in each interval, see `erlang/guide/options.md', Draining.
%%
%% Handlers serve what they have received, and their `handle_close/4' is called for every connection. The call returns when the server
%% process has ended, normally: a supervisor starts a permanent child again. `unanswered' counts the connections that were cut off
%% because no answer to their Close frame came in time, `closed' all others. A handler must not call this for its own server.
%% ```
%% 1> sockeye:drain(8080, #{per_interval => 50, interval => 200, code => 1012, deadline => 60000}).
%% {ok,#{closed => 1,unanswered => 0}}
%% '''
%% Errors: `{bad_option, Key, Why}'; `not_found'; `draining' if somebody drains it already.
-spec drain(server(), drain_options()) ->
          {ok, #{closed := non_neg_integer(), unanswered := non_neg_integer()}}
        | {error, not_found | draining | {bad_option, Key :: term(), Why :: binary()}}.
drain(Server, Options) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Options]),
    case sockeye_drain:parse(Options) of
        {ok, Parsed} -> sockeye_server_calls:drain(Server, Parsed);
        {error, _} = Error -> Error
    end.

%% @doc Takes over a socket on which another server has read the request for a WebSocket.
%%
%% `Socket' is a connected socket of `gen_tcp' or `socket', whose owner is the caller. `Read' is what was read from it and not used: the
%% head of the request as it came, or its beginning, and all that came behind it. The engine answers the request, also where it refuses.
%% From then on all is as for a connection that the server has accepted itself: `accept', limits, counters, `drain'. The options `tls' and
%% `proxy_protocol' of the server do not count for it.
%%
%% When `ok' is returned, nobody may use `Socket' any more: it is closed, and the connection is not. What has come to the caller as `{tcp,
%% Socket, Data}' by then goes to the engine as well, behind `Read'. After an error, the socket is still the caller's.
%% ```
%% 1> {ok, Server} = sockeye:start_link(8080).
%% {ok,<0.105.0>}
%% 2> {ok, Listener} = gen_tcp:listen(8081, [binary, {active, false}, {reuseaddr, true}]).
%% {ok,#Port<0.7>}
%% 3> Client = spawn(fun() -> {ok, C} = sockeye_client:connect("ws://127.0.0.1:8081/"), receive stop -> sockeye_client:close(C) end end).
%% <0.210.0>
%% 4> {ok, Socket} = gen_tcp:accept(Listener).
%% {ok,#Port<0.9>}
%% 5> {ok, Read} = gen_tcp:recv(Socket, 0).
%% {ok,<<...>>}
%% 6> sockeye:adopt(Server, Socket, Read).
%% ok
%% 7> Client ! stop, gen_tcp:close(Listener), sockeye:stop(Server).
%% ok
%% '''
%% Errors: see {@link adopt_error()}. `erlang/guide/beside.md' says how to do this in a web server.
-spec adopt(server(), gen_tcp:socket() | socket:socket(), Read :: iodata()) -> ok | {error, adopt_error()}.
adopt(Server, Socket, Read) -> ?CHECKED_FIRST(sockeye_adopt:adopt(Server, Socket, Read), [Server, Socket, Read]).

%% @doc Sends a frame, or several in this order: all of them or, with an error, none.
%%
%% Never waits for the client: frames are queued, up to `send_queue_size' bytes, and written as the client takes them. `ok' means that
%% they are on their way, not that the client has them. From a callback of a handler they leave at once, before the commands that this
%% and earlier callbacks of the batch have returned. Errors: see {@link send_error()}.
%% ```
%% 1> sockeye:send(Conn, #{temperature => 21.5}).
%% ok
%% 2> sockeye:send(Conn, [{text, <<"one">>}, {binary, <<2>>}]).
%% ok
%% 3> sockeye:send(Conn, #{owner => self()}).
%% {error,{not_json,<0.84.0>,<<"$.owner">>}}
%% '''
%% With a list of connections one frame goes to each of them, encoded once. The connections that did not get it are in the error; an
%% error that is no list means that nobody got it.
%% ```
%% 1> sockeye:send([Conn, Gone], #{n => 1}).
%% {error,[{{sockeye_conn,4398046511105},closed}]}
%% '''
-spec send(conn(), frame() | [frame()]) -> ok | {error, send_error()};
          ([conn()], frame()) -> ok | {error, send_error() | [{conn(), closed | busy}]}.
send(Conns, Frame) when is_list(Conns) ->
    ?CHECKED(sockeye_fanout:list(Conns, Frame), [Conns, Frame]);
send(Conn, Frames) -> ?CHECKED(sockeye_conn:send(Conn, Frames), [Conn, Frames]).

%% @equiv broadcast(Server, Frame, #{})
-spec send_message(server(), frame()) -> ok | {error, publish_error()}.
send_message(Server, Frame) -> ?CHECKED(sockeye_fanout:to_all(Server, Frame, #{}), [Server, Frame]).

%% @equiv broadcast(Server, Frame, #{})
-spec broadcast(server(), frame()) -> ok | {error, publish_error()}.
broadcast(Server, Frame) -> ?CHECKED(sockeye_fanout:to_all(Server, Frame, #{}), [Server, Frame]).

%% @doc Sends a frame to every client of a server. It is encoded once.
%%
%% A client whose queue is full misses it, which {@link info/1} counts as `dropped', or is closed with 1008: see `slow_subscriber'. With
%% `wait => true' the call returns how many connections of this node have the frame in their queue, within 5 seconds. Errors: see
%% {@link publish_error()}.
%% ```
%% 1> sockeye:send_message(8080, #{type => <<"notification">>, message => <<"Hello!">>}).
%% ok
%% 2> sockeye:broadcast(my_server, {text, <<"Tea is ready.">>}, #{wait => true}).
%% {ok,#{dropped => 0,sent => 1}}
%% '''
-spec broadcast(server(), frame(), publish_options()) -> ok | {ok, outcome()} | {error, publish_error()}.
broadcast(Server, Frame, Options) -> ?CHECKED(sockeye_fanout:to_all(Server, Frame, Options), [Server, Frame, Options]).

%% @equiv broadcast_from(Conn, Frame, #{})
-spec broadcast_from(conn(), frame()) -> ok | {error, publish_error()}.
broadcast_from(Conn, Frame) -> ?CHECKED(sockeye_fanout:to_others(Conn, Frame, #{}), [Conn, Frame]).

%% @doc Sends a frame to every client of the server that `Conn' belongs to, but not to `Conn', as {@link broadcast/3}.
%% ```
%% 1> sockeye:broadcast_from(Conn, #{said => <<"Hello!">>}).
%% ok
%% 2> sockeye:broadcast_from(Conn, #{said => <<"Hello!">>}, #{wait => true}).
%% {ok,#{dropped => 0,sent => 0}}
%% '''
%% Errors: see {@link publish_error()}.
-spec broadcast_from(conn(), frame(), publish_options()) -> ok | {ok, outcome()} | {error, publish_error()}.
broadcast_from(Conn, Frame, Options) -> ?CHECKED(sockeye_fanout:to_others(Conn, Frame, Options), [Conn, Frame, Options]).

%% @doc Subscribes a connection of a server to a topic, see {@link topic()}. One of `sockeye_client' raises `badarg'.
%%
%% It gets what the caller publishes after this call. A second subscription to the same topic changes nothing. Subscriptions end with
%% the connection. Errors: `closed'; `too_many_subscriptions' beyond the server's `max_subscriptions'.
%% ```
%% 1> sockeye:subscribe(Conn, <<"room/7">>).
%% ok
%% 2> sockeye:publish(Server, <<"room/7">>, #{said => <<"Hello!">>}).
%% ok
%% '''
-spec subscribe(conn(), topic()) -> ok | {error, subscribe_error()}.
subscribe(Conn, Topic) -> ?CHECKED(sockeye_fanout:subscribe(Conn, Topic), [Conn, Topic]).

%% @doc Ends a subscription; `ok' also if there was none. Error: `closed'.
%% ```
%% 1> sockeye:unsubscribe(Conn, <<"room/7">>).
%% ok
%% '''
-spec unsubscribe(conn(), topic()) -> ok | {error, closed}.
unsubscribe(Conn, Topic) -> ?CHECKED(sockeye_fanout:unsubscribe(Conn, Topic), [Conn, Topic]).

%% @equiv publish(Server, Topic, Frame, #{})
-spec publish(server(), topic(), frame()) -> ok | {error, publish_error()}.
publish(Server, Topic, Frame) -> ?CHECKED(sockeye_fanout:to_topic(Server, Topic, Frame, #{}), [Server, Topic, Frame]).

%% @doc Sends a frame to every connection of the server that subscribes to a topic.
%%
%% The frame is encoded once, and compressed once for all who share a setting. The call waits for no client: `ok' means that the frame
%% is on its way. Each subscriber gets the frames of one process in the order in which that process published, sent and broadcast them,
%% and each once. One whose queue is full misses it, which {@link info/1} counts as `dropped', or is closed with 1008: see
%% `slow_subscriber'. The topic must not end with `*'. Errors: see {@link publish_error()}.
%% ```
%% 1> sockeye:subscribe(Conn, <<"room/7">>).
%% ok
%% 2> sockeye:publish(Server, <<"room/7">>, #{said => <<"Hello!">>}, #{wait => true}).
%% {ok,#{dropped => 0,sent => 1}}
%% '''
-spec publish(server(), topic(), frame(), publish_options()) -> ok | {ok, outcome()} | {error, publish_error()}.
publish(Server, Topic, Frame, Options) ->
    ?CHECKED(sockeye_fanout:to_topic(Server, Topic, Frame, Options), [Server, Topic, Frame, Options]).

%% @equiv publish_from(Conn, Topic, Frame, #{})
-spec publish_from(conn(), topic(), frame()) -> ok | {error, publish_error()}.
publish_from(Conn, Topic, Frame) -> ?CHECKED(sockeye_fanout:to_topic_others(Conn, Topic, Frame, #{}), [Conn, Topic, Frame]).

%% @doc Publishes on the server that `Conn' belongs to, as {@link publish/4}. `Conn' does not get the frame itself. Errors: see
%% {@link publish_error()}.
%% ```
%% 1> sockeye:subscribe(Conn, <<"room/7">>).
%% ok
%% 2> sockeye:publish_from(Conn, <<"room/7">>, #{said => <<"Hello!">>}, #{wait => true}).
%% {ok,#{dropped => 0,sent => 0}}
%% '''
-spec publish_from(conn(), topic(), frame(), publish_options()) -> ok | {ok, outcome()} | {error, publish_error()}.
publish_from(Conn, Topic, Frame, Options) ->
    ?CHECKED(sockeye_fanout:to_topic_others(Conn, Topic, Frame, Options), [Conn, Topic, Frame, Options]).

%% @doc The connections of this node that would get what is published under a topic, in no order. Errors: `not_found'; `timeout' if the
%% engine gives no answer within 5 seconds.
%% ```
%% 1> sockeye:subscribe(Conn, <<"room/*">>).
%% ok
%% 2> sockeye:subscribers(my_server, <<"room/7">>).
%% {ok,[{sockeye_conn,536870913}]}
%% '''
-spec subscribers(server(), topic()) -> {ok, [conn()]} | {error, not_found | timeout}.
subscribers(Server, Topic) ->
    Of = fun(Id) -> sockeye_fanout:connections(Id, Topic) end,
    ?CHECKED_FIRST(sockeye_fanout:of_server(Server, Of), [Server, Topic]).

%% @doc The topics that connections of this node subscribe to, each with the number of its subscribers. Error: `not_found'.
%% ```
%% 1> [sockeye:subscribe(Conn, Topic) || Topic <- [<<"news">>, <<"room/*">>]].
%% [ok,ok]
%% 2> sockeye:topics(Server).
%% {ok,#{<<"news">> => 1,<<"room/*">> => 1}}
%% '''
-spec topics(server()) -> {ok, #{topic() => pos_integer()}} | {error, not_found}.
topics(Server) -> ?CHECKED_FIRST(sockeye_fanout:of_server(Server, fun sockeye_fanout:topics/1), [Server]).

%% @equiv close(Conn, 1000, <<>>)
-spec close(conn()) -> ok | {error, closed}.
close(Conn) -> ?CHECKED(sockeye_conn:close(Conn, 1000, <<>>), [Conn]).

%% @doc Sends a Close frame, after what is queued. The connection ends when the client has answered, or after `close_timeout'; then the
%% event `closed' comes, behind messages that wait for credits (`active'). The call does not wait for that.
%%
%% `Code' is one that RFC 6455 allows in a frame (1000..1003, 1007..1014, 3000..4999), `Reason' UTF-8 of at most 123 bytes; anything
%% else is `badarg'. Error: `closed', also when it is closing already.
%% ```
%% 1> sockeye:close(Conn, 1012, <<"new version">>).
%% ok
%% 2> sockeye:close(Gone, 1012, <<"new version">>).
%% {error,closed}
%% '''
-spec close(conn(), close_code(), iodata()) -> ok | {error, closed}.
close(Conn, Code, Reason) -> ?CHECKED(sockeye_conn:close(Conn, Code, Reason), [Conn, Code, Reason]).

%% @doc Changes options of one connection while it lives, see {@link active()} and {@link conn_option()}; anything else is `badarg'.
%% Frames that are on their way at that moment still come. Error: `closed'.
%% ```
%% 1> sockeye:setopts(Conn, [{active, once}]).
%% ok
%% 2> sockeye:setopts(Conn, [{max_message_size, 64 * 1048576}, {idle_timeout, infinity}]).
%% ok
%% '''
-spec setopts(conn(), [conn_option()]) -> ok | {error, closed}.
setopts(Conn, Options) -> ?CHECKED(sockeye_conn:setopts(Conn, Options), [Conn, Options]).

%% @doc Makes `Pid' the owner of a connection: it gets the messages from now on, and its death closes the connection with 1011. A
%% connection of a server or client with a `{Module, Arg}' raises `badarg'. Error: `closed'.
%%
%% Events that came before this call returned are with the old owner. So start the server with `active => false', hand the connection
%% over, of which only the event `open' has come, and let the new owner set `active'.
%% ```
%% 1> Owner = spawn(fun() -> receive {sockeye, _, {closed, _, _}} -> ok end end).
%% <0.120.0>
%% 2> sockeye:controlling_process(Conn, Owner).
%% ok
%% '''
-spec controlling_process(conn(), pid()) -> ok | {error, closed}.
controlling_process(Conn, Pid) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Conn, Pid]),
    try sockeye_ask:controlling_process(Conn, Pid)
    catch error:badarg ->
            Why = <<"a connection of a handler, which keeps it: only one of an owner can be given away">>,
            sockeye_errors:misuse(?MODULE, ?FUNCTION_NAME, [Conn, Pid], [{1, Why}])
    end.

%% @doc Reads the files of the option `tls' again: new handshakes use what they hold now.
%%
%% Open connections go on as they are. No earlier session is resumed. After an error, the server keeps the certificates that it had. One
%% that has expired or is not valid yet is only a warning in the log. Errors: `{bad_option, tls, Why}', also for a server without TLS;
%% `not_found'; `not_running' while an engine process that has ended is replaced: call it again.
%% ```
%% 1> sockeye:reload_tls(my_server).
%% ok
%% '''
-spec reload_tls(server()) -> ok | {error, {bad_option, tls, binary()} | not_found | not_running}.
reload_tls(Server) -> ?CHECKED_FIRST(sockeye_server_calls:reload_tls(Server), [Server]).

%% @doc Counters and memory of the engine of this node, as a map, see {@link engine_info()}. Error: `not_running'.
%% ```
%% 1> {ok, #{memory := Bytes, connections := N}} = sockeye:info().
%% {ok,#{...}}
%% '''
-spec info() -> {ok, engine_info()} | {error, not_running}.
info() ->
    try {ok, (sockeye_dashboard:uncounted(sockeye_backend:engine_info()))#{cluster_dropped => sockeye_cluster:dropped(), engine => sockeye_backend:engine(),
                                                restarts => sockeye_counts:restarts()}}
    catch error:badarg -> {error, not_running}
    end.

%% @doc Addresses, counters and queues of a server or a connection, as a map.
%%
%% See {@link server_info()} and {@link conn_info()}. Errors: `not_found' for a server; for a connection `closed', and `timeout' if the
%% engine gives no answer within 5 seconds.
%% ```
%% 1> {ok, #{port := Port, connections := N}} = sockeye:info(Server).
%% {ok,#{...}}
%% '''
-spec info(server() | conn()) -> {ok, server_info() | conn_info()} | {error, not_found | closed | timeout}.
info(ServerOrConn) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [ServerOrConn]),
    case ServerOrConn of
        {sockeye_conn, _} -> sockeye_ask:conn_info(ServerOrConn, ?INFO_TIMEOUT_MS);
        _ -> sockeye_server_calls:info(ServerOrConn)
    end.

%% @doc Prints the engine, all servers of this node and their connections, 100 of each at most, see
%% `erlang/guide/watching.md'.
%% ```
%% 1> sockeye:i().
%% Engine ...
%% ok
%% '''
%% The numbers are those of {@link info/1}: `connections', `accepted', `rejected', `frames_in', `frames_out' and the bytes that wait for
%% clients; of a connection its age, `frames_in', `send_queue', `held' and `active'. Error: `not_running'.
-spec i() -> ok | {error, not_running}.
i() -> sockeye_table:print(all).

%% @doc Prints a server and its connections, 100 at most, as {@link i/0}. Error: `not_found'.
%% ```
%% 1> sockeye:i(8081).
%% {error,not_found}
%% '''
-spec i(server()) -> ok | {error, not_found}.
i(Server) -> ?CHECKED_FIRST(sockeye_table:print(Server), [Server]).

%% @doc Shows the frames of one connection, of a server or a client, from here on: to the log (`on'), or as {@link trace_options()} say.
%%
%% A process gets `{sockeye_trace, Conn, Frame}' for each, see {@link traced()}, and `{sockeye_trace, Conn, ended}' last: when the
%% connection has ended, after `off', or for `{off, To}' if it is this one. Of a second trace to the same receiver only that counts.
%% The trace ends when its receiver dies. `off' and `{off, To}' are `ok' also when there is no trace or no connection. Errors: `closed'; `too_many_traces' if eight watch it already; `{bad_option, Key, Why}'.
%% ```
%% 1> sockeye:trace(Conn, #{to => self(), payload => 10}).
%% ok
%% 2> sockeye:send(Conn, {text, <<"hello">>}).
%% ok
%% 3> receive {sockeye_trace, Conn, #{direction := out} = Frame} -> maps:with([opcode, size, payload], Frame) end.
%% #{opcode => text,payload => <<"hello">>,size => 5}
%% 4> sockeye:trace(Conn, off).
%% ok
%% '''
-spec trace(conn(), on | off | {off, logger | pid()} | trace_options()) ->
          ok | {error, closed | too_many_traces | {bad_option, Key :: term(), Why :: binary()}}.
trace(Conn, What) -> ?CHECKED_FIRST(sockeye_tracer:trace(Conn, What), [Conn, What]).

%% @doc The connections of a server that are open now, in no order. Errors: `not_found'; `timeout' if the engine gives no answer within
%% 5 seconds.
%% ```
%% 1> {ok, Conns} = sockeye:connections(my_server).
%% {ok,[{sockeye_conn,536870913}]}
%% 2> lists:member(Conn, Conns).
%% true
%% '''
-spec connections(server()) -> {ok, [conn()]} | {error, not_found | timeout}.
connections(Server) ->
    Of = fun(Id) -> sockeye_fanout:connections(Id, all) end,
    ?CHECKED_FIRST(sockeye_fanout:of_server(Server, Of), [Server]).

%% @equiv check_host(N, #{})
-spec check_host(pos_integer()) -> ok | {error, {too_low, [host_finding(), ...]}}.
check_host(N) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [N]),
    {ok, Options} = sockeye_host:parse(#{}),
    sockeye_host:check(N, Options).

%% @doc What must be raised on this host and in this node for `N' connections, those that are open now included.
%%
%% Reads `/proc' and the limits of the control groups; nothing is changed, and Sockeye need not be running. What cannot be read, or what
%% another system than Linux does not have, is not judged: `print' shows it as unknown. With `{engine, port}', descriptors are those of
%% the engine's process. See `erlang/guide/scale.md' for what each name means, and for the figures that memory is reckoned with.
%% ```
%% 1> {error, {too_low, [#{what := descriptors, raise := How} | _]}} = sockeye:check_host(10000000, #{tls => true}).
%% {error,{too_low,[...]}}
%% 2> sockeye:check_host(1).
%% ok
%% '''
%% Errors: `{too_low, Findings}' for all that must be raised, see {@link host_finding()}; `{bad_option, Key, Why}'.
-spec check_host(pos_integer(), host_options()) ->
          ok | {error, {too_low, [host_finding(), ...]} | {bad_option, Key :: term(), Why :: binary()}}.
check_host(N, Options) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [N, Options]),
    case sockeye_host:parse(Options) of
        {ok, Parsed} -> sockeye_host:check(N, Parsed);
        {error, _} = Error -> Error
    end.

%% @doc The sentence of a reason, as {@link file:format_error/1} has it: what has happened, and what can be done.
%%
%% `Reason' is what stands in `{error, Reason}' of a public function, in `handle_error/3', in `handle_down/2', and in the event `invalid_json'; the
%% tuple itself will do, too. A reason that is not Sockeye's own, such as one that `init/1' of a handler gave, gets a sentence with the term.
%% The sentence is for people: it may be another one in the next version. `erlang/guide/errors.md' has a row for each reason.
%% ```
%% 1> sockeye:format_error({bad_option, port, <<"expected 0..65535, got 70000">>}).
%% "option port: expected 0..65535, got 70000"
%% 2> io:put_chars([sockeye:format_error(eaddrinuse), $\n]).
%% the port, or the file of the Unix socket, is in use: stop who has it, or choose another
%% ok
%% '''
-spec format_error(Reason :: term()) -> string().
format_error(Reason) ->
    sockeye_reasons:string(Reason).
