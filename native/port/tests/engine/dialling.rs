//! Clients.

use std::net::TcpListener;

use sockeye_seam::value::Value;

use crate::options::config;
use crate::vm::{Term, Vm, atom, binary, int, list, raised, returned, tagged, tuple};

fn options(number: i64, url: &str) -> Term {
    let Value::Map(mut pairs) = config(number, &[]) else {
        unreachable!();
    };
    let undefined = || atom("undefined");
    let tls = [
        ("verify", atom("peer")),
        ("cacertfile", undefined()),
        ("pin", list(vec![])),
        ("identity", undefined()),
        ("versions", list(vec![atom("tlsv1.3")])),
        ("sni", undefined()),
    ];
    let map = |pairs: Vec<(&str, Term)>| {
        Value::Map(pairs.into_iter().map(|(k, v)| (atom(k), v)).collect())
    };
    let dial = vec![
        ("url", binary(url)),
        ("connect_timeout", int(20_000)),
        ("headers", list(vec![])),
        ("host", undefined()),
        ("redirects", int(0)),
        ("proxy", undefined()),
        ("tls", map(tls.to_vec())),
    ];
    pairs.push((atom("dial"), map(dial)));
    Value::Map(pairs)
}

#[test]
fn a_client_connects_and_speaks_and_hears_how_it_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/a", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut server = tungstenite::accept(stream).unwrap();
        let got = server.read().unwrap();
        server.send(got).unwrap();
        server.close(None).unwrap();
        while server.read().is_ok() {}
    });
    let mut vm = Vm::start(1);
    let opened = vm.call(1, "client_open", vec![options(4, &url)]);
    assert_eq!(opened, returned(tagged("ok", int(4))));
    let host = vm.expect_watch("host", 1);
    let id = vm.handler(4);
    assert_eq!(
        vm.call(1, "client_dial", vec![int(4)]),
        returned(atom("ok"))
    );
    let dialled = vm.message(host);
    let parts = dialled.tuple().unwrap();
    assert_eq!(parts[..2], [atom("sockeye_dialled"), int(4)]);
    let conn = parts[2].tuple().unwrap()[1].clone();
    assert_eq!(vm.event(id).0, conn);
    let known = vm.call(1, "client_conn", vec![int(4)]);
    assert_eq!(known, returned(conn.clone()));
    let text = tagged("text", binary("masked"));
    vm.commands(id, 0, 0, vec![conn.clone(), text.clone()]);
    assert_eq!(vm.event(id), (conn.clone(), text));
    let (_, closed) = vm.event(id);
    assert!(closed.tuple().unwrap()[0].is("closed"));
    vm.cast(2, "answered", vec![conn.clone()]);
    let ended = vm.message(host);
    let parts = ended.tuple().unwrap();
    let about = [atom("sockeye_disconnected"), int(4), conn];
    assert_eq!(parts[..3], about, "{ended:?}");
    server.join().unwrap();
}

#[test]
fn why_a_client_does_not_connect() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut vm = Vm::start(1);
    vm.call(
        1,
        "client_open",
        vec![options(4, &format!("ws://{address}/"))],
    );
    let host = vm.expect_watch("host", 1);
    vm.call(1, "client_dial", vec![int(4)]);
    let refused = tagged("error", atom("econnrefused"));
    let told = tuple(vec![atom("sockeye_dialled"), int(4), refused]);
    assert_eq!(vm.message(host), told);
    let none = vm.call(1, "client_conn", vec![int(4)]);
    assert_eq!(none, returned(atom("none")));
    for url in ["http://a/", ""] {
        let told = vm.call(1, "client_url", vec![binary(url)]);
        assert!(told.tuple().unwrap()[1].tuple().unwrap()[0].is("error"));
        let opened = vm.call(1, "client_open", vec![options(5, url)]);
        assert_eq!(opened, raised(), "{url}");
    }
}
