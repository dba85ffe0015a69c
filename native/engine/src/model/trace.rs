//! Traces: frames of a connection as they are on the wire, for its watchers.
//!
//! What is read is looked at before the session has it, and what is sent when it is queued: either is a row of whole frames,
//! in any cut.

use std::time::{Duration, UNIX_EPOCH};

use crate::world::time::{Instant, system_now};

/// The longest header of a frame.
const HEAD: usize = 14;

/// A rate is for so long.
const WINDOW: Duration = Duration::from_secs(1);

/// A frame that was seen.
#[derive(Debug, PartialEq, Eq)]
pub struct TracedFrame<'a> {
    /// The peer sent it.
    pub incoming: bool,
    /// Its first byte: the end of a message, compression, and the opcode.
    pub head: u8,
    /// Bytes of its payload, as they stand on the wire.
    pub size: u64,
    /// Microseconds since 1970.
    pub time: u64,
    /// The first of them, without their mask.
    pub payload: &'a [u8],
    /// How many frames since the last one were too many to be told.
    pub suppressed: u64,
}

/// Is told of frames, and with none of the end. False when nobody is there to hear of them.
pub type TellTrace = Box<dyn FnMut(Option<&TracedFrame<'_>>) -> bool + Send>;

/// Who watches a connection.
pub struct Tracer {
    /// The number that the caller knows it by.
    pub id: u64,
    /// Frames told in a second.
    pub rate: u32,
    /// Bytes of a payload that are told.
    pub payload: usize,
    /// Hears of them.
    pub tell: TellTrace,
}

impl Tracer {
    /// The connection has gone before.
    pub(crate) fn refuse(mut self) {
        (self.tell)(None);
    }
}

/// All who watch a connection.
#[derive(Default)]
pub(crate) struct Traces {
    all: Vec<Trace>,
}

impl Traces {
    /// One more. So many bytes are still to come of a frame of the peer; these bytes have come since, or of a header.
    pub(crate) fn add(&mut self, tracer: Tracer, left: u64, ahead: [&[u8]; 2]) {
        let mut trace = Trace {
            tracer,
            walks: [Walk::default(), Walk::default()],
            window: None,
            told: 0,
            suppressed: 0,
        };
        if let Some(walk) = trace.walks.first_mut() {
            walk.skip = left;
            for bytes in ahead {
                walk.feed(bytes, 0, &mut |_, _, _| {});
            }
        }
        self.all.push(trace);
    }

    /// One less. True if nobody is left.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        self.all.retain(|trace| trace.tracer.id != id);
        self.all.is_empty()
    }

    /// Looks at bytes. True if nobody is left.
    #[cold]
    pub(crate) fn see(&mut self, incoming: bool, bytes: &[u8]) -> bool {
        self.all.retain_mut(|trace| trace.see(incoming, bytes));
        self.all.is_empty()
    }
}

struct Trace {
    tracer: Tracer,
    /// What came in, and what goes out.
    walks: [Walk; 2],
    window: Option<Instant>,
    told: u32,
    suppressed: u64,
}

impl Trace {
    fn see(&mut self, incoming: bool, bytes: &[u8]) -> bool {
        let Trace {
            tracer,
            walks: [come, go],
            window,
            told,
            suppressed,
        } = self;
        let walk = if incoming { come } else { go };
        let mut is_heard = true;
        walk.feed(bytes, tracer.payload, &mut |head, size, payload| {
            if !is_heard {
                return;
            }
            let now = Instant::now();
            if window.is_none_or(|begin| now.duration_since(begin) >= WINDOW) {
                *window = Some(now);
                *told = 0;
            }
            if *told >= tracer.rate {
                *suppressed += 1;
                return;
            }
            *told += 1;
            let frame = TracedFrame {
                incoming,
                head,
                size,
                time: micros(),
                payload,
                suppressed: std::mem::take(suppressed),
            };
            is_heard &= (tracer.tell)(Some(&frame));
        });
        is_heard
    }
}

