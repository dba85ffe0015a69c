//! How much of what waits is on its way at a time.

use tungstenite::Message;

use crate::client::client;
use crate::vm::{Section, Vm, atom, binary, int, returned, tagged};

/// A handler with one connection, `open` acknowledged.
fn serving(options: &[(&str, crate::vm::Term)]) -> (Vm, u64, crate::client::Client) {
    let mut vm = Vm::start(1);
    let (_, port) = vm.listen(1, options);
    let id = vm.handler(1);
    let client = client(port);
    vm.event(id);
    (vm, id, client)
}

fn batches(sections: &[Section]) -> usize {
    let is_batch = |s: &&Section| matches!(s, Section::Batch { .. });
    sections.iter().filter(is_batch).count()
}

/// Whatever the client has sent is with the engine.
fn settled(vm: &mut Vm, client: &mut crate::client::Client) {
    client.send(Message::Ping("?".into())).unwrap();
    assert!(matches!(client.read().unwrap(), Message::Pong(_)));
    vm.ping();
}

/// So many messages are with the engine, and what came with the last of them.
fn arrived(vm: &mut Vm, messages: usize) {
    loop {
        let info = vm.call(0, "server_info", vec![int(1)]);
        let seen: u64 = info.tuple().unwrap()[1].get_as("frames_in").unwrap();
        if seen >= messages as u64 {
            return vm.ping();
        }
    }
}

#[test]
fn two_batches_are_on_their_way_and_no_third() {
    let (mut vm, id, mut client) = serving(&[]);
    vm.commands(id, 0, 1, Vec::new());
    vm.ping();
    for n in 0..6 {
        client.send(Message::text(n.to_string())).unwrap();
    }
    settled(&mut vm, &mut client);
    let (_, first) = vm.batch(id);
    assert_eq!(first[0].1, tagged("text", binary("0")));
    vm.batch(id);
    assert_eq!(batches(&vm.others()), 0, "of two");
    vm.commands(id, 1, 0, Vec::new());
    let (more, third) = vm.batch(id);
    assert!(more);
    assert_eq!(third[0].1, tagged("text", binary("2")));
    assert_eq!(batches(&vm.others()), 0, "of two again");
    vm.commands(id, 2, 256, Vec::new());
    let (more, rest) = vm.batch(id);
    assert!(!more);
    assert_eq!(rest.len(), 3, "as many as may be");
    vm.commands(id, 1, 0, Vec::new());
    vm.ping();
    vm.commands(id, 1, 0, Vec::new());
    let (status, _) = vm.started.ended();
    assert_eq!(status.code(), Some(4), "an acknowledgement too many");
}

#[test]
fn a_batch_has_so_many_events_and_bytes() {
    // One connection's share of an inbox is a sixteenth of it.
    let (mut vm, id, mut client) = serving(&[("inbox_size", int(64 << 20))]);
    vm.commands(id, 0, 256, Vec::new());
    // Two batches take the credit.
    for _ in 0..2 {
        client.send(Message::text("x")).unwrap();
        vm.batch(id);
    }
    for size in [65_535, 1, 1, 65_536, 65_537] {
        client.send(Message::binary(vec![0; size])).unwrap();
    }
    for _ in 0..257 {
        client.send(Message::text("small")).unwrap();
    }
    settled(&mut vm, &mut client);
    let mut sizes = Vec::new();
    for _ in 0..6 {
        vm.commands(id, 1, 0, Vec::new());
        sizes.push(vm.batch(id).1.len());
    }
    // 65,535 and 1 fill one, and who is at the bound or beyond comes alone.
    assert_eq!(sizes, [2, 1, 1, 1, 256, 1]);
}

/// The end of a connection is two of them.
#[test]
fn an_end_that_does_not_fit_waits_for_the_next_batch() {
    for (messages, expected) in [(1, &[3][..]), (2, &[2, 2]), (3, &[3, 2]), (4, &[3, 3])] {
        let (mut vm, id, mut client) = serving(&[]);
        vm.commands(id, 0, 3, Vec::new());
        for _ in 0..2 {
            client.send(Message::text("x")).unwrap();
            vm.batch(id);
        }
        // With one write, so that it is read at once.
        for _ in 0..messages {
            client.write(Message::text("x")).unwrap();
        }
        client.close(None).unwrap();
        arrived(&mut vm, 2 + messages);
        let mut sizes = Vec::new();
        while sizes.iter().sum::<usize>() < messages + 2 {
            vm.commands(id, 1, 0, Vec::new());
            sizes.push(vm.batch(id).1.len());
        }
        assert_eq!(sizes, expected);
    }
}

