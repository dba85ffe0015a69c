//! The interface to the virtual machine: inboxes of its processes, questions to it, notices.

pub mod batch;
pub mod host;
pub mod inbox;
pub(crate) mod question;
pub(crate) mod stream;
