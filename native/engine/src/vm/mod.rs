//! What crosses to the virtual machine: its processes' inboxes, questions to it, and what it is told.

pub mod batch;
pub mod host;
pub mod inbox;
pub(crate) mod question;
pub(crate) mod stream;
