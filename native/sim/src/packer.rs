//! What the messages of a client are compressed with, and what they are filled with so that it has something to do.

use std::cell::RefCell;

use sockeye_protocol::deflate::{Codecs, Params, Policy};
use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::{Kind, Limits, Payload, Role, Session, Sink};

use sockeye_world::Chance;

use crate::plan::DeflatePlan;

/// What a server wants.
pub(crate) fn draw(chance: &mut Chance) -> Option<DeflatePlan> {
    let wanted = chance.is(1, 3);
    let plan = DeflatePlan {
        server_takeover: chance.is(1, 2),
        client_takeover: chance.is(1, 2),
        server_bits: chance.pick(&[9, 12, 15]),
        client_bits: chance.pick(&[9, 12, 15]),
        threshold: chance.pick(&[0, 64, 1000]),
    };
    wanted.then_some(plan)
}

/// What a server or a client of this plan wants.
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
pub(crate) struct Packer(RefCell<Inner>);

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

impl Packer {
    pub(crate) fn new(params: Params, policy: Policy) -> Self {
        Packer(RefCell::new(Inner {
            ours: Session::with_deflate(Role::Client, Some(params)),
            theirs: Session::with_deflate(Role::Client, Some(params)),
            policy,
            codecs: Codecs::default(),
        }))
    }

    /// A text message in so many frames; none if it is better as it is.
    pub(crate) fn pack(
        &self,
        text: &[u8],
        frames: usize,
        mask: Option<[u8; 4]>,
    ) -> Option<Vec<u8>> {
        let inner = &mut *self.0.borrow_mut();
        let mut one = Vec::new();
        let tuning = inner.policy.tuning;
        let packed = inner
            .ours
            .encode(Kind::Text, text, &tuning, &mut inner.codecs, &mut one);
        if !packed {
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

    /// The message in a whole frame that is compressed.
    pub(crate) fn unpack(&self, frame: &[u8]) -> Option<Vec<u8>> {
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

/// Text that is not much smaller when it is compressed.
pub(crate) fn noise(of: u64, len: usize) -> impl Iterator<Item = char> {
    const SIGNS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWYZ0123456";
    let mut state = of.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        SIGNS[(state >> 59) as usize].into()
    })
    .take(len)
}

/// Whether a message is filled as its client does it, behind four words.
pub(crate) fn is_whole(text: &[u8], of: u64) -> bool {
    let mut words = text.splitn(5, |byte| *byte == b' ');
    let Some(rest) = words.nth(4) else {
        return true;
    };
    match rest.first() {
        Some(b'x') => rest.iter().all(|byte| *byte == b'x'),
        _ => noise(of, rest.len()).eq(rest.iter().map(|byte| char::from(*byte))),
    }
}
