//! External term format: what the engine in a process of its own reads of the VM.

use sockeye_etf::{Cursor, Token};
use sockeye_json::{BinaryKeys, Duplicates, Null, Options};
use sockeye_seam::frames;
use sockeye_seam::value::{Value, read_etf};
use sockeye_seam::{EtfReader, EtfTerm, Reader, encode};

/// The bytes are a term, without its version byte, and what stands behind it.
pub fn check(data: &[u8]) {
    let start = Cursor::new(data);
    let mut cursor = start;
    let whole = cursor.term();
    let mut value = start;
    let read = read_etf(&mut value, &mut |pid| pid.to_vec());
    let mut json = b"before".to_vec();
    let encoded = encode(EtfTerm::new(start), Null::Null, &mut json);
    let json = json.strip_prefix(b"before").expect("text is appended");
    if encoded.is_err() {
        assert!(json.is_empty(), "text is left after an error");
    }
    match whole {
        Ok(bytes) => {
            assert_eq!(data.len(), bytes.len() + cursor.rest().len());
            assert!(data.starts_with(bytes) && !bytes.is_empty());
            for cut in [0, bytes.len() / 2, bytes.len() - 1] {
                assert!(Cursor::new(&bytes[..cut]).term().is_err(), "cut at {cut}");
            }
            if let Ok(value_read) = read {
                assert_eq!(value.rest(), cursor.rest(), "both end at one place");
                assert!(!matches!(&value_read, Value::List(all) if all.len() > bytes.len()));
            }
            if encoded.is_ok() {
                text(json);
            }
        }
        Err(_) => assert!(read.is_err() && encoded.is_err(), "what is cut is no term"),
    }
    walk(start, data.len());
}

/// The text is JSON, and as terms it has the same text again.
fn text(json: &[u8]) {
    let options = Options::default();
    let mut etf = Vec::new();
    // A raw text that somebody gave is passed on as it is.
    if sockeye_json::decode(
        json,
        &options,
        &mut BinaryKeys,
        Duplicates::Resolve,
        &mut etf,
    )
    .is_err()
    {
        return;
    }
    let mut again = Vec::new();
    let term = Cursor::of_term(&etf).expect("a version byte");
    let encoded = encode(EtfTerm::new(term), Null::Null, &mut again);
    assert!(encoded.is_ok(), "terms out of JSON have a text");
    let parse = |text: &[u8]| serde_json::from_slice(text).ok().map(without_negative_zero);
    assert_eq!(parse(&again), parse(json));
}

/// Erlang has no such integer: `-0` is 0 there.
fn without_negative_zero(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) if number.as_f64() == Some(0.0) => Value::from(0),
        Value::Array(all) => all.into_iter().map(without_negative_zero).collect(),
        Value::Object(all) => all
            .into_iter()
            .map(|(key, value)| (key, without_negative_zero(value)))
            .collect(),
        other => other,
    }
}

/// Whatever may be asked of a term that a caller gives.
fn walk(start: Cursor<'_>, len: usize) {
    let r = EtfReader { caller: 0 };
    let term = EtfTerm::new(start);
    let _ = (r.unsigned(term), r.int(term), r.conn(term), r.is_map(term));
    let _ = frames::parse(r, term).is_some();
    let _ = frames::set_active(r, term).is_some();
    for limit in [0, 125, usize::MAX] {
        if let Ok(bytes) = r.iolist(term, limit) {
            assert!(bytes.len() <= limit.min(len));
        }
    }
    let (mut list, mut cells) = (term, 0);
    while let Some((head, tail)) = r.cell(list) {
        let mut copy = Vec::new();
        head.copy_to(&mut copy);
        assert!(Cursor::new(&copy).term().is_ok(), "an element is a term");
        list = tail;
        cells += 1;
        assert!(cells <= len, "more elements than bytes");
        if cells > 100 {
            break;
        }
    }
    let mut cursor = start;
    for _ in 0..=len {
        match cursor.token() {
            Ok(Token::Float(v)) => assert!(v.is_finite()),
            Ok(_) => {}
            Err(_) => break,
        }
    }
}
