//! A server whose WebSockets come over the sockets of another one.

use std::sync::Arc;

use crate::server::Server;

impl Server {
    /// The server that WebSockets of this path belong to, if it is another.
    pub(crate) fn nested_at(&self, path: &str) -> Option<&Arc<Server>> {
        let (paths, _) = self.config.nested.as_ref()?;
        self.nested.as_ref().filter(|_| paths.has(path))
    }

    /// Whether headers of its connections are kept.
    pub(crate) fn keeps_headers(&self) -> bool {
        self.nested.is_some()
    }
}
