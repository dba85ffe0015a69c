//! Pages of a server's connections, as `sockeye:connections` and the dashboard show them.

use std::io::Write;
use std::sync::mpsc::channel;

use sockeye_engine::active::SetActive;
use sockeye_engine::op::Command;
use sockeye_engine::{Active, ConnId, ConnOptions, Mode, SendError};
use sockeye_protocol::frame::Opcode;
use sockeye_protocol::handshake::client::{self, ClientOptions, generate_key};

use crate::support::*;

/// A row, read as the engine describes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: u64,
    age: u64,
    queued: u32,
    held: u32,
    frames_in: u64,
    active: i32,
    peer: String,
    path: String,
    user_data: String,
}

fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (first, rest) = bytes.split_first_chunk().unwrap();
    *bytes = rest;
    *first
}

fn parse(mut bytes: &[u8]) -> Vec<Row> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let bytes = &mut bytes;
        let mut row = Row {
            id: u64::from_be_bytes(take(bytes)),
            age: u64::from_be_bytes(take(bytes)),
            queued: u32::from_be_bytes(take(bytes)),
            held: u32::from_be_bytes(take(bytes)),
            frames_in: u64::from_be_bytes(take(bytes)),
            active: i32::from_be_bytes(take(bytes)),
            peer: String::new(),
            path: String::new(),
            user_data: String::new(),
        };
        let lengths: [u8; 3] = take(bytes);
        let texts = [&mut row.peer, &mut row.path, &mut row.user_data];
        for (text, len) in texts.into_iter().zip(lengths) {
            let (first, rest) = bytes.split_at(len.into());
            *text = std::str::from_utf8(first).unwrap().to_owned();
            *bytes = rest;
        }
        rows.push(row);
    }
    rows
}

/// A page of the first shard, from a slot on, and where the next one begins.
pub(crate) fn page(world: &World, from: u32) -> (Vec<Row>, Option<u32>) {
    let (sender, answer) = channel();
    let reply = Box::new(move |rows: &[u8], next| sender.send((parse(rows), next)).unwrap());
    assert!(world.engine.rows(&world.server, 0, from, reply));
    answer.recv_timeout(LONG).unwrap()
}

fn ids(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.id).collect()
}

#[test]
fn a_row_tells_what_there_is_of_a_connection() {
    let mut config = config(Mode::Workers(1));
    config.active = Active::Once;
    let (world, mut puller) = World::pulled(1, config);
    let (mut client, conn) = world.open(&mut puller);
    client.text("one");
    client.text("two");
    puller.expect(conn, text("one"));
    client.seen();
    let (rows, next) = page(&world, 0);
    let stats = world.stats(conn).unwrap();
    let [row] = &rows[..] else {
        panic!("{rows:?}");
    };
    assert_eq!(next, None);
    assert!(row.age <= stats.age && row.held as usize == stats.held && stats.held > 0);
    let known = (row.id, row.queued, row.frames_in, row.active);
    assert_eq!(known, (conn.as_u64(), 0, 2, 0));
    let peer = client.stream.local_addr().unwrap();
    assert_eq!(row.peer, peer.to_string());
    assert_eq!((row.path.as_str(), row.user_data.as_str()), ("/path", ""));
    for (change, shown) in [
        (SetActive::To(Active::True), -1),
        (SetActive::To(Active::Once), 1),
        (SetActive::To(Active::Count(7)), 7),
        (SetActive::To(Active::False), 0),
    ] {
        world.active(conn, change);
        world.settle();
        assert_eq!(page(&world, 0).0[0].active, shown);
    }
}

#[test]
fn a_row_has_the_first_128_bytes_of_a_path() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let mut clients = Vec::new();
    for len in [127, 128, 129] {
        let path = format!("/{}", "p".repeat(len - 1));
        let key = generate_key();
        let options = ClientOptions {
            host: "localhost",
            path: &path,
            subprotocols: &[],
            deflate: None,
            headers: &[],
        };
        let mut stream = connect(world.address);
        let request = client::request(&options, &key).unwrap();
        stream.write_all(&request).unwrap();
        clients.push(Client::shaken(stream, &key));
        let conn = puller.opened();
        let (rows, _) = page(&world, 0);
        let row = rows.iter().find(|row| row.id == conn.as_u64()).unwrap();
        assert_eq!(row.path, path[..len.min(128)]);
    }
}

#[test]
fn a_page_has_the_open_connections_of_one_server() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let other = World::on(world.engine.clone(), config(Mode::Workers(1)), None);
    let mut others = other.worker(0);
    let (_one, first) = world.open(&mut puller);
    let (_of_another, _) = other.open(&mut others);
    let (mut two, second) = world.open(&mut puller);
    let (_three, third) = world.open(&mut puller);
    // The first slots, in this order.
    let all = |from| ids(&page(&world, from).0);
    let known = |conns: &[ConnId]| -> Vec<u64> { conns.iter().map(|id| id.as_u64()).collect() };
    assert_eq!(all(0), known(&[first, second, third]));
    assert_eq!(all(2), known(&[second, third]));
    assert_eq!(all(4), known(&[]));
    two.close(1000);
    puller.expect(second, Got::Closed(1000, String::new()));
    two.drained();
    drop(two);
    // Its slot is in use until its socket has gone.
    while world.connections().len() > 2 {
        world.settle();
    }
    assert_eq!(all(0), known(&[first, third]));
    // There is one shard.
    let nobody = Box::new(|_: &[u8], _| panic!("no such shard"));
    assert!(!world.engine.rows(&world.server, 1, 0, nobody));
}

#[test]
fn a_queue_may_get_another_bound() {
    let mut config = config(Mode::Workers(1));
    config.send_queue_size = 1000;
    let (world, mut puller) = World::pulled(1, config);
    let (_client, conn) = world.open(&mut puller);
    let mut options = ConnOptions::default();
    options.send_queue_size = Some(10);
    let command = Command::Options(Box::new(options));
    ask(&world.engine, conn, command);
    world.settle();
    let held = world.hold();
    // An empty queue takes anything.
    world.send(conn, Opcode::Binary, &[0; 9]).unwrap();
    let refused = world.send(conn, Opcode::Binary, &[0; 1]);
    assert_eq!(refused, Err(SendError::Busy));
    drop(held);
}
