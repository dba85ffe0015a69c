//! The client's side of the opening handshake over HTTP/1.1.

use sockeye_protocol::handshake::client::{self, generate_key};
use sockeye_protocol::handshake::{ClientOptions, HandshakeError, HeadLimits, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::basic;
use crate::net::fault::DialError;
use crate::net::peer::PeerInfo;
use crate::net::rejection::refusal;
use crate::net::transport::Transport;
use crate::net::url::Url;
use crate::settings::config::ServerConfig;
use crate::settings::dial::Dial;
use crate::shard::opened::Opened;
use crate::vm::batch::OpenInfo;

/// Headers that a redirect to another host must not bring there.
const SECRET: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// One attempt to connect: each redirect leads to another.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) url: &'a Url,
    pub(crate) dial: &'a Dial,
    /// Whether this is the server that was asked first, which may see what is secret.
    pub(crate) secrets: bool,
}

impl Attempt<'_> {
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
    peer_info: PeerInfo,
    attempt: Attempt<'_>,
    config: &ServerConfig,
) -> Result<Opened, DialError> {
    let key = generate_key();
    let url = attempt.url;
    let options = ClientOptions {
        host: &attempt.host(),
        path: &url.target,
        subprotocols: &config.subprotocols,
        deflate: config.deflate.as_ref(),
        headers: &attempt.headers(),
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
    let request = Request::answered(&url.target, accepted.headers);
    let info = Box::new(OpenInfo {
        subprotocol: accepted.subprotocol.map(String::into_boxed_str),
        deflate: accepted.deflate,
        ..OpenInfo::new(peer_info, request)
    });
    Ok(Opened {
        transport: stream,
        info,
        rest: buffer.split_off(consumed.min(buffer.len())),
        options: Default::default(),
        permit: None,
    })
}
