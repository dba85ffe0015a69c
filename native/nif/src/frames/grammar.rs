//! What a term that stands for a frame says. One grammar for connections of the engine and for codecs.
//!
//! ```text
//! Frame    :: Message | {uncompressed, Message} | {ping | pong, iodata()} | {close, Code, Reason}
//!           | {stream, text | binary, first | more | last, iodata()} | {active, Change}
//! Message  :: map() | {json, term()} | {text | binary, iodata()}
//! ```

use rustler::sys::{ErlNifBinary, ErlNifTerm, enif_get_int, enif_inspect_iolist_as_binary};
use sockeye_engine::Active;
use sockeye_engine::active::SetActive;
use sockeye_engine::pieces::Piece;
use sockeye_protocol::frame::Opcode;
use sockeye_protocol::{Kind, close};

use crate::atoms;
use crate::terms::Builder;

/// The payload of a control frame.
const CONTROL: usize = 125;
/// The reason in a close frame.
const REASON: usize = 123;

/// A frame, or a command that may stand among frames. Terms in it have not been looked at.
pub(crate) enum FrameTerm<'e> {
    Message {
        content: MessageTerm,
        /// It is not to be compressed.
        plain: bool,
    },
    Control(Opcode, &'e [u8]),
    /// A piece of a message.
    Piece(Kind, Piece, ErlNifTerm),
    Close(u16, Box<str>),
    Active(SetActive),
}

/// What a message is made of.
pub(crate) enum MessageTerm {
    Json(ErlNifTerm),
    Bytes(Kind, ErlNifTerm),
}

/// Reads a term. None if it is no frame.
pub(crate) fn parse(b: Builder<'_>, term: ErlNifTerm) -> Option<FrameTerm<'_>> {
    if let Some(content) = message(b, term) {
        let plain = false;
        return Some(FrameTerm::Message { content, plain });
    }
    match b.elements(term)? {
        [tag, value] if *tag == atoms::ping().as_c_arg() => control(b, Opcode::Ping, *value),
        [tag, value] if *tag == atoms::pong().as_c_arg() => control(b, Opcode::Pong, *value),
        [tag, value] if *tag == atoms::active().as_c_arg() => {
            set_active(b, *value).map(FrameTerm::Active)
        }
        [tag, value] if *tag == atoms::uncompressed().as_c_arg() => {
            let content = message(b, *value)?;
            let plain = true;
            Some(FrameTerm::Message { content, plain })
        }
        [tag, code, reason] if *tag == atoms::close().as_c_arg() => closing(b, *code, *reason),
        [tag, kind, step, value] if *tag == atoms::stream().as_c_arg() => {
            let kind = if *kind == atoms::text().as_c_arg() {
                Kind::Text
            } else if *kind == atoms::binary().as_c_arg() {
                Kind::Binary
            } else {
                return None;
            };
            let step = if *step == atoms::first().as_c_arg() {
                Piece::First
            } else if *step == atoms::more().as_c_arg() {
                Piece::More
            } else if *step == atoms::last().as_c_arg() {
                Piece::Last
            } else {
                return None;
            };
            Some(FrameTerm::Piece(kind, step, *value))
        }
        _ => None,
    }
}

#[inline]
fn message(b: Builder<'_>, term: ErlNifTerm) -> Option<MessageTerm> {
    let Some(elements) = b.elements(term) else {
        return b.is_map(term).then_some(MessageTerm::Json(term));
    };
    match elements {
        [tag, value] if *tag == atoms::json().as_c_arg() => Some(MessageTerm::Json(*value)),
        [tag, value] if *tag == atoms::text().as_c_arg() => {
            Some(MessageTerm::Bytes(Kind::Text, *value))
        }
        [tag, value] if *tag == atoms::binary().as_c_arg() => {
            Some(MessageTerm::Bytes(Kind::Binary, *value))
        }
        _ => None,
    }
}

fn control(b: Builder<'_>, op: Opcode, term: ErlNifTerm) -> Option<FrameTerm<'_>> {
    short(b, term, CONTROL).map(|bytes| FrameTerm::Control(op, bytes))
}

fn closing<'e>(b: Builder<'e>, code: ErlNifTerm, reason: ErlNifTerm) -> Option<FrameTerm<'e>> {
    let code = u16::try_from(b.as_u64(code)?).ok()?;
    let reason = std::str::from_utf8(short(b, reason, REASON)?).ok()?;
    close::is_sendable(code).then(|| FrameTerm::Close(code, reason.into()))
}

/// The value of an `active` option.
pub(crate) fn set_active(b: Builder<'_>, value: ErlNifTerm) -> Option<SetActive> {
    if value == atoms::true_().as_c_arg() {
        Some(SetActive::To(Active::True))
    } else if value == atoms::false_().as_c_arg() {
        Some(SetActive::To(Active::False))
    } else if value == atoms::once().as_c_arg() {
        Some(SetActive::To(Active::Once))
    } else {
        let mut n = 0;
        // SAFETY: `n` is written when the result is not 0.
        let found = unsafe { enif_get_int(b.env, value, &mut n) } != 0;
        let range = i32::from(i16::MIN)..=i32::from(i16::MAX);
        (found && range.contains(&n)).then_some(SetActive::Add(n))
    }
}

/// The bytes of an io list that has no more than so many.
fn short(b: Builder<'_>, term: ErlNifTerm, most: usize) -> Option<&[u8]> {
    let bytes = match b.bytes(term) {
        Some(bytes) => bytes,
        None if iolist_exceeds(b, term, most) => return None,
        None => flatten(b, term)?,
    };
    (bytes.len() <= most).then_some(bytes)
}

/// Whether walking this much of an io list does not reach its end.
pub(crate) fn iolist_exceeds(b: Builder<'_>, term: ErlNifTerm, limit: usize) -> bool {
    // A byte of a list is two steps: its cell, and itself.
    let most = limit.saturating_mul(2).saturating_add(64).min(16 * 1024);
    let mut open = vec![term];
    let (mut size, mut steps) = (0usize, 0usize);
    while let Some(next) = open.pop() {
        steps += 1;
        if size > limit || steps > most {
            return true;
        }
        if let Some(bytes) = b.bytes(next) {
            size += bytes.len();
        } else if let Some((head, tail)) = b.cell(next) {
            open.push(tail);
            open.push(head);
        } else if !b.is_nil(next) {
            size += 1;
        }
    }
    size > limit
}

/// The bytes of an io list. They live as long as the environment.
pub(crate) fn flatten(b: Builder<'_>, term: ErlNifTerm) -> Option<&[u8]> {
    let mut binary = std::mem::MaybeUninit::<ErlNifBinary>::uninit();
    // SAFETY: set when the result is not 0; the data lives until the call ends, and with it the
    // environment.
    unsafe {
        if enif_inspect_iolist_as_binary(b.env, term, binary.as_mut_ptr()) == 0 {
            return None;
        }
        let binary = binary.assume_init();
        if binary.size == 0 {
            return Some(&[]);
        }
        Some(std::slice::from_raw_parts(binary.data, binary.size))
    }
}
