//! Two ends of a connection with compression.

use sockeye_protocol::deflate::{Codecs, Params, Policy, accept, offer};
use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::{Kind, Limits, Payload, Progress, Role, Session, Sink};

pub(crate) type Message = (Kind, Vec<u8>);

#[derive(Default)]
pub(crate) struct Recorder(pub(crate) Vec<Message>);

impl Sink for Recorder {
    fn message(&mut self, kind: Kind, payload: Payload<'_>) {
        self.0.push((kind, payload.into_vec()));
    }
}

/// What a client and a server with this policy agree on.
pub(crate) fn agreed(policy: &Policy) -> Params {
    accept([offer(policy).as_bytes()], policy).unwrap().0
}

pub(crate) fn policy(server_takeover: bool, client_takeover: bool, bits: (u8, u8)) -> Policy {
    let mut policy = Policy::default();
    policy.server_takeover = server_takeover;
    policy.client_takeover = client_takeover;
    (policy.server_max_window_bits, policy.client_max_window_bits) = bits;
    policy.tuning.threshold = 0;
    policy
}

pub(crate) struct End {
    pub(crate) session: Session,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    pub(crate) codecs: Codecs,
    pub(crate) out: Vec<u8>,
    pub(crate) seen: Recorder,
}

impl End {
    pub(crate) fn new(role: Role, policy: Policy) -> End {
        End {
            session: Session::with_deflate(role, Some(agreed(&policy))),
            policy,
            limits: Limits::default(),
            codecs: Codecs::default(),
            out: Vec::new(),
            seen: Recorder::default(),
        }
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Progress {
        let mut input = bytes.to_vec();
        self.session.receive_with(
            &mut input,
            &self.limits,
            &mut self.codecs,
            &mut self.out,
            &mut self.seen,
        )
    }

    pub(crate) fn send(&mut self, kind: Kind, payload: &[u8]) -> (Vec<u8>, bool) {
        let mut wire = Vec::new();
        let tuning = self.policy.tuning;
        let compressed = self
            .session
            .encode(kind, payload, &tuning, &mut self.codecs, &mut wire);
        (wire, compressed)
    }
}

/// A client of a server that compresses all.
pub(crate) fn client(takeover: bool) -> End {
    End::new(Role::Client, policy(takeover, takeover, (15, 15)))
}

/// The code with which a receiver of these bytes closes; `None`: it does not.
pub(crate) fn code(progress: Progress) -> Option<u16> {
    match progress {
        Progress::Finished(reason) => Some(reason.code),
        Progress::Open | Progress::Ended(_) | Progress::Closing => None,
    }
}

/// A frame for a client, whose first byte is as given.
pub(crate) fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    frame::write(&mut wire, Opcode::Binary, payload, None);
    wire[0] = first;
    wire
}

/// Text that can be made much smaller.
pub(crate) fn prose(len: usize) -> Vec<u8> {
    let words = b"to be or not to be that is the question whether tis nobler in the mind ";
    words.iter().copied().cycle().take(len).collect()
}

/// Bytes that cannot be made smaller.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}
