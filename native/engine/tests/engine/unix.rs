//! Servers on Unix sockets.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use sockeye_engine::{Address, Mode, Peer, ServerConfig};
use sockeye_protocol::frame::Opcode;
use sockeye_protocol::handshake::client::generate_key;

use crate::support::*;

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sockeye-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("s")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn at(name: &[u8]) -> ServerConfig {
    ServerConfig::new(Address::Unix(name.into()), Mode::Workers(1))
}

fn at_path(path: &Path) -> ServerConfig {
    at(path.as_os_str().as_bytes())
}

/// Shakes hands and sends a message; the answer to the first must have come whole.
fn say(stream: &mut UnixStream, text: &str) {
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream.write_all(&request(&generate_key())).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{head:?}");
    stream
        .write_all(&masked(Opcode::Text, text.as_bytes()))
        .unwrap();
}

#[test]
fn messages_are_echoed_and_the_file_goes_with_the_server() {
    let folder = Folder::new("echo");
    let path = folder.socket();
    let (world, mut puller) = World::pulled(2, at_path(&path));
    let mut stream = UnixStream::connect(&path).unwrap();
    say(&mut stream, "hello");
    let conn = puller.opened();
    puller.expect(conn, Got::Text(b"hello".to_vec()));
    let peer_info = world.stats(conn).unwrap().peer_info;
    assert_eq!(peer_info.peer, Peer::Unix([].into()));
    assert_eq!(
        peer_info.local,
        Peer::Unix(path.as_os_str().as_bytes().into())
    );
    world.send(conn, Opcode::Text, b"back").unwrap();
    let mut back = [0; 6];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"\x81\x04back");
    world.stop_server();
    drop(stream);
    world.wait_stopped();
    assert!(!path.exists());
}

#[test]
fn a_socket_that_is_in_use_is_not_taken() {
    let folder = Folder::new("live");
    let path = folder.socket();
    let (world, _puller) = World::pulled(1, at_path(&path));
    assert_eq!(
        world.listen_again(at_path(&path)),
        Some(ErrorKind::AddrInUse)
    );
    assert!(UnixStream::connect(&path).is_ok());
}

#[test]
fn the_socket_of_a_dead_server_is_replaced() {
    let folder = Folder::new("stale");
    let path = folder.socket();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let (_world, mut puller) = World::pulled(1, at_path(&path));
    let mut stream = UnixStream::connect(&path).unwrap();
    say(&mut stream, "hello");
    puller.opened();
}

#[test]
fn a_file_that_is_no_socket_stays() {
    let folder = Folder::new("file");
    let path = folder.socket();
    std::fs::write(&path, "mine").unwrap();
    let (world, _puller) = World::pulled(1, config(Mode::Workers(1)));
    assert_eq!(
        world.listen_again(at_path(&path)),
        Some(ErrorKind::AddrInUse)
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
}

#[test]
fn a_file_that_replaced_ours_stays() {
    let folder = Folder::new("replaced");
    let path = folder.socket();
    let (world, _puller) = World::pulled(1, at_path(&path));
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    world.stop_server();
    world.wait_stopped();
    assert!(path.exists());
}

#[test]
fn a_path_of_the_longest_length_and_one_more() {
    let folder = Folder::new("long");
    let prefix = folder.0.as_os_str().len() + 1;
    let (world, _puller) = World::pulled(1, config(Mode::Workers(1)));
    for (len, fits) in [(106, true), (107, true), (108, false)] {
        let path = folder.0.join("x".repeat(len - prefix));
        assert_eq!(world.listen_again(at_path(&path)).is_none(), fits, "{len}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_needs_no_file() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    let name = format!("sockeye-test-{}", std::process::id());
    let bytes = [b"\0", name.as_bytes()].concat();
    let (world, mut puller) = World::pulled(1, at(&bytes));
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let mut stream = UnixStream::connect_addr(&address).unwrap();
    say(&mut stream, "hello");
    let conn = puller.opened();
    assert_eq!(
        world.stats(conn).unwrap().peer_info.local,
        Peer::Unix(bytes.as_slice().into())
    );
    assert_eq!(world.listen_again(at(&bytes)), Some(ErrorKind::AddrInUse));
    world.stop_server();
    drop(stream);
    world.wait_stopped();
    assert!(UnixStream::connect_addr(&address).is_err());
}
