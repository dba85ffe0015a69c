//! Offers and answers.

use sockeye_protocol::Role;
use sockeye_protocol::deflate::{Params, Policy, accept, offer, verify};
use sockeye_protocol::handshake::{
    Breach, ClientOptions, HandshakeError, HeadLimits, Request, ServerPolicy, client, server,
};
use sockeye_protocol::{Limits, Session};

use crate::support::*;

const FRESH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

fn keeping() -> Policy {
    policy(true, true, (15, 15))
}

fn answer(offers: &[&str], policy: &Policy) -> Option<String> {
    accept(offers.iter().map(|o| o.as_bytes()), policy).map(|(_, answer)| answer)
}

#[test]
fn by_default_nobody_keeps_a_window() {
    let (params, answer) = accept([&b"permessage-deflate"[..]], &Policy::default()).unwrap();
    assert_eq!(answer, FRESH);
    assert!(!params.server_takeover && !params.client_takeover);
    assert_eq!(
        (params.server_max_window_bits, params.client_max_window_bits),
        (15, 15)
    );
}

#[test]
fn windows_are_kept_where_both_want_it() {
    let keeping = keeping();
    let with = |offered: &str| answer(&[offered], &keeping).unwrap();
    assert_eq!(with("permessage-deflate"), "permessage-deflate");
    assert_eq!(
        with("permessage-deflate; server_no_context_takeover"),
        "permessage-deflate; server_no_context_takeover"
    );
    assert_eq!(
        with("permessage-deflate; client_no_context_takeover"),
        "permessage-deflate; client_no_context_takeover"
    );
}

#[test]
fn the_smaller_window_is_taken() {
    let policy = policy(true, true, (12, 11));
    for (offered, want) in [
        (
            "",
            "; client_no_context_takeover; server_max_window_bits=12",
        ),
        (
            "; client_max_window_bits",
            "; server_max_window_bits=12; client_max_window_bits=11",
        ),
        (
            "; client_max_window_bits=8; server_max_window_bits=9",
            "; server_max_window_bits=9; client_max_window_bits=8",
        ),
        (
            "; client_max_window_bits=15; server_max_window_bits=15",
            "; server_max_window_bits=12; client_max_window_bits=11",
        ),
    ] {
        let got = answer(&[&format!("permessage-deflate{offered}")], &policy);
        assert_eq!(
            got.unwrap(),
            format!("permessage-deflate{want}"),
            "{offered}"
        );
    }
    // What was offered is answered, even if it changes nothing.
    let got = answer(
        &["permessage-deflate; server_max_window_bits=15"],
        &keeping(),
    );
    assert_eq!(
        got.unwrap(),
        "permessage-deflate; server_max_window_bits=15"
    );
}

#[test]
fn the_first_good_offer_is_taken() {
    let keeping = keeping();
    for offers in [
        &["x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=10"][..],
        &[
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=10",
        ],
        &[
            "permessage-deflate; what=1",
            "permessage-deflate; server_max_window_bits=10",
        ],
        &[
            "foo; bar=\"a, permessage-deflate\", PerMessage-Deflate ;Server_Max_Window_Bits = \"10\" ",
        ],
        &[
            "foo; bar=\"\\\", permessage-deflate\", permessage-deflate; server_max_window_bits=\"1\\0\"",
        ],
        &[
            "foo; bar=\"a, permessage-deflate; server_max_window_bits=9, b\", permessage-deflate; server_max_window_bits=10",
        ],
        &["permessage-deflate; server_max_window_bits=10, permessage-deflate"],
        &[",, ,permessage-deflate;server_max_window_bits=10"],
    ] {
        assert_eq!(
            answer(offers, &keeping).as_deref(),
            Some("permessage-deflate; server_max_window_bits=10"),
            "{offers:?}"
        );
    }
}

#[test]
fn an_offer_that_is_not_well_formed_is_passed_over() {
    let mut bad = vec![
        String::new(),
        "permessage-bzip2".into(),
        "permessage-deflat".into(),
        "permessage-deflate-frame".into(),
        "permessage-deflate=1".into(),
        "permessage-deflate;".into(),
        "permessage-deflate; ; server_no_context_takeover".into(),
        "permessage-deflate; unknown".into(),
        "permessage-deflate; server_max_window_bits".into(),
        "permessage-deflate; server_max_window_bits=8".into(),
        "\"permessage-deflate\"".into(),
    ];
    for name in ["server_no_context_takeover", "client_no_context_takeover"] {
        bad.push(format!("permessage-deflate; {name}; {name}"));
        bad.push(format!("permessage-deflate; {name}=1"));
        bad.push(format!("permessage-deflate; {name}="));
    }
    for name in ["server_max_window_bits", "client_max_window_bits"] {
        bad.push(format!("permessage-deflate; {name}=10; {name}=10"));
        for value in [
            "",
            "7",
            "16",
            "08",
            "010",
            "+9",
            "9.0",
            "a",
            "99999999999999999999",
            "\"",
            "\"\"",
            "\"9",
            "9\"",
            "\" 9\"",
            "9 9",
            "1\\0",
            "\"9\\\"",
        ] {
            bad.push(format!("permessage-deflate; {name}={value}"));
        }
    }
    for offer in bad {
        assert_eq!(answer(&[&offer], &keeping()), None, "{offer}");
    }
}