fn micros() -> u64 {
    let since = system_now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    })
}

impl Drop for Trace {
    fn drop(&mut self) {
        (self.tracer.tell)(None);
    }
}

/// Tells frames apart.
#[derive(Default)]
struct Walk {
    head: [u8; HEAD],
    have: usize,
    /// Bytes of a payload that nobody wants to see.
    skip: u64,
    /// The frame whose payload is wanted: how much of it, and what has come.
    wanted: usize,
    shown: Vec<u8>,
}

impl Walk {
    fn feed(&mut self, mut bytes: &[u8], most: usize, found: &mut dyn FnMut(u8, u64, &[u8])) {
        while !bytes.is_empty() {
            if self.wanted > self.shown.len() {
                let share = bytes.len().min(self.wanted - self.shown.len());
                let (piece, rest) = bytes.split_at(share);
                self.shown.extend_from_slice(piece);
                bytes = rest;
                self.tell_whole(found);
            } else if self.skip > 0 {
                let share = usize::try_from(self.skip).map_or(bytes.len(), |n| n.min(bytes.len()));
                self.skip -= share as u64;
                bytes = bytes.get(share..).unwrap_or_default();
            } else if let Some((first, rest)) = bytes.split_first() {
                if let Some(place) = self.head.get_mut(self.have) {
                    *place = *first;
                }
                self.have += 1;
                bytes = rest;
                if let Some(size) = self.size() {
                    self.wanted = usize::try_from(size).map_or(most, |n| n.min(most));
                    self.skip = size - self.wanted as u64;
                    self.tell_whole(found);
                }
            }
        }
    }

    fn is_masked(&self) -> bool {
        self.head[1] & 0x80 != 0
    }

    /// The payload's, once the header is complete.
    fn size(&self) -> Option<u64> {
        let (at, size) = self.length();
        let whole = at + 4 * usize::from(self.is_masked());
        (self.have >= 2 && self.have >= whole.min(HEAD)).then_some(size)
    }

