//! More calls than a shard keeps up with: their callers wait, and nothing is refused.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use sockeye_engine::backlog::{CALLS, FRAMES};
use sockeye_engine::pieces::Piece;
use sockeye_engine::{Broadcast, CallKind, ConnId, Engine, Mode, ServerConfig, ShardSet};
use sockeye_protocol::Kind;
use sockeye_protocol::frame::{self, Opcode};

use crate::support::*;

fn wide() -> ServerConfig {
    let mut config = config(Mode::Workers(1));
    config.send_queue_size = 64 << 20;
    config
}

/// A frame for many that is so many bytes on the wire.
fn frame_of(len: usize) -> Broadcast {
    let mut bytes = Vec::new();
    let head = frame::head_len(len, false);
    frame::write(&mut bytes, Opcode::Binary, &vec![0; len - head], None);
    assert_eq!(bytes.len(), len);
    Broadcast::plain(bytes)
}

fn backlogged(world: &World, kind: CallKind) -> bool {
    !world.engine.backlogged(ShardSet::one(0), kind).is_empty()
}

/// Hears when the shard has done what it was given until now.
fn done(engine: &Engine) -> Receiver<()> {
    let (sender, answer) = channel();
    let count = engine.when_done(ShardSet::one(0), || {
        let sender = sender.clone();
        Box::new(move || {
            let _ = sender.send(());
        })
    });
    assert!(count <= 1);
    answer
}

#[test]
fn calls_at_less_equal_and_more() {
    for (count, waits) in [(CALLS - 1, false), (CALLS, false), (CALLS + 1, true)] {
        let (world, mut puller) = World::pulled(1, wide());
        let (mut client, conn) = (world.client(), puller.opened());
        let held = world.hold();
        for number in 0..count {
            world
                .send(conn, Opcode::Text, number.to_string().as_bytes())
                .unwrap();
        }
        assert_eq!(world.engine.queued_calls(), count);
        assert_eq!(backlogged(&world, CallKind::Single), waits, "{count}");
        assert_eq!(backlogged(&world, CallKind::Fanout), waits, "{count}");
        drop(held);
        for number in 0..count {
            client.expect(Opcode::Text, number.to_string().as_bytes());
        }
        world.settle();
        assert!(!backlogged(&world, CallKind::Single));
        assert_eq!(world.engine.queued_calls(), 0);
    }
}

#[test]
fn bytes_for_many_at_less_equal_and_more() {
    for (second, waits) in [(999, false), (1000, false), (1001, true)] {
        let (world, mut puller) = World::pulled(1, wide());
        let (mut client, _) = (world.client(), puller.opened());
        let held = world.hold();
        for len in [FRAMES - 1000, second] {
            assert!(!backlogged(&world, CallKind::Fanout));
            let shards = world
                .engine
                .fan_out(&world.server, &frame_of(len), None, None);
            assert_eq!(shards, Ok(ShardSet::one(0)));
        }
        assert_eq!(backlogged(&world, CallKind::Fanout), waits, "{second}");
        // Whoever sends to one connection has nothing to do with that.
        assert!(!backlogged(&world, CallKind::Single));
        drop(held);
        for len in [FRAMES - 1000, second] {
            let head = frame::head_len(len, false);
            client.expect(Opcode::Binary, &vec![0; len - head]);
        }
        world.settle();
        assert!(!backlogged(&world, CallKind::Fanout));
    }
}

