//! Writes to the link for all processes of the node.

use std::collections::VecDeque;
use std::rc::Rc;

use sockeye_simulated_port::link::packets::{PACKET, PIECE};
use sockeye_world::chance;

use super::node::Node;

const MORE: u8 = 8;
const LAST: u8 = 9;
/// Kind and size of a section.
const HEAD: usize = 5;
/// Bodies that are sent in pieces at the same time: the engine has a bound on them.
const BEGUN: usize = 32;

impl Node {
    /// Writes until the link ends: all sections that there are in one packet, and large ones in pieces, with those of other processes between.
    pub(super) async fn write(self: Rc<Self>) {
        let mut large: VecDeque<(u32, VecDeque<Vec<u8>>)> = VecDeque::new();
        let mut streams = 0_u32;
        loop {
            let mut packet = Vec::new();
            let mut freed = 0;
            while packet.len() + PIECE + HEAD < PACKET {
                let next = self.out.borrow_mut().pop_front();
                let Some((by, kind, body)) = next else { break };
                let cut = pieces(kind, &body, &mut streams);
                freed += body.len();
                match large.iter_mut().find(|(of, _)| *of == by) {
                    Some((_, before)) => before.extend(cut),
                    None if cut.len() > 1 => large.push_back((by, cut)),
                    None => packet.extend(cut.into_iter().flatten()),
                }
            }
            if let Some((by, mut items)) = large.pop_front() {
                let fits = packet.len() + PIECE + 2 * HEAD <= PACKET;
                if packet.is_empty() || (fits && chance(1, 2)) {
                    packet.extend(items.pop_front().unwrap_or_default());
                }
                if !items.is_empty() {
                    large.insert(large.len().min(BEGUN - 1), (by, items));
                }
            }
            if packet.is_empty() {
                self.has_output.notified().await;
                continue;
            }
            let mut out = (packet.len() as u32).to_be_bytes().to_vec();
            out.extend(packet);
            let written = self.stream.write_whole(&out).await;
            self.unwritten.set(self.unwritten.get() - freed);
            self.written.notify_waiters();
            if written.is_err() {
                return;
            }
        }
    }
}

/// A body as sections: one, or pieces.
fn pieces(kind: u8, body: &[u8], streams: &mut u32) -> VecDeque<Vec<u8>> {
    let section = |kind: u8, parts: &[&[u8]]| {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let mut out = vec![kind];
        out.extend_from_slice(&(len as u32).to_be_bytes());
        parts.iter().for_each(|part| out.extend_from_slice(part));
        out
    };
    if body.len() <= PIECE {
        return [section(kind, &[body])].into();
    }
    *streams += 1;
    let stream = streams.to_be_bytes();
    let count = body.len().div_ceil(PIECE);
    let cut = |(n, piece): (usize, &[u8])| match n + 1 == count {
        true => section(LAST, &[&stream, &[kind], piece]),
        false => section(MORE, &[&stream, piece]),
    };
    body.chunks(PIECE).enumerate().map(cut).collect()
}
