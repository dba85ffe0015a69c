//! Deaths, and the end.

use std::time::Duration;

use tungstenite::Message;

use crate::client::{client, closed};
use crate::vm::{Section, Vm, atom, binary, int, tagged};

#[test]
fn the_end_of_standard_input_closes_all_with_1001_within_two_seconds() {
    let mut vm = Vm::start(2);
    let (_, port) = vm.listen(1, &[]);
    let id = vm.handler(1);
    let mut client = client(port);
    vm.event(id);
    drop(vm.started.stdin.take());
    assert_eq!(closed(&mut client), 1001);
    let (status, time) = vm.started.ended();
    assert_eq!(status.code(), Some(0));
    assert!(time < Duration::from_secs(2), "{time:?}");
}

#[test]
fn the_end_of_the_link_does_the_same() {
    let mut vm = Vm::start(1);
    let (_, port) = vm.listen(1, &[]);
    let id = vm.handler(1);
    let mut client = client(port);
    vm.event(id);
    vm.stream.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(closed(&mut client), 1001);
    assert_eq!(vm.started.ended().0.code(), Some(0));
}

#[test]
fn engine_stop_is_answered_when_all_is_closed() {
    let mut vm = Vm::start(2);
    let (_, port) = vm.listen(1, &[]);
    let id = vm.handler(1);
    let mut client = client(port);
    vm.event(id);
    let call = vm.ask(0, "engine_stop", vec![]);
    assert_eq!(closed(&mut client), 1001);
    assert_eq!(vm.answer(call), crate::vm::returned(atom("ok")));
}

#[test]
fn frames_of_a_dead_process_come_before_the_close() {
    let mut vm = Vm::start(1);
    let (_, port) = vm.listen(1, &[]);
    let id = vm.handler(1);
    let mut client = client(port);
    let (conn, _) = vm.event(id);
    vm.commands(id, 0, 0, vec![conn, tagged("text", binary("last words"))]);
    vm.down(id);
    assert_eq!(client.read().unwrap(), Message::text("last words"));
    assert_eq!(closed(&mut client), 1011);
    // Another takes its place.
    let id = vm.handler(1);
    let mut next = crate::client::client(port);
    vm.event(id);
    next.send(Message::text("x")).unwrap();
    vm.event(id);
    // Nobody is there any more who could be dead.
    vm.down(id + 1000);
    vm.ping();
}

#[test]
fn a_server_stops_with_its_process() {
    let mut vm = Vm::start(1);
    let (host, port) = vm.listen(1, &[]);
    let id = vm.handler(1);
    let mut client = client(port);
    vm.event(id);
    vm.down(host);
    assert_eq!(closed(&mut client), 1001);
    drop(client);
    let gone = vm.find(|s| match s {
        Section::Message(_, term) if term.tuple().unwrap()[0].is("sockeye_gone") => {
            Some(term.clone())
        }
        _ => None,
    });
    assert_eq!(gone, tagged("sockeye_gone", int(1)));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}
