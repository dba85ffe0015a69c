//! Short messages, each on its own, without a context that would have to be reset.
//!
//! The library clears 64 KiB and more before each message, which takes longer than a short message does. What is below
//! this size it would put into one block with the fixed code anyhow, so that is all there is here: the message itself is
//! the window, and the table of what occurred where outlives it, because positions are counted on from message to message.

use super::params::Tuning;

/// The longest message. Beyond it a code of its own begins to pay.
pub(crate) const SHORT: usize = 256;

const HASH_BITS: u32 = 9;
const MIN_MATCH: usize = 3;
const MAX_MATCH: usize = 258;

/// Nine bits for each byte at most, and what surrounds the block.
const ROOM: usize = SHORT + SHORT / 8 + 8;

/// What has occurred in messages: 3 KiB.
pub(crate) struct ShortCompressor {
    /// By hash, where it occurred last. Nothing before `base` is of this message.
    heads: Box<[u32; 1 << HASH_BITS]>,
    /// By place in the message, where the same hash occurred before.
    before: Box<[u32; SHORT]>,
    base: u32,
}

impl Default for ShortCompressor {
    fn default() -> Self {
        ShortCompressor {
            heads: Box::new([0; 1 << HASH_BITS]),
            before: Box::new([0; SHORT]),
            base: 1,
        }
    }
}

impl ShortCompressor {
    /// Compresses a message of [`SHORT`] bytes at most into `buffer`. `None` if it would not be smaller.
    pub(crate) fn compress(
        &mut self,
        payload: &[u8],
        tuning: &Tuning,
        buffer: &mut Vec<u8>,
    ) -> Option<usize> {
        if payload.len() > SHORT {
            return None;
        }
        if self.base > u32::MAX - 2 * SHORT as u32 {
            *self = ShortCompressor::default();
        }
        let tries = if tuning.level < 2 {
            1
        } else {
            4 * usize::from(tuning.level)
        };
        let mut bits = BitWriter::default();
        bits.put(0b010, 3);
        let mut at = 0;
        let mut found = self.find(payload, at, tries);
        while let Some(&byte) = payload.get(at) {
            self.remember(payload, at);
            // One place further there may be more to gain.
            let next = self.find(payload, at + 1, tries);
            let (len, distance) = found;
            found = next;
            if len < MIN_MATCH || next.0 > len {
                bits.symbol(usize::from(byte));
                at += 1;
                continue;
            }
            bits.reference(len, distance);
            for place in at + 1..at + len {
                self.remember(payload, place);
            }
            at += len;
            found = self.find(payload, at, tries);
        }
        self.base += SHORT as u32;
        bits.symbol(256);
        // The empty block that a flush ends with, without its lengths.
        bits.put(0, 3);
        let end = bits.finish()?;
        if end.len() >= payload.len() {
            return None;
        }
        if buffer.len() < end.len() {
            buffer.resize(SHORT, 0);
        }
        buffer.get_mut(..end.len())?.copy_from_slice(end);
        Some(end.len())
    }

    fn hash(payload: &[u8], at: usize) -> Option<usize> {
        let bytes = payload.get(at..at + MIN_MATCH)?;
        let word = bytes
            .iter()
            .fold(0_u32, |word, &byte| word << 8 | u32::from(byte));
        Some((word.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize)
    }

    fn remember(&mut self, payload: &[u8], at: usize) {
        if let Some(hash) = Self::hash(payload, at)
            && let (Some(head), Some(before)) = (self.heads.get_mut(hash), self.before.get_mut(at))
        {
            *before = *head;
            *head = self.base + at as u32;
        }
    }

    /// The longest match for what begins at `at`, and how far back it is.
    fn find(&self, payload: &[u8], at: usize, tries: usize) -> (usize, usize) {
        let mut best = (0, 0);
        let Some(mut place) = Self::hash(payload, at).and_then(|hash| self.heads.get(hash)) else {
            return best;
        };
        let rest = payload.get(at..).unwrap_or_default();
        for _ in 0..tries {
            let Some(start) = place.checked_sub(self.base).map(|start| start as usize) else {
                break;
            };
            let there = payload.get(start..).unwrap_or_default();
            let same = rest.iter().zip(there).take(MAX_MATCH);
            let len = same.take_while(|(a, b)| a == b).count();
            if len > best.0 {
                best = (len, at - start);
            }
            match self.before.get(start) {
                Some(before) => place = before,
                None => break,
            }
        }
        best
    }
}

/// Bits in the order in which they travel: the lowest first.
struct BitWriter {
    bytes: [u8; ROOM],
    len: usize,
    held: u64,
    count: u32,
}

impl Default for BitWriter {
    fn default() -> Self {
        BitWriter {
            bytes: [0; ROOM],
            len: 0,
            held: 0,
            count: 0,
        }
    }
}

impl BitWriter {
    fn put(&mut self, value: u32, count: u32) {
        self.held |= u64::from(value) << self.count;
        self.count += count;
        if self.count >= 32 {
            self.write(4);
        }
    }

