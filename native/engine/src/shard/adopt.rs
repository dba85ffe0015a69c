//! From an opened transport to a connection that has a receiver.

use std::rc::Rc;
use std::sync::Arc;

use crate::model::compression::Compression;
use crate::model::id::ConnId;
use crate::server::{Permit, Server, bump};
use crate::settings::config::Mode;
use crate::shard::Shard;
use crate::shard::conn::{Conn, Task};
use crate::shard::opened::Opened;
use crate::vm::host::OwnerAsked;
use crate::vm::inbox::{Inbox, Pushed};
use crate::world::sync::atomic::Ordering;

impl Shard {
    /// Takes in a socket whose handshake is done, with the bytes that followed it.
    pub(crate) fn adopt(self: &Rc<Self>, permit: Permit, mut opened: Opened) -> Option<ConnId> {
        let mut rest = std::mem::take(&mut opened.rest);
        let permit = opened.permit.take().unwrap_or(permit);
        let slot = self.next_slot();
        let own = opened.options.send_queue_size;
        let limit = own.unwrap_or(permit.server.config.send_queue_size);
        let label = permit.server.label(Compression::of(
            opened.info.deflate,
            permit.server.config.role(),
        ));
        let id = self
            .handle
            .slots
            .open(self.handle.index, slot, limit, label);
        // None with sixteen million connections: the socket is dropped.
        let id = id?;
        let server = permit.hand_over(opened.info.peer_info.peer.ip());
        if let Some(client) = server.client() {
            client.connected(id);
        }
        let conn = Conn::new(id, server.clone(), opened, self);
        self.insert(&conn);
        server.counters.open.fetch_add(1, Ordering::Relaxed);
        if matches!(conn.compression, Compression::Shared(_)) {
            server.counters.sharing.fetch_add(1, Ordering::Relaxed);
        }
        bump(&server.counters.accepted, 1);
        conn.begin(self);
        self.assign_receiver(&conn);
        if !rest.is_empty() {
            conn.receive(self, &mut rest);
        }
        // The shard has closed the others, or is about to: this one has its 101 as they have.
        if let Some((code, reason)) = conn.server.last_word() {
            conn.stop_with_server(self, code, &reason);
        }
        self.connection_tasks.start(Task {
            conn,
            shard: self.clone(),
        });
        Some(id)
    }

    /// Finds the receiver of a new connection, or lets it wait for one.
    fn assign_receiver(self: &Rc<Self>, conn: &Rc<Conn>) {
        let server = &conn.server;
        match server.config.mode {
            Mode::Owner => match server.host.asks_for_owner(conn.id) {
                OwnerAsked::Asked => conn.await_process(self),
                OwnerAsked::Full => self.unassigned.borrow_mut().push(conn.clone()),
                OwnerAsked::Known => match server.host.owner() {
                    Some(inbox) => conn.attach(self, inbox),
                    None => self.schedule.receiver_died(conn.clone()),
                },
            },
            Mode::Workers(_) => match server.next_worker() {
                Some(inbox) => conn.attach(self, inbox),
                None => self.unassigned.borrow_mut().push(conn.clone()),
            },
            Mode::PerConnection => {
                conn.await_process(self);
                self.announce_or_wait(conn);
            }
        }
    }

    /// Asks for a process for this connection, now or when somebody is there to ask.
    pub(crate) fn announce_or_wait(&self, conn: &Rc<Conn>) {
        if !self.announce(conn) {
            self.unassigned.borrow_mut().push(conn.clone());
        }
    }

    fn announce(&self, conn: &Rc<Conn>) -> bool {
        let Some(inbox) = conn.server.acceptor() else {
            return false;
        };
        let inbox_key = inbox.key();
        inbox.announces();
        let mut filler = inbox.fill();
        let done = filler.event(|batch| batch.push_passive(conn.id));
        if filler.finish() {
            self.schedule.notify(inbox);
        }
        let done = done == Pushed::Done;
        if done {
            conn.announced_to(inbox_key);
        }
        done
    }

    /// A handler process of the server is ready: those that waited for one go to it.
    pub(crate) fn worker_ready(self: &Rc<Self>, server: &Server) {
        let all = std::mem::take(&mut *self.unassigned.borrow_mut());
        for conn in all {
            if conn.server.serial() != server.serial() {
                self.unassigned.borrow_mut().push(conn);
            } else if server.config.mode == Mode::PerConnection {
                self.announce_or_wait(&conn);
            } else if self.handle.slots.is_known(conn.id) {
                self.assign_receiver(&conn);
            }
        }
    }

    pub(crate) fn attach(self: &Rc<Self>, id: ConnId, inbox: Arc<Inbox>) {
        if let Some(conn) = self.conn(id) {
            conn.attach(self, inbox);
        }
    }
}
