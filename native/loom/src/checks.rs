//! What must hold in every order in which the threads can run. A thread that waits for ever is a failure as well.

mod delivery;
mod link;
mod questions;
mod receiver;
mod slots;
mod stop;
mod stream;
mod tasks;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize as Plain, Ordering as PlainOrdering};

use loom::sync::Notify;
use loom::thread;

use crate::engine::Engine;
use crate::model::backlog::Signal;
use crate::model::counters::ServerStats;
use crate::model::id::ConnId;
use crate::model::pieces::{Piece, Undo};
use crate::server::Server;
use crate::settings::config::{Mode, ServerConfig};
use crate::shard::handle::{Handle, ShardParts};
use crate::shard::op::{Control, Op};
use crate::vm::batch::EVENT_COST;
use crate::vm::host::{Notice, ServerHost};
use crate::vm::inbox::{Inbox, Left, Notifier, Pushed, Share, Visit};
use crate::world::sync::{block_on, set_fences_behind};

/// A check, by its name.
#[derive(Clone, Copy)]
pub struct Check {
    pub name: &'static str,
    run: fn(),
    /// More preemptions would take hours.
    most: usize,
}

/// All of them.
pub const CHECKS: &[Check] = &[
    check("operations_wake_a_shard", operations_wake_a_shard),
    check("controls_wake_a_shard", controls_wake_a_shard),
    check(
        "writes_before_a_wake_up_are_seen",
        writes_before_a_wake_up_are_seen,
    ),
    check(
        "a_stale_id_reserves_nothing",
        slots::a_stale_id_reserves_nothing,
    ),
    check(
        "a_stale_id_charges_nothing",
        slots::a_stale_id_charges_nothing,
    ),
    check(
        "a_stale_id_names_no_other_server",
        slots::a_stale_id_names_no_other_server,
    ),
    check("a_queue_keeps_its_bound", slots::a_queue_keeps_its_bound),
    check("one_closes", slots::one_closes),
    check("each_event_is_told", each_event_is_told),
    check(
        "a_shard_that_waits_for_room_continues",
        a_shard_that_waits_for_room_continues,
    ),
    check(
        "a_shard_that_waits_for_a_mark_continues",
        a_shard_that_waits_for_a_mark_continues,
    ),
    check("a_dead_inbox_is_empty", a_dead_inbox_is_empty),
    check("a_watcher_is_told_or_refused", a_watcher_is_told_or_refused),
    check("no_piece_is_left_behind", no_piece_is_left_behind),
    check("no_more_than_may_come_in", no_more_than_may_come_in),
    check(
        "the_end_is_told_once_and_last",
        the_end_is_told_once_and_last,
    ),
    check(
        "a_listener_ends_with_its_drain",
        a_listener_ends_with_its_drain,
    ),
    check("a_question_has_one_end", questions::a_question_has_one_end),
    check(
        "a_topic_that_is_entered_is_found",
        questions::a_topic_that_is_entered_is_found,
    ),
    check("an_owner_is_brought_all", delivery::an_owner_is_brought_all),
    check(
        "a_large_event_keeps_nobody",
        delivery::a_large_event_keeps_nobody,
    ),
    check(
        "the_next_delivery_process_finds_the_rest",
        delivery::the_next_delivery_process_finds_the_rest,
    ),
    check("sections_are_written", link::sections_are_written),
    check(
        "a_stalled_receiver_continues",
        link::a_stalled_receiver_continues,
    ),
    check(
        "a_grant_ends_with_its_connection",
        link::a_grant_ends_with_its_connection,
    ),
    check("each_batch_is_sent", receiver::each_batch_is_sent),
    check("a_batch_waits_for_room", receiver::a_batch_waits_for_room),
    check("rest_is_reported_once", receiver::rest_is_reported_once),
    check("all_pieces_are_read", stream::all_pieces_are_read),
    check(
        "the_writer_is_told_of_the_end_once",
        stream::the_writer_is_told_of_the_end_once,
    ),
    check(
        "a_forgotten_answer_is_broken_off",
        stream::a_forgotten_answer_is_broken_off,
    ),
    check(
        "a_member_misses_no_wake_up",
        tasks::a_member_misses_no_wake_up,
    ),
    check(
        "who_follows_in_a_place_is_woken",
        tasks::who_follows_in_a_place_is_woken,
    ),
    check(
        "all_who_wait_hear_of_a_stop",
        stop::all_who_wait_hear_of_a_stop,
    ),
    long("no_server_outlives_a_stop", stop::no_server_outlives_a_stop),
    check("a_second_stop_waits_too", stop::a_second_stop_waits_too),
];

