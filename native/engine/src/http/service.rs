//! The response to a request, for every version of HTTP.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use hyper::body::{Body as HttpBody, Bytes};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use sockeye_protocol::handshake::{Refusal, Request, comparable, server};

use super::body::Body;
use super::files::{self, Wanted};
use super::proxy::{self, Client, Passed, Route};
use super::{failed, last, plain, response, types};
use crate::admission::ask::ask;
use crate::admission::forwarded;
use crate::admission::gate::{self, AcceptedUpgrade};
use crate::net::peer::PeerInfo;
use crate::server::{HeldBody, Server, bump};
use crate::settings::routes::{RouteMatch, Target};
use crate::shard::Shard;
use crate::vm::question::{About, Answer, Question};
use crate::vm::stream::StreamAnswer;
use crate::world::time;

const READ_ONLY: &str = "GET, HEAD, OPTIONS";

/// What a connection has answers from.
pub(crate) struct Service {
    pub(super) shard: Rc<Shard>,
    pub(super) server: Arc<Server>,
    pub(super) peer_info: PeerInfo,
    upgraded: RefCell<Option<Upgraded>>,
}

/// What a request has become that was answered with 101.
pub(crate) enum Upgraded {
    /// A connection of this server.
    Accepted(AcceptedUpgrade),
    /// One of a server behind.
    Passed(Passed),
}

impl Service {
    pub(crate) fn new(shard: Rc<Shard>, server: Arc<Server>, peer_info: PeerInfo) -> Self {
        Service {
            shard,
            server,
            peer_info,
            upgraded: RefCell::default(),
        }
    }

    /// The request that was answered with 101, if one was.
    pub(crate) fn upgraded(&self) -> Option<Upgraded> {
        self.upgraded.take()
    }

