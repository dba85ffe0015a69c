//! Compressed messages by their sizes: thresholds, limits, and what is longer when it is compressed.

use sockeye_protocol::{Kind, Limits, Role};

use crate::support::*;

/// In the fixed code of the fast level they have nine bits each.
#[test]
fn high_bytes_need_more_room_than_they_have() {
    let lens = [300, 600, 9000, 70_000];
    for &len in if cfg!(miri) { &lens[..2] } else { &lens } {
        let payload: Vec<u8> = noise(len).iter().map(|byte| 144 + byte % 112).collect();
        for (takeover, mem_level) in [(false, 1), (false, 9), (true, 1), (true, 5)] {
            let mut policy = policy(takeover, takeover, (15, 15));
            (policy.tuning.level, policy.tuning.mem_level) = (1, mem_level);
            let mut server = End::new(Role::Server, policy);
            let mut client = client(takeover);
            for _ in 0..2 {
                let (wire, _) = server.send(Kind::Binary, &payload);
                assert!(wire.len() <= payload.len() + 10);
                assert_eq!(code(client.receive(&wire)), None);
                assert_eq!(client.seen.0.pop(), Some((Kind::Binary, payload.clone())));
            }
        }
    }
}

/// The fixed code has nine bits for a high byte, and a peer may use it for a message as large as may be.
#[test]
fn a_message_may_travel_in_the_code_that_makes_it_longest() {
    const LEN: usize = 8005;
    // A block of the fixed code, in which 255 is nine ones, its end, and an empty stored block.
    let ones = vec![0xff; (9 * LEN - 5) / 8];
    let wire = raw(0xc2, &[&b"\xfa"[..], &ones, b"\0\0"].concat());
    for (most, want) in [(LEN, None), (LEN - 1, Some(1009))] {
        for takeover in [false, true] {
            let mut end = client(takeover);
            end.limits = Limits::default().max_message_size(most);
            assert_eq!(code(end.receive(&wire)), want);
            let seen = end.seen.0.pop();
            assert_eq!(seen, want.is_none().then(|| (Kind::Binary, vec![255; LEN])));
        }
    }
}

/// By default a frame may be as large as a message. A peer that compresses all makes noise a little larger.
#[test]
fn a_frame_limit_that_is_the_message_limit_does_not_count_what_travels() {
    let block = [b"\x00\xe8\x03\x17\xfc", &noise(1000)[..], b"\x00"].concat();
    for (most, want) in [(1000, None), (999, Some(1009))] {
        let mut end = client(false);
        end.limits = Limits::default()
            .max_message_size(most)
            .max_frame_size(most);
        assert_eq!(code(end.receive(&raw(0xc2, &block))), want);
    }
}

/// Around the sizes at which the receiver's buffer grows.
#[test]
fn messages_of_each_size_arrive_whole() {
    for takeover in [false, true] {
        let mut server = End::new(Role::Server, policy(takeover, takeover, (15, 15)));
        let mut end = client(takeover);
        for around in [4096, 8192] {
            let step = if cfg!(miri) { 93 } else { 1 };
            for len in ((around - 10)..(around + 270)).step_by(step) {
                let (wire, compressed) = server.send(Kind::Binary, &vec![0; len]);
                assert!(compressed);
                end.receive(&wire);
                let seen = end.seen.0.pop();
                assert!(seen.is_some_and(|(_, bytes)| bytes.len() == len), "{len}");
            }
        }
    }
}

/// Noise with a repetition at its end, so that what is won meets what a block costs.
#[test]
fn a_compressed_message_is_smaller_than_a_plain_one() {
    let step = if cfg!(miri) { 30 } else { 1 };
    for takeover in [false, true] {
        for noise_len in [40, 400, 1500] {
            let mut seen = [0, 0];
            for again in (0..noise_len.min(150)).step_by(step) {
                let mut payload = noise(noise_len);
                payload.extend_from_within(..again);
                let mut server = End::new(Role::Server, policy(takeover, takeover, (15, 15)));
                let (wire, compressed) = server.send(Kind::Binary, &payload);
                let plain = raw(0x82, &payload);
                assert!(wire.len() < plain.len() || wire == plain, "{again}");
                assert_eq!(compressed, wire != plain);
                seen[usize::from(compressed)] += 1;
            }
            assert!(seen[0] > 0 && seen[1] > 0, "{noise_len}: {seen:?}");
        }
    }
}

#[test]
fn the_threshold() {
    for takeover in [false, true] {
        let mut policy = policy(takeover, takeover, (15, 15));
        policy.tuning.threshold = 100;
        let mut server = End::new(Role::Server, policy);
        for (len, want) in [(0, false), (99, false), (100, true), (101, true)] {
            let (wire, compressed) = server.send(Kind::Text, &prose(len));
            assert_eq!(compressed, want, "{len}");
            assert_eq!(wire[0], if want { 0xc1 } else { 0x81 });
        }
    }
}

#[test]
fn the_limit_at_less_equal_and_more() {
    let (size, cuts) = if cfg!(miri) {
        (600, &[7, 50_000][..])
    } else {
        (20_000, &[1, 7, 1000, 50_000][..])
    };
    for takeover in [false, true] {
        for payload in [prose(size), noise(size), vec![0; size]] {
            for &cut in cuts {
                for (limit, want) in [(size - 1, Some(1009)), (size, None), (size + 1, None)] {
                    let mut server = End::new(Role::Server, policy(takeover, takeover, (15, 15)));
                    let (wire, _) = server.send(Kind::Binary, &payload);
                    let mut end = client(takeover);
                    end.limits = Limits::default().max_message_size(limit);
                    let mut got = None;
                    for piece in wire.chunks(cut) {
                        got = got.or(code(end.receive(piece)));
                    }
                    assert_eq!(got, want, "{limit}");
                    assert_eq!(end.seen.0.len(), usize::from(want.is_none()));
                }
            }
        }
    }
}