const fn check(name: &'static str, run: fn()) -> Check {
    let most = 4;
    Check { name, run, most }
}

const fn long(name: &'static str, run: fn()) -> Check {
    let most = 2;
    Check { name, run, most }
}

impl Check {
    /// Tries all orders with so many preemptions at most; how many there were.
    pub fn explore(&self, preemptions: usize) -> usize {
        let count = Arc::new(Plain::new(0));
        for behind in [false, true] {
            set_fences_behind(behind);
            let counted = count.clone();
            let run = self.run;
            let mut model = loom::model::Builder::new();
            model.preemption_bound = Some(preemptions.min(self.most));
            model.check(move || {
                counted.fetch_add(1, PlainOrdering::SeqCst);
                run();
            });
        }
        count.load(PlainOrdering::SeqCst)
    }
}

// ---------------------------------------------------------------- operations and wake-ups

/// A shard's thread, until it has taken so many of what others bring.
fn shard(parts: &ShardParts, wanted: usize) {
    let mut taken = 0;
    loop {
        while parts.ops.try_recv().is_ok() {
            taken += 1;
        }
        while parts.controls.try_recv().is_ok() {
            taken += 1;
        }
        if taken == wanted {
            return;
        }
        parts.handle.before_park();
        block_on(parts.handle.turn.notified());
        parts.handle.after_park();
    }
}

fn signal() -> Op {
    Op::Signal(Signal::new(Box::new(|| ())))
}

fn operations_wake_a_shard() {
    let parts = Handle::make(0, 1);
    for _ in 0..2 {
        let handle = parts.handle.clone();
        thread::spawn(move || assert!(handle.submit(signal()).is_ok()));
    }
    shard(&parts, 2);
}

fn controls_wake_a_shard() {
    let parts = Handle::make(0, 1);
    let handle = parts.handle.clone();
    thread::spawn(move || {
        handle.control(Control::Shutdown);
        assert!(handle.submit(signal()).is_ok());
    });
    shard(&parts, 2);
}

/// A shard that is woken looks at its clock again.
fn writes_before_a_wake_up_are_seen() {
    let parts = Handle::make(0, 1);
    let handle = parts.handle.clone();
    let caller = thread::spawn(move || assert!(handle.submit(signal()).is_ok()));
    shard(&parts, 1);
    caller.join().unwrap();
    assert!(parts.handle.queued() == 0);
}

// ---------------------------------------------------------------- inboxes

struct Wakeup(Arc<Notify>);

impl Notifier for Wakeup {
    fn notify(&self) -> bool {
        self.0.notify();
        true
    }
}

fn inbox(limit: usize) -> (Arc<Inbox>, Arc<Notify>) {
    let wakeup = Arc::new(Notify::new());
    (
        Inbox::new(limit, 0, Box::new(Wakeup(wakeup.clone()))),
        wakeup,
    )
}

fn conn() -> ConnId {
    ConnId::new(0, 1, 1)
}

/// What a shard does in a turn that has brought one event.
fn bring(inbox: &Inbox) {
    let mut filler = inbox.fill();
    assert_eq!(
        filler.event(|batch| batch.push_passive(conn())),
        Pushed::Done
    );
    if filler.finish() {
        inbox.notify();
    }
}

