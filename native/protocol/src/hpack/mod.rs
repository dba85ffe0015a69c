//! Header compression of HTTP/2 (RFC 7541), the reading side, sans I/O.
//!
//! It hands on whatever bytes a field has: whether they may stand there is not its business, and must not disturb the
//! table that all requests of a connection share.

mod huffman;
mod table;

use table::HeaderTable;

/// Bytes of the table, as long as our settings say nothing of it.
const TABLE: usize = 4096;

/// What a field costs beside its bytes.
pub const OVERHEAD: usize = 32;

/// Why a block cannot be read to its end. The table is then not what the peer believes it to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HpackError {
    /// It breaks the rules of the compression.
    Malformed,
    /// Its fields are larger than allowed.
    TooLarge,
}

/// Reads the blocks of a connection, in the order of their arrival.
#[derive(Debug)]
pub struct Decoder {
    table: HeaderTable,
    /// Name and value of the field that is read, side by side.
    text: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder {
            table: HeaderTable::new(TABLE),
            text: Vec::new(),
        }
    }
}

impl Decoder {
    /// Calls `each` with the name and the value of each field in a block. All together, with [`OVERHEAD`] for each, may
    /// be up to `most` bytes.
    pub fn decode(
        &mut self,
        block: &[u8],
        most: usize,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), HpackError> {
        let mut rest = block;
        let mut room = most;
        let mut may_resize = true;
        while let Some(&first) = rest.first() {
            if first & 0xe0 == 0x20 {
                let size = integer(&mut rest, 5)?;
                if !may_resize || size > TABLE {
                    return Err(HpackError::Malformed);
                }
                self.table.resize(size);
                continue;
            }
            may_resize = false;
            self.text.clear();
            let name_len = if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                let (name, value) = self.table.get(index).ok_or(HpackError::Malformed)?;
                self.text.extend_from_slice(name);
                self.text.extend_from_slice(value);
                name.len()
            } else {
                let index = integer(&mut rest, if first & 0x40 != 0 { 6 } else { 4 })?;
                if index == 0 {
                    string(&mut rest, &mut self.text, room)?;
                } else {
                    let (name, _) = self.table.get(index).ok_or(HpackError::Malformed)?;
                    self.text.extend_from_slice(name);
                }
                let name_len = self.text.len();
                string(&mut rest, &mut self.text, room)?;
                name_len
            };
            let size = self.text.len() + OVERHEAD;
            room = room.checked_sub(size).ok_or(HpackError::TooLarge)?;
            let (name, value) = self.text.split_at(name_len);
            each(name, value);
            if first & 0xc0 == 0x40 {
                self.table.insert(name, value);
            }
        }
        // A block does not end with a new size.
        Ok(())
    }
}

/// An integer of which the first byte holds so many bits.
fn integer(rest: &mut &[u8], bits: u8) -> Result<usize, HpackError> {
    let malformed = HpackError::Malformed;
    let (&first, mut more) = rest.split_first().ok_or(malformed)?;
    let mask = (1 << bits) - 1;
    let mut value = usize::from(first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (&byte, after) = more.split_first().ok_or(malformed)?;
            more = after;
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            // Four bytes say more than any size or index here may be.
            if shift > 21 {
                return Err(malformed);
            }
        }
    }
    *rest = more;
    Ok(value)
}

