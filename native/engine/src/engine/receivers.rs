//! The processes that serve connections: their start, their death, and the assignment of connections to them.

use std::sync::Arc;

use crate::engine::Engine;
use crate::model::backlog::Done;
use crate::model::error::SendError;
use crate::model::id::ConnId;
use crate::server::Server;
use crate::shard::op::{Control, Op};
use crate::vm::inbox::Inbox;

impl Engine {
    /// The process with this inbox serves connections of a server with a fixed number of them.
    /// False if there is no such place.
    pub fn set_worker(&self, server: &Arc<Server>, slot: usize, inbox: &Arc<Inbox>) -> bool {
        let known = server.set_worker(slot, inbox);
        self.tell_worker(server);
        known
    }

    /// The process with this inbox is told of connections that need a process: each is one
    /// [`crate::vm::batch::Event::Passive`], to be answered with [`Engine::attach`].
    pub fn set_acceptor(&self, server: &Arc<Server>, inbox: &Arc<Inbox>) {
        server.set_acceptor(inbox);
        self.tell_worker(server);
    }

    fn tell_worker(&self, server: &Arc<Server>) {
        for shard in self.shards.iter() {
            shard.control(Control::Worker(server.clone()));
        }
    }

    /// There is room again for what [`ServerHost::asks_for_owner`] has not asked.
    pub fn ask_for_owners(&self, server: &Arc<Server>) {
        self.tell_worker(server);
    }

    /// The process of an inbox is dead: its connections close with 1011.
    pub fn inbox_died(&self, server: &Server, inbox: &Arc<Inbox>) {
        inbox.kill();
        server.remove_inbox(inbox);
        if server.is_client() {
            match server.client_conn() {
                Some(conn) => inbox.dedicate(conn),
                None => return,
            }
        }
        for (index, shard) in self.shards.iter().enumerate() {
            if inbox.only().is_none_or(|conn| conn.shard() == index) {
                shard.control(Control::InboxDied(inbox.clone()));
            }
        }
    }

    /// The plain process of an inbox is dead: its connections close with 1011.
    pub fn owner_died(&self, inbox: &Arc<Inbox>) {
        inbox.kill();
        for shard in self.shards.iter() {
            shard.control(Control::InboxDied(inbox.clone()));
        }
    }

    /// There is room in an inbox for the connections of these shards, as [`Inbox::drain`] said.
    pub fn resume(&self, inbox: &Inbox, mut shards: u64) {
        while shards != 0 {
            let index = shards.trailing_zeros() as usize;
            shards &= shards - 1;
            if let Some(shard) = self.shards.get(index) {
                shard.control(Control::Resume(inbox.key()));
            }
        }
    }

    /// The events of a connection go to this inbox, which serves no other connection.
    pub fn attach(&self, conn: ConnId, inbox: &Arc<Inbox>) -> Result<(), SendError> {
        let shard = self.known(conn)?;
        inbox.dedicate(conn);
        shard.control(Control::Attach {
            conn,
            inbox: inbox.clone(),
        });
        Ok(())
    }

    /// There is no process for a connection, and none to be had: it ends with 1011, and is counted.
    pub fn no_process(&self, conn: ConnId) {
        if let Some(server) = self
            .label_of(conn)
            .and_then(|label| self.server(label.server))
        {
            server.note_no_process();
        }
        self.fail(conn, 1011, "no process");
    }

    /// The plain process that was asked for has this inbox, or there is none: see
    /// [`ServerHost::asks_for_owner`].
    pub fn owner_is(&self, conn: ConnId, inbox: Option<Arc<Inbox>>) {
        let Some(shard) = self.shard_of(conn) else {
            return;
        };
        shard.control(match inbox {
            Some(inbox) => Control::Attach { conn, inbox },
            None => Control::Run(Box::new(move |shard| {
                if let Some(conn) = shard.conn(conn) {
                    shard.schedule.receiver_died(conn);
                }
            })),
        });
    }

    /// Gives a connection of [`crate::Mode::Owner`] to the process behind another inbox. `done` is called
    /// on the shard's thread when what came before is with the old one.
    pub fn set_owner(&self, conn: ConnId, inbox: Arc<Inbox>, done: Done) -> Result<(), SendError> {
        let shard = self.known(conn)?;
        shard
            .submit(Op::Owner { conn, inbox, done })
            .map_err(|_| SendError::Closed)
    }
}
