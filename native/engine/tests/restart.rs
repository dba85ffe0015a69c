//! Engines that start and stop in one process. Alone in its binary: it counts what the process has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "engine/support/mod.rs"]
mod support;

use std::time::Instant;

use sockeye_engine::Mode;
use support::*;

fn count(what: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{what}")).map_or(0, Iterator::count)
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}

#[test]
fn engines_come_and_go_a_hundred_times() {
    let mut config = config(Mode::Workers(1));
    let mut before = (0, 0, 0);
    for round in 0..105 {
        if round == 5 {
            before = (count("fd"), count("task"), resident());
        }
        let (world, mut puller) = World::pulled(2, config.clone());
        // The same port each time: it must be free at once.
        config.address = world.address.into();
        let mut client = world.client();
        let conn = puller.opened();
        client.text("x");
        puller.expect(conn, text("x"));
        let _handshaking = connect(world.address);
        // Now and then one that does not answer: the engine waits for it, but not for long.
        match round % 40 {
            0 => {}
            n if n % 2 == 0 => client.close(1000),
            _ => client.reset(),
        }
        let start = Instant::now();
        world.engine.stop();
        // About a second, however long the client would make it.
        assert!(start.elapsed() < LONG);
        world.wait_stopped();
    }
    // A thread that had no time to end within that second ends later.
    let deadline = Instant::now() + LONG;
    while count("task") > before.1 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let after = (count("fd"), count("task"), resident());
    assert!(after.0 <= before.0, "files: {before:?} {after:?}");
    assert!(after.1 <= before.1, "threads: {before:?} {after:?}");
    let grown = after.2.saturating_sub(before.2);
    assert!(grown < 16 << 20, "memory: {before:?} {after:?}");
}
