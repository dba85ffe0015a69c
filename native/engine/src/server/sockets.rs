//! What counts the sockets of a server: as connections that it may have, for their addresses, and for its stop.

use std::net::IpAddr;
use std::sync::Arc;

use crate::model::refused::Refused;
use crate::server::Server;
use crate::world::sync::atomic::Ordering;
use crate::world::time::Instant;

/// Allows one socket among `max_connections`, until it is a connection. Dropped, it is given back.
pub(crate) struct Permit {
    pub(crate) server: Arc<Server>,
    taken: bool,
    /// The address that it is counted for.
    address: Option<IpAddr>,
}

impl Permit {
    /// Counts the socket for the address of its client, once, or says why there is no room.
    pub(crate) fn count_for(&mut self, address: Option<IpAddr>) -> Result<(), Refused> {
        let (Some(addresses), Some(address), None) =
            (&self.server.addresses, address, self.address)
        else {
            return Ok(());
        };
        match addresses.enter(address, Instant::now()) {
            Ok(()) => {
                self.address = Some(address);
                Ok(())
            }
            Err(limit) => Err(limit.refusal()),
        }
    }

    /// From here on the connection, of this address, answers for the socket.
    pub(crate) fn hand_over(mut self, address: Option<IpAddr>) -> Arc<Server> {
        self.taken = false;
        if let Some(addresses) = &self.server.addresses
            && address != self.address
        {
            if let Some(address) = address {
                addresses.add(address, Instant::now());
            }
            if let Some(address) = self.address {
                addresses.leave(address);
            }
        }
        self.server.clone()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.taken {
            self.server.release_permit(self.address);
            self.server.socket_closed();
        }
    }
}

/// A socket that counts for the stop of its server, and for nothing else.
pub(crate) struct OpenSocket(Arc<Server>);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.socket_closed();
    }
}

/// An ordinary request whose answer is not complete, for who drains the server.
pub(crate) struct OpenAnswer(Arc<Server>);

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        self.0.counters.answering.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes of the body of a request that the virtual machine is to be asked about.
pub(crate) struct HeldBody {
    server: Arc<Server>,
    bytes: usize,
    /// Bytes that all bodies of the server may have together.
    most: usize,
}

impl HeldBody {
    /// Whether there is room for more of it, which then counts.
    pub(crate) fn grow(&mut self, by: usize) -> bool {
        let before = self.server.bodies.fetch_add(by, Ordering::Relaxed);
        self.bytes += by;
        before.saturating_add(by) <= self.most
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        self.server.bodies.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Server {
    /// A permit for one more socket, if there is one.
    pub(crate) fn permit(self: &Arc<Self>) -> Option<Permit> {
        let taken = self.permits.fetch_add(1, Ordering::SeqCst);
        if taken >= self.config.max_connections {
            self.release_permit(None);
            return None;
        }
        self.sockets.fetch_add(1, Ordering::SeqCst);
        Some(Permit {
            server: self.clone(),
            taken: true,
            address: None,
        })
    }

    /// Whether there is room for one more connection of this address, which is counted when it is
    /// open.
    pub(crate) fn has_room_for(&self, address: Option<IpAddr>) -> Result<(), Refused> {
        let (Some(addresses), Some(address)) = (&self.addresses, address) else {
            return Ok(());
        };
        let room = addresses.enter(address, Instant::now());
        room.map_err(|limit| limit.refusal())?;
        addresses.leave(address);
        Ok(())
    }

    /// A socket does not count for `max_connections` any more, nor for its address.
    pub(crate) fn release_permit(&self, address: Option<IpAddr>) {
        self.permits.fetch_sub(1, Ordering::SeqCst);
        if let (Some(addresses), Some(address)) = (&self.addresses, address) {
            addresses.leave(address);
        }
    }

    /// The listening socket, or an accepted one, is gone.
    pub(crate) fn socket_closed(&self) {
        if self.sockets.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.tell_stopped();
        }
    }

    /// Whether no socket is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.load(Ordering::SeqCst) == 0
    }

    /// The server has not stopped before this is dropped.
    pub(crate) fn count_socket(self: &Arc<Self>) -> OpenSocket {
        self.sockets.fetch_add(1, Ordering::SeqCst);
        OpenSocket(self.clone())
    }

    /// A body that has begun.
    pub(crate) fn hold_body(self: &Arc<Self>) -> HeldBody {
        HeldBody {
            server: self.clone(),
            bytes: 0,
            most: self.config.max_bodies_size.max(self.config.max_body_size),
        }
    }

    /// A drain has an end when this is dropped, or at its deadline.
    pub(crate) fn count_answer(self: &Arc<Self>) -> OpenAnswer {
        self.counters.answering.fetch_add(1, Ordering::Relaxed);
        OpenAnswer(self.clone())
    }
}
