//! Questions before a connection is made.

use std::io::{Read, Write};
use std::net::TcpStream;

use sockeye_seam::value::Value;

use crate::client::client;
use crate::vm::{LONG, Term, Vm, atom, binary, int, list, returned, tagged, tuple};

/// The token of a question, what it is about, and the request.
fn question(vm: &mut Vm, gate: u64) -> (Term, Term, Term) {
    let asked = vm.message(gate);
    let [tag, token, about, request] = asked.tuple().unwrap() else {
        panic!("{asked:?}");
    };
    assert!(tag.is("sockeye_ask"));
    (token.clone(), about.clone(), request.clone())
}

#[test]
fn a_decision_keeps_whatever_state_it_has_for_the_receiver() {
    let mut vm = Vm::start(1);
    let (_, port) = vm.listen(1, &[("asks", atom("true"))]);
    let id = vm.handler(1);
    assert_eq!(vm.call(8, "gate_open", vec![int(1)]), returned(atom("ok")));
    let gate = vm.expect_watch("gate", 8);
    let mut deep = int(1);
    for _ in 0..50 {
        deep = tuple(vec![deep]);
    }
    for state in [
        int(7),
        deep,
        Value::Process(vec![108, 0, 0, 0, 1, 97, 1, 97, 2]),
    ] {
        let client = std::thread::spawn(move || client(port));
        let (token, about, request) = question(&mut vm, gate);
        assert!(about.is("accept"));
        assert_eq!(request.get("path"), Ok(&binary("/path")));
        let options = Value::Map(vec![
            (atom("state"), state.clone()),
            (atom("active"), atom("once")),
        ]);
        let decision = tagged("accept", options);
        let heard = vm.call(8, "answer", vec![int(1), token.clone(), decision.clone()]);
        assert_eq!(heard, returned(atom("true")));
        let heard = vm.call(8, "answer", vec![int(1), token, decision]);
        assert_eq!(heard, returned(atom("false")));
        let (_, opened) = vm.event(id);
        let kept = opened.tuple().unwrap()[1].get("state").unwrap();
        match state {
            // No tree of ours: it came whole if all behind it could be read.
            Value::Process(_) => assert_eq!(*kept, Value::Other),
            state => assert_eq!(*kept, state),
        }
        drop(client.join().unwrap());
        vm.event(id);
    }
}

#[test]
fn a_route_is_answered_by_the_gate() {
    let mut vm = Vm::start(1);
    let routes = list(vec![tuple(vec![binary("/http"), atom("ask")])]);
    let (_, port) = vm.listen(1, &[("routes", routes)]);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    vm.call(8, "gate_open", vec![int(1)]);
    let gate = vm.expect_watch("gate", 8);
    let request =
        "POST /http HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
    stream.write_all(request.as_bytes()).unwrap();
    let (token, about, request) = question(&mut vm, gate);
    assert_eq!(about, int(0));
    assert_eq!(request.get("body"), Ok(&binary("abc")));
    let headers = list(vec![tuple(vec![binary("x-a"), binary("b")])]);
    let decision = tuple(vec![atom("reject"), int(418), headers, binary("short")]);
    vm.cast(8, "answer", vec![int(1), token, decision]);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 418 "), "{answer}");
    assert!(
        answer.contains("x-a: b\r\n") && answer.ends_with("short"),
        "{answer}"
    );
}
