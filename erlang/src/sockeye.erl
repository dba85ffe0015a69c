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
%%
%% A connection has two ends, and each end has a `Conn' of its own: `ClientConn' is the client's, `Conn' the server's.
%%
%% <h3>Messages to an owner</h3>
%%
%% They have one shape, `{sockeye, Conn, Event}'; see {@link event()}. With the
%% option `batch => true', events of one connection that arrive together come
%% as `{sockeye, Conn, {batch, [Event]}}'.
%%
%% Credits protect an owner's mailbox. Each connection starts with `active => 100': after a hundred frames the owner
%% gets `passive', and the engine reads nothing more from that client until {@link setopts/2} gives new credits.
%% `passive' comes when a number has run out, not after `once'.
%%
%% <h3>Naming a server</h3>
%%
%% By the pid that {@link start_link/1} returned, by its registered name (option
%% `name'), or by its port number. If two servers have the same port on different
%% addresses, use the pid or the name.
%%
%% <h3>Errors</h3>
%%
%% A call returns `{error, Reason}' for what can happen to a correct program. An argument of a wrong type raises
%% `badarg'; the shell shows which argument is wrong, and what it should be.
%%
%% <h3>How long a call takes</h3>
%%
%% No call waits for a client: a frame that does not fit into the client's queue is refused with `{error, busy}'. When
%% more than 8,192 calls, or 16 MiB of broadcasts, wait for a thread of the engine, the next caller waits until its own
%% call has been carried out; nothing is refused or lost. {@link info/0} counts such calls as `delayed_calls'.
%%
%% These calls ask a thread of the engine, and wait for the answer for 5 seconds at most (`{error, timeout}'):
%% {@link info/1} of a connection, {@link connections/1}, {@link subscribers/2}, and the option `wait' of
%% {@link publish/4} and {@link broadcast/3}. {@link stop/1} and {@link drain/2} wait for the end of the server, so a
%% handler must not call them for its own server.
-module(sockeye).

-export([start_link/0]).
-export([start_link/1]).
-export([child_spec/1]).
-export([stop/1]).
-export([drain/2]).
-export([send/2]).
-export([send_message/2]).
-export([broadcast/2]).
-export([broadcast/3]).
-export([broadcast_from/2]).
-export([broadcast_from/3]).
-export([subscribe/2]).
-export([unsubscribe/2]).
-export([publish/3]).
-export([publish/4]).
-export([publish_from/3]).
-export([publish_from/4]).
-export([subscribers/2]).
-export([topics/1]).
-export([close/1]).
-export([close/3]).
-export([setopts/2]).
-export([controlling_process/2]).
-export([info/0]).
-export([info/1]).
-export([connections/1]).
-export([reload_tls/1]).

-export_type([conn/0]).
-export_type([server/0]).
-export_type([options/0]).
-export_type([handler/0]).
-export_type([frame/0]).
-export_type([event/0]).
-export_type([active/0]).
-export_type([conn_option/0]).
-export_type([close_code/0]).
-export_type([drain_options/0]).
-export_type([send_error/0]).
-export_type([topic/0]).
-export_type([publish_options/0]).
-export_type([outcome/0]).
-export_type([subscribe_error/0]).
-export_type([publish_error/0]).
-export_type([deflate_options/0]).
-export_type([start_error/0]).
-export_type([http_answer/0]).
-export_type([engine_info/0]).
-export_type([server_info/0]).
-export_type([endpoint/0]).
-export_type([conn_info/0]).
-export_type([identity/0]).
-export_type([tls/0]).
-export_type([tls_key/0]).

-opaque conn() :: {sockeye_conn, pos_integer()}.
%% A connection. It can be compared, sent to other processes of this node and
%% used as a key. Once the connection has ended, calls return `{error, closed}'.

-type server() :: pid() | inet:port_number() | {local, binary()} | atom().
%% A server, by pid, port number, Unix socket or registered name.

-type frame() :: map()
               | {json, Term :: term()}
               | {text, iodata()}
               | {binary, iodata()}
               | {uncompressed, map() | {json, term()} | {text | binary, iodata()}}
               | {ping | pong, iodata()}
               | {stream, text | binary, first | more | last, iodata()}
               | {close, close_code(), Reason :: iodata()}.
%% What can be sent. A map is JSON, and `{json, Term}' is JSON for any term:
%% maps, lists, binaries (UTF-8), atoms and numbers, where `{json_raw, IoData}'
%% stands for a value that is encoded already. `{text, _}' must be UTF-8. The
%% body of a ping, and of a pong that nobody asked for, has at most 125 bytes.
%% `{uncompressed, Frame}' is not compressed, whatever the client agreed to: use it for data that is compressed already, and for a message that mixes
%% a secret with text of others.
%%
%% `stream': a piece of a message that is sent as it is produced: `first', any number of `more',
%% `last'. The message belongs to the process that sent `first': pieces of others, and pieces with
%% no `first', are `{error, not_streaming}', a second `first' is `{error, streaming}'. What else is
%% sent to the connection meanwhile, broadcasts too, waits for the end of the message, within
%% `send_queue_size'; pings, pongs and Close frames do not wait. A character of a text may be cut
%% between two pieces. Without `last', all that waits is lost when the connection ends.

-type event() :: {open, conn_info()}
               | {json, term()}
               | {text, binary()}
               | {binary, binary()}
               | {invalid_json, binary(), Why :: term()}
               | {ping, binary()}
               | {pong, binary()}
               | passive
               | {closed, close_code(), Reason :: binary()}.
%% What happens on a connection. `open' comes first and `closed' last. The code 1006
%% means that the transport ended without a Close frame. `passive': the credits ran out.

-type active() :: true | false | once | integer().
%% How many frames a connection may deliver. A number from -32768 to 32767 adds to the credits that
%% are left, as in `inet'; they never exceed 32767. `once' sets them to one, `false' to none, and `true'
%% lifts the limit. Control frames cost nothing, and pings are always answered.

-type conn_option() :: {active, active()}
                     | {max_message_size, pos_integer()}
                     | {max_frame_size, pos_integer()}
                     | {max_fragments, pos_integer()}
                     | {idle_timeout, pos_integer() | infinity}
                     | {ping_interval, pos_integer() | infinity}
                     | {pong_timeout, pos_integer() | infinity}
                     | {max_age, pos_integer() | infinity}
                     | {send_queue_size, pos_integer()}.
%% What {@link setopts/2} changes for one connection: {@link active()}, and the options of that name in
%% {@link options()}, with the same units and limits. Where `max_frame_size' was equal to `max_message_size', a new
%% `max_message_size' changes both. The age counts from the handshake.

-type drain_options() :: #{per_interval => pos_integer(),
                           interval => pos_integer(),
                           code => 1001 | 1012 | 3000..4999,
                           reason => iodata(),
                           deadline => pos_integer() | infinity}.
%% See {@link drain/2}.

-type close_code() :: 1000..4999.
%% Of a Close frame (RFC 6455, 7.4), or 1005 and 1006 for one that had none or never came.

-type send_error() :: closed | busy | not_utf8 | {not_json, term()} | streaming | not_streaming.
%% Why nothing was sent.
%%
%% <ul>
%% <li>`closed': the connection is closed or closing.</li>
%% <li>`busy': its queue is full (option `send_queue_size'), and nothing else. {@link info/1} of the server counts it.</li>
%% <li>`not_utf8': a text is not UTF-8.</li>
%% <li>`not_json': this part of the term has no JSON form, or `{duplicate_key, Key}' or `{struct, Module}', see
%%     {@link sockeye_json}.</li>
%% <li>`streaming', `not_streaming': a piece of a message is out of order, or belongs to another process's message, see
%%     {@link frame()}.</li>
%% </ul>

-type start_error() :: {bad_option, Key :: term(), Why :: binary()}
                     | eaddrinuse | eacces
                     | {already_started, pid()}
                     | term().
%% Why a server did not start. `bad_option': an option is wrong, and the sentence `Why' says how. `eaddrinuse', `eacces' and
%% others of `inet': the port, or the file of a Unix socket, cannot be used. `already_started': this process has the name.
%% Any other term is the reason that `init/1' of the handler gave.

-type handler() :: pid() | atom() | {module(), Arg :: term()}.
%% Where frames go: an owner process, or a {@link sockeye_handler}.

-type options() ::
        #{port => inet:port_number(),
          ip => any | loopback | inet:ip_address() | string() | binary() | {local, file:name_all()},
          reuseport => boolean(),
          name => atom() | {local, atom()},
          handler => handler(),
          processes => one | pos_integer() | per_connection,
          batch => boolean(),
          active => true | false | once | 1..32767,
          format => json | raw,
          keys => binary | existing_atom | {atoms, [atom()]},
          null => null | undefined | nil,
          max_depth => pos_integer(),
          on_invalid_json => close | deliver,
          max_message_size => pos_integer(),
          max_frame_size => pos_integer(),
          max_fragments => pos_integer(),
          inbox_size => pos_integer(),
          send_queue_size => pos_integer(),
          send_timeout => pos_integer() | infinity,
          handshake_timeout => pos_integer() | infinity,
          close_timeout => pos_integer() | infinity,
          idle_timeout => pos_integer() | infinity,
          ping_interval => pos_integer() | infinity,
          pong_timeout => pos_integer() | infinity,
          max_age => pos_integer() | infinity,
          control_frames => boolean(),
          message_rate => infinity | #{rate := pos_integer(), burst => pos_integer(),
                                       action => delay | close},
          max_connections => auto | pos_integer() | infinity,
          tls => tls(),
          http2 => tls | cleartext | false,
          max_connections_per_address => pos_integer() | infinity,
          connection_rate => infinity | #{rate := 1..1000000, burst => 1..1000000},
          proxy_protocol => boolean(),
          trusted_proxies => [inet:ip_address() | string() | binary()],
          backlog => pos_integer(),
          accept => fun((sockeye_handler:request()) -> sockeye_handler:decision()),
          accept_timeout => pos_integer() | infinity,
          origins => any | [same_host | null | binary() | string()],
          paths => any | [binary() | string()],
          http => #{binary() | string() => {file | dir, file:name_all()} | {text, iodata()}
                                         | fun((sockeye_handler:request()) -> http_answer())
                                         | {module(), atom()}},
          health => binary() | string(),
          metrics => binary() | string(),
          max_body_size => pos_integer(),
          max_subscriptions => 1..65536,
          slow_subscriber => drop | close,
          scope => local | cluster,
          max_header_size => 256..1048576,
          max_headers => 8..1024,
          deflate => boolean() | deflate_options(),
          subprotocols => [binary() | string()]}.
%% Options of a server. Times are milliseconds; `infinity' instead of one is no limit.
%%
%% <ul>
%% <li>`port': 0..65535, default 19765. With 0 the system picks one; {@link info/1} tells.</li>
%% <li>`ip': the address to listen on, default `loopback' (127.0.0.1); `any' is 0.0.0.0.
%%     `{0,0,0,0,0,0,0,0}' (`"::"') takes IPv6 and IPv4 clients, and shows the latter with
%%     their IPv4 address. `"fe80::1%eth0"' is an address of the network behind that interface, by
%%     name or number; `{error, enodev}' if there is no such interface. `{local, Path}' is a Unix socket, a path of up to 107 bytes, or
%%     `<<0, Name/binary>>' for an abstract name on Linux; the port is then 0. Who may
%%     connect is decided by the permissions of the folder. A socket file whose server is
%%     gone is replaced; one in use is `eaddrinuse'. It is removed when the server stops.</li>
%% <li>`reuseport': `true' lets several sockets of one user share the port on this machine. Each must
%%     ask for it; the system spreads new connections. With `false' (default) a second server
%%     gets `eaddrinuse'.</li>
%% <li>`name': registers the server under this name.</li>
%% <li>`handler': where frames go, default the calling process.</li>
%% <li>`processes': how many processes run a `{Module, Arg}': `one' (default),
%%     a pool of 1..1024, or `per_connection'.</li>
%% <li>`batch': an owner gets events that arrive together in one message, default `false'.</li>
%% <li>`active': credits of a new connection, default 100 for an owner and `true' for
%%     a `{Module, Arg}', which its inbox protects.</li>
%% <li>`format': `json' (default) decodes text frames; with `raw' they come as `{text, Bin}'.
%%     Binary frames always come as `{binary, Bin}'.</li>
%% <li>`keys': keys of JSON objects as binaries (default), as atoms that exist already,
%%     or as the atoms listed; other keys stay binaries.</li>
%% <li>`null': the atom for a JSON null, default `null'.</li>
%% <li>`max_depth': nesting of JSON values, default 128, at most 256.</li>
%% <li>`on_invalid_json': `close' with 1007 (default), or `deliver' as
%%     `{invalid_json, Bin, Why}'.</li>
%% <li>`max_message_size': bytes, default 1 MiB; a longer message closes with 1009.</li>
%% <li>`max_frame_size': bytes of one frame, default that of a message.</li>
%% <li>`max_fragments': frames of one message, default 1024; more close with 1008.</li>
%% <li>`inbox_size': bytes that wait for one handler process, default 1 MiB. When it is full,
%%     its clients are not read from.</li>
%% <li>`send_queue_size': bytes that wait for one client, default 1 MiB. When it is full,
%%     sending returns `{error, busy}'.</li>
%% <li>`send_timeout': default 30000. A client whose queue was full, and does not fall to half within this time, is
%%     closed with 1008.</li>
%% <li>`handshake_timeout': default 10000, for PROXY header, TLS and opening handshake together; then the socket is
%%     closed. Also the longest silence between two ordinary requests of a connection.</li>
%% <li>`close_timeout': default 5000, for the answer to a Close frame; then the socket is closed. The end of a server
%%     does not wait for it.</li>
%% <li>`idle_timeout': default 60000. After so long without a byte from the client, pongs included, it is closed
%%     with 1001.</li>
%% <li>`ping_interval': default 30000. After so long without a byte from the client, it is sent a ping.</li>
%% <li>`pong_timeout': default 20000. After a ping, the client has so long to send anything; then it is closed
%%     with 1001.</li>
%% <li>`max_age': default `infinity'. After so long the connection is closed with 1001.</li>
%% <li>`control_frames': also deliver pings (answered already) and pongs, as `{ping, Bin}' and
%%     `{pong, Bin}', default `false'. Each costs a credit, like a frame. The answer to a ping
%%     of `ping_interval', which has no payload, is not delivered.</li>
%% <li>`message_rate': messages of each client, default `infinity'. In `#{rate => N, burst => M}', `rate' is messages
%%     a second and `burst' how many may come at once (default `rate'). When a client sends more, `action => delay'
%%     (default) stops reading from it until it may go on, and `action => close' closes it with 1008.</li>
%% <li>`max_connections': further ones are refused with HTTP 503. `auto' (default) sets no number. With `auto' or a
%%     number, the server keeps the last descriptors of the node for the rest of the node, and refuses a socket that
%%     would take one of them. It keeps an eighth of the limit (`ulimit -n'), at least 64 and at most 256, or half of a
%%     limit below 128; `descriptor_reserve' in the environment of the application is another number. With `infinity'
%%     the server takes these descriptors as well.</li>
%% <li>`accept': a function of the request that decides about each handshake, as `accept/2' of a
%%     {@link sockeye_handler}.</li>
%% <li>`accept_timeout': default 5000, for `accept', and for functions of `http'; then the client gets 503.</li>
%% <li>`origins': the pages that may connect, default `any'. A list of `same_host', `null' (pages
%%     without an origin) and origins like `<<"https://example.com">>',
%%     `<<"https://*.example.com">>' (all hosts below it, by one label or more),
%%     `<<"http://localhost:*">>' (any port) and `<<"file://">>'; others get 403. A client that
%%     names no origin is not a page, and passes. Behind a proxy that puts another name into
%%     `Host', `same_host' refuses every browser, unless the proxy sets `x-forwarded-host' and is
%%     one of `trusted_proxies'.</li>
%% <li>`paths': the paths of WebSockets, default `any'. A list like `<<"/ws">>' and `<<"/rooms/*">>': a
%%     star is one segment, at the end one or more, and a `%' has two hexadecimal digits behind it; other
%%     paths get 404.</li>
%% <li>`http': answers to ordinary requests, by path: a file, the files below a directory, a
%%     text, or a function of the request, also as `{Module, Function}'. A star in a path is one
%%     segment, at the end one or more. Two routes for one path (`/a' and `/%61') are refused.</li>
%% <li>`health': a path that answers 200, and 503 while the server drains or stops.</li>
%% <li>`metrics': a path with the counters of the server as Prometheus reads them.</li>
%% <li>`max_body_size': bytes of the body of a request to a function, default 1 MiB; beyond that
%%     413.</li>
%% <li>`max_subscriptions': topics of each connection, default 1024.</li>
%% <li>`slow_subscriber': what happens when a frame is published or broadcast to a client whose queue
%%     is full. `drop' (default): the client misses it, which is counted. `close': the client is closed
%%     with 1008.</li>
%% <li>`scope': whether what is published and broadcast stays on this node, `local' (default), or
%%     goes to all servers of the same `name' on the nodes that are connected, `cluster'.</li>
%% <li>`max_header_size': bytes of a request's head, default 16384; beyond that 431 or 414.</li>
%% <li>`max_headers': header lines of a request, default 100; beyond that 431.</li>
%% <li>`http2': HTTP/2, with WebSockets as streams (RFC 8441). `tls' (default) offers it where
%%     there is TLS, `cleartext' also takes clients that begin with it without TLS,
%%     `false' has none. Each WebSocket counts for `max_connections'; a client may have 100
%%     streams open at once.</li>
%% <li>`trusted_proxies': addresses and networks, as `"10.0.0.0/8"', of proxies that are
%%     believed about their clients, default none. The right-most address in their
%%     `x-forwarded-for' that is none of them becomes the `peer', with port 0. The right-most value
%%     in their `x-forwarded-host' replaces `Host' for `same_host', and that in their
%%     `x-forwarded-proto' is the scheme that the page must have. On a Unix
%%     socket, if the list is not empty, every client is trusted.</li>
%% <li>`proxy_protocol': `true' if each connection begins with a PROXY header, version 1 or 2; default
%%     `false'. A socket that begins otherwise, or is not from `trusted_proxies', is closed without an answer.</li>
%% <li>`tls': certificate, key and more, see {@link tls()}. Default: no TLS.</li>
%% <li>`max_connections_per_address': more from one address get 429; default `infinity'. A
%%     network of 64 bits counts as one address of IPv6.</li>
%% <li>`connection_rate': new connections of an address, `rate' a second and `burst' at once
%%     (default `rate'); more get 429. Default `infinity'.</li>
%% <li>`backlog': of the listening socket, default 1024.</li>
%% <li>`subprotocols': those the server speaks, default none. The first one in the client's
%%     list that is among them is taken.</li>
%% <li>`deflate': compression (permessage-deflate, RFC 7692) for clients that offer it, default
%%     `false'; `true' or a map, see {@link deflate_options()}.</li>
%% </ul>

-type topic() :: binary().
%% The name of a topic, 1..255 bytes. A subscription to a name that ends with `*' is one to every
%% topic that begins with the rest: `<<"room/*">>' to `<<"room/7">>' and `<<"room/7/news">>'.

-type publish_options() :: #{wait => boolean(), scope => local | cluster}.
%% `wait': `true' waits until the frame is in the queues of this node's connections, and returns in how
%% many; default `false'. `scope': `local' for the clients of this node, `cluster' for those of all servers
%% of the same name; the default is that of the server, and `cluster' needs a server with `scope => cluster'.

-type outcome() :: #{sent := non_neg_integer(), dropped := non_neg_integer()}.
%% `sent': connections that have the frame in their queue. `dropped': connections that missed it because their queue
%% was full.

-type subscribe_error() :: closed | too_many_subscriptions.
%% See {@link subscribe/2}.

-type publish_error() :: not_found | not_clustered | timeout | closed | not_utf8 | {not_json, term()}.
%% Why nothing was sent, or with `timeout' why the outcome is not known. `not_found': there is no such server. `closed': the
%% connection, whose server was meant, is closed. `not_clustered': `scope => cluster' for a server without it. `not_utf8',
%% `not_json': as in {@link send_error()}. `timeout': with `wait', no answer came within 5 seconds.

-type identity() :: #{certfile => file:name_all(), cert => binary() | [binary()],
                      keyfile => file:name_all(), key => binary() | {tls_key(), binary()}}.