    fn write(&mut self, count: usize) {
        let bytes = self.held.to_le_bytes();
        if let (Some(to), Some(from)) = (
            self.bytes.get_mut(self.len..self.len + count),
            bytes.get(..count),
        ) {
            to.copy_from_slice(from);
        }
        self.len += count;
        self.held >>= 8 * count;
        self.count = self.count.saturating_sub(8 * count as u32);
    }

    fn symbol(&mut self, symbol: usize) {
        if let Some(&(code, count)) = FIXED.get(symbol) {
            self.put(u32::from(code), u32::from(count));
        }
    }

    fn reference(&mut self, len: usize, distance: usize) {
        let (symbol, base, extra) = part(&LENGTHS, len);
        self.symbol(257 + symbol);
        self.put((len - base) as u32, extra);
        let (symbol, base, extra) = part(&DISTANCES, distance);
        self.put(u32::from(reversed(symbol as u16, 5)), 5);
        self.put((distance - base) as u32, extra);
    }

    /// All of it; what is left of the last byte is 0.
    fn finish(&mut self) -> Option<&[u8]> {
        self.write(self.count.div_ceil(8) as usize);
        self.bytes.get(..self.len)
    }
}

/// The first of the values that a symbol stands for, and how many bits tell which, by symbol.
type SymbolRanges = [(u16, u8)];

/// RFC 1951, 3.2.5, lengths: symbols from 257.
const LENGTHS: [(u16, u8); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// The same, distances, as far as a short message goes.
const DISTANCES: [(u16, u8); 16] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
];

/// The symbol for a value, the first value that it stands for, and its extra bits.
fn part(parts: &SymbolRanges, value: usize) -> (usize, usize, u32) {
    let symbol = parts
        .partition_point(|&(base, _)| usize::from(base) <= value)
        .saturating_sub(1);
    let (base, extra) = parts.get(symbol).copied().unwrap_or_default();
    (symbol, usize::from(base), u32::from(extra))
}

/// The fixed code of RFC 1951, 3.2.6, in the order of its bits, and their number, by symbol.
const FIXED: [(u16, u8); 286] = {
    let mut table = [(0, 0); 286];
    let mut symbol = 0;
    while symbol < table.len() {
        let s = symbol as u16;
        let (code, count) = match s {
            0..144 => (0x30 + s, 8),
            144..256 => (0x190 + s - 144, 9),
            256..280 => (s - 256, 7),
            _ => (0xc0 + s - 280, 8),
        };
        table[symbol] = (reversed(code, count), count);
        symbol += 1;
    }
    table
};

/// Codes travel with their highest bit first, everything else with the lowest.
const fn reversed(code: u16, count: u8) -> u16 {
    code.reverse_bits() >> (16 - count)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::compress::Deflater;
    use super::super::inflate::Inflater;
    use super::*;

    fn check(short: &mut ShortCompressor, payload: &[u8], tuning: &Tuning) -> Option<usize> {
        let (mut buffer, mut inflated) = (Vec::new(), Vec::new());
        let len = short.compress(payload, tuning, &mut buffer)?;
        assert!(len < payload.len());
        let got = Inflater::new().fresh(&buffer[..len], SHORT, &mut inflated);
        assert_eq!(got, Ok(payload.len()));
        assert_eq!(&inflated[..payload.len()], payload);
        Some(len)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 2000 }))]

        #[test]
        fn deflated_data_inflates_to_its_source(
            payloads in vec(vec(prop_oneof![4 => 97_u8..101, 1 => any::<u8>()], 0..=SHORT), 1..6),
            level in 1..=9_u8,
        ) {
            let mut short = ShortCompressor::default();
            let tuning = Tuning { level, ..Tuning::default() };
            for payload in payloads {
                check(&mut short, &payload, &tuning);
            }
        }
    }

    #[test]
    fn every_length_and_distance() {
        let mut short = ShortCompressor::default();
        let tuning = Tuning::default();
        for gap in (0..SHORT).step_by(if cfg!(miri) { 60 } else { 1 }) {
            for len in [3, 4, 10, 11, 34, 67, 130, 131, 227, 255, 256] {
                // A run of its own, then something else, then the run again.
                let run: Vec<u8> = (0..len).map(|i| b'a' + (i % 23) as u8).collect();
                let mut payload: Vec<u8> = run.clone();
                payload.extend((0..gap).map(|i| 128 + (i * 7 % 128) as u8));
                payload.extend(&run);
                payload.truncate(SHORT);
                check(&mut short, &payload, &tuning);
            }
        }
        let zeros = check(&mut short, &[0; SHORT], &tuning);
        assert!(zeros.is_some_and(|len| len < 8));
    }

    #[test]
    fn positions_start_again_before_they_overflow() {
        let last = u32::MAX - 2 * SHORT as u32;
        for base in [last - SHORT as u32, last - 1, last, last + 1, last + 2] {
            let mut short = ShortCompressor {
                base,
                ..ShortCompressor::default()
            };
            for _ in 0..5 {
                assert!(check(&mut short, &b"abcdefgh".repeat(32), &Tuning::default()).is_some());
            }
            assert!(short.base <= 1 + 5 * SHORT as u32, "{base}");
        }
    }

    #[test]
    fn only_short_ones() {
        let mut buffer = Vec::new();
        let mut short = ShortCompressor::default();
        for (len, some) in [(SHORT - 1, true), (SHORT, true), (SHORT + 1, false)] {
            let got = short.compress(&vec![b'a'; len], &Tuning::default(), &mut buffer);
            assert_eq!(got.is_some(), some, "{len}");
        }
        assert_eq!(short.compress(b"", &Tuning::default(), &mut buffer), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "it compares sizes, and takes minutes there")]
    fn no_larger_than_what_the_library_makes_of_it() {
        let text = "{\"id\":123456,\"name\":\"user17\",\"ok\":true,\"price\":4711},".repeat(2)
            + "{\"id\":98765,\"name\":\"user3\",\"ok\":false,\"price\":42},{\"id\":1,\"name\":\"x\"}";
        let tuning = Tuning::default();
        let (mut short, mut buffer) = (ShortCompressor::default(), Vec::new());
        let mut library = Deflater::new(&tuning, 15);
        let (mut ours, mut theirs) = (0, 0);
        for len in 64..text.len() {
            let payload = text.get(..len).unwrap_or_default().as_bytes();
            ours += check(&mut short, payload, &tuning).unwrap_or(len);
            theirs += library.fresh(payload, &mut buffer).unwrap_or(len);
        }
        assert!(ours <= theirs + theirs / 100, "{ours} and {theirs}");
    }

    /// Each of the three bytes spreads places over the table: a hash that left one out would find less, and later.
    #[test]
    fn a_hash_is_of_all_its_bytes() {
        for at in 0..MIN_MATCH {
            let mut seen = std::collections::BTreeSet::new();
            for byte in 0..=255 {
                let mut bytes = *b"abc";
                bytes[at] = byte;
                seen.insert(ShortCompressor::hash(&bytes, 0));
            }
            assert!(
                seen.len() > 128 && !seen.contains(&None),
                "{at}: {}",
                seen.len()
            );
        }
        assert_eq!(ShortCompressor::hash(b"abc", 1), None);
    }

    /// A match that begins a byte later is taken if it is longer.
    #[test]
    fn the_longer_of_two_matches() {
        let mut short = ShortCompressor::default();
        let size = check(
            &mut short,
            b"abc-bcdefghijklm-abcdefghijklm",
            &Tuning::default(),
        );
        assert_eq!(size, Some(22));
    }

    /// Of letters of which there are few, much begins alike: a higher level looks further back for what is long.
    #[test]
    #[cfg_attr(miri, ignore = "it takes minutes there")]
    fn a_higher_level_looks_further_back() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut letters = |len| -> Vec<u8> {
            let next = std::iter::from_fn(|| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                Some(b'a' + (state >> 40) as u8 % 2)
            });
            next.take(len).collect()
        };
        let mut sizes = [0; 10];
        for _ in 0..8 {
            let long = letters(50);
            let payload = [&long[..], &letters(150), &long].concat();
            for level in 1..=9_u8 {
                let tuning = Tuning {
                    level,
                    ..Tuning::default()
                };
                let mut short = ShortCompressor::default();
                let size = check(&mut short, &payload, &tuning);
                sizes[usize::from(level)] += size.unwrap_or(payload.len());
            }
        }
        let gained = |level: usize, more: usize| sizes[level] - sizes[more];
        assert!(gained(1, 2) > 100, "{sizes:?}");
        assert!(gained(2, 5) > 50 && gained(5, 8) > 30, "{sizes:?}");
    }

    #[test]
    fn the_shortest_matches_are_worth_it_and_equal_ones_are_not_put_off() {
        let mut short = ShortCompressor::default();
        let tuning = Tuning::default();
        let words: Vec<u8> = (0..50).flat_map(|n| [b'a', b'b', b'c', b'0' + n]).collect();
        let size = check(&mut short, &words, &tuning);
        assert!(size.is_some_and(|size| size < 150), "{size:?}");
        // Ten bytes, again and again, but never eleven: what begins a byte later is never longer.
        let lines: Vec<u8> = (0..23)
            .flat_map(|n| [&b"abcdefghij"[..], &[b'0' + n]].concat())
            .collect();
        let size = check(&mut short, &lines, &tuning);
        assert!(size.is_some_and(|size| size < 90), "{size:?}");
    }

    /// The longest message, most of which cannot be made smaller.
    #[test]
    fn a_little_smaller_is_smaller() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut payload = vec![];
        while payload.len() < SHORT - 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            payload.push(b'!' + (state >> 32) as u8 % 90);
        }
        payload.extend_from_within(..20);
        let size = check(
            &mut ShortCompressor::default(),
            &payload,
            &Tuning::default(),
        );
        assert!(size.is_some_and(|size| size > SHORT - 20), "{size:?}");
    }
}
