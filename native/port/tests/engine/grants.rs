//! Messages that the VM takes without asking.

use tungstenite::Message;

use crate::client::client;
use crate::vm::{Section, Term, Vm, atom, binary, bytes, error, int, returned, tagged, tuple};

fn text(text: &str) -> Term {
    tagged("text", binary(text))
}

fn send(vm: &mut Vm, conn: &Term, frame: Term) -> Term {
    vm.call(5, "send", vec![conn.clone(), frame])
}

/// What has been granted, and not been asked for.
fn grants(vm: &mut Vm) -> Vec<u32> {
    let grant = |section| match section {
        Section::Grant(_, bytes) => Some(bytes),
        _ => None,
    };
    vm.others().into_iter().filter_map(grant).collect()
}

fn connected(bound: i64) -> (Vm, Term, crate::client::Client) {
    let mut vm = Vm::start(1);
    let (_, port) = vm.listen(1, &[("send_queue_size", int(bound))]);
    let id = vm.handler(1);
    let client = client(port);
    let (conn, _) = vm.event(id);
    (vm, conn, client)
}

#[test]
fn a_grant_is_an_eighth_of_the_bound() {
    let bounds = [
        (32 * 1024 - 8, None),
        (32 * 1024, Some(4096)),
        (80_000, Some(10_000)),
        (512 * 1024 - 8, Some(65_535)),
        (1 << 20, Some(65_536)),
    ];
    for (bound, grant) in bounds {
        let (mut vm, conn, _client) = connected(bound);
        assert_eq!(send(&mut vm, &conn, text("first")), returned(atom("ok")));
        assert_eq!(grants(&mut vm), Vec::from_iter(grant), "{bound}");
    }
}

#[test]
fn granted_frames_pass_a_full_queue() {
    let (mut vm, conn, mut client) = connected(80_000);
    assert_eq!(send(&mut vm, &conn, text("first")), returned(atom("ok")));
    assert_eq!(grants(&mut vm), [10_000]);
    let large = tagged("binary", binary(vec![0; 30_000]));
    let busy = error(atom("busy"));
    // Nobody reads. What the system takes for the client is its affair, and may grow.
    let fill = |vm: &mut Vm| {
        let mut sent = 0;
        loop {
            match send(vm, &conn, large.clone()) {
                answer if answer == busy => return sent,
                answer => assert_eq!(answer, returned(atom("ok"))),
            }
            sent += 1;
        }
    };
    let before = fill(&mut vm);
    let Term::Integer(number) = conn.tuple().unwrap()[1] else {
        panic!("{conn:?}");
    };
    for n in 0..10 {
        let mut body = number.to_be_bytes().to_vec();
        body.extend(bytes(&text(&n.to_string())));
        vm.section(7, &body);
    }
    // Commands that come behind them go behind them, and are refused as before.
    let behind = fill(&mut vm);
    assert_eq!(client.read().unwrap(), Message::text("first"));
    for _ in 0..before {
        assert_eq!(client.read().unwrap().len(), 30_000);
    }
    for n in 0..10 {
        assert_eq!(client.read().unwrap(), Message::text(n.to_string()));
    }
    for _ in 0..behind {
        assert_eq!(client.read().unwrap().len(), 30_000);
    }
}

#[test]
fn the_end_of_a_connection_ends_its_grant() {
    let (mut vm, conn, client) = connected(1 << 20);
    assert_eq!(send(&mut vm, &conn, text("first")), returned(atom("ok")));
    assert_eq!(grants(&mut vm), [65_536]);
    let close = tuple(vec![atom("close"), int(1000), binary("")]);
    let call = vm.ask(5, "send", vec![conn.clone(), close]);
    let ended = vm.find(|s| match s {
        Section::Grant(_, bytes) => Some(*bytes),
        Section::Answer(..) => Some(1),
        _ => None,
    });
    assert_eq!(ended, 0, "before the answer");
    assert_eq!(vm.answer(call), returned(atom("ok")));
    drop(client);

    let (mut vm, conn, client) = connected(1 << 20);
    assert_eq!(send(&mut vm, &conn, text("first")), returned(atom("ok")));
    drop(client);
    let ended = |s: &Section| matches!(s, Section::Grant(_, 0)).then_some(());
    vm.find(ended);
}

#[test]
fn a_term_that_is_no_frame_breaks_the_link() {
    for frame in [int(1), tagged("text", binary([255]))] {
        let (mut vm, conn, _client) = connected(1 << 20);
        let Term::Integer(number) = conn.tuple().unwrap()[1] else {
            panic!("{conn:?}");
        };
        let mut body = number.to_be_bytes().to_vec();
        body.extend(bytes(&frame));
        vm.section(7, &body);
        let (status, _) = vm.started.ended();
        assert_eq!(status.code(), Some(4));
    }
}
