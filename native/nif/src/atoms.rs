//! Every atom that this crate makes: none comes from input.

rustler::atoms! {
    ok, error, more, done, dirty, retry, none, acceptor, infinity,
    closed, busy, not_json, not_utf8, invalid_json,
    json, raw, text, binary, ping, pong, close, active, open, passive, batch,
    once, null, undefined, nil, deliver,
    true_ = "true", false_ = "false",
    workers, per_connection, owner, keys, existing_atom, atoms,
    ip, port, backlog, mode, format, max_depth, on_invalid_json, max_message_size,
    max_frame_size, max_fragments, inbox_size, send_queue_size, send_timeout,
    handshake_timeout, close_timeout, max_connections, subprotocols,
    idle_timeout, ping_interval, pong_timeout, max_age,
    address, peer, path, query, subprotocol, headers, age, queue, held, server,
    shards, servers, connections, accepted, rejected, frames_in, frames_out, bytes_in,
    bytes_out, dropped, reason, message,
    sockeye, sockeye_conn, sockeye_ready, sockeye_wake, sockeye_stopped, sockeye_event,
    accept_error, panic,
    eaddrinuse, eaddrnotavail, eacces, emfile, einval, eafnosupport, not_running,
    already_running,
    reuseport, enoent, enotdir, erofs, local, tls, http_version, version, cipher, sni, alpn, peer_cert,
    tlsv1_2 = "tlsv1.2", tlsv1_3 = "tlsv1.3",
    syntax, eof, depth, number_range, utf8, trailing_data, too_large,
}
