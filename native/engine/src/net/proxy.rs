//! Through a proxy: HTTP CONNECT (RFC 9110, 9.3.6) and SOCKS5 (RFC 1928, 1929).
//!
//! The proxy gets the name of the host, and looks it up itself. It gets no zone of an address.

use std::fmt;
use std::net::IpAddr;

use sockeye_protocol::handshake::{HandshakeError, HeadLimits, client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::net::basic;
use crate::net::fault::{DialError, ProxyError};
use crate::net::rejection::refusal;
use crate::net::transport::Transport;
use crate::net::url::{Host, decode, host_and_port};

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP CONNECT.
    Http,
    /// SOCKS, version 5.
    Socks5,
}

/// A proxy on the way.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy {
    /// What it speaks.
    pub kind: ProxyKind,
    /// Its host.
    pub host: Host,
    /// Its port.
    pub port: u16,
    user: Vec<u8>,
    password: Vec<u8>,
}

/// The password stays out of logs.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}:{}", self.kind, self.host, self.port)
    }
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]` (port 8080) or the same with `socks5`
    /// (port 1080).
    pub fn parse(text: &str) -> Result<Proxy, &'static str> {
        if text.len() > 2048 || !text.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
            return Err("only visible ASCII, 2048 bytes at most");
        }
        let (scheme, rest) = text.split_once("://").ok_or("no scheme")?;
        let (kind, default) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyKind::Http, 8080),
            "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
            _ => return Err("expected http or socks5"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, password, host) = match rest.rsplit_once('@') {
            Some((login, host)) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                (decode(user)?, decode(password)?, host)
            }
            None => (Vec::new(), Vec::new(), rest),
        };
        // What SOCKS has room for. A name with a colon could not be told from its password.
        if user.len() > 255 || password.len() > 255 || user.contains(&b':') {
            return Err("a user or password that cannot be sent");
        }
        let (host, port) = host_and_port(host)?;
        Ok(Proxy {
            kind,
            host,
            port: port.unwrap_or(default),
            user,
            password,
        })
    }

    /// Has the proxy connect a stream to the host.
    pub(crate) async fn pass(
        &self,
        stream: &mut Transport,
        host: &Host,
        port: u16,
    ) -> Result<(), DialError> {
        match self.kind {
            ProxyKind::Http => self.connect(stream, host, port).await,
            ProxyKind::Socks5 => self.socks(stream, host, port).await,
        }
    }

    async fn connect(
        &self,
        stream: &mut Transport,
        host: &Host,
        port: u16,
    ) -> Result<(), DialError> {
        let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n");
        if !self.user.is_empty() || !self.password.is_empty() {
            let login = [&self.user[..], b":", &self.password].concat();
            request += &format!("Proxy-Authorization: {}\r\n", basic::value(&login));
        }
        request += "\r\n";
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let limits = HeadLimits::default();
        let mut buffer = Vec::with_capacity(256);
        loop {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(DialError::Closed);
            }
            match client::verify(&buffer, "", &[], &limits) {
                Ok(None) => {}
                Err(HandshakeError::Status {
                    status: 200..300,
                    len,
                    ..
                }) => {
                    // The host waits for us to speak.
                    let silent = buffer.len() == len;
                    return silent.then_some(()).ok_or(wrong(ProxyError::Malformed));
                }
                Err(HandshakeError::Status {
                    status,
                    headers,
                    len,
                }) => {
                    let body = buffer.split_off(len.min(buffer.len()));
                    let refused = refusal(stream, body, status, headers).await;
                    return Err(DialError::ProxyRefused(Box::new(refused)));
                }
                Ok(Some(_)) | Err(_) => return Err(wrong(ProxyError::Malformed)),
            }
        }
    }

    async fn socks(&self, stream: &mut Transport, host: &Host, port: u16) -> Result<(), DialError> {
        const NONE: u8 = 0;
        const LOGIN: u8 = 2;
        let has_login = !self.user.is_empty() || !self.password.is_empty();
        let greeting: &[u8] = if has_login {
            &[5, 2, NONE, LOGIN]
        } else {
            &[5, 1, NONE]
        };
        tell(stream, greeting).await?;
        match hear::<2>(stream).await? {
            [5, NONE] => {}
            [5, LOGIN] if has_login => self.log_in(stream).await?,
            [5, 0xff] => return Err(wrong(ProxyError::Denied)),
            _ => return Err(wrong(ProxyError::Malformed)),
        }
        let mut request = vec![5, 1, 0];
        match host {
            Host::Ip(IpAddr::V4(ip)) => {
                request.push(1);
                request.extend(ip.octets());
            }
            Host::Name(name) => {
                request.push(3);
                // A host name of a URL has 253 bytes at most.
                request.push(name.len() as u8);
                request.extend(name.as_bytes());
            }
            Host::Ip(IpAddr::V6(ip)) | Host::Zoned(ip, _) => {
                request.push(4);
                request.extend(ip.octets());
            }
        }
        request.extend(port.to_be_bytes());
        tell(stream, &request).await?;
        let [version, reply, _, kind] = hear::<4>(stream).await?;
        if version != 5 {
            return Err(wrong(ProxyError::Malformed));
        }
        let error = match reply {
            0 => None,
            2 => Some(ProxyError::NotAllowed),
            3 | 4 | 6 => Some(ProxyError::Unreachable),
            5 => Some(ProxyError::Refused),
            _ => Some(ProxyError::Failure),
        };
        if let Some(error) = error {
            return Err(wrong(error));
        }
        // The address that the proxy uses, which says nothing to us.
        let rest = match kind {
            1 => 4,
            3 => {
                let [len] = hear(stream).await?;
                usize::from(len)
            }
            4 => 16,
            _ => return Err(wrong(ProxyError::Malformed)),
        };
        let mut address = [0; 257];
        let address = address.get_mut(..rest + 2).unwrap_or_default();
        stream.read_exact(address).await?;
        Ok(())
    }

    async fn log_in(&self, stream: &mut Transport) -> Result<(), DialError> {
        let mut login = vec![1];
        for part in [&self.user, &self.password] {
            login.push(part.len() as u8);
            login.extend(part);
        }
        tell(stream, &login).await?;
        match hear::<2>(stream).await? {
            [_, 0] => Ok(()),
            _ => Err(wrong(ProxyError::Denied)),
        }
    }
}

fn wrong(error: ProxyError) -> DialError {
    DialError::Proxy(error)
}

async fn tell(stream: &mut Transport, bytes: &[u8]) -> Result<(), DialError> {
    stream.write_all(bytes).await?;
    stream.flush().await?;
    Ok(())
}

/// Exactly so many bytes: what follows may belong to the host.
async fn hear<const N: usize>(stream: &mut Transport) -> Result<[u8; N], DialError> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_proxies() {
        let proxy = Proxy::parse("http://me:p%40w@Proxy.example/").unwrap();
        assert_eq!(proxy.kind, ProxyKind::Http);
        assert_eq!(
            (proxy.host.to_string(), proxy.port),
            ("proxy.example".into(), 8080)
        );
        assert_eq!((&*proxy.user, &*proxy.password), (&b"me"[..], &b"p@w"[..]));
        assert!(!format!("{proxy:?}").contains("p@w"));
        let proxy = Proxy::parse("socks5://[::1]").unwrap();
        assert_eq!((proxy.kind, proxy.port), (ProxyKind::Socks5, 1080));
        for bad in [
            "",
            "proxy:8080",
            "https://a",
            "http://",
            "http://a/b",
            "http://a:0",
            "http://%zz@a",
            "socks5://a%3Ab:c@host",
            "http://a b",
        ] {
            assert!(Proxy::parse(bad).is_err(), "{bad}");
        }
        let long = |n| Proxy::parse(&format!("socks5://{}@a", "u".repeat(n)));
        assert!(long(255).is_ok() && long(256).is_err());
    }
}
