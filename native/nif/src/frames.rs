//! Frames out of terms.

use rustler::sys::{ErlNifBinary, ErlNifTerm, enif_get_int, enif_inspect_iolist_as_binary};
use sockeye_engine::Active;
use sockeye_engine::active::SetActive;
use sockeye_engine::streams::Step;
use sockeye_protocol::frame::{self, Op};
use sockeye_protocol::{Kind, Role, close};

use crate::atoms;
use crate::encode::{self, Call, EncodeError};
use crate::outbound::Dialect;
use crate::terms::Builder;

/// A payload beyond this size is no work for a normal scheduler.
pub(crate) const NORMAL_PAYLOAD: usize = 256 * 1024;
/// JSON text beyond this size is no work for a normal scheduler: it is made, not copied.
pub(crate) const NORMAL_JSON: usize = 64 * 1024;
/// A payload beyond this size is not compressed on a normal scheduler: level 9 takes 0.3 ms for it.
pub(crate) const NORMAL_DEFLATE: usize = 16 * 1024;
/// The payload of a control frame.
const CONTROL: usize = 125;
/// The reason in a close frame.
const REASON: usize = 123;

/// What a frame term asks for, besides bytes.
pub(crate) enum Asked {
    /// A frame has been appended.
    Frame,
    /// A frame that is not to be compressed has been appended.
    Plain,
    Close(u16, Box<str>),
    Active(SetActive),
    /// A piece of a message, whose payload is in this term. Nothing has been appended.
    Stream(Kind, Step, ErlNifTerm),
}

/// Why a frame term was not taken. Nothing has been appended.
pub(crate) enum Refused {
    /// Not a frame at all.
    BadArg,
    NotJson(ErlNifTerm),
    NotUtf8,
    /// Too much work for a normal scheduler.
    Dirty,
}

/// What bounds the work of one call.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    call: Call,
    pub(crate) json: usize,
    pub(crate) payload: usize,
    /// Of what is compressed.
    pub(crate) deflate: usize,
}

impl Bounds {
    /// On a normal scheduler.
    pub(crate) fn normal() -> Bounds {
        Bounds {
            call: Call::new(),
            json: NORMAL_JSON,
            payload: NORMAL_PAYLOAD,
            deflate: NORMAL_DEFLATE,
        }
    }
    /// On a dirty one.
    pub(crate) fn dirty() -> Bounds {
        Bounds {
            call: Call::new(),
            json: usize::MAX,
            payload: usize::MAX,
            deflate: usize::MAX,
        }
    }

    /// Whether the call is on a normal scheduler.
    pub(crate) fn are_normal(self) -> bool {
        self.json != usize::MAX
    }
}

/// Appends the frame that a term describes, or says what else it asks for.
pub(crate) fn append(
    b: Builder,
    term: ErlNifTerm,
    dialect: Dialect,
    bounds: Bounds,
    out: &mut Vec<u8>,
) -> Result<Asked, Refused> {
    append_in(b, term, dialect, bounds, false, out)
}

/// The same. What stands in `plain` is never another `plain`: however deep a term goes, the
/// native stack does not.
fn append_in(
    b: Builder,
    term: ErlNifTerm,
    dialect: Dialect,
    bounds: Bounds,
    in_plain: bool,
    out: &mut Vec<u8>,
) -> Result<Asked, Refused> {
    if b.is_map(term) {
        return json(b, term, dialect, bounds, out);
    }
    match b.elements(term).ok_or(Refused::BadArg)? {
        [tag, value] => {
            let tag = *tag;
            if tag == atoms::json().as_c_arg() {
                json(b, *value, dialect, bounds, out)
            } else if tag == atoms::text().as_c_arg() {
                payload(b, *value, Op::Text, dialect.role, bounds.payload, out)
            } else if tag == atoms::binary().as_c_arg() {
                payload(b, *value, Op::Binary, dialect.role, bounds.payload, out)
            } else if tag == atoms::ping().as_c_arg() {
                payload(b, *value, Op::Ping, dialect.role, CONTROL, out)
            } else if tag == atoms::pong().as_c_arg() {
                payload(b, *value, Op::Pong, dialect.role, CONTROL, out)
            } else if tag == atoms::active().as_c_arg() {
                Ok(Asked::Active(set_active(b, *value).ok_or(Refused::BadArg)?))
            } else if tag == atoms::plain().as_c_arg() && !in_plain {
                let start = out.len();
                let asked = append_in(b, *value, dialect, bounds, true, out)?;
                // A control frame is never compressed anyhow.
                let control = out.get(start).is_none_or(|first| first & 0x08 != 0);
                if control || !matches!(asked, Asked::Frame) {
                    out.truncate(start);
                    return Err(Refused::BadArg);
                }
                Ok(Asked::Plain)
            } else {
                Err(Refused::BadArg)
            }
        }
        [tag, code, reason] if *tag == atoms::close().as_c_arg() => {
            closing(b, *code, *reason).ok_or(Refused::BadArg)
        }
        [tag, kind, step, value] if *tag == atoms::stream().as_c_arg() => {
            let kind = if *kind == atoms::text().as_c_arg() {
                Kind::Text
            } else if *kind == atoms::binary().as_c_arg() {
                Kind::Binary
            } else {
                return Err(Refused::BadArg);
            };
            let step = if *step == atoms::first().as_c_arg() {
                Step::First
            } else if *step == atoms::more().as_c_arg() {
                Step::More
            } else if *step == atoms::last().as_c_arg() {
                Step::Last
            } else {
                return Err(Refused::BadArg);
            };
            Ok(Asked::Stream(kind, step, *value))
        }
        _ => Err(Refused::BadArg),
    }
}

