//! What a client does at the same time, in one task.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

use crate::book::End;

/// Reads, writes, and does what else there is, until the end of what reads, or of one of the others: then the client itself has left. Who has
/// vanished does nothing any more.
pub(crate) async fn live(
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
        // Twice: what one does may be what the other waits for.
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

/// Does both; the end of the second one is the end.
pub(crate) async fn both<T>(says: impl Future<Output = ()>, hears: impl Future<Output = T>) -> T {
    let (mut says, mut hears) = (pin!(says), pin!(hears));
    let mut said = false;
    poll_fn(|cx| {
        said = said || says.as_mut().poll(cx).is_ready();
        hears.as_mut().poll(cx)
    })
    .await
}
