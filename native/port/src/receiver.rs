//! A process of the VM that gets events, and how they get there: in batches, of which it has acknowledged all but two.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sockeye_engine::batch::Event;
use sockeye_engine::inbox::{Left, Visit};
use sockeye_engine::{ConnId, Engine, Inbox, Notifier};
use sockeye_etf as etf;
use sockeye_seam::calls::{Shape, push_head};
use sockeye_seam::events::{self, Invalid};
use sockeye_seam::settings::{EventFormat, KeyMode};
use sockeye_seam::{Atom, Etf, Writer};

use crate::last::{Job, Last};
use crate::link::{BATCH, Link, Stalled};
use crate::world::{SCALE, thread};

/// Batches on their way that are not acknowledged.
pub(crate) const CREDIT: u8 = 2;
/// Bytes of payload in a batch of more than one event.
pub(crate) const BATCH_BYTES: usize = 64 * 1024 / SCALE;
/// Events of a batch, unless the process says otherwise.
const FIRST_MAX: u16 = 64;
/// It may say so many.
pub(crate) const MOST: u16 = 256;
/// Flags of a batch: there are more events behind it; a connection has opened or ended; the VM is to make keys of JSON
/// atoms where it has these.
const MORE: u8 = 1;
const ENDS: u8 = 2;
const KEYS: u8 = 4;
/// JSON text that no shard reads, and not the link's thread: others wait behind it.
const LONG_TEXT: usize = 64 * 1024 / SCALE;

/// How it sees its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Handler,
    /// It is told of connections that need a process.
    Acceptor,
    /// A plain process: with the milliseconds that it has to answer before a connection ends.
    Plain(u64),
}

pub(crate) struct Receiver {
    pub(crate) id: u64,
    /// Names its process where an order is kept for each.
    pub(crate) caller: u64,
    pub(crate) inbox: Arc<Inbox>,
    format: Arc<EventFormat>,
    /// [`KEYS`], or 0.
    keys: u8,
    view: View,
    link: Arc<Link>,
    engine: Weak<Engine>,
    state: Mutex<State>,
}

struct State {
    credit: u8,
    max: u16,
    /// Connections that sent something invalid: what else they sent is not wanted.
    refused: Vec<ConnId>,
    /// What waits until nothing is left.
    resting: Vec<Job>,
    /// Nothing is acknowledged any more.
    is_dead: bool,
    /// Batches that were acknowledged.
    served: u64,
    /// Shards are asked for what they hold.
    is_passing: bool,
    /// They have been, and nothing was served meanwhile.
    is_settled: bool,
    is_stalled: bool,
    /// The inbox may have something, and does not tell.
    has_more: bool,
}

impl Stalled for Receiver {
    fn go_on(self: Arc<Self>) {
        self.state().is_stalled = false;
        self.pump();
    }
}

struct Notice(Weak<Receiver>);

impl Notifier for Notice {
    fn notify(&self) -> bool {
        match self.0.upgrade() {
            Some(receiver) => {
                NOTICES.with_borrow_mut(|notices| notices.push(receiver));
                true
            }
            None => false,
        }
    }
}

thread_local! {
    /// Receivers that this turn of a shard has something for.
    static NOTICES: RefCell<Vec<Arc<Receiver>>> = const { RefCell::new(Vec::new()) };
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch { heads: Vec::new(), terms: Vec::new() }) };
}

/// What a batch is written into: what stands in front of its terms, and they.
#[derive(Default)]
struct Scratch {
    heads: Vec<u8>,
    terms: Vec<u8>,
}

/// All receivers of a turn have been noted. Their answers come over a link, which is the shard's own: nothing wakes it for each.
pub(crate) fn after_notices() -> bool {
    NOTICES.with_borrow_mut(|notices| {
        let Some(link) = notices.last().map(|receiver| receiver.link.clone()) else {
            return;
        };
        for receiver in notices.drain(..) {
            receiver.pump();
        }
        link.flush();
    });
    false
}

/// Does it when each shard has come by.
fn pass(engine: &Engine, job: impl FnOnce() + Send + 'static) {
    let last = Last::new(job);
    engine.call_each(|| {
        let last = last.clone();
        Box::new(move || drop(last))
    });
}

