//! What a client does at the same time, in one task.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use crate::model::ledger::End;

/// Reads, writes, and runs `others` until reading ends, or one of `others`: then the client leaves. A client that has vanished does
/// nothing any more.
pub(super) async fn run_client(
    vanished: &Cell<bool>,
    reads: impl Future<Output = End>,
    writes: impl Future<Output = ()>,
    others: &mut [Pin<&mut dyn Future<Output = ()>>],
) -> End {
    let (mut reads, mut writes) = (pin!(reads), pin!(writes));
    let mut has_written = false;
    poll_fn(|cx| {
        if vanished.get() {
            return Poll::Pending;
        }
        if let Poll::Ready(end) = reads.as_mut().poll(cx) {
            return Poll::Ready(end);
        }
        // Twice: each may wait for what the other has done.
        for _ in 0..2 {
            has_written = has_written || writes.as_mut().poll(cx).is_ready();
            for other in &mut *others {
                if other.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(End::Left);
                }
            }
        }
        Poll::Pending
    })
    .await
}

/// Writes and reads until reading ends.
pub(super) async fn write_and_read<T>(
    writes: impl Future<Output = ()>,
    reads: impl Future<Output = T>,
) -> T {
    let (mut writes, mut reads) = (pin!(writes), pin!(reads));
    let mut has_written = false;
    poll_fn(|cx| {
        has_written = has_written || writes.as_mut().poll(cx).is_ready();
        reads.as_mut().poll(cx)
    })
    .await
}
