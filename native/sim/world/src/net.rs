//! The network: links that cut, delay, stall, reset and fall silent.

mod link;
mod listener;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::with;

pub use link::Faults;
use listener::Backlog;
pub use listener::{DetachedListener, TcpListener, listen};
pub use stream::{
    DetachedStream, OwnedReadHalf, OwnedWriteHalf, TcpStream, descriptor, keep_little_ahead,
    reset_on_close,
};

#[derive(Default)]
pub(crate) struct Network {
    faults: RefCell<Faults>,
    listeners: RefCell<BTreeMap<SocketAddr, Arc<Mutex<Backlog>>>>,
    next_port: Cell<u16>,
    /// Ends of links that somebody holds.
    open: Cell<usize>,
    /// The executor that may run while a socket is read or written, and once in how many times.
    preempts: Cell<Option<(usize, u64)>>,
}

impl Network {
    pub(crate) fn clear(&self) {
        *self.faults.borrow_mut() = Faults::default();
        let all = std::mem::take(&mut *self.listeners.borrow_mut());
        drop(all);
        self.next_port.set(0);
        self.open.set(0);
        self.preempts.set(None);
    }
}

/// How links behave that are made from now on.
pub fn set_faults(faults: Faults) {
    with(|world| *world.network.faults.borrow_mut() = faults);
}

/// The executor of this number does something in one of so many cases in which a socket is used.
pub fn set_preempts(by: usize, once_in: u64) {
    with(|world| world.network.preempts.set(Some((by, once_in))));
}

/// Ends of links that somebody holds.
pub fn open_sockets() -> usize {
    with(|world| world.network.open.get())
}

/// Whether somebody listens there.
pub fn is_taken(address: SocketAddr) -> bool {
    with(|world| world.network.listeners.borrow().contains_key(&address))
}

fn next_port() -> u16 {
    with(|world| {
        let port = world.network.next_port.get();
        world.network.next_port.set((port + 1) % 50_000);
        port + 10_000
    })
}

fn preempt() {
    if let Some((by, once_in)) = with(|world| world.network.preempts.get()) {
        crate::preempt(by, 1, once_in);
    }
}
