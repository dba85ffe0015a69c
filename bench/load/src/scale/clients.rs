//! Many clients under one epoll: each on a socket of its own, or as streams of HTTP/2.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll};
use rustls::ClientConfig;

use super::h2;
use super::socket::{Got, Socket};
use crate::frame::{self, Incoming, Template};
use crate::histogram::Histogram;
use crate::payload::Verifier;
use crate::wire::READ_BUFFER;
use crate::{Result, Target, conn, tls};

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Open,
    Closed,
}

struct Client {
    socket: usize,
    state: State,
    /// Messages that it has sent, and those that it has got back.
    sent: u64,
    received: u64,
    /// The next message that is published to it.
    next: u64,
    /// When it began to open, or sent its last message.
    at: Instant,
    /// Bytes that its stream may send.
    window: i64,
    spill: Vec<u8>,
}

/// What messages are now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Nothing,
    /// Each client's own, back.
    Echo,
    /// The same, and each reply is followed by the next message.
    EchoOn,
    Published,
}

pub(crate) struct Clients<'a> {
    pub(crate) target: &'a Target,
    pub(crate) http2: bool,
    config: Option<Arc<ClientConfig>>,
    template: Template,
    verifier: Verifier,
    poll: Poll,
    sockets: Vec<Option<Box<Socket>>>,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    pub(crate) expect: Expect,
    pub(crate) published: u64,
    pub(crate) opening: usize,
    pub(crate) open: usize,
    pub(crate) arrived: u64,
    pub(crate) pings: u64,
    pub(crate) times: Histogram,
    /// How connections have ended that the server ended, and when the last one did.
    pub(crate) codes: BTreeMap<u16, usize>,
    pub(crate) last: Instant,
}

