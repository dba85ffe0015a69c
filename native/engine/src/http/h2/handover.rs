//! Bounds how much of the output of all streams of a connection is with the library.
//!
//! What a stream hands over is copied, and is held until the connection has framed and written it. So only so much is
//! taken at once; the other streams wait with what they have, which many may share, until the connection has run.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// Bytes that all streams of a connection may hand over before it has run.
const MOST: usize = 64 * 1024;

/// What is handed over, and who waits to do so.
#[derive(Default)]
pub(in crate::http) struct Handover {
    /// Bytes since the connection ran.
    taken: Cell<usize>,
    /// The first of those that wait has this ticket, the next ones those that follow.
    first: Cell<u64>,
    waiting: RefCell<VecDeque<(Waker, usize)>>,
    /// The socket takes no more: the connection has not written what it was given.
    stalled: Cell<bool>,
    over: Cell<bool>,
}

/// The place of a stream among those that wait.
#[derive(Default)]
pub(in crate::http) struct Ticket(Option<u64>);

impl Handover {
    /// Whether a stream may hand over so many bytes; else it is woken when it may. Who waits has to make the
    /// connection run.
    pub(in crate::http) fn poll_room(
        &self,
        ticket: &mut Ticket,
        len: usize,
        cx: &Context<'_>,
    ) -> Poll<()> {
        let first = self.first.get();
        let place = ticket.0.map(|number| number.checked_sub(first));
        let mut waiting = self.waiting.borrow_mut();
        // Who has been woken has its turn before those that come now.
        let is_next = waiting.is_empty() || place == Some(None);
        if self.over.get() || (is_next && self.taken.get() < MOST) {
            *ticket = Ticket(None);
            return Poll::Ready(());
        }
        let here = place.flatten().and_then(|place| {
            let place = usize::try_from(place).ok()?;
            waiting.get_mut(place)
        });
        match here {
            Some((waker, wanted)) => {
                waker.clone_from(cx.waker());
                *wanted = len;
            }
            None => {
                *ticket = Ticket(Some(first + waiting.len() as u64));
                waiting.push_back((cx.waker().clone(), len));
            }
        }
        Poll::Pending
    }

    pub(in crate::http) fn took(&self, len: usize) {
        self.taken.set(self.taken.get() + len);
    }

    /// Whether somebody waits until the connection has run.
    pub(in crate::http) fn is_waited_for(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// Whether the socket takes no more: something waits for it.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.get()
    }

    /// Whether the socket takes no more.
    pub(super) fn set_stalled(&self, stalled: bool) {
        self.stalled.set(stalled);
    }

    /// The connection has sent what it was given, as far as the windows of the client allow.
    pub(super) fn ran(&self) {
        if self.stalled.get() {
            return;
        }
        self.taken.set(0);
        let mut bytes = 0;
        while bytes < MOST
            && let Some(len) = self.wake_first()
        {
            bytes += len;
        }
    }

    /// The connection is over: nobody waits any more.
    pub(super) fn end(&self) {
        self.over.set(true);
        while self.wake_first().is_some() {}
    }

    fn wake_first(&self) -> Option<usize> {
        let (waker, len) = self.waiting.borrow_mut().pop_front()?;
        self.first.set(self.first.get() + 1);
        waker.wake();
        // One that has nothing to say is woken as well, and does not count for nothing.
        Some(len.max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[derive(Default)]
    struct Stream {
        woken: Arc<Count>,
        ticket: Ticket,
    }

    impl Stream {
        fn hands_over(&mut self, to: &Handover, len: usize) -> bool {
            let waker = Waker::from(self.woken.clone());
            let room = to.poll_room(&mut self.ticket, len, &Context::from_waker(&waker));
            if room.is_ready() {
                to.took(len);
            }
            room.is_ready()
        }

        fn wakes(&self) -> usize {
            self.woken.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn room_at_less_equal_and_more() {
        for (before, has_room) in [(MOST - 1, true), (MOST, false), (MOST + 1, false)] {
            let handover = Handover::default();
            handover.took(before);
            assert_eq!(
                Stream::default().hands_over(&handover, 1),
                has_room,
                "{before}"
            );
            assert_eq!(handover.is_waited_for(), !has_room);
        }
    }

    #[test]
    fn waiting_requests_are_served_in_order() {
        let handover = Handover::default();
        let mut streams: Vec<Stream> = (0..10).map(|_| Stream::default()).collect();
        let third = MOST / 3 + 1;
        let went = |streams: &mut [Stream]| -> Vec<usize> {
            let all = streams.iter_mut().enumerate();
            all.filter_map(|(n, stream)| stream.hands_over(&handover, third).then_some(n))
                .collect()
        };
        assert_eq!(went(&mut streams), [0, 1, 2]);
        // Asking again is not waiting twice.
        assert_eq!(went(&mut streams[3..]), []);
        handover.ran();
        let woken: Vec<usize> = streams.iter().map(Stream::wakes).collect();
        assert_eq!(woken, [0, 0, 0, 1, 1, 1, 0, 0, 0, 0]);
        // One that comes now stands behind them, and so do those that were not woken.
        assert!(!streams[0].hands_over(&handover, third));
        assert_eq!(went(&mut streams[6..]), []);
        assert_eq!(went(&mut streams[3..6]), [0, 1, 2]);
        handover.ran();
        assert_eq!(went(&mut streams[6..9]), [0, 1, 2]);
        handover.ran();
        assert_eq!([streams[9].wakes(), streams[0].wakes()], [1, 1]);
        assert!(streams[9].hands_over(&handover, third));
        assert!(streams[0].hands_over(&handover, third));
        assert!(!handover.is_waited_for());
    }

    #[test]
    fn a_stalled_socket_gives_no_room() {
        let (handover, mut stream) = (Handover::default(), Stream::default());
        handover.took(MOST);
        assert!(!stream.hands_over(&handover, 1));
        handover.set_stalled(true);
        handover.ran();
        assert_eq!(stream.wakes(), 0);
        handover.set_stalled(false);
        handover.ran();
        assert_eq!(stream.wakes(), 1);
        assert!(stream.hands_over(&handover, 1));
    }

    #[test]
    fn an_ended_connection_holds_up_no_stream() {
        let (handover, mut stream) = (Handover::default(), Stream::default());
        handover.took(MOST);
        assert!(!stream.hands_over(&handover, 1));
        handover.end();
        assert_eq!(stream.wakes(), 1);
        assert!(stream.hands_over(&handover, MOST));
        assert!(Stream::default().hands_over(&handover, 1));
    }
}
