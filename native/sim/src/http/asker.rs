//! Who asks, and what must hold of the answers.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;

use sockeye_world::{chance, draw, task, time, trace};

use super::h1;
use super::plan::{Ask, AskerPlan};
use crate::book::Shared;
use crate::door::Door;
use crate::drawn::Reads;
use crate::handshake::Way;
use crate::http2::Pool;
use crate::together::both;
use crate::wire::Wire;

/// What came back.
#[derive(Default)]
struct Back {
    status: u16,
    content: Vec<u8>,
    /// How much its head has promised.
    length: Option<usize>,
    /// It has come to its end.
    whole: bool,
    /// Another one may follow it.
    goes_on: bool,
    /// The server has not looked at it.
    unseen: bool,
}

struct Asker {
    book: Shared,
    fair: bool,
    number: usize,
}

/// Lives somebody who asks.
pub(crate) async fn run(book: Shared, fair: bool, number: usize, plan: AskerPlan, way: Way) {
    let asker = Rc::new(Asker { book, fair, number });
    time::sleep(plan.start).await;
    match way {
        Way::Tcp(door) => asker.over_tcp(&plan.asks, &door).await,
        Way::Http2(pool) => {
            asker.over_http2(&plan.asks, &pool).await;
            pool.leave();
        }
    }
    asker.book.open().asking -= 1;
}

impl Asker {
    async fn over_tcp(&self, mut asks: &[Ask], door: &Door) {
        let (mut kept, mut port) = (None, 40_000 + 100 * self.number as u16);
        while let Some(first) = asks.first() {
            time::sleep(first.pause).await;
            let together = asks.iter().take_while(|ask| ask.together).count();
            let group = &asks[..asks.len().min(together + 1)];
            let (wire, mut ahead) = match kept.take() {
                Some(line) => line,
                None => {
                    let local = ([10, 1, 0, (self.number % 3) as u8 + 1], port).into();
                    port += 1;
                    match door.connect(local, false).await {
                        Ok(socket) => (Wire::Tcp(socket), Vec::new()),
                        Err(_) => return self.judge(first, &Back::default()),
                    }
                }
            };
            let all_said = Cell::new(false);
            let says = async {
                for ask in group {
                    if say_h1(ask, &wire).await.is_err() {
                        return;
                    }
                }
                all_said.set(true);
            };
            let (answered, goes_on) = both(says, self.hear_all(group, &wire, &mut ahead)).await;
            let leaves = group.last().is_some_and(|ask| ask.leaves.is_some());
            if leaves && chance(1, 2) {
                wire.reset_on_close();
            }
            // An answer may come before its request has been said, and the next one would be taken for the rest of that.
            kept = (goes_on && all_said.get()).then_some((wire, ahead));
            // What stands behind the last answer of a connection is said once more.
            asks = &asks[answered..];
        }
    }

    /// The answers to these, one behind the other: how many there were, and whether another one may follow.
    async fn hear_all(&self, group: &[Ask], wire: &Wire, ahead: &mut Vec<u8>) -> (usize, bool) {
        for (n, ask) in group.iter().enumerate() {
            let back = self.hear_h1(ask, wire, ahead).await;
            self.judge(ask, &back);
            if !back.goes_on || !back.whole {
                return (n + 1, false);
            }
        }
        if !ahead.is_empty() {
            let text = String::from_utf8_lossy(ahead).into_owned();
            self.book.problem(format!(
                "{:?}: behind its answer came {text:?}",
                group.last()
            ));
        }
        (group.len(), true)
    }

    async fn hear_h1(&self, ask: &Ask, wire: &Wire, ahead: &mut Vec<u8>) -> Back {
        let mut back = Back::default();
        let mut answer: Option<h1::Answer> = None;
        loop {
            if answer.is_none()
                && let Some(head) = h1::Answer::head(ahead, ask.is_head)
            {
                match head {
                    Ok(head) => answer = Some(head),
                    Err(text) => {
                        self.problem(ask, &format!("no head of an answer: {text:?}"));
                        return back;
                    }
                }
            }
            if let Some(answer) = &mut answer {
                back.status = answer.status;
                back.goes_on = answer.goes_on;
                back.length = answer.length;
                if let Err(what) = answer.content(ahead, &mut back.content) {
                    self.problem(ask, what);
                }
                if answer.is_done() {
                    back.whole = true;
                    return back;
                }
            }
            if self.pauses(ask, back.content.len()).await {
                return back;
            }
            match wire.read_some(16 << 10).await {
                Ok(bytes) if bytes.is_empty() => {
                    back.whole = answer.is_some_and(|answer| answer.close());
                    return back;
                }
                Ok(bytes) => ahead.extend(bytes),
                Err(_) => return back,
            }
        }
    }

    /// As its plan wants it; true if it leaves.
    async fn pauses(&self, ask: &Ask, read: usize) -> bool {
        if ask.leaves.is_some_and(|most| read >= most) {
            return true;
        }
        match ask.reads {
            Reads::Slowly(pause) if chance(1, 4) => time::sleep(pause).await,
            Reads::Until(most) if read >= most => pending().await,
            _ => {}
        }
        false
    }

