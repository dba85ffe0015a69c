//! tokio's `Notify`: wakes one task that waits, or the next one that will; or all that wait.

use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use loom::sync::{Mutex, MutexGuard};

pub(crate) struct Notify(Mutex<Waiting>);

struct Waiting {
    permit: bool,
    /// How often all have been woken.
    rounds: usize,
    next: usize,
    waiters: Vec<Waiter>,
}

struct Waiter {
    ticket: usize,
    woken: bool,
    waker: Waker,
}

impl Default for Notify {
    fn default() -> Self {
        Notify(Mutex::new(Waiting {
            permit: false,
            rounds: 0,
            next: 0,
            waiters: Vec::new(),
        }))
    }
}

impl Notify {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn notify_one(&self) {
        let mut waiting = self.waiting();
        let waker = match waiting.waiters.iter_mut().find(|waiter| !waiter.woken) {
            Some(waiter) => {
                waiter.woken = true;
                Some(waiter.waker.clone())
            }
            None => {
                waiting.permit = true;
                None
            }
        };
        drop(waiting);
        waker.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn notify_waiters(&self) {
        let mut waiting = self.waiting();
        waiting.rounds += 1;
        let wakers: Vec<_> = waiting.waiters.drain(..).map(|one| one.waker).collect();
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// From here on it hears of those that wake all.
    pub(crate) fn notified(&self) -> Notified<'_> {
        Notified {
            notify: self,
            rounds: self.waiting().rounds,
            ticket: None,
        }
    }
}

pub(crate) struct Notified<'a> {
    notify: &'a Notify,
    rounds: usize,
    ticket: Option<usize>,
}

impl Notified<'_> {
    /// It waits, without being polled.
    pub(crate) fn enable(self: Pin<&mut Self>) -> bool {
        self.look(Waker::noop())
    }

    fn look(mut self: Pin<&mut Self>, waker: &Waker) -> bool {
        let mut waiting = self.notify.waiting();
        if waiting.rounds != self.rounds {
            return true;
        }
        let ticket = self.ticket;
        let known = waiting
            .waiters
            .iter()
            .position(|one| Some(one.ticket) == ticket);
        if let Some(at) = known
            && let Some(one) = waiting.waiters.get_mut(at)
        {
            let woken = one.woken;
            if woken {
                waiting.waiters.remove(at);
            } else {
                one.waker = waker.clone();
            }
            return woken;
        }
        if std::mem::take(&mut waiting.permit) {
            return true;
        }
        let ticket = waiting.next;
        waiting.next += 1;
        waiting.waiters.push(Waiter {
            ticket,
            woken: false,
            waker: waker.clone(),
        });
        drop(waiting);
        self.ticket = Some(ticket);
        false
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.look(cx.waker()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.filter(|_| !std::thread::panicking()) else {
            return;
        };
        let mut waiting = self.notify.waiting();
        let known = waiting.waiters.iter().position(|one| one.ticket == ticket);
        let woken = known.is_some_and(|at| waiting.waiters.remove(at).woken);
        drop(waiting);
        // The next one has it.
        if woken {
            self.notify.notify_one();
        }
    }
}