/// A string, appended to `out`.
fn string(rest: &mut &[u8], out: &mut Vec<u8>, most: usize) -> Result<(), HpackError> {
    let coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(rest, 7)?;
    let (text, after) = rest.split_at_checked(length).ok_or(HpackError::Malformed)?;
    *rest = after;
    if coded {
        huffman::decode(text, out, most)
    } else if text.len() > most {
        Err(HpackError::TooLarge)
    } else {
        out.extend_from_slice(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .bytes()
            .filter(u8::is_ascii_hexdigit)
            .map(|digit| char::from(digit).to_digit(16).unwrap() as u8)
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    fn fields(decoder: &mut Decoder, block: &[u8], most: usize) -> Result<String, HpackError> {
        let mut out = String::new();
        decoder.decode(block, most, |name, value| {
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            out += &format!("{}={};", text(name), text(value));
        })?;
        Ok(out)
    }

    /// The examples of RFC 7541 C.3 and C.4: three requests on one connection, without and with the Huffman code.
    #[test]
    fn the_examples_of_the_rfc() {
        let expected = [
            ":method=GET;:scheme=http;:path=/;:authority=www.example.com;",
            ":method=GET;:scheme=http;:path=/;:authority=www.example.com;cache-control=no-cache;",
            ":method=GET;:scheme=https;:path=/index.html;:authority=www.example.com;custom-key=custom-value;",
        ];
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let coded = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        for blocks in [plain, coded] {
            let mut decoder = Decoder::default();
            for (block, expected) in blocks.iter().zip(expected) {
                let found = fields(&mut decoder, &hex(block), 1000);
                assert_eq!(found.as_deref(), Ok(expected));
            }
        }
    }

    /// 113 fields of 36 bytes fit into 4,096: however many there were, the oldest one that is left is the 113th.
    #[test]
    fn the_oldest_fields_leave_until_all_fit() {
        let mut decoder = Decoder::default();
        for n in 0..500_u32 {
            let mut block = vec![0x40, 2, b'n', b'n', 2];
            block.extend(format!("{:02}", n % 100).bytes());
            fields(&mut decoder, &block, 100).unwrap();
        }
        let oldest = fields(&mut decoder, &[0xff, 61 + 113 - 127], 100);
        assert_eq!(oldest.as_deref(), Ok("nn=87;"));
        assert!(fields(&mut decoder, &[0xff, 61 + 114 - 127], 100).is_err());
    }

    /// Each index of the static table, and the first beyond it.
    #[test]
    fn the_static_table() {
        let mut decoder = Decoder::default();
        for (index, field) in [
            (1u8, ":authority=;"),
            (7, ":scheme=https;"),
            (8, ":status=200;"),
            (14, ":status=500;"),
            (16, "accept-encoding=gzip, deflate;"),
            (28, "content-length=;"),
            (38, "host=;"),
            (61, "www-authenticate=;"),
        ] {
            assert_eq!(
                fields(&mut decoder, &[0x80 | index], 100).as_deref(),
                Ok(field)
            );
        }
        for index in [0u8, 62, 63] {
            assert_eq!(
                fields(&mut decoder, &[0x80 | index], 100),
                Err(HpackError::Malformed)
            );
        }
    }

    /// With a name of the table: kept, not kept, and never kept. Only the first has more bits for the index.
    #[test]
    fn fields_with_a_known_name() {
        let mut decoder = Decoder::default();
        for block in [&b"\x58\x01a"[..], b"\x0f\x09\x01a", b"\x1f\x09\x01a"] {
            let found = fields(&mut decoder, block, 100);
            assert_eq!(found.as_deref(), Ok("cache-control=a;"), "{block:x?}");
        }
        // One of them is in the table.
        assert!(fields(&mut decoder, b"\xbe", 100).is_ok());
        assert!(fields(&mut decoder, b"\xbf", 100).is_err());
    }

    /// Some encoders write integers longer than they need be. Four bytes behind the first are read, five are not.
    #[test]
    fn integers_in_more_bytes_than_they_need() {
        for (block, read) in [
            (&b"\xff\x80\x00"[..], false),
            (b"\x00\x01x\x7f\x80\x80\x00", true),
            (b"\x00\x01x\x7f\x80\x80\x80\x00", true),
            (b"\x00\x01x\x7f\x80\x80\x80\x80\x00", false),
        ] {
            let block = [block, &[b'v'; 127]].concat();
            let found = fields(&mut Decoder::default(), &block, 1000);
            assert_eq!(found.is_ok(), read, "{block:x?}");
        }
    }

    /// What is too large says so, whatever comes behind it.
    #[test]
    fn a_long_name_is_too_large_before_its_value_is_read() {
        let found = fields(&mut Decoder::default(), b"\x00\x05names", 4);
        assert_eq!(found, Err(HpackError::TooLarge));
    }

    #[test]
    fn bytes_that_may_not_stand_in_a_field_do_not_disturb_the_table() {
        let mut decoder = Decoder::default();
        let first = b"\x40\x01x\x03a\0b\x40\x01y\x01\x7f";
        assert_eq!(
            fields(&mut decoder, first, 1000).as_deref(),
            Ok("x=a\0b;y=\x7f;")
        );
        assert_eq!(
            fields(&mut decoder, b"\xbe\xbf", 1000).as_deref(),
            Ok("y=\x7f;x=a\0b;")
        );
    }

    #[test]
    fn sizes_just_below_at_and_above() {
        // Two fields of 34 and 35 bytes.
        let block = b"\x00\x01a\x01b\x00\x01c\x02de";
        for (most, fits) in [(68, false), (69, true), (70, true)] {
            let found = fields(&mut Decoder::default(), block, most);
            assert_eq!(found.is_ok(), fits, "{most}");
            assert!(fits || found == Err(HpackError::TooLarge));
        }
        // The table: 4096 bytes, which one field may fill.
        for (length, kept) in [(4096 - 33, true), (4096 - 32, false)] {
            let mut decoder = Decoder::default();
            let mut block = b"\x40\x01x\x7f".to_vec();
            let rest = length - 127;
            block.extend([0x80 | (rest & 0x7f) as u8, (rest >> 7) as u8]);
            block.extend(vec![b'v'; length]);
            assert!(fields(&mut decoder, &block, 10_000).is_ok());
            assert_eq!(
                fields(&mut decoder, b"\xbe", 10_000).is_ok(),
                kept,
                "{length}"
            );
        }
    }

    #[test]
    fn the_table_has_the_size_that_the_peer_wants() {
        let mut decoder = Decoder::default();
        assert!(fields(&mut decoder, b"\x40\x01x\x01y\x40\x01z\x01y", 100).is_ok());
        // 34 bytes: one field of the two stays.
        assert!(fields(&mut decoder, b"\x3f\x03\xbe", 100).is_ok_and(|f| f == "z=y;"));
        assert!(fields(&mut decoder, b"\xbf", 100).is_err());
        assert!(fields(&mut decoder, b"\x20\x3f\xe1\x1f", 100).is_ok());
        assert!(fields(&mut decoder, b"\xbe", 100).is_err());
        // More than we have, and in the middle of a block.
        assert!(fields(&mut decoder, b"\x3f\xe2\x1f", 100).is_err());
        assert!(fields(&mut decoder, b"\x82\x20", 100).is_err());
    }

    /// As often as a field comes, the table has room for 120 of this size.
    #[test]
    fn the_oldest_fields_are_forgotten() {
        let mut decoder = Decoder::default();
        for count in 1..=400 {
            assert!(fields(&mut decoder, b"\x40\x01x\x01y", 100).is_ok());
            // Of the newest on, which is 62: the last of 120, and one beyond.
            let last = fields(&mut decoder, b"\xff\x36", 100);
            assert_eq!(last.is_ok(), count >= 120, "{count}");
            assert!(fields(&mut decoder, b"\xff\x37", 100).is_err(), "{count}");
        }
    }

    #[test]
    fn violations() {
        for block in [
            &b"\x80"[..],
            b"\xff",
            b"\xff\xff\xff\xff\xff\x0f",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x00\x7ex",
            b"\x00\x01a",
            b"\x00",
            b"\x7f\x80\x80\x80\x80\x80\x01",
            b"\x3f\xe1\xff\xff\xff\x0f",
            // The end of the Huffman code, padding of a byte, and padding of zeros.
            b"\x00\x84\xff\xff\xff\xff\x00",
            b"\x00\x82\x1f\xff\x00",
            b"\x00\x82\xf8\xff\x00",
            b"\x00\x81\x18\x00",
        ] {
            let found = fields(&mut Decoder::default(), block, 10_000);
            assert_eq!(found, Err(HpackError::Malformed), "{block:?}");
        }
    }

    #[test]
    fn the_huffman_code_is_bounded_as_it_grows() {
        // Eight zeros in five bytes.
        let mut block = b"\x00\x01x\x85".to_vec();
        block.extend([0; 5]);
        for (most, fits) in [(40, false), (41, true)] {
            let found = fields(&mut Decoder::default(), &block, most);
            assert_eq!(found.is_ok(), fits, "{most}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(blocks in prop::collection::vec(any::<Vec<u8>>(), 1..4)) {
            let mut decoder = Decoder::default();
            for block in blocks {
                let mut size = 0;
                let _ = decoder.decode(&block, 1000, |n, v| size += n.len() + v.len() + OVERHEAD);
                prop_assert!(size <= 1000);
            }
        }
    }
}
