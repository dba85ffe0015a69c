//! Large batches of a plain owner: the shard goes on, and the order stays.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use sockeye_engine::active::SetActive;
use sockeye_engine::batch::{Batch, Event};
use sockeye_engine::host::{Delivery, Owner};
use sockeye_engine::offload::INLINE_TEXT;
use sockeye_engine::op::Part;
use sockeye_engine::{Active, Mode};
use sockeye_protocol::frame::Op;

use crate::support::*;

/// An owner that takes as long over a large batch as the test wants, and does not take `!`.
struct Slow {
    mailbox: Mailbox,
    /// Large batches that have begun, and the permission to end.
    began: Receiver<String>,
    end: Sender<()>,
}

struct SlowOwner {
    inner: Arc<dyn Owner>,
    parses: bool,
    began: Mutex<Sender<String>>,
    end: Mutex<Receiver<()>>,
}

impl Owner for SlowOwner {
    fn parses_text(&self) -> bool {
        self.parses
    }

    fn deliver(&self, batch: &Batch) -> Delivery {
        let events = || (0..batch.len()).filter_map(|i| batch.event(i));
        if batch.cost() > INLINE_TEXT / 2 {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or_default().to_owned();
            self.began.lock().unwrap().send(name).unwrap();
            self.end.lock().unwrap().recv_timeout(LONG).unwrap();
        }
        let mut delivery = self.inner.deliver(batch);
        for (conn, event) in events() {
            if matches!(event, Event::Text(text) if text.starts_with(b"!")) {
                delivery.invalid.push((conn, "refused".into()));
            }
        }
        delivery
    }

    fn key(&self) -> u64 {
        self.inner.key()
    }
}

impl Slow {
    fn new(parses: bool) -> Self {
        let mut mailbox = Mailbox::new();
        let (began_sender, began) = channel();
        let (end, end_receiver) = channel();
        mailbox.owner = Arc::new(SlowOwner {
            inner: mailbox.owner.clone(),
            parses,
            began: Mutex::new(began_sender),
            end: Mutex::new(end_receiver),
        });
        Slow {
            mailbox,
            began,
            end,
        }
    }

    /// A large batch is being delivered. The thread.
    fn began(&self) -> String {
        self.began.recv_timeout(LONG).expect("a large batch")
    }

    fn end(&self) {
        self.end.send(()).unwrap();
    }
}

fn world(slow: &Slow, active: Active) -> World {
    let mut config = config(Mode::Owner);
    config.active = active;
    config.limits.max_message_size = 4 * INLINE_TEXT;
    World::new(1, config, Some(&slow.mailbox))
}

fn long(len: usize) -> String {
    "x".repeat(len)
}

/// Returns when the server has read all that the client sent.
fn seen(client: &mut Client) {
    client.send(Op::Ping, b"seen");
    client.expect(Op::Pong, b"seen");
}

/// One with a large message on its way, and what it was.
fn busy(world: &World, slow: &mut Slow) -> (Client, sockeye_engine::ConnId, String) {
    let mut client = world.client();
    let conn = slow.mailbox.opened();
    let large = long(INLINE_TEXT + 1);
    client.text(&large);
    assert_eq!(slow.began(), "sockeye-0-text");
    (client, conn, large)
}

#[test]
fn others_are_served_meanwhile() {
    let mut slow = Slow::new(true);
    let world = world(&slow, Active::True);
    let (_busy, busy, large) = busy(&world, &mut slow);
    // A server with a handler, on the same and only shard.
    let other = World::on(world.engine.clone(), config(Mode::Workers(1)), None);
    let mut puller = other.worker(0);
    let mut client = other.client();
    let conn = puller.opened();
    client.text("small");
    puller.expect(conn, text("small"));
    send(&world.engine, conn, Op::Text, b"reply").unwrap();
    client.expect(Op::Text, b"reply");
    assert!(slow.mailbox.is_empty());
    slow.end();
    slow.mailbox.expect(busy, text(&large));
}

#[test]
fn a_batch_below_at_and_above_the_bound() {
    for (len, parses, thread) in [
        (INLINE_TEXT - 1, true, "sockeye-0"),
        (INLINE_TEXT, true, "sockeye-0"),
        (INLINE_TEXT + 1, true, "sockeye-0-text"),
        (INLINE_TEXT + 1, false, "sockeye-0"),
    ] {
        let mut slow = Slow::new(parses);
        let world = world(&slow, Active::True);
        let mut client = world.client();
        let conn = slow.mailbox.opened();
        let large = long(len);
        client.text(&large);
        assert_eq!(slow.began(), thread, "{len} bytes");
        slow.end();
        slow.mailbox.expect(conn, text(&large));
    }
}

