//! Ordinary requests on the port of a server, over HTTP/1 and HTTP/2, and WebSockets that come
//! between or beside them: those are decided about where all are (`admission::gate`).

mod body;
mod conditions;
mod encodings;
mod files;
pub(crate) mod h1;
pub(crate) mod h2;
mod paths;
mod proxy;
mod service;
mod tunnel;
mod types;

use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use sockeye_protocol::handshake::Refusal;

pub(crate) use body::Body;

/// Headers of one answer. The virtual machine allows fewer.
const MOST_HEADERS: usize = 4096;

/// An answer of plain text.
fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::Bytes(text.into()));
    *response.status_mut() = status;
    if !text.is_empty() {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, plain);
    }
    response
}

/// What should not happen has happened.
fn failed() -> Response<Body> {
    let text = "Something went wrong here.\n";
    plain(StatusCode::INTERNAL_SERVER_ERROR, text)
}

/// The answer to HEAD: its length, and no content.
fn without_body(mut answer: Response<Body>) -> Response<Body> {
    let has_length = answer.headers().contains_key(header::CONTENT_LENGTH);
    if let Some(length) = answer.body().len()
        && !is_bodiless(answer.status())
        && !has_length
    {
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    answer.map(|_| Body::empty())
}

/// Appends a field of a head of HTTP/1.
fn push_field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Whether an answer with this status has no content.
pub(super) fn is_bodiless(status: StatusCode) -> bool {
    let bodiless = [
        StatusCode::NO_CONTENT,
        StatusCode::RESET_CONTENT,
        StatusCode::NOT_MODIFIED,
    ];
    status.is_informational() || bodiless.contains(&status)
}

/// The connection ends after this answer.
fn last(mut response: Response<Body>) -> Response<Body> {
    let out = response.headers_mut();
    let close = match out.contains_key(header::UPGRADE) {
        true => "upgrade, close",
        false => "close",
    };
    out.insert(header::CONNECTION, HeaderValue::from_static(close));
    response
}

/// A time as headers have it. Years before 1970 and after 9999 have no such form.
fn date(time: SystemTime) -> Option<String> {
    const YEAR_10000: u64 = 253_402_300_800;
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    (since.as_secs() < YEAR_10000).then(|| httpdate::fmt_http_date(time))
}

/// An answer of ours, but for what says where it ends.
pub(crate) fn response(refusal: Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let bodiless = is_bodiless(status);
    let body = if bodiless { Vec::new() } else { refusal.body };
    let mut response = Response::new(Body::Bytes(body.into()));
    *response.status_mut() = status;
    let out = response.headers_mut();
    for (name, value) in &refusal.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        let (Ok(name), Ok(value)) = (name, value) else {
            continue;
        };
        let framing = [header::CONTENT_LENGTH, header::TRANSFER_ENCODING];
        // All that an answer may say of its connection is that it is the last.
        let hidden = name == header::CONNECTION && !value.as_bytes().eq_ignore_ascii_case(b"close");
        // There is room for what is added below and behind: a map that is full panics.
        if !hidden && !framing.contains(&name) && out.len() < MOST_HEADERS {
            out.append(name, value);
        }
    }
    if out.contains_key(header::UPGRADE) {
        out.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if !bodiless && !out.contains_key(header::CONTENT_TYPE) {
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        out.insert(header::CONTENT_TYPE, plain);
    }
    match refusal.to_head {
        true => without_body(response),
        false => response,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_number_of_headers_is_too_many_for_us() {
        for number in [0, 999, 4_095, 4_096, 4_097, 40_000] {
            let mut refusal = Refusal::new(200, "x");
            refusal.headers = (0..number)
                .map(|n| (format!("x-{n}"), String::new()))
                .collect();
            let found = response(refusal).headers().len();
            assert_eq!(found, number.min(MOST_HEADERS) + 1, "{number}");
        }
    }

    #[test]
    fn dates_have_four_digits_from_1970() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(date(UNIX_EPOCH - Duration::from_secs(1)), None);
        let first = date(UNIX_EPOCH);
        assert_eq!(first.as_deref(), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        let last = date(at(253_402_300_799));
        assert_eq!(last.as_deref(), Some("Fri, 31 Dec 9999 23:59:59 GMT"));
        assert_eq!(date(at(253_402_300_800)), None);
    }

    #[test]
    fn some_answers_have_no_content() {
        for status in [204, 205, 304] {
            let answer = response(Refusal::new(status, "x"));
            assert_eq!(answer.body().len(), Some(0), "{status}");
            assert!(!answer.headers().contains_key(header::CONTENT_TYPE));
        }
        assert_eq!(response(Refusal::new(206, "x")).body().len(), Some(1));
    }
}
