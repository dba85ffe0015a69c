//! Sections on their way to the VM. A large one is cut into pieces, and sections for other processes go between these.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::link::kinds::{LAST, MESSAGE, MORE, UNWATCH};
use crate::link::packets::{HEAD, PACKET, PIECE};
use crate::world::SCALE;

/// Memory that is kept when nothing waits.
const KEPT: usize = 256 * 1024 / SCALE;

/// Sections that are unfinished at a time: the other side bounds them.
const STREAMS: usize = 32;

/// Packets on their way.
#[derive(Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    /// So many of them are written.
    sent: usize,
    /// Where the packet begins that takes more sections.
    open: Option<usize>,
    next_stream: u32,
    /// The next one first.
    lanes: VecDeque<Lane>,
    /// Bytes of all bodies in lanes that have not been cut off.
    large: usize,
}

/// A section that goes out in pieces, and what must not pass it.
struct Lane {
    stream: u32,
    /// So many bytes of the first item are cut off.
    cut: usize,
    items: VecDeque<Item>,
}

enum Item {
    Section(u8, Vec<u8>),
    /// It goes out when all lanes that have it have come to it.
    Shared(Arc<(u8, Vec<u8>)>),
}

impl Item {
    /// Who it is for.
    fn id(&self) -> Option<u64> {
        match self {
            Item::Section(kind, body) => id_of(*kind, body),
            Item::Shared(last) => id_of(last.0, &last.1),
        }
    }
}

/// Who a section is for, if it must come in order: all kinds but answers and pongs begin with an Id.
fn id_of(kind: u8, body: &[u8]) -> Option<u64> {
    let is_for_one = matches!(kind, MESSAGE..=UNWATCH);
    let head = body.first_chunk().filter(|_| is_for_one)?;
    Some(u64::from_be_bytes(*head))
}

