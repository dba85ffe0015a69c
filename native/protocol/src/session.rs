//! A connection after its handshake.

use std::mem;

use crate::close::{self, ClosedBy};
use crate::config::{Kind, Limits, Role};
use crate::decode::{MAX_HEAD, ReceivedHeader};
use crate::deflate::{Codecs, Params, while_compressed};
use crate::error::Violation;
use crate::frame::{self, Opcode};
use crate::mask;
use crate::opcode::COMPRESSED;
use crate::partial::{Partial, PartialFrame, PartialMessage};
use crate::sink::{Payload, Progress, Sink};
use crate::utf8::is_utf8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionState {
    Open,
    /// The peer says no more, and our last word is owed.
    Ended,
    Closing,
    Finished,
}

/// Where what is received goes, and what that needs.
pub(crate) struct ReceiveContext<'a, S> {
    pub(crate) limits: &'a Limits,
    pub(crate) codecs: &'a mut Codecs,
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) sink: &'a mut S,
    /// Stop behind an inflated message when the sink is full.
    pub(crate) patient: bool,
    pub(crate) stopped: bool,
}

/// The protocol state of one connection. It holds no buffer: 16 bytes while no frame or message is incomplete.
#[derive(Debug)]
pub struct Session {
    pub(crate) partial: Option<Box<Partial>>,
    pub(crate) role: Role,
    pub(crate) state: SessionState,
    pub(crate) deflate: Option<Params>,
}

impl Session {
    /// A session on a transport whose handshake is complete.
    pub fn new(role: Role) -> Self {
        Session::with_deflate(role, None)
    }

    /// The same, where permessage-deflate may have been agreed on.
    pub fn with_deflate(role: Role, deflate: Option<Params>) -> Self {
        Session {
            partial: None,
            role,
            state: SessionState::Open,
            deflate,
        }
    }

    /// What was agreed on for compression.
    pub fn deflate(&self) -> Option<Params> {
        self.deflate
    }

    /// Which end this is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether messages may be sent.
    pub fn is_open(&self) -> bool {
        matches!(self.state, SessionState::Open | SessionState::Ended)
    }

    /// Bytes of memory held for frames and messages that are not complete.
    pub fn buffered(&self) -> usize {
        self.partial
            .as_ref()
            .map_or(0, |partial| partial.footprint())
    }

    /// Bytes that are still to come of a frame, and what has come of a header that is cut.
    pub fn within(&self) -> (u64, &[u8]) {
        let Some(partial) = &self.partial else {
            return (0, &[]);
        };
        let left = partial.frame.as_ref();
        let left = left.map_or(0, |frame| frame.head.len - frame.received);
        (
            left,
            partial.head.get(..partial.head_len).unwrap_or_default(),
        )
    }