#[test]
fn the_vm_is_told_where_keys_are_to_be_atoms() {
    for (keys, told) in [("existing_atom", true), ("binary", false)] {
        let options = [("format", atom("json")), ("keys", atom(keys))];
        let (mut vm, _id, mut client) = serving(&options);
        client.send(Message::text("{\"ok\":1}")).unwrap();
        let told_so = vm.find(|s| match s {
            Section::Batch { keys, .. } => Some(*keys),
            _ => None,
        });
        assert_eq!(told_so, told);
    }
}

#[test]
fn rest_is_told_when_the_last_batch_is_acknowledged() {
    let (mut vm, id, mut client) = serving(&[]);
    let rest = vm.call(2, "inbox_rest", vec![int(id as i64)]);
    assert_eq!(rest, returned(atom("ok")));
    vm.commands(id, 0, 1, Vec::new());
    vm.ping();
    for _ in 0..3 {
        client.send(Message::text("x")).unwrap();
    }
    settled(&mut vm, &mut client);
    let rest = vm.ask(2, "inbox_rest", vec![int(id as i64)]);
    vm.batch(id);
    vm.batch(id);
    let others = vm.others();
    assert!(others.is_empty(), "one batch waits for credit: {others:?}");
    vm.commands(id, 2, 0, Vec::new());
    let order = vm.find(|s| match s {
        Section::Batch { .. } => Some("batch"),
        Section::Answer(..) => Some("answer"),
        _ => None,
    });
    assert_eq!(order, "batch");
    let others = vm.others();
    assert!(others.is_empty(), "it may still be answered: {others:?}");
    vm.commands(id, 1, 0, Vec::new());
    assert_eq!(vm.answer(rest), returned(atom("ok")));
}

#[test]
fn a_link_that_is_not_read_is_bounded() {
    let (mut vm, id, mut client) = serving(&[("inbox_size", int(1 << 20))]);
    client.get_mut().set_nonblocking(true).unwrap();
    let mut sent = 0;
    let begin = std::time::Instant::now();
    // Its own queue and the kernel's fill, then nothing goes.
    let mut stuck = 0;
    while stuck < 200 && begin.elapsed() < crate::vm::LONG {
        match client.write(Message::binary(vec![7; 32 * 1024])) {
            Ok(()) => {
                sent += 1;
                stuck = 0;
            }
            Err(_) => {
                stuck += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
                let _ = client.flush();
            }
        }
        if sent > 4096 {
            break;
        }
    }
    assert!(sent < 4096, "128 MiB went somewhere");
    let info = vm.call(0, "engine_info", vec![]);
    let memory: u64 = info.tuple().unwrap()[1].get_as("memory").unwrap();
    assert!(memory < 100 << 20, "{memory}");
    assert!(!vm.batch(id).1.is_empty());
}

#[test]
fn many_that_wait_for_room_go_on_one_after_the_other() {
    const HANDLERS: i64 = 60;
    let mut vm = Vm::start(1);
    let mut clients = Vec::new();
    for n in 1..=HANDLERS {
        let (_, port) = vm.listen(n, &[("inbox_size", int(64 << 20))]);
        let id = vm.handler(n);
        let client = client(port);
        vm.event(id);
        clients.push((id, client));
    }
    // More than the link holds, and nobody reads meanwhile.
    for (_, client) in &mut clients {
        for _ in 0..4 {
            client.send(Message::binary(vec![7; 60_000])).unwrap();
        }
    }
    for (_, client) in &mut clients {
        client.send(Message::Ping("?".into())).unwrap();
        assert!(matches!(client.read().unwrap(), Message::Pong(_)));
    }
    vm.ping();
    for (id, _) in &clients {
        for _ in 0..4 {
            assert_eq!(vm.batch(*id).1.len(), 1);
            vm.commands(*id, 1, 0, Vec::new());
        }
    }
}
