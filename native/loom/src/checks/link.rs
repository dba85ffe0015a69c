//! The socket of the process engine, and what is granted over it.

use std::sync::Arc;
use std::task::Poll;

use loom::thread;

use super::{engine, release};
use crate::link::grants::Grants;
use crate::link::kinds::{GRANT, MESSAGE};
use crate::link::packets::Incoming;
use crate::link::{FULL, Link, Stalled};
use crate::world::net::{ReadHalf, socket};
use crate::world::sync::{Notify, block_on};

/// The VM: takes sections until this one says that it was the last.
async fn sections(vm: &ReadHalf, mut is_last: impl FnMut(u8, &[u8]) -> bool) {
    let mut incoming = Incoming::default();
    let mut done = false;
    while !done {
        let bytes = vm.read().await;
        incoming.room().extend_from_slice(&bytes);
        let taken = incoming.sections(|kind, body| {
            done |= is_last(kind, body);
            Ok(())
        });
        assert_eq!(taken, Ok(()));
    }
}

/// The thread of the link, which writes what others could not, and reads the VM's side until that is done.
pub(super) fn serve(link: &Link, vm: &ReadHalf, is_last: impl FnMut(u8, &[u8]) -> bool) {
    let mut writing = std::pin::pin!(link.write_on());
    let mut reading = std::pin::pin!(sections(vm, is_last));
    block_on(std::future::poll_fn(|cx| {
        let _ = writing.as_mut().poll(cx);
        match reading.as_mut().poll(cx) {
            // What was read has made room.
            Poll::Pending => {
                let _ = writing.as_mut().poll(cx);
                Poll::Pending
            }
            done => done,
        }
    }));
}

/// Shards say something, and the socket has room for half of it.
pub(super) fn sections_are_written() {
    let (half, vm) = socket(20);
    let link = Link::new(half);
    for id in 1..=2_u64 {
        let link = link.clone();
        thread::spawn(move || link.send(MESSAGE, |out| out.extend_from_slice(&id.to_be_bytes())));
    }
    let mut ids = Vec::new();
    serve(&link, &vm, |kind, body| {
        assert_eq!(kind, MESSAGE);
        ids.push(body.to_vec());
        ids.len() == 2
    });
}

#[derive(Default)]
struct Waits(Notify);

impl Stalled for Waits {
    fn go_on(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// So much waits that the link is full, whatever the socket takes at once.
pub(super) fn fill(link: &Link) {
    for _ in 0..3 {
        link.append(MESSAGE, |out| out.extend_from_slice(&[0; FULL / 2]));
    }
    link.flush();
    assert!(link.is_full().0);
}

/// Whoever finds the link full is told when it is not, even if all has been written before he says that he waits.
pub(super) fn a_stalled_receiver_continues() {
    let (half, vm) = socket(FULL / 2);
    let link = Link::new(half);
    fill(&link);
    let theirs = link.clone();
    thread::spawn(move || {
        let waits = Arc::new(Waits::default());
        while theirs.is_full().0 {
            theirs.stall(waits.clone());
            block_on(waits.0.notified());
        }
        theirs.send(MESSAGE, |out| out.extend_from_slice(&[1; FULL / 2]));
    });
    serve(&link, &vm, |_, body| body.first() == Some(&1));
}

/// The VM sends again and again, and the connection ends: the last that the VM hears is that there is no grant.
pub(super) fn a_grant_ends_with_its_connection() {
    let (half, vm) = socket(usize::MAX / 2);
    let link = Link::new(half);
    let (engine, parts, conn) = engine();
    let grants = Arc::new(Grants::new(link.clone()));
    let theirs = grants.clone();
    let caller = thread::spawn(move || {
        theirs.renew(&engine, conn);
        theirs.renew(&engine, conn);
        theirs.end(conn);
        theirs.renew(&engine, conn);
    });
    release(&parts, conn);
    caller.join().unwrap();
    link.flush();
    let mut incoming = Incoming::default();
    incoming.room().extend_from_slice(&vm.take());
    let mut last = 0;
    let taken = incoming.sections(|kind, body| {
        assert_eq!(kind, GRANT);
        last = body
            .last_chunk()
            .map_or(1, |bytes| u32::from_be_bytes(*bytes));
        Ok(())
    });
    assert_eq!(taken, Ok(()));
    assert_eq!(last, 0, "bytes are granted to a connection that has gone");
    assert_eq!(grants.count(), 0);
}
