//! The header `Sec-WebSocket-Extensions`, both sides.
//!
//! An offer that is malformed, or asks for what is not there, is passed over, and the next one looked at: that is how a
//! client gives a choice. An answer that is malformed, or tells what was not asked, ends the connection.

use super::params::{MAX_BITS, MIN_BITS, Params, Policy};
use crate::handshake::head::is_token;

const NAME: &str = "permessage-deflate";
const SERVER_FRESH: &str = "server_no_context_takeover";
const CLIENT_FRESH: &str = "client_no_context_takeover";
const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_BITS: &str = "client_max_window_bits";

/// The parameters of an offer or an answer, as they stand there.
#[derive(Default)]
struct RawParams {
    server_fresh: bool,
    client_fresh: bool,
    server_bits: Option<u8>,
    /// The inner one is its value: an offer may have none.
    client_bits: Option<Option<u8>>,
}

/// Answers the values of a request's `Sec-WebSocket-Extensions`: takes the first offer that it can keep to. Gives what is
/// agreed on and the value of the header for the answer; `None`: go on without compression.
///
/// An offer to keep within a window of 8 bits is passed over: the library cannot.
pub fn accept<'a>(
    offers: impl IntoIterator<Item = &'a [u8]>,
    policy: &Policy,
) -> Option<(Params, String)> {
    let mut offers = offers.into_iter().flat_map(|value| split(value, b','));
    offers.find_map(|offer| take(&RawParams::parse(offer)?, policy))
}

fn take(offer: &RawParams, policy: &Policy) -> Option<(Params, String)> {
    let server_bits = policy
        .server_max_window_bits
        .min(offer.server_bits.unwrap_or(MAX_BITS));
    if server_bits < MIN_BITS {
        return None;
    }
    // Who did not offer it must not be told a window.
    let client_bits = match offer.client_bits {
        Some(most) => policy.client_max_window_bits.min(most.unwrap_or(MAX_BITS)),
        None => MAX_BITS,
    };
    let bounded = client_bits <= policy.client_max_window_bits;
    let params = Params {
        server_takeover: policy.server_takeover && !offer.server_fresh,
        // A window larger than is wanted is at least not kept.
        client_takeover: policy.client_takeover && !offer.client_fresh && bounded,
        server_max_window_bits: server_bits,
        client_max_window_bits: client_bits,
    };
    let mut answer = String::from(NAME);
    if !params.server_takeover {
        push(&mut answer, SERVER_FRESH, None);
    }
    if !params.client_takeover {
        push(&mut answer, CLIENT_FRESH, None);
    }
    if offer.server_bits.is_some() || server_bits < MAX_BITS {
        push(&mut answer, SERVER_BITS, Some(server_bits));
    }
    if client_bits < MAX_BITS {
        push(&mut answer, CLIENT_BITS, Some(client_bits));
    }
    Some((params, answer))
}

/// The value of the header for a client's request: one offer.
pub fn offer(policy: &Policy) -> String {
    let mut offer = String::from(NAME);
    if !policy.server_takeover {
        push(&mut offer, SERVER_FRESH, None);
    }
    if !policy.client_takeover {
        push(&mut offer, CLIENT_FRESH, None);
    }
    if policy.server_max_window_bits < MAX_BITS {
        push(&mut offer, SERVER_BITS, Some(policy.server_max_window_bits));
    }
    let bits = policy.client_max_window_bits;
    push(&mut offer, CLIENT_BITS, (bits < MAX_BITS).then_some(bits));
    offer
}

