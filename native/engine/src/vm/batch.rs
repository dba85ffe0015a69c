//! Events on their way to a receiver: small payloads side by side in one arena.

use sockeye_protocol::Payload;
use sockeye_protocol::deflate::Params;
use sockeye_protocol::handshake::Request;

use crate::model::id::ConnId;
use crate::net::peer::PeerInfo;
use crate::vm::question::AcceptState;

/// Payloads from this size on keep the buffer they arrived in.
const OWN_BUFFER: usize = 16 * 1024;

/// What an event costs against a bound, besides its payload: a frame of no bytes is not free.
pub const EVENT_COST: usize = 64;

/// What an accepted handshake told.
#[derive(Debug)]
pub struct OpenInfo {
    /// Both ends, and the way between them.
    pub peer_info: PeerInfo,
    /// The request line and headers.
    pub request: Request,
    /// The subprotocol that was agreed on.
    pub subprotocol: Option<Box<str>>,
    /// What was agreed on for compression.
    pub deflate: Option<Params>,
    /// What was decided to go to its receiver.
    pub accept_state: Option<AcceptState>,
    /// What an operator is to know the connection by.
    pub user_data: Option<Box<str>>,
    /// The inbox that was asked for a process; 0 for none.
    pub(crate) acceptor: u64,
}

impl OpenInfo {
    /// What every handshake tells; nothing else was agreed on or decided.
    pub(crate) fn new(peer_info: PeerInfo, request: Request) -> Self {
        OpenInfo {
            peer_info,
            request,
            subprotocol: None,
            deflate: None,
            accept_state: None,
            user_data: None,
            acceptor: 0,
        }
    }

    /// About the bytes that it holds on to.
    fn size(&self) -> usize {
        let headers = self.request.headers().iter();
        let headers: usize = headers.map(|(name, value)| name.len() + value.len()).sum();
        size_of::<Self>() + self.request.target().len() + headers
    }
}

/// How a connection ended, and whose it was: when its receiver hears of it, nobody else knows any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseInfo {
    /// The close code.
    pub code: u16,
    /// The reason beside it.
    pub reason: Box<str>,
    /// The other end and the path that was asked for, in one piece: only a report of the end reads them.
    pub who: Box<[u8]>,
}