/// The process of an inbox, until it has read so many events.
fn read(inbox: &Inbox, wakeup: &Notify, wanted: usize, mut freed: impl FnMut(u64)) {
    let mut seen = 0;
    while seen < wanted {
        wakeup.wait();
        loop {
            let (left, shards) = inbox.drain(1, |_, _, _| {
                seen += 1;
                Visit::Next
            });
            freed(shards);
            if left == Left::Nothing {
                break;
            }
        }
    }
}

fn each_event_is_told() {
    let (inbox, wakeup) = inbox(1 << 20);
    for _ in 0..2 {
        let inbox = inbox.clone();
        thread::spawn(move || bring(&inbox));
    }
    read(&inbox, &wakeup, 2, |_| ());
}

/// The shard has more than fits, and goes on when it is told that there is room.
fn a_shard_that_waits_for_room_continues() {
    let (inbox, wakeup) = inbox(EVENT_COST);
    let room = Arc::new(Notify::new());
    let (theirs, told) = (inbox.clone(), room.clone());
    thread::spawn(move || {
        let mut share = Share::default();
        for _ in 0..2 {
            loop {
                let mut filler = theirs.fill();
                let pushed = filler.control(&mut share, conn(), false, b"");
                if filler.finish() {
                    theirs.notify();
                }
                if pushed == Pushed::Done {
                    break;
                }
                if !theirs.wait(0) {
                    told.wait();
                }
            }
        }
    });
    read(&inbox, &wakeup, 2, |shards| {
        if shards & 1 == 1 {
            room.notify();
        }
    });
}

/// The shard wants to know when what it has brought has been read.
fn a_shard_that_waits_for_a_mark_continues() {
    let (inbox, wakeup) = inbox(1 << 20);
    let room = Arc::new(Notify::new());
    let (theirs, told) = (inbox.clone(), room.clone());
    let shard = thread::spawn(move || {
        bring(&theirs);
        let mark = theirs.mark();
        if theirs.has_passed(mark) {
            return;
        }
        if !theirs.wait(0) {
            told.wait();
            while !theirs.has_passed(mark) {
                // One that is told too early asks again.
                if theirs.wait(0) {
                    break;
                }
                told.wait();
            }
        }
        assert!(
            theirs.has_passed(mark),
            "there is room, and yet it has not been read"
        );
    });
    read(&inbox, &wakeup, 1, |shards| {
        if shards & 1 == 1 {
            room.notify();
        }
    });
    shard.join().unwrap();
}

fn a_dead_inbox_is_empty() {
    let (inbox, _bell) = inbox(1 << 20);
    let theirs = inbox.clone();
    let shard = thread::spawn(move || {
        let mut filler = theirs.fill();
        let _ = filler.event(|batch| batch.push_passive(conn()));
        if filler.finish() {
            theirs.notify();
        }
    });
    inbox.kill();
    shard.join().unwrap();
    assert!(inbox.is_dead());
    assert!(!inbox.notify());
    assert_eq!(inbox.pending(), 0);
}

// ---------------------------------------------------------------- what is kept for connections

struct Host(Arc<Plain>);

impl ServerHost for Host {
    fn owner(&self) -> Option<Arc<Inbox>> {
        None
    }
    fn stopped(&self, _stats: &ServerStats) {
        self.0.fetch_add(1, PlainOrdering::SeqCst);
    }
    fn event(&self, _event: Notice) {}
}

fn config() -> ServerConfig {
    let mut config =
        ServerConfig::new(std::net::SocketAddr::from(([127, 0, 0, 1], 0)), Mode::Owner);
    config.max_connections = 1;
    config
}