    /// Takes bytes that arrived, all of them, in any cut. Complete messages go to `sink`; frames that must be sent in
    /// answer (every pong, the echo of a Close, the Close for a violation) are appended to `out`, which the caller bounds.
    /// Payloads are unmasked where they lie, so `input` is changed.
    ///
    /// Where messages may be compressed, use [`Session::receive_with`]: this makes new contexts for each call that needs
    /// them.
    pub fn receive(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Progress {
        self.receive_with(input, limits, &mut Codecs::default(), out, sink)
    }

    /// The same, with the contexts of this thread to inflate with.
    pub fn receive_with(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        codecs: &mut Codecs,
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Progress {
        self.take(input, limits, codecs, out, sink, false);
        self.answer(out);
        self.progress()
    }

    /// The same, with two differences.
    ///
    /// It stops behind a message that was inflated if [`Sink::is_full`] says so, and gives how many of the last bytes of `input`
    /// it has not looked at: they are the first to hand in next time. What a read brings may become a thousand times larger:
    /// the bound on messages alone would not bound their sum.
    ///
    /// It does not answer what ends the session: see [`Progress::Ended`].
    pub fn receive_some(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        codecs: &mut Codecs,
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> (Progress, usize) {
        let left = self.take(input, limits, codecs, out, sink, true);
        (self.progress(), left)
    }

    fn take(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        codecs: &mut Codecs,
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
        patient: bool,
    ) -> usize {
        let mut context = ReceiveContext {
            limits,
            codecs,
            out,
            sink,
            patient,
            stopped: false,
        };
        self.consume(input, &mut context)
            .unwrap_or_else(|violation| {
                self.end(violation.code(), violation.reason());
                0
            })
    }

    /// Where the session stands.
    pub fn progress(&self) -> Progress {
        match self.state {
            SessionState::Open => Progress::Open,
            SessionState::Ended => Progress::Ended(self.reason()),
            SessionState::Closing => Progress::Closing,
            SessionState::Finished => Progress::Finished(self.reason()),
        }
    }

    /// Gives how many bytes are left.
    fn consume<S: Sink>(
        &mut self,
        input: &mut [u8],
        context: &mut ReceiveContext<'_, S>,
    ) -> Result<usize, Violation> {
        let mut rest = input;
        while matches!(self.state, SessionState::Open | SessionState::Closing) && !context.stopped {
            if let Some(partial) = &mut self.partial
                && let Some(frame) = &partial.frame
            {
                let share = frame.share(rest.len());
                let (piece, after) = mem::take(&mut rest).split_at_mut(share);
                rest = after;
                partial.feed(piece, context.limits.max_message_size)?;
                let Some(head) = partial.completed() else {
                    return Ok(0);
                };
                self.complete(head, context)?;
                continue;
            }
            let Some(head) = self.next_head(&mut rest)? else {
                return Ok(0);
            };
            self.admit(&head, context.limits)?;
            let whole = usize::try_from(head.len)
                .ok()
                .filter(|&len| len <= rest.len());
            let Some(len) = whole else {
                self.begin(head);
                continue;
            };
            let (payload, after) = mem::take(&mut rest).split_at_mut(len);
            rest = after;
            if let Some(key) = head.mask {
                mask::apply(payload, key, 0);
            }
            self.whole(head, payload, context)?;
        }
        Ok(rest.len())
    }

    /// Reads the next header, whose beginning may have come with the read before. `None`: it is cut, and kept.
    fn next_head(&mut self, rest: &mut &mut [u8]) -> Result<Option<ReceivedHeader>, Violation> {
        let kept = self.partial.as_ref().map_or(0, |partial| partial.head_len);
        if kept == 0 {
            if let Some(head) = ReceivedHeader::parse(rest, self.role, self.extensions())? {
                *rest = &mut mem::take(rest)[head.size..];
                return Ok(Some(head));
            }
            if rest.is_empty() {
                return Ok(None);
            }
        }
        let extensions = self.extensions();
        let partial = self.partial.get_or_insert_default();
        let take = rest.len().min(MAX_HEAD - kept);
        let have = kept + take;
        partial.head[kept..have].copy_from_slice(&rest[..take]);
        if let Some(head) = ReceivedHeader::parse(&partial.head[..have], self.role, extensions)? {
            partial.head_len = 0;
            *rest = &mut mem::take(rest)[head.size - kept..];
            // The frame itself may lie here whole, and then nothing else would free the box.
            self.settle();
            return Ok(Some(head));
        }
        partial.head_len = have;
        Ok(None)
    }

    /// Decides from its header alone whether a frame may come.
    #[inline]
    fn admit(&mut self, head: &ReceivedHeader, limits: &Limits) -> Result<(), Violation> {
        if head.op.is_control() || self.state != SessionState::Open {
            return Ok(());
        }
        let message = match &mut self.partial {
            Some(partial) => partial.message.as_mut(),
            None => None,
        };
        let (before, fragments, compressed) = match (message, head.op) {
            (None, Opcode::Continuation) => return Err(Violation::StrayContinuation),
            (Some(message), Opcode::Continuation) => {
                message.fragments += 1;
                (message.data.len(), message.fragments, message.compressed)
            }
            (Some(_), _) => return Err(Violation::InterruptedMessage),
            (None, _) => (0, 1, head.compressed),
        };
        let limits = if compressed {
            &while_compressed(limits)
        } else {
            limits
        };
        if head.len > limits.max_frame_size as u64 {
            return Err(Violation::FrameTooBig);
        }
        // The highest bit of `len` is clear, so the sum does not overflow.
        if before as u64 + head.len > limits.max_message_size as u64 {
            return Err(Violation::MessageTooBig);
        }
        if fragments > limits.max_fragments {
            return Err(Violation::TooManyFragments);
        }
        Ok(())
    }

    /// A frame that lies in the input complete, unmasked already.
    #[inline]
    fn whole<S: Sink>(
        &mut self,
        head: ReceivedHeader,
        payload: &[u8],
        context: &mut ReceiveContext<'_, S>,
    ) -> Result<(), Violation> {
        let kind = match head.op {
            Opcode::Text => Kind::Text,
            Opcode::Binary => Kind::Binary,
            Opcode::Continuation => return self.append(head, None, payload, context),
            Opcode::Close | Opcode::Ping | Opcode::Pong => {
                return self.control(head.op, payload, context);
            }
        };
        if self.state != SessionState::Open {
            return Ok(());
        }
        if !head.fin {
            return self.append(head, Some(kind), payload, context);
        }
        if head.compressed {
            return self.inflate(kind, payload, context);
        }
        if kind == Kind::Text && !is_utf8(payload) {
            return Err(Violation::InvalidUtf8);
        }
        context.sink.message(kind, Payload::Borrowed(payload));
        Ok(())
    }

    /// A complete fragment; the first brings its `kind`.
    fn append<S: Sink>(
        &mut self,
        head: ReceivedHeader,
        kind: Option<Kind>,
        payload: &[u8],
        context: &mut ReceiveContext<'_, S>,
    ) -> Result<(), Violation> {
        if let Some(kind) = kind {
            self.open_message(kind, head.compressed);
        }
        if let Some(partial) = &mut self.partial
            && let Some(message) = &mut partial.message
        {
            let limit = (!head.fin).then_some(context.limits.max_message_size);
            message.push(payload, 0, limit)?;
        }
        self.end_of_data(head, context)
    }

    /// A frame whose payload the end of the input cuts.
    fn begin(&mut self, head: ReceivedHeader) {
        if self.state == SessionState::Open {
            match head.op {
                Opcode::Text => self.open_message(Kind::Text, head.compressed),
                Opcode::Binary => self.open_message(Kind::Binary, head.compressed),
                _ => {}
            }
        }
        self.partial.get_or_insert_default().frame = Some(PartialFrame { head, received: 0 });
    }

    fn open_message(&mut self, kind: Kind, compressed: bool) {
        let message = PartialMessage::new(kind, compressed);
        self.partial.get_or_insert_default().message = Some(message);
    }

    /// The incomplete frame has all its payload.
    fn complete<S: Sink>(
        &mut self,
        head: ReceivedHeader,
        context: &mut ReceiveContext<'_, S>,
    ) -> Result<(), Violation> {
        if !head.op.is_control() {
            return self.end_of_data(head, context);
        }
        let payload = match &mut self.partial {
            Some(partial) => mem::take(&mut partial.control),
            None => Vec::new(),
        };
        self.control(head.op, &payload, context)?;
        self.settle();
        Ok(())
    }

    /// A data frame is complete, and with its last frame the message.
    fn end_of_data<S: Sink>(
        &mut self,
        head: ReceivedHeader,
        context: &mut ReceiveContext<'_, S>,
    ) -> Result<(), Violation> {
        if head.fin
            && let Some(partial) = &mut self.partial
            && let Some(message) = partial.message.take()
        {
            let compressed = message.compressed;
            let (kind, data) = message.finish()?;
            if compressed {
                self.inflate(kind, &data, context)?;
            } else {
                context.sink.message(kind, Payload::Owned(data));
            }
        }
        self.settle();
        Ok(())
    }

    fn control<S: Sink>(
        &mut self,
        op: Opcode,
        payload: &[u8],
        context: &mut ReceiveContext<'_, S>,
    ) -> Result<(), Violation> {
        match (op, self.state) {
            (Opcode::Close, SessionState::Open) => {
                let (code, reason) = close::parse(payload)?;
                self.stop(code, reason, ClosedBy::Peer);
            }
            (Opcode::Close, _) => {
                let (code, reason) = close::parse(payload)?;
                self.finish(code, reason, ClosedBy::Local);
            }
            (Opcode::Ping, SessionState::Open) => {
                frame::write(context.out, Opcode::Pong, payload, self.role.mask());
                context.sink.ping(payload);
            }
            (Opcode::Pong, SessionState::Open) => context.sink.pong(payload),
            _ => {}
        }
        Ok(())
    }

    /// The RSV bits that are in use.
    fn extensions(&self) -> u8 {
        if self.deflate.is_some() {
            COMPRESSED
        } else {
            0
        }
    }

    /// Frees the box when nothing is incomplete.
    pub(crate) fn settle(&mut self) {
        self.partial.take_if(|partial| partial.is_over());
    }
}

const _: () = assert!(size_of::<Session>() <= 16);
