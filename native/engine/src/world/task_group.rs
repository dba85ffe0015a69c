//! A group of many small tasks, each in little memory.
//!
//! A task of tokio takes 144 bytes of a heap, and begins where 128 divides its address, which leaves a hole before the next one. A
//! member of a group takes 48 and what its future takes. One task of tokio runs all members that were woken, in that order, once each;
//! then others have their turn.

use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::world::sync::atomic::{AtomicBool, Ordering};
use crate::world::sync::{Mutex, MutexGuard};
use crate::world::task;

/// Places for members that were woken, which are kept for the next ones.
const KEPT: usize = 4096;

/// The members belong to the task that runs them: they are gone with the runtime, whoever has this.
pub(crate) struct TaskGroup<T>(RefCell<Weak<Members<T>>>);

struct Members<T> {
    places: RefCell<Places<T>>,
    woken: Arc<Woken>,
}

struct Places<T> {
    /// None where there is no member, and while it runs.
    all: Vec<Option<T>>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Woken {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    members: Vec<Arc<Member>>,
    /// Memory for the next ones.
    spare: Vec<Arc<Member>>,
    /// Of the task that runs them.
    task: Option<Waker>,
    /// There is no such task any more. Who is on the list has the list: they would keep each other.
    is_over: bool,
}

/// What wakes a member.
struct Member {
    place: u32,
    /// It is on the list; for ever, when it has ended.
    is_woken: AtomicBool,
    woken: Arc<Woken>,
}

impl Woken {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Member {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_woken.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut list = self.woken.list();
        if list.is_over {
            return;
        }
        list.members.push(self.clone());
        if list.members.len() == 1
            && let Some(task) = &list.task
        {
            task.wake_by_ref();
        }
    }
}

impl<T> Default for TaskGroup<T> {
    fn default() -> Self {
        TaskGroup(RefCell::default())
    }
}

impl<T: Future<Output = ()> + Unpin + 'static> TaskGroup<T> {
    /// Starts a member, on the thread of its runtime. One that panics has ended; others go on.
    pub(crate) fn start(&self, work: T) {
        let members = self.members();
        let mut places = members.places.borrow_mut();
        let place = places.free.pop().unwrap_or(places.all.len() as u32);
        match places.all.get_mut(place as usize) {
            Some(free) => *free = Some(work),
            None => places.all.push(Some(work)),
        }
        let member = Arc::new(Member {
            place,
            is_woken: AtomicBool::new(false),
            woken: members.woken.clone(),
        });
        member.wake();
    }

    fn members(&self) -> Rc<Members<T>> {
        let mut known = self.0.borrow_mut();
        if let Some(members) = known.upgrade() {
            return members;
        }
        let members = Rc::new(Members {
            places: RefCell::new(Places {
                all: Vec::new(),
                free: Vec::new(),
            }),
            woken: Arc::default(),
        });
        *known = Rc::downgrade(&members);
        let run = members.clone();
        task::spawn_unconstrained(poll_fn(move |cx| {
            run.poll(cx);
            Poll::Pending
        }));
        members
    }
}

impl<T: Future<Output = ()> + Unpin> Members<T> {
    /// Runs those that were woken before. What is woken meanwhile waits until others have had their turn.
    fn poll(&self, cx: &Context<'_>) {
        let mut list = self.woken.list();
        if !list.task.as_ref().is_some_and(|t| t.will_wake(cx.waker())) {
            list.task = Some(cx.waker().clone());
        }
        let spare = std::mem::take(&mut list.spare);
        let mut members = std::mem::replace(&mut list.members, spare);
        drop(list);
        for member in members.drain(..) {
            self.run(member);
        }
        if members.capacity() <= KEPT {
            self.woken.list().spare = members;
        }
    }

    fn run(&self, member: Arc<Member>) {
        let place = member.place;
        let Some(mut work) = self.take(place) else {
            return;
        };
        // Who wakes it from here on means the next time.
        member.is_woken.swap(false, Ordering::SeqCst);
        let waker = Waker::from(member.clone());
        let mut cx = Context::from_waker(&waker);
        let poll = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut work).poll(&mut cx)));
        let mut places = self.places.borrow_mut();
        match poll {
            Ok(Poll::Pending) => {
                if let Some(free) = places.all.get_mut(place as usize) {
                    *free = Some(work);
                }
            }
            Ok(Poll::Ready(())) | Err(_) => {
                member.is_woken.store(true, Ordering::SeqCst);
                places.free.push(place);
            }
        }
    }

    fn take(&self, place: u32) -> Option<T> {
        self.places.borrow_mut().all.get_mut(place as usize)?.take()
    }
}

impl<T> Drop for Members<T> {
    fn drop(&mut self) {
        let over = List {
            is_over: true,
            ..List::default()
        };
        let left = std::mem::replace(&mut *self.woken.list(), over);
        drop(left);
    }
}

#[cfg(test)]
#[path = "task_group_tests.rs"]
mod tests;
