//! One message inflated, never beyond the bound on messages.

use zlib_rs::{Inflate, InflateFlush, Status};

use super::params::MAX_BITS;
use crate::error::Violation;

/// What the sender has cut off the end: the rest of an empty stored block.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty last block. Where a message is complete the stream ends with it, and only there.
const LAST: [u8; 5] = [1, 0, 0, 0xff, 0xff];

/// The first size of the output, and how much of it stays from message to message.
const FIRST: usize = 4 * 1024;

/// Streams that a message may consist of: one would do, some senders end one with each flush. Each new one costs a window
/// to set up, for as little as two bytes.
const STREAMS: u32 = 1024;

/// The window as far as a message may refer back.
const WINDOW: usize = 1 << MAX_BITS;

pub(crate) struct Inflater {
    inner: Inflate,
    used: bool,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        // The library keeps room for the largest window whatever is asked for.
        Inflater {
            inner: Inflate::new(false, MAX_BITS),
            used: false,
        }
    }

    /// Inflates a message that refers to nothing before it. The length of what lies in `buffer` then.
    pub(crate) fn fresh(
        &mut self,
        payload: &[u8],
        limit: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<usize, Violation> {
        if self.used {
            self.inner.reset(false);
        }
        self.used = true;
        let mut output = Output {
            inner: &mut self.inner,
            buffer,
            len: 0,
            limit,
        };
        if output.message(payload)? {
            return Ok(output.len);
        }
        match output.feed(&LAST)? {
            (Status::StreamEnd, []) => Ok(output.len),
            _ => Err(Violation::InvalidDeflate),
        }
    }

    /// Inflates a message that may refer to those before it.
    pub(crate) fn next(
        &mut self,
        payload: &[u8],
        limit: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<usize, Violation> {
        let mut output = Output {
            inner: &mut self.inner,
            buffer,
            len: 0,
            limit,
        };
        output.message(payload)?;
        Ok(output.len)
    }
}

/// Where the inflated bytes go. All of the buffer is initialised, since the library is to write into it safely.
struct Output<'a> {
    inner: &'a mut Inflate,
    buffer: &'a mut Vec<u8>,
    len: usize,
    limit: usize,
}

impl Output<'_> {
    /// True if the message ended with a last block, and no part of a block after it.
    fn message(&mut self, payload: &[u8]) -> Result<bool, Violation> {
        let mut rest = payload;
        let mut streams = 0;
        loop {
            match self.feed(rest)? {
                (Status::StreamEnd, after) => {
                    streams += 1;
                    if streams > STREAMS {
                        return Err(Violation::InvalidDeflate);
                    }
                    self.restart()?;
                    if after.is_empty() {
                        return Ok(true);
                    }
                    rest = after;
                }
                (_, []) => break,
                _ => return Err(Violation::InvalidDeflate),
            }
        }
        match self.feed(&TAIL)? {
            (Status::StreamEnd, _) | (_, [_, ..]) => Err(Violation::InvalidDeflate),
            _ => Ok(false),
        }
    }

    /// A sender may end the stream within a message and go on with a new one.
    fn restart(&mut self) -> Result<(), Violation> {
        self.inner.reset(false);
        let history = self.buffer.get(self.len.saturating_sub(WINDOW)..self.len);
        match history {
            Some(history) if !history.is_empty() => {
                let set = self.inner.set_dictionary(history);
                set.map(|_| ()).map_err(|_| Violation::InvalidDeflate)
            }
            _ => Ok(()),
        }
    }

    /// Inflates until the input is used up, or the stream ends. Gives what is left of the input.
    fn feed<'i>(&mut self, input: &'i [u8]) -> Result<(Status, &'i [u8]), Violation> {
        let mut rest = input;
        loop {
            if self.len == self.buffer.len() {
                // One byte more than may be tells that there is more.
                let room = self.buffer.len().saturating_mul(2).max(FIRST);
                let room = room.min(self.limit.saturating_add(1));
                self.buffer.resize(room, 0);
            }
            let place = self.buffer.get_mut(self.len..).unwrap_or_default();
            let (taken, given) = (self.inner.total_in(), self.inner.total_out());
            let status = self
                .inner
                .decompress(rest, place, InflateFlush::SyncFlush)
                .map_err(|_| Violation::InvalidDeflate)?;
            let taken = (self.inner.total_in() - taken) as usize;
            let given = (self.inner.total_out() - given) as usize;
            rest = rest.get(taken..).unwrap_or_default();
            self.len += given;
            if self.len > self.limit {
                return Err(Violation::MessageTooBig);
            }
            let idle = taken == 0 && given == 0;
            let done = rest.is_empty() && self.len < self.buffer.len();
            if status == Status::StreamEnd || idle || done {
                return Ok((status, rest));
            }
        }
    }
}
