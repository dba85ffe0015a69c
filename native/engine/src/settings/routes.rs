//! Routes of ordinary requests.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::HeaderValue;
use sockeye_protocol::handshake::{Paths, comparable, comparable_pattern};

use crate::settings::upstream::Upstream;

/// How the files of a route are sent.
#[derive(Clone, Debug, Default)]
pub struct FileRules {
    /// Who may keep an answer, and for how long.
    pub(crate) cache_control: Option<HeaderValue>,
    /// A compressed form beside a file goes to clients that take it.
    pub(crate) precompressed: bool,
}

impl FileRules {
    /// The rules with these values.
    ///
    /// # Errors
    /// The text is no value of a field.
    pub fn new(cache_control: Option<&str>, precompressed: bool) -> Result<Self, &'static str> {
        let value = cache_control.map(HeaderValue::from_str).transpose();
        let cache_control = value.map_err(|_| "no value of a field")?;
        Ok(FileRules {
            cache_control,
            precompressed,
        })
    }
}

/// What answers at a path.
#[derive(Clone, Debug)]
pub enum Target {
    /// A file.
    File(PathBuf, FileRules),
    /// The files below a directory, at the paths below this one.
    Dir(PathBuf, FileRules),
    /// These bytes.
    Text(Vec<u8>),
    /// The virtual machine, which knows the route by its place in the list.
    Ask,
    /// A web server behind this one, at this path and the paths below it.
    Proxy(Arc<Upstream>),
    /// Whether the server takes connections.
    Health,
}

#[derive(Clone, Debug)]
struct HttpRoute {
    /// In the form in which paths are compared.
    path: Box<str>,
    /// For a path with a star in it.
    pattern: Option<Paths>,
    target: Target,
    text: Bytes,
}

/// What a server answers to ordinary requests.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    routes: Vec<HttpRoute>,
}

/// What was found for a path.
pub(crate) struct RouteMatch<'a> {
    pub(crate) target: &'a Target,
    pub(crate) index: usize,
    /// Of a text.
    pub(crate) text: &'a Bytes,
    /// Of a directory: what follows its path, without the slash between. None for its path itself.
    pub(crate) below: Option<&'a str>,
}

/// A server behind this one, and its place among the routes.
#[derive(Clone, Copy)]
pub(crate) struct ProxyRoute<'a> {
    pub(crate) upstream: &'a Arc<Upstream>,
    pub(crate) index: usize,
}

impl Routes {
    /// These routes. Paths begin with a slash; a star stands for one segment, at the end for one
    /// or more. The error is the path that is none.
    pub fn new(routes: Vec<(String, Target)>) -> Result<Self, String> {
        let routes = routes.into_iter().map(|(path, target)| {
            // Checks the others as well.
            let paths = Paths::new([path.as_str()]).map_err(str::to_owned)?;
            let text = match &target {
                Target::Text(text) => text.clone().into(),
                _ => Bytes::new(),
            };
            let form = comparable_pattern(&path).unwrap_or_default();
            Ok::<_, String>(HttpRoute {
                pattern: path.contains('*').then_some(paths),
                path: form.into(),
                target,
                text,
            })
        });
        Ok(Routes {
            routes: routes.collect::<Result<_, _>>()?,
        })
    }

    /// The longest time that a server behind may take while nothing comes from it.
    pub(crate) fn patience(&self) -> Duration {
        let times = self.routes.iter().map(|route| match &route.target {
            Target::Proxy(upstream) => {
                let head = upstream.connect_timeout.saturating_add(upstream.timeout);
                head.max(upstream.idle_timeout)
            }
            _ => Duration::ZERO,
        });
        times.max().unwrap_or_default()
    }

    /// The server behind that a path belongs to, if it is the route of that.
    pub(crate) fn proxy(&self, path: &str) -> Option<ProxyRoute<'_>> {
        // Mostly there is none.
        if !self
            .routes
            .iter()
            .any(|route| matches!(route.target, Target::Proxy(_)))
        {
            return None;
        }
        let path = comparable(path);
        let found = self.find(&path)?.index;
        match &self.routes.get(found)?.target {
            Target::Proxy(upstream) => Some(ProxyRoute {
                upstream,
                index: found,
            }),
            _ => None,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The route of a path: the path itself, else the longest star, directory or server behind. The path must be
    /// comparable: a directory decodes it, and whatever leads to a file must find its route.
    pub(crate) fn find<'a>(&'a self, path: &'a str) -> Option<RouteMatch<'a>> {
        let mut best: Option<(usize, RouteMatch<'a>)> = None;
        for (index, route) in self.routes.iter().enumerate() {
            let found = |below| RouteMatch {
                target: &route.target,
                index,
                text: &route.text,
                below,
            };
            let here = match (&route.target, &route.pattern) {
                (Target::Dir(..) | Target::Proxy(_), _) => {
                    let prefix = route.path.strip_suffix('/').unwrap_or(&route.path);
                    match path.strip_prefix(prefix) {
                        Some("") => Some(found(None)),
                        Some(rest) => rest.strip_prefix('/').map(|rest| found(Some(rest))),
                        None => None,
                    }
                }
                (_, Some(pattern)) => pattern.has(path).then(|| found(None)),
                (_, None) if *route.path == *path => return Some(found(None)),
                (_, None) => None,
            };
            let longer = best.as_ref().is_none_or(|(len, _)| route.path.len() > *len);
            if let Some(here) = here
                && longer
            {
                best = Some((route.path.len(), here));
            }
        }
        best.map(|(_, found)| found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_itself_then_the_longest() {
        let dir = |name: &str| Target::Dir(name.into(), FileRules::default());
        let routes = [
            ("/", dir("root")),
            ("/a", Target::Ask),
            ("/a/*", Target::Ask),
            ("/a/files", dir("files")),
            ("/a/files/x", Target::Health),
            ("/b/", dir("b")),
            ("/%7be", dir("e")),
        ];
        let routes = routes.map(|(path, target)| (path.to_owned(), target));
        let routes = Routes::new(routes.to_vec()).unwrap();
        let at = |path| {
            routes
                .find(path)
                .map(|f| (f.index, f.below.map(str::to_owned)))
        };
        let below = |index, rest: &str| Some((index, Some(rest.to_owned())));
        assert_eq!(at("/"), below(0, ""));
        assert_eq!(at("/c"), below(0, "c"));
        assert_eq!(at("/a"), Some((1, None)));
        assert_eq!(at("/a/"), below(0, "a/"));
        assert_eq!(at("/a/1/2"), Some((2, None)));
        assert_eq!(at("/a/files"), Some((3, None)));
        assert_eq!(at("/a/files/y"), below(3, "y"));
        assert_eq!(at("/a/files/x"), Some((4, None)));
        assert_eq!(at("/a/filesx"), Some((2, None)));
        assert_eq!(at("/b"), Some((5, None)));
        assert_eq!(at("/b/c/d"), below(5, "c/d"));
        assert_eq!(at("*"), None);
        assert_eq!(at("/%7Be/%2Bf"), below(6, "%2Bf"));
        assert!(Routes::default().find("/").is_none());
        assert!(Routes::new(vec![("a".into(), Target::Ask)]).is_err());
    }
}
