//! Everything after the handshake: any bytes in any cut, in both roles, beside tungstenite.

use std::io::{self, Cursor, Read, Write};

use sockeye_protocol::{ClosedBy, Kind, Limits, Payload, Progress, Role, Session, Sink};
use tungstenite::protocol::{Role as TheirRole, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

use crate::Choices;

/// Room for what a session holds beside the bytes of a message.
const SLACK: usize = 8192;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

#[derive(Default)]
struct Seen(Vec<Event>);

impl Sink for Seen {
    fn message(&mut self, kind: Kind, payload: Payload<'_>) {
        if kind == Kind::Text {
            assert!(str::from_utf8(&payload).is_ok(), "text that is not UTF-8");
        }
        self.0.push(Event::Message(kind, payload.into_vec()));
    }

    fn ping(&mut self, payload: &[u8]) {
        self.0.push(Event::Ping(payload.to_vec()));
    }

    fn pong(&mut self, payload: &[u8]) {
        self.0.push(Event::Pong(payload.to_vec()));
    }
}

struct End {
    session: Session,
    limits: Limits,
    out: Vec<u8>,
    seen: Seen,
}

impl End {
    fn new(role: Role, limits: Limits) -> Self {
        End {
            session: Session::new(role),
            limits,
            out: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn receive(&mut self, bytes: &[u8]) -> Progress {
        let mut input = bytes.to_vec();
        let progress =
            self.session
                .receive(&mut input, &self.limits, &mut self.out, &mut self.seen);
        assert!(
            self.session.buffered() <= self.limits.max_message_size + SLACK,
            "memory"
        );
        progress
    }
}

/// Byte 0: bit 0 the role, bit 1 small limits, bit 2 whether we close in between, bits 3 to 7 and byte 1: the sizes of
/// two cuts. The rest arrives.
pub fn check(data: &[u8]) {
    let mut choices = Choices(data);
    let first = choices.byte();
    let sizes = [usize::from(first >> 3) + 1, usize::from(choices.byte()) + 1];
    let role = if first & 1 == 0 {
        Role::Server
    } else {
        Role::Client
    };
    let small = first & 2 != 0;
    let limits = match small {
        true => Limits::default()
            .max_message_size(300)
            .max_frame_size(200)
            .max_fragments(4),
        false => Limits::default(),
    };
    let bytes = choices.0;
    let mut whole = End::new(role, limits);
    let progress = whole.receive(bytes);
    whole_is_sound(&whole, bytes, role);

    let mut cut = End::new(role, limits);
    feed(&mut cut, bytes, sizes, None);
    assert_eq!(cut.session.progress(), progress, "the cut changes the end");
    assert_eq!(cut.seen.0, whole.seen.0, "the cut changes what is received");
    assert_eq!(cut.out.len(), whole.out.len());

    if first & 4 != 0 {
        let mut closing = End::new(role, limits);
        feed(&mut closing, bytes, sizes, Some(bytes.len() / 2));
        answers_are_sound(&closing.out, role);
        closing.session.eof();
        assert!(matches!(closing.session.progress(), Progress::Finished(_)));
    }
    if !small {
        beside_tungstenite(&whole, bytes, role);
    }
}

/// In cuts of two sizes in turn; when `close_at` bytes are in, this side closes.
fn feed(end: &mut End, bytes: &[u8], sizes: [usize; 2], close_at: Option<usize>) {
    let mut rest = bytes;
    let mut closed = close_at.is_none();
    for size in sizes.iter().cycle() {
        if !closed && Some(bytes.len() - rest.len()) >= close_at {
            end.session.close(1000, "", &mut end.out);
            closed = true;
        }
        if rest.is_empty() {
            return;
        }
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        rest = after;
        let before = end.session.progress();
        end.receive(piece);
        if before == Progress::Closing {
            assert_ne!(end.session.progress(), Progress::Open, "open again");
        }
    }
}

fn whole_is_sound(end: &End, bytes: &[u8], role: Role) {
    // Three bytes out for each byte in: a masked pong for a ping without a mask. And one Close.
    assert!(end.out.len() <= 3 * bytes.len() + 131, "amplification");
    if let Progress::Finished(reason) = end.session.progress() {
        assert!(reason.reason.len() <= 123);
        assert!(matches!(reason.by, ClosedBy::Peer | ClosedBy::Violation));
        let allowed = match reason.by {
            ClosedBy::Violation => [1002, 1007, 1008, 1009].contains(&reason.code),
            _ => reason.code == 1005 || sockeye_protocol::close::is_sendable(reason.code),
        };
        assert!(allowed, "code {}", reason.code);
    }
    answers_are_sound(&end.out, role);
}

/// What a session says, its peer must understand.
fn answers_are_sound(out: &[u8], role: Role) {
    let other = match role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    };
    let mut peer = End::new(other, Limits::default());
    if let Progress::Finished(reason) = peer.receive(out) {
        assert_eq!(
            reason.by,
            ClosedBy::Peer,
            "we broke the protocol: {reason:?}"
        );
    }
    assert!(
        peer.seen
            .0
            .iter()
            .all(|event| matches!(event, Event::Pong(_)))
    );
}

/// Reads from memory, forgets what is written.
struct Wire<'a>(Cursor<&'a [u8]>);

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What we take, it takes as well. We refuse more: lengths that are not minimal, too many fragments, bad text as soon as
/// it is seen.
fn beside_tungstenite(ours: &End, bytes: &[u8], role: Role) {
    let role = match role {
        Role::Server => TheirRole::Server,
        Role::Client => TheirRole::Client,
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(1 << 20))
        .max_frame_size(Some(1 << 20));
    let mut theirs = WebSocket::from_raw_socket(Wire(Cursor::new(bytes)), role, Some(config));
    let mut expected = ours.seen.0.iter();
    let (end, closed) = loop {
        let event = match theirs.read() {
            Ok(Message::Text(text)) => Event::Message(Kind::Text, text.as_bytes().to_vec()),
            Ok(Message::Binary(bytes)) => Event::Message(Kind::Binary, bytes.to_vec()),
            Ok(Message::Ping(payload)) => Event::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Event::Pong(payload.to_vec()),
            Ok(Message::Close(frame)) => break (None, Some(frame)),
            Ok(Message::Frame(_)) => continue,
            Err(error) => break (Some(error), None),
        };
        match expected.next() {
            Some(want) => assert_eq!(*want, event, "tungstenite read something else"),
            None => {
                let by_violation = matches!(
                    ours.session.progress(),
                    Progress::Finished(reason) if reason.by == ClosedBy::Violation
                );
                assert!(by_violation, "we lost {event:?}");
                return;
            }
        }
    };
    assert_eq!(expected.next(), None, "tungstenite refused it: {end:?}");
    match ours.session.progress() {
        Progress::Open => {
            let cut = matches!(&end, Some(Error::Protocol(_) | Error::Io(_)) | None);
            assert!(
                cut && closed.is_none(),
                "tungstenite ended it: {end:?} {closed:?}"
            );
        }
        Progress::Closing | Progress::Ended(_) => panic!("nobody closed"),
        Progress::Finished(_) => {}
    }
}
