//! Who is refused hears why.

use std::io::{Read, Write};
use std::net::Shutdown;

use sockeye_engine::Mode;
use sockeye_protocol::handshake::Paths;

use crate::support::*;

/// Bytes that are not read, or not yet sent, when a socket is closed would take the answer from its client.
#[test]
fn a_refused_client_that_keeps_sending_reads_the_answer() {
    let mut config = config(Mode::Workers(1));
    config.paths = Paths::new(["/elsewhere"]).unwrap();
    let world = World::new(1, config, None);
    for (request, code) in [
        (request("dGhlIHNhbXBsZSBub25jZQ=="), "404"),
        (b"NONSENSE\r\n\r\n".to_vec(), "400"),
    ] {
        let mut stream = connect(world.address);
        let sent = [request, vec![0; 60_000]].concat();
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let line = answer.lines().next();
        assert!(line.is_some_and(|line| line.contains(code)), "{answer}");
    }
}