    async fn over_http2(self: &Rc<Self>, asks: &[Ask], pool: &Rc<Pool>) {
        let left = Rc::new(Cell::new(asks.len()));
        let done = Rc::new(tokio::sync::Notify::new());
        for ask in asks {
            let (me, ask, pool) = (self.clone(), *ask, pool.clone());
            let (left, done) = (left.clone(), done.clone());
            task::spawn_local(async move {
                time::sleep(ask.pause).await;
                me.on_a_stream(&ask, &pool).await;
                left.set(left.get() - 1);
                done.notify_one();
            });
        }
        while left.get() > 0 {
            done.notified().await;
        }
    }

    async fn on_a_stream(&self, ask: &Ask, pool: &Rc<Pool>) {
        let (path, body) = (ask.path(), ask.body());
        let length = body.len().to_string();
        let mut fields = vec![
            (":method", ask.method()),
            (":scheme", "http"),
            (":authority", "sim"),
            (":path", path.as_str()),
        ];
        if !ask.chunked && !body.is_empty() {
            fields.push(("content-length", &length));
        }
        for _ in 0..20 {
            let Some(stream) = pool.begin(&fields, body.is_empty()).await else {
                return self.judge(ask, &Back::default());
            };
            let wire = Wire::Http2(stream);
            let says = async {
                if !body.is_empty() && say(&wire, &body, false).await.is_ok() {
                    wire.finish_writing().await;
                }
            };
            let back = both(says, self.hear_h2(ask, &wire)).await;
            // Too many at once: nothing has been done for it.
            let is_refused = back.status == 503 && back.content.starts_with(b"Too many requests");
            if !back.unseen && !is_refused {
                return self.judge(ask, &back);
            }
            drop(wire);
            time::sleep(std::time::Duration::from_millis(1 + draw(500))).await;
        }
    }

    async fn hear_h2(&self, ask: &Ask, wire: &Wire) -> Back {
        let mut back = Back::default();
        let Wire::Http2(stream) = wire else {
            return back;
        };
        if ask.leaves == Some(0) {
            return back;
        }
        let Some(head) = stream.head().await else {
            back.unseen = stream.was_not_seen() || stream.has_crossed();
            return back;
        };
        let status = head.iter().find(|(name, _)| name == ":status");
        let status = status.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok());
        back.status = status.unwrap_or_default();
        let length = head.iter().find(|(name, _)| name == "content-length");
        back.length = length.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok());
        loop {
            if self.pauses(ask, back.content.len()).await {
                return back;
            }
            match wire.read_some(16 << 10).await {
                Ok(bytes) if bytes.is_empty() => {
                    back.whole = true;
                    return back;
                }
                Ok(bytes) => back.content.extend(bytes),
                Err(_) => return back,
            }
        }
    }

    fn problem(&self, ask: &Ask, what: &str) {
        let what = format!("request {} of {}: {what}: {ask:?}", ask.number, self.number);
        self.book.problem(what);
    }

    /// Whether this may come back.
    fn judge(&self, ask: &Ask, back: &Back) {
        let Back {
            status,
            content,
            whole,
            ..
        } = back;
        trace::note(
            &[8, ask.number, (*status).into(), content.len() as u64],
            || {
                format!(
                    "request {}: {status}, {} bytes, whole: {whole}",
                    ask.number,
                    content.len()
                )
            },
        );
        let (stopping, wanted) = (self.book.open().stopping, ask.answer());
        let full = wanted.len();
        let wanted = if ask.is_head { Vec::new() } else { wanted };
        match status {
            200 if !wanted.starts_with(content) => self.problem(ask, "other content"),
            200 if *whole && *content != wanted => self.problem(ask, "an end before the end"),
            200 if *whole && ask.breaks => {
                self.problem(ask, "whole, and was broken off");
            }
            200 if back.length.is_some_and(|said| said != full) => {
                self.problem(ask, "its head promises another length");
            }
            500 => self.problem(ask, "something went wrong"),
            _ => {}
        }
        let may_break = ask.leaves.is_some() || ask.breaks;
        let all = *whole && *status == 200;
        if self.fair && !stopping && !may_break && !all {
            self.problem(
                ask,
                &format!("{status}, {} bytes, whole: {whole}", content.len()),
            );
        }
    }
}

/// Says a request.
async fn say_h1(ask: &Ask, wire: &Wire) -> std::io::Result<()> {
    let body = ask.body();
    let length = match (ask.chunked, body.len()) {
        (_, 0) => String::new(),
        (true, _) => "transfer-encoding: chunked\r\n".into(),
        (false, len) => format!("content-length: {len}\r\n"),
    };
    let (method, path) = (ask.method(), ask.path());
    let head = format!("{method} {path} HTTP/1.1\r\nhost: sim\r\n{length}\r\n");
    let is_chunked = ask.chunked && !body.is_empty();
    wire.write_whole(head.as_bytes()).await?;
    say(wire, &body, is_chunked).await?;
    match is_chunked {
        true => wire.write_whole(b"0\r\n\r\n").await,
        false => Ok(()),
    }
}

/// Says content, in parts.
async fn say(wire: &Wire, body: &[u8], is_chunked: bool) -> std::io::Result<()> {
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
                wire.write_whole(&chunk).await?;
            }
            false => wire.write_whole(part).await?,
        }
    }
    Ok(())
}