/// What a server agreed to that was sent [`offer`], from the values of its `Sec-WebSocket-Extensions`; `None`: no
/// compression. An answer that does not fit the offer is an error, and the connection must fail.
pub fn verify<'a>(
    answers: impl IntoIterator<Item = &'a [u8]>,
    policy: &Policy,
) -> Result<Option<Params>, &'static str> {
    let mut answers = answers.into_iter().flat_map(|value| split(value, b','));
    let Some(answer) = answers.find(|answer| !answer.trim_ascii().is_empty()) else {
        return Ok(None);
    };
    if answers.any(|answer| !answer.trim_ascii().is_empty()) {
        return Err("an extension that was not offered");
    }
    if !name_of(answer).eq_ignore_ascii_case(NAME.as_bytes()) {
        return Err("an extension that was not offered");
    }
    let answer = RawParams::parse(answer).ok_or("malformed parameters of permessage-deflate")?;
    let client_bits = match answer.client_bits {
        None => policy.client_max_window_bits,
        Some(Some(bits)) if bits <= policy.client_max_window_bits => bits,
        Some(_) => return Err("client_max_window_bits out of the offered range"),
    };
    let server_bits = match answer.server_bits {
        Some(bits) if bits <= policy.server_max_window_bits => bits,
        None if policy.server_max_window_bits == MAX_BITS => MAX_BITS,
        _ => return Err("server_max_window_bits out of the offered range"),
    };
    if !policy.server_takeover && !answer.server_fresh {
        return Err("server_no_context_takeover was asked for");
    }
    Ok(Some(Params {
        server_takeover: policy.server_takeover && !answer.server_fresh,
        client_takeover: policy.client_takeover && !answer.client_fresh,
        server_max_window_bits: server_bits,
        client_max_window_bits: client_bits,
    }))
}

fn push(out: &mut String, name: &str, value: Option<u8>) {
    out.push_str("; ");
    out.push_str(name);
    if let Some(value) = value {
        out.push('=');
        out.push_str(&value.to_string());
    }
}

impl RawParams {
    /// Reads one element of the list: `None` if it is not this extension, or not well-formed.
    fn parse(element: &[u8]) -> Option<RawParams> {
        let mut parts = split(element, b';').map(<[u8]>::trim_ascii);
        if !parts.next()?.eq_ignore_ascii_case(NAME.as_bytes()) {
            return None;
        }
        let mut stated = RawParams::default();
        for part in parts {
            let (name, value) = match part.iter().position(|&byte| byte == b'=') {
                Some(at) => (
                    part.get(..at)?.trim_ascii_end(),
                    Some(part.get(at + 1..)?.trim_ascii_start()),
                ),
                None => (part, None),
            };
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            // The second of a kind makes the whole invalid.
            let first = if is(SERVER_FRESH) && value.is_none() {
                !std::mem::replace(&mut stated.server_fresh, true)
            } else if is(CLIENT_FRESH) && value.is_none() {
                !std::mem::replace(&mut stated.client_fresh, true)
            } else if is(SERVER_BITS) {
                stated.server_bits.replace(bits(value?)?).is_none()
            } else if is(CLIENT_BITS) {
                let value = match value {
                    Some(value) => Some(bits(value)?),
                    None => None,
                };
                stated.client_bits.replace(value).is_none()
            } else {
                false
            };
            if !first {
                return None;
            }
        }
        Some(stated)
    }
}

/// A window size: 8 to 15, without a leading zero, as a token or in quotes.
fn bits(value: &[u8]) -> Option<u8> {
    let mut digits = Vec::with_capacity(2);
    if let Some(quoted) = value.strip_prefix(b"\"") {
        let mut quoted = quoted.strip_suffix(b"\"")?.iter();
        while let Some(&byte) = quoted.next() {
            digits.push(if byte == b'\\' { *quoted.next()? } else { byte });
        }
    } else {
        digits.extend_from_slice(value);
    }
    // A quoted value must be a token too, once it is unquoted.
    if !is_token(&digits) {
        return None;
    }
    match digits.as_slice() {
        b"8" => Some(8),
        b"9" => Some(9),
        [b'1', units @ b'0'..=b'5'] => Some(10 + (units - b'0')),
        _ => None,
    }
}

fn name_of(element: &[u8]) -> &[u8] {
    split(element, b';').next().unwrap_or_default().trim_ascii()
}

/// Splits where the separator is not within quotes.
fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    value.split(move |&byte| {
        if escaped {
            escaped = false;
        } else if quoted && byte == b'\\' {
            escaped = true;
        } else if byte == b'"' {
            quoted = !quoted;
        }
        byte == separator && !quoted && !escaped
    })
}
