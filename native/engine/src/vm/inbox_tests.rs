//! An inbox between one shard and one process.

use std::sync::atomic::AtomicUsize;

use sockeye_protocol::Payload;

use super::*;

struct Count(Arc<AtomicUsize>);
impl Notifier for Count {
    fn notify(&self) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst);
        true
    }
}

fn inbox(limit: usize) -> (Arc<Inbox>, Arc<AtomicUsize>) {
    let notices = Arc::new(AtomicUsize::new(0));
    (
        Inbox::new(limit, 0, Box::new(Count(notices.clone()))),
        notices,
    )
}

fn id(slot: u32) -> ConnId {
    ConnId::new(0, slot, 1)
}

fn push(inbox: &Inbox, share: &mut Share, conn: ConnId, len: usize) -> Pushed {
    let bytes = vec![b'x'; len];
    let mut filler = inbox.fill();
    filler.message(share, conn, true, &mut Some(Payload::Borrowed(&bytes)))
}

fn drain_all(inbox: &Inbox, max: usize) -> (usize, Left, u64) {
    let mut n = 0;
    let (left, shards) = inbox.drain(max, |_, _, _| {
        n += 1;
        Visit::Next
    });
    (n, left, shards)
}

#[test]
fn the_bound_at_less_equal_and_more() {
    // Two connections, so that neither meets its share first.
    for (second, expected) in [(35, Pushed::Done), (36, Pushed::Done), (37, Pushed::Full)] {
        let (inbox, _) = inbox(2 * EVENT_COST + 100);
        assert_eq!(push(&inbox, &mut Share::default(), id(1), 64), Pushed::Done);
        assert_eq!(push(&inbox, &mut Share::default(), id(2), second), expected);
    }
}

#[test]
fn an_empty_inbox_takes_any_message() {
    let (inbox, _) = inbox(10);
    assert_eq!(
        push(&inbox, &mut Share::default(), id(1), 1000),
        Pushed::Done
    );
    assert_eq!(push(&inbox, &mut Share::default(), id(1), 0), Pushed::Full);
    assert_eq!(drain_all(&inbox, 10), (1, Left::Nothing, 0));
    assert_eq!(inbox.pending(), 0);
    assert_eq!(push(&inbox, &mut Share::default(), id(1), 0), Pushed::Done);
}

#[test]
fn events_during_a_drain_are_counted() {
    let (inbox, _) = inbox(1000);
    assert_eq!(push(&inbox, &mut Share::default(), id(1), 10), Pushed::Done);
    let mut n = 0;
    let (left, _) = inbox.drain(10, |_, _, _| {
        n += 1;
        if n == 1 {
            assert_eq!(
                push(&inbox, &mut Share::default(), id(2), 500),
                Pushed::Done
            );
        }
        Visit::Next
    });
    assert_eq!((n, left, inbox.pending()), (2, Left::Nothing, 0));
    // A room that is lost would turn this one away for ever.
    assert_eq!(
        push(&inbox, &mut Share::default(), id(1), 5000),
        Pushed::Done
    );
}

#[test]
fn killed_during_a_drain() {
    let (inbox, _) = inbox(1000);
    assert_eq!(push(&inbox, &mut Share::default(), id(1), 10), Pushed::Done);
    assert_eq!(push(&inbox, &mut Share::default(), id(2), 10), Pushed::Done);
    inbox.pending.store(0, Ordering::SeqCst); // as kill() does, from another thread
    assert_eq!(drain_all(&inbox, 10).0, 2);
    assert_eq!(inbox.pending(), 0);
}

