//! The end of the engine.

use std::sync::Arc;

use loom::thread;

use super::{Host, Plain, PlainOrdering, config, server};
use crate::engine::Engine;
use crate::shard::handle::ShardParts;
use crate::shard::op::Control;
use crate::world::sync::block_on;
use crate::world::thread::Thread;

/// A shard's thread as far as the end of the engine needs it: one server may listen, and there are no connections.
fn shard(engine: &Engine, parts: ShardParts) {
    let mut listens = None;
    loop {
        while let Ok(control) = parts.controls.try_recv() {
            match control {
                // As `listener::start`.
                Control::Run(_) => {
                    listens = engine.all_servers().pop();
                    let ends = listens.take_if(|server| server.is_stopping());
                    ends.into_iter().for_each(|server| server.unlistened());
                }
                Control::StopServer { server, .. } => {
                    listens
                        .take()
                        .into_iter()
                        .for_each(|server| server.unlistened());
                    server.check_stopped();
                }
                Control::Shutdown => return,
                _ => {}
            }
        }
        parts.handle.before_park();
        block_on(parts.handle.turn.notified());
        parts.handle.after_park();
    }
}

/// An engine with one thread, and whether that has ended.
fn running() -> (Arc<Engine>, Arc<Plain>) {
    let (engine, parts) = Engine::without_threads(1);
    let ended = Arc::new(Plain::new(0));
    for parts in parts {
        let (ended, its_engine) = (ended.clone(), engine.clone());
        engine.has_thread(Thread::spawn(move || {
            shard(&its_engine, parts);
            ended.fetch_add(1, PlainOrdering::SeqCst);
        }));
    }
    (engine, ended)
}

/// A connection over HTTP/2 waits for the end of its server.
pub(super) fn all_who_wait_hear_of_a_stop() {
    let (server, _) = server();
    let others = server.clone();
    let stops = thread::spawn(move || others.begin_stop(1001, "", || ()));
    // As `http::h2` does.
    let mut stopped = std::pin::pin!(server.stop_asked().notified());
    stopped.as_mut().enable();
    if !server.is_stopping() {
        block_on(stopped);
    }
    assert!(server.is_stopping());
    stops.join().unwrap();
}

/// A server starts while the engine stops: it is refused, or has stopped in the end.
pub(super) fn no_server_outlives_a_stop() {
    let (engine, ended) = running();
    let stopped = Arc::new(Plain::new(0));
    let (theirs, told) = (engine.clone(), stopped.clone());
    let starts = thread::spawn(move || theirs.listen(config(), |_| Box::new(Host(told))).is_ok());
    assert_eq!(engine.stop().stuck, 0);
    assert_eq!(ended.load(PlainOrdering::SeqCst), 1);
    let started = starts.join().unwrap();
    assert_eq!(stopped.load(PlainOrdering::SeqCst), usize::from(started));
    assert!(
        engine
            .all_servers()
            .iter()
            .all(|server| !server.is_listening())
    );
}

/// Two stop it: for both, all threads have ended.
pub(super) fn a_second_stop_waits_too() {
    let (engine, ended) = running();
    let (theirs, their_ended) = (engine.clone(), ended.clone());
    let other = thread::spawn(move || {
        assert_eq!(theirs.stop().stuck, 0);
        assert_eq!(their_ended.load(PlainOrdering::SeqCst), 1, "the other one");
    });
    assert_eq!(engine.stop().stuck, 0);
    assert_eq!(ended.load(PlainOrdering::SeqCst), 1);
    other.join().unwrap();
}
