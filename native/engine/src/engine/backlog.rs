//! Callers that wait for the shards: see [`crate::model::backlog`].

use crate::engine::Engine;
use crate::model::backlog::{CallKind, ShardSet, Signal};
use crate::shard::op::Op;

impl Engine {
    /// Of the shards that a call gave something to, those that have more to do than may wait: its caller is to
    /// wait for [`Engine::when_done`] before it makes another.
    pub fn backlogged(&self, shards: ShardSet, kind: CallKind) -> ShardSet {
        let mut backlogged = ShardSet::default();
        for index in shards.iter() {
            if self
                .shard(index)
                .is_some_and(|shard| shard.is_backlogged(kind))
            {
                backlogged.insert(index);
            }
        }
        backlogged
    }

    /// Has it told, on the thread of each of these shards, when it has carried out what was handed over until
    /// now, or ends. Returns how many will tell: a shard that has ended will not.
    pub fn when_done(
        &self,
        shards: ShardSet,
        tell: impl Fn() -> Box<dyn FnOnce() + Send>,
    ) -> usize {
        let mut count = 0;
        for shard in shards.iter().filter_map(|index| self.shard(index)) {
            match shard.submit(Op::Signal(Signal::new(tell()))) {
                Ok(()) => {
                    shard.count_delayed();
                    count += 1;
                }
                Err(Op::Signal(signal)) => signal.forget(),
                Err(_) => {}
            }
        }
        count
    }

    /// Calls that wait for a shard now.
    pub fn queued_calls(&self) -> usize {
        self.handles().map(|shard| shard.queued()).sum()
    }

    /// How often a caller was asked to wait.
    pub fn delayed_calls(&self) -> u64 {
        self.handles().map(|shard| shard.delayed()).sum()
    }
}
