//! Resources that a shard and a server hold, for the checks of the simulation.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use super::state::{CloseEvent, Phase};
use crate::model::active::Active;
use crate::model::id::ConnId;
use crate::shard::Shard;

thread_local! {
    static SHARDS: RefCell<Vec<Weak<Shard>>> = const { RefCell::new(Vec::new()) };
}

/// A shard has come into the world.
pub(crate) fn enter(shard: &Rc<Shard>) {
    SHARDS.with_borrow_mut(|shards| {
        shards.retain(|shard| shard.strong_count() > 0);
        shards.push(Rc::downgrade(shard));
    });
}

/// What there is of a connection.
#[derive(Clone, Debug)]
pub struct ConnCensus {
    /// Its id.
    pub id: ConnId,
    /// The serial of its server.
    pub server: u64,
    /// Its phase, in words.
    pub phase: String,
    /// Its socket is gone.
    pub is_gone: bool,
    /// Its close event is in the receiver's inbox.
    pub is_told: bool,
    /// Its id names something.
    pub is_known: bool,
    /// Bytes that are counted as queued.
    pub queued: usize,
    /// Bytes that the protocol owes.
    pub owed: usize,
    /// The cost of what waits for credits or room.
    pub held: usize,
    /// Bytes that the session has not seen.
    pub unread: usize,
    /// Bytes of frames and messages that are not complete.
    pub partial: usize,
    /// The credits.
    pub active: Active,
    /// The inbox of its receiver.
    pub inbox: Option<u64>,
}

/// What there is on a shard.
#[derive(Clone, Debug)]
pub struct ShardCensus {
    /// Which one.
    pub index: usize,
    /// Its connections.
    pub conns: Vec<ConnCensus>,
    /// Slots that were ever used.
    pub slots: usize,
    /// The free ones.
    pub free: Vec<u32>,
    /// Everything else that must be gone in the end, with its name.
    pub rest: Vec<(&'static str, usize)>,
}

/// All shards of this thread.
pub fn census() -> Vec<ShardCensus> {
    let shards = SHARDS.with_borrow(|shards| shards.clone());
    shards
        .iter()
        .filter_map(Weak::upgrade)
        .map(|shard| shard.census())
        .collect()
}

impl Shard {
    fn census(&self) -> ShardCensus {
        let slots = &self.handle.slots;
        let conns = self.all_conns().into_iter().map(|conn| {
            let state = conn.state.borrow();
            ConnCensus {
                id: conn.id,
                server: conn.server.serial(),
                phase: format!("{:?} {:?}", state.stage.phase(), state.writing),
                is_gone: state.stage.phase() == Phase::Gone,
                is_told: state.stage.close_event() == CloseEvent::Delivered,
                is_known: slots.is_known(conn.id),
                queued: slots.queued(conn.id),
                owed: state.owed as usize,
                held: state.held_cost(),
                unread: state.unread.as_ref().map_or(0, |u| u.bytes.len() - u.at),
                partial: state.session.buffered(),
                active: state.active,
                inbox: state.receiver.inbox().map(|inbox| inbox.key()),
            }
        });
        let conns: Vec<_> = conns.collect();
        let timers = (0..self.conns.borrow().len() as u32).filter(|slot| self.timers.is_set(*slot));
        let waiting = self.waiting.borrow();
        let marks = self.marks.borrow();
        ShardCensus {
            index: self.handle.index,
            slots: self.conns.borrow().len(),
            free: self.free.borrow().clone(),
            rest: vec![
                (
                    "members",
                    self.members.borrow().values().map(Vec::len).sum(),
                ),
                ("servers with members", self.members.borrow().len()),
                ("without a receiver", self.unassigned.borrow().len()),
                ("waiting for room", waiting.values().map(|q| q.len()).sum()),
                ("waiting for a mark", marks.values().map(|q| q.len()).sum()),
                ("topics", self.subscribers.borrow().len()),
                ("tasks", self.tasks.borrow().len()),
                ("timers", timers.count()),
                ("open messages", self.handle.open_messages.len()),
                ("behind messages", self.handle.open_messages.kept_behind()),
                ("registered", self.handle.register.len()),
                ("calls", self.handle.queued()),
            ],
            conns,
        }
    }
}
