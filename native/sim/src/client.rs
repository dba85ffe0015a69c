//! Clients: each follows its script, and notes what it says and hears.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::pending;
use std::pin::pin;

use sockeye_protocol::frame::{self, Opcode};
use sockeye_world::{time, trace};
use tokio::sync::Notify;

use crate::book::{End, Shared};
use crate::drawn::Reads;
use crate::handshake::{self, Way};
use crate::packer::{Packer, noise, policy};
use crate::plan::{Action, ClientPlan, DeflatePlan};
use crate::together;
use crate::wire::Wire;

/// The key of all masks: what is masked is no secret here.
const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

/// Nonsense to any layer.
const RAW: u8 = 4;

/// What a written item means, once it is whole.
enum Written {
    Message {
        replies: usize,
    },
    Other,
    /// It goes below TLS.
    Raw,
    Close(u16),
    Fin,
}

struct Client {
    book: Shared,
    number: usize,
    plan: ClientPlan,
    wire: Wire,
    packer: Option<Packer>,
    /// A message whose last frame has not come.
    partial: RefCell<Option<Vec<u8>>>,
    queue: RefCell<VecDeque<(Vec<u8>, Written)>>,
    /// Something was put into the queue, was written, or was heard.
    news: Notify,
    vanished: Cell<bool>,
}

/// Runs a client, which has this place in the book, to its end.
pub(crate) async fn run(
    book: Shared,
    place: usize,
    (plan, deflate): (ClientPlan, Option<DeflatePlan>),
    way: Way,
) {
    time::sleep(plan.start).await;
    let policy = deflate.filter(|_| plan.deflate).as_ref().map(policy);
    let path = format!("/{place}");
    let opened = handshake::open(&way, plan.number, &path, policy.as_ref()).await;
    let end = match opened {
        Some(opened) => {
            let packer = opened.deflate.zip(policy);
            let client = Client {
                book: book.clone(),
                number: place,
                plan,
                wire: opened.wire,
                packer: packer.map(|(params, policy)| Packer::new(params, policy)),
                partial: RefCell::default(),
                queue: RefCell::default(),
                news: Notify::new(),
                vanished: Cell::new(false),
            };
            client.live(opened.ahead).await
        }
        None => End::NotOpened,
    };
    trace::note(&[1, place as u64, end as u64], || {
        format!("client {place} has ended: {end:?}")
    });
    book.of(place, |account| account.end = Some(end));
    if let Way::Http2(pool) = way {
        book.of(place, |account| account.crossed = pool.crossed.get());
        pool.leave();
    }
}

impl Client {
    async fn live(&self, ahead: Vec<u8>) -> End {
        let mut script = pin!(self.script());
        together::live(
            &self.vanished,
            self.read(ahead),
            self.write(),
            &mut [script.as_mut()],
        )
        .await
    }

    fn put(&self, bytes: Vec<u8>, means: Written) {
        self.queue.borrow_mut().push_back((bytes, means));
        self.news.notify_waiters();
    }

    /// Writes what is in the queue, until the socket takes no more.
    async fn write(&self) {
        loop {
            let next = self.queue.borrow_mut().pop_front();
            let Some((bytes, means)) = next else {
                self.news.notified().await;
                continue;
            };
            if let Written::Close(code) = means {
                // It may be read before the last byte is known to be written.
                self.book.of(self.number, |a| a.close_sent = Some(code));
            }
            if let Written::Message { .. } = means {
                self.book.of(self.number, |a| a.said += 1);
            }
            let written = match means {
                Written::Raw => self.wire.write_raw(&bytes).await,
                _ => self.wire.write_whole(&bytes).await,
            };
            if written.is_err() {
                return;
            }
            match means {
                Written::Message { replies } => {
                    self.book.of(self.number, |a| a.promised += replies as u64);
                }
                Written::Fin => {
                    self.book.of(self.number, |a| a.fin = true);
                    self.wire.finish_writing().await;
                }
                Written::Close(_) | Written::Raw | Written::Other => {}
            }
            self.news.notify_waiters();
        }
    }

    async fn until(&self, there: impl Fn() -> bool) {
        while !there() {
            self.news.notified().await;
        }
    }

