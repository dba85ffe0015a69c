//! A connection after its handshake.
//!
//! What states it has is in [`state`]; `io` is the task that moves its bytes, `events` the way to its receiver,
//! `ending` how it ends, `keep_alive` whether its peer is still there. They and the shard call each other within one
//! turn: this is the part of the engine that cannot be taken apart.

#[cfg(test)]
mod boxed_tests;
#[cfg(sim)]
pub mod census;
mod ending;
mod events;
mod facts;
mod io;
mod keep_alive;
mod sending;
mod state;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::model::compression::Compression;
use crate::model::id::ConnId;
use crate::server::Server;
use crate::settings::options::{ConnOptions, Rules};
use crate::shard::Shard;
use crate::shard::op::ConnStats;
use crate::shard::opened::Opened;

use facts::Facts;
pub(crate) use io::Task;
use state::ConnState;

pub(crate) struct Conn {
    pub(crate) id: ConnId,
    pub(crate) server: Arc<Server>,
    /// Its place in the shard's list of the server's connections.
    pub(crate) member: Cell<u32>,
    /// How what goes out to it is compressed.
    pub(crate) compression: Compression,
    facts: Facts,
    state: RefCell<ConnState>,
}

impl Conn {
    pub(crate) fn new(
        id: ConnId,
        server: Arc<Server>,
        Opened {
            transport,
            info,
            options,
            ..
        }: Opened,
        now: u64,
    ) -> Rc<Self> {
        let conn = Rc::new(Conn {
            id,
            member: Cell::new(0),
            compression: Compression::of(info.deflate, server.config.role()),
            facts: Facts::new(&info, now),
            state: RefCell::new(ConnState::new(transport, info, &server.config)),
            server,
        });
        conn.configure(&options);
        conn
    }

    fn configure(&self, options: &ConnOptions) {
        let mut state = self.state.borrow_mut();
        if let Some(active) = options.active {
            state.active = active;
        }
        if Rules::differ(options) {
            let own = state.own.get_or_insert_with(|| Box::new(self.server.rules));
            own.apply(options);
        }
    }

    /// Changes what is given, from now on.
    pub(crate) fn set_options(self: &Rc<Self>, shard: &Shard, options: &ConnOptions) {
        self.configure(options);
        if let Some(bytes) = options.send_queue_size {
            shard.handle.slots.set_limit(self.id, bytes);
        }
        self.check_keep_alive(shard);
    }

    /// The inbox that its events go to.
    pub(crate) fn inbox(&self) -> Option<u64> {
        self.state
            .borrow()
            .receiver
            .inbox()
            .map(|inbox| inbox.key())
    }

    pub(crate) fn stats(&self, shard: &Shard) -> ConnStats {
        let state = self.state.borrow();
        ConnStats {
            peer_info: self.facts.peer_info(),
            path: self.facts.path().into(),
            query: self.facts.query().into(),
            subprotocol: self.facts.subprotocol().map(Into::into),
            age: shard.millis().saturating_sub(self.facts.opened()),
            queue: shard.handle.slots.queued(self.id),
            held: state.held_cost(),
            frames_in: state.frames_in,
            active: state.active,
            deflate: state.session.deflate().is_some(),
        }
    }
}

impl ConnState {
    fn rules<'a>(&'a self, conn: &'a Conn) -> &'a Rules {
        self.own.as_deref().unwrap_or(&conn.server.rules)
    }
}
