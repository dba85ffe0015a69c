//! Changes to inputs, for the runner that has no coverage to guide it.

/// A small generator (xorshift64*), the same for the same seed, so that a finding can be made again.
pub struct Random(u64);

impl Random {
    /// `seed` may be anything.
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() >> 33) as usize % bound.max(1)
    }
}

/// Bytes that change the meaning of what stands around them.
const TELLING: [&[u8]; 22] = [
    b"\r\n",
    b"\n",
    b"\0",
    b":",
    b" ",
    b"\r\n\r\n",
    b"HTTP/1.1",
    b"chunked",
    b"\x7f",
    b"\xff",
    b"\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\x88\x80",
    b"\x89\xff",
    b"\x7e",
    b"\"",
    b"\\u",
    b"{",
    b"[",
    b"e999",
    b"\xe2\x82",
];

/// The longest input that is made.
const MAX: usize = 8192;

/// Changes an input in one to eight ways.
pub fn mutate(input: &mut Vec<u8>, others: &[(String, Vec<u8>)], random: &mut Random) {
    for _ in 0..=random.below(8) {
        once(input, others, random);
    }
    input.truncate(MAX);
}

fn once(input: &mut Vec<u8>, others: &[(String, Vec<u8>)], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let until = at + random.below(input.len() - at + 1).min(random.below(64));
    match random.below(8) {
        0 => input.truncate(at),
        1 => {
            input.drain(at..until);
        }
        2 => {
            let piece = input[at..until].to_vec();
            input.splice(at..at, piece);
        }
        3 => {
            let piece = TELLING[random.below(TELLING.len())];
            input.splice(at..at, piece.iter().copied());
        }
        4 => {
            if let Some((_, other)) = others.get(random.below(others.len())) {
                let from = random.below(other.len() + 1);
                let to = from + random.below(other.len() - from + 1);
                input.splice(at..until, other[from..to].iter().copied());
            }
        }
        5 => {
            let byte = random.bits() as u8;
            input.insert(at, byte);
        }
        6 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.bits() as u8;
            }
        }
    }
}