/// An engine of one shard, whose thread is the caller; a connection on it; and how often its server has stopped.
fn engine() -> (Arc<Engine>, ShardParts, ConnId) {
    let (engine, mut parts) = Engine::without_threads(1);
    let stopped = Arc::new(Plain::new(0));
    let server = engine
        .enlist(config(), |_| Box::new(Host(stopped)))
        .unwrap();
    let parts = parts.remove(0);
    let conn = parts.handle.slots.open(0, 0, 100, server.number()).unwrap();
    (engine, parts, conn)
}

/// What `Shard::release_id` does of this.
fn release(parts: &ShardParts, conn: ConnId) -> usize {
    parts.handle.slots.close(conn);
    parts.handle.open_messages.forget(conn);
    let left = parts.handle.register.remove(conn);
    let count = left.watchers.len();
    left.watchers.into_iter().for_each(|tell| tell(conn));
    count
}

fn a_watcher_is_told_or_refused() {
    let (engine, parts, conn) = engine();
    let told = Arc::new(Plain::new(0));
    let count = told.clone();
    let caller = thread::spawn(move || {
        engine.watch(
            conn,
            Box::new(move |_| {
                count.fetch_add(1, PlainOrdering::SeqCst);
            }),
        )
    });
    release(&parts, conn);
    let known = caller.join().unwrap();
    assert_eq!(told.load(PlainOrdering::SeqCst), usize::from(known));
}

fn no_piece_is_left_behind() {
    let (engine, parts, conn) = engine();
    let caller = thread::spawn(move || {
        let kind = sockeye_protocol::Kind::Binary;
        let next = |piece| -> Option<Undo> { engine.stream(conn, 1, kind, piece, b"").ok() };
        // As a frame that is not taken.
        let Some(first) = next(Piece::First) else {
            return;
        };
        engine.unstream(conn, first);
        let Some(first) = next(Piece::First) else {
            return;
        };
        // The last piece is taken back: the message is open again, unless the connection has gone. One that is refused takes those
        // before it along.
        let last = next(Piece::Last);
        engine.unstream(conn, last.unwrap_or(first));
    });
    release(&parts, conn);
    caller.join().unwrap();
    assert_eq!(parts.handle.open_messages.len(), 0);
}

// ---------------------------------------------------------------- admission and the end of a server

fn server() -> (Arc<Server>, Arc<Plain>) {
    let stopped = Arc::new(Plain::new(0));
    let host = Host(stopped.clone());
    (
        Arc::new(Server::new(0, config(), None, 2, |_| Box::new(host))),
        stopped,
    )
}

fn no_more_than_may_come_in() {
    let (server, _) = server();
    let other = server.clone();
    let second = thread::spawn(move || other.permit());
    let mine = server.permit();
    let theirs = second.join().unwrap();
    assert!(mine.is_some() || theirs.is_some());
    assert!(mine.is_none() || theirs.is_none());
    drop((mine, theirs));
    assert!(server.permit().is_some(), "given back");
}

/// Two sockets end, while the server is told to stop.
fn the_end_is_told_once_and_last() {
    let (server, stopped) = server();
    let permit = server.permit().unwrap();
    let listening = server.clone();
    let listener = thread::spawn(move || listening.unlistened());
    let closing = thread::spawn(move || drop(permit));
    server.begin_stop(1001, "", || ());
    // As each shard does when it is told.
    server.check_stopped();
    listener.join().unwrap();
    closing.join().unwrap();
    // Those that close sockets are shards, which look once more when they are told.
    server.check_stopped();
    assert_eq!(stopped.load(PlainOrdering::SeqCst), 1);
    assert!(server.is_empty() && server.has_stopped());
}

fn a_listener_ends_with_its_drain() {
    let (server, _) = server();
    let other = server.clone();
    let drain = thread::spawn(move || {
        other.drain();
        assert!(other.is_draining());
    });
    let begun = !server.is_draining();
    drain.join().unwrap();
    assert!(server.is_draining() || begun);
}
