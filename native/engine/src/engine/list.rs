//! One frame for a list of connections.

use std::sync::Arc;

use crate::engine::Engine;
use crate::model::error::SendError;
use crate::model::id::ConnId;
use crate::server::broadcast::Broadcast;
use crate::server::topics::{Audience, Fanout};
use crate::server::{Server, bump};

impl Engine {
    /// Sends one frame to these connections of one server. Each has its own answer, as from
    /// [`Engine::reserve`] and [`Engine::send`]; those that did not get it are returned.
    pub fn send_to_list(
        &self,
        server: &Arc<Server>,
        frame: &Broadcast,
        conns: &[ConnId],
    ) -> Vec<(ConnId, SendError)> {
        let mut refused = Vec::new();
        if frame.is_too_long() {
            return conns.iter().map(|conn| (*conn, SendError::Busy)).collect();
        }
        for index in 0..self.shards() {
            let Some(shard) = self.shard(index) else {
                continue;
            };
            let mut here = Vec::new();
            let length = |conn| {
                let label = self.label_of(conn)?;
                Some(frame.form(label.compression).len())
            };
            for conn in conns.iter().filter(|conn| conn.shard() == index) {
                let place = match length(*conn) {
                    Some(len) => shard.slots.reserve(*conn, len),
                    None => Err(SendError::Closed),
                };
                match place {
                    Ok(()) => here.push(*conn),
                    Err(why) => {
                        bump(&server.counters.busy, u64::from(why == SendError::Busy));
                        refused.push((*conn, why));
                    }
                }
            }
            if here.is_empty() {
                continue;
            }
            let to = Fanout {
                audience: Audience::These(here.into()),
                count: None,
            };
            shard.fan_out(server, frame, to);
        }
        let unknown = conns.iter().filter(|conn| conn.shard() >= self.shards());
        refused.extend(unknown.map(|conn| (*conn, SendError::Closed)));
        refused
    }
}
