//! The forms of a path. One resource has many spellings: what is compared has to be brought to one, or a rule for a path is
//! passed with another spelling of it.

use std::borrow::Cow;

/// The form that is shown (RFC 3986, 6.2.2): what need not be encoded is decoded, digits are in upper case. All other
/// characters keep the form in which they came, since they may mean something else when they are encoded. A path that is not
/// well-formed stays as it is.
pub(super) fn normal(path: &str) -> Cow<'_, str> {
    respell(path, |byte, encoded| !encoded || is_unreserved(byte))
}

/// The form by which paths are compared: each character that a name may hold has one spelling, whatever it was sent as.
/// A slash that is encoded separates nothing and stays encoded, as does a star. A path
/// that is not well-formed stays as it is.
///
/// ```
/// use sockeye_protocol::handshake::comparable;
///
/// assert_eq!(comparable("/%61%2bb/%c3%bc%2f\"*"), "/a+b/%C3%BC%2F%22%2A");
/// ```
pub fn comparable(path: &str) -> Cow<'_, str> {
    respell(path, stands_compared)
}

fn stands_compared(byte: u8, encoded: bool) -> bool {
    match byte {
        b'/' | b'%' => !encoded,
        byte => is_unreserved(byte) || b"!$&'()+,;=:@".contains(&byte),
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The same of a pattern, in which a segment of one star stands for others. None for what is no pattern: it begins with a
/// slash, could stand in a request line, has no query, no star within a segment, and no `%` without its digits.
pub fn comparable_pattern(pattern: &str) -> Option<String> {
    let visible = |b: u8| (0x21..=0x7e).contains(&b) && !b"?#".contains(&b);
    if !pattern.starts_with('/') || !pattern.bytes().all(visible) {
        return None;
    }
    let segments = pattern.split('/').map(|segment| match segment {
        "*" => Some(segment.to_owned()),
        segment if segment.contains('*') => None,
        segment => respelled(segment, stands_compared),
    });
    Some(segments.collect::<Option<Vec<_>>>()?.join("/"))
}

/// `stands` says whether a byte stands for itself, which came encoded or not.
fn respell(path: &str, stands: impl Fn(u8, bool) -> bool) -> Cow<'_, str> {
    // Most paths have one spelling.
    if path.bytes().all(|b| b != b'%' && stands(b, false)) {
        return Cow::Borrowed(path);
    }
    // To take something off one that is not well-formed could make a name of it.
    respelled(path, stands).map_or(Cow::Borrowed(path), Cow::Owned)
}

fn respelled(path: &str, stands: impl Fn(u8, bool) -> bool) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(first) = rest.next() {
        let encoded = first == b'%';
        let byte = match encoded {
            true => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            false => first,
        };
        if stands(byte, encoded) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    Some(out)
}

fn digit(hex: u8) -> Option<u8> {
    u8::try_from(char::from(hex).to_digit(16)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_spelling_of_each_character() {
        for (path, shown, compared) in [
            ("/", "/", "/"),
            ("/a/b", "/a/b", "/a/b"),
            ("/nest/%64eep", "/nest/deep", "/nest/deep"),
            ("/%2E%2e/%7e%7E", "/../~~", "/../~~"),
            ("/a%2fb", "/a%2Fb", "/a%2Fb"),
            ("/a%2bb+%3b", "/a%2Bb+%3B", "/a+b+;"),
            ("/%c3%bc", "/%C3%BC", "/%C3%BC"),
            ("/{}%7b%7d", "/{}%7B%7D", "/%7B%7D%7B%7D"),
            ("/*/%2a", "/*/%2A", "/%2A/%2A"),
            // Nothing is decoded twice, and what is no encoding stays.
            ("/%2564eep", "/%2564eep", "/%2564eep"),
            ("/%%364eep", "/%%364eep", "/%%364eep"),
            ("/%61/%zz", "/%61/%zz", "/%61/%zz"),
            ("/%61/%6", "/%61/%6", "/%61/%6"),
            ("/%61/%", "/%61/%", "/%61/%"),
            ("/%+1", "/%+1", "/%+1"),
            ("/%00%0d", "/%00%0D", "/%00%0D"),
        ] {
            assert_eq!(normal(path), shown, "{path}");
            assert_eq!(comparable(path), compared, "{path}");
        }
    }

    #[test]
    fn a_star_stays_where_it_is_a_segment() {
        let form = |pattern| comparable_pattern(pattern);
        assert_eq!(form("/%61/*/%2a").as_deref(), Some("/a/*/%2A"));
        assert_eq!(form("/").as_deref(), Some("/"));
    }

    #[test]
    fn a_pattern_is_well_formed() {
        for broken in ["/%", "/%6", "/%zz", "/a/%6/b", "/%61/%zz", "/*/%", "/%%364"] {
            assert_eq!(comparable_pattern(broken), None, "{broken}");
        }
        for other in [
            "", "a", "*", "/a*", "/*a/b", "/a b", "/a?b", "/a#b", "/\u{fc}", "/a\0",
        ] {
            assert_eq!(comparable_pattern(other), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_without_a_star_is_a_path(path in "/([a-z./]|%61|%2f|%2a|%zz){0,12}") {
            let whole = !path.contains("%zz");
            prop_assert_eq!(comparable_pattern(&path), whole.then(|| comparable(&path).into_owned()));
        }

        /// What came out is its own form: nothing is decoded in two steps.
        #[test]
        fn a_form_is_final(path in "([a-z./*+]|%|%2|%25|%61|%2f|%zz|6|1){0,12}") {
            let once = comparable(&path);
            prop_assert_eq!(&comparable(&once), &once);
            let shown = normal(&path);
            prop_assert_eq!(&normal(&shown), &shown);
            prop_assert_eq!(&comparable(&shown), &once);
        }

        /// However the characters of a name are sent, it is found.
        #[test]
        fn every_spelling_is_compared_alike(name in "[ -~]{0,12}", encoded: u16) {
            let raw = |at: usize, b: u8| encoded >> at & 1 == 0 && !b"%/ ?#".contains(&b);
            let spelled: String = name.bytes().enumerate().map(|(at, b)| match raw(at, b) {
                true => char::from(b).to_string(),
                false => format!("%{b:02x}"),
            }).collect();
            let all: String = name.bytes().map(|b| format!("%{b:02X}")).collect();
            prop_assert_eq!(comparable(&spelled), comparable(&all));
        }
    }
}