#[test]
fn one_connection_gets_its_share_only() {
    let (inbox, _) = inbox(16 * 1000);
    let mut greedy = Share::default();
    assert_eq!(push(&inbox, &mut greedy, id(1), 936), Pushed::Done);
    assert_eq!(push(&inbox, &mut greedy, id(1), 0), Pushed::Full);
    assert_eq!(
        push(&inbox, &mut Share::default(), id(2), 900),
        Pushed::Done
    );
    assert!(!inbox.wait(3));
    // Taking one event takes the whole batch over: a new share for everyone.
    let (n, left, shards) = drain_all(&inbox, 1);
    assert_eq!((n, left, shards), (1, Left::More, 1 << 3));
    assert_eq!(push(&inbox, &mut greedy, id(1), 936), Pushed::Done);
}

#[test]
fn a_second_reader_reads_up_to_its_room() {
    let (inbox, _) = inbox(16_000);
    let mut slot = 0;
    let mut push = |len: usize| {
        slot += 1;
        super::tests::push(&inbox, &mut Share::default(), id(slot), len - EVENT_COST)
    };
    assert_eq!(push(8000), Pushed::Done);
    assert_eq!(inbox.room(), None, "half is free");
    assert_eq!(push(1000), Pushed::Done);
    assert_eq!(inbox.room(), Some(1000), "the share of one");
    assert_eq!(push(6300), Pushed::Done);
    assert_eq!(inbox.room(), Some(700));
    assert_eq!(push(701), Pushed::Full);
    assert_eq!(inbox.room(), Some(0), "somebody waits");
    drain_all(&inbox, 1);
    assert_eq!(inbox.room(), None);
}

#[test]
fn one_notice_until_seen_empty() {
    let (inbox, notices) = inbox(10_000);
    let mut share = Share::default();
    push(&inbox, &mut share, id(1), 1);
    assert!(inbox.notify());
    push(&inbox, &mut share, id(1), 1);
    assert!(inbox.notify());
    assert_eq!(notices.load(Ordering::SeqCst), 1);
    assert_eq!(drain_all(&inbox, 1).1, Left::More);
    push(&inbox, &mut share, id(1), 1);
    inbox.notify();
    assert_eq!(notices.load(Ordering::SeqCst), 1);
    assert_eq!(drain_all(&inbox, 9), (2, Left::Nothing, 0));
    push(&inbox, &mut share, id(1), 1);
    inbox.notify();
    assert_eq!(notices.load(Ordering::SeqCst), 2);
}

#[test]
fn waiting_shards_are_notified_of_room() {
    let (inbox, _) = inbox(1000);
    for slot in 0..10 {
        push(&inbox, &mut Share::default(), id(slot), 36);
    }
    assert_eq!(
        push(&inbox, &mut Share::default(), id(11), 36),
        Pushed::Full
    );
    assert!(!inbox.wait(0));
    assert_eq!(drain_all(&inbox, 1).2, 0, "still more than half");
    assert_eq!(drain_all(&inbox, 4).2, 1, "half is free");
    assert!(!inbox.wait(0));
    assert_eq!(drain_all(&inbox, 100), (5, Left::Nothing, 1));
    assert!(inbox.wait(3), "empty: no need to wait");
    push(&inbox, &mut Share::default(), id(1), 36);
    assert_eq!(drain_all(&inbox, 9).2, 0, "nobody has waited");
}

/// Who found no room is not passed by those that come whenever a message is taken.
#[test]
fn a_full_inbox_takes_nothing_until_half_is_free() {
    let (inbox, _) = inbox(1000);
    let next = |slot, len| push(&inbox, &mut Share::default(), id(slot), len);
    for slot in 0..10 {
        assert_eq!(next(slot, 36), Pushed::Done);
    }
    assert_eq!(next(10, 36), Pushed::Full);
    assert!(!inbox.wait(0));
    for left in (6..10).rev() {
        assert_eq!(drain_all(&inbox, 1).2, 0);
        assert_eq!(next(20, 0), Pushed::Full, "{left} are left");
    }
    assert_eq!(drain_all(&inbox, 1).2, 1, "half is free");
    for slot in 10..15 {
        assert_eq!(next(slot, 36), Pushed::Done);
    }
    // Nobody waits: what is left may be filled up.
    assert_eq!(drain_all(&inbox, 1).2, 0);
    assert_eq!(next(15, 36), Pushed::Done);
}

