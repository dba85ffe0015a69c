//! Ordinary requests: what each asks for, and how its response is read.

use std::time::Duration;

use sockeye_world::Chance;

use super::client::ReadPace;
use super::http2::Http2Plan;
use super::random::{between, millis};

/// Somebody who requests.
#[derive(Clone, Debug)]
pub struct RequesterPlan {
    /// Over this connection of HTTP/2, all at once; else over HTTP/1.1, one after the other.
    pub http2_conn: Option<usize>,
    /// It connects to the proxy.
    pub via_proxy: bool,
    pub start: Duration,
    pub requests: Vec<RequestPlan>,
}

/// Who answers a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestTarget {
    #[default]
    Text,
    File,
    /// A process of the VM answers.
    Process,
}

/// A request.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestPlan {
    pub target: RequestTarget,
    /// Each request of a run has another one.
    pub number: u64,
    pub pause: Duration,
    /// Its method is HEAD.
    pub is_head: bool,
    /// Over HTTP/1.1, the next one is sent without waiting for the response to this one.
    pub pipelined: bool,
    /// Bytes of its body, and whether that is sent in chunks.
    pub body: usize,
    pub chunked: bool,
    /// Bytes of the response, and in how many pieces a process gives it; 0: at once.
    pub answer: usize,
    pub pieces: usize,
    /// The process breaks the response off at its end.
    pub breaks: bool,
    pub reads: ReadPace,
    /// Who requests leaves when it has read so much.
    pub leaves: Option<usize>,
}

/// Those who request in this world.
pub(super) fn draw(
    chance: &mut Chance,
    fair: bool,
    window: usize,
    http2_conns: usize,
) -> Vec<RequesterPlan> {
    if !chance.is(1, 3) {
        return Vec::new();
    }
    let count = between(chance, 1, 3);
    (0..count)
        .map(|n| draw_requester(chance, fair, window, (n, http2_conns)))
        .collect()
}

fn draw_requester(
    chance: &mut Chance,
    fair: bool,
    window: usize,
    (n, http2_conns): (u64, usize),
) -> RequesterPlan {
    let http2_conn = http2_conns > 0 && chance.is(2, 3);
    // More than may be open at once.
    let most = if http2_conn && chance.is(1, 6) {
        130
    } else {
        6
    };
    let count = between(chance, 1, most);
    let is_small = window < 8_000 || count > 10;
    let requests = (0..count).map(|m| RequestPlan {
        number: 1000 * (n + 1) + m,
        ..draw_request(chance, fair, is_small)
    });
    let requests = requests.collect();
    RequesterPlan {
        http2_conn: http2_conn.then(|| chance.below(http2_conns as u64) as usize),
        via_proxy: false,
        start: millis(chance, 0, 3000),
        requests,
    }
}

/// Makes some of them HEAD, and some pipelined. A client that leaves, or stops reading, has sent no other request.
pub(super) fn vary(chance: &mut Chance, requesters: &mut [RequesterPlan]) {
    for requester in requesters {
        let often = chance.pick(&[0, 0, 1, 3]);
        for request in &mut requester.requests {
            request.is_head = request.body == 0 && !request.breaks && chance.is(1, 6);
            let reads_all =
                request.leaves.is_none() && !matches!(request.reads, ReadPace::Until(_));
            request.pipelined = reads_all && !request.breaks && chance.is(often, 4);
        }
    }
}

/// A client that reads a little of a long response each second, over HTTP/2: a server that stops does not wait for its end.
pub(super) fn add_slow_reader(
    chance: &mut Chance,
    http2_conns: &mut [Http2Plan],
    requesters: &mut [RequesterPlan],
) {
    let over_http2 = |requester: &&mut RequesterPlan| requester.http2_conn.is_some();
    let Some(requester) = requesters.iter_mut().find(over_http2) else {
        return;
    };
    let http2_conn = requester
        .http2_conn
        .and_then(|number| http2_conns.get_mut(number));
    if let (Some(http2_conn), Some(request)) = (http2_conn, requester.requests.last_mut()) {
        (http2_conn.window, http2_conn.slow, http2_conn.trouble) = (400, None, None);
        *request = RequestPlan {
            target: RequestTarget::Process,
            number: request.number,
            pause: request.pause,
            answer: 200_000,
            reads: ReadPace::Slowly(millis(chance, 500, 900)),
            ..RequestPlan::default()
        };
    }
}

/// Sixty requests with bodies at the same time, over one connection of HTTP/2.
pub(super) fn add_many_uploads(
    chance: &mut Chance,
    http2_conns: usize,
    requesters: &mut Vec<RequesterPlan>,
) {
    let number = requesters.len() as u64 + 1;
    // On the link of the process engine the larger one is cut into pieces, the smaller one is not.
    let body = chance.pick(&[3_000, 20_000]);
    let request = |n| RequestPlan {
        target: RequestTarget::Process,
        number: 1000 * number + n,
        pause: millis(chance, 0, 300),
        body,
        answer: 300,
        ..RequestPlan::default()
    };
    let requests = (0..60).map(request).collect();
    if http2_conns > 0 {
        requesters.push(RequesterPlan {
            http2_conn: Some(chance.below(http2_conns as u64) as usize),
            via_proxy: false,
            start: millis(chance, 0, 3000),
            requests,
        });
    }
}

fn draw_request(chance: &mut Chance, fair: bool, is_small: bool) -> RequestPlan {
    let sizes = [0, 1, 300, 5_000, 70_000, 200_000];
    let most = if is_small { 4 } else { sizes.len() };
    let target = match chance.below(5) {
        0 => RequestTarget::Text,
        1 if !is_small => RequestTarget::File,
        _ => RequestTarget::Process,
    };
    let has_body = target == RequestTarget::Process && chance.is(1, 2);
    let body = chance.pick(&sizes[..most]);
    let good = fair || chance.is(1, 2);
    let reads = match chance.below(if good { 4 } else { 6 }) {
        0 => ReadPace::Slowly(millis(chance, 1, 30)),
        4 => ReadPace::Slowly(millis(chance, 1, 3000)),
        5 => ReadPace::Until(chance.pick(&[0, 200, 5000])),
        _ => ReadPace::Always,
    };
    let in_pieces = target == RequestTarget::Process && chance.is(1, 2);
    let pieces = if in_pieces { between(chance, 1, 8) } else { 0 } as usize;
    RequestPlan {
        target,
        number: 0,
        is_head: false,
        pipelined: false,
        pause: millis(chance, 0, 300),
        body: if has_body { body } else { 0 },
        chunked: chance.is(1, 2),
        answer: chance.pick(&sizes[..most]),
        pieces,
        breaks: pieces > 0 && chance.is(1, 10),
        reads,
        leaves: (!good && chance.is(1, 2)).then(|| chance.pick(&[0, 100, 10_000])),
    }
}
