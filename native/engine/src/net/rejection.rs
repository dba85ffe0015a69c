//! Responses of a server or proxy that refuse a handshake.

use std::time::Duration;

use sockeye_protocol::handshake::Headers;
use tokio::io::AsyncReadExt;

use super::fault::Rejection;
use super::transport::Transport;

use crate::world::time;

/// Bytes of a refusal's body that the caller gets.
pub const MAX_BODY: usize = 64 * 1024;

/// How long a refusal may take to arrive after its head.
const BODY: Duration = Duration::from_secs(1);

/// Reads what a refusal has to say, of which `body` has come, within its bounds of size and time.
pub(crate) async fn refusal(
    stream: &mut Transport,
    mut body: Vec<u8>,
    status: u16,
    headers: Headers,
) -> Rejection {
    let chunked = headers.has_token("transfer-encoding", "chunked");
    let length = headers
        .first("content-length")
        .and_then(|value| str::from_utf8(value).ok()?.parse().ok())
        .unwrap_or(usize::MAX);
    let none = matches!(status, 204 | 304);
    let wanted = match chunked {
        _ if none => 0,
        // The sizes of the chunks take room, too.
        true => 2 * MAX_BODY,
        false => length.min(MAX_BODY),
    };
    let all = async {
        while body.len() < wanted && !(chunked && body.ends_with(b"0\r\n\r\n")) {
            if !matches!(stream.read_buf(&mut body).await, Ok(n) if n > 0) {
                break;
            }
        }
    };
    // What has come by then will do.
    let _ = time::timeout(BODY, all).await;
    body.truncate(wanted);
    if chunked {
        body = joined(&body);
    }
    Rejection {
        status,
        headers,
        body,
    }
}

/// The data of as many chunks as there are.
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = chunks.windows(2).position(|w| w == b"\r\n") {
        let line = chunks.get(..end).unwrap_or_default();
        let size = line.split(|b| *b == b';').next().unwrap_or_default();
        let size = str::from_utf8(size).ok();
        let Some(size) = size.and_then(|s| usize::from_str_radix(s.trim(), 16).ok()) else {
            break;
        };
        let data = chunks.get(end + 2..).unwrap_or_default();
        let data = data.get(..size).unwrap_or(data);
        body.extend_from_slice(data);
        if size == 0 || body.len() >= MAX_BODY {
            break;
        }
        let next = (end + 4).saturating_add(size);
        chunks = chunks.get(next..).unwrap_or_default();
    }
    body.truncate(MAX_BODY);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined_as_far_as_they_go() {
        for (chunks, want) in [
            (&b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"[..], &b"abcde"[..]),
            (b"3\r\nabc\r\n5\r\nde", b"abcde"),
            (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
            (b"zz\r\nabc", b""),
            (b"-1\r\nabc", b""),
            (b"ffffffffffffffffff\r\nabc", b""),
            (b"ffffffffffffffff\r\nabc", b"abc"),
            (b"", b""),
        ] {
            assert_eq!(joined(chunks), want);
        }
    }
}
