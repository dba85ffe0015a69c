//! Carries out the work of a turn, in the order of [`crate::shard::schedule`].

use std::rc::Rc;
use std::sync::Arc;

use crate::server::{Server, bump};
use crate::shard::conn::Conn;
use crate::shard::op::{Command, Control, Frames, Op};
use crate::shard::schedule::{List, Work};
use crate::shard::{Shard, outbox};
use crate::vm::host::Notice;
use crate::vm::inbox::Inbox;
use crate::world::collections::HashSet;
use crate::world::sync::atomic::Ordering;
use crate::world::thread;

impl Work for Rc<Shard> {
    type Conn = Rc<Conn>;
    type Op = Op;
    type Control = Control;

    fn is_late(control: &Control) -> bool {
        matches!(
            control,
            Control::InboxDied(_) | Control::StopServer { .. } | Control::Connections { .. }
        )
    }

    fn control(&self, control: Control) {
        self.carry_out_control(control);
    }

    fn resume(&self, inbox: u64) {
        Shard::resume(self, inbox);
    }

    fn op(&self, op: Op) {
        self.carry_out_op(op);
    }

    fn ops_done(&self) {
        self.fan_out();
    }

    fn late(&self, controls: &List<Control>) {
        let mut dead = Vec::new();
        while let Some(control) = controls.pop() {
            match control {
                Control::InboxDied(inbox) => dead.push(inbox),
                other => {
                    self.inboxes_died(&std::mem::take(&mut dead));
                    self.carry_out_control(other);
                }
            }
        }
        self.inboxes_died(&dead);
    }

    fn receiver_died(&self, conn: Rc<Conn>) {
        if conn.inbox().is_some() {
            conn.receiver_died(self, "handler died");
            return;
        }
        if conn.server.owner_notices.is_due() {
            conn.server.host.event(Notice::NoOwner(conn.id));
        }
        conn.receiver_died(self, "no owner");
    }

    fn notified(&self) {
        if (self.config.after_notices)() {
            self.handle.answers_are_due.store(true, Ordering::Relaxed);
        }
    }

    fn write(&self, conn: Rc<Conn>) {
        conn.flush(self);
    }
}

impl Shard {
    /// Carries out what there is to do: see [`crate::shard::schedule`].
    pub(crate) fn turn(self: &Rc<Self>) {
        self.handle.slept.store(true, Ordering::Relaxed);
        let has_read_much = self.take_read();
        self.schedule.turn(self);
        if has_read_much && self.handle.answers_are_due.swap(false, Ordering::Relaxed) {
            // On a core that it shares, more would be read before the first of them runs.
            thread::yield_now();
        }
    }

    /// Lets those that wait for room in this inbox go on, the longest wait first. Who has had
    /// its share and waits again stands behind those that have had nothing.
    pub(crate) fn resume(&self, key: u64) {
        self.check_marks(key);
        let queue = self.waiting.borrow_mut().remove(&key);
        let mut served = Vec::new();
        for conn in queue.into_iter().flatten() {
            if conn.resume(self)
                && let Some(queue) = self.waiting.borrow_mut().get_mut(&key)
                && queue.back().is_some_and(|last| Rc::ptr_eq(last, &conn))
            {
                served.extend(queue.pop_back());
            }
        }
        if !served.is_empty() {
            let mut waiting = self.waiting.borrow_mut();
            waiting.entry(key).or_default().extend(served);
        }
    }

    /// The processes behind these inboxes are dead. Many may die at once: the connections are looked
    /// through for all of them together, and not for one that has none.
    fn inboxes_died(self: &Rc<Self>, dead: &[Arc<Inbox>]) {
        let mut keys: HashSet<u64> = HashSet::default();
        for inbox in dead {
            self.drop_waiting(inbox.key());
            match inbox.only() {
                Some(id) => {
                    if let Some(conn) = self.conn(id)
                        && conn.inbox() == Some(inbox.key())
                    {
                        conn.receiver_died(self, "handler died");
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
        for conn in self.all_conns() {
            if conn.inbox().is_some_and(|key| keys.contains(&key)) {
                conn.receiver_died(self, "handler died");
            }
            // Who asked a dead acceptor for a process asks the next one.
            if conn.acceptor().is_some_and(|key| keys.contains(&key)) {
                self.announce_or_wait(&conn);
            }
        }
    }

    fn carry_out_control(self: &Rc<Self>, control: Control) {
        match control {
            Control::Run(work) => work(self),
            Control::Resume(key) => self.resume(key),
            Control::InboxDied(inbox) => self.inboxes_died(&[inbox]),
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
        if let Some(client) = server.client() {
            // Of ten thousand clients, none is to look through the connections of all.
            let last = client.last_conn().and_then(|id| self.find(id));
            if let Some(conn) = last {
                conn.stop_with_server(self, code, reason);
            }
        } else {
            for conn in self.all_conns() {
                if conn.server.serial() == server.serial() {
                    conn.stop_with_server(self, code, reason);
                }
            }
        }
        // Its listener may have ended before, and with it the last who would tell.
        server.check_stopped();
    }

    fn carry_out_op(self: &Rc<Self>, op: Op) {
        if !matches!(op, Op::Fanout { .. }) {
            // What came before it.
            self.fan_out();
        }
        match op {
            Op::Frames(frames) => self.frames(frames),
            Op::Fanout { server, frame, to } => self.gather(server, frame, to),
            Op::Subscribe(conn, topic) => self.subscribe(conn, &topic),
            Op::Unsubscribe(conn, topic) => self.unsubscribe(conn, &topic),
            Op::Owner { conn, inbox, done } => match self.conn(conn) {
                Some(conn) => conn.set_owner(self, inbox, done),
                None => done(),
            },
            Op::Info { conn, reply } => reply(self.conn(conn).map(|conn| conn.stats(self))),
            Op::Signal(signal) => drop(signal),
        }
    }

    fn frames(self: &Rc<Self>, Frames { bytes, commands }: Frames) {
        self.moved(bytes.len());
        let buffer = Arc::new(bytes);
        for (id, part) in commands {
            let Some(conn) = self.conn(id) else {
                if let Command::Stream(..) = part {
                    self.handle.open_messages.forget(id);
                }
                continue;
            };
            match part {
                Command::Write(ref range, frames) | Command::Plain(ref range, frames) => {
                    bump(&conn.traffic().frames_out, frames.into());
                    let compress = matches!(part, Command::Write(..));
                    let part = outbox::Segment::new(buffer.clone(), range.start, range.end);
                    conn.send(self, part, compress);
                }
                Command::Stream(range, piece, _) => {
                    bump(&conn.traffic().frames_out, 1);
                    let part = outbox::Segment::new(buffer.clone(), range.start, range.end);
                    conn.send_piece(self, part, piece);
                }
                Command::Close(code, reason) => conn.close(self, code, &reason),
                Command::Fail(code, reason) => conn.fail_and_discard(self, code, &reason),
                Command::CloseAfterAnswers(code, reason) => {
                    conn.close_after_answers(self, code, &reason)
                }
                Command::Answered => conn.receiver_answered(self),
                Command::Active(change) => conn.set_active(self, change),
                Command::Options(options) => conn.set_options(self, &options),
            }
        }
    }
}
