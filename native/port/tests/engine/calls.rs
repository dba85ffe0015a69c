//! What is asked and answered.

use crate::options::config;
use crate::vm::{Vm, atom, binary, error, int, list, raised, returned, tagged, tuple};

#[test]
fn mistakes_of_the_caller_are_exceptions() {
    let mut vm = Vm::start(1);
    let conn = tagged("sockeye_conn", int(1));
    for (function, args) in [
        ("listen", vec![]),
        ("listen", vec![int(1)]),
        ("server_info", vec![int(77)]),
        ("conn_info", vec![int(77)]),
        (
            "setopts",
            vec![conn.clone(), list(vec![tagged("active", int(99999))])],
        ),
        (
            "setopts",
            vec![conn.clone(), list(vec![tagged("nothing", int(1))])],
        ),
        ("subscribe", vec![conn, int(1)]),
        ("inbox_rest", vec![int(9)]),
        ("no_such_function", vec![]),
    ] {
        assert_eq!(vm.call(1, function, args), raised(), "{function}");
    }
}

#[test]
fn a_number_is_free_again_when_its_server_has_stopped() {
    let mut vm = Vm::start(1);
    let (host, port) = vm.listen(5, &[]);
    assert_eq!(vm.call(1, "listen", vec![config(5, &[])]), raised());
    let info = vm.call(1, "server_info", vec![int(5)]);
    assert_eq!(info.tuple().unwrap()[1].get("connections"), Ok(&int(0)));
    let again = [("port", int(port.into()))];
    let refused = vm.call(1, "listen", vec![config(6, &again)]);
    assert_eq!(refused, error(atom("eaddrinuse")));
    let stopped = vm.call(1, "server_stop", vec![int(5), int(1001), binary("")]);
    assert_eq!(stopped, returned(atom("ok")));
    let unlistened = vm.message(host);
    assert_eq!(unlistened, tagged("sockeye_unlistened", int(5)));
    let stopped = vm.message(host);
    let [what, id, counts] = stopped.tuple().unwrap() else {
        panic!("{stopped:?}");
    };
    assert_eq!((what, id), (&atom("sockeye_stopped"), &int(5)));
    assert_eq!(counts.get("accepted"), Ok(&int(0)));
    vm.listen(5, &[]);
    vm.listen(6, &[]);
}

#[test]
fn json_on_its_own() {
    let mut vm = Vm::start(1);
    let none = || crate::vm::Term::Map(vec![]);
    let decoded = vm.call(1, "json_decode", vec![binary("[1,\"a\"]"), none()]);
    let value = list(vec![int(1), binary("a")]);
    assert_eq!(decoded, returned(tagged("ok", value.clone())));
    let encoded = vm.call(1, "json_encode", vec![value, none()]);
    assert_eq!(encoded, returned(tagged("ok", binary("[1,\"a\"]"))));
    let keys = crate::vm::Term::Map(vec![(atom("keys"), atom("existing_atom"))]);
    let object = crate::vm::Term::Map(vec![(binary("ok"), int(1))]);
    // The VM makes atoms of them.
    let decoded = vm.call(1, "json_decode", vec![binary("{\"ok\":1}"), keys]);
    assert_eq!(decoded, returned(tagged("ok", object)));
    let bad = vm.call(1, "json_decode", vec![binary("[1,"), none()]);
    assert_eq!(bad, error(tuple(vec![atom("eof"), int(3)])));
    let bad = vm.call(1, "json_encode", vec![tagged("a", int(1)), none()]);
    assert_eq!(bad, error(tagged("not_json", tagged("a", int(1)))));
    let long = format!("[{}1]", "1,".repeat(200_000));
    let decoded = vm.call(1, "json_decode", vec![binary(&long), none()]);
    let decoded = decoded.tuple().unwrap()[1].tuple().unwrap()[1].clone();
    assert_eq!(decoded.list().unwrap().len(), 200_001);
}

#[test]
fn engine_facts_do_not_wait_for_a_starting_server() {
    let mut vm = Vm::start(2);
    let mut asked = Vec::new();
    for number in 0..300 {
        asked.push(vm.ask(1, "listen", vec![config(number, &[])]));
        for _ in 0..5 {
            asked.push(vm.ask(0, "engine_info", vec![]));
        }
        if number % 10 == 9 {
            for call in asked.drain(..) {
                assert!(vm.answer(call).tuple().unwrap()[0].is("return"));
            }
        }
    }
}
