//! Conditional requests and ranges (RFC 9110, 13 and 14).

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::header::{self, HeaderMap};

use crate::world::time;

/// The value of a field that is no list. Several lines are none.
fn single<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a [u8]> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => Some(line.as_bytes().trim_ascii()),
        _ => None,
    }
}

/// The lines of a field that is a list count as one (RFC 9110, 5.3).
pub(super) fn list(headers: &HeaderMap, name: &header::HeaderName) -> Option<Vec<u8>> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    let lines = (!lines.is_empty()).then_some(lines)?;
    let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
    Some(lines.join(&b", "[..]))
}

/// Whether a list of tags, or a star, which any file meets, names this one.
fn meets(list: &[u8], tag: Option<&str>, weak: bool) -> bool {
    list.trim_ascii() == b"*"
        || tags(list).any(|(is_weak, listed)| {
            (weak || !is_weak) && tag.is_some_and(|tag| tag.as_bytes() == listed)
        })
}

/// The tags of a list, with their quotes, and whether they are weak. They may hold commas, and any
/// byte but a quote; what is no tag is passed over.
fn tags(list: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    let mut rest = list;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_ascii_start();
            let (is_weak, from) = match rest {
                [] => return None,
                [b'W', b'/', b'"', ..] => (true, 2),
                [b'"', ..] => (false, 0),
                _ => {
                    let comma = rest.iter().position(|&byte| byte == b',')?;
                    rest = rest.get(comma + 1..)?;
                    continue;
                }
            };
            let tag = rest.get(from..)?;
            let end = tag.iter().skip(1).position(|&byte| byte == b'"')? + 2;
            let (tag, behind) = tag.split_at_checked(end)?;
            rest = behind;
            // Only a comma, or nothing, ends an element.
            if matches!(rest.trim_ascii_start(), [] | [b',', ..]) {
                return Some((is_weak, tag));
            }
        }
    })
}

