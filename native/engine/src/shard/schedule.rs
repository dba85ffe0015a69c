//! The steps of a turn, and their order.
//!
//! Replies and events gather while connections are read, so that a process gets one message and a socket one
//! write for all that a turn brought. The order of the steps is a promise to the callers:
//!
//! | step | what is done | why it stands here |
//! |---|---|---|
//! | 1 | controls: rare requests of other threads | a process has its place before frames for it come |
//! | 2 | connections that wait for room in an inbox that has been read | what they held is older than what is read next |
//! | 3 | operations: frames, broadcasts, subscriptions | in the order of each caller; [`MAX_OPS`] of them, then sockets are read again |
//! | 4 | late controls: deaths, stops, questions | they come after all operations: what a process sent before it died leaves before the Close frame, and who asks sees what it did before |
//! | 5 | connections whose receiver was found to be dead | steps 1 to 4 find them while they use the connection |
//! | 6 | notices: one message to each process whose inbox has events | all events of the turn are in the inboxes |
//! | 7 | announcements: what a plain process was to hear of first | that process has been notified |
//! | 8 | writes: once for each socket | all frames of the turn are queued |
//!
//! Work that steps 1 to 4 leave behind, or that comes meanwhile from other threads, is done in the next turn. What
//! steps 5 to 8 add to their own lists is done in the same turn. A panic costs the item at hand: what is left stays
//! on its list.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::backlog::Done;
use crate::model::id::ConnId;
use crate::server::Server;
use crate::vm::inbox::Inbox;
use crate::world::sync::Notify;
use crate::world::sync::channel::Receiver;

/// Operations of one turn, unless a late control waits for all of them.
pub(crate) const MAX_OPS: usize = 1024;

/// Who carries the work out: a shard, or a test.
pub(crate) trait Work {
    type Conn;
    type Op;
    type Control;

    /// Whether a control comes after all operations that were asked for before it.
    fn is_late(control: &Self::Control) -> bool;
    fn control(&self, control: Self::Control);
    fn resume(&self, inbox: u64);
    fn op(&self, op: Self::Op);
    /// No more operations come in this turn: what one of them has put off is due.
    fn ops_done(&self);
    /// Carries out the late controls, in the order of the list.
    fn late(&self, controls: &List<Self::Control>);
    fn receiver_died(&self, conn: Self::Conn);
    /// At least one process has been notified.
    fn notified(&self);
    fn write(&self, conn: Self::Conn);
}

/// What a shard has to do. See the table above.
pub(crate) struct Schedule<Conn, Op, Control> {
    controls: Receiver<Control>,
    ops: Receiver<Op>,
    resumable: List<u64>,
    late: List<Control>,
    receivers_died: List<Conn>,
    notices: List<Arc<Inbox>>,
    announcements: List<Announcement>,
    writes: List<Conn>,
    /// A process has been notified since the last [`Work::notified`].
    notified: Cell<bool>,
    /// A turn will follow.
    due: Cell<bool>,
    /// Wakes the task that runs the turns.
    turn: Arc<Notify>,
}

impl<Conn, Op, Control> Schedule<Conn, Op, Control> {
    pub(crate) fn new(ops: Receiver<Op>, controls: Receiver<Control>, turn: Arc<Notify>) -> Self {
        Schedule {
            controls,
            ops,
            resumable: List::default(),
            late: List::default(),
            receivers_died: List::default(),
            notices: List::default(),
            announcements: List::default(),
            writes: List::default(),
            notified: Cell::new(false),
            due: Cell::new(false),
            turn,
        }
    }

    /// Makes sure that a turn follows what is ready now.
    pub(crate) fn request_turn(&self) {
        if !self.due.replace(true) {
            self.turn.notify_one();
        }
    }

    /// The inbox has been read: who waits for that goes on.
    pub(crate) fn resume(&self, inbox: u64) {
        self.resumable.push(inbox);
        self.request_turn();
    }

    /// The receiver of this connection is dead.
    pub(crate) fn receiver_died(&self, conn: Conn) {
        self.receivers_died.push(conn);
        self.request_turn();
    }

