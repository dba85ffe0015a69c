//! Terms of the link: events, connections, replies.

use sockeye_simulated_engine::ConnId;

use crate::model::content::{BESIDE, word};
use crate::terms::{Term, atom, binary, tagged};
use crate::vm::event::VmEvent;

/// The number of the server under test.
pub(super) const SERVER: i64 = 7;
/// That of the proxy before it.
pub(super) const PROXY: i64 = 8;
/// That of the parent in which it is nested.
pub(super) const PARENT: i64 = 9;

pub(super) fn conn_term(conn: ConnId) -> Term {
    tagged("sockeye_conn", Term::Integer(conn.as_u64() as i64))
}

pub(super) fn conn_of(term: &Term) -> Option<ConnId> {
    match term.tuple().ok()? {
        [_, Term::Integer(number)] => ConnId::from_u64(*number as u64),
        _ => None,
    }
}

/// The failures of `{sockeye_failed, Failures}`: connection or note, frame, and reason.
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
    // Not a publication, and not a message of the engine's own client.
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

/// The event of such a term.
pub(super) fn event_of(event: &Term) -> VmEvent {
    let Ok(parts) = event.tuple() else {
        return match event.is("passive") {
            true => VmEvent::Passive,
            false => VmEvent::Ending,
        };
    };
    match parts {
        [tag, info] if tag.is("open") => {
            let path = info.get("path").and_then(|path| path.read());
            VmEvent::Open(path.unwrap_or_default())
        }
        [tag, Term::Binary(text)] if tag.is("text") => VmEvent::Text(text.to_vec()),
        [tag, value] if tag.is("json") => VmEvent::Text(json_text(value)),
        [tag, code, ..] if tag.is("closed") => VmEvent::Closed(code.read().unwrap_or_default()),
        [tag, _] if tag.is("ending") => VmEvent::Ending,
        _ => VmEvent::Other,
    }
}

/// The text of a message that is JSON, if what stands beside it is right.
fn json_text(value: &Term) -> Vec<u8> {
    let Term::Map(pairs) = value else {
        return b"no object".to_vec();
    };
    let of = |wanted: &str| {
        let key = binary(wanted);
        pairs.iter().find(|(known, _)| *known == key)
    };
    let beside = [
        atom("null"),
        atom("true"),
        Term::Float(BESIDE),
        binary("\u{e9}"),
    ];
    match (of("l"), of("t")) {
        (Some((_, Term::List(list))), Some((_, Term::Binary(text)))) if *list == beside => {
            text.to_vec()
        }
        // Of the engine's own client.
        (None, Some((_, Term::Binary(text)))) => text.to_vec(),
        _ => b"another object".to_vec(),
    }
}
