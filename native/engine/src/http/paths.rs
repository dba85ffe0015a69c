//! Maps the path of a request to a file below a directory, and never outside of it.

/// The names that a path below a directory leads through, decoded; the last is empty for the
/// directory itself. None if it cannot name a file that may be served.
pub(super) fn names(path: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let name = decode(segment)?;
        let last = segments.peek().is_none();
        match name.is_empty() {
            true if last => names.push(name),
            true => return None,
            false if is_served(&name) => names.push(name),
            false => return None,
        }
    }
    Some(names)
}

/// Whether a file of this name may be served. Hidden ones are nobody's business, but for the one
/// that RFC 8615 reserves.
fn is_served(name: &str) -> bool {
    let hidden = name.starts_with('.') && name != ".well-known";
    // What separates names somewhere, or ends them.
    let odd = |c: char| matches!(c, '/' | '\\' | '\0') || (cfg!(windows) && c == ':');
    !hidden && !name.contains(odd)
}

/// Takes the percent-encoding off. None if it is broken or what comes out is not UTF-8.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => (digit(rest.next()?)? << 4) | digit(rest.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

fn digit(hex: u8) -> Option<u8> {
    let value = char::from(hex).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(path: &str) -> Option<String> {
        names(path).map(|names| names.join("|"))
    }

    #[test]
    fn names_come_decoded() {
        for (path, found) in [
            ("", ""),
            ("a", "a"),
            ("a/b.html", "a|b.html"),
            ("a/", "a|"),
            ("a%20b/%C3%BC", "a b|ü"),
            ("%2a+*", "*+*"),
            (".well-known/x", ".well-known|x"),
            ("a..b/...%61", ""),
        ] {
            let found = (path != "a..b/...%61").then(|| found.to_owned());
            assert_eq!(joined(path), found, "{path}");
        }
    }

    #[test]
    fn nothing_leads_out() {
        for path in [
            "..",
            "../a",
            "a/../b",
            "%2e%2e",
            "%2E./a",
            ".",
            "a/./b",
            "/",
            "/etc/passwd",
            "a//b",
            "a%2fb",
            "%2fetc",
            "..%2f..",
            "a%5cb",
            "..%5c",
            "a\\b",
            "a%00",
            "%00",
            "%",
            "%4",
            "%zz",
            "%ff",
            "%c0%ae%c0%ae",
            ".git/config",
            ".env",
            "a/.htaccess",
        ] {
            assert_eq!(joined(path), None, "{path}");
        }
    }

    proptest! {
        /// Whatever the path, the names found are plain ones.
        #[test]
        fn a_name_is_one_step_down(path in "([a-z./\\\\%]|%2e|%2f|%5c|%00|%25|\\.\\.){0,24}") {
            if let Some(names) = names(&path) {
                let (last, dirs) = names.split_last().unwrap();
                for name in dirs.iter().chain((!last.is_empty()).then_some(last)) {
                    let steps: Vec<_> = std::path::Path::new(name).components().collect();
                    prop_assert_eq!(steps.len(), 1);
                    prop_assert!(matches!(steps[0], std::path::Component::Normal(_)));
                }
            }
        }

        /// What is encoded comes back.
        #[test]
        fn any_plain_name_is_found(name in "[^./\\\\\0][^/\\\\\0]{0,12}") {
            let encoded: String = name.bytes().map(|b| format!("%{b:02x}")).collect();
            prop_assert_eq!(names(&encoded), Some(vec![name]));
        }
    }
}
