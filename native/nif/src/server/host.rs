//! The host of a server (`ServerHost`): questions and notices of the engine as messages to its process.

use std::sync::Arc;

use rustler::{Error, LocalPid, NifResult};
use sockeye_engine::backlog::Done;
use sockeye_engine::host::{Notice, ServerHost};
use sockeye_engine::{
    ConnId, DialError, Disconnected, Engine, Inbox, Mode, Question, SendError, Server, ServerStats,
};
use sockeye_seam::calls as facts;
use sockeye_seam::{dialled, events, topic_changes};

use crate::atoms;
use crate::server::registry;
use crate::server::vm_server::{OwnerSpec, VmServer};
use crate::vm::{monitor, process, running};

/// The part of a host that the engine owns.
pub(crate) struct VmHost(pub(crate) Arc<VmServer>);

impl ServerHost for VmHost {
    fn owner(&self) -> Option<Arc<Inbox>> {
        let pid = match &self.0.spec {
            OwnerSpec::Nobody => return None,
            OwnerSpec::Pid(pid) => *pid,
            OwnerSpec::Name(name) => monitor::whereis(*name)?,
        };
        self.0
            .owner_inbox(None, pid)
            .map(|owner| owner.inbox.clone())
    }

    fn unlistened(&self) {
        process::send(&self.0.pid, |b| {
            b.tuple([b.atom(atoms::sockeye_unlistened()), b.integer(self.0.id)])
        });
    }

    fn stopped(&self, stats: &ServerStats) {
        let id = self.0.id;
        registry::unregister(id, &self.0);
        if let Some(engine) = self.0.engine.upgrade() {
            engine.remove_stopped(id);
        }
        let heard = process::send(&self.0.pid, |mut b| facts::stopped(&mut b, id, stats));
        // A process that was killed could not clear up behind itself.
        if !heard && let Some(running) = running::current() {
            process::send(&running.owner, |b| {
                b.tuple([b.atom(atoms::sockeye_gone()), b.integer(id)])
            });
        }
    }

    fn ask(&self, token: u64, question: &Question<'_>) -> bool {
        let gate = self.0.gate();
        gate.is_some_and(|gate| {
            process::send(&gate, |mut b| events::question(&mut b, token, question))
        })
    }

    fn stream_gone(&self, token: u64) {
        if let Some(gate) = self.0.gate() {
            process::send(&gate, |mut b| events::stream_gone(&mut b, token));
        }
    }

    fn topic_left(&self, name: &[u8]) {
        if let Some(pid) = self.0.topic_changes.note(name) {
            process::send(&pid, |mut b| topic_changes::changed(&mut b, self.0.id));
        }
    }

    fn dialled(&self, result: Result<ConnId, DialError>) {
        process::send(&self.0.pid, |mut b| {
            dialled::dialled(&mut b, self.0.id, &result)
        });
    }

    fn disconnected(&self, conn: ConnId, end: Disconnected) {
        process::send(&self.0.pid, |mut b| {
            dialled::disconnected(&mut b, self.0.id, conn, &end)
        });
    }

    fn event(&self, event: Notice) {
        process::send(&self.0.pid, |mut b| events::notice(&mut b, &event));
    }
}

/// Gives a connection to another process, or says that it is closed. `done` tells when what came before is with the old one.
pub(crate) fn give(
    env: rustler::Env<'_>,
    conn: ConnId,
    pid: LocalPid,
    done: Done,
) -> NifResult<Result<(), SendError>> {
    let known = running::engine().and_then(|engine| Some((engine.server_of(conn)?, engine)));
    let Some((server, engine)) = known else {
        return Ok(Err(SendError::Closed));
    };
    if server.config.mode != Mode::Owner {
        return Err(Error::BadArg);
    }
    Ok(hand_over(env, &engine, &server, conn, pid, done))
}

fn hand_over(
    env: rustler::Env<'_>,
    engine: &Engine,
    server: &Server,
    conn: ConnId,
    pid: LocalPid,
    done: Done,
) -> Result<(), SendError> {
    use SendError::Closed;
    let host = registry::find(server.id()).ok_or(Closed)?;
    let owner = host.owner_inbox(Some(env), pid).ok_or(Closed)?;
    engine.set_owner(conn, owner.inbox.clone(), done)?;
    if owner.inbox.is_dead() {
        // It died meanwhile, and the shard may have heard of it too early.
        engine.owner_died(&owner.inbox);
    }
    Ok(())
}