    /// The process behind this inbox is to hear of its events.
    pub(crate) fn notify(&self, inbox: Arc<Inbox>) {
        self.notices.push(inbox);
        self.request_turn();
    }

    /// To be told when the processes have been notified.
    pub(crate) fn announce(&self, announcement: Announcement) {
        self.announcements.push(announcement);
        self.request_turn();
    }

    /// The connection has something to write.
    pub(crate) fn write(&self, conn: Conn) {
        self.writes.push(conn);
        self.request_turn();
    }

    /// Whether operations wait that no turn has taken.
    pub(crate) fn has_ops(&self) -> bool {
        !self.ops.is_empty()
    }

    pub(crate) fn turn<W>(&self, work: &W)
    where
        W: Work<Conn = Conn, Op = Op, Control = Control>,
    {
        self.due.set(false);
        // What comes meanwhile waits for the next turn.
        for _ in 0..self.controls.len() {
            match self.controls.try_recv() {
                Ok(control) if W::is_late(&control) => self.late.push(control),
                Ok(control) => work.control(control),
                Err(_) => break,
            }
        }
        for _ in 0..self.resumable.len() {
            if let Some(inbox) = self.resumable.pop() {
                work.resume(inbox);
            }
        }
        let most = match self.late.len() {
            0 => MAX_OPS,
            _ => usize::MAX,
        };
        for _ in 0..self.ops.len().min(most) {
            match self.ops.try_recv() {
                Ok(op) => work.op(op),
                Err(_) => break,
            }
        }
        work.ops_done();
        work.late(&self.late);
        if !self.ops.is_empty() || !self.controls.is_empty() {
            self.request_turn();
        }
        while let Some(conn) = self.receivers_died.pop() {
            work.receiver_died(conn);
        }
        while let Some(inbox) = self.notices.pop() {
            self.notified.set(true);
            inbox.notify();
        }
        if self.notified.replace(false) {
            work.notified();
        }
        while let Some(announcement) = self.announcements.pop() {
            announcement.tell();
        }
        while let Some(conn) = self.writes.pop() {
            work.write(conn);
        }
    }
}

/// What a plain process is to hear of before it is told to others.
pub(crate) enum Announcement {
    /// A socket is gone.
    SocketGone(Arc<Server>),
    /// The connection of a client is over.
    Disconnected(Arc<Server>, ConnId),
    /// A connection has another owner.
    Moved(Done),
}

impl Announcement {
    fn tell(self) {
        match self {
            Announcement::SocketGone(server) => server.socket_closed(),
            Announcement::Disconnected(server, conn) => {
                if let Some(client) = server.client() {
                    client.disconnected(&*server.host, conn);
                }
            }
            Announcement::Moved(done) => done(),
        }
    }
}

/// Work to do. It is taken one by one: a panic costs the item at hand, and the work may add to
/// the list.
pub(crate) struct List<T>(RefCell<VecDeque<T>>);

impl<T> Default for List<T> {
    fn default() -> Self {
        List(RefCell::default())
    }
}

impl<T> List<T> {
    pub(crate) fn push(&self, item: T) {
        self.0.borrow_mut().push_back(item);
    }