%% A certificate with its chain, and its private key: the names of PEM files, or as `ssl' has
%% them, DER, the own certificate first, and the key with its type; `cert' and `key' may also be PEM text.
%% The key must not be encrypted.

-type tls_key() :: 'PrivateKeyInfo' | 'RSAPrivateKey' | 'ECPrivateKey'.
%% The form of a private key in DER: PKCS #8, PKCS #1 or SEC 1.

-type tls() ::
        #{certfile => file:name_all(), cert => binary() | [binary()],
          keyfile => file:name_all(), key => binary() | {tls_key(), binary()},
          sni_hosts => [{string() | binary(), identity()}],
          verify => verify_none | verify_peer,
          fail_if_no_peer_cert => boolean(),
          cacertfile => file:name_all(), cacerts => binary() | [binary() | tuple()],
          versions => ['tlsv1.2' | 'tlsv1.3', ...]}.
%% TLS 1.2 and 1.3, or the one in `versions'.
%%
%% `sni_hosts' has certificates by the host that a client asks for; `*.' stands for one
%% label. A client that asks for another host, or for none, gets the certificate above. If there
%% is only `sni_hosts', it gets the alert `unrecognized_name'.
%% With `verify => verify_peer' (default `verify_none'), clients are asked for a certificate. A client
%% that has none is let in, with `fail_if_no_peer_cert => true' it is not. A certificate that no authority in
%% `cacertfile', or `cacerts' (DER or PEM text), has signed is refused. Sessions are resumed by ticket or from a cache of 1,024.
%% A file that is missing or wrong is `{error, {bad_option, tls, Why}}'. A certificate that has
%% expired, or is not valid yet, is used; the log warns of it.

-type http_answer() :: {Status :: 200..599, [{iodata(), iodata()}], Body :: iodata()}.
%% What a function of the option `http' returns.

