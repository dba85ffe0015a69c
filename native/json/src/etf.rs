//! The bytes of the external term format that JSON needs.

use crate::bigint;

pub(crate) const VERSION: u8 = 131;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const FLOAT: u8 = 70;
const NIL: u8 = 106;
const LIST: u8 = 108;
const BINARY: u8 = 109;
const SMALL_BIG: u8 = 110;
const LARGE_BIG: u8 = 111;
const MAP: u8 = 116;
const ATOM: u8 = 118;
const SMALL_ATOM: u8 = 119;

/// Where the count of a list or map is to be written once it is known.
#[derive(Clone, Copy)]
pub(crate) struct Header(usize);

fn tagged(tag: u8, n: u32) -> [u8; 5] {
    let [a, b, c, d] = n.to_be_bytes();
    [tag, a, b, c, d]
}

fn set_count(out: &mut [u8], header: Header, n: u32) {
    if let Some(count) = out.get_mut(header.0 + 1..header.0 + 5) {
        count.copy_from_slice(&n.to_be_bytes());
    }
}

pub(crate) fn open_list(out: &mut Vec<u8>) -> Header {
    let header = Header(out.len());
    out.extend_from_slice(&tagged(LIST, 0));
    header
}

pub(crate) fn close_list(out: &mut Vec<u8>, header: Header, n: u32) {
    if n == 0 {
        out.truncate(header.0);
    } else {
        set_count(out, header, n);
    }
    out.push(NIL);
}

pub(crate) fn open_map(out: &mut Vec<u8>) -> Header {
    let header = Header(out.len());
    out.extend_from_slice(&tagged(MAP, 0));
    header
}

pub(crate) fn close_map(out: &mut [u8], header: Header, n: u32) {
    set_count(out, header, n);
}

/// `bytes` comes from a text below 4 GiB, so its length fits.
#[inline]
pub(crate) fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(5 + bytes.len());
    out.extend_from_slice(&tagged(BINARY, bytes.len() as u32));
    out.extend_from_slice(bytes);
}

/// `name` has at most 255 characters, so at most 1,020 bytes.
pub(crate) fn atom(out: &mut Vec<u8>, name: &str) {
    if let Ok(len) = u8::try_from(name.len()) {
        out.extend_from_slice(&[SMALL_ATOM, len]);
    } else {
        let [hi, lo] = (name.len() as u16).to_be_bytes();
        out.extend_from_slice(&[ATOM, hi, lo]);
    }
    out.extend_from_slice(name.as_bytes());
}

#[inline]
pub(crate) fn unsigned(out: &mut Vec<u8>, n: u64) {
    if let Ok(n) = u8::try_from(n) {
        out.extend_from_slice(&[SMALL_INTEGER, n]);
    } else if let Ok(n) = i32::try_from(n) {
        out.extend_from_slice(&tagged(INTEGER, n as u32));
    } else {
        big(out, false, &n.to_le_bytes());
    }
}

#[inline]
pub(crate) fn negative(out: &mut Vec<u8>, n: i64) {
    if let Ok(n) = i32::try_from(n) {
        out.extend_from_slice(&tagged(INTEGER, n as u32));
    } else {
        big(out, true, &n.unsigned_abs().to_le_bytes());
    }
}

#[inline]
pub(crate) fn float(out: &mut Vec<u8>, v: f64) {
    let [a, b, c, d, e, f, g, h] = v.to_be_bytes();
    out.extend_from_slice(&[FLOAT, a, b, c, d, e, f, g, h]);
}

/// Appends an integer given by its decimal digits (no sign, no leading zeros), in external term
/// format with its version byte.
pub fn decimal_etf(out: &mut Vec<u8>, negative: bool, digits: &[u8]) {
    out.push(VERSION);
    decimal(out, negative, digits);
}

/// An integer from its decimal digits (checked to be digits, no leading zeros).
pub(crate) fn decimal(out: &mut Vec<u8>, negative: bool, digits: &[u8]) {
    big(out, negative, &bigint::from_decimal(digits));
}

fn big(out: &mut Vec<u8>, negative: bool, magnitude: &[u8]) {
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
