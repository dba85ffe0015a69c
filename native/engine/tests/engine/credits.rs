//! A plain owner and the frames that it has asked for.

use std::time::{Duration, Instant};

use sockeye_engine::active::SetActive;
use sockeye_engine::{Active, MessageRate, Mode, ServerConfig};
use sockeye_protocol::frame::Opcode;

use crate::support::*;

fn owned(active: Active) -> ServerConfig {
    let mut config = config(Mode::Owner);
    config.active = active;
    config
}

#[test]
fn credits_run_out_with_a_notice() {
    for (frames, delivered, passive) in [(2, 2, false), (3, 3, true), (4, 3, true)] {
        let (world, mut owner) = World::pushed(1, owned(Active::Count(3)));
        let (mut client, conn) = world.open(&mut owner);
        for i in 0..frames {
            client.text(&format!("{i}"));
        }
        client.seen();
        world.settle();
        for i in 0..delivered {
            owner.expect(conn, text(&format!("{i}")));
        }
        if passive {
            owner.expect(conn, Got::Passive);
        }
        assert!(owner.is_empty(), "{frames} frames for 3 credits");
        if frames > delivered {
            world.active(conn, SetActive::Add(5));
            owner.expect(conn, text("3"));
            assert_eq!(world.stats(conn).unwrap().active, Active::Count(4));
        }
    }
}

#[test]
fn a_count_taken_back_tells_too() {
    let (world, mut owner) = World::pushed(1, owned(Active::Count(3)));
    let (_client, conn) = world.open(&mut owner);
    world.active(conn, SetActive::Add(-2));
    world.active(conn, SetActive::Add(-2));
    owner.expect(conn, Got::Passive);
    assert_eq!(world.stats(conn).unwrap().active, Active::False);
}

#[test]
fn pings_are_answered_while_nobody_reads() {
    let (world, mut owner) = World::pushed(1, owned(Active::False));
    let (mut client, conn) = world.open(&mut owner);
    for i in 0..10 {
        client.text(&format!("{i}"));
        client.seen();
    }
    world.settle();
    assert!(owner.is_empty());
    assert!(world.stats(conn).unwrap().held > 0);
    world.active(conn, SetActive::To(Active::True));
    for i in 0..10 {
        owner.expect(conn, text(&format!("{i}")));
    }
}

#[test]
fn once_gives_one_and_pings_behind_others_are_answered() {
    let (world, mut owner) = World::pushed(1, owned(Active::Once));
    let (mut client, conn) = world.open(&mut owner);
    for i in 0..5 {
        client.text(&format!("{i}"));
    }
    client.seen();
    for i in 0..5 {
        world.settle();
        owner.expect(conn, text(&format!("{i}")));
        assert!(owner.is_empty());
        world.active(conn, SetActive::To(Active::Once));
    }
}

#[test]
fn input_without_credits_is_bounded_and_complete() {
    const FRAMES: usize = 4000;
    let (world, mut owner) = World::pushed(1, owned(Active::False));
    let (mut client, conn) = world.open(&mut owner);
    let writer = std::thread::spawn(move || {
        for i in 0..FRAMES {
            client.text(&format!("{i:01000}"));
        }
        client
    });
    for i in 0..FRAMES {
        world.active(conn, SetActive::To(Active::Once));
        owner.expect(conn, text(&format!("{i:01000}")));
        let held = world.stats(conn).unwrap().held;
        assert!(held <= 256 * 1024, "{held} bytes are held");
    }
    writer.join().unwrap();
}

#[test]
fn the_last_event_waits_behind_what_is_held() {
    let mut config = owned(Active::False);
    config.close_timeout = Duration::from_millis(100);
    let (world, mut owner) = World::pushed(1, config);
    let (mut client, conn) = world.open(&mut owner);
    client.text("one");
    client.text("two");
    client.close(1000);
    assert_eq!(client.closed(), 1000);
    client.drained();
    assert!(world.engine.is_known(conn));
    assert!(owner.is_empty());
    world.active(conn, SetActive::To(Active::Once));
    owner.expect(conn, text("one"));
    world.active(conn, SetActive::To(Active::Once));
    owner.expect(conn, text("two"));
    owner.expect(conn, Got::Closed(1000, String::new()));
    assert!(!world.engine.is_known(conn));
    assert_eq!(world.connections(), []);
}

#[test]
fn a_connection_moves_to_another_owner() {
    let (world, mut owner) = World::pushed(1, owned(Active::Count(1)));
    let (mut client, conn) = world.open(&mut owner);
    client.text("one");
    client.text("two");
    owner.expect(conn, text("one"));
    owner.expect(conn, Got::Passive);
    let mut heir = Mailbox::new();
    world.give(conn, &heir);
    world.active(conn, SetActive::To(Active::True));
    heir.expect(conn, text("two"));
    world.engine.owner_died(&owner.owner);
    client.text("three");
    heir.expect(conn, text("three"));
    world.engine.owner_died(&heir.owner);
    assert_eq!(client.closed(), 1011);
}

#[test]
fn messages_above_the_rate_are_delayed() {
    let mut config = config(Mode::Workers(1));
    config.message_rate = Some(MessageRate {
        rate: 50,
        burst: 1,
        close: false,
    });
    let (world, mut puller) = World::pulled(1, config);
    let (mut client, conn) = world.open(&mut puller);
    let all: Vec<_> = (0..6).flat_map(|_| masked(Opcode::Text, b"x")).collect();
    let began = Instant::now();
    client.write(&all);
    (0..6).for_each(|_| puller.expect(conn, text("x")));
    // Five of them waited for 20 ms each.
    assert!(began.elapsed() >= Duration::from_millis(90));
    client.close(1000);
    puller.expect(conn, Got::Closed(1000, String::new()));
}
