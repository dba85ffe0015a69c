//! Compression of a client's messages.

use std::cell::RefCell;

use sockeye_protocol::deflate::{Codecs, Params, Policy};
use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::{Kind, Limits, Payload, Role, Session, Sink};

use crate::plan::server::DeflatePlan;

/// The parameters of a plan, for servers and clients.
pub(crate) fn policy(plan: &DeflatePlan) -> Policy {
    let mut policy = Policy::default();
    policy.server_takeover = plan.server_takeover;
    policy.client_takeover = plan.client_takeover;
    policy.server_max_window_bits = plan.server_bits;
    policy.client_max_window_bits = plan.client_bits;
    policy.tuning.threshold = plan.threshold;
    policy
}

/// Both directions of a client.
pub(crate) struct Compressor(RefCell<Inner>);

struct Inner {
    ours: Session,
    theirs: Session,
    policy: Policy,
    codecs: Codecs,
}

#[derive(Default)]
struct Last(Option<Vec<u8>>);

impl Sink for Last {
    fn message(&mut self, _: Kind, payload: Payload<'_>) {
        self.0 = Some(payload.into_vec());
    }
}

impl Compressor {
    pub(crate) fn new(params: Params, policy: Policy) -> Self {
        Compressor(RefCell::new(Inner {
            ours: Session::with_deflate(Role::Client, Some(params)),
            theirs: Session::with_deflate(Role::Client, Some(params)),
            policy,
            codecs: Codecs::default(),
        }))
    }

    /// A text message in so many frames; none if it is better uncompressed.
    pub(crate) fn compress(
        &self,
        text: &[u8],
        frames: usize,
        mask: Option<[u8; 4]>,
    ) -> Option<Vec<u8>> {
        let inner = &mut *self.0.borrow_mut();
        let mut one = Vec::new();
        let tuning = inner.policy.tuning;
        let compressed = inner
            .ours
            .encode(Kind::Text, text, &tuning, &mut inner.codecs, &mut one);
        if !compressed {
            return None;
        }
        if frames <= 1 {
            return Some(one);
        }
        let head = match one[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let (key, payload) = one[head..].split_at(4);
        let payload: Vec<_> = payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(a, b)| a ^ b)
            .collect();
        let size = payload.len().div_ceil(frames).max(1);
        let count = payload.chunks(size).count();
        let mut out = Vec::new();
        for (n, part) in payload.chunks(size).enumerate() {
            let op = if n == 0 {
                Opcode::Text
            } else {
                Opcode::Continuation
            };
            frame::write_fragment(&mut out, op, n + 1 == count, part, mask);
        }
        out[0] |= 0x40;
        Some(out)
    }

    /// The message in a whole compressed frame.
    pub(crate) fn decompress(&self, frame: &[u8]) -> Option<Vec<u8>> {
        let inner = &mut *self.0.borrow_mut();
        let limits = Limits::default().max_message_size(1 << 22);
        let mut last = Last::default();
        let mut frame = frame.to_vec();
        inner.theirs.receive_with(
            &mut frame,
            &limits,
            &mut inner.codecs,
            &mut Vec::new(),
            &mut last,
        );
        last.0
    }
}
