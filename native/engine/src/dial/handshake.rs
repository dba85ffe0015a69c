//! The client's side of the opening handshake over HTTP/1.1.

use std::time::Duration;

use sockeye_protocol::handshake::client::{self, generate_key};
use sockeye_protocol::handshake::{ClientOptions, HandshakeError, HeadLimits, Headers, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::error::{DialError, Refused};
use super::url::Url;
use super::{Dial, MAX_BODY, basic};
use crate::batch::OpenInfo;
use crate::config::ServerConfig;
use crate::front::Opened;
use crate::front::visitor::Visitor;
use crate::transport::Transport;

/// How long a refusal may take to arrive after its head.
const BODY: Duration = Duration::from_secs(1);

/// Headers that a redirect to another host must not bring there.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// What is asked for, and where.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) url: &'a Url,
    pub(crate) dial: &'a Dial,
    /// Whether this is the server that was asked for first, which may see what is secret.
    pub(crate) secrets: bool,
}

impl Asked<'_> {
    /// The name that was given for the server goes to no other.
    fn host(&self) -> String {
        let given = self.dial.host.clone().filter(|_| self.secrets);
        given.unwrap_or_else(|| self.url.authority())
    }

    fn headers(&self) -> Vec<(String, String)> {
        let is = |name: &str, other: &&str| name.eq_ignore_ascii_case(other);
        let secret = |name: &str| SECRET.iter().any(|other| is(name, other));
        let mut headers = self.dial.headers.clone();
        headers.retain(|(name, _)| self.secrets || !secret(name));
        let has = headers.iter().any(|(name, _)| is(name, &"authorization"));
        if let Some(credentials) = &self.url.credentials
            && !has
        {
            headers.push(("Authorization".into(), basic::value(credentials)));
        }
        headers
    }
}

/// Asks for a WebSocket.
pub(crate) async fn upgrade(
    mut stream: Transport,
    visitor: Visitor,
    asked: Asked<'_>,
    config: &ServerConfig,
) -> Result<Opened, DialError> {
    let key = generate_key();
    let url = asked.url;
    let options = ClientOptions {
        host: &asked.host(),
        path: &url.target,
        subprotocols: &config.subprotocols,
        deflate: config.deflate.as_ref(),
        headers: &asked.headers(),
    };
    let request = client::request(&options, &key).map_err(DialError::Handshake)?;
    stream.write_all(&request).await?;
    stream.flush().await?;
    let limits = HeadLimits::default();
    let mut buffer = Vec::with_capacity(1024);
    let (accepted, consumed) = loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(DialError::Closed);
        }
        let deflate = config.deflate.as_ref();
        match client::verify_with(&buffer, &key, &config.subprotocols, deflate, &limits) {
            Ok(Some(found)) => break found,
            Ok(None) => {}
            Err(HandshakeError::Status {
                status,
                headers,
                len,
            }) => {
                let body = buffer.split_off(len.min(buffer.len()));
                let refused = refusal(&mut stream, body, status, headers).await;
                return Err(DialError::Refused(Box::new(refused)));
            }
            Err(e) => return Err(DialError::Handshake(e)),
        }
    };
    let info = Box::new(OpenInfo {
        visitor,
        request: Request::answered(&url.target, accepted.headers),
        subprotocol: accepted.subprotocol.map(String::into_boxed_str),
        deflate: accepted.deflate,
        acceptor: 0,
        luggage: None,
    });
    Ok(Opened {
        transport: stream,
        info,
        rest: buffer.split_off(consumed.min(buffer.len())),
        options: Default::default(),
    })
}

/// Reads what a refusal has to say, of which `body` has come, within its bounds of size and time.
pub(super) async fn refusal(
    stream: &mut Transport,
    mut body: Vec<u8>,
    status: u16,
    headers: Headers,
) -> Refused {
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
    let _ = tokio::time::timeout(BODY, all).await;
    body.truncate(wanted);
    if chunked {
        body = joined(&body);
    }
    Refused {
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