impl<'a> Clients<'a> {
    pub(crate) fn new(target: &'a Target, http2: bool) -> Result<Clients<'a>> {
        Ok(Clients {
            target,
            http2,
            config: if target.tls {
                Some(tls::config()?)
            } else {
                None
            },
            template: Template::new(&target.payload),
            verifier: Verifier::new(&target.payload)?,
            poll: Poll::new()?,
            sockets: Vec::new(),
            clients: Vec::new(),
            buffer: vec![0; READ_BUFFER],
            expect: Expect::Nothing,
            published: 0,
            opening: 0,
            open: 0,
            arrived: 0,
            pings: 0,
            times: Histogram::new(),
            codes: BTreeMap::new(),
            last: Instant::now(),
        })
    }

    /// Begins to open one more client.
    pub(crate) fn launch(&mut self, target: &Target) -> Result<()> {
        let n = self.clients.len();
        let last = self.sockets.len().wrapping_sub(1);
        let shared = match self.sockets.get_mut(last) {
            Some(Some(socket)) if self.http2 && socket.count < h2::STREAMS => {
                socket.count += 1;
                Some(last)
            }
            _ => None,
        };
        let socket = match shared {
            Some(socket) => socket,
            None => {
                let s = self.sockets.len();
                let registry = self.poll.registry();
                let mut socket =
                    Socket::connect(target.addr, self.config.as_ref(), registry, s, n)?;
                if self.http2 {
                    h2::hello(&mut socket.out);
                } else {
                    socket.out.extend(conn::request(target).into_bytes());
                }
                self.sockets.push(Some(Box::new(socket)));
                s
            }
        };
        self.clients.push(Client {
            socket,
            state: State::Opening,
            sent: 0,
            received: 0,
            next: self.published,
            at: Instant::now(),
            window: 0,
            spill: Vec::new(),
        });
        self.opening += 1;
        if shared.is_some()
            && let Some(Some(socket)) = self.sockets.get_mut(socket)
            && socket.is_ready
        {
            self.clients[n].window = socket.initial;
            ask(self.target, socket, n);
            socket.flush();
        }
        Ok(())
    }

    /// All sockets are closed at once, without a Close frame.
    pub(crate) fn gone(&mut self) {
        self.sockets.clear();
        self.clients.clear();
        self.open = 0;
        self.opening = 0;
    }

    /// Those that are open, as numbers for [`Clients::send`].
    pub(crate) fn those_open(&self) -> Vec<usize> {
        let all = 0..self.clients.len();
        all.filter(|n| self.clients[*n].state == State::Open)
            .collect()
    }

    /// A client's next message.
    pub(crate) fn send(&mut self, n: usize) -> Result<()> {
        let client = &mut self.clients[n];
        if let Some(Some(socket)) = self.sockets.get_mut(client.socket) {
            message(self.target, &self.template, self.http2, socket, client, n)?;
            socket.flush();
        }
        Ok(())
    }

    /// Serves what has come within this time.
    pub(crate) fn turn(&mut self, events: &mut Events, wait: Duration) -> Result<()> {
        match self.poll.poll(events, Some(wait)) {
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &*events {
            let s = event.token().0;
            let Some(mut socket) = self.sockets.get_mut(s).and_then(Option::take) else {
                continue;
            };
            let mut buffer = std::mem::take(&mut self.buffer);
            let lives = self.serve(&mut socket, &mut buffer, event.is_readable());
            self.buffer = buffer;
            if lives? {
                self.sockets[s] = Some(socket);
            } else {
                for n in socket.first..socket.first + socket.count {
                    self.ended(n, 1006);
                }
            }
        }
        Ok(())
    }

    /// False when the socket has ended.
    fn serve(&mut self, socket: &mut Socket, buffer: &mut [u8], readable: bool) -> Result<bool> {
        if !socket.flush() {
            return Ok(false);
        }
        if !readable {
            return Ok(true);
        }
        loop {
            match socket.read(buffer) {
                Got::Nothing => break,
                Got::End => return Ok(false),
                Got::Bytes(n) if socket.spill.is_empty() => {
                    let used = self.input(socket, &buffer[..n])?;
                    socket.spill.extend_from_slice(&buffer[used..n]);
                }
                Got::Bytes(n) => {
                    let mut whole = std::mem::take(&mut socket.spill);
                    whole.extend_from_slice(&buffer[..n]);
                    let used = self.input(socket, &whole)?;
                    whole.drain(..used);
                    socket.spill = whole;
                }
            }
        }
        Ok(socket.flush())
    }

    /// How many of these bytes are done with.
    fn input(&mut self, socket: &mut Socket, bytes: &[u8]) -> Result<usize> {
        if self.http2 {
            let mut used = 0;
            while let Some(frame) = h2::next(&bytes[used..])? {
                used += h2::HEAD + frame.body.len();
                self.h2_frame(socket, frame)?;
            }
            return Ok(used);
        }
        let mut used = 0;
        if !socket.is_ready {
            let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
                return Ok(0);
            };
            used = end + 4;
            conn::check(self.target, &bytes[..used])?;
            socket.is_ready = true;
            self.opened(socket.first);
        }
        Ok(used + self.messages(socket, socket.first, &bytes[used..])?)
    }

    fn h2_frame(&mut self, socket: &mut Socket, frame: h2::Frame<'_>) -> Result<()> {
        let n = socket.first + frame.stream.saturating_sub(1) / 2;
        let ours = frame.stream > 0 && n < socket.first + socket.count;
        match frame.kind {
            h2::DATA if ours => {
                let mut whole = std::mem::take(&mut self.clients[n].spill);
                let used = if whole.is_empty() {
                    self.messages(socket, n, frame.body)?
                } else {
                    whole.extend_from_slice(frame.body);
                    self.messages(socket, n, &whole)?
                };
                if whole.is_empty() {
                    whole.extend_from_slice(&frame.body[used..]);
                } else {
                    whole.drain(..used);
                }
                self.clients[n].spill = whole;
                if frame.flags & h2::END_STREAM != 0 {
                    self.ended(n, 1006);
                }
            }
            h2::HEADERS if ours && self.clients[n].state == State::Opening => {
                if !h2::is_accepted(frame.body) {
                    return Err(format!("a stream was refused: {:?}", frame.body).into());
                }
                self.opened(n);
            }
            h2::RST_STREAM if ours => self.ended(n, 1006),
            h2::SETTINGS if frame.flags & h2::ACK == 0 => {
                if let Some(window) = h2::initial_window(frame.body) {
                    socket.initial = window;
                }
                h2::push(h2::SETTINGS, h2::ACK, 0, b"", &mut socket.out);
                if !socket.is_ready {
                    socket.is_ready = true;
                    for n in socket.first..socket.first + socket.count {
                        self.clients[n].window = socket.initial;
                        ask(self.target, socket, n);
                    }
                }
            }
            h2::PING if frame.flags & h2::ACK == 0 => {
                h2::push(h2::PING, h2::ACK, 0, frame.body, &mut socket.out);
            }
            h2::WINDOW_UPDATE if ours => self.clients[n].window += h2::number(frame.body),
            h2::WINDOW_UPDATE => socket.window += h2::number(frame.body),
            h2::SETTINGS | h2::PING | h2::GOAWAY | h2::HEADERS => {}
            kind => return Err(format!("a frame of HTTP/2 that was not expected: {kind}").into()),
        }
        Ok(())
    }

    fn messages(&mut self, socket: &mut Socket, n: usize, bytes: &[u8]) -> Result<usize> {
        let mut used = 0;
        while let Some((incoming, size)) = frame::next(&bytes[used..])? {
            match incoming {
                Incoming::Text(text) => self.text(socket, n, text)?,
                Incoming::Ping(pong) => {
                    self.pings += 1;
                    self.control(socket, n, &pong, 0);
                }
                Incoming::Close(code) => {
                    self.control(socket, n, &frame::close(code), h2::END_STREAM);
                    self.ended(n, code);
                }
                Incoming::Deflated(_) => return Err("compressed unasked".into()),
            }
            used += size;
        }
        Ok(used)
    }

    fn control(&mut self, socket: &mut Socket, n: usize, bytes: &[u8], flags: u8) {
        if self.http2 {
            let stream = 2 * (n - socket.first) + 1;
            h2::head(h2::DATA, flags, stream, bytes.len(), &mut socket.out);
            socket.window -= bytes.len() as i64;
            self.clients[n].window -= bytes.len() as i64;
        }
        socket.out.extend_from_slice(bytes);
    }

    fn text(&mut self, socket: &mut Socket, n: usize, text: &[u8]) -> Result<()> {
        let client = &mut self.clients[n];
        let payload = &self.target.payload;
        match self.expect {
            Expect::Nothing => return Err("a message that nobody has sent".into()),
            Expect::Published => {
                self.verifier.check(text, payload.id(0, client.next))?;
                client.next += 1;
            }
            Expect::Echo | Expect::EchoOn => {
                self.verifier.check(text, payload.id(n, client.received))?;
                client.received += 1;
                self.times.add(client.at.elapsed());
                if self.expect == Expect::EchoOn {
                    message(self.target, &self.template, self.http2, socket, client, n)?;
                }
            }
        }
        self.arrived += 1;
        Ok(())
    }

    fn opened(&mut self, n: usize) {
        let client = &mut self.clients[n];
        client.state = State::Open;
        client.next = self.published;
        self.times.add(client.at.elapsed());
        self.opening -= 1;
        self.open += 1;
    }

    fn ended(&mut self, n: usize, code: u16) {
        match std::mem::replace(&mut self.clients[n].state, State::Closed) {
            State::Opening => self.opening -= 1,
            State::Open => self.open -= 1,
            State::Closed => return,
        }
        *self.codes.entry(code).or_default() += 1;
        self.last = Instant::now();
    }
}

/// The request for a stream.
fn ask(target: &Target, socket: &mut Socket, n: usize) {
    let stream = 2 * (n - socket.first) + 1;
    h2::request(
        stream,
        &target.addr.to_string(),
        &target.path,
        &mut socket.out,
    );
}

/// Each reply comes before the next message, so a server that never opens its windows again is found here.
fn message(
    target: &Target,
    template: &Template,
    http2: bool,
    socket: &mut Socket,
    client: &mut Client,
    n: usize,
) -> Result<()> {
    let id = target.payload.id(n, client.sent);
    client.sent += 1;
    client.at = Instant::now();
    if http2 {
        let len = template.len() as i64;
        if len > socket.window || len > client.window {
            return Err("the server does not open its HTTP/2 window".into());
        }
        socket.window -= len;
        client.window -= len;
        let stream = 2 * (n - socket.first) + 1;
        h2::head(h2::DATA, 0, stream, template.len(), &mut socket.out);
    }
    template.push(id, &mut socket.out);
    Ok(())
}
