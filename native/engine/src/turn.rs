//! The end of a loop turn: what other threads asked for, then what the turn has collected.
//!
//! Replies and events gather while connections are read, so that a process gets one message
//! and a socket one write for all that a turn brought.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use crate::inbox::Inbox;
use crate::op::{Control, Frames, Op, Part};
use crate::outbox;
use crate::server::{Server, bump};
use crate::shard::Shard;
use crate::{dial, front, listener};

/// Operations of one turn; the sockets come next, then the rest.
const MOST: usize = 1024;

impl Control {
    /// Whether it comes after what was sent, or subscribed to, before it: an end, or the question
    /// who is there.
    fn comes_last(&self) -> bool {
        matches!(
            self,
            Control::InboxDied(_) | Control::StopServer { .. } | Control::Connections { .. }
        )
    }
}

impl Shard {
    pub(crate) fn turn(self: &Rc<Self>) {
        self.turn_begins();
        // What comes meanwhile waits for the next turn.
        for _ in 0..self.controls.len() {
            match self.controls.try_recv() {
                Ok(control) if control.comes_last() => self.lists.last.push(control),
                Ok(control) => self.control(control),
                Err(_) => break,
            }
        }
        for _ in 0..self.lists.resumable.len() {
            if let Some(key) = self.lists.resumable.pop() {
                self.resume(key);
            }
        }
        let most = if self.lists.last.len() > 0 {
            usize::MAX
        } else {
            MOST
        };
        for _ in 0..self.ops.len().min(most) {
            match self.ops.try_recv() {
                Ok(op) => self.op(op),
                Err(_) => break,
            }
        }
        let mut dead = Vec::new();
        while let Some(control) = self.lists.last.pop() {
            match control {
                Control::InboxDied(inbox) => dead.push(inbox),
                other => {
                    self.inboxes_died(&std::mem::take(&mut dead));
                    self.control(other);
                }
            }
        }
        self.inboxes_died(&dead);
        if !self.ops.is_empty() || !self.controls.is_empty() {
            self.schedule();
        }
        while let Some(conn) = self.lists.orphans.pop() {
            conn.orphan(self, "handler died");
        }
        while let Some(inbox) = self.lists.inboxes.pop() {
            self.rung.set(true);
            inbox.ring();
        }
        if self.rung.replace(false) {
            (self.config.after_bells)();
        }
        while let Some(later) = self.lists.heard.pop() {
            later.tell();
        }
        while let Some(conn) = self.lists.soiled.pop() {
            conn.flush(self);
        }
    }

    /// The processes behind these inboxes are dead. Many may die at once: the connections are looked
    /// through for all of them together, and not for one that has none.
    fn inboxes_died(self: &Rc<Self>, dead: &[Arc<Inbox>]) {
        let mut keys = HashSet::new();
        for inbox in dead {
            self.drop_waiting(inbox.key());
            match inbox.only() {
                Some(id) => {
                    if let Some(conn) = self.conn(id)
                        && conn.inbox() == Some(inbox.key())
                    {
                        conn.orphan(self, "handler died");
                    }
                }
                None if inbox.is_in_use() => {
                    keys.insert(inbox.key());
                }
                None => {}
            }
        }
        if keys.is_empty() {
            return;
        }
        for conn in self.everyone() {
            if conn.inbox().is_some_and(|key| keys.contains(&key)) {
                conn.orphan(self, "handler died");
            }
            // Who asked a dead acceptor for a process asks the next one.
            if conn.acceptor().is_some_and(|key| keys.contains(&key)) {
                self.announce_or_wait(&conn);
            }
        }
    }

    fn control(self: &Rc<Self>, control: Control) {
        match control {
            Control::Accepted(arrival) => front::start(self, arrival),
            Control::Listen(listening) => listener::start(self, listening),
            Control::Dial(seat) => dial::start(self, seat),
            Control::Resume(key) => self.resume(key),
            Control::InboxDied(inbox) => self.inboxes_died(&[inbox]),
            Control::Call(work) => work(),
            Control::Worker(server) => self.worker_ready(&server),
            Control::Attach { conn, inbox } => self.attach(conn, inbox),
            Control::StopServer {
                server,
                code,
                reason,
            } => {
                self.stop_server(&server, code, &reason);
            }
            Control::Connections {
                server,
                audience,
                reply,
            } => {
                let mut ids = Vec::new();
                self.audience(&server, &audience, |conn| ids.push(conn.id));
                reply(&ids);
            }
            Control::Shutdown => self.end.notify_one(),
        }
    }

    fn stop_server(self: &Rc<Self>, server: &Arc<Server>, code: u16, reason: &str) {
        self.tasks.borrow_mut().retain(|_, (serial, task)| {
            let ours = *serial == server.serial();
            if ours {
                task.abort();
            }
            !ours
        });
        if server.is_client() {
            // Of ten thousand clients, none is to look through the connections of all.
            let last = server.last_conn().and_then(|id| self.find(id));
            if let Some(conn) = last {
                conn.leave(self, code, reason);
            }
        } else {
            for conn in self.everyone() {
                if conn.server.serial() == server.serial() {
                    conn.leave(self, code, reason);
                }
            }
        }
        // Its listener may have ended before, and with it the last who would tell.
        server.check_stopped();
    }

    fn op(self: &Rc<Self>, op: Op) {
        match op {
            Op::Frames(frames) => self.frames(frames),
            Op::Fanout { server, frame, to } => {
                self.fan_out(&server, &frame, &to);
                self.handle.fanned_out(frame.len());
            }
            Op::Subscribe(conn, topic) => self.subscribe(conn, &topic),
            Op::Unsubscribe(conn, topic) => self.unsubscribe(conn, &topic),
            Op::Owner { conn, inbox, done } => match self.conn(conn) {
                Some(conn) => conn.set_owner(self, inbox, done),
                None => done(),
            },
            Op::Info { conn, reply } => reply(self.conn(conn).map(|conn| conn.stats(self))),
            Op::Tell(told) => drop(told),
        }
    }

    fn frames(self: &Rc<Self>, Frames { bytes, parts }: Frames) {
        let buffer = Arc::new(bytes);
        for (id, part) in parts {
            let Some(conn) = self.conn(id) else {
                if let Part::Stream(..) = part {
                    self.handle.streams.forget(id);
                }
                continue;
            };
            match part {
                Part::Write(ref range, frames) | Part::Plain(ref range, frames) => {
                    bump(&conn.server.counters.frames_out, frames.into());
                    let compress = matches!(part, Part::Write(..));
                    let part = outbox::Part::new(buffer.clone(), range.start, range.end);
                    conn.send(self, part, compress);
                }
                Part::Stream(range, step, _) => {
                    bump(&conn.server.counters.frames_out, 1);
                    let part = outbox::Part::new(buffer.clone(), range.start, range.end);
                    conn.send_piece(self, part, step);
                }
                Part::Close(code, reason) => conn.close(self, code, &reason),
                Part::Fail(code, reason) => conn.refuse(self, code, &reason),
                Part::Object(code, reason) => conn.object(self, code, &reason),
                Part::Answered => conn.answered(self),
                Part::Active(change) => conn.set_active(self, change),
                Part::Options(options) => conn.set_options(self, &options),
            }
        }
    }
}