#[test]
fn whatever_a_caller_asks_of_a_shard_with_a_backlog_is_done_in_its_order() {
    let (world, mut puller) = World::pulled(1, wide());
    let (mut client, conn) = (world.client(), puller.opened());
    let engine = &world.engine;
    let held = world.hold();
    for _ in 0..=CALLS {
        send(engine, conn, Opcode::Pong, b"").unwrap();
    }
    assert!(backlogged(&world, CallKind::Single));
    assert_eq!(engine.subscribe(conn, b"t"), Ok(true));
    let (sender, outcome) = channel();
    let tell = Box::new(move |sent, dropped| sender.send((sent, dropped)).unwrap());
    let published = engine.publish(&world.server, b"t", &frame_of(100), None, Some(tell));
    assert_eq!(published, Ok(ShardSet::one(0)));
    assert_eq!(engine.unsubscribe(conn, b"t"), Ok(true));
    assert_eq!(
        engine.send_to_list(&world.server, &frame_of(99), &[conn]),
        []
    );
    engine
        .stream(conn, 1, Kind::Binary, Piece::First, b"")
        .unwrap();
    let (stats, answer) = channel();
    engine
        .conn_stats(conn, Box::new(move |found| stats.send(found).unwrap()))
        .unwrap();
    assert!(close(engine, conn, 4000));
    let told = done(engine);
    assert!(told.try_recv().is_err());
    drop(held);
    told.recv_timeout(LONG).unwrap();
    assert_eq!(outcome.try_recv(), Ok((1, 0)));
    assert!(answer.try_recv().unwrap().is_some());
    for _ in 0..=CALLS {
        client.expect(Opcode::Pong, b"");
    }
    client.expect(Opcode::Binary, &[0; 98]);
    client.expect(Opcode::Binary, &[0; 97]);
    assert_eq!(client.closed(), 4000);
}

#[test]
fn waiting_callers_are_released_when_the_engine_stops() {
    let (world, mut puller) = World::pulled(1, wide());
    let (_client, conn) = (world.client(), puller.opened());
    let held = world.hold();
    let waiting: Vec<_> = (0..5000)
        .map(|_| {
            world.send(conn, Opcode::Pong, b"").unwrap();
            done(&world.engine)
        })
        .collect();
    assert_eq!(world.engine.delayed_calls(), 5000);
    std::thread::scope(|scope| {
        scope.spawn(|| world.engine.stop());
        drop(held);
    });
    for told in waiting {
        told.recv_timeout(LONG).unwrap();
    }
    // There is nobody left to tell.
    assert!(done(&world.engine).recv_timeout(LONG).is_err());
}

/// Each caller as far ahead as it may be: what waits is bounded, and everything comes, in each caller's order.
#[test]
fn many_callers_that_wait_their_turn() {
    const CALLERS: usize = 16;
    const EACH: usize = 2000;
    let (world, mut puller) = World::pulled(1, wide());
    let (mut client, conn) = (world.client(), puller.opened());
    let (over, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    // A caller that ran alone for long has nothing left to wait with.
    let through = AtomicUsize::new(0);
    let held = world.hold();
    std::thread::scope(|scope| {
        let engine = &world.engine;
        let call = |caller: usize, conn: ConnId| {
            for number in 0..EACH {
                let text = format!("{caller} {number}");
                send(engine, conn, Opcode::Text, text.as_bytes()).unwrap();
                most.fetch_max(engine.queued_calls(), Ordering::Relaxed);
                if !engine
                    .backlogged(ShardSet::one(0), CallKind::Single)
                    .is_empty()
                {
                    let told = done(engine);
                    assert!(told.recv_timeout(LONG).is_ok());
                    over.store(true, Ordering::Relaxed);
                }
            }
            through.fetch_add(1, Ordering::Relaxed);
        };
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| scope.spawn(move || call(caller, conn)))
            .collect();
        while engine.delayed_calls() as usize + through.load(Ordering::Relaxed) < CALLERS {
            std::thread::yield_now();
        }
        drop(held);
        let mut next = [0; CALLERS];
        for _ in 0..CALLERS * EACH {
            let Next::Frame(1, text) = client.next() else {
                panic!("no text");
            };
            let text = String::from_utf8(text).unwrap();
            let (caller, number) = text.split_once(' ').unwrap();
            let place = &mut next[caller.parse::<usize>().unwrap()];
            assert_eq!(number.parse::<usize>(), Ok(*place));
            *place += 1;
        }
        callers
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
    });
    assert!(over.load(Ordering::Relaxed));
    // A call of each beyond the bound, and its question when that is done.
    assert!(most.load(Ordering::Relaxed) <= CALLS + 2 * CALLERS);
}