/// Dates of headers have whole seconds.
fn seconds(time: SystemTime) -> Option<u64> {
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

fn date(headers: &HeaderMap, name: &header::HeaderName) -> Option<u64> {
    let text = str::from_utf8(single(headers, name)?).ok()?;
    seconds(httpdate::parse_http_date(text).ok()?)
}

/// RFC 9110, 13.2.2: the answer to a condition that says to send nothing.
pub(super) fn condition(
    headers: &HeaderMap,
    tag: Option<&str>,
    modified: Option<SystemTime>,
) -> Option<StatusCode> {
    let modified = modified.and_then(seconds);
    if let Some(list) = list(headers, &header::IF_MATCH) {
        if !meets(&list, tag, false) {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    } else if let Some(date) = date(headers, &header::IF_UNMODIFIED_SINCE)
        && modified.is_some_and(|modified| modified > date)
    {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    if let Some(list) = list(headers, &header::IF_NONE_MATCH) {
        return meets(&list, tag, true).then_some(StatusCode::NOT_MODIFIED);
    }
    let date = date(headers, &header::IF_MODIFIED_SINCE)?;
    (modified? <= date).then_some(StatusCode::NOT_MODIFIED)
}

/// Whether the parts that the client has are of this file.
pub(super) fn may_be_part(
    headers: &HeaderMap,
    tag: Option<&str>,
    modified: Option<SystemTime>,
) -> bool {
    match single(headers, &header::IF_RANGE) {
        None => !headers.contains_key(header::IF_RANGE),
        Some(listed) if listed.starts_with(b"\"") => {
            tag.is_some_and(|tag| tag.as_bytes() == listed)
        }
        Some(_) => match (date(headers, &header::IF_RANGE), modified.and_then(seconds)) {
            // In a second that is not over yet, the file may change again.
            (Some(date), Some(modified)) => {
                let now = seconds(time::system_now());
                date == modified && now.is_some_and(|now| now > modified)
            }
            _ => false,
        },
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum ByteRange {
    All,
    Some(Range<u64>),
    Beyond,
}

/// What a header `Range` asks for. One that is malformed, and several at once, ask for all.
pub(super) fn part(headers: &HeaderMap, len: u64) -> ByteRange {
    let mut ranges = headers.get_all(header::RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return ByteRange::All;
    };
    let range = range.to_str().ok().and_then(|text| text.split_once('='));
    match range {
        Some((unit, range)) if unit.trim().eq_ignore_ascii_case("bytes") => one(range.trim(), len),
        _ => ByteRange::All,
    }
}

fn one(range: &str, len: u64) -> ByteRange {
    let number = |digits: &str| -> Option<u64> {
        let valid = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        // More than can be counted is beyond any file.
        valid.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let Some((first, last)) = range.split_once('-') else {
        return ByteRange::All;
    };
    match (number(first), number(last)) {
        (None, Some(0)) if first.is_empty() => ByteRange::Beyond,
        (None, Some(n)) if first.is_empty() && len > 0 => {
            ByteRange::Some(len.saturating_sub(n)..len)
        }
        (None, Some(_)) if first.is_empty() => ByteRange::Beyond,
        (Some(first), Some(last)) if last < first => ByteRange::All,
        (Some(first), Some(last)) if first < len => {
            ByteRange::Some(first..last.saturating_add(1).min(len))
        }
        (Some(first), None) if last.is_empty() && first < len => ByteRange::Some(first..len),
        (Some(_), Some(_)) => ByteRange::Beyond,
        (Some(_), None) if last.is_empty() => ByteRange::Beyond,
        _ => ByteRange::All,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn ranges_within_and_beyond() {
        for (range, found) in [
            ("0-0", ByteRange::Some(0..1)),
            ("0-9", ByteRange::Some(0..10)),
            ("0-10", ByteRange::Some(0..10)),
            ("9-9", ByteRange::Some(9..10)),
            ("9-", ByteRange::Some(9..10)),
            ("10-", ByteRange::Beyond),
            ("10-11", ByteRange::Beyond),
            ("-1", ByteRange::Some(9..10)),
            ("-10", ByteRange::Some(0..10)),
            ("-11", ByteRange::Some(0..10)),
            ("-0", ByteRange::Beyond),
            ("5-4", ByteRange::All),
            ("0-99999999999999999999999", ByteRange::Some(0..10)),
            ("99999999999999999999999-", ByteRange::Beyond),
            ("", ByteRange::All),
            ("-", ByteRange::All),
            ("1", ByteRange::All),
            ("a-b", ByteRange::All),
            ("1-x", ByteRange::All),
            ("0-1,3-4", ByteRange::All),
            ("+1-2", ByteRange::All),
            ("--1", ByteRange::All),
        ] {
            assert_eq!(one(range, 10), found, "{range}");
        }
        assert_eq!(one("-5", 0), ByteRange::Beyond);
        assert_eq!(one("0-", 0), ByteRange::Beyond);
    }

    #[test]
    fn tags_are_compared_as_asked() {
        let tag = Some("\"a\"");
        let meets = |list: &[u8], weak| meets(list, tag, weak);
        assert!(meets(b"\"b\", \"a\"", false) && meets(b"*", false) && meets(b" * ", true));
        assert!(meets(b"W/\"a\"", true) && !meets(b"W/\"a\"", false));
        for list in [
            &b"\"b\""[..],
            b"",
            b"a",
            b"\"a",
            b"\"b, \"a\" x",
            b"w/\"a\"",
            b"W/W/\"a\"",
            b"\"x,\"a\",\"",
        ] {
            assert!(!meets(list, true), "{}", String::from_utf8_lossy(list));
        }
        for list in [
            &b"\"\xff\",\"a\""[..],
            b"\"x,y\", W/\"a\"",
            b",,\"a\",",
            b"junk, \"a\"",
            b"\"\" , \"a\"\t",
        ] {
            assert!(meets(list, true), "{}", String::from_utf8_lossy(list));
        }
    }

    #[test]
    fn lines_of_a_field() {
        let mut headers = HeaderMap::new();
        for line in ["\"b\"", "\"a\""] {
            headers.append(header::IF_NONE_MATCH, HeaderValue::from_static(line));
        }
        let found = condition(&headers, Some("\"a\""), None);
        assert_eq!(found, Some(StatusCode::NOT_MODIFIED));
        headers.clear();
        let date = HeaderValue::from_static("Thu, 01 Jan 1970 00:00:10 GMT");
        headers.append(header::IF_MODIFIED_SINCE, date.clone());
        let then = UNIX_EPOCH.checked_add(std::time::Duration::from_secs(5));
        assert_eq!(
            condition(&headers, None, then),
            Some(StatusCode::NOT_MODIFIED)
        );
        headers.append(header::IF_MODIFIED_SINCE, date);
        assert_eq!(condition(&headers, None, then), None, "two are none");
    }

    #[test]
    fn a_part_wants_a_strong_validator() {
        let may = |value: &[u8], tag, modified| {
            let mut headers = HeaderMap::new();
            headers.append(header::IF_RANGE, HeaderValue::from_bytes(value).unwrap());
            may_be_part(&headers, Some(tag), Some(modified))
        };
        let then = UNIX_EPOCH + std::time::Duration::from_secs(10);
        assert!(may(b"\"a\"", "\"a\"", then) && !may(b"\"b\"", "\"a\"", then));
        assert!(!may(b"W/\"a\"", "\"a\"", then) && !may(b"\"\xff\"", "\"a\"", then));
        assert!(may(b"Thu, 01 Jan 1970 00:00:10 GMT", "\"a\"", then));
        assert!(!may(b"Thu, 01 Jan 1970 00:00:11 GMT", "\"a\"", then));
        // As late as a header can say: a second of which nothing is known yet.
        let late = UNIX_EPOCH + std::time::Duration::from_secs(253_402_300_799);
        assert!(!may(b"Fri, 31 Dec 9999 23:59:59 GMT", "\"a\"", late));
    }
}
