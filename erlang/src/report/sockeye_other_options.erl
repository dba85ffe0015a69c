%% @private
%% Options of other libraries, and keys that belong into the value of an option: what somebody types who has not read ours,
%% and what helps there. No slip of the hand leads to these, so nothing that resembles them would.
-module(sockeye_other_options).

-export([server/0]).
-export([client/0]).

-type hints() :: [{Other :: atom(), hint, string()}].

-spec server() -> hints().
server() ->
    hints([{[id, ref, listener, server_name, ranch_ref],
            "did you mean name? The id of the child is made of it"},
           {[restart, shutdown, type, modules, significant, start],
            "that is a key of a child specification: change it in the map that child_spec/1 returns"},
           {[handlers, callback, callbacks, callback_module, mod, module, plug, websocket, websocket_handler, handler_module, init_args, handler_options],
            "did you mean handler => {Module, Arg}?"},
           {[dispatch, routes, router, env, middlewares, stream_handlers, static, dirs],
            "files, functions and web servers of paths are in http, and accept/2 of a handler decides on a WebSocket by its path"},
           {[num_acceptors, acceptors, acceptor_pool_size, num_conns_sups, num_listen_sockets],
            "the threads of the engine accept connections, and their number is no option of a server"},
           {[max_conns, max_clients, num_connections],
            "did you mean max_connections?"},
           {[tls_opts, tls_options, ssl, ssl_opts, ssl_options, https, secure, transport, transport_opts, transport_options, socket_opts,
             thousand_island_options, scheme, cipher_suite, otp_app],
            "did you mean tls => #{certfile => File, keyfile => File}? Addresses and limits are options of their own"},
           {[certfile, cert, keyfile, key, cacertfile, cacerts, certs_keys, versions, verify, fail_if_no_peer_cert, sni_hosts],
            "that is a key of tls, as in tls => #{certfile => File, keyfile => File}"},
           {[alpn_preferred_protocols, alpn],
            "TLS offers what the option http2 says"},
           {[host, hostname, address, addr, bind, interface, inet, inet6, ipv6, local, unix, socket, fd],
            "did you mean ip, as in ip => any, ip => \"::\" or ip => {local, Path}?"},
           {[compress, compression, permessage_deflate, deflate_opts, websocket_deflate],
            "did you mean deflate?"},
           {[level, mem_level, threshold, server_context_takeover, client_context_takeover, server_max_window_bits, client_max_window_bits],
            "that is a key of deflate, as in deflate => #{level => 2}"},
           {[heartbeat, heartbeat_interval, keepalive, keep_alive, ping],
            "did you mean ping_interval?"},
           {[timeout, inactivity_timeout, read_timeout, receive_timeout],
            "did you mean idle_timeout? The time for a handshake is handshake_timeout"},
           {[send_timeout_close, request_timeout],
            "did you mean handshake_timeout, send_timeout or idle_timeout?"},
           {[max_payload, max_payload_length, max_length, max_size],
            "did you mean max_message_size?"},
           {[max_frame_len],
            "did you mean max_frame_size?"},
           {[check_origin, allowed_origins, cors],
            "did you mean origins?"},
           {[protocol, protocols],
            "did you mean subprotocols?"},
           {[pool, pool_size, workers],
            "did you mean processes?"},
           {[rate, burst, rate_limit, action],
            "did you mean message_rate or connection_rate, as in message_rate => #{rate => 100, burst => 200}?"},
           {[auth],
            "that is a key of dashboard; accept/2 of a handler, or the option accept, lets clients in"},
           {[proxy_header, proxy],
            "did you mean proxy_protocol, or http => #{\"/\" => {proxy, Url}}?"},
           {[connect_timeout, headers, max_redirects, reconnect],
            "that is an option of a client"}]).

-spec client() -> hints().
client() ->
    hints([{[id, ref], "did you mean name?"},
           {[restart, shutdown, type, modules, significant, start],
            "that is a key of a child specification: change it in the map that child_spec/3 returns"},
           {[handler, handlers, callback, callbacks, callback_module, mod, module],
            "a handler is an argument: start_link(Url, {Module, Arg}, Options)"},
           {[url, uri, port, path, scheme, transport],
            "that is in the URL, as in wss://host:port/path"},
           {[tls_opts, tls_options, ssl, ssl_opts, ssl_options, socket_opts, transport_opts, transport_options, insecure],
            "did you mean tls, as in tls => #{cacertfile => File}?"},
           {[certfile, cert, keyfile, key, cacertfile, cacerts, certs_keys, versions, verify, pin, server_name_indication, sni],
            "that is a key of tls, as in tls => #{cacertfile => File}"},
           {[retry, retry_timeout, retry_fun, backoff, auto_reconnect, async, async_connect],
            "did you mean reconnect?"},
           {[initial_interval, max_interval, max_attempts, send_when_down],
            "that is a key of reconnect, as in reconnect => #{max_attempts => 5}"},
           {[extra_headers, req_headers, request_headers, cookie, cookies, authorization],
            "did you mean headers, as in headers => [{\"authorization\", Text}]?"},
           {[timeout, handshake_timeout, domain_lookup_timeout, tls_handshake_timeout],
            "did you mean connect_timeout?"},
           {[follow_redirect, follow_redirects, autoredirect],
            "did you mean max_redirects?"},
           {[http_proxy, https_proxy, socks5, proxy_host, proxy_auth],
            "did you mean proxy, as in proxy => \"http://user:password@host:port\"?"},
           {[compress, compression, permessage_deflate],
            "did you mean deflate?"},
           {[level, mem_level, threshold, server_context_takeover, client_context_takeover, server_max_window_bits, client_max_window_bits],
            "that is a key of deflate, as in deflate => #{level => 2}"},
           {[heartbeat, heartbeat_interval, keepalive, keep_alive, ping],
            "did you mean ping_interval?"},
           {[max_payload, max_payload_length, max_length, max_size],
            "did you mean max_message_size?"},
           {[protocol, protocols],
            "did you mean subprotocols?"},
           {[rate, burst, rate_limit, action],
            "did you mean message_rate, as in message_rate => #{rate => 100, burst => 200}?"}]).

-spec hints([{[atom()], string()}]) -> hints().
hints(Table) ->
    [{Other, hint, Text} || {Others, Text} <- Table, Other <- Others].
