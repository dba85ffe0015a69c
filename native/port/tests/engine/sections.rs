//! Sections, as they come to the VM. The simulation has this file, too.

use crate::terms::{Term, int, tagged, term};

/// A section that came.
#[derive(Clone, Debug, PartialEq)]
pub enum Section {
    Answer(u16, Term),
    Message(u64, Term),
    Batch {
        id: u64,
        more: bool,
        keys: bool,
        events: Vec<(Term, Term)>,
    },
    Watch(u64, Term),
    Unwatch(u64),
    Pong(u64),
    /// A connection, and bytes.
    Grant(u64, u32),
}

pub fn be64(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().unwrap())
}

pub fn parse(kind: u8, body: &[u8]) -> Section {
    match kind {
        1 => {
            assert_eq!(body[..2], [0, 2], "a From that was not given");
            let call = u16::from_be_bytes(body[2..4].try_into().unwrap());
            Section::Answer(call, term(&body[4..]))
        }
        2 => Section::Message(be64(body), term(&body[8..])),
        3 => Section::Batch {
            id: be64(body),
            more: body[8] & 1 == 1,
            keys: body[8] & 4 == 4,
            events: events(&body[9..]),
        },
        4 => Section::Watch(be64(body), term(&body[8..])),
        5 => Section::Unwatch(be64(body)),
        6 => Section::Pong(be64(body)),
        7 => Section::Grant(
            be64(body),
            u32::from_be_bytes(body[8..].try_into().unwrap()),
        ),
        _ => panic!("a section of kind {kind}"),
    }
}

/// Connections and events.
fn events(body: &[u8]) -> Vec<(Term, Term)> {
    let (len, rest) = body.split_first_chunk().unwrap();
    let (heads, terms) = rest.split_at(u32::from_be_bytes(*len) as usize);
    let (heads, []) = heads.as_chunks::<9>() else {
        panic!("a head is cut");
    };
    let terms = term(terms);
    // A list of bytes is one, too: no value of a test is.
    let terms = terms.list().unwrap();
    assert_eq!(heads.len(), terms.len());
    let event = |(head, value): (&[u8; 9], &Term)| {
        let conn = tagged("sockeye_conn", int(be64(head) as i64));
        let value = value.clone();
        let event = match head[8] {
            0 => value,
            1 => tagged("json", value),
            2 => tagged("text", value),
            3 => tagged("binary", value),
            shape => panic!("shape {shape}"),
        };
        (conn, event)
    };
    heads.iter().zip(terms).map(event).collect()
}
