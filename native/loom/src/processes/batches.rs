//! In place of `native/port/src/processes/batches.rs`: a batch says how many events it has. What is written of an event is between no threads.

use crate::inbox::{Inbox, Left, Visit};
use crate::model::id::ConnId;

pub(crate) struct Batches;

pub(crate) struct Scratch(u32);

pub(crate) struct Took {
    pub(crate) events: u32,
    pub(crate) left: Left,
    pub(crate) shards: u64,
    pub(crate) waits: bool,
    pub(crate) is_long: bool,
    pub(crate) invalid: Vec<(ConnId, Box<str>)>,
}

impl Took {
    pub(crate) fn flags(&self) -> u8 {
        0
    }
}

impl Scratch {
    pub(crate) const fn new() -> Self {
        Scratch(0)
    }

    pub(crate) fn is_small(&self) -> bool {
        true
    }

    pub(crate) fn section(&self, id: u64, flags: u8, give: impl FnOnce(&[&[u8]])) {
        give(&[&id.to_be_bytes(), &[flags], &self.0.to_be_bytes()]);
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch::new()
    }
}

impl Batches {
    pub(crate) fn take(
        &mut self,
        inbox: &Inbox,
        max: u16,
        out: &mut Scratch,
        _has_time: bool,
        _no_large: bool,
    ) -> Took {
        let mut events = 0;
        let (left, shards) = inbox.drain(usize::MAX, |_, _, _| {
            events += 1;
            match events >= u32::from(max) {
                true => Visit::Last,
                false => Visit::Next,
            }
        });
        out.0 = events;
        Took {
            events,
            left,
            shards,
            waits: false,
            is_long: false,
            invalid: Vec::new(),
        }
    }
}
