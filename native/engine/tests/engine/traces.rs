//! Who watches the frames of a connection.

use std::sync::mpsc::{Receiver, Sender, channel};

use sockeye_engine::{Active, Mode, TellTrace, Tracer};
use sockeye_protocol::frame::Opcode;

use crate::support::*;

/// What a tracer was told: of a frame the direction, the first byte and the payload, or the end.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Frame(bool, u8, Vec<u8>),
    End,
}

fn tracer(id: u64, sender: Sender<Told>) -> Tracer {
    let tell: TellTrace = Box::new(move |frame| {
        let told = frame.map_or(Told::End, |frame| {
            Told::Frame(frame.incoming, frame.head, frame.payload.to_vec())
        });
        sender.send(told).is_ok()
    });
    Tracer {
        id,
        rate: 1000,
        payload: 16,
        tell,
    }
}

fn next(told: &Receiver<Told>) -> Told {
    told.recv_timeout(LONG).unwrap()
}

#[test]
fn a_tracer_is_told_of_each_frame_and_of_the_end() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let (mut client, conn) = world.open(&mut puller);
    let (sender, told) = channel();
    assert!(world.engine.trace(conn, Ok(tracer(1, sender))));
    world.settle();
    client.text("in");
    assert_eq!(next(&told), Told::Frame(true, 0x81, b"in".to_vec()));
    puller.expect(conn, text("in"));
    world.send(conn, Opcode::Text, b"out").unwrap();
    assert_eq!(next(&told), Told::Frame(false, 0x81, b"out".to_vec()));
    client.expect(Opcode::Text, b"out");
    client.close(1000);
    assert_eq!(next(&told), Told::Frame(true, 0x88, close_payload(1000)));
    puller.expect(conn, Got::Closed(1000, String::new()));
    // The answer to the Close frame, and then the end.
    while next(&told) != Told::End {}
    assert!(told.recv_timeout(LONG).is_err(), "nobody tells it any more");
}

#[test]
fn a_removed_tracer_is_not_called() {
    let (world, mut puller) = World::pulled(1, config(Mode::Workers(1)));
    let (mut client, conn) = world.open(&mut puller);
    let ((one, first), (two, second)) = (channel(), channel());
    assert!(world.engine.trace(conn, Ok(tracer(1, one))));
    assert!(world.engine.trace(conn, Ok(tracer(2, two))));
    // Another one's number.
    assert!(world.engine.trace(conn, Err(3)));
    world.settle();
    client.text("a");
    let a = || Told::Frame(true, 0x81, b"a".to_vec());
    assert_eq!((next(&first), next(&second)), (a(), a()));
    assert!(world.engine.trace(conn, Err(1)));
    world.settle();
    client.text("b");
    assert_eq!(next(&second), Told::Frame(true, 0x81, b"b".to_vec()));
    assert_eq!(next(&first), Told::End);
    let more = first.recv_timeout(LONG);
    assert!(more.is_err(), "{more:?}");
    // The last one.
    assert!(world.engine.trace(conn, Err(2)));
    assert_eq!(next(&second), Told::End);
    assert!(second.recv_timeout(LONG).is_err());
    client.seen();
}

/// A tracer that is added then would never be told of the end.
#[test]
fn a_late_tracer_is_told_of_the_end() {
    let mut config = config(Mode::Workers(1));
    config.active = Active::False;
    let (world, mut puller) = World::pulled(1, config);
    let (mut client, conn) = world.open(&mut puller);
    let ((one, first), (two, second)) = (channel(), channel());
    assert!(world.engine.trace(conn, Ok(tracer(1, one))));
    client.text("held");
    client.seen();
    client.reset();
    // The message is held, and so is the end: the connection is still known when its socket has gone.
    while next(&first) != Told::End {}
    assert!(world.engine.trace(conn, Ok(tracer(2, two))));
    assert_eq!(next(&second), Told::End);
    drop(puller);
}
