//! The first packet each way: the secret, and the version of both sides.

use sockeye_etf::{Cursor, Token};
use sockeye_seam::{Atom, Writer};

use crate::link::term;

/// The number of the protocol.
pub(crate) const PROTOCOL: i64 = 1;
/// The version of all of it.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Bytes of a first packet.
pub const LONGEST: usize = 1024;

/// What the VM's first packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// It is ours.
    Welcome,
    /// It does not know the secret, or says nothing that makes sense.
    Stranger,
    /// It is ours, and speaks another protocol.
    Protocol,
    /// It is ours, and of another version.
    Version,
}

/// Reads `{sockeye_hello, Protocol, Version, Secret}`.
pub fn read(packet: &[u8], secret: &[u8]) -> Hello {
    let parts = || {
        let mut cursor = Cursor::of_term(packet)?;
        let head = [cursor.token()?, cursor.token()?];
        let parts = [cursor.token()?, cursor.token()?, cursor.token()?];
        Ok::<_, sockeye_etf::Malformed>((head, parts))
    };
    let Ok(([Token::Tuple(4), Token::Atom(tag)], [protocol, version, Token::Binary(said)])) =
        parts()
    else {
        return Hello::Stranger;
    };
    if !tag.is(Atom::sockeye_hello.name()) || !are_equal(said, secret) {
        return Hello::Stranger;
    }
    if protocol != Token::Integer(PROTOCOL) {
        return Hello::Protocol;
    }
    match version {
        Token::Binary(version) if version == VERSION.as_bytes() => Hello::Welcome,
        _ => Hello::Version,
    }
}

/// Takes as long wherever the first difference is.
fn are_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (x, y)| all | (x ^ y)) == 0
}

/// The packet that answers it. So many descriptors may be open here.
pub fn answer(hello: Hello, descriptors: u64) -> Vec<u8> {
    let mut out = vec![0; 4];
    term(&mut out, |w| {
        let refused = |w: &mut sockeye_seam::Etf<'_>| {
            w.tuple(2);
            w.atom(Atom::sockeye_refused);
        };
        match hello {
            Hello::Welcome => {
                w.tuple(4);
                w.atom(Atom::sockeye_hello);
                w.integer(PROTOCOL as u64);
                w.binary(VERSION.as_bytes());
                w.map(2);
                w.atom(Atom::os_pid);
                w.integer(std::process::id().into());
                w.atom(Atom::max_descriptor);
                w.integer(descriptors);
            }
            Hello::Stranger => {
                refused(w);
                w.atom(Atom::secret);
            }
            Hello::Protocol => {
                refused(w);
                w.tuple(2);
                w.atom(Atom::protocol);
                w.integer(PROTOCOL as u64);
            }
            Hello::Version => {
                refused(w);
                w.tuple(2);
                w.atom(Atom::version);
                w.binary(VERSION.as_bytes());
            }
        }
    });
    let len = (out.len() - 4) as u32;
    if let Some(place) = out.get_mut(..4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(tag: Atom, protocol: u64, version: &str, secret: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        term(&mut out, |w| {
            w.tuple(4);
            w.atom(tag);
            w.integer(protocol);
            w.binary(version.as_bytes());
            w.binary(secret);
        });
        out
    }

    #[test]
    fn only_who_knows_all_of_the_secret_is_told_anything() {
        let secret = b"0123";
        let ours = said(Atom::sockeye_hello, 1, VERSION, secret);
        assert_eq!(read(&ours, secret), Hello::Welcome);
        let newer = said(Atom::sockeye_hello, 2, VERSION, secret);
        assert_eq!(read(&newer, secret), Hello::Protocol);
        let other = said(Atom::sockeye_hello, 1, "0.0.0", secret);
        assert_eq!(read(&other, secret), Hello::Version);
        for secret in [&b"0124"[..], b"012", b"01234", b""] {
            assert_eq!(read(&newer, secret), Hello::Stranger);
        }
        let no_hello = said(Atom::sockeye_refused, 1, VERSION, secret);
        assert_eq!(read(&no_hello, secret), Hello::Stranger);
        for len in 0..ours.len() {
            assert_eq!(read(&ours[..len], secret), Hello::Stranger);
        }
    }
}
