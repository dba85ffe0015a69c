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
mod rare;
mod sending;
mod state;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::model::active::Active;
use crate::model::compression::Compression;
use crate::model::id::ConnId;
use crate::model::traffic::Traffic;
use crate::server::Server;
use crate::settings::options::{ConnOptions, Rules};
use crate::shard::Shard;
use crate::shard::op::ConnStats;
use crate::shard::opened::Opened;

use facts::Facts;
pub(crate) use facts::Texts;
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
        shard: &Shard,
    ) -> Rc<Self> {
        let now = shard.millis();
        let conn = Rc::new(Conn {
            id,
            member: Cell::new(0),
            compression: Compression::of(info.deflate, server.config.role()),
            facts: Facts::new(&info, server.keeps_headers(), now, &shard.texts),
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
            let own = &mut state.rare.fields().own;
            let own = own.get_or_insert_with(|| Box::new(self.server.rules));
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
            user_data: self.facts.user_data().into(),
            headers: self.facts.headers().into(),
            topics: shard.topics_of(self.id),
        }
    }

    /// See [`crate::Engine::rows`].
    pub(super) fn write_row(&self, shard: &Shard, row: &mut Vec<u8>) {
        let state = self.state.borrow();
        let age = shard.millis().saturating_sub(self.facts.opened());
        let active = match state.active {
            Active::True => -1,
            Active::False => 0,
            Active::Once => 1,
            Active::Count(n) => i32::from(n),
        };
        let texts = [
            cut(&self.facts.peer().to_string(), PEER_BYTES).to_owned(),
            cut(self.facts.path(), PATH_BYTES).to_owned(),
            self.facts.user_data().to_owned(),
        ];
        row.extend(self.id.as_u64().to_be_bytes());
        row.extend(age.to_be_bytes());
        row.extend((shard.handle.slots.queued(self.id) as u32).to_be_bytes());
        row.extend((state.held_cost() as u32).to_be_bytes());
        row.extend(state.frames_in.to_be_bytes());
        row.extend(active.to_be_bytes());
        row.extend(texts.iter().map(|text| text.len() as u8));
        texts.iter().for_each(|text| row.extend(text.as_bytes()));
    }
}

/// Bytes of the other end and of the path that a row has at most.
const PEER_BYTES: usize = 128;
const PATH_BYTES: usize = 128;

/// So many bytes of a text, or a few less.
fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0).min(text.len())).unwrap_or(text)
}

impl Conn {
    /// What its shard counts of its server.
    pub(crate) fn traffic(&self) -> &Traffic {
        self.server.traffic.of(self.id.shard())
    }
}

impl ConnState {
    fn rules<'a>(&'a self, conn: &'a Conn) -> &'a Rules {
        self.rare.own().unwrap_or(&conn.server.rules)
    }
}
