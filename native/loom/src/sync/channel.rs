//! A queue between threads. A lock keeps its content. A number says whether there is something, with no more order than a queue must
//! have: a thread that finds something in it sees what was done before that was put there.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicUsize};

#[derive(Debug)]
pub(crate) struct SendError<T>(pub(crate) T);

struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    put: AtomicUsize,
    taken: AtomicUsize,
    ended: AtomicBool,
}

pub(crate) struct Sender<T>(Arc<Queue<T>>);

pub(crate) struct Receiver<T>(Arc<Queue<T>>);

pub(crate) fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let queue = Arc::new(Queue {
        items: Mutex::new(VecDeque::new()),
        put: AtomicUsize::new(0),
        taken: AtomicUsize::new(0),
        ended: AtomicBool::new(false),
    });
    (Sender(queue.clone()), Receiver(queue))
}

impl<T> Queue<T> {
    fn len(&self) -> usize {
        self.put
            .load(Acquire)
            .saturating_sub(self.taken.load(Relaxed))
    }
}

impl<T> Sender<T> {
    pub(crate) fn send(&self, item: T) -> Result<(), SendError<T>> {
        if self.0.ended.load(Acquire) {
            return Err(SendError(item));
        }
        if let Ok(mut items) = self.0.items.lock() {
            items.push_back(item);
        }
        self.0.put.fetch_add(1, Release);
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Receiver<T> {
    pub(crate) fn try_recv(&self) -> Result<T, ()> {
        if self.is_empty() {
            return Err(());
        }
        let item = self.0.items.lock().map_err(|_| ())?.pop_front().ok_or(())?;
        self.0.taken.fetch_add(1, Relaxed);
        Ok(item)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // A check that has failed is over.
        if std::thread::panicking() {
            return;
        }
        self.0.ended.store(true, Release);
    }
}
