//! Listening sockets, and the file that stands for one of them.

use std::io;
use std::net::SocketAddr;

use crate::net::peer::Peer;
use crate::net::zone::locate;
use crate::settings::config::{Address, ServerConfig};
use crate::world::net::{self, DetachedListener};

/// A listening socket on its way to the shard that accepts.
pub(crate) struct BoundListener {
    pub(crate) socket: BoundSocket,
    /// Where it listens, with the port that the system picked.
    pub(crate) place: Peer,
}

pub(crate) enum BoundSocket {
    Tcp(DetachedListener),
    #[cfg(unix)]
    Unix(unix::SocketFile, std::os::unix::net::UnixListener),
}

/// Binds the server's address.
pub(crate) fn bind(config: &ServerConfig) -> io::Result<Option<BoundListener>> {
    let bound = match &config.address {
        Address::Nowhere => return Ok(None),
        Address::Inet(address) => tcp(*address, config),
        Address::Zoned(ip, zone, port) => tcp(locate(*ip, zone, *port)?, config),
        #[cfg(unix)]
        Address::Unix(name) => unix::bind(name, config),
        #[cfg(not(unix))]
        Address::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        #[cfg(all(unix, not(sim)))]
        Address::Given(descriptor) => unix::given(descriptor),
        #[cfg(all(unix, sim))]
        Address::Given(_) => Err(io::ErrorKind::Unsupported.into()),
    };
    bound.map(Some)
}

fn tcp(address: SocketAddr, config: &ServerConfig) -> io::Result<BoundListener> {
    let listener = net::listen(address, config.backlog, config.reuse_port)?;
    let address = listener.local_addr()?;
    Ok(BoundListener {
        socket: BoundSocket::Tcp(listener),
        // As it was bound: what a mapped address stands for is a client's matter.
        place: Peer::Inet(address.ip(), address.port()),
    })
}

#[cfg(unix)]
pub(crate) mod unix {
    //! Unix sockets.

    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    use std::os::unix::net::UnixStream;
    use std::path::{Path, PathBuf};
    use std::{fs, io};

    use socket2::{Domain, SockAddr, Socket, Type};

    use super::{BoundListener, BoundSocket};
    use crate::net::peer::Peer;
    use crate::settings::config::ServerConfig;

    /// The file of a listening socket. Dropped before the socket is, it is removed; the system
    /// would leave it behind.
    pub(crate) struct SocketFile {
        path: PathBuf,
        /// Device and number: the file may have been replaced since.
        identity: Option<(u64, u64)>,
    }

    impl Drop for SocketFile {
        fn drop(&mut self) {
            if self.identity.is_some() && identity(&self.path) == self.identity {
                let _ = fs::remove_file(&self.path);
            }
        }
    }

    fn identity(path: &Path) -> Option<(u64, u64)> {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    }

    pub(super) fn bind(name: &[u8], config: &ServerConfig) -> io::Result<BoundListener> {
        let path = Path::new(OsStr::from_bytes(name));
        let is_file = name.first().is_some_and(|&byte| byte != 0);
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let address = SockAddr::unix(path)?;
        match socket.bind(&address) {
            Err(e) if is_file && e.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
                fs::remove_file(path)?;
                socket.bind(&address)?;
            }
            bound => bound?,
        }
        let file = SocketFile {
            path: path.into(),
            identity: is_file.then(|| identity(path)).flatten(),
        };
        socket.listen(config.backlog)?;
        socket.set_nonblocking(true)?;
        Ok(BoundListener {
            socket: BoundSocket::Unix(file, socket.into()),
            place: Peer::Unix(name.into()),
        })
    }

    /// A socket that somebody else has made to listen, whose it stays.
    #[cfg(not(sim))]
    pub(super) fn given(descriptor: &std::os::fd::OwnedFd) -> io::Result<BoundListener> {
        use std::net::SocketAddr;

        let socket = Socket::from(descriptor.try_clone()?);
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        if !socket.is_listener()? {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        if socket.r#type()? != Type::STREAM {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let inet: Option<SocketAddr> = address.as_socket();
        Ok(match inet {
            Some(inet) => BoundListener {
                socket: BoundSocket::Tcp(socket.into()),
                place: Peer::Inet(inet.ip(), inet.port()),
            },
            None => {
                let listener = std::os::unix::net::UnixListener::from(socket);
                let local = tokio::net::unix::SocketAddr::from(listener.local_addr()?);
                // Its file is not ours to remove.
                let file = SocketFile {
                    path: PathBuf::new(),
                    identity: None,
                };
                BoundListener {
                    socket: BoundSocket::Unix(file, listener),
                    place: Peer::from(local),
                }
            }
        })
    }

    /// Whether a file is the socket of a server that is gone, killed before it could remove it.
    /// A file of any other kind is somebody's.
    fn is_stale(path: &Path) -> bool {
        let is_socket = fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
        let refused = |e: io::Error| e.kind() == io::ErrorKind::ConnectionRefused;
        is_socket && UnixStream::connect(path).is_err_and(refused)
    }
}
