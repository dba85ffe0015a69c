//! Batches of events, as they are written for a process of the VM.

use std::sync::Arc;

use sockeye_engine::batch::Event;
use sockeye_engine::inbox::{Left, Visit};
use sockeye_engine::{ConnId, Inbox};
use sockeye_etf as etf;
use sockeye_seam::calls::{Shape, push_head};
use sockeye_seam::events;
use sockeye_seam::settings::{EventFormat, KeyMode};
use sockeye_seam::{Atom, Etf, Writer};

use crate::world::SCALE;

/// Bytes of payload in a batch of more than one event.
const BATCH_BYTES: usize = 64 * 1024 / SCALE;
/// JSON text that no shard reads, and not the link's thread: others wait behind it.
const LONG_TEXT: usize = 64 * 1024 / SCALE;
/// Flags of a batch: there are more events behind it; a connection has opened or ended; the VM is to make keys of JSON
/// atoms where it has these.
const MORE: u8 = 1;
const ENDS: u8 = 2;
const KEYS: u8 = 4;

/// How it sees its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Handler,
    /// It is told of connections that need a process.
    Acceptor,
    /// A plain process: with the milliseconds that it has to answer before a connection ends.
    Plain(u64),
}

/// What a batch is written into: what stands in front of its terms, and they.
#[derive(Default)]
pub(crate) struct Scratch {
    heads: Vec<u8>,
    terms: Vec<u8>,
}

impl Scratch {
    pub(crate) const fn new() -> Self {
        Scratch {
            heads: Vec::new(),
            terms: Vec::new(),
        }
    }

    /// Whether the memory is worth keeping.
    pub(crate) fn is_small(&self) -> bool {
        self.terms.capacity() <= 4 * BATCH_BYTES
    }

    /// Hands out the body of a section, in parts, for the process of this Id.
    pub(crate) fn section(&self, id: u64, flags: u8, give: impl FnOnce(&[&[u8]])) {
        let id = id.to_be_bytes();
        let heads = (self.heads.len() as u32).to_be_bytes();
        give(&[&id, &[flags], &heads, &self.heads, &self.terms]);
    }
}

pub(crate) struct Took {
    pub(crate) events: u32,
    /// A connection has opened or ended.
    pub(crate) has_ends: bool,
    pub(crate) left: Left,
    pub(crate) shards: u64,
    /// The next event is large, and there is no room for it now.
    pub(crate) waits: bool,
    /// The next event takes long.
    pub(crate) is_long: bool,
    keys: u8,
    /// For what connections of a plain process end.
    pub(crate) invalid: Vec<(ConnId, Box<str>)>,
}

impl Took {
    /// Those of the section.
    pub(crate) fn flags(&self) -> u8 {
        let more = u8::from(self.left == Left::More) * MORE;
        let ends = u8::from(self.has_ends) * ENDS;
        more | ends | self.keys
    }
}

/// How the events of one process are written.
pub(crate) struct Batches {
    view: View,
    format: Arc<EventFormat>,
    /// [`KEYS`], or 0.
    keys: u8,
    /// Connections that sent something invalid: what else they sent is not wanted.
    refused: Vec<ConnId>,
}

impl Batches {
    pub(crate) fn new(view: View, format: Arc<EventFormat>) -> Self {
        let keys = match &format.json {
            Some(json) if matches!(json.keys, KeyMode::ExistingAtom) => KEYS,
            _ => 0,
        };
        Batches {
            view,
            format,
            keys,
            refused: Vec::new(),
        }
    }

    /// Writes a batch of at most so many events. With `no_large`, a large event waits.
    pub(crate) fn take(
        &mut self,
        inbox: &Inbox,
        max: u16,
        out: &mut Scratch,
        has_time: bool,
        no_large: bool,
    ) -> Took {
        out.heads.clear();
        out.terms.clear();
        out.terms.push(etf::VERSION);
        let list = etf::open_list(&mut out.terms);
        let mut took = Took {
            events: 0,
            has_ends: false,
            left: Left::Nothing,
            shards: 0,
            waits: false,
            is_long: false,
            keys: self.keys,
            invalid: Vec::new(),
        };
        let mut bytes = 0;
        let max = usize::from(max);
        let (left, shards) = inbox.drain(usize::MAX, |conn, event, len| {
            let is_json = matches!(event, Event::Text(_)) && self.format.json.is_some();
            // An end has its question with it.
            let more =
                1 + usize::from(self.view == View::Handler && matches!(event, Event::Closed(_)));
            let is_full = took.events as usize + more > max || bytes + len > BATCH_BYTES;
            if is_full && took.events > 0 {
                return Visit::Stop;
            }
            if len > BATCH_BYTES && no_large {
                took.waits = true;
                return Visit::Stop;
            }
            if is_json && len > LONG_TEXT && !has_time {
                took.is_long = true;
                return Visit::Stop;
            }
            bytes += len;
            if self.write(&mut took, conn, event, out) {
                took.events += 1;
            }
            if took.events as usize >= max || bytes >= BATCH_BYTES {
                Visit::Last
            } else {
                Visit::Next
            }
        });
        etf::close_list(&mut out.terms, list, took.events);
        took.left = left;
        took.shards = shards;
        took
    }

    /// Writes a connection and its event; false if there is nothing to tell.
    fn write(
        &mut self,
        took: &mut Took,
        conn: ConnId,
        event: Event<'_>,
        out: &mut Scratch,
    ) -> bool {
        if self.covers(conn, &event) {
            return false;
        }
        took.has_ends |= matches!(event, Event::Open(_) | Event::Closed(_));
        let w = &mut Etf(&mut out.terms);
        let mut shape = Shape::Whole;
        match (self.view, event) {
            (View::Plain(timeout), Event::Ending) => {
                w.tuple(2);
                w.atom(Atom::ending);
                w.integer(timeout);
            }
            (View::Handler, Event::Closed(ended)) => {
                // What is answered to earlier batches is not known here.
                w.atom(Atom::ending);
                push_head(&mut out.heads, conn, shape);
                took.events += 1;
                events::left(w, ended)
            }
            (View::Acceptor, Event::Closed(ended)) => events::left(w, ended),
            (View::Acceptor, _) => {
                w.tuple(2);
                w.atom(Atom::open);
                w.map(0);
            }
            (view, event) => match self.format.bare(w, event) {
                Ok(bare) => shape = bare,
                Err(why) => {
                    self.refused.push(conn);
                    if view != View::Handler {
                        took.invalid.push((conn, why.0));
                        return false;
                    }
                    events::refused(w, &why);
                }
            },
        }
        push_head(&mut out.heads, conn, shape);
        true
    }

    /// Whether the event is of a connection that was refused. Its last event ends that.
    fn covers(&mut self, conn: ConnId, event: &Event<'_>) -> bool {
        let Some(place) = self.refused.iter().position(|known| *known == conn) else {
            return false;
        };
        match event {
            Event::Ending => false,
            Event::Closed(..) => {
                self.refused.swap_remove(place);
                false
            }
            _ => true,
        }
    }
}
