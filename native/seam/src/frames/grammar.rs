//! The grammar of terms that stand for frames, for connections of the engine and for codecs.
//!
//! ```text
//! Frame    :: Message | {uncompressed, Message} | {ping | pong, iodata()} | {close, Code, Reason}
//!           | {stream, text | binary, first | more | last, iodata()} | {active, Change}
//! Message  :: map() | {json, term()} | {text | binary, iodata()}
//! ```

use std::borrow::Cow;

use sockeye_engine::Active;
use sockeye_engine::active::SetActive;
use sockeye_engine::pieces::Piece;
use sockeye_protocol::frame::Opcode;
use sockeye_protocol::{Kind, close};

use crate::atoms::Atom;
use crate::read::Reader;

/// The payload of a control frame.
const CONTROL: usize = 125;
/// The reason in a close frame.
const REASON: usize = 123;

/// A frame, or a command that may stand among frames. Terms in it have not been looked at.
pub enum FrameTerm<'a, T> {
    /// A message.
    Message {
        /// What it says.
        content: MessageTerm<T>,
        /// It is not to be compressed.
        plain: bool,
    },
    /// A ping or a pong.
    Control(Opcode, Cow<'a, [u8]>),
    /// A piece of a message.
    Piece(Kind, Piece, T),
    /// To close.
    Close(u16, Box<str>),
    /// To change the credits.
    Active(SetActive),
}

/// What a message is made of.
pub enum MessageTerm<T> {
    /// A term that is to be JSON.
    Json(T),
    /// An io list.
    Bytes(Kind, T),
}

/// Reads a term. None if it is no frame.
pub fn parse<'a, R: Reader<'a>>(r: R, term: R::Term) -> Option<FrameTerm<'a, R::Term>> {
    let Some(parts) = r.parts(term) else {
        let content = r.is_map(term).then_some(MessageTerm::Json(term))?;
        let plain = false;
        return Some(FrameTerm::Message { content, plain });
    };
    match *parts.as_ref() {
        [tag, value] => {
            if let Some(content) = content(r, tag, value) {
                let plain = false;
                Some(FrameTerm::Message { content, plain })
            } else if r.is(tag, Atom::ping) {
                control(r, Opcode::Ping, value)
            } else if r.is(tag, Atom::pong) {
                control(r, Opcode::Pong, value)
            } else if r.is(tag, Atom::active) {
                set_active(r, value).map(FrameTerm::Active)
            } else if r.is(tag, Atom::uncompressed) {
                let content = message(r, value)?;
                let plain = true;
                Some(FrameTerm::Message { content, plain })
            } else {
                None
            }
        }
        [tag, code, reason] if r.is(tag, Atom::close) => closing(r, code, reason),
        [tag, kind, step, value] if r.is(tag, Atom::stream) => {
            let kind = if r.is(kind, Atom::text) {
                Kind::Text
            } else if r.is(kind, Atom::binary) {
                Kind::Binary
            } else {
                return None;
            };
            let step = if r.is(step, Atom::first) {
                Piece::First
            } else if r.is(step, Atom::more) {
                Piece::More
            } else if r.is(step, Atom::last) {
                Piece::Last
            } else {
                return None;
            };
            Some(FrameTerm::Piece(kind, step, value))
        }
        _ => None,
    }
}

fn message<'a, R: Reader<'a>>(r: R, term: R::Term) -> Option<MessageTerm<R::Term>> {
    let Some(parts) = r.parts(term) else {
        return r.is_map(term).then_some(MessageTerm::Json(term));
    };
    match *parts.as_ref() {
        [tag, value] => content(r, tag, value),
        _ => None,
    }
}

#[inline]
fn content<'a, R: Reader<'a>>(r: R, tag: R::Term, value: R::Term) -> Option<MessageTerm<R::Term>> {
    if r.is(tag, Atom::json) {
        Some(MessageTerm::Json(value))
    } else if r.is(tag, Atom::text) {
        Some(MessageTerm::Bytes(Kind::Text, value))
    } else if r.is(tag, Atom::binary) {
        Some(MessageTerm::Bytes(Kind::Binary, value))
    } else {
        None
    }
}

fn control<'a, R: Reader<'a>>(r: R, op: Opcode, term: R::Term) -> Option<FrameTerm<'a, R::Term>> {
    let bytes = r.iolist(term, CONTROL).ok()?;
    Some(FrameTerm::Control(op, bytes))
}

fn closing<'a, R: Reader<'a>>(
    r: R,
    code: R::Term,
    reason: R::Term,
) -> Option<FrameTerm<'a, R::Term>> {
    let code = u16::try_from(r.unsigned(code)?).ok()?;
    let reason = r.iolist(reason, REASON).ok()?;
    let reason = std::str::from_utf8(&reason).ok()?;
    close::is_sendable(code).then(|| FrameTerm::Close(code, reason.into()))
}

/// The value of an `active` option.
pub fn set_active<'a, R: Reader<'a>>(r: R, value: R::Term) -> Option<SetActive> {
    if r.is(value, Atom::true_) {
        Some(SetActive::To(Active::True))
    } else if r.is(value, Atom::false_) {
        Some(SetActive::To(Active::False))
    } else if r.is(value, Atom::once) {
        Some(SetActive::To(Active::Once))
    } else {
        let range = i32::from(i16::MIN)..=i32::from(i16::MAX);
        let n = r.int(value).filter(|n| range.contains(n))?;
        Some(SetActive::Add(n))
    }
}
