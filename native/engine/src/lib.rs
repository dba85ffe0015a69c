//! Listeners, connections, inboxes and flow control on tokio.
