//! The content of messages and bodies. It follows from their numbers, so that one cannot be taken for another.
//!
//! A message is `client number replies size padding`: it asks for so many replies of that size. A reply is `client number padding`, a publication
//! `topic number publisher padding`.

/// A word of a message as a number; a large one if it is none.
pub(crate) fn word(text: &[u8], at: usize) -> usize {
    let text = String::from_utf8_lossy(text);
    let word = text.split(' ').nth(at);
    word.and_then(|word| word.parse().ok())
        .unwrap_or(usize::MAX >> 1)
}

/// Text that compresses badly.
pub(crate) fn incompressible(number: u64, len: usize) -> impl Iterator<Item = char> {
    const SIGNS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWYZ0123456";
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        SIGNS[(state >> 59) as usize].into()
    })
    .take(len)
}

/// Whether the padding of a message, behind four words, is what its client has written.
pub(crate) fn is_whole(text: &[u8], number: u64) -> bool {
    let mut words = text.splitn(5, |byte| *byte == b' ');
    let Some(rest) = words.nth(4) else {
        return true;
    };
    match rest.first() {
        Some(b'x') => rest.iter().all(|byte| *byte == b'x'),
        _ => incompressible(number, rest.len()).eq(rest.iter().map(|byte| char::from(*byte))),
    }
}

/// A body of this number.
pub(crate) fn body(number: u64, len: usize) -> Vec<u8> {
    incompressible(number, len).map(|sign| sign as u8).collect()
}

/// A number that stands beside the text in JSON messages of clients.
pub(crate) const BESIDE: f64 = -1.5;

/// A message of a client as JSON.
pub(crate) fn as_json(text: &str) -> String {
    format!(r#"{{"l":[null,true,{BESIDE},"\u00e9"],"t":"{text}"}}"#)
}

/// The text of a reply, which may be JSON.
pub(crate) fn without_json(text: &[u8]) -> &[u8] {
    let rest = text.strip_prefix(br#"{"t":""#);
    let rest = rest.and_then(|rest| rest.strip_suffix(br#""}"#));
    rest.unwrap_or(text)
}
