//! Questions to the VM before a connection is made.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use sockeye_engine::host::{Notice, ServerHost};
use sockeye_engine::{Answer, Engine, Inbox, Mode, Peer, Question, Server, ServerStats};

use crate::support::*;

/// While nobody is there who could be asked, what the last one was asked is forgotten.
struct Late {
    server: OnceLock<Arc<Server>>,
    asked: AtomicUsize,
}

struct LateHost(Arc<Late>);

impl ServerHost for LateHost {
    fn owner(&self) -> Option<Arc<Inbox>> {
        None
    }

    fn ask(&self, token: u64, _: &Question<'_>) -> bool {
        let Some(server) = self.0.server.get() else {
            return false;
        };
        if self.0.asked.fetch_add(1, Ordering::AcqRel) < 3 {
            server.forget_questions();
            return false;
        }
        assert!(server.answer(token, Answer::Accept(Box::default())));
        true
    }

    fn stopped(&self, _: &ServerStats) {}
    fn event(&self, _: Notice) {}
}

/// The server is told to stop in the moment in which a client is let in: the shard hears of it when the handshake is done.
struct StoppingHost(Arc<Engine>, Arc<OnceLock<Arc<Server>>>);

impl ServerHost for StoppingHost {
    fn owner(&self) -> Option<Arc<Inbox>> {
        None
    }

    fn ask(&self, token: u64, _: &Question<'_>) -> bool {
        let server = self.1.wait();
        assert!(server.answer(token, Answer::Accept(Box::default())));
        self.0.stop_server(server, 1001, "bye");
        true
    }

    fn stopped(&self, _: &ServerStats) {}
    fn event(&self, _: Notice) {}
}

#[test]
fn a_client_accepted_during_a_stop_gets_a_close_frame() {
    let engine = engine(1);
    let listening = Arc::new(OnceLock::new());
    let mut config = config(Mode::Workers(1));
    config.asks = true;
    let host = StoppingHost(engine.clone(), listening.clone());
    let (server, place) = engine.listen(config, |_| Box::new(host)).unwrap();
    listening.set(server).ok().unwrap();
    let Some(Peer::Inet(ip, port)) = place else {
        panic!("{place:?}");
    };
    assert_eq!(Client::connect((ip, port).into()).closed(), 1001);
}

#[test]
fn clients_wait_until_a_process_answers_questions() {
    let engine = engine(1);
    let late = Arc::new(Late {
        server: OnceLock::new(),
        asked: AtomicUsize::new(0),
    });
    let mut config = config(Mode::Owner);
    config.asks = true;
    let host = LateHost(late.clone());
    let (server, place) = engine.listen(config, |_| Box::new(host)).unwrap();
    late.server.set(server).ok().unwrap();
    let Some(Peer::Inet(ip, port)) = place else {
        panic!("{place:?}");
    };
    // In, and then without an owner.
    assert_eq!(Client::connect((ip, port).into()).closed(), 1011);
    assert_eq!(late.asked.load(Ordering::Acquire), 4);
}
