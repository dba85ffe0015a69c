//! A stream of HTTP/2, with the calls of a socket.

use std::io::{self, ErrorKind};
use std::rc::Rc;

use sockeye_world::draw;

use super::connection::Connection;
use super::frames::{DATA, END_STREAM, LARGEST, PADDED, REFUSED, frame};
use super::state::Fields;

/// A stream. Dropped, it ends, or is reset.
pub(in crate::clients) struct Stream {
    connection: Rc<Connection>,
    id: u32,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.forget(self.id);
    }
}

impl Stream {
    pub(super) fn new(connection: Rc<Connection>, id: u32) -> Self {
        Stream { connection, id }
    }

    /// The head of the response.
    pub(in crate::clients) async fn head(&self) -> Option<Fields> {
        loop {
            {
                let state = self.connection.state.borrow();
                let stream_state = state.streams.get(&self.id)?;
                if stream_state.head.is_some() {
                    return stream_state.head.clone();
                }
                let unseen = state.goaway.is_some_and(|last| self.id > last);
                if stream_state.reset.is_some() || state.end.is_some() || unseen {
                    return None;
                }
            }
            self.connection.changed.notified().await;
        }
    }

    /// Whether it may have met a GOAWAY on its way: then nobody knows what became of it.
    pub(in crate::clients) fn raced_goaway(&self) -> bool {
        let state = self.connection.state.borrow();
        let stream_state = state.streams.get(&self.id);
        let waits = stream_state.is_some_and(|stream_state| stream_state.head.is_none());
        waits && state.end.is_some() && state.goaway.is_some()
    }

    /// Whether the server has said that it has not processed it.
    pub(in crate::clients) fn is_unprocessed(&self) -> bool {
        let state = self.connection.state.borrow();
        let stream_state = state.streams.get(&self.id);
        let refused = stream_state.is_some_and(|stream_state| stream_state.reset == Some(REFUSED));
        refused || state.goaway.is_some_and(|last| self.id > last)
    }

    /// What there is, at most so much; nothing at the end.
    pub(in crate::clients) async fn read_some(&self, most: usize) -> io::Result<Vec<u8>> {
        loop {
            {
                let mut state = self.connection.state.borrow_mut();
                let over = state.end.is_some();
                let stream_state = state.streams.get_mut(&self.id);
                let stream_state = stream_state.ok_or(ErrorKind::NotConnected)?;
                if !stream_state.incoming.is_empty() {
                    let len = stream_state.incoming.len().min(most);
                    let bytes = stream_state.incoming.drain(..len).collect();
                    drop(state);
                    self.connection.read_from(self.id, len);
                    return Ok(bytes);
                }
                if stream_state.is_read {
                    return Ok(Vec::new());
                }
                if stream_state.reset.is_some() || over {
                    return Err(ErrorKind::ConnectionReset.into());
                }
            }
            self.connection.changed.notified().await;
        }
    }

    /// Writes all of it, as far as windows let it.
    pub(in crate::clients) async fn write_whole(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.write_some(bytes)?;
            bytes = &bytes[sent..];
            if sent == 0 {
                self.connection.changed.notified().await;
            }
        }
        Ok(())
    }

    fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        if !self.connection.has_room() && !self.connection.is_over() {
            return Ok(0);
        }
        let pads = self.connection.does_something_rare();
        let mut state = self.connection.state.borrow_mut();
        let (window, over) = (state.window, state.end.is_some());
        let stream_state = state.streams.get_mut(&self.id);
        let stream_state = stream_state.ok_or(ErrorKind::NotConnected)?;
        if stream_state.reset.is_some() || over || stream_state.is_ended {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let room = window.min(stream_state.window).clamp(0, LARGEST as i64) as usize;
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
        stream_state.window -= (len + cost) as i64;
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
        self.connection.put(data);
        Ok(len)
    }

    /// Ends it for writing.
    pub(in crate::clients) fn finish_writing(&self) {
        let mut state = self.connection.state.borrow_mut();
        if let Some(stream_state) = state.streams.get_mut(&self.id)
            && !std::mem::replace(&mut stream_state.is_ended, true)
        {
            drop(state);
            self.connection.put(frame(DATA, END_STREAM, self.id, b""));
        }
    }
}
