//! Precompressed forms beside a file, and the choice between them (RFC 9110, 12.5.3).

use std::cmp::Reverse;

/// A compressed form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    /// As headers have it.
    pub(super) name: &'static str,
    /// What follows the name of the file.
    pub(super) ending: &'static str,
}

/// The smallest first, as a rule.
const ENCODINGS: [Encoding; 3] = [
    Encoding {
        name: "br",
        ending: ".br",
    },
    Encoding {
        name: "zstd",
        ending: ".zst",
    },
    Encoding {
        name: "gzip",
        ending: ".gz",
    },
];

/// Thousandths of a quality.
type Quality = u16;

/// Those that the client takes rather than the file itself, in the order in which it wants them. This is the value of
/// `Accept-Encoding`, all lines of it.
pub(super) fn wanted(accepted: &[u8]) -> Vec<Encoding> {
    let itself = quality(accepted, &["identity"]).unwrap_or(0);
    let others = quality(accepted, &["*"]).unwrap_or(0);
    let known = ENCODINGS.iter().filter_map(|encoding| {
        let names: &[&str] = match encoding.name {
            "gzip" => &["gzip", "x-gzip"],
            _ => &[encoding.name],
        };
        let quality = quality(accepted, names).unwrap_or(others);
        (quality > 0 && quality >= itself).then_some((quality, *encoding))
    });
    let mut known: Vec<_> = known.collect();
    known.sort_by_key(|(quality, _)| Reverse(*quality));
    known.into_iter().map(|(_, encoding)| encoding).collect()
}

/// What a list says of something that has these names. The first word counts.
fn quality(accepted: &[u8], names: &[&str]) -> Option<Quality> {
    accepted.split(|&byte| byte == b',').find_map(|element| {
        let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next()?;
        let is_meant = names
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        is_meant.then(|| match parts.next() {
            None => Some(1000),
            Some(weight) if parts.next().is_none() => thousandths(weight),
            Some(_) => None,
        })?
    })
}

/// `q=` and a number from 0 to 1 with at most three digits behind the point.
fn thousandths(weight: &[u8]) -> Option<Quality> {
    let (b'q' | b'Q', number) = weight.split_first()? else {
        return None;
    };
    let number = number.trim_ascii_start().strip_prefix(b"=")?;
    let (whole, digits) = number.trim_ascii_start().split_first()?;
    let digits = match digits {
        [] => digits,
        _ => digits.strip_prefix(b".")?,
    };
    if digits.len() > 3 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let places = [100, 10, 1].into_iter().zip(digits);
    let part: Quality = places
        .map(|(place, &digit)| place * Quality::from(digit - b'0'))
        .sum();
    match whole {
        b'0' => Some(part),
        b'1' if part == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(accepted: &str) -> String {
        let names = wanted(accepted.as_bytes()).into_iter().map(|e| e.name);
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_client_decides_then_the_size() {
        for (accepted, found) in [
            ("", ""),
            ("gzip, deflate, br, zstd", "br zstd gzip"),
            ("gzip, deflate", "gzip"),
            ("X-GZIP", "gzip"),
            ("br;q=0.5, gzip;q=0.9", "gzip br"),
            ("br;q=0.500,gzip ; q = 0.501", "gzip br"),
            ("*", "br zstd gzip"),
            ("*;q=0.1, gzip", "gzip br zstd"),
            ("*, br;q=0", "zstd gzip"),
            ("*;q=0", ""),
            ("*;q=0, gzip;q=0.001", "gzip"),
            ("identity", ""),
            ("identity, gzip", "gzip"),
            ("identity, gzip;q=0.999", ""),
            ("identity;q=0.5, gzip;q=0.5, br;q=0.4", "gzip"),
            ("identity;q=0, *", "br zstd gzip"),
            ("identity;q=0", ""),
            ("gzip;q=0", ""),
            ("gzip;q=0.", ""),
            ("gzip;q=1.", "gzip"),
            ("gzip;q=1.000", "gzip"),
            ("gzip;q=1.001", ""),
            ("gzip;q=0.0001", ""),
            ("gzip;q=2", ""),
            ("gzip;q=-1", ""),
            ("gzip;q=", ""),
            ("gzip;q", ""),
            ("gzip;", ""),
            ("gzip;x=1", ""),
            ("gzip;q=1;x", ""),
            ("gzipped", ""),
            ("br gzip", ""),
            (",,gzip,", "gzip"),
            ("gzip;q=0, gzip", ""),
        ] {
            assert_eq!(names(accepted), found, "{accepted}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(accepted in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(wanted(&accepted).len() <= ENCODINGS.len());
        }

        #[test]
        fn refused_encodings_are_not_sent(rest in "(br|gzip|zstd|\\*|identity|;q=0|;q=0\\.5|,| ){0,12}") {
            let accepted = format!("br;q=0,{rest}");
            prop_assert!(!names(&accepted).contains("br"));
        }
    }
}
