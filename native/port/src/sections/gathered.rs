//! Commands for connections, collected from one read of the link: the frames of many handlers go to a shard in one piece.

use std::sync::Arc;

use sockeye_engine::{CallKind, ShardSet};
use sockeye_seam::calls as seam;

use crate::processes::receiver::Receiver;
use crate::server::context::Context;

/// Commands and messages, and the batches that they end.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) frames: seam::Gathered,
    served: Vec<(Arc<Receiver>, u8)>,
    /// Shards that have got something for many.
    published: ShardSet,
}

impl Gathered {
    /// So many batches of a process have been worked through, and what is gathered so far is the answer.
    pub(crate) fn acknowledge(&mut self, receiver: Arc<Receiver>, batches: u8) {
        self.served.push((receiver, batches));
    }

    /// These shards have got something for many, and who has published it is slowed down by how much they have.
    pub(crate) fn published(&mut self, shards: ShardSet) {
        self.published.add(shards);
    }

    /// Hands over what there is. Its batches are acknowledged when the shards are not too far behind.
    pub(crate) fn hand_over(&mut self, context: &Context) {
        let engine = context.engine();
        let engine = engine.as_deref();
        let mut crowded = match engine {
            Some(engine) => self.frames.hand_over(engine),
            None => ShardSet::default(),
        };
        if self.served.is_empty() {
            return;
        }
        if let Some(engine) = engine {
            let published = std::mem::take(&mut self.published);
            crowded.add(engine.backlogged(published, CallKind::Fanout));
        }
        let served = std::mem::take(&mut self.served);
        let link = context.link.clone();
        context.when_done(crowded, move || {
            for (receiver, batches) in served {
                receiver.acknowledge(batches);
            }
            link.flush();
        });
    }
}
