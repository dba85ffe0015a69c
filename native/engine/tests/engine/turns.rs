//! What a turn brings, and what waits for the next.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use sockeye_engine::batch::Event;
use sockeye_engine::inbox::Visit;
use sockeye_engine::{Inbox, Mode, Notifier};
use sockeye_protocol::frame::Opcode;

use crate::support::*;

/// Takes all that has come at once, and says how many bytes it was, each time it is notified: once a turn.
struct AtOnce {
    inbox: Arc<OnceLock<Weak<Inbox>>>,
    came: Mutex<Sender<Came>>,
}

enum Came {
    Open,
    Bytes(usize),
}

impl Notifier for AtOnce {
    fn notify(&self) -> bool {
        let Some(inbox) = self.inbox.get().and_then(Weak::upgrade) else {
            return false;
        };
        let came = self.came.lock().unwrap();
        let mut bytes = 0;
        inbox.drain(usize::MAX, |_, event, len| {
            match event {
                Event::Open(_) => came.send(Came::Open).unwrap_or_default(),
                Event::Binary(_) => bytes += len,
                _ => {}
            }
            Visit::Next
        });
        if bytes > 0 {
            came.send(Came::Bytes(bytes)).unwrap_or_default();
        }
        true
    }
}

#[test]
fn no_more_is_read_before_a_turn_than_a_cache_holds() {
    const CLIENTS: usize = 128;
    const PAYLOAD: usize = 32_000;
    // One more read may begin below it.
    const MOST: usize = (1 << 20) + (128 << 10);
    let mut config = config(Mode::Workers(1));
    config.inbox_size = 64 << 20;
    let world = World::new(1, config, None);
    let (sender, came) = channel();
    let known = Arc::new(OnceLock::new());
    let notifier = AtOnce {
        inbox: known.clone(),
        came: Mutex::new(sender),
    };
    let inbox = Inbox::new(64 << 20, 0, Box::new(notifier));
    known.set(Arc::downgrade(&inbox)).unwrap();
    assert!(world.engine.set_worker(&world.server, 0, &inbox));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| world.client()).collect();
    for _ in 0..CLIENTS {
        assert!(matches!(came.recv_timeout(LONG), Ok(Came::Open)));
    }
    let held = world.hold();
    for client in &mut clients {
        client.send(Opcode::Binary, &[7; PAYLOAD]);
    }
    // Now all can be read at once.
    drop(held);
    let mut sum = 0;
    while sum < CLIENTS * PAYLOAD {
        match came.recv_timeout(LONG) {
            Ok(Came::Bytes(bytes)) => {
                assert!(bytes <= MOST, "{bytes} in one turn");
                sum += bytes;
            }
            _ => panic!("{sum} bytes have come"),
        }
    }
    assert_eq!(sum, CLIENTS * PAYLOAD);
}