    /// Follows the script. It returns when the client leaves.
    async fn script(&self) {
        let mut number = 0;
        for action in &self.plan.script {
            trace::note(&[2, self.number as u64], || {
                format!("client {}: {action:?}", self.number)
            });
            match *action {
                Action::Say {
                    size,
                    frames,
                    replies,
                    reply,
                } => {
                    let mut text = format!("{} {number} {replies} {reply} ", self.number);
                    let pad = size.saturating_sub(text.len());
                    match self.plan.noise {
                        true => text.extend(noise(number, pad)),
                        false => text.extend(std::iter::repeat_n('x', pad)),
                    }
                    number += 1;
                    if self.plan.json {
                        text = as_json(&text);
                    }
                    let packer = self.packer.as_ref();
                    let packed = packer.and_then(|p| p.pack(text.as_bytes(), frames, MASK));
                    let bytes = packed.unwrap_or_else(|| message(text.as_bytes(), frames));
                    self.put(bytes, Written::Message { replies });
                }
                Action::Ping => {
                    let mut out = Vec::new();
                    frame::write(&mut out, Opcode::Ping, b"are you there?", MASK);
                    self.put(out, Written::Other);
                }
                Action::Pause(pause) => time::sleep(pause).await,
                Action::Await => {
                    self.written().await;
                    let all = || {
                        let account = self.book.of(self.number, |a| a.heard >= a.promised);
                        account.unwrap_or(true)
                    };
                    self.until(all).await;
                }
                Action::Close(code) => {
                    let mut out = Vec::new();
                    frame::write(&mut out, Opcode::Close, &code.to_be_bytes(), MASK);
                    self.put(out, Written::Close(code));
                }
                Action::Fin => self.put(Vec::new(), Written::Fin),
                Action::Drop => {
                    self.written().await;
                    return self.leave(false);
                }
                Action::Reset => return self.leave(true),
                Action::Bad(kind) => {
                    self.book.of(self.number, |a| a.bad = true);
                    let means = if kind == RAW {
                        Written::Raw
                    } else {
                        Written::Other
                    };
                    self.put(bad(kind), means);
                }
                Action::Vanish => {
                    self.book.of(self.number, |a| a.bad = true);
                    self.vanished.set(true);
                }
            }
            self.written().await;
        }
        pending().await
    }

    fn leave(&self, reset: bool) {
        self.book.of(self.number, |a| a.bad = true);
        if reset {
            self.wire.reset_on_close();
        }
    }

    /// Waits until little waits to be written.
    async fn written(&self) {
        self.until(|| self.queue.borrow().is_empty()).await;
    }

    /// Reads until the end.
    async fn read(&self, mut ahead: Vec<u8>) -> End {
        let mut read = ahead.len();
        loop {
            while let Some((op, payload, len)) = first_frame(&ahead) {
                let is_packed = ahead[0] & 0x40 != 0;
                let payload = match &self.packer {
                    Some(packer) if is_packed => packer.unpack(&ahead[..len]),
                    _ => (!is_packed).then(|| payload.to_vec()),
                };
                let Some(payload) = payload else {
                    let what = format!("client {} cannot inflate a message", self.number);
                    self.book.problem(what);
                    return End::Error;
                };
                let is_whole = ahead[0] & 0x80 != 0;
                ahead.drain(..len);
                self.hear_part(op, is_whole, payload);
            }
            match self.plan.reads {
                Reads::Slowly(pause) if sockeye_world::chance(1, 4) => time::sleep(pause).await,
                Reads::Until(most) if read >= most => pending().await,
                _ => {}
            }
            match self.wire.read_some(64 << 10).await {
                Ok(bytes) if bytes.is_empty() => return End::Eof,
                Ok(bytes) => {
                    read += bytes.len();
                    ahead.extend(bytes);
                }
                Err(_) => return End::Error,
            }
        }
    }

    /// A frame: a message, or a part of one.
    fn hear_part(&self, op: u8, is_whole: bool, payload: Vec<u8>) {
        let open = self.partial.take();
        match (op, open) {
            (1 | 2, Some(_)) | (0, None) => {
                let what = format!("client {}: a frame of kind {op} in between", self.number);
                self.book.problem(what);
            }
            (0, Some(mut before)) => {
                before.extend(payload);
                match is_whole {
                    true => self.hear(1, &before),
                    false => *self.partial.borrow_mut() = Some(before),
                }
            }
            (1, None) if !is_whole => *self.partial.borrow_mut() = Some(payload),
            (_, open) => {
                self.hear(op, &payload);
                *self.partial.borrow_mut() = open;
            }
        }
    }

