//! The end of a loop turn: what other threads asked for, then what the turn has collected.
//!
//! Replies and events gather while connections are read, so that a process gets one message
//! and a socket one write for all that a turn brought.

use std::mem::take;
use std::rc::Rc;
use std::sync::Arc;

use crate::conn::Conn;
use crate::id::ConnId;
use crate::inbox::Inbox;
use crate::op::{Control, Frames, Op, Part};
use crate::outbox;
use crate::server::{Server, bump};
use crate::shard::Shard;
use crate::{handshake, listener};

/// Operations of one turn; the sockets come next, then the rest.
const MOST: usize = 1024;

impl Shard {
    pub(crate) fn turn(self: &Rc<Self>) {
        self.turn_begins();
        // What a process sent before its death comes before the death.
        let mut deaths = Vec::new();
        while let Ok(control) = self.controls.try_recv() {
            match control {
                Control::InboxDied(_) | Control::OwnerDied(_) => deaths.push(control),
                _ => self.control(control),
            }
        }
        // Lists are taken first: the work may add to them.
        let resumable = take(&mut *self.lists.resumable.borrow_mut());
        for key in resumable {
            self.resume(key);
        }
        for _ in 0..MOST {
            match self.ops.try_recv() {
                Ok(op) => self.op(op),
                Err(_) => break,
            }
        }
        for death in deaths {
            self.control(death);
        }
        if !self.ops.is_empty() {
            self.schedule();
        }
        let orphans = take(&mut *self.lists.orphans.borrow_mut());
        for conn in orphans {
            conn.orphan(self, "handler died");
        }
        let mut rung = false;
        for inbox in self.lists.inboxes.borrow_mut().drain(..) {
            inbox.ring();
            rung = true;
        }
        if rung {
            (self.after_bells)();
        }
        self.send_to_owners();
        let left = take(&mut *self.lists.left.borrow_mut());
        for server in left {
            server.leave();
        }
        let mut soiled = take(&mut *self.lists.soiled.borrow_mut());
        for conn in soiled.drain(..) {
            conn.flush(self);
        }
        // Its memory serves the next turn.
        let mut list = self.lists.soiled.borrow_mut();
        if list.is_empty() {
            *list = soiled;
        }
    }

    fn send_to_owners(self: &Rc<Self>) {
        let stagings = take(&mut *self.lists.stagings.borrow_mut());
        for staging in stagings {
            staging.touched.set(false);
            let mut batch = take(&mut *staging.batch.borrow_mut());
            let delivery = staging.owner.deliver(&batch);
            for (id, reason) in delivery.invalid {
                if let Some(conn) = self.conn(id) {
                    conn.fail(self, 1007, &reason);
                }
            }
            if delivery.dead {
                self.owner_died(staging.owner.key());
            }
            batch.clear(16 * 1024);
            let mut place = staging.batch.borrow_mut();
            if place.is_empty() {
                *place = batch;
            }
        }
    }

    fn owner_died(self: &Rc<Self>, key: u64) {
        self.drop_staging(key);
        self.orphan_all(key, true);
    }

    fn inbox_died(self: &Rc<Self>, inbox: &Inbox) {
        self.drop_waiting(inbox.key());
        match inbox.only() {
            Some(id) => {
                if let Some(conn) = self.conn(id) {
                    conn.orphan(self, "handler died");
                }
            }
            None => self.orphan_all(inbox.key(), false),
        }
    }

    fn orphan_all(self: &Rc<Self>, key: u64, owner: bool) {
        for conn in self.everyone() {
            if conn.is_routed_to(key, owner) {
                conn.orphan(self, "handler died");
            }
        }
    }

    fn control(self: &Rc<Self>, control: Control) {
        match control {
            Control::Accepted {
                server,
                stream,
                peer,
            } => {
                handshake::start(self, &server, stream, peer);
            }
            Control::Listen(listening) => listener::start(self, listening),
            Control::Resume(key) => self.resume(key),
            Control::InboxDied(inbox) => self.inbox_died(&inbox),
            Control::OwnerDied(key) => self.owner_died(key),
            Control::Worker(server) => self.worker_ready(&server),
            Control::Fail { conn, code, reason } => {
                if let Some(conn) = self.conn(conn) {
                    conn.fail(self, code, &reason);
                }
            }
            Control::Attach { conn, inbox } => self.attach(conn, inbox),
            Control::StopServer {
                server,
                code,
                reason,
            } => {
                self.stop_server(&server, code, &reason);
            }
            Control::Connections { server, reply } => self.with_members(&server, |members| {
                let ids: Vec<ConnId> = members.iter().map(|conn| conn.id).collect();
                reply(&ids);
            }),
            Control::Shutdown => self.end.notify_one(),
        }
    }

    fn stop_server(self: &Rc<Self>, server: &Arc<Server>, code: u16, reason: &str) {
        self.tasks.borrow_mut().retain(|_, (number, task)| {
            let ours = *number == server.number();
            if ours {
                task.abort();
            }
            !ours
        });
        for conn in self.everyone() {
            if conn.server.number() == server.number() {
                conn.leave(self, code, reason);
            }
        }
        // Its listener may have ended before, and with it the last who would tell.
        server.check_stopped();
    }

    fn op(self: &Rc<Self>, op: Op) {
        match op {
            Op::Frames(frames) => self.frames(frames),
            Op::Fanout {
                server,
                frame,
                except,
            } => {
                self.fan_out(&server, &frame, except);
                self.handle.fanned_out(frame.len());
            }
            Op::Owner { conn, owner } => {
                if let Some(conn) = self.conn(conn) {
                    conn.set_owner(self, self.push_route(&owner));
                }
            }
            Op::Info { conn, reply } => reply(self.conn(conn).map(|conn| conn.stats(self))),
        }
    }

    fn frames(self: &Rc<Self>, Frames { bytes, parts }: Frames) {
        let buffer = Arc::new(bytes);
        for (id, part) in parts {
            let Some(conn) = self.conn(id) else { continue };
            match part {
                Part::Write(range, frames) => {
                    bump(&conn.server.counters.frames_out, frames.into());
                    let part = outbox::Part::new(buffer.clone(), range.start, range.end);
                    conn.send(self, part);
                }
                Part::Close(code, reason) => conn.close(self, code, &reason),
                Part::Fail(code, reason) => conn.fail(self, code, &reason),
                Part::Active(change) => conn.set_active(self, change),
            }
        }
    }

    fn fan_out(self: &Rc<Self>, server: &Server, frame: &Arc<Vec<u8>>, except: Option<ConnId>) {
        let (mut sent, mut dropped) = (0, 0);
        let len = frame.len();
        let copy = |conn: &Rc<Conn>| {
            if Some(conn.id) == except {
                return;
            }
            match self.handle.slots.reserve_earlier(conn.id, len) {
                Ok(()) => {
                    conn.send(self, outbox::Part::new(frame.clone(), 0, len as u32));
                    sent += 1;
                }
                Err(crate::SendError::Busy) => dropped += 1,
                Err(crate::SendError::Closed) => {}
            }
        };
        self.with_members(server, |members| members.iter().for_each(copy));
        bump(&server.counters.frames_out, sent);
        bump(&server.counters.dropped, dropped);
    }
}
