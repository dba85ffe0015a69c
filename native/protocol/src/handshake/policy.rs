//! The paths at which there are connections.

use super::path::{comparable, comparable_pattern};

/// The paths at which a server opens connections.
///
/// ```
/// use sockeye_protocol::handshake::Paths;
///
/// let paths = Paths::new(["/ws", "/rooms/*"]).unwrap();
/// assert!(paths.has("/ws") && paths.has("/rooms/1") && paths.has("/rooms/1/2"));
/// assert!(!paths.has("/ws/") && !paths.has("/rooms/") && !paths.has("/"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// None: all.
    patterns: Option<Vec<Box<str>>>,
}

impl Paths {
    /// A list of patterns. They begin with `/` and are compared segment by segment, in the form of
    /// [`comparable`](super::comparable), with regard to case; `*` stands for one segment that is not empty, and at the end for
    /// one or more. The error is the pattern that is none: one with a malformed `%` among them.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let patterns = patterns.into_iter().map(|pattern| {
            let form = comparable_pattern(pattern);
            form.map(String::into_boxed_str).ok_or(pattern)
        });
        Ok(Paths {
            patterns: Some(patterns.collect::<Result<_, _>>()?),
        })
    }

    /// Whether this path is on the list: never if all are.
    pub fn lists(&self, path: &str) -> bool {
        self.patterns.is_some() && self.has(path)
    }

    /// Whether there is such a path.
    pub fn has(&self, path: &str) -> bool {
        match &self.patterns {
            None => true,
            Some(patterns) => {
                let path = comparable(path);
                patterns.iter().any(|pattern| matches(pattern, &path))
            }
        }
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    let mut wanted = pattern.split('/').peekable();
    let mut found = path.split('/');
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some("*"), Some(segment)) if !segment.is_empty() => {
                if wanted.peek().is_none() {
                    return true;
                }
            }
            (Some(a), Some(b)) if a == b && a != "*" => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_patterns_are_named() {
        for pattern in [
            "ws", "", "/a*", "/a b", "/a?b", "/*x/y", "/ü", "/%", "/a/%6", "/%61/%zz", "/*/%zz",
        ] {
            assert_eq!(Paths::new([pattern]), Err(pattern));
        }
    }

    #[test]
    fn paths_go_by_segments() {
        let has = |pattern, path| Paths::new([pattern]).unwrap().has(path);
        assert!(has("/", "/") && !has("/", "/a") && !has("/", "//"));
        assert!(has("/a/*/c", "/a/b/c") && !has("/a/*/c", "/a/c") && !has("/a/*/c", "/a//c"));
        assert!(has("/*", "/a") && has("/*", "/a/b/") && !has("/*", "/"));
        assert!(!has("/a", "/A") && has("/a", "/%61") && has("/%61", "/a") && !has("/a", "/a/"));
        assert!(has("/a+b/*", "/a%2bb/c") && has("/{a}", "/%7Ba%7d") && has("/%7ba}", "/{a}"));
        assert!(!has("/a/b", "/a%2fb") && has("/a%2Fb", "/a%2fb") && !has("/a/*", "/a%2Fb"));
        assert!(has("/%2a", "/*") && has("/%2a", "/%2A") && !has("/%2A", "/b"));
        assert!(!has("/rooms/*", "/rooms") && !has("/rooms/*", "/roomsx/y"));
        assert!(Paths::default().has("/any/thing"));
    }

    #[test]
    fn a_list_is_what_somebody_wrote() {
        let some = Paths::new(["/a"]).unwrap();
        assert!(some.lists("/a") && !some.lists("/b"));
        assert!(!Paths::default().lists("/a"));
        let none = Paths::new([]).unwrap();
        assert!(!none.lists("/a") && !none.has("/a"));
    }
}
