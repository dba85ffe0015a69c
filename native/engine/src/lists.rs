//! What a turn has collected.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::conn::Conn;
use crate::id::ConnId;
use crate::inbox::Inbox;
use crate::op::{Control, Done};
use crate::server::Server;

/// What the present turn has to finish.
#[derive(Default)]
pub(crate) struct Lists {
    pub(crate) soiled: List<Rc<Conn>>,
    pub(crate) inboxes: List<Arc<Inbox>>,
    pub(crate) resumable: List<u64>,
    pub(crate) orphans: List<Rc<Conn>>,
    pub(crate) watched: List<Rc<Conn>>,
    /// What was to wait until a plain process has heard of something, and need not any more.
    pub(crate) heard: List<Later>,
    /// Deaths, stops and questions, which come after what was asked for before them.
    pub(crate) last: List<Control>,
}

/// What a plain process is to hear of before it is told to others.
pub(crate) enum Later {
    /// A socket is gone.
    Left(Arc<Server>),
    /// The connection of a client is over.
    Parted(Arc<Server>, ConnId),
    /// A connection has another owner.
    Moved(Done),
}

impl Later {
    pub(crate) fn tell(self) {
        match self {
            Later::Left(server) => server.leave(),
            Later::Parted(server, conn) => server.part(conn),
            Later::Moved(done) => done(),
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
