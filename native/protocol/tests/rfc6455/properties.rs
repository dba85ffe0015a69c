//! What holds for any messages, any cuts and any bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use sockeye_protocol::frame::Opcode;
use sockeye_protocol::{Kind, Limits, Progress, Role};

use crate::support::*;

/// A message with the sizes of its fragments, and the control frames after each of them.
#[derive(Clone, Debug)]
struct Sent {
    message: Event,
    sizes: Vec<usize>,
    controls: Vec<Event>,
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

fn message() -> impl Strategy<Value = Event> {
    let size = prop_oneof![0..20_usize, 100..150_usize, 65_500..65_600_usize];
    let binary = (size, any::<u8>()).prop_map(|(size, seed)| {
        let payload = (0..size)
            .map(|i| (i as u8).wrapping_mul(31) ^ seed)
            .collect();
        Event::Message(Kind::Binary, payload)
    });
    let text = any::<String>().prop_map(|s| Event::Message(Kind::Text, s.into_bytes()));
    prop_oneof![3 => text, 1 => binary]
}

fn control() -> impl Strategy<Value = Event> {
    (any::<bool>(), vec(any::<u8>(), 0..=125)).prop_map(|(ping, payload)| {
        if ping {
            Event::Ping(payload)
        } else {
            Event::Pong(payload)
        }
    })
}

fn sent() -> impl Strategy<Value = Sent> {
    (message(), vec(0..300_usize, 0..4), vec(control(), 0..3)).prop_map(
        |(message, sizes, controls)| Sent {
            message,
            sizes,
            controls,
        },
    )
}

/// Writes it for a receiver of `role`, and lists what that should see.
fn send(sent: &Sent, role: Role, wire: &mut Vec<u8>, want: &mut Vec<Event>) {
    let Event::Message(kind, payload) = &sent.message else {
        return;
    };
    let mut rest = &payload[..];
    let mut op = Opcode::from(*kind);
    let mut controls = sent.controls.iter();
    for size in &sent.sizes {
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        rest = after;
        wire.extend(fragment(role, op, false, piece));
        op = Opcode::Continuation;
        if let Some(control) = controls.next() {
            let (op, payload) = match control {
                Event::Ping(payload) => (Opcode::Ping, payload),
                Event::Pong(payload) | Event::Message(_, payload) => (Opcode::Pong, payload),
            };
            wire.extend(fragment(role, op, true, payload));
            want.push(control.clone());
        }
    }
    wire.extend(fragment(role, op, true, rest));
    want.push(sent.message.clone());
}

fn other(role: Role) -> Role {
    match role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 400 }))]

    #[test]
    fn messages_come_out_as_they_went_in(
        role in role(),
        all in vec(sent(), 0..6),
        cuts in vec(1..200_usize, 1..8),
    ) {
        let (mut wire, mut want) = (Vec::new(), Vec::new());
        for sent in &all {
            send(sent, role, &mut wire, &mut want);
        }
        let mut end = End::new(role);
        prop_assert_eq!(end.receive_cut(&wire, &cuts), Progress::Open);
        prop_assert_eq!(end.session.buffered(), 0);
        // The answers are pongs to the pings, as the sender reads them.
        let mut sender = End::new(other(role));
        prop_assert_eq!(sender.receive(&end.out), Progress::Open);
        let pongs: Vec<Event> = want
            .iter()
            .filter_map(|event| match event {
                Event::Ping(payload) => Some(Event::Pong(payload.clone())),
                _ => None,
            })
            .collect();
        prop_assert_eq!(sender.seen.events, pongs);
        prop_assert_eq!(end.seen.events, want);
    }

    #[test]
    fn any_bytes_are_survived_in_bounded_memory_and_cuts_change_nothing(
        bytes in hostile(),
        cuts in vec(1..40_usize, 1..6),
        role in role(),
    ) {
        let limits = Limits::default().max_message_size(200).max_fragments(5);
        let mut whole = End::with_limits(role, limits);
        let progress = whole.receive(&bytes);
        let mut cut = End::with_limits(role, limits);
        let mut rest = &bytes[..];
        let mut sizes = cuts.iter().cycle();
        while let (false, Some(size)) = (rest.is_empty(), sizes.next()) {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            rest = after;
            cut.receive(piece);
            prop_assert!(cut.session.buffered() <= 200 + 4096 + 1024);
        }
        prop_assert_eq!(cut.session.progress(), progress);
        prop_assert_eq!(cut.seen.events, whole.seen.events);
        // Three bytes out for each byte in: a masked pong for a ping without a mask. And one Close.
        prop_assert!(whole.out.len() <= 3 * bytes.len() + 131);
        prop_assert_eq!(cut.out.len(), whole.out.len());
        if role == Role::Server {
            prop_assert_eq!(cut.out, whole.out);
        }
    }
}

/// Noise, and valid frames with some bytes changed, which get further in.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let short = (0_u8..16, any::<bool>(), vec(any::<u8>(), 0..60), role());
    let frames = vec(short, 0..12).prop_map(|frames| {
        let mut wire = Vec::new();
        for (op, fin, payload, role) in frames {
            let op = match op {
                0..=4 => Opcode::Continuation,
                5..=8 => Opcode::Text,
                9..=11 => Opcode::Binary,
                12 => Opcode::Close,
                13 => Opcode::Pong,
                _ => Opcode::Ping,
            };
            let fin = fin || op.is_control();
            let payload = if op == Opcode::Text {
                vec![b'a'; payload.len()]
            } else {
                payload
            };
            wire.extend(fragment(role, op, fin, &payload));
        }
        wire
    });
    let frames_for = |role: Role| {
        vec((0_u8..8, vec(32_u8..127, 0..90)), 0..12).prop_map(move |frames| {
            let mut wire = Vec::new();
            let mut open = false;
            for (pick, payload) in frames {
                let op = match (pick, open) {
                    (0, _) => Opcode::Ping,
                    (_, true) => Opcode::Continuation,
                    (1..=3, false) => Opcode::Text,
                    _ => Opcode::Binary,
                };
                let fin = op.is_control() || pick % 2 == 0;
                open = if op.is_control() { open } else { !fin };
                wire.extend(fragment(role, op, fin, &payload));
            }
            wire
        })
    };
    let damaged = prop_oneof![frames_for(Role::Server), frames_for(Role::Client)];
    let damaged = (
        damaged,
        vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    )
        .prop_map(|(mut wire, changes)| {
            for (at, byte) in changes {
                if !wire.is_empty() {
                    let at = at.index(wire.len());
                    wire[at] ^= byte;
                }
            }
            wire
        });
    prop_oneof![vec(any::<u8>(), 0..400), frames, damaged]
}
