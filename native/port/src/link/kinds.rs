//! Kinds of sections, which are in `docs/link.md`.

// To the VM.
pub(crate) const ANSWER: u8 = 1;
pub(crate) const MESSAGE: u8 = 2;
pub(crate) const BATCH: u8 = 3;
pub(crate) const WATCH: u8 = 4;
pub(crate) const UNWATCH: u8 = 5;
pub(crate) const PONG: u8 = 6;
pub(crate) const GRANT: u8 = 7;

// From the VM.
pub(crate) const CALL: u8 = 1;
pub(crate) const COMMANDS: u8 = 2;
pub(crate) const DOWN: u8 = 3;
pub(crate) const CAST: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const FRAME: u8 = 7;
pub(crate) const PUBLISH: u8 = 10;

// Both ways: a piece of a section, and the last one.
pub(crate) const MORE: u8 = 8;
pub(crate) const LAST: u8 = 9;