#[test]
fn binaries_are_no_text() {
    let mut slow = Slow::new(true);
    let world = world(&slow, Active::True);
    let mut client = world.client();
    let conn = slow.mailbox.opened();
    let large = long(INLINE_TEXT + 1);
    client.send(Op::Binary, large.as_bytes());
    assert_eq!(slow.began(), "sockeye-0");
    slow.end();
    slow.mailbox.expect(conn, Got::Binary(large.into_bytes()));
}

#[test]
fn the_order_of_an_owner_stays() {
    let mut slow = Slow::new(true);
    let world = world(&slow, Active::True);
    let mut quiet = world.client();
    let second = slow.mailbox.opened();
    let (mut client, first, large) = busy(&world, &mut slow);
    client.text("after");
    client.close(1000);
    assert_eq!(client.closed(), 1000);
    for i in 0..3 {
        quiet.text(&format!("{i}"));
        seen(&mut quiet);
    }
    let mut late = world.client();
    late.text("late");
    seen(&mut late);
    world.settle();
    assert!(slow.mailbox.is_empty());
    slow.end();
    slow.mailbox.expect(first, text(&large));
    let third = slow.mailbox.opened();
    let mut rest: Vec<_> = (0..6).map(|_| slow.mailbox.next()).collect();
    rest.sort_by_key(|(conn, _)| [first, second, third].iter().position(|c| c == conn));
    let expected = [
        (first, text("after")),
        (first, Got::Closed(1000, String::new())),
        (second, text("0")),
        (second, text("1")),
        (second, text("2")),
        (third, text("late")),
    ];
    assert_eq!(rest, expected);
    assert!(!world.engine.is_known(first));
}

#[test]
fn what_arrives_meanwhile_is_bounded_and_complete() {
    const FRAMES: usize = 4000;
    let mut slow = Slow::new(true);
    let world = world(&slow, Active::True);
    let (mut client, conn, large) = busy(&world, &mut slow);
    let mut writer = world.client();
    let writer = std::thread::spawn(move || {
        for _ in 0..FRAMES {
            writer.text(&long(1000));
        }
        writer
    });
    let held = || {
        let conns = world.connections();
        let stats = conns.iter().filter_map(|conn| world.stats(*conn));
        stats.map(|stats| stats.held).sum::<usize>()
    };
    // Of the 16 KiB that may be held, a frame that is cut has a part.
    while held() < 14 * 1024 {
        seen(&mut client);
    }
    // Each of these is a chance to read more.
    for _ in 0..200 {
        seen(&mut client);
        let held = held();
        assert!(held <= 32 * 1024, "{held} bytes are held");
    }
    slow.end();
    slow.mailbox.expect(conn, text(&large));
    // What follows may be large again.
    let end = slow.end.clone();
    let began = slow.began;
    std::thread::spawn(move || {
        while began.recv().is_ok() {
            let _ = end.send(());
        }
    });
    let other = slow.mailbox.opened();
    for _ in 0..FRAMES {
        slow.mailbox.expect(other, text(&long(1000)));
    }
    writer.join().unwrap();
}

#[test]
fn credits_and_the_notice_keep_their_place() {
    let mut slow = Slow::new(true);
    let world = world(&slow, Active::Count(2));
    let (mut client, conn, large) = busy(&world, &mut slow);
    for i in 0..3 {
        client.text(&format!("{i}"));
    }
    seen(&mut client);
    ask(&world.engine, conn, Part::Active(SetActive::Add(1)));
    world.settle();
    assert!(slow.mailbox.is_empty());
    assert_eq!(world.stats(conn).unwrap().active, Active::Count(2));
    slow.end();
    slow.mailbox.expect(conn, text(&large));
    slow.mailbox.expect(conn, text("0"));
    slow.mailbox.expect(conn, text("1"));
    slow.mailbox.expect(conn, Got::Passive);
    world.settle();
    assert!(slow.mailbox.is_empty());
    ask(&world.engine, conn, Part::Active(SetActive::Add(1)));
    slow.mailbox.expect(conn, text("2"));
}

#[test]
fn a_message_refused_late_is_1007_with_nothing_behind_it() {
    let mut slow = Slow::new(true);
    let world = world(&slow, Active::True);
    let mut other = world.client();
    let good = slow.mailbox.opened();
    let mut client = world.client();
    let bad = slow.mailbox.opened();
    client.text(&format!("!{}", long(INLINE_TEXT)));
    slow.began();
    client.text("behind");
    seen(&mut client);
    other.text("mine");
    seen(&mut other);
    slow.end();
    assert_eq!(client.closed(), 1007);
    let (of, event) = slow.mailbox.next();
    assert!(
        of == bad && matches!(event, Got::Text(_)),
        "the owner's own copy"
    );
    let mut rest = [slow.mailbox.next(), slow.mailbox.next()];
    rest.sort_by_key(|(conn, _)| *conn == bad);
    let closed = Got::Closed(1007, "refused".into());
    assert_eq!(rest, [(good, text("mine")), (bad, closed)]);
    assert!(!world.engine.is_known(bad));
}

