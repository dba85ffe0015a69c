//! Ordinary requests that are passed to an upstream web server, over HTTP/1.1.
//!
//! Heads have been read by our own rules, and what is passed on is written anew from what was understood, so nothing gets there that
//! two readers could understand differently. Contents stream both ways: what the one side does not take is not read from the other.

mod download;
mod early;
mod failure;
mod fields;
mod websocket;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as HttpBody, Bytes, Incoming};
use hyper::client::conn::TrySendError;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode, Uri};
use sockeye_protocol::handshake::{Refusal, Request};

use super::body::Body;
use super::is_bodiless;
use super::service::Service;
use crate::net::resolve;
use crate::net::upstream::{Link, PoolKey, Progress, Upload, UploadFault};
use crate::server::bump;
use crate::settings::upstream::Upstream;
use crate::world::time;

pub(crate) use crate::settings::routes::ProxyRoute as Route;
pub(crate) use download::Download;
use download::Exchange;
use early::EarlyAnswers;
use failure::{Failure, bad_gateway, gateway_timeout};
pub(crate) use websocket::Passed;
pub(super) use websocket::{accept_key, switch};

/// Who waits for an answer.
pub(super) trait Client {
    /// Nobody waits any more.
    fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Whether it may get answers before the answer.
    fn takes_early_answers(&self) -> bool;

    /// Writes one, and takes off what is written.
    fn poll_write(&self, cx: &mut Context<'_>, bytes: &mut &[u8]) -> Poll<io::Result<()>>;
}

/// How long a connection from the pool may take to be ready for a request.
const READY: Duration = Duration::from_secs(1);

/// What the server behind has said.
struct Heard {
    answer: Response<Incoming>,
    exchange: Exchange,
}

/// Passes a request on, and its answer back.
pub(super) async fn pass<B>(
    service: &Service,
    route: Route<'_>,
    request: &Request,
    body: B,
    client: &dyn Client,
) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Unpin + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let upstream = route.upstream;
    let (upload, progress) = Upload::new(body, upstream.max_body_size);
    let fields = fields::of_request(&service.server, &service.peer_info, request);
    match ask(service, route, request, fields, upload, progress, client).await {
        Ok(heard) if heard.answer.status() != StatusCode::SWITCHING_PROTOCOLS => {
            answer(service, request, heard)
        }
        Ok(_) => bad_gateway("changed the protocol without being asked").answer(service, upstream),
        Err(failure) => failure.answer(service, upstream),
    }
}

/// The answer, without what speaks of the connection behind.
fn answer(service: &Service, request: &Request, heard: Heard) -> Response<Body> {
    let is_to_head = request.method() == "HEAD";
    let (mut head, content) = heard.answer.into_parts();
    let tells_length = is_to_head || is_bodiless(head.status);
    fields::of_answer(&mut head.headers, tells_length);
    let server = service.server.clone();
    let download = Download::new(content, heard.exchange, server, is_to_head);
    let mut answer = Response::new(Body::Passed(Box::new(download)));
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    answer
}

/// Asks the server behind, once more if a connection from the pool has ended before it had heard of the request, or may have, and
/// the request means the same when it comes twice.
async fn ask(
    service: &Service,
    route: Route<'_>,
    request: &Request,
    fields: HeaderMap,
    upload: Upload,
    progress: Rc<Progress>,
    client: &dyn Client,
) -> Result<Heard, Failure> {
    bump(&service.server.counters.proxied, 1);
    let upstream = route.upstream;
    let malformed = |_| Refusal::new(400, "The request target is malformed.\n");
    let path = request.path_and_query();
    if !fields::is_plain(request.raw_path()) {
        return Err(malformed(()).into());
    }
    let uri = Uri::try_from(&*path).map_err(|_| malformed(()))?;
    let method = match request.method() {
        // HTTP/2 asks for a WebSocket in this way.
        "CONNECT" => Method::GET,
        method => Method::from_bytes(method.as_bytes()).map_err(|_| malformed(()))?,
    };
    if upload.size_hint().lower() > upstream.max_body_size {
        return Err(too_large().into());
    }
    let Some(passing) = upstream.enter() else {
        let refusal = Refusal::new(
            503,
            "Too many requests wait for the server behind this one.\n",
        );
        return Err(refusal.with_header("Retry-After", "1").into());
    };
    let is_repeatable = method.is_idempotent() && upload.is_end_stream();
    let early = EarlyAnswers::default();
    let compose = |upload| {
        let mut outgoing = hyper::Request::new(upload);
        *outgoing.method_mut() = method.clone();
        *outgoing.uri_mut() = uri.clone();
        *outgoing.headers_mut() = fields.clone();
        frame(&mut outgoing, request, upstream);
        if client.takes_early_answers() {
            early.listen(&mut outgoing);
        }
        outgoing
    };
    let mut outgoing = compose(upload);
    let key = (service.server.serial(), route.index);
    let is_upgrade = fields.contains_key(header::UPGRADE);
    let mut link = match is_upgrade {
        true => None,
        false => from_pool(service, key).await,
    };
    loop {
        let mut here = match link.take() {
            Some(link) => link,
            None => open(service, upstream, key).await?,
        };
        let sending = here.sender.try_send_request(outgoing);
        match hear(sending, &progress, upstream, &early, client).await? {
            Ok(answer) => {
                failure::answered(&service.server, upstream);
                let exchange = Exchange {
                    link: here,
                    pool: service.shard.upstreams.clone(),
                    key,
                    progress,
                    upstream: upstream.clone(),
                    passing,
                };
                return Ok(Heard { answer, exchange });
            }
            Err(mut failed) => match failed.take_message() {
                Some(unsent) if here.is_used => outgoing = unsent,
                None if here.is_used && is_repeatable && is_end(failed.error()) => {
                    let nothing = Body::empty();
                    outgoing = compose(Upload::new(nothing, 0).0);
                }
                _ => return Err(why(&progress, failed.error())),
            },
        }
    }
}