/// An event, as a receiver reads it out of a [`Batch`].
#[derive(Debug)]
pub enum Event<'a> {
    /// The handshake is done.
    Open(&'a OpenInfo),
    /// A text message. It is valid UTF-8.
    Text(&'a [u8]),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping, which is answered already; where the server wants to see them.
    Ping(&'a [u8]),
    /// A pong, likewise.
    Pong(&'a [u8]),
    /// The credits have run out.
    Passive,
    /// Nothing more comes but the end. Who has answered what came before says so: [`crate::Engine::answered`].
    Ending,
    /// The connection is gone. Always the last event of a connection.
    Closed(&'a CloseInfo),
}

#[derive(Debug)]
enum ExtraEvent {
    Open(Box<OpenInfo>),
    Payload(Vec<u8>),
    Closed(Box<CloseInfo>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventTag {
    Text,
    Binary,
    BigText,
    BigBinary,
    Ping,
    Pong,
    Passive,
    Ending,
    Open,
    Closed,
}

#[derive(Clone, Copy, Debug)]
struct EventEntry {
    conn: ConnId,
    /// In the arena, or the number of an extra.
    start: u32,
    len: u32,
    tag: EventTag,
}

impl EventEntry {
    /// Whether the payload has a buffer of its own.
    fn is_big(&self) -> bool {
        matches!(self.tag, EventTag::BigText | EventTag::BigBinary)
    }
}

/// A queue of events.
#[derive(Debug, Default)]
pub struct Batch {
    arena: Vec<u8>,
    entries: Vec<EventEntry>,
    extras: Vec<ExtraEvent>,
    cost: usize,
}

impl Batch {
    /// Number of events.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no event.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of all payloads and requests, and [`EVENT_COST`] an event.
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Heap bytes that this batch holds on to.
    pub fn capacity(&self) -> usize {
        self.arena.capacity() + self.entries.capacity() * size_of::<EventEntry>()
    }

    fn entry(&mut self, conn: ConnId, tag: EventTag, start: usize, len: usize) {
        self.cost += EVENT_COST + len;
        self.entries.push(EventEntry {
            conn,
            start: start as u32,
            len: len as u32,
            tag,
        });
    }

    fn extra(&mut self, conn: ConnId, tag: EventTag, extra: ExtraEvent, len: usize) {
        let index = self.extras.len();
        self.extras.push(extra);
        self.entry(conn, tag, index, len);
    }

    pub(crate) fn push_message(&mut self, conn: ConnId, text: bool, payload: Payload<'_>) {
        // Offsets are 32 bits: what lies beyond has a buffer of its own.
        let arena_full = self.arena.len() > (1 << 30);
        match payload {
            Payload::Owned(v) if v.len() >= OWN_BUFFER => {
                let len = v.len();
                let tag = if text {
                    EventTag::BigText
                } else {
                    EventTag::BigBinary
                };
                self.extra(conn, tag, ExtraEvent::Payload(v), len);
            }
            Payload::Borrowed(s) if s.len() >= OWN_BUFFER || arena_full => {
                self.push_big(conn, text, s);
            }
            Payload::Owned(v) if arena_full => self.push_big(conn, text, &v),
            Payload::Borrowed(s) => self.push_small(conn, text, s),
            Payload::Owned(v) => self.push_small(conn, text, &v),
        }
    }

    fn push_big(&mut self, conn: ConnId, text: bool, payload: &[u8]) {
        let tag = if text {
            EventTag::BigText
        } else {
            EventTag::BigBinary
        };
        self.extra(
            conn,
            tag,
            ExtraEvent::Payload(payload.to_vec()),
            payload.len(),
        );
    }

    fn push_small(&mut self, conn: ConnId, text: bool, payload: &[u8]) {
        let tag = if text {
            EventTag::Text
        } else {
            EventTag::Binary
        };
        self.push_bytes(conn, tag, payload);
    }

    fn push_bytes(&mut self, conn: ConnId, tag: EventTag, payload: &[u8]) {
        let start = self.arena.len();
        self.arena.extend_from_slice(payload);
        self.entry(conn, tag, start, payload.len());
    }

    pub(crate) fn push_control(&mut self, conn: ConnId, pong: bool, payload: &[u8]) {
        let tag = if pong { EventTag::Pong } else { EventTag::Ping };
        self.push_bytes(conn, tag, payload);
    }

    pub(crate) fn push_open(&mut self, conn: ConnId, info: Box<OpenInfo>) {
        let len = info.size();
        self.extra(conn, EventTag::Open, ExtraEvent::Open(info), len);
    }

    pub(crate) fn push_closed(&mut self, conn: ConnId, ended: CloseInfo) {
        self.extra(
            conn,
            EventTag::Closed,
            ExtraEvent::Closed(Box::new(ended)),
            0,
        );
    }

    pub(crate) fn push_passive(&mut self, conn: ConnId) {
        self.entry(conn, EventTag::Passive, 0, 0);
    }

    pub(crate) fn push_ending(&mut self, conn: ConnId) {
        self.entry(conn, EventTag::Ending, 0, 0);
    }

    /// The event at this place and the connection it belongs to.
    #[inline]
    pub fn event(&self, index: usize) -> Option<(ConnId, Event<'_>)> {
        let entry = self.entries.get(index)?;
        let (start, len) = (entry.start as usize, entry.len as usize);
        let small = || self.arena.get(start..start + len);
        let event = match entry.tag {
            EventTag::Text => Event::Text(small()?),
            EventTag::Binary => Event::Binary(small()?),
            EventTag::Ping => Event::Ping(small()?),
            EventTag::Pong => Event::Pong(small()?),
            EventTag::Passive => Event::Passive,
            EventTag::Ending => Event::Ending,
            EventTag::BigText | EventTag::BigBinary | EventTag::Open | EventTag::Closed => {
                match self.extras.get(start)? {
                    ExtraEvent::Payload(v) if entry.tag == EventTag::BigText => Event::Text(v),
                    ExtraEvent::Payload(v) => Event::Binary(v),
                    ExtraEvent::Open(info) => Event::Open(info),
                    ExtraEvent::Closed(ended) => Event::Closed(ended),
                }
            }
        };
        Some((entry.conn, event))
    }

    /// The bytes of the event at this place: a payload, or what a new connection tells.
    #[inline]
    pub fn payload_len(&self, index: usize) -> usize {
        let Some(entry) = self.entries.get(index) else {
            return 0;
        };
        match self.extras.get(entry.start as usize) {
            // Longer, maybe, than 32 bits can tell.
            Some(ExtraEvent::Payload(v)) if entry.is_big() => v.len(),
            _ => entry.len as usize,
        }
    }

    /// Gives the large payload at this place back to the allocator once it has been read.
    pub fn discard(&mut self, index: usize) {
        let Some(entry) = self.entries.get(index) else {
            return;
        };
        if entry.is_big()
            && let Some(ExtraEvent::Payload(v)) = self.extras.get_mut(entry.start as usize)
        {
            *v = Vec::new();
        }
    }

    /// Moves the event at this place to the end of another batch.
    pub(crate) fn move_to(&mut self, index: usize, to: &mut Batch) {
        let Some(entry) = self.entries.get(index).copied() else {
            return;
        };
        let start = entry.start as usize;
        let len = self.payload_len(index);
        match entry.tag {
            EventTag::Text | EventTag::Binary | EventTag::Ping | EventTag::Pong => {
                if let Some(s) = self.arena.get(start..start + entry.len as usize) {
                    to.push_bytes(entry.conn, entry.tag, s);
                }
            }
            EventTag::Passive => to.push_passive(entry.conn),
            EventTag::Ending => to.push_ending(entry.conn),
            EventTag::BigText | EventTag::BigBinary | EventTag::Open | EventTag::Closed => {
                if let Some(extra) = self.extras.get_mut(start) {
                    let extra = std::mem::replace(extra, ExtraEvent::Payload(Vec::new()));
                    to.extra(entry.conn, entry.tag, extra, len);
                }
            }
        }
    }

    /// Whether the event at this place is a message, or a ping or pong, which need a credit.
    pub(crate) fn is_message(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|e| match e.tag {
            EventTag::Text
            | EventTag::Binary
            | EventTag::BigText
            | EventTag::BigBinary
            | EventTag::Ping
            | EventTag::Pong => true,
            EventTag::Passive | EventTag::Ending | EventTag::Open | EventTag::Closed => false,
        })
    }

    /// Forgets all events; memory beyond `keep` bytes goes back to the allocator.
    pub fn clear(&mut self, keep: usize) {
        self.arena.clear();
        self.entries.clear();
        self.extras.clear();
        self.cost = 0;
        if self.capacity() > keep {
            *self = Batch::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use sockeye_protocol::handshake::HeadLimits;

    use super::*;
    use crate::net::peer::Peer;

    fn id(slot: u32) -> ConnId {
        ConnId::new(0, slot, 1)
    }

    fn ended(code: u16) -> CloseInfo {
        CloseInfo {
            code,
            reason: "bye".into(),
            who: [4, 1, 2, 3, 4, 0, 5, b'/'].into(),
        }
    }

    #[test]
    fn events_come_out_as_they_went_in() {
        let mut batch = Batch::default();
        batch.push_message(id(1), true, Payload::Borrowed(b"one"));
        batch.push_message(id(2), false, Payload::Owned(vec![7; OWN_BUFFER]));
        batch.push_passive(id(2));
        batch.push_closed(id(1), ended(1000));
        assert_eq!(batch.len(), 4);
        assert_eq!(batch.cost(), 4 * EVENT_COST + 3 + OWN_BUFFER);
        assert!(matches!(batch.event(0), Some((c, Event::Text(b"one"))) if c == id(1)));
        assert!(matches!(batch.event(1), Some((_, Event::Binary(v))) if v.len() == OWN_BUFFER));
        assert!(matches!(batch.event(2), Some((_, Event::Passive))));
        assert!(matches!(batch.event(3), Some((_, Event::Closed(e))) if *e == ended(1000)));
        assert!(batch.event(4).is_none());
        batch.clear(0);
        assert!(batch.is_empty());
        assert_eq!(batch.capacity(), 0);
    }

    #[test]
    fn large_parts_keep_their_buffer() {
        for (len, is_large) in [
            (OWN_BUFFER - 1, false),
            (OWN_BUFFER, true),
            (OWN_BUFFER + 1, true),
        ] {
            let mut batch = Batch::default();
            let bytes = vec![7; len];
            let place = bytes.as_ptr();
            batch.push_message(id(1), true, Payload::Owned(bytes));
            let Some((_, Event::Text(found))) = batch.event(0) else {
                unreachable!("a text");
            };
            assert_eq!(found.as_ptr() == place, is_large, "{len}");
            let mut batch = Batch::default();
            batch.push_message(id(1), true, Payload::Borrowed(&vec![7; len]));
            assert_eq!(batch.arena.is_empty(), is_large, "{len}");
            assert!(matches!(batch.event(0), Some((_, Event::Text(v))) if v.len() == len));
        }
        // What is small lies side by side.
        let mut batch = Batch::default();
        batch.push_message(id(1), true, Payload::Borrowed(b"one"));
        batch.push_message(id(1), true, Payload::Owned(b"two".to_vec()));
        assert_eq!(batch.arena, b"onetwo");
    }

    #[test]
    fn a_large_payload_that_is_read_leaves_no_memory_and_no_other_event() {
        let mut batch = Batch::default();
        batch.push_message(id(1), true, Payload::Borrowed(b"one"));
        batch.push_message(id(1), false, Payload::Owned(vec![7; OWN_BUFFER]));
        let lens = |batch: &Batch| [0, 1, 2].map(|index| batch.payload_len(index));
        assert_eq!(lens(&batch), [3, OWN_BUFFER, 0]);
        batch.discard(0);
        batch.discard(2);
        assert_eq!(lens(&batch), [3, OWN_BUFFER, 0]);
        assert!(matches!(batch.event(0), Some((_, Event::Text(b"one")))));
        batch.discard(1);
        assert_eq!(lens(&batch), [3, 0, 0]);
    }

    #[test]
    fn memory_within_what_may_be_kept_stays() {
        for over in [0, 1] {
            let mut batch = Batch::default();
            for _ in 0..10 {
                batch.push_message(id(1), true, Payload::Borrowed(&[b'x'; 100]));
            }
            let has = batch.capacity();
            let least = 1000 + 10 * size_of::<EventEntry>();
            assert!((least..4 * least).contains(&has), "{has} for {least}");
            batch.clear(has - over);
            assert_eq!(batch.capacity(), if over == 0 { has } else { 0 });
            assert_eq!((batch.len(), batch.cost()), (0, 0));
        }
    }

    #[test]
    fn an_opened_connection_costs_what_its_request_holds() {
        let cost = |head: &str| {
            let parsed = Request::parse(head.as_bytes(), &HeadLimits::default());
            let (request, _) = parsed.unwrap().unwrap();
            let peer = Peer::Unix([].into());
            let info = OpenInfo::new(PeerInfo::new(peer.clone(), peer), request);
            let mut batch = Batch::default();
            batch.push_open(id(1), Box::new(info));
            batch.cost() - EVENT_COST - size_of::<OpenInfo>()
        };
        let bytes = "/12345".len() + "host".len() + "abc".len() + "more".len() + "1234567".len();
        let head = "GET /12345 HTTP/1.1\r\nHost: abc\r\nMore: 1234567\r\n\r\n";
        assert_eq!(cost(head), bytes);
    }

    #[test]
    fn events_move_to_another_batch() {
        let mut from = Batch::default();
        from.push_message(id(1), true, Payload::Borrowed(b"one"));
        from.push_message(id(1), false, Payload::Borrowed(&[7; OWN_BUFFER]));
        from.push_closed(id(1), ended(1001));
        let mut to = Batch::default();
        for i in 0..3 {
            assert_eq!(from.is_message(i), i < 2);
            from.move_to(i, &mut to);
        }
        assert_eq!(to.cost(), from.cost());
        assert!(matches!(to.event(0), Some((_, Event::Text(b"one")))));
        assert!(matches!(to.event(1), Some((_, Event::Binary(v))) if v.len() == OWN_BUFFER));
        assert!(matches!(to.event(2), Some((_, Event::Closed(e))) if *e == ended(1001)));
    }
}
