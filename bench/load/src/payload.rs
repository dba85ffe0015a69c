//! The JSON text that is sent, and the check of what comes back.

use std::str::FromStr;

use serde_json::Value;

use crate::Result;

/// Ids have ten digits always, so that a frame is a template with ten bytes to patch.
pub(crate) const ID_DIGITS: usize = 10;
const FIRST_ID: u64 = 1_000_000_000;
const ID_SPACE: u64 = 9_000_000_000;

/// What fills a message up to its size.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An array of small objects with a string, an integer, a float, a boolean and a null each.
    Records,
    /// One long string.
    String,
}

impl FromStr for Shape {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Shape, ()> {
        match text {
            "records" => Ok(Shape::Records),
            "string" => Ok(Shape::String),
            _ => Err(()),
        }
    }
}

/// A message of a given size; all messages differ in their id only.
pub(crate) struct Payload {
    pub(crate) text: Vec<u8>,
    /// Where the ten digits are.
    pub(crate) id_at: usize,
    /// Ids that each connection has to itself: a reply on the wrong connection is noticed.
    ids_each: u64,
}

impl Payload {
    pub(crate) fn new(shape: Shape, size: usize, connections: usize) -> Result<Payload> {
        let head = format!("{{\"id\":{FIRST_ID},");
        let mut text = head.clone();
        if shape == Shape::Records {
            add_records(&mut text, size);
        }
        text.push_str("\"data\":\"");
        let used = text.len() + 2;
        if used > size {
            return Err(format!("a message needs at least {used} bytes").into());
        }
        text.extend(std::iter::repeat_n('x', size - used));
        text.push_str("\"}");
        Ok(Payload {
            text: text.into_bytes(),
            id_at: "{\"id\":".len(),
            ids_each: ID_SPACE / connections.max(1) as u64,
        })
    }

    /// The id of the `n`th message of connection `conn`.
    pub(crate) fn id(&self, conn: usize, n: u64) -> u64 {
        FIRST_ID + conn as u64 * self.ids_each + n % self.ids_each
    }
}

/// As many records as fit beside the rest of the message: none in 64 bytes, 14 in 1 KB.
fn add_records(text: &mut String, size: usize) {
    const REST: usize = "\"items\":[],\"data\":\"\"}".len();
    let mut items = String::new();
    for n in 0.. {
        let item = format!(
            "{{\"name\":\"item {n}\",\"n\":{},\"price\":{}.25,\"ok\":{},\"tag\":null}}",
            n * 7,
            n + 3,
            n % 2 == 0
        );
        if text.len() + REST + items.len() + item.len() + 1 > size {
            break;
        }
        if n > 0 {
            items.push(',');
        }
        items.push_str(&item);
    }
    if !items.is_empty() {
        text.push_str(&format!("\"items\":[{items}],"));
    }
}

pub(crate) fn digits(id: u64) -> [u8; ID_DIGITS] {
    let mut out = [b'0'; ID_DIGITS];
    let mut rest = id;
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out
}

/// Knows what a server's reply looks like. A server may order the members of an object as it likes,
/// so the first reply is parsed and compared as a value; after that all bytes must be the same.
pub(crate) struct Verifier {
    sent: Value,
    learned: Vec<u8>,
    id_at: usize,
}

impl Verifier {
    pub(crate) fn new(payload: &Payload) -> Result<Verifier> {
        Ok(Verifier {
            sent: serde_json::from_slice(&payload.text)?,
            learned: Vec::new(),
            id_at: 0,
        })
    }

    pub(crate) fn check(&mut self, reply: &[u8], id: u64) -> Result<()> {
        let end = self.id_at + ID_DIGITS;
        if !self.learned.is_empty()
            && reply.len() == self.learned.len()
            && reply[self.id_at..end] == digits(id)
            && reply[..self.id_at] == self.learned[..self.id_at]
            && reply[end..] == self.learned[end..]
        {
            return Ok(());
        }
        self.learn(reply, id)
    }

    #[cold]
    fn learn(&mut self, reply: &[u8], id: u64) -> Result<()> {
        self.sent["id"] = id.into();
        let value: Value = serde_json::from_slice(reply)?;
        if value != self.sent {
            let start = String::from_utf8_lossy(&reply[..reply.len().min(120)]).into_owned();
            return Err(format!("wrong reply to {id}: {} bytes, {start}", reply.len()).into());
        }
        let wanted = digits(id);
        self.id_at = reply
            .windows(ID_DIGITS)
            .position(|w| w == wanted)
            .ok_or("reply without its id")?;
        self.learned = reply.to_vec();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_and_texts_are_json() {
        for shape in [Shape::Records, Shape::String] {
            for size in [32, 64, 100, 1024, 65536] {
                let payload = Payload::new(shape, size, 64).unwrap();
                assert_eq!(payload.text.len(), size);
                let value: Value = serde_json::from_slice(&payload.text).unwrap();
                assert_eq!(value["id"], FIRST_ID);
                assert_eq!(
                    payload.text[payload.id_at..payload.id_at + ID_DIGITS],
                    digits(FIRST_ID)
                );
            }
        }
        assert!(Payload::new(Shape::String, 20, 1).is_err());
    }

    #[test]
    fn a_reply_must_be_the_same_value() {
        let payload = Payload::new(Shape::String, 40, 2).unwrap();
        let mut verifier = Verifier::new(&payload).unwrap();
        let id = payload.id(1, 0);
        let fill = "x".repeat(40 - "{\"id\":1000000000,\"data\":\"\"}".len());
        let text = |id: u64, fill: &str| format!("{{\"data\":\"{fill}\",\"id\":{id}}}");
        for n in 0..3 {
            let reply = text(id + n, &fill);
            assert!(verifier.check(reply.as_bytes(), id + n).is_ok());
        }
        assert!(verifier.check(text(id, &fill).as_bytes(), id + 1).is_err());
        assert!(verifier.check(text(id, "xy").as_bytes(), id).is_err());
        assert!(verifier.check(b"{}", id).is_err());
    }
}
