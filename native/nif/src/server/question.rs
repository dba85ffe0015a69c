//! Questions to the server's gate process.

use rustler::sys::ErlNifTerm;
use sockeye_engine::{About, Question};
use sockeye_protocol::handshake::Request;

use crate::atoms;
use crate::server::events;
use crate::server::vm_server::VmServer;
use crate::terms::{Builder, map};
use crate::vm::process;

/// Asks the gate process of a server. False if there is none.
pub(crate) fn ask(host: &VmServer, token: u64, question: &Question<'_>) -> bool {
    let Some(gate) = host.gate() else {
        return false;
    };
    process::send(&gate, |b| {
        let about = match question.about {
            About::Upgrade => b.atom(atoms::accept()),
            About::Route(index) => b.integer(index as u64),
        };
        let request = request(b, question);
        b.tuple([
            b.atom(atoms::sockeye_ask()),
            b.integer(token),
            about,
            request,
        ])
    })
}

fn request(b: Builder, question: &Question<'_>) -> ErlNifTerm {
    let mut pairs = events::peer_info(b, question.peer_info).to_vec();
    pairs.extend(request_pairs(b, question.request));
    if question.about != About::Upgrade {
        pairs.push((b.atom(atoms::body()), b.binary(question.body)));
    }
    map(b, &pairs)
}

/// What a request says of itself, as pairs of a map.
pub(crate) fn request_pairs(b: Builder, request: &Request) -> [(ErlNifTerm, ErlNifTerm); 5] {
    let offers = request.headers().list("sec-websocket-protocol");
    let offers: Vec<_> = offers.map(|offer| b.binary(offer)).collect();
    [
        (
            b.atom(atoms::method()),
            b.binary(request.method().as_bytes()),
        ),
        (b.atom(atoms::path()), b.binary(request.path().as_bytes())),
        (b.atom(atoms::query()), b.binary(request.query().as_bytes())),
        (
            b.atom(atoms::headers()),
            events::headers(b, request.headers()),
        ),
        (b.atom(atoms::subprotocols()), b.list(&offers)),
    ]
}
