//! What is to happen at which time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;

use crate::with;

/// What happens.
enum Event {
    Wake(Waker),
    Run(Box<dyn FnOnce()>),
}

/// By time, and then by the order in which they were asked for.
#[derive(Default)]
pub(crate) struct Timers {
    due: RefCell<BTreeMap<(u64, u64), Event>>,
    next: Cell<u64>,
}

/// Names an event.
pub(crate) type Key = (u64, u64);

impl Timers {
    fn put(&self, at: u64, event: Event) -> Key {
        let number = self.next.get();
        self.next.set(number + 1);
        self.due.borrow_mut().insert((at, number), event);
        (at, number)
    }

    pub(crate) fn next(&self) -> Option<u64> {
        self.due.borrow().first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn len(&self) -> usize {
        self.due.borrow().len()
    }

    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.due.borrow_mut());
        drop(all);
        self.next.set(0);
    }
}

/// Wakes a task at this time.
pub(crate) fn wake_at(at: u64, waker: &Waker) -> Key {
    with(|world| world.timers.put(at, Event::Wake(waker.clone())))
}

/// The task behind an event is another one now. False if it has happened.
pub(crate) fn renew(key: Key, waker: &Waker) -> bool {
    with(|world| match world.timers.due.borrow_mut().get_mut(&key) {
        Some(Event::Wake(known)) => {
            known.clone_from(waker);
            true
        }
        _ => false,
    })
}

/// It is not wanted any more.
pub(crate) fn cancel(key: Key) {
    let event = with(|world| world.timers.due.borrow_mut().remove(&key));
    drop(event);
}

/// Does something at this time.
pub(crate) fn run_at(at: u64, work: impl FnOnce() + 'static) {
    with(|world| world.timers.put(at, Event::Run(Box::new(work))));
}

/// Lets happen what is due.
pub(crate) fn fire() {
    loop {
        let event = with(|world| {
            let now = world.now.get();
            let mut due = world.timers.due.borrow_mut();
            let (at, _) = *due.first_key_value()?.0;
            (at <= now).then(|| due.pop_first()).flatten()
        });
        match event {
            None => return,
            Some((_, Event::Wake(waker))) => waker.wake(),
            Some((_, Event::Run(work))) => work(),
        }
    }
}