-type deflate_options() :: #{server_context_takeover => boolean(), client_context_takeover => boolean(),
                             server_max_window_bits => 9..15, client_max_window_bits => 9..15,
                             level => 1..9, mem_level => 1..9,
                             threshold => non_neg_integer()}.
%% How messages are compressed.
%%
%% <ul>
%% <li>`threshold': messages of fewer bytes are sent as they are, default 64. So are those that
%%     would not be smaller.</li>
%% <li>`level': from 1, fast, to 9, small; default 2.</li>
%% <li>`mem_level': from 1, little memory, to 9; default 5.</li>
%% <li>`server_context_takeover', `client_context_takeover': whether messages of that side may refer to earlier
%%     ones, default `false'. With `true', small messages that resemble each other become much
%%     smaller, and each connection keeps 140 to 500 KiB to compress, 47 KiB to inflate,
%%     from its first such message on. With `false', connections share contexts, and an
%%     idle one takes no more memory than without compression. A client that
%%     offers `server_no_context_takeover' gets it.</li>
%% <li>`server_max_window_bits', `client_max_window_bits': how far back a message may refer, 2 to
%%     this power bytes, default 15. The client's window can be bounded only if the client offers that.
%%     If it does not, it must not keep its window.</li>
%% </ul>
%%
%% `max_message_size' bounds the inflated size of what comes in, while it is being inflated.

-type engine_info() :: #{shards := pos_integer(), servers := non_neg_integer(),
                         connections := non_neg_integer(), memory := non_neg_integer(),
                         queued_calls := non_neg_integer(), delayed_calls := non_neg_integer(),
                         cluster_dropped := non_neg_integer(), engine := nif | port,
                         os_pid => non_neg_integer(), restarts => non_neg_integer()}.
%% See {@link info/0}.

-type server_info() :: #{server := pid(), ip := inet:ip_address() | {local, binary()}, port := inet:port_number(),
                         name := atom(), handler := handler(),
                         connections := non_neg_integer(), atom() => term()}.
%% The server and its counters, see {@link info/1}.
%%
%% <ul>
%% <li>`server', `name' (`undefined' without), `ip' (or `{local, Path}'), `port' (0 for a Unix socket), `handler',
%%     `processes' (of a `{Module, Arg}'), `scope', `max_connections': as the options say.</li>
%% <li>`max_descriptor': the number of the first descriptor that is kept for the rest of the node; `infinity' if none is.</li>
%% <li>`connections': those that are open now.</li>
%% </ul>
%%
%% All others count from the start of the server:
%%
%% <ul>
%% <li>`accepted': WebSocket handshakes that were completed; `requests': ordinary HTTP requests.</li>
%% <li>`frames_in': messages received; `frames_out': frames taken to be sent; `bytes_in', `bytes_out': bytes read and
%%     written after the handshake; `bytes_saved': bytes that compression kept from being written.</li>
%% <li>`dropped': frames of broadcasts and publishes that a full queue did not take; `busy': sends and replies to
%%     one connection that were refused for that reason.</li>
%% <li>`failed': connections that the server ended for a limit or a fault (1002, 1007, 1008, 1009, 1011, and 1001 for
%%     silence); `unanswered': connections that were cut off because no answer to a Close frame came in time.</li>
%% <li>`rejected': sockets that were refused, or left before their handshake was complete; `no_descriptor': those
%%     among them that were refused to keep the descriptors from `max_descriptor' on for the rest of the node.</li>
%% <li>`accept_errors': failures of the system to accept a socket; `accept_pauses': how often accepting has paused
%%     because handlers were too far behind.</li>
%% <li>`no_process': connections that ended with 1011, and questions to `accept' and functions of `http' that were
%%     answered 503, because no process could be started for them.</li>
%% </ul>