#[test]
fn a_refused_event_stays() {
    let (inbox, _) = inbox(1000);
    push(&inbox, &mut Share::default(), id(1), 5);
    let (left, _) = inbox.drain(9, |_, _, _| Visit::Stop);
    assert_eq!(left, Left::More);
    assert_eq!(drain_all(&inbox, 9).0, 1);
}

#[test]
fn a_dead_inbox_takes_nothing() {
    let (inbox, notices) = inbox(1000);
    push(&inbox, &mut Share::default(), id(1), 5);
    assert!(!inbox.is_dead());
    inbox.kill();
    assert!(inbox.is_dead());
    assert_eq!(push(&inbox, &mut Share::default(), id(1), 5), Pushed::Dead);
    assert!(!inbox.notify());
    assert_eq!(notices.load(Ordering::SeqCst), 0);
    assert_eq!(inbox.pending(), 0);
}

#[test]
fn a_mark_has_passed_when_all_before_it_is_read() {
    let (inbox, _) = inbox(10_000);
    assert!(inbox.has_passed(inbox.mark()));
    let push = || push(&inbox, &mut Share::default(), id(1), 1);
    push();
    push();
    let mark = inbox.mark();
    push();
    drain_all(&inbox, 1);
    assert!(!inbox.has_passed(mark));
    drain_all(&inbox, 1);
    assert!(inbox.has_passed(mark));
    assert!(!inbox.has_passed(inbox.mark()));
    inbox.kill();
    assert!(inbox.has_passed(inbox.mark()), "nobody will ever read it");
}

#[test]
fn a_single_connection_has_the_whole_inbox() {
    for is_alone in [false, true] {
        let (inbox, _) = inbox(16_000);
        assert_eq!(inbox.only(), None);
        if is_alone {
            inbox.dedicate(id(3));
            assert_eq!(inbox.only(), Some(id(3)));
        }
        let mut share = Share::default();
        assert_eq!(push(&inbox, &mut share, id(3), 936), Pushed::Done);
        let second = push(&inbox, &mut share, id(3), 936);
        assert_eq!(second == Pushed::Done, is_alone);
    }
}

#[test]
fn an_inbox_is_in_use_as_long_as_a_connection_has_to_do_with_it() {
    let (inbox, _) = inbox(1000);
    assert!(!inbox.is_in_use());
    inbox.user_added();
    inbox.user_added();
    inbox.user_removed();
    assert!(inbox.is_in_use());
    inbox.user_removed();
    assert!(!inbox.is_in_use());
    inbox.announces();
    assert!(inbox.is_in_use());
}

#[test]
fn an_inbox_with_far_more_than_room_is_overloaded() {
    for (over, is_overloaded) in [(0, false), (1, true)] {
        let (inbox, _) = inbox(1000);
        let bytes = vec![0; 1000 + OVERLOADED - EVENT_COST + over];
        let payload = Payload::Borrowed(&bytes);
        let mut filler = inbox.fill();
        filler.event(|batch| batch.push_message(id(1), false, payload));
        drop(filler);
        assert_eq!(inbox.is_overloaded(), is_overloaded, "{over}");
    }
}

#[test]
fn a_reader_of_all_events_is_notified_again() {
    let (inbox, notices) = inbox(10_000);
    for _ in 0..2 {
        push(&inbox, &mut Share::default(), id(1), 1);
        push(&inbox, &mut Share::default(), id(2), 1);
        inbox.notify();
        // No more than there are: there is no other look that finds nothing.
        assert_eq!(drain_all(&inbox, 2).1, Left::Nothing);
    }
    assert_eq!(notices.load(Ordering::SeqCst), 2);
}

