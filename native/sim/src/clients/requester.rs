//! Clients with ordinary requests, and what must hold of each response.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;

use sockeye_world::{chance, draw, task, time, trace};

use super::concurrent::write_and_read;
use super::connector::Connector;
use super::endpoint::Endpoint;
use super::http1;
use super::http2::pool::Pool;
use super::transport::Transport;
use crate::model::ledger::SharedLedger;
use crate::plan::client::ReadPace;
use crate::plan::requests::{RequestPlan, RequesterPlan};

/// What was read of a response.
#[derive(Default)]
struct Response {
    status: u16,
    content: Vec<u8>,
    /// The length that its head states.
    length: Option<usize>,
    /// It came to its end.
    is_whole: bool,
    /// The connection may be used again.
    keeps_alive: bool,
    /// The server has not processed the request.
    unprocessed: bool,
}

struct Requester {
    ledger: SharedLedger,
    fair: bool,
    number: usize,
}

/// Runs a client.
pub(super) async fn run(
    ledger: SharedLedger,
    number: usize,
    (plan, fair): (RequesterPlan, bool),
    connector: Connector,
) {
    let requester = Rc::new(Requester {
        ledger,
        fair,
        number,
    });
    time::sleep(plan.start).await;
    match connector {
        Connector::Tcp(endpoint) => requester.over_tcp(&plan.requests, &endpoint).await,
        Connector::Http2(pool) => {
            requester.over_http2(&plan.requests, &pool).await;
            pool.leave();
        }
    }
    requester.ledger.lock().open_requesters -= 1;
}

impl Requester {
    async fn over_tcp(&self, mut requests: &[RequestPlan], endpoint: &Endpoint) {
        let (mut kept, mut port) = (None, 40_000 + 100 * self.number as u16);
        while let Some(first) = requests.first() {
            time::sleep(first.pause).await;
            let pipelined = requests
                .iter()
                .take_while(|request| request.pipelined)
                .count();
            let group = &requests[..requests.len().min(pipelined + 1)];
            let (transport, mut buffered) = match kept.take() {
                Some(kept) => kept,
                None => {
                    let local = ([10, 1, 0, (self.number % 3) as u8 + 1], port).into();
                    port += 1;
                    match endpoint.connect(local, false).await {
                        Ok(socket) => (Transport::Tcp(socket), Vec::new()),
                        Err(_) => return self.check(first, &Response::default()),
                    }
                }
            };
            let all_written = Cell::new(false);
            let writes = async {
                for request in group {
                    if write_http1(request, &transport).await.is_err() {
                        return;
                    }
                }
                all_written.set(true);
            };
            let (answered, keeps_alive) = write_and_read(
                writes,
                self.read_responses(group, &transport, &mut buffered),
            )
            .await;
            let leaves = group.last().is_some_and(|request| request.leaves.is_some());
            if leaves && chance(1, 2) {
                transport.reset_on_close();
            }
            // A response may come before its request has been written, and the next request would be taken for the rest of that.
            kept = (keeps_alive && all_written.get()).then_some((transport, buffered));
            // What was not answered on a connection is requested once more.
            requests = &requests[answered..];
        }
    }

    /// Reads the responses to these requests: how many there were, and whether the connection may be used again.
    async fn read_responses(
        &self,
        group: &[RequestPlan],
        transport: &Transport,
        buffered: &mut Vec<u8>,
    ) -> (usize, bool) {
        for (n, request) in group.iter().enumerate() {
            let response = self.read_http1(request, transport, buffered).await;
            self.check(request, &response);
            if !response.keeps_alive || !response.is_whole {
                return (n + 1, false);
            }
        }
        if !buffered.is_empty() {
            let text = String::from_utf8_lossy(buffered).into_owned();
            self.ledger.problem(format!(
                "{:?}: behind its response came {text:?}",
                group.last()
            ));
        }
        (group.len(), true)
    }

    async fn read_http1(
        &self,
        request: &RequestPlan,
        transport: &Transport,
        buffered: &mut Vec<u8>,
    ) -> Response {
        let mut response = Response::default();
        let mut head: Option<http1::Head> = None;
        loop {
            if head.is_none()
                && let Some(parsed) = http1::Head::parse(buffered, request.is_head)
            {
                match parsed {
                    Ok(parsed) => head = Some(parsed),
                    Err(text) => {
                        self.problem(request, &format!("no head of a response: {text:?}"));
                        return response;
                    }
                }
            }
            if let Some(head) = &mut head {
                response.status = head.status;
                response.keeps_alive = head.keeps_alive;
                response.length = head.length;
                if let Err(what) = head.content(buffered, &mut response.content) {
                    self.problem(request, what);
                }
                if head.is_done() {
                    response.is_whole = true;
                    return response;
                }
            }
            if self.pause_or_leave(request, response.content.len()).await {
                return response;
            }
            match transport.read_some(16 << 10).await {
                Ok(bytes) if bytes.is_empty() => {
                    response.is_whole = head.is_some_and(|head| head.ends_with_connection());
                    return response;
                }
                Ok(bytes) => buffered.extend(bytes),
                Err(_) => return response,
            }
        }
    }

    /// Waits as the plan says; true if the client leaves.
    async fn pause_or_leave(&self, request: &RequestPlan, read: usize) -> bool {
        if request.leaves.is_some_and(|most| read >= most) {
            return true;
        }
        match request.reads {
            ReadPace::Slowly(pause) if chance(1, 4) => time::sleep(pause).await,
            ReadPace::Until(most) if read >= most => pending().await,
            _ => {}
        }
        false
    }

