//! The calls about one connection, and those of its worker or owner.

use std::sync::Arc;

use sockeye_engine::op::{Command, ConnStats};
use sockeye_engine::{
    CallKind, ConnId, ConnOptions, Engine, Frames, Mode, SendError, Server, ShardSet, TracedFrame,
    Tracer,
};
use sockeye_seam::calls as seam;
use sockeye_seam::frames::{Bounds, SendFailure, set_active};
use sockeye_seam::settings::set_option;
use sockeye_seam::value::{BadArg, Read};
use sockeye_seam::{Atom, EtfTerm, Reader, Writer, events};

use super::Call;
use crate::link::reply_to::{error, reason};
use crate::processes::Watched;
use crate::processes::batches::{Batches, View};
use crate::processes::receiver::Receiver;

/// Memory that the empty inbox of a process for many connections may hold on to.
const KEEP: usize = 256 * 1024;

impl Call<'_> {
    /// `slot`: the number of a worker, `acceptor`, or the connection that the caller serves alone, which may be closed.
    pub(super) fn inbox_open(self) -> Read<()> {
        let [number, slot] = self.args()?;
        let server = self.server(number)?;
        let host = self.port.host_of(&server).ok_or(BadArg)?;
        let engine = self.port.engine().ok_or(BadArg)?;
        let r = self.reader();
        let worker = r.unsigned(slot).map(|n| n as usize);
        let acceptor = r.is(slot, Atom::acceptor);
        let alone = r.conn(slot);
        if !(acceptor || alone.is_some() || worker.is_some_and(|slot| slot < server.workers())) {
            return Err(BadArg);
        }
        let keep = if alone.is_some() || server.is_client() {
            0
        } else {
            KEEP
        };
        let room = (server.config.inbox_size, keep);
        let id = self.port.processes.new_id();
        let (role, view) = match acceptor {
            true => (Atom::acceptor, View::Acceptor),
            false => (Atom::handler, View::Handler),
        };
        let who = (id, super::caller(self.caller));
        let batches = Batches::new(view, host.format.clone());
        let receiver = Receiver::new(who, batches, room, &self.port.link, &engine);
        let watched = Watched::Receiver(receiver.clone(), server.clone());
        let caller = self.caller;
        self.port
            .processes
            .watch(id, role, caller, host.process, watched);
        // What it has for the caller may pass the answer.
        if alone.is_some_and(|conn| engine.attach(conn, &receiver.inbox).is_err()) {
            self.reply_to.error(Atom::closed);
            return Ok(());
        }
        self.reply_to.answer(|w| w.integer(id));
        if let Some(slot) = worker {
            engine.set_worker(&server, slot, &receiver.inbox);
        } else if acceptor {
            engine.set_acceptor(&server, &receiver.inbox);
        }
        Ok(())
    }

    pub(super) fn inbox_rest(self) -> Read<()> {
        let [id] = self.args()?;
        let receiver = self.port.processes.receiver(self.number(id)?);
        let reply_to = self.reply_to;
        receiver
            .ok_or(BadArg)?
            .when_at_rest(move || reply_to.ok_last());
        Ok(())
    }

    fn ok_or_closed(&self, is_ok: bool) {
        match is_ok {
            true => self.reply_to.ok(),
            false => self.reply_to.error(Atom::closed),
        }
    }

    pub(super) fn refuse(self) -> Read<()> {
        let [conn, code, why] = self.args()?;
        let code = u16::try_from(self.number(code)?).map_err(|_| BadArg)?;
        let (conn, why) = (self.conn(conn)?, self.text(why)?);
        self.end_with(conn, |engine| engine.fail(conn, code, why))
    }

    pub(super) fn answered(self) -> Read<()> {
        let [conn] = self.args()?;
        let conn = self.conn(conn)?;
        self.end_with(conn, |engine| engine.answered(conn))
    }

    fn end_with(&self, conn: ConnId, end: impl FnOnce(&Engine)) -> Read<()> {
        if let Some(engine) = self.port.engine() {
            end(&engine);
        }
        self.ok_after(ShardSet::one(conn.shard()), CallKind::Single);
        Ok(())
    }

    /// Answers `ok` when not too much waits for these shards.
    pub(super) fn ok_after(&self, shards: ShardSet, load: CallKind) {
        let engine = self.port.engine();
        let crowded = engine.map_or(ShardSet::default(), |engine| {
            engine.backlogged(shards, load)
        });
        let reply_to = self.reply_to.clone();
        self.port.when_done(crowded, move || reply_to.ok());
    }

    pub(super) fn no_process(self) -> Read<()> {
        let [whose] = self.args()?;
        if let Some(number) = self.reader().unsigned(whose) {
            if let Some(host) = self.port.host(number)
                && let Some(server) = host.find_server(self.port)
            {
                server.note_no_process();
            }
        } else {
            let conn = self.conn(whose)?;
            if let Some(engine) = self.port.engine() {
                engine.no_process(conn);
            }
        }
        self.reply_to.ok();
        Ok(())
    }

    pub(super) fn setopts(self) -> Read<()> {
        let [conn, list] = self.args()?;
        let conn = self.conn(conn)?;
        let r = self.reader();
        let mut frames = Frames::default();
        let mut others = ConnOptions::default();
        let mut rest = list;
        while let Some((option, tail)) = r.cell(rest) {
            let parts = r.parts(option).ok_or(BadArg)?;
            let [key, value] = *parts.as_ref() else {
                return Err(BadArg);
            };
            if r.is(key, Atom::active) {
                let change = set_active(r, value).ok_or(BadArg)?;
                frames.commands.push((conn, Command::Active(change)));
            } else {
                let (key, value) = (self.value(key)?, self.value(value)?);
                if !set_option(&mut others, key.atom()?, &value)? {
                    return Err(BadArg);
                }
            }
            rest = tail;
        }
        if !r.is_nil(rest) {
            return Err(BadArg);
        }
        if others != ConnOptions::default() {
            let part = Command::Options(Box::new(others));
            frames.commands.push((conn, part));
        }
        let engine = self.port.engine().filter(|engine| engine.is_known(conn));
        match engine {
            Some(engine) => {
                engine.send(conn.shard(), frames);
                self.ok_after(ShardSet::one(conn.shard()), CallKind::Single);
            }
            None => self.reply_to.error(Atom::closed),
        }
        Ok(())
    }

    /// Answers when what arrived before is with the old owner.
    pub(super) fn controlling_process(self) -> Read<()> {
        let [conn, pid] = self.args()?;
        let conn = self.conn(conn)?;
        let engine = self.port.engine();
        let Some(server) = engine.as_ref().and_then(|engine| engine.server_of(conn)) else {
            self.reply_to.error(Atom::closed);
            return Ok(());
        };
        // Those of handlers stay with them.
        if server.config.mode != Mode::Owner {
            return Err(BadArg);
        }
        if self.give(conn, &server, &pid.to_bytes()).is_none() {
            self.reply_to.error(Atom::closed);
        }
        Ok(())
    }

    fn give(&self, conn: ConnId, server: &Server, pid: &[u8]) -> Option<()> {
        let engine = self.port.engine()?;
        let receiver = self.port.host_of(server)?.owner_of(pid)?;
        let (reply_to, port, new) = (self.reply_to.clone(), self.port.clone(), receiver.id);
        let done = Box::new(move || {
            // Before its end, if that is still to come: this is where it would be noted.
            if port.engine().is_some_and(|engine| engine.is_known(conn)) {
                port.link.message(new, |w| {
                    w.tuple(2);
                    w.atom(Atom::sockeye_given);
                    w.conn(conn);
                });
            }
            reply_to.ok_last();
        });
        engine.set_owner(conn, receiver.inbox.clone(), done).ok()?;
        if receiver.inbox.is_dead() {
            // It died meanwhile, and the shard may have heard of it too early.
            engine.owner_died(&receiver.inbox);
        }
        Some(())
    }

    /// Tells who has the name of the owner, for a new connection: a pid, or `none`.
    pub(super) fn owner_is(self) -> Read<()> {
        let [number, conn, pid] = self.args()?;
        let (number, conn) = (self.number(number)?, self.conn(conn)?);
        let (Some(engine), Some(host)) = (self.port.engine(), self.port.host(number)) else {
            return Ok(());
        };
        let receiver = match self.reader().is(pid, Atom::none) {
            true => None,
            false => host.owner_of(&pid.to_bytes()),
        };
        let inbox = receiver.map(|receiver| receiver.inbox.clone());
        engine.owner_is(conn, inbox.clone());
        if let Some(inbox) = inbox.filter(|inbox| inbox.is_dead()) {
            engine.owner_died(&inbox);
        }
        Ok(())
    }

    pub(super) fn conn_info(self) -> Read<()> {
        let [conn] = self.args()?;
        let conn = self.conn(conn)?;
        let reply_to = self.reply_to.clone();
        let reply = move |stats: Option<ConnStats>| match stats {
            Some(stats) => reply_to.answer(|w| {
                w.tuple(2);
                w.atom(Atom::ok);
                seam::conn_map(w, &stats);
            }),
            None => reply_to.error(Atom::closed),
        };
        let asked = self
            .port
            .engine()
            .is_some_and(|engine| engine.conn_stats(conn, Box::new(reply)).is_ok());
        if !asked {
            self.reply_to.error(Atom::closed);
        }
        Ok(())
    }

    /// The server that a connection belongs to.
    pub(super) fn conn_server(self) -> Read<()> {
        let [conn] = self.args()?;
        let conn = self.conn(conn)?;
        let server = self.port.engine().and_then(|engine| engine.server_of(conn));
        let host = server.and_then(|server| self.port.host_of(&server));
        match host {
            Some(host) => self.reply_to.answer(|w| {
                w.tuple(2);
                w.atom(Atom::ok);
                w.integer(host.number);
            }),
            None => self.reply_to.error(Atom::closed),
        }
        Ok(())
    }

    /// `{sockeye_down, Conn}` comes to the process when the connection has ended.
    pub(super) fn watch_conn(self) -> Read<()> {
        let [conn, pid] = self.args()?;
        let conn = self.conn(conn)?;
        let processes = &self.port.processes;
        let id = processes.new_id();
        processes.watch(id, Atom::other, &pid.to_bytes(), 0, Watched::Other);
        let port = Arc::downgrade(self.port);
        let tell = move |conn: ConnId| {
            let Some(port) = port.upgrade() else {
                return;
            };
            if port.processes.is_alive(id) {
                port.link.message(id, |w| {
                    w.tuple(2);
                    w.atom(Atom::sockeye_down);
                    w.conn(conn);
                });
                port.processes.unwatch(id);
            }
        };
        let engine = self.port.engine();
        let known = engine.is_some_and(|engine| engine.watch(conn, Box::new(tell)));
        if !known {
            processes.unwatch(id);
        }
        self.ok_or_closed(known);
        Ok(())
    }

    /// The process gets the frames of the connection, so many a second, with so many bytes of each; with no rate it gets no more.
    pub(super) fn trace(self) -> Read<()> {
        let [conn, pid, id, rate, payload] = self.args()?;
        let (conn, id) = (self.conn(conn)?, self.number(id)?);
        let rate = u32::try_from(self.number(rate)?).map_err(|_| BadArg)?;
        let payload = self.number(payload)? as usize;
        let change = match rate {
            0 => Err(id),
            _ => Ok(self.tracer(&pid.to_bytes(), id, rate, payload)),
        };
        let engine = self.port.engine();
        let known = engine.is_some_and(|engine| engine.trace(conn, change));
        self.ok_or_closed(known);
        Ok(())
    }

    fn tracer(&self, pid: &[u8], id: u64, rate: u32, payload: usize) -> Tracer {
        let processes = &self.port.processes;
        let watched = processes.new_id();
        processes.watch(watched, Atom::other, pid, 0, Watched::Other);
        let port = Arc::downgrade(self.port);
        let tell = move |frame: Option<&TracedFrame<'_>>| {
            let Some(port) = port.upgrade() else {
                return false;
            };
            let is_alive = port.processes.is_alive(watched);
            if is_alive {
                port.link.message(watched, |w| {
                    events::traced(w, id, frame);
                });
            }
            if frame.is_none() {
                port.processes.unwatch(watched);
            }
            is_alive
        };
        Tracer {
            id,
            rate,
            payload,
            tell: Box::new(tell),
        }
    }

    pub(super) fn send(self) -> Read<()> {
        let [conn, frames] = self.args()?;
        let conn = self.conn(conn)?;
        let sent = match self.port.engine() {
            Some(engine) => seam::send(self.reader(), &engine, conn, frames, Bounds::NONE),
            None => Err(SendFailure::Send(SendError::Closed)),
        };
        if let (Ok(_), Some(engine)) = (&sent, self.port.engine()) {
            self.port.grants.renew(&engine, conn);
        }
        match sent {
            Ok(_) => self.ok_after(ShardSet::one(conn.shard()), CallKind::Single),
            Err(failure) => self.refused(&failure)?,
        }
        Ok(())
    }

    /// `{error, Reason}`, or an exception.
    pub(super) fn refused(&self, failure: &SendFailure<EtfTerm<'_>>) -> Read<()> {
        if let SendFailure::BadArg | SendFailure::Dirty = failure {
            return Err(BadArg);
        }
        self.reply_to.answer(|w| error(w, |w| reason(w, failure)));
        Ok(())
    }
}
