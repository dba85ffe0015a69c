//! The TLS handshake of an accepted connection.

use std::sync::Arc;

use rustls::server::Acceptor;
use tokio::io::AsyncWriteExt;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, TlsAcceptor};

use crate::net::peer::TlsFacts;
use crate::net::secure::{PrefixedTransport, TlsTransport};
use crate::net::tls::{CurrentTls, Tls};
use crate::net::transport::Transport;

/// Whether these first bytes are HTTP, and not a TLS handshake. No record begins with a letter.
pub(crate) fn is_plain_http(first: &[u8]) -> bool {
    first.first().is_some_and(u8::is_ascii_alphabetic)
}

/// A fatal alert, `unrecognized_name` (RFC 6066, 3), before anything is encrypted.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Shakes hands with a client of which `bytes` were read already. If that fails, the client has
/// been told why, and is to be left gently so that it can read that.
pub(crate) async fn accept(
    tls: &Tls,
    transport: Transport,
    bytes: Vec<u8>,
) -> Result<(Transport, Arc<TlsFacts>), Option<Transport>> {
    let current = tls.current();
    let ahead = PrefixedTransport::new(bytes, transport);
    let accept = if current.serves_all() {
        TlsAcceptor::from(current.config).accept(ahead)
    } else {
        // Boxed: most servers have a certificate for everybody, and are not to pay for its size.
        let start = Box::pin(read_client_hello(&current, ahead)).await?;
        start.into_stream(current.config)
    };
    let stream = match accept.into_fallible().await {
        Ok(stream) => stream,
        Err((_, ahead)) => return Err(Some(ahead.into_transport())),
    };
    let sni = stream.get_ref().1.server_name().map(Into::into);
    let secure = TlsTransport::new(stream);
    let facts = Arc::new(secure.facts(sni));
    Ok((Transport::boxed(secure), facts))
}

/// Reads the first message of a client, and goes on only if there is a certificate for it. The library
/// itself would say `access_denied`.
async fn read_client_hello(
    current: &CurrentTls,
    ahead: PrefixedTransport,
) -> Result<StartHandshake<PrefixedTransport>, Option<Transport>> {
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), ahead);
    let start = match (&mut acceptor).await {
        Ok(start) => start,
        Err(_) => return Err(acceptor.take_io().map(PrefixedTransport::into_transport)),
    };
    if current.serves(start.client_hello().server_name()) {
        return Ok(start);
    }
    let mut transport = start.io.into_transport();
    let told = transport.write_all(&UNRECOGNIZED_NAME).await;
    Err(told.ok().map(|()| transport))
}