impl Receiver {
    pub(crate) fn new(
        (id, caller): (u64, u64),
        view: View,
        (room, keep): (usize, usize),
        format: Arc<EventFormat>,
        link: &Arc<Link>,
        engine: &Arc<Engine>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|receiver: &Weak<Receiver>| Receiver {
            id,
            caller,
            inbox: Inbox::new(room, keep, Box::new(Notice(receiver.clone()))),
            keys: match &format.json {
                Some(json) if matches!(json.keys, KeyMode::ExistingAtom) => KEYS,
                _ => 0,
            },
            format,
            view,
            link: link.clone(),
            engine: Arc::downgrade(engine),
            state: Mutex::new(State {
                credit: CREDIT,
                max: FIRST_MAX,
                refused: Vec::new(),
                resting: Vec::new(),
                is_dead: false,
                served: 0,
                is_passing: false,
                is_settled: false,
                is_stalled: false,
                has_more: false,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so many batches are not acknowledged.
    pub(crate) fn has_sent(&self, batches: u8) -> bool {
        let state = self.state();
        batches <= CREDIT && state.credit + batches <= CREDIT
    }

    /// So many batches have been worked through, as [`Receiver::has_sent`] was asked about: sends what has waited for that.
    pub(crate) fn acknowledge(self: &Arc<Self>, batches: u8) {
        let mut state = self.state();
        state.credit = (state.credit + batches).min(CREDIT);
        state.served += u64::from(batches);
        if state.has_more || !state.resting.is_empty() {
            self.send(state, false);
        }
    }

    /// Events of a batch from now on.
    pub(crate) fn set_max(&self, max: u16) {
        if max > 0 {
            self.state().max = max.min(MOST);
        }
    }

    /// Does it when all has been sent and acknowledged, and no shard has more; or when the process is dead.
    pub(crate) fn when_at_rest(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        if state.is_dead {
            drop(state);
            return job();
        }
        state.resting.push(Box::new(job));
        self.send(state, false);
    }

    /// The process is dead: it acknowledges nothing more.
    pub(crate) fn give_up(&self) {
        let mut state = self.state();
        state.is_dead = true;
        let resting = std::mem::take(&mut state.resting);
        drop(state);
        resting.into_iter().for_each(|job| job());
    }

    /// Looks again when each shard has delivered what it holds: for an inbox that had no room, or until the process gave credits.
    /// It does so in a turn, behind what it is asked in that: so it has done it in the next one.
    fn pass_shards(self: &Arc<Self>, served: u64) {
        let receiver = self.clone();
        let look = move || {
            let mut state = receiver.state();
            state.is_passing = false;
            state.is_settled = state.served == served;
            receiver.send(state, false);
            receiver.link.flush();
        };
        let Some(engine) = self.engine.upgrade() else {
            return look();
        };
        let again = engine.clone();
        pass(&engine, move || pass(&again, look));
    }

    /// Sends what may be sent, and leaves what takes long to another thread.
    pub(crate) fn pump(self: &Arc<Self>) {
        self.send(self.state(), false);
    }

    fn send(self: &Arc<Self>, mut state: MutexGuard<'_, State>, has_time: bool) {
        let mut scratch = SCRATCH.take();
        let is_settled = std::mem::take(&mut state.is_settled);
        let (mut passes, mut resting) = (None, Vec::new());
        state.has_more = true;
        while state.credit > 0 && !state.is_stalled {
            let (is_full, no_large) = self.link.is_full();
            if is_full {
                state.is_stalled = true;
                self.link.stall(self.clone());
                break;
            }
            scratch.heads.clear();
            scratch.terms.clear();
            let took = self.take(&mut state, &mut scratch, has_time, no_large);
            if took.events > 0 {
                state.credit -= 1;
                let id = self.id.to_be_bytes();
                let more = u8::from(took.left == Left::More) * MORE;
                let ends = u8::from(took.has_ends) * ENDS;
                let flags = more | ends | self.keys;
                let heads = (scratch.heads.len() as u32).to_be_bytes();
                let parts = [&id[..], &[flags], &heads, &scratch.heads, &scratch.terms];
                self.link.append_parts(BATCH, &parts);
            }
            if let Some(engine) = self.engine.upgrade() {
                engine.resume(&self.inbox, took.shards);
                for (conn, why) in took.invalid {
                    engine.close_after_answers(conn, 1007, &why.0);
                }
            }
            if took.waits {
                state.is_stalled = true;
                self.link.stall(self.clone());
                break;
            }
            if took.is_long {
                // Nobody else tries meanwhile.
                state.is_stalled = true;
                let receiver = self.clone();
                thread::in_turn(move || {
                    let mut state = receiver.state();
                    state.is_stalled = false;
                    receiver.send(state, true);
                    receiver.link.flush();
                });
                break;
            }
            if took.left == Left::Nothing {
                state.has_more = false;
                (passes, resting) = state.rest(is_settled && took.shards == 0);
                break;
            }
        }
        if scratch.terms.capacity() <= 4 * BATCH_BYTES {
            SCRATCH.set(scratch);
        }
        drop(state);
        resting.into_iter().for_each(|job| job());
        if let Some(served) = passes {
            self.pass_shards(served);
        }
    }

    /// Writes a batch. With `no_large`, a large event waits.
    fn take(&self, state: &mut State, out: &mut Scratch, has_time: bool, no_large: bool) -> Took {
        out.terms.push(etf::VERSION);
        let list = etf::open_list(&mut out.terms);
        let mut took = Took {
            events: 0,
            has_ends: false,
            left: Left::Nothing,
            shards: 0,
            waits: false,
            is_long: false,
            invalid: Vec::new(),
        };
        let mut bytes = 0;
        let max = usize::from(state.max);
        let (left, shards) = self.inbox.drain(usize::MAX, |conn, event, len| {
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
            if self.write(state, &mut took, conn, event, out) {
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
        &self,
        state: &mut State,
        took: &mut Took,
        conn: ConnId,
        event: Event<'_>,
        out: &mut Scratch,
    ) -> bool {
        if state.covers(conn, &event) {
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
                    state.refused.push(conn);
                    if view != View::Handler {
                        took.invalid.push((conn, why));
                        return false;
                    }
                    events::refused(w, &why);
                }
            },
        }
        push_head(&mut out.heads, conn, shape);
        true
    }
}

struct Took {
    events: u32,
    /// A connection has opened or ended.
    has_ends: bool,
    left: Left,
    shards: u64,
    /// The next event is large, and there is no room for it now.
    waits: bool,
    /// The next event takes long.
    is_long: bool,
    /// For what connections of a plain process end.
    invalid: Vec<(ConnId, Invalid)>,
}

impl State {
    /// Nothing is left here: what waits for that, or how much has been served when the shards are asked first.
    fn rest(&mut self, is_settled: bool) -> (Option<u64>, Vec<Job>) {
        if self.resting.is_empty() || self.credit < CREDIT || self.is_passing {
            return (None, Vec::new());
        }
        if is_settled {
            return (None, std::mem::take(&mut self.resting));
        }
        self.is_passing = true;
        (Some(self.served), Vec::new())
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
