//! The model of a run: what is expected, what has happened, and what must hold of both.

pub(crate) mod checks;
pub(crate) mod content;
pub(crate) mod http_content;
pub(crate) mod ledger;
