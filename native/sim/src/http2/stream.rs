//! A stream of HTTP/2, with the calls of a socket.

use std::io::{self, ErrorKind};
use std::rc::Rc;

use sockeye_world::draw;

use super::carrier::Carrier;
use super::frames::{DATA, END_STREAM, LARGEST, PADDED, REFUSED, frame};
use super::state::Fields;

/// A stream. Dropped, it ends, or is reset.
pub(crate) struct Stream {
    carrier: Rc<Carrier>,
    id: u32,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.carrier.forget(self.id);
    }
}

impl Stream {
    pub(super) fn new(carrier: Rc<Carrier>, id: u32) -> Self {
        Stream { carrier, id }
    }

    /// The head of the answer.
    pub(crate) async fn head(&self) -> Option<Fields> {
        loop {
            {
                let state = self.carrier.state.borrow();
                let half = state.streams.get(&self.id)?;
                if half.head.is_some() {
                    return half.head.clone();
                }
                let unseen = state.last.is_some_and(|last| self.id > last);
                if half.reset.is_some() || state.over.is_some() || unseen {
                    return None;
                }
            }
            self.carrier.news.notified().await;
        }
    }

    /// Whether it was said to a server that went away, of which was heard too late: nobody knows what has become of it.
    pub(crate) fn has_crossed(&self) -> bool {
        let state = self.carrier.state.borrow();
        let half = state.streams.get(&self.id);
        let waits = half.is_some_and(|half| half.head.is_none());
        waits && state.over.is_some() && state.last.is_some()
    }

    /// Whether the server has said that it has not looked at it.
    pub(crate) fn was_not_seen(&self) -> bool {
        let state = self.carrier.state.borrow();
        let half = state.streams.get(&self.id);
        let refused = half.is_some_and(|half| half.reset == Some(REFUSED));
        refused || state.last.is_some_and(|last| self.id > last)
    }

    /// What there is, at most so much; nothing at the end.
    pub(crate) async fn read_some(&self, most: usize) -> io::Result<Vec<u8>> {
        loop {
            {
                let mut state = self.carrier.state.borrow_mut();
                let over = state.over.is_some();
                let half = state.streams.get_mut(&self.id);
                let half = half.ok_or(ErrorKind::NotConnected)?;
                if !half.incoming.is_empty() {
                    let len = half.incoming.len().min(most);
                    let bytes = half.incoming.drain(..len).collect();
                    drop(state);
                    self.carrier.took(self.id, len);
                    return Ok(bytes);
                }
                if half.eof {
                    return Ok(Vec::new());
                }
                if half.reset.is_some() || over {
                    return Err(ErrorKind::ConnectionReset.into());
                }
            }
            self.carrier.news.notified().await;
        }
    }

    /// Writes all of it, as far as windows let it.
    pub(crate) async fn write_whole(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.write_some(bytes)?;
            bytes = &bytes[sent..];
            if sent == 0 {
                self.carrier.news.notified().await;
            }
        }
        Ok(())
    }

    fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        if !self.carrier.has_room() && !self.carrier.is_over() {
            return Ok(0);
        }
        let pads = self.carrier.is_odd();
        let mut state = self.carrier.state.borrow_mut();
        let (window, over) = (state.window, state.over.is_some());
        let half = state.streams.get_mut(&self.id);
        let half = half.ok_or(ErrorKind::NotConnected)?;
        if half.reset.is_some() || over || half.ended {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let room = window.min(half.window).clamp(0, LARGEST as i64) as usize;
        let padding = if pads && room > 300 {
            draw(200) as usize
        } else {
            0
        };
        let cost = if padding > 0 { padding + 1 } else { 0 };
        let len = (room - cost).min(bytes.len());
        if len == 0 {
            return Ok(0);
        }
        half.window -= (len + cost) as i64;
        state.window -= (len + cost) as i64;
        drop(state);
        let data = match padding {
            0 => frame(DATA, 0, self.id, &bytes[..len]),
            padding => {
                let mut payload = vec![padding as u8];
                payload.extend_from_slice(&bytes[..len]);
                payload.resize(payload.len() + padding, 0);
                frame(DATA, PADDED, self.id, &payload)
            }
        };
        self.carrier.put(data);
        Ok(len)
    }

    /// Says that nothing more is written.
    pub(crate) fn finish_writing(&self) {
        let mut state = self.carrier.state.borrow_mut();
        if let Some(half) = state.streams.get_mut(&self.id)
            && !std::mem::replace(&mut half.ended, true)
        {
            drop(state);
            self.carrier.put(frame(DATA, END_STREAM, self.id, b""));
        }
    }
}
