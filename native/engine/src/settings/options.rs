//! Options that one connection may have of its own, and that may change while it is open.

use std::time::Duration;

use sockeye_protocol::Limits;

use crate::model::active::Active;
use crate::model::clock::ticks;
use crate::world::time::Instant;

/// A time that never comes.
pub const NEVER: Duration = Duration::MAX;

/// Longer than any process runs.
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// When a time that begins now is over.
pub(crate) fn deadline(limit: Duration) -> Instant {
    Instant::now() + limit.min(CENTURY)
}

/// Settings of one connection; what is `None` is as the server has it, or stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnOptions {
    /// The credits that it starts with. Later they change with [`crate::shard::op::Command::Active`].
    pub active: Option<Active>,
    /// Bytes of a message.
    pub max_message_size: Option<usize>,
    /// Bytes of a frame. Where it was as large as a message may be, it stays so.
    pub max_frame_size: Option<usize>,
    /// Frames of a message.
    pub max_fragments: Option<u32>,
    /// How long nothing at all may come from the client. [`NEVER`] for ever.
    pub idle_timeout: Option<Duration>,
    /// How long nothing may come before the client is pinged. [`NEVER`] for ever.
    pub ping_interval: Option<Duration>,
    /// How long nothing may come after a ping.
    pub pong_timeout: Option<Duration>,
    /// How long the connection may last. [`NEVER`] for ever.
    pub max_age: Option<Duration>,
    /// Bytes that may wait for the client.
    pub send_queue_size: Option<u32>,
}

/// The times of a connection, in steps of the shard's clock. Those that never come are further
/// away than any clock here runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) idle: u32,
    pub(crate) ping: u32,
    pub(crate) pong: u32,
    pub(crate) age: u32,
}

impl Times {
    fn apply(&mut self, options: &ConnOptions) {
        let set = |place: &mut u32, time: Option<Duration>| {
            if let Some(time) = time {
                *place = ticks(time);
            }
        };
        set(&mut self.idle, options.idle_timeout);
        set(&mut self.ping, options.ping_interval);
        set(&mut self.pong, options.pong_timeout);
        set(&mut self.age, options.max_age);
    }
}

/// The rules that a connection lives by: its server's, or its own where it has some.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) limits: Limits,
    pub(crate) times: Times,
}

impl Rules {
    /// Whether these options change a rule, so that the connection needs rules of its own.
    pub(crate) fn differ(options: &ConnOptions) -> bool {
        let others = ConnOptions {
            active: None,
            send_queue_size: None,
            ..*options
        };
        others != ConnOptions::default()
    }

    pub(crate) fn apply(&mut self, options: &ConnOptions) {
        let limits = &mut self.limits;
        if let Some(bytes) = options.max_message_size {
            // A frame that may be as large as any message still may.
            if limits.max_frame_size >= limits.max_message_size {
                limits.max_frame_size = bytes;
            }
            limits.max_message_size = bytes;
        }
        if let Some(bytes) = options.max_frame_size {
            limits.max_frame_size = bytes;
        }
        if let Some(count) = options.max_fragments {
            limits.max_fragments = count;
        }
        self.times.apply(options);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            limits: Limits::default().max_message_size(100).max_frame_size(100),
            times: Times::default(),
        }
    }

    #[test]
    fn a_frame_as_large_as_a_message_stays_so() {
        let mut rules = rules();
        let mut options = ConnOptions::default();
        assert!(!Rules::differ(&options));
        options.max_message_size = Some(200);
        assert!(Rules::differ(&options));
        rules.apply(&options);
        assert_eq!(rules.limits.max_frame_size, 200);
        options = ConnOptions::default();
        options.max_frame_size = Some(50);
        rules.apply(&options);
        options.max_frame_size = None;
        options.max_message_size = Some(300);
        rules.apply(&options);
        assert_eq!(rules.limits.max_frame_size, 50);
        assert_eq!(rules.limits.max_message_size, 300);
    }

    #[test]
    fn credits_and_the_queue_are_no_rules() {
        let options = ConnOptions {
            active: Some(Active::Once),
            send_queue_size: Some(1),
            ..ConnOptions::default()
        };
        assert!(!Rules::differ(&options));
    }
}