-type endpoint() :: {inet:ip_address(), inet:port_number()} | {local, binary()}.
%% An address and a port, or the name of a Unix socket: a path, a zero byte and
%% an abstract name, or nothing for a client that has not bound its socket.

-type conn_info() :: #{peer := endpoint(), local := endpoint(), path := binary(),
                       atom() => term()}.
%% A connection. These keys are also in the map of the event `open':
%%
%% <ul>
%% <li>`peer': the other end, which a trusted proxy may name; `local': this end.</li>
%% <li>`path', `query': of the request.</li>
%% <li>`http_version': a pair, `{1, 1}' or `{2, 0}'.</li>
%% <li>`tls': `undefined', or a map of `version' such as 'tlsv1.3', `cipher', `sni', `alpn' and `peer_cert', the other
%%     side's certificate as DER. The last three are `undefined' if there is none.</li>
%% <li>`subprotocol': `undefined' if none was agreed on; `deflate': whether messages may be compressed.</li>
%% </ul>
%%
%% These are in the map of {@link info/1} only:
%%
%% <ul>
%% <li>`age': milliseconds since the handshake; `frames_in': messages received.</li>
%% <li>`active': `true', `false', `once', or the credits that are left.</li>
%% <li>`send_queue': bytes that wait to be written, within `send_queue_size'.</li>
%% <li>`held': bytes that were read and wait for credits or for room in the inbox.</li>
%% </ul>
%%
%% These are in the map of the event `open' only:
%%
%% <ul>
%% <li>`headers': a list of pairs, names in lower case, values as they came. Several `Cookie' headers are one,
%%     joined with `; '.</li>
%% <li>`state': the term that `accept' gave, if it gave one.</li>
%% </ul>

