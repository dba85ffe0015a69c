//! What holds for any messages, parameters, fragments, cuts and bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use sockeye_protocol::deflate::{Policy, accept, verify};
use sockeye_protocol::frame::{self, Opcode};
use sockeye_protocol::{Kind, Limits, Progress, Role};

use crate::support::*;

fn any_policy() -> impl Strategy<Value = Policy> {
    let bits = || 9..=15_u8;
    let tuning = (1..=9_u8, 1..=9_u8, 0..200_usize);
    (any::<bool>(), any::<bool>(), bits(), bits(), tuning).prop_map(
        |(server, client, server_bits, client_bits, (level, mem_level, threshold))| {
            let mut policy = policy(server, client, (server_bits, client_bits));
            policy.tuning.level = level;
            policy.tuning.mem_level = mem_level;
            policy.tuning.threshold = threshold;
            policy
        },
    )
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![Just(Role::Server), Just(Role::Client)]
}

fn payload() -> impl Strategy<Value = Message> {
    let size = prop_oneof![
        0..20_usize,
        60..200_usize,
        1000..5000_usize,
        if cfg!(miri) {
            5_000..6_000_usize
        } else {
            30_000..70_000_usize
        }
    ];
    let like_text = size.clone().prop_map(prose);
    let like_noise = size.clone().prop_map(noise);
    let mixed = (size, any::<u8>()).prop_map(|(size, seed)| {
        let hash = |i: usize| (i as u32 / 13).wrapping_mul(2_654_435_761) >> 28;
        (0..size).map(|i| hash(i) as u8 ^ seed).collect()
    });
    let binary = prop_oneof![like_noise, mixed].prop_map(|bytes| (Kind::Binary, bytes));
    let text = prop_oneof![
        like_text,
        any::<String>().prop_map(String::into_bytes),
        "[a-z{}\":,0-9]{0,400}".prop_map(String::into_bytes)
    ];
    prop_oneof![text.prop_map(|bytes| (Kind::Text, bytes)), binary]
}

/// Splits a frame into fragments of these sizes, with a ping after each.
fn fragments(wire: &[u8], role: Role, sizes: &[usize]) -> Vec<u8> {
    // The sender's own mask is taken off first.
    let masked = role == Role::Client;
    let short = wire[1] & 0x7f;
    let at = match short {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let mut payload = wire[at + if masked { 4 } else { 0 }..].to_vec();
    if masked {
        let key = [wire[at], wire[at + 1], wire[at + 2], wire[at + 3]];
        sockeye_protocol::mask::apply(&mut payload, key, 0);
    }
    let mask = masked.then_some([9, 8, 7, 6]);
    let mut op = if wire[0] & 0x0f == 1 {
        Opcode::Text
    } else {
        Opcode::Binary
    };
    let mut compressed = wire[0] & 0x40;
    let (mut rest, mut out) = (&payload[..], Vec::new());
    let mut put = |out: &mut Vec<u8>, fin, piece: &[u8]| {
        let start = out.len();
        frame::write_fragment(out, op, fin, piece, mask);
        out[start] |= compressed;
        (op, compressed) = (Opcode::Continuation, 0);
    };
    for size in sizes {
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        rest = after;
        put(&mut out, false, piece);
        frame::write(&mut out, Opcode::Ping, b"?", mask);
    }
    put(&mut out, true, rest);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 250 }))]

    #[test]
    fn messages_come_out_as_they_went_in(
        policy in any_policy(),
        sender in role(),
        messages in vec((payload(), vec(0..3000_usize, 0..4)), 1..6),
        cuts in vec(1..4000_usize, 1..8),
    ) {
        let mut from = End::new(sender, policy);
        let mut to = End::new(sender.other(), policy);
        let mut wire = Vec::new();
        for ((kind, payload), sizes) in &messages {
            let (frame, compressed) = from.send(*kind, payload);
            prop_assert!(!compressed || payload.len() >= policy.tuning.threshold);
            prop_assert!(frame.len() <= payload.len() + 14);
            if sizes.is_empty() {
                wire.extend(frame);
            } else {
                wire.extend(fragments(&frame, sender, sizes));
            }
        }
        let (mut rest, mut sizes) = (&wire[..], cuts.iter().cycle());
        while let (false, Some(size)) = (rest.is_empty(), sizes.next()) {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            rest = after;
            prop_assert_eq!(to.receive(piece), Progress::Open);
        }
        let sent: Vec<Message> = messages.into_iter().map(|(message, _)| message).collect();
        prop_assert!(to.seen.0 == sent);
    }

    #[test]
    fn any_bytes_are_survived_in_bounded_memory(
        takeover in any::<bool>(),
        bytes in vec(any::<u8>(), 0..600),
        text in "[a-f]{0,300}",
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        sizes in vec(0..100_usize, 0..4),
    ) {
        let policy = policy(takeover, takeover, (15, 15));
        let limits = Limits::default().max_message_size(400);
        let mut server = End::new(Role::Server, policy);
        let (wire, _) = server.send(Kind::Binary, text.as_bytes());
        let mut wire = fragments(&wire, Role::Server, &sizes);
        for (at, byte) in damage {
            let at = at.index(wire.len());
            wire[at] ^= byte;
        }
        for wire in [wire, raw(0xc2, &bytes), raw(0xc1, &bytes), bytes] {
            let mut end = End::new(Role::Client, policy);
            end.limits = limits;
            for piece in wire.chunks(17) {
                end.receive(piece);
                prop_assert!(end.session.buffered() <= 4096 + 1024);
            }
            for (_, payload) in &end.seen.0 {
                prop_assert!(payload.len() <= 400);
            }
        }
    }

    #[test]
    fn any_header_is_survived_and_an_answer_is_always_good(
        header in offers(),
        policy in any_policy(),
    ) {
        let _ = verify([header.as_bytes()], &policy);
        if let Some((params, answer)) = accept([header.as_bytes()], &policy) {
            // A client with no wishes of its own takes any answer.
            let open = support_policy();
            prop_assert!(verify([answer.as_bytes()], &open).is_ok(), "{}", answer);
            prop_assert!(params.server_max_window_bits <= policy.server_max_window_bits);
            prop_assert!(!params.server_takeover || policy.server_takeover);
            prop_assert!(!params.client_takeover || policy.client_takeover);
        }
    }
}

fn support_policy() -> Policy {
    policy(true, true, (15, 15))
}

fn offers() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => Just("permessage-deflate"),
        1 => Just("server_no_context_takeover"),
        1 => Just("client_no_context_takeover"),
        1 => Just("server_max_window_bits"),
        1 => Just("client_max_window_bits"),
        2 => prop_oneof![Just("=8"), Just("=9"), Just("=15"), Just("=\"10\""), Just("=")],
        4 => Just("; "),
        2 => Just(", "),
        1 => Just("\""),
        1 => Just("\\"),
        1 => Just("x"),
    ];
    vec(part, 0..14).prop_map(|parts| parts.concat())
}