    async fn over_http2(self: &Rc<Self>, requests: &[RequestPlan], pool: &Rc<Pool>) {
        let left = Rc::new(Cell::new(requests.len()));
        let done = Rc::new(tokio::sync::Notify::new());
        for request in requests {
            let (me, request, pool) = (self.clone(), *request, pool.clone());
            let (left, done) = (left.clone(), done.clone());
            task::spawn_local(async move {
                time::sleep(request.pause).await;
                me.on_stream(&request, &pool).await;
                left.set(left.get() - 1);
                done.notify_one();
            });
        }
        while left.get() > 0 {
            done.notified().await;
        }
    }

    async fn on_stream(&self, request: &RequestPlan, pool: &Rc<Pool>) {
        let (path, body) = (request.path(), request.request_body());
        let length = body.len().to_string();
        let mut fields = vec![
            (":method", request.method()),
            (":scheme", "http"),
            (":authority", "sim"),
            (":path", path.as_str()),
        ];
        if !request.chunked && !body.is_empty() {
            fields.push(("content-length", &length));
        }
        for _ in 0..20 {
            let Some(stream) = pool.begin(&fields, body.is_empty()).await else {
                return self.check(request, &Response::default());
            };
            let transport = Transport::Http2(stream);
            let writes = async {
                if !body.is_empty() && write_body(&transport, &body, false).await.is_ok() {
                    transport.finish_writing().await;
                }
            };
            let response = write_and_read(writes, self.read_http2(request, &transport)).await;
            // Too many at once: the server has not processed it.
            let is_refused =
                response.status == 503 && response.content.starts_with(b"Too many requests");
            if !response.unprocessed && !is_refused {
                return self.check(request, &response);
            }
            drop(transport);
            time::sleep(std::time::Duration::from_millis(1 + draw(500))).await;
        }
    }

    async fn read_http2(&self, request: &RequestPlan, transport: &Transport) -> Response {
        let mut response = Response::default();
        let Transport::Http2(stream) = transport else {
            return response;
        };
        if request.leaves == Some(0) {
            return response;
        }
        let Some(head) = stream.head().await else {
            response.unprocessed = stream.is_unprocessed() || stream.raced_goaway();
            return response;
        };
        let status = head.iter().find(|(name, _)| name == ":status");
        let status = status.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok());
        response.status = status.unwrap_or_default();
        let length = head.iter().find(|(name, _)| name == "content-length");
        response.length =
            length.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok());
        loop {
            if self.pause_or_leave(request, response.content.len()).await {
                return response;
            }
            match transport.read_some(16 << 10).await {
                Ok(bytes) if bytes.is_empty() => {
                    response.is_whole = true;
                    return response;
                }
                Ok(bytes) => response.content.extend(bytes),
                Err(_) => return response,
            }
        }
    }

    fn problem(&self, request: &RequestPlan, what: &str) {
        let what = format!(
            "request {} of {}: {what}: {request:?}",
            request.number, self.number
        );
        self.ledger.problem(what);
    }

    /// Whether this response is right.
    fn check(&self, request: &RequestPlan, response: &Response) {
        let Response {
            status,
            content,
            is_whole,
            ..
        } = response;
        trace::note(
            &[8, request.number, (*status).into(), content.len() as u64],
            || {
                format!(
                    "request {}: {status}, {} bytes, whole: {is_whole}",
                    request.number,
                    content.len()
                )
            },
        );
        let (stopping, wanted) = (self.ledger.lock().stopping, request.response_content());
        let full = wanted.len();
        let wanted = if request.is_head { Vec::new() } else { wanted };
        match status {
            200 if !wanted.starts_with(content) => self.problem(request, "other content"),
            200 if *is_whole && *content != wanted => self.problem(request, "an end too early"),
            200 if *is_whole && request.breaks => {
                self.problem(request, "whole, though it was broken off");
            }
            200 if response.length.is_some_and(|stated| stated != full) => {
                self.problem(request, "its head states another length");
            }
            500 => self.problem(request, "something went wrong"),
            _ => {}
        }
        let may_break = request.leaves.is_some() || request.breaks;
        let all = *is_whole && *status == 200;
        if self.fair && !stopping && !may_break && !all {
            self.problem(
                request,
                &format!("{status}, {} bytes, whole: {is_whole}", content.len()),
            );
        }
    }
}

/// Writes a request.
async fn write_http1(request: &RequestPlan, transport: &Transport) -> std::io::Result<()> {
    let body = request.request_body();
    let length = match (request.chunked, body.len()) {
        (_, 0) => String::new(),
        (true, _) => "transfer-encoding: chunked\r\n".into(),
        (false, len) => format!("content-length: {len}\r\n"),
    };
    let (method, path) = (request.method(), request.path());
    let head = format!("{method} {path} HTTP/1.1\r\nhost: sim\r\n{length}\r\n");
    let is_chunked = request.chunked && !body.is_empty();
    transport.write_whole(head.as_bytes()).await?;
    write_body(transport, &body, is_chunked).await?;
    match is_chunked {
        true => transport.write_whole(b"0\r\n\r\n").await,
        false => Ok(()),
    }
}

/// Writes a body, in parts.
async fn write_body(transport: &Transport, body: &[u8], is_chunked: bool) -> std::io::Result<()> {
    let size = 1 + draw(body.len().min(20_000) as u64 + 1) as usize;
    for part in body.chunks(size.max(body.len() / 8).max(1)) {
        if chance(1, 8) {
            time::sleep(std::time::Duration::from_nanos(draw(20_000_000))).await;
        }
        match is_chunked {
            true => {
                let mut chunk = format!("{:x}\r\n", part.len()).into_bytes();
                chunk.extend_from_slice(part);
                chunk.extend_from_slice(b"\r\n");
                transport.write_whole(&chunk).await?;
            }
            false => transport.write_whole(part).await?,
        }
    }
    Ok(())
}