-define(DEFAULT_PORT, 19765).
-define(INFO_TIMEOUT_MS, 5000).
%% The native library checks the arguments of calls for each frame, see {@link sockeye_errors}.
-define(CHECKED(Call, Args),
        try Call
        catch error:badarg -> sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, Args)
        end).

%% @equiv start_link(19765)
-spec start_link() -> {ok, pid()} | {error, start_error()}.
start_link() ->
    start_link(?DEFAULT_PORT).

%% @doc Starts a server linked to the caller, on a port of 127.0.0.1 or with {@link options()}.
%%
%% Starts the application `sockeye' when it is not running. A start that fails returns an error and sends
%% no exit signal: `{error, eaddrinuse}' when the port is taken, `{error, {bad_option, Key, Why}}'
%% with a sentence in `Why', or the reason that the handler's `init/1' gave to stop. See {@link start_error()}.
%%
%% ```
%% 1> {ok, S} = sockeye:start_link(#{port => 0, handler => {hello_handler, <<"Hi">>}}).
%% {ok,<0.105.0>}
%% 2> {ok, #{port := Port}} = sockeye:info(S).
%% {ok,#{...}}
%% 3> sockeye:start_link(#{prot => 8080}).
%% {error,{bad_option,prot,<<"unknown option">>}}
%% '''
-spec start_link(inet:port_number() | options()) -> {ok, pid()} | {error, start_error()}.
start_link(Port) when is_integer(Port) ->
    start_link(#{port => Port});
start_link(Options) when is_map(Options) ->
    case sockeye_options:parse(Options, self()) of
        {ok, Config} ->
            sockeye_engine:when_running(fun() -> sockeye_server:start_link(Config) end);
        {error, _} = Error ->
            Error
    end;
start_link(Options) ->
    sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Options]).

%% @doc A child specification for a supervisor; Elixir's `{:sockeye, options}' works too.
%%
%% The handler must be given, since the caller of {@link start_link/1} will be the
%% supervisor. The id is the name or else the port or Unix socket: `{sockeye, 8080}'. Raises
%% `{bad_option, Key, Why}' when an option is wrong.
%%
%% ```
%% init([]) ->
%%     {ok, {#{}, [sockeye:child_spec(#{port => 8080, handler => {chat, []}})]}}.
%% '''
-spec child_spec(options()) -> supervisor:child_spec().
child_spec(#{handler := _} = Options) ->
    case sockeye_options:parse(Options, self()) of
        {ok, Config} ->
            Id = case Config of
                     #{name := Name} when Name =/= undefined -> Name;
                     #{ip := {local, _} = Path} -> Path;
                     #{port := Port} -> Port
                 end,
            #{id => {?MODULE, Id},
              start => {?MODULE, start_link, [Options]},
              type => worker,
              shutdown => sockeye_options:shutdown_time(Config)};
        {error, Reason} ->
            sockeye_errors:raise(Reason, ?MODULE, ?FUNCTION_NAME, [Options])
    end;
child_spec(Options) when is_map(Options) ->
    Reason = sockeye_why:option(handler, "must be given under a supervisor"),
    sockeye_errors:raise(Reason, ?MODULE, ?FUNCTION_NAME, [Options]);
child_spec(Options) ->
    sockeye_errors:refused(?MODULE, ?FUNCTION_NAME, [Options]).

%% @doc Stops a server, and returns when its port is free.
%%
%% The clients get Close frames with 1001, and have about a second to answer. Then the handlers serve what they have
%% received, `handle_close/4' included. Those that are left when none has ended for 5 seconds, or after 20 seconds, are killed.
%% A handler must not call this for its own server, which would wait for the handler. Error: `not_found'.
%% ```
%% 1> sockeye:stop(8080).
%% ok
%% 2> sockeye:stop(8080).
%% {error,not_found}
%% '''
-spec stop(server()) -> ok | {error, not_found}.
stop(Server) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server]),
    sockeye_server_calls:stop(Server).

%% @doc Ends a server slowly: frees its port at once, then closes its connections some at a time, and then stops it.
%% So its clients do not all come back elsewhere at the same moment.
%%
%% <ul>
%% <li>`per_interval': how many connections are closed in each interval, default 100.</li>
%% <li>`interval': its length in milliseconds, default 100.</li>
%% <li>`code' and `reason' of the Close frames: 1001 (default), 1012 or 3000..4999; UTF-8 of at most 123 bytes, default
%%     none.</li>
%% <li>`deadline': milliseconds after which the connections that are left are cut off, default 30000; that may take a
%%     second more. `infinity' waits for the last one.</li>
%% </ul>
%%
%% Where `per_interval' is too low for the deadline, more are closed in each interval: the last client gets its Close
%% frame 5 seconds before the deadline, or after three quarters of a deadline below 20 seconds.
%%
%% Handlers serve what they have received, and their `handle_close/4' is called for every
%% connection. The call returns when the server process has ended, normally: a supervisor
%% starts a permanent child again. `unanswered' counts the connections that were cut off because no
%% answer to their Close frame came within `close_timeout' or before the deadline. `closed' counts all
%% others that were open, whoever ended them. A handler must not call this for its own server.
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

%% @doc Sends a frame, or several in this order: all of them or, with an error, none.
%%
%% Never waits for the client: frames are queued, up to `send_queue_size' bytes, and written as the client takes them.
%% `ok' means that they are on their way, not that the client has them. From a callback of a handler they leave at
%% once, before the commands that this and earlier callbacks of the batch have returned.
%%
%% ```
%% 1> sockeye:send(Conn, #{temperature => 21.5}).
%% ok
%% 2> sockeye:send(Conn, [{text, <<"one">>}, {binary, <<2>>}]).
%% ok
%% 3> sockeye:send(Conn, #{owner => self()}).
%% {error,{not_json,<0.84.0>}}
%% '''
%% Errors: see {@link send_error()}.
%%
%% With a list of connections one frame goes to each of them, encoded once. The connections that
%% did not get it are in the error; an error that is no list means that nobody got it.
%% ```
%% 1> sockeye:send([Conn, Gone], #{n => 1}).
%% {error,[{{sockeye_conn,4398046511105},closed}]}
%% '''
-spec send(conn(), frame() | [frame()]) -> ok | {error, send_error()};
          ([conn()], frame()) -> ok | {error, send_error() | [{conn(), closed | busy}]}.
send(Conns, Frame) when is_list(Conns) ->
    ?CHECKED(sockeye_fanout:list(Conns, Frame), [Conns, Frame]);
send(Conn, Frames) ->
    ?CHECKED(sockeye_conn:send(Conn, Frames), [Conn, Frames]).

%% @doc Sends a frame to every client of a server.
%%
%% It is encoded once. A client whose queue is full misses it, which {@link info/1}
%% counts as `dropped', or is closed with 1008: see `slow_subscriber'.
%%
%% ```
%% 1> sockeye:send_message(8080, #{type => <<"notification">>, message => <<"Hello!">>}).
%% ok
%% '''
%% Errors: `not_found', `not_utf8' and `{not_json, Part}', see {@link publish_error()}.
-spec send_message(server(), frame()) -> ok | {error, publish_error()}.
send_message(Server, Frame) ->
    ?CHECKED(sockeye_fanout:to_all(Server, Frame, #{}), [Server, Frame]).

%% @equiv send_message(Server, Frame)
-spec broadcast(server(), frame()) -> ok | {error, publish_error()}.
broadcast(Server, Frame) ->
    ?CHECKED(sockeye_fanout:to_all(Server, Frame, #{}), [Server, Frame]).

%% @doc Sends a frame to every client of a server, with {@link publish_options()}.
%%
%% With `wait => true' the call returns how many connections of this node have the frame in their queue, within
%% 5 seconds.
%% ```
%% 1> sockeye:broadcast(my_server, {text, <<"Tea is ready.">>}, #{wait => true}).
%% {ok,#{dropped => 0,sent => 1}}
%% '''
%% Errors: see {@link publish_error()}.
-spec broadcast(server(), frame(), publish_options()) ->
          ok | {ok, outcome()} | {error, publish_error()}.
broadcast(Server, Frame, Options) ->
    ?CHECKED(sockeye_fanout:to_all(Server, Frame, Options), [Server, Frame, Options]).

%% @doc Sends a frame to every client of the server that `Conn' belongs to, but not to `Conn'.
%% ```
%% 1> sockeye:broadcast_from(Conn, #{said => <<"Hello!">>}).
%% ok
%% '''
%% Errors: `closed' if `Conn' is closed; `not_utf8', `{not_json, Part}'.
-spec broadcast_from(conn(), frame()) -> ok | {error, publish_error()}.
broadcast_from(Conn, Frame) ->
    ?CHECKED(sockeye_fanout:to_others(Conn, Frame, #{}), [Conn, Frame]).

%% @doc Sends a frame to every other client, as {@link broadcast_from/2}, with {@link publish_options()}.
%% ```
%% 1> sockeye:broadcast_from(Conn, #{said => <<"Hello!">>}, #{wait => true}).
%% {ok,#{dropped => 0,sent => 0}}
%% '''
%% Errors: see {@link publish_error()}.
-spec broadcast_from(conn(), frame(), publish_options()) ->
          ok | {ok, outcome()} | {error, publish_error()}.
broadcast_from(Conn, Frame, Options) ->
    ?CHECKED(sockeye_fanout:to_others(Conn, Frame, Options), [Conn, Frame, Options]).

%% @doc Subscribes a connection of a server to a topic, see {@link topic()}.
%%
%% It gets what the caller publishes after this call. A second subscription to the same
%% topic changes nothing. Subscriptions end with the connection. Only connections of a server subscribe: one of
%% `sockeye_client' raises `badarg'.
%% ```
%% 1> sockeye:subscribe(Conn, <<"room/7">>).
%% ok
%% 2> sockeye:publish(Server, <<"room/7">>, #{said => <<"Hello!">>}).
%% ok
%% '''
%% Errors: `closed'; `too_many_subscriptions' beyond the server's `max_subscriptions'.
-spec subscribe(conn(), topic()) -> ok | {error, subscribe_error()}.
subscribe(Conn, Topic) ->
    ?CHECKED(sockeye_fanout:subscribe(Conn, Topic), [Conn, Topic]).

%% @doc Ends a subscription; `ok' also if there was none.
%% ```
%% 1> sockeye:unsubscribe(Conn, <<"room/7">>).
%% ok
%% '''
%% Error: `closed'.
-spec unsubscribe(conn(), topic()) -> ok | {error, closed}.
unsubscribe(Conn, Topic) ->
    ?CHECKED(sockeye_fanout:unsubscribe(Conn, Topic), [Conn, Topic]).

%% @equiv publish(Server, Topic, Frame, #{})
-spec publish(server(), topic(), frame()) -> ok | {error, publish_error()}.
publish(Server, Topic, Frame) ->
    ?CHECKED(sockeye_fanout:to_topic(Server, Topic, Frame, #{}), [Server, Topic, Frame]).

%% @doc Sends a frame to every connection of the server that subscribes to a topic.
%%
%% The frame is encoded once, and compressed once for all who share a setting. The call waits for no client: `ok'
%% means that the frame is on its way. Each subscriber gets the frames of one process in the order in which that
%% process published, sent and broadcast them. One that matches the topic in
%% several ways gets it once. A subscriber whose queue is full misses it, which
%% {@link info/1} counts as `dropped', or is closed with 1008: see `slow_subscriber'.
%% ```
%% 1> sockeye:subscribe(Conn, <<"room/7">>).
%% ok
%% 2> sockeye:publish(Server, <<"room/7">>, #{said => <<"Hello!">>}, #{wait => true}).
%% {ok,#{dropped => 0,sent => 1}}
%% '''
%% The topic must not end with `*'. Errors: those of {@link publish_error()}; `timeout' only with `wait', when there
%% is no answer within 5 seconds.
-spec publish(server(), topic(), frame(), publish_options()) ->
          ok | {ok, outcome()} | {error, publish_error()}.
publish(Server, Topic, Frame, Options) ->
    ?CHECKED(sockeye_fanout:to_topic(Server, Topic, Frame, Options), [Server, Topic, Frame, Options]).

%% @equiv publish_from(Conn, Topic, Frame, #{})
-spec publish_from(conn(), topic(), frame()) -> ok | {error, publish_error()}.
publish_from(Conn, Topic, Frame) ->
    ?CHECKED(sockeye_fanout:to_topic_others(Conn, Topic, Frame, #{}), [Conn, Topic, Frame]).

%% @doc Publishes on the server that `Conn' belongs to, as {@link publish/4}. `Conn' does not get the frame itself.
%% ```
%% 1> sockeye:subscribe(Conn, <<"room/7">>).
%% ok
%% 2> sockeye:publish_from(Conn, <<"room/7">>, #{said => <<"Hello!">>}, #{wait => true}).
%% {ok,#{dropped => 0,sent => 0}}
%% '''
%% Errors: `closed' if `Conn' is closed, and those of {@link publish/4}.
-spec publish_from(conn(), topic(), frame(), publish_options()) ->
          ok | {ok, outcome()} | {error, publish_error()}.
publish_from(Conn, Topic, Frame, Options) ->
    ?CHECKED(sockeye_fanout:to_topic_others(Conn, Topic, Frame, Options), [Conn, Topic, Frame, Options]).

%% @doc The connections of this node that would get what is published under a topic, in no order.
%% ```
%% 1> sockeye:subscribe(Conn, <<"room/*">>).
%% ok
%% 2> sockeye:subscribers(my_server, <<"room/7">>).
%% {ok,[{sockeye_conn,536870913}]}
%% '''
%% Errors: `not_found'; `timeout' if the engine gives no answer within 5 seconds.
-spec subscribers(server(), topic()) -> {ok, [conn()]} | {error, not_found | timeout}.
subscribers(Server, Topic) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server, Topic]),
    sockeye_fanout:of_server(
      Server, fun(ServerId) -> sockeye_fanout:connections(ServerId, Topic) end).

%% @doc The topics that connections of this node subscribe to, each with the number of its subscribers. Error:
%% `not_found'.
%% ```
%% 1> [sockeye:subscribe(Conn, Topic) || Topic <- [<<"news">>, <<"room/*">>]].
%% [ok,ok]
%% 2> sockeye:topics(Server).
%% {ok,#{<<"news">> => 1,<<"room/*">> => 1}}
%% '''
-spec topics(server()) -> {ok, #{topic() => pos_integer()}} | {error, not_found}.
topics(Server) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server]),
    sockeye_fanout:of_server(Server, fun sockeye_fanout:topics/1).

%% @equiv close(Conn, 1000, <<>>)
-spec close(conn()) -> ok | {error, closed}.
close(Conn) ->
    ?CHECKED(sockeye_conn:close(Conn, 1000, <<>>), [Conn]).

%% @doc Sends a Close frame, after what is queued. The connection ends when the
%% client has answered, or after `close_timeout'; then the event `closed' comes. The call does not wait for that.
%%
%% `Code' is one that RFC 6455 allows in a frame (1000..1003, 1007..1014, 3000..4999),
%% `Reason' UTF-8 of at most 123 bytes; anything else is `badarg'. Error: `closed', also when it is closing already.
%% ```
%% 1> sockeye:close(Conn, 1012, <<"new version">>).
%% ok
%% 2> sockeye:close(Gone, 1012, <<"new version">>).
%% {error,closed}
%% '''
-spec close(conn(), close_code(), iodata()) -> ok | {error, closed}.
close(Conn, Code, Reason) ->
    ?CHECKED(sockeye_conn:close(Conn, Code, Reason), [Conn, Code, Reason]).

%% @doc Changes options of one connection while it lives; its server and the others keep theirs.
%% `active' sets how many frames it may deliver to its process.
%%
%% ```
%% 1> sockeye:setopts(Conn, [{active, once}]).
%% ok
%% 2> sockeye:setopts(Conn, [{max_message_size, 64 * 1048576}, {idle_timeout, infinity}]).
%% ok
%% '''
%% See {@link active()} and {@link conn_option()}; anything else is `badarg'. Frames that are on their way at that moment
%% still come. Error: `closed'.
-spec setopts(conn(), [conn_option()]) -> ok | {error, closed}.
setopts(Conn, Options) ->
    ?CHECKED(sockeye_conn:setopts(Conn, Options), [Conn, Options]).

%% @doc Makes `Pid' the owner of a connection: it gets the messages from now on,
%% and its death closes the connection with 1011. Only a connection of an owner can be given away: one of a server or client
%% with a `{Module, Arg}' raises `badarg'.
%%
%% Events that came before this call returned are with the old owner. With the server's option
%% `active => false' that is only the event `open'. So start with `active => false', hand the connection over, and let
%% the new owner set `active'. Error: `closed'.
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
%% Open connections go on as they are. No earlier session is resumed.
%% After an error, the server keeps the certificates that it had. It is not an error that a
%% certificate has expired or is not valid yet; the log warns of it. Errors: `{bad_option, tls, Why}', also for a server
%% without TLS; `not_found'.
%% ```
%% 1> sockeye:reload_tls(my_server).
%% ok
%% '''
-spec reload_tls(server()) -> ok | {error, {bad_option, tls, binary()} | not_found}.
reload_tls(Server) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server]),
    sockeye_server_calls:reload_tls(Server).

%% @doc Counters and memory of the engine of this node, as a map. Error: `not_running'.
%%
%% <ul>
%% <li>`shards', `servers', `connections': threads of the engine, and what is open.</li>
%% <li>`memory': bytes that the engine holds now: buffers, queues, inboxes and the state of connections, but not
%%     the stacks of its threads. `erlang:memory/0' does not see them.</li>
%% <li>`queued_calls': calls that wait for a thread of the engine now; `delayed_calls': calls that have kept their
%%     callers waiting, because more than 8,192 calls, or 16 MiB of broadcasts, were before them.</li>
%% <li>`cluster_dropped': frames for or from other nodes that this node dropped, because a connection between nodes
%%     was full or too many waited.</li>
%% <li>`engine': where it is. `nif': in the VM. `port': in a process of the system, see the guide to installing. Then also
%%     `os_pid', the number of that process, and `restarts', how often one has been started in the place of one that has
%%     ended; `memory' is what it takes of the system.</li>
%% </ul>
%% ```
%% 1> {ok, #{memory := Bytes, connections := N}} = sockeye:info().
%% {ok,#{...}}
%% '''
-spec info() -> {ok, engine_info()} | {error, not_running}.
info() ->
    try {ok, (sockeye_backend:engine_info())#{cluster_dropped => sockeye_cluster:dropped(), engine => sockeye_backend:engine()}}
    catch error:badarg -> {error, not_running}
    end.

%% @doc Addresses, counters and queues of a server or a connection, as a map.
%%
%% See {@link server_info()} and {@link conn_info()}. Errors: `not_found' for a server; for a connection `closed', and
%% `timeout' if the engine gives no answer within 5 seconds.
%% ```
%% 1> {ok, #{port := Port, connections := N}} = sockeye:info(Server).
%% {ok,#{...}}
%% '''
-spec info(server() | conn()) ->
          {ok, server_info() | conn_info()} | {error, not_found | closed | timeout}.
info(ServerOrConn) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [ServerOrConn]),
    case ServerOrConn of
        {sockeye_conn, _} -> sockeye_ask:conn_info(ServerOrConn, ?INFO_TIMEOUT_MS);
        _ -> sockeye_server_calls:info(ServerOrConn)
    end.

%% @doc The connections of a server that are open now, in no order. Errors: `not_found'; `timeout' if the engine gives
%% no answer within 5 seconds.
%% ```
%% 1> {ok, Conns} = sockeye:connections(my_server).
%% {ok,[{sockeye_conn,536870913}]}
%% 2> lists:member(Conn, Conns).
%% true
%% '''
-spec connections(server()) -> {ok, [conn()]} | {error, not_found | timeout}.
connections(Server) ->
    ok = sockeye_errors:check(?MODULE, ?FUNCTION_NAME, [Server]),
    sockeye_fanout:of_server(
      Server, fun(ServerId) -> sockeye_fanout:connections(ServerId, all) end).