    fn hear(&self, op: u8, payload: &[u8]) {
        let number = self.number;
        let behind = self.book.of(number, |a| a.close_got.is_some());
        if behind == Some(true) {
            self.book.problem(format!(
                "client {number} has read a frame behind the Close frame"
            ));
        }
        trace::note(&[3, number as u64, op.into(), payload.len() as u64], || {
            let text: String = String::from_utf8_lossy(payload).chars().take(20).collect();
            format!("client {number} reads {op} {text:?} ({})", payload.len())
        });
        match op {
            1 => self.hear_text(payload),
            8 => {
                let code = payload
                    .first_chunk()
                    .map_or(1005, |b| u16::from_be_bytes(*b));
                let closes = self.book.of(number, |account| {
                    account.close_got = Some(code);
                    account.close_sent.is_none()
                });
                if closes == Some(true) && self.plan.answers_close {
                    let mut out = Vec::new();
                    frame::write(
                        &mut out,
                        Opcode::Close,
                        &payload[..payload.len().min(2)],
                        MASK,
                    );
                    self.queue.borrow_mut().clear();
                    self.put(out, Written::Other);
                }
            }
            9 if self.plan.answers_pings => {
                let mut out = Vec::new();
                frame::write(&mut out, Opcode::Pong, payload, MASK);
                // Nothing goes behind the Close frame.
                if self.book.of(number, |a| a.close_sent.is_none()) == Some(true) {
                    self.put(out, Written::Other);
                }
            }
            _ => {}
        }
        self.news.notify_waiters();
    }

    fn hear_text(&self, payload: &[u8]) {
        let text = String::from_utf8_lossy(unwrapped(payload));
        let mut words = text.split(' ');
        let mut next = || words.next();
        match (next(), next(), next()) {
            (Some("topic"), Some(id), Some(by)) => {
                let (id, by) = (id.parse().unwrap_or(0), by.parse().unwrap_or(0));
                let before = self
                    .book
                    .of(self.number, |account| account.heard_topics.insert(by, id));
                if before.flatten().is_some_and(|before| before >= id) {
                    self.book.problem(format!(
                        "client {}: publication {id} came behind {before:?}",
                        self.number
                    ));
                }
            }
            (Some(client), Some(number), rest) => {
                if rest.is_some_and(|rest| rest.bytes().any(|byte| byte != b'r')) {
                    let what = format!("client {} has read {text:?}", self.number);
                    self.book.problem(what);
                }
                let client = client.parse().unwrap_or(usize::MAX);
                let number = number.parse().unwrap_or(u64::MAX);
                self.book.heard(self.number, client, number);
            }
            _ => {
                let what = format!("client {} has read {text:?}", self.number);
                self.book.problem(what);
            }
        }
    }
}

/// What stands beside a message that is JSON.
pub(crate) const BESIDE: f64 = -1.5;

/// A message as JSON.
pub(crate) fn as_json(text: &str) -> String {
    format!(r#"{{"l":[null,true,{BESIDE},"\u00e9"],"t":"{text}"}}"#)
}

/// A message that may have been wrapped into JSON.
pub(crate) fn unwrapped(text: &[u8]) -> &[u8] {
    let rest = text.strip_prefix(br#"{"t":""#);
    let rest = rest.and_then(|rest| rest.strip_suffix(br#""}"#));
    rest.unwrap_or(text)
}

/// A message in so many frames.
fn message(text: &[u8], frames: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let frames = frames.clamp(1, text.len().max(1));
    if frames == 1 {
        frame::write(&mut out, Opcode::Text, text, MASK);
        return out;
    }
    let size = text.len().div_ceil(frames);
    let count = text.chunks(size).count();
    for (n, part) in text.chunks(size).enumerate() {
        let op = match n {
            0 => Opcode::Text,
            _ => Opcode::Continuation,
        };
        frame::write_fragment(&mut out, op, n + 1 == count, part, MASK);
    }
    out
}

/// Bytes that no server takes.
fn bad(kind: u8) -> Vec<u8> {
    let mut out = Vec::new();
    match kind {
        // Not masked.
        0 => frame::write(&mut out, Opcode::Text, b"plain", None),
        1 => frame::write(&mut out, Opcode::Text, b"\xff\xfe", MASK),
        2 => frame::write_fragment(&mut out, Opcode::Continuation, true, b"", MASK),
        3 => frame::write(&mut out, Opcode::Close, b"\x03", MASK),
        RAW => out.extend([0xf3, 0x80, 1, 2, 3, 4]),
        _ => frame::write(&mut out, Opcode::Ping, &[b'x'; 126], MASK),
    }
    out
}

/// The first frame: its kind, its payload, and the length of it all.
fn first_frame(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (&first, rest) = bytes.split_first()?;
    let (&second, rest) = rest.split_first()?;
    let (head, len) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?) as usize),
        len => (2, usize::from(len)),
    };
    let payload = bytes.get(head..head + len)?;
    Some((first & 0x0f, payload, head + len))
}