fn json(
    b: Builder,
    term: ErlNifTerm,
    dialect: Dialect,
    bounds: Bounds,
    out: &mut Vec<u8>,
) -> Result<Asked, Refused> {
    let mask = dialect.role.mask();
    let mark = frame::begin_sized(out, 0, mask.is_some());
    match encode::encode(b.env, bounds.call, term, dialect.null, bounds.json, out) {
        Ok(()) => {
            frame::seal(out, mark, Op::Text, mask);
            Ok(Asked::Frame)
        }
        Err(e) => {
            out.truncate(mark.start());
            Err(match e {
                EncodeError::NotJson(part) => Refused::NotJson(part),
                EncodeError::TooLarge => Refused::Dirty,
            })
        }
    }
}

fn payload(
    b: Builder,
    term: ErlNifTerm,
    op: Op,
    role: Role,
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<Asked, Refused> {
    let bytes = bytes(b, term, limit)?;
    if op == Op::Text && std::str::from_utf8(bytes).is_err() {
        return Err(Refused::NotUtf8);
    }
    frame::write(out, op, bytes, role.mask());
    Ok(Asked::Frame)
}

/// Appends a piece of a message.
pub(crate) fn append_piece(kind: Kind, step: Step, bytes: &[u8], role: Role, out: &mut Vec<u8>) {
    let op = match step {
        Step::First => kind.op(),
        Step::More | Step::Last => Op::Continuation,
    };
    let last = step == Step::Last;
    frame::write_fragment(out, op, last, bytes, role.mask());
}

/// The bytes of an io list, not more than the limit. They live as long as the environment.
pub(crate) fn bytes<'e>(
    b: Builder<'e>,
    term: ErlNifTerm,
    limit: usize,
) -> Result<&'e [u8], Refused> {
    let bytes = match b.bytes(term) {
        Some(bytes) => bytes,
        None => {
            // Flattening takes time that the limit must bound before it starts.
            if limit != usize::MAX && iolist_exceeds(b, term, limit) {
                let control = limit == CONTROL;
                return Err(if control {
                    Refused::BadArg
                } else {
                    Refused::Dirty
                });
            }
            flatten(b, term).ok_or(Refused::BadArg)?
        }
    };
    if bytes.len() > limit {
        return Err(if limit == CONTROL {
            Refused::BadArg
        } else {
            Refused::Dirty
        });
    }
    Ok(bytes)
}

/// Whether walking this much of an io list does not reach its end.
pub(crate) fn iolist_exceeds(b: Builder, term: ErlNifTerm, limit: usize) -> bool {
    let mut open = vec![term];
    let (mut size, mut steps) = (0usize, 0usize);
    while let Some(next) = open.pop() {
        steps += 1;
        if size > limit || steps > limit.min(16 * 1024) {
            return true;
        }
        if let Some(bytes) = b.bytes(next) {
            size += bytes.len();
        } else if let Some((head, tail)) = b.cell(next) {
            open.push(tail);
            open.push(head);
        } else {
            size += 1;
        }
    }
    size > limit
}

/// The bytes of an io list. They live as long as the environment.
pub(crate) fn flatten<'e>(b: Builder<'e>, term: ErlNifTerm) -> Option<&'e [u8]> {
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

/// The code and reason of a close frame.
pub(crate) fn closing(b: Builder, code: ErlNifTerm, reason: ErlNifTerm) -> Option<Asked> {
    let code = u16::try_from(b.as_u64(code)?).ok()?;
    let reason = match b.bytes(reason) {
        Some(bytes) => bytes,
        None if iolist_exceeds(b, reason, REASON) => return None,
        None => flatten(b, reason)?,
    };
    let reason = std::str::from_utf8(reason).ok()?;
    let valid = close::is_sendable(code) && reason.len() <= REASON;
    valid.then(|| Asked::Close(code, reason.into()))
}

/// The value of an `active` option.
pub(crate) fn set_active(b: Builder, value: ErlNifTerm) -> Option<SetActive> {
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
