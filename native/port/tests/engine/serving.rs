//! Messages of clients, and what is sent to them.

use tungstenite::Message;

use crate::client::{client, closed};
use crate::vm::{
    LONG, Term, Vm, atom, binary, error, int, list, pid, raised, returned, tagged, tuple,
};

#[test]
fn a_message_comes_to_a_handler_and_its_answer_to_the_client() {
    let mut vm = Vm::start(1);
    let (_, port) = vm.listen(7, &[]);
    let id = vm.handler(7);
    let mut client = client(port);
    let (conn, opened) = vm.event(id);
    let info = &opened.tuple().unwrap()[1];
    assert_eq!(info.get("path").unwrap(), &binary("/path"));
    assert_eq!(info.get("query").unwrap(), &binary("q"));
    let server = vm.call(2, "conn_server", vec![conn.clone()]);
    assert_eq!(server, returned(tuple(vec![atom("ok"), int(7)])));

    client.send(Message::text("hello")).unwrap();
    let (from, event) = vm.event(id);
    assert_eq!(from, conn);
    assert_eq!(event, tagged("text", binary("hello")));
    vm.commands(id, 0, 0, vec![conn.clone(), event]);
    assert_eq!(client.read().unwrap(), Message::text("hello"));

    client.close(None).unwrap();
    let (_, event) = vm.event(id);
    let parts = event.tuple().unwrap();
    assert_eq!(parts.len(), 4, "code, reason, peer and path: {event:?}");
    vm.cast(2, "answered", vec![conn.clone()]);
    while client.read().is_ok() {}
    let gone = vm.call(2, "conn_info", vec![conn]);
    assert_eq!(gone, error(atom("closed")));
}

#[test]
fn large_messages_go_both_ways_in_pieces() {
    let mut vm = Vm::start(1);
    let (_, port) = vm.listen(1, &[]);
    let id = vm.handler(1);
    let mut client = client(port);
    let (conn, _) = vm.event(id);
    let large: Vec<u8> = (0..5 << 20).map(|n: u32| (n % 251) as u8).collect();
    client.send(Message::binary(large.clone())).unwrap();
    let (_, event) = vm.event(id);
    assert!(
        event == tagged("binary", binary(&large)),
        "it came as it was"
    );
    let reply = crate::vm::bytes(&list(vec![conn, event]));
    let mut body = id.to_be_bytes().to_vec();
    // No acknowledgement, and one head of nine zeros.
    body.extend_from_slice(&[[0; 6], [9, 0, 0, 0, 0, 0]].concat());
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(&reply);
    let mut pieces = body.chunks(200_000).peekable();
    while let Some(piece) = pieces.next() {
        let (kind, tag): (u8, &[u8]) = match pieces.peek() {
            Some(_) => (8, &[]),
            None => (9, &[2]),
        };
        vm.section(kind, &[&[0, 0, 0, 9], tag, piece].concat());
        vm.ping();
    }
    assert!(client.read().unwrap() == Message::binary(large));
}

