//! From a host to a socket: addresses, and which of them answers first (RFC 8305).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::error::DialError;
use super::url::Host;

/// How long an attempt is alone before the next address is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses that are tried at most.
const MOST: usize = 16;

/// Connects to a host, by whichever address answers first.
pub(crate) async fn connect(host: &Host, port: u16) -> Result<TcpStream, DialError> {
    let addresses = match host {
        Host::Ip(ip) => VecDeque::from([SocketAddr::new(*ip, port)]),
        Host::Name(name) => alternate(look_up(name, port).await?),
    };
    race(addresses).await
}

async fn look_up(name: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
    // The system's resolver, in a thread of a small pool.
    match tokio::net::lookup_host((name, port)).await {
        Ok(found) => Ok(found.take(4 * MOST).collect()),
        Err(_) => Err(DialError::NoHost),
    }
}

/// The families in turn, beginning with that of the first address: if one of them leads
/// nowhere, the other comes early.
fn alternate(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut sorted = VecDeque::new();
    while sorted.len() < MOST && !(first.is_empty() && second.is_empty()) {
        sorted.extend(first.pop_front());
        sorted.extend(second.pop_front());
    }
    sorted
}

async fn race(mut addresses: VecDeque<SocketAddr>) -> Result<TcpStream, DialError> {
    // Dropped, it ends the attempts that are still on their way.
    let mut attempts = JoinSet::new();
    let mut first_error = None;
    loop {
        if let Some(address) = addresses.pop_front() {
            attempts.spawn_local(TcpStream::connect(address));
        }
        let ended = if addresses.is_empty() {
            attempts.join_next().await
        } else {
            match tokio::time::timeout(STAGGER, attempts.join_next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        };
        match ended {
            Some(Ok(Ok(socket))) if !is_itself(&socket) => return Ok(socket),
            Some(Ok(Ok(_))) => {
                let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                first_error.get_or_insert(DialError::from(refused));
            }
            Some(Ok(Err(e))) => {
                first_error.get_or_insert(DialError::from(e));
            }
            Some(Err(_)) => {}
            None => return Err(first_error.unwrap_or(DialError::NoHost)),
        }
    }
}

/// Where nobody listens on a port that the system hands out itself, TCP can connect a socket
/// to itself.
fn is_itself(socket: &TcpStream) -> bool {
    match (socket.local_addr(), socket.peer_addr()) {
        (Ok(local), Ok(peer)) => local == peer,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &[&str]) -> Vec<SocketAddr> {
        text.iter().map(|a| a.parse().unwrap()).collect()
    }

    #[test]
    fn the_families_take_turns() {
        let (a, b, c) = ("[::1]:1", "[::2]:1", "[::3]:1");
        let (x, y) = ("1.1.1.1:1", "2.2.2.2:1");
        for (given, want) in [
            (vec![a, b, c, x, y], vec![a, x, b, y, c]),
            (vec![x, y, a], vec![x, a, y]),
            (vec![x], vec![x]),
            (vec![], vec![]),
        ] {
            assert_eq!(alternate(addresses(&given)), addresses(&want));
        }
        let many = vec![a; 100];
        assert_eq!(alternate(addresses(&many)).len(), MOST);
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(Default::default())
            .unwrap();
        runtime.block_on(work)
    }

    #[test]
    fn an_address_that_refuses_costs_no_time() {
        run(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let good = listener.local_addr().unwrap();
            let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let bad = closed.local_addr().unwrap();
            drop(closed);
            let began = std::time::Instant::now();
            let socket = race([bad, good].into()).await.unwrap();
            assert_eq!(socket.peer_addr().unwrap(), good);
            assert!(began.elapsed() < STAGGER);
            assert!(matches!(
                race([bad, bad].into()).await,
                Err(DialError::Io(..))
            ));
            assert_eq!(race([].into()).await.unwrap_err(), DialError::NoHost);
        });
    }

    #[test]
    fn an_address_that_is_silent_costs_a_quarter_of_a_second() {
        run(async {
            // A full queue of a listener that never accepts: Linux lets one more in.
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let silent = socket.unwrap();
            silent
                .bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
                .unwrap();
            silent.listen(0).unwrap();
            let mute = silent.local_addr().unwrap().as_socket().unwrap();
            let mut filling = Vec::new();
            while let Ok(Ok(socket)) =
                tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(mute)).await
            {
                filling.push(socket);
            }
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let good = listener.local_addr().unwrap();
            let began = std::time::Instant::now();
            let socket = race([mute, good].into()).await.unwrap();
            assert_eq!(socket.peer_addr().unwrap(), good);
            assert!(began.elapsed() >= STAGGER);
        });
    }
}
