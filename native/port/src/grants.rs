//! Messages that the VM takes without asking: how many bytes of them, for each connection.
//!
//! They are not counted as queued before they come. So a queue may be longer than its bound by what is granted, an eighth of the bound.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sockeye_engine::{ConnId, Engine, Frames, SendError};
use sockeye_seam::calls as seam;
use sockeye_seam::frames::SendFailure;
use sockeye_seam::{EtfReader, EtfTerm};

use crate::link::{GRANT, Link};
use crate::packets::Broken;

/// Bytes of a grant. One of less than the least is none.
const MOST: usize = 64 * 1024;
const LEAST: usize = 4 * 1024;
/// The part of its bound by which a queue may be longer.
const PART: usize = 8;

pub(crate) struct Grants {
    link: Arc<Link>,
    /// Connections whose end the VM is told.
    given: Arc<Mutex<HashSet<ConnId>>>,
}

fn lock(given: &Mutex<HashSet<ConnId>>) -> MutexGuard<'_, HashSet<ConnId>> {
    given.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Grants {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Grants {
            link,
            given: Arc::default(),
        }
    }

    /// The VM has sent something to this connection: more may follow without a question.
    pub(crate) fn renew(&self, engine: &Engine, conn: ConnId) {
        let bytes = (engine.ample(conn) / PART).min(MOST);
        if bytes < LEAST {
            if !engine.is_open(conn) {
                self.end(conn);
            }
            return;
        }
        say(&self.link, conn, bytes);
        if !lock(&self.given).insert(conn) {
            // It may have ended, and the VM been told of that, meanwhile.
            if !engine.is_known(conn) {
                say(&self.link, conn, 0);
            }
            return;
        }
        let (link, given) = (self.link.clone(), self.given.clone());
        let ended = move |conn| {
            lock(&given).remove(&conn);
            say(&link, conn, 0);
            link.flush();
        };
        if !engine.watch(conn, Box::new(ended.clone())) {
            ended(conn);
        }
    }

    /// The connection takes no more. The VM is told, if it counts on it.
    fn end(&self, conn: ConnId) {
        if lock(&self.given).contains(&conn) {
            say(&self.link, conn, 0);
        }
    }
}

fn say(link: &Link, conn: ConnId, bytes: usize) {
    link.append(GRANT, |out| {
        out.extend_from_slice(&conn.as_u64().to_be_bytes());
        out.extend_from_slice(&(bytes as u32).to_be_bytes());
    });
}

/// Messages that were taken, and come together: those of a shard go there in one piece.
#[derive(Default)]
pub(crate) struct Taken(Vec<(usize, Frames)>);

impl Taken {
    /// Adds a message.
    pub(crate) fn add(
        &mut self,
        engine: &Engine,
        grants: &Grants,
        conn: ConnId,
        message: EtfTerm<'_>,
    ) -> Result<(), Broken> {
        let frames = match self.0.iter().position(|(shard, _)| *shard == conn.shard()) {
            Some(place) => self.0.get_mut(place),
            None => {
                self.0.push((conn.shard(), Frames::default()));
                self.0.last_mut()
            }
        };
        let Some((_, frames)) = frames else {
            return Ok(());
        };
        let reader = EtfReader { caller: 0 };
        match seam::append_taken(reader, engine, conn, message, frames) {
            Ok(()) => {}
            Err(SendFailure::Send(SendError::Closed)) => grants.end(conn),
            Err(_) => return Err(Broken("what was taken is no message")),
        }
        Ok(())
    }

    /// Hands over what there is.
    pub(crate) fn hand_over(&mut self, engine: &Engine) {
        for (shard, frames) in self.0.drain(..) {
            if !frames.commands.is_empty() {
                engine.send(shard, frames);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
