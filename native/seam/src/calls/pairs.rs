//! Commands as the VM writes them to another process: what names a connection and a kind of message stands in front, in bytes, and
//! only what is left is terms. The VM reads an atom's name each time it meets one.

use sockeye_engine::{ConnId, Engine};
use sockeye_protocol::Kind;

use crate::Atom;
use crate::calls::commands::{CommandBatch, Gathered};
use crate::encode::encode_next;
use crate::etf_reader::EtfReader;
use crate::etf_term::EtfTerm;
use crate::frames::{
    self, AppendResult, Appended, Bounds, FrameTerm, MessageTerm, Receiver, SendFailure,
};
use crate::read::Reader;
use crate::value::{BadArg, Read};
use crate::write::{Etf, Writer};

/// What a term means that stands without what names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// It is all.
    Whole = 0,
    /// It is the value of `{json, Value}`.
    Json = 1,
    /// It is that of `{text, Bytes}`.
    Text = 2,
    /// It is that of `{binary, Bytes}`.
    Binary = 3,
}

/// A connection and a shape, as bytes.
const HEAD: usize = 9;

/// Appends what stands in front for one term.
pub fn push_head(heads: &mut Vec<u8>, conn: ConnId, shape: Shape) {
    heads.extend_from_slice(&conn.as_u64().to_be_bytes());
    heads.push(shape as u8);
}

fn head(bytes: &[u8; HEAD]) -> Option<(u64, Shape)> {
    let (conn, shape) = bytes.split_first_chunk()?;
    let shape = match shape {
        [0] => Shape::Whole,
        [1] => Shape::Json,
        [2] => Shape::Text,
        [3] => Shape::Binary,
        _ => return None,
    };
    Some((u64::from_be_bytes(*conn), shape))
}

/// A command that was not taken.
pub struct Refused<'a> {
    conn: Named<'a>,
    shape: Shape,
    frame: EtfTerm<'a>,
    failure: SendFailure<EtfTerm<'a>>,
}

enum Named<'a> {
    Term(EtfTerm<'a>),
    Id(u64),
}

impl Refused<'_> {
    /// `{Conn, Frame, Reason}`
    pub fn write(&self, w: &mut Etf<'_>) {
        w.tuple(3);
        match self.conn {
            Named::Term(term) => term.copy_to(w.0),
            Named::Id(id) => {
                w.tuple(2);
                w.atom(Atom::sockeye_conn);
                w.integer(id);
            }
        }
        let tag = match self.shape {
            Shape::Whole => None,
            Shape::Json => Some(Atom::json),
            Shape::Text => Some(Atom::text),
            Shape::Binary => Some(Atom::binary),
        };
        if let Some(tag) = tag {
            w.tuple(2);
            w.atom(tag);
        }
        self.frame.copy_to(w.0);
        self.failure.reason(w, |w, part| part.copy_to(w.0));
    }
}

/// Gathers commands. In `list` is, for each head, a term; for a whole one that of its connection, and then its frame. Gives what was
/// not taken.
///
/// # Errors
/// Heads and terms do not fit, or are malformed; what stands before that is gathered.
pub fn pairs<'a>(
    r: EtfReader,
    engine: &Engine,
    heads: &[u8],
    mut list: EtfTerm<'a>,
    gathered: &mut Gathered,
) -> Read<Vec<Refused<'a>>> {
    gathered.hand_over_long(engine);
    let mut out = CommandBatch::new(engine, gathered);
    let mut refused = Vec::new();
    let (heads, []) = heads.as_chunks::<HEAD>() else {
        return Err(BadArg);
    };
    for bytes in heads {
        out.flush_long();
        let (id, shape) = head(bytes).ok_or(BadArg)?;
        let mut named = Named::Id(id);
        let frame;
        let done = match shape {
            Shape::Json if let Some((mut at, left)) = list.head() => {
                frame = EtfTerm::new(at);
                let mut end = None;
                let done = add(&mut out, r, id, |receiver, bytes| {
                    receiver.append_by(Bounds::NONE, bytes, |format, bytes| {
                        let next = |null, out: &mut Vec<u8>| encode_next(at, null, out);
                        end = Some(frames::json(format, bytes, next)?);
                        Ok(Appended::Frame)
                    })
                });
                // Of what has not been read, the end is to be found.
                match end {
                    Some(end) => at = end,
                    None => drop(at.term().map_err(|_| BadArg)?),
                }
                list = EtfTerm::tail(at, left);
                done
            }
            Shape::Whole => {
                let (conn, rest) = r.cell(list).ok_or(BadArg)?;
                named = Named::Term(conn);
                (frame, list) = r.cell(rest).ok_or(BadArg)?;
                out.add(r, conn, frame, Bounds::NONE)
            }
            _ => {
                (frame, list) = r.cell(list).ok_or(BadArg)?;
                add(&mut out, r, id, |receiver, bytes| {
                    receiver.append(r, message(shape, frame), Bounds::NONE, bytes)
                })
            }
        };
        if let Err(failure) = done {
            refused.push(Refused {
                conn: named,
                shape,
                frame,
                failure,
            });
        }
    }
    list.is_end().then_some(refused).ok_or(BadArg)
}

/// Adds the frame that `append` appends, for the connection of this number.
fn add<'a>(
    out: &mut CommandBatch<'_, EtfTerm<'a>>,
    r: EtfReader,
    id: u64,
    append: impl FnOnce(&Receiver, &mut Vec<u8>) -> AppendResult<EtfTerm<'a>>,
) -> Result<(), SendFailure<EtfTerm<'a>>> {
    out.find(ConnId::from_u64(id).ok_or(SendFailure::BadArg)?)?;
    out.put(r, Bounds::NONE, append)
}

fn message<'a>(shape: Shape, term: EtfTerm<'a>) -> FrameTerm<'a, EtfTerm<'a>> {
    FrameTerm::Message {
        content: match shape {
            Shape::Whole | Shape::Json => MessageTerm::Json(term),
            Shape::Text => MessageTerm::Bytes(Kind::Text, term),
            Shape::Binary => MessageTerm::Bytes(Kind::Binary, term),
        },
        plain: false,
    }
}