    pub(crate) fn pop(&self) -> Option<T> {
        self.0.borrow_mut().pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Mutex;

    use crossbeam_channel::{Sender, unbounded};

    use super::*;
    use crate::vm::inbox::Notifier;

    type Log = Arc<Mutex<Vec<String>>>;

    struct Process(Log);

    impl Notifier for Process {
        fn notify(&self) -> bool {
            self.0.lock().unwrap().push("notice".into());
            true
        }
    }

    /// Notes what it is given to do. Controls that begin with "late" are.
    struct TestWork {
        schedule: Schedule<&'static str, u32, &'static str>,
        inbox: Arc<Inbox>,
        log: Log,
        put_off: Cell<bool>,
    }

    impl TestWork {
        fn new() -> (Rc<Self>, Sender<u32>, Sender<&'static str>) {
            let (ops, controls) = (unbounded(), unbounded());
            let log = Log::default();
            let work = TestWork {
                schedule: Schedule::new(ops.1, controls.1, Arc::default()),
                inbox: Inbox::new(1 << 20, 0, Box::new(Process(log.clone()))),
                log,
                put_off: Cell::new(false),
            };
            (Rc::new(work), ops.0, controls.0)
        }

        fn note(&self, what: impl Into<String>) {
            self.log.lock().unwrap().push(what.into());
        }

        fn announce(&self, what: &'static str) {
            let log = self.log.clone();
            let tell = move || log.lock().unwrap().push(what.into());
            self.schedule.announce(Announcement::Moved(Box::new(tell)));
        }

        fn event(&self) {
            let conn = ConnId::new(0, 1, 1);
            self.inbox.fill().event(|batch| batch.push_passive(conn));
            self.schedule.notify(self.inbox.clone());
        }

        fn turn(self: &Rc<Self>) -> Vec<String> {
            self.schedule.turn(self);
            std::mem::take(&mut self.log.lock().unwrap())
        }
    }

    impl Work for Rc<TestWork> {
        type Conn = &'static str;
        type Op = u32;
        type Control = &'static str;

        fn is_late(control: &&'static str) -> bool {
            control.starts_with("late")
        }
        fn control(&self, control: &'static str) {
            self.note(control);
        }
        fn resume(&self, inbox: u64) {
            self.note(format!("resume {inbox}"));
        }
        fn op(&self, op: u32) {
            if op == 7 {
                // As an operation that meets a dead receiver, and a live one.
                self.schedule.receiver_died("found dead");
                self.schedule.write("peer");
                self.event();
                self.announce("announcement");
                self.put_off.set(true);
            }
            self.note(format!("op {op}"));
        }
        fn ops_done(&self) {
            if self.put_off.take() {
                self.note("put off");
            }
        }
        fn late(&self, controls: &List<&'static str>) {
            while let Some(control) = controls.pop() {
                self.note(control);
            }
        }
        fn receiver_died(&self, conn: &'static str) {
            self.note(conn);
            // The Close frame of what has lost its receiver.
            self.schedule.write(conn);
        }
        fn notified(&self) {
            self.note("notified");
        }
        fn write(&self, conn: &'static str) {
            assert_ne!(conn, "panic", "as a defect in a connection would");
            self.note(format!("write {conn}"));
        }
    }

    #[test]
    fn a_turn_has_one_order_whatever_comes_first() {
        let (work, ops, controls) = TestWork::new();
        work.schedule.write("early");
        work.schedule.resume(5);
        ops.send(7).unwrap();
        controls.send("late death").unwrap();
        controls.send("attach").unwrap();
        assert_eq!(
            work.turn(),
            [
                "attach",
                "resume 5",
                "op 7",
                "put off",
                "late death",
                "found dead",
                "notice",
                "notified",
                "announcement",
                "write early",
                "write peer",
                "write found dead",
            ]
        );
        assert!(work.turn().is_empty());
    }

    #[test]
    fn operations_are_bounded_unless_a_late_control_waits_for_them() {
        for (count, controls, taken) in [
            (MAX_OPS - 1, &[][..], MAX_OPS - 1),
            (MAX_OPS, &[], MAX_OPS),
            (MAX_OPS + 1, &[], MAX_OPS),
            (MAX_OPS + 1, &["late"], MAX_OPS + 2),
        ] {
            let (work, ops, sender) = TestWork::new();
            (0..count).for_each(|_| ops.send(1).unwrap());
            controls.iter().for_each(|c| sender.send(c).unwrap());
            let done = work.turn();
            assert_eq!(done.len(), taken);
            assert_eq!(work.schedule.has_ops(), taken < count);
            assert_eq!(work.schedule.due.get(), taken < count, "the rest follows");
            assert_eq!(
                done.last().map(String::as_str),
                controls.last().copied().or(Some("op 1"))
            );
        }
    }

    #[test]
    fn a_panic_costs_the_item_at_hand() {
        let (work, _ops, _controls) = TestWork::new();
        for conn in ["a", "panic", "b"] {
            work.schedule.write(conn);
        }
        let turn = std::panic::AssertUnwindSafe(|| work.turn());
        assert!(std::panic::catch_unwind(turn).is_err());
        assert_eq!(work.turn(), ["write a", "write b"]);
    }
}