#[test]
fn json_comes_as_terms_and_goes_as_text() {
    let mut vm = Vm::start(1);
    let options = [
        ("format", atom("json")),
        ("keys", tagged("atoms", list(vec![atom("known")]))),
    ];
    let (_, port) = vm.listen(1, &options);
    let id = vm.handler(1);
    let mut client = client(port);
    let (conn, _) = vm.event(id);
    let text = r#"{"known":[1,-2.5,null],"new":{},"new":"last"}"#;
    client.send(Message::text(text)).unwrap();
    let (_, event) = vm.event(id);
    let parts = event.tuple().unwrap();
    assert!(parts[0].is("json"));
    let map = &parts[1];
    assert_eq!(
        map.get("known").unwrap(),
        &list(vec![int(1), crate::vm::Term::Float(-2.5), atom("null")])
    );
    let crate::vm::Term::Map(pairs) = map else {
        panic!("{map:?}");
    };
    assert_eq!(pairs.len(), 2, "a key twice is one");
    assert!(pairs.contains(&(binary("new"), binary("last"))));
    vm.commands(id, 0, 0, vec![conn, event]);
    let got = client.read().unwrap().into_text().unwrap();
    assert!(got.contains(r#""known":[1,-2.5,null]"#), "{got}");
}

#[test]
fn a_text_that_is_no_json_ends_the_connection_when_the_handler_says_so() {
    let mut vm = Vm::start(1);
    let (_, port) = vm.listen(1, &[("format", atom("json"))]);
    let id = vm.handler(1);
    let mut client = client(port);
    let (conn, _) = vm.event(id);
    client.send(Message::text("[1,")).unwrap();
    client.send(Message::text("[2]")).unwrap();
    let (_, event) = vm.event(id);
    let parts = event.tuple().unwrap();
    assert_eq!(parts[..2], [atom("invalid"), int(1007)]);
    vm.cast(2, "refuse", vec![conn, int(1007), parts[2].clone()]);
    assert_eq!(closed(&mut client), 1007);
    let (_, event) = vm.event(id);
    assert!(
        event.tuple().unwrap()[0].is("closed"),
        "no frame is between"
    );
}

#[test]
fn commands_that_fail_cost_themselves_and_are_told() {
    let mut vm = Vm::start(1);
    let (_, port) = vm.listen(1, &[("send_queue_size", int(1024))]);
    let id = vm.handler(1);
    let mut client = client(port);
    let (conn, _) = vm.event(id);
    let noted = tuple(vec![atom("note"), int(1), conn.clone()]);
    let nobody = tagged("sockeye_conn", int((1 << 40) + 1));
    let text = |text: &str| tagged("text", binary(text));
    vm.commands(
        id,
        0,
        0,
        vec![
            conn.clone(),
            text("first"),
            noted.clone(),
            tagged("nonsense", int(1)),
            conn.clone(),
            tagged("text", binary([0xff])),
            nobody.clone(),
            text("nobody"),
            conn.clone(),
            tagged("json", tuple(vec![])),
            conn.clone(),
            text("last"),
        ],
    );
    let failed = vm.message(id);
    assert_eq!(
        failed,
        tagged(
            "sockeye_failed",
            list(vec![
                tuple(vec![noted, tagged("nonsense", int(1)), atom("badarg")]),
                tuple(vec![
                    conn.clone(),
                    tagged("text", binary([0xff])),
                    atom("not_utf8")
                ]),
                tuple(vec![nobody, text("nobody"), atom("closed")]),
                tuple(vec![
                    conn.clone(),
                    tagged("json", tuple(vec![])),
                    tagged("not_json", tuple(vec![]))
                ]),
            ])
        )
    );
    assert_eq!(client.read().unwrap(), Message::text("first"));
    assert_eq!(client.read().unwrap(), Message::text("last"));
    let sent = vm.call(5, "send", vec![conn.clone(), text("by hand")]);
    assert_eq!(sent, returned(atom("ok")));
    let sent = vm.call(5, "send", vec![conn.clone(), int(1)]);
    assert_eq!(sent, raised());
    let sent = vm.call(5, "send", vec![conn, tagged("text", binary([0xff]))]);
    assert_eq!(sent, error(atom("not_utf8")));
    assert_eq!(client.read().unwrap(), Message::text("by hand"));
}

#[test]
fn publishes_are_answered_only_when_they_fail() {
    let mut vm = Vm::start(1);
    let (_, port) = vm.listen(1, &[]);
    let id = vm.handler(1);
    let mut client = client(port);
    let (conn, _) = vm.event(id);
    let all = |note: &str, frame: &Term, except: &Term| {
        list(vec![
            atom(note),
            int(1),
            atom("all"),
            frame.clone(),
            except.clone(),
        ])
    };
    let text = |text: &str| tagged("text", binary(text));
    let wrong = tagged("text", binary([0xff]));
    vm.publish(id, &all("first", &text("first"), &atom("none")));
    vm.publish(id, &all("wrong", &wrong, &atom("none")));
    vm.publish(id, &all("others", &text("not for it"), &conn));
    vm.publish(id, &all("no frame", &int(1), &atom("none")));
    vm.publish(id, &all("last", &text("last"), &atom("none")));
    let failed = |note: &str, frame: &Term, why: &str| {
        let one = tuple(vec![atom(note), frame.clone(), atom(why)]);
        tagged("sockeye_failed", list(vec![one]))
    };
    assert_eq!(vm.message(id), failed("wrong", &wrong, "not_utf8"));
    assert_eq!(vm.message(id), failed("no frame", &int(1), "badarg"));
    assert_eq!(client.read().unwrap(), Message::text("first"));
    assert_eq!(client.read().unwrap(), Message::text("last"));
    // A server that there is none of has no connections either.
    let nobody = list(vec![
        atom("nobody"),
        int(7),
        atom("all"),
        text("lost"),
        atom("none"),
    ]);
    vm.publish(id, &nobody);
    let sent = vm.call(5, "send", vec![conn, text("by hand")]);
    assert_eq!(sent, returned(atom("ok")));
    assert_eq!(client.read().unwrap(), Message::text("by hand"));
    vm.publish(id, &list(vec![atom("too short")]));
    assert_eq!(vm.started.ended().0.code(), Some(4));
}

#[test]
fn heads_of_commands_match_their_terms() {
    let mut vm = Vm::start(1);
    let (_, port) = vm.listen(1, &[]);
    let id = vm.handler(1);
    let mut client = client(port);
    let (conn, _) = vm.event(id);
    let Term::Integer(number) = conn.tuple().unwrap()[1] else {
        panic!("{conn:?}");
    };
    let (number, nobody) = (number as u64, (1 << 40) + 1);
    let heads = [
        (number, 2),
        (number, 1),
        (number, 3),
        (0, 0),
        (number, 2),
        (number, 1),
        (nobody, 2),
        (0, 3),
        (number, 2),
    ];
    let terms = vec![
        binary("first"),
        list(vec![int(1), atom("true")]),
        binary([1, 2]),
        conn.clone(),
        tagged("ping", binary("between")),
        binary([0xff]),
        tuple(vec![]),
        binary("nobody"),
        binary("no connection"),
        list(vec![int(108), int(97)]),
    ];
    vm.shaped(id, 0, 0, &heads, terms);
    let conn_of = |number: u64| tagged("sockeye_conn", int(number as i64));
    let text = |bytes: Term| tagged("text", bytes);
    assert_eq!(
        vm.message(id),
        tagged(
            "sockeye_failed",
            list(vec![
                tuple(vec![conn.clone(), text(binary([0xff])), atom("not_utf8")]),
                tuple(vec![
                    conn,
                    tagged("json", tuple(vec![])),
                    tagged("not_json", tuple(vec![]))
                ]),
                tuple(vec![
                    conn_of(nobody),
                    text(binary("nobody")),
                    atom("closed")
                ]),
                tuple(vec![
                    conn_of(0),
                    tagged("binary", binary("no connection")),
                    atom("badarg")
                ]),
            ])
        )
    );
    let came: Vec<_> = (0..5).map(|_| client.read().unwrap()).collect();
    let expected = [
        Message::text("first"),
        Message::text("[1,true]"),
        Message::binary(vec![1, 2]),
        Message::Ping("between".into()),
        Message::text("la"),
    ];
    assert_eq!(came, expected);
    // Nothing but small integers: a list of bytes, to those who write it.
    vm.shaped(
        id,
        0,
        0,
        &[(number, 1), (number, 1)],
        vec![int(1), int(255)],
    );
    assert_eq!(client.read().unwrap(), Message::text("1"));
    assert_eq!(client.read().unwrap(), Message::text("255"));
}

#[test]
fn commands_that_do_not_fit_their_heads_end_it() {
    let one = |heads: &[(u64, u8)], terms: Vec<Term>| {
        let mut vm = Vm::start(1);
        let (_, _) = vm.listen(1, &[]);
        let id = vm.handler(1);
        vm.shaped(id, 0, 0, heads, terms);
        let (status, _) = vm.started.ended();
        assert_eq!(status.code(), Some(4), "{heads:?}");
    };
    one(&[(7, 1)], vec![]);
    one(&[(7, 1)], vec![int(1), int(2)]);
    one(&[(0, 0)], vec![int(1)]);
    one(&[(7, 4)], vec![int(1)]);
}

#[test]
fn a_plain_owner_gets_its_events_and_hands_a_connection_on() {
    let mut vm = Vm::start(2);
    let owner = tuple(vec![atom("owner"), crate::vm::pid(3), atom("false")]);
    let (host, port) = vm.listen(1, &[("mode", owner)]);
    // Before there is a connection: a pid may be written in another way later.
    let id = vm.find(|s| match s {
        crate::vm::Section::Watch(id, term) => {
            let known = tuple(vec![atom("plain"), crate::vm::pid(3), int(host as i64)]);
            (*term == known).then_some(*id)
        }
        _ => None,
    });
    let mut client = client(port);
    let (conn, opened) = vm.event(id);
    assert!(opened.tuple().unwrap()[0].is("open"));
    let given = vm.call(
        3,
        "controlling_process",
        vec![conn.clone(), crate::vm::pid(4)],
    );
    assert_eq!(given, returned(atom("ok")));
    let next = vm.expect_watch("plain", 4);
    client.send(Message::text("yours")).unwrap();
    assert_eq!(vm.event(next).1, tagged("text", binary("yours")));
    client.close(None).unwrap();
    assert_eq!(vm.event(next).1, tagged("ending", int(20_000)));
    vm.cast(4, "answered", vec![conn]);
    let (_, event) = vm.event(next);
    assert_eq!(event.tuple().unwrap().len(), 3, "{event:?}");
}

#[test]
fn one_frame_for_all_is_counted_when_it_has_been_handed_over() {
    let mut vm = Vm::start(2);
    let (_, port) = vm.listen(1, &[]);
    let id = vm.handler(1);
    let mut clients: Vec<_> = (0..3).map(|_| client(port)).collect();
    let mut conns = Vec::new();
    while conns.len() < 3 {
        let (_, events) = vm.batch(id);
        vm.commands(id, 1, 0, Vec::new());
        conns.extend(events.into_iter().map(|(conn, _)| conn));
    }
    let frame = tagged("text", binary("all"));
    let none = atom("none");
    let args = vec![
        int(1),
        atom("all"),
        frame.clone(),
        none.clone(),
        atom("true"),
    ];
    let told = vm.call(9, "publish", args);
    let counts = told.tuple().unwrap()[1].tuple().unwrap()[1].clone();
    assert_eq!(counts.get("sent").unwrap(), &int(3));
    for client in &mut clients {
        assert_eq!(client.read().unwrap(), Message::text("all"));
    }
    let first = conns[0].clone();
    let subscribed = vm.call(9, "subscribe", vec![first.clone(), binary("news")]);
    assert_eq!(subscribed, returned(atom("ok")));
    let of = vm.call(9, "connections", vec![int(1), binary("news")]);
    assert_eq!(of, returned(list(vec![first])));
    let all = vm.call(9, "connections", vec![int(1), atom("all")]);
    assert_eq!(all.tuple().unwrap()[1].list().unwrap().len(), 3);
    let args = vec![int(1), binary("news"), frame, none, atom("false")];
    assert_eq!(vm.call(9, "publish", args), returned(atom("ok")));
    let begin = std::time::Instant::now();
    let mut heard = 0;
    for client in &mut clients {
        client.get_ref().set_nonblocking(true).unwrap();
    }
    while heard == 0 && begin.elapsed() < LONG {
        heard += clients.iter_mut().filter_map(|c| c.read().ok()).count();
    }
    assert_eq!(heard, 1);
}

/// Whoever has the name when a connection begins is its owner.
#[test]
fn a_named_owner_is_asked_for_each_connection() {
    let mut vm = Vm::start(1);
    let mode = tuple(vec![atom("owner"), atom("somebody"), atom("false")]);
    let (_, port) = vm.listen(1, &[("mode", mode)]);
    let mut known = Vec::new();
    for process in [7, 8, 7] {
        let mut client = client(port);
        let conn = wanted_owner(&mut vm);
        vm.cast(0, "owner_is", vec![int(1), conn.clone(), pid(process)]);
        if !known.iter().any(|(of, _)| *of == process) {
            known.push((process, vm.expect_watch("plain", process)));
        }
        let (_, id) = *known.iter().find(|(of, _)| *of == process).unwrap();
        let (of, opened) = vm.event(id);
        assert_eq!(of, conn);
        assert!(opened.tuple().unwrap()[0].is("open"));
        client.send(Message::text("x")).unwrap();
        assert_eq!(vm.event(id), (conn, tagged("text", binary("x"))));
        client.close(None).unwrap();
        vm.batch(id);
        vm.commands(id, 1, 0, Vec::new());
    }
    let mut orphan = client(port);
    let conn = wanted_owner(&mut vm);
    vm.cast(0, "owner_is", vec![int(1), conn, atom("none")]);
    assert_eq!(closed(&mut orphan), 1011);
}

fn wanted_owner(vm: &mut Vm) -> crate::vm::Term {
    let question = vm.message(0);
    let [tag, server, name, conn] = question.tuple().unwrap() else {
        panic!("{question:?}");
    };
    assert!(tag.is("sockeye_whereis") && *server == int(1) && name.is("somebody"));
    conn.clone()
}
