//! Clients with a WebSocket: each follows its script, and enters what it sends and reads into the ledger.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::pending;
use std::pin::pin;

use sockeye_protocol::frame::{self, Opcode};
use sockeye_world::{time, trace};
use tokio::sync::Notify;

use super::compression::{Compressor, policy};
use super::concurrent::run_client;
use super::connector::Connector;
use super::handshake;
use super::transport::Transport;
use crate::model::content::{as_json, incompressible, without_json};
use crate::model::ledger::{End, SharedLedger};
use crate::plan::client::{Action, ClientPlan, ReadPace};
use crate::plan::server::DeflatePlan;

/// The key of all masks.
const MASK: Option<[u8; 4]> = Some([1, 2, 3, 4]);

/// The kind of invalid bytes that are written below TLS.
const BELOW_TLS: u8 = 4;

/// What the bytes of an item in the queue are.
enum Queued {
    Message {
        replies: usize,
    },
    Other,
    /// Invalid bytes, below TLS.
    BelowTls,
    Close(u16),
    Fin,
}

struct Client {
    ledger: SharedLedger,
    number: usize,
    plan: ClientPlan,
    transport: Transport,
    compressor: Option<Compressor>,
    /// A message whose last frame has not come.
    partial: RefCell<Option<Vec<u8>>>,
    queue: RefCell<VecDeque<(Vec<u8>, Queued)>>,
    /// Something was put into the queue, was written, or was read.
    changed: Notify,
    vanished: Cell<bool>,
}

/// Runs a client, whose record has this number.
pub(super) async fn run(
    ledger: SharedLedger,
    place: usize,
    (plan, deflate): (ClientPlan, Option<DeflatePlan>),
    connector: Connector,
) {
    time::sleep(plan.start).await;
    let policy = deflate.filter(|_| plan.deflate).as_ref().map(policy);
    let path = format!("/{place}");
    let opened = handshake::open(&connector, plan.number, &path, policy.as_ref()).await;
    let end = match opened {
        Some(opened) => {
            let compressor = opened.deflate.zip(policy);
            let client = Client {
                ledger: ledger.clone(),
                number: place,
                plan,
                transport: opened.transport,
                compressor: compressor.map(|(params, policy)| Compressor::new(params, policy)),
                partial: RefCell::default(),
                queue: RefCell::default(),
                changed: Notify::new(),
                vanished: Cell::new(false),
            };
            client.run(opened.buffered).await
        }
        None => End::NotOpened,
    };
    trace::note(&[1, place as u64, end as u64], || {
        format!("client {place} has ended: {end:?}")
    });
    ledger.update(place, |record| record.end = Some(end));
    if let Connector::Http2(pool) = connector {
        ledger.update(place, |record| {
            record.raced_goaway = pool.raced_goaway.get()
        });
        pool.leave();
    }
}

impl Client {
    async fn run(&self, buffered: Vec<u8>) -> End {
        let mut script = pin!(self.script());
        run_client(
            &self.vanished,
            self.read(buffered),
            self.write(),
            &mut [script.as_mut()],
        )
        .await
    }

    fn enqueue(&self, bytes: Vec<u8>, what: Queued) {
        self.queue.borrow_mut().push_back((bytes, what));
        self.changed.notify_waiters();
    }

    /// Writes what is in the queue, until the socket takes no more.
    async fn write(&self) {
        loop {
            let next = self.queue.borrow_mut().pop_front();
            let Some((bytes, what)) = next else {
                self.changed.notified().await;
                continue;
            };
            if let Queued::Close(code) = what {
                // The server may read it before we know that its last byte is written.
                self.ledger
                    .update(self.number, |a| a.close_sent = Some(code));
            }
            if let Queued::Message { .. } = what {
                self.ledger.update(self.number, |a| a.messages_sent += 1);
            }
            let written = match what {
                Queued::BelowTls => self.transport.write_raw(&bytes).await,
                _ => self.transport.write_whole(&bytes).await,
            };
            if written.is_err() {
                return;
            }
            match what {
                Queued::Message { replies } => {
                    self.ledger
                        .update(self.number, |a| a.replies_requested += replies as u64);
                }
                Queued::Fin => {
                    self.ledger.update(self.number, |a| a.half_closed = true);
                    self.transport.finish_writing().await;
                }
                Queued::Close(_) | Queued::BelowTls | Queued::Other => {}
            }
            self.changed.notify_waiters();
        }
    }