/// Somebody else reads for the process, and goes on by itself.
#[test]
fn an_inbox_that_is_not_armed_does_not_notify() {
    for last in [false, true] {
        let (inbox, notices) = inbox(10_000);
        push(&inbox, &mut Share::default(), id(1), 1);
        inbox.notify();
        let read = inbox.serve(false, |batch, _| match last {
            true => ReadStep::Last(batch.len()),
            false => ReadStep::On(batch.len()),
        });
        assert_eq!(read, Some((Left::Nothing, 0)));
        push(&inbox, &mut Share::default(), id(1), 1);
        inbox.notify();
        assert_eq!(notices.load(Ordering::SeqCst), 1, "{last}");
        let read = inbox.serve(true, |batch, _| ReadStep::Last(batch.len()));
        assert_eq!(read, Some((Left::Nothing, 0)));
        push(&inbox, &mut Share::default(), id(1), 1);
        inbox.notify();
        assert_eq!(notices.load(Ordering::SeqCst), 2, "{last}");
    }
}

#[test]
fn a_step_reads_one_at_least() {
    let (inbox, _) = inbox(10_000);
    for slot in 1..4 {
        push(&inbox, &mut Share::default(), id(slot), 1);
    }
    let read = inbox.serve(true, |_, first| ReadStep::Last(first));
    assert_eq!(read, Some((Left::More, 0)));
    assert_eq!(drain_all(&inbox, 9).0, 2);
}

#[test]
fn a_waiting_shard_is_not_notified_of_each_event() {
    let (inbox, _) = inbox(1000);
    for slot in 0..10 {
        push(&inbox, &mut Share::default(), id(slot), 36);
    }
    assert_eq!(drain_all(&inbox, 5).2, 0);
    assert!(!inbox.wait(4));
    assert_eq!((inbox.pending(), drain_all(&inbox, 1).2), (500, 0));
    assert_eq!(drain_all(&inbox, 9), (4, Left::Nothing, 1 << 4));
}

#[test]
fn the_end_of_an_inbox_wakes_waiting_shards() {
    let (inbox, _) = inbox(1000);
    for slot in 0..3 {
        push(&inbox, &mut Share::default(), id(slot), 36);
    }
    drain_all(&inbox, 1);
    assert!(!inbox.wait(2));
    let (_, shards) = inbox.drain(9, |_, _, _| {
        inbox.kill();
        Visit::Last
    });
    assert_eq!(shards, 1 << 2);
}

#[test]
fn a_full_inbox_takes_more_when_half_is_free_to_the_byte() {
    let (inbox, _) = inbox(1000);
    let next = |slot, len| push(&inbox, &mut Share::default(), id(slot), len);
    for slot in 0..10 {
        next(slot, 36);
    }
    assert_eq!(next(10, 36), Pushed::Full);
    drain_all(&inbox, 4);
    assert_eq!((inbox.pending(), next(11, 0)), (600, Pushed::Full));
    drain_all(&inbox, 1);
    assert_eq!((inbox.pending(), next(12, 0)), (500, Pushed::Done));
}

#[test]
fn a_share_may_be_used_up_to_the_byte() {
    for (second, expected) in [
        (435, Pushed::Done),
        (436, Pushed::Done),
        (437, Pushed::Full),
    ] {
        let (inbox, _) = inbox(16 * 1000);
        let mut share = Share::default();
        assert_eq!(push(&inbox, &mut share, id(1), 436), Pushed::Done);
        assert_eq!(push(&inbox, &mut share, id(1), second), expected);
    }
}

#[test]
fn one_of_those_that_append_tells_the_process() {
    let (inbox, _) = inbox(1000);
    let append = |is_there: bool| {
        let mut filler = inbox.fill();
        if is_there {
            filler.event(|batch| batch.push_message(id(1), false, Payload::Borrowed(b"x")));
        }
        filler.finish()
    };
    assert!(!append(false), "there is nothing to tell");
    assert!(append(true));
    assert!(!append(true), "somebody is about to");
    inbox.notify();
    assert!(append(true));
}
