//! Integers of any size between decimal digits and little-endian bytes.

/// Ten to the power of 19, the largest that fits a u64.
const CHUNK: u64 = 10_000_000_000_000_000_000;
const CHUNK_DIGITS: usize = 19;

/// Little-endian bytes of the number that these ASCII digits write; high zero bytes may follow.
pub(crate) fn from_decimal(digits: &[u8]) -> Vec<u8> {
    let mut limbs: Vec<u64> = Vec::with_capacity(digits.len() / CHUNK_DIGITS + 1);
    // The first chunk takes the odd digits, so that all others are full.
    let (head, tail) = digits.split_at(digits.len() % CHUNK_DIGITS);
    for chunk in std::iter::once(head).chain(tail.chunks_exact(CHUNK_DIGITS)) {
        let mut carry = chunk
            .iter()
            .fold(0, |n: u64, d| n * 10 + u64::from(d & 0x0f));
        for limb in &mut limbs {
            let wide = u128::from(*limb) * u128::from(CHUNK) + u128::from(carry);
            *limb = wide as u64;
            carry = (wide >> 64) as u64;
        }
        if carry != 0 {
            limbs.push(carry);
        }
    }
    limbs.iter().flat_map(|l| l.to_le_bytes()).collect()
}

/// Appends the decimal digits of a number given as little-endian bytes.
pub(crate) fn push_decimal(out: &mut Vec<u8>, magnitude: &[u8]) {
    // Limbs of 32 bits, because a 64-bit division by a constant is a multiplication.
    const CHUNK: u64 = 1_000_000_000;
    let mut limbs: Vec<u32> = magnitude
        .chunks(4)
        .map(|c| c.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b)))
        .collect();
    let mut chunks = Vec::with_capacity(limbs.len() * 32 / 29 + 1);
    loop {
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        if limbs.is_empty() {
            break;
        }
        let mut rest = 0;
        for limb in limbs.iter_mut().rev() {
            let wide = rest << 32 | u64::from(*limb);
            *limb = (wide / CHUNK) as u32;
            rest = wide % CHUNK;
        }
        chunks.push(rest as u32);
    }
    let mut chunks = chunks.into_iter().rev();
    let first = chunks.next().unwrap_or(0);
    out.extend_from_slice(itoa::Buffer::new().format(first).as_bytes());
    for chunk in chunks {
        let mut digits = [b'0'; 9];
        let mut n = chunk;
        for d in digits.iter_mut().rev() {
            *d = b'0' + (n % 10) as u8;
            n /= 10;
        }
        out.extend_from_slice(&digits);
    }
}
