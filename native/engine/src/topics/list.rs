//! One frame for a list of connections.

use std::sync::Arc;

use super::{Audience, Delivery};
use crate::compression::Broadcast;
use crate::engine::Engine;
use crate::id::ConnId;
use crate::op::SendError;
use crate::server::Server;

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
                let home = self.home_of(conn)?;
                Some(frame.form(home.compression).len())
            };
            for conn in conns.iter().filter(|conn| conn.shard() == index) {
                let place = match length(*conn) {
                    Some(len) => shard.slots.reserve(*conn, len),
                    None => Err(SendError::Closed),
                };
                match place {
                    Ok(()) => here.push(*conn),
                    Err(why) => refused.push((*conn, why)),
                }
            }
            if here.is_empty() {
                continue;
            }
            let audience = Audience::These(here.into());
            let to = Delivery {
                audience: audience.clone(),
                tally: None,
            };
            let taken = shard.make_room(frame.len()) && shard.fan_out(server, frame, to);
            if let (false, Audience::These(here)) = (taken, audience) {
                for conn in here.iter() {
                    shard
                        .slots
                        .release(*conn, length(*conn).unwrap_or_default());
                    refused.push((*conn, SendError::Busy));
                }
            }
        }
        let unknown = conns.iter().filter(|conn| conn.shard() >= self.shards());
        refused.extend(unknown.map(|conn| (*conn, SendError::Closed)));
        refused
    }
}