#[test]
fn an_answer_must_fit_the_offer() {
    let wants = policy(true, true, (12, 11));
    let fresh = Policy::default();
    let check = |answer: &str, policy: &Policy| verify([answer.as_bytes()], policy);
    assert_eq!(check("", &wants), Ok(None));
    assert_eq!(verify([], &wants), Ok(None));
    let good = check(
        "permessage-deflate; server_max_window_bits=10; client_max_window_bits=8",
        &wants,
    );
    let good = good.unwrap().unwrap();
    assert_eq!(
        (good.server_max_window_bits, good.client_max_window_bits),
        (10, 8)
    );
    assert!(good.server_takeover && good.client_takeover);
    let params: Params = check(FRESH, &fresh).unwrap().unwrap();
    assert!(!params.server_takeover && !params.client_takeover);
    // Each side keeps its window where both want it.
    for (wanted, answer, kept) in [
        ((true, true), FRESH, (false, false)),
        (
            (true, true),
            "permessage-deflate; server_no_context_takeover",
            (false, true),
        ),
        ((true, false), "permessage-deflate", (true, false)),
    ] {
        let policy = policy(wanted.0, wanted.1, (15, 15));
        let params = check(answer, &policy).unwrap().unwrap();
        assert_eq!(
            (params.server_takeover, params.client_takeover),
            kept,
            "{answer}"
        );
    }
    for (answer, policy) in [
        ("permessage-bzip2", &wants),
        ("permessage-deflate, permessage-deflate", &fresh),
        ("permessage-deflate; server_no_context_takeover, x", &fresh),
        (
            "permessage-deflate; what; server_no_context_takeover",
            &fresh,
        ),
        (
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            &fresh,
        ),
        // Not what was asked for.
        ("permessage-deflate", &fresh),
        ("permessage-deflate", &wants),
        ("permessage-deflate; server_max_window_bits=13", &wants),
        (
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
            &wants,
        ),
        (
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits",
            &wants,
        ),
        ("permessage-deflate; server_max_window_bits=7", &wants),
    ] {
        assert!(check(answer, policy).is_err(), "{answer}");
    }
}

/// A window is named where it is smaller than the largest; that one is known for the client always says that a server may
/// choose.
#[test]
fn offers_of_a_client() {
    for (takeover, bits, want) in [
        (
            (true, true),
            (15, 15),
            "permessage-deflate; client_max_window_bits",
        ),
        (
            (false, true),
            (15, 14),
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=14",
        ),
        (
            (true, false),
            (14, 15),
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=14; client_max_window_bits",
        ),
    ] {
        assert_eq!(offer(&policy(takeover.0, takeover.1, bits)), want);
    }
}

#[test]
fn a_server_accepts_the_offer_of_a_client() {
    for server_takeover in [false, true] {
        for client_takeover in [false, true] {
            for bits in [(9, 9), (9, 15), (15, 9), (15, 15)] {
                let policy = policy(server_takeover, client_takeover, bits);
                let (params, answer) = accept([offer(&policy).as_bytes()], &policy).unwrap();
                assert_eq!(verify([answer.as_bytes()], &policy), Ok(Some(params)));
                assert_eq!(params.server_takeover, server_takeover);
                assert_eq!(params.client_takeover, client_takeover);
                assert_eq!(
                    (params.server_max_window_bits, params.client_max_window_bits),
                    bits
                );
            }
        }
    }
}

#[test]
fn the_handshake_carries_it() {
    let wants = Policy::default();
    let options = ClientOptions {
        host: "example.com",
        path: "/",
        subprotocols: &[],
        deflate: Some(&wants),
        headers: &[],
    };
    let key = client::generate_key();
    let head = client::request(&options, &key).unwrap();
    let (request, _) = Request::parse(&head, &HeadLimits::default())
        .unwrap()
        .unwrap();
    let limits = HeadLimits::default();
    let plain = server::upgrade(&request, &ServerPolicy::default()).unwrap();
    assert_eq!((plain.deflate, plain.extensions.as_deref()), (None, None));
    let verdict = client::verify_with(&plain.response(&[]), &key, &[], Some(&wants), &limits);
    assert_eq!(verdict.unwrap().unwrap().0.deflate, None);
    let policy = ServerPolicy {
        deflate: Some(&wants),
        ..ServerPolicy::default()
    };
    let upgrade = server::upgrade(&request, &policy).unwrap();
    assert_eq!(upgrade.extensions.as_deref(), Some(FRESH));
    let response = upgrade.response(&[]);
    let verdict = client::verify_with(&response, &key, &[], Some(&wants), &limits);
    assert_eq!(verdict.unwrap().unwrap().0.deflate, upgrade.deflate);
    assert!(upgrade.deflate.is_some());
    assert_eq!(
        client::verify(&response, &key, &[], &limits),
        Err(HandshakeError::Invalid(Breach::Extension(
            "an extension that was not offered"
        )))
    );
}

#[test]
fn a_session_without_it_refuses_compressed_frames() {
    let mut session = Session::new(Role::Client);
    let mut seen = Recorder::default();
    let progress = session.receive(
        &mut raw(0xc1, b"\0"),
        &Limits::default(),
        &mut Vec::new(),
        &mut seen,
    );
    assert_eq!(code(progress), Some(1002));
}
