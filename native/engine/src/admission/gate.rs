//! The decision about a handshake: the rules of the server, then the answer of the virtual machine.

use std::sync::Arc;

use sockeye_protocol::handshake::{Refusal, Request, ServerPolicy, Upgrade, server};

use crate::admission::ask::ask;
use crate::admission::forwarded;
use crate::model::refused::{Refused, RefusedFor};
use crate::net::peer::PeerInfo;
use crate::net::transport::Transport;
use crate::server::{Permit, Server};
use crate::settings::options::ConnOptions;
use crate::shard::opened::Opened;
use crate::vm::batch::OpenInfo;
use crate::vm::question::{About, Acceptance, Answer, Question};

/// A request that becomes a connection.
pub(crate) struct Admission {
    upgrade: Upgrade,
    acceptance: Acceptance,
    /// Of the server that the connection is of, if that is not the one asked.
    permit: Option<Permit>,
}

impl Admission {
    /// The head of the 101, and what becomes of the request.
    pub(crate) fn accept(
        self,
        peer_info: PeerInfo,
        request: Request,
    ) -> (Vec<u8>, AcceptedUpgrade) {
        let Acceptance {
            headers,
            options,
            accept_state,
            user_data,
            ..
        } = self.acceptance;
        let head = self.upgrade.response(&headers);
        let subprotocol = self.upgrade.subprotocol.map(String::into_boxed_str);
        let info = Box::new(OpenInfo {
            subprotocol,
            deflate: self.upgrade.deflate,
            accept_state,
            user_data,
            ..OpenInfo::new(peer_info, request)
        });
        let accepted = AcceptedUpgrade {
            info,
            options,
            permit: self.permit,
        };
        (head, accepted)
    }
}

/// A connection whose 101 is written or about to be.
pub(crate) struct AcceptedUpgrade {
    info: Box<OpenInfo>,
    options: ConnOptions,
    permit: Option<Permit>,
}

impl AcceptedUpgrade {
    /// The connection, over this transport; `rest` has been read behind the request.
    pub(crate) fn open(self, transport: Transport, rest: Vec<u8>) -> Opened {
        Opened {
            transport,
            info: self.info,
            options: self.options,
            rest,
            permit: self.permit,
        }
    }
}

/// Decides whether a request becomes a connection. `carrier` has brought it; `peer_info`, who sent it, may
/// be another, for whom it is a proxy.
pub(crate) async fn decide(
    server: &Server,
    carrier: &PeerInfo,
    peer_info: &PeerInfo,
    request: &Request,
) -> Result<Admission, Refused> {
    let of_nested = async |nested: &Arc<Server>| {
        let permit = nested.permit().ok_or_else(full)?;
        let mut admission = admit(server, nested, carrier, peer_info, request).await?;
        admission.permit = Some(permit);
        Ok(admission)
    };
    let admission = match server.nested_at(request.path()) {
        Some(nested) => of_nested(nested).await,
        None => admit(server, server, carrier, peer_info, request).await,
    };
    admission.map_err(|refusal: Refused| refusal.to(request.method()))
}

/// As many connections as may be are open.
pub(crate) fn no_room() -> Refusal {
    Refusal::new(503, "Too many connections.\n").with_header("Retry-After", "1")
}

pub(crate) fn full() -> Refused {
    RefusedFor::MaxConnections.with(no_room())
}

/// Another server takes this one's place, or soon will.
pub(crate) fn draining() -> Refused {
    let refusal = Refusal::new(503, "This server is about to stop.\n");
    RefusedFor::Draining.with(refusal.with_header("Retry-After", "1"))
}

/// `front` has the socket. It is another server where one is nested in it.
async fn admit(
    front: &Server,
    server: &Server,
    carrier: &PeerInfo,
    peer_info: &PeerInfo,
    request: &Request,
) -> Result<Admission, Refused> {
    let config = &server.config;
    if server.is_draining() {
        return Err(draining());
    }
    if !config.paths.has(request.path()) {
        let refusal = Refusal::new(404, "There is nothing here.\n");
        return Err(RefusedFor::Path.with(refusal));
    }
    let policy = ServerPolicy {
        subprotocols: &config.subprotocols,
        deflate: config.deflate.as_ref(),
    };
    let mut upgrade = match peer_info.http_version {
        (2, _) => server::connect(request, &policy)?,
        _ => server::upgrade(request, &policy)?,
    };
    if !config
        .origins
        .allow(request, &forwarded::site(front, carrier, request))
    {
        let refusal = Refusal::new(403, "This origin is not allowed.\n");
        return Err(RefusedFor::Origin.with(refusal));
    }
    if !config.asks {
        return Ok(Admission {
            upgrade,
            acceptance: Acceptance::default(),
            permit: None,
        });
    }
    let question = Question {
        about: About::Upgrade,
        request,
        peer_info,
        body: &[],
    };
    let unavailable = |refusal| RefusedFor::Unavailable.with(refusal);
    match ask(server, &question).await.map_err(unavailable)? {
        Answer::Accept(mut acceptance) => {
            if let Some(chosen) = acceptance.subprotocol.take() {
                upgrade.subprotocol = chosen;
            }
            Ok(Admission {
                upgrade,
                acceptance: *acceptance,
                permit: None,
            })
        }
        Answer::Respond(refusal) => Err(RefusedFor::Accept.with(refusal)),
        // Nobody may answer this in pieces.
        Answer::Stream(_) => {
            let refusal = Refusal::new(500, "Something went wrong here.\n");
            Err(RefusedFor::Accept.with(refusal))
        }
    }
}
