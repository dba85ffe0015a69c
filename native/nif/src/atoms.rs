//! Every atom that this crate makes: none comes from input.
#![expect(clippy::disallowed_types, reason = "in what the macro writes")]

use std::sync::OnceLock;

use rustler::Env;
use rustler::sys::ErlNifTerm;
use sockeye_seam::Atom;

/// The atoms of the seam, each at its number.
static NAMED: OnceLock<Box<[ErlNifTerm]>> = OnceLock::new();

/// Makes the atoms of the seam, when the library is loaded. False if the VM has no room for them.
pub(crate) fn make(env: Env<'_>) -> bool {
    let made = Atom::ALL.iter().map(|atom| {
        let atom = rustler::types::atom::Atom::from_str(env, atom.name()).ok()?;
        Some(atom.as_c_arg())
    });
    match made.collect::<Option<_>>() {
        Some(made) => {
            NAMED.get_or_init(|| made);
            true
        }
        None => false,
    }
}

/// An atom of the seam.
#[inline]
pub(crate) fn named(atom: Atom) -> ErlNifTerm {
    let found = NAMED.get().and_then(|all| all.get(atom as usize));
    // There is none before the library is loaded, and nobody who asks.
    found.copied().unwrap_or_else(|| error().as_c_arg())
}

rustler::atoms! {
    ok, error, more, done, dirty, crowded, none, acceptor, closed, busy, not_json, not_utf8, json, text,
    binary, ping, pong, close, active, open, batch, once, null, undefined, nil, badarg, true_ = "true",
    false_ = "false", port, max_message_size, max_frame_size, max_fragments, subprotocols,
    streaming, not_streaming, address, path, subprotocol, headers, server, shards, malloc_is_default, dropped, message, sockeye,
    sockeye_conn, sockeye_ready, sockeye_wake, sockeye_stopped, sockeye_unlistened, sockeye_event,
    sockeye_done, uncompressed, panic, panic_in_call, sockeye_gone, accept, method, body, state,
    max_header_size, max_headers, not_running, already_running, tls, http_version, version, bad_option,
    bad_handshake, expired, not_yet_valid, upgrade, connection, extension, malformed, status, deflate, role,
    client, closing, buffered, stream, first, last, host, key, long_line, draft_76, not_websocket, all, sent,
    sockeye_down, too_many_subscriptions, too_large,
}