/// Says where the content of a request ends.
fn frame(outgoing: &mut hyper::Request<Upload>, request: &Request, upstream: &Upstream) {
    let length = match outgoing.body().is_end_stream() {
        true => request.header("content-length").map(|_| 0),
        false => outgoing.body().size_hint().exact(),
    };
    let fields = outgoing.headers_mut();
    if let Some(length) = length {
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if !fields.contains_key(header::HOST)
        && let Ok(host) = HeaderValue::from_str(&upstream.authority())
    {
        fields.insert(header::HOST, host);
    }
}

fn too_large() -> Refusal {
    Refusal::new(413, "The body is too large.\n")
}

/// The connection ended before an answer began.
fn is_end(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error);
    let is_io = source.is_some_and(|source| source.is::<io::Error>());
    error.is_incomplete_message() || error.is_canceled() || error.is_closed() || is_io
}

fn why(progress: &Progress, error: &hyper::Error) -> Failure {
    match progress.fault() {
        Some(UploadFault::TooLarge) => too_large().into(),
        Some(UploadFault::Broken) => Refusal::new(400, "The body is malformed.\n").into(),
        None if is_end(error) => bad_gateway("closed the connection without an answer"),
        None => bad_gateway("sent an answer that is not HTTP/1.1, or too large a head"),
    }
}

async fn from_pool(service: &Service, key: PoolKey) -> Option<Link> {
    loop {
        let mut link = service.shard.upstreams.take(key)?;
        // It may have to write the end of a request that was answered before, and nobody may read that.
        let ready = time::timeout(READY, link.sender.ready()).await;
        if matches!(ready, Ok(Ok(()))) {
            return Some(link);
        }
    }
}

async fn open(service: &Service, upstream: &Upstream, key: PoolKey) -> Result<Link, Failure> {
    let opening = async {
        let transport = resolve::reach(&service.shard.lookups, &upstream.destination).await;
        let transport = transport.map_err(|error| failure::unreachable(&error))?;
        Link::open(transport)
            .await
            .map_err(|_| bad_gateway("cannot be reached"))
    };
    let opened = time::timeout(upstream.connect_timeout, opening).await;
    let (link, driver) = opened.map_err(|_| gateway_timeout("cannot be reached in time"))??;
    let work = driver.run(service.shard.upstreams.clone(), key);
    service.shard.spawn_for(&service.server, work);
    Ok(link)
}

type Answered = Result<Response<Incoming>, TrySendError<hyper::Request<Upload>>>;

/// What became of a wait.
enum Woken {
    Answered(Box<Answered>),
    Early,
    Turned,
    Late,
    Gone,
}

/// Waits for the head of an answer.
async fn hear(
    sending: impl Future<Output = Answered>,
    progress: &Progress,
    upstream: &Upstream,
    early: &EarlyAnswers,
    client: &dyn Client,
) -> Result<Answered, Failure> {
    let mut sending = pin!(sending);
    loop {
        let waits_for_client = progress.waits();
        let limit = match waits_for_client {
            true => upstream.idle_timeout,
            false => upstream.timeout,
        };
        let due = progress.last().checked_add(limit);
        let mut sleep = pin!(due.map(time::sleep_until));
        let mut said = pin!(early.said());
        let mut turned = pin!(progress.turned());
        let woken = poll_fn(|cx| {
            if said.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woken::Early);
            }
            if let Poll::Ready(answered) = sending.as_mut().poll(cx) {
                return Poll::Ready(Woken::Answered(Box::new(answered)));
            }
            if client.poll_gone(cx).is_ready() {
                return Poll::Ready(Woken::Gone);
            }
            if turned.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woken::Turned);
            }
            match sleep.as_mut().as_pin_mut().map(|sleep| sleep.poll(cx)) {
                Some(Poll::Ready(())) => Poll::Ready(Woken::Late),
                _ => Poll::Pending,
            }
        });
        match woken.await {
            Woken::Answered(answered) => {
                early.pass_on(client).await;
                return Ok(*answered);
            }
            Woken::Early => early.pass_on(client).await,
            Woken::Gone => return Err(Refusal::new(400, "The client has gone.\n").into()),
            Woken::Turned => {}
            Woken::Late if progress.last().checked_add(limit) != due => {}
            Woken::Late if waits_for_client => {
                return Err(Refusal::new(408, "The body took too long.\n").into());
            }
            Woken::Late => return Err(gateway_timeout("took too long to answer")),
        }
    }
}
