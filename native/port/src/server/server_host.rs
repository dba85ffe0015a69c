//! The host of a server, as the engine sees it (`ServerHost`).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use sockeye_engine::host::{Notice, OwnerAsked, ServerHost};
use sockeye_engine::{ConnId, DialError, Disconnected, Inbox, Question, ServerStats};
use sockeye_seam::settings::Owner;
use sockeye_seam::{Atom, Writer, dialled, events};

use crate::processes::VM;
use crate::server::host::Host;
use crate::server::port::Port;

/// The part of a host that the engine owns.
pub(crate) struct HostRef {
    host: Arc<Host>,
    port: Weak<Port>,
}

impl HostRef {
    pub(crate) fn new(host: Arc<Host>, port: &Arc<Port>) -> Self {
        let port = Arc::downgrade(port);
        HostRef { host, port }
    }
}

impl ServerHost for HostRef {
    fn owner(&self) -> Option<Arc<Inbox>> {
        let Owner::Process(pid) = &self.host.owner else {
            return None;
        };
        Some(self.host.owner_of(pid)?.inbox.clone())
    }

    fn asks_for_owner(&self, conn: ConnId) -> OwnerAsked {
        let (Owner::Name(name), Some(port)) = (&self.host.owner, self.port.upgrade()) else {
            return OwnerAsked::Known;
        };
        // Who connects and leaves would fill the memory of a link that nobody reads.
        if port.link.is_full().0 {
            if !self.host.is_stalled.swap(true, Ordering::SeqCst) {
                port.link.stall(self.host.clone());
            }
            return OwnerAsked::Full;
        }
        port.link.message(VM, |w| {
            w.tuple(4);
            w.atom(Atom::sockeye_whereis);
            w.integer(self.host.number);
            sockeye_etf::atom(w.0, name);
            w.conn(conn);
        });
        OwnerAsked::Asked
    }

    fn ask(&self, token: u64, question: &Question<'_>) -> bool {
        let Some(port) = self.port.upgrade() else {
            return false;
        };
        let gate = self.host.gate.load(Ordering::SeqCst);
        if gate == 0 || !port.processes.is_alive(gate) {
            return false;
        }
        // A question there outlives its client, who may ask the next one: they would have no bound.
        let (is_full, no_large) = port.link.is_full();
        if is_full || no_large {
            return false;
        }
        port.link
            .message(gate, |w| events::question(w, token, question));
        true
    }

    fn stream_gone(&self, token: u64) {
        let gate = self.host.gate.load(Ordering::SeqCst);
        if let Some(port) = self.port.upgrade()
            && port.processes.is_alive(gate)
        {
            port.link.message(gate, |w| events::stream_gone(w, token));
        }
    }

    fn unlistened(&self) {
        self.host.tell(|w| {
            w.tuple(2);
            w.atom(Atom::sockeye_unlistened);
            w.integer(self.host.number);
        });
    }

    fn stopped(&self, stats: &ServerStats) {
        let number = self.host.number;
        let Some(port) = self.port.upgrade() else {
            return;
        };
        port.forget_server(number);
        if let (Some(engine), Some(id)) = (port.engine(), self.host.server.get()) {
            engine.remove_stopped(*id);
        }
        port.processes.unwatch(self.host.set_gate(0));
        self.host.stopped(stats);
    }

    fn event(&self, event: Notice) {
        self.host.tell(|w| events::notice(w, &event));
    }

    fn dialled(&self, result: Result<ConnId, DialError>) {
        self.host
            .tell(|w| dialled::dialled(w, self.host.number, &result));
    }

    fn disconnected(&self, conn: ConnId, end: Disconnected) {
        let number = self.host.number;
        self.host
            .tell(|w| dialled::disconnected(w, number, conn, &end));
    }

    fn topic_left(&self, name: &[u8]) {
        self.host.note_topic(name);
    }
}

// Over a socket of the system, of which the simulation has none.
#[cfg(all(test, not(sim)))]
#[allow(clippy::unwrap_used)]
mod tests {
    use sockeye_engine::{About, Peer, PeerInfo};
    use sockeye_protocol::handshake::{HeadLimits, Request};
    use sockeye_seam::settings::EventFormat;
    use tokio::net::UnixStream;
    use tokio::runtime::{Builder, Runtime};

    use super::*;
    use crate::link::kinds::ANSWER;
    use crate::link::{FULL, Link};
    use crate::processes::Watched;

    const SERVER: u64 = 1;
    const GATE: u64 = 7;

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_io().build().unwrap()
    }

    /// A server whose owner has a name, and somebody who answers; so many bytes wait for the VM.
    fn host(small: usize, large: usize) -> (Arc<Port>, HostRef, UnixStream) {
        let (vm, ours) = UnixStream::pair().unwrap();
        let port = Port::new(Link::new(ours.into_split().1));
        let owner = Owner::Name("somebody".into());
        let format = Arc::new(EventFormat::RAW);
        let host = Host::new(
            (SERVER, 0),
            (owner, false),
            format,
            (1 << 20, 5000),
            &port.context,
        );
        port.processes
            .watch(GATE, Atom::gate, b"pid", 0, Watched::Other);
        host.set_gate(GATE);
        if large > 0 {
            port.link.append_parts(ANSWER, &[&vec![0; large]]);
        }
        while small > 0 && port.link.waiting().0 < small {
            let rest = small - port.link.waiting().0;
            let len = if rest > 200_000 { 100_000 } else { rest - 5 };
            port.link.append_parts(ANSWER, &[&vec![0; len]]);
        }
        if small > 0 {
            assert_eq!(port.link.waiting(), (small, large));
        }
        let host = HostRef::new(host, &port);
        (port, host, vm)
    }

    fn asks(host: &HostRef) -> bool {
        let head = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let (request, _) = Request::parse(head, &HeadLimits::default())
            .unwrap()
            .unwrap();
        let address = Peer::Inet([127, 0, 0, 1].into(), 80);
        let question = Question {
            about: About::Upgrade,
            request: &request,
            peer_info: &PeerInfo::new(address.clone(), address),
            body: b"",
        };
        host.ask(3, &question)
    }

    #[test]
    fn questions_wait_while_the_link_is_full() {
        let runtime = runtime();
        let _inside = runtime.enter();
        for (small, large, room) in [
            (FULL - 1, 0, true),
            (FULL, 0, true),
            (FULL + 1, 0, false),
            (0, FULL - 1, true),
            (0, FULL, true),
            (0, FULL + 1, false),
        ] {
            let (_port, host, _vm) = host(small, large);
            assert_eq!(asks(&host), room, "{small} {large}");
        }
    }

    #[test]
    fn no_owner_is_asked_for_while_the_link_is_full() {
        let runtime = runtime();
        let _inside = runtime.enter();
        let conn = ConnId::from_u64(1 << 40 | 1).unwrap();
        for (small, asked) in [
            (FULL - 1, OwnerAsked::Asked),
            (FULL, OwnerAsked::Asked),
            (FULL + 1, OwnerAsked::Full),
        ] {
            let (_port, host, _vm) = host(small, 0);
            assert_eq!(host.asks_for_owner(conn), asked, "{small}");
        }
    }
}