    /// Answers a request. Once the server drains, an answer is the last of its connection.
    pub(super) async fn respond<B>(
        &self,
        request: Request,
        body: B,
        client: &dyn Client,
    ) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let response = self.decide(request, body, client).await;
        let over =
            self.server.is_draining() && response.status() != StatusCode::SWITCHING_PROTOCOLS;
        if over { last(response) } else { response }
    }

    async fn decide<B>(&self, request: Request, body: B, client: &dyn Client) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        if request.asks_for_websocket() {
            drop(body);
            return match self.server.config.passes(&request) {
                Some(found) => self.pass_upgrade(found, &request, client).await,
                None => self.upgrade(request).await,
            };
        }
        bump(&self.server.counters.requests, 1);
        if request.method() == "OPTIONS" && request.path() == "*" {
            return allowed(READ_ONLY);
        }
        let config = &self.server.config;
        let path = comparable(request.path());
        let Some(found) = config.routes.find(&path) else {
            // Where there are connections and nothing else, this is how to get one.
            let refusal = match config.paths.lists(request.path()) {
                true => server::upgrade(&request, &Default::default()).err(),
                false => None,
            };
            let nothing = || Refusal::new(404, "There is nothing here.\n");
            return response(refusal.unwrap_or_else(nothing));
        };
        match found.target {
            Target::Ask => return self.ask(found.index, &request, body).await,
            Target::Proxy(upstream) => {
                let index = found.index;
                let route = Route { upstream, index };
                return proxy::pass(self, route, &request, body, client).await;
            }
            _ => {}
        }
        match request.method() {
            "GET" | "HEAD" => self.read(&found, &request).await,
            "OPTIONS" => allowed(READ_ONLY),
            _ => {
                let text = "This can only be read.\n";
                response(Refusal::new(405, text).with_header("Allow", READ_ONLY))
            }
        }
    }

    /// What can be read. Whoever writes the answer leaves out the body for HEAD.
    async fn read(&self, found: &RouteMatch<'_>, request: &Request) -> Response<Body> {
        let (wanted, rules) = match found.target {
            Target::File(path, rules) => (Wanted::File(path.clone()), rules),
            Target::Dir(dir, rules) => {
                let below = found.below.map(str::to_owned);
                (Wanted::Below(dir.clone(), below), rules)
            }
            Target::Text(_) => {
                let mut response = Response::new(Body::Bytes(found.text.clone()));
                let content = types::of(request.path()).unwrap_or("text/plain; charset=utf-8");
                let content = HeaderValue::from_static(content);
                response.headers_mut().insert(header::CONTENT_TYPE, content);
                return response;
            }
            Target::Health if self.server.is_draining() => {
                return plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
            }
            Target::Health => return plain(StatusCode::OK, "ok\n"),
            // Others answer those.
            Target::Ask | Target::Proxy(_) => return failed(),
        };
        let location = match request.query() {
            "" => request.path().to_owned(),
            query => format!("{}?{query}", request.path()),
        };
        files::answer(wanted, rules, &conditions(request), &location).await
    }

    async fn ask<B>(&self, index: usize, request: &Request, body: B) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        let config = &self.server.config;
        // Until somebody has answered: then it is no more than what the function keeps.
        let mut held = self.server.hold_body();
        let read = read_body(body, config.max_body_size, &mut held);
        let body = match time::timeout(config.handshake_timeout, read).await {
            Ok(Ok(body)) => body,
            Ok(Err(refusal)) => return last(response(refusal)),
            Err(_) => return last(response(Refusal::new(408, "The body took too long.\n"))),
        };
        let question = Question {
            about: About::Route(index),
            request,
            peer_info: &forwarded::sender(&self.server, &self.peer_info, request),
            body: &body,
        };
        match ask(&self.server, &question).await {
            Ok(Answer::Respond(answer)) | Err(answer) => response(answer),
            Ok(Answer::Stream(answer)) => {
                let StreamAnswer { head, body } = *answer;
                response(head).map(|_| Body::Stream(body))
            }
            Ok(Answer::Accept(_)) => failed(),
        }
    }

    /// A WebSocket of a server behind.
    async fn pass_upgrade(
        &self,
        route: Route<'_>,
        request: &Request,
        client: &dyn Client,
    ) -> Response<Body> {
        if self.server.is_draining() {
            return last(response(gate::draining().answer));
        }
        let (answer, passed) = proxy::switch(self, route, request, None, client).await;
        *self.upgraded.borrow_mut() = passed.map(Upgraded::Passed);
        answer
    }

    async fn upgrade(&self, request: Request) -> Response<Body> {
        let peer_info = forwarded::sender(&self.server, &self.peer_info, &request);
        let peer_info = peer_info.into_owned();
        // A proxy brings many clients over one connection, which counts for none of them.
        if forwarded::is_trusted(&self.server, &self.peer_info)
            && let Err(refused) = self.server.has_room_for(peer_info.peer.ip())
        {
            self.server.note_refused(refused.reason);
            return response(refused.answer);
        }
        let admission =
            match gate::decide(&self.server, &self.peer_info, &peer_info, &request).await {
                Ok(admission) => admission,
                Err(refused) => {
                    self.server.note_refused(refused.reason);
                    return last(response(refused.answer));
                }
            };
        let (head, accepted) = admission.accept(peer_info, request);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        for (name, value) in fields(&head) {
            let name = HeaderName::from_bytes(name);
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                // More than the map holds are more than anybody may give.
                let _ = response.headers_mut().try_append(name, value);
            }
        }
        *self.upgraded.borrow_mut() = Some(Upgraded::Accepted(accepted));
        response
    }
}

/// The headers of a head that we have written ourselves.
pub(super) fn fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.split(|&byte| byte == b'\n')
        .skip(1)
        .filter_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (name, value) = line.split_at_checked(colon)?;
            Some((name, value.get(1..)?.trim_ascii()))
        })
}

fn allowed(methods: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::NO_CONTENT, "");
    let methods = HeaderValue::from_static(methods);
    response.headers_mut().insert(header::ALLOW, methods);
    response
}

/// What files look at: fields that say which form or part of them is wanted, and when.
fn conditions(request: &Request) -> HeaderMap {
    let fields = request.headers().iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        // Parts are only for GET (RFC 9110, 14.2).
        let of_parts = name == header::RANGE && request.method() == "GET";
        let of_files =
            of_parts || name == header::ACCEPT_ENCODING || name.as_str().starts_with("if-");
        of_files.then_some((name, HeaderValue::from_bytes(value).ok()?))
    });
    let mut conditions = HeaderMap::new();
    for (name, value) in fields {
        let _ = conditions.try_append(name, value);
    }
    conditions
}

async fn read_body<B>(mut body: B, most: usize, held: &mut HeldBody) -> Result<Vec<u8>, Refusal>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let too_large = || Refusal::new(413, "The body is too large.\n");
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let mut read = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let broken = |_| Refusal::new(400, "The body is malformed.\n");
        // Trailers are of no interest.
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        if read.len() + data.len() > most {
            return Err(too_large());
        }
        if !held.grow(data.len()) {
            let full = Refusal::new(503, "There is no room for the body now.\n");
            return Err(full.with_header("Retry-After", "1"));
        }
        read.extend_from_slice(&data);
    }
    Ok(read)
}
