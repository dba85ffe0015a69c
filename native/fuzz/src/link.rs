//! What goes over the socket between the VM and the engine in a process of its own: packets of sections, both ways.

use sockeye_port::link::hello::{self, Hello};
use sockeye_port::link::outgoing::Outgoing;
use sockeye_port::link::packets::{Broken, Incoming, PIECE};

use crate::Choices;

/// Bytes that all inputs may hold in sections, so that none takes long.
const MOST: usize = 24 * PIECE;

/// Byte 0: odd for sections that leave, else bytes that come. Byte 1: the size of a cut.
pub fn check(data: &[u8]) {
    let mut choices = Choices(data);
    let (first, cut) = (choices.byte(), usize::from(choices.byte()) + 1);
    match first & 1 {
        0 => comes(choices.0, cut),
        _ => leaves(choices, cut),
    }
}

type Sections = Vec<(u8, Vec<u8>)>;

/// Whatever comes, and however it is cut: the same sections, and the same end.
fn comes(bytes: &[u8], cut: usize) {
    let secret = bytes.get(..8).unwrap_or_default();
    let hello = hello::read(bytes, secret);
    let is_said = bytes.windows(8).filter(|w| *w == secret).count() > 1;
    assert!(hello == Hello::Stranger || is_said, "a stranger is welcome");
    let whole = sections(bytes, bytes.len().max(1));
    let pieces = sections(bytes, cut);
    assert_eq!(whole, pieces, "the cut changes what comes");
    assert_eq!(sections(bytes, 1), whole);
    let (all, _) = &whole;
    let held: usize = all.iter().map(|(_, body)| body.len()).sum();
    assert!(held <= bytes.len(), "more than has come");
    // A first packet is bounded by who reads it.
    let mut incoming = Incoming::default();
    incoming.room().extend_from_slice(bytes);
    match incoming.packet(100) {
        Ok(Some(packet)) => {
            assert!(packet.len() <= 100 && bytes[4..].starts_with(&packet));
        }
        Ok(None) => assert!(bytes.len() < 104),
        Err(Broken(_)) => assert!(bytes.len() >= 4 && bytes[..4] > [0, 0, 0, 100][..]),
    }
}

fn sections(bytes: &[u8], cut: usize) -> (Sections, Result<(), Broken>) {
    let mut incoming = Incoming::default();
    let mut found = Sections::new();
    for piece in bytes.chunks(cut) {
        incoming.room().extend_from_slice(piece);
        let taken = incoming.sections(|kind, body| {
            found.push((kind, body.to_vec()));
            Ok(())
        });
        if let Err(broken) = taken {
            return (found, Err(broken));
        }
    }
    (found, Ok(()))
}

/// Sections of processes and answers, small and large, written as the socket takes them: they all arrive, those of one process
/// in their order, and within the bounds of who reads them.
fn leaves(mut choices: Choices<'_>, cut: usize) {
    let mut out = Outgoing::default();
    let mut incoming = Incoming::default();
    let (mut sent, mut got) = (Sections::new(), Sections::new());
    let mut number = 0;
    let mut total = 0;
    while !choices.0.is_empty() {
        let what = choices.byte();
        let kind = 1 + (what & 7) % 7;
        let size = match what >> 4 & 7 {
            0..5 => usize::from(choices.byte()),
            5 => PIECE - 3 + usize::from(choices.byte() % 8),
            6 => PIECE * usize::from(1 + choices.byte() % 3),
            _ => 2 * PIECE + usize::from(choices.byte()),
        };
        if total + size > MOST {
            break;
        }
        total += size;
        let id = u64::from(choices.byte() % 4);
        let mut body = id.to_be_bytes().to_vec();
        body.extend_from_slice(&u32::to_be_bytes(number));
        body.resize(size.max(12), number as u8);
        match what >> 3 & 1 {
            0 => {
                let (start, end) = body.split_at(8 + usize::from(what) % 4);
                out.section(kind, &[start, end]);
            }
            _ if body.len() <= PIECE => out.behind_all(kind, body.clone()),
            _ => out.section(kind, &[&body]),
        }
        sent.push((kind, body));
        number += 1;
        if what & 0x80 != 0 {
            pump(&mut out, &mut incoming, &mut got, cut * 999);
        }
    }
    while pump(&mut out, &mut incoming, &mut got, usize::MAX) {}
    assert_eq!((out.waiting(), out.large()), (0, 0));
    let of = |all: &Sections, id: u64| -> Vec<(u8, usize, Vec<u8>)> {
        // Kinds 2 to 5 are for a process.
        let is_for = |(kind, body): &&(u8, Vec<u8>)| {
            (2..=5).contains(kind) && body.starts_with(&id.to_be_bytes())
        };
        let kept = all.iter().filter(is_for);
        kept.map(|(kind, body)| (*kind, body.len(), body[..12].to_vec()))
            .collect()
    };
    for id in 0..4 {
        assert_eq!(of(&got, id), of(&sent, id), "the order for {id}");
    }
    sent.sort();
    got.sort();
    assert!(sent == got, "a section is lost, or another");
}

/// Hands over so many bytes of what is to be written. False if there are none.
fn pump(out: &mut Outgoing, incoming: &mut Incoming, got: &mut Sections, most: usize) -> bool {
    let ready = out.ready();
    let taken = ready.len().min(most);
    incoming.room().extend_from_slice(&ready[..taken]);
    out.written(taken);
    let taken_in = incoming.sections(|kind, body| {
        got.push((kind, body.to_vec()));
        Ok(())
    });
    assert_eq!(taken_in, Ok(()), "we break our own protocol");
    taken > 0
}
