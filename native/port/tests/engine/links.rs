//! Who may speak, and what is not understood.

use std::io::Read;

use crate::vm::{
    SECRET, Started, VERSION, Vm, atom, binary, hello, int, packet, pid, read_packet, tagged, term,
    tuple,
};

#[test]
fn without_a_secret_it_does_not_start() {
    for line in [
        "",
        "\n",
        "short\n",
        &SECRET[1..],
        &format!("{}g\n", &SECRET[1..]),
    ] {
        let mut started = Started::with_first_line(line);
        drop(started.stdin.take());
        assert_eq!(started.ended().0.code(), Some(2), "{line:?}");
        assert!(started.said().contains("secret"), "{line:?}");
    }
}

#[test]
fn a_wrong_secret_ends_that_link_only() {
    let started = Started::ready();
    let wrong = SECRET.replace('0', "1");
    for first in [
        hello(1, VERSION, &wrong),
        hello(1, VERSION, &SECRET[1..]),
        vec![131],
        b"GET / HTTP/1.1".to_vec(),
        vec![0; 1024],
    ] {
        let mut stream = started.connect();
        packet(&mut stream, &first);
        let answer = term(&read_packet(&mut stream).unwrap());
        assert_eq!(answer, tagged("sockeye_refused", atom("secret")));
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    let mut stream = started.connect();
    packet(&mut stream, &vec![0; 1025]);
    assert!(read_packet(&mut stream).is_some(), "too long");
    let mut stream = started.connect();
    packet(&mut stream, &hello(1, VERSION, SECRET));
    let answer = term(&read_packet(&mut stream).unwrap());
    assert!(answer.tuple().unwrap()[0].is("sockeye_hello"));
    assert!(
        !started.folder.join("link").exists(),
        "nobody else may come"
    );
}

#[test]
fn another_version_is_told_which_it_is() {
    for (hello, why) in [
        (hello(2, VERSION, SECRET), tagged("protocol", int(1))),
        (
            hello(1, "0.0.9", SECRET),
            tagged("version", binary(VERSION)),
        ),
    ] {
        let mut started = Started::ready();
        let mut stream = started.connect();
        packet(&mut stream, &hello);
        let answer = term(&read_packet(&mut stream).unwrap());
        assert_eq!(answer, tagged("sockeye_refused", why));
        assert_eq!(started.ended().0.code(), Some(4));
    }
}

#[test]
fn a_place_that_cannot_be_had_is_named() {
    let mut first = Started::ready();
    let path = first.folder.join("link");
    let mut second = std::process::Command::new(env!("CARGO_BIN_EXE_sockeye-engine"))
        .arg(&path)
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = second.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, format!("{SECRET}\n").as_bytes()).unwrap();
    let out = second.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(3));
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    drop(first.stdin.take());
    first.ended();
    assert!(!path.exists(), "who ends takes it away");
}

#[test]
fn a_protocol_error_is_logged_and_ends_the_link() {
    let call = |parts: Vec<crate::vm::Term>| {
        let mut body = vec![0, 0];
        body.extend_from_slice(&crate::vm::bytes(&tuple(parts)));
        body
    };
    let no_list = tuple(vec![pid(0), atom("engine_info"), int(1)]);
    let cases: Vec<(u8, Vec<u8>)> = vec![
        (77, vec![]),
        (1, vec![]),
        (1, vec![0, 9, 1]),
        (1, vec![0, 0, 131, 80, 0, 0, 0, 1]),
        (1, vec![0, 0, 131, 104, 3, 106]),
        (1, [&[0, 0][..], &crate::vm::bytes(&no_list)].concat()),
        (1, call(vec![int(1), atom("engine_info"), int(2)])),
        (1, call(vec![])),
        (2, vec![0; 10]),
        (2, [&[0; 15][..], &[131, 97]].concat()),
        (2, [&[0; 15][..], &[131, 107, 0, 1, 1]].concat()),
        (2, [&[0; 15][..], &[131, 106, 106]].concat()),
        (3, vec![1]),
        (5, vec![131, 106]),
        (6, vec![]),
        (8, vec![1]),
    ];
    for (kind, body) in cases {
        let mut vm = Vm::start(1);
        vm.section(kind, &body);
        let (status, _) = vm.started.ended();
        assert_eq!(status.code(), Some(4), "{kind} {body:?}");
        assert!(vm.started.said().contains("protocol"), "{kind} {body:?}");
    }
    for bytes in [
        vec![0, 0, 0, 0],
        vec![0x00, 0x10, 0x00, 0x01],
        vec![0x7f, 0xff, 0xff, 0xff],
        vec![0, 0, 0, 1, 1],
    ] {
        let mut vm = Vm::start(1);
        std::io::Write::write_all(&mut vm.stream, &bytes).unwrap();
        assert_eq!(vm.started.ended().0.code(), Some(4), "{bytes:?}");
    }
}
