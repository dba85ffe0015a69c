//! From a host to a socket: addresses, and which of them answers first (RFC 8305).

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::net::fault::DialError;
use crate::net::lookups::Lookups;
use crate::net::transport::Transport;
use crate::net::url::{Destination, Host};
use crate::net::zone::locate;
use crate::world::net::TcpStream;
use crate::world::task::{self, JoinSet};
use crate::world::time;

/// How long an attempt is alone before the next address is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);

/// Addresses that are tried at most.
const MOST: usize = 16;

/// Connects to a host, by whichever address answers first.
pub(crate) async fn connect(
    lookups: &Rc<Lookups>,
    host: &Host,
    port: u16,
) -> Result<TcpStream, DialError> {
    let addresses = match host {
        Host::Ip(ip) => VecDeque::from([SocketAddr::new(*ip, port)]),
        Host::Zoned(ip, zone) => VecDeque::from([zoned(*ip, zone.clone(), port).await?]),
        Host::Name(name) => alternate(&lookups.of(name, port).await?),
    };
    race(addresses, STAGGER, connect_one).await
}

/// Connects to a Unix socket.
#[cfg(unix)]
pub(crate) async fn unix(name: &[u8]) -> io::Result<Transport> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    // A zero byte before an abstract name is what the standard library wants, too.
    let socket = tokio::net::UnixStream::connect(OsStr::from_bytes(name)).await?;
    Ok(Transport::Unix(socket))
}

/// Connects to a Unix socket.
#[cfg(not(unix))]
pub(crate) async fn unix(_name: &[u8]) -> io::Result<Transport> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Connects to a destination, whose packets do not wait for more.
pub(crate) async fn reach(
    lookups: &Rc<Lookups>,
    destination: &Destination,
) -> Result<Transport, DialError> {
    let (host, port) = match destination {
        Destination::Inet(host, port) => (host, *port),
        Destination::Unix(name) => return Ok(unix(name).await?),
    };
    let socket = connect(lookups, host, port).await?;
    socket.set_nodelay(true)?;
    Ok(Transport::Tcp(socket))
}

async fn zoned(ip: Ipv6Addr, zone: String, port: u16) -> io::Result<SocketAddr> {
    // In the thread of a small pool, as look-ups are.
    let found = task::spawn_blocking(move || locate(ip, &zone, port)).await;
    found.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()))
}

/// The families in turn, beginning with that of the first address: if one of them leads
/// nowhere, the other comes early.
fn alternate(addresses: &[SocketAddr]) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (VecDeque<_>, VecDeque<_>) = addresses
        .iter()
        .copied()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut sorted = VecDeque::new();
    while sorted.len() < MOST && !(first.is_empty() && second.is_empty()) {
        sorted.extend(first.pop_front());
        sorted.extend(second.pop_front());
    }
    sorted
}

async fn connect_one(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    if is_itself(&socket) {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(socket)
}

/// Attempts, each begun when the one before it has failed or has been alone for `stagger`. The first
/// that is through wins.
async fn race<T: 'static, F: Future<Output = io::Result<T>> + 'static>(
    mut addresses: VecDeque<SocketAddr>,
    stagger: Duration,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<T, DialError> {
    // Dropped, it ends the attempts that are still on their way.
    let mut attempts = JoinSet::new();
    let mut first_error = None;
    loop {
        if let Some(address) = addresses.pop_front() {
            attempts.spawn_local(attempt(address));
        }
        let ended = if addresses.is_empty() {
            attempts.join_next().await
        } else {
            match time::timeout(stagger, attempts.join_next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        };
        match ended {
            Some(Ok(Ok(connected))) => return Ok(connected),
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
            assert_eq!(alternate(&addresses(&given)), addresses(&want));
        }
        let many = vec![a; 100];
        assert_eq!(alternate(&addresses(&many)).len(), MOST);
    }

    /// No test waits for so long: what would is never asked to.
    const NEVER: Duration = Duration::from_secs(3600);

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(Default::default())
            .unwrap();
        runtime.block_on(async {
            let in_time = tokio::time::timeout(Duration::from_secs(30), work);
            in_time.await.expect("nobody waits")
        })
    }

    /// What an address does, by the last number of it: 1 lets in, 2 refuses, 3 is silent.
    async fn behave(address: SocketAddr) -> io::Result<SocketAddr> {
        match address.port() {
            1 => Ok(address),
            2 => Err(io::ErrorKind::ConnectionRefused.into()),
            _ => std::future::pending().await,
        }
    }

    fn raced(given: &[&str], stagger: Duration) -> Result<SocketAddr, DialError> {
        run(race(addresses(given).into(), stagger, behave))
    }

    #[test]
    fn an_address_that_refuses_costs_no_time() {
        let won = raced(&["1.1.1.1:2", "1.1.1.1:2", "2.2.2.2:1"], NEVER);
        assert_eq!(won, Ok("2.2.2.2:1".parse().unwrap()));
        let lost = raced(&["1.1.1.1:2", "2.2.2.2:2"], NEVER);
        assert!(matches!(lost, Err(DialError::Io(..))));
        assert_eq!(raced(&[], NEVER), Err(DialError::NoHost));
    }

    #[test]
    fn an_address_that_is_silent_has_its_time_alone() {
        let stagger = Duration::from_millis(50);
        let began = std::time::Instant::now();
        let won = raced(&["1.1.1.1:3", "2.2.2.2:1"], stagger);
        assert_eq!(won, Ok("2.2.2.2:1".parse().unwrap()));
        assert!(began.elapsed() >= stagger);
        // One that refuses ends the time of the silent one before it.
        let began = std::time::Instant::now();
        let won = raced(&["1.1.1.1:3", "1.1.1.1:2", "2.2.2.2:1"], stagger);
        assert_eq!(won, Ok("2.2.2.2:1".parse().unwrap()));
        assert!(began.elapsed() >= stagger);
    }

    #[test]
    fn the_first_that_lets_in_wins_though_others_are_silent() {
        let won = raced(&["3.3.3.3:1", "1.1.1.1:3"], NEVER);
        assert_eq!(won, Ok("3.3.3.3:1".parse().unwrap()));
    }

    #[test]
    fn sockets_that_refuse_and_that_let_in() {
        run(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let good = listener.local_addr().unwrap();
            // Bound, so that nobody else gets the port, and not listened on.
            let deaf = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let deaf = deaf.unwrap();
            deaf.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into())
                .unwrap();
            let bad = deaf.local_addr().unwrap().as_socket().unwrap();
            let socket = race([bad, good].into(), NEVER, connect_one).await.unwrap();
            assert_eq!(socket.peer_addr().unwrap(), good);
            assert!(matches!(
                race([bad, bad].into(), NEVER, connect_one).await,
                Err(DialError::Io(..))
            ));
        });
    }
}