    /// Where it ends, and what it says as far as it has come.
    fn length(&self) -> (usize, u64) {
        let [_, second, a, b, c, d, e, f, g, h, ..] = self.head;
        match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes([a, b]))),
            127 => (10, u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            short => (2, u64::from(short)),
        }
    }

    fn tell_whole(&mut self, found: &mut dyn FnMut(u8, u64, &[u8])) {
        if self.shown.len() < self.wanted {
            return;
        }
        let (at, size) = self.length();
        if self.is_masked() {
            let mask = self.head.iter().skip(at).take(4).cycle();
            self.shown
                .iter_mut()
                .zip(mask)
                .for_each(|(byte, mask)| *byte ^= mask);
        }
        found(self.head[0], size, &self.shown);
        self.have = 0;
        self.wanted = 0;
        self.shown.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use sockeye_protocol::frame::{self, Opcode};

    use super::*;

    type Seen = Vec<(u8, u64, Vec<u8>)>;

    fn walk(pieces: &[&[u8]], most: usize) -> Seen {
        let mut seen = Vec::new();
        let mut walk = Walk::default();
        for piece in pieces {
            walk.feed(piece, most, &mut |head, size, shown| {
                seen.push((head, size, shown.to_vec()));
            });
        }
        seen
    }

    #[test]
    fn frames_in_any_cut() {
        for mask in [None, Some([1, 2, 3, 4])] {
            let sizes = [0, 1, 126, 125, 127, 65_535, 65_536];
            for &size in if cfg!(miri) { &sizes[..3] } else { &sizes } {
                let payload = vec![b'a'; size];
                let mut bytes = Vec::new();
                frame::write(&mut bytes, Opcode::Text, &payload, mask);
                frame::write(&mut bytes, Opcode::Ping, b"hi", mask);
                for most in [0, 1, 3, 100_000] {
                    let shown = payload.get(..most.min(size)).unwrap().to_vec();
                    let ping = b"hi".get(..most.min(2)).unwrap().to_vec();
                    let want = vec![(0x81, size as u64, shown), (0x89, 2, ping)];
                    assert_eq!(walk(&[&bytes], most), want, "{size} {most}");
                    let single: Vec<_> = bytes.chunks(1).collect();
                    assert_eq!(walk(&single, most), want, "{size} {most}, byte by byte");
                }
            }
        }
    }

    type Told = Arc<Mutex<Vec<Option<(bool, u64, u64)>>>>;

    fn traces(rate: u32) -> (Traces, Told) {
        let told = Told::default();
        let mut traces = Traces::default();
        traces.add(tracer(7, rate, &told), 0, [b"", b""]);
        (traces, told)
    }

    fn tracer(id: u64, rate: u32, told: &Told) -> Tracer {
        let told = told.clone();
        let tell = move |frame: Option<&TracedFrame<'_>>| {
            let frame = frame.map(|f| (f.incoming, f.size, f.suppressed));
            told.lock().unwrap().push(frame);
            true
        };
        Tracer {
            id,
            rate,
            payload: 0,
            tell: Box::new(tell),
        }
    }

    #[test]
    fn a_receiver_that_left_is_not_notified() {
        let mut traces = Traces::default();
        let told = Arc::new(Mutex::new(0));
        let count = told.clone();
        let tell = move |frame: Option<&TracedFrame<'_>>| {
            *count.lock().unwrap() += usize::from(frame.is_some());
            false
        };
        let tracer = Tracer {
            id: 1,
            rate: 9,
            payload: 0,
            tell: Box::new(tell),
        };
        traces.add(tracer, 0, [b"", b""]);
        assert!(traces.see(true, &[0x82, 0, 0x82, 0]), "nobody is left");
        assert_eq!(*told.lock().unwrap(), 1);
    }

    #[test]
    fn too_many_are_counted() {
        let (mut traces, told) = traces(2);
        for n in 0..5 {
            assert!(!traces.see(n % 2 == 0, &[0x82, 1, b'x']));
        }
        assert_eq!(
            *told.lock().unwrap(),
            [Some((true, 1, 0)), Some((false, 1, 0))]
        );
        traces.all[0].window = Instant::now().checked_sub(WINDOW);
        assert!(!traces.see(true, &[0x82, 0]));
        assert_eq!(told.lock().unwrap().last(), Some(&Some((true, 0, 3))));
    }

    #[test]
    fn the_end_is_told_once() {
        let (mut traces, told) = traces(9);
        traces.add(tracer(8, 9, &told), 0, [b"", b""]);
        assert!(!traces.remove(1));
        assert!(!traces.remove(7));
        assert_eq!(*told.lock().unwrap(), [None]);
        drop(traces);
        assert_eq!(*told.lock().unwrap(), [None, None]);
    }

    #[test]
    fn one_who_has_gone_is_left_out() {
        let mut traces = Traces::default();
        let mut gone = tracer(1, 9, &Told::default());
        gone.tell = Box::new(|_| false);
        traces.add(gone, 0, [b"", b""]);
        assert!(traces.see(true, &[0x82, 0]));
    }

    #[test]
    fn it_begins_in_the_middle_of_a_frame() {
        let told = Told::default();
        let mut traces = Traces::default();
        // Ten bytes are to come, three of which have.
        traces.add(tracer(1, 9, &told), 10, [b"", b"abc"]);
        traces.see(true, b"defghij\x82\x01x");
        // A header is cut.
        traces.add(tracer(2, 9, &told), 0, [&[0x82], b""]);
        traces.all[0].walks[0].feed(&[0x82], 0, &mut |_, _, _| {});
        traces.see(true, &[2, 1, 2]);
        let seen = told.lock().unwrap().clone();
        assert_eq!(seen, [1, 2, 2].map(|size| Some((true, size, 0))));
    }
}
