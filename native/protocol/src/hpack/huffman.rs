//! The Huffman code of header fields (RFC 7541, appendix B).

use super::HpackError;

/// Bits of each byte's code, and of the end. The code is canonical: codes of equal length follow each other in the order
/// of their bytes, so their lengths say all.
const BITS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];

const SHORTEST: usize = 5;
const LONGEST: usize = 30;
const END: u16 = 256;

/// What there is to know of the codes of each length.
struct Code {
    /// The first code beyond those of this length, shifted to the top of 32 bits: what is below has at most this length.
    beyond: [u64; LONGEST + 1],
    /// What to add to a code for its place in `symbols`.
    offset: [i64; LONGEST + 1],
    /// All symbols in the order of their codes.
    symbols: [u16; 257],
}

static CODE: Code = build();

const fn build() -> Code {
    let mut code = Code {
        beyond: [0; LONGEST + 1],
        offset: [0; LONGEST + 1],
        symbols: [0; 257],
    };
    let (mut next, mut place, mut length) = (0u64, 0usize, 1);
    while length <= LONGEST {
        next <<= 1;
        code.offset[length] = place as i64 - next as i64;
        let mut symbol = 0;
        while symbol < BITS.len() {
            if BITS[symbol] as usize == length {
                code.symbols[place] = symbol as u16;
                place += 1;
                next += 1;
            }
            symbol += 1;
        }
        code.beyond[length] = next << (32 - length);
        length += 1;
    }
    code
}

/// Appends what the bytes stand for, up to `most` bytes of it.
pub(super) fn decode(coded: &[u8], out: &mut Vec<u8>, most: usize) -> Result<(), HpackError> {
    let end = out.len().saturating_add(most);
    // The bits that are not read yet, at the top of 64.
    let (mut bits, mut count) = (0u64, 0usize);
    let mut bytes = coded.iter();
    loop {
        while count <= 56 {
            let Some(&byte) = bytes.next() else { break };
            bits |= u64::from(byte) << (56 - count);
            count += 8;
        }
        let top = bits >> 32;
        let length = (SHORTEST..=LONGEST).find(|&length| top < CODE.beyond[length]);
        let length = length.unwrap_or(LONGEST);
        if length > count {
            break;
        }
        let place = (top >> (32 - length)) as i64 + CODE.offset[length];
        let symbol = usize::try_from(place).ok();
        let symbol = symbol.and_then(|place| CODE.symbols.get(place));
        match symbol {
            Some(&symbol) if symbol != END => {
                if out.len() == end {
                    return Err(HpackError::TooLarge);
                }
                out.push(symbol as u8);
            }
            _ => return Err(HpackError::Malformed),
        }
        bits <<= length;
        count -= length;
    }
    // Less than a byte of ones fills up the last one.
    let filling = u64::MAX.checked_shl(64 - count as u32).unwrap_or(0);
    if count < 8 && bits == filling {
        Ok(())
    } else {
        Err(HpackError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the definition.
    fn codes() -> [u32; 257] {
        let mut order: Vec<usize> = (0..BITS.len()).collect();
        order.sort_by_key(|&symbol| (BITS[symbol], symbol));
        let mut codes = [0u32; 257];
        let (mut next, mut length) = (0u32, 0);
        for symbol in order {
            next <<= BITS[symbol] - length;
            length = BITS[symbol];
            codes[symbol] = next;
            next = next.wrapping_add(1);
        }
        // The last code is the one of only ones.
        assert_eq!(next, 1 << LONGEST);
        codes
    }

    /// The reverse.
    fn encode(text: &[u8], codes: &[u32; 257]) -> Vec<u8> {
        let mut bits: Vec<bool> = text
            .iter()
            .flat_map(|&byte| {
                let (code, length) = (codes[usize::from(byte)], BITS[usize::from(byte)]);
                (0..length).rev().map(move |bit| code >> bit & 1 == 1)
            })
            .collect();
        bits.resize(bits.len().div_ceil(8) * 8, true);
        let byte = |bits: &[bool]| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
        bits.chunks(8).map(byte).collect()
    }

    #[test]
    fn every_byte_comes_back() {
        let (all, codes): (Vec<u8>, _) = ((0..=255).collect(), codes());
        for text in all.chunks(1).chain([&all[..], b"", b"www.example.com"]) {
            let mut out = b"x".to_vec();
            assert_eq!(decode(&encode(text, &codes), &mut out, 256), Ok(()));
            assert_eq!(&out[1..], text);
        }
        let mut out = Vec::new();
        let short = decode(&encode(&all, &codes), &mut out, 255);
        assert_eq!(short, Err(HpackError::TooLarge));
    }
}
