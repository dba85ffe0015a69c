//! Terms that name connections and replies.

use sockeye_simulated_engine::ConnId;

use crate::process::word;
use crate::terms::{Term, binary, tagged};

/// The number of the server.
pub(super) const SERVER: i64 = 7;
/// That of the one before it.
pub(super) const FRONT: i64 = 8;
/// That of the one that it is nested in.
pub(super) const OUTER: i64 = 9;

pub(super) fn conn_term(conn: ConnId) -> Term {
    tagged("sockeye_conn", Term::Integer(conn.as_u64() as i64))
}

pub(super) fn conn_of(term: &Term) -> Option<ConnId> {
    match term.tuple().ok()? {
        [_, Term::Integer(number)] => ConnId::from_u64(*number as u64),
        _ => None,
    }
}

/// Of `{sockeye_failed, Failures}`: connection or note, frame, and reason.
pub(super) fn failures(term: &Term) -> Vec<(&Term, &Term, &Term)> {
    let Ok([tag, list]) = term.tuple() else {
        return Vec::new();
    };
    if !tag.is("sockeye_failed") {
        return Vec::new();
    }
    let parts = list.list().unwrap_or_default().iter();
    let parts = parts.filter_map(|failed| match failed.tuple() {
        Ok([conn, frame, why]) => Some((conn, frame, why)),
        _ => None,
    });
    parts.collect()
}

/// Client, number and size of a reply.
pub(super) fn reply_of(frame: &Term) -> Option<(usize, u64, usize)> {
    let text = match frame.tuple().ok()? {
        [tag, Term::Binary(text)] if tag.is("text") => text,
        [tag, Term::Map(pairs)] if tag.is("json") => match pairs.first() {
            Some((_, Term::Binary(text))) => text,
            _ => return None,
        },
        _ => return None,
    };
    // A message of a client of the engine's is none.
    let is_reply = !text.starts_with(b"topic") && !text.starts_with(b"d");
    is_reply.then(|| (word(text, 0), word(text, 1) as u64, text.len()))
}

/// A reply as JSON.
pub(super) fn json(text: &str) -> Term {
    tagged("json", Term::Map(vec![(binary("t"), binary(text))]))
}

/// A text frame.
pub(super) fn text(text: &[u8]) -> Term {
    tagged("text", binary(text))
}