    async fn until(&self, there: impl Fn() -> bool) {
        while !there() {
            self.changed.notified().await;
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
                Action::Send {
                    size,
                    frames,
                    replies,
                    reply,
                } => {
                    let mut text = format!("{} {number} {replies} {reply} ", self.number);
                    let pad = size.saturating_sub(text.len());
                    match self.plan.incompressible {
                        true => text.extend(incompressible(number, pad)),
                        false => text.extend(std::iter::repeat_n('x', pad)),
                    }
                    number += 1;
                    if self.plan.json {
                        text = as_json(&text);
                    }
                    let compressor = self.compressor.as_ref();
                    let compressed =
                        compressor.and_then(|p| p.compress(text.as_bytes(), frames, MASK));
                    let bytes = compressed.unwrap_or_else(|| message(text.as_bytes(), frames));
                    self.enqueue(bytes, Queued::Message { replies });
                }
                Action::Ping => {
                    let mut out = Vec::new();
                    frame::write(&mut out, Opcode::Ping, b"are you there?", MASK);
                    self.enqueue(out, Queued::Other);
                }
                Action::Pause(pause) => time::sleep(pause).await,
                Action::AwaitReplies => {
                    self.queue_is_empty().await;
                    let all = || {
                        let record = self
                            .ledger
                            .update(self.number, |a| a.replies_read >= a.replies_requested);
                        record.unwrap_or(true)
                    };
                    self.until(all).await;
                }
                Action::Close(code) => {
                    let mut out = Vec::new();
                    frame::write(&mut out, Opcode::Close, &code.to_be_bytes(), MASK);
                    self.enqueue(out, Queued::Close(code));
                }
                Action::Fin => self.enqueue(Vec::new(), Queued::Fin),
                Action::Drop => {
                    self.queue_is_empty().await;
                    return self.leave(false);
                }
                Action::Reset => return self.leave(true),
                Action::Invalid(kind) => {
                    self.ledger.update(self.number, |a| a.misbehaved = true);
                    let what = if kind == BELOW_TLS {
                        Queued::BelowTls
                    } else {
                        Queued::Other
                    };
                    self.enqueue(invalid(kind), what);
                }
                Action::Vanish => {
                    self.ledger.update(self.number, |a| a.misbehaved = true);
                    self.vanished.set(true);
                }
            }
            self.queue_is_empty().await;
        }
        pending().await
    }

    fn leave(&self, reset: bool) {
        self.ledger.update(self.number, |a| a.misbehaved = true);
        if reset {
            self.transport.reset_on_close();
        }
    }

    /// Waits until the last item is being written.
    async fn queue_is_empty(&self) {
        self.until(|| self.queue.borrow().is_empty()).await;
    }

    /// Reads until the end.
    async fn read(&self, mut buffered: Vec<u8>) -> End {
        let mut read = buffered.len();
        loop {
            while let Some((op, payload, len)) = first_frame(&buffered) {
                let is_compressed = buffered[0] & 0x40 != 0;
                let payload = match &self.compressor {
                    Some(compressor) if is_compressed => compressor.decompress(&buffered[..len]),
                    _ => (!is_compressed).then(|| payload.to_vec()),
                };
                let Some(payload) = payload else {
                    let what = format!("client {} cannot inflate a message", self.number);
                    self.ledger.problem(what);
                    return End::Error;
                };
                let is_whole = buffered[0] & 0x80 != 0;
                buffered.drain(..len);
                self.on_frame(op, is_whole, payload);
            }
            match self.plan.reads {
                ReadPace::Slowly(pause) if sockeye_world::chance(1, 4) => time::sleep(pause).await,
                ReadPace::Until(most) if read >= most => pending().await,
                _ => {}
            }
            match self.transport.read_some(64 << 10).await {
                Ok(bytes) if bytes.is_empty() => return End::Eof,
                Ok(bytes) => {
                    read += bytes.len();
                    buffered.extend(bytes);
                }
                Err(_) => return End::Error,
            }
        }
    }

    /// A frame: a message, or a part of one.
    fn on_frame(&self, op: u8, is_whole: bool, payload: Vec<u8>) {
        let open = self.partial.take();
        match (op, open) {
            (1 | 2, Some(_)) | (0, None) => {
                let what = format!("client {}: a frame of kind {op} in between", self.number);
                self.ledger.problem(what);
            }
            (0, Some(mut before)) => {
                before.extend(payload);
                match is_whole {
                    true => self.on_message(1, &before),
                    false => *self.partial.borrow_mut() = Some(before),
                }
            }
            (1, None) if !is_whole => *self.partial.borrow_mut() = Some(payload),
            (_, open) => {
                self.on_message(op, &payload);
                *self.partial.borrow_mut() = open;
            }
        }
    }

    fn on_message(&self, op: u8, payload: &[u8]) {
        let number = self.number;
        let is_closed = self.ledger.update(number, |a| a.close_read.is_some());
        if is_closed == Some(true) {
            self.ledger.problem(format!(
                "client {number} has read a frame behind the Close frame"
            ));
        }
        trace::note(&[3, number as u64, op.into(), payload.len() as u64], || {
            let text: String = String::from_utf8_lossy(payload).chars().take(20).collect();
            format!("client {number} reads {op} {text:?} ({})", payload.len())
        });
        match op {
            1 => self.on_text(payload),
            8 => {
                let code = payload
                    .first_chunk()
                    .map_or(1005, |b| u16::from_be_bytes(*b));
                let closes = self.ledger.update(number, |record| {
                    record.close_read = Some(code);
                    record.close_sent.is_none()
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
                    self.enqueue(out, Queued::Other);
                }
            }
            9 if self.plan.answers_pings => {
                let mut out = Vec::new();
                frame::write(&mut out, Opcode::Pong, payload, MASK);
                // Nothing may follow the Close frame.
                if self.ledger.update(number, |a| a.close_sent.is_none()) == Some(true) {
                    self.enqueue(out, Queued::Other);
                }
            }
            _ => {}
        }
        self.changed.notify_waiters();
    }

    fn on_text(&self, payload: &[u8]) {
        let text = String::from_utf8_lossy(without_json(payload));
        let mut words = text.split(' ');
        let mut next = || words.next();
        match (next(), next(), next()) {
            (Some("topic"), Some(id), Some(by)) => {
                let (id, by) = (id.parse().unwrap_or(0), by.parse().unwrap_or(0));
                let before = self
                    .ledger
                    .update(self.number, |record| record.topics_read.insert(by, id));
                if before.flatten().is_some_and(|before| before >= id) {
                    self.ledger.problem(format!(
                        "client {}: publication {id} came behind {before:?}",
                        self.number
                    ));
                }
            }
            (Some(client), Some(number), rest) => {
                if rest.is_some_and(|rest| rest.bytes().any(|byte| byte != b'r')) {
                    let what = format!("client {} has read {text:?}", self.number);
                    self.ledger.problem(what);
                }
                let client = client.parse().unwrap_or(usize::MAX);
                let number = number.parse().unwrap_or(u64::MAX);
                self.ledger.reply_read(self.number, client, number);
            }
            _ => {
                let what = format!("client {} has read {text:?}", self.number);
                self.ledger.problem(what);
            }
        }
    }
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

/// Bytes that break the protocol.
fn invalid(kind: u8) -> Vec<u8> {
    let mut out = Vec::new();
    match kind {
        // Not masked.
        0 => frame::write(&mut out, Opcode::Text, b"plain", None),
        1 => frame::write(&mut out, Opcode::Text, b"\xff\xfe", MASK),
        2 => frame::write_fragment(&mut out, Opcode::Continuation, true, b"", MASK),
        3 => frame::write(&mut out, Opcode::Close, b"\x03", MASK),
        BELOW_TLS => out.extend([0xf3, 0x80, 1, 2, 3, 4]),
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
