//! Erlang's external term format: a writer of pieces that are appended to a buffer, one after the other, and a reader
//! ([`Cursor`]).
//!
//! It knows no VM. The engine in a process of its own speaks to the VM with it.
//!
//! ```
//! let mut out = vec![sockeye_etf::VERSION];
//! sockeye_etf::tuple(&mut out, 2);
//! sockeye_etf::atom(&mut out, "text");
//! sockeye_etf::binary(&mut out, b"hi");
//! assert_eq!(out, b"\x83\x68\x02\x77\x04text\x6d\0\0\0\x02hi");
//! ```

mod read;

pub use read::{AtomName, Cursor, Malformed, Token};

/// The first byte of a term that stands alone.
pub const VERSION: u8 = 131;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const FLOAT: u8 = 70;
const NIL: u8 = 106;
const LIST: u8 = 108;
const BINARY: u8 = 109;
const SMALL_BIG: u8 = 110;
const LARGE_BIG: u8 = 111;
const MAP: u8 = 116;
const SMALL_TUPLE: u8 = 104;
const LARGE_TUPLE: u8 = 105;
const ATOM: u8 = 118;
const SMALL_ATOM: u8 = 119;
const NUMBERED_ATOM: u8 = 73;

/// Where the count of a list or map is to be written once it is known.
#[derive(Clone, Copy, Debug)]
pub struct Header(usize);

fn tagged(tag: u8, n: u32) -> [u8; 5] {
    let [a, b, c, d] = n.to_be_bytes();
    [tag, a, b, c, d]
}

fn set_count(out: &mut [u8], header: Header, n: u32) {
    if let Some(count) = out.get_mut(header.0 + 1..header.0 + 5) {
        count.copy_from_slice(&n.to_be_bytes());
    }
}

/// Begins a list; append its elements, then [`close_list`].
pub fn open_list(out: &mut Vec<u8>) -> Header {
    let header = Header(out.len());
    out.extend_from_slice(&tagged(LIST, 0));
    header
}

/// Ends a list of `n` elements.
pub fn close_list(out: &mut Vec<u8>, header: Header, n: u32) {
    if n == 0 {
        out.truncate(header.0);
    } else {
        set_count(out, header, n);
    }
    out.push(NIL);
}

/// Begins a map; append its keys and values in turn, then [`close_map`].
pub fn open_map(out: &mut Vec<u8>) -> Header {
    let header = Header(out.len());
    out.extend_from_slice(&tagged(MAP, 0));
    header
}

/// Ends a map of `n` pairs, whose keys must differ.
pub fn close_map(out: &mut [u8], header: Header, n: u32) {
    set_count(out, header, n);
}

/// A binary, below 4 GiB.
#[inline]
pub fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(5 + bytes.len());
    out.extend_from_slice(&tagged(BINARY, bytes.len() as u32));
    out.extend_from_slice(bytes);
}

/// An atom of at most 255 characters, so at most 1,020 bytes.
pub fn atom(out: &mut Vec<u8>, name: &str) {
    if let Ok(len) = u8::try_from(name.len()) {
        out.extend_from_slice(&[SMALL_ATOM, len]);
    } else {
        let [hi, lo] = (name.len() as u16).to_be_bytes();
        out.extend_from_slice(&[ATOM, hi, lo]);
    }
    out.extend_from_slice(name.as_bytes());
}

/// An atom by its number in the table of the VM that reads this. No documented form: for a VM that has been asked whether it reads it so.
/// [`Cursor`] does not.
#[inline]
pub fn numbered_atom(out: &mut Vec<u8>, number: u16) {
    let [hi, lo] = number.to_be_bytes();
    out.extend_from_slice(&[NUMBERED_ATOM, hi, lo]);
}

/// A list of `n` elements begins, which follow; then [`nil`]. An empty one is [`nil`] alone.
pub fn list(out: &mut Vec<u8>, n: u32) {
    if n > 0 {
        out.extend_from_slice(&tagged(LIST, n));
    }
}

/// The empty list, which is also the end of every other.
pub fn nil(out: &mut Vec<u8>) {
    out.push(NIL);
}

/// A map of `n` pairs begins: keys and values follow in turn, and the keys must differ.
pub fn map(out: &mut Vec<u8>, n: u32) {
    out.extend_from_slice(&tagged(MAP, n));
}

/// The head of a tuple; its elements follow.
pub fn tuple(out: &mut Vec<u8>, arity: u32) {
    match u8::try_from(arity) {
        Ok(arity) => out.extend_from_slice(&[SMALL_TUPLE, arity]),
        Err(_) => out.extend_from_slice(&tagged(LARGE_TUPLE, arity)),
    }
}

/// An integer that is not negative.
#[inline]
pub fn unsigned(out: &mut Vec<u8>, n: u64) {
    if let Ok(n) = u8::try_from(n) {
        out.extend_from_slice(&[SMALL_INTEGER, n]);
    } else if let Ok(n) = i32::try_from(n) {
        out.extend_from_slice(&tagged(INTEGER, n as u32));
    } else {
        big(out, false, &n.to_le_bytes());
    }
}

/// A negative integer.
#[inline]
pub fn negative(out: &mut Vec<u8>, n: i64) {
    if let Ok(n) = i32::try_from(n) {
        out.extend_from_slice(&tagged(INTEGER, n as u32));
    } else {
        big(out, true, &n.unsigned_abs().to_le_bytes());
    }
}

/// A finite float.
#[inline]
pub fn float(out: &mut Vec<u8>, v: f64) {
    let [a, b, c, d, e, f, g, h] = v.to_be_bytes();
    out.extend_from_slice(&[FLOAT, a, b, c, d, e, f, g, h]);
}

/// An integer of any size: its sign, and its magnitude as little-endian bytes.
///
/// ```
/// let mut out = Vec::new();
/// sockeye_etf::big(&mut out, true, &[0, 1, 0]);
/// assert_eq!(out, [110, 2, 1, 0, 1]);
/// ```
pub fn big(out: &mut Vec<u8>, negative: bool, magnitude: &[u8]) {
    let len = magnitude.iter().rposition(|&b| b != 0).map_or(0, |i| i + 1);
    let magnitude = magnitude.get(..len).unwrap_or_default();
    if len == 0 {
        return out.extend_from_slice(&[SMALL_INTEGER, 0]);
    }
    if let Ok(len) = u8::try_from(len) {
        out.extend_from_slice(&[SMALL_BIG, len]);
    } else {
        out.extend_from_slice(&tagged(LARGE_BIG, len as u32));
    }
    out.push(u8::from(negative));
    out.extend_from_slice(magnitude);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuples_at_the_bound_of_the_small_form() {
        for (arity, head) in [
            (0, &[104, 0][..]),
            (255, &[104, 255]),
            (256, &[105, 0, 0, 1, 0]),
        ] {
            let mut out = Vec::new();
            tuple(&mut out, arity);
            assert_eq!(out, head);
        }
    }

    #[test]
    fn atoms_at_the_bound_of_the_small_form() {
        for (len, head) in [(255, &[119, 255][..]), (256, &[118, 1, 0])] {
            let mut out = Vec::new();
            atom(&mut out, &"a".repeat(len));
            assert_eq!(&out[..head.len()], head);
            assert_eq!(out.len(), head.len() + len);
        }
    }
}
