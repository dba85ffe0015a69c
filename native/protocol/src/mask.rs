//! Masking: the XOR that clients put over their payloads.

/// Applies `key` to `data`, in place. `offset` is how many bytes of the same payload went before, so that a payload can
/// be treated in pieces. Applying the same key twice gives the first bytes back.
///
/// ```
/// let mut data = *b"sockeye";
/// sockeye_protocol::mask::apply(&mut data[..3], [9, 8, 7, 6], 0);
/// sockeye_protocol::mask::apply(&mut data[3..], [9, 8, 7, 6], 3);
/// sockeye_protocol::mask::apply(&mut data, [9, 8, 7, 6], 0);
/// assert_eq!(&data, b"sockeye");
/// ```
#[inline]
pub fn apply(data: &mut [u8], mut key: [u8; 4], offset: usize) {
    key.rotate_left(offset & 3);
    let [a, b, c, d] = key;
    // Fixed-size chunks are what the compiler turns into vector instructions.
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::apply;

    #[test]
    fn agrees_with_the_definition_at_every_length_and_offset() {
        let key = [0x11, 0x22, 0x44, 0x88];
        for len in 0..70_usize {
            for offset in 0..9_usize {
                let mut data: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
                let want: Vec<u8> = data
                    .iter()
                    .enumerate()
                    .map(|(i, byte)| byte ^ key[(i + offset) % 4])
                    .collect();
                apply(&mut data, key, offset);
                assert_eq!(data, want, "len {len} offset {offset}");
            }
        }
    }
}
