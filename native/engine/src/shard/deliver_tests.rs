//! One side brings messages, the other takes them at its own pace.

use super::*;
use crate::model::pace::MessageRate;
use crate::vm::batch::EVENT_COST;
use crate::vm::inbox::{Notifier, Visit};

struct Awake;

impl Notifier for Awake {
    fn notify(&self) -> bool {
        true
    }
}

fn conn() -> ConnId {
    ConnId::new(0, 1, 1)
}

fn inbox(limit: usize) -> Arc<Inbox> {
    Inbox::new(limit, 0, Box::new(Awake))
}

/// The delivery side of a connection.
struct Side {
    inbox: Arc<Inbox>,
    receiver: EventReceiver,
    held: Option<Box<Held>>,
    active: Active,
    share: Share,
    pong_due: bool,
    pace: Option<Pace>,
}

impl Side {
    fn new(active: Active) -> Self {
        let inbox = inbox(1 << 30);
        Side {
            receiver: EventReceiver::to(inbox.clone()),
            inbox,
            held: None,
            active,
            share: Share::default(),
            pong_due: false,
            pace: None,
        }
    }

    /// A read, in which this happens; whether it may bring more.
    fn read(&mut self, work: impl FnOnce(&mut Delivery<'_>)) -> bool {
        let Side {
            receiver,
            held,
            active,
            share,
            ..
        } = self;
        let mut delivery = Delivery::new(conn(), receiver, held, active, share)
            .with_control(true, &mut self.pong_due)
            .with_pace(self.pace.as_mut());
        work(&mut delivery);
        let is_full = delivery.is_full();
        delivery.finish();
        !is_full
    }

    fn message(&mut self, len: usize) -> bool {
        let bytes = vec![b'x'; len];
        self.read(|delivery| delivery.message(Kind::Binary, Payload::Borrowed(&bytes)))
    }

    /// The receiver takes so many of what is held.
    fn take(&mut self, count: u16) {
        self.active = Active::Count(count);
        self.read(|delivery| delivery.pump());
        self.active = Active::False;
    }

    /// What has come, by its first byte, or a sign of its kind.
    fn came(&self) -> Vec<u8> {
        let mut all = Vec::new();
        self.inbox.drain(usize::MAX, |_, event, _| {
            match event {
                Event::Binary(bytes) => all.push(bytes[0]),
                Event::Ping(_) => all.push(b'?'),
                Event::Pong(_) => all.push(b'!'),
                _ => {}
            }
            Visit::Next
        });
        all
    }

    /// Events of which memory is kept, and how many of them are not taken.
    fn kept(&self) -> (usize, usize) {
        let held = self.held.as_deref();
        held.map_or((0, 0), |held| {
            (held.batch.len(), held.batch.len() - held.next)
        })
    }
}

#[test]
fn held_messages_free_memory_when_half_are_taken() {
    for (taken, kept) in [(0, 10), (4, 10), (5, 5), (6, 4), (10, 0)] {
        let mut side = Side::new(Active::False);
        for _ in 0..10 {
            side.message(1);
        }
        side.take(taken);
        assert_eq!(side.kept(), (kept, 10 - usize::from(taken)), "{taken}");
    }
    // As long as something is held.
    let mut side = Side::new(Active::False);
    for _ in 0..50 {
        side.message(1);
    }
    for _ in 0..1000 {
        side.take(1);
        side.message(1);
        let (all, held) = side.kept();
        assert!(held == 50 && all <= 101, "{all} for {held}");
    }
    assert_eq!(side.came().len(), 1000);
}

#[test]
fn no_more_is_read_when_so_much_is_held() {
    for (len, more) in [(HOLD - 1, true), (HOLD, false), (HOLD + 1, false)] {
        let mut side = Side::new(Active::False);
        side.message(10);
        let rest = len - 10 - 2 * EVENT_COST;
        assert_eq!(side.message(rest), more, "{len}");
    }
    // What is taken does not count, while its memory is kept.
    let mut side = Side::new(Active::False);
    side.message(HOLD / 2);
    for _ in 0..9 {
        side.message(1);
    }
    assert!(!side.message(HOLD / 2));
    side.take(1);
    assert_eq!(side.kept(), (11, 10));
    assert!(side.read(|_| ()));
}

#[test]
fn others_have_their_turn_when_so_much_has_come_of_it() {
    for (len, more) in [
        (MAX_INFLATED - 1, true),
        (MAX_INFLATED, false),
        (MAX_INFLATED + 1, false),
    ] {
        let mut side = Side::new(Active::True);
        let bytes = vec![b'x'; len - 10];
        let read = side.read(|delivery| {
            delivery.message(Kind::Binary, Payload::Borrowed(&bytes));
            delivery.message(Kind::Binary, Payload::Borrowed(&bytes[..10]));
        });
        assert_eq!(read, more, "{len}");
    }
}

#[test]
fn a_ping_costs_a_credit_and_keeps_its_place() {
    let ping = |delivery: &mut Delivery<'_>| delivery.ping(b"p");
    let mut side = Side::new(Active::False);
    side.read(ping);
    assert_eq!((side.came(), side.kept().1), (vec![], 1));
    side.message(1);
    // There is a credit, and what is held has not been looked at.
    side.active = Active::True;
    side.read(|delivery| delivery.pong(b"p"));
    assert_eq!((side.came(), side.kept().1), (vec![], 3));
    side.read(|delivery| delivery.pump());
    assert_eq!(side.came(), b"?x!");
    side.active = Active::Once;
    side.read(ping);
    side.read(ping);
    assert_eq!((side.came(), side.kept().1), (b"?".to_vec(), 1));
}

#[test]
fn a_pong_to_a_ping_of_ours_is_nobodys_news() {
    let mut side = Side::new(Active::True);
    side.pong_due = true;
    side.read(|delivery| delivery.pong(b"theirs"));
    side.read(|delivery| delivery.pong(b""));
    side.read(|delivery| delivery.pong(b""));
    assert_eq!(side.came(), b"!!");
}

#[test]
fn messages_above_the_rate_are_not_delivered() {
    for close in [true, false] {
        let rate = MessageRate {
            rate: 1,
            burst: 2,
            close,
        };
        let mut side = Side::new(Active::True);
        side.pace = Some(Pace::new(rate));
        for _ in 0..3 {
            side.message(1);
        }
        side.read(|delivery| delivery.ping(b""));
        // It ends the connection, or waits for its time.
        let held = if close { 0 } else { 2 };
        assert_eq!((side.came(), side.kept().1), (b"xx".to_vec(), held));
        let exceeded = side.pace.as_ref().is_some_and(Pace::is_exceeded);
        assert_eq!(exceeded, close);
    }
}

#[test]
fn a_receiver_is_a_user_of_its_inbox_and_knows_its_room() {
    let inbox = inbox(1600);
    let receiver = EventReceiver::to(inbox.clone());
    assert!(inbox.is_in_use());
    assert_eq!(receiver.room(), None);
    let mut filler = inbox.fill();
    let bytes = vec![0; 1000];
    filler.event(|batch| batch.push_message(conn(), false, Payload::Borrowed(&bytes)));
    drop(filler);
    assert_eq!(receiver.room(), Some(100));
    let other = EventReceiver::to(inbox.clone());
    drop(receiver);
    assert!(inbox.is_in_use());
    drop(other);
    assert!(!inbox.is_in_use());
}
