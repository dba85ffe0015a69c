//! Every atom that is written or looked for: none comes from input.

macro_rules! name {
    ($id:ident) => {
        stringify!($id)
    };
    ($id:ident $name:literal) => {
        $name
    };
}

macro_rules! atoms {
    ($($id:ident $(= $name:literal)?),* $(,)?) => {
        /// An atom.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, non_camel_case_types, reason = "named as it is written")]
        pub enum Atom { $($id),* }

        impl Atom {
            /// All of them, each at its number.
            pub const ALL: &'static [Atom] = &[$(Atom::$id),*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Atom::$id => name!($id $($name)?)),* }
            }
        }
    };
}

atoms! {
    ok, error, done, closed, busy, badarg, raise, none, all, not_json, not_utf8, streaming, not_streaming,
    duplicate_key, struct_ = "struct", invalid_json, invalid, json, text, binary, ping, pong, close, active,
    open, passive, ending, uncompressed, stream, first, more, last, once, true_ = "true", false_ = "false",
    undefined, address, port, peer, local, path, query, subprotocol, headers, age, send_queue, held, deflate,
    state, method, subprotocols, body, accept, tls, http_version, version, cipher, sni, alpn, peer_cert,
    tlsv1_2 = "tlsv1.2", tlsv1_3 = "tlsv1.3", shards, servers, connections, accepted, rejected, frames_in,
    frames_out, bytes_in, bytes_out, dropped, failed, requests, answering, proxied, proxy_errors, bytes_saved, unanswered, no_owner, no_process,
    no_descriptor, accept_errors, accept_pauses, memory, os_pid, queued_calls, delayed_calls, max_descriptor,
    sent, reason, message, panic, accept_error, sockeye_conn, sockeye_stopped, sockeye_unlistened,
    sockeye_event, sockeye_gone, sockeye_ask, sockeye_failed, sockeye_given, sockeye_topics, sockeye_whereis, sockeye_down, sockeye_dialled,
    sockeye_disconnected, sockeye_stream_gone, sockeye_hello, sockeye_refused, too_many_subscriptions, not_running,
    already_running, protocol, secret, return_ = "return", engine, host, handler, acceptor,
    plain, plain_batch, gate, other, timeout, nxdomain, proxy, refused, bad_handshake, bad_request,
    unknown_ca, bad_host, expired, not_yet_valid, revoked, pin, bad_certificate, alert, not_tls, too_many,
    closes, unattached, send_queues, inboxes, max_connections, max_connections_per_address, connection_rate, left, origin,
    unavailable, draining, upstream, upstream_failed, upstream_answers, sockeye_frame, sockeye_untraced, insecure, bad_location, denied, failure, not_allowed, upgrade, connection, extension, malformed,
    redirect, status, syntax, eof, depth, number_range, utf8, trailing_data, too_large, eaddrinuse,
    eaddrnotavail, eacces, emfile, einval, eafnosupport, enoent, enotdir, erofs, enodev, econnrefused,
    econnreset, ehostunreach, enetunreach, etimedout, epipe, user_data, topics,
}
