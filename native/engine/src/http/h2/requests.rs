//! Requests on streams, and the bodies of their answers.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::Response;
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use sockeye_protocol::handshake::Refusal;

use super::STREAMS;
use super::connect;
use super::connection::{Http2Connection, OpenStream};
use super::content::Content;
use super::streams::{WaitsFor, number};
use super::wanted::AbortOnDrop;
use crate::http::body::Body;
use crate::http::proxy::Client;
use crate::http::{failed, response, without_body};
use crate::model::refused::{Refused, RefusedFor};
use crate::world::task;
use crate::world::time::Instant;

/// Answers a request. What was begun for it goes on when the stream is reset: see [`Http2Connection::while_wanted`].
pub(super) async fn answer_request(
    carrier: Rc<Http2Connection>,
    request: hyper::Request<Incoming>,
) -> Response<ResponseBody> {
    let open = OpenStream::request(&carrier);
    let stream = number(request.uri().path()).unwrap_or(0);
    let (answer, open) = if carrier.requests.get() > STREAMS as usize {
        carrier.server.note_refused(RefusedFor::Unavailable);
        let refusal = Refusal::new(503, "Too many requests are waiting for an answer.\n");
        (response(refusal.with_header("Retry-After", "1")), open)
    } else {
        let is_passed = carrier.is_passed(stream);
        let task = task::spawn_local({
            let carrier = carrier.clone();
            async move {
                // Boxed: the library moves a task several times, and this is kilobytes.
                let answer = Box::pin(respond(&carrier, request));
                let answer = carrier.while_wanted(answer).await;
                (answer.unwrap_or_else(failed), open)
            }
        });
        // A server behind works for nobody else.
        let _ends = is_passed.then(|| AbortOnDrop(task.abort_handle()));
        let seen = task.await;
        seen.unwrap_or_else(|_| (failed(), OpenStream::request(&carrier)))
    };
    if !answer.body().is_end_stream() {
        carrier.streams.borrow_mut().answer(stream);
        carrier.changed.notify_one();
    }
    answer.map(|body| ResponseBody { body, stream, open })
}

/// A client whose stream ends with what is done for it, and to whom the library sends nothing before the answer.
pub(super) struct StreamClient;

impl Client for StreamClient {
    fn poll_gone(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn takes_early_answers(&self) -> bool {
        false
    }

    fn poll_write(&self, _: &mut Context<'_>, _: &mut &[u8]) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn respond(
    carrier: &Rc<Http2Connection>,
    mut request: hyper::Request<Incoming>,
) -> Response<Body> {
    let found = carrier.streams.borrow_mut().take(request.uri().path());
    match found {
        Some(Ok((head, false))) => {
            let is_head = head.method() == "HEAD";
            let body = Content(request.into_body());
            let answer = carrier.service.respond(head, body, &StreamClient).await;
            // The library sends what it gets.
            if is_head {
                without_body(answer)
            } else {
                answer
            }
        }
        Some(Ok((head, true))) => {
            let upgraded = hyper::upgrade::on(&mut request);
            let stream = number(request.uri().path()).unwrap_or(0);
            match connect::connect(carrier, stream, upgraded, head).await {
                Ok(answer) => answer,
                Err(refused) => refuse(carrier, refused),
            }
        }
        Some(Err(refusal)) => refuse(carrier, refusal.into()),
        // Its client has reset the stream.
        None => failed(),
    }
}

fn refuse(carrier: &Http2Connection, refused: Refused) -> Response<Body> {
    carrier.server.note_refused(refused.reason);
    response(refused.answer)
}

/// A body that is a request in progress until it is sent.
pub(super) struct ResponseBody {
    body: Body,
    stream: u32,
    open: OpenStream,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let answer = self.get_mut();
        let carrier = &answer.open.carrier;
        carrier.active.set(Instant::now());
        let poll = Pin::new(&mut answer.body).poll_frame(cx);
        let mut streams = carrier.streams.borrow_mut();
        let waits_for = match (&answer.body, poll.is_pending()) {
            (_, false) => WaitsFor::Client(Instant::now()),
            (Body::Stream(_), true) => WaitsFor::Process,
            (_, true) => WaitsFor::Server,
        };
        streams.set_waits_for(answer.stream, waits_for);
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