impl Outgoing {
    /// Bytes that wait, without those of large sections.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.sent
    }

    /// Bytes of large sections that wait.
    pub fn large(&self) -> usize {
        self.large
    }

    /// Bytes that it has in memory for what is small, and those that it may have then.
    #[cfg(sim)]
    pub(crate) fn memory(&self) -> (usize, usize) {
        let waiting = self.waiting();
        match waiting {
            0 => (self.bytes.capacity(), KEPT),
            // What is written is given back when it is as much as what waits.
            _ => (self.bytes.len(), waiting + waiting.max(KEPT)),
        }
    }

    /// What is to be written.
    pub fn ready(&mut self) -> &[u8] {
        while self.waiting() == 0
            && let Some(lane) = self.lanes.pop_front()
        {
            self.step(lane);
        }
        self.close();
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// So many bytes have been written.
    pub fn written(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.waiting() == 0 {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT);
            self.sent = 0;
        } else if self.sent >= self.waiting().max(KEPT) {
            // With many busy processes something waits always. No more bytes are moved than were written.
            self.bytes.drain(..self.sent);
            self.open = self.open.map(|start| start - self.sent);
            self.sent = 0;
        }
    }

    fn close(&mut self) {
        if let Some(start) = self.open.take() {
            let len = (self.bytes.len() - start - 4) as u32;
            if let Some(place) = self.bytes.get_mut(start..start + 4) {
                place.copy_from_slice(&len.to_be_bytes());
            }
        }
    }

    /// A packet with room for a section that is not cut.
    fn open(&mut self) {
        match self.open {
            Some(start) if self.bytes.len() - start <= PACKET - PIECE - 2 * HEAD => {}
            _ => {
                self.close();
                self.open = Some(self.bytes.len());
                self.bytes.extend_from_slice(&[0; 4]);
            }
        }
    }

    /// Appends a section, whose body is these parts. The first one has all of the Id, if there is one.
    pub fn section(&mut self, kind: u8, parts: &[&[u8]]) {
        let id = parts.first().and_then(|part| id_of(kind, part));
        let len: usize = parts.iter().map(|part| part.len()).sum();
        // What is the last thing before all of it stays that.
        if self.waits_behind_all(id) {
            return self.behind_all(kind, parts.concat());
        }
        let is_for = |item: &Item| id.is_some() && item.id() == id;
        let mut lanes = self.lanes.iter_mut();
        let lane = lanes.find(|lane| lane.items.iter().any(is_for));
        match lane {
            Some(lane) => {
                self.large += len;
                lane.items.push_back(Item::Section(kind, parts.concat()));
            }
            None if len > PIECE => {
                self.large += len;
                self.lanes.push_back(Lane {
                    stream: self.next_stream,
                    cut: 0,
                    items: [Item::Section(kind, parts.concat())].into(),
                });
                self.next_stream = self.next_stream.wrapping_add(1);
            }
            None => self.part(kind, parts),
        }
    }

    /// Whether something for this process is behind all that is large.
    fn waits_behind_all(&self, id: Option<u64>) -> bool {
        let is_for = |item: &Item| matches!(item, Item::Shared(_)) && item.id() == id;
        id.is_some() && self.lanes.iter().any(|lane| lane.items.iter().any(is_for))
    }

    /// Appends a section behind all that there is.
    pub fn behind_all(&mut self, kind: u8, body: Vec<u8>) {
        if self.lanes.is_empty() {
            return self.section(kind, &[&body]);
        }
        if body.len() > PIECE {
            self.large += body.len();
        }
        let last = Arc::new((kind, body));
        for lane in &mut self.lanes {
            lane.items.push_back(Item::Shared(last.clone()));
        }
    }

    /// Appends what is not cut.
    fn part(&mut self, kind: u8, parts: &[&[u8]]) {
        self.open();
        let len = parts.iter().map(|part| part.len()).sum::<usize>() as u32;
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&len.to_be_bytes());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }

    /// Appends a piece of the first item of a lane, or all of it, and puts the lane behind the others that have begun.
    fn step(&mut self, mut lane: Lane) {
        match lane.items.pop_front() {
            Some(Item::Section(kind, body)) if lane.cut > 0 || body.len() > PIECE => {
                let end = body.len().min(lane.cut + PIECE);
                let piece = body.get(lane.cut..end).unwrap_or_default();
                let [a, b, c, d] = lane.stream.to_be_bytes();
                self.large -= piece.len();
                if end < body.len() {
                    self.part(MORE, &[&[a, b, c, d], piece]);
                    lane.cut = end;
                    lane.items.push_front(Item::Section(kind, body));
                } else {
                    self.part(LAST, &[&[a, b, c, d, kind], piece]);
                    lane.cut = 0;
                }
            }
            Some(Item::Section(kind, body)) => {
                self.large -= body.len();
                self.part(kind, &[&body]);
            }
            Some(Item::Shared(last)) => match Arc::into_inner(last) {
                // The other lanes have come here: what is behind it is in this one, too.
                Some((kind, body)) if body.len() > PIECE => {
                    lane.items.push_front(Item::Section(kind, body));
                }
                Some((kind, body)) => self.part(kind, &[&body]),
                None => {}
            },
            None => return,
        }
        if !lane.items.is_empty() {
            let place = self.lanes.len().min(STREAMS - 1);
            self.lanes.insert(place, lane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::kinds::{ANSWER, BATCH};
    use crate::link::packets::Incoming;

    /// All that waits, as the other side sees it.
    fn through(out: &mut Outgoing, cuts: usize) -> Vec<(u8, Vec<u8>)> {
        let mut bytes = Vec::new();
        loop {
            let ready = out.ready().to_vec();
            if ready.is_empty() {
                break;
            }
            out.written(ready.len());
            bytes.extend(ready);
        }
        let mut incoming = Incoming::default();
        let mut got = Vec::new();
        for chunk in bytes.chunks(cuts) {
            incoming.room().extend_from_slice(chunk);
            incoming
                .sections(|kind, body| {
                    got.push((kind, body.to_vec()));
                    Ok(())
                })
                .unwrap();
        }
        assert!(incoming.is_empty());
        got
    }

    fn of(id: u64, size: usize) -> Vec<u8> {
        let rest = vec![id as u8; size.saturating_sub(8)];
        [&id.to_be_bytes()[..], &rest].concat()
    }

    #[test]
    fn sections_come_out_as_they_went_in_around_every_bound() {
        let mut out = Outgoing::default();
        let mut sent = Vec::new();
        let sizes = [8, 9, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1];
        for size in sizes.into_iter().chain(vec![PIECE; 9]) {
            let body = of(7, size);
            out.section(BATCH, &[&body]);
            sent.push((BATCH, body));
        }
        assert_eq!(through(&mut out, 100_000), sent);
        assert_eq!((out.waiting(), out.large()), (0, 0));
        out.section(ANSWER, &[&[7]]);
        assert_eq!(through(&mut out, 1), [(ANSWER, vec![7])]);
    }

    #[test]
    fn no_packet_is_longer_than_may_be() {
        let mut out = Outgoing::default();
        for _ in 0..50 {
            out.section(BATCH, &[&of(1, PIECE + 1)]);
            out.section(BATCH, &[&of(2, PIECE)]);
        }
        loop {
            let mut rest = out.ready();
            if rest.is_empty() {
                break;
            }
            let all = rest.len();
            while let Some((len, behind)) = rest.split_first_chunk() {
                let len = u32::from_be_bytes(*len) as usize;
                assert!((1..=PACKET).contains(&len), "{len}");
                rest = &behind[len..];
            }
            out.written(all);
        }
    }

    #[test]
    fn small_sections_pass_large_ones_of_others() {
        let mut out = Outgoing::default();
        out.section(BATCH, &[&of(1, 20 * PIECE)]);
        out.section(ANSWER, &[&vec![1; 20 * PIECE]]);
        out.section(BATCH, &[&of(1, 8)]);
        out.section(MESSAGE, &[&of(1, 9)]);
        out.section(BATCH, &[&of(2, 8)]);
        out.section(ANSWER, &[&[2]]);
        let kinds: Vec<_> = through(&mut out, 1 << 20)
            .into_iter()
            .map(|(kind, body)| (kind, body[7.min(body.len() - 1)], body.len()))
            .collect();
        let late = [
            (BATCH, 1, 20 * PIECE),
            (ANSWER, 1, 20 * PIECE),
            (BATCH, 1, 8),
            (MESSAGE, 1, 9),
        ];
        assert_eq!(kinds[..2], [(BATCH, 2, 8), (ANSWER, 2, 1)]);
        assert_eq!(kinds[2..], late);
    }

    #[test]
    fn not_too_many_are_unfinished_at_a_time() {
        let count = if cfg!(miri) { 70 } else { 200 };
        let mut out = Outgoing::default();
        for n in 0..count {
            out.section(ANSWER, &[&vec![n; 3 * PIECE]]);
        }
        // The other side takes 64.
        let got = through(&mut out, 1 << 20);
        let mut first: Vec<_> = got.iter().map(|(_, body)| body[0]).collect();
        assert!(got.iter().all(|(_, body)| body.len() == 3 * PIECE));
        first.sort_unstable();
        assert_eq!(first, (0..count).collect::<Vec<_>>());
    }

    #[test]
    fn the_last_section_is_last() {
        let mut out = Outgoing::default();
        out.behind_all(ANSWER, vec![0]);
        assert_eq!(through(&mut out, 100), [(ANSWER, vec![0])]);
        out.section(BATCH, &[&of(1, 3 * PIECE)]);
        out.section(BATCH, &[&of(2, 9 * PIECE)]);
        out.behind_all(ANSWER, vec![9]);
        out.section(ANSWER, &[&[1]]);
        let sizes: Vec<_> = through(&mut out, 1 << 20)
            .into_iter()
            .map(|(kind, body)| (kind, body.len(), body[0]))
            .collect();
        assert_eq!(
            sizes,
            [
                (ANSWER, 1, 1),
                (BATCH, 3 * PIECE, 0),
                (BATCH, 9 * PIECE, 0),
                (ANSWER, 1, 9)
            ]
        );
    }

    /// As with many processes that are all busy: the socket takes some, and meanwhile they have had more.
    #[test]
    fn written_bytes_are_freed_while_more_wait() {
        let mut out = Outgoing::default();
        let (mut all, mut incoming) = (Vec::new(), Incoming::default());
        let mut most = 0;
        for n in 0..2_000_u64 {
            out.section(BATCH, &[&of(n, 4_000)]);
            let half = out.waiting().min(PIECE) / 2;
            let ready = out.ready()[..half].to_vec();
            // Between what is written and that it is known.
            out.section(BATCH, &[&of(n, 40)]);
            out.written(ready.len());
            assert!(out.waiting() > 0, "{n}");
            most = most.max(out.bytes.len());
            all.extend(ready);
        }
        assert!(most <= 2 * KEPT, "{most} bytes for some that wait");
        all.extend_from_slice(out.ready());
        incoming.room().extend_from_slice(&all);
        let mut got = Vec::new();
        incoming
            .sections(|_, body| {
                got.push((id_of(BATCH, body).unwrap(), body.len()));
                Ok(())
            })
            .unwrap();
        let sent = (0..2_000).flat_map(|n| [(n, 4_000), (n, 40)]);
        assert_eq!(got, sent.collect::<Vec<_>>());
    }

    /// As when a server has stopped: its process is told so, and then is of no interest any more.
    #[test]
    fn nothing_passes_the_last_section() {
        let mut out = Outgoing::default();
        out.section(BATCH, &[&of(1, 3 * PIECE)]);
        out.behind_all(MESSAGE, of(2, 9));
        out.section(UNWATCH, &[&of(2, 0)]);
        out.section(UNWATCH, &[&of(3, 0)]);
        let kinds: Vec<_> = through(&mut out, 1 << 20)
            .into_iter()
            .map(|(kind, body)| (kind, body[7]))
            .collect();
        let expected = [(UNWATCH, 3), (BATCH, 1), (MESSAGE, 2), (UNWATCH, 2)];
        assert_eq!(kinds, expected);
    }

    /// What is large neither passes it, nor does what has something large before it.
    #[test]
    fn large_sections_do_not_pass_the_last() {
        for has_lane in [false, true] {
            let mut out = Outgoing::default();
            if has_lane {
                out.section(BATCH, &[&of(2, PIECE + 1)]);
            }
            out.section(BATCH, &[&of(1, 5 * PIECE)]);
            out.behind_all(MESSAGE, of(2, 9));
            out.section(BATCH, &[&of(2, 2 * PIECE)]);
            out.section(MESSAGE, &[&of(2, 10)]);
            let got = through(&mut out, 1 << 20);
            assert_eq!((out.waiting(), out.large()), (0, 0));
            let sizes: Vec<_> = got
                .iter()
                .filter(|(_, body)| body[7] == 2)
                .map(|(_, body)| body.len())
                .skip(usize::from(has_lane))
                .collect();
            assert_eq!(sizes, [9, 2 * PIECE, 10], "{has_lane}");
        }
    }
}
