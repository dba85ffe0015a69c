//! What a turn has collected.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use crate::conn::Conn;
use crate::deliver::{Parting, Staging};
use crate::inbox::Inbox;
use crate::op::Control;
use crate::server::Server;

/// What the present turn has to finish.
#[derive(Default)]
pub(crate) struct Lists {
    pub(crate) soiled: List<Rc<Conn>>,
    pub(crate) inboxes: List<Arc<Inbox>>,
    pub(crate) stagings: List<Rc<Staging>>,
    pub(crate) resumable: List<u64>,
    pub(crate) orphans: List<Rc<Conn>>,
    pub(crate) watched: List<Rc<Conn>>,
    /// Connections that held back while a large batch was on its way.
    pub(crate) thawed: List<Rc<Conn>>,
    /// Sockets that are gone, and who is to hear of the end before that is told.
    pub(crate) left: List<(Option<Rc<Staging>>, Arc<Server>)>,
    /// Connections of clients that are over, likewise.
    pub(crate) parted: List<(Option<Rc<Staging>>, Parting)>,
    /// Deaths, stops and questions, which come after what was asked for before them.
    pub(crate) last: List<Control>,
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