/// Whoever is refused while it has no credit is not kept, either.
#[test]
fn a_message_refused_at_once_is_1007_with_nothing_behind_it() {
    let mut slow = Slow::new(true);
    let world = world(&slow, Active::Once);
    let mut client = world.client();
    let conn = slow.mailbox.opened();
    let held = world.hold();
    client.write(&[masked(Op::Text, b"!"), masked(Op::Text, b"behind")].concat());
    drop(held);
    assert_eq!(client.closed(), 1007);
    slow.mailbox.expect(conn, text("!"));
    slow.mailbox
        .expect(conn, Got::Closed(1007, "refused".into()));
}

#[test]
fn a_new_owner_waits_for_what_is_the_old_ones() {
    let mut slow = Slow::new(true);
    let world = world(&slow, Active::True);
    let (mut client, conn, large) = busy(&world, &mut slow);
    client.text("held");
    seen(&mut client);
    let mut heir = Mailbox::new();
    // The large batch comes back when the shard has begun with the operations, and not before.
    let hold = world.hold();
    let (begins, begun) = channel();
    let begins = Box::new(move |_| begins.send(()).unwrap());
    world.engine.conn_stats(conn, begins).unwrap();
    world.engine.set_owner(conn, heir.owner.clone()).unwrap();
    drop(hold);
    begun.recv_timeout(LONG).unwrap();
    slow.end();
    heir.expect(conn, text("held"));
    // It was there before.
    assert_eq!(slow.mailbox.batches.try_iter().flatten().count(), 1);
    drop(large);
    client.text("more");
    heir.expect(conn, text("more"));
    world.engine.owner_died(slow.mailbox.owner.key());
    client.text("alive");
    heir.expect(conn, text("alive"));
}

#[test]
fn the_owner_dies_meanwhile() {
    let mut slow = Slow::new(true);
    let world = world(&slow, Active::True);
    let (mut client, conn, _) = busy(&world, &mut slow);
    client.text("held");
    seen(&mut client);
    world.engine.owner_died(slow.mailbox.owner.key());
    assert_eq!(client.closed(), 1011);
    world.settle();
    assert!(!world.engine.is_known(conn));
    let Slow { mailbox, end, .. } = slow;
    drop(mailbox);
    end.send(()).unwrap();
    client.drained();
    world.stop_server();
    world.wait_stopped();
}

#[test]
fn the_owner_turns_out_to_be_dead() {
    let mut slow = Slow::new(true);
    let world = world(&slow, Active::True);
    let (mut client, ..) = busy(&world, &mut slow);
    let Slow { mailbox, end, .. } = slow;
    drop(mailbox);
    end.send(()).unwrap();
    assert_eq!(client.closed(), 1011);
    client.drained();
}

#[test]
fn the_server_stops_meanwhile() {
    let mut slow = Slow::new(true);
    let world = world(&slow, Active::True);
    let (mut client, conn, large) = busy(&world, &mut slow);
    client.text("held");
    seen(&mut client);
    world.stop_server();
    assert_eq!(client.closed(), 1001);
    client.drained();
    world.settle();
    // It has not stopped before its owner has heard of the last end.
    assert!(world.stopped.try_recv().is_err());
    slow.end();
    world.wait_stopped();
    let rest: Vec<_> = slow.mailbox.batches.try_iter().flatten().collect();
    let closed = Got::Closed(1001, "bye".into());
    let expected = [(conn, text(&large)), (conn, text("held")), (conn, closed)];
    assert_eq!(rest, expected);
}

#[test]
fn the_engine_stops_meanwhile() {
    let mut slow = Slow::new(true);
    let world = world(&slow, Active::True);
    let (_client, conn, large) = busy(&world, &mut slow);
    let engine = world.engine.clone();
    let stop = std::thread::spawn(move || engine.stop());
    slow.end();
    assert_eq!(stop.join().unwrap().stuck, 0);
    slow.mailbox.expect(conn, text(&large));
    assert!(matches!(slow.mailbox.next(), (of, Got::Closed(..)) if of == conn));
    assert!(slow.mailbox.is_empty());
}

#[test]
fn the_engine_does_not_wait_for_ever() {
    let mut slow = Slow::new(true);
    let world = world(&slow, Active::True);
    let _busy = busy(&world, &mut slow);
    assert_eq!(world.engine.stop().stuck, 1);
    slow.end();
    assert_eq!(world.engine.stop().stuck, 0);
}
